//! `apply`: the one function that changes the state. First the event is folded in, then whatever follows is decided.

use std::sync::Arc;
use std::time::Duration;

use crate::core::command::{Command, Task};
use crate::core::decide::decide;
use crate::core::event::{CommitFact, EffectKey, Event, MergeKind};
use crate::core::state::{Breaker, Merge, MergeState, Mode, Process, State, TeamBranch, Trouble, Work};
use crate::core::{anew, attempts, conflicts, decisions, merges, outcome, ranks, rollback, speculate, stall};
use crate::ids::{Actor, BranchName, EscalationId, MergeId, Oid, TeamId, Time};
use crate::plan::Plan;
use crate::tags::{self, Tag};

/// How often an effect is tried before it is given up.
const EFFECT_FAILURES_MAX: u32 = 3;

/// Folds an event into the state and says what is to be done.
///
/// Total: every event is legal in every state; an odd one is ignored and noted. The same events in the same order give the same state and the same commands,
/// so a replay drops the commands and has lost nothing.
pub fn apply(state: &mut State, at: Time, event: &Event) -> Vec<Command> {
    // A clock that jumps back must not make deadlines run again.
    state.now = state.now.max(at);
    fold(state, event);
    let mut commands = Vec::new();
    decide(state, &mut commands);
    commands
}

fn fold(state: &mut State, event: &Event) {
    if let Event::RunStarted {
        run_id,
        plan,
        only_teams,
        rules,
    } = event
    {
        if state.mode == Mode::NotStarted {
            state.rules = *rules;
            start(state, run_id, plan, only_teams);
        } else {
            state.note("a second start of the run was ignored");
        }
        return;
    }
    if state.mode == Mode::NotStarted {
        return;
    }
    match event {
        Event::RunStarted { .. } => {}
        Event::RunResumed {
            plan,
            only_teams,
            rules,
        } => {
            state.rules = *rules;
            resume(state, plan.as_deref(), only_teams);
        }
        Event::BranchCreated { branch, tip } => branch_created(state, branch, tip),
        Event::AgentStarted { actor, attempt } => attempts::agent_started(state, actor, *attempt),
        Event::AgentProgressed {
            actor,
            attempt,
            usage,
            session,
        } => {
            attempts::agent_progressed(state, actor, *attempt, *usage, session.as_deref());
        }
        Event::AgentExited {
            actor,
            attempt,
            usage,
            session,
            exit,
        } => {
            attempts::agent_exited(state, actor, *attempt, *usage, session.as_deref(), exit);
        }
        Event::CommitsSeen {
            actor,
            from,
            tip,
            rewritten,
            commits,
        } => commits_seen(state, actor, from, tip, *rewritten, commits),
        Event::BranchMoved { branch, tip, forward } => branch_moved(state, branch, tip, *forward),
        Event::MergePrepared { merge_id, outcome } => merges::prepared(state, *merge_id, outcome),
        Event::ResolutionChecked {
            merge_id,
            commit,
            faults,
            vanished,
        } => conflicts::checked(state, *merge_id, commit, faults, vanished),
        Event::Speculated {
            merge_id,
            ahead,
            source,
            found,
        } => {
            let found = found.as_ref().map(|(tree, onto)| (tree, onto));
            speculate::prepared(state, *merge_id, ahead, source, found);
        }
        Event::GateFinished {
            merge_id,
            tree,
            outcome,
            duration_ms,
        } => {
            merges::gate_finished(state, *merge_id, tree, outcome, *duration_ms);
        }
        Event::MergeLanded { merge_id, commit } => merges::landed(state, *merge_id, commit),
        Event::LandingRefused { merge_id, refusal } => merges::landing_refused(state, *merge_id, refusal),
        Event::EffectFailed {
            effect,
            error,
            retriable,
        } => match effect {
            EffectKey::Gate(merge_id, tree) => {
                if speculate::gate_failed(state, *merge_id, tree) {
                    effect_failed(state, &EffectKey::Merge(*merge_id), error, *retriable);
                }
            }
            EffectKey::Ahead(merge_id) => speculate::failed(state, *merge_id),
            EffectKey::ActorBranch(_)
            | EffectKey::TeamBranch(_)
            | EffectKey::Start(_)
            | EffectKey::Merge(_)
            | EffectKey::Rollback(_)
            | EffectKey::Decision(_) => {
                effect_failed(state, effect, error, *retriable);
            }
        },
        Event::StopRequested { now } => stop_requested(state, *now),
        Event::EscalationAnswered { escalation_id, answer } => escalation_answered(state, *escalation_id, answer),
        Event::LandingApproved { team_id } => landing_approved(state, team_id),
        Event::LandingRejected { team_id, reason } => landing_rejected(state, team_id, reason),
        Event::PauseRequested => state.paused = true,
        Event::ResumeRequested => state.paused = false,
        Event::RetryRequested { actor, fresh: false } => retry_requested(state, actor),
        Event::RetryRequested { actor, fresh: true } => anew::asked_for(state, actor),
        Event::RollbackRequested { branch, to, cascade } => rollback::requested(state, branch, to, *cascade),
        Event::RolledBack {
            branch,
            to,
            moves,
            undone,
            tainted,
        } => rollback::done(state, branch, to, moves, undone, tainted),
        Event::RollbackRefused { branch, reason } => rollback::refused(state, branch, reason),
        Event::DecisionWritten { escalation_id, commit } => decisions::written(state, *escalation_id, commit),
        Event::MachineSlept { duration_ms } => stall::machine_slept(state, Duration::from_millis(*duration_ms)),
        Event::DeadlineReached => {
            if let Breaker::Paused { until, .. } = state.breaker
                && until <= state.now
            {
                state.breaker = match state.breaker {
                    Breaker::Paused { kind, .. } if state.rules > 0 => Breaker::Probing { actor: None, kind },
                    Breaker::Paused { .. } | Breaker::Probing { .. } | Breaker::Closed | Breaker::Open { .. } => {
                        Breaker::Closed
                    }
                };
                // Whoever was silent while the vendor held everybody back gets its whole time again.
                for actor in state.actors.values_mut().filter(|actor| actor.process.exists()) {
                    actor.last_sign = state.now;
                }
            }
        }
    }
}

