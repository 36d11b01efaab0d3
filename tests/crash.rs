//! SIGKILL at seeded instants of a sixteen-agent run, of `run` itself and of the supervisors: whatever was under way, going on ends where an undisturbed run ends.
//!
//! `CRASH_KILLS=50 cargo test --test crash -- --nocapture` makes so many kills of each kind (without it: 10 of `run`, 5 of supervisors) and prints its figures;
//! `CRASH_SEED=7` draws other instants. The same seed draws the same instants, but what a machine does by then is its own affair.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test says what it expects by failing"
)]

#[path = "support/fleet.rs"]
mod fleet;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use fleet::{Fleet, PATIENCE, SIXTEEN, Settings};
use orchestrate::core::event::{AgentExit, Event};
use orchestrate::core::{self, MergeState, Process, State};
use orchestrate::shell::journal::{JournalReader, Record};

/// Two commits on the way and one that completes the work, each noted outside of the repository. Every process of the attempt inherits the lock that the
/// shell takes, so a second attempt that runs beside any part of the first one finds it taken.
const AGENT: &str = r#"set -e
root="$ORCHESTRATE_PLAN_DIR/.."
who="$ORCHESTRATE_AGENT"
name=$(echo "$who" | tr . -)
[ "$ORCHESTRATE_ROLE" = agent ] && dir="work/$name" || dir="docs/team-$name"
note() { echo "$1 $who $ORCHESTRATE_ATTEMPT $2" >> "$root/agents.log"; }
exec 9>> "$root/alive-$name"
flock --nonblock 9 || note overlap
note start
mkdir -p "$dir"
for part in 1 2; do
  echo "$who, part $part" > "$dir/part-$part.txt"
  git add "$dir"
  git commit -q --allow-empty -m "${ORCHESTRATE_COMPLETION%%]*}] Parts: add part $part"
  note commit "$(git rev-parse HEAD)"
  sleep 0.03
done
echo "$who, done" > "$dir/result.txt"
git add "$dir"
git commit -q --allow-empty -m "$ORCHESTRATE_COMPLETION"
note commit "$(git rev-parse HEAD)"
note end
"#;

/// So many kills are spread over one run; every third fleet is killed only once.
const KILLS_PER_FLEET: usize = 5;

/// A fleet that gets no kill for its instants has ended before they came; so many of them may.
const FLEETS_MAX_PER_KILL: usize = 3;

/// Repeatable draws: splitmix64.
struct Draws(u64);

impl Draws {
    fn new(stream: u64) -> Self {
        Self(number_from_environment("CRASH_SEED", 1) ^ (stream << 32))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

fn number_from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number in the environment"))
}

/// What grows while a run goes on, so that a kill can be aimed right behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fact {
    JournalRecord,
    RefMove,
    AgentNote,
    AttemptFile,
    GateLog,
}

const FACTS: [Fact; 5] = [
    Fact::JournalRecord,
    Fact::RefMove,
    Fact::AgentNote,
    Fact::AttemptFile,
    Fact::GateLog,
];

/// When a kill is due.
#[derive(Clone, Copy, Debug)]
enum Due {
    After(Duration),
    Behind { fact: Fact, count: u64 },
}

/// What an undisturbed run came to, and how much of everything it took.
struct Undisturbed {
    tree: String,
    duration: Duration,
    counts: BTreeMap<Fact, u64>,
}

fn undisturbed() -> &'static Undisturbed {
    static RUN: OnceLock<Undisturbed> = OnceLock::new();
    RUN.get_or_init(|| {
        let stage = Stage::new();
        let begun = Instant::now();
        let (status, output) = stage.fleet.run();
        let duration = begun.elapsed();
        assert_eq!(status, 0, "{output}");
        stage.assert_sound("undisturbed");
        Undisturbed {
            tree: stage.main_tree(),
            duration,
            counts: FACTS.iter().map(|&fact| (fact, stage.count(fact))).collect(),
        }
    })
}

/// A fleet and what is known about it from outside.
struct Stage {
    fleet: Fleet,
}

impl Stage {
    fn new() -> Self {
        let fleet = Fleet::new(&SIXTEEN, AGENT, &Settings::default());
        Self { fleet }
    }

    fn main_tree(&self) -> String {
        self.fleet.git(&["rev-parse", "main^{tree}"])
    }

    fn git_directory(&self) -> PathBuf {
        self.fleet.repository().join(".git")
    }

    fn journal(&self) -> Option<JournalReader> {
        JournalReader::open(&self.git_directory()).expect("the journal is readable")
    }

