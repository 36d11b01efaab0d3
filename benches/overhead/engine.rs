//! (a) 16 no-op tasks in 4 phases of 4: the core and the journal, synced to the disk at every transition, against make, ninja and a bare shell.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Command as Process, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};

use orchestrate::core::command::{Command, RunOutcome, StartAgent};
use orchestrate::core::event::{AgentExit, CommitFact, Event, Preparation, RULES, Usage};
use orchestrate::core::{self, State};
use orchestrate::ids::{BranchName, Oid};
use orchestrate::plan::Plan;
use orchestrate::shell::clock;
use orchestrate::shell::journal::Journal;

use crate::figures::{Samples, Table};
use crate::fixture::{Fixture, Shape, setting};

const GOAL_MS: f64 = 100.0;

pub(crate) fn measure(table: &mut Table) {
    let rounds = setting("OVERHEAD_ROUNDS", 15);
    let fixture = Fixture::plan_only(&Shape::barriers(4, 4, 4));
    let plan = fixture.plan();
    fixture.write("Makefile", &makefile());
    fixture.write("build.ninja", &ninja_file());
    let floor = "for phase in 1 2 3 4; do for task in 1 2 3 4; do /bin/true & done; wait; done";
    let mut peers: Vec<(&str, Vec<&str>, Samples)> = vec![
        ("GNU make -j4", vec!["make", "-s", "-j4"], Samples::default()),
        ("ninja -j4", vec!["ninja", "--quiet", "-j4"], Samples::default()),
        (
            "floor: bash, fork and wait",
            vec!["bash", "-c", floor],
            Samples::default(),
        ),
    ];
    peers.retain(|(name, command, _)| {
        let present = fixture.program(command[0]).arg("--version").output().is_ok();
        if !present {
            let package = if command[0] == "ninja" {
                "ninja-build"
            } else {
                command[0]
            };
            table.note(
                "a",
                format!("{name} is not here; it comes with: apt-get install {package}"),
            );
        }
        present
    });
    let mut ours = Samples::default();
    let mut transitions = 0;
    // The first round only warms up.
    for round in 0..=rounds {
        let mut sample = Samples::default();
        transitions = sample.time(|| run_engine(&plan));
        if round > 0 {
            ours.add(sample.median());
        }
        for (_, command, samples) in &mut peers {
            let mut sample = Samples::default();
            sample.time(|| fixture.output(fixture.program(command[0]).args(&command[1..])));
            if round > 0 {
                samples.add(sample.median());
            }
        }
    }
    table.ours(
        "a",
        &format!("our engine, {transitions} synced transitions, 20 processes"),
        &ours,
        "ms",
        GOAL_MS,
    );
    for (name, _, samples) in &peers {
        table.peer("a", &format!("{name}, 16 processes"), samples, "ms");
    }
}

fn makefile() -> String {
    let mut text = ".PHONY: all\nall: p4\n".to_owned();
    for phase in 1..=4 {
        let tasks: Vec<String> = (1..=4).map(|task| format!("t{phase}-{task}")).collect();
        let before = if phase == 1 {
            String::new()
        } else {
            format!("p{}", phase - 1)
        };
        let _ = writeln!(text, ".PHONY: p{phase} {0}\np{phase}: {0}", tasks.join(" "));
        for task in tasks {
            let _ = writeln!(text, "{task}: {before}\n\t@/bin/true");
        }
    }
    text
}

fn ninja_file() -> String {
    let mut text = "rule noop\n  command = /bin/true\n".to_owned();
    for phase in 1..=4 {
        let tasks: Vec<String> = (1..=4).map(|task| format!("t{phase}-{task}")).collect();
        let before = if phase == 1 {
            String::new()
        } else {
            format!(" p{}", phase - 1)
        };
        for task in &tasks {
            let _ = writeln!(text, "build {task}: noop{before}");
        }
        let _ = writeln!(text, "build p{phase}: phony {}", tasks.join(" "));
    }
    text.push_str("default p4\n");
    text
}

