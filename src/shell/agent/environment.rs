//! What a process of an agent finds in its environment. Nothing is inherited that is not listed here or in the plan.

use std::ffi::OsString;
use std::path::Path;

use crate::ids::Actor;
use crate::plan::Driver;

use super::launch::Launch;

/// Inherited by every agent when set.
const COMMON: [&str; 8] = ["HOME", "PATH", "USER", "LANG", "TZ", "TERM", "TMPDIR", "IS_SANDBOX"];

/// Every locale variable is inherited too.
const LOCALE_PREFIX: &str = "LC_";

/// Credentials and endpoints of Claude Code.
const ANTHROPIC_PREFIX: &str = "ANTHROPIC_";

/// Where the replay driver finds another tree than the one built in.
pub(super) const REPLAY_SOURCE: &str = "ORCHESTRATE_REPLAY_SOURCE";

/// The names that an agent inherits, out of those that are set.
pub(super) fn inherited_names(launch: &Launch, available: &[(OsString, OsString)]) -> Vec<String> {
    let wanted = |name: &str| {
        COMMON.contains(&name)
            || name.starts_with(LOCALE_PREFIX)
            || launch.settings.env.iter().any(|listed| listed == name)
            || match &launch.settings.driver {
                Driver::Claude { .. } => name.starts_with(ANTHROPIC_PREFIX),
                Driver::Replay => name == REPLAY_SOURCE,
                Driver::Command { .. } => false,
            }
    };
    let mut names: Vec<String> = available
        .iter()
        .filter_map(|(name, _)| name.to_str())
        .filter(|name| wanted(name))
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The variables that tell an agent who it is.
pub(super) fn own_variables(launch: &Launch, run_id: &str, prompt: &Path) -> Vec<(String, String)> {
    let role = match launch.actor {
        Actor::Agent(_) => "agent",
        Actor::Leader(_) | Actor::Resolver(_) => "leader",
    };
    let mut set: Vec<(String, String)> = [
        ("ORCHESTRATE_RUN", run_id.to_owned()),
        ("ORCHESTRATE_ROLE", role.to_owned()),
        ("ORCHESTRATE_TASK", launch.task.as_str().to_owned()),
        ("ORCHESTRATE_AGENT", launch.actor.id().to_owned()),
        ("ORCHESTRATE_BRANCH", launch.branch.to_string()),
        ("ORCHESTRATE_ATTEMPT", launch.attempt.to_string()),
        ("ORCHESTRATE_PROMPT", prompt.display().to_string()),
        ("ORCHESTRATE_COMPLETION", launch.completion_line.clone()),
        ("ORCHESTRATE_PLAN_DIR", launch.plan_directory.display().to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec();
    set.extend(launch.extra_environment.iter().cloned());
    set
}
