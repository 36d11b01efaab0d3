//! `orchestrate doctor`: is everything there that a run needs, and if not, what exactly to do.

mod environment;
mod programs;
mod repository;

use std::io;

use clap::Args;

use super::context::print;
use super::{CliError, Global, Place};
use crate::exit_code::ExitCode;
use crate::report::style::{Style, Tone};
use crate::report::text::{one_line, pad, plural};

/// Columns of what was looked at.
const SUBJECT_COLUMNS: usize = 12;

/// Check that everything is there that a run needs
#[derive(Debug, Args)]
pub(super) struct DoctorArguments {}

/// How something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// As it has to be.
    Well,
    /// A run works, with a drawback.
    Doubtful,
    /// A run does not work.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
struct Finding {
    verdict: Verdict,
    subject: &'static str,
    text: String,
    /// The exact command or edit that helps.
    remedy: Option<String>,
}

impl Finding {
    fn well(subject: &'static str, text: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Well,
            subject,
            text: text.into(),
            remedy: None,
        }
    }

    fn doubtful(subject: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Doubtful,
            subject,
            text: text.into(),
            remedy: Some(remedy.into()),
        }
    }

    fn bad(subject: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Bad,
            subject,
            text: text.into(),
            remedy: Some(remedy.into()),
        }
    }
}

/// Runs the command.
pub(super) fn run(global: &Global, _arguments: &DoctorArguments) -> Result<ExitCode, CliError> {
    let place = Place::find(global)?;
    let mut findings = Vec::new();
    let plan = repository::plan(&place, &mut findings);
    repository::check(&place, plan.as_ref(), &mut findings);
    programs::check(&place, plan.as_ref(), &mut findings);
    environment::check(&place, &mut findings);
    repository::journal(&place, &mut findings);

    let style = Style::of(&io::stdout());
    let mut text = String::new();
    for finding in &findings {
        text.push_str(&line(finding, style));
    }
    let bad = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Bad)
        .count();
    let doubtful = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Doubtful)
        .count();
    text.push('\n');
    text.push_str(&match (bad, doubtful) {
        (0, 0) => "everything is there: `orchestrate run` may start\n".to_owned(),
        (0, _) => format!("`orchestrate run` may start, with {}\n", plural(doubtful, "warning")),
        (_, _) => format!(
            "{} to solve before `orchestrate run`, {}\n",
            plural(bad, "problem"),
            plural(doubtful, "warning")
        ),
    });
    print(&text)?;
    Ok(if bad == 0 {
        ExitCode::Done
    } else {
        ExitCode::Environment
    })
}

fn line(finding: &Finding, style: Style) -> String {
    let (word, tone) = match finding.verdict {
        Verdict::Well => ("ok  ", Tone::Good),
        Verdict::Doubtful => ("warn", Tone::Warning),
        Verdict::Bad => ("FAIL", Tone::Bad),
    };
    let word = style.paint(tone, word);
    let mut text = format!(
        "{word}  {}  {}\n",
        pad(finding.subject, SUBJECT_COLUMNS),
        one_line(&finding.text)
    );
    if let Some(remedy) = &finding.remedy {
        text.push_str(&format!(
            "{}hint: {}\n",
            " ".repeat(4 + 2 + SUBJECT_COLUMNS + 2),
            one_line(remedy)
        ));
    }
    text
}
