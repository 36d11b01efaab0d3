//! Moves checkouts along with the branch they stand on: never over changes of the user, and mended after a crash half-way.
//!
//! Before files move, a record of (branch, from, to) is written; it goes when the ref has moved. When a record is found, the ref says which of the two
//! trees the checkout belongs to, and it is brought there: a file that holds the content of either tree, or the beginning of it (a write that was cut
//! off), is the crash's; any other content is somebody's work and stays.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::error::GitError;
use super::process::{CHECKOUT_TIMEOUT, GitCommand, text_fields};
use super::receipt::digest_of;
use super::repository::{Git, HEADS};
use super::worktree::{foreign_git_processes_inside, remove_file_if_present};
use crate::core::event::Refusal;
use crate::ids::{BranchName, Oid};
use crate::shell::kill_point;

/// Enough paths for a human to know what is meant.
const PATHS_MAX: usize = 10;
/// How long a git process that a crash left running may take to end.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

/// Written while files of a checkout move.
#[derive(Serialize, Deserialize)]
struct Interrupted {
    branch: BranchName,
    from: Oid,
    to: Oid,
}

/// A path that differs between two trees, with mode and object on each side.
struct Changed {
    path: String,
    old: Option<(String, Oid)>,
    new: Option<(String, Oid)>,
}

type Allowed = Result<(), Refusal>;

impl Git {
    /// The checkouts that stand on a branch.
    pub(super) fn checkouts_of(&self, branch: &BranchName) -> Result<Vec<PathBuf>, GitError> {
        Ok(self
            .worktrees()?
            .into_iter()
            .filter(|worktree| {
                worktree.path.is_dir()
                    && (worktree.branch.as_ref() == Some(branch) || is_rebasing(&worktree.path, branch))
            })
            .map(|worktree| worktree.path)
            .collect())
    }

    /// Whether a checkout has no changes, and nothing untracked is in the way of `to`.
    pub(super) fn may_move(&self, checkout: &Path, from: &Oid, to: &Oid) -> Result<Allowed, GitError> {
        let mut paths = operation_in_progress(checkout);
        let status = [
            "status",
            "--porcelain=v1",
            "-z",
            "--no-renames",
            "--untracked-files=no",
            "--ignore-submodules=dirty",
        ];
        let output = GitCommand::new(checkout, status)
            .read_only()
            .timeout(CHECKOUT_TIMEOUT)
            .success()?;
        paths.extend(text_fields(&output).filter_map(|field| field.get(3..).map(str::to_owned)));
        if paths.is_empty() {
            let changed = self.changed(from, to)?;
            let leaving: BTreeSet<&str> = changed
                .iter()
                .filter(|change| change.old.is_some())
                .map(|change| change.path.as_str())
                .collect();
            let arriving = changed.iter().filter(|change| change.old.is_none());
            paths.extend(arriving.filter_map(|change| obstacle(checkout, &change.path, &leaving)));
            paths.dedup();
        }
        Ok(if paths.is_empty() {
            Ok(())
        } else {
            Err(dirty(checkout, paths))
        })
    }

    /// Moves files and index of a clean checkout from one tree to the other, leaving a record.
    pub(super) fn move_checkout(
        &self,
        checkout: &Path,
        branch: &BranchName,
        from: &Oid,
        to: &Oid,
    ) -> Result<Allowed, GitError> {
        let record = Interrupted {
            branch: branch.clone(),
            from: from.clone(),
            to: to.clone(),
        };
        let file = self.record_file(checkout);
        let text = serde_json::to_string(&record).unwrap_or_default();
        super::worktree::write_durably(&file, text.as_bytes())?;
        kill_point::reached("checkout.after-record");
        let moved = read_tree(checkout, from, to)?;
        kill_point::reached("checkout.after-files");
        if moved.is_err() {
            // git checks everything before it touches anything, so there is nothing to mend.
            remove_file_if_present(&file)?;
        }
        Ok(moved)
    }

