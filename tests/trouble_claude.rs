//! Trouble in a fleet of the real Claude Code: conflicts, questions, work that is sent back, a way back. Only the model behind it is a script on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

#[path = "support/claude_fleet.rs"]
mod claude_fleet;
#[path = "support/fleet.rs"]
mod fleet;
mod support;

use claude_fleet::{
    Identity, TWO_AGENTS, assert_accounted, claude_fleet, completed, diligent, is_first_agents, was_told,
};
use fleet::{Fleet, ONE_TEAM, Settings};
use support::endpoint::{Endpoint, Reply, Request};

/// Words of the prompt for settling a conflict.
const CONFLICT: &str = "# Merge conflict: ";

/// Keeps both sides' lines.
const KEEP_BOTH: &str = "sed -i '/^[<=>]\\{7\\}/d' work/1-2/result.txt && git add work && \
     git commit -q -m '[CONFLICT-RESOLVED] result.txt: both lines'";

/// Agent 1.2 waits until a human has written its file, then writes it too.
fn clashing(request: &Request) -> Reply {
    if !request.is_agents() {
        return Reply::say("Work");
    }
    let who = Identity::of(request);
    if who.name == "1.2" && request.turn() == 0 {
        return Reply::bash(&format!(
            "set -e\nwhile [ ! -e ../../go ]; do sleep 0.05; done\nmkdir -p work/1-2\necho '1.2 build' > work/1-2/result.txt\n\
             git add -A\ngit commit -q -m '{}'",
            who.completion
        ));
    }
    diligent(request)
}

/// Sessions in which this was said.
fn sessions_told(endpoint: &Endpoint, words: &str) -> usize {
    let requests = endpoint.requests();
    let told = requests.iter().filter(|request| was_told(request, words));
    let sessions: std::collections::BTreeSet<_> = told.filter_map(|request| request.session.clone()).collect();
    sessions.len()
}

fn gate_and_audit(fleet: &Fleet) {
    for command in [&["gate", "main"][..], &["audit"]] {
        let (status, words) = fleet.said(command);
        assert_eq!(status, Some(0), "{command:?}: {words}");
    }
}

/// The same where a human has committed to a team's branch by hand: the audit finds that, and nothing else.
fn gate_and_audit_beside_a_human(fleet: &Fleet) {
    let (status, words) = fleet.said(&["gate", "main"]);
    assert_eq!(status, Some(0), "{words}");
    let (status, words) = fleet.said(&["audit"]);
    assert_eq!(status, Some(4), "{words}");
    assert!(
        words.contains("A human writes the file of 1.2") && words.contains("1 fault in "),
        "{words}"
    );
}

#[test]
fn a_leaders_session_settles_a_conflict_with_both_sides() {
    let endpoint = Endpoint::start(|request| {
        if request.is_agents() && was_told(request, CONFLICT) {
            return match request.turn() {
                0 => Reply::bash("git status --porcelain; cat work/1-2/result.txt"),
                1 => Reply::bash(KEEP_BOTH),
                _ => Reply::say("It is settled."),
            };
        }
        clashing(request)
    });
    let fleet = claude_fleet(&endpoint, &TWO_AGENTS, &Settings::default());
    let (status, output) = fleet.run_with_clash();
    assert_eq!(status, Some(0), "{output}");
    assert_eq!(fleet.git(&["show", "main:work/1-2/result.txt"]), "by hand\n1.2 build");
    let seen = endpoint
        .requests()
        .iter()
        .flat_map(|request| request.results.clone())
        .find(|result| result.contains("AA work/1-2/result.txt"));
    assert!(
        seen.is_some_and(|seen| seen.contains("<<<<<<<") && seen.contains("by hand")),
        "the session found the merge in progress"
    );
    assert_accounted(&fleet.status(), &endpoint);
    gate_and_audit_beside_a_human(&fleet);
}

#[test]
fn a_leader_that_cannot_decide_asks_and_settles_it_with_the_answer_in_the_same_session() {
    let endpoint = Endpoint::start(|request| {
        if request.is_agents() && was_told(request, CONFLICT) {
            return match (was_told(request, "the second one"), request.turn()) {
                (false, 0) => Reply::bash("git commit -q -a -m '[ESCALATION-NEEDED] Which line comes first?'"),
                (true, 0) => Reply::bash(&format!(
                    "{{ echo 'the second one'; cat work/1-2/result.txt; }} > list && mv list work/1-2/result.txt && {KEEP_BOTH}"
                )),
                _ => Reply::say("That is all."),
            };
        }
        clashing(request)
    });
    let fleet = claude_fleet(&endpoint, &TWO_AGENTS, &Settings::default());
    let (status, output) = fleet.run_with_clash();
    assert_eq!(status, Some(6), "{output}");
    assert!(output.contains("Which line comes first?"), "{output}");
    assert_eq!(fleet.said(&["answer", "1", "the second one"]).0, Some(0));
    let view = completed(&fleet);
    assert_eq!(
        fleet.git(&["show", "main:work/1-2/result.txt"]),
        "the second one\nby hand\n1.2 build"
    );
    assert_eq!(sessions_told(&endpoint, CONFLICT), 1, "one conversation");
    assert_accounted(&view, &endpoint);
    gate_and_audit_beside_a_human(&fleet);
}

