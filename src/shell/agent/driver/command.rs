//! Any shell command line as an agent.

use super::{Preparation, Start};
use crate::shell::agent::record::{Dialect, Invocation, PoliteEnd};

/// `sh -c COMMAND` with the prompt on standard input.
pub(super) fn prepare(preparation: &Preparation<'_>, command: &str) -> Start {
    Start {
        dialect: Dialect::Free,
        invocation: Invocation {
            program: Some("sh".to_owned()),
            arguments: vec!["-c".to_owned(), command.to_owned()],
            input: preparation.directory.prompt(),
        },
        fallback: None,
        set: Vec::new(),
        polite_end: PoliteEnd::Terminate,
    }
}
