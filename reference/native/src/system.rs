//! The whole system in process: requests in, answers out, and everything else within reach of a test.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;

use mock_ideogram::Mock;
use reference_core::http::{Request, Response};
use reference_core::ports::{Statement, Value};
use reference_core::settings::Settings;
use reference_core::{SCHEMA, SEED, config, id, image, key, log, time};
use serde_json::json;

use crate::chance::Chance;
use crate::clock::Clock;
use crate::commit::Commits;
use crate::host::{Faults, Host};
use crate::run::{Local, Ready, run_all};
use crate::store::{Store, StoreFailure};

/// The seed data's superadmin.
pub const SUPERADMIN: &str = "00000000-0000-4000-8000-000000000001";

/// Which service a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Part A of the contract.
    Config,
    /// Part B of the contract.
    Image,
}

/// How a system is made.
#[derive(Clone)]
pub struct Options {
    /// Where its data lies; in memory if nowhere.
    pub data: Option<PathBuf>,
    /// What decides ids, keys and the order of requests that run side by side.
    pub seed: u64,
    /// Where the clock stands at first.
    pub start_ms: u64,
    /// Variables and secrets.
    pub settings: Settings,
    /// Buckets that are bound beside the default one.
    pub buckets: Vec<String>,
    /// How the mock of the provider is.
    pub mock: mock_ideogram::Options,
}

impl Default for Options {
    fn default() -> Self {
        // 2026-01-31T09:30:00.000Z
        Self {
            data: None,
            seed: 1,
            start_ms: 1_769_851_800_000,
            settings: example_settings(),
            buckets: Vec::new(),
            mock: mock_ideogram::Options::default(),
        }
    }
}

/// Secrets for tests and demonstrations. They are in the source, so they are none.
#[must_use]
pub fn example_settings() -> Settings {
    Settings {
        service_token: Some("example-service-token-of-no-worth-at-all".to_owned()),
        provider_key_encryption_keys: Some("k1:ZXhhbXBsZS1wcm92aWRlci1rZXktb2Ytbm8td29ydGg=".to_owned()),
        cache_encryption_key: Some("ZXhhbXBsZS1jYWNoZS1lbmNyeXB0aW9uLW5vLXdvcnQ=".to_owned()),
        ..Settings::default()
    }
}

/// Writes log entries into the database if it is time. Those that cannot be written stay where they are.
pub(crate) async fn flush_if_due(host: &Host) {
    if log::waiting(host)
        .await
        .is_ok_and(|waiting| waiting.is_due(host.clock.now_ms()))
    {
        drop(log::flush(host).await);
    }
}

/// A running system. It lives on one thread.
pub struct System {
    pub(crate) host: Host,
}

impl System {
    /// Starts a system, with its tables and the seed data if they are not there yet.
    pub fn start(options: Options) -> Result<Self, StoreFailure> {
        let clock = Clock::standing_at(options.start_ms);
        Self::on(clock, Chance::Seeded(Cell::new(options.seed)), Commits::AtOnce, options)
    }

    pub(crate) fn on(clock: Clock, chance: Chance, commits: Commits, options: Options) -> Result<Self, StoreFailure> {
        let store = Store::open(options.data.as_deref())?;
        store.script(SCHEMA)?;
        // Once only: what was deleted since must not come back.
        store.seed(SEED)?;
        let host = Host {
            store,
            commits,
            clock,
            chance,
            ready: Ready::default(),
            settings: RefCell::new(Rc::new(options.settings)),
            faults: RefCell::default(),
            mock: RefCell::new(Mock::new(options.mock)),
            buckets: options.buckets,
            objects: RefCell::new(HashMap::new()),
            is_interleaved: Cell::new(false),
        };
        Ok(Self { host })
    }

    /// Answers one request. While it waits, the clock jumps.
    pub fn handle(&self, service: Service, request: &Request) -> Response {
        self.handle_all(&[(service, request.clone())])
            .into_iter()
            .next()
            .unwrap_or_default()
    }

    /// Answers requests that arrive at the same moment and run side by side, in an order that the seed decides.
    pub fn handle_all(&self, requests: &[(Service, Request)]) -> Vec<Response> {
        self.host.is_interleaved.set(requests.len() > 1);
        let futures = requests
            .iter()
            .map(|(service, request)| self.answer(*service, request))
            .collect();
        let responses = self.run(futures);
        self.host.is_interleaved.set(false);
        self.tick();
        // An answer leaves when what it promises is durable.
        match self.host.store.commit() {
            Ok(()) => responses,
            Err(_) => responses
                .iter()
                .map(|_| Response {
                    status: 500,
                    ..Response::default()
                })
                .collect(),
        }
    }

