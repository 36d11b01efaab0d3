//! `doctor` with the real program: every line says what was found, and the exact command where something is missing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::common::story::Story;
use crate::common::told::plan;
use orchestrate::core::event::{Event, RULES};

const PLAN: &str = "version: 1
project: example
agent: { driver: claude, program: tools/claude }
gates: { agent: none, team: none, main: npm test }
phases:
  - id: 1
    name: Foundation
    teams:
      - id: 1
        name: Core
        branch: team-1
        leader: { prompt: leader.md.tera }
        agents:
          - id: \"1.1\"
            name: Schema
            branch: agent-1-1
            prompt: agent.md.tera
            completion: Schema complete
            owns: [schema/**]
";

/// A repository with everything that a run needs, and a `PATH` of its own.
struct Machine {
    story: Story,
    programs: PathBuf,
}

impl Machine {
    fn new() -> Self {
        let story = Story::new();
        let programs = story.directory.path().join("programs");
        fs::create_dir(&programs).unwrap();
        for name in ["git", "sh"] {
            let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
                .map(|directory| directory.join(name))
                .find(|path| path.is_file())
                .unwrap();
            std::os::unix::fs::symlink(found, programs.join(name)).unwrap();
        }
        let machine = Self { story, programs };
        machine.program("programs/node", "echo v22.1.0");
        machine.program("programs/npm", "echo 10.0.0");
        machine.program("shop/tools/claude", "echo '2.1.330 (Claude Code)'");
        let repository = machine.story.repository();
        for (name, text) in [
            ("phases.yaml", PLAN),
            (
                "prompts/agent.md.tera",
                "Work on {{ agent.branch }}, then commit:\n\n    {{ completion_line }}\n",
            ),
            (
                "prompts/leader.md.tera",
                "Integrate {{ team.name }}, then commit:\n\n    {{ completion_line }}\n",
            ),
            ("specs/architecture.md", "# Architecture\n"),
        ] {
            let file = repository.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        machine.story.git(&["config", "user.name", "A"]);
        machine.story.git(&["config", "user.email", "a@example.org"]);
        machine.story.git(&["add", "--all"]);
        machine.story.git(&["commit", "--quiet", "--message", "Begin"]);
        machine
    }

    fn program(&self, name: &str, script: &str) {
        let file = self.story.directory.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The answer without what hangs on the machine that the test runs on: git's version, room on the disk.
    fn ask(&self) -> String {
        let mut command = self.story.command(&["doctor"]);
        command.env("PATH", &self.programs).env("ANTHROPIC_API_KEY", "k");
        let answer = self.story.redact(&command.output().unwrap());
        let lines: Vec<&str> = answer
            .lines()
            .map(|line| match line {
                _ if line.starts_with("ok    git ") => "ok    git           VERSION",
                _ if line.contains("GiB free") => "ok    disk          ROOM",
                _ => line,
            })
            .collect();
        lines.join("\n")
    }
}

#[track_caller]
fn check(found: &str, expected: &str) {
    assert!(found == expected, "found:\n{found}\nexpected:\n{expected}");
}

#[test]
fn doctor_finds_everything_on_a_healthy_machine() {
    check(
        &Machine::new().ask(),
        "\
ok    plan          phases.yaml: 1 phase, 1 team, 1 agent
ok    git           VERSION
ok    repository    REPOSITORY
ok    checkout      on `main`, clean
ok    agents        tools/claude 2.1.330 (Claude Code)
ok    login         a key is in the environment
ok    node          22.1.0
ok    npm           10.0.0
ok    disk          ROOM
ok    journal       none: no run yet

everything is there: `orchestrate run` may start",
    );
}

#[test]
fn doctor_names_the_remedy_for_everything_that_is_missing() {
    let machine = Machine::new();
    let repository = machine.story.repository();
    fs::remove_file(repository.join("tools/claude")).unwrap();
    machine.program("programs/node", "echo v18.0.0");
    fs::remove_file(machine.programs.join("npm")).unwrap();
    machine.story.git(&["config", "--unset", "user.name"]);
    check(
        &machine.ask(),
        "\
ok    plan          phases.yaml: 1 phase, 1 team, 1 agent
ok    git           VERSION
ok    repository    REPOSITORY
warn  checkout      1 uncommitted change on `main`: landings there wait until it is clean
                    hint: git stash --include-untracked, or commit them
warn  identity      git does not know who commits, so that an agent's commits may fail
                    hint: git config user.name \"NAME\" && git config user.email ADDRESS
FAIL  agents        the agents' program `tools/claude` is not found
                    hint: npm install --global @anthropic-ai/claude-code, or name another program as `agent.program` in phases.yaml
ok    login         a key is in the environment
FAIL  node          v18.0.0 is too old for the gates
                    hint: install Node.js 20 or newer, which brings npm
FAIL  npm           the gates need it and it does not answer
                    hint: install Node.js 20 or newer, which brings npm
ok    disk          ROOM
ok    journal       none: no run yet

3 problems to solve before `orchestrate run`, 2 warnings
[exit status: 7]",
    );
}

#[test]
fn doctor_looks_at_the_plan_the_commits_and_the_journal() {
    let machine = Machine::new();
    let repository = machine.story.repository();
    fs::write(
        repository.join("phases.yaml"),
        PLAN.replace("owns: [schema/**]", "own: [schema/**]"),
    )
    .unwrap();
    let answer = machine.ask();
    assert!(answer.starts_with("FAIL  plan          phases.yaml has "), "{answer}");
    assert!(answer.contains("hint: orchestrate check\n"), "{answer}");

    fs::remove_file(repository.join("phases.yaml")).unwrap();
    assert!(
        machine
            .ask()
            .starts_with("FAIL  plan          there is no `phases.yaml`\n")
    );

    machine.story.git(&["update-ref", "-d", "HEAD"]);
    let answer = machine.ask();
    assert!(
        answer.contains("FAIL  repository    it has no commits, so there is nothing to start branches from\n"),
        "{answer}"
    );
}

#[test]
fn doctor_says_how_the_run_stands_and_who_works_on_it() {
    let mut story = Story::running(5);
    let line = |answer: String, subject: &str| {
        answer
            .lines()
            .find(|line| line.contains(&format!("  {subject} ")))
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(
        line(story.ask(&["doctor"]), "journal"),
        "ok    journal       1 record, the run is running"
    );
    assert_eq!(
        line(story.ask(&["doctor"]), "run"),
        "ok    run           one works on the repository: process PID on HOST, since DATE TIME"
    );
    story.tell(
        1,
        &[Event::RunResumed {
            plan: Some(Box::new(plan())),
            only_teams: Vec::new(),
            rules: RULES,
        }],
    );
    story.dies();
    assert_eq!(
        line(story.ask(&["doctor"]), "journal"),
        "ok    journal       2 records, the run is interrupted"
    );
    let database = story.common_directory().join("orchestrate/journal.db");
    fs::write(database, "no database".repeat(500)).unwrap();
    let answer = story.ask(&["doctor"]);
    assert!(
        line(answer.clone(), "journal")
            .starts_with("FAIL  journal       `REPOSITORY/.git/orchestrate/journal.db` is damaged"),
        "{answer}"
    );
}

#[test]
fn doctor_outside_of_a_repository_says_so() {
    let story = Story::new();
    let home = story.directory.path().join("home");
    let output = story
        .command(&["doctor", "--repo", home.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("is not in a git repository"), "{text}");
    assert!(
        text.contains("hint: run `git init`, or name the repository with `--repo DIR`"),
        "{text}"
    );
}
