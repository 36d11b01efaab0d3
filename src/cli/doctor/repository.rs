//! The repository, the plan in it, and what a run has left there.

use super::Finding;
use crate::cli::Place;
use crate::cli::context::common_directory;
use crate::core::{RunStatus, State, apply, view};
use crate::ids::Time;
use crate::plan::diagnostic::Severity;
use crate::plan::{Plan, load};
use crate::report::text::plural;
use crate::shell::git::Git;
use crate::shell::journal::Journal;
use crate::shell::probe::{Answer, ask};

const GIT: &str = "git";
const REPOSITORY: &str = "repository";
const CHECKOUT: &str = "checkout";
const JOURNAL: &str = "journal";

/// Reads the plan.
pub(super) fn plan(place: &Place, findings: &mut Vec<Finding>) -> Option<Plan> {
    const PLAN: &str = "plan";
    if !place.plan_file.exists() {
        findings.push(Finding::bad(
            PLAN,
            format!("there is no `{}`", place.plan_name),
            "write one, or name yours with `--plan FILE`",
        ));
        return None;
    }
    let loaded = load(&place.plan_file, &place.plan_name);
    let errors = loaded.count(Severity::Error) + loaded.untold;
    let warnings = loaded.count(Severity::Warning);
    findings.push(match &loaded.plan {
        None => Finding::bad(
            PLAN,
            format!("{} has {}", place.plan_name, plural(errors, "error")),
            "orchestrate check",
        ),
        Some(_) if warnings > 0 => Finding::doubtful(
            PLAN,
            format!("{} is valid, with {}", place.plan_name, plural(warnings, "warning")),
            "orchestrate check",
        ),
        Some(plan) => {
            let phases = plural(plan.phases.len(), "phase");
            let teams = plural(plan.teams().count(), "team");
            let agents = plural(plan.agents().count(), "agent");
            Finding::well(PLAN, format!("{}: {phases}, {teams}, {agents}", place.plan_name))
        }
    });
    loaded.plan
}

/// The repository as git sees it.
pub(super) fn check(place: &Place, plan: Option<&Plan>, findings: &mut Vec<Finding>) {
    let git = match Git::open(&place.repository) {
        Ok(git) => git,
        Err(error) => {
            let remedy = error.hint().unwrap_or_else(|| "git status".to_owned());
            findings.push(Finding::bad(GIT, error.to_string(), remedy));
            return;
        }
    };
    if let Answer::Ended { output, .. } = ask(&place.repository, "git", &["version"]) {
        findings.push(Finding::well(GIT, output.trim_start_matches("git version ")));
    }
    match git.has_commits() {
        Ok(true) => {
            let place = git.top_level().display();
            let how = if git.reads_in_process() {
                ""
            } else {
                ", read through the git program"
            };
            findings.push(Finding::well(REPOSITORY, format!("{place}{how}")));
        }
        Ok(false) => findings.push(Finding::bad(
            REPOSITORY,
            "it has no commits, so there is nothing to start branches from",
            "git add --all && git commit -m \"Begin\"",
        )),
        Err(error) => findings.push(Finding::bad(REPOSITORY, error.to_string(), "git fsck")),
    }
    if git.is_shallow() {
        findings.push(Finding::doubtful(
            REPOSITORY,
            "it is a shallow clone: merges may lack the history that they need",
            "git fetch --unshallow",
        ));
    }
    if let Some(base) = plan.map(|plan| &plan.repository.base)
        && let Ok(None) = git.tip(base)
    {
        findings.push(Finding::bad(
            REPOSITORY,
            format!("the base branch `{base}` of the plan does not exist"),
            format!(
                "git branch {base}, or name another one as `repository.base` in {}",
                place.plan_name
            ),
        ));
    }
    checkout(place, plan, findings);
    identity(place, findings);
}

