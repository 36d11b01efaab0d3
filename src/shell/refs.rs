//! Refs as a source of events: compares where branches stand with where the state believes them, and says what moved.

use std::sync::Arc;

use crate::core::event::Event;
use crate::core::{MergeState, State, TeamBranch};
use crate::ids::{Actor, BranchName, Oid};
use crate::plan::Plan;
use crate::shell::git::{Git, GitError};
use crate::shell::guard::Guard;

/// Commits of one move that are looked at: the newest ones. An agent that makes more in one go has its oldest unread, never its newest.
const COMMITS_MAX: usize = 200;

/// Reads branches.
pub struct RefSource {
    git: Arc<Git>,
    guard: Guard,
}

impl RefSource {
    /// Reads branches of this repository, those that agents share through their guard.
    pub fn new(git: Arc<Git>, guard: Guard) -> Self {
        Self { git, guard }
    }

    /// The repository.
    pub fn git(&self) -> &Git {
        &self.git
    }

    /// Landings that were under way when this process's predecessor ended, and that are in their target already. They are told before the run goes on: a plan
    /// whose gates have changed since would otherwise ask for the same landing again.
    pub fn landed_already(&self, state: &State) -> Result<Vec<Event>, GitError> {
        let mut events = Vec::new();
        for (merge_id, merge) in &state.merges {
            let MergeState::Landing { onto, .. } = &merge.state else {
                continue;
            };
            let Some(tip) = self.git.tip(&merge.target)? else {
                continue;
            };
            let landed = self
                .git
                .first_parents(&tip, COMMITS_MAX)?
                .into_iter()
                .find(|commit| commit.parents == [onto.clone(), merge.source.clone()]);
            if let Some(commit) = landed {
                events.push(Event::MergeLanded {
                    merge_id: *merge_id,
                    commit: commit.oid,
                });
            }
        }
        Ok(events)
    }

    /// What moved since the state was last told. A tip that is about to be lost by a rewrite is kept before anybody hears of it.
    pub fn scan(&self, state: &State) -> Result<Vec<Event>, GitError> {
        let Some(plan) = &state.plan else { return Ok(Vec::new()) };
        let mut watched: Vec<(Owner, BranchName, Oid)> = Vec::new();
        for (actor, actor_state) in &state.actors {
            // A branch is of interest from its first commit on; merged ones too, since late commits are to be noticed.
            if let (Some(tip), Some(branch)) = (&actor_state.tip, plan.branch_of(actor)) {
                watched.push((Owner::Actor(actor.clone()), branch.clone(), tip.clone()));
            }
        }
        // Branches that are on their way back are told by the answer to that.
        let returning = state.rollback.as_ref().is_some_and(|rollback| rollback.commanded);
        let landing_on = |branch: &BranchName| {
            returning
                || state
                    .merges
                    .values()
                    .any(|merge| &merge.target == branch && matches!(merge.state, MergeState::Landing { .. }))
        };
        for team in plan.teams() {
            if let Some(team_state) = state.teams.get(&team.id)
                && team_state.branch == TeamBranch::Ready
                && let Some(tip) = &team_state.tip
                && !landing_on(&team.branch)
            {
                watched.push((Owner::Shared, team.branch.clone(), tip.clone()));
            }
        }
        if let Some(tip) = &state.base_tip
            && !landing_on(&plan.repository.base)
        {
            watched.push((Owner::Shared, plan.repository.base.clone(), tip.clone()));
        }
        if state.base_tip.is_none() {
            // A human may move it until then, and nobody is told.
            let _ = self.stands(plan, state, &plan.repository.base)?;
        }
        let names: Vec<BranchName> = watched.iter().map(|(_, branch, _)| branch.clone()).collect();
        let tips = self.git.tips(&names)?;
        let mut events = Vec::new();
        for (owner, branch, old) in watched {
            let tip = tips.get(&branch);
            if tip == Some(&old) {
                continue;
            }
            let tip = match owner {
                Owner::Actor(_) => tip.cloned(),
                Owner::Shared => self.stands(plan, state, &branch)?,
            };
            let Some(tip) = tip.filter(|tip| tip != &old) else {
                continue;
            };
            let new = self.git.new_commits(Some(&old), &tip, COMMITS_MAX)?;
            if new.rewritten {
                self.git.keep(&old, branch.as_str())?;
            }
            events.push(match owner {
                Owner::Actor(actor) => Event::CommitsSeen {
                    from: old.clone(),
                    actor,
                    tip,
                    rewritten: new.rewritten,
                    commits: new.commits,
                },
                Owner::Shared => Event::BranchMoved {
                    branch,
                    tip,
                    forward: !new.rewritten,
                },
            });
        }
        Ok(events)
    }

    /// Where a shared branch stands, once what agents did to it is undone. `None`: it moves too fast, or there is none; the next look decides anew.
    fn stands(&self, plan: &Plan, state: &State, branch: &BranchName) -> Result<Option<Oid>, GitError> {
        let Some(watched) = self.guard.watch(plan, state, branch) else {
            return Ok(None);
        };
        match watched.tip(&self.git) {
            Ok(tip) => Ok(Some(tip)),
            Err(GitError::BranchMoved { .. } | GitError::NoSuchBranch { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

enum Owner {
    Actor(Actor),
    Shared,
}
