//! The directory of one attempt: the only thing that `run` and a supervisor share. All formats here carry a version; readers refuse newer ones.

use std::fs::DirBuilder;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::core::event::Usage;
use crate::ids::{Actor, Attempt};
use crate::shell::kill_point;

/// Version of every record in the directory.
pub const RECORD_VERSION: u32 = 1;

/// The paths of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptDirectory {
    root: PathBuf,
}

impl AttemptDirectory {
    /// The directory of an attempt below the repository's common git directory. Nothing is made.
    pub fn of(common_directory: &Path, actor: &Actor, attempt: Attempt) -> Self {
        let root = common_directory
            .join("orchestrate/attempts")
            .join(actor.slug())
            .join(attempt.to_string());
        Self { root }
    }

    /// The directory at exactly this path.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// What the agent is asked to do.
    pub fn prompt(&self) -> PathBuf {
        self.root.join("prompt.md")
    }

    /// The whole prompt, for a session that cannot be continued after all.
    pub fn fresh_prompt(&self) -> PathBuf {
        self.root.join("prompt-fresh.md")
    }

    /// How the agent is started: [`LaunchRecord`].
    pub fn launch(&self) -> PathBuf {
        self.root.join("launch.json")
    }

    /// Locked by the supervisor for as long as it lives.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Who runs: [`StartedRecord`].
    pub fn started(&self) -> PathBuf {
        self.root.join("started.json")
    }

    /// What the agent wrote to standard output.
    pub fn output(&self) -> PathBuf {
        self.root.join("output.jsonl")
    }

    /// What the agent wrote to standard error.
    pub fn errors(&self) -> PathBuf {
        self.root.join("stderr.log")
    }

    /// What the supervisor itself had to say; usually empty.
    pub fn supervisor_log(&self) -> PathBuf {
        self.root.join("supervisor.log")
    }

    /// Exists when the agent was asked to end.
    pub fn stop_request(&self) -> PathBuf {
        self.root.join("stop")
    }

    /// Exists when the agent was to be killed.
    pub fn kill_request(&self) -> PathBuf {
        self.root.join("kill")
    }

    /// What the vendor's session had cost when this attempt ended: [`SessionAccount`].
    pub fn account(&self) -> PathBuf {
        self.root.join("account.json")
    }

    /// How it ended: [`ExitRecord`].
    pub fn exit(&self) -> PathBuf {
        self.root.join("exit.json")
    }

    /// Makes the directory, readable by its owner only: prompts and output are nobody else's business.
    pub fn create(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.root)
    }
}

/// How an attempt is started. It holds names of inherited variables, never their values, so that no secret is copied to disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaunchRecord {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// [`Actor::slug`].
    pub actor: String,
    /// Which attempt.
    pub attempt: Attempt,
    /// The run that it belongs to.
    pub run_id: String,
    /// How the output is to be read.
    pub dialect: Dialect,
    /// The agent's working directory.
    pub workspace: PathBuf,
    /// Names of variables that the agent inherits when they are set.
    pub inherited: Vec<String>,
    /// Variables that are set for the agent.
    pub set: Vec<(String, String)>,
    /// What the session that is continued had cost before.
    pub continued: Option<SessionAccount>,
    /// What is run.
    pub invocation: Invocation,
    /// What is run instead, when the first answer is that there is no such session.
    pub fallback: Option<Fallback>,
    /// How a polite end is asked for.
    pub polite_end: PoliteEnd,
    /// From the first polite signal to SIGKILL, in milliseconds.
    pub grace_ms: u64,
    /// Standard output beyond this is dropped, all but its end.
    pub output_bytes_max: u64,
    /// Standard error beyond this is dropped, all but its end.
    pub errors_bytes_max: u64,
}

impl LaunchRecord {
    /// The variables that only processes of this attempt carry, as `NAME=value`.
    pub fn marks(&self) -> Vec<String> {
        self.set
            .iter()
            .filter(|(name, _)| MARKS.contains(&name.as_str()))
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }
}

/// The variables that together name an attempt in the environment of its processes.
const MARKS: [&str; 4] = [
    "ORCHESTRATE_RUN",
    "ORCHESTRATE_ROLE",
    "ORCHESTRATE_AGENT",
    "ORCHESTRATE_ATTEMPT",
];

