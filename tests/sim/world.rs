//! The simulated world and the loop that drives it: a clock that jumps to whatever comes next, and everything that outlives a crash of `run`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use orchestrate::core::command::{Command, RunOutcome};
use orchestrate::core::event::{AgentExit, EffectKey, Event, Usage};
use orchestrate::core::{Mode, State, next_wake, view};
use orchestrate::ids::{Actor, Attempt, BranchName, EscalationId, MergeId, Oid, TeamId, Time};
use orchestrate::plan::Plan;

use crate::agents::Step;
use crate::faults::Faults;
use crate::git::{Git, Maker, Tree};
use crate::plans;
use crate::rng::Rng;

/// After the faults have ceased, a run must end within this many events.
const CALM_EVENTS_MAX: u64 = 6_000;
/// Virtual time at which every simulation starts.
const EPOCH_MS: u64 = 1_800_000_000_000;

pub(crate) const SECOND: u64 = 1000;
pub(crate) const MINUTE: u64 = 60 * SECOND;

pub(crate) type ProcId = usize;

/// What an attempt left in the world.
pub(crate) struct Proc {
    pub(crate) actor: Actor,
    pub(crate) attempt: Attempt,
    pub(crate) branch: BranchName,
    /// Something of it lives.
    pub(crate) alive: bool,
    /// Its supervisor lives, and will write the record of its end.
    pub(crate) supervised: bool,
    /// The record of its end.
    pub(crate) exit: Option<AgentExit>,
    pub(crate) usage: Usage,
    pub(crate) session: Option<String>,
    pub(crate) script: VecDeque<(u64, Step)>,
    pub(crate) ignores_term: bool,
    /// When it last got on.
    pub(crate) last_step: u64,
    /// Answers that its task brings.
    pub(crate) told: Vec<EscalationId>,
}

/// Something that is going to happen.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// In the world: it happens whether or not `run` lives.
    Step(ProcId),
    Die(ProcId),
    RunAgain,
    React,
    Settle(EscalationId),
    HumanOnMain,
    HumanOnTeam(TeamId),
    HumanRollsBack,
    /// The machine sleeps: for this long nothing happens.
    Sleep(u64),
    /// A human says something.
    Say(Event),
    /// In the memory of `run`: a crash forgets it.
    Do(Box<Command>),
    Deliver(Event),
    Scan(BranchName),
    ReportExit(ProcId),
    Reap(ProcId),
    GateDone {
        merge_id: MergeId,
        tree: Oid,
        command: String,
        level: u32,
        duration_ms: u64,
    },
    ReadInbox,
}

impl Item {
    fn is_in_memory(&self) -> bool {
        match self {
            Self::Step(_)
            | Self::Die(_)
            | Self::RunAgain
            | Self::React
            | Self::Settle(_)
            | Self::HumanOnMain
            | Self::HumanOnTeam(_)
            | Self::HumanRollsBack
            | Self::Sleep(_)
            | Self::Say(_) => false,
            Self::Do(_)
            | Self::Deliver(_)
            | Self::Scan(_)
            | Self::ReportExit(_)
            | Self::Reap(_)
            | Self::GateDone { .. }
            | Self::ReadInbox => true,
        }
    }
}

/// What a simulation came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) failure: Option<String>,
    pub(crate) trace_hash: u64,
    pub(crate) events: u64,
    pub(crate) kills: u64,
    pub(crate) attempts: u64,
    /// Gates that ran before the turn of their merge.
    pub(crate) speculations: u64,
    /// Merges that landed with the settlement of a conflict.
    pub(crate) settlements: u64,
    /// Branches that a human had put back.
    pub(crate) returns: u64,
    /// Those who were told with what a gate fails.
    pub(crate) told: u64,
    pub(crate) virtual_ms: u64,
    /// What of the actors' work is on main at the end.
    pub(crate) main: Tree,
    pub(crate) coverage: BTreeMap<(&'static str, &'static str), u64>,
}

