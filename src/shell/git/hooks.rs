//! Hooks for agents' processes: ours for `commit-msg`, and the repository's own go on working.
//!
//! They are switched on by environment variables of the agents' processes only; the user's configuration is never written.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::error::{GitError, quoted};
use super::process::{QUIET_CONFIG, config_environment};
use super::repository::{Git, HEADS};
use crate::ids::BranchName;

/// Hooks that git runs in a working repository. Each is passed through, because the user may add one at any time.
const PASSED_THROUGH: &[&str] = &[
    "applypatch-msg",
    "pre-applypatch",
    "post-applypatch",
    "pre-commit",
    "pre-merge-commit",
    "prepare-commit-msg",
    "post-commit",
    "pre-rebase",
    "post-checkout",
    "post-merge",
    "pre-push",
    "post-rewrite",
    "pre-auto-gc",
];

/// A hook that runs many times per command: passed through only where the user has one.
const PASSED_THROUGH_WHEN_PRESENT: &[&str] = &["post-index-change"];

/// Names the refs that the process may not change, one after the other with a blank before and behind each.
pub const PROTECTED_VARIABLE: &str = "ORCHESTRATE_PROTECTED_REFS";
/// Names the one ref that the process may move, yet not delete.
pub const OWN_VARIABLE: &str = "ORCHESTRATE_OWN_REF";

/// What keeps a process of an agent from moving branches that are not its own. It is a help against mistakes: who wants to gets around it, and then `refs.rs`
/// puts the teams' branches and the base branch back.
pub fn protection(own: Option<&BranchName>, branches: &[BranchName]) -> Vec<(String, String)> {
    let mut protected = String::from(" ");
    for branch in branches.iter().filter(|branch| Some(*branch) != own) {
        protected.push_str(&format!("{HEADS}{branch} "));
    }
    let mut variables = vec![(PROTECTED_VARIABLE.to_owned(), protected)];
    variables.extend(own.map(|own| (OWN_VARIABLE.to_owned(), format!("{HEADS}{own}"))));
    variables
}

