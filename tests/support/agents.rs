//! An agent host in a temporary place, and a patient reader of its events.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use orchestrate::core::event::{AgentExit, Event, Usage};
use orchestrate::ids::{Actor, AgentId, Attempt, BranchName};
use orchestrate::plan::{Driver, Settings};
use orchestrate::shell::agent::record::AttemptDirectory;
use orchestrate::shell::agent::{AgentHost, HostConfig, Launch, TaskName};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Everything here is over long before; a test that waits longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_orchestrate");

/// A place with a workspace and a common directory.
pub struct Place {
    pub directory: TempDir,
    pub environment: Vec<(OsString, OsString)>,
    pub life_interval: Duration,
    pub grace: Duration,
}

impl Place {
    pub fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("agents-")
            .tempdir()
            .expect("temporary directory");
        for part in ["workspace", "common", "home"] {
            std::fs::create_dir(directory.path().join(part)).expect("directory");
        }
        let mut place = Self {
            directory,
            environment: Vec::new(),
            life_interval: Duration::from_secs(5),
            grace: Duration::from_secs(10),
        };
        let path = std::env::var_os("PATH").expect("PATH");
        place.set("PATH", path);
        place.set("HOME", place.path("home"));
        place.set("GIT_CONFIG_GLOBAL", "/dev/null");
        place.set("GIT_CONFIG_SYSTEM", "/dev/null");
        place
    }

    pub fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.environment.push((name.into(), value.into()));
    }

    pub fn path(&self, part: &str) -> PathBuf {
        self.directory.path().join(part)
    }

    pub fn workspace(&self) -> PathBuf {
        self.path("workspace")
    }

    pub fn attempt(&self, attempt: u32) -> AttemptDirectory {
        AttemptDirectory::of(&self.path("common"), &agent(), Attempt(attempt))
    }

    pub fn host(&self) -> Watched {
        let (sender, events) = unbounded_channel();
        let config = HostConfig {
            common_directory: self.path("common"),
            run_id: format!("run-{}", self.directory.path().display()),
            own_program: PROGRAM.into(),
            environment: self.environment.clone(),
            life_interval: self.life_interval,
            grace: self.grace,
        };
        Watched {
            host: AgentHost::new(config, sender),
            events,
            seen: Vec::new(),
        }
    }

    /// The first attempt of agent 1.1 with this shell command.
    pub fn command(&self, command: &str) -> Launch {
        self.launch(Driver::Command {
            command: command.to_owned(),
        })
    }

    pub fn launch(&self, driver: Driver) -> Launch {
        Launch {
            actor: agent(),
            attempt: Attempt(1),
            task: TaskName::Build,
            workspace: self.workspace(),
            branch: BranchName::new("agent-1-1-database"),
            prompt: "Write the schema.\n".to_owned(),
            fresh_prompt: None,
            settings: Settings {
                driver,
                env: vec!["GIT_CONFIG_GLOBAL".to_owned(), "GIT_CONFIG_SYSTEM".to_owned()],
                model: None,
                max_turns: None,
                budget: None,
                stuck_after: Duration::from_secs(60),
                max_attempts: 3,
            },
            remaining_budget: None,
            session: None,
            completion_line: "[AGENT-1-1] Schema complete, tests passing".to_owned(),
            plan_directory: self.path("plan"),
            writable: vec!["infrastructure/database/**".to_owned()],
            extra_environment: Vec::new(),
        }
    }
}

pub fn agent() -> Actor {
    Actor::Agent(AgentId::new("1.1"))
}

/// How an attempt ended.
#[derive(Debug, PartialEq)]
pub struct Exit {
    pub exit: AgentExit,
    pub usage: Usage,
    pub session: Option<String>,
}

/// A host with its events.
pub struct Watched {
    pub host: AgentHost,
    pub events: UnboundedReceiver<Event>,
    pub seen: Vec<Event>,
}

impl Watched {
    pub async fn start(&self, launch: Launch) {
        self.host.start(launch).await.expect("started");
    }

    /// The next event.
    pub async fn next(&mut self) -> Event {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        let event = event
            .unwrap_or_else(|_| panic!("no event in time after {:?}", self.seen))
            .expect("the host lives");
        self.seen.push(event.clone());
        event
    }

    /// Reads until the agent has started.
    pub async fn started(&mut self) {
        while !matches!(self.next().await, Event::AgentStarted { .. }) {}
    }

    /// Reads until the agent has ended.
    pub async fn exit(&mut self) -> Exit {
        loop {
            if let Event::AgentExited {
                usage, session, exit, ..
            } = self.next().await
            {
                return Exit { exit, usage, session };
            }
        }
    }

    pub async fn stop(&self, kill: bool) {
        self.host.stop(&agent(), Attempt(1), kill).await.expect("asked to stop");
    }
}

/// Waits until something is there.
pub async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits for a file that holds a whole line, and gives its lines.
pub async fn lines_of(path: &Path) -> Vec<String> {
    eventually(&format!("a line in {}", path.display()), || {
        let text = std::fs::read_to_string(path).ok()?;
        text.ends_with('\n').then(|| text.lines().map(str::to_owned).collect())
    })
    .await
}

/// Whether a process lives; a zombie does not.
pub fn lives(pid: i32) -> bool {
    orchestrate::shell::agent::processes::ProcessFacts::of(pid).is_some_and(|facts| facts.state != b'Z')
}
