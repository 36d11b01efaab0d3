//! What becomes known of a request while it goes its way, for the one log entry that it leaves.

use serde_json::{Map, Value, json};

use crate::http::Response;
use crate::log::{Entry, Level};

/// What is known so far.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The request's id.
    pub request_id: String,
    /// When it arrived.
    pub began_ms: u64,
    /// Once the instance was found.
    pub instance_id: Option<String>,
    /// Once the caller is known, if it is a person.
    pub user_id: Option<String>,
    known: Map<String, Value>,
}

impl Trace {
    /// Nothing is known but when.
    #[must_use]
    pub fn begin(request_id: String, began_ms: u64) -> Self {
        Self {
            request_id,
            began_ms,
            instance_id: None,
            user_id: None,
            known: Map::new(),
        }
    }

    /// Something has become known.
    pub fn note(&mut self, name: &str, value: impl Into<Value>) {
        self.known.insert(name.to_owned(), value.into());
    }

    /// The entry that tells of the answer.
    #[must_use]
    pub fn entry(&self, response: &Response, log_id: String, now_ms: u64) -> Entry {
        let mut metadata = self.known.clone();
        let basics = json!({
            "event": "request",
            "route": "/generate",
            "method": "POST",
            "status": response.status,
            "duration_ms": now_ms.saturating_sub(self.began_ms),
        });
        metadata.extend(basics.as_object().cloned().unwrap_or_default());
        if let Some(code) = response.json().get("code") {
            metadata.insert("code".to_owned(), code.clone());
        }
        let level = match response.status {
            400..500 => Level::Warn,
            500.. => Level::Error,
            _ => Level::Info,
        };
        Entry {
            log_id,
            at_ms: now_ms,
            level,
            message: "request completed".to_owned(),
            request_id: self.request_id.clone(),
            instance_id: self.instance_id.clone(),
            user_id: self.user_id.clone(),
            component: "image-gen-worker".to_owned(),
            metadata,
        }
    }
}
