//! The checks before a release, each against git or by running it, and the release itself.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use thiserror::Error;

use crate::core;
use crate::core::State;
use crate::core::verdict::Verdict;
use crate::ids::{Oid, Time};
use crate::plan::{Gate, Plan};
use crate::proof::{Audit, Finding, ReleaseCheck, ReleaseReport};
use crate::shell::agent::lines;
use crate::shell::audit;
use crate::shell::git::{Git, GitError};
use crate::shell::journal::{JournalError, JournalReader};
use crate::shell::landed;
use crate::shell::workspace::{WorkspaceError, Workspaces};

/// The gate's worktree of a release: no run has so many gates.
const WORKTREE: usize = 999;
/// Of a failing gate so much is repeated.
const OUTPUT_BYTES_MAX: u64 = 600;
/// So many broken links are named.
const LINKS_MAX: usize = 5;

/// Why a release could not be checked or made.
#[derive(Debug, Error)]
pub enum ReleaseError {
    /// The repository.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The worktree that the gate runs in.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The base branch moved while it was checked.
    #[error("{base} moved while it was checked: from {from} to {}", to.as_ref().map_or("nowhere", Oid::as_str))]
    BaseMoved {
        /// The branch.
        base: String,
        /// Where it stood.
        from: Oid,
        /// Where it stands.
        to: Option<Oid>,
    },
    /// The gate could not be run.
    #[error("cannot {what}: {source}")]
    Gate {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// Makes every check. `accepted`: commits that a human accepts although the audit does not.
pub fn check(plan: &Plan, git: &Git, accepted: &[String]) -> Result<ReleaseReport, ReleaseError> {
    let base = &plan.repository.base;
    let commit = git
        .tip(base)?
        .ok_or_else(|| GitError::NoSuchBranch { branch: base.clone() })?;
    let verdict = landed::decide(plan, git, None)?;
    let audit = audit::audit(plan, git, accepted)?;
    let paths = git.paths(&commit)?;
    let mut checks = vec![
        ReleaseCheck {
            what: "every team has landed, every agent is merged",
            finding: landed_finding(&verdict),
        },
        ReleaseCheck {
            what: "every deliverable is there",
            finding: deliverables_finding(&verdict),
        },
        ReleaseCheck {
            what: "all changes came through gated merges",
            finding: audit_finding(plan, git, &audit, &commit)?,
        },
        ReleaseCheck {
            what: "no run is under way, no question is open",
            finding: run_finding(git)?,
        },
        ReleaseCheck {
            what: "the documentation is there and its links lead somewhere",
            finding: documentation_finding(git, &commit, &paths)?,
        },
        ReleaseCheck {
            what: "the release branch can move forward",
            finding: branch_finding(plan, git, &commit)?,
        },
        ReleaseCheck {
            what: "the release tag is free",
            finding: tag_finding(plan, git, &commit)?,
        },
    ];
    // The tests take longest: they run when everything else is known.
    checks.push(ReleaseCheck {
        what: "all tests pass",
        finding: gate_finding(plan, git, &commit)?,
    });
    for (what, how) in BY_HAND {
        checks.push(ReleaseCheck {
            what,
            finding: Finding::ByHand((*how).to_owned()),
        });
    }
    Ok(ReleaseReport {
        base: base.to_string(),
        commit,
        checks,
    })
}

/// What no program without your accounts can know.
const BY_HAND: &[(&str, &str)] = &[
    (
        "it is deployed, every instance of it",
        "deploy from this commit, and ask each instance for its health",
    ),
    (
        "it works there with real keys",
        "do what its users do, through each of its interfaces",
    ),
    ("its monitoring shows that", "look for what you have just done"),
];

/// Moves the release branch and sets the tag, if the base branch still stands where it was checked.
pub fn release(plan: &Plan, git: &Git, report: &ReleaseReport, at: Time, message: &str) -> Result<(), ReleaseError> {
    let tip = git.tip(&plan.repository.base)?;
    if tip.as_ref() != Some(&report.commit) {
        return Err(ReleaseError::BaseMoved {
            base: report.base.clone(),
            from: report.commit.clone(),
            to: tip,
        });
    }
    if let Some(branch) = &plan.repository.release_branch {
        git.fast_forward(branch, &report.commit)?;
    }
    if let Some(tag) = &plan.repository.release_tag {
        git.set_tag(tag, &report.commit, at, message)?;
    }
    Ok(())
}

fn fails(reason: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding::Fails {
        reason: reason.into(),
        remedy: remedy.into(),
    }
}

/// A deliverable's check begins so.
const DELIVERABLES: &str = "deliverables of ";

fn landed_finding(verdict: &Verdict) -> Finding {
    let missing = verdict
        .checks()
        .filter(|check| !check.what.starts_with(DELIVERABLES))
        .find_map(|check| Some((check, check.missing.as_ref()?)));
    match missing {
        None => Finding::Holds(format!("teams on {}: {}", verdict.base, verdict.teams.len())),
        Some((check, missing)) => fails(format!("{}: {}", check.what, missing.reason), missing.remedy.clone()),
    }
}

fn deliverables_finding(verdict: &Verdict) -> Finding {
    let checks: Vec<_> = verdict
        .checks()
        .filter(|check| check.what.starts_with(DELIVERABLES))
        .collect();
    match checks.iter().find_map(|check| Some((check, check.missing.as_ref()?))) {
        None => Finding::Holds(format!("sessions that had to deliver: {}", checks.len())),
        Some((check, missing)) => fails(format!("{}: {}", check.what, missing.reason), missing.remedy.clone()),
    }
}

fn audit_finding(plan: &Plan, git: &Git, audit: &Audit, commit: &Oid) -> Result<Finding, GitError> {
    if !audit.holds() {
        return Ok(fails(format!("faults: {}", audit.faults()), "orchestrate audit"));
    }
    let since = match &plan.repository.release_branch {
        Some(branch) => git.tip(branch)?.map(|tip| (branch, tip)),
        None => None,
    };
    let review = match since {
        Some((branch, tip)) if git.contains(commit, &tip)? => {
            format!("; to review: git diff {branch}..{}", plan.repository.base)
        }
        Some(_) | None => String::new(),
    };
    Ok(Finding::Holds(format!(
        "landings derived again: {}{review}",
        audit.landings()
    )))
}

/// From the journal, where there is one: a fresh clone knows of no questions.
fn run_finding(git: &Git) -> Result<Finding, JournalError> {
    let Some(reader) = JournalReader::open(git.common_dir())? else {
        return Ok(Finding::Holds("no journal here: a clone".to_owned()));
    };
    if reader.runner_alive()? {
        return Ok(fails("a run is under way", "orchestrate stop"));
    }
    let mut state = State::default();
    reader.replay(0, |record| {
        // Replay drops commands: this program only reads.
        let _ = core::apply(&mut state, record.at, &record.event);
    })?;
    let open: Vec<String> = state
        .escalations
        .iter()
        .filter(|(_, escalation)| escalation.answered.is_none())
        .map(|(id, _)| id.0.to_string())
        .collect();
    Ok(match open.first() {
        None => Finding::Holds(format!("questions asked and settled: {}", state.escalations.len())),
        Some(first) => fails(
            format!("open: question {}", open.join(", ")),
            format!("orchestrate answer {first} \"...\""),
        ),
    })
}

fn documentation_finding(git: &Git, commit: &Oid, paths: &[String]) -> Result<Finding, GitError> {
    let Some(readme) = paths.iter().find(|path| path.eq_ignore_ascii_case("readme.md")) else {
        return Ok(fails("there is no README.md", "write one"));
    };
    let known: BTreeSet<&str> = paths.iter().map(String::as_str).collect();
    let pages: Vec<&String> = paths.iter().filter(|path| is_page(path)).collect();
    let mut broken = Vec::new();
    for page in &pages {
        let text = String::from_utf8_lossy(&git.file(commit, page)?.unwrap_or_default()).into_owned();
        if *page == readme && text.trim().is_empty() {
            return Ok(fails("README.md is empty", "write it"));
        }
        for link in links_in(&text) {
            if !leads_somewhere(page, &link, &known) {
                broken.push(format!("{page}: {link}"));
            }
        }
    }
    let count = broken.len();
    broken.truncate(LINKS_MAX);
    Ok(match count {
        0 => Finding::Holds(format!("pages: {}", pages.len())),
        count => fails(
            format!("links that lead nowhere: {count} ({})", broken.join("; ")),
            "mend or remove them",
        ),
    })
}

/// A page of the project's own documentation.
fn is_page(path: &str) -> bool {
    let foreign = path.split('/').any(|part| part == "node_modules" || part == "vendor");
    path.ends_with(".md") && !foreign
}

/// Targets of Markdown links that may be files; code is no text.
fn links_in(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Every second part stands between backticks.
        for part in line.split('`').step_by(2) {
            for rest in part.split("](").skip(1) {
                let target = rest.split([')', ' ']).next().unwrap_or_default();
                let target = target.trim_matches(['<', '>']);
                let target = target.split('#').next().unwrap_or_default();
                let elsewhere = target.contains("://") || target.starts_with("mailto:") || target.starts_with('/');
                // A placeholder of a template is no link yet.
                if !target.is_empty() && !elsewhere && !target.contains(['{', '$', '*']) {
                    links.push(target.to_owned());
                }
            }
        }
    }
    links
}

fn leads_somewhere(page: &str, link: &str, known: &BTreeSet<&str>) -> bool {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return false;
                }
            }
            part => parts.push(part),
        }
    }
    let path = parts.join("/");
    let below = format!("{path}/");
    path.is_empty()
        || known.contains(path.as_str())
        || known
            .range(below.as_str()..)
            .next()
            .is_some_and(|next| next.starts_with(&below))
}

