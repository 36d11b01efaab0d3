//! The specifications hold together: requirements, the seed's lines, decisions, the contract and its OpenAPI document name each other rightly and completely.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test says what it expects by failing, and prints what it counted"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// The letters of the contract's tables, and the words of `x-callers`.
const CALLERS: [(&str, &str); 5] = [
    ("U", "user"),
    ("A", "admin"),
    ("S", "superadmin"),
    ("P", "project"),
    ("V", "service"),
];

/// One entry of requirements.toml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Requirement {
    id: String,
    level: Level,
    sentence: String,
    #[serde(default)]
    seed: Vec<Lines>,
    #[serde(default)]
    contract: Vec<String>,
    #[serde(default)]
    decisions: Vec<String>,
    #[serde(default)]
    alternatives: Vec<String>,
    checks: Vec<Section>,
}

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Level {
    #[serde(rename = "MUST")]
    Must,
    #[serde(rename = "SHOULD")]
    Should,
    #[serde(rename = "MAY")]
    May,
}

/// The sections of `verify`.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord, Clone, Copy, Debug)]
#[serde(rename_all = "lowercase")]
enum Section {
    Contract,
    Authorisation,
    Schema,
    Sequences,
    Limiter,
    Breaker,
    Time,
    Faults,
    Crash,
    State,
    Secrets,
    Static,
}

const SECTIONS: [Section; 12] = [
    Section::Contract,
    Section::Authorisation,
    Section::Schema,
    Section::Sequences,
    Section::Limiter,
    Section::Breaker,
    Section::Time,
    Section::Faults,
    Section::Crash,
    Section::State,
    Section::Secrets,
    Section::Static,
];

/// Lines of the seed: `94` or `"96-100"`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Lines {
    One(usize),
    Range(String),
}

impl Lines {
    fn range(&self) -> RangeInclusive<usize> {
        match self {
            Self::One(line) => *line..=*line,
            Self::Range(text) => {
                let (first, last) = text
                    .split_once('-')
                    .unwrap_or_else(|| panic!("not a range of lines: {text:?}"));
                let range = first.parse().unwrap()..=last.parse().unwrap();
                assert!(range.start() < range.end(), "not a range of lines: {text:?}");
                range
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Requirements {
    requirement: Vec<Requirement>,
}

/// The content of seed-lines.toml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedLines {
    lines_of_the_seed: usize,
    reason: Vec<Reason>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    why: String,
    lines: Vec<Lines>,
}

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read_toml<Content: DeserializeOwned>(file: &str) -> Content {
    toml::from_str(&read(file)).unwrap_or_else(|error| panic!("specs/{file}: {error}"))
}

fn requirements() -> Vec<Requirement> {
    read_toml::<Requirements>("requirements.toml").requirement
}

fn openapi() -> Value {
    serde_yaml::from_str(&read("openapi.yaml")).unwrap()
}

/// The rows of every table of a page, as their trimmed cells; the rules under the heads are left out.
fn table_rows(page: &str) -> Vec<Vec<String>> {
    page.lines()
        .filter(|line| line.starts_with('|') && !line.starts_with("|---"))
        .map(|line| {
            line.trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().to_owned())
                .collect()
        })
        .collect()
}

/// What stands between backticks.
fn code_spans(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Decision id -> its reading.
fn decisions() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for row in table_rows(&read("decisions.md")) {
        if row[0]
            .strip_prefix('D')
            .is_some_and(|number| number.parse::<u32>().is_ok())
        {
            assert_eq!(row.len(), 4, "{} has {} cells", row[0], row.len());
            assert!(
                row[2].contains(|character: char| character.is_ascii_digit()),
                "{} names no line",
                row[0]
            );
            assert!(
                found.insert(row[0].clone(), row[3].clone()).is_none(),
                "{} is there twice",
                row[0]
            );
        }
    }
    found
}

/// The sections that `contract` may name.
fn contract_sections() -> BTreeSet<String> {
    let first_word = |line: &str| {
        line.trim_start_matches('#')
            .split_whitespace()
            .next()
            .map(str::to_owned)
    };
    let mut sections = BTreeSet::new();
    // The first heading is the title.
    for line in read("api-contracts.md")
        .lines()
        .filter(|line| line.starts_with('#'))
        .skip(1)
    {
        let word = first_word(line).unwrap();
        sections.insert(word.trim_end_matches('.').to_owned());
    }
    for line in read("architecture.md").lines().filter(|line| line.starts_with("## ")) {
        sections.insert(format!(
            "architecture {}",
            first_word(line).unwrap().trim_end_matches('.')
        ));
    }
    for line in read("testing-requirements.md").lines() {
        if let Some((number, _)) = line
            .split_once(". ")
            .filter(|(number, _)| number.parse::<u32>().is_ok())
        {
            sections.insert(format!("testing {number}"));
        }
    }
    sections
}

/// A row of the contract's tables of routes.
struct Row {
    routes: Vec<(String, String)>,
    callers: BTreeSet<String>,
    success: BTreeSet<String>,
}

fn contract_routes() -> Vec<Row> {
    let mut rows = Vec::new();
    for cells in table_rows(&read("api-contracts.md")) {
        let spans = code_spans(&cells[0]);
        if cells.len() != 3
            || !spans
                .first()
                .is_some_and(|span| METHODS.iter().any(|method| span.starts_with(method)))
        {
            continue;
        }
        let path = spans.last().unwrap().split_once(' ').unwrap().1;
        let path = path.split('?').next().unwrap();
        let routes = spans
            .iter()
            .map(|span| (span.split(' ').next().unwrap().to_owned(), path.to_owned()))
            .collect();
        let words: BTreeSet<&str> = cells[1].split(|character: char| !character.is_alphanumeric()).collect();
        let callers = CALLERS
            .iter()
            .filter(|(letter, _)| words.contains(letter))
            .map(|(_, word)| (*word).to_owned());
        let success = cells[2]
            .split(|character: char| !character.is_ascii_digit())
            .filter(|word| !word.is_empty());
        rows.push(Row {
            routes,
            callers: callers.collect(),
            success: success.map(str::to_owned).collect(),
        });
    }
    rows
}

/// Every operation of the OpenAPI document: (method, path) -> operation.
fn operations(document: &Value) -> BTreeMap<(String, String), &Value> {
    let mut found = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS {
            if let Some(operation) = item.get(method.to_lowercase()) {
                found.insert((method.to_owned(), path.clone()), operation);
            }
        }
    }
    found
}

fn strings(value: &Value) -> BTreeSet<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| entry.as_str().unwrap().to_owned())
        .collect()
}

