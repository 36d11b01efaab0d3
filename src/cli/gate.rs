//! `orchestrate gate`: whether a phase or the whole plan has landed, decided from git alone.

use std::io;

use clap::Args;

use super::context::print;
use super::{CliError, Global, Place, plan as plan_helper};
use crate::exit_code::ExitCode;
use crate::report::gate_text;
use crate::report::style::Style;
use crate::shell::git::{Git, GitError};
use crate::shell::landed;

/// Decide from git alone whether a phase has landed
///
/// Needs no journal: it answers the same on a fresh clone in CI. Exit status 0: it holds; 4: something is missing.
#[derive(Debug, Args)]
pub(super) struct GateArguments {
    /// The phase's id; the base branch's name (main) for the whole plan
    #[arg(value_name = "PHASE")]
    gate: String,
    /// Print one JSON document for programs
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(global: &Global, arguments: &GateArguments) -> Result<ExitCode, CliError> {
    let place = Place::find(global)?;
    let git = Git::open(&place.repository).map_err(git_error)?;
    let plan = plan_helper::load(&place)?;
    let phase = plan.phases.iter().find(|phase| phase.id.as_str() == arguments.gate);
    if phase.is_none() && arguments.gate != plan.repository.base.as_str() && arguments.gate != "main" {
        let ids: Vec<&str> = plan.phases.iter().map(|phase| phase.id.as_str()).collect();
        return Err(
            CliError::message(ExitCode::Usage, format!("the plan has no phase `{}`", arguments.gate)).hint(format!(
                "its phases are {}; `main` asks for all of them",
                ids.join(", ")
            )),
        );
    }
    if git.is_shallow() {
        return Err(CliError::message(
            ExitCode::Environment,
            "this clone is shallow: the history that proves the gate is not in it",
        )
        .hint("git fetch --unshallow"));
    }
    let verdict = landed::decide(&plan, &git, phase.map(|phase| &phase.id)).map_err(git_error)?;
    if arguments.json {
        print(&gate_text::json(&arguments.gate, &verdict).map_err(anyhow::Error::from)?)?;
    } else {
        print(&gate_text::text(&arguments.gate, &verdict, Style::of(&io::stdout())))?;
    }
    Ok(if verdict.holds() {
        ExitCode::Done
    } else {
        ExitCode::GateNotMet
    })
}

fn git_error(error: GitError) -> CliError {
    let hint = error.hint();
    let error = CliError::new(ExitCode::Environment, error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
