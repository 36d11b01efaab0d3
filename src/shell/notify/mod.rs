//! Tells a human: hands each message to a small process of its own, so that neither a dead webhook nor a command that hangs stops or delays a run.

mod deliver;
mod webhook;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub use deliver::{DeliveryError, deliver};

use crate::plan::{NoticeFormat, Notify};

/// Messages on their way at once; what comes beyond is dropped and said so.
const DELIVERERS_MAX: usize = 16;
/// Longer texts are cut: a question is read on a telephone.
const TEXT_BYTES_MAX: usize = 8 * 1024;
/// How long the end of a run waits for its last messages. Whoever is slower goes on behind it.
const END_PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks at the last messages.
const END_PAUSE: Duration = Duration::from_millis(10);
/// A message is tried so often.
const TRIES_MAX: u32 = 4;
/// The pause before the second try; each further one is four times as long.
const FIRST_PAUSE_MS: u64 = 1_000;
/// A command or a request that takes longer has failed.
const TRY_LIMIT_MS: u64 = 20_000;

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// For people.
    pub text: String,
    /// For programs: one JSON document, which has the text too.
    pub document: String,
    /// The same facts as variables for a command.
    pub environment: Vec<(String, String)>,
}

/// A message with everything that its delivery needs. It travels by standard input: a webhook's address is a secret, and arguments are public.
#[derive(Clone, Serialize, Deserialize)]
pub struct Order {
    /// What is to be told.
    pub message: Message,
    /// The plan's command.
    pub command: Option<String>,
    /// Where the command runs.
    pub directory: PathBuf,
    /// The webhook's address.
    pub webhook: Option<String>,
    /// What it understands.
    pub format: NoticeFormat,
    /// Where it is noted what became of it.
    pub log: PathBuf,
    /// A message is tried so often.
    pub tries_max: u32,
    /// The pause before the second try, in milliseconds.
    pub first_pause_ms: u64,
    /// A command or a request that takes longer has failed, in milliseconds.
    pub try_limit_ms: u64,
}

/// Sends messages out.
pub struct Notifier {
    notify: Notify,
    program: PathBuf,
    directory: PathBuf,
    log: PathBuf,
    under_way: Vec<Child>,
    failed: u32,
}

impl Notifier {
    /// Somebody to send messages out; `None` when the plan wants nobody told. A webhook that is written as `$NAME` stands in that variable.
    pub fn new(notify: &Notify, directory: &Path, state_dir: &Path) -> Option<Self> {
        let mut notify = notify.clone();
        if let Some(name) = notify.webhook.as_ref().and_then(|webhook| webhook.strip_prefix('$')) {
            let value = std::env::var(name).ok().filter(|value| !value.is_empty());
            if value.is_none() {
                tracing::warn!("the variable {name} is not set, so the webhook that it names is told nothing");
            }
            notify.webhook = value;
        }
        if notify.command.is_none() && notify.webhook.is_none() {
            return None;
        }
        Some(Self {
            notify,
            program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe")),
            directory: directory.to_path_buf(),
            log: state_dir.join("notify.log"),
            under_way: Vec::new(),
            failed: 0,
        })
    }

    /// Hands a message over. Nothing that goes wrong here concerns the run.
    pub fn send(&mut self, mut message: Message) {
        self.look();
        if self.under_way.len() >= DELIVERERS_MAX {
            tracing::warn!("a message was not sent: {DELIVERERS_MAX} others are still on their way");
            return;
        }
        if message.text.len() > TEXT_BYTES_MAX {
            let end = (0..=TEXT_BYTES_MAX)
                .rev()
                .find(|end| message.text.is_char_boundary(*end));
            message.text.truncate(end.unwrap_or_default());
        }
        let order = Order {
            message,
            command: self.notify.command.clone(),
            directory: self.directory.clone(),
            webhook: self.notify.webhook.clone(),
            format: self.notify.format,
            log: self.log.clone(),
            tries_max: TRIES_MAX,
            first_pause_ms: FIRST_PAUSE_MS,
            try_limit_ms: TRY_LIMIT_MS,
        };
        match self.start(&order) {
            Ok(child) => self.under_way.push(child),
            Err(error) => tracing::warn!("a message was not sent: {error}"),
        }
    }

    fn start(&self, order: &Order) -> std::io::Result<Child> {
        let order = serde_json::to_vec(order)?;
        let mut child = Command::new(&self.program)
            .arg("deliver-notice")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // Aside, because a process that does not read must not hold the run.
            std::thread::spawn(move || drop(stdin.write_all(&order)));
        }
        Ok(child)
    }

    /// Notes which messages have arrived or failed. Costs nothing when none is under way.
    pub fn look(&mut self) {
        let before = self.failed;
        let failed = &mut self.failed;
        self.under_way.retain_mut(|child| match child.try_wait() {
            Ok(None) => true,
            Ok(Some(status)) => {
                *failed += u32::from(!status.success());
                false
            }
            Err(_) => false,
        });
        if self.failed > before {
            tracing::warn!("a message did not arrive; see {}", self.log.display());
        }
    }

    /// Gives the last messages a moment, and leaves the slow ones to themselves.
    pub fn finish(mut self) {
        let deadline = Instant::now() + END_PATIENCE;
        self.look();
        while !self.under_way.is_empty() && Instant::now() < deadline {
            std::thread::sleep(END_PAUSE);
            self.look();
        }
    }
}
