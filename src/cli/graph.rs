//! `orchestrate graph`: the plan as a picture: who waits for whom, who runs beside whom, and what decides how long it takes.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::check::sizes;
use super::context::print;
use super::{CliError, Global, Place, plan as plan_helper};
use crate::exit_code::ExitCode;
use crate::ids::Actor;
use crate::plan::waves::{Step, Waves};
use crate::plan::{Need, Phase, Plan, Team};
use crate::report::style::Style;

/// Show the plan as a tree with its waves and its critical path, or as a graph for other programs
#[derive(Debug, Args)]
pub(super) struct GraphArguments {
    /// What to print
    #[arg(long, value_enum, default_value = "tree")]
    format: GraphFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum GraphFormat {
    /// For people
    Tree,
    /// For Markdown pages
    Mermaid,
    /// For Graphviz
    Dot,
    /// For programs
    Json,
}

/// Runs the command.
pub(super) fn run(global: &Global, arguments: &GraphArguments) -> Result<ExitCode, CliError> {
    let place = Place::find(global)?;
    let plan = plan_helper::load(&place)?;
    let waves = Waves::of(&plan);
    let text = match arguments.format {
        GraphFormat::Tree => tree(&plan, &waves, Style::of(&io::stdout()).unicode),
        GraphFormat::Mermaid => mermaid(&plan, &waves),
        GraphFormat::Dot => dot(&plan, &waves),
        GraphFormat::Json => {
            let mut text = serde_json::to_string_pretty(&json(&plan, &waves)).map_err(anyhow::Error::from)?;
            text.push('\n');
            text
        }
    };
    print(&text)?;
    Ok(ExitCode::Done)
}

/// `1h30m`, as the plan writes it.
fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let text: String = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| format!("{number}{unit}"))
        .collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

fn short(actor: &Actor) -> String {
    match actor {
        Actor::Agent(agent_id) => agent_id.to_string(),
        Actor::Leader(team_id) | Actor::Resolver(team_id) => format!("leader {team_id}"),
    }
}

fn tree(plan: &Plan, waves: &Waves, unicode: bool) -> String {
    let [branch, last, trunk, mark, arrow] = if unicode {
        ["├─ ", "└─ ", "│  ", " ●", " → "]
    } else {
        ["|- ", "`- ", "|  ", " *", " -> "]
    };
    let critical: BTreeSet<&Actor> = waves.critical_actors().collect();
    // One line for each: prefix and name, then what is put into columns.
    let mut lines: Vec<(String, String)> = Vec::new();
    for (phase_index, phase) in plan.phases.iter().enumerate() {
        let (head, below) = if phase_index + 1 == plan.phases.len() {
            (last, "   ")
        } else {
            (branch, trunk)
        };
        let mut about = if phase.needs.is_empty() {
            String::new()
        } else {
            format!("needs {}", joined(&phase.needs))
        };
        if let Some(expected) = phase.expected {
            let _ = write!(
                about,
                "{}expected {}",
                if about.is_empty() { "" } else { ", " },
                human(expected)
            );
        }
        lines.push((format!("{head}phase {} {}", phase.id, phase.name), about));
        for (team_index, team) in phase.teams.iter().enumerate() {
            let (team_head, team_below) = if team_index + 1 == phase.teams.len() {
                (last, "   ")
            } else {
                (branch, trunk)
            };
            lines.push((
                format!("{below}{team_head}team {} {}", team.id, team.name),
                team.branch.to_string(),
            ));
            for agent in &team.agents {
                let actor = Actor::Agent(agent.id.clone());
                let mut about = format!("wave {}", waves.wave_of(&actor));
                if !agent.needs.is_empty() {
                    let needs: Vec<String> = agent.needs.iter().map(need_name).collect();
                    let _ = write!(about, ", needs {}", needs.join(", "));
                }
                about.push_str(if critical.contains(&actor) { mark } else { "" });
                lines.push((format!("{below}{team_below}{branch}{} {}", agent.id, agent.name), about));
            }
            let leader = Actor::Leader(team.id.clone());
            let on_path = if critical.contains(&leader) { mark } else { "" };
            lines.push((
                format!("{below}{team_below}{last}leader {} integrates", team.id),
                format!("wave {}{on_path}", waves.wave_of(&leader)),
            ));
        }
    }
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = format!("{}: {}\n", plan.project, sizes(plan));
    for (name, about) in &lines {
        let _ = writeln!(text, "{}", format!("{name:width$}  {about}").trim_end());
    }
    let _ = writeln!(
        text,
        "\nwaves: what can run side by side, {} at once",
        plan.limits.agents
    );
    for number in 1..=waves.count() {
        let actors: Vec<String> = waves.wave(number).map(|step| short(&step.actor)).collect();
        let _ = writeln!(text, "  {number:>2}  {}", actors.join(", "));
    }
    let chain: Vec<String> = waves.critical_actors().map(short).collect();
    let expected = waves.expected.map_or_else(
        || format!("{} sessions, one after the other", chain.len()),
        |expected| format!("expected {}", human(expected)),
    );
    let _ = writeln!(text, "\ncritical path{mark}: {expected}\n  {}", chain.join(arrow));
    text
}

fn joined<T: ToString>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

fn need_name(need: &Need) -> String {
    match need {
        Need::Agent(agent_id) => agent_id.to_string(),
        Need::Team(team_id) => format!("team {team_id}"),
    }
}

/// A name that is safe in every language of graphs: ids have letters, digits and dots only.
fn node(actor: &Actor) -> String {
    let id = actor.id().replace('.', "_");
    match actor {
        Actor::Agent(_) => format!("agent_{id}"),
        Actor::Leader(_) | Actor::Resolver(_) => format!("leader_{id}"),
    }
}

