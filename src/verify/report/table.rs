//! The report on a terminal: a line a group of requirements, then what does not hold and the next step; and the page of one requirement.

use std::fmt::Write as _;
use std::time::Duration;

use super::super::check::{Check, Checked, Verdict};
use super::super::examine::Finding;
use super::super::requirements::{self, Requirement};
use super::{Counts, Report, Status, requirements_of};
use crate::report::style::{Mark, Style, Tone};
use crate::report::text::{clip, neutralise, one_line, pad, plural};

/// More failures than this are counted, not shown.
const FAILURES_MAX: usize = 25;

/// Columns of a group's name and what it is about.
const GROUP_COLUMNS: usize = 34;

/// So much of a difference is shown.
const DIFFERENCE_COLUMNS_MAX: usize = 400;

/// The whole report.
pub fn table(report: &Report, style: Style) -> String {
    let mut text = String::new();
    groups(&mut text, report, style);
    for finding in &report.subject.findings {
        tell(&mut text, finding, style);
    }
    failures(&mut text, report, style);
    others(&mut text, report, style);
    text.push_str(&summary(report, style));
    text
}

fn groups(text: &mut String, report: &Report, style: Style) {
    let groups = report.subject.groups();
    if groups.is_empty() {
        return;
    }
    let title: String = Counts::ORDER
        .iter()
        .map(|status| format!("{:>12}", status.word()))
        .collect();
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "{}",
        style.paint(Tone::Strong, &format!("{}{title}", pad("requirements", GROUP_COLUMNS)))
    );
    for (group, about, counts) in groups {
        let name = clip(&format!("{group:<7} {about}"), GROUP_COLUMNS - 1, style.ellipsis());
        let _ = write!(text, "{}", pad(&name, GROUP_COLUMNS));
        for status in Counts::ORDER {
            let cell = match counts.of(status) {
                0 => format!("{:>12}", "-"),
                count => format!("{count:>12}"),
            };
            let tone = match (status, counts.of(status)) {
                (_, 0) | (Status::NotChecked, _) => Tone::Faint,
                (Status::Pass, _) => Tone::Good,
                (Status::Fail | Status::Error, _) => Tone::Bad,
                (Status::Alternative | Status::Unspecified, _) => Tone::Warning,
            };
            text.push_str(&style.paint(tone, &cell));
        }
        text.push('\n');
    }
    text.push('\n');
}

fn tell(text: &mut String, finding: &Finding, style: Style) {
    let mark = style.paint(Tone::Bad, style.glyph(Mark::Failed));
    let _ = writeln!(text, "{mark} {}", one_line(&finding.what));
    for line in &finding.detail {
        let _ = writeln!(text, "    {}", neutralise(line));
    }
    let _ = writeln!(text, "  next: {}\n", finding.hint);
}

/// What failed, each difference once: one fault often shows in several checks.
fn failures(text: &mut String, report: &Report, style: Style) {
    let mut told: Vec<(String, Vec<&Checked>)> = Vec::new();
    for checked in report.subject.failed() {
        let what = checked.verdict.what().unwrap_or_default().to_owned();
        match told.iter_mut().find(|(known, _)| *known == what) {
            Some((_, others)) => others.push(checked),
            None => told.push((what, vec![checked])),
        }
    }
    let mark = style.paint(Tone::Bad, style.glyph(Mark::Failed));
    for (what, checks) in told.iter().take(FAILURES_MAX) {
        let Some(first) = checks.first() else { continue };
        for requirement in requirements_of(first) {
            let _ = writeln!(
                text,
                "{mark} {} {} {}",
                style.paint(Tone::Strong, &requirement.id),
                requirement.level.word(),
                requirement.sentence
            );
        }
        let name = format!("{}/{}", first.section.name(), first.name);
        let _ = writeln!(
            text,
            "  {name}: {}",
            clip(&one_line(what), DIFFERENCE_COLUMNS_MAX, style.ellipsis())
        );
        if let [_, also @ ..] = checks.as_slice()
            && !also.is_empty()
        {
            let names: Vec<String> = also
                .iter()
                .take(4)
                .map(|checked| format!("{}/{}", checked.section.name(), checked.name))
                .collect();
            let more = also.len().saturating_sub(names.len());
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            let _ = writeln!(text, "  the same in {}{more}", names.join(", "));
        }
        let id = first.requirements.first().copied().unwrap_or_default();
        let _ = writeln!(
            text,
            "  next: {} --only {name} --html report.html; orchestrate verify --explain {id}\n",
            report.command
        );
    }
    if told.len() > FAILURES_MAX {
        let _ = writeln!(
            text,
            "and {} more; all of them: {} --json\n",
            plural(told.len() - FAILURES_MAX, "difference"),
            report.command
        );
    }
}

