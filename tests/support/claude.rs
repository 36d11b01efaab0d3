//! The real Claude Code in a temporary place, with a scripted endpoint instead of a model.

use std::path::{Path, PathBuf};
use std::process::Command;

use orchestrate::plan::Driver;
use orchestrate::shell::agent::Launch;

use super::agents::Place;
use super::endpoint::Endpoint;

/// The program, as `tests/support/install-claude.sh` leaves it.
pub fn claude_program() -> PathBuf {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/claude");
    assert!(
        program.exists(),
        "`{}` is missing; run `sh tests/support/install-claude.sh`",
        program.display()
    );
    program
}

/// A git command in a directory, away from the user's own configuration.
pub fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()
        .expect("git");
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A repository with one commit, and an author for more.
pub fn make_repository(directory: &Path) {
    git(directory, &["init", "--quiet", "--initial-branch=agent-1-1-database"]);
    git(directory, &["config", "user.name", "Agent"]);
    git(directory, &["config", "user.email", "agent@example.invalid"]);
    git(directory, &["commit", "--quiet", "--allow-empty", "-m", "Base"]);
}

/// A place whose agents are Claude Code and talk to this endpoint only.
pub fn claude_place(endpoint: &Endpoint) -> Place {
    let mut place = Place::new();
    place.set("ANTHROPIC_BASE_URL", endpoint.url());
    place.set("ANTHROPIC_API_KEY", "none");
    place.set("TERM", "dumb");
    make_repository(&place.workspace());
    place
}

/// The first attempt of agent 1.1.
pub fn claude_launch(place: &Place) -> Launch {
    let program = claude_program().display().to_string();
    let mut launch = place.launch(Driver::Claude { program });
    launch.settings.model = Some("opus".to_owned());
    launch.settings.max_turns = Some(20);
    launch
}

/// Subjects of all commits in the workspace, newest first.
pub fn subjects(place: &Place) -> Vec<String> {
    git(&place.workspace(), &["log", "--format=%s"])
        .lines()
        .map(str::to_owned)
        .collect()
}
