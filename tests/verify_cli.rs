//! The command line of `orchestrate verify`, and its word on the generated system.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

#[path = "support/systems.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod systems;

use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use orchestrate::plan::Plan;
use orchestrate::shell::git::PathGlobs;
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
        "contract/paths-that-do-not-exist",
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

/// Everything of the generated system but what lies below `without`.
fn copy_of_generated(system: &System, without: &[&str]) {
    let from = PathBuf::from(generated());
    let mut open = vec![PathBuf::new()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(from.join(&directory)).unwrap() {
            let entry = entry.unwrap();
            let path = directory.join(entry.file_name());
            if without.iter().any(|without| path.starts_with(without)) {
                continue;
            }
            let to = system.root().join(&path);
            if path.starts_with("node_modules") {
                std::os::unix::fs::symlink(entry.path(), to).unwrap();
            } else if entry.file_type().unwrap().is_dir() {
                std::fs::create_dir_all(to).unwrap();
                open.push(path);
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }
}

#[test]
fn a_system_that_is_being_built_is_examined_as_far_as_it_is() {
    // As main stands when only the first team has landed.
    let system = System::empty();
    copy_of_generated(&system, &["workers", "interfaces", "scripts", "docs", ".github"]);
    let output = system.verify(&[".", "--so-far"]);
    let told = system.told(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("the rest waits for workers/image-gen"), "{told}");
    let output = system.verify(&[".", "--section", "contract"]);
    assert_eq!(output.status.code(), Some(5), "{}", system.told(&output));

    // What is there must come up even so.
    let main = system.root().join("infrastructure/config-service/wrangler.toml");
    let configuration = std::fs::read_to_string(&main).unwrap();
    std::fs::write(&main, configuration.replace("main = \"", "main = \"not-")).unwrap();
    let output = system.verify(&[".", "--so-far"]);
    let told = system.told(&output);
    assert_eq!(output.status.code(), Some(5), "{told}");
    assert!(told.contains("does not build"), "{told}");
    system.assert_nothing_left();
}

/// Copies what matches `globs`, and what nobody owns, of the bundled build.
fn lay_out(plan: &Plan, teams: &[&str], root: &Path) {
    let owned = |takes_part: &dyn Fn(&str) -> bool| {
        let globs: Vec<String> = plan
            .teams()
            .filter(|team| takes_part(team.id.as_str()))
            .flat_map(|team| {
                let agents = team.agents.iter().flat_map(|agent| agent.owns.clone());
                team.deliverables.iter().cloned().chain(agents)
            })
            .collect();
        PathGlobs::new(&globs).unwrap()
    };
    let (present, later) = (
        owned(&|team| teams.contains(&team)),
        owned(&|team| !teams.contains(&team)),
    );
    let original = PathBuf::from(generated());
    let listed = std::process::Command::new("git")
        .args(["-C", &generated(), "ls-files"])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for file in listed
        .lines()
        .filter(|file| present.matches(file) || !later.matches(file))
    {
        let target = root.join(file);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(original.join(file), target).unwrap();
    }
    std::os::unix::fs::symlink(original.join("node_modules"), root.join("node_modules")).unwrap();
}

#[test]
fn what_a_landing_brings_holds_before_the_others_have_landed() {
    let plan_file = Path::new(env!("CARGO_MANIFEST_DIR")).join("phases.yaml");
    let plan = orchestrate::plan::load(&plan_file, "phases.yaml").plan.unwrap();
    for teams in [&["1"][..], &["1", "2"], &["1", "3"], &["1", "2", "3"]] {
        let system = System::empty();
        lay_out(&plan, teams, &system.root());
        let root = system.root();
        let output = system.verify(&[root.to_str().unwrap(), "--so-far", "--section", "static"]);
        let told = system.told(&output);
        assert_eq!(output.status.code(), Some(0), "with teams {teams:?}:\n{told}");
        assert!(!told.contains("unspecified:"), "with teams {teams:?}:\n{told}");
    }
}
