//! The journal: what was acknowledged is there after any crash, nothing else is, and one run writes at a time.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use orchestrate::core::event::{AgentExit, CommitFact, Event, Usage};
use orchestrate::exit_code::ExitCode;
use orchestrate::ids::{Actor, AgentId, Attempt, EscalationId, MicroDollars, Oid, TeamId, Time};
use orchestrate::shell::journal::{FORMAT_VERSION, Journal, JournalError, JournalReader, Record, post};

/// The variable that turns `writer_process` into a writer.
const WRITER_DIRECTORY: &str = "JOURNAL_TEST_WRITER_DIRECTORY";

fn progressed(number: u64) -> Event {
    Event::AgentProgressed {
        actor: Actor::Agent(AgentId::new("1.2")),
        attempt: Attempt(1),
        usage: Usage {
            cost: MicroDollars(number),
            tokens: number,
        },
        session: Some("c0ffee00-0000-4000-8000-000000000000".to_owned()),
    }
}

/// One of each shape: with a struct, with an enum in it, without fields, with a text that hurts.
fn some_events() -> Vec<Event> {
    vec![
        progressed(7),
        Event::DeadlineReached,
        Event::StopRequested { now: true },
        Event::CommitsSeen {
            actor: Actor::Leader(TeamId::new("1")),
            from: Oid::new("b".repeat(40)),
            tip: Oid::new("a".repeat(40)),
            rewritten: false,
            commits: vec![CommitFact {
                oid: Oid::new("a".repeat(40)),
                message: "a \"quoted\"\n\u{1b}[31m \u{0} {\"}: ü".to_owned(),
            }],
        },
        Event::AgentExited {
            actor: Actor::Agent(AgentId::new("1.1")),
            attempt: Attempt(3),
            usage: Usage::default(),
            session: None,
            exit: AgentExit::Failed { reason: String::new() },
        },
    ]
}

fn events_of(records: Vec<Record>) -> Vec<Event> {
    records.into_iter().map(|record| record.event).collect()
}

fn reader(directory: &Path) -> JournalReader {
    Journal::open_read_only(directory).unwrap().expect("there is a journal")
}

fn database(directory: &Path) -> PathBuf {
    directory.join("orchestrate/journal.db")
}

/// Runs SQL as somebody else's program would.
fn tamper(directory: &Path, sql: &str) {
    rusqlite::Connection::open(database(directory))
        .unwrap()
        .execute_batch(sql)
        .unwrap();
}

#[test]
fn every_event_comes_back_as_it_was_with_its_number_and_time() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _lock) = Journal::open_for_run(directory.path(), Time(5)).unwrap();
    let events = some_events();
    journal.append(Time(10), &events[..2]).unwrap();
    journal.append(Time(11), &[]).unwrap();
    journal.append(Time(12), &events[2..]).unwrap();

    let records = reader(directory.path()).records(1).unwrap();
    assert_eq!(
        records.iter().map(|record| record.sequence).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5]
    );
    assert_eq!(
        records.iter().map(|record| record.at.0).collect::<Vec<_>>(),
        [10, 10, 12, 12, 12]
    );
    assert_eq!(events_of(records), events);
    assert_eq!(events_of(reader(directory.path()).records(4).unwrap()), events[3..]);
    assert_eq!(journal.last_sequence(), 5);
}

#[test]
fn reopening_goes_on_with_the_next_number() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let (mut journal, _lock) = Journal::open_for_run(directory.path(), Time(round)).unwrap();
        assert_eq!(journal.last_sequence(), round);
        journal.append(Time(round), &[progressed(round)]).unwrap();
    }
    assert_eq!(reader(directory.path()).last_sequence().unwrap(), 3);
}