    /// Undoes [`Git::move_checkout`].
    pub(super) fn move_back(&self, checkout: &Path, from: &Oid, to: &Oid) -> Result<Allowed, GitError> {
        let moved = read_tree(checkout, to, from)?;
        if moved.is_ok() {
            self.forget_interrupted(checkout)?;
        }
        Ok(moved)
    }

    /// The checkout and its branch agree again.
    pub(super) fn forget_interrupted(&self, checkout: &Path) -> Result<(), GitError> {
        remove_file_if_present(&self.record_file(checkout))
    }

    /// Brings a checkout that a crash left half-way to the tree that its branch stands at.
    pub(super) fn finish_interrupted(&self, checkout: &Path, branch: &BranchName) -> Result<Allowed, GitError> {
        let file = self.record_file(checkout);
        let Ok(text) = std::fs::read_to_string(&file) else {
            return Ok(Ok(()));
        };
        // The record is written whole or not at all; one that cannot be read, or of another branch, speaks of nothing we could mend.
        let record = serde_json::from_str::<Interrupted>(&text)
            .ok()
            .filter(|record| &record.branch == branch);
        if let (Some(record), Some(tip)) = (record, self.tip(branch)?) {
            wait_for_index(checkout)?;
            // A branch that was on its way back holds the goal from the beginning.
            let has_moved = tip != record.from && self.contains(&tip, &record.to)?;
            let (other, goal) = if has_moved {
                (&record.from, &record.to)
            } else {
                (&record.to, &record.from)
            };
            if let Err(refusal) = self.settle(checkout, other, goal)? {
                return Ok(Err(refusal));
            }
        }
        remove_file_if_present(&file)?;
        Ok(Ok(()))
    }

    /// Brings a checkout whose changed paths hold the content of either tree, wholly or in part, to `goal`.
    fn settle(&self, checkout: &Path, other: &Oid, goal: &Oid) -> Result<Allowed, GitError> {
        let changes = self.changed(other, goal)?;
        let contents = changes
            .iter()
            .map(|change| self.content(checkout, change))
            .collect::<Result<Vec<_>, _>>()?;
        let pairs = || changes.iter().zip(&contents);
        let foreign: Vec<String> = pairs()
            .filter(|(_, content)| **content == Content::Foreign)
            .map(|(change, _)| change.path.clone())
            .collect();
        if !foreign.is_empty() {
            return Ok(Err(dirty(checkout, foreign)));
        }
        let arrived = contents.iter().all(|content| *content == Content::New);
        if !arrived {
            // Whatever is not as it was goes: it is in the goal's tree. Then the checkout is the other tree with files missing, which git knows how to move.
            for (change, _) in pairs().filter(|(_, content)| **content != Content::Old) {
                remove_file_unless_directory(&checkout.join(&change.path))?;
            }
        }
        let mut index = Vec::new();
        for change in &changes {
            match if arrived { &change.new } else { &change.old } {
                Some((mode, oid)) => index.extend(format!("{mode} {oid} 0\t{}\0", change.path).bytes()),
                None => index.extend(format!("0 {} 0\t{}\0", self.object_format.zero(), change.path).bytes()),
            }
        }
        GitCommand::new(checkout, ["update-index", "-z", "--index-info"])
            .input(index)
            .success()?;
        // Its exit status only says whether some file differs, which `read-tree` decides better.
        GitCommand::new(checkout, ["update-index", "-q", "--really-refresh"])
            .timeout(CHECKOUT_TIMEOUT)
            .output()?;
        if arrived {
            Ok(Ok(()))
        } else {
            read_tree(checkout, other, goal)
        }
    }

