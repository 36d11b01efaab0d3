//! The validated plan: what the core, the prompts and the reporters read. It has no spans; every reference in it resolves.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{Actor, AgentId, BranchName, MicroDollars, PhaseId, TeamId};

/// A whole plan. It is journaled with the run, so a replay sees the plan of that time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The project's name.
    pub project: String,
    /// Which branches and tag the run works towards.
    pub repository: Repository,
    /// Directory of the specifications, relative to the plan, without a trailing slash.
    pub specs: String,
    /// Directory of the prompt templates, relative to the plan, without a trailing slash.
    pub prompts: String,
    /// Bounds of the whole fleet.
    pub limits: Limits,
    /// What a fresh worktree needs.
    pub workspace: Workspace,
    /// The command that a tree must pass at each level.
    pub gates: Gates,
    /// What waits for a human's yes.
    pub approvals: Approvals,
    /// Where a human is told.
    pub notify: Notify,
    /// In the order of the file.
    pub phases: Vec<Phase>,
}

/// Names in the repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repository {
    /// The branch that teams land on, usually `main`.
    pub base: BranchName,
    /// The remote's name; nothing is pushed without a human.
    pub remote: Option<String>,
    /// The branch that `release` moves.
    pub release_branch: Option<BranchName>,
    /// The tag that `release` sets.
    pub release_tag: Option<String>,
}

/// Bounds of the whole fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Live agent processes at once, leaders included; at least 1.
    pub agents: u32,
    /// Gate commands that run at once; at least 1.
    pub gates: u32,
    /// Spend of the whole run after which nothing more is started and live agents are stopped.
    pub budget: Option<MicroDollars>,
    /// Tokens of the whole run, cached ones included, after which nothing more is started and live agents are stopped.
    #[serde(default)]
    pub tokens: Option<u64>,
    /// More failures than this stop the fleet.
    pub failures: Option<FailureLimit>,
}

/// `3 in 30m`: up to three failures within half an hour are borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureLimit {
    /// Failures that are borne.
    pub count: u32,
    /// The window, in milliseconds.
    #[serde(with = "milliseconds")]
    pub window: Duration,
}

/// What a fresh worktree needs before an agent or a gate can work in it.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Workspace {
    /// A shell command run once per content of the lockfiles, in a worktree.
    pub setup: Option<String>,
    /// Directories that `setup` makes, kept once and linked into every worktree.
    pub share: Vec<String>,
    /// Untracked files copied from the user's checkout when they exist there.
    pub copy: Vec<String>,
}

/// One gate per level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gates {
    /// Guards agent -> team.
    pub agent: Gate,
    /// Guards the leader's integration -> team, and main -> team.
    pub team: Gate,
    /// Guards team -> main.
    pub main: Gate,
    /// After this a gate that has not answered is an error.
    #[serde(with = "milliseconds")]
    pub timeout: Duration,
}

/// A level's gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// The plan says `none`: this level is not guarded, on purpose.
    None,
    /// A shell command; exit status 0 passes.
    Command(String),
}

/// What waits for a human's yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approvals {
    /// Before team -> main.
    pub team: Approval,
    /// Before the release branch moves.
    pub release: Approval,
}

/// Whether a step waits for a human.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Approval {
    /// Goes on by itself.
    Auto,
    /// Waits.
    Manual,
}

/// Where a human is told.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Notify {
    /// A shell command; the message is in its environment and on its standard input.
    pub command: Option<String>,
    /// A URL that gets a JSON POST; `$NAME` names the variable that holds it.
    pub webhook: Option<String>,
    /// What the webhook understands.
    #[serde(default)]
    pub format: NoticeFormat,
}

/// The form of a webhook's JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeFormat {
    /// As its address looks.
    #[default]
    Auto,
    /// `text`: Slack, Mattermost, Rocket.Chat.
    Slack,
    /// `content`: Discord.
    Discord,
    /// Everything that is known, as one document of our own.
    Generic,
}

/// A phase: teams that may work once the phases it needs have landed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// Unique among phases.
    pub id: PhaseId,
    /// For people.
    pub name: String,
    /// Phases whose teams must all have landed first.
    pub needs: Vec<PhaseId>,
    /// How long the plan's author expects it to take.
    #[serde(with = "optional_milliseconds")]
    pub expected: Option<Duration>,
    /// At least one.
    pub teams: Vec<Team>,
}

