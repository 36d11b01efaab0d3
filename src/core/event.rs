//! The vocabulary of what can happen. Every source speaks it, the journal keeps it, only `apply` interprets it.

use serde::{Deserialize, Serialize};

use crate::ids::{Actor, AgentId, Attempt, BranchName, EscalationId, MergeId, MicroDollars, Oid, TeamId, Time};
use crate::plan::Plan;

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A new run began with this plan. Always the first record of a journal.
    RunStarted {
        /// Unique id of the run.
        run_id: String,
        /// The plan as it was.
        plan: Box<Plan>,
        /// Only these teams take part; empty means all.
        only_teams: Vec<TeamId>,
        /// By which rules the core folds what follows; see [`RULES`].
        #[serde(default)]
        rules: u32,
    },
    /// A process of `orchestrate run` took the run over again: whatever was under way in the old process is unknown now.
    ///
    /// What happened meanwhile (commits, moved branches, the inbox, and landings that were asked for and are in their target) is told before it; commands that
    /// follow from those events are dropped, as a replay's are: this event asks again for whatever is still wanted.
    RunResumed {
        /// The plan as it is now, when it changed.
        plan: Option<Box<Plan>>,
        /// Only these teams take part from now on; empty means all.
        only_teams: Vec<TeamId>,
        /// By which rules the core folds what follows; see [`RULES`].
        #[serde(default)]
        rules: u32,
    },
    /// A branch exists for its owner and starts at `tip`.
    BranchCreated {
        /// The branch.
        branch: BranchName,
        /// The commit it stands at.
        tip: Oid,
    },
    /// The process of an attempt is alive.
    AgentStarted {
        /// Whose.
        actor: Actor,
        /// Which.
        attempt: Attempt,
    },
    /// The process of an attempt gave a sign of life. At most one in ten seconds reaches the journal, or one a second while its cost grows.
    AgentProgressed {
        /// Whose.
        actor: Actor,
        /// Which.
        attempt: Attempt,
        /// Totals of this attempt so far, so that a lost or repeated event does no harm.
        usage: Usage,
        /// The vendor's session, once known.
        session: Option<String>,
    },
    /// The process of an attempt is gone, and nothing of it is left.
    AgentExited {
        /// Whose.
        actor: Actor,
        /// Which.
        attempt: Attempt,
        /// Totals of the attempt.
        usage: Usage,
        /// The vendor's session, if one can be continued.
        session: Option<String>,
        /// How it ended.
        exit: AgentExit,
    },
    /// A branch of an actor moved.
    CommitsSeen {
        /// Whose branch.
        actor: Actor,
        /// Where it stood when it was looked at before. A report that starts elsewhere than the state stands has been overtaken: it is ignored, and the
        /// next look tells what is true.
        from: Oid,
        /// Where it stands now.
        tip: Oid,
        /// The old tip is not an ancestor of the new one.
        rewritten: bool,
        /// What is new since the old tip, oldest first; at most a bounded number, the newest ones.
        commits: Vec<CommitFact>,
    },
    /// The base branch or a team's branch moved, and not by a landing of ours.
    BranchMoved {
        /// The branch.
        branch: BranchName,
        /// Where it stands now.
        tip: Oid,
        /// Whether the new tip descends from the old one.
        forward: bool,
    },
    /// The in-memory merge was tried.
    MergePrepared {
        /// Which merge.
        merge_id: MergeId,
        /// What came of it.
        outcome: Preparation,
    },
    /// What somebody made of a conflict was looked at.
    ResolutionChecked {
        /// Which merge.
        merge_id: MergeId,
        /// The commit that settles it.
        commit: Oid,
        /// Why it cannot be taken, one sentence each; empty: it can.
        faults: Vec<String>,
        /// What of either side is not in it any more.
        vanished: Vec<Vanished>,
    },
    /// What a merge is going to be once those in front of it have landed.
    Speculated {
        /// Which merge.
        merge_id: MergeId,
        /// The commits in front of it.
        ahead: Vec<Oid>,
        /// The commit that is merged.
        source: Oid,
        /// The tree, and a commit with the merges in front; `None` when they do not go together.
        found: Option<(Oid, Oid)>,
    },
    /// What a merge that was turned down makes with each commit that landed in its target since it began.
    LookedBack {
        /// Which merge.
        merge_id: MergeId,
        /// The commit that was merged.
        source: Oid,
        /// The commit that it was merged into.
        onto: Oid,
        /// The first one is the work alone, the last one what was turned down; at most [`Trial::COUNT_MAX`]. What does not go together is left out.
        trials: Vec<Trial>,
    },
    /// A gate ended on the tree of a merge.
    GateFinished {
        /// Which merge.
        merge_id: MergeId,
        /// The tree that it ran on.
        tree: Oid,
        /// What came of it.
        outcome: GateOutcome,
        /// How long it ran, in milliseconds.
        duration_ms: u64,
    },
    /// The target branch stands at the merge's commit.
    MergeLanded {
        /// Which merge.
        merge_id: MergeId,
        /// The merge commit.
        commit: Oid,
    },
    /// The target branch did not move.
    LandingRefused {
        /// Which merge.
        merge_id: MergeId,
        /// Why.
        refusal: Refusal,
    },
    /// An effect could not be performed, for a reason outside of the run.
    EffectFailed {
        /// Which effect.
        effect: EffectKey,
        /// A sentence for people, with the remedy.
        error: String,
        /// Whether trying again by itself can help.
        retriable: bool,
    },
    /// A human asked the run to stop.
    StopRequested {
        /// End live agents too.
        now: bool,
    },
    /// A human answered a question.
    EscalationAnswered {
        /// Which question.
        escalation_id: EscalationId,
        /// The answer.
        answer: String,
    },
    /// A human said yes to a team's landing.
    LandingApproved {
        /// Which team.
        team_id: TeamId,
    },
    /// A human turned a team's landing down.
    LandingRejected {
        /// Which team.
        team_id: TeamId,
        /// What is to be mended.
        reason: String,
    },
    /// A human wants nothing new started; what lives goes on.
    PauseRequested,
    /// A human wants work started again.
    ResumeRequested,
    /// A human wants a failed actor tried again.
    RetryRequested {
        /// Whom.
        actor: Actor,
        /// From its team's newest state, on an empty branch: what it made is kept under `refs/orchestrate/`. Then it need not have failed.
        #[serde(default)]
        fresh: bool,
    },
    /// A human wants a team's branch or the base branch back at a commit at which it stood before.
    RollbackRequested {
        /// The branch.
        branch: BranchName,
        /// Where it is to stand.
        to: Oid,
        /// Other teams' branches that hold what is undone go back too.
        cascade: bool,
    },
    /// Branches went back, and where they stood is kept.
    RolledBack {
        /// The branch that was asked for.
        branch: BranchName,
        /// Where it was to stand.
        to: Oid,
        /// What moved, that branch first.
        moves: Vec<BranchReturn>,
        /// Merges that are in no branch any more.
        undone: Vec<MergeId>,
        /// Actors whose branch holds something of what is undone.
        tainted: Vec<Actor>,
    },
    /// Branches did not go back.
    RollbackRefused {
        /// The branch that was asked for.
        branch: BranchName,
        /// Why, and what helps.
        reason: String,
    },
    /// The machine slept, or stood still: that time is nobody's.
    MachineSlept {
        /// How long, in milliseconds.
        duration_ms: u64,
    },
    /// A commit holds what a human has decided, on top of the asking team's branch.
    DecisionWritten {
        /// The question.
        escalation_id: EscalationId,
        /// The commit.
        commit: Oid,
    },
    /// A deadline that the state holds has come.
    DeadlineReached,
}

