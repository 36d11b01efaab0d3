//! Objects: what keeps state between requests and takes one command at a time. Each is a pure state machine; its host restores it from records, feeds it
//! commands, and makes the writes of each step durable before the reply leaves.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::answer::Answered;
use crate::breaker::Circuit;
use crate::job::Job;
use crate::limiter::Window;
use crate::log::Buffer;
use crate::ports::{ObjectKind, Objects, StoreError};

/// A change of an object's records: a new value under a key, or none any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Under which the record lies; their order is the order of keys.
    pub key: String,
    /// What it holds from now on.
    pub value: Option<String>,
}

impl Write {
    /// A record that holds this from now on.
    #[must_use]
    pub fn put(key: impl Into<String>, value: &impl Serialize) -> Self {
        Self {
            key: key.into(),
            value: Some(serde_json::to_string(value).unwrap_or_default()),
        }
    }

    /// A record that is not there any more.
    #[must_use]
    pub fn delete(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            value: None,
        }
    }
}

/// A state machine that lives in an object.
pub trait Machine: Default {
    /// What it is asked.
    type Command: DeserializeOwned;
    /// What it answers.
    type Reply: Serialize;

    /// Takes a record back in; they come in the order of their keys.
    fn restore(&mut self, key: &str, value: &str);

    /// Does what the command says.
    fn step(&mut self, now_ms: u64, command: Self::Command) -> (Self::Reply, Vec<Write>);
}

/// An object of any kind.
#[derive(Debug)]
pub enum Object {
    /// The rolling window of an instance and provider.
    RateLimiter(Window),
    /// The circuit of an instance and provider.
    CircuitBreaker(Circuit),
    /// A job.
    Job(Job),
    /// The answer to an idempotent request.
    Answer(Answered),
    /// Log entries on their way.
    LogBuffer(Buffer),
}

impl Object {
    /// An object as its records say.
    pub fn restore<'record>(kind: ObjectKind, records: impl IntoIterator<Item = (&'record str, &'record str)>) -> Self {
        match kind {
            ObjectKind::RateLimiter => Self::RateLimiter(restored(records)),
            ObjectKind::CircuitBreaker => Self::CircuitBreaker(restored(records)),
            ObjectKind::Job => Self::Job(restored(records)),
            ObjectKind::Answer => Self::Answer(restored(records)),
            ObjectKind::LogBuffer => Self::LogBuffer(restored(records)),
        }
    }

    /// One command: its reply, and what must be durable before the reply leaves.
    pub fn step(&mut self, now_ms: u64, command: Value) -> Result<(Value, Vec<Write>), StoreError> {
        match self {
            Self::RateLimiter(machine) => stepped(machine, now_ms, command),
            Self::CircuitBreaker(machine) => stepped(machine, now_ms, command),
            Self::Job(machine) => stepped(machine, now_ms, command),
            Self::Answer(machine) => stepped(machine, now_ms, command),
            Self::LogBuffer(machine) => stepped(machine, now_ms, command),
        }
    }
}

fn restored<'record, M: Machine>(records: impl IntoIterator<Item = (&'record str, &'record str)>) -> M {
    let mut machine = M::default();
    for (key, value) in records {
        machine.restore(key, value);
    }
    machine
}

fn stepped<M: Machine>(machine: &mut M, now_ms: u64, command: Value) -> Result<(Value, Vec<Write>), StoreError> {
    let command = serde_json::from_value(command).map_err(malformed)?;
    let (reply, writes) = machine.step(now_ms, command);
    Ok((serde_json::to_value(reply).map_err(malformed)?, writes))
}

/// Sends a command to an object and reads its reply.
pub async fn ask<R: DeserializeOwned>(
    host: &impl Objects,
    kind: ObjectKind,
    name: &str,
    command: &impl Serialize,
) -> Result<R, StoreError> {
    let reply = host
        .command(kind, name, serde_json::to_value(command).map_err(malformed)?)
        .await?;
    serde_json::from_value(reply).map_err(malformed)
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to `map_err`")]
fn malformed(error: serde_json::Error) -> StoreError {
    StoreError(error.to_string())
}