/// A team: a leader, agents, and a branch that they are merged into.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Team {
    /// Unique among teams.
    pub id: TeamId,
    /// For people.
    pub name: String,
    /// The team's branch; only the orchestrator moves it.
    pub branch: BranchName,
    /// Spend of the whole team, its leader included, after which nobody of it is started and its live sessions are stopped.
    #[serde(default)]
    pub budget: Option<MicroDollars>,
    /// Integrates, and settles conflicts.
    pub leader: Leader,
    /// Globs that must match something in the team's tree before it lands; also what the leader may write.
    pub deliverables: Vec<String>,
    /// At least one.
    pub agents: Vec<Agent>,
}

/// A team's leader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leader {
    /// The branch that its sessions commit to: the team's branch with `-integration` behind it.
    pub branch: BranchName,
    /// Template, relative to the prompts' directory.
    pub prompt: String,
    /// How its sessions run.
    pub settings: Settings,
}

/// An agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// Unique among agents.
    pub id: AgentId,
    /// For people.
    pub name: String,
    /// The agent's own branch.
    pub branch: BranchName,
    /// What must be in its base.
    pub needs: Vec<Need>,
    /// Template, relative to the prompts' directory.
    pub prompt: String,
    /// The phrase that, behind the agent's tag, says that it is complete.
    pub completion: String,
    /// Globs of the paths that it may change; disjoint from every other agent's.
    pub owns: Vec<String>,
    /// Globs that must each match something in its tree.
    pub deliverables: Vec<String>,
    /// How its sessions run.
    pub settings: Settings,
}

/// What an agent waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// An agent of the same team: met when it is merged into the team's branch.
    Agent(AgentId),
    /// Another team (also written as one of its agents): met when that team has landed on main and main is merged into this team's branch.
    Team(TeamId),
}

/// How sessions of an actor run: the plan's defaults with the actor's own values over them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Which program, and how it is spoken to.
    pub driver: Driver,
    /// Names of environment variables passed through besides the driver's own list.
    pub env: Vec<String>,
    /// The vendor's name for the model.
    pub model: Option<String>,
    /// Turns of one session.
    pub max_turns: Option<u32>,
    /// Spend of this actor over all its attempts.
    pub budget: Option<MicroDollars>,
    /// No commit for this long and no sign of life: stuck.
    #[serde(with = "milliseconds")]
    pub stuck_after: Duration,
    /// Attempts that may end badly before the actor is given up; at least 1.
    pub max_attempts: u32,
}

/// Which program, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// Claude Code.
    Claude {
        /// The binary's name or path.
        program: String,
    },
    /// Commits what a source tree holds under the actor's paths; for demonstrations and tests.
    Replay,
    /// Any shell command line.
    Command {
        /// Run by `sh -c`.
        command: String,
    },
}

impl Plan {
    /// Every branch that the plan names: the base, the release branch, the teams', the leaders' and the agents'.
    pub fn branches(&self) -> Vec<BranchName> {
        let repository = [Some(&self.repository.base), self.repository.release_branch.as_ref()];
        let teams = self.teams().flat_map(|team| {
            [&team.branch, &team.leader.branch]
                .into_iter()
                .chain(team.agents.iter().map(|agent| &agent.branch))
        });
        repository.into_iter().flatten().chain(teams).cloned().collect()
    }

    /// All teams, in the order of the file.
    pub fn teams(&self) -> impl Iterator<Item = &Team> {
        self.phases.iter().flat_map(|phase| &phase.teams)
    }

    /// All agents with their teams, in the order of the file.
    pub fn agents(&self) -> impl Iterator<Item = (&Team, &Agent)> {
        self.teams()
            .flat_map(|team| team.agents.iter().map(move |agent| (team, agent)))
    }

    /// The team with this id.
    pub fn team(&self, team_id: &TeamId) -> Option<&Team> {
        self.teams().find(|team| &team.id == team_id)
    }

    /// The agent with this id, and its team.
    pub fn agent(&self, agent_id: &AgentId) -> Option<(&Team, &Agent)> {
        self.agents().find(|(_, agent)| &agent.id == agent_id)
    }

    /// The phase that a team belongs to.
    pub fn phase_of(&self, team_id: &TeamId) -> Option<&Phase> {
        self.phases
            .iter()
            .find(|phase| phase.teams.iter().any(|team| &team.id == team_id))
    }

