//! Samples, their medians, and the table that is printed at the end.

use std::fmt;
use std::time::{Duration, Instant};

/// What was measured of one contestant, in one unit.
#[derive(Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn add(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    /// Runs something and adds how many milliseconds it took.
    pub(crate) fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.add(milliseconds(start.elapsed()));
        result
    }

    /// The smallest sample that this share of all samples does not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn median(&self) -> f64 {
        self.percentile(50)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    fn bounds(&self) -> (f64, f64) {
        (self.percentile(0), self.percentile(100))
    }
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// One line of the table.
struct Row {
    part: &'static str,
    what: String,
    figure: String,
    range: String,
    goal: String,
    met: &'static str,
}

/// All lines.
#[derive(Default)]
pub(crate) struct Table(Vec<Row>);

impl Table {
    /// A contestant without a goal of its own.
    pub(crate) fn peer(&mut self, part: &'static str, what: &str, samples: &Samples, unit: &str) {
        self.row(part, what, samples.median(), Some(samples), unit, None);
    }

    /// A figure of ours, judged by its median.
    pub(crate) fn ours(&mut self, part: &'static str, what: &str, samples: &Samples, unit: &str, goal_max: f64) {
        self.row(part, what, samples.median(), Some(samples), unit, Some(goal_max));
    }

    /// A single value, with a goal or without.
    pub(crate) fn value(&mut self, part: &'static str, what: &str, value: f64, unit: &str, goal_max: Option<f64>) {
        self.row(part, what, value, None, unit, goal_max);
    }

    /// Something to know about a part.
    pub(crate) fn note(&mut self, part: &'static str, what: impl Into<String>) {
        self.0.push(Row {
            part,
            what: what.into(),
            figure: String::new(),
            range: String::new(),
            goal: String::new(),
            met: "",
        });
    }

    fn row(
        &mut self,
        part: &'static str,
        what: &str,
        figure: f64,
        samples: Option<&Samples>,
        unit: &str,
        goal_max: Option<f64>,
    ) {
        let range = samples.map(|samples| {
            let (least, most) = samples.bounds();
            format!("{} .. {}", number(least), number(most))
        });
        let row = Row {
            part,
            what: what.to_owned(),
            figure: format!("{} {unit}", number(figure)),
            range: range.unwrap_or_default(),
            goal: goal_max
                .map(|goal| format!("<= {} {unit}", number(goal)))
                .unwrap_or_default(),
            met: match goal_max {
                Some(goal) if figure <= goal => "yes",
                Some(_) => "NO",
                None => "",
            },
        };
        println!("    {}: {} {}", row.what, row.figure, row.range);
        self.0.push(row);
    }
}

/// Three digits that mean something.
fn number(value: f64) -> String {
    match value.abs() {
        size if size < 1.0 => format!("{value:.3}"),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |of: fn(&Row) -> &str| self.0.iter().map(|row| of(row).chars().count()).max().unwrap_or(0);
        let what = self
            .0
            .iter()
            .filter(|row| !row.figure.is_empty())
            .map(|row| row.what.chars().count())
            .max()
            .unwrap_or(0);
        let (figure, range, goal) = (
            width(|row| &row.figure).max(6),
            width(|row| &row.range).max(10),
            width(|row| &row.goal).max(4),
        );
        writeln!(
            f,
            "    {:what$}  {:>figure$}  {:>range$}  {:>goal$}  met",
            "", "median", "min .. max", "goal"
        )?;
        for row in &self.0 {
            let line = format!(
                "({}) {:what$}  {:>figure$}  {:>range$}  {:>goal$}  {}",
                row.part, row.what, row.figure, row.range, row.goal, row.met
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
