//! The simulated shell: write, then act. It performs commands as `core::command` documents them, and can be killed around every event.

use orchestrate::core::command::{Command, ConflictFacts, LandMerge, StartAgent};
use orchestrate::core::event::{AgentExit, CommitFact, EffectKey, Event, MergeKind, Preparation, RULES, Refusal};
use orchestrate::core::{MergeState, Mode, apply};
use orchestrate::ids::{Actor, BranchName, MergeId, Oid};
use orchestrate::plan::Gate;

use crate::git::{Item as Part, Maker, commit_of, oid, tree_of_oid, tree_oid};
use crate::plans;
use crate::world::{Item, MINUTE, ProcId, SECOND, World};

impl World {
    /// `run` is started, for the first time or again.
    pub(crate) fn start_run(&mut self) {
        if self.up || self.done {
            return;
        }
        // The replay lives beside the run and never saw more than the journal; it goes on where the last resumption left it.
        let mut folded = std::mem::take(&mut self.replayed);
        for (at, event) in &self.journal[self.replayed_events..] {
            apply(&mut folded, *at, event);
        }
        self.replayed_events = self.journal.len();
        // The plan is compared by itself: its words are long, and it has an equality.
        let plans = (folded.plan.take(), self.state.plan.take());
        let (folded_words, live_words) = (format!("{folded:?}"), format!("{:?}", self.state));
        folded.plan = plans.0.clone();
        if folded_words != live_words || plans.0 != plans.1 {
            return self.fail(format!(
                "I8: the journal folds to another state than the one that was lived\n folded {folded_words}\n lived {live_words}"
            ));
        }
        self.replayed = folded.clone();
        self.state = folded;
        self.up = true;
        self.outcome = None;
        if self.state.mode == Mode::NotStarted {
            self.say(|| "run starts".to_owned());
            return self.feed(vec![Event::RunStarted {
                run_id: "run".to_owned(),
                plan: Box::new(self.plan.clone()),
                only_teams: self.only_teams.clone(),
                // Some runs were begun by a version that asked the human about every conflict.
                rules: if self.begun_by_old_version { 0 } else { RULES },
            }]);
        }
        self.say(|| "run resumes".to_owned());
        // What happened meanwhile comes first; what follows from it is asked for again by the resumption itself, so these commands are dropped like a replay's.
        let branches: Vec<BranchName> = self.git.refs.keys().cloned().collect();
        for branch in branches {
            let Some(event) = self.scan(&branch) else { continue };
            if !self.feed_and_drop(event) {
                return;
            }
        }
        for event in std::mem::take(&mut self.inbox) {
            // A wish to stop was meant for the run that is no more.
            if !matches!(event, Event::StopRequested { .. }) && !self.feed_and_drop(event) {
                return;
            }
        }
        // What landed under the gates of the old plan must not be judged by those of the new one.
        if self.next_plan.is_some() {
            for event in self.landed_unknown() {
                if !self.feed_and_drop(event) {
                    return;
                }
            }
        }
        let plan = self.next_plan.clone();
        self.feed(vec![Event::RunResumed {
            plan: plan.clone().map(Box::new),
            only_teams: self.only_teams.clone(),
            rules: RULES,
        }]);
        // The tail that was torn off may have held the new plan.
        if plan.is_some() && self.state.plan.as_deref() == plan.as_ref() {
            self.next_plan = None;
        }
        if let Some(plan) = &self.state.plan {
            self.plan = plan.as_ref().clone();
        }
    }

    /// Landings that were asked for and happened, and of which nothing was heard.
    fn landed_unknown(&self) -> Vec<Event> {
        self.state
            .merges
            .iter()
            .filter(|(_, merge)| matches!(merge.state, MergeState::Landing { .. }))
            .filter_map(|(merge_id, merge)| {
                let target = self.git.tip(&merge.target)?;
                let commit = self.landed_already(*merge_id, &merge.kind, commit_of(&merge.source), target)?;
                Some(Event::MergeLanded {
                    merge_id: *merge_id,
                    commit: oid(commit),
                })
            })
            .collect()
    }

