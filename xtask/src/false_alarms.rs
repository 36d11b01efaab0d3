//! `cargo xtask false-alarms`: the unchanged generated system and both hosts of the reference must pass, whatever the seed.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::bite::Program;
use crate::project;

/// What is examined with each seed.
const SUBJECTS: [&str; 3] = ["generated", "reference-native", "reference-worker"];

pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let (mut runs, mut jobs, mut first) = (50, 2, 1);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (place, text) = match argument.as_str() {
            "--jobs" => (&mut jobs, rest.next().map_or("", String::as_str)),
            "--from" => (&mut first, rest.next().map_or("", String::as_str)),
            text => (&mut runs, text),
        };
        *place = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    }
    let project = project::directory()?;
    let program = Program::build(&project)?;
    let queue: Mutex<VecDeque<(u64, &str)>> = Mutex::new(
        (first..first + runs)
            .flat_map(|seed| SUBJECTS.map(|subject| (seed, subject)))
            .collect(),
    );
    let alarms = Mutex::new(0_u32);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs)
            .map(|_| {
                scope.spawn(|| -> Result<(), String> {
                    loop {
                        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                        let Some((seed, subject)) = next else {
                            return Ok(());
                        };
                        if !is_quiet(&program, &project, seed, subject)? {
                            *alarms.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                        }
                    }
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| "a worker has panicked".to_owned())?)
    })?;
    let alarms = alarms.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!(
        "{alarms} false alarms in {} examinations, {runs} of each of {}, from seed {first}",
        runs * SUBJECTS.len() as u64,
        SUBJECTS.join(", ")
    );
    if alarms == 0 {
        Ok(())
    } else {
        Err("what is right was called wrong".to_owned())
    }
}

/// One examination; what it says is shown if it is not that all is well.
fn is_quiet(program: &Program, project: &Path, seed: u64, subject: &str) -> Result<bool, String> {
    let began = Instant::now();
    let output = Command::new(program.path())
        .current_dir(project)
        .args(["verify", "--subject", subject, "--seed", &seed.to_string()])
        .output()
        .map_err(|error| format!("orchestrate: {error}"))?;
    let duration_s = began.elapsed().as_secs_f64();
    println!("seed {seed:>3}  {subject:<17} {duration_s:>5.1} s  {}", output.status);
    if !output.status.success() {
        println!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(output.status.success())
}
