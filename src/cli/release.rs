//! `orchestrate release`: checks what a release needs, asks, moves the release branch and sets the tag.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use clap::Args;

use super::audit::{checked_accepted, whole_history};
use super::context::{journal_error, now, print};
use super::run::git_error;
use super::{CliError, Global, Place, plan as plan_helper};
use crate::exit_code::ExitCode;
use crate::plan::Approval;
use crate::report::release_text;
use crate::report::style::Style;
use crate::shell::git::{Git, GitError};
use crate::shell::release::{self, ReleaseError};

/// Check everything that a release needs, ask, move the release branch and set the tag
///
/// Every check is made anew: that all teams have landed and every landing holds (`orchestrate audit`), that no question is open, that the deliverables and
/// the documentation are there, and that the base branch's gate passes on its tree at this moment. What only you can know is listed, and saying yes vouches
/// for it. The branch only moves forward and the tag is never moved. Nothing is pushed.
/// Exit status 0: released; 4: a check fails; 6: it waits for your yes.
#[derive(Debug, Args)]
pub(super) struct ReleaseArguments {
    /// Do not ask
    #[arg(long, conflicts_with = "check")]
    yes: bool,
    /// Only check
    #[arg(long)]
    check: bool,
    /// A commit that you have looked at and accept although the audit does not (may be given several times)
    #[arg(long = "accept", value_name = "COMMIT")]
    accepted: Vec<String>,
}

/// Runs the command.
pub(super) fn run(global: &Global, arguments: &ReleaseArguments) -> Result<ExitCode, CliError> {
    let place = Place::find(global)?;
    let git = Git::open(&place.repository).map_err(git_error)?;
    let plan = plan_helper::load(&place)?;
    let repository = &plan.repository;
    if repository.release_branch.is_none() && repository.release_tag.is_none() {
        return Err(CliError::message(
            ExitCode::PlanInvalid,
            "the plan names neither a release branch nor a release tag",
        )
        .hint("write `repository.release_branch` and `repository.release_tag` into the plan"));
    }
    whole_history(&git)?;
    let accepted = checked_accepted(&arguments.accepted)?;
    let report = release::check(&plan, &git, &accepted).map_err(release_error)?;
    print(&release_text::text(&report, Style::of(&io::stdout())))?;
    if report.failing() > 0 {
        return Ok(ExitCode::GateNotMet);
    }
    if arguments.check {
        return Ok(ExitCode::Done);
    }
    let targets: Vec<String> = [
        repository
            .release_branch
            .as_ref()
            .map(|branch| format!("move {branch}")),
        repository.release_tag.as_ref().map(|tag| format!("set {tag}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let targets = targets.join(" and ");
    if plan.approvals.release == Approval::Manual && !arguments.yes && !approved(&targets)? {
        return Ok(ExitCode::WaitingForHuman);
    }
    let message = release_text::tag_message(&plan.project, &report);
    release::release(&plan, &git, &report, now(), &message).map_err(release_error)?;
    let commit = report.commit.as_str();
    let mut text = format!("released {commit}: {}\n", targets.replace("move", "moved"));
    if let Some(remote) = &repository.remote {
        let names = [
            repository.release_branch.as_ref().map(ToString::to_string),
            repository.release_tag.clone(),
        ];
        let names: Vec<String> = names.into_iter().flatten().collect();
        text.push_str(&format!(
            "nothing was pushed; to do so: git push {remote} {}\n",
            names.join(" ")
        ));
    }
    print(&text)?;
    Ok(ExitCode::Done)
}

/// Asks on the terminal. Where there is none, nobody has said yes.
fn approved(targets: &str) -> Result<bool, CliError> {
    let failed = |error: io::Error| CliError::new(ExitCode::Environment, error);
    if !io::stdin().is_terminal() {
        return Err(
            CliError::message(ExitCode::WaitingForHuman, "the release waits for your yes")
                .hint("orchestrate release --yes"),
        );
    }
    let mut err = io::stderr().lock();
    write!(err, "{targets}, and vouch for what is by hand? Type yes: ").map_err(failed)?;
    err.flush().map_err(failed)?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(failed)?;
    if line.trim() == "yes" {
        return Ok(true);
    }
    writeln!(err, "not released").map_err(failed)?;
    Ok(false)
}

fn release_error(error: ReleaseError) -> CliError {
    match error {
        // Nothing is forced: what stands in the way is a check that failed a moment too late.
        ReleaseError::Git(
            error @ (GitError::BranchTaken { .. } | GitError::BranchMoved { .. } | GitError::BranchInUse { .. }),
        ) => {
            let hint = error.hint();
            let refused = CliError::new(ExitCode::GateNotMet, error);
            match hint {
                Some(hint) => refused.hint(hint),
                None => refused,
            }
        }
        ReleaseError::Git(error) => git_error(error),
        ReleaseError::Journal(error) => journal_error(error),
        ReleaseError::BaseMoved { .. } => {
            CliError::new(ExitCode::GateNotMet, error).hint("orchestrate release checks it anew")
        }
        ReleaseError::Workspace(_) | ReleaseError::Gate { .. } => CliError::new(ExitCode::Environment, error),
    }
}
