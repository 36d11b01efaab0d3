//! From a file to a plan and everything there is to say about it. Every command begins here.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::diagnostic::{Diagnostic, PLAN, Severity, Source};
use super::draft::{self, Draft};
use super::model::Plan;
use super::node::{self, BYTES_MAX};
use super::{codes, conform, files, format, references, territory};

/// Findings told of one plan; more would hide the first ones.
const FINDINGS_MAX: usize = 100;

/// A plan as far as it could be read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The plan; only when nothing is wrong with it.
    pub plan: Option<Plan>,
    /// Everything found, in the order of the sources.
    pub diagnostics: Vec<Diagnostic>,
    /// What labels point into: the plan first, then templates.
    pub sources: Vec<Source>,
    /// Findings beyond the limit.
    pub untold: usize,
}

impl Loaded {
    /// How many findings are of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == severity)
            .count()
    }
}

/// Reads and checks a plan file with its prompts and specifications. `name` is how messages call it.
pub fn load(plan_file: &Path, name: &str) -> Loaded {
    let source = |text: String| {
        vec![Source {
            name: name.to_owned(),
            text,
        }]
    };
    match read_file(plan_file, name) {
        Ok(text) => {
            let directory = match plan_file.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                Some(_) | None => Path::new("."),
            };
            check(source(text), Some(directory))
        }
        Err(diagnostic) => Loaded {
            plan: None,
            diagnostics: vec![*diagnostic],
            sources: source(String::new()),
            untold: 0,
        },
    }
}

/// Reads and checks a plan's text alone: prompts and specifications are not looked for.
pub fn parse(text: &str, name: &str) -> Loaded {
    check(
        vec![Source {
            name: name.to_owned(),
            text: text.to_owned(),
        }],
        None,
    )
}

fn check(mut sources: Vec<Source>, directory: Option<&Path>) -> Loaded {
    let text = sources.get(PLAN).map(|source| source.text.clone()).unwrap_or_default();
    let tree = match size(&text).map_or_else(|| node::read(&text), |diagnostic| Err(Box::new(diagnostic))) {
        Ok(tree) => tree,
        Err(diagnostic) => {
            return Loaded {
                plan: None,
                diagnostics: vec![*diagnostic],
                sources,
                untold: 0,
            };
        }
    };
    let draft = draft::read(&tree);
    let mut diagnostics = conform::conform(&tree, &format::PLAN);
    if draft_has_phases(&draft) {
        diagnostics.extend(references::check(&draft));
        diagnostics.extend(territory::check(&draft));
    }
    let mut plan = if has_errors(&diagnostics) { None } else { draft.build() };
    if let Some(directory) = directory {
        diagnostics.extend(files::check(&draft, plan.as_ref(), directory, &mut sources));
    }
    if has_errors(&diagnostics) {
        plan = None;
    }
    for diagnostic in &mut diagnostics {
        diagnostic.disarm();
        diagnostic.keep_quotes(&text);
    }
    diagnostics.sort_by_key(Diagnostic::order);
    // A value that several places alias is wrong once.
    let mut seen = std::collections::BTreeSet::new();
    diagnostics.retain(|diagnostic| seen.insert((diagnostic.code, diagnostic.order(), diagnostic.title.clone())));
    let untold = diagnostics.len().saturating_sub(FINDINGS_MAX);
    if untold > 0 {
        // Errors first: a plan with an error must never look like one with warnings only.
        diagnostics.sort_by_key(|diagnostic| diagnostic.severity);
        diagnostics.truncate(FINDINGS_MAX);
        diagnostics.sort_by_key(Diagnostic::order);
    }
    Loaded {
        plan,
        diagnostics,
        sources,
        untold,
    }
}

fn draft_has_phases(draft: &Draft<'_>) -> bool {
    !draft.phases.is_empty()
}

fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics
        .iter()
        .any(|diagnostic| diagnostic.severity == Severity::Error)
}

fn size(text: &str) -> Option<Diagnostic> {
    (text.len() > BYTES_MAX).then(too_large)
}

fn too_large() -> Diagnostic {
    Diagnostic::new(codes::TOO_MUCH, "the plan is too large")
        .note(format!("a plan has at most {BYTES_MAX} bytes"))
        .help("prompts and specifications belong into files of their own")
}

fn read_file(plan_file: &Path, name: &str) -> Result<String, Box<Diagnostic>> {
    let unreadable =
        |note: String| Box::new(Diagnostic::new(codes::UNREADABLE, format!("`{name}` cannot be read")).note(note));
    // Asked before opening: opening a named pipe would wait for a writer.
    let metadata = std::fs::metadata(plan_file).map_err(|error| {
        let diagnostic = unreadable(error.to_string());
        Box::new(if error.kind() == std::io::ErrorKind::NotFound {
            diagnostic.help("run `orchestrate init` to write one, or name it with `--plan FILE`")
        } else {
            *diagnostic
        })
    })?;
    if !metadata.is_file() {
        return Err(unreadable("it is not a regular file".to_owned()));
    }
    let limit = BYTES_MAX as u64;
    if metadata.len() > limit {
        return Err(Box::new(too_large()));
    }
    let mut bytes = Vec::new();
    File::open(plan_file)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() > BYTES_MAX {
        return Err(Box::new(too_large()));
    }
    String::from_utf8(bytes)
        .map_err(|error| unreadable(format!("byte {} is not UTF-8", error.utf8_error().valid_up_to() + 1)))
}