#[test]
fn reading_where_no_run_was_ever_started_finds_nothing_and_makes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    assert!(Journal::open_read_only(directory.path()).unwrap().is_none());
    let error = post(directory.path(), Time(1), &Event::StopRequested { now: false }).unwrap_err();
    assert!(matches!(error, JournalError::Missing { .. }), "{error:?}");
    assert_eq!(error.hint().unwrap(), "start one with `orchestrate run`");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_database_that_was_created_but_not_filled_is_no_journal_yet() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("orchestrate")).unwrap();
    File::create(database(directory.path())).unwrap();
    assert!(Journal::open_read_only(directory.path()).unwrap().is_none());
    let (mut journal, _lock) = Journal::open_for_run(directory.path(), Time(1)).unwrap();
    journal.append(Time(1), &[Event::DeadlineReached]).unwrap();
    assert_eq!(reader(directory.path()).last_sequence().unwrap(), 1);
}

#[test]
fn a_second_run_is_refused_and_told_who_runs() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, lock) = Journal::open_for_run(directory.path(), Time(1_700_000_000_000)).unwrap();
    let error = Journal::open_for_run(directory.path(), Time(2)).unwrap_err();
    let JournalError::AlreadyRunning { holder: Some(holder) } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(holder.process_id, std::process::id());
    assert_eq!(holder.since, Time(1_700_000_000_000));
    assert!(error.hint().unwrap().contains("orchestrate stop"));
    assert_eq!(error.exit_code(), ExitCode::Environment);
    assert!(journal.reader().runner_alive().unwrap());
    assert_eq!(reader(directory.path()).runner().unwrap().as_ref(), Some(holder));

    drop((journal, lock));
    assert!(!reader(directory.path()).runner_alive().unwrap());
    Journal::open_for_run(directory.path(), Time(3)).unwrap();
}

#[test]
fn asking_whether_a_run_is_alive_never_keeps_a_run_from_starting() {
    let directory = tempfile::tempdir().unwrap();
    drop(Journal::open_for_run(directory.path(), Time(1)).unwrap());
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let reader = reader(directory.path());
            for _ in 0..20_000 {
                reader.runner_alive().unwrap();
            }
        });
        while !asking.is_finished() {
            drop(Journal::open_for_run(directory.path(), Time(1)).unwrap());
        }
    });
}

#[test]
fn an_inbox_entry_and_its_event_are_journaled_once() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _lock) = Journal::open_for_run(directory.path(), Time(1)).unwrap();
    let answered = Event::EscalationAnswered {
        escalation_id: EscalationId(1),
        answer: "use D1".to_owned(),
    };
    post(directory.path(), Time(2), &answered).unwrap();
    post(
        directory.path(),
        Time(3),
        &Event::LandingApproved {
            team_id: TeamId::new("1"),
        },
    )
    .unwrap();

    // Looking takes nothing away.
    assert_eq!(journal.take_inbox().unwrap(), journal.take_inbox().unwrap());
    let entries = journal.take_inbox().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(reader(directory.path()).inbox_pending().unwrap(), 2);
    assert_eq!((entries[0].at, &entries[0].event), (Time(2), &answered));

    journal
        .append_taking(Time(4), std::slice::from_ref(&answered), &[entries[0].id])
        .unwrap();
    let error = journal
        .append_taking(Time(5), std::slice::from_ref(&answered), &[entries[0].id])
        .unwrap_err();
    assert!(matches!(error, JournalError::InboxTaken { .. }), "{error:?}");
    // The refused append has left nothing, neither record nor hole.
    journal.append(Time(6), &[Event::DeadlineReached]).unwrap();
    assert_eq!(
        events_of(reader(directory.path()).records(1).unwrap()),
        [answered, Event::DeadlineReached]
    );
    assert_eq!(journal.take_inbox().unwrap(), entries[1..]);
}

#[test]
fn what_was_posted_while_no_run_was_alive_waits_except_a_stop() {
    let directory = tempfile::tempdir().unwrap();
    drop(Journal::open_for_run(directory.path(), Time(1)).unwrap());
    let retry = Event::RetryRequested {
        actor: Actor::Agent(AgentId::new("1.2")),
        fresh: false,
    };
    post(directory.path(), Time(2), &Event::StopRequested { now: false }).unwrap();
    post(directory.path(), Time(3), &retry).unwrap();
    let (mut journal, _lock) = Journal::open_for_run(directory.path(), Time(4)).unwrap();
    let events: Vec<Event> = journal
        .take_inbox()
        .unwrap()
        .into_iter()
        .map(|entry| entry.event)
        .collect();
    assert_eq!(events, [retry]);
}

