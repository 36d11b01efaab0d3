//! What the core remembers: facts only. Whatever can be derived is derived in `view`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::core::bisection::Bisection;
use crate::core::command::{RunOutcome, StartAgent, Task};
use crate::core::decisions::Decision;
use crate::core::event::{EffectKey, GateOutcome, MergeKind, RefusalKind, Usage};
use crate::core::rollback::{Rollback, RollbackRecord};
use crate::core::speculate::Speculation;
use crate::core::stall::Silence;
use crate::ids::{Actor, Attempt, BranchName, EscalationId, MergeId, MicroDollars, Oid, TeamId, Time};
use crate::plan::Plan;

/// The whole state of a run. `State::default()` is the state before the first event.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The time of the newest event; it never goes back, even when the clock does.
    pub now: Time,
    /// The run's id; empty before it started.
    pub run_id: String,
    /// When the run started.
    pub started: Time,
    /// The plan in force; `None` before the run started.
    pub plan: Option<Arc<Plan>>,
    /// By which rules events are folded: those of the version that made them.
    pub rules: u32,
    /// Only these teams take part; empty means all.
    pub only_teams: BTreeSet<TeamId>,
    /// Whether work may be started.
    pub mode: Mode,
    /// Where the base branch stands, as far as it is known.
    pub base_tip: Option<Oid>,
    /// Every team of the plan.
    pub teams: BTreeMap<TeamId, TeamState>,
    /// Every agent and leader of the plan.
    pub actors: BTreeMap<Actor, ActorState>,
    /// Every merge of the run, in the order in which they were asked for.
    pub merges: BTreeMap<MergeId, Merge>,
    /// The conflict that each team's leader settles at the moment.
    pub resolving: BTreeMap<TeamId, MergeId>,
    /// Gates that run, also for merges that have been turned down meanwhile: the merge, the tree, and the command.
    pub gate_runs: BTreeMap<(MergeId, Oid), String>,
    /// Merges that are tested before their turn.
    pub speculations: BTreeMap<MergeId, Speculation>,
    /// Merges that were turned down, of which is being found out what they fail with.
    pub bisections: BTreeMap<MergeId, Bisection>,
    /// What gates said, by tree and command: the same tree is never tested twice.
    pub gates: BTreeMap<(Oid, String), GateRecord>,
    /// Every question of the run.
    pub escalations: BTreeMap<EscalationId, Escalation>,
    /// Answers on their way into `docs/decisions/` of the team that asked.
    pub decisions: BTreeMap<EscalationId, Decision>,
    /// The question without whose answer nothing lands any more.
    pub halted: Option<EscalationId>,
    /// Effects that failed lately and are to be tried again.
    pub troubles: BTreeMap<EffectKey, Trouble>,
    /// When attempts failed, within the plan's window.
    pub failures: VecDeque<Failure>,
    /// A human wants nothing new started.
    pub paused: bool,
    /// A human wants a branch to go back.
    pub rollback: Option<Rollback>,
    /// What came of earlier ways back, the oldest first.
    pub rollbacks: Vec<RollbackRecord>,
    /// Merges that were landing when the process before this one ended: whether they have landed is not known.
    pub unheard: BTreeSet<MergeId>,
    /// Whether the fleet is held.
    pub breaker: Breaker,
    /// Refusals of the vendor in a row, without any progress between them.
    pub refusals: u32,
    /// Odd things that were seen and ignored, newest last; bounded by [`State::NOTES_MAX`].
    pub notes: VecDeque<Note>,
    /// Processes that lived when the plan's limit was last changed: they may go on although the limit is lower now.
    pub(crate) process_peak_allowed: usize,
    /// Every process that may live is to be asked for again: the run was just taken over.
    pub(crate) relaunch: bool,
    /// How long a chain of work hangs on each actor: the longer, the earlier it starts.
    pub(crate) ranks: BTreeMap<Actor, u32>,
}

/// Whether work may be started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// No run yet.
    #[default]
    NotStarted,
    /// Work goes on.
    Running,
    /// Nothing new is started.
    Stopping {
        /// Live agents are ended too.
        now: bool,
    },
    /// The run is over, until it is resumed.
    Ended(RunOutcome),
}

/// A team.
#[derive(Clone, Debug, Default)]
pub struct TeamState {
    /// Whether its branch exists.
    pub branch: TeamBranch,
    /// Where its branch stands.
    pub tip: Option<Oid>,
    /// The commit at which its branch began.
    pub begun: Option<Oid>,
    /// Teams whose landing its branch began with.
    pub begun_with: BTreeSet<TeamId>,
    /// Teams whose landing is contained in its branch.
    pub includes: BTreeSet<TeamId>,
    /// A human said yes to its landing.
    pub approved: bool,
    /// The commit on the base branch by which it landed.
    pub landed: Option<Oid>,
}

/// Whether a team's branch exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TeamBranch {
    /// Not yet.
    #[default]
    Absent,
    /// Asked for.
    Requested,
    /// It exists.
    Ready,
}

