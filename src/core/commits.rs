//! What commits say: an actor is complete, has a question, or wants something of a conflict.

use crate::core::apply::mark_finishing;
use crate::core::command::Task;
use crate::core::event::CommitFact;
use crate::core::state::{MergeState, State, Work};
use crate::core::{merges, rollback};
use crate::ids::{Actor, MergeId, Oid};
use crate::plan::Plan;
use crate::tags::{self, Tag};

/// What the commits of one event say, the newest word counting.
enum Word {
    Complete(Oid),
    Question { question: String, detail: String },
}

pub(crate) fn commits_seen(
    state: &mut State,
    actor: &Actor,
    from: &Oid,
    tip: &Oid,
    rewritten: bool,
    commits: &[CommitFact],
) {
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
