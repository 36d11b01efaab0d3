//! The hook that Claude Code asks before it stops: work that is not committed is work that is lost.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::launch::Launch;
use super::record::{RECORD_VERSION, read_record, write_record};
use crate::ids::Actor;
use crate::tags::{self, Tag};

/// After this many refusals the agent may stop as it is: the orchestrator judges what it left, and an endless loop would only burn money.
const REFUSALS_MAX: u64 = 3;

/// Changed paths that are named to the agent.
const PATHS_MAX: usize = 10;

/// How a leader's completion begins.
const LEADER_PHRASE: &str = "Phase complete";

/// What the hook must know about the attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StopHookOrder {
    version: u32,
    actor: String,
    workspace: PathBuf,
    completion_line: String,
    head: Option<String>,
}

impl StopHookOrder {
    pub(super) fn new(launch: &Launch, head: Option<String>) -> Self {
        Self {
            version: RECORD_VERSION,
            actor: launch.actor.slug(),
            workspace: launch.workspace.clone(),
            completion_line: launch.completion_line.clone(),
            head,
        }
    }

    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        write_record(path, self, false)
    }
}

/// What the hook answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopHookAnswer {
    /// The agent may stop.
    Allow,
    /// It goes on, and is told why.
    Refuse {
        /// What is missing, and the command that mends it.
        message: String,
    },
}

/// Answers for the order in this file. When the repository cannot be asked, the agent may stop: the hook helps, it does not judge.
pub fn stop_hook(order_file: &Path) -> io::Result<StopHookAnswer> {
    let order: StopHookOrder = read_record(order_file)?.ok_or(io::ErrorKind::NotFound)?;
    let Some(message) = order.missing() else {
        return Ok(StopHookAnswer::Allow);
    };
    let count_file = order_file.with_extension("refusals");
    let refusals = std::fs::metadata(&count_file).map_or(0, |metadata| metadata.len());
    if refusals >= REFUSALS_MAX {
        return Ok(StopHookAnswer::Allow);
    }
    // One byte per refusal.
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(&count_file)?
        .write_all(b".")?;
    Ok(StopHookAnswer::Refuse { message })
}

impl StopHookOrder {
    fn git(&self, arguments: &[&str]) -> Option<String> {
        let output = Command::new("git")
            .args(["--no-optional-locks", "-C"])
            .arg(&self.workspace)
            .args(arguments)
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What still has to be done before stopping, if anything.
    fn missing(&self) -> Option<String> {
        let status = self.git(&["status", "--porcelain"])?;
        if !status.trim().is_empty() {
            let paths: Vec<&str> = status.lines().take(PATHS_MAX).collect();
            return Some(format!(
                "Your workspace has changes that are not committed:\n{}\nCommit what belongs to your work with your tag, undo or remove the rest, then go on.",
                paths.join("\n")
            ));
        }
        let actor = Actor::from_slug(&self.actor);
        let range = self
            .head
            .as_ref()
            .map_or_else(|| "HEAD".to_owned(), |head| format!("{head}..HEAD"));
        let tip = self.git(&["log", "-1", "--format=%s", "HEAD"])?;
        let since = self.git(&["log", "--format=%s", &range])?;
        if since
            .lines()
            .chain(tip.lines())
            .any(|subject| self.completes(&actor, subject))
        {
            return None;
        }
        Some(format!(
            "No commit of this session completes your work. When everything is done and its tests pass, commit it with exactly this subject:\n\
             \n    git commit --allow-empty -m '{}'\n\n\
             When you cannot go on without a human, commit with the subject `[ESCALATION-NEEDED] <your question>` instead.",
            self.completion_line.replace('\'', r"'\''")
        ))
    }

    fn completes(&self, actor: &Actor, subject: &str) -> bool {
        let own_tag = tags::actor_tag(actor);
        match tags::parse_subject(subject) {
            Some(Ok(Tag::EscalationNeeded { .. })) => true,
            Some(Ok(Tag::ConflictResolved { .. })) => matches!(actor, Actor::Leader(_) | Actor::Resolver(_)),
            Some(Ok(Tag::Agent { text, .. } | Tag::Team { text, .. })) => {
                let phrase = match actor {
                    Actor::Agent(_) => self
                        .completion_line
                        .strip_prefix(&own_tag)
                        .unwrap_or(&self.completion_line),
                    Actor::Leader(_) | Actor::Resolver(_) => LEADER_PHRASE,
                };
                subject.trim_start().starts_with(&own_tag) && tags::carries_phrase(&text, phrase)
            }
            Some(Ok(Tag::Merge { .. }) | Err(_)) | None => false,
        }
    }
}
