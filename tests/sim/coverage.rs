//! Which event was met in which state: what a simulation has seen, and what it has never come to.

use std::collections::BTreeMap;

use orchestrate::core::event::Event;
use orchestrate::core::{self, MergeState, Process, State, Work};
use orchestrate::ids::Actor;

use crate::world::World;

const PROCESSES: &[&str] = &["nobody", "no process", "starting", "live", "stopping"];
const WORKS: &[&str] = &[
    "nobody",
    "waiting",
    "branching",
    "building",
    "escalated",
    "complete",
    "merged",
    "failed",
];
const MERGES: &[&str] = &[
    "no merge",
    "queued",
    "preparing",
    "prepared",
    "gating",
    "passed",
    "landing",
    "merged",
    "conflict",
    "rejected",
];
const QUESTIONS: &[&str] = &["no question", "answered", "open, of a merge", "open, of an actor"];
const MODES: &[&str] = &["not started", "running", "stopping", "ended"];

/// Every kind of event, and the states in which it could be met.
const EVENTS: &[(&str, &[&str])] = &[
    ("AgentExited", PROCESSES),
    ("AgentProgressed", PROCESSES),
    ("AgentStarted", PROCESSES),
    ("BranchCreated", MODES),
    ("BranchMoved", MODES),
    ("CommitsSeen", WORKS),
    ("DeadlineReached", MODES),
    ("DecisionWritten", MODES),
    ("EffectFailed", MODES),
    ("EscalationAnswered", QUESTIONS),
    ("GateFinished", MERGES),
    ("LandingApproved", MODES),
    ("LandingRefused", MERGES),
    ("LandingRejected", MODES),
    ("MachineSlept", MODES),
    ("MergeLanded", MERGES),
    ("MergePrepared", MERGES),
    ("PauseRequested", MODES),
    ("ResolutionChecked", MERGES),
    ("ResumeRequested", MODES),
    ("RetryRequested", WORKS),
    ("RollbackRefused", MODES),
    ("RollbackRequested", MODES),
    ("RolledBack", MODES),
    ("RunResumed", MODES),
    ("RunStarted", MODES),
    ("LookedBack", MERGES),
    ("Speculated", MERGES),
    ("StopRequested", MODES),
];

/// Why the world never brings an event into a state: for these events (none: all) and these states.
const NEVER: &[(&[&str], &[&str], &str)] = &[
    (&[], &["not started"], "a journal begins with RunStarted"),
    (
        &["RunStarted"],
        &["running", "stopping", "ended"],
        "a journal has one beginning",
    ),
    (
        &[],
        &["nobody"],
        "the shell speaks of actors of the plan, and the commands refuse other names",
    ),
    (&[], &["no merge"], "the core numbers merges, and forgets none"),
    (
        &["MergePrepared", "MergeLanded", "LandingRefused"],
        &[
            "queued",
            "preparing",
            "prepared",
            "gating",
            "passed",
            "landing",
            "merged",
            "conflict",
            "rejected",
        ],
        "an effect is answered once, to the process that asked, and the merge waits for it; a process that dies takes its answer along",
    ),
    (
        &["ResolutionChecked", "Speculated"],
        &[
            "queued",
            "preparing",
            "prepared",
            "gating",
            "passed",
            "landing",
            "merged",
            "conflict",
            "rejected",
        ],
        "looking takes milliseconds, in which few merges get so far",
    ),
    (
        &["LookedBack"],
        &[
            "queued",
            "preparing",
            "prepared",
            "gating",
            "passed",
            "landing",
            "merged",
            "conflict",
        ],
        "it is about a merge that was turned down, and such a merge is begun anew by a human's word only, minutes later",
    ),
    (
        &["GateFinished"],
        &["landing", "conflict"],
        "a tree's first word decides; what another run of its gate says has come before the landing, or is about an older tree",
    ),
    (
        &[
            "BranchCreated",
            "DeadlineReached",
            "DecisionWritten",
            "EffectFailed",
            "MachineSlept",
            "RollbackRefused",
            "RolledBack",
        ],
        &["stopping", "ended"],
        "nobody works for a run that has ended, and one that stops ends at once unless a gate or a landing is awaited",
    ),
    (
        &["LandingApproved"],
        &["stopping"],
        "a run that stops is gone within a second or so, and a human says yes a few times in a night",
    ),
    (
        &["StopRequested"],
        &["ended"],
        "`stop` refuses when no run lives, and a new run forgets what was asked of the one before",
    ),
];

/// What was never met, each with the reason; `None`: nobody knows why.
pub(crate) fn unreached(
    coverage: &BTreeMap<(&'static str, &'static str), u64>,
) -> impl Iterator<Item = (&'static str, &'static str, Option<&'static str>)> {
    let cells = EVENTS
        .iter()
        .flat_map(|(event, labels)| labels.iter().map(move |label| (*event, *label)));
    cells.filter(|cell| !coverage.contains_key(cell)).map(|(event, label)| {
        let reason = NEVER
            .iter()
            .find(|(events, labels, _)| (events.is_empty() || events.contains(&event)) && labels.contains(&label));
        (event, label, reason.map(|(_, _, why)| *why))
    })
}

