//! Checks what a plan points to: prompts that exist and render, specifications that are there.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use super::codes::{self, Code};
use super::diagnostic::{Diagnostic, PLAN, Source, Suggestion, nearest};
use super::draft::{Draft, Placed};
use super::model::Plan;
use crate::ids::{Actor, AgentId, Attempt, TeamId};
use crate::prompt::{self, ConflictText, Fault, FaultKind, Library, Prompts, Recipient};

/// A prompt that the plan names.
struct Named<'d> {
    prompt: &'d Placed<String>,
    actor: Option<Actor>,
    who: String,
    is_agent: bool,
}

/// Everything about files. Templates with mistakes are added to the sources.
pub(super) fn check(
    draft: &Draft<'_>,
    plan: Option<&Plan>,
    directory: &Path,
    sources: &mut Vec<Source>,
) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    specs(draft, directory, &mut findings);
    let Ok(library) = Library::read(&directory.join(&draft.prompts.value)) else {
        let diagnostic = Diagnostic::new(
            codes::MISSING_PROMPTS,
            format!("there is no directory `{}` with prompts", draft.prompts.value),
        );
        findings.push(
            placed(diagnostic, &draft.prompts, "looked for beside the plan")
                .help("create it, or set `prompts:` to the directory that has the templates"),
        );
        return findings;
    };
    let named = named(draft);
    for named in &named {
        if !library.texts.contains_key(&named.prompt.value) {
            findings.push(missing_prompt(draft, &library, named));
        }
    }
    let mut templates = Templates {
        sources,
        at: BTreeMap::new(),
        prefix: &draft.prompts.value,
        library: &library,
    };
    // Where the plan names a template, to show it beside a mistake in it.
    let used: BTreeMap<&str, &Named<'_>> = named
        .iter()
        .rev()
        .map(|named| (named.prompt.value.as_str(), named))
        .collect();
    findings.extend(library.unreadable.iter().map(|(name, reason)| {
        let diagnostic = Diagnostic::new(codes::TEMPLATE_FAILS, format!("the template `{name}` cannot be read"))
            .note(reason.clone());
        match used.get(name.as_str()) {
            Some(named) => diagnostic.at(named.prompt.span.clone(), format!("used here by {}", named.who)),
            None => diagnostic,
        }
    }));
    let spec_files = plan.map(|plan| prompt::spec_files(directory, plan)).unwrap_or_default();
    let (prompts, faults) = Prompts::compile(&library, spec_files);
    let broken: BTreeSet<String> = faults.iter().map(|fault| fault.template.clone()).collect();
    findings.extend(
        faults
            .iter()
            .map(|fault| templates.finding(fault, used.get(fault.template.as_str()).copied(), &[])),
    );
    // The same mistake in a partial is one mistake, however many prompts include it.
    let mut told: BTreeSet<(String, Option<usize>)> = BTreeSet::new();
    for named in named
        .iter()
        .filter(|named| library.texts.contains_key(&named.prompt.value))
    {
        let known = prompt::known_variables(&named.prompt.value, named.is_agent);
        let mut unknown = templates.unknown_variables(&prompts, &named.prompt.value, &known);
        if unknown.is_empty()
            && !broken.contains(&named.prompt.value)
            && let (Some(plan), Some(actor)) = (plan, &named.actor)
        {
            let to = Recipient {
                plan,
                actor,
                attempt: Attempt(1),
                fresh: false,
                conflict: None,
            };
            let again = Recipient {
                attempt: Attempt(2),
                ..to
            };
            match prompts
                .render_first(to)
                .and_then(|text| prompts.render_first(again).map(|_| text))
            {
                Ok(text) => findings.extend(silent(plan, actor, named, &text, broken.is_empty())),
                Err(prompt::PromptError::Fault(fault)) => unknown.push(fault),
                Err(error) => findings.push(
                    Diagnostic::new(codes::TEMPLATE_FAILS, error.to_string())
                        .at(named.prompt.span.clone(), format!("used here by {}", named.who)),
                ),
            }
        }
        for fault in unknown {
            if told.insert((fault.template.clone(), fault.span.as_ref().map(|span| span.start))) {
                findings.push(templates.finding(&fault, Some(named), &known));
            }
        }
    }
    shared(plan, &prompts, &broken, &mut templates, &mut told, &mut findings);
    findings
}

