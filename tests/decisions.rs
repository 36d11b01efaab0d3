//! What a human answers is put into `docs/decisions/` on the branch of the team that asked, by a gated merge, and those who come later are told of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

#[path = "support/fleet.rs"]
mod fleet;

use std::fs;

use fleet::{DILIGENT, Fleet, ONE_TEAM, Settings};

/// Asks once; whoever comes later must be told of the answer.
const ASKING: &str = r#"set -e
if [ "$ORCHESTRATE_AGENT" = 1.1 ] && [ "$ORCHESTRATE_TASK" = build ]; then
  git commit -q --allow-empty -m "[ESCALATION-NEEDED] Which port?" -m "80 or 8080"
  exit 0
fi
if [ "$ORCHESTRATE_AGENT" = 1.2 ]; then grep -q '0001-which-port.md' "$ORCHESTRATE_PROMPT"; fi
"#;

fn asked(fleet: &Fleet) {
    let (status, output) = fleet.run();
    assert_eq!(status, 6, "{output}");
    assert_eq!(fleet.status()["escalations"][0]["question"], "Which port?");
    assert_eq!(
        fleet.orchestrate(&["answer", "1", "8080, as always"]).status.code(),
        Some(0)
    );
}

#[test]
fn an_answer_lands_on_the_teams_branch_and_later_agents_are_told_of_it() {
    let fleet = Fleet::new(&ONE_TEAM, &(ASKING.to_owned() + DILIGENT), &Settings::default());
    asked(&fleet);
    let (status, output) = fleet.run();
    assert_eq!(status, 0, "{output}");
    let text = fleet.git(&["show", "main:docs/decisions/0001-which-port.md"]);
    assert!(text.starts_with("# Decision 1\n\nAsked by agent 1.1 on "), "{text}");
    assert!(text.contains("## Question\n\nWhich port?\n\n80 or 8080"), "{text}");
    assert!(text.ends_with("## Answer\n\n8080, as always"), "{text}");
    let merged = fleet.git(&["log", "--first-parent", "--format=%B", "--grep=decision-1", "team-1"]);
    assert!(merged.starts_with("[MERGE] Merged decision-1 into team-1"), "{merged}");
    assert!(
        merged.contains("Orchestrate-Gate-Result: passed"),
        "through the gate, with a receipt: {merged}"
    );
    for command in [&["audit"][..], &["gate", "main"]] {
        let output = fleet.orchestrate(command);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

#[test]
fn a_gate_that_does_not_like_decisions_holds_nothing_up() {
    let settings = Settings {
        gate: "test -d work && test ! -d docs/decisions".to_owned(),
        ..Settings::default()
    };
    let script = ASKING.replace("if [ \"$ORCHESTRATE_AGENT\" = 1.2 ]", "if false") + DILIGENT;
    let fleet = Fleet::new(&ONE_TEAM, &script, &settings);
    asked(&fleet);
    let (status, output) = fleet.run();
    assert_eq!(status, 0, "{output}");
    let notes = fleet.status()["notes"].to_string();
    assert!(
        notes.contains("the answer to question 1 is not put into docs/decisions/: its team has landed without it"),
        "{notes}"
    );
    let prompt = fleet.repository().join(".git/orchestrate/attempts/1.1/2/prompt.md");
    let prompt = fs::read_to_string(&prompt)
        .or_else(|_| fs::read_to_string(prompt.with_file_name("prompt")))
        .unwrap();
    assert!(
        prompt.contains("8080, as always"),
        "whoever asked is told all the same: {prompt}"
    );
}
