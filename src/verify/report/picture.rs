//! Pictures for the page: what two answers differ in, and requests side by side in time.

use std::fmt::Write as _;

use reference_core::http::Response;

use super::super::check::Lane;
use super::body_text;

/// More requests than this side by side are no picture any more.
const LANES_MAX: usize = 120;

/// Longer answers are shown without their differences marked.
const LINES_MAX: usize = 400;

/// Fields that the connection makes, not the implementation; nobody compares them.
const OF_THE_CONNECTION: [&str; 6] = [
    "date",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "server",
];

/// Text inside HTML, in an element or a quoted attribute. Control characters become visible, so that an answer cannot hide anything.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' => escaped.push('\n'),
            other if other.is_control() || is_direction(other) => {
                let _ = write!(escaped, "\\u{{{:x}}}", u32::from(other));
            }
            other => escaped.push(other),
        }
    }
    escaped
}

/// Marks that turn the direction of writing.
fn is_direction(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An answer, line by line: status, fields by name, body.
fn lines(response: &Response) -> Vec<String> {
    let mut fields: Vec<String> = response
        .headers
        .iter()
        .filter(|(name, _)| !OF_THE_CONNECTION.contains(name))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    fields.sort();
    let body = match serde_json::from_slice::<serde_json::Value>(&response.body) {
        Ok(value) if response.body.len() < 64 * 1024 => format!("{value:#}"),
        _ => body_text(&response.body),
    };
    let mut lines = vec![response.status.to_string()];
    lines.extend(fields);
    lines.push(String::new());
    lines.extend(body.lines().take(LINES_MAX).map(str::to_owned));
    lines
}

/// A line without what chance and the clock decide: digits and hexadecimal letters of long words.
fn shape(line: &str) -> String {
    let is_word = |character: char| character.is_ascii_alphanumeric() || "-_:.".contains(character);
    let mut shape = String::new();
    let mut word = String::new();
    let flush = |word: &mut String, shape: &mut String| {
        let digits = word.chars().filter(char::is_ascii_digit).count();
        if word.len() >= 12 && digits >= 4 {
            shape.push('#');
        } else {
            shape.push_str(word);
        }
        word.clear();
    };
    for character in line.trim_end_matches(',').chars() {
        if is_word(character) {
            word.push(character);
        } else {
            flush(&mut word, &mut shape);
            shape.push(character);
        }
    }
    flush(&mut word, &mut shape);
    shape
}

/// How a line of one answer stands to the other answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Same,
    Chance,
    Differs,
}