    /// What a path of a checkout holds.
    fn content(&self, checkout: &Path, change: &Changed) -> Result<Content, GitError> {
        let path = checkout.join(&change.path);
        let is = |side: &Option<(String, Oid)>, oid: &Oid| side.as_ref().is_some_and(|(_, wanted)| wanted == oid);
        let (bytes, filtered) = match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                let target = std::fs::read_link(&path).map_err(GitError::file("reading", &path))?;
                (target.as_os_str().as_bytes().to_vec(), false)
            }
            Ok(found) if found.is_file() => (std::fs::read(&path).map_err(GitError::file("reading", &path))?, true),
            // A directory, or nothing: the path is absent. git takes a file away before it writes it anew, and what is gone is still in the tree.
            Ok(_) | Err(_) => {
                return Ok(match (&change.old, &change.new) {
                    (_, None) => Content::New,
                    (None, Some(_)) => Content::Old,
                    (Some(_), Some(_)) => Content::CutOff,
                });
            }
        };
        let mut command = vec!["hash-object", "--stdin"];
        if filtered {
            command.extend(["--path", change.path.as_str()]);
        }
        let oid = Oid::new(GitCommand::new(checkout, command).input(bytes.clone()).text()?);
        if is(&change.new, &oid) {
            return Ok(Content::New);
        }
        if is(&change.old, &oid) {
            return Ok(Content::Old);
        }
        for (_, oid) in [&change.new, &change.old].into_iter().flatten() {
            let whole = GitCommand::new(
                checkout,
                [
                    "cat-file",
                    "--filters",
                    &format!("--path={}", change.path),
                    oid.as_str(),
                ],
            )
            .success()?;
            if whole.starts_with(&bytes) {
                return Ok(Content::CutOff);
            }
        }
        Ok(Content::Foreign)
    }

    fn changed(&self, from: &Oid, to: &Oid) -> Result<Vec<Changed>, GitError> {
        let command = [
            "diff-tree",
            "-r",
            "-z",
            "--raw",
            "--no-renames",
            "--no-abbrev",
            "--no-ext-diff",
            from.as_str(),
            to.as_str(),
        ];
        let output = self.command(command).success()?;
        let mut fields = text_fields(&output);
        let mut changes = Vec::new();
        // `:100644 100644 <old> <new> M`, then the path.
        while let (Some(head), Some(path)) = (fields.next(), fields.next()) {
            let parts: Vec<&str> = head.trim_start_matches(':').split(' ').collect();
            if let [old_mode, new_mode, old, new, ..] = parts[..] {
                let side = |mode: &str, oid: &str| (mode != "000000").then(|| (mode.to_owned(), Oid::new(oid)));
                changes.push(Changed {
                    path,
                    old: side(old_mode, old),
                    new: side(new_mode, new),
                });
            }
        }
        Ok(changes)
    }

    fn record_file(&self, checkout: &Path) -> PathBuf {
        let name = digest_of(&checkout.display().to_string());
        self.state_dir().join(format!("landing-{}.json", &name[..16]))
    }
}

/// What a path of a checkout holds, seen from two trees.
#[derive(PartialEq, Eq)]
enum Content {
    Old,
    New,
    /// The beginning of either, or nothing where there ought to be something.
    CutOff,
    /// Somebody's work.
    Foreign,
}

/// Removes a file or a link; a directory in its place is somebody else's business.
fn remove_file_unless_directory(path: &Path) -> Result<(), GitError> {
    if path.is_dir() && !path.is_symlink() {
        Ok(())
    } else {
        remove_file_if_present(path)
    }
}

/// Moves files and index; git refuses, before it touches anything, where something would be lost.
fn read_tree(checkout: &Path, from: &Oid, to: &Oid) -> Result<Allowed, GitError> {
    let command = [
        "read-tree",
        "-m",
        "-u",
        "--no-recurse-submodules",
        from.as_str(),
        to.as_str(),
    ];
    let output = GitCommand::new(checkout, command).timeout(CHECKOUT_TIMEOUT).output()?;
    if output.code == Some(0) {
        return Ok(Ok(()));
    }
    // `error: Entry 'a' not uptodate. Cannot merge.` and its siblings name the path in quotes.
    let paths: Vec<String> = output
        .stderr
        .lines()
        .filter(|line| {
            line.contains("not uptodate")
                || line.contains("would be overwritten")
                || line.contains("would be removed")
                || line.contains("would lose untracked")
        })
        .filter_map(|line| line.split('\'').nth(1).map(str::to_owned))
        .collect();
    if paths.is_empty() {
        Err(super::process::failed("read-tree -m -u", &output))
    } else {
        Ok(Err(dirty(checkout, paths)))
    }
}

