//! What reporters read: derived from the state at the moment of asking, never stored.

use std::time::Duration;

use crate::core::bisection;
use crate::core::command::RunOutcome;
use crate::core::decide::{phase_is_complete, phase_may_start};
use crate::core::lines::{
    ActorLine, ActorStatus, EscalationLine, MergeLine, MergeStatus, PhaseLine, PhaseStatus, RollbackLine,
    RollbackStatus, RunLine, RunStatus, TeamLine, TeamStatus, View,
};
use crate::core::outcome::{awaits_approval, refusal_words, short};
use crate::core::stall;
use crate::core::state::{ActorState, Breaker, MergeState, Mode, Process, State, StopReason, TeamBranch, Work};
use crate::ids::{Actor, BranchName, MergeId, PhaseId, Time};
use crate::plan::{Need, Plan, Team};

/// Looks at a run. `plan` is used when no run has started yet; a run that has started carries its own.
pub fn view(state: &State, plan: &Plan, now: Time) -> View {
    let plan = state.plan.as_deref().unwrap_or(plan);
    View {
        at: now,
        run: run_line(state, plan, now),
        phases: plan.phases.iter().map(|phase| phase_line(state, plan, phase)).collect(),
        teams: plan.teams().map(|team| team_line(state, plan, team)).collect(),
        agents: plan
            .agents()
            .map(|(team, agent)| {
                actor_line(
                    state,
                    plan,
                    now,
                    team,
                    Actor::Agent(agent.id.clone()),
                    &agent.name,
                    &agent.branch,
                )
            })
            .collect(),
        leaders: plan
            .teams()
            .flat_map(|team| leader_lines(state, plan, now, team))
            .collect(),
        escalations: state
            .escalations
            .iter()
            .map(|(id, escalation)| EscalationLine {
                id: *id,
                actor: escalation.actor.clone(),
                question: escalation.question.clone(),
                detail: escalation.detail.clone(),
                asked: escalation.asked,
                answered: escalation.answered,
                answer: escalation.answer.clone(),
            })
            .collect(),
        merges: state.merges.iter().map(|(id, merge)| merge_line(*id, merge)).collect(),
        rollbacks: rollback_lines(state),
        notes: state.notes.iter().cloned().collect(),
    }
}

/// A team's leader, and the same leader where it settles conflicts, once it has done so.
fn leader_lines(state: &State, plan: &Plan, now: Time, team: &Team) -> impl Iterator<Item = ActorLine> {
    let seat = Actor::Resolver(team.id.clone());
    let has_begun = state.actors.get(&seat).is_some_and(|seat| seat.attempt.0 > 0);
    let leader = Actor::Leader(team.id.clone());
    let seats = [(leader, team.leader.branch.clone())]
        .into_iter()
        .chain(has_begun.then(|| (seat, team.conflict_branch())));
    seats.map(move |(actor, branch)| actor_line(state, plan, now, team, actor, &team.name, &branch))
}

fn run_line(state: &State, plan: &Plan, now: Time) -> RunLine {
    let mut reasons = Vec::new();
    let status = match &state.mode {
        Mode::NotStarted => RunStatus::NotStarted,
        Mode::Running => RunStatus::Running,
        Mode::Stopping { .. } => RunStatus::Stopped,
        Mode::Ended(RunOutcome::Complete) => RunStatus::Complete,
        Mode::Ended(RunOutcome::Stopped) => RunStatus::Stopped,
        Mode::Ended(RunOutcome::Waiting { reasons: waiting }) => {
            reasons.clone_from(waiting);
            RunStatus::Waiting
        }
        Mode::Ended(RunOutcome::Failed { reasons: failed }) => {
            reasons.clone_from(failed);
            RunStatus::Failed
        }
    };
    match &state.breaker {
        Breaker::Closed => {}
        Breaker::Paused { until, kind } => {
            let left = until.since(now).as_secs();
            reasons.push(format!(
                "the vendor refused service ({}); goes on in {left} s",
                refusal_words(*kind)
            ));
        }
        Breaker::Probing { kind, .. } => reasons.push(format!(
            "the vendor refused service ({}); one agent finds out whether it serves again",
            refusal_words(*kind)
        )),
        Breaker::Open { reason } => {
            if !reasons.contains(reason) {
                reasons.push(reason.clone());
            }
        }
    }
    if state.paused && !reasons.iter().any(|reason| reason.contains("`orchestrate resume`")) {
        reasons.push("paused: nothing new is started (`orchestrate resume`)".to_owned());
    }
    if let Some(rollback) = &state.rollback {
        reasons.push(format!(
            "`{}` goes back to {} before anything else goes on",
            rollback.branch,
            short(&rollback.to)
        ));
    }
    reasons.extend(state.merges.values().filter_map(|merge| merge.blocked.clone()));
    RunLine {
        id: state.run_id.clone(),
        status,
        started: (state.mode != Mode::NotStarted).then_some(state.started),
        spent: state.cost(),
        budget: plan.limits.budget,
        eta: eta(state, plan, now),
        reasons,
    }
}

