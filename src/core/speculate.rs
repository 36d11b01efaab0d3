//! The merge train: while the first merge of a target is being tested, the trees that the ones behind it are going to make are tested as well.
//!
//! A speculation is advice and nothing more. What a gate says of a tree is kept by the tree; once the merges in front have landed, the next one makes that very
//! tree, and is not tested again. When one in front is turned down, the others make other trees, and only those are tested.

use crate::core::command::Command;
use crate::core::event::MergeKind;
use crate::core::merges;
use crate::core::state::{Merge, MergeState, State};
use crate::ids::{BranchName, MergeId, Oid};
use crate::plan::{Gate, Plan};

/// A merge that is tested before its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speculation {
    /// Where the target stands: what is in front of it is merged into that.
    pub tip: Oid,
    /// The commits in front of it, in the order of the queue.
    pub ahead: Vec<Oid>,
    /// The commit that is merged.
    pub source: Oid,
    /// How far it is.
    pub step: SpeculationStep,
}

/// How far a speculation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpeculationStep {
    /// The merge was asked for.
    Asked,
    /// The tree is known, and the commit that it is going to be merged into.
    Prepared {
        /// The tree.
        tree: Oid,
        /// A commit with the merges in front.
        onto: Oid,
    },
    /// Its gate runs.
    Gating {
        /// The tree.
        tree: Oid,
    },
    /// There is nothing to be tested before its turn.
    Done,
}

/// Gates that run now, for merges whose turn it is and for others.
pub(crate) fn gates_running(state: &State) -> usize {
    if state.rules > 0 {
        return state.gate_runs.len();
    }
    let is_gating = |merge: &&Merge| matches!(merge.state, MergeState::Gating { .. });
    state.merges.values().filter(is_gating).count()
}

/// Whether this very gate runs on this tree, for whichever merge.
pub(crate) fn is_gating(state: &State, command: &str, tree: &Oid) -> bool {
    state
        .gate_runs
        .iter()
        .any(|((_, gated), of)| gated == tree && of == command)
}

/// Asks for what can be known and tested before its turn, within the free slots of the gates.
pub(crate) fn look_ahead(state: &mut State, plan: &Plan, commands: &mut Vec<Command>) {
    if state.rules == 0 {
        return;
    }
    let mut targets: Vec<BranchName> = Vec::new();
    for merge in state.merges.values().filter(|merge| merge.state.is_active()) {
        if !targets.contains(&merge.target) {
            targets.push(merge.target.clone());
        }
    }
    let mut wanted: Vec<MergeId> = Vec::new();
    for target in targets {
        look_along(state, plan, &target, &mut wanted, commands);
    }
    // What is not in any train any more is forgotten.
    state.speculations.retain(|merge_id, _| wanted.contains(merge_id));
}

fn look_along(
    state: &mut State,
    plan: &Plan,
    target: &BranchName,
    wanted: &mut Vec<MergeId>,
    commands: &mut Vec<Command>,
) {
    let queue: Vec<(MergeId, Oid, MergeKind)> = state
        .merges
        .iter()
        .filter(|(_, merge)| merge.state.is_active() && &merge.target == target)
        .map(|(merge_id, merge)| (*merge_id, merge.source.clone(), merge.kind.clone()))
        .collect();
    let Some((first, rest)) = queue.split_first() else {
        return;
    };
    // Only what is being tested has a known tree that others can follow.
    let tip = match state.merges.get(&first.0).map(|merge| &merge.state) {
        Some(MergeState::Gating { onto, .. } | MergeState::Prepared { onto, .. }) => onto.clone(),
        Some(_) | None => return,
    };
    let mut ahead = vec![first.1.clone()];
    // No more of them than gates can run at once.
    for (merge_id, source, kind) in rest.iter().take(plan.limits.gates as usize) {
        let Gate::Command(command) = merges::gate_of(plan, kind) else {
            return;
        };
        let is_current = state.speculations.get(merge_id).is_some_and(|speculation| {
            speculation.tip == tip && speculation.ahead == ahead && &speculation.source == source
        });
        if !is_current {
            if gates_running(state) >= plan.limits.gates as usize {
                return;
            }
            state.speculations.insert(
                *merge_id,
                Speculation {
                    tip: tip.clone(),
                    ahead: ahead.clone(),
                    source: source.clone(),
                    step: SpeculationStep::Asked,
                },
            );
            commands.push(Command::Speculate {
                merge_id: *merge_id,
                tip: tip.clone(),
                ahead: ahead.clone(),
                source: source.clone(),
            });
        }
        wanted.push(*merge_id);
        let step = state
            .speculations
            .get(merge_id)
            .map(|speculation| speculation.step.clone());
        if let Some(SpeculationStep::Prepared { tree, onto }) = step {
            test_early(state, plan, *merge_id, kind, source, command, (tree, onto), commands);
        }
        let may_follow = state.speculations.get(merge_id).is_some_and(|speculation| {
            matches!(
                speculation.step,
                SpeculationStep::Prepared { .. } | SpeculationStep::Gating { .. }
            )
        });
        if !may_follow {
            return;
        }
        ahead.push(source.clone());
    }
}

