//! What people are promised beyond the invariants: a word for every request, a proof in every receipt, nobody who works in vain, the longest chain of work first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orchestrate::core::command::{Command, LandMerge};
use orchestrate::core::event::{EffectKey, Event};
use orchestrate::core::{MergeState, Mode, Process, State, TeamBranch, TeamState, Work};
use orchestrate::ids::{Actor, AgentId, Attempt, MergeId};
use orchestrate::plan::{Gate, Need, Team};

use crate::world::World;

/// What was so before an event.
pub(crate) struct Before {
    /// What the event is a request about; `None`: no word is owed for it.
    about: Option<String>,
    /// Whose process lives, or is about to.
    alive: BTreeSet<(Actor, Attempt)>,
    /// Whose process is killed.
    killed: BTreeSet<(Actor, Attempt)>,
    /// Merges of which nobody knew whether they had landed.
    landing: BTreeSet<MergeId>,
    /// Words to people, and the last of them.
    notes: usize,
    last: Option<String>,
    /// Whoever is to start anew is at work, waits for an answer, or has failed.
    is_at_work: bool,
    /// The effect that failed was what an actor waited for.
    waits_for_effect: bool,
}

impl World {
    pub(crate) fn before(&self, event: &Event) -> Before {
        Before {
            about: self.about(event),
            alive: self.processes(|process| matches!(process, Process::Starting { .. } | Process::Live { .. })),
            killed: self.processes(|process| matches!(process, Process::Stopping { killed: true, .. })),
            landing: self.landing(),
            notes: self.state.notes.len(),
            last: self.state.notes.back().map(|note| format!("{note:?}")),
            is_at_work: matches!(event, Event::RetryRequested { actor: actor @ (Actor::Agent(_) | Actor::Leader(_)), .. }
                if self.state.actors.get(actor).is_some_and(|actor| matches!(actor.work, Work::Building | Work::Escalated(_) | Work::Failed { .. }))),
            waits_for_effect: self.waits_for(event),
        }
    }

    fn landing(&self) -> BTreeSet<MergeId> {
        let merges = self.state.merges.iter();
        merges
            .filter(|(_, merge)| matches!(merge.state, MergeState::Landing { .. }))
            .map(|(merge_id, _)| *merge_id)
            .collect()
    }

    fn processes(&self, is_one: impl Fn(&Process) -> bool) -> BTreeSet<(Actor, Attempt)> {
        let actors = self.state.actors.iter().filter(|(_, actor)| is_one(&actor.process));
        actors
            .filter_map(|(name, actor)| Some((name.clone(), actor.process.attempt()?)))
            .collect()
    }

    /// Whoever is to end is told so, and whoever is killed is killed.
    fn check_ends(&mut self, event: &Event, before: &Before, commands: &[Command]) {
        // After a crash everything that may live is asked for first.
        if let Event::RunResumed { .. } = event {
            return;
        }
        let asked = |killed: bool| -> BTreeSet<(Actor, Attempt)> {
            let stops = commands.iter().filter_map(|command| match command {
                Command::StopAgent { actor, attempt, kill } if *kill == killed => Some((actor.clone(), *attempt)),
                _ => None,
            });
            stops.collect()
        };
        let killed = self.processes(|process| matches!(process, Process::Stopping { killed: true, .. }));
        let stopping = self.processes(|process| matches!(process, Process::Stopping { killed: false, .. }));
        let unkilled = killed
            .difference(&before.killed)
            .find(|name| !asked(true).contains(name));
        let untold = stopping
            .intersection(&before.alive)
            .find(|name| !asked(false).contains(name));
        if let Some((actor, attempt)) = unkilled.or(untold).cloned() {
            self.fail(format!("{actor} {attempt} counts as ending, and nobody ends it"));
        }
    }

