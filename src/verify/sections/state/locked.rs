//! Keys, those of people and those of providers, as they lie in the database and in KV.

use reference_core::http::Request;
use reference_core::key;
use reference_core::secret::{CacheKey, Keyring};
use serde_json::{Value, json};

use super::super::orders::{ordered, same_calls, same_log};
use crate::verify::lab::{Failed, Lab, NEWCOMER, Outcome, PROVIDER_KEY};

pub(super) fn text<'row>(row: &'row serde_json::Map<String, Value>, column: &str) -> &'row str {
    row.get(column).and_then(Value::as_str).unwrap_or_default()
}

pub(super) async fn platform_keys(lab: &mut Lab) -> Outcome {
    let root = lab.keys.root.clone();
    let path = format!("/user/{NEWCOMER}/key");
    let mut keys = Vec::new();
    for _ in 0..3 {
        let made = lab
            .config(Request::new("POST", &path).bearer(&root))
            .await?
            .status(201)?;
        keys.push((made.text("/key_id")?.subject, made.text("/key")?.subject));
    }
    for (key_id, made) in &keys {
        lab.require(
            key::is_well_formed(made),
            "a new key is not of the form mas_, 43 characters, checksum",
        )?;
        let rows = lab
            .subject
            .rows(&format!("SELECT * FROM api_keys WHERE key_id = '{key_id}'"))
            .await?;
        let Some(row) = rows.first() else {
            return Err(Failed::Difference("a new key has no row".to_owned()));
        };
        lab.require(
            text(row, "key_hash") == key::hash(made),
            "key_hash is not the SHA-256 of the key",
        )?;
        lab.require(
            text(row, "key_prefix") == key::prefix(made),
            "key_prefix is not the key's first 12 characters",
        )?;
        lab.require(!json!(row).to_string().contains(made), "the key itself is stored")?;
    }
    let distinct: std::collections::BTreeSet<&str> = keys.iter().filter_map(|(_, key)| key.get(4..20)).collect();
    lab.require(distinct.len() == keys.len(), "new keys are alike")?;
    lab.rows(&format!("SELECT user_id, project_id, name, created_by, expires_at, revoked_at, created_at FROM api_keys WHERE user_id = '{NEWCOMER}' ORDER BY created_at")).await?;
    // A key that is found by less than all of its hash would let this one in.
    let (_, first) = &keys[0];
    let prefix = key::prefix(first);
    let forged = std::iter::repeat_n('0', 43 - (prefix.len() - 4)).collect::<String>();
    let request = Request::new("GET", "/me").bearer(&format!("{prefix}{forged}000000"));
    lab.config(request).await?.error(401, "AUTH_FAILED")?;
    Ok(())
}

/// What stands in the row of an instance for its provider.
pub(super) async fn sealed(lab: &Lab, instance: &str) -> Outcome<Value> {
    let rows = lab
        .subject
        .rows(&format!(
            "SELECT config FROM instances WHERE instance_id = '{instance}'"
        ))
        .await?;
    let config = rows
        .first()
        .map(|row| text(row, "config").to_owned())
        .unwrap_or_default();
    serde_json::from_str(&config)
        .map_err(|error| Failed::Difference(format!("instances.config of {instance} is no JSON: {error}")))
}

fn keyring(lab: &Lab) -> Outcome<Keyring> {
    let keys = lab.options.settings.provider_key_encryption_keys.as_deref();
    Keyring::parse(keys).map_err(|_| Failed::Check("the encryption keys of the subject are malformed".to_owned()))
}