/// The templates that serve every actor are rendered for the first agent and the first leader.
fn shared(
    plan: Option<&Plan>,
    prompts: &Prompts,
    broken: &BTreeSet<String>,
    templates: &mut Templates<'_>,
    told: &mut BTreeSet<(String, Option<usize>)>,
    findings: &mut Vec<Diagnostic>,
) {
    for name in prompt::SHARED_TEMPLATES {
        let known = prompt::known_variables(name, false);
        let mut faults = templates.unknown_variables(prompts, name, &known);
        if let Some(plan) = plan
            && faults.is_empty()
            && broken.is_empty()
            && !has_errors(findings)
        {
            let agent = plan.agents().next().map(|(_, agent)| Actor::Agent(agent.id.clone()));
            let leader = plan.teams().next().map(|team| Actor::Leader(team.id.clone()));
            for actor in [agent, leader].into_iter().flatten() {
                for fresh in [false, true] {
                    let to = Recipient {
                        plan,
                        actor: &actor,
                        attempt: Attempt(2),
                        fresh,
                        conflict: None,
                    };
                    let rendered = match name {
                        "retry.md.tera" => prompts.render_retry(to, "a reason", "some output"),
                        "answer.md.tera" => prompts.render_answer(to, "a question?", "an answer"),
                        "resume.md.tera" => prompts.render_continue(to),
                        _ => prompts.render_conflict(
                            to,
                            &ConflictText {
                                source: "a-branch".to_owned(),
                                target: "another-branch".to_owned(),
                                paths: vec!["a/path".to_owned()],
                                prompts: vec!["a/prompt".to_owned()],
                                guidance: "words".to_owned(),
                                ..ConflictText::default()
                            },
                        ),
                    };
                    if let Err(prompt::PromptError::Fault(fault)) = rendered {
                        faults.push(fault);
                    }
                }
            }
        }
        for fault in faults {
            if told.insert((fault.template.clone(), fault.span.as_ref().map(|span| span.start))) {
                findings.push(templates.finding(&fault, None, &known));
            }
        }
    }
}

fn has_errors(findings: &[Diagnostic]) -> bool {
    findings
        .iter()
        .any(|finding| finding.severity == super::diagnostic::Severity::Error)
}

fn specs(draft: &Draft<'_>, directory: &Path, findings: &mut Vec<Diagnostic>) {
    let path = directory.join(&draft.specs.value);
    let title = if !path.is_dir() {
        format!("there is no directory `{}` with specifications", draft.specs.value)
    } else if std::fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none()) {
        format!("the directory `{}` holds no specifications", draft.specs.value)
    } else {
        return;
    };
    findings.push(
        placed(
            Diagnostic::new(codes::MISSING_SPECS, title),
            &draft.specs,
            "looked for beside the plan",
        )
        .note("agents are told to read every file in it before they start")
        .help("create it, or set `specs:` to the directory that has them"),
    );
}

/// A value that the plan does not give has no place; the text then says where the name comes from.
fn placed(diagnostic: Diagnostic, value: &Placed<String>, label: &str) -> Diagnostic {
    if value.span.is_empty() {
        diagnostic.note(format!("`{}` is what holds when the plan does not say", value.value))
    } else {
        diagnostic.at(value.span.clone(), label)
    }
}

