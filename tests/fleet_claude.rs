//! The real Claude Code in a real fleet: `orchestrate run` drives it through whole plans, and only the model behind it is a script on loopback.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

#[path = "support/claude_fleet.rs"]
mod claude_fleet;
#[path = "support/fleet.rs"]
mod fleet;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use claude_fleet::{
    Identity, Meeting, ONE_AGENT, TWO_AGENTS, agent_pid, assert_accounted, assert_nearly_accounted, attempts,
    claude_fleet, completed, diligent, is_first_agents, most_alive, results_of, rewrite_plan, sessions_of_first_agent,
    shipped_fleet, was_told, workers,
};
use fleet::{Fleet, Settings};
use orchestrate::shell::agent::record::AttemptDirectory;
use rustix::process::{Pid, Signal, kill_process};
use support::agents::lives;
use support::endpoint::{Endpoint, Reply};

#[test]
fn the_shipped_plan_is_driven_from_its_prompts_to_a_merged_main() {
    let meeting = Meeting::of(4);
    let met = Arc::clone(&meeting);
    let endpoint = Endpoint::start(move |request| {
        if !request.is_agents() {
            return Reply::say("Work");
        }
        let who = Identity::of(request);
        match request.turn() {
            0 => {
                // Phases 2 and 3 have seven agents that need nobody of their own team: four of them must live at once.
                if ["2.1", "2.2", "2.3", "3.1", "3.2", "3.3", "3.4"].contains(&who.name.as_str()) {
                    met.attend(&who.name);
                }
                who.commit(&format!("{} Files: first draft", who.tag), "draft")
            }
            1 => who.complete(),
            _ => Reply::say("Everything is committed."),
        }
    });
    let fleet = shipped_fleet(&endpoint);
    let view = completed(&fleet);

    // Everyone worked once, in a session of its own, on the merged work of those it needs.
    let sessions: BTreeMap<String, AttemptDirectory> = attempts(&fleet).into_iter().collect();
    assert_eq!(attempts(&fleet).len(), 20);
    assert_eq!(sessions.len(), 20);
    for worker in workers(&view) {
        assert_eq!(
            (&worker["state"], &worker["attempts"]),
            (&"merged".into(), &1.into()),
            "{worker}"
        );
    }
    for (needed, by) in [
        ("agent-1-1-database", "agent-1-2-config-service"),
        ("agent-1-3-auth", "agent-1-4-lookup"),
        ("team-1-infrastructure", "agent-3-4-github-actions"),
        ("agent-2-3-r2-manager", "agent-2-4-image-gen"),
        ("team-3-operations", "agent-2-4-image-gen"),
        ("team-2-workers", "agent-4-1-testing-gui"),
        ("team-4-interfaces", "main"),
        ("team-3-operations", "main"),
    ] {
        fleet.git(&["merge-base", "--is-ancestor", needed, by]);
    }

    // The agents' own tool calls made the commits: two of each, tagged, with the trailers of their attempts.
    let commits = fleet.git(&[
        "log",
        "--format=%s|%(trailers:key=Orchestrate-Agent,valueonly,separator=)|%(trailers:key=Orchestrate-Attempt,valueonly,separator=)",
        "--grep=^\\[AGENT-\\|^\\[TEAM-",
        "main",
    ]);
    assert_eq!(commits.lines().count(), 40, "{commits}");
    assert!(
        commits.contains("[AGENT-2-4] Image Gen Worker deployed and tested|2.4|1"),
        "{commits}"
    );
    assert!(
        commits.contains("[TEAM-4] Phase complete: Interfaces integrated and tested|4|1"),
        "{commits}"
    );

    // 16 agents, 4 leaders and 4 teams were merged, and main into team 2 for what agent 2.4 needs of team 3, each into a tree that its gate has passed.
    let receipts = fleet.git(&[
        "log",
        "--format=%(trailers:key=Orchestrate-Gate-Result,valueonly,separator=)",
        "--grep=^\\[MERGE\\]",
        "main",
    ]);
    assert_eq!(
        receipts.lines().filter(|line| *line == "passed").count(),
        25,
        "{receipts}"
    );
    for phase in ["1", "2", "3", "4", "main"] {
        let gate = fleet.orchestrate(&["gate", phase]);
        assert_eq!(
            gate.status.code(),
            Some(0),
            "gate {phase}: {}",
            String::from_utf8_lossy(&gate.stdout)
        );
    }
    assert_eq!(fleet.git(&["status", "--porcelain"]), "");
    assert_eq!(
        fs::read_to_string(fleet.repository().join("scripts/deploy-instance.ts")).unwrap(),
        "draft\nwork of 3.3\n"
    );

    // Together, and never more of them than the plan allows.
    assert!(meeting.has_taken_place());
    let most = most_alive(&fleet);
    assert!((4..=8).contains(&most), "{most} sessions at once");

    // The money: per session as the endpoint served it, and in all as Claude Code's own results add up.
    assert_accounted(&view, &endpoint);
    let mut told = 0.0;
    for worker in workers(&view) {
        let id = worker["id"].as_str().unwrap();
        let name = if id.contains('.') {
            id.to_owned()
        } else {
            format!("leader-{id}")
        };
        let results = results_of(&sessions[&name]);
        let result = results.last().unwrap();
        let cost = result["total_cost_usd"].as_f64().unwrap();
        let (served, price) = endpoint.served_to(result["session_id"].as_str().unwrap());
        assert_eq!(worker["tokens"].as_u64().unwrap(), served.tokens(), "{worker}");
        assert!((cost * 1e6 - price).abs() < 0.5, "{cost} against {price}");
        let spent = worker["spent_usd"].as_f64().unwrap();
        assert!((spent - cost).abs() <= 1e-6, "{worker} against {cost}");
        told += (cost * 1e6).round() / 1e6;
    }
    let spent = view["run"]["spent_usd"].as_f64().unwrap();
    assert!((spent - told).abs() < 1e-9, "{spent} against {told}");
}

