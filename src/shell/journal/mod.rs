//! The journal: every event of a run, durable before anything acts on it, and the inbox through which other terminals reach a running `run`.
//!
//! It is a SQLite database in WAL mode with `synchronous=FULL`, `<git common dir>/orchestrate/journal.db`: when [`Journal::append`] returns, the events
//! are on the disk. Events are only ever added. Each record carries a digest of itself and the numbers have no gap, so that a damaged record is an error
//! with its number and never a different event. What is not guaranteed: a disk that lies about a flush can lose the newest records, never change one.
//!
//! One process writes events: the one that holds [`RunLock`]. Any process may read, or post into the inbox, while it does.

mod error;
mod lock;
mod reader;
mod writer;

use std::path::{Path, PathBuf};

pub use error::JournalError;
pub use lock::{LockHolder, RunLock};
pub use reader::{JournalReader, Record};
pub use writer::{InboxEntry, InboxId, Journal, post};

/// The format that this version writes. It is raised whenever a field is added to a table; reading a newer one is refused.
pub const FORMAT_VERSION: u32 = 2;

/// The directory below git's common directory where everything of a run lives.
pub fn directory(common_directory: &Path) -> PathBuf {
    common_directory.join("orchestrate")
}

fn database(common_directory: &Path) -> PathBuf {
    directory(common_directory).join("journal.db")
}

/// What a record's digest covers: everything in it, in order.
fn digest(sequence: u64, at_ms: u64, kind: &str, body: &str) -> i64 {
    use sha2::{Digest as _, Sha256};

    let mut hasher = Sha256::new();
    hasher.update(sequence.to_le_bytes());
    hasher.update(at_ms.to_le_bytes());
    hasher.update(kind.as_bytes());
    hasher.update([0]);
    hasher.update(body.as_bytes());
    let hash = hasher.finalize();
    // Eight bytes tell damage from health; this is no defence against somebody who edits the file on purpose.
    let mut head = [0; 8];
    head.copy_from_slice(&hash[..8]);
    i64::from_le_bytes(head)
}
