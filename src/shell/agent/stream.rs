//! Reads what an agent writes, line by line, and keeps what matters. Total: whatever comes in, something sensible comes out.

use std::collections::{BTreeSet, VecDeque};

use serde_json::Value;

use super::driver::estimated_cost;
use super::record::{RECORD_VERSION, SessionAccount};
use crate::core::event::{RefusalKind, Usage};
use crate::ids::{MicroDollars, Time};

/// Messages whose blocks may still be coming. Blocks of one message come together, or interleaved with those of a few subagents.
const OPEN_MESSAGES_MAX: usize = 64;

/// Tool calls whose results have not come.
const OPEN_TOOLS_MAX: usize = 256;

/// Texts that are kept for people.
const TEXT_CHARS_MAX: usize = 2_000;

/// Names of denied tools that are kept.
const DENIED_MAX: usize = 32;

/// Bytes of text per token, for messages whose final count does not reach the stream.
const BYTES_PER_TOKEN: u64 = 4;

/// Token counts of one message or one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tokens {
    /// Sent, not from the cache.
    pub input: u64,
    /// Received.
    pub output: u64,
    /// Read from the cache.
    pub cache_read: u64,
    /// Written to the cache for five minutes.
    pub cache_write_short: u64,
    /// Written to the cache for an hour.
    pub cache_write_long: u64,
}

impl Tokens {
    /// All of them.
    pub fn total(&self) -> u64 {
        [
            self.input,
            self.output,
            self.cache_read,
            self.cache_write_short,
            self.cache_write_long,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }

    /// Reads a `usage` object of the Messages API.
    fn of_usage(usage: &Value) -> Self {
        let count = |name: &str| usage.get(name).and_then(Value::as_u64).unwrap_or(0);
        let written = count("cache_creation_input_tokens");
        let long = usage
            .pointer("/cache_creation/ephemeral_1h_input_tokens")
            .and_then(Value::as_u64)
            .unwrap_or(0)
            .min(written);
        Self {
            input: count("input_tokens"),
            output: count("output_tokens"),
            cache_read: count("cache_read_input_tokens"),
            cache_write_short: written - long,
            cache_write_long: long,
        }
    }
}

/// The last `result` line, as far as it matters.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ResultLine {
    /// For example `success`. It says `success` for refused service too; never decide by it alone.
    pub subtype: String,
    /// Whether it is an error after all.
    pub is_error: bool,
    /// Why the session ended, in the vendor's word.
    pub terminal_reason: String,
    /// The HTTP status of a service that refused.
    pub api_error_status: Option<u64>,
    /// The final text or the errors.
    pub text: String,
    /// Tools that were denied.
    pub denied: Vec<String>,
    /// What the vendor says that the session cost.
    pub cost: Option<MicroDollars>,
    /// Tokens over all models, when the line has them.
    pub tokens: Option<u64>,
}

/// What a line says about limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Why service is refused.
    pub kind: RefusalKind,
    /// When it resumes.
    pub resets_at: Option<Time>,
}

/// Everything that is known from the lines so far.
#[derive(Debug, Default)]
pub struct Stream {
    continued: Option<SessionAccount>,
    session: Option<String>,
    result: Option<ResultLine>,
    /// What the process's own results say was used since it began, where the vendor says so.
    told: Option<Usage>,
    limit: Option<Limit>,
    last_error: Option<RefusalKind>,
    denied: Vec<String>,
    settled: Usage,
    open_messages: VecDeque<OpenMessage>,
    open_tools: BTreeSet<String>,
    counts: LineCounts,
}

/// How many lines of which kind came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LineCounts {
    /// Of a kind that is understood.
    pub known: u64,
    /// Of a kind that is not.
    pub unknown: u64,
    /// Not a JSON object with a type.
    pub text: u64,
}

#[derive(Debug)]
struct OpenMessage {
    id: String,
    model: String,
    tokens: Tokens,
    block_bytes: u64,
}

