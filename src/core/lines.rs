//! What a view of a run is made of: one line each for the run, phases, teams, actors, questions, merges and rollbacks.

use crate::core::event::MergeKind;
use crate::core::state::Note;
use crate::ids::{Actor, BranchName, EscalationId, MergeId, MicroDollars, Oid, PhaseId, TeamId, Time};

/// A run at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// When it was looked at.
    pub at: Time,
    /// The run as a whole.
    pub run: RunLine,
    /// In the order of the plan.
    pub phases: Vec<PhaseLine>,
    /// In the order of the plan.
    pub teams: Vec<TeamLine>,
    /// In the order of the plan.
    pub agents: Vec<ActorLine>,
    /// In the order of the plan's teams.
    pub leaders: Vec<ActorLine>,
    /// All questions, the oldest first.
    pub escalations: Vec<EscalationLine>,
    /// All merges, the oldest first.
    pub merges: Vec<MergeLine>,
    /// Branches that a human wanted back at an earlier commit, the oldest first.
    pub rollbacks: Vec<RollbackLine>,
    /// Odd things that were seen and ignored, the oldest first.
    pub notes: Vec<Note>,
}

/// The run as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct RunLine {
    /// The run's id; empty when there is none yet.
    pub id: String,
    /// How it stands.
    pub status: RunStatus,
    /// When it started.
    pub started: Option<Time>,
    /// What it cost so far.
    pub spent: MicroDollars,
    /// What it may cost.
    pub budget: Option<MicroDollars>,
    /// When it may be done, judged by the expected times of the phases that are not complete.
    pub eta: Option<Time>,
    /// What stands in its way, one sentence each.
    pub reasons: Vec<String>,
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStatus {
    /// No run yet.
    NotStarted,
    /// Work goes on.
    Running,
    /// Nothing goes on without a human.
    Waiting,
    /// Somebody stopped it.
    Stopped,
    /// Nothing goes on.
    Failed,
    /// Every team has landed.
    Complete,
}

impl RunStatus {
    /// As `status --json` writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::NotStarted | Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Complete => "complete",
        }
    }
}

/// A phase.
#[derive(Clone, Debug, PartialEq)]
pub struct PhaseLine {
    /// Its id.
    pub id: PhaseId,
    /// Its name.
    pub name: String,
    /// How it stands.
    pub status: PhaseStatus,
    /// Phases that it waits for.
    pub waits_for: Vec<PhaseId>,
}

/// How a phase stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseStatus {
    /// Phases that it needs are not complete.
    Waiting,
    /// Its teams work.
    Running,
    /// Its teams have landed.
    Complete,
    /// Somebody in it failed.
    Failed,
}

impl PhaseStatus {
    /// As `status --json` writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Failed => "failed",
        }
    }
}

/// A team.
#[derive(Clone, Debug, PartialEq)]
pub struct TeamLine {
    /// Its id.
    pub id: TeamId,
    /// Its name.
    pub name: String,
    /// The phase that it belongs to.
    pub phase: PhaseId,
    /// Its branch.
    pub branch: BranchName,
    /// How it stands.
    pub status: TeamStatus,
    /// Where its branch stands.
    pub tip: Option<Oid>,
    /// Agents that are merged.
    pub merged: usize,
    /// Agents in all.
    pub agents: usize,
}

/// How a team stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TeamStatus {
    /// Its phase has not started, or it does not take part.
    Waiting,
    /// Its agents work.
    Running,
    /// All its agents are merged; its leader works.
    Integrating,
    /// It waits for a human's yes.
    AwaitingApproval,
    /// It is on its way to main.
    Landing,
    /// It is on main.
    Landed,
    /// Somebody in it failed.
    Failed,
}

impl TeamStatus {
    /// As `status --json` writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Integrating => "integrating",
            Self::AwaitingApproval => "awaiting-approval",
            Self::Landing => "landing",
            Self::Landed => "landed",
            Self::Failed => "failed",
        }
    }
}

