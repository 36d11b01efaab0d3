//! `cargo xtask planted`: bugs that were planted by hand must turn the tests red. A bug that survives asks for a new fault in the simulated world.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::project;

/// Seeds per planted bug, as many as the tests run every time: a bug that needs more is too well hidden.
const SEEDS: &str = "2000";
/// A planted bug that hangs the tests is caught as well.
const TIME_LIMIT: Duration = Duration::from_secs(600);
/// The core and its simulation are copied without the rest: they need none of it, and so little builds in seconds.
const PARTS: &[&str] = &[
    "Cargo.lock",
    "src/core",
    "src/ids.rs",
    "src/tags.rs",
    "src/plan/model.rs",
    "tests/sim",
];

/// The copy's manifest. That the core builds with this little is a proof of its own.
const MANIFEST: &str = r#"[package]
name = "orchestrate"
version = "0.1.0"
edition = "2024"

[dependencies]
serde = { version = "1", features = ["derive"] }
thiserror = "2"

[profile.dev]
opt-level = 1
debug = "line-tables-only"

[workspace]
"#;

const LIBRARY: &str = "//! The core alone.\n\npub mod core;\npub mod ids;\npub mod plan;\npub mod tags;\n";

const PLAN: &str = "//! The plan's model alone.\n\npub mod model;\n\npub use model::*;\n";

/// Where a copy's tests print to.
const LOG: &str = "output.txt";

struct Planted {
    name: String,
    about: String,
    patch: PathBuf,
}

/// How the tests took a tree.
enum Verdict {
    Green,
    /// With the first word of what went wrong.
    Red(String),
    /// The tree does not compile, or the patch does not apply: that proves nothing.
    Unfit(String),
}

pub(crate) fn run(names: &[String]) -> Result<(), String> {
    let project = project::directory()?;
    let planted = read_planted(&project.join("tests/planted"), names)?;
    // The same place each time, so that cargo can use what it built before.
    let place = std::env::temp_dir().join("orchestrate-planted");
    // What is tested is the project as it is now, whatever happens to it meanwhile.
    let (original, copy) = (place.join("original"), place.join("copy"));
    copy_core(&project, &original)?;
    copy_tree(&original, &copy).map_err(|error| format!("{}: {error}", copy.display()))?;
    println!("{:<34} {:<8} {:>6}  by", "planted", "caught", "time");
    match tested(&copy) {
        Verdict::Green => {}
        Verdict::Red(why) | Verdict::Unfit(why) => {
            return Err(format!("nothing is planted yet, and the tests fail: {why}"));
        }
    }
    let mut survivors = Vec::new();
    for bug in &planted {
        let started = Instant::now();
        let verdict = match apply(&copy, &bug.patch) {
            Ok(()) => tested(&copy),
            Err(error) => Verdict::Unfit(error),
        };
        let seconds = started.elapsed().as_secs();
        let (caught, by) = match &verdict {
            Verdict::Green => ("NO", format!("nothing; {}", bug.about)),
            Verdict::Red(by) => ("yes", by.clone()),
            Verdict::Unfit(why) => ("UNFIT", why.clone()),
        };
        println!("{:<34} {caught:<8} {seconds:>4} s  {by}", bug.name);
        if !matches!(verdict, Verdict::Red(_)) {
            survivors.push(bug.name.clone());
        }
        copy_tree(&original, &copy).map_err(|error| format!("{}: {error}", copy.display()))?;
    }
    if survivors.is_empty() {
        println!("{} of {} planted bugs are caught", planted.len(), planted.len());
        Ok(())
    } else {
        Err(format!("not caught: {}", survivors.join(", ")))
    }
}

