//! What it means for two hosts to answer the same: all is equal but what chance decides, and that differs everywhere in the same way.

use std::collections::HashMap;

use reference_core::http::Response;
use reference_core::{id, time};
use serde_json::Value;

/// By how much moments may differ: pauses between tries are random.
const TOLERANCE_MS: u64 = 2000;
/// The same for two implementations of their own: one of them may have waited for another service in vain.
const FREE_TOLERANCE_MS: u64 = 3500;

/// Header fields that the runtime or HTTP itself adds.
const TRANSPORT: [&str; 4] = ["content-length", "transfer-encoding", "date", "connection"];

/// Header fields that nobody may add freely, because clients act on them.
const PROMISING: [&str; 7] = [
    "allow",
    "content-encoding",
    "location",
    "refresh",
    "retry-after",
    "set-cookie",
    "www-authenticate",
];

/// Names and values that chance decided, on the one host and on the other.
#[derive(Default)]
pub struct Same {
    is_free: bool,
    there: HashMap<String, String>,
    here: HashMap<String, String>,
}

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
enum Part<'text> {
    /// Equal on both hosts.
    Plain(&'text str),
    /// Decided by chance.
    Random(&'text str),
    /// A moment, in milliseconds since 1970.
    Moment(u64),
}

impl Same {
    /// For two implementations of their own: wording is free (`error` and `message`), and so are further header fields that promise nothing, how long a generation took and what follows the moment in an image's name.
    #[must_use]
    pub fn free() -> Self {
        Self {
            is_free: true,
            ..Self::default()
        }
    }

    /// Status, header fields and body.
    pub fn answers(&mut self, here: &Response, there: &Response) -> Result<(), String> {
        let show = |response: &Response| {
            String::from_utf8_lossy(&response.body)
                .chars()
                .take(600)
                .collect::<String>()
        };
        if here.status != there.status {
            return Err(format!(
                "reference {} {}, other {} {}",
                here.status,
                show(here),
                there.status,
                show(there)
            ));
        }
        for (name, value) in here.headers.iter() {
            let other = there
                .headers
                .get(name)
                .ok_or_else(|| format!("the other has no `{name}`"))?;
            let is_same = match (name, value.parse::<u64>(), other.parse::<u64>()) {
                ("retry-after", Ok(one), Ok(another)) => one.abs_diff(another) <= TOLERANCE_MS / 1000,
                _ => self.texts(value, other, false),
            };
            if !is_same {
                return Err(format!("`{name}`: reference {value}, other {other}"));
            }
        }
        for (name, value) in there.headers.iter() {
            let is_free = self.is_free && !name.starts_with("access-control-") && !PROMISING.contains(&name);
            if here.headers.get(name).is_none() && !TRANSPORT.contains(&name) && !is_free {
                return Err(format!("only the other has `{name}: {value}`"));
            }
        }
        match (
            serde_json::from_slice::<Value>(&here.body),
            serde_json::from_slice::<Value>(&there.body),
        ) {
            (Ok(one), Ok(another)) => self.values("body", &one, &another),
            _ if here.body == there.body => Ok(()),
            _ => Err(format!("bodies: reference {}, other {}", show(here), show(there))),
        }
    }

    /// Values of JSON.
    pub fn values(&mut self, place: &str, here: &Value, there: &Value) -> Result<(), String> {
        // An item of a list is measured like its list.
        let name = place.rsplit('.').next().unwrap_or(place);
        let name = name.split('[').next().unwrap_or(name);
        let is_same = match (here, there) {
            // It may lag, and who is quick brings it up to date before the answer.
            (one, another) if self.is_free && name == "last_used_at" => [one, another]
                .into_iter()
                .all(|moment| moment.is_null() || moment.as_str().is_some_and(|text| time::parse(text).is_some())),
            (Value::Object(one), Value::Object(another)) => {
                for (name, value) in one {
                    self.values(
                        &format!("{place}.{name}"),
                        value,
                        another.get(name).unwrap_or(&Value::Null),
                    )?;
                }
                one.len() == another.len()
            }
            (Value::Array(one), Value::Array(another)) => {
                for (index, (one, another)) in one.iter().zip(another).enumerate() {
                    self.values(&format!("{place}[{index}]"), one, another)?;
                }
                one.len() == another.len()
            }
            (Value::String(one), Value::String(another)) if self.is_free && ["error", "message"].contains(&name) => {
                one.is_empty() == another.is_empty()
            }
            (Value::String(one), Value::String(another))
                if self.is_free && ["r2_path", "image_url"].contains(&name) =>
            {
                self.places(one, another)
            }
            // The form of a cursor is free, and so is what else it holds: whoever follows it sees whether it is right.
            (Value::String(one), Value::String(another)) if self.is_free && name == "next_cursor" => {
                one.is_empty() == another.is_empty()
            }
            (Value::String(one), Value::String(another)) => {
                let is_random = ["key_prefix", "next_cursor", "ciphertext"].contains(&name);
                self.texts(one, another, is_random)
            }
            // How often each asks whether an image is ready is its own affair.
            (Value::Number(one), Value::Number(another))
                if self.is_free && ["generation_time_ms", "duration_ms"].contains(&name) =>
            {
                one.is_u64() && another.is_u64()
            }
            (Value::Number(one), Value::Number(another)) if name.ends_with("_ms") => {
                let difference = one.as_f64().unwrap_or_default() - another.as_f64().unwrap_or_default();
                difference.abs() <= TOLERANCE_MS as f64
            }
            (Value::Number(one), Value::Number(another)) => one.as_f64() == another.as_f64(),
            (one, another) => one == another,
        };
        if is_same {
            Ok(())
        } else {
            Err(format!("{place}: reference {here}, other {there}"))
        }
    }

    /// Where an image is: all is equal but its name, which is a moment, an underscore, whatever makes it unique, and a type.
    fn places(&mut self, here: &str, there: &str) -> bool {
        fn taken_apart(place: &str) -> Option<(&str, &str, &str, &str)> {
            let (folder, name) = place.rsplit_once('/')?;
            let (moment, rest) = name.split_once('_')?;
            let (unique, kind) = rest.rsplit_once('.')?;
            Some((folder, moment, unique, kind))
        }
        match (taken_apart(here), taken_apart(there)) {
            (Some(one), Some(another)) => {
                one.3 == another.3
                    && self.texts(one.0, another.0, false)
                    && self.texts(one.1, another.1, false)
                    && one.2.is_empty() == another.2.is_empty()
                    // What makes a name unique may come from the request, so that only the whole place is its own.
                    && self.is_paired(here, there)
            }
            (one, another) => one.is_some() == another.is_some() && self.texts(here, there, false),
        }
    }

    fn texts(&mut self, here: &str, there: &str, is_random: bool) -> bool {
        if here == there {
            return true;
        }
        if is_random {
            return self.is_paired(here, there);
        }
        let tolerance_ms = if self.is_free { FREE_TOLERANCE_MS } else { TOLERANCE_MS };
        let (here, there) = (parts(here), parts(there));
        here.len() == there.len()
            && here.iter().zip(&there).all(|pair| match pair {
                (Part::Random(one), Part::Random(another)) => self.is_paired(one, another),
                (Part::Moment(one), Part::Moment(another)) => one.abs_diff(*another) <= tolerance_ms,
                (one, another) => one == another,
            })
    }

    /// Whether they belong together: the one never stands where another stood.
    fn is_paired(&mut self, here: &str, there: &str) -> bool {
        let known_there = self.there.entry(here.to_owned()).or_insert_with(|| there.to_owned());
        let known_here = self.here.entry(there.to_owned()).or_insert_with(|| here.to_owned());
        known_there == there && known_here == here
    }
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut plain, mut at) = (0, 0);
    while at < text.len() {
        match special(text, at) {
            Some((part, length)) => {
                parts.push(Part::Plain(&text[plain..at]));
                parts.push(part);
                at += length;
                plain = at;
            }
            None => at += text[at..].chars().next().map_or(1, char::len_utf8),
        }
    }
    parts.push(Part::Plain(&text[plain..]));
    parts
}

fn special(text: &str, at: usize) -> Option<(Part<'_>, usize)> {
    let run = |is_inside: fn(u8) -> bool| text[at..].bytes().take_while(|byte| is_inside(*byte)).count();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric();
    if at > 0 && is_word(text.as_bytes()[at - 1]) {
        return None;
    }
    if let Some(word) = text.get(at..at + 36).filter(|word| id::is_uuid(word)) {
        return Some((Part::Random(word), 36));
    }
    if let Some(moment) = text.get(at..at + 24).and_then(time::parse) {
        return Some((Part::Moment(moment), 24));
    }
    if text[at..].starts_with("mas_") {
        let length = run(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        return Some((Part::Random(&text[at..at + length]), length));
    }
    match run(|byte| byte.is_ascii_hexdigit()) {
        length @ (32 | 64) => Some((Part::Random(&text[at..at + length]), length)),
        13 => Some((Part::Moment(text[at..at + 13].parse().ok()?), 13)),
        _ => None,
    }
}
