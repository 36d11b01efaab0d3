//! An implementation under examination: something that answers requests, has a clock that can be set, and whose storage can be read.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mock_ideogram::Mock;
use mock_ideogram::server::{Shared, serve};
use reference_core::http::{Headers, Request, Response};
use reference_core::settings::Settings;
use reference_core::time;
use reference_native::{Options, Service, System};
use serde_json::{Map, Value, json};
use thiserror::Error;
use workerd_driver::{Running, Tools};

use super::boot::{self, BootError, BootOptions, Bundles};
use super::outage::Outage;

/// What a bucket holds under a path, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredImage {
    /// The bucket; the default one's name is its own affair.
    pub bucket: String,
    /// Where in it.
    pub path: String,
    /// Its bytes.
    pub size: u64,
    /// What it is called.
    pub content_type: String,
    /// What is written on it.
    pub metadata: Map<String, Value>,
}

/// A row of a table, each column by its name.
pub type Row = Map<String, Value>;

/// No answer of a service takes longer: requests that wait for a hanging provider give up within a few seconds of the moved clock.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// More than this of an answer is not read: images are smaller, and somebody may answer without end.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Why an implementation cannot be examined further.
#[derive(Debug, Error)]
pub enum SubjectError {
    /// It does not come up.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// A request got no answer.
    #[error("{method} {path} got no answer: {detail}")]
    NoAnswer {
        /// The request's method.
        method: String,
        /// The request's path.
        path: String,
        /// Why.
        detail: String,
    },
    /// Its storage cannot be read or written as the contract says.
    #[error("the database refuses `{sql}`: {detail}")]
    Database {
        /// The statement.
        sql: String,
        /// What the database says.
        detail: String,
    },
    /// The runtime does not do what it is told.
    #[error("{what}: {detail}")]
    Runtime {
        /// What was tried.
        what: &'static str,
        /// What came back.
        detail: String,
    },
}

/// An implementation under examination.
pub enum Subject {
    /// The reference, in process.
    Native(Box<System>),
    /// Workers on workerd: the generated system, or the reference's own Worker.
    Workers(Box<Workers>),
}

/// How a subject is started.
#[derive(Clone)]
pub struct SubjectOptions {
    /// Variables and secrets.
    pub settings: Settings,
    /// Buckets that are bound beside the default one.
    pub buckets: Vec<String>,
    /// Where its clock stands at first, in milliseconds since 1970.
    pub start_ms: u64,
    /// What chance of the in-process reference follows.
    pub seed: u64,
}

/// Workers on workerd.
pub struct Workers {
    running: Running,
    mock: Shared,
    http: reqwest::Client,
    names: Names,
    data: PathBuf,
    directory: PathBuf,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// What is what in a system of Workers.
#[derive(Clone, Debug)]
pub struct Names {
    /// The Worker of part A of the contract.
    pub config: String,
    /// The Worker of part B of the contract.
    pub image: String,
    /// The database.
    pub database: String,
    /// When the image Worker's scheduled handler runs.
    pub cron: String,
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Subject {
    /// The reference in process.
    pub fn native(options: &SubjectOptions) -> Result<Self, SubjectError> {
        let system = System::start(Options {
            start_ms: options.start_ms,
            seed: options.seed,
            settings: options.settings.clone(),
            buckets: options.buckets.clone(),
            mock: mock_options(),
            ..Options::default()
        })
        .map_err(|error| SubjectError::Database {
            sql: "the schema".to_owned(),
            detail: error.to_string(),
        })?;
        Ok(Self::Native(Box::new(system)))
    }

    /// Workers, in a directory of their own. Their database has its tables and no rows.
    pub async fn workers(
        tools: &Tools,
        bundles: &Bundles,
        directory: &Path,
        options: &SubjectOptions,
    ) -> Result<Self, SubjectError> {
        let runtime = |what: &'static str| {
            move |error: std::io::Error| SubjectError::Runtime {
                what,
                detail: error.to_string(),
            }
        };
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(runtime("cannot listen on loopback"))?;
        let outbound = listener.local_addr().map_err(runtime("cannot listen on loopback"))?;
        let mock = Shared::new(Mock::new(mock_options()));
        let serving = tokio::spawn(serve(listener, mock.clone()));
        let booted = boot::start(tools, bundles, directory, &boot_options(options, outbound)).await?;
        let workers = Workers {
            names: bundles.names.clone(),
            running: booted.running,
            mock,
            http: client()?,
            data: directory.join("data"),
            directory: directory.to_path_buf(),
            serving,
        };
        let mut subject = Self::Workers(Box::new(workers));
        if let Some(schema) = bundles.schema {
            subject.write(schema).await?;
        }
        subject.set_clock(options.start_ms).await?;
        Ok(subject)
    }

