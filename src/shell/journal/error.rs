//! What can be wrong with a journal, each with what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use thiserror::Error;

use super::lock::LockHolder;
use crate::exit_code::ExitCode;

/// Why the journal cannot be used.
#[derive(Debug, Error)]
pub enum JournalError {
    /// Another `orchestrate run` works on this repository.
    #[error("another `orchestrate run` is working on this repository{}", describe(.holder.as_ref()))]
    AlreadyRunning {
        /// Who, when the lock's file says so.
        holder: Option<LockHolder>,
    },
    /// There is no journal to post to.
    #[error("there is no run in this repository yet: `{}` does not exist", .path.display())]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
    /// Written by a newer version.
    #[error("`{}` has format {found}; this version of orchestrate reads up to {supported}", .path.display())]
    NewerFormat {
        /// The journal.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Ours.
        supported: u32,
    },
    /// One record cannot be read. It is never skipped: what follows it may depend on it.
    #[error("record {sequence} of `{}` cannot be read: {reason}", .path.display())]
    CorruptRecord {
        /// The journal.
        path: PathBuf,
        /// The record's number.
        sequence: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// An entry of the inbox cannot be read.
    #[error("entry {id} in the inbox of `{}` cannot be read: {reason}", .path.display())]
    CorruptInbox {
        /// The journal.
        path: PathBuf,
        /// The entry's number.
        id: i64,
        /// What is wrong with it.
        reason: String,
    },
    /// An entry of the inbox was to be taken twice.
    #[error("entry {id} in the inbox of `{}` was already taken", .path.display())]
    InboxTaken {
        /// The journal.
        path: PathBuf,
        /// The entry's number.
        id: i64,
    },
    /// The file is no journal, or its structure is damaged.
    #[error("`{}` is damaged or no journal", .path.display())]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// No space left. Nothing of the last append was kept.
    #[error("no space left for `{}`", .path.display())]
    DiskFull {
        /// The journal.
        path: PathBuf,
    },
    /// The directory or file cannot be written.
    #[error("`{}` cannot be written", .path.display())]
    ReadOnly {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process kept the database locked for longer than we wait.
    #[error("`{}` is kept locked by another process", .path.display())]
    Busy {
        /// The journal.
        path: PathBuf,
    },
    /// An event cannot be written as JSON: a bug of ours.
    #[error("an event cannot be written as JSON")]
    Unwritable {
        /// What serde says.
        #[source]
        source: serde_json::Error,
    },
    /// Anything else that the system refuses.
    #[error("cannot use `{}`", .path.display())]
    System {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn describe(holder: Option<&LockHolder>) -> String {
    holder.map(|holder| format!(" ({holder})")).unwrap_or_default()
}

impl JournalError {
    /// The exit code that belongs to it.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::NewerFormat { .. }
            | Self::CorruptRecord { .. }
            | Self::CorruptInbox { .. }
            | Self::Damaged { .. } => ExitCode::Journal,
            Self::InboxTaken { .. } | Self::Unwritable { .. } => ExitCode::Internal,
            Self::AlreadyRunning { .. }
            | Self::Missing { .. }
            | Self::DiskFull { .. }
            | Self::ReadOnly { .. }
            | Self::Busy { .. }
            | Self::System { .. } => ExitCode::Environment,
        }
    }

    /// What to do about it; `None` when there is nothing that a person could do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::AlreadyRunning { .. } => {
                Some("watch it with `orchestrate status --watch`, or end it with `orchestrate stop`".to_owned())
            }
            Self::Missing { .. } => Some("start one with `orchestrate run`".to_owned()),
            Self::NewerFormat { .. } => Some("use the version of orchestrate that wrote it, or a newer one".to_owned()),
            Self::CorruptRecord { path, .. } | Self::CorruptInbox { path, .. } | Self::Damaged { path, .. } => {
                let directory = path.parent().unwrap_or(Path::new("."));
                Some(format!(
                    "restore it from a backup; or keep it aside with `mv {0} {0}.damaged` and start a new run: commits and branches are not touched",
                    directory.display()
                ))
            }
            Self::DiskFull { path } => Some(format!(
                "free some space (`df -h {}` shows the disk), then `orchestrate run` goes on where it stopped",
                path.parent().unwrap_or(path).display()
            )),
            Self::ReadOnly { path, .. } => Some(format!(
                "make it writable for you: `ls -ld {}` shows whose it is",
                path.display()
            )),
            Self::Busy { path } => Some(format!("`fuser {}` shows which process uses it", path.display())),
            Self::System { path, .. } => Some(format!(
                "a full disk (`df -h {}`) or a limit on the size of files (`ulimit -f`) may be the cause; then `orchestrate run` goes on where it stopped",
                path.parent().unwrap_or(path).display()
            )),
            Self::InboxTaken { .. } | Self::Unwritable { .. } => None,
        }
    }

    pub(super) fn from_sqlite(path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_path_buf();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::TypeMismatch) => {
                Self::Damaged { path, source: error }
            }
            Some(ErrorCode::DiskFull) => Self::DiskFull { path },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => Self::ReadOnly {
                path,
                source: Box::new(error),
            },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            Some(_) => Self::System {
                path,
                source: Box::new(error),
            },
            // A table, column or type that is not what we write: not our database.
            None => Self::Damaged { path, source: error },
        }
    }

    pub(super) fn from_io(path: &Path, error: io::Error) -> Self {
        let path = path.to_path_buf();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly {
                path,
                source: Box::new(error),
            },
            _ => Self::System {
                path,
                source: Box::new(error),
            },
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_refuses_is_told_apart() {
        let path = Path::new("/repository/.git/orchestrate");
        let read_only = JournalError::from_io(path, io::ErrorKind::ReadOnlyFilesystem.into());
        assert_eq!(
            read_only.to_string(),
            "`/repository/.git/orchestrate` cannot be written"
        );
        assert!(
            read_only
                .hint()
                .unwrap()
                .contains("ls -ld /repository/.git/orchestrate")
        );
        assert!(matches!(
            JournalError::from_io(path, io::ErrorKind::StorageFull.into()),
            JournalError::DiskFull { .. }
        ));
        assert!(matches!(
            JournalError::from_io(path, io::ErrorKind::NotFound.into()),
            JournalError::System { .. }
        ));
    }
}
