//! (f) What `run` holds in memory while many agents live. Their supervisors are processes of their own, and are told apart.

use std::fs;

use crate::figures::Table;
use crate::fixture::{Fixture, Shape, setting, wait_for};

const GOAL_MIB: f64 = 100.0;
const AGENTS_OF_A_TEAM: usize = 50;

pub(crate) fn measure(table: &mut Table) {
    let wanted = setting("OVERHEAD_AGENTS", 1_000);
    let teams = wanted.div_ceil(AGENTS_OF_A_TEAM);
    let agents = teams * AGENTS_OF_A_TEAM;
    let fixture = Fixture::new(&Shape::wide(teams, AGENTS_OF_A_TEAM, agents), "exec sleep 3600\n");
    let mut run = fixture.start();
    let pid = i32::try_from(run.id()).expect("a process id");
    let mut live = 0;
    wait_for("all agents to live", || {
        live = started(&fixture);
        live >= agents || run.try_wait().is_ok_and(|status| status.is_some())
    });
    if live < agents {
        table.note(
            "f",
            format!("only {live} of {agents} agents lived before the run ended"),
        );
    }
    let (now, peak) = (field_mib(pid, "VmRSS:"), field_mib(pid, "VmHWM:"));
    let supervisors: Vec<f64> = fixture
        .processes()
        .into_iter()
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|text| text.windows(11).any(|part| part == b"\0supervise\0"))
        })
        .map(proportional_mib)
        .collect();
    table.value(
        "f",
        &format!("run with {live} live agents, peak RSS"),
        peak,
        "MiB",
        Some(GOAL_MIB),
    );
    table.value("f", "the same, RSS once all live", now, "MiB", None);
    table.value(
        "f",
        &format!("one of its {} supervisors, share of memory (PSS)", supervisors.len()),
        supervisors.iter().sum::<f64>() / supervisors.len().max(1) as f64,
        "MiB",
        None,
    );
    fixture.output(fixture.orchestrate().args(["stop", "--now"]));
    // It ends as interrupted, which is no error here.
    let _ = run.wait().expect("the run ends");
}

/// Agents whose supervisor has said that they run.
fn started(fixture: &Fixture) -> usize {
    let attempts = fixture.git_directory().join("orchestrate/attempts");
    fs::read_dir(attempts)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            fs::read_to_string(entry.path().join("1/started.json")).is_ok_and(|text| !text.contains("\"agent\":null"))
        })
        .count()
}

fn field_mib(pid: i32, field: &str) -> f64 {
    kibibytes(&format!("/proc/{pid}/status"), field) / 1024.0
}

fn proportional_mib(pid: i32) -> f64 {
    kibibytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:") / 1024.0
}

fn kibibytes(file: &str, field: &str) -> f64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse().ok())
        .unwrap_or(f64::NAN)
}
