//! Writing a journal: the one `run` appends events, any process posts into the inbox.

use std::fs::{self, File};
use std::path::Path;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};

use super::error::JournalError;
use super::lock::{LockHolder, RunLock};
use super::reader::{BUSY_TIMEOUT, JournalReader, Record, decode, encode};
use super::{FORMAT_VERSION, database, digest, directory};
use crate::core::event::Event;
use crate::ids::Time;
use crate::shell::kill_point;

/// `taken` of an entry that was set aside because its moment had passed.
const SET_ASIDE: i64 = 0;

/// The number of an entry in the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InboxId(pub i64);

/// What another terminal has posted for the run.
#[derive(Clone, Debug, PartialEq)]
pub struct InboxEntry {
    /// Its number.
    pub id: InboxId,
    /// When it was posted.
    pub at: Time,
    /// What the human wants.
    pub event: Event,
}

/// A journal opened for writing, by the one `run`.
#[derive(Debug)]
pub struct Journal {
    reader: JournalReader,
    next_sequence: u64,
}

impl Journal {
    /// Opens the journal of the repository whose common git directory this is, and makes it when it is not there. The lock is the proof that no other
    /// `run` works on the repository; keep it as long as the journal.
    ///
    /// A stop that nobody took is set aside: it was meant for a process that is gone. Answers, approvals and retries wait for whoever runs next.
    pub fn open_for_run(common_directory: &Path, at: Time) -> Result<(Self, RunLock), JournalError> {
        let directory = directory(common_directory);
        fs::create_dir_all(&directory).map_err(|error| JournalError::from_io(&directory, error))?;
        kill_point::reached("journal.before-directory-sync");
        sync_directory(common_directory);
        kill_point::reached("journal.after-directory-sync");
        let lock = RunLock::take(&directory, at)?;
        let path = database(common_directory);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(&path, flags).map_err(|error| JournalError::from_sqlite(&path, error))?;
        let mut reader = JournalReader {
            connection,
            path,
            directory,
        };
        reader.sql(configure(&reader.connection))?;
        match reader.format_version()? {
            None => {
                kill_point::reached("journal.before-create");
                let created = create_tables(&mut reader.connection, at);
                reader.sql(created)?;
                kill_point::reached("journal.after-create");
            }
            Some(found) if found > FORMAT_VERSION => return Err(reader.newer(found)),
            Some(_) => {}
        }
        let set_aside = reader.connection.execute(
            "UPDATE inbox SET taken = ?1 WHERE taken IS NULL AND kind = 'stop_requested'",
            [SET_ASIDE],
        );
        reader.sql(set_aside)?;
        let next_sequence = reader.last_sequence()? + 1;
        Ok((Self { reader, next_sequence }, lock))
    }

    /// Makes events durable: when this returns they are on the disk, all of them; when it fails, none of them is.
    pub fn append(&mut self, at: Time, events: &[Event]) -> Result<(), JournalError> {
        self.append_taking(at, events, &[])
    }

    /// Makes events durable and marks the entries of the inbox that they came from as taken, both or neither.
    pub fn append_taking(&mut self, at: Time, events: &[Event], inbox_ids: &[InboxId]) -> Result<(), JournalError> {
        if events.is_empty() && inbox_ids.is_empty() {
            return Ok(());
        }
        let path = self.reader.path.clone();
        let failed = |error| JournalError::from_sqlite(&path, error);
        let rows: Vec<(String, String)> = events
            .iter()
            .map(encode)
            .collect::<Result<_, _>>()
            .map_err(|source| JournalError::Unwritable { source })?;
        let transaction = self
            .reader
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        let sequence = insert_events(&transaction, self.next_sequence, at, &rows).map_err(failed)?;
        for id in inbox_ids {
            let changed = transaction
                .prepare_cached("UPDATE inbox SET taken = ?1 WHERE id = ?2 AND taken IS NULL")
                .and_then(|mut statement| statement.execute(params![sequence - 1, id.0]))
                .map_err(failed)?;
            if changed != 1 {
                return Err(JournalError::InboxTaken { path, id: id.0 });
            }
        }
        kill_point::reached("journal.before-sync");
        transaction.commit().map_err(failed)?;
        kill_point::reached("journal.after-sync");
        self.next_sequence = sequence;
        Ok(())
    }

    /// What other terminals have posted and nobody has taken, oldest first. It stays there until [`Journal::append_taking`] takes it, so a crash in between loses nothing.
    pub fn take_inbox(&mut self) -> Result<Vec<InboxEntry>, JournalError> {
        let mut statement = self.reader.sql(
            self.reader
                .connection
                .prepare_cached("SELECT id, at_ms, kind, body FROM inbox WHERE taken IS NULL ORDER BY id"),
        )?;
        let mut rows = self.reader.sql(statement.query([]))?;
        let mut entries = Vec::new();
        while let Some(row) = self.reader.sql(rows.next())? {
            let (id, at_ms): (i64, u64) = (self.reader.sql(row.get(0))?, self.reader.sql(row.get(1))?);
            let (kind, body): (String, String) = (self.reader.sql(row.get(2))?, self.reader.sql(row.get(3))?);
            let event = decode(&kind, &body).map_err(|error| JournalError::CorruptInbox {
                path: self.reader.path.clone(),
                id,
                reason: error.to_string(),
            })?;
            entries.push(InboxEntry {
                id: InboxId(id),
                at: Time(at_ms),
                event,
            });
        }
        Ok(entries)
    }

