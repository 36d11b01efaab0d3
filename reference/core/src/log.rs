//! The log: entries wait in a buffer that lasts until the database has them, each exactly once.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::id;
use crate::object::{Machine, Write, ask};
use crate::ports::{Clock, Database, Entropy, ObjectKind, Objects, Statement, StoreError};
use crate::problem::Problem;
use crate::time::{self, DAY_MS};

/// So many entries are written together.
pub const BATCH_MAX: usize = 100;
/// So long an entry waits for others at most.
pub const WAIT_MS: u64 = 10_000;
/// So long entries are kept.
const KEPT_MS: u64 = 30 * DAY_MS;
/// The one buffer.
pub const BUFFER: &str = "log";

/// How grave an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// For those who look for a fault.
    Debug,
    /// All is well.
    Info,
    /// Refused.
    Warn,
    /// Failed.
    Error,
}

impl Level {
    /// The level's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }

    /// The level of this name; of any other, that at which nothing unusual is left out.
    #[must_use]
    pub fn parse_or_info(name: Option<&str>) -> Self {
        match name.map(str::to_ascii_uppercase).as_deref() {
            Some("DEBUG") => Self::Debug,
            Some("WARN") => Self::Warn,
            Some("ERROR") => Self::Error,
            _ => Self::Info,
        }
    }
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name, by which it is stored once.
    pub log_id: String,
    /// When it was written.
    pub at_ms: u64,
    /// How grave it is.
    pub level: Level,
    /// What happened.
    pub message: String,
    /// In which request.
    pub request_id: String,
    /// With which instance.
    pub instance_id: Option<String>,
    /// By whom.
    pub user_id: Option<String>,
    /// Where.
    pub component: String,
    /// What else is known.
    pub metadata: Map<String, Value>,
}

/// What the buffer is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Take this in.
    Append(Box<Entry>),
    /// Which are the oldest?
    Oldest,
    /// The database has these, the oldest ones.
    Drop(Vec<String>),
}

/// How the buffer stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Waiting {
    /// How many wait.
    pub count: usize,
    /// Since when the oldest one does.
    pub since_ms: Option<u64>,
    /// At most a batch of them, if they were asked for.
    pub entries: Vec<Entry>,
}

impl Waiting {
    /// Whether it is time to write.
    #[must_use]
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.count >= BATCH_MAX || self.since_ms.is_some_and(|since_ms| now_ms >= since_ms + WAIT_MS)
    }
}

/// The buffer.
#[derive(Debug, Default)]
pub struct Buffer {
    entries: VecDeque<Entry>,
    /// The number of the first of them.
    first: u64,
}

fn key(number: u64) -> String {
    format!("{number:020}")
}

impl Machine for Buffer {
    type Command = Command;
    type Reply = Waiting;

    fn restore(&mut self, key: &str, value: &str) {
        let (Ok(number), Ok(entry)) = (key.parse::<u64>(), serde_json::from_str(value)) else {
            return;
        };
        if self.entries.is_empty() {
            self.first = number;
        }
        self.entries.push_back(entry);
    }

    fn step(&mut self, _: u64, command: Command) -> (Waiting, Vec<Write>) {
        let mut writes = Vec::new();
        let mut shown = Vec::new();
        match command {
            Command::Append(entry) => {
                writes.push(Write::put(key(self.first + self.entries.len() as u64), &entry));
                self.entries.push_back(*entry);
            }
            Command::Oldest => shown = self.entries.iter().take(BATCH_MAX).cloned().collect(),
            Command::Drop(log_ids) => {
                while self
                    .entries
                    .front()
                    .is_some_and(|oldest| log_ids.contains(&oldest.log_id))
                {
                    self.entries.pop_front();
                    writes.push(Write::delete(key(self.first)));
                    self.first += 1;
                }
            }
        }
        let since_ms = self.entries.front().map(|oldest| oldest.at_ms);
        (
            Waiting {
                count: self.entries.len(),
                since_ms,
                entries: shown,
            },
            writes,
        )
    }
}

/// Hands an entry over; it lasts from then on. Gives back how many wait.
pub async fn append(host: &impl Objects, entry: Entry) -> Result<Waiting, StoreError> {
    ask(host, ObjectKind::LogBuffer, BUFFER, &Command::Append(Box::new(entry))).await
}

/// How the buffer stands, without its entries.
pub async fn waiting(host: &impl Objects) -> Result<Waiting, StoreError> {
    ask(host, ObjectKind::LogBuffer, BUFFER, &Command::Drop(Vec::new())).await
}

