//! `orchestrate run` with `command` agents on real repositories: a whole plan, bad gates, bad agents, kills at any instant.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

#[path = "support/fleet.rs"]
mod fleet;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use fleet::{DILIGENT, Fleet, ONE_TEAM, PAIR, SIXTEEN, Settings};

#[test]
fn a_run_merges_sixteen_agents_and_four_leaders_in_dependency_order() {
    let fleet = Fleet::new(&SIXTEEN, DILIGENT, &Settings::default());
    let (status, output) = fleet.run();
    assert_eq!(status, 0, "{output}");
    let log = fleet.git(&["log", "--format=%s", "--topo-order", "main"]);
    for team in &SIXTEEN {
        assert!(
            log.contains(&format!("[MERGE] Merged team-{} into main", team.id)),
            "{log}"
        );
        for agent in team.agents {
            let slug = agent.id.replace('.', "-");
            assert!(
                log.contains(&format!("[MERGE] Merged agent-{slug} into team-{}", team.id)),
                "{log}"
            );
            // Whoever is needed is in the needing agent's history before its own first commit.
            for need in agent.needs {
                let needed = format!("agent-{}", need.replace('.', "-"));
                fleet.git(&["merge-base", "--is-ancestor", &needed, &format!("agent-{slug}")]);
            }
        }
    }
    let files = fleet.git(&["ls-tree", "-r", "--name-only", "main"]);
    assert_eq!(
        files.lines().filter(|file| file.starts_with("work/")).count(),
        16,
        "{files}"
    );
    let receipts = fleet.git(&[
        "log",
        "--format=%(trailers:key=Orchestrate-Gate-Result,valueonly)",
        "--grep=^\\[MERGE\\]",
        "main",
    ]);
    assert_eq!(
        receipts.lines().filter(|line| line.trim() == "passed").count(),
        16 + 4 + 4,
        "{receipts}"
    );
    let view = fleet.status();
    assert_eq!(view["run"]["state"], "complete", "{view}");
    assert_eq!(view["agents"].as_array().map(Vec::len), Some(16));
    // The user's own checkout follows main, and stays clean.
    assert_eq!(fleet.git(&["status", "--porcelain"]), "");
    assert!(fleet.repository().join("work/4-4/result.txt").exists());
    let (status, output) = fleet.run();
    assert_eq!(status, 0, "a second run has nothing to do: {output}");
}

#[test]
fn a_gate_finds_the_very_program_that_runs() {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_orchestrate"))
        .canonicalize()
        .unwrap();
    let found = "$(readlink -f \"$(command -v orchestrate)\")";
    let settings = Settings {
        gate: format!(
            "test \"{found}\" = \"{}\" && orchestrate explain E0201",
            program.display()
        ),
        ..Settings::default()
    };
    let fleet = Fleet::new(&ONE_TEAM, DILIGENT, &settings);
    let (status, output) = fleet.run();
    assert_eq!(status, 0, "{output}");
}

#[test]
fn a_failing_gate_sends_the_agent_back_with_the_output() {
    // The agent's first work lacks `good`; the second attempt reads the failing output in its prompt.
    let script = r#"set -e
dir=$(echo "$ORCHESTRATE_AGENT" | tr . -)
[ "$ORCHESTRATE_ROLE" = agent ] && dir="work/$dir" || dir="docs/team-$dir"
mkdir -p "$dir"
echo "attempt $ORCHESTRATE_ATTEMPT" > "$dir/result.txt"
if grep -q 'something good is missing' "$ORCHESTRATE_PROMPT" || [ "$ORCHESTRATE_AGENT" != 1.1 ]; then echo yes > "$dir/good"; fi
git add -A "$dir"
git commit -q -m "$ORCHESTRATE_COMPLETION"
"#;
    let gate = "test -e work/1-1/good || { echo something good is missing; exit 1; }".to_owned();
    let fleet = Fleet::new(
        &ONE_TEAM,
        script,
        &Settings {
            gate,
            ..Settings::default()
        },
    );
    let (status, output) = fleet.run();
    assert_eq!(status, 0, "{output}");
    let view = fleet.status();
    assert_eq!(view["agents"][0]["attempts"], 2, "{view}");
    assert_eq!(view["agents"][0]["state"], "merged", "{view}");
    assert_eq!(fleet.git(&["show", "main:work/1-1/result.txt"]), "attempt 2");
}