/// Writes the hooks, and gives the environment that makes git use them. `program` is the orchestrator's own binary.
pub fn hook_environment(git: &Git, program: &Path) -> Result<Vec<(String, String)>, GitError> {
    let directory = git.state_dir().join("hooks");
    let original = original_hooks(git, &directory)?;
    let original_text = original.display().to_string();
    write_hook(
        &directory,
        "commit-msg",
        &commit_msg_script(&original_text, &program.display().to_string()),
    )?;
    write_hook(
        &directory,
        "reference-transaction",
        &reference_transaction_script(&original_text, &git.common_dir().display().to_string()),
    )?;
    for name in PASSED_THROUGH {
        let theirs = original.join(name);
        if original.is_absolute() && !theirs.exists() {
            // git runs nothing for a link that leads nowhere, where a script would cost a shell for each hook of each commit. Should the user add the
            // hook while agents work, it is there.
            link_hook(&directory, name, &theirs)?;
        } else {
            // A script, because many hooks look for their neighbours by the path that they are called by.
            write_hook(&directory, name, &pass_through_script(&original_text, name))?;
        }
    }
    for name in PASSED_THROUGH_WHEN_PRESENT
        .iter()
        .filter(|name| original.is_absolute() && original.join(name).exists())
    {
        write_hook(&directory, name, &pass_through_script(&original_text, name))?;
    }
    let directory = directory.display().to_string();
    let settings = QUIET_CONFIG
        .iter()
        .copied()
        .chain([("core.hooksPath", directory.as_str())]);
    let mut environment = config_environment(0, settings);
    environment.push(("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()));
    Ok(environment)
}

/// Where the repository's own hooks are: `core.hooksPath`, relative to the top of each worktree, or the common directory's `hooks`.
fn original_hooks(git: &Git, ours: &Path) -> Result<PathBuf, GitError> {
    let output = git
        .command(["config", "--type=path", "--get", "core.hooksPath"])
        .read_only()
        .output()?;
    let configured = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    // Ours are configured when an agent itself starts an orchestrator; passing them through to themselves would never end.
    if output.code == Some(0) && !configured.is_empty() && Path::new(&configured) != ours {
        return Ok(PathBuf::from(configured));
    }
    Ok(git.common_dir().join("hooks"))
}

fn commit_msg_script(original: &str, program: &str) -> String {
    format!(
        "#!/bin/sh\n\
         # Written by orchestrate for the processes that it starts; the repository's own hook goes first.\n\
         hook={}/commit-msg\n\
         if [ -x \"$hook\" ]; then \"$hook\" \"$@\" || exit $?; fi\n\
         program={}\n\
         if [ -x \"$program\" ]; then exec \"$program\" hook commit-msg \"$1\"; fi\n",
        quoted(original),
        quoted(program)
    )
}

/// git asks it before it changes refs (`prepared`), in whatever repository the process works: only the orchestrated one is guarded.
fn reference_transaction_script(original: &str, common_directory: &str) -> String {
    format!(
        "#!/bin/sh\n\
         # Written by orchestrate for the processes that it starts: keeps them from branches that are not theirs; then the repository's own hook runs.\n\
         hook={}/reference-transaction\n\
         if [ \"$1\" = prepared ]; then\n\
         lines=\n\
         guarded=\n\
         while read -r old new ref; do\n\
         lines=\"$lines$old $new $ref\n\"\n\
         bad=\n\
         gone=1\n\
         case \"$new\" in *[!0]*) gone=;; esac\n\
         case \"$ref\" in refs/orchestrate/*) bad=1;; esac\n\
         case \"${PROTECTED_VARIABLE}\" in *\" $ref \"*) bad=1;; esac\n\
         if [ \"$ref\" = \"${OWN_VARIABLE}\" ]; then bad=$gone; fi\n\
         if [ \"$bad\" ] && [ \"$gone\" -o \"$old\" != \"$new\" ]; then guarded=$ref; fi\n\
         done\n\
         if [ \"$guarded\" ] && [ \"$(git rev-parse --path-format=absolute --git-common-dir)\" = {} ]; then\n\
         echo \"orchestrate: $guarded is not yours to change; commit on your own branch, and the orchestrator merges it\" >&2\n\
         exit 1\n\
         fi\n\
         if [ -x \"$hook\" ]; then printf '%s' \"$lines\" | \"$hook\" \"$@\" || exit $?; fi\n\
         elif [ -x \"$hook\" ]; then exec \"$hook\" \"$@\"; fi\n",
        quoted(original),
        quoted(common_directory)
    )
}

fn pass_through_script(original: &str, name: &str) -> String {
    format!(
        "#!/bin/sh\n\
         # Written by orchestrate for the processes that it starts: passes on to the repository's own hook.\n\
         hook={}/{name}\n\
         if [ -x \"$hook\" ]; then exec \"$hook\" \"$@\"; fi\n",
        quoted(original)
    )
}

/// Lets a hook be a link to where the user's own would be.
fn link_hook(directory: &Path, name: &str, theirs: &Path) -> Result<(), GitError> {
    let path = directory.join(name);
    if std::fs::read_link(&path).is_ok_and(|present| present == theirs) {
        return Ok(());
    }
    std::fs::create_dir_all(directory).map_err(GitError::file("creating", directory))?;
    // The name of a file that was just made and removed is free.
    let free = temporary_in(directory)?.path().to_path_buf();
    std::os::unix::fs::symlink(theirs, &free).map_err(GitError::file("writing", &path))?;
    std::fs::rename(&free, &path).map_err(GitError::file("writing", &path))
}

fn temporary_in(directory: &Path) -> Result<tempfile::NamedTempFile, GitError> {
    tempfile::NamedTempFile::new_in(directory).map_err(GitError::file("creating a file in", directory))
}

/// Replaces a hook whole, so that an agent that commits at this moment finds either the old or the new one.
fn write_hook(directory: &Path, name: &str, script: &str) -> Result<(), GitError> {
    let path = directory.join(name);
    if std::fs::read_to_string(&path).is_ok_and(|present| present == script) {
        return Ok(());
    }
    std::fs::create_dir_all(directory).map_err(GitError::file("creating", directory))?;
    let file = temporary_in(directory)?;
    std::fs::write(file.path(), script).map_err(GitError::file("writing", &path))?;
    std::fs::set_permissions(file.path(), Permissions::from_mode(0o755)).map_err(GitError::file("writing", &path))?;
    // Closed before it becomes visible: a script that is open for writing cannot be executed.
    file.into_temp_path()
        .persist(&path)
        .map_err(|error| GitError::file("writing", &path)(error.error))
}
