//! A scripted Messages endpoint on loopback: it plays the model, so that the real Claude Code can be driven without an account and without a network.
//!
//! A script is a function from a request to a reply. The endpoint keeps an account of all tokens that it served, to be compared with what our side adds up.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

/// How often a connection that does nothing looks whether the endpoint still stands.
const IDLE_LOOK: Duration = Duration::from_millis(50);

/// One request for a message.
#[derive(Clone, Debug)]
pub struct Request {
    /// The model asked for.
    pub model: String,
    /// The session that it says it belongs to.
    pub session: Option<String>,
    /// Texts that the user side said, tool results apart, oldest first.
    pub prompts: Vec<String>,
    /// Results of tools since the last of `prompts`, oldest first, as text.
    pub results: Vec<String>,
    /// How many tools have answered in the whole conversation.
    pub results_in_all: usize,
    /// Names of the tools on offer. A request without any is no part of the agent's conversation.
    pub tools: Vec<String>,
    /// How often this very conversation state was asked about before: above 0 is a retry.
    pub repetition: u64,
    /// The whole body.
    pub body: Value,
}

impl Request {
    fn new(body: Value, repetition: u64, header_session: Option<String>) -> Self {
        let mut prompts = Vec::new();
        let mut results = Vec::new();
        let mut results_in_all = 0;
        for message in body["messages"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|message| message["role"] == "user")
        {
            let blocks = match &message["content"] {
                Value::String(text) => vec![json!({ "type": "text", "text": text })],
                Value::Array(blocks) => blocks.clone(),
                _ => Vec::new(),
            };
            for block in &blocks {
                if block["type"] == "tool_result" {
                    results.push(text_in(&block["content"]));
                    results_in_all += 1;
                } else if let Some(text) = block["text"]
                    .as_str()
                    .filter(|text| !text.trim_start().starts_with("<system-reminder>"))
                {
                    prompts.push(text.to_owned());
                    results.clear();
                }
            }
        }
        let tools = body["tools"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|tool| tool["name"].as_str())
            .map(str::to_owned)
            .collect();
        Self {
            model: body["model"].as_str().unwrap_or_default().to_owned(),
            session: header_session.or_else(|| session_in(&body)),
            prompts,
            results,
            results_in_all,
            tools,
            repetition,
            body,
        }
    }

    /// Whether the agent asks, and not some helper of the program's own.
    pub fn is_agents(&self) -> bool {
        self.tools.iter().any(|tool| tool == "Bash")
    }

    /// The last thing that the user side said.
    pub fn prompt(&self) -> &str {
        self.prompts.last().map_or("", String::as_str)
    }

    /// How many tools have answered since then.
    pub fn turn(&self) -> usize {
        self.results.len()
    }
}

/// What the model says.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Words, and the end of the turn.
    Say(String),
    /// One call of a tool.
    Call {
        /// Which.
        tool: String,
        /// With what.
        input: Value,
    },
    /// An HTTP error.
    Refuse {
        /// Its status.
        status: u16,
        /// The error's type, for example `rate_limit_error`.
        kind: &'static str,
        /// Value of `retry-after`, in seconds.
        retry_after_seconds: Option<u64>,
    },
    /// Nothing, for as long as the endpoint stands.
    Hang,
    /// The beginning of a message, then the end of the connection.
    Drop,
}

impl Reply {
    /// Words, and the end of the turn.
    pub fn say(text: &str) -> Self {
        Self::Say(text.to_owned())
    }

    /// A shell command.
    pub fn bash(command: &str) -> Self {
        Self::Call {
            tool: "Bash".to_owned(),
            input: json!({ "command": command, "description": "work" }),
        }
    }

    /// Writes one file below the workspace and commits it with this subject.
    pub fn commit(path: &str, subject: &str) -> Self {
        Self::bash(&format!(
            "mkdir -p \"$(dirname '{path}')\" && echo 'content of {path}' > '{path}' && git add -A && git commit -q -m '{subject}'"
        ))
    }
}

/// A script for a whole fleet: one list of replies per needle, for the conversation whose prompts hold it. The longest needle that is found decides, so that
/// one may be the beginning of another. A conversation that has used its list up says that it is done.
pub fn fleet(mut scripts: Vec<(String, Vec<Reply>)>) -> impl Fn(&Request) -> Reply + Send + Sync + 'static {
    scripts.sort_by_key(|(needle, _)| std::cmp::Reverse(needle.len()));
    move |request| {
        if !request.is_agents() {
            return Reply::say("Noted");
        }
        let holds = |needle: &str| request.prompts.iter().any(|prompt| prompt.contains(needle));
        let found = scripts.iter().find(|(needle, _)| holds(needle));
        let (_, replies) = found.unwrap_or_else(|| panic!("no script for {:?}", request.prompts));
        replies
            .get(request.results_in_all)
            .cloned()
            .unwrap_or_else(|| Reply::say("Everything is committed."))
    }
}

