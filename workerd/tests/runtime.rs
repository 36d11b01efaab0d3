//! The driver on the real workerd: storage, clock, scheduled events, what is sent out, and a kill in the middle.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use workerd_driver::{Binding, DriverError, Module, ModuleKind, ObjectClass, Running, System, Tools, Worker};

/// A Worker with one of everything.
const APP: &str = r#"
import { DurableObject } from 'cloudflare:workers';

export class Counter extends DurableObject {
  add() {
    this.ctx.storage.sql.exec('CREATE TABLE IF NOT EXISTS seen (at INTEGER)');
    this.ctx.storage.sql.exec('INSERT INTO seen VALUES (?)', Date.now());
    return this.ctx.storage.sql.exec('SELECT count(*) AS count FROM seen').one().count;
  }
}

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    switch (pathname) {
      case '/d1':
        await env.DB.exec('CREATE TABLE IF NOT EXISTS note (text TEXT, at INTEGER)');
        await env.DB.prepare('INSERT INTO note VALUES (?, ?)').bind('quoted "text"', Date.now()).run();
        return Response.json((await env.DB.prepare('SELECT count(*) AS count FROM note').first()).count);
      case '/kv-put':
        await env.KV.put('key', 'value', { expirationTtl: 300 });
        return Response.json(true);
      case '/kv-get':
        return Response.json(await env.KV.get('key'));
      case '/r2':
        await env.IMAGES.put('a/b.png', new Uint8Array(1024), { customMetadata: { model: 'x' } });
        return Response.json((await env.IMAGES.head('a/b.png')).customMetadata.model);
      case '/object':
        return Response.json(await env.COUNTER.get(env.COUNTER.idFromName('one')).add());
      case '/now':
        return Response.json(Date.now());
      case '/wait':
        await new Promise((resolve) => setTimeout(resolve, 4));
        return Response.json(Date.now());
      case '/variables':
        return Response.json([env.WORDS, env.NUMBERS]);
      case '/out':
        try {
          return Response.json(await (await fetch('https://api.example.com/v1/images?size=1')).text());
        } catch (error) {
          return Response.json(String(error), { status: 502 });
        }
      case '/other':
        return env.OTHER.fetch('http://other/now');
    }
    return new Response('not found', { status: 404 });
  },
  async scheduled(event, env) {
    await env.KV.put('scheduled', event.cron);
    console.log('a line of the log');
  },
};
"#;

fn app(directory: &Path, name: &str) -> Worker {
    let path = directory.join("app.js");
    std::fs::write(&path, APP).expect("the Worker");
    let text = |text: &str| Binding::Text(text.to_owned());
    Worker {
        name: name.to_owned(),
        modules: vec![Module {
            name: "app.js".to_owned(),
            kind: ModuleKind::EsModule,
            path,
        }],
        compatibility_date: "2026-04-01".to_owned(),
        bindings: [
            ("DB", Binding::Database("main".to_owned())),
            ("KV", Binding::KeyValue("cache".to_owned())),
            ("IMAGES", Binding::Bucket("images".to_owned())),
            (
                "COUNTER",
                Binding::Objects {
                    class: "Counter".to_owned(),
                    worker: None,
                },
            ),
            ("WORDS", text("a \"quote\", a \\ and\na line; grüße")),
            ("NUMBERS", Binding::Json(json!({ "a": [1, 2] }))),
        ]
        .map(|(name, binding)| (name.to_owned(), binding))
        .to_vec(),
        objects: vec![ObjectClass {
            class: "Counter".to_owned(),
            sql: true,
        }],
        ..Worker::default()
    }
}

struct Fixture {
    directory: tempfile::TempDir,
    running: Running,
}

impl Fixture {
    async fn start(outbound: Option<std::net::SocketAddr>) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let other = app(directory.path(), "other worker");
        let mut first = app(directory.path(), "app");
        first.bindings.push((
            "OTHER".to_owned(),
            Binding::Service {
                worker: other.name.clone(),
                entrypoint: None,
            },
        ));
        let system = System {
            workers: vec![first, other],
            outbound,
            data: directory.path().join("data"),
            ..System::default()
        };
        let running = Running::start(&tools(), system, directory.path())
            .await
            .expect("workerd starts");
        Self { directory, running }
    }

    async fn get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.running.url("app").unwrap());
        let answer = reqwest::get(url).await.expect("an answer");
        answer.json().await.expect("JSON")
    }
}

fn tools() -> Tools {
    // The same place as for other tools of the tests, so that a build machine fetches them once.
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools");
    Tools::ensure(&cache, |_| {}).expect("the tools")
}

