//! Words of the core for people: why a run stands still, what an effect is called, what a merge's subject says.

use std::collections::{BTreeMap, VecDeque};

use crate::core::command::RunOutcome;
use crate::core::decide::{phase_is_complete, phase_may_start};
use crate::core::event::{EffectKey, MergeKind, RefusalKind};
use crate::core::state::{Breaker, Failure, State, TeamBranch, Work};
use crate::ids::{Actor, Oid};
use crate::plan::{Approval, Need, Plan};

/// Why a run in which nothing goes on stands still.
pub(crate) fn of_stalled_run(state: &State, plan: &Plan) -> RunOutcome {
    let waiting = reasons_to_wait(state, plan);
    let mut failed = reasons_to_fail(state, plan);
    if !waiting.is_empty() {
        let reasons = waiting.into_iter().chain(failed).collect();
        return RunOutcome::Waiting { reasons };
    }
    if failed.is_empty() {
        failed = reasons_of_scope(state, plan);
    }
    RunOutcome::Failed { reasons: failed }
}

fn reasons_to_wait(state: &State, plan: &Plan) -> Vec<String> {
    let paused = state
        .paused
        .then(|| "the run is paused (`orchestrate resume`)".to_owned());
    let mut reasons: Vec<String> = state
        .open_escalations()
        .map(|(id, escalation)| {
            let who = escalation
                .actor
                .as_ref()
                .map_or_else(|| "the run".to_owned(), ToString::to_string);
            format!(
                "question {} of {who}: {} (`orchestrate answer {} \"...\"`)",
                id.0, escalation.question, id.0
            )
        })
        .chain(paused)
        .collect();
    for team in plan.teams().filter(|team| state.takes_part(&team.id)) {
        if awaits_approval(state, plan, team.id.as_str()) {
            reasons.push(format!(
                "team {} is ready to land and waits for a yes (`orchestrate approve {}`)",
                team.id, team.id
            ));
        }
    }
    reasons
}

/// Whether a team is integrated and only a human's yes is missing.
pub(crate) fn awaits_approval(state: &State, plan: &Plan, team_id: &str) -> bool {
    plan.approvals.team == Approval::Manual
        && plan.teams().any(|team| {
            team.id.as_str() == team_id
                && state
                    .teams
                    .get(&team.id)
                    .is_some_and(|team| !team.approved && team.landed.is_none())
                && state
                    .actors
                    .get(&Actor::Leader(team.id.clone()))
                    .is_some_and(|leader| matches!(leader.work, Work::Merged { .. }))
        })
}

fn reasons_to_fail(state: &State, plan: &Plan) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Breaker::Open { reason } = &state.breaker {
        reasons.push(reason.clone());
    }
    for (actor, actor_state) in &state.actors {
        if let Work::Failed { reason } = &actor_state.work {
            reasons.push(format!(
                "{actor} failed: {reason} (`orchestrate retry {}`)",
                actor.slug()
            ));
        }
    }
    for team in plan.teams() {
        let key = EffectKey::TeamBranch(team.id.clone());
        let absent = state
            .teams
            .get(&team.id)
            .is_some_and(|team| team.branch == TeamBranch::Absent);
        if absent && let Some(trouble) = state.troubles.get(&key) {
            reasons.push(format!("{}: {}", effect_words(&key), trouble.error));
        }
    }
    reasons
}

/// Nothing failed and nobody is asked: what is wanted lies outside of the teams that take part.
fn reasons_of_scope(state: &State, plan: &Plan) -> Vec<String> {
    let of_needs = plan
        .agents()
        .filter(|(team, _)| state.takes_part(&team.id))
        .flat_map(|(team, agent)| agent.needs.iter().map(move |need| (team, agent, need)))
        .filter_map(|(team, agent, need)| match need {
            Need::Team(other) if !state.takes_part(other) => Some((team, agent, other)),
            Need::Team(_) | Need::Agent(_) => None,
        })
        .filter(|(team, _, other)| {
            let team_state = state.teams.get(&team.id);
            team_state.is_none_or(|team_state| !team_state.includes.contains(other))
        })
        .map(|(_, agent, other)| {
            format!(
                "agent {} waits for team {other}, which does not take part in this run",
                agent.id
            )
        });
    plan.phases
        .iter()
        .filter(|phase| !phase_is_complete(state, phase) && !phase_may_start(state, plan, phase))
        .filter(|phase| phase.teams.iter().any(|team| state.takes_part(&team.id)))
        .map(|phase| {
            let needs: Vec<String> = phase.needs.iter().map(ToString::to_string).collect();
            format!(
                "phase {} waits for phase {}, whose teams do not take part in this run",
                phase.id,
                needs.join(", ")
            )
        })
        .chain(of_needs)
        .collect()
}

