//! Puts branches back to commits at which they stood before, with every checkout of them: all of them or none, and where they stood is kept.

use super::error::GitError;
use super::lane;
use super::repository::{Git, HEADS};
use crate::core::event::{BranchReturn, Refusal};
use crate::ids::{BranchName, Oid};
use crate::shell::kill_point;

/// Where branches stood before a human put them back: `refs/orchestrate/undone/<branch>/<commit>`.
pub(crate) const UNDONE: &str = "refs/orchestrate/undone/";

impl Git {
    /// Why these branches cannot go back now; `None`: they can. Touches nothing.
    pub fn hindrance(&self, moves: &[BranchReturn]) -> Result<Option<String>, GitError> {
        for returned in moves {
            match self.tip(&returned.branch)? {
                Some(tip) if tip == returned.from || tip == returned.to || self.went_back(returned, &tip)? => {}
                Some(tip) => return Ok(Some(moved_meanwhile(returned, &tip))),
                None => return Ok(Some(format!("there is no branch `{}`", returned.branch))),
            }
            for checkout in self.checkouts_of(&returned.branch)? {
                if let Err(refusal) = self.may_move(&checkout, &returned.from, &returned.to)? {
                    return Ok(Some(words_of(&refusal)));
                }
            }
        }
        Ok(None)
    }

    /// Puts branches back. Doing it again does nothing. `Some`: why nothing was done.
    pub fn return_branches(&self, moves: &[BranchReturn]) -> Result<Option<String>, GitError> {
        let _guard = lane::enter(Some(&self.landing_lane), &self.state_dir().join("landing.lock"))?;
        let mut open: Vec<&BranchReturn> = Vec::new();
        let mut checkouts = Vec::new();
        for returned in moves {
            let own = self.checkouts_of(&returned.branch)?;
            for checkout in &own {
                if let Err(refusal) = self.finish_interrupted(checkout, &returned.branch)? {
                    return Ok(Some(words_of(&refusal)));
                }
            }
            match self.tip(&returned.branch)? {
                None => {
                    return Err(GitError::NoSuchBranch {
                        branch: returned.branch.clone(),
                    });
                }
                Some(tip) if tip == returned.to || self.went_back(returned, &tip)? => continue,
                Some(tip) if tip != returned.from => return Ok(Some(moved_meanwhile(returned, &tip))),
                Some(_) => {}
            }
            for checkout in &own {
                if let Err(refusal) = self.may_move(checkout, &returned.from, &returned.to)? {
                    return Ok(Some(words_of(&refusal)));
                }
            }
            open.push(returned);
            checkouts.extend(own.into_iter().map(|checkout| (checkout, returned)));
        }
        if open.is_empty() {
            return Ok(None);
        }
        for returned in &open {
            self.keep_undone(&returned.branch, &returned.from)?;
        }
        kill_point::reached("rollback.after-keep");
        let lines: Vec<String> = open
            .iter()
            .map(|returned| format!("update {HEADS}{} {} {}", returned.branch, returned.to, returned.from))
            .collect();
        let mut transaction = self.ref_transaction()?;
        if let Err(error) = transaction.prepare(&lines.join("\n")) {
            return self.lost(&open, error).map(Some);
        }
        kill_point::reached("rollback.after-lock");
        for (index, (checkout, returned)) in checkouts.iter().enumerate() {
            if let Err(refusal) = self.move_checkout(checkout, &returned.branch, &returned.from, &returned.to)? {
                for (moved, returned) in &checkouts[..index] {
                    // A checkout that changed within these milliseconds keeps its record and is settled at the next landing.
                    let _ = self.move_back(moved, &returned.from, &returned.to)?;
                }
                return Ok(Some(words_of(&refusal)));
            }
        }
        kill_point::reached("rollback.before-ref");
        if let Err(error) = transaction.commit() {
            return self.lost(&open, error).map(Some);
        }
        kill_point::reached("rollback.after-ref");
        for (checkout, _) in &checkouts {
            self.forget_interrupted(checkout)?;
        }
        Ok(None)
    }

    /// Whether a branch went back already, and somebody has put commits on top since: a process that died before it could say so, died here.
    fn went_back(&self, returned: &BranchReturn, tip: &Oid) -> Result<bool, GitError> {
        let is_kept = self
            .reference(&format!("{UNDONE}{}/{}", returned.branch, returned.from))?
            .is_some();
        Ok(is_kept && self.contains(tip, &returned.to)? && !self.contains(tip, &returned.from)?)
    }

    /// Keeps where a branch stood; keeping it again does nothing.
    fn keep_undone(&self, branch: &BranchName, tip: &Oid) -> Result<(), GitError> {
        let name = format!("{UNDONE}{branch}/{tip}");
        if self.reference(&name)?.is_none() {
            self.change_ref(&format!("create {name} {tip}"))?;
        }
        Ok(())
    }

    /// The commit that a human means: a whole or abbreviated name, a branch, a tag, `team-1~2`. `None`: there is none, or it is not clear which.
    pub fn commit_meant(&self, text: &str) -> Result<Option<Oid>, GitError> {
        let wanted = format!("{text}^{{commit}}");
        let output = self
            .command(["rev-parse", "--verify", "--quiet", "--end-of-options", &wanted])
            .read_only()
            .output()?;
        let found = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok((output.code == Some(0) && !found.is_empty()).then(|| Oid::new(found)))
    }

    /// Where a branch stood before a human put it back, each time.
    pub fn undone_tips(&self, branch: &BranchName) -> Result<Vec<Oid>, GitError> {
        let prefix = format!("{UNDONE}{branch}/");
        Ok(self.history.tips(&prefix)?.into_values().collect())
    }

    /// A transaction that failed: because a branch moved, or for a reason of its own.
    fn lost(&self, moves: &[&BranchReturn], error: GitError) -> Result<String, GitError> {
        for returned in moves {
            if let Some(tip) = self.tip(&returned.branch)?
                && tip != returned.from
            {
                return Ok(moved_meanwhile(returned, &tip));
            }
        }
        Err(error)
    }
}

fn moved_meanwhile(returned: &BranchReturn, tip: &Oid) -> String {
    format!(
        "`{}` stands at {tip} and not at {} any more: look at it, then ask again",
        returned.branch, returned.from
    )
}

fn words_of(refusal: &Refusal) -> String {
    match refusal {
        Refusal::CheckoutDirty { directory, paths } => format!(
            "the checkout at {directory} has uncommitted changes ({}): commit or stash them, then ask again",
            paths.join(", ")
        ),
        Refusal::TargetMoved { tip } => format!("it stands at {tip} by now: look at it, then ask again"),
        Refusal::Doubted { .. } => "its merge is in doubt".to_owned(),
    }
}
