//! What agents do in the simulation: each attempt gets a script when it starts, and keeps to it whether or not `run` lives.

use std::collections::VecDeque;

use orchestrate::core::Breaker;
use orchestrate::core::command::{StartAgent, Task};
use orchestrate::core::event::{AgentExit, RefusalKind};
use orchestrate::ids::{Actor, MicroDollars, Time};

use crate::git::{self, Item as Part, Maker};
use crate::world::{Item, MINUTE, Proc, ProcId, SECOND, World};

/// One step of an attempt.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A sign of life that costs something.
    Progress,
    /// A commit on its own branch.
    Commit {
        message: String,
        parts: Vec<Part>,
        mend: bool,
    },
    /// A commit that settles a conflict.
    Settle {
        source: usize,
        message: String,
        fault: Option<BadSettlement>,
    },
    /// The newest commit is replaced by another one that says the same.
    Rewrite,
    /// Its supervisor is killed.
    Vanish,
    /// It ends.
    Exit(AgentExit),
}

/// What can be wrong with a settlement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BadSettlement {
    /// It is no merge of the two sides.
    MissingSide,
    /// Something is touched that is not in conflict.
    TouchesMore,
}

impl World {
    /// The process of an attempt begins.
    pub(crate) fn begin(&mut self, launch: &StartAgent) -> ProcId {
        let script = self.draw_script(launch);
        let proc_id = self.procs.len();
        let told = match &launch.task {
            Task::Answer { answer, .. } => self
                .answers
                .iter()
                .filter(|(_, (actor, text))| actor == &launch.actor && answer.contains(text.as_str()))
                .map(|(id, _)| *id)
                .collect(),
            Task::Work | Task::Resolve | Task::Continue | Task::Nudge { .. } | Task::Retry { .. } => Vec::new(),
        };
        let ignores_term = self.hit(self.faults.ignores_term);
        self.say(|| format!("  world: process of {} {} begins", launch.actor, launch.attempt));
        self.procs.push(Proc {
            actor: launch.actor.clone(),
            attempt: launch.attempt,
            branch: launch.branch.clone(),
            alive: true,
            supervised: true,
            exit: None,
            usage: Default::default(),
            session: launch.session.clone(),
            script,
            ignores_term,
            told,
            last_step: self.clock,
        });
        self.proc_ids.insert((launch.actor.clone(), launch.attempt), proc_id);
        self.next_step(proc_id);
        proc_id
    }

    fn next_step(&mut self, proc_id: ProcId) {
        if let Some((delay, _)) = self.procs[proc_id].script.front() {
            let delay = *delay;
            self.after(delay, Item::Step(proc_id));
        }
    }

    /// The next step of a script.
    pub(crate) fn step_of(&mut self, proc_id: ProcId) {
        if !self.procs[proc_id].alive {
            return;
        }
        // While the vendor holds everybody back, nobody gets on.
        if let Breaker::Paused { until, .. } = self.state.breaker
            && self.up
            && until > self.shell_now()
        {
            let left = until.since(self.shell_now()).as_millis() as u64;
            let delay = left + self.rng.between(SECOND, MINUTE);
            return self.after(delay, Item::Step(proc_id));
        }
        let Some((_, step)) = self.procs[proc_id].script.pop_front() else {
            return;
        };
        self.procs[proc_id].last_step = self.clock;
        match step {
            Step::Progress => {
                let cost = self.rng.between(10_000, 900_000);
                let proc = &mut self.procs[proc_id];
                proc.usage.cost = proc.usage.cost.plus(MicroDollars(cost));
                proc.usage.tokens += 1000;
                proc.session.get_or_insert_with(|| format!("session-{proc_id}"));
                self.task_taken_up(proc_id);
                self.tell_progress(proc_id);
            }
            Step::Commit { message, parts, mend } => self.commit_of_agent(proc_id, &message, parts, mend),
            Step::Settle { source, message, fault } => self.settle_conflict(proc_id, source, &message, fault),
            Step::Rewrite => self.rewrite(proc_id),
            Step::Vanish => {
                self.say(|| format!("  world: supervisor of process {proc_id} vanishes"));
                self.procs[proc_id].supervised = false;
                if self.rng.below(2) == 0 {
                    self.procs[proc_id].alive = false;
                }
                if self.up {
                    self.after(5 * SECOND, Item::Reap(proc_id));
                }
            }
            Step::Exit(exit) => return self.end_proc(proc_id, exit),
        }
        self.next_step(proc_id);
    }

