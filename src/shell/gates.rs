//! Gates: a command that runs on a merged tree, in a worktree of its own, with a time limit, a log, and one more try.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::process::Command as ProcessCommand;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;

use crate::core::event::{EffectKey, Event, GateOutcome};
use crate::ids::{MergeId, Oid};
use crate::plan::Plan;
use crate::shell::agent::processes;
use crate::shell::git::{Git, GitError};
use crate::shell::kill_point;
use crate::shell::workspace::{WorkspaceError, Workspaces};

/// So much of a gate's output reaches the journal and the agent: its end, where the reasons stand.
const OUTPUT_TAIL_BYTES: u64 = 12 * 1024;
/// A gate that prints without end is cut here, and its log with it.
const LOG_MAX_BYTES: u64 = 32 * 1024 * 1024;
/// How often a running gate's log is measured.
const LOG_CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// The variable by which leftovers of a gate are found after a crash of ours.
const MARK: &str = "ORCHESTRATE_GATE_OF";

#[derive(Debug, Error)]
enum GateError {
    #[error("{0}")]
    Git(#[from] GitError),
    #[error("{0}")]
    Workspace(#[from] WorkspaceError),
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot start the gate's shell: {0}")]
    Spawn(std::io::Error),
}

/// Runs gates.
pub struct GateRunner {
    git: Arc<Git>,
    run_id: String,
    events: UnboundedSender<Event>,
    slots: Arc<Mutex<BTreeSet<usize>>>,
    running: JoinSet<()>,
}

/// One gate to be run.
struct GateJob {
    git: Arc<Git>,
    plan: Arc<Plan>,
    run_id: String,
    merge_id: MergeId,
    tree: Oid,
    parents: [Oid; 2],
    command: String,
    slot: usize,
}

impl GateRunner {
    /// Gets ready, and ends what a gate of a crashed process may have left running: it would write into worktrees that are used again.
    pub fn new(git: Arc<Git>, run_id: String, events: UnboundedSender<Event>) -> Self {
        processes::kill_marked(&[format!("{MARK}={run_id}")]);
        Self {
            git,
            run_id,
            events,
            slots: Arc::default(),
            running: JoinSet::new(),
        }
    }

    /// Starts a gate; its answer comes as an event.
    pub fn start(&mut self, plan: Arc<Plan>, merge_id: MergeId, tree: Oid, parents: [Oid; 2], command: String) {
        while self.running.try_join_next().is_some() {}
        let slots = Arc::clone(&self.slots);
        let slot = take_slot(&slots);
        let job = GateJob {
            git: Arc::clone(&self.git),
            plan,
            run_id: self.run_id.clone(),
            merge_id,
            tree,
            parents,
            command,
            slot,
        };
        let events = self.events.clone();
        self.running.spawn(async move {
            let event = run(&job).await.unwrap_or_else(|error| Event::EffectFailed {
                effect: EffectKey::Gate(job.merge_id, job.tree.clone()),
                error: error.to_string(),
                retriable: true,
            });
            release_slot(&slots, slot);
            // The loop is gone when the run is over: the gate runs again then.
            let _ = events.send(event);
        });
    }

    /// Ends all gates and waits until nothing of them is left.
    pub async fn shut_down(&mut self) {
        self.running.shutdown().await;
        processes::kill_marked(&[format!("{MARK}={}", self.run_id)]);
    }
}

fn take_slot(slots: &Mutex<BTreeSet<usize>>) -> usize {
    let mut taken = slots.lock().unwrap_or_else(PoisonError::into_inner);
    let slot = (1..).find(|slot| !taken.contains(slot)).unwrap_or(usize::MAX);
    taken.insert(slot);
    slot
}

fn release_slot(slots: &Mutex<BTreeSet<usize>>, slot: usize) {
    slots.lock().unwrap_or_else(PoisonError::into_inner).remove(&slot);
}

async fn run(job: &GateJob) -> Result<Event, GateError> {
    let started = Instant::now();
    let mut outcome = run_once(job).await?;
    if let GateOutcome::Failed { .. } = outcome {
        // Once more on the same tree: agents' tests are young, and a flake must not cost an attempt. It is recorded as what it is.
        outcome = match run_once(job).await? {
            GateOutcome::Passed | GateOutcome::Flaky => GateOutcome::Flaky,
            failed @ (GateOutcome::Failed { .. } | GateOutcome::TimedOut { .. }) => failed,
        };
    }
    Ok(Event::GateFinished {
        merge_id: job.merge_id,
        tree: job.tree.clone(),
        outcome,
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// A log of its own for each time that a gate runs: two trees of one merge may be tested at once, before and in its turn.
fn new_log(directory: &Path, merge_id: MergeId) -> Result<(File, PathBuf), GateError> {
    let mut number = 1_u32;
    loop {
        let path = directory.join(format!("{}-{number}.log", merge_id.0));
        match File::create_new(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < u32::MAX => number += 1,
            Err(source) => {
                return Err(GateError::File {
                    what: "make",
                    path,
                    source,
                });
            }
        }
    }
}

async fn run_once(job: &GateJob) -> Result<GateOutcome, GateError> {
    kill_point::reached("gate.before-worktree");
    let worktree = prepare(job).await?;
    kill_point::reached("gate.after-worktree");
    let directory = job.git.state_dir().join("gates");
    fs::create_dir_all(&directory).map_err(|source| GateError::File {
        what: "make",
        path: directory.clone(),
        source,
    })?;
    let (mut log, log_path) = new_log(&directory, job.merge_id)?;
    let file_error = |source| GateError::File {
        what: "write",
        path: log_path.clone(),
        source,
    };
    writeln!(log, "$ {}", job.command).map_err(file_error)?;
    let output = log.try_clone().map_err(file_error)?;
    let errors = log.try_clone().map_err(file_error)?;
    let path = own_program_first(&job.git.state_dir()).map_err(|source| GateError::File {
        what: "name the running program in",
        path: job.git.state_dir(),
        source,
    })?;
    let mut child = ProcessCommand::new("sh")
        .arg("-c")
        .arg(&job.command)
        .current_dir(&worktree)
        .env("PATH", path)
        .envs(Git::quiet_environment())
        .env(MARK, &job.run_id)
        .env("CI", "true")
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(GateError::Spawn)?;
    kill_point::reached("gate.after-start");
    let group = child.id();
    let guard = GroupGuard { group };
    let deadline = tokio::time::sleep(job.plan.gates.timeout);
    tokio::pin!(deadline);
    let mut check = tokio::time::interval(LOG_CHECK_INTERVAL);
    let status = loop {
        tokio::select! {
            status = child.wait() => break Some(status.map_err(GateError::Spawn)?),
            () = &mut deadline => break None,
            _ = check.tick() => {
                let size = log.metadata().map_err(file_error)?.len();
                if size > LOG_MAX_BYTES {
                    writeln!(log, "\n[stopped: more than {} MiB of output]", LOG_MAX_BYTES >> 20).map_err(file_error)?;
                    guard.kill();
                }
            }
        }
    };
    // Whatever the gate left running would hold the worktree.
    drop(guard);
    let _ = child.wait().await;
    kill_point::reached("gate.after-end");
    let tail = tail(&log_path).map_err(file_error)?;
    Ok(match status {
        Some(status) if status.success() => GateOutcome::Passed,
        Some(status) => GateOutcome::Failed {
            output: format!("{tail}\n[{status}]"),
        },
        None => GateOutcome::TimedOut { output: tail },
    })
}

/// The `PATH` of a gate: `orchestrate` in it is the very program that runs, wherever that stands and whatever else is installed. Its own directory is not on
/// it, because that may hold other programs that would then come first.
fn own_program_first(state_directory: &Path) -> std::io::Result<OsString> {
    let directory = state_directory.join("bin");
    let link = directory.join("orchestrate");
    let program = std::env::current_exe()?;
    fs::create_dir_all(&directory)?;
    // A program that was replaced while it runs is gone by that name: then the link of before, or whatever is on the PATH, has to do.
    if program.exists() && fs::read_link(&link).ok().as_ref() != Some(&program) {
        let fresh = directory.join(format!("orchestrate-{}", std::process::id()));
        let _ = fs::remove_file(&fresh);
        std::os::unix::fs::symlink(&program, &fresh)?;
        fs::rename(&fresh, &link)?;
    }
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(directory).chain(std::env::split_paths(&inherited)))
        .map_err(std::io::Error::other)
}

/// Checks the candidate out where the gate runs, and says where that is.
async fn prepare(job: &GateJob) -> Result<PathBuf, GateError> {
    let (git, plan, slot) = (Arc::clone(&job.git), Arc::clone(&job.plan), job.slot);
    let (tree, parents) = (job.tree.clone(), job.parents.clone());
    let work = move || -> Result<PathBuf, GateError> {
        let workspaces = Workspaces::new(&git, &plan.workspace);
        let worktree = workspaces.of_gate(slot);
        let candidate = git.candidate_commit(&tree, &parents, "Candidate for a gate")?;
        git.ensure_gate_worktree(&worktree, &candidate, &workspaces.kept_paths())?;
        workspaces.prepare(&git, &worktree)?;
        Ok(worktree)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(GateError::Spawn(std::io::Error::other(error))),
    }
}

/// Ends a gate's whole process group when the gate is over, timed out, or dropped.
struct GroupGuard {
    group: Option<u32>,
}

impl GroupGuard {
    fn kill(&self) {
        let group = self
            .group
            .and_then(|group| i32::try_from(group).ok())
            .and_then(rustix::process::Pid::from_raw);
        if let Some(group) = group {
            // Nobody is left when it fails.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for GroupGuard {
    fn drop(&mut self) {
        self.kill();
    }
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(OUTPUT_TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(OUTPUT_TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]
mod tests {
    use super::*;

    #[test]
    fn gates_of_one_merge_never_write_into_the_same_log() {
        let directory = tempfile::tempdir().unwrap();
        let named = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        let (_first, path) = new_log(directory.path(), MergeId(7)).unwrap();
        assert_eq!(named(path), "7-1.log");
        let (_second, path) = new_log(directory.path(), MergeId(7)).unwrap();
        assert_eq!(named(path), "7-2.log");
        let (_other, path) = new_log(directory.path(), MergeId(8)).unwrap();
        assert_eq!(named(path), "8-1.log");
        assert!(new_log(&directory.path().join("absent"), MergeId(1)).is_err());
    }
}
