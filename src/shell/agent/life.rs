//! Signs of life that no output gives: processor time of an agent's processes. One look at `/proc` serves all agents.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::processes::{ProcessTree, all_processes};

/// Less processor time than this share of the interval is the idling of a runtime, not work.
const WORKING_SHARE_PERCENT: u64 = 2;

/// Processor time of the agents under watch, by supervisor.
#[derive(Debug, Default)]
pub(super) struct LifeSigns {
    agents: Mutex<BTreeMap<i32, LifeSign>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct LifeSign {
    cpu_ticks: u64,
    worked: bool,
}

impl LifeSigns {
    /// Starts watching the processes below this supervisor.
    pub(super) fn watch(&self, supervisor_pid: i32) {
        self.agents().insert(supervisor_pid, LifeSign::default());
    }

    /// Ends it.
    pub(super) fn forget(&self, supervisor_pid: i32) {
        self.agents().remove(&supervisor_pid);
    }

    /// Whether nobody is watched.
    pub(super) fn is_empty(&self) -> bool {
        self.agents().is_empty()
    }

    /// Whether the processes have worked since the last question.
    pub(super) fn take_worked(&self, supervisor_pid: i32) -> bool {
        self.agents()
            .get_mut(&supervisor_pid)
            .is_some_and(|sign| std::mem::take(&mut sign.worked))
    }

    /// Looks at all processes once. Blocks for some milliseconds.
    pub(super) fn look(&self, interval: std::time::Duration) {
        let ticks_per_second = rustix::param::clock_ticks_per_second();
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        let threshold = (interval_ms.saturating_mul(ticks_per_second) / 1_000 * WORKING_SHARE_PERCENT / 100).max(1);
        let processes = all_processes();
        let tree = ProcessTree::new(&processes);
        for (&supervisor_pid, sign) in self.agents().iter_mut() {
            let cpu_ticks = tree.cpu_ticks_below(supervisor_pid);
            // The sum falls when a process ends that nobody has waited for yet: an end is a sign of life too.
            sign.worked |= cpu_ticks.abs_diff(sign.cpu_ticks) >= threshold;
            sign.cpu_ticks = cpu_ticks;
        }
    }

    fn agents(&self) -> std::sync::MutexGuard<'_, BTreeMap<i32, LifeSign>> {
        // The map is whole after every statement, so a panic elsewhere leaves nothing half done.
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
