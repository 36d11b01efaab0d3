//! A run as a reporter sees it: the view of the journal, and whether a process works on it.

use crate::core::{RunStatus, View};

/// Whether a process of `orchestrate run` works on the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// One does. The text says which, where that is known: "process 4711 on host, since ...".
    Alive(Option<String>),
    /// None does.
    Absent,
}

/// Everything that a status shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The project's name.
    pub project: String,
    /// What the journal says.
    pub view: View,
    /// Who works on it.
    pub presence: Presence,
    /// What does not fit together: odd things that the run saw, or that were seen just now in the repository.
    pub discrepancies: Vec<String>,
}

impl Snapshot {
    /// Whether the journal says that work goes on while nobody does it: the process was killed, or the machine died.
    pub fn is_interrupted(&self) -> bool {
        self.presence == Presence::Absent && self.view.run.status == RunStatus::Running
    }

    /// The state of the run in a word. A run that nobody works on does not run, whatever the journal says.
    pub fn run_word(&self) -> &'static str {
        if self.is_interrupted() {
            RunStatus::Stopped.word()
        } else {
            self.view.run.status.word()
        }
    }
}
