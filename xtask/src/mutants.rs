//! `cargo xtask mutants`: small changes at random places of the generated system's code, and how many of them `orchestrate verify` notices.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tree_sitter::{Node, Parser};

use crate::bite::{self, Copy, Program, Seen};
use crate::project;

/// Code that a request can reach.
const ROOMS: [&str; 5] = [
    "infrastructure/auth",
    "infrastructure/config-service",
    "infrastructure/database",
    "infrastructure/lookup",
    "workers",
];

/// What no request reaches: an operator's commands.
const LEFT_OUT: [&str; 3] = [".cli.ts", "first-key.ts", ".d.ts"];

/// How many are made where nobody says it.
const COUNT: usize = 200;

/// Which sections look first at which rooms: what finds most mutants comes first.
const FIRST: [(&str, &[&str]); 4] = [
    ("workers/shared/rate-limiter", &["limiter", "time", "contract"]),
    ("workers/shared/error-handling", &["faults", "breaker", "contract"]),
    ("workers", &["faults", "contract", "state", "limiter"]),
    ("infrastructure", &["contract", "authorisation", "sequences"]),
];

/// One change of one place.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Mutant {
    file: String,
    line: usize,
    kind: String,
    start: usize,
    end: usize,
    before: String,
    after: String,
}

/// What came of one, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    mutant: Mutant,
    found: bool,
    by: String,
}

pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let (mut count, mut seed, mut jobs) = (COUNT, 1, 2);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut number = |name: &str| -> Result<usize, String> {
            rest.next()
                .and_then(|text| text.parse().ok())
                .ok_or(format!("{name} wants a number"))
        };
        match argument.as_str() {
            "--jobs" => jobs = number("--jobs")?,
            "--seed" => seed = number("--seed")? as u64,
            text => count = text.parse().map_err(|_| format!("`{text}` is no number of mutants"))?,
        }
    }
    let project = project::directory()?;
    let mutants = chosen(&project.join("generated"), seed, count)?;
    let file = results(&project, seed);
    let known = known(&file)?;
    let program = Program::build(&project)?;
    println!("results are kept in {}; run it again to go on", file.display());
    let kept = kept(&project, &program, mutants, known, &file, jobs)?;
    report(&kept);
    Ok(())
}

fn results(project: &Path, seed: u64) -> PathBuf {
    bite::built(project).join(format!("mutants-{seed}.jsonl"))
}

/// What an earlier run has found out already.
fn known(file: &Path) -> Result<Vec<Kept>, String> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(format!("{}: {error}", file.display())),
    };
    // A line that was cut off by the end of a run is examined again.
    Ok(text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

fn chosen(root: &Path, seed: u64, count: usize) -> Result<VecDeque<Mutant>, String> {
    let mut files = Vec::new();
    for room in ROOMS {
        find(root, &root.join(room), &mut files)?;
    }
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let path = root.join(&file);
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        all.extend(mutants_of(&file, &text)?);
    }
    let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    for index in (1..all.len()).rev() {
        all.swap(index, chance.below(index + 1));
    }
    println!("{} places; {} of them, by seed {seed}", all.len(), count.min(all.len()));
    all.truncate(count);
    Ok(all.into())
}