/// Tokens that were served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Served {
    /// Messages.
    pub messages: u64,
    /// Tokens in, not cached.
    pub input: u64,
    /// Tokens out.
    pub output: u64,
    /// Tokens read from the cache.
    pub cache_read: u64,
    /// Tokens written to the cache.
    pub cache_write: u64,
}

impl Served {
    /// All tokens.
    pub fn tokens(&self) -> u64 {
        self.input + self.output + self.cache_read + self.cache_write
    }

    fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.input += other.input;
        self.output += other.output;
        self.cache_read += other.cache_read;
        self.cache_write += other.cache_write;
    }
}

/// What was served, by session and model.
pub type Account = BTreeMap<(String, String), Served>;

/// The list price of what was served, in millionths of a dollar.
///
/// It has its own table on purpose: the program under test must come to the same figure by its own way.
pub fn micro_dollars(model: &str, served: &Served) -> f64 {
    let (input, output, cache_read) = match model {
        model if model.contains("opus-5") => (4.0, 20.0, 0.2),
        model if model.contains("sonnet-5") => (2.0, 10.0, 0.1),
        model if model.contains("haiku-5") => (0.1, 0.5, 0.01),
        other => panic!("no price for `{other}`"),
    };
    (served.input as f64 + served.cache_write as f64 * 1.25) * input
        + served.cache_read as f64 * cache_read
        + served.output as f64 * output
}

type Script = dyn Fn(&Request) -> Reply + Send + Sync;

struct Inner {
    script: Box<Script>,
    account: Mutex<Account>,
    requests: Mutex<Vec<Request>>,
    seen: Mutex<BTreeMap<String, u64>>,
    messages: AtomicU64,
    live: AtomicU64,
    live_max: AtomicU64,
    closed: AtomicBool,
}

/// A running endpoint; it closes when it is dropped.
pub struct Endpoint {
    address: SocketAddr,
    inner: Arc<Inner>,
}

impl Endpoint {
    /// Starts one that answers by this script.
    pub fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let inner = Arc::new(Inner {
            script: Box::new(script),
            account: Mutex::default(),
            requests: Mutex::default(),
            seen: Mutex::default(),
            messages: AtomicU64::new(0),
            live: AtomicU64::new(0),
            live_max: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        let server = Arc::clone(&inner);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if server.closed.load(Ordering::SeqCst) {
                    return;
                }
                let server = Arc::clone(&server);
                // A connection that breaks is the client's business.
                std::thread::spawn(move || drop(server.serve(stream)));
            }
        });
        Self { address, inner }
    }

    /// What `ANTHROPIC_BASE_URL` must be.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that was served so far.
    pub fn account(&self) -> Account {
        lock(&self.inner.account).clone()
    }

    /// The sum over one session, and its list price in millionths of a dollar.
    pub fn served_to(&self, session: &str) -> (Served, f64) {
        self.sum(|known| known == session)
    }

    /// The sum over all sessions, and its list price in millionths of a dollar.
    pub fn served(&self) -> (Served, f64) {
        self.sum(|_| true)
    }

    fn sum(&self, wanted: impl Fn(&str) -> bool) -> (Served, f64) {
        let mut sum = Served::default();
        let mut price = 0.0;
        for ((session, model), served) in lock(&self.inner.account).iter() {
            if wanted(session) {
                sum.add(served);
                price += micro_dollars(model, served);
            }
        }
        (sum, price)
    }

    /// Every request for a message so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.inner.requests).clone()
    }

    /// How many requests were under way at once, at most.
    pub fn live_max(&self) -> u64 {
        self.inner.live_max.load(Ordering::SeqCst)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.inner.closed.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
    }
}

/// One HTTP request as it came in.
struct Incoming {
    method: String,
    path: String,
    session: Option<String>,
    body: Vec<u8>,
}

