//! The circuit between an instance and a provider: after failures in a row no call is made for a while, then one tries.

use serde::{Deserialize, Serialize};

use crate::limiter::name;
use crate::object::{Machine, Write, ask};
use crate::ports::{ObjectKind, Objects, StoreError};

/// So many failures in a row open the circuit.
const FAILURES_MAX: u32 = 5;
/// So long it stays open.
const OPEN_MS: u64 = 30_000;
/// So long others wait for the one that tries; then it counts as lost.
const TRIAL_MS: u64 = 60_000;

/// What the circuit is asked.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Command {
    /// May a call be made?
    Permit,
    /// How the call of this number went.
    Report {
        /// As its permit said.
        call: u64,
        /// The provider failed, rather than answered.
        is_failure: bool,
    },
}

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Permit {
    /// It may, and has this number.
    Granted {
        /// To be reported with.
        call: u64,
    },
    /// It may not, for so long at least.
    Refused {
        /// More than 0.
        wait_ms: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// Calls are made; so many of the last ones failed.
    Closed { failures: u32 },
    /// No call is made before this moment.
    Open { until_ms: u64 },
    /// One call is made; all others wait for how it goes.
    Trial { call: u64, since_ms: u64 },
}

/// The circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Circuit {
    state: State,
    /// How many calls were permitted.
    calls: u64,
}

impl Default for Circuit {
    fn default() -> Self {
        Self {
            state: State::Closed { failures: 0 },
            calls: 0,
        }
    }
}

impl Circuit {
    fn permit(&mut self, now_ms: u64) -> Permit {
        let is_trial = match self.state {
            State::Closed { .. } => false,
            State::Open { until_ms } if now_ms < until_ms => {
                return Permit::Refused {
                    wait_ms: until_ms - now_ms,
                };
            }
            State::Trial { since_ms, .. } if now_ms < since_ms + TRIAL_MS => {
                return Permit::Refused {
                    wait_ms: since_ms + TRIAL_MS - now_ms,
                };
            }
            State::Open { .. } | State::Trial { .. } => true,
        };
        self.calls += 1;
        if is_trial {
            self.state = State::Trial {
                call: self.calls,
                since_ms: now_ms,
            };
        }
        Permit::Granted { call: self.calls }
    }

    fn report(&mut self, now_ms: u64, call: u64, is_failure: bool) {
        let open = State::Open {
            until_ms: now_ms + OPEN_MS,
        };
        self.state = match (self.state, is_failure) {
            (State::Closed { .. }, false) => State::Closed { failures: 0 },
            (State::Closed { failures }, true) if failures + 1 < FAILURES_MAX => {
                State::Closed { failures: failures + 1 }
            }
            (State::Closed { .. }, true) => open,
            (State::Trial { call: trial, .. }, false) if trial == call => State::Closed { failures: 0 },
            (State::Trial { call: trial, .. }, true) if trial == call => open,
            // A call from before the circuit opened tells nothing new.
            (unchanged @ (State::Open { .. } | State::Trial { .. }), _) => unchanged,
        };
    }
}

impl Machine for Circuit {
    type Command = Command;
    type Reply = Option<Permit>;

    fn restore(&mut self, _: &str, value: &str) {
        *self = serde_json::from_str(value).unwrap_or_default();
    }

    fn step(&mut self, now_ms: u64, command: Command) -> (Self::Reply, Vec<Write>) {
        let before = self.state;
        let reply = match command {
            Command::Permit => Some(self.permit(now_ms)),
            Command::Report { call, is_failure } => {
                self.report(now_ms, call, is_failure);
                None
            }
        };
        // The count of calls need not last: only a trial's number is compared, and it is written with its state.
        let writes = if self.state == before {
            Vec::new()
        } else {
            vec![Write::put("circuit", self)]
        };
        (reply, writes)
    }
}

/// Asks whether a call may be made.
pub async fn permit(host: &impl Objects, instance_id: &str, provider: &str) -> Result<Permit, StoreError> {
    let permit: Option<Permit> = ask(
        host,
        ObjectKind::CircuitBreaker,
        &name(instance_id, provider),
        &Command::Permit,
    )
    .await?;
    permit.ok_or_else(|| StoreError("the circuit gave no answer".to_owned()))
}

