//! Section secrets: what must not be seen is planted, much is done with it, and then it is looked for everywhere.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reference_core::http::{Request, Response};
use reference_core::id;
use reference_native::Service;
use serde_json::json;

use super::orders::{ASKED_AFTER, order, order_of};
use crate::verify::check::{Check, Section};
use crate::verify::lab::{Lab, NEWCOMER, Outcome, PROVIDER_KEY, Side};
use crate::verify::outage::{Outage, Secret};

/// One character less than a service token must have.
const SHORT_TOKEN: &str = "service-token-of-31-characters-";

/// A prompt that nobody keeps but the provider and the image's own metadata.
const PROMPT: &str = "a-very-private-prompt-4711";

fn check(name: &str, requirements: &[&'static str], run: impl AsyncFn(&mut Lab) -> Outcome + 'static) -> Check {
    Check::new(Section::Secrets, name, requirements, run)
}

/// The checks of this section.
pub(super) fn checks() -> Vec<Check> {
    vec![
        check(
            "planted-secrets",
            &[
                "SEC-01", "SEC-02", "SEC-04", "SEC-05", "SEC-06", "SEC-09", "KEY-01", "INST-04", "LOG-07", "GEN-15",
            ],
            planted_secrets,
        ),
        check("masks", &["INST-04", "SEC-05"], masks),
        check("key-is-shown-once", &["KEY-01"], key_is_shown_once),
        check("bodies-of-others", &["IMG-03"], bodies_of_others),
        check("service-token", &["AUTH-10", "SEC-05"], service_token),
        check("no-service-token", &["AUTH-10"], no_service_token),
        check("missing-secrets", &["SEC-07"], missing_secrets),
    ]
}

/// Something that must not be seen, and every way in which it may be written.
struct Planted {
    name: &'static str,
    forms: Vec<Vec<u8>>,
}

impl Planted {
    fn new(name: &'static str, text: &str) -> Self {
        let bytes = text.as_bytes();
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let hexadecimal = id::hexadecimal(bytes);
        let mut forms = vec![
            bytes.to_vec(),
            wide,
            hexadecimal.to_uppercase().into_bytes(),
            hexadecimal.into_bytes(),
        ];
        // In base64 a text looks different at each of three places; its inner part does not depend on what surrounds it.
        for skipped in 0..3_usize {
            let mut shifted = vec![b' '; skipped];
            shifted.extend_from_slice(bytes);
            let encoded = STANDARD.encode(&shifted);
            let inner = encoded.trim_end_matches('=');
            let (from, to) = (4_usize.min(inner.len()), inner.len().saturating_sub(3));
            if to > from + 12 {
                forms.push(inner.as_bytes()[from..to].to_vec());
            }
        }
        Self { name, forms }
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        self.forms.iter().any(|form| contains(bytes, form))
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    let Some(first) = wanted.first() else { return false };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        if rest[at..].starts_with(wanted) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

fn files(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn whole(answer: &Response) -> Vec<u8> {
    let mut bytes = answer.body.clone();
    for (name, value) in answer.headers.iter() {
        bytes.extend_from_slice(format!("\n{name}: {value}").as_bytes());
    }
    bytes
}

async fn planted_secrets(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let (root, service, newcomer) = (
        lab.keys.root.clone(),
        lab.keys.service.clone(),
        lab.keys.newcomer.clone(),
    );
    let project = format!("project-{}", lab.number);
    let made = json!({ "project_id": project, "instance_id": instance, "name": "Of secrets" });
    lab.config(Request::new("POST", "/project").bearer(&root).json(&made))
        .await?
        .status(201)?;
    let asked = Request::new("POST", &format!("/project/{project}/key")).bearer(&root);
    let shown = lab.exchanges.len();
    let key = lab.config(asked).await?.status(201)?.text("/key")?;
    let body = |prompt: &str| json!({ "prompt": prompt, "instance_id": instance, "model": "ideogram-v2" });
    // Everything that may go right or wrong, with secrets wherever one can send them.
    let in_body = json!({ "prompt": PROMPT, "api_key": root, "instance_id": instance, "model": "ideogram-v2" });
    for request in [
        order_of(&root, &body(PROMPT)),
        Request::new("POST", "/generate").json(&in_body),
        order_of(
            &root,
            &json!({ "prompt": PROMPT, "instance_id": instance, "model": ASKED_AFTER }),
        ),
        order(&newcomer, &instance, PROMPT),
        order(&root, "of-nobody", PROMPT),
        order(&service, &instance, PROMPT),
        order(&format!("{root}x"), &instance, PROMPT),
        order_of(&root, &json!({ "prompt": PROMPT, "unknown": root })),
        order_of(
            &root,
            &json!({ "prompt": PROMPT, "model": PROVIDER_KEY, "instance_id": instance }),
        ),
        Request::new("GET", "/jobs/6a1f8f9c-52f0-4c62-8d2e-3a2f1b4c5d6e").bearer(&root),
        Request::new("GET", "/images/x/y/z.png").bearer(&root),
    ] {
        lab.image(request).await?;
    }
    for fault in [
        "status-400",
        "status-401",
        "status-402",
        "status-422",
        "status-500",
        "unsafe",
        "malformed",
        "drop",
        "busy",
        "image-status-404",
        "image-nonsense",
    ] {
        // An instance each: no circuit opens.
        let other = lab.instance_named(&format!("{instance}-{fault}"), json!({})).await?;
        lab.image(order(&root, &other, &format!("{PROMPT} [[{fault}]]")))
            .await?;
    }
    lab.ask_each(Service::Image, |side| {
        order_of(key.on(side), &json!({ "prompt": PROMPT, "model": "ideogram-v3" }))
    })
    .await?;
    for request in [
        Request::new("GET", "/me").bearer(&root),
        Request::new("GET", "/nothing").bearer(&root),
        Request::new("GET", "/me").bearer(&service),
        Request::new("GET", "/me").bearer(&format!("{root}x")),
        Request::new("GET", "/instance").bearer(&root),
        Request::new("GET", &format!("/instance/{instance}")).bearer(&root),
        Request::new("GET", &format!("/project/{project}/key")).bearer(&root),
        Request::new("GET", &format!("/user/{NEWCOMER}/key")).bearer(&root),
        Request::new("PATCH", &format!("/instance/{instance}"))
            .bearer(&root)
            .json(&json!({ "config": { "api_keys": { "BAD": PROVIDER_KEY } } })),
        Request::new("PATCH", &format!("/instance/{instance}"))
            .bearer(&root)
            .json(&json!({ "config": { "api_keys": { "ideogram": PROVIDER_KEY, "x": 7 } } })),
        Request::new("POST", "/instance")
            .bearer(&newcomer)
            .json(&json!({ "config": { "api_keys": { "ideogram": PROVIDER_KEY } } })),
    ] {
        lab.config(request).await?;
    }
    lab.settle().await?;
    // Entries of the same moment stand in any order, so they are looked through and not compared.
    for request in [
        Request::new("GET", "/logs?limit=100").bearer(&root),
        Request::new("GET", "/metrics").bearer(&root),
    ] {
        let answer = lab.ask_subject(Service::Config, &request).await?;
        lab.require(
            answer.status == 200,
            format!("{} is answered with {}", request.path, answer.status),
        )?;
        for planted in [&key.subject, &lab.keys.root, &lab.keys.service] {
            let bytes = whole(&answer);
            let is_shown = bytes.windows(planted.len()).any(|window| window == planted.as_bytes());
            lab.require(!is_shown, format!("a key is in the answer to GET {}", request.path))?;
        }
    }
    look_everywhere(lab, &key.subject, shown).await
}

/// Looks for all that was planted. The answer at `shown` may hold the key that it made.
async fn look_everywhere(lab: &mut Lab, key: &str, shown: usize) -> Outcome {
    let settings = lab.options.settings.clone();
    let keys = settings.provider_key_encryption_keys.unwrap_or_default();
    let mut secrets = vec![
        Planted::new("a platform key", key),
        Planted::new("the superadmin's key", &lab.keys.root),
        Planted::new("a user's key", &lab.keys.newcomer),
        Planted::new("the service token", &lab.keys.service),
        Planted::new("a provider key", PROVIDER_KEY),
        Planted::new(
            "the cache's encryption key",
            settings.cache_encryption_key.as_deref().unwrap_or_default(),
        ),
    ];
    for part in keys.split(',') {
        secrets.push(Planted::new(
            "an encryption key",
            part.split_once(':').map_or(part, |(_, key)| key),
        ));
    }
    let hidden = [
        Planted::new("the prompt", PROMPT),
        Planted::new("the provider's link", "/api/images/ephemeral/"),
    ];
    for (index, exchange) in lab.exchanges.iter().enumerate() {
        let Some(answer) = &exchange.subject else { continue };
        let bytes = whole(answer);
        let asked = format!("{} {}", exchange.request.method, exchange.request.path);
        for planted in &secrets {
            let may = index == shown && planted.name == "a platform key";
            lab.require(
                may || !planted.is_in(&bytes),
                format!("{} is in the answer to {asked}", planted.name),
            )?;
        }
        let link = &hidden[1];
        lab.require(
            !link.is_in(&bytes),
            format!("{} is in the answer to {asked}", link.name),
        )?;
    }
    for row in lab.subject.rows("SELECT * FROM logs").await? {
        let row = json!(row).to_string();
        for planted in secrets.iter().chain(&hidden) {
            lab.require(
                !planted.is_in(row.as_bytes()),
                format!("{} is in a row of the log: {row}", planted.name),
            )?;
        }
    }
    let printed = lab.subject.printed();
    for planted in secrets.iter().chain(&hidden) {
        lab.require(
            !planted.is_in(printed.as_bytes()),
            format!("{} is printed", planted.name),
        )?;
    }
    let Some(data) = lab.subject.data() else { return Ok(()) };
    let mut paths = Vec::new();
    files(data, &mut paths);
    for path in &paths {
        let bytes = std::fs::read(path).unwrap_or_default();
        let place = path.strip_prefix(data).unwrap_or(path).display().to_string();
        for planted in &secrets {
            lab.require(!planted.is_in(&bytes), format!("{} is stored in {place}", planted.name))?;
        }
    }
    Ok(())
}

async fn masks(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let root = lab.keys.root.clone();
    let path = format!("/instance/{instance}");
    let config =
        json!({ "config": { "api_keys": { "of-15": "123456789012345", "of-16": "1234567890123456", "of-1": "x" } } });
    lab.config(Request::new("PATCH", &path).bearer(&root).json(&config))
        .await?
        .status(200)?;
    lab.config(Request::new("PUT", &format!("{path}/access/{NEWCOMER}")).bearer(&root))
        .await?
        .status(200)?;
    for key in [root, lab.keys.admin.clone(), lab.keys.newcomer.clone()] {
        for target in [path.clone(), "/instance".to_owned()] {
            let answers = lab
                .config(Request::new("GET", &target).bearer(&key))
                .await?
                .status(200)?;
            let body = String::from_utf8_lossy(&answers.subject.body).into_owned();
            for secret in [PROVIDER_KEY, "123456789012"] {
                lab.require(
                    !body.contains(secret),
                    format!("a provider key is in clear in {target}"),
                )?;
            }
        }
    }
    lab.config(Request::new("GET", &path).bearer(&lab.keys.other_admin.clone()))
        .await?
        .status(403)?;
    Ok(())
}

async fn key_is_shown_once(lab: &mut Lab) -> Outcome {
    let root = lab.keys.root.clone();
    let list = format!("/user/{NEWCOMER}/key");
    let made = lab
        .config(Request::new("POST", &list).bearer(&root))
        .await?
        .status(201)?;
    let (key_id, key) = (made.text("/key_id")?, made.text("/key")?);
    let one = |side: Side| Request::new("GET", &format!("/key/{}", key_id.on(side))).bearer(&root);
    let revoke = |side: Side| Request::new("DELETE", &format!("/key/{}", key_id.on(side))).bearer(&root);
    let all = |_: Side| Request::new("GET", &list).bearer(&root);
    let me = |side: Side| Request::new("GET", "/me").bearer(key.on(side));
    for answers in [
        lab.ask_each(Service::Config, me).await?,
        lab.ask_each(Service::Config, one).await?,
        lab.ask_each(Service::Config, all).await?,
        lab.ask_each(Service::Config, revoke).await?,
    ] {
        let body = String::from_utf8_lossy(&answers.subject.body).into_owned();
        lab.require(
            !body.contains(&key.subject),
            format!("{} shows a key again", answers.asked),
        )?;
        lab.require(
            !body.contains("key_hash"),
            format!("{} shows the hash of a key", answers.asked),
        )?;
    }
    Ok(())
}

/// Only images under paths of three segments are served, whatever else lies in a bucket.
async fn bodies_of_others(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let made = lab
        .image(order(&lab.keys.root, &instance, "an image"))
        .await?
        .status(200)?;
    let path = made.text("/r2_path")?;
    for (before, after) in [
        ("/images/", "/"),
        ("/images//", ""),
        ("/images/x/", ""),
        ("/", ""),
        ("/images/../images/", ""),
    ] {
        let target = |side| Request::new("GET", &format!("{before}{}{after}", path.on(side)));
        if before.contains("..") {
            continue;
        }
        lab.ask_each(Service::Image, target).await?.error(404, "NOT_FOUND")?;
    }
    for target in ["/images/", "/images/check", "/images/a/b", "/images/a/b/c/d"] {
        lab.image(Request::new("GET", target)).await?.error(404, "NOT_FOUND")?;
    }
    Ok(())
}

async fn service_token(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let path = format!("/instance/{instance}");
    let token = lab.keys.service.clone();
    lab.config(Request::new("GET", &path).bearer(&token))
        .await?
        .status(200)?;
    let almost = [
        format!("{token}x"),
        token[1..].to_owned(),
        token.to_uppercase(),
        token[..token.len() - 1].to_owned(),
        "x".repeat(token.len()),
    ];
    for credential in &almost {
        lab.config(Request::new("GET", &path).bearer(credential))
            .await?
            .error(401, "AUTH_FAILED")?;
    }
    lab.config(
        Request::new("PATCH", &path)
            .bearer(&token)
            .json(&json!({ "name": "Mine" })),
    )
    .await?
    .error(403, "FORBIDDEN")?;
    lab.image(order(&token, &instance, "by a service"))
        .await?
        .error(401, "AUTH_FAILED")?;
    Ok(())
}

/// Nobody is a service where no token is set, or one that could be guessed.
async fn no_service_token(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let path = format!("/instance/{instance}");
    let token = lab.keys.service.clone();
    for (set, shown) in [
        (None, token.as_str()),
        (None, "undefined"),
        (Some(""), token.as_str()),
        (Some(SHORT_TOKEN), SHORT_TOKEN),
    ] {
        lab.set_outage(Some(Outage::Secret(Secret::ServiceToken, set))).await?;
        let answered = lab.config(Request::new("GET", &path).bearer(shown)).await?;
        answered.error(401, "AUTH_FAILED")?;
    }
    lab.set_outage(None).await?;
    lab.config(Request::new("GET", &path).bearer(&token))
        .await?
        .status(200)?;
    Ok(())
}

/// What needs a secret that is not there, or is no key, fails: nothing is kept in clear instead.
async fn missing_secrets(lab: &mut Lab) -> Outcome {
    let root = lab.keys.root.clone();
    let planted = "provider-key-without-a-cover-0123456789";
    for (number, spoiled) in [None, Some(""), Some("no key at all"), Some("one:c2hvcnQ=")]
        .into_iter()
        .enumerate()
    {
        let name = format!("unlocked-{}-{number}", lab.number);
        let instance = lab.instance_named(&name, json!({})).await?;
        lab.set_outage(Some(Outage::Secret(Secret::ProviderKeys, spoiled)))
            .await?;
        let change = Request::new("PATCH", &format!("/instance/{instance}"))
            .bearer(&root)
            .json(&json!({ "config": { "api_keys": { "ideogram": planted } } }));
        lab.config(change).await?.error(500, "INTERNAL_ERROR")?;
        lab.set_outage(Some(Outage::Secret(Secret::Cache, spoiled))).await?;
        lab.image(order(&root, &instance, "nothing to lock it with"))
            .await?
            .error(500, "INTERNAL_ERROR")?;
        lab.set_outage(None).await?;
        let rows = lab.subject.rows("SELECT config FROM instances").await?;
        let is_stored = json!(rows).to_string().contains(planted);
        lab.require(
            !is_stored,
            "a provider key is stored in clear where no key is there to lock it",
        )?;
        for (name, value) in lab.subject.cached().await? {
            let is_cached = value.contains(PROVIDER_KEY) || name.contains(PROVIDER_KEY);
            lab.require(
                !is_cached,
                "a provider key is cached in clear where no key is there to lock it",
            )?;
        }
        lab.image(order(&root, &instance, "all is well again"))
            .await?
            .status(200)?;
    }
    Ok(())
}
