//! How many requests a second the native host answers, at what cost of processor for each, and in how much memory: `cargo bench -p reference-native`.
//! The client runs on the same cores, so the rates are a lower bound; what a request costs is the server's alone.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints what it measured, or fails"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use reference_core::http::Request;
use reference_native::{Options, Service, System, mock};
use serde_json::{Value, json};

const CONNECTIONS: usize = 16;
const DURATION: Duration = Duration::from_secs(3);
const ROOT: &str = "00000000-0000-4000-8000-000000000001";
const USER: &str = "00000000-0000-4000-8000-000000000002";

fn main() {
    let directory = std::env::temp_dir().join(format!("reference-bench-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let mut server = start(&directory.join("data.db"));
    over_http(&server);
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    fs::remove_dir_all(&directory).unwrap();
    in_process();
}

struct Server {
    child: Child,
    addresses: Value,
}

impl Server {
    fn address(&self, name: &str) -> &str {
        self.addresses[name].as_str().unwrap()
    }

    /// Resident memory now, and at most so far, in MB.
    fn memory_mb(&self) -> (f64, f64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let field = |name: &str| -> f64 {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
        };
        (field("VmRSS:"), field("VmHWM:"))
    }
}

/// Seconds of processor that a process has used, in user space and in the kernel.
fn processor_seconds(process_id: u32) -> f64 {
    /// Of Linux, whatever the machine.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{process_id}/stat")).unwrap();
    // Behind the name, which may hold anything: the state, and from the twelfth field on the times.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11..13]
        .iter()
        .map(|ticks| ticks.parse::<f64>().unwrap())
        .sum::<f64>()
        / TICKS_PER_SECOND
}

fn start(data: &std::path::Path) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reference"));
    let command = command
        .arg("--data")
        .arg(data)
        .args(["--in-flight", "1000"])
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    Server {
        child,
        addresses: serde_json::from_str(&line).unwrap(),
    }
}

/// A request as it goes over the wire.
fn wire(method: &str, path: &str, key: &str, body: Option<&Value>) -> String {
    let body = body.map(Value::to_string).unwrap_or_default();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A connection that is used again and again.
struct Client {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Client {
    fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            bytes: vec![0; 65_536],
        }
    }

    /// The status, and the body.
    fn send(&mut self, request: &str) -> (u16, Vec<u8>) {
        self.stream.write_all(request.as_bytes()).unwrap();
        let mut filled = 0;
        loop {
            filled += self.stream.read(&mut self.bytes[filled..]).unwrap();
            let read = &self.bytes[..filled];
            let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else {
                continue;
            };
            let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if filled >= end + 4 + length {
                return (head[9..12].parse().unwrap(), read[end + 4..].to_vec());
            }
        }
    }
}

fn once(address: &str, request: &str) -> (u16, Value) {
    let (status, body) = Client::open(address).send(request);
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

/// Requests a second, and what half and 99 of 100 took at most, in milliseconds.
fn load(address: &str, request: &str, expected: u16) -> (f64, f64, f64) {
    let began = Instant::now();
    let mut durations: Vec<Duration> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::open(address);
                    let mut durations = Vec::new();
                    while began.elapsed() < DURATION {
                        let sent = Instant::now();
                        let (status, body) = client.send(request);
                        assert_eq!(status, expected, "{}", String::from_utf8_lossy(&body));
                        durations.push(sent.elapsed());
                    }
                    durations
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let elapsed = began.elapsed().as_secs_f64();
    durations.sort_unstable();
    let at = |share: usize| durations[durations.len() * share / 100].as_secs_f64() * 1000.0;
    (durations.len() as f64 / elapsed, at(50), at(99))
}

fn over_http(server: &Server) {
    let (config, image, control) = (
        server.address("config"),
        server.address("image"),
        server.address("control"),
    );
    let key = |user_id: &str| {
        let request = format!(
            "POST /key HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{user_id}",
            user_id.len()
        );
        once(control, &request).1["key"].as_str().unwrap().to_owned()
    };
    let (root, user) = (key(ROOT), key(USER));
    let secret = json!({ "ideogram": "provider-secret-0123456789" });
    let configure = |instance: &str, limits: Value| {
        let body = json!({ "config": { "api_keys": secret, "rate_limits": limits } });
        let (status, answer) = once(
            config,
            &wire("PATCH", &format!("/instance/{instance}"), &root, Some(&body)),
        );
        assert_eq!(status, 200, "{answer}");
    };
    configure("production", json!({ "ideogram": null }));
    configure("development", json!({ "ideogram": { "rpm": 1 } }));
    let generate = |instance: &str| json!({ "prompt": "a cat", "model": "ideogram-v2", "instance_id": instance });
    let full = wire("POST", "/generate", &root, Some(&generate("development")));
    assert_eq!(once(image, &full).0, 200);
    println!(
        "over HTTP, {CONNECTIONS} connections, {} s each, at rest {:.1} MB",
        DURATION.as_secs(),
        server.memory_mb().0
    );
    println!(
        "{:<58} {:>9} {:>8} {:>8} {:>7} {:>7}",
        "", "requests/s", "p50 ms", "p99 ms", "MB", "CPU us"
    );
    for (name, address, request, expected) in [
        (
            "hello: no credential, no store",
            config,
            wire("GET", "/nowhere", &root, None),
            404,
        ),
        ("SQL read: health", config, wire("GET", "/health", &root, None), 200),
        (
            "SQL read: credential and instance",
            config,
            wire("GET", "/instance/production", &root, None),
            200,
        ),
        (
            "KV read: credential, cached configuration, refused, logged",
            image,
            wire("POST", "/generate", &user, Some(&generate("development"))),
            403,
        ),
        (
            "limiter: all that, and a full window, refused, logged",
            image,
            full.clone(),
            429,
        ),
        (
            "generate with the mock: stored, paid for, logged",
            image,
            wire("POST", "/generate", &root, Some(&generate("production"))),
            200,
        ),
    ] {
        let (before, began) = (processor_seconds(server.child.id()), Instant::now());
        let (rate, half, most) = load(address, &request, expected);
        let used = processor_seconds(server.child.id()) - before;
        let each_us = used * 1e6 / (rate * began.elapsed().as_secs_f64());
        println!(
            "{name:<58} {rate:>9.0} {half:>8.2} {most:>8.2} {:>7.1} {each_us:>7.0}",
            server.memory_mb().0
        );
    }
    println!("at most {:.1} MB", server.memory_mb().1);
}

fn in_process() {
    let mock = mock::Options {
        images_in_flight_max: 1000,
        is_prompt: true,
        ..mock::Options::default()
    };
    let system = System::start(Options {
        mock,
        ..Options::default()
    })
    .unwrap();
    let root = system.issue_key(ROOT).unwrap();
    let config = json!({ "config": { "api_keys": { "ideogram": "provider-secret-0123456789" }, "rate_limits": { "ideogram": null } } });
    let edit = Request::new("PATCH", "/instance/production")
        .bearer(&root)
        .json(&config);
    assert_eq!(system.handle(Service::Config, &edit).status, 200);
    let generate = json!({ "prompt": "a cat", "model": "ideogram-v2", "instance_id": "production" });
    println!("\nin process, one thread, virtual time, in memory");
    for (name, service, request) in [
        ("health", Service::Config, Request::new("GET", "/health")),
        (
            "read an instance",
            Service::Config,
            Request::new("GET", "/instance/production").bearer(&root),
        ),
        ("edit an instance", Service::Config, edit.clone()),
        (
            "generate",
            Service::Image,
            Request::new("POST", "/generate").bearer(&root).json(&generate),
        ),
    ] {
        let began = Instant::now();
        let mut count = 0;
        while began.elapsed() < Duration::from_secs(1) {
            assert_eq!(system.handle(service, &request).status, 200);
            count += 1;
        }
        println!("{name:<58} {:>9.0}", f64::from(count) / began.elapsed().as_secs_f64());
    }
}
