//! One file per kind of agent: how it is started, and what its end means.

mod claude;
mod command;
mod outcome;
mod prices;
mod replay;

pub use outcome::conclude;
pub use prices::estimated_cost;
pub use replay::{ReplayError, ReplayOrder, replay};

use std::io;
use std::path::Path;

use super::launch::Launch;
use super::record::{AttemptDirectory, Dialect, Fallback, Invocation, PoliteEnd, SessionAccount};
use crate::plan::Driver;

/// What a driver needs to prepare a start.
pub(super) struct Preparation<'a> {
    pub(super) launch: &'a Launch,
    pub(super) directory: &'a AttemptDirectory,
    /// Our own program, for hooks.
    pub(super) own_program: &'a Path,
    /// What the agent's program can do.
    pub(super) capabilities: &'a Capabilities,
    /// The commit that the workspace stands at, if it has one.
    pub(super) head: Option<String>,
    /// What the session that is to be continued has cost before.
    pub(super) continued: Option<SessionAccount>,
}

/// What a program of a vendor can do, by its own help text: versions differ in the flags they know.
#[derive(Clone, Debug, Default)]
pub(super) struct Capabilities {
    help: String,
}

impl Capabilities {
    pub(super) fn of_help(help: String) -> Self {
        Self { help }
    }

    fn knows(&self, flag: &str) -> bool {
        self.help.contains(flag)
    }
}

/// How a driver wants its agent started.
pub(super) struct Start {
    pub(super) dialect: Dialect,
    pub(super) invocation: Invocation,
    pub(super) fallback: Option<Fallback>,
    pub(super) set: Vec<(String, String)>,
    pub(super) polite_end: PoliteEnd,
}

/// Writes the files that the agent needs into the attempt's directory, and says how it is started.
pub(super) fn prepare(preparation: &Preparation<'_>) -> io::Result<Start> {
    match &preparation.launch.settings.driver {
        Driver::Claude { program } => claude::prepare(preparation, program),
        Driver::Command { command } => Ok(command::prepare(preparation, command)),
        Driver::Replay => replay::prepare(preparation),
    }
}
