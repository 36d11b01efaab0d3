//! Durable Objects: each is a state machine of the core, its records are rows of its own SQLite storage.
//!
//! A command is carried out without waiting for anything, so none comes in between, and what it wrote is written as a whole; the runtime holds the reply back
//! until that is durable.

use std::cell::RefCell;
use std::time::Duration;

use reference_core::log;
use reference_core::object::{Object, Write};
use reference_core::ports::ObjectKind;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use worker::{DurableObject, Env, Error, Method, Request, RequestInit, Response, Result, State, durable_object};

use crate::entry::flush_if_due;
use crate::host::Host;

/// What an object is sent.
#[derive(Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) kind: ObjectKind,
    pub(crate) command: Json,
}

/// Sends an order to the object of this name.
pub(crate) async fn command(env: &Env, name: &str, order: &Order) -> Result<Json> {
    let (binding, name) = match order.kind {
        ObjectKind::RateLimiter => ("RATE_LIMITER", name.to_owned()),
        ObjectKind::CircuitBreaker => ("CIRCUIT_BREAKER", name.to_owned()),
        ObjectKind::LogBuffer => ("LOG_BUFFER", name.to_owned()),
        // Two kinds of names in one namespace.
        ObjectKind::Job => ("JOBS", format!("job:{name}")),
        ObjectKind::Answer => ("JOBS", format!("answer:{name}")),
    };
    let object = env.durable_object(binding)?.get_by_name(&name)?;
    let mut init = RequestInit::new();
    init.with_method(Method::Post)
        .with_body(Some(serde_json::to_string(order)?.into()));
    let mut response = object
        .fetch_with_request(Request::new_with_init("https://object/", &init)?)
        .await?;
    if response.status_code() == 200 {
        response.json().await
    } else {
        Err(Error::from(response.text().await?))
    }
}

/// A state machine and the rows behind it.
struct Kept {
    state: State,
    object: RefCell<Option<Object>>,
}

impl Kept {
    fn new(state: State) -> Self {
        Self {
            state,
            object: RefCell::default(),
        }
    }

    async fn answer(&self, request: Request) -> Result<Response> {
        answered(&self.reply(request).await)
    }

    async fn reply(&self, mut request: Request) -> Result<Json> {
        let order: Order = request.json().await?;
        self.step(order)
    }

    fn step(&self, order: Order) -> Result<Json> {
        let kept = self.object.take();
        let mut object = match kept {
            Some(object) => object,
            None => self.restored(order.kind)?,
        };
        let stepped = object.step(worker::Date::now().as_millis(), order.command);
        let (reply, writes) = stepped.map_err(|error| Error::from(error.0))?;
        // If this fails, the state machine is ahead of its rows: it is not kept, and the next command begins with the rows.
        for write in writes {
            self.write(write)?;
        }
        self.object.replace(Some(object));
        Ok(reply)
    }

    fn restored(&self, kind: ObjectKind) -> Result<Object> {
        #[derive(Deserialize)]
        struct Record {
            key: String,
            value: String,
        }
        let sql = self.state.storage().sql();
        sql.exec(
            "CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) WITHOUT ROWID",
            None,
        )?;
        let records: Vec<Record> = sql
            .exec("SELECT key, value FROM records ORDER BY key", None)?
            .to_array()?;
        let records = records
            .iter()
            .map(|record| (record.key.as_str(), record.value.as_str()));
        Ok(Object::restore(kind, records))
    }

    fn write(&self, write: Write) -> Result<()> {
        let sql = self.state.storage().sql();
        match write.value {
            Some(value) => sql.exec(
                "INSERT OR REPLACE INTO records VALUES (?, ?)",
                vec![write.key.into(), value.into()],
            )?,
            None => sql.exec("DELETE FROM records WHERE key = ?", vec![write.key.into()])?,
        };
        Ok(())
    }
}

fn answered(reply: &Result<Json>) -> Result<Response> {
    match reply {
        Ok(reply) => Response::from_json(reply),
        Err(error) => Response::error(error.to_string(), 500),
    }
}

/// The rolling window of an instance and provider.
#[durable_object(fetch)]
pub struct RateLimiter {
    kept: Kept,
}

impl DurableObject for RateLimiter {
    fn new(state: State, _env: Env) -> Self {
        Self { kept: Kept::new(state) }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        self.kept.answer(request).await
    }
}

/// The circuit of an instance and provider.
#[durable_object(fetch)]
pub struct CircuitBreaker {
    kept: Kept,
}

impl DurableObject for CircuitBreaker {
    fn new(state: State, _env: Env) -> Self {
        Self { kept: Kept::new(state) }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        self.kept.answer(request).await
    }
}

/// A job, or the answer to an idempotent request.
#[durable_object(fetch)]
pub struct Jobs {
    kept: Kept,
}

impl DurableObject for Jobs {
    fn new(state: State, _env: Env) -> Self {
        Self { kept: Kept::new(state) }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        self.kept.answer(request).await
    }
}

/// Log entries on their way to the database. An alarm is set while there are any.
#[durable_object(alarm)]
pub struct LogBuffer {
    kept: Kept,
    env: Env,
}

impl LogBuffer {
    async fn wake_later(&self) -> Result<()> {
        let storage = self.kept.state.storage();
        if storage.get_alarm().await?.is_none() {
            storage.set_alarm(Duration::from_millis(log::WAIT_MS)).await?;
        }
        Ok(())
    }
}

impl DurableObject for LogBuffer {
    fn new(state: State, env: Env) -> Self {
        Self {
            kept: Kept::new(state),
            env,
        }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        let reply = self.kept.reply(request).await;
        if reply.as_ref().is_ok_and(|waiting| waiting["count"] != 0) {
            self.wake_later().await?;
        }
        answered(&reply)
    }

    async fn alarm(&self) -> Result<Response> {
        flush_if_due(&Host::new(self.env.clone())).await;
        Response::empty()
    }
}
