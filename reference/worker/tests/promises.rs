//! The Worker on workerd: limits hold under concurrency, what was answered is true after a kill, and the log reaches the database by itself.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::Deployed;
use reference_core::http::{Request, Response};
use reference_core::settings::Settings;
use reference_native::{Service, example_settings};
use reference_sequences::ROOT;
use serde_json::{Value, json};
use tokio::task::JoinSet;

async fn ready(rate_limits: &Value) -> (Deployed, String) {
    ready_with(&example_settings(), rate_limits).await
}

async fn ready_with(settings: &Settings, rate_limits: &Value) -> (Deployed, String) {
    let deployed = Deployed::start(settings).await;
    let native = reference_native::System::start(reference_native::Options::default()).unwrap();
    let root = native.issue_key(ROOT).unwrap();
    deployed
        .give_key(
            ROOT,
            "00000000-0000-4000-8000-0000000000c1",
            &root,
            "2026-01-01T00:00:00.000Z",
        )
        .await;
    let config = json!({ "api_keys": { "ideogram": "provider-secret-0123456789" }, "rate_limits": rate_limits });
    let edit = Request::new("PATCH", "/instance/production")
        .bearer(&root)
        .json(&json!({ "config": config }));
    let edited = deployed.send(Service::Config, &edit).await;
    assert_eq!(edited.status, 200, "{}", edited.json());
    (deployed, root)
}

fn generate(root: &str, request_id: &str) -> Request {
    let body =
        json!({ "prompt": "a cat", "instance_id": "production", "request_id": request_id, "model": "ideogram-v2" });
    Request::new("POST", "/generate").bearer(root).json(&body)
}

fn request_id(number: usize) -> String {
    format!("0badc0de-0000-4000-8000-{number:012}")
}

