//! What the generated image-generation Worker costs by itself, beside Portkey's gateway: `cargo bench --bench gateway`.
//!
//! Both stand before providers that answer at once, in one run, on loopback. Portkey passes a request on; the Worker authenticates, looks up, admits,
//! orders, fetches and stores the image, writes usage and log. workerd's local D1, KV and R2 are simulators, which cost more than the real ones' share of
//! processor: the figures compare this machine with itself, nothing else.
//!
//! Portkey listens on every interface, so the benchmark moves into a network namespace of its own first.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and ends at once when something is wrong"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mock_ideogram::server::{Shared, serve};
use mock_ideogram::{Mock, Options};
use orchestrate::verify::{BootOptions, Booted, boot};
use reference_core::key;
use reference_core::ports::Entropy;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use workerd_driver::{Running, Tools};

const PORTKEY: &str = "@portkey-ai/gateway@1.15.2";
const INSIDE: &str = "GATEWAY_BENCH_INSIDE";
const PROVIDER_KEY: &str = "provider-key-of-the-benchmark-0123456789";
const SUPERADMIN: &str = "3f0c8a52-6a0e-4d0b-9a52-0d6f3c1f7a01";
const ROUNDS: usize = 3;
const CONNECTIONS: [usize; 2] = [1, 16];

struct Fixed;