/// What is worth a look without being a failure.
fn others(text: &mut String, report: &Report, style: Style) {
    let mut any = false;
    for checked in report.subject.remarkable() {
        let (what, decision) = match &checked.verdict {
            Verdict::Failed { .. } | Verdict::Passed | Verdict::NotApplicable | Verdict::NotRun => continue,
            Verdict::Alternative { what, decision } => (what, format!(" by {decision}")),
            Verdict::Unspecified { what } | Verdict::Error { what } => (what, String::new()),
        };
        any = true;
        let _ = writeln!(
            text,
            "{} {}{decision}: {}/{} ({}): {}",
            style.paint(Tone::Warning, style.glyph(Mark::Warning)),
            checked.verdict.name(),
            checked.section.name(),
            checked.name,
            checked.requirements.join(", "),
            clip(&one_line(what), DIFFERENCE_COLUMNS_MAX, style.ellipsis())
        );
    }
    if any {
        text.push('\n');
    }
}

/// The last line: what came of it, and how long it took.
pub fn summary(report: &Report, style: Style) -> String {
    let counts = report.subject.counts();
    let asked = counts.total() - counts.of(Status::NotChecked);
    let mut parts = vec![match (asked, report.missing) {
        (0, Some(_)) if report.result() == "pass" => "what is there builds, starts and answers".to_owned(),
        (0, _) => "nothing could be asked".to_owned(),
        _ => format!("{} of {asked} requirements hold", counts.of(Status::Pass)),
    }];
    for (status, words) in [
        (Status::Fail, "do not"),
        (Status::Alternative, "by a declared alternative"),
        (Status::Unspecified, "differ without being bound"),
        (Status::Error, "could not be judged"),
    ] {
        if counts.of(status) > 0 {
            parts.push(format!("{} {words}", counts.of(status)));
        }
    }
    if let Some(missing) = report.missing {
        parts.push(format!("the rest waits for {missing}"));
    }
    let (tone, word) = match report.result() {
        "pass" => (Tone::Good, "holds"),
        "fail" => (Tone::Bad, "does not conform"),
        "interrupted" => (Tone::Warning, "was interrupted"),
        _ => (Tone::Bad, "could not be examined"),
    };
    format!(
        "verify: {} {}: {} ({}, {:.1} s, seed {})\n",
        report.subject.name,
        style.paint(tone, word),
        parts.join(", "),
        plural(report.subject.ran(), "check"),
        Duration::from_millis(report.duration_ms).as_secs_f64(),
        report.seed
    )
}

/// Everything about one requirement, and the checks that prove it.
pub fn explain(requirement: &Requirement, checks: &[Check], style: Style) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} {} {}",
        style.paint(Tone::Strong, &requirement.id),
        requirement.level.word(),
        requirement.sentence
    );
    let _ = writeln!(text, "  {}:{}", requirements::FILE, requirement.line);
    let or_none = |text: String, none: &str| if text.is_empty() { none.to_owned() } else { text };
    let seed = or_none(requirement.seed_lines(), "no line of its own");
    let _ = writeln!(text, "\nseed      {seed}");
    let contract: Vec<String> = requirement
        .contract
        .iter()
        .map(|section| match section.strip_prefix("architecture ") {
            Some(section) => format!("specs/architecture.md, section {section}"),
            None => format!("specs/api-contracts.md, section {section}"),
        })
        .collect();
    let _ = writeln!(
        text,
        "contract  {}",
        or_none(contract.join("\n          "), "nothing beyond the sentence")
    );
    for (title, ids) in [
        ("decided", &requirement.decisions),
        ("also good", &requirement.alternatives),
    ] {
        for decision in ids.iter().filter_map(|id| requirements::decision(id)) {
            let _ = writeln!(
                text,
                "{title:<9} {}: {}\n          {}",
                decision.id, decision.question, decision.reading
            );
        }
    }
    let bound: Vec<String> = checks
        .iter()
        .filter(|check| check.requirements.contains(&requirement.id.as_str()))
        .map(Check::full_name)
        .collect();
    let _ = writeln!(
        text,
        "checks    {}",
        or_none(bound.join("\n          "), "none of its own")
    );
    let _ = writeln!(text, "\nnext: orchestrate verify --only {}", requirement.id);
    text
}
