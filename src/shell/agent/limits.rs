//! How many processes one agent may have: a fork bomb in a worktree must not take the machine along.
//!
//! The supervisor makes a control group for its agent where it may (cgroup v1 or v2 with the pids controller); the step before the agent's program enters it.
//! Elsewhere RLIMIT_NPROC serves, which the kernel does not apply to root.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit};

/// More processes and threads than a build with a browser has, and far fewer than hurt.
const TASKS_MAX: u64 = 4096;
/// Another number.
pub(super) const TASKS_VARIABLE: &str = "ORCHESTRATE_TASKS_MAX";
/// Tells the step before the agent's program which group it enters.
pub(super) const GROUP_VARIABLE: &str = "ORCHESTRATE_CONTROL_GROUP";

/// Groups are called so, with the supervisor's number behind it.
const NAME: &str = "orchestrate-";

/// A control group of one agent; it is removed when this is dropped, by when it is empty.
#[derive(Debug)]
pub(super) struct ControlGroup {
    directory: PathBuf,
}

pub(super) fn tasks_max() -> u64 {
    let number = std::env::var(TASKS_VARIABLE).ok().and_then(|text| text.parse().ok());
    number.filter(|number| *number > 0).unwrap_or(TASKS_MAX)
}

impl ControlGroup {
    /// Makes one below this process's own; `None` where that is not possible.
    pub(super) fn make() -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        parents(&own).into_iter().find_map(|parent| Self::below(&parent))
    }

    fn below(parent: &Path) -> Option<Self> {
        remove_stale(parent);
        let directory = parent.join(format!("{NAME}{}", std::process::id()));
        match fs::create_dir(&directory) {
            Ok(()) => {}
            // Left behind by a supervisor of the same number that was killed.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(_) => return None,
        }
        let group = Self { directory };
        // Without the controller there is no such file, and the group is of no use.
        let limit = group.directory.join("pids.max");
        (limit.exists() && fs::write(limit, tasks_max().to_string()).is_ok()).then_some(group)
    }

    /// Where processes enter.
    pub(super) fn entrance(&self) -> PathBuf {
        self.directory.join("cgroup.procs")
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // A process that hangs in the kernel keeps it; the next boot does not.
        let _ = fs::remove_dir(&self.directory);
    }
}

/// Groups of supervisors that were killed. One that is just being made belongs to a process that lives.
fn remove_stale(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix(NAME)?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // It fails while anybody is left in it.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Processes and threads of this process's user.
fn tasks_of_this_user() -> u64 {
    let user = rustix::process::getuid().as_raw();
    let count_in = |path: PathBuf| fs::read_dir(path.join("task")).map_or(0, |tasks| tasks.count() as u64);
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        })
        .filter(|entry| entry.metadata().is_ok_and(|metadata| metadata.uid() == user))
        .map(|entry| count_in(entry.path()))
        .sum()
}

/// Directories in which this process may perhaps make groups with the pids controller, by the lines of `/proc/self/cgroup`.
fn parents(own: &str) -> Vec<PathBuf> {
    own.lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            let path = path.trim_start_matches('/');
            match controllers {
                "" => Some(Path::new("/sys/fs/cgroup").join(path)),
                _ if controllers.split(',').any(|controller| controller == "pids") => {
                    Some(Path::new("/sys/fs/cgroup").join(controllers).join(path))
                }
                _ => None,
            }
        })
        .collect()
}

/// Puts this process, and whatever it becomes, under the limit. Where neither way is open the agent runs all the same.
pub(super) fn apply() {
    if let Some(entrance) = std::env::var_os(GROUP_VARIABLE)
        && fs::write(entrance, std::process::id().to_string()).is_ok()
    {
        return;
    }
    // The limit counts everything of the user, so that what there is already is added.
    let wanted = tasks_of_this_user().saturating_add(tasks_max());
    let hard = rustix::process::getrlimit(Resource::Nproc).maximum;
    let limit = hard.map_or(wanted, |hard| hard.min(wanted));
    let limit = Rlimit {
        current: Some(limit),
        maximum: Some(limit),
    };
    let _ = rustix::process::setrlimit(Resource::Nproc, limit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_looked_for_where_the_kernel_says_that_this_process_is() {
        let own = "9:name=systemd:/\n8:pids:/box\n4:memory:/box/a\n0::/user.slice/x\n";
        let expected: Vec<PathBuf> = vec!["/sys/fs/cgroup/pids/box".into(), "/sys/fs/cgroup/user.slice/x".into()];
        assert_eq!(parents(own), expected);
    }
}