    fn records(&self) -> Vec<Record> {
        self.journal()
            .map_or_else(Vec::new, |journal| journal.records(0).expect("the journal is whole"))
    }

    /// What the journal says, folded, with every invariant checked on the way.
    fn folded(&self) -> State {
        let mut state = State::default();
        for record in self.records() {
            let _commands = core::apply(&mut state, record.at, &record.event);
            core::check(&state).expect("the journal folds without a violation");
        }
        state
    }

    fn notes(&self) -> String {
        fs::read_to_string(self.fleet.root().join("agents.log")).unwrap_or_default()
    }

    fn count(&self, fact: Fact) -> u64 {
        let git_directory = self.git_directory();
        match fact {
            Fact::JournalRecord => self
                .journal()
                .map_or(0, |journal| journal.last_sequence().expect("readable")),
            Fact::RefMove => files_below(&git_directory.join("logs/refs"))
                .iter()
                .map(|log| line_count(&fs::read_to_string(log).unwrap_or_default()))
                .sum(),
            Fact::AgentNote => line_count(&self.notes()),
            Fact::AttemptFile => files_below(&git_directory.join("orchestrate/attempts")).len() as u64,
            Fact::GateLog => files_below(&git_directory.join("orchestrate/gates")).len() as u64,
        }
    }

    /// Lets a run go on until the instant; `true` when it was killed then, `false` when it had ended before.
    fn kill_when(&self, run: &mut Child, due: Due) -> bool {
        let begun = Instant::now();
        let before = match due {
            Due::After(_) => 0,
            Due::Behind { fact, .. } => self.count(fact),
        };
        loop {
            if run.try_wait().expect("the run's status").is_some() {
                return false;
            }
            assert!(begun.elapsed() < PATIENCE, "the run hangs; waited for {due:?}");
            let come = match due {
                Due::After(time) => begun.elapsed() >= time,
                Due::Behind { fact, count } => self.count(fact) >= before + count,
            };
            if come {
                break;
            }
            std::thread::park_timeout(Duration::from_micros(500));
        }
        run.kill().expect("the kill");
        // Whoever ended in this moment has a status of its own.
        run.wait().expect("the run's status").code().is_none()
    }

    /// Everything that must hold once a run has ended well.
    fn assert_sound(&self, told: &str) {
        let fleet = &self.fleet;
        fleet.wait_for("every process to be gone", || {
            processes_that_mention(fleet.root()).is_empty()
        });

        let notes = self.notes();
        let mut starts = BTreeSet::new();
        let reachable: BTreeSet<String> = fleet.git(&["rev-list", "--all"]).lines().map(str::to_owned).collect();
        for note in notes.lines() {
            let words: Vec<&str> = note.split_whitespace().collect();
            match words.as_slice() {
                ["start", who, attempt] => {
                    assert!(
                        starts.insert((*who, *attempt)),
                        "{who} started attempt {attempt} twice; {told}\n{notes}"
                    );
                }
                ["commit", _, _, commit] => {
                    assert!(reachable.contains(*commit), "commit lost: `{note}`; {told}\n{notes}");
                }
                ["end", _, _] => {}
                _ => panic!("two attempts at the same time: `{note}`; {told}\n{notes}"),
            }
        }

        let subjects = fleet.git(&["log", "--format=%s", "main"]);
        let times = |subject: String| subjects.lines().filter(|line| **line == subject).count();
        for team in &SIXTEEN {
            let id = team.id;
            assert_eq!(
                times(format!("[MERGE] Merged team-{id} into main")),
                1,
                "{told}\n{subjects}"
            );
            for agent in team.agents {
                let slug = agent.id.replace('.', "-");
                let subject = format!("[MERGE] Merged agent-{slug} into team-{id}");
                assert_eq!(times(subject), 1, "agent {slug}; {told}\n{subjects}");
            }
        }
        let gate = fleet.orchestrate(&["gate", "main"]);
        let said = String::from_utf8_lossy(&gate.stdout).into_owned();
        assert_eq!(gate.status.code(), Some(0), "gate main; {told}\n{said}");
        let audit = fleet.orchestrate(&["audit"]);
        let said = String::from_utf8_lossy(&audit.stdout).into_owned();
        assert_eq!(audit.status.code(), Some(0), "audit; {told}\n{said}");
        fleet.git(&["fsck", "--full", "--strict", "--no-dangling"]);
        assert_eq!(fleet.git(&["status", "--porcelain"]), "", "the user's checkout; {told}");
        assert_eq!(fleet.git(&["stash", "list"]), "", "{told}");
        let _folds = self.folded();
        assert_eq!(fleet.status()["run"]["state"], "complete", "{told}");
        let locks: Vec<PathBuf> = files_below(&self.git_directory())
            .into_iter()
            .filter(|file| file.extension().is_some_and(|extension| extension == "lock"))
            .filter(|file| !file.starts_with(self.git_directory().join("orchestrate")))
            .collect();
        assert!(locks.is_empty(), "locks of git left behind: {locks:?}; {told}");
    }