fn branch_finding(plan: &Plan, git: &Git, commit: &Oid) -> Result<Finding, GitError> {
    let Some(branch) = &plan.repository.release_branch else {
        return Ok(Finding::Holds("the plan names none".to_owned()));
    };
    Ok(match git.tip(branch)? {
        None => Finding::Holds(format!("{branch} will be made")),
        Some(tip) if &tip == commit => Finding::Holds(format!("{branch} stands there already")),
        Some(tip) if git.contains(commit, &tip)? => Finding::Holds(format!("{branch} moves forward")),
        Some(tip) => fails(
            format!(
                "{branch} stands at {}, which is not in the history of {}",
                short(&tip),
                plan.repository.base
            ),
            format!("merge {branch} into {}, through its gate", plan.repository.base),
        ),
    })
}

fn tag_finding(plan: &Plan, git: &Git, commit: &Oid) -> Result<Finding, GitError> {
    let Some(tag) = &plan.repository.release_tag else {
        return Ok(Finding::Holds("the plan names none".to_owned()));
    };
    Ok(match git.tagged(tag)? {
        None => Finding::Holds(format!("{tag} will be set")),
        Some(present) if &present == commit => Finding::Holds(format!("{tag} stands there already")),
        Some(present) => fails(
            format!("{tag} stands at {}", short(&present)),
            "set `repository.release_tag` in the plan to the next version",
        ),
    })
}

