//! The host: `run`'s side of all agents. It starts supervisors, adopts those of an earlier `run`, and tells what happens as events.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::FlockOperation;
use rustix::process::{Resource, Signal};
use thiserror::Error;
use tokio::sync::mpsc::UnboundedSender;

use super::driver::{self, Capabilities, Preparation};
use super::environment;
use super::launch::Launch;
use super::life::LifeSigns;
use super::processes::{self, ProcessHandle};
use super::record::{
    AttemptDirectory, Ending, ExitRecord, LaunchRecord, RECORD_VERSION, SessionAccount, StartedRecord, read_record,
    write_private, write_record,
};
use super::watch;
use crate::core::event::Event;
use crate::ids::{Actor, Attempt};
use crate::plan::Driver;
use crate::shell::kill_point;

/// Standard output beyond this is dropped, all but its end. A long session of a talkative agent writes some 20 MiB.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Standard error beyond this is dropped, all but its end.
const ERRORS_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Open files that a host wants to be allowed: one per live agent, and enough around it.
const OPEN_FILES_WANTED: u64 = 16_384;

/// A program that does not print its help in this time is taken to know no optional flag.
const HELP_PATIENCE: Duration = Duration::from_secs(20);

/// Why an attempt cannot be started or ended.
#[derive(Debug, Error)]
pub enum HostError {
    /// The agent's program is not there.
    #[error("cannot find the program `{program}`; install it, or name another one under `agent: program:` in the plan")]
    ProgramMissing {
        /// Its name.
        program: String,
    },
    /// The workspace is not there.
    #[error("the workspace `{workspace}` does not exist; start the run again, which makes it")]
    WorkspaceMissing {
        /// Its path.
        workspace: String,
    },
    /// Files of the attempt cannot be written or read.
    #[error("the attempt's directory `{directory}`: {what}")]
    Directory {
        /// Its path.
        directory: String,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// What a host needs to know.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// The repository's common git directory.
    pub common_directory: PathBuf,
    /// The run.
    pub run_id: String,
    /// The `orchestrate` program, which is also supervisor, replay agent and hook.
    pub own_program: PathBuf,
    /// What agents may inherit from.
    pub environment: Vec<(OsString, OsString)>,
    /// How often processor time is looked at.
    pub life_interval: Duration,
    /// From the first polite signal to SIGKILL.
    pub grace: Duration,
}

impl HostConfig {
    /// This program, this environment, a look every five seconds, ten seconds of grace.
    pub fn new(common_directory: impl Into<PathBuf>, run_id: impl Into<String>) -> io::Result<Self> {
        Ok(Self {
            common_directory: common_directory.into(),
            run_id: run_id.into(),
            own_program: std::env::current_exe()?,
            environment: std::env::vars_os().collect(),
            life_interval: Duration::from_secs(5),
            grace: Duration::from_secs(10),
        })
    }

    fn variable(&self, name: &str) -> Option<&OsStr> {
        self.environment
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_os_str())
    }
}

/// All agents of one `run`. Dropping it leaves the agents alive: the next host adopts them.
#[derive(Debug)]
pub struct AgentHost {
    shared: Arc<Shared>,
    life_task: tokio::task::JoinHandle<()>,
}

/// What the host and its watchers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: HostConfig,
    pub(super) events: UnboundedSender<Event>,
    pub(super) life: LifeSigns,
    watched: Mutex<BTreeMap<(Actor, Attempt), Option<tokio::task::AbortHandle>>>,
    capabilities: tokio::sync::Mutex<BTreeMap<PathBuf, Capabilities>>,
}

/// What the directory of an attempt says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody has started it.
    New,
    /// A supervisor lives.
    Live,
    /// It has ended, and the record says how.
    Ended,
    /// It was started, nobody supervises it, and there is no record of its end.
    Dead,
}

/// Looks at an attempt from outside.
pub(super) fn standing(directory: &AttemptDirectory) -> Standing {
    // The lock comes first: a supervisor writes the exit record before it lets go of the lock.
    if lock_is_held(directory) {
        Standing::Live
    } else if directory.exit().exists() {
        Standing::Ended
    } else if directory.started().exists() {
        Standing::Dead
    } else {
        Standing::New
    }
}