fn start(state: &mut State, run_id: &str, plan: &Plan, only_teams: &[TeamId]) {
    state.run_id = run_id.to_owned();
    state.started = state.now;
    state.mode = Mode::Running;
    state.only_teams = only_teams.iter().cloned().collect();
    adopt_plan(state, plan);
}

fn adopt_plan(state: &mut State, plan: &Plan) {
    for team in plan.teams() {
        state.teams.entry(team.id.clone()).or_default();
        state.actors.entry(Actor::Leader(team.id.clone())).or_default();
        state.actors.entry(Actor::Resolver(team.id.clone())).or_default();
        for agent in &team.agents {
            state.actors.entry(Actor::Agent(agent.id.clone())).or_default();
        }
    }
    state.ranks = ranks::ranks(plan);
    state.process_peak_allowed = state.process_count();
    state.plan = Some(Arc::new(plan.clone()));
}

/// Whatever was under way in the process before is unknown: it goes back to the step before, and is commanded again.
fn resume(state: &mut State, plan: Option<&Plan>, only_teams: &[TeamId]) {
    state.only_teams = only_teams.iter().cloned().collect();
    if let Some(plan) = plan {
        adopt_plan(state, plan);
    }
    state.mode = Mode::Running;
    state.breaker = Breaker::Closed;
    state.refusals = 0;
    state.failures.clear();
    state.troubles.clear();
    state.speculations.clear();
    state.gate_runs.clear();
    for team in state.teams.values_mut() {
        if team.branch == TeamBranch::Requested {
            team.branch = TeamBranch::Absent;
        }
    }
    for (name, actor) in &mut state.actors {
        if actor.work == Work::Branching {
            actor.work = Work::Waiting;
        }
        if let (Actor::Resolver(_), Work::Complete { merge, .. }) = (name, &mut actor.work) {
            *merge = None;
        }
        // Alive or not, it is asked for again: the shell adopts it, or reports its end.
        if let Some(attempt) = actor.process.attempt() {
            actor.process = Process::Starting { attempt };
            actor.last_sign = state.now;
        }
        actor.not_before = Time(0);
    }
    for (merge_id, merge) in &mut state.merges {
        merge.not_before = Time(0);
        merge.blocked = None;
        if matches!(merge.state, MergeState::Landing { .. }) {
            state.unheard.insert(*merge_id);
        }
        merge.state = match merge.state.clone() {
            MergeState::Preparing => MergeState::Queued,
            // What had passed is looked up again: the plan may have another gate now.
            MergeState::Gating { tree, onto }
            | MergeState::Passed { tree, onto }
            | MergeState::Landing { tree, onto } => MergeState::Prepared { tree, onto },
            other => other,
        };
    }
    if let Some(rollback) = &mut state.rollback {
        rollback.commanded = false;
    }
    decisions::resumed(state);
    state.relaunch = true;
}

