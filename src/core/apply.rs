//! `apply`: the one function that changes the state. First the event is folded in, then whatever follows is decided.

use std::sync::Arc;
use std::time::Duration;

use crate::core::command::Command;
use crate::core::decide::decide;
use crate::core::event::{EffectKey, Event, MergeKind};
use crate::core::state::{Breaker, MergeState, Mode, Process, State, TeamBranch, Trouble, Work};
use crate::core::{
    anew, attempts, bisection, commits, conflicts, decisions, merges, outcome, ranks, requests, rollback, speculate,
    stall,
};
use crate::ids::{Actor, BranchName, Oid, TeamId, Time};
use crate::plan::Plan;

/// How often an effect is tried before it is given up.
const EFFECT_FAILURES_MAX: u32 = 3;

/// Folds an event into the state and says what is to be done.
///
/// Total: every event is legal in every state; an odd one is ignored and noted. The same events in the same order give the same state and the same commands,
/// so a replay drops the commands and has lost nothing.
pub fn apply(state: &mut State, at: Time, event: &Event) -> Vec<Command> {
    // A clock that jumps back must not make deadlines run again.
    state.now = state.now.max(at);
    fold(state, event);
    let mut commands = Vec::new();
    decide(state, &mut commands);
    commands
}

fn fold(state: &mut State, event: &Event) {
    if let Event::RunStarted {
        run_id,
        plan,
        only_teams,
        rules,
    } = event
    {
        if state.mode == Mode::NotStarted {
            state.rules = *rules;
            start(state, run_id, plan, only_teams);
        } else {
            state.note("a second start of the run was ignored");
        }
        return;
    }
    if state.mode == Mode::NotStarted {
        return;
    }
    match event {
        Event::RunStarted { .. } => {}
        Event::RunResumed {
            plan,
            only_teams,
            rules,
        } => {
            state.rules = *rules;
            resume(state, plan.as_deref(), only_teams);
        }
        Event::BranchCreated { branch, tip } => branch_created(state, branch, tip),
        Event::AgentStarted { actor, attempt } => attempts::agent_started(state, actor, *attempt),
        Event::AgentProgressed {
            actor,
            attempt,
            usage,
            session,
        } => {
            attempts::agent_progressed(state, actor, *attempt, *usage, session.as_deref());
        }
        Event::AgentExited {
            actor,
            attempt,
            usage,
            session,
            exit,
        } => {
            attempts::agent_exited(state, actor, *attempt, *usage, session.as_deref(), exit);
        }
        Event::CommitsSeen {
            actor,
            from,
            tip,
            rewritten,
            commits,
        } => commits::commits_seen(state, actor, from, tip, *rewritten, commits),
        Event::BranchMoved { branch, tip, forward } => branch_moved(state, branch, tip, *forward),
        Event::MergePrepared { merge_id, outcome } => merges::prepared(state, *merge_id, outcome),
        Event::ResolutionChecked {
            merge_id,
            commit,
            faults,
            vanished,
        } => conflicts::checked(state, *merge_id, commit, faults, vanished),
        Event::Speculated {
            merge_id,
            ahead,
            source,
            found,
        } => {
            let found = found.as_ref().map(|(tree, onto)| (tree, onto));
            speculate::prepared(state, *merge_id, ahead, source, found);
        }
        Event::LookedBack {
            merge_id,
            source,
            onto,
            trials,
        } => bisection::looked_back(state, *merge_id, source, onto, trials),
        Event::GateFinished {
            merge_id,
            tree,
            outcome,
            duration_ms,
        } => {
            merges::gate_finished(state, *merge_id, tree, outcome, *duration_ms);
        }
        Event::MergeLanded { merge_id, commit } => merges::landed(state, *merge_id, commit),
        Event::LandingRefused { merge_id, refusal } => merges::landing_refused(state, *merge_id, refusal),
        Event::EffectFailed {
            effect,
            error,
            retriable,
        } => match effect {
            EffectKey::Gate(merge_id, tree) => {
                bisection::gate_gave_no_word(state, *merge_id, tree);
                if speculate::gate_failed(state, *merge_id, tree) {
                    effect_failed(state, &EffectKey::Merge(*merge_id), error, *retriable);
                }
            }
            EffectKey::Ahead(merge_id) => speculate::failed(state, *merge_id),
            EffectKey::Back(merge_id) => bisection::give_up(state, *merge_id),
            EffectKey::ActorBranch(_)
            | EffectKey::TeamBranch(_)
            | EffectKey::Start(_)
            | EffectKey::Merge(_)
            | EffectKey::Rollback(_)
            | EffectKey::Decision(_) => {
                effect_failed(state, effect, error, *retriable);
            }
        },
        Event::StopRequested { now } => requests::stop_requested(state, *now),
        Event::EscalationAnswered { escalation_id, answer } => {
            requests::escalation_answered(state, *escalation_id, answer)
        }
        Event::LandingApproved { team_id } => requests::landing_approved(state, team_id),
        Event::LandingRejected { team_id, reason } => requests::landing_rejected(state, team_id, reason),
        Event::PauseRequested => state.paused = true,
        Event::ResumeRequested => state.paused = false,
        Event::RetryRequested { actor, fresh: false } => requests::retry_requested(state, actor),
        Event::RetryRequested { actor, fresh: true } => anew::asked_for(state, actor),
        Event::RollbackRequested { branch, to, cascade } => rollback::requested(state, branch, to, *cascade),
        Event::RolledBack {
            branch,
            to,
            moves,
            undone,
            tainted,
        } => rollback::done(state, branch, to, moves, undone, tainted),
        Event::RollbackRefused { branch, reason } => rollback::refused(state, branch, reason),
        Event::DecisionWritten { escalation_id, commit } => decisions::written(state, *escalation_id, commit),
        Event::MachineSlept { duration_ms } => stall::machine_slept(state, Duration::from_millis(*duration_ms)),
        Event::DeadlineReached => {
            if let Breaker::Paused { until, .. } = state.breaker
                && until <= state.now
            {
                state.breaker = match state.breaker {
                    Breaker::Paused { kind, .. } if state.rules > 0 => Breaker::Probing { actor: None, kind },
                    Breaker::Paused { .. } | Breaker::Probing { .. } | Breaker::Closed | Breaker::Open { .. } => {
                        Breaker::Closed
                    }
                };
                // Whoever was silent while the vendor held everybody back gets its whole time again.
                for actor in state.actors.values_mut().filter(|actor| actor.process.exists()) {
                    actor.last_sign = state.now;
                }
            }
        }
    }
}

