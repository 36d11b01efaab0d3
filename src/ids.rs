//! Names of things: phases, teams, agents, branches, commits, attempts, instants. Shared by every room, used by none for effects.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps a text that the caller has already checked.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}", self.0)
            }
        }
    };
}

text_id!(
    /// A phase's id as the plan writes it, for example `1`.
    PhaseId
);
text_id!(
    /// A team's id as the plan writes it, for example `1`.
    TeamId
);
text_id!(
    /// An agent's id as the plan writes it, for example `1.2`.
    AgentId
);
text_id!(
    /// A branch's short name, without `refs/heads/`.
    BranchName
);
text_id!(
    /// A git object id in lower-case hexadecimal: 40 digits for SHA-1, 64 for SHA-256.
    Oid
);

/// Somebody who works on a branch of their own: an agent, or the leader of a team.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// An agent of the plan.
    Agent(AgentId),
    /// The leader of a team.
    Leader(TeamId),
    /// The leader of a team in its second seat: it settles a merge conflict, on a branch of its own, while its other work goes on or is long done.
    Resolver(TeamId),
}

impl Actor {
    /// A name that is unique in a plan and safe as a directory name: `1.2`, `leader-1` for a leader, `resolver-1` for a leader that settles a conflict.
    pub fn slug(&self) -> String {
        match self {
            Self::Agent(agent_id) => agent_id.to_string(),
            Self::Leader(team_id) => format!("leader-{team_id}"),
            Self::Resolver(team_id) => format!("resolver-{team_id}"),
        }
    }

    /// What `ORCHESTRATE_AGENT` holds: the agent's id, or the team's id for a leader.
    pub fn id(&self) -> &str {
        match self {
            Self::Agent(agent_id) => agent_id.as_str(),
            Self::Leader(team_id) | Self::Resolver(team_id) => team_id.as_str(),
        }
    }

    /// Reads what [`Actor::slug`] wrote.
    pub fn from_slug(slug: &str) -> Self {
        if let Some(team) = slug.strip_prefix("leader-") {
            Self::Leader(TeamId::new(team))
        } else if let Some(team) = slug.strip_prefix("resolver-") {
            Self::Resolver(TeamId::new(team))
        } else {
            Self::Agent(AgentId::new(slug))
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(agent_id) => write!(formatter, "agent {agent_id}"),
            Self::Leader(team_id) => write!(formatter, "leader {team_id}"),
            Self::Resolver(team_id) => write!(formatter, "resolver {team_id}"),
        }
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The number of a process that was started for an actor: 1, 2, ... It fences: whatever an older attempt says is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(pub u32);

impl fmt::Display for Attempt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// The number of a merge in this run: 1, 2, ...
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MergeId(pub u32);

/// The number of a question to the human in this run: 1, 2, ...
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EscalationId(pub u32);

/// An instant: milliseconds since 1970-01-01T00:00:00Z. It is always an argument, never read inside the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    /// The instant `duration` later; saturates at the end of time.
    pub fn plus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// How long after `earlier` this instant is; zero when the clock went backwards.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Money in millionths of a US dollar, so that sums are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MicroDollars(pub u64);

impl MicroDollars {
    /// From dollars; negative and not-a-number become zero.
    pub fn from_dollars(dollars: f64) -> Self {
        // The cast saturates, so hostile input cannot overflow.
        Self((dollars.max(0.0) * 1e6).round() as u64)
    }

    /// In dollars.
    pub fn dollars(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The sum; saturates.
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for MicroDollars {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "${:.2}", self.dollars())
    }
}