fn named<'d>(draft: &'d Draft<'_>) -> Vec<Named<'d>> {
    let mut named = Vec::new();
    for (_, team) in draft.teams() {
        named.extend(team.leader_prompt.iter().map(|prompt| Named {
            prompt,
            actor: team.id.as_ref().map(|id| Actor::Leader(TeamId::new(&id.value))),
            who: format!("the leader of {}", team.named()),
            is_agent: false,
        }));
        for agent in &team.agents {
            named.extend(agent.prompt.iter().map(|prompt| Named {
                prompt,
                actor: agent.id.as_ref().map(|id| Actor::Agent(AgentId::new(&id.value))),
                who: agent.named(),
                is_agent: true,
            }));
        }
    }
    named
}

fn missing_prompt(draft: &Draft<'_>, library: &Library, named: &Named<'_>) -> Diagnostic {
    let written = &named.prompt.value;
    let near = nearest(written, library.own.iter().map(String::as_str));
    let with_prefix = written
        .strip_prefix(&format!("{}/", draft.prompts.value))
        .filter(|rest| library.texts.contains_key(*rest));
    let diagnostic = Diagnostic::new(
        codes::MISSING_PROMPT,
        format!("the prompt of {} does not exist", named.who),
    )
    .at(
        named.prompt.span.clone(),
        format!("there is no `{}/{written}`", draft.prompts.value),
    );
    if let Some(rest) = with_prefix {
        diagnostic
            .note("prompts are named relative to the prompts' directory")
            .did_you_mean(named.prompt.span.clone(), Some(rest.to_owned()))
    } else if near.is_some() {
        diagnostic.did_you_mean(named.prompt.span.clone(), near)
    } else if written.ends_with(".tera") {
        diagnostic.help("write the template, or name one that is there")
    } else {
        diagnostic.help("prompts are files that end with `.tera`, for example `agent-1-2.md.tera`")
    }
}

/// A prompt that never says which commit completes the work makes an agent that never completes.
fn silent(plan: &Plan, actor: &Actor, named: &Named<'_>, text: &str, all_whole: bool) -> Option<Diagnostic> {
    let line = plan.completion_line(actor);
    (all_whole && !text.contains(&line)).then(|| {
        Diagnostic::new(
            codes::SILENT_PROMPT,
            format!("the prompt of {} does not say how its work is completed", named.who),
        )
        .at(
            named.prompt.span.clone(),
            "rendered, this does not hold the completing line",
        )
        .note(format!("the line is `{line}`"))
        .help("write `{{ completion_line }}` into the template, or include `partials/commit-convention.md.tera`")
    })
}

struct Templates<'s> {
    sources: &'s mut Vec<Source>,
    /// Positions of the templates that are sources already.
    at: BTreeMap<String, usize>,
    prefix: &'s str,
    library: &'s Library,
}

