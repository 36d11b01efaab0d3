//! Follows one attempt from outside, to its end.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use super::driver::conclude;
use super::host::{Shared, Standing, standing};
use super::lines::{LineSplitter, end_of_file};
use super::processes::{self, ProcessFacts, ProcessHandle, ProcessTree};
use super::record::{
    AttemptDirectory, Dialect, Ending, ExitRecord, LaunchRecord, ProcessIdentity, StartedRecord, read_record,
    write_record,
};
use super::stream::Stream;
use crate::core::event::{AgentExit, Event};
use crate::ids::{Actor, Attempt, MicroDollars};
use crate::shell::git::clear_locks_left_in;

/// How often an agent that is just starting is looked at.
const STARTING_INTERVAL: Duration = Duration::from_millis(2);

/// How often new output is looked for. Its end needs no look: the end of the supervisor is heard at once.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(250);

/// Signs of life that tell nothing else are told once in so many looks for life: the journal keeps each of them, and a night is long.
const PROGRESS_LOOKS: u32 = 2;

/// Between two that tell of money spent, or of a session that can be continued.
const NEWS_INTERVAL: Duration = Duration::from_secs(1);

/// A tool that runs without a word is a sign of life for this long; the vendors' own limit for one is ten minutes.
const TOOL_PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Read at once, before others get their turn.
const READ_BYTES: u64 = 1024 * 1024;

/// Of standard error, for reasons.
const ERRORS_BYTES: u64 = 8 * 1024;

/// After this long a process that was killed and is still there is given up.
const LOST_PATIENCE: Duration = Duration::from_secs(10);

/// Tells everything about one attempt; its exit last.
pub(super) async fn watch(
    shared: &Shared,
    actor: &Actor,
    attempt: Attempt,
    directory: &AttemptDirectory,
    mut child: Option<Child>,
) {
    // A record that cannot be read is judged at the end.
    let launch: Option<LaunchRecord> = read_record(&directory.launch()).ok().flatten();
    let continued = launch.and_then(|launch| launch.continued);
    let mut watcher = Watcher {
        shared,
        actor,
        attempt,
        directory,
        follower: Follower::new(directory.output(), Stream::new(continued)),
        announced: false,
        news: false,
        told_at: None,
        told: (MicroDollars::default(), false),
        heard_at: Instant::now(),
    };
    loop {
        if let Some(supervisor) = supervisor_of(directory, child.as_ref()) {
            watcher.follow_until_gone(supervisor).await;
        }
        if let Some(mut child) = child.take() {
            // It is gone, so this does not block; it only takes the zombie away.
            let _ = child.wait();
        }
        match standing(directory) {
            // Somebody else's supervisor was quicker, and has not said who it is yet.
            Standing::Live => tokio::time::sleep(STARTING_INTERVAL).await,
            Standing::Ended | Standing::Dead | Standing::New => break,
        }
    }
    watcher.tell_exit().await;
}

/// The supervisor, if it lives.
fn supervisor_of(directory: &AttemptDirectory, child: Option<&Child>) -> Option<ProcessIdentity> {
    match child {
        Some(child) => ProcessFacts::of(i32::try_from(child.id()).ok()?).map(|facts| facts.identity()),
        None => {
            let started: StartedRecord = read_record(&directory.started()).ok()??;
            (started.boot_id == processes::boot_id()).then_some(started.supervisor)
        }
    }
}

struct Watcher<'a> {
    shared: &'a Shared,
    actor: &'a Actor,
    attempt: Attempt,
    directory: &'a AttemptDirectory,
    follower: Follower,
    /// `AgentStarted` was told.
    announced: bool,
    /// Something happened that was not told.
    news: bool,
    told_at: Option<Instant>,
    /// The cost that was told, and whether a session was.
    told: (MicroDollars, bool),
    /// When the agent last wrote something.
    heard_at: Instant,
}

