//! What follows from the state: level-triggered, so that a lost command is asked for again as soon as its mark is taken back.

use std::collections::BTreeSet;

use crate::core::anew;
use crate::core::bisection;
use crate::core::command::{Command, RunOutcome};
use crate::core::conflicts;
use crate::core::deadline::{self, Deadline};
use crate::core::decisions;
use crate::core::event::EffectKey;
use crate::core::outcome;
use crate::core::rollback;
use crate::core::speculate;
use crate::core::state::{Breaker, MergeState, Mode, Process, State, StopReason, TeamBranch, Work};
use crate::core::{dispatch, train};
use crate::ids::{Actor, MicroDollars, TeamId, Time};
use crate::plan::{Phase, Plan};

/// Says what is to be done now, and marks it as asked for.
pub(crate) fn decide(state: &mut State, commands: &mut Vec<Command>) {
    let Some(plan) = state.plan.clone() else {
        return;
    };
    match state.mode {
        Mode::NotStarted | Mode::Ended(_) => {}
        Mode::Stopping { now } => {
            if now {
                stop_processes(state, commands, StopReason::Operator, |_| true);
            }
            press_on(state, &plan, commands);
            if is_settled(state, now) {
                finish(state, commands, RunOutcome::Stopped);
            }
        }
        Mode::Running => {
            relaunch(state, commands);
            watch_budget(state, &plan);
            stop_spenders(state, &plan, commands);
            if let Breaker::Open { .. } = state.breaker {
                stop_processes(state, commands, StopReason::Fleet, |work| *work == Work::Building);
            }
            press_on(state, &plan, commands);
            anew::stop_the_old(state, commands);
            if state.rollback.is_some() {
                train::ask_after_landings(state, &plan, commands);
            }
            if rollback::advance(state, commands) {
                return;
            }
            request_team_branches(state, &plan, commands);
            decisions::advance(state, &plan, commands);
            train::ask_for_merges(state, &plan);
            train::advance_merges(state, &plan, commands);
            // Somebody waits for what is found here; what is looked at ahead is nobody's yet.
            bisection::advance(state, &plan, commands);
            speculate::look_ahead(state, &plan, commands);
            conflicts::assign(state, &plan, commands);
            dispatch::dispatch(state, &plan, commands);
            end_when_nothing_goes_on(state, &plan, commands);
        }
    }
}

/// Whether every team of a phase has landed.
pub(crate) fn phase_is_complete(state: &State, phase: &Phase) -> bool {
    phase
        .teams
        .iter()
        .all(|team| state.teams.get(&team.id).is_some_and(|team| team.landed.is_some()))
}

/// Whether the phases that a phase needs are complete.
pub(crate) fn phase_may_start(state: &State, plan: &Plan, phase: &Phase) -> bool {
    phase.needs.iter().all(|need| {
        plan.phases
            .iter()
            .find(|phase| &phase.id == need)
            .is_some_and(|phase| phase_is_complete(state, phase))
    })
}

fn relaunch(state: &mut State, commands: &mut Vec<Command>) {
    if !std::mem::take(&mut state.relaunch) {
        return;
    }
    for actor_state in state.actors.values() {
        if let (Process::Starting { .. }, Some(launch)) = (&actor_state.process, &actor_state.launch) {
            commands.push(Command::StartAgent(launch.clone()));
        }
    }
}

fn watch_budget(state: &mut State, plan: &Plan) {
    let cost = state.cost();
    let tokens = state.tokens();
    if let Some(limit) = plan.limits.tokens
        && tokens >= limit
        && state.rules > 0
        && !matches!(state.breaker, Breaker::Open { .. })
    {
        state.breaker = Breaker::Open {
            reason: format!(
                "the run's {limit} tokens are used ({tokens}); raise `limits.tokens`, then run `orchestrate run` again"
            ),
        };
    }
    if let Some(budget) = plan.limits.budget
        && cost >= budget
        && !matches!(state.breaker, Breaker::Open { .. })
    {
        state.breaker = Breaker::Open {
            reason: format!(
                "the run's budget of {budget} is spent ({cost}); raise `limits.budget_usd`, then run `orchestrate run` again"
            ),
        };
    }
}