/// What an effect is called.
pub(crate) fn effect_words(effect: &EffectKey) -> String {
    match effect {
        EffectKey::ActorBranch(actor) => format!("making the branch of {actor}"),
        EffectKey::TeamBranch(team_id) => format!("making the branch of team {team_id}"),
        EffectKey::Start(actor) => format!("starting {actor}"),
        EffectKey::Merge(merge_id) | EffectKey::Ahead(merge_id) | EffectKey::Back(merge_id) => {
            format!("merge {}", merge_id.0)
        }
        EffectKey::Decision(escalation_id) => format!("writing decision {} down", escalation_id.0),
        EffectKey::Rollback(branch) => format!("putting `{branch}` back"),
        EffectKey::Gate(merge_id, _) => format!("the gate of merge {}", merge_id.0),
    }
}

/// What failures have in common, as the end of a sentence about them; empty when they have nothing.
pub(crate) fn in_common(plan: &Plan, failures: &VecDeque<Failure>) -> String {
    let most = |names: Vec<String>| -> Option<(usize, String)> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for name in names {
            *counts.entry(name).or_default() += 1;
        }
        let (name, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        (count > 1 && count * 2 > failures.len()).then_some((count, name))
    };
    let share = |count: usize| {
        if count == failures.len() {
            "all of them".to_owned()
        } else {
            format!("{count} of them")
        }
    };
    let reason = most(failures.iter().map(|failure| failure.reason.clone()).collect());
    let actor = most(failures.iter().map(|failure| failure.actor.to_string()).collect());
    let team = most(
        failures
            .iter()
            .filter_map(|failure| plan.team_of(&failure.actor))
            .map(|team| format!("team {}", team.id))
            .collect(),
    );
    let mut words = Vec::new();
    words.extend(reason.map(|(count, reason)| format!("{}: {reason}", share(count))));
    match (actor, team) {
        (Some((count, actor)), _) => words.push(format!("{} of {actor}", share(count))),
        (None, Some((count, team))) if plan.teams().count() > 1 => words.push(format!("{} in {team}", share(count))),
        (None, Some(_) | None) => {}
    }
    if words.is_empty() {
        String::new()
    } else {
        format!("; {}", words.join("; "))
    }
}

/// What a vendor's refusal is called.
pub(crate) fn refusal_words(kind: RefusalKind) -> &'static str {
    match kind {
        RefusalKind::Quota => "its usage limit is reached",
        RefusalKind::Authentication => "the key or login is not valid",
        RefusalKind::Billing => "there is no credit",
        RefusalKind::Unavailable => "it is overloaded or out of order",
    }
}

/// The subject of a merge commit.
pub(crate) fn merge_subject(plan: &Plan, kind: &MergeKind) -> String {
    let agent = |id: &str| format!("agent-{}", id.replace('.', "-"));
    let team = |id: &str| format!("team-{}", id.replace('.', "-"));
    let base = &plan.repository.base;
    match kind {
        MergeKind::Agent(agent_id) => {
            let team_id = plan.agent(agent_id).map_or("", |(team, _)| team.id.as_str());
            format!("[MERGE] Merged {} into {}", agent(agent_id.as_str()), team(team_id))
        }
        MergeKind::Integration(team_id) => {
            format!(
                "[MERGE] Merged leader-{} into {}",
                team_id.as_str().replace('.', "-"),
                team(team_id.as_str())
            )
        }
        MergeKind::Sync(team_id) => {
            format!("[MERGE] Merged {base} into {}", team(team_id.as_str()))
        }
        MergeKind::Decision { team_id, escalation_id } => {
            format!(
                "[MERGE] Merged decision-{} into {}",
                escalation_id.0,
                team(team_id.as_str())
            )
        }
        MergeKind::Landing(team_id) => {
            format!("[MERGE] Merged {} into {base}", team(team_id.as_str()))
        }
    }
}

/// A commit's name as people read it.
pub(crate) fn short(oid: &Oid) -> &str {
    oid.as_str().get(..12).unwrap_or(oid.as_str())
}

/// So many merges, and what became of them.
pub(crate) fn merges_words(count: usize, participle: &str) -> String {
    match count {
        0 => format!("no merge is {participle}"),
        1 => format!("1 merge is {participle}"),
        _ => format!("{count} merges are {participle}"),
    }
}
