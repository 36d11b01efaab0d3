//! Git as the orchestrator uses it: one handle per repository, blocking, safe to share between threads.
//!
//! What must be right goes through the git program: merges (a long-lived `git merge-tree --stdin`), moving branches (a long-lived `git update-ref --stdin`
//! with the old value), checkouts. Reading refs and commits goes through libgit2 where it can open the repository, and through the git program elsewhere
//! (reftable, SHA-256); both give the same answers. Operations on repository-wide files go through one serialised lane, because git itself races there.

mod back;
mod branches;
mod checkout;
mod error;
mod globs;
mod history;
mod history_cli;
mod history_library;
pub mod hooks;
mod isolated;
mod landing;
mod lane;
mod merge_process;
mod objects;
mod prepare;
mod process;
mod receipt;
mod ref_process;
mod release;
mod repository;
mod resolution;
mod returning;
mod second;
mod second_look;
mod worktree;

pub use error::GitError;
pub use globs::PathGlobs;
pub use history::{CommitRecord, NewCommits};
pub use landing::Landing;
pub use receipt::{LandedGate, LandedReceipt, digest_of};
pub use repository::{Git, ObjectFormat, Reading};
pub use resolution::Settlement;
pub use second::SecondOpinion;
pub use second_look::{Difference, Remerged, SecondLook};
pub use worktree::{WorktreeRecord, processes_inside};

pub(crate) use lane::enter_file as enter_lane;
pub(crate) use receipt::hexadecimal;
pub(crate) use worktree::{absolute, clear_locks_left_in};
