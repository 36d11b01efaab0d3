//! The host: every port of the core, on one store and one clock.

use std::cell::RefCell;
use std::rc::Rc;

use reference_core::ports::{self, Bindings, Database, DatabaseError, Entropy, Kv, Outcome, Statement, StoreError};
use reference_core::settings::Settings;

use crate::chance::Chance;
use crate::clock::Clock;
use crate::run::Ready;
use crate::store::Store;

/// What fails because a test wants it to.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Every statement fails.
    pub is_database_down: bool,
    /// KV can neither be read nor written.
    pub is_kv_down: bool,
}

pub(crate) struct Host {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    pub(crate) ready: Ready,
    pub(crate) settings: RefCell<Rc<Settings>>,
    pub(crate) faults: RefCell<Faults>,
    /// Whether requests that run side by side give way to each other wherever they wait for a store.
    pub(crate) is_interleaved: std::cell::Cell<bool>,
}

impl Host {
    /// Here a real host waits, and others run.
    pub(crate) async fn breathe(&self) {
        if self.is_interleaved.get() {
            self.ready.give_way().await;
        }
    }

    fn kv_is_up(&self) -> Result<(), StoreError> {
        if self.faults.borrow().is_kv_down {
            Err(StoreError("the store is down".to_owned()))
        } else {
            Ok(())
        }
    }
}

impl ports::Clock for Host {
    fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    async fn sleep_ms(&self, duration_ms: u64) {
        self.clock.sleep_ms(duration_ms).await;
    }
}

impl Entropy for Host {
    fn fill(&self, bytes: &mut [u8]) {
        self.chance.fill(bytes);
    }
}

impl Bindings for Host {
    fn settings(&self) -> Rc<Settings> {
        Rc::clone(&self.settings.borrow())
    }
}

impl Database for Host {
    async fn run(&self, statements: Vec<Statement>) -> Result<Vec<Outcome>, DatabaseError> {
        self.breathe().await;
        if self.faults.borrow().is_database_down {
            return Err(DatabaseError::Failed("the database is down".to_owned()));
        }
        self.store.run(&statements)
    }
}

impl Kv for Host {
    async fn kv_get(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.breathe().await;
        self.kv_is_up()?;
        self.store.kv_get(name, self.clock.now_ms())
    }

    async fn kv_put(&self, name: &str, text: &str, keep_seconds: u64) -> Result<(), StoreError> {
        self.breathe().await;
        self.kv_is_up()?;
        self.store.kv_put(name, text, self.clock.now_ms() + keep_seconds * 1000)
    }

    async fn kv_delete(&self, name: &str) -> Result<(), StoreError> {
        self.breathe().await;
        self.kv_is_up()?;
        self.store.kv_delete(name)
    }
}
