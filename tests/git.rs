//! Git on real repositories: every test runs on plain ref files with SHA-1, on reftable, and on SHA-256.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

mod git_support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use git_support::{Format, Repository, for_each_format, landing, wait_until};
use orchestrate::core::event::{GateOutcome, Preparation, Refusal};
use orchestrate::ids::{BranchName, Oid};
use orchestrate::plan::Gate;
use orchestrate::shell::git::{
    Git, GitError, LandedGate, LandedReceipt, Landing, Reading, digest_of, processes_inside,
};
use orchestrate::tags;

fn branch(name: &str) -> BranchName {
    BranchName::new(name)
}

fn landed(landing: Landing) -> Oid {
    match landing {
        Landing::Landed(oid) => oid,
        Landing::Refused(refusal) => panic!("refused: {refusal:?}"),
    }
}

fn clean(preparation: Preparation) -> (Oid, Oid) {
    match preparation {
        Preparation::Clean { tree, onto } => (tree, onto),
        other => panic!("not clean: {other:?}"),
    }
}

// Opening

#[test]
fn opening_names_what_is_wrong_and_what_helps() {
    let place = tempfile::tempdir().unwrap();
    let open = |directory: &Path| Git::open(directory).map(|_| ()).unwrap_err();
    let error = open(place.path());
    assert!(matches!(error, GitError::NotARepository { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("git init"));
    assert!(matches!(
        open(&place.path().join("absent")),
        GitError::NotARepository { .. }
    ));
    let bare = place.path().join("bare");
    assert!(
        Command::new("git")
            .args(["init", "-q", "--bare"])
            .arg(&bare)
            .status()
            .unwrap()
            .success()
    );
    let error = open(&bare);
    assert!(matches!(error, GitError::Bare { .. }), "{error:?}");
    assert!(error.hint().unwrap().starts_with("git clone "));
}

#[test]
fn opening_chooses_the_reader_that_can_read_the_repository() {
    for_each_format(|repository| {
        let git = repository.open();
        assert_eq!(git.reads_in_process(), repository.format == Format::Files);
        assert!(
            !Git::open_with(&repository.path, Reading::Program)
                .unwrap()
                .reads_in_process()
        );
        assert_eq!(git.common_dir(), repository.path.join(".git"));
        assert!(git.has_commits().unwrap());
    });
    let empty = Repository::empty(Format::Files);
    assert!(!empty.open().has_commits().unwrap());
    let error = empty
        .open()
        .create_team_branch(&branch("team"), &branch("main"))
        .unwrap_err();
    assert!(error.sentence().contains("git commit"), "{}", error.sentence());
}

// Reading

#[test]
fn both_readers_give_the_same_answers() {
    for_each_format(|repository| {
        let first = repository.tip("main");
        repository.git(&["checkout", "-qb", "team/one"]);
        for number in 0..5 {
            repository.write("deep/er/file", &format!("{number}\n"));
            repository.commit(&format!(
                "[AGENT-1-1] Part {number}\n\nBody: of {number}\n\nOrchestrate-Run: r{number}"
            ));
        }
        repository.git(&["pack-refs", "--all"]);
        repository.git(&["checkout", "-qb", "side", first.as_str()]);
        repository.write("ünïcode name", "x");
        repository.git(&["rm", "-q", "a"]);
        repository.commit("remove");
        repository.git(&["checkout", "-q", "team/one"]);
        repository.git(&["merge", "-q", "--no-edit", "side"]);
        let (one, other) = (
            repository.open(),
            Git::open_with(&repository.path, Reading::Program).unwrap(),
        );
        let tips = one.all_tips().unwrap();
        assert_eq!(tips, other.all_tips().unwrap());
        assert_eq!(
            tips.keys().map(BranchName::as_str).collect::<Vec<_>>(),
            ["main", "side", "team/one"]
        );
        let (top, side) = (repository.tip("team/one"), repository.tip("side"));
        for (from, to) in [
            (&first, &top),
            (&top, &first),
            (&side, &top),
            (&first, &side),
            (&top, &top),
        ] {
            assert_eq!(one.contains(to, from).unwrap(), other.contains(to, from).unwrap());
            assert_eq!(one.merge_base(to, from).unwrap(), other.merge_base(to, from).unwrap());
            assert_eq!(
                one.changed_paths(from, to).unwrap(),
                other.changed_paths(from, to).unwrap()
            );
            let facts = |git: &Git| {
                let new = git.new_commits(Some(from), to, 100).unwrap();
                (
                    new.rewritten,
                    new.commits
                        .into_iter()
                        .map(|fact| (fact.oid, fact.message))
                        .collect::<BTreeSet<_>>(),
                )
            };
            assert_eq!(facts(&one), facts(&other));
        }
        for oid in [&first, &top, &side] {
            assert_eq!(one.commit(oid).unwrap(), other.commit(oid).unwrap());
            assert_eq!(one.paths(oid).unwrap(), other.paths(oid).unwrap());
            assert_eq!(one.first_parents(oid, 3).unwrap(), other.first_parents(oid, 3).unwrap());
        }
        let absent = Oid::new("1".repeat(first.as_str().len()));
        for git in [&one, &other] {
            assert!(matches!(git.commit(&absent), Err(GitError::NoSuchCommit { .. })));
            assert_eq!(git.tip(&branch("no/such")).unwrap(), None);
            assert_eq!(git.tips(&[branch("main"), branch("nope")]).unwrap().len(), 1);
        }
    });
}

#[test]
fn new_commits_come_oldest_first_and_tell_a_rewritten_branch() {
    for_each_format(|repository| {
        let base = repository.tip("main");
        let commits: Vec<Oid> = (0..5)
            .map(|number| repository.commit_file("f", &number.to_string(), &format!("c{number}")))
            .collect();
        let git = repository.open();
        let new = git.new_commits(Some(&base), &commits[4], 100).unwrap();
        assert!(!new.rewritten);
        assert_eq!(
            new.commits.iter().map(|fact| fact.message.as_str()).collect::<Vec<_>>(),
            ["c0", "c1", "c2", "c3", "c4"]
        );
        let newest = git.new_commits(Some(&base), &commits[4], 2).unwrap();
        assert_eq!(
            newest.commits.iter().map(|fact| &fact.oid).collect::<Vec<_>>(),
            [&commits[3], &commits[4]]
        );
        assert_eq!(git.new_commits(None, &commits[1], 100).unwrap().commits.len(), 3);
        repository.git(&["reset", "-q", "--hard", commits[1].as_str()]);
        let other = repository.commit_file("f", "other", "rewritten");
        let new = git.new_commits(Some(&commits[4]), &other, 100).unwrap();
        assert!(new.rewritten);
        assert_eq!(new.commits.iter().map(|fact| &fact.oid).collect::<Vec<_>>(), [&other]);
        let gone = Oid::new("2".repeat(base.as_str().len()));
        assert!(git.new_commits(Some(&gone), &other, 100).unwrap().rewritten);
    });
}

// Branches

#[test]
fn branches_are_made_once_and_moved_forward_but_never_taken_over() {
    for_each_format(|repository| {
        let git = repository.open();
        let base = repository.tip("main");
        assert_eq!(
            git.create_team_branch(&branch("team-1"), &branch("main")).unwrap(),
            base
        );
        assert_eq!(
            git.create_team_branch(&branch("team-1"), &branch("main")).unwrap(),
            base
        );
        let next = repository.commit_file("b", "b", "next");
        assert_eq!(
            git.create_team_branch(&branch("team-1"), &branch("main")).unwrap(),
            next
        );
        assert_eq!(repository.tip("team-1"), next);
        repository.git(&["branch", "agent", base.as_str()]);
        repository.git(&["checkout", "-q", "agent"]);
        let foreign = repository.commit_file("c", "c", "somebody's");
        let error = git.create_actor_branch(&branch("agent"), &next).unwrap_err();
        assert!(
            error.to_string().starts_with("branch exists with other content"),
            "{error}"
        );
        assert_eq!(
            error.hint().unwrap(),
            "keep what is there under another name: git branch -m agent agent-old"
        );
        assert_eq!(repository.tip("agent"), foreign);
    });
}

#[test]
fn a_kept_commit_survives_pruning() {
    for_each_format(|repository| {
        let git = repository.open();
        let lost = repository.commit_file("x", "x", "lost");
        repository.git(&["reset", "-q", "--hard", "HEAD~1"]);
        let name = git.keep(&lost, "agent 1.1, attempt 2").unwrap();
        assert_eq!(git.keep(&lost, "agent 1.1, attempt 2").unwrap(), name);
        assert!(
            name.starts_with("refs/orchestrate/kept/agent-1-1--attempt-2/"),
            "{name}"
        );
        repository.git(&["reflog", "expire", "--expire=now", "--all"]);
        repository.git(&["gc", "-q", "--prune=now"]);
        assert_eq!(repository.open().commit(&lost).unwrap().message, "lost");
    });
}

// Merging in memory

/// `main` and `agent` diverge: one line of `a` on each side if `conflicting`, other files otherwise.
fn diverge(repository: &Repository, conflicting: bool) -> (Oid, Oid) {
    repository.git(&["checkout", "-qb", "agent"]);
    repository.write("a", "one\ntwo\nthree\nfour\nfive changed by agent\n");
    repository.write("own/new", "new\n");
    let source = repository.commit("[AGENT-1-1] Work");
    repository.git(&["checkout", "-q", "main"]);
    repository.write(
        "a",
        if conflicting {
            "one\ntwo\nthree\nfour\nfive changed by main\n"
        } else {
            "one changed\ntwo\nthree\nfour\nfive\n"
        },
    );
    (source, repository.commit("main goes on"))
}

#[test]
fn a_clean_merge_gives_the_tree_that_git_merge_gives() {
    for_each_format(|repository| {
        let (source, onto) = diverge(repository, false);
        let git = repository.open();
        let before = repository.git(&["status", "--porcelain"]);
        let (tree, prepared_onto) = clean(git.prepare_merge(&source, None, &branch("main"), &[], &[]).unwrap());
        assert_eq!(prepared_onto, onto);
        assert_eq!(repository.git(&["status", "--porcelain"]), before);
        repository.git(&["checkout", "-q", "--detach"]);
        repository.git(&["merge", "-q", "--no-edit", "agent"]);
        assert_eq!(repository.git(&["rev-parse", "HEAD^{tree}"]), tree.as_str());
        // What is in the target already changes nothing.
        let contained = Oid::new(repository.git(&["rev-parse", "main~1"]));
        let (tree, _) = clean(git.prepare_merge(&contained, None, &branch("main"), &[], &[]).unwrap());
        assert_eq!(tree.as_str(), repository.git(&["rev-parse", "main^{tree}"]));
    });
}

#[test]
fn a_conflict_names_its_paths_and_the_next_merge_works() {
    for_each_format(|repository| {
        let (source, onto) = diverge(repository, true);
        let git = repository.open();
        for _ in 0..3 {
            let outcome = git.prepare_merge(&source, None, &branch("main"), &[], &[]).unwrap();
            assert_eq!(
                outcome,
                Preparation::Conflict {
                    onto: onto.clone(),
                    paths: vec!["a".to_owned()]
                }
            );
        }
        repository.git(&["checkout", "-q", "-b", "other", "main"]);
        let other = repository.commit_file("z", "z", "other");
        clean(git.prepare_merge(&other, None, &branch("main"), &[], &[]).unwrap());
    });
}

#[test]
fn a_file_added_to_a_directory_that_was_renamed_is_a_conflict_for_people() {
    for_each_format(|repository| {
        for number in 0..4 {
            repository.write(&format!("old/f{number}"), &format!("{number}\n").repeat(20));
        }
        repository.commit("base");
        repository.git(&["checkout", "-qb", "agent"]);
        let source = repository.commit_file("old/added", "added", "add");
        repository.git(&["checkout", "-q", "main"]);
        repository.git(&["mv", "old", "new"]);
        repository.commit("rename");
        // Whoever has other settings gets the same outcome.
        repository.git(&["config", "merge.directoryRenames", "true"]);
        let git = repository.open();
        match git.prepare_merge(&source, None, &branch("main"), &[], &[]).unwrap() {
            Preparation::Conflict { paths, .. } => assert_eq!(paths, ["new/added"]),
            other => panic!("{other:?}"),
        }
        // A file that moved keeps the change that was made under its old name.
        repository.git(&["checkout", "-q", "-b", "edit", "main~1"]);
        let edit = repository.commit_file("old/f1", &format!("{}changed\n", "1\n".repeat(20)), "edit");
        let (tree, _) = clean(git.prepare_merge(&edit, None, &branch("main"), &[], &[]).unwrap());
        assert!(
            repository
                .git(&["show", &format!("{tree}:new/f1")])
                .ends_with("changed")
        );
    });
}

#[test]
fn a_source_must_hold_its_deliverables_and_stay_within_its_paths() {
    for_each_format(|repository| {
        let since = repository.tip("main");
        let (source, onto) = diverge(repository, false);
        let git = repository.open();
        let globs = |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect::<Vec<_>>();
        let prepare = |writable: &[&str], deliverables: &[&str]| {
            git.prepare_merge(
                &source,
                Some(&since),
                &branch("main"),
                &globs(writable),
                &globs(deliverables),
            )
            .unwrap()
        };
        assert_eq!(
            prepare(&["own/**"], &["own/*", "docs/**/*.md", "missing"]),
            Preparation::Unacceptable {
                missing: globs(&["docs/**/*.md", "missing"]),
                outside: globs(&["a"])
            }
        );
        clean(prepare(&["own/", "a"], &["own/new"]));
        clean(prepare(&[], &[]));
        // Merging the target into the own branch brings paths of others, which are not the actor's doing.
        repository.git(&["checkout", "-q", "main"]);
        repository.commit_file("others/file", "x", "others");
        repository.git(&["checkout", "-q", "agent"]);
        repository.git(&["merge", "-q", "--no-edit", "main"]);
        let merged = repository.tip("agent");
        clean(
            git.prepare_merge(&merged, Some(&since), &branch("main"), &globs(&["own/**", "a"]), &[])
                .unwrap(),
        );
        assert_ne!(onto, repository.tip("main"));
        let unrelated = Oid::new(repository.git(&["commit-tree", "-m", "alone", "main^{tree}"]));
        assert!(matches!(
            git.prepare_merge(&unrelated, None, &branch("main"), &[], &[]),
            Err(GitError::Unrelated { .. })
        ));
    });
}

#[test]
fn merging_goes_on_when_the_merge_process_is_killed() {
    let repository = Repository::new(Format::Files);
    let (source, _) = diverge(&repository, false);
    let git = repository.open();
    let first = git.prepare_merge(&source, None, &branch("main"), &[], &[]).unwrap();
    let mine: Vec<u32> = processes_inside(&repository.path)
        .into_iter()
        .filter(|process| {
            std::fs::read_to_string(format!("/proc/{process}/cmdline")).is_ok_and(|line| line.contains("merge-tree"))
        })
        .collect();
    assert_eq!(mine.len(), 1, "one process serves all merges");
    let process = rustix::process::Pid::from_raw(mine[0].cast_signed()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    for _ in 0..3 {
        assert_eq!(
            git.prepare_merge(&source, None, &branch("main"), &[], &[]).unwrap(),
            first
        );
    }
}

#[test]
fn merge_attributes_come_from_the_target_and_not_from_a_checkout() {
    for_each_format(|repository| {
        let (source, _) = diverge(repository, true);
        repository.write(".gitattributes", "a merge=union\n");
        let git = repository.open();
        assert!(matches!(
            git.prepare_merge(&source, None, &branch("main"), &[], &[]).unwrap(),
            Preparation::Conflict { .. }
        ));
        repository.git(&["add", ".gitattributes"]);
        repository.commit("attributes");
        let (tree, _) = clean(git.prepare_merge(&source, None, &branch("main"), &[], &[]).unwrap());
        let merged = repository.git(&["show", &format!("{tree}:a")]);
        assert!(merged.contains("by main") && merged.contains("by agent"), "{merged}");
    });
}

// Landing

#[test]
fn a_landing_carries_its_receipt_and_is_the_same_commit_each_time() {
    for_each_format(|repository| {
        repository.git(&["config", "user.name", "Somebody Else"]);
        let (source, _) = diverge(repository, false);
        repository.git(&["checkout", "-q", "--detach"]);
        let git = repository.open();
        let (tree, onto) = clean(git.prepare_merge(&source, None, &branch("main"), &[], &[]).unwrap());
        let land = landing(
            "main",
            &onto,
            &source,
            &tree,
            Gate::Command("npm test".to_owned()),
            Some(GateOutcome::Flaky),
        );
        let commit = landed(git.land(&land).unwrap());
        assert_eq!(repository.tip("main"), commit);
        let record = git.commit(&commit).unwrap();
        assert_eq!(
            (record.tree, record.parents),
            (tree.clone(), vec![onto.clone(), source.clone()])
        );
        assert_eq!(
            repository.git(&["log", "-1", "--format=%an <%ae> %cn <%ce> %at %ct", commit.as_str()]),
            "orchestrate <orchestrate@localhost> orchestrate <orchestrate@localhost> 1795348800 1795348800"
        );
        let message = tags::parse(&record.message);
        assert_eq!(message.subject, "[MERGE] Merged agent-1-1 into team-1");
        assert_eq!(message.trailer("Orchestrate-Gate-Command"), Some("npm test"));
        assert_eq!(
            LandedReceipt::read(&message).unwrap(),
            LandedReceipt {
                run_id: "run-1".to_owned(),
                source,
                onto,
                tree,
                gate: LandedGate::Passed {
                    digest: digest_of("npm test"),
                    flaky: true
                },
                duration_ms: 1234
            }
        );
        // Again: the same commit, and the branch does not go back when it has gone on.
        assert_eq!(landed(git.land(&land).unwrap()), commit);
        repository.git(&["checkout", "-q", "main"]);
        let later = repository.commit_file("later", "x", "later");
        assert_eq!(landed(git.land(&land).unwrap()), commit);
        assert_eq!(repository.tip("main"), later);
        repository.git(&["fsck", "--strict", "--no-dangling"]);
    });
}

#[test]
fn nothing_lands_without_proof() {
    let repository = Repository::new(Format::Files);
    let (source, onto) = diverge(&repository, false);
    let git = repository.open();
    let (tree, _) = clean(git.prepare_merge(&source, None, &branch("main"), &[], &[]).unwrap());
    let failed = Some(GateOutcome::Failed { output: String::new() });
    for (gate, outcome) in [
        (Gate::Command("t".to_owned()), None),
        (Gate::Command("t".to_owned()), failed),
        (Gate::None, Some(GateOutcome::Passed)),
    ] {
        assert!(
            git.land(&landing("main", &onto, &source, &tree, gate, outcome))
                .is_err()
        );
        assert_eq!(repository.tip("main"), onto);
    }
    landed(
        git.land(&landing("main", &onto, &source, &tree, Gate::None, None))
            .unwrap(),
    );
}

#[test]
fn of_landings_that_race_exactly_one_moves_the_branch() {
    for_each_format(|repository| {
        let base = repository.tip("main");
        repository.git(&["checkout", "-q", "--detach"]);
        let sources: Vec<Oid> = (0..8)
            .map(|number| {
                repository.git(&["checkout", "-q", "--detach", base.as_str()]);
                repository.commit_file(&format!("f{number}"), "x", &format!("work {number}"))
            })
            .collect();
        // A handle each, as processes would have: nothing but git's compare-and-swap decides.
        let outcomes: Vec<Landing> = std::thread::scope(|scope| {
            let threads: Vec<_> = sources
                .iter()
                .map(|source| {
                    let base = &base;
                    scope.spawn(move || {
                        let git = repository.open();
                        let (tree, _) = clean(git.prepare_merge(source, None, &branch("main"), &[], &[]).unwrap());
                        git.land(&landing("main", base, source, &tree, Gate::None, None))
                            .unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let winners: Vec<&Oid> = outcomes
            .iter()
            .filter_map(|outcome| {
                if let Landing::Landed(oid) = outcome {
                    Some(oid)
                } else {
                    None
                }
            })
            .collect();
        assert_eq!(winners, [&repository.tip("main")]);
        let refused = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Landing::Refused(Refusal::TargetMoved { .. })))
            .count();
        assert_eq!(refused, 7);
    });
}

/// A merge into `main` that changes, adds, removes and swaps a file for a directory, ready to land.
fn big_merge(repository: &Repository) -> (Git, orchestrate::core::command::LandMerge) {
    repository.write("gone/file", "gone\n");
    repository.write("swap", "a file\n");
    repository.write("ignored-rule/.gitignore", "*.log\n");
    repository.commit("prepare");
    repository.git(&["checkout", "-qb", "agent"]);
    repository.git(&["rm", "-rq", "gone", "swap"]);
    for number in 0..40 {
        repository.write(&format!("many/f{number}"), &format!("{number}\n").repeat(500));
    }
    repository.write("a", &"changed\n".repeat(400));
    repository.write("swap/inner", "a directory now\n");
    std::os::unix::fs::symlink("a", repository.path.join("link")).unwrap();
    repository.commit("work");
    repository.git(&["checkout", "-q", "main"]);
    let git = repository.open();
    let source = repository.tip("agent");
    let (tree, onto) = clean(git.prepare_merge(&source, None, &branch("main"), &[], &[]).unwrap());
    let land = landing("main", &onto, &source, &tree, Gate::None, None);
    (git, land)
}

#[test]
fn a_clean_checkout_moves_with_its_branch() {
    for_each_format(|repository| {
        let (git, land) = big_merge(repository);
        let linked = repository.beside("linked");
        repository.git(&["worktree", "add", "-q", "--force", linked.to_str().unwrap(), "main"]);
        repository.write("untracked", "mine");
        let commit = landed(git.land(&land).unwrap());
        for checkout in [&repository.path, &linked] {
            let status = |arguments: &[&str]| repository.git_in(checkout, arguments);
            assert_eq!(status(&["rev-parse", "HEAD"]), commit.as_str());
            assert_eq!(status(&["status", "--porcelain", "--untracked-files=no"]), "");
            assert_eq!(
                std::fs::read_to_string(checkout.join("swap/inner")).unwrap(),
                "a directory now\n"
            );
            assert!(!checkout.join("gone").exists());
        }
        assert_eq!(repository.read("untracked"), "mine");
        assert_eq!(repository.git(&["diff", "HEAD"]), "");
    });
}

#[test]
fn a_checkout_with_changes_stops_the_landing_and_nothing_moves() {
    for_each_format(|repository| {
        let (git, land) = big_merge(repository);
        let refuses = |expected: &[&str]| {
            let before = repository.git(&["status", "--porcelain"]);
            match git.land(&land).unwrap() {
                Landing::Refused(Refusal::CheckoutDirty { directory, paths }) => {
                    assert_eq!(directory, repository.path.display().to_string());
                    assert_eq!(paths, expected);
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(repository.tip("main"), land.onto);
            assert_eq!(repository.git(&["status", "--porcelain"]), before);
        };
        repository.write("a", "my change\n");
        refuses(&["a"]);
        assert_eq!(repository.read("a"), "my change\n");
        repository.git(&["add", "a"]);
        refuses(&["a"]);
        repository.git(&["reset", "-q", "--hard"]);
        repository.write("many/f3", "untracked, mine\n");
        refuses(&["many/f3"]);
        std::fs::remove_dir_all(repository.path.join("many")).unwrap();
        repository.write("many", "a file where a directory will be\n");
        refuses(&["many"]);
        std::fs::remove_file(repository.path.join("many")).unwrap();
        std::fs::write(repository.path.join(".git/MERGE_HEAD"), format!("{}\n", land.source)).unwrap();
        refuses(&["(a merge in progress)"]);
        std::fs::remove_file(repository.path.join(".git/MERGE_HEAD")).unwrap();
        landed(git.land(&land).unwrap());
        assert_eq!(repository.git(&["status", "--porcelain"]), "");
    });
}

#[test]
fn a_second_dirty_checkout_leaves_the_first_one_where_it_was() {
    for_each_format(|repository| {
        let (git, land) = big_merge(repository);
        let linked = repository.beside("linked");
        repository.git(&["worktree", "add", "-q", "--force", linked.to_str().unwrap(), "main"]);
        std::fs::write(linked.join("a"), "mine\n").unwrap();
        assert!(matches!(
            git.land(&land).unwrap(),
            Landing::Refused(Refusal::CheckoutDirty { .. })
        ));
        assert_eq!(repository.git(&["status", "--porcelain"]), "");
        assert_eq!(repository.tip("main"), land.onto);
    });
}

// Crashes between files and ref

/// Not a test of its own: the process that [`a_landing_killed_at_any_instant_is_finished_by_repeating_it`] starts and kills.
#[test]
fn helper_that_lands_until_it_is_killed() {
    let Ok(directory) = std::env::var("LAND_IN") else {
        return;
    };
    let value = |name: &str| Oid::new(std::env::var(name).unwrap());
    let git = Git::open(Path::new(&directory)).unwrap();
    let land = landing(
        "main",
        &value("LAND_ONTO"),
        &value("LAND_SOURCE"),
        &value("LAND_TREE"),
        Gate::None,
        None,
    );
    landed(git.land(&land).unwrap());
}

#[test]
fn a_landing_killed_at_any_instant_is_finished_by_repeating_it() {
    use std::os::unix::process::CommandExt as _;
    for_each_format(|repository| {
        let (git, land) = big_merge(repository);
        let (mut cut_off, mut finished) = (0, 0);
        for delay in (0..16).map(|step| Duration::from_micros(8_000 + step * 4_000)) {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "helper_that_lands_until_it_is_killed", "--nocapture"])
                .env("LAND_IN", &repository.path)
                .env("LAND_ONTO", land.onto.as_str())
                .env("LAND_SOURCE", land.source.as_str())
                .env("LAND_TREE", land.tree.as_str())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(0)
                .spawn()
                .unwrap();
            // The instant of the kill is the input here, not a wait for something.
            let started = Instant::now();
            while started.elapsed() < delay && child.try_wait().unwrap().is_none() {
                std::thread::yield_now();
            }
            let group = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
            // The whole group, as a machine that loses power would: git's own processes die half-way, too.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            child.wait().unwrap();
            wait_until("the killed group is gone", || {
                rustix::process::test_kill_process_group(group).is_err()
            });
            // A machine that comes up again has no locks held by live processes; git leaves the lock of a killed ref update to its owner.
            for lock in [
                ".git/refs/heads/main.lock",
                ".git/HEAD.lock",
                ".git/reftable/tables.list.lock",
            ] {
                let _ = std::fs::remove_file(repository.path.join(lock));
            }
            let was_clean = repository.git(&["status", "--porcelain"]).is_empty()
                && !repository.path.join(".git/index.lock").exists();
            let found = repository.git(&["status", "--porcelain"]);
            let commit = match git.land(&land).unwrap() {
                Landing::Landed(commit) => commit,
                refused @ Landing::Refused(_) => panic!("killed after {delay:?}, found\n{found}\n{refused:?}"),
            };
            assert_eq!(repository.tip("main"), commit);
            assert_eq!(repository.git(&["status", "--porcelain"]), "", "killed after {delay:?}");
            repository.git(&["diff", "--quiet", "HEAD"]);
            if was_clean {
                finished += 1
            } else {
                cut_off += 1
            }
            repository.git(&["reset", "-q", "--hard", land.onto.as_str()]);
        }
        repository.git(&["fsck", "--strict", "--no-dangling"]);
        assert!(
            cut_off + finished > 0,
            "{:?}: every kill came too late or too early",
            repository.format
        );
    });
}

/// Puts a checkout into the state of a crash: the record is there, the files are as `arrange` leaves them.
fn interrupt(repository: &Repository, land: &orchestrate::core::command::LandMerge, commit: &Oid) {
    let name = digest_of(&repository.path.display().to_string());
    let file = repository
        .path
        .join(".git/orchestrate")
        .join(format!("landing-{}.json", &name[..16]));
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(
        file,
        format!(r#"{{"branch":"main","from":"{}","to":"{commit}"}}"#, land.onto),
    )
    .unwrap();
}

#[test]
fn half_written_files_of_a_crash_are_mended_and_edits_of_the_user_are_not_touched() {
    for_each_format(|repository| {
        let (git, land) = big_merge(repository);
        let commit = landed(git.land(&land).unwrap());
        let back = || {
            repository.git(&["reset", "-q", "--hard", land.onto.as_str()]);
            repository.git(&["clean", "-ffdxq"]);
        };
        let show = |path: &str| repository.git_bytes(&["show", &format!("{commit}:{path}")]);
        // Some files are new, one is cut off, one is gone, the index is old and its lock is left behind.
        back();
        std::fs::create_dir(repository.path.join("many")).unwrap();
        for number in 0..7 {
            std::fs::write(
                repository.path.join(format!("many/f{number}")),
                show(&format!("many/f{number}")),
            )
            .unwrap();
        }
        std::fs::write(repository.path.join("many/f7"), &show("many/f7")[..100]).unwrap();
        std::fs::remove_file(repository.path.join("a")).unwrap();
        std::fs::remove_file(repository.path.join("swap")).unwrap();
        std::fs::write(repository.path.join(".git/index.lock"), "").unwrap();
        interrupt(repository, &land, &commit);
        assert_eq!(landed(git.land(&land).unwrap()), commit);
        assert_eq!(repository.git(&["status", "--porcelain"]), "");

        // All files and the index are new, the ref is old.
        back();
        repository.git(&["read-tree", "-m", "-u", land.onto.as_str(), commit.as_str()]);
        interrupt(repository, &land, &commit);
        assert_eq!(landed(git.land(&land).unwrap()), commit);
        assert_eq!(repository.git(&["status", "--porcelain"]), "");

        // The same, and the target went elsewhere meanwhile: the checkout goes back to what its branch says.
        back();
        repository.git(&["read-tree", "-m", "-u", land.onto.as_str(), commit.as_str()]);
        interrupt(repository, &land, &commit);
        let mut other = land.clone();
        other.receipt.run_id = "run-2".to_owned();
        let other_commit = landed(git.land(&other).unwrap());
        assert_ne!(other_commit, commit);
        assert_eq!(repository.git(&["status", "--porcelain"]), "");

        // The ref moved, the record stayed.
        back();
        repository.git(&["reset", "-q", "--hard", commit.as_str()]);
        interrupt(repository, &land, &commit);
        assert_eq!(landed(git.land(&land).unwrap()), commit);
        assert_eq!(repository.git(&["status", "--porcelain"]), "");

        // The user edited one of the files before anybody repeated the landing.
        back();
        std::fs::create_dir(repository.path.join("many")).unwrap();
        std::fs::write(repository.path.join("many/f1"), show("many/f1")).unwrap();
        std::fs::write(repository.path.join("a"), "precious\n").unwrap();
        interrupt(repository, &land, &commit);
        match git.land(&land).unwrap() {
            Landing::Refused(Refusal::CheckoutDirty { paths, .. }) => assert_eq!(paths, ["a"]),
            other => panic!("{other:?}"),
        }
        assert_eq!(repository.read("a"), "precious\n");
        assert_eq!(repository.tip("main"), land.onto);
        repository.git(&["checkout", "-q", "--", "a"]);
        assert_eq!(landed(git.land(&land).unwrap()), commit);
        assert_eq!(repository.git(&["status", "--porcelain"]), "");
    });
}

// Candidates and worktrees

#[test]
fn a_candidate_is_the_same_commit_each_time_and_moves_nothing() {
    for_each_format(|repository| {
        let (source, onto) = diverge(repository, false);
        let git = repository.open();
        let (tree, _) = clean(git.prepare_merge(&source, None, &branch("main"), &[], &[]).unwrap());
        let tips = git.all_tips().unwrap();
        let parents = [onto, source];
        let candidate = git.candidate_commit(&tree, &parents, "Candidate").unwrap();
        assert_eq!(
            repository
                .open()
                .candidate_commit(&tree, &parents, "Candidate")
                .unwrap(),
            candidate
        );
        assert_eq!(git.all_tips().unwrap(), tips);
        let gate = repository.beside("gate");
        let kept = ["node_modules".to_owned()];
        git.ensure_gate_worktree(&gate, &candidate, &kept).unwrap();
        assert_eq!(repository.git_in(&gate, &["rev-parse", "HEAD^{tree}"]), tree.as_str());
        // A gate leaves rubbish, switches to a branch and changes files; nothing of it reaches the next use, and the branch stays.
        std::fs::write(gate.join("rubbish"), "x").unwrap();
        std::fs::create_dir(gate.join("node_modules")).unwrap();
        repository.git_in(&gate, &["checkout", "-q", "--force", "agent"]);
        std::fs::write(gate.join("a"), "changed").unwrap();
        std::fs::write(repository.path.join(".git/worktrees/gate/index.lock"), "").unwrap();
        git.ensure_gate_worktree(&gate, &candidate, &kept).unwrap();
        assert_eq!(repository.git_in(&gate, &["status", "--porcelain", "--ignored"]), "");
        assert!(gate.join("node_modules").exists() && !gate.join("rubbish").exists());
        assert_eq!(git.all_tips().unwrap(), tips);
        std::fs::remove_dir(gate.join("node_modules")).unwrap();
        git.remove_worktree(&gate, gate.parent().unwrap()).unwrap();
        assert!(!gate.exists());
    });
}

#[test]
fn thirty_two_worktrees_are_added_at_once_and_all_are_whole() {
    for_each_format(|repository| {
        for number in 0..50 {
            repository.write(&format!("d{}/f{number}", number % 5), "content\n");
        }
        let base = repository.commit("files");
        let root = repository.beside("spaces");
        std::thread::scope(|scope| {
            for number in 0..32 {
                let (root, base) = (&root, &base);
                // Half of them through handles of their own, as other processes would.
                scope.spawn(move || {
                    let git = repository.open();
                    let name = branch(&format!("agent-{number}"));
                    git.create_actor_branch(&name, base).unwrap();
                    git.ensure_worktree(&name, &root.join(name.as_str())).unwrap();
                    git.land(&landing(
                        "main",
                        base,
                        base,
                        &git.commit(base).unwrap().tree,
                        Gate::Command(String::new()),
                        None,
                    ))
                    .unwrap_err();
                });
            }
        });
        for number in 0..32 {
            let path = root.join(format!("agent-{number}"));
            assert_eq!(
                repository.git_in(&path, &["status", "--porcelain", "--branch"]),
                format!("## agent-{number}")
            );
            assert!(path.join("d4/f49").exists());
        }
        repository.git(&["fsck", "--strict", "--no-dangling"]);
        assert_eq!(
            repository.git(&["config", "--get-regexp", "^branch\\."]),
            "",
            "no tracking was configured"
        );
    });
}

#[test]
fn a_worktree_is_taken_as_it_is_and_mended_where_a_crash_left_it_half_made() {
    for_each_format(|repository| {
        let git = repository.open();
        let base = repository.tip("main");
        git.create_actor_branch(&branch("agent"), &base).unwrap();
        let path = repository.beside("agent");
        let ensure = || git.ensure_worktree(&branch("agent"), &path);
        ensure().unwrap();
        let admin = repository.path.join(".git/worktrees/agent");
        // Work in it stays.
        std::fs::write(path.join("a"), "half an idea\n").unwrap();
        ensure().unwrap();
        assert_eq!(std::fs::read_to_string(path.join("a")).unwrap(), "half an idea\n");
        repository.git_in(&path, &["checkout", "-q", "--", "a"]);
        // Cut off before the checkout was whole.
        std::fs::remove_file(admin.join("index")).unwrap();
        std::fs::remove_file(path.join("a")).unwrap();
        std::fs::write(admin.join("index.lock"), "").unwrap();
        ensure().unwrap();
        assert_eq!(repository.git_in(&path, &["status", "--porcelain"]), "");
        // Killed in the middle of a commit: no lock stays in the way of the next one.
        for lock in ["index.lock", "HEAD.lock", "AUTO_MERGE.lock"] {
            std::fs::write(admin.join(lock), "").unwrap();
        }
        if repository.path.join(".git/refs/heads").is_dir() {
            std::fs::write(repository.path.join(".git/refs/heads/agent.lock"), "").unwrap();
        }
        ensure().unwrap();
        repository.git_in(&path, &["commit", "-q", "--allow-empty", "-m", "after the kill"]);
        // Cut off while git was adding it.
        std::fs::remove_dir_all(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        std::fs::write(admin.join("locked"), "initializing\n").unwrap();
        ensure().unwrap();
        assert_eq!(repository.git_in(&path, &["status", "--porcelain"]), "");
        // The directory is gone, the record is not.
        std::fs::remove_dir_all(&path).unwrap();
        ensure().unwrap();
        // The record is gone, and only the link is left.
        for entry in std::fs::read_dir(&path)
            .unwrap()
            .flatten()
            .filter(|entry| entry.file_name() != ".git")
        {
            let _ = std::fs::remove_file(entry.path());
            let _ = std::fs::remove_dir_all(entry.path());
        }
        std::fs::remove_dir_all(&admin).unwrap();
        ensure().unwrap();
        assert_eq!(
            repository.git_in(&path, &["status", "--porcelain", "--branch"]),
            "## agent"
        );
        // Left detached at a commit of its own: the commit is kept, the branch is back.
        repository.git_in(&path, &["checkout", "-q", "--detach"]);
        repository.git_in(&path, &["commit", "-q", "--allow-empty", "-m", "aside"]);
        let aside = repository.git_in(&path, &["rev-parse", "HEAD"]);
        ensure().unwrap();
        assert_eq!(repository.git_in(&path, &["symbolic-ref", "--short", "HEAD"]), "agent");
        assert!(
            repository
                .git(&["for-each-ref", "--contains", &aside])
                .contains("refs/orchestrate/kept/")
        );
        repository.git(&["fsck", "--strict", "--no-dangling"]);
    });
}

#[test]
fn a_place_that_is_taken_is_an_error_with_its_remedy() {
    for_each_format(|repository| {
        let git = repository.open();
        git.create_actor_branch(&branch("agent"), &repository.tip("main"))
            .unwrap();
        let path = repository.beside("place");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("precious"), "x").unwrap();
        let error = git.ensure_worktree(&branch("agent"), &path).unwrap_err();
        assert!(error.hint().unwrap().starts_with("move it away: mv "), "{error}");
        assert!(path.join("precious").exists());
        let elsewhere = repository.beside("elsewhere");
        repository.git(&["worktree", "add", "-q", elsewhere.to_str().unwrap(), "agent"]);
        let error = git
            .ensure_worktree(&branch("agent"), &repository.beside("other"))
            .unwrap_err();
        assert!(
            error.sentence().contains("is checked out in") && error.sentence().contains("checkout --detach"),
            "{}",
            error.sentence()
        );
        let error = git
            .ensure_worktree(&branch("absent"), &repository.beside("other"))
            .unwrap_err();
        assert!(matches!(error, GitError::NoSuchBranch { .. }));
    });
}

#[test]
fn a_worktree_is_removed_only_when_nothing_in_it_would_be_lost() {
    for_each_format(|repository| {
        let git = repository.open();
        git.create_actor_branch(&branch("agent"), &repository.tip("main"))
            .unwrap();
        let root = repository.beside("spaces");
        let path = root.join("agent");
        git.ensure_worktree(&branch("agent"), &path).unwrap();
        let refuses = || {
            let error = git.remove_worktree(&path, &root).unwrap_err();
            assert!(matches!(error, GitError::WorktreeHoldsWork { .. }), "{error}");
            assert!(path.join(".git").exists());
        };
        std::fs::write(path.join("untracked"), "x").unwrap();
        refuses();
        std::fs::remove_file(path.join("untracked")).unwrap();
        std::fs::write(path.join("a"), "x").unwrap();
        refuses();
        repository.git_in(&path, &["checkout", "-q", "--", "a"]);
        repository.git_in(&path, &["checkout", "-q", "--detach"]);
        repository.git_in(&path, &["commit", "-q", "--allow-empty", "-m", "nowhere else"]);
        refuses();
        repository.git_in(&path, &["checkout", "-q", "agent"]);
        let mut living = Command::new("cat")
            .current_dir(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        refuses();
        drop(living.stdin.take());
        living.wait().unwrap();
        assert!(matches!(
            git.remove_worktree(&path, &repository.beside("not-the-root")),
            Err(GitError::WorktreeHoldsWork { .. })
        ));
        git.remove_worktree(&path, &root).unwrap();
        git.remove_worktree(&path, &root).unwrap();
        assert!(!path.exists());
        assert_eq!(git.worktrees().unwrap().len(), 1);
    });
}