pub(super) async fn provider_keys(lab: &mut Lab) -> Outcome {
    let one = lab.instance(json!({})).await?;
    let other = lab.instance_named(&format!("{one}-other"), json!({})).await?;
    let keyring = keyring(lab)?;
    let mut nonces = Vec::new();
    for instance in [&one, &other] {
        let config = sealed(lab, instance).await?;
        let entry = &config["api_keys"]["ideogram"];
        let ciphertext = entry["ciphertext"].as_str().unwrap_or_default();
        let parts: Vec<&str> = ciphertext.split('.').collect();
        lab.require(
            parts.len() == 4 && parts[0] == "v1",
            format!("a provider key is stored as {entry}"),
        )?;
        nonces.push(parts[2].to_owned());
        let opened = keyring.open(instance, "ideogram", ciphertext).ok();
        lab.require(
            opened.as_deref() == Some(PROVIDER_KEY),
            "a stored provider key does not decrypt by AES-256-GCM with `<instance_id>/<provider>` as additional data",
        )?;
        lab.require(
            entry["mask"] == "****6789",
            format!("the stored mask is {}", entry["mask"]),
        )?;
        lab.require(
            !config.to_string().contains(PROVIDER_KEY),
            "a provider key is stored in clear",
        )?;
    }
    lab.require(nonces[0] != nonces[1], "two provider keys share their nonce")?;
    // Masks that come back change nothing; the rest stands as it was sent.
    let path = format!("/instance/{one}");
    let root = lab.keys.root.clone();
    let config = json!({ "config": { "api_keys": { "ideogram": "****6789", "further": "short" }, "rate_limits": { "ideogram": { "rpm": 7, "tpm": 8 } }, "worker_urls": { "image": "https://images.example.com/x" } } });
    lab.config(Request::new("PATCH", &path).bearer(&root).json(&config))
        .await?
        .status(200)?;
    let service = lab.keys.service.clone();
    let seen = lab
        .config(Request::new("GET", &path).bearer(&service))
        .await?
        .status(200)?;
    lab.require(
        seen.subject.json()["api_keys"]["ideogram"] == PROVIDER_KEY,
        "the service token does not see the provider's key",
    )?;
    lab.config(Request::new("GET", &path).bearer(&root))
        .await?
        .status(200)?;
    let config = sealed(lab, &one).await?;
    let ciphertext = config["api_keys"]["ideogram"]["ciphertext"]
        .as_str()
        .unwrap_or_default();
    lab.require(
        keyring.open(&one, "ideogram", ciphertext).ok().as_deref() == Some(PROVIDER_KEY),
        "a mask that was sent back changed the stored key",
    )?;
    let wrong = json!({ "config": { "api_keys": { "ideogram": "****0000" } } });
    lab.config(Request::new("PATCH", &path).bearer(&root).json(&wrong))
        .await?
        .error(400, "VALIDATION_FAILED")?;
    for field in ["rate_limits", "worker_urls", "r2_bucket"] {
        let wanted = lab
            .reference
            .rows(&format!(
                "SELECT json_extract(config, '$.{field}') AS field FROM instances WHERE instance_id = '{one}'"
            ))
            .await?;
        let wanted = wanted.first().map(|row| row["field"].clone()).unwrap_or_default();
        let wanted = wanted
            .as_str()
            .and_then(|text| serde_json::from_str::<Value>(text).ok())
            .unwrap_or_default();
        lab.same(&format!("stored {field}"), &wanted, &config[field])?;
    }
    Ok(())
}

pub(super) async fn moved_provider_keys(lab: &mut Lab) -> Outcome {
    let one = lab.instance(json!({})).await?;
    let other = lab.instance_named(&format!("{one}-other"), json!({})).await?;
    for side in [&lab.reference, &lab.subject] {
        side.write(&format!(
            "UPDATE instances SET config = (SELECT config FROM instances WHERE instance_id = '{one}') WHERE instance_id = '{other}';\n\
             UPDATE instances SET config = json_set(config, '$.api_keys.further', json_extract(config, '$.api_keys.ideogram')) WHERE instance_id = '{one}';\n"
        ))
        .await?;
    }
    let service = lab.keys.service.clone();
    let root = lab.keys.root.clone();
    for instance in [&one, &other] {
        let path = format!("/instance/{instance}");
        lab.config(Request::new("GET", &path).bearer(&service))
            .await?
            .error(500, "INTERNAL_ERROR")?;
        lab.config(Request::new("GET", &path).bearer(&root))
            .await?
            .status(200)?;
    }
    ordered(lab, &other, "with a moved key")
        .await?
        .error(503, "CONFIG_UNAVAILABLE")?;
    same_calls(lab, &[])
}

/// Chance of no consequence: what it seals is opened at once.
struct Fixed;

impl reference_core::ports::Entropy for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

