//! Git on real repositories: every test runs on plain ref files with SHA-1, on reftable, and on SHA-256.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

mod git_support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use git_support::{Format, Repository, branch, clean, diverge, for_each_format, landed, landing};
use orchestrate::core::event::{BranchReturn, GateOutcome, Preparation, Refusal};
use orchestrate::ids::{BranchName, Oid};
use orchestrate::plan::Gate;
use orchestrate::shell::git::{
    Git, GitError, LandedGate, LandedReceipt, Landing, Reading, SecondOpinion, digest_of, processes_inside,
};
use orchestrate::tags;

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
            git.create_branch(&branch("team-1"), &repository.tip("main")).unwrap(),
            base
        );
        assert_eq!(
            git.create_branch(&branch("team-1"), &repository.tip("main")).unwrap(),
            base
        );
        let next = repository.commit_file("b", "b", "next");
        assert_eq!(
            git.create_branch(&branch("team-1"), &repository.tip("main")).unwrap(),
            next
        );
        assert_eq!(repository.tip("team-1"), next);
        repository.git(&["branch", "agent", base.as_str()]);
        repository.git(&["checkout", "-q", "agent"]);
        let foreign = repository.commit_file("c", "c", "somebody's");
        let error = git.create_branch(&branch("agent"), &next).unwrap_err();
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

#[test]
fn a_clean_merge_gives_the_tree_that_git_merge_gives() {
    for_each_format(|repository| {
        let (source, onto) = diverge(repository, false);
        let git = repository.open();
        let before = repository.git(&["status", "--porcelain"]);
        let (tree, prepared_onto) = clean(
            git.prepare_merge(&source, None, &repository.tip("main"), &[], &[])
                .unwrap(),
        );
        assert_eq!(prepared_onto, onto);
        assert_eq!(repository.git(&["status", "--porcelain"]), before);
        repository.git(&["checkout", "-q", "--detach"]);
        repository.git(&["merge", "-q", "--no-edit", "agent"]);
        assert_eq!(repository.git(&["rev-parse", "HEAD^{tree}"]), tree.as_str());
        // What is in the target already changes nothing.
        let contained = Oid::new(repository.git(&["rev-parse", "main~1"]));
        let (tree, _) = clean(
            git.prepare_merge(&contained, None, &repository.tip("main"), &[], &[])
                .unwrap(),
        );
        assert_eq!(tree.as_str(), repository.git(&["rev-parse", "main^{tree}"]));
    });
}

#[test]
fn a_second_merge_agrees_with_the_first_and_with_nothing_else() {
    for_each_format(|repository| {
        let (source, onto) = diverge(repository, false);
        let git = repository.open();
        let (tree, _) = clean(
            git.prepare_merge(&source, None, &repository.tip("main"), &[], &[])
                .unwrap(),
        );
        assert_eq!(git.second_opinion(&onto, &source, &tree).unwrap(), SecondOpinion::Same);
        let wrong = git.commit(&onto).unwrap().tree;
        assert_eq!(
            git.second_opinion(&onto, &source, &wrong).unwrap(),
            SecondOpinion::Other(Some(tree))
        );
        let contained = Oid::new(repository.git(&["rev-parse", "main~1"]));
        assert_eq!(
            git.second_opinion(&onto, &contained, &wrong).unwrap(),
            SecondOpinion::Same
        );
        // Looking ahead gives the tree that the merge makes once what is in front of it is merged.
        repository.git(&["checkout", "-q", "-b", "other", "main"]);
        let other = repository.commit_file("z", "z", "other");
        let (ahead, candidate) = git
            .look_ahead(&onto, std::slice::from_ref(&source), &other)
            .unwrap()
            .unwrap();
        assert!(git.contains(&candidate, &source).unwrap());
        repository.git(&["checkout", "-q", "--detach", "main"]);
        repository.git(&["merge", "-q", "--no-ff", "--no-edit", "agent"]);
        repository.git(&["merge", "-q", "--no-edit", "other"]);
        assert_eq!(repository.git(&["rev-parse", "HEAD^{tree}"]), ahead.as_str());
    });
}

