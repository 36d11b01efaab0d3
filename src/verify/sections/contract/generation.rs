//! `POST /generate`: what it takes, what it refuses, which instance it means, and what it answers.

use reference_core::http::Request;
use reference_native::Service;
use serde_json::{Value, json};

use super::super::ask::{long, read, send, told};
use crate::verify::check::{Check, Section};
use crate::verify::lab::{FURTHER_BUCKET, Lab, Outcome, PROVIDER_KEY};
use crate::verify::subject::Subject;

pub(super) fn checks() -> Vec<Check> {
    let contract = Section::Contract;
    vec![
        Check::new(
            contract,
            "answers-of-generate",
            &["GEN-01", "STORE-01", "GEN-15"],
            answers,
        ),
        Check::new(contract, "fields-of-generate", &["GEN-02", "GEN-03", "API-09"], fields),
        Check::new(
            contract,
            "which-instance",
            &["LOOK-01", "LOOK-02", "LOOK-04"],
            which_instance,
        ),
        Check::new(contract, "no-key-for-the-provider", &["GEN-05"], no_key),
        Check::new(contract, "request-id-of-the-body", &["GEN-08", "API-02"], request_id),
        Check::new(contract, "calls-to-the-provider", &["PROV-03", "GEN-03"], calls),
        Check::new(contract, "refused-by-the-limit", &["LIMIT-04", "API-04"], limit),
        Check::new(contract, "refusals-of-the-provider", &["API-04", "GEN-15"], refusals),
        Check::new(contract, "bindings-work", &["DEPLOY-06", "STORE-05"], bindings),
    ]
}

fn generate(lab: &Lab, body: &Value) -> Request {
    Request::new("POST", "/generate").bearer(&lab.keys.root).json(body)
}

async fn answers(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let project = json!({ "project_id": "of-generate", "instance_id": instance, "name": "Of generate" });
    send(lab, "POST", "/project", &project).await?.status(201)?;
    for body in [
        json!({ "prompt": "a lighthouse", "instance_id": instance }),
        json!({ "prompt": "  a lighthouse  ", "project_id": "of-generate" }),
        json!({ "prompt": "ein Leuchtturm 😀", "instance_id": instance, "project_id": "of-generate", "model": "ideogram-v2" }),
    ] {
        let request = generate(lab, &body);
        let made = told(lab.image(request).await, &body.to_string())?.status(200)?;
        let text = String::from_utf8_lossy(&made.subject.body).into_owned();
        lab.require(
            !text.contains(PROVIDER_KEY),
            "POST /generate: the answer holds the provider's key",
        )?;
        lab.require(
            !text.contains("ideogram.ai"),
            "POST /generate: the answer holds a link of the provider's",
        )?;
        let path = made.text("/r2_path")?;
        let name = path.subject.rsplit('/').next().unwrap_or_default();
        let (moment, name) = name.split_once('_').unwrap_or_default();
        let is_named = name.len() <= 128
            && name.starts_with(|letter: char| letter.is_ascii_alphanumeric())
            && name
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter));
        lab.require(
            moment.len() == 13 && is_named,
            format!("POST /generate: r2_path is {}", path.subject),
        )?;
        let image = |side| Request::new("GET", &format!("/images/{}", path.on(side)));
        lab.ask_each(Service::Image, image).await?.status(200)?;
    }
    Ok(())
}