    fn assert_ends_like_an_undisturbed_run(&self, told: &str) {
        let (status, output) = self.fleet.run();
        assert_eq!(status, 0, "{told}\n{output}");
        assert_eq!(self.main_tree(), undisturbed().tree, "{told}");
        self.assert_sound(told);
    }
}

fn line_count(text: &str) -> u64 {
    text.lines().count() as u64
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    // What vanishes while it is looked at does not count.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files.append(&mut files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

fn process_numbers() -> Vec<i32> {
    fs::read_dir("/proc")
        .expect("the process table")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn read_of_process(pid: i32, file: &str) -> String {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn processes_that_mention(root: &Path) -> Vec<i32> {
    let mark = root.display().to_string();
    process_numbers()
        .into_iter()
        .filter(|&pid| {
            ["cmdline", "environ"]
                .iter()
                .any(|file| read_of_process(pid, file).contains(&mark))
        })
        .collect()
}

/// The directory of the attempt that a process supervises.
fn supervised_by(pid: i32, root: &Path) -> Option<PathBuf> {
    let command_line = read_of_process(pid, "cmdline");
    let mut words = command_line.split('\0').skip(1);
    let directory = (words.next() == Some("supervise"))
        .then(|| words.next())?
        .map(PathBuf::from)?;
    // The repository's path may be spelled through a link.
    let root = root.canonicalize().ok()?;
    directory.canonicalize().ok()?.starts_with(root).then_some(directory)
}

fn supervisors(root: &Path) -> Vec<(i32, PathBuf)> {
    process_numbers()
        .into_iter()
        .filter_map(|pid| Some((pid, supervised_by(pid, root)?)))
        .collect()
}

fn kill(pid: i32) -> bool {
    rustix::process::Pid::from_raw(pid)
        .is_some_and(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_ok())
}

/// What the journal held under way at a kill.
#[derive(Default)]
struct Figures {
    kills: usize,
    with_agents: usize,
    with_effects: usize,
    with_anything: usize,
    with_supervisors: usize,
    fleets: usize,
}

impl Figures {
    fn add(&mut self, state: &State) {
        let agents = state
            .actors
            .values()
            .any(|actor| matches!(actor.process, Process::Live { .. }));
        let starting = state
            .actors
            .values()
            .any(|actor| matches!(actor.process, Process::Starting { .. }));
        let merging = state.merges.values().any(|merge| {
            matches!(
                merge.state,
                MergeState::Preparing | MergeState::Gating { .. } | MergeState::Landing { .. }
            )
        });
        self.kills += 1;
        self.with_agents += usize::from(agents);
        self.with_effects += usize::from(starting || merging);
        self.with_anything += usize::from(agents || starting || merging);
    }
}

fn draw_instant(draws: &mut Draws, kills_in_this_fleet: usize) -> Due {
    let whole = undisturbed();
    // Several instants follow each other: on average they are as far apart as fits.
    let share = if kills_in_this_fleet == 1 {
        1
    } else {
        kills_in_this_fleet as u64 / 2
    };
    if draws.below(5) < 2 {
        let micros = u64::try_from(whole.duration.as_micros()).expect("a short run");
        return Due::After(Duration::from_micros(draws.below(micros / share)));
    }
    let fact = FACTS[draws.below(FACTS.len() as u64) as usize];
    let count = 1 + draws.below(whole.counts[&fact] / share);
    Due::Behind { fact, count }
}

#[test]
fn a_killed_run_goes_on_and_ends_like_an_undisturbed_one() {
    let wanted = number_from_environment("CRASH_KILLS", 10) as usize;
    let mut draws = Draws::new(1);
    let mut figures = Figures::default();
    let begun = Instant::now();
    while figures.kills < wanted {
        assert!(
            figures.fleets < wanted * FLEETS_MAX_PER_KILL,
            "the instants never meet a run"
        );
        let planned = if figures.fleets % 3 == 2 { 1 } else { KILLS_PER_FLEET };
        let planned = planned.min(wanted - figures.kills);
        let stage = Stage::new();
        let mut told = String::from("killed");
        for _ in 0..planned {
            let due = draw_instant(&mut draws, planned);
            let and_supervisors = draws.below(4) == 0;
            let mut run = stage.fleet.spawn(&["run"]);
            if !stage.kill_when(&mut run, due) {
                break;
            }
            // As when the machine's memory runs out: the guard dies with the one it guards for.
            let victims = if and_supervisors {
                supervisors(stage.fleet.root())
            } else {
                Vec::new()
            };
            figures.with_supervisors += usize::from(victims.iter().filter(|(pid, _)| kill(*pid)).count() > 0);
            let state = stage.folded();
            figures.add(&state);
            told.push_str(&format!(" | {due:?}, {} supervisors with it", victims.len()));
        }
        stage.assert_ends_like_an_undisturbed_run(&told);
        figures.fleets += 1;
    }
    println!(
        "{} kills of `run` in {} runs: {} with something under way (agents alive: {}; starts, merges, gates or landings: {}), {} took supervisors along; undisturbed run {:?}, all {:?}",
        figures.kills,
        figures.fleets,
        figures.with_anything,
        figures.with_agents,
        figures.with_effects,
        figures.with_supervisors,
        undisturbed().duration,
        begun.elapsed()
    );
}

#[test]
fn attempts_whose_supervisor_is_killed_are_lost_and_tried_again() {
    let wanted = number_from_environment("CRASH_KILLS", 5) as usize;
    let mut draws = Draws::new(2);
    let (mut kills, mut lost, mut unrecorded, mut fleets) = (0, 0, 0, 0);
    let begun = Instant::now();
    while kills < wanted {
        assert!(
            fleets < wanted * FLEETS_MAX_PER_KILL,
            "the instants never meet a supervisor"
        );
        let stage = Stage::new();
        let planned = KILLS_PER_FLEET.min(wanted - kills);
        let killed = kill_supervisors(&stage, &mut draws, planned);
        let told = format!("supervisors killed: {killed:?}");
        assert_eq!(stage.main_tree(), undisturbed().tree, "{told}");
        stage.assert_sound(&told);
        let records = stage.records();
        for directory in &killed {
            let exits: Vec<&AgentExit> = records
                .iter()
                .filter_map(|record| exit_of(&record.event, directory))
                .collect();
            let [exit] = exits.as_slice() else {
                panic!("{} ends of {directory:?}: {exits:?}", exits.len())
            };
            if directory.join("exit.json").exists() {
                continue;
            }
            unrecorded += 1;
            assert_eq!(**exit, AgentExit::Lost, "{directory:?}");
            lost += 1;
        }
        kills += killed.len();
        fleets += 1;
    }
    println!(
        "{kills} kills of supervisors in {fleets} runs: {unrecorded} before the record of an end, {lost} of them reported lost; {:?}",
        begun.elapsed()
    );
    assert!(lost > 0, "no kill came in time");
}

/// Runs a fleet to its end and kills up to `planned` supervisors on the way; gives the directories of their attempts.
fn kill_supervisors(stage: &Stage, draws: &mut Draws, planned: usize) -> Vec<PathBuf> {
    let mut run = stage.fleet.spawn(&["run"]);
    let begun = Instant::now();
    let mut due: BTreeMap<PathBuf, Option<Instant>> = BTreeMap::new();
    let mut killed = Vec::new();
    let status = loop {
        if let Some(status) = run.try_wait().expect("the run's status") {
            break status;
        }
        assert!(begun.elapsed() < PATIENCE, "the run hangs; killed: {killed:?}");
        for (pid, directory) in supervisors(stage.fleet.root()) {
            let at = *due.entry(directory.clone()).or_insert_with(|| {
                let delay = Duration::from_micros(draws.below(100_000));
                (draws.below(2) == 0).then(|| Instant::now() + delay)
            });
            let is_due = at.is_some_and(|at| Instant::now() >= at);
            // Looked at once more: the number may mean somebody else by now.
            let is_it = || supervised_by(pid, stage.fleet.root()).is_some();
            if killed.len() < planned && is_due && !killed.contains(&directory) && is_it() && kill(pid) {
                killed.push(directory);
            }
        }
        std::thread::park_timeout(Duration::from_millis(1));
    };
    let said = fs::read_to_string(stage.fleet.root().join("run.err")).unwrap_or_default();
    assert_eq!(status.code(), Some(0), "killed: {killed:?}\n{said}");
    killed
}

/// How the attempt of this directory ended, if that is what the event tells.
fn exit_of<'a>(event: &'a Event, directory: &Path) -> Option<&'a AgentExit> {
    let Event::AgentExited {
        actor, attempt, exit, ..
    } = event
    else {
        return None;
    };
    directory
        .ends_with(Path::new(&actor.slug()).join(attempt.to_string()))
        .then_some(exit)
}
