//! The clock: the only place where time is read.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::ids::Time;

/// The current instant.
pub fn now() -> Time {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    set_wrong(Time(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)))
}

/// A gap that is longer than this, between what the wall's clock and the processor's say has passed, is a machine that slept or a clock that was set.
const SLEEP_MIN: Duration = Duration::from_secs(30);

/// The clock of a run. It never goes back and never stands still: when the wall's clock is set back, it goes on at the processor's pace.
#[derive(Debug)]
pub struct RunClock {
    read: Time,
    read_at: Instant,
    slept: Duration,
}

impl RunClock {
    /// A clock that goes on from the newest instant of a journal.
    pub fn starting_at(newest: Time) -> Self {
        Self {
            read: now().max(newest),
            read_at: Instant::now(),
            slept: Duration::ZERO,
        }
    }

    /// The current instant.
    pub fn now(&mut self) -> Time {
        self.advance(now(), Instant::now())
    }

    fn advance(&mut self, wall: Time, processor: Instant) -> Time {
        let least = self.read.plus(processor.saturating_duration_since(self.read_at));
        let gap = wall.since(least);
        if gap >= SLEEP_MIN {
            self.slept += gap;
        }
        self.read = wall.max(least);
        self.read_at = processor;
        self.read
    }

    /// How long the machine slept since this was last asked, as far as readings have shown.
    pub fn take_slept(&mut self) -> Option<Duration> {
        let slept = std::mem::take(&mut self.slept);
        (slept > Duration::ZERO).then_some(slept)
    }
}

/// A clock that a test sets back while a run goes on, or forward, which is what a machine that slept sees: `ORCHESTRATE_CLOCK_BACK_MS_FILE` names a file with
/// milliseconds, negative ones forward. In debug builds alone.
#[cfg(debug_assertions)]
fn set_wrong(at: Time) -> Time {
    use std::path::PathBuf;
    use std::sync::OnceLock;

    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let file = FILE.get_or_init(|| std::env::var_os("ORCHESTRATE_CLOCK_BACK_MS_FILE").map(PathBuf::from));
    let back: Option<i64> = file
        .as_ref()
        .and_then(|file| std::fs::read_to_string(file).ok())
        .and_then(|text| text.trim().parse().ok());
    Time(at.0.saturating_add_signed(back.unwrap_or_default().saturating_neg()))
}

#[cfg(not(debug_assertions))]
fn set_wrong(at: Time) -> Time {
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn clock(at: Time, processor: Instant) -> RunClock {
        RunClock {
            read: at,
            read_at: processor,
            slept: Duration::ZERO,
        }
    }

    #[test]
    fn a_clock_that_is_set_back_goes_on_at_the_processors_pace() {
        let (begun, start) = (Time(10_000_000), Instant::now());
        let mut clock = clock(begun, start);
        let second = Duration::from_secs(1);
        let back = Time(begun.0 - 3_600_000);
        assert_eq!(clock.advance(back, start + second), begun.plus(second));
        assert_eq!(
            clock.advance(back.plus(second), start + 2 * second),
            begun.plus(2 * second)
        );
        assert_eq!(clock.take_slept(), None);
        // Set right again, nobody has slept.
        assert_eq!(
            clock.advance(begun.plus(3 * second), start + 3 * second),
            begun.plus(3 * second)
        );
        assert_eq!(clock.take_slept(), None);
    }

    #[test]
    fn a_machine_that_slept_is_noticed_once_and_a_slow_loop_is_no_sleep() {
        let (begun, start) = (Time(10_000_000), Instant::now());
        let mut clock = clock(begun, start);
        assert_eq!(clock.advance(begun.plus(HOUR), start + HOUR), begun.plus(HOUR));
        assert_eq!(clock.take_slept(), None);
        let woken = begun.plus(3 * HOUR);
        assert_eq!(clock.advance(woken, start + HOUR), woken);
        assert_eq!(clock.take_slept(), Some(2 * HOUR));
        assert_eq!(clock.take_slept(), None);
    }
}
