//! Merges: what happens to one between being asked for and being in its target. A target takes one merge at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::core::apply::{actor_of, mark_finishing};
use crate::core::attempts::strike;
use crate::core::bisection;
use crate::core::conflicts;
use crate::core::decisions::{self, DecisionStep};
use crate::core::event::{EffectKey, GateOutcome, MergeKind, Preparation, Refusal};
use crate::core::speculate;
use crate::core::state::{GateRecord, Merge, MergeState, State, Work};
use crate::ids::{Actor, BranchName, MergeId, Oid, TeamId, Time};
use crate::plan::{Gate, Plan};

/// A landing looks again at a checkout with uncommitted changes after a part of the time that it has waited already, yet no sooner and no later than this:
/// every look is in the journal, and a checkout may stay as it is for a night.
const DIRTY_CHECKOUT_DELAY_MIN: Duration = Duration::from_secs(2);
const DIRTY_CHECKOUT_DELAY_MAX: Duration = Duration::from_secs(30);
const DIRTY_CHECKOUT_DELAY_PART: u32 = 8;

/// The gate of a merge's level.
pub(crate) fn gate_of<'a>(plan: &'a Plan, kind: &MergeKind) -> &'a Gate {
    match kind {
        MergeKind::Agent(_) | MergeKind::Decision { .. } => &plan.gates.agent,
        MergeKind::Integration(_) | MergeKind::Sync(_) => &plan.gates.team,
        MergeKind::Landing(_) => &plan.gates.main,
    }
}

/// What is known of a tree at a merge's level: the gate's record, or `None` when it has to run.
pub(crate) fn passed_already<'a>(
    state: &'a State,
    plan: &Plan,
    kind: &MergeKind,
    tree: &Oid,
) -> Option<&'a GateRecord> {
    match gate_of(plan, kind) {
        Gate::None => None,
        Gate::Command(command) => state.gates.get(&(tree.clone(), command.clone())),
    }
}

fn merge_in<'a>(
    state: &'a mut State,
    merge_id: MergeId,
    what: &str,
    wanted: impl Fn(&MergeState) -> bool,
) -> Option<&'a mut Merge> {
    if state.merges.get(&merge_id).is_some_and(|merge| wanted(&merge.state)) {
        return state.merges.get_mut(&merge_id);
    }
    state.note(format!("merge {}: {what} came late and was ignored", merge_id.0));
    None
}

pub(crate) fn prepared(state: &mut State, merge_id: MergeId, outcome: &Preparation) {
    let Some(merge) = merge_in(state, merge_id, "the preparation", |merge| {
        *merge == MergeState::Preparing
    }) else {
        return;
    };
    let kind = merge.kind.clone();
    match outcome {
        Preparation::Clean { tree, onto } => {
            merge.state = MergeState::Prepared {
                tree: tree.clone(),
                onto: onto.clone(),
            };
            state.troubles.remove(&EffectKey::Merge(merge_id));
        }
        Preparation::Conflict { paths, .. } if matches!(kind, MergeKind::Decision { .. }) => {
            let reason = format!("somebody else has changed {}", paths.join(", "));
            reject(state, merge_id, &kind, reason, String::new());
        }
        Preparation::Conflict { onto, paths } => {
            merge.state = MergeState::Conflict {
                onto: onto.clone(),
                paths: paths.clone(),
            };
            if state.rules == 0 {
                conflicts::ask_human(state, merge_id, "");
            }
        }
        Preparation::Unacceptable { missing, outside } => {
            let mut faults = Vec::new();
            if !missing.is_empty() {
                faults.push(format!("deliverables are missing: {}", missing.join(", ")));
            }
            if !outside.is_empty() {
                faults.push(format!(
                    "paths outside of what it owns were changed: {}",
                    outside.join(", ")
                ));
            }
            let reason = faults.join("; ");
            reject(state, merge_id, &kind, reason, String::new());
        }
    }
}