#[expect(clippy::too_many_arguments, reason = "all of them make the one command")]
fn test_early(
    state: &mut State,
    plan: &Plan,
    merge_id: MergeId,
    kind: &MergeKind,
    source: &Oid,
    command: &str,
    (tree, onto): (Oid, Oid),
    commands: &mut Vec<Command>,
) {
    let is_known = merges::passed_already(state, plan, kind, &tree).is_some();
    if is_known || is_gating(state, command, &tree) || gates_running(state) >= plan.limits.gates as usize {
        return;
    }
    if let Some(speculation) = state.speculations.get_mut(&merge_id) {
        speculation.step = SpeculationStep::Gating { tree: tree.clone() };
        state.gate_runs.insert((merge_id, tree.clone()), command.to_owned());
        commands.push(Command::RunGate {
            merge_id,
            kind: kind.clone(),
            tree,
            parents: [onto, source.clone()],
            command: command.to_owned(),
        });
    }
}

/// The tree of a merge before its turn is known, or there is none.
pub(crate) fn prepared(state: &mut State, merge_id: MergeId, ahead: &[Oid], source: &Oid, found: Option<(&Oid, &Oid)>) {
    let Some(speculation) = state.speculations.get_mut(&merge_id) else {
        return;
    };
    let is_asked_for = speculation.ahead == ahead && &speculation.source == source;
    if is_asked_for && speculation.step == SpeculationStep::Asked {
        speculation.step = match found {
            Some((tree, onto)) => SpeculationStep::Prepared {
                tree: tree.clone(),
                onto: onto.clone(),
            },
            None => SpeculationStep::Done,
        };
    }
}

/// A gate that ran before its turn has answered, whatever it said; whether it was one.
pub(crate) fn gate_ended(state: &mut State, merge_id: MergeId, tree: &Oid) -> bool {
    match state.speculations.get_mut(&merge_id) {
        Some(speculation) if matches!(&speculation.step, SpeculationStep::Gating { tree: gated } if gated == tree) => {
            speculation.step = SpeculationStep::Done;
            true
        }
        Some(_) | None => false,
    }
}

/// A gate could not be run; whether a merge whose turn it is waits for it.
pub(crate) fn gate_failed(state: &mut State, merge_id: MergeId, tree: &Oid) -> bool {
    state.gate_runs.remove(&(merge_id, tree.clone()));
    gate_ended(state, merge_id, tree);
    state
        .merges
        .get(&merge_id)
        .is_some_and(|merge| matches!(&merge.state, MergeState::Gating { tree: wanted, .. } if wanted == tree))
}

/// What a merge is going to be could not be found out: it is found out in its turn.
pub(crate) fn failed(state: &mut State, merge_id: MergeId) {
    if let Some(speculation) = state.speculations.get_mut(&merge_id)
        && speculation.step == SpeculationStep::Asked
    {
        speculation.step = SpeculationStep::Done;
    }
}
