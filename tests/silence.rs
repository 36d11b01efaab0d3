//! Agents of whom nothing is heard: a note, a nudge in the same session, a new attempt, a start anew, one question; and a machine that sleeps is nobody's fault.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

#[path = "support/fleet.rs"]
mod fleet;
#[path = "common/told.rs"]
mod told;

use std::fs;

use fleet::{Agent, DILIGENT, Fleet, Settings, Team};
use orchestrate::core::command::{Command, StartAgent, Task};
use orchestrate::core::event::{AgentExit, Event, RULES, Usage};
use orchestrate::core::{State, Work, apply, check, view};
use orchestrate::ids::{Actor, Attempt, EscalationId, Time};
use told::{agent, committed, created, plan, progressed, started};

const BEGAN: Time = Time(1_800_000_000_000);
const MINUTE: u64 = 60_000;

/// A run whose first agent works, in a session that can be continued or in none.
struct Silent {
    state: State,
    now: Time,
    session: Option<&'static str>,
}

impl Silent {
    fn new(session: Option<&'static str>) -> Self {
        let mut this = Self {
            state: State::default(),
            now: BEGAN,
            session,
        };
        this.tell(Event::RunStarted {
            run_id: "r-1".to_owned(),
            plan: Box::new(plan()),
            only_teams: Vec::new(),
            rules: RULES,
        });
        this.tell(created("team-1"));
        this.tell(created("agent-1-1"));
        this
    }

    fn tell(&mut self, event: Event) -> Vec<Command> {
        let commands = apply(&mut self.state, self.now, &event);
        check(&self.state).unwrap();
        commands
    }

    fn attempt(&self) -> u32 {
        self.state.actors[&agent("1.1")].attempt.0
    }

    fn work(&self) -> &Work {
        &self.state.actors[&agent("1.1")].work
    }

    /// The process starts, spends something, and nothing more is heard of it; gives what the next attempt is told, and in which session.
    fn falls_silent(&mut self) -> Option<(Task, Option<String>)> {
        let attempt = self.attempt();
        self.tell(started(agent("1.1"), attempt));
        let mut event = progressed(agent("1.1"), attempt, 0.1);
        if let Event::AgentProgressed { session, .. } = &mut event {
            *session = self.session.map(str::to_owned);
        }
        self.tell(event);
        self.now = Time(self.now.0 + 30 * MINUTE - 1);
        assert!(self.tell(Event::DeadlineReached).is_empty(), "not yet");
        self.now = Time(self.now.0 + 1);
        let commands = self.tell(Event::DeadlineReached);
        let stops = |command: &Command| matches!(command, Command::StopAgent { attempt: of, kill: false, .. } if of.0 == attempt);
        assert!(commands.iter().any(stops), "{commands:?}");
        self.now = Time(self.now.0 + 20_000);
        let commands = self.tell(Event::DeadlineReached);
        let kills = |command: &Command| matches!(command, Command::StopAgent { kill: true, .. });
        assert!(commands.iter().any(kills), "it does not end when asked: {commands:?}");
        let mut commands = self.tell(Event::AgentExited {
            actor: agent("1.1"),
            attempt: Attempt(attempt),
            usage: Usage::default(),
            session: self.session.map(str::to_owned),
            exit: AgentExit::Stopped,
        });
        self.now = Time(self.now.0 + 10 * MINUTE);
        commands.extend(self.tell(Event::DeadlineReached));
        if let Some(Command::ResetActorBranch { .. }) = commands.first() {
            commands = self.tell(created("agent-1-1"));
        }
        commands.into_iter().find_map(|command| match command {
            Command::StartAgent(StartAgent { task, session, .. }) => Some((task, session)),
            _ => None,
        })
    }

    fn reason(&self) -> Option<String> {
        let seen = view(&self.state, &plan(), self.now);
        seen.agents[0].reason.clone()
    }
}