/// A branch that went back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BranchReturn {
    /// The branch.
    pub branch: BranchName,
    /// Where it stood.
    pub from: Oid,
    /// Where it stands.
    pub to: Oid,
    /// It is a team's and nothing of the team's own is left in it: the team begins anew.
    pub anew: bool,
}

/// By which rules this version folds events. A journal of an older version is folded by the rules of its time up to the next resumption, so that it gives the
/// state that was lived: 0, a conflict is a question to the human at once; 1, the team's leader settles it first; 2, whoever is put back is ended at once,
/// and an actor of whom nothing is heard is nudged, tried again, begun anew, and asked about;
/// what a human answers is put on the team's branch; 3, whoever made what a gate turns down is told with what it fails.
pub const RULES: u32 = 3;

/// What a commit would make with an older state of the branch that it was merged into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The commit on that branch.
    pub onto: Oid,
    /// The tree of the two together.
    pub tree: Oid,
}

impl Trial {
    /// So many are looked at; of more, the newest ones and the work alone.
    pub const COUNT_MAX: usize = 256;
}

/// Lines that one side of a conflict had added, and that are not in what was made of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vanished {
    /// The file.
    pub path: String,
    /// Whose lines.
    pub side: Side,
    /// The first of them.
    pub lines: Vec<String>,
    /// How many there are in all.
    pub count: u32,
}

impl Vanished {
    /// So many lines are listed per file and side.
    pub const LINES_MAX: usize = 20;
}

