//! `orchestrate demo`: the shipped build, replayed in a fresh repository with the real branches, gates and merges, and no account.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command as ProcessCommand;
use std::time::{Duration, Instant};

use clap::Args;

use super::context::journal_error;
use super::plan::load as load_plan;
use super::run::{conclude, drive, git_error, open_repository};
use super::{CliError, Global, Place};
use crate::core::State;
use crate::core::command::RunOutcome;
use crate::core::event::{Event, MergeKind};
use crate::embedded;
use crate::exit_code::ExitCode;
use crate::ids::{Actor, MergeId, TeamId};
use crate::plan::{Driver, Plan};
use crate::report::text::{one_line, plural};
use crate::shell::git::{Git, PathGlobs};
use crate::shell::journal::{JournalReader, Record};
use crate::shell::probe::find_program;

/// See the shipped build run in a fresh repository, without an account
///
/// Makes a repository with the shipped plan, prompts, specifications and scaffold, and lets the agents be replayed: each commits
/// what the bundled build holds under its paths, on its own branch. Branches, merges and gates are real.
#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// Where to make it; must not exist yet, or be empty
    #[arg(default_value = "orchestrate-demo", value_name = "DIR")]
    directory: PathBuf,
}

/// The oldest Node that the shipped build supports.
const NODE_MAJOR_MINIMUM: u32 = 20;

pub(super) fn run(args: &DemoArguments) -> Result<ExitCode, CliError> {
    let started = Instant::now();
    check_node()?;
    let directory =
        std::path::absolute(&args.directory).map_err(|error| CliError::new(ExitCode::Environment, error))?;
    let continued = directory.join(".git").exists() && directory.join("phases.yaml").exists();
    if !continued {
        lay_out(&directory)?;
    }
    let global = Global {
        repo: Some(directory.clone()),
        plan: None,
    };
    let place = Place::find(&global)?;
    let git = open_repository(&place.repository)?;
    let mut plan = load_plan(&place)?;
    replay_everybody(&mut plan);
    let (held, missing) = teams_held(&plan)?;
    let names = |teams: &[TeamId]| teams.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    say(&format!(
        "demo in {}: replaying team {}",
        directory.display(),
        names(&held)
    ));
    if !missing.is_empty() {
        say(&format!("team {} is not bundled and waits", names(&missing)));
    }
    let end = drive(git.clone(), plan.clone(), place.plan_directory(), held.clone())?;
    if end.outcome == RunOutcome::Complete {
        let differences = differences(&git, &plan, &held)?;
        if !differences.is_empty() {
            return Err(CliError::message(
                ExitCode::Internal,
                format!("main differs from the bundled build in {}", differences.join(", ")),
            ));
        }
        conclude_in_words(&directory, &git, &plan, &held, started)?;
        where_time_went(&git, &end.state, started)?;
    }
    Ok(conclude(&end))
}

fn say(line: &str) {
    // Nobody is left to be told when standard error itself is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn check_node() -> Result<(), CliError> {
    let missing = |what: &str| {
        CliError::message(
            ExitCode::Environment,
            format!("{what}; the demo's gates need Node {NODE_MAJOR_MINIMUM} or newer"),
        )
        .hint("install Node.js from your package manager or https://nodejs.org, then run `orchestrate demo` again")
    };
    let (Some(node), Some(_)) = (
        find_program(Path::new("."), "node"),
        find_program(Path::new("."), "npm"),
    ) else {
        return Err(missing("`node` and `npm` are not on the PATH"));
    };
    let output = ProcessCommand::new(node)
        .arg("--version")
        .output()
        .map_err(|error| CliError::new(ExitCode::Environment, error))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let major = version
        .trim_start_matches('v')
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(major) if major >= NODE_MAJOR_MINIMUM => Ok(()),
        _ => Err(missing(&format!("`node --version` says `{version}`"))),
    }
}

/// Makes the repository with its base commit.
fn lay_out(directory: &Path) -> Result<(), CliError> {
    let environment = |error: std::io::Error| CliError::new(ExitCode::Environment, error);
    if directory.exists() {
        let mut entries = std::fs::read_dir(directory).map_err(environment)?;
        if entries.next().is_some() {
            return Err(CliError::message(
                ExitCode::Usage,
                format!("{} exists and is not empty", directory.display()),
            )
            .hint("name a directory that does not exist: orchestrate demo ANOTHER-DIR"));
        }
    }
    // The agents' workspaces lie beside the repository: those of an earlier demo would stand in the way of the first agent.
    let mut workspaces = directory.components().collect::<PathBuf>().into_os_string();
    workspaces.push(".orchestrate");
    let workspaces = PathBuf::from(workspaces);
    if workspaces.exists() {
        return Err(CliError::message(
            ExitCode::Usage,
            format!("{} is left from an earlier demo", workspaces.display()),
        )
        .hint(format!("rm -r {}, or name another directory", workspaces.display())));
    }
    std::fs::create_dir_all(directory).map_err(environment)?;
    for (path, contents) in embedded::project() {
        write_file(directory, path, contents)?;
    }
    let place = Place::find(&Global {
        repo: Some(directory.to_path_buf()),
        plan: Some(directory.join("phases.yaml")),
    })?;
    let owned = owned_globs(&load_plan(&place)?, |_| true)?;
    for (path, contents) in embedded::files() {
        if !owned.matches(path) {
            write_file(directory, path, contents)?;
        }
    }
    git_program(directory, &["init", "--quiet", "--initial-branch=main"])?;
    git_program(directory, &["add", "--all"])?;
    git_program(
        directory,
        &[
            "commit",
            "--quiet",
            "--message",
            "Start from the plan, the specifications and the scaffold",
        ],
    )
}

