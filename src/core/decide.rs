//! What follows from the state: level-triggered, so that a lost command is asked for again as soon as its mark is taken back.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::core::anew;
use crate::core::command::{Command, LandMerge, Receipt, RunOutcome, StartAgent, Task};
use crate::core::conflicts;
use crate::core::deadline::{self, Deadline};
use crate::core::decisions;
use crate::core::event::{EffectKey, MergeKind, Usage};
use crate::core::merges;
use crate::core::outcome;
use crate::core::rollback;
use crate::core::speculate;
use crate::core::state::{Breaker, Merge, MergeState, Mode, Process, State, StopReason, TeamBranch, Work};
use crate::ids::{Actor, Attempt, BranchName, MergeId, MicroDollars, Oid, TeamId, Time};
use crate::plan::{Approval, Gate, Need, Phase, Plan, Team};

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
                ask_after_landings(state, &plan, commands);
            }
            if rollback::advance(state, commands) {
                return;
            }
            request_team_branches(state, &plan, commands);
            decisions::advance(state, &plan, commands);
            ask_for_merges(state, &plan);
            advance_merges(state, &plan, commands);
            speculate::look_ahead(state, &plan, commands);
            conflicts::assign(state, &plan, commands);
            dispatch(state, &plan, commands);
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

/// Puts merges into the queues of their targets.
fn ask_for_merges(state: &mut State, plan: &Plan) {
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
            carries,
            resolves: None,
            guidance: Vec::new(),
        },
    );
    merge_id
}

/// Takes the first merge of each target a step further, until none can go on by itself.
fn advance_merges(state: &mut State, plan: &Plan, commands: &mut Vec<Command>) {
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
fn ask_after_landings(state: &mut State, plan: &Plan, commands: &mut Vec<Command>) {
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
fn dispatch(state: &mut State, plan: &Arc<Plan>, commands: &mut Vec<Command>) {
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
            merge.state.is_active() && (is_worked_on || !is_halted(state))
        })
        || speculate::gates_running(state) > 0
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
