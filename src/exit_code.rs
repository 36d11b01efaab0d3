//! The exit codes: a contract with scripts and CI. The same table stands in the README.

use std::process::ExitCode as ProcessExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done, or what was asked holds.
    Done = 0,
    /// A bug of ours.
    Internal = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The plan, a prompt or a specification is invalid.
    PlanInvalid = 3,
    /// A gate is not met.
    GateNotMet = 4,
    /// Verification found a difference.
    NotConforming = 5,
    /// The run stopped because a human is needed.
    WaitingForHuman = 6,
    /// Something outside is missing or unfit: git, an agent's program, a repository, the disk.
    Environment = 7,
    /// The journal cannot be read, or was written by a newer version.
    Journal = 8,
    /// The run failed: agents exhausted, or a breaker open.
    RunFailed = 9,
    /// Interrupted.
    Interrupted = 130,
}

impl From<ExitCode> for ProcessExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}
