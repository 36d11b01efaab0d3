//! Which configuration a request goes by: a copy that is younger than five minutes, else the Config Service's own, else an old copy.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::deadline::Deadline;
use super::internal;
use crate::config::instances::cache_entry;
use crate::http::Request;
use crate::id;
use crate::limiter::Limit;
use crate::ports::ImageHost;
use crate::problem::{Code, Problem};
use crate::secret::CacheKey;
use crate::time::MINUTE_MS;

/// A copy that is younger needs no asking.
const FRESH_MS: u64 = 5 * MINUTE_MS;
/// So long a copy is kept for the time when the Config Service does not answer.
const KEPT_SECONDS: u64 = 24 * 60 * 60;
/// So long the Config Service may take.
const PATIENCE_MS: u64 = 3000;

/// Where a configuration came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A young copy.
    Fresh,
    /// The Config Service.
    Fetched,
    /// An old copy, because the Config Service did not answer.
    Stale,
}

impl Source {
    /// As the log calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Fetched => "fetched",
            Self::Stale => "stale",
        }
    }
}

/// What a generation needs of an instance's configuration. `Debug` is left out on purpose: it holds keys.
#[derive(Clone, Serialize, Deserialize)]
pub struct Configuration {
    /// Which instance.
    pub instance_id: String,
    /// Whose.
    pub org_id: String,
    api_keys: Map<String, Value>,
    rate_limits: Map<String, Value>,
    /// Where its images go; none is the default.
    pub r2_bucket: Option<String>,
}

impl Configuration {
    /// The provider's key.
    #[must_use]
    pub fn api_key(&self, provider: &str) -> Option<&str> {
        self.api_keys.get(provider)?.as_str()
    }

    /// The provider's limit, if it has one.
    #[must_use]
    pub fn limit(&self, provider: &str) -> Option<Limit> {
        let limit = self.rate_limits.get(provider)?;
        Some(Limit {
            rpm: limit["rpm"].as_u64()?,
            tpm: limit["tpm"].as_u64(),
        })
    }
}

/// A copy, as it lies in the cache, sealed.
#[derive(Serialize, Deserialize)]
struct Copy {
    taken_ms: u64,
    configuration: Configuration,
}

/// The configuration of an instance, and where it came from. Whether the caller may use it is decided afterwards, so that no copy widens access.
pub async fn configuration(
    host: &impl ImageHost,
    instance_id: &str,
    request_id: &str,
    deadline: Deadline,
) -> Result<(Configuration, Source), Problem> {
    if !id::is_identifier(instance_id) {
        return Err(Problem::missing("instance"));
    }
    let settings = host.settings();
    let cache_key = CacheKey::parse(settings.cache_encryption_key.as_deref())?;
    let entry = cache_entry(instance_id);
    // A cache that cannot be read is an empty one.
    let sealed = host.kv_get(&entry).await.ok().flatten();
    let copy: Option<Copy> = sealed
        .and_then(|sealed| cache_key.open(&entry, &sealed))
        .and_then(|text| serde_json::from_str(&text).ok());
    let old = match copy {
        Some(copy) if host.now_ms().saturating_sub(copy.taken_ms) < FRESH_MS => {
            return Ok((copy.configuration, Source::Fresh));
        }
        old => old,
    };
    let token = settings.service_token.as_deref().ok_or_else(Problem::internal)?;
    let request = Request::new("GET", &format!("/instance/{instance_id}"))
        .bearer(token)
        .header("x-request-id", request_id);
    let answer = deadline
        .or_in_ms(host, PATIENCE_MS)
        .of(host, host.config_service(request))
        .await;
    let configuration = match answer {
        Some(Ok(response)) if response.status == 200 => serde_json::from_value(response.json()).ok(),
        Some(Ok(response)) if response.status == 404 => {
            drop(host.kv_delete(&entry).await);
            return Err(Problem::missing("instance"));
        }
        Some(Ok(_) | Err(_)) | None => None,
    };
    let Some(configuration) = configuration else {
        let unavailable = || Problem::new(Code::ConfigUnavailable, "the configuration cannot be had just now");
        return old
            .map(|copy| (copy.configuration, Source::Stale))
            .ok_or_else(unavailable);
    };
    let copy = Copy {
        taken_ms: host.now_ms(),
        configuration,
    };
    let text = serde_json::to_string(&copy).or_else(|_| internal())?;
    let sealed = cache_key.seal(&entry, &text, host)?;
    // Without a copy the next request asks again.
    drop(host.kv_put(&entry, &sealed, KEPT_SECONDS).await);
    Ok((copy.configuration, Source::Fetched))
}