#[test]
fn a_session_that_only_says_done_is_told_why_it_does_not_count_and_goes_on() {
    const REASON: &str = "the session ended without the commit that completes the work";
    let endpoint = Endpoint::start(|request| {
        if is_first_agents(request) && !was_told(request, REASON) {
            return Reply::say("Done.");
        }
        diligent(request)
    });
    let fleet = claude_fleet(&endpoint, &ONE_AGENT, &Settings::default());
    let view = completed(&fleet);
    assert_eq!(view["agents"][0]["attempts"], 2, "{view}");
    assert_eq!(sessions_of_first_agent(&endpoint).len(), 1, "the same session");
    assert_accounted(&view, &endpoint);
}

#[test]
fn wrong_tags_are_refused_with_the_right_form_which_the_agents_then_use() {
    let endpoint = Endpoint::start(|request| {
        if !request.is_agents() {
            return Reply::say("Work");
        }
        let who = Identity::of(request);
        match (who.name.as_str(), request.results.last()) {
            ("1.1", None) => who.commit("[AGENT-1-2] Part 1.2 complete", "mine"),
            ("1.2", None) => who.commit("[AGENT-1-2 Part 1.2 complete", "mine"),
            (_, Some(result)) if result.contains("the commit was refused") => {
                // The refusal itself says what to write.
                let line = result
                    .split_once("when all is done: ")
                    .unwrap()
                    .1
                    .lines()
                    .next()
                    .unwrap();
                Reply::bash(&format!("git commit -q -m '{}'", line.trim()))
            }
            _ => diligent(request),
        }
    });
    let fleet = claude_fleet(&endpoint, &TWO_AGENTS, &Settings::default());
    let view = completed(&fleet);
    assert_eq!(
        (&view["agents"][0]["attempts"], &view["agents"][1]["attempts"]),
        (&1.into(), &1.into()),
        "{view}"
    );
    let refusals: Vec<String> = endpoint
        .requests()
        .iter()
        .flat_map(|request| request.results.clone())
        .filter(|result| result.contains("the commit was refused"))
        .collect();
    assert!(
        refusals
            .iter()
            .any(|refusal| refusal.contains("this branch belongs to agent 1.1, whose tag is [AGENT-1-1]")),
        "{refusals:?}"
    );
    assert_eq!(fleet.git(&["log", "--format=%s", "team-1..agent-1-1"]), "");
    let subjects = fleet.git(&["log", "--format=%s", "--grep=^\\[AGENT", "main"]);
    let subjects: BTreeSet<&str> = subjects.lines().collect();
    assert_eq!(
        subjects,
        BTreeSet::from(["[AGENT-1-1] Part 1.1 complete", "[AGENT-1-2] Part 1.2 complete"])
    );
    assert_accounted(&view, &endpoint);
}

