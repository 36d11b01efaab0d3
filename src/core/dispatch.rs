//! Who starts next: branches and processes for whoever has what they need, longest chain of work first.

use std::sync::Arc;

use crate::core::bisection;
use crate::core::command::{Command, StartAgent, Task};
use crate::core::conflicts;
use crate::core::decide::spent_out;
use crate::core::decisions;
use crate::core::event::{EffectKey, Usage};
use crate::core::state::{Breaker, Process, State, TeamBranch, Work};
use crate::ids::{Actor, Attempt, BranchName};
use crate::plan::{Need, Plan};

/// Whether everything that an actor needs is in its team's branch.
pub(crate) fn needs_are_met(state: &State, plan: &Plan, actor: &Actor) -> bool {
    let Some(team) = plan.team_of(actor) else {
        return false;
    };
    let Some(team_state) = state.teams.get(&team.id) else {
        return false;
    };
    if team_state.branch != TeamBranch::Ready {
        return false;
    }
    let is_merged = |agent: &Actor| {
        state
            .actors
            .get(agent)
            .is_some_and(|agent| matches!(agent.work, Work::Merged { .. }))
    };
    match actor {
        Actor::Agent(agent_id) => plan.agent(agent_id).is_some_and(|(_, agent)| {
            agent.needs.iter().all(|need| match need {
                Need::Agent(needed) => is_merged(&Actor::Agent(needed.clone())),
                Need::Team(needed) => team_state.includes.contains(needed),
            })
        }),
        Actor::Leader(_) => team
            .agents
            .iter()
            .all(|agent| is_merged(&Actor::Agent(agent.id.clone()))),
        Actor::Resolver(team_id) => state.resolving.contains_key(team_id),
    }
}

/// Gives free slots to the actors on which the longest chains of work hang.
pub(crate) fn dispatch(state: &mut State, plan: &Arc<Plan>, commands: &mut Vec<Command>) {
    if state.paused {
        return;
    }
    // Whoever finds out whether the vendor serves again does so alone.
    let probe = match &state.breaker {
        Breaker::Closed => None,
        Breaker::Probing { actor, .. } => Some(actor.clone()),
        Breaker::Paused { .. } | Breaker::Open { .. } => return,
    };
    if let Some(Some(actor)) = &probe
        && state.actors.get(actor).is_some_and(|actor| actor.process.exists())
    {
        return;
    }
    let branching = state
        .actors
        .values()
        .filter(|actor| actor.work == Work::Branching)
        .count();
    let mut free = (plan.limits.agents as usize).saturating_sub(state.process_count() + branching);
    if free == 0 {
        return;
    }
    let mut candidates: Vec<(u32, Actor)> = state
        .actors
        .iter()
        .filter(|(_, actor_state)| {
            !actor_state.process.exists() && matches!(actor_state.work, Work::Waiting | Work::Building)
        })
        .map(|(actor, _)| {
            // Others wait for what is in conflict already.
            let urgent = matches!(actor, Actor::Resolver(_)).then_some(u32::MAX);
            let rank = urgent.or_else(|| state.ranks.get(actor).copied());
            (rank.unwrap_or(0), actor.clone())
        })
        .collect();
    candidates.sort_by(|(rank, actor), (other_rank, other)| other_rank.cmp(rank).then_with(|| actor.cmp(other)));
    for (_, actor) in candidates {
        if free == 0 {
            return;
        }
        if dispatch_one(state, plan, &actor, commands) {
            free -= 1;
            let has_started = state.actors.get(&actor).is_some_and(|actor| actor.process.exists());
            if let (Breaker::Probing { actor: probe, .. }, true) = (&mut state.breaker, has_started) {
                *probe = Some(actor);
                return;
            }
        }
    }
}

/// Whether a slot was taken.
fn dispatch_one(state: &mut State, plan: &Plan, actor: &Actor, commands: &mut Vec<Command>) -> bool {
    let now = state.now;
    let (Some(team), Some(branch)) = (plan.team_of(actor), plan.branch_of(actor)) else {
        return false;
    };
    if !state.takes_part(&team.id) {
        return false;
    }
    // Whoever begins now begins with what has been decided.
    let is_decided = matches!(actor, Actor::Resolver(_)) || !decisions::is_pending(state, &team.id);
    let needs_met = is_decided && needs_are_met(state, plan, actor);
    let trouble =
        |state: &State, key: EffectKey| state.troubles.get(&key).is_some_and(|trouble| trouble.not_before > now);
    let Some(actor_state) = state.actors.get(actor) else {
        return false;
    };
    match actor_state.work {
        Work::Waiting => {
            let tip = match actor {
                Actor::Resolver(team_id) => conflicts::facts_for(state, team_id).map(|conflict| conflict.onto),
                Actor::Agent(_) | Actor::Leader(_) => state.teams.get(&team.id).and_then(|team| team.tip.clone()),
            };
            let Some(at) = tip.filter(|_| needs_met && !trouble(state, EffectKey::ActorBranch(actor.clone()))) else {
                return false;
            };
            let fresh = actor_state.fresh;
            let (actor_of_branch, branch) = (actor.clone(), branch.clone());
            commands.push(match actor {
                // Its branch may hold what it made of another conflict, or what is to be begun anew.
                Actor::Agent(_) | Actor::Leader(_) if !fresh => Command::CreateActorBranch {
                    actor: actor_of_branch,
                    branch,
                    at,
                },
                Actor::Agent(_) | Actor::Leader(_) | Actor::Resolver(_) => Command::ResetActorBranch {
                    actor: actor_of_branch,
                    branch,
                    at,
                },
            });
            if let Some(actor_state) = state.actors.get_mut(actor) {
                actor_state.work = Work::Branching;
            }
            true
        }
        Work::Building => {
            // What it fails with is being found out, and told with the rest.
            if bisection::is_awaited_by(state, actor) {
                return false;
            }
            if actor_state.not_before > now || trouble(state, EffectKey::Start(actor.clone())) {
                return false;
            }
            if let Some(reason) = spent_out(state, plan, actor) {
                if let Some(actor_state) = state.actors.get_mut(actor) {
                    actor_state.reason = Some(reason.clone());
                    actor_state.work = Work::Failed { reason };
                }
                return false;
            }
            start(state, actor, &branch, commands);
            true
        }
        Work::Branching | Work::Escalated(_) | Work::Complete { .. } | Work::Merged { .. } | Work::Failed { .. } => {
            false
        }
    }
}

fn start(state: &mut State, actor: &Actor, branch: &BranchName, commands: &mut Vec<Command>) {
    let now = state.now;
    let (conflict, first_task) = match actor {
        Actor::Resolver(team_id) => (conflicts::facts_for(state, team_id), Task::Resolve),
        Actor::Agent(_) | Actor::Leader(_) => (None, Task::Work),
    };
    let Some(actor_state) = state.actors.get_mut(actor) else {
        return;
    };
    let attempt = Attempt(actor_state.attempt.0 + 1);
    let launch = StartAgent {
        actor: actor.clone(),
        attempt,
        task: actor_state.next.take().unwrap_or(first_task),
        branch: branch.clone(),
        session: actor_state.session.clone(),
        conflict,
    };
    actor_state.attempt = attempt;
    actor_state.process = Process::Starting { attempt };
    actor_state.spending = Usage::default();
    actor_state.finishing = None;
    actor_state.last_sign = now;
    actor_state.launch = Some(launch.clone());
    commands.push(Command::StartAgent(launch));
}