/// Runs the base branch's gate on its own tree, in a worktree of its own.
fn gate_finding(plan: &Plan, git: &Git, commit: &Oid) -> Result<Finding, ReleaseError> {
    let command = match &plan.gates.main {
        Gate::None => return Ok(fails("the plan has no gate for its base branch", "write `gates.main`")),
        Gate::Command(command) => command,
    };
    let workspaces = Workspaces::new(git, &plan.workspace);
    let worktree = workspaces.of_gate(WORKTREE);
    git.ensure_gate_worktree(&worktree, commit, &workspaces.kept_paths())?;
    workspaces.prepare(git, &worktree)?;
    let directory = git.state_dir().join("gates");
    let log = directory.join("release.log");
    let begun = Instant::now();
    let ended = std::fs::create_dir_all(&directory)
        .and_then(|()| run(command, &worktree, &log, plan.gates.timeout))
        .map_err(|source| ReleaseError::Gate {
            what: format!("run `{command}`"),
            source,
        })?;
    let whole = format!("read {}", log.display());
    Ok(match ended {
        Some(status) if status.success() => Finding::Holds(format!(
            "`{command}` on {} in {:.1} s",
            short(commit),
            begun.elapsed().as_secs_f64()
        )),
        Some(status) => {
            let output = lines::end_of_file(&log, OUTPUT_BYTES_MAX);
            fails(format!("`{command}` fails with {status}: {}", output.trim()), whole)
        }
        None => fails(
            format!("`{command}` did not end within {:?}", plan.gates.timeout),
            whole,
        ),
    })
}

/// Runs a shell command; `None` when it did not end in time, and then everything that it started is ended.
fn run(
    command: &str,
    directory: &Path,
    log: &PathBuf,
    limit: Duration,
) -> std::io::Result<Option<std::process::ExitStatus>> {
    let output = File::create(log)?;
    let errors = output.try_clone()?;
    let mut child = Command::new("sh")
        .args(["-c", command])
        .current_dir(directory)
        .envs(Git::quiet_environment())
        .env("CI", "true")
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .process_group(0)
        .spawn()?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || drop(sender.send(child.wait())));
    let status = ended.recv_timeout(limit);
    if let Some(group) = group {
        // Whatever it left running; most leave nothing.
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    status.ok().transpose()
}

fn short(oid: &Oid) -> &str {
    oid.as_str().get(..12).unwrap_or(oid.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_in_text_and_not_in_code() {
        let text = "[a](docs/a.md#part) ![b](<b.png> \"t\") `[c](c.md)`\n```\n[d](d.md)\n```\n[e](https://example.org/x) [f](#g) [h]({{ h }})\n";
        assert_eq!(links_in(text), ["docs/a.md", "b.png"]);
    }

    #[test]
    fn links_lead_to_files_and_directories_of_the_tree_alone() {
        let known: BTreeSet<&str> = ["README.md", "docs/a.md", "docs/deep/b.md"].into();
        assert!(leads_somewhere("README.md", "docs/a.md", &known));
        assert!(leads_somewhere("docs/a.md", "../README.md", &known));
        assert!(leads_somewhere("docs/a.md", "deep/", &known));
        assert!(leads_somewhere("docs/a.md", "./deep/b.md", &known));
        assert!(!leads_somewhere("docs/a.md", "README.md", &known));
        assert!(!leads_somewhere("README.md", "../README.md", &known));
        assert!(!leads_somewhere("README.md", "doc", &known));
    }
}