#[test]
fn an_agent_that_never_commits_is_given_up_and_the_run_says_so() {
    let fleet = Fleet::new(
        &ONE_TEAM,
        "echo all done",
        &Settings {
            max_attempts: 1,
            ..Settings::default()
        },
    );
    let (status, output) = fleet.run();
    assert_eq!(status, 9, "{output}");
    assert!(
        output.contains("ended without the commit that completes the work"),
        "{output}"
    );
    let view = fleet.status();
    assert_eq!(view["agents"][0]["state"], "failed", "{view}");
    assert_eq!(view["run"]["state"], "failed", "{view}");
}

#[test]
fn an_agent_that_leaves_its_paths_is_turned_down() {
    let script = r#"set -e
dir=$(echo "$ORCHESTRATE_AGENT" | tr . -)
mkdir -p "work/$dir"
echo x > "work/$dir/result.txt"
echo overwritten > README
git add -A
git commit -q -m "$ORCHESTRATE_COMPLETION"
"#;
    let fleet = Fleet::new(
        &ONE_TEAM,
        script,
        &Settings {
            max_attempts: 1,
            ..Settings::default()
        },
    );
    let (status, output) = fleet.run();
    assert_eq!(status, 9, "{output}");
    assert!(output.contains("README"), "{output}");
    assert_eq!(
        fleet.git(&["ls-tree", "--name-only", "team-1", "README"]),
        "",
        "the team's branch is untouched"
    );
}

#[test]
fn the_users_own_hooks_run_for_agents_also_one_that_comes_while_they_work() {
    const SECOND_AGENT_ADDS_A_HOOK: &str = r#"
if [ "$ORCHESTRATE_AGENT" = 1.2 ]; then
  hook=$(git rev-parse --git-common-dir)/hooks/post-commit
  printf '#!/bin/sh\necho later >> "$(git rev-parse --git-common-dir)/hooks.log"\n' > "$hook"
  chmod +x "$hook"
fi
"#;
    let fleet = Fleet::new(
        &ONE_TEAM,
        &format!("{SECOND_AGENT_ADDS_A_HOOK}{DILIGENT}"),
        &Settings::default(),
    );
    // Like many hooks, this one looks for its neighbour by the path that it was called by.
    fleet.write(".git/hooks/pre-commit", "#!/bin/sh\n. \"$(dirname \"$0\")/words\"\n");
    fleet.write(
        ".git/hooks/words",
        "echo before >> \"$(git rev-parse --git-common-dir)/hooks.log\"\n",
    );
    let hook = fleet.repository().join(".git/hooks/pre-commit");
    fs::set_permissions(hook, fs::Permissions::from_mode(0o755)).unwrap();
    let (status, output) = fleet.run();
    assert_eq!(status, 0, "{output}");
    let words = fs::read_to_string(fleet.repository().join(".git/hooks.log")).unwrap();
    assert_eq!(
        words.lines().collect::<Vec<_>>(),
        ["before", "before", "later", "before", "later"],
        "agent 1.1, agent 1.2, the leader"
    );
}

#[test]
fn a_question_stops_the_run_with_exit_6_and_its_answer_reaches_the_agent() {
    let script = r#"set -e
dir=$(echo "$ORCHESTRATE_AGENT" | tr . -)
[ "$ORCHESTRATE_ROLE" = agent ] && dir="work/$dir" || dir="docs/team-$dir"
if [ "$ORCHESTRATE_AGENT" = 1.1 ] && [ "$ORCHESTRATE_TASK" != answer ]; then
  git commit -q --allow-empty -m "[ESCALATION-NEEDED] Which colour shall it be?"
  exit 0
fi
mkdir -p "$dir"
if [ "$ORCHESTRATE_TASK" = answer ]; then grep -o 'a deep green' "$ORCHESTRATE_PROMPT" > "$dir/result.txt"; else echo plain > "$dir/result.txt"; fi
git add "$dir"
git commit -q -m "$ORCHESTRATE_COMPLETION"
"#;
    let fleet = Fleet::new(&ONE_TEAM, script, &Settings::default());
    let (status, output) = fleet.run();
    assert_eq!(status, 6, "{output}");
    assert!(output.contains("Which colour shall it be?"), "{output}");
    assert!(output.contains("orchestrate answer 1"), "{output}");
    assert_eq!(
        fleet.orchestrate(&["answer", "1", "a deep green"]).status.code(),
        Some(0)
    );
    let (status, output) = fleet.run();
    assert_eq!(status, 0, "{output}");
    assert_eq!(fleet.git(&["show", "main:work/1-1/result.txt"]), "a deep green");
    assert_eq!(fleet.orchestrate(&["answer", "1", "again"]).status.code(), Some(2));
}

