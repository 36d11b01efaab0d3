//! Reading a journal, also while a run writes to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::error::JournalError;
use super::lock::{self, LockHolder};
use super::{FORMAT_VERSION, database, digest, directory};
use crate::core::event::Event;
use crate::ids::Time;

/// How long a statement waits for another process's transaction, which lasts milliseconds.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The kind of a sign of life.
const SIGN_OF_LIFE: &str = "agent_progressed";

/// Where the totals begin in a sign of life; before that stands whose it is.
const SIGN_OF_LIFE_TOTALS: &str = ",\"usage\":";

/// One event as it stands in the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its number: 1, 2, ... without a gap.
    pub sequence: u64,
    /// When it was appended.
    pub at: Time,
    /// What happened.
    pub event: Event,
}

/// A journal opened for reading.
#[derive(Debug)]
pub struct JournalReader {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) directory: PathBuf,
}

impl JournalReader {
    /// Opens the journal of the repository whose common git directory this is; `None` when no run was ever started there. Writes nothing.
    pub fn open(common_directory: &Path) -> Result<Option<Self>, JournalError> {
        let path = database(common_directory);
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => return Err(JournalError::from_io(&path, error)),
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(&path, flags).map_err(|error| JournalError::from_sqlite(&path, error))?;
        let reader = Self {
            connection,
            path,
            directory: directory(common_directory),
        };
        reader.sql(reader.connection.busy_timeout(BUSY_TIMEOUT))?;
        // A run that was killed between creating the file and filling it has left an empty database.
        match reader.format_version()? {
            None => Ok(None),
            Some(found) if found > FORMAT_VERSION => Err(reader.newer(found)),
            Some(_) => Ok(Some(reader)),
        }
    }

    /// Visits the records from number `from_sequence` on, in order, as of one instant.
    pub fn replay(&self, from_sequence: u64, mut visit: impl FnMut(Record)) -> Result<(), JournalError> {
        self.read(from_sequence, |sequence, at, kind, body| {
            let event = decode(kind, body)?;
            visit(Record { sequence, at, event });
            Ok(())
        })
    }

    /// The same, except that of signs of life in a row only the newest of each attempt is visited. Each holds totals, they are most of a long run's
    /// journal, and understanding them is most of the work of reading it. All of them are still checked for damage.
    pub fn replay_condensed(&self, from_sequence: u64, mut visit: impl FnMut(Record)) -> Result<(), JournalError> {
        let mut waiting: BTreeMap<String, (u64, Time, String)> = BTreeMap::new();
        self.read(from_sequence, |sequence, at, kind, body| {
            if kind == SIGN_OF_LIFE
                && let Some((whose, _)) = body.split_once(SIGN_OF_LIFE_TOTALS)
            {
                match waiting.get_mut(whose) {
                    Some(newest) => {
                        (newest.0, newest.1) = (sequence, at);
                        newest.2.clear();
                        newest.2.push_str(body);
                    }
                    None => {
                        waiting.insert(whose.to_owned(), (sequence, at, body.to_owned()));
                    }
                }
                return Ok(());
            }
            visit_waiting(&mut waiting, &mut visit)?;
            let event = decode(kind, body)?;
            visit(Record { sequence, at, event });
            Ok(())
        })?;
        visit_waiting(&mut waiting, &mut visit).map_err(|error| JournalError::CorruptRecord {
            path: self.path.clone(),
            sequence: waiting.values().map(|(sequence, ..)| *sequence).min().unwrap_or(0),
            reason: error.to_string(),
        })
    }

    /// Reads the records from number `from_sequence` on, in order, and checks that each is what was written.
    fn read(
        &self,
        from_sequence: u64,
        mut visit: impl FnMut(u64, Time, &str, &str) -> Result<(), serde_json::Error>,
    ) -> Result<(), JournalError> {
        let mut statement = self.sql(
            self.connection
                .prepare_cached("SELECT seq, at_ms, kind, body, digest FROM event WHERE seq >= ?1 ORDER BY seq"),
        )?;
        let mut expected = from_sequence.max(1);
        let mut rows = self.sql(statement.query([to_column(expected)]))?;
        while let Some(row) = self.sql(rows.next())? {
            let corrupt = |sequence: u64, reason: String| JournalError::CorruptRecord {
                path: self.path.clone(),
                sequence,
                reason,
            };
            let unreadable = |error: rusqlite::Error| corrupt(expected, error.to_string());
            let sequence: u64 = row.get(0).map_err(unreadable)?;
            if sequence != expected {
                return Err(corrupt(expected, "the record is missing".to_owned()));
            }
            let at_ms: u64 = row.get(1).map_err(unreadable)?;
            let kind = row
                .get_ref(2)
                .map_err(unreadable)?
                .as_str()
                .map_err(|error| corrupt(expected, error.to_string()))?;
            let body = row
                .get_ref(3)
                .map_err(unreadable)?
                .as_str()
                .map_err(|error| corrupt(expected, error.to_string()))?;
            let written: i64 = row.get(4).map_err(unreadable)?;
            if written != digest(sequence, at_ms, kind, body) {
                return Err(corrupt(
                    expected,
                    "it is not what was written (its digest differs)".to_owned(),
                ));
            }
            visit(sequence, Time(at_ms), kind, body).map_err(|error| corrupt(expected, error.to_string()))?;
            expected += 1;
        }
        Ok(())
    }

