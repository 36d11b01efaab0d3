//! An agent without a model: it commits what a finished tree holds under the actor's paths, in a few commits, like a well-behaved agent would.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Preparation, Start};
use crate::embedded;
use crate::shell::agent::environment::REPLAY_SOURCE;
use crate::shell::agent::record::{Dialect, Invocation, PoliteEnd, RECORD_VERSION, read_record, write_record};
use crate::tags::actor_tag;

/// Commits before the completing one.
const PARTS_MAX: usize = 3;

/// Why a replay cannot go on.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// A file could not be read or written.
    #[error("`{path}`")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The plan's globs are checked before a run; this is the second line of defence.
    #[error("a glob of the order is invalid")]
    Glob(#[from] globset::Error),
    /// Git said no.
    #[error("`git {arguments}` failed: {errors}")]
    Git {
        /// What was asked.
        arguments: String,
        /// What it said.
        errors: String,
    },
}

/// What a replay agent is to do; written for it into the attempt's directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayOrder {
    version: u32,
    tag: String,
    completion_line: String,
    writable: Vec<String>,
}

/// Writes the order, and gives the command line: our own program.
pub(super) fn prepare(preparation: &Preparation<'_>) -> io::Result<Start> {
    let order_file = preparation.directory.path().join("replay.json");
    let order = ReplayOrder {
        version: RECORD_VERSION,
        tag: actor_tag(&preparation.launch.actor),
        completion_line: preparation.launch.completion_line.clone(),
        writable: preparation.launch.writable.clone(),
    };
    write_record(&order_file, &order, false)?;
    Ok(Start {
        dialect: Dialect::Free,
        invocation: Invocation {
            program: None,
            arguments: vec!["replay-agent".to_owned(), order_file.display().to_string()],
            input: preparation.directory.prompt(),
        },
        fallback: None,
        set: Vec::new(),
        polite_end: PoliteEnd::Terminate,
    })
}

/// One file of the finished tree.
struct SourceFile {
    contents: Vec<u8>,
    executable: bool,
}

/// Does what the order says, in the current directory. Doing it again after an interruption commits only what is still missing.
pub fn replay(order_file: &Path) -> Result<(), ReplayError> {
    let order: ReplayOrder = read_record(order_file)
        .and_then(|order| order.ok_or_else(|| io::ErrorKind::NotFound.into()))
        .map_err(in_file(order_file))?;
    let writable = glob_set(&order.writable)?;
    let source: BTreeMap<String, SourceFile> = source_files()?
        .into_iter()
        .filter(|(path, _)| writable.is_match(path))
        .collect();

    let groups = grouped(&source);
    let count = groups.len();
    for (index, (component, paths)) in groups.iter().enumerate() {
        for path in paths {
            write_file(Path::new(path), &source[*path])?;
        }
        add(paths)?;
        // The last part goes into the completing commit.
        if index + 1 < count {
            commit_staged(&format!("{} {component}: {}", order.tag, counted(paths.len())))?;
        }
    }
    remove_surplus(&writable, &source)?;
    if is_complete(&order.completion_line)? && !anything_staged()? {
        return Ok(());
    }
    git(&["commit", "--quiet", "--allow-empty", "-m", &order.completion_line]).map(|_| ())
}

fn counted(files: usize) -> String {
    if files == 1 {
        "write 1 file".to_owned()
    } else {
        format!("write {files} files")
    }
}

/// Whether the tip is the completing commit already.
fn is_complete(completion_line: &str) -> Result<bool, ReplayError> {
    Ok(git(&["log", "-1", "--format=%s"])?.trim() == completion_line)
}

fn anything_staged() -> Result<bool, ReplayError> {
    Ok(!git(&["diff", "--cached", "--name-only"])?.trim().is_empty())
}

fn commit_staged(subject: &str) -> Result<(), ReplayError> {
    if anything_staged()? {
        git(&["commit", "--quiet", "-m", subject])?;
    }
    Ok(())
}

fn add(paths: &[&str]) -> Result<(), ReplayError> {
    // The work is ours to commit even where an ignore file of the user's would hide it.
    git(&[&["add", "--force", "--"], paths].concat()).map(|_| ())
}

/// Removes tracked files under the actor's paths that the finished tree does not hold.
fn remove_surplus(writable: &GlobSet, source: &BTreeMap<String, SourceFile>) -> Result<(), ReplayError> {
    let tracked = git(&["ls-files", "-z"])?;
    let surplus: Vec<&str> = tracked
        .split('\0')
        .filter(|path| !path.is_empty() && writable.is_match(path) && !source.contains_key(*path))
        .collect();
    if surplus.is_empty() {
        return Ok(());
    }
    git(&[&["rm", "--quiet", "--force", "--"], surplus.as_slice()].concat()).map(|_| ())
}

