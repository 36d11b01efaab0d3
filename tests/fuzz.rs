//! The fuzz targets of `fuzz/` on stable: the committed corpora are replayed, and mutated from a seed.
//!
//! `cargo xtask fuzz TARGET SECONDS` goes on for so long (`FUZZ_TARGET`, `FUZZ_SECONDS`, `FUZZ_SEED`) and leaves what it finds in the target's corpus, so
//! that it is replayed from then on. cargo-fuzz runs the same functions guided by coverage.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test says what it expects by failing"
)]

#[path = "../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use targets::{TARGETS, Target};

/// Mutations of each target in an ordinary run of the tests.
const MUTATIONS_DEFAULT: u64 = 400;
/// Longer inputs are cut.
const INPUT_BYTES_MAX: usize = 64 * 1024;
/// An input may take no longer; the slowest ones of a loaded machine stay far below.
const INPUT_TIME_MAX: Duration = Duration::from_secs(20);

/// Repeatable draws: splitmix64.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            files_below(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

/// Inputs to begin with, in the order of their names.
fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    files_below(&top().join("fuzz/corpus").join(name), &mut files);
    if name == "plan" {
        files_below(&top().join("tests/plans"), &mut files);
        files.retain(|file| file.extension().is_none_or(|extension| extension == "yaml"));
        files.push(top().join("phases.yaml"));
    }
    files.sort();
    files
        .into_iter()
        .map(|file| (file.clone(), fs::read(file).unwrap()))
        .collect()
}

/// Values at which programs stumble.
const TOKENS: &[&str] = &[
    "0",
    "-1",
    "1",
    "18446744073709551615",
    "9223372036854775808",
    "1e400",
    "null",
    "true",
    "\"\"",
    "[]",
    "{}",
    "\\u0000",
    "\u{feff}",
    "\u{202e}",
    "\r\n",
    "\n\n",
    ": ",
    "- ",
    "&a ",
    "*a",
    "<<: ",
    "[",
    "]",
    "{",
    "}",
    "'",
    "\"",
    "#",
    "|\n",
    "[AGENT-1-1] ",
    "[ESCALATION-NEEDED] ",
    "\n\nOrchestrate-Tree: ",
    "\0",
    "\u{ffff}",
];

fn mutated(draws: &mut Draws, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[draws.below(corpus.len())].clone();
    for _ in 0..=draws.below(6) {
        let place = draws.below(bytes.len() + 1);
        let end = (place + draws.below(40)).min(bytes.len());
        match draws.below(11) {
            0 if place < bytes.len() => bytes[place] ^= 1 << draws.below(8),
            1 if place < bytes.len() => bytes[place] = draws.next() as u8,
            2 => drop(bytes.drain(place..end)),
            3 => {
                let copy = bytes[place..end].to_vec();
                let to = draws.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            4 => {
                let token = TOKENS[draws.below(TOKENS.len())].as_bytes().to_vec();
                bytes.splice(place..place, token);
            }
            5 => {
                let token = TOKENS[draws.below(TOKENS.len())].as_bytes().to_vec();
                bytes.splice(place..end, token);
            }
            6 => {
                let other = &corpus[draws.below(corpus.len())];
                let from = draws.below(other.len() + 1);
                bytes.truncate(place);
                bytes.extend_from_slice(&other[from..]);
            }
            7 => bytes.truncate(place),
            // By lines: dropped, doubled, swapped.
            operation => {
                let mut lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
                let (one, other) = (draws.below(lines.len()), draws.below(lines.len()));
                match operation {
                    8 => drop(lines.remove(one)),
                    9 => lines.insert(other, lines[one].clone()),
                    _ => lines.swap(one, other),
                }
                bytes = lines.join(&b'\n');
            }
        }
        bytes.truncate(INPUT_BYTES_MAX);
    }
    bytes
}

/// Runs a target on an input; says what went wrong.
fn fault(target: &Target, input: &[u8]) -> Option<String> {
    let begun = Instant::now();
    let input = input.to_vec();
    let run = target.1;
    if let Err(panic) = catch_unwind(move || run(&input)) {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        return Some(words.unwrap_or_else(|| "a panic without words".to_owned()));
    }
    (begun.elapsed() > INPUT_TIME_MAX).then(|| format!("it took {:?}", begun.elapsed()))
}

#[test]
fn the_committed_corpora_hold() {
    for target in TARGETS {
        let corpus = corpus(target.0);
        assert!(corpus.len() > 2, "{} has no corpus", target.0);
        for (file, input) in corpus {
            assert_eq!(fault(target, &input), None, "{}: {}", target.0, file.display());
        }
    }
}

#[test]
fn mutations_of_the_corpora_hold() {
    let wanted = std::env::var("FUZZ_TARGET").ok();
    let seconds: Option<u64> = std::env::var("FUZZ_SECONDS")
        .ok()
        .map(|text| text.parse().expect("seconds"));
    let seed: u64 = std::env::var("FUZZ_SEED").map_or(1, |text| text.parse().expect("a seed"));
    let names: Vec<&str> = TARGETS.iter().map(|target| target.0).collect();
    let known = |name: &String| names.contains(&name.as_str());
    assert!(wanted.as_ref().is_none_or(known), "the targets are {names:?}");
    for target in TARGETS
        .iter()
        .filter(|target| wanted.as_ref().is_none_or(|name| name == target.0))
    {
        let inputs: Vec<Vec<u8>> = corpus(target.0).into_iter().map(|(_, input)| input).collect();
        let mut draws = Draws(seed);
        let begun = Instant::now();
        let mut count = 0;
        let goes_on = |count: u64| match seconds {
            Some(seconds) => begun.elapsed() < Duration::from_secs(seconds),
            None => count < MUTATIONS_DEFAULT,
        };
        while goes_on(count) {
            let input = mutated(&mut draws, &inputs);
            count += 1;
            if let Some(fault) = fault(target, &input) {
                let file = top()
                    .join("fuzz/corpus")
                    .join(target.0)
                    .join(format!("found-{seed}-{count}"));
                fs::write(&file, &input).unwrap();
                panic!("{}: {fault}; the input is {}", target.0, file.display());
            }
        }
        println!(
            "{}: {count} inputs from a corpus of {} in {:?}, no fault",
            target.0,
            inputs.len(),
            begun.elapsed()
        );
    }
}
