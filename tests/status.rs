//! `status`, `logs`, `stop` and `doctor`, as people and scripts see them: standard output, standard error and exit status together.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod common;
#[path = "status/doctor.rs"]
mod doctor;
#[path = "status/terminal.rs"]
mod terminal;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::story::{EMPTY_TREE, Story, merged};
use common::told::*;
use orchestrate::core::event::{AgentExit, Event, GateOutcome, Preparation, Usage};
use orchestrate::ids::{Attempt, MergeId};
use orchestrate::shell::agent::record::{
    AttemptDirectory, Dialect, ExitRecord, Invocation, LaunchRecord, PoliteEnd, RECORD_VERSION, StartedRecord,
    read_record, write_record,
};

/// 1.1 is merged, 1.2 works, 1.3 waits for it.
fn in_the_middle() -> Story {
    let mut story = Story::running(125);
    story.tell(1, &[created("team-1"), created("agent-1-1"), started(agent("1.1"), 1)]);
    story.tell(
        30,
        &[
            progressed(agent("1.1"), 1, 1.2),
            committed(agent("1.1"), 'a', "[AGENT-1-1] Schema complete"),
        ],
    );
    story.tell(31, &merged(1, 'b'));
    story.tell(32, &[created("agent-1-2"), started(agent("1.2"), 1)]);
    story
}

fn exited(id: &str, attempt: u32, exit: AgentExit) -> Event {
    Event::AgentExited {
        actor: agent(id),
        attempt: Attempt(attempt),
        usage: Usage::default(),
        session: None,
        exit,
    }
}

#[track_caller]
fn check(found: &str, expected: &str) {
    assert!(found == expected, "found:\n{found}\nexpected:\n{expected}");
}

#[test]
fn status_shows_every_phase_team_and_agent_and_what_each_waits_for() {
    check(
        &in_the_middle().ask(&["status"]),
        "\
shop, running, for 2h 5m, spent $1.20 of $20.00
run by process PID on HOST, since DATE TIME

Phase 1  Foundation                                                      running
  Team 1  Infrastructure  team-1 at bbbbbbb               1 of 3 merged, running
    * 1.1  Database Schema              merged     1 of 3   1h 35m ago     $1.20
    > 1.2  Config Service               running    1 of 3   1h 33m ago     $0.00
        nothing heard of it for 93 minutes; after 30 minutes it is ended and
        told to go on
    . 1.3  Authentication               waiting    waits for 1.2
    . leader                            waiting    waits for 1.2, 1.3

Phase 2  Shop Window                                           waits for phase 1
  Team 2  Window  team-2                                  0 of 1 merged, waiting
    . 2.1  Pages                        waiting    waits for phase 1
    . leader                            waiting    waits for phase 1
",
    );
}

#[test]
fn status_of_a_run_whose_process_is_gone_says_that_it_was_interrupted() {
    let mut story = in_the_middle();
    story.dies();
    let status = story.ask(&["status"]);
    check(
        &status.lines().take(2).collect::<Vec<_>>().join("\n"),
        "shop, interrupted, started DATE TIME, spent $1.20 of $20.00\n\
         the process that ran it is gone, and nothing is lost: `orchestrate run` goes on",
    );
    let document: serde_json::Value = serde_json::from_str(&story.json()).unwrap();
    assert_eq!(document["run"]["state"], "stopped");
    assert_eq!(document["run"]["interrupted"], true);
    assert_eq!(document["run"]["alive"], false);
}

#[test]
fn status_says_where_branches_do_not_stand_where_the_run_left_them() {
    let mut story = in_the_middle();
    story.dies();
    let first = story.git(&["commit-tree", "-m", "First", EMPTY_TREE]);
    story.git(&["update-ref", "refs/heads/agent-1-2", first.trim()]);
    let status = story.ask(&["status"]);
    let notes = status.split_once("Notes\n").unwrap().1.replace(&first[..7], "FIRST");
    check(
        &notes,
        "  ! branch `team-1` is gone; the run saw it at bbbbbbb
  ! branch `agent-1-2` stands at FIRST, the run saw it at 0000000: the next
    `orchestrate run` takes in what is new
",
    );
}

