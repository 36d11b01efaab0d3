//! Section crash: the process ends as in a power failure, and what was promised is still there.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use reference_core::http::Request;
use reference_native::Service;
use reference_sequences::USER;
use serde_json::json;

use super::orders::{ASKED_AFTER, forget_calls, order, order_of, ordered, same_calls, same_log, same_usage, together};
use crate::verify::check::{Check, Section};
use crate::verify::lab::{Lab, Outcome, Side};
use crate::verify::subject::Subject;

fn check(name: &str, requirements: &[&'static str], run: impl AsyncFn(&mut Lab) -> Outcome + 'static) -> Check {
    Check::new(Section::Crash, name, requirements, run)
}

/// The checks of this section.
pub(super) fn checks() -> Vec<Check> {
    vec![
        check(
            "what-was-answered-is-kept",
            &["GEN-14", "LIMIT-07", "LOG-05", "BREAK-05"],
            what_was_answered_is_kept,
        ),
        check("jobs-are-kept", &["JOB-04"], jobs_are_kept),
        check("in-the-middle-of-many", &["GEN-14", "LOG-05"], in_the_middle_of_many),
    ]
}

async fn what_was_answered_is_kept(lab: &mut Lab) -> Outcome {
    let instance = lab
        .instance(json!({ "rate_limits": { "ideogram": { "rpm": 2 } } }))
        .await?;
    let root = lab.keys.root.clone();
    let project = json!({ "project_id": format!("kept-{}", lab.number), "instance_id": instance, "name": "Kept" });
    lab.config(Request::new("POST", "/project").bearer(&root).json(&project))
        .await?
        .status(201)?;
    let key_path = format!("/user/{USER}/key");
    let key = lab
        .config(Request::new("POST", &key_path).bearer(&root))
        .await?
        .status(201)?
        .text("/key")?;
    let repeated = order_of(
        &root,
        &json!({ "prompt": "once", "model": "ideogram-v2", "instance_id": instance, "request_id": "5f0b0a35-02b4-4a3e-8a9b-1d1f2a8f3c22" }),
    );
    let made = lab.image(repeated.clone()).await?.status(200)?;
    let path = made.text("/r2_path")?;
    ordered(lab, &instance, "twice").await?.status(200)?;
    lab.subject.crash().await?;
    forget_calls(lab);
    let me = |side| Request::new("GET", "/me").bearer(key.on(side));
    lab.ask_each(Service::Config, me).await?.status(200)?;
    let project = Request::new("GET", &format!("/project?instance_id={instance}")).bearer(&root);
    lab.config(project).await?.status(200)?;
    let image = |side| Request::new("GET", &format!("/images/{}", path.on(side)));
    lab.ask_each(Service::Image, image).await?.status(200)?;
    let again = lab.image(repeated).await?.status(200)?;
    lab.require(
        made.subject.body == again.subject.body,
        "after a restart a repeated answer is another one",
    )?;
    let refused = ordered(lab, &instance, "no place left")
        .await?
        .error(429, "RATE_LIMITED")?;
    let wait = |answer: &reference_core::http::Response| answer.headers.get("retry-after").map(str::to_owned);
    lab.require(
        wait(&refused.reference) == wait(&refused.subject),
        format!("after a restart Retry-After is {:?}", wait(&refused.subject)),
    )?;
    same_calls(lab, &[])?;
    lab.subject.crash().await?;
    same_usage(lab, 2).await?;
    same_log(lab, 4).await
}

async fn jobs_are_kept(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let root = lab.keys.root.clone();
    let body = |prompt: &str, model: &str| json!({ "prompt": prompt, "model": model, "instance_id": instance });
    let requests = [
        order_of(&root, &body("never ready [[pending-40]]", ASKED_AFTER)),
        order_of(&root, &body("never answered [[hang]]", "ideogram-v2")),
    ];
    lab.pass_ms(0).await?;
    let found = together(lab, Service::Image, &requests).await?;
    found.statuses(&[(504, 2)])?;
    lab.subject.crash().await?;
    for (reference, subject) in found.reference.iter().zip(&found.subject) {
        let path = |side| {
            let answer = if side == Side::Reference { reference } else { subject };
            Request::new("GET", answer.json()["status_url"].as_str().unwrap_or_default()).bearer(&root)
        };
        lab.ask_each(Service::Image, path).await?.status(200)?;
    }
    Ok(())
}

/// Twenty requests, and the end of the process while they run: whatever was answered is there, once.
async fn in_the_middle_of_many(lab: &mut Lab) -> Outcome {
    if let Subject::Native(_) = lab.subject {
        return Ok(());
    }
    let instance = lab.instance(json!({})).await?;
    lab.pass_ms(0).await?;
    let requests: Vec<Request> = (0..20)
        .map(|number| {
            let body = json!({
                "prompt": format!("one of many [[slow-{}]]", number * 15),
                "model": "ideogram-v2",
                "instance_id": instance,
                "request_id": format!("5f0b0a35-02b4-4a3e-8a9b-0000000000{number:02}"),
            });
            order_of(&lab.keys.root, &body)
        })
        .collect();
    let mut answered = Vec::new();
    {
        let mut sent: FuturesUnordered<_> = requests
            .iter()
            .map(|request| async { (request.clone(), lab.subject.send(Service::Image, request).await) })
            .collect();
        // As soon as some were answered.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        while answered.len() < 6 {
            match tokio::time::timeout_at(deadline, sent.next()).await {
                Ok(Some((request, Ok(answer)))) => answered.push((request, answer)),
                Ok(Some((_, Err(_)))) => {}
                Ok(None) | Err(_) => break,
            }
        }
    }
    lab.subject.crash().await?;
    // A request that was cut off counts as running for as long as one may take.
    lab.pass_ms(60_000).await?;
    for (request, first) in &answered {
        // The provider takes ten at a time and refuses the others, which promises nothing.
        if first.status == 429 {
            continue;
        }
        lab.require(
            first.status == 200,
            format!("one of many is answered with {}: {}", first.status, first.json()),
        )?;
        let again = lab.ask_subject(Service::Image, request).await?;
        lab.require(
            again.status == 200 && again.json()["r2_path"] == first.json()["r2_path"],
            format!(
                "answered with {} before the crash, with {} after it",
                first.json(),
                again.json()
            ),
        )?;
        let path = first.json()["r2_path"].as_str().unwrap_or_default().to_owned();
        let image = lab
            .ask_subject(Service::Image, &Request::new("GET", &format!("/images/{path}")))
            .await?;
        lab.require(image.status == 200, format!("the image {path} is gone after a crash"))?;
        let id = first.json()["request_id"].as_str().unwrap_or_default().to_owned();
        let rows = lab
            .subject
            .rows(&format!(
                "SELECT count(*) AS count FROM usage_logs WHERE request_id = '{id}'"
            ))
            .await?;
        lab.require(
            rows.first().is_some_and(|row| row["count"] == 1),
            format!("the usage of {id} after a crash: {rows:?}"),
        )?;
    }
    // And it works on.
    let request = order(&lab.keys.root, &instance, "after the crash");
    let answer = lab.ask_subject(Service::Image, &request).await?;
    lab.require(
        answer.status == 200,
        format!("after a crash: {} {}", answer.status, answer.json()),
    )
}
