//! `cargo xtask false-alarms`: the unchanged generated system and both hosts of the reference must pass, whatever the seed.

use std::process::Command;
use std::time::Instant;

use crate::bite::Program;
use crate::project;

/// What is examined in each run.
const SUBJECTS: [&str; 3] = ["generated", "reference-native", "reference-worker"];

pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let runs: u64 = match arguments.first() {
        Some(text) => text.parse().map_err(|_| format!("`{text}` is no number of runs"))?,
        None => 50,
    };
    let project = project::directory()?;
    let program = Program::build(&project)?;
    let mut alarms = 0;
    for seed in 1..=runs {
        let mut line = format!("seed {seed:>3}");
        for subject in SUBJECTS {
            let began = Instant::now();
            let output = Command::new(program.path())
                .current_dir(&project)
                .args(["verify", "--subject", subject, "--seed", &seed.to_string()])
                .output()
                .map_err(|error| format!("orchestrate: {error}"))?;
            line.push_str(&format!("  {subject} {:.1} s", began.elapsed().as_secs_f64()));
            if !output.status.success() {
                alarms += 1;
                println!(
                    "seed {seed}, {subject}: {}\n{}{}",
                    output.status,
                    String::from_utf8_lossy(&output.stdout),
                    String::from_utf8_lossy(&output.stderr)
                );
            }
        }
        println!("{line}");
    }
    println!("{alarms} false alarms in {} examinations", runs * SUBJECTS.len() as u64);
    if alarms == 0 {
        Ok(())
    } else {
        Err("what is right was called wrong".to_owned())
    }
}