impl OpenMessage {
    fn usage(&self) -> Usage {
        // The stream carries a message before its last token is counted. A count from the text is near the truth; the count at the start, 1, is not.
        let tokens = Tokens {
            output: self.tokens.output.max(self.block_bytes / BYTES_PER_TOKEN),
            ..self.tokens
        };
        Usage {
            cost: estimated_cost(&self.model, &tokens),
            tokens: tokens.total(),
        }
    }
}

impl Stream {
    /// A stream of an attempt that continues a session, if it does.
    pub fn new(continued: Option<SessionAccount>) -> Self {
        Self {
            continued,
            ..Self::default()
        }
    }

    /// Takes in one line.
    pub fn line(&mut self, line: &[u8]) {
        let value: Option<Value> = if line.first() == Some(&b'{') {
            serde_json::from_slice(line).ok()
        } else {
            None
        };
        let Some((kind, value)) = value
            .as_ref()
            .and_then(|value| Some((value.get("type")?.as_str()?, value)))
        else {
            if !line.iter().all(u8::is_ascii_whitespace) {
                self.counts.text += 1;
            }
            return;
        };
        if let Some(session) = text_of(value, "session_id").filter(|session| self.session.as_deref() != Some(session)) {
            // A session that could not be continued has said so with a result; what follows is another one.
            self.result = None;
            self.told = None;
            self.session = Some(session.to_owned());
        }
        self.counts.known += 1;
        match kind {
            "system" => self.system(value),
            "assistant" => self.assistant(value),
            "user" => self.user(value),
            "rate_limit_event" => self.rate_limit(value),
            "result" => self.result(value),
            _ => {
                self.counts.known -= 1;
                self.counts.unknown += 1;
            }
        }
    }

    fn system(&mut self, value: &Value) {
        match text_of(value, "subtype") {
            Some("permission_denied") => {
                let tool = text_of(value, "tool_name")
                    .or_else(|| text_of(value, "tool"))
                    .unwrap_or("a tool");
                note_denied(&mut self.denied, tool);
            }
            Some("api_retry") => {
                let status = value.get("error_status").and_then(Value::as_u64);
                self.last_error = status
                    .and_then(refusal_of_status)
                    .or_else(|| text_of(value, "error").and_then(refusal_of_word));
            }
            _ => {}
        }
    }

    fn assistant(&mut self, value: &Value) {
        // A message that arrives means that the service serves again.
        self.last_error = text_of(value, "error").and_then(refusal_of_word);
        let Some(message) = value.get("message") else { return };
        let blocks = message
            .get("content")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        for block in blocks {
            if let (Some("tool_use"), Some(id)) = (text_of(block, "type"), text_of(block, "id"))
                && self.open_tools.len() < OPEN_TOOLS_MAX
            {
                self.open_tools.insert(id.to_owned());
            }
        }
        let (Some(id), Some(usage)) = (text_of(message, "id"), message.get("usage")) else {
            return;
        };
        let tokens = Tokens::of_usage(usage);
        let block_bytes: u64 = blocks.iter().map(block_bytes).sum();
        if let Some(open) = self.open_messages.iter_mut().find(|open| open.id == id) {
            // One line per content block, each with the usage of the whole message.
            open.tokens = tokens;
            open.block_bytes += block_bytes;
            return;
        }
        if self.open_messages.len() >= OPEN_MESSAGES_MAX
            && let Some(oldest) = self.open_messages.pop_front()
        {
            self.settled = sum(self.settled, oldest.usage());
        }
        let model = text_of(message, "model").unwrap_or_default().to_owned();
        self.open_messages.push_back(OpenMessage {
            id: id.to_owned(),
            model,
            tokens,
            block_bytes,
        });
    }

    fn user(&mut self, value: &Value) {
        let blocks = value
            .pointer("/message/content")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        for id in blocks.iter().filter_map(|block| text_of(block, "tool_use_id")) {
            self.open_tools.remove(id);
        }
    }

