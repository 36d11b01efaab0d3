//! The plan as it was written: what could be read, with places, before anything refers to anything. Whatever did not fit is left out, having been reported.

use std::collections::BTreeMap;
use std::ops::Range;

use super::format::{self, Shape, Table};
use super::model::{
    Agent, Approval, Approvals, Driver, FailureLimit, Gate, Gates, Leader, Limits, Need, NoticeFormat, Notify, Phase,
    Plan, Repository, Settings, Team, Workspace,
};
use super::node::{Kind, Node};
use super::{conform, value};
use crate::ids::{AgentId, BranchName, PhaseId, TeamId};

/// A value with the place of the text that gives it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// A list with the place of its first line.
type Texts = Vec<Placed<String>>;

pub(super) struct Draft<'n> {
    root: Reader<'n>,
    pub(super) base: Placed<String>,
    pub(super) release_branch: Option<Placed<String>>,
    pub(super) prompts: Placed<String>,
    pub(super) specs: Placed<String>,
    pub(super) phases: Vec<PhaseDraft<'n>>,
    pub(super) names: Names,
}

/// Where each id is declared first, so that no check walks the whole plan for each reference.
#[derive(Default)]
pub(super) struct Names {
    /// Position among the phases.
    pub(super) phases: BTreeMap<String, usize>,
    /// Position among all teams.
    pub(super) teams: BTreeMap<String, usize>,
    /// Position among all teams, and position in the team.
    pub(super) agents: BTreeMap<String, (usize, usize)>,
    /// Ids of the teams by position.
    team_ids: Vec<Option<String>>,
}

impl Names {
    fn of(phases: &[PhaseDraft<'_>]) -> Self {
        let mut names = Self::default();
        for (phase_index, phase) in phases.iter().enumerate() {
            if let Some(id) = &phase.id {
                names.phases.entry(id.value.clone()).or_insert(phase_index);
            }
            for team in &phase.teams {
                let team_index = names.team_ids.len();
                names.team_ids.push(team.id.as_ref().map(|id| id.value.clone()));
                if let Some(id) = &team.id {
                    names.teams.entry(id.value.clone()).or_insert(team_index);
                }
                for (agent_index, agent) in team.agents.iter().enumerate() {
                    if let Some(id) = &agent.id {
                        names
                            .agents
                            .entry(id.value.clone())
                            .or_insert((team_index, agent_index));
                    }
                }
            }
        }
        names
    }
}

pub(super) struct PhaseDraft<'n> {
    reader: Reader<'n>,
    pub(super) id: Option<Placed<String>>,
    pub(super) needs: Texts,
    pub(super) teams: Vec<TeamDraft<'n>>,
}

pub(super) struct TeamDraft<'n> {
    reader: Reader<'n>,
    pub(super) id: Option<Placed<String>>,
    pub(super) branch: Option<Placed<String>>,
    /// Given, or made from the team's.
    pub(super) leader_branch: Option<Placed<String>>,
    pub(super) leader: Reader<'n>,
    pub(super) leader_prompt: Option<Placed<String>>,
    pub(super) deliverables: Texts,
    pub(super) agents: Vec<AgentDraft<'n>>,
}

pub(super) struct AgentDraft<'n> {
    pub(super) reader: Reader<'n>,
    pub(super) id: Option<Placed<String>>,
    pub(super) branch: Option<Placed<String>>,
    pub(super) needs: Texts,
    pub(super) prompt: Option<Placed<String>>,
    pub(super) owns: Texts,
    pub(super) deliverables: Texts,
}

impl AgentDraft<'_> {
    /// As messages name it.
    pub(super) fn named(&self) -> String {
        self.id.as_ref().map_or_else(
            || "an agent without an id".to_owned(),
            |id| format!("agent {}", id.value),
        )
    }
}

impl TeamDraft<'_> {
    /// As messages name it.
    pub(super) fn named(&self) -> String {
        self.id
            .as_ref()
            .map_or_else(|| "a team without an id".to_owned(), |id| format!("team {}", id.value))
    }
}

/// A mapping seen through its table: only values that fit are there.
#[derive(Clone, Copy)]
pub(super) struct Reader<'n> {
    node: Option<&'n Node>,
    table: &'static Table,
}

