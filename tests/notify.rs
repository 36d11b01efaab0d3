//! Who is told what, and that nobody who cannot be told holds a run up: real runs, a listening webhook, a dead one, a silent one, and a command that hangs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

#[path = "support/fleet.rs"]
mod fleet;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fleet::{Agent, DILIGENT, Fleet, Settings, Team};

const ONE: [Team; 1] = [Team {
    id: "1",
    phase_needs: &[],
    agents: &[Agent { id: "1.1", needs: &[] }],
}];

/// What a webhook was sent: path and body.
type Posts = Arc<Mutex<Vec<(String, serde_json::Value)>>>;

/// A webhook that gives these answers in turn, the last one for ever. `None`: it never answers.
fn webhook(answers: &'static [Option<&'static str>]) -> (String, Posts) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let posts = Posts::default();
    let kept = Arc::clone(&posts);
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            kept.lock().unwrap().push(read_request(&stream));
            match answers[number.min(answers.len() - 1)] {
                Some(answer) => {
                    let text = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                    stream.write_all(text.as_bytes()).unwrap();
                }
                None => silent.push(stream),
            }
        }
    });
    (address, posts)
}

fn read_request(stream: &TcpStream) -> (String, serde_json::Value) {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    let path = first.split(' ').nth(1).unwrap().to_owned();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (path, serde_json::from_slice(&body).unwrap())
}

