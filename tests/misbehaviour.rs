//! Agents that misbehave, as real processes: what they do is refused or undone, they are told, and neither a team's branch nor main ever holds it.
//!
//! In each scenario agent 1.1 misbehaves in its first attempt and works honestly in the next; agent 1.2 works beside it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

#[path = "support/fleet.rs"]
mod fleet;

use std::fs;

use fleet::{DILIGENT, Fleet, PAIR, Settings};

/// A fleet whose agent 1.1 runs this first. `$seen` is a file outside of the repository; `$commit` commits without hooks.
fn misbehaving(deed: &str) -> Fleet {
    let script = format!(
        r#"seen="$ORCHESTRATE_PLAN_DIR/../seen"
commit="git -c core.hooksPath=/dev/null commit -q --allow-empty"
if [ "$ORCHESTRATE_AGENT $ORCHESTRATE_ATTEMPT" = "1.1 1" ]; then
{deed}
exit 0
fi
if [ "$ORCHESTRATE_AGENT" = 1.1 ]; then cat "$ORCHESTRATE_PROMPT" >> "$seen.prompt"; fi
{DILIGENT}"#
    );
    Fleet::new(&PAIR, &script, &Settings::default())
}

fn seen(fleet: &Fleet, name: &str) -> String {
    fs::read_to_string(fleet.root().join(name)).unwrap_or_default()
}

