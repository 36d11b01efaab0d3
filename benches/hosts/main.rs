//! The reference and the generated system side by side on the same workerd: `cargo bench --bench hosts`. `cargo xtask reference-worker` comes first.
//!
//! Both have the same mock of the provider behind them and the same simulators of D1, KV and R2 below them, and take turns, so that what else the machine
//! does meets both alike. The ratios say what the code of each costs; the rates compare this machine with itself, nothing else.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and ends at once when something is wrong"
)]

#[path = "../../reference/worker/tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::Deployed;
use mock_ideogram::{Mock, Options};
use orchestrate::verify::{BootOptions, Booted, boot};
use reference_native::{Service, example_settings};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use workerd_driver::{Running, Tools};

const PROVIDER_KEY: &str = "provider-key-of-the-benchmark-0123456789";
/// The superadmin of the generated system's seed data.
const SUPERADMIN: &str = "3f0c8a52-6a0e-4d0b-9a52-0d6f3c1f7a01";
/// The superadmin of the reference's seed data.
const ROOT: &str = "00000000-0000-4000-8000-000000000001";
const CONNECTIONS: usize = 8;
/// Each takes so many turns of this length.
const TURNS: usize = 5;
const TURN: Duration = Duration::from_secs(2);

/// Where a system's two services are, and a key that may do everything.
struct Target {
    config: String,
    image: String,
    key: String,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("an event loop");
    runtime.block_on(compare());
}

async fn compare() {
    let key = reference_native::System::start(reference_native::Options::default())
        .and_then(|system| system.issue_key(ROOT))
        .expect("a key");
    let deployed = Deployed::start(&example_settings()).await;
    *deployed.mock.lock() = Mock::new(Options {
        is_prompt: true,
        images_in_flight_max: 1000,
        ..Options::default()
    });
    deployed
        .give_key(
            ROOT,
            "00000000-0000-4000-8000-0000000000c1",
            &key,
            "2026-01-01T00:00:00.000Z",
        )
        .await;
    let reference = Target {
        config: deployed.origin(Service::Config),
        image: deployed.origin(Service::Image),
        key: key.clone(),
    };
    let directory = tempfile::tempdir().expect("a directory");
    let running = generated(&deployed, directory.path()).await;
    give_key(&running, &key).await;
    let url = |worker: &str| running.url(worker).expect("the Worker");
    let generated = Target {
        config: url("config-service"),
        image: url("image-gen"),
        key,
    };
    for target in [&reference, &generated] {
        configure(target).await;
    }
    println!(
        "{CONNECTIONS} connections, {TURNS} turns of {} s each\n",
        TURN.as_secs()
    );
    println!(
        "{:<46} {:>12} {:>12} {:>22}",
        "requests/s", "reference", "generated", "generated / reference"
    );
    let wish = json!({ "prompt": "a lighthouse", "instance_id": "production", "model": "ideogram-v2" });
    type Url = fn(&Target) -> String;
    let kinds: [(&str, Url, Option<&Value>); 3] = [
        (
            "hello: GET /health, one read of D1",
            |target| format!("{}/health", target.image),
            None,
        ),
        (
            "SQL: GET /instance/production",
            |target| format!("{}/instance/production", target.config),
            None,
        ),
        (
            "POST /generate with the mock: everything",
            |target| format!("{}/generate", target.image),
            Some(&wish),
        ),
    ];
    for (name, url, body) in kinds {
        let mut counts = [0; 2];
        for _ in 0..TURNS {
            for (count, target) in counts.iter_mut().zip([&reference, &generated]) {
                *count += turn(&url(target), &target.key, body).await;
            }
        }
        let seconds = TURN.as_secs_f64() * TURNS as f64;
        let [reference, generated] = counts.map(|count| f64::from(count) / seconds);
        println!(
            "{name:<46} {reference:>12.0} {generated:>12.0} {:>22.2}",
            generated / reference
        );
    }
}

/// How many requests are answered in one turn.
async fn turn(url: &str, key: &str, body: Option<&Value>) -> u32 {
    let until = Instant::now() + TURN;
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (url, key, body) = (url.to_owned(), key.to_owned(), body.cloned());
        connections.spawn(async move {
            let client = reqwest::Client::builder().no_proxy().build().expect("a client");
            let mut count = 0;
            while Instant::now() < until {
                let request = match &body {
                    Some(body) => client.post(&url).json(body),
                    None => client.get(&url),
                };
                let answer = request.bearer_auth(&key).send().await.expect("an answer");
                let status = answer.status();
                let text = answer.text().await.expect("a body");
                assert!(status.is_success(), "{url}: {status}: {text}");
                count += 1;
            }
            count
        });
    }
    connections.join_all().await.into_iter().sum()
}

/// The generated system, with the same mock behind it.
async fn generated(deployed: &Deployed, directory: &Path) -> Running {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = Tools::ensure(&top.join("target/tools"), |words| println!("{words}")).expect("the tools");
    let settings = example_settings();
    let secrets = [
        ("PROVIDER_KEY_ENCRYPTION_KEYS", settings.provider_key_encryption_keys),
        ("SERVICE_TOKEN", settings.service_token),
        ("CACHE_ENCRYPTION_KEY", settings.cache_encryption_key),
    ];
    let options = BootOptions {
        secrets: secrets
            .into_iter()
            .map(|(name, secret)| (name.to_owned(), secret.unwrap_or_default()))
            .collect(),
        variables: vec![("LOG_LEVEL".to_owned(), "INFO".to_owned())],
        outbound: Some(deployed.provider),
        data: Some(top.join("generated/infrastructure/database/seed.sql")),
        ..BootOptions::default()
    };
    let Booted { running, .. } = boot(&tools, &top.join("generated"), directory, &options)
        .await
        .expect("the system boots");
    running
}

async fn give_key(running: &Running, key: &str) {
    let (hash, prefix) = (reference_core::key::hash(key), reference_core::key::prefix(key));
    let sql = "INSERT INTO api_keys (key_id, user_id, key_hash, key_prefix) VALUES ('bench', ?, ?, ?)";
    let parameters = [json!(SUPERADMIN), json!(hash), json!(prefix)];
    running.query("multiagent", sql, &parameters).await.expect("a key");
}

/// The provider's key, and a limit that is never reached.
async fn configure(target: &Target) {
    let config =
        json!({ "api_keys": { "ideogram": PROVIDER_KEY }, "rate_limits": { "ideogram": { "rpm": 1_000_000 } } });
    let answer = reqwest::Client::new()
        .patch(format!("{}/instance/production", target.config))
        .bearer_auth(&target.key)
        .json(&json!({ "config": config }))
        .send()
        .await
        .expect("an answer");
    assert!(answer.status().is_success(), "{}", answer.status());
}