/// Turns a merge down, and tells whoever can mend it.
fn reject(state: &mut State, merge_id: MergeId, kind: &MergeKind, reason: String, output: String) {
    if let Some(merge) = state.merges.get_mut(&merge_id) {
        merge.state = MergeState::Rejected { reason: reason.clone() };
        merge.blocked = None;
    }
    match kind {
        MergeKind::Decision { escalation_id, .. } => decisions::put_off(state, *escalation_id, &reason),
        MergeKind::Agent(_) | MergeKind::Integration(_) => {
            if let Some(actor) = actor_of(kind) {
                strike(state, &actor, reason, output, false);
                mark_finishing(state, &actor);
            }
        }
        MergeKind::Landing(team_id) => {
            // The team's branch alone passed its gate: what fails is the team together with main, and its leader can mend that.
            let leader = Actor::Leader(team_id.clone());
            let base = state.plan.as_ref().map(|plan| plan.repository.base.clone());
            let advice = base.map_or(String::new(), |base| {
                format!("; this is the team's tree merged with `{base}`: merge `{base}` into your branch first, then mend it")
            });
            strike(state, &leader, format!("{reason}{advice}"), output, false);
            mark_finishing(state, &leader);
        }
        MergeKind::Sync(team_id) => {
            let question =
                format!("main merged into the branch of team {team_id} does not pass its gate: how shall it go on?");
            state.escalate(None, Some(merge_id), question, format!("{reason}\n{output}"));
        }
    }
}

pub(crate) fn gate_finished(state: &mut State, merge_id: MergeId, tree: &Oid, outcome: &GateOutcome, duration_ms: u64) {
    let Some(plan) = state.plan.clone() else {
        return;
    };
    let at = state.now;
    let gate = state
        .merges
        .get(&merge_id)
        .map(|merge| gate_of(&plan, &merge.kind).clone());
    // What a gate said of a tree is true whether or not its merge still waits for it, and its first word counts: a merge that was turned down may have left a run
    // of the same gate behind. A gate that did not answer has said nothing.
    let first_word = match &gate {
        Some(Gate::Command(command)) if !matches!(outcome, GateOutcome::TimedOut { .. }) => {
            let record = state
                .gates
                .entry((tree.clone(), command.clone()))
                .or_insert_with(|| GateRecord {
                    outcome: outcome.clone(),
                    duration_ms,
                    at,
                });
            record.outcome.clone()
        }
        Some(Gate::Command(_) | Gate::None) | None => outcome.clone(),
    };
    // A merge whose turn came while its tree was tested early waits for this word in the record, not here.
    let was_awaited = state.gate_runs.remove(&(merge_id, tree.clone())).is_some();
    if let GateOutcome::TimedOut { .. } = outcome {
        bisection::gate_gave_no_word(state, merge_id, tree);
    }
    let was_early = speculate::gate_ended(state, merge_id, tree) || was_awaited;
    let waits = |merge: &MergeState| matches!(merge, MergeState::Gating { tree: wanted, .. } if wanted == tree);
    if was_early && !state.merges.get(&merge_id).is_some_and(|merge| waits(&merge.state)) {
        return;
    }
    let Some(merge) = merge_in(state, merge_id, "the gate's answer", waits) else {
        return;
    };
    let MergeState::Gating { tree, onto } = merge.state.clone() else {
        return;
    };
    let kind = merge.kind.clone();
    let back_to = onto.clone();
    match &first_word {
        GateOutcome::Passed | GateOutcome::Flaky => {
            merge.state = MergeState::Passed { tree, onto };
            state.troubles.remove(&EffectKey::Merge(merge_id));
        }
        GateOutcome::Failed { output } => {
            let command = command_text(gate);
            reject(
                state,
                merge_id,
                &kind,
                format!("the gate `{command}` fails on the merged tree"),
                output.clone(),
            );
            bisection::begin(state, merge_id, back_to, command);
        }
        GateOutcome::TimedOut { output } => {
            let command = command_text(gate);
            reject(
                state,
                merge_id,
                &kind,
                format!("the gate `{command}` did not end within its time limit"),
                output.clone(),
            );
        }
    }
}

fn command_text(gate: Option<Gate>) -> String {
    match gate {
        Some(Gate::Command(command)) => command,
        Some(Gate::None) | None => "none".to_owned(),
    }
}