fn well_formed_id(id: &str) -> bool {
    id.split_once('-').is_some_and(|(group, number)| {
        (2..=7).contains(&group.len())
            && group.chars().all(|character| character.is_ascii_uppercase())
            && number.len() == 2
            && number.chars().all(|character| character.is_ascii_digit())
    })
}

#[test]
fn each_requirement_is_one_well_formed_sentence_with_a_ground_and_a_check() {
    let (decisions, sections) = (decisions(), contract_sections());
    let (mut ids, mut sentences) = (BTreeSet::new(), BTreeSet::new());
    let (mut levels, mut checks) = (BTreeMap::<Level, usize>::new(), BTreeMap::<Section, usize>::new());
    for requirement in requirements() {
        let id = &requirement.id;
        assert!(well_formed_id(id), "{id}: an id is GROUP-00");
        assert!(ids.insert(id.clone()), "{id} is there twice");
        let sentence = &requirement.sentence;
        assert!(
            sentence.ends_with('.') && !sentence.contains('\n'),
            "{id}: not one sentence"
        );
        assert!(sentences.insert(sentence.clone()), "{id} says what another one says");
        let grounds = requirement.seed.len() + requirement.contract.len() + requirement.decisions.len();
        assert!(
            grounds > 0,
            "{id} has no ground: neither seed nor contract nor decision"
        );
        for name in &requirement.contract {
            assert!(sections.contains(name), "{id}: there is no section {name}");
        }
        for name in &requirement.decisions {
            assert!(decisions.contains_key(name), "{id}: there is no decision {name}");
        }
        for name in &requirement.alternatives {
            assert!(
                requirement.decisions.contains(name),
                "{id}: the alternative {name} is none of its decisions"
            );
            assert!(
                decisions[name].contains("Alternative:"),
                "{id}: {name} declares no alternative"
            );
        }
        let different: BTreeSet<Section> = requirement.checks.iter().copied().collect();
        assert!(
            !different.is_empty() && different.len() == requirement.checks.len(),
            "{id}: checks {different:?}"
        );
        *levels.entry(requirement.level).or_default() += 1;
        for check in different {
            *checks.entry(check).or_default() += 1;
        }
    }
    for section in SECTIONS {
        assert!(
            checks.contains_key(&section),
            "no requirement is checked by {section:?}"
        );
    }
    println!(
        "{} requirements: {levels:?}; by section of verify: {checks:?}",
        ids.len()
    );
}

