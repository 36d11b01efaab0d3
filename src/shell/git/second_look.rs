//! Merges two commits a second time, independently of the merge that landed, and compares contents. Writes nothing into the repository.
//!
//! The second opinion comes from libgit2, which is other code than git's own merge. It has no directory renames and reads attributes from the checkout, so
//! where it comes to something else than what landed, or cannot read the repository at all, the git program decides, with attributes from the commit.

use std::path::{Path, PathBuf};

use git2::{Odb, Repository};

use super::error::GitError;
use super::isolated;
use super::process::{GitCommand, failed, fields};
use super::repository::{Git, ObjectFormat};
use crate::ids::Oid;
use crate::proof::Engine;

/// Above the priorities of loose and packed objects, so that new objects stay in memory.
const MEMORY_PRIORITY: i32 = 1000;

/// What a second merge came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remerged {
    /// The same tree.
    Same {
        /// Who says so.
        engine: Engine,
        /// libgit2 was asked and came to something else.
        library_differs: bool,
    },
    /// Both sides go together, into another tree.
    Different {
        /// The tree.
        tree: Oid,
    },
    /// Both sides do not go together by themselves.
    Conflict {
        /// The tree with conflict markers in it.
        tree: Oid,
        /// Conflicting paths, sorted.
        paths: Vec<String>,
    },
    /// They have no common history.
    Unrelated,
}

/// A path that is not the same in two trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The path.
    pub path: String,
    /// The file in the first tree; `None` when it has none there.
    pub one: Option<Oid>,
    /// The file in the second tree.
    pub other: Option<Oid>,
}

/// Somebody who looks again. What it makes on the way goes when it is dropped.
pub struct SecondLook<'a> {
    git: &'a Git,
    library: Option<Repository>,
    /// What the git program writes goes here, and it merges in a git directory here; objects of the repository are borrowed.
    directory: tempfile::TempDir,
}

impl<'a> SecondLook<'a> {
    /// Gets ready.
    pub fn open(git: &'a Git) -> Result<Self, GitError> {
        let shared = git.common_dir().join("objects");
        let directory =
            tempfile::tempdir().map_err(GitError::file("creating a directory in", &std::env::temp_dir()))?;
        let information = directory.path().join("objects/info");
        std::fs::create_dir_all(&information).map_err(GitError::file("creating", &information))?;
        let alternates = information.join("alternates");
        std::fs::write(&alternates, format!("{}\n", shared.display()))
            .map_err(GitError::file("writing", &alternates))?;
        Ok(Self {
            git,
            library: open_library(git, &shared),
            directory,
        })
    }

    /// Whether libgit2 can read the repository's objects.
    pub fn has_library(&self) -> bool {
        self.library.is_some()
    }

    /// Merges `theirs` into `ours` again, and compares with the tree that landed.
    pub fn merge(&self, ours: &Oid, theirs: &Oid, landed: &Oid) -> Result<Remerged, GitError> {
        let by_library = self
            .library
            .as_ref()
            .map(|library| merge_by_library(library, ours, theirs));
        if let Some(Ok(Some(tree))) = &by_library
            && tree == landed
        {
            return Ok(Remerged::Same {
                engine: Engine::Library,
                library_differs: false,
            });
        }
        Ok(match self.merge_by_program(ours, theirs)? {
            Remerged::Different { tree } if &tree == landed => Remerged::Same {
                engine: Engine::Program,
                library_differs: matches!(by_library, Some(Ok(_))),
            },
            other => other,
        })
    }

    /// Merges again with libgit2 alone: the tree, or `None` for a conflict. An error when libgit2 cannot.
    pub fn merge_by_library(&self, ours: &Oid, theirs: &Oid) -> Option<Result<Option<Oid>, GitError>> {
        self.library.as_ref().map(|library| {
            merge_by_library(library, ours, theirs).map_err(|error| GitError::Unreadable {
                detail: error.message().to_owned(),
            })
        })
    }

