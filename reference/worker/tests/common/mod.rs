//! What the tests share: both services on the real workerd, with the mock of the provider behind them.
#![expect(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test says what it expects by failing; every test is a crate of its own"
)]
#![allow(dead_code, reason = "every test file uses a part of it")]

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use mock_ideogram::Mock;
use mock_ideogram::server::{Shared, serve};
use reference_core::http::{Headers, Request, Response};
use reference_core::settings::Settings;
use reference_core::{SCHEMA, SEED};
use reference_native::Service;
use serde_json::{Map, Value};
use tempfile::TempDir;
use workerd_driver::{Binding, Module, ModuleKind, ObjectClass, Running, System, Tools, Worker};

/// The name of the Worker that looks into buckets and KV.
const INSPECTOR: &str = "inspector";

/// The reference on workerd.
pub struct Deployed {
    pub running: Running,
    pub mock: Shared,
    http: reqwest::Client,
    _directory: TempDir,
}

impl Deployed {
    /// Starts it with empty storage, then makes the tables and the seed data.
    pub async fn start(settings: &Settings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let outbound = listener.local_addr().unwrap();
        let mock = Shared::new(Mock::new(mock_ideogram::Options::default()));
        tokio::spawn(serve(listener, mock.clone()));
        let system = System {
            workers: vec![config_service(settings), image_worker(settings), inspector()],
            outbound: Some(outbound),
            data: directory.path().join("data"),
            ..System::default()
        };
        let tools = Tools::ensure(&project().join("target/tools"), |_| {}).unwrap();
        let running = Running::start(&tools, system, directory.path()).await.unwrap();
        let deployed = Self {
            running,
            mock,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            _directory: directory,
        };
        deployed.write(SCHEMA).await;
        deployed.write(SEED).await;
        deployed
    }

    /// Where a service listens.
    pub fn origin(&self, service: Service) -> String {
        self.running.url(name(service)).unwrap()
    }

    /// Sends requests to where the services listen now.
    pub fn client(&self) -> Client {
        Client {
            origins: [self.origin(Service::Config), self.origin(Service::Image)],
            http: self.http.clone(),
        }
    }

    pub async fn send(&self, service: Service, request: &Request) -> Response {
        self.client().sent(service, request).await.unwrap()
    }

    /// Reads the stored state, past every rule.
    pub async fn rows(&self, sql: &str) -> Vec<Map<String, Value>> {
        self.running.query("main", sql, &[]).await.unwrap()
    }

    /// Changes the stored state, past every rule but the tables' own. Statements end with a `;` at the end of a line.
    pub async fn write(&self, script: &str) {
        for statement in script.split(";\n").map(without_comments) {
            if !statement.is_empty() {
                self.rows(&statement).await;
            }
        }
    }

