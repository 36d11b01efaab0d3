//! An event as one line for people.

use std::time::Duration;

use super::style::{Style, Tone};
use super::text::{duration, neutralise, one_line, plural};
use crate::core::event::{AgentExit, EffectKey, Event, GateOutcome, Preparation, Refusal, RefusalKind};
use crate::ids::{Actor, MergeId, Oid, TeamId};
use crate::tags::{self, Tag};

/// How much of a commit's name people read.
const SHORT_OID_LENGTH: usize = 7;

/// How much an event matters to somebody who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Of use when something is looked into.
    Routine,
    /// A step of the run.
    Notable,
    /// Something went wrong, or a human should look.
    Alert,
}

/// An event for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLine {
    /// One line, harmless to a terminal.
    pub text: String,
    /// How much it matters.
    pub weight: Weight,
    /// What it sounds like.
    pub tone: Tone,
}

/// A commit's short name.
pub fn short(oid: &Oid) -> String {
    neutralise(&oid.as_str().chars().take(SHORT_OID_LENGTH).collect::<String>())
}

/// Describes an event. `merge_name` says what a merge is, for example "agent 1.2 -> team-1-infrastructure", where that is known.
pub fn describe(event: &Event, merge_name: &dyn Fn(MergeId) -> Option<String>, style: Style) -> EventLine {
    let merge = |merge_id: MergeId| {
        merge_name(merge_id).map_or_else(
            || format!("merge {}", merge_id.0),
            |name| format!("merge {} ({name})", merge_id.0),
        )
    };
    let (weight, tone, text) = match event {
        Event::RunStarted {
            run_id,
            plan,
            only_teams,
            ..
        } => {
            let part = part_of(only_teams);
            let teams = plural(plan.teams().count(), "team");
            let agents = plural(plan.agents().count(), "agent");
            (
                Weight::Notable,
                Tone::Strong,
                format!("run {run_id} of {} started: {teams}, {agents}{part}", plan.project),
            )
        }
        Event::RunResumed { plan, only_teams, .. } => {
            let changed = if plan.is_some() { " with a changed plan" } else { "" };
            (
                Weight::Notable,
                Tone::Strong,
                format!("run resumed{changed}{}", part_of(only_teams)),
            )
        }
        Event::BranchCreated { branch, tip } => (
            Weight::Routine,
            Tone::Normal,
            format!("branch {branch} starts at {}", short(tip)),
        ),
        Event::AgentStarted { actor, attempt } => {
            let again = if attempt.0 > 1 {
                format!(" (attempt {attempt})")
            } else {
                String::new()
            };
            (Weight::Notable, Tone::Active, format!("{actor} started{again}"))
        }
        Event::AgentProgressed { actor, usage, .. } => (
            Weight::Routine,
            Tone::Faint,
            format!("{actor} works, {} so far in this attempt", usage.cost),
        ),
        Event::AgentExited {
            actor,
            attempt,
            usage,
            exit,
            ..
        } => {
            let (weight, tone, how) = describe_exit(exit, style);
            (
                weight,
                tone,
                format!("{actor} {how} (attempt {attempt}, {})", usage.cost),
            )
        }
        Event::CommitsSeen {
            actor,
            tip,
            rewritten,
            commits,
            ..
        } => describe_commits(actor, tip, *rewritten, commits),
        Event::BranchMoved { branch, tip, forward } => {
            if *forward {
                (
                    Weight::Notable,
                    Tone::Normal,
                    format!("{branch} moved to {}, not by this run", short(tip)),
                )
            } else {
                (
                    Weight::Alert,
                    Tone::Warning,
                    format!("{branch} was rewritten to {}, not by this run", short(tip)),
                )
            }
        }
        Event::MergePrepared { merge_id, outcome } => describe_preparation(&merge(*merge_id), outcome),
        Event::ResolutionChecked {
            merge_id,
            faults,
            vanished,
            ..
        } => {
            let merge = merge(*merge_id);
            let count: u32 = vanished.iter().map(|lost| lost.count).sum();
            if !faults.is_empty() {
                let text = format!("the settlement of {merge} is sent back: {}", faults.join("; "));
                (Weight::Alert, Tone::Warning, text)
            } else if count > 0 {
                let files: Vec<String> = vanished.iter().map(|lost| lost.path.clone()).collect();
                let text = format!(
                    "the conflict of {merge} is settled; {} of one side or the other are not in it any more: {}",
                    plural(count as usize, "line"),
                    some_of(&files)
                );
                (Weight::Alert, Tone::Warning, text)
            } else {
                let text = format!("the conflict of {merge} is settled, and no line of either side is lost");
                (Weight::Notable, Tone::Good, text)
            }
        }
        Event::Speculated { merge_id, found, .. } => {
            let merge = merge(*merge_id);
            let text = match found {
                Some((tree, _)) => format!("{merge} is going to make tree {}", short(tree)),
                None => format!("{merge} does not go together with what is in front of it"),
            };
            (Weight::Routine, Tone::Faint, text)
        }
        Event::LookedBack { merge_id, trials, .. } => {
            let merge = merge(*merge_id);
            let text = match trials.len() {
                0 | 1 => format!("{merge} was turned down for its own work: nothing else came in since it began"),
                count => format!(
                    "{merge} was turned down: it is tested alone, and with less of the {} that came in since it began",
                    plural(count - 1, "landing")
                ),
            };
            (Weight::Routine, Tone::Faint, text)
        }
        Event::GateFinished {
            merge_id,
            outcome,
            duration_ms,
            ..
        } => {
            let after = duration(Duration::from_millis(*duration_ms));
            let (weight, tone, how) = match outcome {
                GateOutcome::Passed => (Weight::Notable, Tone::Good, "passed"),
                GateOutcome::Flaky => (
                    Weight::Alert,
                    Tone::Warning,
                    "FLAKY: failed once, passed on the same tree",
                ),
                GateOutcome::Failed { .. } => (Weight::Alert, Tone::Bad, "failed twice"),
                GateOutcome::TimedOut { .. } => (Weight::Alert, Tone::Bad, "did not answer in time"),
            };
            (
                weight,
                tone,
                format!("gate of {} {how}, after {after}", merge(*merge_id)),
            )
        }
        Event::MergeLanded { merge_id, commit } => (
            Weight::Notable,
            Tone::Good,
            format!("{} landed as {}", merge(*merge_id), short(commit)),
        ),
        Event::LandingRefused { merge_id, refusal } => {
            let (weight, tone, why) = describe_refusal(refusal);
            (weight, tone, format!("{} did not land: {why}", merge(*merge_id)))
        }
        Event::EffectFailed {
            effect,
            error,
            retriable,
        } => {
            let what = match effect {
                EffectKey::ActorBranch(actor) => format!("the branch of {actor}"),
                EffectKey::TeamBranch(team_id) => format!("the branch of team {team_id}"),
                EffectKey::Start(actor) => format!("starting {actor}"),
                EffectKey::Merge(merge_id) => merge(*merge_id),
                EffectKey::Gate(merge_id, _) => format!("the gate of {}", merge(*merge_id)),
                EffectKey::Ahead(merge_id) => format!("looking ahead for {}", merge(*merge_id)),
                EffectKey::Back(merge_id) => format!("looking for what {} fails with", merge(*merge_id)),
                EffectKey::Decision(escalation_id) => format!("writing decision {} down", escalation_id.0),
                EffectKey::Rollback(branch) => format!("putting `{branch}` back"),
            };
            (
                Weight::Alert,
                Tone::Bad,
                format!(
                    "{what} failed{}: {error}",
                    if *retriable { ", it is tried again" } else { "" }
                ),
            )
        }
        Event::StopRequested { now: false } => (Weight::Alert, Tone::Warning, "stop asked for".to_owned()),
        Event::StopRequested { now: true } => (
            Weight::Alert,
            Tone::Warning,
            "stop asked for, agents are ended too".to_owned(),
        ),
        Event::EscalationAnswered { escalation_id, answer } => (
            Weight::Notable,
            Tone::Good,
            format!("question {} answered: {answer}", escalation_id.0),
        ),
        Event::LandingApproved { team_id } => (
            Weight::Notable,
            Tone::Good,
            format!("landing of team {team_id} approved"),
        ),
        Event::LandingRejected { team_id, reason } => (
            Weight::Notable,
            Tone::Warning,
            format!("landing of team {team_id} turned down: {reason}"),
        ),
        Event::PauseRequested => (
            Weight::Alert,
            Tone::Warning,
            "paused: nothing new is started".to_owned(),
        ),
        Event::ResumeRequested => (Weight::Notable, Tone::Good, "the pause is over".to_owned()),
        Event::RetryRequested { actor, fresh: false } => {
            (Weight::Notable, Tone::Normal, format!("{actor} is to be tried again"))
        }
        Event::RetryRequested { actor, fresh: true } => (
            Weight::Notable,
            Tone::Normal,
            format!("{actor} starts anew from its team's branch"),
        ),
        Event::RollbackRequested { branch, to, .. } => (
            Weight::Alert,
            Tone::Warning,
            format!("`{branch}` is to go back to {}", short(to)),
        ),
        Event::RolledBack {
            branch,
            to,
            undone,
            moves,
            ..
        } => (
            Weight::Alert,
            Tone::Warning,
            format!(
                "`{branch}` went back to {}: {} undone, {} moved; refs/orchestrate/undone/ has where they stood",
                short(to),
                plural(undone.len(), "merge"),
                match moves.len() {
                    1 => "1 branch".to_owned(),
                    count => format!("{count} branches"),
                }
            ),
        ),
        Event::RollbackRefused { branch, reason } => (
            Weight::Alert,
            Tone::Bad,
            format!("`{branch}` does not go back: {reason}"),
        ),
        Event::DecisionWritten { escalation_id, commit } => (
            Weight::Routine,
            Tone::Normal,
            format!(
                "the answer to question {} is written down as {}",
                escalation_id.0,
                short(commit)
            ),
        ),
        Event::MachineSlept { duration_ms } => (
            Weight::Notable,
            Tone::Warning,
            format!(
                "the machine slept for {}",
                duration(Duration::from_millis(*duration_ms))
            ),
        ),
        Event::DeadlineReached => (Weight::Routine, Tone::Faint, "a deadline came".to_owned()),
    };
    EventLine {
        text: one_line(&text),
        weight,
        tone,
    }
}

