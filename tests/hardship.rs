//! A machine that fails under a run: a disk that is full, a directory that cannot be written, a clock that jumps back. The run says so or goes on, and what
//! it left is whole: when the hardship is over, going on ends like an undisturbed run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test says what it expects by failing"
)]

#[path = "support/fleet.rs"]
mod fleet;

use std::fs;
use std::process::{Command, Output};

use fleet::{DILIGENT, Fleet, PAIR, Settings};
use orchestrate::core::{self, State};
use orchestrate::shell::journal::JournalReader;

const ACTORS: &str = "1.1 1.2 leader-1";

fn new_fleet(script: &str) -> Fleet {
    Fleet::new(&PAIR, script, &Settings::default())
}

/// Runs a shell script in a mount namespace of its own; `None` where that is not allowed.
fn in_own_namespace(fleet: &Fleet, script: &str) -> Option<Output> {
    let allowed = Command::new("unshare")
        .args(["-m", "true"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !allowed {
        return None;
    }
    Some(shell(fleet, &["unshare", "-m", "sh", "-c", script]))
}

fn shell(fleet: &Fleet, words: &[&str]) -> Output {
    Command::new(words[0])
        .args(&words[1..])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", fleet.root().join("home"))
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env("GIT_AUTHOR_NAME", "Test")
        .env("GIT_AUTHOR_EMAIL", "test@localhost")
        .env("GIT_COMMITTER_NAME", "Test")
        .env("GIT_COMMITTER_EMAIL", "test@localhost")
        .env("orchestrate", env!("CARGO_BIN_EXE_orchestrate"))
        .env("root", fleet.root())
        .current_dir(fleet.repository())
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The number behind a word at the head of a line.
fn number_behind(said: &str, word: &str) -> i32 {
    let line = said.lines().find_map(|line| line.strip_prefix(&format!("{word}: ")));
    line.unwrap_or_else(|| panic!("no `{word}` in {said}"))
        .trim()
        .parse()
        .unwrap()
}

fn tree_of_an_undisturbed_run() -> String {
    let fleet = new_fleet(DILIGENT);
    let (status, said) = fleet.run();
    assert_eq!(status, 0, "{said}");
    fleet.git(&["rev-parse", "main:work", "main:docs"])
}

fn ends_well(fleet: &Fleet, expected: &str, told: &str) {
    for actor in ACTORS.split(' ') {
        // Whoever was given up because of the hardship; for the others it is a mistake, which is said.
        let _ = fleet.orchestrate(&["retry", actor]);
    }
    let (status, said) = fleet.run();
    assert_eq!(status, 0, "{told}: {said}");
    assert_eq!(fleet.git(&["rev-parse", "main:work", "main:docs"]), expected, "{told}");
    for command in [&["gate", "main"][..], &["audit"]] {
        let output = fleet.orchestrate(command);
        assert!(output.status.success(), "{told}: {command:?}: {}", text(&output));
    }
    fleet.git(&["fsck", "--strict", "--no-dangling"]);
    let mut state = State::default();
    let reader = JournalReader::open(&fleet.repository().join(".git")).unwrap().unwrap();
    for record in reader.records(0).unwrap() {
        let _commands = core::apply(&mut state, record.at, &record.event);
        core::check(&state).unwrap();
    }
}

#[test]
fn files_that_cannot_grow_stop_a_run_with_words_and_nothing_is_lost() {
    let expected = tree_of_an_undisturbed_run();
    // Blocks of 512 bytes: the journal cannot be made; it cannot grow; a run's worth.
    for blocks in [8, 48, 120, 400] {
        let fleet = new_fleet(DILIGENT);
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; \"$orchestrate\" run; echo \"status: $?\"");
        let said = text(&shell(&fleet, &["sh", "-c", &script]));
        let status = number_behind(&said, "status");
        assert!([0, 7, 8, 9].contains(&status), "{blocks} blocks: {said}");
        assert!(!said.contains("panicked"), "{said}");
        if status == 7 || status == 8 {
            assert!(
                said.contains("error: ") && said.contains("hint: "),
                "{blocks} blocks: {said}"
            );
        }
        println!("{blocks} blocks: status {status}");
        ends_well(&fleet, &expected, &format!("{blocks} blocks"));
    }
}

#[test]
fn a_full_disk_stops_a_run_with_words_and_the_next_one_goes_on() {
    let expected = tree_of_an_undisturbed_run();
    for free_kib in [0, 60, 250, 900] {
        let fleet = new_fleet(DILIGENT);
        let script = format!(
            r#"set -e
cp -a "$root" "$root.aside"
mount -t tmpfs -o size=96m none "$root"
cp -a "$root.aside/." "$root/"
cd "$root/repository"
free=$(df -k --output=avail "$root" | tail -1)
dd if=/dev/zero of="$root/ballast" bs=1k count=$((free - {free_kib})) 2> /dev/null || true
set +e
"$orchestrate" run; echo "full: $?"
rm "$root/ballast"
for actor in {ACTORS}; do "$orchestrate" retry $actor > /dev/null 2>&1; done
"$orchestrate" run; echo "again: $?"
"$orchestrate" gate main > /dev/null; echo "status of gate: $?"
"$orchestrate" audit; echo "status of audit: $?"
git fsck --strict --no-dangling; echo "status of fsck: $?"
git rev-parse main:work main:docs
rm -rf "$root.aside""#
        );
        let Some(output) = in_own_namespace(&fleet, &script) else {
            println!("no mount namespace here: files that cannot grow stand for a full disk");
            return;
        };
        let said = text(&output);
        let full = number_behind(&said, "full");
        assert!([0, 7, 8, 9].contains(&full), "{free_kib} KiB: {said}");
        assert!(!said.contains("panicked"), "{said}");
        for word in ["again", "status of gate", "status of audit", "status of fsck"] {
            assert_eq!(number_behind(&said, word), 0, "{free_kib} KiB: {word}: {said}");
        }
        assert!(said.contains(&expected), "{free_kib} KiB: {said}");
        println!("{free_kib} KiB free: status {full}");
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_an_error_of_the_environment_and_nothing_else() {
    let expected = tree_of_an_undisturbed_run();
    let fleet = new_fleet(DILIGENT);
    let script = "mount --bind .git .git && mount -o remount,ro,bind .git && \"$orchestrate\" run; echo \"status: $?\"";
    let output = in_own_namespace(&fleet, script).unwrap_or_else(|| {
        // Who may not mount is not root either, and bound by the mode.
        shell(
            &fleet,
            &[
                "sh",
                "-c",
                "chmod a-w .git; \"$orchestrate\" run; echo \"status: $?\"; chmod u+w .git",
            ],
        )
    });
    let said = text(&output);
    let status = number_behind(&said, "status");
    assert!([7, 8].contains(&status), "{said}");
    assert!(said.contains("error: ") && said.contains("hint: "), "{said}");
    assert_eq!(fleet.git(&["for-each-ref", "--format=%(refname)"]), "refs/heads/main");
    ends_well(&fleet, &expected, "read-only");
}

#[test]
fn a_clock_that_jumps_back_an_hour_holds_nothing_up() {
    let expected = tree_of_an_undisturbed_run();
    let waiting = format!("while ! [ -e \"$ORCHESTRATE_PLAN_DIR/../go\" ]; do sleep 0.02; done\n{DILIGENT}");
    let mut fleet = new_fleet(&waiting);
    let back = fleet.root().join("back");
    fs::write(&back, "0").unwrap();
    fleet.set("ORCHESTRATE_CLOCK_BACK_MS_FILE", back.to_str().unwrap());
    let mut run = fleet.spawn(&["run"]);
    let started = fleet.repository().join(".git/orchestrate/attempts/1.1/1/started.json");
    fleet.wait_for("the agent", || started.exists());
    fs::write(&back, "3600000").unwrap();
    fs::write(fleet.root().join("go"), "").unwrap();
    let status = run.wait().unwrap();
    let said = fs::read_to_string(fleet.root().join("run.err")).unwrap();
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(fleet.status()["agents"][0]["attempts"], 1, "{said}");
    // And between two runs.
    ends_well(&fleet, &expected, "an hour back");
    fs::write(&back, "7200000").unwrap();
    ends_well(&fleet, &expected, "two hours back");
}
