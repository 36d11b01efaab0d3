//! A human's way back: a team's branch or the base branch returns to a commit at which it stood before, and whoever built on what is undone starts anew.
//!
//! Nothing is merged and nobody is started while it is under way, so that what is undone is known; the shell moves the branches, and keeps where they stood.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::anew;
use crate::core::command::{Command, Task};
use crate::core::decisions;
use crate::core::dispatch::needs_are_met;
use crate::core::event::{BranchReturn, EffectKey, MergeKind};
use crate::core::merges;
use crate::core::outcome;
use crate::core::state::{MergeState, State, TeamBranch, Work};
use crate::ids::{Actor, BranchName, MergeId, Oid, TeamId, Time};
use crate::plan::Plan;

/// What failed is tried again after this long at the latest.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(60);

/// A way back that a human asked for and that is not done yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollback {
    /// The branch.
    pub branch: BranchName,
    /// Where it is to stand.
    pub to: Oid,
    /// Other teams that are built on what is undone go back too.
    pub cascade: bool,
    /// When it was asked for.
    pub asked: Time,
    /// The shell was told to do it.
    pub commanded: bool,
}

/// What came of a way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollbackRecord {
    /// When.
    pub at: Time,
    /// The branch.
    pub branch: BranchName,
    /// Where it was to stand.
    pub to: Oid,
    /// What moved; empty when it was refused.
    pub moves: Vec<BranchReturn>,
    /// Merges that are undone.
    pub undone: Vec<MergeId>,
    /// Who starts anew.
    pub anew: Vec<Actor>,
    /// Why it was not done.
    pub refused: Option<String>,
}

pub(crate) fn requested(state: &mut State, branch: &BranchName, to: &Oid, cascade: bool) {
    let Some(plan) = state.plan.clone() else { return };
    let team = plan.teams().find(|team| &team.branch == branch);
    let refusal = if let Some(pending) = &state.rollback {
        Some(format!("`{}` is on its way back already", pending.branch))
    } else if team.is_none() && branch != &plan.repository.base {
        Some("it is neither a team's branch nor the base branch".to_owned())
    } else if let Some(reason) = has_landed(state, branch) {
        Some(reason)
    } else if let Some(team_state) = team.and_then(|team| state.teams.get(&team.id)) {
        match &team_state.tip {
            None => Some("it does not exist yet".to_owned()),
            Some(tip) if tip == to => Some("it stands there already".to_owned()),
            Some(_) => None,
        }
    } else if state.base_tip.is_none() {
        Some("nothing has landed on it".to_owned())
    } else {
        None
    };
    if let Some(reason) = refusal {
        refuse(state, branch, to, reason);
        return;
    }
    state.rollback = Some(Rollback {
        branch: branch.clone(),
        to: to.clone(),
        cascade,
        asked: state.now,
        commanded: false,
    });
}

/// Why a team that is in the base branch does not go back by itself: what it brought would stay there, and come back with it.
fn has_landed(state: &State, branch: &BranchName) -> Option<String> {
    let team = state.plan.as_ref()?.teams().find(|team| &team.branch == branch)?;
    let landed = state.teams.get(&team.id)?.landed.as_ref()?;
    Some(format!("it has landed with {}", outcome::short(landed)))
}

/// The shell found that it must not be done.
pub(crate) fn refused(state: &mut State, branch: &BranchName, reason: &str) {
    if let Some(rollback) = state.rollback.take_if(|rollback| &rollback.branch == branch) {
        state.troubles.remove(&EffectKey::Rollback(branch.clone()));
        refuse(state, branch, &rollback.to, reason.to_owned());
    }
}

fn refuse(state: &mut State, branch: &BranchName, to: &Oid, reason: String) {
    state.note(format!(
        "`{branch}` does not go back to {}: {reason}",
        outcome::short(to)
    ));
    state.rollbacks.push(RollbackRecord {
        at: state.now,
        branch: branch.clone(),
        to: to.clone(),
        moves: Vec::new(),
        undone: Vec::new(),
        anew: Vec::new(),
        refused: Some(reason),
    });
}

/// The shell could not do it, or could not tell that it did: it is asked again until it knows, because a branch that went back unheard would be taken for one
/// that still holds what is undone.
pub(crate) fn effect_failed(state: &mut State, branch: &BranchName) {
    let latest = state.now.plus(RETRY_DELAY_MAX);
    if let Some(trouble) = state.troubles.get_mut(&EffectKey::Rollback(branch.clone())) {
        trouble.not_before = trouble.not_before.min(latest);
    }
    if let Some(rollback) = &mut state.rollback
        && &rollback.branch == branch
    {
        rollback.commanded = false;
    }
}

