//! With what does a merge fail that its gate turned down? Its work is tested alone, then with less and less of what landed since it began.
//!
//! What is found is advice to whoever mends it, and nothing more: no branch moves by it. The search stands in the records of the gates alone, so a crash loses
//! no answer of it, and its trees are never tested twice. Halving finds the first of the commits in front with which the gate fails, as `git bisect` does.

use crate::core::apply::actor_of;
use crate::core::command::{Command, Task};
use crate::core::event::{GateOutcome, MergeKind, Trial};
use crate::core::merges;
use crate::core::outcome::short;
use crate::core::speculate;
use crate::core::state::{MergeState, State, Work};
use crate::ids::{Actor, MergeId, Oid};
use crate::plan::{Gate, Plan};

/// The rules by which a search is made; journals of older versions have none.
const RULES_MIN: u32 = 3;

/// A search for what a merge fails with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bisection {
    /// Who is to mend it, and waits for what is found.
    pub actor: Actor,
    /// The commit that was merged.
    pub source: Oid,
    /// The commit that it was merged into.
    pub onto: Oid,
    /// The gate that failed.
    pub command: String,
    /// What the actor is going to be told; the finding is added to it.
    pub told: String,
    /// How far it is.
    pub step: BisectionStep,
}

/// How far a search is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BisectionStep {
    /// It is to be found out what landed meanwhile.
    Wanted,
    /// That was asked for.
    Asked,
    /// What the work makes with each commit that landed meanwhile, the oldest first.
    Known {
        /// The first one is the work alone, the last one what was turned down.
        trials: Vec<Trial>,
    },
}

/// What is known so far.
enum Finding<'a> {
    /// This has to be tested first.
    Open(&'a Trial),
    /// The work fails alone.
    Alone(&'a Trial),
    /// The work passes with all that was there before this, and fails with it.
    With(&'a Trial),
    /// The gates contradict one another, or said nothing.
    Nothing,
}

/// A gate turned a merge down, and its actor was told so.
pub(crate) fn begin(state: &mut State, merge_id: MergeId, onto: Oid, command: String) {
    if state.rules < RULES_MIN {
        return;
    }
    let Some(merge) = state.merges.get(&merge_id) else {
        return;
    };
    let actor = match &merge.kind {
        MergeKind::Landing(team_id) => Some(Actor::Leader(team_id.clone())),
        kind @ (MergeKind::Agent(_) | MergeKind::Integration(_) | MergeKind::Sync(_) | MergeKind::Decision { .. }) => {
            actor_of(kind)
        }
    };
    let source = merge.source.clone();
    let told = |actor: &Actor| state.actors.get(actor)?.reason.clone();
    let Some((actor, told)) = actor.and_then(|actor| Some((actor.clone(), told(&actor)?))) else {
        return;
    };
    let bisection = Bisection {
        actor,
        source,
        onto,
        command,
        told,
        step: BisectionStep::Wanted,
    };
    state.bisections.insert(merge_id, bisection);
}

/// What the work makes with each commit that landed meanwhile.
pub(crate) fn looked_back(state: &mut State, merge_id: MergeId, source: &Oid, onto: &Oid, trials: &[Trial]) {
    let asked = state.bisections.get_mut(&merge_id).filter(|bisection| {
        &bisection.source == source && &bisection.onto == onto && bisection.step == BisectionStep::Asked
    });
    match asked {
        Some(bisection) => {
            bisection.step = BisectionStep::Known {
                trials: trials.to_vec(),
            };
        }
        None => state.note(format!("merge {}: a look back came late and was ignored", merge_id.0)),
    }
}

/// Something of the search could not be done, or a gate did not answer: whoever waits is told what is known.
pub(crate) fn give_up(state: &mut State, merge_id: MergeId) {
    state.bisections.remove(&merge_id);
}

/// A gate of the search could not be run, or did not answer. Another gate of the same merge is none of its business.
pub(crate) fn gate_gave_no_word(state: &mut State, merge_id: MergeId, tree: &Oid) {
    let is_of_it = state.bisections.get(&merge_id).is_some_and(|bisection| {
        matches!(&bisection.step, BisectionStep::Known { trials } if trials.iter().any(|trial| &trial.tree == tree))
    });
    if is_of_it {
        give_up(state, merge_id);
    }
}

/// What was under way in the process before is asked for again.
pub(crate) fn resumed(state: &mut State) {
    for bisection in state.bisections.values_mut() {
        if bisection.step == BisectionStep::Asked {
            bisection.step = BisectionStep::Wanted;
        }
    }
}

/// Whether somebody waits for what is going to be found.
pub(crate) fn is_awaited_by(state: &State, actor: &Actor) -> bool {
    state.bisections.values().any(|bisection| &bisection.actor == actor)
}

/// Takes every search a step further, within the free slots of the gates.
pub(crate) fn advance(state: &mut State, plan: &Plan, commands: &mut Vec<Command>) {
    let all: Vec<MergeId> = state.bisections.keys().copied().collect();
    for merge_id in all {
        advance_one(state, plan, merge_id, commands);
    }
}

fn advance_one(state: &mut State, plan: &Plan, merge_id: MergeId, commands: &mut Vec<Command>) {
    let (Some(bisection), Some(merge)) = (state.bisections.get(&merge_id), state.merges.get(&merge_id)) else {
        return;
    };
    let is_same_gate =
        matches!(merges::gate_of(plan, &merge.kind), Gate::Command(command) if command == &bisection.command);
    if !is_same_gate || !is_wanted(state, bisection) {
        return give_up(state, merge_id);
    }
    let trials = match &bisection.step {
        BisectionStep::Asked => return,
        BisectionStep::Wanted => {
            commands.push(Command::LookBack {
                merge_id,
                source: bisection.source.clone(),
                onto: bisection.onto.clone(),
            });
            if let Some(bisection) = state.bisections.get_mut(&merge_id) {
                bisection.step = BisectionStep::Asked;
            }
            return;
        }
        BisectionStep::Known { trials } => trials,
    };
    match find(state, &bisection.command, trials) {
        Finding::Nothing => give_up(state, merge_id),
        Finding::Alone(trial) => {
            let source = short(&bisection.source);
            let text = format!("; {source} alone fails it as well, whatever the others made");
            let output = output_of(state, &bisection.command, trial);
            tell(state, merge_id, &text, output);
        }
        Finding::With(trial) => {
            let text = format!(
                "; it passes alone, and with all that landed before {other}: the smallest that fails is this work with {other}",
                other = origin_of(state, &trial.onto)
            );
            let output = output_of(state, &bisection.command, trial);
            tell(state, merge_id, &text, output);
        }
        Finding::Open(trial) => {
            let (tree, parents) = (trial.tree.clone(), [trial.onto.clone(), bisection.source.clone()]);
            let (kind, command) = (merge.kind.clone(), bisection.command.clone());
            let is_full = speculate::gates_running(state) >= plan.limits.gates as usize;
            if is_full || speculate::is_gating(state, &command, &tree) {
                return;
            }
            state.gate_runs.insert((merge_id, tree.clone()), command.clone());
            commands.push(Command::RunGate {
                merge_id,
                kind,
                tree,
                parents,
                command,
            });
        }
    }
}

/// Whether whom it was for still waits to be told: a new commit, a human's word or a way back may have made it idle.
fn is_wanted(state: &State, bisection: &Bisection) -> bool {
    state
        .actors
        .get(&bisection.actor)
        .is_some_and(|actor_state| match (&actor_state.work, &actor_state.next) {
            (Work::Building, Some(Task::Retry { reason, .. })) => reason == &bisection.told,
            (Work::Failed { .. }, _) => actor_state.reason.as_ref() == Some(&bisection.told),
            _ => false,
        })
}

fn find<'a>(state: &State, command: &str, trials: &'a [Trial]) -> Finding<'a> {
    let passes = |trial: &Trial| {
        let record = state.gates.get(&(trial.tree.clone(), command.to_owned()));
        record.map(|record| record.outcome.passes())
    };
    let [alone, .., whole] = trials else {
        // Nothing landed since it began: what was tested is the work alone.
        return trials.first().map_or(Finding::Nothing, Finding::Alone);
    };
    if passes(whole) != Some(false) {
        return Finding::Nothing;
    }
    match passes(alone) {
        None => return Finding::Open(alone),
        Some(false) => return Finding::Alone(alone),
        Some(true) => {}
    }
    // Passes with the first `good`, fails with the first `bad` of them.
    let (mut good, mut bad) = (0, trials.len() - 1);
    while bad - good > 1 {
        let middle = usize::midpoint(good, bad);
        match passes(&trials[middle]) {
            None => return Finding::Open(&trials[middle]),
            Some(true) => good = middle,
            Some(false) => bad = middle,
        }
    }
    Finding::With(&trials[bad])
}