/// For each line of both sides how it stands to the other side: the longest common subsequence of their shapes is the same.
fn compared(one: &[String], other: &[String]) -> (Vec<Kind>, Vec<Kind>) {
    let shapes = |lines: &[String]| -> Vec<String> { lines.iter().map(|line| shape(line)).collect() };
    let (left, right) = (shapes(one), shapes(other));
    let mut longest = vec![vec![0_u32; right.len() + 1]; left.len() + 1];
    for i in (0..left.len()).rev() {
        for j in (0..right.len()).rev() {
            longest[i][j] = if left[i] == right[j] {
                longest[i + 1][j + 1] + 1
            } else {
                longest[i + 1][j].max(longest[i][j + 1])
            };
        }
    }
    let (mut kinds, mut other_kinds) = (vec![Kind::Differs; left.len()], vec![Kind::Differs; right.len()]);
    let (mut i, mut j) = (0, 0);
    while i < left.len() && j < right.len() {
        if left[i] == right[j] {
            let trimmed = |line: &String| line.trim_end_matches(',').to_owned();
            let kind = if trimmed(&one[i]) == trimmed(&other[j]) {
                Kind::Same
            } else {
                Kind::Chance
            };
            (kinds[i], other_kinds[j]) = (kind, kind);
            (i, j) = (i + 1, j + 1);
        } else if longest[i + 1][j] >= longest[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    (kinds, other_kinds)
}

/// Both answers beside each other, with what differs marked by sign, weight and colour.
pub(super) fn answers(reference: &Response, subject: Option<&Response>, subject_name: &str) -> String {
    let left = lines(reference);
    let right = subject.map(lines).unwrap_or_else(|| vec!["(no answer)".to_owned()]);
    let (left_kinds, right_kinds) = compared(&left, &right);
    let side = |title: &str, sign: char, lines: &[String], kinds: &[Kind]| {
        let mut text = format!(
            "<figure><figcaption>{}</figcaption><pre tabindex=\"0\">",
            escaped(title)
        );
        for (line, kind) in lines.iter().zip(kinds) {
            let line = escaped(line);
            let _ = match kind {
                Kind::Same => write!(text, "<span>  {line}</span>"),
                Kind::Chance => write!(text, "<span class=\"chance\">  {line}</span>"),
                Kind::Differs => write!(text, "<mark>{sign} {line}</mark>"),
            };
        }
        text.push_str("</pre></figure>");
        text
    };
    format!(
        "<div class=\"answers\">{}{}</div>",
        side("reference", '−', &left, &left_kinds),
        side(subject_name, '+', &right, &right_kinds)
    )
}

/// Requests side by side: one line each, from sending to answer; those that were let through are filled and ticked.
pub(super) fn lanes(lanes: &[Lane]) -> String {
    let mut lanes: Vec<&Lane> = lanes.iter().collect();
    lanes.sort_by(|one, other| one.began_ms.total_cmp(&other.began_ms));
    let (count, admitted) = (lanes.len(), lanes.iter().filter(|lane| lane.admitted).count());
    let hidden = count.saturating_sub(LANES_MAX);
    lanes.truncate(LANES_MAX);
    let end_ms = lanes.iter().map(|lane| lane.ended_ms).fold(1.0_f64, f64::max);
    const LEFT: f64 = 40.0;
    const WIDTH: f64 = 560.0;
    const ROW: f64 = 14.0;
    let x = |at_ms: f64| LEFT + (at_ms.max(0.0) / end_ms) * WIDTH;
    let height = lanes.len() as f64 * ROW + 34.0;
    let mut svg = format!(
        "<figure class=\"lanes\"><figcaption>{count} requests side by side, {admitted} let through (filled, ✓), {} turned away (outlined)</figcaption><div class=\"scroll\" tabindex=\"0\"><svg viewBox=\"0 0 690 {height:.0}\" role=\"img\" aria-label=\"{count} requests in time, {admitted} let through\">",
        count - admitted
    );
    let step_ms = tick_step(end_ms);
    let mut tick_ms = 0.0;
    while tick_ms <= end_ms {
        let at = x(tick_ms);
        let _ = write!(
            svg,
            "<line class=\"tick\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"16\" y2=\"{:.0}\"/><text class=\"axis\" x=\"{at:.1}\" y=\"11\">{tick_ms:.0} ms</text>",
            height - 14.0
        );
        tick_ms += step_ms;
    }
    for (index, lane) in lanes.iter().enumerate() {
        let y = 22.0 + index as f64 * ROW;
        let (from, to) = (x(lane.began_ms), x(lane.ended_ms));
        let (class, sign) = if lane.admitted { ("in", "✓ ") } else { ("out", "") };
        let _ = write!(
            svg,
            "<text class=\"number\" x=\"{:.0}\" y=\"{:.1}\">{}</text><rect class=\"{class}\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"9\" rx=\"2\"><title>{:.1} to {:.1} ms: {}</title></rect><text class=\"status {class}\" x=\"{:.1}\" y=\"{:.1}\">{sign}{}</text>",
            LEFT - 6.0,
            y + 8.0,
            index + 1,
            (to - from).max(2.0),
            lane.began_ms,
            lane.ended_ms,
            lane.status,
            to.max(from + 2.0) + 4.0,
            y + 8.0,
            lane.status
        );
    }
    svg.push_str("</svg></div>");
    if hidden > 0 {
        let _ = write!(svg, "<p>{hidden} more are not drawn.</p>");
    }
    svg.push_str("</figure>");
    svg
}

/// A round distance, so that about six ticks fit.
fn tick_step(end_ms: f64) -> f64 {
    let mut step = 1.0;
    for factor in [2.0, 2.5, 2.0].into_iter().cycle().take(30) {
        if end_ms / step <= 6.0 {
            break;
        }
        step *= factor;
    }
    step
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn what_differs_is_told_from_what_chance_decides() {
        let one = of(&[
            "404",
            "{",
            "  \"error\": \"x\",",
            "  \"request_id\": \"3f0c8a52-6a0e-4d0b-9a52-0d6f3c1f7a01\"",
            "}",
        ]);
        let other = of(&[
            "200",
            "{",
            "  \"request_id\": \"11111111-6a0e-4d0b-9a52-0d6f3c1f7a01\"",
            "}",
        ]);
        let (left, right) = compared(&one, &other);
        assert_eq!(
            left,
            [Kind::Differs, Kind::Same, Kind::Differs, Kind::Chance, Kind::Same]
        );
        assert_eq!(right, [Kind::Differs, Kind::Same, Kind::Chance, Kind::Same]);
    }

    #[test]
    fn nothing_in_an_answer_is_markup() {
        let hostile = Response {
            status: 200,
            body: b"<script>alert(1)</script>\x1b[2J".to_vec(),
            ..Response::default()
        };
        let page = answers(&hostile, None, "<b>");
        assert!(
            !page.contains("<script>") && !page.contains("<b>") && !page.contains('\u{1b}'),
            "{page}"
        );
        assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
    }
}
