//! (d) `status --json` on a repository with much history and a long journal, beside the search of all history that it replaces.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;

use orchestrate::core::event::{Event, Usage};
use orchestrate::ids::{Actor, AgentId, Attempt, MicroDollars};
use orchestrate::shell::clock;
use orchestrate::shell::journal::Journal;

use crate::figures::{Samples, Table};
use crate::fixture::{Fixture, INSTANT_AGENT, Shape, setting};

const GOAL_MS: f64 = 50.0;
const BRANCHES: usize = 1_000;
const COMMITS_OF_A_BRANCH: usize = 100;
/// Eight agents for eight hours, a sign of life of each every ten seconds.
const SIGNS_OF_LIFE: usize = 8 * 8 * 360;

pub(crate) fn measure(table: &mut Table) {
    let rounds = setting("OVERHEAD_ROUNDS", 15);
    let fixture = Fixture::new(&Shape::seed(4), INSTANT_AGENT);
    grow(&fixture);
    fixture.output(fixture.orchestrate().args(["run", "--team", "1"]));
    remember_a_night(&fixture);
    fixture.run();
    let (mut ours, mut search) = (Samples::default(), Samples::default());
    for round in 0..rounds {
        let document = ours.time(|| fixture.output(fixture.orchestrate().args(["status", "--json"])));
        assert!(document.contains("\"complete\""), "{document}");
        // It takes long, and hardly varies.
        if round % 4 == 0 {
            let found =
                search.time(|| fixture.git(&["log", "--all", "--grep=^\\[AGENT-[0-9]-[0-9]\\]", "--format=%H %s"]));
            assert!(found.lines().count() >= 16, "{found}");
        }
    }
    table.ours(
        "d",
        &format!(
            "status --json, {} commits, {BRANCHES} branches, {SIGNS_OF_LIFE} signs of life",
            BRANCHES * COMMITS_OF_A_BRANCH
        ),
        &ours,
        "ms",
        GOAL_MS,
    );
    table.peer("d", "git log --all --grep", &search, "ms");
}

/// History of many others.
fn grow(fixture: &Fixture) {
    let start = fixture.git(&["rev-parse", "main"]);
    let mut import = fixture
        .program("git")
        .args(["fast-import", "--quiet"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("git starts");
    let mut pipe = import.stdin.take().expect("a pipe");
    for branch in 0..BRANCHES {
        let mut text = String::new();
        for commit in 0..COMMITS_OF_A_BRANCH {
            let message =
                format!("[FEATURE-{branch}] Component {commit}: one of many changes\n\nWith a body that says why.\n");
            let content = format!("{branch} {commit}\n");
            let _ = write!(
                text,
                "commit refs/heads/feature-{branch}\ncommitter Other <other@localhost> {} +0000\ndata {}\n{message}",
                1_700_000_000 + branch * COMMITS_OF_A_BRANCH + commit,
                message.len()
            );
            if commit == 0 {
                let _ = writeln!(text, "from {start}");
            }
            let _ = write!(
                text,
                "M 100644 inline feature/{branch}.txt\ndata {}\n{content}\n",
                content.len()
            );
        }
        pipe.write_all(text.as_bytes()).expect("git reads");
    }
    drop(pipe);
    assert!(import.wait().expect("git ends").success());
}

/// What a long run leaves in the journal: signs of life.
fn remember_a_night(fixture: &Fixture) {
    let (mut journal, _lock) = Journal::open_for_run(&fixture.git_directory(), clock::now()).expect("the journal");
    let events: Vec<Event> = (0..SIGNS_OF_LIFE)
        .map(|sign| Event::AgentProgressed {
            actor: Actor::Agent(AgentId::new(format!("1.{}", sign % 4 + 1))),
            attempt: Attempt(1),
            usage: Usage {
                cost: MicroDollars(1_000 * sign as u64),
                tokens: 500 * sign as u64,
            },
            session: Some("2b5a8f0e-6c3d-4f18-9a27-7d1c0e4b9f63".to_owned()),
        })
        .collect();
    for batch in events.chunks(256) {
        journal.append(clock::now(), batch).expect("the journal takes it");
    }
}