    /// The records from number `from_sequence` on, all at once.
    pub fn records(&self, from_sequence: u64) -> Result<Vec<Record>, JournalError> {
        let mut records = Vec::new();
        self.replay(from_sequence, |record| records.push(record))?;
        Ok(records)
    }

    /// The newest record's number; 0 when there is none.
    pub fn last_sequence(&self) -> Result<u64, JournalError> {
        self.sql(
            self.connection
                .query_row("SELECT coalesce(max(seq), 0) FROM event", [], |row| row.get(0)),
        )
    }

    /// Whether a `run` works on the repository at this moment.
    pub fn runner_alive(&self) -> Result<bool, JournalError> {
        Ok(lock::holder(&self.directory)?.is_some())
    }

    /// Who works on the repository at this moment, as far as it is written down.
    pub fn runner(&self) -> Result<Option<LockHolder>, JournalError> {
        Ok(lock::holder(&self.directory)?.flatten())
    }

    /// Entries of the inbox that no run has taken yet.
    pub fn inbox_pending(&self) -> Result<u64, JournalError> {
        self.sql(
            self.connection
                .query_row("SELECT count(*) FROM inbox WHERE taken IS NULL", [], |row| row.get(0)),
        )
    }

    /// The journal's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The format version that the database says it has; `None` when it has no tables at all.
    pub(super) fn format_version(&self) -> Result<Option<u32>, JournalError> {
        let tables: u32 = self.sql(self.connection.query_row(
            "SELECT count(*) FROM sqlite_schema WHERE type = 'table'",
            [],
            |row| row.get(0),
        ))?;
        if tables == 0 {
            return Ok(None);
        }
        let version = self.sql(
            self.connection
                .query_row("SELECT value FROM meta WHERE key = 'format_version'", [], |row| {
                    row.get::<_, u32>(0)
                })
                .optional(),
        )?;
        match version {
            Some(version) => Ok(Some(version)),
            None => Err(JournalError::CorruptRecord {
                path: self.path.clone(),
                sequence: 0,
                reason: "the format version is missing".to_owned(),
            }),
        }
    }

    pub(super) fn newer(&self, found: u32) -> JournalError {
        JournalError::NewerFormat {
            path: self.path.clone(),
            found,
            supported: FORMAT_VERSION,
        }
    }

    pub(super) fn sql<T>(&self, result: rusqlite::Result<T>) -> Result<T, JournalError> {
        result.map_err(|error| JournalError::from_sqlite(&self.path, error))
    }
}

/// Visits what was held back, oldest first.
fn visit_waiting(
    waiting: &mut BTreeMap<String, (u64, Time, String)>,
    visit: &mut impl FnMut(Record),
) -> Result<(), serde_json::Error> {
    if waiting.is_empty() {
        return Ok(());
    }
    let mut records = Vec::with_capacity(waiting.len());
    for (sequence, at, body) in waiting.values() {
        let event = decode(SIGN_OF_LIFE, body)?;
        records.push(Record {
            sequence: *sequence,
            at: *at,
            event,
        });
    }
    waiting.clear();
    records.sort_by_key(|record| record.sequence);
    records.into_iter().for_each(visit);
    Ok(())
}

/// SQLite's integers are signed; a number beyond them matches no record.
fn to_column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Splits an event into its kind and the JSON of what it carries. The kind is a column of its own, so that a person can query it and the name is stored once.
pub(super) fn encode(event: &Event) -> Result<(String, String), serde_json::Error> {
    use serde::ser::Error as _;

    let text = serde_json::to_string(event)?;
    // A variant without fields is written as its bare name.
    if let Ok(name) = serde_json::from_str::<String>(&text) {
        return Ok((name, "null".to_owned()));
    }
    text.strip_prefix("{\"")
        .and_then(|rest| rest.strip_suffix('}'))
        .and_then(|rest| rest.split_once("\":"))
        .map(|(kind, body)| (kind.to_owned(), body.to_owned()))
        .ok_or_else(|| serde_json::Error::custom("the event is not written as a variant"))
}

/// Reads what [`encode`] wrote.
pub(super) fn decode(kind: &str, body: &str) -> Result<Event, serde_json::Error> {
    serde_json::from_str(&format!("{{{}:{body}}}", serde_json::Value::from(kind)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]
mod tests {
    use super::*;
    use crate::core::event::Usage;
    use crate::ids::{Actor, AgentId, Attempt, MicroDollars};

    #[test]
    fn a_sign_of_life_is_written_as_condensing_expects_it() {
        let event = Event::AgentProgressed {
            actor: Actor::Agent(AgentId::new("1.2")),
            attempt: Attempt(3),
            usage: Usage {
                cost: MicroDollars(4),
                tokens: 5,
            },
            session: None,
        };
        let (kind, body) = encode(&event).unwrap();
        assert_eq!(kind, SIGN_OF_LIFE);
        assert_eq!(
            body.split_once(SIGN_OF_LIFE_TOTALS).map(|(whose, _)| whose),
            Some(r#"{"actor":{"agent":"1.2"},"attempt":3"#)
        );
    }
}
