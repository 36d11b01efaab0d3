//! `cargo xtask equal-hosts`: many request sequences to both hosts of the reference, in several runs with seeds of their own.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use crate::{project, reference_worker};

/// Sequences in a run.
const SEQUENCES: u64 = 1000;
/// Runs, each with a runtime of its own.
const RUNS: u64 = 50;
/// Runs at the same time: a run waits for the runtime's clock most of its time.
const JOBS: u64 = 8;

pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let number = |index: usize, default: u64| match arguments.get(index) {
        None => Ok(default),
        Some(text) => text.parse::<u64>().map_err(|_| {
            format!("`{text}` is no number; the chore is called `cargo xtask equal-hosts [SEQUENCES] [RUNS] [JOBS]`")
        }),
    };
    let (sequences, runs, jobs) = (number(0, SEQUENCES)?, number(1, RUNS)?, number(2, JOBS)?);
    reference_worker::run(&[])?;
    let began = Instant::now();
    let next = AtomicU64::new(1);
    let done = AtomicU64::new(0);
    let failures: Mutex<Vec<String>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, runs.max(1)) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > runs {
                        return;
                    }
                    match one(sequences, seed) {
                        Ok(summary) => {
                            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                            println!(
                                "{done} of {runs}: seed {seed}, {summary}; {} s",
                                began.elapsed().as_secs()
                            );
                        }
                        Err(what) => {
                            println!("{what}");
                            next.store(runs + 1, Ordering::Relaxed);
                            if let Ok(mut failures) = failures.lock() {
                                failures.push(what);
                            }
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_default();
    if failures.is_empty() {
        println!(
            "no difference in {runs} runs of {sequences} sequences, {} s",
            began.elapsed().as_secs()
        );
        return Ok(());
    }
    Err(failures.join("\n"))
}

/// What the test says of its sequences.
fn one(sequences: u64, seed: u64) -> Result<String, String> {
    let output = project::cargo()
        .current_dir(project::directory()?)
        .args(["test", "--quiet", "--package", "reference-worker"])
        .args(["--test", "equal_hosts", "--", "--nocapture"])
        .env("EQUAL_SEQUENCES", sequences.to_string())
        .env("EQUAL_SEED", seed.to_string())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        let summary = said.lines().find(|line| line.contains("no difference"));
        return summary
            .map(str::to_owned)
            .ok_or_else(|| format!("seed {seed} ran nothing: {said}"));
    }
    Err(format!(
        "the hosts differ with seed {seed}; `EQUAL_SEQUENCES={sequences} EQUAL_SEED={seed} cargo test -p reference-worker --test equal_hosts` shows it again\n{said}{}",
        String::from_utf8_lossy(&output.stderr)
    ))
}
