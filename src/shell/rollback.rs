//! Works out from git what a way back means: which branches move where, which merges are undone, and who built on them. Then does it.

use std::collections::BTreeSet;

use crate::core::event::BranchReturn;
use crate::core::{MergeState, State};
use crate::ids::{Actor, BranchName, MergeId, Oid, TeamId};
use crate::shell::git::{Git, GitError};

/// More history than this is not searched.
const HISTORY_MAX: usize = 1_000_000;

/// What is asked for, with what the state knows of the branches.
#[derive(Clone, Debug)]
pub struct Question {
    branch: BranchName,
    to: Oid,
    cascade: bool,
    base: BranchName,
    base_tip: Option<Oid>,
    teams: Vec<TeamStand>,
    actors: Vec<(Actor, BranchName, TeamId)>,
    merges: Vec<(MergeId, BranchName, Oid)>,
}

#[derive(Clone, Debug)]
struct TeamStand {
    id: TeamId,
    branch: BranchName,
    /// `None`: it has not begun, or is to begin anew.
    tip: Option<Oid>,
    begun: Option<Oid>,
    landed: Option<Oid>,
}

/// What a way back means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return {
    /// What moves, the branch that was asked for first.
    pub moves: Vec<BranchReturn>,
    /// Merges that are in no branch any more.
    pub undone: Vec<MergeId>,
    /// Actors whose branch holds something of what is undone.
    pub tainted: Vec<Actor>,
}

/// Why it must not be done, and what helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// A sentence.
    pub reason: String,
    /// The next command.
    pub remedy: String,
}

impl Question {
    /// The question as a run in this state has it; `None` before the run has a plan.
    pub fn of(state: &State, branch: &BranchName, to: &Oid, cascade: bool) -> Option<Self> {
        let plan = state.plan.as_ref()?;
        let teams = plan.teams().filter_map(|team| {
            let team_state = state.teams.get(&team.id)?;
            Some(TeamStand {
                id: team.id.clone(),
                branch: team.branch.clone(),
                tip: team_state.tip.clone(),
                begun: team_state.begun.clone(),
                landed: team_state.landed.clone(),
            })
        });
        let actors = state.actors.keys().filter_map(|actor| {
            let branch = plan.branch_of(actor)?.clone();
            Some((actor.clone(), branch, plan.team_of(actor)?.id.clone()))
        });
        let merges = state.merges.iter().filter_map(|(merge_id, merge)| match &merge.state {
            MergeState::Merged { commit, .. } => Some((*merge_id, merge.target.clone(), commit.clone())),
            MergeState::Queued
            | MergeState::Preparing
            | MergeState::Prepared { .. }
            | MergeState::Gating { .. }
            | MergeState::Passed { .. }
            | MergeState::Landing { .. }
            | MergeState::Conflict { .. }
            | MergeState::Rejected { .. } => None,
        });
        Some(Self {
            branch: branch.clone(),
            to: to.clone(),
            cascade,
            base: plan.repository.base.clone(),
            base_tip: state.base_tip.clone(),
            teams: teams.collect(),
            actors: actors.collect(),
            merges: merges.collect(),
        })
    }

    /// Works out what it means.
    pub fn work_out(&self, git: &Git) -> Result<Result<Return, Obstacle>, GitError> {
        let from = if self.branch == self.base {
            self.base_tip.as_ref()
        } else {
            let team = self.teams.iter().find(|team| team.branch == self.branch);
            team.and_then(|team| team.tip.as_ref())
        };
        let Some(from) = from else {
            return Ok(Err(Obstacle::new(
                format!("nothing has landed on `{}` in this run", self.branch),
                "orchestrate status",
            )));
        };
        let log = format!("git log --first-parent --oneline {}", self.branch);
        let chain: Vec<Oid> = git
            .first_parents(from, HISTORY_MAX)?
            .into_iter()
            .map(|commit| commit.oid)
            .collect();
        let place = match chain.iter().position(|commit| commit == &self.to) {
            None => {
                return Ok(Err(Obstacle::new(
                    format!("`{}` never stood at {}", self.branch, self.to),
                    log,
                )));
            }
            Some(0) => {
                return Ok(Err(Obstacle::new(
                    format!("`{}` stands at {} already", self.branch, self.to),
                    log,
                )));
            }
            Some(place) => place,
        };
        if let Some(limit) = self.limit(&chain)
            && place > limit
        {
            return Ok(Err(Obstacle::new(
                format!(
                    "{} is older than this run's work on `{}`, which began at {}",
                    self.to, self.branch, chain[limit]
                ),
                format!("orchestrate rollback {} --to {}", self.branch, chain[limit]),
            )));
        }
        let mut moves = vec![BranchReturn {
            branch: self.branch.clone(),
            from: from.clone(),
            to: self.to.clone(),
            anew: false,
        }];
        // Whatever holds any of what is undone of the chain holds the oldest of it.
        let oldest = (self.branch == self.base).then(|| chain[place - 1].clone());
        if let Some(oldest) = &oldest {
            let removed: BTreeSet<&Oid> = chain[..place].iter().collect();
            for team in &self.teams {
                let stays_landed = team.landed.as_ref().is_some_and(|landed| !removed.contains(landed));
                // A branch that nobody works on yet may have been put where it stands by an earlier way back.
                let tip = match &team.tip {
                    Some(tip) => Some(tip.clone()),
                    None => git.tip(&team.branch)?,
                };
                if let (Some(tip), false) = (tip, stays_landed)
                    && git.contains(&tip, oldest)?
                {
                    moves.push(self.return_of(git, team, tip, oldest)?);
                }
            }
        }
        let at_work: Vec<String> = moves[1..]
            .iter()
            .filter(|returned| {
                let team = self.teams.iter().find(|team| team.branch == returned.branch);
                team.is_some_and(|team| team.tip.is_some())
            })
            .map(|returned| format!("`{}`", returned.branch))
            .collect();
        if !at_work.is_empty() && !self.cascade {
            let (is, goes) = if at_work.len() == 1 {
                ("is", "it goes")
            } else {
                ("are", "they go")
            };
            return Ok(Err(Obstacle::new(
                format!(
                    "{} {is} built on what would be undone; with `--cascade` {goes} back too",
                    at_work.join(", ")
                ),
                format!("orchestrate rollback {} --to {} --cascade", self.branch, self.to),
            )));
        }
        let mut undone = Vec::new();
        for (merge_id, target, commit) in &self.merges {
            if let Some(returned) = moves.iter().find(|returned| &returned.branch == target)
                && !git.contains(&returned.to, commit)?
            {
                undone.push(*merge_id);
            }
        }
        let tainted = self.tainted(git, &moves, oldest.as_ref())?;
        Ok(Ok(Return { moves, undone, tainted }))
    }