fn lock_is_held(directory: &AttemptDirectory) -> bool {
    let Ok(lock) = OpenOptions::new().read(true).open(directory.lock()) else {
        return false;
    };
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
}

impl AgentHost {
    /// A host that tells its events to `events`. Must be called inside of a tokio runtime.
    pub fn new(config: HostConfig, events: UnboundedSender<Event>) -> Self {
        raise_open_files();
        let life_interval = config.life_interval;
        let shared = Arc::new(Shared {
            config,
            events,
            life: LifeSigns::default(),
            watched: Mutex::default(),
            capabilities: tokio::sync::Mutex::default(),
        });
        let life_task = tokio::spawn(look_for_life(Arc::clone(&shared), life_interval));
        Self { shared, life_task }
    }

    /// Starts an attempt, or adopts it when it lives, or reports its end when it has ended. Asking twice does what asking once does.
    pub async fn start(&self, launch: Launch) -> Result<(), HostError> {
        let key = (launch.actor.clone(), launch.attempt);
        if !self.shared.reserve(&key) {
            return Ok(());
        }
        let started = self.start_reserved(launch, &key).await;
        if started.is_err() {
            // It may be asked for again when the cause is mended.
            self.shared.watched().remove(&key);
        }
        started
    }

    async fn start_reserved(&self, launch: Launch, key: &(Actor, Attempt)) -> Result<(), HostError> {
        let directory = AttemptDirectory::of(&self.shared.config.common_directory, &launch.actor, launch.attempt);
        directory.create().map_err(in_directory(&directory, "make it"))?;
        kill_point::reached("start.after-directory");
        let child = match standing(&directory) {
            Standing::New => {
                self.prepare(&launch, &directory).await?;
                kill_point::reached("start.before-supervisor");
                let supervisor = self
                    .spawn_supervisor(&directory)
                    .map_err(in_directory(&directory, "start its supervisor"))?;
                kill_point::reached("start.after-supervisor");
                Some(supervisor)
            }
            Standing::Live | Standing::Ended | Standing::Dead => None,
        };
        self.watch(key.clone(), directory, child);
        Ok(())
    }

    /// Adopts an attempt that lives, or reports its end when it has ended; `false` when nobody has started it yet.
    pub fn adopt(&self, actor: &Actor, attempt: Attempt) -> bool {
        let key = (actor.clone(), attempt);
        if self.shared.watched().contains_key(&key) {
            return true;
        }
        let directory = AttemptDirectory::of(&self.shared.config.common_directory, actor, attempt);
        match standing(&directory) {
            Standing::New => false,
            Standing::Live | Standing::Ended | Standing::Dead => {
                self.watch(key, directory, None);
                true
            }
        }
    }

    /// Asks an attempt to end: politely, or at once. Its `AgentExited` follows; an attempt that was never started is never started any more.
    pub async fn stop(&self, actor: &Actor, attempt: Attempt, kill: bool) -> Result<(), HostError> {
        let directory = AttemptDirectory::of(&self.shared.config.common_directory, actor, attempt);
        directory.create().map_err(in_directory(&directory, "make it"))?;
        let request = if kill {
            directory.kill_request()
        } else {
            directory.stop_request()
        };
        // First the file, then the signal: a supervisor that is just starting looks for the file when it can hear.
        write_private(&request, b"").map_err(in_directory(&directory, "leave the request"))?;
        if standing(&directory) == Standing::New {
            forbid_start(&directory).map_err(in_directory(&directory, "note that it never starts"))?;
        }
        if let Some(started) =
            read_record::<StartedRecord>(&directory.started()).map_err(in_directory(&directory, "read who runs"))?
            && started.boot_id == processes::boot_id()
            && let Some(supervisor) = ProcessHandle::open(started.supervisor)
        {
            // A supervisor that is gone in this moment has written its record.
            let _ = supervisor.signal(if kill { Signal::USR1 } else { Signal::TERM });
        }
        let key = (actor.clone(), attempt);
        if self.shared.reserve(&key) {
            self.watch(key, directory, None);
        }
        Ok(())
    }