/// A tree that failed this very gate before fails it again: it is not run a second time.
pub(crate) fn fail_from_record(state: &mut State, merge_id: MergeId, record: &GateRecord) {
    let Some(plan) = state.plan.clone() else {
        return;
    };
    let Some(merge) = state.merges.get(&merge_id) else {
        return;
    };
    let MergeState::Prepared { onto, .. } = merge.state.clone() else {
        return;
    };
    let kind = merge.kind.clone();
    let command = command_text(Some(gate_of(&plan, &kind).clone()));
    let output = match &record.outcome {
        GateOutcome::Failed { output } | GateOutcome::TimedOut { output } => output.clone(),
        GateOutcome::Passed | GateOutcome::Flaky => String::new(),
    };
    reject(
        state,
        merge_id,
        &kind,
        format!("the gate `{command}` failed on this very tree before"),
        output,
    );
    bisection::begin(state, merge_id, onto, command);
}

pub(crate) fn landed(state: &mut State, merge_id: MergeId, commit: &Oid) {
    state.unheard.remove(&merge_id);
    let landing = |merge: &MergeState| matches!(merge, MergeState::Landing { .. });
    let Some(merge) = merge_in(state, merge_id, "the landing", landing) else {
        return;
    };
    let MergeState::Landing { tree, .. } = merge.state.clone() else {
        return;
    };
    merge.state = MergeState::Merged {
        tree,
        commit: commit.clone(),
    };
    merge.blocked = None;
    let (kind, carries) = (merge.kind.clone(), merge.carries.clone());
    // Whoever settled a conflict put a commit of its own on top of what the actor had made.
    let source = merge.resolves.clone().unwrap_or_else(|| merge.source.clone());
    state.troubles.remove(&EffectKey::Merge(merge_id));
    settle_questions(state, merge_id);
    decisions::landed(state, &kind);
    match &kind {
        MergeKind::Agent(_) | MergeKind::Integration(_) => {
            let Some(actor) = actor_of(&kind) else { return };
            let team_id = state
                .plan
                .as_ref()
                .and_then(|plan| plan.team_of(&actor))
                .map(|team| team.id.clone());
            if let Some(team) = team_id.and_then(|team_id| state.teams.get_mut(&team_id)) {
                team.tip = Some(commit.clone());
            }
            if let Some(actor_state) = state.actors.get_mut(&actor) {
                actor_state.work = Work::Merged { commit: commit.clone() };
                if actor_state.tip.as_ref() != Some(&source) {
                    state.note(format!(
                        "{actor} committed while its merge was landing; these commits stay on its branch"
                    ));
                }
            }
        }
        MergeKind::Sync(team_id) => {
            if let Some(team) = state.teams.get_mut(team_id) {
                team.tip = Some(commit.clone());
                team.includes.extend(carries);
            }
        }
        MergeKind::Decision { team_id, escalation_id } => {
            if let Some(team) = state.teams.get_mut(team_id) {
                team.tip = Some(commit.clone());
            }
            decisions::set(state, *escalation_id, DecisionStep::Recorded);
        }
        MergeKind::Landing(team_id) => {
            state.base_tip = Some(commit.clone());
            if let Some(team) = state.teams.get_mut(team_id) {
                team.landed = Some(commit.clone());
            }
        }
    }
}

/// Merges of which nobody knows whether they have landed: they are on their way to the question, or it is asked.
pub(crate) fn unheard(state: &State) -> Vec<MergeId> {
    let asks = |merge: &Merge| {
        matches!(
            merge.state,
            MergeState::Prepared { .. }
                | MergeState::Gating { .. }
                | MergeState::Passed { .. }
                | MergeState::Landing { .. }
        )
    };
    let unheard = state.unheard.iter().copied();
    unheard
        .filter(|merge_id| state.merges.get(merge_id).is_some_and(asks))
        .collect()
}

