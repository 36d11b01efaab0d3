//! Section contract: every route, status, field, header and error.

mod answers;
mod credentials;
mod figures;
mod generation;
mod images;
mod instances;
mod lists;
mod resources;

use crate::verify::check::Check;

/// The checks of this section.
pub(super) fn checks() -> Vec<Check> {
    let mut checks = answers::checks();
    checks.extend(credentials::checks());
    checks.extend(lists::checks());
    checks.extend(resources::checks());
    checks.extend(instances::checks());
    checks.extend(figures::checks());
    checks.extend(generation::checks());
    checks.extend(images::checks());
    checks
}
