//! Section faults: what the provider, and what our own storage, does wrong, and what becomes of it.

use reference_core::http::Request;
use reference_native::Service;
use serde_json::{Value, json};

mod cases;

use cases::{CASES, Case};

use super::orders::{
    ASKED_AFTER, AT_ONCE, forget_calls, kind, order, order_of, ordered, received, same_calls, same_log, same_orders,
    same_usage, together,
};
use crate::verify::check::{Check, Section};
use crate::verify::lab::{Lab, Outcome, PROVIDER_KEY, Side};
use crate::verify::outage::Outage;
use crate::verify::subject::Subject;

/// Timers take a quarter of their time while the clock stands.
const REAL_TIME_OF_TIMERS: u64 = 4;

fn check(name: &str, requirements: &[&'static str], run: impl AsyncFn(&mut Lab) -> Outcome + 'static) -> Check {
    Check::new(Section::Faults, name, requirements, run)
}

/// The checks of this section.
pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![
        check("order-to-the-provider", &["PROV-03", "SEC-04"], order_to_the_provider),
        check(
            "retry-after-is-awaited",
            &["RETRY-02", "PROV-06"],
            retry_after_is_awaited,
        ),
        check(
            "hanging",
            &["GEN-09", "GEN-12", "RETRY-05", "PROV-04", "API-03", "JOB-01", "LOG-01"],
            hanging,
        ),
        check("image-error-for-ever", &["PROV-07"], image_error_for_ever),
        check("database-fails", &["API-12", "API-16", "AUTH-07"], database_fails),
        check(
            "usage-cannot-be-stored",
            &["GEN-16", "API-12", "USAGE-02"],
            usage_cannot_be_stored,
        ),
        check("images-cannot-be-stored", &["GEN-16"], images_cannot_be_stored),
        check("cache-fails", &["GEN-16"], cache_fails),
        check("log-fails", &["LOG-08", "GEN-16"], log_fails),
        check("log-is-stored-later", &["LOG-05", "LOG-08"], log_is_stored_later),
        check(
            "config-service-fails",
            &["LOOK-06", "LOOK-07", "LOOK-08", "CACHE-01"],
            config_service_fails,
        ),
    ];
    checks.extend(CASES.iter().map(|case| {
        let mut requirements = case.requirements.to_vec();
        requirements.extend(["LOG-01", "USAGE-02", "GEN-04"]);
        Check::new(Section::Faults, case.name, &requirements, async move |lab: &mut Lab| {
            provider_fails(lab, case).await
        })
    }));
    checks
}

async fn provider_fails(lab: &mut Lab, case: &Case) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let prompt = format!("{} {}", case.name, case.faults);
    let body = json!({ "prompt": prompt, "model": case.model, "instance_id": instance });
    let request = order_of(&lab.keys.root, &body);
    let answers = lab.image(request).await?;
    let is_made = case.status == 200;
    if is_made {
        answers.status(200)?;
    } else {
        answers.error(case.status, case.code)?;
    }
    same_calls(lab, case.calls)?;
    same_usage(lab, usize::from(is_made)).await?;
    let stored = lab.subject.images().await?;
    let prefix = format!("{instance}/");
    let count = stored.iter().filter(|image| image.path.starts_with(&prefix)).count();
    lab.require(count == usize::from(is_made), format!("{count} images are stored"))?;
    same_log(lab, 1).await
}

/// The fields of a form, by their names.
fn form(body: &str) -> Value {
    let Some(boundary) = body.lines().next() else {
        return Value::Null;
    };
    let mut fields = serde_json::Map::new();
    for part in body.split(boundary).skip(1) {
        let Some((head, value)) = part.split_once("\r\n\r\n") else {
            continue;
        };
        let name = head.split("name=\"").nth(1).and_then(|rest| rest.split('"').next());
        fields.insert(
            name.unwrap_or_default().to_owned(),
            value.trim_end_matches("\r\n").into(),
        );
    }
    fields.into()
}

