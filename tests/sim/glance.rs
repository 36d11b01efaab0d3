//! The truth at a glance: what the view says must agree with itself, with the plan, and with what the world knows.

use std::time::Duration;

use orchestrate::core::event::MergeKind;
use orchestrate::core::{
    ActorLine, ActorStatus, MergeStatus, PhaseStatus, RollbackStatus, RunStatus, TeamLine, TeamStatus, View,
};
use orchestrate::ids::{Actor, PhaseId, TeamId};
use orchestrate::plan::{Approval, Need};

use crate::git::{Maker, commit_of};
use crate::world::World;

impl World {
    /// Whatever a person may read at this moment.
    pub(crate) fn check_view(&mut self, seen: &View) {
        let wrong = self
            .wrong_about_actors(seen)
            .or_else(|| self.wrong_about_teams(seen))
            .or_else(|| self.wrong_about_phases(seen))
            .or_else(|| self.wrong_about_merges(seen))
            .or_else(|| self.wrong_about_the_run(seen));
        if let Some(words) = wrong {
            self.fail(format!("the view is wrong: {words}"));
        }
    }

    /// What a person reads when all is done.
    pub(crate) fn check_last_view(&mut self, seen: &View) {
        let merged = |line: &ActorLine| line.status == ActorStatus::Merged && !line.alive;
        let landed = |line: &TeamLine| line.status == TeamStatus::Landed && line.merged == line.agents;
        let leaders = seen
            .leaders
            .iter()
            .filter(|line| matches!(line.actor, Actor::Leader(_)));
        let is_all_done = seen.run.status == RunStatus::Complete
            && seen.run.eta.is_none()
            && seen.agents.iter().chain(leaders).all(merged)
            && seen.teams.iter().all(landed)
            && seen
                .phases
                .iter()
                .all(|line| line.status == PhaseStatus::Complete && line.waits_for.is_empty())
            && seen.escalations.iter().all(|line| line.answered.is_some())
            && seen.rollbacks.iter().all(|line| line.status != RollbackStatus::Pending);
        if !is_all_done {
            self.fail(format!("the run is complete, and the view does not say so: {seen:?}"));
        }
    }

    fn wrong_about_actors(&self, seen: &View) -> Option<String> {
        let is_merged = |actor: &Actor| {
            let mut lines = seen.agents.iter().chain(&seen.leaders);
            lines.any(|line| &line.actor == actor && line.status == ActorStatus::Merged)
        };
        for line in seen.agents.iter().chain(&seen.leaders) {
            let actor = &line.actor;
            let team = self.plan.team_of(actor)?;
            if Some(&line.branch) != self.plan.branch_of(actor).as_ref() || line.team != team.id {
                return Some(format!("{actor} works elsewhere"));
            }
            let reason = line.reason.as_deref().unwrap_or_default();
            let missing: Vec<String> = match actor {
                Actor::Agent(agent_id) => {
                    let (_, agent) = self.plan.agent(agent_id)?;
                    agent
                        .needs
                        .iter()
                        .filter_map(|need| self.missing(seen, reason, &team.id, need, is_merged))
                        .collect()
                }
                Actor::Leader(_) => team
                    .agents
                    .iter()
                    .filter(|agent| !is_merged(&Actor::Agent(agent.id.clone())))
                    .map(|agent| agent.id.to_string())
                    .collect(),
                Actor::Resolver(_) => Vec::new(),
            };
            let waits_for = || reason.strip_prefix("waits for ").unwrap_or_default();
            let open_phases = self.open_needs(seen, &team.id);
            let is_right = match line.status {
                ActorStatus::Waiting if !self.state.takes_part(&team.id) => reason.contains("does not take part"),
                ActorStatus::Waiting if !open_phases.is_empty() => {
                    waits_for() == format!("phase {}", open_phases.join(", "))
                }
                ActorStatus::Waiting if missing.is_empty() => waits_for() == "a free slot",
                ActorStatus::Waiting => waits_for() == missing.join(", "),
                ActorStatus::Failed => !reason.is_empty(),
                ActorStatus::Escalated => seen.escalations.iter().any(|question| {
                    question.answered.is_none()
                        && question.actor.as_ref() == Some(actor)
                        && reason == format!("question {}: {}", question.id.0, question.question)
                }),
                ActorStatus::Complete | ActorStatus::Merged => reason.is_empty(),
                ActorStatus::Stuck => line.alive,
                ActorStatus::Running => true,
            };
            if !is_right {
                return Some(format!(
                    "{actor} is {:?}, and the reason is {reason:?}; phases {open_phases:?} and {missing:?} are missing",
                    line.status
                ));
            }
            let begun = self.procs.iter().filter(|proc| &proc.actor == actor);
            let newest = begun.map(|proc| proc.attempt.0).max().unwrap_or(0);
            if line.attempts < newest {
                return Some(format!("{actor} is in attempt {newest}, and not in {}", line.attempts));
            }
            let is_timely = match line.last_activity {
                Some(at) => line.attempts > 0 && at <= self.state.now,
                None => line.attempts == 0,
            };
            if !is_timely {
                return Some(format!("{actor} was last heard of at {:?}", line.last_activity));
            }
        }
        None
    }

