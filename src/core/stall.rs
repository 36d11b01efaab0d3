//! Silence: what is done about an actor of whom nothing is heard. A note, a nudge in the same session, a new attempt, a start anew, then one question.

use std::time::Duration;

use crate::core::anew;
use crate::core::attempts::strike;
use crate::core::command::Task;
use crate::core::state::{ActorState, Process, State, Work};
use crate::ids::{Actor, Time};

/// An actor that commits a little and falls silent again is nudged so often in all.
const NUDGES_MAX: u32 = 3;

/// How often an actor fell silent, and what was done about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Silence {
    /// It was nudged since its newest commit.
    pub nudged: bool,
    /// Nudges in all.
    pub nudges: u32,
    /// Attempts that were ended for it since the newest commit, nudges aside.
    pub attempts: u32,
}

impl Silence {
    /// A commit is what everything waits for.
    pub(crate) fn broken(&mut self) {
        self.nudged = false;
        self.attempts = 0;
    }
}

/// The process that was ended for its silence is gone.
pub(crate) fn ended(state: &mut State, actor: &Actor) {
    let Some(plan) = state.plan.clone() else { return };
    let bears = plan
        .settings_of(actor)
        .map_or(Duration::ZERO, |settings| settings.stuck_after);
    let Some(actor_state) = state.actors.get_mut(actor) else {
        return;
    };
    let minutes = words(bears);
    let silence = &mut actor_state.silence;
    if actor_state.session.is_some() && !silence.nudged && silence.nudges < NUDGES_MAX {
        silence.nudged = true;
        silence.nudges += 1;
        let reason = format!(
            "Nothing was heard of you for {minutes}: no commit and no sign of life, so you were interrupted. Whatever you waited for does not come that way; go on in smaller steps, and commit what stands."
        );
        actor_state.reason = Some(format!("nudged after {minutes} without a commit or a sign of life"));
        actor_state.next = Some(Task::Nudge { reason });
        return;
    }
    silence.attempts += 1;
    silence.nudged = false;
    let times = silence.attempts;
    // Whatever the session hangs in, the next attempt does not remember it.
    actor_state.session = None;
    let strikes_before = actor_state.strikes;
    let reason = format!("no commit and no sign of life for {minutes}");
    strike(state, actor, reason.clone(), String::new(), true);
    if matches!(actor, Actor::Resolver(_)) {
        return;
    }
    let has_failed = state
        .actors
        .get(actor)
        .is_some_and(|actor_state| matches!(actor_state.work, Work::Failed { .. }));
    match times {
        _ if has_failed => ask(state, actor, times, &minutes),
        1 => {}
        2 => {
            let not_before = state
                .actors
                .get(actor)
                .map_or(Time(0), |actor_state| actor_state.not_before);
            let reason = format!(
                "{reason}, twice; what this branch held is kept, and you begin anew from where your team stands: commit early and in small steps"
            );
            let output = String::new();
            anew::begin(state, actor, Some(Task::Retry { reason, output }));
            if let Some(actor_state) = state.actors.get_mut(actor) {
                actor_state.not_before = not_before;
                actor_state.strikes = strikes_before + 1;
                actor_state.silence.attempts = times;
                actor_state.reason = Some(format!("begins anew: it fell silent twice, {minutes} each"));
            }
        }
        _ => ask(state, actor, times, &minutes),
    }
}

/// Only a human can go on from here.
fn ask(state: &mut State, actor: &Actor, times: u32, minutes: &str) {
    let Some(actor_state) = state.actors.get_mut(actor) else {
        return;
    };
    let (attempt, strikes) = (actor_state.attempt, actor_state.strikes);
    let tip = actor_state.tip.as_ref().map_or_else(String::new, |tip| {
        format!(", its branch stands at {}", crate::core::outcome::short(tip))
    });
    actor_state.next = None;
    let question = format!(
        "{actor} fell silent for {minutes} in {}, last in attempt {attempt}: what does it wait for that never comes, and what shall it do instead?",
        if times == 1 {
            "an attempt".to_owned()
        } else {
            format!("{times} attempts in a row")
        }
    );
    let detail = format!(
        "{strikes} of its attempts ended badly{tip}\n`orchestrate logs {slug}` shows its last words; your answer is told to it in a new session, `orchestrate retry {slug} --fresh` begins without one",
        slug = actor.slug()
    );
    let escalation_id = state.escalate(Some(actor.clone()), None, question, detail);
    if let Some(actor_state) = state.actors.get_mut(actor) {
        actor_state.work = Work::Escalated(escalation_id);
    }
}

/// A human has answered somebody who had used up its attempts: it gets them again.
pub(crate) fn answered(actor_state: &mut ActorState, max_attempts: u32) {
    if actor_state.strikes >= max_attempts {
        actor_state.strikes = 0;
    }
    actor_state.silence.broken();
}

/// The machine slept: nobody could be heard, and nobody could do anything.
pub(crate) fn machine_slept(state: &mut State, duration: Duration) {
    let now = state.now;
    let later = |at: Time| at.plus(duration).min(now);
    for actor_state in state.actors.values_mut().filter(|actor| actor.process.exists()) {
        actor_state.last_sign = later(actor_state.last_sign);
        actor_state.finishing = actor_state.finishing.map(later);
        if let Process::Stopping { since, .. } = &mut actor_state.process {
            *since = later(*since);
        }
    }
    state.note(format!(
        "the machine slept for {}; nobody counts as silent for it",
        words(duration)
    ));
}

/// What is to be told of somebody who has been silent for a while, or has not committed for long although it works.
pub(crate) fn note(actor_state: &ActorState, bears: Duration, now: Time) -> Option<String> {
    let Process::Live { since, .. } = actor_state.process else {
        return None;
    };
    let silent = now.since(actor_state.last_sign);
    if silent >= bears / 2 {
        return Some(format!(
            "nothing heard of it for {}; after {} it is ended and told to go on",
            words(silent),
            words(bears)
        ));
    }
    let committed = actor_state.last_commit.map_or(since, |at| at.max(since));
    let without = now.since(committed);
    (without >= bears).then(|| format!("works, yet no commit for {}", words(without)))
}

fn words(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} minutes", seconds / 60),
        seconds => format!("{} hours", seconds / 3_600),
    }
}
