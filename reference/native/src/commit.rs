//! When writes become durable: at once, or together with those of all requests that are ready at the same moment.

use tokio::sync::{Notify, watch};

use crate::store::{Store, StoreFailure};

/// The way of a host.
pub(crate) enum Commits {
    /// Whoever needs it commits.
    AtOnce,
    /// Whoever needs it waits for the next commit, which serves all.
    Together(Group),
}

/// Those who wait for a commit, and the one task that makes it.
pub(crate) struct Group {
    wanted: Notify,
    /// How many commits there were, and whether the last one succeeded.
    done: watch::Sender<(u64, bool)>,
}

impl Commits {
    pub(crate) fn together() -> Self {
        Self::Together(Group {
            wanted: Notify::new(),
            done: watch::Sender::new((0, true)),
        })
    }

    /// Comes back when everything that was written so far is durable.
    pub(crate) async fn durable(&self, store: &Store) -> Result<(), ()> {
        if !store.is_dirty() {
            return Ok(());
        }
        match self {
            Self::AtOnce => store.commit().map_err(drop),
            Self::Together(group) => {
                let mut done = group.done.subscribe();
                let (before, _) = *done.borrow();
                group.wanted.notify_one();
                match done.wait_for(|(count, _)| *count > before).await {
                    Ok(last) if last.1 => Ok(()),
                    Ok(_) | Err(_) => Err(()),
                }
            }
        }
    }

    /// Commits for all who wait, for ever.
    pub(crate) async fn work(&self, store: &Store) -> Result<(), StoreFailure> {
        let Self::Together(group) = self else { return Ok(()) };
        loop {
            group.wanted.notified().await;
            // Whoever is ready now may still write, and shares the commit.
            tokio::task::yield_now().await;
            let outcome = store.commit();
            group.done.send_modify(|done| *done = (done.0 + 1, outcome.is_ok()));
        }
    }
}
