//! The lock that makes one `run` the only writer: an advisory lock on a file, which the kernel drops when its process ends, however it ends.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::JournalError;
use crate::ids::Time;

/// How often, and how far apart, a taken lock is tried again: a reader that asks whether a run is alive holds it for an instant.
const TRIES_MAX: u32 = 10;
const TRY_EVERY: Duration = Duration::from_millis(10);

/// Who holds the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockHolder {
    /// Process id.
    pub process_id: u32,
    /// When it took the lock.
    pub since: Time,
    /// On which machine; a lock on a network disk may be held elsewhere.
    pub host: String,
}

impl fmt::Display for LockHolder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since =
            jiff::Timestamp::from_millisecond(i64::try_from(self.since.0).unwrap_or(i64::MAX)).unwrap_or_default();
        write!(
            formatter,
            "process {} on {}, since {}",
            self.process_id,
            self.host,
            since
                .to_zoned(jiff::tz::TimeZone::system())
                .strftime("%Y-%m-%d %H:%M:%S")
        )
    }
}

/// Proof that this process is the only `run` on the repository, for as long as the value lives.
#[derive(Debug)]
pub struct RunLock {
    // Kept open for its lock.
    file: File,
}

impl RunLock {
    /// Takes the lock in `directory`, which exists, and writes down who holds it.
    pub(super) fn take(directory: &Path, at: Time) -> Result<Self, JournalError> {
        let path = path(directory);
        let failed = |error| JournalError::from_io(&path, error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        let mut tries = 1;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries < TRIES_MAX => {
                    tries += 1;
                    std::thread::sleep(TRY_EVERY);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(JournalError::AlreadyRunning {
                        holder: read_holder(&mut file),
                    });
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        let text = format!("{}\n{}\n{}\n", std::process::id(), at.0, host());
        file.set_len(0).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        Ok(Self { file })
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // The text is for people; the lock itself goes with the file.
        let _ = self.file.set_len(0);
    }
}

/// Who holds the lock now: `None` when nobody does, `Some(None)` when somebody does who has not written down who.
pub(super) fn holder(directory: &Path) -> Result<Option<Option<LockHolder>>, JournalError> {
    let path = path(directory);
    let failed = |error| JournalError::from_io(&path, error);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(read_holder(&mut file))),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn path(directory: &Path) -> PathBuf {
    directory.join("run.lock")
}

fn read_holder(file: &mut File) -> Option<LockHolder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    let mut lines = text.lines();
    Some(LockHolder {
        process_id: lines.next()?.parse().ok()?,
        since: Time(lines.next()?.parse().ok()?),
        host: lines.next()?.to_owned(),
    })
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