    fn rate_limit(&mut self, value: &Value) {
        let info = value.get("rate_limit_info").unwrap_or(value);
        self.limit = (text_of(info, "status") == Some("rejected")).then(|| Limit {
            kind: RefusalKind::Quota,
            resets_at: info.get("resetsAt").and_then(Value::as_f64).map(time_of_epoch),
        });
    }

    fn result(&mut self, value: &Value) {
        self.open_tools.clear();
        let mut text = text_of(value, "result").unwrap_or_default().to_owned();
        for error in value
            .get("errors")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice)
        {
            let error = error.as_str().map_or_else(|| error.to_string(), str::to_owned);
            text = if text.is_empty() {
                error
            } else {
                format!("{text}; {error}")
            };
        }
        let mut denied = Vec::new();
        for denial in value
            .get("permission_denials")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice)
        {
            note_denied(&mut denied, text_of(denial, "tool_name").unwrap_or("a tool"));
        }
        let models = |name: &str| value.get(name).and_then(Value::as_object);
        let tokens =
            models("modelUsage").map(|models| models.values().map(tokens_of_model).fold(0, u64::saturating_add));
        if let Some(models) = models("model_usage_since_last_result") {
            let costs = models.values().filter_map(|model| model.get("costUSD")?.as_f64());
            let since = Usage {
                cost: MicroDollars::from_dollars(costs.sum()),
                tokens: models.values().map(tokens_of_model).fold(0, u64::saturating_add),
            };
            self.told = Some(sum(self.told.unwrap_or_default(), since));
        }
        self.result = Some(ResultLine {
            subtype: text_of(value, "subtype").unwrap_or_default().to_owned(),
            is_error: value.get("is_error").and_then(Value::as_bool).unwrap_or(false),
            terminal_reason: text_of(value, "terminal_reason").unwrap_or_default().to_owned(),
            api_error_status: value.get("api_error_status").and_then(Value::as_u64),
            text: text.chars().take(TEXT_CHARS_MAX).collect(),
            denied,
            cost: value
                .get("total_cost_usd")
                .and_then(Value::as_f64)
                .map(MicroDollars::from_dollars),
            tokens,
        });
    }

    /// The vendor's session, once a line has named it.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// The last result line.
    pub fn result_line(&self) -> Option<&ResultLine> {
        self.result.as_ref()
    }

    /// The service refuses, as the last word about it says.
    pub fn limit(&self) -> Option<Limit> {
        self.limit
            .or(self.last_error.map(|kind| Limit { kind, resets_at: None }))
    }

    /// Tools that were denied, whether the result line says so or single lines did.
    pub fn denied(&self) -> Vec<String> {
        let mut denied = self.denied.clone();
        for tool in self.result.iter().flat_map(|result| &result.denied) {
            note_denied(&mut denied, tool);
        }
        denied
    }

    /// A tool was called and has not answered.
    pub fn tool_is_running(&self) -> bool {
        !self.open_tools.is_empty()
    }

    /// Totals of the attempt so far: what the vendor says where it says it, the estimate from the messages until then.
    pub fn usage(&self) -> Usage {
        // A session that was interrupted may have written its price down without telling it: then only this tells its share from ours.
        if let Some(told) = self.told {
            return told;
        }
        let estimate = self
            .open_messages
            .iter()
            .map(OpenMessage::usage)
            .fold(self.settled, sum);
        let continued = self
            .continued
            .as_ref()
            .filter(|before| self.session() == Some(&before.session));
        let before = continued.map_or_else(Usage::default, |before| before.total);
        let result = self.result.as_ref();
        let cost = result
            .and_then(|result| result.cost)
            .map(|cost| MicroDollars(cost.0.saturating_sub(before.cost.0)));
        let tokens = result
            .and_then(|result| result.tokens)
            .map(|tokens| tokens.saturating_sub(before.tokens));
        Usage {
            cost: cost.unwrap_or(estimate.cost),
            tokens: tokens.unwrap_or(estimate.tokens),
        }
    }

    /// What the session has cost by the vendor's own figures, when it has given them.
    pub fn session_account(&self) -> Option<SessionAccount> {
        let result = self.result.as_ref()?;
        let total = Usage {
            cost: result.cost?,
            tokens: result.tokens?,
        };
        Some(SessionAccount {
            version: RECORD_VERSION,
            session: self.session()?.to_owned(),
            total,
        })
    }

    /// How many lines of which kind came.
    pub fn counts(&self) -> LineCounts {
        self.counts
    }
}

