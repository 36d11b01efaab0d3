//! The human: commits where it likes, answers early, late, twice or not at all, and starts the run again when it has ended.

use orchestrate::core::command::RunOutcome;
use orchestrate::core::event::{EffectKey, Event, MergeKind};
use orchestrate::core::{Escalation, MergeState, TeamBranch, TeamStatus, View, Work, view};
use orchestrate::ids::{Actor, BranchName, EscalationId, MergeId, Oid, TeamId};

use crate::git::{self, Item as Part, Maker, commit_of, oid};
use crate::plans;
use crate::world::{Item, MINUTE, SECOND, World};

impl World {
    /// `answer`, `approve`, `stop`, `retry`: what they write is read by `run`, at once or when it is started again.
    pub(crate) fn write_inbox(&mut self, event: Event) {
        self.say(|| format!("  human: {event:?}"));
        self.inbox.push(event);
        if self.up {
            self.after(100, Item::ReadInbox);
        }
    }

    pub(crate) fn read_inbox(&mut self) {
        while self.up && !self.inbox.is_empty() {
            let event = self.inbox[0].clone();
            let length = self.journal.len();
            self.feed(vec![event.clone()]);
            let is_durable = self.journal.len() > length;
            let forgotten = !self.up && self.hit(self.faults.inbox_repeats);
            if is_durable && !forgotten {
                self.inbox.remove(0);
            }
        }
    }

    /// A human who watches says yes to a landing that waits for it while others still work; once a minute is enough.
    pub(crate) fn say_yes_to(&mut self, seen: &View) {
        if !self.human_watches || !self.up {
            return;
        }
        for team in &seen.teams {
            let is_recent = self.said_yes.get(&team.id).is_some_and(|at| self.clock < at + MINUTE);
            if team.status == TeamStatus::AwaitingApproval && !is_recent {
                self.said_yes.insert(team.id.clone(), self.clock);
                let team_id = team.id.clone();
                self.after(SECOND, Item::Say(Event::LandingApproved { team_id }));
            }
        }
    }

    /// The human sees that the run has ended, does what it can, and starts it again.
    pub(crate) fn react(&mut self) {
        if self.up {
            return;
        }
        let outcome = self.outcome.clone();
        let lazy = self.faults_on() && self.rng.below(3) == 0;
        if !lazy {
            let open: Vec<EscalationId> = self.state.open_escalations().map(|(id, _)| id).collect();
            for id in open {
                self.settle(id);
            }
            let failed: Vec<Actor> = self
                .state
                .actors
                .iter()
                .filter(|(_, actor)| matches!(actor.work, Work::Failed { .. }))
                .map(|(actor, _)| actor.clone())
                .collect();
            for actor in failed {
                let fresh = self.rng.below(4) == 0;
                self.write_inbox(Event::RetryRequested { actor, fresh });
            }
            if self.state.paused {
                self.write_inbox(Event::ResumeRequested);
            }
            let seen = view(&self.state, &self.plan, self.shell_now());
            for team in seen.teams {
                if team.status == TeamStatus::AwaitingApproval {
                    self.write_inbox(Event::LandingApproved { team_id: team.id });
                }
            }
            if matches!(outcome, Some(RunOutcome::Failed { .. })) || self.hit(self.faults.plan_changes) {
                self.next_plan = Some(plans::relaxed(&self.plan));
            }
            if self.hit(self.faults.plan_changes) {
                let plan = self.next_plan.take().unwrap_or_else(|| self.plan.clone());
                self.next_plan = Some(plans::with_other_gates(&plan, &mut self.rng));
            }
        }
        let is_complete = matches!(outcome, Some(RunOutcome::Complete));
        if is_complete && self.only_teams.is_empty() {
            self.done = true;
            return;
        }
        if is_complete || matches!(outcome, Some(RunOutcome::Failed { .. })) {
            self.only_teams.clear();
        }
        self.after(10, Item::RunAgain);
    }

    /// The human answers a question, or settles what it is about.
    pub(crate) fn settle(&mut self, escalation_id: EscalationId) {
        let Some(escalation) = self.state.escalations.get(&escalation_id).cloned() else {
            return;
        };
        let answer = format!("#{}: this way, said {} times", escalation_id.0, self.new_id());
        let answered = Event::EscalationAnswered {
            escalation_id,
            answer: answer.clone(),
        };
        if escalation.answered.is_some() {
            if self.hit(self.faults.odd_answer) {
                self.write_inbox(answered);
            }
            return;
        }
        if self.hit(self.faults.odd_answer) {
            self.write_inbox(Event::EscalationAnswered {
                escalation_id: EscalationId(9999),
                answer: answer.clone(),
            });
            self.write_inbox(answered.clone());
        }
        let Some(merge_id) = escalation.merge else {
            return self.write_inbox(answered);
        };
        let words_only = self.hit(self.faults.words_only);
        if !words_only {
            self.mend_merge(merge_id);
        }
        // A conflict that was settled by a commit needs no words; the rest does.
        let in_conflict = self
            .state
            .merges
            .get(&merge_id)
            .is_some_and(|merge| matches!(merge.state, MergeState::Conflict { .. }));
        if words_only || !in_conflict || self.rng.below(3) == 0 {
            self.write_inbox(answered);
        }
    }

