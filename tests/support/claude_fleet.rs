//! Fleets whose agents are the real Claude Code, and what their scripted model, their records and their accounts say.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

use orchestrate::shell::agent::record::{AttemptDirectory, ExitRecord, StartedRecord, read_record};
use serde_json::Value;

use crate::fleet::{Agent, Fleet, PATIENCE, Settings, Team};
use crate::support::claude::claude_program;
use crate::support::endpoint::{Endpoint, Reply, Request};

pub(crate) const ONE_AGENT: [Team; 1] = [Team {
    id: "1",
    phase_needs: &[],
    agents: &[Agent { id: "1.1", needs: &[] }],
}];

pub(crate) const TWO_AGENTS: [Team; 1] = [Team {
    id: "1",
    phase_needs: &[],
    agents: &[Agent { id: "1.1", needs: &[] }, Agent { id: "1.2", needs: &[] }],
}];

/// What the model can read about itself in the prompts of its session.
pub(crate) struct Identity {
    /// The subject that completes its work.
    pub(crate) completion: String,
    /// `[AGENT-1-1]`.
    pub(crate) tag: String,
    /// `1.1`, or `leader-1`.
    pub(crate) name: String,
    /// Files that must exist when it is done, globs made concrete.
    pub(crate) files: Vec<String>,
}

impl Identity {
    pub(crate) fn of(request: &Request) -> Self {
        let (prompt, completion) = request
            .prompts
            .iter()
            .find_map(|prompt| Some((prompt, completion_in(prompt)?)))
            .unwrap_or_else(|| panic!("no prompt says what completes the work: {:?}", request.prompts));
        let tag = completion.split_inclusive(']').next().unwrap().to_owned();
        let (kind, number) = tag
            .trim_matches(['[', ']'])
            .split_once('-')
            .expect("a tag of an agent or a team");
        let (name, directory) = match kind {
            "AGENT" => (number.replace('-', "."), format!("work/{number}")),
            _ => (format!("leader-{number}"), format!("docs/team-{number}")),
        };
        let mut files: Vec<String> = prompt
            .lines()
            .skip_while(|line| !line.starts_with("These must exist") && !line.starts_with("The team lands only"))
            .skip(1)
            .map_while(|line| line.strip_prefix("- `")?.strip_suffix('`'))
            .map(concrete)
            .collect();
        if files.is_empty() {
            files.push(format!("{directory}/part.txt"));
        }
        Self {
            completion,
            tag,
            name,
            files,
        }
    }

    /// Writes all its files and commits them with this subject.
    pub(crate) fn commit(&self, subject: &str, content: &str) -> Reply {
        let mut command = String::from("set -e\n");
        for file in &self.files {
            command.push_str(&format!(
                "install -d \"$(dirname '{file}')\"\necho '{content}' >> '{file}'\n"
            ));
        }
        command.push_str(&format!("git add -A\ngit commit -q -m '{subject}'"));
        Reply::bash(&command)
    }

    pub(crate) fn complete(&self) -> Reply {
        self.commit(&self.completion, &format!("work of {}", self.name))
    }
}

/// The line that a prompt names as the completing subject, in the shipped templates and in the small ones.
pub(crate) fn completion_in(prompt: &str) -> Option<String> {
    let rest = prompt
        .split_once("finish with: ")
        .or_else(|| prompt.split_once("Its subject is exactly"))?
        .1;
    rest.lines()
        .map(str::trim)
        .find(|line| line.starts_with('['))
        .map(str::to_owned)
}

/// A path that a glob of the shipped plan matches.
pub(crate) fn concrete(glob: &str) -> String {
    let path = glob.replace("**/*", "main").replace("**", "main.test.ts");
    path.replace('*', "main")
}

/// One commit that completes, then the end of the session.
pub(crate) fn diligent(request: &Request) -> Reply {
    match request.turn() {
        _ if !request.is_agents() => Reply::say("Work"),
        0 => Identity::of(request).complete(),
        _ => Reply::say("Everything is committed."),
    }
}

/// Whether agent 1.1 asks, whose sessions the scenarios trouble.
pub(crate) fn is_first_agents(request: &Request) -> bool {
    request.is_agents() && Identity::of(request).name == "1.1"
}

