//! Reads refs and commits through the git program: the way for repositories that libgit2 cannot open.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::error::GitError;
use super::history::{CommitRecord, History};
use super::process::{GitCommand, fields, text_fields};
use crate::ids::{BranchName, Oid, Time};

/// Hash, tree, parents, committer date and address, message: each ended by NUL.
const COMMIT_FORMAT: &str = "--format=%H%x00%T%x00%P%x00%ct%x00%ce%x00%B%x00";
const COMMIT_FIELDS: usize = 6;

/// The reader that starts a git process per question.
pub(super) struct CliHistory {
    /// Where git runs.
    pub(super) directory: PathBuf,
}

impl CliHistory {
    fn git<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> GitCommand {
        GitCommand::new(&self.directory, arguments).read_only()
    }

    fn exists(&self, oid: &Oid) -> Result<bool, GitError> {
        let answer = self.git(["cat-file", "-e", &format!("{oid}^{{commit}}")]).output()?;
        Ok(answer.code == Some(0))
    }

    fn log(&self, arguments: &[&str]) -> Result<Vec<CommitRecord>, GitError> {
        let mut command = vec!["rev-list", "--no-commit-header", "--encoding=UTF-8", COMMIT_FORMAT];
        command.extend(arguments);
        command.push("--");
        let output = self.git(command).success()?;
        let parts: Vec<&[u8]> = fields_of_records(&output);
        Ok(parts.chunks_exact(COMMIT_FIELDS).map(record_of).collect())
    }
}

impl History for CliHistory {
    fn tip(&self, reference: &str) -> Result<Option<Oid>, GitError> {
        let output = self
            .git([
                "rev-parse",
                "--verify",
                "--quiet",
                "--end-of-options",
                &format!("{reference}^{{commit}}"),
            ])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok((output.code == Some(0) && !text.is_empty()).then(|| Oid::new(text)))
    }

    fn tips(&self, prefix: &str) -> Result<BTreeMap<BranchName, Oid>, GitError> {
        let output = self
            .git(["for-each-ref", "--format=%(objectname) %(refname)", prefix])
            .text()?;
        Ok(output
            .lines()
            .filter_map(|line| {
                let (oid, name) = line.split_once(' ')?;
                Some((BranchName::new(name.strip_prefix(prefix)?), Oid::new(oid)))
            })
            .collect())
    }

    fn commit(&self, oid: &Oid) -> Result<Option<CommitRecord>, GitError> {
        if !self.exists(oid)? {
            return Ok(None);
        }
        Ok(self.log(&["--no-walk", oid.as_str()])?.into_iter().next())
    }

    fn commits(&self, new: &Oid, hidden: &[Oid], limit: usize) -> Result<Vec<CommitRecord>, GitError> {
        let count = format!("--max-count={limit}");
        let hidden: Vec<String> = hidden.iter().map(|oid| format!("^{oid}")).collect();
        let mut arguments = vec!["--topo-order", count.as_str(), new.as_str()];
        arguments.extend(hidden.iter().map(String::as_str));
        self.log(&arguments)
    }

    fn first_parents(&self, new: &Oid, limit: usize) -> Result<Vec<CommitRecord>, GitError> {
        self.log(&["--first-parent", &format!("--max-count={limit}"), new.as_str()])
    }

    fn contains(&self, descendant: &Oid, ancestor: &Oid) -> Result<bool, GitError> {
        if descendant == ancestor {
            return Ok(true);
        }
        self.git(["merge-base", "--is-ancestor", ancestor.as_str(), descendant.as_str()])
            .decision()
    }

    fn merge_base(&self, one: &Oid, other: &Oid) -> Result<Option<Oid>, GitError> {
        let output = self.git(["merge-base", one.as_str(), other.as_str()]).output()?;
        match output.code {
            Some(0) => Ok(Some(Oid::new(String::from_utf8_lossy(&output.stdout).trim()))),
            Some(1) => Ok(None),
            _ => Err(super::process::failed("merge-base", &output)),
        }
    }

    fn paths(&self, commit: &Oid) -> Result<Vec<String>, GitError> {
        let output = self
            .git(["ls-tree", "-r", "-z", "--name-only", "--full-tree", commit.as_str()])
            .success()?;
        Ok(text_fields(&output).collect())
    }

    fn changed_paths(&self, from: &Oid, to: &Oid) -> Result<Vec<String>, GitError> {
        let arguments = [
            "diff-tree",
            "-r",
            "-z",
            "--no-renames",
            "--name-only",
            "--no-ext-diff",
            from.as_str(),
            to.as_str(),
        ];
        let output = self.git(arguments).success()?;
        let paths: BTreeSet<String> = text_fields(&output).collect();
        Ok(paths.into_iter().collect())
    }

    fn object_at(&self, commit: &Oid, path: &str) -> Result<Option<Oid>, GitError> {
        let output = self
            .git([
                "rev-parse",
                "--verify",
                "--quiet",
                "--end-of-options",
                &format!("{commit}:{path}"),
            ])
            .output()?;
        Ok((output.code == Some(0)).then(|| Oid::new(String::from_utf8_lossy(&output.stdout).trim())))
    }
}

/// Splits at NUL; each record is followed by a line feed, which stands at the head of the next one.
fn fields_of_records(output: &[u8]) -> Vec<&[u8]> {
    let output = output.strip_suffix(b"\n").unwrap_or(output);
    let mut parts: Vec<&[u8]> = fields(output).collect();
    // An empty last message is swallowed with its terminator.
    while !parts.is_empty() && !parts.len().is_multiple_of(COMMIT_FIELDS) {
        parts.push(b"");
    }
    parts
}

fn record_of(parts: &[&[u8]]) -> CommitRecord {
    let text = |index: usize| {
        parts
            .get(index)
            .map(|part| String::from_utf8_lossy(part).into_owned())
            .unwrap_or_default()
    };
    let seconds: u64 = text(3).parse().unwrap_or(0);
    CommitRecord {
        oid: Oid::new(text(0).trim_start()),
        tree: Oid::new(text(1)),
        parents: text(2).split_ascii_whitespace().map(Oid::new).collect(),
        committer_email: text(4),
        committed_at: Time(seconds.saturating_mul(1000)),
        message: text(5).trim_matches('\n').to_owned(),
    }
}
