//! Copies of the generated system that may be spoiled, and `orchestrate verify` on them: what the chores share that ask whether verify bites.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::project;

/// No examination takes longer; one that does has found something that hangs.
const TIME_LIMIT: Duration = Duration::from_secs(300);

/// What tools make, and what no check looks at.
const LEFT_OUT: [&str; 4] = ["node_modules", "coverage", "dist", ".wrangler"];

#[derive(Deserialize)]
struct Requirements {
    requirement: Vec<Requirement>,
}

/// What verify checks, of `specs/requirements.toml`.
#[derive(Deserialize)]
pub(crate) struct Requirement {
    id: String,
    pub(crate) level: String,
    /// The sections of verify that look at it.
    #[serde(default)]
    pub(crate) checks: Vec<String>,
}

/// Every requirement by its id.
pub(crate) fn requirements(project: &Path) -> Result<BTreeMap<String, Requirement>, String> {
    let file = project.join("specs/requirements.toml");
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let parsed: Requirements = toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(parsed
        .requirement
        .into_iter()
        .map(|requirement| (requirement.id.clone(), requirement))
        .collect())
}

/// How an examination ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Every check passed.
    Nothing,
    /// A check failed: its name and what it says.
    Difference(String),
    /// What no MUST forbids differs, and is reported apart.
    Unbound(String),
    /// It could not be examined, which proves nothing.
    Unfit(String),
}

/// A copy of the generated system in a directory of its own.
pub(crate) struct Copy {
    program: PathBuf,
    root: PathBuf,
    /// Every section that some requirement is looked at by.
    sections: BTreeSet<String>,
}

impl Copy {
    /// Makes copy number `number` equal to what the project holds, for `program` to examine.
    pub(crate) fn make(project: &Path, program: &Program, number: usize) -> Result<Self, String> {
        let root = std::env::temp_dir()
            .join("orchestrate-bite")
            .join(format!("{}-{number}", std::process::id()));
        let original = project.join("generated");
        copy_tree(&original, &root).map_err(|error| format!("{}: {error}", root.display()))?;
        let modules = original.join("node_modules");
        if !modules.is_dir() {
            return Err("the generated system has no packages; run `npm ci` in generated/ first".to_owned());
        }
        let link = root.join("node_modules");
        if !link.exists() {
            std::os::unix::fs::symlink(&modules, &link).map_err(|error| format!("{}: {error}", link.display()))?;
        }
        let requirements = requirements(project)?;
        Ok(Self {
            program: program.path().to_path_buf(),
            root,
            sections: requirements
                .into_values()
                .flat_map(|requirement| requirement.checks)
                .collect(),
        })
    }

    /// Examines the copy by the sections that are not among these.
    pub(crate) fn examine_by_others(&self, sections: &[String]) -> Result<Seen, String> {
        let others = self.sections.iter().filter(|section| !sections.contains(section));
        self.examine(&others.cloned().collect::<Vec<_>>())
    }

    /// The text of a file of the copy.
    pub(crate) fn read(&self, file: &str) -> Result<String, String> {
        let path = self.root.join(file);
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Puts another text in the place of a file's.
    pub(crate) fn write(&self, file: &str, text: &str) -> Result<(), String> {
        let path = self.root.join(file);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Examines the copy, to its first failure: these sections, or all of them if there are none.
    pub(crate) fn examine(&self, sections: &[String]) -> Result<Seen, String> {
        let program = &self.program;
        let log = self.root.with_extension("log");
        let output = fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let errors = output.try_clone().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.arg("verify").arg(&self.root).arg("--fail-fast");
        for section in sections {
            command.args(["--section", section]);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
                break status;
            }
            if began.elapsed() > TIME_LIMIT {
                // The runtime that it started ends with its group.
                let group = format!("-{}", child.id());
                project::output_of(Command::new("kill").args(["-KILL", "--", &group]))?;
                child.wait().map_err(|error| error.to_string())?;
                return Ok(Seen::Difference(format!("no end after {} s", TIME_LIMIT.as_secs())));
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let words = fs::read(&log).map_err(|error| error.to_string())?;
        let words = String::from_utf8_lossy(&words);
        let first = words
            .lines()
            .map(|line| line.trim_start_matches('\r'))
            .find(|line| line.starts_with('✗'))
            .or_else(|| words.lines().find(|line| !line.trim().is_empty()))
            .unwrap_or_default();
        let short = |line: &str| -> String { line.chars().take(160).collect() };
        let first = short(first.trim_start_matches("✗ "));
        let unbound = words.lines().find_map(|line| line.strip_prefix("! unspecified: "));
        Ok(match status.code() {
            Some(0) => unbound.map_or(Seen::Nothing, |line| Seen::Unbound(short(line))),
            Some(5) => Seen::Difference(first),
            code => Seen::Unfit(format!("exit status {code:?}: {first}")),
        })
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // What stays behind lies in the temporary directory, and is overwritten by nobody.
        let _ = fs::remove_dir_all(&self.root);
        let _ = fs::remove_file(self.root.with_extension("log"));
    }
}

/// The program that examines, put aside: whoever builds meanwhile does not change what a long run measures.
pub(crate) struct Program {
    directory: PathBuf,
    path: PathBuf,
}

impl Program {
    /// Builds it.
    pub(crate) fn build(project: &Path) -> Result<Self, String> {
        let mut cargo = project::cargo();
        cargo
            .current_dir(project)
            .args(["build", "--quiet", "--package", "orchestrate", "--bin", "orchestrate"])
            .env_remove("CARGO_MANIFEST_DIR");
        let status = cargo.status().map_err(|error| format!("cargo: {error}"))?;
        if !status.success() {
            return Err("orchestrate does not build".to_owned());
        }
        let directory = std::env::temp_dir().join(format!("orchestrate-bite-program-{}", std::process::id()));
        let path = directory.join("orchestrate");
        fs::create_dir_all(&directory)
            .and_then(|()| fs::copy(built(project).join("orchestrate"), &path))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { directory, path })
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // What stays behind lies in the temporary directory, under a name of its own.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Where cargo leaves what it builds, and where results are kept.
pub(crate) fn built(project: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| project.join("target"), PathBuf::from)
        .join("debug")
}

fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if LEFT_OUT.iter().any(|left_out| name == *left_out) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&entry.path(), &to.join(&name))?;
        } else if kind.is_file() {
            fs::copy(entry.path(), to.join(&name))?;
        }
    }
    Ok(())
}
