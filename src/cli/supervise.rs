//! Hidden commands of the agents' own machinery: the supervisor, the step before an agent's program, and the hook before an agent stops.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::CliError;
use crate::exit_code::ExitCode;
use crate::shell::agent::{self, StopHookAnswer};

/// Supervise one attempt.
#[derive(Debug, Args)]
pub(super) struct Supervise {
    /// The attempt's directory
    directory: PathBuf,
}

impl Supervise {
    /// Returns when the attempt has ended.
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        agent::supervise(&self.directory).map_err(|error| CliError::new(ExitCode::Environment, error))?;
        Ok(ExitCode::Done)
    }
}

/// Become an agent's program.
#[derive(Debug, Args)]
pub(super) struct ExecuteAgent {
    /// The supervisor's process number
    supervisor: i32,
    /// The program
    program: OsString,
    /// Its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl ExecuteAgent {
    /// Returns only when the program cannot be run.
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        let error = agent::execute_agent(self.supervisor, &self.program, &self.arguments);
        let context = format!("cannot run `{}`", self.program.display());
        Err(CliError::new(
            ExitCode::Environment,
            anyhow::Error::new(error).context(context),
        ))
    }
}

/// Decide whether an agent may stop.
#[derive(Debug, Args)]
pub(super) struct StopHook {
    /// What the agent has to have done
    order: PathBuf,
}

impl StopHook {
    /// Refuses with the exit status of a gate that is not met, and a message on standard error.
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        match agent::stop_hook(&self.order).map_err(|error| CliError::new(ExitCode::Internal, error))? {
            StopHookAnswer::Allow => Ok(ExitCode::Done),
            StopHookAnswer::Refuse { message } => Err(CliError::message(ExitCode::GateNotMet, message)),
        }
    }
}
