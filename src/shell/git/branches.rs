//! Makes branches for teams and actors, and keeps commits reachable.

use super::error::GitError;
use super::landing::Advance;
use super::repository::{Git, HEADS};
use crate::core::event::Refusal;
use crate::ids::{BranchName, Oid};
use crate::shell::kill_point;

/// Where commits are kept that would become unreachable otherwise.
const KEPT: &str = "refs/orchestrate/kept/";

impl Git {
    /// Makes a branch at `at`, or takes one whose tip is in the history of `at` and moves it there. Gives its tip.
    pub fn create_branch(&self, branch: &BranchName, at: &Oid) -> Result<Oid, GitError> {
        self.commit(at)?;
        if self.tip(branch)?.is_none() {
            let created = self.change_ref(&format!("create {HEADS}{branch} {at}"));
            match (created, self.tip(branch)?) {
                (Ok(_), _) => return Ok(at.clone()),
                // Somebody else was faster: then it is an existing branch.
                (Err(_), Some(_)) => {}
                (Err(error), None) => return Err(error),
            }
        }
        let tip = self
            .tip(branch)?
            .ok_or_else(|| GitError::NoSuchBranch { branch: branch.clone() })?;
        if &tip == at {
            return Ok(tip);
        }
        if !self.contains(at, &tip)? {
            return Err(GitError::BranchTaken {
                branch: branch.clone(),
                tip,
                wanted: at.clone(),
            });
        }
        match self.advance(branch, &tip, at)? {
            Advance::Moved => Ok(at.clone()),
            Advance::Refused(Refusal::TargetMoved { tip: found }) => Err(GitError::BranchMoved {
                branch: branch.clone(),
                expected: tip.to_string(),
                found: Some(found),
            }),
            // Moving forward merges nothing, so there is nothing to doubt.
            Advance::Refused(Refusal::Doubted { .. }) => Err(GitError::BranchTaken {
                branch: branch.clone(),
                tip,
                wanted: at.clone(),
            }),
            Advance::Refused(Refusal::CheckoutDirty { directory, paths }) => Err(GitError::BranchInUse {
                branch: branch.clone(),
                directory,
                paths,
            }),
        }
    }

    /// Puts a branch back to `at` by compare-and-swap, whatever is checked out: somebody moved the ref alone, and no file.
    pub fn restore(&self, branch: &BranchName, at: &Oid, from: Option<&Oid>) -> Result<(), GitError> {
        match from {
            Some(from) => self.change_ref(&format!("update {HEADS}{branch} {at} {from}")),
            None => self.change_ref(&format!("create {HEADS}{branch} {at}")),
        }
    }

    /// Keeps a commit reachable under `refs/orchestrate/kept/`; keeping it again does nothing. Gives the ref's name.
    pub fn keep(&self, oid: &Oid, why: &str) -> Result<String, GitError> {
        let why: String = why
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' })
            .collect();
        let why = match why.trim_matches('-') {
            "" => "commit",
            why => why,
        };
        let name = format!("{KEPT}{why}/{oid}");
        if self.reference(&name)?.is_some() {
            return Ok(name);
        }
        kill_point::reached("keep.before-ref");
        let created = self.change_ref(&format!("create {name} {oid}"));
        kill_point::reached("keep.after-ref");
        match (created, self.reference(&name)?) {
            (Ok(_), _) | (Err(_), Some(_)) => Ok(name),
            (Err(error), None) => Err(error),
        }
    }
}
