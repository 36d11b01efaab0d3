//! The merge oracle: what we merge in memory is what `git merge` makes in a checkout, tree for tree and conflict for conflict.
//!
//! The history is drawn from a seed: both sides edit, add, delete and rename files, rename directories, change modes, links and submodules, and add the same
//! path. `cargo xtask merges 500` makes so many merges and prints the figures; `MERGES_SEED=7` draws another history.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test says what it expects by failing"
)]

mod git_support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::Stdio;

use git_support::{Format, Repository};
use orchestrate::ids::Oid;
use orchestrate::shell::git::SecondLook;

/// In an ordinary run of the tests.
const MERGES_DEFAULT: usize = 40;
/// So many changes are made on each side at most.
const CHANGES_MAX: u64 = 6;

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

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}

fn number_from_environment(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number in the environment"))
}

/// What stands at a path.
#[derive(Clone, PartialEq)]
enum Entry {
    File { executable: bool, lines: Vec<String> },
    Link(String),
    Submodule(String),
}

type Tree = BTreeMap<String, Entry>;

/// What can happen on a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Edit,
    Add,
    AddTheSamePath,
    Delete,
    Rename,
    RenameDirectory,
    AddIntoDirectory,
    Mode,
    Link,
    Submodule,
    FileForDirectory,
}

const CHANGES: [Change; 13] = [
    Change::Edit,
    Change::Edit,
    Change::Edit,
    Change::Add,
    Change::AddTheSamePath,
    Change::Delete,
    Change::Rename,
    Change::RenameDirectory,
    Change::AddIntoDirectory,
    Change::Mode,
    Change::Link,
    Change::Submodule,
    Change::FileForDirectory,
];

const DIRECTORIES: [&str; 6] = ["source", "source/part", "library", "docs", "tests", "tests/data"];

fn base(draws: &mut Draws) -> Tree {
    let mut tree = Tree::new();
    for directory in DIRECTORIES {
        for number in 0..5 {
            let lines = (0..8 + draws.below(20))
                .map(|line| format!("{directory} {number} {line} {:x}", draws.below(1 << 32)))
                .collect();
            let executable = draws.below(6) == 0;
            tree.insert(format!("{directory}/file-{number}"), Entry::File { executable, lines });
        }
    }
    tree.insert("link".to_owned(), Entry::Link("docs/file-0".to_owned()));
    tree.insert("vendor/module".to_owned(), Entry::Submodule(commit_name(1)));
    tree
}

/// A submodule's commit lies in another repository: any name will do.
fn commit_name(number: u64) -> String {
    format!("{number:040x}")
}

fn a_file(draws: &mut Draws, tree: &Tree) -> Option<String> {
    let files: Vec<&String> = tree
        .iter()
        .filter(|(_, entry)| matches!(entry, Entry::File { .. }))
        .map(|(path, _)| path)
        .collect();
    (!files.is_empty()).then(|| (*draws.one_of(&files)).clone())
}

/// Whether a file may stand at the path: nothing of it is a file already, and it is no directory.
fn is_free(tree: &Tree, path: &str) -> bool {
    let below = format!("{path}/");
    let inside_a_file = path.match_indices('/').any(|(end, _)| tree.contains_key(&path[..end]));
    !tree.contains_key(path) && !inside_a_file && !tree.keys().any(|other| other.starts_with(&below))
}

