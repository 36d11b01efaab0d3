//! What `run` shows while it works: on a terminal a few live lines below the story so far, elsewhere the story alone, line by line. All on standard error.
//!
//! It is fed by the run's loop and never asks back. Whatever goes wrong with the terminal is none of the run's business and is ignored.

mod live;
mod story;

use std::io::Write as _;

use indicatif::ProgressDrawTarget;

use self::live::Live;
use self::story::Story;
use super::event_text::EventLine;
use super::style::{Mark, Style, Tone};
use super::text::{clock, duration, one_line, plural};
use crate::core::command::RunOutcome;
use crate::core::event::Event;
use crate::core::{MergeStatus, State, TeamStatus, View};
use crate::ids::Time;

/// Where the progress goes.
enum Output {
    /// Live lines, and the story above them.
    Live(Live),
    /// The story, to standard error.
    Lines,
    /// The story, to whoever keeps it.
    Kept(Box<dyn FnMut(&str) + Send>),
}

/// The progress of a run.
pub struct Progress {
    style: Style,
    output: Output,
    story: Story,
}

impl Progress {
    /// Progress on standard error, live where that is a terminal.
    pub fn for_stderr() -> Self {
        let style = Style::of(&std::io::stderr());
        let output = if style.live {
            Output::Live(Live::new(ProgressDrawTarget::stderr(), style))
        } else {
            Output::Lines
        };
        Self {
            style,
            output,
            story: Story::default(),
        }
    }

    /// Live progress on this target.
    pub fn on(target: ProgressDrawTarget, style: Style) -> Self {
        Self {
            style,
            output: Output::Live(Live::new(target, style)),
            story: Story::default(),
        }
    }

    /// The story alone, given to `keep` line by line.
    pub fn kept(style: Style, keep: impl FnMut(&str) + Send + 'static) -> Self {
        Self {
            style,
            output: Output::Kept(Box::new(keep)),
            story: Story::default(),
        }
    }

    /// Whether somebody looks at live lines, so that calling [`Progress::view`] from time to time is worth it.
    pub fn is_live(&self) -> bool {
        match self.output {
            Output::Live(_) => true,
            Output::Lines | Output::Kept(_) => false,
        }
    }

    /// Tells an event that was just folded into `state`.
    pub fn event(&mut self, state: &State, at: Time, event: &Event) {
        for line in self.story.tell(state, event, self.style) {
            self.say(at, &line);
        }
        if let Output::Live(live) = &mut self.output {
            live.remember(state, at, event);
        }
    }

    /// Draws the live lines; call it once or twice a second, and after a burst of events.
    pub fn view(&mut self, view: &View) {
        if let Output::Live(live) = &mut self.output {
            live.draw(view);
        }
    }

    /// Takes the live lines away and says how the run ended, and what to do next.
    pub fn finish(&mut self, outcome: &RunOutcome, view: &View) {
        if let Output::Live(live) = &mut self.output {
            live.clear();
        }
        for line in summary(outcome, view) {
            self.say(view.at, &line);
        }
    }

    fn say(&mut self, at: Time, line: &EventLine) {
        let mark = match line.tone {
            Tone::Bad => self.style.glyph(Mark::Failed),
            Tone::Warning => self.style.glyph(Mark::Warning),
            Tone::Good => self.style.glyph(Mark::Done),
            Tone::Normal | Tone::Faint | Tone::Strong | Tone::Active => " ",
        };
        let clock = self.style.paint(Tone::Faint, &clock(at));
        let text = self.style.paint(line.tone, &format!("{mark} {}", line.text));
        let line = format!("{clock} {text}");
        match &mut self.output {
            Output::Live(live) => live.print(&line),
            Output::Lines => {
                let _ = writeln!(std::io::stderr().lock(), "{line}");
            }
            Output::Kept(keep) => keep(&line),
        }
    }
}

/// How a run ended, in a few lines.
fn summary(outcome: &RunOutcome, view: &View) -> Vec<EventLine> {
    let line = |tone: Tone, text: String| EventLine {
        text: one_line(&text),
        weight: super::event_text::Weight::Alert,
        tone,
    };
    let merged = view
        .merges
        .iter()
        .filter(|merge| merge.status == MergeStatus::Merged)
        .count();
    let landed = view
        .teams
        .iter()
        .filter(|team| team.status == TeamStatus::Landed)
        .count();
    let alive: Vec<String> = view
        .agents
        .iter()
        .chain(&view.leaders)
        .filter(|line| line.alive)
        .map(|line| line.actor.to_string())
        .collect();
    let elapsed = view
        .run
        .started
        .map(|started| duration(view.at.since(started)))
        .unwrap_or_default();
    let facts = format!(
        "{} on main, {}, spent {}, {elapsed}",
        plural(landed, "team"),
        plural(merged, "merge"),
        view.run.spent
    );
    match outcome {
        RunOutcome::Complete => vec![line(Tone::Good, format!("run complete: {facts}"))],
        RunOutcome::Waiting { reasons } => std::iter::once(line(Tone::Warning, format!("waiting for you: {facts}")))
            .chain(reasons.iter().map(|reason| line(Tone::Warning, reason.clone())))
            .chain([line(Tone::Normal, "then `orchestrate run` goes on".to_owned())])
            .collect(),
        RunOutcome::Failed { reasons } => std::iter::once(line(Tone::Bad, format!("run failed: {facts}")))
            .chain(reasons.iter().map(|reason| line(Tone::Bad, reason.clone())))
            .chain([line(
                Tone::Normal,
                "`orchestrate status` shows where everything stands; `orchestrate run` tries again".to_owned(),
            )])
            .collect(),
        RunOutcome::Stopped => {
            let living = if alive.is_empty() {
                String::new()
            } else {
                format!("; still at work: {}", alive.join(", "))
            };
            vec![
                line(Tone::Warning, format!("stopped: {facts}{living}")),
                line(Tone::Normal, "`orchestrate run` goes on".to_owned()),
            ]
        }
    }
}
