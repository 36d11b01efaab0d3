//! The reference implementation as a Worker: what workerd hands over becomes a request of the core, and every port of the core stands on a binding.
//!
//! One script holds both services; the variable `SERVICE` says which one it is: `config`, or `image` without it. `cargo xtask reference-worker` builds it.
#![cfg(target_arch = "wasm32")]

mod entry;
mod exchange;
mod host;
mod objects;
