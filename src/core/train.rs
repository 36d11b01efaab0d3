//! The trains into the branches: which merges are asked for, and how each gets on, one at a time into one branch.

use std::collections::BTreeSet;

use crate::core::command::{Command, LandMerge, Receipt};
use crate::core::decisions;
use crate::core::event::{EffectKey, MergeKind};
use crate::core::merges;
use crate::core::outcome;
use crate::core::speculate;
use crate::core::state::{Merge, MergeState, State, TeamBranch, Work};
use crate::ids::{Actor, BranchName, MergeId, Oid, TeamId, Time};
use crate::plan::{Approval, Gate, Need, Plan, Team};

/// Puts merges into the queues of their targets.
pub(crate) fn ask_for_merges(state: &mut State, plan: &Plan) {
    let complete: Vec<(Actor, Oid)> = state
        .actors
        .iter()
        // What settles a conflict is no merge of its own.
        .filter(|(actor, _)| !matches!(actor, Actor::Resolver(_)))
        .filter(|(_, actor_state)| matches!(actor_state.work, Work::Complete { merge: None, .. }))
        .filter_map(|(actor, actor_state)| Some((actor.clone(), actor_state.tip.clone()?)))
        .collect();
    for (actor, source) in complete {
        let (Some(team), Some(branch)) = (plan.team_of(&actor), plan.branch_of(&actor)) else {
            continue;
        };
        let kind = match &actor {
            Actor::Agent(agent_id) => MergeKind::Agent(agent_id.clone()),
            Actor::Leader(team_id) | Actor::Resolver(team_id) => MergeKind::Integration(team_id.clone()),
        };
        let merge_id = push_merge(
            state,
            kind,
            source,
            branch.clone(),
            team.branch.clone(),
            BTreeSet::new(),
        );
        if let Some(actor_state) = state.actors.get_mut(&actor)
            && let Work::Complete { merge, .. } = &mut actor_state.work
        {
            *merge = Some(merge_id);
        }
    }
    for team in plan.teams() {
        ask_for_sync(state, plan, team);
        ask_for_landing(state, plan, team);
    }
}

fn has_open_merge(state: &State, kind: &MergeKind) -> bool {
    state.merges.iter().any(|(merge_id, merge)| {
        &merge.kind == kind
            && (merge.state.is_active()
                || matches!(merge.state, MergeState::Conflict { .. })
                || state
                    .open_escalations()
                    .any(|(_, escalation)| escalation.merge == Some(*merge_id)))
    })
}

/// An agent that needs another team's landing needs it in its own team's branch.
fn ask_for_sync(state: &mut State, plan: &Plan, team: &Team) {
    let Some(team_state) = state.teams.get(&team.id) else {
        return;
    };
    if team_state.branch != TeamBranch::Ready || team_state.landed.is_some() || !state.takes_part(&team.id) {
        return;
    }
    let wanted = team
        .agents
        .iter()
        .flat_map(|agent| &agent.needs)
        .any(|need| match need {
            Need::Agent(_) => false,
            Need::Team(other) => {
                !team_state.includes.contains(other)
                    && state.teams.get(other).is_some_and(|other| other.landed.is_some())
            }
        });
    let kind = MergeKind::Sync(team.id.clone());
    let Some(source) = state.base_tip.clone() else {
        return;
    };
    if wanted && !has_open_merge(state, &kind) {
        let carries = state
            .teams
            .iter()
            .filter(|(_, team)| team.landed.is_some())
            .map(|(id, _)| id.clone())
            .collect();
        push_merge(
            state,
            kind,
            source,
            plan.repository.base.clone(),
            team.branch.clone(),
            carries,
        );
    }
}

fn ask_for_landing(state: &mut State, plan: &Plan, team: &Team) {
    let Some(team_state) = state.teams.get(&team.id) else {
        return;
    };
    let integrated = state
        .actors
        .get(&Actor::Leader(team.id.clone()))
        .is_some_and(|leader| matches!(leader.work, Work::Merged { .. }));
    let approved = team_state.approved || plan.approvals.team == Approval::Auto;
    let kind = MergeKind::Landing(team.id.clone());
    let Some(source) = team_state.tip.clone() else {
        return;
    };
    if decisions::is_pending(state, &team.id) {
        return;
    }
    if integrated && approved && team_state.landed.is_none() && !has_open_merge(state, &kind) {
        push_merge(
            state,
            kind,
            source,
            team.branch.clone(),
            plan.repository.base.clone(),
            BTreeSet::new(),
        );
    }
}

pub(crate) fn push_merge(
    state: &mut State,
    kind: MergeKind,
    source: Oid,
    source_branch: BranchName,
    target: BranchName,
    carries: BTreeSet<TeamId>,
) -> MergeId {
    let merge_id = MergeId(state.merges.keys().next_back().map_or(1, |last| last.0 + 1));
    let asked = state.now;
    state.merges.insert(
        merge_id,
        Merge {
            kind,
            source,
            source_branch,
            target,
            state: MergeState::Queued,
            asked,
            not_before: Time(0),
            blocked: None,
            blocked_since: Time(0),
            carries,
            resolves: None,
            guidance: Vec::new(),
        },
    );
    merge_id
}

