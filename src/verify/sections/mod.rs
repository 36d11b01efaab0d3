//! The checks, section by section.

mod ask;
mod authorisation;
mod contract;
mod schema;
mod sequences;
mod statics;
mod stories;

use super::check::{Check, Section};

/// The checks of a section. What chance decides in them follows from the seed.
pub(super) fn checks(section: Section, seed: u64) -> Vec<Check> {
    match section {
        Section::Static => statics::checks(),
        Section::Schema => schema::checks(),
        Section::Contract => contract::checks(),
        Section::Authorisation => authorisation::checks(),
        Section::Sequences => sequences::checks(seed),
        _ => Vec::new(),
    }
}

/// What every check is bound to: its section, its full name and its requirements.
pub fn bound() -> Vec<(Section, String, Vec<&'static str>)> {
    let all = Section::ALL.into_iter().flat_map(|section| checks(section, 1));
    all.map(|check| (check.section, check.full_name(), check.requirements))
        .collect()
}