fn read_planted(directory: &Path, names: &[String]) -> Result<Vec<Planted>, String> {
    let entries = fs::read_dir(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut planted = Vec::new();
    for entry in entries {
        let patch = entry
            .map_err(|error| format!("{}: {error}", directory.display()))?
            .path();
        if patch.extension().is_none_or(|extension| extension != "patch") {
            continue;
        }
        let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !names.is_empty() && !names.contains(&name) {
            continue;
        }
        let text = fs::read_to_string(&patch).map_err(|error| format!("{}: {error}", patch.display()))?;
        let Some(about) = text.lines().next().and_then(|line| line.strip_prefix("# ")) else {
            return Err(format!(
                "{}: the first line must be `# ` and what the bug is",
                patch.display()
            ));
        };
        planted.push(Planted {
            name,
            about: about.to_owned(),
            patch,
        });
    }
    planted.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(planted)
}

/// Copies the core and its simulation, with what they need to be built alone.
pub(crate) fn copy_core(project: &Path, copy: &Path) -> Result<(), String> {
    for part in PARTS {
        copy_tree(&project.join(part), &copy.join(part)).map_err(|error| format!("copying {part}: {error}"))?;
    }
    for (file, content) in [
        ("Cargo.toml", MANIFEST),
        ("src/lib.rs", LIBRARY),
        ("src/plan/mod.rs", PLAN),
    ] {
        let file = copy.join(file);
        fs::write(&file, content).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

/// Makes `to` equal to `from`; files that are equal already keep their time, so that cargo need not build them again.
fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    if from.is_file() {
        let content = fs::read(from)?;
        if fs::read(to).is_ok_and(|present| present == content) {
            return Ok(());
        }
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        return fs::write(to, content);
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(to)? {
        let present = entry?;
        let is_built = present.file_name() == "target" || present.file_name() == LOG;
        if !is_built && !from.join(present.file_name()).exists() {
            remove(&present.path())?;
        }
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy_tree(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

fn remove(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

fn apply(copy: &Path, patch: &Path) -> Result<(), String> {
    let mut git = Command::new("git");
    git.current_dir(copy)
        .args(["apply", "--whitespace=nowarn"])
        .arg(patch)
        // The copy is no repository, and must not be taken for a part of one.
        .env("GIT_CEILING_DIRECTORIES", copy.parent().unwrap_or(copy));
    project::output_of(&mut git).map(|_| ())
}

/// The simulation first, then the tests beside the code.
fn tested(copy: &Path) -> Verdict {
    for (what, arguments, mark) in [
        ("sim", ["--test", "sim"].as_slice(), "seed "),
        ("lib", ["--lib"].as_slice(), "test "),
    ] {
        match cargo_test(copy, arguments) {
            Ok((true, _)) => {}
            Ok((false, words)) if words.contains("could not compile") => {
                return Verdict::Unfit(first_line(&words, "error"));
            }
            Ok((false, words)) => return Verdict::Red(format!("{what}: {}", first_line(&words, mark))),
            Err(error) => return Verdict::Red(format!("{what}: {error}")),
        }
    }
    Verdict::Green
}

fn first_line(words: &str, start: &str) -> String {
    let line = words
        .lines()
        .find(|line| line.starts_with(start) && !line.ends_with("ok"))
        .unwrap_or("it fails");
    line.chars().take(110).collect()
}

/// Whether the tests pass, and what they print.
fn cargo_test(copy: &Path, arguments: &[&str]) -> Result<(bool, String), String> {
    let log = copy.join(LOG);
    let file = fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let errors = file.try_clone().map_err(|error| error.to_string())?;
    let mut child = project::cargo()
        .current_dir(copy)
        .arg("test")
        .args(arguments)
        .env("CARGO_TARGET_DIR", copy.join("target"))
        .env("SIM_SEEDS", SEEDS)
        .env("RUST_BACKTRACE", "0")
        .env_remove("CARGO_MANIFEST_DIR")
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map_err(|error| format!("cargo: {error}"))?;
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            let words = fs::read(&log).map_err(|error| error.to_string())?;
            return Ok((status.success(), String::from_utf8_lossy(&words).into_owned()));
        }
        if started.elapsed() > TIME_LIMIT {
            // Cargo's own child is the one that hangs: the whole group ends.
            let group = format!("-{}", child.id());
            project::output_of(Command::new("kill").args(["-KILL", "--", &group]))?;
            child.wait().map_err(|error| error.to_string())?;
            return Err(format!("no end after {} s", TIME_LIMIT.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
