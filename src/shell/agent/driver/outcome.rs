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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::agent::record::RECORD_VERSION;

    fn record(ending: Ending) -> ExitRecord {
        ExitRecord {
            version: RECORD_VERSION,
            ending,
            stop_requested: false,
            fell_back: false,
            leftovers_killed: 0,
            leftovers_alive: 0,
            output_bytes_dropped: 0,
            started_ms: 0,
            ended_ms: 0,
        }
    }

    fn claude(status: i32, lines: &[&str], errors: &str) -> AgentExit {
        let mut stream = Stream::default();
        for line in lines {
            stream.line(line.as_bytes());
        }
        conclude(Dialect::Claude, &record(Ending::Exited(status)), &stream, errors)
    }

    fn refused(kind: RefusalKind, resets_at: Option<u64>) -> AgentExit {
        AgentExit::Refused {
            kind,
            resets_at: resets_at.map(Time),
        }
    }

    fn failed(reason: &str) -> AgentExit {
        AgentExit::Failed {
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn success_counts_only_without_error_denial_and_exit_status() {
        let success = r#"{"type":"result","subtype":"success","is_error":false,"permission_denials":[]}"#;
        assert_eq!(claude(0, &[success], ""), AgentExit::Finished);
        assert_eq!(
            claude(1, &[success], "late crash"),
            failed("says that it succeeded, yet ended with exit status 1: late crash")
        );
        let denied = r#"{"type":"result","subtype":"success","permission_denials":[{"tool_name":"Bash"},{"tool_name":"Bash"},{"tool_name":"Write"}]}"#;
        assert_eq!(
            claude(0, &[denied], ""),
            AgentExit::Denied {
                tools: vec!["Bash".to_owned(), "Write".to_owned()]
            }
        );
        let event = r#"{"type":"system","subtype":"permission_denied","tool_name":"Edit"}"#;
        assert_eq!(
            claude(0, &[event, success], ""),
            AgentExit::Denied {
                tools: vec!["Edit".to_owned()]
            }
        );
    }

    #[test]
    fn refused_service_is_seen_although_the_subtype_says_success() {
        let result = |status: u64| {
            format!(
                r#"{{"type":"result","subtype":"success","is_error":true,"api_error_status":{status},"terminal_reason":"api_error","result":"x"}}"#
            )
        };
        for (status, kind) in [
            (401, RefusalKind::Authentication),
            (403, RefusalKind::Authentication),
            (402, RefusalKind::Billing),
            (429, RefusalKind::Quota),
            (500, RefusalKind::Unavailable),
            (529, RefusalKind::Unavailable),
        ] {
            assert_eq!(claude(1, &[&result(status)], ""), refused(kind, None));
        }
        assert_eq!(claude(1, &[&result(400)], ""), failed("ended in an error: x"));
    }

    #[test]
    fn the_time_of_a_reset_comes_from_the_limit_event_in_seconds() {
        let event = r#"{"type":"rate_limit_event","rate_limit_info":{"status":"rejected","resetsAt":1795363200}}"#;
        let result = r#"{"type":"result","subtype":"success","is_error":true,"api_error_status":429}"#;
        assert_eq!(
            claude(1, &[event, result], ""),
            refused(RefusalKind::Quota, Some(1_795_363_200_000))
        );
        let allowed = r#"{"type":"rate_limit_event","rate_limit_info":{"status":"allowed","resetsAt":1795363200}}"#;
        assert_eq!(
            claude(1, &[event, allowed, result], ""),
            refused(RefusalKind::Quota, None)
        );
        let older = r#"{"type":"result","subtype":"success","is_error":true,"result":"Claude AI usage limit reached|1795363200"}"#;
        assert_eq!(
            claude(1, &[older], ""),
            refused(RefusalKind::Quota, Some(1_795_363_200_000))
        );
    }

    #[test]
    fn turns_and_budget_that_ran_out_are_exhausted() {
        let turns = r#"{"type":"result","subtype":"error_max_turns","is_error":true,"errors":["Reached maximum number of turns (3)"]}"#;
        let reason = "its turns ran out: Reached maximum number of turns (3)".to_owned();
        assert_eq!(claude(1, &[turns], ""), AgentExit::Exhausted { reason });
        let budget = r#"{"type":"result","subtype":"error_max_budget_usd","is_error":true}"#;
        assert_eq!(
            claude(1, &[budget], ""),
            AgentExit::Exhausted {
                reason: "its budget ran out".to_owned()
            }
        );
    }

    #[test]
    fn no_result_is_a_failure_with_the_end_of_standard_error() {
        assert_eq!(
            claude(1, &[], "unknown flag\n"),
            failed("ended with exit status 1 and no result: unknown flag")
        );
        assert_eq!(
            claude(0, &["plain text"], ""),
            failed("ended with exit status 0 and no result")
        );
        assert_eq!(
            claude(1, &[], "Invalid API key · Please run /login"),
            refused(RefusalKind::Authentication, None)
        );
        let long = format!("{}the end", "x".repeat(5_000));
        let AgentExit::Failed { reason } = claude(1, &[], &long) else {
            panic!("not failed")
        };
        assert!(reason.len() < 1_100 && reason.ends_with("xthe end"));
    }

    #[test]
    fn a_stop_that_was_asked_for_is_a_stop_whatever_the_agent_said() {
        let stopped = ExitRecord {
            stop_requested: true,
            ..record(Ending::Signalled(9))
        };
        assert_eq!(
            conclude(Dialect::Claude, &stopped, &Stream::default(), ""),
            AgentExit::Stopped
        );
    }
}
