//! The long-lived `git merge-tree --stdin`: one process for all merges, a millisecond each.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::error::GitError;
use super::process::base_command;
use crate::ids::Oid;

/// A merge of huge trees takes seconds; a minute means that something is broken.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What a merge came to.
pub(super) struct Merged {
    /// Whether both sides went together.
    pub(super) clean: bool,
    /// The merged tree; with conflict markers in it when it is not clean.
    pub(super) tree: Oid,
    /// Conflicting paths, sorted.
    pub(super) conflicts: Vec<String>,
}

/// A running process. It is dropped, and so ended, as soon as anything about it is odd.
pub(super) struct MergeProcess {
    child: Child,
    stdin: ChildStdin,
    fields: Receiver<Vec<u8>>,
    attributes: Option<Oid>,
}

impl MergeProcess {
    /// Starts the process. Merge attributes are read from the tree of `attribute_source`, never from somebody's checkout, so that
    /// uncommitted changes cannot alter a merge; `attributes` says which root `.gitattributes` that is.
    pub(super) fn start(directory: &Path, attribute_source: &Oid, attributes: Option<Oid>) -> Result<Self, GitError> {
        let mut command = base_command(directory);
        command.arg(format!("--attr-source={attribute_source}")).args([
            "merge-tree",
            "--stdin",
            "--no-messages",
            "--name-only",
        ]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|source| GitError::Missing { source })?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(died());
        };
        let (sender, fields) = channel();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            let mut field = Vec::new();
            while matches!(reader.read_until(0, &mut field), Ok(count) if count > 0) {
                if field.pop() != Some(0) || sender.send(std::mem::take(&mut field)).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            child,
            stdin,
            fields,
            attributes,
        })
    }

    /// Whether the process reads the same attributes.
    pub(super) fn fits(&self, attributes: Option<&Oid>) -> bool {
        self.attributes.as_ref() == attributes
    }

    /// Merges `theirs` into `ours`.
    pub(super) fn merge(&mut self, ours: &Oid, theirs: &Oid) -> Result<Merged, GitError> {
        writeln!(self.stdin, "{ours} {theirs}")
            .and_then(|()| self.stdin.flush())
            .map_err(|_| died())?;
        // One record: status (1 clean, 0 conflicts), tree, conflicting paths, and an empty field at the end.
        let clean = match self.field()?.as_slice() {
            b"1" => true,
            b"0" => false,
            _ => return Err(died()),
        };
        let tree = Oid::new(String::from_utf8_lossy(&self.field()?).into_owned());
        let mut conflicts = Vec::new();
        loop {
            let field = self.field()?;
            if field.is_empty() {
                break;
            }
            conflicts.push(String::from_utf8_lossy(&field).into_owned());
        }
        conflicts.sort();
        conflicts.dedup();
        Ok(Merged { clean, tree, conflicts })
    }

    fn field(&mut self) -> Result<Vec<u8>, GitError> {
        self.fields.recv_timeout(TIMEOUT).map_err(|_| died())
    }
}

impl Drop for MergeProcess {
    fn drop(&mut self) {
        // Both fail only when the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn died() -> GitError {
    GitError::Failed {
        command: "merge-tree --stdin".to_owned(),
        detail: "the process ended or gave no answer".to_owned(),
    }
}
