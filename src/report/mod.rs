//! What people and scripts see. Reads only: nothing here changes a run.

pub mod event_text;
pub mod stream_text;
pub mod style;
pub mod text;
