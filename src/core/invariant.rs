//! What must hold after every event, in release builds too. A violation is a bug of ours: the run stops rather than acts on it.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::core::dispatch::needs_are_met;
use crate::core::merges::{gate_of, passed_already};
use crate::core::state::{MergeState, Process, State, Work};
use crate::ids::Actor;
use crate::plan::Gate;

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("invariant {invariant} does not hold: {detail}")]
pub struct Violation {
    /// `I1` to `I9`.
    pub invariant: &'static str,
    /// What was found.
    pub detail: String,
}

fn violation(invariant: &'static str, detail: impl Into<String>) -> Result<(), Violation> {
    Err(Violation {
        invariant,
        detail: detail.into(),
    })
}

/// Checks what can be seen in the state alone. The simulation checks the rest against its world.
pub fn check(state: &State) -> Result<(), Violation> {
    let Some(plan) = &state.plan else {
        return Ok(());
    };
    // I1: whatever may land, or has landed, passed its level's gate on exactly that tree.
    for (merge_id, merge) in &state.merges {
        let tree = match &merge.state {
            MergeState::Passed { tree, .. } | MergeState::Landing { tree, .. } => tree,
            MergeState::Merged { .. }
            | MergeState::Queued
            | MergeState::Preparing
            | MergeState::Prepared { .. }
            | MergeState::Gating { .. }
            | MergeState::Conflict { .. }
            | MergeState::Rejected { .. } => continue,
        };
        let passed = match gate_of(plan, &merge.kind) {
            Gate::None => true,
            Gate::Command(_) => {
                passed_already(state, plan, &merge.kind, tree).is_some_and(|record| record.outcome.passes())
            }
        };
        if !passed {
            violation(
                "I1",
                format!("merge {} may land a tree that passed no gate", merge_id.0),
            )?;
        }
    }
    // I2: an agent's branch is merged at most once.
    let mut merged = BTreeSet::new();
    for merge in state
        .merges
        .values()
        .filter(|merge| matches!(merge.state, MergeState::Merged { .. }))
    {
        if let crate::core::event::MergeKind::Agent(agent_id) = &merge.kind
            && !merged.insert(agent_id)
        {
            violation("I2", format!("agent {agent_id} is merged twice"))?;
        }
    }
    for (actor, actor_state) in &state.actors {
        if let (Actor::Agent(agent_id), Work::Merged { .. }) = (actor, &actor_state.work)
            && !merged.contains(agent_id)
        {
            violation("I2", format!("{actor} counts as merged without a merge"))?;
        }
        // I3: whoever has a process has everything it needs in its base.
        if matches!(actor_state.process, Process::Starting { .. } | Process::Live { .. })
            && actor_state.work == Work::Building
            && !needs_are_met(state, plan, actor)
        {
            violation("I3", format!("{actor} works although its needs are not met"))?;
        }
        // I4: a process never belongs to anything but the newest attempt.
        if actor_state
            .process
            .attempt()
            .is_some_and(|attempt| attempt != actor_state.attempt)
        {
            violation("I4", format!("the process of {actor} is not of its newest attempt"))?;
        }
    }
    // I7: never more processes than allowed. A limit that was lowered while processes live is reached by and by.
    let limit = plan.limits.agents as usize;
    if state.process_count() > limit.max(state.process_peak_allowed) {
        violation(
            "I7",
            format!("{} processes, {limit} are allowed", state.process_count()),
        )?;
    }
    Ok(())
}