impl<'n> Reader<'n> {
    /// The value of a key when it was given and fits.
    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        let key = self.table.key(name);
        debug_assert!(key.is_some(), "the table of {} has no key {name}", self.table.name);
        let node = self.node?.get(name)?;
        key.filter(|key| !matches!(node.kind, Kind::Null) && conform::fits(node, key.shape))
            .map(|_| node)
    }

    fn default(&self, name: &str) -> &'static str {
        match self.table.key(name).map(|key| key.presence) {
            Some(format::Presence::Default(default)) => default,
            Some(format::Presence::Required(_) | format::Presence::Optional) | None => "",
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<Placed<String>> {
        let node = self.get(name)?;
        Some(Placed {
            value: scalar(node)?.to_owned(),
            span: node.span.clone(),
        })
    }

    /// An id even when it is malformed, which has been reported: what refers to it is not wrong as well.
    fn id(&self) -> Option<Placed<String>> {
        let node = self.node?.get("id")?;
        Some(Placed {
            value: scalar(node)?.to_owned(),
            span: node.span.clone(),
        })
    }

    fn text_or_default(&self, name: &str) -> Placed<String> {
        self.text(name).unwrap_or_else(|| Placed {
            value: self.default(name).to_owned(),
            span: 0..0,
        })
    }

    fn count(&self, name: &str) -> Option<u32> {
        value::count(scalar(self.get(name)?)?)
    }

    fn count_or_default(&self, name: &str) -> Option<u32> {
        self.count(name).or_else(|| value::count(self.default(name)))
    }

    fn duration_or_default(&self, name: &str) -> Option<std::time::Duration> {
        value::duration(&self.text_or_default(name).value)
    }

    fn money(&self, name: &str) -> Option<crate::ids::MicroDollars> {
        value::money(scalar(self.get(name)?)?)
    }

    /// The items of a list that fit; a broken item does not take the others with it.
    pub(super) fn texts(&self, name: &str) -> Texts {
        let Some(key) = self.table.key(name) else {
            return Vec::new();
        };
        let Shape::List(of, _) = key.shape else {
            return Vec::new();
        };
        self.items(name)
            .filter(|item| conform::fits(item, *of))
            .filter_map(|item| {
                Some(Placed {
                    value: scalar(item)?.to_owned(),
                    span: item.span.clone(),
                })
            })
            .collect()
    }

    fn values(&self, name: &str) -> Vec<String> {
        self.texts(name).into_iter().map(|text| text.value).collect()
    }

    fn items(&self, name: &str) -> impl Iterator<Item = &'n Node> + use<'n> {
        match self.node.and_then(|node| node.get(name)).map(|node| &node.kind) {
            Some(Kind::List(items)) => items.iter(),
            Some(Kind::Null | Kind::Boolean(_) | Kind::Number(_) | Kind::Text(_) | Kind::Map(_)) | None => [].iter(),
        }
    }

    /// The mapping under a key, even when something in it does not fit.
    fn table(&self, name: &str) -> Self {
        let table = match self.table.key(name).map(|key| key.shape) {
            Some(Shape::Map(table)) => table,
            Some(_) | None => {
                debug_assert!(false, "the table of {} has no mapping {name}", self.table.name);
                self.table
            }
        };
        Self {
            node: self.node.and_then(|node| node.get(name)),
            table,
        }
    }

    fn tables(&self, name: &str, table: &'static Table) -> impl Iterator<Item = Self> + use<'n> {
        self.items(name)
            .filter(|item| matches!(item.kind, Kind::Map(_)))
            .map(move |item| Self {
                node: Some(item),
                table,
            })
    }
}

fn scalar(node: &Node) -> Option<&str> {
    match &node.kind {
        Kind::Text(text) | Kind::Number(text) => Some(text),
        Kind::Null | Kind::Boolean(_) | Kind::List(_) | Kind::Map(_) => None,
    }
}

/// Reads what can be read.
pub(super) fn read(node: &Node) -> Draft<'_> {
    let root = Reader {
        node: Some(node),
        table: &format::PLAN,
    };
    let repository = root.table("repository");
    let phases: Vec<PhaseDraft<'_>> = root.tables("phases", &format::PHASE).map(phase).collect();
    Draft {
        root,
        names: Names::of(&phases),
        base: repository.text_or_default("base"),
        release_branch: repository.text("release_branch"),
        prompts: directory(root.text_or_default("prompts")),
        specs: directory(root.text_or_default("specs")),
        phases,
    }
}

fn directory(mut text: Placed<String>) -> Placed<String> {
    let trimmed = text.value.trim_end_matches('/');
    text.value = if trimmed.is_empty() { "." } else { trimmed }.to_owned();
    text
}