    /// A process ends; its supervisor, if it has one, leaves a record.
    pub(crate) fn end_proc(&mut self, proc_id: ProcId, exit: AgentExit) {
        let proc = &mut self.procs[proc_id];
        if !proc.alive {
            return;
        }
        proc.alive = false;
        if !proc.supervised {
            return;
        }
        proc.exit = Some(exit);
        self.say(|| format!("  world: process {proc_id} ends"));
        if self.up {
            self.after(200, Item::ReportExit(proc_id));
        }
    }

    fn commit_of_agent(&mut self, proc_id: ProcId, message: &str, parts: Vec<Part>, mend: bool) {
        let branch = self.procs[proc_id].branch.clone();
        let actor = self.procs[proc_id].actor.clone();
        let Some(tip) = self.git.tip(&branch) else {
            return self.fail(format!("{actor} works on a branch that does not exist"));
        };
        let base = self.git.tip(&self.plan.repository.base);
        let team = self
            .plan
            .team_of(&actor)
            .and_then(|team| self.git.tip(&team.branch))
            .unwrap_or(tip);
        let mut tree = self.git.tree_of(tip).clone();
        tree.extend(parts);
        let mut parents = vec![tip];
        if mend {
            // Whoever mends a leader's work takes main in first, as it is told to.
            if let (Actor::Leader(_), Some(base)) = (&actor, base) {
                if !self.git.contains(tip, base) {
                    parents.push(base);
                }
                tree.extend(self.git.tree_of(base).iter().copied());
            }
            let mut around = tree.clone();
            around.extend(self.git.tree_of(team).iter().copied());
            if let Some(base) = base {
                around.extend(self.git.tree_of(base).iter().copied());
            }
            git::mended(&mut around);
            let fixes = around
                .into_iter()
                .filter(|part| matches!(part, Part::Fix(_) | Part::TakenBack(_)));
            tree.extend(fixes);
        }
        // The hook in its workspace says whose commit it is.
        let message = &format!("{message}\n\nOrchestrate-Agent: {}", actor.id());
        let commit = self.git.commit(&parents, tree, message, Maker::Actor);
        self.say(|| format!("  world: {actor} commits c{commit} on c{tip}: {message:?}"));
        self.set_actor_branch(&branch, commit);
    }

    fn settle_conflict(&mut self, proc_id: ProcId, source: usize, message: &str, fault: Option<BadSettlement>) {
        let (branch, actor) = (self.procs[proc_id].branch.clone(), self.procs[proc_id].actor.clone());
        let Some(tip) = self.git.tip(&branch) else {
            return self.fail(format!("{actor} works on a branch that does not exist"));
        };
        let mut tree = self.git.union(tip, source);
        let mut parents = vec![tip];
        match fault {
            Some(BadSettlement::MissingSide) => tree = self.git.tree_of(tip).clone(),
            Some(BadSettlement::TouchesMore) | None if !self.git.contains(tip, source) => parents.push(source),
            Some(BadSettlement::TouchesMore) | None => {}
        }
        tree.insert(Part::Extra(self.new_id()));
        let message = &format!("{message}\n\nOrchestrate-Agent: {}", actor.id());
        let commit = self.git.commit(&parents, tree, message, Maker::Actor);
        if let Some(BadSettlement::TouchesMore) = fault {
            self.bad_settlements.insert(commit);
        }
        self.say(|| format!("  world: {actor} settles with c{commit} on c{tip}: {fault:?}"));
        self.set_actor_branch(&branch, commit);
    }

    /// The newest commits of a branch that were made on it are made again, with other names.
    fn rewrite(&mut self, proc_id: ProcId) {
        let branch = self.procs[proc_id].branch.clone();
        let Some(tip) = self.git.tip(&branch) else { return };
        let mut chain = Vec::new();
        let mut commit = tip;
        for _ in 0..self.rng.between(1, 5) {
            let made = &self.git.commits[commit];
            if made.maker != Maker::Actor || made.parents.len() != 1 || self.is_shared(commit) {
                break;
            }
            chain.push(commit);
            commit = made.parents[0];
        }
        for old in chain.into_iter().rev() {
            let (tree, message) = (self.git.tree_of(old).clone(), self.git.commits[old].message.clone());
            commit = self.git.commit(&[commit], tree, &message, Maker::Actor);
        }
        if commit != tip && self.git.commits[commit].maker == Maker::Actor {
            self.say(|| format!("  world: process {proc_id} rewrites c{tip} as c{commit}"));
            self.set_actor_branch(&branch, commit);
        }
    }