/// Whether anything that was said to the session contains this.
pub(crate) fn was_told(request: &Request, words: &str) -> bool {
    request.prompts.iter().any(|prompt| prompt.contains(words))
}

/// Lets the environment of a fleet's processes reach this endpoint, and nothing else.
pub(crate) fn connect(fleet: &mut Fleet, endpoint: &Endpoint) {
    fleet.set("ANTHROPIC_BASE_URL", endpoint.url());
    fleet.set("ANTHROPIC_API_KEY", "none");
    fleet.set("TERM", "dumb");
    fleet.set("CLAUDE_CODE_MAX_RETRIES", "1");
}

/// A small fleet whose agents are Claude Code.
pub(crate) fn claude_fleet(endpoint: &Endpoint, teams: &[Team], settings: &Settings) -> Fleet {
    let mut fleet = Fleet::new(teams, "", settings);
    rewrite_plan(
        &fleet,
        &[
            (
                "driver: command\n  command: sh tools/agent.sh",
                &format!(
                    "driver: claude\n  program: {}\n  model: opus",
                    claude_program().display()
                ),
            ),
            ("GIT_CONFIG_SYSTEM]", "GIT_CONFIG_SYSTEM, CLAUDE_CODE_MAX_RETRIES]"),
        ],
    );
    connect(&mut fleet, endpoint);
    fleet
}

/// Replaces parts of the plan, each of which must be there, and commits.
pub(crate) fn rewrite_plan(fleet: &Fleet, replacements: &[(&str, &str)]) {
    let mut plan = fs::read_to_string(fleet.repository().join("phases.yaml")).unwrap();
    for (old, new) in replacements {
        assert!(plan.contains(old), "`{old}` is not in the plan:\n{plan}");
        plan = plan.replacen(old, new, 1);
    }
    fleet.write("phases.yaml", &plan);
    fleet.git(&["add", "-A"]);
    fleet.git(&["commit", "-q", "-m", "Change the plan"]);
}

/// Agents and leaders of `status --json`.
pub(crate) fn workers(view: &Value) -> Vec<Value> {
    ["agents", "leaders"]
        .iter()
        .flat_map(|kind| view[kind].as_array().unwrap().clone())
        .collect()
}

pub(crate) fn completed(fleet: &Fleet) -> Value {
    let (status, output) = fleet.run();
    assert_eq!(status, 0, "{output}");
    let view = fleet.status();
    assert_eq!(view["run"]["state"], "complete", "{view}");
    view
}

/// What is said to be spent is what the endpoint served: tokens exactly, money to a millionth of a dollar per session.
pub(crate) fn assert_accounted(view: &Value, endpoint: &Endpoint) {
    let (served, price) = endpoint.served();
    let tokens: u64 = workers(view)
        .iter()
        .map(|worker| worker["tokens"].as_u64().unwrap())
        .sum();
    assert_eq!(tokens, served.tokens(), "{view}");
    let spent = view["run"]["spent_usd"].as_f64().unwrap() * 1e6;
    let sessions = endpoint.account().len() as f64;
    assert!(
        (spent - price).abs() <= sessions && price > 0.0,
        "{spent} against {price} of {sessions} sessions"
    );
}

/// A program that is cut off may not tell its price; what it said until then is estimated, its last words left out.
pub(crate) fn assert_nearly_accounted(view: &Value, endpoint: &Endpoint) {
    let (served, price) = endpoint.served();
    let tokens: u64 = workers(view)
        .iter()
        .map(|worker| worker["tokens"].as_u64().unwrap())
        .sum();
    let near = |told: f64, true_value: f64| (told / true_value - 1.0).abs() < 0.05;
    assert!(
        near(tokens as f64, served.tokens() as f64),
        "{tokens} of {served:?}: {view}"
    );
    let spent = view["run"]["spent_usd"].as_f64().unwrap() * 1e6;
    assert!(near(spent, price), "{spent} against {price}");
}

pub(crate) fn attempts_directory(fleet: &Fleet) -> PathBuf {
    fleet.repository().join(".git/orchestrate/attempts")
}

/// The directories of all attempts, by agent.
pub(crate) fn attempts(fleet: &Fleet) -> Vec<(String, AttemptDirectory)> {
    let listed = |directory: &Path| -> Vec<PathBuf> {
        fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
            .collect()
    };
    listed(&attempts_directory(fleet))
        .into_iter()
        .flat_map(|of_actor| {
            let name = of_actor.file_name().unwrap().to_str().unwrap().to_owned();
            listed(&of_actor)
                .into_iter()
                .map(move |path| (name.clone(), AttemptDirectory::at(path)))
        })
        .collect()
}

