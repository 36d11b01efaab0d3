//! Refs as a source of events: compares where branches stand with where the state believes them, and says what moved.

use std::sync::Arc;

use crate::core::event::Event;
use crate::core::{MergeState, State, TeamBranch};
use crate::ids::{Actor, BranchName, Oid};
use crate::shell::git::{Git, GitError};

/// Commits of one move that are looked at: the newest ones. An agent that makes more in one go has its oldest unread, never its newest.
const COMMITS_MAX: usize = 200;

/// Reads branches.
pub struct RefSource {
    git: Arc<Git>,
}

impl RefSource {
    /// Reads branches of this repository.
    pub fn new(git: Arc<Git>) -> Self {
        Self { git }
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
        let landing_on = |branch: &BranchName| {
            state
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
        let names: Vec<BranchName> = watched.iter().map(|(_, branch, _)| branch.clone()).collect();
        let tips = self.git.tips(&names)?;
        let mut events = Vec::new();
        for (owner, branch, old) in watched {
            let Some(tip) = tips.get(&branch) else { continue };
            if tip == &old {
                continue;
            }
            let new = self.git.new_commits(Some(&old), tip, COMMITS_MAX)?;
            if new.rewritten {
                self.git.keep(&old, branch.as_str())?;
            }
            events.push(match owner {
                Owner::Actor(actor) => Event::CommitsSeen {
                    from: old.clone(),
                    actor,
                    tip: tip.clone(),
                    rewritten: new.rewritten,
                    commits: new.commits,
                },
                Owner::Shared => Event::BranchMoved {
                    branch,
                    tip: tip.clone(),
                    forward: !new.rewritten,
                },
            });
        }
        Ok(events)
    }
}

enum Owner {
    Actor(Actor),
    Shared,
}
