//! Decides from git alone whether a phase, or the whole plan, is on the base branch: every landing, merge, completion and deliverable is looked up again.
//!
//! The journal is not asked, so that a fresh clone in CI gets the same answer as the machine that drove the fleet.

use crate::core::event::MergeKind;
use crate::core::outcome::merge_subject;
use crate::core::verdict::{Check, Missing, TeamVerdict, Verdict};
use crate::ids::{Actor, Oid, PhaseId};
use crate::plan::{Gate, Phase, Plan, Team};
use crate::shell::git::{CommitRecord, Git, GitError, LandedGate, LandedReceipt, PathGlobs, digest_of};
use crate::tags::{self, Tag};

/// More history than this is not searched for a landing; a project of this size has other problems.
const HISTORY_MAX: usize = 1_000_000;
/// What a leader's completing commit says behind its tag.
const LEADER_PHRASE: &str = "Phase complete";

/// Decides about these phases; `None` decides about all.
pub fn decide(plan: &Plan, git: &Git, phase: Option<&PhaseId>) -> Result<Verdict, GitError> {
    let base = &plan.repository.base;
    let remote = plan.repository.remote.as_deref().unwrap_or("origin");
    let (name, tip) = match (git.tip(base)?, git.remote_tip(remote, base)?) {
        (Some(tip), _) => (base.to_string(), tip),
        (None, Some(tip)) => (format!("{remote}/{base}"), tip),
        (None, None) => return Err(GitError::NoSuchBranch { branch: base.clone() }),
    };
    let judge = Judge {
        plan,
        git,
        merges: merges(git.first_parents(&tip, HISTORY_MAX)?),
        paths: git.paths(&tip)?,
        base: name.clone(),
    };
    let wanted = |candidate: &&Phase| phase.is_none_or(|phase| &candidate.id == phase);
    let mut teams = Vec::new();
    for phase in plan.phases.iter().filter(wanted) {
        for team in &phase.teams {
            teams.push(judge.team(phase, team)?);
        }
    }
    Ok(Verdict { base: name, tip, teams })
}

/// A `[MERGE]` commit.
struct Merge {
    commit: CommitRecord,
    message: tags::Message,
}

struct Judge<'a> {
    plan: &'a Plan,
    git: &'a Git,
    /// On the base branch itself, newest first.
    merges: Vec<Merge>,
    /// Files of the base branch.
    paths: Vec<String>,
    base: String,
}

impl Judge<'_> {
    fn team(&self, phase: &Phase, team: &Team) -> Result<TeamVerdict, GitError> {
        let run = || "orchestrate run".to_owned();
        let mut checks = Vec::new();
        let subject = merge_subject(self.plan, &MergeKind::Landing(team.id.clone()));
        let landings: Vec<&Merge> = self
            .merges
            .iter()
            .filter(|merge| merge.message.subject == subject)
            .collect();
        let landing = checked(&landings, &self.plan.gates.main);
        let landed = landing.as_ref().ok().map(|merge| merge.commit.oid.clone());
        checks.push(Check {
            what: format!("team {} landed on {}", team.id, self.base),
            missing: landing.err().map(|fault| Missing {
                reason: fault.unwrap_or_else(|| format!("no commit `{subject}` on {}", self.base)),
                remedy: run(),
            }),
        });
        // What came in with the landings: the second parent's side. A team that lands twice brings the rest with its second landing.
        let mut side = Vec::new();
        for landing in &landings {
            if let [onto, source] = landing.commit.parents.as_slice() {
                side.extend(merges(self.git.commits_between(
                    source,
                    std::slice::from_ref(onto),
                    HISTORY_MAX,
                )?));
            }
        }
        for agent in &team.agents {
            let kind = MergeKind::Agent(agent.id.clone());
            let actor = Actor::Agent(agent.id.clone());
            checks.push(self.merged(&side, &kind, &actor, &self.plan.gates.agent, &agent.completion)?);
        }
        let kind = MergeKind::Integration(team.id.clone());
        let leader = Actor::Leader(team.id.clone());
        checks.push(self.merged(&side, &kind, &leader, &self.plan.gates.team, LEADER_PHRASE)?);
        for actor in team
            .agents
            .iter()
            .map(|agent| Actor::Agent(agent.id.clone()))
            .chain([leader])
        {
            checks.extend(self.deliverables(&actor)?);
        }
        Ok(TeamVerdict {
            phase: phase.id.to_string(),
            team: team.id.to_string(),
            name: team.name.clone(),
            landing: landed,
            checks,
        })
    }

    /// Whether an actor's work was merged with a valid receipt, and completed by a commit of its own.
    fn merged(
        &self,
        side: &[Merge],
        kind: &MergeKind,
        actor: &Actor,
        gate: &Gate,
        phrase: &str,
    ) -> Result<Check, GitError> {
        let subject = merge_subject(self.plan, kind);
        let found: Vec<&Merge> = side.iter().filter(|merge| merge.message.subject == subject).collect();
        let reason = match checked(&found, gate) {
            Err(fault) => Some(fault.unwrap_or_else(|| format!("no commit `{subject}` has reached {}", self.base))),
            Ok(_) => {
                let mut is_complete = false;
                for merge in &found {
                    if let [onto, source] = merge.commit.parents.as_slice() {
                        let commits = self
                            .git
                            .commits_between(source, std::slice::from_ref(onto), HISTORY_MAX)?;
                        is_complete |= commits.iter().any(|commit| completes(&commit.message, actor, phrase));
                    }
                }
                let tag = tags::actor_tag(actor);
                (!is_complete).then(|| format!("none of its commits says `{tag} ... {phrase}`"))
            }
        };
        Ok(Check {
            what: format!("{actor} complete and merged"),
            missing: reason.map(|reason| Missing {
                reason,
                remedy: "orchestrate run".to_owned(),
            }),
        })
    }

    fn deliverables(&self, actor: &Actor) -> Result<Option<Check>, GitError> {
        let patterns = self.plan.deliverables_of(actor);
        if patterns.is_empty() {
            return Ok(None);
        }
        let absent = PathGlobs::new(&patterns)?.unmatched(&self.paths);
        Ok(Some(Check {
            what: format!("deliverables of {actor} on {}", self.base),
            missing: (!absent.is_empty()).then(|| Missing {
                reason: format!("nothing matches {}", absent.join(", ")),
                remedy: format!("git log --diff-filter=D {} -- {}", self.base, absent.join(" ")),
            }),
        }))
    }
}