fn write_file(directory: &Path, path: &str, contents: &[u8]) -> Result<(), CliError> {
    let file = directory.join(path);
    let write = || -> std::io::Result<()> {
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&file, contents)
    };
    write().map_err(|error| {
        CliError::message(
            ExitCode::Environment,
            format!("cannot write {}: {error}", file.display()),
        )
        .hint("make room or choose another directory: orchestrate demo ANOTHER-DIR")
    })
}

fn git_program(directory: &Path, arguments: &[&str]) -> Result<(), CliError> {
    let output = ProcessCommand::new("git")
        .args([
            "-c",
            "user.name=orchestrate",
            "-c",
            "user.email=orchestrate@localhost",
            "-c",
            "commit.gpgSign=false",
        ])
        .args(arguments)
        .current_dir(directory)
        .envs(Git::quiet_environment())
        .output()
        .map_err(|error| {
            CliError::message(ExitCode::Environment, format!("cannot run git: {error}"))
                .hint("install git 2.40 or newer")
        })?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(CliError::message(
        ExitCode::Environment,
        format!("`git {}` failed: {words}", arguments.join(" ")),
    ))
}

fn replay_everybody(plan: &mut Plan) {
    for team in plan.phases.iter_mut().flat_map(|phase| &mut phase.teams) {
        team.leader.settings.driver = Driver::Replay;
        for agent in &mut team.agents {
            agent.settings.driver = Driver::Replay;
        }
    }
}

/// The teams whose deliverables are bundled in full, and the others.
fn teams_held(plan: &Plan) -> Result<(Vec<TeamId>, Vec<TeamId>), CliError> {
    let paths: Vec<String> = embedded::files().iter().map(|(path, _)| (*path).to_owned()).collect();
    let mut held = Vec::new();
    let mut missing = Vec::new();
    for team in plan.teams() {
        let mut wanted = plan.deliverables_of(&Actor::Leader(team.id.clone()));
        wanted.extend(team.agents.iter().flat_map(|agent| agent.deliverables.clone()));
        let complete = PathGlobs::new(&wanted).map_err(git_error)?.unmatched(&paths).is_empty();
        if complete {
            held.push(team.id.clone())
        } else {
            missing.push(team.id.clone())
        }
    }
    Ok((held, missing))
}

fn owned_globs(plan: &Plan, takes_part: impl Fn(&TeamId) -> bool) -> Result<PathGlobs, CliError> {
    let globs: Vec<String> = plan
        .teams()
        .filter(|team| takes_part(&team.id))
        .flat_map(|team| {
            team.deliverables
                .iter()
                .cloned()
                .chain(team.agents.iter().flat_map(|agent| agent.owns.clone()))
        })
        .collect();
    PathGlobs::new(&globs).map_err(git_error)
}

/// Paths under what the replayed teams own in which main and the bundled build differ.
fn differences(git: &Git, plan: &Plan, held: &[TeamId]) -> Result<Vec<String>, CliError> {
    let owned = owned_globs(plan, |team_id| held.contains(team_id))?;
    let Some(tip) = git.tip(&plan.repository.base).map_err(git_error)? else {
        return Ok(vec!["everything".to_owned()]);
    };
    let mut differing = Vec::new();
    let bundled: Vec<(&str, &[u8])> = embedded::files()
        .iter()
        .filter(|(path, _)| owned.matches(path))
        .map(|(path, bytes)| (*path, *bytes))
        .collect();
    for path in git.paths(&tip).map_err(git_error)? {
        if owned.matches(&path) && !bundled.iter().any(|(bundled, _)| *bundled == path) {
            differing.push(path);
        }
    }
    for (path, bytes) in bundled {
        if git.file(&tip, path).map_err(git_error)?.as_deref() != Some(bytes) {
            differing.push(path.to_owned());
        }
    }
    Ok(differing)
}

