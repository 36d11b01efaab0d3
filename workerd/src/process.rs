//! A running workerd: where its Workers listen, and what can be asked of their storage and their clock.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::config::{self, CONTROL_SOCKET};
use crate::system::System;
use crate::{DriverError, Tools};

/// workerd listens within a third of a second; a loaded machine may take a hundred times as long.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long an order to the control worker may take.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(30);

/// More of what workerd and its Workers print is read, and thrown away: somebody may print without end.
const LOG_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A longer line is no word about a socket.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// How much of what workerd printed goes into an error.
const DETAIL_BYTES_MAX: usize = 2000;

/// Rows of a query, each with its columns by name.
pub type Rows = Vec<serde_json::Map<String, Value>>;

/// A workerd that runs. It ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    tools: Tools,
    system: System,
    directory: PathBuf,
    child: Child,
    ports: BTreeMap<String, u16>,
    client: reqwest::Client,
}

impl Running {
    /// Starts a system. `directory` gets the configuration and `workerd.log`, to which everything that workerd and its Workers print is appended.
    pub async fn start(tools: &Tools, system: System, directory: &Path) -> Result<Self, DriverError> {
        let (child, ports) = spawn(tools, &system, directory).await?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(CONTROL_TIMEOUT)
            .build()
            .map_err(|error| DriverError::Start {
                detail: error.to_string(),
            })?;
        Ok(Self {
            tools: tools.clone(),
            system,
            directory: directory.to_path_buf(),
            child,
            ports,
            client,
        })
    }

    /// Where a Worker answers, without a slash at the end. It changes with each start.
    pub fn url(&self, worker: &str) -> Result<String, DriverError> {
        self.ports
            .get(worker)
            .map(|port| format!("http://127.0.0.1:{port}"))
            .ok_or_else(|| DriverError::Unknown {
                kind: "worker",
                name: worker.to_owned(),
            })
    }

    /// The process id of workerd; `None` when it has ended.
    pub fn process_id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Everything that workerd and its Workers have printed since the first start.
    pub fn log(&self) -> Result<String, DriverError> {
        let path = log_path(&self.directory);
        let bytes = std::fs::read(&path).map_err(DriverError::file("cannot read", &path))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// How far the Workers' clock is ahead of the real one.
    pub fn clock_offset_ms(&self) -> i64 {
        self.system.clock_offset_ms
    }

    /// Moves the clock of all Workers, their Durable Objects, and the expiry of what KV keeps. Timers and alarms that are set go on by real time.
    pub async fn set_clock_offset(&mut self, offset_ms: i64) -> Result<(), DriverError> {
        self.system.clock_offset_ms = offset_ms;
        self.system.clock_still_ms = None;
        self.move_clock(&json!({ "offset_ms": offset_ms })).await
    }

    /// Lets the clock of all Workers, their Durable Objects and KV stand still at a moment, in milliseconds since 1970. Timers then fire after a quarter of
    /// their time, and move the clock of the Worker that waited; alarms of Durable Objects ring after a hundredth of theirs.
    pub async fn stop_clock(&mut self, at_ms: i64) -> Result<(), DriverError> {
        self.system.clock_still_ms = Some(at_ms);
        self.move_clock(&json!({ "still_ms": at_ms })).await
    }

    async fn move_clock(&self, order: &Value) -> Result<(), DriverError> {
        for worker in &self.system.workers {
            self.control("move the clock", &json!({ "worker": worker.name, "body": order }))
                .await?;
        }
        self.move_storage_clock().await
    }

    async fn move_storage_clock(&self) -> Result<(), DriverError> {
        let now_ms = self
            .system
            .clock_still_ms
            .unwrap_or_else(|| real_now_ms() + self.system.clock_offset_ms);
        for (kind, name) in config::stores(&self.system) {
            if kind != "kv" {
                continue;
            }
            self.control(
                "move the clock",
                &json!({ "object": kind, "name": name, "operation": "enableFakeTimers", "body": [now_ms] }),
            )
            .await?;
        }
        Ok(())
    }

    /// Lets bindings of a Worker fail from its next request on: each by its name, with `"reject"`, `"hang"` or a status to answer with. An empty object mends all.
    pub async fn break_bindings(&self, worker: &str, faults: &Value) -> Result<(), DriverError> {
        self.url(worker)?;
        self.control(
            "break bindings",
            &json!({ "worker": worker, "body": { "faults": faults } }),
        )
        .await
        .map(|_| ())
    }

    /// Runs a Worker's scheduled handler to its end.
    pub async fn run_scheduled(&self, worker: &str, cron: &str) -> Result<(), DriverError> {
        self.url(worker)?;
        self.control(
            "run the scheduled handler",
            &json!({ "worker": worker, "body": { "cron": cron } }),
        )
        .await
        .map(|_| ())
    }

    /// Asks a database directly, past every Worker.
    pub async fn query(&self, database: &str, sql: &str, parameters: &[Value]) -> Result<Rows, DriverError> {
        self.expect_store("d1", database)?;
        let body: Vec<Value> = std::iter::once(json!(sql)).chain(parameters.iter().cloned()).collect();
        let answer = self
            .control(
                "answer the query",
                &json!({ "object": "d1", "name": database, "operation": "sqlQuery", "body": body }),
            )
            .await?;
        // The simulator gives the rows of a statement; an answer of another shape is a simulator of another version.
        serde_json::from_str(&answer).map_err(|_| DriverError::Control {
            what: "answer the query",
            detail: shortened(&answer),
        })
    }

    /// Stops workerd as a power failure would, and waits until it is gone.
    pub async fn kill(&mut self) -> Result<(), DriverError> {
        self.child.kill().await.map_err(|error| DriverError::Control {
            what: "end",
            detail: error.to_string(),
        })
    }

    /// Starts again after [`Self::kill`], on what is stored, with the clock where it was.
    pub async fn start_again(&mut self) -> Result<(), DriverError> {
        (self.child, self.ports) = spawn(&self.tools, &self.system, &self.directory).await?;
        if self.system.clock_offset_ms == 0 && self.system.clock_still_ms.is_none() {
            return Ok(());
        }
        self.move_storage_clock().await
    }

    fn expect_store(&self, kind: &'static str, name: &str) -> Result<(), DriverError> {
        if config::stores(&self.system).contains(&(kind, name.to_owned())) {
            return Ok(());
        }
        Err(DriverError::Unknown {
            kind: "store",
            name: name.to_owned(),
        })
    }

    async fn control(&self, what: &'static str, order: &Value) -> Result<String, DriverError> {
        let failed = |detail: String| DriverError::Control { what, detail };
        let answer = self
            .client
            .post(self.url(CONTROL_SOCKET)?)
            .json(order)
            .send()
            .await
            .map_err(|error| failed(error.to_string()))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| failed(error.to_string()))?;
        if status.is_success() {
            Ok(text)
        } else {
            Err(failed(shortened(&text)))
        }
    }
}

