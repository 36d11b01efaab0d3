//! A gate turns work down although it is good alone: whoever made it is told with what it fails, and does not have to guess.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

#[path = "support/fleet.rs"]
mod fleet;

use std::collections::BTreeSet;
use std::fs;

use fleet::{Agent, Fleet, Settings, Team};

/// Five who land one after the other, and a sixth who begins with them.
const CHAIN_AND_ONE: [Team; 1] = [Team {
    id: "1",
    phase_needs: &[],
    agents: &[
        Agent { id: "1.1", needs: &[] },
        Agent {
            id: "1.2",
            needs: &["1.1"],
        },
        Agent {
            id: "1.3",
            needs: &["1.2"],
        },
        Agent {
            id: "1.4",
            needs: &["1.3"],
        },
        Agent {
            id: "1.5",
            needs: &["1.4"],
        },
        Agent { id: "1.6", needs: &[] },
    ],
}];

/// The sixth completes when the five have landed. It mends its work when it has been told what the test waits for.
fn script(told: &str) -> String {
    format!(
        r#"set -e
dir=$(echo "$ORCHESTRATE_AGENT" | tr . -)
[ "$ORCHESTRATE_ROLE" = agent ] && dir="work/$dir" || dir="docs/team-$dir"
if [ "$ORCHESTRATE_AGENT" = 1.6 ]; then
    n=0
    until git log --format=%s team-1 | grep -q 'Merged agent-1-5'; do sleep 0.05; n=$((n+1)); [ $n -lt 2400 ]; done
fi
mkdir -p "$dir"
echo "attempt $ORCHESTRATE_ATTEMPT" > "$dir/result.txt"
if grep -q '{told}' "$ORCHESTRATE_PROMPT"; then echo yes > "$dir/good"; fi
git add -A "$dir"
git commit -q -m "$ORCHESTRATE_COMPLETION"
"#
    )
}

/// Runs the fleet with a gate that fails with `fails` as long as 1.6 has not mended its work; what 1.6 was told, and the trees that were tested.
fn run(told: &str, fails: &str) -> (String, Vec<String>) {
    let gate = format!(
        r#"git rev-parse "HEAD^{{tree}}" >> ../../../trees; test -e work/1-6/good || ! {{ {fails}; }} || {{ echo it clashes; exit 1; }}"#
    );
    let settings = Settings {
        gate,
        ..Settings::default()
    };
    let fleet = Fleet::new(&CHAIN_AND_ONE, &script(told), &settings);
    let (status, output) = fleet.run();
    assert_eq!(status, 0, "{output}");
    let view = fleet.status();
    assert_eq!(view["agents"][5]["attempts"], 2, "{view}");
    assert_eq!(view["agents"][5]["state"], "merged", "{view}");
    let prompt = fleet.repository().join(".git/orchestrate/attempts/1.6/2/prompt.md");
    let reason = fs::read_to_string(prompt)
        .expect("the prompt of the second attempt")
        .lines()
        .find(|line| line.starts_with("Reason: "))
        .expect("a reason")
        .to_owned();
    let rejected = view["merges"]
        .as_array()
        .expect("merges")
        .iter()
        .find(|merge| merge["state"] == "rejected")
        .expect("one was turned down")
        .clone();
    let shown = rejected["reason"].as_str().expect("why").to_owned();
    assert_eq!(
        reason,
        format!("Reason: {shown}"),
        "status says what the agent was told"
    );
    let trees = fs::read_to_string(fleet.root().join("trees")).expect("the gates' trees");
    (reason, trees.lines().map(str::to_owned).collect())
}

#[test]
fn work_that_fails_with_somebody_elses_is_told_with_whose() {
    let (reason, trees) = run(
        "the smallest that fails is this work with `agent-1-3`",
        "test -e work/1-6/result.txt && test -e work/1-3/result.txt",
    );
    assert!(
        reason.contains("it passes alone, and with all that landed before `agent-1-3` ("),
        "{reason}"
    );
    let distinct: BTreeSet<&String> = trees.iter().collect();
    // Five landings, what was turned down, three to find out why (alone, with two of them, with three of them), what was mended, and the leader's work, which is
    // main's tree. A tree that fails is tested twice, and two of them did.
    assert_eq!(distinct.len(), 5 + 1 + 3 + 1 + 1, "{trees:?}");
    assert_eq!(trees.len(), distinct.len() + 2, "{trees:?}");
}

#[test]
fn work_that_fails_alone_is_told_so() {
    let (reason, trees) = run("alone fails it as well", "test -e work/1-6/result.txt");
    assert!(reason.contains("whatever the others made"), "{reason}");
    let distinct: BTreeSet<&String> = trees.iter().collect();
    assert_eq!(distinct.len(), 5 + 1 + 1 + 1 + 1, "{trees:?}");
}
