//! The status for people: where everything stands, what is waited for, and the exact command where a human is needed.

use super::event_text::short;
use super::snapshot::{Presence, Snapshot};
use super::style::{Mark, Style, Tone};
use super::text::{ago, clip, clock, date_and_clock, duration, neutralise, one_line, pad, plural, width, wrap};
use crate::core::{
    ActorLine, ActorStatus, EscalationLine, MergeLine, MergeStatus, PhaseLine, PhaseStatus, RunStatus, TeamLine,
    TeamStatus,
};
use crate::ids::Actor;

/// Narrower than this nothing fits; wider lines are hard to read.
const COLUMNS_MIN: usize = 60;
const COLUMNS_MAX: usize = 110;

/// Notes shown; the rest is in `--json`.
const NOTES_SHOWN: usize = 3;

/// Columns of the state's word, and of the attempts, the last activity and the spend behind it.
const STATE_COLUMNS: usize = 9;
const ATTEMPTS_COLUMNS: usize = 6;
const ACTIVITY_COLUMNS: usize = 11;
const SPEND_COLUMNS: usize = 8;

/// Renders a status within `columns`.
pub fn render(snapshot: &Snapshot, style: Style, columns: usize) -> String {
    Table {
        snapshot,
        style,
        columns: columns.clamp(COLUMNS_MIN, COLUMNS_MAX),
        text: String::new(),
    }
    .render()
}

struct Table<'a> {
    snapshot: &'a Snapshot,
    style: Style,
    columns: usize,
    text: String,
}

