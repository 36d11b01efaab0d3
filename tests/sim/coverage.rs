//! Which event was met in which state: what a simulation has seen, and what it has never come to.

use orchestrate::core::event::Event;
use orchestrate::core::{self, MergeState, Process, State, Work};
use orchestrate::ids::Actor;

use crate::world::World;

impl World {
    /// Counts in which state which event was met.
    pub(crate) fn cover(&mut self, event: &Event) {
        let cell = (name_of(event), label_of(&self.state, event));
        *self.report.coverage.entry(cell).or_default() += 1;
    }
}

fn name_of(event: &Event) -> &'static str {
    match event {
        Event::RunStarted { .. } => "RunStarted",
        Event::RunResumed { .. } => "RunResumed",
        Event::BranchCreated { .. } => "BranchCreated",
        Event::AgentStarted { .. } => "AgentStarted",
        Event::AgentProgressed { .. } => "AgentProgressed",
        Event::AgentExited { .. } => "AgentExited",
        Event::CommitsSeen { .. } => "CommitsSeen",
        Event::BranchMoved { .. } => "BranchMoved",
        Event::MergePrepared { .. } => "MergePrepared",
        Event::ResolutionChecked { .. } => "ResolutionChecked",
        Event::Speculated { .. } => "Speculated",
        Event::GateFinished { .. } => "GateFinished",
        Event::MergeLanded { .. } => "MergeLanded",
        Event::LandingRefused { .. } => "LandingRefused",
        Event::EffectFailed { .. } => "EffectFailed",
        Event::StopRequested { .. } => "StopRequested",
        Event::EscalationAnswered { .. } => "EscalationAnswered",
        Event::LandingApproved { .. } => "LandingApproved",
        Event::LandingRejected { .. } => "LandingRejected",
        Event::PauseRequested => "PauseRequested",
        Event::ResumeRequested => "ResumeRequested",
        Event::RetryRequested { .. } => "RetryRequested",
        Event::RollbackRequested { .. } => "RollbackRequested",
        Event::RolledBack { .. } => "RolledBack",
        Event::RollbackRefused { .. } => "RollbackRefused",
        Event::DecisionWritten { .. } => "DecisionWritten",
        Event::MachineSlept { .. } => "MachineSlept",
        Event::DeadlineReached => "DeadlineReached",
    }
}

/// The state of whomever an event is about.
fn label_of(state: &State, event: &Event) -> &'static str {
    match event {
        Event::AgentStarted { actor, .. } | Event::AgentProgressed { actor, .. } | Event::AgentExited { actor, .. } => {
            process_label(state, actor)
        }
        Event::CommitsSeen { actor, .. } | Event::RetryRequested { actor, .. } => work_label(state, actor),
        Event::MergePrepared { merge_id, .. }
        | Event::ResolutionChecked { merge_id, .. }
        | Event::Speculated { merge_id, .. }
        | Event::GateFinished { merge_id, .. }
        | Event::MergeLanded { merge_id, .. }
        | Event::LandingRefused { merge_id, .. } => match state.merges.get(merge_id).map(|merge| &merge.state) {
            None => "no merge",
            Some(MergeState::Queued) => "queued",
            Some(MergeState::Preparing) => "preparing",
            Some(MergeState::Prepared { .. }) => "prepared",
            Some(MergeState::Gating { .. }) => "gating",
            Some(MergeState::Passed { .. }) => "passed",
            Some(MergeState::Landing { .. }) => "landing",
            Some(MergeState::Merged { .. }) => "merged",
            Some(MergeState::Conflict { .. }) => "conflict",
            Some(MergeState::Rejected { .. }) => "rejected",
        },
        Event::EscalationAnswered { escalation_id, .. } => match state.escalations.get(escalation_id) {
            None => "no question",
            Some(escalation) if escalation.answered.is_some() => "answered",
            Some(escalation) if escalation.merge.is_some() => "open, of a merge",
            Some(_) => "open, of an actor",
        },
        _ => match state.mode {
            core::Mode::NotStarted => "not started",
            core::Mode::Running => "running",
            core::Mode::Stopping { .. } => "stopping",
            core::Mode::Ended(_) => "ended",
        },
    }
}

fn work_label(state: &State, actor: &Actor) -> &'static str {
    match state.actors.get(actor).map(|actor| &actor.work) {
        None => "nobody",
        Some(Work::Waiting) => "waiting",
        Some(Work::Branching) => "branching",
        Some(Work::Building) => "building",
        Some(Work::Escalated(_)) => "escalated",
        Some(Work::Complete { .. }) => "complete",
        Some(Work::Merged { .. }) => "merged",
        Some(Work::Failed { .. }) => "failed",
    }
}

fn process_label(state: &State, actor: &Actor) -> &'static str {
    match state.actors.get(actor).map(|actor| &actor.process) {
        None => "nobody",
        Some(Process::None) => "no process",
        Some(Process::Starting { .. }) => "starting",
        Some(Process::Live { .. }) => "live",
        Some(Process::Stopping { .. }) => "stopping",
    }
}