    /// Whether a commit is in a team's branch or in main.
    fn is_shared(&self, commit: usize) -> bool {
        let teams = self.plan.teams().map(|team| &team.branch);
        teams
            .chain([&self.plan.repository.base])
            .filter_map(|branch| self.git.tip(branch))
            .any(|tip| self.git.contains(tip, commit))
    }

    pub(crate) fn set_actor_branch(&mut self, branch: &orchestrate::ids::BranchName, commit: usize) {
        self.git.refs.insert(branch.clone(), commit);
        if self.up {
            let delay = self.rng.between(5, 800);
            self.after(delay, Item::Scan(branch.clone()));
        }
    }

    fn draw_script(&mut self, launch: &StartAgent) -> VecDeque<(u64, Step)> {
        let mut script = VecDeque::new();
        let faults = self.faults.clone();
        if self.hit(faults.refused) {
            // Before or after it has read its task.
            if self.rng.below(2) == 0 {
                script.push_back((5 * SECOND, Step::Progress));
            }
            let exit = self.draw_refusal();
            script.push_back((5 * SECOND, Step::Exit(exit)));
            return script;
        }
        if self.hit(faults.vanish) {
            if self.rng.below(2) == 0 {
                script.push_back((5 * SECOND, Step::Progress));
            }
            script.push_back((self.rng.between(SECOND, 3 * MINUTE), Step::Vanish));
        }
        script.push_back((self.rng.between(SECOND, 20 * SECOND), Step::Progress));
        if self.hit(faults.rewrites) {
            script.push_back((self.rng.between(10, MINUTE), Step::Rewrite));
        }
        self.draw_labour(&launch.actor, &mut script);
        if self.hit(faults.hang) {
            return script;
        }
        if let Some(exit) = self.draw_bad_end() {
            script.push_back((self.rng.between(SECOND, 2 * MINUTE), Step::Exit(exit)));
            return script;
        }
        if self.hit(faults.asks) {
            let id = self.new_id();
            let message = format!("[ESCALATION-NEEDED] question {id}\n\nleft or right?");
            script.push_back((self.rng.between(SECOND, 2 * MINUTE), self.commit_step(message, false)));
            if self.hit(faults.rewrites) {
                script.push_back((self.rng.between(10, MINUTE), Step::Rewrite));
            }
            // Some wait a while for an answer that cannot reach them, some even ask again or go on by themselves.
            match self.rng.below(4) {
                0 | 1 => {
                    script.push_back((self.rng.between(SECOND, MINUTE), Step::Exit(AgentExit::Finished)));
                    return script;
                }
                2 => {
                    let id = self.new_id();
                    let message = format!("[ESCALATION-NEEDED] question {id}\n\nup or down?");
                    script.push_back((self.rng.between(SECOND, 2 * MINUTE), self.commit_step(message, false)));
                    return script;
                }
                _ => {}
            }
        }
        self.draw_completion(launch, &mut script);
        script
    }

    /// Commits and signs of life on the way.
    fn draw_labour(&mut self, actor: &Actor, script: &mut VecDeque<(u64, Step)>) {
        let faults = self.faults.clone();
        for _ in 0..self.rng.below(3) {
            let tag = orchestrate::tags::actor_tag(actor);
            let message = if self.hit(faults.foreign_tag) {
                let other = self.rng.pick(&self.actors).clone();
                if &other == actor {
                    format!("{tag} Part: a step")
                } else {
                    self.plan.completion_line(&other)
                }
            } else if self.hit(faults.malformed_tag) {
                (*self.rng.pick(&[
                    "[AGNT-1-1] complete",
                    "[AGENT-",
                    "[TEAM-] Phase complete",
                    "[AGENT-1-1]",
                ]))
                .to_owned()
            } else {
                format!("{tag} Part: a step")
            };
            let delay = self.rng.between(5 * SECOND, 5 * MINUTE);
            script.push_back((delay, self.commit_step(message, false)));
            if self.hit(faults.rewrites) {
                script.push_back((self.rng.between(10, MINUTE), Step::Rewrite));
            }
            script.push_back((self.rng.between(SECOND, 4 * MINUTE), Step::Progress));
        }
    }

