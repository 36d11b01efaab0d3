//! What a check is, and what comes of it.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::lab::{Exchange, Lab, Outcome};

/// A group of checks that share one running subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// Files that must be there and say what they must.
    Static,
    /// Tables, columns, keys and indexes, compared by meaning.
    Schema,
    /// Every route, status, field, header and error.
    Contract,
    /// Who may do what to whose.
    Authorisation,
    /// Sequences of requests by chance, compared with the reference.
    Sequences,
    /// Admission under concurrency.
    Limiter,
    /// The circuit breaker.
    Breaker,
    /// What changes as time passes.
    Time,
    /// What the provider does wrong.
    Faults,
    /// The end of the process at any moment.
    Crash,
    /// What lies in storage.
    State,
    /// Planted secrets, looked for everywhere.
    Secrets,
}

impl Section {
    /// All sections, in the order in which they are shown.
    pub const ALL: [Self; 12] = [
        Self::Static,
        Self::Schema,
        Self::Contract,
        Self::Authorisation,
        Self::Sequences,
        Self::Limiter,
        Self::Breaker,
        Self::Time,
        Self::Faults,
        Self::Crash,
        Self::State,
        Self::Secrets,
    ];

    /// Its name on the command line and in `requirements.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Schema => "schema",
            Self::Contract => "contract",
            Self::Authorisation => "authorisation",
            Self::Sequences => "sequences",
            Self::Limiter => "limiter",
            Self::Breaker => "breaker",
            Self::Time => "time",
            Self::Faults => "faults",
            Self::Crash => "crash",
            Self::State => "state",
            Self::Secrets => "secrets",
        }
    }

    /// The section of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|section| section.name() == name)
    }
}

/// What a check does, as a future on the section's own thread.
pub type Work<'lab> = Pin<Box<dyn Future<Output = Outcome> + 'lab>>;

type Run = Rc<dyn for<'lab> Fn(&'lab mut Lab) -> Work<'lab>>;

/// One check.
#[derive(Clone)]
pub struct Check {
    /// Its section.
    pub section: Section,
    /// Its name, unique within its section, in words with hyphens.
    pub name: String,
    /// The requirements that it proves, by id.
    pub requirements: Vec<&'static str>,
    run: Run,
}

impl Check {
    /// A check.
    pub fn new(
        section: Section,
        name: impl Into<String>,
        requirements: &[&'static str],
        run: impl AsyncFn(&mut Lab) -> Outcome + 'static,
    ) -> Self {
        let run = Rc::new(run);
        Self {
            section,
            name: name.into(),
            requirements: requirements.to_vec(),
            run: Rc::new(move |lab| {
                let run = Rc::clone(&run);
                Box::pin(async move { run(lab).await })
            }),
        }
    }

    /// Its name beside those of all sections.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.section.name(), self.name)
    }

    /// Runs it on a fresh lab.
    pub fn run<'lab>(&self, lab: &'lab mut Lab) -> Work<'lab> {
        (self.run)(lab)
    }
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Passed,
    /// The subject does something else than it must.
    Failed {
        /// What differs.
        what: String,
    },
    /// The subject does something that a decision declares to be as good.
    Alternative {
        /// Which decision.
        decision: &'static str,
        /// What it does.
        what: String,
    },
    /// The subject differs where only a SHOULD or a MAY binds it: no failure, and reported apart.
    Unspecified {
        /// What differs.
        what: String,
    },
    /// There is nothing here that it could look at.
    NotApplicable,
    /// It was not run: the subject does not come up, is not that far yet, or somebody interrupted.
    NotRun,
    /// The check itself went wrong: neither a pass nor a failure.
    Error {
        /// How.
        what: String,
    },
}

impl Verdict {
    /// Its name in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Passed => "pass",
            Self::Failed { .. } => "fail",
            Self::Alternative { .. } => "alternative",
            Self::Unspecified { .. } => "unspecified",
            Self::NotApplicable => "not_applicable",
            Self::NotRun => "not_run",
            Self::Error { .. } => "error",
        }
    }

    /// What there is to say beyond the name.
    pub fn what(&self) -> Option<&str> {
        match self {
            Self::Failed { what }
            | Self::Alternative { what, .. }
            | Self::Unspecified { what }
            | Self::Error { what } => Some(what),
            Self::Passed | Self::NotApplicable | Self::NotRun => None,
        }
    }
}

/// What came of a check, and what was seen on the way.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Its section.
    pub section: Section,
    /// Its name within its section.
    pub name: String,
    /// The requirements that it proves.
    pub requirements: Vec<&'static str>,
    /// What came of it.
    pub verdict: Verdict,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// What was asked and answered, if it did not pass.
    pub exchanges: Vec<Exchange>,
    /// Requests that ran side by side, if it did not pass and had some.
    pub lanes: Vec<Lane>,
}

/// A request among others that ran at the same time, for a picture.
#[derive(Clone, Debug, Serialize)]
pub struct Lane {
    /// When it was sent, in milliseconds since the first one.
    pub began_ms: f64,
    /// When its answer was there.
    pub ended_ms: f64,
    /// The answer's status.
    pub status: u16,
    /// Whether it was let through.
    pub admitted: bool,
}
