//! Before anybody is examined: a small Worker of our own proves that the runtime and its simulators do what examinations rely on.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use mock_ideogram::Mock;
use mock_ideogram::server::{Shared, serve};
use serde_json::{Value, json};
use thiserror::Error;
use workerd_driver::{Binding, DriverError, Module, ModuleKind, ObjectClass, Running, System, Tools, Worker};

use super::subject::mock_options;

/// Where the canary's clock stands: 2030-01-01T00:00:00.000Z.
const STILL_MS: i64 = 1_893_456_000_000;

/// What its entry in KV lives for, and a little more.
const LATER_MS: i64 = 301_000;

/// No step takes longer on a runtime that works.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// How often it is looked whether the alarm rang, and how long apart.
const ALARM_LOOKS: u32 = 100;
const ALARM_LOOK_EVERY: Duration = Duration::from_millis(20);

/// Why nobody can be examined here.
#[derive(Debug, Error)]
pub enum CanaryError {
    /// The runtime does not start, or does not do what it is told.
    #[error("the runtime's self-test fails: {0}")]
    Runtime(#[from] DriverError),
    /// A file or a socket of ours.
    #[error("the runtime's self-test cannot begin: {0}")]
    Environment(#[from] std::io::Error),
    /// The canary gives no answer.
    #[error("the runtime's self-test gets no answer: {0}")]
    NoAnswer(#[from] reqwest::Error),
    /// A simulator does something else than the real thing.
    #[error("the runtime's self-test fails: {what}: {found} in place of {wanted}")]
    Wrong {
        /// What was looked at.
        what: &'static str,
        /// What was seen.
        found: Value,
        /// What should have been.
        wanted: Value,
    },
}

fn expect(what: &'static str, found: &Value, wanted: &Value) -> Result<(), CanaryError> {
    if found == wanted {
        return Ok(());
    }
    let (found, wanted) = (found.clone(), wanted.clone());
    Err(CanaryError::Wrong { what, found, wanted })
}

fn worker(name: &str, path: &Path, bindings: Vec<(String, Binding)>) -> Worker {
    Worker {
        name: name.to_owned(),
        modules: vec![Module {
            name: "canary.js".to_owned(),
            kind: ModuleKind::EsModule,
            path: path.to_path_buf(),
        }],
        compatibility_date: "2026-04-01".to_owned(),
        bindings,
        objects: vec![ObjectClass {
            class: "Bird".to_owned(),
            sql: true,
        }],
        ..Worker::default()
    }
}

/// Lets the canary sing in `directory`, which must be empty or new. An error means that nothing that is found here would mean anything.
pub async fn canary(tools: &Tools, directory: &Path) -> Result<(), CanaryError> {
    std::fs::create_dir_all(directory)?;
    let directory = std::path::absolute(directory)?;
    let path = directory.join("canary.js");
    std::fs::write(&path, include_str!("canary.js"))?;
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let outbound = listener.local_addr()?;
    let mock = Shared::new(Mock::new(mock_options()));
    let serving = tokio::spawn(serve(listener, mock.clone()));
    let named = |name: &str, binding: Binding| (name.to_owned(), binding);
    let bird = || Binding::Objects {
        class: "Bird".to_owned(),
        worker: None,
    };
    let other = Binding::Service {
        worker: "other".to_owned(),
        entrypoint: None,
    };
    let system = System {
        workers: vec![
            worker(
                "canary",
                &path,
                vec![
                    named("DB", Binding::Database("main".to_owned())),
                    named("CACHE", Binding::KeyValue("cache".to_owned())),
                    named("IMAGES", Binding::Bucket("images".to_owned())),
                    named("BIRDS", bird()),
                    named("OTHER", other),
                ],
            ),
            worker("other", &path, vec![named("BIRDS", bird())]),
        ],
        outbound: Some(outbound),
        data: directory.join("data"),
        clock_still_ms: Some(STILL_MS),
        ..System::default()
    };
    let outcome = sing(tools, system, &directory, &mock).await;
    serving.abort();
    outcome
}

async fn sing(tools: &Tools, system: System, directory: &Path, mock: &Shared) -> Result<(), CanaryError> {
    let mut running = Running::start(tools, system, directory).await?;
    running.stop_clock(STILL_MS).await?;
    let http = reqwest::Client::builder().no_proxy().timeout(STEP_TIMEOUT).build()?;
    let first = heard(&http, &running, "/all").await?;
    expect("D1", &first["database"], &json!({ "count": 7, "refused": true }))?;
    expect(
        "R2",
        &first["bucket"],
        &json!({ "bytes": [1, 2, 3], "type": "image/png", "model": "x" }),
    )?;
    expect("KV", &first["kept"], &json!("value"))?;
    expect("a Durable Object's storage", &first["count"], &json!(1))?;
    expect("a service binding", &first["other"], &json!(STILL_MS))?;
    expect("the captured network", &first["outside"], &json!(404))?;
    let received = mock
        .lock()
        .journal()
        .filter(|received| received.target == "/canary")
        .count();
    expect("what left the runtime", &json!(received), &json!(1))?;
    let rows = running.query("main", "SELECT count FROM canary", &[]).await?;
    expect("D1 read from outside", &json!(rows), &json!([{ "count": 7 }]))?;
    running.stop_clock(STILL_MS + LATER_MS).await?;
    let later = heard(&http, &running, "/later").await?;
    expect("the moved clock", &later["now"], &json!(STILL_MS + LATER_MS))?;
    expect("the expiry of KV", &later["kept"], &Value::Null)?;
    for _ in 0..ALARM_LOOKS {
        if heard(&http, &running, "/later").await?["bird"]["rang"] == true {
            break;
        }
        tokio::time::sleep(ALARM_LOOK_EVERY).await;
    }
    running.kill().await?;
    running.start_again().await?;
    let after = heard(&http, &running, "/later").await?;
    expect(
        "a Durable Object after a kill",
        &after["bird"],
        &json!({ "count": 1, "rang": true }),
    )
}

async fn heard(http: &reqwest::Client, running: &Running, path: &str) -> Result<Value, CanaryError> {
    let url = format!("{}{path}", running.url("canary")?);
    let bytes = http.get(url).send().await?.bytes().await?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(serde_json::from_slice(&bytes).unwrap_or(Value::String(text)))
}