#[test]
fn an_alternative_that_a_decision_declares_is_accepted_by_some_requirement() {
    let named: BTreeSet<String> = requirements()
        .into_iter()
        .flat_map(|requirement| requirement.alternatives)
        .collect();
    let declared: BTreeSet<String> = decisions()
        .into_iter()
        .filter(|(_, reading)| reading.contains("Alternative:"))
        .map(|(id, _)| id)
        .collect();
    assert_eq!(named, declared);
}

/// Decisions about how the system is built, not about what it does.
const DECISIONS_ABOUT_THE_PROCESS: [&str; 2] = ["D15", "D40"];

/// Sections that lay nothing down: the heading of the common rules, and what is left open.
const SECTIONS_WITHOUT_RULES: [&str; 2] = ["0", "0.5"];

#[test]
fn every_decision_and_every_section_of_the_contract_is_behind_some_requirement() {
    let requirements = requirements();
    let decided: BTreeSet<&str> = requirements
        .iter()
        .flat_map(|requirement| &requirement.decisions)
        .map(String::as_str)
        .collect();
    let decisions = decisions();
    let unused: Vec<&str> = decisions
        .keys()
        .map(String::as_str)
        .filter(|id| !decided.contains(id))
        .collect();
    assert_eq!(unused, DECISIONS_ABOUT_THE_PROCESS);
    let named: BTreeSet<&str> = requirements
        .iter()
        .flat_map(|requirement| &requirement.contract)
        .map(String::as_str)
        .collect();
    let sections = contract_sections();
    let silent: Vec<&str> = sections
        .iter()
        .map(String::as_str)
        .filter(|name| !name.starts_with("testing") && !named.contains(name))
        .collect();
    assert_eq!(silent, SECTIONS_WITHOUT_RULES);
}

