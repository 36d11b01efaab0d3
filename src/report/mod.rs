//! What people and scripts see. Reads only: nothing here changes a run.

pub mod audit_text;
pub mod event_text;
pub mod gate_text;
pub mod json;
pub mod notice;
pub mod progress;
pub mod release_text;
pub mod snapshot;
pub mod stream_text;
pub mod style;
pub mod table;
pub mod text;

pub use snapshot::{Presence, Snapshot};
