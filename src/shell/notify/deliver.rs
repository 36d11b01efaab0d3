//! The process that brings one message to its command and its webhook: tries, waits, tries again, notes what became of it, and is gone.

use std::fs::OpenOptions;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use thiserror::Error;

use super::Order;
use super::webhook::{self, Tried};

/// A pause between two tries is no longer than this.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Why a message did not arrive everywhere. None of it repeats the webhook's address.
#[derive(Debug, Error)]
pub enum DeliveryError {
    /// There is no order on standard input.
    #[error("no order on standard input: {0}")]
    NoOrder(#[from] io::Error),
    /// The order cannot be read.
    #[error("the order cannot be read: {0}")]
    BadOrder(#[from] serde_json::Error),
    /// At least one of the channels failed for good.
    #[error("{}", .0.join("; "))]
    Failed(Vec<String>),
}

/// Reads an order and carries it out. What became of it is added to its log, a line for each channel.
pub fn deliver(mut input: impl Read) -> Result<(), DeliveryError> {
    // Out of the terminal's session: Ctrl-C is meant for the run, and the end of the run is to be told as well.
    let _ = rustix::process::setsid();
    let mut text = Vec::new();
    input.read_to_end(&mut text)?;
    let order: Order = serde_json::from_slice(&text)?;
    let (command, webhook) = std::thread::scope(|scope| {
        let command = scope.spawn(|| by_command(&order));
        let webhook = by_webhook(&order);
        (
            command.join().unwrap_or_else(|_| Some(Err("it panicked".to_owned()))),
            webhook,
        )
    });
    let mut failures = Vec::new();
    for (channel, outcome) in [("command", command), ("webhook", webhook)] {
        let Some(outcome) = outcome else { continue };
        note(&order, channel, &outcome);
        if let Err(reason) = outcome {
            failures.push(format!("{channel}: {reason}"));
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(DeliveryError::Failed(failures))
    }
}

/// Adds a line to the log. A log that cannot be written changes nothing about the message.
fn note(order: &Order, channel: &str, outcome: &Result<u32, String>) {
    let (arrived, detail) = match outcome {
        Ok(1) => (true, "at the first try".to_owned()),
        Ok(tries) => (true, format!("at try {tries}")),
        Err(reason) => (false, reason.clone()),
    };
    let line = serde_json::json!({
        "at": jiff::Timestamp::now().to_string(),
        "channel": channel,
        "arrived": arrived,
        "detail": detail,
        "text": order.message.text.lines().next().unwrap_or_default(),
    });
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&order.log);
    let _ = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
}

/// The number of the try that succeeded, or why none did. `None`: there is no such channel.
type Outcome = Option<Result<u32, String>>;

fn by_command(order: &Order) -> Outcome {
    let command = order.command.as_ref()?;
    Some(again_and_again(order, || match run_once(order, command) {
        Ok(()) => Tried::Arrived,
        Err(reason) => Tried::Later { reason, after: None },
    }))
}

fn by_webhook(order: &Order) -> Outcome {
    let address = order.webhook.as_ref()?;
    let url = match webhook::parse(address) {
        Ok(url) => url,
        Err(reason) => return Some(Err(reason)),
    };
    let body = webhook::body(webhook::format_of(order.format, &url), &order.message);
    let limit = Duration::from_millis(order.try_limit_ms);
    let outcome = again_and_again(order, || webhook::post(&url, &body, limit));
    Some(outcome.map_err(|reason| format!("{}: {reason}", url.host().unwrap_or_default())))
}

/// Tries with growing pauses while that can help.
fn again_and_again(order: &Order, mut attempt: impl FnMut() -> Tried) -> Result<u32, String> {
    let mut pause = Duration::from_millis(order.first_pause_ms);
    let mut tried = 1;
    loop {
        let wait = match attempt() {
            Tried::Arrived => return Ok(tried),
            Tried::Refused { reason } => return Err(reason),
            Tried::Later { reason, .. } if tried >= order.tries_max => {
                return Err(format!("{reason}; tried {tried} times"));
            }
            Tried::Later { after, .. } => after.map_or(pause, |after| after.max(pause)),
        };
        std::thread::sleep(wait);
        pause = (pause * 4).min(PAUSE_MAX);
        tried += 1;
    }
}

fn run_once(order: &Order, command: &str) -> Result<(), String> {
    let mut process = Command::new("sh");
    process
        .args(["-c", command])
        .current_dir(&order.directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    for (name, value) in &order.message.environment {
        process.env(name, value.replace('\0', ""));
    }
    let mut child = process
        .spawn()
        .map_err(|error| format!("it cannot be started: {error}"))?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(mut stdin) = child.stdin.take() {
        let document = order.message.document.clone();
        // Aside: a command that reads nothing closes the pipe, or is ended below.
        std::thread::spawn(move || drop(stdin.write_all(document.as_bytes())));
    }
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || drop(sender.send(child.wait())));
    match ended.recv_timeout(Duration::from_millis(order.try_limit_ms)) {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("it failed with {status}")),
        Ok(Err(error)) => Err(format!("it cannot be waited for: {error}")),
        Err(_) => {
            if let Some(group) = group {
                // With everything that it has started; it may be gone by now.
                let _ = rustix::process::kill_process_group(group, Signal::KILL);
            }
            Err(format!("it did not end within {} ms", order.try_limit_ms))
        }
    }
}