#[tokio::test]
async fn a_worker_reaches_every_kind_of_storage() {
    let fixture = Fixture::start(None).await;
    assert_eq!(fixture.get("/d1").await, 1);
    assert_eq!(fixture.get("/d1").await, 2);
    assert_eq!(fixture.get("/r2").await, "x");
    assert_eq!(fixture.get("/object").await, 1);
    assert_eq!(
        fixture.get("/variables").await,
        json!(["a \"quote\", a \\ and\na line; grüße", { "a": [1, 2] }])
    );
    let rows = fixture
        .running
        .query(
            "main",
            "SELECT text FROM note WHERE text LIKE ? LIMIT 1",
            &[json!("quoted%")],
        )
        .await
        .unwrap();
    assert_eq!(rows[0]["text"], "quoted \"text\"");
    let missing = fixture.running.query("another", "SELECT 1", &[]).await.unwrap_err();
    assert_eq!(missing.to_string(), "there is no store `another` in this system");
}

#[tokio::test]
async fn the_clock_of_workers_objects_and_kv_moves_at_once() {
    let mut fixture = Fixture::start(None).await;
    fixture.get("/kv-put").await;
    let before = fixture.get("/now").await.as_i64().unwrap();
    fixture.running.set_clock_offset(299_000).await.unwrap();
    assert_eq!(fixture.get("/kv-get").await, "value");
    assert!(fixture.get("/now").await.as_i64().unwrap() >= before + 299_000);
    assert!(fixture.get("/other").await.as_i64().unwrap() >= before + 299_000);
    fixture.running.set_clock_offset(301_000).await.unwrap();
    assert_eq!(fixture.get("/kv-get").await, Value::Null);
}

#[tokio::test]
async fn a_clock_that_stands_is_moved_by_who_waits_and_survives_a_kill() {
    let mut fixture = Fixture::start(None).await;
    let at_ms = 4_000_000_000_000_i64;
    fixture.running.stop_clock(at_ms).await.unwrap();
    fixture.get("/kv-put").await;
    assert_eq!(fixture.get("/now").await, at_ms);
    assert_eq!(fixture.get("/other").await, at_ms);
    assert_eq!(fixture.get("/wait").await, at_ms + 4);
    fixture.running.stop_clock(at_ms + 299_999).await.unwrap();
    assert_eq!(fixture.get("/kv-get").await, "value");
    fixture.running.kill().await.unwrap();
    fixture.running.start_again().await.unwrap();
    assert_eq!(fixture.get("/now").await, at_ms + 299_999);
    fixture.running.stop_clock(at_ms + 300_001).await.unwrap();
    assert_eq!(fixture.get("/kv-get").await, Value::Null);
}

#[tokio::test]
async fn a_scheduled_handler_runs_to_its_end_and_the_log_is_kept() {
    let fixture = Fixture::start(None).await;
    fixture.running.run_scheduled("app", "0 3 * * *").await.unwrap();
    let unknown = fixture.running.run_scheduled("nobody", "0 3 * * *").await.unwrap_err();
    assert!(matches!(unknown, DriverError::Unknown { .. }), "{unknown}");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !fixture.running.log().unwrap().contains("a line of the log") {
        assert!(
            std::time::Instant::now() < deadline,
            "{}",
            fixture.running.log().unwrap()
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_was_stored_survives_a_kill_and_so_does_the_clock() {
    let mut fixture = Fixture::start(None).await;
    fixture.running.set_clock_offset(3_600_000).await.unwrap();
    let before = fixture.get("/now").await.as_i64().unwrap();
    assert_eq!(fixture.get("/d1").await, 1);
    assert_eq!(fixture.get("/object").await, 1);
    fixture.running.kill().await.unwrap();
    fixture.running.start_again().await.unwrap();
    assert_eq!(fixture.get("/d1").await, 2);
    assert_eq!(fixture.get("/object").await, 2);
    assert!(fixture.get("/now").await.as_i64().unwrap() >= before);
    assert!(fixture.directory.path().join("data").is_dir());
}

#[tokio::test]
async fn everything_that_is_sent_out_arrives_at_one_place_or_nowhere() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fixture = Fixture::start(Some(listener.local_addr().unwrap())).await;
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nhere")
            .await
            .unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    };
    let (answer, request) = tokio::join!(fixture.get("/out"), serve);
    assert_eq!(answer, "here");
    assert!(request.starts_with("GET /v1/images?size=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.to_lowercase().contains("host: api.example.com"), "{request}");

    let closed = Fixture::start(None).await;
    assert!(closed.get("/out").await.as_str().unwrap().contains("Error"));
}

#[tokio::test]
async fn a_worker_that_cannot_start_is_an_error_with_what_workerd_said() {
    let directory = tempfile::tempdir().unwrap();
    let mut broken = app(directory.path(), "app");
    std::fs::write(&broken.modules[0].path, "export default {").unwrap();
    broken.objects.clear();
    broken.bindings.clear();
    let system = System {
        workers: vec![broken],
        data: directory.path().join("data"),
        ..System::default()
    };
    let error = Running::start(&tools(), system, directory.path()).await.unwrap_err();
    assert!(error.to_string().contains("SyntaxError"), "{error}");
}
