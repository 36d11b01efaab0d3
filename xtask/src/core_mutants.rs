//! `cargo xtask core-mutants`: small changes of the core, each of which the simulation must notice. All of them are built at once and chosen by a variable.
//!
//! Building a program for each change costs far more than running it. So every change is written beside what it changes, as in mutant schemata
//! (Untch, Offutt, Harrold: Mutation analysis using mutant schemata, ISSTA 1993), and one build serves them all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tree_sitter::{Node, Parser};

use crate::planted::copy_core;
use crate::project;

/// What most changes are found with, and what the others must survive to count as survivors: half as many seeds as the tests run every time.
const SEEDS: [&str; 2] = ["100", "1000"];
/// A simulation that takes this many times as long as that of the core as it is hangs, and is noticed for that.
const PATIENCE: u32 = 20;
/// Changes that the compiler refuses are taken out, and it is asked again this often.
const BUILDS_MAX: usize = 12;
/// How a change asks whether it is the chosen one.
const IS: &str = "crate::mutation::is(";

const MUTATION: &str = r#"//! Says which change is the chosen one.

use std::sync::LazyLock;

static CHOSEN: LazyLock<u32> = LazyLock::new(|| std::env::var("MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(0));

/// Whether it is this one.
#[inline]
pub fn is(number: u32) -> bool {
    *CHOSEN == number
}
"#;

/// One change of one place.
struct Mutant {
    file: String,
    line: usize,
    kind: &'static str,
    before: String,
    after: String,
}

/// Writes a file anew with its changes beside what they change.
struct Writer<'a> {
    file: &'a str,
    text: &'a str,
    /// Numbers of changes that do not compile.
    refused: &'a BTreeSet<u32>,
    mutants: &'a mut BTreeMap<u32, Mutant>,
    next: &'a mut u32,
}

pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let place = std::env::temp_dir().join("orchestrate-core-mutants");
    copy_core(&project::directory()?, &place)?;
    let sources = sources(&place)?;
    let (mutants, program) = build(&place, &sources)?;
    let (every, names) = match arguments.split_first() {
        Some((every, names)) if every.parse::<u32>().is_ok() => (every.parse::<u32>().unwrap_or(1).max(1), names),
        Some(_) | None => (1, arguments),
    };
    let wanted = |number: u32, mutant: &Mutant| {
        number.is_multiple_of(every) && (names.is_empty() || names.iter().any(|name| mutant.file.ends_with(name)))
    };
    let calm: Vec<Duration> = SEEDS
        .iter()
        .map(|seeds| {
            let (caught, took) = simulated(&place, &program, 0, seeds, Duration::from_secs(3600))?;
            match caught {
                None => Ok(took),
                Some(words) => Err(format!("nothing is changed yet, and the simulation fails: {words}")),
            }
        })
        .collect::<Result<_, String>>()?;
    let mut tally: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (number, mutant) in mutants.iter().filter(|(number, mutant)| wanted(**number, mutant)) {
        let mut by = None;
        for (seeds, calm) in SEEDS.iter().zip(&calm) {
            by = simulated(&place, &program, *number, seeds, *calm * PATIENCE)?.0;
            if by.is_some() {
                break;
            }
        }
        let (found, all) = tally.entry(&mutant.file).or_default();
        *all += 1;
        *found += usize::from(by.is_some());
        println!(
            "{} {:>4} {}:{} {} `{}` -> `{}`  {}",
            if by.is_some() { "caught  " } else { "SURVIVED" },
            number,
            mutant.file,
            mutant.line,
            mutant.kind,
            mutant.before,
            mutant.after,
            by.unwrap_or_default()
        );
    }
    let (mut found, mut all) = (0, 0);
    for (file, (caught, of)) in &tally {
        println!("{file:<30} {caught:>5} of {of:>5}");
        found += caught;
        all += of;
    }
    println!(
        "{found} of {all} caught, {:.1} %",
        100.0 * found as f64 / all.max(1) as f64
    );
    Ok(())
}

