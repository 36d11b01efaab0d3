//! What several commands need from the world: the clock, the common git directory, the terminal, a place to print to.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use super::{CliError, Place};
use crate::exit_code::ExitCode;
use crate::ids::Time;
use crate::shell::journal::JournalError;

/// Columns of an output that is no terminal, unless `COLUMNS` says otherwise.
const COLUMNS_DEFAULT: usize = 80;

/// The time now.
pub(super) fn now() -> Time {
    Time(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default())
}

/// The directory that all worktrees of the repository share, usually `.git`; found without opening the repository, which takes time.
pub(super) fn common_directory(place: &Place) -> Result<PathBuf, CliError> {
    let dot_git = place.repository.join(".git");
    let not_a_repository = || {
        CliError::message(
            ExitCode::Environment,
            format!("`{}` is not in a git repository", place.repository.display()),
        )
        .hint("go into your repository, or name it with `--repo DIR`; `git init` makes one")
    };
    if dot_git.is_dir() {
        return Ok(dot_git);
    }
    // In a worktree `.git` is a file that names the worktree's own directory, which names the common one.
    let text = fs::read_to_string(&dot_git).map_err(|_| not_a_repository())?;
    let own = text
        .strip_prefix("gitdir:")
        .map(str::trim)
        .ok_or_else(not_a_repository)?;
    let own = place.repository.join(own);
    match fs::read_to_string(own.join("commondir")) {
        Ok(common) => Ok(own.join(common.trim())),
        Err(error) if error.kind() == io::ErrorKind::NotFound && own.is_dir() => Ok(own),
        Err(_) => Err(not_a_repository()),
    }
}

/// An error of the journal on its way to the terminal.
pub(super) fn journal_error(error: JournalError) -> CliError {
    let (code, hint) = (error.exit_code(), error.hint());
    let error = CliError::new(code, error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Prints to standard output. `false`: nobody reads it any more, so that there is no use in going on.
pub(super) fn print(text: &str) -> Result<bool, CliError> {
    print_bytes(text.as_bytes())
}

/// The same for bytes that may be no text.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<bool, CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::new(ExitCode::Environment, error)),
    }
}

/// How wide and high the terminal is that standard output goes to.
pub(super) fn terminal_size() -> (usize, Option<usize>) {
    let named = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok())
        .filter(|columns| *columns > 0);
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 => (size.ws_col.into(), Some(size.ws_row.into())),
        Ok(_) | Err(_) => (named.unwrap_or(COLUMNS_DEFAULT), None),
    }
}
