//! What an examination found, for people and for programs.

use std::fmt::Write as _;

use super::check::{Checked, Section, Verdict};

/// A whole examination.
#[derive(Clone, Debug)]
pub struct Examined {
    /// What came of each check.
    pub checked: Vec<Checked>,
    /// What chance followed.
    pub seed: u64,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// A table for a terminal: a line a section, then every check that did not pass.
pub fn table(examined: &Examined) -> String {
    let mut text = String::new();
    for section in Section::ALL {
        let checked: Vec<&Checked> = examined
            .checked
            .iter()
            .filter(|checked| checked.section == section)
            .collect();
        if checked.is_empty() {
            continue;
        }
        let passed = checked
            .iter()
            .filter(|checked| checked.verdict == Verdict::Passed)
            .count();
        let duration_ms: u64 = checked.iter().map(|checked| checked.duration_ms).sum();
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:<14} {passed:>3} of {:>3} passed  {:>6.1} s",
            section.name(),
            checked.len(),
            duration_ms as f64 / 1000.0
        );
    }
    for checked in &examined.checked {
        if let Some(what) = checked.verdict.what() {
            let _ = writeln!(
                text,
                "{} {}/{} ({}): {what}",
                checked.verdict.name(),
                checked.section.name(),
                checked.name,
                checked.requirements.join(", ")
            );
        }
    }
    text
}