#[test]
fn an_agents_question_is_answered_in_its_session_and_known_to_those_who_come_later() {
    let endpoint = Endpoint::start(|request| {
        if is_first_agents(request) && !was_told(request, "8080, as always") {
            return match request.turn() {
                0 => Reply::bash("git commit -q --allow-empty -m '[ESCALATION-NEEDED] Which port?' -m '80 or 8080'"),
                _ => Reply::say("I wait for the answer."),
            };
        }
        diligent(request)
    });
    let fleet = claude_fleet(&endpoint, &ONE_TEAM, &Settings::default());
    let (status, output) = fleet.run();
    assert_eq!(status, 6, "{output}");
    let view = fleet.status();
    assert_eq!(view["escalations"][0]["question"], "Which port?", "{view}");
    assert_eq!(fleet.said(&["answer", "1", "8080, as always"]).0, Some(0));
    let view = completed(&fleet);
    assert_eq!(
        claude_fleet::sessions_of_first_agent(&endpoint).len(),
        1,
        "the same session"
    );
    let decision = fleet.git(&["show", "main:docs/decisions/0001-which-port.md"]);
    assert!(
        decision.contains("80 or 8080") && decision.ends_with("8080, as always"),
        "{decision}"
    );
    let second = endpoint
        .requests()
        .into_iter()
        .find(|request| request.is_agents() && Identity::of(request).name == "1.2");
    assert!(
        second.is_some_and(|request| was_told(&request, "0001-which-port.md")),
        "agent 1.2 is told of the decision"
    );
    assert_accounted(&view, &endpoint);
    gate_and_audit(&fleet);
}

#[test]
fn work_that_fails_its_gate_leaves_the_train_and_comes_back_mended_while_others_land() {
    const COMPLAINT: &str = "part 1.1 is not good enough";
    let endpoint = Endpoint::start(|request| {
        if !is_first_agents(request) {
            return diligent(request);
        }
        let who = Identity::of(request);
        match (was_told(request, COMPLAINT), request.turn()) {
            (false, 0) => who.commit(&who.completion, "bad"),
            (true, 0) => Reply::bash(&format!(
                "sed -i s/bad/good/ work/1-1/part.txt && git commit -q -a -m '{}'",
                who.completion
            )),
            _ => Reply::say("Everything is committed."),
        }
    });
    let settings = Settings {
        gate: format!("! grep -q bad work/1-1/part.txt 2>/dev/null || {{ echo {COMPLAINT}; exit 1; }}"),
        ..Settings::default()
    };
    let fleet = claude_fleet(&endpoint, &TWO_AGENTS, &settings);
    let view = completed(&fleet);
    assert_eq!(
        (&view["agents"][0]["attempts"], &view["agents"][1]["attempts"]),
        (&2.into(), &1.into()),
        "{view}"
    );
    assert_eq!(fleet.git(&["show", "main:work/1-1/part.txt"]), "good");
    assert_eq!(sessions_told(&endpoint, COMPLAINT), 1, "nobody else was bothered");
    assert_accounted(&view, &endpoint);
    gate_and_audit(&fleet);
}

#[test]
fn whoever_built_on_what_a_human_undid_starts_anew_in_a_new_session_with_the_reason() {
    const REASON: &str = "a human rolled `team-1` back";
    let endpoint = Endpoint::start(|request| {
        if !request.is_agents() {
            return Reply::say("Work");
        }
        let who = Identity::of(request);
        match (was_told(request, REASON), request.turn()) {
            (true, 0) => who.commit(&who.completion, "anew"),
            _ => diligent(request),
        }
    });
    let settings = Settings {
        approvals: "manual",
        ..Settings::default()
    };
    let fleet = claude_fleet(&endpoint, &ONE_TEAM, &settings);
    let (status, output) = fleet.run();
    assert_eq!(status, 6, "{output}");
    let good = fleet.git(&[
        "log",
        "--first-parent",
        "--format=%H",
        "--grep=agent-1-1 into",
        "team-1",
    ]);
    let (status, words) = fleet.said(&["rollback", "1", "--to", &good]);
    assert_eq!(status, Some(0), "{words}");
    let (status, output) = fleet.run();
    assert_eq!(status, 6, "{output}");
    assert_eq!(fleet.said(&["approve", "1"]).0, Some(0));
    let view = completed(&fleet);
    assert_eq!(
        (&view["agents"][0]["attempts"], &view["agents"][1]["attempts"]),
        (&1.into(), &2.into()),
        "{view}"
    );
    assert_eq!(fleet.git(&["show", "main:work/1-1/part.txt"]), "work of 1.1");
    assert_eq!(fleet.git(&["show", "main:work/1-2/part.txt"]), "anew");
    let told = endpoint.requests();
    let mut told = told
        .iter()
        .filter(|request| request.is_agents() && was_told(request, REASON));
    assert!(
        told.all(|request| request.results_in_all <= 1),
        "a conversation of its own"
    );
    assert_accounted(&view, &endpoint);
    gate_and_audit(&fleet);
}
