//! Real processes under a real supervisor: how they start, end, escape, flood, and outlive the host.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use orchestrate::core::event::{AgentExit, Event, Usage};
use orchestrate::ids::{Attempt, MicroDollars};
use orchestrate::plan::Driver;
use orchestrate::shell::agent::record::{Ending, ExitRecord, StartedRecord, read_record};
use support::agents::{PROGRAM, Place, agent, eventually, lines_of, lives};
use support::claude::{git, make_repository};

#[tokio::test]
async fn exit_status_0_is_finished() {
    let place = Place::new();
    let mut host = place.host();
    host.start(place.command("cat > got.txt; echo working")).await;
    assert_eq!(host.exit().await.exit, AgentExit::Finished);
    assert_eq!(
        std::fs::read_to_string(place.workspace().join("got.txt")).unwrap(),
        "Write the schema.\n"
    );
    assert_eq!(std::fs::read_to_string(place.attempt(1).output()).unwrap(), "working\n");
    assert!(
        matches!(host.seen.first(), Some(Event::AgentStarted { .. })),
        "{:?}",
        host.seen
    );
}

#[tokio::test]
async fn another_exit_status_is_failed_with_the_end_of_standard_error() {
    let place = Place::new();
    let mut host = place.host();
    host.start(place.command("echo 'no such table' >&2; exit 3")).await;
    let reason = "ended with exit status 3: no such table".to_owned();
    assert_eq!(host.exit().await.exit, AgentExit::Failed { reason });
}

#[tokio::test]
async fn death_by_signal_is_failed_with_the_signal() {
    let place = Place::new();
    let mut host = place.host();
    host.start(place.command("kill -SEGV $$")).await;
    assert_eq!(
        host.exit().await.exit,
        AgentExit::Failed {
            reason: "was killed by signal 11".to_owned()
        }
    );
}

#[tokio::test]
async fn a_polite_stop_lets_an_agent_end_by_itself() {
    let place = Place::new();
    let mut host = place.host();
    host.start(
        place.command(
            "trap 'echo saved > saved.txt; exit 0' TERM; echo ready > ready.txt; while :; do sleep 0.01; done",
        ),
    )
    .await;
    lines_of(&place.workspace().join("ready.txt")).await;
    host.stop(false).await;
    assert_eq!(host.exit().await.exit, AgentExit::Stopped);
    assert_eq!(
        std::fs::read_to_string(place.workspace().join("saved.txt")).unwrap(),
        "saved\n"
    );
}

#[tokio::test]
async fn everything_an_agent_started_is_gone_when_its_exit_is_told() {
    let place = Place::new();
    let mut host = place.host();
    // One grandchild in a session of its own, one that also dropped its environment, one that only ignores signals.
    let command = "setsid sh -c 'trap \"\" TERM INT HUP; echo $$ >> pids.txt; exec sleep 1000' & \
                   env -i PATH=\"$PATH\" setsid sh -c 'trap \"\" TERM; echo $$ >> pids.txt; exec sleep 1000' & \
                   sh -c 'trap \"\" TERM; echo $$ >> pids.txt; exec sleep 1000' & \
                   while [ \"$(wc -l < pids.txt)\" -lt 3 ]; do sleep 0.01; done; exit 0";
    std::fs::write(place.workspace().join("pids.txt"), "").unwrap();
    host.start(place.command(command)).await;
    assert_eq!(host.exit().await.exit, AgentExit::Finished);
    let pids: Vec<i32> = lines_of(&place.workspace().join("pids.txt"))
        .await
        .iter()
        .map(|pid| pid.parse().unwrap())
        .collect();
    assert_eq!(pids.len(), 3);
    assert!(pids.iter().all(|&pid| !lives(pid)), "{pids:?}");
    let record: ExitRecord = read_record(&place.attempt(1).exit()).unwrap().unwrap();
    assert!(record.leftovers_killed >= 3, "{record:?}");
}

