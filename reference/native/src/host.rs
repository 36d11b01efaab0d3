//! The host: every port of the core, on one store and one clock.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use mock_ideogram::{Mock, Outcome as MockOutcome};
use reference_core::http::{Request, Response};
use reference_core::object::Object;
use reference_core::ports::{
    self, Bindings, Blob, Blobs, Database, DatabaseError, Entropy, FetchError, Kv, ObjectKind, Objects, Outbound,
    OutboundRequest, Outcome, Statement, StoreError,
};
use reference_core::settings::Settings;
use reference_core::{config, id};
use serde_json::Value;

use crate::chance::Chance;
use crate::clock::Clock;
use crate::commit::Commits;
use crate::run::Ready;
use crate::store::Store;

/// What fails because a test wants it to.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Every statement fails.
    pub is_database_down: bool,
    /// KV can neither be read nor written.
    pub is_kv_down: bool,
    /// Images can neither be stored nor read.
    pub are_blobs_down: bool,
    /// Objects of these kinds cannot be reached.
    pub objects_down: Vec<ObjectKind>,
    /// What the Config Service does when the other Worker asks it.
    pub config_service: ConfigService,
}

/// What the Config Service does when the other Worker asks it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConfigService {
    /// It answers.
    #[default]
    Up,
    /// There is no connection.
    Down,
    /// It answers with this status.
    Status(u16),
    /// It never answers.
    Hangs,
}

pub(crate) struct Host {
    pub(crate) store: Store,
    pub(crate) commits: Commits,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    pub(crate) ready: Ready,
    pub(crate) settings: RefCell<Rc<Settings>>,
    pub(crate) faults: RefCell<Faults>,
    pub(crate) mock: RefCell<Mock>,
    /// The buckets that are bound beside the default one.
    pub(crate) buckets: Vec<String>,
    /// Objects that are asked again and again. Those that are asked a few times in a day are read each time.
    pub(crate) objects: RefCell<HashMap<(ObjectKind, String), Object>>,
    /// Whether requests that run side by side give way to each other wherever they wait for a store.
    pub(crate) is_interleaved: Cell<bool>,
}

impl Host {
    /// Here a real host waits, and others run.
    async fn breathe(&self) {
        if self.is_interleaved.get() {
            self.ready.give_way().await;
        }
    }

    fn up(&self, is_down: impl FnOnce(&Faults) -> bool) -> Result<(), StoreError> {
        if is_down(&self.faults.borrow()) {
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
        self.up(|faults| faults.is_database_down)
            .map_err(|error| DatabaseError::Failed(error.0))?;
        self.store.run(&statements)
    }
}

impl Kv for Host {
    async fn kv_get(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.breathe().await;
        self.up(|faults| faults.is_kv_down)?;
        self.store.kv_get(name, self.clock.now_ms())
    }

    async fn kv_put(&self, name: &str, text: &str, keep_seconds: u64) -> Result<(), StoreError> {
        self.breathe().await;
        self.up(|faults| faults.is_kv_down)?;
        self.store.kv_put(name, text, self.clock.now_ms() + keep_seconds * 1000)
    }

    async fn kv_delete(&self, name: &str) -> Result<(), StoreError> {
        self.breathe().await;
        self.up(|faults| faults.is_kv_down)?;
        self.store.kv_delete(name)
    }
}

impl Blobs for Host {
    fn buckets(&self) -> Vec<Option<String>> {
        let named = self.buckets.iter().cloned().map(Some);
        std::iter::once(None).chain(named).collect()
    }

    async fn blob_put(&self, bucket: Option<&str>, path: &str, mut blob: Blob) -> Result<(), StoreError> {
        self.breathe().await;
        self.up(|faults| faults.are_blobs_down)?;
        blob.etag = id::digest(&blob.bytes)[..32].to_owned();
        self.store.blob_put(bucket.unwrap_or_default(), path, &blob)
    }

    async fn blob_get(&self, bucket: Option<&str>, path: &str) -> Result<Option<Blob>, StoreError> {
        self.breathe().await;
        self.up(|faults| faults.are_blobs_down)?;
        self.store.blob_get(bucket.unwrap_or_default(), path)
    }
}

impl Objects for Host {
    async fn command(&self, kind: ObjectKind, name: &str, command: Value) -> Result<Value, StoreError> {
        self.breathe().await;
        self.up(|faults| faults.objects_down.contains(&kind))?;
        let is_kept = match kind {
            ObjectKind::RateLimiter | ObjectKind::CircuitBreaker | ObjectKind::LogBuffer => true,
            ObjectKind::Job | ObjectKind::Answer => false,
        };
        let key = (kind, name.to_owned());
        let mut objects = self.objects.borrow_mut();
        let mut object = match objects.remove(&key) {
            Some(object) => object,
            None => {
                let records = self.store.object_read(kind, name)?;
                Object::restore(kind, records.iter().map(|(key, value)| (key.as_str(), value.as_str())))
            }
        };
        let (reply, writes) = object.step(self.clock.now_ms(), command)?;
        for write in writes {
            self.store
                .object_write(kind, name, &write.key, write.value.as_deref())?;
        }
        if is_kept {
            objects.insert(key, object);
        }
        Ok(reply)
    }
}

impl Outbound for Host {
    /// Every request that leaves reaches the mock, whatever its host: nothing here can reach anybody else.
    async fn fetch(&self, request: OutboundRequest, body_bytes_max: usize) -> Result<Response, FetchError> {
        self.breathe().await;
        // What the provider does cannot be undone, so what led to it must last. A GET does nothing.
        if request.method != "GET" {
            self.commits
                .durable(&self.store)
                .await
                .map_err(|_| FetchError::Broken)?;
        }
        let after_scheme = request
            .url
            .split_once("://")
            .map_or(request.url.as_str(), |(_, rest)| rest);
        let target = after_scheme.find('/').map_or("/", |at| &after_scheme[at..]);
        let now_ms = self.clock.now_ms();
        let reaction = self
            .mock
            .borrow_mut()
            .receive(now_ms, &request.method, target, &request.headers, &request.body);
        if reaction.delay_ms > 0 {
            self.clock.sleep_ms(reaction.delay_ms).await;
        }
        match reaction.outcome {
            MockOutcome::Answer(response) if response.body.len() > body_bytes_max => Err(FetchError::TooLarge),
            MockOutcome::Answer(response) => Ok(response),
            MockOutcome::Broken(..) => Err(FetchError::Broken),
            MockOutcome::Nothing => std::future::pending().await,
        }
    }

    async fn config_service(&self, request: Request) -> Result<Response, FetchError> {
        self.breathe().await;
        let fault = self.faults.borrow().config_service;
        match fault {
            ConfigService::Up => Ok(config::handle(self, &request).await),
            ConfigService::Down => Err(FetchError::Broken),
            ConfigService::Status(status) => Ok(Response {
                status,
                ..Response::default()
            }),
            ConfigService::Hangs => std::future::pending().await,
        }
    }
}
