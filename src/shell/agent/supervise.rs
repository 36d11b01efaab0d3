//! The supervisor: one small process per attempt, which owns the agent's process group and outlives `run`.
//!
//! It starts the agent at most once however often it is asked to: whoever holds the lock works, and whoever finds a record of a start leaves at once.
//! A polite end is asked for with SIGTERM, an immediate one with SIGUSR1; both are also left as a file before the signal is sent, so that a request that
//! comes before the handlers stand is found when they do.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::FlockOperation;
use rustix::process::{Pid, Signal, WaitOptions};
use thiserror::Error;
use tokio::process::Child;
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use tokio::time::Instant;

use crate::shell::kill_point;

use super::limits::{self, ControlGroup};
use super::processes::{self, ProcessFacts, ProcessTree};
use super::pump::Pump;
use super::record::{
    AttemptDirectory, Ending, ExitRecord, Fallback, Invocation, LaunchRecord, PoliteEnd, ProcessIdentity,
    RECORD_VERSION, StartedRecord, read_record, write_record,
};

/// After this long a process that was killed and is still there is given up: it hangs in the kernel.
const SWEEP_PATIENCE: Duration = Duration::from_secs(10);

/// When all processes are gone, the pipes end at once; somebody who escaped with one is not waited for.
const PIPE_PATIENCE: Duration = Duration::from_millis(500);

/// A lock that is held and not by a look is soon followed by a record of a start.
const LOCK_TRIES_MAX: u32 = 40;

/// Between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// How much of standard error is searched for the fallback's sentence.
const FALLBACK_ERRORS_BYTES_MAX: u64 = 64 * 1024;

/// Why a supervisor cannot do its work.
#[derive(Debug, Error)]
pub enum SuperviseError {
    /// The directory is not one that `run` made.
    #[error("`{directory}` holds no launch record; supervisors are started by `orchestrate run`")]
    NoLaunch {
        /// The directory.
        directory: String,
    },
    /// Something about the directory or the process failed.
    #[error("supervising `{directory}`: {what}")]
    Io {
        /// The directory.
        directory: String,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// Runs one attempt to its end. Returns at once, without an error, when somebody else does or did.
pub fn supervise(directory: &Path) -> Result<(), SuperviseError> {
    let directory = AttemptDirectory::at(directory);
    let failed = |what: &'static str| {
        let directory = directory.path().display().to_string();
        move |source: io::Error| SuperviseError::Io {
            directory,
            what,
            source,
        }
    };
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(directory.lock())
        .map_err(failed("open the lock"))?;
    let begun = || directory.started().exists() || directory.exit().exists();
    let mut tries_left = LOCK_TRIES_MAX;
    loop {
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(rustix::io::Errno::WOULDBLOCK) if begun() || tries_left == 0 => return Ok(()),
            // Somebody may only be looking whether the lock is held.
            Err(rustix::io::Errno::WOULDBLOCK) => {
                tries_left -= 1;
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(error) => return Err(failed("take the lock")(error.into())),
        }
    }
    if begun() {
        return Ok(());
    }
    let launch: LaunchRecord = read_record(&directory.launch())
        .map_err(failed("read the launch record"))?
        .ok_or_else(|| SuperviseError::NoLaunch {
            directory: directory.path().display().to_string(),
        })?;

    // Out of the terminal's session, so that its signals do not come here. It fails only where the process leads a group of its own already, which serves as well.
    let _ = rustix::process::setsid();
    // Descendants that lose their parent become children of this process instead of the system's, so that none is out of sight.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|error| failed("become the reaper")(error.into()))?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed("start the event loop"))?;
    runtime
        .block_on(Supervisor::run(&directory, &launch))
        .map_err(failed("run the agent"))
}

/// What a supervisor hears.
struct Ears {
    polite: SignalStream,
    at_once: SignalStream,
    child: SignalStream,
}

struct Supervisor<'a> {
    directory: &'a AttemptDirectory,
    launch: &'a LaunchRecord,
    ears: Ears,
    started_ms: u64,
    own: ProcessIdentity,
    /// The oldest process that can belong to the agent started then.
    first_agent_ticks: Option<u64>,
    groups: BTreeSet<i32>,
    stop_requested: bool,
    leftovers_killed: u32,
    /// What bounds the number of the agent's processes, where the system allows it.
    control_group: Option<ControlGroup>,
    /// Processes that the last sweep could not end.
    leftovers_alive: u32,
    output_bytes_dropped: u64,
}

