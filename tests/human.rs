//! What a human says to a run, each with the real binary on a real repository: `pause`, `resume`, `reject`, `retry --fresh`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

#[path = "support/fleet.rs"]
mod fleet;

use std::fs;

use fleet::{DILIGENT, Fleet, ONE_TEAM, Settings};

#[test]
fn pause_starts_nobody_new_and_resume_goes_on() {
    let script = r#"set -e
while [ ! -e "$ORCHESTRATE_PLAN_DIR/../go" ]; do sleep 0.05; done
"#
    .to_owned()
        + DILIGENT;
    let fleet = Fleet::new(&ONE_TEAM, &script, &Settings::default());
    let mut run = fleet.spawn(&["run"]);
    fleet.wait_for("the first agent to live", || {
        fleet.status()["agents"][0]["attempts"] == 1
    });
    assert_eq!(fleet.said(&["resume"]).0, Some(2), "nothing is paused yet");
    assert_eq!(fleet.said(&["pause"]).0, Some(0));
    fleet.wait_for("the run to know of the pause", || {
        fleet.status()["run"]["reasons"].to_string().contains("paused")
    });
    assert_eq!(fleet.said(&["pause"]).0, Some(2), "it is paused already");
    fs::write(fleet.root().join("go"), "").expect("the signal");
    assert_eq!(
        run.wait().expect("the run ends").code(),
        Some(6),
        "it waits for a human"
    );
    let view = fleet.status();
    assert_eq!(view["agents"][0]["state"], "merged", "what lived went on: {view}");
    assert_eq!(view["agents"][1]["attempts"], 0, "nobody new: {view}");
    let (status, output) = fleet.run();
    assert_eq!(status, 6, "starting the run again does not end the pause: {output}");
    assert!(output.contains("orchestrate resume"), "{output}");
    assert_eq!(fleet.said(&["resume"]).0, Some(0));
    let (status, output) = fleet.run();
    assert_eq!(status, 0, "{output}");
}

#[test]
fn reject_sends_a_landing_back_to_the_leader_with_the_reason() {
    let script = r#"set -e
if grep -q 'the manual is missing' "$ORCHESTRATE_PROMPT"; then mkdir -p docs/team-1; echo manual > docs/team-1/MANUAL; fi
"#
    .to_owned()
        + DILIGENT;
    let settings = Settings {
        approvals: "manual",
        ..Settings::default()
    };
    let fleet = Fleet::new(&ONE_TEAM, &script, &settings);
    let (status, output) = fleet.run();
    assert_eq!(status, 6, "{output}");
    assert_eq!(fleet.said(&["reject", "1", " "]).0, Some(2), "a reason is needed");
    assert_eq!(fleet.said(&["reject", "9", "x"]).0, Some(2), "there is no such team");
    let (status, words) = fleet.said(&["reject", "1", "the manual is missing"]);
    assert_eq!(status, Some(0), "{words}");
    let (status, output) = fleet.run();
    assert_eq!(status, 6, "it waits for a yes again: {output}");
    assert_eq!(
        fleet.git(&["ls-tree", "--name-only", "main", "docs"]),
        "",
        "nothing has landed"
    );
    assert_eq!(fleet.said(&["approve", "1"]).0, Some(0));
    let (status, output) = fleet.run();
    assert_eq!(status, 0, "{output}");
    assert_eq!(fleet.git(&["show", "main:docs/team-1/MANUAL"]), "manual");
    assert_eq!(fleet.said(&["reject", "1", "too late"]).0, Some(2));
}

#[test]
fn retry_fresh_puts_the_branch_back_and_keeps_what_it_held() {
    let script = r#"set -e
if [ "$ORCHESTRATE_AGENT" = 1.1 ] && [ "$ORCHESTRATE_ATTEMPT" = 1 ]; then
  mkdir -p work/1-1
  echo wrong > work/1-1/wrong.txt
  git add work
  git commit -q -m "[AGENT-1-1] Part: the wrong way"
  echo half > work/1-1/half.txt
  exit 1
fi
"#
    .to_owned()
        + DILIGENT;
    let settings = Settings {
        max_attempts: 1,
        ..Settings::default()
    };
    let fleet = Fleet::new(&ONE_TEAM, &script, &settings);
    let (status, output) = fleet.run();
    assert_eq!(status, 9, "{output}");
    let wrong = fleet.git(&["rev-parse", "agent-1-1"]);
    assert_eq!(
        fleet.said(&["retry", "1.2", "--fresh"]).0,
        Some(2),
        "it has not started"
    );
    assert_eq!(fleet.said(&["retry", "1.1", "--fresh"]).0, Some(0));
    let (status, output) = fleet.run();
    assert_eq!(status, 0, "{output}");
    assert_eq!(
        fleet.git(&["ls-tree", "-r", "--name-only", "main", "work/1-1"]),
        "work/1-1/result.txt"
    );
    let kept = fleet.git(&[
        "for-each-ref",
        "--format=%(objectname)",
        "refs/orchestrate/kept/agent-1-1/",
    ]);
    assert_eq!(kept, wrong, "the tip is kept");
    let left = fleet.git(&[
        "for-each-ref",
        "--format=%(refname)",
        "refs/orchestrate/kept/agent-1-1-left/",
    ]);
    assert_eq!(
        fleet.git(&["show", &format!("{left}:work/1-1/half.txt")]),
        "half",
        "what was in no commit is kept"
    );
    assert_eq!(fleet.said(&["retry", "1.1", "--fresh"]).0, Some(2), "it is merged");
}