/// An agent or a leader.
#[derive(Clone, Debug)]
pub struct ActorState {
    /// How far its work is.
    pub work: Work,
    /// Its process.
    pub process: Process,
    /// The number of the newest attempt; 0 before the first.
    pub attempt: Attempt,
    /// Attempts that ended badly.
    pub strikes: u32,
    /// Attempts that vanished, in a row.
    pub lost: u32,
    /// Where its branch stands.
    pub tip: Option<Oid>,
    /// Where its branch started: its own changes are those since then.
    pub since: Option<Oid>,
    /// The vendor's session to continue.
    pub session: Option<String>,
    /// Totals of the attempts that are over.
    pub spent: Usage,
    /// Totals of the live attempt.
    pub spending: Usage,
    /// The newest sign of life of the live attempt.
    pub last_sign: Time,
    /// The newest commit on its branch.
    pub last_commit: Option<Time>,
    /// When its work was done or turned down while its process lived on.
    pub finishing: Option<Time>,
    /// What the next attempt is for.
    pub next: Option<Task>,
    /// The next attempt must not start earlier.
    pub not_before: Time,
    /// The newest reason worth telling a person.
    pub reason: Option<String>,
    /// How often nothing was heard of it.
    pub silence: Silence,
    /// Its branch is to be put back to where its team stands before the next attempt.
    pub fresh: bool,
    /// What the newest attempt was started with: it is commanded again after a crash of ours.
    pub launch: Option<StartAgent>,
}

impl Default for ActorState {
    fn default() -> Self {
        Self {
            work: Work::Waiting,
            process: Process::None,
            attempt: Attempt(0),
            strikes: 0,
            lost: 0,
            tip: None,
            since: None,
            session: None,
            spent: Usage::default(),
            spending: Usage::default(),
            last_sign: Time(0),
            last_commit: None,
            finishing: None,
            next: None,
            not_before: Time(0),
            reason: None,
            silence: Silence::default(),
            fresh: false,
            launch: None,
        }
    }
}

impl ActorState {
    /// What all attempts cost so far, the live one included.
    pub fn cost(&self) -> MicroDollars {
        self.spent.cost.plus(self.spending.cost)
    }

    /// Tokens of all attempts so far.
    pub fn tokens(&self) -> u64 {
        self.spent.tokens.saturating_add(self.spending.tokens)
    }
}

/// How far an actor's work is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Its needs are not met, or no slot is free.
    Waiting,
    /// Its branch was asked for.
    Branching,
    /// Its branch exists, its work is not complete.
    Building,
    /// It asked a question.
    Escalated(EscalationId),
    /// It says that it is complete, by a commit on its own branch.
    Complete {
        /// The completing commit.
        commit: Oid,
        /// The merge that was asked for.
        merge: Option<MergeId>,
    },
    /// Its branch is merged.
    Merged {
        /// The merge commit.
        commit: Oid,
    },
    /// It was given up.
    Failed {
        /// A sentence for people.
        reason: String,
    },
}

/// The process of an actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Process {
    /// There is none.
    None,
    /// It was asked for.
    Starting {
        /// Which attempt.
        attempt: Attempt,
    },
    /// It lives.
    Live {
        /// Which attempt.
        attempt: Attempt,
        /// Since when.
        since: Time,
    },
    /// It was told to end.
    Stopping {
        /// Which attempt.
        attempt: Attempt,
        /// Since when.
        since: Time,
        /// It was killed, not asked.
        killed: bool,
        /// Why.
        reason: StopReason,
    },
}

impl Process {
    /// The attempt that it belongs to.
    pub fn attempt(&self) -> Option<Attempt> {
        match self {
            Self::None => None,
            Self::Starting { attempt } | Self::Live { attempt, .. } | Self::Stopping { attempt, .. } => Some(*attempt),
        }
    }

    /// Whether there is one, or may be one.
    pub fn exists(&self) -> bool {
        self.attempt().is_some()
    }
}

/// Why a process was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// No commit and no sign of life.
    Stuck,
    /// Its work was done and it did not end by itself.
    Finished,
    /// A human asked for it.
    Operator,
    /// Money ran out, or the fleet was stopped.
    Fleet,
}

/// A merge.
#[derive(Clone, Debug)]
pub struct Merge {
    /// What goes where.
    pub kind: MergeKind,
    /// The commit that is merged.
    pub source: Oid,
    /// The branch that it comes from.
    pub source_branch: BranchName,
    /// The branch that it goes into.
    pub target: BranchName,
    /// How far it is.
    pub state: MergeState,
    /// When it was asked for.
    pub asked: Time,
    /// Not to be tried again before.
    pub not_before: Time,
    /// What it waits for, for people.
    pub blocked: Option<String>,
    /// Since when it has waited for that; means nothing while it waits for nothing.
    pub blocked_since: Time,
    /// Teams whose landing the source contains; for merges of main into a team.
    pub carries: BTreeSet<TeamId>,
    /// The source is the settlement of a conflict: this is what was to be merged before.
    pub resolves: Option<Oid>,
    /// What a human has said about its conflict.
    pub guidance: Vec<String>,
}