#[test]
fn a_newer_format_is_refused_by_readers_writers_and_posters() {
    let directory = tempfile::tempdir().unwrap();
    drop(Journal::open_for_run(directory.path(), Time(1)).unwrap());
    tamper(
        directory.path(),
        &format!(
            "UPDATE meta SET value = {} WHERE key = 'format_version'",
            FORMAT_VERSION + 1
        ),
    );
    let errors = [
        Journal::open_read_only(directory.path()).map(|_| ()).unwrap_err(),
        Journal::open_for_run(directory.path(), Time(1))
            .map(|_| ())
            .unwrap_err(),
        post(directory.path(), Time(1), &Event::DeadlineReached)
            .map(|_| ())
            .unwrap_err(),
    ];
    for error in errors {
        assert!(
            matches!(error, JournalError::NewerFormat { found, .. } if found == FORMAT_VERSION + 1),
            "{error:?}"
        );
        assert_eq!(error.exit_code(), ExitCode::Journal);
    }
}

/// Makes a journal of five records, lets `damage` at it, and gives the number of the record that reading stumbles over.
fn stumbles_at(damage: &str) -> (u64, String) {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, lock) = Journal::open_for_run(directory.path(), Time(1)).unwrap();
    journal.append(Time(1), &some_events()).unwrap();
    drop((journal, lock));
    tamper(directory.path(), damage);
    let mut before = 0;
    match reader(directory.path()).replay(1, |_| before += 1).unwrap_err() {
        JournalError::CorruptRecord { sequence, reason, .. } => {
            assert_eq!(before, sequence - 1);
            (sequence, reason)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_damaged_record_is_an_error_with_its_number() {
    let (sequence, reason) = stumbles_at("UPDATE event SET body = replace(body, '3', '4') WHERE seq = 5");
    assert_eq!(
        (sequence, reason.as_str()),
        (5, "it is not what was written (its digest differs)")
    );
    let (sequence, _) = stumbles_at("UPDATE event SET at_ms = at_ms + 1 WHERE seq = 1");
    assert_eq!(sequence, 1);
    let (sequence, reason) = stumbles_at("DELETE FROM event WHERE seq = 3");
    assert_eq!((sequence, reason.as_str()), (3, "the record is missing"));
}

#[test]
fn an_event_of_a_newer_version_is_an_error_and_not_skipped() {
    // The digest is right, as a newer version would have written it; only the kind is unknown to us.
    use sha2::Digest as _;
    let mut hasher = sha2::Sha256::new();
    hasher.update(6_u64.to_le_bytes());
    hasher.update(1_u64.to_le_bytes());
    hasher.update(b"moon_landed\0{}");
    let digest = i64::from_le_bytes(hasher.finalize()[..8].try_into().unwrap());
    let (sequence, reason) = stumbles_at(&format!(
        "INSERT INTO event (seq, at_ms, kind, body, digest) VALUES (6, 1, 'moon_landed', '{{}}', {digest})"
    ));
    assert_eq!(sequence, 6);
    assert!(reason.contains("unknown variant `moon_landed`"), "{reason}");
}

#[test]
fn a_file_that_is_no_database_is_damaged_and_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("orchestrate")).unwrap();
    fs::write(
        database(directory.path()),
        "not a database at all, but long enough to look like a file".repeat(100),
    )
    .unwrap();
    for error in [
        Journal::open_read_only(directory.path()).map(|_| ()).unwrap_err(),
        Journal::open_for_run(directory.path(), Time(1))
            .map(|_| ())
            .unwrap_err(),
    ] {
        assert!(matches!(error, JournalError::Damaged { .. }), "{error:?}");
        assert_eq!(error.exit_code(), ExitCode::Journal);
        assert!(error.hint().unwrap().contains(".damaged"));
    }
}