/// Why an actor may spend nothing more, if so.
pub(crate) fn spent_out(state: &State, plan: &Plan, actor: &Actor) -> Option<String> {
    let own = plan.settings_of(actor).and_then(|settings| settings.budget);
    if let (Some(budget), Some(actor_state)) = (own, state.actors.get(actor))
        && actor_state.cost() >= budget
    {
        return Some(format!("its budget of {budget} is spent ({})", actor_state.cost()));
    }
    let team = plan.team_of(actor).filter(|_| state.rules > 0)?;
    let budget = team.budget?;
    let cost = state
        .actors
        .iter()
        .filter(|(mate, _)| plan.team_of(mate).is_some_and(|of| of.id == team.id))
        .fold(MicroDollars(0), |sum, (_, mate)| sum.plus(mate.cost()));
    (cost >= budget).then(|| format!("the budget of team {}, {budget}, is spent ({cost})", team.id))
}

/// A budget that is spent ends whoever spends it, not only whoever would start.
fn stop_spenders(state: &mut State, plan: &Plan, commands: &mut Vec<Command>) {
    if state.rules == 0 {
        return;
    }
    let now = state.now;
    let spenders: Vec<Actor> = state
        .actors
        .iter()
        .filter(|(_, actor_state)| {
            actor_state.work == Work::Building && matches!(actor_state.process, Process::Live { .. })
        })
        .map(|(actor, _)| actor.clone())
        .filter(|actor| spent_out(state, plan, actor).is_some())
        .collect();
    for actor in spenders {
        if let Some(actor_state) = state.actors.get_mut(&actor)
            && let Process::Live { attempt, .. } = actor_state.process
        {
            actor_state.process = Process::Stopping {
                attempt,
                since: now,
                killed: false,
                reason: StopReason::Fleet,
            };
            commands.push(Command::StopAgent {
                actor,
                attempt,
                kill: false,
            });
        }
    }
}

fn stop_processes(state: &mut State, commands: &mut Vec<Command>, reason: StopReason, which: impl Fn(&Work) -> bool) {
    let now = state.now;
    for (actor, actor_state) in &mut state.actors {
        if let Process::Live { attempt, .. } = actor_state.process
            && which(&actor_state.work)
        {
            actor_state.process = Process::Stopping {
                attempt,
                since: now,
                killed: false,
                reason,
            };
            commands.push(Command::StopAgent {
                actor: actor.clone(),
                attempt,
                kill: false,
            });
        }
    }
}

/// Deadlines of processes: stuck ones, ones that do not end after their work is done, ones that do not end when told to.
fn press_on(state: &mut State, plan: &Plan, commands: &mut Vec<Command>) {
    let now = state.now;
    let due: Vec<(Actor, Deadline)> = state
        .actors
        .keys()
        .filter_map(|actor| {
            deadline::of_process(state, plan, actor).map(|(at, deadline)| (actor.clone(), at, deadline))
        })
        .filter(|(_, at, _)| *at <= now)
        .map(|(actor, _, deadline)| (actor, deadline))
        .collect();
    for (actor, deadline) in due {
        let Some(actor_state) = state.actors.get_mut(&actor) else {
            continue;
        };
        let Some(attempt) = actor_state.process.attempt() else {
            continue;
        };
        if deadline == Deadline::Ask {
            actor_state.last_sign = now;
            commands.extend(actor_state.launch.clone().map(Command::StartAgent));
            continue;
        }
        let (kill, reason) = match (deadline, &actor_state.process) {
            (Deadline::Kill, Process::Stopping { reason, .. }) => (true, *reason),
            (Deadline::Stuck, _) => (false, StopReason::Stuck),
            (Deadline::Finish | Deadline::Kill | Deadline::Ask, _) => (false, StopReason::Finished),
        };
        actor_state.process = Process::Stopping {
            attempt,
            since: now,
            killed: kill,
            reason,
        };
        commands.push(Command::StopAgent { actor, attempt, kill });
    }
}

