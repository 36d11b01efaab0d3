//! Runs Workers on workerd, the runtime of Cloudflare Workers, without Node: with D1, KV, R2 and Durable Objects on the local disk, a clock that can be
//! moved, scheduled events on demand, and everything that a Worker sends out captured.
//!
//! The simulators of D1, KV and R2 are those of miniflare; see [`tools`] for where they come from. Their control operations are no public interface, which is
//! why exactly one version of everything is used.

mod config;
mod error;
mod process;
mod system;
pub mod tools;

pub use error::DriverError;
pub use process::{Rows, Running};
pub use system::{Binding, Module, ModuleKind, ObjectClass, System, Worker};
pub use tools::Tools;