/// Runs the plan on a fresh journal, and says how many times it was synced.
fn run_engine(plan: &Plan) -> usize {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (mut journal, _lock) = Journal::open_for_run(directory.path(), clock::now()).expect("a journal");
    let (sender, events) = channel();
    let mut world = World {
        plan,
        tips: BTreeMap::from([(plan.repository.base.clone(), number(0))]),
        made: 0,
        sender,
    };
    let mut state = State::default();
    let mut batch = vec![Event::RunStarted {
        run_id: "overhead".to_owned(),
        plan: Box::new(plan.clone()),
        only_teams: Vec::new(),
        rules: RULES,
    }];
    let mut transitions = 0;
    loop {
        let at = clock::now();
        journal.append(at, &batch).expect("the journal takes it");
        transitions += 1;
        let mut commands = Vec::new();
        for event in &batch {
            commands.extend(core::apply(&mut state, at, event));
            core::check(&state).expect("the invariants hold");
        }
        for command in commands {
            if let Command::FinishRun { outcome } = command {
                assert_eq!(outcome, RunOutcome::Complete);
                return transitions;
            }
            world.perform(command);
        }
        batch = next_batch(&events);
    }
}

/// Whatever there is, at least one.
fn next_batch(events: &Receiver<Event>) -> Vec<Event> {
    let mut batch = vec![events.recv().expect("the plan goes on")];
    batch.extend(events.try_iter());
    batch
}

fn number(value: usize) -> Oid {
    Oid::new(format!("{value:040x}"))
}

/// Answers commands without git: its branches are names and its commits numbers. Its processes are real.
struct World<'a> {
    plan: &'a Plan,
    tips: BTreeMap<BranchName, Oid>,
    made: usize,
    sender: Sender<Event>,
}

impl World<'_> {
    fn fresh(&mut self) -> Oid {
        self.made += 1;
        number(self.made)
    }

    fn tip(&self, branch: &BranchName) -> Oid {
        self.tips.get(branch).cloned().expect("the branch exists")
    }

    fn tell(&self, event: Event) {
        self.sender.send(event).expect("the loop listens");
    }

    fn perform(&mut self, command: Command) {
        match command {
            Command::CreateTeamBranch { branch, base } => {
                let tip = self.tip(&base);
                self.tips.insert(branch.clone(), tip.clone());
                self.tell(Event::BranchCreated { branch, tip });
            }
            Command::CreateActorBranch { branch, at, .. } => {
                self.tips.insert(branch.clone(), at.clone());
                self.tell(Event::BranchCreated { branch, tip: at });
            }
            Command::StartAgent(start) => self.start(start),
            Command::PrepareMerge { merge_id, target, .. } => {
                let outcome = Preparation::Clean {
                    tree: self.fresh(),
                    onto: self.tip(&target),
                };
                self.tell(Event::MergePrepared { merge_id, outcome });
            }
            Command::LandMerge(land) => {
                let commit = self.fresh();
                self.tips.insert(land.target, commit.clone());
                self.tell(Event::MergeLanded {
                    merge_id: land.merge_id,
                    commit,
                });
            }
            // The plan has no gates, nobody asks for a stop, and the end is not for the world.
            Command::ResetActorBranch { .. }
            | Command::CheckResolution { .. }
            | Command::Speculate { .. }
            | Command::LookBack { .. }
            | Command::RunGate { .. }
            | Command::StopAgent { .. }
            | Command::RollBack { .. }
            | Command::WriteDecision { .. }
            | Command::FinishRun { .. } => {}
        }
    }

    fn start(&mut self, start: StartAgent) {
        let StartAgent {
            actor, attempt, branch, ..
        } = start;
        let from = self.tips.get(&branch).cloned().expect("the branch was made");
        let tip = self.fresh();
        let message = self.plan.completion_line(&actor);
        let sender = self.sender.clone();
        std::thread::spawn(move || {
            let mut child = Process::new("/bin/true")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .expect("true starts");
            let tell = |event| sender.send(event).is_ok();
            tell(Event::AgentStarted {
                actor: actor.clone(),
                attempt,
            });
            let status = child.wait().expect("true ends");
            assert!(status.success());
            tell(Event::CommitsSeen {
                actor: actor.clone(),
                from,
                tip: tip.clone(),
                rewritten: false,
                commits: vec![CommitFact { oid: tip, message }],
            });
            tell(Event::AgentExited {
                actor,
                attempt,
                usage: Usage::default(),
                session: None,
                exit: AgentExit::Finished,
            });
        });
    }
}
