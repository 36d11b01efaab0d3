//! What is fuzzed, each target a function of bytes that panics when something does not hold. Coverage-guided by cargo-fuzz (`fuzz/`), and on stable by `tests/fuzz.rs`.

use orchestrate::core::event::Event;
use orchestrate::core::{self, State};
use orchestrate::ids::Time;
use orchestrate::plan::diagnostic::Severity;
use orchestrate::plan::{self, Plan, draw};
use orchestrate::shell::agent::lines::LineSplitter;
use orchestrate::shell::agent::stream::Stream;
use orchestrate::shell::git::LandedReceipt;
use orchestrate::tags;

/// A target by its name.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// All of them.
pub(crate) const TARGETS: &[Target] = &[
    ("plan", plan_text),
    ("tags", commit_message),
    ("trailers", receipt),
    ("stream", stream_json),
    ("journal", journal_record),
    ("core", core_steps),
];

/// Time between two events of the core.
const STEP_MS: u64 = 1_000;
/// More lines are not folded.
const EVENTS_MAX: usize = 300;

/// A plan is read or refused, with findings that can be drawn; one that is accepted survives the journal.
pub(crate) fn plan_text(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let loaded = plan::parse(&text, "phases.yaml");
    let drawn = draw::text(&loaded, false);
    assert!(!drawn.contains('\u{1b}'), "control characters reach the terminal");
    let _document = draw::json(&loaded).to_string();
    assert_eq!(
        loaded.plan.is_none(),
        loaded.count(Severity::Error) > 0,
        "an error and a plan exclude each other"
    );
    if let Some(plan) = &loaded.plan {
        let written = serde_json::to_string(plan).expect("a plan can be written");
        let read: Plan = serde_json::from_str(&written).expect("and read");
        assert_eq!(&read, plan);
    }
}

/// A message is taken apart without loss: its subject is its first line, its trailers are lines of it.
pub(crate) fn commit_message(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let message = tags::parse(&text);
    assert!(!message.subject.contains('\n'));
    assert_eq!(tags::parse_subject(&message.subject), message.tag);
    for (key, value) in &message.trailers {
        assert!(text.contains(key.as_str()) && text.contains(value.as_str()));
    }
}

/// A receipt is what its trailers say, or none.
pub(crate) fn receipt(bytes: &[u8]) {
    let text = format!(
        "[MERGE] Merged agent-1-1 into team-1\n\n{}",
        String::from_utf8_lossy(bytes)
    );
    let message = tags::parse(&text);
    if let Ok(receipt) = LandedReceipt::read(&message) {
        assert_eq!(message.trailer("orchestrate-tree"), Some(receipt.tree.as_str()));
        assert_eq!(message.trailer("orchestrate-source"), Some(receipt.source.as_str()));
        assert_eq!(message.trailer("orchestrate-onto"), Some(receipt.onto.as_str()));
    }
}

/// An agent's output means the same in whatever pieces it arrives.
pub(crate) fn stream_json(bytes: &[u8]) {
    let read = |size: usize| {
        let (mut splitter, mut stream) = (LineSplitter::default(), Stream::new(None));
        for piece in bytes.chunks(size) {
            splitter.push(piece, |line| stream.line(line));
        }
        splitter.finish(|line| stream.line(line));
        format!(
            "{:?} {:?} {:?} {:?} {:?} {}",
            stream.usage(),
            stream.session(),
            stream.result_line(),
            stream.limit(),
            stream.denied(),
            stream.tool_is_running()
        )
    };
    let whole = read(usize::MAX);
    assert_eq!(read(1), whole);
    assert_eq!(read(7), whole);
}

/// A record is refused, or means what it means when it is written again.
pub(crate) fn journal_record(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(event) = serde_json::from_slice::<Event>(line) {
            let written = serde_json::to_string(&event).expect("an event can be written");
            let read: Event = serde_json::from_str(&written).expect("and read");
            assert_eq!(read, event);
        }
    }
}

/// Whatever events come, in whatever order: the core takes them, the same way each time, and can be looked at after each.
pub(crate) fn core_steps(bytes: &[u8]) {
    let (mut one, mut other) = (State::default(), State::default());
    let mut at = Time(STEP_MS);
    for line in bytes.split(|byte| *byte == b'\n').take(EVENTS_MAX) {
        let Ok(event) = serde_json::from_slice::<Event>(line) else {
            continue;
        };
        at = Time(at.0 + STEP_MS);
        let commands = core::apply(&mut one, at, &event);
        assert_eq!(core::apply(&mut other, at, &event), commands, "the same twice");
        let _wake = core::next_wake(&one);
        if let Some(plan) = one.plan.clone() {
            let _view = core::view(&one, &plan, at);
        }
    }
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
}
