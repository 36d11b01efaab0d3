//! A second opinion on a merge: made anew by another implementation, or at least by another process, before anything lands.

use super::error::GitError;
use super::process::{GitCommand, failed};
use super::repository::Git;
use crate::ids::Oid;

/// What a second merge of the same two commits came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecondOpinion {
    /// The very same tree.
    Same,
    /// Another tree; `None`: a conflict.
    Other(Option<Oid>),
}

impl Git {
    /// Merges `theirs` into `ours` once more, in another way than the first time, and compares with the tree that was tested.
    ///
    /// libgit2 goes first: it shares nothing with git. It knows less of renamed directories, so where it says something else a git process of its own decides.
    pub fn second_opinion(&self, ours: &Oid, theirs: &Oid, tested: &Oid) -> Result<SecondOpinion, GitError> {
        if self.contains(ours, theirs)? {
            let tree = self.commit(ours)?.tree;
            return Ok(compared(&tree, tested));
        }
        if self.contains(theirs, ours)? {
            let tree = self.commit(theirs)?.tree;
            return Ok(compared(&tree, tested));
        }
        if self.history.merged(ours, theirs)?.as_ref() == Some(tested) {
            return Ok(SecondOpinion::Same);
        }
        let source = format!("--attr-source={ours}");
        let arguments = [
            source.as_str(),
            "merge-tree",
            "--write-tree",
            "--no-messages",
            "-z",
            ours.as_str(),
            theirs.as_str(),
        ];
        let output = GitCommand::new(&self.top_level, arguments)
            .variables(self.isolation()?)
            .output()?;
        match output.code {
            Some(0) => {
                let text = String::from_utf8_lossy(&output.stdout);
                let tree = Oid::new(text.split('\0').next().unwrap_or_default().trim());
                Ok(compared(&tree, tested))
            }
            Some(1) => Ok(SecondOpinion::Other(None)),
            Some(_) | None => Err(failed("merge-tree", &output)),
        }
    }

    /// The tree and the parent that a merge is going to have once the commits in front of it are merged; `None` when they do not go together.
    pub fn look_ahead(&self, tip: &Oid, ahead: &[Oid], source: &Oid) -> Result<Option<(Oid, Oid)>, GitError> {
        let mut onto = tip.clone();
        for next in ahead {
            let Ok(tree) = self.merge_trees(&onto, next)? else {
                return Ok(None);
            };
            onto = self.candidate_commit(&tree, &[onto, next.clone()], "Candidate in front of another")?;
        }
        Ok(self.merge_trees(&onto, source)?.ok().map(|tree| (tree, onto)))
    }
}

fn compared(tree: &Oid, tested: &Oid) -> SecondOpinion {
    if tree == tested {
        SecondOpinion::Same
    } else {
        SecondOpinion::Other(Some(tree.clone()))
    }
}
