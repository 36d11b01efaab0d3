//! Derives every landing again from git alone: each merge on the teams' branches and the base branch is merged a second time, and must give the same tree.
//!
//! Neither the journal nor what the merges say about themselves is believed further than it can be checked, so that a fresh clone gives the same answer.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::event::MergeKind;
use crate::core::outcome::merge_subject;
use crate::ids::{BranchName, Oid};
use crate::plan::{Gate, Plan, Team};
use crate::proof::{Audit, BranchAudit, Entry, EntryKind, Fault, Side, Vanished};
use crate::shell::git::{CommitRecord, Git, GitError, LandedGate, LandedReceipt, Remerged, SecondLook, digest_of};
use crate::tags::{self, Message, Tag};

/// More history than this is not audited; a project of this size has other problems.
const HISTORY_MAX: usize = 1_000_000;
/// Lines of one file that a report repeats.
const LINES_MAX: usize = 20;
/// Files of one merge that a report goes into.
const FILES_MAX: usize = 50;
/// Longer lines are cut in reports.
const LINE_CHARACTERS_MAX: usize = 200;

/// Audits the base branch and every team's branch. `accepted`: commits that a human has looked at, whole or abbreviated.
pub fn audit(plan: &Plan, git: &Git, accepted: &[String]) -> Result<Audit, GitError> {
    let base = &plan.repository.base;
    let (base_name, base_tip) =
        stand_of(plan, git, base)?.ok_or_else(|| GitError::NoSuchBranch { branch: base.clone() })?;
    let mut auditor = Auditor {
        plan,
        git,
        look: SecondLook::open(git)?,
        base_chain: git.first_parents(&base_tip, HISTORY_MAX)?,
        seen: BTreeSet::new(),
        accepted,
    };
    let places: BTreeMap<Oid, usize> = auditor
        .base_chain
        .iter()
        .enumerate()
        .map(|(place, commit)| (commit.oid.clone(), place))
        .collect();
    // The oldest commit of the base branch from which a team set out: what was there before is none of the run's business.
    let mut oldest = None;
    let mut branches = Vec::new();
    for team in plan.teams() {
        let tips = auditor.tips_of(team)?;
        let mut chains = Vec::new();
        for (_, tip) in &tips {
            let chain = git.first_parents(tip, HISTORY_MAX)?;
            let end = chain.iter().position(|commit| places.contains_key(&commit.oid));
            oldest = oldest.max(end.and_then(|end| places.get(&chain[end].oid)).copied());
            chains.push(chain.into_iter().take(end.unwrap_or(usize::MAX)).collect::<Vec<_>>());
        }
        let mut entries = Vec::new();
        // The newest chain comes first; what an older one adds to it is older.
        for chain in chains.into_iter().rev() {
            for commit in chain.into_iter().rev() {
                auditor.on_branch(&commit, Level::Team(team), &mut entries)?;
            }
        }
        if let Some((branch, tip)) = tips.into_iter().next() {
            branches.push(BranchAudit { branch, tip, entries });
        }
    }
    let oldest_landing = auditor.base_chain.iter().rposition(is_landing);
    let audited = oldest.max(oldest_landing.map(|place| place + 1)).unwrap_or(0);
    let mut entries = Vec::new();
    for commit in auditor.base_chain[..audited].to_vec().iter().rev() {
        auditor.on_branch(commit, Level::Base, &mut entries)?;
    }
    branches.push(BranchAudit {
        branch: base_name,
        tip: base_tip,
        entries,
    });
    branches.extend(auditor.undone()?);
    Ok(Audit { branches })
}

/// The local branch, or the remote's as of the last fetch.
fn stand_of(plan: &Plan, git: &Git, branch: &BranchName) -> Result<Option<(String, Oid)>, GitError> {
    if let Some(tip) = git.tip(branch)? {
        return Ok(Some((branch.to_string(), tip)));
    }
    let remote = plan.repository.remote.as_deref().unwrap_or("origin");
    Ok(git
        .remote_tip(remote, branch)?
        .map(|tip| (format!("{remote}/{branch}"), tip)))
}

