//! Performs commands: each in a task of its own, each answered by events. It decides nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::mpsc::UnboundedSender;

use crate::core::command::{Command, ConflictFacts, StartAgent, Task};
use crate::core::event::{EffectKey, Event, Preparation, Refusal};
use crate::core::{ActorState, State};
use crate::ids::{Actor, Attempt, MicroDollars, Oid};
use crate::plan::Plan;
use crate::prompt::{ConflictText, PromptError, Prompts, Recipient};
use crate::shell::agent::{AgentHost, HostConfig, HostError, Launch, TaskName};
use crate::shell::decisions;
use crate::shell::gates::GateRunner;
use crate::shell::git::hooks::{hook_environment, protection};
use crate::shell::git::{Git, GitError, Landing, PathGlobs, SecondOpinion};
use crate::shell::guard::{Guard, Watched};
use crate::shell::kill_point;
use crate::shell::rollback::Question;
use crate::shell::workspace::{WorkspaceError, Workspaces};

/// Why the shell could not be set up.
#[derive(Debug, Error)]
pub enum EffectsError {
    /// The repository.
    #[error(transparent)]
    Git(#[from] GitError),
    /// Our own program cannot be found, so it cannot supervise agents.
    #[error("cannot find the running program: {0}")]
    OwnProgram(std::io::Error),
}

/// Why an effect failed, with whether trying again by itself can help.
#[derive(Debug, Error)]
enum EffectError {
    #[error("{0}")]
    Git(#[from] GitError),
    #[error("{0}")]
    Workspace(#[from] WorkspaceError),
    #[error("{0}")]
    Prompt(#[from] PromptError),
    #[error("{0}")]
    Host(#[from] HostError),
    #[error("the plan knows no {0}")]
    Unknown(Actor),
    #[error("preparing failed: {0}")]
    Panicked(String),
}

impl EffectError {
    fn is_retriable(&self) -> bool {
        match self {
            Self::Git(error) => !matches!(error, GitError::BranchTaken { .. } | GitError::WorktreeTaken { .. }),
            Self::Workspace(_) | Self::Host(_) => true,
            Self::Prompt(_) | Self::Unknown(_) | Self::Panicked(_) => false,
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::Git(error) => error.sentence(),
            Self::Workspace(_) | Self::Prompt(_) | Self::Host(_) | Self::Unknown(_) | Self::Panicked(_) => {
                self.to_string()
            }
        }
    }
}

/// Performs commands.
pub struct Effects {
    git: Arc<Git>,
    guard: Guard,
    host: Arc<AgentHost>,
    gates: GateRunner,
    plan_directory: PathBuf,
    agent_environment: Arc<Vec<(String, String)>>,
    events: UnboundedSender<Event>,
}

impl Effects {
    /// Gets ready; `events` gets the answers.
    pub fn new(
        git: Arc<Git>,
        guard: Guard,
        plan_directory: PathBuf,
        run_id: String,
        events: UnboundedSender<Event>,
    ) -> Result<Self, EffectsError> {
        let config = HostConfig::new(git.common_dir(), &run_id).map_err(EffectsError::OwnProgram)?;
        let mut agent_environment = hook_environment(&git, &config.own_program)?;
        agent_environment.extend(git.missing_identity()?);
        let host = Arc::new(AgentHost::new(config, events.clone()));
        let gates = GateRunner::new(Arc::clone(&git), run_id, events.clone());
        Ok(Self {
            git,
            guard,
            host,
            gates,
            plan_directory,
            agent_environment: Arc::new(agent_environment),
            events,
        })
    }

    /// Performs a command. `state` is the state after the event that led to it.
    pub fn perform(&mut self, command: Command, state: &State) {
        let Some(plan) = state.plan.clone() else { return };
        match command {
            Command::CreateTeamBranch { branch, base } => {
                let team = plan
                    .teams()
                    .find(|team| team.branch == branch)
                    .map(|team| team.id.clone());
                let (Some(team_id), Some(base)) = (team, self.guard.watch(&plan, state, &base)) else {
                    return;
                };
                self.blocking(EffectKey::TeamBranch(team_id), move |git| {
                    let tip = git.create_branch(&branch, &base.tip(git)?)?;
                    Ok(Event::BranchCreated { branch, tip })
                });
            }
            Command::CreateActorBranch { actor, branch, at } => {
                self.blocking(EffectKey::ActorBranch(actor), move |git| {
                    let tip = git.create_branch(&branch, &at)?;
                    Ok(Event::BranchCreated { branch, tip })
                });
            }
            Command::ResetActorBranch { actor, branch, at } => {
                let workspace = Workspaces::new(&self.git, &plan.workspace).of_branch(&branch);
                self.blocking(EffectKey::ActorBranch(actor), move |git| {
                    let tip = git.reset_branch(&branch, &workspace, &at)?;
                    Ok(Event::BranchCreated { branch, tip })
                });
            }
            Command::StartAgent(start) => self.start_agent(start, plan, state),
            Command::StopAgent { actor, attempt, kill } => self.stop_agent(actor, attempt, kill),
            Command::PrepareMerge {
                merge_id,
                kind,
                source,
                target,
                resolved,
            } => {
                let actor = crate::core::actor_of(&kind);
                // What a settlement may touch was looked at when it was made.
                let writable = match &actor {
                    Some(actor) if !resolved => plan.writable_by(actor),
                    Some(_) | None => Vec::new(),
                };
                let deliverables = actor
                    .as_ref()
                    .map(|actor| plan.deliverables_of(actor))
                    .unwrap_or_default();
                let (Some(target), Some(base)) = (
                    self.guard.watch(&plan, state, &target),
                    self.guard.watch(&plan, state, &plan.repository.base),
                ) else {
                    return;
                };
                let since = actor
                    .and_then(|actor| state.actors.get(&actor))
                    .and_then(|actor| actor.since.clone());
                self.blocking(EffectKey::Merge(merge_id), move |git| {
                    let onto = target.tip(git)?;
                    let outcome = git.prepare_merge(&source, since.as_ref(), &onto, &writable, &deliverables)?;
                    let outcome = bear_base(git, outcome, &base, &source, &onto, &deliverables)?;
                    Ok(Event::MergePrepared { merge_id, outcome })
                });
            }
            Command::CheckResolution {
                merge_id,
                commit,
                conflict,
            } => {
                self.blocking(EffectKey::Merge(merge_id), move |git| {
                    let settlement = git.check_settlement(&commit, &conflict)?;
                    Ok(Event::ResolutionChecked {
                        merge_id,
                        commit,
                        faults: settlement.faults,
                        vanished: settlement.vanished,
                    })
                });
            }
            Command::RunGate {
                merge_id,
                tree,
                parents,
                command,
                ..
            } => {
                self.gates.start(plan, merge_id, tree, parents, command);
            }
            Command::Speculate {
                merge_id,
                tip,
                ahead,
                source,
            } => {
                self.blocking(EffectKey::Ahead(merge_id), move |git| {
                    let found = git.look_ahead(&tip, &ahead, &source)?;
                    Ok(Event::Speculated {
                        merge_id,
                        ahead,
                        source,
                        found,
                    })
                });
            }
            Command::LookBack { merge_id, source, onto } => {
                self.blocking(EffectKey::Back(merge_id), move |git| {
                    let trials = git.look_back(&source, &onto)?;
                    Ok(Event::LookedBack {
                        merge_id,
                        source,
                        onto,
                        trials,
                    })
                });
            }
            Command::LandMerge(land) => {
                let merge_id = land.merge_id;
                let Some(target) = self.guard.watch(&plan, state, &land.target) else {
                    return;
                };
                self.blocking(EffectKey::Merge(merge_id), move |git| {
                    // What was tested must be what these commits make, and not only by the word of whoever made it.
                    if let SecondOpinion::Other(second) = git.second_opinion(&land.onto, &land.source, &land.tree)? {
                        let refusal = Refusal::Doubted { second };
                        return Ok(Event::LandingRefused { merge_id, refusal });
                    }
                    Ok(match git.land(&land)? {
                        Landing::Landed(commit) => Event::MergeLanded { merge_id, commit },
                        // Nobody builds on what an agent moved it to: the refusal says where it stands once that is undone.
                        Landing::Refused(Refusal::TargetMoved { .. }) => Event::LandingRefused {
                            merge_id,
                            refusal: Refusal::TargetMoved { tip: target.tip(git)? },
                        },
                        Landing::Refused(refusal) => Event::LandingRefused { merge_id, refusal },
                    })
                });
            }
            Command::WriteDecision {
                escalation_id,
                branch,
                onto,
                escalation,
            } => {
                self.blocking(EffectKey::Decision(escalation_id), move |git| {
                    let commit = decisions::write(git, escalation_id, &branch, &onto, &escalation)?;
                    Ok(Event::DecisionWritten { escalation_id, commit })
                });
            }
            Command::RollBack { branch, to, cascade } => {
                let Some(question) = Question::of(state, &branch, &to, cascade) else {
                    return;
                };
                self.blocking(EffectKey::Rollback(branch.clone()), move |git| {
                    Ok(match question.perform(git)? {
                        Ok(found) => Event::RolledBack {
                            branch,
                            to,
                            moves: found.moves,
                            undone: found.undone,
                            tainted: found.tainted,
                        },
                        Err(obstacle) => Event::RollbackRefused {
                            branch,
                            reason: format!("{} (`{}`)", obstacle.reason, obstacle.remedy),
                        },
                    })
                });
            }
            Command::FinishRun { .. } => {}
        }
    }

    /// Ends what must not outlive this process: gates. Agents live on under their supervisors.
    pub async fn shut_down(&mut self) {
        self.gates.shut_down().await;
    }

    fn blocking(&self, effect: EffectKey, work: impl FnOnce(&Git) -> Result<Event, EffectError> + Send + 'static) {
        let git = Arc::clone(&self.git);
        let events = self.events.clone();
        tokio::task::spawn_blocking(move || {
            let name = point_of(&effect);
            kill_point::reached(&format!("effect.before-{name}"));
            let event = work(&git).unwrap_or_else(|error| failed(effect, &error));
            kill_point::reached(&format!("effect.after-{name}"));
            // The loop is gone when the run is over: the next one asks again.
            let _ = events.send(event);
        });
    }

    fn start_agent(&self, start: StartAgent, plan: Arc<Plan>, state: &State) {
        // A process that lives, or has ended already, needs no fresh workspace: asking again must not touch what it works in.
        if self.host.adopt(&start.actor, start.attempt) {
            return;
        }
        let cost = state.actors.get(&start.actor).map(ActorState::cost).unwrap_or_default();
        let (git, host, events) = (Arc::clone(&self.git), Arc::clone(&self.host), self.events.clone());
        let (plan_directory, environment) = (self.plan_directory.clone(), Arc::clone(&self.agent_environment));
        tokio::spawn(async move {
            let actor = start.actor.clone();
            let prepare = move || prepare_launch(&git, &plan, &plan_directory, &environment, &start, cost);
            let launched = match tokio::task::spawn_blocking(prepare).await {
                Ok(Ok(launch)) => host.start(launch).await.map_err(EffectError::Host),
                Ok(Err(error)) => Err(error),
                Err(panic) => Err(EffectError::Panicked(panic.to_string())),
            };
            if let Err(error) = launched {
                // The loop is gone when the run is over: the next one asks again.
                let _ = events.send(failed(EffectKey::Start(actor), &error));
            }
        });
    }

    fn stop_agent(&self, actor: Actor, attempt: Attempt, kill: bool) {
        let (host, events) = (Arc::clone(&self.host), self.events.clone());
        tokio::spawn(async move {
            kill_point::reached("stop.before");
            let stopped = host.stop(&actor, attempt, kill).await;
            kill_point::reached("stop.after");
            if let Err(error) = stopped {
                let _ = events.send(failed(EffectKey::Start(actor), &EffectError::Host(error)));
            }
        });
    }
}

/// Somebody who merged the base branch to mend a landing that failed has not written what came in with it.
fn bear_base(
    git: &Git,
    outcome: Preparation,
    base: &Watched,
    source: &Oid,
    onto: &Oid,
    deliverables: &[String],
) -> Result<Preparation, EffectError> {
    let Preparation::Unacceptable { missing, outside } = outcome else {
        return Ok(outcome);
    };
    let outside = git.differing(source, &base.tip(git)?, outside)?;
    if missing.is_empty() && outside.is_empty() {
        return Ok(git.prepare_merge(source, None, onto, &[], deliverables)?);
    }
    Ok(Preparation::Unacceptable { missing, outside })
}

/// Makes the workspace ready and renders what the agent is told.
fn prepare_launch(
    git: &Git,
    plan: &Plan,
    plan_directory: &Path,
    environment: &[(String, String)],
    start: &StartAgent,
    cost: MicroDollars,
) -> Result<Launch, EffectError> {
    let settings = plan
        .settings_of(&start.actor)
        .ok_or_else(|| EffectError::Unknown(start.actor.clone()))?
        .clone();
    let workspaces = Workspaces::new(git, &plan.workspace);
    let workspace = workspaces.of_branch(&start.branch);
    kill_point::reached("start.before-worktree");
    git.ensure_worktree(&start.branch, &workspace)?;
    kill_point::reached("start.after-worktree");
    workspaces.prepare(git, &workspace)?;
    kill_point::reached("start.after-setup");
    let conflict = match &start.conflict {
        Some(conflict) => {
            git.begin_merge(&workspace, &start.branch, &conflict.source)?;
            Some(conflict_text(git, plan, plan_directory, conflict)?)
        }
        None => None,
    };
    let prompts = Prompts::load(plan_directory, plan)?;
    let (prompt, fresh_prompt) = render(&prompts, plan, start, conflict.as_ref())?;
    let decided = decisions::hint(&workspace);
    let (prompt, fresh_prompt) = (prompt + &decided, fresh_prompt.map(|prompt| prompt + &decided));
    Ok(Launch {
        task: TaskName::of(&start.actor, &start.task),
        workspace,
        branch: start.branch.clone(),
        prompt,
        fresh_prompt,
        remaining_budget: settings
            .budget
            .map(|budget| MicroDollars(budget.0.saturating_sub(cost.0))),
        session: start.session.clone(),
        completion_line: plan.completion_line(&start.actor),
        plan_directory: plan_directory.to_path_buf(),
        writable: match &start.conflict {
            Some(conflict) => conflict.paths.clone(),
            None => plan.writable_by(&start.actor),
        },
        extra_environment: environment
            .iter()
            .cloned()
            .chain(protection(Some(&start.branch), &plan.branches()))
            .collect(),
        settings,
        actor: start.actor.clone(),
        attempt: start.attempt,
    })
}

/// What a conflict is about, for the prompt: both sides' changes, and what those who made them were asked to do.
fn conflict_text(
    git: &Git,
    plan: &Plan,
    plan_directory: &Path,
    conflict: &ConflictFacts,
) -> Result<ConflictText, EffectError> {
    let (target_changes, source_changes) = git.changes_of_sides(conflict)?;
    let owners = plan.agents().filter(|(team, agent)| {
        let is_source = agent.branch == conflict.source_branch || team.branch == conflict.source_branch;
        let owns = PathGlobs::new(&agent.owns).is_ok_and(|globs| conflict.paths.iter().any(|path| globs.matches(path)));
        is_source || owns || team.branch == conflict.target
    });
    let leaders = plan
        .teams()
        .filter(|team| team.leader.branch == conflict.source_branch)
        .map(|team| &team.leader.prompt);
    let prompts = owners
        .map(|(_, agent)| &agent.prompt)
        .chain(leaders)
        .map(|prompt| plan_directory.join(&plan.prompts).join(prompt).display().to_string())
        .collect::<BTreeSet<String>>();
    Ok(ConflictText {
        source: conflict.source_branch.to_string(),
        source_commit: conflict.source.to_string(),
        target: conflict.target.to_string(),
        paths: conflict.paths.clone(),
        target_changes,
        source_changes,
        prompts: prompts.into_iter().collect(),
        guidance: conflict.guidance.clone(),
    })
}

/// The prompt of an attempt, and the whole prompt for a session without memory when the first relies on one.
fn render(
    prompts: &Prompts,
    plan: &Plan,
    start: &StartAgent,
    conflict: Option<&ConflictText>,
) -> Result<(String, Option<String>), PromptError> {
    let told = |fresh: bool| {
        let to = Recipient {
            plan,
            actor: &start.actor,
            attempt: start.attempt,
            fresh,
            conflict,
        };
        match &start.task {
            Task::Work | Task::Resolve => prompts.render_first(to),
            Task::Continue => prompts.render_continue(to),
            Task::Nudge { reason } => Ok(format!("{reason}\n\n{}", prompts.render_continue(to)?)),
            Task::Retry { reason, output } => prompts.render_retry(to, reason, output),
            Task::Answer { question, answer } => prompts.render_answer(to, question, answer),
        }
    };
    let has_memory = start.session.is_some();
    let prompt = told(!has_memory)?;
    let fresh_prompt = if has_memory { Some(told(true)?) } else { None };
    Ok((prompt, fresh_prompt))
}

/// How the points before and after an effect are called.
fn point_of(effect: &EffectKey) -> &'static str {
    match effect {
        EffectKey::ActorBranch(_) => "actor-branch",
        EffectKey::TeamBranch(_) => "team-branch",
        EffectKey::Start(_) => "start",
        EffectKey::Merge(_) => "merge",
        EffectKey::Gate(..) => "gate",
        EffectKey::Ahead(_) => "ahead",
        EffectKey::Back(_) => "back",
        EffectKey::Rollback(_) => "rollback",
        EffectKey::Decision(_) => "decision",
    }
}

fn failed(effect: EffectKey, error: &EffectError) -> Event {
    Event::EffectFailed {
        effect,
        error: error.sentence(),
        retriable: error.is_retriable(),
    }
}
