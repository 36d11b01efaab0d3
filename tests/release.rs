//! `orchestrate release` on real repositories: what it checks, what it refuses, and that it moves a branch and a tag forward once and never by force.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

mod git_support;

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use git_support::{Format, Repository, for_each_format, isolate, landed, landing};
use orchestrate::core::event::{GateOutcome, Preparation, RULES};
use orchestrate::ids::{BranchName, Oid};
use orchestrate::plan::Gate;
use orchestrate::shell::git::Git;
use portable_pty::{CommandBuilder, PtySize, native_pty_system};

const PLAN: &str = "version: 1
project: little
repository: { base: main, remote: origin, release_branch: production, release_tag: v1.0.0 }
specs: specs/
prompts: prompts/
gates: { agent: none, team: none, main: test ! -e broken }
phases:
  - id: 1
    name: First
    teams:
      - id: 1
        name: Only
        branch: team-1
        leader: { prompt: prompt.md.tera }
        deliverables: [docs/**]
        agents:
          - { id: '1.1', name: One, branch: agent-1-1, prompt: prompt.md.tera, completion: Part one complete, owns: [one], deliverables: [one] }
";

const MAIN_GATE: &str = "test ! -e broken";

/// All that a user of the command sees; what differs from run to run is made the same.
fn seen(directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orchestrate"));
    isolate(&mut command, directory);
    let output = command
        .arg("release")
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = format!(
        "status: {}\n-- stdout\n{}-- stderr\n{}",
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap()
    );
    let text = text.replace(&directory.display().to_string(), "[repository]");
    text.split_inclusive('\n').map(without_duration).collect()
}

/// ` in 0.1 s` at the end of a line.
fn without_duration(line: &str) -> String {
    match (line.rfind(" in "), line.ends_with(" s\n")) {
        (Some(start), true) => format!("{} in [time]\n", &line[..start]),
        (_, _) => line.to_owned(),
    }
}

fn land(git: &Git, source: &Oid, target: &str, subject: &str, gate: Gate) -> Oid {
    let prepared = git
        .prepare_merge(
            source,
            None,
            &git.tip(&BranchName::new(target)).unwrap().unwrap(),
            &[],
            &[],
        )
        .unwrap();
    let Preparation::Clean { tree, onto } = prepared else {
        panic!("no clean merge of {subject}: {prepared:?}");
    };
    let outcome = matches!(gate, Gate::Command(_)).then_some(GateOutcome::Passed);
    let mut land = landing(target, &onto, source, &tree, gate, outcome);
    land.subject = subject.to_owned();
    landed(git.land(&land).unwrap())
}

/// A finished run; `page` is what the leader writes into `docs/use.md`.
fn finished(repository: &Repository, page: &str) -> Git {
    repository.write("phases.yaml", PLAN);
    repository.write("prompts/prompt.md.tera", "{{ completion_line }}\n");
    repository.write("specs/README.md", "Facts.\n");
    repository.write("README.md", "# Little\n\nSee [how to use it](docs/use.md).\n");
    repository.write("docs/use.md", "Begin.\n");
    repository.commit("Plan");
    repository.git(&["branch", "team-1"]);
    let git = repository.open();
    repository.git(&["checkout", "-qb", "agent-1-1", "team-1"]);
    let agent = repository.commit_file("one", "1\n", "[AGENT-1-1] Part one complete");
    land(
        &git,
        &agent,
        "team-1",
        "[MERGE] Merged agent-1-1 into team-1",
        Gate::None,
    );
    repository.git(&["checkout", "-qb", "team-1-integration", "team-1"]);
    let leader = repository.commit_file(
        "docs/use.md",
        page,
        "[TEAM-1] Phase complete: Only integrated and tested",
    );
    let team = land(
        &git,
        &leader,
        "team-1",
        "[MERGE] Merged leader-1 into team-1",
        Gate::None,
    );
    repository.git(&["checkout", "-q", "main"]);
    let gate = Gate::Command(MAIN_GATE.to_owned());
    land(&git, &team, "main", "[MERGE] Merged team-1 into main", gate);
    git
}

const PAGE: &str = "Use it: [back](../README.md).\n";

#[test]
fn release_moves_the_branch_and_sets_the_tag_once_on_every_format() {
    for_each_format(|repository| {
        finished(repository, PAGE);
        let main = repository.tip("main");
        let first = seen(&repository.path, &["--yes"]);
        assert!(first.starts_with("status: 0\n"), "{first}");
        if repository.format == Format::Files {
            insta::assert_snapshot!("release_done", first);
        }
        assert_eq!(repository.tip("production"), main);
        assert_eq!(repository.git(&["rev-parse", "v1.0.0^{commit}"]), main.as_str());
        assert_eq!(repository.git(&["cat-file", "-t", "v1.0.0"]), "tag");
        let tag = repository.git(&["cat-file", "-p", "v1.0.0"]);
        assert!(tag.contains("checked: all tests pass"), "{tag}");
        assert!(
            tag.contains("vouched for by whoever released: it works there with real keys"),
            "{tag}"
        );
        let object = repository.git(&["rev-parse", "v1.0.0"]);
        // A second time changes nothing.
        let second = seen(&repository.path, &["--yes"]);
        assert!(second.starts_with("status: 0\n"), "{second}");
        assert!(second.contains("production stands there already"), "{second}");
        assert_eq!(repository.git(&["rev-parse", "v1.0.0"]), object);
        assert_eq!(repository.git(&["status", "--porcelain"]), "");
    });
}

#[test]
fn release_waits_for_a_yes_and_a_check_alone_changes_nothing() {
    let repository = Repository::new(Format::Files);
    finished(&repository, PAGE);
    insta::assert_snapshot!("release_waits", seen(&repository.path, &[]));
    let checked = seen(&repository.path, &["--check"]);
    assert!(checked.starts_with("status: 0\n"), "{checked}");
    assert_eq!(repository.git(&["branch", "--list", "production"]), "");
    assert_eq!(repository.git(&["tag"]), "");
}

#[test]
fn release_asks_on_a_terminal_and_takes_yes_alone_for_a_yes() {
    let repository = Repository::new(Format::Files);
    finished(&repository, PAGE);
    for (reply, status, released) in [("no\n", 6, false), ("y\n", 6, false), ("yes\n", 0, true)] {
        let pair = native_pty_system().openpty(PtySize::default()).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_orchestrate"));
        command.arg("release");
        command.cwd(&repository.path);
        command.env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap());
        command.env("HOME", repository.beside("home"));
        command.env("GIT_CONFIG_GLOBAL", "/dev/null");
        command.env("GIT_CONFIG_SYSTEM", "/dev/null");
        let mut child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        // The terminal keeps what is typed before anybody reads.
        pair.master.take_writer().unwrap().write_all(reply.as_bytes()).unwrap();
        let mut said = Vec::new();
        // A terminal whose other side is gone answers with an error.
        let _ = reader.read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said).into_owned();
        assert_eq!(child.wait().unwrap().exit_code(), status, "{reply:?}: {said}");
        assert!(
            said.contains("move production and set v1.0.0, and vouch for what is by hand? Type yes: "),
            "{said}"
        );
        assert_eq!(!repository.git(&["tag"]).is_empty(), released, "{reply:?}");
    }
}

#[test]
fn release_refuses_what_is_not_whole() {
    // The tests fail now, although they passed once; a page leads nowhere; and a fix got onto main beside the merges.
    let repository = Repository::new(Format::Files);
    finished(&repository, "See [more](more.md).\n");
    let fix = repository.commit_file("broken", "x\n", "Quick fix");
    repository.git(&["rm", "-q", "one"]);
    repository.commit("Remove it");
    insta::assert_snapshot!("release_refused", seen(&repository.path, &["--yes"]));
    assert_eq!(repository.git(&["tag"]), "");
    let accepted = seen(&repository.path, &["--yes", "--accept", fix.as_str()]);
    assert!(accepted.starts_with("status: 4\n"), "{accepted}");
    assert!(accepted.contains("faults: 1\n"), "{accepted}");

    // Before anything has landed.
    let repository = Repository::new(Format::Files);
    finished(&repository, PAGE);
    repository.git(&["reset", "-q", "--hard", "HEAD^"]);
    let early = seen(&repository.path, &["--yes"]);
    assert!(early.starts_with("status: 4\n"), "{early}");
    assert!(
        early.contains("no commit `[MERGE] Merged team-1 into main` on main"),
        "{early}"
    );
}

#[test]
fn release_never_moves_a_tag_or_a_branch_with_work_of_its_own() {
    let repository = Repository::new(Format::Files);
    finished(&repository, PAGE);
    repository.git(&["checkout", "-qb", "production", "HEAD~1"]);
    let hotfix = repository.commit_file("hotfix", "x\n", "Hotfix");
    repository.git(&["checkout", "-q", "main"]);
    repository.git(&["tag", "v1.0.0", "HEAD~1"]);
    let refused = seen(&repository.path, &["--yes"]);
    assert!(refused.starts_with("status: 4\n"), "{refused}");
    assert!(refused.contains("which is not in the history of main"), "{refused}");
    assert!(
        refused.contains("set `repository.release_tag` in the plan to the next version"),
        "{refused}"
    );
    assert!(refused.contains("release: refused, 2 checks failing"), "{refused}");
    assert_eq!(repository.tip("production"), hotfix);

    // Somebody works in a checkout of the branch: nothing of it is overwritten.
    let repository = Repository::new(Format::Files);
    finished(&repository, PAGE);
    repository.git(&["branch", "production", "HEAD~1"]);
    let before = repository.tip("production");
    let other = repository.beside("production");
    repository.git(&["worktree", "add", "-q", other.to_str().unwrap(), "production"]);
    std::fs::write(other.join("README.md"), "mine\n").unwrap();
    let refused = seen(&repository.path, &["--yes"]);
    assert!(refused.starts_with("status: 4\n"), "{refused}");
    assert!(refused.contains("README.md"), "{refused}");
    assert_eq!(repository.tip("production"), before);
    assert_eq!(repository.git(&["tag"]), "", "the tag follows the branch");
    assert_eq!(std::fs::read_to_string(other.join("README.md")).unwrap(), "mine\n");
}

#[test]
fn release_refuses_while_a_question_is_open_or_a_run_is_under_way() {
    use orchestrate::core::event::{CommitFact, Event};
    use orchestrate::ids::{Actor, AgentId, Time};
    use orchestrate::shell::journal::Journal;

    let repository = Repository::new(Format::Files);
    let git = finished(&repository, PAGE);
    let plan = orchestrate::plan::load(&repository.path.join("phases.yaml"), "phases.yaml")
        .plan
        .unwrap();
    let (mut journal, lock) = Journal::open_for_run(git.common_dir(), Time(1)).unwrap();
    let base = repository.tip("main");
    let question = CommitFact {
        oid: repository.tip("agent-1-1"),
        message: "[ESCALATION-NEEDED] Which one?".to_owned(),
    };
    let actor = Actor::Agent(AgentId::new("1.1"));
    let events = [
        Event::RunStarted {
            run_id: "r".to_owned(),
            plan: Box::new(plan),
            only_teams: Vec::new(),
            rules: RULES,
        },
        Event::BranchCreated {
            branch: BranchName::new("team-1"),
            tip: base.clone(),
        },
        Event::BranchCreated {
            branch: BranchName::new("agent-1-1"),
            tip: base.clone(),
        },
        Event::CommitsSeen {
            actor,
            from: base,
            tip: question.oid.clone(),
            rewritten: false,
            commits: vec![question],
        },
    ];
    journal.append(Time(2), &events).unwrap();
    let alive = seen(&repository.path, &["--yes"]);
    assert!(alive.starts_with("status: 4\n"), "{alive}");
    assert!(alive.contains("a run is under way"), "{alive}");
    drop((journal, lock));
    let open = seen(&repository.path, &["--yes"]);
    assert!(open.starts_with("status: 4\n"), "{open}");
    assert!(open.contains("open: question 1"), "{open}");
    assert!(open.contains("helps: orchestrate answer 1"), "{open}");
}
