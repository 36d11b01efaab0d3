//! What the core wants done. Commands are imperative and idempotent: performing one twice does what performing it once does.

use crate::core::event::{GateOutcome, MergeKind};
use crate::core::state::Escalation;
use crate::ids::{Actor, Attempt, BranchName, EscalationId, MergeId, Oid, Time};
use crate::plan::Gate;

/// Something to be done by the shell, which answers with events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make a team's branch at the base branch's tip. A branch that exists counts when its tip is an ancestor of (or equal to) the base's tip: it is fast-forwarded.
    /// Answered by `BranchCreated` or `EffectFailed`.
    CreateTeamBranch {
        /// The team's branch.
        branch: BranchName,
        /// The base branch.
        base: BranchName,
    },
    /// Make an actor's branch at exactly this commit, or take one that can be fast-forwarded to it. Answered by `BranchCreated` or `EffectFailed`.
    CreateActorBranch {
        /// Whose.
        actor: Actor,
        /// The branch.
        branch: BranchName,
        /// Where it starts.
        at: Oid,
    },
    /// Put an actor's branch to exactly this commit, wherever it stands now, with the files of its workspace. Before, whatever it held that would be lost (its tip,
    /// and changes that are in no commit) is kept under `refs/orchestrate/`. Answered by `BranchCreated` or `EffectFailed`.
    ResetActorBranch {
        /// Whose; nothing of it lives.
        actor: Actor,
        /// The branch.
        branch: BranchName,
        /// Where it starts anew.
        at: Oid,
    },
    /// Start the process of an attempt, or adopt it when it lives already, or report its end when it has ended.
    /// Answered by `AgentStarted`, `AgentProgressed`, `AgentExited` or `EffectFailed`.
    StartAgent(StartAgent),
    /// End the process of an attempt: politely, or at once with everything it started. Answered by `AgentExited`.
    StopAgent {
        /// Whose.
        actor: Actor,
        /// Which.
        attempt: Attempt,
        /// SIGKILL instead of SIGTERM.
        kill: bool,
    },
    /// Merge in memory; for actors' branches check deliverables and paths first. Answered by `MergePrepared` or `EffectFailed`.
    PrepareMerge {
        /// Which merge.
        merge_id: MergeId,
        /// What goes where.
        kind: MergeKind,
        /// The commit to merge.
        source: Oid,
        /// The branch to merge into.
        target: BranchName,
        /// The source settles a conflict and was checked as such: what it touches and holds was judged before.
        resolved: bool,
    },
    /// Look at what somebody made of a conflict: it must hold both sides, touch nothing else without a reason, and what it drops is told. Answered by
    /// `ResolutionChecked` or `EffectFailed`.
    CheckResolution {
        /// Which merge.
        merge_id: MergeId,
        /// The commit that settles it.
        commit: Oid,
        /// The conflict.
        conflict: ConflictFacts,
    },
    /// Run a gate on a tree. Answered by `GateFinished` or `EffectFailed`.
    RunGate {
        /// Which merge.
        merge_id: MergeId,
        /// What goes where.
        kind: MergeKind,
        /// The tree to run it on.
        tree: Oid,
        /// The parents that the candidate commit has: target, source.
        parents: [Oid; 2],
        /// The command.
        command: String,
    },
    /// Merge in memory what a merge is going to be once those in front of it have landed. No ref moves. Answered by `Speculated` or `EffectFailed`.
    Speculate {
        /// Which merge.
        merge_id: MergeId,
        /// Where the target stands.
        tip: Oid,
        /// The commits in front of it, in the order of the queue.
        ahead: Vec<Oid>,
        /// The commit to merge.
        source: Oid,
    },
    /// Merge in memory what was turned down with each commit that landed in its target since it began. No ref moves. Answered by `LookedBack` or `EffectFailed`.
    LookBack {
        /// Which merge.
        merge_id: MergeId,
        /// The commit that was merged.
        source: Oid,
        /// The commit that it was merged into.
        onto: Oid,
    },
    /// Write the merge commit with its receipt and move the target to it, by compare-and-swap. Answered by `MergeLanded`, `LandingRefused` or `EffectFailed`.
    LandMerge(LandMerge),
    /// Put a team's branch or the base branch back to a commit at which it stood before, with its checkouts, all or nothing; where it stood is kept under
    /// `refs/orchestrate/`. Answered by `RolledBack`, `RollbackRefused` or `EffectFailed`.
    RollBack {
        /// The branch.
        branch: BranchName,
        /// Where it is to stand.
        to: Oid,
        /// Other teams' branches that hold what is undone go back too; without it, such a branch is a reason to refuse.
        cascade: bool,
    },
    /// Write a commit on top of this one with a file in `docs/decisions/` that has a question and its answer. No branch moves. Answered by `DecisionWritten` or
    /// `EffectFailed`.
    WriteDecision {
        /// The question's number.
        escalation_id: EscalationId,
        /// The team's branch.
        branch: BranchName,
        /// Where it stands.
        onto: Oid,
        /// Question and answer.
        escalation: Box<Escalation>,
    },
    /// The run is over: end the loop.
    FinishRun {
        /// How it ended.
        outcome: RunOutcome,
    },
}

