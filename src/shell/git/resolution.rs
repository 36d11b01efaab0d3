//! Conflicts in a worktree: makes one ready to be settled, looks at what somebody made of it, and puts a branch back with everything kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::checkout::git_dir_of;
use super::error::GitError;
use super::process::{CHECKOUT_TIMEOUT, GitCommand, text_fields};
use super::repository::{Git, HEADS};
use crate::core::command::ConflictFacts;
use crate::core::event::{Side, Vanished};
use crate::ids::{BranchName, Oid, Time};

/// More history than this on top of both sides is no settlement.
const COMMITS_MAX: usize = 1_000;
/// So much of a side's changes is shown to whoever settles a conflict; the rest is a command away.
const CHANGES_MAX_BYTES: usize = 12 * 1024;
/// The line of a commit's body that says why a settlement touches a file that is not in conflict: `Also-Changed: path: reason`.
const ALSO_CHANGED: &str = "also-changed:";
/// Longer lines are cut in lists of what vanished.
const LINE_MAX_CHARACTERS: usize = 200;

/// What somebody made of a conflict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// Why it cannot be taken, one sentence each.
    pub faults: Vec<String>,
    /// What of either side is not in it.
    pub vanished: Vec<Vanished>,
}

impl Git {
    /// Puts a worktree in the middle of merging `source` into what it stands on, unless it is there already or past it.
    pub fn begin_merge(&self, worktree: &Path, branch: &BranchName, source: &Oid) -> Result<(), GitError> {
        let tip = self
            .tip(branch)?
            .ok_or_else(|| GitError::NoSuchBranch { branch: branch.clone() })?;
        let is_under_way = git_dir_of(worktree).is_some_and(|git_dir| git_dir.join("MERGE_HEAD").exists());
        if is_under_way || self.contains(&tip, source)? {
            return Ok(());
        }
        // Exit status 1: there are conflicts, which is what it is for.
        let arguments = ["merge", "--no-ff", "--no-commit", "--quiet", source.as_str()];
        let output = GitCommand::new(worktree, arguments)
            .timeout(CHECKOUT_TIMEOUT)
            .output()?;
        match output.code {
            Some(0 | 1) => Ok(()),
            Some(_) | None => Err(super::process::failed("merge", &output)),
        }
    }

    /// What each side of a conflict changed in the conflicting paths, as people read it: the target's and the source's.
    pub fn changes_of_sides(&self, conflict: &ConflictFacts) -> Result<(String, String), GitError> {
        let Some(base) = self.merge_base(&conflict.onto, &conflict.source)? else {
            return Ok((String::new(), String::new()));
        };
        let changes = |side: &Oid| -> Result<String, GitError> {
            let mut arguments = vec![
                "diff",
                "--no-color",
                "--no-ext-diff",
                base.as_str(),
                side.as_str(),
                "--",
            ];
            let paths: Vec<String> = conflict.paths.iter().map(|path| format!(":(literal){path}")).collect();
            arguments.extend(paths.iter().map(String::as_str));
            let output = GitCommand::new(&self.top_level, arguments).read_only().success()?;
            let text = String::from_utf8_lossy(&output);
            let mut end = text.len().min(CHANGES_MAX_BYTES);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            let left = text.len() - end;
            let more = if left == 0 {
                String::new()
            } else {
                format!("\n... {left} bytes left out: git diff {base} {side}")
            };
            Ok(format!("{}{more}", text[..end].trim_end()))
        };
        Ok((changes(&conflict.onto)?, changes(&conflict.source)?))
    }

