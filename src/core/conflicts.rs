//! Conflicts: the leader of the team that they concern settles them, one at a time, in a seat of its own. A human is asked when it cannot.

use crate::core::apply::mark_finishing;
use crate::core::attempts::strike;
use crate::core::command::{Command, ConflictFacts, Task};
use crate::core::event::{EffectKey, MergeKind, Vanished};
use crate::core::state::{MergeState, Process, State, StopReason, Work};
use crate::ids::{Actor, MergeId, Oid, TeamId, Time};
use crate::plan::Plan;

/// The team whose leader settles a merge's conflict.
pub(crate) fn team_of(plan: &Plan, kind: &MergeKind) -> Option<TeamId> {
    match kind {
        MergeKind::Agent(agent_id) => plan.agent(agent_id).map(|(team, _)| team.id.clone()),
        MergeKind::Integration(team_id)
        | MergeKind::Sync(team_id)
        | MergeKind::Landing(team_id)
        | MergeKind::Decision { team_id, .. } => Some(team_id.clone()),
    }
}

/// Whether a merge is in conflict and no human is asked about it.
fn is_for_leader(state: &State, merge_id: MergeId) -> bool {
    state
        .merges
        .get(&merge_id)
        .is_some_and(|merge| matches!(merge.state, MergeState::Conflict { .. }))
        && !state
            .open_escalations()
            .any(|(_, escalation)| escalation.merge == Some(merge_id))
}

/// Who settles a merge's conflict at the moment.
fn seat_of(state: &State, merge_id: MergeId) -> Option<Actor> {
    state
        .resolving
        .iter()
        .find(|(_, resolved)| **resolved == merge_id)
        .map(|(team_id, _)| Actor::Resolver(team_id.clone()))
}

/// What is to be settled, for whoever settles it.
pub(crate) fn facts_of(state: &State, merge_id: MergeId) -> Option<ConflictFacts> {
    let merge = state.merges.get(&merge_id)?;
    let MergeState::Conflict { onto, paths } = &merge.state else {
        return None;
    };
    Some(ConflictFacts {
        merge_id,
        kind: merge.kind.clone(),
        source: merge.source.clone(),
        source_branch: merge.source_branch.clone(),
        onto: onto.clone(),
        target: merge.target.clone(),
        paths: paths.clone(),
        guidance: merge.guidance.join("\n"),
    })
}

/// What the leader of this team settles at the moment.
pub(crate) fn facts_for(state: &State, team_id: &TeamId) -> Option<ConflictFacts> {
    facts_of(state, *state.resolving.get(team_id)?)
}

/// Gives conflicts to leaders who are free for one, has what they made of one looked at, and takes back what is settled otherwise.
pub(crate) fn assign(state: &mut State, plan: &Plan, commands: &mut Vec<Command>) {
    if state.rules == 0 {
        return;
    }
    for team in plan.teams() {
        let seat = Actor::Resolver(team.id.clone());
        if let Some(merge_id) = state.resolving.get(&team.id).copied() {
            if !is_for_leader(state, merge_id) {
                release(state, &team.id, commands);
            } else if let Some(Work::Failed { reason }) = state.actors.get(&seat).map(|seat| seat.work.clone()) {
                ask_human(
                    state,
                    merge_id,
                    &format!("leader {} could not settle it: {reason}", team.id),
                );
                release(state, &team.id, commands);
            } else {
                look_at(state, &seat, merge_id, commands);
            }
        }
        if !state.resolving.contains_key(&team.id) && state.takes_part(&team.id) {
            claim(state, plan, &team.id);
        }
    }
}

/// Takes the oldest conflict of a team, if its leader is free for it.
fn claim(state: &mut State, plan: &Plan, team_id: &TeamId) {
    let seat = Actor::Resolver(team_id.clone());
    if state.actors.get(&seat).is_some_and(|seat| seat.process.exists()) {
        return;
    }
    let oldest = state
        .merges
        .iter()
        .filter(|(_, merge)| team_of(plan, &merge.kind).as_ref() == Some(team_id))
        .map(|(merge_id, _)| *merge_id)
        .find(|merge_id| is_for_leader(state, *merge_id));
    let Some(merge_id) = oldest else { return };
    state.resolving.insert(team_id.clone(), merge_id);
    let seat = state.actors.entry(seat).or_default();
    seat.work = Work::Waiting;
    seat.strikes = 0;
    seat.lost = 0;
    seat.not_before = Time(0);
    seat.reason = None;
    // Another conflict is another conversation.
    seat.session = None;
    seat.next = Some(Task::Resolve);
}

