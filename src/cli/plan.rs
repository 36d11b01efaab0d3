//! The plan as every command gets it: loaded, its findings printed, or an error with the plan's own exit code.

use std::io::{self, Write as _};

use super::{CliError, Place};
use crate::exit_code::ExitCode;
use crate::plan::{self, Loaded, Plan, draw};
use crate::report::style::Style;

/// Loads the plan. Findings, also mere warnings, are drawn on standard error; with errors among them there is no plan.
pub(super) fn load(place: &Place) -> Result<Plan, CliError> {
    let loaded = plan::load(&place.plan_file, &place.plan_name);
    show(&loaded);
    accepted(loaded)
}

/// Draws the findings on standard error.
pub(super) fn show(loaded: &Loaded) {
    let mut text = draw::text(loaded, Style::of(&io::stderr()).colour);
    if let (Some(_), Some((verdict, hint))) = (&loaded.plan, draw::verdict(loaded)) {
        text.push_str(&format!("warning: {verdict}\nhint: {hint}\n"));
    }
    // Nobody is left to be told when standard error itself is closed.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// The plan, or the error that ends the command after its findings were shown.
pub(super) fn accepted(loaded: Loaded) -> Result<Plan, CliError> {
    let verdict = draw::verdict(&loaded);
    loaded.plan.ok_or_else(|| match verdict {
        Some((verdict, hint)) => CliError::message(ExitCode::PlanInvalid, verdict).hint(hint),
        None => CliError::message(
            ExitCode::Internal,
            "the plan was refused without a reason; this is a bug",
        ),
    })
}
