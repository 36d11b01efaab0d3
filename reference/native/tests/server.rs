//! The reference over HTTP, as a process that is killed: limits hold under concurrency, and what was answered is true after a restart.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod process;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use process::{Server, send, send_json};
use serde_json::{Value, json};

const ROOT: &str = "00000000-0000-4000-8000-000000000001";

fn configured(server: &Server, rate_limits: &Value) -> String {
    let root = server.key_of(ROOT);
    let config =
        json!({ "config": { "api_keys": { "ideogram": "provider-secret-0123456789" }, "rate_limits": rate_limits } });
    assert_eq!(
        send_json(&server.config, "PATCH", "/instance/production", &root, &config)
            .unwrap()
            .status,
        200
    );
    root
}

#[test]
fn fifty_at_once_on_a_limit_of_ten_admit_ten_also_across_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data.db");
    let server = Server::start(&data);
    let root = configured(&server, &json!({ "ideogram": { "rpm": 10 } }));
    let body = json!({ "prompt": "a cat", "instance_id": "production", "model": "ideogram-v2" });
    let statuses: Vec<u16> = thread::scope(|scope| {
        let sends: Vec<_> = (0..50)
            .map(|_| {
                scope.spawn(|| {
                    send_json(&server.image, "POST", "/generate", &root, &body)
                        .unwrap()
                        .status
                })
            })
            .collect();
        sends.into_iter().map(|send| send.join().unwrap()).collect()
    });
    let count = |status: u16| statuses.iter().filter(|other| **other == status).count();
    assert_eq!((count(200), count(429)), (10, 40));
    server.kill();
    let server = Server::start(&data);
    assert_eq!(
        send_json(&server.image, "POST", "/generate", &root, &body)
            .unwrap()
            .status,
        429,
        "the window outlives the process"
    );
    assert_eq!(server.rows("SELECT count(*) FROM usage_logs"), json!([["10"]]));
    server.control("POST", "/advance", "60000");
    assert_eq!(
        send_json(&server.image, "POST", "/generate", &root, &body)
            .unwrap()
            .status,
        200
    );
}

#[test]
fn whatever_was_answered_before_a_kill_is_true_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data.db");
    for round in 0..4 {
        let server = Server::start(&data.with_file_name(format!("round-{round}.db")));
        let root = configured(&server, &json!({}));
        let has_ended = AtomicBool::new(false);
        let (image, config) = (server.image.clone(), server.config.clone());
        // Four clients ask and write down what they were promised, until the server is killed under them.
        let promises: Vec<(Value, Value)> = thread::scope(|scope| {
            let clients: Vec<_> = (0..4)
                .map(|client| {
                    let (root, image, config, has_ended) = (&root, &image, &config, &has_ended);
                    scope.spawn(move || {
                        let mut promises = Vec::new();
                        for number in 0.. {
                            let request_id = format!("0badc0de-0000-4000-8000-{client:04}{number:08}");
                            // One client's model is asked after, which takes half a second each time.
                            let model = if client == 0 { "ideogram-4-5" } else { "ideogram-v2" };
                            let body = json!({ "prompt": "a cat", "instance_id": "production", "request_id": request_id, "model": model });
                            let Some(answer) = send_json(image, "POST", "/generate", root, &body) else { break };
                            assert_eq!(answer.status, 200);
                            promises.push((body, answer.json()));
                            let project = json!({ "project_id": format!("p-{client}-{number}"), "instance_id": "production", "name": request_id });
                            let Some(answer) = send_json(config, "POST", "/project", root, &project) else { break };
                            assert_eq!(answer.status, 201);
                            promises.push((project, answer.json()));
                            has_ended.fetch_or(number >= 10 + 7 * round, Ordering::Relaxed);
                        }
                        promises
                    })
                })
                .collect();
            while !has_ended.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            server.kill();
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
        });
        assert!(promises.len() > 20);
        let server = Server::start(&data.with_file_name(format!("round-{round}.db")));
        let generations = promises.iter().filter(|(body, _)| body.get("prompt").is_some()).count();
        for (body, promised) in &promises {
            if body.get("prompt").is_none() {
                let path = format!("/project/{}", promised["project_id"].as_str().unwrap());
                assert_eq!(
                    send_json(&server.config, "GET", &path, &root, &json!({}))
                        .unwrap()
                        .json()["name"],
                    promised["name"]
                );
                continue;
            }
            let again = send_json(&server.image, "POST", "/generate", &root, body).unwrap();
            // The origin is another one, as the port is; the kept answer is the first one.
            assert_eq!(again.json(), *promised);
            let path = format!("/images/{}", promised["r2_path"].as_str().unwrap());
            assert_eq!(send(&server.image, "GET", &path, &[], "").unwrap().status, 200);
        }
        let paid: usize = server.rows("SELECT count(*) FROM usage_logs")[0][0]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((generations..=generations + 4).contains(&paid), "{generations} {paid}");
        server.control("POST", "/advance", "10000");
        let logged: usize = server
            .rows("SELECT count(DISTINCT log_id) FROM logs WHERE json_extract(metadata, '$.replayed') IS NULL")[0][0]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!(
            (generations..=generations + 4).contains(&logged),
            "{generations} {logged}"
        );
    }
}

