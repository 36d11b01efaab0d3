//! YAML into a tree in which every key and value knows its place, so that decoding can go on after a mistake.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::{DuplicateKeyPolicy, Error, Location, MergeKeyPolicy, NonFiniteFloatPolicy, Spanned};

use super::codes;
use super::diagnostic::Diagnostic;

/// Bytes of a plan; the shipped one has 17,000.
pub(super) const BYTES_MAX: usize = 1 << 20;
/// A plan is six deep; the rest is room for growth.
const DEPTH_MAX: usize = 24;
/// Keys, values and containers, counted after aliases are replayed.
const NODES_MAX: usize = 50_000;
/// Anchors are for settings that several agents share.
const ANCHORS_MAX: usize = 256;
const ALIASES_MAX: usize = 1_024;

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Where the value stands; for an alias, where the alias stands.
    pub(super) span: Range<usize>,
    /// Where the text to be edited stands: differs from `span` for an alias.
    pub(super) defined: Range<usize>,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Null,
    Boolean(bool),
    /// As it is written, so that `1.10` is not `1.1`.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A mapping's key with its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) span: Range<usize>,
}

impl Node {
    /// The value as messages name it.
    pub(super) fn described(&self) -> String {
        match &self.kind {
            Kind::Null => "nothing".to_owned(),
            Kind::Boolean(value) => format!("`{value}`"),
            Kind::Number(text) => format!("the number {text}"),
            Kind::Text(text) if text.is_empty() => "an empty text".to_owned(),
            Kind::Text(text) => format!("the text `{}`", shortened(text)),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a mapping".to_owned(),
        }
    }

    /// The first value under a key.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(key, _)| key.text == name).map(|(_, node)| node),
            Kind::Null | Kind::Boolean(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => None,
        }
    }
}

/// At most forty characters of one line.
pub(super) fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() > 40 || line.len() < text.trim_end().len() {
        format!("{}...", line.chars().take(40).collect::<String>())
    } else {
        line.to_owned()
    }
}

/// Reads a text that is at most [`BYTES_MAX`] long. A mistake in the YAML itself is the only finding then: nothing behind it can be trusted.
pub(super) fn read(text: &str) -> Result<Node, Box<Diagnostic>> {
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_documents: 1,
            max_depth: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_anchors: ANCHORS_MAX,
            max_aliases: ALIASES_MAX,
            max_total_scalar_bytes: 4 * BYTES_MAX,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::Error,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        strict_booleans: true,
        reject_unsupported_tags: true,
        reject_tagged_field_names: true,
        with_snippet: false,
    };
    serde_yaml::from_str_with_options::<Spanned<Raw>>(text, options)
        .map(|raw| located(text, raw))
        .map_err(|error| Box::new(finding(text, &error)))
}