/// How an agent's output is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// One JSON document per line, the last one a result. Its absence is a failure.
    Claude,
    /// Any text; lines in the stream-json form are understood, and the exit status decides.
    Free,
}

/// A program with its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invocation {
    /// Found by `PATH` when it has no slash. `None`: the supervisor's own program.
    pub program: Option<String>,
    /// Arguments.
    pub arguments: Vec<String>,
    /// The file that becomes standard input.
    pub input: PathBuf,
}

/// A second start within the same attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// Taken when the first process failed and wrote this to standard error.
    pub when_errors_contain: String,
    /// What is run then.
    pub invocation: Invocation,
    /// Variables that are set differently for it.
    pub set: Vec<(String, String)>,
}

/// What a vendor's session has cost over all processes that continued it, by the vendor's own figures.
///
/// A continued session reports totals since its very beginning, so what an attempt cost is the difference between two of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionAccount {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// The session.
    pub session: String,
    /// Its totals.
    pub total: Usage,
}

/// How a polite end is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoliteEnd {
    /// SIGINT, then SIGTERM, then SIGKILL: for programs that write their result when interrupted.
    Interrupt,
    /// SIGTERM, then SIGKILL.
    Terminate,
}

/// A process, by more than its number: numbers are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessIdentity {
    /// Its number.
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: clock ticks from boot to its start.
    pub start_ticks: u64,
}

/// Who runs. Written before the agent is started, and once more when it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartedRecord {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// Which boot of the machine; numbers of another boot mean nothing.
    pub boot_id: String,
    /// The supervisor. Its number is also the session that the agent starts in.
    pub supervisor: ProcessIdentity,
    /// The agent, whose number is also its process group's; `None` while it is being started.
    pub agent: Option<ProcessIdentity>,
    /// Milliseconds since 1970.
    pub started_ms: u64,
}

/// How an attempt ended. Written, and synced to disk, when nothing of the agent is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExitRecord {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// What ended it.
    pub ending: Ending,
    /// Whether the end was asked for before it came.
    pub stop_requested: bool,
    /// Whether the fallback ran.
    pub fell_back: bool,
    /// Processes of it that were still there and had to be killed.
    pub leftovers_killed: u32,
    /// Processes of it that could not be killed.
    pub leftovers_alive: u32,
    /// Bytes of standard output that were not kept.
    pub output_bytes_dropped: u64,
    /// Milliseconds since 1970.
    pub started_ms: u64,
    /// Milliseconds since 1970.
    pub ended_ms: u64,
}

/// What ended an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It exited with this status.
    Exited(i32),
    /// This signal killed it.
    Signalled(i32),
    /// It was never started, and will not be.
    NotStarted {
        /// Why.
        reason: String,
    },
}

/// Writes a record so that a reader sees the old one or the new one, never half of one.
///
/// The rename is atomic against a crash of any process. Against a crash of the machine the content is synced only when `durable` asks for it, and the
/// directory entry not even then: a record that is lost so is read as "the attempt is lost", which is true.
pub fn write_record<T: Serialize>(path: &Path, record: &T, durable: bool) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    // Temporary files are made with mode 0600.
    let mut file = tempfile::Builder::new().prefix(".record-").tempfile_in(directory)?;
    serde_json::to_writer_pretty(&mut file, record)?;
    file.write_all(b"\n")?;
    if durable {
        kill_point::reached("record.before-sync");
        file.as_file().sync_data()?;
        kill_point::reached("record.after-sync");
    }
    file.persist(path).map_err(|error| error.error)?;
    kill_point::reached("record.after-rename");
    Ok(())
}

/// Reads a record; `None` when there is none. A record of a newer version is an error.
pub fn read_record<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let invalid =
        |message: String| io::Error::new(io::ErrorKind::InvalidData, format!("`{}`: {message}", path.display()));
    let versioned: Versioned = serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
    if versioned.version > RECORD_VERSION {
        return Err(invalid(format!(
            "was written by a newer `orchestrate` (record version {}); update this one",
            versioned.version
        )));
    }
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| invalid(error.to_string()))
}

/// Writes a file whole, readable by its owner only; a reader sees the old content or the new.
pub(super) fn write_private(path: &Path, text: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut file = tempfile::Builder::new().prefix(".record-").tempfile_in(directory)?;
    file.write_all(text)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
