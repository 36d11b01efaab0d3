//! `orchestrate verify` on systems that are broken as only generated ones are: always a clear report and status 5, never a hang, nothing left behind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

#[path = "support/systems.rs"]
mod systems;

use std::time::{Duration, Instant};

use insta::assert_snapshot;
use systems::{System, answering};

/// One check that asks for little.
const ONE: [&str; 3] = [".", "--only", "contract/paths-that-do-not-exist"];

#[test]
fn nothing_at_all_is_one_finding() {
    let system = System::empty();
    let output = system.verify(&ONE);
    assert_snapshot!(system.told(&output));
    system.assert_nothing_left();
}

#[test]
fn a_part_that_is_missing_is_named() {
    let system = System::empty();
    system.worker("infrastructure/config-service", &answering("new Response('')"));
    let output = system.verify(&ONE);
    assert_snapshot!(system.told(&output));

    let so_far = system.verify(&[".", "--only", "contract/paths-that-do-not-exist", "--so-far"]);
    assert_snapshot!(system.told(&so_far));
    system.assert_nothing_left();
}

#[test]
fn code_that_does_not_build_is_one_finding_with_its_first_lines() {
    let system = System::of("import { Hono } from 'hono';\nexport default new Hono();\n");
    let output = system.verify(&ONE);
    assert_snapshot!(system.told(&output));
    system.assert_nothing_left();
}

#[test]
fn a_worker_that_fails_as_it_starts_is_one_finding() {
    let system = System::of("throw new Error('not today');\n");
    let output = system.verify(&ONE);
    assert_snapshot!(system.told(&output));
    system.assert_nothing_left();
}

#[test]
fn a_worker_that_never_answers_is_given_up() {
    let system = System::of(&answering("new Promise((resolve) => setTimeout(resolve, 3600000))"));
    let began = Instant::now();
    let output = system.verify(&ONE);
    assert!(began.elapsed() < Duration::from_secs(120), "{:?}", began.elapsed());
    assert_snapshot!(system.told(&output));
    system.assert_nothing_left();
}

#[test]
fn an_answer_without_end_is_cut() {
    let endless =
        "new Response(new ReadableStream({ pull(controller) { controller.enqueue(new Uint8Array(1 << 20)); } }))";
    let system = System::of(&answering(endless));
    let output = system.verify(&ONE);
    assert_snapshot!(system.told(&output));
    system.assert_nothing_left();
}

#[test]
fn whoever_prints_without_end_fills_no_disk() {
    let noisy = "(() => { for (let i = 0; i < 30000; i++) console.log('x'.repeat(1000)); return new Response(''); })()";
    let system = System::of(&answering(noisy));
    let mut child = system.begin(&ONE);
    let mut largest = 0;
    while child.try_wait().unwrap().is_none() {
        largest = largest.max(log_bytes(&system));
        std::thread::yield_now();
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", system.told(&output));
    assert!(largest > 0, "nothing was printed");
    assert!(largest < 40 << 20, "{largest} bytes were kept");
    system.assert_nothing_left();
}

/// The largest log of a workerd.
fn log_bytes(system: &System) -> u64 {
    let mut open = vec![system.temporary()];
    let mut largest = 0;
    while let Some(directory) = open.pop() {
        // It may be gone by now.
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.ends_with("workerd.log") {
                largest = largest.max(entry.metadata().map(|metadata| metadata.len()).unwrap_or(0));
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(path);
            }
        }
    }
    largest
}

#[test]
fn rubbish_is_told_in_every_form_and_never_as_markup() {
    let rubbish = "new Response('<script>alert(1)</script>\\u0000\\u001b[2J', { status: 299, headers: { 'x-evil': '<script>' } })";
    let system = System::of(&answering(rubbish));
    let database = "name = \"config-service\"\nmain = \"index.ts\"\ncompatibility_date = \"2026-04-01\"\n[[d1_databases]]\nbinding = \"DB\"\ndatabase_name = \"main\"\n";
    std::fs::write(
        system.root().join("infrastructure/config-service/wrangler.toml"),
        database,
    )
    .unwrap();
    let schema = system.root().join("infrastructure/config-service/migrations");
    std::fs::create_dir(&schema).unwrap();
    std::fs::write(schema.join("001.sql"), reference_core::SCHEMA).unwrap();
    let files = ["page.html", "junit.xml", "report.sarif"].map(|name| system.file(name));
    let [page, junit, sarif] = files.each_ref().map(|file| file.to_str().unwrap());
    let mut arguments = ONE.to_vec();
    arguments.extend(["--html", page, "--junit", junit, "--sarif", sarif, "--github"]);
    let output = system.verify(&arguments);
    let told = system.told(&output);
    assert_eq!(output.status.code(), Some(5), "{told}");
    assert!(told.contains("API-07 MUST"), "{told}");
    assert!(told.contains("::error file=specs/requirements.toml,line="), "{told}");
    assert!(
        !output.stdout.contains(&0x1b) && !output.stderr.contains(&0x1b),
        "{told}"
    );

    let [page, junit, sarif] = files.map(|file| std::fs::read_to_string(file).unwrap());
    assert!(!page.contains("<script"), "markup of an answer reaches the page");
    assert!(page.contains("&lt;script&gt;alert(1)"), "the answer is not on the page");
    assert!(page.contains("curl -i --path-as-is"), "no way to do it again");
    assert!(page.contains("default-src 'none'"), "the page may load things");
    assert!(
        !junit.contains("<script") && junit.contains("failures=\"1\""),
        "{junit}"
    );
    let sarif: serde_json::Value = serde_json::from_str(&sarif).unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "API-07", "{sarif}");

    let output = system.verify(&[".", "--only", "contract/paths-that-do-not-exist", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["schema"], 1);
    assert_eq!(document["result"], "fail");
    assert_eq!(document["checks"][0]["verdict"], "fail", "{document}");
    assert_eq!(
        document["checks"][0]["exchanges"][0]["subject"]["status"], 299,
        "{document}"
    );
    system.assert_nothing_left();
}

#[test]
fn an_interrupted_examination_leaves_nothing() {
    let system = System::of(&answering("new Promise((resolve) => setTimeout(resolve, 3600000))"));
    let mut child = system.begin(&ONE);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !system.processes().iter().any(|line| line.contains("workerd")) {
        assert!(
            Instant::now() < deadline && child.try_wait().unwrap().is_none(),
            "workerd does not start"
        );
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let began = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(output.status.code(), Some(130), "{}", system.told(&output));
    system.assert_nothing_left();
}

#[test]
fn tools_that_cannot_be_had_are_not_the_systems_fault() {
    let system = System::of(&answering("new Response('')"));
    // Where they are kept nothing can be kept.
    std::fs::remove_file(system.file("cache/orchestrate")).unwrap();
    std::fs::write(system.file("cache/orchestrate"), "").unwrap();
    let output = system.verify(&ONE);
    let told = system.told(&output);
    assert_eq!(output.status.code(), Some(7), "{told}");
    assert!(told.contains("error: cannot create"), "{told}");
    system.assert_nothing_left();
}
