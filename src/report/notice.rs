//! What a human is told while nobody looks: derived from the view, each thing once.

use std::collections::BTreeSet;

use serde::Serialize;

use super::text::{clip, iso, one_line};
use crate::core::command::RunOutcome;
use crate::core::{Breaker, TeamStatus, View};
use crate::ids::{EscalationId, TeamId};

/// The version of the document's shape.
const SCHEMA: u32 = 1;
/// Longer questions are cut; `orchestrate status` has them whole.
const QUESTION_CHARACTERS_MAX: usize = 600;
/// So many reasons are told.
const REASONS_MAX: usize = 5;

/// What it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// A question waits for an answer.
    Question,
    /// A landing waits for approval.
    Approval,
    /// The fleet starts nothing for a while.
    Paused,
    /// Every team has landed.
    Complete,
    /// The run ended because nothing goes on without a human.
    Waiting,
    /// The run failed.
    Failed,
    /// Somebody stopped the run.
    Stopped,
}

impl NoticeKind {
    /// As documents and variables write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Question => "question",
            Self::Approval => "approval",
            Self::Paused => "paused",
            Self::Complete => "complete",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// One thing that a human is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    schema: u32,
    /// What it is about.
    pub kind: NoticeKind,
    /// For people, a few lines.
    pub text: String,
    /// The plan's project.
    pub project: String,
    /// The run's id.
    pub run: String,
    /// When.
    pub at: String,
    /// The question's number.
    pub question: Option<u32>,
    /// Who asks.
    pub agent: Option<String>,
    /// Which team waits.
    pub team: Option<String>,
    /// The command that helps.
    pub command: Option<String>,
}

impl Notice {
    /// One JSON document.
    pub fn document(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The same facts as variables for a shell command.
    pub fn environment(&self) -> Vec<(String, String)> {
        let question = self.question.map(|number| number.to_string());
        [
            ("NOTICE_KIND", Some(self.kind.word())),
            ("NOTICE_TEXT", Some(self.text.as_str())),
            ("NOTICE_PROJECT", Some(self.project.as_str())),
            ("NOTICE_RUN", Some(self.run.as_str())),
            ("NOTICE_AT", Some(self.at.as_str())),
            ("NOTICE_QUESTION", question.as_deref()),
            ("NOTICE_AGENT", self.agent.as_deref()),
            ("NOTICE_TEAM", self.team.as_deref()),
            ("NOTICE_COMMAND", self.command.as_deref()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect()
    }
}

/// Remembers what was told. A run that is resumed tells once more what is still open: twice is better than never.
#[derive(Debug, Default)]
pub struct Notices {
    questions: BTreeSet<EscalationId>,
    approvals: BTreeSet<TeamId>,
    paused: bool,
}

impl Notices {
    /// What is new in this view.
    pub fn of(&mut self, project: &str, breaker: &Breaker, view: &View) -> Vec<Notice> {
        let mut notices = Vec::new();
        for line in view.escalations.iter().filter(|line| line.answered.is_none()) {
            if !self.questions.insert(line.id) {
                continue;
            }
            let who = line
                .actor
                .as_ref()
                .map_or_else(|| "the run".to_owned(), ToString::to_string);
            let question = clip(&one_line(&line.question), QUESTION_CHARACTERS_MAX, "...");
            let command = format!("orchestrate answer {} \"...\"", line.id.0);
            let mut notice = notice(
                project,
                view,
                NoticeKind::Question,
                format!("question {} from {who}: {question}\nanswer with: {command}", line.id.0),
            );
            notice.question = Some(line.id.0);
            notice.agent = line.actor.as_ref().map(ToString::to_string);
            notice.command = Some(command);
            notices.push(notice);
        }
        for line in &view.teams {
            if line.status != TeamStatus::AwaitingApproval {
                self.approvals.remove(&line.id);
            } else if self.approvals.insert(line.id.clone()) {
                let command = format!("orchestrate approve {}", line.id);
                let text = format!("team {} is ready to land\nlet it land with: {command}", line.id);
                let mut notice = notice(project, view, NoticeKind::Approval, text);
                notice.team = Some(line.id.to_string());
                notice.command = Some(command);
                notices.push(notice);
            }
        }
        let pause = match breaker {
            Breaker::Closed => None,
            Breaker::Paused { until, .. } => Some(format!("the fleet starts nothing until {}", iso(*until))),
            // Of a pause that one agent tries to end, nothing new is to be told.
            Breaker::Probing { .. } => {
                Some("the fleet waits for one agent, which finds out whether service is given again".to_owned())
            }
            Breaker::Open { reason } => Some(format!("the fleet has stopped: {}", one_line(reason))),
        };
        if let (Some(text), false) = (&pause, self.paused) {
            let text = with_reasons(text.clone(), &view.run.reasons);
            notices.push(notice(project, view, NoticeKind::Paused, text));
        }
        self.paused = pause.is_some();
        notices
    }

    /// What the end of a run tells, after what is still new.
    pub fn at_end(&mut self, project: &str, breaker: &Breaker, view: &View, outcome: &RunOutcome) -> Vec<Notice> {
        let mut notices = self.of(project, breaker, view);
        let (kind, text, command) = match outcome {
            RunOutcome::Complete => (
                NoticeKind::Complete,
                "the run is complete: every team has landed".to_owned(),
                "orchestrate release",
            ),
            RunOutcome::Waiting { reasons } => (
                NoticeKind::Waiting,
                with_reasons("the run waits for you".to_owned(), reasons),
                "orchestrate status",
            ),
            RunOutcome::Failed { reasons } => (
                NoticeKind::Failed,
                with_reasons("the run failed".to_owned(), reasons),
                "orchestrate status",
            ),
            RunOutcome::Stopped => (NoticeKind::Stopped, "the run was stopped".to_owned(), "orchestrate run"),
        };
        let mut last = notice(project, view, kind, text);
        last.command = Some(command.to_owned());
        notices.push(last);
        notices
    }
}

fn notice(project: &str, view: &View, kind: NoticeKind, text: String) -> Notice {
    Notice {
        schema: SCHEMA,
        kind,
        text: format!("{project}: {text}"),
        project: project.to_owned(),
        run: view.run.id.clone(),
        at: iso(view.at),
        question: None,
        agent: None,
        team: None,
        command: None,
    }
}

fn with_reasons(mut text: String, reasons: &[String]) -> String {
    for reason in reasons.iter().take(REASONS_MAX) {
        text.push_str(&format!(
            "\n- {}",
            clip(&one_line(reason), QUESTION_CHARACTERS_MAX, "...")
        ));
    }
    if reasons.len() > REASONS_MAX {
        text.push_str(&format!("\n- and {} more", reasons.len() - REASONS_MAX));
    }
    text
}
