//! Writes commits that depend on nothing but their arguments: no configured identity, no clock, so that writing one twice gives the same commit.

use super::error::GitError;
use super::process::{CHECKOUT_TIMEOUT, GitCommand};
use super::repository::Git;
use crate::ids::{Oid, Time};

/// Who makes the orchestrator's commits.
pub(super) const IDENTITY: &str = "orchestrate <orchestrate@localhost>";
/// The address in [`IDENTITY`].
pub(super) const IDENTITY_EMAIL: &str = "orchestrate@localhost";

impl Git {
    /// A commit for a gate to run on: the tree that may land, with the parents that it would have. No ref is moved.
    /// Its date is that of its newest parent, so that the same candidate is the same commit.
    pub fn candidate_commit(&self, tree: &Oid, parents: &[Oid], subject: &str) -> Result<Oid, GitError> {
        let mut at = Time::default();
        for parent in parents {
            at = at.max(self.commit(parent)?.committed_at);
        }
        self.write_commit(tree, parents, at, subject)
    }

    /// A commit on top of another that has one more file, under this path or, when there is another one already, beside it. No ref is moved.
    pub fn commit_with_file(
        &self,
        onto: &Oid,
        path: &str,
        content: &[u8],
        at: Time,
        message: &str,
    ) -> Result<Oid, GitError> {
        let blob = GitCommand::new(&self.top_level, ["hash-object", "-w", "--stdin"])
            .input(content.to_vec())
            .text()?;
        let mut path = path.to_owned();
        while self
            .history
            .object_at(onto, &path)?
            .is_some_and(|found| found.as_str() != blob)
        {
            path = format!("{}-more.md", path.trim_end_matches(".md"));
        }
        let index = tempfile::Builder::new()
            .prefix("orchestrate-index-")
            .tempdir()
            .map_err(GitError::file("creating a directory in", &std::env::temp_dir()))?;
        let index = index.path().join("index");
        let with_index = |arguments: &[&str]| {
            GitCommand::new(&self.top_level, arguments)
                .variable("GIT_INDEX_FILE", &index)
                .timeout(CHECKOUT_TIMEOUT)
        };
        with_index(&["read-tree", onto.as_str()]).success()?;
        let entry = format!("100644,{blob},{path}");
        with_index(&["update-index", "--add", "--cacheinfo", &entry]).success()?;
        let tree = Oid::new(with_index(&["write-tree"]).text()?);
        self.write_commit(&tree, std::slice::from_ref(onto), at, message)
    }

    /// Writes a commit object.
    pub(super) fn write_commit(&self, tree: &Oid, parents: &[Oid], at: Time, message: &str) -> Result<Oid, GitError> {
        let seconds = at.0 / 1000;
        let mut text = format!("tree {tree}\n");
        for parent in parents {
            text.push_str(&format!("parent {parent}\n"));
        }
        text.push_str(&format!(
            "author {IDENTITY} {seconds} +0000\ncommitter {IDENTITY} {seconds} +0000\n\n"
        ));
        text.push_str(message.trim_end());
        text.push('\n');
        if self.stores_objects_by_default()
            && let Ok(Some(oid)) = self.history.write_commit(&text)
        {
            return Ok(oid);
        }
        let command = GitCommand::new(&self.top_level, ["hash-object", "-t", "commit", "-w", "--stdin"]);
        Ok(Oid::new(command.input(text).text()?))
    }

    /// Whether nobody has told git to store objects in another way: more durably, or for a group of users. Then they are its own to write.
    fn stores_objects_by_default(&self) -> bool {
        *self.default_storage.get_or_init(|| {
            let settings = r"^core\.(fsync.*|sharedrepository)$";
            let output = self.command(["config", "--get-regexp", settings]).read_only().output();
            // Exit status 1: no such setting.
            output.is_ok_and(|output| output.code == Some(1))
        })
    }
}
