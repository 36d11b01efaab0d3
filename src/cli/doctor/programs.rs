//! The programs that agents and gates need.

use std::collections::BTreeSet;

use super::Finding;
use crate::cli::Place;
use crate::plan::{Driver, Gate, Plan};
use crate::shell::probe::{Answer, ask, find_program};

/// The oldest Node.js that the shipped plan's gates and Claude Code's package work with.
const NODE_MAJOR_MIN: u32 = 20;

/// Looks for every program that the plan names.
pub(super) fn check(place: &Place, plan: Option<&Plan>, findings: &mut Vec<Finding>) {
    let Some(plan) = plan else {
        return;
    };
    let settings = plan
        .teams()
        .map(|team| &team.leader.settings)
        .chain(plan.agents().map(|(_, agent)| &agent.settings));
    let programs: BTreeSet<&str> = settings
        .filter_map(|settings| match &settings.driver {
            Driver::Claude { program } => Some(program.as_str()),
            Driver::Replay | Driver::Command { .. } => None,
        })
        .collect();
    for program in &programs {
        claude(place, program, findings);
    }
    if !programs.is_empty() {
        login(findings);
    }
    if commands(plan).any(needs_node) {
        node(place, findings);
    }
}

fn claude(place: &Place, program: &str, findings: &mut Vec<Finding>) {
    const SUBJECT: &str = "agents";
    let remedy = format!(
        "npm install --global @anthropic-ai/claude-code, or name another program as `agent.program` in {}",
        place.plan_name
    );
    if find_program(place.plan_directory(), program).is_none() {
        findings.push(Finding::bad(
            SUBJECT,
            format!("the agents' program `{program}` is not found"),
            remedy,
        ));
        return;
    }
    match ask(place.plan_directory(), program, &["--version"]) {
        Answer::Ended { success: true, output } => {
            let version = output.lines().next().unwrap_or_default().to_owned();
            findings.push(Finding::well(SUBJECT, format!("{program} {version}")));
        }
        Answer::Ended { success: false, .. } | Answer::Missing => {
            findings.push(Finding::bad(SUBJECT, format!("`{program} --version` fails"), remedy));
        }
        Answer::Silent => {
            findings.push(Finding::bad(
                SUBJECT,
                format!("`{program} --version` does not answer"),
                remedy,
            ));
        }
    }
}

/// Whether anything shows that the vendor will serve us; only a session would tell for sure.
fn login(findings: &mut Vec<Finding>) {
    const SUBJECT: &str = "login";
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let stored = std::env::var_os("HOME")
        .map(std::path::PathBuf::from)
        .is_some_and(|home| home.join(".claude/.credentials.json").exists());
    if set("ANTHROPIC_API_KEY") || set("ANTHROPIC_AUTH_TOKEN") {
        findings.push(Finding::well(SUBJECT, "a key is in the environment"));
    } else if stored {
        findings.push(Finding::well(SUBJECT, "Claude Code is logged in"));
    } else {
        findings.push(Finding::doubtful(
            SUBJECT,
            "neither a key nor a login of Claude Code is seen",
            "set ANTHROPIC_API_KEY, or start `claude` once and log in",
        ));
    }
}

/// Every shell command of the plan.
fn commands(plan: &Plan) -> impl Iterator<Item = &str> {
    let gates = [&plan.gates.agent, &plan.gates.team, &plan.gates.main]
        .into_iter()
        .filter_map(|gate| match gate {
            Gate::Command(command) => Some(command.as_str()),
            Gate::None => None,
        });
    gates.chain(plan.workspace.setup.as_deref())
}

fn needs_node(command: &str) -> bool {
    command
        .split(|c: char| !(c.is_alphanumeric() || c == '-' || c == '_'))
        .any(|word| matches!(word, "npm" | "npx" | "node"))
}

fn node(place: &Place, findings: &mut Vec<Finding>) {
    for program in ["node", "npm"] {
        let remedy = format!("install Node.js {NODE_MAJOR_MIN} or newer, which brings npm");
        match ask(place.plan_directory(), program, &["--version"]) {
            Answer::Ended { success: true, output } => {
                let major = output
                    .trim_start_matches('v')
                    .split('.')
                    .next()
                    .and_then(|major| major.parse::<u32>().ok());
                if program == "node" && major.is_none_or(|major| major < NODE_MAJOR_MIN) {
                    findings.push(Finding::bad(
                        "node",
                        format!("{output} is too old for the gates"),
                        remedy,
                    ));
                } else {
                    findings.push(Finding::well(program, output.trim_start_matches('v')));
                }
            }
            Answer::Ended { success: false, .. } | Answer::Missing | Answer::Silent => {
                findings.push(Finding::bad(
                    program,
                    "the gates need it and it does not answer",
                    remedy,
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::needs_node;

    #[test]
    fn a_command_needs_node_when_it_names_it_as_a_word() {
        assert!(needs_node("npm ci --prefer-offline"));
        assert!(needs_node("cd web && npx tsc"));
        assert!(needs_node("/usr/bin/node check.js"));
        assert!(!needs_node("cargo test --package node-graph"));
        assert!(!needs_node("make pnpm-free"));
    }
}
