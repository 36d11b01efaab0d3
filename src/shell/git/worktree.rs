//! Worktrees for agents and gates: made and removed in the serialised lane, checked out outside of it, mended after a crash.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use super::checkout::git_dir_of;
use super::error::{GitError, quoted};
use super::lane;
use super::objects::IDENTITY_EMAIL;
use super::process::{CHECKOUT_TIMEOUT, GitCommand, text_fields};
use super::repository::{Git, HEADS};
use crate::ids::{BranchName, Oid};
use crate::shell::kill_point;

/// How long a process may take to leave a workspace before it counts as working there.
const LEAVING_GRACE: Duration = Duration::from_secs(2);
/// How often it is looked whether it has left.
const LEAVING_POLL: Duration = Duration::from_millis(20);

/// Adding a worktree takes some ten milliseconds, most of which git spends elsewhere.
const LIST_TRIES_MAX: u32 = 20;

/// git holds the lock of a branch for milliseconds: one that is older and unchanged is nobody's any more.
const BRANCH_LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// A worktree as git has it on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorktreeRecord {
    /// Its directory.
    pub path: PathBuf,
    /// The branch that it stands on; `None` when HEAD is detached.
    pub branch: Option<BranchName>,
    /// The commit that it stands on; `None` on a branch without commits.
    pub head: Option<Oid>,
}

impl Git {
    /// All worktrees, the main one first.
    pub fn worktrees(&self) -> Result<Vec<WorktreeRecord>, GitError> {
        // Every agent and every landing asks for this, and a process for each question is most of its cost.
        if self.in_process
            && let Some(worktrees) = self.read_worktrees()?
        {
            return Ok(worktrees);
        }
        self.worktrees_by_program()
    }

    fn worktrees_by_program(&self) -> Result<Vec<WorktreeRecord>, GitError> {
        let output = self.list_worktrees()?;
        let text = String::from_utf8_lossy(&output);
        let mut worktrees: Vec<WorktreeRecord> = Vec::new();
        for field in text.split('\0') {
            if let Some(path) = field.strip_prefix("worktree ") {
                worktrees.push(WorktreeRecord {
                    path: PathBuf::from(path),
                    branch: None,
                    head: None,
                });
            } else if let Some(worktree) = worktrees.last_mut() {
                if let Some(oid) = field.strip_prefix("HEAD ") {
                    worktree.head = Some(Oid::new(oid)).filter(|oid| oid != &self.object_format.zero());
                } else if let Some(name) = field.strip_prefix("branch ") {
                    worktree.branch = Some(BranchName::new(name.strip_prefix(HEADS).unwrap_or(name)));
                }
            }
        }
        Ok(worktrees)
    }

