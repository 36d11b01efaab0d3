//! The shortest part of a sequence that still shows a difference, and how stored rows are read for a comparison.

use crate::steps::Step;

/// What differs, and at which step: beyond the last one, what is stored.
pub type Difference = (String, usize);

/// Leaves out steps one after another for as long as `run` still finds a difference, and `run` is called at most `runs_max` times.
pub async fn smallest(
    mut steps: Vec<Step>,
    mut difference: String,
    runs_max: usize,
    mut run: impl AsyncFnMut(&[Step]) -> Result<(), Difference>,
) -> (Vec<Step>, String) {
    let (mut index, mut runs) = (steps.len(), 0);
    while index > 0 && runs < runs_max {
        index -= 1;
        runs += 1;
        let mut fewer = steps.clone();
        fewer.remove(index);
        if let Err((found, at)) = run(&fewer).await {
            fewer.truncate(at.saturating_add(1));
            index = index.min(fewer.len());
            (steps, difference) = (fewer, found);
        }
    }
    (steps, difference)
}

/// Reads all rows of a table as one JSON object each, in the order in which they were written. When an entry of the log is stored is up to each host's own
/// timer, so that moment is left out.
#[must_use]
pub fn rows_of(table: &str, columns: &[&str], order: &str) -> String {
    let pairs: Vec<String> = columns
        .iter()
        .filter(|name| (table, **name) != ("logs", "created_at"))
        .map(|name| match *name {
            "config" | "settings" | "metadata" => format!("'{name}', json({name})"),
            _ => format!("'{name}', {name}"),
        })
        .collect();
    format!(
        "SELECT json_object({}) AS row FROM {table} ORDER BY {order}",
        pairs.join(", ")
    )
}