#[test]
fn the_ladder_goes_from_a_nudge_to_one_question() {
    let mut run = Silent::new(Some("s-1"));
    let (task, session) = run.falls_silent().expect("a nudge");
    assert!(
        matches!(&task, Task::Nudge { reason } if reason.contains("30 minutes")),
        "{task:?}"
    );
    assert_eq!(session.as_deref(), Some("s-1"), "in the same session");
    assert_eq!(run.state.actors[&agent("1.1")].strikes, 0, "a nudge is no bad attempt");
    let (task, session) = run.falls_silent().expect("a new attempt");
    assert!(matches!(task, Task::Retry { .. }), "{task:?}");
    assert_eq!(session, None, "that does not remember what the old one hung in");
    run.session = Some("s-2");
    assert!(
        matches!(run.falls_silent(), Some((Task::Nudge { .. }, _))),
        "each session is nudged once"
    );
    let (task, session) = run.falls_silent().expect("a start anew");
    assert!(
        matches!(&task, Task::Retry { reason, .. } if reason.contains("begin anew")),
        "{task:?}"
    );
    assert_eq!(session, None);
    run.session = None;
    assert_eq!(run.falls_silent(), None, "nobody starts it again");
    assert_eq!(*run.work(), Work::Escalated(EscalationId(1)));
    let question = &run.state.escalations[&EscalationId(1)];
    assert!(
        question
            .question
            .contains("agent 1.1 fell silent for 30 minutes in 3 attempts in a row, last in attempt 5"),
        "{question:?}"
    );
    assert!(question.detail.contains("orchestrate logs 1.1"), "{question:?}");
    run.tell(Event::EscalationAnswered {
        escalation_id: EscalationId(1),
        answer: "do not wait for the network".to_owned(),
    });
    // Nothing else was left to do, so the run had ended, and waited.
    let commands = run.tell(Event::RunResumed {
        plan: None,
        only_teams: Vec::new(),
        rules: RULES,
    });
    let is_told = |command: &Command| matches!(command, Command::StartAgent(start) if matches!(&start.task, Task::Answer { answer, .. } if answer.contains("network")));
    assert!(commands.iter().any(is_told), "the answer reaches it: {commands:?}");
    assert_eq!(
        run.state.actors[&agent("1.1")].strikes,
        0,
        "and it has all its attempts again"
    );
}

#[test]
fn a_commit_begins_the_ladder_anew() {
    let mut run = Silent::new(None);
    assert!(
        matches!(run.falls_silent(), Some((Task::Retry { .. }, None))),
        "no session, no nudge"
    );
    run.tell(committed(agent("1.1"), '1', "[AGENT-1-1] Schema: tables"));
    assert_eq!(run.state.actors[&agent("1.1")].silence.attempts, 0);
    let next = run.falls_silent();
    assert!(
        matches!(&next, Some((Task::Retry { reason, .. }, None)) if !reason.contains("begin anew")),
        "{next:?}"
    );
}

#[test]
fn status_says_it_before_anything_is_done() {
    let mut run = Silent::new(None);
    run.tell(started(agent("1.1"), 1));
    run.now = Time(BEGAN.0 + 14 * MINUTE);
    assert_eq!(run.reason(), None);
    run.now = Time(BEGAN.0 + 16 * MINUTE);
    assert_eq!(
        run.reason().unwrap(),
        "nothing heard of it for 16 minutes; after 30 minutes it is ended and told to go on"
    );
    run.tell(progressed(agent("1.1"), 1, 0.1));
    run.now = Time(BEGAN.0 + 31 * MINUTE - 1);
    run.tell(progressed(agent("1.1"), 1, 0.2));
    run.now = Time(BEGAN.0 + 31 * MINUTE);
    assert_eq!(run.reason().unwrap(), "works, yet no commit for 31 minutes");
}

