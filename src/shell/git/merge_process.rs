//! The long-lived `git merge-tree --stdin`: one process for all merges, a millisecond each.
//!
//! It was made for batches: what it prints stays in its buffer until that is full or a message section begins. So messages are asked for, and each merge
//! is followed by a trivial one (a commit with itself), which pushes the rest of the answer out; only the trivial one's last byte comes with the next answer.

use std::ffi::OsString;
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
    /// The end of the last trivial merge is still to be read.
    end_is_due: bool,
}

impl MergeProcess {
    /// Starts the process. Merge attributes are read from the tree of `attribute_source`, never from somebody's checkout, so that
    /// uncommitted changes cannot alter a merge; `attributes` says which root `.gitattributes` that is.
    /// `environment` keeps all other settings away.
    pub(super) fn start(
        directory: &Path,
        environment: Vec<(&'static str, OsString)>,
        attribute_source: &Oid,
        attributes: Option<Oid>,
    ) -> Result<Self, GitError> {
        let mut command = base_command(directory);
        command
            .envs(environment)
            .arg(format!("--attr-source={attribute_source}"))
            .args(["merge-tree", "--stdin", "--messages", "--name-only"]);
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
            end_is_due: false,
        })
    }

    /// Whether the process reads the same attributes.
    pub(super) fn fits(&self, attributes: Option<&Oid>) -> bool {
        self.attributes.as_ref() == attributes
    }

    /// Merges `theirs` into `ours`.
    pub(super) fn merge(&mut self, ours: &Oid, theirs: &Oid) -> Result<Merged, GitError> {
        write!(self.stdin, "{ours} {theirs}\n{ours} {ours}\n")
            .and_then(|()| self.stdin.flush())
            .map_err(|_| died())?;
        if self.end_is_due {
            self.messages()?;
        }
        let merged = self.head()?;
        self.messages()?;
        self.head()?;
        self.end_is_due = true;
        Ok(merged)
    }

    /// Status (1 clean, 0 conflicts), tree, conflicting paths, and an empty field behind them.
    fn head(&mut self) -> Result<Merged, GitError> {
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

    /// Messages: the number of paths, so many paths, kind, text; an empty field ends them.
    fn messages(&mut self) -> Result<(), GitError> {
        loop {
            let field = self.field()?;
            if field.is_empty() {
                return Ok(());
            }
            let paths: usize = String::from_utf8_lossy(&field).parse().map_err(|_| died())?;
            for _ in 0..paths.saturating_add(2) {
                self.field()?;
            }
        }
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
