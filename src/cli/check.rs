//! `orchestrate check`: everything that is wrong with the plan, at once.

use clap::{Args, ValueEnum};

use super::context::print;
use super::{CliError, Global, Place, plan as plan_helper};
use crate::exit_code::ExitCode;
use crate::plan::waves::Waves;
use crate::plan::{self, Approval, Driver, Gate, Plan, draw, format};

/// Find every mistake in the plan, its prompts and its specifications
///
/// Nothing is started. Each finding has its place, a remedy, and a code that `orchestrate explain CODE` knows more about.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// How findings are printed: drawn for people (standard error), or one JSON document for programs (standard output)
    #[arg(long, value_enum, default_value = "human")]
    format: FindingsFormat,
    /// Print the JSON Schema of phases.yaml, for editors, and do nothing else
    #[arg(long, conflicts_with = "format")]
    schema: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FindingsFormat {
    Human,
    Json,
}

/// Runs the command.
pub(super) fn run(global: &Global, arguments: &CheckArguments) -> Result<ExitCode, CliError> {
    if arguments.schema {
        print(&pretty(&format::json_schema())?)?;
        return Ok(ExitCode::Done);
    }
    let place = Place::find(global)?;
    let loaded = plan::load(&place.plan_file, &place.plan_name);
    if arguments.format == FindingsFormat::Json {
        print(&pretty(&draw::json(&loaded))?)?;
        return Ok(if loaded.plan.is_some() {
            ExitCode::Done
        } else {
            ExitCode::PlanInvalid
        });
    }
    plan_helper::show(&loaded);
    let plan = plan_helper::accepted(loaded)?;
    print(&summary(&place.plan_name, &plan))?;
    Ok(ExitCode::Done)
}

fn pretty(value: &serde_json::Value) -> Result<String, CliError> {
    let mut text = serde_json::to_string_pretty(value).map_err(anyhow::Error::from)?;
    text.push('\n');
    Ok(text)
}

/// `1 team`, `4 teams`.
pub(super) fn counted(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

/// Sizes of a plan in one line.
pub(super) fn sizes(plan: &Plan) -> String {
    format!(
        "{}, {}, {}",
        counted(plan.phases.len(), "phase"),
        counted(plan.teams().count(), "team"),
        counted(plan.agents().count(), "agent")
    )
}

fn summary(name: &str, plan: &Plan) -> String {
    let waves = Waves::of(plan);
    let gate = |gate: &Gate| match gate {
        Gate::None => "none".to_owned(),
        Gate::Command(command) => format!("`{}`", command.lines().next().unwrap_or_default()),
    };
    let approval = |approval: Approval| match approval {
        Approval::Auto => "auto",
        Approval::Manual => "manual",
    };
    let mut drivers: Vec<&str> = Vec::new();
    let settings = plan
        .teams()
        .flat_map(|team| std::iter::once(&team.leader.settings).chain(team.agents.iter().map(|agent| &agent.settings)));
    for settings in settings {
        let driver = match &settings.driver {
            Driver::Claude { .. } => "claude",
            Driver::Replay => "replay",
            Driver::Command { .. } => "command",
        };
        if !drivers.contains(&driver) {
            drivers.push(driver);
        }
    }
    let budget = plan
        .limits
        .budget
        .map_or_else(String::new, |budget| format!(", {budget} in all"));
    format!(
        "{name} is valid: {project}\n  holds      {sizes}, driver {drivers}\n  sessions   {sessions} in {waves}, {at_once} at once{budget}\n  gates      agent {agent}, team {team}, main {main}\n  approvals  team {team_approval}, release {release_approval}\n",
        project = plan.project,
        sizes = sizes(plan),
        drivers = drivers.join(", "),
        sessions = waves.steps.len(),
        waves = counted(waves.count(), "wave"),
        at_once = plan.limits.agents,
        agent = gate(&plan.gates.agent),
        team = gate(&plan.gates.team),
        main = gate(&plan.gates.main),
        team_approval = approval(plan.approvals.team),
        release_approval = approval(plan.approvals.release),
    )
}
