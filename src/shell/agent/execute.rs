//! The last step before an agent's program: ties its life to the supervisor's, then becomes the program.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::Signal;

use super::limits;

/// How much sooner than the rest of the system an agent is chosen when memory runs out: an agent can be started again, a supervisor's record cannot.
const OUT_OF_MEMORY_SCORE: &str = "300";

/// Becomes `program`; returns only when that is impossible.
///
/// This is a step of its own because a death signal must be set between fork and exec by the process itself, and code between fork and exec is unsafe
/// anywhere but in a fresh program.
pub fn execute_agent(supervisor_pid: i32, program: &OsString, arguments: &[OsString]) -> io::Error {
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    // The supervisor may have died before the line above; then no signal will ever come.
    if rustix::process::getppid().is_none_or(|parent| parent.as_raw_nonzero().get() != supervisor_pid) {
        return io::Error::other("the supervisor is gone");
    }
    limits::apply();
    // Where this is forbidden, the agent is simply as likely to be chosen as anybody else.
    let _ = std::fs::write("/proc/self/oom_score_adj", OUT_OF_MEMORY_SCORE);
    Command::new(program)
        .args(arguments)
        .env_remove(limits::GROUP_VARIABLE)
        .env_remove(limits::TASKS_VARIABLE)
        .exec()
}