#[test]
fn manual_approval_stops_with_exit_6_until_a_human_says_yes() {
    let fleet = Fleet::new(
        &ONE_TEAM,
        DILIGENT,
        &Settings {
            approvals: "manual",
            ..Settings::default()
        },
    );
    let (status, output) = fleet.run();
    assert_eq!(status, 6, "{output}");
    assert_eq!(fleet.status()["teams"][0]["state"], "awaiting-approval");
    assert_eq!(fleet.orchestrate(&["approve", "1"]).status.code(), Some(0));
    let (status, output) = fleet.run();
    assert_eq!(status, 0, "{output}");
}

#[test]
fn a_conflict_that_its_leader_cannot_settle_stops_with_exit_6_and_goes_on_when_a_human_settles_it() {
    let script = clashing("exit 1");
    let fleet = Fleet::new(&PAIR, &script, &Settings::default());
    let (status, output) = fleet.run_with_clash();
    assert_eq!(status, Some(6), "{output}");
    assert!(output.contains("resolver 1 started (attempt 3)"), "{output}");
    let view = fleet.status();
    let merges = view["merges"].as_array().expect("merges");
    assert!(merges.iter().any(|merge| merge["state"] == "conflict"), "{view}");
    let workspace = fleet.root().join("repository.orchestrate/agent-1-2");
    let in_workspace =
        |arguments: &[&str]| fleet.git(&[&["-C", workspace.to_str().expect("a path")], arguments].concat());
    in_workspace(&["merge", "-q", "-X", "ours", "-m", "Keep the agent's file", "team-1"]);
    let (status, output) = fleet.run();
    assert_eq!(status, 0, "{output}");
    assert_eq!(fleet.git(&["show", "main:work/1-2/result.txt"]), "1.2 build");
}

/// 1.2 waits for a signal. `settle` is what the leader does in the seat where it settles conflicts.
fn clashing(settle: &str) -> String {
    format!(
        r#"set -e
if [ "$ORCHESTRATE_TASK" = resolve ]; then
{settle}
exit 0
fi
if [ "$ORCHESTRATE_AGENT" = 1.2 ]; then while [ ! -e "$ORCHESTRATE_PLAN_DIR/../go" ]; do sleep 0.05; done; fi
"#
    ) + DILIGENT
}

/// Keeps both sides' lines.
const KEEP_BOTH: &str = r#"sed -i '/^[<=>]\{7\}/d' work/1-2/result.txt
git add work"#;

#[test]
fn a_conflict_is_settled_by_the_leader_and_lands_with_both_sides() {
    let settle = r#"cp "$ORCHESTRATE_PROMPT" "$ORCHESTRATE_PLAN_DIR/../prompt"
git status --porcelain > "$ORCHESTRATE_PLAN_DIR/../status"
"#;
    let settle = format!("{settle}{KEEP_BOTH}\ngit commit -q -m '[CONFLICT-RESOLVED] result.txt: both lines'");
    let fleet = Fleet::new(&PAIR, &clashing(&settle), &Settings::default());
    let (status, output) = fleet.run_with_clash();
    assert_eq!(status, Some(0), "{output}");
    assert_eq!(fleet.git(&["show", "main:work/1-2/result.txt"]), "by hand\n1.2 build");
    fleet.git(&["merge-base", "--is-ancestor", "agent-1-2", "main"]);
    let seen = fs::read_to_string(fleet.root().join("status")).expect("the leader looked");
    assert!(
        seen.contains("AA work/1-2/result.txt"),
        "a merge is in progress: {seen}"
    );
    let prompt = fs::read_to_string(fleet.root().join("prompt")).expect("a prompt");
    for part in [
        "+by hand",
        "+1.2 build",
        "prompts/agent.md.tera",
        "specs/",
        "Also-Changed: path: reason",
        "You lead 1",
    ] {
        assert!(prompt.contains(part), "{part} is missing: {prompt}");
    }
    assert!(output.contains("no line of either side is lost"), "{output}");
    let gate = fleet.orchestrate(&["gate", "main"]);
    assert_eq!(gate.status.code(), Some(0), "{}", String::from_utf8_lossy(&gate.stdout));
}

