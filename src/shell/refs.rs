//! Refs as a source of events: compares where branches stand with where the state believes them, and says what moved.

use std::sync::{Arc, Mutex, PoisonError};

use crate::core::event::Event;
use crate::core::{MergeState, State, TeamBranch};
use crate::ids::{Actor, BranchName, Oid};
use crate::plan::Plan;
use crate::shell::git::{Git, GitError};
use crate::tags::{self, Tag};

/// Commits of one move that are looked at: the newest ones. An agent that makes more in one go has its oldest unread, never its newest.
const COMMITS_MAX: usize = 200;

/// What the commit hook adds to every commit of an agent's process.
const AGENT_TRAILER: &str = "Orchestrate-Agent";

/// Reads branches.
pub struct RefSource {
    git: Arc<Git>,
    /// Where the base branch stood at the last look, while the state does not say: before the first landing.
    base: Mutex<Option<Oid>>,
}

impl RefSource {
    /// Reads branches of this repository.
    pub fn new(git: Arc<Git>) -> Self {
        Self {
            git,
            base: Mutex::default(),
        }
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
            self.watch_base(plan, state)?;
        }
        let names: Vec<BranchName> = watched.iter().map(|(_, branch, _)| branch.clone()).collect();
        let tips = self.git.tips(&names)?;
        let mut events = Vec::new();
        for (owner, branch, old) in watched {
            let tip = tips.get(&branch);
            if tip == Some(&old) {
                continue;
            }
            if matches!(owner, Owner::Shared) && self.put_back(plan, state, &branch, &old, tip)? {
                continue;
            }
            let Some(tip) = tip else { continue };
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

impl RefSource {
    /// Puts the base branch back as long as the state does not hold where it stands; a human may move it.
    fn watch_base(&self, plan: &Plan, state: &State) -> Result<(), GitError> {
        let branch = &plan.repository.base;
        let tip = self.git.tip(branch)?;
        // Nothing is left half done in it.
        let mut seen = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        let put_back = match &*seen {
            Some(old) if tip.as_ref() != Some(old) => self.put_back(plan, state, branch, old, tip.as_ref())?,
            Some(_) | None => false,
        };
        if !put_back {
            *seen = tip;
        }
        Ok(())
    }

    /// Puts a team's branch or the base branch back when an agent has moved it or somebody has deleted it; what it moved to is kept. `false`: it was moved by
    /// somebody who may. A human may commit on these branches, or move them back; what an agent moves them to is a commit that its process has made.
    fn put_back(
        &self,
        plan: &Plan,
        state: &State,
        branch: &BranchName,
        old: &Oid,
        tip: Option<&Oid>,
    ) -> Result<bool, GitError> {
        let Some(tip) = tip else {
            self.git.restore(branch, old, None)?;
            tracing::warn!("branch `{branch}` was deleted by somebody; it is there again, at {old}");
            return Ok(true);
        };
        let foreign = !self.git.contains(old, tip)? && self.is_an_actor_s(plan, state, tip)?;
        if !foreign {
            return Ok(false);
        }
        self.git.keep(tip, branch.as_str())?;
        if let Err(error) = self.git.restore(branch, old, Some(tip)) {
            // It moved again in this moment; the next look decides anew.
            tracing::warn!("branch `{branch}` could not be put back to {old}: {error}");
            return Ok(true);
        }
        tracing::warn!(
            "branch `{branch}` was moved to {tip} by somebody, beside the merges; it stands at {old} again, and refs/orchestrate/kept/ has what was there"
        );
        Ok(true)
    }

    /// Whether a process of an agent or a leader has made this commit: the hook's trailer says so, or its tag and the branch that it is on.
    fn is_an_actor_s(&self, plan: &Plan, state: &State, commit: &Oid) -> Result<bool, GitError> {
        let message = tags::parse(&self.git.commit(commit)?.message);
        if message.trailer(AGENT_TRAILER).is_some() {
            return Ok(true);
        }
        if !matches!(message.tag, Some(Ok(Tag::Agent { .. } | Tag::Team { .. }))) {
            return Ok(false);
        }
        for actor in state.actors.keys() {
            if let Some(branch) = plan.branch_of(actor)
                && let Some(tip) = self.git.tip(&branch)?
                && self.git.contains(&tip, commit)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

enum Owner {
    Actor(Actor),
    Shared,
}
