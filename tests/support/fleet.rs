//! A small fleet for tests: a real repository, a plan of `command` agents, and the real binary run on it with a clean environment.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "each test binary uses a part of it, and says what it expects by failing"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a test waits for a fact before it gives up. Generous: a loaded machine is not a bug.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// No run of a test's fleet takes this long, on the slowest machine either.
const HANG: Duration = Duration::from_secs(600);

/// What an agent of the fleet runs: commits one file under its own directory, then the line that completes it.
pub(crate) const DILIGENT: &str = r#"set -e
dir=$(echo "$ORCHESTRATE_AGENT" | tr . -)
[ "$ORCHESTRATE_ROLE" = agent ] && dir="work/$dir" || dir="docs/team-$dir"
mkdir -p "$dir"
echo "$ORCHESTRATE_AGENT $ORCHESTRATE_TASK" > "$dir/result.txt"
git add "$dir"
git commit -q -m "$ORCHESTRATE_COMPLETION"
"#;

/// A repository with a plan.
pub(crate) struct Fleet {
    root: tempfile::TempDir,
    environment: BTreeMap<String, String>,
}

impl Drop for Fleet {
    /// Ends whatever a failed test leaves behind: agents outlive `run` by design.
    fn drop(&mut self) {
        let mark = self.root.path().display().to_string();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            let ours = ["environ", "cmdline"].iter().any(|file| {
                fs::read(entry.path().join(file)).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(&mark))
            });
            if ours && let Some(pid) = rustix::process::Pid::from_raw(pid) {
                // It may be gone by now.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// One agent of a plan.
pub(crate) struct Agent {
    pub(crate) id: &'static str,
    pub(crate) needs: &'static [&'static str],
}

/// One team of a plan, in a phase of its own.
pub(crate) struct Team {
    pub(crate) id: &'static str,
    pub(crate) phase_needs: &'static [&'static str],
    pub(crate) agents: &'static [Agent],
}

