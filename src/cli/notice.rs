//! From what a run shows to messages on their way: what is new in the view is handed to whoever tells a human. And the hidden command that brings one.

use std::path::Path;

use super::CliError;
use crate::core::command::RunOutcome;
use crate::core::{State, View};
use crate::exit_code::ExitCode;
use crate::plan::Plan;
use crate::report::notice::{Notice, Notices};
use crate::shell::notify::{self, Message, Notifier};

/// Tells a human what the plan's `notify` asks for.
pub(super) struct NoticeSource {
    notifier: Notifier,
    notices: Notices,
    project: String,
}

impl NoticeSource {
    /// `None` when the plan wants nobody told.
    pub(super) fn new(plan: &Plan, plan_directory: &Path, state_dir: &Path) -> Option<Self> {
        Some(Self {
            notifier: Notifier::new(&plan.notify, plan_directory, state_dir)?,
            notices: Notices::default(),
            project: plan.project.clone(),
        })
    }

    /// Tells what is new.
    pub(super) fn look(&mut self, state: &State, view: &View) {
        self.notifier.look();
        for notice in self.notices.of(&self.project, &state.breaker, view) {
            self.notifier.send(message(&notice));
        }
    }

    /// Tells how it ended.
    pub(super) fn finish(mut self, state: &State, view: &View, outcome: &RunOutcome) {
        for notice in self.notices.at_end(&self.project, &state.breaker, view, outcome) {
            self.notifier.send(message(&notice));
        }
        self.notifier.finish();
    }
}

fn message(notice: &Notice) -> Message {
    Message {
        text: notice.text.clone(),
        document: notice.document(),
        environment: notice.environment(),
    }
}

/// Brings the message that stands on standard input. Nobody reads what it says; the log has it.
pub(super) fn deliver() -> Result<ExitCode, CliError> {
    notify::deliver(std::io::stdin().lock()).map_err(|error| CliError::new(ExitCode::Environment, error))?;
    Ok(ExitCode::Done)
}