fn branch_created(state: &mut State, branch: &BranchName, tip: &Oid) {
    let Some(plan) = state.plan.clone() else {
        return;
    };
    if let Some(team) = plan.teams().find(|team| &team.branch == branch) {
        state.troubles.remove(&EffectKey::TeamBranch(team.id.clone()));
        if let Some(team_state) = state.teams.get_mut(&team.id)
            && team_state.branch == TeamBranch::Requested
        {
            team_state.branch = TeamBranch::Ready;
            team_state.tip = Some(tip.clone());
            team_state.begun = Some(tip.clone());
            return;
        }
    } else if let Some(actor) = plan.actor_on(branch) {
        state.troubles.remove(&EffectKey::ActorBranch(actor.clone()));
        if let Some(actor_state) = state.actors.get_mut(&actor)
            && actor_state.work == Work::Branching
        {
            actor_state.work = Work::Building;
            actor_state.fresh = false;
            actor_state.tip = Some(tip.clone());
            actor_state.since = Some(tip.clone());
            return;
        }
    }
    state.note(format!(
        "branch `{branch}` was reported as created although nobody waits for it"
    ));
}

/// What the commits of one event say, the newest word counting.
enum Word {
    Complete(Oid),
    Question { question: String, detail: String },
}

fn commits_seen(state: &mut State, actor: &Actor, from: &Oid, tip: &Oid, rewritten: bool, commits: &[CommitFact]) {
    let Some(plan) = state.plan.clone() else {
        return;
    };
    let now = state.now;
    let Some(actor_state) = state.actors.get(actor) else {
        return;
    };
    if actor_state.tip.as_ref() == Some(tip) {
        return;
    }
    if actor_state.tip.as_ref() != Some(from) {
        state.note(format!("{actor}: a report of commits came late and was ignored"));
        return;
    }
    if rollback::is_undone(state, tip) {
        state.note(format!(
            "{actor}: its branch is at `{tip}`, which was undone; that is not taken"
        ));
        return;
    }
    let Some(actor_state) = state.actors.get_mut(actor) else {
        return;
    };
    actor_state.tip = Some(tip.clone());
    actor_state.last_commit = Some(now);
    actor_state.silence.broken();
    actor_state.last_sign = now;
    let word = read_commits(state, &plan, actor, commits);
    if rewritten {
        state.note(format!(
            "{actor} rewrote the history of its branch; the old tip is kept under refs/orchestrate/kept/"
        ));
    }
    let Some(actor_state) = state.actors.get(actor) else {
        return;
    };
    match (&actor_state.work, word) {
        (Work::Merged { .. }, _) => state.note(format!(
            "{actor} committed after it was merged; these commits stay on its branch"
        )),
        (Work::Waiting | Work::Branching, _) => {
            state.note(format!(
                "commits appeared on the branch of {actor} before it was started"
            ));
        }
        // What is being looked at has grown: it is looked at again.
        (Work::Complete { commit, .. }, word) if matches!(actor, Actor::Resolver(_)) => {
            let commit = match word {
                Some(Word::Complete(newer)) => newer,
                Some(Word::Question { .. }) | None => commit.clone(),
            };
            if let Some(actor_state) = state.actors.get_mut(actor) {
                actor_state.work = Work::Complete { commit, merge: None };
            }
        }
        (Work::Complete { merge, .. }, word) => completed_again(state, actor, *merge, rewritten, tip.clone(), word),
        (Work::Building | Work::Escalated(_) | Work::Failed { .. }, Some(Word::Complete(commit))) => {
            completed(state, actor, commit);
        }
        // A question whose commit was made again with another name is the same question.
        (Work::Building, Some(Word::Question { question, detail }))
            if rewritten && was_asked(state, actor, &question, &detail) =>
        {
            state.note(format!(
                "{actor} rewrote the commit with its question; it was asked already"
            ));
        }
        (Work::Building, Some(Word::Question { question, detail })) => {
            let escalation_id = state.escalate(Some(actor.clone()), None, question, detail);
            if let Some(actor_state) = state.actors.get_mut(actor) {
                actor_state.work = Work::Escalated(escalation_id);
                // An earlier answer that no attempt has read yet is still to be told.
                if !matches!(actor_state.next, Some(Task::Answer { .. })) {
                    actor_state.next = None;
                }
            }
            mark_finishing(state, actor);
        }
        (Work::Escalated(_) | Work::Failed { .. }, Some(Word::Question { .. })) => {
            state.note(format!("{actor} asked again while it waits; answer its first question"));
        }
        (Work::Building | Work::Escalated(_) | Work::Failed { .. }, None) => {}
    }
}

