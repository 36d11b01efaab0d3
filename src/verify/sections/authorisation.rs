//! Section authorisation: who may do what to whose.

mod callers;
mod matrix;
mod views;

use crate::verify::check::Check;

/// The checks of this section.
pub(super) fn checks() -> Vec<Check> {
    let mut checks = matrix::checks();
    checks.extend(views::checks());
    checks
}