    /// Looks at what somebody made of a conflict: both sides are in it, no markers are left, nothing else is touched without a reason, and what it drops.
    pub fn check_settlement(&self, commit: &Oid, conflict: &ConflictFacts) -> Result<Settlement, GitError> {
        let mut settlement = Settlement::default();
        for (side, branch) in [
            (&conflict.onto, &conflict.target),
            (&conflict.source, &conflict.source_branch),
        ] {
            if !self.contains(commit, side)? {
                settlement.faults.push(format!(
                    "it does not hold `{branch}` as it stood in the conflict ({side}): merge that commit, and commit the merge"
                ));
            }
        }
        if !settlement.faults.is_empty() {
            return Ok(settlement);
        }
        let in_conflict: BTreeSet<&str> = conflict.paths.iter().map(String::as_str).collect();
        let explained = self.explained_paths(commit, conflict)?;
        for path in self.touched_paths(commit, conflict)? {
            if !in_conflict.contains(path.as_str()) && !explained.contains(&path) {
                settlement.faults.push(format!(
                    "`{path}` was not in conflict: take the change back, or say why in the commit's body with a line `Also-Changed: {path}: reason`"
                ));
            }
        }
        let base = self.merge_base(&conflict.onto, &conflict.source)?;
        for path in &conflict.paths {
            let made = self.lines_of(Some(commit), path)?;
            let (target, source) = (
                self.lines_of(Some(&conflict.onto), path)?,
                self.lines_of(Some(&conflict.source), path)?,
            );
            let is_marker = |line: &&String| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ");
            if made
                .keys()
                .filter(is_marker)
                .any(|line| !target.contains_key(line) && !source.contains_key(line))
            {
                settlement.faults.push(format!("conflict markers are left in `{path}`"));
            }
            let before = self.lines_of(base.as_ref(), path)?;
            for (side, lines) in [(Side::Target, target), (Side::Source, source)] {
                settlement.vanished.extend(vanished(path, side, &before, &lines, &made));
            }
        }
        Ok(settlement)
    }

    /// Paths in which a settlement differs from what git alone makes of the two sides.
    fn touched_paths(&self, commit: &Oid, conflict: &ConflictFacts) -> Result<Vec<String>, GitError> {
        let automatic = self.merged_tree(&conflict.onto, &conflict.source)?;
        let made = self.commit(commit)?.tree;
        let arguments = [
            "diff-tree",
            "-r",
            "-z",
            "--name-only",
            "--no-renames",
            automatic.as_str(),
            made.as_str(),
        ];
        let output = GitCommand::new(&self.top_level, arguments).read_only().success()?;
        Ok(text_fields(&output).collect())
    }

    /// Paths that the commits of a settlement give a reason for.
    fn explained_paths(&self, commit: &Oid, conflict: &ConflictFacts) -> Result<BTreeSet<String>, GitError> {
        let sides = [conflict.onto.clone(), conflict.source.clone()];
        let mut paths = BTreeSet::new();
        for record in self.commits_between(commit, &sides, COMMITS_MAX)? {
            for line in record.message.lines() {
                let line = line.trim();
                let Some(start) = line.get(..ALSO_CHANGED.len()) else {
                    continue;
                };
                if start.eq_ignore_ascii_case(ALSO_CHANGED)
                    && let Some((path, reason)) = line[ALSO_CHANGED.len()..].split_once(": ")
                    && !reason.trim().is_empty()
                {
                    paths.insert(path.trim().trim_matches('`').to_owned());
                }
            }
        }
        Ok(paths)
    }

    /// The lines of a file, without the blank around them, and how often each occurs; a file that is not there has none.
    fn lines_of(&self, commit: Option<&Oid>, path: &str) -> Result<BTreeMap<String, u32>, GitError> {
        let mut lines = BTreeMap::new();
        if let Some(commit) = commit
            && let Some(bytes) = self.file(commit, path)?
        {
            for line in String::from_utf8_lossy(&bytes).lines() {
                *lines.entry(line.trim().to_owned()).or_insert(0) += 1;
            }
        }
        Ok(lines)
    }

