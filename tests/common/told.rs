//! Events of a small plan, as a run would have written them.

use std::time::Duration;

use orchestrate::core::event::{CommitFact, Event, Preparation, Usage};
use orchestrate::ids::{Actor, AgentId, Attempt, BranchName, MergeId, MicroDollars, Oid, PhaseId, TeamId};
use orchestrate::plan::{
    Agent, Approval, Approvals, Driver, Gate, Gates, Leader, Limits, Need, Notify, Phase, Plan, Repository, Settings,
    Team, Workspace,
};

pub(crate) fn agent(id: &str) -> Actor {
    Actor::Agent(AgentId::new(id))
}

pub(crate) fn branch(name: &str) -> BranchName {
    BranchName::new(name)
}

/// A commit's name that is made of one digit.
pub(crate) fn oid(digit: char) -> Oid {
    Oid::new(digit.to_string().repeat(40))
}

pub(crate) fn started(actor: Actor, attempt: u32) -> Event {
    Event::AgentStarted {
        actor,
        attempt: Attempt(attempt),
    }
}

pub(crate) fn progressed(actor: Actor, attempt: u32, dollars: f64) -> Event {
    let usage = Usage {
        cost: MicroDollars::from_dollars(dollars),
        tokens: 120_000,
    };
    Event::AgentProgressed {
        actor,
        attempt: Attempt(attempt),
        usage,
        session: None,
    }
}

/// The first commit on a branch that stood where [`created`] put it.
pub(crate) fn committed(actor: Actor, digit: char, message: &str) -> Event {
    committed_on(actor, '0', digit, message)
}

/// A commit on top of another.
pub(crate) fn committed_on(actor: Actor, from: char, digit: char, message: &str) -> Event {
    Event::CommitsSeen {
        actor,
        from: oid(from),
        tip: oid(digit),
        rewritten: false,
        commits: vec![CommitFact {
            oid: oid(digit),
            message: message.to_owned(),
        }],
    }
}

pub(crate) fn created(name: &str) -> Event {
    Event::BranchCreated {
        branch: branch(name),
        tip: oid('0'),
    }
}

pub(crate) fn clean(merge: u32, digit: char) -> Event {
    Event::MergePrepared {
        merge_id: MergeId(merge),
        outcome: Preparation::Clean {
            tree: oid(digit),
            onto: oid('0'),
        },
    }
}

/// Two phases, two teams, four agents; 1.2 needs 1.1, 1.3 needs both.
pub(crate) fn plan() -> Plan {
    let settings = Settings {
        driver: Driver::Command {
            command: "sh agent.sh".to_owned(),
        },
        env: Vec::new(),
        model: None,
        max_turns: None,
        budget: None,
        stuck_after: Duration::from_secs(1_800),
        max_attempts: 3,
    };
    let team_of = |id: &str, name: &str, agents: Vec<Agent>| Team {
        id: TeamId::new(id),
        name: name.to_owned(),
        branch: branch(&format!("team-{id}")),
        budget: None,
        leader: Leader {
            branch: branch(&format!("team-{id}-integration")),
            prompt: "leader.md.tera".to_owned(),
            settings: settings.clone(),
        },
        deliverables: Vec::new(),
        agents,
    };
    let agent_of = |id: &str, name: &str, needs: &[&str]| Agent {
        id: AgentId::new(id),
        name: name.to_owned(),
        branch: branch(&format!("agent-{}", id.replace('.', "-"))),
        needs: needs.iter().map(|need| Need::Agent(AgentId::new(*need))).collect(),
        prompt: "agent.md.tera".to_owned(),
        completion: "complete".to_owned(),
        owns: vec![format!("{id}/**")],
        deliverables: Vec::new(),
        settings: settings.clone(),
    };
    Plan {
        project: "shop".to_owned(),
        repository: Repository {
            base: branch("main"),
            remote: None,
            release_branch: None,
            release_tag: None,
        },
        specs: "specs".to_owned(),
        prompts: "prompts".to_owned(),
        limits: Limits {
            agents: 8,
            gates: 2,
            budget: Some(MicroDollars::from_dollars(20.0)),
            tokens: None,
            failures: None,
        },
        workspace: Workspace::default(),
        gates: Gates {
            agent: Gate::Command("true".to_owned()),
            team: Gate::Command("true".to_owned()),
            main: Gate::Command("true".to_owned()),
            timeout: Duration::from_secs(600),
        },
        approvals: Approvals {
            team: Approval::Auto,
            release: Approval::Manual,
        },
        notify: Notify::default(),
        phases: vec![
            Phase {
                id: PhaseId::new("1"),
                name: "Foundation".to_owned(),
                needs: Vec::new(),
                expected: None,
                teams: vec![team_of(
                    "1",
                    "Infrastructure",
                    vec![
                        agent_of("1.1", "Database Schema", &[]),
                        agent_of("1.2", "Config Service", &["1.1"]),
                        agent_of("1.3", "Authentication", &["1.1", "1.2"]),
                    ],
                )],
            },
            Phase {
                id: PhaseId::new("2"),
                name: "Shop Window".to_owned(),
                needs: vec![PhaseId::new("1")],
                expected: None,
                teams: vec![team_of("2", "Window", vec![agent_of("2.1", "Pages", &[])])],
            },
        ],
    }
}