#[test]
fn status_names_the_exact_command_for_every_open_question() {
    let mut story = in_the_middle();
    story.tell(
        40,
        &[
            committed(
                agent("1.2"),
                'c',
                "[ESCALATION-NEEDED] Should the cache live in KV or in D1, and for how long may a stale copy be served?\n\nKV is eventually consistent.\n\u{1b}[31mD1 is not.",
            ),
            exited("1.2", 1, AgentExit::Finished),
        ],
    );
    let status = story.ask(&["status"]);
    check(
        status.split_once("Open questions\n").unwrap().1,
        "  ? 1  agent 1.2 asked 1h 25m ago: Should the cache live in KV or in D1, and for
       how long may a stale copy be served?
       KV is eventually consistent.
       ^[[31mD1 is not.
       orchestrate answer 1 \"...\"
",
    );
    assert!(
        status.contains("? 1.2  Config Service               escalated"),
        "{status}"
    );
}

#[test]
fn status_shows_merges_under_way_and_why_one_was_turned_down() {
    let mut story = in_the_middle();
    story.tell(
        40,
        &[
            committed(agent("1.2"), 'c', "[AGENT-1-2] Config complete"),
            clean(2, 'd'),
        ],
    );
    let status = story.ask(&["status"]);
    check(
        status.split_once("Merges under way\n").unwrap().1,
        "  > 2  agent-1-2 -> team-1                                                gating\n",
    );
    let failed = GateOutcome::Failed {
        output: "1 test failed".to_owned(),
    };
    story.tell(
        41,
        &[Event::GateFinished {
            merge_id: MergeId(2),
            tree: oid('d'),
            outcome: failed,
            duration_ms: 5_000,
        }],
    );
    let status = story.ask(&["status"]);
    assert!(!status.contains("Merges under way"), "{status}");
    let document: serde_json::Value = serde_json::from_str(&story.json()).unwrap();
    assert_eq!(document["merges"][1]["state"], "rejected");
    assert!(document["merges"][1]["reason"].is_string());
}

#[test]
fn status_before_the_first_run_says_how_to_start() {
    let story = Story::new();
    check(
        &story.ask(&["status"]),
        "not started\nno run yet: `orchestrate run` starts it\n",
    );
    let document: serde_json::Value = serde_json::from_str(&story.json()).unwrap();
    assert_eq!(document["run"]["state"], "waiting");
    assert_eq!(document["run"]["id"], serde_json::Value::Null);
    assert!(
        !story.common_directory().join("orchestrate").exists(),
        "asking makes nothing"
    );
}

#[test]
fn status_json_holds_every_field_of_the_contract() {
    let mut story = in_the_middle();
    story.tell(40, &[committed(agent("1.2"), 'c', "[ESCALATION-NEEDED] KV or D1?")]);
    let document: serde_json::Value = serde_json::from_str(&story.json()).unwrap();
    let has = |value: &serde_json::Value, names: &str| {
        let found: BTreeSet<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        for name in names.split(' ') {
            assert!(found.contains(name), "{name} is missing in {value}");
        }
    };
    assert_eq!(document["schema"], 1);
    has(&document, "schema run phases teams agents escalations merges");
    has(&document["run"], "id state started spent_usd eta");
    has(&document["phases"][0], "id state");
    has(&document["teams"][0], "id phase branch state tip");
    has(
        &document["agents"][0],
        "id team branch state attempts last_activity spent_usd tokens reason",
    );
    has(&document["escalations"][0], "id agent question asked answered");
    has(&document["merges"][0], "id source target state commit");
    assert_eq!(document["agents"][0]["state"], "merged");
    assert_eq!(document["agents"][0]["spent_usd"], 1.2);
    assert_eq!(document["agents"][0]["tokens"], 120_000);
    assert_eq!(document["merges"][0]["commit"], "b".repeat(40));
    assert_eq!(document["escalations"][0]["agent"], "1.2");
    assert_eq!(
        document["run"]["eta"],
        serde_json::Value::Null,
        "a phase has no expected time"
    );
}

#[test]
fn status_fits_its_width_and_uses_neither_colour_nor_more_than_ascii_unless_it_may() {
    let mut story = in_the_middle();
    let failed = AgentExit::Failed {
        reason: "the compiler cannot find the worker's types ".repeat(5),
    };
    story.tell(40, &[exited("1.2", 1, failed), Event::StopRequested { now: false }]);
    for columns in [60_usize, 80, 100] {
        let output = story
            .command(&["status"])
            .env("COLUMNS", columns.to_string())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.is_ascii(), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        let widest = text.lines().map(str::len).max().unwrap();
        assert!(widest <= columns, "{widest} columns of {columns}:\n{text}");
        assert!(text.lines().all(|line| line.trim_end() == line), "{text}");
    }
    let output = story.command(&["status"]).env("LANG", "C.UTF-8").output().unwrap();
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("● 1.1  Database Schema")
    );
}

#[test]
fn status_answers_from_a_linked_worktree_and_from_a_subdirectory() {
    let story = in_the_middle();
    let first = story.git(&["commit-tree", "-m", "First", EMPTY_TREE]);
    let linked = story.directory.path().join("linked");
    story.git(&["worktree", "add", "--quiet", linked.to_str().unwrap(), first.trim()]);
    let inside = linked.join("deep/inside");
    fs::create_dir_all(&inside).unwrap();
    let status = story.command(&["status"]).current_dir(&inside).output().unwrap();
    assert!(String::from_utf8(status.stdout).unwrap().starts_with("shop, running"));
}

#[test]
fn status_outside_of_a_repository_says_what_to_do() {
    let story = Story::new();
    let elsewhere = story.directory.path().join("home");
    let output = story
        .command(&["status", "--repo", elsewhere.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7));
    let text = String::from_utf8(output.stderr).unwrap();
    check(
        &text.replace(elsewhere.to_str().unwrap(), "ELSEWHERE"),
        "error: `ELSEWHERE` is not in a git repository\n\
         hint: go into your repository, or name it with `--repo DIR`; `git init` makes one\n",
    );
}

#[test]
fn a_journal_that_cannot_be_read_ends_every_command_with_8() {
    let mut story = in_the_middle();
    story.dies();
    let database = story.common_directory().join("orchestrate/journal.db");
    let tamper = |sql: &str| {
        rusqlite::Connection::open(&database)
            .unwrap()
            .execute_batch(sql)
            .unwrap()
    };
    tamper("UPDATE event SET body = '{}' WHERE seq = 3");
    for arguments in [&["status"][..], &["status", "--json"], &["logs", "--raw", "--follow"]] {
        let answer = story.ask(arguments);
        let error = answer.split_once("------- stderr -------\n").unwrap();
        assert!(error.0.is_empty(), "nothing half done: {answer}");
        check(
            error.1,
            "error: record 3 of `REPOSITORY/.git/orchestrate/journal.db` cannot be read: it is not what was written (its digest differs)\n\
             hint: restore it from a backup; or keep it aside with `mv REPOSITORY/.git/orchestrate REPOSITORY/.git/orchestrate.damaged` and start a new run: commits and branches are not touched\n\
             [exit status: 8]\n",
        );
    }
    tamper("UPDATE meta SET value = 9 WHERE key = 'format_version'");
    check(
        &story.ask(&["status"]),
        "------- stderr -------\n\
         error: `REPOSITORY/.git/orchestrate/journal.db` has format 9; this version of orchestrate reads up to 2\n\
         hint: use the version of orchestrate that wrote it, or a newer one\n\
         [exit status: 8]\n",
    );
}

#[test]
fn logs_tell_the_run_line_by_line() {
    let mut story = in_the_middle();
    story.tell(
        33,
        &[progressed(agent("1.2"), 1, 0.1), exited("1.2", 1, AgentExit::Lost)],
    );
    check(
        &story.ask(&["logs"]),
        "\
DATE TIME   run r-1 of shop started: 2 teams, 4 agents
DATE TIME   branch team-1 starts at 0000000
DATE TIME   branch agent-1-1 starts at 0000000
DATE TIME   agent 1.1 started
DATE TIME   agent 1.1 made 1 commit, up to aaaaaaa: [AGENT-1-1] Schema complete
DATE TIME   merge 1 (agent-1-1 -> team-1) is clean, tree bbbbbbb
DATE TIME   gate of merge 1 (agent-1-1 -> team-1) passed, after 42s
DATE TIME   merge 1 (agent-1-1 -> team-1) landed as bbbbbbb
DATE TIME   branch agent-1-2 starts at 0000000
DATE TIME   agent 1.2 started
DATE TIME ! agent 1.2 vanished without a record (attempt 1, $0.00)
",
    );
    let raw = story.ask(&["logs", "--raw"]);
    let records: Vec<serde_json::Value> = raw.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 13);
    assert_eq!(records[3]["event"]["agent_started"]["attempt"], 1);
}

