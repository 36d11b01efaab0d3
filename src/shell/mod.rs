//! Everything that touches the world: each part takes commands and answers with events.

pub mod git;
pub mod journal;
pub mod probe;