fn change(draws: &mut Draws, tree: &mut Tree, change: Change) {
    let fresh = |draws: &mut Draws| Entry::File {
        executable: false,
        lines: (0..3 + draws.below(6))
            .map(|line| format!("new {line} {}", draws.below(3)))
            .collect(),
    };
    match change {
        Change::Edit => {
            for _ in 0..=draws.below(3) {
                let Some(path) = a_file(draws, tree) else { return };
                if let Some(Entry::File { lines, .. }) = tree.get_mut(&path) {
                    let place = draws.below(lines.len() as u64 + 1) as usize;
                    match draws.below(3) {
                        0 if place < lines.len() => drop(lines.remove(place)),
                        1 if place < lines.len() => lines[place] = format!("edited {}", draws.below(4)),
                        _ => lines.insert(place, format!("inserted {}", draws.below(4))),
                    }
                }
            }
        }
        Change::Add | Change::AddTheSamePath | Change::AddIntoDirectory => {
            let name = match change {
                Change::Add => format!("added-{}", draws.below(1000)),
                _ => format!("same-{}", draws.below(3)),
            };
            let path = format!("{}/{name}", draws.one_of(&DIRECTORIES));
            if is_free(tree, &path) {
                let entry = fresh(draws);
                tree.insert(path, entry);
            }
        }
        Change::Delete => {
            if let Some(path) = a_file(draws, tree) {
                tree.remove(&path);
            }
        }
        Change::Rename => {
            let Some(path) = a_file(draws, tree) else { return };
            let to = format!("{}/renamed-{}", draws.one_of(&DIRECTORIES), draws.below(4));
            if is_free(tree, &to)
                && let Some(entry) = tree.remove(&path)
            {
                tree.insert(to, entry);
            }
        }
        Change::RenameDirectory => {
            let from = format!("{}/", draws.one_of(&DIRECTORIES));
            let to = format!("moved-{}/", draws.below(3));
            let inside: Vec<String> = tree.keys().filter(|path| path.starts_with(&from)).cloned().collect();
            for path in inside {
                let target = format!("{to}{}", &path[from.len()..]);
                if is_free(tree, &target)
                    && let Some(entry) = tree.remove(&path)
                {
                    tree.insert(target, entry);
                }
            }
        }
        Change::Mode => {
            let Some(path) = a_file(draws, tree) else { return };
            if let Some(Entry::File { executable, .. }) = tree.get_mut(&path) {
                *executable = !*executable;
            }
        }
        Change::Link => {
            let to = format!("docs/file-{}", draws.below(4));
            if tree.contains_key("link") || is_free(tree, "link") {
                tree.insert("link".to_owned(), Entry::Link(to));
            }
        }
        Change::Submodule => {
            let path = *draws.one_of(&["vendor/module", "vendor/other"]);
            match draws.below(4) {
                0 => drop(tree.remove(path)),
                number => drop(tree.insert(path.to_owned(), Entry::Submodule(commit_name(number + 1)))),
            }
        }
        Change::FileForDirectory => {
            let directory = (*draws.one_of(&["docs", "tests/data", "library"])).to_owned();
            let below = format!("{directory}/");
            tree.retain(|path, _| !path.starts_with(&below));
            if is_free(tree, &directory) {
                let entry = fresh(draws);
                tree.insert(directory, entry);
            }
        }
    }
}

/// A commit for `git fast-import`, with its whole tree.
fn commit(stream: &mut Vec<u8>, reference: &str, parent: Option<&str>, tree: &Tree) {
    let who = "A. Developer <developer@example.org> 1795341600 +0000";
    write!(stream, "commit {reference}\nauthor {who}\ncommitter {who}\ndata 2\nx\n").unwrap();
    if let Some(parent) = parent {
        writeln!(stream, "from {parent}").unwrap();
    }
    writeln!(stream, "deleteall").unwrap();
    for (path, entry) in tree {
        let (mode, text) = match entry {
            Entry::File { executable, lines } => (
                if *executable { "100755" } else { "100644" },
                lines.iter().map(|line| format!("{line}\n")).collect(),
            ),
            Entry::Link(to) => ("120000", to.clone()),
            Entry::Submodule(commit) => {
                writeln!(stream, "M 160000 {commit} {path}").unwrap();
                continue;
            }
        };
        write!(stream, "M {mode} inline {path}\ndata {}\n{text}\n", text.len()).unwrap();
    }
    writeln!(stream).unwrap();
}

#[derive(Default)]
struct Figures {
    clean: usize,
    conflicts: usize,
    conflicting_paths: usize,
    library_same_tree: usize,
    library_same_conflict: usize,
    library_differs: usize,
    git_gave_up: usize,
    changes: BTreeMap<Change, usize>,
    kinds: BTreeSet<String>,
}

