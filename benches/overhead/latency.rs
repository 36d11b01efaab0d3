//! (c) From the moment that a branch moves to its agent's completing commit to the start of its merge.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use orchestrate::core::command::Command;
use orchestrate::core::event::Event;
use orchestrate::core::{self, State};
use orchestrate::ids::{BranchName, MergeId, Time};
use orchestrate::shell::journal::Journal;

use crate::figures::{Samples, Table};
use crate::fixture::{Fixture, INSTANT_AGENT, Shape};

const GOAL_P99_MS: f64 = 50.0;

/// Agents think for a moment before their commit and talk on after it, as real ones do: so what is measured is a latency and not a queue for the
/// processor, and it is the commit that is noticed and not the end of the process.
const THINKING: &str = "sleep 0.3\n";
const TALKING_ON: &str = "sleep 0.3\n";

pub(crate) fn measure(table: &mut Table) {
    let shape = Shape::wide(4, 52, 4);
    let fixture = Fixture::new(&shape, &format!("{THINKING}{INSTANT_AGENT}{TALKING_ON}"));
    fixture.run();
    let (started, merged) = latencies(&fixture);
    let count = started.count();
    table.value(
        "c",
        &format!("commit to start of merge, p50 of {count}"),
        started.median(),
        "ms",
        None,
    );
    table.value(
        "c",
        &format!("commit to start of merge, p99 of {count}"),
        started.percentile(99),
        "ms",
        Some(GOAL_P99_MS),
    );
    table.value(
        "c",
        &format!("commit to merge made, p99 of {count}"),
        merged.percentile(99),
        "ms",
        None,
    );
}

/// Milliseconds until the merge was commanded, and until it was made.
fn latencies(fixture: &Fixture) -> (Samples, Samples) {
    let reader = Journal::open_read_only(&fixture.git_directory())
        .expect("the journal can be read")
        .expect("there is a journal");
    let mut state = State::default();
    // The records' times are whole milliseconds, cut: one more is never too little.
    let since = |at: Time, committed_ms: f64| at.0 as f64 + 1.0 - committed_ms;
    let mut committed: BTreeMap<MergeId, f64> = BTreeMap::new();
    let (mut started, mut merged) = (Samples::default(), Samples::default());
    reader
        .replay(0, |record| {
            if let Event::MergePrepared { merge_id, .. } = &record.event
                && let Some(committed_ms) = committed.remove(merge_id)
            {
                merged.add(since(record.at, committed_ms));
            }
            for command in core::apply(&mut state, record.at, &record.event) {
                let Command::PrepareMerge { merge_id, kind, .. } = command else {
                    continue;
                };
                let branch = core::actor_of(&kind).and_then(|actor| state.plan.as_ref()?.branch_of(&actor));
                if let Some(branch) = branch {
                    let committed_ms = moved_ms(fixture, &branch);
                    started.add(since(record.at, committed_ms));
                    committed.insert(merge_id, committed_ms);
                }
            }
        })
        .expect("the journal can be read");
    (started, merged)
}

/// When a branch moved last: git writes the new value to a file and renames that into place.
fn moved_ms(fixture: &Fixture, branch: &BranchName) -> f64 {
    let file = fixture.git_directory().join("refs/heads").join(branch.as_str());
    let modified = std::fs::metadata(file)
        .and_then(|metadata| metadata.modified())
        .expect("the branch is a file of its own");
    modified
        .duration_since(UNIX_EPOCH)
        .expect("a time after 1970")
        .as_secs_f64()
        * 1000.0
}
