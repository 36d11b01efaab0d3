//! The generated system on the real workerd, booted as `verify` boots it, with the mock provider at the other end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

use std::path::Path;

use mock_ideogram::server::{Shared, serve};
use mock_ideogram::{Mock, Options};
use orchestrate::verify::{BootError, BootOptions, Booted, boot};
use reference_core::key;
use reference_core::ports::Entropy;
use serde_json::{Value, json};
use workerd_driver::Tools;

const PROVIDER_KEY: &str = "provider-key-of-the-tests-0123456789";
const SUPERADMIN: &str = "3f0c8a52-6a0e-4d0b-9a52-0d6f3c1f7a01";

/// Always the same bytes: a key that a test can name.
struct Fixed;

impl Entropy for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::try_from(index % 200).unwrap();
        }
    }
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn tools() -> Tools {
    Tools::ensure(&top().join("target/tools"), |_| {}).expect("the tools")
}

fn options(outbound: std::net::SocketAddr) -> BootOptions {
    let secret = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    BootOptions {
        secrets: vec![
            secret(
                "PROVIDER_KEY_ENCRYPTION_KEYS",
                "first:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            ),
            secret("SERVICE_TOKEN", "service-token-of-the-tests-0123456789"),
            secret("CACHE_ENCRYPTION_KEY", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="),
        ],
        outbound: Some(outbound),
        data: Some(top().join("generated/infrastructure/database/seed.sql")),
        ..BootOptions::default()
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.expect("JSON"))
}

#[tokio::test]
async fn the_generated_system_makes_an_image_on_the_real_runtime_and_keeps_it_over_a_kill() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mock = Shared::new(Mock::new(Options {
        keys: vec![PROVIDER_KEY.to_owned()],
        is_prompt: true,
        ..Options::default()
    }));
    tokio::spawn(serve(listener, mock.clone()));
    let directory = tempfile::tempdir().unwrap();
    let Booted { mut running, .. } = boot(&tools(), &top().join("generated"), directory.path(), &options(address))
        .await
        .expect("the system boots");

    let key = key::generate(&Fixed);
    running
        .query(
            "multiagent",
            "INSERT INTO api_keys (key_id, user_id, key_hash, key_prefix) VALUES ('the-key', ?, ?, ?)",
            &[json!(SUPERADMIN), json!(key::hash(&key)), json!(key::prefix(&key))],
        )
        .await
        .unwrap();
    let client = reqwest::Client::new();
    let config_service = running.url("config-service").unwrap();
    let (status, instance) = answer(
        client
            .patch(format!("{config_service}/instance/production"))
            .bearer_auth(&key)
            .json(&json!({ "config": { "api_keys": { "ideogram": PROVIDER_KEY } } })),
    )
    .await;
    assert_eq!(status, 200, "{instance}");
    assert_eq!(instance["api_keys"]["ideogram"], "****6789", "{instance}");

    let image_gen = running.url("image-gen").unwrap();
    let (status, made) = answer(
        client
            .post(format!("{image_gen}/generate"))
            .bearer_auth(&key)
            .json(&json!({ "prompt": "a lighthouse", "instance_id": "production" })),
    )
    .await;
    assert_eq!(status, 200, "{made}\n{}", running.log().unwrap());
    let path = format!("{image_gen}/images/{}", made["r2_path"].as_str().unwrap());
    let image = client.get(&path).send().await.unwrap().bytes().await.unwrap();
    assert!(image.starts_with(b"\x89PNG"), "{} bytes", image.len());
    let usage = running
        .query("multiagent", "SELECT provider, request_id FROM usage_logs", &[])
        .await
        .unwrap();
    assert_eq!(usage.len(), 1, "{usage:?}");
    assert_eq!(usage[0]["request_id"], made["request_id"]);

    running.kill().await.unwrap();
    running.start_again().await.unwrap();
    let image_gen = running.url("image-gen").unwrap();
    let path = format!("{image_gen}/images/{}", made["r2_path"].as_str().unwrap());
    let again = client.get(&path).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(image, again);
    assert_eq!(mock.lock().journal().count(), 3, "an order, a question, an image");
}

#[tokio::test]
async fn what_cannot_boot_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let nobody = "127.0.0.1:9".parse().unwrap();
    let place = directory.path().join("place");
    let empty = boot(&tools(), directory.path(), &place, &options(nobody))
        .await
        .unwrap_err();
    assert!(matches!(empty, BootError::NoWorker { .. }), "{empty}");

    let worker = directory.path().join("system");
    std::fs::create_dir_all(&worker).unwrap();
    std::fs::write(worker.join("wrangler.toml"), "name = \"a\"\nmain = [").unwrap();
    let broken = boot(&tools(), &worker, &place, &options(nobody)).await.unwrap_err();
    assert!(broken.to_string().contains("wrangler.toml"), "{broken}");

    std::fs::write(worker.join("wrangler.toml"), "name = \"a\"\nmain = \"a.ts\"\n").unwrap();
    std::fs::write(worker.join("a.ts"), "export default {").unwrap();
    let unbuilt = boot(&tools(), &worker, &place, &options(nobody)).await.unwrap_err();
    assert!(unbuilt.to_string().contains("does not build"), "{unbuilt}");
}

#[test]
fn every_requirement_has_a_check_in_each_section_that_it_names() {
    let text = std::fs::read_to_string(top().join("specs/requirements.toml")).unwrap();
    let requirements: toml::Table = toml::from_str(&text).unwrap();
    let bound = orchestrate::verify::bound();
    let mut missing = Vec::new();
    let mut known = std::collections::BTreeSet::new();
    for requirement in requirements["requirement"].as_array().unwrap() {
        let id = requirement["id"].as_str().unwrap();
        known.insert(id);
        for section in requirement["checks"].as_array().unwrap() {
            let section = section.as_str().unwrap();
            let is_bound = bound
                .iter()
                .any(|(of, _, ids)| of.name() == section && ids.contains(&id));
            if !is_bound {
                missing.push(format!("{id} in {section}"));
            }
        }
    }
    assert!(missing.is_empty(), "no check of {}", missing.join(", "));
    for (_, name, ids) in &bound {
        assert!(!ids.is_empty(), "{name} proves nothing");
        for id in ids {
            assert!(known.contains(id), "{name} is bound to {id}, which is no requirement");
        }
    }
}