#[test]
fn our_merges_equal_git_s_own_merge_conflict_for_conflict() {
    let wanted = number_from_environment("MERGES", MERGES_DEFAULT);
    let mut draws = Draws(number_from_environment("MERGES_SEED", 1) as u64);
    let mut figures = Figures::default();

    let mut stream = Vec::new();
    for number in 0..wanted {
        let before = base(&mut draws);
        commit(&mut stream, &format!("refs/heads/base-{number}"), None, &before);
        for side in ["ours", "theirs"] {
            let mut tree = before.clone();
            for _ in 0..1 + draws.below(CHANGES_MAX) {
                let kind = *draws.one_of(&CHANGES);
                change(&mut draws, &mut tree, kind);
                *figures.changes.entry(kind).or_default() += 1;
            }
            let reference = format!("refs/heads/{side}-{number}");
            commit(
                &mut stream,
                &reference,
                Some(&format!("refs/heads/base-{number}")),
                &tree,
            );
        }
    }
    let repository = Repository::new(Format::Files);
    let mut import = repository
        .command(&repository.path, &["fast-import", "--quiet", "--force"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    import.stdin.take().unwrap().write_all(&stream).unwrap();
    assert!(import.wait().unwrap().success());

    let git = repository.open();
    let look = SecondLook::open(&git).unwrap();
    for number in 0..wanted {
        let ours = repository.tip(&format!("ours-{number}"));
        let theirs = repository.tip(&format!("theirs-{number}"));
        let merged = git.merge_trees(&ours, &theirs).unwrap();
        match merged_in_a_checkout(&repository, &ours, &theirs, &mut figures.kinds) {
            Some(expected) => assert_eq!(merged, expected, "merge {number}: {ours} and {theirs}"),
            // Where git itself cannot write down the conflict that it has found, ours must not be a merge.
            None => {
                assert!(merged.is_err(), "merge {number}: {ours} and {theirs}");
                figures.git_gave_up += 1;
            }
        }
        let by_library = look.merge_by_library(&ours, &theirs).expect("libgit2 opens it");
        match (&merged, by_library) {
            (Ok(tree), Ok(Some(other))) if tree == &other => figures.library_same_tree += 1,
            (Err(_), Ok(None)) => figures.library_same_conflict += 1,
            (_, _) => figures.library_differs += 1,
        }
        match merged {
            Ok(_) => figures.clean += 1,
            Err(paths) => {
                figures.conflicts += 1;
                figures.conflicting_paths += paths.len();
            }
        }
    }
    println!(
        "{wanted} merges equal git's own: {} clean, {} with {} conflicting paths of the kinds {:?}; libgit2 came to the same tree {} times, to a conflict as \
         well {} times, to something else {} times; git could not write down its own conflict {} times; changes {:?}",
        figures.clean,
        figures.conflicts,
        figures.conflicting_paths,
        figures.kinds,
        figures.library_same_tree,
        figures.library_same_conflict,
        figures.library_differs,
        figures.git_gave_up,
        figures.changes
    );
    assert!(
        figures.git_gave_up * 50 <= wanted,
        "git gave up too often to be an oracle"
    );
    assert!(
        figures.clean > 0 && figures.conflicts > 0,
        "the history is too tame or too wild"
    );
}

/// What `git merge` makes in a checkout: the tree, or the paths that it leaves unmerged. `None` when it stumbles over a conflict: git 2.47 does when a
/// renamed directory meets a file of its new name ("cache entry has null sha1").
fn merged_in_a_checkout(
    repository: &Repository,
    ours: &Oid,
    theirs: &Oid,
    kinds: &mut BTreeSet<String>,
) -> Option<Result<Oid, Vec<String>>> {
    repository.git(&["checkout", "-q", "-f", "--detach", ours.as_str()]);
    repository.git(&["clean", "-q", "-ffdx"]);
    let arguments = ["merge", "--no-ff", "--no-commit", theirs.as_str()];
    let output = repository.command(&repository.path, &arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let result = match output.status.code() {
        Some(0) => Ok(Oid::new(repository.git(&["write-tree"]))),
        Some(1) => {
            for line in said.lines() {
                if let Some((kind, _)) = line.strip_prefix("CONFLICT (").and_then(|rest| rest.split_once(')')) {
                    kinds.insert(kind.to_owned());
                }
            }
            let unmerged = repository.git_bytes(&["ls-files", "-u", "-z"]);
            let paths: BTreeSet<String> = unmerged
                .split(|byte| *byte == 0)
                .filter_map(|entry| {
                    String::from_utf8_lossy(entry)
                        .split_once('\t')
                        .map(|(_, path)| path.to_owned())
                })
                // A file in the way of a directory gets the name of its side: in a checkout that is HEAD, in memory the commit.
                .map(|path| path.replace("~HEAD", &format!("~{ours}")))
                .collect();
            Err(paths.into_iter().collect())
        }
        Some(128) if String::from_utf8_lossy(&output.stderr).contains("cache entry has null sha1") => {
            repository.git(&["reset", "-q", "--hard"]);
            return None;
        }
        code => panic!("git merge: {code:?}: {said}{}", String::from_utf8_lossy(&output.stderr)),
    };
    if result.is_err() {
        repository.git(&["reset", "-q", "--hard"]);
    } else if repository.path.join(".git/MERGE_HEAD").exists() {
        repository.git(&["merge", "--abort"]);
    }
    Some(result)
}
