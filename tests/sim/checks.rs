//! What must hold: the core's own invariants after every event, and what only the world can tell.

use std::collections::BTreeMap;

use orchestrate::core::command::{Command, ConflictFacts, LandMerge, RunOutcome, StartAgent, Task};
use orchestrate::core::event::{AgentExit, Event, MergeKind};
use orchestrate::core::{
    self, Breaker, Merge, MergeState, Mode, Process, SpeculationStep, StopReason, Work, apply, view,
};
use orchestrate::ids::{Actor, Attempt, TeamId};
use orchestrate::plan::{Approval, Need};

use crate::git::{Item as Part, Maker, Tree, commit_of, tree_of_oid};
use crate::world::{Item, MINUTE, ProcId, SECOND, World};

impl World {
    /// One event is journaled and folded in; everything that must hold is looked at.
    pub(crate) fn journal_and_apply(&mut self, event: Event) -> Vec<Command> {
        let at = self.shell_now();
        self.cover(&event);
        self.expect_answer(&event);
        self.journal.push((at, event.clone()));
        let before = self.state.now;
        let work_before = match &event {
            Event::LandingRejected { team_id, .. } => self.state.actors.get(&Actor::Leader(team_id.clone())),
            Event::RetryRequested { actor, .. } => self.state.actors.get(actor),
            _ => None,
        }
        .map(|actor| (actor.work.clone(), actor.attempt));
        let landed_before: Vec<Actor> = self
            .state
            .teams
            .iter()
            .filter(|(_, team)| team.landed.is_some())
            .map(|(team_id, _)| Actor::Leader(team_id.clone()))
            .collect();
        let was_returning = self.state.rollback.is_some();
        let strikes_before = self.strikes_if_no_fault(&event);
        let noted = self.before(&event);
        let commands = apply(&mut self.state, at, &event);
        if let Event::RunResumed { plan: Some(plan), .. } = &event {
            self.plan = plan.as_ref().clone();
        }
        if self.state.now < before {
            self.fail(format!("time went back from {before:?} to {:?}", self.state.now));
        }
        if strikes_before != self.strikes_if_no_fault(&event) {
            self.fail("an attempt counts as a bad one, through no fault of its own".to_owned());
        }
        self.report.events += 1;
        self.hash(&(at, &event, &commands));
        self.say(|| format!("{event:?}"));
        for command in &commands {
            self.say(|| format!("    -> {command:?}"));
        }
        if let (Event::RunResumed { .. }, Mode::Running) = (&event, &self.state.mode) {
            self.check_adoption(&commands);
        }
        let is_blocked = |merge: &Merge| merge.blocked.is_some() && !merge.state.is_active();
        if let Some(merge) = self.state.merges.values().find(|merge| is_blocked(merge)) {
            self.fail(format!("{:?} says that it waits, and does not", merge.kind));
        }
        if let Err(violation) = core::check(&self.state) {
            self.fail(violation.to_string());
        }
        let seen = view(&self.state, &self.plan, at);
        self.say_yes_to(&seen);
        // A leader has a line of its own for the conflicts that it settles, once it has settled one.
        let begun = self
            .state
            .actors
            .iter()
            .filter(|(_, actor_state)| actor_state.attempt.0 > 0);
        let in_seats = begun.filter(|(actor, _)| matches!(actor, Actor::Resolver(_))).count();
        if seen.agents.len() + seen.leaders.len() != self.actors.len() + in_seats {
            self.fail("the view misses somebody".to_owned());
        }
        if seen.run.reasons.iter().any(String::is_empty) {
            self.fail("the view gives an empty reason".to_owned());
        }
        if let Breaker::Paused { .. } = self.state.breaker {
            self.last_paused = self.clock;
        }
        self.watch_human(&event, work_before.as_ref());
        self.watch_silence(&event);
        if let (Event::RolledBack { moves, .. }, true) = (&event, was_returning) {
            self.watch_return(moves, &landed_before);
        }
        self.check_commands(&commands);
        self.check_view(&seen);
        self.check_promises(&event, &noted, &commands);
        self.check_fleet();
        self.watch_questions();
        // A conflict that was settled otherwise leaves nobody who wants to know.
        let (resolving, about) = (&self.state.resolving, &self.answers_about);
        self.answers_pending.retain(|id, (asker, _)| match asker {
            Actor::Resolver(team_id) => resolving
                .get(team_id)
                .is_some_and(|merge_id| about.get(id) == Some(merge_id)),
            Actor::Agent(_) | Actor::Leader(_) => true,
        });
        if let Event::CommitsSeen { actor, .. } = &event
            && let Some(Work::Complete { .. }) = self.state.actors.get(actor).map(|actor| &actor.work)
        {
            // Whatever it wanted to know, it has found out by itself.
            self.answers_pending.retain(|_, (asker, _)| asker != actor);
        }
        if let Event::CommitsSeen { actor, .. } = &event
            && let Some(Work::Complete { commit, .. }) = self.state.actors.get(actor).map(|actor| &actor.work)
            && !self.git.commits[commit_of(commit)]
                .message
                .starts_with(&self.plan.completion_line(actor))
        {
            self.fail(format!("{actor} counts as complete by {commit}, which does not say so"));
        }
        self.disturb();
        commands
    }

