//! `orchestrate rollback`, each with the real binary on a real repository: a team's branch or main goes back, and whoever built on the rest starts anew.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

#[path = "support/fleet.rs"]
mod fleet;

use std::fs;

use fleet::{Agent, Fleet, ONE_TEAM, Settings, Team};

const TWO_TEAMS: [Team; 2] = [
    Team {
        id: "1",
        phase_needs: &[],
        agents: &[Agent { id: "1.1", needs: &[] }],
    },
    Team {
        id: "2",
        phase_needs: &["1"],
        agents: &[Agent { id: "2.1", needs: &[] }],
    },
];

/// Says in its file what it was told about a way back, and which attempt it is.
const TOLD: &str = r#"set -e
dir=$(echo "$ORCHESTRATE_AGENT" | tr . -)
[ "$ORCHESTRATE_ROLE" = agent ] && dir="work/$dir" || dir="docs/team-$dir"
mkdir -p "$dir"
word=unaware
if grep -q 'rolled' "$ORCHESTRATE_PROMPT"; then word=told; fi
echo "$ORCHESTRATE_AGENT $word $ORCHESTRATE_ATTEMPT" > "$dir/result.txt"
git add "$dir"
git commit -q -m "$ORCHESTRATE_COMPLETION"
"#;

/// The commit by which a branch was merged into another.
fn merge_of(fleet: &Fleet, subject: &str, branch: &str) -> String {
    let found = fleet.git(&[
        "log",
        "--first-parent",
        "--format=%H",
        "--fixed-strings",
        &format!("--grep={subject}"),
        branch,
    ]);
    assert!(
        !found.is_empty() && !found.contains('\n'),
        "one `{subject}` on {branch}: {found:?}"
    );
    found
}

fn manual() -> Settings {
    Settings {
        approvals: "manual",
        ..Settings::default()
    }
}