#[tokio::test]
async fn a_supervisor_that_dies_takes_its_agent_along_and_the_attempt_is_lost() {
    let place = Place::new();
    let mut host = place.host();
    host.start(place.command("setsid sh -c 'echo $$ > grandchild.txt; exec sleep 1000' & exec sleep 1000"))
        .await;
    host.started().await;
    let grandchild: i32 = lines_of(&place.workspace().join("grandchild.txt")).await[0]
        .parse()
        .unwrap();
    let started: StartedRecord = read_record(&place.attempt(1).started()).unwrap().unwrap();
    let agent = started.agent.unwrap().pid;
    assert!(lives(agent) && lives(grandchild));
    // Without a host nobody but the kernel ends the agent; what left its process is found by the next host.
    drop(host);
    assert_eq!(orchestrate::shell::agent::processes::kill_all(&[started.supervisor]), 1);
    eventually("the agent's end", || (!lives(agent)).then_some(())).await;
    assert!(lives(grandchild));
    let mut next = place.host();
    next.start(place.command("exec sleep 1000")).await;
    assert_eq!(next.exit().await.exit, AgentExit::Lost);
    assert!(!lives(grandchild));
}

#[tokio::test]
async fn a_new_host_adopts_what_the_old_one_left() {
    let place = Place::new();
    let mut first = place.host();
    let command = "echo run >> runs.txt; while [ ! -e go ]; do sleep 0.01; done; echo end";
    first.start(place.command(command)).await;
    first.started().await;
    drop(first);
    let mut second = place.host();
    second.start(place.command(command)).await;
    second.started().await;
    std::fs::write(place.workspace().join("go"), "").unwrap();
    assert_eq!(second.exit().await.exit, AgentExit::Finished);
    assert_eq!(
        std::fs::read_to_string(place.workspace().join("runs.txt")).unwrap(),
        "run\n"
    );
    // A third one finds the end only.
    let mut third = place.host();
    third.start(place.command(command)).await;
    assert_eq!(third.exit().await.exit, AgentExit::Finished);
    assert_eq!(
        std::fs::read_to_string(place.workspace().join("runs.txt")).unwrap(),
        "run\n"
    );
}

#[tokio::test]
async fn an_agent_that_ignores_a_polite_stop_is_killed_after_the_grace() {
    let mut place = Place::new();
    place.grace = Duration::from_millis(300);
    let mut host = place.host();
    host.start(place.command("trap '' TERM; echo ready > ready.txt; while :; do sleep 0.01; done"))
        .await;
    lines_of(&place.workspace().join("ready.txt")).await;
    host.stop(false).await;
    assert_eq!(host.exit().await.exit, AgentExit::Stopped);
    let record: ExitRecord = read_record(&place.attempt(1).exit()).unwrap().unwrap();
    assert_eq!(record.ending, Ending::Signalled(9));
}

#[tokio::test]
async fn a_kill_does_not_wait_for_a_grace() {
    let mut place = Place::new();
    // A grace would outlast the patience of the test.
    place.grace = Duration::from_secs(3_600);
    let mut host = place.host();
    host.start(place.command("trap '' TERM; echo ready > ready.txt; while :; do sleep 0.01; done"))
        .await;
    lines_of(&place.workspace().join("ready.txt")).await;
    host.stop(false).await;
    host.stop(true).await;
    assert_eq!(host.exit().await.exit, AgentExit::Stopped);
}

#[tokio::test]
async fn another_host_can_stop_an_agent_that_it_has_not_started() {
    let place = Place::new();
    let mut first = place.host();
    first.start(place.command("exec sleep 1000")).await;
    first.started().await;
    drop(first);
    let mut second = place.host();
    second.stop(false).await;
    assert_eq!(second.exit().await.exit, AgentExit::Stopped);
}

#[tokio::test]
async fn an_attempt_that_was_stopped_before_its_start_never_starts() {
    let place = Place::new();
    let mut host = place.host();
    host.stop(false).await;
    assert_eq!(host.exit().await.exit, AgentExit::Stopped);
    let mut next = place.host();
    next.start(place.command("echo run > runs.txt")).await;
    assert_eq!(next.exit().await.exit, AgentExit::Stopped);
    assert!(!place.workspace().join("runs.txt").exists());
}