/// The answers to requests that are all under way at the same time; nothing where the connection broke.
async fn all_at_once(deployed: &Deployed, requests: Vec<(Service, Request)>) -> Vec<Option<Response>> {
    let mut sent = JoinSet::new();
    for (index, (service, request)) in requests.into_iter().enumerate() {
        let client = deployed.client();
        sent.spawn(async move { (index, client.sent(service, &request).await) });
    }
    let mut answers = sent.join_all().await;
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

#[tokio::test]
async fn fifty_at_once_on_a_limit_of_ten_admit_ten_also_across_a_kill() {
    let (mut deployed, root) = ready(&json!({ "ideogram": { "rpm": 10 } })).await;
    let requests = (0..50).map(|number| (Service::Image, generate(&root, &request_id(number))));
    let answers = all_at_once(&deployed, requests.collect()).await;
    let count = |status: u16| {
        answers
            .iter()
            .flatten()
            .filter(|answer| answer.status == status)
            .count()
    };
    assert_eq!((count(200), count(429)), (10, 40));
    deployed.running.kill().await.unwrap();
    deployed.running.start_again().await.unwrap();
    let again = generate(&root, &request_id(50));
    assert_eq!(
        deployed.send(Service::Image, &again).await.status,
        429,
        "the window outlives the process"
    );
    assert_eq!(
        deployed.rows("SELECT count(*) AS count FROM usage_logs").await[0]["count"],
        10
    );
    deployed.running.set_clock_offset(61_000).await.unwrap();
    assert_eq!(deployed.send(Service::Image, &again).await.status, 200);
}

#[tokio::test]
async fn whatever_was_answered_before_a_kill_is_true_after_it() {
    let (mut deployed, root) = ready(&json!({})).await;
    // Four clients ask and write down what they were promised, until the runtime is killed under them.
    let images = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for client in 0..4 {
        let (http, root, images) = (deployed.client(), root.clone(), Arc::clone(&images));
        clients.spawn(async move {
            let mut promises = Vec::new();
            for number in 0.. {
                let image = generate(&root, &request_id(client * 1_000_000 + number));
                let Some(answer) = http.sent(Service::Image, &image).await else {
                    break;
                };
                assert_eq!(answer.status, 200, "{}", answer.json());
                promises.push((Service::Image, image, answer.json()));
                images.fetch_add(1, Ordering::Relaxed);
                let name = format!("p-{client}-{number}");
                let project = json!({ "project_id": name, "instance_id": "production", "name": name });
                let project = Request::new("POST", "/project").bearer(&root).json(&project);
                let Some(answer) = http.sent(Service::Config, &project).await else {
                    break;
                };
                assert_eq!(answer.status, 201, "{}", answer.json());
                promises.push((Service::Config, project, answer.json()));
            }
            promises
        });
    }
    while images.load(Ordering::Relaxed) < 20 {
        assert!(clients.try_join_next().is_none(), "a client has given up");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    deployed.running.kill().await.unwrap();
    let promises: Vec<(Service, Request, Value)> = clients.join_all().await.concat();
    assert!(promises.len() > 30, "{} promises", promises.len());
    let former = deployed.origin(Service::Image);
    deployed.running.start_again().await.unwrap();
    for (service, request, promised) in &promises {
        match service {
            Service::Config => {
                let path = format!("/project/{}", promised["project_id"].as_str().unwrap());
                let read = Request::new("GET", &path).bearer(&root);
                assert_eq!(
                    deployed.send(Service::Config, &read).await.json()["name"],
                    promised["name"]
                );
            }
            Service::Image => {
                let again = deployed.send(Service::Image, request).await.json();
                assert_eq!(again, *promised);
                assert!(again["image_url"].as_str().unwrap().starts_with(&former));
                let path = format!("/images/{}", promised["r2_path"].as_str().unwrap());
                assert_eq!(
                    deployed.send(Service::Image, &Request::new("GET", &path)).await.status,
                    200
                );
                let paid = format!(
                    "SELECT count(*) AS count FROM usage_logs WHERE request_id = {}",
                    promised["request_id"].to_string().replace('"', "'")
                );
                assert_eq!(deployed.rows(&paid).await[0]["count"], 1);
            }
        }
    }
}

#[tokio::test]
async fn keys_jobs_and_entries_of_the_log_outlive_a_kill() {
    let settings = Settings {
        generation_timeout_ms: Some(1500),
        ..example_settings()
    };
    let (mut deployed, root) = ready_with(&settings, &json!({})).await;
    let make_key = || {
        Request::new("POST", &format!("/user/{ROOT}/key"))
            .bearer(&root)
            .json(&json!({}))
    };
    let kept = deployed.send(Service::Config, &make_key()).await.json();
    let revoked = deployed.send(Service::Config, &make_key()).await.json();
    let revoke = Request::new("DELETE", &format!("/key/{}", revoked["key_id"].as_str().unwrap())).bearer(&root);
    assert_eq!(deployed.send(Service::Config, &revoke).await.status, 200);
    let body = json!({ "prompt": "a cat [[pending-9]]", "instance_id": "production", "request_id": request_id(7) });
    let generate = Request::new("POST", "/generate").bearer(&root).json(&body);
    let promised = deployed.send(Service::Image, &generate).await;
    assert_eq!(promised.status, 504, "{}", promised.json());
    deployed.running.kill().await.unwrap();
    deployed.running.start_again().await.unwrap();

    for (key, status) in [(&kept, 200), (&revoked, 401)] {
        let me = Request::new("GET", "/me").bearer(key["key"].as_str().unwrap());
        assert_eq!(deployed.send(Service::Config, &me).await.status, status);
    }
    let again = deployed.send(Service::Image, &generate).await;
    assert_eq!((again.status, again.json()), (504, promised.json()));
    let job = Request::new("GET", promised.json()["status_url"].as_str().unwrap()).bearer(&root);
    // The provider is asked once each time, and needs nine questions at most.
    let mut state = deployed.send(Service::Image, &job).await.json();
    for _ in 0..9 {
        if state["status"] == "pending" {
            state = deployed.send(Service::Image, &job).await.json();
        }
    }
    assert_eq!(state["status"], "completed", "{state}");
    let image = Request::new("GET", &format!("/images/{}", state["r2_path"].as_str().unwrap()));
    assert_eq!(deployed.send(Service::Image, &image).await.status, 200);
    assert_eq!(
        deployed.rows("SELECT count(*) AS count FROM usage_logs").await[0]["count"],
        1
    );
    deployed.running.set_clock_offset(11_000).await.unwrap();
    deployed.running.run_scheduled("image", "* * * * *").await.unwrap();
    let entries = "SELECT json_extract(metadata, '$.status') AS status, json_extract(metadata, '$.replayed') AS replayed FROM logs ORDER BY timestamp";
    let entries = deployed.rows(entries).await;
    assert_eq!(
        json!(entries),
        json!([{ "status": 504, "replayed": null }, { "status": 504, "replayed": 1 }])
    );
}

#[tokio::test]
async fn a_log_entry_reaches_the_database_by_itself_once() {
    let (deployed, root) = ready(&json!({})).await;
    let answer = deployed.send(Service::Image, &generate(&root, &request_id(1))).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let rows = deployed.rows("SELECT request_id, level FROM logs").await;
        if let Some(row) = rows.first() {
            assert_eq!((rows.len(), &row["request_id"]), (1, &answer.json()["request_id"]));
            break;
        }
        assert!(Instant::now() < deadline, "nothing after a minute");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
