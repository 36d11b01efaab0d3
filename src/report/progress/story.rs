//! Which events are worth a line of the story, in the words of what they meant for the run.

use std::collections::BTreeMap;

use crate::core::command::Task;
use crate::core::event::{AgentExit, Event, MergeKind};
use crate::core::{Breaker, Merge, Note, State, Work};
use crate::ids::{Actor, EscalationId, MergeId};
use crate::report::event_text::{EventLine, Weight, describe, short};
use crate::report::style::{Style, Tone};
use crate::report::text::{clock, one_line, plural};

/// What was told already.
#[derive(Debug, Default)]
pub(super) struct Story {
    /// Commits seen on each actor's branch.
    commits: BTreeMap<Actor, usize>,
    /// Actors whose completion was told.
    complete: BTreeMap<Actor, bool>,
    /// The newest question that was told.
    question: Option<EscalationId>,
    /// The newest oddity that was told.
    note: Option<Note>,
    breaker: Breaker,
}

impl Story {
    /// The lines that an event is worth, once it is folded into `state`.
    pub(super) fn tell(&mut self, state: &State, event: &Event, style: Style) -> Vec<EventLine> {
        let mut lines = Vec::new();
        match event {
            Event::CommitsSeen {
                actor,
                rewritten,
                commits,
                ..
            } => {
                let count = self.commits.entry(actor.clone()).or_default();
                *count = if *rewritten {
                    commits.len()
                } else {
                    *count + commits.len()
                };
                let count = *count;
                if self.has_become_complete(state, actor) {
                    lines.push(completion(state, actor, count));
                } else if !self.asks_something_new(state, actor) {
                    lines.push(described(state, event, style));
                }
            }
            Event::AgentExited { actor, exit, .. } => {
                let done = state.actors.get(actor).is_none_or(|actor| actor.work != Work::Building);
                // The end of a session whose work is done, or which was told to end, is no news.
                if !(done && matches!(exit, AgentExit::Finished | AgentExit::Stopped)) {
                    lines.push(with_consequence(state, actor, described(state, event, style)));
                }
            }
            Event::MergeLanded { merge_id, commit } => match state.merges.get(merge_id) {
                Some(merge) => lines.push(landing(merge, &short(commit))),
                None => lines.push(described(state, event, style)),
            },
            Event::RunStarted { .. }
            | Event::RunResumed { .. }
            | Event::BranchCreated { .. }
            | Event::AgentStarted { .. }
            | Event::AgentProgressed { .. }
            | Event::BranchMoved { .. }
            | Event::MergePrepared { .. }
            | Event::Speculated { .. }
            | Event::LookedBack { .. }
            | Event::ResolutionChecked { .. }
            | Event::GateFinished { .. }
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
            | Event::DeadlineReached => lines.push(described(state, event, style)),
        }
        lines.retain(|line| line.weight > Weight::Routine);
        self.questions(state, &mut lines);
        self.breaker(state, &mut lines);
        self.notes(state, &mut lines);
        lines
    }

    fn has_become_complete(&mut self, state: &State, actor: &Actor) -> bool {
        let complete = state
            .actors
            .get(actor)
            .is_some_and(|actor| matches!(actor.work, Work::Complete { .. }));
        let told = self.complete.insert(actor.clone(), complete).unwrap_or_default();
        complete && !told
    }

    /// Whether the actor has a question that is about to be told with the command that answers it.
    fn asks_something_new(&self, state: &State, actor: &Actor) -> bool {
        state
            .escalations
            .iter()
            .any(|(id, question)| Some(*id) > self.question && question.actor.as_ref() == Some(actor))
    }

    fn questions(&mut self, state: &State, lines: &mut Vec<EventLine>) {
        for (id, question) in &state.escalations {
            if Some(*id) <= self.question {
                continue;
            }
            self.question = Some(*id);
            let who = question
                .actor
                .as_ref()
                .map_or_else(|| "the run".to_owned(), ToString::to_string);
            let text = format!(
                "question {} of {who}: {} (`orchestrate answer {} \"...\"`)",
                id.0, question.question, id.0
            );
            lines.push(alert(Tone::Warning, &text));
        }
    }