#[test]
fn every_line_of_the_seed_is_accounted_for() {
    let rest: SeedLines = read_toml("seed-lines.toml");
    let mut accounts: Vec<Vec<String>> = vec![Vec::new(); rest.lines_of_the_seed + 1];
    let mut book = |lines: &Lines, account: &str| {
        for line in lines.range() {
            assert!(
                (1..=rest.lines_of_the_seed).contains(&line),
                "{account}: the seed has no line {line}"
            );
            accounts[line].push(account.to_owned());
        }
    };
    let requirements = requirements();
    for requirement in &requirements {
        for lines in &requirement.seed {
            book(lines, &requirement.id);
        }
    }
    println!("lines of the seed without a requirement:");
    for reason in &rest.reason {
        let mut count = 0;
        for lines in &reason.lines {
            book(lines, "seed-lines.toml");
            count += lines.range().count();
        }
        let listed: Vec<String> = reason
            .lines
            .iter()
            .map(|lines| {
                let range = lines.range();
                if range.start() == range.end() {
                    range.start().to_string()
                } else {
                    format!("{}-{}", range.start(), range.end())
                }
            })
            .collect();
        println!("  {count}: {}\n    {}", reason.why, listed.join(" "));
    }
    let mut faults = Vec::new();
    for (line, names) in accounts.iter().enumerate().skip(1) {
        let reasons = names.iter().filter(|name| *name == "seed-lines.toml").count();
        if names.is_empty() {
            faults.push(format!("line {line} is in neither file"));
        } else if reasons > 1 || (reasons == 1 && names.len() > 1) {
            faults.push(format!("line {line} is accounted for by {}", names.join(" and ")));
        }
        let different: BTreeSet<&String> = names.iter().collect();
        if different.len() != names.len() {
            faults.push(format!("line {line} is named twice by one entry: {}", names.join(" ")));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_decision_that_is_referred_to_exists() {
    let decisions = decisions();
    for page in [
        "api-contracts.md",
        "architecture.md",
        "testing-requirements.md",
        "openapi.yaml",
        "decisions.md",
    ] {
        for word in read(page).split(|character: char| !character.is_ascii_alphanumeric()) {
            let names_one = word
                .strip_prefix('D')
                .is_some_and(|number| number.len() == 2 && number.parse::<u32>().is_ok());
            assert!(
                !names_one || decisions.contains_key(word),
                "{page}: there is no decision {word}"
            );
        }
    }
}

#[test]
fn the_tables_of_routes_and_the_openapi_document_say_the_same() {
    let document = openapi();
    let operations = operations(&document);
    let mut seen = BTreeSet::new();
    for row in contract_routes() {
        let mut success = BTreeSet::new();
        for route in &row.routes {
            let operation = operations
                .get(route)
                .unwrap_or_else(|| panic!("openapi.yaml has no {route:?}"));
            let callers = strings(&operation["x-callers"]);
            assert_eq!(callers, row.callers, "{route:?}: who is ever served");
            let open = operation["security"].as_array().is_some_and(Vec::is_empty);
            assert_eq!(
                open,
                callers.is_empty(),
                "{route:?}: a route without callers needs no credential"
            );
            let statuses = operation["responses"].as_object().unwrap().keys();
            success.extend(statuses.filter(|status| status.starts_with(['2', '3'])).cloned());
            seen.insert(route.clone());
        }
        assert_eq!(success, row.success, "{:?}: statuses of success", row.routes);
    }
    let known: BTreeSet<_> = operations.into_keys().collect();
    assert_eq!(known, seen, "left: openapi.yaml, right: api-contracts.md");
    println!("{} routes", seen.len());
}

#[test]
fn the_codes_of_errors_are_those_of_the_contract_each_with_its_status() {
    let document = openapi();
    let mut statuses = BTreeMap::new();
    for row in table_rows(&read("api-contracts.md")) {
        if row[0].len() == 3 && row[0].parse::<u16>().is_ok() {
            assert!(
                statuses
                    .insert(code_spans(&row[1])[0].to_owned(), row[0].clone())
                    .is_none(),
                "{row:?}"
            );
        }
    }
    let codes: BTreeSet<String> = statuses.keys().cloned().collect();
    assert_eq!(strings(&document["components"]["schemas"]["ErrorCode"]["enum"]), codes);
    for ((method, path), operation) in operations(&document) {
        for (status, answer) in operation["responses"].as_object().unwrap() {
            let name = answer["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
            let schema = &document["components"]["responses"][name]["content"]["application/json"]["schema"];
            let schema = schema["$ref"]
                .as_str()
                .filter(|_| schema["properties"].is_null())
                .map_or(schema, |path| document.pointer(path.trim_start_matches('#')).unwrap());
            match schema["properties"]["code"]["const"].as_str() {
                // A range that cannot be served has a status of its own.
                Some("VALIDATION_FAILED") if status == "416" => {}
                Some(code) => assert_eq!(&statuses[code], status, "{method} {path}: {code}"),
                None => assert!(status.starts_with(['2', '3']), "{method} {path}: {status} has no code"),
            }
        }
    }
}

#[test]
fn operations_are_complete_and_their_references_lead_somewhere() {
    let document = openapi();
    let mut ids = BTreeSet::new();
    for ((method, path), operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id.to_owned()), "{id} is there twice");
        let has = |status: &str| operation["responses"].get(status).is_some();
        assert!(has("500"), "{id}: everything may fail");
        let guarded = operation["x-callers"].is_array();
        assert_eq!(has("401"), guarded, "{id}: 401");
        assert_eq!(has("403"), guarded, "{id}: 403");
        let takes_a_body = operation["requestBody"].is_object();
        assert_eq!(
            takes_a_body,
            ["POST", "PATCH"].contains(&method.as_str()),
            "{id}: a body"
        );
        assert_eq!(has("413"), takes_a_body, "{id}: 413");
        assert!(has("400") || !takes_a_body, "{id}: 400");
        assert!(has("404") || !path.contains('{'), "{id}: 404");
    }
    let mut pending = vec![&document];
    while let Some(value) = pending.pop() {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            assert!(
                document.pointer(reference.trim_start_matches('#')).is_some(),
                "nothing is at {reference}"
            );
        }
        if let Some(target) = value.get("operationId").and_then(Value::as_str) {
            assert!(ids.contains(target), "there is no operation {target}");
        }
        match value {
            Value::Array(entries) => pending.extend(entries),
            Value::Object(entries) => pending.extend(entries.values()),
            _ => {}
        }
    }
}
