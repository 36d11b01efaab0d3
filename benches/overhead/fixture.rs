//! Temporary repositories with generated plans, and programs run on them with a clean environment.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Commits one file under its own directory with the line that completes it; a sleep before it is added by whoever needs one.
pub(crate) const INSTANT_AGENT: &str = r#"set -e
dir=$(echo "$ORCHESTRATE_AGENT" | tr . -)
if [ "$ORCHESTRATE_ROLE" = agent ]; then dir="work/$dir"; else dir="docs/team-$dir"; fi
mkdir -p "$dir"
echo "$ORCHESTRATE_AGENT $ORCHESTRATE_TASK" > "$dir/result.txt"
git add "$dir"
git commit -q -m "$ORCHESTRATE_COMPLETION"
"#;

/// One phase with one or more teams of agents.
pub(crate) struct Phase {
    pub(crate) needs: Vec<usize>,
    pub(crate) teams: usize,
    /// What each agent of a team needs, as numbers within the team.
    pub(crate) agents: Vec<Vec<usize>>,
}

/// A plan to be written.
pub(crate) struct Shape {
    pub(crate) phases: Vec<Phase>,
    pub(crate) slots: usize,
}

impl Shape {
    /// Four teams of four: a chain, then 2 and 3, then 4, as in the shipped plan.
    pub(crate) fn seed(slots: usize) -> Self {
        let phase = |needs: &[usize], agents: &[&[usize]]| Phase {
            needs: needs.to_vec(),
            teams: 1,
            agents: agents.iter().map(|needs| needs.to_vec()).collect(),
        };
        Self {
            phases: vec![
                phase(&[], &[&[], &[1], &[1, 2], &[1, 2, 3]]),
                phase(&[1], &[&[], &[], &[], &[1, 2, 3]]),
                phase(&[1], &[&[], &[], &[], &[]]),
                phase(&[1, 2], &[&[], &[], &[], &[]]),
            ],
            slots,
        }
    }

    /// Phases one after the other, of one team each, whose agents need nothing of each other.
    pub(crate) fn barriers(phases: usize, agents: usize, slots: usize) -> Self {
        let phase = |number: usize| Phase {
            needs: if number == 1 { Vec::new() } else { vec![number - 1] },
            teams: 1,
            agents: vec![Vec::new(); agents],
        };
        Self {
            phases: (1..=phases).map(phase).collect(),
            slots,
        }
    }

    /// One phase of teams whose agents need nothing.
    pub(crate) fn wide(teams: usize, agents: usize, slots: usize) -> Self {
        Self {
            phases: vec![Phase {
                needs: Vec::new(),
                teams,
                agents: vec![Vec::new(); agents],
            }],
            slots,
        }
    }

    fn text(&self) -> String {
        let mut text = format!(
            "version: 1\nproject: overhead\nrepository: {{ base: main }}\nspecs: specs/\nprompts: prompts/\n\
             agent:\n  driver: command\n  command: sh tools/agent.sh\n  stuck_after: 60m\n  max_attempts: 3\n  \
             env: [GIT_CONFIG_GLOBAL, GIT_CONFIG_SYSTEM]\nlimits: {{ agents: {}, failures: 100 in 1h }}\n\
             gates: {{ agent: none, team: none, main: none }}\napprovals: {{ team: auto, release: manual }}\nphases:\n",
            self.slots
        );
        let mut team_id = 0;
        for (phase, number) in self.phases.iter().zip(1..) {
            let needs: Vec<String> = phase.needs.iter().map(usize::to_string).collect();
            let needs = needs.join(", ");
            let _ = writeln!(
                text,
                "  - id: {number}\n    name: Phase {number}\n    needs: [{needs}]\n    expected: 5m\n    teams:"
            );
            for _ in 0..phase.teams {
                team_id += 1;
                let _ = writeln!(
                    text,
                    "      - id: {team_id}\n        name: Team {team_id}\n        branch: team-{team_id}\n        \
                     leader: {{ prompt: leader.md.tera }}\n        deliverables: [docs/team-{team_id}/**]\n        agents:"
                );
                for (needs, agent) in phase.agents.iter().zip(1..) {
                    let needs: Vec<String> = needs.iter().map(|need| format!("\"{team_id}.{need}\"")).collect();
                    let needs = needs.join(", ");
                    let (id, slug) = (format!("{team_id}.{agent}"), format!("{team_id}-{agent}"));
                    let _ = writeln!(
                        text,
                        "          - id: \"{id}\"\n            name: Agent {id}\n            branch: agent-{slug}\n            \
                         needs: [{needs}]\n            prompt: agent.md.tera\n            completion: Part {id} complete\n            \
                         owns: [work/{slug}/**]\n            deliverables: [work/{slug}/**]"
                    );
                }
            }
        }
        text
    }
}