impl Fleet {
    /// A repository whose plan has these teams. `extra` goes to the plan's top level, over the defaults.
    pub(crate) fn new(teams: &[Team], agent_script: &str, settings: &Settings) -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        let fleet = Self {
            root,
            environment: BTreeMap::new(),
        };
        fs::create_dir_all(fleet.repository()).expect("the repository's directory");
        fs::create_dir_all(fleet.root.path().join("home")).expect("an empty home");
        fleet.write("tools/agent.sh", agent_script);
        fleet.write("specs/overview.md", "# Overview\n");
        fleet.write(
            "prompts/agent.md.tera",
            "You are {{ agent.id }} on {{ agent.branch }}; finish with: {{ completion_line }}\n",
        );
        fleet.write(
            "prompts/leader.md.tera",
            "You lead {{ team.id }}; finish with: {{ completion_line }}\n",
        );
        fleet.write("phases.yaml", &plan_text(teams, settings));
        fleet.git(&["init", "-q", "-b", "main"]);
        fleet.git(&["add", "-A"]);
        fleet.git(&["commit", "-q", "-m", "Start"]);
        fleet
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.root.path().join("repository")
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// Sets a variable for everything that is run later.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.insert(name.to_owned(), value.into());
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let file = self.repository().join(path);
        fs::create_dir_all(file.parent().expect("a parent")).expect("its directory");
        fs::write(file, text).expect("the file");
    }

    fn clean(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").expect("a PATH"))
            .env("HOME", self.root.path().join("home"))
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_AUTHOR_NAME", "Test")
            .env("GIT_AUTHOR_EMAIL", "test@localhost")
            .env("GIT_COMMITTER_NAME", "Test")
            .env("GIT_COMMITTER_EMAIL", "test@localhost")
            .envs(&self.environment)
            .current_dir(self.repository());
        command
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = self.clean("git").args(arguments).output().expect("git runs");
        assert!(
            output.status.success(),
            "git {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs it to its end. One that hangs is killed and fails the test with what it said: a test that hangs tells nothing.
    pub(crate) fn orchestrate(&self, arguments: &[&str]) -> Output {
        let child = self
            .clean(env!("CARGO_BIN_EXE_orchestrate"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("orchestrate starts");
        let process_id = child.id().to_string();
        let (alive, ended) = std::sync::mpsc::channel::<()>();
        let watchdog = std::thread::spawn(move || {
            let hangs = ended.recv_timeout(HANG) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
            if hangs {
                let _ = Command::new("kill").args(["-KILL", &process_id]).status();
            }
            hangs
        });
        let output = child.wait_with_output().expect("orchestrate runs");
        drop(alive);
        assert!(
            !watchdog.join().expect("the watchdog"),
            "{arguments:?} hangs:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.clean(env!("CARGO_BIN_EXE_orchestrate"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.root.path().join("run.err")).expect("a log"))
            .spawn()
            .expect("orchestrate starts")
    }

    /// A command's exit status with everything it printed.
    pub(crate) fn said(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.orchestrate(arguments);
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        (output.status.code(), text)
    }

    /// `orchestrate run`, and its exit status with everything it printed.
    pub(crate) fn run(&self) -> (i32, String) {
        let (status, text) = self.said(&["run"]);
        (status.unwrap_or(-1), text)
    }

    /// `status --json`.
    pub(crate) fn status(&self) -> serde_json::Value {
        let output = self.orchestrate(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("status --json: {error}: {}", String::from_utf8_lossy(&output.stderr));
        })
    }

    /// The tree that a branch stands at.
    pub(crate) fn tree(&self, branch: &str) -> String {
        self.git(&["rev-parse", &format!("{branch}^{{tree}}")])
    }

    /// Runs with a human's hand that writes the file of 1.2 into the team's branch before 1.2 does, who has to wait for the file `go`; gives the exit status
    /// and what was printed.
    pub(crate) fn run_with_clash(&self) -> (Option<i32>, String) {
        let mut run = self.spawn(&["run"]);
        self.wait_for("1.1 to be merged while 1.2 works", || {
            let view = self.status();
            view["agents"][0]["state"] == "merged" && view["agents"][1]["attempts"] == 1
        });
        let scratch = self.root().join("scratch");
        self.git(&["worktree", "add", "-q", scratch.to_str().expect("a path"), "team-1"]);
        fs::create_dir_all(scratch.join("work/1-2")).expect("the directory");
        fs::write(scratch.join("work/1-2/result.txt"), "by hand\n").expect("the file");
        let in_scratch =
            |arguments: &[&str]| self.git(&[&["-C", scratch.to_str().expect("a path")], arguments].concat());
        in_scratch(&["add", "-A"]);
        in_scratch(&["commit", "-q", "-m", "A human writes the file of 1.2"]);
        self.git(&["worktree", "remove", scratch.to_str().expect("a path")]);
        fs::write(self.root().join("go"), "").expect("the signal");
        let status = run.wait().expect("the run ends").code();
        (
            status,
            fs::read_to_string(self.root().join("run.err")).unwrap_or_default(),
        )
    }

    /// Waits until something holds.
    pub(crate) fn wait_for(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "waited in vain for: {what}");
            std::thread::yield_now();
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

/// What may differ between plans of tests.
pub(crate) struct Settings {
    pub(crate) gate: String,
    pub(crate) slots: u32,
    pub(crate) max_attempts: u32,
    pub(crate) approvals: &'static str,
    pub(crate) more_agent_keys: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            gate: "test -d work".to_owned(),
            slots: 4,
            max_attempts: 3,
            approvals: "auto",
            more_agent_keys: String::new(),
        }
    }
}

fn plan_text(teams: &[Team], settings: &Settings) -> String {
    let Settings {
        gate,
        slots,
        max_attempts,
        approvals,
        more_agent_keys,
    } = settings;
    let mut text = format!(
        "version: 1\nproject: fleet\nrepository: {{ base: main }}\nspecs: specs/\nprompts: prompts/\n\
         agent:\n  driver: command\n  command: sh tools/agent.sh\n  stuck_after: 5m\n  max_attempts: {max_attempts}\n  env: [GIT_CONFIG_GLOBAL, GIT_CONFIG_SYSTEM]\n{more_agent_keys}\
         limits: {{ agents: {slots}, failures: 100 in 1h }}\n\
         gates: {{ agent: '{gate}', team: '{gate}', main: '{gate}' }}\n\
         approvals: {{ team: {approvals}, release: manual }}\nphases:\n"
    );
    for team in teams {
        let phase_needs = team.phase_needs.join(", ");
        text.push_str(&format!(
            "  - id: {id}\n    name: Phase {id}\n    needs: [{phase_needs}]\n    expected: 5m\n    teams:\n      - id: {id}\n        name: Team {id}\n        branch: team-{id}\n        leader: {{ prompt: leader.md.tera }}\n        deliverables: [docs/team-{id}/**]\n        agents:\n",
            id = team.id
        ));
        for agent in team.agents {
            let slug = agent.id.replace('.', "-");
            let needs: Vec<String> = agent.needs.iter().map(|need| format!("\"{need}\"")).collect();
            text.push_str(&format!(
                "          - id: \"{id}\"\n            name: Agent {id}\n            branch: agent-{slug}\n            needs: [{needs}]\n            prompt: agent.md.tera\n            completion: Part {id} complete\n            owns: [work/{slug}/**]\n            deliverables: [work/{slug}/**]\n",
                id = agent.id,
                needs = needs.join(", ")
            ));
        }
    }
    text
}

/// One team of two agents, the second on what the first made.
pub(crate) const ONE_TEAM: [Team; 1] = [Team {
    id: "1",
    phase_needs: &[],
    agents: &[
        Agent { id: "1.1", needs: &[] },
        Agent {
            id: "1.2",
            needs: &["1.1"],
        },
    ],
}];

/// One team of two agents that need nothing of each other.
pub(crate) const PAIR: [Team; 1] = [Team {
    id: "1",
    phase_needs: &[],
    agents: &[Agent { id: "1.1", needs: &[] }, Agent { id: "1.2", needs: &[] }],
}];

/// The seed's shape: four teams of four, phases 2 and 3 after 1, phase 4 after 1 and 2.
pub(crate) const SIXTEEN: [Team; 4] = [
    Team {
        id: "1",
        phase_needs: &[],
        agents: &[
            Agent { id: "1.1", needs: &[] },
            Agent {
                id: "1.2",
                needs: &["1.1"],
            },
            Agent {
                id: "1.3",
                needs: &["1.1", "1.2"],
            },
            Agent {
                id: "1.4",
                needs: &["1.1", "1.2", "1.3"],
            },
        ],
    },
    Team {
        id: "2",
        phase_needs: &["1"],
        agents: &[
            Agent { id: "2.1", needs: &[] },
            Agent { id: "2.2", needs: &[] },
            Agent { id: "2.3", needs: &[] },
            Agent {
                id: "2.4",
                needs: &["2.1", "2.2", "2.3"],
            },
        ],
    },
    Team {
        id: "3",
        phase_needs: &["1"],
        agents: &[
            Agent { id: "3.1", needs: &[] },
            Agent { id: "3.2", needs: &[] },
            Agent { id: "3.3", needs: &[] },
            Agent { id: "3.4", needs: &[] },
        ],
    },
    Team {
        id: "4",
        phase_needs: &["1", "2"],
        agents: &[
            Agent { id: "4.1", needs: &[] },
            Agent { id: "4.2", needs: &[] },
            Agent { id: "4.3", needs: &[] },
            Agent { id: "4.4", needs: &[] },
        ],
    },
];
