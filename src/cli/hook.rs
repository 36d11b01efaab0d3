//! `orchestrate hook commit-msg`: called by git for every commit of an agent. It refuses a wrong tag with the right form, and adds the trailers.

use std::env;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::CliError;
use crate::exit_code::ExitCode;
use crate::ids::{Actor, AgentId, TeamId};
use crate::tags::{self, Tag};

/// What git calls while an agent works
#[derive(Debug, Args)]
pub(super) struct HookArguments {
    #[command(subcommand)]
    hook: Hook,
}

#[derive(Debug, Subcommand)]
enum Hook {
    /// Check a commit message and add the trailers
    CommitMsg {
        /// The file that holds the message
        file: PathBuf,
    },
}

/// What `git commit --verbose` puts below the message; git cuts there, after us.
const SCISSORS: &str = "# ------------------------ >8";

pub(super) fn run(arguments: &HookArguments) -> Result<ExitCode, CliError> {
    let Hook::CommitMsg { file } = &arguments.hook;
    let Some(actor) = actor() else {
        return Ok(ExitCode::Done);
    };
    let failed =
        |error: std::io::Error| CliError::message(ExitCode::Environment, format!("{}: {error}", file.display()));
    let text = std::fs::read_to_string(file).map_err(failed)?;
    let completion = env::var("ORCHESTRATE_COMPLETION").unwrap_or_default();
    check(&text, &actor).map_err(|fault| refusal(&fault, &actor, &completion))?;
    let trailers: Vec<(&str, String)> = [
        ("Orchestrate-Run", "ORCHESTRATE_RUN"),
        ("Orchestrate-Agent", "ORCHESTRATE_AGENT"),
        ("Orchestrate-Attempt", "ORCHESTRATE_ATTEMPT"),
    ]
    .into_iter()
    .filter_map(|(key, variable)| Some((key, env::var(variable).ok()?)))
    .collect();
    std::fs::write(file, with_trailers(&text, &trailers)).map_err(failed)?;
    Ok(ExitCode::Done)
}

/// Who commits; `None` outside of an agent's process.
fn actor() -> Option<Actor> {
    let id = env::var("ORCHESTRATE_AGENT").ok()?;
    Some(match env::var("ORCHESTRATE_ROLE").ok()?.as_str() {
        "leader" => Actor::Leader(TeamId::new(id)),
        _ => Actor::Agent(AgentId::new(id)),
    })
}

/// The message without what git strips.
fn spoken(text: &str) -> String {
    text.lines()
        .take_while(|line| !line.starts_with(SCISSORS))
        .filter(|line| !line.starts_with('#'))
        .collect::<Vec<_>>()
        .join("\n")
}

/// What is wrong with a message. A subject without a tag is let through: merges and fixes have none, and they complete nothing.
fn check(text: &str, actor: &Actor) -> Result<(), String> {
    let message = tags::parse(&spoken(text));
    let own = tags::actor_tag(actor);
    match message.tag {
        None if ["AGENT-", "TEAM-"]
            .iter()
            .any(|start| message.subject.to_ascii_uppercase().starts_with(start)) =>
        {
            Err("a tag stands in brackets".to_owned())
        }
        None | Some(Ok(Tag::ConflictResolved { .. } | Tag::EscalationNeeded { .. })) => Ok(()),
        Some(Ok(Tag::Agent { agent_id, .. })) if *actor == Actor::Agent(agent_id.clone()) => Ok(()),
        Some(Ok(Tag::Team { team_id, .. })) if *actor == Actor::Leader(team_id.clone()) => Ok(()),
        Some(Ok(Tag::Agent { .. } | Tag::Team { .. })) => {
            Err(format!("this branch belongs to {actor}, whose tag is {own}"))
        }
        Some(Ok(Tag::Merge { .. })) => Err("[MERGE] is for the orchestrator's own merges".to_owned()),
        Some(Err(error)) => Err(error.to_string()),
    }
}

fn refusal(fault: &str, actor: &Actor, completion: &str) -> CliError {
    let own = tags::actor_tag(actor);
    let error = CliError::message(ExitCode::Usage, format!("the commit was refused: {fault}"))
        .hint(format!("while you work: {own} Component: description"));
    let error = if completion.is_empty() {
        error
    } else {
        error.hint(format!("when all is done: {completion}"))
    };
    error.hint("when a human must decide: [ESCALATION-NEEDED] your question")
}

/// The message with the trailers that it does not have yet, above whatever git cuts off.
fn with_trailers(text: &str, trailers: &[(&str, String)]) -> String {
    let cut = text.find(&format!("\n{SCISSORS}")).map_or(text.len(), |at| at + 1);
    let (head, rest) = text.split_at(cut);
    let message = tags::parse(head);
    let missing: Vec<String> = trailers
        .iter()
        .filter(|(key, _)| message.trailer(key).is_none())
        .map(|(key, value)| format!("{key}: {value}"))
        .collect();
    if missing.is_empty() {
        return text.to_owned();
    }
    let gap = if message.trailers.is_empty() { "\n\n" } else { "\n" };
    format!("{}{gap}{}\n{rest}", head.trim_end(), missing.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent() -> Actor {
        Actor::Agent(AgentId::new("1.2"))
    }

    #[test]
    fn only_wrong_tags_are_refused() {
        assert_eq!(check("[AGENT-1-2] Config: routes", &agent()), Ok(()));
        assert_eq!(check("Merge branch 'main'", &agent()), Ok(()));
        assert_eq!(check("# a comment\n[ESCALATION-NEEDED] which?", &agent()), Ok(()));
        assert!(check("[AGENT-1-1] Schema complete", &agent()).is_err());
        assert!(check("[TEAM-1] Phase complete: x", &agent()).is_err());
        assert!(check("[AGENT-1-2 done", &agent()).is_err());
        assert!(check("AGENT-1-2: done", &agent()).is_err());
        assert!(check("[MERGE] x", &agent()).is_err());
    }

    #[test]
    fn trailers_are_added_once_and_above_the_scissors() {
        let trailers = [
            ("Orchestrate-Run", "r".to_owned()),
            ("Orchestrate-Agent", "1.2".to_owned()),
        ];
        let once = with_trailers("[AGENT-1-2] x\n", &trailers);
        assert_eq!(once, "[AGENT-1-2] x\n\nOrchestrate-Run: r\nOrchestrate-Agent: 1.2\n");
        assert_eq!(with_trailers(&once, &trailers), once);
        let signed = with_trailers("x\n\nSigned-off-by: A <a@b>\n", &trailers);
        assert_eq!(
            signed,
            "x\n\nSigned-off-by: A <a@b>\nOrchestrate-Run: r\nOrchestrate-Agent: 1.2\n"
        );
        let verbose = with_trailers("x\n# ------------------------ >8 ------\ndiff\n", &trailers);
        assert!(verbose.find("Orchestrate-Agent") < verbose.find(">8"), "{verbose}");
    }
}