pub(super) async fn keys_rotate(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let keys = lab
        .options
        .settings
        .provider_key_encryption_keys
        .clone()
        .unwrap_or_default();
    let (first, last) = keys
        .split_once(',')
        .ok_or_else(|| Failed::Check("the subject has one encryption key".to_owned()))?;
    let first_id = first.split(':').next().unwrap_or_default();
    let config = sealed(lab, &instance).await?;
    let ciphertext = config["api_keys"]["ideogram"]["ciphertext"]
        .as_str()
        .unwrap_or_default();
    lab.require(
        ciphertext.starts_with(&format!("v1.{first_id}.")),
        "it is not the first key of the list that encrypts",
    )?;
    let old =
        Keyring::parse(Some(last)).and_then(|ring| ring.seal(&instance, "ideogram", "sealed-long-ago-123456", &Fixed));
    let old = old.map_err(|_| Failed::Check("the reference seals nothing".to_owned()))?;
    for side in [&lab.reference, &lab.subject] {
        side.write(&format!(
            "UPDATE instances SET config = json_set(config, '$.api_keys.ideogram.ciphertext', '{old}', '$.api_keys.ideogram.mask', '****3456') WHERE instance_id = '{instance}';\n"
        ))
        .await?;
    }
    let request = Request::new("GET", &format!("/instance/{instance}")).bearer(&lab.keys.service);
    let seen = lab.config(request).await?.status(200)?;
    lab.require(
        seen.subject.json()["api_keys"]["ideogram"] == "sealed-long-ago-123456",
        "what an older key of the list encrypted is not read",
    )
}

pub(super) async fn cache(lab: &mut Lab) -> Outcome {
    let one = lab
        .instance(json!({ "rate_limits": { "ideogram": { "rpm": 9 } } }))
        .await?;
    let other = lab.instance_named(&format!("{one}-other"), json!({})).await?;
    for instance in [&one, &other] {
        ordered(lab, instance, "to fill the cache").await?.status(200)?;
    }
    let name = |instance: &str| format!("instance-config:v1:{instance}");
    let cached = lab.subject.cached().await?;
    let copy = |instance: &str| {
        cached
            .iter()
            .find(|(found, _)| *found == name(instance))
            .map(|(_, value)| value.clone())
    };
    let (Some(of_one), Some(of_other)) = (copy(&one), copy(&other)) else {
        let names: Vec<&String> = cached.iter().map(|(name, _)| name).collect();
        return Err(Failed::Difference(format!(
            "KV holds {names:?} after orders for {one} and {other}"
        )));
    };
    for (_, value) in &cached {
        for secret in [PROVIDER_KEY, "ideogram", "rate_limits", "example-org"] {
            lab.require(!value.contains(secret), format!("`{secret}` is in clear in KV"))?;
        }
    }
    // Moved to another's name, a copy is none: the Config Service is asked again.
    lab.subject.write_cached(&name(&one), &of_other).await?;
    let reference = lab.reference.cached().await?;
    if let Some((_, of_other)) = reference.iter().find(|(found, _)| *found == name(&other)) {
        lab.reference.write_cached(&name(&one), of_other).await?;
    }
    ordered(lab, &one, "with a moved copy").await?.status(200)?;
    // Nonsense is none either.
    for side in [&lab.reference, &lab.subject] {
        side.write_cached(&name(&other), "nonsense").await?;
    }
    ordered(lab, &other, "with nonsense in the cache").await?.status(200)?;
    same_log(lab, 4).await?;
    let fresh = lab.subject.cached().await?;
    let is_new = |instance: &str, old: &str| {
        fresh
            .iter()
            .any(|(found, value)| *found == name(instance) && value != old)
    };
    lab.require(
        is_new(&one, &of_one) && is_new(&other, "nonsense"),
        "a copy that cannot be read is not replaced",
    )?;
    let key = CacheKey::parse(lab.options.settings.cache_encryption_key.as_deref());
    drop(key.map_err(|_| Failed::Check("the cache's key is malformed".to_owned()))?);
    // Gone with the instance.
    let root = lab.keys.root.clone();
    lab.config(Request::new("DELETE", &format!("/instance/{one}")).bearer(&root))
        .await?
        .status(200)?;
    let left = lab.subject.cached().await?;
    lab.require(
        left.iter().all(|(found, _)| *found != name(&one)),
        "the copy of a deleted instance stays in KV",
    )
}
