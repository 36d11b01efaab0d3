//! Chores of the project: `cargo xtask COMMAND`.

mod bite;
mod core_mutants;
mod equal_hosts;
mod false_alarms;
mod faults;
mod fuzz;
mod kill_points;
mod merges;
mod mutants;
mod planted;
mod project;
mod reference_worker;
mod sim;
mod test;

use std::process::ExitCode;

/// A chore: its name, what it does, and how it is done.
struct Chore {
    name: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<(), String>,
}

const CHORES: &[Chore] = &[
    Chore {
        name: "core-mutants",
        about: "make every small change of the core, and count how many of them the simulation notices: core-mutants [EVERY-NTH] [FILE...]",
        run: core_mutants::run,
    },
    Chore {
        name: "equal-hosts",
        about: "send many request sequences to both hosts of the reference and demand equal answers: equal-hosts [SEQUENCES] [RUNS] [JOBS]",
        run: equal_hosts::run,
    },
    Chore {
        name: "false-alarms",
        about: "examine what is right with many seeds, and demand that nothing is called wrong: false-alarms [RUNS]",
        run: false_alarms::run,
    },
    Chore {
        name: "faults",
        about: "make each fault of tests/faults in a copy of the generated system, and demand that verify finds it: faults [--jobs N] [NAME...]",
        run: faults::run,
    },
    Chore {
        name: "fuzz",
        about: "mutate the corpora of the fuzz targets for some seconds each: fuzz [TARGET] [SECONDS]",
        run: fuzz::run,
    },
    Chore {
        name: "kill-points",
        about: "kill the real program at every named point and demand that going on ends like an undisturbed run",
        run: kill_points::run,
    },
    Chore {
        name: "merges",
        about: "merge a drawn history in memory and by `git merge`, and demand equal trees and conflicts: merges [MERGES]",
        run: merges::run,
    },
    Chore {
        name: "mutants",
        about: "change the generated system at random, and count how often verify notices: mutants [--jobs N] [--seed N] [COUNT]",
        run: mutants::run,
    },
    Chore {
        name: "planted",
        about: "plant each bug of tests/planted into a copy of the project and demand that the tests catch it: planted [NAME...]",
        run: planted::run,
    },
    Chore {
        name: "reference-worker",
        about: "build the reference implementation as a Worker, into target/reference-worker",
        run: reference_worker::run,
    },
    Chore {
        name: "sim",
        about: "simulate many seeds with optimisation and print what was covered: sim [SEEDS]",
        run: sim::run,
    },
    Chore {
        name: "test",
        about: "prepare what the tests need, then run every test: test [ARGUMENT OF CARGO TEST...]",
        run: test::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        return usage();
    };
    let Some(chore) = CHORES.iter().find(|chore| chore.name == name) else {
        eprintln!("error: there is no chore `{name}`");
        return usage();
    };
    match (chore.run)(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: cargo xtask CHORE [ARGUMENT...]");
    for chore in CHORES {
        eprintln!("  {:<16} {}", chore.name, chore.about);
    }
    ExitCode::from(2)
}