/// The newest merge whose receipt holds; else why the newest one's does not, or `None` when there is no merge at all.
fn checked<'a>(merges: &[&'a Merge], gate: &Gate) -> Result<&'a Merge, Option<String>> {
    let mut first_fault = None;
    for merge in merges {
        match fault_of(merge, gate) {
            None => return Ok(merge),
            Some(fault) => {
                first_fault.get_or_insert_with(|| format!("merge {}: {fault}", short(&merge.commit.oid)));
            }
        }
    }
    Err(first_fault)
}

/// What is wrong with a merge's receipt.
fn fault_of(merge: &Merge, gate: &Gate) -> Option<String> {
    let receipt = match LandedReceipt::read(&merge.message) {
        Ok(receipt) => receipt,
        Err(fault) => return Some(format!("no valid receipt: {fault}")),
    };
    let [onto, source] = merge.commit.parents.as_slice() else {
        return Some("it is no merge of two commits".to_owned());
    };
    if receipt.tree != merge.commit.tree {
        return Some("its tree is not the one that passed the gate".to_owned());
    }
    if &receipt.source != source || &receipt.onto != onto {
        return Some("its receipt belongs to another merge".to_owned());
    }
    match (gate, &receipt.gate) {
        (Gate::None, LandedGate::None) => None,
        (Gate::Command(command), LandedGate::Passed { digest, .. }) if digest == &digest_of(command) => None,
        (Gate::Command(command), LandedGate::Passed { .. }) => {
            Some(format!("it passed another gate than the plan's `{command}`"))
        }
        (Gate::Command(command), LandedGate::None) => Some(format!("it passed no gate; the plan's is `{command}`")),
        (Gate::None, LandedGate::Passed { .. }) => Some("it passed a gate where the plan says `none`".to_owned()),
    }
}

fn completes(message: &str, actor: &Actor, phrase: &str) -> bool {
    match (tags::parse(message).tag, actor) {
        (Some(Ok(Tag::Agent { agent_id, text })), Actor::Agent(own)) => {
            &agent_id == own && tags::carries_phrase(&text, phrase)
        }
        (Some(Ok(Tag::Team { team_id, text })), Actor::Leader(own)) => {
            &team_id == own && tags::carries_phrase(&text, phrase)
        }
        (_, _) => false,
    }
}

fn merges(commits: Vec<CommitRecord>) -> Vec<Merge> {
    commits
        .into_iter()
        .filter(|commit| commit.parents.len() == 2)
        .map(|commit| Merge {
            message: tags::parse(&commit.message),
            commit,
        })
        .filter(|merge| matches!(merge.message.tag, Some(Ok(Tag::Merge { .. }))))
        .collect()
}

fn short(oid: &Oid) -> &str {
    oid.as_str().get(..12).unwrap_or(oid.as_str())
}