    fn landed_already(&self, merge_id: MergeId, kind: &MergeKind, source: usize, target: usize) -> Option<usize> {
        let maker = Maker::Landing(merge_id, kind.clone());
        (0..self.git.commits.len()).find(|commit| {
            let made = &self.git.commits[*commit];
            made.maker == maker && made.parents.get(1) == Some(&source) && self.git.contains(target, *commit)
        })
    }

    /// Whether `run` still lives.
    fn feed_and_drop(&mut self, event: Event) -> bool {
        self.journal_and_apply(event);
        if self.hit(self.faults.kill_run) {
            self.kill();
            return false;
        }
        self.report.failure.is_none()
    }

    /// A batch of events becomes durable, then what follows from it is done; `run` may be killed anywhere in between.
    pub(crate) fn feed(&mut self, events: Vec<Event>) {
        let killed = self.hit(self.faults.kill_run);
        let torn = killed && self.hit(self.faults.torn_tail);
        let before = torn.then(|| (self.state.clone(), self.journal.len()));
        let mut commands = Vec::new();
        for event in events {
            commands.extend(self.journal_and_apply(event));
        }
        if let Some((state, length)) = before {
            self.say(|| "the journal's tail is torn off".to_owned());
            self.state = state;
            self.journal.truncate(length);
            self.escalations_known = self.escalations_known.min(self.state.escalations.len());
            commands.clear();
        }
        if killed {
            let performed = self.rng.below(commands.len() as u64 + 1) as usize;
            for command in commands.into_iter().take(performed) {
                self.execute(command);
            }
            return self.kill();
        }
        for command in commands {
            self.perform(command);
            if !self.up {
                return;
            }
        }
    }

    fn kill(&mut self) {
        self.say(|| "run is killed".to_owned());
        self.report.kills += 1;
        self.forget_memory();
        if self.next_plan.is_none() && self.hit(self.faults.plan_changes) {
            self.next_plan = Some(plans::with_other_gates(&self.plan, &mut self.rng));
        }
        let delay = *self.rng.pick(&[SECOND, SECOND, MINUTE, 90 * MINUTE]);
        self.after(delay, Item::RunAgain);
    }

    /// Commands are done one by one, not at the instant they are asked for.
    fn perform(&mut self, command: Command) {
        let delay = match &command {
            Command::FinishRun { .. } => return self.execute(command),
            Command::StartAgent(_) => self.rng.between(100, 20 * SECOND),
            Command::CreateTeamBranch { .. }
            | Command::CreateActorBranch { .. }
            | Command::ResetActorBranch { .. }
            | Command::CheckResolution { .. }
            | Command::StopAgent { .. }
            | Command::PrepareMerge { .. }
            | Command::RunGate { .. }
            | Command::Speculate { .. }
            | Command::LookBack { .. }
            | Command::RollBack { .. }
            | Command::WriteDecision { .. }
            | Command::LandMerge(_) => self.rng.between(1, 50),
        };
        self.after(delay, Item::Do(Box::new(command)));
    }

    /// The effect of a command on the world, and the answer to it.
    pub(crate) fn execute(&mut self, command: Command) {
        match command {
            Command::CreateTeamBranch { branch, base } => self.create_team_branch(&branch, &base),
            Command::CreateActorBranch { actor, branch, at } => self.create_actor_branch(&actor, &branch, &at),
            Command::ResetActorBranch { actor, branch, at } => self.reset_actor_branch(&actor, &branch, &at),
            Command::CheckResolution {
                merge_id,
                commit,
                conflict,
            } => self.check_resolution(merge_id, &commit, &conflict),
            Command::StartAgent(launch) => self.start_agent(&launch),
            Command::StopAgent { actor, attempt, kill } => {
                let Some(proc_id) = self.proc_ids.get(&(actor.clone(), attempt)).copied() else {
                    return self.answer(Event::AgentExited {
                        actor,
                        attempt,
                        usage: Default::default(),
                        session: None,
                        exit: AgentExit::Lost,
                    });
                };
                self.stop_agent(proc_id, kill);
            }
            Command::PrepareMerge {
                merge_id,
                kind,
                source,
                target,
                resolved,
            } => self.prepare_merge(merge_id, &kind, &source, &target, resolved),
            Command::RunGate {
                merge_id,
                kind,
                tree,
                command,
                ..
            } => self.run_gate(merge_id, &kind, tree, command),
            Command::Speculate {
                merge_id,
                tip,
                ahead,
                source,
            } => self.speculate(merge_id, &tip, &ahead, &source),
            Command::LookBack { merge_id, source, onto } => self.look_back(merge_id, &source, &onto),
            Command::LandMerge(landing) => self.land_merge(&landing),
            Command::WriteDecision {
                escalation_id,
                onto,
                escalation,
                ..
            } => self.write_decision(escalation_id, &onto, &escalation),
            Command::RollBack { branch, to, cascade } => self.roll_back(&branch, &to, cascade),
            Command::FinishRun { outcome } => self.finish_run(outcome),
        }
    }

