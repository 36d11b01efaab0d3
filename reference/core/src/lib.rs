//! The reference implementation of the target system: all of its observable behaviour, and nothing of any host.
//!
//! There is no clock, no I/O, no randomness and no thread here: hosts bring them through the traits of [`ports`]. Read [`ports`] first, then
//! [`config`] (part A of the contract) and [`image`] (part B). What keeps state between requests beside the database is an [`object`]: a pure state
//! machine that the host feeds one command at a time.

pub mod answer;
pub mod breaker;
pub mod caller;
pub mod config;
pub mod fields;
pub mod http;
pub mod id;
pub mod image;
pub mod job;
pub mod key;
pub mod limiter;
pub mod log;
pub mod object;
pub mod ports;
pub mod problem;
pub mod provider;
pub mod retry;
pub mod secret;
pub mod settings;
pub mod time;

/// The tables, for SQLite and D1 alike.
pub const SCHEMA: &str = include_str!("../schema.sql");
/// Something to begin with. It holds no key.
pub const SEED: &str = include_str!("../seed.sql");
