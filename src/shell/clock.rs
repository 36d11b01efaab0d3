//! The clock: the only place where time is read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::ids::Time;

/// The current instant.
pub fn now() -> Time {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    set_wrong(Time(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)))
}

/// A clock that a test sets back while a run goes on: `ORCHESTRATE_CLOCK_BACK_MS_FILE` names a file with milliseconds. In debug builds alone.
#[cfg(debug_assertions)]
fn set_wrong(at: Time) -> Time {
    use std::path::PathBuf;
    use std::sync::OnceLock;

    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let file = FILE.get_or_init(|| std::env::var_os("ORCHESTRATE_CLOCK_BACK_MS_FILE").map(PathBuf::from));
    let back: Option<u64> = file
        .as_ref()
        .and_then(|file| std::fs::read_to_string(file).ok())
        .and_then(|text| text.trim().parse().ok());
    Time(at.0.saturating_sub(back.unwrap_or_default()))
}

#[cfg(not(debug_assertions))]
fn set_wrong(at: Time) -> Time {
    at
}