    fn answer<'a>(&'a self, service: Service, request: &'a Request) -> Local<'a, Response> {
        match service {
            Service::Config => Box::pin(config::handle(&self.host, request)),
            Service::Image => Box::pin(image::handle(&self.host, request)),
        }
    }

    fn run<T>(&self, futures: Vec<Local<'_, T>>) -> Vec<T> {
        run_all(&self.host.clock, &self.host.ready, &self.host.chance, futures)
    }

    /// Does what is due by the clock: log entries that have waited long enough are written.
    fn tick(&self) {
        self.run(vec![Box::pin(flush_if_due(&self.host))]);
    }

    /// Does what the cron trigger does.
    pub fn scheduled(&self) {
        self.run(vec![Box::pin(async { drop(image::scheduled(&self.host).await) })]);
        // What could not be done is done the next time.
        drop(self.host.store.commit());
    }

    /// The mock of the provider.
    pub fn mock(&self) -> RefMut<'_, Mock> {
        self.host.mock.borrow_mut()
    }

    /// What the clock shows.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.host.clock.now_ms()
    }

    /// Moves the clock.
    pub fn advance_ms(&self, duration_ms: u64) {
        self.host.clock.advance(duration_ms);
        self.tick();
        drop(self.host.store.commit());
    }

    /// Lets another seed decide ids, keys and orders from now on.
    pub fn reseed(&self, seed: u64) {
        self.host.chance.reseed(seed);
    }

    /// Changes variables and secrets from now on.
    pub fn change_settings(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = Settings::clone(&self.host.settings.borrow());
        change(&mut settings);
        self.host.settings.replace(Rc::new(settings));
    }

    /// Lets things fail from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.host.faults.replace(faults);
    }

    /// Reads the stored state, past every rule: rows of texts, numbers as digits, NULL as nothing.
    #[must_use]
    pub fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let outcomes = self.host.store.run(&[Statement::new(sql, vec![])]).unwrap_or_default();
        let text = |value: &Value| match value {
            Value::Null => None,
            Value::Integer(number) => Some(number.to_string()),
            Value::Text(text) => Some(text.clone()),
        };
        outcomes
            .iter()
            .flat_map(|outcome| &outcome.rows)
            .map(|row| row.values.iter().map(text).collect())
            .collect()
    }

    /// The same, each row an object of its columns by their names.
    #[must_use]
    pub fn named_rows(&self, sql: &str) -> Vec<serde_json::Map<String, serde_json::Value>> {
        let json = |value: &Value| match value {
            Value::Null => serde_json::Value::Null,
            Value::Integer(number) => (*number).into(),
            Value::Text(text) => text.as_str().into(),
        };
        let outcomes = self.host.store.run(&[Statement::new(sql, vec![])]).unwrap_or_default();
        let rows = outcomes.iter().flat_map(|outcome| &outcome.rows);
        rows.map(|row| row.columns.iter().cloned().zip(row.values.iter().map(json)).collect())
            .collect()
    }

    /// Changes the stored state, past every rule but the tables' own.
    pub fn write(&self, sql: &str) -> Result<(), StoreFailure> {
        self.host.store.script(sql)
    }

    /// Gives a user a key, as an operator does for the first superadmin.
    pub fn issue_key(&self, user_id: &str) -> Result<String, StoreFailure> {
        let (key_id, key) = (id::uuid(&self.host), key::generate(&self.host));
        let now = time::format(self.now_ms());
        let (hash, prefix) = (key::hash(&key), key::prefix(&key));
        self.write(&format!(
            "INSERT INTO api_keys (key_id, user_id, key_hash, key_prefix, created_at) VALUES ('{key_id}', '{user_id}', '{hash}', '{prefix}', '{now}')"
        ))?;
        Ok(key)
    }

    /// Makes the system one that can be tried at once: gives back a key of the superadmin, and lets the instance `production` have a key for the
    /// provider, unless it has one.
    pub fn prepare(&self) -> Result<String, StoreFailure> {
        let key = self.issue_key(SUPERADMIN)?;
        let instance = Request::new("GET", "/instance/production").bearer(&key);
        let found = self.handle(Service::Config, &instance);
        if found.status == 200 && found.json()["api_keys"]["ideogram"].is_null() {
            let config = json!({ "api_keys": { "ideogram": "example-key-for-the-mock" } });
            let edit = Request::new("PATCH", "/instance/production").bearer(&key);
            self.handle(Service::Config, &edit.json(&json!({ "config": config })));
        }
        Ok(key)
    }
}