#[test]
fn logs_follow_the_run_until_it_ends() {
    let mut story = in_the_middle();
    let mut child = story
        .command(&["logs", "--follow"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.ends_with("agent 1.2 started")));
    story.tell(50, &[committed(agent("1.2"), 'c', "[AGENT-1-2] Config: half")]);
    assert!(
        lines
            .next()
            .unwrap()
            .ends_with("agent 1.2 made 1 commit, up to ccccccc: [AGENT-1-2] Config: half")
    );
    story.tell(51, &[Event::StopRequested { now: false }]);
    story.dies();
    assert!(lines.next().unwrap().ends_with("! stop asked for"));
    assert_eq!(lines.next(), None);
    assert!(child.wait().unwrap().success());
}

/// Writes what an attempt leaves behind.
fn attempt_files(story: &Story, slug: &str, attempt: u32, files: &[(&str, &str)]) {
    let directory = story
        .common_directory()
        .join(format!("orchestrate/attempts/{slug}/{attempt}"));
    fs::create_dir_all(&directory).unwrap();
    for (name, text) in files {
        fs::write(directory.join(name), text).unwrap();
    }
}

const SAID: &str = r#"{"type":"assistant","message":{"content":[{"type":"text","text":"I begin.\u001b]0;evil\u0007"},{"type":"tool_use","name":"Bash","input":{"command":"npm test"}}]}}
not json
{"type":"result","is_error":false,"num_turns":2,"total_cost_usd":0.5}
"#;