    /// The oldest place on the chain that a branch may go back to.
    fn limit(&self, chain: &[Oid]) -> Option<usize> {
        if self.branch == self.base {
            let landings: BTreeSet<&Oid> = self
                .merges
                .iter()
                .filter(|(_, target, _)| target == &self.base)
                .map(|(_, _, commit)| commit)
                .collect();
            let oldest = chain.iter().rposition(|commit| landings.contains(commit));
            return Some(oldest.map_or(0, |place| (place + 1).min(chain.len() - 1)));
        }
        let team = self.teams.iter().find(|team| team.branch == self.branch)?;
        let begun = team.begun.as_ref()?;
        chain.iter().position(|commit| commit == begun)
    }

    /// Where a team goes back to that is built on what is undone: its newest commit that is not, or where the base branch goes.
    fn return_of(&self, git: &Git, team: &TeamStand, tip: Oid, oldest: &Oid) -> Result<BranchReturn, GitError> {
        let chain = match &team.tip {
            Some(tip) => git.first_parents(tip, HISTORY_MAX)?,
            None => Vec::new(),
        };
        for commit in chain {
            if git.contains(&commit.oid, oldest)? {
                continue;
            }
            let is_own =
                !git.contains(&self.to, &commit.oid)? || team.begun.as_ref().is_some_and(|begun| begun == &commit.oid);
            if is_own {
                return Ok(BranchReturn {
                    branch: team.branch.clone(),
                    from: tip,
                    to: commit.oid,
                    anew: false,
                });
            }
            break;
        }
        Ok(BranchReturn {
            branch: team.branch.clone(),
            from: tip,
            to: self.to.clone(),
            anew: true,
        })
    }

    /// Actors whose branch holds something of what is undone.
    fn tainted(&self, git: &Git, moves: &[BranchReturn], oldest: Option<&Oid>) -> Result<Vec<Actor>, GitError> {
        let mut tainted = Vec::new();
        for (actor, branch, team_id) in &self.actors {
            let Some(tip) = git.tip(branch)? else { continue };
            let mut is_tainted = match oldest {
                Some(oldest) => git.contains(&tip, oldest)?,
                None => false,
            };
            let own = self.teams.iter().find(|team| &team.id == team_id);
            let returned = moves
                .iter()
                .find(|returned| own.is_some_and(|own| own.branch == returned.branch));
            if let (Some(returned), false) = (returned, is_tainted) {
                let hidden = std::slice::from_ref(&returned.to);
                let undone: BTreeSet<Oid> = git
                    .commits_between(&returned.from, hidden, HISTORY_MAX)?
                    .into_iter()
                    .map(|commit| commit.oid)
                    .collect();
                is_tainted = git
                    .commits_between(&tip, hidden, HISTORY_MAX)?
                    .iter()
                    .any(|commit| undone.contains(&commit.oid));
            }
            if is_tainted {
                tainted.push(actor.clone());
            }
        }
        Ok(tainted)
    }

    /// Does it. `Err`: why nothing was done.
    pub fn perform(&self, git: &Git) -> Result<Result<Return, Obstacle>, GitError> {
        let found = match self.work_out(git)? {
            Ok(found) => found,
            Err(obstacle) => return Ok(Err(obstacle)),
        };
        Ok(match git.return_branches(&found.moves)? {
            None => Ok(found),
            Some(reason) => Err(Obstacle::new(reason, "orchestrate status")),
        })
    }
}

impl Obstacle {
    fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }
}