    /// All that the buckets hold, in the order in which it was stored, and the names that KV holds.
    pub async fn objects_and_names(&self) -> Value {
        let url = self.running.url(INSPECTOR).unwrap();
        let answer = self.http.get(url).send().await.unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    /// Empties the buckets.
    pub async fn empty_buckets(&self) {
        let url = self.running.url(INSPECTOR).unwrap();
        assert_eq!(self.http.delete(url).send().await.unwrap().status(), 204);
    }

    /// Gives a user this key.
    pub async fn give_key(&self, user_id: &str, key_id: &str, key: &str, created_at: &str) {
        let (hash, prefix) = (reference_core::key::hash(key), reference_core::key::prefix(key));
        self.write(&format!(
            "INSERT INTO api_keys (key_id, user_id, key_hash, key_prefix, created_at) VALUES ('{key_id}', '{user_id}', '{hash}', '{prefix}', '{created_at}')"
        ))
        .await;
    }
}

/// Sends requests, many at the same time if need be.
pub struct Client {
    origins: [String; 2],
    http: reqwest::Client,
}

impl Client {
    /// The answer, or nothing if the connection broke.
    pub async fn sent(&self, service: Service, request: &Request) -> Option<Response> {
        let query = request
            .query
            .as_ref()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        let origin = match service {
            Service::Config => &self.origins[0],
            Service::Image => &self.origins[1],
        };
        let url = format!("{origin}{}{query}", request.path);
        let method = reqwest::Method::from_bytes(request.method.as_bytes()).unwrap();
        let mut sent = self.http.request(method, url).body(request.body.clone());
        for (name, value) in request.headers.iter() {
            sent = sent.header(name, value);
        }
        let arrived = sent.send().await.ok()?;
        let status = arrived.status().as_u16();
        let headers: Headers = arrived
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        Some(Response {
            status,
            headers,
            body: arrived.bytes().await.ok()?.to_vec(),
        })
    }
}

fn without_comments(statement: &str) -> String {
    let lines = statement.lines().filter(|line| !line.trim_start().starts_with("--"));
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn name(service: Service) -> &'static str {
    match service {
        Service::Config => "config",
        Service::Image => "image",
    }
}

fn modules() -> Vec<Module> {
    let directory = project().join("target/reference-worker");
    [("index.js", ModuleKind::EsModule), ("index_bg.wasm", ModuleKind::Wasm)]
        .map(|(name, kind)| {
            let path = directory.join(name);
            assert!(
                path.is_file(),
                "{} is not there; build it with `cargo xtask reference-worker`",
                path.display()
            );
            Module {
                name: name.to_owned(),
                kind,
                path,
            }
        })
        .to_vec()
}

fn worker(service: Service, settings: &Settings, further: Vec<(&str, Binding)>) -> Worker {
    let text = |value: &Option<String>| value.clone().map(Binding::Text);
    let variables = [
        ("SERVICE", Some(Binding::Text(name(service).to_owned()))),
        ("SERVICE_TOKEN", text(&settings.service_token)),
        ("CACHE_ENCRYPTION_KEY", text(&settings.cache_encryption_key)),
        ("ALLOWED_ORIGINS", text(&settings.allowed_origins)),
        ("LOG_LEVEL", text(&settings.log_level)),
        ("IMAGE_BASE_URL", text(&settings.image_base_url)),
        (
            "GENERATION_TIMEOUT_MS",
            settings
                .generation_timeout_ms
                .map(|timeout_ms| Binding::Text(timeout_ms.to_string())),
        ),
        ("DB", Some(Binding::Database("main".to_owned()))),
        ("CONFIG_CACHE", Some(Binding::KeyValue("cache".to_owned()))),
    ];
    let bindings = variables
        .into_iter()
        .filter_map(|(name, binding)| Some((name, binding?)))
        .chain(further)
        .map(|(name, binding)| (name.to_owned(), binding))
        .collect();
    Worker {
        name: name(service).to_owned(),
        modules: modules(),
        compatibility_date: "2026-04-01".to_owned(),
        bindings,
        ..Worker::default()
    }
}

fn config_service(settings: &Settings) -> Worker {
    let keys = settings.provider_key_encryption_keys.clone().unwrap_or_default();
    worker(
        Service::Config,
        settings,
        vec![("PROVIDER_KEY_ENCRYPTION_KEYS", Binding::Text(keys))],
    )
}

/// A Worker of the tests' own, beside those under test.
fn inspector() -> Worker {
    let bucket = |name: &str| (name.to_owned(), Binding::Bucket(name.to_owned()));
    Worker {
        name: INSPECTOR.to_owned(),
        modules: vec![Module {
            name: "inspect.js".to_owned(),
            kind: ModuleKind::EsModule,
            path: project().join("reference/worker/tests/common/inspect.js"),
        }],
        compatibility_date: "2026-04-01".to_owned(),
        bindings: vec![
            bucket("images"),
            bucket("other-images"),
            ("cache".to_owned(), Binding::KeyValue("cache".to_owned())),
        ],
        ..Worker::default()
    }
}

fn image_worker(settings: &Settings) -> Worker {
    let classes = [
        ("RATE_LIMITER", "RateLimiter"),
        ("CIRCUIT_BREAKER", "CircuitBreaker"),
        ("JOBS", "Jobs"),
        ("LOG_BUFFER", "LogBuffer"),
    ];
    let mut bindings = vec![
        (
            "CONFIG_SERVICE",
            Binding::Service {
                worker: name(Service::Config).to_owned(),
                entrypoint: None,
            },
        ),
        ("IMAGES", Binding::Bucket("images".to_owned())),
        ("IMAGES_OTHER_IMAGES", Binding::Bucket("other-images".to_owned())),
    ];
    bindings.extend(classes.map(|(binding, class)| {
        let class = class.to_owned();
        (binding, Binding::Objects { class, worker: None })
    }));
    let mut worker = worker(Service::Image, settings, bindings);
    worker.objects = classes
        .map(|(_, class)| ObjectClass {
            class: class.to_owned(),
            sql: true,
        })
        .to_vec();
    worker
}
