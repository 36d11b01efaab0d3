//! From the text of `phases.yaml` to a validated [`Plan`], or to everything that is wrong with it.
//!
//! The text becomes a tree in which every value knows its place (`node`); the tree is checked against one table of the format (`format`, `conform`), read
//! into a draft as far as it fits (`draft`), and the draft is checked as a whole (`references`, `territory`, `files`). Each step goes on after a mistake,
//! so that all findings come at once; only a draft without errors becomes a plan.

pub mod codes;
mod conform;
pub mod diagnostic;
mod draft;
pub mod draw;
mod files;
pub mod format;
mod glob;
mod load;
pub mod model;
mod node;
mod references;
mod territory;
mod value;
pub mod waves;

pub use load::{Loaded, load, parse};
pub use model::{
    Agent, Approval, Approvals, Driver, FailureLimit, Gate, Gates, Leader, Limits, Need, NoticeFormat, Notify, Phase,
    Plan, Repository, Settings, Team, Workspace,
};