fn start(state: &mut State, run_id: &str, plan: &Plan, only_teams: &[TeamId]) {
    state.run_id = run_id.to_owned();
    state.started = state.now;
    state.mode = Mode::Running;
    state.only_teams = only_teams.iter().cloned().collect();
    adopt_plan(state, plan);
}

fn adopt_plan(state: &mut State, plan: &Plan) {
    for team in plan.teams() {
        state.teams.entry(team.id.clone()).or_default();
        state.actors.entry(Actor::Leader(team.id.clone())).or_default();
        state.actors.entry(Actor::Resolver(team.id.clone())).or_default();
        for agent in &team.agents {
            state.actors.entry(Actor::Agent(agent.id.clone())).or_default();
        }
    }
    state.ranks = ranks::ranks(plan);
    state.process_peak_allowed = state.process_count();
    state.plan = Some(Arc::new(plan.clone()));
}

/// Whatever was under way in the process before is unknown: it goes back to the step before, and is commanded again.
fn resume(state: &mut State, plan: Option<&Plan>, only_teams: &[TeamId]) {
    state.only_teams = only_teams.iter().cloned().collect();
    if let Some(plan) = plan {
        adopt_plan(state, plan);
    }
    state.mode = Mode::Running;
    state.breaker = Breaker::Closed;
    state.refusals = 0;
    state.failures.clear();
    state.troubles.clear();
    state.speculations.clear();
    state.gate_runs.clear();
    for team in state.teams.values_mut() {
        if team.branch == TeamBranch::Requested {
            team.branch = TeamBranch::Absent;
        }
    }
    for (name, actor) in &mut state.actors {
        if actor.work == Work::Branching {
            actor.work = Work::Waiting;
        }
        if let (Actor::Resolver(_), Work::Complete { merge, .. }) = (name, &mut actor.work) {
            *merge = None;
        }
        // Alive or not, it is asked for again: the shell adopts it, or reports its end.
        if let Some(attempt) = actor.process.attempt() {
            actor.process = Process::Starting { attempt };
            actor.last_sign = state.now;
        }
        actor.not_before = Time(0);
    }
    for (merge_id, merge) in &mut state.merges {
        merge.not_before = Time(0);
        merge.blocked = None;
        if matches!(merge.state, MergeState::Landing { .. }) {
            state.unheard.insert(*merge_id);
        }
        merge.state = match merge.state.clone() {
            MergeState::Preparing => MergeState::Queued,
            // What had passed is looked up again: the plan may have another gate now.
            MergeState::Gating { tree, onto }
            | MergeState::Passed { tree, onto }
            | MergeState::Landing { tree, onto } => MergeState::Prepared { tree, onto },
            other => other,
        };
    }
    if let Some(rollback) = &mut state.rollback {
        rollback.commanded = false;
    }
    decisions::resumed(state);
    bisection::resumed(state);
    state.relaunch = true;
}