impl World {
    /// Counts in which state which event was met.
    pub(crate) fn cover(&mut self, event: &Event) {
        let cell = (name_of(event), label_of(&self.state, event));
        *self.report.coverage.entry(cell).or_default() += 1;
    }
}

fn name_of(event: &Event) -> &'static str {
    match event {
        Event::RunStarted { .. } => "RunStarted",
        Event::RunResumed { .. } => "RunResumed",
        Event::BranchCreated { .. } => "BranchCreated",
        Event::AgentStarted { .. } => "AgentStarted",
        Event::AgentProgressed { .. } => "AgentProgressed",
        Event::AgentExited { .. } => "AgentExited",
        Event::CommitsSeen { .. } => "CommitsSeen",
        Event::BranchMoved { .. } => "BranchMoved",
        Event::MergePrepared { .. } => "MergePrepared",
        Event::ResolutionChecked { .. } => "ResolutionChecked",
        Event::Speculated { .. } => "Speculated",
        Event::LookedBack { .. } => "LookedBack",
        Event::GateFinished { .. } => "GateFinished",
        Event::MergeLanded { .. } => "MergeLanded",
        Event::LandingRefused { .. } => "LandingRefused",
        Event::EffectFailed { .. } => "EffectFailed",
        Event::StopRequested { .. } => "StopRequested",
        Event::EscalationAnswered { .. } => "EscalationAnswered",
        Event::LandingApproved { .. } => "LandingApproved",
        Event::LandingRejected { .. } => "LandingRejected",
        Event::PauseRequested => "PauseRequested",
        Event::ResumeRequested => "ResumeRequested",
        Event::RetryRequested { .. } => "RetryRequested",
        Event::RollbackRequested { .. } => "RollbackRequested",
        Event::RolledBack { .. } => "RolledBack",
        Event::RollbackRefused { .. } => "RollbackRefused",
        Event::DecisionWritten { .. } => "DecisionWritten",
        Event::MachineSlept { .. } => "MachineSlept",
        Event::DeadlineReached => "DeadlineReached",
    }
}

/// The state of whomever an event is about.
fn label_of(state: &State, event: &Event) -> &'static str {
    match event {
        Event::AgentStarted { actor, .. } | Event::AgentProgressed { actor, .. } | Event::AgentExited { actor, .. } => {
            process_label(state, actor)
        }
        Event::CommitsSeen { actor, .. } | Event::RetryRequested { actor, .. } => work_label(state, actor),
        Event::MergePrepared { merge_id, .. }
        | Event::ResolutionChecked { merge_id, .. }
        | Event::Speculated { merge_id, .. }
        | Event::LookedBack { merge_id, .. }
        | Event::GateFinished { merge_id, .. }
        | Event::MergeLanded { merge_id, .. }
        | Event::LandingRefused { merge_id, .. } => match state.merges.get(merge_id).map(|merge| &merge.state) {
            None => "no merge",
            Some(MergeState::Queued) => "queued",
            Some(MergeState::Preparing) => "preparing",
            Some(MergeState::Prepared { .. }) => "prepared",
            Some(MergeState::Gating { .. }) => "gating",
            Some(MergeState::Passed { .. }) => "passed",
            Some(MergeState::Landing { .. }) => "landing",
            Some(MergeState::Merged { .. }) => "merged",
            Some(MergeState::Conflict { .. }) => "conflict",
            Some(MergeState::Rejected { .. }) => "rejected",
        },
        Event::EscalationAnswered { escalation_id, .. } => match state.escalations.get(escalation_id) {
            None => "no question",
            Some(escalation) if escalation.answered.is_some() => "answered",
            Some(escalation) if escalation.merge.is_some() => "open, of a merge",
            Some(_) => "open, of an actor",
        },
        _ => match state.mode {
            core::Mode::NotStarted => "not started",
            core::Mode::Running => "running",
            core::Mode::Stopping { .. } => "stopping",
            core::Mode::Ended(_) => "ended",
        },
    }
}

fn work_label(state: &State, actor: &Actor) -> &'static str {
    match state.actors.get(actor).map(|actor| &actor.work) {
        None => "nobody",
        Some(Work::Waiting) => "waiting",
        Some(Work::Branching) => "branching",
        Some(Work::Building) => "building",
        Some(Work::Escalated(_)) => "escalated",
        Some(Work::Complete { .. }) => "complete",
        Some(Work::Merged { .. }) => "merged",
        Some(Work::Failed { .. }) => "failed",
    }
}

fn process_label(state: &State, actor: &Actor) -> &'static str {
    match state.actors.get(actor).map(|actor| &actor.process) {
        None => "nobody",
        Some(Process::None) => "no process",
        Some(Process::Starting { .. }) => "starting",
        Some(Process::Live { .. }) => "live",
        Some(Process::Stopping { .. }) => "stopping",
    }
}