    fn about(&self, event: &Event) -> Option<String> {
        let state = &self.state;
        Some(match event {
            Event::RetryRequested { actor, .. } => format!("{:?}", state.actors.get(actor)),
            Event::EscalationAnswered { escalation_id, .. } => format!("{:?}", state.escalations.get(escalation_id)),
            Event::LandingRejected { team_id, .. } => {
                let leader = state.actors.get(&Actor::Leader(team_id.clone()));
                format!("{leader:?}{:?}", state.teams.get(team_id))
            }
            Event::RollbackRequested { .. } => format!("{:?}", state.rollback),
            _ => return None,
        })
    }

    /// When all is done and nothing was disturbed, there was nothing odd to tell.
    pub(crate) fn check_calm(&mut self) {
        // Agents make mistakes on the calmest day.
        let is_odd = |text: &str| !text.contains("counts for nobody");
        let odd = self.state.notes.iter().find(|note| is_odd(&note.text));
        if let (false, Some(note)) = (self.disturbed, odd) {
            let words = format!("nothing was disturbed, and people are told {:?}", note.text);
            self.fail(words);
        }
    }

    /// What is looked at after every event.
    pub(crate) fn check_promises(&mut self, event: &Event, before: &Before, commands: &[Command]) {
        if let Some(about) = self.about(event) {
            let is_told = self.state.notes.len() == State::NOTES_MAX
                || self.state.notes.len() > before.notes
                || self.state.notes.back().map(|note| format!("{note:?}")) != before.last;
            // Why somebody is given up again stands in the same place as before.
            let is_given_up = matches!(event, Event::RetryRequested { actor, .. }
                if self.state.actors.get(actor).is_some_and(|actor| matches!(actor.work, Work::Failed { .. })));
            if Some(about) == before.about && !is_given_up && !is_told {
                self.fail(format!("{event:?} changes nothing, and nobody is told why"));
            }
        }
        self.check_failed_effect(event, before.waits_for_effect, commands);
        self.check_effect_of(event, before.is_at_work);
        self.check_ends(event, before, commands);
        let in_vain = self.state.actors.iter().find(|(_, actor_state)| {
            self.state.rules >= 2
                && self.state.mode == Mode::Running
                && actor_state.fresh
                && actor_state.work == Work::Waiting
                && matches!(actor_state.process, Process::Live { .. })
        });
        if let Some((actor, _)) = in_vain {
            let words = format!("{actor} works on what is going to be put back");
            self.fail(words);
        }
        self.check_memory(event, before);
        self.check_order(commands);
        for command in commands {
            if let Command::LandMerge(landing) = command {
                self.check_receipt(landing);
            }
        }
    }

    /// What must not be forgotten, for it is needed much later.
    fn check_memory(&mut self, event: &Event, before: &Before) {
        let told = match event {
            Event::AgentProgressed {
                actor,
                attempt,
                usage,
                session,
            } => self
                .state
                .actors
                .get(actor)
                .filter(|actor_state| actor_state.process.attempt() == Some(*attempt))
                .filter(|actor_state| {
                    actor_state.spending.cost < usage.cost
                        || actor_state.spending.tokens < usage.tokens
                        || (session.is_some() && actor_state.session != *session)
                })
                .map(|_| format!("{actor} {attempt} told its session and what it spent, and it is forgotten")),
            Event::RunResumed { .. } if !before.landing.is_subset(&self.state.unheard) => {
                Some("a merge was landing when the run ended, and nobody asks whether it did".to_owned())
            }
            _ => None,
        };
        let lives_on = self.state.actors.iter().find(|(_, actor_state)| {
            matches!(actor_state.process, Process::Live { .. })
                && matches!(
                    actor_state.work,
                    Work::Complete { .. } | Work::Merged { .. } | Work::Failed { .. }
                )
                && actor_state.finishing.is_none()
        });
        let lives_on = lives_on.map(|(actor, _)| format!("{actor} is settled, and its process may live for ever"));
        let is_ready = |team: &TeamState| team.branch == TeamBranch::Ready;
        let unknown = self
            .state
            .teams
            .iter()
            .find(|(_, team)| is_ready(team) && team.begun.is_none());
        let unknown = unknown.map(|(team_id, _)| format!("nobody knows where the branch of team {team_id} began"));
        if let Some(words) = told.or(lives_on).or(unknown) {
            self.fail(words);
        }
    }

