//! A hint from the file system, within milliseconds, that a branch may have moved; `refs.rs` compares tips, which tells the truth.
//!
//! Hints may come too often, and may be lost (a new directory, an overflow): whoever waits for them also compares every second or two.

use std::path::Path;
use std::sync::Arc;

use notify::event::{EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use thiserror::Error;
use tokio::sync::Notify;

use super::git::Git;

/// The system does not let us watch the repository; comparing by the clock still works.
#[derive(Debug, Error)]
#[error("the repository's refs cannot be watched: {detail}")]
pub struct WatchError {
    detail: String,
}

/// Watches a repository's refs for as long as it lives.
pub struct RefWatcher {
    _watcher: RecommendedWatcher,
}

impl RefWatcher {
    /// Starts watching; `on_hint` is called from a thread of the watcher whenever a branch may have moved.
    pub fn start(git: &Git, on_hint: impl Fn() + Send + 'static) -> Result<Self, WatchError> {
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error or an overflow means that something was missed: look.
            if event.as_ref().map_or(true, is_hint) {
                on_hint();
            }
        })
        .map_err(|error| WatchError {
            detail: error.to_string(),
        })?;
        let common = git.common_dir();
        // Branches; refs packed into one file, which is replaced in the top directory; the tables of a reftable repository.
        let places = [
            (common.join("refs").join("heads"), RecursiveMode::Recursive),
            (common.to_path_buf(), RecursiveMode::NonRecursive),
            (common.join("reftable"), RecursiveMode::NonRecursive),
        ];
        for (directory, mode) in places.iter().filter(|(directory, _)| directory.is_dir()) {
            watcher.watch(directory, *mode).map_err(|error| WatchError {
                detail: error.to_string(),
            })?;
        }
        Ok(Self { _watcher: watcher })
    }

    /// Starts watching; the returned [`Notify`] holds one permit as soon as a branch may have moved, however many hints came.
    pub fn start_notifying(git: &Git) -> Result<(Self, Arc<Notify>), WatchError> {
        let notify = Arc::new(Notify::new());
        let hint = Arc::clone(&notify);
        Ok((Self::start(git, move || hint.notify_one())?, notify))
    }
}

/// Refs are renamed into place; opening and reading them, and their lock files, tell nothing.
fn is_hint(event: &Event) -> bool {
    if event.need_rescan() {
        return true;
    }
    let changes = match event.kind {
        EventKind::Create(_)
        | EventKind::Remove(_)
        | EventKind::Modify(ModifyKind::Name(_) | ModifyKind::Data(_) | ModifyKind::Any) => true,
        EventKind::Any | EventKind::Other => true,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_) | ModifyKind::Other) => false,
    };
    changes && event.paths.iter().any(|path| is_ref_storage(path))
}

/// Whether a file holds refs: one below `refs/heads`, `packed-refs`, or the list of reftables. The top directory also holds the index, HEAD and such.
fn is_ref_storage(path: &Path) -> bool {
    let is_lock = path.extension().is_some_and(|extension| extension == "lock");
    let is_ref = path.components().any(|component| component.as_os_str() == "heads");
    let is_named = path
        .file_name()
        .is_some_and(|name| name == "packed-refs" || name == "tables.list");
    !is_lock && (is_ref || is_named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_hold_refs_are_hints() {
        assert!(is_ref_storage(Path::new("/r/.git/refs/heads/team/x")));
        assert!(is_ref_storage(Path::new("/r/.git/packed-refs")));
        assert!(is_ref_storage(Path::new("/r/.git/reftable/tables.list")));
        assert!(!is_ref_storage(Path::new("/r/.git/refs/heads/x.lock")));
        assert!(!is_ref_storage(Path::new("/r/.git/index")));
    }
}