/// An attempt to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartAgent {
    /// Whose.
    pub actor: Actor,
    /// Which; unique per actor.
    pub attempt: Attempt,
    /// What the session is for.
    pub task: Task,
    /// The branch that it works on.
    pub branch: BranchName,
    /// The vendor's session to continue, if there is one.
    pub session: Option<String>,
    /// What is to be settled, for whoever settles a conflict.
    pub conflict: Option<ConflictFacts>,
}

/// A conflict, for whoever settles it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictFacts {
    /// Which merge.
    pub merge_id: MergeId,
    /// What goes where.
    pub kind: MergeKind,
    /// The commit that is merged.
    pub source: Oid,
    /// The branch that it comes from.
    pub source_branch: BranchName,
    /// The commit that it is merged into.
    pub onto: Oid,
    /// The branch that it goes into.
    pub target: BranchName,
    /// Conflicting paths.
    pub paths: Vec<String>,
    /// What a human has said about it, or empty.
    pub guidance: String,
}

/// What a session is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Do the work of the prompt. For a leader: integrate.
    Work,
    /// Settle a conflict.
    Resolve,
    /// Go on after an interruption that was nobody's fault.
    Continue,
    /// Nothing was heard of the last attempt for long: go on, in the same session.
    Nudge {
        /// What is told before everything else.
        reason: String,
    },
    /// The last attempt ended badly or was turned down: mend it.
    Retry {
        /// A sentence: what was wrong.
        reason: String,
        /// The failing output, or empty.
        output: String,
    },
    /// A human has answered.
    Answer {
        /// What was asked.
        question: String,
        /// What the human said.
        answer: String,
    },
}

/// A merge to be landed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LandMerge {
    /// Which merge.
    pub merge_id: MergeId,
    /// What goes where.
    pub kind: MergeKind,
    /// The branch that moves.
    pub target: BranchName,
    /// Where it must stand now: the first parent.
    pub onto: Oid,
    /// The second parent.
    pub source: Oid,
    /// The tree that the gate ran on.
    pub tree: Oid,
    /// The proof that goes into the commit's trailers.
    pub receipt: Receipt,
    /// The subject line.
    pub subject: String,
}

/// The proof that a tree may land.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The run.
    pub run_id: String,
    /// The gate.
    pub gate: Gate,
    /// What it came to; `None` when the plan says that this level has no gate.
    pub outcome: Option<GateOutcome>,
    /// How long it ran, in milliseconds.
    pub duration_ms: u64,
    /// When the tree was found fit; also the commit's date, so that landing again makes the same commit.
    pub at: Time,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// Every team has landed.
    Complete,
    /// Nothing can go on without a human.
    Waiting {
        /// One sentence each.
        reasons: Vec<String>,
    },
    /// Nothing can go on.
    Failed {
        /// One sentence each.
        reasons: Vec<String>,
    },
    /// Somebody asked for it; agents may live on.
    Stopped,
}