    /// One answer.
    pub async fn send(&self, service: Service, request: &Request) -> Result<Response, SubjectError> {
        match self {
            Self::Native(system) => Ok(system.handle(service, request)),
            Self::Workers(workers) => workers.send(service, request).await,
        }
    }

    /// The answers to requests that are sent at the same time, in their order.
    pub async fn send_all(&self, requests: &[(Service, Request)]) -> Vec<Result<Response, SubjectError>> {
        match self {
            Self::Native(system) => system.handle_all(requests).into_iter().map(Ok).collect(),
            Self::Workers(workers) => {
                let sent = requests
                    .iter()
                    .map(|(service, request)| workers.send(*service, request));
                futures_util::future::join_all(sent).await
            }
        }
    }

    /// Reads the stored state, past every rule.
    pub async fn rows(&self, sql: &str) -> Result<Vec<Row>, SubjectError> {
        match self {
            Self::Native(system) => Ok(system.named_rows(sql)),
            Self::Workers(workers) => workers.rows(sql).await,
        }
    }

    /// Changes the stored state, past every rule but the tables' own: statements, each with a `;` at the end of its last line.
    pub async fn write(&self, script: &str) -> Result<(), SubjectError> {
        match self {
            Self::Native(system) => system.write(script).map_err(|error| SubjectError::Database {
                sql: script.chars().take(200).collect(),
                detail: error.to_string(),
            }),
            Self::Workers(workers) => {
                // One call for all of it: a call costs more than a statement, and every check begins with fifty of them.
                let script = without_comments(script);
                if !script.is_empty() {
                    workers.rows(&script).await?;
                }
                Ok(())
            }
        }
    }

    /// Gives a user this key, as an operator does.
    pub async fn give_key(&self, user_id: &str, key_id: &str, key: &str) -> Result<(), SubjectError> {
        let (hash, prefix) = (reference_core::key::hash(key), reference_core::key::prefix(key));
        let now = time::format(self.now_ms());
        self.write(&format!(
            "INSERT INTO api_keys (key_id, user_id, key_hash, key_prefix, created_at) VALUES ('{key_id}', '{user_id}', '{hash}', '{prefix}', '{now}');\n"
        ))
        .await
    }

