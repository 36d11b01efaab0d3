//! The kill-point sweep: the real program is killed at named points, before and after every effect and around every sync to the disk; going on ends where
//! an undisturbed run ends, and git and journal agree about it.
//!
//! `cargo xtask kill-points` goes through all points, each at its first, middle and last time (`KILL_POINTS=all`); an ordinary run of the tests through a
//! handful. The points themselves are collected from an undisturbed run, so that a new one is swept without being listed anywhere.

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
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use fleet::{Agent, Fleet, PATIENCE, Settings, Team};
use orchestrate::core::{self, State};
use orchestrate::shell::journal::JournalReader;

/// Notes what it does outside of the repository; whoever runs beside an earlier attempt finds the lock taken. Agent 1.2 rewrites its branch once, so that
/// the old tip has to be kept.
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
echo "$who, part" > "$dir/part.txt"
git add "$dir"
git commit -q --allow-empty -m "${ORCHESTRATE_COMPLETION%%]*}] Parts: add a part"
note commit "$(git rev-parse HEAD)"
if [ "$who" = 1.2 ]; then
  sleep 0.2
  git commit -q --amend --allow-empty -m "${ORCHESTRATE_COMPLETION%%]*}] Parts: add the part"
  note commit "$(git rev-parse HEAD)"
fi
echo "$who, done" > "$dir/result.txt"
git add "$dir"
git commit -q --allow-empty -m "$ORCHESTRATE_COMPLETION"
note commit "$(git rev-parse HEAD)"
note end
"#;

const TEAMS: [Team; 2] = [
    Team {
        id: "1",
        phase_needs: &[],
        agents: &[
            Agent { id: "1.1", needs: &[] },
            Agent {
                id: "1.2",
                needs: &["1.1"],
            },
        ],
    },
    Team {
        id: "2",
        phase_needs: &["1"],
        agents: &[Agent { id: "2.1", needs: &[] }],
    },
];

/// Swept in an ordinary run of the tests: where the window between a deed and its record is.
const HANDFUL: &[(&str, u32)] = &[
    ("journal.after-create", 1),
    ("start.after-supervisor", 1),
    ("supervisor.before-exit", 1),
    ("effect.after-merge", 3),
    ("land.before-ref", 2),
    ("checkout.after-files", 1),
    ("run.after-append", 9),
];

fn new_fleet() -> Fleet {
    Fleet::new(&TEAMS, AGENT, &Settings::default())
}

/// The state at the end, folded from the journal, with every invariant checked on the way.
fn folded(fleet: &Fleet) -> State {
    let mut state = State::default();
    let reader = JournalReader::open(&fleet.repository().join(".git"))
        .unwrap()
        .expect("a journal");
    for record in reader.records(0).expect("the journal is whole") {
        let _commands = core::apply(&mut state, record.at, &record.event);
        core::check(&state).expect("the journal folds without a violation");
    }
    state
}

fn nobody_is_left(fleet: &Fleet) -> bool {
    let mark = fleet.root().display().to_string();
    let mentions = |pid: &str| {
        ["cmdline", "environ"].iter().any(|file| {
            fs::read(format!("/proc/{pid}/{file}")).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(&mark))
        })
    };
    let own = std::process::id().to_string();
    !fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .any(|pid| pid != own && pid.bytes().all(|byte| byte.is_ascii_digit()) && mentions(&pid))
}

/// What must hold when a run has ended well, read from git, the journal, and what the agents noted.
fn assert_sound(fleet: &Fleet, told: &str) {
    fleet.wait_for("every process to be gone", || nobody_is_left(fleet));
    let notes = fs::read_to_string(fleet.root().join("agents.log")).unwrap_or_default();
    let reachable: BTreeSet<String> = fleet.git(&["rev-list", "--all"]).lines().map(str::to_owned).collect();
    let mut starts = BTreeSet::new();
    for note in notes.lines() {
        match note.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["start", who, attempt] => {
                // I4: an attempt is started once, and beside no other.
                assert!(
                    starts.insert(format!("{who} {attempt}")),
                    "started twice: {note}; {told}\n{notes}"
                );
            }
            // I5: no commit becomes unreachable.
            ["commit", _, _, commit] => assert!(reachable.contains(*commit), "lost: {note}; {told}\n{notes}"),
            ["end", ..] => {}
            _ => panic!("two attempts at the same time: {note}; {told}\n{notes}"),
        }
    }
    // I2: every branch is merged exactly once.
    let subjects = fleet.git(&["log", "--format=%s", "main"]);
    let times = |subject: &str| subjects.lines().filter(|line| *line == subject).count();
    for team in &TEAMS {
        for agent in team.agents {
            let subject = format!(
                "[MERGE] Merged agent-{} into team-{}",
                agent.id.replace('.', "-"),
                team.id
            );
            assert_eq!(times(&subject), 1, "{told}\n{subjects}");
        }
        assert_eq!(
            times(&format!("[MERGE] Merged team-{} into main", team.id)),
            1,
            "{told}\n{subjects}"
        );
    }
    // I1 and I3, from git alone.
    for command in [&["gate", "main"][..], &["audit"]] {
        let output = fleet.orchestrate(command);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{command:?}; {told}\n{said}");
    }
    fleet.git(&["fsck", "--full", "--strict", "--no-dangling"]);
    assert_eq!(fleet.git(&["status", "--porcelain"]), "", "the user's checkout; {told}");
    let state = folded(fleet);
    let view = core::view(&state, state.plan.as_deref().unwrap(), orchestrate::ids::Time(0));
    assert_eq!(view.run.status, core::RunStatus::Complete, "{told}");
}