    fn commit_step(&mut self, message: String, mend: bool) -> Step {
        let parts = vec![Part::Extra(self.new_id())];
        Step::Commit { message, parts, mend }
    }

    fn draw_refusal(&mut self) -> AgentExit {
        let kind = *self.rng.pick(&[
            RefusalKind::Quota,
            RefusalKind::Quota,
            RefusalKind::Unavailable,
            RefusalKind::Authentication,
            RefusalKind::Billing,
        ]);
        let ahead = self.rng.between(0, 5 * 60) * MINUTE;
        let resets_at = (self.rng.below(2) == 0).then(|| Time(self.shell_now().0 + ahead));
        AgentExit::Refused { kind, resets_at }
    }

    fn draw_bad_end(&mut self) -> Option<AgentExit> {
        let faults = self.faults.clone();
        if self.hit(faults.fake_finish) {
            return Some(AgentExit::Finished);
        }
        if self.hit(faults.denied) {
            let tools = vec!["Bash".to_owned()];
            return Some(AgentExit::Denied { tools });
        }
        if self.hit(faults.exhausted) {
            let reason = "its turns ran out".to_owned();
            return Some(AgentExit::Exhausted { reason });
        }
        if self.hit(faults.failed) {
            let reason = "it crashed".to_owned();
            return Some(AgentExit::Failed { reason });
        }
        None
    }

    fn draw_completion(&mut self, launch: &StartAgent, script: &mut VecDeque<(u64, Step)>) {
        let faults = self.faults.clone();
        if let Some(conflict) = &launch.conflict {
            let source = git::commit_of(&conflict.source);
            let message = self.plan.completion_line(&launch.actor);
            let fault = self
                .hit(faults.bad_settlement)
                .then(|| *self.rng.pick(&[BadSettlement::MissingSide, BadSettlement::TouchesMore]));
            let delay = self.rng.between(5 * SECOND, 5 * MINUTE);
            script.push_back((delay, Step::Settle { source, message, fault }));
            if self.hit(faults.chatty) {
                let delay = self.rng.between(100, MINUTE);
                script.push_back((delay, self.commit_step("one more thing".to_owned(), false)));
            }
            if !self.hit(faults.lingers) {
                let delay = self.rng.between(100, 30 * SECOND);
                script.push_back((delay, Step::Exit(AgentExit::Finished)));
            }
            return;
        }
        let index = self.index_of(&launch.actor);
        let mut parts = vec![Part::Extra(self.new_id())];
        if !self.hit(faults.missing) {
            parts.push(Part::Work(index));
        }
        if self.hit(faults.outside) {
            let id = self.new_id();
            parts.push(Part::Outside { id, actor: index });
        }
        if self.hit(faults.clash) {
            let place = self.rng.below(3) as u32;
            let side = self.rng.below(2) as u32;
            parts.push(Part::Side { place, side });
        }
        if self.hit(faults.breaks_gate) {
            if self.rng.below(3) == 0 {
                // Halves have ids of their own, so that different actors can draw the two of one pair.
                let id = 1_000_000 + self.rng.below(2) as u32;
                let half = self.rng.below(2) as u32;
                parts.push(Part::BadHalf { id, half });
            } else {
                let id = self.new_id();
                let level = self.rng.below(3) as u32;
                parts.push(Part::Bad { id, level });
            }
        }
        let mend = matches!(launch.task, Task::Retry { .. }) || !self.faults_on();
        let message = self.plan.completion_line(&launch.actor);
        let delay = self.rng.between(5 * SECOND, 5 * MINUTE);
        script.push_back((delay, Step::Commit { message, parts, mend }));
        if self.hit(faults.rewrites) {
            script.push_back((self.rng.between(10, MINUTE), Step::Rewrite));
        }
        if self.hit(faults.chatty) {
            for _ in 0..self.rng.between(1, 3) {
                let delay = self.rng.between(100, MINUTE);
                script.push_back((delay, self.commit_step("one more thing".to_owned(), false)));
            }
        }
        if !self.hit(faults.lingers) {
            let delay = self.rng.between(100, 30 * SECOND);
            script.push_back((delay, Step::Exit(AgentExit::Finished)));
        }
    }
}
