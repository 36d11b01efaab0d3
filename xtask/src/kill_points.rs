//! `cargo xtask kill-points`: the sweep through every named point of the real program.

use crate::project;

pub(crate) fn run(_arguments: &[String]) -> Result<(), String> {
    let status = project::cargo()
        .current_dir(project::directory()?)
        .args(["test", "--test", "kill_points", "--", "--nocapture"])
        .env("KILL_POINTS", "all")
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err("a kill left something behind".to_owned())
    }
}