pub(crate) fn landing_refused(state: &mut State, merge_id: MergeId, refusal: &Refusal) {
    state.unheard.remove(&merge_id);
    let now = state.now;
    let landing = |merge: &MergeState| matches!(merge, MergeState::Landing { .. });
    let Some(merge) = merge_in(state, merge_id, "the refusal", landing) else {
        return;
    };
    let MergeState::Landing { tree, onto } = merge.state.clone() else {
        return;
    };
    match refusal {
        // Somebody else was first: merge again with what is there now.
        Refusal::TargetMoved { tip } => {
            merge.state = MergeState::Queued;
            merge.blocked = None;
            let (kind, tip) = (merge.kind.clone(), tip.clone());
            match kind {
                MergeKind::Landing(_) => {
                    state.base_tip = Some(tip);
                    refresh_source(state, merge_id);
                }
                MergeKind::Agent(_) | MergeKind::Integration(_) | MergeKind::Sync(_) | MergeKind::Decision { .. } => {
                    let target = state.merges.get(&merge_id).map(|merge| merge.target.clone());
                    let team_id = state
                        .plan
                        .as_ref()
                        .and_then(|plan| plan.teams().find(|team| Some(&team.branch) == target.as_ref()))
                        .map(|team| team.id.clone());
                    if let Some(team) = team_id.and_then(|team_id| state.teams.get_mut(&team_id)) {
                        team.tip = Some(tip);
                    }
                }
            }
        }
        // What was tested is not what these commits make: nothing more lands until a human has looked.
        Refusal::Doubted { second } => {
            let found = second
                .as_ref()
                .map_or_else(|| "a conflict".to_owned(), |tree| format!("tree {tree}"));
            let question = format!(
                "merging `{}` into `{}` twice gives tree {tree} and {found}: which merge is wrong?",
                merge.source_branch, merge.target
            );
            merge.state = MergeState::Rejected {
                reason: "a second, independent merge of the same commits gives another tree".to_owned(),
            };
            merge.blocked = None;
            state.gates.retain(|(tested, _), _| *tested != tree);
            let detail = format!(
                "nothing lands until this is answered; compare `git merge-tree --write-tree {onto} SOURCE` with the tested tree, then answer with anything to merge again"
            );
            state.halted = Some(state.escalate(None, Some(merge_id), question, detail));
        }
        Refusal::CheckoutDirty { directory, paths } => {
            merge.state = MergeState::Passed { tree, onto };
            if merge.blocked.is_none() {
                merge.blocked_since = now;
            }
            let waited = now.since(merge.blocked_since) / DIRTY_CHECKOUT_DELAY_PART;
            merge.not_before = now.plus(waited.clamp(DIRTY_CHECKOUT_DELAY_MIN, DIRTY_CHECKOUT_DELAY_MAX));
            merge.blocked = Some(format!(
                "the checkout at {directory} has uncommitted changes ({}): commit or stash them, and the landing goes on by itself",
                paths.join(", ")
            ));
        }
    }
}

pub(crate) fn effect_failed(state: &mut State, merge_id: MergeId, error: &str, give_up: bool) {
    conflicts::check_failed(state, merge_id, error, give_up);
    let Some(merge) = state.merges.get_mut(&merge_id) else {
        return;
    };
    merge.state = match merge.state.clone() {
        MergeState::Preparing => MergeState::Queued,
        MergeState::Gating { tree, onto } => MergeState::Prepared { tree, onto },
        MergeState::Landing { tree, onto } => MergeState::Passed { tree, onto },
        other @ (MergeState::Queued
        | MergeState::Prepared { .. }
        | MergeState::Passed { .. }
        | MergeState::Merged { .. }
        | MergeState::Conflict { .. }
        | MergeState::Rejected { .. }) => other,
    };
    if let (MergeKind::Decision { escalation_id, .. }, true) = (&merge.kind, give_up && merge.state.is_active()) {
        let escalation_id = *escalation_id;
        merge.state = MergeState::Rejected {
            reason: error.to_owned(),
        };
        merge.blocked = None;
        decisions::give_up(state, escalation_id, error);
        return;
    }
    if give_up && merge.state.is_active() {
        let question = format!(
            "merging `{}` into `{}` is not possible: {error}",
            merge.source_branch, merge.target
        );
        merge.state = MergeState::Rejected {
            reason: error.to_owned(),
        };
        merge.blocked = None;
        state.escalate(
            None,
            Some(merge_id),
            question,
            "mend the cause, then answer this question with anything to try again".to_owned(),
        );
    }
}