/// Writes the configuration, starts workerd, and waits until every socket listens.
async fn spawn(
    tools: &Tools,
    system: &System,
    directory: &Path,
) -> Result<(Child, BTreeMap<String, u16>), DriverError> {
    std::fs::create_dir_all(directory).map_err(DriverError::file("cannot create", directory))?;
    for kind in config::DIRECTORIES {
        let path = system.data.join(kind);
        std::fs::create_dir_all(&path).map_err(DriverError::file("cannot create", &path))?;
    }
    let (text, files) = config::write(system, &tools.simulators())?;
    let configuration = directory.join("system.capnp");
    for (name, content) in files
        .iter()
        .map(|(name, content)| (name.as_str(), content))
        .chain([("system.capnp", &text)])
    {
        let path = directory.join(name);
        std::fs::write(&path, content).map_err(DriverError::file("cannot write", &path))?;
    }
    let log_file = log_path(directory);
    let log = File::options()
        .append(true)
        .create(true)
        .open(&log_file)
        .map_err(DriverError::file("cannot write", &log_file))?;
    let failed = |detail: String| DriverError::Start { detail };
    let mut child = Command::new(tools.workerd())
        // Absolute paths in the configuration are looked for below import paths.
        .args(["serve", "--experimental", "--control-fd=1", "--import-path=/"])
        .arg(&configuration)
        .env_clear()
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let (Some(output), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(failed("it has no output".to_owned()));
    };
    let told = tokio::spawn(keep(errors, log));
    let mut output = BufReader::new(output);
    let mut ports = BTreeMap::new();
    let sockets = system.workers.len() + 1;
    let listening = async {
        while ports.len() < sockets {
            let mut line = Vec::new();
            match (&mut output).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return false,
                Ok(_) => {}
            }
            let event: Value = serde_json::from_slice(&line).unwrap_or_default();
            if let (Some(socket), Some(port)) = (
                event["socket"].as_str(),
                event["port"].as_u64().and_then(|port| u16::try_from(port).ok()),
            ) {
                ports.insert(socket.to_owned(), port);
            }
        }
        true
    };
    match tokio::time::timeout(START_TIMEOUT, listening).await {
        Ok(true) => {
            // What Workers print with `console.log` comes to standard output behind the list of sockets.
            if let Ok(log) = File::options().append(true).open(&log_file) {
                tokio::spawn(keep(output, log));
            }
            Ok((child, ports))
        }
        Ok(false) | Err(_) => {
            // Ended or given up: either way what it printed says why.
            let _ = child.kill().await;
            // Whoever workerd has started may hold the pipe open.
            let _ = tokio::time::timeout(Duration::from_secs(1), told).await;
            let printed = std::fs::read(&log_file).unwrap_or_default();
            let tail = printed.len().saturating_sub(DETAIL_BYTES_MAX);
            Err(failed(String::from_utf8_lossy(&printed[tail..]).trim().to_owned()))
        }
    }
}

/// Appends what is printed to the log, as far as there is room; reads it to its end in any case.
async fn keep(mut printed: impl AsyncRead + Unpin, mut log: File) {
    use std::io::Write as _;
    let mut part = vec![0; 16 * 1024];
    let mut room = LOG_BYTES_MAX;
    while let Ok(count @ 1..) = printed.read(&mut part).await {
        let kept = count.min(room);
        room -= kept;
        if kept > 0 && log.write_all(&part[..kept]).is_err() {
            room = 0;
        }
    }
}

fn log_path(directory: &Path) -> PathBuf {
    directory.join("workerd.log")
}

fn real_now_ms() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn shortened(text: &str) -> String {
    text.trim().chars().take(DETAIL_BYTES_MAX).collect()
}