/// How far a merge is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergeState {
    /// In its target's queue.
    Queued,
    /// The in-memory merge was asked for.
    Preparing,
    /// The tree is known.
    Prepared {
        /// The merged tree.
        tree: Oid,
        /// The target's tip.
        onto: Oid,
    },
    /// Its gate runs.
    Gating {
        /// The merged tree.
        tree: Oid,
        /// The target's tip.
        onto: Oid,
    },
    /// It may land.
    Passed {
        /// The merged tree.
        tree: Oid,
        /// The target's tip.
        onto: Oid,
    },
    /// Landing was asked for.
    Landing {
        /// The merged tree.
        tree: Oid,
        /// The target's tip.
        onto: Oid,
    },
    /// The target holds it.
    Merged {
        /// The merged tree.
        tree: Oid,
        /// The merge commit.
        commit: Oid,
    },
    /// Both sides changed the same places; it waits for somebody to settle it.
    Conflict {
        /// The target's tip.
        onto: Oid,
        /// Conflicting paths.
        paths: Vec<String>,
    },
    /// It was turned down or given up; a later merge may take its place.
    Rejected {
        /// A sentence for people.
        reason: String,
    },
}

impl MergeState {
    /// Whether it holds its target's queue.
    pub fn is_active(&self) -> bool {
        match self {
            Self::Queued
            | Self::Preparing
            | Self::Prepared { .. }
            | Self::Gating { .. }
            | Self::Passed { .. }
            | Self::Landing { .. } => true,
            Self::Merged { .. } | Self::Conflict { .. } | Self::Rejected { .. } => false,
        }
    }
}

/// What a gate said of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateRecord {
    /// What it said.
    pub outcome: GateOutcome,
    /// How long it ran, in milliseconds.
    pub duration_ms: u64,
    /// When it ended.
    pub at: Time,
}

/// A question to the human.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escalation {
    /// Who asks; `None` when the engine does.
    pub actor: Option<Actor>,
    /// The merge that it is about, if any.
    pub merge: Option<MergeId>,
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

/// An attempt whose process ended badly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub at: Time,
    /// Whose.
    pub actor: Actor,
    /// Why.
    pub reason: String,
}

/// An effect that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Times in a row.
    pub failures: u32,
    /// Not to be tried again before.
    pub not_before: Time,
    /// The newest error.
    pub error: String,
}

/// Whether the fleet is held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Breaker {
    /// Work may start.
    #[default]
    Closed,
    /// Nothing is started until an instant.
    Paused {
        /// Until when.
        until: Time,
        /// Why.
        kind: RefusalKind,
    },
    /// The pause is over: one agent finds out whether service is given again, the others wait for it.
    Probing {
        /// Who tries; `None` as long as nobody could be started.
        actor: Option<Actor>,
        /// Why there was a pause.
        kind: RefusalKind,
    },
    /// Nothing is started until a human runs it again.
    Open {
        /// A sentence for people.
        reason: String,
    },
}

/// Something odd that was seen and ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// When.
    pub at: Time,
    /// A sentence for people.
    pub text: String,
}

impl State {
    /// Older notes are forgotten.
    pub const NOTES_MAX: usize = 100;

    /// Remembers something odd.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        if self.notes.len() == Self::NOTES_MAX {
            self.notes.pop_front();
        }
        self.notes.push_back(Note {
            at: self.now,
            text: text.into(),
        });
    }

    /// Whether a team takes part in this run.
    pub fn takes_part(&self, team_id: &TeamId) -> bool {
        self.only_teams.is_empty() || self.only_teams.contains(team_id)
    }

    /// What the run cost so far.
    pub fn cost(&self) -> MicroDollars {
        self.actors
            .values()
            .fold(MicroDollars(0), |sum, actor| sum.plus(actor.cost()))
    }

    /// Tokens that the run used so far.
    pub fn tokens(&self) -> u64 {
        self.actors
            .values()
            .fold(0, |sum, actor| sum.saturating_add(actor.tokens()))
    }

    /// Processes that exist or may exist.
    pub fn process_count(&self) -> usize {
        self.actors.values().filter(|actor| actor.process.exists()).count()
    }

    /// Questions that nobody has answered.
    pub fn open_escalations(&self) -> impl Iterator<Item = (EscalationId, &Escalation)> {
        self.escalations
            .iter()
            .filter(|(_, escalation)| escalation.answered.is_none())
            .map(|(id, escalation)| (*id, escalation))
    }

    /// Asks the human.
    pub(crate) fn escalate(
        &mut self,
        actor: Option<Actor>,
        merge: Option<MergeId>,
        question: String,
        detail: String,
    ) -> EscalationId {
        let escalation_id = EscalationId(self.escalations.keys().next_back().map_or(1, |last| last.0 + 1));
        let asked = self.now;
        self.escalations.insert(
            escalation_id,
            Escalation {
                actor,
                merge,
                question,
                detail,
                asked,
                answered: None,
                answer: None,
            },
        );
        escalation_id
    }
}
