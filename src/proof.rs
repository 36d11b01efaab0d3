//! What `audit` and `release` found out about a repository: data for their reporters, filled in by the shell.

use crate::ids::Oid;

/// Who merged a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// libgit2: other code than the one that landed the merge.
    Library,
    /// The git program, where libgit2 cannot read the repository or came to something else.
    Program,
}

impl Engine {
    /// Its name for people and documents.
    pub fn word(self) -> &'static str {
        match self {
            Self::Library => "libgit2",
            Self::Program => "git",
        }
    }
}

/// What a commit on an audited branch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A merge by the orchestrator.
    Landing,
    /// A commit that is on the branch itself and came by no landing.
    Beside,
    /// A merge within the work that a landing brought in, by whoever did that work.
    WithinWork,
}

impl EntryKind {
    /// As `audit --json` writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Landing => "landing",
            Self::Beside => "beside",
            Self::WithinWork => "within-work",
        }
    }
}

/// Whose lines are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A clean merge of both sides has them.
    Merge,
    /// The first parent's side added them.
    Ours,
    /// The second parent's side added them.
    Theirs,
}

impl Side {
    /// As reports write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Merge => "merge",
            Self::Ours => "ours",
            Self::Theirs => "theirs",
        }
    }
}

/// Lines that ought to be in a file and are not, or a file that is not what it ought to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vanished {
    /// The file.
    pub path: String,
    /// Whose lines they are.
    pub side: Side,
    /// Some of the lines.
    pub lines: Vec<String>,
    /// How many there are in all. 0: the file differs in another way (its mode, a binary content, a submodule, additions).
    pub count: usize,
}

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// A stable word for programs, for example `edited-tree`.
    pub code: &'static str,
    /// A sentence for people.
    pub sentence: String,
}

/// One commit that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// The commit.
    pub commit: Oid,
    /// Its first line.
    pub subject: String,
    /// Who came to the same tree; `None` when nobody did, or nothing was to be merged.
    pub engine: Option<Engine>,
    /// libgit2 came to another tree than git and the landing.
    pub library_differs: bool,
    /// The conflicting paths, when it settles a conflict.
    pub settles: Vec<String>,
    /// Lines that are gone.
    pub vanished: Vec<Vanished>,
    /// What does not hold.
    pub faults: Vec<Fault>,
    /// A human has accepted it as it is.
    pub accepted: bool,
}

impl Entry {
    /// Whether nothing is wrong with it, or a human has accepted what is.
    pub fn holds(&self) -> bool {
        self.faults.is_empty() || self.accepted
    }
}

/// A branch that was audited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchAudit {
    /// The ref, for example `main` or `origin/team-1`; for a team whose branch is gone, the landing that it is known by.
    pub branch: String,
    /// Where it stands.
    pub tip: Oid,
    /// Oldest first.
    pub entries: Vec<Entry>,
}

/// What an audit found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The teams' branches in the order of the plan, then the base branch.
    pub branches: Vec<BranchAudit>,
}

impl Audit {
    /// Whether everything holds.
    pub fn holds(&self) -> bool {
        self.entries().all(Entry::holds)
    }

    /// All commits that were looked at.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.branches.iter().flat_map(|branch| &branch.entries)
    }

    /// The number of landings.
    pub fn landings(&self) -> usize {
        self.entries().filter(|entry| entry.kind == EntryKind::Landing).count()
    }

    /// The number of things that do not hold.
    pub fn faults(&self) -> usize {
        let open = self.entries().filter(|entry| !entry.holds());
        open.map(|entry| entry.faults.len()).sum()
    }
}

/// What a check of a release came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It holds; this is what was seen.
    Holds(String),
    /// It does not hold.
    Fails {
        /// Why.
        reason: String,
        /// What helps.
        remedy: String,
    },
    /// Only a human can know; saying yes to the release says yes to it.
    ByHand(String),
}

/// One line of the checklist before a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseCheck {
    /// What must hold.
    pub what: &'static str,
    /// What it came to.
    pub finding: Finding,
}

/// The checklist before a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseReport {
    /// The branch that is released.
    pub base: String,
    /// Where it stands.
    pub commit: Oid,
    /// In the order in which they were made.
    pub checks: Vec<ReleaseCheck>,
}

impl ReleaseReport {
    /// The number of checks that fail.
    pub fn failing(&self) -> usize {
        let fails = |check: &&ReleaseCheck| matches!(check.finding, Finding::Fails { .. });
        self.checks.iter().filter(fails).count()
    }
}