fn was_asked(state: &State, actor: &Actor, question: &str, detail: &str) -> bool {
    state.escalations.values().any(|escalation| {
        escalation.actor.as_ref() == Some(actor) && escalation.question == question && escalation.detail == detail
    })
}

fn was_asked_by_anyone(state: &State, question: &str, detail: &str) -> bool {
    state
        .escalations
        .values()
        .any(|escalation| escalation.question == question && escalation.detail == detail)
}

fn completed(state: &mut State, actor: &Actor, commit: Oid) {
    let now = state.now;
    state.refusals = 0;
    for escalation in state.escalations.values_mut() {
        if escalation.actor.as_ref() == Some(actor) && escalation.answered.is_none() {
            escalation.answered = Some(now);
            escalation.answer = Some("settled by a commit that completes the work".to_owned());
        }
    }
    if let Some(actor_state) = state.actors.get_mut(actor) {
        actor_state.work = Work::Complete { commit, merge: None };
        actor_state.next = None;
        actor_state.reason = None;
    }
    mark_finishing(state, actor);
}

/// More commits on a branch whose merge is under way.
fn completed_again(
    state: &mut State,
    actor: &Actor,
    merge: Option<MergeId>,
    rewritten: bool,
    tip: Oid,
    word: Option<Word>,
) {
    let merge_state = merge
        .and_then(|merge_id| state.merges.get(&merge_id))
        .map(|merge| merge.state.clone());
    let too_late = matches!(
        merge_state,
        Some(MergeState::Passed { .. } | MergeState::Landing { .. } | MergeState::Merged { .. })
    );
    if too_late {
        state.note(format!(
            "{actor} committed while its merge was landing; these commits stay on its branch"
        ));
        return;
    }
    let still_complete = !rewritten || matches!(word, Some(Word::Complete(_)));
    if let Some(merge_id) = merge
        && let Some(merge) = state.merges.get_mut(&merge_id)
    {
        if still_complete && matches!(merge.state, MergeState::Queued) {
            merge.source = tip;
            merge.resolves = None;
            return;
        }
        merge.state = MergeState::Rejected {
            reason: "its branch moved on; a newer merge takes its place".to_owned(),
        };
        merges::settle_questions(state, merge_id);
    }
    if let Some(actor_state) = state.actors.get_mut(actor) {
        actor_state.work = match (&actor_state.work, word) {
            (_, Some(Word::Complete(commit))) => Work::Complete { commit, merge: None },
            (Work::Complete { commit, .. }, _) if still_complete => Work::Complete {
                commit: commit.clone(),
                merge: None,
            },
            _ => {
                if !actor_state.process.exists() {
                    actor_state.next = Some(Task::Continue);
                }
                Work::Building
            }
        };
    }
}

