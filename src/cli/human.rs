//! What a human says to a run: `answer`, `approve`, `reject`, `pause`, `resume`, `retry`. Each is posted into the journal's inbox; the live run, or the next one, takes it from there.

use std::path::{Path, PathBuf};

use clap::Args;

use super::context::{common_directory, journal_error, now, print};
use super::{CliError, Global, Place};
use crate::core::event::Event;
use crate::core::{self, State, Work};
use crate::exit_code::ExitCode;
use crate::ids::{Actor, EscalationId, TeamId};
use crate::plan::Approval;
use crate::shell::journal::{JournalReader, post};

/// Answer a question that the run or an agent has asked
#[derive(Debug, Args)]
pub(super) struct AnswerArguments {
    /// The question's number, as `orchestrate status` shows it
    number: u32,
    /// The answer
    #[arg(required_unless_present = "file")]
    text: Option<String>,
    /// Read the answer from a file
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    file: Option<PathBuf>,
}

/// Let a team that is ready land on the base branch
#[derive(Debug, Args)]
pub(super) struct ApproveArguments {
    /// The team's id
    team: String,
}

/// Turn a team's landing down; its leader mends what you found
#[derive(Debug, Args)]
pub(super) struct RejectArguments {
    /// The team's id
    team: String,
    /// What is to be mended
    reason: String,
}

/// Start nothing new until `orchestrate resume`; live agents and merges go on
#[derive(Debug, Args)]
pub(super) struct PauseArguments {}

/// Go on after `orchestrate pause`
#[derive(Debug, Args)]
pub(super) struct ResumeArguments {}

/// Try an agent or a leader that was given up again
#[derive(Debug, Args)]
pub(super) struct RetryArguments {
    /// The agent's id (`1.2`), or `leader-1` for a leader
    actor: String,
    /// Start anew from where its team stands: its branch is put back, and what it held is kept under `refs/orchestrate/kept/`
    #[arg(long)]
    fresh: bool,
}

pub(super) fn answer(global: &Global, args: &AnswerArguments) -> Result<ExitCode, CliError> {
    let text = match (&args.text, &args.file) {
        (Some(text), _) => text.clone(),
        (None, Some(file)) => std::fs::read_to_string(file)
            .map_err(|error| CliError::message(ExitCode::Usage, format!("cannot read {}: {error}", file.display())))?,
        (None, None) => String::new(),
    };
    if text.trim().is_empty() {
        return Err(CliError::message(ExitCode::Usage, "the answer is empty").hint(format!(
            "orchestrate answer {} \"what the agent should do\"",
            args.number
        )));
    }
    let escalation_id = EscalationId(args.number);
    say(
        global,
        Event::EscalationAnswered {
            escalation_id,
            answer: text.trim().to_owned(),
        },
        |state| match state.escalations.get(&escalation_id) {
            None => Err(format!("nobody has asked question {}", args.number)),
            Some(escalation) if escalation.answered.is_some() => {
                Err(format!("question {} is settled already", args.number))
            }
            Some(escalation) => Ok(format!("answered question {}: {}", args.number, escalation.question)),
        },
    )
}

pub(super) fn approve(global: &Global, args: &ApproveArguments) -> Result<ExitCode, CliError> {
    let team_id = TeamId::new(&args.team);
    say(
        global,
        Event::LandingApproved {
            team_id: team_id.clone(),
        },
        |state| {
            let by_hand = state
                .plan
                .as_ref()
                .is_some_and(|plan| plan.approvals.team == Approval::Manual);
            match state.teams.get(&team_id) {
                None => Err(format!("the plan has no team `{team_id}`")),
                Some(team) if team.landed.is_some() => Err(format!("team {team_id} has landed already")),
                Some(_) if !by_hand => Err("teams land by themselves in this plan (`approvals.team: auto`)".to_owned()),
                Some(_) => Ok(format!("team {team_id} may land")),
            }
        },
    )
}