    pub(crate) fn answer(&mut self, event: Event) {
        if self.up {
            let delay = self.rng.between(1, 30);
            self.after(delay, Item::Deliver(event));
        }
    }

    /// Whether an effect fails now; the answer is on its way then.
    pub(crate) fn trouble(&mut self, effect: EffectKey) -> bool {
        let retriable = self.hit(self.faults.effect_fails);
        if !retriable && !self.hit(self.faults.effect_fails_for_good) {
            return false;
        }
        self.answer(Event::EffectFailed {
            effect,
            error: "the disk is full".to_owned(),
            retriable,
        });
        true
    }

    fn create_team_branch(&mut self, branch: &BranchName, base: &BranchName) {
        let team_id = self
            .plan
            .teams()
            .find(|team| &team.branch == branch)
            .map(|team| team.id.clone());
        let team_id = team_id.expect("a team of the plan");
        if self.trouble(EffectKey::TeamBranch(team_id.clone())) {
            return;
        }
        let tip = self.git.tip(base).expect("the base branch");
        if self.git.tip(branch).is_some_and(|old| !self.git.contains(tip, old)) {
            return self.answer(Event::EffectFailed {
                effect: EffectKey::TeamBranch(team_id),
                error: "the branch exists with other content".to_owned(),
                retriable: false,
            });
        }
        self.git.refs.insert(branch.clone(), tip);
        self.answer(Event::BranchCreated {
            branch: branch.clone(),
            tip: oid(tip),
        });
    }

    fn create_actor_branch(&mut self, actor: &Actor, branch: &BranchName, at: &Oid) {
        if self.trouble(EffectKey::ActorBranch(actor.clone())) {
            return;
        }
        let tip = commit_of(at);
        if self.git.tip(branch).is_some_and(|old| !self.git.contains(tip, old)) {
            return self.answer(Event::EffectFailed {
                effect: EffectKey::ActorBranch(actor.clone()),
                error: "the branch exists with other content".to_owned(),
                retriable: false,
            });
        }
        self.git.refs.insert(branch.clone(), tip);
        self.answer(Event::BranchCreated {
            branch: branch.clone(),
            tip: oid(tip),
        });
    }

    fn reset_actor_branch(&mut self, actor: &Actor, branch: &BranchName, at: &Oid) {
        if self.trouble(EffectKey::ActorBranch(actor.clone())) {
            return;
        }
        if self.procs.iter().any(|proc| proc.alive && &proc.branch == branch) {
            return self.fail(format!("I4: {branch} is put back while somebody works on it"));
        }
        if let Some(old) = self.git.tip(branch) {
            self.git.kept.insert(old);
        }
        self.git.refs.insert(branch.clone(), commit_of(at));
        self.answer(Event::BranchCreated {
            branch: branch.clone(),
            tip: at.clone(),
        });
    }

    fn check_resolution(&mut self, merge_id: MergeId, commit: &Oid, conflict: &ConflictFacts) {
        if self.trouble(EffectKey::Merge(merge_id)) {
            return;
        }
        let made = commit_of(commit);
        let holds = |side: &Oid| self.git.contains(made, commit_of(side));
        let mut faults = Vec::new();
        if !holds(&conflict.onto) || !holds(&conflict.source) {
            faults.push("a side is missing".to_owned());
            self.bad_settlements.insert(made);
        }
        if self.bad_settlements.contains(&made) && faults.is_empty() {
            faults.push("something else was touched".to_owned());
        }
        self.answer(Event::ResolutionChecked {
            merge_id,
            commit: commit.clone(),
            faults,
            vanished: Vec::new(),
        });
    }

