//! Checks a tree against the format, and goes on after each mistake.

use std::collections::BTreeMap;
use std::ops::Range;

use super::codes;
use super::diagnostic::{Diagnostic, nearest};
use super::format::{Key, Presence, Shape, Table};
use super::node::{Kind, Node, shortened};
use super::value;

/// Findings of a whole plan against a table.
pub(super) fn conform(plan: &Node, table: &'static Table) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    let start = match &plan.kind {
        Kind::Map(entries) => entries.first().map_or(0..0, |(key, _)| key.span.clone()),
        Kind::Null | Kind::Boolean(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => plan.defined.clone(),
    };
    map(
        plan,
        table,
        &Place {
            name: "the plan".to_owned(),
            span: start,
        },
        &mut findings,
    );
    findings
}

/// Whether one value is what its key asks for. What decoding reads, it reads only after this.
pub(super) fn fits(node: &Node, shape: Shape) -> bool {
    let mut findings = Vec::new();
    shape_of(
        node,
        shape,
        &Place {
            name: String::new(),
            span: 0..0,
        },
        &mut findings,
    );
    findings.is_empty()
}

/// What a value is called, and where its key stands.
struct Place {
    name: String,
    span: Range<usize>,
}

fn map(node: &Node, table: &'static Table, place: &Place, findings: &mut Vec<Diagnostic>) {
    let Kind::Map(entries) = &node.kind else {
        let keys: Vec<String> = table.keys().take(4).map(|key| format!("`{}`", key.name)).collect();
        findings.push(
            wrong_type(node, &format!("{} must be a mapping", place.name))
                .help(format!("write keys such as {}", keys.join(", "))),
        );
        return;
    };
    // What a misspelled key may have been meant to be.
    let missing: Vec<&'static str> = table
        .keys()
        .map(|key| key.name)
        .filter(|name| node.get(name).is_none())
        .collect();
    let mut given: BTreeMap<&str, &Range<usize>> = BTreeMap::new();
    for (key, value) in entries {
        if let Some(first) = given.insert(&key.text, &key.span) {
            findings.push(
                Diagnostic::new(
                    codes::DUPLICATE_KEY,
                    format!("`{}` is given twice", shortened(&key.text)),
                )
                .at(key.span.clone(), "and again here")
                .context(first.clone(), "first given here")
                .help("keep one of them"),
            );
            continue;
        }
        match table.key(&key.text) {
            None => findings.push(unknown_key(&key.text, key.span.clone(), &missing, table)),
            Some(known) => {
                let place = Place {
                    name: format!("`{}`", key.text),
                    span: key.span.clone(),
                };
                key_value(value, known, &place, findings);
            }
        }
    }
    for key in table.keys() {
        if let Presence::Required(code) = key.presence
            && node.get(key.name).is_none()
        {
            findings.push(missing_key(
                key,
                code,
                table,
                place,
                entries.first().map(|(key, _)| key.span.clone()),
            ));
        }
    }
}

