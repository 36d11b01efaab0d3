//! What can go wrong with git, in words for people, each with the command that helps.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::ids::{BranchName, Oid};

/// The oldest git that has everything we use (`--attr-source`, `merge-tree --stdin`).
pub(super) const MINIMUM_VERSION: (u32, u32) = (2, 41);

/// A git operation that could not be done.
#[derive(Debug, Error)]
pub enum GitError {
    /// There is no git program, or it cannot be run.
    #[error("the program `git` cannot be started")]
    Missing {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The git program is older than what we use.
    #[error("git {found} is too old: {}.{} or newer is needed", MINIMUM_VERSION.0, MINIMUM_VERSION.1)]
    TooOld {
        /// Its version.
        found: String,
    },
    /// The directory is not in a repository.
    #[error("`{}` is not in a git repository: {detail}", directory.display())]
    NotARepository {
        /// The directory.
        directory: PathBuf,
        /// What git says.
        detail: String,
    },
    /// The repository has no checkout.
    #[error("`{}` is a bare repository: it has no checkout to read the plan from", directory.display())]
    Bare {
        /// The directory.
        directory: PathBuf,
    },
    /// The branch is needed, and it is not there.
    #[error("branch `{branch}` does not exist")]
    NoSuchBranch {
        /// The branch.
        branch: BranchName,
    },
    /// The object is needed, and it is not there.
    #[error("commit {oid} is not in the repository")]
    NoSuchCommit {
        /// The commit.
        oid: Oid,
    },
    /// Two commits have no common history.
    #[error("{source_commit} and {target_commit} have no common history, so they cannot be merged")]
    Unrelated {
        /// One of them.
        source_commit: Oid,
        /// The other.
        target_commit: Oid,
    },
    /// A branch of this name holds something else.
    #[error("branch exists with other content: `{branch}` stands at {tip}, which is not in the history of {wanted}")]
    BranchTaken {
        /// The branch.
        branch: BranchName,
        /// Where it stands.
        tip: Oid,
        /// Where it ought to start.
        wanted: Oid,
    },
    /// A branch cannot be moved because somebody works in a checkout of it.
    #[error("branch `{branch}` is checked out in `{directory}` with changes in {}", paths.join(", "))]
    BranchInUse {
        /// The branch.
        branch: BranchName,
        /// The checkout's directory.
        directory: String,
        /// Some of the changed paths.
        paths: Vec<String>,
    },
    /// A branch moved while we worked on it.
    #[error("branch `{branch}` moved meanwhile: it was expected at {expected} and stands at {}", found.as_ref().map_or("no commit", Oid::as_str))]
    BranchMoved {
        /// The branch.
        branch: BranchName,
        /// Where it was expected.
        expected: String,
        /// Where it stands.
        found: Option<Oid>,
    },
    /// The workspace's place is taken by something that is not ours.
    #[error("`{}` cannot become a workspace: {reason}", path.display())]
    WorktreeTaken {
        /// The directory.
        path: PathBuf,
        /// What is in the way.
        reason: String,
        /// The command that clears the way.
        remedy: String,
    },
    /// A workspace holds work that would be lost.
    #[error("workspace `{}` is not removed: {reason}", path.display())]
    WorktreeHoldsWork {
        /// The directory.
        path: PathBuf,
        /// What would be lost.
        reason: String,
    },
    /// A pattern of the plan cannot be read.
    #[error("`{pattern}` is not a valid glob: {detail}")]
    BadGlob {
        /// The pattern.
        pattern: String,
        /// Why.
        detail: String,
    },
    /// A git command failed.
    #[error("`git {command}` failed: {detail}")]
    Failed {
        /// The command, shortened.
        command: String,
        /// The end of what it said.
        detail: String,
    },
    /// A git command did not end.
    #[error("`git {command}` did not end within {seconds} s")]
    TimedOut {
        /// The command, shortened.
        command: String,
        /// How long it was given.
        seconds: u64,
    },
    /// libgit2 cannot read what it ought to be able to.
    #[error("the repository cannot be read: {detail}")]
    Unreadable {
        /// Why.
        detail: String,
    },
    /// A file operation failed.
    #[error("{action} `{}` failed", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl GitError {
    /// For `map_err` on a file operation.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File {
            action,
            path: path.to_path_buf(),
            source,
        }
    }

    /// The exact next step, if there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => Some("install git and make sure that it is on PATH".to_owned()),
            Self::TooOld { .. } => Some(format!(
                "install git {}.{} or newer",
                MINIMUM_VERSION.0, MINIMUM_VERSION.1
            )),
            Self::NotARepository { directory, detail } => Some(match detail.contains("safe.directory") {
                true => format!(
                    "git config --global --add safe.directory {}",
                    quoted(&directory.display().to_string())
                ),
                false => "run `git init`, or name the repository with `--repo DIR`".to_owned(),
            }),
            Self::Bare { directory } => Some(format!(
                "git clone {} and run orchestrate in the clone",
                quoted(&directory.display().to_string())
            )),
            Self::NoSuchBranch { branch } => Some(format!(
                "git branch {branch} <commit>; a repository without commits needs a first one: git commit --allow-empty -m \"Begin\""
            )),
            Self::NoSuchCommit { .. } => Some("a shallow clone lacks history: git fetch --unshallow".to_owned()),
            Self::Unrelated { .. } => Some("recreate the branch from the base branch".to_owned()),
            Self::BranchTaken { branch, .. } => Some(format!(
                "keep what is there under another name: git branch -m {branch} {branch}-old"
            )),
            Self::BranchInUse { directory, .. } => Some(format!(
                "commit or stash the changes: git -C {} stash",
                quoted(directory)
            )),
            Self::WorktreeTaken { remedy, .. } => Some(remedy.clone()),
            Self::WorktreeHoldsWork { path, .. } => Some(format!(
                "look at it with: git -C {} status",
                quoted(&path.display().to_string())
            )),
            Self::Failed { detail, .. } => lock_file_in(detail).map(|file| {
                format!(
                    "if no git process is running, a crash left the lock behind: rm {}",
                    quoted(&file)
                )
            }),
            Self::BranchMoved { .. }
            | Self::BadGlob { .. }
            | Self::TimedOut { .. }
            | Self::Unreadable { .. }
            | Self::File { .. } => None,
        }
    }

    /// The message with its cause and its hint as one sentence, for an event's text.
    pub fn sentence(&self) -> String {
        let mut text = self.to_string();
        if let Some(source) = std::error::Error::source(self) {
            text.push_str(&format!(": {source}"));
        }
        if let Some(hint) = self.hint() {
            text.push_str(&format!(" ({hint})"));
        }
        text
    }
}

/// The text as one word of a shell command.
pub(crate) fn quoted(text: &str) -> String {
    let plain = !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c));
    if plain {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// The lock file that git complains about: `Unable to create '/x/index.lock': File exists.`
fn lock_file_in(detail: &str) -> Option<String> {
    detail
        .split('\'')
        .find(|part| part.ends_with(".lock") && part.starts_with('/'))
        .map(str::to_owned)
}
