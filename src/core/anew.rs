//! Beginning anew: an actor's branch goes back to where its team stands, what it made is kept, and a fresh attempt starts from there.

use crate::core::apply::mark_finishing;
use crate::core::command::{Command, Task};
use crate::core::event::EffectKey;
use crate::core::stall::Silence;
use crate::core::state::{Process, State, StopReason, Work};
use crate::ids::{Actor, Time};

/// A human wants an actor to start anew from where its team stands now; what it made is kept under `refs/orchestrate/`.
pub(crate) fn asked_for(state: &mut State, actor: &Actor) {
    let Some(actor_state) = state.actors.get_mut(actor) else {
        state.note(format!("{actor} was to start anew, but the plan has no such actor"));
        return;
    };
    match actor_state.work {
        Work::Building | Work::Escalated(_) | Work::Failed { .. } if !matches!(actor, Actor::Resolver(_)) => {}
        Work::Building
        | Work::Escalated(_)
        | Work::Failed { .. }
        | Work::Waiting
        | Work::Branching
        | Work::Complete { .. }
        | Work::Merged { .. } => {
            state.note(format!("{actor} was to start anew, but it is not at work"));
            return;
        }
    }
    begin(state, actor, None);
    put_back(state, actor);
}

/// Its branch is put back even if nobody has heard of it yet: one that a process before this one made is in the way otherwise, and what it holds is kept.
pub(crate) fn put_back(state: &mut State, actor: &Actor) {
    if let Some(actor_state) = state.actors.get_mut(actor) {
        actor_state.fresh = true;
    }
}

/// An actor waits for its first attempt again, with `next` as what that is told.
pub(crate) fn begin(state: &mut State, actor: &Actor, next: Option<Task>) {
    let now = state.now;
    let Some(actor_state) = state.actors.get_mut(actor) else {
        return;
    };
    let had_branch = actor_state.since.is_some();
    actor_state.work = Work::Waiting;
    actor_state.fresh = had_branch;
    actor_state.strikes = 0;
    actor_state.lost = 0;
    actor_state.not_before = Time(0);
    actor_state.session = None;
    actor_state.next = next;
    actor_state.reason = None;
    actor_state.silence = Silence::default();
    state.troubles.remove(&EffectKey::ActorBranch(actor.clone()));
    state.troubles.remove(&EffectKey::Start(actor.clone()));
    for escalation in state.escalations.values_mut() {
        if escalation.actor.as_ref() == Some(actor) && escalation.answered.is_none() {
            escalation.answered = Some(now);
            escalation.answer = Some("settled without an answer: its work starts anew".to_owned());
        }
    }
    mark_finishing(state, actor);
}

/// Whoever works on what is going to be put back works in vain: it is ended at once.
pub(crate) fn stop_the_old(state: &mut State, commands: &mut Vec<Command>) {
    if state.rules < 2 {
        return;
    }
    let now = state.now;
    for (actor, actor_state) in &mut state.actors {
        if let (Process::Live { attempt, .. }, true, Work::Waiting) =
            (&actor_state.process, actor_state.fresh, &actor_state.work)
        {
            let attempt = *attempt;
            actor_state.process = Process::Stopping {
                attempt,
                since: now,
                killed: false,
                reason: StopReason::Operator,
            };
            commands.push(Command::StopAgent {
                actor: actor.clone(),
                attempt,
                kill: false,
            });
        }
    }
}