    /// What an event must leave behind, whatever was before it.
    fn check_effect_of(&mut self, event: &Event, is_taken: bool) {
        let now = self.state.now;
        let wrong = match event {
            Event::RunStarted { rules, .. } if self.state.rules != *rules => {
                Some("the run began under other rules than it says".to_owned())
            }
            // Somebody who starts the run again does not wait for what the last one waited for.
            Event::RunResumed { .. } => {
                let actors = self.state.actors.values().map(|actor| actor.not_before);
                let merges = self.state.merges.values().map(|merge| merge.not_before);
                let is_late =
                    self.state.mode == Mode::Running && actors.chain(merges).any(|not_before| not_before > now);
                is_late.then(|| "the run goes on, and something waits for what was before".to_owned())
            }
            Event::BranchMoved {
                branch,
                tip,
                forward: true,
            } if self.state.rollback.is_none() => {
                let team = self.plan.teams().find(|team| &team.branch == branch);
                let known = match team {
                    Some(team) => self.state.teams.get(&team.id).and_then(|team| team.tip.clone()),
                    None => self.state.base_tip.clone(),
                };
                (known.as_ref() != Some(tip)).then(|| format!("{branch} moved, and nobody knows"))
            }
            Event::RetryRequested { actor, fresh: true } if is_taken => self
                .state
                .actors
                .get(actor)
                .filter(|actor_state| actor_state.fresh && actor_state.work == Work::Waiting)
                .filter(|actor_state| {
                    actor_state.strikes > 0
                        || actor_state.lost > 0
                        || actor_state.session.is_some()
                        || actor_state.reason.is_some()
                        || actor_state.not_before > now
                })
                .map(|_| format!("{actor} is to start anew, and what was before is held against it")),
            _ => None,
        };
        if let Some(words) = wrong {
            self.fail(words);
        }
    }

    fn waits_for(&self, event: &Event) -> bool {
        let Event::EffectFailed {
            effect:
                EffectKey::ActorBranch(actor @ (Actor::Agent(_) | Actor::Leader(_)))
                | EffectKey::Start(actor @ (Actor::Agent(_) | Actor::Leader(_))),
            ..
        } = event
        else {
            return false;
        };
        self.state.actors.get(actor).is_some_and(|actor_state| {
            actor_state.work == Work::Branching
                || (actor_state.work == Work::Building && matches!(actor_state.process, Process::Starting { .. }))
        })
    }

    /// What fails is tried again a few times, later; what can't be helped by that is given up at once, with the reason.
    fn check_failed_effect(&mut self, event: &Event, was_awaited: bool, commands: &[Command]) {
        if let Event::RunResumed { .. } = event {
            self.given_up.clear();
            self.effect_failures.clear();
        }
        if let Some(team) = commands.iter().find_map(|command| match command {
            Command::CreateTeamBranch { branch, .. } => self.plan.teams().find(|team| &team.branch == branch),
            _ => None,
        }) && self.given_up.contains(&team.id)
        {
            let words = format!("the branch of team {} is asked for again, in vain", team.id);
            return self.fail(words);
        }
        let Event::EffectFailed {
            effect,
            error,
            retriable,
        } = event
        else {
            if let Event::BranchCreated { .. } | Event::AgentStarted { .. } | Event::RetryRequested { .. } = event {
                self.effect_failures.clear();
            }
            return;
        };
        if let (EffectKey::TeamBranch(team_id), false) = (effect, retriable) {
            self.given_up.insert(team_id.clone());
        }
        if let Some(trouble) = self.state.troubles.get(effect) {
            let is_told = trouble.error == *error;
            let is_later = trouble.not_before >= self.state.now.plus(Duration::from_secs(1));
            if !is_told || !is_later {
                self.fail(format!(
                    "{effect:?} failed, and is tried again at once or without a reason"
                ));
            }
        }
        let (EffectKey::ActorBranch(actor) | EffectKey::Start(actor), true) = (effect, was_awaited) else {
            return;
        };
        let failures = self.effect_failures.entry(effect.clone()).or_default();
        *failures += 1;
        let failures = *failures;
        let work = self.state.actors.get(actor).map(|actor| actor.work.clone());
        let is_given_up = work == Some(Work::Failed { reason: error.clone() });
        if !retriable && !is_given_up {
            self.fail(format!("{effect:?} can't be done, and {actor} is {work:?}"));
        }
        if *retriable
            && failures == 1
            && is_given_up
            && self
                .state
                .troubles
                .get(effect)
                .is_none_or(|trouble| trouble.failures <= 1)
        {
            self.fail(format!(
                "{actor} is given up although {effect:?} may work the next time"
            ));
        }
        if failures > 8 && !is_given_up {
            self.fail(format!("{effect:?} fails for ever, and {actor} is not given up"));
        }
    }

