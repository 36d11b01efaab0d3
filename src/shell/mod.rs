//! Everything that touches the world: each part takes commands and answers with events.

pub mod agent;
pub mod journal;
pub mod git;
pub mod watch;
pub mod workspace;
pub mod git;
pub mod journal;
pub mod probe;