fn conclude_in_words(
    directory: &Path,
    git: &Git,
    plan: &Plan,
    held: &[TeamId],
    started: Instant,
) -> Result<(), CliError> {
    let tip = git.tip(&plan.repository.base).map_err(git_error)?;
    let merges = match &tip {
        Some(tip) => git
            .commits_between(tip, &[], 10_000)
            .map_err(git_error)?
            .iter()
            .filter(|commit| commit.message.starts_with("[MERGE]"))
            .count(),
        None => 0,
    };
    let agents: usize = plan
        .teams()
        .filter(|team| held.contains(&team.id))
        .map(|team| team.agents.len())
        .sum();
    let place = directory.display();
    say(&format!(
        "\n{agents} agents and {} leaders worked on branches of their own; {merges} merges passed their gates; main equals the bundled build under every owned path ({} s).",
        held.len(),
        started.elapsed().as_secs()
    ));
    say("where to look:");
    say(&format!("  git -C {place} log --graph --oneline main     every merge"));
    say(&format!(
        "  git -C {place} log -1 main                    a landing's receipt"
    ));
    say(&format!(
        "  orchestrate status --repo {place}             the run at a glance"
    ));
    say(&format!(
        "  orchestrate logs 1.1 --repo {place}           what an agent did"
    ));
    say(&format!(
        "  orchestrate gate main --repo {place}          the proof, from git alone"
    ));
    Ok(())
}

/// Where the time of the run went, and what the last landing's examination said.
fn where_time_went(git: &Git, state: &State, started: Instant) -> Result<(), CliError> {
    let Some(reader) = JournalReader::open(git.common_dir()).map_err(journal_error)? else {
        return Ok(());
    };
    let mut gates: Vec<(MergeId, u64, u64)> = Vec::new();
    let note = |record: Record| {
        if let Event::GateFinished {
            merge_id, duration_ms, ..
        } = record.event
        {
            gates.push((merge_id, record.at.0.saturating_sub(duration_ms), record.at.0));
        }
    };
    reader.replay(1, note).map_err(journal_error)?;
    let level = |merge_id: &MergeId| match state.merges.get(merge_id).map(|merge| &merge.kind) {
        Some(MergeKind::Agent(_)) => 0,
        Some(MergeKind::Landing(_)) => 2,
        Some(MergeKind::Integration(_) | MergeKind::Sync(_) | MergeKind::Decision { .. }) | None => 1,
    };
    let wall_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let gated_ms = covered_ms(gates.iter().map(|(_, from, to)| (*from, *to)).collect());
    say("where the time went:");
    say(&format!(
        "  {:>6} s  at least one gate ran",
        Duration::from_millis(gated_ms).as_secs()
    ));
    for (index, name) in ["agent into team", "team", "team into main"].into_iter().enumerate() {
        let of_level = gates.iter().filter(|(merge_id, ..)| level(merge_id) == index);
        let sum_ms: u64 = of_level.clone().map(|(_, from, to)| to - from).sum();
        say(&format!(
            "             {:>3} s in {} of {name}, side by side",
            Duration::from_millis(sum_ms).as_secs(),
            plural(of_level.count(), "gate"),
        ));
    }
    say(&format!(
        "  {:>6} s  agents, merges and workspaces alone",
        Duration::from_millis(wall_ms.saturating_sub(gated_ms)).as_secs()
    ));
    let landing = gates.iter().rev().find(|(merge_id, ..)| level(merge_id) == 2);
    let examined = landing.and_then(|(merge_id, ..)| last_words(git, *merge_id));
    match examined {
        Some(words) => say(&format!("the last landing's gate said: {words}")),
        None => {
            say("the last landing's gate examined nothing: the plan's gate for main does not run `orchestrate verify`")
        }
    }
    Ok(())
}

/// How long at least one of the intervals lasted.
fn covered_ms(mut intervals: Vec<(u64, u64)>) -> u64 {
    intervals.sort_unstable();
    let (mut covered_ms, mut until) = (0, 0);
    for (from, to) in intervals {
        covered_ms += to.saturating_sub(from.max(until));
        until = until.max(to);
    }
    covered_ms
}

/// The last line of `orchestrate verify` in the log of a gate.
fn last_words(git: &Git, merge_id: MergeId) -> Option<String> {
    let log = |number: u32| {
        let name = format!("{}-{number}.log", merge_id.0);
        std::fs::read(git.state_dir().join("gates").join(name)).ok()
    };
    let log = log(2).or_else(|| log(1))?;
    let text = String::from_utf8_lossy(&log).into_owned();
    text.lines()
        .rev()
        .find(|line| line.starts_with("verify: "))
        .map(one_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_two_gates_share_counts_once() {
        assert_eq!(covered_ms(vec![(10, 20), (0, 5), (12, 30), (14, 16)]), 25);
        assert_eq!(covered_ms(Vec::new()), 0);
    }
}