async fn fields(lab: &mut Lab) -> Outcome {
    // An instance that does not exist: what is right comes to a 404, and what is wrong before that to a 400.
    let body = |field: &str, value: Value| {
        let mut body = json!({ "prompt": "a", "instance_id": "nobody" });
        body[field] = value;
        body
    };
    let right = [
        body("prompt", json!(long(10_000))),
        body("prompt", json!(format!("  {}\n", long(10_000)))),
        body("prompt", json!("😀".repeat(5000))),
        body("prompt", json!("a\nb\u{0}")),
        body("model", json!("ideogram-4-5")),
        body("model", json!("ideogram-v4")),
        body("model", json!("ideogram-v3")),
        body("model", json!("ideogram-v2")),
        body("provider", json!("ideogram")),
        body("request_id", json!("6F9619FF-8B86-D011-B42D-00CF4FC964FF")),
    ];
    for body in right {
        let request = generate(lab, &body);
        told(
            told(lab.image(request).await, &body.to_string())?.status(404),
            &body.to_string(),
        )?;
    }
    let mut wrong = vec![
        json!({}),
        json!({ "instance_id": "nobody" }),
        body("prompt", json!("")),
        body("prompt", json!(" \n\u{a0}")),
        body("prompt", json!(long(10_001))),
        body("prompt", json!("😀".repeat(5001))),
        body("more", json!(1)),
        body("size", json!("1024x1024")),
        body("model", json!("ideogram")),
        body("model", json!("IDEOGRAM-V2")),
        body("model", json!("")),
        body("provider", json!("Ideogram")),
        body("provider", json!("openai")),
        body("provider", json!("")),
        body("provider", json!("constructor")),
        body("model", json!("__proto__")),
        body("instance_id", json!("Upper")),
        body("instance_id", json!("")),
        body("project_id", json!("a_b")),
        body("project_id", json!(long(64))),
        body("request_id", json!("")),
        body("request_id", json!("6f9619ff8b86d011b42d00cf4fc964ff")),
        body("request_id", json!("x")),
    ];
    for field in [
        "prompt",
        "model",
        "provider",
        "instance_id",
        "project_id",
        "api_key",
        "request_id",
    ] {
        for value in [json!(null), json!(1), json!([]), json!({}), json!(true)] {
            wrong.push(body(field, value));
        }
    }
    for body in wrong {
        let request = generate(lab, &body);
        let answers = told(lab.image(request).await, &body.to_string())?;
        told(answers.error(400, "VALIDATION_FAILED"), &body.to_string())?;
    }
    // What the request says by itself comes before the credential.
    let request = Request::new("POST", "/generate").json(&json!({ "prompt": "" }));
    lab.image(request).await?.error(400, "VALIDATION_FAILED")?;
    Ok(())
}

async fn which_instance(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let project = json!({ "project_id": "of-lookup", "instance_id": instance, "name": "Of lookup" });
    send(lab, "POST", "/project", &project).await?.status(201)?;
    let (root, user, newcomer, admin) = (
        lab.keys.root.clone(),
        lab.keys.user.clone(),
        lab.keys.newcomer.clone(),
        lab.keys.admin.clone(),
    );
    let other_admin = lab.keys.other_admin.clone();
    let cases = [
        (&root, Some(instance.as_str()), json!({}), 200),
        (&root, Some(&instance), json!({ "instance_id": instance }), 200),
        (&root, Some("production"), json!({ "instance_id": instance }), 400),
        (&root, Some("Nobody"), json!({ "instance_id": instance }), 400),
        (&root, Some("Nobody"), json!({}), 404),
        (&root, Some("nobody"), json!({}), 404),
        (&root, None, json!({ "instance_id": "nobody" }), 404),
        (&root, None, json!({ "project_id": "of-lookup" }), 200),
        (&root, Some(&instance), json!({ "project_id": "of-lookup" }), 200),
        (
            &root,
            None,
            json!({ "instance_id": instance, "project_id": "of-lookup" }),
            200,
        ),
        (
            &root,
            None,
            json!({ "instance_id": "production", "project_id": "of-lookup" }),
            400,
        ),
        (&root, Some("production"), json!({ "project_id": "of-lookup" }), 400),
        (&root, None, json!({ "project_id": "nobody" }), 404),
        (
            &root,
            None,
            json!({ "instance_id": "nobody", "project_id": "nobody" }),
            404,
        ),
        (
            &root,
            None,
            json!({ "instance_id": "nobody", "project_id": "of-lookup" }),
            400,
        ),
        (&root, None, json!({}), 400),
        (&admin, None, json!({}), 400),
        (&newcomer, None, json!({}), 400),
        // The only one within reach has no key for the provider, so that it is found and refused all the same.
        (&user, None, json!({}), 400),
        (&other_admin, None, json!({}), 400),
        (&user, None, json!({ "instance_id": instance }), 403),
        (&user, None, json!({ "project_id": "of-lookup" }), 403),
        (&newcomer, None, json!({ "instance_id": "production" }), 403),
        (&other_admin, None, json!({ "instance_id": instance }), 403),
        (&other_admin, None, json!({ "instance_id": "nobody" }), 404),
    ];
    for (key, header, more, status) in cases {
        let mut body = more.clone();
        body["prompt"] = json!("a lighthouse");
        let mut request = Request::new("POST", "/generate").bearer(key).json(&body);
        if let Some(header) = header {
            request = request.header("x-instance-id", header);
        }
        let sent = format!("{more} with X-Instance-ID {header:?}");
        told(told(lab.image(request).await, &sent)?.status(status), &sent)?;
    }
    Ok(())
}