#[test]
fn a_machine_that_sleeps_makes_nobody_silent() {
    let mut run = Silent::new(None);
    run.tell(started(agent("1.1"), 1));
    run.now = Time(BEGAN.0 + 20 * MINUTE);
    run.tell(Event::DeadlineReached);
    let eight_hours = 8 * 60 * MINUTE;
    run.now = Time(run.now.0 + eight_hours);
    let commands = run.tell(Event::MachineSlept {
        duration_ms: eight_hours,
    });
    assert!(commands.is_empty(), "{commands:?}");
    run.now = Time(run.now.0 + 9 * MINUTE);
    assert!(
        run.tell(Event::DeadlineReached).is_empty(),
        "29 minutes without the sleep"
    );
    run.now = Time(run.now.0 + MINUTE);
    let commands = run.tell(Event::DeadlineReached);
    assert!(
        matches!(
            &commands[..],
            [Command::StopAgent {
                actor: Actor::Agent(_),
                ..
            }]
        ),
        "{commands:?}"
    );
}

const ONE_AGENT: [Team; 1] = [Team {
    id: "1",
    phase_needs: &[],
    agents: &[Agent { id: "1.1", needs: &[] }],
}];

#[test]
fn an_agent_that_hangs_every_time_is_begun_anew_and_asked_about_and_goes_on_with_the_answer() {
    let script = r#"set -e
if [ "$ORCHESTRATE_AGENT" = 1.1 ] && ! grep -q 'without the network' "$ORCHESTRATE_PROMPT"; then
  mkdir -p work/1-1
  echo "$ORCHESTRATE_ATTEMPT" > "work/1-1/attempt-$ORCHESTRATE_ATTEMPT"
  sleep 600
fi
"#
    .to_owned()
        + DILIGENT;
    let fleet = Fleet::new(&ONE_AGENT, &script, &Settings::default());
    let file = fleet.repository().join("phases.yaml");
    let text = fs::read_to_string(&file)
        .unwrap()
        .replace("stuck_after: 5m", "stuck_after: 1s");
    fs::write(&file, text).unwrap();
    fleet.git(&["commit", "-qam", "Less patience"]);
    let (status, output) = fleet.run();
    assert_eq!(status, 6, "{output}");
    let seen = fleet.status();
    assert_eq!(seen["agents"][0]["state"], "escalated", "{seen}");
    assert_eq!(seen["agents"][0]["attempts"], 3, "{seen}");
    let question = seen["escalations"][0]["question"].as_str().unwrap();
    assert!(
        question.contains("fell silent") && question.contains("3 attempts in a row"),
        "{question}"
    );
    let left = fleet.git(&[
        "for-each-ref",
        "--format=%(refname)",
        "refs/orchestrate/kept/agent-1-1-left/",
    ]);
    let held = fleet.git(&["ls-tree", "--name-only", &left, "work/1-1/"]);
    assert_eq!(
        held, "work/1-1/attempt-1\nwork/1-1/attempt-2",
        "what two attempts left behind is kept by the start anew"
    );
    assert_eq!(
        fleet
            .orchestrate(&["answer", "1", "do it without the network"])
            .status
            .code(),
        Some(0)
    );
    let (status, output) = fleet.run();
    assert_eq!(status, 0, "{output}");
}

#[test]
fn a_run_on_a_machine_that_sleeps_an_hour_stops_nobody() {
    let waiting = format!("while ! [ -e \"$ORCHESTRATE_PLAN_DIR/../go\" ]; do sleep 0.02; done\n{DILIGENT}");
    let mut fleet = Fleet::new(&ONE_AGENT, &waiting, &Settings::default());
    let clock = fleet.root().join("clock");
    fs::write(&clock, "0").unwrap();
    fleet.set("ORCHESTRATE_CLOCK_BACK_MS_FILE", clock.to_str().unwrap());
    let mut run = fleet.spawn(&["run"]);
    fleet.wait_for("the agent to live", || {
        fleet.status()["agents"][0]["last_activity"].is_string() && fleet.status()["agents"][0]["alive"] == true
    });
    fs::write(&clock, "-3600000").unwrap();
    fleet.wait_for("the sleep to be noticed", || {
        fleet.status()["notes"]
            .to_string()
            .contains("the machine slept for 60 minutes")
    });
    fs::write(fleet.root().join("go"), "").unwrap();
    let said = || fs::read_to_string(fleet.root().join("run.err")).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(0), "{}", said());
    assert_eq!(fleet.status()["agents"][0]["attempts"], 1, "{}", said());
}
