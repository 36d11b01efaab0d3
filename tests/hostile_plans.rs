//! Plans made to hang, to crash or to mislead: each gets an error at once.

#[path = "support/cli.rs"]
mod cli;

use std::collections::BTreeMap;
use std::fs;
use std::process::Output;
use std::time::{Duration, Instant};

use orchestrate::plan::diagnostic::Severity;
use orchestrate::plan::{self, draw};

use cli::{err, orchestrate, plans};

/// A plan in a directory with the good plans' prompts, checked by the program; it must answer within ten seconds, in a debug build beside other tests.
fn answers_at_once(text: &[u8]) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("phases.yaml"), text).expect("a plan");
    let started = Instant::now();
    let output = orchestrate(directory.path(), &["check"]);
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?} for {:?}",
        started.elapsed(),
        String::from_utf8_lossy(&text[..text.len().min(80)])
    );
    assert!(
        output.stderr.len() < 2_000_000,
        "{} bytes of findings",
        output.stderr.len()
    );
    output
}

fn refused_with(output: &Output, code: &str) {
    assert_eq!(output.status.code(), Some(3), "{}", err(output));
    assert!(err(output).contains(&format!("[{code}]")), "{}", err(output));
}

#[test]
fn hostile_plans_get_an_error_not_a_hang() {
    let head = "version: 1\nproject: p\ngates: { agent: none, team: none, main: none }\n";
    refused_with(&answers_at_once("[".repeat(500_000).as_bytes()), "E0102");
    refused_with(&answers_at_once("{a: ".repeat(200_000).as_bytes()), "E0102");
    refused_with(&answers_at_once("- ".repeat(400_000).as_bytes()), "E0102");
    refused_with(&answers_at_once("? ".repeat(400_000).as_bytes()), "E0102");
    refused_with(
        &answers_at_once(format!("{head}phases: \"{}\"\n", "x".repeat(1_000_000)).as_bytes()),
        "E0106",
    );
    refused_with(&answers_at_once("x".repeat(1_048_577).as_bytes()), "E0102");
    refused_with(
        &answers_at_once(format!("a: &a [{}]\nb: [*a, *a, *a]\n", "x,".repeat(20_000)).as_bytes()),
        "E0102",
    );
    refused_with(&answers_at_once("a: &a [*a]\n".as_bytes()), "E0101");
    let many_keys: String = (0..20_000).map(|number| format!("key{number}: 1\n")).collect();
    refused_with(&answers_at_once(many_keys.as_bytes()), "E0103");
    let same_keys = "version: 1\n".repeat(20_000);
    refused_with(&answers_at_once(same_keys.as_bytes()), "E0105");

    let agents = |owns: &dyn Fn(usize) -> String, needs: &dyn Fn(usize) -> String, count: usize| {
        let list: String = (0..count)
            .map(|n| {
                format!(
                    "  - {{id: a{n}, name: n, branch: b{n}, needs: [{}], prompt: a.tera, completion: c, owns: [{}]}}\n",
                    needs(n),
                    owns(n)
                )
            })
            .collect();
        format!(
            "{head}phases:\n- id: p\n  name: n\n  teams:\n  - id: t\n    name: n\n    branch: t\n    leader: {{ prompt: l.tera }}\n    agents:\n{}",
            list.replace("  - {", "    - {")
        )
    };
    let none = |_: usize| String::new();
    // Every two of them meet, or cannot be told apart by their beginnings.
    refused_with(
        &answers_at_once(agents(&|_| "\"**\"".to_owned(), &none, 2_500).as_bytes()),
        "E0210",
    );
    refused_with(
        &answers_at_once(agents(&|n| format!("\"**/*a*b*c*d*e{n}\""), &none, 2_500).as_bytes()),
        "E0102",
    );
    let intricate = "[ab]".repeat(60) + &"{a,b}*".repeat(30);
    refused_with(
        &answers_at_once(agents(&|n| format!("\"*{intricate}{n}\""), &none, 50).as_bytes()),
        "E0102",
    );
    // One long chain, and its end bound to its beginning.
    let chain = |n: usize| {
        if n == 0 {
            "a2499".to_owned()
        } else {
            format!("a{}", n - 1)
        }
    };
    refused_with(
        &answers_at_once(agents(&|n| format!("d{n}/**"), &chain, 2_500).as_bytes()),
        "E0205",
    );
    let unknown = |n: usize| format!("x{n}, y{n}, z{n}");
    refused_with(
        &answers_at_once(agents(&|n| format!("d{n}/**"), &unknown, 2_000).as_bytes()),
        "E0203",
    );
    let phases: String = (0..6_000)
        .map(|n| format!("- {{id: p{n}, name: n, needs: [p{}]}}\n", (n + 1) % 6_000))
        .collect();
    refused_with(&answers_at_once(format!("{head}phases:\n{phases}").as_bytes()), "E0204");
}

