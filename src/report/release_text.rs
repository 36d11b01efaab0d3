//! The checklist before a release, as a table.

use super::style::{Mark, Style, Tone};
use super::text::{neutralise, pad, plural};
use crate::proof::{Finding, ReleaseReport};

/// The checklist, and what it comes to.
pub fn text(report: &ReleaseReport, style: Style) -> String {
    let commit = report.commit.as_str().get(..12).unwrap_or_default();
    let heading = format!("Release of {} at {commit}", report.base);
    let mut text = format!("{}\n", style.paint(Tone::Strong, &heading));
    let width = report
        .checks
        .iter()
        .map(|check| check.what.len())
        .max()
        .unwrap_or_default();
    for check in &report.checks {
        let (mark, tone, word, detail) = match &check.finding {
            Finding::Holds(seen) => (Mark::Merged, Tone::Good, "ok", seen),
            Finding::Fails { reason, .. } => (Mark::Failed, Tone::Bad, "fails", reason),
            Finding::ByHand(how) => (Mark::Asking, Tone::Warning, "by hand", how),
        };
        let verdict = style.paint(tone, &format!("{} {word:<7}", style.glyph(mark)));
        let mut lines = detail.lines().map(neutralise);
        let first = lines.next().unwrap_or_default();
        text.push_str(&format!("  {verdict}  {}  {first}\n", pad(check.what, width)));
        let indent = " ".repeat(width + 15);
        for line in lines {
            text.push_str(&format!("{indent}{line}\n"));
        }
        if let Finding::Fails { remedy, .. } = &check.finding {
            text.push_str(&format!("{indent}helps: {}\n", neutralise(remedy)));
        }
    }
    text.push_str(&match report.failing() {
        0 => "release: every check holds\n".to_owned(),
        failing => format!("release: refused, {}\n", plural(failing, "check") + " failing"),
    });
    text
}

/// What the tag says: what was checked, and what a human vouched for.
pub fn tag_message(project: &str, report: &ReleaseReport) -> String {
    let mut text = format!("Release {project}\n\n");
    for check in &report.checks {
        let line = match &check.finding {
            Finding::Holds(seen) => format!("checked: {} ({seen})", check.what),
            Finding::ByHand(_) => format!("vouched for by whoever released: {}", check.what),
            Finding::Fails { reason, .. } => format!("failing: {} ({reason})", check.what),
        };
        text.push_str(&format!("{}\n", line.replace('\n', " ")));
    }
    text
}
