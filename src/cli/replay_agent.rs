//! Hidden command: the agent of the replay driver.

use std::path::PathBuf;

use clap::Args;

use super::CliError;
use crate::exit_code::ExitCode;
use crate::shell::agent::driver;

/// Commit what a finished tree holds.
#[derive(Debug, Args)]
pub(super) struct ReplayAgent {
    /// What is to be committed
    order: PathBuf,
}

impl ReplayAgent {
    /// Returns when the work is committed.
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        driver::replay(&self.order).map_err(|error| CliError::new(ExitCode::Internal, error))?;
        Ok(ExitCode::Done)
    }
}