#[test]
fn logs_of_an_agent_show_its_newest_attempt_without_anything_that_a_terminal_would_obey() {
    let story = in_the_middle();
    attempt_files(&story, "1.2", 1, &[("output.jsonl", "old\n"), ("exit.json", "{}")]);
    attempt_files(
        &story,
        "1.2",
        2,
        &[
            ("output.jsonl", SAID),
            ("stderr.log", "warning: \u{1b}[31mred\n"),
            ("exit.json", "{\"version\":1}\n"),
        ],
    );
    check(
        &story.ask(&["logs", "agent-1-2"]),
        "\
-- 1.2, attempt 2: REPOSITORY/.git/orchestrate/attempts/1.2/2
I begin.^[]0;evil^G
> Bash npm test
not json
-- finished, 2 turns, $0.50
standard error:
warning: ^[[31mred
-- ended: {\"version\":1}
",
    );
    check(&story.ask(&["logs", "1.2", "--raw"]), SAID);
    check(&story.ask(&["logs", "1.2", "--attempt", "1", "--raw"]), "old\n");
    check(
        &story.ask(&["logs", "1.2", "--attempt", "3"]),
        "------- stderr -------\nerror: `1.2` has no attempt 3\nhint: attempts that there are: 1, 2\n[exit status: 2]\n",
    );
    check(
        &story.ask(&["logs", "9.9"]),
        "------- stderr -------\nerror: `9.9` has no attempt in this run\nhint: actors that have started: 1.2\n[exit status: 2]\n",
    );
}

#[test]
fn logs_follow_an_agent_until_its_attempt_ends() {
    let story = in_the_middle();
    attempt_files(&story, "1.2", 1, &[("output.jsonl", "one\nhal")]);
    let mut child = story
        .command(&["logs", "1.2", "--follow"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().starts_with("-- 1.2, attempt 1"));
    assert_eq!(lines.next().unwrap(), "one");
    // Half a line is not shown before it is whole.
    attempt_files(&story, "1.2", 1, &[("output.jsonl", "one\nhalf\nlast without an end")]);
    assert_eq!(lines.next().unwrap(), "half");
    attempt_files(&story, "1.2", 1, &[("exit.json", "{}")]);
    assert_eq!(lines.next().unwrap(), "last without an end");
    assert_eq!(lines.next().unwrap(), "-- ended: {}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn logs_of_a_gate_show_the_newest_one_on_the_actors_work() {
    let mut story = in_the_middle();
    story.tell(
        40,
        &[
            committed(agent("1.2"), 'c', "[AGENT-1-2] Config complete"),
            Event::MergePrepared {
                merge_id: MergeId(2),
                outcome: Preparation::Clean {
                    tree: oid('d'),
                    onto: oid('b'),
                },
            },
        ],
    );
    check(
        &story.ask(&["logs", "--gate"]),
        "------- stderr -------\nerror: no gate has run yet\nhint: `orchestrate status` shows what runs\n[exit status: 7]\n",
    );
    let gates = story.common_directory().join("orchestrate/gates");
    fs::create_dir_all(&gates).unwrap();
    for (name, text) in [
        ("1-1.log", "first\n"),
        ("2-1.log", "second\n"),
        ("2-10.log", "again \u{1b}[2J\n"),
        ("odd", ""),
    ] {
        fs::write(gates.join(name), text).unwrap();
    }
    check(
        &story.ask(&["logs", "--gate"]),
        "-- REPOSITORY/.git/orchestrate/gates/2-10.log\nagain ^[[2J\n",
    );
    check(&story.ask(&["logs", "1.1", "--gate", "--raw"]), "first\n");
    check(
        &story.ask(&["logs", "leader-1", "--gate"]),
        "------- stderr -------\nerror: no gate has run for `leader-1` yet\nhint: `orchestrate status` shows what runs\n[exit status: 7]\n",
    );
}

#[test]
fn stop_reaches_the_living_run_and_says_what_happens() {
    let mut story = in_the_middle();
    check(
        &story.ask(&["stop"]),
        "asked the run (process PID on HOST, since DATE TIME) to stop: it starts nothing more, finishes what it is writing and ends; \
         agents that work live on, and the next `orchestrate run` takes them over\n",
    );
    story.ask(&["stop", "--now"]);
    let posted: Vec<Event> = story
        .journal()
        .take_inbox()
        .unwrap()
        .into_iter()
        .map(|entry| entry.event)
        .collect();
    assert_eq!(
        posted,
        [Event::StopRequested { now: false }, Event::StopRequested { now: true }]
    );

    story.dies();
    check(
        &story.ask(&["stop"]),
        "no run is alive, so there is nothing to stop; `orchestrate run` goes on with it\n",
    );
    check(
        &Story::new().ask(&["stop"]),
        "no run in this repository yet, so there is nothing to stop\n",
    );
}

/// Waits for a fact.
#[track_caller]
fn wait_for(what: &str, fact: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !fact() {
        assert!(Instant::now() < deadline, "{what} does not come");
        std::thread::yield_now();
    }
}

#[test]
fn stop_now_ends_agents_that_outlived_their_run() {
    let mut story = in_the_middle();
    story.dies();
    attempt_files(&story, "1.2", 1, &[("prompt.md", "Work.\n")]);
    let attempt = AttemptDirectory::of(&story.common_directory(), &agent("1.2"), Attempt(1));
    let run_name = format!("run-{}", story.directory.path().display());
    let launch = LaunchRecord {
        version: RECORD_VERSION,
        actor: "1.2".to_owned(),
        attempt: Attempt(1),
        run_id: "r-1".to_owned(),
        dialect: Dialect::Free,
        workspace: story.repository(),
        inherited: vec!["PATH".to_owned()],
        // Without these names nothing of the attempt could be told from other processes of the machine.
        set: [
            ("ORCHESTRATE_RUN", run_name.as_str()),
            ("ORCHESTRATE_ROLE", "agent"),
            ("ORCHESTRATE_AGENT", "1.2"),
            ("ORCHESTRATE_ATTEMPT", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec(),
        continued: None,
        grace_ms: 2_000,
        invocation: Invocation {
            program: Some("sh".to_owned()),
            arguments: vec!["-c".to_owned(), "sleep 600".to_owned()],
            input: attempt.prompt(),
        },
        fallback: None,
        polite_end: PoliteEnd::Terminate,
        output_bytes_max: 1_000,
        errors_bytes_max: 1_000,
    };
    write_record(&attempt.launch(), &launch, false).unwrap();
    let mut supervisor = story
        .command(&["supervise", attempt.path().to_str().unwrap()])
        .spawn()
        .unwrap();
    let agent_lives = || {
        let started = read_record::<StartedRecord>(&attempt.started()).unwrap();
        started.is_some_and(|started| started.agent.is_some())
    };
    wait_for("the agent", agent_lives);

    check(
        &story.ask(&["stop"]),
        "no run is alive; agents that work on without it: 1.2; `orchestrate run` takes them over, `orchestrate stop --now` ends them\n",
    );
    assert!(!attempt.exit().exists());
    check(
        &story.ask(&["stop", "--now"]),
        "no run is alive; asked agents that worked on without it to end: 1.2; their commits stay\n",
    );
    supervisor.wait().unwrap();
    let exit = read_record::<ExitRecord>(&attempt.exit()).unwrap().unwrap();
    assert!(exit.stop_requested, "{exit:?}");
    check(
        &story.ask(&["stop", "--now"]),
        "no run is alive, so there is nothing to stop; `orchestrate run` goes on with it\n",
    );
}