    /// The team that an actor belongs to.
    pub fn team_of(&self, actor: &Actor) -> Option<&Team> {
        match actor {
            Actor::Agent(agent_id) => self.agent(agent_id).map(|(team, _)| team),
            Actor::Leader(team_id) | Actor::Resolver(team_id) => self.team(team_id),
        }
    }

    /// The branch that an actor commits to.
    pub fn branch_of(&self, actor: &Actor) -> Option<BranchName> {
        match actor {
            Actor::Agent(agent_id) => self.agent(agent_id).map(|(_, agent)| agent.branch.clone()),
            Actor::Leader(team_id) => self.team(team_id).map(|team| team.leader.branch.clone()),
            Actor::Resolver(team_id) => self.team(team_id).map(Team::conflict_branch),
        }
    }

    /// How an actor's sessions run.
    pub fn settings_of(&self, actor: &Actor) -> Option<&Settings> {
        match actor {
            Actor::Agent(agent_id) => self.agent(agent_id).map(|(_, agent)| &agent.settings),
            Actor::Leader(team_id) | Actor::Resolver(team_id) => self.team(team_id).map(|team| &team.leader.settings),
        }
    }

    /// Whose branch this is, if an actor's.
    pub fn actor_on(&self, branch: &BranchName) -> Option<Actor> {
        self.agents()
            .find(|(_, agent)| &agent.branch == branch)
            .map(|(_, agent)| Actor::Agent(agent.id.clone()))
            .or_else(|| {
                self.teams()
                    .find(|team| &team.leader.branch == branch)
                    .map(|team| Actor::Leader(team.id.clone()))
            })
            .or_else(|| {
                self.teams()
                    .find(|team| &team.conflict_branch() == branch)
                    .map(|team| Actor::Resolver(team.id.clone()))
            })
    }

    /// The globs that an actor may write: an agent's `owns`; for a leader all of its team's, its deliverables and the decisions. Whoever settles a conflict is
    /// bound to the paths in conflict instead, which no plan knows.
    pub fn writable_by(&self, actor: &Actor) -> Vec<String> {
        match actor {
            Actor::Agent(agent_id) => self
                .agent(agent_id)
                .map(|(_, agent)| agent.owns.clone())
                .unwrap_or_default(),
            Actor::Leader(team_id) => self
                .team(team_id)
                .map(|team| {
                    let mut globs: Vec<String> = team.agents.iter().flat_map(|agent| agent.owns.clone()).collect();
                    globs.extend(team.deliverables.iter().cloned());
                    globs.push("docs/decisions/**".to_owned());
                    globs
                })
                .unwrap_or_default(),
            Actor::Resolver(_) => vec!["**".to_owned()],
        }
    }

    /// The globs that must each match a file in an actor's tree.
    pub fn deliverables_of(&self, actor: &Actor) -> Vec<String> {
        match actor {
            Actor::Agent(agent_id) => self
                .agent(agent_id)
                .map(|(_, agent)| agent.deliverables.clone())
                .unwrap_or_default(),
            Actor::Leader(team_id) => self
                .team(team_id)
                .map(|team| team.deliverables.clone())
                .unwrap_or_default(),
            Actor::Resolver(_) => Vec::new(),
        }
    }

    /// The whole subject line that completes an actor's work.
    pub fn completion_line(&self, actor: &Actor) -> String {
        match actor {
            Actor::Agent(agent_id) => {
                let phrase = self.agent(agent_id).map_or("", |(_, agent)| agent.completion.as_str());
                format!("{} {phrase}", crate::tags::actor_tag(actor))
            }
            Actor::Leader(team_id) => {
                let name = self.team(team_id).map_or("", |team| team.name.as_str());
                format!(
                    "{} Phase complete: {name} integrated and tested",
                    crate::tags::actor_tag(actor)
                )
            }
            Actor::Resolver(_) => "[CONFLICT-RESOLVED] Both sides kept".to_owned(),
        }
    }
}

impl Team {
    /// The branch on which the team's leader settles conflicts: the team's branch with `-conflict` behind it.
    pub fn conflict_branch(&self) -> BranchName {
        BranchName::new(format!("{}-conflict", self.branch))
    }
}

/// Durations as whole milliseconds.
mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

/// Optional durations as whole milliseconds.
mod optional_milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        duration
            .map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
    }
}
