//! A human who wants a branch back at an earlier commit, and how the world puts it there: worked out from the simulated history alone.

use std::collections::BTreeSet;

use orchestrate::core::event::{BranchReturn, EffectKey, Event, MergeKind};
use orchestrate::core::{MergeState, Work};
use orchestrate::ids::{Actor, BranchName, Oid};

use crate::git::{CommitId, Maker, commit_of, oid};
use crate::world::World;

impl World {
    /// The human picks a branch and a commit on it, most of the time one that makes sense.
    pub(crate) fn human_rolls_back(&mut self) {
        let base = self.plan.repository.base.clone();
        let mut branches: Vec<BranchName> = self.plan.teams().map(|team| team.branch.clone()).collect();
        branches.push(base.clone());
        let branch = self.rng.pick(&branches).clone();
        let Some(tip) = self.git.tip(&branch) else { return };
        let chain = self.chain(tip);
        let far = (chain.len() as u64).min(5);
        let to = if self.rng.below(20) == 0 {
            self.rng.below(self.git.commits.len() as u64) as usize
        } else {
            chain[self.rng.below(far) as usize]
        };
        let cascade = self.rng.below(4) != 0;
        self.write_inbox(Event::RollbackRequested {
            branch,
            to: oid(to),
            cascade,
        });
    }

    fn chain(&self, tip: CommitId) -> Vec<CommitId> {
        let mut chain = vec![tip];
        while let Some(parent) = chain.last().and_then(|last| self.git.commits[*last].parents.first()) {
            chain.push(*parent);
        }
        chain
    }

    fn landed_on(&self, branch: &BranchName, commit: CommitId) -> bool {
        self.state.merges.values().any(|merge| {
            &merge.target == branch
                && matches!(&merge.state, MergeState::Merged { commit: merged, .. } if commit_of(merged) == commit)
        })
    }

    /// What `run` does when it is told to put a branch back.
    pub(crate) fn roll_back(&mut self, branch: &BranchName, to: &Oid, cascade: bool) {
        if self.trouble(EffectKey::Rollback(branch.clone())) {
            return;
        }
        let refuse = |reason: &str| Event::RollbackRefused {
            branch: branch.clone(),
            reason: reason.to_owned(),
        };
        match self.moves_of(branch, commit_of(to), cascade) {
            Err(reason) => self.answer(refuse(reason)),
            Ok(moves) => {
                let is_as_known = |returned: &BranchReturn| {
                    let (from, to) = (commit_of(&returned.from), commit_of(&returned.to));
                    self.git.tip(&returned.branch).is_some_and(|tip| {
                        let went_back = self.returned.contains(&(returned.branch.clone(), from))
                            && self.git.contains(tip, to)
                            && !self.git.contains(tip, from);
                        tip == from || tip == to || went_back
                    })
                };
                if !moves.iter().all(is_as_known) {
                    return self.answer(refuse("it has moved"));
                }
                let is_base = branch == &self.plan.repository.base;
                let old_chain = self.chain(commit_of(&moves[0].from));
                let removed: BTreeSet<CommitId> = old_chain
                    .into_iter()
                    .take_while(|commit| *commit != commit_of(to))
                    .collect();
                for returned in &moves {
                    self.say(|| format!("  world: {} goes back to {}", returned.branch, returned.to));
                    self.git.kept.insert(commit_of(&returned.from));
                    self.returned
                        .insert((returned.branch.clone(), commit_of(&returned.from)));
                    // What somebody put on top since it went back unheard stays.
                    if self.git.tip(&returned.branch) == Some(commit_of(&returned.from)) {
                        self.git.refs.insert(returned.branch.clone(), commit_of(&returned.to));
                    }
                }
                // What another branch holds goes on to be good.
                let teams = self.plan.teams().map(|team| &team.branch);
                let held: Vec<CommitId> = teams
                    .chain([&self.plan.repository.base])
                    .filter_map(|branch| self.git.tip(branch))
                    .collect();
                let mut gone = if is_base { removed } else { BTreeSet::new() };
                for returned in moves.iter().skip(usize::from(is_base)) {
                    gone.extend(self.git.between(commit_of(&returned.from), &held));
                }
                self.undone.extend(gone.iter().copied());
                let undone = self
                    .state
                    .merges
                    .iter()
                    .filter(|(_, merge)| match &merge.state {
                        MergeState::Merged { commit, .. } => moves.iter().any(|returned| {
                            returned.branch == merge.target
                                && !self.git.contains(commit_of(&returned.to), commit_of(commit))
                        }),
                        _ => false,
                    })
                    .map(|(merge_id, _)| *merge_id)
                    .collect();
                let everybody = self.state.actors.keys();
                let tainted = everybody
                    .filter(|actor| {
                        let tip = self.plan.branch_of(actor).and_then(|branch| self.git.tip(&branch));
                        tip.is_some_and(|tip| gone.iter().any(|commit| self.git.contains(tip, *commit)))
                    })
                    .cloned()
                    .collect();
                self.answer(Event::RolledBack {
                    branch: branch.clone(),
                    to: to.clone(),
                    moves,
                    undone,
                    tainted,
                });
            }
        }
    }