    /// What a need still waits for. A team that is in the branch counts for a moment as missing, until the merge that brought it is heard of.
    fn missing(
        &self,
        seen: &View,
        reason: &str,
        team_id: &TeamId,
        need: &Need,
        is_merged: impl Fn(&Actor) -> bool,
    ) -> Option<String> {
        match need {
            Need::Agent(needed) => (!is_merged(&Actor::Agent(needed.clone()))).then(|| needed.to_string()),
            Need::Team(needed) => {
                let words = format!("team {needed}");
                let is_told = reason
                    .trim_start_matches("waits for ")
                    .split(", ")
                    .any(|part| part == words);
                let Some(tip) = seen.teams.iter().find(|line| &line.id == team_id)?.tip.as_ref() else {
                    return is_told.then_some(words);
                };
                let is_in = self.git.commits.iter().enumerate().any(|(id, commit)| {
                    matches!(&commit.maker, Maker::Landing(_, MergeKind::Landing(landed)) if landed == needed)
                        && self.git.contains(commit_of(tip), id)
                });
                (!is_in || is_told).then_some(words)
            }
        }
    }

    /// The phases that a team's phase needs and that are not complete.
    fn open_needs(&self, seen: &View, team_id: &TeamId) -> Vec<String> {
        let is_open = |phase_id: &PhaseId| {
            seen.teams
                .iter()
                .any(|line| &line.phase == phase_id && line.status != TeamStatus::Landed)
        };
        let phase = self.plan.phase_of(team_id);
        phase
            .iter()
            .flat_map(|phase| &phase.needs)
            .filter(|need| is_open(need))
            .map(ToString::to_string)
            .collect()
    }

    fn wrong_about_teams(&self, seen: &View) -> Option<String> {
        for line in &seen.teams {
            let agents: Vec<&ActorLine> = seen.agents.iter().filter(|agent| agent.team == line.id).collect();
            let leader = seen
                .leaders
                .iter()
                .find(|leader| leader.actor == Actor::Leader(line.id.clone()))?;
            let merged = agents
                .iter()
                .filter(|agent| agent.status == ActorStatus::Merged)
                .count();
            if line.merged != merged || line.agents != agents.len() {
                return Some(format!(
                    "{merged} of {} agents of team {} are merged",
                    agents.len(),
                    line.id
                ));
            }
            let has_failed =
                agents.iter().any(|agent| agent.status == ActorStatus::Failed) || leader.status == ActorStatus::Failed;
            let is_integrated = leader.status == ActorStatus::Merged;
            let waits_for_yes = is_integrated
                && self.plan.approvals.team == Approval::Manual
                && !self.state.teams.get(&line.id).is_some_and(|team| team.approved);
            let is_right = match line.status {
                TeamStatus::Landed => is_integrated,
                TeamStatus::Failed => has_failed,
                TeamStatus::Waiting => !has_failed && merged == 0,
                TeamStatus::AwaitingApproval => !has_failed && waits_for_yes,
                TeamStatus::Landing => !has_failed && is_integrated && !waits_for_yes,
                TeamStatus::Integrating => !has_failed && !is_integrated && merged == agents.len(),
                TeamStatus::Running => !has_failed && !is_integrated && merged < agents.len(),
            };
            if !is_right {
                return Some(format!("team {} is {:?}", line.id, line.status));
            }
            let has_begun = line.tip.is_some() && self.git.tip(&line.branch).is_some();
            if line.status != TeamStatus::Waiting && line.status != TeamStatus::Failed && !has_begun {
                return Some(format!("team {} is {:?}, and has no branch", line.id, line.status));
            }
        }
        None
    }