/// Not a test of its own: the process that `every_acknowledged_append_survives_a_kill` kills. Without its variable it has nothing to do.
#[test]
fn writer_process() {
    let Some(directory) = std::env::var_os(WRITER_DIRECTORY) else {
        return;
    };
    let (mut journal, _lock) = Journal::open_for_run(Path::new(&directory), Time(0)).unwrap();
    let mut out = std::io::stdout().lock();
    loop {
        let next = journal.last_sequence() + 1;
        // One to four events at once, so that a torn batch would show.
        let events: Vec<Event> = (next..=next + next % 4).map(progressed).collect();
        journal.append(Time(next), &events).unwrap();
        for entry in journal.take_inbox().unwrap() {
            journal.append_taking(Time(next), &[entry.event], &[entry.id]).unwrap();
        }
        writeln!(out, "acknowledged {}", journal.last_sequence()).unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn every_acknowledged_append_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    let mut posted = 0;
    // Kills after a few, and after many acknowledgements; the reader's delay makes the instant of the kill arbitrary.
    for acknowledgements in [1, 2, 3, 5, 8, 13, 40, 7, 1, 90, 4, 11] {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer_process", "--nocapture"])
            .env(WRITER_DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        let mut acknowledge = |line: String| {
            if let Some((_, number)) = line.split_once("acknowledged ") {
                acknowledged = number.parse().unwrap();
                true
            } else {
                false
            }
        };
        let mut seen = 0;
        while seen < acknowledgements {
            seen += usize::from(acknowledge(lines.next().unwrap().unwrap()));
            if seen == 1 {
                let event = Event::EscalationAnswered {
                    escalation_id: EscalationId(posted),
                    answer: String::new(),
                };
                post(directory.path(), Time(0), &event).unwrap();
                posted += 1;
            }
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        // What the pipe still holds was acknowledged too. The last line may be torn.
        for line in lines.map_while(Result::ok) {
            acknowledge(line);
        }

        let records = reader(directory.path()).records(1).unwrap();
        assert!(
            records.len() as u64 >= acknowledged,
            "{} records, {acknowledged} acknowledged",
            records.len()
        );
        let mut answers: Vec<u32> = Vec::new();
        for record in &records {
            match &record.event {
                Event::AgentProgressed { usage, .. } => assert_eq!(usage.tokens, record.sequence),
                Event::EscalationAnswered { escalation_id, .. } => answers.push(escalation_id.0),
                other => panic!("{other:?}"),
            }
        }
        let pending = reader(directory.path()).inbox_pending().unwrap();
        assert_eq!(
            answers,
            (0..posted - u32::try_from(pending).unwrap()).collect::<Vec<_>>()
        );
        assert!(
            !reader(directory.path()).runner_alive().unwrap(),
            "the kernel drops the lock of a killed process"
        );
    }
    assert!(acknowledged > 100);
}

#[test]
fn of_signs_of_life_in_a_row_a_condensed_reading_visits_the_newest_of_each_attempt() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _lock) = Journal::open_for_run(directory.path(), Time(1)).unwrap();
    let of_another = |tokens| Event::AgentProgressed {
        actor: Actor::Agent(AgentId::new("1.1")),
        attempt: Attempt(1),
        usage: Usage {
            cost: MicroDollars(0),
            tokens,
        },
        session: None,
    };
    let events = [
        progressed(1),
        of_another(2),
        progressed(3),
        Event::DeadlineReached,
        progressed(5),
        of_another(6),
        of_another(7),
    ];
    journal.append(Time(1), &events).unwrap();
    let condensed = |from| {
        let mut records = Vec::new();
        let reader = journal.reader();
        reader.replay_condensed(from, |record| records.push(record)).unwrap();
        records
    };
    let all = journal.reader().records(1).unwrap();
    let wanted = [1, 2, 3, 4, 6].map(|index: usize| all[index].clone());
    assert_eq!(condensed(1), wanted);
    // A reader that follows goes on behind the last record that it was shown, and misses none.
    assert_eq!(condensed(wanted[4].sequence + 1), []);
}

/// A copy of a journal in which the last append is still in the write-ahead log, with the log's length before that append.
fn copy_with_log() -> (tempfile::TempDir, Vec<Event>, u64) {
    let original = tempfile::tempdir().unwrap();
    let (mut journal, _lock) = Journal::open_for_run(original.path(), Time(1)).unwrap();
    let events: Vec<Event> = (1..=9).map(progressed).collect();
    journal.append(Time(1), &events[..8]).unwrap();
    let log = |directory: &Path| directory.join("orchestrate/journal.db-wal");
    let before = fs::metadata(log(original.path())).unwrap().len();
    journal.append(Time(2), &events[8..]).unwrap();
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("orchestrate")).unwrap();
    fs::copy(database(original.path()), database(copy.path())).unwrap();
    fs::copy(log(original.path()), log(copy.path())).unwrap();
    (copy, events, before)
}

