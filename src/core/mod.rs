//! The pure core: events in, commands out. No effects, no clock, no randomness, ordered collections only.

pub mod command;
pub mod event;

mod apply;
mod attempts;
mod conflicts;
mod deadline;
mod decide;
mod invariant;
mod merges;
pub(crate) mod outcome;
mod speculate;
mod state;
pub mod verdict;
mod view;

pub use apply::{actor_of, apply};
pub use deadline::next_wake;
pub use invariant::{Violation, check};
pub use speculate::{Speculation, SpeculationStep};
pub use state::{
    ActorState, Breaker, Escalation, Failure, GateRecord, Merge, MergeState, Mode, Note, Process, State, StopReason,
    TeamBranch, TeamState, Work,
};
pub use view::{
    ActorLine, ActorStatus, EscalationLine, MergeLine, MergeStatus, PhaseLine, PhaseStatus, RunLine, RunStatus,
    TeamLine, TeamStatus, View, view,
};
