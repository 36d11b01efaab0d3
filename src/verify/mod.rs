//! Conformance of what the fleet built: the generated system, run as it is on the real Workers runtime, beside the reference.

pub mod boot;
pub mod canary;
pub mod check;
pub mod examine;
pub mod lab;
pub mod outage;
pub mod report;
pub mod requirements;
mod script;
mod sections;
pub mod subject;
pub mod wrangler;

pub use boot::{BootError, BootOptions, Booted, Bundles, boot, bundle};
pub use check::{Check, Checked, Section, Verdict};
pub use examine::{Examined, Finding, Implementation, Progress, Selection, examine};
pub use sections::bound;
