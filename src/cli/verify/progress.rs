//! How far the examination is: one line that is redrawn on a terminal, a line a section elsewhere.

use std::io::Write as _;
use std::sync::mpsc::Receiver;

use crate::report::style::{Mark, Style, Tone};
use crate::report::text::{clip, one_line, plural};
use crate::verify::check::Section;
use crate::verify::{Progress, Verdict};

/// So much of a failure is told while it runs; the report has the rest.
const FAILURE_COLUMNS: usize = 140;

/// More failures than this are only counted.
const FAILURES_MAX: usize = 30;

/// How far a section is.
struct Line {
    section: Section,
    left: usize,
    ran: usize,
    failed: usize,
    duration_ms: u64,
}

/// Shows what arrives until nobody sends any more.
pub(super) fn show(receiver: &Receiver<Progress>, style: Style, name: &str) {
    let mut sections: Vec<Line> = Vec::new();
    let (mut done, mut failed) = (0, 0);
    while let Ok(progress) = receiver.recv() {
        match progress {
            Progress::Planned(planned) => {
                let line = |(section, left)| Line {
                    section,
                    left,
                    ran: 0,
                    failed: 0,
                    duration_ms: 0,
                };
                sections = planned.into_iter().map(line).collect();
            }
            Progress::Checked(checked) => {
                done += 1;
                if let Verdict::Failed { what } = &checked.verdict {
                    failed += 1;
                    if failed <= FAILURES_MAX {
                        let what = clip(&one_line(what), FAILURE_COLUMNS, style.ellipsis());
                        clear(style);
                        eprint(&format!(
                            "{} {}/{}: {what}\n",
                            style.paint(Tone::Bad, style.glyph(Mark::Failed)),
                            checked.section.name(),
                            checked.name
                        ));
                    }
                }
                let Some(line) = sections.iter_mut().find(|line| line.section == checked.section) else {
                    continue;
                };
                line.left -= 1;
                line.ran += usize::from(checked.verdict != Verdict::NotRun);
                line.failed += usize::from(matches!(checked.verdict, Verdict::Failed { .. }));
                line.duration_ms += checked.duration_ms;
                if line.left == 0 && line.ran > 0 && !style.live {
                    eprint(&format!(
                        "{name}: {}: {} done, {} failed, {:.1} s\n",
                        line.section.name(),
                        plural(line.ran, "check"),
                        line.failed,
                        line.duration_ms as f64 / 1000.0
                    ));
                }
                if style.live {
                    let left: usize = sections.iter().map(|line| line.left).sum();
                    clear(style);
                    eprint(&format!("{name}: {done} of {} checks, {failed} failed", done + left));
                }
            }
        }
    }
    clear(style);
}

fn clear(style: Style) {
    if style.live {
        eprint("\r\u{1b}[K");
    }
}

/// Says something beside the data.
pub(super) fn eprint(text: &str) {
    // Nobody is left to be told when standard error itself is closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