/// Asks the shell for it as soon as nothing is on its way into a branch. Whether one is pending: nothing else goes on meanwhile.
pub(crate) fn advance(state: &mut State, commands: &mut Vec<Command>) -> bool {
    let Some(rollback) = &state.rollback else {
        return false;
    };
    let ready_at = state
        .troubles
        .get(&EffectKey::Rollback(rollback.branch.clone()))
        .map_or(Time(0), |trouble| trouble.not_before);
    let is_quiet = state
        .merges
        .values()
        .all(|merge| !matches!(merge.state, MergeState::Preparing | MergeState::Landing { .. }))
        && merges::unheard(state).is_empty()
        && !decisions::is_under_way(state)
        && state.actors.values().all(|actor| actor.work != Work::Branching)
        && state.teams.values().all(|team| team.branch != TeamBranch::Requested);
    if !rollback.commanded && is_quiet && ready_at <= state.now {
        // What was on its way when this was asked for may have brought the team into the base branch.
        let branch = rollback.branch.clone();
        if let Some(reason) = has_landed(state, &branch) {
            refused(state, &branch, &reason);
            return false;
        }
        commands.push(Command::RollBack {
            branch: rollback.branch.clone(),
            to: rollback.to.clone(),
            cascade: rollback.cascade,
        });
        if let Some(rollback) = &mut state.rollback {
            rollback.commanded = true;
        }
    }
    true
}

/// The branches stand where they are to stand.
pub(crate) fn done(
    state: &mut State,
    branch: &BranchName,
    to: &Oid,
    moves: &[BranchReturn],
    undone: &[MergeId],
    tainted: &[Actor],
) {
    let Some(plan) = state.plan.clone() else { return };
    let is_wanted = |rollback: &mut Rollback| &rollback.branch == branch && &rollback.to == to;
    if state.rollback.take_if(is_wanted).is_none() {
        state.note(format!("`{branch}` went back although nobody asked for it"));
        return;
    }
    state.troubles.remove(&EffectKey::Rollback(branch.clone()));
    let why = format!("a human rolled `{branch}` back to {}", outcome::short(to));
    let mut anew: BTreeSet<Actor> = BTreeSet::new();
    for returned in moves {
        move_branch(state, &plan, returned, &mut anew);
    }
    for merge_id in undone {
        undo(state, *merge_id, &why, &mut anew);
    }
    for returned in moves {
        recompute_included(state, &plan, &returned.branch);
    }
    let is_at_work = |work: &Work| {
        matches!(
            work,
            Work::Building | Work::Escalated(_) | Work::Failed { .. } | Work::Complete { .. }
        )
    };
    for (actor, actor_state) in &state.actors {
        let is_built_on_it = tainted.contains(actor) || !needs_are_met(state, &plan, actor);
        if is_at_work(&actor_state.work) && !matches!(actor, Actor::Resolver(_)) && is_built_on_it {
            anew.insert(actor.clone());
        }
    }
    for actor in &anew {
        let tip = state.actors.get(actor).and_then(|actor_state| actor_state.tip.clone());
        let old = tip.map_or_else(String::new, |tip| {
            format!("; what this branch held before is kept as {}", outcome::short(&tip))
        });
        let reason = format!(
            "{why}, because what had been brought together after that commit was not good; begin anew from where your team stands now, and do not bring the old commits back{old}"
        );
        // What a human answered and nobody has read yet is still to be told.
        let unread = state
            .actors
            .get_mut(actor)
            .and_then(|actor_state| actor_state.next.take());
        let next = match unread {
            Some(Task::Answer { question, answer }) => Task::Answer {
                question,
                answer: format!("{answer}\n\nSince then, {reason}"),
            },
            Some(Task::Work | Task::Resolve | Task::Continue | Task::Nudge { .. } | Task::Retry { .. }) | None => {
                let output = String::new();
                Task::Retry { reason, output }
            }
        };
        anew::begin(state, actor, Some(next));
        if tainted.contains(actor) {
            anew::put_back(state, actor);
        }
    }
    withdraw_merges(state, &plan, moves, &anew, &why);
    // What was looked at, ahead or back, stood on what is undone.
    state.speculations.clear();
    state.bisections.clear();
    let names: Vec<String> = anew.iter().map(ToString::to_string).collect();
    let who = if names.is_empty() {
        "nobody starts anew".to_owned()
    } else {
        format!("anew: {}", names.join(", "))
    };
    state.note(format!(
        "{why}; {}; {who}; where branches stood is kept under refs/orchestrate/undone/",
        outcome::merges_words(undone.len(), "undone")
    ));
    state.rollbacks.push(RollbackRecord {
        at: state.now,
        branch: branch.clone(),
        to: to.clone(),
        moves: moves.to_vec(),
        undone: undone.to_vec(),
        anew: anew.into_iter().collect(),
        refused: None,
    });
}

/// Whether a merge of just this commit was undone: nobody brings it back, and a report of it is older than the way back.
pub(crate) fn is_undone(state: &State, commit: &Oid) -> bool {
    let mut undone = state.rollbacks.iter().flat_map(|record| &record.undone);
    undone.any(|merge_id| state.merges.get(merge_id).is_some_and(|merge| &merge.source == commit))
}

