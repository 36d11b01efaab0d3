//! Time as the contract writes it: UTC, ISO 8601 with milliseconds and a `Z`. Instants are milliseconds since 1970.

/// A minute.
pub const MINUTE_MS: u64 = 60_000;
/// A day.
pub const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

/// `2026-01-31T09:30:00.000Z`.
#[must_use]
pub fn format(instant_ms: u64) -> String {
    let days = instant_ms / DAY_MS;
    let (year, month, day) = civil_from_days(days);
    let in_day = instant_ms % DAY_MS;
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, millisecond) = (in_day / 1000 % 60, in_day % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

/// The instant of a time written as `format` writes it, of a day that exists; nothing else is a time. What was before 1970 is 0.
#[must_use]
pub fn parse(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let is_punctuated = [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'.'),
        (23, b'Z'),
    ];
    if bytes.len() != 24 || !text.is_ascii() || is_punctuated.iter().any(|(at, mark)| bytes[*at] != *mark) {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = &text[from..to];
        digits
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second, millisecond) = (number(11, 13)?, number(14, 16)?, number(17, 19)?, number(20, 23)?);
    if !(1..=days_in(year, month)?).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let in_day_ms = ((hour * 60 + minute) * 60 + second) * 1000 + millisecond;
    Some(if year < 1970 {
        0
    } else {
        days_from_civil(year, month, day) * DAY_MS + in_day_ms
    })
}

fn days_in(year: u64, month: u64) -> Option<u64> {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => Some(28 + u64::from(is_leap)),
        4 | 6 | 9 | 11 => Some(30),
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        _ => None,
    }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar from 1970 on. Years begin in March here, so that the leap day is a year's last.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let year_of_era = year % 400;
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).saturating_sub(719_468)
}

fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::{format, parse};
    use proptest::prelude::*;

    #[test]
    fn known_instants_are_written_as_the_contract_says() {
        assert_eq!(format(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(format(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(format(1_769_851_800_000), "2026-01-31T09:30:00.000Z");
        assert_eq!(format(1_767_225_600_000), "2026-01-01T00:00:00.000Z");
        assert_eq!(format(4_107_542_399_999), "2100-02-28T23:59:59.999Z");
        assert_eq!(format(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn other_forms_and_days_that_do_not_exist_are_no_times() {
        for text in [
            "2026-01-31",
            "2026-01-31T09:30:00Z",
            "2026-01-31T09:30:00.000",
            "2026-01-31T09:30:00.000z",
            "2026-01-31 09:30:00.000Z",
            "2026-02-30T00:00:00.000Z",
            "2025-02-29T00:00:00.000Z",
            "2100-02-29T00:00:00.000Z",
            "2026-13-01T00:00:00.000Z",
            "2026-00-10T00:00:00.000Z",
            "2026-01-00T00:00:00.000Z",
            "2026-01-01T24:00:00.000Z",
            "2026-01-01T00:60:00.000Z",
            "2026-01-01T00:00:60.000Z",
            "+026-01-01T00:00:00.000Z",
            "0001-02-29T00:00:00.000Z",
            "2026-04-31T00:00:00.000Z",
            "",
            "2026-01-31T09:30:00.0000",
            "2026/01-31T09:30:00.000Z",
            "2026-01-31T09:30:00,000Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn times_before_1970_are_times() {
        assert_eq!(
            (parse("1969-12-31T23:59:59.999Z"), parse("0000-02-29T00:00:00.000Z")),
            (Some(0), Some(0))
        );
        assert_eq!(parse("1970-01-02T00:00:00.001Z"), Some(86_400_001));
    }

    proptest! {
        #[test]
        fn a_time_that_was_written_is_read_back_the_same(instant_ms in 0u64..253_402_300_800_000) {
            prop_assert_eq!(parse(&format(instant_ms)), Some(instant_ms));
        }

        #[test]
        fn the_order_of_texts_is_the_order_of_instants(one in 0u64..253_402_300_800_000, other in 0u64..253_402_300_800_000) {
            prop_assert_eq!(one.cmp(&other), format(one).cmp(&format(other)));
        }
    }
}
