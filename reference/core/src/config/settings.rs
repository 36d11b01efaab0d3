//! The configuration of an instance: what it may hold, how an edit merges into it, and how its keys are shown.

use serde_json::{Map, Value, json};
use url::Url;

use super::instances::entries;
use crate::caller::Kind;
use crate::fields::{self, Fields};
use crate::id;
use crate::ports::Entropy;
use crate::problem::Problem;
use crate::secret::{self, Keyring};

/// What each of the maps may hold.
const ENTRIES_MAX: usize = 50;
/// What a provider's key may measure.
const PROVIDER_KEY_LENGTH_MAX: usize = 512;
/// What a URL may measure.
const URL_UNITS_MAX: usize = 2048;
/// With this begins a mask, and no key.
const MASK: &str = "****";

const MAPS: [&str; 3] = ["api_keys", "rate_limits", "worker_urls"];

/// The configuration of an instance that was given none.
pub(super) fn empty() -> Value {
    json!({ "api_keys": {}, "rate_limits": {}, "worker_urls": {}, "r2_bucket": null })
}

/// The keys as this kind of caller sees them: in clear for our own Workers, masked for everybody else. A mask is stored beside its key, so that
/// whoever sees the mask alone causes no decryption.
pub(super) fn shown_keys(
    config: &Value,
    instance_id: &str,
    kind: Kind,
    binding: Option<&str>,
) -> Result<Value, Problem> {
    let stored = entries(config, "api_keys");
    let mut shown = Map::new();
    if kind == Kind::Service {
        let keyring = Keyring::parse(binding)?;
        for (provider, key) in stored {
            let sealed = key["ciphertext"].as_str().ok_or_else(Problem::internal)?;
            let clear = keyring.open(instance_id, &provider, sealed)?;
            shown.insert(provider, clear.into());
        }
    } else {
        shown.extend(
            stored
                .into_iter()
                .map(|(provider, key)| (provider, key["mask"].clone())),
        );
    }
    Ok(shown.into())
}

/// Whether a configuration is new, or merges into one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// All of it is given; null removes nothing.
    Create,
    /// What is not named stays; null removes an entry.
    Merge,
}

/// An edit whose parts are valid in themselves.
pub(super) struct Edit {
    /// For each of the three maps: entries to set, or to remove.
    maps: [Vec<(String, Option<Value>)>; 3],
    /// The bucket: to be set, to be cleared, or left.
    r2_bucket: Option<Value>,
}

impl Edit {
    pub(super) fn read(config: Option<&Value>, mode: Mode) -> Result<Self, Problem> {
        let mut edit = Self {
            maps: [Vec::new(), Vec::new(), Vec::new()],
            r2_bucket: None,
        };
        let Some(config) = config else { return Ok(edit) };
        let config = Fields::of(
            config,
            "config",
            &["api_keys", "rate_limits", "worker_urls", "r2_bucket"],
        )?;
        for (index, map) in MAPS.into_iter().enumerate() {
            let Some(given) = config.raw(map) else { continue };
            let given = given
                .as_object()
                .ok_or_else(|| Problem::invalid(format!("`config.{map}` must be an object")))?;
            for (name, value) in given {
                if !id::is_provider(name) {
                    return Err(Problem::invalid(format!(
                        "`config.{map}` has an entry whose name is malformed"
                    )));
                }
                let value = match (value, mode) {
                    (Value::Null, Mode::Merge) => None,
                    (value, _) => Some(entry(map, value, mode)?),
                };
                edit.maps[index].push((name.clone(), value));
            }
        }
        edit.r2_bucket = config.optional("r2_bucket", bucket)?;
        Ok(edit)
    }

    /// The configuration after the edit.
    pub(super) fn apply(
        &self,
        present: &Value,
        instance_id: &str,
        binding: Option<&str>,
        entropy: &impl Entropy,
    ) -> Result<Value, Problem> {
        let mut config = Map::new();
        for (map, edits) in MAPS.into_iter().zip(&self.maps) {
            let mut merged = entries(present, map);
            for (name, value) in edits {
                let Some(value) = value else {
                    merged.remove(name);
                    continue;
                };
                let value = match (map, value.as_str()) {
                    ("api_keys", Some(key)) if key.starts_with(MASK) => {
                        // A person's edit sends back what it saw.
                        if merged.get(name).is_none_or(|present| present["mask"] != key) {
                            return Err(Problem::invalid(
                                "`config.api_keys` has a mask that is not the key's own",
                            ));
                        }
                        continue;
                    }
                    ("api_keys", Some(key)) => {
                        let sealed = Keyring::parse(binding)?.seal(instance_id, name, key, entropy)?;
                        json!({ "ciphertext": sealed, "mask": secret::mask(key) })
                    }
                    (_, _) => value.clone(),
                };
                merged.insert(name.clone(), value);
            }
            if merged.len() > ENTRIES_MAX {
                return Err(Problem::invalid(format!(
                    "`config.{map}` must have at most {ENTRIES_MAX} entries"
                )));
            }
            config.insert(map.to_owned(), merged.into());
        }
        let bucket = self.r2_bucket.clone().or_else(|| present.get("r2_bucket").cloned());
        config.insert("r2_bucket".to_owned(), bucket.unwrap_or_default());
        Ok(config.into())
    }
}

