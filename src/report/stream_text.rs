//! An agent's output stream for people: what it said in full, what it did one line each. Total: a line that is not understood is shown as it is.

use serde_json::Value;

use super::style::{Style, Tone};
use super::text::{clip, count, duration, neutralise, one_line, plural};

/// Columns of a line about a tool.
const TOOL_LINE_COLUMNS: usize = 110;

/// Renders one line of an agent's standard output; empty when it holds nothing for people.
pub fn render_line(line: &str, style: Style) -> String {
    let line = line.trim_end_matches(['\n', '\r']);
    match serde_json::from_str::<Value>(line) {
        Ok(Value::Object(message)) if message.get("type").is_some_and(Value::is_string) => {
            render_message(&Value::Object(message), style)
        }
        Ok(_) | Err(_) if line.trim().is_empty() => String::new(),
        Ok(_) | Err(_) => format!("{}\n", neutralise(line)),
    }
}

fn render_message(message: &Value, style: Style) -> String {
    match text_at(message, "/type") {
        "assistant" => blocks(message).map(|block| render_block(block, style)).collect(),
        "user" => blocks(message).map(|block| render_result_block(block, style)).collect(),
        "system" => render_system(message, style),
        "result" => render_result(message, style),
        "rate_limit_event" => {
            let status = text_at(message, "/rate_limit_info/status");
            if matches!(status, "" | "allowed") {
                String::new()
            } else {
                let kind = text_at(message, "/rate_limit_info/rateLimitType");
                note(style, Tone::Warning, &format!("usage limit {kind}: {status}"))
            }
        }
        _ => String::new(),
    }
}

fn render_block(block: &Value, style: Style) -> String {
    match text_at(block, "/type") {
        "text" => {
            let text = neutralise(text_at(block, "/text").trim());
            if text.is_empty() {
                String::new()
            } else {
                format!("{text}\n")
            }
        }
        "tool_use" => {
            let name = one_line(text_at(block, "/name"));
            let what = describe_input(&block["input"]);
            let line = clip(
                format!("> {name} {what}").trim_end(),
                TOOL_LINE_COLUMNS,
                style.ellipsis(),
            );
            format!("{}\n", style.paint(Tone::Active, &line))
        }
        _ => String::new(),
    }
}

/// The one value of a tool's input that says most.
fn describe_input(input: &Value) -> String {
    const TELLING: [&str; 8] = [
        "command",
        "file_path",
        "path",
        "pattern",
        "query",
        "url",
        "description",
        "prompt",
    ];
    TELLING
        .iter()
        .find_map(|name| input.get(name).and_then(Value::as_str))
        .map(one_line)
        .unwrap_or_else(|| {
            if input.is_null() {
                String::new()
            } else {
                one_line(&input.to_string())
            }
        })
}

