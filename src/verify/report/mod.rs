//! What an examination found, requirement by requirement, for people and for programs.

pub mod github;
pub mod html;
pub mod json;
pub mod junit;
mod picture;
pub mod sarif;
pub mod table;

use reference_core::http::Request;
use reference_native::Service;

use super::check::{Checked, Section, Verdict};
use super::examine::Examined;
use super::requirements::{self, GROUPS, Level, Requirement};
use crate::exit_code::ExitCode;

/// A whole examination.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was examined.
    pub subject: Examined,
    /// Other implementations that were asked the same, for comparison.
    pub others: Vec<Examined>,
    /// What chance followed.
    pub seed: u64,
    /// How long all of it took, in milliseconds.
    pub duration_ms: u64,
    /// Somebody interrupted it.
    pub is_interrupted: bool,
    /// What to type to examine the same again.
    pub command: String,
    /// A part that is not there yet, where that is no failure.
    pub missing: Option<&'static str>,
}

/// How a requirement stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// No check of this examination looked at it.
    NotChecked,
    /// Every check of it passed.
    Pass,
    /// It differs where only a SHOULD or MAY binds.
    Unspecified,
    /// It does what a decision declares to be as good.
    Alternative,
    /// A check went wrong: nothing is known.
    Error,
    /// A check of it failed.
    Fail,
}

impl Status {
    /// Its name in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::NotChecked => "not checked",
            Self::Pass => "pass",
            Self::Unspecified => "unspecified",
            Self::Alternative => "alternative",
            Self::Error => "error",
            Self::Fail => "fail",
        }
    }

    /// The same in one character.
    pub fn glyph(self) -> &'static str {
        match self {
            Self::NotChecked => "·",
            Self::Pass => "✓",
            Self::Unspecified => "~",
            Self::Alternative => "≈",
            Self::Error => "!",
            Self::Fail => "✗",
        }
    }

    fn of(requirement: &Requirement, verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Passed => Self::Pass,
            // A check of several requirements fails because of those that bind.
            Verdict::Failed { .. } if requirement.level == Level::Must => Self::Fail,
            Verdict::Failed { .. } | Verdict::Unspecified { .. } => Self::Unspecified,
            Verdict::Alternative { .. } => Self::Alternative,
            Verdict::Error { .. } => Self::Error,
            Verdict::NotApplicable | Verdict::NotRun => Self::NotChecked,
        }
    }
}

/// How many of something stand how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([usize; 6]);

impl Counts {
    /// In the order in which they are shown.
    pub const ORDER: [Status; 6] = [
        Status::Pass,
        Status::Fail,
        Status::Alternative,
        Status::Unspecified,
        Status::Error,
        Status::NotChecked,
    ];

    fn add(&mut self, status: Status) {
        self.0[status as usize] += 1;
    }

    /// How many stand so.
    pub fn of(&self, status: Status) -> usize {
        self.0[status as usize]
    }

    /// All of them.
    pub fn total(&self) -> usize {
        self.0.iter().sum()
    }
}

impl Examined {
    /// How a requirement stands, and the checks that looked at it.
    pub fn status(&self, requirement: &Requirement) -> Status {
        self.checks_of(requirement)
            .map(|checked| Status::of(requirement, &checked.verdict))
            .max()
            .unwrap_or(Status::NotChecked)
    }

    /// The checks that looked at a requirement.
    pub fn checks_of(&self, requirement: &Requirement) -> impl Iterator<Item = &Checked> {
        self.checked
            .iter()
            .filter(|checked| checked.requirements.contains(&requirement.id.as_str()))
    }

    /// How the requirements stand.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for requirement in requirements::all() {
            counts.add(self.status(requirement));
        }
        counts
    }

    /// How the requirements of each group stand; groups that nothing was asked about are left out.
    fn groups(&self) -> Vec<(&'static str, &'static str, Counts)> {
        let of = |group: &str| {
            let mut counts = Counts::default();
            for requirement in requirements::all() {
                if requirement.group() == group {
                    counts.add(self.status(requirement));
                }
            }
            counts
        };
        GROUPS
            .into_iter()
            .map(|(group, about)| (group, about, of(group)))
            .filter(|(_, _, counts)| counts.of(Status::NotChecked) < counts.total())
            .collect()
    }

    /// What failed.
    pub fn failed(&self) -> impl Iterator<Item = &Checked> {
        self.checked
            .iter()
            .filter(|checked| matches!(checked.verdict, Verdict::Failed { .. }))
    }

    /// Everything that is worth a look: failures first.
    fn remarkable(&self) -> Vec<&Checked> {
        let rank = |checked: &Checked| match checked.verdict {
            Verdict::Failed { .. } => 0,
            Verdict::Error { .. } => 1,
            Verdict::Alternative { .. } => 2,
            Verdict::Unspecified { .. } => 3,
            Verdict::Passed | Verdict::NotApplicable | Verdict::NotRun => 4,
        };
        let mut checked: Vec<&Checked> = self.checked.iter().filter(|checked| rank(checked) < 4).collect();
        checked.sort_by_key(|checked| rank(checked));
        checked
    }

    /// How many checks ran.
    pub fn ran(&self) -> usize {
        let is_run = |checked: &&Checked| checked.verdict != Verdict::NotRun;
        self.checked.iter().filter(is_run).count()
    }

    /// Where the time went: sections with what their checks took, in milliseconds.
    fn time(&self) -> Vec<(Section, usize, u64)> {
        let of = |section: Section| {
            let checked = self.checked.iter().filter(|checked| checked.section == section);
            (
                section,
                checked.clone().count(),
                checked.map(|checked| checked.duration_ms).sum(),
            )
        };
        let all = Section::ALL.into_iter().map(of);
        all.filter(|(_, count, _)| *count > 0).collect()
    }
}