/// The points that a run comes to, with how often, and the tree that it ends with.
fn undisturbed() -> (BTreeMap<String, u32>, String) {
    let mut fleet = new_fleet();
    let log = fleet.root().join("points.log");
    fleet.set("ORCHESTRATE_KILL_LOG", log.to_str().unwrap());
    let (status, said) = fleet.run();
    assert_eq!(status, 0, "{said}");
    fleet.wait_for("every process to be gone", || nobody_is_left(&fleet));
    assert_sound(&fleet, "undisturbed");
    let mut points = BTreeMap::new();
    for name in fs::read_to_string(&log)
        .expect("points are compiled in: this is a debug build")
        .lines()
    {
        *points.entry(name.to_owned()).or_default() += 1;
    }
    (points, fleet.tree("main"))
}

#[test]
fn a_run_killed_at_a_point_goes_on_and_ends_like_an_undisturbed_one() {
    let begun = Instant::now();
    let (points, tree) = undisturbed();
    let all = std::env::var("KILL_POINTS").is_ok_and(|value| value == "all");
    let wanted: Vec<(String, u32)> = if all {
        let mut wanted = Vec::new();
        for (name, count) in &points {
            let times: BTreeSet<u32> = [1, count.div_ceil(2), *count].into();
            wanted.extend(times.into_iter().map(|time| (name.clone(), time)));
        }
        wanted
    } else {
        HANDFUL.iter().map(|(name, time)| ((*name).to_owned(), *time)).collect()
    };
    let (mut killed, mut missed) = (0, Vec::new());
    for (name, time) in &wanted {
        // A supervisor serves one attempt: the points of all of them together are counted, but each comes to its own only once.
        let in_supervisor = name.starts_with("supervisor.") || name.starts_with("record.");
        let time = if in_supervisor { 1 } else { *time };
        let told = format!("killed at {name}:{time}");
        let mut fleet = new_fleet();
        let once = fleet.root().join("killed");
        fleet.set("ORCHESTRATE_KILL_AT", format!("{name}:{time}"));
        fleet.set("ORCHESTRATE_KILL_ONCE", once.to_str().unwrap());
        let mut run = fleet.spawn(&["run"]);
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = run.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "the run hangs; {told}");
            std::thread::park_timeout(Duration::from_millis(5));
        };
        let said = fs::read_to_string(fleet.root().join("run.err")).unwrap_or_default();
        match (status.signal(), status.code(), once.exists()) {
            // The run itself, or a supervisor of it.
            (Some(9), _, true) | (_, Some(0), true) => killed += 1,
            // A run comes to a point more or less often than the one before it.
            (_, Some(0), false) => missed.push(told.clone()),
            _ => panic!("{told}: {status}\n{said}"),
        }
        fleet.set("ORCHESTRATE_KILL_AT", "none");
        let (status, said) = fleet.run();
        assert_eq!(status, 0, "{told}\n{said}");
        assert_eq!(fleet.tree("main"), tree, "{told}");
        assert_sound(&fleet, &told);
    }
    println!(
        "{} points are known, reached {} times; killed at {killed} of {} instants, every one ended like an undisturbed run; never reached: {missed:?}; {:?}",
        points.len(),
        points.values().sum::<u32>(),
        wanted.len(),
        begun.elapsed()
    );
    if all {
        println!("points: {points:?}");
    }
    assert!(
        missed.len() * 10 <= wanted.len(),
        "too few points were reached: {missed:?}"
    );
}

/// Where a way back can be cut off, and the point around its effect as a whole.
const ON_THE_WAY_BACK: &[&str] = &[
    "effect.before-rollback",
    "rollback.after-keep",
    "rollback.after-lock",
    "checkout.after-record",
    "checkout.after-files",
    "rollback.before-ref",
    "rollback.after-ref",
    "effect.after-rollback",
];

#[test]
fn a_run_killed_on_the_way_back_gets_there_and_ends_well() {
    for point in ON_THE_WAY_BACK {
        let told = format!("killed at {point}");
        let mut fleet = new_fleet();
        let start = fleet.git(&["rev-parse", "main"]);
        let (status, said) = fleet.run();
        assert_eq!(status, 0, "{said}");
        let (tree, stood) = (fleet.tree("main"), fleet.git(&["rev-parse", "main"]));
        let output = fleet.orchestrate(&["rollback", "main", "--to", &start, "--cascade"]);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{told}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let once = fleet.root().join("killed");
        fleet.set("ORCHESTRATE_KILL_AT", *point);
        fleet.set("ORCHESTRATE_KILL_ONCE", once.to_str().unwrap());
        let output = fleet.orchestrate(&["run"]);
        assert_eq!(
            output.status.signal(),
            Some(9),
            "{told}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        fleet.set("ORCHESTRATE_KILL_AT", "none");
        let (status, said) = fleet.run();
        assert_eq!(status, 0, "{told}\n{said}");
        assert_eq!(fleet.tree("main"), tree, "{told}");
        assert!(
            !fleet.git(&["rev-list", "main"]).contains(&stood),
            "{told}: it went back"
        );
        assert_eq!(
            fleet.git(&["rev-parse", &format!("refs/orchestrate/undone/main/{stood}")]),
            stood,
            "{told}"
        );
        assert_sound(&fleet, &told);
    }
}