/// The tree as the library hands it over, before places are turned into byte ranges.
enum Raw {
    Null,
    Boolean(bool),
    Number,
    Text(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Boolean(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

fn located(text: &str, raw: Spanned<Raw>) -> Node {
    let mut span = range(text, raw.referenced);
    let mut defined = range(text, raw.defined);
    let aliased = span != defined;
    let kind = match raw.value {
        Raw::Null => Kind::Null,
        Raw::Boolean(value) => Kind::Boolean(value),
        Raw::Number => Kind::Number(text.get(defined.clone()).unwrap_or_default().to_owned()),
        Raw::Text(value) => Kind::Text(value),
        Raw::List(items) => {
            let items: Vec<Node> = items.into_iter().map(|item| located(text, item)).collect();
            defined = first_line(text, defined.start, items.last().map(|item| item.defined.end));
            Kind::List(items)
        }
        Raw::Map(entries) => {
            let entries: Vec<(Key, Node)> = entries
                .into_iter()
                .map(|(key, value)| {
                    let span = range(text, key.defined);
                    (Key { text: key.value, span }, located(text, value))
                })
                .collect();
            defined = first_line(text, defined.start, entries.last().map(|(_, node)| node.defined.end));
            Kind::Map(entries)
        }
    };
    if !aliased {
        span = defined.clone();
    }
    Node { kind, span, defined }
}

/// The library knows only where a container starts. What is shown of it is its first line.
fn first_line(text: &str, start: usize, last_end: Option<usize>) -> Range<usize> {
    let rest = text.get(start..).unwrap_or_default();
    let line_end = start + rest.find(['\n', '\r']).unwrap_or(rest.len());
    let closing = match rest.as_bytes().first() {
        Some(b'[') => Some(']'),
        Some(b'{') => Some('}'),
        Some(_) | None => None,
    };
    let content_end = last_end.unwrap_or(start).max(start);
    let end = match closing {
        Some(closing) => {
            let behind = text.get(content_end..).unwrap_or_default();
            behind
                .find(closing)
                .map_or(content_end, |offset| content_end + offset + 1)
        }
        None => content_end,
    };
    let end = end.min(line_end);
    start..if end > start { end } else { line_end.min(start + 1) }
}

/// A place in bytes. Places without a byte offset (the scanner's) are found through their line and column.
fn range(text: &str, location: Location) -> Range<usize> {
    let span = location.span();
    let as_index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    match (span.byte_offset(), span.byte_len()) {
        (Some(offset), Some(length)) => {
            let start = floor(text, as_index(offset));
            start..floor(text, start.saturating_add(as_index(length)))
        }
        _ => {
            let line_index = as_index(location.line()).saturating_sub(1);
            let column_index = as_index(location.column()).saturating_sub(1);
            let line_start = text.split_inclusive('\n').take(line_index).map(str::len).sum::<usize>();
            let line = text
                .get(line_start..)
                .unwrap_or_default()
                .lines()
                .next()
                .unwrap_or_default();
            let start = line_start
                + line
                    .char_indices()
                    .nth(column_index)
                    .map_or(line.len(), |(index, _)| index);
            start..floor(text, start + 1)
        }
    }
}

fn floor(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

fn finding(text: &str, error: &Error) -> Diagnostic {
    let error = error.without_snippet();
    let place = error.location().map(|location| range(text, location));
    let said = error.to_string();
    let words = said.split(" at line ").next().unwrap_or_default();
    let words = words
        .rsplit_once(": at ")
        .map_or(words, |(words, _)| words)
        .trim_end_matches('.')
        .to_owned();
    let limited = matches!(
        error,
        Error::Budget { .. }
            | Error::AliasReplayLimitExceeded { .. }
            | Error::AliasExpansionLimitExceeded { .. }
            | Error::AliasReplayStackDepthExceeded { .. }
            | Error::AliasReplayCounterOverflow { .. }
    ) || words.contains("recursion limit")
        || words.contains("budget breached");
    let (diagnostic, label) = if words.contains("budget breached: Documents") {
        let diagnostic = Diagnostic::new(codes::SYNTAX, "a plan is one YAML document")
            .help("remove the `---`, or put the second document into a file of its own");
        (diagnostic, "a second document begins here".to_owned())
    } else if limited {
        let diagnostic = Diagnostic::new(codes::TOO_MUCH, "the plan is too much to read")
            .note(format!(
                "a plan may be {DEPTH_MAX} levels deep, hold {NODES_MAX} values (aliases replayed), {ANCHORS_MAX} anchors and {ALIASES_MAX} aliases"
            ));
        (diagnostic, "the limit is reached here".to_owned())
    } else if matches!(error, Error::MergeKeyNotAllowed { .. }) {
        let diagnostic = Diagnostic::new(codes::SYNTAX, "merge keys are not part of the format")
            .note("`<<` would hide what an agent really gets; a plain alias of a whole value is fine")
            .help("write the keys out, or move what is common to the `agent` defaults");
        (diagnostic, "`<<` stands here".to_owned())
    } else {
        let diagnostic = Diagnostic::new(codes::SYNTAX, "the plan is not valid YAML")
            .help("look at the lines above as well: a bracket or quote that is never closed is noticed late");
        (diagnostic, words)
    };
    match place {
        Some(place) => diagnostic.at(place, label),
        None => diagnostic.note(label),
    }
}
