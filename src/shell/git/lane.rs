//! The serialised lane: git races with itself on files that all worktrees share, so such operations go one at a time, also across processes.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, flock};

use super::error::GitError;

/// Proof that nobody else is in the lane.
pub(crate) struct LaneGuard<'a> {
    _thread: Option<MutexGuard<'a, ()>>,
    _file: File,
}

/// Waits for the lane whose lock file is `file`. The lock goes with the process, so a crash leaves nothing behind.
pub(crate) fn enter<'a>(thread_lock: Option<&'a Mutex<()>>, file: &Path) -> Result<LaneGuard<'a>, GitError> {
    // The mutex protects no data, so poison means nothing.
    let thread = thread_lock.map(|lock| lock.lock().unwrap_or_else(PoisonError::into_inner));
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory).map_err(GitError::file("creating", directory))?;
    }
    let opened = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(file)
        .map_err(GitError::file("opening", file))?;
    loop {
        match flock(&opened, FlockOperation::LockExclusive) {
            Ok(()) => {
                return Ok(LaneGuard {
                    _thread: thread,
                    _file: opened,
                });
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(GitError::file("locking", file)(error.into())),
        }
    }
}

/// Waits for a lane that threads share through its file alone.
pub(crate) fn enter_file(file: &Path) -> Result<LaneGuard<'static>, GitError> {
    enter(None, file)
}
