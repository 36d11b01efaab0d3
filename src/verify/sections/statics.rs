//! Section static: files that must be there and say what they must. What a file only claims is proven elsewhere; here is what no request shows.

mod configuration;
mod documentation;
mod files;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::verify::check::{Check, Section};
use crate::verify::lab::{Failed, Lab, Outcome};

/// What tools make, or what a person's editor leaves.
const MADE_BY_TOOLS: [&str; 5] = ["node_modules", "coverage", "dist", "target", "build"];

/// A larger file is no source.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// More files are not read: whoever has more has something in there that is no source.
const FILES_MAX: usize = 20_000;

/// The checks of this section.
pub(super) fn checks() -> Vec<Check> {
    let mut checks = files::checks();
    checks.extend(configuration::checks());
    checks.extend(documentation::checks());
    checks
}

fn check(name: &str, requirements: &[&'static str], look: fn(&Sources) -> Outcome) -> Check {
    Check::new(Section::Static, name, requirements, async move |lab: &mut Lab| {
        let root = lab.root.as_ref().ok_or(Failed::NotApplicable)?;
        look(&Sources::below(root))
    })
}

/// The texts below a directory, by their paths from there.
struct Sources {
    root: PathBuf,
    texts: BTreeMap<String, String>,
}

impl Sources {
    fn below(root: &Path) -> Self {
        let mut sources = Self {
            root: root.to_path_buf(),
            texts: BTreeMap::new(),
        };
        sources.read(root);
        sources
    }

    fn read(&mut self, directory: &Path) {
        let Ok(entries) = std::fs::read_dir(directory) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(kind) = entry.file_type() else { continue };
            if self.texts.len() >= FILES_MAX {
                return;
            }
            if kind.is_dir() {
                let is_hidden = name.starts_with('.') && name != ".github";
                if !is_hidden && !MADE_BY_TOOLS.contains(&name.as_str()) {
                    self.read(&entry.path());
                }
                continue;
            }
            let is_source = entry.metadata().is_ok_and(|data| data.len() <= FILE_BYTES_MAX);
            let path = entry.path();
            if kind.is_file()
                && is_source
                && let Ok(text) = std::fs::read_to_string(&path)
                && let Ok(relative) = path.strip_prefix(&self.root)
            {
                self.texts.insert(relative.to_string_lossy().into_owned(), text);
            }
        }
    }

    /// The text of a file that must be there.
    fn file(&self, path: &str) -> Outcome<&str> {
        self.texts
            .get(path)
            .map(String::as_str)
            .ok_or_else(|| Failed::Difference(format!("there is no file {path}")))
    }

    /// Files whose paths begin so.
    fn below_path<'sources>(
        &'sources self,
        start: &'sources str,
    ) -> impl Iterator<Item = (&'sources str, &'sources str)> {
        self.texts
            .iter()
            .filter(move |(path, _)| path.starts_with(start))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Demands each word somewhere below a path, in whatever case; of words with `|` between them, one.
    fn mention(&self, start: &str, words: &[&str]) -> Outcome {
        let texts: Vec<String> = self.below_path(start).map(|(_, text)| text.to_lowercase()).collect();
        if texts.is_empty() {
            return Err(Failed::Difference(format!("there is nothing below {start}")));
        }
        for word in words {
            let is_there = word
                .split('|')
                .any(|one| texts.iter().any(|text| text.contains(&one.to_lowercase())));
            if !is_there {
                return Err(Failed::Difference(format!("nothing below {start} mentions {word}")));
            }
        }
        Ok(())
    }
}

fn require(holds: bool, what: impl Into<String>) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(Failed::Difference(what.into()))
    }
}