fn unknown_key(written: &str, span: Range<usize>, missing: &[&'static str], table: &'static Table) -> Diagnostic {
    let near = nearest(written, missing.iter().copied());
    let known: Vec<&str> = table.keys().map(|key| key.name).collect();
    let diagnostic = Diagnostic::new(
        codes::UNKNOWN_KEY,
        format!("unknown key `{}` in {}", shortened(written), article(table.name)),
    )
    .at(span.clone(), "no such key");
    if near.is_some() {
        diagnostic.did_you_mean(span, near)
    } else {
        diagnostic.help(format!("the keys of {} are {}", article(table.name), known.join(", ")))
    }
}

fn missing_key(key: &Key, code: codes::Code, table: &Table, place: &Place, first: Option<Range<usize>>) -> Diagnostic {
    let span = if place.name == "the plan" || place.name.starts_with("an item") {
        first.unwrap_or_else(|| place.span.clone())
    } else {
        place.span.clone()
    };
    if code == codes::GATE_LEFT_OUT {
        let what = if key.name == "gates" {
            "no gates are configured".to_owned()
        } else {
            format!("the {} gate is left out", key.name)
        };
        let help = if key.name == "gates" {
            "add `gates:` with `agent`, `team` and `main`; a level that needs none says `none`".to_owned()
        } else {
            format!(
                "write `{}: COMMAND`, or `{0}: none` if nothing is to guard this level",
                key.name
            )
        };
        return Diagnostic::new(code, what)
            .at(span, format!("`{}` is missing here", key.name))
            .note("a branch only ever moves to a tree that passed its gate, so a gate is never left out by accident")
            .help(help);
    }
    Diagnostic::new(code, format!("{} has no `{}`", article(table.name), key.name))
        .at(span, format!("`{}` is missing here", key.name))
        .help(format!("add `{}: {}`", key.name, example(key.shape)))
}

fn key_value(node: &Node, key: &Key, place: &Place, findings: &mut Vec<Diagnostic>) {
    if matches!(node.kind, Kind::Null) {
        match key.presence {
            Presence::Optional => {}
            Presence::Required(code) if code == codes::GATE_LEFT_OUT => findings.push(
                Diagnostic::new(code, format!("the gate `{}` is left empty", key.name))
                    .at(place.span.clone(), "nothing is given here")
                    .help(format!(
                        "write `{}: COMMAND`, or `{0}: none` if nothing is to guard this level",
                        key.name
                    )),
            ),
            Presence::Required(_) | Presence::Default(_) => findings.push(
                Diagnostic::new(
                    codes::WRONG_TYPE,
                    format!("{} must be {}", place.name, wanted(key.shape)),
                )
                .at(place.span.clone(), "nothing is given here")
                .help(match key.presence {
                    Presence::Default(default) => format!(
                        "leave the key out (then it is `{default}`), or write `{}: {}`",
                        key.name,
                        example(key.shape)
                    ),
                    Presence::Required(_) | Presence::Optional => {
                        format!("write `{}: {}`", key.name, example(key.shape))
                    }
                }),
            ),
        }
        return;
    }
    shape_of(node, key.shape, place, findings);
}

fn shape_of(node: &Node, shape: Shape, place: &Place, findings: &mut Vec<Diagnostic>) {
    match shape {
        Shape::Map(table) => map(node, table, place, findings),
        Shape::List(of, minimum) => list(node, *of, minimum, place, findings),
        Shape::Version => {
            if !matches!(&node.kind, Kind::Number(text) if text == "1") {
                findings.push(
                    located(
                        Diagnostic::new(codes::UNSUPPORTED_VERSION, "this version of the format is not known"),
                        node,
                        format!("found {}", node.described()),
                    )
                    .help("write `version: 1`; if the plan is newer than that, use a newer orchestrate"),
                );
            }
        }
        Shape::Count => number(
            node,
            place,
            shape,
            |text| value::count(text).map(|count| count >= 1),
            "at least 1",
            findings,
        ),
        Shape::Money => number(
            node,
            place,
            shape,
            |text| value::money(text).map(|money| money.0 > 0),
            "more than 0",
            findings,
        ),
        Shape::Duration => match &node.kind {
            Kind::Text(text) if value::duration(text).is_some() => {}
            Kind::Text(_) | Kind::Number(_) => findings.push(malformed_duration(node, place)),
            Kind::Null | Kind::Boolean(_) | Kind::List(_) | Kind::Map(_) => findings.push(wrong(node, place, shape)),
        },
        Shape::Failures => match &node.kind {
            Kind::Text(text) if value::failures(text).is_some() => {}
            Kind::Text(_) | Kind::Number(_) => findings.push(malformed(node, place, shape)),
            Kind::Null | Kind::Boolean(_) | Kind::List(_) | Kind::Map(_) => findings.push(wrong(node, place, shape)),
        },
        Shape::Id => id(node, place, findings),
        Shape::Text
        | Shape::Choice(_)
        | Shape::Gate
        | Shape::Branch
        | Shape::Directory
        | Shape::File
        | Shape::Glob
        | Shape::EnvironmentName => text(node, shape, place, findings),
    }
}

fn list(node: &Node, of: Shape, minimum: usize, place: &Place, findings: &mut Vec<Diagnostic>) {
    let Kind::List(items) = &node.kind else {
        let diagnostic = wrong_type(node, &format!("{} must be a list", place.name));
        findings.push(match &node.kind {
            Kind::Text(text) => diagnostic.help(format!("write `[{}]`", shortened(text))),
            Kind::Number(text) => diagnostic.help(format!("write `[{text}]`")),
            Kind::Null | Kind::Boolean(_) | Kind::List(_) | Kind::Map(_) => {
                diagnostic.help("write `[a, b]`, or one `- item` a line")
            }
        });
        return;
    };
    if items.len() < minimum {
        findings.push(
            located(
                Diagnostic::new(codes::EMPTY_LIST, format!("{} is empty", place.name)),
                node,
                "nothing is in here".to_owned(),
            )
            .help(format!("{} needs at least one entry", place.name)),
        );
    }
    for item in items {
        let span = match &item.kind {
            Kind::Map(entries) => entries
                .first()
                .map_or_else(|| item.defined.clone(), |(key, _)| key.span.clone()),
            Kind::Null | Kind::Boolean(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => item.defined.clone(),
        };
        shape_of(
            item,
            of,
            &Place {
                name: format!("an item of {}", place.name),
                span,
            },
            findings,
        );
    }
}

fn number(
    node: &Node,
    place: &Place,
    shape: Shape,
    check: impl Fn(&str) -> Option<bool>,
    bound: &str,
    findings: &mut Vec<Diagnostic>,
) {
    match &node.kind {
        Kind::Number(text) => match check(text) {
            Some(true) => {}
            None if text.chars().all(|c| c.is_ascii_digit()) => findings.push(
                located(
                    Diagnostic::new(codes::OUT_OF_RANGE, format!("{} is too large", place.name)),
                    node,
                    format!("found {}", node.described()),
                )
                .help(format!("write for example `{}`", example(shape))),
            ),
            None if !text.starts_with('-') => findings.push(malformed(node, place, shape)),
            Some(false) | None => findings.push(
                located(
                    Diagnostic::new(codes::OUT_OF_RANGE, format!("{} must be {bound}", place.name)),
                    node,
                    format!("found {}", node.described()),
                )
                .help(format!("write for example `{}`", example(shape))),
            ),
        },
        Kind::Text(text) if check(text) == Some(true) => {
            findings.push(wrong(node, place, shape).help(format!("write {text} without quotes")));
        }
        Kind::Null | Kind::Boolean(_) | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => {
            findings.push(wrong(node, place, shape))
        }
    }
}

fn malformed_duration(node: &Node, place: &Place) -> Diagnostic {
    let diagnostic = located(
        Diagnostic::new(
            codes::MALFORMED_VALUE,
            format!("{} must be a duration with a unit", place.name),
        ),
        node,
        format!("found {}", node.described()),
    );
    match &node.kind {
        Kind::Number(text) if value::count(text).is_some_and(|count| count > 0) => {
            diagnostic.help(format!("write `{text}s`, `{text}m` or `{text}h`"))
        }
        _ => diagnostic.help("write for example `45s`, `30m`, `1h30m` or `2d`: more than nothing, at most 365 days"),
    }
}

fn id(node: &Node, place: &Place, findings: &mut Vec<Diagnostic>) {
    match &node.kind {
        Kind::Text(text) if value::is_id(text) => {}
        Kind::Number(text) if text.chars().all(|c| c.is_ascii_digit()) && value::is_id(text) => {}
        Kind::Number(text) if value::is_id(text) => findings.push(
            located(
                Diagnostic::new(codes::INVALID_ID, format!("{} must be quoted", place.name)),
                node,
                "unquoted, this is a number".to_owned(),
            )
            .note("1.10 and 1.1 are the same number, but two ids")
            .help(format!("write `\"{text}\"`")),
        ),
        Kind::Text(_) | Kind::Number(_) => findings.push(
            located(
                Diagnostic::new(codes::INVALID_ID, format!("{} is not an id", place.name)),
                node,
                format!("found {}", node.described()),
            )
            .note("ids become part of commit tags such as [AGENT-1-2], where a dot is written as a hyphen")
            .help("use ASCII letters and digits, in parts divided by single dots, for example `\"1.2\"` or `auth`"),
        ),
        Kind::Null | Kind::Boolean(_) | Kind::List(_) | Kind::Map(_) => findings.push(wrong(node, place, Shape::Id)),
    }
}

fn text(node: &Node, shape: Shape, place: &Place, findings: &mut Vec<Diagnostic>) {
    let Kind::Text(text) = &node.kind else {
        let diagnostic = wrong(node, place, shape);
        findings.push(match &node.kind {
            Kind::Number(number) => diagnostic.help(format!("quote it: `\"{number}\"`")),
            Kind::Boolean(value) => diagnostic.help(format!("quote it if it is meant as a text: `\"{value}\"`")),
            Kind::Null | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => diagnostic,
        });
        return;
    };
    if text.trim().is_empty() {
        findings.push(if matches!(shape, Shape::Gate) {
            located(
                Diagnostic::new(codes::GATE_LEFT_OUT, format!("the gate {} is left empty", place.name)),
                node,
                "nothing is given here".to_owned(),
            )
            .help("write a shell command, or `none` if nothing is to guard this level")
        } else {
            located(
                Diagnostic::new(codes::EMPTY_TEXT, format!("{} is empty", place.name)),
                node,
                "nothing is said here".to_owned(),
            )
            .help(format!("write for example `{}`", example(shape)))
        });
        return;
    }
    match shape {
        Shape::Choice(words) if !words.contains(&text.as_str()) => {
            let near = nearest(text, words.iter().copied());
            let diagnostic = located(
                Diagnostic::new(
                    codes::MALFORMED_VALUE,
                    format!("{} must be {}", place.name, wanted(shape)),
                ),
                node,
                format!("found {}", node.described()),
            );
            findings.push(diagnostic.did_you_mean(node.defined.clone(), near));
        }
        Shape::Branch => {
            if let Some(problem) = value::branch_problem(text) {
                findings.push(located(
                    Diagnostic::new(
                        codes::INVALID_BRANCH,
                        format!("`{}` is not a name that git takes", shortened(text)),
                    ),
                    node,
                    problem,
                ));
            }
        }
        Shape::EnvironmentName if !value::is_environment_name(text) => {
            findings.push(malformed(node, place, shape));
        }
        Shape::Directory | Shape::File | Shape::Glob => {
            if let Some(diagnostic) = path(text, node, shape) {
                findings.push(diagnostic);
            }
        }
        Shape::Text
            if text.contains('\n') && matches!(place.name.as_str(), "`completion`" | "`project`" | "`name`") =>
        {
            findings.push(
                located(
                    Diagnostic::new(codes::MALFORMED_VALUE, format!("{} must be one line", place.name)),
                    node,
                    "this has several lines".to_owned(),
                )
                .help("commit subjects and tables hold one line"),
            );
        }
        _ => {}
    }
}

fn path(text: &str, node: &Node, shape: Shape) -> Option<Diagnostic> {
    let invalid = |label: String| {
        located(
            Diagnostic::new(
                codes::INVALID_PATH,
                format!("`{}` is not a path inside the repository", shortened(text)),
            ),
            node,
            label,
        )
        .help("write it relative to the repository, with `/` between directories")
    };
    if let Some(problem) = value::path_problem(text) {
        return Some(invalid(format!("this {problem}")));
    }
    if !matches!(shape, Shape::Glob) {
        return None;
    }
    if let Some(directory) = text.strip_suffix('/') {
        return Some(
            located(
                Diagnostic::new(codes::INVALID_PATH, format!("`{}` matches no file", shortened(text))),
                node,
                "this names a directory".to_owned(),
            )
            .help(format!("write `{directory}/**` for everything in it")),
        );
    }
    match super::glob::Glob::parse(text) {
        Ok(_) => None,
        Err(problem) => Some(
            located(
                Diagnostic::new(codes::INVALID_PATH, format!("`{}` is not a glob", shortened(text))),
                node,
                problem,
            )
            .help("`*` stays within a directory, `**` crosses them; `?`, `[abc]` and `{a,b}` work as usual"),
        ),
    }
}

/// Puts the label where the text to be edited stands, and says where it is used when that is elsewhere.
fn located(diagnostic: Diagnostic, node: &Node, label: String) -> Diagnostic {
    let diagnostic = diagnostic.at(node.defined.clone(), label);
    if node.span == node.defined {
        diagnostic
    } else {
        diagnostic.context(node.span.clone(), "used here")
    }
}

fn wrong_type(node: &Node, title: &str) -> Diagnostic {
    located(
        Diagnostic::new(codes::WRONG_TYPE, title),
        node,
        format!("found {}", node.described()),
    )
}

fn wrong(node: &Node, place: &Place, shape: Shape) -> Diagnostic {
    wrong_type(node, &format!("{} must be {}", place.name, wanted(shape)))
}

fn malformed(node: &Node, place: &Place, shape: Shape) -> Diagnostic {
    located(
        Diagnostic::new(
            codes::MALFORMED_VALUE,
            format!("{} must be {}", place.name, wanted(shape)),
        ),
        node,
        format!("found {}", node.described()),
    )
    .help(format!("write for example `{}`", example(shape)))
}

fn wanted(shape: Shape) -> String {
    match shape {
        Shape::Version => "the number 1".to_owned(),
        Shape::Text => "a text".to_owned(),
        Shape::Id => "an id".to_owned(),
        Shape::Count => "a whole number".to_owned(),
        Shape::Money => "an amount in dollars, a number with at most six decimals".to_owned(),
        Shape::Duration => "a duration with a unit".to_owned(),
        Shape::Failures => "a number of failures in a duration".to_owned(),
        Shape::Choice(words) => words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(" or "),
        Shape::Gate => "a shell command or `none`".to_owned(),
        Shape::Branch => "a branch name".to_owned(),
        Shape::Directory => "a directory".to_owned(),
        Shape::File => "a path".to_owned(),
        Shape::Glob => "a glob".to_owned(),
        Shape::EnvironmentName => "the name of an environment variable".to_owned(),
        Shape::List(..) => "a list".to_owned(),
        Shape::Map(_) => "a mapping".to_owned(),
    }
}

fn example(shape: Shape) -> &'static str {
    match shape {
        Shape::Version => "1",
        Shape::Text => "some text",
        Shape::Id => "\"1.2\"",
        Shape::Count => "3",
        Shape::Money => "5.00",
        Shape::Duration => "30m",
        Shape::Failures => "3 in 30m",
        Shape::Choice(words) => words.first().copied().unwrap_or_default(),
        Shape::Gate => "npm test",
        Shape::Branch => "agent-1-2-config",
        Shape::Directory => "specs/",
        Shape::File => "agent-1-2.md.tera",
        Shape::Glob => "src/config/**",
        Shape::EnvironmentName => "DEPLOY_TOKEN",
        Shape::List(..) => "[...]",
        Shape::Map(_) => "{ ... }",
    }
}

fn article(name: &str) -> String {
    match name {
        "plan" => "the plan".to_owned(),
        "agent defaults" => "the `agent` defaults".to_owned(),
        "agent" => "an agent".to_owned(),
        "phase" | "team" | "leader" => format!("a {name}"),
        _ => format!("`{name}`"),
    }
}