fn part_of(only_teams: &[TeamId]) -> String {
    if only_teams.is_empty() {
        return String::new();
    }
    let teams: Vec<&str> = only_teams.iter().map(TeamId::as_str).collect();
    format!(", teams {} only", teams.join(", "))
}

fn describe_exit(exit: &AgentExit, style: Style) -> (Weight, Tone, String) {
    match exit {
        AgentExit::Finished => (Weight::Notable, Tone::Normal, "ended its session".to_owned()),
        AgentExit::Failed { reason } => (Weight::Alert, Tone::Bad, format!("failed: {reason}")),
        AgentExit::Denied { tools } => (
            Weight::Alert,
            Tone::Bad,
            format!("ended, but tools were denied to it: {}", tools.join(", ")),
        ),
        AgentExit::Exhausted { reason } => (Weight::Alert, Tone::Warning, format!("ran out: {reason}")),
        AgentExit::Refused { kind, resets_at } => {
            let why = match kind {
                RefusalKind::Quota => "a usage limit was reached",
                RefusalKind::Authentication => "the key or login is not valid",
                RefusalKind::Billing => "there is no credit",
                RefusalKind::Unavailable => "the service is overloaded or broken",
            };
            let until = resets_at
                .map(|at| {
                    format!(
                        " {} until {}",
                        if style.unicode { "–" } else { "-" },
                        super::text::date_and_clock(at)
                    )
                })
                .unwrap_or_default();
            (
                Weight::Alert,
                Tone::Warning,
                format!("was refused service: {why}{until}"),
            )
        }
        AgentExit::Stopped => (Weight::Notable, Tone::Normal, "was stopped".to_owned()),
        AgentExit::Lost => (Weight::Alert, Tone::Warning, "vanished without a record".to_owned()),
    }
}