fn label(plan: &Plan, actor: &Actor) -> String {
    match actor {
        Actor::Agent(agent_id) => plan
            .agent(agent_id)
            .map_or_else(String::new, |(_, agent)| format!("{agent_id} {}", agent.name)),
        Actor::Leader(team_id) | Actor::Resolver(team_id) => format!("leader {team_id}"),
    }
}

/// Whom to draw a line from: an agent that waits for another of its phase waits for the earlier phases through it.
fn drawn_edges<'w>(waves: &'w Waves, step: &'w Step) -> impl Iterator<Item = &'w Step> {
    let before: Vec<&Step> = step.after.iter().filter_map(|index| waves.steps.get(*index)).collect();
    let inside = before.iter().any(|before| before.phase_id == step.phase_id);
    before
        .into_iter()
        .filter(move |before| !inside || before.phase_id == step.phase_id)
}

fn actors_of(team: &Team) -> impl Iterator<Item = Actor> {
    team.agents
        .iter()
        .map(|agent| Actor::Agent(agent.id.clone()))
        .chain([Actor::Leader(team.id.clone())])
}

fn mermaid(plan: &Plan, waves: &Waves) -> String {
    let escape = |text: &str| {
        text.replace('#', "#35;")
            .replace('"', "#quot;")
            .replace('<', "#lt;")
            .replace('>', "#gt;")
    };
    let name = |id: &str| id.replace('.', "_");
    let mut text = "flowchart LR\n".to_owned();
    for phase in &plan.phases {
        let _ = writeln!(
            text,
            "  subgraph phase_{}[\"phase {}: {}\"]",
            name(phase.id.as_str()),
            phase.id,
            escape(&phase.name)
        );
        for team in &phase.teams {
            let _ = writeln!(
                text,
                "    subgraph team_{}[\"team {}: {}\"]",
                name(team.id.as_str()),
                team.id,
                escape(&team.name)
            );
            for actor in actors_of(team) {
                let label = escape(&label(plan, &actor));
                let _ = match actor {
                    Actor::Agent(_) => writeln!(text, "      {}[\"{label}\"]", node(&actor)),
                    Actor::Leader(_) | Actor::Resolver(_) => writeln!(text, "      {}([\"{label}\"])", node(&actor)),
                };
            }
            text.push_str("    end\n");
        }
        text.push_str("  end\n");
    }
    for step in &waves.steps {
        for before in drawn_edges(waves, step) {
            let _ = writeln!(text, "  {} --> {}", node(&before.actor), node(&step.actor));
        }
    }
    let critical: Vec<String> = waves.critical_actors().map(node).collect();
    let _ = writeln!(
        text,
        "  classDef critical stroke-width:3px\n  class {} critical",
        critical.join(",")
    );
    text
}

fn dot(plan: &Plan, waves: &Waves) -> String {
    let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let name = |id: &str| id.replace('.', "_");
    let critical: BTreeSet<&Actor> = waves.critical_actors().collect();
    let mut text = "digraph plan {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
    for phase in &plan.phases {
        let _ = writeln!(
            text,
            "  subgraph cluster_phase_{} {{\n    label=\"phase {}: {}\";",
            name(phase.id.as_str()),
            phase.id,
            escape(&phase.name)
        );
        for team in &phase.teams {
            let _ = writeln!(
                text,
                "    subgraph cluster_team_{} {{\n      label=\"team {}: {}\";",
                name(team.id.as_str()),
                team.id,
                escape(&team.name)
            );
            for actor in actors_of(team) {
                let shape = if matches!(actor, Actor::Leader(_)) {
                    ", shape=oval"
                } else {
                    ""
                };
                let weight = if critical.contains(&actor) { ", penwidth=3" } else { "" };
                let _ = writeln!(
                    text,
                    "      {} [label=\"{}\"{shape}{weight}];",
                    node(&actor),
                    escape(&label(plan, &actor))
                );
            }
            text.push_str("    }\n");
        }
        text.push_str("  }\n");
    }
    for step in &waves.steps {
        for before in drawn_edges(waves, step) {
            let _ = writeln!(text, "  {} -> {};", node(&before.actor), node(&step.actor));
        }
    }
    text.push_str("}\n");
    text
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn json(plan: &Plan, waves: &Waves) -> Value {
    json!({
        "schema": 1,
        "project": plan.project,
        "agents_at_once": plan.limits.agents,
        "phases": plan.phases.iter().map(|phase| json_phase(phase, waves)).collect::<Vec<_>>(),
        "waves": (1..=waves.count())
            .map(|number| waves.wave(number).map(|step| step.actor.slug()).collect::<Vec<_>>())
            .collect::<Vec<_>>(),
        "critical_path": waves.critical_actors().map(Actor::slug).collect::<Vec<_>>(),
        "expected_ms": waves.expected.map(milliseconds),
    })
}

fn json_phase(phase: &Phase, waves: &Waves) -> Value {
    json!({
        "id": phase.id,
        "name": phase.name,
        "needs": phase.needs,
        "expected_ms": phase.expected.map(milliseconds),
        "teams": phase.teams.iter().map(|team| json!({
            "id": team.id,
            "name": team.name,
            "branch": team.branch,
            "leader": {
                "branch": team.leader.branch,
                "wave": waves.wave_of(&Actor::Leader(team.id.clone())),
            },
            "agents": team.agents.iter().map(|agent| json!({
                "id": agent.id,
                "name": agent.name,
                "branch": agent.branch,
                "needs": agent.needs.iter().map(|need| match need {
                    Need::Agent(agent_id) => json!({ "agent": agent_id }),
                    Need::Team(team_id) => json!({ "team": team_id }),
                }).collect::<Vec<_>>(),
                "wave": waves.wave_of(&Actor::Agent(agent.id.clone())),
            })).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}
