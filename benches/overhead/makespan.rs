//! (e) Agents that sleep, on 4 slots: how long the run takes over the least that is possible.

use std::time::Instant;

use crate::figures::{Samples, Table};
use crate::fixture::{Fixture, INSTANT_AGENT, Shape, setting};

const GOAL: f64 = 1.02;
const SLOTS: usize = 4;

pub(crate) fn measure(table: &mut Table) {
    let seconds = setting("OVERHEAD_SLEEP_SECONDS", 5);
    let sleep = format!("if [ \"$ORCHESTRATE_ROLE\" = agent ]; then sleep {seconds}; fi\n");
    let agent = format!("{sleep}{INSTANT_AGENT}");
    // Agents in a row on the longest path, by their needs and the phases'.
    let shapes = [
        ("16 independent agents", Shape::wide(4, 4, SLOTS), 1),
        ("the seed's shape", Shape::seed(SLOTS), 4 + 2 + 1),
    ];
    for (name, shape, longest_path) in shapes {
        let bound = seconds * usize::max(longest_path, 16 / SLOTS);
        let fixture = Fixture::new(&shape, &agent);
        let start = Instant::now();
        fixture.run();
        let mut ratio = Samples::default();
        ratio.add(start.elapsed().as_secs_f64() / bound as f64);
        table.value(
            "e",
            &format!("{name} of {seconds} s on {SLOTS} slots, over {bound} s"),
            ratio.median(),
            "x",
            Some(GOAL),
        );
    }
}