/// A whole simulation.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) faults: Faults,
    /// Faults cease after this many events.
    pub(crate) faults_until: u64,
    pub(crate) clock: u64,
    /// What `run` reads is the clock with this added.
    pub(crate) skew: i64,
    queue: BTreeMap<(u64, u64), Item>,
    queued: u64,
    pub(crate) git: Git,
    pub(crate) procs: Vec<Proc>,
    pub(crate) proc_ids: BTreeMap<(Actor, Attempt), ProcId>,
    pub(crate) actors: Vec<Actor>,
    pub(crate) ids: u32,
    pub(crate) dirty_until: u64,
    /// When the vendor last held everybody back, as far as `run` knew.
    pub(crate) last_paused: u64,
    /// Gates that passed in the world: tree and command.
    pub(crate) passed: BTreeSet<(Oid, String)>,
    pub(crate) inbox: Vec<Event>,
    /// Gates that run at this moment.
    pub(crate) gates_running: u32,
    /// Leaders whose team's landing was turned down, and in which attempt.
    pub(crate) turned_down: BTreeMap<TeamId, Attempt>,
    /// Actors that are to start anew, after which attempt.
    pub(crate) anew: BTreeMap<Actor, Attempt>,
    /// Settlements of conflicts that must not be taken.
    pub(crate) bad_settlements: BTreeSet<usize>,
    /// Commits that a human had undone, and that must not come back.
    pub(crate) undone: BTreeSet<usize>,
    /// Trees that merges came to and should not have.
    pub(crate) wrong_merges: BTreeSet<usize>,
    /// Branches that went back, and where from.
    pub(crate) returned: BTreeSet<(BranchName, usize)>,

    /// `run` lives.
    pub(crate) up: bool,
    pub(crate) state: State,
    pub(crate) journal: Vec<(Time, Event)>,
    /// The journal folded by itself, as far as it had come at the last resumption.
    pub(crate) replayed: State,
    pub(crate) replayed_events: usize,
    pub(crate) plan: Plan,
    pub(crate) next_plan: Option<Plan>,
    pub(crate) only_teams: Vec<TeamId>,
    pub(crate) outcome: Option<RunOutcome>,
    /// The run was begun under the rules of an older version.
    pub(crate) begun_by_old_version: bool,
    /// A human looks at the run while it works, and says yes to landings at once.
    pub(crate) human_watches: bool,
    /// When it said yes last.
    pub(crate) said_yes: BTreeMap<TeamId, u64>,

    pub(crate) escalations_known: usize,
    /// Answers that the core has accepted and that no attempt has taken up.
    pub(crate) answers_pending: BTreeMap<EscalationId, (Actor, String)>,
    /// The conflicts that accepted answers to leaders are about.
    pub(crate) answers_about: BTreeMap<EscalationId, MergeId>,
    /// All answers that the core has accepted.
    pub(crate) answers: BTreeMap<EscalationId, (Actor, String)>,
    /// Answers to what was answered, or to what nobody asked.
    pub(crate) answers_too_late: BTreeSet<String>,
    pub(crate) answers_told: BTreeMap<EscalationId, u32>,
    /// Landings that were asked for.
    pub(crate) landings: BTreeSet<(MergeId, Oid)>,
    /// Attempts that were asked for.
    pub(crate) asked: BTreeSet<(Actor, Attempt)>,
    /// Where `run` has seen branches stand.
    pub(crate) last_seen: BTreeMap<BranchName, usize>,
    /// Teams whose branch could not be made, and never will be.
    pub(crate) given_up: BTreeSet<TeamId>,
    /// How often in a row something that an actor waited for failed.
    pub(crate) effect_failures: BTreeMap<EffectKey, u32>,
    pub(crate) disturbed: bool,
    pub(crate) done: bool,
    pub(crate) report: Report,
    pub(crate) trace: bool,
}