/// Cuts the files into at most `PARTS_MAX + 1` parts, whole directories together, the same way every time.
fn grouped(source: &BTreeMap<String, SourceFile>) -> Vec<(String, Vec<&str>)> {
    let mut by_directory: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for path in source.keys() {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        by_directory.entry(directory).or_default().push(path);
    }
    let directories: Vec<(&str, Vec<&str>)> = by_directory.into_iter().collect();
    let per_part = directories.len().div_ceil(PARTS_MAX + 1).max(1);
    directories
        .chunks(per_part)
        .map(|chunk| {
            let name = chunk[0]
                .0
                .rsplit('/')
                .next()
                .filter(|name| !name.is_empty())
                .unwrap_or("Files");
            let mut letters = name.chars();
            let component = letters
                .next()
                .map(|first| first.to_uppercase().chain(letters).collect())
                .unwrap_or_default();
            (
                component,
                chunk.iter().flat_map(|(_, paths)| paths.iter().copied()).collect(),
            )
        })
        .collect()
}

/// The finished tree: a directory named by the environment, or the one that is built in.
fn source_files() -> Result<BTreeMap<String, SourceFile>, ReplayError> {
    let Some(directory) = std::env::var_os(REPLAY_SOURCE) else {
        return Ok(embedded::files()
            .iter()
            .map(|(path, contents)| {
                (
                    (*path).to_owned(),
                    SourceFile {
                        contents: contents.to_vec(),
                        executable: embedded::is_executable(path),
                    },
                )
            })
            .collect());
    };
    let root = PathBuf::from(directory);
    let mut files = BTreeMap::new();
    let mut open = vec![root.clone()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).map_err(in_file(&directory))? {
            let path = entry.map_err(in_file(&directory))?.path();
            let metadata = fs::symlink_metadata(&path).map_err(in_file(&path))?;
            let name = path.file_name().unwrap_or_default();
            if metadata.is_dir() && name != ".git" && name != "node_modules" {
                open.push(path);
            } else if metadata.is_file() {
                let relative = path.strip_prefix(&root).unwrap_or(&path).to_string_lossy().into_owned();
                let contents = fs::read(&path).map_err(in_file(&path))?;
                files.insert(
                    relative,
                    SourceFile {
                        contents,
                        executable: metadata.permissions().mode() & 0o111 != 0,
                    },
                );
            }
        }
    }
    Ok(files)
}

fn write_file(path: &Path, file: &SourceFile) -> Result<(), ReplayError> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(in_file(directory))?;
    }
    fs::write(path, &file.contents).map_err(in_file(path))?;
    let mode = if file.executable { 0o755 } else { 0o644 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(in_file(path))
}

fn glob_set(globs: &[String]) -> Result<GlobSet, ReplayError> {
    let mut set = GlobSetBuilder::new();
    for glob in globs.iter().collect::<BTreeSet<_>>() {
        set.add(GlobBuilder::new(glob).literal_separator(true).build()?);
    }
    Ok(set.build()?)
}

/// Runs git here, and gives its output.
fn git(arguments: &[&str]) -> Result<String, ReplayError> {
    let failed = |errors: String| ReplayError::Git {
        arguments: arguments.first().copied().unwrap_or_default().to_owned(),
        errors,
    };
    let output = Command::new("git")
        .args(arguments)
        .envs(missing_identity().iter().copied())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

/// A name to commit under, for machines where git knows none. Git is asked once.
fn missing_identity() -> &'static [(&'static str, &'static str)] {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    let known = |name: &str| {
        Command::new("git")
            .args(["var", name])
            .stdin(Stdio::null())
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if *KNOWN.get_or_init(|| known("GIT_AUTHOR_IDENT") && known("GIT_COMMITTER_IDENT")) {
        return &[];
    }
    &[
        ("GIT_AUTHOR_NAME", "Replay agent"),
        ("GIT_AUTHOR_EMAIL", "replay@orchestrate.invalid"),
        ("GIT_COMMITTER_NAME", "Replay agent"),
        ("GIT_COMMITTER_EMAIL", "replay@orchestrate.invalid"),
    ]
}

fn in_file(path: &Path) -> impl FnOnce(io::Error) -> ReplayError + use<> {
    let path = path.display().to_string();
    move |source| ReplayError::File { path, source }
}
