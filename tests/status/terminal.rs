//! The real program on a real pseudo-terminal: what a person sees.

use std::io::Read as _;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::common::story::{Story, merged};
use crate::common::told::*;
use orchestrate::core::event::Event;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

const SIZE: PtySize = PtySize {
    rows: 16,
    cols: 80,
    pixel_width: 0,
    pixel_height: 0,
};

/// A program on a terminal of its own.
struct Terminal {
    screen: vt100::Parser,
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    output: Receiver<Vec<u8>>,
}

impl Terminal {
    fn start(story: &Story, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let pair = native_pty_system().openpty(SIZE).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_orchestrate"));
        command.args(arguments);
        command.cwd(story.repository());
        command.env_clear();
        for (name, value) in [
            ("TERM", "xterm-256color"),
            ("LANG", "C.UTF-8"),
            ("TZ", "UTC"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ] {
            command.env(name, value);
        }
        command.env("PATH", std::env::var_os("PATH").unwrap());
        for (name, value) in variables {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).unwrap();
        // The terminal ends when nobody holds its other side any more.
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            screen: vt100::Parser::new(SIZE.rows, SIZE.cols, 0),
            child,
            master: pair.master,
            output,
        }
    }

    fn contents(&self) -> String {
        self.screen.screen().contents()
    }

    /// Reads until the screen is as wanted.
    #[track_caller]
    fn until(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !wanted(&self.contents()) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.screen.process(&bytes),
                Err(_) => panic!("{what} is never shown:\n{}", self.contents()),
            }
        }
        self.contents()
    }

    /// Waits for the end, and gives everything that was still written.
    fn end(&mut self) -> u32 {
        while let Ok(bytes) = self.output.recv_timeout(Duration::from_secs(20)) {
            self.screen.process(&bytes);
        }
        self.child.wait().unwrap().exit_code()
    }
}

fn running() -> Story {
    let mut story = Story::running(10);
    story.tell(1, &[created("team-1"), created("agent-1-1"), started(agent("1.1"), 1)]);
    story
}

#[test]
fn a_watched_status_is_redrawn_in_place_until_the_run_ends() {
    let mut story = running();
    let mut terminal = Terminal::start(&story, &["status", "--watch"], &[]);
    let frame = terminal.until("the first frame", |frame| frame.contains("▶ 1.1  Database Schema"));
    assert!(
        frame.starts_with("shop · running · for 10m · spent $0.00 of $20.00\nrun by process "),
        "{frame}"
    );
    assert!(
        terminal.screen.screen().cell(5, 4).unwrap().fgcolor() != vt100::Color::Default,
        "there is colour"
    );

    story.tell(5, &[committed(agent("1.1"), 'a', "[AGENT-1-1] Schema complete")]);
    story.tell(6, &merged(1, 'b'));
    let frame = terminal.until("the merge", |frame| frame.contains("● 1.1  Database Schema"));
    assert_eq!(frame.matches("Phase 1").count(), 1, "{frame}");

    story.tell(7, &[Event::StopRequested { now: false }]);
    story.dies();
    let frame = terminal.until("the end", |frame| frame.contains("`orchestrate run` goes on"));
    assert_eq!(frame.matches("Phase 1").count(), 1, "{frame}");
    assert_eq!(terminal.end(), 0);
    assert!(!terminal.screen.screen().hide_cursor());
}

#[test]
fn a_watched_status_on_a_small_terminal_shows_the_top_and_does_not_scroll() {
    let mut story = running();
    let mut terminal = Terminal::start(&story, &["status", "--watch"], &[]);
    terminal.until("the first frame", |frame| frame.contains("Phase 1"));
    terminal
        .master
        .resize(PtySize {
            rows: 8,
            cols: 70,
            ..SIZE
        })
        .unwrap();
    terminal.screen.screen_mut().set_size(8, 70);
    story.tell(2, &[progressed(agent("1.1"), 1, 3.5)]);
    let frame = terminal.until("the spend", |frame| frame.contains("spent $3.50"));
    assert!(frame.starts_with("shop · running"), "{frame}");
    assert!(frame.lines().count() <= 8, "{frame}");
    story.dies();
    terminal.end();
}

#[test]
fn colour_leaves_when_it_is_not_wanted_and_a_dumb_terminal_gets_plain_pages() {
    let mut story = running();
    let mut terminal = Terminal::start(&story, &["status"], &[("NO_COLOR", "1")]);
    terminal.end();
    let cells = (0..SIZE.rows).flat_map(|row| (0..SIZE.cols).map(move |column| (row, column)));
    let screen = terminal.screen.screen();
    assert!(screen.contents().contains("shop · running"), "{}", screen.contents());
    for (row, column) in cells {
        let cell = screen.cell(row, column).unwrap();
        assert!(
            cell.fgcolor() == vt100::Color::Default && !cell.bold(),
            "colour at {row}, {column}"
        );
    }

    let mut terminal = Terminal::start(&story, &["status", "--watch"], &[("TERM", "dumb")]);
    terminal.until("a page in ASCII", |frame| frame.contains("> 1.1  Database Schema"));
    story.dies();
    terminal.until("the last page", |frame| frame.contains("branch `agent-1-1` is gone"));
    assert_eq!(terminal.end(), 0);
}