    /// A process that may live is asked for again after a crash: that is how it is adopted, and its end heard.
    fn check_adoption(&mut self, commands: &[Command]) {
        let forgotten = self.state.actors.iter().find(|(actor, actor_state)| {
            let is_asked_for = |attempt| {
                commands.iter().any(|command| match command {
                    Command::StartAgent(launch) => &launch.actor == *actor && launch.attempt == attempt,
                    Command::StopAgent {
                        actor: stopped,
                        attempt: of,
                        ..
                    } => stopped == *actor && *of == attempt,
                    _ => false,
                })
            };
            match actor_state.process {
                Process::Starting { attempt } | Process::Live { attempt, .. } => !is_asked_for(attempt),
                Process::None | Process::Stopping { .. } => false,
            }
        });
        if let Some((actor, _)) = forgotten {
            let words = format!("I8: {actor} may live, and nobody asks for it after a crash");
            self.fail(words);
        }
    }

    fn check_commands(&mut self, commands: &[Command]) {
        let over_budget = self
            .state
            .plan
            .as_ref()
            .and_then(|plan| plan.limits.budget)
            .is_some_and(|budget| self.state.cost() >= budget)
            || self
                .state
                .plan
                .as_ref()
                .and_then(|plan| plan.limits.tokens)
                .is_some_and(|tokens| self.state.rules > 0 && self.state.tokens() >= tokens);
        for command in commands {
            match command {
                Command::StartAgent(launch) => {
                    let is_new = !self.proc_ids.contains_key(&(launch.actor.clone(), launch.attempt));
                    let asked_again = self.asked.contains(&(launch.actor.clone(), launch.attempt));
                    // While it is not known whether the vendor serves again, one finds out, alone.
                    let may_start = match &self.state.breaker {
                        Breaker::Closed => true,
                        Breaker::Probing { actor, .. } => actor.as_ref() == Some(&launch.actor),
                        Breaker::Paused { .. } | Breaker::Open { .. } => false,
                    };
                    if is_new && !asked_again && !may_start {
                        self.fail(format!("{} starts although the fleet is held", launch.actor));
                    }
                    if is_new && !asked_again && self.state.paused {
                        self.fail(format!("{} starts although the run is paused", launch.actor));
                    }
                    if is_new
                        && !asked_again
                        && let Some(reason) = self.spent_out(&launch.actor)
                    {
                        self.fail(format!("I7: {} starts although {reason}", launch.actor));
                    }
                    if is_new && !asked_again {
                        self.check_told(launch);
                    }
                    self.asked.insert((launch.actor.clone(), launch.attempt));
                    let strikes = self.state.actors.get(&launch.actor).map_or(0, |actor| actor.strikes);
                    let bears = self
                        .plan
                        .settings_of(&launch.actor)
                        .map_or(0, |settings| settings.max_attempts);
                    if is_new && !asked_again && strikes >= bears {
                        self.fail(format!(
                            "{} starts after {strikes} bad attempts of {bears}",
                            launch.actor
                        ));
                    }
                    if over_budget && is_new && !asked_again {
                        self.fail(format!("I7: {} starts although the budget is spent", launch.actor));
                    }
                }
                Command::RunGate {
                    merge_id,
                    tree,
                    command,
                    ..
                } => {
                    if self
                        .state
                        .speculations
                        .get(merge_id)
                        .is_some_and(|early| matches!(early.step, SpeculationStep::Gating { .. }))
                    {
                        self.report.speculations += 1;
                    }
                    if self.state.gates.contains_key(&(tree.clone(), command.clone())) {
                        self.fail(format!("`{command}` runs on {tree} although its answer is known"));
                    }
                    let twice = self.state.merges.iter().any(|(other_id, other)| {
                        other_id != merge_id
                            && matches!(&other.state, MergeState::Gating { tree: other_tree, .. } if other_tree == tree)
                            && self.command_of(&other.kind).as_ref() == Some(command)
                    });
                    if twice {
                        self.fail(format!("`{command}` runs twice on {tree} at once"));
                    }
                }
                Command::StopAgent { actor, attempt, .. } => self.check_stop(actor, *attempt),
                Command::LandMerge(landing) => {
                    let halted = self.state.halted.and_then(|halted| self.state.escalations.get(&halted));
                    if halted.is_some_and(|halted| halted.answered.is_none()) {
                        self.fail(format!("{:?} lands although a merge is in doubt", landing.kind));
                    }
                    let is_new = self.landings.insert((landing.merge_id, landing.source.clone()));
                    // What settles a conflict stands in for what was in conflict.
                    let resolves = self
                        .state
                        .merges
                        .get(&landing.merge_id)
                        .and_then(|merge| merge.resolves.as_ref());
                    let wanted = resolves.unwrap_or(&landing.source);
                    if let MergeKind::Landing(team_id) = &landing.kind
                        && is_new
                        && self
                            .state
                            .teams
                            .get(team_id)
                            .is_some_and(|team| team.tip.as_ref() != Some(wanted))
                    {
                        self.fail(format!("team {team_id} lands without what its branch is known to hold"));
                    }
                }
                Command::CreateTeamBranch { .. }
                | Command::CreateActorBranch { .. }
                | Command::ResetActorBranch { .. }
                | Command::CheckResolution { .. }
                | Command::Speculate { .. }
                | Command::LookBack { .. }
                | Command::PrepareMerge { .. }
                | Command::RollBack { .. }
                | Command::WriteDecision { .. }
                | Command::FinishRun { .. } => {}
            }
        }
    }

