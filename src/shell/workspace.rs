//! Workspaces: where agents and gates work, and what a fresh worktree needs before they can.
//!
//! `setup` runs once per content of the lockfiles; the directories that it makes are moved to a store under the shared git directory and linked into every
//! worktree with the same lockfiles. A store is renamed into place when it is whole, so a crash half-way leaves nothing that anybody would trust.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::git::{Git, GitError, absolute, enter_lane, hexadecimal};
use crate::ids::BranchName;
use crate::plan::Workspace;

/// Files whose content decides what `setup` makes.
const LOCKFILES: &[&str] = &[
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "bun.lock",
    "Cargo.lock",
    "uv.lock",
    "poetry.lock",
    "Pipfile.lock",
    "go.sum",
    "Gemfile.lock",
    "composer.lock",
];
/// `requirements.txt`, `requirements-dev.txt` and so on.
const REQUIREMENTS: (&str, &str) = ("requirements", ".txt");
/// A setup that has not ended by then hangs.
const SETUP_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// How much of a failed setup's output is told.
const OUTPUT_MAX_BYTES: u64 = 4000;
/// How often a running setup is looked at.
const SETUP_POLL: Duration = Duration::from_millis(20);
/// Marks the lines that are ours in `info/exclude`.
const EXCLUDE_HEADING: &str = "# Linked or copied into workspaces by orchestrate";

/// A worktree that could not be made ready.
#[derive(Debug, Error)]
pub enum WorkspaceError {
    /// The setup command failed.
    #[error("the workspace's setup `{command}` {how} in `{}`; it ends with:\n{output}", directory.display())]
    Setup {
        /// The command.
        command: String,
        /// How it ended.
        how: String,
        /// Where it ran.
        directory: PathBuf,
        /// The end of its output.
        output: String,
    },
    /// The setup command did not make what it ought to.
    #[error("the workspace's setup `{command}` ended well, yet made no `{missing}`, which `workspace.share` names")]
    NothingToShare {
        /// The command.
        command: String,
        /// The directory that is not there.
        missing: String,
    },
    /// A path of the plan leads out of the repository.
    #[error("`{path}` in `workspace` is not a path below the repository")]
    Outside {
        /// The path.
        path: String,
    },
    /// A shared directory is part of the repository's content.
    #[error("`{path}` in `workspace.share` holds files that are committed: only untracked directories can be shared")]
    Tracked {
        /// The path.
        path: String,
    },
    /// git or a file operation failed.
    #[error(transparent)]
    Git(#[from] GitError),
}

/// The places where a repository's workspaces live, and what the plan wants in them.
#[derive(Clone, Debug)]
pub struct Workspaces {
    root: PathBuf,
    checkout: PathBuf,
    store: PathBuf,
    plan: Workspace,
}

impl Workspaces {
    /// Next to the repository's main checkout: `../<repository>.orchestrate/`.
    pub fn new(git: &Git, plan: &Workspace) -> Self {
        let checkout = match (git.common_dir().file_name(), git.common_dir().parent()) {
            (Some(name), Some(parent)) if name == ".git" => parent.to_path_buf(),
            (_, _) => git.top_level().to_path_buf(),
        };
        let name = checkout
            .file_name()
            .map_or_else(|| "repository".to_owned(), |name| name.to_string_lossy().into_owned());
        let root = checkout
            .parent()
            .unwrap_or(&checkout)
            .join(format!("{name}.orchestrate"));
        Self {
            root,
            checkout,
            store: git.state_dir().join("shared"),
            plan: plan.clone(),
        }
    }

    /// The directory that holds all workspaces.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The workspace of a branch.
    pub fn of_branch(&self, branch: &BranchName) -> PathBuf {
        let name = branch.as_str().replace('/', "+");
        // The directory of the gates must not be mistaken for a branch's.
        self.root.join(if name == "gates" { "gates+".to_owned() } else { name })
    }

    /// The workspace of a gate's slot.
    pub fn of_gate(&self, slot: usize) -> PathBuf {
        self.root.join("gates").join(slot.to_string())
    }

    /// The paths in a workspace that are linked or copied in: cleaning up must leave them.
    pub fn kept_paths(&self) -> Vec<String> {
        self.plan
            .share
            .iter()
            .chain(&self.plan.copy)
            .map(|path| path.trim_matches('/').to_owned())
            .collect()
    }

    /// Makes a worktree ready: runs the setup when nobody has run it for these lockfiles, links the shared directories, copies the files. Repeating it is
    /// cheap, and follows lockfiles that have changed. Other threads and processes that need the same setup wait for it.
    pub fn prepare(&self, git: &Git, worktree: &Path) -> Result<(), WorkspaceError> {
        let worktree = absolute(worktree)?;
        for path in self.plan.share.iter().chain(&self.plan.copy) {
            check_inside(path)?;
        }
        for path in &self.plan.share {
            if git.tracks(&worktree, path)? {
                return Err(WorkspaceError::Tracked { path: path.clone() });
            }
        }
        // Before anything is linked or copied: nobody may see it as a change, and no `git add -A` may commit it.
        self.exclude(git, &worktree)?;
        if let Some(setup) = &self.plan.setup {
            let digest = self.digest(git, &worktree, setup)?;
            if self.plan.share.is_empty() {
                self.set_up_alone(git, &worktree, setup, &digest)?;
            } else {
                self.set_up_shared(&worktree, setup, &digest)?;
            }
        }
        for path in &self.plan.copy {
            if !git.tracks(&worktree, path)? {
                copy_file(&self.checkout.join(path), &worktree.join(path))?;
            }
        }
        Ok(())
    }

