//! The progress that `run` shows: frames as a person sees them, and the story line by line where there is no terminal.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

#[path = "common/told.rs"]
mod told;

use std::sync::{Arc, Mutex};

use indicatif::{InMemoryTerm, ProgressDrawTarget, TermLike};
use orchestrate::core::command::RunOutcome;
use orchestrate::core::event::{AgentExit, Event, GateOutcome, RULES, Usage};
use orchestrate::core::{State, apply, view};
use orchestrate::ids::{Attempt, MergeId, MicroDollars, Time};
use orchestrate::report::progress::Progress;
use orchestrate::report::style::Style;
use told::*;

const BEGAN: Time = Time(1_800_000_000_000);

/// Folds events and tells them to a progress, as the run's loop does.
struct Loop {
    state: State,
    progress: Progress,
    now: Time,
}

impl Loop {
    fn new(progress: Progress) -> Self {
        let mut this = Self {
            state: State::default(),
            progress,
            now: BEGAN,
        };
        this.tell(
            0,
            &[Event::RunStarted {
                run_id: "r-1".to_owned(),
                plan: Box::new(plan()),
                only_teams: Vec::new(),
                rules: RULES,
            }],
        );
        this
    }

    fn tell(&mut self, minutes: u64, events: &[Event]) {
        self.now = Time(BEGAN.0 + minutes * 60_000);
        for event in events {
            drop(apply(&mut self.state, self.now, event));
            self.progress.event(&self.state, self.now, event);
        }
        self.progress.view(&view(&self.state, &plan(), self.now));
    }

    fn finish(&mut self, outcome: &RunOutcome) {
        self.progress.finish(outcome, &view(&self.state, &plan(), self.now));
    }
}

fn live(style: Style) -> (InMemoryTerm, Loop) {
    let terminal = InMemoryTerm::new(20, 100);
    let target = ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), 255);
    (terminal, Loop::new(Progress::on(target, style)))
}

fn kept() -> (Arc<Mutex<Vec<String>>>, Loop) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&lines);
    let progress = Progress::kept(Style::PLAIN, move |line| keep.lock().unwrap().push(line.to_owned()));
    (lines, Loop::new(progress))
}

/// Clocks hang on the machine's time zone.
fn without_clock(line: &str) -> &str {
    line.get(9..)
        .filter(|_| line.as_bytes().get(2) == Some(&b':'))
        .unwrap_or(line)
}

fn screen(terminal: &InMemoryTerm) -> String {
    terminal
        .contents()
        .lines()
        .map(without_clock)
        .collect::<Vec<_>>()
        .join("\n")
}

fn exited(id: &str, attempt: u32, dollars: f64, exit: AgentExit) -> Event {
    let usage = Usage {
        cost: MicroDollars::from_dollars(dollars),
        tokens: 10,
    };
    Event::AgentExited {
        actor: agent(id),
        attempt: Attempt(attempt),
        usage,
        session: None,
        exit,
    }
}

const PLAIN_LIVE: Style = Style {
    live: true,
    ..Style::PLAIN
};

#[test]
fn live_lines_stand_below_the_story() {
    let (terminal, mut run) = live(PLAIN_LIVE);
    run.tell(1, &[created("team-1"), created("agent-1-1"), started(agent("1.1"), 1)]);
    run.tell(
        4,
        &[
            progressed(agent("1.1"), 1, 0.8),
            committed(agent("1.1"), 'a', "[AGENT-1-1] Schema: tables"),
        ],
    );
    assert_eq!(
        screen(&terminal),
        "  run r-1 of shop started: 2 teams, 4 agents
  agent 1.1 started
  agent 1.1 made 1 commit, up to aaaaaaa: [AGENT-1-1] Schema: tables
> 1.1 Database Schema              3m   $0.80  [AGENT-1-1] Schema: tables
-------------------- 0 of 6 merged, 1 at work, $0.80 of $20.00, 4m"
    );

    run.tell(
        5,
        &[
            committed_on(agent("1.1"), 'a', 'b', "[AGENT-1-1] Schema complete"),
            clean(1, 'c'),
        ],
    );
    assert_eq!(
        screen(&terminal).lines().skip(3).collect::<Vec<_>>().join("\n"),
        "+ agent 1.1 complete (2 commits), merging into team-1
+ 1.1 Database Schema              4m   $0.80  [AGENT-1-1] Schema complete
> gate  agent-1-1 -> team-1  0s
-------------------- 0 of 6 merged, 1 at work, $0.80 of $20.00, 5m"
    );
}

#[test]
fn the_end_takes_the_live_lines_away_and_says_what_to_do_next() {
    let (terminal, mut run) = live(PLAIN_LIVE);
    run.tell(1, &[created("team-1"), created("agent-1-1"), started(agent("1.1"), 1)]);
    run.tell(2, &[Event::StopRequested { now: false }]);
    run.finish(&RunOutcome::Stopped);
    let screen = screen(&terminal);
    assert!(!screen.contains("0 of 6 merged"), "{screen}");
    let end: Vec<&str> = screen.lines().skip(3).collect();
    assert_eq!(
        end[0],
        "! stopped: 0 teams on main, 0 merges, spent $0.00, 2m; still at work: agent 1.1"
    );
    assert_eq!(terminal.cursor_row(), screen.lines().count(), "the cursor stands below");
    assert!(screen.ends_with("  `orchestrate run` goes on"), "{screen}");
}

