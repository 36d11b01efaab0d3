//! `orchestrate audit` on real repositories: what holds is derived again on any clone, and whatever was slipped in beside the merges is found.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

mod git_support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use git_support::{Format, Repository, for_each_format, isolate, landed, landing};
use orchestrate::core::event::{GateOutcome, Preparation};
use orchestrate::ids::{BranchName, Oid};
use orchestrate::plan::Gate;
use orchestrate::shell::git::Git;

const PLAN: &str = "version: 1
project: little
repository: { base: main }
specs: specs/
prompts: prompts/
gates: { agent: test -f a, team: none, main: 'true' }
phases:
  - id: 1
    name: First
    teams:
      - id: 1
        name: Only
        branch: team-1
        leader: { prompt: leader.md.tera }
        agents:
          - { id: '1.1', name: One, branch: agent-1-1, prompt: agent.md.tera, completion: Part one complete, owns: [one] }
          - { id: '1.2', name: Two, branch: agent-1-2, prompt: agent.md.tera, completion: Part two complete, owns: [two] }
";

const AGENT_GATE: &str = "test -f a";
const LANDING: &str = "[MERGE] Merged team-1 into main";

/// Exit status, standard output and standard error of `orchestrate audit`.
fn audit(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orchestrate"));
    isolate(&mut command, directory);
    let output = command
        .arg("audit")
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// All that a user of the command sees.
fn seen(directory: &Path, arguments: &[&str]) -> String {
    let (code, out, err) = audit(directory, arguments);
    format!("status: {}\n-- stdout\n{out}-- stderr\n{err}", code.unwrap())
}

fn gate(command: &str) -> Gate {
    Gate::Command(command.to_owned())
}

/// Lands this tree as the merge of `source` into `target`, with a receipt that fits it.
fn land(git: &Git, source: &Oid, tree: Option<Oid>, target: &str, subject: &str, gate: Gate) -> Oid {
    let onto = git.tip(&BranchName::new(target)).unwrap().unwrap();
    let tree = tree.unwrap_or_else(|| {
        let prepared = git.prepare_merge(source, None, &onto, &[], &[]).unwrap();
        let Preparation::Clean { tree, .. } = prepared else {
            panic!("no clean merge of {subject}: {prepared:?}");
        };
        tree
    });
    let outcome = matches!(gate, Gate::Command(_)).then_some(GateOutcome::Passed);
    let mut land = landing(target, &onto, source, &tree, gate, outcome);
    land.subject = subject.to_owned();
    landed(git.land(&land).unwrap())
}

fn into_team(git: &Git, agent: &str, source: &Oid) -> Oid {
    let subject = format!("[MERGE] Merged {agent} into team-1");
    land(git, source, None, "team-1", &subject, gate(AGENT_GATE))
}

/// A commit of agent `agent-1-1` or `agent-1-2`, whose branch starts at the team's.
fn work(repository: &Repository, agent: &str, path: &str, text: &str) -> Oid {
    if repository.git(&["branch", "--list", agent]).is_empty() {
        repository.git(&["branch", agent, "team-1"]);
    }
    repository.git(&["checkout", "-q", agent]);
    let subject = format!("[{}] Write {path}", agent.to_uppercase());
    let commit = repository.commit_file(path, text, &subject);
    repository.git(&["checkout", "-q", "main"]);
    commit
}

fn begin(repository: &Repository) -> Git {
    repository.write("phases.yaml", PLAN);
    repository.write("prompts/leader.md.tera", "{{ completion_line }}\n");
    repository.write("prompts/agent.md.tera", "{{ completion_line }}\n");
    repository.write("specs/README.md", "Facts.\n");
    repository.commit("Plan");
    repository.git(&["branch", "team-1"]);
    repository.open()
}

/// Both agents and the leader merged, the team landed.
fn honest(repository: &Repository) -> Git {
    let git = begin(repository);
    let one = work(repository, "agent-1-1", "one", "1\n");
    // It edits what the other one edits too, elsewhere in the file.
    let two = work(repository, "agent-1-2", "a", "one\ntwo\nthree\nfour\nfive\nsix\n");
    into_team(&git, "agent-1-1", &one);
    into_team(&git, "agent-1-2", &two);
    repository.git(&["checkout", "-qb", "team-1-integration", "team-1"]);
    let leader = repository.commit_file(
        "a",
        "zero\none\ntwo\nthree\nfour\nfive\nsix\n",
        "[TEAM-1] Phase complete: all",
    );
    repository.git(&["checkout", "-q", "main"]);
    let team = land(
        &git,
        &leader,
        None,
        "team-1",
        "[MERGE] Merged leader-1 into team-1",
        Gate::None,
    );
    land(&git, &team, None, "main", LANDING, gate("true"));
    git
}

fn objects(repository: &Repository) -> BTreeSet<PathBuf> {
    let mut open = vec![repository.path.join(".git/objects")];
    let mut found = BTreeSet::new();
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path.clone());
            }
            found.insert(path);
        }
    }
    found
}