    fn start_agent(&mut self, launch: &StartAgent) {
        let started = Event::AgentStarted {
            actor: launch.actor.clone(),
            attempt: launch.attempt,
        };
        let known = self.proc_ids.get(&(launch.actor.clone(), launch.attempt)).copied();
        match known {
            Some(proc_id) if !self.procs[proc_id].supervised => self.reap(proc_id),
            Some(proc_id) if self.procs[proc_id].alive => self.process_message(started),
            Some(proc_id) => self.after_if_up(50, Item::ReportExit(proc_id)),
            None => {
                if self.trouble(EffectKey::Start(launch.actor.clone())) {
                    return;
                }
                self.check_start(launch);
                self.begin(launch);
                self.process_message(started);
            }
        }
    }

    pub(crate) fn after_if_up(&mut self, delay: u64, item: Item) {
        if self.up {
            self.after(delay, item);
        }
    }

    /// What a process says comes late, twice or not at all.
    fn process_message(&mut self, event: Event) {
        if !self.up {
            return;
        }
        if self.hit(self.faults.repeated_message) {
            let delay = *self.rng.pick(&[50, 10 * SECOND, 20 * MINUTE]);
            self.after(delay, Item::Deliver(event.clone()));
        }
        if self.hit(self.faults.lost_message) {
            self.say(|| format!("lost: {event:?}"));
            return;
        }
        let delay = if self.hit(self.faults.late_message) {
            *self.rng.pick(&[SECOND, 30 * SECOND, 10 * MINUTE])
        } else {
            20
        };
        self.after(delay, Item::Deliver(event));
    }

    pub(crate) fn tell_progress(&mut self, proc_id: ProcId) {
        let proc = &self.procs[proc_id];
        let event = Event::AgentProgressed {
            actor: proc.actor.clone(),
            attempt: proc.attempt,
            usage: proc.usage,
            session: proc.session.clone(),
        };
        self.process_message(event);
    }

    /// The end of a process is told after what stands on its branch.
    pub(crate) fn report_exit(&mut self, proc_id: ProcId) {
        let proc = &self.procs[proc_id];
        let Some(exit) = proc.exit.clone() else { return };
        let branch = proc.branch.clone();
        let event = Event::AgentExited {
            actor: proc.actor.clone(),
            attempt: proc.attempt,
            usage: proc.usage,
            session: proc.session.clone(),
            exit,
        };
        if let Some(commits) = self.scan(&branch) {
            self.feed(vec![commits]);
        }
        self.process_message(event);
    }

    /// A supervisor is gone: what it started is killed, and the attempt counts as lost.
    pub(crate) fn reap(&mut self, proc_id: ProcId) {
        let proc = &mut self.procs[proc_id];
        if proc.supervised {
            return;
        }
        proc.alive = false;
        proc.exit = Some(AgentExit::Lost);
        self.after_if_up(50, Item::ReportExit(proc_id));
    }

    fn stop_agent(&mut self, proc_id: ProcId, kill: bool) {
        let proc = &self.procs[proc_id];
        if !proc.supervised {
            self.reap(proc_id);
        } else if !proc.alive {
            self.after_if_up(10, Item::ReportExit(proc_id));
        } else if kill {
            self.end_proc(proc_id, AgentExit::Stopped);
        } else if !proc.ignores_term {
            let delay = self.rng.between(10, 10 * SECOND);
            self.after(delay, Item::Die(proc_id));
        }
    }

