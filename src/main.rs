//! Entry point: parse, run, map the outcome to an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use orchestrate::cli::Cli;

fn main() -> ExitCode {
    orchestrate::cli::run(Cli::parse()).into()
}