#[test]
fn a_denied_tool_is_named_to_the_next_attempt() {
    let endpoint = Endpoint::start(|request| {
        if is_first_agents(request) && !was_told(request, "tools were denied to it: Bash") {
            return match request.turn() {
                0 => Reply::bash("mkdir -p work/1-1"),
                _ => Reply::say("I am done."),
            };
        }
        diligent(request)
    });
    let fleet = claude_fleet(&endpoint, &ONE_AGENT, &Settings::default());
    fleet.write(
        ".claude/settings.json",
        r#"{ "permissions": { "deny": ["Bash(mkdir:*)"] } }"#,
    );
    fleet.git(&["add", "-A"]);
    fleet.git(&["commit", "-q", "-m", "Deny a command"]);
    let view = completed(&fleet);
    assert_eq!(view["agents"][0]["attempts"], 2, "{view}");
    assert_accounted(&view, &endpoint);
}

#[test]
fn turns_that_run_out_are_an_attempt_and_the_session_goes_on() {
    let endpoint = Endpoint::start(|request| {
        if is_first_agents(request) && !was_told(request, "its turns ran out") {
            return Reply::bash(&format!("echo step {}", request.turn()));
        }
        diligent(request)
    });
    let settings = Settings {
        more_agent_keys: "  max_turns: 3\n".to_owned(),
        ..Settings::default()
    };
    let fleet = claude_fleet(&endpoint, &ONE_AGENT, &settings);
    let view = completed(&fleet);
    assert_eq!(view["agents"][0]["attempts"], 2, "{view}");
    assert_eq!(sessions_of_first_agent(&endpoint).len(), 1);
    assert_accounted(&view, &endpoint);
}

#[test]
fn a_bad_key_ends_the_run_with_the_reason_and_a_mended_one_lets_it_go_on() {
    let key_is_good = Arc::new(AtomicBool::new(false));
    let good = Arc::clone(&key_is_good);
    let endpoint = Endpoint::start(move |request| {
        if good.load(Ordering::SeqCst) {
            return diligent(request);
        }
        Reply::Refuse {
            status: 401,
            kind: "authentication_error",
            retry_after_seconds: None,
        }
    });
    let fleet = claude_fleet(&endpoint, &TWO_AGENTS, &Settings::default());
    let (status, output) = fleet.run();
    assert_eq!(status, 9, "{output}");
    assert!(
        output.contains("the key or login is not valid; mend it, then run `orchestrate run` again"),
        "{output}"
    );
    assert_eq!(fleet.status()["run"]["state"], "failed");
    key_is_good.store(true, Ordering::SeqCst);
    assert_accounted(&completed(&fleet), &endpoint);
}

#[test]
fn a_usage_limit_pauses_the_whole_fleet_which_then_goes_on_without_a_lost_attempt() {
    let limit_is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&limit_is_over);
    let endpoint = Endpoint::start(move |request| {
        if over.load(Ordering::SeqCst) {
            return diligent(request);
        }
        Reply::Refuse {
            status: 429,
            kind: "rate_limit_error",
            retry_after_seconds: Some(1),
        }
    });
    // A single attempt: a refusal that counted as one would end the run.
    let settings = Settings {
        max_attempts: 1,
        ..Settings::default()
    };
    let fleet = claude_fleet(&endpoint, &TWO_AGENTS, &settings);
    let mut run = fleet.spawn(&["run"]);
    fleet.wait_for("the fleet to pause with nobody at work", || {
        let view = fleet.status();
        let reasons = view["run"]["reasons"].to_string();
        reasons.contains("usage limit") && workers(&view).iter().all(|worker| worker["alive"] == false)
    });
    limit_is_over.store(true, Ordering::SeqCst);
    assert_eq!(run.wait().unwrap().code(), Some(0), "{}", run_errors(&fleet));
    let view = fleet.status();
    for agent in view["agents"].as_array().unwrap() {
        assert_eq!(
            (&agent["state"], &agent["attempts"]),
            (&"merged".into(), &2.into()),
            "{view}"
        );
    }
    assert_accounted(&view, &endpoint);
}

fn run_errors(fleet: &Fleet) -> String {
    fs::read_to_string(fleet.root().join("run.err")).unwrap_or_default()
}