    /// What decides the outcome of the setup: the command, what it is to make, and the lockfiles.
    fn digest(&self, git: &Git, worktree: &Path, setup: &str) -> Result<String, WorkspaceError> {
        let mut hasher = Sha256::new();
        let mut add = |text: &[u8]| {
            // With its length in front, so that no two different lists run into the same bytes.
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        };
        add(setup.as_bytes());
        for path in &self.plan.share {
            add(path.as_bytes());
        }
        let mut lockfiles = BTreeMap::new();
        for path in git.files_in(worktree)? {
            let name = path.rsplit('/').next().unwrap_or(&path);
            if LOCKFILES.contains(&name) || (name.starts_with(REQUIREMENTS.0) && name.ends_with(REQUIREMENTS.1)) {
                // One that is deleted in the worktree counts as not there.
                if let Ok(bytes) = std::fs::read(worktree.join(&path)) {
                    lockfiles.insert(path, bytes);
                }
            }
        }
        for (path, bytes) in &lockfiles {
            add(path.as_bytes());
            add(bytes);
        }
        Ok(hexadecimal(&hasher.finalize())[..32].to_owned())
    }

    /// Nothing to share: the setup runs once per worktree and content.
    fn set_up_alone(&self, git: &Git, worktree: &Path, setup: &str, digest: &str) -> Result<(), WorkspaceError> {
        let marker = git.own_dir_of(worktree).join("orchestrate-setup");
        if std::fs::read_to_string(&marker).is_ok_and(|text| text == digest) {
            return Ok(());
        }
        run_setup(setup, worktree)?;
        std::fs::write(&marker, digest).map_err(GitError::file("writing", &marker))?;
        Ok(())
    }

    fn set_up_shared(&self, worktree: &Path, setup: &str, digest: &str) -> Result<(), WorkspaceError> {
        let whole = self.store.join(digest);
        if !whole.is_dir() {
            let _guard = enter_lane(&self.store.join(format!("{digest}.lock")))?;
            // Somebody else may have made it while we waited.
            if !whole.is_dir() {
                self.make_store(worktree, setup, digest, &whole)?;
            }
        }
        for path in &self.plan.share {
            link(&whole.join(path), &worktree.join(path))?;
        }
        Ok(())
    }

    /// Runs the setup in the worktree and moves what it made to the store.
    fn make_store(&self, worktree: &Path, setup: &str, digest: &str, whole: &Path) -> Result<(), WorkspaceError> {
        for path in &self.plan.share {
            // A link to a store of other lockfiles, or what a cut-off setup left behind.
            remove(&worktree.join(path))?;
        }
        run_setup(setup, worktree)?;
        let half = self.store.join(format!("{digest}.half"));
        remove(&half)?;
        for path in &self.plan.share {
            let (made, kept) = (worktree.join(path), half.join(path));
            if !made.is_dir() {
                return Err(WorkspaceError::NothingToShare {
                    command: setup.to_owned(),
                    missing: path.clone(),
                });
            }
            let parent = kept.parent().unwrap_or(&half);
            std::fs::create_dir_all(parent).map_err(GitError::file("creating", parent))?;
            move_directory(&made, &kept)?;
        }
        std::fs::rename(&half, whole).map_err(GitError::file("completing", whole))?;
        Ok(())
    }

