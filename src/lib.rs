//! `orchestrate` drives a fleet of coding agents through a plan.
//!
//! # Theory of operation
//!
//! There is one way through. Every source (agent process, git ref, gate, clock, human) becomes an [`core::event::Event`]; the event is made durable in the
//! journal; the pure core folds it into its state and answers with [`core::command::Command`]s; the shell performs them, which makes new events.
//! Reporters only read a view of the state. After a crash the journal is folded again, the old commands are dropped, and whatever was under way is
//! simply commanded again: every command is idempotent.

pub mod cli;
pub mod core;
pub mod embedded;
pub mod exit_code;
pub mod ids;
pub mod plan;
pub mod prompt;
pub mod proof;
pub mod report;
pub mod shell;
pub mod tags;
pub mod verify;