    fn watch(&self, key: (Actor, Attempt), directory: AttemptDirectory, child: Option<Child>) {
        // The lock is held until the task is entered, so that its end cannot be noted before its beginning.
        let mut watched = self.shared.watched();
        let shared = Arc::clone(&self.shared);
        let task = tokio::spawn({
            let key = key.clone();
            async move {
                watch::watch(&shared, &key.0, key.1, &directory, child).await;
                // The key stays: the exit has been told, and is not told again.
                shared.watched().insert(key, None);
            }
        });
        watched.insert(key, Some(task.abort_handle()));
    }

    /// Writes everything that the supervisor and the agent need into the attempt's directory.
    async fn prepare(&self, launch: &Launch, directory: &AttemptDirectory) -> Result<(), HostError> {
        let config = &self.shared.config;
        if !launch.workspace.is_dir() {
            return Err(HostError::WorkspaceMissing {
                workspace: launch.workspace.display().to_string(),
            });
        }
        let (capabilities, head) = match &launch.settings.driver {
            Driver::Claude { program } => (self.capabilities(program).await?, self.head(&launch.workspace).await),
            Driver::Replay | Driver::Command { .. } => (Capabilities::default(), None),
        };
        let written = || -> io::Result<()> {
            write_private(&directory.prompt(), launch.prompt.as_bytes())?;
            if let Some(prompt) = &launch.fresh_prompt {
                write_private(&directory.fresh_prompt(), prompt.as_bytes())?;
            }
            let preparation = Preparation {
                launch,
                directory,
                own_program: &config.own_program,
                capabilities: &capabilities,
                head,
                continued: launch
                    .session
                    .as_deref()
                    .and_then(|session| self.account_of(launch, session)),
            };
            let start = driver::prepare(&preparation)?;
            let inherited = environment::inherited_names(launch, &config.environment);
            let mut set = environment::own_variables(launch, &config.run_id, &directory.prompt());
            // What the plan lets through is the user's choice, and goes before the driver's.
            set.extend(start.set.into_iter().filter(|(name, _)| !inherited.contains(name)));
            let record = LaunchRecord {
                version: RECORD_VERSION,
                actor: launch.actor.slug(),
                attempt: launch.attempt,
                run_id: config.run_id.clone(),
                dialect: start.dialect,
                workspace: launch.workspace.clone(),
                inherited,
                set,
                continued: preparation.continued,
                invocation: start.invocation,
                fallback: start.fallback,
                polite_end: start.polite_end,
                grace_ms: u64::try_from(config.grace.as_millis()).unwrap_or(u64::MAX),
                output_bytes_max: OUTPUT_BYTES_MAX,
                errors_bytes_max: ERRORS_BYTES_MAX,
            };
            write_record(&directory.launch(), &record, false)
        };
        written().map_err(in_directory(directory, "write how it is started"))
    }