fn describe_commits(
    actor: &Actor,
    tip: &Oid,
    rewritten: bool,
    commits: &[crate::core::event::CommitFact],
) -> (Weight, Tone, String) {
    if rewritten {
        let text = format!("the branch of {actor} was rewritten and stands at {} now", short(tip));
        return (Weight::Alert, Tone::Warning, text);
    }
    let question = commits
        .iter()
        .find_map(|commit| match tags::parse(&commit.message).tag {
            Some(Ok(Tag::EscalationNeeded { question })) => Some(question),
            Some(_) | None => None,
        });
    if let Some(question) = question {
        return (Weight::Alert, Tone::Warning, format!("{actor} asks: {question}"));
    }
    let newest = commits
        .last()
        .map(|commit| tags::parse(&commit.message).subject)
        .unwrap_or_default();
    let number = plural(commits.len(), "commit");
    (
        Weight::Notable,
        Tone::Normal,
        format!("{actor} made {number}, up to {}: {newest}", short(tip)),
    )
}

fn describe_preparation(merge: &str, outcome: &Preparation) -> (Weight, Tone, String) {
    match outcome {
        Preparation::Clean { tree, .. } => (
            Weight::Routine,
            Tone::Normal,
            format!("{merge} is clean, tree {}", short(tree)),
        ),
        Preparation::Conflict { paths, .. } => (
            Weight::Alert,
            Tone::Warning,
            format!("{merge} conflicts in {}", some_of(paths)),
        ),
        Preparation::Unacceptable { missing, outside } => {
            let mut reasons = Vec::new();
            if !missing.is_empty() {
                reasons.push(format!("nothing matches {}", some_of(missing)));
            }
            if !outside.is_empty() {
                reasons.push(format!("it changes what is not its own: {}", some_of(outside)));
            }
            (
                Weight::Alert,
                Tone::Warning,
                format!("{merge} is turned down: {}", reasons.join("; ")),
            )
        }
    }
}

