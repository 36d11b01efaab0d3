//! Decisions: what a human has answered is put on the branch of the team that asked, through the gate like any merge, so that those who come later can read it.

use crate::core::command::Command;
use crate::core::conflicts;
use crate::core::event::{EffectKey, MergeKind};
use crate::core::state::{MergeState, State, TeamBranch};
use crate::core::train::push_merge;
use crate::ids::{BranchName, EscalationId, MergeId, Oid, TeamId, Time};
use crate::plan::Plan;

/// A decision on its way onto a team's branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whose branch.
    pub team_id: TeamId,
    /// How far it is.
    pub step: DecisionStep,
}

/// How far a decision is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecisionStep {
    /// It is to be written down.
    Wanted,
    /// The shell was told to write it down.
    Asked,
    /// It is being merged.
    Merging(MergeId),
    /// Its merge was turned down: it is tried again after the next one has landed.
    PutOff,
    /// It is on the branch.
    Recorded,
    /// It could not be put there; the journal has it.
    GivenUp,
}

/// A human has answered a question.
pub(crate) fn answered(state: &mut State, escalation_id: EscalationId) {
    if state.rules < 2 {
        return;
    }
    let (Some(plan), Some(escalation)) = (state.plan.clone(), state.escalations.get(&escalation_id)) else {
        return;
    };
    let of_merge = escalation.merge.and_then(|merge_id| state.merges.get(&merge_id));
    let team_id = match (&escalation.actor, of_merge) {
        (Some(actor), _) => plan.team_of(actor).map(|team| team.id.clone()),
        (None, Some(merge)) => conflicts::team_of(&plan, &merge.kind),
        (None, None) => None,
    };
    if let Some(team_id) = team_id {
        let step = DecisionStep::Wanted;
        state.decisions.insert(escalation_id, Decision { team_id, step });
    }
}

/// Has decisions written down on the newest commit of their teams' branches.
pub(crate) fn advance(state: &mut State, plan: &Plan, commands: &mut Vec<Command>) {
    let wanted: Vec<(EscalationId, TeamId)> = state
        .decisions
        .iter()
        .filter(|(_, decision)| decision.step == DecisionStep::Wanted)
        .map(|(id, decision)| (*id, decision.team_id.clone()))
        .collect();
    for (escalation_id, team_id) in wanted {
        let (Some(team), Some(team_state)) = (plan.team(&team_id), state.teams.get(&team_id)) else {
            continue;
        };
        let ready_at = state
            .troubles
            .get(&EffectKey::Decision(escalation_id))
            .map_or(Time(0), |trouble| trouble.not_before);
        let is_late = team_state.landed.is_some() || is_landing(state, &team_id);
        let onto = team_state
            .tip
            .clone()
            .filter(|_| team_state.branch == TeamBranch::Ready);
        if is_late {
            give_up(state, escalation_id, "its team lands without it");
        } else if let (Some(onto), true, Some(escalation)) =
            (onto, ready_at <= state.now, state.escalations.get(&escalation_id))
        {
            commands.push(Command::WriteDecision {
                escalation_id,
                branch: team.branch.clone(),
                onto,
                escalation: Box::new(escalation.clone()),
            });
            set(state, escalation_id, DecisionStep::Asked);
        }
    }
}

/// Whether a team's landing is under way, without whatever is put on its branch now.
fn is_landing(state: &State, team_id: &TeamId) -> bool {
    let kind = MergeKind::Landing(team_id.clone());
    state.merges.values().any(|merge| {
        merge.kind == kind && (merge.state.is_active() || matches!(merge.state, MergeState::Conflict { .. }))
    })
}

/// Whether something decided is still on its way onto a team's branch: its landing waits for that.
pub(crate) fn is_pending(state: &State, team_id: &TeamId) -> bool {
    state.decisions.values().any(|decision| {
        &decision.team_id == team_id
            && matches!(
                decision.step,
                DecisionStep::Wanted | DecisionStep::Asked | DecisionStep::Merging(_)
            )
    })
}

/// Whether the shell is writing one down.
pub(crate) fn is_under_way(state: &State) -> bool {
    state
        .decisions
        .values()
        .any(|decision| decision.step == DecisionStep::Asked)
}