impl Inner {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(IDLE_LOOK))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut writer = stream;
        while let Some(incoming) = self.read_request(&mut reader)? {
            if incoming.method == "POST" && incoming.path.contains("count_tokens") {
                respond(&mut writer, 200, &[], &json!({ "input_tokens": 10 }))?;
            } else if incoming.method == "POST" && incoming.path.starts_with("/v1/messages") {
                let body: Value = serde_json::from_slice(&incoming.body).unwrap_or_default();
                let live = self.live.fetch_add(1, Ordering::SeqCst) + 1;
                self.live_max.fetch_max(live, Ordering::SeqCst);
                let answered = self.answer(&mut writer, body, incoming.session);
                self.live.fetch_sub(1, Ordering::SeqCst);
                if !answered? {
                    return writer.shutdown(Shutdown::Both);
                }
            } else {
                respond(&mut writer, 200, &[], &json!({}))?;
            }
        }
        Ok(())
    }

    /// Answers one request for a message; says whether the connection goes on.
    fn answer(&self, writer: &mut TcpStream, body: Value, session: Option<String>) -> io::Result<bool> {
        let streamed = body["stream"] == true;
        let state = format!("{session:?} {} {}", body["model"], body["messages"]);
        let repetition = {
            let mut seen = lock(&self.seen);
            let count = seen.entry(state).or_default();
            *count += 1;
            *count - 1
        };
        let request = Request::new(body, repetition, session);
        lock(&self.requests).push(request.clone());
        match (self.script)(&request) {
            Reply::Hang => {
                while !self.closed.load(Ordering::SeqCst) {
                    std::thread::sleep(IDLE_LOOK);
                }
                Ok(false)
            }
            Reply::Refuse {
                status,
                kind,
                retry_after_seconds,
            } => {
                let retry_after = retry_after_seconds.map(|seconds| format!("retry-after: {seconds}\r\n"));
                let error =
                    json!({ "type": "error", "error": { "type": kind, "message": format!("scripted {kind}") } });
                respond(
                    writer,
                    status,
                    &retry_after.iter().map(String::as_str).collect::<Vec<_>>(),
                    &error,
                )?;
                Ok(true)
            }
            Reply::Drop => {
                let message = self.message(&request, &Served::default());
                begin_stream(writer)?;
                event(writer, "message_start", &json!({ "message": message }))?;
                Ok(false)
            }
            reply @ (Reply::Say(_) | Reply::Call { .. }) => {
                let served = tokens_for(&request, &reply);
                let message = self.message(&request, &served);
                lock(&self.account)
                    .entry((request.session.clone().unwrap_or_default(), request.model.clone()))
                    .or_default()
                    .add(&served);
                if streamed {
                    stream_message(writer, message, &reply, &served)?
                } else {
                    whole_message(writer, message, &reply, &served)?
                }
                Ok(true)
            }
        }
    }

    /// The frame of a message, without content, with a new id.
    fn message(&self, request: &Request, served: &Served) -> Value {
        let number = self.messages.fetch_add(1, Ordering::SeqCst);
        json!({
            "id": format!("msg_{number:06}"), "type": "message", "role": "assistant", "model": request.model, "content": [],
            "stop_reason": null, "stop_sequence": null,
            "usage": {
                "input_tokens": served.input, "output_tokens": 1,
                "cache_creation_input_tokens": served.cache_write, "cache_read_input_tokens": served.cache_read,
            },
        })
    }

    fn read_request(&self, reader: &mut BufReader<TcpStream>) -> io::Result<Option<Incoming>> {
        let Some(first) = self.read_line(reader)? else {
            return Ok(None);
        };
        let mut words = first.split_ascii_whitespace().map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (mut length, mut chunked, mut session) = (0, false, None);
        while let Some(line) = self.read_line(reader)?.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            match (name.to_ascii_lowercase().as_str(), value.trim()) {
                ("content-length", value) => length = value.parse().map_err(io::Error::other)?,
                ("transfer-encoding", "chunked") => chunked = true,
                ("x-claude-code-session-id", value) => session = Some(value.to_owned()),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.read_exact(reader, &mut body)?;
        while chunked {
            let size = self.read_line(reader)?.unwrap_or_default();
            let mut chunk = vec![0; usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?];
            self.read_exact(reader, &mut chunk)?;
            self.read_line(reader)?;
            chunked = !chunk.is_empty();
            body.extend(chunk);
        }
        Ok(Some(Incoming {
            method,
            path,
            session,
            body,
        }))
    }

    /// A line without its end; `None` at the end of the connection or of the endpoint.
    fn read_line(&self, reader: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        loop {
            match reader.read_until(b'\n', &mut line) {
                Ok(0) => return Ok(None),
                Ok(_) => return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned())),
                Err(error) => self.go_on(error)?,
            }
        }
    }

    fn read_exact(&self, reader: &mut BufReader<TcpStream>, mut target: &mut [u8]) -> io::Result<()> {
        while !target.is_empty() {
            match reader.read(target) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => target = &mut target[count..],
                Err(error) => self.go_on(error)?,
            }
        }
        Ok(())
    }

    /// A read that timed out is repeated while the endpoint stands.
    fn go_on(&self, error: io::Error) -> io::Result<()> {
        let timed_out = matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
        );
        if timed_out && !self.closed.load(Ordering::SeqCst) {
            Ok(())
        } else {
            Err(error)
        }
    }
}