#[test]
fn audit_holds_for_an_honest_run_on_every_format_and_on_a_clone_with_main_alone() {
    for_each_format(|repository| {
        honest(repository);
        let before = objects(repository);
        let (code, out, err) = audit(&repository.path, &[]);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
        assert!(
            out.ends_with("audit: holds, 4 landings derived again from git\n"),
            "{out}"
        );
        assert_eq!(objects(repository), before, "an audit writes nothing");

        let clone = repository.beside("clone");
        let top = repository.path.parent().unwrap();
        repository.git_in(top, &["clone", "-q", "--single-branch", "repository", "clone"]);
        repository.git_in(&clone, &["checkout", "-q", "--detach"]);
        repository.git_in(&clone, &["branch", "-q", "-D", "main"]);
        let (code, out, err) = audit(&clone, &["--json"]);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
        let document: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(document["schema"], 1);
        assert_eq!(document["landings"], 4);
        assert_eq!(document["branches"][1]["branch"], "origin/main");
        // libgit2 reads objects named by SHA-1 whatever keeps the refs.
        let engine = if repository.format == Format::Sha256 {
            "git"
        } else {
            "libgit2"
        };
        for branch in document["branches"].as_array().unwrap() {
            for entry in branch["entries"].as_array().unwrap() {
                assert_eq!(entry["derived_by"], engine, "{:?}: {entry}", repository.format);
            }
        }
    });
}

#[test]
fn audit_of_an_honest_run_reads_so() {
    let repository = Repository::new(Format::Files);
    honest(&repository);
    insta::assert_snapshot!("audit_holds", seen(&repository.path, &[]));
}

