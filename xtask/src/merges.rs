//! `cargo xtask merges`: the merge oracle on a longer history.

use crate::project;

/// As many as a change to merging should survive.
const MERGES: &str = "500";

pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let merges = arguments.first().map_or(MERGES, String::as_str);
    let status = project::cargo()
        .current_dir(project::directory()?)
        .args(["test", "--test", "merges", "--", "--nocapture"])
        .env("MERGES", merges)
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err("a merge of ours is not git's own".to_owned())
    }
}
