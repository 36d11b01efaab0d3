//! Notices that branches moved: a hint from the file system within milliseconds, and the comparison of tips that tells the truth.
//!
//! Hints may come too often, and may be lost (a new directory, an overflow): whoever waits for them also compares every second or two.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use notify::event::{EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use thiserror::Error;
use tokio::sync::Notify;

use super::git::Git;
use crate::ids::{BranchName, Oid};

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

/// A branch that stands elsewhere than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedBranch {
    /// The branch.
    pub branch: BranchName,
    /// Where it stood; `None` when it is new.
    pub old: Option<Oid>,
    /// Where it stands; `None` when it is gone.
    pub new: Option<Oid>,
}

/// Remembers where branches stood when somebody last looked.
#[derive(Clone, Debug, Default)]
pub struct RefTracker {
    seen: BTreeMap<BranchName, Oid>,
}

impl RefTracker {
    /// Starts from tips that are known already, for example from the journal.
    pub fn new(seen: BTreeMap<BranchName, Oid>) -> Self {
        Self { seen }
    }

    /// Where a branch stood.
    pub fn seen(&self, branch: &BranchName) -> Option<&Oid> {
        self.seen.get(branch)
    }

    /// Takes a branch's tip as known, so that it is not told as a move.
    pub fn expect(&mut self, branch: BranchName, tip: Oid) {
        self.seen.insert(branch, tip);
    }

    /// Compares with the tips of now, in the order of names, and remembers these.
    pub fn moved(&mut self, tips: BTreeMap<BranchName, Oid>) -> Vec<MovedBranch> {
        let mut moved = Vec::new();
        for (branch, old) in &self.seen {
            let new = tips.get(branch);
            if new != Some(old) {
                moved.push(MovedBranch {
                    branch: branch.clone(),
                    old: Some(old.clone()),
                    new: new.cloned(),
                });
            }
        }
        for (branch, new) in tips.iter().filter(|(branch, _)| !self.seen.contains_key(*branch)) {
            moved.push(MovedBranch {
                branch: branch.clone(),
                old: None,
                new: Some(new.clone()),
            });
        }
        moved.sort_by(|one, other| one.branch.cmp(&other.branch));
        self.seen = tips;
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tips(pairs: &[(&str, &str)]) -> BTreeMap<BranchName, Oid> {
        pairs
            .iter()
            .map(|(branch, oid)| (BranchName::new(*branch), Oid::new(*oid)))
            .collect()
    }

    #[test]
    fn tracker_tells_each_move_once() {
        let mut tracker = RefTracker::new(tips(&[("a", "1"), ("b", "1"), ("c", "1")]));
        let moved = tracker.moved(tips(&[("a", "1"), ("b", "2"), ("d", "3")]));
        let told: Vec<_> = moved
            .iter()
            .map(|moved| {
                (
                    moved.branch.as_str(),
                    moved.old.as_ref().map(Oid::as_str),
                    moved.new.as_ref().map(Oid::as_str),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("b", Some("1"), Some("2")),
                ("c", Some("1"), None),
                ("d", None, Some("3"))
            ]
        );
        assert_eq!(tracker.moved(tips(&[("a", "1"), ("b", "2"), ("d", "3")])), []);
    }

    #[test]
    fn only_files_that_hold_refs_are_hints() {
        assert!(is_ref_storage(Path::new("/r/.git/refs/heads/team/x")));
        assert!(is_ref_storage(Path::new("/r/.git/packed-refs")));
        assert!(is_ref_storage(Path::new("/r/.git/reftable/tables.list")));
        assert!(!is_ref_storage(Path::new("/r/.git/refs/heads/x.lock")));
        assert!(!is_ref_storage(Path::new("/r/.git/index")));
    }
}
