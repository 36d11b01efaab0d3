//! Real repositories in temporary directories, and the facts that tests on them share.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use orchestrate::core::command::{LandMerge, Receipt};
use orchestrate::core::event::{GateOutcome, MergeKind, Preparation};
use orchestrate::ids::{AgentId, BranchName, MergeId, Oid, Time};
use orchestrate::plan::Gate;
use orchestrate::shell::git::{Git, Landing};

/// How a repository stores refs and names objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Files,
    Reftable,
    Sha256,
}

/// A repository with its surroundings, gone at the end of the test.
pub struct Repository {
    pub format: Format,
    pub path: PathBuf,
    place: tempfile::TempDir,
}

/// Runs a test on a fresh repository of each format.
pub fn for_each_format(test: impl Fn(&Repository)) {
    for format in [Format::Files, Format::Reftable, Format::Sha256] {
        test(&Repository::new(format));
    }
}

/// Polls a fact; a fact that does not come within 20 seconds fails the test.
pub fn wait_until(what: &str, fact: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !fact() {
        assert!(Instant::now() < deadline, "{what}: not within 20 s");
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Repository {
    /// With one commit on `main`: five lines in `a`.
    pub fn new(format: Format) -> Self {
        let repository = Self::empty(format);
        repository.write("a", "one\ntwo\nthree\nfour\nfive\n");
        repository.commit("Begin");
        repository
    }

    /// Without commits.
    pub fn empty(format: Format) -> Self {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().canonicalize().unwrap().join("repository");
        std::fs::create_dir(&path).unwrap();
        let repository = Self { format, path, place };
        let kind = match format {
            Format::Files => "--object-format=sha1",
            Format::Reftable => "--ref-format=reftable",
            Format::Sha256 => "--object-format=sha256",
        };
        repository.git(&["init", "-q", "-b", "main", kind]);
        repository
    }

    pub fn open(&self) -> Git {
        Git::open(&self.path).unwrap()
    }

    /// A path next to the repository.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.path.parent().unwrap().join(name)
    }

    pub fn command(&self, directory: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        isolate(&mut command, self.place.path());
        // Maintenance in the background would still work in a directory that a test is done with.
        command.args(["-c", "maintenance.auto=false", "-c", "gc.auto=0"]);
        command.current_dir(directory).args(arguments);
        command
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        self.git_in(&self.path, arguments)
    }

    /// Runs git; exit status 1 without a word is an answer (nothing found), anything else a failure.
    pub fn git_in(&self, directory: &Path, arguments: &[&str]) -> String {
        let output = self.command(directory, arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let quiet_no = output.status.code() == Some(1) && said.is_empty() && arguments[0] == "config";
        assert!(
            output.status.success() || quiet_no,
            "git {arguments:?}: {said}{}",
            String::from_utf8_lossy(&output.stdout)
        );
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    pub fn git_bytes(&self, arguments: &[&str]) -> Vec<u8> {
        self.command(&self.path, arguments).output().unwrap().stdout
    }

    pub fn write(&self, path: &str, text: &str) {
        let file = self.path.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path.join(path)).unwrap()
    }

    /// Commits everything.
    pub fn commit(&self, message: &str) -> Oid {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        Oid::new(self.git(&["rev-parse", "HEAD"]))
    }

    pub fn commit_file(&self, path: &str, text: &str, message: &str) -> Oid {
        self.write(path, text);
        self.commit(message)
    }

    pub fn tip(&self, branch: &str) -> Oid {
        Oid::new(self.git(&["rev-parse", &format!("refs/heads/{branch}")]))
    }
}

/// Nothing of the machine's or the user's git settings, fixed people and dates.
pub fn isolate(command: &mut Command, home: &Path) {
    command
        .env("HOME", home)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env("GIT_AUTHOR_NAME", "A. Developer")
        .env("GIT_AUTHOR_EMAIL", "developer@example.org")
        .env("GIT_COMMITTER_NAME", "A. Developer")
        .env("GIT_COMMITTER_EMAIL", "developer@example.org")
        .env("GIT_AUTHOR_DATE", "2026-11-22T10:00:00Z")
        .env("GIT_COMMITTER_DATE", "2026-11-22T10:00:00Z")
        .env("LC_ALL", "C");
}

/// A merge of an agent's branch, found fit at 12:00.
pub fn landing(
    target: &str,
    onto: &Oid,
    source: &Oid,
    tree: &Oid,
    gate: Gate,
    outcome: Option<GateOutcome>,
) -> LandMerge {
    LandMerge {
        merge_id: MergeId(1),
        kind: MergeKind::Agent(AgentId::new("1.1")),
        target: BranchName::new(target),
        onto: onto.clone(),
        source: source.clone(),
        tree: tree.clone(),
        receipt: Receipt {
            run_id: "run-1".to_owned(),
            gate,
            outcome,
            duration_ms: 1234,
            at: Time(1_795_348_800_000),
        },
        subject: "[MERGE] Merged agent-1-1 into team-1".to_owned(),
    }
}

pub(crate) fn branch(name: &str) -> BranchName {
    BranchName::new(name)
}

pub(crate) fn landed(landing: Landing) -> Oid {
    match landing {
        Landing::Landed(oid) => oid,
        Landing::Refused(refusal) => panic!("refused: {refusal:?}"),
    }
}

pub(crate) fn clean(preparation: Preparation) -> (Oid, Oid) {
    match preparation {
        Preparation::Clean { tree, onto } => (tree, onto),
        other => panic!("not clean: {other:?}"),
    }
}

// Opening

/// `main` and `agent` diverge: one line of `a` on each side if `conflicting`, other files otherwise.
pub(crate) fn diverge(repository: &Repository, conflicting: bool) -> (Oid, Oid) {
    repository.git(&["checkout", "-qb", "agent"]);
    repository.write("a", "one\ntwo\nthree\nfour\nfive changed by agent\n");
    repository.write("own/new", "new\n");
    let source = repository.commit("[AGENT-1-1] Work");
    repository.git(&["checkout", "-q", "main"]);
    repository.write(
        "a",
        if conflicting {
            "one\ntwo\nthree\nfour\nfive changed by main\n"
        } else {
            "one changed\ntwo\nthree\nfour\nfive\n"
        },
    );
    (source, repository.commit("main goes on"))
}
