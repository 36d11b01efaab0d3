//! `cargo xtask fuzz`: the fuzz targets on stable, for as long as is asked.

use crate::project;

/// Without a number.
const SECONDS: &str = "60";

pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let mut cargo = project::cargo();
    cargo
        .current_dir(project::directory()?)
        .args(["test", "--test", "fuzz", "mutations", "--", "--nocapture"])
        .env("FUZZ_SECONDS", arguments.get(1).map_or(SECONDS, String::as_str));
    if let Some(target) = arguments.first() {
        cargo.env("FUZZ_TARGET", target);
    }
    let status = cargo.status().map_err(|error| format!("cargo: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err("an input was found; it is in the target's corpus".to_owned())
    }
}
