//! What the end of an agent means: from exit status, stream and standard error to one verdict.

use crate::core::event::{AgentExit, RefusalKind};
use crate::ids::Time;
use crate::shell::agent::record::{Dialect, Ending, ExitRecord};
use crate::shell::agent::stream::{Limit, ResultLine, Stream, refusal_of_status};

/// How much of what an agent said goes into a reason.
const REASON_CHARS_MAX: usize = 1_000;

/// Judges an end. A result line alone proves nothing: it says `success` for refused service and for denied tools too.
pub fn conclude(dialect: Dialect, record: &ExitRecord, stream: &Stream, errors: &str) -> AgentExit {
    if record.stop_requested {
        return AgentExit::Stopped;
    }
    let status = match &record.ending {
        Ending::NotStarted { reason } => {
            return AgentExit::Failed {
                reason: format!("could not be started: {reason}"),
            };
        }
        Ending::Signalled(signal) => {
            return AgentExit::Failed {
                reason: with_errors(format!("was killed by signal {signal}"), errors),
            };
        }
        Ending::Exited(status) => *status,
    };
    match (stream.result_line(), dialect) {
        (Some(result), _) => of_result(result, status, stream, errors),
        (None, Dialect::Free) if status == 0 => match stream.denied() {
            tools if tools.is_empty() => AgentExit::Finished,
            tools => AgentExit::Denied { tools },
        },
        (None, Dialect::Free) => AgentExit::Failed {
            reason: with_errors(format!("ended with exit status {status}"), errors),
        },
        (None, Dialect::Claude) => match stream.limit().or_else(|| limit_in_errors(errors)) {
            Some(Limit { kind, resets_at }) => AgentExit::Refused { kind, resets_at },
            None => AgentExit::Failed {
                reason: with_errors(format!("ended with exit status {status} and no result"), errors),
            },
        },
    }
}

fn of_result(result: &ResultLine, status: i32, stream: &Stream, errors: &str) -> AgentExit {
    let is_error = result.is_error || result.subtype.starts_with("error");
    if is_error {
        if let Some(limit) = refusal(result, stream) {
            return AgentExit::Refused {
                kind: limit.kind,
                resets_at: limit.resets_at,
            };
        }
        let said = if result.text.is_empty() {
            &result.terminal_reason
        } else {
            &result.text
        };
        let reason = |what: &str| {
            clip(if said.is_empty() {
                what.to_owned()
            } else {
                format!("{what}: {said}")
            })
        };
        return match (result.subtype.as_str(), result.terminal_reason.as_str()) {
            ("error_max_turns", _) | (_, "max_turns") => AgentExit::Exhausted {
                reason: reason("its turns ran out"),
            },
            ("error_max_budget_usd", _) | (_, "budget_exhausted") => AgentExit::Exhausted {
                reason: reason("its budget ran out"),
            },
            _ => AgentExit::Failed {
                reason: reason("ended in an error"),
            },
        };
    }
    let denied = stream.denied();
    if !denied.is_empty() {
        AgentExit::Denied { tools: denied }
    } else if status != 0 {
        AgentExit::Failed {
            reason: with_errors(
                format!("says that it succeeded, yet ended with exit status {status}"),
                errors,
            ),
        }
    } else {
        AgentExit::Finished
    }
}

/// Whether the error is the service's refusal rather than the session's failure.
fn refusal(result: &ResultLine, stream: &Stream) -> Option<Limit> {
    let of_status = result
        .api_error_status
        .and_then(refusal_of_status)
        .map(|kind| Limit { kind, resets_at: None });
    let of_text = || limit_in_text(&result.text);
    let of_stream = || {
        (result.api_error_status.is_none() && result.terminal_reason == "api_error")
            .then(|| stream.limit())
            .flatten()
    };
    let found = of_status.or_else(of_text).or_else(of_stream)?;
    // The status says that, a rate limit event before it says until when.
    let resets_at = found.resets_at.or_else(|| {
        stream
            .limit()
            .filter(|limit| limit.kind == found.kind)
            .and_then(|limit| limit.resets_at)
    });
    Some(Limit { resets_at, ..found })
}

/// The older form of a spent subscription: `... usage limit reached|1760000000`.
fn limit_in_text(text: &str) -> Option<Limit> {
    let (_, rest) = text.split_once("usage limit reached")?;
    let digits: String = rest
        .trim_start_matches('|')
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let resets_at = digits
        .parse::<u64>()
        .ok()
        .map(|seconds| Time(seconds.saturating_mul(1_000)));
    Some(Limit {
        kind: RefusalKind::Quota,
        resets_at,
    })
}

/// What is said on standard error alone, before any stream begins.
fn limit_in_errors(errors: &str) -> Option<Limit> {
    let says = |part: &str| errors.contains(part);
    let kind = (says("Invalid API key") || says("Not logged in") || says("Please run /login"))
        .then_some(RefusalKind::Authentication);
    kind.map(|kind| Limit { kind, resets_at: None })
}

fn with_errors(what: String, errors: &str) -> String {
    let errors = errors.trim();
    if errors.is_empty() {
        return what;
    }
    let skipped = errors.chars().count().saturating_sub(REASON_CHARS_MAX);
    let end: String = errors.chars().skip(skipped).collect();
    format!("{what}: {end}")
}

fn clip(text: String) -> String {
    text.chars().take(REASON_CHARS_MAX).collect()
}
