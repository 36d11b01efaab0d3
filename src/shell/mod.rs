//! Everything that touches the world: each part takes commands and answers with events.

pub mod agent;
pub mod git;
pub mod journal;
pub mod probe;
pub mod watch;
pub mod workspace;
