//! From the text of `phases.yaml` to a validated [`Plan`].

pub mod model;

pub use model::{
    Agent, Approval, Approvals, Driver, FailureLimit, Gate, Gates, Leader, Limits, Need, Notify, Phase, Plan,
    Repository, Settings, Team, Workspace,
};