impl<'a> Supervisor<'a> {
    async fn run(directory: &'a AttemptDirectory, launch: &'a LaunchRecord) -> io::Result<()> {
        let ears = Ears {
            polite: signal(SignalKind::terminate())?,
            at_once: signal(SignalKind::user_defined1())?,
            child: signal(SignalKind::child())?,
        };
        let own_pid = rustix::process::getpid().as_raw_nonzero().get();
        let own = ProcessFacts::of(own_pid).ok_or(io::ErrorKind::NotFound)?.identity();
        let mut supervisor = Self {
            directory,
            launch,
            ears,
            started_ms: now_ms(),
            own,
            first_agent_ticks: None,
            groups: BTreeSet::new(),
            stop_requested: false,
            leftovers_killed: 0,
            control_group: ControlGroup::make(),
            leftovers_alive: 0,
            output_bytes_dropped: 0,
        };
        kill_point::reached("supervisor.before-started");
        supervisor.write_started(None)?;
        kill_point::reached("supervisor.after-started");

        let mut fell_back = false;
        let mut ending = supervisor.run_stage(&launch.invocation, &[]).await;
        if let Some(fallback) = supervisor.fallback_for(&ending) {
            fell_back = true;
            ending = supervisor.run_stage(&fallback.invocation, &fallback.set).await;
        }
        let record = ExitRecord {
            version: RECORD_VERSION,
            ending,
            stop_requested: supervisor.stop_requested,
            fell_back,
            leftovers_killed: supervisor.leftovers_killed,
            leftovers_alive: supervisor.leftovers_alive,
            output_bytes_dropped: supervisor.output_bytes_dropped,
            started_ms: supervisor.started_ms,
            ended_ms: now_ms(),
        };
        kill_point::reached("supervisor.before-exit");
        write_record(&directory.exit(), &record, true)?;
        kill_point::reached("supervisor.after-exit");
        Ok(())
    }

    fn write_started(&self, agent: Option<ProcessIdentity>) -> io::Result<()> {
        let record = StartedRecord {
            version: RECORD_VERSION,
            boot_id: processes::boot_id(),
            supervisor: self.own,
            agent,
            started_ms: self.started_ms,
        };
        write_record(&self.directory.started(), &record, false)
    }

