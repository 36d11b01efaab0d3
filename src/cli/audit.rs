//! `orchestrate audit`: derives every landing again from git alone, and says which tree is not what its merge gives.

use std::io;

use clap::Args;

use super::context::print;
use super::run::git_error;
use super::{CliError, Global, Place, plan as plan_helper};
use crate::exit_code::ExitCode;
use crate::report::audit_text;
use crate::report::style::Style;
use crate::shell::audit;
use crate::shell::git::Git;

/// Derive every landing again from git alone
///
/// Each merge on the base branch and on the teams' branches is merged a second time, by libgit2 where that can read the repository, and must give the same
/// tree. A landing without a receipt, an edited tree, a commit that got onto a branch beside the merges, lines that are gone although a clean merge keeps
/// them: each is reported. Settled conflicts are listed with the lines of either side that are gone.
/// Needs no journal and writes nothing. Exit status 0: it holds; 4: it does not.
#[derive(Debug, Args)]
pub(super) struct AuditArguments {
    /// Print one JSON document for programs
    #[arg(long)]
    json: bool,
    /// A commit that you have looked at and accept as it is (may be given several times)
    #[arg(long = "accept", value_name = "COMMIT")]
    accepted: Vec<String>,
}

/// An abbreviated commit is at least this long, so that it means one.
const ABBREVIATION_MIN: usize = 7;

/// Runs the command.
pub(super) fn run(global: &Global, arguments: &AuditArguments) -> Result<ExitCode, CliError> {
    let place = Place::find(global)?;
    let git = Git::open(&place.repository).map_err(git_error)?;
    let plan = plan_helper::load(&place)?;
    whole_history(&git)?;
    let accepted = checked_accepted(&arguments.accepted)?;
    let audit = audit::audit(&plan, &git, &accepted).map_err(git_error)?;
    if arguments.json {
        print(&audit_text::json(&audit).map_err(anyhow::Error::from)?)?;
    } else {
        print(&audit_text::text(&audit, Style::of(&io::stdout())))?;
    }
    Ok(if audit.holds() {
        ExitCode::Done
    } else {
        ExitCode::GateNotMet
    })
}

/// Refuses a clone whose history is cut off.
pub(super) fn whole_history(git: &Git) -> Result<(), CliError> {
    if git.is_shallow() {
        return Err(CliError::message(
            ExitCode::Environment,
            "this clone is shallow: the history that proves it is not in it",
        )
        .hint("git fetch --unshallow"));
    }
    Ok(())
}

/// The accepted commits as the audit wants them.
pub(super) fn checked_accepted(accepted: &[String]) -> Result<Vec<String>, CliError> {
    let is_commit = |text: &String| text.len() >= ABBREVIATION_MIN && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Some(odd) = accepted.iter().find(|text| !is_commit(text)) {
        return Err(
            CliError::message(ExitCode::Usage, format!("`{odd}` is no commit to accept")).hint(format!(
                "give at least {ABBREVIATION_MIN} hexadecimal digits, as `orchestrate audit` prints them"
            )),
        );
    }
    Ok(accepted.iter().map(|text| text.to_ascii_lowercase()).collect())
}