async fn no_key(lab: &mut Lab) -> Outcome {
    let request = generate(lab, &json!({ "prompt": "a", "instance_id": "production" }));
    lab.image(request).await?.error(400, "VALIDATION_FAILED")?;
    let instance = lab.instance(json!({})).await?;
    let removed = json!({ "config": { "api_keys": { "ideogram": null, "other": "another-key" } } });
    send(lab, "PATCH", &format!("/instance/{instance}"), &removed)
        .await?
        .status(200)?;
    let request = generate(lab, &json!({ "prompt": "a", "instance_id": instance }));
    lab.image(request).await?.error(400, "VALIDATION_FAILED")?;
    same_calls(lab)
}

async fn request_id(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let id = "6F9619FF-8B86-D011-B42D-00CF4FC964FF";
    let another = "00000000-0000-4000-8000-00000000000c";
    for (instance, status) in [(instance.as_str(), 200), ("nobody", 404)] {
        let request = generate(
            lab,
            &json!({ "prompt": "a", "instance_id": instance, "request_id": id }),
        );
        lab.image(request.header("x-request-id", another))
            .await?
            .status(status)?;
    }
    // Of a body that is not valid the header's counts.
    let request = generate(lab, &json!({ "prompt": "", "request_id": id }));
    lab.image(request.header("x-request-id", another)).await?.status(400)?;
    let request = Request::new("POST", "/generate").json(&json!({ "prompt": "a", "request_id": id }));
    lab.image(request.header("x-request-id", another)).await?.status(401)?;
    lab.rows("SELECT request_id, provider, model, tokens_used, cost FROM usage_logs")
        .await?;
    Ok(())
}

/// What the provider was asked, in its order: questions after an order apart, whose number is free.
fn calls_of(side: &Subject) -> Vec<(String, String, Option<String>, String)> {
    side.with_mock(|mock| {
        let asked = mock.journal().filter(|received| received.method == "POST");
        asked
            .map(|received| {
                let header = |wanted: &str| {
                    let found = received
                        .headers
                        .iter()
                        .find(|(name, _)| name.eq_ignore_ascii_case(wanted));
                    found.map(|(_, value)| value.clone())
                };
                let kind = header("content-type").unwrap_or_default();
                let body = match kind.split_once("boundary=") {
                    // Whoever makes a form chooses what is between its parts.
                    Some((_, boundary)) => form(&received.body, boundary.trim_matches('"')),
                    None => serde_json::from_str::<Value>(&received.body)
                        .unwrap_or_default()
                        .to_string(),
                };
                (
                    received.target.clone(),
                    kind.split(';').next().unwrap_or_default().trim().to_owned(),
                    header("api-key"),
                    body,
                )
            })
            .collect()
    })
}