impl World {
    pub(crate) fn new(seed: u64, disturbed: bool, trace: bool) -> Self {
        let mut rng = Rng::new(seed);
        let mut faults = Faults::draw(&mut rng);
        if !disturbed {
            faults = Faults::default();
        }
        let plan = plans::draw(seed);
        let mut actors: Vec<Actor> = plan.agents().map(|(_, agent)| Actor::Agent(agent.id.clone())).collect();
        actors.extend(plan.teams().map(|team| Actor::Leader(team.id.clone())));
        let only_teams = if seed % 7 == 3 && disturbed {
            let mut teams: Vec<TeamId> = plan.teams().map(|team| team.id.clone()).collect();
            teams.retain(|_| rng.below(2) == 0);
            teams
        } else {
            Vec::new()
        };
        let mut git = Git::default();
        let root = git.commit(&[], Tree::new(), "root", Maker::Root);
        git.refs.insert(plan.repository.base.clone(), root);
        let faults_until = rng.between(60, 700);
        let mut world = Self {
            rng,
            faults,
            faults_until,
            clock: EPOCH_MS,
            skew: 0,
            queue: BTreeMap::new(),
            queued: 0,
            git,
            procs: Vec::new(),
            proc_ids: BTreeMap::new(),
            actors,
            ids: 0,
            dirty_until: 0,
            last_paused: 0,
            passed: BTreeSet::new(),
            inbox: Vec::new(),
            gates_running: 0,
            turned_down: BTreeMap::new(),
            anew: BTreeMap::new(),
            bad_settlements: BTreeSet::new(),
            undone: BTreeSet::new(),
            returned: BTreeSet::new(),
            wrong_merges: BTreeSet::new(),
            answers_about: BTreeMap::new(),
            up: false,
            state: State::default(),
            journal: Vec::new(),
            replayed: State::default(),
            replayed_events: 0,
            plan,
            next_plan: None,
            only_teams,
            outcome: None,
            begun_by_old_version: seed % 11 == 7,
            human_watches: seed % 4 == 3,
            said_yes: BTreeMap::new(),
            escalations_known: 0,
            answers_pending: BTreeMap::new(),
            answers: BTreeMap::new(),
            answers_too_late: BTreeSet::new(),
            answers_told: BTreeMap::new(),
            landings: BTreeSet::new(),
            asked: BTreeSet::new(),
            last_seen: BTreeMap::new(),
            given_up: BTreeSet::new(),
            effect_failures: BTreeMap::new(),
            disturbed,
            done: false,
            report: Report::default(),
            trace,
        };
        world.report.trace_hash = 0xcbf2_9ce4_8422_2325;
        let faults = world.faults.words();
        world.say(|| format!("faults: {faults}"));
        world.after(0, Item::RunAgain);
        world
    }

    /// Lets the world go on until the run is complete, or something is wrong.
    pub(crate) fn run(mut self) -> Report {
        while !self.done && self.report.failure.is_none() {
            self.step();
        }
        if self.report.failure.is_none() {
            self.check_end();
            self.check_calm();
            let seen = view(&self.state, &self.plan, self.shell_now());
            self.check_last_view(&seen);
        }
        self.report.attempts = self.procs.len() as u64;
        self.report.virtual_ms = self.clock - EPOCH_MS;
        self.report
    }

    fn step(&mut self) {
        if self.report.events > self.faults_until + CALM_EVENTS_MAX {
            return self.fail(format!(
                "I9: {CALM_EVENTS_MAX} events after the faults ceased the run is not complete"
            ));
        }
        let wake = if self.up { next_wake(&self.state) } else { None };
        let wake_at = wake.map(|wake| (wake.0 as i64 - self.skew).max(self.clock as i64) as u64);
        let item_at = self.queue.keys().next().map(|(at, _)| *at);
        match (item_at, wake_at) {
            (None, None) => self.fail(format!(
                "I9: nothing is under way and nothing will ever happen; mode {:?}",
                self.state.mode
            )),
            (Some(item_at), wake_at) if wake_at.is_none_or(|wake_at| item_at <= wake_at) => {
                self.clock = self.clock.max(item_at);
                if let Some((_, item)) = self.queue.pop_first() {
                    self.happen(item);
                }
            }
            (_, Some(wake_at)) => {
                self.clock = wake_at;
                self.feed(vec![Event::DeadlineReached]);
                let again = next_wake(&self.state).filter(|_| self.up);
                if let Some(again) = again
                    && again <= self.state.now
                {
                    self.fail(format!(
                        "I9: woken at {:?}, the core wants to be woken at {again:?} again: a busy loop",
                        self.state.now
                    ));
                }
            }
            (Some(_), None) => {}
        }
    }

