//! Runs one git command: cleaned environment, nothing interactive, a deadline, output in memory.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::error::GitError;

/// Plumbing answers in milliseconds; a minute means a dead disk or a lock that nobody releases.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Checking out a huge tree may take long.
pub(super) const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(600);
/// How much of git's complaints goes into an error.
const DETAIL_MAX_BYTES: usize = 2000;

/// Variables that would point git at another repository, or change what its plumbing prints.
const REMOVED_VARIABLES: &[&str] = &[
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_QUARANTINE_PATH",
    "GIT_EXTERNAL_DIFF",
    "GIT_DIFF_OPTS",
    "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
    "GIT_ATTR_SOURCE",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE",
    "GIT_DEFAULT_HASH",
    "GIT_DEFAULT_REF_FORMAT",
    "GIT_REFLOG_ACTION",
];

/// Settings that every git child gets: a repacking in the background would fight with the agents' git, and merges must not depend on who runs them.
pub(super) const QUIET_CONFIG: &[(&str, &str)] = &[
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("gc.autoDetach", "false"),
    // Many agents commit at once into one set of tables: whoever finds them locked waits its turn instead of failing after a tenth of a second. Plain ref
    // files are locked one by one, and there a long wait would only make a lock that a killed process left behind expensive.
    ("reftable.lockTimeout", "20000"),
];

/// Settings that a merge could depend on, set to git's own defaults.
const MERGE_CONFIG: &[(&str, &str)] = &[
    ("merge.renames", "true"),
    ("merge.directoryRenames", "conflict"),
    ("diff.renames", "true"),
    ("diff.algorithm", "default"),
    ("core.quotePath", "false"),
    ("submodule.recurse", "false"),
    ("core.fsmonitor", "false"),
];

/// What a git command answered.
pub(super) struct Output {
    /// Exit status; `None` when a signal ended it.
    pub(super) code: Option<i32>,
    /// Its standard output.
    pub(super) stdout: Vec<u8>,
    /// Its standard error.
    pub(super) stderr: String,
}

/// A git command to be run.
pub(super) struct GitCommand {
    command: Command,
    name: String,
    input: Option<Vec<u8>>,
    timeout: Duration,
}

impl GitCommand {
    /// `git <arguments>` in `directory`.
    pub(super) fn new<I, A>(directory: &Path, arguments: I) -> Self
    where
        I: IntoIterator<Item = A>,
        A: AsRef<OsStr>,
    {
        let arguments: Vec<OsString> = arguments
            .into_iter()
            .map(|argument| argument.as_ref().to_owned())
            .collect();
        let name = arguments
            .iter()
            .take(4)
            .map(|argument| argument.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ");
        let mut command = base_command(directory);
        command.args(&arguments);
        Self {
            command,
            name,
            input: None,
            timeout: TIMEOUT,
        }
    }

    /// Gives it something to read.
    pub(super) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Sets a variable for it.
    pub(super) fn variable(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Gives it more or less time.
    pub(super) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets variables for it.
    pub(super) fn variables(mut self, variables: Vec<(&'static str, OsString)>) -> Self {
        self.command.envs(variables);
        self
    }

    /// Keeps it from refreshing the index: for commands that only look at somebody's checkout.
    pub(super) fn read_only(mut self) -> Self {
        self.command.env("GIT_OPTIONAL_LOCKS", "0");
        self
    }

    /// Runs it to its end; any exit status is an answer.
    pub(super) fn output(mut self) -> Result<Output, GitError> {
        let deadline = Instant::now() + self.timeout;
        let mut child = self
            .command
            .stdin(if self.input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| GitError::Missing { source })?;
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), self.input.take()) {
            // A thread of its own, so that a command that answers before it has read everything cannot lock us up.
            // A closed pipe shows in the exit status.
            std::thread::spawn(move || drop(stdin.write_all(&input)));
        }
        let (sender, receiver) = mpsc::channel();
        read_all(child.stdout.take(), false, sender.clone());
        read_all(child.stderr.take(), true, sender);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((true, bytes)) => stderr = bytes,
                Ok((false, bytes)) => stdout = bytes,
                Err(_) => {
                    // Both may fail only when the child is gone already.
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(GitError::TimedOut {
                        command: self.name,
                        seconds: self.timeout.as_secs(),
                    });
                }
            }
        }
        let status = child.wait().map_err(|source| GitError::Missing { source })?;
        Ok(Output {
            code: status.code(),
            stdout,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        })
    }

    /// Runs it; anything but exit status 0 is an error. Gives the standard output.
    pub(super) fn success(self) -> Result<Vec<u8>, GitError> {
        let name = self.name.clone();
        let output = self.output()?;
        match output.code {
            Some(0) => Ok(output.stdout),
            _ => Err(failed(&name, &output)),
        }
    }

    /// Runs it; exit status 0 is yes, 1 is no.
    pub(super) fn decision(self) -> Result<bool, GitError> {
        let name = self.name.clone();
        let output = self.output()?;
        match output.code {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(failed(&name, &output)),
        }
    }

    /// Runs it; gives the trimmed standard output as text.
    pub(super) fn text(self) -> Result<String, GitError> {
        Ok(String::from_utf8_lossy(&self.success()?)
            .trim_end_matches('\n')
            .to_owned())
    }
}

