//! Runs futures of the virtual world to their end, on this thread, in an order that the seed decides.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::chance::Chance;
use crate::clock::Clock;

/// A future of this thread.
pub(crate) type Local<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Whether somebody gave way and could go on at once.
#[derive(Default)]
pub(crate) struct Ready(Cell<bool>);

impl Ready {
    /// Lets others go first.
    pub(crate) async fn give_way(&self) {
        let mut has_waited = false;
        poll_fn(|_| {
            if has_waited {
                return Poll::Ready(());
            }
            has_waited = true;
            self.0.set(true);
            Poll::Pending
        })
        .await;
    }
}

/// Runs all of them. When all wait for the clock, it jumps; when nobody waits for anything, they would wait for ever, and that is a bug.
pub(crate) fn run_all<T>(clock: &Clock, ready: &Ready, order: &Chance, futures: Vec<Local<'_, T>>) -> Vec<T> {
    let mut context = Context::from_waker(Waker::noop());
    let mut results: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    let mut open: Vec<(usize, Local<'_, T>)> = futures.into_iter().enumerate().collect();
    while !open.is_empty() {
        ready.0.set(false);
        let mut turn = 0;
        let mut has_ended = false;
        while turn < open.len() {
            // With several, each round goes in another order.
            if open.len() > 1 {
                let other = turn + order.below(open.len() - turn);
                open.swap(turn, other);
            }
            match open[turn].1.as_mut().poll(&mut context) {
                Poll::Ready(result) => {
                    results[open[turn].0] = Some(result);
                    drop(open.swap_remove(turn));
                    has_ended = true;
                }
                Poll::Pending => turn += 1,
            }
        }
        let may_go_on = open.is_empty() || has_ended || ready.0.get() || clock.jump();
        assert!(may_go_on, "everybody waits for something that nobody will do");
    }
    results.into_iter().flatten().collect()
}
