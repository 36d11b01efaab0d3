//! The checks, section by section.

mod breaker;
mod contract;
mod crash;
mod faults;
mod limiter;
mod orders;
mod secrets;
mod state;
mod time;

use super::check::{Check, Section};

/// The checks of a section. What chance decides in them follows from the seed.
pub(super) fn checks(section: Section, seed: u64) -> Vec<Check> {
    match section {
        Section::Contract => contract::checks(),
        Section::Limiter => limiter::checks(seed),
        Section::Breaker => breaker::checks(),
        Section::Time => time::checks(),
        Section::Faults => faults::checks(),
        Section::Crash => crash::checks(),
        Section::State => state::checks(),
        Section::Secrets => secrets::checks(),
        _ => Vec::new(),
    }
}