impl Templates<'_> {
    fn source(&mut self, template: &str) -> Option<usize> {
        if let Some(index) = self.at.get(template) {
            return Some(*index);
        }
        let text = self.library.texts.get(template)?.clone();
        let name = if self.library.own.contains(template) {
            format!("{}/{template}", self.prefix)
        } else {
            format!("{template} (built in)")
        };
        self.sources.push(Source { name, text });
        self.at.insert(template.to_owned(), self.sources.len() - 1);
        Some(self.sources.len() - 1)
    }

    fn finding(&mut self, fault: &Fault, named: Option<&Named<'_>>, known: &[&str]) -> Diagnostic {
        let (code, title): (Code, String) = match fault.kind {
            FaultKind::Syntax => (
                codes::TEMPLATE_SYNTAX,
                format!("the template `{}` is not valid", fault.template),
            ),
            FaultKind::UnknownVariable => (
                codes::UNKNOWN_VARIABLE,
                format!("the template `{}` uses something that does not exist", fault.template),
            ),
            FaultKind::UnknownTemplate => (
                codes::UNKNOWN_TEMPLATE,
                format!("the template `{}` needs one that does not exist", fault.template),
            ),
            FaultKind::Fails => (
                codes::TEMPLATE_FAILS,
                format!("the template `{}` does not render", fault.template),
            ),
        };
        // The engine lists all that there is; the help below does it better.
        let message = fault.message.split(". Available").next().unwrap_or_default().to_owned();
        let available = fault
            .message
            .split_once(". Available ")
            .map(|(_, available)| available.to_owned());
        let mut diagnostic = Diagnostic::new(code, title);
        let place = fault
            .span
            .clone()
            .and_then(|span| Some((self.source(&fault.template)?, span)));
        match place {
            Some((source, span)) => {
                let text = self.sources.get(source).map_or("", |source| &source.text);
                let written = text.get(span.clone()).unwrap_or_default().to_owned();
                if fault.kind == FaultKind::Syntax && message.contains("end of input") {
                    diagnostic = diagnostic
                        .help("something above is not closed: a `{{`, or an `if`, `for` or `block` without its end");
                }
                diagnostic = diagnostic.label(source, span.clone(), message, true);
                if fault.kind == FaultKind::UnknownVariable {
                    let (name, offset) = last_name(&written);
                    let candidates: Vec<&str> = match &available {
                        Some(available) => available
                            .split(':')
                            .nth(1)
                            .unwrap_or_default()
                            .split(',')
                            .map(str::trim)
                            .collect(),
                        None => known.to_vec(),
                    };
                    if let Some(near) = nearest(name, candidates) {
                        let span = span.start + offset..span.start + offset + name.len();
                        diagnostic.suggestion = Some(Suggestion {
                            source,
                            span,
                            title: format!("did you mean `{near}`?"),
                            replacement: near,
                        });
                    } else if let Some(available) = available {
                        diagnostic = diagnostic.help(format!(
                            "there are {}",
                            available.replacen("variables: ", "", 1).replacen("fields: ", "", 1)
                        ));
                    } else if !known.is_empty() {
                        diagnostic = diagnostic.help(format!("there are {}", known.join(", ")));
                    }
                }
            }
            None => diagnostic = diagnostic.note(message),
        }
        if let Some(named) = named {
            let is_primary = diagnostic.labels.is_empty();
            diagnostic = diagnostic.label(
                PLAN,
                named.prompt.span.clone(),
                format!("used here by {}", named.who),
                is_primary,
            );
        }
        diagnostic
    }

    /// Variables that no rendering provides, also those in conditions, where an unknown one would silently count as false.
    fn unknown_variables(&self, prompts: &Prompts, template: &str, known: &[&str]) -> Vec<Fault> {
        let mut faults: Vec<Fault> = prompts
            .variables_used(template)
            .into_iter()
            .filter(|name| !known.contains(&name.as_str()))
            .flat_map(|name| {
                let places: Vec<(String, Range<usize>)> = self.places_of(template, &name);
                places.into_iter().map(move |(template, span)| Fault {
                    kind: FaultKind::UnknownVariable,
                    template,
                    span: Some(span),
                    message: format!("variable `{name}` does not exist here"),
                })
            })
            .collect();
        for (current, text) in self.reached(template) {
            for (object, fields) in prompt::FIELDS.iter().filter(|(object, _)| known.contains(object)) {
                for span in unknown_fields(text, object, fields) {
                    faults.push(Fault {
                        kind: FaultKind::UnknownVariable,
                        template: current.clone(),
                        message: format!("`{object}` has no such field. Available fields: {}", fields.join(", ")),
                        span: Some(span),
                    });
                }
            }
        }
        faults
    }

    /// A template and all that it includes or extends, with their texts: anything quoted that names a template is looked into.
    fn reached(&self, template: &str) -> Vec<(String, &str)> {
        let mut open = vec![template.to_owned()];
        let mut seen = BTreeSet::new();
        let mut reached = Vec::new();
        while let Some(current) = open.pop() {
            let Some(text) = self.library.texts.get(&current) else {
                continue;
            };
            if !seen.insert(current.clone()) {
                continue;
            }
            for tag in tags_of(text) {
                let code = text.get(tag).unwrap_or_default();
                open.extend(
                    code.split(['"', '\''])
                        .filter(|part| self.library.texts.contains_key(*part))
                        .map(str::to_owned),
                );
            }
            reached.push((current, text.as_str()));
        }
        reached
    }

    /// Where a template, or one that it includes or extends, uses a name as a variable.
    fn places_of(&self, template: &str, name: &str) -> Vec<(String, Range<usize>)> {
        for (current, text) in self.reached(template) {
            for tag in tags_of(text) {
                if let Some(offset) = variable_in(text.get(tag.clone()).unwrap_or_default(), name) {
                    let start = tag.start + offset;
                    return vec![(current, start..start + name.len())];
                }
            }
        }
        Vec::new()
    }
}