/// The process of an actor whose work is settled may finish its last words, but not for ever.
pub(crate) fn mark_finishing(state: &mut State, actor: &Actor) {
    let now = state.now;
    if let Some(actor_state) = state.actors.get_mut(actor)
        && actor_state.process.exists()
    {
        actor_state.finishing.get_or_insert(now);
    }
}

fn read_commits(state: &mut State, plan: &Plan, actor: &Actor, commits: &[CommitFact]) -> Option<Word> {
    let mut word = None;
    for commit in commits {
        let message = tags::parse(&commit.message);
        match &message.tag {
            None => {}
            Some(Ok(Tag::Agent { agent_id, text })) => match actor {
                Actor::Agent(own_id) if own_id == agent_id => {
                    let phrase = plan.agent(own_id).map_or("", |(_, agent)| agent.completion.as_str());
                    if tags::carries_phrase(text, phrase) {
                        word = Some(Word::Complete(commit.oid.clone()));
                    }
                }
                Actor::Agent(_) | Actor::Leader(_) | Actor::Resolver(_) => {
                    // Leaders' branches contain their agents' commits by way of merges; only agents can borrow a tag.
                    if matches!(actor, Actor::Agent(_)) {
                        state.note(format!("a commit on the branch of {actor} carries the tag of agent {agent_id}; it counts for nobody"));
                    }
                }
            },
            Some(Ok(Tag::Team { team_id, text })) => match actor {
                Actor::Leader(own_id) if own_id == team_id => {
                    if tags::carries_phrase(text, "Phase complete") {
                        word = Some(Word::Complete(commit.oid.clone()));
                    }
                }
                Actor::Agent(_) | Actor::Leader(_) => {
                    state.note(format!(
                        "a commit on the branch of {actor} carries the tag of team {team_id}; it counts for nobody"
                    ));
                }
                // It came in with one of the two sides.
                Actor::Resolver(_) => {}
            },
            // Whoever merges main or its team's branch brings along what others asked; the trailer of the workspace's hook tells whose it is.
            Some(Ok(Tag::EscalationNeeded { .. }))
                if message
                    .trailer("Orchestrate-Agent")
                    .is_some_and(|asker| asker != actor.id()) => {}
            // Both sides' histories may hold questions that the team's leader has asked before, and other settlements of it.
            Some(Ok(Tag::EscalationNeeded { question }))
                if matches!(actor, Actor::Resolver(_)) && was_asked_by_anyone(state, question, &message.body) => {}
            Some(Ok(Tag::ConflictResolved { .. })) => {
                let is_newest = commits.last().is_some_and(|newest| newest.oid == commit.oid);
                if matches!(actor, Actor::Resolver(_)) && is_newest {
                    word = Some(Word::Complete(commit.oid.clone()));
                }
            }
            Some(Ok(Tag::EscalationNeeded { question })) => {
                word = Some(Word::Question {
                    question: question.clone(),
                    detail: message.body.clone(),
                });
            }
            Some(Ok(Tag::Merge { .. })) => {}
            Some(Err(error)) => {
                state.note(format!(
                    "a commit on the branch of {actor} has a malformed tag: {error}"
                ));
            }
        }
    }
    word
}

fn branch_moved(state: &mut State, branch: &BranchName, tip: &Oid, forward: bool) {
    let Some(plan) = state.plan.clone() else {
        return;
    };
    if branch == &plan.repository.base {
        state.base_tip = Some(tip.clone());
    } else if let Some(team) = plan.teams().find(|team| &team.branch == branch) {
        if let Some(team_state) = state.teams.get_mut(&team.id) {
            team_state.tip = Some(tip.clone());
        }
        merges::team_branch_moved(state, &team.id, branch, tip);
    } else {
        state.note(format!("branch `{branch}` moved, which is none of this plan's"));
        return;
    }
    let how = if forward { "moved" } else { "was rewritten" };
    state.note(format!("branch `{branch}` {how}, and not by this run"));
}

