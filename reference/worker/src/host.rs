//! The host: every port of the core on a binding of the Worker.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use reference_core::http::{Request, Response};
use reference_core::ports::{
    self, Bindings, Blob, Blobs, Database, DatabaseError, Entropy, FetchError, Kv, ObjectKind, Objects, Outbound,
    OutboundRequest, Outcome, Row, Statement, StoreError, Value,
};
use reference_core::settings::Settings;
use serde_json::Value as Json;
use worker::wasm_bindgen::{JsCast as _, JsValue};
use worker::{AbortController, Bucket, D1PreparedStatement, D1Result, Delay, Env, Fetch, HttpMetadata, Result, js_sys};

use crate::exchange;
use crate::objects::{self, Order};

/// What an answer of the Config Service may weigh.
const CONFIGURATION_BYTES_MAX: usize = 1024 * 1024;

/// `setTimeout` takes no more.
const TIMEOUT_MS_MAX: u64 = i32::MAX as u64;

/// The bindings of one event.
pub(crate) struct Host {
    env: Env,
    settings: Rc<Settings>,
}

impl Host {
    pub(crate) fn new(env: Env) -> Self {
        let text = |name: &str| env.var(name).ok().map(|value| value.to_string());
        let settings = Settings {
            service_token: text("SERVICE_TOKEN"),
            provider_key_encryption_keys: text("PROVIDER_KEY_ENCRYPTION_KEYS"),
            cache_encryption_key: text("CACHE_ENCRYPTION_KEY"),
            allowed_origins: text("ALLOWED_ORIGINS"),
            image_base_url: text("IMAGE_BASE_URL"),
            log_level: text("LOG_LEVEL"),
            generation_timeout_ms: text("GENERATION_TIMEOUT_MS").and_then(|text| text.parse().ok()),
            // What leaves a Worker under test is captured on its way, so it needs no other address.
            ideogram_base_url: None,
        };
        Self {
            env,
            settings: Rc::new(settings),
        }
    }

    fn prepared(&self, statements: &[Statement]) -> Result<Vec<D1PreparedStatement>> {
        let database = self.env.d1("DB")?;
        let prepare = |statement: &Statement| {
            let parameters: Vec<JsValue> = statement.parameters.iter().map(bound).collect();
            database.prepare(&statement.sql).bind(&parameters)
        };
        statements.iter().map(prepare).collect()
    }

    async fn run(&self, statements: &[Statement]) -> Result<Vec<Outcome>> {
        let prepared = self.prepared(statements)?;
        let results = match prepared.as_slice() {
            [statement] => vec![statement.all().await?],
            // A batch is a transaction.
            _ => self.env.d1("DB")?.batch(prepared).await?,
        };
        results.iter().map(outcome).collect()
    }

    fn bucket(&self, bucket: Option<&str>) -> Result<Bucket> {
        match bucket {
            None => self.env.bucket("IMAGES"),
            Some(name) => self
                .env
                .bucket(&format!("{BUCKET}{}", name.to_ascii_uppercase().replace('-', "_"))),
        }
    }
}

/// What the names of further buckets begin with.
const BUCKET: &str = "IMAGES_";

fn bound(value: &Value) -> JsValue {
    match value {
        Value::Null => JsValue::NULL,
        #[expect(
            clippy::cast_precision_loss,
            reason = "numbers here have 53 bits at most, as JavaScript's do"
        )]
        Value::Integer(number) => JsValue::from_f64(*number as f64),
        Value::Text(text) => JsValue::from_str(text),
    }
}

fn outcome(result: &D1Result) -> Result<Outcome> {
    let objects: Vec<serde_json::Map<String, Json>> = result.results()?;
    let columns: Rc<[String]> = objects
        .first()
        .map(|object| object.keys().cloned().collect())
        .unwrap_or_default();
    let rows = objects
        .into_iter()
        .map(|object| Row {
            columns: Rc::clone(&columns),
            values: object.into_values().map(value).collect(),
        })
        .collect();
    let changes = result.meta()?.and_then(|meta| meta.changes).unwrap_or_default();
    Ok(Outcome {
        rows,
        changes: changes as u64,
    })
}

fn value(value: Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(is_true) => Value::Integer(i64::from(is_true)),
        #[expect(clippy::cast_possible_truncation, reason = "the tables hold whole numbers")]
        Json::Number(number) => Value::Integer(
            number
                .as_i64()
                .unwrap_or_else(|| number.as_f64().unwrap_or_default() as i64),
        ),
        Json::String(text) => Value::Text(text),
        Json::Array(_) | Json::Object(_) => Value::Text(value.to_string()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to `map_err`")]
fn unreachable(error: impl ToString) -> StoreError {
    StoreError(error.to_string())
}

impl ports::Clock for Host {
    fn now_ms(&self) -> u64 {
        worker::Date::now().as_millis()
    }

    async fn sleep_ms(&self, duration_ms: u64) {
        Delay::from(Duration::from_millis(duration_ms.min(TIMEOUT_MS_MAX))).await;
    }
}

impl Entropy for Host {
    fn fill(&self, bytes: &mut [u8]) {
        #[expect(
            clippy::expect_used,
            reason = "without randomness no key may be made, and nothing else helps"
        )]
        getrandom::fill(bytes).expect("the runtime has random bytes");
    }
}