fn branch_created(state: &mut State, branch: &BranchName, tip: &Oid) {
    let Some(plan) = state.plan.clone() else {
        return;
    };
    if let Some(team) = plan.teams().find(|team| &team.branch == branch) {
        state.troubles.remove(&EffectKey::TeamBranch(team.id.clone()));
        if let Some(team_state) = state.teams.get_mut(&team.id)
            && team_state.branch == TeamBranch::Requested
        {
            team_state.branch = TeamBranch::Ready;
            team_state.tip = Some(tip.clone());
            team_state.begun = Some(tip.clone());
            return;
        }
    } else if let Some(actor) = plan.actor_on(branch) {
        state.troubles.remove(&EffectKey::ActorBranch(actor.clone()));
        if let Some(actor_state) = state.actors.get_mut(&actor)
            && actor_state.work == Work::Branching
        {
            actor_state.work = Work::Building;
            actor_state.fresh = false;
            actor_state.tip = Some(tip.clone());
            actor_state.since = Some(tip.clone());
            return;
        }
    }
    state.note(format!(
        "branch `{branch}` was reported as created although nobody waits for it"
    ));
}

/// The process of an actor whose work is settled may finish its last words, but not for ever.
pub(crate) fn mark_finishing(state: &mut State, actor: &Actor) {
    let now = state.now;
    if let Some(actor_state) = state.actors.get_mut(actor)
        && actor_state.process.exists()
    {
        actor_state.finishing.get_or_insert(now);
    }
}

fn branch_moved(state: &mut State, branch: &BranchName, tip: &Oid, forward: bool) {
    let Some(plan) = state.plan.clone() else {
        return;
    };
    // It may have gone back by a way back that nobody has heard of yet: the answer to that says where it stands, and what it undoes.
    let is_on_its_way_back = state
        .rollback
        .as_ref()
        .is_some_and(|rollback| &rollback.branch == branch || rollback.branch == plan.repository.base);
    if is_on_its_way_back && !forward {
        return;
    }
    if branch == &plan.repository.base {
        state.base_tip = Some(tip.clone());
    } else if let Some(team) = plan.teams().find(|team| &team.branch == branch) {
        if let Some(team_state) = state.teams.get_mut(&team.id) {
            team_state.tip = Some(tip.clone());
        }
        merges::team_branch_moved(state, &team.id, branch, tip);
    } else {
        state.note(format!("branch `{branch}` moved, which is none of this plan's"));
        return;
    }
    let how = if forward { "moved" } else { "was rewritten" };
    state.note(format!("branch `{branch}` {how}, and not by this run"));
}

fn effect_failed(state: &mut State, effect: &EffectKey, error: &str, retriable: bool) {
    let now = state.now;
    let trouble = state.troubles.entry(effect.clone()).or_insert(Trouble {
        failures: 0,
        not_before: now,
        error: String::new(),
    });
    trouble.failures += 1;
    trouble.error = error.to_owned();
    let factor = 5_u32.saturating_pow(trouble.failures.saturating_sub(1));
    trouble.not_before = now.plus(Duration::from_secs(1).saturating_mul(factor));
    let give_up = !retriable || trouble.failures > EFFECT_FAILURES_MAX;
    state.note(format!("{}: {error}", outcome::effect_words(effect)));
    match effect {
        EffectKey::TeamBranch(team_id) => {
            if let Some(team) = state.teams.get_mut(team_id)
                && team.branch == TeamBranch::Requested
            {
                team.branch = TeamBranch::Absent;
            }
            if give_up && let Some(trouble) = state.troubles.get_mut(effect) {
                trouble.not_before = Time(u64::MAX);
            }
        }
        EffectKey::ActorBranch(actor) | EffectKey::Start(actor) => {
            // What a leader was to settle may have been settled otherwise meanwhile: then nobody waits for this.
            let is_idle = matches!(actor, Actor::Resolver(team_id) if !state.resolving.contains_key(team_id));
            let Some(actor_state) = state.actors.get_mut(actor) else {
                return;
            };
            if actor_state.work == Work::Branching {
                actor_state.work = Work::Waiting;
            }
            if let Process::Starting { .. } = actor_state.process {
                actor_state.process = Process::None;
                // The task of an attempt that never began is for the next one.
                let task = actor_state.launch.as_ref().map(|launch| launch.task.clone());
                actor_state.next = actor_state.next.take().or(task);
            }
            if is_idle {
                actor_state.next = None;
            } else if give_up && matches!(actor_state.work, Work::Waiting | Work::Building) {
                actor_state.work = Work::Failed {
                    reason: error.to_owned(),
                };
                actor_state.reason = Some(error.to_owned());
            }
        }
        EffectKey::Merge(merge_id) => merges::effect_failed(state, *merge_id, error, give_up),
        EffectKey::Decision(escalation_id) => decisions::effect_failed(state, *escalation_id, error, give_up),
        EffectKey::Rollback(branch) => rollback::effect_failed(state, branch),
        EffectKey::Gate(..) | EffectKey::Ahead(_) | EffectKey::Back(_) => {}
    }
}

/// Which actor a merge is for: whose branch is its source.
pub fn actor_of(kind: &MergeKind) -> Option<Actor> {
    match kind {
        MergeKind::Agent(agent_id) => Some(Actor::Agent(agent_id.clone())),
        MergeKind::Integration(team_id) => Some(Actor::Leader(team_id.clone())),
        MergeKind::Sync(_) | MergeKind::Landing(_) | MergeKind::Decision { .. } => None,
    }
}