/// An agent or a leader.
#[derive(Clone, Debug, PartialEq)]
pub struct ActorLine {
    /// Who.
    pub actor: Actor,
    /// Its name; a leader's is its team's.
    pub name: String,
    /// Its team.
    pub team: TeamId,
    /// Its branch.
    pub branch: BranchName,
    /// How it stands.
    pub status: ActorStatus,
    /// Attempts that were started.
    pub attempts: u32,
    /// Attempts that may end badly.
    pub max_attempts: u32,
    /// Whether a process lives, or may live.
    pub alive: bool,
    /// The newest sign of life or commit.
    pub last_activity: Option<Time>,
    /// What all attempts cost.
    pub spent: MicroDollars,
    /// Tokens of all attempts.
    pub tokens: u64,
    /// What it waits for, or what went wrong.
    pub reason: Option<String>,
}

/// How an agent or a leader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorStatus {
    /// It may not start yet.
    Waiting,
    /// It works, or is about to.
    Running,
    /// It is complete and on its way into its team's branch.
    Complete,
    /// It is in its team's branch.
    Merged,
    /// No commit and no sign of life for too long; it is being stopped.
    Stuck,
    /// It was given up.
    Failed,
    /// It waits for an answer.
    Escalated,
}

impl ActorStatus {
    /// As `status --json` writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Merged => "merged",
            Self::Stuck => "stuck",
            Self::Failed => "failed",
            Self::Escalated => "escalated",
        }
    }
}

/// A question.
#[derive(Clone, Debug, PartialEq)]
pub struct EscalationLine {
    /// Its number.
    pub id: EscalationId,
    /// Who asks; `None` when the engine does.
    pub actor: Option<Actor>,
    /// The question.
    pub question: String,
    /// More of it.
    pub detail: String,
    /// When it was asked.
    pub asked: Time,
    /// When it was settled.
    pub answered: Option<Time>,
    /// The answer.
    pub answer: Option<String>,
}

/// A branch that a human wanted back at an earlier commit.
#[derive(Clone, Debug, PartialEq)]
pub struct RollbackLine {
    /// The branch.
    pub branch: BranchName,
    /// Where it was to stand.
    pub to: Oid,
    /// How it stands.
    pub status: RollbackStatus,
    /// When that was so.
    pub at: Time,
    /// Where branches stood before they moved: this one's first, then those of teams that went back with it.
    pub from: Vec<(BranchName, Oid)>,
    /// Merges that are undone.
    pub undone: Vec<MergeId>,
    /// Who starts anew.
    pub anew: Vec<Actor>,
    /// Why it was not done.
    pub reason: Option<String>,
}

/// How a way back stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollbackStatus {
    /// Asked for.
    Pending,
    /// Done.
    Done,
    /// Not done, and not going to be.
    Refused,
}

impl RollbackStatus {
    /// As `status --json` writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
            Self::Refused => "refused",
        }
    }
}

/// A merge.
#[derive(Clone, Debug, PartialEq)]
pub struct MergeLine {
    /// Its number.
    pub id: MergeId,
    /// What goes where.
    pub kind: MergeKind,
    /// The branch that it comes from.
    pub source: BranchName,
    /// The branch that it goes into.
    pub target: BranchName,
    /// How it stands.
    pub status: MergeStatus,
    /// The merge commit.
    pub commit: Option<Oid>,
    /// What it waits for, or why it was turned down.
    pub reason: Option<String>,
}

/// How a merge stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeStatus {
    /// In its target's queue, or about to land.
    Queued,
    /// Its gate runs.
    Gating,
    /// Both sides changed the same places.
    Conflict,
    /// It is in its target.
    Merged,
    /// It was turned down.
    Rejected,
}

impl MergeStatus {
    /// As `status --json` writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Gating => "gating",
            Self::Conflict => "conflict",
            Self::Merged => "merged",
            Self::Rejected => "rejected",
        }
    }
}