/// The longest chain of expected times over the phases that are not complete; a phase that runs keeps what is left of its time, at least nothing.
fn eta(state: &State, plan: &Plan, now: Time) -> Option<Time> {
    if state.mode != Mode::Running || plan.phases.iter().any(|phase| phase.expected.is_none()) {
        return None;
    }
    let mut ends: Vec<(PhaseId, Duration)> = Vec::new();
    // A valid plan lists every needed phase somewhere; rounds bound the search even if it does not.
    for _ in 0..=plan.phases.len() {
        for phase in &plan.phases {
            if ends.iter().any(|(id, _)| id == &phase.id) {
                continue;
            }
            let needs: Option<Vec<Duration>> = phase
                .needs
                .iter()
                .map(|need| ends.iter().find(|(id, _)| id == need).map(|(_, end)| *end))
                .collect();
            let Some(needs) = needs else { continue };
            let start = needs.into_iter().max().unwrap_or_default();
            let own = if phase_is_complete(state, phase) {
                Duration::ZERO
            } else {
                left_of(state, phase)
            };
            ends.push((phase.id.clone(), start + own));
        }
    }
    ends.into_iter().map(|(_, end)| end).max().map(|end| now.plus(end))
}

fn left_of(state: &State, phase: &crate::plan::Phase) -> Duration {
    let expected = phase.expected.unwrap_or_default();
    let steps = |team: &Team| team.agents.len() + 2;
    let done = |team: &Team| {
        let merged = team
            .agents
            .iter()
            .map(|agent| Actor::Agent(agent.id.clone()))
            .chain([Actor::Leader(team.id.clone())])
            .filter(|actor| {
                state
                    .actors
                    .get(actor)
                    .is_some_and(|actor| matches!(actor.work, Work::Merged { .. }))
            })
            .count();
        merged + usize::from(state.teams.get(&team.id).is_some_and(|team| team.landed.is_some()))
    };
    let all: usize = phase.teams.iter().map(steps).sum();
    let open = all.saturating_sub(phase.teams.iter().map(done).sum());
    let part = u32::try_from(open).unwrap_or(u32::MAX);
    expected.saturating_mul(part) / u32::try_from(all.max(1)).unwrap_or(1)
}

fn has_failed(state: &State, team: &Team) -> bool {
    team.agents
        .iter()
        .map(|agent| Actor::Agent(agent.id.clone()))
        .chain([Actor::Leader(team.id.clone())])
        .any(|actor| {
            state
                .actors
                .get(&actor)
                .is_some_and(|actor| matches!(actor.work, Work::Failed { .. }))
        })
}

fn phase_line(state: &State, plan: &Plan, phase: &crate::plan::Phase) -> PhaseLine {
    let status = if phase_is_complete(state, phase) {
        PhaseStatus::Complete
    } else if phase.teams.iter().any(|team| has_failed(state, team)) {
        PhaseStatus::Failed
    } else if phase.teams.iter().any(|team| {
        state
            .teams
            .get(&team.id)
            .is_some_and(|team| team.branch == TeamBranch::Ready)
    }) {
        PhaseStatus::Running
    } else {
        PhaseStatus::Waiting
    };
    let waits_for = phase
        .needs
        .iter()
        .filter(|need| {
            plan.phases
                .iter()
                .any(|other| &other.id == *need && !phase_is_complete(state, other))
        })
        .cloned()
        .collect();
    PhaseLine {
        id: phase.id.clone(),
        name: phase.name.clone(),
        status,
        waits_for,
    }
}