fn texts(posts: &Posts, field: &str) -> Vec<String> {
    let posts = posts.lock().unwrap();
    posts
        .iter()
        .map(|(_, body)| body[field].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// A fleet of one agent whose plan has this `notify`; the agent asks first.
fn asking(notify: &str) -> Fleet {
    let script = format!(
        "if [ \"$ORCHESTRATE_AGENT $ORCHESTRATE_TASK\" = '1.1 build' ]; then\n\
         git commit -q --allow-empty -m '[ESCALATION-NEEDED] Which <colour>?'; exit 0\nfi\n{DILIGENT}"
    );
    let settings = Settings {
        more_agent_keys: format!("notify: {notify}\n"),
        ..Settings::default()
    };
    Fleet::new(&ONE, &script, &settings)
}

#[test]
fn a_question_a_wait_and_the_end_are_told_once_to_the_command_and_to_the_webhook() {
    let (address, posts) = webhook(&[Some("200 OK")]);
    let mut fleet = asking(
        "{ command: 'cat >> ../told; echo >> ../told; echo $NOTICE_KIND $NOTICE_QUESTION >> ../kinds', webhook: $CHAT }",
    );
    fleet.set("CHAT", format!("{address}/hooks/very-secret"));
    let (status, said) = fleet.run();
    assert_eq!(status, 6, "{said}");
    fleet.wait_for("two posts", || posts.lock().unwrap().len() >= 2);
    // Each message has a process of its own, so their order is not told.
    let mut told = texts(&posts, "text");
    told.sort();
    assert_eq!(
        told[0],
        "fleet: question 1 from agent 1.1: Which &lt;colour&gt;?\nanswer with: orchestrate answer 1 \"...\""
    );
    assert!(told[1].starts_with("fleet: the run waits for you\n- "), "{told:?}");
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(posts.lock().unwrap()[0].0, "/hooks/very-secret");

    let answer = fleet.orchestrate(&["answer", "1", "Blue"]);
    assert!(answer.status.success());
    let (status, said) = fleet.run();
    assert_eq!(status, 0, "{said}");
    fleet.wait_for("the last post", || posts.lock().unwrap().len() >= 3);
    assert_eq!(
        texts(&posts, "text")[2],
        "fleet: the run is complete: every team has landed"
    );

    let read = |name: &str| fs::read_to_string(fleet.root().join(name)).unwrap_or_default();
    fleet.wait_for("the command's three calls", || read("kinds").lines().count() == 3);
    let mut kinds: Vec<String> = read("kinds").lines().map(|line| line.trim().to_owned()).collect();
    kinds.sort();
    assert_eq!(kinds, ["complete", "question 1", "waiting"]);
    // Two calls at once may write one behind the other, and their line ends after both.
    let documents: Vec<serde_json::Value> = serde_json::Deserializer::from_str(&read("told"))
        .into_iter()
        .map(|document| document.unwrap())
        .collect();
    assert_eq!(documents.len(), 3);
    let question = documents
        .iter()
        .find(|document| document["kind"] == "question")
        .unwrap();
    assert_eq!(question["schema"], 1);
    assert_eq!(question["question"], 1);
    assert_eq!(question["agent"], "agent 1.1");
    assert_eq!(question["command"], "orchestrate answer 1 \"...\"");

    // The secret stands nowhere in what the run has left, and in nothing that it printed.
    assert!(!said.contains("very-secret"));
    let log = fs::read_to_string(fleet.repository().join(".git/orchestrate/notify.log")).unwrap();
    assert_eq!(log.lines().count(), 6, "{log}");
    assert!(!log.contains("very-secret"), "{log}");
}

#[test]
fn a_landing_that_waits_for_approval_is_told() {
    let (address, posts) = webhook(&[Some("204 No Content")]);
    let settings = Settings {
        approvals: "manual",
        more_agent_keys: format!("notify: {{ webhook: '{address}/x', format: discord }}\n"),
        ..Settings::default()
    };
    let fleet = Fleet::new(&ONE, DILIGENT, &settings);
    let (status, said) = fleet.run();
    assert_eq!(status, 6, "{said}");
    fleet.wait_for("two posts", || posts.lock().unwrap().len() >= 2);
    let mut told = texts(&posts, "content");
    told.sort();
    assert_eq!(
        told[0],
        "fleet: team 1 is ready to land\nlet it land with: orchestrate approve 1"
    );
    assert!(told[1].starts_with("fleet: the run waits for you"), "{told:?}");
}

#[test]
fn neither_a_dead_nor_a_silent_webhook_nor_a_command_that_hangs_changes_a_run() {
    let plain = Fleet::new(&ONE, DILIGENT, &Settings::default());
    let begun = Instant::now();
    let (status, said) = plain.run();
    assert_eq!(status, 0, "{said}");
    let usual = begun.elapsed();

    let dead = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/gone", listener.local_addr().unwrap())
    };
    let (silent, _posts) = webhook(&[None]);
    for notify in [
        format!("{{ webhook: '{dead}' }}"),
        format!("{{ webhook: '{silent}/x' }}"),
        "{ command: sleep 1000 }".to_owned(),
        "{ command: exit 3 }".to_owned(),
        "{ webhook: no address }".to_owned(),
        "{ webhook: $NOBODY_HAS_SET_THIS }".to_owned(),
    ] {
        let settings = Settings {
            more_agent_keys: format!("notify: {notify}\n"),
            ..Settings::default()
        };
        let fleet = Fleet::new(&ONE, DILIGENT, &settings);
        let begun = Instant::now();
        let (status, said) = fleet.run();
        assert_eq!(status, 0, "{notify}: {said}");
        let work = |fleet: &Fleet| fleet.git(&["rev-parse", "main:work"]);
        assert_eq!(work(&fleet), work(&plain));
        // The end may wait a moment for its last message, and not longer.
        let most = usual * 3 + Duration::from_secs(8);
        assert!(
            begun.elapsed() < most,
            "{notify}: {:?}, usually {usual:?}",
            begun.elapsed()
        );
    }
}

/// Runs the process that brings a message, with short pauses.
fn deliver(
    directory: &Path,
    webhook: Option<&str>,
    command: Option<&str>,
    try_limit_ms: u64,
) -> (Output, Vec<serde_json::Value>) {
    let log = directory.join("notify.log");
    let _ = fs::remove_file(&log);
    let order = serde_json::json!({
        "message": { "text": "it is so", "document": "{\"schema\":1}", "environment": [["NOTICE_TEXT", "it is so"]] },
        "command": command,
        "directory": directory,
        "webhook": webhook,
        "format": "auto",
        "log": log,
        "tries_max": 4,
        "first_pause_ms": 5,
        "try_limit_ms": try_limit_ms,
    });
    let mut child = Command::new(env!("CARGO_BIN_EXE_orchestrate"))
        .arg("deliver-notice")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(order.to_string().as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let lines = fs::read_to_string(&log).unwrap_or_default();
    (
        output,
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
    )
}

#[test]
fn a_message_is_tried_again_while_that_can_help_and_no_longer() {
    let place = tempfile::tempdir().unwrap();
    let tried = |answers: &'static [Option<&'static str>], limit_ms: u64| {
        let (address, posts) = webhook(answers);
        let (output, log) = deliver(
            place.path(),
            Some(&format!("{address}/hook/secret-token")),
            None,
            limit_ms,
        );
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("secret-token"), "{said}");
        let count = posts.lock().unwrap().len();
        (
            output.status.success(),
            count,
            log[0]["detail"].as_str().unwrap().to_owned(),
        )
    };
    assert_eq!(
        tried(&[Some("500 Oh"), Some("503 Oh"), Some("200 OK")], 10_000),
        (true, 3, "at try 3".to_owned())
    );
    let begun = Instant::now();
    let busy = tried(&[Some("429 Slow\r\nRetry-After: 1"), Some("200 OK")], 10_000);
    assert_eq!(busy, (true, 2, "at try 2".to_owned()));
    assert!(begun.elapsed() >= Duration::from_secs(1), "it did as it was told");
    assert_eq!(
        tried(&[Some("404 Gone")], 10_000),
        (false, 1, "127.0.0.1: it answered 404".to_owned())
    );
    assert_eq!(
        tried(&[Some("500 Oh")], 10_000),
        (false, 4, "127.0.0.1: it answered 500; tried 4 times".to_owned())
    );
    assert_eq!(
        tried(&[None], 100),
        (
            false,
            4,
            "127.0.0.1: it gave no answer in time; tried 4 times".to_owned()
        )
    );
    // A redirection is not followed: the secret would go elsewhere.
    assert_eq!(
        tried(&[Some("302 Away\r\nLocation: http://127.0.0.1:9/")], 10_000),
        (false, 1, "127.0.0.1: it answered 302".to_owned())
    );
}

#[test]
fn a_command_that_hangs_is_ended_with_everything_it_started() {
    let place = tempfile::tempdir().unwrap();
    let (output, log) = deliver(
        place.path(),
        None,
        Some("echo $$ >> pids; sleep 1000 & sleep 1000"),
        100,
    );
    assert!(!output.status.success());
    assert_eq!(log[0]["detail"], "it did not end within 100 ms; tried 4 times");
    let groups = fs::read_to_string(place.path().join("pids")).unwrap();
    assert_eq!(groups.lines().count(), 4, "{groups}");
    let deadline = Instant::now() + fleet::PATIENCE;
    for group in groups.lines() {
        let group = rustix::process::Pid::from_raw(group.parse().unwrap()).unwrap();
        while rustix::process::test_kill_process_group(group).is_ok() {
            assert!(Instant::now() < deadline, "process group {group:?} lives");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
    let (output, log) = deliver(
        place.path(),
        None,
        Some("test -e again || { touch again; exit 1; }"),
        10_000,
    );
    assert!(output.status.success());
    assert_eq!(log[0]["detail"], "at try 2");
}