    /// Reads the records as git does; `None` when the repository is laid out in a way that only git knows.
    fn read_worktrees(&self) -> Result<Option<Vec<WorktreeRecord>>, GitError> {
        let main_head = self.common_dir.join("HEAD");
        let Some(main) = self.common_dir.parent().filter(|_| self.common_dir.ends_with(".git")) else {
            return Ok(None);
        };
        if main_head.is_symlink() {
            return Ok(None);
        }
        let mut worktrees = vec![self.worktree_record(main.to_path_buf(), &main_head)?];
        let records = self.common_dir.join("worktrees");
        let entries = match std::fs::read_dir(&records) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(worktrees)),
            Err(error) => return Err(GitError::file("reading", &records)(error)),
        };
        for entry in entries.flatten() {
            let record = entry.path();
            // One without it is just being added, or just going.
            let Ok(link) = std::fs::read_to_string(record.join("gitdir")) else {
                continue;
            };
            let link = record.join(link.trim_end());
            // git writes it relative to the record when it is told to.
            let link = if link.components().any(|part| part == Component::ParentDir) {
                absolute(&link)?
            } else {
                link
            };
            if let (Some(path), true) = (link.parent(), link.ends_with(".git")) {
                worktrees.push(self.worktree_record(path.to_path_buf(), &record.join("HEAD"))?);
            }
        }
        worktrees[1..].sort_by(|one, other| one.path.cmp(&other.path));
        Ok(Some(worktrees))
    }

    /// A worktree by its HEAD, which names a branch or a commit; one without HEAD was never finished.
    fn worktree_record(&self, path: PathBuf, head: &Path) -> Result<WorktreeRecord, GitError> {
        let text = std::fs::read_to_string(head).unwrap_or_default();
        let (branch, head) = match text.trim_end().strip_prefix("ref:") {
            Some(reference) => {
                let reference = reference.trim_start();
                let branch = BranchName::new(reference.strip_prefix(HEADS).unwrap_or(reference));
                (Some(branch), self.history.tip(reference)?)
            }
            None => (
                None,
                Some(Oid::new(text.trim_end())).filter(|oid| self.names_object(oid)),
            ),
        };
        Ok(WorktreeRecord { path, branch, head })
    }

    fn names_object(&self, oid: &Oid) -> bool {
        let zero = self.object_format.zero();
        oid != &zero && oid.as_str().len() == zero.as_str().len()
    }

    /// git fails when it meets a worktree that somebody is just adding; a moment later it is whole.
    fn list_worktrees(&self) -> Result<Vec<u8>, GitError> {
        let mut tries = LIST_TRIES_MAX;
        loop {
            match self
                .command(["worktree", "list", "--porcelain", "-z"])
                .read_only()
                .success()
            {
                Err(GitError::Failed { detail, .. }) if tries > 1 && detail.contains("worktrees/") => tries -= 1,
                answer => return answer,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Makes sure that `path` is a worktree on `branch` with its files checked out. One that is there already is taken as it is, with whatever changes
    /// it holds; one that a crash left half made is made whole; anything else in that place is an error.
    pub fn ensure_worktree(&self, branch: &BranchName, path: &Path) -> Result<(), GitError> {
        let path = absolute(path)?;
        {
            let _guard = self.worktree_lane()?;
            if !self.reuse(&path, Some(branch))? {
                let reference = self
                    .tip(branch)?
                    .ok_or_else(|| GitError::NoSuchBranch { branch: branch.clone() })?;
                self.refuse_second_checkout(branch, &path)?;
                tracing::debug!(%branch, %reference, path = %path.display(), "adding a worktree");
                self.add(&["--", path_text(&path)?, branch.as_str()])?;
            }
        }
        kill_point::reached("worktree.after-add");
        self.clear_stale_locks(&path, Some(branch))?;
        check_out_when_fresh(&path)
    }

    /// Makes sure that `path` is a worktree whose HEAD stands, detached, at `commit`, with exactly its files: changes and untracked files of an earlier
    /// use go, except the paths in `kept` (shared directories that are linked in).
    pub fn ensure_gate_worktree(&self, path: &Path, commit: &Oid, kept: &[String]) -> Result<(), GitError> {
        let path = absolute(path)?;
        {
            let _guard = self.worktree_lane()?;
            if !self.reuse(&path, None)? {
                self.add(&["--detach", "--", path_text(&path)?, commit.as_str()])?;
            }
        }
        self.clear_stale_locks(&path, None)?;
        // Not `reset --hard`: a gate that switched to a branch would have that branch moved.
        GitCommand::new(&path, ["checkout", "--quiet", "--force", "--detach", commit.as_str()])
            .timeout(CHECKOUT_TIMEOUT)
            .success()?;
        let excludes = kept
            .iter()
            .flat_map(|kept| ["-e".to_owned(), format!("/{}", kept.trim_matches('/'))]);
        let arguments = ["clean", "-ffdxq"].map(str::to_owned).into_iter().chain(excludes);
        GitCommand::new(&path, arguments).timeout(CHECKOUT_TIMEOUT).success()?;
        Ok(())
    }

    /// Removes a worktree below `root`, unless that would lose something: changes, untracked files, or commits that no ref holds.
    /// One that is gone already is fine.
    pub fn remove_worktree(&self, path: &Path, root: &Path) -> Result<(), GitError> {
        let path = absolute(path)?;
        let root = absolute(root)?;
        let holds_work = |reason: String| GitError::WorktreeHoldsWork {
            path: path.clone(),
            reason,
        };
        if !path.starts_with(&root) || path == root {
            return Err(holds_work(format!("it is not below `{}`", root.display())));
        }
        let _guard = self.worktree_lane()?;
        let Some(record) = self.worktrees()?.into_iter().find(|worktree| worktree.path == path) else {
            return Ok(());
        };
        if path.is_dir() {
            if let Some(process) = processes_inside(&path).first() {
                return Err(holds_work(format!("process {process} works in it")));
            }
            let status = GitCommand::new(&path, ["status", "--porcelain=v1", "--untracked-files=normal"])
                .read_only()
                .timeout(CHECKOUT_TIMEOUT)
                .text()?;
            if let Some(first) = status.lines().next() {
                return Err(holds_work(format!(
                    "it has uncommitted changes, such as `{}`",
                    first.trim()
                )));
            }
        }
        if let (None, Some(head)) = (&record.branch, &record.head) {
            let is_candidate = self
                .commit(head)
                .is_ok_and(|commit| commit.committer_email == IDENTITY_EMAIL);
            if !is_candidate && !self.is_in_a_ref(head)? {
                return Err(holds_work(format!("no branch holds its commit {head}")));
            }
        }
        self.command(["worktree", "remove", "--", path_text(&path)?])
            .timeout(CHECKOUT_TIMEOUT)
            .success()?;
        Ok(())
    }

    /// Whether files below `path` of a worktree are part of the repository's content.
    pub(crate) fn tracks(&self, worktree: &Path, path: &str) -> Result<bool, GitError> {
        let output = GitCommand::new(worktree, ["ls-files", "-z", "--", &format!(":(literal){path}")])
            .read_only()
            .success()?;
        Ok(!output.is_empty())
    }

    /// The tracked files of a worktree.
    pub(crate) fn files_in(&self, worktree: &Path) -> Result<Vec<String>, GitError> {
        let output = GitCommand::new(worktree, ["ls-files", "-z"]).read_only().success()?;
        Ok(text_fields(&output).collect())
    }

    /// Whether git ignores a file (or a link) of this name in a worktree.
    pub(crate) fn ignores_file(&self, worktree: &Path, path: &str) -> Result<bool, GitError> {
        // What does not exist is taken for a file, as a link is; a real directory of that name would be judged as one.
        if worktree.join(path).is_dir() {
            return Ok(false);
        }
        GitCommand::new(worktree, ["check-ignore", "--quiet", "--no-index", "--", path])
            .read_only()
            .decision()
    }

    /// The directory in which git keeps what belongs to one worktree alone.
    pub(crate) fn own_dir_of(&self, worktree: &Path) -> PathBuf {
        git_dir_of(worktree).unwrap_or_else(|| self.common_dir.clone())
    }

    fn worktree_lane(&self) -> Result<lane::LaneGuard<'_>, GitError> {
        lane::enter(Some(&self.worktree_lane), &self.state_dir().join("worktrees.lock"))
    }

    fn add(&self, arguments: &[&str]) -> Result<(), GitError> {
        let mut command = vec!["worktree", "add", "--quiet", "--no-checkout"];
        command.extend(arguments);
        self.command(command).success()?;
        Ok(())
    }

    /// Whether the worktree exists and can be used; clears away what a crash left of one that was never finished.
    fn reuse(&self, path: &Path, branch: Option<&BranchName>) -> Result<bool, GitError> {
        let record = self.worktrees()?.into_iter().find(|worktree| worktree.path == path);
        let is_linked =
            git_dir_of(path).is_some_and(|git_dir| git_dir.join("HEAD").exists() && git_dir.join("commondir").exists());
        let taken = |reason: String, remedy: String| GitError::WorktreeTaken {
            path: path.to_path_buf(),
            reason,
            remedy,
        };
        match record {
            Some(record) if is_linked && record.head.is_some() => {
                let wanted_here = branch.is_none() || record.branch.as_ref() == branch;
                if wanted_here {
                    return Ok(true);
                }
                if let Some(branch) = branch {
                    self.return_to_branch(path, &record, branch)?;
                }
                Ok(true)
            }
            Some(_) => {
                // On record, yet without its link or its HEAD: the adding, or a removal, was cut off.
                self.clear_half_made(path)?;
                self.command(["worktree", "remove", "--force", "--force", "--", path_text(path)?])
                    .output()?;
                self.drop_dead_records(path)?;
                Ok(false)
            }
            None if !path.exists() => Ok(false),
            None if is_empty_or_link_only(path)? => {
                remove_file_if_present(&path.join(".git"))?;
                Ok(false)
            }
            None => Err(taken(
                "something else is in its place".to_owned(),
                format!(
                    "move it away: mv {} {}.old",
                    quoted(&path.display().to_string()),
                    quoted(&path.display().to_string())
                ),
            )),
        }
    }

    /// Somebody left the worktree on another branch or in the middle of a rebase: nothing of it is lost, and the branch is checked out again.
    fn return_to_branch(&self, path: &Path, record: &WorktreeRecord, branch: &BranchName) -> Result<(), GitError> {
        let taken = |reason: String| GitError::WorktreeTaken {
            path: path.to_path_buf(),
            reason,
            remedy: format!(
                "commit what is there, then: git -C {} checkout {branch}",
                quoted(&path.display().to_string())
            ),
        };
        if let Some(process) = processes_inside(path).first() {
            return Err(taken(format!(
                "it stands elsewhere than on {branch}, and process {process} works in it"
            )));
        }
        self.refuse_second_checkout(branch, path)?;
        self.clear_stale_locks(path, Some(branch))?;
        if let Some(head) = &record.head {
            self.keep(head, &format!("{branch}-left"))?;
        }
        let has_rebase = git_dir_of(path)
            .is_some_and(|git_dir| git_dir.join("rebase-merge").exists() || git_dir.join("rebase-apply").exists());
        if has_rebase {
            // It gives back the branch and the files from before the rebase; commits made meanwhile were kept above.
            GitCommand::new(path, ["rebase", "--abort"])
                .timeout(CHECKOUT_TIMEOUT)
                .output()?;
        }
        let status = GitCommand::new(path, ["status", "--porcelain=v1", "--untracked-files=no"])
            .read_only()
            .text()?;
        if let Some(first) = status.lines().next() {
            return Err(taken(format!(
                "it stands elsewhere than on {branch}, with changes such as `{}`",
                first.trim()
            )));
        }
        GitCommand::new(path, ["checkout", "--quiet", branch.as_str(), "--"])
            .timeout(CHECKOUT_TIMEOUT)
            .success()?;
        Ok(())
    }

    fn clear_stale_locks(&self, path: &Path, branch: Option<&BranchName>) -> Result<(), GitError> {
        clear_stale_locks(self.common_dir(), path, branch)
    }

    /// git would refuse as well, yet without saying what to do.
    fn refuse_second_checkout(&self, branch: &BranchName, path: &Path) -> Result<(), GitError> {
        let other = self.worktrees()?.into_iter().find(|worktree| {
            worktree.branch.as_ref() == Some(branch) && worktree.path != path && worktree.path.is_dir()
        });
        match other {
            None => Ok(()),
            Some(other) => Err(GitError::WorktreeTaken {
                path: path.to_path_buf(),
                reason: format!("branch `{branch}` is checked out in `{}`", other.path.display()),
                remedy: format!("git -C {} checkout --detach", quoted(&other.path.display().to_string())),
            }),
        }
    }

    /// Removes a directory that never got further than its link; refuses when there are files in it.
    fn clear_half_made(&self, path: &Path) -> Result<(), GitError> {
        if !path.exists() {
            return Ok(());
        }
        if !is_empty_or_link_only(path)? {
            return Err(GitError::WorktreeTaken {
                path: path.to_path_buf(),
                reason: "it holds files, and its link to the repository is broken".to_owned(),
                remedy: format!(
                    "git -C {} worktree repair {}",
                    quoted(&self.top_level.display().to_string()),
                    quoted(&path.display().to_string())
                ),
            });
        }
        std::fs::remove_dir_all(path).map_err(GitError::file("removing", path))
    }

    /// Removes records of worktrees at `path` that git itself cannot remove because they are not whole.
    fn drop_dead_records(&self, path: &Path) -> Result<(), GitError> {
        if !self.worktrees()?.iter().any(|worktree| worktree.path == path) {
            return Ok(());
        }
        let records = self.common_dir.join("worktrees");
        let entries = std::fs::read_dir(&records).map_err(GitError::file("reading", &records))?;
        for entry in entries.flatten() {
            let is_ours = std::fs::read_to_string(entry.path().join("gitdir"))
                .is_ok_and(|text| Path::new(text.trim()) == path.join(".git"));
            if is_ours {
                std::fs::remove_dir_all(entry.path()).map_err(GitError::file("removing", &entry.path()))?;
            }
        }
        Ok(())
    }

    fn is_in_a_ref(&self, oid: &Oid) -> Result<bool, GitError> {
        let found = self
            .command([
                "for-each-ref",
                "--count=1",
                "--format=%(refname)",
                "--contains",
                oid.as_str(),
            ])
            .read_only()
            .text()?;
        Ok(!found.is_empty())
    }
}

/// Checks the files out when that has never been done, or was cut off: there is no index then, so nobody has worked here yet.
fn check_out_when_fresh(path: &Path) -> Result<(), GitError> {
    let has_index = git_dir_of(path).is_some_and(|git_dir| git_dir.join("index").exists());
    if !has_index {
        GitCommand::new(path, ["reset", "--quiet", "--hard", "HEAD"])
            .timeout(CHECKOUT_TIMEOUT)
            .success()?;
    }
    Ok(())
}

/// The locks of git directly in a directory.
/// Removes the locks that a git which was killed has left: those of the worktree (`index.lock`, `HEAD.lock`, ...), and the one of its branch. They stay
/// while a process works there that could hold them.
fn clear_stale_locks(common_dir: &Path, path: &Path, branch: Option<&BranchName>) -> Result<(), GitError> {
    let Some(git_dir) = git_dir_of(path) else {
        return Ok(());
    };
    let mut own = locks_in(&git_dir);
    own.append(&mut locks_in(&git_dir.join("reftable")));
    let of_branch = branch
        .map(|branch| common_dir.join(format!("{HEADS}{branch}.lock")))
        .filter(|lock| lock.exists());
    // A commit also tidies up references of its own, for which git locks those that are packed; a killed one leaves that lock to everybody.
    let packed = Some(common_dir.join("packed-refs.lock")).filter(|lock| lock.exists());
    if own.is_empty() && of_branch.is_none() && packed.is_none() || !processes_inside(path).is_empty() {
        return Ok(());
    }
    for lock in own {
        remove_file_if_present(&lock)?;
    }
    of_branch
        .iter()
        .chain(&packed)
        .try_for_each(|lock| remove_when_abandoned(lock))
}

/// The same for a worktree that its agent has left, with the branch that it stood on. It may never be used again, and a lock that stays in it would be in
/// the way of whoever looks there later.
pub(crate) fn clear_locks_left_in(common_dir: &Path, path: &Path) -> Result<(), GitError> {
    let head = git_dir_of(path).and_then(|git_dir| std::fs::read_to_string(git_dir.join("HEAD")).ok());
    let branch = head
        .as_deref()
        .and_then(|head| head.trim_end().strip_prefix("ref: ")?.strip_prefix(HEADS))
        .map(BranchName::new);
    clear_stale_locks(common_dir, path, branch.as_ref())
}

fn locks_in(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "lock"))
        .collect()
}

