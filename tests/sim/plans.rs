//! Plans to simulate: small random ones, and the shape of the shipped one (four phases of a team with four agents each).

use std::time::Duration;

use orchestrate::ids::{AgentId, BranchName, MicroDollars, PhaseId, TeamId};
use orchestrate::plan::{
    Agent, Approval, Approvals, Driver, FailureLimit, Gate, Gates, Leader, Limits, Need, Notify, Phase, Plan,
    Repository, Settings, Team, Workspace,
};

use crate::rng::Rng;

const MINUTE: u64 = 60;

pub(crate) fn draw(seed: u64) -> Plan {
    let mut rng = Rng::new(seed ^ 0x0070_6c61_6e00);
    let phases = if seed.is_multiple_of(5) {
        shipped_shape(&mut rng)
    } else {
        random_phases(&mut rng)
    };
    let gate = |rng: &mut Rng, words: &str| match rng.below(5) {
        0 => Gate::None,
        1 => Gate::Command("check".to_owned()),
        _ => Gate::Command(words.to_owned()),
    };
    let gates = Gates {
        agent: gate(&mut rng, "check agent"),
        team: gate(&mut rng, "check team"),
        main: gate(&mut rng, "check main"),
        timeout: Duration::from_secs(20 * MINUTE),
    };
    let limits = Limits {
        agents: rng.between(1, 4) as u32,
        gates: rng.between(1, 3) as u32,
        budget: (rng.below(4) == 0).then(|| MicroDollars(rng.between(3, 60) * 1_000_000)),
        tokens: (rng.below(8) == 0).then(|| rng.between(5, 100) * 1000),
        failures: (rng.below(2) == 0).then(|| FailureLimit {
            count: rng.between(1, 4) as u32,
            window: Duration::from_secs(30 * MINUTE),
        }),
    };
    let approval = if rng.below(3) == 0 {
        Approval::Manual
    } else {
        Approval::Auto
    };
    Plan {
        project: "simulated".to_owned(),
        repository: Repository {
            base: BranchName::new("main"),
            remote: None,
            release_branch: None,
            release_tag: None,
        },
        specs: "specs".to_owned(),
        prompts: "prompts".to_owned(),
        limits,
        workspace: Workspace::default(),
        gates,
        approvals: Approvals {
            team: approval,
            release: Approval::Manual,
        },
        notify: Notify::default(),
        phases,
    }
}

/// The plan after a human raised what may be in its way.
pub(crate) fn relaxed(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    plan.limits.agents += 1;
    plan.limits.budget = None;
    plan.limits.tokens = None;
    plan.limits.failures = None;
    for phase in &mut plan.phases {
        for team in &mut phase.teams {
            team.budget = None;
            team.leader.settings.budget = None;
            for agent in &mut team.agents {
                agent.settings.budget = None;
            }
        }
    }
    plan
}

/// The plan after a human found that a gate was wrong.
pub(crate) fn with_other_gates(plan: &Plan, rng: &mut Rng) -> Plan {
    let mut plan = plan.clone();
    for gate in [&mut plan.gates.agent, &mut plan.gates.team, &mut plan.gates.main] {
        if rng.below(2) == 0 {
            *gate = match &*gate {
                Gate::None => Gate::Command("check".to_owned()),
                Gate::Command(command) => Gate::Command(format!("{command} more")),
            };
        }
    }
    plan
}

fn settings(rng: &mut Rng) -> Settings {
    Settings {
        driver: Driver::Replay,
        env: Vec::new(),
        model: None,
        max_turns: None,
        budget: (rng.below(5) == 0).then(|| MicroDollars(rng.between(1, 6) * 1_000_000)),
        stuck_after: Duration::from_secs(rng.between(10, 30) * MINUTE),
        max_attempts: rng.between(1, 4) as u32,
    }
}

fn team(rng: &mut Rng, id: &str, needs: Vec<Vec<Need>>) -> Team {
    let agents = needs
        .into_iter()
        .enumerate()
        .map(|(index, needs)| {
            let agent_id = format!("{id}.{}", index + 1);
            Agent {
                name: format!("Part {agent_id}"),
                branch: BranchName::new(format!("agent-{}", agent_id.replace('.', "-"))),
                needs,
                prompt: "agent.md.tera".to_owned(),
                completion: format!("Part {} complete", index + 1),
                owns: vec![format!("{agent_id}/**")],
                deliverables: vec![format!("{agent_id}/work")],
                settings: settings(rng),
                id: AgentId::new(agent_id),
            }
        })
        .collect();
    Team {
        id: TeamId::new(id),
        name: format!("Team {id}"),
        branch: BranchName::new(format!("team-{id}")),
        budget: (rng.below(6) == 0).then(|| MicroDollars(rng.between(2, 12) * 1_000_000)),
        leader: Leader {
            branch: BranchName::new(format!("team-{id}-integration")),
            prompt: "leader.md.tera".to_owned(),
            settings: settings(rng),
        },
        deliverables: vec![format!("{id}/README.md")],
        agents,
    }
}

fn phase(id: usize, needs: &[usize], teams: Vec<Team>) -> Phase {
    Phase {
        id: PhaseId::new(id.to_string()),
        name: format!("Phase {id}"),
        needs: needs.iter().map(|need| PhaseId::new(need.to_string())).collect(),
        expected: Some(Duration::from_secs(45 * MINUTE)),
        teams,
    }
}

fn shipped_shape(rng: &mut Rng) -> Vec<Phase> {
    let of = |team: usize, agents: &[usize]| -> Vec<Need> {
        agents
            .iter()
            .map(|agent| Need::Agent(AgentId::new(format!("{team}.{agent}"))))
            .collect()
    };
    let free = || vec![Vec::new(); 4];
    let first = vec![Vec::new(), of(1, &[1]), of(1, &[1, 2]), of(1, &[1, 2, 3])];
    let second = vec![Vec::new(), Vec::new(), Vec::new(), of(2, &[1, 2, 3])];
    vec![
        phase(1, &[], vec![team(rng, "1", first)]),
        phase(2, &[1], vec![team(rng, "2", second)]),
        phase(3, &[1], vec![team(rng, "3", free())]),
        phase(4, &[1, 2], vec![team(rng, "4", free())]),
    ]
}

fn random_phases(rng: &mut Rng) -> Vec<Phase> {
    let phase_count = rng.between(1, 4) as usize;
    let mut earlier_teams: Vec<TeamId> = Vec::new();
    let mut phases = Vec::new();
    for phase_number in 1..=phase_count {
        let phase_needs: Vec<usize> = (1..phase_number).filter(|_| rng.below(2) == 0).collect();
        let mut teams = Vec::new();
        for _ in 0..rng.between(1, 2) {
            let id = (earlier_teams.len() + 1).to_string();
            let agent_count = *rng.pick(&[1, 1, 2, 2, 3, 5]);
            let needs = (1..=agent_count)
                .map(|agent| {
                    let mut needs: Vec<Need> = (1..agent)
                        .filter(|_| rng.chance(300))
                        .map(|other| Need::Agent(AgentId::new(format!("{id}.{other}"))))
                        .collect();
                    if !earlier_teams.is_empty() && rng.chance(200) {
                        needs.push(Need::Team(rng.pick(&earlier_teams).clone()));
                    }
                    needs
                })
                .collect();
            teams.push(team(rng, &id, needs));
            earlier_teams.push(TeamId::new(id));
        }
        phases.push(phase(phase_number, &phase_needs, teams));
    }
    phases
}
