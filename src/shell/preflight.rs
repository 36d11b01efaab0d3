//! What must be there before anything is started: looked at once, so that the answer is one clear error and nothing half done.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::ids::{Actor, BranchName};
use crate::plan::{Driver, Plan};
use crate::shell::git::{Git, GitError};
use crate::shell::probe::find_program;

/// What is missing.
#[derive(Debug, Error)]
pub enum PreflightError {
    /// The repository could not be read.
    #[error("{0}")]
    Git(#[from] GitError),
    /// There is nothing to start from.
    #[error("the repository has no commit yet: agents need one to start from")]
    NoCommits,
    /// The plan's base branch is not there.
    #[error("the base branch `{0}` does not exist")]
    NoBase(BranchName),
    /// An agent's program is not on the path.
    #[error("`{program}` is not on the PATH; {user} needs it")]
    NoProgram {
        /// The program.
        program: String,
        /// Who needs it.
        user: Actor,
    },
    /// Branches of the plan exist with content that no run of this plan made.
    #[error("branches of the plan exist already with other content: {}", names(.0))]
    BranchesTaken(Vec<BranchName>),
}

fn names(branches: &[BranchName]) -> String {
    branches
        .iter()
        .map(|branch| format!("`{branch}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

impl PreflightError {
    /// What to do.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Git(error) => error.hint().into_iter().collect(),
            Self::NoCommits => vec!["git commit --allow-empty -m 'Start'".to_owned()],
            Self::NoBase(base) => vec![
                format!("git branch {base}"),
                "or set `repository.base` in the plan to the branch that you work on".to_owned(),
            ],
            Self::NoProgram { program, .. } if program == "claude" => vec![
                "npm install --global @anthropic-ai/claude-code".to_owned(),
                "to see a run without it: orchestrate demo".to_owned(),
            ],
            Self::NoProgram { .. } => vec!["install it, or set `agent.program` in the plan".to_owned()],
            Self::BranchesTaken(branches) => branches
                .iter()
                .map(|branch| format!("git branch -m {branch} {branch}-old"))
                .collect(),
        }
    }
}

/// Looks at everything that a run needs. `is_new` says that the repository has no journal: only then are the plan's branches unexpected.
pub fn check(git: &Git, plan: &Plan, is_new: bool) -> Result<(), PreflightError> {
    if !git.has_commits()? {
        return Err(PreflightError::NoCommits);
    }
    let base = git
        .tip(&plan.repository.base)?
        .ok_or_else(|| PreflightError::NoBase(plan.repository.base.clone()))?;
    check_programs(git, plan)?;
    if is_new {
        let mut taken = Vec::new();
        for branch in branches(plan) {
            if let Some(tip) = git.tip(&branch)?
                && !git.contains(&base, &tip)?
            {
                taken.push(branch);
            }
        }
        if !taken.is_empty() {
            return Err(PreflightError::BranchesTaken(taken));
        }
    }
    Ok(())
}

fn branches(plan: &Plan) -> Vec<BranchName> {
    plan.teams()
        .flat_map(|team| {
            [team.branch.clone(), team.leader.branch.clone()]
                .into_iter()
                .chain(team.agents.iter().map(|agent| agent.branch.clone()))
        })
        .collect()
}

fn check_programs(git: &Git, plan: &Plan) -> Result<(), PreflightError> {
    let actors = plan.teams().flat_map(|team| {
        team.agents
            .iter()
            .map(|agent| (Actor::Agent(agent.id.clone()), &agent.settings))
            .chain([(Actor::Leader(team.id.clone()), &team.leader.settings)])
    });
    let mut seen = BTreeSet::new();
    for (actor, settings) in actors {
        if let Driver::Claude { program } = &settings.driver
            && seen.insert(program.clone())
            && find_program(git.top_level(), program).is_none()
        {
            return Err(PreflightError::NoProgram {
                program: program.clone(),
                user: actor,
            });
        }
    }
    Ok(())
}
