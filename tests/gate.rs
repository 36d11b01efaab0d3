//! `orchestrate gate` on real repositories: the real program, on a fresh clone that knows nothing but git.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

mod git_support;

use std::path::Path;
use std::process::Command;

use git_support::{Format, Repository, for_each_format, isolate, landing};
use orchestrate::core::event::{GateOutcome, Preparation};
use orchestrate::ids::{BranchName, Oid};
use orchestrate::plan::Gate;
use orchestrate::shell::git::{Git, Landing};

const PLAN: &str = "version: 1
project: little
repository: { base: main }
specs: specs/
prompts: prompts/
gates: { agent: test -f one, team: none, main: 'true' }
phases:
  - id: 1
    name: First
    teams:
      - id: 1
        name: Only
        branch: team-1
        leader: { prompt: leader.md.tera }
        deliverables: [README.md]
        agents:
          - id: '1.1'
            name: One
            branch: agent-1-1
            prompt: agent.md.tera
            completion: Part one complete
            owns: [one]
            deliverables: [one]
";

fn plan_in(repository: &Repository) {
    repository.write("phases.yaml", PLAN);
    repository.write("prompts/leader.md.tera", "Lead.\n");
    repository.write("prompts/agent.md.tera", "Work.\n");
    repository.write("specs/README.md", "Facts.\n");
    repository.commit("Plan");
}

/// Exit status and standard output of `orchestrate gate`.
fn gate(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orchestrate"));
    isolate(&mut command, directory);
    let output = command
        .arg("gate")
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (
        output.status.code(),
        format!(
            "{text}{}",
            if text.is_empty() {
                String::from_utf8_lossy(&output.stderr)
            } else {
                "".into()
            }
        ),
    )
}

fn merge(git: &Git, source: &Oid, target: &str, subject: &str, gate: Gate) -> Oid {
    let Preparation::Clean { tree, onto } = git
        .prepare_merge(
            source,
            None,
            &git.tip(&BranchName::new(target)).unwrap().unwrap(),
            &[],
            &[],
        )
        .unwrap()
    else {
        panic!("no clean merge of {subject}");
    };
    let outcome = matches!(gate, Gate::Command(_)).then_some(GateOutcome::Passed);
    let mut land = landing(target, &onto, source, &tree, gate, outcome);
    land.subject = subject.to_owned();
    match git.land(&land).unwrap() {
        Landing::Landed(oid) => oid,
        Landing::Refused(refusal) => panic!("{refusal:?}"),
    }
}

/// Everything up to the team's branch; `completion` is the agent's last subject.
fn work(repository: &Repository, completion: &str) -> (Git, Oid) {
    plan_in(repository);
    let git = repository.open();
    repository.git(&["branch", "team-1"]);
    repository.git(&["checkout", "-qb", "agent-1-1"]);
    let source = repository.commit_file("one", "1\n", completion);
    merge(
        &git,
        &source,
        "team-1",
        "[MERGE] Merged agent-1-1 into team-1",
        Gate::Command("test -f one".to_owned()),
    );
    repository.git(&["checkout", "-qb", "team-1-integration", "team-1"]);
    let source = repository.commit_file(
        "README.md",
        "Read\n",
        "[TEAM-1] Phase complete: Only integrated and tested",
    );
    let team = merge(
        &git,
        &source,
        "team-1",
        "[MERGE] Merged leader-1 into team-1",
        Gate::None,
    );
    repository.git(&["checkout", "-q", "main"]);
    (git, team)
}

const LANDING: &str = "[MERGE] Merged team-1 into main";

fn main_gate() -> Gate {
    Gate::Command("true".to_owned())
}

#[test]
fn gate_holds_on_a_fresh_clone_that_has_only_main() {
    for_each_format(|repository| {
        let (git, team) = work(repository, "[AGENT-1-1] Part one complete");
        let (code, text) = gate(&repository.path, &["1"]);
        assert_eq!(code, Some(4), "{text}");
        assert!(
            text.contains("no commit `[MERGE] Merged team-1 into main` on main"),
            "{text}"
        );
        assert!(text.contains("helps: orchestrate run"), "{text}");
        merge(&git, &team, "main", LANDING, main_gate());
        let clone = repository.beside("clone");
        repository.git_in(
            repository.path.parent().unwrap(),
            &["clone", "-q", "--single-branch", "repository", "clone"],
        );
        for phase in ["1", "main"] {
            let (code, text) = gate(&clone, &[phase]);
            assert_eq!(code, Some(0), "{text}");
        }
        // No local branch at all, as CI checks out.
        repository.git_in(&clone, &["checkout", "-q", "--detach"]);
        repository.git_in(&clone, &["branch", "-q", "-D", "main"]);
        let (code, text) = gate(&clone, &["1", "--json"]);
        assert_eq!(code, Some(0), "{text}");
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (
                document["schema"].as_u64(),
                document["holds"].as_bool(),
                document["base"].as_str()
            ),
            (Some(1), Some(true), Some("origin/main"))
        );
        assert_eq!(document["teams"][0]["checks"].as_array().unwrap().len(), 5);
    });
}

#[test]
fn gate_is_not_met_by_work_that_only_looks_done() {
    // The landing was made by hand: it has no receipt.
    let repository = Repository::new(Format::Files);
    work(&repository, "[AGENT-1-1] Part one complete");
    repository.git(&["merge", "-q", "--no-ff", "-m", LANDING, "team-1"]);
    let (code, text) = gate(&repository.path, &["1"]);
    assert_eq!(code, Some(4), "{text}");
    assert!(
        text.contains("no valid receipt: the trailer Orchestrate-Gate is missing"),
        "{text}"
    );

    // The agent never said that it was done: another phrase, another's tag, or half a word.
    for subject in [
        "[AGENT-1-1] Part one started",
        "[AGENT-1-2] Part one complete",
        "[AGENT-1-1] Part one completed",
    ] {
        let repository = Repository::new(Format::Files);
        let (git, team) = work(&repository, subject);
        merge(&git, &team, "main", LANDING, main_gate());
        let (code, text) = gate(&repository.path, &["1"]);
        assert_eq!(code, Some(4), "{subject}: {text}");
        assert!(
            text.contains("none of its commits says `[AGENT-1-1] ... Part one complete`"),
            "{text}"
        );
    }

    // It landed under another gate than the plan's, and a deliverable has gone since.
    let repository = Repository::new(Format::Files);
    let (git, team) = work(&repository, "[AGENT-1-1] Part one complete");
    merge(&git, &team, "main", LANDING, Gate::Command("something else".to_owned()));
    repository.git(&["rm", "-q", "one"]);
    repository.commit("Remove it");
    let (code, text) = gate(&repository.path, &["main"]);
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("it passed another gate than the plan's `true`"), "{text}");
    assert!(text.contains("nothing matches one"), "{text}");
    assert!(text.contains("not met on main"), "{text}");
}

#[test]
fn gate_names_what_is_wrong_with_the_question() {
    let repository = Repository::new(Format::Files);
    work(&repository, "[AGENT-1-1] Part one complete");
    let (code, text) = gate(&repository.path, &["7"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("its phases are 1"), "{text}");
    let url = format!("file://{}", repository.path.display());
    repository.git_in(
        repository.path.parent().unwrap(),
        &["clone", "-q", "--depth", "1", &url, "shallow"],
    );
    let (code, text) = gate(&repository.beside("shallow"), &["1"]);
    assert_eq!(code, Some(7), "{text}");
    assert!(text.contains("git fetch --unshallow"), "{text}");
}