    /// The world's own reckoning of what an actor and its team may still spend.
    fn spent_out(&self, actor: &Actor) -> Option<&'static str> {
        let own = self.plan.settings_of(actor)?.budget;
        if own.is_some_and(|budget| self.state.actors.get(actor).is_some_and(|actor| actor.cost() >= budget)) {
            return Some("its budget is spent");
        }
        let team = self.plan.team_of(actor)?;
        let mates = team.agents.iter().map(|agent| Actor::Agent(agent.id.clone()));
        let leaders = [Actor::Leader(team.id.clone()), Actor::Resolver(team.id.clone())];
        let spent: u64 = mates
            .chain(leaders)
            .filter_map(|mate| self.state.actors.get(&mate))
            .map(|mate| mate.cost().0)
            .sum();
        let is_over = team
            .budget
            .is_some_and(|budget| self.state.rules > 0 && spent >= budget.0);
        is_over.then_some("its team's budget is spent")
    }

    /// What must hold of budgets and pauses, whatever the event was.
    fn check_fleet(&mut self) {
        if let Breaker::Paused { until, .. } = self.state.breaker
            && self.state.rules > 0
            && until.since(self.state.now).as_millis() as u64 > 61 * MINUTE
        {
            self.fail(format!("nobody asks the vendor again before {until:?}"));
        }
        if self.state.mode != Mode::Running || self.state.rules == 0 {
            return;
        }
        let spender = self.state.actors.iter().find(|(actor, actor_state)| {
            actor_state.work == Work::Building
                && matches!(actor_state.process, Process::Live { .. })
                && self.spent_out(actor).is_some()
        });
        if let Some((actor, _)) = spender {
            let words = format!("I7: {actor} goes on spending, and its budget is spent");
            self.fail(words);
        }
    }

    /// What a human's words must lead to, and what they make of answers that were on their way.
    fn watch_human(&mut self, event: &Event, before: Option<&(Work, Attempt)>) {
        match event {
            Event::LandingRejected { team_id, .. } => {
                let leader = Actor::Leader(team_id.clone());
                if let (Some((Work::Merged { .. }, attempt)), Some(leader)) = (before, self.state.actors.get(&leader))
                    && leader.work == Work::Building
                {
                    self.turned_down.insert(team_id.clone(), *attempt);
                }
            }
            Event::RetryRequested { actor, fresh: true } => {
                let is_accepted = self.state.actors.get(actor).is_some_and(|actor| actor.fresh);
                if let (true, Some((_, attempt))) = (is_accepted, before) {
                    self.answers_pending.retain(|_, (asker, _)| asker != actor);
                    self.anew.insert(actor.clone(), *attempt);
                }
            }
            _ => {}
        }
    }

    /// Nobody is called stuck who was held back by the vendor.
    fn check_stop(&mut self, actor: &Actor, attempt: Attempt) {
        let is_stuck = self.state.actors.get(actor).is_some_and(|actor| {
            matches!(
                actor.process,
                Process::Stopping {
                    reason: StopReason::Stuck,
                    killed: false,
                    ..
                }
            )
        });
        let faults = &self.faults;
        let is_told =
            faults.lost_message + faults.late_message + faults.clock_back + faults.kill_run + faults.stop == 0;
        if let (true, true, Some(proc_id)) = (is_stuck, is_told, self.proc_ids.get(&(actor.clone(), attempt))) {
            let silent_since = self.procs[*proc_id].last_step.max(self.last_paused);
            let bears = self
                .plan
                .settings_of(actor)
                .map_or(0, |settings| settings.stuck_after.as_millis() as u64);
            if self.clock < silent_since + bears.saturating_sub(2 * MINUTE) {
                self.fail(format!(
                    "{actor} {attempt} counts as stuck, and was held back or working"
                ));
            }
        }
    }

    /// The bad attempts of an actor whose process ended as no agent can help.
    fn strikes_if_no_fault(&self, event: &Event) -> Option<u32> {
        match event {
            Event::AgentExited {
                actor,
                exit: AgentExit::Refused { .. },
                ..
            } => self.state.actors.get(actor).map(|actor| actor.strikes),
            _ => None,
        }
    }

    /// Whoever falls silent again and again is asked about, and not given up.
    fn watch_silence(&mut self, event: &Event) {
        let Event::AgentExited { actor, .. } = event else {
            return;
        };
        let work = self.state.actors.get(actor).map(|actor| &actor.work);
        let is_silent = |reason: &str| reason.starts_with("no commit and no sign of life");
        if let (Actor::Agent(_) | Actor::Leader(_), Some(Work::Failed { reason }), true) =
            (actor, work, self.state.rules >= 2)
            && is_silent(reason)
        {
            self.fail(format!("{actor} is given up for its silence, and nobody is asked"));
        }
    }

    /// An answer that the core accepts must reach an attempt.
    fn expect_answer(&mut self, event: &Event) {
        if let Event::EscalationAnswered { escalation_id, answer } = event
            && self
                .state
                .escalations
                .get(escalation_id)
                .is_none_or(|escalation| escalation.answered.is_some())
        {
            self.answers_too_late.insert(answer.clone());
        }
        if let Event::EscalationAnswered { escalation_id, answer } = event
            && let Some(escalation) = self.state.escalations.get(escalation_id)
            && escalation.answered.is_none()
            && let Some(actor) = &escalation.actor
        {
            let accepted = (actor.clone(), answer.clone());
            if let Actor::Resolver(team_id) = actor
                && let Some(merge_id) = self.state.resolving.get(team_id)
            {
                self.answers_about.insert(*escalation_id, *merge_id);
            }
            self.answers.insert(*escalation_id, accepted.clone());
            self.answers_pending.insert(*escalation_id, accepted);
        }
    }

    /// An attempt has read its task.
    pub(crate) fn task_taken_up(&mut self, proc_id: ProcId) {
        for id in std::mem::take(&mut self.procs[proc_id].told) {
            self.answers_pending.remove(&id);
            let times = self.answers_told.entry(id).or_default();
            *times += 1;
            if *times > 1 {
                self.fail(format!("I6: the answer to question {} reached two attempts", id.0));
            }
        }
    }

    fn watch_questions(&mut self) {
        let known = self.escalations_known;
        self.escalations_known = self.state.escalations.len();
        let new: Vec<_> = self
            .state
            .escalations
            .iter()
            .skip(known)
            .map(|(id, escalation)| (*id, escalation.clone()))
            .collect();
        for (id, escalation) in new {
            let again = escalation.actor.is_some()
                && self
                    .state
                    .escalations
                    .iter()
                    .any(|(other_id, other)| *other_id < id && other.question == escalation.question);
            if again {
                self.fail(format!("I6: {:?} was asked twice", escalation.question));
            }
            if self.rng.below(2) == 0 {
                let delay = self.rng.between(SECOND, 3 * 60 * MINUTE);
                self.after(delay, Item::Settle(id));
            }
        }
    }

    /// The world does not wait for anybody.
    fn disturb(&mut self) {
        if self.hit(self.faults.human_on_main) {
            let delay = self.rng.between(1, MINUTE);
            self.after(delay, Item::HumanOnMain);
        }
        if self.hit(self.faults.human_on_team) {
            let teams: Vec<TeamId> = self.plan.teams().map(|team| team.id.clone()).collect();
            let team_id = self.rng.pick(&teams).clone();
            let delay = self.rng.between(1, MINUTE);
            self.after(delay, Item::HumanOnTeam(team_id));
        }
        if self.hit(self.faults.dirty_checkout) {
            self.dirty_until = self.clock + self.rng.between(SECOND, 10 * MINUTE);
        }
        if self.hit(self.faults.clock_back) {
            self.skew -= self.rng.between(SECOND, 60 * MINUTE) as i64;
        }
        if self.hit(self.faults.stop) {
            let now = self.rng.below(2) == 0;
            let delay = self.rng.between(1, MINUTE);
            self.after(delay, Item::Say(Event::StopRequested { now }));
        }
        if self.hit(self.faults.pause) {
            let delay = self.rng.between(1, MINUTE);
            self.after(delay, Item::Say(Event::PauseRequested));
            if self.rng.below(2) == 0 {
                let later = delay + self.rng.between(SECOND, 60 * MINUTE);
                self.after(later, Item::Say(Event::ResumeRequested));
            }
        }
        if self.hit(self.faults.rejects) {
            let teams: Vec<TeamId> = self.plan.teams().map(|team| team.id.clone()).collect();
            let team_id = self.rng.pick(&teams).clone();
            let delay = self.rng.between(1, MINUTE);
            let reason = "it is not good enough".to_owned();
            self.after(delay, Item::Say(Event::LandingRejected { team_id, reason }));
        }
        if self.hit(self.faults.sleeps) {
            let delay = self.rng.between(1, MINUTE);
            let duration = self.rng.between(MINUTE, 8 * 60 * MINUTE);
            self.after(delay, Item::Sleep(duration));
        }
        if self.hit(self.faults.rolls_back) {
            let delay = self.rng.between(1, MINUTE);
            self.after(delay, Item::HumanRollsBack);
        }
        if self.hit(self.faults.fresh_start) {
            let actor = self.rng.pick(&self.actors).clone();
            let delay = self.rng.between(1, MINUTE);
            self.after(delay, Item::Say(Event::RetryRequested { actor, fresh: true }));
        }
    }

    /// I3, I4, I6, I7: before a process begins.
    pub(crate) fn check_start(&mut self, launch: &StartAgent) {
        let actor = &launch.actor;
        let alive: Vec<&crate::world::Proc> = self.procs.iter().filter(|proc| proc.alive).collect();
        if alive.iter().any(|proc| proc.branch == launch.branch) {
            return self.fail(format!("I4: {actor} {} starts beside a live attempt", launch.attempt));
        }
        if alive.len() >= self.plan.limits.agents as usize {
            return self.fail(format!("I7: {actor} is one process too many"));
        }
        if self
            .procs
            .iter()
            .any(|proc| &proc.actor == actor && proc.attempt >= launch.attempt)
        {
            return self.fail(format!("I4: attempt {} of {actor} was there before", launch.attempt));
        }
        // One that was on its way already is ended, and the next one starts anew: also one whose team goes back while it begins.
        if self.anew.get(actor).is_some_and(|before| launch.attempt > *before) {
            let team = self.plan.team_of(actor).and_then(|team| self.git.tip(&team.branch));
            let is_clean = self
                .git
                .tip(&launch.branch)
                .zip(team)
                .is_some_and(|(tip, team)| self.git.contains(team, tip));
            if is_clean {
                self.anew.remove(actor);
            } else if self.state.rollback.is_none() {
                return self.fail(format!("{actor} was to start anew, and starts with what it had made"));
            }
        }
        let missing = self.missing_in_base(launch);
        if let Some(missing) = missing {
            return self.fail(format!("I3: {actor} starts without {missing} in its base"));
        }
        let answers: Vec<String> = self
            .answers_pending
            .values()
            .filter(|(asker, _)| asker == actor)
            .map(|(_, answer)| answer.clone())
            .collect();
        let too_late = self
            .answers_too_late
            .iter()
            .filter(|text| !self.answers.values().any(|(_, accepted)| accepted == *text))
            .find(|text| matches!(&launch.task, Task::Answer { answer, .. } if answer.contains(text.as_str())));
        if let Some(text) = too_late {
            return self.fail(format!("I6: {actor} is told {text:?}, which came too late"));
        }
        for text in answers {
            let told = matches!(&launch.task, Task::Answer { answer, .. } if answer.contains(text.as_str()));
            if !told {
                self.fail(format!(
                    "I6: {actor} {} starts without the answer {text:?}",
                    launch.attempt
                ));
            }
        }
    }

    fn missing_in_base(&self, launch: &StartAgent) -> Option<String> {
        let tip = self.git.tip(&launch.branch)?;
        if let Actor::Resolver(_) = launch.actor {
            let holds = |conflict: &ConflictFacts| self.git.contains(tip, commit_of(&conflict.onto));
            let is_ready = launch.conflict.as_ref().is_some_and(holds);
            return (!is_ready).then(|| "what it is to settle".to_owned());
        }
        let is_in = |kind: &MergeKind| {
            self.git.commits.iter().enumerate().any(|(id, commit)| {
                matches!(&commit.maker, Maker::Landing(_, landed) if landed == kind) && self.git.contains(tip, id)
            })
        };
        let team = self.plan.team_of(&launch.actor)?;
        let phase = self.plan.phase_of(&team.id)?;
        let mut wanted: Vec<MergeKind> = self
            .plan
            .phases
            .iter()
            .filter(|other| phase.needs.contains(&other.id))
            .flat_map(|other| &other.teams)
            .map(|team| MergeKind::Landing(team.id.clone()))
            .collect();
        match &launch.actor {
            Actor::Agent(agent_id) => {
                let (_, agent) = self.plan.agent(agent_id)?;
                wanted.extend(agent.needs.iter().map(|need| match need {
                    Need::Agent(needed) => MergeKind::Agent(needed.clone()),
                    Need::Team(needed) => MergeKind::Landing(needed.clone()),
                }));
            }
            Actor::Resolver(_) => {}
            Actor::Leader(_) => wanted.extend(team.agents.iter().map(|agent| MergeKind::Agent(agent.id.clone()))),
        }
        wanted.iter().find(|kind| !is_in(kind)).map(|kind| format!("{kind:?}"))
    }

    /// I1, I2: before a branch moves.
    pub(crate) fn check_landing(&mut self, landing: &LandMerge, source: usize, target: usize) {
        if let Some(command) = self.command_of(&landing.kind)
            && !self.passed.contains(&(landing.tree.clone(), command.clone()))
        {
            return self.fail(format!(
                "I1: {} moves to {}, which never passed `{command}`",
                landing.target, landing.tree
            ));
        }
        if let MergeKind::Landing(team_id) = &landing.kind
            && self.plan.approvals.team == Approval::Manual
        {
            let approved = Event::LandingApproved {
                team_id: team_id.clone(),
            };
            if !self.journal.iter().any(|(_, event)| *event == approved) {
                return self.fail(format!("team {team_id} lands without a yes"));
            }
        }
        if let MergeKind::Landing(team_id) = &landing.kind
            && let Some(attempt) = self.turned_down.get(team_id)
            && self
                .state
                .actors
                .get(&Actor::Leader(team_id.clone()))
                .is_some_and(|leader| leader.attempt <= *attempt)
        {
            return self.fail(format!("team {team_id} lands as it was turned down"));
        }
        let resolves = self
            .state
            .merges
            .get(&landing.merge_id)
            .and_then(|merge| merge.resolves.clone());
        self.report.settlements += u64::from(resolves.is_some());
        if let Some(before) = resolves
            && (!self.git.contains(source, commit_of(&before)) || self.bad_settlements.contains(&source))
        {
            return self.fail(format!(
                "I1: c{source} lands, which does not settle the conflict of {before}"
            ));
        }
        let merged = self.git.merge(source, target);
        if merged != Ok(tree_of_oid(&landing.tree)) {
            return self.fail(format!("I1: {} is not the merge of its parents", landing.tree));
        }
        self.check_nothing_undone_returns(&landing.kind, source, target);
        let before = self.git.commits.iter().enumerate().any(|(id, commit)| {
            !self.is_undone(id)
                && matches!(&commit.maker, Maker::Landing(_, kind) if *kind == landing.kind)
                && matches!(kind_of(commit), Some(MergeKind::Agent(_) | MergeKind::Landing(_)))
        });
        if before {
            self.fail(format!("I2: {:?} is merged twice", landing.kind));
        }
        if let MergeKind::Agent(agent_id) = &landing.kind {
            let index = self.index_of(&Actor::Agent(agent_id.clone()));
            if !self.git.tree_of(source).contains(&Part::Work(index)) {
                self.fail(format!("I2: agent {agent_id} is merged without its work"));
            }
            let completion = self.plan.completion_line(&Actor::Agent(agent_id.clone()));
            let is_complete = (0..self.git.commits.len())
                .any(|id| self.git.commits[id].message.starts_with(&completion) && self.git.contains(source, id));
            if !is_complete {
                self.fail(format!("I2: agent {agent_id} is merged without its completing commit"));
            }
        }
    }

    /// I9: every end has reasons, and leaves nothing behind that it does not know of.
    pub(crate) fn check_finish(&mut self, outcome: &RunOutcome) {
        self.say(|| format!("run ends: {outcome:?}"));
        match outcome {
            RunOutcome::Waiting { reasons } | RunOutcome::Failed { reasons } => {
                if reasons.is_empty() {
                    self.fail(format!("I9: the run ends without a reason: {outcome:?}"));
                }
            }
            RunOutcome::Complete | RunOutcome::Stopped => {}
        }
        if *outcome != RunOutcome::Stopped
            && let Some(proc) = self.procs.iter().find(|proc| proc.alive)
        {
            self.fail(format!("I4: {} {} outlives the run", proc.actor, proc.attempt));
        }
        if !self.is_ended() {
            self.fail("the run finishes without having ended".to_owned());
        }
    }

    /// I2, I5, I6, I8: when all is done.
    pub(crate) fn check_end(&mut self) {
        let base = self.plan.repository.base.clone();
        let Some(main) = self.git.tip(&base) else { return };
        self.report.main = works(self.git.tree_of(main));
        if self.report.main.len() != self.actors.len() {
            self.fail(format!(
                "I8: main holds the work of {} of {} actors",
                self.report.main.len(),
                self.actors.len()
            ));
        }
        let mut merged: BTreeMap<String, u32> = BTreeMap::new();
        for (id, commit) in self.git.commits.iter().enumerate() {
            if let Some(kind @ MergeKind::Agent(_)) = kind_of(commit)
                && self.git.contains(main, id)
            {
                *merged.entry(format!("{kind:?}")).or_default() += 1;
            }
        }
        let agents = self.plan.agents().count();
        if merged.len() != agents || merged.values().any(|times| *times != 1) {
            self.fail(format!("I2: merged into main: {merged:?}"));
        }
        let seen = self.journal.iter().filter_map(|(_, event)| match event {
            Event::CommitsSeen { tip, .. } => Some(commit_of(tip)),
            _ => None,
        });
        let lost = seen.into_iter().find(|commit| {
            !self.git.refs.values().any(|tip| self.git.contains(*tip, *commit))
                && !self.git.kept.iter().any(|kept| self.git.contains(*kept, *commit))
        });
        if let Some(lost) = lost {
            self.fail(format!("I5: c{lost} was seen and is not reachable any more"));
        }
        if self.state.open_escalations().next().is_some() {
            self.fail("I6: the run is complete with open questions".to_owned());
        }
        if let Some((id, (actor, _))) = self.answers_pending.first_key_value() {
            self.fail(format!("I6: the answer to question {} never reached {actor}", id.0));
        }
        let landed: Vec<usize> = self
            .state
            .teams
            .values()
            .filter_map(|team| team.landed.as_ref().map(commit_of))
            .collect();
        if let Some(landed) = landed.iter().find(|landed| !self.git.contains(main, **landed)) {
            self.fail(format!("I1: c{landed} has landed and is not on main"));
        }
    }
}

fn works(tree: &Tree) -> Tree {
    tree.iter()
        .filter(|part| matches!(part, Part::Work(_)))
        .copied()
        .collect()
}

fn kind_of(commit: &crate::git::Commit) -> Option<&MergeKind> {
    match &commit.maker {
        Maker::Landing(_, kind) => Some(kind),
        Maker::Root | Maker::Actor | Maker::Human | Maker::Candidate => None,
    }
}