/// A temporary repository with a plan.
pub(crate) struct Fixture {
    root: tempfile::TempDir,
}

impl Drop for Fixture {
    /// Ends whatever is left: agents outlive `run` by design.
    fn drop(&mut self) {
        for pid in self.processes() {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                // It may be gone by now.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

impl Fixture {
    /// The plan's files and no repository.
    pub(crate) fn plan_only(shape: &Shape) -> Self {
        let root = tempfile::Builder::new()
            .prefix("overhead-")
            .tempdir()
            .expect("a temporary directory");
        let fixture = Self { root };
        fs::create_dir_all(fixture.root.path().join("home")).expect("an empty home");
        fixture.write("specs/overview.md", "# Overview\n");
        fixture.write(
            "prompts/agent.md.tera",
            "You are {{ agent.id }} on {{ agent.branch }}; finish with: {{ completion_line }}\n",
        );
        fixture.write(
            "prompts/leader.md.tera",
            "You lead {{ team.id }}; finish with: {{ completion_line }}\n",
        );
        fixture.write("phases.yaml", &shape.text());
        fixture
    }

    /// A repository whose plan's agents run this script.
    pub(crate) fn new(shape: &Shape, agent_script: &str) -> Self {
        let fixture = Self::plan_only(shape);
        fixture.write("tools/agent.sh", agent_script);
        fixture.git(&["init", "-q", "-b", "main"]);
        fixture.git(&["add", "-A"]);
        fixture.git(&["commit", "-q", "-m", "Start"]);
        fixture
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.root.path().join("repository")
    }

    pub(crate) fn git_directory(&self) -> PathBuf {
        self.repository().join(".git")
    }

    pub(crate) fn plan(&self) -> orchestrate::plan::Plan {
        let loaded = orchestrate::plan::load(&self.repository().join("phases.yaml"), "phases.yaml");
        loaded.plan.expect("the generated plan is valid")
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let file = self.repository().join(path);
        fs::create_dir_all(file.parent().expect("a parent")).expect("its directory");
        fs::write(file, text).expect("the file");
    }

    /// A program in the repository, with a cleared environment.
    pub(crate) fn program(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").expect("a PATH"))
            .env("HOME", self.root.path().join("home"))
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_AUTHOR_NAME", "Bench")
            .env("GIT_AUTHOR_EMAIL", "bench@localhost")
            .env("GIT_COMMITTER_NAME", "Bench")
            .env("GIT_COMMITTER_EMAIL", "bench@localhost")
            .current_dir(self.repository())
            .stdin(Stdio::null());
        command
    }

    /// The program just built, or another one to compare with.
    pub(crate) fn orchestrate(&self) -> Command {
        let other = std::env::var_os("OVERHEAD_PROGRAM");
        self.program(other.unwrap_or_else(|| env!("CARGO_BIN_EXE_orchestrate").into()))
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        self.output(self.program("git").args(arguments))
    }

    /// Runs something that must succeed, and gives what it printed.
    pub(crate) fn output(&self, command: &mut Command) -> String {
        let output = command.output().expect("the program starts");
        assert!(
            output.status.success(),
            "{command:?}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// `orchestrate run` to its end, which must be a good one.
    pub(crate) fn run(&self) {
        self.output(self.orchestrate().arg("run"));
    }

    /// `orchestrate run` in the background.
    pub(crate) fn start(&self) -> Child {
        let log = fs::File::create(self.root.path().join("run.log")).expect("a log");
        self.orchestrate()
            .arg("run")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("orchestrate starts")
    }

    /// Processes that carry this fixture's directory in their environment.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let mark = self.root.path().display().to_string();
        fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| {
                fs::read(entry.path().join("environ"))
                    .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(&mark))
            })
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect()
    }
}

/// Waits until something holds.
pub(crate) fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A number from the environment, or the usual one.
pub(crate) fn setting(name: &str, usual: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usual)
}