/// The name behind the last dot, and where it starts.
fn last_name(written: &str) -> (&str, usize) {
    let offset = written.rfind('.').map_or(0, |dot| dot + 1);
    let name = written.get(offset..).unwrap_or_default();
    let length = name
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(name.len());
    (name.get(..length).unwrap_or_default(), offset)
}

/// The insides of `{{ }}` and `{% %}`.
fn tags_of(text: &str) -> Vec<Range<usize>> {
    let mut tags = Vec::new();
    let mut from = 0;
    while let Some(open) = text
        .get(from..)
        .and_then(|rest| rest.find('{'))
        .map(|offset| from + offset)
    {
        let closing = match text.as_bytes().get(open + 1) {
            Some(b'{') => "}}",
            Some(b'%') => "%}",
            Some(b'#') => "#}",
            Some(_) | None => {
                from = open + 1;
                continue;
            }
        };
        let Some(length) = text.get(open..).and_then(|rest| rest.find(closing)) else {
            break;
        };
        if closing != "#}" {
            tags.push(open + 2..open + length);
        }
        from = open + length + closing.len();
    }
    tags
}

/// Uses of fields that a variable does not have, also where no rendering comes by. A name that the template binds itself is left alone.
fn unknown_fields(text: &str, object: &str, fields: &[&str]) -> Vec<Range<usize>> {
    let tags = tags_of(text);
    let binds = |code: &str| {
        let words: Vec<&str> = code
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .filter(|word| !word.is_empty())
            .collect();
        match words.first() {
            Some(&"for") => words
                .iter()
                .skip(1)
                .take_while(|word| **word != "in")
                .any(|word| *word == object),
            Some(&("set" | "set_global")) => words.get(1) == Some(&object),
            Some(_) | None => false,
        }
    };
    if tags.iter().any(|tag| binds(text.get(tag.clone()).unwrap_or_default())) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for tag in tags {
        let mut from = tag.start;
        while let Some(offset) = text.get(from..tag.end).and_then(|code| variable_in(code, object)) {
            let start = from + offset;
            let behind = start + object.len();
            from = behind;
            let Some(rest) = text.get(behind..tag.end).and_then(|rest| rest.strip_prefix('.')) else {
                continue;
            };
            let length = rest
                .find(|c: char| !(c.is_alphanumeric() || c == '_'))
                .unwrap_or(rest.len());
            if !fields.contains(&rest.get(..length).unwrap_or_default()) {
                found.push(start..behind + 1 + length);
            }
        }
    }
    found
}

/// Where a name stands as a word of its own that is not a field and not in quotes.
fn variable_in(code: &str, name: &str) -> Option<usize> {
    code.match_indices(name).map(|(offset, _)| offset).find(|offset| {
        let before = code.get(..*offset).unwrap_or_default();
        let after = code.get(offset + name.len()..).unwrap_or_default();
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let quotes = before.chars().filter(|c| *c == '"').count();
        !before.ends_with(|c: char| is_word(c) || c == '.') && !after.starts_with(is_word) && quotes % 2 == 0
    })
}
