//! `orchestrate reference serve`: what it says, that it can be used at once, that it ends when it is told to, and that its data stays.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use reqwest::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// The reference as a person starts it.
struct Served {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Served {
    fn start(directory: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orchestrate"));
        let mut child = command
            .args([
                "reference",
                "serve",
                "--port",
                "0",
                "--config-port",
                "0",
                "--control-port",
                "0",
            ])
            .args(arguments)
            .current_dir(directory)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line
    }

    /// What it still says, and its exit code, after this signal.
    fn end(mut self, signal: Signal) -> (String, Option<i32>) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        (rest, self.child.wait().unwrap().code())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Ports and keys differ each time.
fn without_chance(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest
        .find("127.0.0.1:")
        .map(|at| at + 10)
        .into_iter()
        .chain(rest.find("mas_").map(|at| at + 4))
        .min()
    {
        shown.push_str(&rest[..at]);
        shown.push('…');
        rest = rest[at..].trim_start_matches(|character: char| character.is_ascii_alphanumeric());
    }
    shown + rest
}

#[tokio::test]
async fn it_says_where_it_is_and_how_to_try_it_and_ends_when_it_is_interrupted() {
    let directory = tempfile::tempdir().unwrap();
    let mut served = Served::start(directory.path(), &["--clock", "2026-01-31T09:30:00Z"]);
    let said: String = (0..8).map(|_| served.line()).collect();
    insta::assert_snapshot!(without_chance(&said), @r#"
    the reference implementation, on this machine alone; Ctrl-C ends it

    images   http://127.0.0.1:…
    config   http://127.0.0.1:…
    control  http://127.0.0.1:…
    key      mas_…  (the superadmin's)

    try it:  curl http://127.0.0.1:…/generate -H 'Authorization: Bearer mas_…' -H 'Content-Type: application/json' -d '{"prompt":"a lighthouse","instance_id":"production"}'
    "#);
    // The line says it for a shell; this is the same request.
    let value = |name: &str| {
        let line = said.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    let sent = Client::new()
        .post(format!("{}/generate", value("images")))
        .bearer_auth(value("key"))
        .json(&json!({ "prompt": "a lighthouse", "instance_id": "production" }));
    let answer: Value = sent.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["success"], true, "{answer}");
    let path = answer["r2_path"].as_str().unwrap();
    assert!(
        path.starts_with("production/default/17698518"),
        "the clock shows another time: {path}"
    );
    assert_eq!(served.end(Signal::INT), (String::new(), Some(0)));
}

#[tokio::test]
async fn what_it_keeps_in_a_directory_is_there_the_next_time() {
    let directory = tempfile::tempdir().unwrap();
    let start = || Served::start(directory.path(), &["--data", "kept", "--json"]);
    let mut served = start();
    let first: Value = serde_json::from_str(&served.line()).unwrap();
    let made = Client::new()
        .post(format!("{}/organization", first["config"].as_str().unwrap()))
        .bearer_auth(first["key"].as_str().unwrap())
        .json(&json!({ "org_id": "kept-org", "name": "Kept", "billing_email": "a@kept.example" }));
    assert_eq!(made.send().await.unwrap().status(), 201);
    assert_eq!(served.end(Signal::TERM), (String::new(), Some(0)));
    let mut served = start();
    let second: Value = serde_json::from_str(&served.line()).unwrap();
    // The first key is still good.
    let read = Client::new()
        .get(format!("{}/organization/kept-org", second["config"].as_str().unwrap()))
        .bearer_auth(first["key"].as_str().unwrap());
    assert_eq!(read.send().await.unwrap().status(), 200);
    served.end(Signal::INT);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_orchestrate"))
        .args([
            "reference",
            "serve",
            "--port",
            &port,
            "--config-port",
            "0",
            "--control-port",
            "0",
        ])
        .current_dir(directory.path())
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with(&format!("error: cannot listen on 127.0.0.1:{port}\n")),
        "{said}"
    );
    assert!(said.contains("hint: `--port 0 "), "{said}");
}
