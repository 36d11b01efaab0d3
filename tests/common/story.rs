//! A repository with the journal of a run in it, told event by event as the run would have written it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use orchestrate::core::event::{Event, GateOutcome, RULES};
use orchestrate::ids::{MergeId, Time};
use orchestrate::shell::journal::{Journal, RunLock};

use super::told::{clean, oid, plan};

/// A repository without commits, a home without configuration, and what ran there.
pub(crate) struct Story {
    pub(crate) directory: tempfile::TempDir,
    began: Time,
    open: Option<(Journal, RunLock)>,
}

/// The tree without a file, which every repository knows.
pub(crate) const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// A merge that goes through: clean, gate passed, landed.
pub(crate) fn merged(merge: u32, digit: char) -> Vec<Event> {
    let merge_id = MergeId(merge);
    vec![
        clean(merge, digit),
        Event::GateFinished {
            merge_id,
            tree: oid(digit),
            outcome: GateOutcome::Passed,
            duration_ms: 42_000,
        },
        Event::MergeLanded {
            merge_id,
            commit: oid(digit),
        },
    ]
}

impl Story {
    /// A repository where nothing has run yet.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("home")).unwrap();
        let story = Self {
            directory,
            began: Time(0),
            open: None,
        };
        fs::create_dir(story.repository()).unwrap();
        story.git(&["init", "--quiet", "--initial-branch=main"]);
        story
    }

    /// Runs git in the repository, and gives what it prints.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(self.repository())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.directory.path().join("home"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .envs([("GIT_AUTHOR_NAME", "A"), ("GIT_AUTHOR_EMAIL", "a@example.org")])
            .envs([("GIT_COMMITTER_NAME", "A"), ("GIT_COMMITTER_EMAIL", "a@example.org")])
            .envs([
                ("GIT_AUTHOR_DATE", "1700000000 +0000"),
                ("GIT_COMMITTER_DATE", "1700000000 +0000"),
            ])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A run that began `minutes` before now, and lives in this process.
    pub(crate) fn running(minutes: u64) -> Self {
        let mut story = Self::new();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        story.began = Time(u64::try_from((now - Duration::from_secs(minutes * 60)).as_millis()).unwrap());
        story.open = Some(Journal::open_for_run(&story.common_directory(), story.began).unwrap());
        let run_started = Event::RunStarted {
            run_id: "r-1".to_owned(),
            plan: Box::new(plan()),
            only_teams: Vec::new(),
            rules: RULES,
        };
        story.tell(0, &[run_started]);
        story
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.directory.path().join("shop")
    }

    pub(crate) fn common_directory(&self) -> PathBuf {
        self.repository().join(".git")
    }

    /// Appends events as of `minutes` after the run began.
    pub(crate) fn tell(&mut self, minutes: u64, events: &[Event]) {
        let at = self.began.plus(Duration::from_secs(minutes * 60));
        self.open.as_mut().unwrap().0.append(at, events).unwrap();
    }

    /// The process of the run goes away.
    pub(crate) fn dies(&mut self) {
        self.open = None;
        // A child that another test's thread forked in this very moment holds the lock's file until it runs its own program.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !matches!(Journal::lock_holder(&self.common_directory()), Ok(None)) {
            assert!(std::time::Instant::now() < deadline, "the lock stays held");
            std::thread::yield_now();
        }
    }

    /// The journal of the living run.
    pub(crate) fn journal(&mut self) -> &mut Journal {
        &mut self.open.as_mut().unwrap().0
    }

    /// The command, in the repository, with nothing inherited.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        hermetic(&self.repository(), &self.directory.path().join("home"), arguments)
    }

    /// Standard output, standard error and exit status of the command, as one text.
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        self.redact(&self.command(arguments).output().unwrap())
    }

    /// What `status --json` prints.
    pub(crate) fn json(&self) -> String {
        String::from_utf8(self.command(&["status", "--json"]).output().unwrap().stdout).unwrap()
    }

    pub(crate) fn redact(&self, output: &Output) -> String {
        let mut text = String::from_utf8(output.stdout.clone()).unwrap();
        if !output.stderr.is_empty() {
            text.push_str("------- stderr -------\n");
            text.push_str(std::str::from_utf8(&output.stderr).unwrap());
        }
        if !output.status.success() {
            text.push_str(&format!("[exit status: {}]\n", output.status.code().unwrap()));
        }
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let holder = format!("process {} on {host}", std::process::id());
        without_clocks(&text.replace(&holder, "process PID on HOST"))
            .replace(self.repository().to_str().unwrap(), "REPOSITORY")
    }
}

/// Replaces every `2026-11-22 14:02:11` and `14:02:11`.
fn without_clocks(text: &str) -> String {
    let shape = |candidate: &str, pattern: &str| {
        candidate.len() == pattern.len()
            && candidate.chars().zip(pattern.chars()).all(|(found, wanted)| {
                if wanted == 'd' {
                    found.is_ascii_digit()
                } else {
                    found == wanted
                }
            })
    };
    let mut result = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let head = |length: usize| rest.get(..length).unwrap_or_default();
        if shape(head(19), "dddd-dd-dd dd:dd:dd") {
            result.push_str("DATE TIME");
            rest = &rest[19..];
        } else if shape(head(8), "dd:dd:dd") {
            result.push_str("TIME");
            rest = &rest[8..];
        } else {
            let character = rest.chars().next().unwrap();
            result.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    result
}

fn hermetic(repository: &Path, home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orchestrate"));
    command
        .args(arguments)
        .current_dir(repository)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", home)
        .env("TZ", "UTC")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null");
    command
}
