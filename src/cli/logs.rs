//! `orchestrate logs`: what happened, what an agent said and did, what a gate printed.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::context::{common_directory, journal_error, print};
use super::{CliError, Global, Place};
use crate::core::event::{Event, MergeKind};
use crate::core::{State, apply};
use crate::exit_code::ExitCode;
use crate::ids::{Actor, MergeId, TeamId};
use crate::report::event_text::{self, Weight};
use crate::report::stream_text;
use crate::report::style::{Style, Tone};
use crate::report::text::{date_and_clock, iso, neutralise};
use crate::shell::journal::{self, Journal, JournalReader, Record};

/// How often `--follow` looks for more.
const FOLLOW_EVERY: Duration = Duration::from_millis(200);

/// A line longer than this is read in parts: a broken agent must not fill the memory.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Show what happened, or what an agent or a gate said
#[derive(Debug, Args)]
pub(super) struct LogsArguments {
    /// An agent (1.2) or a leader (leader-1); without one: the events of the run
    #[arg(value_name = "ACTOR")]
    actor: Option<String>,
    /// This attempt of it (default: the newest)
    #[arg(long, value_name = "N", requires = "actor")]
    attempt: Option<u32>,
    /// Go on with what is still to come
    #[arg(long, short)]
    follow: bool,
    /// Print the records as they were written, for programs
    #[arg(long)]
    raw: bool,
    /// Show what the newest gate on the actor's work printed (without an actor: the newest gate of all)
    #[arg(long, conflicts_with_all = ["attempt", "follow"])]
    gate: bool,
}

/// Runs the command.
pub(super) fn run(global: &Global, arguments: &LogsArguments) -> Result<ExitCode, CliError> {
    let place = Place::find(global)?;
    let common_directory = common_directory(&place)?;
    let Some(reader) = Journal::open_read_only(&common_directory).map_err(journal_error)? else {
        return Err(
            CliError::message(ExitCode::Environment, "there is no run in this repository yet")
                .hint("start one with `orchestrate run`"),
        );
    };
    let logs = Logs {
        directory: journal::directory(&common_directory),
        reader,
        style: Style::of(&io::stdout()),
        arguments,
    };
    match &arguments.actor {
        _ if arguments.gate => logs.gate(),
        None => logs.events(),
        Some(actor) => logs.attempt(actor),
    }?;
    Ok(ExitCode::Done)
}

struct Logs<'a> {
    directory: PathBuf,
    reader: JournalReader,
    style: Style,
    arguments: &'a LogsArguments,
}