    /// What a human has decided is written down, on top of its team's branch.
    pub(crate) fn write_decision(&mut self, escalation_id: EscalationId, onto: &Oid, escalation: &Escalation) {
        if escalation.answer.is_none() {
            return self.fail(format!("decision {} has no answer", escalation_id.0));
        }
        if self.trouble(EffectKey::Decision(escalation_id)) {
            return;
        }
        let onto = commit_of(onto);
        let mut tree = self.git.tree_of(onto).clone();
        // Another run of the same effect writes the same.
        tree.insert(Part::Extra(2_000_000 + escalation_id.0));
        let message = format!("decision {}", escalation_id.0);
        let commit = self.git.commit(&[onto], tree, &message, Maker::Human);
        self.git.kept.insert(commit);
        self.answer(Event::DecisionWritten {
            escalation_id,
            commit: oid(commit),
        });
    }

    /// A commit that takes away what stands in a merge's way.
    fn mend_merge(&mut self, merge_id: MergeId) {
        let Some(merge) = self.state.merges.get(&merge_id).cloned() else {
            return;
        };
        if let (MergeKind::Sync(_), MergeState::Rejected { .. }) = (&merge.kind, &merge.state)
            && self.rng.below(4) != 0
        {
            return self.mend_main(&merge.target);
        }
        // Main is never touched for this: whoever it is merged into, or whoever comes to it, takes it in.
        let (branch, other) = match merge.kind {
            MergeKind::Agent(_) | MergeKind::Integration(_) => (merge.source_branch, merge.target),
            MergeKind::Decision { .. } => return,
            MergeKind::Sync(_) => (merge.target, merge.source_branch),
            MergeKind::Landing(_) => (merge.source_branch, merge.target),
        };
        let (Some(tip), Some(other)) = (self.git.tip(&branch), self.git.tip(&other)) else {
            return;
        };
        let mut tree = self.git.union(tip, other);
        git::mended(&mut tree);
        tree.insert(Part::Extra(self.new_id()));
        self.commit_of_human(&branch, &[tip, other], tree, "[CONFLICT-RESOLVED] settled by hand");
    }

    /// What breaks a gate together with a team's branch is mended on main.
    fn mend_main(&mut self, team_branch: &BranchName) {
        let base = self.plan.repository.base.clone();
        let (Some(main), Some(team)) = (self.git.tip(&base), self.git.tip(team_branch)) else {
            return;
        };
        let mut around = self.git.union(main, team);
        git::mended(&mut around);
        let mut tree = self.git.tree_of(main).clone();
        tree.extend(around.into_iter().filter(|part| matches!(part, Part::Fix(_))));
        tree.insert(Part::Extra(self.new_id()));
        self.commit_of_human(&base, &[main], tree, "mended on main");
    }

    fn commit_of_human(&mut self, branch: &BranchName, parents: &[usize], tree: git::Tree, message: &str) {
        let commit = self.git.commit(parents, tree, message, Maker::Human);
        self.say(|| format!("  human: commits c{commit} on {branch}: {message}"));
        self.set_actor_branch(branch, commit);
    }

    pub(crate) fn human_on_main(&mut self) {
        let base = self.plan.repository.base.clone();
        self.human_adds_to(&base);
    }

    pub(crate) fn human_on_team(&mut self, team_id: &TeamId) {
        let ready = self
            .state
            .teams
            .get(team_id)
            .is_some_and(|team| team.branch == TeamBranch::Ready && team.landed.is_none());
        if let (true, Some(team)) = (ready, self.plan.team(team_id)) {
            let branch = team.branch.clone();
            self.human_adds_to(&branch);
        }
    }

    fn human_adds_to(&mut self, branch: &BranchName) {
        let Some(tip) = self.git.tip(branch) else { return };
        let mut tree = self.git.tree_of(tip).clone();
        tree.insert(Part::Extra(self.new_id()));
        if self.hit(self.faults.clash) {
            let place = self.rng.below(3) as u32;
            let side = self.rng.below(2) as u32;
            tree.insert(Part::Side { place, side });
        }
        self.commit_of_human(branch, &[tip], tree, "a human's own work");
    }
}
