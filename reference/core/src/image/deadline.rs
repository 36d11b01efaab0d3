//! What a request may take: everything that waits for others is raced against one moment.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use crate::ports::Clock;

/// The moment at which a request gives up.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(pub u64);

impl Deadline {
    /// What is left.
    pub fn left_ms(self, host: &impl Clock) -> u64 {
        self.0.saturating_sub(host.now_ms())
    }

    /// The earlier of this one and so much from now on.
    pub fn or_in_ms(self, host: &impl Clock, duration_ms: u64) -> Self {
        Self(self.0.min(host.now_ms().saturating_add(duration_ms)))
    }

    /// The future's result, if it comes in time.
    pub async fn of<T>(self, host: &impl Clock, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        let mut sleep = pin!(host.sleep_ms(self.left_ms(host)));
        poll_fn(|context| {
            if let Poll::Ready(result) = future.as_mut().poll(context) {
                return Poll::Ready(Some(result));
            }
            sleep.as_mut().poll(context).map(|()| None)
        })
        .await
    }
}
