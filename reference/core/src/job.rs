//! Jobs: generations whose caller does not wait any more. A job is made once and ends once.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::object::{Machine, Write, ask};
use crate::ports::{ObjectKind, Objects, StoreError};
use crate::time::DAY_MS;

/// What is known of a generation from its beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Names the generation: in the job, in the image's path, in the usage row.
    pub job_id: String,
    /// The request that began it.
    pub request_id: String,
    /// Who pays.
    pub org_id: String,
    /// With which instance.
    pub instance_id: String,
    /// For which project, if one was named.
    pub project_id: Option<String>,
    /// By whom, if by a person.
    pub user_id: Option<String>,
    /// At which provider.
    pub provider: String,
    /// With which model.
    pub model: String,
    /// What for.
    pub prompt: String,
    /// The bucket that the image goes to; none is the default one.
    pub bucket: Option<String>,
    /// When its request arrived.
    pub began_ms: u64,
    /// When the provider was first called.
    pub called_ms: u64,
}

/// A job as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What was ordered.
    pub order: Order,
    /// How far it is.
    pub state: State,
    /// When it is forgotten.
    pub until_ms: u64,
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// The provider works on it, under this name.
    Pending {
        /// The provider's name for it.
        generation: String,
    },
    /// The image is stored: the fields that the answer has.
    Completed(Map<String, Value>),
    /// It failed: one of the contract's codes.
    Failed(String),
}

/// What a job is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Begins, unless it has begun.
    Begin(Box<Order>, State),
    /// How it stands.
    Read,
    /// Ends, unless it has ended.
    End(State),
}

/// The object of a job.
#[derive(Debug, Default)]
pub struct Job(Option<Box<Record>>);

impl Machine for Job {
    type Command = Command;
    type Reply = Option<Record>;

    fn restore(&mut self, _: &str, value: &str) {
        self.0 = serde_json::from_str(value).ok();
    }

    fn step(&mut self, now_ms: u64, command: Command) -> (Self::Reply, Vec<Write>) {
        let mut writes = Vec::new();
        if self.0.as_ref().is_some_and(|record| record.until_ms <= now_ms) {
            self.0 = None;
            writes.push(Write::delete("job"));
        }
        let changed = match (command, &self.0) {
            (Command::Begin(order, state), None) => {
                let until_ms = order.began_ms + DAY_MS;
                Some(Record {
                    order: *order,
                    state,
                    until_ms,
                })
            }
            (Command::End(state), Some(record)) if matches!(record.state, State::Pending { .. }) => Some(Record {
                state,
                ..Record::clone(record)
            }),
            (Command::Begin(..) | Command::End(_) | Command::Read, _) => None,
        };
        if let Some(record) = changed {
            writes.push(Write::put("job", &record));
            self.0 = Some(Box::new(record));
        }
        (self.0.as_deref().cloned(), writes)
    }
}

/// Sends a command to a job; the reply is how it stands afterwards, if it exists.
pub async fn command(host: &impl Objects, job_id: &str, command: &Command) -> Result<Option<Record>, StoreError> {
    ask(host, ObjectKind::Job, &format!("job:{job_id}"), command).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Order {
        let text = || "x".to_owned();
        Order {
            job_id: text(),
            request_id: text(),
            org_id: text(),
            instance_id: text(),
            project_id: None,
            user_id: None,
            provider: text(),
            model: text(),
            prompt: text(),
            bucket: None,
            began_ms: 0,
            called_ms: 0,
        }
    }

    fn pending() -> State {
        State::Pending {
            generation: "g".to_owned(),
        }
    }

    #[test]
    fn a_job_begins_once_and_ends_once_and_is_forgotten_after_a_day() {
        let mut job = Job::default();
        assert_eq!(job.step(0, Command::Read).0, None);
        assert_eq!(job.step(0, Command::End(State::Failed("early".to_owned()))).0, None);
        let begin = |state| Command::Begin(Box::new(order()), state);
        assert_eq!(
            job.step(0, begin(pending())).0.map(|record| record.state),
            Some(pending())
        );
        let failed = State::Failed("PROVIDER_ERROR".to_owned());
        assert_eq!(
            job.step(1, begin(failed.clone())).0.map(|record| record.state),
            Some(pending())
        );
        let completed = State::Completed(Map::new());
        assert_eq!(
            job.step(2, Command::End(completed.clone()))
                .0
                .map(|record| record.state),
            Some(completed.clone())
        );
        let (reply, writes) = job.step(3, Command::End(failed));
        assert_eq!((reply.map(|record| record.state), writes.len()), (Some(completed), 0));
        assert!(job.step(DAY_MS - 1, Command::Read).0.is_some());
        let (reply, writes) = job.step(DAY_MS, Command::Read);
        assert_eq!((reply, writes), (None, vec![Write::delete("job")]));
    }
}
