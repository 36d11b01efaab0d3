//! The pure core: events in, commands out. No effects, no clock, no randomness, ordered collections only.

pub mod command;
pub mod event;

mod anew;
mod apply;
mod attempts;
mod bisection;
mod commits;
mod conflicts;
mod deadline;
mod decide;
mod decisions;
mod dispatch;
mod invariant;
mod lines;
mod merges;
pub(crate) mod outcome;
mod ranks;
mod requests;
mod rollback;
mod speculate;
mod stall;
mod state;
mod train;
pub mod verdict;
mod view;

pub use apply::{actor_of, apply};
pub use bisection::{Bisection, BisectionStep};
pub use deadline::next_wake;
pub use decisions::{Decision, DecisionStep};
pub use invariant::{Violation, check};
pub use lines::{
    ActorLine, ActorStatus, EscalationLine, MergeLine, MergeStatus, PhaseLine, PhaseStatus, RollbackLine,
    RollbackStatus, RunLine, RunStatus, TeamLine, TeamStatus, View,
};
pub use rollback::{Rollback, RollbackRecord};
pub use speculate::{Speculation, SpeculationStep};
pub use stall::Silence;
pub use state::{
    ActorState, Breaker, Escalation, Failure, GateRecord, Merge, MergeState, Mode, Note, Process, State, StopReason,
    TeamBranch, TeamState, Work,
};
pub use view::view;