fn request_team_branches(state: &mut State, plan: &Plan, commands: &mut Vec<Command>) {
    let landed: BTreeSet<TeamId> = state
        .teams
        .iter()
        .filter(|(_, team)| team.landed.is_some())
        .map(|(team_id, _)| team_id.clone())
        .collect();
    for phase in &plan.phases {
        if !phase_may_start(state, plan, phase) {
            continue;
        }
        for team in &phase.teams {
            let ready_at = state
                .troubles
                .get(&EffectKey::TeamBranch(team.id.clone()))
                .map_or(Time(0), |trouble| trouble.not_before);
            if !state.takes_part(&team.id) || ready_at > state.now {
                continue;
            }
            if let Some(team_state) = state.teams.get_mut(&team.id)
                && team_state.branch == TeamBranch::Absent
            {
                team_state.branch = TeamBranch::Requested;
                team_state.includes = landed.clone();
                team_state.begun_with = landed.clone();
                commands.push(Command::CreateTeamBranch {
                    branch: team.branch.clone(),
                    base: plan.repository.base.clone(),
                });
            }
        }
    }
}

/// Whether nothing is under way that a stop should wait for. Gates are not waited for: they run again.
fn is_settled(state: &State, with_agents: bool) -> bool {
    let branches = state.teams.values().all(|team| team.branch != TeamBranch::Requested);
    let actors = state.actors.values().all(|actor_state| {
        let starting = matches!(actor_state.process, Process::Starting { .. });
        actor_state.work != Work::Branching && !starting && (!with_agents || !actor_state.process.exists())
    });
    let merges = state
        .merges
        .values()
        .all(|merge| !matches!(merge.state, MergeState::Preparing | MergeState::Landing { .. }));
    let returns = !state.rollback.as_ref().is_some_and(|rollback| rollback.commanded);
    branches && actors && merges && returns
}

fn finish(state: &mut State, commands: &mut Vec<Command>, run_outcome: RunOutcome) {
    state.mode = Mode::Ended(run_outcome.clone());
    commands.push(Command::FinishRun { outcome: run_outcome });
}

fn end_when_nothing_goes_on(state: &mut State, plan: &Plan, commands: &mut Vec<Command>) {
    if state.process_count() > 0 {
        return;
    }
    let taking_part = || plan.teams().filter(|team| state.takes_part(&team.id));
    let all_landed = taking_part().all(|team| state.teams.get(&team.id).is_some_and(|team| team.landed.is_some()));
    if all_landed {
        finish(state, commands, RunOutcome::Complete);
        return;
    }
    let under_way = state.teams.values().any(|team| team.branch == TeamBranch::Requested)
        || state.actors.values().any(|actor| actor.work == Work::Branching)
        || state.merges.values().any(|merge| {
            // What may land and must not, and what is behind it, waits for nobody but the human.
            let is_worked_on = matches!(
                merge.state,
                MergeState::Preparing | MergeState::Gating { .. } | MergeState::Landing { .. }
            );
            merge.state.is_active() && (is_worked_on || !train::is_halted(state))
        })
        || speculate::gates_running(state) > 0
        || !state.bisections.is_empty()
        || decisions::is_under_way(state)
        // What settles a conflict is being looked at.
        || state.resolving.keys().any(|team_id| {
            let seat = state.actors.get(&Actor::Resolver(team_id.clone()));
            seat.is_some_and(|seat| matches!(seat.work, Work::Complete { .. }))
        })
        || deadline::next_wake(state).is_some();
    if under_way {
        return;
    }
    let run_outcome = outcome::of_stalled_run(state, plan);
    finish(state, commands, run_outcome);
}