fn team_line(state: &State, plan: &Plan, team: &Team) -> TeamLine {
    let is_merged = |actor: &Actor| {
        state
            .actors
            .get(actor)
            .is_some_and(|actor| matches!(actor.work, Work::Merged { .. }))
    };
    let merged = team
        .agents
        .iter()
        .filter(|agent| is_merged(&Actor::Agent(agent.id.clone())))
        .count();
    let team_state = state.teams.get(&team.id);
    let landed = team_state.is_some_and(|team| team.landed.is_some());
    let ready = team_state.is_some_and(|team| team.branch == TeamBranch::Ready);
    let status = if landed {
        TeamStatus::Landed
    } else if has_failed(state, team) {
        TeamStatus::Failed
    } else if !ready {
        TeamStatus::Waiting
    } else if awaits_approval(state, plan, team.id.as_str()) {
        TeamStatus::AwaitingApproval
    } else if is_merged(&Actor::Leader(team.id.clone())) {
        TeamStatus::Landing
    } else if merged == team.agents.len() {
        TeamStatus::Integrating
    } else {
        TeamStatus::Running
    };
    TeamLine {
        id: team.id.clone(),
        name: team.name.clone(),
        phase: plan
            .phase_of(&team.id)
            .map_or_else(|| PhaseId::new(""), |phase| phase.id.clone()),
        branch: team.branch.clone(),
        status,
        tip: team_state.and_then(|team| team.tip.clone()),
        merged,
        agents: team.agents.len(),
    }
}

fn actor_line(
    state: &State,
    plan: &Plan,
    now: Time,
    team: &Team,
    actor: Actor,
    name: &str,
    branch: &BranchName,
) -> ActorLine {
    let max_attempts = plan.settings_of(&actor).map_or(1, |settings| settings.max_attempts);
    let fresh = ActorState::default();
    let actor_state = state.actors.get(&actor).unwrap_or(&fresh);
    let stuck = matches!(
        actor_state.process,
        Process::Stopping {
            reason: StopReason::Stuck,
            ..
        }
    );
    let status = match &actor_state.work {
        // What a leader was to settle is settled, by it or otherwise.
        Work::Waiting if matches!(&actor, Actor::Resolver(team_id) if !state.resolving.contains_key(team_id)) => {
            ActorStatus::Complete
        }
        Work::Waiting => ActorStatus::Waiting,
        Work::Building if stuck => ActorStatus::Stuck,
        Work::Branching | Work::Building => ActorStatus::Running,
        Work::Escalated(_) => ActorStatus::Escalated,
        Work::Complete { .. } => ActorStatus::Complete,
        Work::Merged { .. } => ActorStatus::Merged,
        Work::Failed { .. } => ActorStatus::Failed,
    };
    let held = matches!(state.breaker, Breaker::Paused { .. });
    let silence = plan
        .settings_of(&actor)
        .filter(|_| !held && actor_state.work == Work::Building && state.mode == Mode::Running)
        .and_then(|settings| stall::note(actor_state, settings.stuck_after, now));
    let reason = match &actor_state.work {
        Work::Failed { reason } => Some(reason.clone()),
        Work::Waiting if status == ActorStatus::Waiting => waits_for(state, plan, team, &actor),
        Work::Escalated(id) => state
            .escalations
            .get(id)
            .map(|escalation| format!("question {}: {}", id.0, escalation.question)),
        Work::Building if bisection::is_awaited_by(state, &actor) => actor_state
            .reason
            .as_ref()
            .map(|reason| format!("{reason}; with what it fails is being found out")),
        Work::Branching | Work::Building => silence.or_else(|| actor_state.reason.clone()),
        Work::Waiting | Work::Complete { .. } | Work::Merged { .. } => None,
    };
    let started = actor_state.attempt.0 > 0;
    ActorLine {
        name: name.to_owned(),
        team: team.id.clone(),
        branch: branch.clone(),
        status,
        attempts: actor_state.attempt.0,
        max_attempts,
        alive: actor_state.process.exists(),
        last_activity: started.then(|| {
            actor_state
                .last_commit
                .map_or(actor_state.last_sign, |at| at.max(actor_state.last_sign))
        }),
        spent: actor_state.cost(),
        tokens: actor_state.tokens(),
        reason,
        actor,
    }
}

