//! Tables of questions: what the sections that ask a lot have in common.

use reference_core::http::Request;
use serde_json::Value;

use crate::verify::lab::{Answers, Failed, Lab, Outcome};

/// A text that differs in length only.
pub(super) fn long(length: usize) -> String {
    "a".repeat(length)
}

/// A request of the superadmin.
pub(super) fn by_root(lab: &Lab, method: &str, target: &str) -> Request {
    Request::new(method, target).bearer(&lab.keys.root)
}

/// A request with bytes that need not be JSON.
pub(super) fn with_body(request: Request, content_type: &str, body: impl Into<Vec<u8>>) -> Request {
    let mut request = request.header("content-type", content_type);
    request.body = body.into();
    request
}

/// Reads as the superadmin.
pub(super) async fn read(lab: &mut Lab, target: &str) -> Outcome<Answers> {
    let request = by_root(lab, "GET", target);
    lab.config(request).await
}

/// Sends a body as the superadmin.
pub(super) async fn send(lab: &mut Lab, method: &str, target: &str, body: &Value) -> Outcome<Answers> {
    let request = by_root(lab, method, target).json(body);
    told(lab.config(request).await, &body.to_string())
}

/// All of these bodies of the superadmin's are answered so.
pub(super) async fn each(
    lab: &mut Lab,
    method: &str,
    target: &str,
    status: u16,
    bodies: impl IntoIterator<Item = Value>,
) -> Outcome {
    for body in bodies {
        let answers = send(lab, method, target, &body).await?;
        told(answers.status(status), &body.to_string())?;
    }
    Ok(())
}

/// All of these bodies of the superadmin's are wrong.
pub(super) async fn wrong(
    lab: &mut Lab,
    method: &str,
    target: &str,
    bodies: impl IntoIterator<Item = Value>,
) -> Outcome {
    each(lab, method, target, 400, bodies).await
}

/// A difference says what it was that was sent.
pub(super) fn told<T>(outcome: Outcome<T>, sent: &str) -> Outcome<T> {
    let with = |what: String| {
        let sent: String = sent.chars().take(160).collect();
        format!("{what}; sent: {sent}")
    };
    outcome.map_err(|failed| match failed {
        Failed::Difference(what) => Failed::Difference(with(what)),
        Failed::Check(what) => Failed::Check(with(what)),
        other => other,
    })
}

/// The same body with one field replaced, for each of these values.
pub(super) fn varied<'a>(
    body: &'a Value,
    pointer: &'a str,
    values: impl IntoIterator<Item = Value> + 'a,
) -> impl Iterator<Item = Value> + 'a {
    values.into_iter().map(move |value| {
        let mut body = body.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap_or(("", pointer));
        if let Some(parent) = body.pointer_mut(parent) {
            parent[name] = value;
        }
        body
    })
}

/// A part of a query, as it must be written there.
pub(super) fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// All pages of a list, compared one by one. Gives their number.
pub(super) async fn walk(lab: &mut Lab, target: &str, credential: &str) -> Outcome<usize> {
    let joint = if target.contains('?') { '&' } else { '?' };
    let mut cursor = None;
    for page in 1..=100 {
        let request = |side| {
            let target = match &cursor {
                Some(pair) => {
                    let pair: &crate::verify::lab::Pair = pair;
                    format!("{target}{joint}cursor={}", encoded(pair.on(side)))
                }
                None => target.to_owned(),
            };
            Request::new("GET", &target).bearer(credential)
        };
        let answers = lab
            .ask_each(reference_native::Service::Config, request)
            .await?
            .status(200)?;
        if answers.reference.json()["next_cursor"].is_null() {
            return Ok(page);
        }
        cursor = Some(answers.text("/next_cursor")?);
    }
    Err(Failed::Difference(format!("GET {target}: its pages have no end")))
}
