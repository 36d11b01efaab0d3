//! The pure core: events in, commands out. No effects, no clock, no randomness, ordered collections only.

pub mod command;
pub mod event;
