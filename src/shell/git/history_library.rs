//! Reads refs and commits through libgit2, in process: the fast path for repositories with plain ref files and SHA-1.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use git2::{Delta, ErrorCode, ObjectType, Repository, Sort, TreeWalkMode, TreeWalkResult};

use super::error::GitError;
use super::history::{CommitRecord, History};
use crate::ids::{BranchName, Oid, Time};

/// The reader inside this process. libgit2 handles are not shared between threads, hence the lock; questions take microseconds.
pub(super) struct LibraryHistory {
    repository: Mutex<Repository>,
}

impl LibraryHistory {
    /// Opens the repository; `None` when libgit2 cannot.
    pub(super) fn open(directory: &Path) -> Option<Self> {
        let repository = Repository::open(directory).ok()?;
        Some(Self {
            repository: Mutex::new(repository),
        })
    }

    fn repository(&self) -> MutexGuard<'_, Repository> {
        // Reading leaves nothing half done, so a panic elsewhere does not spoil the handle.
        self.repository.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl History for LibraryHistory {
    fn tip(&self, reference: &str) -> Result<Option<Oid>, GitError> {
        let repository = self.repository();
        let found = match repository.find_reference(reference) {
            Ok(found) => found,
            Err(error) if matches!(error.code(), ErrorCode::NotFound | ErrorCode::InvalidSpec) => return Ok(None),
            Err(error) => return Err(unreadable(&error)),
        };
        match found.peel_to_commit() {
            Ok(commit) => Ok(Some(oid_of(commit.id()))),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(unreadable(&error)),
        }
    }

    fn tips(&self, prefix: &str) -> Result<BTreeMap<BranchName, Oid>, GitError> {
        let repository = self.repository();
        let references = repository
            .references_glob(&format!("{prefix}*"))
            .map_err(|error| unreadable(&error))?;
        let mut tips = BTreeMap::new();
        for reference in references {
            // A ref that vanishes between listing and reading is gone: the next look tells the same.
            let Ok(reference) = reference else { continue };
            let name = String::from_utf8_lossy(reference.name_bytes()).into_owned();
            let target = reference
                .target()
                .or_else(|| reference.resolve().ok().and_then(|resolved| resolved.target()));
            if let (Some(name), Some(target)) = (name.strip_prefix(prefix), target) {
                tips.insert(BranchName::new(name), oid_of(target));
            }
        }
        Ok(tips)
    }

    fn commit(&self, oid: &Oid) -> Result<Option<CommitRecord>, GitError> {
        let repository = self.repository();
        match git2::Oid::from_str(oid.as_str()).and_then(|id| repository.find_commit(id)) {
            Ok(commit) => Ok(Some(record_of(&commit))),
            Err(_) => Ok(None),
        }
    }

    fn commits(&self, new: &Oid, hidden: &[Oid], limit: usize) -> Result<Vec<CommitRecord>, GitError> {
        let repository = self.repository();
        let mut walk = repository.revwalk().map_err(|error| unreadable(&error))?;
        walk.set_sorting(Sort::TOPOLOGICAL)
            .map_err(|error| unreadable(&error))?;
        walk.push(library_oid(new)?).map_err(|error| unreadable(&error))?;
        for oid in hidden {
            walk.hide(library_oid(oid)?).map_err(|error| unreadable(&error))?;
        }
        walk.take(limit)
            .map(|id| {
                id.and_then(|id| repository.find_commit(id))
                    .map(|commit| record_of(&commit))
                    .map_err(|error| unreadable(&error))
            })
            .collect()
    }

    fn first_parents(&self, new: &Oid, limit: usize) -> Result<Vec<CommitRecord>, GitError> {
        let repository = self.repository();
        let mut walk = repository.revwalk().map_err(|error| unreadable(&error))?;
        walk.simplify_first_parent().map_err(|error| unreadable(&error))?;
        walk.push(library_oid(new)?).map_err(|error| unreadable(&error))?;
        walk.take(limit)
            .map(|id| {
                id.and_then(|id| repository.find_commit(id))
                    .map(|commit| record_of(&commit))
                    .map_err(|error| unreadable(&error))
            })
            .collect()
    }

    fn contains(&self, descendant: &Oid, ancestor: &Oid) -> Result<bool, GitError> {
        if descendant == ancestor {
            return Ok(true);
        }
        let repository = self.repository();
        repository
            .graph_descendant_of(library_oid(descendant)?, library_oid(ancestor)?)
            .map_err(|error| unreadable(&error))
    }

    fn merge_base(&self, one: &Oid, other: &Oid) -> Result<Option<Oid>, GitError> {
        let repository = self.repository();
        match repository.merge_base(library_oid(one)?, library_oid(other)?) {
            Ok(base) => Ok(Some(oid_of(base))),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(unreadable(&error)),
        }
    }

    fn paths(&self, commit: &Oid) -> Result<Vec<String>, GitError> {
        let repository = self.repository();
        let tree = tree_of(&repository, commit)?;
        let mut paths = Vec::new();
        tree.walk(TreeWalkMode::PreOrder, |directory, entry| {
            if entry.kind() != Some(ObjectType::Tree) {
                paths.push(format!("{directory}{}", String::from_utf8_lossy(entry.name_bytes())));
            }
            TreeWalkResult::Ok
        })
        .map_err(|error| unreadable(&error))?;
        Ok(paths)
    }

    fn changed_paths(&self, from: &Oid, to: &Oid) -> Result<Vec<String>, GitError> {
        let repository = self.repository();
        let (from, to) = (tree_of(&repository, from)?, tree_of(&repository, to)?);
        let diff = repository
            .diff_tree_to_tree(Some(&from), Some(&to), None)
            .map_err(|error| unreadable(&error))?;
        let mut paths = BTreeSet::new();
        for delta in diff.deltas() {
            let file = if delta.status() == Delta::Deleted {
                delta.old_file()
            } else {
                delta.new_file()
            };
            if let Some(bytes) = file.path_bytes() {
                paths.insert(String::from_utf8_lossy(bytes).into_owned());
            }
        }
        Ok(paths.into_iter().collect())
    }

    fn merged(&self, ours: &Oid, theirs: &Oid) -> Result<Option<Oid>, GitError> {
        let repository = self.repository();
        let commit_of = |oid: &Oid| -> Result<git2::Commit<'_>, GitError> {
            git2::Oid::from_str(oid.as_str())
                .and_then(|oid| repository.find_commit(oid))
                .map_err(|error| unreadable(&error))
        };
        let (ours, theirs) = (commit_of(ours)?, commit_of(theirs)?);
        // What it cannot merge at all is for git to decide.
        let Ok(mut index) = repository.merge_commits(&ours, &theirs, None) else {
            return Ok(None);
        };
        if index.has_conflicts() {
            return Ok(None);
        }
        let tree = index.write_tree_to(&repository).map_err(|error| unreadable(&error))?;
        Ok(Some(oid_of(tree)))
    }