/// Writes what waits into the database. An entry that a flush before this one stored without dropping it is not stored again.
pub async fn flush(host: &(impl Objects + Database + Clock)) -> Result<(), Problem> {
    loop {
        let waiting: Waiting = ask(host, ObjectKind::LogBuffer, BUFFER, &Command::Oldest).await?;
        if waiting.entries.is_empty() {
            return Ok(());
        }
        let now = time::format(host.now_ms());
        host.run(waiting.entries.iter().map(|entry| insert(entry, &now)).collect())
            .await?;
        let log_ids = waiting.entries.into_iter().map(|entry| entry.log_id).collect();
        ask::<Waiting>(host, ObjectKind::LogBuffer, BUFFER, &Command::Drop(log_ids)).await?;
    }
}

/// The statement that stores an entry, once.
#[must_use]
pub fn insert(entry: &Entry, now: &str) -> Statement {
    let sql = "INSERT OR IGNORE INTO logs (log_id, timestamp, level, message, request_id, instance_id, user_id, component, metadata, created_at) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let parameters = vec![
        (&entry.log_id).into(),
        time::format(entry.at_ms).into(),
        entry.level.name().into(),
        (&entry.message).into(),
        (&entry.request_id).into(),
        entry.instance_id.as_ref().into(),
        entry.user_id.as_ref().into(),
        (&entry.component).into(),
        json!(entry.metadata).to_string().into(),
        now.into(),
    ];
    Statement::new(sql, parameters)
}

/// Deletes entries that are older than thirty days.
pub async fn delete_old(host: &(impl Database + Clock)) -> Result<(), Problem> {
    let oldest = time::format(host.now_ms().saturating_sub(KEPT_MS));
    host.query("DELETE FROM logs WHERE timestamp < ?1", vec![oldest.into()])
        .await?;
    Ok(())
}

/// A name for an entry.
#[must_use]
pub fn log_id(entropy: &impl Entropy) -> String {
    id::uuid(entropy)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::expect_used, reason = "a test says what it expects by failing")]

    use super::*;

    fn entry(number: usize) -> Entry {
        Entry {
            log_id: format!("log-{number}"),
            at_ms: number as u64,
            level: Level::Info,
            message: String::new(),
            request_id: String::new(),
            instance_id: None,
            user_id: None,
            component: String::new(),
            metadata: Map::new(),
        }
    }

    #[test]
    fn entries_leave_in_the_order_in_which_they_came_and_only_when_they_are_stored() {
        let mut buffer = Buffer::default();
        for number in 0..250 {
            buffer.step(0, Command::Append(Box::new(entry(number))));
        }
        let (waiting, _) = buffer.step(0, Command::Oldest);
        assert_eq!(
            (waiting.count, waiting.entries.len(), waiting.since_ms),
            (250, BATCH_MAX, Some(0))
        );
        let (again, _) = buffer.step(0, Command::Oldest);
        assert_eq!(again.entries, waiting.entries, "asking takes nothing away");
        let log_ids = waiting.entries.into_iter().map(|entry| entry.log_id).collect();
        let (waiting, writes) = buffer.step(0, Command::Drop(log_ids));
        assert_eq!(
            (waiting.count, waiting.since_ms, writes.len()),
            (150, Some(100), BATCH_MAX)
        );
        let mut restored = Buffer::default();
        for (number, entry) in buffer.entries.iter().enumerate() {
            restored.restore(
                &key(buffer.first + number as u64),
                &serde_json::to_string(entry).expect("JSON"),
            );
        }
        assert_eq!((restored.first, restored.entries.len()), (100, 150));
    }

    #[test]
    fn a_hundred_entries_or_ten_seconds_are_enough() {
        let waiting = |count, since_ms| Waiting {
            count,
            since_ms,
            entries: Vec::new(),
        };
        assert!(
            !waiting(99, Some(0)).is_due(9_999)
                && waiting(100, Some(0)).is_due(0)
                && waiting(1, Some(0)).is_due(10_000)
        );
        assert!(!waiting(0, None).is_due(u64::MAX));
    }

    #[test]
    fn levels_are_ordered_and_an_unknown_one_is_info() {
        assert!(Level::Debug < Level::Info && Level::Info < Level::Warn && Level::Warn < Level::Error);
        assert_eq!(Level::parse_or_info(Some("error")), Level::Error);
        assert_eq!(Level::parse_or_info(Some("Debug")), Level::Debug);
        assert_eq!(Level::parse_or_info(Some("WARN")), Level::Warn);
        assert_eq!(
            (Level::parse_or_info(Some("loud")), Level::parse_or_info(None)),
            (Level::Info, Level::Info)
        );
    }
}