/// What was sent, in a form that can be compared.
fn sent(subject: &Subject) -> Vec<Value> {
    let header = |headers: &[(String, String)], wanted: &str| {
        let found = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.clone())
    };
    let all = received(subject);
    all.iter()
        .map(|received| {
            let media_type = header(&received.headers, "content-type").unwrap_or_default();
            let media_type = media_type
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase();
            let body = serde_json::from_str(&received.body).unwrap_or_else(|_| form(&received.body));
            let is_order = kind(received) == "order";
            let target = match kind(received) {
                "image" => "/api/images/".to_owned(),
                "ask" => received
                    .target
                    .split("/generations/")
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
                _ => received.target.clone(),
            };
            json!({
                "method": received.method,
                "target": target,
                "key": if is_order || kind(received) == "ask" { header(&received.headers, "api-key") } else { None },
                "media_type": if is_order { media_type } else { String::new() },
                "sent": if is_order { body } else { Value::Null },
            })
        })
        .collect()
}

async fn order_to_the_provider(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    for model in ["ideogram-4-5", "ideogram-v4", "ideogram-v3", "ideogram-v2", ""] {
        forget_calls(lab);
        let mut body = json!({ "prompt": "  ein \"Leuchtturm\" am Meer 🗼\n", "instance_id": instance });
        if !model.is_empty() {
            body["model"] = model.into();
        }
        let request = order_of(&lab.keys.root, &body);
        lab.image(request).await?.status(200)?;
        let (reference, subject) = (sent(&lab.reference), sent(&lab.subject));
        lab.same(&format!("sent for model `{model}`"), &json!(reference), &json!(subject))?;
        let secrets = [lab.keys.root.clone(), lab.keys.service.clone()];
        for received in received(&lab.subject) {
            let everything = format!("{:?} {} {}", received.headers, received.target, received.body);
            lab.require(
                !secrets.iter().any(|secret| everything.contains(secret)),
                format!(
                    "a credential of ours is sent to the provider: {} {}",
                    received.method, received.target
                ),
            )?;
            let is_image = kind(&received) == "image";
            lab.require(
                !is_image || !everything.contains(PROVIDER_KEY),
                "the provider's key is sent along when the image is fetched",
            )?;
            let host = received
                .headers
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case("host"));
            let is_right = |host: &str| is_image || host == "api.ideogram.ai";
            lab.require(
                host.is_none_or(|(_, host)| is_right(host)),
                format!("the provider is called at {host:?}"),
            )?;
        }
    }
    Ok(())
}

async fn retry_after_is_awaited(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    ordered(lab, &instance, "in two seconds [[busy-2*1]]")
        .await?
        .status(200)?;
    same_calls(lab, &["order", "order", "image"])?;
    if let Subject::Native(_) = lab.subject {
        return Ok(());
    }
    let moments: Vec<u64> = received(&lab.subject).iter().map(|received| received.at_ms).collect();
    let between_ms = moments
        .get(1)
        .zip(moments.first())
        .map_or(0, |(second, first)| second - first);
    lab.require(
        between_ms + 50 >= 2000 / REAL_TIME_OF_TIMERS,
        format!(
            "the second try came {} ms after a 429 with Retry-After: 2",
            between_ms * REAL_TIME_OF_TIMERS
        ),
    )
}