fn find(root: &Path, directory: &Path, files: &mut Vec<String>) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{}: {error}", directory.display());
    for entry in fs::read_dir(directory).map_err(told)? {
        let entry = entry.map_err(told)?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && name != "node_modules" {
            find(root, &path, files)?;
        } else if name.ends_with(".ts") && !LEFT_OUT.iter().any(|left_out| name.ends_with(left_out)) {
            let relative = path.strip_prefix(root).unwrap_or(&path);
            files.push(relative.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

fn mutants_of(file: &str, text: &str) -> Result<Vec<Mutant>, String> {
    let mut parser = Parser::new();
    parser
        .set_language(&tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into())
        .map_err(|error| error.to_string())?;
    let tree = parser.parse(text, None).ok_or(format!("{file} cannot be parsed"))?;
    let mut mutants = Vec::new();
    walk(tree.root_node(), file, text, &mut mutants);
    Ok(mutants)
}

fn walk(node: Node<'_>, file: &str, text: &str, mutants: &mut Vec<Mutant>) {
    // Types are gone when it runs.
    if node.kind().ends_with("_type") || node.kind() == "type_annotation" || node.kind().starts_with("interface") {
        return;
    }
    let mut change = |kind: &str, place: Node<'_>, after: String| {
        let (start, end) = (place.start_byte(), place.end_byte());
        mutants.push(Mutant {
            file: file.to_owned(),
            line: place.start_position().row + 1,
            kind: kind.to_owned(),
            start,
            end,
            before: text[start..end].to_owned(),
            after,
        });
    };
    let words = |node: Node<'_>| text[node.byte_range()].to_owned();
    match node.kind() {
        "binary_expression" => {
            if let Some(operator) = node.child_by_field_name("operator")
                && let Some((kind, after)) = swapped(operator.kind())
            {
                change(kind, operator, after.to_owned());
            }
        }
        "unary_expression" if node.child(0).is_some_and(|operator| operator.kind() == "!") => {
            if let Some(argument) = node.child_by_field_name("argument") {
                change("negation", node, words(argument));
            }
        }
        "number" => {
            let number = words(node).replace('_', "");
            if let Ok(number) = number.parse::<i64>() {
                change("number", node, (number + 1).to_string());
            }
        }
        "true" => change("boolean", node, "false".to_owned()),
        "false" => change("boolean", node, "true".to_owned()),
        "if_statement" => {
            if let Some(condition) = node.child_by_field_name("condition") {
                change("condition", condition, format!("(!{})", words(condition)));
            }
        }
        "ternary_expression" => {
            if let (Some(yes), Some(no)) = (
                node.child_by_field_name("consequence"),
                node.child_by_field_name("alternative"),
            ) {
                let (start, end) = (yes.start_byte(), no.end_byte());
                mutants.push(Mutant {
                    file: file.to_owned(),
                    line: yes.start_position().row + 1,
                    kind: "branches".to_owned(),
                    start,
                    end,
                    before: text[start..end].to_owned(),
                    after: format!("{} : {}", words(no), words(yes)),
                });
            }
        }
        "expression_statement" => {
            let statement = words(node);
            if !statement.starts_with("super") {
                change("statement", node, ";".to_owned());
            }
        }
        "throw_statement" => change("throw", node, ";".to_owned()),
        _ => {}
    }
    let mut cursor = node.walk();
    for child in node.children(&mut cursor) {
        walk(child, file, text, mutants);
    }
}

/// The other operator, and what kind of change that is.
fn swapped(operator: &str) -> Option<(&'static str, &'static str)> {
    Some(match operator {
        "===" => ("equality", "!=="),
        "!==" => ("equality", "==="),
        "<" => ("boundary", "<="),
        "<=" => ("boundary", "<"),
        ">" => ("boundary", ">="),
        ">=" => ("boundary", ">"),
        "&&" => ("logic", "||"),
        "||" => ("logic", "&&"),
        "??" => ("logic", "&&"),
        "+" => ("arithmetic", "-"),
        "-" => ("arithmetic", "+"),
        "*" => ("arithmetic", "/"),
        "/" => ("arithmetic", "*"),
        "%" => ("arithmetic", "*"),
        _ => return None,
    })
}

/// Which one comes next; the same seed chooses the same. Marsaglia's xorshift64 (Journal of Statistical Software 8, 2003).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

fn kept(
    project: &Path,
    program: &Program,
    mutants: VecDeque<Mutant>,
    known: Vec<Kept>,
    file: &Path,
    jobs: usize,
) -> Result<Vec<Kept>, String> {
    let (done, left): (Vec<Mutant>, Vec<Mutant>) = mutants
        .into_iter()
        .partition(|mutant| known.iter().any(|kept| kept.mutant == *mutant));
    let old: Vec<Kept> = known.into_iter().filter(|kept| done.contains(&kept.mutant)).collect();
    let log = File::options()
        .append(true)
        .create(true)
        .open(file)
        .map_err(|error| format!("{}: {error}", file.display()))?;
    let (queue, log, results) = (Mutex::new(VecDeque::from(left)), Mutex::new(log), Mutex::new(old));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs)
            .map(|number| {
                let (queue, log, results) = (&queue, &log, &results);
                scope.spawn(move || -> Result<(), String> {
                    let copy = Copy::make(project, program, number)?;
                    loop {
                        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                        let Some(mutant) = next else { return Ok(()) };
                        let began = Instant::now();
                        let kept = examined(&copy, mutant)?;
                        println!(
                            "{} {:>4} s {}:{} {} `{}` -> `{}`  {}",
                            if kept.found { "found   " } else { "SURVIVED" },
                            began.elapsed().as_secs(),
                            kept.mutant.file,
                            kept.mutant.line,
                            kept.mutant.kind,
                            short(&kept.mutant.before),
                            short(&kept.mutant.after),
                            kept.by
                        );
                        let line = serde_json::to_string(&kept).map_err(|error| error.to_string())?;
                        writeln!(log.lock().unwrap_or_else(PoisonError::into_inner), "{line}")
                            .map_err(|error| error.to_string())?;
                        results.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
                    }
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| "a worker has panicked".to_owned())?)
    })?;
    Ok(results.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn examined(copy: &Copy, mutant: Mutant) -> Result<Kept, String> {
    let original = copy.read(&mutant.file)?;
    let mutated = format!(
        "{}{}{}",
        &original[..mutant.start],
        mutant.after,
        &original[mutant.end..]
    );
    copy.write(&mutant.file, &mutated)?;
    let first = FIRST
        .iter()
        .find(|(room, _)| mutant.file.starts_with(room))
        .map_or(&[] as &[&str], |(_, sections)| sections);
    let mut seen = Ok(Seen::Nothing);
    let first: Vec<String> = first.iter().map(|section| (*section).to_owned()).collect();
    let is_unseen = |seen: &Result<Seen, String>| matches!(seen, Ok(Seen::Nothing | Seen::Unbound(_)));
    for section in first.chunks(1) {
        if is_unseen(&seen) {
            seen = copy.examine(section);
        }
    }
    if is_unseen(&seen) {
        seen = copy.examine_by_others(&first);
    }
    copy.write(&mutant.file, &original)?;
    let (found, by) = match seen? {
        Seen::Nothing => (false, String::new()),
        Seen::Unbound(by) => (false, by),
        Seen::Difference(by) => (true, by),
        Seen::Unfit(why) => return Err(format!("{}:{}: {why}", mutant.file, mutant.line)),
    };
    Ok(Kept { mutant, found, by })
}

fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(50).collect()
}

fn report(kept: &[Kept]) {
    let mut kinds: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for one in kept {
        let (found, all) = kinds.entry(&one.mutant.kind).or_default();
        *all += 1;
        *found += usize::from(one.found);
    }
    println!("\nsurvivors:");
    let mut survivors: Vec<&Kept> = kept.iter().filter(|one| !one.found).collect();
    survivors.sort_by(|one, other| (&one.mutant.kind, &one.mutant.file).cmp(&(&other.mutant.kind, &other.mutant.file)));
    for one in survivors {
        println!(
            "  {:<10} {}:{} `{}` -> `{}`",
            one.mutant.kind,
            one.mutant.file,
            one.mutant.line,
            short(&one.mutant.before),
            short(&one.mutant.after)
        );
    }
    println!();
    for (kind, (found, all)) in &kinds {
        println!("{kind:<12} {found:>4} of {all:>4}");
    }
    let found = kept.iter().filter(|one| one.found).count();
    println!(
        "{found} of {} mutants are found ({:.1} %)",
        kept.len(),
        100.0 * found as f64 / kept.len().max(1) as f64
    );
}
