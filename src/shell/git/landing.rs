//! Lands merges: writes the commit with its receipt and moves the target by compare-and-swap, checkouts of it included.
//!
//! Order with a checkout: the ref is locked and its old value verified (`update-ref` up to `prepare`), then files and index move, then the ref is
//! committed. So the ref moves only after the files could be moved, and never under changes of the user. A record on disk tells a repetition after a
//! crash that the files were on their way; `checkout.rs` brings them back to what the ref says.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::error::GitError;
use super::lane;
use super::process::base_command;
use super::receipt;
use super::repository::{Git, HEADS};
use crate::core::command::LandMerge;
use crate::core::event::Refusal;
use crate::ids::{BranchName, Oid};

/// git itself gives up on a locked ref after a second; hooks of the user may take longer.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);

/// What came of a landing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Landing {
    /// The target stands at this commit, or at a descendant of it.
    Landed(Oid),
    /// The target did not move.
    Refused(Refusal),
}

/// What came of moving a branch forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Advance {
    Moved,
    Refused(Refusal),
}

impl Git {
    /// Writes the merge commit and moves the target to it. Landing the same merge again makes the same commit and changes nothing.
    pub fn land(&self, land: &LandMerge) -> Result<Landing, GitError> {
        if !receipt::proves(land) {
            return Err(GitError::Failed {
                command: format!("landing on {}", land.target),
                detail: "the receipt does not prove that the tree passed its gate".to_owned(),
            });
        }
        let parents = [land.onto.clone(), land.source.clone()];
        let commit = self.write_commit(&land.tree, &parents, land.receipt.at, &receipt::message_of(land))?;
        match self.advance(
            &land.target,
            &land.onto,
            &commit,
            &format!("orchestrate: {}", land.subject),
        )? {
            Advance::Moved => Ok(Landing::Landed(commit)),
            Advance::Refused(refusal) => Ok(Landing::Refused(refusal)),
        }
    }

    /// Moves a branch from `from` to its descendant `to`, with every checkout of it. A branch that holds `to` already counts as moved.
    pub(super) fn advance(&self, branch: &BranchName, from: &Oid, to: &Oid, reason: &str) -> Result<Advance, GitError> {
        // One at a time: a checkout that another thread is moving must not be taken for one that a crash left behind.
        let _guard = lane::enter(Some(&self.landing_lane), &self.state_dir().join("landing.lock"))?;
        let checkouts = self.checkouts_of(branch)?;
        for checkout in &checkouts {
            if let Err(refusal) = self.finish_interrupted(checkout, branch)? {
                return Ok(Advance::Refused(refusal));
            }
        }
        match self.tip(branch)? {
            None => return Err(GitError::NoSuchBranch { branch: branch.clone() }),
            Some(tip) if self.contains(&tip, to)? => return Ok(Advance::Moved),
            Some(tip) if &tip != from => return Ok(Advance::Refused(Refusal::TargetMoved { tip })),
            Some(_) => {}
        }
        for checkout in &checkouts {
            if let Err(refusal) = self.may_move(checkout, from, to)? {
                return Ok(Advance::Refused(refusal));
            }
        }
        let reference = format!("{HEADS}{branch}");
        let mut transaction = RefTransaction::start(&self.top_level, reason)?;
        if let Err(error) = transaction.prepare(&reference, from, to) {
            return self.lost_race(branch, from, error);
        }
        for (index, checkout) in checkouts.iter().enumerate() {
            if let Err(refusal) = self.move_checkout(checkout, branch, from, to)? {
                for moved in &checkouts[..index] {
                    // A checkout that changed within these milliseconds keeps its record and is settled at the next landing.
                    let _ = self.move_back(moved, from, to)?;
                }
                return Ok(Advance::Refused(refusal));
            }
        }
        if let Err(error) = transaction.commit() {
            return self.lost_race(branch, from, error);
        }
        for checkout in &checkouts {
            self.forget_interrupted(checkout)?;
        }
        Ok(Advance::Moved)
    }

    /// A transaction that failed: because the branch moved, or for a reason of its own.
    fn lost_race(&self, branch: &BranchName, from: &Oid, error: GitError) -> Result<Advance, GitError> {
        match self.tip(branch)? {
            Some(tip) if &tip != from => Ok(Advance::Refused(Refusal::TargetMoved { tip })),
            Some(_) | None => Err(error),
        }
    }
}

/// A ref update between its lock and its commit. Dropping it before gives the lock back and changes nothing.
struct RefTransaction {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl RefTransaction {
    fn start(directory: &Path, reason: &str) -> Result<Self, GitError> {
        let mut child = base_command(directory)
            .args(["update-ref", "-m", reason, "--stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| GitError::Missing { source })?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(GitError::Failed {
                command: "update-ref".to_owned(),
                detail: "no pipes".to_owned(),
            });
        };
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            child,
            stdin: Some(stdin),
            lines,
        })
    }

    /// Locks the ref and verifies its old value.
    fn prepare(&mut self, reference: &str, from: &Oid, to: &Oid) -> Result<(), GitError> {
        self.say(&format!("start\nupdate {reference} {to} {from}\nprepare\n"))?;
        self.expect("start: ok")?;
        self.expect("prepare: ok")
    }

    fn commit(&mut self) -> Result<(), GitError> {
        self.say("commit\n")?;
        self.expect("commit: ok")
    }

    fn say(&mut self, text: &str) -> Result<(), GitError> {
        let said = self
            .stdin
            .as_mut()
            .is_some_and(|stdin| stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).is_ok());
        if said { Ok(()) } else { Err(self.failure()) }
    }

    fn expect(&mut self, wanted: &str) -> Result<(), GitError> {
        match self.lines.recv_timeout(TRANSACTION_TIMEOUT) {
            Ok(line) if line == wanted => Ok(()),
            Ok(_) | Err(_) => Err(self.failure()),
        }
    }

    fn failure(&mut self) -> GitError {
        self.end();
        let mut detail = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            // What cannot be read cannot be told.
            let _ = stderr.read_to_string(&mut detail);
        }
        GitError::Failed {
            command: "update-ref --stdin".to_owned(),
            detail: detail.trim().to_owned(),
        }
    }

    /// Ends the process through the end of its input: then it gives its locks back, which it could not when it were killed.
    fn end(&mut self) {
        drop(self.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(5);
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > deadline {
                // It fails only when the process is gone by now.
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl Drop for RefTransaction {
    fn drop(&mut self) {
        self.end();
    }
}