impl Table<'_> {
    fn render(mut self) -> String {
        self.head();
        for phase in &self.snapshot.view.phases {
            self.phase(phase);
        }
        self.merges();
        self.questions();
        self.approvals();
        self.reasons();
        self.notes();
        self.text
    }

    /// Adds a line. Colour is put around whole lines or parts that were measured before, so that widths stay right.
    fn line(&mut self, text: &str) {
        self.text.push_str(text.trim_end());
        self.text.push('\n');
    }

    fn heading(&mut self, text: &str) {
        self.text.push('\n');
        let heading = self.style.paint(Tone::Strong, text);
        self.line(&heading);
    }

    /// Adds a text of any length, wrapped, its first line behind `lead` and the others below it.
    fn paragraph(&mut self, lead: &str, text: &str, tone: Tone) {
        let indent = width(lead);
        for (index, part) in wrap(&one_line(text), self.columns.saturating_sub(indent))
            .iter()
            .enumerate()
        {
            let lead = if index == 0 {
                lead.to_owned()
            } else {
                " ".repeat(indent)
            };
            let part = self.style.paint(tone, part);
            self.line(&format!("{lead}{part}"));
        }
    }

    fn head(&mut self) {
        let view = &self.snapshot.view;
        let run = &view.run;
        let mut facts = vec![one_line(&self.snapshot.project)];
        facts.retain(|name| !name.is_empty());
        if run.status == RunStatus::NotStarted {
            facts.push("not started".to_owned());
        } else {
            facts.push(if self.snapshot.is_interrupted() {
                "interrupted".to_owned()
            } else {
                run.status.word().to_owned()
            });
            if let Some(started) = run.started {
                let word = if run.status == RunStatus::Running {
                    "for"
                } else {
                    "started"
                };
                let since = if run.status == RunStatus::Running && !self.snapshot.is_interrupted() {
                    duration(view.at.since(started))
                } else {
                    date_and_clock(started)
                };
                let word = if self.snapshot.is_interrupted() {
                    "started"
                } else {
                    word
                };
                facts.push(format!("{word} {since}"));
            }
            facts.push(match run.budget {
                Some(budget) => format!("spent {} of {budget}", run.spent),
                None => format!("spent {}", run.spent),
            });
            if let (Some(eta), false) = (run.eta, self.snapshot.is_interrupted()) {
                facts.push(format!("done about {}", clock(eta)));
            }
        }
        let separator = if self.style.unicode { " · " } else { ", " };
        let line = clip(&facts.join(separator), self.columns, self.style.ellipsis());
        let line = self.style.paint(Tone::Strong, &line);
        self.line(&line);
        match (&self.snapshot.presence, run.status) {
            (Presence::Alive(_), RunStatus::NotStarted) => self.paragraph("", "a run is starting", Tone::Faint),
            (Presence::Alive(who), _) => {
                if let Some(who) = who {
                    self.paragraph("", &format!("run by {who}"), Tone::Faint);
                }
            }
            (Presence::Absent, RunStatus::NotStarted) => {
                self.paragraph("", "no run yet: `orchestrate run` starts it", Tone::Normal);
            }
            (Presence::Absent, RunStatus::Running) => self.paragraph(
                "",
                "the process that ran it is gone, and nothing is lost: `orchestrate run` goes on",
                Tone::Warning,
            ),
            (Presence::Absent, RunStatus::Stopped) => {
                self.paragraph("", "`orchestrate run` goes on", Tone::Normal);
            }
            (Presence::Absent, RunStatus::Waiting | RunStatus::Failed | RunStatus::Complete) => {}
        }
    }

    fn phase(&mut self, phase: &PhaseLine) {
        let tone = match phase.status {
            PhaseStatus::Waiting => Tone::Faint,
            PhaseStatus::Running => Tone::Active,
            PhaseStatus::Complete => Tone::Good,
            PhaseStatus::Failed => Tone::Bad,
        };
        self.text.push('\n');
        let word = if phase.waits_for.is_empty() {
            phase.status.word().to_owned()
        } else {
            let needs: Vec<&str> = phase.waits_for.iter().map(crate::ids::PhaseId::as_str).collect();
            format!(
                "waits for {} {}",
                if needs.len() == 1 { "phase" } else { "phases" },
                needs.join(", ")
            )
        };
        self.two_sides(
            &format!("Phase {}  {}", phase.id, phase.name),
            &word,
            Tone::Strong,
            tone,
        );
        let snapshot = self.snapshot;
        for team in snapshot.view.teams.iter().filter(|team| team.phase == phase.id) {
            self.team(team);
            for agent in snapshot.view.agents.iter().filter(|agent| agent.team == team.id) {
                self.actor(agent);
            }
            for leader in snapshot.view.leaders.iter().filter(|leader| leader.team == team.id) {
                self.actor(leader);
            }
        }
    }

    /// A text at the left, a word at the right end of the line.
    fn two_sides(&mut self, left: &str, right: &str, left_tone: Tone, right_tone: Tone) {
        let left_columns = self.columns.saturating_sub(width(right) + 2);
        let left = pad(
            &clip(&neutralise(left), left_columns, self.style.ellipsis()),
            left_columns,
        );
        let line = format!(
            "{}  {}",
            self.style.paint(left_tone, &left),
            self.style.paint(right_tone, right)
        );
        self.line(&line);
    }

    fn team(&mut self, team: &TeamLine) {
        let tone = match team.status {
            TeamStatus::Waiting => Tone::Faint,
            TeamStatus::Running | TeamStatus::Integrating | TeamStatus::Landing => Tone::Active,
            TeamStatus::AwaitingApproval => Tone::Warning,
            TeamStatus::Landed => Tone::Good,
            TeamStatus::Failed => Tone::Bad,
        };
        let tip = team
            .tip
            .as_ref()
            .map(|tip| format!(" at {}", short(tip)))
            .unwrap_or_default();
        let merged = format!("{} of {} merged, {}", team.merged, team.agents, team.status.word());
        self.two_sides(
            &format!("  Team {}  {}  {}{tip}", team.id, team.name, team.branch),
            &merged,
            Tone::Normal,
            tone,
        );
    }

    fn actor(&mut self, line: &ActorLine) {
        let (mark, tone) = match line.status {
            ActorStatus::Waiting => (Mark::Waiting, Tone::Faint),
            ActorStatus::Running => (Mark::Running, Tone::Active),
            ActorStatus::Complete => (Mark::Done, Tone::Good),
            ActorStatus::Merged => (Mark::Merged, Tone::Good),
            ActorStatus::Stuck | ActorStatus::Failed => (Mark::Failed, Tone::Bad),
            ActorStatus::Escalated => (Mark::Asking, Tone::Warning),
        };
        let name = match &line.actor {
            Actor::Agent(agent_id) => format!("{agent_id}  {}", one_line(&line.name)),
            Actor::Leader(_) => "leader".to_owned(),
            Actor::Resolver(_) => "leader, on a conflict".to_owned(),
        };
        let facts_columns = STATE_COLUMNS + ATTEMPTS_COLUMNS + ACTIVITY_COLUMNS + SPEND_COLUMNS + 8;
        let name_columns = self.columns.saturating_sub(6 + facts_columns);
        let name = pad(&clip(&name, name_columns, self.style.ellipsis()), name_columns);
        let state = self.style.paint(tone, &pad(line.status.word(), STATE_COLUMNS));
        let glyph = self.style.paint(tone, self.style.glyph(mark));
        if line.attempts == 0 {
            let room = facts_columns - STATE_COLUMNS - 2;
            let reason = clip(
                &one_line(line.reason.as_deref().unwrap_or_default()),
                room,
                self.style.ellipsis(),
            );
            self.line(&format!(
                "    {glyph} {name}  {state}  {}",
                self.style.paint(Tone::Faint, &reason)
            ));
            return;
        }
        let attempts = format!("{} of {}", line.attempts, line.max_attempts.max(line.attempts));
        let activity = line
            .last_activity
            .map(|at| ago(at, self.snapshot.view.at))
            .unwrap_or_default();
        self.line(&format!(
            "    {glyph} {name}  {state}  {}  {activity:>ACTIVITY_COLUMNS$}  {:>SPEND_COLUMNS$}",
            pad(&attempts, ATTEMPTS_COLUMNS),
            line.spent.to_string(),
        ));
        if let Some(reason) = &line.reason {
            let tone = if line.status == ActorStatus::Failed {
                Tone::Bad
            } else {
                Tone::Warning
            };
            self.paragraph("        ", reason, tone);
        }
    }

    fn merges(&mut self) {
        let open: Vec<&MergeLine> = self
            .snapshot
            .view
            .merges
            .iter()
            .filter(|merge| match merge.status {
                MergeStatus::Queued | MergeStatus::Gating | MergeStatus::Conflict => true,
                MergeStatus::Merged | MergeStatus::Rejected => false,
            })
            .collect();
        if open.is_empty() {
            return;
        }
        self.heading("Merges under way");
        for merge in open {
            let (mark, tone) = match merge.status {
                MergeStatus::Gating => (Mark::Running, Tone::Active),
                MergeStatus::Conflict => (Mark::Warning, Tone::Warning),
                MergeStatus::Queued | MergeStatus::Merged | MergeStatus::Rejected => (Mark::Waiting, Tone::Normal),
            };
            let what = format!(
                "  {} {}  {} {} {}",
                self.style.glyph(mark),
                merge.id.0,
                merge.source,
                self.style.arrow(),
                merge.target
            );
            self.two_sides(&what, merge.status.word(), Tone::Normal, tone);
            if let Some(reason) = &merge.reason {
                self.paragraph("        ", reason, Tone::Warning);
            }
        }
    }

    fn questions(&mut self) {
        let open: Vec<&EscalationLine> = self
            .snapshot
            .view
            .escalations
            .iter()
            .filter(|question| question.answered.is_none())
            .collect();
        if open.is_empty() {
            return;
        }
        self.heading("Open questions");
        for question in open {
            let who = question
                .actor
                .as_ref()
                .map_or_else(|| "the run".to_owned(), ToString::to_string);
            let lead = format!("  {} {}  ", self.style.glyph(Mark::Asking), question.id.0);
            let asked = ago(question.asked, self.snapshot.view.at);
            self.paragraph(
                &lead,
                &format!("{who} asked {asked}: {}", question.question),
                Tone::Warning,
            );
            let indent = " ".repeat(width(&lead));
            for line in question.detail.lines() {
                self.paragraph(&indent, line, Tone::Faint);
            }
            self.line(&format!("{indent}orchestrate answer {} \"...\"", question.id.0));
        }
    }

    fn approvals(&mut self) {
        let waiting: Vec<&TeamLine> = self
            .snapshot
            .view
            .teams
            .iter()
            .filter(|team| team.status == TeamStatus::AwaitingApproval)
            .collect();
        if waiting.is_empty() {
            return;
        }
        self.heading("Waiting for your yes");
        for team in waiting {
            let lead = format!("  {} ", self.style.glyph(Mark::Asking));
            let text = format!("team {} ({}) may land on main: ", team.id, one_line(&team.name));
            self.paragraph(&lead, text.trim_end(), Tone::Warning);
            self.line(&format!("    orchestrate approve {}", team.id));
        }
    }

    fn reasons(&mut self) {
        // What a command settles stands above with that command already.
        let reasons: Vec<&String> = self
            .snapshot
            .view
            .run
            .reasons
            .iter()
            .filter(|reason| !reason.contains("`orchestrate answer ") && !reason.contains("`orchestrate approve "))
            .collect();
        if reasons.is_empty() {
            return;
        }
        let heading = match self.snapshot.view.run.status {
            RunStatus::Failed => "Why it failed",
            RunStatus::NotStarted
            | RunStatus::Running
            | RunStatus::Waiting
            | RunStatus::Stopped
            | RunStatus::Complete => "What is waited for",
        };
        self.heading(heading);
        for reason in reasons {
            let lead = format!("  {} ", self.style.glyph(Mark::Warning));
            self.paragraph(&lead, reason, Tone::Warning);
        }
    }

    fn notes(&mut self) {
        let view = &self.snapshot.view;
        if view.notes.is_empty() && self.snapshot.discrepancies.is_empty() {
            return;
        }
        self.heading("Notes");
        let lead = format!("  {} ", self.style.glyph(Mark::Warning));
        for discrepancy in &self.snapshot.discrepancies {
            self.paragraph(&lead, discrepancy, Tone::Warning);
        }
        let older = view.notes.len().saturating_sub(NOTES_SHOWN);
        for note in view.notes.iter().skip(older) {
            self.paragraph(&lead, &format!("{} {}", clock(note.at), note.text), Tone::Normal);
        }
        if older > 0 {
            let more = format!("    and {}: orchestrate status --json", plural(older, "older note"));
            self.line(&more);
        }
    }
}