#[test]
fn settings_that_an_agent_leaves_behind_decide_no_merge() {
    // Where these settings count, the agent's side of every conflict is dropped without a word.
    let attack = r#"git config merge.keep.driver true
mkdir -p "$(git rev-parse --git-common-dir)/info"
echo '* merge=keep' > "$(git rev-parse --git-common-dir)/info/attributes"
"#;
    let settle = "printf 'by hand\\n1.2 build\\n' > work/1-2/result.txt\ngit add work\ngit commit -q -m '[CONFLICT-RESOLVED] result.txt: both lines'";
    let fleet = Fleet::new(&PAIR, &format!("{attack}{}", clashing(settle)), &Settings::default());
    let (status, output) = fleet.run_with_clash();
    assert_eq!(status, Some(0), "{output}");
    assert_eq!(fleet.git(&["show", "main:work/1-2/result.txt"]), "by hand\n1.2 build");
    assert!(output.contains("conflicts in"), "{output}");
    let (_, output) = fleet.said(&["audit"]);
    assert!(output.contains("settles a conflict in work/1-2/result.txt"), "{output}");
}

#[test]
fn a_settlement_that_drops_a_side_or_touches_more_is_sent_back() {
    // First one that is no merge at all, then one that writes elsewhere without a reason, then the reason.
    let settle = format!(
        r#"if grep -q 'does not hold' "$ORCHESTRATE_PROMPT"; then
  {KEEP_BOTH}
  echo more > elsewhere.txt
  git add elsewhere.txt
  git commit -q -m "[CONFLICT-RESOLVED] result.txt: both lines"
elif grep -q 'was not in conflict' "$ORCHESTRATE_PROMPT"; then
  git commit -q --allow-empty -m "[CONFLICT-RESOLVED] result.txt: both lines" -m "Also-Changed: elsewhere.txt: it explains the result"
else
  git merge --abort
  git commit -q --allow-empty -m "[CONFLICT-RESOLVED] nothing to do"
fi"#
    );
    let fleet = Fleet::new(&PAIR, &clashing(&settle), &Settings::default());
    let (status, output) = fleet.run_with_clash();
    assert_eq!(status, Some(0), "{output}");
    assert!(output.contains("it does not hold `agent-1-2`"), "{output}");
    assert!(output.contains("`elsewhere.txt` was not in conflict"), "{output}");
    assert_eq!(fleet.git(&["show", "main:elsewhere.txt"]), "more");
}

#[test]
fn a_leaders_question_about_a_conflict_is_answered_in_its_seat() {
    let ask = r#"git commit -q -a -m "[ESCALATION-NEEDED] Which line comes first?""#;
    let answered = r#"set -e
if [ "$ORCHESTRATE_TASK" = answer ]; then
  { grep -o 'the second one' "$ORCHESTRATE_PROMPT" | head -n 1; sed '/^[<=>]\{7\}/d' work/1-2/result.txt; } > list
  mv list work/1-2/result.txt
  git add work
  git commit -q -m "[CONFLICT-RESOLVED] result.txt: as answered"
  exit 0
fi
"#;
    let script = format!("{answered}{}", clashing(ask));
    let fleet = Fleet::new(&PAIR, &script, &Settings::default());
    let (status, output) = fleet.run_with_clash();
    assert_eq!(status, Some(6), "{output}");
    assert!(output.contains("Which line comes first?"), "{output}");
    let said = fleet.orchestrate(&["answer", "1", "the second one"]);
    assert_eq!(said.status.code(), Some(0));
    let (status, output) = fleet.run();
    assert_eq!(status, 0, "{output}");
    assert_eq!(
        fleet.git(&["show", "main:work/1-2/result.txt"]),
        "the second one\nby hand\n1.2 build"
    );
}

#[test]
fn merges_behind_the_first_are_tested_before_their_turn_and_no_tree_twice() {
    // The gate passes only when two of it have begun: alone, the first merge of a target would never get through.
    let gate = r#"git rev-parse "HEAD^{tree}" >> ../../../trees; n=0; while [ $(wc -l < ../../../trees) -lt 2 ] && [ $n -lt 1200 ]; do sleep 0.05; n=$((n+1)); done; [ $(wc -l < ../../../trees) -ge 2 ]"#;
    let settings = Settings {
        gate: gate.to_owned(),
        ..Settings::default()
    };
    let fleet = Fleet::new(&PAIR, DILIGENT, &settings);
    let (status, output) = fleet.run();
    assert_eq!(status, 0, "{output}");
    let trees = fs::read_to_string(fleet.root().join("trees")).expect("the gates' trees");
    let mut tested: Vec<&str> = trees.lines().collect();
    let runs = tested.len();
    tested.sort_unstable();
    tested.dedup();
    assert_eq!(runs, tested.len(), "every tree was tested once: {trees}");
    // Two agents and the leader's work; main's tree is the team's.
    assert_eq!(runs, 3, "{trees}");
    assert!(!output.contains("failed"), "{output}");
}