/// The error for an output that was not wanted.
pub(super) fn failed(name: &str, output: &Output) -> GitError {
    let said = output.stderr.trim();
    let mut start = said.len().saturating_sub(DETAIL_MAX_BYTES);
    while !said.is_char_boundary(start) {
        start += 1;
    }
    let detail = match (said.is_empty(), output.code) {
        (false, _) => said[start..].to_owned(),
        (true, Some(code)) => format!("exit status {code}"),
        (true, None) => "ended by a signal".to_owned(),
    };
    GitError::Failed {
        command: name.to_owned(),
        detail,
    }
}

/// A git command without arguments yet, with the environment that every child gets.
pub(super) fn base_command(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(directory)
        .env("LC_ALL", "C")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_PAGER", "cat")
        .env("GIT_EDITOR", "false");
    for name in REMOVED_VARIABLES {
        command.env_remove(name);
    }
    let inherited = std::env::var("GIT_CONFIG_COUNT")
        .ok()
        .and_then(|count| count.parse::<usize>().ok())
        .unwrap_or(0);
    for (name, value) in config_environment(inherited, QUIET_CONFIG.iter().chain(MERGE_CONFIG).copied()) {
        command.env(name, value);
    }
    command
}

/// Git settings as environment variables, numbered from `first`.
pub(super) fn config_environment<'a>(
    first: usize,
    settings: impl Iterator<Item = (&'a str, &'a str)>,
) -> Vec<(String, String)> {
    let mut environment = Vec::new();
    let mut count = first;
    for (key, value) in settings {
        environment.push((format!("GIT_CONFIG_KEY_{count}"), key.to_owned()));
        environment.push((format!("GIT_CONFIG_VALUE_{count}"), value.to_owned()));
        count += 1;
    }
    environment.push(("GIT_CONFIG_COUNT".to_owned(), count.to_string()));
    environment
}

fn read_all(source: Option<impl Read + Send + 'static>, is_stderr: bool, sender: mpsc::Sender<(bool, Vec<u8>)>) {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut source) = source {
            // A read error ends the output; the exit status tells the rest.
            let _ = source.read_to_end(&mut bytes);
        }
        // The receiver is gone when the deadline has passed.
        let _ = sender.send((is_stderr, bytes));
    });
}

/// The NUL-separated fields of an output.
pub(super) fn fields(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    let count = if bytes.is_empty() { 0 } else { usize::MAX };
    bytes.split(|byte| *byte == 0).take(count)
}

/// The NUL-separated fields of an output as text.
pub(super) fn text_fields(bytes: &[u8]) -> impl Iterator<Item = String> {
    fields(bytes).map(|field| String::from_utf8_lossy(field).into_owned())
}
