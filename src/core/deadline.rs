//! When the core wants to be woken. Deadlines are derived from the state, never registered: a state that was replayed has the same ones.

use std::time::Duration;

use crate::core::state::{Breaker, MergeState, Mode, Process, State, Work};
use crate::ids::{Actor, Time};
use crate::plan::Plan;

/// A process whose work is done may take this long over its last words.
const FINISH_GRACE: Duration = Duration::from_secs(120);
/// A process that was told to end may take this long, its supervisor's own grace included.
const STOP_GRACE: Duration = Duration::from_secs(20);

/// What a process's deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// No commit and no sign of life.
    Stuck,
    /// Its work is done, yet it lives.
    Finish,
    /// It was told to end, yet it lives.
    Kill,
    /// It was asked for, and nothing was heard of it.
    Ask,
}

/// The next deadline of an actor's process.
pub(crate) fn of_process(state: &State, plan: &Plan, actor: &Actor) -> Option<(Time, Deadline)> {
    let actor_state = state.actors.get(actor)?;
    match actor_state.process {
        Process::None => None,
        // What it said may have been lost on the way: asking again is harmless, waiting for ever is not.
        Process::Starting { .. } => {
            let settings = plan.settings_of(actor)?;
            Some((actor_state.last_sign.plus(settings.stuck_after), Deadline::Ask))
        }
        Process::Stopping { since, .. } => Some((since.plus(STOP_GRACE), Deadline::Kill)),
        Process::Live { .. } => match actor_state.finishing {
            Some(finishing) => Some((finishing.plus(FINISH_GRACE), Deadline::Finish)),
            None => {
                // While the vendor holds everybody back, silence is no sign of being stuck.
                let held = matches!(state.breaker, Breaker::Paused { .. });
                let settings = plan.settings_of(actor)?;
                (actor_state.work == Work::Building && !held)
                    .then(|| (actor_state.last_sign.plus(settings.stuck_after), Deadline::Stuck))
            }
        },
    }
}

/// When [`crate::core::event::Event::DeadlineReached`] is due; `None` when only other events can change anything.
pub fn next_wake(state: &State) -> Option<Time> {
    let plan = state.plan.as_ref()?;
    match state.mode {
        Mode::NotStarted | Mode::Ended(_) => return None,
        Mode::Running | Mode::Stopping { .. } => {}
    }
    let processes = state
        .actors
        .keys()
        .filter_map(|actor| of_process(state, plan, actor))
        .map(|(at, _)| at);
    if let Mode::Stopping { .. } = state.mode {
        return processes.min();
    }
    let pause = match state.breaker {
        Breaker::Paused { until, .. } => Some(until),
        Breaker::Closed | Breaker::Probing { .. } | Breaker::Open { .. } => None,
    };
    let dispatches = !state.paused && matches!(state.breaker, Breaker::Closed | Breaker::Probing { .. });
    // Back-offs count only while something waits for them, and only while they lie ahead: one that has passed waits for a slot, not for time.
    let retries = state
        .actors
        .values()
        .filter(|actor| dispatches && actor.work == Work::Building && !actor.process.exists())
        .map(|actor| actor.not_before)
        .filter(|at| *at > state.now);
    let merges = state
        .merges
        .values()
        .filter(|merge| matches!(merge.state, MergeState::Passed { .. }))
        .map(|merge| merge.not_before)
        .filter(|at| *at > state.now);
    let troubles = state
        .troubles
        .values()
        .map(|trouble| trouble.not_before)
        .filter(|at| *at > state.now && *at < Time(u64::MAX));
    processes
        .chain(pause)
        .chain(retries)
        .chain(merges)
        .chain(troubles)
        .min()
}
