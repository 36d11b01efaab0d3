//! `status`, `logs` and `stop`, as people and scripts see them: standard output, standard error and exit status together.

mod common;

use common::story::*;

/// 1.1 is merged, 1.2 works in its second attempt, 1.3 waits.
fn in_the_middle() -> Story {
    let mut story = Story::running(125);
    story.tell(1, &[created("team-1"), created("agent-1-1"), started(agent("1.1"), 1)]);
    story.tell(
        30,
        &[
            progressed(agent("1.1"), 1, 1.2),
            committed(agent("1.1"), 'a', "[AGENT-1-1] Schema complete"),
        ],
    );
    story.tell(31, &merged(1, 'b'));
    story.tell(32, &[created("agent-1-2"), started(agent("1.2"), 1)]);
    story
}

#[test]
fn show() {
    let story = in_the_middle();
    println!("{}", story.ask(&["status"]));
    println!("{}", story.ask(&["status", "--json"]));
    println!("{}", story.ask(&["logs"]));
}
