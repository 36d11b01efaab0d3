//! Small texts with a form of their own: durations, money, failure limits, ids, paths, branch names.

use std::time::Duration;

use crate::ids::MicroDollars;

/// A year: longer than any wait makes sense.
const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// `45s`, `30m`, `1h30m`, `2d`. Zero and more than a year are refused.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let mut total_s: u64 = 0;
    let mut unit_before = u64::MAX;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        let unit_s = match rest.get(digits..=digits)? {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return None,
        };
        if unit_s >= unit_before {
            return None;
        }
        unit_before = unit_s;
        total_s = total_s.checked_add(number.checked_mul(unit_s)?)?;
        rest = rest.get(digits + 1..)?;
    }
    let total = Duration::from_secs(total_s);
    (!total.is_zero() && total <= DURATION_MAX).then_some(total)
}

/// A whole number.
pub(super) fn count(text: &str) -> Option<u32> {
    text.parse().ok()
}

/// A decimal number of dollars with at most six places, so that the sum is exact.
pub(super) fn money(text: &str) -> Option<MicroDollars> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty() || fraction.len() > 6 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let micro_dollars: u64 = format!("{fraction:0<6}").parse().ok()?;
    let whole: u64 = whole.parse().ok()?;
    Some(MicroDollars(whole.checked_mul(1_000_000)?.checked_add(micro_dollars)?))
}

/// `3 in 30m`.
pub(super) fn failures(text: &str) -> Option<(u32, Duration)> {
    let (number, window) = text.split_once(" in ")?;
    Some((count(number.trim())?, duration(window.trim())?))
}

/// Letters and digits, in parts divided by dots: a tag is made of it, with hyphens for the dots.
pub(super) fn is_id(text: &str) -> bool {
    text.len() <= 64
        && text
            .split('.')
            .all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric()))
}

/// The name of an environment variable.
pub(super) fn is_environment_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// What is wrong with a path or glob that must stay inside the repository; `None` when nothing is.
pub(super) fn path_problem(text: &str) -> Option<&'static str> {
    if text.starts_with('/') {
        Some("is absolute")
    } else if text.starts_with('~') {
        Some("starts in a home directory")
    } else if text.split('/').any(|part| part == "..") {
        Some("leaves its directory")
    } else if text.contains('\0') || text.contains('\n') {
        Some("holds a control character")
    } else if text.split('/').any(|part| part == ".git") {
        Some("points into git's own directory")
    } else {
        None
    }
}

/// What is wrong with a branch name by git's rules (git-check-ref-format), and ours; `None` when nothing is.
pub(super) fn branch_problem(text: &str) -> Option<String> {
    let forbidden = |c: char| c.is_ascii_control() || " ~^:?*[\\".contains(c);
    if text.is_empty() {
        Some("a branch name cannot be empty".to_owned())
    } else if text.len() > 200 {
        Some("a branch name of more than 200 bytes does not fit into file names".to_owned())
    } else if let Some(bad) = text.chars().find(|c| forbidden(*c)) {
        Some(format!("a branch name cannot hold {bad:?}"))
    } else if text.starts_with('-') {
        Some("a branch name cannot start with `-`".to_owned())
    } else if text.starts_with("refs/") {
        Some("write the short name, without `refs/heads/`".to_owned())
    } else if text == "HEAD" || text == "@" {
        Some("git uses this name itself".to_owned())
    } else if text.contains("..") {
        Some("a branch name cannot hold `..`".to_owned())
    } else if text.contains("@{") {
        Some("a branch name cannot hold `@{`".to_owned())
    } else if text.ends_with('.') {
        Some("a branch name cannot end with `.`".to_owned())
    } else if text
        .split('/')
        .any(|part| part.is_empty() || part.starts_with('.') || part.ends_with(".lock"))
    {
        Some("between slashes there must be a name that does not start with `.` or end with `.lock`".to_owned())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_units() {
        assert_eq!(duration("45s"), Some(Duration::from_secs(45)));
        assert_eq!(duration("1h30m"), Some(Duration::from_secs(5400)));
        for bad in [
            "",
            "45",
            "m",
            "30m1h",
            "1m1m",
            "0s",
            "1.5h",
            "-1m",
            "99999999999999999999h",
            "400d",
            "5é",
        ] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn money_is_exact() {
        assert_eq!(money("5.00"), Some(MicroDollars(5_000_000)));
        assert_eq!(money("0.000001"), Some(MicroDollars(1)));
        for bad in ["", "-1", ".5", "1e3", "0.0000001", "5 USD", "99999999999999999999"] {
            assert_eq!(money(bad), None, "{bad}");
        }
    }

    #[test]
    fn branch_names_follow_git() {
        for good in ["main", "agent-1-1-database", "agent/a.b", "a@b"] {
            assert_eq!(branch_problem(good), None, "{good}");
        }
        for bad in [
            "",
            "a b",
            "a..b",
            "a.lock",
            ".a",
            "a/",
            "/a",
            "a//b",
            "-a",
            "@",
            "HEAD",
            "a@{b",
            "refs/heads/a",
            "a.",
            "a\\b",
        ] {
            assert!(branch_problem(bad).is_some(), "{bad}");
        }
    }
}
