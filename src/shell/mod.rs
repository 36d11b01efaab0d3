//! Everything that touches the world: each part takes commands and answers with events.

pub mod agent;
pub mod audit;
pub mod clock;
pub mod decisions;
pub mod effects;
pub mod gates;
pub mod git;
pub mod guard;
pub mod journal;
mod kill_point;
pub mod landed;
pub mod notify;
pub mod preflight;
pub mod probe;
pub mod refs;
pub mod release;
pub mod rollback;
pub mod runtime;
pub mod settings;
pub mod watch;
pub mod workspace;