    /// Puts a branch to `at`, wherever it stands, with the files of its worktree. Its tip, and changes that are in no commit, are kept before. Nobody may work there.
    pub fn reset_branch(&self, branch: &BranchName, worktree: &Path, at: &Oid) -> Result<Oid, GitError> {
        self.commit(at)?;
        let has_worktree = self
            .worktrees()?
            .iter()
            .any(|known| known.path == worktree && known.branch.as_ref() == Some(branch));
        if has_worktree && worktree.is_dir() {
            self.keep_changes(branch, worktree)?;
        }
        match self.tip(branch)? {
            None => self.change_ref(&format!("create {HEADS}{branch} {at}"))?,
            Some(tip) if &tip == at => {}
            Some(tip) => {
                self.keep(&tip, branch.as_str())?;
                self.change_ref(&format!("update {HEADS}{branch} {at} {tip}"))?;
            }
        }
        if has_worktree && worktree.is_dir() {
            for arguments in [["reset", "--quiet", "--hard"].as_slice(), &["clean", "-ffdq"]] {
                GitCommand::new(worktree, arguments)
                    .timeout(CHECKOUT_TIMEOUT)
                    .success()?;
            }
        }
        Ok(at.clone())
    }

    /// Keeps what a worktree holds beyond its HEAD as a commit of its own, whatever state its index is in.
    fn keep_changes(&self, branch: &BranchName, worktree: &Path) -> Result<(), GitError> {
        let status = ["status", "--porcelain=v1", "--untracked-files=normal"];
        let status = GitCommand::new(worktree, status).read_only().timeout(CHECKOUT_TIMEOUT);
        let (Some(head), false) = (self.tip(branch)?, status.text()?.is_empty()) else {
            return Ok(());
        };
        let index = tempfile::Builder::new()
            .prefix("orchestrate-index-")
            .tempdir()
            .map_err(GitError::file("creating a directory in", &std::env::temp_dir()))?;
        let index = index.path().join("index");
        let with_index = |arguments: &[&str]| {
            GitCommand::new(worktree, arguments)
                .variable("GIT_INDEX_FILE", &index)
                .timeout(CHECKOUT_TIMEOUT)
        };
        with_index(&["read-tree", head.as_str()]).success()?;
        with_index(&["add", "-A"]).success()?;
        let tree = Oid::new(with_index(&["write-tree"]).text()?);
        let at: Time = self.commit(&head)?.committed_at;
        let kept = self.write_commit(&tree, &[head], at, "Changes that were in no commit")?;
        self.keep(&kept, &format!("{branch}-left"))?;
        Ok(())
    }
}

/// Lines that a side had added and that are not in what was made of it.
fn vanished(
    path: &str,
    side: Side,
    before: &BTreeMap<String, u32>,
    lines: &BTreeMap<String, u32>,
    made: &BTreeMap<String, u32>,
) -> Option<Vanished> {
    let gone: Vec<&String> = lines
        .iter()
        .filter(|(line, count)| {
            let of = |in_version: &BTreeMap<String, u32>| in_version.get(*line).copied().unwrap_or(0);
            !line.is_empty() && **count > of(before) && of(made) < **count
        })
        .map(|(line, _)| line)
        .collect();
    (!gone.is_empty()).then(|| Vanished {
        path: path.to_owned(),
        side,
        count: u32::try_from(gone.len()).unwrap_or(u32::MAX),
        lines: gone
            .into_iter()
            .take(Vanished::LINES_MAX)
            .map(|line| line.chars().take(LINE_MAX_CHARACTERS).collect())
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[&str]) -> BTreeMap<String, u32> {
        let mut lines = BTreeMap::new();
        for line in text {
            *lines.entry((*line).to_owned()).or_insert(0) += 1;
        }
        lines
    }

    #[test]
    fn only_lines_that_a_side_added_can_vanish() {
        let before = lines(&["old"]);
        let side = lines(&["old", "new", "kept"]);
        let found = vanished("a", Side::Source, &before, &side, &lines(&["kept"]));
        let found = found.map(|found| (found.count, found.lines));
        assert_eq!(found, Some((1, vec!["new".to_owned()])));
        assert_eq!(
            vanished("a", Side::Source, &before, &side, &lines(&["new", "kept"])),
            None
        );
    }
}