/// A commit holds the decision.
pub(crate) fn written(state: &mut State, escalation_id: EscalationId, commit: &Oid) {
    let Some(plan) = state.plan.clone() else { return };
    let decision = state.decisions.get(&escalation_id).cloned();
    let Some(decision) = decision.filter(|decision| decision.step == DecisionStep::Asked) else {
        state.note(format!(
            "decision {}: its commit came late and was ignored",
            escalation_id.0
        ));
        return;
    };
    state.troubles.remove(&EffectKey::Decision(escalation_id));
    let Some(team) = plan.team(&decision.team_id) else {
        return;
    };
    if is_landing(state, &team.id) || state.teams.get(&team.id).is_some_and(|team| team.landed.is_some()) {
        give_up(state, escalation_id, "its team lands without it");
        return;
    }
    let kind = MergeKind::Decision {
        team_id: team.id.clone(),
        escalation_id,
    };
    let source_branch = BranchName::new(format!("decision-{}", escalation_id.0));
    let merge_id = push_merge(
        state,
        kind,
        commit.clone(),
        source_branch,
        team.branch.clone(),
        std::collections::BTreeSet::new(),
    );
    set(state, escalation_id, DecisionStep::Merging(merge_id));
}

pub(crate) fn set(state: &mut State, escalation_id: EscalationId, step: DecisionStep) {
    if let Some(decision) = state.decisions.get_mut(&escalation_id) {
        decision.step = step;
    }
}

/// Its merge was turned down: what the gate misses may come with the next merge.
pub(crate) fn put_off(state: &mut State, escalation_id: EscalationId, why: &str) {
    set(state, escalation_id, DecisionStep::PutOff);
    state.note(format!(
        "the answer to question {} is not in docs/decisions/ yet, and is tried again after the next merge: {why}",
        escalation_id.0
    ));
}

/// Something has landed on a team's branch: what was put off is tried again. A team that has landed itself is too late.
pub(crate) fn landed(state: &mut State, kind: &MergeKind) {
    let Some(plan) = state.plan.clone() else { return };
    let Some(team_id) = conflicts::team_of(&plan, kind) else {
        return;
    };
    let put_off: Vec<EscalationId> = state
        .decisions
        .iter()
        .filter(|(_, decision)| decision.team_id == team_id && decision.step == DecisionStep::PutOff)
        .map(|(escalation_id, _)| *escalation_id)
        .collect();
    for escalation_id in put_off {
        match kind {
            MergeKind::Decision { .. } => {}
            MergeKind::Landing(_) => give_up(state, escalation_id, "its team has landed without it"),
            MergeKind::Agent(_) | MergeKind::Integration(_) | MergeKind::Sync(_) => {
                set(state, escalation_id, DecisionStep::Wanted);
            }
        }
    }
}

/// It is no reason to hold anything up: whoever asked has been told, and the journal keeps it.
pub(crate) fn give_up(state: &mut State, escalation_id: EscalationId, why: &str) {
    set(state, escalation_id, DecisionStep::GivenUp);
    state.note(format!(
        "the answer to question {} is not put into docs/decisions/: {why}",
        escalation_id.0
    ));
}

/// The shell could not write it down.
pub(crate) fn effect_failed(state: &mut State, escalation_id: EscalationId, error: &str, gave_up: bool) {
    if gave_up {
        state.troubles.remove(&EffectKey::Decision(escalation_id));
        give_up(state, escalation_id, error);
    } else {
        set(state, escalation_id, DecisionStep::Wanted);
    }
}

/// A new process has taken the run over: what was being written down is asked for again.
pub(crate) fn resumed(state: &mut State) {
    for decision in state.decisions.values_mut() {
        if decision.step == DecisionStep::Asked {
            decision.step = DecisionStep::Wanted;
        }
    }
}

/// The merge of a decision was undone or withdrawn: it is written down anew, on what is there now.
pub(crate) fn undone(state: &mut State, escalation_id: EscalationId) {
    set(state, escalation_id, DecisionStep::Wanted);
}