impl Bindings for Host {
    fn settings(&self) -> Rc<Settings> {
        Rc::clone(&self.settings)
    }
}

impl Database for Host {
    async fn run(&self, statements: Vec<Statement>) -> std::result::Result<Vec<Outcome>, DatabaseError> {
        Self::run(self, &statements)
            .await
            .map_err(|error| DatabaseError::from_message(&error.to_string()))
    }
}

impl Kv for Host {
    async fn kv_get(&self, name: &str) -> std::result::Result<Option<String>, StoreError> {
        let cache = self.env.kv("CONFIG_CACHE").map_err(unreachable)?;
        cache.get(name).text().await.map_err(unreachable)
    }

    async fn kv_put(&self, name: &str, text: &str, keep_seconds: u64) -> std::result::Result<(), StoreError> {
        let cache = self.env.kv("CONFIG_CACHE").map_err(unreachable)?;
        let put = cache.put(name, text).map_err(unreachable)?;
        put.expiration_ttl(keep_seconds).execute().await.map_err(unreachable)
    }

    async fn kv_delete(&self, name: &str) -> std::result::Result<(), StoreError> {
        let cache = self.env.kv("CONFIG_CACHE").map_err(unreachable)?;
        cache.delete(name).await.map_err(unreachable)
    }
}

impl Blobs for Host {
    fn buckets(&self) -> Vec<Option<String>> {
        let names = js_sys::Object::keys(self.env.unchecked_ref::<js_sys::Object>());
        let further = names.iter().filter_map(|name| name.as_string()).filter_map(|name| {
            let bucket = name.strip_prefix(BUCKET)?;
            Some(Some(bucket.to_ascii_lowercase().replace('_', "-")))
        });
        std::iter::once(None).chain(further).collect()
    }

    async fn blob_put(&self, bucket: Option<&str>, path: &str, blob: Blob) -> std::result::Result<(), StoreError> {
        let bucket = self.bucket(bucket).map_err(unreachable)?;
        let metadata: HashMap<String, String> = blob.metadata.into_iter().collect();
        let put = bucket
            .put(path, blob.bytes)
            .custom_metadata(metadata)
            .http_metadata(HttpMetadata {
                content_type: Some(blob.content_type),
                ..HttpMetadata::default()
            });
        put.execute().await.map(drop).map_err(unreachable)
    }

    async fn blob_get(&self, bucket: Option<&str>, path: &str) -> std::result::Result<Option<Blob>, StoreError> {
        let bucket = self.bucket(bucket).map_err(unreachable)?;
        let Some(object) = bucket.get(path).execute().await.map_err(unreachable)? else {
            return Ok(None);
        };
        let bytes = match object.body() {
            Some(body) => body.bytes().await.map_err(unreachable)?,
            None => Vec::new(),
        };
        Ok(Some(Blob {
            bytes,
            content_type: object.http_metadata().content_type.unwrap_or_default(),
            etag: object.etag(),
            metadata: object.custom_metadata().map_err(unreachable)?.into_iter().collect(),
        }))
    }
}

impl Objects for Host {
    async fn command(&self, kind: ObjectKind, name: &str, command: Json) -> std::result::Result<Json, StoreError> {
        let order = Order { kind, command };
        objects::command(&self.env, name, &order).await.map_err(unreachable)
    }
}

/// Ends a request whose answer nobody waits for any more.
struct Abandoned(Option<AbortController>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let Some(controller) = self.0.take() {
            controller.abort();
        }
    }
}

impl Outbound for Host {
    async fn fetch(
        &self,
        request: OutboundRequest,
        body_bytes_max: usize,
    ) -> std::result::Result<Response, FetchError> {
        let request = exchange::request_out(&request).map_err(|_| FetchError::Broken)?;
        let controller = AbortController::default();
        let signal = controller.signal();
        let mut abandoned = Abandoned(Some(controller));
        let arrived = Fetch::Request(request).send_with_signal(&signal).await;
        let response = exchange::response_in(arrived.map_err(|_| FetchError::Broken)?, body_bytes_max).await;
        if response.is_ok() {
            abandoned.0 = None;
        }
        response
    }

    async fn config_service(&self, request: Request) -> std::result::Result<Response, FetchError> {
        let service = self.env.service("CONFIG_SERVICE").map_err(|_| FetchError::Broken)?;
        let query = request.query.map(|query| format!("?{query}")).unwrap_or_default();
        let outbound = OutboundRequest {
            method: request.method,
            url: format!("https://config-service{}{query}", request.path),
            headers: request.headers,
            body: request.body,
        };
        let request = exchange::request_out(&outbound).map_err(|_| FetchError::Broken)?;
        let arrived = service.fetch_request(request).await.map_err(|_| FetchError::Broken)?;
        exchange::response_in(arrived, CONFIGURATION_BYTES_MAX).await
    }
}
