//! Findings as data: what is wrong, where, and what helps. Drawing them is `render`'s business.

use std::ops::Range;

use super::codes::Code;

/// A text that labels point into: the plan itself, or a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// How messages call it.
    pub name: String,
    /// All of it.
    pub text: String,
}

/// Which of the sources a label points into: its index. The plan is the first.
pub type SourceIndex = usize;

/// The plan's own text.
pub const PLAN: SourceIndex = 0;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is started.
    Error,
    /// Works, but probably not as meant.
    Warning,
}

impl Severity {
    /// As it is written in messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A place and what there is to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Into which text the span points.
    pub source: SourceIndex,
    /// Bytes.
    pub span: Range<usize>,
    /// What is to be said.
    pub text: String,
    /// The place of the mistake, rather than one that explains it.
    pub primary: bool,
}

/// An edit that would mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// Into which text the span points.
    pub source: SourceIndex,
    /// The bytes to replace.
    pub span: Range<usize>,
    /// With what.
    pub replacement: String,
    /// The question that the edit answers.
    pub title: String,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable; `orchestrate explain` has a page on it.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// One line, lower case.
    pub title: String,
    /// At least one is primary, except when there is no text to point into.
    pub labels: Vec<Label>,
    /// Why.
    pub notes: Vec<String>,
    /// What to do, in words.
    pub help: Vec<String>,
    /// What to do, as an edit.
    pub suggestion: Option<Suggestion>,
}

impl Diagnostic {
    /// A finding without a place yet. Codes that start with `W` are warnings.
    pub fn new(code: Code, title: impl Into<String>) -> Self {
        Self {
            code,
            severity: if code.as_str().starts_with('W') {
                Severity::Warning
            } else {
                Severity::Error
            },
            title: title.into(),
            labels: Vec::new(),
            notes: Vec::new(),
            help: Vec::new(),
            suggestion: None,
        }
    }

    /// Where the mistake is, in the plan.
    #[must_use]
    pub fn at(self, span: Range<usize>, text: impl Into<String>) -> Self {
        self.label(PLAN, span, text, true)
    }

    /// A place in the plan that explains it.
    #[must_use]
    pub fn context(self, span: Range<usize>, text: impl Into<String>) -> Self {
        self.label(PLAN, span, text, false)
    }

    /// A place in any source.
    #[must_use]
    pub fn label(mut self, source: SourceIndex, span: Range<usize>, text: impl Into<String>, primary: bool) -> Self {
        self.labels.push(Label {
            source,
            span,
            text: text.into(),
            primary,
        });
        self
    }

    /// Why it is so.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// What to do, in words.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }

    /// `did you mean` as an edit of the plan, if there is something close enough.
    #[must_use]
    pub fn did_you_mean(mut self, span: Range<usize>, replacement: Option<String>) -> Self {
        self.suggestion = replacement.map(|replacement| Suggestion {
            source: PLAN,
            span,
            title: format!("did you mean `{replacement}`?"),
            replacement,
        });
        self
    }

    /// An edit of a quoted text stays quoted, and an id such as `1.1` is never suggested bare: it would become a number.
    pub(super) fn keep_quotes(&mut self, plan: &str) {
        let Some(suggestion) = self.suggestion.as_mut().filter(|suggestion| suggestion.source == PLAN) else {
            return;
        };
        let quote = plan
            .get(suggestion.span.clone())
            .and_then(|written| written.chars().next())
            .filter(|c| matches!(c, '"' | '\''));
        let is_number = suggestion.replacement.contains('.') && suggestion.replacement.parse::<f64>().is_ok();
        if let Some(quote) = quote.or(is_number.then_some('"')) {
            suggestion.replacement = format!("{quote}{}{quote}", suggestion.replacement);
        }
    }

    /// Takes control characters out of words that quote the plan: they would reach a terminal.
    pub(super) fn disarm(&mut self) {
        let words = std::iter::once(&mut self.title)
            .chain(self.labels.iter_mut().map(|label| &mut label.text))
            .chain(&mut self.notes)
            .chain(&mut self.help)
            .chain(
                self.suggestion
                    .iter_mut()
                    .flat_map(|suggestion| [&mut suggestion.title, &mut suggestion.replacement]),
            );
        for word in words {
            if word.contains(char::is_control) {
                *word = word
                    .chars()
                    .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
                    .collect();
            }
        }
    }

    /// Where it belongs among the others: by source, then by place.
    pub(super) fn order(&self) -> (SourceIndex, usize, usize) {
        self.labels
            .iter()
            .find(|label| label.primary)
            .map_or((PLAN, 0, 0), |label| (label.source, label.span.start, label.span.end))
    }
}

/// The candidate nearest to `written`, if it is near enough to be a slip of the pen.
pub(crate) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let lowered = written.to_lowercase();
    let tolerance = match written.chars().count() {
        0..=2 => 0,
        3..=5 => 1,
        6..=9 => 2,
        _ => 3,
    };
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&lowered, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= tolerance && *candidate != written)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.to_owned())
}
