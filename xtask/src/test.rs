//! `cargo xtask test`: prepares what the tests need, then runs every test there is.

use std::path::Path;
use std::process::Command;

use crate::{project, reference_worker};

/// The oldest Node that the bundled build supports.
const NODE_MAJOR_MINIMUM: u32 = 20;

pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let root = project::directory()?;
    check_tools()?;
    let generated = root.join("generated");
    step("the bundled build: install");
    execute(
        Command::new("npm").args(["ci", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"]),
        &generated,
    )?;
    step("the bundled build: types, lint, format");
    execute(Command::new("npm").args(["run", "--silent", "check"]), &generated)?;
    step("the bundled build: tests on the Workers runtime");
    execute(Command::new("npm").arg("test"), &generated)?;
    step("the bundled build: the interfaces in a real browser");
    execute(
        Command::new("npm").args(["run", "--silent", "test:browser"]),
        &generated,
    )?;
    step("the reference as a Worker");
    reference_worker::run(&[])?;
    step("Claude Code for the tests that drive it");
    execute(Command::new("sh").arg("tests/support/install-claude.sh"), &root)?;
    step("the reference as a Worker");
    crate::reference_worker::run(&[])?;
    step("orchestrate: tests");
    execute(
        Command::new("cargo").args(["test", "--workspace"]).args(arguments),
        &root,
    )
}

fn step(name: &str) {
    eprintln!("\n== {name}");
}

fn check_tools() -> Result<(), String> {
    let version = |program: &str| -> Option<String> {
        let output = Command::new(program).arg("--version").output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    version("git")
        .ok_or("`git` is not on the PATH; install git 2.41 or newer, for example with `apt-get install git`")?;
    version("npm").ok_or("`npm` is not on the PATH; install Node 20 or newer from your package manager")?;
    let node =
        version("node").ok_or("`node` is not on the PATH; install Node 20 or newer from your package manager")?;
    let major = node
        .trim_start_matches('v')
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(major) if major >= NODE_MAJOR_MINIMUM => Ok(()),
        _ => Err(format!(
            "`node --version` says `{node}`; the bundled build needs Node {NODE_MAJOR_MINIMUM} or newer"
        )),
    }
}

fn execute(command: &mut Command, directory: &Path) -> Result<(), String> {
    let words = format!("{command:?}");
    let status = command
        .current_dir(directory)
        .status()
        .map_err(|error| format!("cannot run {words}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{words} in {} failed: {status}", directory.display()))
    }
}