impl Logs<'_> {
    /// The events of the run.
    fn events(&self) -> Result<(), CliError> {
        let mut state = State::default();
        let mut next_sequence = 1;
        loop {
            // Asked before reading: what a run that has just ended wrote last is read below.
            let alive = self.reader.runner_alive().map_err(journal_error)?;
            let mut text = String::new();
            self.reader
                .replay(next_sequence, |record| {
                    next_sequence = record.sequence + 1;
                    drop(apply(&mut state, record.at, &record.event));
                    text.push_str(&self.event_line(&record, &state));
                })
                .map_err(journal_error)?;
            if !print(&text)? || !self.arguments.follow || !alive {
                return Ok(());
            }
            std::thread::sleep(FOLLOW_EVERY);
        }
    }

    fn event_line(&self, record: &Record, state: &State) -> String {
        if self.arguments.raw {
            let line = serde_json::json!({ "seq": record.sequence, "at": iso(record.at), "event": record.event });
            return format!("{line}\n");
        }
        // Signs of life come every few seconds; `status` shows the newest one.
        if matches!(record.event, Event::AgentProgressed { .. }) {
            return String::new();
        }
        let arrow = self.style.arrow();
        let merge_name = |merge_id: MergeId| {
            state
                .merges
                .get(&merge_id)
                .map(|merge| format!("{} {arrow} {}", merge.source_branch, merge.target))
        };
        let line = event_text::describe(&record.event, &merge_name, self.style);
        let mark = match line.weight {
            Weight::Routine | Weight::Notable => ' ',
            Weight::Alert => '!',
        };
        let at = self.style.paint(Tone::Faint, &date_and_clock(record.at));
        format!("{at} {mark} {}\n", self.style.paint(line.tone, &line.text))
    }

    /// What an attempt wrote.
    fn attempt(&self, name: &str) -> Result<(), CliError> {
        let slug = self.known_slug(name)?;
        let attempts = self.attempts_of(&slug);
        let attempt = match self.arguments.attempt {
            Some(attempt) if attempts.contains(&attempt) => attempt,
            Some(attempt) => {
                let known: Vec<String> = attempts.iter().map(u32::to_string).collect();
                return Err(
                    CliError::message(ExitCode::Usage, format!("`{slug}` has no attempt {attempt}"))
                        .hint(format!("attempts that there are: {}", known.join(", "))),
                );
            }
            None => attempts.last().copied().unwrap_or(1),
        };
        let directory = self.directory.join("attempts").join(&slug).join(attempt.to_string());
        if !self.arguments.raw && !self.say(&format!("{slug}, attempt {attempt}: {}", directory.display()))? {
            return Ok(());
        }
        if !self.stream(&directory.join("output.jsonl"), &directory)? || self.arguments.raw {
            return Ok(());
        }
        self.errors_and_end(&directory)
    }

    /// Prints a stream, and what is added to it until the attempt has ended. `false`: nobody reads it any more.
    fn stream(&self, file: &Path, directory: &Path) -> Result<bool, CliError> {
        let mut source: Option<BufReader<File>> = None;
        let mut line = Vec::new();
        loop {
            // Asked before reading, as above.
            let ended = directory.join("exit.json").exists() || !self.arguments.follow;
            if source.is_none() {
                source = match File::open(file) {
                    Ok(file) => Some(BufReader::new(file)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                    Err(error) => return Err(unreadable(file, error)),
                };
            }
            if let Some(source) = &mut source {
                loop {
                    let room = LINE_BYTES_MAX.saturating_sub(line.len() as u64);
                    source
                        .by_ref()
                        .take(room)
                        .read_until(b'\n', &mut line)
                        .map_err(|error| unreadable(file, error))?;
                    let complete = line.ends_with(b"\n") || line.len() as u64 >= LINE_BYTES_MAX;
                    // The end of a file that still grows may be half a line.
                    if line.is_empty() || !(complete || ended) {
                        break;
                    }
                    if !self.stream_line(&line)? {
                        return Ok(false);
                    }
                    line.clear();
                }
            }
            if ended {
                return Ok(true);
            }
            std::thread::sleep(FOLLOW_EVERY);
        }
    }

    fn stream_line(&self, line: &[u8]) -> Result<bool, CliError> {
        if self.arguments.raw {
            return super::context::print_bytes(line);
        }
        print(&stream_text::render_line(&String::from_utf8_lossy(line), self.style))
    }

    /// What stands beside the stream: standard error, and how the attempt ended.
    fn errors_and_end(&self, directory: &Path) -> Result<(), CliError> {
        let errors = read_lossy(&directory.join("stderr.log"))?.unwrap_or_default();
        if !errors.trim().is_empty() {
            let heading = self.style.paint(Tone::Strong, "standard error:");
            print(&format!("{heading}\n{}\n", neutralise(errors.trim_end())))?;
        }
        let end = match read_lossy(&directory.join("exit.json"))? {
            Some(record) => format!("ended: {}", neutralise(record.trim())),
            None => "has not ended yet".to_owned(),
        };
        self.say(&end)?;
        Ok(())
    }

    fn say(&self, text: &str) -> Result<bool, CliError> {
        print(&format!("{}\n", self.style.paint(Tone::Faint, &format!("-- {text}"))))
    }

    /// What the newest gate printed.
    fn gate(&self) -> Result<(), CliError> {
        let mut state = State::default();
        self.reader
            .replay(1, |record| drop(apply(&mut state, record.at, &record.event)))
            .map_err(journal_error)?;
        let wanted = match &self.arguments.actor {
            None => None,
            Some(name) => Some(Actor::from_slug(&self.planned_slug(name, &state)?)),
        };
        let gates = self.directory.join("gates");
        // Named `<merge>-<n>.log`.
        let newest = list(&gates)
            .into_iter()
            .filter_map(|name| {
                let (merge, number) = name.strip_suffix(".log")?.split_once('-')?;
                Some((merge.parse::<u32>().ok()?, number.parse::<u32>().ok()?, name.clone()))
            })
            .filter(|(merge, _, _)| match (&wanted, state.merges.get(&MergeId(*merge))) {
                (None, _) => true,
                (Some(actor), Some(merge)) => concerns(&merge.kind, actor),
                (Some(_), None) => false,
            })
            .max();
        let Some((_, _, name)) = newest else {
            let whose = self
                .arguments
                .actor
                .as_ref()
                .map(|actor| format!(" for `{actor}`"))
                .unwrap_or_default();
            return Err(
                CliError::message(ExitCode::Environment, format!("no gate has run{whose} yet"))
                    .hint("`orchestrate status` shows what runs"),
            );
        };
        let file = gates.join(name);
        let text = read_lossy(&file)?.unwrap_or_default();
        if self.arguments.raw {
            print(&text)?;
        } else if self.say(&file.display().to_string())? {
            print(&neutralise(&text))?;
        }
        Ok(())
    }

    /// The directory name of an actor that has attempts.
    fn known_slug(&self, name: &str) -> Result<String, CliError> {
        let known = list(&self.directory.join("attempts"));
        let slug = slug_of(name);
        if known.contains(&slug) {
            return Ok(slug);
        }
        let error = CliError::message(ExitCode::Usage, format!("`{name}` has no attempt in this run"));
        Err(if known.is_empty() {
            error.hint("no agent has started yet; `orchestrate status` shows what is waited for")
        } else {
            error.hint(format!("actors that have started: {}", known.join(", ")))
        })
    }

    /// The name of an actor of the plan.
    fn planned_slug(&self, name: &str, state: &State) -> Result<String, CliError> {
        let slug = slug_of(name);
        if state.actors.contains_key(&Actor::from_slug(&slug)) {
            return Ok(slug);
        }
        let known: Vec<String> = state.actors.keys().map(Actor::slug).collect();
        Err(
            CliError::message(ExitCode::Usage, format!("`{name}` is nobody in this run's plan"))
                .hint(format!("actors of the plan: {}", known.join(", "))),
        )
    }

    fn attempts_of(&self, slug: &str) -> Vec<u32> {
        let mut attempts: Vec<u32> = list(&self.directory.join("attempts").join(slug))
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect();
        attempts.sort_unstable();
        attempts
    }
}