    fn prepare_merge(
        &mut self,
        merge_id: MergeId,
        kind: &MergeKind,
        source: &Oid,
        target: &BranchName,
        resolved: bool,
    ) {
        if self.trouble(EffectKey::Merge(merge_id)) {
            return;
        }
        let onto = self.git.tip(target).expect("the target exists");
        let source = commit_of(source);
        let actor = match kind {
            MergeKind::Agent(agent_id) => Some(Actor::Agent(agent_id.clone())),
            MergeKind::Integration(team_id) => Some(Actor::Leader(team_id.clone())),
            MergeKind::Sync(_) | MergeKind::Landing(_) | MergeKind::Decision { .. } => None,
        };
        if let Some(actor) = actor.filter(|_| !resolved) {
            let index = self.index_of(&actor);
            let tree = self.git.tree_of(source);
            let missing: Vec<String> = (!tree.contains(&Part::Work(index)))
                .then(|| "work".to_owned())
                .into_iter()
                .collect();
            let outside: Vec<String> = tree
                .iter()
                .filter_map(|part| match part {
                    Part::Outside { id, actor } if *actor == index && !tree.contains(&Part::TakenBack(*id)) => {
                        Some(format!("outside-{id}"))
                    }
                    _ => None,
                })
                .collect();
            if !missing.is_empty() || !outside.is_empty() {
                let outcome = Preparation::Unacceptable { missing, outside };
                return self.answer(Event::MergePrepared { merge_id, outcome });
            }
        }
        let mut merged = self.git.merge(source, onto);
        if merged.is_ok() && self.hit(self.faults.wrong_merge) {
            let mut tree = self.git.union(source, onto);
            tree.insert(Part::Extra(self.new_id()));
            let wrong = self
                .git
                .commit(&[onto, source], tree, "a wrong merge", Maker::Candidate);
            merged = Ok(self.git.commits[wrong].tree);
            self.wrong_merges.extend(merged.iter().copied());
        }
        let outcome = match merged {
            Ok(tree) => Preparation::Clean {
                tree: tree_oid(tree),
                onto: oid(onto),
            },
            Err(paths) => Preparation::Conflict { onto: oid(onto), paths },
        };
        self.answer(Event::MergePrepared { merge_id, outcome });
    }

    fn land_merge(&mut self, landing: &LandMerge) {
        let target = self.git.tip(&landing.target).expect("the target exists");
        let source = commit_of(&landing.source);
        let maker = Maker::Landing(landing.merge_id, landing.kind.clone());
        if let Some(commit) = self.landed_already(landing.merge_id, &landing.kind, source, target) {
            return self.answer(Event::MergeLanded {
                merge_id: landing.merge_id,
                commit: oid(commit),
            });
        }
        if self.trouble(EffectKey::Merge(landing.merge_id)) {
            return;
        }
        if landing.target == self.plan.repository.base && self.clock < self.dirty_until {
            let refusal = Refusal::CheckoutDirty {
                directory: "checkout".to_owned(),
                paths: vec!["file".to_owned()],
            };
            return self.answer(Event::LandingRefused {
                merge_id: landing.merge_id,
                refusal,
            });
        }
        if oid(target) != landing.onto {
            let refusal = Refusal::TargetMoved { tip: oid(target) };
            return self.answer(Event::LandingRefused {
                merge_id: landing.merge_id,
                refusal,
            });
        }
        // A second merge, which nothing has in common with the first.
        let second = self.git.merge(source, target);
        if second != Ok(tree_of_oid(&landing.tree)) {
            // Only git may be wrong about a merge; a core that lands a tree which was made of something else is.
            if !self.wrong_merges.contains(&tree_of_oid(&landing.tree)) {
                return self.fail(format!("I1: {} is not the merge of its parents", landing.tree));
            }
            let refusal = Refusal::Doubted {
                second: second.ok().map(tree_oid),
            };
            return self.answer(Event::LandingRefused {
                merge_id: landing.merge_id,
                refusal,
            });
        }
        self.check_landing(landing, source, target);
        let tree = self.git.tree(tree_of_oid(&landing.tree)).clone();
        let commit = self.git.commit(&[target, source], tree, &landing.subject, maker);
        self.say(|| format!("  world: {} moves to c{commit}", landing.target));
        self.git.refs.insert(landing.target.clone(), commit);
        self.answer(Event::MergeLanded {
            merge_id: landing.merge_id,
            commit: oid(commit),
        });
    }

    fn finish_run(&mut self, outcome: orchestrate::core::command::RunOutcome) {
        self.check_finish(&outcome);
        self.forget_memory();
        self.outcome = Some(outcome);
        let delay = *self.rng.pick(&[SECOND, MINUTE, 60 * MINUTE]);
        self.after(delay, Item::React);
    }