#[tokio::test]
async fn an_attempt_runs_once_however_often_it_is_started() {
    let place = Place::new();
    let mut host = place.host();
    let launch = place.command("echo run >> runs.txt; while [ ! -e go ]; do sleep 0.01; done");
    host.start(launch.clone()).await;
    host.start(launch.clone()).await;
    let supervise = || {
        let mut command = Command::new(PROGRAM);
        command
            .arg("supervise")
            .arg(place.attempt(1).path())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command.spawn().unwrap()
    };
    let rivals: Vec<Child> = std::iter::repeat_with(supervise).take(8).collect();
    host.started().await;
    std::fs::write(place.workspace().join("go"), "").unwrap();
    // One of them may have been the quickest, and supervise until the end.
    for mut rival in rivals {
        assert!(rival.wait().unwrap().success());
    }
    assert_eq!(host.exit().await.exit, AgentExit::Finished);
    assert!(supervise().wait().unwrap().success());
    assert_eq!(
        std::fs::read_to_string(place.workspace().join("runs.txt")).unwrap(),
        "run\n"
    );
    drop(host);
}

/// A figure of `/proc/PID/status`, in KiB.
fn status_kib(pid: &str, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':')
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

/// Floods standard output with 200 MB, and checks what that did to disk and memory.
async fn flood(command: &str) {
    let place = Place::new();
    let mut host = place.host();
    host.start(place.command(&format!(
        "{command}; echo last; echo flooded > done.txt; while [ ! -e go ]; do sleep 0.01; done"
    )))
    .await;
    host.started().await;
    let started: StartedRecord = read_record(&place.attempt(1).started()).unwrap().unwrap();
    lines_of(&place.workspace().join("done.txt")).await;
    let supervisor_peak_kib = status_kib(&started.supervisor.pid.to_string(), "VmHWM");
    assert!(supervisor_peak_kib < 40_000, "{supervisor_peak_kib} KiB");
    std::fs::write(place.workspace().join("go"), "").unwrap();
    assert_eq!(host.exit().await.exit, AgentExit::Finished);
    let kept = std::fs::metadata(place.attempt(1).output()).unwrap().len();
    assert!((60_000_000..70_000_000).contains(&kept), "{kept} bytes");
    let record: ExitRecord = read_record(&place.attempt(1).exit()).unwrap().unwrap();
    assert!(record.output_bytes_dropped > 130_000_000, "{record:?}");
    let output = std::fs::read(place.attempt(1).output()).unwrap();
    assert!(output.ends_with(b"\nlast\n"));
}

#[tokio::test]
async fn a_flood_of_lines_fills_neither_memory_nor_disk() {
    flood("yes 'all work and no play' | head -c 200000000; echo").await;
}

#[tokio::test]
async fn an_endless_line_fills_neither_memory_nor_disk() {
    let before_kib = status_kib("self", "VmRSS");
    flood("head -c 200000000 /dev/zero | tr '\\0' x; echo").await;
    let growth_kib = status_kib("self", "VmRSS").saturating_sub(before_kib);
    // The test itself holds the 64 MiB of the file for a moment, and its neighbour too.
    assert!(growth_kib < 250_000, "{growth_kib} KiB");
}