fn dirty(checkout: &Path, mut paths: Vec<String>) -> Refusal {
    if paths.len() > PATHS_MAX {
        let more = paths.len() - PATHS_MAX;
        paths.truncate(PATHS_MAX);
        paths.push(format!("and {more} more"));
    }
    Refusal::CheckoutDirty {
        directory: checkout.display().to_string(),
        paths,
    }
}

/// What stands untracked where a new path wants to be: the path itself, or a file in place of one of its directories.
fn obstacle(checkout: &Path, path: &str, leaving: &BTreeSet<&str>) -> Option<String> {
    let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
    for end in ends {
        let part = &path[..end];
        let is_whole = end == path.len();
        match std::fs::symlink_metadata(checkout.join(part)) {
            Err(_) => return None,
            Ok(found) if found.is_dir() && !is_whole => {}
            // A tracked file that goes with the same move is no obstacle.
            Ok(_) if leaving.contains(part) => return None,
            // A directory whose tracked files go may be left empty; git looks closer.
            Ok(found)
                if found.is_dir()
                    && leaving
                        .iter()
                        .any(|gone| gone.starts_with(part) && gone.as_bytes().get(end) == Some(&b'/')) =>
            {
                return None;
            }
            Ok(_) => return Some(part.to_owned()),
        }
    }
    None
}

/// The administrative directory of a checkout.
pub(super) fn git_dir_of(checkout: &Path) -> Option<PathBuf> {
    let marker = checkout.join(".git");
    if marker.is_dir() {
        return Some(marker);
    }
    let text = std::fs::read_to_string(marker).ok()?;
    let directory = PathBuf::from(text.strip_prefix("gitdir: ")?.trim_end());
    Some(if directory.is_absolute() {
        directory
    } else {
        checkout.join(directory)
    })
}

/// A merge, cherry-pick or revert that waits to be concluded counts as a change.
fn operation_in_progress(checkout: &Path) -> Vec<String> {
    let Some(git_dir) = git_dir_of(checkout) else {
        return Vec::new();
    };
    [
        ("MERGE_HEAD", "a merge in progress"),
        ("CHERRY_PICK_HEAD", "a cherry-pick in progress"),
        ("REVERT_HEAD", "a revert in progress"),
        ("rebase-merge", "a rebase in progress"),
        ("rebase-apply", "a rebase in progress"),
    ]
    .into_iter()
    .filter(|(name, _)| git_dir.join(name).exists())
    .map(|(_, words)| format!("({words})"))
    .collect()
}

/// Whether a checkout is rebasing the branch: HEAD is detached then, yet the branch is about to be moved from there.
fn is_rebasing(checkout: &Path, branch: &BranchName) -> bool {
    let Some(git_dir) = git_dir_of(checkout) else {
        return false;
    };
    ["rebase-merge/head-name", "rebase-apply/head-name"].iter().any(|name| {
        std::fs::read_to_string(git_dir.join(name)).is_ok_and(|text| text.trim() == format!("{HEADS}{branch}"))
    })
}

/// Waits for a git process that outlived us to end, and clears the lock of one that did not end well.
fn wait_for_index(checkout: &Path) -> Result<(), GitError> {
    let Some(lock) = git_dir_of(checkout).map(|git_dir| git_dir.join("index.lock")) else {
        return Ok(());
    };
    let deadline = Instant::now() + LOCK_PATIENCE;
    while lock.exists() && Instant::now() < deadline {
        if foreign_git_processes_inside(checkout).is_empty() {
            return remove_file_if_present(&lock);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
