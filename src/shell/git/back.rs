//! Looking back: what a commit makes with each older state of the branch that it was merged into.

use super::error::GitError;
use super::repository::Git;
use crate::core::event::Trial;
use crate::ids::Oid;

impl Git {
    /// The trees of `source` with every commit on the first-parent line of `onto` that it does not hold, the oldest first. In front of them stands the newest one
    /// that it holds: with that, `source` makes its own tree. What does not go together is left out.
    pub fn look_back(&self, source: &Oid, onto: &Oid) -> Result<Vec<Trial>, GitError> {
        let mut line = Vec::new();
        let mut held = None;
        for commit in self.history.first_parents(onto, Trial::COUNT_MAX)? {
            if self.history.contains(source, &commit.oid)? {
                held = Some(commit.oid);
                break;
            }
            line.push(commit.oid);
        }
        let held = match held {
            Some(held) => Some(held),
            None => {
                // There is room for it: of so many, the oldest goes.
                line.truncate(Trial::COUNT_MAX - 1);
                self.history.merge_base(source, onto)?
            }
        };
        line.extend(held);
        let mut trials = Vec::new();
        for onto in line.into_iter().rev() {
            if let Ok(tree) = self.merge_trees(&onto, source)? {
                trials.push(Trial { onto, tree });
            }
        }
        Ok(trials)
    }
}
