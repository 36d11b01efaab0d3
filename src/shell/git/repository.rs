//! The handle: finds the repository, checks git, chooses the reader, answers questions about refs and commits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use super::error::{GitError, MINIMUM_VERSION};
use super::history::{CommitRecord, History, NewCommits, fact_of};
use super::history_cli::CliHistory;
use super::history_library::LibraryHistory;
use super::merge_process::MergeProcess;
use super::process::{GitCommand, QUIET_CONFIG, config_environment};
use super::ref_process::RefProcess;
use crate::ids::{BranchName, Oid};

/// Where local branches stand.
pub(super) const HEADS: &str = "refs/heads/";

/// The hash that names objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectFormat {
    /// 40 digits.
    Sha1,
    /// 64 digits.
    Sha256,
}

impl ObjectFormat {
    /// The name of "no object", as `update-ref` wants it.
    pub(super) fn zero(self) -> Oid {
        match self {
            Self::Sha1 => Oid::new("0".repeat(40)),
            Self::Sha256 => Oid::new("0".repeat(64)),
        }
    }
}

/// How refs and commits are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Through libgit2 where it can open the repository, else through the git program.
    Automatic,
    /// Through the git program always.
    Program,
}

/// A repository, opened once and shared.
pub struct Git {
    pub(super) top_level: PathBuf,
    pub(super) common_dir: PathBuf,
    pub(super) object_format: ObjectFormat,
    pub(super) history: Box<dyn History>,
    pub(super) in_process: bool,
    /// Whether git stores objects as it does without settings; asked once, when it is first of interest.
    pub(super) default_storage: OnceLock<bool>,
    pub(super) merge_process: Mutex<Option<MergeProcess>>,
    /// Started when it is first needed.
    pub(super) ref_process: Mutex<Option<RefProcess>>,
    /// Threads of this process queue here; other processes queue at a file lock (see `lane.rs`).
    pub(super) worktree_lane: Mutex<()>,
    /// The same for landings.
    pub(super) landing_lane: Mutex<()>,
}

impl Git {
    /// Opens the repository that `directory` is in.
    pub fn open(directory: &Path) -> Result<Self, GitError> {
        Self::open_with(directory, Reading::Automatic)
    }

    /// Opens the repository with a chosen way of reading.
    pub fn open_with(directory: &Path, reading: Reading) -> Result<Self, GitError> {
        check_version(directory)?;
        let output = GitCommand::new(
            directory,
            [
                "rev-parse",
                "--path-format=absolute",
                "--is-bare-repository",
                "--show-object-format",
                "--git-common-dir",
                "--show-toplevel",
            ],
        )
        .read_only()
        .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines = text.lines();
        if lines.next() == Some("true") {
            return Err(GitError::Bare {
                directory: directory.to_path_buf(),
            });
        }
        let (Some(format), Some(common_dir), Some(top_level), Some(0)) =
            (lines.next(), lines.next(), lines.next(), output.code)
        else {
            return Err(GitError::NotARepository {
                directory: directory.to_path_buf(),
                detail: output.stderr.trim().to_owned(),
            });
        };
        let top_level = PathBuf::from(top_level);
        let library = match reading {
            Reading::Automatic => LibraryHistory::open(&top_level),
            Reading::Program => None,
        };
        let in_process = library.is_some();
        let history: Box<dyn History> = match library {
            Some(library) => Box::new(library),
            None => Box::new(CliHistory {
                directory: top_level.clone(),
            }),
        };
        Ok(Self {
            object_format: if format == "sha256" {
                ObjectFormat::Sha256
            } else {
                ObjectFormat::Sha1
            },
            common_dir: PathBuf::from(common_dir),
            top_level,
            history,
            in_process,
            default_storage: OnceLock::new(),
            merge_process: Mutex::new(None),
            ref_process: Mutex::new(None),
            worktree_lane: Mutex::new(()),
            landing_lane: Mutex::new(()),
        })
    }

    /// Top directory of the checkout that the repository was opened in.
    pub fn top_level(&self) -> &Path {
        &self.top_level
    }

    /// The directory that all worktrees share, usually `.git`.
    pub fn common_dir(&self) -> &Path {
        &self.common_dir
    }

    /// Our own directory in the shared one: journal, attempts, hooks, locks.
    pub fn state_dir(&self) -> PathBuf {
        self.common_dir.join("orchestrate")
    }

    /// The hash that names objects.
    pub fn object_format(&self) -> ObjectFormat {
        self.object_format
    }

    /// Whether refs and commits are read inside this process.
    pub fn reads_in_process(&self) -> bool {
        self.in_process
    }

    /// Whether the clone lacks older history.
    pub fn is_shallow(&self) -> bool {
        self.common_dir.join("shallow").exists()
    }

    /// Whether HEAD stands on a commit.
    pub fn has_commits(&self) -> Result<bool, GitError> {
        Ok(self.history.tip("HEAD")?.is_some())
    }

    /// The content of a file in a commit; `None` when the commit has no such file.
    pub fn file(&self, commit: &Oid, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        let output = GitCommand::new(&self.top_level, ["cat-file", "blob", &format!("{commit}:{path}")])
            .read_only()
            .output()?;
        Ok((output.code == Some(0)).then_some(output.stdout))
    }

