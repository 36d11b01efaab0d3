//! The reference implementation on a host of its own: SQLite for everything that lasts, one thread, and a clock that callers may move.
//!
//! [`System`] answers requests in process, thousands of sequences a second, with virtual time: whoever waits makes the clock jump.
//! [`server`] answers them over HTTP, in the wall's time.

mod chance;
mod clock;
mod commit;
mod host;
mod run;
pub mod server;
mod store;
mod system;

pub use host::{ConfigService, Faults};
pub use mock_ideogram as mock;
pub use store::StoreFailure;
pub use system::{Options, SUPERADMIN, Service, System, example_settings};