/// Asks for a look at what the leader made of a conflict.
fn look_at(state: &mut State, seat: &Actor, merge_id: MergeId, commands: &mut Vec<Command>) {
    let ready_at = state
        .troubles
        .get(&EffectKey::Merge(merge_id))
        .map_or(Time(0), |trouble| trouble.not_before);
    let (Some(conflict), true) = (facts_of(state, merge_id), ready_at <= state.now) else {
        return;
    };
    if let Some(seat) = state.actors.get_mut(seat)
        && let Work::Complete { merge, .. } = &mut seat.work
        && merge.is_none()
        && let Some(commit) = seat.tip.clone()
    {
        *merge = Some(merge_id);
        commands.push(Command::CheckResolution {
            merge_id,
            commit,
            conflict,
        });
    }
}

/// A leader has nothing to settle any more; its session ends.
fn release(state: &mut State, team_id: &TeamId, commands: &mut Vec<Command>) {
    let now = state.now;
    let seat = Actor::Resolver(team_id.clone());
    vacate(state, &seat);
    if let Some(actor_state) = state.actors.get_mut(&seat)
        && let Process::Live { attempt, .. } = actor_state.process
    {
        actor_state.process = Process::Stopping {
            attempt,
            since: now,
            killed: false,
            reason: StopReason::Finished,
        };
        commands.push(Command::StopAgent {
            actor: seat,
            attempt,
            kill: false,
        });
    }
}

/// The seat is free; what it asked needs no answer any more.
fn vacate(state: &mut State, seat: &Actor) {
    let now = state.now;
    state.resolving.retain(|team_id, _| seat.id() != team_id.as_str());
    for escalation in state.escalations.values_mut() {
        if escalation.actor.as_ref() == Some(seat) && escalation.answered.is_none() {
            escalation.answered = Some(now);
            escalation.answer = Some("settled without an answer".to_owned());
        }
    }
    if let Some(actor_state) = state.actors.get_mut(seat) {
        actor_state.work = Work::Waiting;
        actor_state.next = None;
    }
    mark_finishing(state, seat);
}

/// What somebody made of a conflict was looked at: it is merged in the source's place, or goes back.
pub(crate) fn checked(state: &mut State, merge_id: MergeId, commit: &Oid, faults: &[String], vanished: &[Vanished]) {
    let waits = |seat: &Actor| {
        state.actors.get(seat).is_some_and(|seat| {
            seat.tip.as_ref() == Some(commit)
                && matches!(seat.work, Work::Complete { merge: Some(checked), .. } if checked == merge_id)
        })
    };
    let Some(seat) = seat_of(state, merge_id).filter(waits) else {
        state.note(format!(
            "merge {}: the look at its settlement came late and was ignored",
            merge_id.0
        ));
        return;
    };
    state.troubles.remove(&EffectKey::Merge(merge_id));
    if !faults.is_empty() {
        strike(state, &seat, faults.join("; "), String::new(), false);
        mark_finishing(state, &seat);
        return;
    }
    let Some(merge) = state.merges.get_mut(&merge_id) else {
        return;
    };
    if !matches!(merge.state, MergeState::Conflict { .. }) {
        return;
    }
    let before = std::mem::replace(&mut merge.source, commit.clone());
    merge.resolves.get_or_insert(before);
    merge.state = MergeState::Queued;
    merge.not_before = Time(0);
    vacate(state, &seat);
    for lost in vanished {
        state.note(format!(
            "merge {}: {} of {} in `{}` are not in the settlement, such as `{}`",
            merge_id.0,
            lines(lost.count),
            match lost.side {
                crate::core::event::Side::Target => "the target",
                crate::core::event::Side::Source => "the source",
            },
            lost.path,
            lost.lines.first().map_or("", String::as_str)
        ));
    }
}

fn lines(count: u32) -> String {
    if count == 1 {
        "1 line".to_owned()
    } else {
        format!("{count} lines")
    }
}

/// The look itself failed: it is asked for again, or the leader is not able to settle it.
pub(crate) fn check_failed(state: &mut State, merge_id: MergeId, error: &str, give_up: bool) {
    let Some(seat) = seat_of(state, merge_id) else { return };
    if let Some(actor_state) = state.actors.get_mut(&seat)
        && let Work::Complete { merge, .. } = &mut actor_state.work
    {
        *merge = None;
        if give_up {
            actor_state.work = Work::Failed {
                reason: error.to_owned(),
            };
        }
    }
}

/// Only a human can go on from here.
pub(crate) fn ask_human(state: &mut State, merge_id: MergeId, why: &str) {
    let Some(merge) = state.merges.get(&merge_id) else {
        return;
    };
    let MergeState::Conflict { paths, .. } = &merge.state else {
        return;
    };
    let (source, target) = (&merge.source_branch, &merge.target);
    let question = format!(
        "`{source}` and `{target}` both changed {}: which side is right?",
        paths.join(", ")
    );
    let remedy = format!(
        "settle it on `{source}` (`git merge {target}` in its worktree, then commit) and the run goes on by itself"
    );
    let detail = if why.is_empty() {
        remedy
    } else {
        format!("{why}\n{remedy}")
    };
    state.escalate(None, Some(merge_id), question, detail);
}
