//! Small systems that are broken in one way each, and the real `orchestrate verify` on them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use workerd_driver::Tools;

const CONFIG_SERVICE: &str = "infrastructure/config-service";
const IMAGE_GENERATION: &str = "workers/image-gen";

/// A Worker that answers everything with this expression.
pub(crate) fn answering(expression: &str) -> String {
    format!("export default {{ async fetch() {{ return {expression}; }} }};\n")
}

/// A place for one system and all that an examination of it writes.
pub(crate) struct System {
    directory: tempfile::TempDir,
}

impl System {
    /// Nothing yet.
    pub(crate) fn empty() -> Self {
        let system = Self {
            directory: tempfile::tempdir().expect("a directory"),
        };
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools");
        Tools::ensure(&tools, |_| {}).expect("the tools");
        for directory in ["system", "tmp", "cache"] {
            fs::create_dir(system.directory.path().join(directory)).expect("a directory");
        }
        let cache = system.directory.path().join("cache/orchestrate");
        std::os::unix::fs::symlink(tools, cache).expect("a link to the tools");
        system
    }

    /// Both Workers with the same code.
    pub(crate) fn of(code: &str) -> Self {
        let system = Self::empty();
        system.worker(CONFIG_SERVICE, code);
        system.worker(IMAGE_GENERATION, code);
        system
    }

    /// One of the Workers.
    pub(crate) fn worker(&self, folder: &str, code: &str) {
        let folder_path = self.root().join(folder);
        fs::create_dir_all(&folder_path).expect("a directory");
        let name = folder.rsplit('/').next().expect("a name");
        let configuration = format!("name = \"{name}\"\nmain = \"index.ts\"\ncompatibility_date = \"2026-04-01\"\n");
        fs::write(folder_path.join("wrangler.toml"), configuration).expect("a file");
        fs::write(folder_path.join("index.ts"), code).expect("a file");
    }

    /// The directory of the system.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("system")
    }

    /// Where the examination keeps what it writes for itself.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.directory.path().join("tmp")
    }

    /// A file beside the system.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orchestrate"));
        command
            .arg("verify")
            .args(arguments)
            .current_dir(self.root())
            .env_clear()
            .env("LANG", "C.UTF-8")
            .env("TMPDIR", self.temporary())
            .env("XDG_CACHE_HOME", self.directory.path().join("cache"));
        command
    }

    /// Examines it, to the end.
    pub(crate) fn verify(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program runs")
    }

    /// Begins to examine it.
    pub(crate) fn begin(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs")
    }

    /// Status, standard output and standard error, without paths and times.
    pub(crate) fn told(&self, output: &Output) -> String {
        let place = self.directory.path().canonicalize().expect("a directory");
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes)
                .replace(&place.display().to_string(), "PLACE")
                .replace(&self.directory.path().display().to_string(), "PLACE");
            text.split_inclusive(|character: char| character.is_whitespace())
                .map(without_chance)
                .collect::<String>()
        };
        format!(
            "status {}\n--- stdout\n{}--- stderr\n{}",
            output.status.code().unwrap_or(-1),
            text(&output.stdout),
            text(&output.stderr)
        )
    }

    /// Nothing of the examination is left: no file, no process.
    pub(crate) fn assert_nothing_left(&self) {
        let left: Vec<PathBuf> = fs::read_dir(self.temporary())
            .expect("a directory")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        assert!(left.is_empty(), "files are left: {left:?}");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            let alive = self.processes();
            if alive.is_empty() {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "processes are left: {alive:?}");
            std::thread::yield_now();
        }
    }

    /// Processes whose command line names the temporary directory: workerd is told its configuration there.
    pub(crate) fn processes(&self) -> Vec<String> {
        let place = self.temporary().display().to_string();
        fs::read_dir("/proc")
            .expect("processes")
            .flatten()
            .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
            .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
            .filter(|line| line.contains(&place))
            .collect()
    }
}

/// Seconds, the random part of a temporary directory's name, counts of requirements that grow with the specification.
fn without_chance(word: &str) -> String {
    let (bare, space) = word.split_at(word.trim_end().len());
    let is_number = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|character| character.is_ascii_digit() || character == '.')
    };
    if bare.contains('.') && is_number(bare) {
        return format!("N.N{space}");
    }
    if let Some((head, tail)) = bare.split_once("orchestrate-verify-") {
        let rest: String = tail
            .chars()
            .skip_while(|character| character.is_alphanumeric())
            .collect();
        return format!("{head}orchestrate-verify-RANDOM{rest}{space}");
    }
    if let Some((head, tail)) = word.split_once("127.0.0.1:") {
        let rest = tail.trim_start_matches(|character: char| character.is_ascii_digit());
        return format!("{head}127.0.0.1:PORT{rest}");
    }
    word.to_owned()
}