#[test]
fn keys_jobs_and_entries_of_the_log_outlive_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data.db");
    let server = Server::start(&data);
    let root = configured(&server, &json!({}));
    let path = format!("/user/{ROOT}/key");
    let make_key = || {
        send_json(&server.config, "POST", &path, &root, &json!({}))
            .unwrap()
            .json()
    };
    let (kept, revoked) = (make_key(), make_key());
    let path = format!("/key/{}", revoked["key_id"].as_str().unwrap());
    assert_eq!(
        send_json(&server.config, "DELETE", &path, &root, &json!({}))
            .unwrap()
            .status,
        200
    );
    let request_id = "0badc0de-0000-4000-8000-000000000002";
    let body = json!({ "prompt": "a cat [[never]]", "instance_id": "production", "request_id": request_id });
    let asked = |server: &Server| {
        let journal = server.control("GET", "/journal", "").json();
        let targets = journal
            .as_array()
            .unwrap()
            .iter()
            .filter(|received| received["method"] == "GET");
        targets.map(|received| received["target"].clone()).collect::<Vec<_>>()
    };
    let (image, key) = (server.image.clone(), root.clone());
    let promised = thread::scope(|scope| {
        let sent = scope.spawn(|| send_json(&image, "POST", "/generate", &key, &body).unwrap());
        // The job has begun when it is asked after; then its minute is over.
        while asked(&server).is_empty() {
            thread::yield_now();
        }
        server.control("POST", "/advance", "60000");
        sent.join().unwrap()
    });
    assert_eq!(
        (promised.status, &promised.json()["code"]),
        (504, &json!("PROVIDER_TIMEOUT"))
    );
    let generation = asked(&server)[0].clone();
    server.kill();

    let server = Server::start(&data);
    let me = |key: &Value| {
        send_json(&server.config, "GET", "/me", key.as_str().unwrap(), &json!({}))
            .unwrap()
            .status
    };
    assert_eq!((me(&kept["key"]), me(&revoked["key"])), (200, 401));
    let status_url = promised.json()["status_url"].as_str().unwrap().to_owned();
    let job = send_json(&server.image, "GET", &status_url, &root, &json!({})).unwrap();
    assert_eq!((job.status, &job.json()["job_id"]), (200, &promised.json()["job_id"]));
    assert_eq!(asked(&server), [generation], "the job knows what the provider calls it");
    let again = send_json(&server.image, "POST", "/generate", &root, &body).unwrap();
    assert_eq!((again.status, again.json()), (504, promised.json()));
    // The first entry is of a minute that the clock of the second server has not seen yet.
    server.control("POST", "/advance", "80000");
    let entries = server.rows(&format!(
        "SELECT level, json_extract(metadata, '$.status'), json_extract(metadata, '$.replayed') FROM logs WHERE request_id = '{request_id}' ORDER BY 3"
    ));
    assert_eq!(entries, json!([["ERROR", "504", null], ["ERROR", "504", "1"]]));
}

#[test]
fn the_id_of_a_request_that_a_kill_cut_off_is_free_when_its_time_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data.db");
    let server = Server::start(&data);
    let root = configured(&server, &json!({}));
    let request_id = "0badc0de-0000-4000-8000-000000000001";
    let body = json!({ "prompt": "a cat [[hang]]", "instance_id": "production", "request_id": request_id });
    let image = server.image.clone();
    thread::scope(|scope| {
        let sent = scope.spawn(|| send_json(&image, "POST", "/generate", &root, &body));
        while server
            .control("GET", "/journal", "")
            .json()
            .as_array()
            .unwrap()
            .is_empty()
        {
            thread::yield_now();
        }
        let again = send_json(&server.image, "POST", "/generate", &root, &body).unwrap();
        assert_eq!(again.status, 409, "it is still running");
        server.kill();
        assert!(sent.join().unwrap().is_none());
    });
    let server = Server::start(&data);
    let again = send_json(&server.image, "POST", "/generate", &root, &body).unwrap();
    assert_eq!(again.status, 409, "it may still be running");
    server.control("POST", "/advance", "60000");
    let other = json!({ "prompt": "a dog", "instance_id": "production", "request_id": request_id });
    let first = send_json(&server.image, "POST", "/generate", &root, &other).unwrap();
    assert_eq!(first.status, 200);
    assert_eq!(
        send_json(&server.image, "POST", "/generate", &root, &other)
            .unwrap()
            .json(),
        first.json()
    );
    assert_eq!(
        send_json(&server.image, "POST", "/generate", &root, &body)
            .unwrap()
            .status,
        409
    );
}

#[test]
fn answers_have_the_form_of_http() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&directory.path().join("data.db"));
    let health = send(&server.config, "GET", "/health", &[], "").unwrap();
    assert_eq!(health.json()["status"], "ok");
    assert!(health.head.to_ascii_lowercase().contains("x-request-id: "));
    let head = send(&server.image, "HEAD", "/health", &[], "").unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
    let large = send(
        &server.image,
        "POST",
        "/generate",
        &[("Content-Type", "application/json")],
        &"x".repeat(70_000),
    )
    .unwrap();
    assert_eq!(
        (large.status, &large.json()["code"]),
        (413, &json!("PAYLOAD_TOO_LARGE"))
    );
    let preflight = send(
        &server.image,
        "OPTIONS",
        "/generate",
        &[
            ("Origin", "https://a.example"),
            ("Access-Control-Request-Method", "POST"),
        ],
        "",
    )
    .unwrap();
    assert_eq!((preflight.status, preflight.body.len()), (204, 0));
}