    /// What its clock shows, in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        match self {
            Self::Native(system) => system.now_ms(),
            Self::Workers(workers) => workers.mock.now_ms(),
        }
    }

    /// Sets its clock and the provider's, forward only.
    pub async fn set_clock(&mut self, at_ms: u64) -> Result<(), SubjectError> {
        match self {
            Self::Native(system) => {
                system.advance_ms(at_ms.saturating_sub(system.now_ms()));
                Ok(())
            }
            Self::Workers(workers) => {
                let ahead_ms = at_ms.saturating_sub(workers.mock.now_ms());
                workers.mock.advance_ms(ahead_ms);
                let at_ms = i64::try_from(at_ms).unwrap_or(i64::MAX);
                workers
                    .running
                    .stop_clock(at_ms)
                    .await
                    .map_err(|error| SubjectError::Runtime {
                        what: "cannot set the clock",
                        detail: error.to_string(),
                    })
            }
        }
    }

    /// Runs the scheduled handler of the image service to its end.
    pub async fn run_scheduled(&self) -> Result<(), SubjectError> {
        match self {
            Self::Native(system) => {
                system.scheduled();
                Ok(())
            }
            Self::Workers(workers) => {
                let Names { image, cron, .. } = &workers.names;
                let done = workers.running.run_scheduled(image, cron).await;
                done.map_err(|error| SubjectError::Runtime {
                    what: "the scheduled handler fails",
                    detail: error.to_string(),
                })
            }
        }
    }

    /// Lets something fail from now on: the database or a secret for both Workers, anything else for the image service. Nothing mends all.
    /// `settings` are the ones that it was started with.
    pub async fn set_outage(&self, outage: Option<Outage>, settings: &Settings) -> Result<(), SubjectError> {
        match self {
            Self::Native(system) => {
                let mut settings = settings.clone();
                if let Some(Outage::Secret(secret, value)) = outage {
                    *secret.of(&mut settings) = value.map(str::to_owned);
                }
                system.change_settings(|present| *present = settings);
                system.set_faults(outage.map(Outage::fault).unwrap_or_default());
                Ok(())
            }
            Self::Workers(workers) => {
                let mut faults = Map::new();
                if let Some((name, fault)) = outage.map(Outage::binding) {
                    faults.insert(name.to_owned(), fault);
                }
                let of_config = match outage {
                    Some(outage) if outage.is_of_both() => Value::from(faults.clone()),
                    _ => json!({}),
                };
                let of_image = Value::from(faults);
                for (worker, faults) in [(&workers.names.config, of_config), (&workers.names.image, of_image)] {
                    let broken = workers.running.break_bindings(worker, &faults).await;
                    broken.map_err(|error| SubjectError::Runtime {
                        what: "cannot break a binding",
                        detail: error.to_string(),
                    })?;
                }
                Ok(())
            }
        }
    }

    /// All that the buckets hold, by path.
    pub async fn images(&self) -> Result<Vec<StoredImage>, SubjectError> {
        let mut images: Vec<StoredImage> = match self {
            Self::Native(system) => {
                let sql = "SELECT bucket, path, content_type, metadata, length(bytes) AS size FROM native_blobs";
                let rows = system.named_rows(sql);
                rows.iter().map(native_image).collect()
            }
            Self::Workers(workers) => {
                let found = workers.inspect(&Value::Null).await?;
                let objects = found["objects"].as_array().cloned().unwrap_or_default();
                objects.iter().map(worker_image).collect()
            }
        };
        images.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(images)
    }

    /// All that KV holds: names and values.
    pub async fn cached(&self) -> Result<Vec<(String, String)>, SubjectError> {
        let entries = match self {
            Self::Native(system) => {
                let sql = format!(
                    "SELECT name, text AS value FROM native_kv WHERE until_ms > {}",
                    system.now_ms()
                );
                system.named_rows(&sql).into_iter().map(Value::from).collect()
            }
            Self::Workers(workers) => {
                let found = workers.inspect(&Value::Null).await?;
                found["entries"].as_array().cloned().unwrap_or_default()
            }
        };
        let mut entries: Vec<(String, String)> = entries
            .iter()
            .map(|entry| (text(&entry["name"]), text(&entry["value"])))
            .collect();
        entries.sort();
        Ok(entries)
    }

    /// Writes an entry of KV, past every Worker.
    pub async fn write_cached(&self, name: &str, value: &str) -> Result<(), SubjectError> {
        match self {
            Self::Native(system) => {
                let until_ms = system.now_ms() + 86_400_000;
                self.write(&format!(
                    "INSERT OR REPLACE INTO native_kv VALUES ('{name}', '{value}', {until_ms});\n"
                ))
                .await
            }
            Self::Workers(workers) => {
                let found = workers.inspect(&Value::Null).await?;
                let stores = found["entries"].as_array().cloned().unwrap_or_default();
                let store = stores.first().map(|entry| entry["store"].clone()).unwrap_or_default();
                let order = json!([{ "store": store, "name": name, "value": value }]);
                workers.inspect(&order).await.map(drop)
            }
        }
    }

    /// Works with the mock of the provider.
    pub fn with_mock<T>(&self, work: impl FnOnce(&mut Mock) -> T) -> T {
        match self {
            Self::Native(system) => work(&mut system.mock()),
            Self::Workers(workers) => work(&mut workers.mock.lock()),
        }
    }

    /// Where a service is reached: what its own links begin with.
    pub fn origin(&self, service: Service) -> String {
        match self {
            Self::Native(_) => "http://127.0.0.1".to_owned(),
            Self::Workers(workers) => workers.origin(service).unwrap_or_default(),
        }
    }

    /// Ends it as a power failure does, and starts it again on the same data. The reference in process has nothing that could be lost.
    pub async fn crash(&mut self) -> Result<(), SubjectError> {
        let Self::Workers(workers) = self else { return Ok(()) };
        let failed = |what: &'static str| {
            move |error: workerd_driver::DriverError| SubjectError::Runtime {
                what,
                detail: error.to_string(),
            }
        };
        workers.running.kill().await.map_err(failed("cannot end workerd"))?;
        workers
            .running
            .start_again()
            .await
            .map_err(failed("workerd does not start again on its data"))
    }

    /// Everything that it printed since its start.
    pub fn printed(&self) -> String {
        match self {
            Self::Native(_) => String::new(),
            Self::Workers(workers) => workers.running.log().unwrap_or_default(),
        }
    }

    /// The directory of all that it stores, if it stores anything in files.
    pub fn data(&self) -> Option<&Path> {
        match self {
            Self::Native(_) => None,
            Self::Workers(workers) => Some(&workers.data),
        }
    }

    /// The directory that it runs in.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Native(_) => None,
            Self::Workers(workers) => Some(&workers.directory),
        }
    }
}

impl Workers {
    fn origin(&self, service: Service) -> Result<String, SubjectError> {
        let name = match service {
            Service::Config => &self.names.config,
            Service::Image => &self.names.image,
        };
        self.running.url(name).map_err(|error| SubjectError::Runtime {
            what: "there is no such service",
            detail: error.to_string(),
        })
    }

