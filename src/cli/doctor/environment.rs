//! The machine around the repository: disks, permissions, variables that mislead.

use std::path::Path;

use super::Finding;
use crate::cli::Place;
use crate::cli::context::common_directory;
use crate::shell::probe::{free_bytes, is_writable};

/// Less than this and a run soon stops.
const FREE_BYTES_MIN: u64 = 200 * 1024 * 1024;
/// Less than this and a worktree for each agent, with its dependencies, may not fit.
const FREE_BYTES_WANTED: u64 = 2 * 1024 * 1024 * 1024;

/// Variables by which git looks elsewhere than people think.
const MISLEADING: [&str; 5] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
];

/// Looks at the machine.
pub(super) fn check(place: &Place, findings: &mut Vec<Finding>) {
    if let Ok(common_directory) = common_directory(place) {
        disk("disk", &common_directory, findings);
        writable(&common_directory, "the journal lives there", findings);
    }
    let top_level = place
        .repository
        .canonicalize()
        .unwrap_or_else(|_| place.repository.clone());
    if let Some(beside) = top_level.parent() {
        writable(beside, "workspaces of the agents are made there", findings);
    }
    let misleading: Vec<&str> = MISLEADING
        .into_iter()
        .filter(|name| std::env::var_os(name).is_some())
        .collect();
    if !misleading.is_empty() {
        findings.push(Finding::doubtful(
            "environment",
            format!(
                "{} is set; orchestrate ignores it, your own git commands do not",
                misleading.join(", ")
            ),
            format!("unset {}", misleading.join(" ")),
        ));
    }
}

fn disk(subject: &'static str, directory: &Path, findings: &mut Vec<Finding>) {
    let Some(free) = free_bytes(directory) else {
        return;
    };
    let gibibytes = free as f64 / f64::from(1_u32 << 30);
    let text = format!("{gibibytes:.1} GiB free");
    let remedy = format!("make room on the disk that `df -h {}` shows", directory.display());
    findings.push(if free < FREE_BYTES_MIN {
        Finding::bad(subject, text, remedy)
    } else if free < FREE_BYTES_WANTED {
        Finding::doubtful(
            subject,
            format!("{text}: a workspace for each agent may not fit"),
            remedy,
        )
    } else {
        Finding::well(subject, text)
    });
}

fn writable(directory: &Path, why: &str, findings: &mut Vec<Finding>) {
    if !is_writable(directory) {
        findings.push(Finding::bad(
            "permissions",
            format!("`{}` cannot be written, and {why}", directory.display()),
            format!("ls -ld {} shows whose it is", directory.display()),
        ));
    }
}
