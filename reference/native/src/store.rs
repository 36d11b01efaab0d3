//! Everything that lasts, in one SQLite file: the tables of D1, and beside them what KV, R2 and the objects keep.
//!
//! Writes are collected in one open transaction, which [`Store::commit`] ends: an answer leaves, and a request goes out, only after it. So one
//! commit serves many requests, and nothing that was promised can be lost.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;

use reference_core::ports::{Blob, DatabaseError, ObjectKind, Outcome, Row, Statement, StoreError, Value};
use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, params};
use thiserror::Error;

/// The file cannot be opened or read.
#[derive(Debug, Error)]
#[error("cannot use the reference's data file")]
pub struct StoreFailure(#[from] rusqlite::Error);

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS native_kv (name TEXT PRIMARY KEY NOT NULL, text TEXT NOT NULL, until_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS native_blobs (bucket TEXT NOT NULL, path TEXT NOT NULL, content_type TEXT NOT NULL, etag TEXT NOT NULL,
  metadata TEXT NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (bucket, path));
CREATE TABLE IF NOT EXISTS native_objects (kind TEXT NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (kind, name, key)) WITHOUT ROWID;
";

/// The file, opened.
pub(crate) struct Store {
    connection: RefCell<Connection>,
    /// Whether a transaction is open that has not been committed.
    is_open: Cell<bool>,
}

impl Store {
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, StoreFailure> {
        let connection = match path {
            Some(path) => Connection::open(path)?,
            None => Connection::open_in_memory()?,
        };
        // A commit survives the end of the process, however it ends: what was written is the kernel's. That it survives the end of the machine as well
        // is not what the reference is about, and would cost a wait for the disk.
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA foreign_keys = ON;")?;
        // Pages that many requests change are copied from the log into the file once for all of them.
        connection.execute_batch("PRAGMA wal_autocheckpoint = 4000;")?;
        // Otherwise a statement whose parameters change is planned anew each time, which takes longer than running it.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.execute_batch(TABLES)?;
        connection.set_prepared_statement_cache_capacity(256);
        Ok(Self {
            connection: RefCell::new(connection),
            is_open: Cell::new(false),
        })
    }

    /// Runs a script of several statements.
    pub(crate) fn script(&self, sql: &str) -> Result<(), StoreFailure> {
        self.commit()?;
        Ok(self.connection.borrow().execute_batch(sql)?)
    }

    /// Runs a script on a file that has never seen one.
    pub(crate) fn seed(&self, sql: &str) -> Result<(), StoreFailure> {
        let connection = self.connection.borrow();
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version == 0 {
            connection.execute_batch(&format!("BEGIN IMMEDIATE; {sql}; PRAGMA user_version = 1; COMMIT"))?;
        }
        Ok(())
    }

    /// Makes durable what was written.
    pub(crate) fn commit(&self) -> Result<(), StoreFailure> {
        if self.is_open.replace(false) {
            self.connection.borrow().prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(())
    }

    /// Whether something waits to be made durable.
    pub(crate) fn is_dirty(&self) -> bool {
        self.is_open.get()
    }

    fn begin(&self, connection: &Connection) -> rusqlite::Result<()> {
        if !self.is_open.get() {
            connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            self.is_open.set(true);
        }
        Ok(())
    }

    /// Runs statements; if one fails, none of them counts.
    pub(crate) fn run(&self, statements: &[Statement]) -> Result<Vec<Outcome>, DatabaseError> {
        let connection = self.connection.borrow();
        let failed = |error: rusqlite::Error| DatabaseError::from_message(&error.to_string());
        if let [statement] = statements {
            return self
                .run_one(&connection, statement)
                .map(|outcome| vec![outcome])
                .map_err(failed);
        }
        self.begin(&connection).map_err(failed)?;
        let point = |sql: &str| {
            connection
                .prepare_cached(sql)
                .and_then(|mut point| point.execute([]))
                .map_err(failed)
        };
        point("SAVEPOINT batch")?;
        let outcomes: Result<Vec<Outcome>, _> = statements
            .iter()
            .map(|statement| self.run_one(&connection, statement))
            .collect();
        if outcomes.is_err() {
            point("ROLLBACK TO batch")?;
        }
        point("RELEASE batch")?;
        outcomes.map_err(failed)
    }

    fn run_one(&self, connection: &Connection, statement: &Statement) -> rusqlite::Result<Outcome> {
        let mut prepared = connection.prepare_cached(&statement.sql)?;
        let is_read = prepared.readonly();
        if !is_read {
            self.begin(connection)?;
        }
        for (index, value) in statement.parameters.iter().enumerate() {
            match value {
                Value::Null => prepared.raw_bind_parameter(index + 1, rusqlite::types::Null)?,
                Value::Integer(number) => prepared.raw_bind_parameter(index + 1, number)?,
                Value::Text(text) => prepared.raw_bind_parameter(index + 1, text)?,
            }
        }
        let columns: Rc<[String]> = prepared.column_names().map(str::to_owned).collect();
        let mut outcome = Outcome::default();
        let mut rows = prepared.raw_query();
        while let Some(row) = rows.next()? {
            let values = (0..columns.len())
                .map(|index| value(row.get_ref(index)?))
                .collect::<rusqlite::Result<_>>()?;
            outcome.rows.push(Row {
                columns: Rc::clone(&columns),
                values,
            });
        }
        drop(rows);
        if !is_read {
            outcome.changes = connection.changes();
        }
        Ok(outcome)
    }

    pub(crate) fn kv_get(&self, name: &str, now_ms: u64) -> Result<Option<String>, StoreError> {
        self.stored(|connection| {
            let mut select =
                connection.prepare_cached("SELECT text FROM native_kv WHERE name = ?1 AND until_ms > ?2")?;
            select.query_row(params![name, now_ms], |row| row.get(0)).optional()
        })
    }

    pub(crate) fn kv_put(&self, name: &str, text: &str, until_ms: u64) -> Result<(), StoreError> {
        self.stored(|connection| {
            self.begin(connection)?;
            let mut insert = connection.prepare_cached("INSERT OR REPLACE INTO native_kv VALUES (?1, ?2, ?3)")?;
            insert.execute(params![name, text, until_ms]).map(drop)
        })
    }

    pub(crate) fn kv_delete(&self, name: &str) -> Result<(), StoreError> {
        self.stored(|connection| {
            self.begin(connection)?;
            connection
                .prepare_cached("DELETE FROM native_kv WHERE name = ?1")?
                .execute([name])
                .map(drop)
        })
    }

    pub(crate) fn blob_put(&self, bucket: &str, path: &str, blob: &Blob) -> Result<(), StoreError> {
        let metadata = serde_json::to_string(&blob.metadata).map_err(|error| StoreError(error.to_string()))?;
        self.stored(|connection| {
            self.begin(connection)?;
            let mut insert =
                connection.prepare_cached("INSERT OR REPLACE INTO native_blobs VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
            insert
                .execute(params![
                    bucket,
                    path,
                    blob.content_type,
                    blob.etag,
                    metadata,
                    blob.bytes
                ])
                .map(drop)
        })
    }

    pub(crate) fn blob_get(&self, bucket: &str, path: &str) -> Result<Option<Blob>, StoreError> {
        self.stored(|connection| {
            let sql = "SELECT bytes, content_type, etag, metadata FROM native_blobs WHERE bucket = ?1 AND path = ?2";
            let blob = |row: &rusqlite::Row<'_>| {
                let metadata: String = row.get(3)?;
                let metadata = serde_json::from_str(&metadata).unwrap_or_default();
                Ok(Blob {
                    bytes: row.get(0)?,
                    content_type: row.get(1)?,
                    etag: row.get(2)?,
                    metadata,
                })
            };
            connection
                .prepare_cached(sql)?
                .query_row([bucket, path], blob)
                .optional()
        })
    }

    /// All that an object keeps, in the order of its keys.
    pub(crate) fn object_read(&self, kind: ObjectKind, name: &str) -> Result<Vec<(String, String)>, StoreError> {
        self.stored(|connection| {
            let sql = "SELECT key, value FROM native_objects WHERE kind = ?1 AND name = ?2 ORDER BY key";
            let mut select = connection.prepare_cached(sql)?;
            select
                .query_map([kind_name(kind), name], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
    }

    pub(crate) fn object_write(
        &self,
        kind: ObjectKind,
        name: &str,
        key: &str,
        value: Option<&str>,
    ) -> Result<(), StoreError> {
        let kind = kind_name(kind);
        self.stored(|connection| {
            self.begin(connection)?;
            match value {
                Some(value) => {
                    let mut insert =
                        connection.prepare_cached("INSERT OR REPLACE INTO native_objects VALUES (?1, ?2, ?3, ?4)")?;
                    insert.execute([kind, name, key, value]).map(drop)
                }
                None => {
                    let sql = "DELETE FROM native_objects WHERE kind = ?1 AND name = ?2 AND key = ?3";
                    connection.prepare_cached(sql)?.execute([kind, name, key]).map(drop)
                }
            }
        })
    }

    fn stored<T>(&self, action: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        action(&self.connection.borrow()).map_err(|error| StoreError(error.to_string()))
    }
}

fn value(value: ValueRef<'_>) -> rusqlite::Result<Value> {
    match value {
        ValueRef::Null => Ok(Value::Null),
        ValueRef::Integer(number) => Ok(Value::Integer(number)),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the tables hold whole numbers; D1 has them as doubles too"
        )]
        ValueRef::Real(number) => Ok(Value::Integer(number as i64)),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Ok(Value::Text(String::from_utf8_lossy(bytes).into_owned())),
    }
}

fn kind_name(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::RateLimiter => "rate-limiter",
        ObjectKind::CircuitBreaker => "circuit-breaker",
        ObjectKind::Job => "job",
        ObjectKind::Answer => "answer",
        ObjectKind::LogBuffer => "log-buffer",
    }
}
