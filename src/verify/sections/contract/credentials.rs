//! What counts as a credential, and where it may stand.

use reference_core::http::Request;
use reference_core::key;
use reference_core::ports::Entropy;
use reference_native::Service;
use serde_json::json;

use super::super::ask::told;
use crate::verify::check::{Check, Section};
use crate::verify::lab::{Lab, Outcome};

pub(super) fn checks() -> Vec<Check> {
    let contract = Section::Contract;
    vec![
        Check::new(contract, "forms-of-authorization", &["AUTH-01", "AUTH-02"], forms),
        Check::new(contract, "forms-of-keys", &["AUTH-02", "AUTH-04"], keys),
        Check::new(contract, "key-in-the-body", &["AUTH-11", "AUTH-02"], in_body),
    ]
}

/// Always the same bytes.
struct Fixed(u8);

impl Entropy for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0);
    }
}

async fn forms(lab: &mut Lab) -> Outcome {
    let key = lab.keys.root.clone();
    let cases = [
        (format!("Bearer {key}"), true),
        (format!("bearer {key}"), true),
        (format!("BEARER {key}"), true),
        (format!("bEaReR    {key}"), true),
        (format!("Bearer{key}"), false),
        (format!("Basic {key}"), false),
        (format!("Token {key}"), false),
        (key.clone(), false),
        ("Bearer".to_owned(), false),
        (String::new(), false),
        (format!("Bearer {key} {key}"), false),
        (format!("Bearer {key},{key}"), false),
        (format!("Bearer \"{key}\""), false),
        (format!("Bearer Bearer {key}"), false),
    ];
    for (value, is_known) in cases {
        let request = |path: &str| Request::new("GET", path).header("authorization", &value);
        let asked = told(lab.config(request("/me")).await, &value)?;
        told(asked.status(if is_known { 200 } else { 401 }), &value)?;
        let asked = told(lab.image(request("/jobs/nobody")).await, &value)?;
        told(asked.status(if is_known { 404 } else { 401 }), &value)?;
    }
    for header in ["x-api-key", "api-key", "cookie"] {
        let request = Request::new("GET", "/me").header(header, &key);
        lab.config(request).await?.error(401, "AUTH_FAILED")?;
    }
    let request = Request::new("GET", &format!("/me?api_key={key}"));
    lab.config(request).await?.error(401, "AUTH_FAILED")?;
    Ok(())
}

async fn keys(lab: &mut Lab) -> Outcome {
    let known = lab.keys.root.clone();
    let flipped = |index: usize| {
        let mut bytes = known.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        String::from_utf8_lossy(&bytes).into_owned()
    };
    // A key whose hash is stored although its checksum is wrong is refused all the same.
    let wrong = flipped(52);
    let (hash, prefix) = (key::hash(&wrong), key::prefix(&wrong));
    lab.write(&format!(
        "INSERT INTO api_keys (key_id, user_id, key_hash, key_prefix, created_at) VALUES ('of-a-wrong-checksum', '{}', '{hash}', '{prefix}', '2026-01-02T00:00:00.000Z');\n",
        reference_sequences::ROOT
    ))
    .await?;
    let refused = [
        wrong,
        flipped(10),
        flipped(46),
        flipped(0),
        known[..52].to_owned(),
        format!("{known}A"),
        known.to_ascii_lowercase(),
        key::generate(&Fixed(7)),
        "mas_".to_owned(),
        "x".to_owned(),
        key::hash(&known),
        format!("{}A", lab.keys.service),
        lab.keys.service.to_ascii_uppercase(),
    ];
    for credential in refused {
        for (service, path) in [(Service::Config, "/instance"), (Service::Image, "/jobs/nobody")] {
            let request = Request::new("GET", path).bearer(&credential);
            let answers = told(lab.ask(service, request).await, &credential)?;
            told(answers.error(401, "AUTH_FAILED"), &credential)?;
        }
    }
    Ok(())
}

async fn in_body(lab: &mut Lab) -> Outcome {
    let key = lab.keys.root.clone();
    let generate = |body: serde_json::Value| Request::new("POST", "/generate").json(&body);
    let asked = generate(json!({ "prompt": "a", "instance_id": "nobody", "api_key": key }));
    lab.image(asked).await?.error(404, "NOT_FOUND")?;
    for wrong in [json!("mas_nobody"), json!(""), json!(lab.keys.service)] {
        let asked = generate(json!({ "prompt": "a", "instance_id": "nobody", "api_key": wrong }));
        told(lab.image(asked).await, &wrong.to_string())?;
    }
    for wrong in [json!(1), json!(null), json!([]), json!({})] {
        let asked = generate(json!({ "prompt": "a", "instance_id": "nobody", "api_key": wrong }));
        told(lab.image(asked).await, &wrong.to_string())?.status(400)?;
    }
    let asked = generate(json!({ "prompt": "a", "instance_id": "nobody" }));
    lab.image(asked).await?.error(401, "AUTH_FAILED")?;
    // An empty field does not reach a Worker: the runtime leaves it out.
    for header in ["Bearer", "Basic x", "Bearer mas_nobody"] {
        let asked = generate(json!({ "prompt": "a", "instance_id": "nobody", "api_key": key }));
        let answers = told(lab.image(asked.header("authorization", header)).await, header)?;
        told(answers.error(401, "AUTH_FAILED"), header)?;
    }
    Ok(())
}
