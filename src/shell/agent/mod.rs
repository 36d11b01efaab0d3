//! Agent processes: how they are started, watched, ended and understood.
//!
//! Every attempt has a directory of its own and a small supervisor process (`orchestrate supervise DIRECTORY`) that outlives `orchestrate run`. The supervisor
//! owns the agent's process group, writes down what the agent says, and leaves an exit record when nothing of the agent is left. [`AgentHost`] lives in
//! `run`: it starts supervisors or adopts them, follows the records, and tells the story as events. The two share only the directory, see [`record`].

pub mod driver;
mod environment;
mod execute;
mod host;
mod launch;
mod life;
mod limits;
pub mod lines;
pub mod processes;
mod pump;
pub mod record;
mod stop_hook;
pub mod stream;
mod supervise;
mod watch;

pub use execute::execute_agent;
pub use host::{AgentHost, HostConfig, HostError};
pub use launch::{Launch, TaskName};
pub use stop_hook::{StopHookAnswer, stop_hook};
pub use supervise::{SuperviseError, supervise};
