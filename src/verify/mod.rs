//! Conformance of what the fleet built: the generated system, run as it is on the real Workers runtime.

pub mod boot;
mod script;
pub mod wrangler;

pub use boot::{BootError, BootOptions, Booted, boot};