    /// An event that was on its way arrives.
    pub(crate) fn deliver(&mut self, event: Event) {
        // What is repeated or overtaken may leave a wrong picture; the next look at the refs mends it.
        let look_again = match &event {
            Event::CommitsSeen { actor, .. } => self.plan.branch_of(actor),
            Event::MergeLanded { .. } => Some(self.plan.repository.base.clone()),
            _ => None,
        };
        self.feed(vec![event]);
        if let Some(branch) = look_again {
            let delay = self.rng.between(SECOND, 2 * MINUTE);
            self.after_if_up(delay, Item::Scan(branch));
        }
    }

    /// A branch is looked at because it may have moved.
    pub(crate) fn scan_and_tell(&mut self, branch: &BranchName) {
        let Some(event) = self.scan(branch) else { return };
        // A rewritten branch is told once and at once: nothing in a second telling would show that it is one.
        if matches!(event, Event::CommitsSeen { rewritten: false, .. }) {
            if self.hit(self.faults.repeated_commits) {
                let delay = *self.rng.pick(&[100, 10 * SECOND, 10 * MINUTE]);
                self.after(delay, Item::Deliver(event.clone()));
            }
            if self.hit(self.faults.late_commits) {
                let delay = self.rng.between(100, 2 * MINUTE);
                return self.after(delay, Item::Deliver(event));
            }
        }
        self.feed(vec![event]);
    }

    /// What the core does not know yet of a branch.
    fn scan(&mut self, branch: &BranchName) -> Option<Event> {
        let tip = self.git.tip(branch)?;
        if let Some(actor) = self.plan.actor_on(branch) {
            return self.scan_actor(actor, branch, tip);
        }
        // What is on its way back is told by the answer to that.
        if self.state.rollback.as_ref().is_some_and(|rollback| rollback.commanded) {
            return None;
        }
        let known = if branch == &self.plan.repository.base {
            self.state.base_tip.clone()
        } else {
            let team = self.plan.teams().find(|team| &team.branch == branch)?;
            self.state.teams.get(&team.id)?.tip.clone()
        };
        let known = commit_of(&known?);
        // A landing of ours is told by its own answer.
        if known == tip || matches!(self.git.commits[tip].maker, Maker::Landing(..)) && !self.is_merged(tip) {
            return None;
        }
        Some(Event::BranchMoved {
            branch: branch.clone(),
            tip: oid(tip),
            forward: self.git.contains(tip, known),
        })
    }

    fn is_merged(&self, commit: usize) -> bool {
        self.state
            .merges
            .values()
            .any(|merge| matches!(&merge.state, MergeState::Merged { commit: merged, .. } if *merged == oid(commit)))
    }

    fn scan_actor(&mut self, actor: Actor, branch: &BranchName, tip: usize) -> Option<Event> {
        let known = commit_of(self.state.actors.get(&actor)?.tip.as_ref()?);
        if known == tip {
            return None;
        }
        let rewritten = !self.git.contains(tip, known);
        // Whatever was seen before and is about to become unreachable is kept, reported already or not.
        let before = self.last_seen.insert(branch.clone(), tip).unwrap_or(known);
        for old in [known, before] {
            if !self.git.contains(tip, old) {
                self.git.kept.insert(old);
            }
        }
        let commits: Vec<usize> = self.git.between(tip, &[known]);
        let commits = commits
            .into_iter()
            .map(|commit| CommitFact {
                oid: oid(commit),
                message: self.git.commits[commit].message.clone(),
            })
            .collect();
        debug_assert!(self.git.tip(branch) == Some(tip));
        Some(Event::CommitsSeen {
            actor,
            from: oid(known),
            tip: oid(tip),
            rewritten,
            commits,
        })
    }

    /// The gate's command of a landing, if its level has one.
    pub(crate) fn command_of(&self, kind: &MergeKind) -> Option<String> {
        let gate = match kind {
            MergeKind::Agent(_) | MergeKind::Decision { .. } => &self.plan.gates.agent,
            MergeKind::Integration(_) | MergeKind::Sync(_) => &self.plan.gates.team,
            MergeKind::Landing(_) => &self.plan.gates.main,
        };
        match gate {
            Gate::None => None,
            Gate::Command(command) => Some(command.clone()),
        }
    }
}