/// The process of an attempt of agent 1.1.
pub(crate) fn agent_pid(fleet: &Fleet, attempt: u32) -> i32 {
    let directory = AttemptDirectory::at(attempts_directory(fleet).join(format!("1.1/{attempt}")));
    let record: StartedRecord = read_record(&directory.started()).unwrap().unwrap();
    record.agent.unwrap().pid
}

/// The result lines of an attempt, as Claude Code wrote them.
pub(crate) fn results_of(directory: &AttemptDirectory) -> Vec<Value> {
    fs::read_to_string(directory.output())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["type"] == "result")
        .collect()
}

/// How many attempts lived at once, at most, by their own records.
pub(crate) fn most_alive(fleet: &Fleet) -> usize {
    let mut changes = Vec::new();
    for (name, directory) in attempts(fleet) {
        let record: ExitRecord = read_record(&directory.exit())
            .unwrap()
            .unwrap_or_else(|| panic!("{name} has not ended"));
        changes.push((record.started_ms, 1_i64));
        changes.push((record.ended_ms, -1));
    }
    // At the same instant an end counts before a start.
    changes.sort_unstable();
    let (mut alive, mut most) = (0, 0);
    for (_, change) in changes {
        alive += change;
        most = most.max(alive);
    }
    usize::try_from(most).unwrap()
}

/// Sessions of agent 1.1 that the endpoint saw.
pub(crate) fn sessions_of_first_agent(endpoint: &Endpoint) -> BTreeSet<String> {
    endpoint
        .requests()
        .iter()
        .filter(|request| is_first_agents(request))
        .filter_map(|request| request.session.clone())
        .collect()
}

/// Holds whoever comes until so many have come.
pub(crate) struct Meeting {
    wanted: usize,
    come: Mutex<BTreeSet<String>>,
    changed: Condvar,
}

impl Meeting {
    pub(crate) fn of(wanted: usize) -> Arc<Self> {
        Arc::new(Self {
            wanted,
            come: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Gives up after a while, so that a fleet that works one by one fails the test instead of hanging it.
    pub(crate) fn attend(&self, name: &str) {
        let mut come = self.come.lock().unwrap();
        come.insert(name.to_owned());
        self.changed.notify_all();
        drop(
            self.changed
                .wait_timeout_while(come, PATIENCE, |come| come.len() < self.wanted),
        );
    }

    pub(crate) fn has_taken_place(&self) -> bool {
        self.come.lock().unwrap().len() >= self.wanted
    }
}

/// The plan that the program ships with, its prompts and its specifications; only what would need Node is replaced.
pub(crate) fn shipped_fleet(endpoint: &Endpoint) -> Fleet {
    let mut fleet = Fleet::new(&[], "", &Settings::default());
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::remove_dir_all(fleet.repository().join("prompts")).unwrap();
    for part in ["phases.yaml", "prompts", "specs"] {
        copy(&top.join(part), &fleet.repository().join(part));
    }
    // No file may be empty, and whoever wrote a part must have come to its end.
    fleet.write(
        "tools/gate.sh",
        "! find . -path ./.git -prune -o -name 'main.test.ts' -type f -print0 | xargs -0 -r grep -L 'work of' | grep .\n",
    );
    rewrite_plan(
        &fleet,
        &[
            ("program: claude ", &format!("program: {} ", claude_program().display())),
            ("env: []  ", "env: [GIT_CONFIG_GLOBAL, GIT_CONFIG_SYSTEM]  "),
            (
                "setup: npm ci --prefer-offline --no-audit --no-fund\n",
                "setup: test -e phases.yaml\n",
            ),
            ("share: [node_modules] ", "share: [] "),
            ("agent: npm run check ", "agent: sh tools/gate.sh "),
            ("team: npm test ", "team: sh tools/gate.sh "),
            (
                "main: npm run check && npm test && orchestrate verify . --so-far ",
                "main: sh tools/gate.sh && test -e specs ",
            ),
        ],
    );
    connect(&mut fleet, endpoint);
    fleet
}

pub(crate) fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).unwrap();
    }
}