#[test]
fn a_log_cut_at_any_byte_of_the_last_record_gives_it_whole_or_not_at_all() {
    let (copy, events, before) = copy_with_log();
    let log_path = copy.path().join("orchestrate/journal.db-wal");
    let log = File::options().write(true).open(&log_path).unwrap();
    let whole = log.metadata().unwrap().len();
    assert!(whole > before);
    assert_eq!(events_of(reader(copy.path()).records(1).unwrap()), events);
    for length in (before..whole).rev() {
        log.set_len(length).unwrap();
        let _ = fs::remove_file(copy.path().join("orchestrate/journal.db-shm"));
        assert_eq!(
            events_of(reader(copy.path()).records(1).unwrap()),
            events[..8],
            "log cut at byte {length} of {whole}"
        );
    }
    // A run that opens what is left appends behind it.
    log.set_len(whole - 1).unwrap();
    let (mut journal, _lock) = Journal::open_for_run(copy.path(), Time(3)).unwrap();
    journal.append(Time(3), &[Event::DeadlineReached]).unwrap();
    assert_eq!(reader(copy.path()).last_sequence().unwrap(), 9);
}

#[test]
fn a_flipped_bit_in_the_last_record_of_the_log_never_gives_another_event() {
    let (copy, events, before) = copy_with_log();
    let log_path = copy.path().join("orchestrate/journal.db-wal");
    let healthy = fs::read(&log_path).unwrap();
    for position in (usize::try_from(before).unwrap()..healthy.len()).step_by(7) {
        let mut damaged = healthy.clone();
        damaged[position] ^= 1 << (position % 8);
        fs::write(&log_path, damaged).unwrap();
        let _ = fs::remove_file(copy.path().join("orchestrate/journal.db-shm"));
        let found = events_of(reader(copy.path()).records(1).unwrap());
        assert!(
            found == events[..8] || found == events,
            "bit flipped at byte {position}: {found:?}"
        );
    }
}

#[test]
fn a_reader_sees_a_prefix_while_a_run_writes() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _lock) = Journal::open_for_run(directory.path(), Time(1)).unwrap();
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || {
            for batch in 0..200_u64 {
                journal
                    .append(Time(batch), &[progressed(batch * 2 + 1), progressed(batch * 2 + 2)])
                    .unwrap();
            }
        });
        let mut last = 0;
        while !writing.is_finished() {
            let records = reader(directory.path()).records(1).unwrap();
            assert_eq!(records.len() % 2, 0, "a batch is seen whole or not at all");
            assert!(records.len() >= last);
            last = records.len();
        }
    });
    assert_eq!(reader(directory.path()).last_sequence().unwrap(), 400);
}

#[test]
fn a_night_of_progress_is_read_back_quickly_and_stays_small() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _lock) = Journal::open_for_run(directory.path(), Time(1)).unwrap();
    let events: Vec<Event> = (1..=50_000).map(progressed).collect();
    for batch in events.chunks(5_000) {
        journal.append(Time(1), batch).unwrap();
    }
    drop((journal, _lock));
    let bytes = fs::metadata(database(directory.path())).unwrap().len();
    assert!(bytes < 50_000 * 256, "{bytes} bytes for 50,000 records");
    let started = Instant::now();
    assert_eq!(reader(directory.path()).records(1).unwrap().len(), 50_000);
    let elapsed = started.elapsed();
    // A bound against accidents, far above what it takes.
    assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");
}