/// Four providers that keep one waiting, at the same time.
async fn hanging(lab: &mut Lab) -> Outcome {
    let cases = [
        (AT_ONCE, "[[hang]]"),
        (AT_ONCE, "[[image-hang]]"),
        (ASKED_AFTER, "[[never]]"),
        (ASKED_AFTER, "[[ask-hang]]"),
    ];
    let mut requests = Vec::new();
    for (number, (model, fault)) in cases.iter().enumerate() {
        let name = format!("hanging-{}-{number}", lab.number);
        let instance = lab.instance_named(&name, json!({})).await?;
        let body = json!({ "prompt": format!("waits {fault}"), "model": model, "instance_id": instance });
        requests.push(order_of(&lab.keys.root, &body));
    }
    lab.pass_ms(0).await?;
    let found = together(lab, Service::Image, &requests).await?;
    found.statuses(&[(504, 4)])?;
    for ((reference, subject), request) in found.reference.iter().zip(&found.subject).zip(&requests) {
        let asked = String::from_utf8_lossy(&request.body).into_owned();
        lab.same_answers(Service::Image, &asked, reference, subject)?;
        let body = subject.json();
        let status_url = format!("/jobs/{}", body["job_id"].as_str().unwrap_or_default());
        lab.require(body["status_url"] == status_url, format!("a 504 says {body}"))?;
    }
    for subject in [&lab.reference, &lab.subject] {
        let orders = received(subject)
            .iter()
            .filter(|received| kind(received) == "order")
            .count();
        lab.require(orders == 4, format!("{orders} submissions for four requests that hang"))?;
        let asks = received(subject)
            .iter()
            .filter(|received| kind(received) == "ask")
            .count();
        lab.require(
            (3..=12).contains(&asks),
            format!("a pending and a hanging job were asked after {asks} times in 8 s"),
        )?;
    }
    let root = lab.keys.root.clone();
    // The last one would hang again when it is asked after.
    for (reference, subject) in found.reference.iter().zip(&found.subject).take(3) {
        let path = |side| {
            let answer = if side == Side::Reference { reference } else { subject };
            Request::new("GET", answer.json()["status_url"].as_str().unwrap_or_default()).bearer(&root)
        };
        lab.ask_each(Service::Image, path).await?.status(200)?;
    }
    // The third has been pending until now.
    for side in [&lab.reference, &lab.subject] {
        side.with_mock(|mock| mock.fail_pending("internal_error"));
    }
    for _ in 0..2 {
        let path = |side| {
            let answers = if side == Side::Reference {
                &found.reference
            } else {
                &found.subject
            };
            Request::new("GET", answers[2].json()["status_url"].as_str().unwrap_or_default()).bearer(&root)
        };
        let answers = lab.ask_each(Service::Image, path).await?.status(200)?;
        let state = answers.subject.json()["status"].clone();
        lab.require(state == "failed", format!("a job that has failed is {state}"))?;
    }
    same_log(lab, 4).await
}

/// It is fetched again for as long as there is time: in the end there is no image, or no time, and which of them comes first is open.
async fn image_error_for_ever(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let request = order(&lab.keys.root, &instance, "no image to be had [[image-status-500]]");
    lab.pass_ms(0).await?;
    let found = together(lab, Service::Image, &[request]).await?;
    for answer in found.reference.iter().chain(&found.subject) {
        let code = answer.json()["code"].clone();
        lab.require(
            (answer.status == 502 && code == "PROVIDER_ERROR") || (answer.status == 504 && code == "PROVIDER_TIMEOUT"),
            format!(
                "an image that cannot be had in the end is answered with {} {code}",
                answer.status
            ),
        )?;
    }
    same_orders(lab, 1)?;
    same_usage(lab, 0).await
}

/// Runs with a table away, and puts it back.
async fn without_table<T>(lab: &mut Lab, table: &str, work: impl AsyncFnOnce(&mut Lab) -> Outcome<T>) -> Outcome<T> {
    for side in [&lab.reference, &lab.subject] {
        side.write(&format!("ALTER TABLE {table} RENAME TO {table}_away;\n"))
            .await?;
    }
    let outcome = work(lab).await;
    for side in [&lab.reference, &lab.subject] {
        side.write(&format!("ALTER TABLE {table}_away RENAME TO {table};\n"))
            .await?;
    }
    outcome
}

async fn database_fails(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let root = lab.keys.root.clone();
    without_table(lab, "api_keys", async |lab| {
        for (service, request) in [
            (Service::Config, Request::new("GET", "/me").bearer(&root)),
            (Service::Config, Request::new("GET", "/organization").bearer(&root)),
            (Service::Image, order(&root, &instance, "without a database")),
        ] {
            let answers = lab.ask(service, request).await?.error(500, "INTERNAL_ERROR")?;
            let text = String::from_utf8_lossy(&answers.subject.body).to_ascii_lowercase();
            for inside in ["sqlite", "d1_error", "no such table", "api_keys", "select "] {
                lab.require(!text.contains(inside), format!("a 500 tells of the inside: {text}"))?;
            }
        }
        Ok(())
    })
    .await?;
    without_table(lab, "projects", async |lab| {
        let request = Request::new("GET", "/project").bearer(&root);
        lab.config(request).await?.error(500, "INTERNAL_ERROR")?;
        Ok(())
    })
    .await?;
    same_calls(lab, &[])?;
    let health = || Request::new("GET", "/health");
    for (outage, status) in [(Some(Outage::Database), 500), (None, 200)] {
        lab.set_outage(outage).await?;
        for service in [Service::Config, Service::Image] {
            lab.ask(service, health()).await?.status(status)?;
        }
    }
    Ok(())
}