/// The files of the core, in the order of their names, with what they hold.
fn sources(place: &Path) -> Result<Vec<(String, String)>, String> {
    let directory = place.join("src/core");
    let told = |error: std::io::Error| format!("{}: {error}", directory.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(&directory).map_err(told)? {
        let path = entry.map_err(told)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push((
            format!("src/core/{name}"),
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?,
        ));
    }
    files.sort();
    Ok(files)
}

/// Writes all changes that compile, and builds the simulation with them.
fn build(place: &Path, sources: &[(String, String)]) -> Result<(BTreeMap<u32, Mutant>, PathBuf), String> {
    let library = place.join("src/lib.rs");
    let text = fs::read_to_string(&library).map_err(|error| format!("{}: {error}", library.display()))?;
    write(&library, &format!("{text}pub mod mutation;\n"))?;
    write(&place.join("src/mutation.rs"), MUTATION)?;
    let mut refused = BTreeSet::new();
    for _ in 0..BUILDS_MAX {
        let (mut mutants, mut next) = (BTreeMap::new(), 1);
        for (file, text) in sources {
            let mut writer = Writer {
                file,
                text,
                refused: &refused,
                mutants: &mut mutants,
                next: &mut next,
            };
            write(&place.join(file), &writer.written()?)?;
        }
        match compiled(place)? {
            Ok(program) => {
                println!("{} changes, {} more do not compile", mutants.len(), refused.len());
                return Ok((mutants, program));
            }
            Err(numbers) => refused.extend(numbers),
        }
    }
    Err(format!(
        "after {BUILDS_MAX} builds there are still changes that do not compile"
    ))
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

#[derive(Deserialize)]
struct Told {
    message: Option<Diagnostic>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Diagnostic {
    level: String,
    rendered: Option<String>,
    spans: Vec<Span>,
}

#[derive(Deserialize)]
struct Span {
    file_name: String,
    byte_start: usize,
    byte_end: usize,
}

/// The simulation's program, or the numbers of the changes that the compiler refuses.
fn compiled(place: &Path) -> Result<Result<PathBuf, BTreeSet<u32>>, String> {
    let output = project::cargo()
        .current_dir(place)
        .args([
            "test",
            "--release",
            "--test",
            "sim",
            "--no-run",
            "--message-format=json",
        ])
        .env("CARGO_TARGET_DIR", place.join("target"))
        .env("RUSTFLAGS", "--cap-lints=allow")
        .env_remove("CARGO_MANIFEST_DIR")
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    let (mut refused, mut program, mut words) = (BTreeSet::new(), None, String::new());
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(told) = serde_json::from_str::<Told>(line) else {
            continue;
        };
        program = told.executable.or(program);
        let Some(diagnostic) = told.message.filter(|diagnostic| diagnostic.level == "error") else {
            continue;
        };
        words += diagnostic.rendered.as_deref().unwrap_or_default();
        for span in &diagnostic.spans {
            let text = fs::read_to_string(place.join(&span.file_name)).unwrap_or_default();
            refused.extend(asked_before(&text, span));
        }
    }
    match program {
        Some(program) if output.status.success() => Ok(Ok(program)),
        _ if refused.is_empty() => Err(format!(
            "the changed core does not compile, and nothing says which change it is:\n{words}{}",
            String::from_utf8_lossy(&output.stderr)
        )),
        _ => Ok(Err(refused)),
    }
}

/// The change that a place in the written text belongs to: the one that is asked for last before it, or the first within.
fn asked_before(text: &str, span: &Span) -> Option<u32> {
    let before = text.get(..span.byte_start)?.rfind(IS);
    let within = text.get(span.byte_start..span.byte_end)?.find(IS);
    let at = within.map(|at| at + span.byte_start).or(before)? + IS.len();
    text[at..].split(')').next()?.parse().ok()
}

/// What the simulation finds, and how long it takes.
fn simulated(
    place: &Path,
    program: &Path,
    number: u32,
    seeds: &str,
    limit: Duration,
) -> Result<(Option<String>, Duration), String> {
    let log = place.join("simulated.txt");
    let file = fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let errors = file.try_clone().map_err(|error| error.to_string())?;
    let began = Instant::now();
    let mut child = Command::new(program)
        .current_dir(place)
        .env("MUTANT", number.to_string())
        .env("SIM_SEEDS", seeds)
        .env("RUST_BACKTRACE", "0")
        .env("CARGO_MANIFEST_DIR", place)
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            let words = fs::read(&log).map_err(|error| error.to_string())?;
            let words = String::from_utf8_lossy(&words);
            let line = words
                .lines()
                .find(|line| line.starts_with("seed "))
                .unwrap_or("it ends badly");
            let caught = (!status.success()).then(|| line.chars().take(110).collect());
            return Ok((caught, began.elapsed()));
        }
        if began.elapsed() > limit.max(Duration::from_secs(10)) {
            child.kill().map_err(|error| error.to_string())?;
            child.wait().map_err(|error| error.to_string())?;
            return Ok((Some("no end".to_owned()), began.elapsed()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Writer<'_> {
    fn written(&mut self) -> Result<String, String> {
        let mut parser = Parser::new();
        parser
            .set_language(&tree_sitter_rust::LANGUAGE.into())
            .map_err(|error| error.to_string())?;
        let tree = parser
            .parse(self.text, None)
            .ok_or(format!("{} cannot be parsed", self.file))?;
        Ok(self.node(tree.root_node()))
    }

    /// The number of a change, if it compiles.
    fn mutant(&mut self, node: Node<'_>, kind: &'static str, after: &str) -> Option<u32> {
        let number = *self.next;
        *self.next += 1;
        if self.refused.contains(&number) {
            return None;
        }
        self.mutants.insert(
            number,
            Mutant {
                file: self.file.to_owned(),
                line: node.start_position().row + 1,
                kind,
                before: short(&self.text[node.byte_range()]),
                after: short(after),
            },
        );
        Some(number)
    }

    /// A node's text with the changes of everything in it.
    fn children(&mut self, node: Node<'_>) -> String {
        let mut written = String::new();
        let mut at = node.start_byte();
        let mut cursor = node.walk();
        let children: Vec<Node<'_>> = node.children(&mut cursor).collect();
        for child in children {
            written += &self.text[at..child.start_byte()];
            written += &self.node(child);
            at = child.end_byte();
        }
        written + &self.text[at..node.end_byte()]
    }

    fn node(&mut self, node: Node<'_>) -> String {
        let plain = self.text[node.byte_range()].to_owned();
        match node.kind() {
            "const_item" | "static_item" | "attribute_item" | "macro_invocation" => plain,
            "binary_expression" => self.binary(node),
            "unary_expression" if plain.starts_with('!') => {
                let inner = node.named_child(0).map(|inner| self.node(inner)).unwrap_or_default();
                match self.mutant(node, "negation", &inner) {
                    Some(number) => format!("(if {IS}{number}) {{ {inner} }} else {{ !{inner} }})"),
                    None => format!("!{inner}"),
                }
            }
            "if_expression" | "while_expression" | "let_chain" | "match_pattern" => self.conditions(node),
            "match_arm" => self.arm(node),
            "expression_statement" => self.statement(node),
            "function_item" => self.function(node),
            _ => self.children(node),
        }
    }

    fn binary(&mut self, node: Node<'_>) -> String {
        let (Some(left), Some(operator), Some(right)) = (
            node.child_by_field_name("left"),
            node.child_by_field_name("operator"),
            node.child_by_field_name("right"),
        ) else {
            return self.children(node);
        };
        let is_logic = matches!(operator.kind(), "&&" | "||");
        let (first, second) = match is_logic {
            true => (self.condition(left), self.condition(right)),
            false => (self.node(left), self.node(right)),
        };
        let mut written = format!("{first} {} {second}", operator.kind());
        for (kind, other) in swapped(operator.kind()) {
            let after = format!("{first} {other} {second}");
            let told = format!(
                "{} {other} {}",
                &self.text[left.byte_range()],
                &self.text[right.byte_range()]
            );
            if let Some(number) = self.mutant(node, kind, &told) {
                written = format!("if {IS}{number}) {{ {after} }} else {{ {written} }}");
            }
        }
        format!("({written})")
    }

    /// Something that is asked; where no operator can be changed, its answer is.
    fn condition(&mut self, node: Node<'_>) -> String {
        let written = self.node(node);
        if !matches!(
            node.kind(),
            "identifier" | "call_expression" | "field_expression" | "macro_invocation"
        ) {
            return written;
        }
        let told = format!("!{}", &self.text[node.byte_range()]);
        match self.mutant(node, "condition", &told) {
            Some(number) => format!("({IS}{number}) != {written})"),
            None => written,
        }
    }

    /// The parts of `if`, `while`, chains with `let` and guards that are conditions.
    fn conditions(&mut self, node: Node<'_>) -> String {
        let mut written = String::new();
        let mut at = node.start_byte();
        let mut cursor = node.walk();
        let children: Vec<Node<'_>> = node.children(&mut cursor).collect();
        let condition = node.child_by_field_name("condition");
        for child in children {
            written += &self.text[at..child.start_byte()];
            let is_condition = Some(child) == condition || (node.kind() == "let_chain" && child.is_named());
            written += &match is_condition {
                true => self.condition(child),
                false => self.node(child),
            };
            at = child.end_byte();
        }
        written + &self.text[at..node.end_byte()]
    }

    /// An arm that another one can stand in for is passed by.
    fn arm(&mut self, node: Node<'_>) -> String {
        let written = self.children(node);
        let is_last = node.next_named_sibling().is_none();
        let last_arm = node
            .parent()
            .and_then(|block| block.named_child(block.named_child_count().saturating_sub(1) as u32));
        let has_other = last_arm.is_some_and(|arm| self.text[arm.byte_range()].starts_with("_ =>"));
        let pattern = node.child_by_field_name("pattern");
        let (false, true, Some(pattern)) = (is_last, has_other, pattern) else {
            return written;
        };
        if pattern.child_by_field_name("condition").is_some() {
            return written;
        }
        let told = "_".to_owned();
        match (self.mutant(pattern, "arm", &told), written.split_once("=>")) {
            (Some(number), Some((pattern, value))) => format!("{pattern} if !{IS}{number}) =>{value}"),
            _ => written,
        }
    }

    fn statement(&mut self, node: Node<'_>) -> String {
        let written = self.children(node);
        let kind = node.named_child(0).map(|child| child.kind()).unwrap_or_default();
        let is_deed = matches!(
            kind,
            "call_expression"
                | "assignment_expression"
                | "compound_assignment_expr"
                | "return_expression"
                | "continue_expression"
        );
        if !is_deed || !written.ends_with(';') {
            return written;
        }
        match self.mutant(node, "statement", "") {
            Some(number) => format!("if !{IS}{number}) {{ {written} }}"),
            None => written,
        }
    }

    fn function(&mut self, node: Node<'_>) -> String {
        let Some(body) = node.child_by_field_name("body") else {
            return self.children(node);
        };
        let head = self.text[node.start_byte()..body.start_byte()].to_owned();
        let returned = node
            .child_by_field_name("return_type")
            .map(|returned| self.text[returned.byte_range()].to_owned());
        let mut early = String::new();
        for value in values_of(returned.as_deref()) {
            if let Some(number) = self.mutant(node, "function", &format!("return {value}")) {
                early += &format!(" if {IS}{number}) {{ return {value}; }}");
            }
        }
        let written = self.children(body);
        format!("{head}{{{early}{}", written.strip_prefix('{').unwrap_or(&written))
    }
}

/// What an operator is changed into, and what kind of change that is.
fn swapped(operator: &str) -> Vec<(&'static str, &'static str)> {
    match operator {
        "==" => vec![("equality", "!=")],
        "!=" => vec![("equality", "==")],
        "<" => vec![("boundary", "<="), ("comparison", ">")],
        "<=" => vec![("boundary", "<"), ("comparison", ">")],
        ">" => vec![("boundary", ">="), ("comparison", "<")],
        ">=" => vec![("boundary", ">"), ("comparison", "<")],
        "&&" => vec![("logic", "||")],
        "||" => vec![("logic", "&&")],
        "+" => vec![("arithmetic", "-")],
        "-" => vec![("arithmetic", "+")],
        "*" => vec![("arithmetic", "+")],
        _ => Vec::new(),
    }
}

/// What a function may give back without having done anything.
fn values_of(returned: Option<&str>) -> Vec<&'static str> {
    match returned {
        None => vec!["()"],
        Some("bool") => vec!["true", "false"],
        Some("usize" | "u32" | "u64") => vec!["0", "1"],
        Some("String") => vec!["String::new()"],
        Some(name) if name.starts_with("Option<") => vec!["None"],
        Some(name) if name.starts_with("Vec<") => vec!["Vec::new()"],
        Some(name) if name.starts_with("BTreeSet<") => vec!["BTreeSet::new()"],
        Some(name) if name.starts_with("BTreeMap<") => vec!["BTreeMap::new()"],
        Some(name) if name.starts_with("Result<(),") => vec!["Ok(())"],
        Some(_) => Vec::new(),
    }
}

fn short(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(80).collect()
}
