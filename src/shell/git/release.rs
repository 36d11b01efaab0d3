//! Moves the release branch forward and sets the release tag. Neither is ever forced, and doing it twice does nothing more.

use super::error::GitError;
use super::landing::Advance;
use super::objects::IDENTITY;
use super::process::GitCommand;
use super::repository::{Git, HEADS};
use crate::core::event::Refusal;
use crate::ids::{BranchName, Oid, Time};

const TAGS: &str = "refs/tags/";

impl Git {
    /// The commit that a tag stands for.
    pub fn tagged(&self, tag: &str) -> Result<Option<Oid>, GitError> {
        self.reference(&format!("{TAGS}{tag}"))
    }

    /// Moves a branch to `to` by compare-and-swap, with every clean checkout of it; makes it when it is not there. A branch whose tip is not in the history of
    /// `to` stays where it is.
    pub fn fast_forward(&self, branch: &BranchName, to: &Oid) -> Result<(), GitError> {
        let Some(tip) = self.tip(branch)? else {
            return self.change_ref(&format!("create {HEADS}{branch} {to}"));
        };
        if &tip == to {
            return Ok(());
        }
        if !self.contains(to, &tip)? {
            return Err(GitError::BranchTaken {
                branch: branch.clone(),
                tip,
                wanted: to.clone(),
            });
        }
        match self.advance(branch, &tip, to)? {
            Advance::Moved => Ok(()),
            Advance::Refused(Refusal::CheckoutDirty { directory, paths }) => Err(GitError::BranchInUse {
                branch: branch.clone(),
                directory,
                paths,
            }),
            Advance::Refused(_) => Err(GitError::BranchMoved {
                branch: branch.clone(),
                expected: tip.to_string(),
                found: self.tip(branch)?,
            }),
        }
    }

    /// Sets an annotated tag; one that stands at this commit already is left as it is.
    pub fn set_tag(&self, tag: &str, commit: &Oid, at: Time, message: &str) -> Result<(), GitError> {
        match self.tagged(tag)? {
            Some(present) if &present == commit => return Ok(()),
            Some(present) => {
                return Err(GitError::Failed {
                    command: format!("tag {tag}"),
                    detail: format!("the tag stands at {present} already"),
                });
            }
            None => {}
        }
        let text = format!(
            "object {commit}\ntype commit\ntag {tag}\ntagger {IDENTITY} {} +0000\n\n{}\n",
            at.0 / 1000,
            message.trim_end()
        );
        let object = GitCommand::new(self.top_level(), ["mktag"]).input(text).text()?;
        self.change_ref(&format!("create {TAGS}{tag} {object}"))
    }
}