#[test]
fn a_live_display_that_is_dropped_leaves_a_clean_terminal() {
    let (terminal, mut run) = live(PLAIN_LIVE);
    run.tell(1, &[created("team-1"), created("agent-1-1"), started(agent("1.1"), 1)]);
    drop(run);
    assert!(!screen(&terminal).contains("merged"), "{}", screen(&terminal));
}

#[test]
fn many_agents_at_once_stay_within_the_screen_and_the_width() {
    let (terminal, mut run) = live(Style {
        colour: true,
        unicode: true,
        live: true,
    });
    run.tell(1, &[created("team-1"), created("agent-1-1"), started(agent("1.1"), 1)]);
    run.tell(
        2,
        &[committed(
            agent("1.1"),
            'a',
            &format!("[AGENT-1-1] {}", "very long ".repeat(30)),
        )],
    );
    let contents = terminal.contents();
    assert!(contents.lines().all(|line| line.chars().count() <= 100), "{contents}");
    assert!(contents.contains("▶ 1.1 Database Schema"), "{contents}");
}

/// The rows that the cursor went down; an in-memory terminal has no accessor of its own for it.
trait Cursor {
    fn cursor_row(&self) -> usize;
}

impl Cursor for InMemoryTerm {
    fn cursor_row(&self) -> usize {
        let before = self.contents().lines().count();
        self.write_str("X").unwrap();
        let row = self
            .contents()
            .lines()
            .position(|line| line.starts_with('X') || line.ends_with('X'))
            .unwrap();
        assert!(row >= before - 1);
        row
    }
}

#[test]
fn the_story_of_a_failure_says_what_follows_from_it() {
    let (lines, mut run) = kept();
    run.tell(1, &[created("team-1"), created("agent-1-1"), started(agent("1.1"), 1)]);
    for attempt in 1..=3 {
        let failed = AgentExit::Failed {
            reason: "exit status 1".to_owned(),
        };
        run.tell(60 * u64::from(attempt), &[exited("1.1", attempt, 0.5, failed)]);
        run.tell(
            60 * u64::from(attempt) + 30,
            &[Event::DeadlineReached, started(agent("1.1"), attempt + 1)],
        );
    }
    let lines = lines.lock().unwrap();
    let story: Vec<&str> = lines.iter().map(|line| without_clock(line)).collect();
    assert_eq!(
        story[2], "x agent 1.1 failed: exit status 1 (attempt 1, $0.50); it is tried again",
        "{story:#?}"
    );
    assert_eq!(story[3], "  agent 1.1 started (attempt 2)");
    assert_eq!(
        story[6], "x agent 1.1 failed: exit status 1 (attempt 3, $0.50); it is given up",
        "{story:#?}"
    );
}

#[test]
fn the_story_tells_every_step_once_and_no_sign_of_life() {
    let (lines, mut run) = kept();
    run.tell(1, &[created("team-1"), created("agent-1-1"), started(agent("1.1"), 1)]);
    for second in 0..50 {
        run.tell(2, &[progressed(agent("1.1"), 1, f64::from(second) / 100.0)]);
    }
    run.tell(3, &[committed(agent("1.1"), 'a', "[ESCALATION-NEEDED] KV or D1?")]);
    let answer = Event::EscalationAnswered {
        escalation_id: orchestrate::ids::EscalationId(1),
        answer: "D1".to_owned(),
    };
    run.tell(4, &[answer]);
    run.tell(
        5,
        &[
            exited("1.1", 1, 0.5, AgentExit::Stopped),
            Event::DeadlineReached,
            started(agent("1.1"), 2),
        ],
    );
    run.tell(
        6,
        &[
            committed_on(agent("1.1"), 'a', 'b', "[AGENT-1-1] Schema complete"),
            exited("1.1", 2, 1.0, AgentExit::Finished),
        ],
    );
    run.tell(7, &[clean(1, 'c')]);
    let passed = GateOutcome::Passed;
    run.tell(
        8,
        &[Event::GateFinished {
            merge_id: MergeId(1),
            tree: oid('c'),
            outcome: passed,
            duration_ms: 61_000,
        }],
    );
    run.tell(
        9,
        &[Event::MergeLanded {
            merge_id: MergeId(1),
            commit: oid('d'),
        }],
    );
    run.finish(&RunOutcome::Waiting {
        reasons: vec!["team 1 is ready to land".to_owned()],
    });
    let lines = lines.lock().unwrap();
    let story: Vec<&str> = lines.iter().map(|line| without_clock(line)).collect();
    assert_eq!(
        story.join("\n"),
        "  run r-1 of shop started: 2 teams, 4 agents
  agent 1.1 started
! question 1 of agent 1.1: KV or D1? (`orchestrate answer 1 \"...\"`)
+ question 1 answered: D1
  agent 1.1 was stopped (attempt 1, $0.50)
  agent 1.1 started (attempt 2)
+ agent 1.1 complete (2 commits), merging into team-1
+ gate of merge 1 (agent-1-1 -> team-1) passed, after 1m
+ agent 1.1 merged into team-1 as ddddddd
! waiting for you: 0 teams on main, 1 merge, spent $1.50, 9m
! team 1 is ready to land
  then `orchestrate run` goes on"
    );
}