/// Removes a lock that anybody might hold from anywhere, once it has stayed the same for longer than a living git holds it.
fn remove_when_abandoned(lock: &Path) -> Result<(), GitError> {
    let identity = || {
        let metadata = std::fs::metadata(lock).ok()?;
        Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
    };
    let Some(first) = identity() else { return Ok(()) };
    let deadline = Instant::now() + BRANCH_LOCK_PATIENCE;
    while Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
        if identity() != Some(first) {
            return Ok(());
        }
    }
    remove_file_if_present(lock)
}

/// Processes whose working directory is in `directory`. Empty where the system does not tell.
///
/// A process that only tidies up behind a command (git's own maintenance, for one) leaves by itself: it is given a moment before it counts.
pub fn processes_inside(directory: &Path) -> Vec<u32> {
    let deadline = std::time::Instant::now() + LEAVING_GRACE;
    loop {
        let inside = processes_inside_now(directory);
        if inside.is_empty() || std::time::Instant::now() >= deadline {
            return inside;
        }
        std::thread::sleep(LEAVING_POLL);
    }
}

fn processes_inside_now(directory: &Path) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|process| {
            std::fs::read_link(format!("/proc/{process}/cwd")).is_ok_and(|cwd| cwd.starts_with(directory))
        })
        .collect()
}

