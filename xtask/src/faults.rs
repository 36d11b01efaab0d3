//! `cargo xtask faults`: every fault of tests/faults, made in a copy of the generated system, must be found by `orchestrate verify`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::Deserialize;

use crate::bite::{self, Copy, Program, Requirement, Seen};
use crate::project;

#[derive(Deserialize)]
struct Faults {
    fault: Vec<Fault>,
}

/// An edit of a file of the generated system that makes it wrong.
#[derive(Clone, Deserialize)]
struct Fault {
    name: String,
    about: String,
    requirements: Vec<String>,
    file: String,
    find: String,
    replace: String,
}

struct Outcome {
    fault: Fault,
    seen: Seen,
    /// It violates something that verify fails for, in place of reporting it apart.
    is_bound: bool,
}

impl Outcome {
    fn is_found(&self) -> bool {
        match self.seen {
            Seen::Difference(_) => true,
            Seen::Unbound(_) => !self.is_bound,
            Seen::Nothing | Seen::Unfit(_) => false,
        }
    }
}

pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let (mut names, mut jobs) = (Vec::new(), 2);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--jobs" => {
                jobs = rest
                    .next()
                    .and_then(|text| text.parse().ok())
                    .ok_or("--jobs wants a number")?;
            }
            name => names.push(name.to_owned()),
        }
    }
    let project = project::directory()?;
    let faults = read(&project.join("tests/faults"), &names)?;
    let requirements = bite::requirements(&project)?;
    let program = Program::build(&project)?;
    println!("{:<36} {:<6} {:>6}  by", "fault", "found", "time");
    let outcomes = outcomes(&project, &program, &requirements, faults, jobs)?;
    report(&outcomes)
}

fn read(directory: &Path, names: &[String]) -> Result<VecDeque<Fault>, String> {
    let told = |error: std::io::Error| format!("{}: {error}", directory.display());
    let mut files: Vec<_> = fs::read_dir(directory)
        .map_err(told)?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    let mut faults = VecDeque::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(told)?;
        let parsed: Faults = toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        faults.extend(
            parsed
                .fault
                .into_iter()
                .filter(|fault| names.is_empty() || names.contains(&fault.name)),
        );
    }
    if faults.is_empty() {
        return Err("there is no such fault in tests/faults".to_owned());
    }
    Ok(faults)
}

fn outcomes(
    project: &Path,
    program: &Program,
    requirements: &BTreeMap<String, Requirement>,
    faults: VecDeque<Fault>,
    jobs: usize,
) -> Result<Vec<Outcome>, String> {
    let queue = Mutex::new(faults);
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs)
            .map(|number| {
                let (queue, found) = (&queue, &found);
                scope.spawn(move || -> Result<(), String> {
                    let copy = Copy::make(project, program, number)?;
                    loop {
                        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                        let Some(fault) = next else { return Ok(()) };
                        let began = Instant::now();
                        let seen = examined(&copy, requirements, &fault)?;
                        let is_bound = violated(requirements, &fault).any(|requirement| requirement.level == "MUST");
                        let (word, by) = match &seen {
                            Seen::Nothing => ("NO", fault.about.clone()),
                            Seen::Difference(by) => ("yes", by.clone()),
                            Seen::Unbound(by) => ("apart", by.clone()),
                            Seen::Unfit(why) => ("UNFIT", why.clone()),
                        };
                        println!("{:<36} {word:<6} {:>4} s  {by}", fault.name, began.elapsed().as_secs());
                        found
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(Outcome { fault, seen, is_bound });
                    }
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| "a worker has panicked".to_owned())?)
    })?;
    Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// The sections that look at what the fault violates, then everything.
fn examined(copy: &Copy, requirements: &BTreeMap<String, Requirement>, fault: &Fault) -> Result<Seen, String> {
    let original = copy.read(&fault.file)?;
    let count = original.matches(&fault.find).count();
    if count != 1 {
        return Ok(Seen::Unfit(format!("its text is {count} times in {}", fault.file)));
    }
    copy.write(&fault.file, &original.replacen(&fault.find, &fault.replace, 1))?;
    let first: BTreeSet<String> = violated(requirements, fault)
        .flat_map(|requirement| requirement.checks.iter().cloned())
        .collect();
    let first: Vec<String> = first.into_iter().collect();
    let mut seen = copy.examine(&first);
    if matches!(seen, Ok(Seen::Nothing | Seen::Unbound(_))) {
        let more = copy.examine_by_others(&first);
        if more != Ok(Seen::Nothing) {
            seen = more;
        }
    }
    copy.write(&fault.file, &original)?;
    seen
}

/// What a fault violates.
fn violated<'all>(
    requirements: &'all BTreeMap<String, Requirement>,
    fault: &Fault,
) -> impl Iterator<Item = &'all Requirement> {
    fault.requirements.iter().filter_map(|id| requirements.get(id))
}

fn report(outcomes: &[Outcome]) -> Result<(), String> {
    let mut groups: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for outcome in outcomes {
        let of: BTreeSet<&str> = outcome
            .fault
            .requirements
            .iter()
            .filter_map(|id| id.split_once('-'))
            .map(|(group, _)| group)
            .collect();
        for group in of {
            let (found, all) = groups.entry(group).or_default();
            *all += 1;
            *found += usize::from(outcome.is_found());
        }
    }
    println!();
    for (group, (found, all)) in &groups {
        println!("{group:<10} {found:>3} of {all:>3}");
    }
    let missed: Vec<&str> = outcomes
        .iter()
        .filter(|outcome| !outcome.is_found())
        .map(|outcome| outcome.fault.name.as_str())
        .collect();
    println!(
        "{} of {} faults are found",
        outcomes.len() - missed.len(),
        outcomes.len()
    );
    if missed.is_empty() {
        Ok(())
    } else {
        Err(format!("not found: {}", missed.join(", ")))
    }
}
