//! How far the examination is: one line that is redrawn on a terminal, a line a section elsewhere.

use std::io::Write as _;
use std::sync::mpsc::Receiver;

use crate::report::style::{Mark, Style, Tone};
use crate::report::text::{clip, one_line};
use crate::verify::check::Section;
use crate::verify::{Progress, Verdict};

/// So much of a failure is told while it runs; the report has the rest.
const FAILURE_COLUMNS: usize = 140;

/// More failures than this are only counted.
const FAILURES_MAX: usize = 30;

/// Shows what arrives until nobody sends any more.
pub(super) fn show(receiver: &Receiver<Progress>, style: Style, name: &str) {
    let mut sections: Vec<(Section, usize, usize, u64)> = Vec::new();
    let (mut done, mut failed) = (0, 0);
    while let Ok(progress) = receiver.recv() {
        match progress {
            Progress::Planned(planned) => {
                sections = planned
                    .into_iter()
                    .map(|(section, count)| (section, count, 0, 0))
                    .collect();
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
                let Some((section, left, failures, duration_ms)) =
                    sections.iter_mut().find(|(section, ..)| *section == checked.section)
                else {
                    continue;
                };
                *left -= 1;
                *failures += usize::from(matches!(checked.verdict, Verdict::Failed { .. }));
                *duration_ms += checked.duration_ms;
                if *left == 0 && !style.live {
                    let seconds = *duration_ms as f64 / 1000.0;
                    eprint(&format!(
                        "{name}: {} done, {failures} failed, {seconds:.1} s\n",
                        section.name()
                    ));
                }
                if style.live {
                    let left: usize = sections.iter().map(|(_, left, ..)| left).sum();
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