fn describe_refusal(refusal: &Refusal) -> (Weight, Tone, String) {
    match refusal {
        Refusal::TargetMoved { tip } => (
            Weight::Routine,
            Tone::Normal,
            format!("its target moved to {} meanwhile, it is merged again", short(tip)),
        ),
        Refusal::Doubted { second } => (
            Weight::Alert,
            Tone::Bad,
            format!(
                "a second merge of the same commits gives {}, not the tree that was tested; nothing lands",
                second
                    .as_ref()
                    .map_or_else(|| "a conflict".to_owned(), |tree| format!("tree {}", short(tree)))
            ),
        ),
        Refusal::CheckoutDirty { directory, paths } => (
            Weight::Alert,
            Tone::Warning,
            format!(
                "{directory} has uncommitted changes ({}); commit or stash them, the run goes on by itself then",
                some_of(paths)
            ),
        ),
    }
}

/// The first few of many.
fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        format!("{shown} and {} more", names.len() - SHOWN)
    } else {
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::event::{CommitFact, Usage};
    use crate::ids::{AgentId, Attempt, MicroDollars};

    fn check(event: Event, weight: Weight, expected: &str) {
        let name = |merge_id: MergeId| (merge_id.0 == 3).then(|| "agent 1.2 -> team-1".to_owned());
        let line = describe(&event, &name, Style::PLAIN);
        assert_eq!((line.text.as_str(), line.weight), (expected, weight));
    }

    fn agent() -> Actor {
        Actor::Agent(AgentId::new("1.2"))
    }

    fn oid() -> Oid {
        Oid::new("0123456789".repeat(4))
    }

    #[test]
    fn an_event_is_one_harmless_line() {
        check(
            Event::AgentStarted {
                actor: agent(),
                attempt: Attempt(1),
            },
            Weight::Notable,
            "agent 1.2 started",
        );
        check(
            Event::AgentStarted {
                actor: agent(),
                attempt: Attempt(2),
            },
            Weight::Notable,
            "agent 1.2 started (attempt 2)",
        );
        check(
            Event::AgentExited {
                actor: agent(),
                attempt: Attempt(2),
                usage: Usage {
                    cost: MicroDollars(1_234_567),
                    tokens: 9,
                },
                session: None,
                exit: AgentExit::Failed {
                    reason: "exit status 3\n\u{1b}[2J".to_owned(),
                },
            },
            Weight::Alert,
            "agent 1.2 failed: exit status 3 ^[[2J (attempt 2, $1.23)",
        );
        check(
            Event::CommitsSeen {
                actor: agent(),
                from: oid(),
                tip: oid(),
                rewritten: false,
                commits: vec![CommitFact {
                    oid: oid(),
                    message: "[AGENT-1-2] Config: add the cache\n\nbody".to_owned(),
                }],
            },
            Weight::Notable,
            "agent 1.2 made 1 commit, up to 0123456: [AGENT-1-2] Config: add the cache",
        );
        check(
            Event::CommitsSeen {
                actor: agent(),
                from: oid(),
                tip: oid(),
                rewritten: false,
                commits: vec![CommitFact {
                    oid: oid(),
                    message: "[ESCALATION-NEEDED] D1 or KV?".to_owned(),
                }],
            },
            Weight::Alert,
            "agent 1.2 asks: D1 or KV?",
        );
    }

    #[test]
    fn a_merge_is_named_where_its_name_is_known() {
        check(
            Event::MergeLanded {
                merge_id: MergeId(3),
                commit: oid(),
            },
            Weight::Notable,
            "merge 3 (agent 1.2 -> team-1) landed as 0123456",
        );
        check(
            Event::GateFinished {
                merge_id: MergeId(4),
                tree: oid(),
                outcome: GateOutcome::Failed { output: "x".to_owned() },
                duration_ms: 65_000,
            },
            Weight::Alert,
            "gate of merge 4 failed twice, after 1m",
        );
        check(
            Event::MergePrepared {
                merge_id: MergeId(3),
                outcome: Preparation::Unacceptable {
                    missing: vec!["a/**".to_owned()],
                    outside: ["b", "c", "d", "e"].map(str::to_owned).to_vec(),
                },
            },
            Weight::Alert,
            "merge 3 (agent 1.2 -> team-1) is turned down: nothing matches a/**; it changes what is not its own: b, c, d and 1 more",
        );
    }
}