/// All tokens in one model's part of a result line.
fn tokens_of_model(model: &Value) -> u64 {
    let names = [
        "inputTokens",
        "outputTokens",
        "cacheReadInputTokens",
        "cacheCreationInputTokens",
    ];
    names
        .iter()
        .filter_map(|name| model.get(name)?.as_u64())
        .fold(0, u64::saturating_add)
}

fn sum(left: Usage, right: Usage) -> Usage {
    Usage {
        cost: left.cost.plus(right.cost),
        tokens: left.tokens.saturating_add(right.tokens),
    }
}

fn text_of<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

fn block_bytes(block: &Value) -> u64 {
    let text = text_of(block, "text")
        .or_else(|| text_of(block, "thinking"))
        .map_or(0, str::len);
    let input = block.get("input").map_or(0, |input| input.to_string().len());
    (text + input) as u64
}

fn note_denied(denied: &mut Vec<String>, tool: &str) {
    if denied.len() < DENIED_MAX && !denied.iter().any(|known| known == tool) {
        denied.push(tool.to_owned());
    }
}

/// Seconds since 1970, as the stream gives them; a value too large for seconds is taken as milliseconds.
fn time_of_epoch(value: f64) -> Time {
    const SECONDS_MAX: f64 = 1e11;
    let milliseconds = if value < SECONDS_MAX { value * 1_000.0 } else { value };
    // The cast saturates.
    Time(milliseconds as u64)
}

/// What an HTTP status of the service means.
pub fn refusal_of_status(status: u64) -> Option<RefusalKind> {
    match status {
        401 | 403 => Some(RefusalKind::Authentication),
        402 => Some(RefusalKind::Billing),
        429 => Some(RefusalKind::Quota),
        500..=599 => Some(RefusalKind::Unavailable),
        _ => None,
    }
}