/// The user's own checkout: it is never overwritten, so it may hold a landing up.
fn checkout(place: &Place, plan: Option<&Plan>, findings: &mut Vec<Finding>) {
    let branch = match ask(
        &place.repository,
        "git",
        &["symbolic-ref", "--quiet", "--short", "HEAD"],
    ) {
        Answer::Ended { success: true, output } => Some(output),
        Answer::Ended { .. } | Answer::Missing | Answer::Silent => None,
    };
    let changed = match ask(
        &place.repository,
        "git",
        &["--no-optional-locks", "status", "--porcelain"],
    ) {
        Answer::Ended { success: true, output } => output.lines().count(),
        Answer::Ended { .. } | Answer::Missing | Answer::Silent => 0,
    };
    let moved_by_us = |name: &str| {
        plan.is_some_and(|plan| {
            plan.repository.base.as_str() == name || plan.teams().any(|team| team.branch.as_str() == name)
        })
    };
    match branch {
        None => findings.push(Finding::doubtful(
            CHECKOUT,
            "HEAD is detached: your checkout does not follow what lands",
            "git switch BRANCH, if you want it to",
        )),
        Some(branch) if changed > 0 && moved_by_us(&branch) => findings.push(Finding::doubtful(
            CHECKOUT,
            format!(
                "{} on `{branch}`: landings there wait until it is clean",
                plural(changed, "uncommitted change")
            ),
            "git stash --include-untracked, or commit them",
        )),
        Some(branch) if changed > 0 => {
            findings.push(Finding::well(
                CHECKOUT,
                format!("on `{branch}`, {}", plural(changed, "uncommitted change")),
            ));
        }
        Some(branch) => findings.push(Finding::well(CHECKOUT, format!("on `{branch}`, clean"))),
    }
}

/// Whether agents are able to commit.
fn identity(place: &Place, findings: &mut Vec<Finding>) {
    let value = |name: &str| match ask(&place.repository, "git", &["config", "--get", name]) {
        Answer::Ended { success: true, output } => Some(output),
        Answer::Ended { .. } | Answer::Missing | Answer::Silent => None,
    };
    if value("user.name").is_none() || value("user.email").is_none() {
        findings.push(Finding::doubtful(
            "identity",
            "git does not know who commits, so that an agent's commits may fail",
            "git config user.name \"NAME\" && git config user.email ADDRESS",
        ));
    }
    if value("commit.gpgsign").is_some_and(|setting| setting == "true") {
        findings.push(Finding::doubtful(
            "identity",
            "commit.gpgsign is on: an agent's commit fails or hangs when the key wants a passphrase",
            "git config commit.gpgsign false",
        ));
    }
}

/// What a run has left.
pub(super) fn journal(place: &Place, findings: &mut Vec<Finding>) {
    let Ok(common_directory) = common_directory(place) else {
        return;
    };
    let unreadable = |error: crate::shell::journal::JournalError| {
        let remedy = error.hint().unwrap_or_else(|| "orchestrate status".to_owned());
        Finding::bad(JOURNAL, error.to_string(), remedy)
    };
    let reader = match Journal::open_read_only(&common_directory) {
        Ok(Some(reader)) => reader,
        Ok(None) => {
            findings.push(Finding::well(JOURNAL, "none: no run yet"));
            return;
        }
        Err(error) => {
            findings.push(unreadable(error));
            return;
        }
    };
    // Every record is read: its digest is checked by that.
    let (mut state, mut records) = (State::default(), 0_usize);
    let read = reader.replay(1, |record| {
        records += 1;
        drop(apply(&mut state, record.at, &record.event));
    });
    let alive = match read.and_then(|()| Journal::lock_holder(&common_directory)) {
        Ok(alive) => alive,
        Err(error) => {
            findings.push(unreadable(error));
            return;
        }
    };
    let status = state
        .plan
        .as_ref()
        .map_or("not started", |plan| match view(&state, plan, Time(0)).run.status {
            RunStatus::Running if alive.is_none() => "interrupted",
            status => status.word(),
        });
    findings.push(Finding::well(
        JOURNAL,
        format!("{}, the run is {status}", plural(records, "record")),
    ));
    if let Some(holder) = alive {
        let who = holder.map(|holder| format!(": {holder}")).unwrap_or_default();
        findings.push(Finding::well("run", format!("one works on the repository{who}")));
    }
}