#[tokio::test]
async fn an_agent_finds_exactly_the_listed_environment() {
    let mut place = Place::new();
    for (name, value) in [
        ("USER", "somebody"),
        ("LANG", "C.UTF-8"),
        ("LC_TIME", "C"),
        ("TZ", "UTC"),
        ("TERM", "dumb"),
        ("TMPDIR", "/tmp"),
        ("IS_SANDBOX", "1"),
        ("LISTED", "yes"),
        ("SECRET", "hidden"),
        ("ANTHROPIC_API_KEY", "hidden"),
        ("CLAUDECODE", "1"),
        ("ORCHESTRATE_AGENT", "9.9"),
        ("ORCHESTRATE_REPLAY_SOURCE", "/nowhere"),
    ] {
        place.set(name, value);
    }
    let mut host = place.host();
    let mut launch = place.command("cat /proc/$$/environ > environment.txt");
    launch.settings.env = vec!["LISTED".to_owned(), "UNSET".to_owned()];
    launch.extra_environment = vec![("GIT_CONFIG_COUNT".to_owned(), "0".to_owned())];
    host.start(launch).await;
    assert_eq!(host.exit().await.exit, AgentExit::Finished);
    let found = std::fs::read_to_string(place.workspace().join("environment.txt")).unwrap();
    let mut found: Vec<&str> = found.split_terminator('\0').collect();
    found.sort_unstable();
    let path = std::env::var("PATH").unwrap();
    let root = place.directory.path().display();
    let mut expected = vec![
        format!("HOME={root}/home"),
        format!("PATH={path}"),
        format!("ORCHESTRATE_PLAN_DIR={root}/plan"),
        format!("ORCHESTRATE_PROMPT={}", place.attempt(1).prompt().display()),
        format!("ORCHESTRATE_RUN=run-{root}"),
    ];
    expected.extend(
        [
            "USER=somebody",
            "LANG=C.UTF-8",
            "LC_TIME=C",
            "TZ=UTC",
            "TERM=dumb",
            "TMPDIR=/tmp",
            "IS_SANDBOX=1",
            "LISTED=yes",
            "GIT_CONFIG_COUNT=0",
            "ORCHESTRATE_AGENT=1.1",
            "ORCHESTRATE_ATTEMPT=1",
            "ORCHESTRATE_BRANCH=agent-1-1-database",
            "ORCHESTRATE_COMPLETION=[AGENT-1-1] Schema complete, tests passing",
            "ORCHESTRATE_ROLE=agent",
            "ORCHESTRATE_TASK=build",
        ]
        .map(str::to_owned),
    );
    expected.sort_unstable();
    assert_eq!(found, expected);
    // No value of what is inherited is written down.
    let record = std::fs::read_to_string(place.attempt(1).launch()).unwrap();
    assert!(!record.contains("hidden") && !record.contains("somebody"));
    let mode = std::fs::metadata(place.attempt(1).launch())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn work_without_a_word_is_a_sign_of_life_and_sleep_is_none() {
    let mut place = Place::new();
    place.life_interval = Duration::from_millis(200);
    let mut host = place.host();
    host.start(place.command("while :; do :; done")).await;
    let mut sleeper = place.command("exec sleep 1000");
    sleeper.attempt = Attempt(2);
    host.start(sleeper).await;
    let mut signs = 0;
    while signs < 3 {
        if let Event::AgentProgressed { attempt, .. } = host.next().await {
            assert_eq!(attempt, Attempt(1));
            signs += 1;
        }
    }
    host.stop(true).await;
    host.host.stop(&agent(), Attempt(2), true).await.unwrap();
    host.exit().await;
    host.exit().await;
}

/// How many signs of life an agent gave that says a line 250 times in 2.5 s, and how many seconds that took.
async fn signs_of(line: &str) -> (u64, u64) {
    let place = Place::new();
    let mut host = place.host();
    let begun = Instant::now();
    host.start(place.command(&format!("for i in $(seq 250); do echo {line}; sleep 0.01; done")))
        .await;
    assert_eq!(host.exit().await.exit, AgentExit::Finished);
    let seconds = begun.elapsed().as_secs();
    let signs = host
        .seen
        .iter()
        .filter(|event| matches!(event, Event::AgentProgressed { .. }))
        .count() as u64;
    (signs, seconds)
}

#[tokio::test]
async fn a_talkative_agent_is_told_once_in_ten_seconds_at_most() {
    let (signs, seconds) = signs_of("$i").await;
    assert!((1..=seconds / 10 + 1).contains(&signs), "{signs} in {seconds} s");
}

#[tokio::test]
async fn an_agent_whose_cost_grows_is_told_about_once_a_second_at_most() {
    let message = r#""{\"type\":\"assistant\",\"message\":{\"id\":\"m$i\",\"model\":\"claude-opus-5-5\",\"content\":[],\"usage\":{\"input_tokens\":1000,\"output_tokens\":10}}}""#;
    let (signs, seconds) = signs_of(message).await;
    assert!((2..=seconds + 1).contains(&signs), "{signs} in {seconds} s");
}

#[tokio::test]
async fn stream_json_of_a_command_is_understood() {
    let place = Place::new();
    let mut host = place.host();
    let lines = [
        r#"not json at all"#,
        r#"{"type":"system","subtype":"init","session_id":"s-1"}"#,
        r#"{"type":"assistant","message":{"id":"m1","model":"claude-opus-5-5","content":[{"type":"text","text":"a"}],"usage":{"input_tokens":1000,"output_tokens":10}}}"#,
        r#"{"type":"assistant","message":{"id":"m1","model":"claude-opus-5-5","content":[{"type":"text","text":"b"}],"usage":{"input_tokens":1000,"output_tokens":10}}}"#,
        r#"{"type":"of-tomorrow","value":{}}"#,
        r#"{"type":"assistant","message":"#,
    ];
    std::fs::write(place.workspace().join("lines"), lines.join("\n")).unwrap();
    host.start(place.command("cat lines")).await;
    let exit = host.exit().await;
    assert_eq!(exit.exit, AgentExit::Finished);
    assert_eq!(exit.session.as_deref(), Some("s-1"));
    assert_eq!(
        exit.usage,
        Usage {
            cost: MicroDollars(4_200),
            tokens: 1_010
        }
    );
}

#[tokio::test]
async fn a_replay_agent_commits_what_the_finished_tree_holds_under_its_paths() {
    let mut place = Place::new();
    make_repository(&place.workspace());
    let source = place.path("source");
    for (path, text) in [
        ("infrastructure/database/schema.sql", "create table t;\n"),
        ("infrastructure/database/migrations/001.sql", "create table t;\n"),
        ("infrastructure/database/seed/one.sql", "insert;\n"),
        ("infrastructure/database/seed/two.sql", "insert;\n"),
        ("infrastructure/database/tools/run.sh", "#!/bin/sh\n"),
        ("infrastructure/other/not-mine.sql", "no\n"),
    ] {
        let file = source.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    std::fs::set_permissions(
        source.join("infrastructure/database/tools/run.sh"),
        std::fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    // Something of an earlier state that the finished tree does not hold.
    std::fs::create_dir_all(place.workspace().join("infrastructure/database")).unwrap();
    std::fs::write(place.workspace().join("infrastructure/database/old.sql"), "old\n").unwrap();
    git(&place.workspace(), &["add", "-A"]);
    git(
        &place.workspace(),
        &["commit", "--quiet", "-m", "[AGENT-1-1] Old: state"],
    );
    place.set("ORCHESTRATE_REPLAY_SOURCE", source.as_os_str());
    let mut host = place.host();
    host.start(place.launch(Driver::Replay)).await;
    assert_eq!(host.exit().await.exit, AgentExit::Finished);
    assert_eq!(
        git(&place.workspace(), &["log", "--format=%s", "--reverse"]),
        "Base\n\
         [AGENT-1-1] Old: state\n\
         [AGENT-1-1] Database: write 1 file\n\
         [AGENT-1-1] Migrations: write 1 file\n\
         [AGENT-1-1] Seed: write 2 files\n\
         [AGENT-1-1] Schema complete, tests passing"
    );
    assert_eq!(
        git(&place.workspace(), &["ls-files", "-s"])
            .lines()
            .map(|line| format!("{} {}", &line[..6], line.split('\t').nth(1).unwrap()))
            .collect::<Vec<_>>(),
        [
            "100644 infrastructure/database/migrations/001.sql",
            "100644 infrastructure/database/schema.sql",
            "100644 infrastructure/database/seed/one.sql",
            "100644 infrastructure/database/seed/two.sql",
            "100755 infrastructure/database/tools/run.sh",
        ]
    );
    assert_eq!(git(&place.workspace(), &["status", "--porcelain"]), "");

    // Started again, it finds everything done.
    let tip = git(&place.workspace(), &["rev-parse", "HEAD"]);
    let mut again = place.launch(Driver::Replay);
    again.attempt = Attempt(2);
    host.start(again).await;
    assert_eq!(host.exit().await.exit, AgentExit::Finished);
    assert_eq!(git(&place.workspace(), &["rev-parse", "HEAD"]), tip);
}

#[tokio::test]
async fn a_replay_agent_without_a_source_commits_the_shipped_work() {
    let place = Place::new();
    make_repository(&place.workspace());
    let shipped: Vec<&str> = orchestrate::embedded::files()
        .iter()
        .map(|(path, _)| *path)
        .filter(|path| path.starts_with("infrastructure/database/"))
        .collect();
    assert!(!shipped.is_empty());
    let mut host = place.host();
    host.start(place.launch(Driver::Replay)).await;
    assert_eq!(host.exit().await.exit, AgentExit::Finished);
    assert_eq!(
        git(&place.workspace(), &["ls-files"]).lines().collect::<Vec<_>>(),
        shipped
    );
}