fn effect_failed(state: &mut State, effect: &EffectKey, error: &str, retriable: bool) {
    let now = state.now;
    let trouble = state.troubles.entry(effect.clone()).or_insert(Trouble {
        failures: 0,
        not_before: now,
        error: String::new(),
    });
    trouble.failures += 1;
    trouble.error = error.to_owned();
    let factor = 5_u32.saturating_pow(trouble.failures.saturating_sub(1));
    trouble.not_before = now.plus(Duration::from_secs(1).saturating_mul(factor));
    let give_up = !retriable || trouble.failures > EFFECT_FAILURES_MAX;
    state.note(format!("{}: {error}", outcome::effect_words(effect)));
    match effect {
        EffectKey::TeamBranch(team_id) => {
            if let Some(team) = state.teams.get_mut(team_id)
                && team.branch == TeamBranch::Requested
            {
                team.branch = TeamBranch::Absent;
            }
            if give_up && let Some(trouble) = state.troubles.get_mut(effect) {
                trouble.not_before = Time(u64::MAX);
            }
        }
        EffectKey::ActorBranch(actor) | EffectKey::Start(actor) => {
            let Some(actor_state) = state.actors.get_mut(actor) else {
                return;
            };
            if actor_state.work == Work::Branching {
                actor_state.work = Work::Waiting;
            }
            if let Process::Starting { .. } = actor_state.process {
                actor_state.process = Process::None;
                // The task of an attempt that never began is for the next one.
                let task = actor_state.launch.as_ref().map(|launch| launch.task.clone());
                actor_state.next = actor_state.next.take().or(task);
            }
            if give_up && matches!(actor_state.work, Work::Waiting | Work::Building) {
                actor_state.work = Work::Failed {
                    reason: error.to_owned(),
                };
                actor_state.reason = Some(error.to_owned());
            }
        }
        EffectKey::Merge(merge_id) => merges::effect_failed(state, *merge_id, error, give_up),
        EffectKey::Decision(escalation_id) => decisions::effect_failed(state, *escalation_id, error, give_up),
        EffectKey::Rollback(branch) => rollback::effect_failed(state, branch),
        EffectKey::Gate(..) | EffectKey::Ahead(_) => {}
    }
}

fn stop_requested(state: &mut State, now: bool) {
    match state.mode {
        Mode::Running => state.mode = Mode::Stopping { now },
        Mode::Stopping { now: earlier } => state.mode = Mode::Stopping { now: earlier || now },
        Mode::NotStarted | Mode::Ended(_) => {}
    }
}

fn escalation_answered(state: &mut State, escalation_id: EscalationId, answer: &str) {
    let now = state.now;
    let Some(escalation) = state.escalations.get_mut(&escalation_id) else {
        state.note(format!(
            "question {} was answered, but nobody asked it",
            escalation_id.0
        ));
        return;
    };
    if escalation.answered.is_some() {
        state.note(format!(
            "question {} was answered twice; the first answer counts",
            escalation_id.0
        ));
        return;
    }
    escalation.answered = Some(now);
    escalation.answer = Some(answer.to_owned());
    let (question, actor, merge) = (escalation.question.clone(), escalation.actor.clone(), escalation.merge);
    decisions::answered(state, escalation_id);
    if let Some(merge_id) = merge {
        if let Some(merge) = state.merges.get_mut(&merge_id) {
            merge.guidance.push(answer.to_owned());
        }
        merges::try_again(state, merge_id);
        return;
    }
    let plan = state.plan.clone();
    if let Some(actor) = actor
        && let Some(actor_state) = state.actors.get_mut(&actor)
        && actor_state.work == Work::Escalated(escalation_id)
    {
        let settings = plan.as_ref().and_then(|plan| plan.settings_of(&actor));
        stall::answered(actor_state, settings.map_or(1, |settings| settings.max_attempts));
        actor_state.work = Work::Building;
        actor_state.next = Some(match actor_state.next.take() {
            Some(Task::Answer {
                question: earlier_question,
                answer: earlier_answer,
            }) => Task::Answer {
                question: format!("{earlier_question}\n{question}"),
                answer: format!("{earlier_answer}\n{answer}"),
            },
            Some(Task::Work | Task::Resolve | Task::Continue | Task::Nudge { .. } | Task::Retry { .. }) | None => {
                Task::Answer {
                    question,
                    answer: answer.to_owned(),
                }
            }
        });
    }
}