/// Runs to the end: all is well, and main holds what honest work makes, nothing else.
fn ends_honestly(fleet: &Fleet) -> String {
    let (status, said) = fleet.run();
    assert_eq!(status, 0, "{said}");
    let files = fleet.git(&["ls-tree", "-r", "--name-only", "main", "work", "docs"]);
    assert_eq!(
        files, "docs/team-1/result.txt\nwork/1-1/result.txt\nwork/1-2/result.txt",
        "{said}"
    );
    for command in [&["gate", "main"][..], &["audit"]] {
        let output = fleet.orchestrate(command);
        assert!(
            output.status.success(),
            "{command:?}: {}\n{said}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
    assert_eq!(fleet.git(&["status", "--porcelain"]), "");
    fleet.git(&["fsck", "--strict", "--no-dangling"]);
    said
}

#[test]
fn work_outside_of_its_paths_is_refused_and_told() {
    let fleet = misbehaving(
        "mkdir -p work/1-1 work/1-2; echo x > work/1-1/result.txt; echo x > work/1-2/stolen.txt; git add -A; git commit -q -m \"$ORCHESTRATE_COMPLETION\"",
    );
    // The next attempt takes it back.
    fleet.write(
        "tools/agent.sh",
        &fs::read_to_string(fleet.repository().join("tools/agent.sh"))
            .unwrap()
            .replace(
                "mkdir -p \"$dir\"",
                "git rm -q -f --ignore-unmatch work/1-2/stolen.txt\nmkdir -p \"$dir\"",
            ),
    );
    fleet.git(&["commit", "-qam", "Tools"]);
    ends_honestly(&fleet);
    assert!(
        seen(&fleet, "seen.prompt").contains("work/1-2/stolen.txt"),
        "{}",
        seen(&fleet, "seen.prompt")
    );
}

#[test]
fn somebody_else_s_tag_completes_nobody() {
    // With the hook it is refused at once; without it, it says nothing.
    let fleet = misbehaving(
        "mkdir -p work/1-1; echo x > work/1-1/x; git add -A\n\
         git commit -q -m '[AGENT-1-2] Part 1.2 complete' 2> \"$seen\" && echo accepted >> \"$seen\"\n\
         git rm -q --cached work/1-1/x; rm work/1-1/x\n\
         $commit -m '[AGENT-1-2] Part 1.2 complete'; $commit -m '[TEAM-1] Phase complete: mine'; $commit -m '[MERGE] Merged agent-1-1 into team-1'",
    );
    ends_honestly(&fleet);
    let told = seen(&fleet, "seen");
    assert!(
        told.contains("this branch belongs to agent 1.1, whose tag is [AGENT-1-1]"),
        "{told}"
    );
    assert!(!told.contains("accepted"), "{told}");
}

#[test]
fn refs_of_others_cannot_be_moved_or_deleted_and_the_agent_is_told() {
    let fleet = misbehaving(
        "mkdir -p work/1-1; echo x > work/1-1/evil.txt; git add -A; git commit -q -m '[AGENT-1-1] Work: evil'\n\
         try() { \"$@\" 2>> \"$seen\" && echo \"accepted: $*\" >> \"$seen\"; }\n\
         for branch in main team-1 agent-1-2 team-1-integration; do\n\
         try git update-ref refs/heads/$branch HEAD\n\
         try git branch -f $branch HEAD\n\
         try git update-ref -d refs/heads/$branch\n\
         done\n\
         try git update-ref -d refs/heads/agent-1-1\n\
         try git update-ref refs/orchestrate/kept/x HEAD\n\
         git rm -q work/1-1/evil.txt; git commit -q -m '[AGENT-1-1] Work: none'\n\
         rm -rf ../own; git init -q -b main ../own; git -C ../own commit -q --allow-empty -m x || echo 'own repository refused' >> \"$seen\"",
    );
    ends_honestly(&fleet);
    let told = seen(&fleet, "seen");
    assert!(!told.contains("accepted"), "{told}");
    assert!(!told.contains("own repository refused"), "{told}");
    assert!(
        told.contains("orchestrate: refs/heads/main is not yours to change"),
        "{told}"
    );
    assert!(
        told.contains("orchestrate: refs/heads/agent-1-1 is not yours to change"),
        "{told}"
    );
    let reflog = fleet.git(&["log", "-g", "--format=%s", "main"]);
    assert!(!reflog.contains("evil"), "{reflog}");
}

#[test]
fn a_team_s_branch_and_main_that_were_moved_past_the_hook_are_put_back_and_what_was_there_is_kept() {
    let fleet = misbehaving(
        "mkdir -p work/1-1; echo x > work/1-1/evil.txt; git add -A; git commit -q -m '[AGENT-1-1] Work: evil'\n\
         evil=$(git rev-parse HEAD); echo $evil > \"$seen\"\n\
         git rm -q work/1-1/evil.txt; git commit -q -m '[AGENT-1-1] Work: none'\n\
         while ! git rev-parse -q --verify refs/heads/team-1 > /dev/null; do sleep 0.02; done\n\
         back() { while [ \"$(git rev-parse $1)\" = $evil ]; do sleep 0.02; done; }\n\
         for branch in team-1 main; do git -c core.hooksPath=/dev/null update-ref refs/heads/$branch $evil; back $branch; done\n\
         git push -q . +$evil:refs/heads/team-1; back team-1\n\
         git -c core.hooksPath=/dev/null update-ref -d refs/heads/team-1\n\
         while ! git rev-parse -q --verify refs/heads/team-1 > /dev/null; do sleep 0.02; done",
    );
    let said = ends_honestly(&fleet);
    assert!(said.contains("branch `team-1` was moved to"), "{said}");
    assert!(said.contains("branch `main` was moved to"), "{said}");
    assert!(said.contains("branch `team-1` was deleted by somebody"), "{said}");
    let evil = seen(&fleet, "seen").trim().to_owned();
    for branch in ["team-1", "main"] {
        fleet.git(&[
            "rev-parse",
            "--verify",
            &format!("refs/orchestrate/kept/{branch}/{evil}"),
        ]);
    }
}

#[test]
fn branches_that_are_moved_over_and_over_while_others_land_never_carry_it() {
    // Moved so often, they are foreign at each moment of the other agent's landing.
    let fleet = misbehaving(
        "mkdir -p work/1-1; echo x > work/1-1/evil.txt; git add -A; git commit -q -m '[AGENT-1-1] Work: evil'\n\
         evil=$(git rev-parse HEAD); git rm -q work/1-1/evil.txt; git commit -q -m '[AGENT-1-1] Work: none'\n\
         landed() { git log --all --format=%s | grep -q '^.MERGE. Merged agent-1-2'; }\n\
         moves=0; while [ $moves -lt 2000 ] && ! landed; do moves=$((moves + 1))\n\
         for branch in team-1 main; do git -c core.hooksPath=/dev/null update-ref refs/heads/$branch $evil 2> /dev/null; done\n\
         : > \"$seen.go\"\n\
         done; landed || echo never > \"$seen\"",
    );
    let script = fs::read_to_string(fleet.repository().join("tools/agent.sh")).unwrap();
    let waits =
        "while [ \"$ORCHESTRATE_AGENT\" = 1.2 ] && ! [ -e \"$seen.go\" ]; do sleep 0.02; done\nmkdir -p \"$dir\"";
    fleet.write("tools/agent.sh", &script.replace("mkdir -p \"$dir\"", waits));
    fleet.git(&["commit", "-qam", "Tools"]);
    ends_honestly(&fleet);
    assert_eq!(seen(&fleet, "seen"), "");
}

#[test]
fn what_a_human_took_over_from_agents_of_an_earlier_run_stays() {
    let fleet = misbehaving("exit 1");
    fleet.write("taken-over.md", "by an agent, once\n");
    fleet.git(&["add", "taken-over.md"]);
    fleet.git(&[
        "commit",
        "-qm",
        "[AGENT-1-1] Work: of last week\n\nOrchestrate-Agent: 1.1",
    ]);
    let taken_over = fleet.git(&["rev-parse", "HEAD"]);
    let said = ends_honestly(&fleet);
    assert!(!said.contains("beside the merges"), "{said}");
    fleet.git(&["merge-base", "--is-ancestor", &taken_over, "main"]);
}

#[test]
fn a_human_s_commit_on_main_stays_while_agents_work() {
    let mut fleet = misbehaving("while ! [ -e \"$seen.go\" ]; do sleep 0.02; done");
    fleet.set("GIT_EDITOR", "true");
    let mut run = fleet.spawn(&["run"]);
    fleet.wait_for("the agent", || {
        fleet
            .repository()
            .join(".git/orchestrate/attempts/1.1/1/started.json")
            .exists()
    });
    fleet.write("notes.md", "by hand\n");
    fleet.git(&["add", "notes.md"]);
    fleet.git(&["commit", "-qm", "Write notes"]);
    let by_hand = fleet.git(&["rev-parse", "HEAD"]);
    fs::write(fleet.root().join("seen.go"), "").unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(0), "{}", seen(&fleet, "run.err"));
    fleet.git(&["merge-base", "--is-ancestor", &by_hand, "main"]);
    assert_eq!(fleet.git(&["show", "main:notes.md"]), "by hand");
}

#[test]
fn a_rewritten_branch_loses_no_commit() {
    let fleet = misbehaving(
        "mkdir -p work/1-1; echo first > work/1-1/first.txt; git add -A; git commit -q -m '[AGENT-1-1] Work: first'; git rev-parse HEAD > \"$seen\"\n\
         while ! [ -e \"$ORCHESTRATE_PLAN_DIR/.git/orchestrate/looked\" ]; do\n\
         sleep 0.05; n=$((n + 1)); [ $n -gt 40 ] && break\n\
         done\n\
         git reset -q --hard HEAD~1",
    );
    ends_honestly(&fleet);
    let first = seen(&fleet, "seen").trim().to_owned();
    assert!(
        fleet.git(&["rev-list", "--all"]).contains(&first),
        "the first commit is nowhere"
    );
}

#[test]
fn changed_configuration_does_not_switch_the_checks_off() {
    let fleet = misbehaving(
        "git config core.hooksPath /dev/null; git config user.name Somebody; git config merge.directoryRenames false\n\
         mkdir -p \"$(git rev-parse --git-common-dir)/hooks\"\n\
         printf '#!/bin/sh\\nexit 0\\n' > \"$(git rev-parse --git-common-dir)/hooks/commit-msg\"; chmod +x \"$(git rev-parse --git-common-dir)/hooks/commit-msg\"\n\
         mkfifo \"$(git rev-parse --git-common-dir)/hooks/pipe\"\n\
         git commit -q --allow-empty -m '[AGENT-1-2] Part 1.2 complete' 2> \"$seen\" && echo accepted >> \"$seen\"\n\
         git update-ref refs/heads/main HEAD 2>> \"$seen\" && echo accepted >> \"$seen\"; true",
    );
    let said = ends_honestly(&fleet);
    for name in ["config", "hooks/commit-msg"] {
        assert!(
            said.contains(&format!("the repository's `{name}` was changed")),
            "{said}"
        );
    }
    let kept = fleet.repository().join(".git/orchestrate/settings/config");
    assert!(!fs::read_to_string(kept).unwrap().contains("Somebody"));
    let told = seen(&fleet, "seen");
    assert!(
        !told.contains("accepted") && told.contains("whose tag is [AGENT-1-1]"),
        "{told}"
    );
}

#[test]
fn a_storm_of_commits_and_a_flood_of_output_change_nothing() {
    let fleet = misbehaving(
        "{ n=0; while [ $n -lt 3000 ]; do n=$((n + 1))\n\
         printf 'commit refs/heads/agent-1-1\\ncommitter A <a@localhost> 1795341600 +0000\\ndata 23\\n[AGENT-1-1] Work: storm\\n'\n\
         [ $n = 1 ] && printf 'from refs/heads/agent-1-1^0\\n'; printf '\\n'\n\
         done; } | git fast-import --quiet --force\n\
         head -c 200000000 /dev/zero | tr '\\0' 'x'; echo\n\
         printf '{\"type\":\"assistant\",\"message\":\"'; head -c 200000000 /dev/zero | tr '\\0' 'y'",
    );
    ends_honestly(&fleet);
    assert!(fleet.git(&["rev-list", "--count", "main"]).parse::<u32>().unwrap() > 3000);
    let output = fleet.repository().join(".git/orchestrate/attempts/1.1/1/output.jsonl");
    let kept = fs::metadata(&output)
        .unwrap_or_else(|error| panic!("{}: {error}", output.display()))
        .len();
    assert!(kept < 150_000_000, "{kept} bytes were kept");
}

/// Whether this process may make groups with a limit of processes; else the limit is by user, which root is exempt from.
fn processes_can_be_limited() -> bool {
    let group = std::path::Path::new("/sys/fs/cgroup/pids/orchestrate-test");
    let made = fs::create_dir(group).is_ok() && group.join("pids.max").exists();
    let _ = fs::remove_dir(group);
    made || !rustix::process::getuid().is_root()
}

#[test]
fn a_fork_bomb_is_bounded_and_nothing_of_it_stays() {
    // Bounded by itself too, so that a machine without limits survives the test.
    let mut fleet = misbehaving(
        "n=0; while [ $n -lt 600 ]; do n=$((n + 1)); sleep 600 & done 2> \"$seen.err\"\n\
         jobs -p | wc -l > \"$seen\"",
    );
    fleet.set("ORCHESTRATE_TASKS_MAX", "150");
    ends_honestly(&fleet);
    if processes_can_be_limited() {
        // The shell ends when it cannot fork, so that it never comes to count them; or it counts few.
        let count: u32 = seen(&fleet, "seen").trim().parse().unwrap_or(0);
        assert!(count < 150, "{count} processes");
        assert!(
            seen(&fleet, "seen.err").to_lowercase().contains("fork"),
            "{}",
            seen(&fleet, "seen.err")
        );
    }
    let mark = fleet.root().display().to_string();
    let left = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        fs::read(entry.path().join("environ")).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(&mark))
    });
    assert_eq!(left.count(), 0, "processes are left");
}