    fn happen(&mut self, item: Item) {
        match item {
            Item::Step(proc) => self.step_of(proc),
            Item::Die(proc) => self.end_proc(proc, AgentExit::Stopped),
            Item::RunAgain => self.start_run(),
            Item::React => self.react(),
            Item::Settle(escalation_id) => self.settle(escalation_id),
            Item::HumanOnMain => self.human_on_main(),
            Item::HumanOnTeam(team_id) => self.human_on_team(&team_id),
            Item::HumanRollsBack => self.human_rolls_back(),
            Item::Sleep(duration) => self.sleep(duration),
            Item::Say(event) => self.write_inbox(event),
            Item::Do(command) => self.execute(*command),
            Item::Deliver(event) => self.deliver(event),
            Item::Scan(branch) => self.scan_and_tell(&branch),
            Item::ReportExit(proc) => self.report_exit(proc),
            Item::Reap(proc) => self.reap(proc),
            Item::GateDone {
                merge_id,
                tree,
                command,
                level,
                duration_ms,
            } => self.gate_done(merge_id, tree, command, level, duration_ms),
            Item::ReadInbox => self.read_inbox(),
        }
    }

    /// Something is to happen `delay` milliseconds from now.
    pub(crate) fn after(&mut self, delay: u64, item: Item) {
        self.queued += 1;
        self.queue.insert((self.clock + delay, self.queued), item);
    }

    /// The machine sleeps: everything that was going to happen happens that much later.
    fn sleep(&mut self, duration: u64) {
        self.say(|| format!("  world: the machine sleeps for {} s", duration / SECOND));
        let queue = std::mem::take(&mut self.queue);
        self.queue = queue
            .into_iter()
            .map(|((at, number), item)| ((at + duration, number), item))
            .collect();
        self.clock += duration;
        self.last_paused += duration;
        for proc in &mut self.procs {
            proc.last_step += duration;
        }
        if self.up {
            self.feed(vec![Event::MachineSlept { duration_ms: duration }]);
        }
    }

    /// A crash, or the end, of `run`: the world goes on without it.
    pub(crate) fn forget_memory(&mut self) {
        self.up = false;
        self.gates_running = 0;
        self.last_seen.clear();
        self.queue.retain(|_, item| !item.is_in_memory());
    }

    /// What the clock of `run` shows.
    pub(crate) fn shell_now(&self) -> Time {
        Time((self.clock as i64 + self.skew) as u64)
    }

    pub(crate) fn faults_on(&self) -> bool {
        self.report.events < self.faults_until
    }

    /// Whether a fault with this probability strikes now.
    pub(crate) fn hit(&mut self, permille: u32) -> bool {
        self.faults_on() && self.rng.chance(permille)
    }

    pub(crate) fn new_id(&mut self) -> u32 {
        self.ids += 1;
        self.ids
    }

    pub(crate) fn index_of(&self, actor: &Actor) -> usize {
        self.actors
            .iter()
            .position(|other| other == actor)
            .expect("an actor of the plan")
    }

    pub(crate) fn fail(&mut self, what: String) {
        self.say(|| format!("FAILED: {what}"));
        self.report.failure.get_or_insert(what);
    }

    pub(crate) fn say(&self, words: impl FnOnce() -> String) {
        if self.trace {
            let seconds = (self.clock - EPOCH_MS) as f64 / 1000.0;
            println!("{seconds:>12.3} {}", words());
        }
    }

    pub(crate) fn hash(&mut self, what: &dyn std::fmt::Debug) {
        struct Fnv(u64);
        impl std::fmt::Write for Fnv {
            fn write_str(&mut self, text: &str) -> std::fmt::Result {
                for byte in text.bytes() {
                    self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
                }
                Ok(())
            }
        }
        let mut fnv = Fnv(self.report.trace_hash);
        let _ = write!(fnv, "{what:?}");
        self.report.trace_hash = fnv.0;
    }

    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.state.mode, Mode::Ended(_))
    }
}
