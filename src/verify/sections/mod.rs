//! The checks, section by section.

mod ask;
mod authorisation;
mod breaker;
mod contract;
mod crash;
mod faults;
mod limiter;
mod orders;
mod schema;
mod secrets;
mod sequences;
mod state;
mod statics;
mod stories;
mod time;

use super::check::{Check, Section};

/// The checks of a section. What chance decides in them follows from the seed.
pub(super) fn checks(section: Section, seed: u64) -> Vec<Check> {
    match section {
        Section::Static => statics::checks(),
        Section::Schema => schema::checks(),
        Section::Contract => contract::checks(),
        Section::Authorisation => authorisation::checks(),
        Section::Sequences => sequences::checks(seed),
        Section::Limiter => limiter::checks(seed),
        Section::Breaker => breaker::checks(),
        Section::Time => time::checks(),
        Section::Faults => faults::checks(),
        Section::Crash => crash::checks(),
        Section::State => state::checks(),
        Section::Secrets => secrets::checks(),
    }
}

/// What every check is bound to: its section, its full name and its requirements.
pub fn bound() -> Vec<(Section, String, Vec<&'static str>)> {
    let all = Section::ALL.into_iter().flat_map(|section| checks(section, 1));
    all.map(|check| (check.section, check.full_name(), check.requirements))
        .collect()
}