/// What the stream's word for an error means.
fn refusal_of_word(word: &str) -> Option<RefusalKind> {
    match word {
        "authentication_failed"
        | "oauth_org_not_allowed"
        | "account_on_hold"
        | "verification_required"
        | "cloud_credential_error" => Some(RefusalKind::Authentication),
        "billing_error" => Some(RefusalKind::Billing),
        "rate_limit" => Some(RefusalKind::Quota),
        "overloaded" | "server_error" => Some(RefusalKind::Unavailable),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, input: u64, text: &str) -> String {
        format!(
            r#"{{"type":"assistant","session_id":"s","message":{{"id":"{id}","model":"claude-opus-5-5","content":[{{"type":"text","text":"{text}"}}],"usage":{{"input_tokens":{input},"output_tokens":1}}}}}}"#
        )
    }

    fn stream(lines: &[String]) -> Stream {
        let mut stream = Stream::default();
        for line in lines {
            stream.line(line.as_bytes());
        }
        stream
    }

    #[test]
    fn a_message_is_counted_once_although_each_block_of_it_repeats_its_usage() {
        let text = "x".repeat(400);
        let usage = stream(&[
            message("a", 1_000, &text),
            message("a", 1_000, &text),
            message("b", 500, ""),
        ])
        .usage();
        // 1000 + 500 in, 800 characters out, and the one token that the second message began with.
        assert_eq!(usage.tokens, 1_500 + 200 + 1);
        assert_eq!(usage.cost, MicroDollars(1_500 * 4 + 201 * 20));
    }

    #[test]
    fn more_messages_than_are_kept_open_are_all_counted() {
        let lines: Vec<String> = (0..1_000)
            .map(|number| message(&format!("m{number}"), 10, ""))
            .collect();
        assert_eq!(stream(&lines).usage().tokens, 11_000);
    }

    #[test]
    fn the_result_has_the_last_word_about_money() {
        let result = r#"{"type":"result","session_id":"s","total_cost_usd":1.5,"modelUsage":{"a":{"inputTokens":5,"outputTokens":6},"b":{"cacheReadInputTokens":7}}}"#;
        let usage = stream(&[message("a", 1_000, ""), result.to_owned()]).usage();
        assert_eq!(
            usage,
            Usage {
                cost: MicroDollars(1_500_000),
                tokens: 18
            }
        );
    }

    #[test]
    fn a_price_that_was_written_down_but_never_told_is_not_counted_twice() {
        let result = r#"{"type":"result","subtype":"success","session_id":"s","total_cost_usd":0.75,"modelUsage":{"m":{"inputTokens":300}},"model_usage_since_last_result":{"m":{"inputTokens":90,"outputTokens":10,"costUSD":0.25}}}"#;
        let mut continued = Stream::default();
        continued.line(result.as_bytes());
        let own = Usage {
            cost: MicroDollars(250_000),
            tokens: 100,
        };
        assert_eq!(continued.usage(), own);
        assert_eq!(
            continued.session_account().map(|account| account.total.tokens),
            Some(300)
        );
    }

    #[test]
    fn a_continued_session_counts_from_where_it_was() {
        let total = Usage {
            cost: MicroDollars(1_000_000),
            tokens: 10,
        };
        let before = SessionAccount {
            version: RECORD_VERSION,
            session: "s".to_owned(),
            total,
        };
        let result = r#"{"type":"result","session_id":"s","total_cost_usd":1.5,"modelUsage":{"a":{"inputTokens":18}}}"#;
        let mut continued = Stream::new(Some(before.clone()));
        continued.line(result.as_bytes());
        assert_eq!(
            continued.usage(),
            Usage {
                cost: MicroDollars(500_000),
                tokens: 8
            }
        );
        // A session that was begun afresh owes nothing to the one before.
        let mut fresh = Stream::new(Some(before));
        fresh.line(result.replace(r#""s""#, r#""t""#).as_bytes());
        assert_eq!(
            fresh.usage(),
            Usage {
                cost: MicroDollars(1_500_000),
                tokens: 18
            }
        );
    }

    #[test]
    fn a_tool_runs_from_its_call_to_its_result() {
        let call = r#"{"type":"assistant","message":{"id":"a","content":[{"type":"tool_use","id":"t1","name":"Bash","input":{}}]}}"#;
        let result =
            r#"{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t1","content":"ok"}]}}"#;
        let mut stream = Stream::default();
        stream.line(call.as_bytes());
        assert!(stream.tool_is_running());
        stream.line(result.as_bytes());
        assert!(!stream.tool_is_running());
    }

    #[test]
    fn whatever_comes_in_is_counted_and_harmless() {
        let lines = [
            "",
            "plain",
            "{",
            "{}",
            "[1]",
            r#"{"type":7}"#,
            r#"{"type":"assistant"}"#,
            r#"{"type":"assistant","message":{"id":1,"content":"x","usage":[]}}"#,
            r#"{"type":"result","errors":7,"permission_denials":"no","modelUsage":3,"total_cost_usd":"free"}"#,
            r#"{"type":"user","message":{"content":"text"}}"#,
            r#"{"type":"rate_limit_event"}"#,
            r#"{"type":"system","subtype":"api_retry","error_status":-5}"#,
            r#"{"type":"of_tomorrow"}"#,
        ];
        let stream = stream(&lines.map(str::to_owned));
        assert_eq!(
            stream.counts(),
            LineCounts {
                known: 6,
                unknown: 1,
                text: 5
            }
        );
        assert_eq!(stream.usage(), Usage::default());
    }
}