/// Names and values of a form.
fn form(body: &str, boundary: &str) -> String {
    let mut parts: Vec<String> = body
        .split(&format!("--{boundary}"))
        .filter_map(|part| {
            let (head, value) = part.split_once("\r\n\r\n")?;
            let name = head.split("name=").nth(1)?.split([';', '\r']).next()?.trim_matches('"');
            Some(format!("{name}={}", value.strip_suffix("\r\n").unwrap_or(value)))
        })
        .collect();
    parts.sort();
    parts.join("&")
}

fn same_calls(lab: &Lab) -> Outcome {
    let (reference, subject) = (calls_of(&lab.reference), calls_of(&lab.subject));
    let what = format!("the provider is called so by the reference: {reference:?}, by the other: {subject:?}");
    lab.require(reference == subject, what)
}

async fn calls(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    for model in [
        None,
        Some("ideogram-4-5"),
        Some("ideogram-v4"),
        Some("ideogram-v3"),
        Some("ideogram-v2"),
    ] {
        let mut body = json!({ "prompt": " a \"light\" & house 😀 ", "instance_id": instance });
        if let Some(model) = model {
            body["model"] = json!(model);
        }
        let request = generate(lab, &body);
        told(lab.image(request).await, &body.to_string())?.status(200)?;
        same_calls(lab)?;
    }
    lab.rows("SELECT org_id, instance_id, project_id, user_id, request_id, provider, model, tokens_used, cost FROM usage_logs ORDER BY timestamp").await?;
    Ok(())
}

async fn limit(lab: &mut Lab) -> Outcome {
    let instance = lab
        .instance(json!({ "rate_limits": { "ideogram": { "rpm": 2 } } }))
        .await?;
    for status in [200, 200, 429, 429] {
        let request = generate(lab, &json!({ "prompt": "a", "instance_id": instance }));
        lab.image(request).await?.status(status)?;
    }
    same_calls(lab)
}

async fn refusals(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    for (fault, status) in [
        ("[[status-422]]", 422),
        ("[[unsafe]]", 422),
        ("[[status-402]]", 502),
        ("[[failed-safety]]", 422),
        ("[[image-status-404]]", 502),
    ] {
        let request = generate(lab, &json!({ "prompt": format!("a {fault}"), "instance_id": instance }));
        let answers = told(told(lab.image(request).await, fault)?.status(status), fault)?;
        let text = String::from_utf8_lossy(&answers.subject.body).into_owned();
        lab.require(
            !text.contains(PROVIDER_KEY) && !text.contains("ideogram.ai"),
            format!("{fault}: the answer holds the provider's key or link"),
        )?;
    }
    Ok(())
}

/// One request that needs every binding: database, cache, Config Service, limiter, breaker, jobs, log and both buckets.
async fn bindings(lab: &mut Lab) -> Outcome {
    let instance = lab
        .instance(json!({ "rate_limits": { "ideogram": { "rpm": 5 } }, "r2_bucket": FURTHER_BUCKET }))
        .await?;
    let id = "00000000-0000-4000-8000-00000000000d";
    for bucket in [json!(FURTHER_BUCKET), json!("unbound-bucket"), json!(null)] {
        let change = json!({ "config": { "r2_bucket": bucket } });
        send(lab, "PATCH", &format!("/instance/{instance}"), &change)
            .await?
            .status(200)?;
        let request = generate(
            lab,
            &json!({ "prompt": format!("a {bucket}"), "instance_id": instance }),
        );
        let path = told(lab.image(request).await, &bucket.to_string())?
            .status(200)?
            .text("/r2_path")?;
        let image = |side| Request::new("GET", &format!("/images/{}", path.on(side)));
        told(lab.ask_each(Service::Image, image).await, &bucket.to_string())?.status(200)?;
    }
    for _ in 0..2 {
        let request = generate(
            lab,
            &json!({ "prompt": "a", "instance_id": instance, "request_id": id }),
        );
        lab.image(request).await?.status(200)?;
    }
    lab.settle().await?;
    read(lab, &format!("/metrics?instance_id={instance}"))
        .await?
        .status(200)?;
    lab.rows("SELECT count(*) AS count FROM usage_logs").await?;
    Ok(())
}
