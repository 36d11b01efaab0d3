//! What attempts say: that they live, what they cost, how they ended; and what follows for the next attempt and for the fleet.

use std::time::Duration;

use crate::core::command::Task;
use crate::core::event::{AgentExit, EffectKey, RefusalKind, Usage};
use crate::core::state::{ActorState, Breaker, Failure, Process, State, StopReason, Work};
use crate::core::{outcome, stall};
use crate::ids::{Actor, Attempt, Time};

/// Attempts that vanish in a row before it counts against the actor: a machine that dies is not the agent's fault, a loop of it is not to go on for ever.
const LOST_MAX: u32 = 10;
/// The first delay after an attempt that ended badly; it doubles with each.
const RETRY_DELAY: Duration = Duration::from_secs(2);
/// No delay is longer.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(300);
/// The first delay after a vendor's refusal that names no time; it doubles with each in a row.
const REFUSAL_DELAY: Duration = Duration::from_secs(60);
/// No such delay is longer.
const REFUSAL_DELAY_MAX: Duration = Duration::from_secs(1800);
/// Nobody waits longer for a vendor than this before one agent asks again.
const PROBE_INTERVAL: Duration = Duration::from_secs(3600);
/// A vendor's reset time is taken with this much on top: its clock is not ours.
const RESET_MARGIN: Duration = Duration::from_secs(60);

/// The actor's state, if what an attempt says is still of interest. A stale attempt changes nothing.
fn of_attempt<'a>(state: &'a mut State, actor: &Actor, attempt: Attempt, what: &str) -> Option<&'a mut ActorState> {
    if state
        .actors
        .get(actor)
        .is_some_and(|actor_state| actor_state.process.attempt() == Some(attempt))
    {
        return state.actors.get_mut(actor);
    }
    state.note(format!(
        "{actor}: {what} of attempt {attempt} came late and was ignored"
    ));
    None
}

pub(crate) fn agent_started(state: &mut State, actor: &Actor, attempt: Attempt) {
    let now = state.now;
    let Some(actor_state) = of_attempt(state, actor, attempt, "the start") else {
        return;
    };
    is_alive(actor_state, attempt, now);
    state.troubles.remove(&EffectKey::Start(actor.clone()));
}

/// Whoever speaks has started, even if the word of it was lost.
fn is_alive(actor_state: &mut ActorState, attempt: Attempt, now: Time) {
    if let Process::Starting { .. } = actor_state.process {
        actor_state.process = Process::Live { attempt, since: now };
        actor_state.last_sign = now;
        if actor_state.work != Work::Building {
            actor_state.finishing = Some(now);
        }
    }
}

pub(crate) fn agent_progressed(
    state: &mut State,
    actor: &Actor,
    attempt: Attempt,
    usage: Usage,
    session: Option<&str>,
) {
    let now = state.now;
    let Some(actor_state) = of_attempt(state, actor, attempt, "progress") else {
        return;
    };
    is_alive(actor_state, attempt, now);
    actor_state.last_sign = now;
    let before = actor_state.spending;
    raise_usage(&mut actor_state.spending, usage);
    let is_served = actor_state.spending != before;
    if let Some(session) = session {
        actor_state.session = Some(session.to_owned());
    }
    // Somebody could spend something: the vendor serves again, and everybody may go on.
    if is_served && matches!(state.breaker, Breaker::Probing { .. }) {
        state.breaker = Breaker::Closed;
        state.refusals = 0;
    }
}

/// Totals of one attempt only ever grow: a late or repeated event must not take anything back.
fn raise_usage(total: &mut Usage, usage: Usage) {
    total.cost = total.cost.max(usage.cost);
    total.tokens = total.tokens.max(usage.tokens);
}

