//! Which sessions of a plan can run side by side, and which chain of them decides how long it takes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::model::{Need, Plan};
use crate::ids::{Actor, PhaseId, TeamId};

/// One session of the plan: an agent's, or a leader's integration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Whose.
    pub actor: Actor,
    /// In which team.
    pub team_id: TeamId,
    /// In which phase.
    pub phase_id: PhaseId,
    /// 1, 2, ...: everything in one wave can run at once, given enough slots.
    pub wave: usize,
    /// Whom it waits for directly: positions in [`Waves::steps`].
    pub after: Vec<usize>,
}

/// The plan as a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waves {
    /// In the order of the file, each team's leader after its agents.
    pub steps: Vec<Step>,
    /// The longest chain: positions in `steps`, first to last.
    pub critical: Vec<usize>,
    /// How long the longest chain is expected to take; `None` when a phase of the plan has no `expected`.
    pub expected: Option<Duration>,
}

impl Waves {
    /// Lays the plan out. A validated plan has no cycles; steps in one would be left in wave 0.
    pub fn of(plan: &Plan) -> Self {
        let mut steps = Vec::new();
        let mut position: BTreeMap<Actor, usize> = BTreeMap::new();
        for phase in &plan.phases {
            for team in &phase.teams {
                let agents = team.agents.iter().map(|agent| Actor::Agent(agent.id.clone()));
                for actor in agents.chain([Actor::Leader(team.id.clone())]) {
                    position.insert(actor.clone(), steps.len());
                    steps.push(Step {
                        actor,
                        team_id: team.id.clone(),
                        phase_id: phase.id.clone(),
                        wave: 0,
                        after: Vec::new(),
                    });
                }
            }
        }
        let leader_of = |team_id: &TeamId| position.get(&Actor::Leader(team_id.clone())).copied();
        let leaders_of: BTreeMap<&PhaseId, Vec<usize>> = plan
            .phases
            .iter()
            .map(|phase| {
                (
                    &phase.id,
                    phase.teams.iter().filter_map(|team| leader_of(&team.id)).collect(),
                )
            })
            .collect();
        for phase in &plan.phases {
            let before: Vec<usize> = phase
                .needs
                .iter()
                .filter_map(|need| leaders_of.get(need))
                .flatten()
                .copied()
                .collect();
            for team in &phase.teams {
                let mut own = Vec::new();
                for agent in &team.agents {
                    let Some(index) = position.get(&Actor::Agent(agent.id.clone())).copied() else {
                        continue;
                    };
                    own.push(index);
                    let needs = agent.needs.iter().filter_map(|need| match need {
                        Need::Agent(agent_id) => position.get(&Actor::Agent(agent_id.clone())).copied(),
                        Need::Team(team_id) => leader_of(team_id),
                    });
                    if let Some(step) = steps.get_mut(index) {
                        step.after = before.iter().copied().chain(needs).collect();
                    }
                }
                if let Some(step) = leader_of(&team.id).and_then(|index| steps.get_mut(index)) {
                    step.after = own;
                }
            }
        }
        let order = order(&steps);
        for index in &order {
            let wave = steps[*index]
                .after
                .iter()
                .map(|before| steps[*before].wave)
                .max()
                .unwrap_or(0)
                + 1;
            steps[*index].wave = wave;
        }
        let expected_of: Option<BTreeMap<&PhaseId, Duration>> = plan
            .phases
            .iter()
            .map(|phase| Some((&phase.id, phase.expected?)))
            .collect();
        let weights = weights(&steps, &order, expected_of.as_ref());
        let (critical, length) = longest(&steps, &order, &weights);
        let expected = expected_of.map(|_| length);
        Self {
            steps,
            critical,
            expected,
        }
    }

    /// How many waves there are.
    pub fn count(&self) -> usize {
        self.steps.iter().map(|step| step.wave).max().unwrap_or(0)
    }

    /// The steps of one wave.
    pub fn wave(&self, number: usize) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(move |step| step.wave == number)
    }

    /// The wave of an actor.
    pub fn wave_of(&self, actor: &Actor) -> usize {
        self.steps
            .iter()
            .find(|step| &step.actor == actor)
            .map_or(0, |step| step.wave)
    }

    /// The actors of the longest chain.
    pub fn critical_actors(&self) -> impl Iterator<Item = &Actor> {
        self.critical
            .iter()
            .filter_map(|index| self.steps.get(*index))
            .map(|step| &step.actor)
    }
}

/// Positions so that each comes after those it waits for.
fn order(steps: &[Step]) -> Vec<usize> {
    let mut open: Vec<usize> = steps.iter().map(|step| step.after.len()).collect();
    let mut waiting: Vec<Vec<usize>> = vec![Vec::new(); steps.len()];
    for (index, step) in steps.iter().enumerate() {
        for before in &step.after {
            waiting[*before].push(index);
        }
    }
    let mut order: Vec<usize> = (0..steps.len()).filter(|index| open[*index] == 0).collect();
    let mut next = 0;
    while let Some(index) = order.get(next).copied() {
        next += 1;
        for waiter in &waiting[index] {
            open[*waiter] -= 1;
            if open[*waiter] == 0 {
                order.push(*waiter);
            }
        }
    }
    order
}

/// How long each step takes: its phase's expected time, shared among the longest chain inside the phase; without times, every step the same.
fn weights(steps: &[Step], order: &[usize], expected_of: Option<&BTreeMap<&PhaseId, Duration>>) -> Vec<Duration> {
    let mut depth = vec![1_u32; steps.len()];
    for index in order {
        let step = &steps[*index];
        let inside = step
            .after
            .iter()
            .filter(|before| steps[**before].phase_id == step.phase_id);
        depth[*index] = inside.map(|before| depth[*before]).max().unwrap_or(0) + 1;
    }
    let mut deepest: BTreeMap<&PhaseId, u32> = BTreeMap::new();
    for (step, depth) in steps.iter().zip(&depth) {
        let entry = deepest.entry(&step.phase_id).or_insert(1);
        *entry = (*entry).max(*depth);
    }
    steps
        .iter()
        .map(
            |step| match expected_of.and_then(|expected_of| expected_of.get(&step.phase_id)) {
                Some(expected) => *expected / deepest.get(&step.phase_id).copied().unwrap_or(1).max(1),
                None => Duration::from_secs(1),
            },
        )
        .collect()
}

fn longest(steps: &[Step], order: &[usize], weights: &[Duration]) -> (Vec<usize>, Duration) {
    let mut finish = vec![Duration::ZERO; steps.len()];
    let mut through: Vec<Option<usize>> = vec![None; steps.len()];
    for index in order {
        let mut start = Duration::ZERO;
        for before in &steps[*index].after {
            if finish[*before] > start {
                start = finish[*before];
                through[*index] = Some(*before);
            }
        }
        finish[*index] = start.saturating_add(weights[*index]);
    }
    let mut last = None;
    for (index, own) in finish.iter().enumerate() {
        if last.is_none_or(|last: usize| *own > finish[last]) {
            last = Some(index);
        }
    }
    let length = last.map_or(Duration::ZERO, |last| finish[last]);
    let mut chain: Vec<usize> = std::iter::successors(last, |index| through[*index]).collect();
    chain.reverse();
    (chain, length)
}