/// Takes the first merge of each target a step further, until none can go on by itself.
pub(crate) fn advance_merges(state: &mut State, plan: &Plan, commands: &mut Vec<Command>) {
    loop {
        let mut targets = BTreeSet::new();
        let heads: Vec<MergeId> = state
            .merges
            .iter()
            .filter(|(_, merge)| merge.state.is_active())
            .filter(|(_, merge)| targets.insert(merge.target.clone()))
            .map(|(merge_id, _)| *merge_id)
            .collect();
        let mut moved = false;
        for merge_id in heads {
            moved |= advance_merge(state, plan, merge_id, commands);
        }
        if !moved {
            return;
        }
        // A merge that was turned down makes room for the next one, and may have made new ones necessary.
        ask_for_merges(state, plan);
    }
}

/// A merge that was landing when the process before this one ended may have landed. Landing it again tells, and a way back must know: what had landed unheard
/// would stay on one branch while the other goes back.
pub(crate) fn ask_after_landings(state: &mut State, plan: &Plan, commands: &mut Vec<Command>) {
    for merge_id in merges::unheard(state) {
        while advance_merge(state, plan, merge_id, commands) {}
    }
}

/// Whether anything changed without waiting for the shell.
fn advance_merge(state: &mut State, plan: &Plan, merge_id: MergeId, commands: &mut Vec<Command>) -> bool {
    let ready_at = state
        .troubles
        .get(&EffectKey::Merge(merge_id))
        .map_or(Time(0), |trouble| trouble.not_before);
    let gates_running = speculate::gates_running(state);
    let is_halted = is_halted(state);
    let run_id = state.run_id.clone();
    let now = state.now;
    let Some(merge) = state.merges.get(&merge_id) else {
        return false;
    };
    if ready_at.max(merge.not_before) > now {
        return false;
    }
    let (kind, source) = (merge.kind.clone(), merge.source.clone());
    let next = match merge.state.clone() {
        MergeState::Queued => {
            commands.push(Command::PrepareMerge {
                merge_id,
                kind,
                source,
                target: merge.target.clone(),
                resolved: merge.resolves.is_some(),
            });
            MergeState::Preparing
        }
        MergeState::Prepared { tree, onto } => match merges::gate_of(plan, &kind) {
            Gate::None => MergeState::Passed { tree, onto },
            Gate::Command(command) => match merges::passed_already(state, plan, &kind, &tree) {
                Some(record) if record.outcome.passes() => MergeState::Passed { tree, onto },
                Some(record) => {
                    let record = record.clone();
                    merges::fail_from_record(state, merge_id, &record);
                    return true;
                }
                None if gates_running < plan.limits.gates as usize && !is_gating(state, plan, command, &tree) => {
                    let gate_run = ((merge_id, tree.clone()), command.clone());
                    commands.push(Command::RunGate {
                        merge_id,
                        kind,
                        tree: tree.clone(),
                        parents: [onto.clone(), source],
                        command: command.clone(),
                    });
                    state.gate_runs.extend([gate_run]);
                    MergeState::Gating { tree, onto }
                }
                None => return false,
            },
        },
        MergeState::Passed { .. } if is_halted => return false,
        MergeState::Passed { tree, onto } => {
            let record = merges::passed_already(state, plan, &kind, &tree);
            let receipt = Receipt {
                run_id,
                gate: merges::gate_of(plan, &kind).clone(),
                outcome: record.map(|record| record.outcome.clone()),
                duration_ms: record.map_or(0, |record| record.duration_ms),
                at: record.map_or(merge.asked, |record| record.at),
            };
            commands.push(Command::LandMerge(LandMerge {
                merge_id,
                subject: outcome::merge_subject(plan, &kind),
                kind,
                target: merge.target.clone(),
                onto: onto.clone(),
                source,
                tree: tree.clone(),
                receipt,
            }));
            MergeState::Landing { tree, onto }
        }
        MergeState::Preparing
        | MergeState::Gating { .. }
        | MergeState::Landing { .. }
        | MergeState::Merged { .. }
        | MergeState::Conflict { .. }
        | MergeState::Rejected { .. } => return false,
    };
    let moved = matches!(next, MergeState::Passed { .. });
    if let Some(merge) = state.merges.get_mut(&merge_id) {
        merge.state = next;
    }
    moved
}

/// Whether a merge was doubted, and no human has looked at it yet.
pub(crate) fn is_halted(state: &State) -> bool {
    state
        .halted
        .and_then(|halted| state.escalations.get(&halted))
        .is_some_and(|escalation| escalation.answered.is_none())
}

/// Whether another merge waits for this very gate on this very tree: what it says will do for both.
fn is_gating(state: &State, plan: &Plan, command: &str, tree: &Oid) -> bool {
    state.merges.values().any(|merge| {
        matches!(&merge.state, MergeState::Gating { tree: gated, .. } if gated == tree)
            && matches!(merges::gate_of(plan, &merge.kind), Gate::Command(other) if other == command)
    }) || speculate::is_gating(state, command, tree)
}