/// What a reply costs: different for every length of conversation, so that a message counted twice or not at all changes the sum.
fn tokens_for(request: &Request, reply: &Reply) -> Served {
    let turns = request.body["messages"].as_array().map_or(0, Vec::len) as u64;
    let said = match reply {
        Reply::Say(text) => text.len(),
        Reply::Call { input, .. } => input.to_string().len(),
        Reply::Refuse { .. } | Reply::Hang | Reply::Drop => 0,
    } as u64;
    Served {
        messages: 1,
        input: 1_000 + 10 * turns,
        output: 50 + said / 4,
        cache_read: 500 * turns,
        cache_write: 300 + turns,
    }
}

fn content_block(reply: &Reply, message: &Value) -> (Value, &'static str) {
    match reply {
        Reply::Call { tool, input } => {
            let id = format!("toolu_{}", message["id"].as_str().unwrap_or_default());
            (
                json!({ "type": "tool_use", "id": id, "name": tool, "input": input }),
                "tool_use",
            )
        }
        Reply::Say(text) => (json!({ "type": "text", "text": text }), "end_turn"),
        Reply::Refuse { .. } | Reply::Hang | Reply::Drop => (json!({ "type": "text", "text": "" }), "end_turn"),
    }
}

fn whole_message(writer: &mut TcpStream, mut message: Value, reply: &Reply, served: &Served) -> io::Result<()> {
    let (block, stop_reason) = content_block(reply, &message);
    message["content"] = json!([block]);
    message["stop_reason"] = json!(stop_reason);
    message["usage"]["output_tokens"] = json!(served.output);
    respond(writer, 200, &[], &message)
}

fn stream_message(writer: &mut TcpStream, message: Value, reply: &Reply, served: &Served) -> io::Result<()> {
    let (block, stop_reason) = content_block(reply, &message);
    begin_stream(writer)?;
    event(writer, "message_start", &json!({ "message": message }))?;
    let (empty, delta) = if block["type"] == "tool_use" {
        let mut empty = block.clone();
        empty["input"] = json!({});
        (
            empty,
            json!({ "type": "input_json_delta", "partial_json": block["input"].to_string() }),
        )
    } else {
        (
            json!({ "type": "text", "text": "" }),
            json!({ "type": "text_delta", "text": block["text"] }),
        )
    };
    event(
        writer,
        "content_block_start",
        &json!({ "index": 0, "content_block": empty }),
    )?;
    event(writer, "content_block_delta", &json!({ "index": 0, "delta": delta }))?;
    event(writer, "content_block_stop", &json!({ "index": 0 }))?;
    let delta = json!({ "stop_reason": stop_reason, "stop_sequence": null });
    event(
        writer,
        "message_delta",
        &json!({ "delta": delta, "usage": { "output_tokens": served.output } }),
    )?;
    event(writer, "message_stop", &json!({}))?;
    writer.write_all(b"0\r\n\r\n")
}

fn begin_stream(writer: &mut TcpStream) -> io::Result<()> {
    writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
}

fn event(writer: &mut TcpStream, kind: &str, data: &Value) -> io::Result<()> {
    let mut data = data.clone();
    data["type"] = json!(kind);
    let text = format!("event: {kind}\ndata: {data}\n\n");
    write!(writer, "{:x}\r\n{text}\r\n", text.len())?;
    writer.flush()
}

fn respond(writer: &mut TcpStream, status: u16, headers: &[&str], body: &Value) -> io::Result<()> {
    let body = body.to_string();
    let headers = headers.concat();
    write!(
        writer,
        "HTTP/1.1 {status} Scripted\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    writer.flush()
}

fn text_in(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks
            .iter()
            .filter_map(|block| block["text"].as_str())
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    }
}

/// The session in the request's metadata.
fn session_in(body: &Value) -> Option<String> {
    let user = body["metadata"]["user_id"].as_str()?;
    let session = match serde_json::from_str::<Value>(user) {
        Ok(user) => user["session_id"].as_str()?.to_owned(),
        Err(_) => user.split_once("session_")?.1.to_owned(),
    };
    Some(session)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
