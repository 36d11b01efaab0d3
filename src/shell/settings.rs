//! Notices changed settings of the repository: what git reads from its configuration and hooks is nobody's work, and an agent that changes it reaches everybody.
//!
//! Whoever changed them, a human or an agent, is not to be told apart, so they stay as they are: nothing that lands depends on them. What they were when the
//! run began is kept, so that a human can compare and put back.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Files of the common git directory that git reads settings from.
const FILES: [&str; 3] = ["config", "info/attributes", "info/exclude"];
/// Larger ones are no settings.
const BYTES_MAX: u64 = 1024 * 1024;
/// Where they are kept, within the orchestrator's own directory.
const KEPT: &str = "settings";

/// What the settings were at the last look.
pub struct SettingsWatch {
    common_dir: PathBuf,
    kept: PathBuf,
    known: BTreeMap<PathBuf, Vec<u8>>,
}

impl SettingsWatch {
    /// Keeps a copy of what they are when a run begins. A run that goes on compares with that copy: agents live on while no `run` does.
    pub fn start(common_dir: &Path, state_dir: &Path, is_new: bool) -> Self {
        let kept = state_dir.join(KEPT);
        let known = match is_new || !kept.is_dir() {
            true => read(common_dir),
            false => read(&kept),
        };
        if let Err(error) = keep(&kept, &known) {
            tracing::warn!(
                "the repository's settings could not be kept in {}: {error}",
                kept.display()
            );
        }
        Self {
            common_dir: common_dir.to_path_buf(),
            kept,
            known,
        }
    }

    /// Tells what changed since the last look.
    pub fn look(&mut self) {
        let now = read(&self.common_dir);
        if now == self.known {
            return;
        }
        let names = self.known.keys().chain(now.keys());
        let mut changed: Vec<&PathBuf> = names.filter(|name| self.known.get(*name) != now.get(*name)).collect();
        changed.sort();
        changed.dedup();
        for name in changed {
            let (file, kept) = (self.common_dir.join(name), self.kept.join(name));
            let next = match self.known.contains_key(name) {
                true => format!("compare it with `diff {} {}`", kept.display(), file.display()),
                false => format!("it is new; look at {}", file.display()),
            };
            tracing::warn!(
                "the repository's `{}` was changed since the run began, and nothing that lands depends on it; {next}",
                name.display()
            );
        }
        self.known = now;
    }
}

/// The files that are there, by their names in the common git directory. One that can't be read counts as none.
fn read(common_dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut names: Vec<PathBuf> = FILES.iter().map(PathBuf::from).collect();
    if let Ok(hooks) = fs::read_dir(common_dir.join("hooks")) {
        let hooks = hooks.flatten().map(|hook| Path::new("hooks").join(hook.file_name()));
        names.extend(hooks.filter(|name| name.extension().is_none_or(|extension| extension != "sample")));
    }
    names
        .into_iter()
        .filter_map(|name| {
            let file = common_dir.join(&name);
            // Looked at before it is read: an agent may have put a pipe there, which nobody ever writes to.
            let is_small = fs::metadata(&file).is_ok_and(|found| found.is_file() && found.len() <= BYTES_MAX);
            if !is_small {
                return None;
            }
            Some((name, fs::read(&file).ok()?))
        })
        .collect()
}

/// Replaces what was kept of an earlier run.
fn keep(kept: &Path, known: &BTreeMap<PathBuf, Vec<u8>>) -> io::Result<()> {
    match fs::remove_dir_all(kept) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    for (name, content) in known {
        let copy = kept.join(name);
        if let Some(parent) = copy.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(copy, content)?;
    }
    Ok(())
}
