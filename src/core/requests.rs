//! What humans ask for: to stop, an answer, an approval or a refusal, another try.

use crate::core::apply::mark_finishing;
use crate::core::command::Task;
use crate::core::event::{EffectKey, MergeKind};
use crate::core::state::{Merge, MergeState, Mode, State, Work};
use crate::core::{decisions, merges, stall};
use crate::ids::{Actor, EscalationId, TeamId, Time};

pub(crate) fn stop_requested(state: &mut State, now: bool) {
    match state.mode {
        Mode::Running => state.mode = Mode::Stopping { now },
        Mode::Stopping { now: earlier } => state.mode = Mode::Stopping { now: earlier || now },
        Mode::NotStarted | Mode::Ended(_) => {}
    }
}

pub(crate) fn escalation_answered(state: &mut State, escalation_id: EscalationId, answer: &str) {
    let now = state.now;
    let Some(escalation) = state.escalations.get_mut(&escalation_id) else {
        state.note(format!(
            "question {} was answered, but nobody asked it",
            escalation_id.0
        ));
        return;
    };
    if escalation.answered.is_some() {
        state.note(format!(
            "question {} was answered twice; the first answer counts",
            escalation_id.0
        ));
        return;
    }
    escalation.answered = Some(now);
    escalation.answer = Some(answer.to_owned());
    let (question, actor, merge) = (escalation.question.clone(), escalation.actor.clone(), escalation.merge);
    decisions::answered(state, escalation_id);
    if let Some(merge_id) = merge {
        if let Some(merge) = state.merges.get_mut(&merge_id) {
            merge.guidance.push(answer.to_owned());
        }
        merges::try_again(state, merge_id);
        return;
    }
    let plan = state.plan.clone();
    if let Some(actor) = actor
        && let Some(actor_state) = state.actors.get_mut(&actor)
        && actor_state.work == Work::Escalated(escalation_id)
    {
        let settings = plan.as_ref().and_then(|plan| plan.settings_of(&actor));
        stall::answered(actor_state, settings.map_or(1, |settings| settings.max_attempts));
        actor_state.work = Work::Building;
        actor_state.next = Some(match actor_state.next.take() {
            Some(Task::Answer {
                question: earlier_question,
                answer: earlier_answer,
            }) => Task::Answer {
                question: format!("{earlier_question}\n{question}"),
                answer: format!("{earlier_answer}\n{answer}"),
            },
            Some(Task::Work | Task::Resolve | Task::Continue | Task::Nudge { .. } | Task::Retry { .. }) | None => {
                Task::Answer {
                    question,
                    answer: answer.to_owned(),
                }
            }
        });
    }
}

pub(crate) fn landing_approved(state: &mut State, team_id: &TeamId) {
    match state.teams.get_mut(team_id) {
        Some(team) => team.approved = true,
        None => state.note(format!("team {team_id} was approved, but the plan has no such team")),
    }
}

/// A human turned a team's landing down: its leader mends what the human found, and integrates again.
pub(crate) fn landing_rejected(state: &mut State, team_id: &TeamId, reason: &str) {
    let leader = Actor::Leader(team_id.clone());
    let is_integrated = state
        .actors
        .get(&leader)
        .is_some_and(|leader| matches!(leader.work, Work::Merged { .. }));
    let is_landing = |merge: &Merge| {
        merge.kind == MergeKind::Landing(team_id.clone()) && matches!(merge.state, MergeState::Landing { .. })
    };
    let is_late = state.merges.values().any(is_landing);
    let Some(team) = state.teams.get_mut(team_id) else {
        state.note(format!("team {team_id} was turned down, but the plan has no such team"));
        return;
    };
    if team.landed.is_some() || is_late || !is_integrated {
        state.note(format!(
            "team {team_id} was turned down, but its landing does not wait for anybody"
        ));
        return;
    }
    team.approved = false;
    let mut settled = Vec::new();
    for (merge_id, merge) in &mut state.merges {
        let is_open = merge.state.is_active() || matches!(merge.state, MergeState::Conflict { .. });
        if merge.kind == MergeKind::Landing(team_id.clone()) && is_open {
            merge.state = MergeState::Rejected {
                reason: "a human turned it down".to_owned(),
            };
            merge.blocked = None;
        }
        // An answer to what was asked about an earlier landing must not bring that one back.
        if merge.kind == MergeKind::Landing(team_id.clone()) {
            settled.push(*merge_id);
        }
    }
    for merge_id in settled {
        merges::settle_questions(state, merge_id);
    }
    if let Some(actor_state) = state.actors.get_mut(&leader) {
        actor_state.work = Work::Building;
        actor_state.reason = Some(reason.to_owned());
        actor_state.next = Some(Task::Retry {
            reason: format!("a human has looked at the team's work and turned it down: {reason}"),
            output: String::new(),
        });
    }
    mark_finishing(state, &leader);
}

pub(crate) fn retry_requested(state: &mut State, actor: &Actor) {
    let Some(actor_state) = state.actors.get_mut(actor) else {
        state.note(format!("{actor} was to be tried again, but the plan has no such actor"));
        return;
    };
    let Work::Failed { reason } = &actor_state.work else {
        state.note(format!("{actor} was to be tried again, but it has not failed"));
        return;
    };
    let reason = reason.clone();
    actor_state.strikes = 0;
    actor_state.lost = 0;
    actor_state.not_before = Time(0);
    state.troubles.remove(&EffectKey::ActorBranch(actor.clone()));
    state.troubles.remove(&EffectKey::Start(actor.clone()));
    let Some(actor_state) = state.actors.get_mut(actor) else {
        return;
    };
    // A start anew that failed is still one.
    if actor_state.since.is_none() || actor_state.fresh {
        actor_state.work = Work::Waiting;
        actor_state.next = None;
    } else {
        actor_state.work = Work::Building;
        if !matches!(actor_state.next, Some(Task::Answer { .. })) {
            actor_state.next = Some(Task::Retry {
                reason,
                output: String::new(),
            });
        }
    }
}