/// `1.2`, `agent 1.2`, `agent-1-2` and `AGENT-1-2` all mean the same agent; `leader-1`, `leader 1` and `team-1` the same leader.
fn slug_of(name: &str) -> String {
    let lower = name.trim().to_ascii_lowercase().replace(' ', "-");
    for prefix in ["leader-", "team-"] {
        if let Some(team) = lower.strip_prefix(prefix) {
            return Actor::Leader(TeamId::new(team)).slug();
        }
    }
    lower
        .strip_prefix("agent-")
        .map_or_else(|| name.trim().to_owned(), |agent| agent.replace('-', "."))
}

/// Whether a merge brings an actor's work. Landings and syncs of a team are its leader's business.
fn concerns(kind: &MergeKind, actor: &Actor) -> bool {
    match (kind, actor) {
        (MergeKind::Agent(agent_id), Actor::Agent(wanted)) => agent_id == wanted,
        (
            MergeKind::Integration(team_id)
            | MergeKind::Sync(team_id)
            | MergeKind::Landing(team_id)
            | MergeKind::Decision { team_id, .. },
            Actor::Leader(wanted) | Actor::Resolver(wanted),
        ) => team_id == wanted,
        (MergeKind::Agent(_), Actor::Leader(_) | Actor::Resolver(_))
        | (
            MergeKind::Integration(_) | MergeKind::Sync(_) | MergeKind::Landing(_) | MergeKind::Decision { .. },
            Actor::Agent(_),
        ) => false,
    }
}

/// Names in a directory, sorted; none when it is not there.
fn list(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

fn read_lossy(file: &Path) -> Result<Option<String>, CliError> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(file, error)),
    }
}

fn unreadable(file: &Path, error: io::Error) -> CliError {
    let context = format!("cannot read `{}`", file.display());
    CliError::new(ExitCode::Environment, anyhow::Error::new(error).context(context))
}

#[cfg(test)]
mod tests {
    use super::slug_of;

    #[test]
    fn an_actor_may_be_named_as_anything_that_people_see() {
        for name in ["1.2", " 1.2 ", "agent 1.2", "agent-1-2", "AGENT-1-2"] {
            assert_eq!(slug_of(name), "1.2", "{name}");
        }
        for name in ["leader-1", "leader 1", "team-1", "TEAM-1"] {
            assert_eq!(slug_of(name), "leader-1", "{name}");
        }
    }
}
