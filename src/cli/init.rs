//! `orchestrate init`: a small plan and its prompts to start from, for the repository at hand.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use clap::Args;

use super::{CliError, Global, Place};
use crate::embedded;
use crate::exit_code::ExitCode;

/// Write a small plan and prompts to start from
#[derive(Debug, Args)]
pub(super) struct InitArguments {}

/// The plan to start from; `@GATE@`, `@PROJECT@` and `@WORKSPACE@` are filled in.
const PLAN: &str = include_str!("init/phases.yaml");
/// The prompt of an agent to start from.
const AGENT_PROMPT: &str = include_str!("init/agent.md.tera");
/// Shipped templates that every plan can use as they are.
const SHARED: [&str; 5] = [
    "integration.md.tera",
    "retry.md.tera",
    "answer.md.tera",
    "resume.md.tera",
    "conflict.md.tera",
];

/// What tells a project's kind, the command that tests it, and what a fresh worktree of it needs.
const KINDS: [(&str, &str, &str); 6] = [
    (
        "package-lock.json",
        "npm test",
        "workspace: { setup: npm ci --prefer-offline --no-audit --no-fund, share: [node_modules] }\n",
    ),
    ("package.json", "npm test", ""),
    ("Cargo.toml", "cargo test --quiet", ""),
    ("go.mod", "go test ./...", ""),
    ("pyproject.toml", "python -m pytest -q", ""),
    ("Makefile", "make test", ""),
];

pub(super) fn run(global: &Global, _arguments: &InitArguments) -> Result<ExitCode, CliError> {
    let place = Place::find(global)?;
    if !place.repository.join(".git").exists() {
        return Err(CliError::message(
            ExitCode::Environment,
            format!("{} is not a git repository", place.repository.display()),
        )
        .hint("git init"));
    }
    let prompts = place.plan_directory().join("prompts");
    for taken in [&place.plan_file, &prompts] {
        if taken.exists() {
            return Err(CliError::message(
                ExitCode::Usage,
                format!("{} exists already and stays as it is", taken.display()),
            )
            .hint("orchestrate check"));
        }
    }
    let kind = KINDS
        .iter()
        .find(|(marker, _, _)| place.repository.join(marker).exists());
    let (gate, workspace) = kind.map_or(("none", ""), |(_, gate, workspace)| (*gate, *workspace));
    let project = place
        .repository
        .canonicalize()
        .ok()
        .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    let plan = PLAN
        .replace("@PROJECT@", &project_name(project.as_deref()))
        .replace("@GATE@", gate)
        .replace("@WORKSPACE@", workspace);
    write(&place.plan_file, plan.as_bytes())?;
    write(&prompts.join("agent.md.tera"), AGENT_PROMPT.as_bytes())?;
    for (path, contents) in embedded::project() {
        let Some(path) = path.strip_prefix("prompts/") else {
            continue;
        };
        let partial = path.starts_with("partials/") && !path.ends_with("deployment.md.tera");
        if partial || SHARED.contains(&path) {
            write(&prompts.join(path), contents)?;
        }
    }
    let specs = place.plan_directory().join("specs");
    if !specs.exists() {
        write(
            &specs.join("overview.md"),
            b"# What is to be built\n\nWrite here what every agent must know.\n",
        )?;
    }
    let warning = if gate == "none" {
        "\nno test command was recognised: the gates say `none` until you name one"
    } else {
        ""
    };
    // A closed standard output is the reader's choice.
    let _ = writeln!(
        std::io::stdout(),
        "wrote phases.yaml, prompts/ and specs/{warning}\nnext: edit phases.yaml and specs/overview.md, `orchestrate check`, commit, `orchestrate run`"
    );
    Ok(ExitCode::Done)
}

/// A name that needs no quoting in YAML.
fn project_name(directory: Option<&str>) -> String {
    let name: String = directory
        .unwrap_or("project")
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
                c
            } else {
                '-'
            }
        })
        .collect();
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        name
    } else {
        format!("project-{name}")
    }
}

fn write(file: &Path, contents: &[u8]) -> Result<(), CliError> {
    let write = || {
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(file, contents)
    };
    write().map_err(|error| {
        CliError::message(
            ExitCode::Environment,
            format!("cannot write {}: {error}", file.display()),
        )
    })
}