    fn merge_by_program(&self, ours: &Oid, theirs: &Oid) -> Result<Remerged, GitError> {
        let source = format!("--attr-source={ours}");
        let arguments = [
            source.as_str(),
            "merge-tree",
            "--write-tree",
            "-z",
            "--name-only",
            "--no-messages",
            ours.as_str(),
            theirs.as_str(),
        ];
        let isolation = isolated::environment(
            &self.directory.path().join("git"),
            &self.objects(),
            self.git.common_dir(),
            self.git.object_format(),
        )?;
        let output = self.command(arguments).variables(isolation).output()?;
        let mut parts = fields(&output.stdout).map(|field| String::from_utf8_lossy(field).into_owned());
        let tree = parts.next().map(Oid::new);
        match (output.code, tree) {
            (Some(0), Some(tree)) => Ok(Remerged::Different { tree }),
            (Some(1), Some(tree)) => {
                let mut paths: Vec<String> = parts.filter(|path| !path.is_empty()).collect();
                paths.sort();
                paths.dedup();
                Ok(Remerged::Conflict { tree, paths })
            }
            _ if output.stderr.contains("unrelated histories") => Ok(Remerged::Unrelated),
            _ => Err(failed("merge-tree", &output)),
        }
    }

    /// Paths that are not the same in two trees; commits name their trees. Renames are not looked for.
    pub fn differences(&self, one: &Oid, other: &Oid) -> Result<Vec<Difference>, GitError> {
        let arguments = [
            "diff-tree",
            "-r",
            "-z",
            "--no-renames",
            "--raw",
            "--no-ext-diff",
            "--no-abbrev",
        ];
        let arguments = arguments.into_iter().chain([one.as_str(), other.as_str()]);
        let output = self.command(arguments).success()?;
        let parts: Vec<&[u8]> = fields(&output).collect();
        Ok(parts
            .chunks_exact(2)
            .map(|pair| {
                // `:100644 100644 <object> <object> M`, then the path.
                let head = String::from_utf8_lossy(pair[0]).into_owned();
                let words: Vec<&str> = head.split(' ').collect();
                let object = |index: usize| {
                    words
                        .get(index)
                        .filter(|word| word.bytes().any(|byte| byte != b'0'))
                        .map(|word| Oid::new(*word))
                };
                Difference {
                    path: String::from_utf8_lossy(pair[1]).into_owned(),
                    one: object(2),
                    other: object(3),
                }
            })
            .collect())
    }

    /// The object at a path of a commit's or a tree's files.
    pub fn object_at(&self, tree: &Oid, path: &str) -> Result<Option<Oid>, GitError> {
        let name = format!("{tree}:{path}");
        let output = self
            .command(["rev-parse", "--verify", "--quiet", "--end-of-options", &name])
            .output()?;
        Ok((output.code == Some(0)).then(|| Oid::new(String::from_utf8_lossy(&output.stdout).trim())))
    }

    /// The content of a file; `None` when the object is no file of this repository, for example a submodule's commit.
    pub fn content(&self, object: &Oid) -> Result<Option<Vec<u8>>, GitError> {
        let output = self.command(["cat-file", "blob", object.as_str()]).output()?;
        Ok((output.code == Some(0)).then_some(output.stdout))
    }

    fn command<'b>(&self, arguments: impl IntoIterator<Item = &'b str>) -> GitCommand {
        self.git
            .command(arguments)
            .read_only()
            .variable("GIT_OBJECT_DIRECTORY", self.objects())
    }

    fn objects(&self) -> PathBuf {
        self.directory.path().join("objects")
    }
}

/// libgit2 cannot open a repository with reftable, but its objects it can, as long as they are named by SHA-1.
fn open_library(git: &Git, objects: &Path) -> Option<Repository> {
    let repository = match Repository::open(git.top_level()) {
        Ok(repository) => repository,
        Err(_) if git.object_format() == ObjectFormat::Sha1 => {
            let borrowed = Odb::new().ok()?;
            borrowed.add_disk_alternate(objects.to_str()?).ok()?;
            Repository::from_odb(borrowed).ok()?
        }
        Err(_) => return None,
    };
    repository.odb().ok()?.add_new_mempack_backend(MEMORY_PRIORITY).ok()?;
    Some(repository)
}

fn merge_by_library(library: &Repository, ours: &Oid, theirs: &Oid) -> Result<Option<Oid>, git2::Error> {
    let commit = |oid: &Oid| git2::Oid::from_str(oid.as_str()).and_then(|id| library.find_commit(id));
    let mut index = library.merge_commits(&commit(ours)?, &commit(theirs)?, None)?;
    if index.has_conflicts() {
        return Ok(None);
    }
    Ok(Some(Oid::new(index.write_tree_to(library)?.to_string())))
}
