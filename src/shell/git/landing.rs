//! Lands merges: writes the commit with its receipt and moves the target by compare-and-swap, checkouts of it included.
//!
//! Order with a checkout: the ref is locked and its old value verified (`update-ref` up to `prepare`), then files and index move, then the ref is
//! committed. So the ref moves only after the files could be moved, and never under changes of the user. A record on disk tells a repetition after a
//! crash that the files were on their way; `checkout.rs` brings them back to what the ref says.

use super::error::GitError;
use super::lane;
use super::receipt;
use super::repository::{Git, HEADS};
use crate::core::command::LandMerge;
use crate::core::event::Refusal;
use crate::ids::{BranchName, Oid};
use crate::shell::kill_point;

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
        kill_point::reached("land.before-commit");
        let commit = self.write_commit(&land.tree, &parents, land.receipt.at, &receipt::message_of(land))?;
        kill_point::reached("land.after-commit");
        match self.advance(&land.target, &land.onto, &commit)? {
            Advance::Moved => Ok(Landing::Landed(commit)),
            Advance::Refused(refusal) => Ok(Landing::Refused(refusal)),
        }
    }

    /// Moves a branch from `from` to its descendant `to`, with every checkout of it. A branch that holds `to` already counts as moved.
    pub(super) fn advance(&self, branch: &BranchName, from: &Oid, to: &Oid) -> Result<Advance, GitError> {
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
        let mut transaction = self.ref_transaction()?;
        if let Err(error) = transaction.prepare(&format!("update {reference} {to} {from}")) {
            return self.lost_race(branch, from, error);
        }
        kill_point::reached("land.after-lock");
        for (index, checkout) in checkouts.iter().enumerate() {
            if let Err(refusal) = self.move_checkout(checkout, branch, from, to)? {
                for moved in &checkouts[..index] {
                    // A checkout that changed within these milliseconds keeps its record and is settled at the next landing.
                    let _ = self.move_back(moved, from, to)?;
                }
                return Ok(Advance::Refused(refusal));
            }
        }
        kill_point::reached("land.before-ref");
        if let Err(error) = transaction.commit() {
            return self.lost_race(branch, from, error);
        }
        kill_point::reached("land.after-ref");
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
