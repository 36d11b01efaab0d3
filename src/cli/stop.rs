//! `orchestrate stop`: asks the run in another terminal to stop.

use clap::Args;

use super::context::{common_directory, journal_error, now, print};
use super::{CliError, Global, Place};
use crate::core::event::Event;
use crate::exit_code::ExitCode;
use crate::shell::journal::{self, Journal};

/// Stop the run; `orchestrate run` goes on later
#[derive(Debug, Args)]
pub(super) struct StopArguments {
    /// End the agents that work at this moment too, instead of leaving them to finish
    #[arg(long)]
    now: bool,
}

/// Runs the command.
pub(super) fn run(global: &Global, arguments: &StopArguments) -> Result<ExitCode, CliError> {
    let place = Place::find(global)?;
    let common_directory = common_directory(&place)?;
    let Some(holder) = Journal::lock_holder(&common_directory).map_err(journal_error)? else {
        let text = match Journal::open_read_only(&common_directory).map_err(journal_error)? {
            None => "no run in this repository yet, so there is nothing to stop\n",
            Some(_) if arguments.now => {
                "no run is alive, so nobody is there to end agents that may still work: `orchestrate run` takes them over, `orchestrate stop --now` ends them then\n"
            }
            Some(_) => "no run is alive, so there is nothing to stop; `orchestrate run` goes on with it\n",
        };
        print(text)?;
        return Ok(ExitCode::Done);
    };
    journal::post(&common_directory, now(), &Event::StopRequested { now: arguments.now }).map_err(journal_error)?;
    let who = holder.map(|holder| format!(" ({holder})")).unwrap_or_default();
    let what = if arguments.now {
        "it starts nothing more, ends its agents and then itself; their commits stay"
    } else {
        "it starts nothing more, finishes what it is writing and ends; agents that work live on, and the next `orchestrate run` takes them over"
    };
    print(&format!("asked the run{who} to stop: {what}\n"))?;
    Ok(ExitCode::Done)
}
