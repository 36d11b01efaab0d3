//! Prepares a merge in memory: what the source must hold, what it may touch, and whether both sides go together.

use std::ffi::OsString;
use std::sync::PoisonError;

use super::error::GitError;
use super::globs::PathGlobs;
use super::isolated;
use super::merge_process::{MergeProcess, Merged};
use super::repository::Git;
use crate::core::event::Preparation;
use crate::ids::Oid;

impl Git {
    /// Merges `source` into `onto` in memory.
    ///
    /// With `since` (where the source's work began), every path changed since then must match `writable`. `deliverables` must each match a file of the
    /// source. An empty list checks nothing.
    pub fn prepare_merge(
        &self,
        source: &Oid,
        since: Option<&Oid>,
        onto: &Oid,
        writable: &[String],
        deliverables: &[String],
    ) -> Result<Preparation, GitError> {
        self.commit(source)?;
        let Some(base) = self.merge_base(source, onto)? else {
            return Err(GitError::Unrelated {
                source_commit: source.clone(),
                target_commit: onto.clone(),
            });
        };
        let missing = match deliverables {
            [] => Vec::new(),
            patterns => PathGlobs::new(patterns)?.unmatched(&self.paths(source)?),
        };
        let outside = match since {
            Some(since) if !writable.is_empty() => {
                let globs = PathGlobs::new(writable)?;
                let from = self.start_of_work(since, &base)?;
                self.changed_paths(&from, source)?
                    .into_iter()
                    .filter(|path| !globs.matches(path))
                    .collect()
            }
            Some(_) | None => Vec::new(),
        };
        if !missing.is_empty() || !outside.is_empty() {
            return Ok(Preparation::Unacceptable { missing, outside });
        }
        if &base == source {
            let tree = self.commit(onto)?.tree;
            return Ok(Preparation::Clean {
                tree,
                onto: onto.clone(),
            });
        }
        let merged = self.merge(onto, source)?;
        let onto = onto.clone();
        Ok(match merged.clean {
            true => Preparation::Clean {
                tree: merged.tree,
                onto,
            },
            false => Preparation::Conflict {
                onto,
                paths: merged.conflicts,
            },
        })
    }

    /// Those of `paths` that are not the same in two commits.
    pub fn differing(&self, one: &Oid, other: &Oid, paths: Vec<String>) -> Result<Vec<String>, GitError> {
        let mut differing = Vec::new();
        for path in paths {
            if self.history.object_at(one, &path)? != self.history.object_at(other, &path)? {
                differing.push(path);
            }
        }
        Ok(differing)
    }

    /// The tree that git alone makes of merging `theirs` into `ours`; where they conflict, with markers.
    pub(super) fn merged_tree(&self, ours: &Oid, theirs: &Oid) -> Result<Oid, GitError> {
        Ok(self.merge(ours, theirs)?.tree)
    }

    /// The tree that merging `theirs` into `ours` gives, or the conflicting paths.
    pub fn merge_trees(&self, ours: &Oid, theirs: &Oid) -> Result<Result<Oid, Vec<String>>, GitError> {
        let merged = self.merge(ours, theirs)?;
        Ok(if merged.clean {
            Ok(merged.tree)
        } else {
            Err(merged.conflicts)
        })
    }

    /// Somebody who merges the target into the own branch has not written what came in with it: then the work begins at that merge.
    fn start_of_work(&self, since: &Oid, base: &Oid) -> Result<Oid, GitError> {
        let known = self.history.commit(since)?.is_some();
        Ok(if known && !self.contains(base, since)? {
            since.clone()
        } else {
            base.clone()
        })
    }

    /// What keeps a git process that merges from everybody's settings.
    pub(super) fn isolation(&self) -> Result<Vec<(&'static str, OsString)>, GitError> {
        let objects = self.common_dir.join("objects");
        isolated::environment(
            &self.state_dir().join("merges"),
            &objects,
            &self.common_dir,
            self.object_format,
        )
    }

    fn merge(&self, ours: &Oid, theirs: &Oid) -> Result<Merged, GitError> {
        let attributes = self.history.object_at(ours, ".gitattributes")?;
        // A panic cannot leave a half-read answer behind: the process is taken out before it is used.
        let mut slot = self.merge_process.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut process) = slot.take().filter(|process| process.fits(attributes.as_ref()))
            && let Ok(merged) = process.merge(ours, theirs)
        {
            *slot = Some(process);
            return Ok(merged);
        }
        // The first one, other attributes, or the process has died: a fresh one gets a try.
        let mut process = MergeProcess::start(&self.top_level, self.isolation()?, ours, attributes)?;
        let merged = process.merge(ours, theirs)?;
        *slot = Some(process);
        Ok(merged)
    }
}
