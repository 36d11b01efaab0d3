//! Draws findings: for people like a compiler does, for programs as JSON.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Patch, Renderer, Snippet};
use serde_json::{Value, json};

use super::diagnostic::{Diagnostic, Label, PLAN, Severity, Source};
use super::load::Loaded;

/// All findings, drawn one below the other, each with the text it points at.
pub fn text(loaded: &Loaded, coloured: bool) -> String {
    let renderer = if coloured {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let mut drawn = String::new();
    for diagnostic in &loaded.diagnostics {
        drawn.push_str(&renderer.render(&groups(diagnostic, &loaded.sources)));
        drawn.push_str("\n\n");
    }
    if loaded.untold > 0 {
        drawn.push_str(&format!("... and {} more\n\n", loaded.untold));
    }
    drawn
}

/// What stands under the findings: how many there are, and which command says more. `None` when there are none.
pub fn verdict(loaded: &Loaded) -> Option<(String, String)> {
    let first = loaded.diagnostics.iter().min_by_key(|diagnostic| diagnostic.severity)?;
    let name = loaded.sources.get(PLAN).map_or("the plan", |source| &source.name);
    let counted = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let more = if loaded.untold > 0 { "at least " } else { "" };
    let errors = counted(loaded.count(Severity::Error), "error");
    let warnings = counted(loaded.count(Severity::Warning), "warning");
    let verdict = match (loaded.count(Severity::Error), loaded.count(Severity::Warning)) {
        (0, _) => format!("{name} has {more}{warnings}"),
        (_, 0) => format!("{name} has {more}{errors}; nothing was started"),
        (_, _) => format!("{name} has {more}{errors} and {warnings}; nothing was started"),
    };
    Some((verdict, format!("run `orchestrate explain {}`", first.code.as_str())))
}

fn groups<'a>(diagnostic: &'a Diagnostic, sources: &'a [Source]) -> Vec<Group<'a>> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level
        .primary_title(diagnostic.title.as_str())
        .id(diagnostic.code.as_str());
    let mut files: Vec<usize> = Vec::new();
    // The file with the primary label first.
    for primary in [true, false] {
        for label in diagnostic.labels.iter().filter(|label| label.primary == primary) {
            if !files.contains(&label.source) {
                files.push(label.source);
            }
        }
    }
    let mut group = Group::with_title(title);
    for file in files {
        if let Some(source) = sources.get(file) {
            let labels = diagnostic.labels.iter().filter(|label| label.source == file);
            group = group.element(
                Snippet::source(source.text.as_str())
                    .path(source.name.as_str())
                    .fold(true)
                    .annotations(labels.map(|label| annotation(label, &source.text))),
            );
        }
    }
    for note in &diagnostic.notes {
        group = group.element(Level::NOTE.message(note.as_str()));
    }
    for help in &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let mut groups = vec![group];
    if let Some(suggestion) = &diagnostic.suggestion
        && let Some(source) = sources.get(suggestion.source)
    {
        let patch = Patch::new(within(&suggestion.span, &source.text), suggestion.replacement.as_str());
        groups.push(
            Group::with_title(Level::HELP.secondary_title(suggestion.title.as_str())).element(
                Snippet::source(source.text.as_str())
                    .path(source.name.as_str())
                    .fold(true)
                    .patch(patch),
            ),
        );
    }
    groups
}

fn annotation<'a>(label: &'a Label, text: &str) -> annotate_snippets::Annotation<'a> {
    let kind = if label.primary {
        AnnotationKind::Primary
    } else {
        AnnotationKind::Context
    };
    kind.span(within(&label.span, text)).label(label.text.as_str())
}

/// The library panics on spans outside of the text; a wrong span must not cost the message.
fn within(span: &Range<usize>, text: &str) -> Range<usize> {
    let clamp = |index: usize| {
        let mut index = index.min(text.len());
        while !text.is_char_boundary(index) {
            index -= 1;
        }
        index
    };
    let start = clamp(span.start);
    start..clamp(span.end).max(start)
}

/// All findings as one document.
pub fn json(loaded: &Loaded) -> Value {
    let name = loaded.sources.get(PLAN).map_or("", |source| &source.name);
    json!({
        "schema": 1,
        "plan": name,
        "valid": loaded.plan.is_some(),
        "errors": loaded.count(Severity::Error),
        "warnings": loaded.count(Severity::Warning),
        "untold": loaded.untold,
        "findings": loaded.diagnostics.iter().map(|diagnostic| finding(diagnostic, &loaded.sources)).collect::<Vec<_>>(),
    })
}

fn finding(diagnostic: &Diagnostic, sources: &[Source]) -> Value {
    json!({
        "code": diagnostic.code.as_str(),
        "severity": diagnostic.severity.word(),
        "title": diagnostic.title,
        "labels": diagnostic.labels.iter().map(|label| {
            let mut value = place(label.source, &label.span, sources);
            if let Value::Object(entries) = &mut value {
                entries.insert("text".to_owned(), json!(label.text));
                entries.insert("primary".to_owned(), json!(label.primary));
            }
            value
        }).collect::<Vec<_>>(),
        "notes": diagnostic.notes,
        "help": diagnostic.help,
        "suggestion": diagnostic.suggestion.as_ref().map(|suggestion| {
            let mut value = place(suggestion.source, &suggestion.span, sources);
            if let Value::Object(entries) = &mut value {
                entries.insert("title".to_owned(), json!(suggestion.title));
                entries.insert("replacement".to_owned(), json!(suggestion.replacement));
            }
            value
        }),
    })
}

/// A place as editors want it: lines and columns from 1, columns in characters; and the bytes.
fn place(source: usize, span: &Range<usize>, sources: &[Source]) -> Value {
    let Some(source) = sources.get(source) else {
        return json!({});
    };
    let span = within(span, &source.text);
    let position = |index: usize| {
        let before = source.text.get(..index).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (
            before.matches('\n').count() + 1,
            before.get(line_start..).unwrap_or_default().chars().count() + 1,
        )
    };
    let ((line, column), (end_line, end_column)) = (position(span.start), position(span.end));
    json!({
        "file": source.name,
        "line": line, "column": column,
        "end_line": end_line, "end_column": end_column,
        "start": span.start, "end": span.end,
    })
}
