//! An Ideogram of our own: the four families of its generation API, strict about what it is sent, hostile where the real one may be, and scriptable.
//!
//! [`Mock`] is a plain state machine: a request and a moment in, a [`Reaction`] out. Hosts decide what a delay or a broken connection is; [`server`] is
//! one of them.

mod chance;
mod fault;
mod form;
mod mock;
mod picture;
pub mod server;

pub use fault::{Fault, Place, Plan};
pub use mock::{IMAGE_LIFE_MS, Mock, Options, Outcome, Reaction, Received};
pub use picture::Encoding;