/// Where a commit on a target came from, for people.
fn origin_of(state: &State, commit: &Oid) -> String {
    let landed = state
        .merges
        .values()
        .find(|merge| matches!(&merge.state, MergeState::Merged { commit: landed, .. } if landed == commit));
    match landed {
        Some(merge) => format!("`{}` ({})", merge.source_branch, short(commit)),
        None => format!("commit {}", short(commit)),
    }
}

fn output_of(state: &State, command: &str, trial: &Trial) -> Option<String> {
    let record = state.gates.get(&(trial.tree.clone(), command.to_owned()))?;
    match &record.outcome {
        GateOutcome::Failed { output } | GateOutcome::TimedOut { output } => Some(output.clone()),
        GateOutcome::Passed | GateOutcome::Flaky => None,
    }
}

/// Adds what was found to what the actor is told, and to what people see.
fn tell(state: &mut State, merge_id: MergeId, text: &str, smallest: Option<String>) {
    let Some(bisection) = state.bisections.remove(&merge_id) else {
        return;
    };
    let told = format!("{}{text}", bisection.told);
    if let Some(actor_state) = state.actors.get_mut(&bisection.actor) {
        if let Some(Task::Retry { reason, output }) = &mut actor_state.next {
            reason.clone_from(&told);
            if let Some(smallest) = smallest {
                *output = smallest;
            }
        }
        if let Work::Failed { reason } = &mut actor_state.work {
            *reason = reason.replacen(&bisection.told, &told, 1);
        }
        actor_state.reason = Some(told);
    }
    if let Some(merge) = state.merges.get_mut(&merge_id)
        && let MergeState::Rejected { reason } = &mut merge.state
    {
        reason.push_str(text);
    }
}
