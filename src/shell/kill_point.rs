//! Named points at which a test may have this process killed: before and after every effect, and around every sync to the disk.
//!
//! They exist in debug builds alone, which is what tests run; a release build holds nothing of this. `ORCHESTRATE_KILL_AT=name` or `name:3` (the third time
//! in a process) sends SIGKILL to the process that gets there; with `ORCHESTRATE_KILL_ONCE=FILE` only the first process that gets there, because supervisors
//! inherit the wish. `ORCHESTRATE_KILL_LOG=FILE` has every point noted as it is reached, so that a sweep knows them all.

#[cfg(debug_assertions)]
pub(crate) use armed::reached;

/// A point is reached: nothing happens in a release build.
#[cfg(not(debug_assertions))]
pub(crate) fn reached(_name: &str) {}

#[cfg(debug_assertions)]
mod armed {
    use std::collections::BTreeMap;
    use std::fs::OpenOptions;
    use std::io::Write as _;
    use std::path::PathBuf;
    use std::sync::{Mutex, OnceLock, PoisonError};

    /// What the environment asks for.
    struct Wish {
        /// A point, and which time it is reached.
        at: Option<(String, u32)>,
        once: Option<PathBuf>,
        log: Option<PathBuf>,
        times: Mutex<BTreeMap<String, u32>>,
    }

    static WISH: OnceLock<Option<Wish>> = OnceLock::new();

    fn read() -> Option<Wish> {
        let at = std::env::var("ORCHESTRATE_KILL_AT").ok().map(|text| {
            let (name, time) = text.split_once(':').unwrap_or((&text, "1"));
            (name.to_owned(), time.parse().unwrap_or(1))
        });
        let file = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let log = file("ORCHESTRATE_KILL_LOG");
        (at.is_some() || log.is_some()).then(|| Wish {
            at,
            once: file("ORCHESTRATE_KILL_ONCE"),
            log,
            times: Mutex::default(),
        })
    }

    /// A point is reached.
    pub(crate) fn reached(name: &str) {
        let Some(wish) = WISH.get_or_init(read) else { return };
        if let Some(log) = &wish.log {
            // One short write to the end of a file is not torn.
            let file = OpenOptions::new().append(true).create(true).open(log);
            let _ = file.and_then(|mut file| file.write_all(format!("{name}\n").as_bytes()));
        }
        let Some((wanted, time)) = &wish.at else { return };
        if wanted != name {
            return;
        }
        let mut times = wish.times.lock().unwrap_or_else(PoisonError::into_inner);
        let reached = times.entry(name.to_owned()).or_default();
        *reached += 1;
        if *reached != *time {
            return;
        }
        let first = |file: &PathBuf| OpenOptions::new().write(true).create_new(true).open(file).is_ok();
        if wish.once.as_ref().is_none_or(first) {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            // Nothing else of this process happens, however slow the signal is.
            loop {
                std::thread::park();
            }
        }
    }
}
