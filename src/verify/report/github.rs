//! Annotations that GitHub shows beside the specification, in a pull request and in the log of a workflow.

use super::super::check::Verdict;
use super::super::requirements;
use super::{Report, requirements_of};
use crate::report::text::neutralise;

/// A line for each thing that does not hold.
pub fn annotations(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.subject.findings {
        let message = format!(
            "{}\n{}\nnext: {}",
            finding.what,
            finding.detail.join("\n"),
            finding.hint
        );
        text.push_str(&annotation("error", 1, "The system cannot be examined", &message));
    }
    for checked in report.subject.remarkable() {
        let level = match checked.verdict {
            Verdict::Failed { .. } | Verdict::Error { .. } => "error",
            Verdict::Alternative { .. } => "notice",
            _ => "warning",
        };
        let first = requirements_of(checked).first().copied();
        let line = first.map_or(1, |requirement| requirement.line);
        let title = format!(
            "{} {}/{}",
            checked.requirements.join(", "),
            checked.section.name(),
            checked.name
        );
        let sentence = first
            .map(|requirement| requirement.sentence.as_str())
            .unwrap_or_default();
        let message = format!("{sentence}\n{}", checked.verdict.what().unwrap_or_default());
        text.push_str(&annotation(level, line, &title, &message));
    }
    text
}

fn annotation(level: &str, line: usize, title: &str, message: &str) -> String {
    let file = requirements::FILE;
    format!(
        "::{level} file={file},line={line},title={}::{}\n",
        escaped(title).replace(':', "%3A").replace(',', "%2C"),
        escaped(message)
    )
}

/// A line of its own would be another command to whoever reads the log.
fn escaped(text: &str) -> String {
    neutralise(text.trim())
        .replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotation_is_one_line_whatever_it_says() {
        assert_eq!(
            annotation("error", 7, "A-1, b: c", "100 %\n::error::no"),
            "::error file=specs/requirements.toml,line=7,title=A-1%2C b%3A c::100 %25%0A::error::no\n"
        );
    }
}
