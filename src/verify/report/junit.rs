//! The report as JUnit XML: a suite a section, a case a check.

use std::fmt::Write as _;

use super::super::check::{Checked, Section, Verdict};
use super::{Report, requirements_of};

/// The document.
pub fn junit(report: &Report) -> String {
    let subject = &report.subject;
    let findings = subject.findings.len();
    let failures = subject.failed().count() + findings;
    let errors = count(&subject.checked, |verdict| matches!(verdict, Verdict::Error { .. }));
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "<testsuites name=\"orchestrate verify {}\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{}\">",
        escaped(subject.name),
        subject.checked.len() + findings,
        seconds(report.duration_ms)
    );
    if findings > 0 {
        let _ = writeln!(
            text,
            "  <testsuite name=\"start\" tests=\"{findings}\" failures=\"{findings}\" errors=\"0\" skipped=\"0\" time=\"0\">"
        );
        for finding in &subject.findings {
            let _ = writeln!(
                text,
                "    <testcase classname=\"verify.start\" name=\"comes-up\" time=\"0\"><failure message=\"{}\">{}</failure></testcase>",
                escaped(&finding.what),
                escaped(&format!("{}\nnext: {}", finding.detail.join("\n"), finding.hint))
            );
        }
        text.push_str("  </testsuite>\n");
    }
    for (section, _, duration_ms) in subject.time() {
        suite(&mut text, section, &subject.checked, duration_ms);
    }
    text.push_str("</testsuites>\n");
    text
}

fn suite(text: &mut String, section: Section, checked: &[Checked], duration_ms: u64) {
    let of_section: Vec<Checked> = checked
        .iter()
        .filter(|checked| checked.section == section)
        .cloned()
        .collect();
    let _ = writeln!(
        text,
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{}\">",
        section.name(),
        of_section.len(),
        count(&of_section, |verdict| matches!(verdict, Verdict::Failed { .. })),
        count(&of_section, |verdict| matches!(verdict, Verdict::Error { .. })),
        count(&of_section, |verdict| matches!(
            verdict,
            Verdict::NotApplicable | Verdict::NotRun
        )),
        seconds(duration_ms)
    );
    for checked in &of_section {
        let _ = write!(
            text,
            "    <testcase classname=\"verify.{}\" name=\"{}\" time=\"{}\"><properties><property name=\"requirements\" value=\"{}\"/></properties>",
            section.name(),
            escaped(&checked.name),
            seconds(checked.duration_ms),
            checked.requirements.join(" ")
        );
        let what = escaped(checked.verdict.what().unwrap_or_default());
        let _ = match &checked.verdict {
            Verdict::Passed => Ok(()),
            Verdict::Failed { .. } => {
                let sentences: Vec<String> = requirements_of(checked)
                    .iter()
                    .map(|requirement| format!("{} {}", requirement.id, requirement.sentence))
                    .collect();
                write!(
                    text,
                    "<failure message=\"{what}\">{}</failure>",
                    escaped(&sentences.join("\n"))
                )
            }
            Verdict::Error { .. } => write!(text, "<error message=\"{what}\"/>"),
            Verdict::Alternative { .. } | Verdict::Unspecified { .. } => {
                write!(text, "<system-out>{}: {what}</system-out>", checked.verdict.name())
            }
            Verdict::NotApplicable | Verdict::NotRun => {
                write!(text, "<skipped message=\"{}\"/>", checked.verdict.name())
            }
        };
        text.push_str("</testcase>\n");
    }
    text.push_str("  </testsuite>\n");
}

fn count(checked: &[Checked], is_meant: impl Fn(&Verdict) -> bool) -> usize {
    checked.iter().filter(|checked| is_meant(&checked.verdict)).count()
}

fn seconds(duration_ms: u64) -> String {
    format!("{}.{:03}", duration_ms / 1000, duration_ms % 1000)
}

/// Text for an element or an attribute. Characters that XML has no way to write become visible.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' | '\u{20}'..='\u{7e}' => escaped.push(character),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other if other.is_control() => {
                let _ = write!(escaped, "\\u{{{:x}}}", u32::from(other));
            }
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_an_attribute() {
        assert_eq!(
            escaped("<a b=\"c\">&\u{0}\u{1b}é"),
            "&lt;a b=&quot;c&quot;&gt;&amp;\\u{0}\\u{1b}é"
        );
    }
}