/// A human has answered what was asked about a merge: it goes back into its queue with the source's newest tip.
pub(crate) fn try_again(state: &mut State, merge_id: MergeId) {
    state.troubles.remove(&EffectKey::Merge(merge_id));
    // A team whose leader is at work again lands with what that leads to.
    let is_outdated = match state.merges.get(&merge_id).map(|merge| &merge.kind) {
        Some(MergeKind::Landing(team_id)) if state.rules > 0 => {
            let leader = state.actors.get(&Actor::Leader(team_id.clone()));
            !leader.is_some_and(|leader| matches!(leader.work, Work::Merged { .. }))
        }
        Some(_) | None => false,
    };
    if is_outdated {
        return;
    }
    if let Some(merge) = state.merges.get_mut(&merge_id)
        && matches!(merge.state, MergeState::Conflict { .. } | MergeState::Rejected { .. })
    {
        merge.state = MergeState::Queued;
        merge.not_before = Time(0);
        refresh_source(state, merge_id);
    }
}

/// A merge that starts anew takes what its source holds now: it may have been mended there.
fn refresh_source(state: &mut State, merge_id: MergeId) {
    let Some(kind) = state.merges.get(&merge_id).map(|merge| merge.kind.clone()) else {
        return;
    };
    let tip = match &kind {
        MergeKind::Agent(agent_id) => actor_tip(state, &Actor::Agent(agent_id.clone())),
        MergeKind::Integration(team_id) => actor_tip(state, &Actor::Leader(team_id.clone())),
        MergeKind::Decision { .. } => None,
        MergeKind::Sync(_) => state.base_tip.clone(),
        MergeKind::Landing(team_id) => state.teams.get(team_id).and_then(|team| team.tip.clone()),
    };
    let landed: BTreeSet<TeamId> = state
        .teams
        .iter()
        .filter(|(_, team)| team.landed.is_some())
        .map(|(team_id, _)| team_id.clone())
        .collect();
    if let (Some(tip), Some(merge)) = (tip, state.merges.get_mut(&merge_id)) {
        // A settlement is still one as long as what it settles has not moved on.
        if merge.resolves.as_ref() != Some(&tip) {
            merge.source = tip;
            merge.resolves = None;
        }
        if let MergeKind::Sync(_) = kind {
            merge.carries = landed;
        }
    }
}

fn actor_tip(state: &State, actor: &Actor) -> Option<Oid> {
    state.actors.get(actor).and_then(|actor_state| actor_state.tip.clone())
}

/// Questions about a merge that is settled need no answer any more.
pub(crate) fn settle_questions(state: &mut State, merge_id: MergeId) {
    let now = state.now;
    for escalation in state.escalations.values_mut() {
        if escalation.merge == Some(merge_id) && escalation.answered.is_none() {
            escalation.answered = Some(now);
            escalation.answer = Some("settled without an answer".to_owned());
        }
    }
}

/// A team's branch moved by a human's hand: merges of it that were in conflict are tried again with what is there now.
pub(crate) fn team_branch_moved(state: &mut State, team_id: &TeamId, branch: &BranchName, tip: &Oid) {
    let mut settled = Vec::new();
    for (merge_id, merge) in &mut state.merges {
        let lands_it = merge.kind == MergeKind::Landing(team_id.clone());
        // What is on its way to main without the new commits makes room for a landing with them, unless it is too late.
        if lands_it && merge.state.is_active() && !matches!(merge.state, MergeState::Landing { .. }) {
            merge.state = MergeState::Rejected {
                reason: "its branch moved on; a newer merge takes its place".to_owned(),
            };
            merge.blocked = None;
            settled.push(*merge_id);
            continue;
        }
        if !matches!(merge.state, MergeState::Conflict { .. }) {
            continue;
        }
        if lands_it {
            merge.source = tip.clone();
            merge.resolves = None;
        } else if &merge.target != branch {
            continue;
        }
        merge.state = MergeState::Queued;
        settled.push(*merge_id);
    }
    for merge_id in settled {
        settle_questions(state, merge_id);
    }
}