/// Those of them that are git, and not started by us.
pub(super) fn foreign_git_processes_inside(directory: &Path) -> Vec<u32> {
    processes_inside_now(directory)
        .into_iter()
        .filter(|process| {
            std::fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name.starts_with("git"))
        })
        .filter(|process| parent_of(*process) != Some(std::process::id()))
        .collect()
}

/// The fourth field of `/proc/<process>/stat`; the second one, a name in parentheses, may hold spaces.
fn parent_of(process: u32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    text.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Removes a file; one that is gone already is fine.
pub(super) fn remove_file_if_present(path: &Path) -> Result<(), GitError> {
    match std::fs::remove_file(path) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(GitError::file("removing", path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes a file so that after a crash it is there whole or not at all.
pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), GitError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory).map_err(GitError::file("creating", directory))?;
    let mut file =
        tempfile::NamedTempFile::new_in(directory).map_err(GitError::file("creating a file in", directory))?;
    file.write_all(bytes).map_err(GitError::file("writing", path))?;
    kill_point::reached("file.before-sync");
    file.as_file().sync_data().map_err(GitError::file("writing", path))?;
    kill_point::reached("file.after-sync");
    file.persist(path)
        .map_err(|error| GitError::file("writing", path)(error.error))?;
    kill_point::reached("file.after-rename");
    // The rename itself must survive a power cut, too.
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(GitError::file("syncing", directory))
}

/// The path as git prints it: absolute, with the links of its parents resolved.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, GitError> {
    if let Ok(path) = path.canonicalize() {
        return Ok(path);
    }
    let whole = std::path::absolute(path).map_err(GitError::file("resolving", path))?;
    match (whole.parent(), whole.file_name()) {
        (Some(parent), Some(name)) => Ok(absolute(parent)?.join(name)),
        (_, _) => Ok(whole),
    }
}

fn path_text(path: &Path) -> Result<&str, GitError> {
    path.to_str().ok_or_else(|| {
        GitError::file("using", path)(std::io::Error::new(ErrorKind::InvalidInput, "its name is not UTF-8"))
    })
}

fn is_empty_or_link_only(path: &Path) -> Result<bool, GitError> {
    if !path.is_dir() {
        return Ok(false);
    }
    let mut entries = std::fs::read_dir(path).map_err(GitError::file("reading", path))?;
    Ok(entries.all(|entry| {
        entry.is_ok_and(|entry| entry.file_name() == ".git" && entry.file_type().is_ok_and(|kind| kind.is_file()))
    }))
}
