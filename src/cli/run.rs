//! `orchestrate run`: starts a run, or goes on with the one that the journal holds.

use std::path::Path;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::context::{journal_error, now};
use super::notice::NoticeSource;
use super::plan::load as load_plan;
use super::{CliError, Global, Place};
use crate::core::command::RunOutcome;
use crate::core::event::Event;
use crate::core::{self, State};
use crate::exit_code::ExitCode;
use crate::ids::{TeamId, Time};
use crate::plan::{Driver, Plan};
use crate::report::progress::Progress;
use crate::shell::git::{Git, GitError};
use crate::shell::journal::JournalReader;
use crate::shell::preflight;
use crate::shell::runtime::{Observer, RunEnd, RunRequest, Runtime, RuntimeError};

/// Start the plan's run, or go on with it
///
/// Running it again after any stop, crash or kill continues: agents that still live are adopted, nothing is done twice.
/// Ctrl-C stops dispatching and leaves live agents alive; a second Ctrl-C leaves at once. Both are safe.
#[derive(Debug, Args)]
pub(super) struct RunArguments {
    /// Only this team (may be given several times; default: all)
    #[arg(long = "team", value_name = "ID")]
    teams: Vec<String>,
    /// Run every agent and leader with this driver instead of the plan's
    #[arg(long, value_enum)]
    driver: Option<DriverName>,
}

/// A driver that needs no further words.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum DriverName {
    /// Claude Code, as `claude`
    Claude,
    /// Commit what the bundled build holds
    Replay,
}

pub(super) fn run(global: &Global, args: &RunArguments) -> Result<ExitCode, CliError> {
    let place = Place::find(global)?;
    let git = open_repository(&place.repository)?;
    let mut plan = load_plan(&place)?;
    if let Some(driver) = args.driver {
        override_driver(&mut plan, driver);
    }
    let only_teams = chosen_teams(&plan, &args.teams)?;
    let end = drive(git, plan, place.plan_directory(), only_teams)?;
    Ok(conclude(&end))
}

/// Opens the repository, or says what is wrong with it.
pub(super) fn open_repository(directory: &Path) -> Result<Arc<Git>, CliError> {
    Ok(Arc::new(Git::open(directory).map_err(git_error)?))
}

pub(super) fn git_error(error: GitError) -> CliError {
    let hint = error.hint();
    let cli_error = CliError::new(ExitCode::Environment, error);
    match hint {
        Some(hint) => cli_error.hint(hint),
        None => cli_error,
    }
}

/// Every agent and leader runs with this driver.
fn override_driver(plan: &mut Plan, driver: DriverName) {
    let driver = match driver {
        DriverName::Claude => Driver::Claude {
            program: "claude".to_owned(),
        },
        DriverName::Replay => Driver::Replay,
    };
    for team in plan.phases.iter_mut().flat_map(|phase| &mut phase.teams) {
        team.leader.settings.driver = driver.clone();
        for agent in &mut team.agents {
            agent.settings.driver = driver.clone();
        }
    }
}

fn chosen_teams(plan: &Plan, wanted: &[String]) -> Result<Vec<TeamId>, CliError> {
    wanted
        .iter()
        .map(|id| {
            let team_id = TeamId::new(id);
            plan.team(&team_id).map(|team| team.id.clone()).ok_or_else(|| {
                let known: Vec<String> = plan.teams().map(|team| team.id.to_string()).collect();
                CliError::message(ExitCode::Usage, format!("the plan has no team `{id}`"))
                    .hint(format!("its teams are {}", known.join(", ")))
            })
        })
        .collect()
}

/// Drives a plan to its end with progress on the terminal.
pub(super) fn drive(
    git: Arc<Git>,
    plan: Plan,
    plan_directory: &Path,
    only_teams: Vec<TeamId>,
) -> Result<RunEnd, CliError> {
    let is_new = JournalReader::open(git.common_dir()).map_err(journal_error)?.is_none();
    preflight::check(&git, &plan, is_new).map_err(|error| {
        let cli_error = CliError::message(ExitCode::Environment, error.to_string());
        error.hints().into_iter().fold(cli_error, CliError::hint)
    })?;
    let plan_directory =
        std::path::absolute(plan_directory).map_err(|error| CliError::new(ExitCode::Environment, error))?;
    let request = RunRequest {
        plan,
        plan_directory,
        only_teams,
        run_id: uuid::Uuid::new_v4().to_string(),
    };
    let executor = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(ExitCode::Environment, error))?;
    let mut progress = Watcher {
        progress: Progress::for_stderr(),
        notices: NoticeSource::new(&request.plan, &request.plan_directory, &git.state_dir()),
    };
    let result = {
        let _inside = executor.enter();
        Runtime::open(git, &request, &mut progress).and_then(|(runtime, first)| executor.block_on(runtime.run(first)))
    };
    // Threads that wait for a child process must not hold the program back: the next run finds whatever they were about.
    executor.shutdown_background();
    let end = result.map_err(runtime_error)?;
    progress.finish(&end, &request.plan);
    Ok(end)
}

fn runtime_error(error: RuntimeError) -> CliError {
    match error {
        RuntimeError::Journal(error) => journal_error(error),
        RuntimeError::Git(error) => git_error(error),
        RuntimeError::Effects(_) | RuntimeError::System { .. } => CliError::new(ExitCode::Environment, error),
        RuntimeError::Violation(_) => CliError::new(ExitCode::Internal, error),
    }
}

/// Shows what happens.
struct Watcher {
    progress: Progress,
    notices: Option<NoticeSource>,
}

impl Watcher {
    fn finish(&mut self, end: &RunEnd, plan: &Plan) {
        let view = core::view(&end.state, plan, now());
        self.progress.finish(&end.outcome, &view);
        if let Some(notices) = self.notices.take() {
            notices.finish(&end.state, &view, &end.outcome);
        }
    }
}

impl Observer for Watcher {
    fn event(&mut self, state: &State, at: Time, event: &Event) {
        self.progress.event(state, at, event);
    }

    fn tick(&mut self, state: &State, at: Time) {
        let Some(plan) = &state.plan else { return };
        if !self.progress.is_live() && self.notices.is_none() {
            return;
        }
        let view = core::view(state, plan, at);
        self.progress.view(&view);
        if let Some(notices) = &mut self.notices {
            notices.look(state, &view);
        }
    }
}

/// The exit code of a run's end.
pub(super) fn conclude(end: &RunEnd) -> ExitCode {
    match &end.outcome {
        RunOutcome::Complete => ExitCode::Done,
        RunOutcome::Waiting { .. } => ExitCode::WaitingForHuman,
        RunOutcome::Failed { .. } => ExitCode::RunFailed,
        RunOutcome::Stopped => ExitCode::Interrupted,
    }
}
