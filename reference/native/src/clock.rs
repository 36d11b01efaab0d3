//! Time: virtual, which stands still until somebody waits or moves it; or that of the wall, which may be moved as well.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A clock. Clones are the same clock.
#[derive(Clone)]
pub(crate) enum Clock {
    /// Whoever waits makes it jump, once nobody else has anything to do.
    Virtual(Rc<Timers>),
    /// The wall's, ahead by so many milliseconds, or behind.
    Wall(Rc<Cell<i64>>),
}

/// Who waits for what moment.
pub(crate) struct Timers {
    now_ms: Cell<u64>,
    waiting: RefCell<BTreeSet<(u64, u64)>>,
    next: Cell<u64>,
}

impl Clock {
    pub(crate) fn standing_at(now_ms: u64) -> Self {
        Self::Virtual(Rc::new(Timers {
            now_ms: Cell::new(now_ms),
            waiting: RefCell::default(),
            next: Cell::new(0),
        }))
    }

    pub(crate) fn wall() -> Self {
        Self::Wall(Rc::default())
    }

    /// As fast as the wall's, but showing this moment now.
    pub(crate) fn running_from(start_ms: u64) -> Self {
        let ahead_ms = start_ms.cast_signed().saturating_sub(wall_ms().cast_signed());
        Self::Wall(Rc::new(Cell::new(ahead_ms)))
    }

    pub(crate) fn now_ms(&self) -> u64 {
        match self {
            Self::Virtual(timers) => timers.now_ms.get(),
            Self::Wall(ahead_ms) => wall_ms().saturating_add_signed(ahead_ms.get()),
        }
    }

    pub(crate) fn advance(&self, duration_ms: u64) {
        match self {
            Self::Virtual(timers) => timers.now_ms.set(timers.now_ms.get() + duration_ms),
            Self::Wall(ahead_ms) => ahead_ms.set(ahead_ms.get().saturating_add_unsigned(duration_ms)),
        }
    }

    /// Jumps to the first moment that somebody waits for; tells whether there was one.
    pub(crate) fn jump(&self) -> bool {
        let Self::Virtual(timers) = self else { return false };
        let first = timers.waiting.borrow().first().copied();
        if let Some((at_ms, _)) = first {
            timers.now_ms.set(timers.now_ms.get().max(at_ms));
        }
        first.is_some()
    }

    pub(crate) async fn sleep_ms(&self, duration_ms: u64) {
        match self {
            Self::Virtual(timers) => {
                let id = timers.next.get();
                timers.next.set(id + 1);
                let at_ms = timers.now_ms.get().saturating_add(duration_ms);
                timers.waiting.borrow_mut().insert((at_ms, id));
                Sleep {
                    timers: Rc::clone(timers),
                    entry: (at_ms, id),
                }
                .await;
            }
            Self::Wall(_) => tokio::time::sleep(Duration::from_millis(duration_ms)).await,
        }
    }
}

fn wall_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// Waits on a virtual clock. Whoever runs it polls it again after each jump.
struct Sleep {
    timers: Rc<Timers>,
    entry: (u64, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.timers.now_ms.get() >= self.entry.0 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.timers.waiting.borrow_mut().remove(&self.entry);
    }
}
