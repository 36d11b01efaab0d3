//! What the domain asks of its host. Hosts are single-threaded, as Workers are, so nothing here is `Send`.
#![expect(
    async_fn_in_trait,
    reason = "no host needs `Send`, and the traits are for our own hosts alone"
)]

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::http::{Headers, Request, Response};
use crate::settings::Settings;

/// The present moment.
pub trait Clock {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;
    /// Comes back after this many milliseconds.
    async fn sleep_ms(&self, duration_ms: u64);
}

/// Unpredictable bytes.
pub trait Entropy {
    /// Fills all of it.
    fn fill(&self, bytes: &mut [u8]);
}

/// Variables and secrets.
pub trait Bindings {
    /// All of them, as they are now.
    fn settings(&self) -> Rc<Settings>;
}

/// A value that goes into a statement or comes out of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// NULL.
    Null,
    /// A whole number within 53 bits.
    Integer(i64),
    /// A text.
    Text(String),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// One statement in SQLite's dialect, its parameters written `?1`, `?2` and so on.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The text.
    pub sql: String,
    /// What the parameters stand for.
    pub parameters: Vec<Value>,
}

impl Statement {
    /// A statement with its parameters.
    #[must_use]
    pub fn new(sql: impl Into<String>, parameters: impl Into<Vec<Value>>) -> Self {
        Self {
            sql: sql.into(),
            parameters: parameters.into(),
        }
    }
}

/// A row: names and values.
#[derive(Clone, Debug)]
pub struct Row {
    /// The columns' names, the same for all rows of one answer.
    pub columns: Rc<[String]>,
    /// The values, in the columns' order.
    pub values: Vec<Value>,
}

impl Row {
    /// A column's value; NULL if there is no such column.
    #[must_use]
    pub fn value(&self, column: &str) -> &Value {
        self.columns
            .iter()
            .position(|name| name == column)
            .and_then(|index| self.values.get(index))
            .unwrap_or(&Value::Null)
    }

    /// A column that holds text; empty if it does not.
    #[must_use]
    pub fn text(&self, column: &str) -> &str {
        self.optional(column).unwrap_or_default()
    }

    /// A column that holds text or NULL.
    #[must_use]
    pub fn optional(&self, column: &str) -> Option<&str> {
        match self.value(column) {
            Value::Text(text) => Some(text),
            Value::Null | Value::Integer(_) => None,
        }
    }

    /// A column that holds a number; 0 if it does not.
    #[must_use]
    pub fn integer(&self, column: &str) -> i64 {
        match self.value(column) {
            Value::Integer(number) => *number,
            Value::Null | Value::Text(_) => 0,
        }
    }

    /// A column that holds JSON; null if it does not.
    #[must_use]
    pub fn json(&self, column: &str) -> Json {
        serde_json::from_str(self.text(column)).unwrap_or_default()
    }
}

/// What a statement did.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The rows that it gave.
    pub rows: Vec<Row>,
    /// How many rows it inserted, updated or deleted.
    pub changes: u64,
}

/// Why a statement failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseError {
    /// A unique value is taken.
    Unique,
    /// A foreign key does not hold.
    Reference,
    /// Anything else: a fault of ours.
    Failed(String),
}

impl DatabaseError {
    /// The error behind SQLite's own words, for hosts that have nothing better.
    #[must_use]
    pub fn from_message(message: &str) -> Self {
        if message.contains("UNIQUE constraint failed") {
            Self::Unique
        } else if message.contains("FOREIGN KEY constraint failed") {
            Self::Reference
        } else {
            Self::Failed(message.to_owned())
        }
    }
}

/// A relational database.
pub trait Database {
    /// Runs statements in order; either all of them count, or none does.
    async fn run(&self, statements: Vec<Statement>) -> Result<Vec<Outcome>, DatabaseError>;

    /// Runs one statement.
    async fn query(&self, sql: &str, parameters: Vec<Value>) -> Result<Outcome, DatabaseError> {
        let outcomes = self.run(vec![Statement::new(sql, parameters)]).await?;
        outcomes
            .into_iter()
            .next()
            .ok_or_else(|| DatabaseError::Failed("no outcome".to_owned()))
    }
}

/// A store that could not be reached. Its words are for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError(pub String);

impl From<StoreError> for crate::problem::Problem {
    fn from(_: StoreError) -> Self {
        Self::internal()
    }
}

/// A store of short texts that are forgotten after a time.
pub trait Kv {
    /// The text, unless it is forgotten.
    async fn kv_get(&self, name: &str) -> Result<Option<String>, StoreError>;
    /// Keeps a text for this long.
    async fn kv_put(&self, name: &str, text: &str, keep_seconds: u64) -> Result<(), StoreError>;
    /// Forgets it now.
    async fn kv_delete(&self, name: &str) -> Result<(), StoreError>;
}

/// Bytes with what is known of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The bytes, or the part of them that was asked for.
    pub bytes: Vec<u8>,
    /// What kind of content it is.
    pub content_type: String,
    /// Changes with the content; without quotes.
    pub etag: String,
    /// Names and values of the writer's choice.
    pub metadata: Vec<(String, String)>,
}

/// Buckets of bytes.
pub trait Blobs {
    /// The buckets that are bound; `None` is the default one, which always is.
    fn buckets(&self) -> Vec<Option<String>>;
    /// Stores bytes; they are durable when this comes back.
    async fn blob_put(&self, bucket: Option<&str>, path: &str, blob: Blob) -> Result<(), StoreError>;
    /// The bytes, if they are there.
    async fn blob_get(&self, bucket: Option<&str>, path: &str) -> Result<Option<Blob>, StoreError>;
}

/// Objects that live one to a name, answer one command at a time, and keep their state.
pub trait Objects {
    /// Sends a command to the object of this kind and name. Its changes are durable when the reply comes back.
    async fn command(&self, kind: ObjectKind, name: &str, command: Json) -> Result<Json, StoreError>;
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ObjectKind {
    /// The rolling window of an instance and provider.
    RateLimiter,
    /// The circuit of an instance and provider.
    CircuitBreaker,
    /// A job.
    Job,
    /// The answer kept for an idempotent request.
    Answer,
    /// Log entries on their way to the database.
    LogBuffer,
}

/// Why an outgoing request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// No connection, or one that broke.
    Broken,
    /// The body is larger than what was asked for.
    TooLarge,
}

/// Requests that leave.
pub trait Outbound {
    /// Sends a request to an absolute URL and reads an answer of at most so many bytes.
    async fn fetch(&self, request: OutboundRequest, body_bytes_max: usize) -> Result<Response, FetchError>;
    /// Sends a request to the Config Service.
    async fn config_service(&self, request: Request) -> Result<Response, FetchError>;
}

/// A request that leaves.
#[derive(Clone, Debug, Default)]
pub struct OutboundRequest {
    /// Upper case.
    pub method: String,
    /// Absolute.
    pub url: String,
    /// The header fields.
    pub headers: Headers,
    /// The whole body.
    pub body: Vec<u8>,
}

/// What the Config Service needs.
pub trait ConfigHost: Clock + Entropy + Bindings + Database + Kv {}
impl<T: Clock + Entropy + Bindings + Database + Kv> ConfigHost for T {}

/// What the image-generation Worker needs.
pub trait ImageHost: ConfigHost + Blobs + Objects + Outbound {}
impl<T: ConfigHost + Blobs + Objects + Outbound> ImageHost for T {}