/// A side of a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// What is merged into.
    Target,
    /// What is merged.
    Source,
}

/// Totals of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// What the attempt cost so far.
    pub cost: MicroDollars,
    /// Tokens in and out, cached ones included.
    pub tokens: u64,
}

/// How an attempt's process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentExit {
    /// It says that it finished. Only a commit proves it.
    Finished,
    /// It ended in an error of its own.
    Failed {
        /// A sentence for people.
        reason: String,
    },
    /// It finished, yet tools were denied to it: nothing it says was done can be trusted.
    Denied {
        /// The tools that were denied.
        tools: Vec<String>,
    },
    /// Turns or its own budget ran out.
    Exhausted {
        /// A sentence for people.
        reason: String,
    },
    /// The vendor refused service: no fault of the agent's.
    Refused {
        /// Why.
        kind: RefusalKind,
        /// When service resumes, if the vendor said so.
        resets_at: Option<Time>,
    },
    /// The orchestrator stopped it.
    Stopped,
    /// It vanished without a record: machine or supervisor died.
    Lost,
}

/// Why a vendor refuses service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// A usage limit was reached.
    Quota,
    /// The key or login is not valid.
    Authentication,
    /// There is no credit.
    Billing,
    /// The service is overloaded or broken.
    Unavailable,
}

/// One commit, as far as the core needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitFact {
    /// The commit.
    pub oid: Oid,
    /// The whole message, cut at [`CommitFact::MESSAGE_MAX_BYTES`].
    pub message: String,
}

impl CommitFact {
    /// Longer messages are cut; a tag stands in the first line anyway.
    pub const MESSAGE_MAX_BYTES: usize = 16 * 1024;
}

/// What an in-memory merge came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preparation {
    /// The merge is clean.
    Clean {
        /// The merged tree.
        tree: Oid,
        /// The target's tip that it was merged with.
        onto: Oid,
    },
    /// Both sides changed the same places.
    Conflict {
        /// The target's tip that it was merged with.
        onto: Oid,
        /// Conflicting paths, sorted.
        paths: Vec<String>,
    },
    /// The source does not hold what it must, or touches what it must not.
    Unacceptable {
        /// Deliverables that nothing matches.
        missing: Vec<String>,
        /// Paths changed outside of what the actor may write.
        outside: Vec<String>,
    },
}

/// What a gate came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateOutcome {
    /// Exit status 0.
    Passed,
    /// Failed once, passed on the same tree.
    Flaky,
    /// Failed twice on the same tree.
    Failed {
        /// The end of its output.
        output: String,
    },
    /// Did not answer in time.
    TimedOut {
        /// The end of its output.
        output: String,
    },
}

impl GateOutcome {
    /// Whether the tree may land.
    pub fn passes(&self) -> bool {
        match self {
            Self::Passed | Self::Flaky => true,
            Self::Failed { .. } | Self::TimedOut { .. } => false,
        }
    }
}

/// Why a target branch did not move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The target no longer stands where the merge was prepared.
    TargetMoved {
        /// Where it stands.
        tip: Oid,
    },
    /// A second merge of the same commits, made independently, gives another tree than the one that was tested.
    Doubted {
        /// What the second merge gives; `None`: a conflict.
        second: Option<Oid>,
    },
    /// The target is checked out with uncommitted changes.
    CheckoutDirty {
        /// The checkout's directory.
        directory: String,
        /// Some of the changed paths.
        paths: Vec<String>,
    },
}

/// Names an effect, so that its failure can be counted and its repetition delayed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectKey {
    /// A branch for an actor.
    ActorBranch(Actor),
    /// A team's branch.
    TeamBranch(TeamId),
    /// An attempt's process.
    Start(Actor),
    /// A merge: preparing or landing it.
    Merge(MergeId),
    /// A gate on a tree, for this merge.
    Gate(MergeId, Oid),
    /// Looking ahead for a merge.
    Ahead(MergeId),
    /// Looking back for a merge that was turned down.
    Back(MergeId),
    /// Putting a branch back.
    Rollback(BranchName),
    /// Writing a decision down.
    Decision(EscalationId),
}

/// Which merge it is: what goes where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeKind {
    /// An agent's branch into its team's.
    Agent(AgentId),
    /// A leader's integration into the team's branch.
    Integration(TeamId),
    /// Main into a team's branch, because an agent of it needs what landed there.
    Sync(TeamId),
    /// A team's branch into main.
    Landing(TeamId),
    /// What a human has decided, into the branch of the team that asked.
    Decision {
        /// The team.
        team_id: TeamId,
        /// The question.
        escalation_id: EscalationId,
    },
}
