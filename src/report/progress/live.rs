//! The live lines: one for each agent that works and each gate that runs, and a bar over all. The only place that knows `indicatif`.

use std::collections::{BTreeMap, BTreeSet};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::core::event::Event;
use crate::core::{ActorLine, ActorStatus, MergeStatus, State, View};
use crate::ids::{Actor, MergeId, TeamId, Time};
use crate::report::style::{Mark, Style, Tone};
use crate::report::text::{clock, duration, one_line, pad};
use crate::tags;

/// More lines than this are summed up in one, so that the bar stays on the screen.
const ROWS_MAX: usize = 12;
/// Columns of an actor's id and name.
const NAME_COLUMNS: usize = 28;

pub(super) struct Live {
    style: Style,
    lines: MultiProgress,
    rows: Vec<ProgressBar>,
    bar: ProgressBar,
    memory: Memory,
    cleared: bool,
}

/// What the view does not hold.
#[derive(Default)]
struct Memory {
    began: BTreeMap<Actor, Time>,
    newest_commit: BTreeMap<Actor, String>,
    gate_began: BTreeMap<MergeId, Time>,
    only_teams: BTreeSet<TeamId>,
}

impl Live {
    pub(super) fn new(target: ProgressDrawTarget, style: Style) -> Self {
        let lines = MultiProgress::with_draw_target(target);
        let bar = lines.add(ProgressBar::new(1));
        let template = if style.colour {
            "{bar:20.green} {wide_msg}"
        } else {
            "{bar:20} {wide_msg}"
        };
        bar.set_style(template_or_default(template).progress_chars(if style.unicode { "━╸─" } else { "=>-" }));
        Self {
            style,
            lines,
            rows: Vec::new(),
            bar,
            memory: Memory::default(),
            cleared: false,
        }
    }

    pub(super) fn remember(&mut self, state: &State, at: Time, event: &Event) {
        match event {
            Event::RunStarted { .. } | Event::RunResumed { .. } => {
                self.memory.only_teams = state.only_teams.clone();
            }
            Event::AgentStarted { actor, .. } => {
                self.memory.began.insert(actor.clone(), at);
            }
            Event::CommitsSeen { actor, commits, .. } => {
                if let Some(commit) = commits.last() {
                    let subject = one_line(&tags::parse(&commit.message).subject);
                    self.memory.newest_commit.insert(actor.clone(), subject);
                }
            }
            Event::MergePrepared { merge_id, .. } => {
                self.memory.gate_began.insert(*merge_id, at);
            }
            Event::BranchCreated { .. }
            | Event::Speculated { .. }
            | Event::LookedBack { .. }
            | Event::ResolutionChecked { .. }
            | Event::AgentProgressed { .. }
            | Event::AgentExited { .. }
            | Event::BranchMoved { .. }
            | Event::GateFinished { .. }
            | Event::MergeLanded { .. }
            | Event::LandingRefused { .. }
            | Event::EffectFailed { .. }
            | Event::StopRequested { .. }
            | Event::EscalationAnswered { .. }
            | Event::LandingApproved { .. }
            | Event::LandingRejected { .. }
            | Event::PauseRequested
            | Event::ResumeRequested
            | Event::RetryRequested { .. }
            | Event::RollbackRequested { .. }
            | Event::RolledBack { .. }
            | Event::RollbackRefused { .. }
            | Event::DecisionWritten { .. }
            | Event::MachineSlept { .. }
            | Event::DeadlineReached => {}
        }
    }

    pub(super) fn draw(&mut self, view: &View) {
        let rows = self.rows_of(view);
        while self.rows.len() > rows.len() {
            if let Some(row) = self.rows.pop() {
                self.lines.remove(&row);
            }
        }
        while self.rows.len() < rows.len() {
            let row = self.lines.insert_before(&self.bar, ProgressBar::new(1));
            row.set_style(template_or_default("{wide_msg}"));
            self.rows.push(row);
        }
        for (row, text) in self.rows.iter().zip(rows) {
            row.set_message(text);
        }
        let workers: Vec<&ActorLine> = view
            .agents
            .iter()
            .chain(&view.leaders)
            .filter(|line| self.memory.only_teams.is_empty() || self.memory.only_teams.contains(&line.team))
            .collect();
        let merged = workers.iter().filter(|line| line.status == ActorStatus::Merged).count();
        self.bar.set_length(workers.len() as u64);
        self.bar.set_position(merged as u64);
        self.bar.set_message(self.overall(view, merged, workers.len()));
    }

