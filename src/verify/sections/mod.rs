//! The checks, section by section.

mod ask;
mod contract;

use super::check::{Check, Section};

/// The checks of a section. What chance decides in them follows from the seed.
pub(super) fn checks(section: Section, seed: u64) -> Vec<Check> {
    let _ = seed;
    match section {
        Section::Contract => contract::checks(),
        _ => Vec::new(),
    }
}
