//! What `gate` found out about a repository: data for its reporters.

use crate::ids::Oid;

/// One thing that was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What must hold.
    pub what: String,
    /// Why it does not hold, and what would help; `None` when it holds.
    pub missing: Option<Missing>,
}

/// Why something does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The reason.
    pub reason: String,
    /// What would unblock it.
    pub remedy: String,
}

/// What was found about one team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeamVerdict {
    /// The phase's id.
    pub phase: String,
    /// The team's id.
    pub team: String,
    /// The team's name.
    pub name: String,
    /// The merge commit that landed it, when that is valid.
    pub landing: Option<Oid>,
    /// In the order of the plan.
    pub checks: Vec<Check>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The name of the ref that was judged, for example `main` or `origin/main`.
    pub base: String,
    /// Where it stands.
    pub tip: Oid,
    /// The teams of the phases asked for.
    pub teams: Vec<TeamVerdict>,
}

impl Verdict {
    /// Whether everything holds.
    pub fn holds(&self) -> bool {
        self.checks().all(|check| check.missing.is_none())
    }

    /// All checks.
    pub fn checks(&self) -> impl Iterator<Item = &Check> {
        self.teams.iter().flat_map(|team| &team.checks)
    }
}
