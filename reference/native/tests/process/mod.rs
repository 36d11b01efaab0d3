//! The reference as a process of its own, and a client that speaks just enough HTTP.

#![expect(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test says what it expects by failing; every test is a crate of its own"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

pub struct Server {
    child: Child,
    pub config: String,
    pub image: String,
    pub control: String,
}

impl Server {
    pub fn start(data: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reference"));
        let command = command
            .arg("--data")
            .arg(data)
            .args(["--in-flight", "1000"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let addresses: Value = serde_json::from_str(&line).unwrap();
        let address = |name: &str| addresses[name].as_str().unwrap().to_owned();
        Self {
            child,
            config: address("config"),
            image: address("image"),
            control: address("control"),
        }
    }

    /// As `kill -9` does it.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn control(&self, method: &str, path: &str, body: &str) -> Answer {
        send(&self.control, method, path, &[], body).unwrap()
    }

    pub fn key_of(&self, user_id: &str) -> String {
        self.control("POST", "/key", user_id).json()["key"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub fn rows(&self, sql: &str) -> Value {
        self.control("POST", "/rows", sql).json()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Sends one request on a connection of its own; nothing if the connection breaks.
pub fn send(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.get(9..12)?.parse().ok()?;
    Some(Answer {
        status,
        head,
        body: bytes[end + 4..].to_vec(),
    })
}

pub fn send_json(address: &str, method: &str, path: &str, key: &str, body: &Value) -> Option<Answer> {
    let bearer = format!("Bearer {key}");
    send(
        address,
        method,
        path,
        &[("Authorization", &bearer), ("Content-Type", "application/json")],
        &body.to_string(),
    )
}
