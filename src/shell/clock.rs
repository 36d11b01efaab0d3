//! The clock: the only place where time is read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::ids::Time;

/// The current instant.
pub fn now() -> Time {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Time(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