pub(super) fn retry(global: &Global, args: &RetryArguments) -> Result<ExitCode, CliError> {
    let actor = Actor::from_slug(&args.actor);
    let fresh = args.fresh;
    say(
        global,
        Event::RetryRequested {
            actor: actor.clone(),
            fresh,
        },
        |state| match state.actors.get(&actor) {
            None => Err(format!("the plan has no {actor}")),
            Some(actor_state) if fresh => match actor_state.work {
                Work::Building | Work::Escalated(_) | Work::Failed { .. } => Ok(format!(
                    "{actor} starts anew; what its branch held is kept under refs/orchestrate/kept/"
                )),
                Work::Waiting | Work::Branching => Err(format!("{actor} has not started yet")),
                Work::Complete { .. } => Err(format!("{actor} is complete, and its merge is under way")),
                Work::Merged { .. } => Err(format!("{actor} is merged")),
            },
            Some(actor_state) if matches!(actor_state.work, Work::Failed { .. }) => {
                Ok(format!("{actor} is to be tried again"))
            }
            Some(_) => Err(format!("{actor} has not failed")),
        },
    )
}

pub(super) fn reject(global: &Global, args: &RejectArguments) -> Result<ExitCode, CliError> {
    let team_id = TeamId::new(&args.team);
    let reason = args.reason.trim().to_owned();
    if reason.is_empty() {
        return Err(CliError::message(ExitCode::Usage, "the reason is empty")
            .hint(format!("orchestrate reject {team_id} \"what is to be mended\"")));
    }
    say(
        global,
        Event::LandingRejected {
            team_id: team_id.clone(),
            reason,
        },
        |state| {
            let is_integrated = state
                .actors
                .get(&Actor::Leader(team_id.clone()))
                .is_some_and(|leader| matches!(leader.work, Work::Merged { .. }));
            match state.teams.get(&team_id) {
                None => Err(format!("the plan has no team `{team_id}`")),
                Some(team) if team.landed.is_some() => Err(format!("team {team_id} has landed already")),
                Some(_) if !is_integrated => Err(format!("team {team_id} is not ready to land yet")),
                Some(_) => Ok(format!("team {team_id} does not land; its leader is told why")),
            }
        },
    )
}

pub(super) fn pause(global: &Global, _args: &PauseArguments) -> Result<ExitCode, CliError> {
    say(global, Event::PauseRequested, |state| {
        if state.paused {
            Err("the run is paused already".to_owned())
        } else {
            Ok("nothing new is started; live agents go on (`orchestrate resume` ends it)".to_owned())
        }
    })
}

pub(super) fn resume(global: &Global, _args: &ResumeArguments) -> Result<ExitCode, CliError> {
    say(global, Event::ResumeRequested, |state| {
        if state.paused {
            Ok("the pause is over".to_owned())
        } else {
            Err("the run is not paused".to_owned())
        }
    })
}

/// Checks against the state as it is, posts, and says what happens next.
fn say(
    global: &Global,
    event: Event,
    check: impl FnOnce(&State) -> Result<String, String>,
) -> Result<ExitCode, CliError> {
    let (common_directory, reader, state) = run_so_far(global)?;
    let words = check(&state).map_err(|words| CliError::message(ExitCode::Usage, words).hint("orchestrate status"))?;
    tell(&common_directory, &reader, &event, &words)
}

/// The run as its journal tells it.
pub(super) fn run_so_far(global: &Global) -> Result<(PathBuf, JournalReader, State), CliError> {
    let common_directory = common_directory(&Place::find(global)?)?;
    let reader = JournalReader::open(&common_directory)
        .map_err(journal_error)?
        .ok_or_else(|| CliError::message(ExitCode::Usage, "there is no run here yet").hint("orchestrate run"))?;
    let mut state = State::default();
    reader
        .replay(0, |record| {
            // Replay drops commands: this program only reads.
            let _ = core::apply(&mut state, record.at, &record.event);
        })
        .map_err(journal_error)?;
    Ok((common_directory, reader, state))
}

/// Posts what a human wants, and says who goes on with it.
pub(super) fn tell(
    common_directory: &Path,
    reader: &JournalReader,
    event: &Event,
    words: &str,
) -> Result<ExitCode, CliError> {
    post(common_directory, now(), event).map_err(journal_error)?;
    let alive = reader.runner_alive().map_err(journal_error)?;
    let next = if alive {
        "the run goes on with it"
    } else {
        "`orchestrate run` goes on with it"
    };
    print(&format!("{words}; {next}\n"))?;
    Ok(ExitCode::Done)
}