#[test]
fn a_session_that_hangs_is_nudged_and_goes_on_with_its_memory() {
    let endpoint = Endpoint::start(|request| {
        if is_first_agents(request) && !was_told(request, "Nothing was heard of you for 12 s") {
            return match request.turn() {
                0 => Reply::bash("echo begun"),
                _ => Reply::Hang,
            };
        }
        diligent(request)
    });
    let fleet = claude_fleet(&endpoint, &ONE_AGENT, &Settings::default());
    rewrite_plan(&fleet, &[("stuck_after: 5m", "stuck_after: 12s")]);
    let view = completed(&fleet);
    assert_eq!(view["agents"][0]["attempts"], 2, "{view}");
    assert_eq!(sessions_of_first_agent(&endpoint).len(), 1);
    assert_nearly_accounted(&view, &endpoint);
}

#[test]
fn a_session_whose_process_is_killed_is_resumed_with_its_memory() {
    let endpoint = Endpoint::start(|request| {
        if is_first_agents(request) && !was_told(request, "was killed by signal 9") {
            return match request.turn() {
                0 => Reply::bash("echo begun"),
                _ => Reply::Hang,
            };
        }
        diligent(request)
    });
    let fleet = claude_fleet(&endpoint, &ONE_AGENT, &Settings::default());
    let mut run = fleet.spawn(&["run"]);
    fleet.wait_for("the session's second turn", || second_turn(&endpoint));
    kill(agent_pid(&fleet, 1));
    assert_eq!(run.wait().unwrap().code(), Some(0), "{}", run_errors(&fleet));
    let view = fleet.status();
    assert_eq!(view["agents"][0]["attempts"], 2, "{view}");
    assert_eq!(sessions_of_first_agent(&endpoint).len(), 1);
    let remembered = endpoint.requests().into_iter().find(|request| {
        is_first_agents(request) && was_told(request, "was killed by signal 9") && was_told(request, "You are 1.1")
    });
    assert!(remembered.is_some_and(|request| request.results_in_all >= 1));
    assert_nearly_accounted(&view, &endpoint);
}

fn second_turn(endpoint: &Endpoint) -> bool {
    endpoint
        .requests()
        .iter()
        .any(|request| is_first_agents(request) && request.turn() == 1)
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn a_session_outlives_a_killed_run_and_is_adopted_by_the_next() {
    let meeting = Meeting::of(2);
    let met = Arc::clone(&meeting);
    let endpoint = Endpoint::start(move |request| {
        if !is_first_agents(request) {
            return diligent(request);
        }
        let who = Identity::of(request);
        match request.turn() {
            0 => Reply::bash("echo begun"),
            1 => {
                met.attend("session");
                who.complete()
            }
            _ => Reply::say("Everything is committed."),
        }
    });
    let fleet = claude_fleet(&endpoint, &ONE_AGENT, &Settings::default());
    let mut run = fleet.spawn(&["run"]);
    fleet.wait_for("the session's second turn", || second_turn(&endpoint));
    run.kill().unwrap();
    run.wait().unwrap();
    let pid = agent_pid(&fleet, 1);
    assert!(lives(pid), "the agent died with its run");
    let mut run = fleet.spawn(&["run"]);
    fleet.wait_for("the next run", || fleet.status()["run"]["alive"] == true);
    assert!(lives(pid));
    meeting.attend("run");
    assert_eq!(run.wait().unwrap().code(), Some(0), "{}", run_errors(&fleet));
    let view = fleet.status();
    assert_eq!(view["agents"][0]["attempts"], 1, "{view}");
    assert_eq!(sessions_of_first_agent(&endpoint).len(), 1);
    assert_accounted(&view, &endpoint);
}

#[test]
fn a_failing_gate_goes_back_to_the_session_that_wrote_the_work() {
    const COMPLAINT: &str = "part 1.1 lacks its last line";
    let endpoint = Endpoint::start(|request| {
        if is_first_agents(request) && request.turn() == 0 && was_told(request, COMPLAINT) {
            let who = Identity::of(request);
            return who.commit(&who.completion, "the last line");
        }
        diligent(request)
    });
    let settings = Settings {
        gate: format!("grep -q \"last line\" work/1-1/part.txt || {{ echo {COMPLAINT}; exit 1; }}"),
        ..Settings::default()
    };
    let fleet = claude_fleet(&endpoint, &ONE_AGENT, &settings);
    let view = completed(&fleet);
    assert_eq!(view["agents"][0]["attempts"], 2, "{view}");
    assert_eq!(sessions_of_first_agent(&endpoint).len(), 1);
    assert_eq!(
        fleet.git(&["show", "main:work/1-1/part.txt"]),
        "work of 1.1\nthe last line"
    );
    assert_accounted(&view, &endpoint);
}
