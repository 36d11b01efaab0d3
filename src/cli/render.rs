//! `orchestrate render`: the exact prompt that would be sent.

use clap::Args;

use super::context::print;
use super::{CliError, Global, Place, plan as plan_helper};
use crate::exit_code::ExitCode;
use crate::ids::{Actor, AgentId, Attempt, TeamId};
use crate::plan::Plan;
use crate::prompt::{Prompts, Recipient};

/// Print the exact prompt that an agent or a leader would get
#[derive(Debug, Args)]
pub(super) struct RenderArguments {
    /// An agent's id (`1.2`), or a leader: `leader 1`, `leader-1`, `team-1`
    #[arg(required = true, num_args = 1..=2, value_name = "WHO")]
    who: Vec<String>,
    /// The prompt of this attempt
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    attempt: u32,
}

/// Runs the command.
pub(super) fn run(global: &Global, arguments: &RenderArguments) -> Result<ExitCode, CliError> {
    let place = Place::find(global)?;
    let plan = plan_helper::load(&place)?;
    let actor = actor(&plan, &arguments.who)?;
    let invalid = |error| CliError::new(ExitCode::PlanInvalid, error).hint("run `orchestrate check`");
    let prompts = Prompts::load(place.plan_directory(), &plan).map_err(invalid)?;
    let to = Recipient {
        plan: &plan,
        actor: &actor,
        attempt: Attempt(arguments.attempt),
        fresh: false,
        conflict: None,
    };
    print(&prompts.render_first(to).map_err(invalid)?)?;
    Ok(ExitCode::Done)
}

fn actor(plan: &Plan, who: &[String]) -> Result<Actor, CliError> {
    let found = match who {
        [id] => {
            let leader = ["leader-", "team-"]
                .into_iter()
                .find_map(|prefix| id.strip_prefix(prefix));
            let agent_id = id
                .strip_prefix("agent-")
                .map_or_else(|| id.clone(), |id| id.replace('-', "."));
            match leader {
                Some(team_id) => leader_of(plan, team_id),
                None => Some(AgentId::new(agent_id))
                    .filter(|id| plan.agent(id).is_some())
                    .map(Actor::Agent),
            }
        }
        [role, id] if role == "leader" || role == "team" => leader_of(plan, id),
        [role, id] if role == "agent" => Some(AgentId::new(id.clone()))
            .filter(|id| plan.agent(id).is_some())
            .map(Actor::Agent),
        _ => None,
    };
    found.ok_or_else(|| {
        let agents: Vec<String> = plan.agents().map(|(_, agent)| agent.id.to_string()).take(20).collect();
        let teams: Vec<String> = plan
            .teams()
            .map(|team| format!("`leader {}`", team.id))
            .take(20)
            .collect();
        CliError::message(
            ExitCode::Usage,
            format!("the plan has nobody called `{}`", who.join(" ").escape_debug()),
        )
        .hint(format!(
            "agents are {}; leaders are {}",
            agents.join(", "),
            teams.join(", ")
        ))
    })
}

fn leader_of(plan: &Plan, team_id: &str) -> Option<Actor> {
    Some(TeamId::new(team_id))
        .filter(|id| plan.team(id).is_some())
        .map(Actor::Leader)
}