fn phase(reader: Reader<'_>) -> PhaseDraft<'_> {
    PhaseDraft {
        reader,
        id: reader.id(),
        needs: reader.texts("needs"),
        teams: reader.tables("teams", &format::TEAM).map(team).collect(),
    }
}

fn team(reader: Reader<'_>) -> TeamDraft<'_> {
    let leader = reader.table("leader");
    let branch = reader.text("branch");
    TeamDraft {
        reader,
        id: reader.id(),
        leader_branch: leader.text("branch").or_else(|| {
            branch.clone().map(|branch| Placed {
                value: format!("{}-integration", branch.value),
                span: branch.span,
            })
        }),
        branch,
        leader,
        leader_prompt: leader.text("prompt"),
        deliverables: reader.texts("deliverables"),
        agents: reader.tables("agents", &format::AGENT).map(agent).collect(),
    }
}

fn agent(reader: Reader<'_>) -> AgentDraft<'_> {
    AgentDraft {
        reader,
        id: reader.id(),
        branch: reader.text("branch"),
        needs: reader.texts("needs"),
        prompt: reader.text("prompt"),
        owns: reader.texts("owns"),
        deliverables: reader.texts("deliverables"),
    }
}

/// Whom a need names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolved {
    /// The agent at this position of the same team.
    Agent(usize),
    /// Another team, by its position among all.
    Team(usize),
    /// The team that the agent is in.
    OwnTeam,
    /// No one.
    Nobody,
}

impl<'n> Draft<'n> {
    pub(super) fn workspace(&self) -> Reader<'n> {
        self.root.table("workspace")
    }

    pub(super) fn agent_defaults(&self) -> Reader<'n> {
        self.root.table("agent")
    }

    pub(super) fn teams(&self) -> impl Iterator<Item = (usize, &TeamDraft<'n>)> {
        self.phases
            .iter()
            .enumerate()
            .flat_map(|(index, phase)| phase.teams.iter().map(move |team| (index, team)))
    }

    /// The validated plan; `None` when a value is missing, which has been reported.
    pub(super) fn build(&self) -> Option<Plan> {
        let repository = self.root.table("repository");
        let limits = self.root.table("limits");
        let workspace = self.workspace();
        let gates = self.root.table("gates");
        let approvals = self.root.table("approvals");
        let notify = self.root.table("notify");
        Some(Plan {
            project: self.root.text("project")?.value,
            repository: Repository {
                base: BranchName::new(&self.base.value),
                remote: plain(repository, "remote"),
                release_branch: self
                    .release_branch
                    .as_ref()
                    .map(|branch| BranchName::new(&branch.value)),
                release_tag: plain(repository, "release_tag"),
            },
            specs: self.specs.value.clone(),
            prompts: self.prompts.value.clone(),
            limits: Limits {
                agents: limits.count_or_default("agents")?,
                gates: limits.count_or_default("gates")?,
                budget: limits.money("budget_usd"),
                failures: limits
                    .text("failures")
                    .and_then(|text| value::failures(&text.value))
                    .map(|(count, window)| FailureLimit { count, window }),
            },
            workspace: Workspace {
                setup: plain(workspace, "setup"),
                share: workspace
                    .values("share")
                    .iter()
                    .map(|path| path.trim_end_matches('/').to_owned())
                    .collect(),
                copy: workspace.values("copy"),
            },
            gates: Gates {
                agent: gate(gates, "agent")?,
                team: gate(gates, "team")?,
                main: gate(gates, "main")?,
                timeout: gates.duration_or_default("timeout")?,
            },
            approvals: Approvals {
                team: approval(approvals, "team"),
                release: approval(approvals, "release"),
            },
            notify: Notify {
                command: plain(notify, "command"),
                webhook: plain(notify, "webhook"),
                format: notice_format(notify),
            },
            phases: {
                let mut team_index = 0;
                self.phases
                    .iter()
                    .map(|phase| self.build_phase(phase, &mut team_index))
                    .collect::<Option<_>>()?
            },
        })
    }

    fn build_phase(&self, phase: &PhaseDraft<'_>, team_index: &mut usize) -> Option<Phase> {
        Some(Phase {
            id: PhaseId::new(&phase.id.as_ref()?.value),
            name: plain(phase.reader, "name")?,
            needs: unique(phase.needs.iter().map(|need| PhaseId::new(&need.value))),
            expected: phase
                .reader
                .text("expected")
                .and_then(|text| value::duration(&text.value)),
            teams: phase
                .teams
                .iter()
                .map(|team| {
                    *team_index += 1;
                    self.build_team(team, *team_index - 1)
                })
                .collect::<Option<_>>()?,
        })
    }

    fn build_team(&self, team: &TeamDraft<'_>, team_index: usize) -> Option<Team> {
        Some(Team {
            id: TeamId::new(&team.id.as_ref()?.value),
            name: plain(team.reader, "name")?,
            branch: BranchName::new(&team.branch.as_ref()?.value),
            leader: Leader {
                branch: BranchName::new(&team.leader_branch.as_ref()?.value),
                prompt: team.leader_prompt.as_ref()?.value.clone(),
                settings: self.settings(team.leader)?,
            },
            deliverables: team.deliverables.iter().map(|glob| glob.value.clone()).collect(),
            agents: team
                .agents
                .iter()
                .map(|agent| self.build_agent(team_index, agent))
                .collect::<Option<_>>()?,
        })
    }

    fn build_agent(&self, team_index: usize, agent: &AgentDraft<'_>) -> Option<Agent> {
        let needs = agent
            .needs
            .iter()
            .map(|need| self.need(team_index, &need.value))
            .collect::<Option<Vec<_>>>()?;
        Some(Agent {
            id: AgentId::new(&agent.id.as_ref()?.value),
            name: plain(agent.reader, "name")?,
            branch: BranchName::new(&agent.branch.as_ref()?.value),
            needs: unique(needs),
            prompt: agent.prompt.as_ref()?.value.clone(),
            completion: plain(agent.reader, "completion")?.trim().to_owned(),
            owns: agent.owns.iter().map(|glob| glob.value.clone()).collect(),
            deliverables: agent.deliverables.iter().map(|glob| glob.value.clone()).collect(),
            settings: self.settings(agent.reader)?,
        })
    }

    fn need(&self, own_team: usize, id: &str) -> Option<Need> {
        match self.resolve(own_team, id) {
            Resolved::Agent(_) => Some(Need::Agent(AgentId::new(id))),
            Resolved::Team(team) => self
                .names
                .team_ids
                .get(team)?
                .as_deref()
                .map(|id| Need::Team(TeamId::new(id))),
            Resolved::OwnTeam | Resolved::Nobody => None,
        }
    }

    /// Whom a need of an agent in this team names: an agent first, then a team. An agent of another team stands for that team.
    pub(super) fn resolve(&self, own_team: usize, id: &str) -> Resolved {
        let of_team = |team: usize| {
            if team == own_team {
                Resolved::OwnTeam
            } else {
                Resolved::Team(team)
            }
        };
        match (self.names.agents.get(id), self.names.teams.get(id)) {
            (Some((team, agent)), _) if *team == own_team => Resolved::Agent(*agent),
            (Some((team, _)), _) | (None, Some(team)) => of_team(*team),
            (None, None) => Resolved::Nobody,
        }
    }

    /// An actor's settings over the defaults.
    fn settings(&self, own: Reader<'_>) -> Option<Settings> {
        let defaults = self.agent_defaults();
        // A key set to `null` takes the default's value away; one that is absent leaves it.
        let layer = |name: &str| {
            if own.node.is_some_and(|node| node.get(name).is_some()) {
                own
            } else {
                defaults
            }
        };
        let driver = match layer("driver").text_or_default("driver").value.as_str() {
            "replay" => Driver::Replay,
            "command" => Driver::Command {
                command: layer("command").text("command")?.value,
            },
            _ => Driver::Claude {
                program: layer("program").text_or_default("program").value,
            },
        };
        Some(Settings {
            driver,
            env: layer("env").values("env"),
            model: plain(layer("model"), "model"),
            max_turns: layer("max_turns").count("max_turns"),
            budget: layer("budget_usd").money("budget_usd"),
            stuck_after: layer("stuck_after").duration_or_default("stuck_after")?,
            max_attempts: layer("max_attempts").count_or_default("max_attempts")?,
        })
    }
}

fn plain(reader: Reader<'_>, name: &str) -> Option<String> {
    reader.text(name).map(|text| text.value)
}

fn gate(gates: Reader<'_>, name: &str) -> Option<Gate> {
    let command = plain(gates, name)?;
    Some(if command.trim() == "none" {
        Gate::None
    } else {
        Gate::Command(command)
    })
}

fn approval(approvals: Reader<'_>, name: &str) -> Approval {
    if approvals.text_or_default(name).value == "manual" {
        Approval::Manual
    } else {
        Approval::Auto
    }
}

fn notice_format(notify: Reader<'_>) -> NoticeFormat {
    match notify.text_or_default("format").value.as_str() {
        "slack" => NoticeFormat::Slack,
        "discord" => NoticeFormat::Discord,
        "generic" => NoticeFormat::Generic,
        _ => NoticeFormat::Auto,
    }
}

fn unique<T: PartialEq>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut kept = Vec::new();
    for item in items {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    kept
}