fn entry(map: &str, value: &Value, mode: Mode) -> Result<Value, Problem> {
    let checked = match map {
        "api_keys" => provider_key(value, mode).map(Value::from),
        "worker_urls" => worker_url(value).map(Value::from),
        _ => return rate_limit(value),
    };
    checked.map_err(|must| Problem::invalid(format!("every entry of `config.{map}` must be {must}")))
}

fn provider_key(value: &Value, mode: Mode) -> Result<String, &'static str> {
    const MUST: &str = "a key of 1 to 512 printable ASCII characters without spaces";
    let key = value.as_str().ok_or(MUST)?;
    let is_printable = key.bytes().all(|byte| byte.is_ascii_graphic());
    let is_mask_allowed = mode == Mode::Merge || !key.starts_with(MASK);
    if (1..=PROVIDER_KEY_LENGTH_MAX).contains(&key.len()) && is_printable && is_mask_allowed {
        Ok(key.to_owned())
    } else {
        Err(MUST)
    }
}

fn rate_limit(value: &Value) -> Result<Value, Problem> {
    let limit = Fields::of(value, "config.rate_limits", &["rpm", "tpm"])?;
    let within = |max: i64| {
        move |value: &Value| {
            value
                .as_i64()
                .filter(|number| (1..=max).contains(number))
                .ok_or("a whole number within its limits")
        }
    };
    let rpm = limit.required("rpm", within(1_000_000))?;
    let tpm = limit.optional("tpm", within(1_000_000_000))?;
    Ok(match tpm {
        Some(tpm) => json!({ "rpm": rpm, "tpm": tpm }),
        None => json!({ "rpm": rpm }),
    })
}

fn worker_url(value: &Value) -> Result<String, &'static str> {
    const MUST: &str = "an https URL of at most 2048 characters";
    let text = value
        .as_str()
        .filter(|text| fields::units(text) <= URL_UNITS_MAX)
        .ok_or(MUST)?;
    let url = Url::parse(text).map_err(|_| MUST)?;
    let host = url.host_str().unwrap_or_default();
    if !url.username().is_empty() || url.password().is_some() {
        return Err(MUST);
    }
    let is_local = host == "localhost" || host.ends_with(".localhost") || host == "127.0.0.1";
    match url.scheme() {
        "https" if !host.is_empty() => Ok(text.to_owned()),
        "http" if is_local => Ok(text.to_owned()),
        _ => Err(MUST),
    }
}

