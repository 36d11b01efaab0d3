//! `orchestrate stop`: asks the run in another terminal to stop.

use std::fs::{self, File};
use std::path::Path;

use clap::Args;
use rustix::process::Signal;

use super::context::{common_directory, journal_error, now, print};
use super::{CliError, Global, Place};
use crate::core::event::Event;
use crate::exit_code::ExitCode;
use crate::shell::agent::processes::{ProcessHandle, boot_id};
use crate::shell::agent::record::{AttemptDirectory, StartedRecord, read_record};
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
        print(&without_a_run(&common_directory, arguments.now)?)?;
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

/// What there is to do, and to say, when no run is alive: its agents may live on without it.
fn without_a_run(common_directory: &Path, now: bool) -> Result<String, CliError> {
    if Journal::open_read_only(common_directory)
        .map_err(journal_error)?
        .is_none()
    {
        return Ok("no run in this repository yet, so there is nothing to stop\n".to_owned());
    }
    let living = living_attempts(&journal::directory(common_directory).join("attempts"));
    let names = living
        .iter()
        .map(|living| living.name.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    if living.is_empty() {
        return Ok("no run is alive, so there is nothing to stop; `orchestrate run` goes on with it\n".to_owned());
    }
    if !now {
        return Ok(format!(
            "no run is alive; agents that work on without it: {names}; `orchestrate run` takes them over, `orchestrate stop --now` ends them\n"
        ));
    }
    for attempt in &living {
        // First the file, then the signal: a supervisor that is just starting looks for the file when it can hear.
        File::create(attempt.directory.stop_request()).map_err(|error| CliError::new(ExitCode::Environment, error))?;
        // A supervisor that has ended meanwhile has written how.
        let _ = attempt.supervisor.signal(Signal::TERM);
    }
    Ok(format!(
        "no run is alive; asked agents that worked on without it to end: {names}; their commits stay\n"
    ))
}

/// An attempt whose supervisor lives.
struct LivingAttempt {
    name: String,
    directory: AttemptDirectory,
    supervisor: ProcessHandle,
}

/// Looks through `attempts/<actor>/<n>/`. A record that cannot be read names nobody whom we could signal safely.
fn living_attempts(attempts: &Path) -> Vec<LivingAttempt> {
    let entries = |directory: &Path| fs::read_dir(directory).into_iter().flatten().flatten();
    let mut living: Vec<LivingAttempt> = entries(attempts)
        .flat_map(|actor| entries(&actor.path()))
        .filter_map(|attempt| {
            let directory = AttemptDirectory::at(attempt.path());
            if directory.exit().exists() {
                return None;
            }
            let started = read_record::<StartedRecord>(&directory.started()).ok().flatten()?;
            let supervisor = (started.boot_id == boot_id())
                .then(|| ProcessHandle::open(started.supervisor))
                .flatten()?;
            let name = attempt.path().parent()?.file_name()?.to_str()?.to_owned();
            Some(LivingAttempt {
                name,
                directory,
                supervisor,
            })
        })
        .collect();
    living.sort_by(|one, other| one.name.cmp(&other.name));
    living
}