fn is_landing(commit: &CommitRecord) -> bool {
    commit.parents.len() == 2
        && matches!(
            tags::parse_subject(first_line(&commit.message)),
            Some(Ok(Tag::Merge { .. }))
        )
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

/// Whose branch is audited.
#[derive(Clone, Copy)]
enum Level<'a> {
    Team(&'a Team),
    Base,
}

struct Auditor<'a> {
    plan: &'a Plan,
    git: &'a Git,
    look: SecondLook<'a>,
    /// Newest first.
    base_chain: Vec<CommitRecord>,
    seen: BTreeSet<Oid>,
    accepted: &'a [String],
}

impl Auditor<'_> {
    /// Where a team's branch stands, and where it stood at each landing: on a fresh clone only the landings tell. The newest first.
    fn tips_of(&self, team: &Team) -> Result<Vec<(String, Oid)>, GitError> {
        let mut tips: Vec<(String, Oid)> = stand_of(self.plan, self.git, &team.branch)?.into_iter().collect();
        let subject = merge_subject(self.plan, &MergeKind::Landing(team.id.clone()));
        for commit in &self.base_chain {
            if let (true, [_, source]) = (first_line(&commit.message) == subject, commit.parents.as_slice())
                && tips.iter().all(|(_, tip)| tip != source)
            {
                tips.push((format!("{} (as it landed)", team.branch), source.clone()));
            }
        }
        Ok(tips)
    }

    /// What humans have undone is kept, and its landings have to be as good as any.
    fn undone(&mut self) -> Result<Vec<BranchAudit>, GitError> {
        let (plan, git) = (self.plan, self.git);
        let mut shared: BTreeSet<Oid> = self.base_chain.iter().map(|commit| commit.oid.clone()).collect();
        let mut branches = Vec::new();
        let teams = plan.teams().map(|team| (&team.branch, Level::Team(team)));
        // What was undone of the base branch first: branches of teams may have begun on it.
        for (branch, level) in [(&plan.repository.base, Level::Base)].into_iter().chain(teams) {
            for tip in git.undone_tips(branch)? {
                let chain = git.first_parents(&tip, HISTORY_MAX)?;
                let own: Vec<CommitRecord> = chain
                    .into_iter()
                    .take_while(|commit| !shared.contains(&commit.oid))
                    .collect();
                if let Level::Base = level {
                    shared.extend(own.iter().map(|commit| commit.oid.clone()));
                }
                let mut entries = Vec::new();
                for commit in own.iter().rev() {
                    self.on_branch(commit, level, &mut entries)?;
                }
                branches.push(BranchAudit {
                    branch: format!("{branch} (undone)"),
                    tip,
                    entries,
                });
            }
        }
        Ok(branches)
    }

    /// Audits a commit of a branch's own chain, and the merges within what it brought in.
    fn on_branch(&mut self, commit: &CommitRecord, level: Level<'_>, entries: &mut Vec<Entry>) -> Result<(), GitError> {
        if !self.seen.insert(commit.oid.clone()) {
            return Ok(());
        }
        let message = tags::parse(&commit.message);
        let mut entry = self.entry(commit, &message, EntryKind::Landing);
        let ([onto, source], Some(Ok(Tag::Merge { .. } | Tag::ConflictResolved { .. }))) =
            (commit.parents.as_slice(), &message.tag)
        else {
            entry.kind = EntryKind::Beside;
            entry.faults.push(Fault {
                code: "beside",
                sentence: "it is on the branch, and no merge of the orchestrator brought it there".to_owned(),
            });
            entries.push(entry);
            return Ok(());
        };
        for record in self
            .git
            .commits_between(source, std::slice::from_ref(onto), HISTORY_MAX)?
            .iter()
            .rev()
        {
            self.within_work(record, entries)?;
        }
        self.check_receipt(commit, &message, level, &mut entry);
        self.merge_again(commit, onto, source, &mut entry)?;
        entries.push(entry);
        Ok(())
    }

    /// Audits a merge that whoever did the work made on the way: it must not drop what a clean merge keeps.
    fn within_work(&mut self, commit: &CommitRecord, entries: &mut Vec<Entry>) -> Result<(), GitError> {
        if commit.parents.len() < 2 || !self.seen.insert(commit.oid.clone()) {
            return Ok(());
        }
        let mut entry = self.entry(commit, &tags::parse(&commit.message), EntryKind::WithinWork);
        if let [ours, theirs] = commit.parents.as_slice() {
            self.merge_again(commit, ours, theirs, &mut entry)?;
        } else {
            entry.faults.push(Fault {
                code: "octopus",
                sentence: format!("it has {} parents, so it cannot be derived again", commit.parents.len()),
            });
        }
        // Who merges cleanly and adds to it on the way has done ordinary work.
        if !entry.faults.is_empty() || !entry.settles.is_empty() {
            entries.push(entry);
        }
        Ok(())
    }

    fn entry(&self, commit: &CommitRecord, message: &Message, kind: EntryKind) -> Entry {
        Entry {
            kind,
            commit: commit.oid.clone(),
            subject: message.subject.clone(),
            engine: None,
            library_differs: false,
            settles: Vec::new(),
            vanished: Vec::new(),
            faults: Vec::new(),
            accepted: self
                .accepted
                .iter()
                .any(|accepted| commit.oid.as_str().starts_with(accepted.as_str())),
        }
    }

    fn check_receipt(&self, commit: &CommitRecord, message: &Message, level: Level<'_>, entry: &mut Entry) {
        let mut fault = |code: &'static str, sentence: String| entry.faults.push(Fault { code, sentence });
        let gate = self.expected(&message.subject, level);
        if gate.is_none() {
            fault(
                "unknown-merge",
                "the plan knows no such merge into this branch".to_owned(),
            );
        }
        let receipt = match LandedReceipt::read(message) {
            Ok(receipt) => receipt,
            Err(reason) => return fault("no-receipt", format!("it has no valid receipt: {reason}")),
        };
        if receipt.tree != commit.tree {
            fault("edited-tree", "its tree is not the one that passed the gate".to_owned());
        }
        if [&receipt.onto, &receipt.source] != [&commit.parents[0], &commit.parents[1]] {
            fault("foreign-receipt", "its receipt belongs to another merge".to_owned());
        }
        match (gate, &receipt.gate) {
            (None, _) | (Some(Gate::None), LandedGate::None) => {}
            (Some(Gate::Command(command)), LandedGate::Passed { digest, .. }) if digest == &digest_of(command) => {}
            (Some(Gate::Command(command)), LandedGate::Passed { .. }) => {
                fault(
                    "other-gate",
                    format!("it passed another gate than the plan's `{command}`"),
                );
            }
            (Some(Gate::Command(command)), LandedGate::None) => {
                fault("other-gate", format!("it passed no gate; the plan's is `{command}`"));
            }
            (Some(Gate::None), LandedGate::Passed { .. }) => {
                fault("other-gate", "it passed a gate where the plan says `none`".to_owned());
            }
        }
    }

    /// The gate of the merge with this subject, if the plan knows such a merge into the branch.
    fn expected(&self, subject: &str, level: Level<'_>) -> Option<&Gate> {
        let gates = &self.plan.gates;
        let is = |kind: MergeKind| merge_subject(self.plan, &kind) == subject;
        match level {
            Level::Base => self
                .plan
                .teams()
                .any(|team| is(MergeKind::Landing(team.id.clone())))
                .then_some(&gates.main),
            Level::Team(team) => {
                let by_agent = team.agents.iter().any(|agent| is(MergeKind::Agent(agent.id.clone())));
                let by_team = is(MergeKind::Integration(team.id.clone())) || is(MergeKind::Sync(team.id.clone()));
                // What a human has decided goes through the same gate as what an agent has made.
                let ending = format!(" into team-{}", team.id.as_str().replace('.', "-"));
                let by_human = subject
                    .strip_prefix("[MERGE] Merged decision-")
                    .and_then(|rest| rest.strip_suffix(ending.as_str()))
                    .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
                match (by_agent || by_human, by_team) {
                    (true, _) => Some(&gates.agent),
                    (false, true) => Some(&gates.team),
                    (false, false) => None,
                }
            }
        }
    }

    fn merge_again(&self, commit: &CommitRecord, ours: &Oid, theirs: &Oid, entry: &mut Entry) -> Result<(), GitError> {
        let mut fault = |code: &'static str, sentence: String| entry.faults.push(Fault { code, sentence });
        match self.look.merge(ours, theirs, &commit.tree)? {
            Remerged::Same {
                engine,
                library_differs,
            } => {
                entry.engine = Some(engine);
                entry.library_differs = library_differs;
            }
            Remerged::Unrelated => fault("unrelated", "its parents have no common history".to_owned()),
            Remerged::Different { tree } => {
                let differing = self.compare(&tree, &commit.tree, None)?;
                let lost: usize = differing.iter().map(|vanished| vanished.count).sum();
                match (entry.kind, lost) {
                    (EntryKind::WithinWork, 0) => return Ok(()),
                    (_, 0) => fault("edited-tree", "merging its parents again gives another tree".to_owned()),
                    (_, _) => fault(
                        "lost-lines",
                        format!("a clean merge of its parents keeps lines that are gone: {lost}"),
                    ),
                }
                entry.vanished = differing;
            }
            Remerged::Conflict { tree, paths } => {
                let beyond = self.compare(&tree, &commit.tree, Some(&paths))?;
                let lost: usize = beyond.iter().map(|vanished| vanished.count).sum();
                if lost > 0 {
                    fault(
                        "lost-lines",
                        format!("lines of files that are not in conflict are gone: {lost}"),
                    );
                }
                if entry.kind == EntryKind::Landing && !entry.subject.starts_with("[CONFLICT-RESOLVED]") {
                    fault(
                        "conflict",
                        format!("merging its parents conflicts in {}", paths.join(", ")),
                    );
                }
                entry.vanished = self.settled(commit, ours, theirs, &paths)?;
                entry
                    .vanished
                    .extend(beyond.into_iter().filter(|vanished| vanished.count > 0));
                entry.settles = paths;
            }
        }
        Ok(())
    }

    /// What the tree `expected` has and `found` has not, except at these paths.
    fn compare(&self, expected: &Oid, found: &Oid, except: Option<&[String]>) -> Result<Vec<Vanished>, GitError> {
        let mut differing = Vec::new();
        for difference in self.look.differences(expected, found)? {
            if except.is_some_and(|except| except.contains(&difference.path)) {
                continue;
            }
            let lines = match differing.len() < FILES_MAX {
                true => missing(
                    &self.text(difference.one.as_ref())?,
                    &self.text(difference.other.as_ref())?,
                ),
                false => Vec::new(),
            };
            differing.push(vanished(difference.path, Side::Merge, lines));
        }
        Ok(differing)
    }

    /// Lines that either side added to a conflicting file and that the resolution has not.
    fn settled(
        &self,
        commit: &CommitRecord,
        ours: &Oid,
        theirs: &Oid,
        paths: &[String],
    ) -> Result<Vec<Vanished>, GitError> {
        let base = self.git.merge_base(ours, theirs)?;
        let mut gone = Vec::new();
        for path in paths.iter().take(FILES_MAX) {
            let text_in =
                |tree: &Oid| -> Result<Vec<String>, GitError> { self.text(self.look.object_at(tree, path)?.as_ref()) };
            let before = base.as_ref().map(&text_in).transpose()?.unwrap_or_default();
            let result = text_in(&commit.oid)?;
            for (side, parent) in [(Side::Ours, ours), (Side::Theirs, theirs)] {
                let lines = missing(&missing(&text_in(parent)?, &before), &result);
                if !lines.is_empty() {
                    gone.push(vanished(path.clone(), side, lines));
                }
            }
        }
        Ok(gone)
    }

    /// The lines of a file; none for what is no text.
    fn text(&self, object: Option<&Oid>) -> Result<Vec<String>, GitError> {
        let Some(object) = object else { return Ok(Vec::new()) };
        let bytes = self.look.content(object)?.unwrap_or_default();
        if bytes.contains(&0) {
            return Ok(Vec::new());
        }
        Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
    }
}

/// Lines of `one` that `other` has fewer of, in the order of `one`. Empty lines mean nothing.
fn missing(one: &[String], other: &[String]) -> Vec<String> {
    let mut there: BTreeMap<&str, usize> = BTreeMap::new();
    for line in other {
        *there.entry(line).or_default() += 1;
    }
    let mut missing = Vec::new();
    for line in one.iter().filter(|line| !line.trim().is_empty()) {
        match there.get_mut(line.as_str()) {
            Some(count) if *count > 0 => *count -= 1,
            Some(_) | None => missing.push(line.clone()),
        }
    }
    missing
}

fn vanished(path: String, side: Side, lines: Vec<String>) -> Vanished {
    Vanished {
        path,
        side,
        count: lines.len(),
        lines: lines
            .into_iter()
            .take(LINES_MAX)
            .map(|line| line.chars().take(LINE_CHARACTERS_MAX).collect())
            .collect(),
    }
}
