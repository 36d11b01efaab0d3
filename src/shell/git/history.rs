//! What is read from a repository's refs and commits, whoever reads it.

use std::collections::BTreeMap;

use super::error::GitError;
use crate::core::event::CommitFact;
use crate::ids::{BranchName, Oid, Time};

/// What is new on a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCommits {
    /// The old tip is not an ancestor of the new one: somebody rewrote the branch.
    pub rewritten: bool,
    /// Oldest first; when there are more than the limit, the newest ones.
    pub commits: Vec<CommitFact>,
}

/// One commit with its place in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitRecord {
    /// The commit.
    pub oid: Oid,
    /// Its tree.
    pub tree: Oid,
    /// Its parents, in order.
    pub parents: Vec<Oid>,
    /// The committer's e-mail address.
    pub committer_email: String,
    /// The committer's date.
    pub committed_at: Time,
    /// The whole message, without blank lines at its end.
    pub message: String,
}

/// A reader of refs and commits. Both implementations give the same answers.
pub(super) trait History: Send + Sync {
    /// Where a full ref name stands.
    fn tip(&self, reference: &str) -> Result<Option<Oid>, GitError>;
    /// All refs below `prefix` (which ends in a slash), without it.
    fn tips(&self, prefix: &str) -> Result<BTreeMap<BranchName, Oid>, GitError>;
    /// One commit; `None` when it is not there.
    fn commit(&self, oid: &Oid) -> Result<Option<CommitRecord>, GitError>;
    /// Commits reachable from `new` and not from `hidden`, children before parents, at most `limit`.
    fn commits(&self, new: &Oid, hidden: &[Oid], limit: usize) -> Result<Vec<CommitRecord>, GitError>;
    /// The chain of first parents from `new` on, newest first, at most `limit`.
    fn first_parents(&self, new: &Oid, limit: usize) -> Result<Vec<CommitRecord>, GitError>;
    /// Whether `descendant` is `ancestor` or descends from it.
    fn contains(&self, descendant: &Oid, ancestor: &Oid) -> Result<bool, GitError>;
    /// The best common ancestor.
    fn merge_base(&self, one: &Oid, other: &Oid) -> Result<Option<Oid>, GitError>;
    /// All paths of files in a commit's tree.
    fn paths(&self, commit: &Oid) -> Result<Vec<String>, GitError>;
    /// Paths that differ between two commits' trees, both names of a rename, sorted.
    fn changed_paths(&self, from: &Oid, to: &Oid) -> Result<Vec<String>, GitError>;
    /// The object at a path of a commit's tree.
    fn object_at(&self, commit: &Oid, path: &str) -> Result<Option<Oid>, GitError>;
    /// The tree of a merge by an implementation that is not git's; `None` when there is none, or when it finds a conflict.
    fn merged(&self, _ours: &Oid, _theirs: &Oid) -> Result<Option<Oid>, GitError> {
        Ok(None)
    }
    /// Writes a commit object as git writes loose objects by default; `None` when only the git program can.
    fn write_commit(&self, _text: &str) -> Result<Option<Oid>, GitError> {
        Ok(None)
    }
}

/// A commit as the core sees it: the message is cut.
pub(super) fn fact_of(record: CommitRecord) -> CommitFact {
    let mut message = record.message;
    if message.len() > CommitFact::MESSAGE_MAX_BYTES {
        let mut end = CommitFact::MESSAGE_MAX_BYTES;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
    }
    CommitFact {
        oid: record.oid,
        message,
    }
}
