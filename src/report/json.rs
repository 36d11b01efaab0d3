//! `status --json`: one document, schema 1. Fields are only ever added.

use std::borrow::Cow;

use serde::Serialize;

use super::snapshot::{Presence, Snapshot};
use super::text::iso;
use crate::core::{ActorLine, EscalationLine, MergeLine, PhaseLine, RollbackLine, TeamLine};
use crate::ids::{Actor, Time};

/// The version of the document's shape.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    at: String,
    project: &'a str,
    run: Run<'a>,
    phases: Vec<Phase<'a>>,
    teams: Vec<Team<'a>>,
    agents: Vec<Worker<'a>>,
    leaders: Vec<Worker<'a>>,
    escalations: Vec<Escalation<'a>>,
    merges: Vec<Merge<'a>>,
    rollbacks: Vec<Rollback<'a>>,
    notes: Vec<Note<'a>>,
    discrepancies: &'a [String],
}

#[derive(Serialize)]
struct Run<'a> {
    /// `null` before the first run.
    id: Option<&'a str>,
    state: &'static str,
    started: Option<String>,
    spent_usd: f64,
    budget_usd: Option<f64>,
    eta: Option<String>,
    /// Whether a process works on it at this moment.
    alive: bool,
    /// Work was under way when its process vanished.
    interrupted: bool,
    reasons: &'a [String],
}

#[derive(Serialize)]
struct Phase<'a> {
    id: &'a str,
    name: &'a str,
    state: &'static str,
    waits_for: Vec<&'a str>,
}

#[derive(Serialize)]
struct Team<'a> {
    id: &'a str,
    name: &'a str,
    phase: &'a str,
    branch: &'a str,
    state: &'static str,
    tip: Option<&'a str>,
    merged: usize,
    agents: usize,
}

#[derive(Serialize)]
struct Worker<'a> {
    id: Cow<'a, str>,
    name: &'a str,
    team: &'a str,
    branch: &'a str,
    state: &'static str,
    attempts: u32,
    max_attempts: u32,
    alive: bool,
    last_activity: Option<String>,
    spent_usd: f64,
    tokens: u64,
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Escalation<'a> {
    id: u32,
    /// `1.2`, `leader-1`, or `null` when the engine asks.
    agent: Option<String>,
    question: &'a str,
    detail: &'a str,
    asked: String,
    answered: Option<String>,
    answer: Option<&'a str>,
}

#[derive(Serialize)]
struct Merge<'a> {
    id: u32,
    source: &'a str,
    target: &'a str,
    state: &'static str,
    commit: Option<&'a str>,
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Rollback<'a> {
    branch: &'a str,
    to: &'a str,
    state: &'static str,
    at: String,
    /// Where branches stood before; each is kept under `refs/orchestrate/undone/`.
    from: Vec<Stood<'a>>,
    /// Numbers of merges that are undone.
    undone: Vec<u32>,
    /// Who starts anew: `1.2`, `leader-1`.
    anew: Vec<String>,
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Stood<'a> {
    branch: &'a str,
    commit: &'a str,
}

#[derive(Serialize)]
struct Note<'a> {
    at: String,
    text: &'a str,
}

/// Writes the document, with a line feed at its end.
pub fn render(snapshot: &Snapshot) -> Result<String, serde_json::Error> {
    let view = &snapshot.view;
    let document = Document {
        schema: SCHEMA,
        at: iso(view.at),
        project: &snapshot.project,
        run: Run {
            id: (!view.run.id.is_empty()).then_some(view.run.id.as_str()),
            state: snapshot.run_word(),
            started: instant(view.run.started),
            spent_usd: view.run.spent.dollars(),
            budget_usd: view.run.budget.map(|budget| budget.dollars()),
            eta: if snapshot.is_interrupted() {
                None
            } else {
                instant(view.run.eta)
            },
            alive: matches!(snapshot.presence, Presence::Alive(_)),
            interrupted: snapshot.is_interrupted(),
            reasons: &view.run.reasons,
        },
        phases: view.phases.iter().map(phase).collect(),
        teams: view.teams.iter().map(team).collect(),
        agents: view.agents.iter().map(worker).collect(),
        leaders: view.leaders.iter().map(worker).collect(),
        escalations: view.escalations.iter().map(escalation).collect(),
        merges: view.merges.iter().map(merge).collect(),
        rollbacks: view.rollbacks.iter().map(rollback).collect(),
        notes: view
            .notes
            .iter()
            .map(|note| Note {
                at: iso(note.at),
                text: &note.text,
            })
            .collect(),
        discrepancies: &snapshot.discrepancies,
    };
    let mut text = serde_json::to_string_pretty(&document)?;
    text.push('\n');
    Ok(text)
}

fn instant(at: Option<Time>) -> Option<String> {
    at.map(iso)
}

fn phase(line: &PhaseLine) -> Phase<'_> {
    Phase {
        id: line.id.as_str(),
        name: &line.name,
        state: line.status.word(),
        waits_for: line.waits_for.iter().map(crate::ids::PhaseId::as_str).collect(),
    }
}

fn team(line: &TeamLine) -> Team<'_> {
    Team {
        id: line.id.as_str(),
        name: &line.name,
        phase: line.phase.as_str(),
        branch: line.branch.as_str(),
        state: line.status.word(),
        tip: line.tip.as_ref().map(crate::ids::Oid::as_str),
        merged: line.merged,
        agents: line.agents,
    }
}

fn worker(line: &ActorLine) -> Worker<'_> {
    Worker {
        id: match &line.actor {
            Actor::Agent(_) | Actor::Leader(_) => line.actor.id().into(),
            Actor::Resolver(_) => line.actor.slug().into(),
        },
        name: &line.name,
        team: line.team.as_str(),
        branch: line.branch.as_str(),
        state: line.status.word(),
        attempts: line.attempts,
        max_attempts: line.max_attempts,
        alive: line.alive,
        last_activity: instant(line.last_activity),
        spent_usd: line.spent.dollars(),
        tokens: line.tokens,
        reason: line.reason.as_deref(),
    }
}

fn escalation(line: &EscalationLine) -> Escalation<'_> {
    Escalation {
        id: line.id.0,
        agent: line.actor.as_ref().map(crate::ids::Actor::slug),
        question: &line.question,
        detail: &line.detail,
        asked: iso(line.asked),
        answered: instant(line.answered),
        answer: line.answer.as_deref(),
    }
}

fn merge(line: &MergeLine) -> Merge<'_> {
    Merge {
        id: line.id.0,
        source: line.source.as_str(),
        target: line.target.as_str(),
        state: line.status.word(),
        commit: line.commit.as_ref().map(crate::ids::Oid::as_str),
        reason: line.reason.as_deref(),
    }
}

fn rollback(line: &RollbackLine) -> Rollback<'_> {
    Rollback {
        branch: line.branch.as_str(),
        to: line.to.as_str(),
        state: line.status.word(),
        at: iso(line.at),
        from: line
            .from
            .iter()
            .map(|(branch, commit)| Stood {
                branch: branch.as_str(),
                commit: commit.as_str(),
            })
            .collect(),
        undone: line.undone.iter().map(|merge_id| merge_id.0).collect(),
        anew: line.anew.iter().map(crate::ids::Actor::slug).collect(),
        reason: line.reason.as_deref(),
    }
}