impl Entropy for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::try_from(index % 200).expect("small");
        }
    }
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn main() -> ExitCode {
    let tools = Tools::ensure(&top().join("target/tools"), |words| println!("{words}")).expect("the tools");
    let portkey = install_portkey();
    if std::env::var_os(INSIDE).is_none() {
        return run_in_a_namespace();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("an event loop");
    runtime.block_on(measure(&tools, &portkey));
    ExitCode::SUCCESS
}

fn install_portkey() -> PathBuf {
    let place = top().join("target/tools/portkey");
    let server = place.join("node_modules/@portkey-ai/gateway/build/start-server.js");
    if !server.exists() {
        std::fs::create_dir_all(&place).expect("a directory");
        println!("installing {PORTKEY}");
        let status = Command::new("npm")
            .args([
                "install",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
                "--ignore-scripts",
                "--prefix",
            ])
            .arg(&place)
            .arg(PORTKEY)
            .status()
            .expect("npm runs");
        assert!(status.success(), "npm could not install {PORTKEY}");
    }
    server
}

/// Runs this program again where only loopback exists.
fn run_in_a_namespace() -> ExitCode {
    let own = std::env::current_exe().expect("this program");
    let status = Command::new("unshare")
        .args([
            "--net",
            "--map-root-user",
            "sh",
            "-c",
            "ip link set lo up && exec \"$0\"",
        ])
        .arg(own)
        .env(INSIDE, "1")
        .status()
        .expect("`unshare` and `ip` run: apt-get install util-linux iproute2");
    if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn measure(tools: &Tools, portkey: &Path) {
    let provider = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let ideogram = provider.local_addr().expect("its address");
    tokio::spawn(serve(
        provider,
        Shared::new(Mock::new(Options {
            keys: vec![PROVIDER_KEY.to_owned()],
            is_prompt: true,
            images_in_flight_max: 1000,
            ..Options::default()
        })),
    ));
    let openai = serve_openai().await;
    let directory = tempfile::tempdir().expect("a directory");
    let secret = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let options = BootOptions {
        secrets: vec![
            secret(
                "PROVIDER_KEY_ENCRYPTION_KEYS",
                "first:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            ),
            secret("SERVICE_TOKEN", "service-token-of-the-benchmark-0123456789"),
            secret("CACHE_ENCRYPTION_KEY", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="),
        ],
        variables: vec![secret("LOG_LEVEL", "INFO")],
        outbound: Some(ideogram),
        data: Some(top().join("generated/infrastructure/database/seed.sql")),
        ..BootOptions::default()
    };
    let Booted { running, .. } = boot(tools, &top().join("generated"), directory.path(), &options)
        .await
        .expect("the system boots");
    let key = configure(&running).await;
    let gateway = start_portkey(portkey).await;

    let direct = Target {
        url: format!("http://{openai}/v1/images/generations"),
        headers: Vec::new(),
        body: json!({ "prompt": "a lighthouse", "model": "dall-e-3" }).to_string(),
    };
    let theirs = Target {
        url: format!("http://127.0.0.1:{}/v1/images/generations", gateway.port),
        headers: vec![
            ("x-portkey-provider", "openai".to_owned()),
            ("x-portkey-custom-host", format!("http://{openai}/v1")),
            ("authorization", "Bearer none".to_owned()),
        ],
        body: direct.body.clone(),
    };
    let ours = Target {
        url: format!("{}/generate", running.url("image-gen").expect("the Worker")),
        headers: vec![("authorization", format!("Bearer {key}"))],
        body: json!({ "prompt": "a lighthouse", "instance_id": "production" }).to_string(),
    };
    let health = Target {
        url: format!("{}/health", running.url("image-gen").expect("the Worker")),
        headers: Vec::new(),
        body: String::new(),
    };
    println!("\n{:<44} {:>12} {:>12} {:>14}", "", "p50", "p99", "requests/s");
    for connections in CONNECTIONS {
        for (name, target, requests) in [
            ("the provider itself", &direct, 400),
            ("Portkey 1.15.2: passes on", &theirs, 300),
            ("the Worker, GET /health: one D1 read", &health, 300),
            ("the Worker, POST /generate: everything", &ours, 150),
        ] {
            let mut latencies = Vec::new();
            let started = Instant::now();
            for _ in 0..ROUNDS {
                latencies.extend(load(target, connections, requests).await);
            }
            let seconds = started.elapsed().as_secs_f64();
            latencies.sort_unstable();
            println!(
                "{:<44} {:>9.2} ms {:>9.2} ms {:>14.0}",
                format!("{connections:>2} connections: {name}"),
                at(&latencies, 50),
                at(&latencies, 99),
                latencies.len() as f64 / seconds
            );
        }
    }
}

fn at(sorted: &[Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
}

struct Target {
    url: String,
    headers: Vec<(&'static str, String)>,
    /// Empty for a GET.
    body: String,
}

/// Sends that many requests over that many connections.
async fn load(target: &Target, connections: usize, requests: usize) -> Vec<Duration> {
    let left = Arc::new(AtomicUsize::new(requests));
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let left = Arc::clone(&left);
        let (url, headers, body) = (target.url.clone(), target.headers.clone(), target.body.clone());
        tasks.push(tokio::spawn(async move {
            let client = reqwest::Client::builder().no_proxy().build().expect("a client");
            let mut latencies = Vec::new();
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1))
                .is_ok()
            {
                let mut request = if body.is_empty() {
                    client.get(&url)
                } else {
                    client
                        .post(&url)
                        .header("content-type", "application/json")
                        .body(body.clone())
                };
                for (name, value) in &headers {
                    request = request.header(*name, value);
                }
                let started = Instant::now();
                let response = request.send().await.expect("an answer");
                let status = response.status();
                let text = response.text().await.expect("a body");
                assert!(status.is_success(), "{url}: {status}: {text}");
                latencies.push(started.elapsed());
            }
            latencies
        }));
    }
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("no panic"));
    }
    latencies
}

/// A key, the provider's key, and a limit that is never reached.
async fn configure(running: &Running) -> String {
    let key = key::generate(&Fixed);
    running
        .query(
            "multiagent",
            "INSERT INTO api_keys (key_id, user_id, key_hash, key_prefix) VALUES ('bench', ?, ?, ?)",
            &[json!(SUPERADMIN), json!(key::hash(&key)), json!(key::prefix(&key))],
        )
        .await
        .expect("a key");
    let answer = reqwest::Client::new()
        .patch(format!(
            "{}/instance/production",
            running.url("config-service").expect("the Config Service")
        ))
        .bearer_auth(&key)
        .json(&json!({ "config": {
            "api_keys": { "ideogram": PROVIDER_KEY },
            "rate_limits": { "ideogram": { "rpm": 1_000_000 } },
        } }))
        .send()
        .await
        .expect("an answer");
    assert!(answer.status().is_success(), "{}", answer.status());
    key
}

/// Answers every request at once, as OpenAI would.
async fn serve_openai() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_openai(stream));
        }
    });
    address
}

async fn answer_openai(mut stream: TcpStream) {
    const BODY: &str = r#"{"created":1767225600,"data":[{"url":"https://images.example.com/1.png"}]}"#;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        while let Some(length) = request_length(&received) {
            received.drain(..length);
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => received.extend_from_slice(&buffer[..count]),
        }
    }
}

/// The length of the first request, once all of it is there. Clients here send a `Content-Length` or chunks that end with an empty one.
fn request_length(received: &[u8]) -> Option<usize> {
    let head = received.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&received[..head]).to_lowercase();
    if text.contains("transfer-encoding: chunked") {
        let end = received[head..].windows(5).position(|window| window == b"0\r\n\r\n")?;
        return Some(head + end + 5);
    }
    let length: usize = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0);
    (received.len() >= head + length).then_some(head + length)
}

struct Gateway {
    child: Child,
    port: u16,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It is gone when this fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn start_portkey(server: &Path) -> Gateway {
    // A port that was free a moment ago; nobody else lives in this namespace.
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port();
    let child = Command::new("node")
        .arg(server)
        .args([format!("--port={port}"), "--headless".to_owned()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("node runs");
    let gateway = Gateway { child, port };
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(Instant::now() < deadline, "Portkey does not listen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    gateway
}