#[test]
fn a_dirty_checkout_makes_the_landing_wait_and_never_loses_a_change() {
    let fleet = Fleet::new(&ONE_TEAM, DILIGENT, &Settings::default());
    fleet.write("specs/overview.md", "# Changed by hand\n");
    let mut run = fleet.spawn(&["run"]);
    fleet.wait_for("the landing to wait", || {
        let view = fleet.status();
        view["merges"].as_array().is_some_and(|merges| {
            merges.iter().any(|merge| {
                merge["reason"]
                    .as_str()
                    .is_some_and(|reason| reason.contains("uncommitted changes"))
            })
        })
    });
    assert_eq!(
        fs::read_to_string(fleet.repository().join("specs/overview.md")).expect("the file"),
        "# Changed by hand\n"
    );
    fleet.git(&["commit", "-q", "-am", "Keep my change"]);
    let status = run.wait().expect("the run ends");
    assert_eq!(
        status.code(),
        Some(0),
        "{}",
        fs::read_to_string(fleet.root().join("run.err")).unwrap_or_default()
    );
    assert_eq!(fleet.git(&["show", "main:specs/overview.md"]), "# Changed by hand");
    assert_eq!(fleet.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_second_run_beside_the_first_is_refused() {
    let script = r#"set -e
while [ ! -e "$ORCHESTRATE_PLAN_DIR/go" ]; do sleep 0.05; done
"#
    .to_owned()
        + DILIGENT;
    let fleet = Fleet::new(&ONE_TEAM, &script, &Settings::default());
    let mut run = fleet.spawn(&["run"]);
    fleet.wait_for("the first agent to live", || {
        fleet.status()["agents"][0]["attempts"] == 1
    });
    let (status, output) = fleet.run();
    assert_eq!(status, 7, "{output}");
    assert!(output.contains("hint:"), "{output}");
    fs::write(fleet.repository().join("go"), "").expect("the signal");
    assert_eq!(run.wait().expect("the run ends").code(), Some(0));
}

#[test]
fn interrupting_leaves_agents_alive_and_the_next_run_adopts_them() {
    let script = r#"set -e
echo "$$ $ORCHESTRATE_ATTEMPT" >> "$ORCHESTRATE_PLAN_DIR/../started-$ORCHESTRATE_AGENT"
while [ ! -e "$ORCHESTRATE_PLAN_DIR/../go" ]; do sleep 0.05; done
"#
    .to_owned()
        + DILIGENT;
    let fleet = Fleet::new(&ONE_TEAM, &script, &Settings::default());
    let mut run = fleet.spawn(&["run"]);
    let started = fleet.root().join("started-1.1");
    fleet.wait_for("the first agent to live", || started.exists());
    let pid = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("interrupt");
    assert_eq!(run.wait().expect("the run ends").code(), Some(130));
    fs::write(fleet.root().join("go"), "").expect("the signal");
    let (status, output) = fleet.run();
    assert_eq!(status, 0, "{output}");
    assert_eq!(
        fs::read_to_string(started).expect("its starts").lines().count(),
        1,
        "started once, adopted once"
    );
}

#[test]
fn stop_now_ends_agents_and_the_next_run_goes_on() {
    let script = r#"set -e
if [ "$ORCHESTRATE_ATTEMPT" = 1 ] && [ "$ORCHESTRATE_AGENT" = 1.1 ]; then sleep 600; fi
"#
    .to_owned()
        + DILIGENT;
    let fleet = Fleet::new(&ONE_TEAM, &script, &Settings::default());
    let mut run = fleet.spawn(&["run"]);
    fleet.wait_for("the first agent to live", || {
        fleet.status()["agents"][0]["attempts"] == 1
    });
    assert_eq!(fleet.orchestrate(&["stop", "--now"]).status.code(), Some(0));
    assert_eq!(run.wait().expect("the run ends").code(), Some(130));
    let (status, output) = fleet.run();
    assert_eq!(status, 0, "{output}");
    assert_eq!(fleet.status()["agents"][0]["attempts"], 2);
}