/// Tells how a call went.
pub async fn report(
    host: &impl Objects,
    instance_id: &str,
    provider: &str,
    call: u64,
    is_failure: bool,
) -> Result<(), StoreError> {
    let command = Command::Report { call, is_failure };
    ask::<Option<Permit>>(host, ObjectKind::CircuitBreaker, &name(instance_id, provider), &command)
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn call(circuit: &mut Circuit, now_ms: u64) -> u64 {
        match circuit.permit(now_ms) {
            Permit::Granted { call } => call,
            Permit::Refused { wait_ms } => panic!("refused for {wait_ms} ms"),
        }
    }

    fn fail(circuit: &mut Circuit, now_ms: u64, times: u32) {
        for _ in 0..times {
            let number = call(circuit, now_ms);
            circuit.report(now_ms, number, true);
        }
    }

    #[test]
    fn five_failures_in_a_row_open_the_circuit_for_thirty_seconds() {
        let mut circuit = Circuit::default();
        fail(&mut circuit, 0, 4);
        let number = call(&mut circuit, 0);
        circuit.report(0, number, false);
        fail(&mut circuit, 0, 4);
        assert!(
            matches!(circuit.permit(0), Permit::Granted { .. }),
            "the row was broken"
        );
        fail(&mut circuit, 5, 1);
        assert_eq!(circuit.permit(5), Permit::Refused { wait_ms: 30_000 });
        assert_eq!(circuit.permit(30_004), Permit::Refused { wait_ms: 1 });
        assert!(matches!(circuit.permit(30_005), Permit::Granted { .. }));
    }

    #[test]
    fn one_call_tries_while_all_others_wait() {
        let mut circuit = Circuit::default();
        fail(&mut circuit, 0, 5);
        let trial = call(&mut circuit, 30_000);
        assert_eq!(circuit.permit(30_001), Permit::Refused { wait_ms: 59_999 });
        let mut failed = circuit;
        failed.report(31_000, trial, true);
        assert_eq!(failed.permit(31_000), Permit::Refused { wait_ms: 30_000 });
        circuit.report(31_000, trial, false);
        fail(&mut circuit, 31_000, 4);
        assert!(matches!(circuit.permit(31_000), Permit::Granted { .. }));
    }

    #[test]
    fn a_trial_that_is_never_reported_is_lost_after_a_minute() {
        let mut circuit = Circuit::default();
        fail(&mut circuit, 0, 5);
        call(&mut circuit, 30_000);
        assert!(matches!(circuit.permit(89_999), Permit::Refused { wait_ms: 1 }));
        assert!(matches!(circuit.permit(90_000), Permit::Granted { .. }));
    }

    #[test]
    fn late_reports_of_calls_from_before_do_not_decide_the_trial() {
        let mut circuit = Circuit::default();
        let early = call(&mut circuit, 0);
        fail(&mut circuit, 0, 5);
        circuit.report(1, early, false);
        assert!(matches!(circuit.permit(1), Permit::Refused { .. }));
        call(&mut circuit, 30_000);
        for is_failure in [false, true] {
            circuit.report(30_001, early, is_failure);
            assert_eq!(circuit.permit(30_002), Permit::Refused { wait_ms: 59_998 });
        }
    }

    proptest! {
        /// No call passes within thirty seconds of the fifth failure in a row, whatever happens, also with a restart before every step.
        #[test]
        fn an_open_circuit_lets_nothing_through(steps in proptest::collection::vec((0u64..20_000, any::<bool>()), 1..200)) {
            let (mut now_ms, mut row, mut open_until_ms) = (0u64, 0u32, 0u64);
            let mut record: Option<String> = None;
            let mut step = |now_ms: u64, command: Command| {
                let mut circuit = Circuit::default();
                if let Some(record) = &record {
                    circuit.restore("circuit", record);
                }
                let (reply, writes) = circuit.step(now_ms, command);
                if let Some(write) = writes.into_iter().next() {
                    record = write.value;
                }
                reply
            };
            for (pause_ms, is_failure) in steps {
                now_ms += pause_ms;
                match step(now_ms, Command::Permit) {
                    Some(Permit::Granted { call }) => {
                        prop_assert!(now_ms >= open_until_ms);
                        step(now_ms, Command::Report { call, is_failure });
                        row = if is_failure { row + 1 } else { 0 };
                        if row >= FAILURES_MAX {
                            open_until_ms = now_ms + OPEN_MS;
                        }
                    }
                    Some(Permit::Refused { wait_ms }) => prop_assert_eq!(now_ms + wait_ms, open_until_ms),
                    None => prop_assert!(false, "a permit is decided"),
                }
            }
        }
    }
}
