//! Texts for people: how long ago, how long, how much; cut to a width; without anything that a terminal would obey.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::ids::Time;

/// Makes a text of unknown origin harmless: control characters, and marks that turn the direction of writing, become visible. Tabs and line feeds stay.
pub fn neutralise(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\n' | '\t' => harmless.push(character),
            // A carriage return at the end of a line is how some programs end lines.
            '\r' if characters.peek() == Some(&'\n') => {}
            '\u{0}'..='\u{1f}' => harmless.push_str(&format!("^{}", char::from(character as u8 + b'@'))),
            '\u{7f}' => harmless.push_str("^?"),
            '\u{80}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                harmless.push_str(&format!("<U+{:04X}>", u32::from(character)));
            }
            _ => harmless.push(character),
        }
    }
    harmless
}

/// The same on one line: every run of white space is one space.
pub fn one_line(text: &str) -> String {
    neutralise(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// How many columns a text takes on a terminal.
pub fn width(text: &str) -> usize {
    text.width()
}

/// Cuts a text to at most `columns`, with an ellipsis (one column, or three dots in ASCII) where it was cut.
pub fn clip(text: &str, columns: usize, ellipsis: &str) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(width(ellipsis));
    let mut used = 0;
    let mut clipped = String::new();
    for character in text.chars() {
        used += character.width().unwrap_or(0);
        if used > room {
            break;
        }
        clipped.push(character);
    }
    clipped.truncate(clipped.trim_end().len());
    if columns >= width(ellipsis) {
        clipped.push_str(ellipsis);
    }
    clipped
}

/// Fills a text up with spaces to `columns`.
pub fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// Breaks a text into lines of at most `columns`, at spaces where there are any.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let mut word = word.to_owned();
        if !line.is_empty() && width(&line) + 1 + width(&word) > columns {
            lines.push(std::mem::take(&mut line));
        }
        while width(&word) > columns {
            let head = clip(&word, columns, "");
            // A character wider than the line is taken all the same, so that this ends.
            let taken = if head.is_empty() {
                word.chars().take(1).collect()
            } else {
                head
            };
            word = word[taken.len()..].to_owned();
            lines.push(taken);
        }
        if !line.is_empty() && !word.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// `45s`, `3m`, `2h 5m`, `3d 4h`: at most two units, the smallest a second.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => two_units(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => two_units(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

fn two_units(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit} {small}{small_unit}")
    }
}

/// `3m ago`.
pub fn ago(then: Time, now: Time) -> String {
    let elapsed = now.since(then);
    if elapsed < Duration::from_secs(1) {
        "now".to_owned()
    } else {
        format!("{} ago", duration(elapsed))
    }
}

/// `14:02:11` in the machine's time zone.
pub fn clock(at: Time) -> String {
    timestamp(at)
        .to_zoned(TimeZone::system())
        .strftime("%H:%M:%S")
        .to_string()
}

/// `2026-11-22 14:02:11` in the machine's time zone.
pub fn date_and_clock(at: Time) -> String {
    timestamp(at)
        .to_zoned(TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

/// `2026-11-22T14:02:11.123Z`, for programs.
pub fn iso(at: Time) -> String {
    timestamp(at).to_string()
}

fn timestamp(at: Time) -> Timestamp {
    i64::try_from(at.0)
        .ok()
        .and_then(|milliseconds| Timestamp::from_millisecond(milliseconds).ok())
        .unwrap_or(Timestamp::MAX)
}

/// `1.2M`, `34k`, `560`.
pub fn count(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..1_000_000 => format!("{}k", number / 1_000),
        _ => format!("{}.{}M", number / 1_000_000, number % 1_000_000 / 100_000),
    }
}

/// `1 commit`, `3 commits`.
pub fn plural(number: usize, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_made_visible() {
        assert_eq!(neutralise("\u{1b}]0;title\u{7}\u{1b}[2J"), "^[]0;title^G^[[2J");
        assert_eq!(neutralise("a\r\nb\tc\rd\u{9b}31m\u{7f}"), "a\nb\tc^Md<U+009B>31m^?");
        assert_eq!(neutralise("abc\u{202e}fed ü ✓"), "abc<U+202E>fed ü ✓");
        assert_eq!(one_line("  a\n\n b\u{1b}\tc "), "a b^[ c");
    }

    #[test]
    fn clipping_and_padding_count_columns_and_not_bytes() {
        assert_eq!(clip("grüße an alle", 8, "…"), "grüße a…");
        assert_eq!(clip("日本語テキスト", 7, "…"), "日本語…");
        assert_eq!(clip("日本語テキスト", 6, "…"), "日本…");
        assert_eq!(clip("short", 5, "…"), "short");
        assert_eq!(clip("anything", 2, "..."), "");
        assert_eq!(pad("日本", 6), "日本  ");
    }

    #[test]
    fn wrapping_never_exceeds_the_width_and_loses_no_word() {
        assert_eq!(
            wrap("which database should it use", 12),
            ["which", "database", "should it", "use"]
        );
        assert_eq!(wrap("abcdefghij kl", 4), ["abcd", "efgh", "ij", "kl"]);
        assert_eq!(wrap("日本", 1), ["日", "本"]);
        assert!(wrap("  ", 10).is_empty());
    }

    #[test]
    fn durations_have_at_most_two_units() {
        let text = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!([text(0), text(59), text(60), text(3_599)], ["0s", "59s", "1m", "59m"]);
        assert_eq!(
            [text(3_600), text(7_500), text(86_400), text(273_600)],
            ["1h", "2h 5m", "1d", "3d 4h"]
        );
        assert_eq!(ago(Time(5_000), Time(4_000)), "now");
        assert_eq!(ago(Time(0), Time(180_000)), "3m ago");
    }

    #[test]
    fn instants_for_programs_are_iso_8601() {
        assert_eq!(iso(Time(1_700_000_000_123)), "2023-11-14T22:13:20.123Z");
    }

    #[test]
    fn large_counts_are_short() {
        assert_eq!([count(9_999), count(34_567), count(1_250_000)], ["9999", "34k", "1.2M"]);
    }
}