fn move_branch(state: &mut State, plan: &Plan, returned: &BranchReturn, anew: &mut BTreeSet<Actor>) {
    if returned.branch == plan.repository.base {
        state.base_tip = Some(returned.to.clone());
        return;
    }
    let Some(team) = plan.teams().find(|team| team.branch == returned.branch) else {
        return;
    };
    let Some(team_state) = state.teams.get_mut(&team.id) else {
        return;
    };
    team_state.approved = false;
    if !returned.anew {
        team_state.tip = Some(returned.to.clone());
        return;
    }
    // It began on what is undone: it begins again once its phase may.
    *team_state = crate::core::state::TeamState::default();
    let leader = Actor::Leader(team.id.clone());
    let actors = team.agents.iter().map(|agent| Actor::Agent(agent.id.clone()));
    for actor in actors.chain([leader]) {
        let has_begun = state
            .actors
            .get(&actor)
            .is_some_and(|actor_state| actor_state.work != Work::Waiting);
        if has_begun {
            anew.insert(actor);
        }
    }
}

fn undo(state: &mut State, merge_id: MergeId, why: &str, anew: &mut BTreeSet<Actor>) {
    let Some(merge) = state.merges.get_mut(&merge_id) else {
        return;
    };
    merge.state = MergeState::Rejected {
        reason: format!("undone: {why}"),
    };
    merge.blocked = None;
    match merge.kind.clone() {
        MergeKind::Agent(agent_id) => {
            anew.insert(Actor::Agent(agent_id));
        }
        MergeKind::Integration(team_id) => {
            anew.insert(Actor::Leader(team_id));
        }
        MergeKind::Landing(team_id) => {
            if let Some(team_state) = state.teams.get_mut(&team_id) {
                team_state.landed = None;
                team_state.approved = false;
            }
            anew.insert(Actor::Leader(team_id));
        }
        MergeKind::Decision { escalation_id, .. } => decisions::undone(state, escalation_id),
        MergeKind::Sync(_) => {}
    }
    merges::settle_questions(state, merge_id);
}

/// What a team's branch holds of other teams: what it began with, and what came in by merges that are still in it.
fn recompute_included(state: &mut State, plan: &Plan, branch: &BranchName) {
    let Some(team) = plan.teams().find(|team| &team.branch == branch) else {
        return;
    };
    let kind = MergeKind::Sync(team.id.clone());
    let carried: BTreeSet<TeamId> = state
        .merges
        .values()
        .filter(|merge| merge.kind == kind && matches!(merge.state, MergeState::Merged { .. }))
        .flat_map(|merge| merge.carries.iter().cloned())
        .collect();
    if let Some(team_state) = state.teams.get_mut(&team.id)
        && team_state.branch == TeamBranch::Ready
    {
        team_state.includes = team_state.begun_with.union(&carried).cloned().collect();
    }
}

/// Merges that were under way: whose source or target has moved is prepared anew, and whose source is undone is withdrawn.
fn withdraw_merges(state: &mut State, plan: &Plan, moves: &[BranchReturn], anew: &BTreeSet<Actor>, why: &str) {
    let moved: BTreeMap<&BranchName, bool> = moves.iter().map(|returned| (&returned.branch, returned.anew)).collect();
    let open: Vec<MergeId> = state
        .merges
        .iter()
        .filter(|(merge_id, merge)| {
            merge.state.is_active()
                || matches!(merge.state, MergeState::Conflict { .. })
                || state
                    .open_escalations()
                    .any(|(_, escalation)| escalation.merge == Some(**merge_id))
        })
        .map(|(merge_id, _)| *merge_id)
        .collect();
    let mut again = Vec::new();
    for merge_id in open {
        let Some(merge) = state.merges.get_mut(&merge_id) else {
            continue;
        };
        let is_withdrawn = match &merge.kind {
            MergeKind::Agent(agent_id) => anew.contains(&Actor::Agent(agent_id.clone())),
            MergeKind::Integration(team_id) => anew.contains(&Actor::Leader(team_id.clone())),
            // Written down again on what is there then.
            MergeKind::Decision { .. } => moved.contains_key(&merge.target),
            // Asked for again from where the base branch stands, when it is still wanted.
            MergeKind::Sync(_) => {
                moved.contains_key(&plan.repository.base) || moved.get(&merge.target).is_some_and(|anew| *anew)
            }
            MergeKind::Landing(team_id) => {
                moved.contains_key(&merge.source_branch) || anew.contains(&Actor::Leader(team_id.clone()))
            }
        };
        if let (MergeKind::Decision { escalation_id, .. }, true) = (&merge.kind, is_withdrawn) {
            again.push(*escalation_id);
        }
        if is_withdrawn {
            merge.state = MergeState::Rejected {
                reason: format!("withdrawn: {why}"),
            };
            merge.blocked = None;
            merges::settle_questions(state, merge_id);
        } else if moved.contains_key(&merge.target) {
            // A settlement of a conflict holds the target as it stood then.
            if let Some(before) = merge.resolves.take() {
                merge.source = before;
            }
            merge.state = MergeState::Queued;
            merge.blocked = None;
            merge.not_before = Time(0);
            merges::settle_questions(state, merge_id);
        }
    }
    for escalation_id in again {
        decisions::undone(state, escalation_id);
    }
}