    fn breaker(&mut self, state: &State, lines: &mut Vec<EventLine>) {
        if self.breaker == state.breaker {
            return;
        }
        match &state.breaker {
            Breaker::Closed => lines.push(alert(Tone::Good, "work goes on")),
            Breaker::Paused { until, .. } => {
                lines.push(alert(
                    Tone::Warning,
                    &format!("nothing new is started until {}", clock(*until)),
                ));
            }
            Breaker::Probing { .. } => {
                lines.push(alert(
                    Tone::Warning,
                    "one agent finds out whether the vendor serves again",
                ));
            }
            Breaker::Open { reason } => {
                lines.push(alert(Tone::Bad, &format!("the fleet is stopped: {reason}")));
            }
        }
        self.breaker = state.breaker.clone();
    }

    fn notes(&mut self, state: &State, lines: &mut Vec<EventLine>) {
        let told = self
            .note
            .as_ref()
            .and_then(|told| state.notes.iter().rposition(|note| note == told))
            .map_or(0, |position| position + 1);
        for note in state.notes.iter().skip(told) {
            lines.push(alert(Tone::Warning, &format!("note: {}", note.text)));
        }
        self.note = state.notes.back().cloned();
    }
}

fn alert(tone: Tone, text: &str) -> EventLine {
    EventLine {
        text: one_line(text),
        weight: Weight::Alert,
        tone,
    }
}

fn described(state: &State, event: &Event, style: Style) -> EventLine {
    let merge_name = |merge_id: MergeId| {
        state
            .merges
            .get(&merge_id)
            .map(|merge| format!("{} {} {}", merge.source_branch, style.arrow(), merge.target))
    };
    describe(event, &merge_name, style)
}

fn completion(state: &State, actor: &Actor, commits: usize) -> EventLine {
    let target = state
        .plan
        .as_ref()
        .and_then(|plan| plan.team_of(actor))
        .map(|team| format!(", merging into {}", team.branch))
        .unwrap_or_default();
    EventLine {
        text: one_line(&format!("{actor} complete ({}){target}", plural(commits, "commit"))),
        weight: Weight::Notable,
        tone: Tone::Good,
    }
}

fn landing(merge: &Merge, commit: &str) -> EventLine {
    let text = match &merge.kind {
        MergeKind::Agent(agent_id) => format!("agent {agent_id} merged into {} as {commit}", merge.target),
        MergeKind::Integration(team_id) => format!("team {team_id} integrated on {} as {commit}", merge.target),
        MergeKind::Decision { team_id, escalation_id } => format!(
            "the answer to question {} is on the branch of team {team_id} as {commit}",
            escalation_id.0
        ),
        MergeKind::Sync(team_id) => format!("team {team_id} took over {} as {commit}", merge.source_branch),
        MergeKind::Landing(team_id) => format!("team {team_id} landed on {} as {commit}", merge.target),
    };
    EventLine {
        text: one_line(&text),
        weight: Weight::Notable,
        tone: Tone::Good,
    }
}

/// Adds what follows from the end of an attempt.
fn with_consequence(state: &State, actor: &Actor, mut line: EventLine) -> EventLine {
    let Some(actor_state) = state.actors.get(actor) else {
        return line;
    };
    match (&actor_state.work, &actor_state.next) {
        (Work::Escalated(_), _) if actor_state.strikes > 0 => line.text.push_str("; you are asked"),
        (Work::Failed { .. }, _) => line.text.push_str("; it is given up"),
        (_, Some(Task::Retry { .. })) => line.text.push_str("; it is tried again"),
        (_, Some(Task::Nudge { .. })) => line.text.push_str("; it is told to go on"),
        (_, Some(Task::Continue)) => line.text.push_str("; it goes on later"),
        (_, Some(Task::Work | Task::Resolve | Task::Answer { .. }) | None) => {}
    }
    line
}
