//! The command line of `orchestrate verify`, and its word on the generated system.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

#[path = "support/systems.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod systems;

use std::path::Path;

use insta::assert_snapshot;
use systems::System;

fn generated() -> String {
    let generated = Path::new(env!("CARGO_MANIFEST_DIR")).join("generated");
    generated.to_str().unwrap().to_owned()
}

#[test]
fn a_requirement_explains_itself_wherever_the_program_stands() {
    let system = System::empty();
    let output = system.verify(&["--explain", "limit-01"]);
    let told = system.told(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    for part in [
        "LIMIT-01 MUST In any 60 seconds",
        "specs/requirements.toml:",
        "seed      81-83, 99,",
        "contract  specs/",
        "decided   D",
        "next: orchestrate verify --only LIMIT-01",
    ] {
        assert!(told.contains(part), "`{part}` is missing in:\n{told}");
    }
}

#[test]
fn what_is_not_there_is_asked_back() {
    let system = System::empty();
    let output = system.verify(&["--only", "API-71"]);
    assert_snapshot!(system.told(&output));
    let output = system.verify(&["--explain", "LIMT-01"]);
    assert_snapshot!(system.told(&output));
    let output = system.verify(&["--section", "contrat"]);
    assert_eq!(output.status.code(), Some(2), "{}", system.told(&output));
    assert!(
        system.told(&output).contains("did you mean `contract`?"),
        "{}",
        system.told(&output)
    );
    let output = system.verify(&["nowhere"]);
    assert_snapshot!(system.told(&output));
}

#[test]
fn the_generated_system_and_the_reference_hold_one_requirement() {
    let system = System::empty();
    let page = system.file("page.html");
    let generated = generated();
    let arguments = [
        &generated,
        "--only",
        "contract/unknown-path",
        "--html",
        page.to_str().unwrap(),
    ];
    let output = system.verify(&arguments);
    assert_snapshot!(system.told(&output).replace(&generated, "GENERATED"));
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("reference-native"), "the reference has no column");
    assert!(!page.contains("<script") && !page.contains("http-equiv=\"refresh\""));
    system.assert_nothing_left();
}
