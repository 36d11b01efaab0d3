//! An error as a person sees it: what, why, and the next command; with the exit code that belongs to it.

use std::io::Write as _;

use crate::exit_code::ExitCode;

/// An error on its way to the terminal.
#[derive(Debug)]
pub struct CliError {
    code: ExitCode,
    error: anyhow::Error,
    hints: Vec<String>,
}

impl CliError {
    /// An error that ends the program with `code`.
    pub fn new(code: ExitCode, error: impl Into<anyhow::Error>) -> Self {
        Self {
            code,
            error: error.into(),
            hints: Vec::new(),
        }
    }

    /// An error that is only a sentence.
    pub fn message(code: ExitCode, message: impl Into<String>) -> Self {
        Self::new(code, anyhow::Error::msg(message.into()))
    }

    /// Adds a hint: the exact command or edit that helps.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Prints the error with its causes and hints to standard error, and gives the exit code.
    pub fn report(&self) -> ExitCode {
        let mut text = format!("error: {}\n", self.error);
        for cause in self.error.chain().skip(1) {
            text.push_str(&format!("  caused by: {cause}\n"));
        }
        for hint in &self.hints {
            text.push_str(&format!("hint: {hint}\n"));
        }
        // Nobody is left to be told when standard error itself is closed.
        let _ = std::io::stderr().write_all(text.as_bytes());
        self.code
    }
}

impl From<anyhow::Error> for CliError {
    /// Anything that no command has classified is a bug of ours.
    fn from(error: anyhow::Error) -> Self {
        Self::new(ExitCode::Internal, error)
    }
}