impl Report {
    /// How it ended, in one word.
    pub fn result(&self) -> &'static str {
        match self.exit_code() {
            ExitCode::Done => "pass",
            ExitCode::NotConforming => "fail",
            ExitCode::Interrupted => "interrupted",
            _ => "error",
        }
    }

    /// The exit code that belongs to it.
    pub fn exit_code(&self) -> ExitCode {
        if self.is_interrupted {
            return ExitCode::Interrupted;
        }
        if self.subject.failed().next().is_some() || !self.subject.findings.is_empty() {
            return ExitCode::NotConforming;
        }
        let is_error = |checked: &Checked| matches!(checked.verdict, Verdict::Error { .. });
        if self.subject.checked.iter().any(is_error) || (self.subject.ran() == 0 && self.missing.is_none()) {
            return ExitCode::Environment;
        }
        ExitCode::Done
    }
}

/// The requirements of a check.
fn requirements_of(checked: &Checked) -> Vec<&'static Requirement> {
    let found = checked.requirements.iter().filter_map(|id| requirements::find(id));
    let mut found: Vec<&Requirement> = found.collect();
    found.sort_by_key(|requirement| requirement.level);
    found
}

/// More of a body is not shown.
const BODY_CHARACTERS_MAX: usize = 1500;

/// A request as a command for a shell. The address is a variable: it is another one at each start.
fn curl(service: Service, request: &Request) -> String {
    let variable = match service {
        Service::Config => "$CONFIG_URL",
        Service::Image => "$IMAGE_URL",
    };
    let query = request
        .query
        .as_ref()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let mut words = vec![
        "curl -i --path-as-is".to_owned(),
        match request.method.as_str() {
            "GET" => String::new(),
            "HEAD" => "--head".to_owned(),
            method => format!("-X {}", quoted(method)),
        },
        format!("\"{variable}\"{}", quoted(&format!("{}{query}", request.path))),
    ];
    words.retain(|word| !word.is_empty());
    for (name, value) in request.headers.iter() {
        words.push(format!("-H {}", quoted(&format!("{name}: {value}"))));
    }
    if !request.body.is_empty() {
        match std::str::from_utf8(&request.body) {
            Ok(text) if text.chars().count() <= BODY_CHARACTERS_MAX => {
                words.push(format!("--data-binary {}", quoted(text)));
            }
            _ => words.push(format!("--data-binary @body  # {} bytes", request.body.len())),
        }
    }
    words.join(" ")
}

/// A word for a shell.
fn quoted(text: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_./:=@%+,".contains(character);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A body as text, cut where it gets long.
fn body_text(body: &[u8]) -> String {
    match std::str::from_utf8(body) {
        Ok(text) if text.chars().count() > BODY_CHARACTERS_MAX => {
            let head: String = text.chars().take(BODY_CHARACTERS_MAX).collect();
            format!("{head}\n({} bytes in all)", body.len())
        }
        Ok(text) => text.to_owned(),
        Err(_) => format!("({} bytes that are no text)", body.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_becomes_a_command_that_no_shell_misreads() {
        let request = Request::new("POST", "/generate?a=b&c=$(d)")
            .bearer("mas_1")
            .json(&serde_json::json!({ "prompt": "it's" }));
        assert_eq!(
            curl(Service::Image, &request),
            r#"curl -i --path-as-is -X POST "$IMAGE_URL"'/generate?a=b&c=$(d)' -H 'authorization: Bearer mas_1' -H 'content-type: application/json' --data-binary '{"prompt":"it'\''s"}'"#
        );
        assert_eq!(
            curl(Service::Config, &Request::new("GET", "/health")),
            r#"curl -i --path-as-is "$CONFIG_URL"/health"#
        );
    }
}