    /// Adds to `info/exclude` what no ignore rule covers. A rule with a slash at its end covers a directory and not a link to one.
    fn exclude(&self, git: &Git, worktree: &Path) -> Result<(), WorkspaceError> {
        let file = git.common_dir().join("info").join("exclude");
        let wanted = |text: &str| -> Vec<String> {
            let lines: Vec<&str> = text.lines().map(str::trim).collect();
            self.kept_paths()
                .into_iter()
                .map(|path| format!("/{path}"))
                .filter(|line| !lines.contains(&line.as_str()))
                .collect()
        };
        let read = || std::fs::read_to_string(&file).unwrap_or_default();
        if wanted(&read()).is_empty() {
            return Ok(());
        }
        let _guard = enter_lane(&git.state_dir().join("exclude.lock"))?;
        let mut text = read();
        let mut missing = Vec::new();
        for line in wanted(&text) {
            if !git.ignores_file(worktree, line.trim_start_matches('/'))? {
                missing.push(line);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        if !text.contains(EXCLUDE_HEADING) {
            text.push_str(&format!("{EXCLUDE_HEADING}\n"));
        }
        for line in missing {
            text.push_str(&format!("{line}\n"));
        }
        replace_file(&file, text.as_bytes(), None)?;
        Ok(())
    }
}

/// Runs the setup in a process group of its own, so that nothing of it stays behind.
fn run_setup(setup: &str, worktree: &Path) -> Result<(), WorkspaceError> {
    let failed = |how: String, output: String| WorkspaceError::Setup {
        command: setup.to_owned(),
        how,
        directory: worktree.to_path_buf(),
        output,
    };
    let log = tempfile::tempfile().map_err(GitError::file("creating a file in", &std::env::temp_dir()))?;
    let (out, err) = match (log.try_clone(), log.try_clone()) {
        (Ok(out), Ok(err)) => (out, err),
        (Err(error), _) | (_, Err(error)) => return Err(failed(format!("cannot be started ({error})"), String::new())),
    };
    let mut child = Command::new("sh")
        .args(["-c", setup])
        .current_dir(worktree)
        .envs(Git::quiet_environment())
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .process_group(0)
        .spawn()
        .map_err(|error| failed(format!("cannot be started ({error})"), String::new()))?;
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let end_group = || {
        if let Some(group) = group {
            // It fails only when nobody is left.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    };
    let deadline = Instant::now() + SETUP_TIMEOUT;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(SETUP_POLL),
            Ok(None) => {
                end_group();
                // Reaps what was just killed.
                let _ = child.wait();
                return Err(failed(
                    format!("did not end within {} min", SETUP_TIMEOUT.as_secs() / 60),
                    end_of(&log),
                ));
            }
            Err(error) => return Err(failed(format!("is lost ({error})"), end_of(&log))),
        }
    };
    end_group();
    match (status.success(), status.code()) {
        (true, _) => Ok(()),
        (false, Some(code)) => Err(failed(format!("failed with exit status {code}"), end_of(&log))),
        (false, None) => Err(failed("was ended by a signal".to_owned(), end_of(&log))),
    }
}

/// The end of an output, for people.
fn end_of(log: &File) -> String {
    let mut log = log;
    let mut bytes = Vec::new();
    let length = log.metadata().map_or(0, |found| found.len());
    // An output that cannot be read is told as none.
    let _ = log.seek(SeekFrom::Start(length.saturating_sub(OUTPUT_MAX_BYTES)));
    let _ = log.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

fn check_inside(path: &str) -> Result<(), WorkspaceError> {
    let is_inside = !path.is_empty()
        && Path::new(path)
            .components()
            .all(|component| matches!(component, Component::Normal(name) if name != ".git"));
    if is_inside {
        Ok(())
    } else {
        Err(WorkspaceError::Outside { path: path.to_owned() })
    }
}

/// Links `place` to `target`, whatever untracked thing is in its place.
fn link(target: &Path, place: &Path) -> Result<(), GitError> {
    if std::fs::read_link(place).is_ok_and(|present| present == target) {
        return Ok(());
    }
    remove(place)?;
    if let Some(parent) = place.parent() {
        std::fs::create_dir_all(parent).map_err(GitError::file("creating", parent))?;
    }
    symlink(target, place).map_err(GitError::file("linking", place))
}

/// Removes a file, a link (never what it points to) or a directory.
fn remove(path: &Path) -> Result<(), GitError> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(GitError::file("removing", path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Renames a directory; across file systems it is copied.
fn move_directory(from: &Path, to: &Path) -> Result<(), GitError> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::CrossesDevices => {
            let status = Command::new("cp")
                .arg("-a")
                .arg(from)
                .arg(to)
                .status()
                .map_err(GitError::file("copying", from))?;
            if !status.success() {
                return Err(GitError::file("copying", from)(std::io::Error::other(
                    status.to_string(),
                )));
            }
            remove(from)
        }
        moved => moved.map_err(GitError::file("moving", from)),
    }
}

/// Copies a file with its mode when it exists and differs.
fn copy_file(from: &Path, to: &Path) -> Result<(), GitError> {
    let bytes = match std::fs::read(from) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(GitError::file("reading", from)(error)),
    };
    if std::fs::read(to).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    let mode = std::fs::metadata(from)
        .map_err(GitError::file("reading", from))?
        .permissions()
        .mode();
    replace_file(to, &bytes, Some(mode))
}

fn replace_file(path: &Path, bytes: &[u8], mode: Option<u32>) -> Result<(), GitError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory).map_err(GitError::file("creating", directory))?;
    let mut file =
        tempfile::NamedTempFile::new_in(directory).map_err(GitError::file("creating a file in", directory))?;
    let permissions = std::fs::Permissions::from_mode(mode.unwrap_or(0o644));
    file.write_all(bytes)
        .and_then(|()| file.as_file().set_permissions(permissions))
        .map_err(GitError::file("writing", path))?;
    file.persist(path)
        .map_err(|error| GitError::file("writing", path)(error.error))?;
    Ok(())
}
