//! (b) The seed-shaped plan with instant agents: `orchestrate run` against a shell script that does the same git work.

use crate::figures::{Samples, Table};
use crate::fixture::{Fixture, INSTANT_AGENT, Shape, setting};

/// One worktree, commit and merge after the other.
const ONE_BY_ONE: &str = r#"set -e
top=$(pwd); trees=$top/../trees; mkdir -p "$trees"
actor() { # branch, its team, its directory, the line that completes it
  git worktree add -q -b "$1" "$trees/$1" "team-$2"
  mkdir -p "$trees/$1/$3"
  echo "$1 build" > "$trees/$1/$3/result.txt"
  git -C "$trees/$1" add "$3"
  git -C "$trees/$1" commit -q -m "$4"
  git -C "$trees/team-$2" merge -q --no-ff -m "[MERGE] Merged $1 into team-$2" "$1"
}
for team in 1 2 3 4; do
  git worktree add -q -b "team-$team" "$trees/team-$team" main
  for agent in 1 2 3 4; do
    actor "agent-$team-$agent" $team "work/$team-$agent" "[AGENT-$team-$agent] Part $team.$agent complete"
  done
  actor "team-$team-integration" $team "docs/team-$team" "[TEAM-$team] Phase complete"
  git merge -q --no-ff -m "[MERGE] Merged team-$team into main" "team-$team"
done
"#;

/// The same, with the agents that need nothing of each other at work at the same time; adding worktrees and merging go one by one, as git demands.
const IN_WAVES: &str = r#"set -e
top=$(pwd); trees=$top/../trees; mkdir -p "$trees"
add() { git worktree add -q -b "$1" "$trees/$1" "$2"; }
work() {
  mkdir -p "$trees/$1/$2"
  echo "$1 build" > "$trees/$1/$2/result.txt"
  git -C "$trees/$1" add "$2"
  git -C "$trees/$1" commit -q -m "$3"
}
merge() { git -C "$trees/$2" merge -q --no-ff -m "[MERGE] Merged $1 into $2" "$1"; }
wave() {
  for id in "$@"; do add "agent-$id" "team-${id%-*}"; done
  for id in "$@"; do work "agent-$id" "work/$id" "[AGENT-$id] Part $id complete" & done
  wait
  for id in "$@"; do merge "agent-$id" "team-${id%-*}"; done
}
finish() {
  for team in "$@"; do
    add "team-$team-integration" "team-$team"
    work "team-$team-integration" "docs/team-$team" "[TEAM-$team] Phase complete"
    merge "team-$team-integration" "team-$team"
    git merge -q --no-ff -m "[MERGE] Merged team-$team into main" "team-$team"
  done
}
add team-1 main; wave 1-1; wave 1-2; wave 1-3; wave 1-4; finish 1
add team-2 main; add team-3 main; wave 2-1 2-2 2-3 3-1; wave 2-4 3-2 3-3 3-4; finish 2 3
add team-4 main; wave 4-1 4-2 4-3 4-4; finish 4
"#;

const FILES_OF_ACTORS: usize = 20;

pub(crate) fn measure(table: &mut Table) {
    let rounds = setting("OVERHEAD_ROUNDS", 7);
    let (mut ours, mut one_by_one, mut in_waves) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..rounds {
        let fixture = Fixture::new(&Shape::seed(4), INSTANT_AGENT);
        ours.time(|| fixture.run());
        check(&fixture);
        for (script, samples) in [(ONE_BY_ONE, &mut one_by_one), (IN_WAVES, &mut in_waves)] {
            let fixture = Fixture::new(&Shape::seed(4), INSTANT_AGENT);
            samples.time(|| fixture.output(fixture.program("bash").args(["-c", script])));
            check(&fixture);
        }
    }
    table.ours(
        "b",
        "orchestrate run, 4 slots, gates none",
        &ours,
        "ms",
        one_by_one.median(),
    );
    table.peer("b", "bash script, one by one", &one_by_one, "ms");
    table.peer("b", "bash script, in waves", &in_waves, "ms");
}

/// All of them did the same work.
fn check(fixture: &Fixture) {
    let files = fixture.git(&["ls-tree", "-r", "--name-only", "main", "work", "docs"]);
    assert_eq!(files.lines().count(), FILES_OF_ACTORS, "{files}");
    let merges = fixture.git(&["rev-list", "--count", "--merges", "main"]);
    assert_eq!(merges, "24");
}