fn render_result_block(block: &Value, style: Style) -> String {
    if text_at(block, "/type") != "tool_result" {
        return String::new();
    }
    let content = match &block["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    };
    let failed = block["is_error"].as_bool().unwrap_or(false);
    let lines = content.lines().count();
    let first = content
        .lines()
        .map(one_line)
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    let more = if lines > 1 {
        format!(" ({})", plural(lines, "line"))
    } else {
        String::new()
    };
    let (word, tone) = if failed {
        ("error: ", Tone::Bad)
    } else {
        ("", Tone::Faint)
    };
    let line = format!(
        "  {word}{}{more}",
        clip(&first, TOOL_LINE_COLUMNS.saturating_sub(20), style.ellipsis())
    );
    if line.trim().is_empty() {
        String::new()
    } else {
        format!("{}\n", style.paint(tone, line.trim_end()))
    }
}

fn render_system(message: &Value, style: Style) -> String {
    match text_at(message, "/subtype") {
        "init" => {
            let session = one_line(text_at(message, "/session_id"));
            let model = one_line(text_at(message, "/model"));
            note(style, Tone::Faint, &format!("session {session}, model {model}"))
        }
        "api_retry" => {
            let attempt = message["attempt"].as_u64().unwrap_or_default();
            let attempts_max = message["max_retries"].as_u64().unwrap_or_default();
            let error = one_line(text_at(message, "/error"));
            let status = message["error_status"]
                .as_u64()
                .map(|status| format!(" {status}"))
                .unwrap_or_default();
            note(
                style,
                Tone::Warning,
                &format!("service refused ({error}{status}), try {attempt} of {attempts_max}"),
            )
        }
        "permission_denied" => {
            let tool = one_line(text_at(message, "/tool_name"));
            note(style, Tone::Bad, &format!("tool denied: {tool}"))
        }
        "compact_boundary" => note(style, Tone::Faint, "the conversation was compacted"),
        _ => String::new(),
    }
}

fn render_result(message: &Value, style: Style) -> String {
    let failed = message["is_error"].as_bool().unwrap_or(false);
    let how = if failed { "ended in an error" } else { "finished" };
    let mut facts = vec![how.to_owned()];
    let reason = one_line(text_at(message, "/terminal_reason"));
    if failed && !reason.is_empty() {
        facts.push(reason);
    }
    if let Some(status) = message["api_error_status"].as_u64() {
        facts.push(format!("service answered {status}"));
    }
    if let Some(turns) = message["num_turns"].as_u64() {
        facts.push(plural(usize::try_from(turns).unwrap_or(usize::MAX), "turn"));
    }
    if let Some(cost) = message["total_cost_usd"].as_f64() {
        facts.push(crate::ids::MicroDollars::from_dollars(cost).to_string());
    }
    let tokens = [
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
    ]
    .iter()
    .filter_map(|name| message["usage"][name].as_u64())
    .fold(0_u64, u64::saturating_add);
    if tokens > 0 {
        facts.push(format!("{} tokens", count(tokens)));
    }
    if let Some(milliseconds) = message["duration_ms"].as_u64() {
        facts.push(duration(std::time::Duration::from_millis(milliseconds)));
    }
    let denied = message["permission_denials"].as_array().map_or(0, Vec::len);
    if denied > 0 {
        facts.push(plural(denied, "denied tool call"));
    }
    let tone = if failed || denied > 0 { Tone::Bad } else { Tone::Good };
    let mut rendered = note(style, tone, &facts.join(", "));
    for error in message["errors"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        rendered.push_str(&note(style, Tone::Bad, &one_line(error)));
    }
    rendered
}

fn note(style: Style, tone: Tone, text: &str) -> String {
    format!("{}\n", style.paint(tone, &format!("-- {text}")))
}

fn blocks(message: &Value) -> impl Iterator<Item = &Value> {
    message
        .pointer("/message/content")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn text_at<'a>(message: &'a Value, pointer: &str) -> &'a str {
    message.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str], expected: &str) {
        let rendered: String = lines.iter().map(|line| render_line(line, Style::PLAIN)).collect();
        assert_eq!(rendered, expected);
    }

    #[test]
    fn a_session_reads_as_a_story() {
        check(
            &[
                r#"{"type":"system","subtype":"init","session_id":"s-1","model":"opus","tools":["Bash"]}"#,
                r#"{"type":"assistant","message":{"content":[{"type":"text","text":"I look first."},{"type":"tool_use","name":"Bash","input":{"command":"npm test\n  --silent","timeout":5}}]}}"#,
                r#"{"type":"user","message":{"content":[{"type":"tool_result","content":"ok\nfine\n"}]}}"#,
                r#"{"type":"assistant","message":{"content":[{"type":"tool_use","name":"Glob","input":{"odd":[1,2]}}]}}"#,
                r#"{"type":"user","message":{"content":[{"type":"tool_result","is_error":true,"content":[{"type":"text","text":"no such file"}]}]}}"#,
                r#"{"type":"system","subtype":"api_retry","attempt":3,"max_retries":10,"error_status":429,"error":"rate_limit"}"#,
                r#"{"type":"result","subtype":"success","is_error":false,"num_turns":2,"total_cost_usd":0.4212,"duration_ms":200000,"usage":{"input_tokens":30000,"output_tokens":4000}}"#,
            ],
            "-- session s-1, model opus\n\
             I look first.\n\
             > Bash npm test --silent\n\
             \x20 ok (2 lines)\n\
             > Glob {\"odd\":[1,2]}\n\
             \x20 error: no such file\n\
             -- service refused (rate_limit 429), try 3 of 10\n\
             -- finished, 2 turns, $0.42, 34k tokens, 3m\n",
        );
    }

    #[test]
    fn a_success_that_is_an_error_or_was_denied_says_so() {
        check(
            &[
                r#"{"type":"result","subtype":"success","is_error":true,"terminal_reason":"api_error","api_error_status":401}"#,
                r#"{"type":"result","subtype":"success","is_error":false,"num_turns":1,"permission_denials":[{"tool_name":"Bash"}]}"#,
            ],
            "-- ended in an error, api_error, service answered 401\n-- finished, 1 turn, 1 denied tool call\n",
        );
    }

    #[test]
    fn lines_that_are_not_understood_are_shown_and_made_harmless() {
        check(
            &[
                "plain \u{1b}[31mred",
                "{\"type\":\"assist",
                "[1]",
                "",
                r#"{"type":"brand_new"}"#,
                r#"{"no":"type"}"#,
            ],
            "plain ^[[31mred\n{\"type\":\"assist\n[1]\n{\"no\":\"type\"}\n",
        );
        check(
            &[r#"{"type":"assistant","message":{"content":[{"type":"text","text":"\u001b]0;x\u0007"}]}}"#],
            "^[]0;x^G\n",
        );
    }
}
