//! Landings on checkouts, and worktrees, whole and after crashes: every test runs on plain ref files with SHA-1, on reftable, and on SHA-256.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

mod git_support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use git_support::{Repository, branch, clean, diverge, for_each_format, landed, landing, wait_until};
use orchestrate::core::event::Refusal;
use orchestrate::ids::Oid;
use orchestrate::plan::Gate;
use orchestrate::shell::git::{Git, GitError, Landing, digest_of};

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
    let (tree, onto) = clean(
        git.prepare_merge(&source, None, &repository.tip("main"), &[], &[])
            .unwrap(),
    );
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
        let (tree, _) = clean(
            git.prepare_merge(&source, None, &repository.tip("main"), &[], &[])
                .unwrap(),
        );
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
                    git.create_branch(&name, base).unwrap();
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
        git.create_branch(&branch("agent"), &base).unwrap();
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
        git.create_branch(&branch("agent"), &repository.tip("main")).unwrap();
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
        git.create_branch(&branch("agent"), &repository.tip("main")).unwrap();
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
