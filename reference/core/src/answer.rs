//! The answer to an idempotent request: given once by a generation, then again to whoever repeats the request.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::object::{Machine, Write, ask};
use crate::ports::{ObjectKind, Objects, StoreError};
use crate::time::DAY_MS;

/// What the object is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Is this request the first of its id?
    Begin {
        /// What tells the same request from another one.
        fingerprint: String,
        /// The job that the request would begin.
        job_id: String,
        /// How long it may run at most.
        lease_ms: u64,
    },
    /// This is the answer from now on.
    Keep(Value),
    /// There is no answer to keep; the id is free again.
    Release,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It is the first of its id: go on.
    First,
    /// The first is still running.
    Running,
    /// Another request had this id.
    Other,
    /// The answer was given before.
    Again(Value),
    /// The first ended without an answer, its process having died. Whether the provider was asked is unknown; its job is this.
    Lost {
        /// The job of the first.
        job_id: String,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    fingerprint: String,
    state: State,
    until_ms: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum State {
    Running { job_id: String, lease_until_ms: u64 },
    Kept(Value),
}

/// The object of a credential and request id.
#[derive(Debug, Default)]
pub struct Answered(Option<Record>);

impl Answered {
    fn begin(&mut self, now_ms: u64, fingerprint: String, job_id: String, lease_ms: u64) -> Verdict {
        let state = State::Running {
            job_id,
            lease_until_ms: now_ms + lease_ms,
        };
        let Some(record) = &mut self.0 else {
            self.0 = Some(Record {
                fingerprint,
                state,
                until_ms: now_ms + DAY_MS,
            });
            return Verdict::First;
        };
        if record.fingerprint != fingerprint {
            return Verdict::Other;
        }
        match &mut record.state {
            State::Kept(answer) => Verdict::Again(answer.clone()),
            State::Running { lease_until_ms, .. } if now_ms < *lease_until_ms => Verdict::Running,
            State::Running { job_id, lease_until_ms } => {
                *lease_until_ms = now_ms + lease_ms;
                Verdict::Lost { job_id: job_id.clone() }
            }
        }
    }
}

impl Machine for Answered {
    type Command = Command;
    type Reply = Option<Verdict>;

    fn restore(&mut self, _: &str, value: &str) {
        self.0 = serde_json::from_str(value).ok();
    }

    fn step(&mut self, now_ms: u64, command: Command) -> (Self::Reply, Vec<Write>) {
        if self.0.as_ref().is_some_and(|record| record.until_ms <= now_ms) {
            self.0 = None;
        }
        let reply = match command {
            Command::Begin {
                fingerprint,
                job_id,
                lease_ms,
            } => Some(self.begin(now_ms, fingerprint, job_id, lease_ms)),
            Command::Keep(answer) => {
                if let Some(record) = &mut self.0 {
                    record.state = State::Kept(answer);
                    record.until_ms = now_ms + DAY_MS;
                }
                None
            }
            Command::Release => {
                self.0 = None;
                None
            }
        };
        let is_unchanged = matches!(reply, Some(Verdict::Again(_) | Verdict::Running | Verdict::Other));
        let write = self
            .0
            .as_ref()
            .map_or_else(|| Write::delete("answer"), |record| Write::put("answer", record));
        (reply, if is_unchanged { Vec::new() } else { vec![write] })
    }
}

/// Sends a command to the object of a credential and request id.
pub async fn command(
    host: &impl Objects,
    key_id: &str,
    request_id: &str,
    command: &Command,
) -> Result<Option<Verdict>, StoreError> {
    ask(
        host,
        ObjectKind::Answer,
        &format!("answer:{key_id}:{request_id}"),
        command,
    )
    .await
}

#[cfg(test)]
mod tests {
    #![expect(clippy::expect_used, reason = "a test says what it expects by failing")]

    use super::*;

    fn begin(answered: &mut Answered, now_ms: u64, fingerprint: &str) -> Verdict {
        let job_id = format!("job-at-{now_ms}");
        let command = Command::Begin {
            fingerprint: fingerprint.to_owned(),
            job_id,
            lease_ms: 100,
        };
        let (reply, writes) = answered.step(now_ms, command);
        // Whatever happens, a restart changes nothing.
        for write in writes {
            *answered = Answered::default();
            if let Some(value) = write.value {
                answered.restore(&write.key, &value);
            }
        }
        reply.expect("a verdict")
    }

    #[test]
    fn the_first_runs_and_the_others_get_its_answer() {
        let mut answered = Answered::default();
        assert_eq!(begin(&mut answered, 0, "a"), Verdict::First);
        assert_eq!(begin(&mut answered, 99, "a"), Verdict::Running);
        assert_eq!(begin(&mut answered, 99, "b"), Verdict::Other);
        answered.step(99, Command::Keep(Value::from("answer")));
        assert_eq!(begin(&mut answered, 200, "a"), Verdict::Again(Value::from("answer")));
        assert_eq!(begin(&mut answered, 200, "b"), Verdict::Other);
        assert_eq!(
            begin(&mut answered, 98 + DAY_MS, "a"),
            Verdict::Again(Value::from("answer"))
        );
        assert_eq!(begin(&mut answered, 99 + DAY_MS, "b"), Verdict::First);
    }

    #[test]
    fn what_was_released_may_be_tried_anew() {
        let mut answered = Answered::default();
        begin(&mut answered, 0, "a");
        answered.step(1, Command::Release);
        assert_eq!(begin(&mut answered, 2, "b"), Verdict::First);
    }

    #[test]
    fn a_request_whose_process_died_is_lost_once_its_lease_is_over() {
        let mut answered = Answered::default();
        begin(&mut answered, 0, "a");
        assert_eq!(
            begin(&mut answered, 100, "a"),
            Verdict::Lost {
                job_id: "job-at-0".to_owned()
            }
        );
        assert_eq!(begin(&mut answered, 101, "a"), Verdict::Running);
    }
}
