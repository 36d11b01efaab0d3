//! What the orchestrator itself costs, side by side with its peers in one run: `cargo bench --bench overhead`, or `-- b d` for single parts.
//!
//! It measures and never fails on a figure: the table says which goals are met. Contestants take turns, so that a slow moment of the machine meets all
//! of them. `OVERHEAD_ROUNDS`, `OVERHEAD_SLEEP_SECONDS` and `OVERHEAD_AGENTS` make it shorter.

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up has nothing to say")]
#![expect(clippy::print_stdout, reason = "the figures are its output")]

mod engine;
mod figures;
mod fixture;
mod latency;
mod makespan;
mod memory;
mod script;
mod status;

use figures::Table;

/// A part of the benchmark: its letter, what it is about, what runs it.
type Part = (&'static str, &'static str, fn(&mut Table));

const PARTS: [Part; 6] = [
    ("a", "16 no-op tasks in 4 phases", engine::measure),
    ("b", "the seed-shaped plan with instant agents", script::measure),
    ("c", "from a completing commit to its merge", latency::measure),
    ("d", "status of a big repository", status::measure),
    ("e", "makespan over its lower bound", makespan::measure),
    ("f", "memory with many live agents", memory::measure),
];

fn main() {
    // cargo adds `--bench`.
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    if let Some(unknown) = wanted
        .iter()
        .find(|letter| !PARTS.iter().any(|(part, _, _)| part == letter))
    {
        println!("there is no part `{unknown}`; the parts are:");
        for (letter, about, _) in PARTS {
            println!("  {letter}  {about}");
        }
        std::process::exit(2);
    }
    let mut table = Table::default();
    for (letter, about, measure) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == letter) {
            println!("({letter}) {about} ...");
            measure(&mut table);
        }
    }
    println!("\n{table}");
}