/// What an actor that has not started waits for.
fn waits_for(state: &State, plan: &Plan, team: &Team, actor: &Actor) -> Option<String> {
    if !state.takes_part(&team.id) {
        return Some("its team does not take part in this run".to_owned());
    }
    let phase = plan.phase_of(&team.id)?;
    if !phase_may_start(state, plan, phase) {
        let needs: Vec<String> = phase
            .needs
            .iter()
            .filter(|need| {
                plan.phases
                    .iter()
                    .any(|other| &other.id == *need && !phase_is_complete(state, other))
            })
            .map(ToString::to_string)
            .collect();
        return Some(format!("waits for phase {}", needs.join(", ")));
    }
    let is_merged = |agent: &Actor| {
        state
            .actors
            .get(agent)
            .is_some_and(|agent| matches!(agent.work, Work::Merged { .. }))
    };
    let missing: Vec<String> = match actor {
        Actor::Agent(agent_id) => plan
            .agent(agent_id)?
            .1
            .needs
            .iter()
            .filter_map(|need| match need {
                Need::Agent(needed) => (!is_merged(&Actor::Agent(needed.clone()))).then(|| needed.to_string()),
                Need::Team(needed) => {
                    let included = state
                        .teams
                        .get(&team.id)
                        .is_some_and(|team| team.includes.contains(needed));
                    (!included).then(|| format!("team {needed}"))
                }
            })
            .collect(),
        Actor::Resolver(_) => Vec::new(),
        Actor::Leader(_) => team
            .agents
            .iter()
            .filter(|agent| !is_merged(&Actor::Agent(agent.id.clone())))
            .map(|agent| agent.id.to_string())
            .collect(),
    };
    if missing.is_empty() {
        Some("waits for a free slot".to_owned())
    } else {
        Some(format!("waits for {}", missing.join(", ")))
    }
}

fn merge_line(id: MergeId, merge: &crate::core::state::Merge) -> MergeLine {
    let (status, commit, reason) = match &merge.state {
        MergeState::Queued
        | MergeState::Preparing
        | MergeState::Prepared { .. }
        | MergeState::Passed { .. }
        | MergeState::Landing { .. } => (MergeStatus::Queued, None, merge.blocked.clone()),
        MergeState::Gating { .. } => (MergeStatus::Gating, None, None),
        MergeState::Merged { commit, .. } => (MergeStatus::Merged, Some(commit.clone()), None),
        MergeState::Conflict { paths, .. } => (
            MergeStatus::Conflict,
            None,
            Some(format!("both sides changed {}", paths.join(", "))),
        ),
        MergeState::Rejected { reason } => (MergeStatus::Rejected, None, Some(reason.clone())),
    };
    MergeLine {
        id,
        kind: merge.kind.clone(),
        source: merge.source_branch.clone(),
        target: merge.target.clone(),
        status,
        commit,
        reason,
    }
}

fn rollback_lines(state: &State) -> Vec<RollbackLine> {
    let settled = state.rollbacks.iter().map(|record| RollbackLine {
        branch: record.branch.clone(),
        to: record.to.clone(),
        status: match record.refused {
            Some(_) => RollbackStatus::Refused,
            None => RollbackStatus::Done,
        },
        at: record.at,
        from: record
            .moves
            .iter()
            .map(|returned| (returned.branch.clone(), returned.from.clone()))
            .collect(),
        undone: record.undone.clone(),
        anew: record.anew.clone(),
        reason: record.refused.clone(),
    });
    let pending = state.rollback.iter().map(|rollback| RollbackLine {
        branch: rollback.branch.clone(),
        to: rollback.to.clone(),
        status: RollbackStatus::Pending,
        at: rollback.asked,
        from: Vec::new(),
        undone: Vec::new(),
        anew: Vec::new(),
        reason: None,
    });
    settled.chain(pending).collect()
}