    /// Visits the records from number `from_sequence` on, in order.
    pub fn replay(&self, from_sequence: u64, visit: impl FnMut(Record)) -> Result<(), JournalError> {
        self.reader.replay(from_sequence, visit)
    }

    /// The newest record's number; 0 when there is none.
    pub fn last_sequence(&self) -> u64 {
        self.next_sequence - 1
    }

    /// The same journal, for reading.
    pub fn reader(&self) -> &JournalReader {
        &self.reader
    }

    /// Opens for reading: see [`JournalReader::open`].
    pub fn open_read_only(common_directory: &Path) -> Result<Option<JournalReader>, JournalError> {
        JournalReader::open(common_directory)
    }

    /// Who works on the repository at this moment; `Some(None)` when it is not written down. Needs no journal.
    pub fn lock_holder(common_directory: &Path) -> Result<Option<Option<LockHolder>>, JournalError> {
        super::lock::holder(&directory(common_directory))
    }
}

/// Posts what a human wants into the inbox of the repository's journal. Fails when there is no journal; makes none.
pub fn post(common_directory: &Path, at: Time, event: &Event) -> Result<InboxId, JournalError> {
    let path = database(common_directory);
    // Opened for reading first: it says whether there is a journal and whether we understand it.
    let reader = JournalReader::open(common_directory)?.ok_or_else(|| JournalError::Missing { path: path.clone() })?;
    let (kind, body) = encode(event).map_err(|source| JournalError::Unwritable { source })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = reader.sql(Connection::open_with_flags(&path, flags))?;
    reader.sql(configure(&connection))?;
    reader.sql(connection.execute(
        "INSERT INTO inbox (at_ms, kind, body, taken) VALUES (?1, ?2, ?3, NULL)",
        params![at.0, kind, body],
    ))?;
    Ok(InboxId(connection.last_insert_rowid()))
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    // After a checkpoint the write-ahead log is cut back to this, so that a burst does not stay on the disk.
    connection.pragma_update(None, "journal_size_limit", 4 * 1024 * 1024)
}

fn create_tables(connection: &mut Connection, at: Time) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
         CREATE TABLE event (
             seq INTEGER PRIMARY KEY,
             at_ms INTEGER NOT NULL,
             kind TEXT NOT NULL,
             body TEXT NOT NULL,
             digest INTEGER NOT NULL
         ) STRICT;
         CREATE TABLE inbox (
             id INTEGER PRIMARY KEY AUTOINCREMENT,
             at_ms INTEGER NOT NULL,
             kind TEXT NOT NULL,
             body TEXT NOT NULL,
             taken INTEGER
         ) STRICT;
         CREATE INDEX inbox_pending ON inbox (id) WHERE taken IS NULL;",
    )?;
    transaction.execute(
        "INSERT INTO meta (key, value) VALUES ('format_version', ?1), ('created_ms', ?2), ('created_by', ?3)",
        params![FORMAT_VERSION, at.0, env!("CARGO_PKG_VERSION")],
    )?;
    transaction.commit()
}

/// Inserts rows from number `sequence` on, and gives the number after the last one.
fn insert_events(
    transaction: &Transaction<'_>,
    mut sequence: u64,
    at: Time,
    rows: &[(String, String)],
) -> rusqlite::Result<u64> {
    let mut statement =
        transaction.prepare_cached("INSERT INTO event (seq, at_ms, kind, body, digest) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (kind, body) in rows {
        statement.execute(params![sequence, at.0, kind, body, digest(sequence, at.0, kind, body)])?;
        sequence += 1;
    }
    Ok(sequence)
}

/// Makes a new directory entry durable; where directories cannot be synced, SQLite's own care is all there is.
fn sync_directory(directory: &Path) {
    if let Ok(directory) = File::open(directory) {
        let _ = directory.sync_all();
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_keeps_nothing_of_the_append_and_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _lock) = Journal::open_for_run(directory.path(), Time(1)).unwrap();
        journal.append(Time(1), &[Event::DeadlineReached]).unwrap();
        // SQLite answers "full" in the same way when its page limit is reached as when the disk is.
        let pages: u32 = journal
            .reader
            .connection
            .pragma_query_value(None, "page_count", |row| row.get(0))
            .unwrap();
        journal
            .reader
            .connection
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            .unwrap();
        let answer = Event::EscalationAnswered {
            escalation_id: crate::ids::EscalationId(1),
            answer: "long ".repeat(4_000),
        };
        let error = journal
            .append(Time(2), &[Event::DeadlineReached, answer.clone()])
            .unwrap_err();
        assert!(matches!(error, JournalError::DiskFull { .. }), "{error:?}");
        assert!(error.hint().unwrap().contains("`orchestrate run` goes on"));
        assert_eq!(journal.reader().records(1).unwrap().len(), 1);

        journal
            .reader
            .connection
            .pragma_update_and_check(None, "max_page_count", 1_000, |_| Ok(()))
            .unwrap();
        journal.append(Time(3), &[answer]).unwrap();
        assert_eq!(journal.reader().last_sequence().unwrap(), 2);
    }
}
