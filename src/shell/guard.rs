//! Guards the branches that agents share: what an agent moves there is kept and put back before anybody builds on it.
//!
//! A human may commit on a team's branch or the base branch, or move them back. An agent may not, and its hook refuses it; an agent that works past its hook
//! leaves a commit of its own there. Every reader of such a branch whose work ends up in a landing asks here where the branch stands, for between the moment
//! that the refs were last looked at and the moment that a merge reads its target, an agent's process has all the time it needs.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::core::State;
use crate::ids::{BranchName, Oid};
use crate::plan::Plan;
use crate::shell::git::{Git, GitError};
use crate::tags::{self, Tag};

/// What the commit hook adds to every commit of an agent's process.
const AGENT_TRAILER: &str = "Orchestrate-Agent";

/// An agent that moves a branch over and over is answered this often within one look.
const LOOKS_MAX: usize = 8;

/// Commits of one agent on a shared branch that are gone through to find what was there before.
const COMMITS_MAX: usize = 1_000;

/// Gives out what is known of shared branches.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    /// Where the base branch stood at the last look, while the state does not say: before the first landing.
    base: Option<Oid>,
    /// What was put back and told. An agent may move a branch to the same commit a thousand times, and that is one thing to know.
    told: BTreeSet<(BranchName, Option<Oid>)>,
}

impl Guard {
    /// What is known of a shared branch now, to look at it later and elsewhere. `None`: this is neither the base branch nor a team's.
    pub fn watch(&self, plan: &Plan, state: &State, branch: &BranchName) -> Option<Watched> {
        let is_base = branch == &plan.repository.base;
        let believed = if is_base {
            let seen = || self.memory.lock().unwrap_or_else(PoisonError::into_inner).base.clone();
            state.base_tip.clone().or_else(seen)
        } else {
            let team = plan.teams().find(|team| &team.branch == branch)?;
            state.teams.get(&team.id).and_then(|team| team.tip.clone())
        };
        Some(Watched {
            branch: branch.clone(),
            believed,
            actors: state
                .actors
                .iter()
                .filter_map(|(actor, actor_state)| {
                    Some(Begun {
                        branch: plan.branch_of(actor)?,
                        since: actor_state.since.clone(),
                    })
                })
                .collect(),
            is_base,
            memory: Arc::clone(&self.memory),
        })
    }
}

/// A shared branch, and what the state knew of it.
#[derive(Clone, Debug)]
pub struct Watched {
    branch: BranchName,
    believed: Option<Oid>,
    actors: Vec<Begun>,
    is_base: bool,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Clone, Debug)]
struct Begun {
    branch: BranchName,
    since: Option<Oid>,
}

impl Watched {
    /// Where the branch stands, once what an agent did to it is undone and kept. A branch that somebody deleted is made again.
    ///
    /// # Errors
    /// There is no such branch and there never was; or it moves faster than it can be put back.
    pub fn tip(&self, git: &Git) -> Result<Oid, GitError> {
        let mut found = None;
        for _ in 0..LOOKS_MAX {
            found = git.tip(&self.branch)?;
            let rightful = match (&found, &self.believed) {
                (Some(found), _) => self.rightful(git, found)?,
                (None, Some(believed)) => believed.clone(),
                (None, None) => {
                    return Err(GitError::NoSuchBranch {
                        branch: self.branch.clone(),
                    });
                }
            };
            if found.as_ref() == Some(&rightful) || self.put_back(git, found.as_ref(), &rightful)? {
                if self.is_base {
                    self.memory().base = Some(rightful.clone());
                }
                return Ok(rightful);
            }
        }
        Err(GitError::BranchMoved {
            branch: self.branch.clone(),
            expected: self.believed.as_ref().map(Oid::to_string).unwrap_or_default(),
            found,
        })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `false`: it moved again in this moment.
    fn put_back(&self, git: &Git, found: Option<&Oid>, rightful: &Oid) -> Result<bool, GitError> {
        if let Some(found) = found {
            git.keep(found, self.branch.as_str())?;
        }
        if let Err(error) = git.restore(&self.branch, rightful, found) {
            tracing::debug!("branch `{}` could not be put back to {rightful}: {error}", self.branch);
            return Ok(false);
        }
        let branch = &self.branch;
        if !self.memory().told.insert((branch.clone(), found.cloned())) {
            return Ok(true);
        }
        match found {
            Some(found) => tracing::warn!(
                "branch `{branch}` was moved to {found} by somebody, beside the merges; it stands at {rightful} again, and refs/orchestrate/kept/ has what was there"
            ),
            None => {
                tracing::warn!("branch `{branch}` was deleted by somebody; it is there again, at {rightful}");
            }
        }
        Ok(true)
    }

    /// Where the branch would stand without what agents put on it: here, when no agent did.
    fn rightful(&self, git: &Git, found: &Oid) -> Result<Oid, GitError> {
        // Before anybody has begun, whatever is there is where everybody begins: also what agents of an earlier run made, and a human took over.
        let has_begun = self.actors.iter().any(|actor| actor.since.is_some());
        if self.believed.is_none() && !has_begun {
            return Ok(found.clone());
        }
        let under = self.without_agents(git, found)?;
        // Under the agent's commits lies what a merge or a human made since the state was told, or nothing new.
        Ok(match (under, &self.believed) {
            (Some(under), _) if &under == found => under,
            (Some(under), Some(believed)) if git.contains(&under, believed)? => under,
            (Some(under), None) => under,
            (Some(_) | None, Some(believed)) => believed.clone(),
            (None, None) => found.clone(),
        })
    }

    /// The newest commit on the way down that no agent made, or that the branch held before.
    fn without_agents(&self, git: &Git, found: &Oid) -> Result<Option<Oid>, GitError> {
        let mut at = found.clone();
        for _ in 0..COMMITS_MAX {
            if self.is_known(git, &at)? || !self.is_an_actor_s(git, &at)? {
                return Ok(Some(at));
            }
            match git.commit(&at)?.parents.into_iter().next() {
                Some(parent) => at = parent,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Whether the branch held this commit before any of these agents began.
    fn is_known(&self, git: &Git, commit: &Oid) -> Result<bool, GitError> {
        if let Some(believed) = &self.believed {
            return git.contains(believed, commit);
        }
        for since in self.actors.iter().filter_map(|actor| actor.since.as_ref()) {
            if git.contains(since, commit)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a process of an agent or a leader has made this commit: the hook's trailer says so, or its tag and the branch that it is on.
    fn is_an_actor_s(&self, git: &Git, commit: &Oid) -> Result<bool, GitError> {
        let message = tags::parse(&git.commit(commit)?.message);
        if message.trailer(AGENT_TRAILER).is_some() {
            return Ok(true);
        }
        if !matches!(message.tag, Some(Ok(Tag::Agent { .. } | Tag::Team { .. }))) {
            return Ok(false);
        }
        for actor in &self.actors {
            if let Some(tip) = git.tip(&actor.branch)?
                && git.contains(&tip, commit)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