    fn moves_of(&self, branch: &BranchName, to: CommitId, cascade: bool) -> Result<Vec<BranchReturn>, &'static str> {
        let is_base = branch == &self.plan.repository.base;
        let team = self.plan.teams().find(|team| &team.branch == branch);
        let team_state = team.and_then(|team| self.state.teams.get(&team.id));
        let from = match team_state {
            Some(team_state) => team_state.tip.clone(),
            None => self.state.base_tip.clone(),
        };
        let from = commit_of(&from.ok_or("it does not exist")?);
        let chain = self.chain(from);
        let place = chain
            .iter()
            .position(|commit| *commit == to)
            .ok_or("it never stood there")?;
        let limit = if is_base {
            let oldest = chain.iter().rposition(|commit| self.landed_on(branch, *commit));
            oldest.map(|oldest| oldest + 1)
        } else {
            let begun = team_state
                .and_then(|team_state| team_state.begun.as_ref())
                .map(commit_of);
            chain.iter().position(|commit| Some(*commit) == begun)
        };
        if place == 0 || limit.is_none_or(|limit| place > limit) {
            return Err("it is not of this run");
        }
        let mut moves = vec![BranchReturn {
            branch: branch.clone(),
            from: oid(from),
            to: oid(to),
            anew: false,
        }];
        let mut is_built_on = false;
        if is_base {
            let gone = &chain[..place];
            for team in self.plan.teams() {
                let Some(team_state) = self.state.teams.get(&team.id) else {
                    continue;
                };
                let stays = team_state
                    .landed
                    .as_ref()
                    .is_some_and(|landed| !gone.contains(&commit_of(landed)));
                let known = team_state.tip.as_ref().map(commit_of);
                let Some(tip) = known.or(self.git.tip(&team.branch)).filter(|_| !stays) else {
                    continue;
                };
                let holds = |commit: CommitId| gone.iter().any(|gone| self.git.contains(commit, *gone));
                if !holds(tip) {
                    continue;
                }
                let clean = self.chain(tip).into_iter().find(|commit| !holds(*commit));
                let begun = team_state.begun.as_ref().map(commit_of);
                let own = clean
                    .filter(|_| known.is_some())
                    .filter(|clean| !self.git.contains(to, *clean) || Some(*clean) == begun);
                is_built_on |= known.is_some();
                moves.push(BranchReturn {
                    branch: team.branch.clone(),
                    from: oid(tip),
                    to: oid(own.unwrap_or(to)),
                    anew: own.is_none(),
                });
            }
        }
        if is_built_on && !cascade {
            return Err("others are built on it");
        }
        Ok(moves)
    }

    /// Nothing that was undone comes back, and whoever made it or built on it starts anew.
    pub(crate) fn watch_return(&mut self, moves: &[BranchReturn], landed_before: &[Actor]) {
        self.report.returns += 1;
        for leader in landed_before {
            if let Actor::Leader(team_id) = leader
                && let Some(actor_state) = self.state.actors.get(leader)
                && self.state.teams.get(team_id).is_some_and(|team| team.landed.is_none())
            {
                self.turned_down.insert(team_id.clone(), actor_state.attempt);
            }
        }
        let anew: Vec<(Actor, orchestrate::ids::Attempt)> = self
            .state
            .actors
            .iter()
            .filter(|(_, actor_state)| actor_state.fresh && actor_state.work == Work::Waiting)
            .map(|(actor, actor_state)| (actor.clone(), actor_state.attempt))
            .collect();
        for (actor, attempt) in anew {
            self.answers_pending.retain(|_, (asker, _)| asker != &actor);
            self.anew.insert(actor, attempt);
        }
        for returned in moves {
            let stands = if returned.branch == self.plan.repository.base {
                self.state.base_tip.clone()
            } else {
                let team = self.plan.teams().find(|team| team.branch == returned.branch);
                team.and_then(|team| self.state.teams.get(&team.id))
                    .and_then(|team_state| team_state.tip.clone())
            };
            if stands.is_some_and(|stands| stands != returned.to) {
                return self.fail(format!("{} went back and counts as elsewhere", returned.branch));
            }
        }
        let gone = self.state.actors.iter().find(|(_, actor_state)| {
            matches!(&actor_state.work, Work::Merged { commit } if self.undone.contains(&commit_of(commit)))
        });
        if let Some((actor, _)) = gone {
            let words = format!("I2: {actor} counts as merged by what was undone");
            self.fail(words);
        }
    }

    /// Before a branch moves: what was undone must not come in by another way.
    pub(crate) fn check_nothing_undone_returns(&mut self, kind: &MergeKind, source: CommitId, target: CommitId) {
        let back = self
            .git
            .between(source, &[target])
            .into_iter()
            .find(|commit| self.undone.contains(commit));
        if let Some(back) = back {
            self.fail(format!("{kind:?} brings c{back} back, which was undone"));
        }
    }

    /// Whether a landing was undone.
    pub(crate) fn is_undone(&self, commit: CommitId) -> bool {
        matches!(self.git.commits[commit].maker, Maker::Landing(..)) && self.undone.contains(&commit)
    }
}