impl Watcher<'_> {
    async fn follow_until_gone(&mut self, supervisor: ProcessIdentity) {
        let Some(handle) = ProcessHandle::open(supervisor) else {
            return;
        };
        #[expect(
            deprecated,
            reason = "the successor is an unsafe function; what it asks for, one open descriptor until the end, is what `OwnedFd` guarantees"
        )]
        let gone = AsyncFd::with_interest(handle.into_descriptor(), Interest::READABLE);
        let Ok(gone) = gone else {
            return self.poll_until_gone(supervisor).await;
        };
        self.shared.life.watch(supervisor.pid);
        let _forget = Forget {
            shared: self.shared,
            supervisor,
        };
        while !self.turn(supervisor, Some(&gone)).await {}
    }

    /// Without a descriptor to wait for (too many open files), by looking.
    async fn poll_until_gone(&mut self, supervisor: ProcessIdentity) {
        while ProcessFacts::of(supervisor.pid)
            .is_some_and(|facts| facts.identity() == supervisor && facts.state != b'Z')
        {
            self.turn(supervisor, None).await;
        }
    }

    /// One look; says whether the supervisor is gone.
    async fn turn(&mut self, supervisor: ProcessIdentity, gone: Option<&AsyncFd<OwnedFd>>) -> bool {
        let interval = if self.announced {
            FOLLOW_INTERVAL
        } else {
            STARTING_INTERVAL
        };
        let end = async {
            match gone {
                // An error here means that there is nothing to wait for.
                Some(gone) => drop(gone.readable().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = end => return true,
            () = tokio::time::sleep(interval) => {}
        }
        if !self.announced {
            self.announce_if_started();
        }
        self.read_news().await;
        if self.shared.life.take_worked(supervisor.pid) {
            self.news = true;
        }
        let now = Instant::now();
        let interval = if self.told == self.to_tell() {
            self.shared.config.life_interval * PROGRESS_LOOKS
        } else {
            NEWS_INTERVAL
        };
        let told_long_ago = self.told_at.is_none_or(|told_at| now - told_at >= interval);
        let tool_runs = self.follower.stream.tool_is_running()
            && now - self.heard_at < TOOL_PATIENCE
            && self
                .told_at
                .is_none_or(|told_at| now - told_at >= self.shared.config.life_interval);
        if self.announced && told_long_ago && (self.news || tool_runs) {
            self.tell_progress();
        }
        false
    }

    fn announce_if_started(&mut self) {
        // A record that cannot be read is judged at the end.
        let started = read_record::<StartedRecord>(&self.directory.started()).ok().flatten();
        if started.is_some_and(|started| started.agent.is_some()) {
            self.announce();
        }
    }

    fn announce(&mut self) {
        self.announced = true;
        self.shared.tell(Event::AgentStarted {
            actor: self.actor.clone(),
            attempt: self.attempt,
        });
    }

    /// What must not wait long: the cost, and whether there is a session.
    fn to_tell(&self) -> (MicroDollars, bool) {
        let stream = &self.follower.stream;
        (stream.usage().cost, stream.session().is_some())
    }

    fn tell_progress(&mut self) {
        self.news = false;
        self.told_at = Some(Instant::now());
        self.told = self.to_tell();
        self.shared.tell(Event::AgentProgressed {
            actor: self.actor.clone(),
            attempt: self.attempt,
            usage: self.follower.stream.usage(),
            session: self.follower.stream.session().map(str::to_owned),
        });
    }

    async fn read_news(&mut self) {
        // What cannot be read now is read at the next look, or is missing at the end.
        while let Ok(count) = self.follower.read() {
            if count == 0 {
                return;
            }
            self.news = true;
            self.heard_at = Instant::now();
            tokio::task::yield_now().await;
        }
    }

    async fn tell_exit(mut self) {
        self.read_news().await;
        self.follower.finish();
        let (exit, ran) = self.exit().await;
        if ran && !self.announced {
            self.announce();
        }
        self.clear_locks().await;
        let Follower { stream, splitter, .. } = self.follower;
        let counts = stream.counts();
        tracing::debug!(
            actor = %self.actor,
            attempt = %self.attempt,
            lines = counts.known,
            unknown_lines = counts.unknown,
            text_lines = counts.text,
            overlong_lines = splitter.overlong(),
            "read the agent's output to its end"
        );
        if let Some(account) = stream.session_account() {
            // Without it a later attempt that continues the session counts this one's cost again: too much, never too little.
            let _ = write_record(&self.directory.account(), &account, false);
        }
        self.shared.tell(Event::AgentExited {
            actor: self.actor.clone(),
            attempt: self.attempt,
            usage: stream.usage(),
            session: stream.session().map(str::to_owned),
            exit,
        });
    }

    /// A git of the attempt that was killed may have left locks in its worktree.
    async fn clear_locks(&self) {
        let Ok(Some(launch)) = read_record::<LaunchRecord>(&self.directory.launch()) else {
            return;
        };
        let common_directory = self.shared.config.common_directory.clone();
        let cleared = tokio::task::spawn_blocking(move || clear_locks_left_in(&common_directory, &launch.workspace));
        // Whoever uses the worktree next clears them again, and says what is wrong.
        if let Ok(Err(error)) = cleared.await {
            tracing::warn!(actor = %self.actor, attempt = %self.attempt, "{error}");
        }
    }

    /// How it ended, and whether it ever ran.
    async fn exit(&self) -> (AgentExit, bool) {
        let launch = read_record::<LaunchRecord>(&self.directory.launch());
        match read_record::<ExitRecord>(&self.directory.exit()) {
            Ok(Some(record)) => {
                let ran = !matches!(record.ending, Ending::NotStarted { .. });
                let dialect = launch.ok().flatten().map_or(Dialect::Free, |launch| launch.dialect);
                let errors = end_of_file(&self.directory.errors(), ERRORS_BYTES);
                let mut exit = conclude(dialect, &record, &self.follower.stream, &errors);
                if record.leftovers_alive > 0 {
                    let count = record.leftovers_alive;
                    exit = AgentExit::Failed {
                        reason: format!(
                            "{count} of its processes cannot be killed; they hang in the kernel, restart the machine"
                        ),
                    };
                }
                (exit, ran)
            }
            Err(error) => (
                AgentExit::Failed {
                    reason: error.to_string(),
                },
                true,
            ),
            Ok(None) if self.directory.started().exists() => {
                self.kill_leftovers(launch.ok().flatten()).await;
                let asked = self.directory.stop_request().exists() || self.directory.kill_request().exists();
                (if asked { AgentExit::Stopped } else { AgentExit::Lost }, true)
            }
            Ok(None) => {
                let said = end_of_file(&self.directory.supervisor_log(), ERRORS_BYTES);
                let exit = match said.trim() {
                    // Somebody killed it before it could begin.
                    "" => AgentExit::Lost,
                    said => AgentExit::Failed {
                        reason: format!("its supervisor could not start: {said}"),
                    },
                };
                (exit, false)
            }
        }
    }

    /// Kills what a supervisor that died has left behind.
    async fn kill_leftovers(&self, launch: Option<LaunchRecord>) {
        let Ok(Some(started)) = read_record::<StartedRecord>(&self.directory.started()) else {
            return;
        };
        // Nothing survives a boot, and numbers of an older one mean somebody else.
        let Some(launch) = launch.filter(|_| started.boot_id == processes::boot_id()) else {
            return;
        };
        let deadline = Instant::now() + LOST_PATIENCE;
        loop {
            let (started, launch) = (started.clone(), launch.clone());
            let victims = tokio::task::spawn_blocking(move || leftovers(&started, &launch))
                .await
                .unwrap_or_default();
            if victims.is_empty() || Instant::now() >= deadline {
                return;
            }
            processes::kill_all(&victims);
            tokio::time::sleep(STARTING_INTERVAL).await;
        }
    }
}

/// What is left of an agent without its supervisor: its process group, whoever carries its name in the environment, and their descendants.
fn leftovers(started: &StartedRecord, launch: &LaunchRecord) -> Vec<ProcessIdentity> {
    let all = processes::all_processes();
    let tree = ProcessTree::new(&all);
    let marks = launch.marks();
    let roots = all.values().filter(|facts| {
        // A group's number is not used again while it has members, and the session ties it to this supervisor.
        let in_group = started
            .agent
            .is_some_and(|agent| facts.group == agent.pid && facts.session == started.supervisor.pid);
        facts.start_ticks >= started.supervisor.start_ticks
            && (in_group || processes::environment_holds(facts.pid, &marks))
    });
    let mut pids = std::collections::BTreeSet::new();
    for facts in roots {
        pids.insert(facts.pid);
        pids.extend(tree.below(facts.pid));
    }
    pids.iter()
        .filter_map(|pid| all.get(pid))
        .filter(|facts| facts.state != b'Z')
        .map(ProcessFacts::identity)
        .collect()
}

/// Ends the watch over an agent's processor time, also when the watcher is dropped.
struct Forget<'a> {
    shared: &'a Shared,
    supervisor: ProcessIdentity,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.shared.life.forget(self.supervisor.pid);
    }
}

/// Reads a file that grows. It always starts at the first byte, so that totals are totals of the attempt also after an adoption.
struct Follower {
    path: PathBuf,
    offset: u64,
    splitter: LineSplitter,
    stream: Stream,
}

impl Follower {
    fn new(path: PathBuf, stream: Stream) -> Self {
        Self {
            path,
            offset: 0,
            splitter: LineSplitter::default(),
            stream,
        }
    }

    /// Takes in what is new, up to a limit; says how many bytes.
    fn read(&mut self) -> io::Result<u64> {
        // Not kept open: a thousand agents would need a thousand descriptors.
        if std::fs::metadata(&self.path)?.len() <= self.offset {
            return Ok(0);
        }
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.take(READ_BYTES).read_to_end(&mut bytes)?;
        self.offset += bytes.len() as u64;
        self.splitter.push(&bytes, |line| self.stream.line(line));
        Ok(bytes.len() as u64)
    }

    fn finish(&mut self) {
        self.splitter.finish(|line| self.stream.line(line));
    }
}
