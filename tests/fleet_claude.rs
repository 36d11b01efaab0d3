//! The real Claude Code in a real fleet: `orchestrate run` drives it through whole plans, and only the model behind it is a script on loopback.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

#[path = "support/fleet.rs"]
mod fleet;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use fleet::{Agent, Fleet, PATIENCE, Settings, Team};
use orchestrate::shell::agent::record::{AttemptDirectory, ExitRecord, StartedRecord, read_record};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::agents::lives;
use support::claude::claude_program;
use support::endpoint::{Endpoint, Reply, Request};

const ONE_AGENT: [Team; 1] = [Team {
    id: "1",
    phase_needs: &[],
    agents: &[Agent { id: "1.1", needs: &[] }],
}];

const TWO_AGENTS: [Team; 1] = [Team {
    id: "1",
    phase_needs: &[],
    agents: &[Agent { id: "1.1", needs: &[] }, Agent { id: "1.2", needs: &[] }],
}];

/// What the model can read about itself in the prompts of its session.
struct Identity {
    /// The subject that completes its work.
    completion: String,
    /// `[AGENT-1-1]`.
    tag: String,
    /// `1.1`, or `leader-1`.
    name: String,
    /// Files that must exist when it is done, globs made concrete.
    files: Vec<String>,
}

impl Identity {
    fn of(request: &Request) -> Self {
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
    fn commit(&self, subject: &str, content: &str) -> Reply {
        let mut command = String::from("set -e\n");
        for file in &self.files {
            command.push_str(&format!(
                "install -d \"$(dirname '{file}')\"\necho '{content}' >> '{file}'\n"
            ));
        }
        command.push_str(&format!("git add -A\ngit commit -q -m '{subject}'"));
        Reply::bash(&command)
    }

    fn complete(&self) -> Reply {
        self.commit(&self.completion, &format!("work of {}", self.name))
    }
}

/// The line that a prompt names as the completing subject, in the shipped templates and in the small ones.
fn completion_in(prompt: &str) -> Option<String> {
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
fn concrete(glob: &str) -> String {
    let path = glob.replace("**/*", "main").replace("**", "main.test.ts");
    path.replace('*', "main")
}

/// One commit that completes, then the end of the session.
fn diligent(request: &Request) -> Reply {
    match request.turn() {
        _ if !request.is_agents() => Reply::say("Work"),
        0 => Identity::of(request).complete(),
        _ => Reply::say("Everything is committed."),
    }
}

/// Whether agent 1.1 asks, whose sessions the scenarios trouble.
fn is_first_agents(request: &Request) -> bool {
    request.is_agents() && Identity::of(request).name == "1.1"
}

/// Whether anything that was said to the session contains this.
fn was_told(request: &Request, words: &str) -> bool {
    request.prompts.iter().any(|prompt| prompt.contains(words))
}

/// Lets the environment of a fleet's processes reach this endpoint, and nothing else.
fn connect(fleet: &mut Fleet, endpoint: &Endpoint) {
    fleet.set("ANTHROPIC_BASE_URL", endpoint.url());
    fleet.set("ANTHROPIC_API_KEY", "none");
    fleet.set("TERM", "dumb");
    fleet.set("CLAUDE_CODE_MAX_RETRIES", "1");
}

/// A small fleet whose agents are Claude Code.
fn claude_fleet(endpoint: &Endpoint, teams: &[Team], settings: &Settings) -> Fleet {
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
fn rewrite_plan(fleet: &Fleet, replacements: &[(&str, &str)]) {
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
fn workers(view: &Value) -> Vec<Value> {
    ["agents", "leaders"]
        .iter()
        .flat_map(|kind| view[kind].as_array().unwrap().clone())
        .collect()
}

fn completed(fleet: &Fleet) -> Value {
    let (status, output) = fleet.run();
    assert_eq!(status, 0, "{output}");
    let view = fleet.status();
    assert_eq!(view["run"]["state"], "complete", "{view}");
    view
}

/// What is said to be spent is what the endpoint served: tokens exactly, money to a millionth of a dollar per session.
fn assert_accounted(view: &Value, endpoint: &Endpoint) {
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

fn attempts_directory(fleet: &Fleet) -> PathBuf {
    fleet.repository().join(".git/orchestrate/attempts")
}

/// The directories of all attempts, by agent.
fn attempts(fleet: &Fleet) -> Vec<(String, AttemptDirectory)> {
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
fn agent_pid(fleet: &Fleet, attempt: u32) -> i32 {
    let directory = AttemptDirectory::at(attempts_directory(fleet).join(format!("1.1/{attempt}")));
    let record: StartedRecord = read_record(&directory.started()).unwrap().unwrap();
    record.agent.unwrap().pid
}

/// The result lines of an attempt, as Claude Code wrote them.
fn results_of(directory: &AttemptDirectory) -> Vec<Value> {
    fs::read_to_string(directory.output())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["type"] == "result")
        .collect()
}

/// How many attempts lived at once, at most, by their own records.
fn most_alive(fleet: &Fleet) -> usize {
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
fn sessions_of_first_agent(endpoint: &Endpoint) -> BTreeSet<String> {
    endpoint
        .requests()
        .iter()
        .filter(|request| is_first_agents(request))
        .filter_map(|request| request.session.clone())
        .collect()
}

/// Holds whoever comes until so many have come.
struct Meeting {
    wanted: usize,
    come: Mutex<BTreeSet<String>>,
    changed: Condvar,
}

impl Meeting {
    fn of(wanted: usize) -> Arc<Self> {
        Arc::new(Self {
            wanted,
            come: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Gives up after a while, so that a fleet that works one by one fails the test instead of hanging it.
    fn attend(&self, name: &str) {
        let mut come = self.come.lock().unwrap();
        come.insert(name.to_owned());
        self.changed.notify_all();
        drop(
            self.changed
                .wait_timeout_while(come, PATIENCE, |come| come.len() < self.wanted),
        );
    }

    fn has_taken_place(&self) -> bool {
        self.come.lock().unwrap().len() >= self.wanted
    }
}

/// The plan that the program ships with, its prompts and its specifications; only what would need Node is replaced.
fn shipped_fleet(endpoint: &Endpoint) -> Fleet {
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
                "main: npm run check && npm test ",
                "main: sh tools/gate.sh && test -e specs ",
            ),
        ],
    );
    connect(&mut fleet, endpoint);
    fleet
}

fn copy(from: &Path, to: &Path) {
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

#[test]
fn the_shipped_plan_is_driven_from_its_prompts_to_a_merged_main() {
    let meeting = Meeting::of(4);
    let met = Arc::clone(&meeting);
    let endpoint = Endpoint::start(move |request| {
        if !request.is_agents() {
            return Reply::say("Work");
        }
        let who = Identity::of(request);
        match request.turn() {
            0 => {
                // Phases 2 and 3 have seven agents that need nobody of their own team: four of them must live at once.
                if ["2.1", "2.2", "2.3", "3.1", "3.2", "3.3", "3.4"].contains(&who.name.as_str()) {
                    met.attend(&who.name);
                }
                who.commit(&format!("{} Files: first draft", who.tag), "draft")
            }
            1 => who.complete(),
            _ => Reply::say("Everything is committed."),
        }
    });
    let fleet = shipped_fleet(&endpoint);
    let view = completed(&fleet);

    // Everyone worked once, in a session of its own, on the merged work of those it needs.
    let sessions: BTreeMap<String, AttemptDirectory> = attempts(&fleet).into_iter().collect();
    assert_eq!(attempts(&fleet).len(), 20);
    assert_eq!(sessions.len(), 20);
    for worker in workers(&view) {
        assert_eq!(
            (&worker["state"], &worker["attempts"]),
            (&"merged".into(), &1.into()),
            "{worker}"
        );
    }
    for (needed, by) in [
        ("agent-1-1-database", "agent-1-2-config-service"),
        ("agent-1-3-auth", "agent-1-4-lookup"),
        ("team-1-infrastructure", "agent-3-4-github-actions"),
        ("agent-2-3-r2-manager", "agent-2-4-image-gen"),
        ("team-2-workers", "agent-4-1-testing-gui"),
        ("team-4-interfaces", "main"),
        ("team-3-operations", "main"),
    ] {
        fleet.git(&["merge-base", "--is-ancestor", needed, by]);
    }

    // The agents' own tool calls made the commits: two of each, tagged, with the trailers of their attempts.
    let commits = fleet.git(&[
        "log",
        "--format=%s|%(trailers:key=Orchestrate-Agent,valueonly,separator=)|%(trailers:key=Orchestrate-Attempt,valueonly,separator=)",
        "--grep=^\\[AGENT-\\|^\\[TEAM-",
        "main",
    ]);
    assert_eq!(commits.lines().count(), 40, "{commits}");
    assert!(
        commits.contains("[AGENT-2-4] Image Gen Worker deployed and tested|2.4|1"),
        "{commits}"
    );
    assert!(
        commits.contains("[TEAM-4] Phase complete: Interfaces integrated and tested|4|1"),
        "{commits}"
    );

    // 16 agents, 4 leaders and 4 teams were merged, each into a tree that its gate has passed.
    let receipts = fleet.git(&[
        "log",
        "--format=%(trailers:key=Orchestrate-Gate-Result,valueonly,separator=)",
        "--grep=^\\[MERGE\\]",
        "main",
    ]);
    assert_eq!(
        receipts.lines().filter(|line| *line == "passed").count(),
        24,
        "{receipts}"
    );
    for phase in ["1", "2", "3", "4", "main"] {
        let gate = fleet.orchestrate(&["gate", phase]);
        assert_eq!(
            gate.status.code(),
            Some(0),
            "gate {phase}: {}",
            String::from_utf8_lossy(&gate.stdout)
        );
    }
    assert_eq!(fleet.git(&["status", "--porcelain"]), "");
    assert_eq!(
        fs::read_to_string(fleet.repository().join("scripts/deploy-instance.ts")).unwrap(),
        "draft\nwork of 3.3\n"
    );

    // Together, and never more of them than the plan allows.
    assert!(meeting.has_taken_place());
    let most = most_alive(&fleet);
    assert!((4..=8).contains(&most), "{most} sessions at once");

    // The money: per session as the endpoint served it, and in all as Claude Code's own results add up.
    assert_accounted(&view, &endpoint);
    let mut told = 0.0;
    for worker in workers(&view) {
        let id = worker["id"].as_str().unwrap();
        let name = if id.contains('.') {
            id.to_owned()
        } else {
            format!("leader-{id}")
        };
        let results = results_of(&sessions[&name]);
        let result = results.last().unwrap();
        let cost = result["total_cost_usd"].as_f64().unwrap();
        let (served, price) = endpoint.served_to(result["session_id"].as_str().unwrap());
        assert_eq!(worker["tokens"].as_u64().unwrap(), served.tokens(), "{worker}");
        assert!((cost * 1e6 - price).abs() < 0.5, "{cost} against {price}");
        let spent = worker["spent_usd"].as_f64().unwrap();
        assert!((spent - cost).abs() <= 1e-6, "{worker} against {cost}");
        told += (cost * 1e6).round() / 1e6;
    }
    let spent = view["run"]["spent_usd"].as_f64().unwrap();
    assert!((spent - told).abs() < 1e-9, "{spent} against {told}");
}

#[test]
fn a_session_that_only_says_done_is_told_why_it_does_not_count_and_goes_on() {
    const REASON: &str = "the session ended without the commit that completes the work";
    let endpoint = Endpoint::start(|request| {
        if is_first_agents(request) && !was_told(request, REASON) {
            return Reply::say("Done.");
        }
        diligent(request)
    });
    let fleet = claude_fleet(&endpoint, &ONE_AGENT, &Settings::default());
    let view = completed(&fleet);
    assert_eq!(view["agents"][0]["attempts"], 2, "{view}");
    assert_eq!(sessions_of_first_agent(&endpoint).len(), 1, "the same session");
    assert_accounted(&view, &endpoint);
}

#[test]
fn wrong_tags_are_refused_with_the_right_form_which_the_agents_then_use() {
    let endpoint = Endpoint::start(|request| {
        if !request.is_agents() {
            return Reply::say("Work");
        }
        let who = Identity::of(request);
        match (who.name.as_str(), request.results.last()) {
            ("1.1", None) => who.commit("[AGENT-1-2] Part 1.2 complete", "mine"),
            ("1.2", None) => who.commit("[AGENT-1-2 Part 1.2 complete", "mine"),
            (_, Some(result)) if result.contains("the commit was refused") => {
                // The refusal itself says what to write.
                let line = result
                    .split_once("when all is done: ")
                    .unwrap()
                    .1
                    .lines()
                    .next()
                    .unwrap();
                Reply::bash(&format!("git commit -q -m '{}'", line.trim()))
            }
            _ => diligent(request),
        }
    });
    let fleet = claude_fleet(&endpoint, &TWO_AGENTS, &Settings::default());
    let view = completed(&fleet);
    assert_eq!(
        (&view["agents"][0]["attempts"], &view["agents"][1]["attempts"]),
        (&1.into(), &1.into()),
        "{view}"
    );
    let refusals: Vec<String> = endpoint
        .requests()
        .iter()
        .flat_map(|request| request.results.clone())
        .filter(|result| result.contains("the commit was refused"))
        .collect();
    assert!(
        refusals
            .iter()
            .any(|refusal| refusal.contains("this branch belongs to agent 1.1, whose tag is [AGENT-1-1]")),
        "{refusals:?}"
    );
    assert_eq!(fleet.git(&["log", "--format=%s", "team-1..agent-1-1"]), "");
    let subjects = fleet.git(&["log", "--format=%s", "--grep=^\\[AGENT", "main"]);
    let subjects: BTreeSet<&str> = subjects.lines().collect();
    assert_eq!(
        subjects,
        BTreeSet::from(["[AGENT-1-1] Part 1.1 complete", "[AGENT-1-2] Part 1.2 complete"])
    );
    assert_accounted(&view, &endpoint);
}

#[test]
fn a_denied_tool_is_named_to_the_next_attempt() {
    let endpoint = Endpoint::start(|request| {
        if is_first_agents(request) && !was_told(request, "tools were denied to it: Bash") {
            return match request.turn() {
                0 => Reply::bash("mkdir -p work/1-1"),
                _ => Reply::say("I am done."),
            };
        }
        diligent(request)
    });
    let fleet = claude_fleet(&endpoint, &ONE_AGENT, &Settings::default());
    fleet.write(
        ".claude/settings.json",
        r#"{ "permissions": { "deny": ["Bash(mkdir:*)"] } }"#,
    );
    fleet.git(&["add", "-A"]);
    fleet.git(&["commit", "-q", "-m", "Deny a command"]);
    let view = completed(&fleet);
    assert_eq!(view["agents"][0]["attempts"], 2, "{view}");
    assert_accounted(&view, &endpoint);
}

#[test]
fn turns_that_run_out_are_an_attempt_and_the_session_goes_on() {
    let endpoint = Endpoint::start(|request| {
        if is_first_agents(request) && !was_told(request, "its turns ran out") {
            return Reply::bash(&format!("echo step {}", request.turn()));
        }
        diligent(request)
    });
    let settings = Settings {
        more_agent_keys: "  max_turns: 3\n".to_owned(),
        ..Settings::default()
    };
    let fleet = claude_fleet(&endpoint, &ONE_AGENT, &settings);
    let view = completed(&fleet);
    assert_eq!(view["agents"][0]["attempts"], 2, "{view}");
    assert_eq!(sessions_of_first_agent(&endpoint).len(), 1);
    assert_accounted(&view, &endpoint);
}

#[test]
fn a_bad_key_ends_the_run_with_the_reason_and_a_mended_one_lets_it_go_on() {
    let key_is_good = Arc::new(AtomicBool::new(false));
    let good = Arc::clone(&key_is_good);
    let endpoint = Endpoint::start(move |request| {
        if good.load(Ordering::SeqCst) {
            return diligent(request);
        }
        Reply::Refuse {
            status: 401,
            kind: "authentication_error",
            retry_after_seconds: None,
        }
    });
    let fleet = claude_fleet(&endpoint, &TWO_AGENTS, &Settings::default());
    let (status, output) = fleet.run();
    assert_eq!(status, 9, "{output}");
    assert!(
        output.contains("the key or login is not valid; mend it, then run `orchestrate run` again"),
        "{output}"
    );
    assert_eq!(fleet.status()["run"]["state"], "failed");
    key_is_good.store(true, Ordering::SeqCst);
    assert_accounted(&completed(&fleet), &endpoint);
}

#[test]
fn a_usage_limit_pauses_the_whole_fleet_which_then_goes_on_without_a_lost_attempt() {
    let limit_is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&limit_is_over);
    let endpoint = Endpoint::start(move |request| {
        if over.load(Ordering::SeqCst) {
            return diligent(request);
        }
        Reply::Refuse {
            status: 429,
            kind: "rate_limit_error",
            retry_after_seconds: Some(1),
        }
    });
    // A single attempt: a refusal that counted as one would end the run.
    let settings = Settings {
        max_attempts: 1,
        ..Settings::default()
    };
    let fleet = claude_fleet(&endpoint, &TWO_AGENTS, &settings);
    let mut run = fleet.spawn(&["run"]);
    fleet.wait_for("the fleet to pause with nobody at work", || {
        let view = fleet.status();
        let reasons = view["run"]["reasons"].to_string();
        reasons.contains("usage limit") && workers(&view).iter().all(|worker| worker["alive"] == false)
    });
    limit_is_over.store(true, Ordering::SeqCst);
    assert_eq!(run.wait().unwrap().code(), Some(0), "{}", run_errors(&fleet));
    let view = fleet.status();
    for agent in view["agents"].as_array().unwrap() {
        assert_eq!(
            (&agent["state"], &agent["attempts"]),
            (&"merged".into(), &2.into()),
            "{view}"
        );
    }
    assert_accounted(&view, &endpoint);
}

fn run_errors(fleet: &Fleet) -> String {
    fs::read_to_string(fleet.root().join("run.err")).unwrap_or_default()
}

#[test]
fn a_session_that_hangs_is_stopped_as_stuck_and_continued() {
    let endpoint = Endpoint::start(|request| {
        if is_first_agents(request) && !was_told(request, "no commit and no sign of life for too long") {
            return match request.turn() {
                0 => Reply::bash("echo begun"),
                _ => Reply::Hang,
            };
        }
        diligent(request)
    });
    let fleet = claude_fleet(&endpoint, &ONE_AGENT, &Settings::default());
    rewrite_plan(&fleet, &[("stuck_after: 5m", "stuck_after: 12s")]);
    let view = completed(&fleet);
    assert_eq!(view["agents"][0]["attempts"], 2, "{view}");
    assert_eq!(sessions_of_first_agent(&endpoint).len(), 1);
    assert_accounted(&view, &endpoint);
}

#[test]
fn a_session_whose_process_is_killed_is_resumed_with_its_memory() {
    let endpoint = Endpoint::start(|request| {
        if is_first_agents(request) && !was_told(request, "was killed by signal 9") {
            return match request.turn() {
                0 => Reply::bash("echo begun"),
                _ => Reply::Hang,
            };
        }
        diligent(request)
    });
    let fleet = claude_fleet(&endpoint, &ONE_AGENT, &Settings::default());
    let mut run = fleet.spawn(&["run"]);
    fleet.wait_for("the session's second turn", || second_turn(&endpoint));
    kill(agent_pid(&fleet, 1));
    assert_eq!(run.wait().unwrap().code(), Some(0), "{}", run_errors(&fleet));
    let view = fleet.status();
    assert_eq!(view["agents"][0]["attempts"], 2, "{view}");
    assert_eq!(sessions_of_first_agent(&endpoint).len(), 1);
    let remembered = endpoint.requests().into_iter().find(|request| {
        is_first_agents(request) && was_told(request, "was killed by signal 9") && was_told(request, "You are 1.1")
    });
    assert!(remembered.is_some_and(|request| request.results_in_all >= 1));
    // A killed program never tells its price, which is estimated then; its tokens are known from the stream.
    let tokens: u64 = workers(&view)
        .iter()
        .map(|worker| worker["tokens"].as_u64().unwrap())
        .sum();
    assert_eq!(tokens, endpoint.served().0.tokens(), "{view}");
}

fn second_turn(endpoint: &Endpoint) -> bool {
    endpoint
        .requests()
        .iter()
        .any(|request| is_first_agents(request) && request.turn() == 1)
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn a_session_outlives_a_killed_run_and_is_adopted_by_the_next() {
    let meeting = Meeting::of(2);
    let met = Arc::clone(&meeting);
    let endpoint = Endpoint::start(move |request| {
        if !is_first_agents(request) {
            return diligent(request);
        }
        let who = Identity::of(request);
        match request.turn() {
            0 => Reply::bash("echo begun"),
            1 => {
                met.attend("session");
                who.complete()
            }
            _ => Reply::say("Everything is committed."),
        }
    });
    let fleet = claude_fleet(&endpoint, &ONE_AGENT, &Settings::default());
    let mut run = fleet.spawn(&["run"]);
    fleet.wait_for("the session's second turn", || second_turn(&endpoint));
    run.kill().unwrap();
    run.wait().unwrap();
    let pid = agent_pid(&fleet, 1);
    assert!(lives(pid), "the agent died with its run");
    let mut run = fleet.spawn(&["run"]);
    fleet.wait_for("the next run", || fleet.status()["run"]["alive"] == true);
    assert!(lives(pid));
    meeting.attend("run");
    assert_eq!(run.wait().unwrap().code(), Some(0), "{}", run_errors(&fleet));
    let view = fleet.status();
    assert_eq!(view["agents"][0]["attempts"], 1, "{view}");
    assert_eq!(sessions_of_first_agent(&endpoint).len(), 1);
    assert_accounted(&view, &endpoint);
}

#[test]
fn a_failing_gate_goes_back_to_the_session_that_wrote_the_work() {
    const COMPLAINT: &str = "part 1.1 lacks its last line";
    let endpoint = Endpoint::start(|request| {
        if is_first_agents(request) && request.turn() == 0 && was_told(request, COMPLAINT) {
            let who = Identity::of(request);
            return who.commit(&who.completion, "the last line");
        }
        diligent(request)
    });
    let settings = Settings {
        gate: format!("grep -q \"last line\" work/1-1/part.txt || {{ echo {COMPLAINT}; exit 1; }}"),
        ..Settings::default()
    };
    let fleet = claude_fleet(&endpoint, &ONE_AGENT, &settings);
    let view = completed(&fleet);
    assert_eq!(view["agents"][0]["attempts"], 2, "{view}");
    assert_eq!(sessions_of_first_agent(&endpoint).len(), 1);
    assert_eq!(
        fleet.git(&["show", "main:work/1-1/part.txt"]),
        "work of 1.1\nthe last line"
    );
    assert_accounted(&view, &endpoint);
}