    /// An identity for agents' commits, when the user has configured none: git would refuse to commit.
    pub fn missing_identity(&self) -> Result<Vec<(String, String)>, GitError> {
        let mut missing = Vec::new();
        for (key, value) in [("name", "orchestrate agent"), ("email", "agent@localhost")] {
            let configured = GitCommand::new(&self.top_level, ["config", "--get", &format!("user.{key}")])
                .read_only()
                .output()?;
            if configured.code == Some(0) {
                continue;
            }
            for role in ["AUTHOR", "COMMITTER"] {
                missing.push((format!("GIT_{role}_{}", key.to_uppercase()), value.to_owned()));
            }
        }
        Ok(missing)
    }

    /// Where a local branch stands.
    pub fn tip(&self, branch: &BranchName) -> Result<Option<Oid>, GitError> {
        self.history.tip(&format!("{HEADS}{branch}"))
    }

    /// Where a branch of a remote stood at the last fetch.
    pub fn remote_tip(&self, remote: &str, branch: &BranchName) -> Result<Option<Oid>, GitError> {
        self.history.tip(&format!("refs/remotes/{remote}/{branch}"))
    }

    /// Where a full ref name stands.
    pub fn reference(&self, name: &str) -> Result<Option<Oid>, GitError> {
        self.history.tip(name)
    }

    /// Where these local branches stand; branches that do not exist are left out.
    pub fn tips(&self, branches: &[BranchName]) -> Result<BTreeMap<BranchName, Oid>, GitError> {
        // One look at all of them is cheaper than a look at each when each look starts a process.
        if !self.in_process {
            let all = self.all_tips()?;
            return Ok(branches
                .iter()
                .filter_map(|branch| Some((branch.clone(), all.get(branch)?.clone())))
                .collect());
        }
        let mut tips = BTreeMap::new();
        for branch in branches {
            if let Some(tip) = self.tip(branch)? {
                tips.insert(branch.clone(), tip);
            }
        }
        Ok(tips)
    }

    /// Where all local branches stand.
    pub fn all_tips(&self) -> Result<BTreeMap<BranchName, Oid>, GitError> {
        self.history.tips(HEADS)
    }

    /// What is new at `new` since `old`: oldest first, at most the `limit` newest.
    pub fn new_commits(&self, old: Option<&Oid>, new: &Oid, limit: usize) -> Result<NewCommits, GitError> {
        let known = match old {
            Some(old) => self.history.commit(old)?.map(|record| record.oid),
            None => None,
        };
        let rewritten = match (old, &known) {
            (None, _) => false,
            (Some(_), Some(known)) => !self.history.contains(new, known)?,
            // The old tip is not even in the repository any more.
            (Some(_), None) => true,
        };
        let hidden: Vec<Oid> = known.into_iter().collect();
        let mut commits: Vec<_> = self
            .history
            .commits(new, &hidden, limit)?
            .into_iter()
            .map(fact_of)
            .collect();
        commits.reverse();
        Ok(NewCommits { rewritten, commits })
    }

    /// One commit.
    pub fn commit(&self, oid: &Oid) -> Result<CommitRecord, GitError> {
        self.history
            .commit(oid)?
            .ok_or_else(|| GitError::NoSuchCommit { oid: oid.clone() })
    }

    /// Commits reachable from `new` and not from `hidden`, children before parents, at most `limit`.
    pub fn commits_between(&self, new: &Oid, hidden: &[Oid], limit: usize) -> Result<Vec<CommitRecord>, GitError> {
        self.history.commits(new, hidden, limit)
    }

    /// The chain of first parents from `new` on, newest first, at most `limit`.
    pub fn first_parents(&self, new: &Oid, limit: usize) -> Result<Vec<CommitRecord>, GitError> {
        self.history.first_parents(new, limit)
    }

    /// Whether `descendant` is `ancestor` or descends from it.
    pub fn contains(&self, descendant: &Oid, ancestor: &Oid) -> Result<bool, GitError> {
        self.history.contains(descendant, ancestor)
    }

    /// The best common ancestor.
    pub fn merge_base(&self, one: &Oid, other: &Oid) -> Result<Option<Oid>, GitError> {
        self.history.merge_base(one, other)
    }

    /// All paths of files in a commit's tree.
    pub fn paths(&self, commit: &Oid) -> Result<Vec<String>, GitError> {
        self.history.paths(commit)
    }

    /// Paths that differ between two commits, both names of a rename, sorted.
    pub fn changed_paths(&self, from: &Oid, to: &Oid) -> Result<Vec<String>, GitError> {
        self.history.changed_paths(from, to)
    }

    /// Git settings for processes that we start, as environment variables: nothing repacks behind the fleet's back.
    pub fn quiet_environment() -> Vec<(String, String)> {
        let mut environment = config_environment(0, QUIET_CONFIG.iter().copied());
        environment.push(("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()));
        environment
    }

    /// A git command in the top directory.
    pub(super) fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> GitCommand {
        GitCommand::new(&self.top_level, arguments)
    }
}

/// `git version 2.47.3` and its vendors' variants.
fn check_version(directory: &Path) -> Result<(), GitError> {
    // A directory that does not exist makes the start fail just as a missing git does; they need different words.
    if !directory.is_dir() {
        return Err(GitError::NotARepository {
            directory: directory.to_path_buf(),
            detail: "there is no such directory".to_owned(),
        });
    }
    let text = GitCommand::new(directory, ["version"]).text()?;
    let found = text.strip_prefix("git version ").unwrap_or(&text).to_owned();
    let mut numbers = found.split('.').map(|part| {
        part.chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
            .parse::<u32>()
    });
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= MINIMUM_VERSION => Ok(()),
        _ => Err(GitError::TooOld { found }),
    }
}
