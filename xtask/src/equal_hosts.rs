//! `cargo xtask equal-hosts`: many request sequences to both hosts of the reference, in several runs with seeds of their own.

use std::time::Instant;

use crate::{project, reference_worker};

/// Sequences in a run.
const SEQUENCES: u64 = 1000;
/// Runs, each with a runtime of its own.
const RUNS: u64 = 50;

pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let number = |index: usize, default: u64| match arguments.get(index) {
        None => Ok(default),
        Some(text) => text.parse::<u64>().map_err(|_| {
            format!("`{text}` is no number; the chore is called `cargo xtask equal-hosts [SEQUENCES] [RUNS]`")
        }),
    };
    let (sequences, runs) = (number(0, SEQUENCES)?, number(1, RUNS)?);
    reference_worker::run(&[])?;
    let began = Instant::now();
    for run in 1..=runs {
        let status = project::cargo()
            .current_dir(project::directory()?)
            .args(["test", "--quiet", "--package", "reference-worker"])
            .args(["--test", "equal_hosts", "--", "--nocapture"])
            .env("EQUAL_SEQUENCES", sequences.to_string())
            .env("EQUAL_SEED", run.to_string())
            .status()
            .map_err(|error| format!("cargo: {error}"))?;
        if !status.success() {
            return Err(format!(
                "the hosts differ in run {run}; `EQUAL_SEQUENCES={sequences} EQUAL_SEED={run} cargo test -p reference-worker --test equal_hosts` shows it again"
            ));
        }
        println!("run {run} of {runs}: no difference, {} s", began.elapsed().as_secs());
    }
    Ok(())
}