    /// Looks into buckets and KV; an order is written first.
    async fn inspect(&self, order: &Value) -> Result<Value, SubjectError> {
        let failed = |detail: String| SubjectError::Runtime {
            what: "cannot look into buckets and KV",
            detail,
        };
        let url = self
            .running
            .url(boot::INSPECTOR)
            .map_err(|error| failed(error.to_string()))?;
        let asked = if order.is_null() {
            self.http.get(url)
        } else {
            self.http.put(url).body(order.to_string())
        };
        let answer = asked.send().await.map_err(|error| failed(chain(&error)))?;
        let bytes = answer.bytes().await.map_err(|error| failed(chain(&error)))?;
        serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))
    }

    async fn rows(&self, sql: &str) -> Result<Vec<Row>, SubjectError> {
        self.running
            .query(&self.names.database, sql, &[])
            .await
            .map_err(|error| SubjectError::Database {
                sql: sql.chars().take(200).collect(),
                detail: error.to_string(),
            })
    }

    async fn send(&self, service: Service, request: &Request) -> Result<Response, SubjectError> {
        let failed = |detail: String| SubjectError::NoAnswer {
            method: request.method.clone(),
            path: request.path.clone(),
            detail,
        };
        let query = request
            .query
            .as_ref()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        let url = format!("{}{}{query}", self.origin(service)?, request.path);
        let method =
            reqwest::Method::from_bytes(request.method.as_bytes()).map_err(|error| failed(error.to_string()))?;
        let mut sent = self.http.request(method, url).body(request.body.clone());
        for (name, value) in request.headers.iter() {
            sent = sent.header(name, value);
        }
        let mut arrived = sent.send().await.map_err(|error| failed(chain(&error)))?;
        let status = arrived.status().as_u16();
        let headers: Headers = arrived
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let mut body = Vec::new();
        while let Some(part) = arrived.chunk().await.map_err(|error| failed(chain(&error)))? {
            body.extend_from_slice(&part);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(failed(format!("its answer has more than {ANSWER_BYTES_MAX} bytes")));
            }
        }
        Ok(Response { status, headers, body })
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn native_image(row: &Row) -> StoredImage {
    let metadata: Vec<(String, String)> = row["metadata"]
        .as_str()
        .and_then(|metadata| serde_json::from_str(metadata).ok())
        .unwrap_or_default();
    StoredImage {
        bucket: text(&row["bucket"]),
        path: text(&row["path"]),
        size: row["size"].as_u64().unwrap_or_default(),
        content_type: text(&row["content_type"]),
        metadata: metadata.into_iter().map(|(name, value)| (name, value.into())).collect(),
    }
}

fn worker_image(found: &Value) -> StoredImage {
    StoredImage {
        bucket: text(&found["bucket"]),
        path: text(&found["path"]),
        size: found["size"].as_u64().unwrap_or_default(),
        content_type: text(&found["content_type"]),
        metadata: found["metadata"].as_object().cloned().unwrap_or_default(),
    }
}

/// Images are ready when first asked for, unless a check says otherwise: how often somebody asks is its own affair.
pub(super) fn mock_options() -> mock_ideogram::Options {
    mock_ideogram::Options {
        is_prompt: true,
        ..mock_ideogram::Options::default()
    }
}

fn client() -> Result<reqwest::Client, SubjectError> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(ANSWER_TIMEOUT)
        .build()
        .map_err(|error| SubjectError::Runtime {
            what: "cannot make a client",
            detail: error.to_string(),
        })
}

/// An error with its causes: the outermost one alone seldom says more than "error sending request".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

fn without_comments(statement: &str) -> String {
    let lines = statement.lines().filter(|line| !line.trim_start().starts_with("--"));
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

fn boot_options(options: &SubjectOptions, outbound: SocketAddr) -> BootOptions {
    let settings = &options.settings;
    let or_empty = |text: &Option<String>| Some(text.clone().unwrap_or_default());
    BootOptions {
        secrets: named([
            ("SERVICE_TOKEN", settings.service_token.clone()),
            (
                "PROVIDER_KEY_ENCRYPTION_KEYS",
                settings.provider_key_encryption_keys.clone(),
            ),
            ("CACHE_ENCRYPTION_KEY", settings.cache_encryption_key.clone()),
        ]),
        variables: named([
            ("ALLOWED_ORIGINS", or_empty(&settings.allowed_origins)),
            (
                "LOG_LEVEL",
                settings.log_level.clone().or_else(|| Some("INFO".to_owned())),
            ),
            ("IMAGE_BASE_URL", or_empty(&settings.image_base_url)),
            (
                "GENERATION_TIMEOUT_MS",
                settings.generation_timeout_ms.map(|timeout_ms| timeout_ms.to_string()),
            ),
        ]),
        outbound: Some(outbound),
        buckets: options.buckets.clone(),
        ..BootOptions::default()
    }
}

fn named<const COUNT: usize>(pairs: [(&str, Option<String>); COUNT]) -> Vec<(String, String)> {
    pairs
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}