pub(crate) fn agent_exited(
    state: &mut State,
    actor: &Actor,
    attempt: Attempt,
    usage: Usage,
    session: Option<&str>,
    exit: &AgentExit,
) {
    let Some(actor_state) = of_attempt(state, actor, attempt, "the end") else {
        return;
    };
    let stopped_for = match actor_state.process {
        Process::Stopping { reason, .. } => Some(reason),
        Process::None | Process::Starting { .. } | Process::Live { .. } => None,
    };
    actor_state.process = Process::None;
    actor_state.finishing = None;
    raise_usage(&mut actor_state.spending, usage);
    let unread = unread_task(actor_state);
    if let Breaker::Probing { actor: probe, .. } = &mut state.breaker
        && probe.as_ref() == Some(actor)
    {
        // It found out, or it could not: then somebody else tries.
        match exit {
            AgentExit::Refused { .. } | AgentExit::Stopped | AgentExit::Lost => *probe = None,
            AgentExit::Finished | AgentExit::Failed { .. } | AgentExit::Denied { .. } | AgentExit::Exhausted { .. } => {
                state.breaker = Breaker::Closed;
            }
        }
    }
    let Some(actor_state) = state.actors.get_mut(actor) else {
        return;
    };
    actor_state.spent.cost = actor_state.spent.cost.plus(actor_state.spending.cost);
    actor_state.spent.tokens = actor_state.spent.tokens.saturating_add(actor_state.spending.tokens);
    actor_state.spending = Usage::default();
    if let Some(session) = session {
        actor_state.session = Some(session.to_owned());
    }
    if *exit != AgentExit::Lost {
        actor_state.lost = 0;
    }
    // The work was completed, turned down or put off while the process lived on: how it ended says nothing any more.
    if actor_state.work != Work::Building || actor_state.next.is_some() {
        return;
    }
    // What an attempt never came to read is for the next one, in the same words.
    let go_on = unread.clone().unwrap_or(Task::Continue);
    match exit {
        AgentExit::Refused { kind, resets_at } => {
            actor_state.next = Some(go_on);
            refused(state, actor, *kind, *resets_at);
        }
        AgentExit::Lost => {
            actor_state.lost += 1;
            if actor_state.lost > LOST_MAX {
                strike(
                    state,
                    actor,
                    "its process vanished again and again".to_owned(),
                    String::new(),
                    true,
                );
            } else {
                actor_state.next = Some(go_on);
            }
        }
        AgentExit::Stopped => match stopped_for {
            Some(StopReason::Stuck) if state.rules >= 2 => stall::ended(state, actor),
            Some(StopReason::Stuck) => {
                strike(
                    state,
                    actor,
                    "no commit and no sign of life for too long".to_owned(),
                    String::new(),
                    true,
                );
            }
            Some(StopReason::Finished | StopReason::Operator | StopReason::Fleet) | None => {
                actor_state.next = Some(go_on);
            }
        },
        AgentExit::Finished => {
            state.refusals = 0;
            strike(
                state,
                actor,
                "the session ended without the commit that completes the work".to_owned(),
                String::new(),
                true,
            );
        }
        AgentExit::Failed { reason } | AgentExit::Exhausted { reason } => {
            state.refusals = 0;
            strike(state, actor, reason.clone(), String::new(), true);
        }
        AgentExit::Denied { tools } => {
            strike(
                state,
                actor,
                format!("tools were denied to it: {}", tools.join(", ")),
                String::new(),
                true,
            );
        }
    }
    // An answer is not lost to an attempt that broke before it read it, nor to one that asked for a second time.
    if let Some(answer @ Task::Answer { .. }) = unread
        && let Some(actor_state) = state.actors.get_mut(actor)
    {
        actor_state.next = Some(answer);
    }
}

/// What the newest attempt was started for, if it ended without having spent anything on it.
fn unread_task(actor_state: &ActorState) -> Option<Task> {
    let launch = actor_state.launch.as_ref()?;
    (actor_state.spending == Usage::default()).then(|| launch.task.clone())
}