    /// What proves that a tree may land says which gate it was, that it passed, and in which run.
    fn check_receipt(&mut self, landing: &LandMerge) {
        let receipt = &landing.receipt;
        if receipt.run_id != self.state.run_id || receipt.run_id.is_empty() {
            self.fail(format!("I1: the receipt of {:?} names no run", landing.kind));
        }
        let wanted = self.command_of(&landing.kind);
        let named = match &receipt.gate {
            Gate::Command(command) => Some(command.clone()),
            Gate::None => None,
        };
        if named != wanted {
            self.fail(format!("I1: the receipt of {:?} names another gate", landing.kind));
        }
        let record = wanted.and_then(|command| self.state.gates.get(&(landing.tree.clone(), command)));
        let fits = match (record, &receipt.outcome) {
            (Some(record), Some(outcome)) => {
                outcome.passes()
                    && *outcome == record.outcome
                    && receipt.at == record.at
                    && receipt.duration_ms == record.duration_ms
            }
            (None, None) => receipt.gate == Gate::None,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !fits {
            self.fail(format!(
                "I1: the receipt of {:?} is not what its gate said: {receipt:?}",
                landing.kind
            ));
        }
        let is_landing = self
            .state
            .merges
            .get(&landing.merge_id)
            .is_some_and(|merge| matches!(merge.state, MergeState::Landing { .. }));
        if !is_landing {
            self.fail(format!("I1: {:?} lands, and nobody waits to hear of it", landing.kind));
        }
    }

    /// Of those of a team who begin together, whoever most work waits for begins first.
    fn check_order(&mut self, commands: &[Command]) {
        let beginners = commands.iter().filter_map(|command| match command {
            Command::CreateActorBranch {
                actor: Actor::Agent(agent_id),
                ..
            } => Some(agent_id),
            _ => None,
        });
        let mut last: BTreeMap<String, (usize, AgentId)> = BTreeMap::new();
        let mut wrong = None;
        for agent_id in beginners {
            let Some((team, _)) = self.plan.agent(agent_id) else {
                continue;
            };
            let chain = chain(team, agent_id);
            if let Some((before, earlier)) = last.insert(team.id.to_string(), (chain, agent_id.clone()))
                && before < chain
            {
                wrong = Some(format!(
                    "agent {earlier} begins before agent {agent_id}, which more work waits for"
                ));
            }
        }
        if let Some(words) = wrong {
            self.fail(words);
        }
    }
}

/// How many of the same team wait for an agent, one after the other.
fn chain(team: &Team, agent_id: &AgentId) -> usize {
    team.agents
        .iter()
        .filter(|other| other.needs.contains(&Need::Agent(agent_id.clone())))
        .map(|other| 1 + chain(team, &other.id))
        .max()
        .unwrap_or(0)
}
