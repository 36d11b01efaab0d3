//! `cargo xtask sim`: the simulation with optimisation, for many seeds.

use crate::project;

/// As many as a change to the core should survive once.
const SEEDS: &str = "100000";

pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let seeds = arguments.first().map_or(SEEDS, String::as_str);
    let status = project::cargo()
        .current_dir(project::directory()?)
        .args(["test", "--release", "--test", "sim", "--", "--nocapture"])
        .env("SIM_SEEDS", seeds)
        .env("SIM_COVERAGE", "1")
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err("the simulation found something".to_owned())
    }
}