/// Counts an attempt that ended badly, and plans the next one or gives the actor up.
///
/// `process_failed` tells a process that broke from work that was turned down: only the former counts towards the fleet's failures.
pub(crate) fn strike(state: &mut State, actor: &Actor, reason: String, output: String, process_failed: bool) {
    let now = state.now;
    let Some(plan) = state.plan.clone() else {
        return;
    };
    let max_attempts = plan.settings_of(actor).map_or(1, |settings| settings.max_attempts);
    let Some(actor_state) = state.actors.get_mut(actor) else {
        return;
    };
    actor_state.strikes += 1;
    actor_state.reason = Some(reason.clone());
    let told = reason.clone();
    if actor_state.strikes >= max_attempts {
        actor_state.work = Work::Failed {
            reason: format!("{reason} (attempt {} of {max_attempts})", actor_state.strikes),
        };
        actor_state.next = None;
    } else {
        actor_state.work = Work::Building;
        actor_state.next = Some(Task::Retry { reason, output });
        if process_failed {
            let factor = 1_u32 << (actor_state.strikes - 1).min(16);
            actor_state.not_before = now.plus(RETRY_DELAY.saturating_mul(factor).min(RETRY_DELAY_MAX));
        }
    }
    if process_failed && let Some(limit) = plan.limits.failures {
        let failure = Failure {
            at: now,
            actor: actor.clone(),
            reason: told,
        };
        state.failures.push_back(failure);
        while state
            .failures
            .front()
            .is_some_and(|failure| now.since(failure.at) > limit.window)
        {
            state.failures.pop_front();
        }
        if state.failures.len() > limit.count as usize {
            let who: Vec<String> = state.failures.iter().map(|failure| failure.actor.to_string()).collect();
            state.breaker = Breaker::Open {
                reason: format!(
                    "{} failures within {} minutes (the plan bears {}): {}{}",
                    state.failures.len(),
                    limit.window.as_secs() / 60,
                    limit.count,
                    who.join(", "),
                    outcome::in_common(&plan, &state.failures)
                ),
            };
        }
    }
}

/// A vendor that refuses one agent refuses all: the fleet is held, no attempt is counted, and the same session goes on later.
fn refused(state: &mut State, actor: &Actor, kind: RefusalKind, resets_at: Option<Time>) {
    let now = state.now;
    if let Some(actor_state) = state.actors.get_mut(actor) {
        actor_state.reason = Some(format!("the vendor refused service: {}", outcome::refusal_words(kind)));
    }
    if let Breaker::Open { .. } = state.breaker {
        return;
    }
    match kind {
        // Only a human can mend a key or a bill.
        RefusalKind::Authentication | RefusalKind::Billing => {
            state.breaker = Breaker::Open {
                reason: format!(
                    "the vendor refused service: {}; mend it, then run `orchestrate run` again",
                    outcome::refusal_words(kind)
                ),
            };
        }
        RefusalKind::Quota | RefusalKind::Unavailable => {
            let factor = 1_u32 << state.refusals.min(16);
            let until = match resets_at {
                // However far off the vendor says it is, it is asked again now and then, by one agent: it may have been wrong, or a human may have bought more.
                Some(resets_at) if resets_at > now && state.rules > 0 => {
                    resets_at.plus(RESET_MARGIN).min(now.plus(PROBE_INTERVAL))
                }
                Some(resets_at) if resets_at > now => resets_at.plus(RESET_MARGIN),
                _ => now.plus(REFUSAL_DELAY.saturating_mul(factor).min(REFUSAL_DELAY_MAX)),
            };
            // Agents that are refused together are one refusal: only a new pause lengthens the delay.
            if let Breaker::Paused { until: earlier, .. } = state.breaker {
                state.breaker = Breaker::Paused {
                    until: earlier.max(until),
                    kind,
                };
            } else {
                state.refusals += 1;
                state.breaker = Breaker::Paused { until, kind };
            }
        }
    }
}