fn landing_approved(state: &mut State, team_id: &TeamId) {
    match state.teams.get_mut(team_id) {
        Some(team) => team.approved = true,
        None => state.note(format!("team {team_id} was approved, but the plan has no such team")),
    }
}

/// A human turned a team's landing down: its leader mends what the human found, and integrates again.
fn landing_rejected(state: &mut State, team_id: &TeamId, reason: &str) {
    let leader = Actor::Leader(team_id.clone());
    let is_integrated = state
        .actors
        .get(&leader)
        .is_some_and(|leader| matches!(leader.work, Work::Merged { .. }));
    let is_landing = |merge: &Merge| {
        merge.kind == MergeKind::Landing(team_id.clone()) && matches!(merge.state, MergeState::Landing { .. })
    };
    let is_late = state.merges.values().any(is_landing);
    let Some(team) = state.teams.get_mut(team_id) else {
        state.note(format!("team {team_id} was turned down, but the plan has no such team"));
        return;
    };
    if team.landed.is_some() || is_late || !is_integrated {
        state.note(format!(
            "team {team_id} was turned down, but its landing does not wait for anybody"
        ));
        return;
    }
    team.approved = false;
    let mut settled = Vec::new();
    for (merge_id, merge) in &mut state.merges {
        let is_open = merge.state.is_active() || matches!(merge.state, MergeState::Conflict { .. });
        if merge.kind == MergeKind::Landing(team_id.clone()) && is_open {
            merge.state = MergeState::Rejected {
                reason: "a human turned it down".to_owned(),
            };
            merge.blocked = None;
        }
        // An answer to what was asked about an earlier landing must not bring that one back.
        if merge.kind == MergeKind::Landing(team_id.clone()) {
            settled.push(*merge_id);
        }
    }
    for merge_id in settled {
        merges::settle_questions(state, merge_id);
    }
    if let Some(actor_state) = state.actors.get_mut(&leader) {
        actor_state.work = Work::Building;
        actor_state.reason = Some(reason.to_owned());
        actor_state.next = Some(Task::Retry {
            reason: format!("a human has looked at the team's work and turned it down: {reason}"),
            output: String::new(),
        });
    }
    mark_finishing(state, &leader);
}

fn retry_requested(state: &mut State, actor: &Actor) {
    let Some(actor_state) = state.actors.get_mut(actor) else {
        state.note(format!("{actor} was to be tried again, but the plan has no such actor"));
        return;
    };
    let Work::Failed { reason } = &actor_state.work else {
        state.note(format!("{actor} was to be tried again, but it has not failed"));
        return;
    };
    let reason = reason.clone();
    actor_state.strikes = 0;
    actor_state.lost = 0;
    actor_state.not_before = Time(0);
    state.troubles.remove(&EffectKey::ActorBranch(actor.clone()));
    state.troubles.remove(&EffectKey::Start(actor.clone()));
    let Some(actor_state) = state.actors.get_mut(actor) else {
        return;
    };
    // A start anew that failed is still one.
    if actor_state.since.is_none() || actor_state.fresh {
        actor_state.work = Work::Waiting;
        actor_state.next = None;
    } else {
        actor_state.work = Work::Building;
        if !matches!(actor_state.next, Some(Task::Answer { .. })) {
            actor_state.next = Some(Task::Retry {
                reason,
                output: String::new(),
            });
        }
    }
}

/// Which actor a merge is for: whose branch is its source.
pub fn actor_of(kind: &MergeKind) -> Option<Actor> {
    match kind {
        MergeKind::Agent(agent_id) => Some(Actor::Agent(agent_id.clone())),
        MergeKind::Integration(team_id) => Some(Actor::Leader(team_id.clone())),
        MergeKind::Sync(_) | MergeKind::Landing(_) | MergeKind::Decision { .. } => None,
    }
}
