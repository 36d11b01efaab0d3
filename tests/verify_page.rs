//! The page of `orchestrate verify`, made from an examination that found something of every kind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

use orchestrate::verify::check::{Lane, Section};
use orchestrate::verify::lab::Exchange;
use orchestrate::verify::report::{Report, html, junit, sarif};
use orchestrate::verify::{Checked, Examined, Verdict};
use reference_core::http::{Request, Response};
use reference_native::Service;
use serde_json::json;

const HOSTILE: &str = "<script>alert('1')</script>\" onmouseover=\"alert(2)\u{202e}\u{1b}[2J";

fn checked(section: Section, name: &str, requirements: &[&'static str], verdict: Verdict) -> Checked {
    Checked {
        section,
        name: name.to_owned(),
        requirements: requirements.to_vec(),
        verdict,
        duration_ms: 1200,
        exchanges: Vec::new(),
        lanes: Vec::new(),
    }
}

fn response(status: u16, body: &serde_json::Value, server: &str) -> Response {
    Response {
        status,
        headers: [
            ("content-type", "application/json"),
            ("x-request-id", body["request_id"].as_str().unwrap()),
            ("server", server),
        ]
        .into_iter()
        .collect(),
        body: body.to_string().into_bytes(),
    }
}

fn exchange(path: &str, subject: Option<Response>) -> Exchange {
    let error = json!({ "error": "There is no such instance.", "code": "NOT_FOUND", "request_id": "3f0c8a52-6a0e-4d0b-9a52-0d6f3c1f7a01" });
    Exchange {
        service: Service::Image,
        request: Request::new("POST", path)
            .bearer("mas_1111111111111111111111111111111111111111111")
            .json(&json!({ "prompt": HOSTILE, "instance_id": "check-1" })),
        reference: response(404, &error, ""),
        subject,
        at_ms: 0,
    }
}

/// Something of every kind.
fn report() -> Report {
    let failed = |what: &str| Verdict::Failed { what: what.to_owned() };
    let other = json!({ "error": HOSTILE, "request_id": "11111111-6a0e-4d0b-9a52-0d6f3c1f7a02", "details": { "table": "instances" } });
    let mut contract = checked(
        Section::Contract,
        "unknown-path",
        &["API-03", "API-07"],
        failed("POST /generate: status 404 and 403; code \"NOT_FOUND\" and nothing"),
    );
    contract.exchanges = vec![
        exchange("/instance", Some(response(404, &json!({ "request_id": "a" }), "x"))),
        exchange("/generate?it's=this", Some(response(403, &other, "workerd"))),
    ];
    let mut silent = checked(Section::Faults, "hangs", &["API-12"], failed(HOSTILE));
    silent.exchanges = vec![exchange("/generate", None)];
    let stored = checked(
        Section::State,
        "keys-are-hashed",
        &["SEC-01"],
        failed(
            "stored: SELECT key_hash, key_prefix FROM api_keys ORDER BY created_at: [0].key_hash: \"b1946ac92492d2347c6235b4d2611184\" and \"mas_plain<b>\"",
        ),
    );
    let mut limiter = checked(
        Section::Limiter,
        "burst",
        &["LIMIT-01"],
        failed("10 requests a minute are allowed, 13 of 40 that ran side by side were let through"),
    );
    limiter.lanes = (0..40_u16)
        .map(|index| {
            let began_ms = f64::from(index % 12) * 3.5 + f64::from(index / 12) * 40.0;
            let admitted = index % 3 == 0 && index < 39;
            Lane {
                began_ms,
                ended_ms: began_ms + 12.0 + f64::from((index * 7) % 31),
                status: if admitted { 200 } else { 429 },
                admitted,
            }
        })
        .collect();
    let words = |what: &str| what.to_owned();
    let subject = Examined {
        name: "generated",
        findings: Vec::new(),
        checked: vec![
            contract,
            checked(Section::Contract, "health", &["API-16"], Verdict::Passed),
            checked(
                Section::Contract,
                "twice",
                &["API-17"],
                Verdict::Unspecified {
                    what: words("the first of two counts"),
                },
            ),
            checked(
                Section::Limiter,
                "restart",
                &["LIMIT-05"],
                Verdict::Alternative {
                    decision: "D9",
                    what: words("the window is gone after a restart"),
                },
            ),
            checked(
                Section::Time,
                "cache",
                &["CACHE-01"],
                Verdict::Error {
                    what: words("the reference answers 500"),
                },
            ),
            limiter,
            silent,
            stored,
        ],
        duration_ms: 48_211,
    };
    let fine = Examined {
        name: "reference-native",
        findings: Vec::new(),
        checked: subject
            .checked
            .iter()
            .map(|seen| checked(seen.section, &seen.name, &seen.requirements, Verdict::Passed))
            .collect(),
        duration_ms: 3000,
    };
    Report {
        others: vec![
            fine.clone(),
            Examined {
                name: "reference-worker",
                ..fine
            },
        ],
        subject,
        seed: 7,
        duration_ms: 51_211,
        is_interrupted: false,
        command: "orchestrate verify generated --seed 7".to_owned(),
        missing: None,
    }
}

#[test]
fn nothing_that_was_answered_is_markup() {
    let page = html::html(&report());
    std::fs::write(
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("verify-page.html"),
        &page,
    )
    .unwrap();
    assert!(!page.contains("<script") && !page.contains("\" onmouseover"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)"));
    for hidden in ['\u{1b}', '\u{202e}'] {
        assert!(!page.contains(hidden), "{hidden:?} reaches the page");
    }
    assert!(
        !page.contains("http://") && !page.contains("https://") && !page.contains("src="),
        "the page loads something"
    );
}

#[test]
fn each_failure_opens_all_that_was_seen_and_each_link_leads_somewhere() {
    let page = html::html(&report());
    for part in [
        "Every answer with a body",
        "seed, lines 368, 369",
        "contract 0.1, B.1",
        "curl -i --path-as-is -X POST &quot;$IMAGE_URL&quot;&#39;/generate?it",
        "<mark>− 404</mark>",
        "<mark>+ 403</mark>",
        "1 request before it",
        "(no answer)",
        "SELECT key_hash, key_prefix FROM api_keys",
        "accepted by",
    ] {
        assert!(page.contains(part), "`{part}` is missing");
    }
    // An id that chance decided is no difference.
    assert!(
        page.contains("<span class=\"chance\">  x-request-id: 3f0c8a52"),
        "{page}"
    );
    let mut links = 0;
    for link in page.split("href=\"#check-").skip(1) {
        let number = link.split('"').next().unwrap();
        assert!(
            page.contains(&format!("id=\"check-{number}\"")),
            "#check-{number} leads nowhere"
        );
        links += 1;
    }
    assert!(links >= 6, "only {links} links");
}

#[test]
fn a_race_is_a_picture_with_the_admitted_marked() {
    let page = html::html(&report());
    assert_eq!(page.matches("<rect class=\"in\"").count(), 13);
    assert_eq!(page.matches("<rect class=\"out\"").count(), 27);
    assert!(page.contains("40 requests side by side, 13 let through (filled, ✓), 27 turned away"));
}

#[test]
fn programs_get_the_same_words() {
    let report = report();
    let junit = junit::junit(&report);
    assert!(junit.contains("tests=\"8\" failures=\"4\" errors=\"1\""), "{junit}");
    assert!(!junit.contains("<script") && !junit.contains('\u{1b}'));
    let sarif: serde_json::Value = serde_json::from_str(&sarif::sarif(&report)).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let specification = include_str!("../specs/requirements.toml");
    for result in results {
        let line = result["locations"][0]["physicalLocation"]["region"]["startLine"]
            .as_u64()
            .unwrap();
        let named = specification.lines().nth(usize::try_from(line).unwrap() - 1).unwrap();
        assert_eq!(named, format!("id = \"{}\"", result["ruleId"].as_str().unwrap()));
    }
    assert_eq!(results.len(), 8, "a result for each requirement of what is remarkable");
}