#[test]
fn a_plan_of_a_gibibyte_is_not_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = fs::File::create(directory.path().join("phases.yaml")).expect("a file");
    file.set_len(1 << 30).expect("a sparse file");
    let started = Instant::now();
    refused_with(&orchestrate(directory.path(), &["check"]), "E0102");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn terminals_get_no_control_characters_from_a_plan() {
    let text = "version: 1\n\"\\e[31mred\\u0007\": 1\nproject: \"\\e]0;title\\u0007\"\nspecs: \"/\\e[2J\"\n";
    let output = answers_at_once(text.as_bytes());
    refused_with(&output, "E0103");
    assert!(
        !output.stderr.contains(&0x1b) && !output.stderr.contains(&7),
        "{:?}",
        err(&output)
    );
    let raw = answers_at_once(b"version: 1\nproject: a\x1b[31mb\n");
    assert!(!raw.stderr.contains(&0x1b), "{:?}", err(&raw));
}

#[test]
fn ten_thousand_broken_plans_are_refused_or_read_but_never_crash() {
    let plans: Vec<String> = ["smallest.yaml", "everything.yaml"]
        .iter()
        .map(|name| fs::read_to_string(plans("good").join(name)).expect("a plan"))
        .collect();
    let scraps = [
        "[", "]", "{", "}", ":", "- ", "\n", " ", "\t", "&a ", "*a", "\"", "'", "|", ">", "#", "null", "0", "-1",
        "1e9", ".nan", "é", "\u{feff}", "---\n", "<<", "!!int ", "**", ",",
    ];
    let mut seed: u64 = 7;
    let mut below = |limit: usize| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % limit.max(1)
    };
    let mut codes_seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut valid = 0;
    for round in 0..10_000 {
        let mut text: Vec<char> = plans[round % plans.len()].chars().collect();
        for _ in 0..=below(3) {
            let at = below(text.len());
            match below(4) {
                0 => drop(text.splice(at..at, scraps[below(scraps.len())].chars())),
                1 => drop(text.drain(at..(at + below(12)).min(text.len()))),
                2 => text.truncate(at.max(1)),
                _ => {
                    let from = below(text.len());
                    let piece: Vec<char> = text[from..(from + below(40)).min(text.len())].to_vec();
                    drop(text.splice(at..at, piece));
                }
            }
        }
        let text: String = text.into_iter().collect();
        let loaded = plan::parse(&text, "phases.yaml");
        let errors = loaded.count(Severity::Error);
        assert_eq!(
            loaded.plan.is_none(),
            errors > 0,
            "a plan and its findings disagree on\n{text}"
        );
        valid += usize::from(errors == 0);
        for diagnostic in &loaded.diagnostics {
            *codes_seen.entry(diagnostic.code.as_str()).or_default() += 1;
            for label in &diagnostic.labels {
                assert!(
                    text.get(label.span.clone()).is_some(),
                    "{diagnostic:?} points outside of\n{text}"
                );
            }
        }
        if round % 20 == 0 {
            assert!(draw::text(&loaded, true).len() >= loaded.diagnostics.len());
        }
    }
    assert!(
        valid > 100,
        "{valid} of them are valid, which says that hardly anything is broken"
    );
    assert!(codes_seen.len() > 15, "{codes_seen:?}");
}
