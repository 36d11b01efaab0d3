//! The loop of a run: sources become events, events are journaled and folded, commands are performed. Decisions are all in the core.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;

use crate::core::command::{Command, RunOutcome};
use crate::core::event::{Event, RULES};
use crate::core::{self, Mode, State, Violation};
use crate::ids::{TeamId, Time};
use crate::plan::Plan;
use crate::shell::clock::{self, RunClock};
use crate::shell::effects::{Effects, EffectsError};
use crate::shell::git::{Git, GitError};
use crate::shell::guard::Guard;
use crate::shell::journal::{InboxId, Journal, JournalError, RunLock};
use crate::shell::kill_point;
use crate::shell::refs::RefSource;
use crate::shell::settings::SettingsWatch;
use crate::shell::watch::RefWatcher;

/// The refs and the inbox are looked at this often even when nothing hints at a change: a hint may be lost, the truth is not.
const RESCAN_INTERVAL: Duration = Duration::from_millis(1000);
/// Hints may come a thousand a second: the refs are looked at no sooner than this after the last look.
const LOOK_PAUSE: Duration = Duration::from_millis(5);
/// Events that are folded in one go, so that one sync to the disk serves them all.
const BATCH_MAX: usize = 256;

/// Why a run could not go on. What the run itself came to is a [`RunOutcome`].
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// The journal could not be read or written: nothing is done that is not on disk.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The repository could not be read.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The shell could not be set up.
    #[error(transparent)]
    Effects(#[from] EffectsError),
    /// A bug of ours: the run stops rather than acts on it.
    #[error("internal error: {0}; the journal is kept, please report it")]
    Violation(#[from] Violation),
    /// Something of the operating system.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// What a run is asked for.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// The plan as it is on disk.
    pub plan: Plan,
    /// The directory that the plan's relative paths start from.
    pub plan_directory: PathBuf,
    /// Only these teams take part; empty means all.
    pub only_teams: Vec<TeamId>,
    /// The id of a run that is new.
    pub run_id: String,
}

/// Is told what happens; it cannot reach back.
pub trait Observer {
    /// An event was folded; `state` is the state after it.
    fn event(&mut self, state: &State, at: Time, event: &Event);
    /// Some time has passed, at most a second.
    fn tick(&mut self, state: &State, at: Time);
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct RunEnd {
    /// What it came to.
    pub outcome: RunOutcome,
    /// The state at the end.
    pub state: State,
}

/// A run: the only owner of the state.
pub struct Runtime<'a> {
    journal: Journal,
    _lock: RunLock,
    state: State,
    effects: Effects,
    refs: RefSource,
    events: UnboundedReceiver<Event>,
    observer: &'a mut dyn Observer,
    outcome: Option<RunOutcome>,
    clock: RunClock,
}

impl<'a> Runtime<'a> {
    /// Takes the run over: reads the journal, folds it, and gets ready to go on. A journal without a run starts one.
    pub fn open(
        git: Arc<Git>,
        request: &RunRequest,
        observer: &'a mut dyn Observer,
    ) -> Result<(Self, Event), RuntimeError> {
        let (journal, lock) = Journal::open_for_run(git.common_dir(), clock::now())?;
        let mut state = State::default();
        journal.replay(0, |record| {
            // Replay drops commands: whatever was under way is commanded again after `RunResumed`.
            let _ = core::apply(&mut state, record.at, &record.event);
        })?;
        let first = if state.mode == Mode::NotStarted {
            Event::RunStarted {
                run_id: request.run_id.clone(),
                plan: Box::new(request.plan.clone()),
                only_teams: request.only_teams.clone(),
                rules: RULES,
            }
        } else {
            let changed = state.plan.as_deref() != Some(&request.plan);
            Event::RunResumed {
                plan: changed.then(|| Box::new(request.plan.clone())),
                only_teams: request.only_teams.clone(),
                rules: RULES,
            }
        };
        let run_id = if state.run_id.is_empty() {
            request.run_id.clone()
        } else {
            state.run_id.clone()
        };
        let (sender, events) = unbounded_channel();
        let guard = Guard::default();
        let effects = Effects::new(
            Arc::clone(&git),
            guard.clone(),
            request.plan_directory.clone(),
            run_id,
            sender,
        )?;
        let refs = RefSource::new(git, guard);
        let clock = RunClock::starting_at(state.now);
        Ok((
            Self {
                journal,
                _lock: lock,
                state,
                effects,
                refs,
                events,
                observer,
                outcome: None,
                clock,
            },
            first,
        ))
    }

    /// Goes on until the run is over. `first` is what [`Runtime::open`] gave.
    pub async fn run(mut self, first: Event) -> Result<RunEnd, RuntimeError> {
        let mut signals = Signals::new()?;
        // Without hints the run goes on, only slower to see a commit: the limit of inotify watches is no reason to stop.
        let (_watcher, hint) = match RefWatcher::start_notifying(self.refs.git()) {
            Ok((watcher, hint)) => (Some(watcher), hint),
            Err(error) => {
                tracing::warn!(
                    "{error}; branches are looked at every {} ms instead",
                    RESCAN_INTERVAL.as_millis()
                );
                (None, Arc::default())
            }
        };
        let git = self.refs.git();
        let mut settings = SettingsWatch::start(
            git.common_dir(),
            &git.state_dir(),
            matches!(first, Event::RunStarted { .. }),
        );
        let mut rescan = tokio::time::interval(RESCAN_INTERVAL);
        rescan.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        kill_point::reached("run.before-begin");
        self.begin(first)?;
        let mut hinted = false;
        let mut next_look = Instant::now();
        while self.outcome.is_none() {
            let wake = self.sleep_until_wake();
            let mut batch = Vec::new();
            let mut look = false;
            let mut check_inbox = false;
            tokio::select! {
                event = self.events.recv() => batch.extend(event),
                // Waiting for the next look is a state of its own, so that events are handled meanwhile.
                () = hint.notified(), if !hinted => hinted = true,
                () = tokio::time::sleep_until(next_look), if hinted => look = true,
                _ = rescan.tick() => {
                    look = true;
                    check_inbox = true;
                }
                () = tokio::time::sleep(wake), if wake < Duration::MAX => batch.push(Event::DeadlineReached),
                again = signals.recv() => {
                    if again {
                        // Asked twice: whatever is under way is found again by the next run.
                        self.outcome = Some(RunOutcome::Stopped);
                        break;
                    }
                    batch.push(Event::StopRequested { now: false });
                }
            }
            while batch.len() < BATCH_MAX
                && let Ok(event) = self.events.try_recv()
            {
                batch.push(event);
            }
            // What an agent committed before it ended must be known before its end is judged.
            look |= batch.iter().any(|event| matches!(event, Event::AgentExited { .. }));
            if look {
                hinted = false;
                next_look = Instant::now() + LOOK_PAUSE;
                let mut seen = self.refs.scan(&self.state)?;
                seen.append(&mut batch);
                batch = seen;
            }
            let mut inbox_ids = Vec::new();
            if check_inbox {
                let (mut heard, ids) = self.inbox()?;
                batch.append(&mut heard);
                inbox_ids = ids;
            }
            self.handle(batch, &inbox_ids)?;
            if check_inbox {
                settings.look();
                let now = self.clock.now();
                self.observer.tick(&self.state, now);
            }
        }
        settings.look();
        self.effects.shut_down().await;
        kill_point::reached("run.after-shut-down");
        let outcome = self.outcome.unwrap_or(RunOutcome::Stopped);
        Ok(RunEnd {
            outcome,
            state: self.state,
        })
    }

    /// What happened while nobody looked comes first: a run that only waited for an answer must not end before it has heard it.
    /// What these events alone would lead to is not performed: it is decided anew once the run has been resumed.
    fn begin(&mut self, first: Event) -> Result<(), RuntimeError> {
        let mut batch = self.refs.landed_already(&self.state)?;
        batch.append(&mut self.refs.scan(&self.state)?);
        let (mut heard, inbox_ids) = self.inbox()?;
        batch.append(&mut heard);
        self.fold(&batch, &inbox_ids)?;
        self.handle(vec![first], &[])
    }

    fn inbox(&mut self) -> Result<(Vec<Event>, Vec<InboxId>), RuntimeError> {
        Ok(self
            .journal
            .take_inbox()?
            .into_iter()
            .map(|entry| (entry.event, entry.id))
            .unzip())
    }

    /// Write, then act.
    fn handle(&mut self, batch: Vec<Event>, inbox_ids: &[InboxId]) -> Result<(), RuntimeError> {
        let commands = self.fold(&batch, inbox_ids)?;
        for command in commands {
            if let Command::FinishRun { outcome } = command {
                kill_point::reached("run.before-finish");
                self.outcome = Some(outcome);
            } else {
                self.effects.perform(command, &self.state);
            }
        }
        Ok(())
    }

    /// Makes events durable, then folds them.
    fn fold(&mut self, batch: &[Event], inbox_ids: &[InboxId]) -> Result<Vec<Command>, RuntimeError> {
        let mut commands = Vec::new();
        if batch.is_empty() && inbox_ids.is_empty() {
            return Ok(commands);
        }
        let at = self.clock.now();
        let mut events = Vec::with_capacity(batch.len() + 1);
        // Deadlines that passed while the machine slept are none, so this comes before everything else.
        if let Some(duration) = self.clock.take_slept() {
            events.push(Event::MachineSlept {
                duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            });
        }
        events.extend_from_slice(batch);
        kill_point::reached("run.before-append");
        self.journal.append_taking(at, &events, inbox_ids)?;
        kill_point::reached("run.after-append");
        if !inbox_ids.is_empty() {
            kill_point::reached("run.after-inbox-taken");
        }
        for event in &events {
            commands.extend(core::apply(&mut self.state, at, event));
            core::check(&self.state)?;
            self.observer.event(&self.state, at, event);
        }
        Ok(commands)
    }

    fn sleep_until_wake(&mut self) -> Duration {
        let now = self.clock.now();
        core::next_wake(&self.state).map_or(Duration::MAX, |wake| wake.since(now))
    }
}

/// SIGINT and SIGTERM, counted.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    seen: bool,
}

impl Signals {
    fn new() -> Result<Self, RuntimeError> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| {
            signal(kind).map_err(|source| RuntimeError::System {
                what: "listen to signals",
                source,
            })
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            seen: false,
        })
    }

    /// Waits for one; says whether it is not the first.
    async fn recv(&mut self) -> bool {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        std::mem::replace(&mut self.seen, true)
    }
}
