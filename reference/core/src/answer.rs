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
        /// How long it may run at most.
        lease_ms: u64,
    },
    /// This is the answer from now on.
    Keep {
        /// As the verdict said.
        turn: u64,
        /// The answer.
        answer: Value,
    },
    /// There is no answer to keep; the id is free again.
    Release {
        /// As the verdict said.
        turn: u64,
    },
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It is the first of its id, or all before it ended without an answer to keep: go on.
    First {
        /// Tells it from those before and after it.
        turn: u64,
    },
    /// The first is still running.
    Running,
    /// Another request had this id.
    Other,
    /// The answer was given before.
    Again(Value),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    fingerprint: String,
    state: State,
    turn: u64,
    until_ms: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum State {
    /// Until this moment at most: a process that died never ends it.
    Running { until_ms: u64 },
    /// This is the answer.
    Kept(Value),
}

/// The object of a credential and request id.
#[derive(Debug, Default)]
pub struct Answered(Option<Record>);

impl Answered {
    fn begin(&mut self, now_ms: u64, fingerprint: String, lease_ms: u64) -> Verdict {
        let mut turn = 1;
        if let Some(record) = &self.0 {
            let is_over = match &record.state {
                State::Running { until_ms } => *until_ms <= now_ms,
                State::Kept(_) => false,
            };
            match &record.state {
                _ if is_over => turn = record.turn + 1,
                _ if record.fingerprint != fingerprint => return Verdict::Other,
                State::Running { .. } => return Verdict::Running,
                State::Kept(answer) => return Verdict::Again(answer.clone()),
            }
        }
        let state = State::Running {
            until_ms: now_ms + lease_ms,
        };
        self.0 = Some(Record {
            fingerprint,
            state,
            turn,
            until_ms: now_ms + DAY_MS,
        });
        Verdict::First { turn }
    }

    /// The record, if it is still the turn of whoever speaks.
    fn at(&mut self, turn: u64) -> Option<&mut Record> {
        self.0.as_mut().filter(|record| record.turn == turn)
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
            Command::Begin { fingerprint, lease_ms } => Some(self.begin(now_ms, fingerprint, lease_ms)),
            Command::Keep { turn, answer } => {
                if let Some(record) = self.at(turn) {
                    record.state = State::Kept(answer);
                }
                None
            }
            Command::Release { turn } => {
                if self.at(turn).is_some() {
                    self.0 = None;
                }
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
        let command = Command::Begin {
            fingerprint: fingerprint.to_owned(),
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

    fn keep(answered: &mut Answered, turn: u64, answer: &str) {
        answered.step(
            99,
            Command::Keep {
                turn,
                answer: Value::from(answer),
            },
        );
    }

    #[test]
    fn the_first_runs_and_the_others_get_its_answer_for_a_day() {
        let mut answered = Answered::default();
        assert_eq!(begin(&mut answered, 0, "a"), Verdict::First { turn: 1 });
        assert_eq!(begin(&mut answered, 99, "a"), Verdict::Running);
        assert_eq!(begin(&mut answered, 99, "b"), Verdict::Other);
        keep(&mut answered, 1, "answer");
        assert_eq!(begin(&mut answered, 200, "a"), Verdict::Again(Value::from("answer")));
        assert_eq!(begin(&mut answered, 200, "b"), Verdict::Other);
        assert_eq!(
            begin(&mut answered, DAY_MS - 1, "a"),
            Verdict::Again(Value::from("answer"))
        );
        assert_eq!(begin(&mut answered, DAY_MS, "b"), Verdict::First { turn: 1 });
    }

    #[test]
    fn what_was_released_may_be_tried_anew() {
        let mut answered = Answered::default();
        begin(&mut answered, 0, "a");
        answered.step(1, Command::Release { turn: 1 });
        assert_eq!(begin(&mut answered, 2, "b"), Verdict::First { turn: 1 });
    }

    #[test]
    fn what_never_ended_is_free_when_its_time_is_over_and_says_nothing_any_more() {
        let mut answered = Answered::default();
        begin(&mut answered, 0, "a");
        assert_eq!(begin(&mut answered, 100, "b"), Verdict::First { turn: 2 });
        keep(&mut answered, 1, "too late");
        answered.step(101, Command::Release { turn: 1 });
        assert_eq!(begin(&mut answered, 101, "b"), Verdict::Running);
        keep(&mut answered, 2, "in time");
        assert_eq!(begin(&mut answered, 102, "b"), Verdict::Again(Value::from("in time")));
    }
}
