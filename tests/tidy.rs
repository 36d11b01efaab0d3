//! Rules of the house as an ordinary test: who may name what, how files begin, how long they get, what is never left behind.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::fs;
use std::path::{Path, PathBuf};

/// Longer files want a seam.
const LINES_MAX: usize = 700;

/// Files that may be longer, up to this many lines, and why.
const LONGER: &[(&str, usize, &str)] = &[("tests/sim/checks.rs", 800, "one rule after another, each by itself")];

/// Text that may not stand in a room's files.
struct Rule {
    /// Files and directories, relative to the project.
    rooms: &'static [&'static str],
    /// Parts of these rooms that may.
    except: &'static [&'static str],
    /// Words; each must not occur as a whole word or path.
    words: &'static [&'static str],
    why: &'static str,
}

const PURE: &[&str] = &[
    "tokio",
    "git2",
    "rusqlite",
    "std::fs",
    "std::process",
    "std::thread",
    "std::net",
    "std::env",
    "std::io",
    "Instant",
    "SystemTime",
    "rand",
    "Uuid",
    "HashMap",
    "HashSet",
    "println",
    "eprintln",
    "print",
    "tracing",
];

const RULES: &[Rule] = &[
    Rule {
        rooms: &["src/core", "src/tags.rs", "src/ids.rs", "src/plan/model.rs"],
        except: &[],
        words: PURE,
        why: "the core is pure: effects, clocks, chance and unordered collections stay outside",
    },
    Rule {
        rooms: &["src/core", "src/tags.rs", "src/ids.rs", "src/plan"],
        except: &[],
        words: &["crate::shell", "crate::report", "crate::cli"],
        why: "the core and the plan know nothing of what is built around them",
    },
    Rule {
        rooms: &["src/report"],
        except: &[],
        words: &["crate::shell", "crate::cli", "git2", "rusqlite"],
        why: "reporters only read views",
    },
    Rule {
        rooms: &["src/shell"],
        except: &[],
        words: &["crate::report", "crate::cli"],
        why: "the shell does not know who reads what it does",
    },
    Rule {
        rooms: &["src"],
        except: &["src/shell/git", "src/shell/git.rs"],
        words: &["git2"],
        why: "all of libgit2 stands in one folder",
    },
    Rule {
        rooms: &["src"],
        except: &["src/shell/journal", "src/shell/journal.rs", "src/verify/script.rs"],
        words: &["rusqlite"],
        why: "SQLite keeps the journal, and reads the scripts of databases; nobody else needs it",
    },
    Rule {
        rooms: &["src"],
        except: &["src/report"],
        words: &["indicatif"],
        why: "only reporters draw",
    },
    Rule {
        rooms: &["src"],
        except: &["src/cli", "src/main.rs"],
        words: &["anyhow", "clap"],
        why: "only the edge of the program speaks to the command line",
    },
];

fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a path with one of these extensions, as paths relative to the project, in order.
fn files_below(path: &str, extensions: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![project().join(path)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let skipped = ["target", "node_modules", "dist", ".wrangler", "coverage", ".git"];
            if path
                .file_name()
                .is_some_and(|name| skipped.iter().any(|skipped| name == *skipped))
            {
                continue;
            }
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path
            .extension()
            .is_some_and(|extension| extensions.iter().any(|wanted| extension == *wanted))
        {
            found.push(relative(&path));
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(project()).unwrap().to_string_lossy().into_owned()
}

fn read(file: &str) -> String {
    // Fixtures may hold broken text on purpose.
    String::from_utf8_lossy(&fs::read(project().join(file)).unwrap()).into_owned()
}

fn is_in(file: &str, room: &str) -> bool {
    file == room
        || file
            .strip_prefix(room)
            .is_some_and(|rest| rest.starts_with('/') || room.is_empty())
}

/// Source lines with their numbers, comments and everything from the file's own tests on left out: words about a thing are not the thing.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()))
}

/// Whether `word` occurs, and not as a part of a longer name.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(start, found)| {
        let is_part = |character: char| character.is_alphanumeric() || character == '_';
        let before = line[..start].chars().next_back();
        let after = line[start + found.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

fn rust_files() -> Vec<String> {
    ["src", "tests", "xtask", "benches", "reference"]
        .iter()
        .filter(|room| project().join(room).exists())
        .flat_map(|room| files_below(room, &["rs"]))
        .collect()
}

fn assert_none(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_room_names_only_what_it_may() {
    let mut broken = Vec::new();
    for rule in RULES {
        for file in rule.rooms.iter().flat_map(|room| files_below(room, &["rs"])) {
            if rule.except.iter().any(|except| is_in(&file, except)) {
                continue;
            }
            for (number, line) in code_lines(&read(&file)) {
                for word in rule.words.iter().filter(|word| names(line, word)) {
                    broken.push(format!("{file}:{number}: `{word}`: {}", rule.why));
                }
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn every_rust_file_begins_with_what_lives_in_it() {
    let broken: Vec<String> = rust_files()
        .into_iter()
        .filter(|file| !read(file).starts_with("//! "))
        .map(|file| format!("{file}:1: the first line must be `//! ` and what lives in the file"))
        .collect();
    assert_none(&broken);
}

#[test]
fn no_rust_file_is_longer_than_it_may_be() {
    let mut broken = Vec::new();
    for file in rust_files() {
        let lines = read(&file).lines().count();
        let limit = LONGER
            .iter()
            .find(|(longer, _, _)| *longer == file)
            .map_or(LINES_MAX, |(_, limit, _)| *limit);
        if lines > limit {
            broken.push(format!("{file}: {lines} lines, {limit} are allowed: look for the seam"));
        }
    }
    for (file, limit, why) in LONGER {
        assert!(!why.is_empty(), "{file} may be longer for no reason");
        if !project().join(file).exists() || read(file).lines().count() <= LINES_MAX {
            broken.push(format!("{file}: need not be in LONGER ({limit} lines) any more"));
        }
    }
    assert_none(&broken);
}

#[test]
fn nothing_is_put_off() {
    // Written apart, so that this file does not find itself.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let mut broken = Vec::new();
    for room in [
        "src",
        "tests",
        "xtask",
        "benches",
        "reference",
        "generated",
        "prompts",
        "specs",
    ] {
        if !project().join(room).exists() {
            continue;
        }
        for file in files_below(room, &["rs", "ts", "tera", "md", "yaml", "toml", "sql", "sh"]) {
            for (index, line) in read(&file).lines().enumerate() {
                for mark in marks.iter().filter(|mark| names(line, mark)) {
                    broken.push(format!("{file}:{}: `{mark}`: do it, or file an issue", index + 1));
                }
                if line.trim_start().starts_with("#[ignore") {
                    broken.push(format!("{file}:{}: a test that does not run proves nothing", index + 1));
                }
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    let homes = [
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
        concat!("/wo", "rk/"),
    ];
    let mut broken = Vec::new();
    for room in [
        "src",
        "tests",
        "xtask",
        "benches",
        "reference",
        "generated",
        "prompts",
        "specs",
        "docs",
    ] {
        if !project().join(room).exists() {
            continue;
        }
        let extensions = [
            "rs", "ts", "tera", "md", "yaml", "toml", "sql", "sh", "json", "patch", "snap",
        ];
        for file in files_below(room, &extensions) {
            let text = read(&file);
            for (index, line) in text.lines().enumerate() {
                for home in homes.iter().filter(|home| starts_a_path(line, home)) {
                    broken.push(format!(
                        "{file}:{}: `{home}` is a path of somebody's machine",
                        index + 1
                    ));
                }
            }
        }
    }
    assert_none(&broken);
}

/// Whether an absolute path begins so: not `a/work/b`, not `https://host/home/`.
fn starts_a_path(line: &str, start: &str) -> bool {
    line.match_indices(start).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|character| character.is_alphanumeric() || "._-*}>)]/".contains(character))
    })
}

#[test]
fn every_planted_bug_says_what_it_is() {
    let patches = files_below("tests/planted", &["patch"]);
    assert!(patches.len() >= 12, "only {} bugs are planted", patches.len());
    let broken: Vec<String> = patches
        .into_iter()
        .filter(|file| {
            let text = read(file);
            !text.starts_with("# ") || !text.contains("+++ b/src/core/")
        })
        .map(|file| format!("{file}: must begin with `# ` and what the bug is, and change the core"))
        .collect();
    assert_none(&broken);
}

#[test]
fn a_word_is_found_only_as_a_whole() {
    assert!(names("use std::collections::HashMap;", "HashMap"));
    assert!(!names("let brand = 1;", "rand"));
    assert!(!names("operands", "rand"));
    assert!(starts_a_path("cd /ho\u{6d}e/me", concat!("/ho", "me/")));
    assert!(!starts_a_path("https://example.org/home/", concat!("/ho", "me/")));
}