#[test]
fn a_conflict_names_its_paths_and_the_next_merge_works() {
    for_each_format(|repository| {
        let (source, onto) = diverge(repository, true);
        let git = repository.open();
        for _ in 0..3 {
            let outcome = git
                .prepare_merge(&source, None, &repository.tip("main"), &[], &[])
                .unwrap();
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
        clean(
            git.prepare_merge(&other, None, &repository.tip("main"), &[], &[])
                .unwrap(),
        );
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
        match git
            .prepare_merge(&source, None, &repository.tip("main"), &[], &[])
            .unwrap()
        {
            Preparation::Conflict { paths, .. } => assert_eq!(paths, ["new/added"]),
            other => panic!("{other:?}"),
        }
        // A file that moved keeps the change that was made under its old name.
        repository.git(&["checkout", "-q", "-b", "edit", "main~1"]);
        let edit = repository.commit_file("old/f1", &format!("{}changed\n", "1\n".repeat(20)), "edit");
        let (tree, _) = clean(
            git.prepare_merge(&edit, None, &repository.tip("main"), &[], &[])
                .unwrap(),
        );
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
                &repository.tip("main"),
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
            git.prepare_merge(
                &merged,
                Some(&since),
                &repository.tip("main"),
                &globs(&["own/**", "a"]),
                &[],
            )
            .unwrap(),
        );
        assert_ne!(onto, repository.tip("main"));
        let unrelated = Oid::new(repository.git(&["commit-tree", "-m", "alone", "main^{tree}"]));
        assert!(matches!(
            git.prepare_merge(&unrelated, None, &repository.tip("main"), &[], &[]),
            Err(GitError::Unrelated { .. })
        ));
    });
}

#[test]
fn merging_goes_on_when_the_merge_process_is_killed() {
    let repository = Repository::new(Format::Files);
    let (source, _) = diverge(&repository, false);
    let git = repository.open();
    let first = git
        .prepare_merge(&source, None, &repository.tip("main"), &[], &[])
        .unwrap();
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
            git.prepare_merge(&source, None, &repository.tip("main"), &[], &[])
                .unwrap(),
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
            git.prepare_merge(&source, None, &repository.tip("main"), &[], &[])
                .unwrap(),
            Preparation::Conflict { .. }
        ));
        repository.git(&["add", ".gitattributes"]);
        repository.commit("attributes");
        let (tree, _) = clean(
            git.prepare_merge(&source, None, &repository.tip("main"), &[], &[])
                .unwrap(),
        );
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
        let (tree, onto) = clean(
            git.prepare_merge(&source, None, &repository.tip("main"), &[], &[])
                .unwrap(),
        );
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
    let (tree, _) = clean(
        git.prepare_merge(&source, None, &repository.tip("main"), &[], &[])
            .unwrap(),
    );
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
                        let (tree, _) = clean(
                            git.prepare_merge(source, None, &repository.tip("main"), &[], &[])
                                .unwrap(),
                        );
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

#[test]
fn a_branch_goes_back_once_and_keeps_what_somebody_put_on_top() {
    for_each_format(|repository| {
        let git = repository.open();
        let good = repository.commit_file("a.txt", "good\n", "Good");
        repository.git(&["branch", "team-1"]);
        repository.git(&["checkout", "-q", "team-1"]);
        let bad = repository.commit_file("a.txt", "bad\n", "Bad");
        repository.git(&["checkout", "-q", "main"]);
        let back = [BranchReturn {
            branch: branch("team-1"),
            from: bad.clone(),
            to: good.clone(),
            anew: false,
        }];
        assert_eq!(git.return_branches(&back).unwrap(), None);
        assert_eq!(repository.tip("team-1"), good);
        assert_eq!(
            git.undone_tips(&branch("team-1")).unwrap(),
            std::slice::from_ref(&bad),
            "where it stood is kept"
        );
        // The process that did it died before it could say so, a human went on from there, and the next process does it again.
        repository.git(&["checkout", "-q", "team-1"]);
        let better = repository.commit_file("a.txt", "better\n", "Better");
        assert_eq!(git.return_branches(&back).unwrap(), None);
        assert_eq!(git.hindrance(&back).unwrap(), None);
        assert_eq!(repository.tip("team-1"), better);
        // Whoever brings the bad commit back has moved the branch elsewhere.
        repository.git(&["reset", "-q", "--hard", bad.as_str()]);
        repository.commit_file("a.txt", "worse\n", "Worse");
        let refusal = git.return_branches(&back).unwrap();
        assert!(
            refusal.is_some_and(|words| words.contains("any more: look at it, then ask again")),
            "what stands on it is not thrown away"
        );
    });
}