async fn usage_cannot_be_stored(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    without_table(lab, "usage_logs", async |lab| {
        ordered(lab, &instance, "nobody can be charged")
            .await?
            .error(500, "INTERNAL_ERROR")
    })
    .await?;
    same_orders(lab, 1)?;
    same_usage(lab, 0).await?;
    same_log(lab, 1).await
}

async fn images_cannot_be_stored(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    lab.set_outage(Some(Outage::Images)).await?;
    ordered(lab, &instance, "nowhere to put it")
        .await?
        .error(500, "INTERNAL_ERROR")?;
    same_orders(lab, 1)?;
    same_usage(lab, 0).await?;
    lab.set_outage(None).await?;
    ordered(lab, &instance, "it can be put again").await?.status(200)?;
    same_usage(lab, 1).await
}

async fn cache_fails(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    ordered(lab, &instance, "with a cache").await?.status(200)?;
    lab.set_outage(Some(Outage::Cache)).await?;
    ordered(lab, &instance, "without a cache").await?.status(200)?;
    ordered(lab, &instance, "still without a cache").await?.status(200)?;
    lab.set_outage(None).await?;
    same_log(lab, 3).await
}

async fn log_fails(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    lab.set_outage(Some(Outage::Log)).await?;
    ordered(lab, &instance, "nobody notes it").await?.status(200)?;
    ordered(lab, &instance, "nor this [[status-422]]")
        .await?
        .error(422, "PROVIDER_REJECTED")?;
    lab.set_outage(None).await?;
    same_usage(lab, 1).await
}

async fn log_is_stored_later(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    without_table(lab, "logs", async |lab| {
        ordered(lab, &instance, "noted later").await?.status(200)?;
        ordered(lab, "of-nobody", "noted later").await?.status(404)?;
        lab.pass_ms(10_000).await?;
        // Somebody tries to store it in the meantime.
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        Ok(())
    })
    .await?;
    ordered(lab, &instance, "noted as always").await?.status(200)?;
    same_log(lab, 3).await
}

async fn config_service_fails(lab: &mut Lab) -> Outcome {
    let outages = [
        Outage::ConfigDown,
        Outage::ConfigStatus(500),
        Outage::ConfigStatus(401),
        Outage::ConfigHangs,
    ];
    let known = lab.instance(json!({})).await?;
    let unknown = lab.instance_named(&format!("{known}-new"), json!({})).await?;
    ordered(lab, &known, "is known").await?.status(200)?;
    let mut entries = 1;
    for outage in outages {
        lab.set_outage(Some(outage)).await?;
        if entries == 1 {
            // A young copy asks nobody.
            ordered(lab, &known, "a young copy").await?.status(200)?;
            entries += 1;
        }
        lab.pass_ms(301_000).await?;
        ordered(lab, &known, "an old copy").await?.status(200)?;
        ordered(lab, &unknown, "no copy")
            .await?
            .error(503, "CONFIG_UNAVAILABLE")?;
        entries += 2;
    }
    lab.set_outage(None).await?;
    ordered(lab, &unknown, "it answers again").await?.status(200)?;
    ordered(lab, &known, "it answers again").await?.status(200)?;
    same_log(lab, entries + 2).await?;
    // Nobody but the Config Service is asked: what the row says does not count while a young copy is there.
    let sql = format!(
        "UPDATE instances SET config = json_set(config, '$.rate_limits', json('{{\"ideogram\":{{\"rpm\":1}}}}')) WHERE instance_id = '{known}';\n"
    );
    for side in [&lab.reference, &lab.subject] {
        side.write(&sql).await?;
    }
    for _ in 0..2 {
        ordered(lab, &known, "by the young copy").await?.status(200)?;
    }
    Ok(())
}
