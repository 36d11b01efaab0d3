//! Who is started first when slots are few: whoever the longest chain of work hangs on.

use std::collections::BTreeMap;

use crate::ids::Actor;
use crate::plan::{Need, Plan, Team};

/// How long a chain of work hangs on each actor, itself included. Starting the longest chain first keeps the makespan near its lower bound.
pub(crate) fn ranks(plan: &Plan) -> BTreeMap<Actor, u32> {
    let mut ranks = BTreeMap::new();
    let mut phase_ranks: BTreeMap<_, u32> = BTreeMap::new();
    // A valid plan has no cycles, so as many rounds as there are phases settle it.
    for _ in &plan.phases {
        for phase in plan.phases.iter().rev() {
            let below = plan
                .phases
                .iter()
                .filter(|later| later.needs.contains(&phase.id))
                .filter_map(|later| phase_ranks.get(&later.id))
                .max()
                .copied()
                .unwrap_or(0);
            let deepest = phase
                .teams
                .iter()
                .map(|team| rank_team(team, below, &mut ranks))
                .max()
                .unwrap_or(0);
            phase_ranks.insert(phase.id.clone(), deepest);
        }
    }
    ranks
}

fn rank_team(team: &Team, below: u32, ranks: &mut BTreeMap<Actor, u32>) -> u32 {
    let leader_rank = below + 1;
    ranks.insert(Actor::Leader(team.id.clone()), leader_rank);
    for agent in &team.agents {
        ranks.insert(Actor::Agent(agent.id.clone()), leader_rank + 1);
    }
    let mut changed = true;
    let mut rounds = 0;
    // Bounded, so that not even a plan with a cycle hangs here.
    while changed && rounds <= team.agents.len() {
        changed = false;
        rounds += 1;
        for agent in &team.agents {
            let own = ranks.get(&Actor::Agent(agent.id.clone())).copied().unwrap_or(0);
            for need in &agent.needs {
                if let Need::Agent(needed) = need
                    && let Some(rank) = ranks.get_mut(&Actor::Agent(needed.clone()))
                    && *rank <= own
                {
                    *rank = own + 1;
                    changed = true;
                }
            }
        }
    }
    team.agents
        .iter()
        .filter_map(|agent| ranks.get(&Actor::Agent(agent.id.clone())).copied())
        .max()
        .unwrap_or(leader_rank)
}