    /// A line of the story, above the live ones.
    pub(super) fn print(&mut self, line: &str) {
        let _ = self.lines.println(line);
    }

    /// Takes the live lines away; the cursor stands below the story then.
    pub(super) fn clear(&mut self) {
        self.cleared = true;
        for row in self.rows.drain(..) {
            self.lines.remove(&row);
        }
        self.bar.finish_and_clear();
        let _ = self.lines.clear();
    }

    fn rows_of(&self, view: &View) -> Vec<String> {
        let workers = view
            .agents
            .iter()
            .chain(&view.leaders)
            .filter(|line| line.alive && line.status != ActorStatus::Merged)
            .map(|line| self.worker(line, view.at));
        let gates = view
            .merges
            .iter()
            .filter(|merge| merge.status == MergeStatus::Gating)
            .map(|merge| {
                let since = self.memory.gate_began.get(&merge.id);
                let elapsed = since.map(|at| duration(view.at.since(*at))).unwrap_or_default();
                let what = format!("gate  {} {} {}", merge.source, self.style.arrow(), merge.target);
                format!(
                    "{} {what}  {elapsed}",
                    self.style.paint(Tone::Active, self.style.glyph(Mark::Running))
                )
            });
        let mut rows: Vec<String> = workers.chain(gates).collect();
        if rows.len() > ROWS_MAX {
            let more = rows.len() - (ROWS_MAX - 1);
            rows.truncate(ROWS_MAX - 1);
            rows.push(
                self.style
                    .paint(Tone::Faint, &format!("  and {more} more: `orchestrate status`")),
            );
        }
        rows
    }

    fn worker(&self, line: &ActorLine, now: Time) -> String {
        let (mark, tone) = match line.status {
            ActorStatus::Waiting | ActorStatus::Running => (Mark::Running, Tone::Active),
            ActorStatus::Complete | ActorStatus::Merged => (Mark::Done, Tone::Good),
            ActorStatus::Stuck | ActorStatus::Failed => (Mark::Failed, Tone::Bad),
            ActorStatus::Escalated => (Mark::Asking, Tone::Warning),
        };
        let name = match &line.actor {
            Actor::Agent(agent_id) => format!("{agent_id} {}", line.name),
            Actor::Leader(team_id) | Actor::Resolver(team_id) => format!("leader {team_id} {}", line.name),
        };
        let name = pad(
            &crate::report::text::clip(&one_line(&name), NAME_COLUMNS, self.style.ellipsis()),
            NAME_COLUMNS,
        );
        let elapsed = self
            .memory
            .began
            .get(&line.actor)
            .map(|at| duration(now.since(*at)))
            .unwrap_or_default();
        let again = if line.attempts > 1 {
            format!("  attempt {}", line.attempts)
        } else {
            String::new()
        };
        let commit = self
            .memory
            .newest_commit
            .get(&line.actor)
            .map(|subject| format!("  {subject}"))
            .unwrap_or_default();
        format!(
            "{} {name} {elapsed:>6}  {:>6}{again}{}",
            self.style.paint(tone, self.style.glyph(mark)),
            line.spent.to_string(),
            self.style.paint(Tone::Faint, &commit)
        )
    }

    fn overall(&self, view: &View, merged: usize, workers: usize) -> String {
        let alive = view
            .agents
            .iter()
            .chain(&view.leaders)
            .filter(|line| line.alive)
            .count();
        let mut facts = vec![format!("{merged} of {workers} merged"), format!("{alive} at work")];
        facts.push(match view.run.budget {
            Some(budget) => format!("{} of {budget}", view.run.spent),
            None => view.run.spent.to_string(),
        });
        if let Some(started) = view.run.started {
            facts.push(duration(view.at.since(started)));
        }
        if let Some(eta) = view.run.eta {
            facts.push(format!("done about {}", clock(eta)));
        }
        let open = view
            .escalations
            .iter()
            .filter(|question| question.answered.is_none())
            .count();
        if open > 0 {
            facts.push(crate::report::text::plural(open, "open question"));
        }
        facts.join(if self.style.unicode { " · " } else { ", " })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // A panic or an early return leaves a clean terminal too.
        if !self.cleared {
            self.clear();
        }
    }
}

fn template_or_default(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