#[test]
fn a_team_goes_back_and_what_was_merged_after_is_made_anew() {
    let fleet = Fleet::new(&ONE_TEAM, TOLD, &manual());
    let (status, output) = fleet.run();
    assert_eq!(status, 6, "{output}");
    let good = merge_of(&fleet, "[MERGE] Merged agent-1-1 into team-1", "team-1");
    let bad = fleet.git(&["rev-parse", "team-1"]);
    let (first, second) = (
        fleet.git(&["rev-parse", "agent-1-1"]),
        fleet.git(&["rev-parse", "agent-1-2"]),
    );

    let (status, words) = fleet.said(&["rollback", "1", "--to", &good[..10], "--dry-run"]);
    assert_eq!(status, Some(0), "{words}");
    assert!(
        words.contains("`agent-1-2` into `team-1`") && words.contains("nothing was changed"),
        "{words}"
    );
    assert_eq!(fleet.git(&["rev-parse", "team-1"]), bad, "a dry run changes nothing");
    let (status, words) = fleet.said(&["rollback", "1", "--to", &good[..10]]);
    assert_eq!(status, Some(0), "{words}");
    let (status, output) = fleet.run();
    assert_eq!(status, 6, "it waits for a yes again: {output}");

    assert_eq!(
        fleet.git(&["show", "team-1:work/1-1/result.txt"]),
        "1.1 unaware 1",
        "what was good stays"
    );
    assert_eq!(
        fleet.git(&["show", "team-1:work/1-2/result.txt"]),
        "1.2 told 2",
        "what was not is made anew"
    );
    assert_eq!(
        fleet.git(&["show", "team-1:docs/team-1/result.txt"]),
        "1 told 2",
        "and so is what was built on it"
    );
    assert_eq!(fleet.git(&["rev-parse", "agent-1-1"]), first);
    let chain = fleet.git(&["rev-list", "team-1"]);
    assert!(
        chain.contains(&good) && !chain.contains(&bad) && !chain.contains(&second),
        "{chain}"
    );
    let undone = format!("refs/orchestrate/undone/team-1/{bad}");
    assert_eq!(fleet.git(&["rev-parse", &undone]), bad, "where the team stood is kept");
    let kept = format!("refs/orchestrate/kept/agent-1-2/{second}");
    assert_eq!(
        fleet.git(&["rev-parse", &kept]),
        second,
        "what the agent had made is kept"
    );

    let view = fleet.status();
    assert_eq!(view["rollbacks"][0]["state"], "done", "{view}");
    assert_eq!(view["rollbacks"][0]["to"], good.as_str());
    assert_eq!(view["rollbacks"][0]["from"][0]["commit"], bad.as_str());
    assert_eq!(view["rollbacks"][0]["anew"].to_string(), r#"["1.2","leader-1"]"#);
    let (status, words) = fleet.said(&["audit"]);
    assert_eq!(status, Some(0), "{words}");
    assert!(
        words.contains("team-1 (undone)"),
        "the audit looks at what is undone too: {words}"
    );
    assert_eq!(fleet.said(&["approve", "1"]).0, Some(0));
    let (status, output) = fleet.run();
    assert_eq!(status, 0, "{output}");
    assert_eq!(fleet.said(&["gate", "main"]).0, Some(0));
}

#[test]
fn main_goes_back_with_its_checkout_and_the_teams_that_were_built_on_it() {
    let fleet = Fleet::new(&TWO_TEAMS, TOLD, &Settings::default());
    let start = fleet.git(&["rev-parse", "main"]);
    let (status, output) = fleet.run();
    assert_eq!(status, 0, "{output}");
    let (bad, second) = (fleet.git(&["rev-parse", "main"]), fleet.git(&["rev-parse", "team-2"]));
    let result = fleet.repository().join("work/1-1/result.txt");
    assert!(result.is_file(), "the checkout went with the landing");

    let (status, words) = fleet.said(&["rollback", "main", "--to", &start]);
    assert_eq!(status, Some(2), "{words}");
    assert!(
        words.contains("`team-2` is built on what would be undone") && words.contains("--cascade"),
        "{words}"
    );
    fs::write(&result, "changed\n").expect("a change");
    let (status, words) = fleet.said(&["rollback", "main", "--to", &start, "--cascade"]);
    assert_eq!(status, Some(2), "{words}");
    assert!(
        words.contains("work/1-1/result.txt") && words.contains("commit or stash"),
        "{words}"
    );
    fleet.git(&["checkout", "-q", "--", "work"]);
    let (status, words) = fleet.said(&["rollback", "main", "--to", &start, "--cascade"]);
    assert_eq!(status, Some(0), "{words}");
    assert!(words.contains("`team-2`") && words.contains("begins anew"), "{words}");

    let (status, output) = fleet.run();
    assert_eq!(status, 0, "{output}");
    assert_eq!(
        fleet.git(&["show", "main:work/1-1/result.txt"]),
        "1.1 unaware 1",
        "the team's branch stayed"
    );
    assert_eq!(
        fleet.git(&["show", "main:docs/team-1/result.txt"]),
        "1 told 2",
        "its leader looked at it again"
    );
    assert_eq!(
        fleet.git(&["show", "main:work/2-1/result.txt"]),
        "2.1 told 2",
        "the team on top began anew"
    );
    let chain = fleet.git(&["rev-list", "main"]);
    assert!(!chain.contains(&bad) && !chain.contains(&second), "{chain}");
    assert_eq!(
        fleet.git(&["rev-parse", &format!("refs/orchestrate/undone/main/{bad}")]),
        bad
    );
    assert_eq!(
        fleet.git(&["rev-parse", &format!("refs/orchestrate/undone/team-2/{second}")]),
        second
    );
    assert_eq!(
        fs::read_to_string(result).expect("the checkout followed"),
        "1.1 unaware 1\n"
    );
    assert_eq!(fleet.git(&["status", "--porcelain", "--untracked-files=no"]), "");
    let (status, words) = fleet.said(&["audit"]);
    assert_eq!(status, Some(0), "{words}");
    assert_eq!(fleet.said(&["gate", "main"]).0, Some(0));
}

#[test]
fn what_makes_no_sense_is_refused_with_the_next_command() {
    let fleet = Fleet::new(&ONE_TEAM, TOLD, &Settings::default());
    let refused = |arguments: &[&str], wanted: &str| {
        let (status, words) = fleet.said(arguments);
        assert_eq!(status, Some(2), "{arguments:?}: {words}");
        assert!(
            words.contains(wanted) && words.contains("hint: "),
            "{arguments:?}: {words}"
        );
    };
    refused(&["rollback", "1", "--to", "HEAD"], "there is no run here yet");
    fleet.write("early.txt", "early\n");
    fleet.git(&["add", "-A"]);
    fleet.git(&["commit", "-q", "-m", "Earlier than the run"]);
    let start = fleet.git(&["rev-parse", "main"]);
    let (status, output) = fleet.run();
    assert_eq!(status, 0, "{output}");
    let tip = fleet.git(&["rev-parse", "main"]);
    refused(&["rollback", "9", "--to", &start], "is no team of the plan");
    refused(&["rollback", "main", "--to", "abcdef1"], "there is no commit `abcdef1`");
    refused(&["rollback", "main", "--to", "agent-1-1"], "never stood at");
    refused(&["rollback", "main", "--to", &tip], "already");
    refused(&["rollback", "main", "--to", "main~2"], "older than this run's work");
    refused(&["rollback", "1", "--to", "team-1~1"], "orchestrate rollback main --to");
    assert_eq!(fleet.git(&["rev-parse", "main"]), tip, "nothing has moved");
}

#[test]
fn an_agent_that_builds_on_what_is_undone_is_ended_at_once_while_the_run_goes_on() {
    let script = r#"set -e
if [ "$ORCHESTRATE_AGENT" = 1.2 ] && [ "$ORCHESTRATE_ATTEMPT" = 1 ]; then
  echo half > half.txt
  while :; do sleep 0.05; done
fi
"#
    .to_owned()
        + TOLD;
    let fleet = Fleet::new(&ONE_TEAM, &script, &Settings::default());
    let mut run = fleet.spawn(&["run"]);
    let workspace = fleet.root().join("repository.orchestrate/agent-1-2/half.txt");
    fleet.wait_for("the second agent to work", || workspace.is_file());
    let (status, words) = fleet.said(&["rollback", "1", "--to", "team-1~1"]);
    assert_eq!(status, Some(0), "{words}");
    let code = run.wait().expect("the run ends").code();
    assert_eq!(
        code,
        Some(0),
        "{}",
        fs::read_to_string(fleet.root().join("run.err")).unwrap()
    );
    assert_eq!(fleet.git(&["show", "main:work/1-1/result.txt"]), "1.1 told 2");
    assert_eq!(fleet.git(&["show", "main:work/1-2/result.txt"]), "1.2 told 2");
    let left = fleet.git(&[
        "for-each-ref",
        "--format=%(refname)",
        "refs/orchestrate/kept/agent-1-2-left/",
    ]);
    assert_eq!(
        fleet.git(&["show", &format!("{left}:half.txt")]),
        "half",
        "what was in no commit is kept"
    );
}
