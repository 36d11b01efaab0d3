//! What `run` says about an attempt that it wants started.

use std::path::PathBuf;

use crate::core::command::Task;
use crate::ids::{Actor, Attempt, BranchName, MicroDollars};
use crate::plan::Settings;

/// An attempt to be started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Whose.
    pub actor: Actor,
    /// Which; unique per actor in the repository.
    pub attempt: Attempt,
    /// What it is for, as the agent is told.
    pub task: TaskName,
    /// The worktree that it works in; it exists and is prepared.
    pub workspace: PathBuf,
    /// The branch that is checked out there.
    pub branch: BranchName,
    /// What the agent is asked to do.
    pub prompt: String,
    /// The whole prompt, for when `session` turns out not to exist and `prompt` relies on it. `None`: `prompt` is whole.
    pub fresh_prompt: Option<String>,
    /// How its sessions run.
    pub settings: Settings,
    /// What the actor may still spend; `None` when nothing limits it.
    pub remaining_budget: Option<MicroDollars>,
    /// The vendor's session to continue.
    pub session: Option<String>,
    /// The whole subject line that completes the work.
    pub completion_line: String,
    /// The directory that the plan's relative paths start from.
    pub plan_directory: PathBuf,
    /// Globs that the actor may write.
    pub writable: Vec<String>,
    /// Further variables, for example those that switch the commit hooks on.
    pub extra_environment: Vec<(String, String)>,
}

/// What an attempt is for: the value of `ORCHESTRATE_TASK`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskName {
    /// An agent's own work.
    Build,
    /// A leader brings the team's work together.
    Integrate,
    /// A leader settles a conflict.
    Resolve,
    /// Go on with a human's answer.
    Answer,
}

impl TaskName {
    /// What the core's task is called towards the agent.
    pub fn of(actor: &Actor, task: &Task) -> Self {
        match (task, actor) {
            (Task::Answer { .. }, _) => Self::Answer,
            (Task::Resolve, _) | (_, Actor::Resolver(_)) => Self::Resolve,
            (Task::Work | Task::Continue | Task::Nudge { .. } | Task::Retry { .. }, Actor::Agent(_)) => Self::Build,
            (Task::Work | Task::Continue | Task::Nudge { .. } | Task::Retry { .. }, Actor::Leader(_)) => {
                Self::Integrate
            }
        }
    }

    /// The word itself.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Integrate => "integrate",
            Self::Resolve => "resolve",
            Self::Answer => "answer",
        }
    }
}