    fn spawn_supervisor(&self, directory: &AttemptDirectory) -> io::Result<Child> {
        let config = &self.shared.config;
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(directory.supervisor_log())?;
        Command::new(&config.own_program)
            .arg("supervise")
            .arg(directory.path())
            // The supervisor holds no directory that somebody may want to unmount or remove.
            .current_dir("/")
            .env_clear()
            .envs(config.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
    }

    /// What a program can do, by its help text; asked once per program.
    async fn capabilities(&self, program: &str) -> Result<Capabilities, HostError> {
        let config = &self.shared.config;
        let missing = || HostError::ProgramMissing {
            program: program.to_owned(),
        };
        let file = find_program(program, config.variable("PATH")).ok_or_else(missing)?;
        let mut known = self.shared.capabilities.lock().await;
        if let Some(capabilities) = known.get(&file) {
            return Ok(capabilities.clone());
        }
        let mut command = tokio::process::Command::new(&file);
        command
            .arg("--help")
            .env_clear()
            .stdin(Stdio::null())
            .kill_on_drop(true);
        for name in ["HOME", "PATH", "TMPDIR"] {
            if let Some(value) = config.variable(name) {
                command.env(name, value);
            }
        }
        let help = match tokio::time::timeout(HELP_PATIENCE, command.output()).await {
            Ok(Ok(output)) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Ok(Err(_)) => return Err(missing()),
            Err(_) => String::new(),
        };
        let capabilities = Capabilities::of_help(help);
        known.insert(file, capabilities.clone());
        Ok(capabilities)
    }

    /// What a session had cost when the last attempt of this actor ended that continued it and was told its price.
    fn account_of(&self, launch: &Launch, session: &str) -> Option<SessionAccount> {
        (1..launch.attempt.0).rev().find_map(|attempt| {
            let directory = AttemptDirectory::of(&self.shared.config.common_directory, &launch.actor, Attempt(attempt));
            let account: SessionAccount = read_record(&directory.account()).ok()??;
            (account.session == session).then_some(account)
        })
    }

    /// The commit that a workspace stands at.
    async fn head(&self, workspace: &Path) -> Option<String> {
        let mut command = tokio::process::Command::new("git");
        command
            .arg("-C")
            .arg(workspace)
            .args(["rev-parse", "--verify", "HEAD"])
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let output = command.output().await.ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Drop for AgentHost {
    fn drop(&mut self) {
        self.life_task.abort();
        for task in self.shared.watched().values().flatten() {
            task.abort();
        }
    }
}

impl Shared {
    fn watched(&self) -> MutexGuard<'_, BTreeMap<(Actor, Attempt), Option<tokio::task::AbortHandle>>> {
        // The map is whole after every statement, so a panic elsewhere leaves nothing half done.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the right to watch an attempt, which only one has; says whether it was there to be taken.
    fn reserve(&self, key: &(Actor, Attempt)) -> bool {
        let mut watched = self.watched();
        let free = !watched.contains_key(key);
        if free {
            watched.insert(key.clone(), None);
        }
        free
    }

    pub(super) fn tell(&self, event: Event) {
        // Nobody listens any more when `run` is ending; the records stay.
        let _ = self.events.send(event);
    }
}

async fn look_for_life(shared: Arc<Shared>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        if shared.life.is_empty() {
            continue;
        }
        let shared = Arc::clone(&shared);
        // A look that panicked is made again at the next interval.
        let _ = tokio::task::spawn_blocking(move || shared.life.look(interval)).await;
    }
}

/// Leaves a record that this attempt ended before it began, unless a supervisor is about to begin after all.
fn forbid_start(directory: &AttemptDirectory) -> io::Result<()> {
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(directory.lock())?;
    // A supervisor that was quicker has left a record, or will find the request.
    if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() || directory.started().exists() {
        return Ok(());
    }
    let now_ms = u64::try_from(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis(),
    )
    .unwrap_or(u64::MAX);
    let record = ExitRecord {
        version: RECORD_VERSION,
        ending: Ending::NotStarted {
            reason: "it was asked to end before it had begun".to_owned(),
        },
        stop_requested: true,
        fell_back: false,
        leftovers_killed: 0,
        leftovers_alive: 0,
        output_bytes_dropped: 0,
        started_ms: now_ms,
        ended_ms: now_ms,
    };
    write_record(&directory.exit(), &record, true)
}

/// Finds a program as a shell would.
fn find_program(program: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    if program.contains('/') {
        return Path::new(program).is_file().then(|| PathBuf::from(program));
    }
    std::env::split_paths(path?)
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

fn raise_open_files() {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    let wanted = limit
        .maximum
        .map_or(OPEN_FILES_WANTED, |maximum| maximum.min(OPEN_FILES_WANTED));
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        // With the old limit fewer agents can live at once; starting one too many gives an error that says so.
        let _ = rustix::process::setrlimit(Resource::Nofile, limit);
    }
}

fn in_directory(directory: &AttemptDirectory, what: &'static str) -> impl FnOnce(io::Error) -> HostError + use<> {
    let directory = directory.path().display().to_string();
    move |source| HostError::Directory {
        directory,
        what,
        source,
    }
}
