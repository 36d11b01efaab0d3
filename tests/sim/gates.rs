//! Gates of the world, looks ahead of a merge and back from one, and whether what is told of a gate is so.

use orchestrate::core::MergeState;
use orchestrate::core::command::{StartAgent, Task};
use orchestrate::core::event::{EffectKey, Event, GateOutcome, MergeKind, Trial};
use orchestrate::ids::{MergeId, Oid};

use crate::git::{self, Maker, commit_of, oid, tree_of_oid, tree_oid};
use crate::world::{Item, MINUTE, SECOND, World};

impl World {
    pub(crate) fn run_gate(&mut self, merge_id: MergeId, kind: &MergeKind, tree: Oid, command: String) {
        if self.trouble(EffectKey::Gate(merge_id, tree.clone())) {
            return;
        }
        let level = level_of(&command, kind);
        self.gates_running += 1;
        if self.up && self.state.rules > 0 && self.gates_running > self.plan.limits.gates {
            return self.fail(format!("I7: {} gates run at once", self.gates_running));
        }
        let duration_ms = self.rng.between(10 * SECOND, 5 * MINUTE);
        self.after_if_up(
            duration_ms,
            Item::GateDone {
                merge_id,
                tree,
                command,
                level,
                duration_ms,
            },
        );
    }

    pub(crate) fn gate_done(&mut self, merge_id: MergeId, tree: Oid, command: String, level: u32, duration_ms: u64) {
        self.gates_running = self.gates_running.saturating_sub(1);
        let output = String::new();
        let outcome = if self.hit(self.faults.silent_gate) {
            GateOutcome::TimedOut { output }
        } else if !git::passes(self.git.tree(tree_of_oid(&tree)), level) || self.hit(self.faults.wrong_gate) {
            GateOutcome::Failed { output }
        } else if self.hit(self.faults.flaky_gate) {
            GateOutcome::Flaky
        } else {
            GateOutcome::Passed
        };
        if outcome.passes() {
            self.passed.insert((tree.clone(), command));
        }
        self.answer(Event::GateFinished {
            merge_id,
            tree,
            outcome,
            duration_ms,
        });
    }

    pub(crate) fn speculate(&mut self, merge_id: MergeId, tip: &Oid, ahead: &[Oid], source: &Oid) {
        if self.trouble(EffectKey::Ahead(merge_id)) {
            return;
        }
        let mut onto = commit_of(tip);
        let mut found = None;
        for (place, next) in ahead.iter().chain([source]).enumerate() {
            let next = commit_of(next);
            let Ok(tree) = self.git.merge(next, onto) else {
                break;
            };
            if place == ahead.len() {
                found = Some((tree_oid(tree), oid(onto)));
            } else {
                let tree = self.git.tree(tree).clone();
                onto = self.git.commit(&[onto, next], tree, "a candidate", Maker::Candidate);
            }
        }
        self.answer(Event::Speculated {
            merge_id,
            ahead: ahead.to_vec(),
            source: source.clone(),
            found,
        });
    }

    pub(crate) fn look_back(&mut self, merge_id: MergeId, source: &Oid, onto: &Oid) {
        if self.trouble(EffectKey::Back(merge_id)) {
            return;
        }
        let own = commit_of(source);
        let mut line = Vec::new();
        let mut next = Some(commit_of(onto));
        while let Some(commit) = next {
            line.push(commit);
            if self.git.contains(own, commit) {
                break;
            }
            next = self.git.commits[commit].parents.first().copied();
        }
        let mut trials = Vec::new();
        for commit in line.into_iter().rev() {
            if let Ok(tree) = self.git.merge(own, commit) {
                trials.push(Trial {
                    onto: oid(commit),
                    tree: tree_oid(tree),
                });
            }
        }
        self.answer(Event::LookedBack {
            merge_id,
            source: source.clone(),
            onto: onto.clone(),
            trials,
        });
    }

    /// Whoever is told with what a gate fails is told the truth, unless the gate itself lies.
    pub(crate) fn check_told(&mut self, launch: &StartAgent) {
        let Task::Retry { reason, .. } = &launch.task else {
            return;
        };
        let says_alone = reason.contains("alone fails it as well");
        let says_together = reason.contains("it passes alone");
        let command = reason.split('`').nth(1).unwrap_or_default();
        if !(says_alone || says_together) || self.faults.wrong_gate > 0 {
            return;
        }
        self.report.told += 1;
        // A human's retry tells it again with the number of attempts behind it.
        let turned_down = self.state.merges.values().rev().find(|merge| {
            let MergeState::Rejected { reason: why } = &merge.state else {
                return false;
            };
            why.contains("alone") && why.rsplit("; ").next().is_some_and(|finding| reason.contains(finding))
        });
        let Some(merge) = turned_down else {
            return self.fail(format!("nobody was turned down like {}: {reason}", launch.actor));
        };
        let own = self.git.tree_of(commit_of(&merge.source));
        if git::passes(own, level_of(command, &merge.kind)) == says_alone {
            let words = format!("{} is told what is not so: {reason}", launch.actor);
            self.fail(words);
        }
    }
}

/// From which level on a gate minds what is bad. A command that serves several levels cannot know on which it runs: what it finds depends on the tree and on
/// itself alone.
fn level_of(command: &str, kind: &MergeKind) -> u32 {
    match kind {
        _ if !command.starts_with("check agent") && !command.starts_with("check team") => 2,
        MergeKind::Agent(_) | MergeKind::Decision { .. } => 0,
        MergeKind::Integration(_) | MergeKind::Sync(_) => 1,
        MergeKind::Landing(_) => 2,
    }
}