#[test]
fn audit_finds_what_got_onto_a_branch_beside_the_merges() {
    let repository = Repository::new(Format::Files);
    honest(&repository);
    // By hand onto main; and agent 1.1 moves the team's branch to its own commit.
    repository.commit_file("a", "mine\n", "Quick fix");
    repository.git(&["checkout", "-q", "team-1"]);
    repository.commit_file("one", "2\n", "[AGENT-1-1] Part one complete, again");
    repository.git(&["checkout", "-q", "main"]);
    insta::assert_snapshot!("audit_beside", seen(&repository.path, &[]));
    // A human who has looked at one of them accepts it; the other is still a fault.
    let fix = repository.tip("main");
    let (code, out, _) = audit(&repository.path, &["--accept", &fix.as_str()[..12]]);
    assert_eq!(code, Some(4), "{out}");
    assert!(
        out.contains("accepted") && out.contains("1 fault in 4 landings"),
        "{out}"
    );
    let late = repository.tip("team-1");
    let (code, out, _) = audit(&repository.path, &["--accept", fix.as_str(), "--accept", late.as_str()]);
    assert_eq!(code, Some(0), "{out}");
    let (code, _, err) = audit(&repository.path, &["--accept", "HEAD"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("at least 7 hexadecimal digits"), "{err}");
}

#[test]
fn audit_finds_a_landing_whose_tree_was_edited_although_its_receipt_fits_the_tree() {
    for_each_format(|repository| {
        let git = begin(repository);
        let one = work(repository, "agent-1-1", "a", "one\ntwo\nthree\nfour\nfive\nsix\n");
        // The tree drops a line that both sides have, and the receipt says that this tree passed.
        repository.git(&["checkout", "-q", "--detach", one.as_str()]);
        repository.write("a", "one\ntwo\nfour\nfive\nsix\n");
        repository.git(&["add", "a"]);
        let tree = Oid::new(repository.git(&["write-tree"]));
        repository.git(&["checkout", "-q", "-f", "main"]);
        land(
            &git,
            &one,
            Some(tree),
            "team-1",
            "[MERGE] Merged agent-1-1 into team-1",
            gate(AGENT_GATE),
        );
        let (code, out, _) = audit(&repository.path, &["--json"]);
        assert_eq!(code, Some(4), "{out}");
        let document: serde_json::Value = serde_json::from_str(&out).unwrap();
        let entry = &document["branches"][0]["entries"][0];
        assert_eq!(entry["faults"][0]["code"], "lost-lines", "{out}");
        assert_eq!(entry["faults"].as_array().unwrap().len(), 1, "{out}");
        assert_eq!(entry["vanished"][0]["path"], "a");
        assert_eq!(entry["vanished"][0]["lines"], serde_json::json!(["three"]));
        if repository.format == Format::Files {
            insta::assert_snapshot!("audit_edited", seen(&repository.path, &[]));
        }
    });
}

#[test]
fn audit_finds_additions_a_missing_receipt_another_merge_s_receipt_and_another_gate() {
    let codes = |repository: &Repository| -> Vec<String> {
        let (code, out, _) = audit(&repository.path, &["--json"]);
        assert_eq!(code, Some(4), "{out}");
        let document: serde_json::Value = serde_json::from_str(&out).unwrap();
        let mut codes = Vec::new();
        for branch in document["branches"].as_array().unwrap() {
            for entry in branch["entries"].as_array().unwrap() {
                for fault in entry["faults"].as_array().unwrap() {
                    codes.push(fault["code"].as_str().unwrap().to_owned());
                }
            }
        }
        codes
    };

    // A tree with a file that neither side has.
    let repository = Repository::new(Format::Files);
    let git = begin(&repository);
    let one = work(&repository, "agent-1-1", "one", "1\n");
    repository.git(&["checkout", "-q", "--detach", one.as_str()]);
    repository.write("door", "open\n");
    repository.git(&["add", "door"]);
    let tree = Oid::new(repository.git(&["write-tree"]));
    repository.git(&["checkout", "-q", "-f", "main"]);
    let subject = "[MERGE] Merged agent-1-1 into team-1";
    land(&git, &one, Some(tree), "team-1", subject, gate(AGENT_GATE));
    assert_eq!(codes(&repository), ["edited-tree"]);

    // Merged by hand, with the right words and without a receipt.
    let repository = Repository::new(Format::Files);
    let git = begin(&repository);
    let one = work(&repository, "agent-1-1", "one", "1\n");
    let team = into_team(&git, "agent-1-1", &one);
    repository.git(&["merge", "-q", "--no-ff", "-m", LANDING, team.as_str()]);
    assert_eq!(codes(&repository), ["no-receipt"]);

    // The receipt of one merge on the commit of another.
    let repository = Repository::new(Format::Files);
    let git = begin(&repository);
    let (one, two) = (
        work(&repository, "agent-1-1", "one", "1\n"),
        work(&repository, "agent-1-2", "two", "2\n"),
    );
    let first = into_team(&git, "agent-1-1", &one);
    let message = repository.git(&["log", "-1", "--format=%B", first.as_str()]);
    repository.git(&["checkout", "-q", "team-1"]);
    repository.git(&["merge", "-q", "--no-ff", "-m", &message, two.as_str()]);
    repository.git(&["checkout", "-q", "main"]);
    assert_eq!(codes(&repository), ["edited-tree", "foreign-receipt"]);

    // Another gate than the plan's; a merge that the plan does not know; and a fast-forward of main over the team's own merges.
    let repository = Repository::new(Format::Files);
    let git = begin(&repository);
    let one = work(&repository, "agent-1-1", "one", "1\n");
    land(&git, &one, None, "team-1", subject, gate("true"));
    let two = work(&repository, "agent-1-2", "two", "2\n");
    land(
        &git,
        &two,
        None,
        "team-1",
        "[MERGE] Merged agent-9-9 into team-1",
        Gate::None,
    );
    assert_eq!(codes(&repository), ["other-gate", "unknown-merge"]);
    repository.git(&["merge", "-q", "--ff-only", "team-1"]);
    assert_eq!(codes(&repository), ["unknown-merge", "unknown-merge"]);
}

#[test]
fn audit_lists_what_vanished_when_a_conflict_was_settled() {
    let repository = Repository::new(Format::Files);
    let git = begin(&repository);
    let one = work(&repository, "agent-1-1", "a", "one\ntwo\nthree by one\nfour\nfive\n");
    work(&repository, "agent-1-2", "a", "one\ntwo\nthree by two\nfour\nfive\n");
    into_team(&git, "agent-1-1", &one);
    // Agent 1.2 merges the team's branch, and only its own line survives.
    repository.git(&["checkout", "-q", "agent-1-2"]);
    let merge = repository
        .command(&repository.path, &["merge", "-q", "team-1"])
        .output()
        .unwrap();
    assert_eq!(merge.status.code(), Some(1));
    repository.write("a", "one\ntwo\nthree by two\nfour\nfive\n");
    let settled = repository.commit("[CONFLICT-RESOLVED] Keep the second third line");
    repository.git(&["checkout", "-q", "main"]);
    into_team(&git, "agent-1-2", &settled);
    insta::assert_snapshot!("audit_settled", seen(&repository.path, &[]));

    // The same words do not cover a merge that drops what was never in conflict.
    let repository = Repository::new(Format::Files);
    let git = begin(&repository);
    let one = work(&repository, "agent-1-1", "one", "worth\nkeeping\n");
    work(&repository, "agent-1-2", "two", "2\n");
    into_team(&git, "agent-1-1", &one);
    repository.git(&["checkout", "-q", "agent-1-2"]);
    let message = "[CONFLICT-RESOLVED] Mine is better";
    repository.git(&["merge", "-q", "-s", "ours", "-m", message, "team-1"]);
    let evil = repository.tip("agent-1-2");
    repository.git(&["checkout", "-q", "main"]);
    into_team(&git, "agent-1-2", &evil);
    insta::assert_snapshot!("audit_lost", seen(&repository.path, &[]));
}

#[test]
fn audit_refuses_a_shallow_clone() {
    let repository = Repository::new(Format::Files);
    honest(&repository);
    let url = format!("file://{}", repository.path.display());
    repository.git_in(
        repository.path.parent().unwrap(),
        &["clone", "-q", "--depth", "1", &url, "shallow"],
    );
    let (code, _, err) = audit(&repository.beside("shallow"), &[]);
    assert_eq!(code, Some(7), "{err}");
    assert!(err.contains("git fetch --unshallow"), "{err}");
}