/// null, or `^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$`.
fn bucket(value: &Value) -> Result<Value, &'static str> {
    const MUST: &str = "null or the name of a bucket";
    let Some(name) = value.as_str() else {
        return if value.is_null() { Ok(Value::Null) } else { Err(MUST) };
    };
    if name.len() >= 3 && id::is_identifier(name) && !name.ends_with('-') {
        Ok(name.into())
    } else {
        Err(MUST)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::expect_used, reason = "a test says what it expects by failing")]

    use super::*;

    struct Fixed;
    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    const BINDING: Option<&str> = Some("k:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");

    fn merged(present: &Value, edit: &Value) -> Result<Value, Problem> {
        Edit::read(Some(edit), Mode::Merge)?.apply(present, "i", BINDING, &Fixed)
    }

    #[test]
    fn an_edit_leaves_what_it_does_not_name() {
        let first = json!({ "api_keys": { "a": "key-of-a-provider" }, "rate_limits": { "a": { "rpm": 5, "tpm": 6 } }, "worker_urls": { "w": "https://w.example" }, "r2_bucket": "bucket" });
        let stored = merged(&empty(), &first).expect("valid");
        let again = merged(&stored, &json!({})).expect("valid");
        assert_eq!(stored, again);
        let edited = merged(
            &stored,
            &json!({ "rate_limits": { "a": { "rpm": 7 } }, "api_keys": { "a": null }, "r2_bucket": null }),
        )
        .expect("valid");
        assert_eq!(
            edited,
            json!({ "api_keys": {}, "rate_limits": { "a": { "rpm": 7 } }, "worker_urls": { "w": "https://w.example" }, "r2_bucket": null })
        );
    }

    #[test]
    fn the_present_mask_leaves_the_key_and_another_is_refused() {
        let stored = merged(&empty(), &json!({ "api_keys": { "a": "0123456789abcdef" } })).expect("valid");
        assert_eq!(
            merged(&stored, &json!({ "api_keys": { "a": "****cdef" } })).expect("valid"),
            stored
        );
        for wrong in ["****", "****abcd", "****cdef "] {
            assert!(
                merged(&stored, &json!({ "api_keys": { "a": wrong } })).is_err(),
                "{wrong}"
            );
        }
        assert!(merged(&empty(), &json!({ "api_keys": { "a": "****" } })).is_err());
        assert!(Edit::read(Some(&json!({ "api_keys": { "a": "****cdef" } })), Mode::Create).is_err());
        assert!(Edit::read(Some(&json!({ "api_keys": { "a": null } })), Mode::Create).is_err());
    }

    #[test]
    fn maps_hold_fifty_entries() {
        let many = |count: usize| -> Value {
            (0..count)
                .map(|index| (format!("p{index}"), json!({ "rpm": 1 })))
                .collect::<Map<_, _>>()
                .into()
        };
        let full = merged(&empty(), &json!({ "rate_limits": many(50) })).expect("valid");
        assert!(merged(&empty(), &json!({ "rate_limits": many(51) })).is_err());
        assert!(merged(&full, &json!({ "rate_limits": { "one-more": { "rpm": 1 } } })).is_err());
        assert!(
            merged(
                &full,
                &json!({ "rate_limits": { "one-more": { "rpm": 1 }, "p0": null } })
            )
            .is_ok()
        );
    }

    #[test]
    fn values_have_limits() {
        for good in [
            json!({ "rate_limits": { "p": { "rpm": 1 } } }),
            json!({ "rate_limits": { "p": { "rpm": 1_000_000, "tpm": 1_000_000_000 } } }),
            json!({ "worker_urls": { "w": "http://localhost:8787/x" } }),
            json!({ "worker_urls": { "w": "http://a.localhost" } }),
            json!({ "worker_urls": { "w": "http://127.0.0.1:1" } }),
            json!({ "worker_urls": { "w": format!("https://w.example/{}", "x".repeat(2030)) } }),
            json!({ "r2_bucket": "a-b" }),
            json!({ "r2_bucket": "x".repeat(63) }),
            json!({ "api_keys": { "p": "x".repeat(512) } }),
            json!({}),
        ] {
            assert!(merged(&empty(), &good).is_ok(), "{good}");
        }
        for bad in [
            json!({ "rate_limits": { "p": { "rpm": 0 } } }),
            json!({ "rate_limits": { "p": { "rpm": 1_000_001 } } }),
            json!({ "rate_limits": { "p": { "rpm": 1.5 } } }),
            json!({ "rate_limits": { "p": { "rpm": "1" } } }),
            json!({ "rate_limits": { "p": { "tpm": 1 } } }),
            json!({ "rate_limits": { "p": { "rpm": 1, "tpm": 0 } } }),
            json!({ "rate_limits": { "p": { "rpm": 1, "tpm": 1_000_000_001 } } }),
            json!({ "rate_limits": { "p": { "rpm": 1, "tpm": null } } }),
            json!({ "rate_limits": { "p": { "rpm": 1, "x": 1 } } }),
            json!({ "rate_limits": { "P": { "rpm": 1 } } }),
            json!({ "rate_limits": [] }),
            json!({ "worker_urls": { "w": "http://w.example" } }),
            json!({ "worker_urls": { "w": "http://notlocalhost" } }),
            json!({ "worker_urls": { "w": "ftp://w.example" } }),
            json!({ "worker_urls": { "w": "w.example" } }),
            json!({ "worker_urls": { "w": "https://" } }),
            json!({ "worker_urls": { "w": "https://user@w.example" } }),
            json!({ "worker_urls": { "w": "https://:password@w.example" } }),
            json!({ "worker_urls": { "w": format!("https://w.example/{}", "x".repeat(2031)) } }),
            json!({ "r2_bucket": "ab" }),
            json!({ "r2_bucket": "ab-" }),
            json!({ "r2_bucket": "-ab" }),
            json!({ "r2_bucket": "x".repeat(64) }),
            json!({ "r2_bucket": 1 }),
            json!({ "api_keys": { "p": "" } }),
            json!({ "api_keys": { "p": "x".repeat(513) } }),
            json!({ "api_keys": { "p": "a b" } }),
            json!({ "api_keys": { "p": "é" } }),
            json!({ "api_keys": null }),
            json!({ "other": 1 }),
            json!([]),
            json!(null),
        ] {
            assert!(merged(&empty(), &bad).is_err(), "{bad}");
        }
    }
}