    /// Runs one process of the agent until nothing of it is left.
    async fn run_stage(&mut self, invocation: &Invocation, set: &[(String, String)]) -> Ending {
        if self.directory.stop_request().exists() || self.directory.kill_request().exists() {
            self.stop_requested = true;
            return Ending::NotStarted {
                reason: "it was asked to end before it had begun".to_owned(),
            };
        }
        let mut child = match self.spawn(invocation, set) {
            Ok(child) => child,
            Err(error) => {
                return Ending::NotStarted {
                    reason: error.to_string(),
                };
            }
        };
        let Some(agent) = child.id().and_then(|pid| ProcessFacts::of(i32::try_from(pid).ok()?)) else {
            return Ending::NotStarted {
                reason: "the operating system lost the process".to_owned(),
            };
        };
        self.first_agent_ticks.get_or_insert(agent.start_ticks);
        self.groups.insert(agent.pid);
        if let Err(error) = self.write_started(Some(agent.identity())) {
            // Without this record the agent could still be found, by its environment; so it may live.
            eprint_line(&format!("writing who runs: {error}"));
        }
        kill_point::reached("supervisor.after-agent-started");
        let pumps = self.start_pumps(&mut child);
        let status = self.wait(&mut child, agent.pid).await;
        kill_point::reached("supervisor.after-agent-ended");
        self.leftovers_alive = self.sweep().await;
        for pump in pumps {
            self.output_bytes_dropped += pump.finish(PIPE_PATIENCE).await;
        }
        match status {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => Ending::Exited(code),
                (None, signal) => Ending::Signalled(signal.unwrap_or_default()),
            },
            Err(error) => Ending::NotStarted {
                reason: format!("waiting for it failed: {error}"),
            },
        }
    }

    fn spawn(&self, invocation: &Invocation, set: &[(String, String)]) -> io::Result<Child> {
        let context = |what: String| move |error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"));
        let input =
            File::open(&invocation.input).map_err(context(format!("cannot read `{}`", invocation.input.display())))?;
        // The program that this process runs, even if its file was replaced or removed in the meantime.
        const OWN_PROGRAM: &str = "/proc/self/exe";
        let mut command = std::process::Command::new(OWN_PROGRAM);
        command
            .arg0("orchestrate")
            .args(["execute-agent", &self.own.pid.to_string(), "--"]);
        command
            .arg(invocation.program.as_deref().unwrap_or(OWN_PROGRAM))
            .args(&invocation.arguments);
        command.env_clear();
        for name in &self.launch.inherited {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(self.launch.set.iter().map(|(name, value)| (name, value)));
        command.envs(set.iter().map(|(name, value)| (name, value)));
        command.env(limits::TASKS_VARIABLE, limits::tasks_max().to_string());
        if let Some(group) = &self.control_group {
            command.env(limits::GROUP_VARIABLE, group.entrance());
        }
        command.current_dir(&self.launch.workspace).process_group(0);
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        tokio::process::Command::from(command).spawn().map_err(context(format!(
            "cannot start in `{}`",
            self.launch.workspace.display()
        )))
    }

    fn start_pumps(&self, child: &mut Child) -> Vec<Pump> {
        let open = |path: &Path| OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        let mut pumps = Vec::new();
        if let (Some(source), Ok(file)) = (child.stdout.take(), open(&self.directory.output())) {
            pumps.push(Pump::start(source, file, self.launch.output_bytes_max));
        }
        if let (Some(source), Ok(file)) = (child.stderr.take(), open(&self.directory.errors())) {
            pumps.push(Pump::start(source, file, self.launch.errors_bytes_max));
        }
        pumps
    }

    /// Waits for the agent, and ends it when that is asked for.
    async fn wait(&mut self, child: &mut Child, group: i32) -> io::Result<ExitStatus> {
        let mut next: Option<Escalation> = None;
        loop {
            let deadline = next.map(|escalation| escalation.at);
            tokio::select! {
                status = child.wait() => return status,
                _ = self.ears.polite.recv() => {
                    self.stop_requested = true;
                    if next.is_none() {
                        next = Some(self.begin_polite_end(group));
                    }
                }
                _ = self.ears.at_once.recv() => {
                    self.stop_requested = true;
                    signal_group(group, Signal::KILL);
                }
                () = sleep_until(deadline) => {
                    if let Some(due) = next.take() {
                        signal_group(group, due.signal);
                        next = due.then.map(|(signal, wait)| Escalation { at: Instant::now() + wait, signal, then: None });
                    }
                }
                _ = self.ears.child.recv() => reap_orphans(group),
            }
        }
    }

    fn begin_polite_end(&self, group: i32) -> Escalation {
        let grace = Duration::from_millis(self.launch.grace_ms);
        match self.launch.polite_end {
            PoliteEnd::Interrupt => {
                signal_group(group, Signal::INT);
                let at = Instant::now() + grace / 2;
                Escalation {
                    at,
                    signal: Signal::TERM,
                    then: Some((Signal::KILL, grace / 2)),
                }
            }
            PoliteEnd::Terminate => {
                signal_group(group, Signal::TERM);
                Escalation {
                    at: Instant::now() + grace,
                    signal: Signal::KILL,
                    then: None,
                }
            }
        }
    }

    /// The fallback, when the first process said that there is no session to go on with.
    fn fallback_for(&self, ending: &Ending) -> Option<&'a Fallback> {
        let fallback = self.launch.fallback.as_ref()?;
        let failed = matches!(ending, Ending::Exited(code) if *code != 0);
        let said = || {
            let errors = super::lines::end_of_file(&self.directory.errors(), FALLBACK_ERRORS_BYTES_MAX);
            errors.contains(&fallback.when_errors_contain)
        };
        (failed && !self.stop_requested && said()).then_some(fallback)
    }

    /// Kills whatever is left of the agent, and says how many processes resist.
    async fn sweep(&mut self) -> u32 {
        let deadline = Instant::now() + SWEEP_PATIENCE;
        let mut pause = Duration::from_millis(1);
        loop {
            reap_orphans(0);
            let survivors = self.survivors();
            let resisting = u32::try_from(survivors.len()).unwrap_or(u32::MAX);
            if survivors.is_empty() || Instant::now() >= deadline {
                return resisting;
            }
            self.leftovers_killed = self.leftovers_killed.saturating_add(processes::kill_all(&survivors));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// What is left of the agent: descendants, members of its process groups, and whoever carries its name in the environment.
    fn survivors(&self) -> Vec<ProcessIdentity> {
        let Some(first_agent_ticks) = self.first_agent_ticks else {
            return Vec::new();
        };
        let all = processes::all_processes();
        let below = ProcessTree::new(&all).below(self.own.pid);
        let marks = self.launch.marks();
        all.values()
            .filter(|facts| facts.pid != self.own.pid && facts.state != b'Z')
            .filter(|facts| {
                below.contains(&facts.pid)
                    || self.groups.contains(&facts.group) && facts.session == self.own.pid
                    // Whoever started before the agent cannot carry its name.
                    || facts.start_ticks >= first_agent_ticks && processes::environment_holds(facts.pid, &marks)
            })
            .map(ProcessFacts::identity)
            .collect()
    }
}

/// The next signal of a polite end, and when it is due.
#[derive(Clone, Copy)]
struct Escalation {
    at: Instant,
    signal: Signal,
    then: Option<(Signal, Duration)>,
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Signals a process group whose leader is a child that has not been waited for, so that its number cannot mean anybody else.
fn signal_group(group: i32, signal: Signal) {
    if let Some(group) = Pid::from_raw(group) {
        // An empty group is what the signal is meant to achieve.
        let _ = rustix::process::kill_process_group(group, signal);
    }
}

/// Waits for zombies that were left to this process, except for the agent itself, which has its own waiter.
fn reap_orphans(agent_pid: i32) {
    let own = std::process::id();
    let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
    for pid in children
        .split_ascii_whitespace()
        .filter_map(|pid| pid.parse::<i32>().ok())
        .filter(|&pid| pid != agent_pid)
    {
        // A child that lives is not waited for; one that is gone is what we want.
        let _ = rustix::process::waitpid(Pid::from_raw(pid), WaitOptions::NOHANG);
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn eprint_line(line: &str) {
    use std::io::Write as _;
    // The supervisor's standard error is a file in the attempt's directory; when it cannot be written, nobody can be told.
    let _ = writeln!(io::stderr(), "{line}");
}
