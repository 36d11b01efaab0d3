//! Real processes under a real supervisor: how they start, end, escape, flood, and outlive the host.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

mod support;

use orchestrate::core::event::{AgentExit, Event};
use orchestrate::shell::agent::record::{ExitRecord, StartedRecord, read_record};
use support::agents::{Place, eventually, lines_of, lives};

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
    assert_eq!(orchestrate::shell::agent::processes::kill_all(&[started.supervisor]), 1);
    assert_eq!(host.exit().await.exit, AgentExit::Lost);
    assert!(!lives(grandchild));
    eventually("the agent's end", || (!lives(agent)).then_some(())).await;
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