    fn wrong_about_phases(&self, seen: &View) -> Option<String> {
        for line in &seen.phases {
            let teams: Vec<&TeamLine> = seen.teams.iter().filter(|team| team.phase == line.id).collect();
            let all = |status| teams.iter().all(|team| team.status == status);
            let any = |status| teams.iter().any(|team| team.status == status);
            let is_right = match line.status {
                PhaseStatus::Complete => all(TeamStatus::Landed),
                PhaseStatus::Failed => any(TeamStatus::Failed),
                PhaseStatus::Waiting => all(TeamStatus::Waiting),
                PhaseStatus::Running => {
                    !all(TeamStatus::Waiting) && !all(TeamStatus::Landed) && !any(TeamStatus::Failed)
                }
            };
            let needs = self
                .plan
                .phases
                .iter()
                .find(|phase| phase.id == line.id)
                .map(|phase| &phase.needs)?;
            let open: Vec<&PhaseId> = needs
                .iter()
                .filter(|need| {
                    seen.phases
                        .iter()
                        .any(|other| &other.id == *need && other.status != PhaseStatus::Complete)
                })
                .collect();
            if !is_right || open != line.waits_for.iter().collect::<Vec<_>>() {
                return Some(format!(
                    "phase {} is {:?} and waits for {:?}",
                    line.id, line.status, line.waits_for
                ));
            }
        }
        None
    }

    fn wrong_about_merges(&self, seen: &View) -> Option<String> {
        seen.merges.iter().find_map(|line| {
            let is_right = match line.status {
                MergeStatus::Merged => line.commit.as_ref().is_some_and(|commit| {
                    matches!(&self.git.commits[commit_of(commit)].maker, Maker::Landing(merge_id, kind) if *merge_id == line.id && *kind == line.kind)
                }),
                MergeStatus::Conflict | MergeStatus::Rejected => line.commit.is_none() && line.reason.as_ref().is_some_and(|reason| !reason.is_empty()),
                MergeStatus::Gating | MergeStatus::Queued => line.commit.is_none(),
            };
            (!is_right).then(|| format!("{line:?}"))
        })
    }

    fn wrong_about_the_run(&self, seen: &View) -> Option<String> {
        let run = &seen.run;
        let tells = |words: &str| run.reasons.iter().any(|reason| reason.contains(words));
        if run.started.is_none_or(|started| started > self.state.now) || run.id.is_empty() {
            return Some(format!("it began at {:?} as {:?}", run.started, run.id));
        }
        if tells("`orchestrate resume`") != self.state.paused && run.status == RunStatus::Running {
            return Some(format!(
                "paused: {}, and the reasons are {:?}",
                self.state.paused, run.reasons
            ));
        }
        let blocked = seen.merges.iter().filter(|line| line.status == MergeStatus::Queued);
        let untold = blocked
            .filter_map(|line| line.reason.as_ref())
            .find(|reason| !run.reasons.contains(reason));
        if let Some(reason) = untold {
            return Some(format!("nobody is told that {reason:?}"));
        }
        let spent: u64 = seen.agents.iter().chain(&seen.leaders).map(|line| line.spent.0).sum();
        if run.spent.0 != spent {
            return Some(format!("{spent} was spent, and not {}", run.spent.0));
        }
        let open: u32 = seen
            .phases
            .iter()
            .filter(|line| line.status != PhaseStatus::Complete)
            .count() as u32;
        let expected = Duration::from_secs(45 * 60);
        match run.eta {
            // No phase takes longer than it is expected to, and not more than all of them are left.
            Some(eta) => (eta < seen.at || eta.since(seen.at) > expected * open)
                .then(|| format!("it ends at {eta:?}, with {open} phases before it")),
            None => (run.status == RunStatus::Running).then(|| "nobody knows when it ends".to_owned()),
        }
    }
}
