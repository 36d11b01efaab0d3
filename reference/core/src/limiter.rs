//! The rolling window of one instance and provider: admission counts and adds in one step.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::object::{Machine, Write, ask};
use crate::ports::{ObjectKind, Objects, StoreError};

/// How long an admission counts.
pub const WINDOW_MS: u64 = 60_000;

/// What an instance allows a provider in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Requests.
    pub rpm: u64,
    /// Tokens, if they are limited.
    pub tpm: Option<u64>,
}

/// What the window is asked.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Command {
    /// May one more request pass?
    Acquire(Limit),
    /// The request of this place used so many tokens.
    Settle {
        /// As its admission said.
        place: u64,
        /// How many.
        tokens: u64,
    },
}

/// Whether a request may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// It passes, and has this place in the window.
    Admitted {
        /// Counts upwards.
        place: u64,
    },
    /// It does not; the oldest place is free after this time.
    Refused {
        /// More than 0 and at most the window's length.
        wait_ms: u64,
    },
}

/// One admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    at_ms: u64,
    tokens: u64,
}

/// The admissions that still count, oldest first.
#[derive(Debug, Default)]
pub struct Window {
    entries: VecDeque<Entry>,
    /// The place of the first of them.
    first_place: u64,
}

impl Window {
    /// Counts and adds in one step. What is refused costs nothing.
    fn acquire(&mut self, now_ms: u64, limit: Limit, writes: &mut Vec<Write>) -> Decision {
        // A clock that went back must not let an entry outlive its time.
        let now_ms = self.entries.back().map_or(now_ms, |newest| now_ms.max(newest.at_ms));
        while self
            .entries
            .front()
            .is_some_and(|oldest| now_ms - oldest.at_ms >= WINDOW_MS)
        {
            self.entries.pop_front();
            writes.push(Write::delete(key(self.first_place)));
            self.first_place += 1;
        }
        let tokens: u64 = self.entries.iter().map(|entry| entry.tokens).sum();
        let is_full = self.entries.len() as u64 >= limit.rpm || limit.tpm.is_some_and(|tpm| tokens >= tpm);
        match self.makes_room(limit, tokens) {
            Some(last) if is_full => Decision::Refused {
                wait_ms: WINDOW_MS - (now_ms - last.at_ms),
            },
            _ => {
                let place = self.first_place + self.entries.len() as u64;
                let entry = Entry {
                    at_ms: now_ms,
                    tokens: 0,
                };
                self.entries.push_back(entry);
                writes.push(Write::put(key(place), &entry));
                Decision::Admitted { place }
            }
        }
    }

    /// The entry that must have left before there is room: the oldest one, or a later one where the limit was lowered or tokens are many.
    fn makes_room(&self, limit: Limit, mut tokens: u64) -> Option<&Entry> {
        let mut left = self.entries.len() as u64;
        let mut last = self.entries.front();
        for entry in &self.entries {
            last = Some(entry);
            left -= 1;
            tokens -= entry.tokens;
            if left < limit.rpm && limit.tpm.is_none_or(|tpm| tokens < tpm) {
                break;
            }
        }
        last
    }

    /// Notes tokens for a place that still counts.
    fn settle(&mut self, place: u64, tokens: u64, writes: &mut Vec<Write>) {
        let index = place
            .checked_sub(self.first_place)
            .and_then(|index| usize::try_from(index).ok());
        if let Some(entry) = index.and_then(|index| self.entries.get_mut(index)) {
            entry.tokens += tokens;
            writes.push(Write::put(key(place), entry));
        }
    }
}

/// Keys in the order of places.
fn key(place: u64) -> String {
    format!("{place:020}")
}

impl Machine for Window {
    type Command = Command;
    type Reply = Option<Decision>;

    fn restore(&mut self, key: &str, value: &str) {
        let (Ok(place), Ok(entry)) = (key.parse::<u64>(), serde_json::from_str(value)) else {
            return;
        };
        if self.entries.is_empty() {
            self.first_place = place;
        }
        self.entries.push_back(entry);
    }

    fn step(&mut self, now_ms: u64, command: Command) -> (Self::Reply, Vec<Write>) {
        let mut writes = Vec::new();
        let reply = match command {
            Command::Acquire(limit) => Some(self.acquire(now_ms, limit, &mut writes)),
            Command::Settle { place, tokens } => {
                self.settle(place, tokens, &mut writes);
                None
            }
        };
        (reply, writes)
    }
}

/// The name of the window, and of the circuit, of an instance and provider.
#[must_use]
pub fn name(instance_id: &str, provider: &str) -> String {
    format!("instance:{instance_id}:provider:{provider}")
}

/// Asks the window of an instance and provider for a place.
pub async fn acquire(
    host: &impl Objects,
    instance_id: &str,
    provider: &str,
    limit: Limit,
) -> Result<Decision, StoreError> {
    let decision: Option<Decision> = ask(
        host,
        ObjectKind::RateLimiter,
        &name(instance_id, provider),
        &Command::Acquire(limit),
    )
    .await?;
    decision.ok_or_else(|| StoreError("the window gave no decision".to_owned()))
}