    fn write_commit(&self, text: &str) -> Result<Option<Oid>, GitError> {
        let repository = self.repository();
        let id = repository
            .odb()
            .and_then(|objects| objects.write(ObjectType::Commit, text.as_bytes()))
            .map_err(|error| unreadable(&error))?;
        Ok(Some(oid_of(id)))
    }

    fn object_at(&self, commit: &Oid, path: &str) -> Result<Option<Oid>, GitError> {
        let repository = self.repository();
        let tree = tree_of(&repository, commit)?;
        match tree.get_path(Path::new(path)) {
            Ok(entry) => Ok(Some(oid_of(entry.id()))),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(unreadable(&error)),
        }
    }
}

fn tree_of<'a>(repository: &'a Repository, commit: &Oid) -> Result<git2::Tree<'a>, GitError> {
    repository
        .find_object(library_oid(commit)?, None)
        .and_then(|object| object.peel_to_tree())
        .map_err(|error| unreadable(&error))
}

fn record_of(commit: &git2::Commit<'_>) -> CommitRecord {
    let seconds = u64::try_from(commit.committer().when().seconds()).unwrap_or(0);
    CommitRecord {
        oid: oid_of(commit.id()),
        tree: oid_of(commit.tree_id()),
        parents: commit.parent_ids().map(oid_of).collect(),
        committer_email: String::from_utf8_lossy(commit.committer().email_bytes()).into_owned(),
        committed_at: Time(seconds.saturating_mul(1000)),
        message: String::from_utf8_lossy(commit.message_bytes())
            .trim_matches('\n')
            .to_owned(),
    }
}

fn oid_of(id: git2::Oid) -> Oid {
    Oid::new(id.to_string())
}

fn library_oid(oid: &Oid) -> Result<git2::Oid, GitError> {
    git2::Oid::from_str(oid.as_str()).map_err(|error| unreadable(&error))
}

fn unreadable(error: &git2::Error) -> GitError {
    GitError::Unreadable {
        detail: error.message().to_owned(),
    }
}
