//! Processes as `/proc` shows them, and signals that cannot hit the wrong one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal};

use super::record::ProcessIdentity;

/// What one line of `/proc/PID/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Its number.
    pub pid: i32,
    /// `Z` for a zombie.
    pub state: u8,
    /// Its parent's number.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// Its session.
    pub session: i32,
    /// Processor time of itself and of children that it has waited for, in clock ticks.
    pub cpu_ticks: u64,
    /// Clock ticks from boot to its start.
    pub start_ticks: u64,
}

impl ProcessFacts {
    /// Number and start together.
    pub fn identity(&self) -> ProcessIdentity {
        ProcessIdentity {
            pid: self.pid,
            start_ticks: self.start_ticks,
        }
    }

    /// Reads the facts of one process; `None` when it is gone.
    pub fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Reads a line of `/proc/PID/stat`. The name in it may hold spaces and brackets, so the last bracket counts.
    fn parse(line: &[u8]) -> Option<Self> {
        let line = String::from_utf8_lossy(line);
        let (head, tail) = line.rsplit_once(')')?;
        let pid = head.split_once(' ')?.0.parse().ok()?;
        let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
        // Field 3 of proc(5) is `fields[0]`.
        let number = |index: usize| fields.get(index - 3).and_then(|field| field.parse::<i64>().ok());
        let ticks: u64 = [14, 15, 16, 17]
            .into_iter()
            .filter_map(number)
            .map(i64::unsigned_abs)
            .sum();
        Some(Self {
            pid,
            state: *fields.first()?.as_bytes().first()?,
            parent: i32::try_from(number(4)?).ok()?,
            group: i32::try_from(number(5)?).ok()?,
            session: i32::try_from(number(6)?).ok()?,
            cpu_ticks: ticks,
            start_ticks: number(22)?.unsigned_abs(),
        })
    }
}

/// All processes of this moment, by number.
pub fn all_processes() -> BTreeMap<i32, ProcessFacts> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return BTreeMap::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(ProcessFacts::of)
        .map(|facts| (facts.pid, facts))
        .collect()
}

/// Who is whose child.
#[derive(Debug)]
pub struct ProcessTree<'a> {
    processes: &'a BTreeMap<i32, ProcessFacts>,
    children: BTreeMap<i32, Vec<i32>>,
}

impl<'a> ProcessTree<'a> {
    /// Sorts processes by their parents.
    pub fn new(processes: &'a BTreeMap<i32, ProcessFacts>) -> Self {
        let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for facts in processes.values() {
            children.entry(facts.parent).or_default().push(facts.pid);
        }
        Self { processes, children }
    }

    /// The numbers of everything below `ancestor`, itself not included.
    pub fn below(&self, ancestor: i32) -> BTreeSet<i32> {
        let mut found = BTreeSet::new();
        let mut open = vec![ancestor];
        while let Some(pid) = open.pop() {
            open.extend(
                self.children
                    .get(&pid)
                    .into_iter()
                    .flatten()
                    .copied()
                    .filter(|&child| found.insert(child)),
            );
        }
        found
    }

    /// Processor time of everything below `ancestor`, in clock ticks.
    pub fn cpu_ticks_below(&self, ancestor: i32) -> u64 {
        self.below(ancestor)
            .iter()
            .filter_map(|pid| self.processes.get(pid))
            .map(|facts| facts.cpu_ticks)
            .sum()
    }
}

/// Which boot of the machine this is.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Whether the environment that a process was started with holds all of these `NAME=value` texts.
pub fn environment_holds(pid: i32, wanted: &[String]) -> bool {
    // Every process holds all of nothing; a record without names must not make victims of them.
    if wanted.is_empty() {
        return false;
    }
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else {
        return false;
    };
    let held: BTreeSet<&[u8]> = environment.split(|&byte| byte == 0).collect();
    wanted.iter().all(|text| held.contains(text.as_bytes()))
}

/// A handle on a process that stays right when its number is used again.
#[derive(Debug)]
pub struct ProcessHandle {
    descriptor: OwnedFd,
}

impl ProcessHandle {
    /// Takes hold of a process; `None` when it is gone, or its number belongs to another one by now.
    pub fn open(identity: ProcessIdentity) -> Option<Self> {
        let descriptor = rustix::process::pidfd_open(Pid::from_raw(identity.pid)?, PidfdFlags::NONBLOCK).ok()?;
        // The order matters: what the descriptor points at cannot change any more, so the check afterwards holds for it.
        let facts = ProcessFacts::of(identity.pid)?;
        (facts.start_ticks == identity.start_ticks).then_some(Self { descriptor })
    }

    /// Sends a signal to exactly this process.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        rustix::process::pidfd_send_signal(&self.descriptor, signal).map_err(Into::into)
    }

    /// Becomes readable when the process is gone.
    pub fn into_descriptor(self) -> OwnedFd {
        self.descriptor
    }
}

/// Kills every process of `victims` that is still the same, and says how many signals arrived.
pub fn kill_all(victims: &[ProcessIdentity]) -> u32 {
    let killed = victims
        .iter()
        .filter_map(|identity| ProcessHandle::open(*identity))
        .filter(|handle| handle.signal(Signal::KILL).is_ok())
        .count();
    u32::try_from(killed).unwrap_or(u32::MAX)
}

/// Kills every process that was started with all of these `NAME=value` texts in its environment, whatever group it has moved to.
///
/// A process may fork while it is looked for: it is looked again until nobody is found, a bounded number of times.
pub fn kill_marked(marks: &[String]) {
    for _ in 0..20 {
        let victims: Vec<ProcessIdentity> = all_processes()
            .values()
            .filter(|facts| facts.state != b'Z' && environment_holds(facts.pid, marks))
            .map(ProcessFacts::identity)
            .collect();
        if kill_all(&victims) == 0 {
            return;
        }
    }
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "a test says what it expects by failing")]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_may_hold_brackets_and_spaces() {
        let line = b"42 (a) b) (c) S 7 42 9 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 1 0 777 1 2 3";
        let facts = ProcessFacts::parse(line).expect("well formed");
        assert_eq!(
            facts,
            ProcessFacts {
                pid: 42,
                state: b'S',
                parent: 7,
                group: 42,
                session: 9,
                cpu_ticks: 100,
                start_ticks: 777
            }
        );
    }

    #[test]
    fn a_handle_is_refused_for_a_number_that_was_used_again() {
        let own = ProcessFacts::of(i32::try_from(std::process::id()).expect("small"))
            .expect("alive")
            .identity();
        assert!(ProcessHandle::open(own).is_some());
        assert!(
            ProcessHandle::open(ProcessIdentity {
                start_ticks: own.start_ticks + 1,
                ..own
            })
            .is_none()
        );
    }
}