/// Tells the window how many tokens the request of a place used. No tokens need no telling.
pub async fn settle(
    host: &impl Objects,
    instance_id: &str,
    provider: &str,
    place: u64,
    tokens: u64,
) -> Result<(), StoreError> {
    if tokens == 0 {
        return Ok(());
    }
    let command = Command::Settle { place, tokens };
    ask::<Option<Decision>>(host, ObjectKind::RateLimiter, &name(instance_id, provider), &command)
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    const TEN: Limit = Limit { rpm: 10, tpm: None };

    fn acquire(window: &mut Window, now_ms: u64, limit: Limit) -> Decision {
        window.acquire(now_ms, limit, &mut Vec::new())
    }

    /// Remembers what it is told.
    #[derive(Default)]
    struct Told(RefCell<Vec<(String, serde_json::Value)>>);

    impl Objects for Told {
        async fn command(
            &self,
            _: ObjectKind,
            name: &str,
            command: serde_json::Value,
        ) -> Result<serde_json::Value, StoreError> {
            self.0.borrow_mut().push((name.to_owned(), command));
            Ok(serde_json::Value::Null)
        }
    }

    #[test]
    fn used_tokens_are_told_and_none_are_not() {
        let told = Told::default();
        for tokens in [0, 7] {
            let settled = pin!(settle(&told, "production", "other", 3, tokens));
            let polled = settled.poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(polled, Poll::Ready(Ok(()))), "{polled:?}");
        }
        let told = told.0.into_inner();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].0, "instance:production:provider:other");
        let command = serde_json::from_value::<Command>(told[0].1.clone()).ok();
        assert!(
            matches!(command, Some(Command::Settle { place: 3, tokens: 7 })),
            "{told:?}"
        );
    }

    #[test]
    fn a_place_is_free_again_exactly_a_window_later() {
        let mut window = Window::default();
        for _ in 0..10 {
            assert!(matches!(acquire(&mut window, 1000, TEN), Decision::Admitted { .. }));
        }
        assert_eq!(acquire(&mut window, 1000, TEN), Decision::Refused { wait_ms: 60_000 });
        assert_eq!(acquire(&mut window, 60_999, TEN), Decision::Refused { wait_ms: 1 });
        assert_eq!(acquire(&mut window, 61_000, TEN), Decision::Admitted { place: 10 });
    }

    #[test]
    fn tokens_that_were_used_count_until_their_request_leaves() {
        let mut window = Window::default();
        let limit = Limit {
            rpm: 10,
            tpm: Some(100),
        };
        assert_eq!(acquire(&mut window, 0, limit), Decision::Admitted { place: 0 });
        window.settle(0, 99, &mut Vec::new());
        assert_eq!(acquire(&mut window, 10, limit), Decision::Admitted { place: 1 });
        window.settle(1, 1, &mut Vec::new());
        assert_eq!(acquire(&mut window, 20, limit), Decision::Refused { wait_ms: 59_980 });
        assert_eq!(acquire(&mut window, 60_000, limit), Decision::Admitted { place: 2 });
        window.settle(0, 1000, &mut Vec::new());
        assert!(
            matches!(acquire(&mut window, 60_001, limit), Decision::Admitted { .. }),
            "whose place is gone, counts no more"
        );
    }

    #[test]
    fn where_tokens_are_many_the_wait_is_for_the_request_that_makes_room() {
        let limit = Limit {
            rpm: 10,
            tpm: Some(100),
        };
        for (second, wait_ms) in [(99, 59_990), (100, 60_000)] {
            let mut window = Window::default();
            acquire(&mut window, 0, limit);
            acquire(&mut window, 10, limit);
            window.settle(0, 50, &mut Vec::new());
            window.settle(1, second, &mut Vec::new());
            assert_eq!(
                acquire(&mut window, 10, limit),
                Decision::Refused { wait_ms },
                "{second}"
            );
        }
    }

    #[test]
    fn a_clock_that_goes_back_makes_nobody_wait_longer_than_a_window() {
        let mut window = Window::default();
        let one = Limit { rpm: 1, tpm: None };
        acquire(&mut window, 100_000, one);
        assert_eq!(acquire(&mut window, 50_000, one), Decision::Refused { wait_ms: 60_000 });
    }

    proptest! {
        /// The window, restored from its records before every step, against the definition: what was admitted less than a window ago counts.
        #[test]
        fn the_window_admits_what_the_definition_admits(steps in proptest::collection::vec((0u64..30_000, 1u64..6), 1..200)) {
            let mut now_ms = 0;
            let mut admitted: Vec<u64> = Vec::new();
            let mut records: BTreeMap<String, String> = BTreeMap::new();
            for (pause_ms, rpm) in steps {
                now_ms += pause_ms;
                let mut window = Window::default();
                for (key, value) in &records {
                    window.restore(key, value);
                }
                let (reply, writes) = window.step(now_ms, Command::Acquire(Limit { rpm, tpm: None }));
                for write in writes {
                    match write.value {
                        Some(value) => drop(records.insert(write.key, value)),
                        None => drop(records.remove(&write.key)),
                    }
                }
                let counting: Vec<u64> = admitted.iter().copied().filter(|at_ms| now_ms - at_ms < WINDOW_MS).collect();
                match reply {
                    Some(Decision::Admitted { .. }) => {
                        prop_assert!((counting.len() as u64) < rpm);
                        admitted.push(now_ms);
                    }
                    Some(Decision::Refused { wait_ms }) => {
                        prop_assert!(counting.len() as u64 >= rpm);
                        // After the wait there is room, and not a moment earlier.
                        let room_ms = now_ms + wait_ms;
                        let left_at = |moment_ms: u64| counting.iter().filter(|at_ms| moment_ms - **at_ms < WINDOW_MS).count() as u64;
                        prop_assert!(left_at(room_ms) < rpm && left_at(room_ms - 1) >= rpm);
                    }
                    None => prop_assert!(false, "an acquisition is decided"),
                }
                prop_assert!(records.len() <= counting.len() + 1, "nothing is kept that does not count");
            }
        }
    }
}
