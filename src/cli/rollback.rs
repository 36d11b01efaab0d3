//! `orchestrate rollback`: a team's branch or the base branch goes back to a commit at which it stood before, and whoever built on the rest starts anew.

use clap::Args;

use super::human::{run_so_far, tell};
use super::run::git_error;
use super::{CliError, Global, Place};
use crate::core::State;
use crate::core::event::{BranchReturn, Event};
use crate::exit_code::ExitCode;
use crate::ids::{BranchName, MergeId, Oid};
use crate::plan::Plan;
use crate::shell::git::Git;
use crate::shell::rollback::{Obstacle, Question, Return};

/// Go back to the last good commit of a team's branch or of the base branch
///
/// What was merged after that commit is undone, and whoever made it, or built on it, starts anew from there and is told why. Nothing is lost: where each branch
/// stood is kept under `refs/orchestrate/undone/`, and what agents had made under `refs/orchestrate/kept/`. The commit must be one at which the branch has stood
/// in this run: `git log --first-parent BRANCH` lists them.
#[derive(Debug, Args)]
pub(super) struct RollbackArguments {
    /// The team's id (`1`), or the base branch's name (`main`)
    #[arg(value_name = "TEAM|main")]
    what: String,
    /// The last good commit
    #[arg(long, value_name = "COMMIT")]
    to: String,
    /// Let teams that are built on what is undone go back too
    #[arg(long)]
    cascade: bool,
    /// Say what would be undone, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub(super) fn run(global: &Global, arguments: &RollbackArguments) -> Result<ExitCode, CliError> {
    let (common_directory, reader, state) = run_so_far(global)?;
    let plan = state
        .plan
        .clone()
        .ok_or_else(|| CliError::message(ExitCode::Usage, "there is no run here yet").hint("orchestrate run"))?;
    let git = Git::open(&Place::find(global)?.repository).map_err(git_error)?;
    let branch = branch_meant(&state, &plan, &git, &arguments.what)?;
    if let Some(pending) = &state.rollback {
        return Err(refused(
            format!("`{}` is on its way back to {} already", pending.branch, pending.to),
            "orchestrate status",
        ));
    }
    let to = git.commit_meant(&arguments.to).map_err(git_error)?.ok_or_else(|| {
        refused(
            format!("there is no commit `{}`", arguments.to),
            format!("git log --first-parent --oneline {branch}"),
        )
    })?;
    let question = Question::of(&state, &branch, &to, arguments.cascade)
        .ok_or_else(|| CliError::message(ExitCode::Usage, "there is no run here yet").hint("orchestrate run"))?;
    let found = question
        .work_out(&git)
        .map_err(git_error)?
        .map_err(|Obstacle { reason, remedy }| refused(reason, remedy))?;
    if let Some(hindrance) = git.hindrance(&found.moves).map_err(git_error)? {
        return Err(refused(hindrance, "git status"));
    }
    let words = words_of(&state, &found);
    if arguments.dry_run {
        super::context::print(&format!("{words}; nothing was changed\n"))?;
        return Ok(ExitCode::Done);
    }
    let event = Event::RollbackRequested {
        branch,
        to,
        cascade: arguments.cascade,
    };
    tell(&common_directory, &reader, &event, &words)
}

fn refused(reason: impl Into<String>, remedy: impl Into<String>) -> CliError {
    CliError::message(ExitCode::Usage, reason.into()).hint(remedy)
}

/// The branch that is to go back, if it may.
fn branch_meant(state: &State, plan: &Plan, git: &Git, what: &str) -> Result<BranchName, CliError> {
    let team = plan
        .teams()
        .find(|team| team.id.as_str() == what || team.branch.as_str() == what);
    let base = &plan.repository.base;
    let Some(team) = team else {
        if what == base.as_str() {
            return Ok(base.clone());
        }
        let teams: Vec<String> = plan.teams().map(|team| team.id.to_string()).collect();
        return Err(refused(
            format!("`{what}` is no team of the plan and not its base branch"),
            format!("name one of {}, or {base}", teams.join(", ")),
        ));
    };
    let team_state = state.teams.get(&team.id);
    if let Some(landed) = team_state.and_then(|team_state| team_state.landed.as_ref()) {
        let before = git
            .commit(landed)
            .ok()
            .and_then(|commit| commit.parents.first().cloned())
            .unwrap_or_else(|| landed.clone());
        return Err(refused(
            format!("team {} is on `{base}` since {}", team.id, short(landed)),
            format!(
                "orchestrate rollback {base} --to {} undoes its landing first",
                short(&before)
            ),
        ));
    }
    if team_state.is_none_or(|team_state| team_state.tip.is_none()) {
        return Err(refused(
            format!("the branch of team {} has not begun yet", team.id),
            "orchestrate status",
        ));
    }
    Ok(team.branch.clone())
}

/// What it means, in a sentence.
fn words_of(state: &State, found: &Return) -> String {
    let moves: Vec<String> = found.moves.iter().map(move_words).collect();
    let undone: Vec<String> = found.undone.iter().filter_map(|id| merge_words(state, *id)).collect();
    let undone = if undone.is_empty() {
        "no merge is undone".to_owned()
    } else {
        format!("undone: {}", undone.join(", "))
    };
    format!("{}; {undone}", moves.join(", "))
}

fn move_words(returned: &BranchReturn) -> String {
    let anew = if returned.anew { " and begins anew" } else { "" };
    format!(
        "`{}` goes back from {} to {}{anew}",
        returned.branch,
        short(&returned.from),
        short(&returned.to)
    )
}

fn merge_words(state: &State, merge_id: MergeId) -> Option<String> {
    let merge = state.merges.get(&merge_id)?;
    Some(format!("`{}` into `{}`", merge.source_branch, merge.target))
}

fn short(oid: &Oid) -> &str {
    oid.as_str().get(..12).unwrap_or(oid.as_str())
}
