//! Section state: what lies in the database, in KV, in the buckets and in Durable Objects after requests.

mod locked;

use reference_core::http::Request;
use reference_core::{id, time};
use reference_native::Service;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::orders::{ASKED_AFTER, forget_calls, order, order_of, ordered, same_log, same_orders, same_usage, together};
use crate::verify::check::{Check, Section};
use crate::verify::lab::{FURTHER_BUCKET, Failed, Lab, NEWCOMER, Outcome, Side};
use crate::verify::outage::{Outage, Secret};
use crate::verify::subject::StoredImage;

fn check(name: &str, requirements: &[&'static str], run: impl AsyncFn(&mut Lab) -> Outcome + 'static) -> Check {
    Check::new(Section::State, name, requirements, run)
}

/// The checks of this section.
pub(super) fn checks() -> Vec<Check> {
    vec![
        check(
            "platform-keys",
            &["SEC-01", "AUTH-03", "AUTH-04", "DB-11"],
            locked::platform_keys,
        ),
        check(
            "provider-keys",
            &["SEC-02", "INST-05", "INST-06"],
            locked::provider_keys,
        ),
        check("moved-provider-keys", &["SEC-03"], locked::moved_provider_keys),
        check("keys-rotate", &["SEC-08"], locked::keys_rotate),
        check("cache", &["SEC-06", "CACHE-02", "CACHE-05", "LOOK-05"], locked::cache),
        check(
            "images",
            &["STORE-01", "STORE-03", "STORE-04", "STORE-05", "PROV-05"],
            images,
        ),
        check("usage", &["USAGE-01", "USAGE-02", "GEN-08", "GEN-14"], usage),
        check("log", &["LOG-01", "LOG-02", "LOG-03", "LOG-04", "GEN-08"], log),
        check("log-levels", &["LOG-03"], log_levels),
        check("repeated-requests", &["GEN-06"], repeated_requests),
        check("jobs-asked-by-many", &["JOB-03"], jobs_asked_by_many),
        check("deletions", &["INST-07", "USER-04"], deletions),
        check(
            "edits-at-the-same-time",
            &["INST-10", "INST-13"],
            edits_at_the_same_time,
        ),
        check("names-of-windows", &["LIMIT-08"], names_of_windows),
        check("times", &["DB-11"], times),
        check("last-use", &["AUTH-08"], last_use),
    ]
}

async fn images(lab: &mut Lab) -> Outcome {
    let one = lab.instance(json!({})).await?;
    let bound = lab
        .instance_named(&format!("{one}-bound"), json!({ "r2_bucket": FURTHER_BUCKET }))
        .await?;
    let unbound = lab
        .instance_named(&format!("{one}-unbound"), json!({ "r2_bucket": "not-bound" }))
        .await?;
    let root = lab.keys.root.clone();
    let project = format!("project-{}", lab.number);
    let made = json!({ "project_id": project, "instance_id": one, "name": "Of images" });
    lab.config(Request::new("POST", "/project").bearer(&root).json(&made))
        .await?
        .status(201)?;
    let long = "a prompt that is rather long, ".repeat(20);
    let orders = [
        json!({ "prompt": "  trimmed  ", "model": "ideogram-v2", "instance_id": one }),
        json!({ "prompt": long, "model": "ideogram-v3", "instance_id": one, "project_id": project }),
        json!({ "prompt": "x".repeat(256), "instance_id": bound }),
        json!({ "prompt": "nowhere", "model": "ideogram-v4", "instance_id": unbound }),
    ];
    for body in &orders {
        let made = lab.image(order_of(&root, body)).await?.status(200)?;
        let path = made.text("/r2_path")?;
        let url = made.subject.json()["image_url"].as_str().unwrap_or_default().to_owned();
        // The lab gives every origin the reference's name.
        let wanted = format!("http://127.0.0.1/images/{}", path.subject);
        lab.require(url == wanted, format!("image_url is {url}"))?;
        let image = |side| Request::new("GET", &format!("/images/{}", path.on(side)));
        lab.ask_each(Service::Image, image).await?.status(200)?;
        let find = |images: Vec<StoredImage>, path: &str| images.into_iter().find(|image| image.path == path);
        let wanted = find(lab.reference.images().await?, &path.reference)
            .ok_or_else(|| Failed::Check("the reference stores no image".to_owned()))?;
        let Some(found) = find(lab.subject.images().await?, &path.subject) else {
            return Err(Failed::Difference(format!("no bucket holds {}", path.subject)));
        };
        let is_further = |image: &StoredImage| image.bucket == FURTHER_BUCKET;
        lab.require(
            is_further(&wanted) == is_further(&found),
            format!("{} is in bucket {}", found.path, found.bucket),
        )?;
        lab.require(
            (wanted.size, &wanted.content_type) == (found.size, &found.content_type),
            format!("{} has {} bytes of {}", found.path, found.size, found.content_type),
        )?;
        for (name, value) in &wanted.metadata {
            let stored = found.metadata.get(name).cloned().unwrap_or_default();
            let (value, text) = (value.as_str().unwrap_or_default(), stored.as_str().unwrap_or_default());
            if name == "prompt" {
                let prompt = body["prompt"].as_str().unwrap_or_default().trim();
                let is_right = if prompt.len() <= 256 {
                    text == prompt
                } else {
                    !text.is_empty() && prompt.starts_with(text)
                };
                lab.require(is_right, format!("metadata prompt: {text}"))?;
            } else if name == "generation_timestamp" {
                let is_near = time::parse(text)
                    .zip(time::parse(value))
                    .is_some_and(|(one, other)| one.abs_diff(other) <= 20_000);
                lab.require(is_near, format!("metadata generation_timestamp: {text}"))?;
            } else {
                lab.require(
                    text == value,
                    format!("metadata {name}: `{text}` in place of `{value}`"),
                )?;
            }
        }
    }
    Ok(())
}

async fn usage(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let root = lab.keys.root.clone();
    let project = format!("project-{}", lab.number);
    let made = json!({ "project_id": project, "instance_id": instance, "name": "Of usage" });
    lab.config(Request::new("POST", "/project").bearer(&root).json(&made))
        .await?
        .status(201)?;
    let path = format!("/project/{project}/key");
    let key = lab
        .config(Request::new("POST", &path).bearer(&root))
        .await?
        .status(201)?
        .text("/key")?;
    let id = "8b0c9d8e-1111-4222-8333-444455556666";
    let with_header = order_of(
        &root,
        &json!({ "prompt": "one", "model": "ideogram-v2", "instance_id": instance, "request_id": id }),
    )
    .header("x-request-id", "99999999-1111-4222-8333-444455556666");
    let made = lab.image(with_header).await?.status(200)?;
    lab.require(
        made.subject.json()["request_id"] == id,
        "the body's request_id is not the answer's",
    )?;
    for model in ["ideogram-4-5", "ideogram-v4", "ideogram-v3"] {
        let body = json!({ "prompt": "of a project", "model": model });
        lab.ask_each(Service::Image, |side| order_of(key.on(side), &body))
            .await?
            .status(200)?;
    }
    let other = order(&lab.keys.admin, &instance, "by the admin");
    lab.image(other).await?.status(200)?;
    for fault in ["[[status-422]]", "[[status-400]]", "[[unsafe]]"] {
        ordered(lab, &instance, &format!("of no use {fault}")).await?;
    }
    lab.image(order(&lab.keys.newcomer, &instance, "of no use"))
        .await?
        .status(403)?;
    same_usage(lab, 5).await?;
    let rows = lab
        .subject
        .rows("SELECT created_at, timestamp, cost, log_id FROM usage_logs")
        .await?;
    for row in &rows {
        lab.require(
            row["cost"].as_i64().is_some_and(|cost| cost > 0),
            format!("a generation costs {}", row["cost"]),
        )?;
        lab.require(
            time::parse(locked::text(row, "created_at")).is_some(),
            format!("created_at of usage is {}", row["created_at"]),
        )?;
    }
    same_log(lab, 9).await
}

async fn log(lab: &mut Lab) -> Outcome {
    let instance = lab
        .instance(json!({ "rate_limits": { "ideogram": { "rpm": 3 } } }))
        .await?;
    let root = lab.keys.root.clone();
    ordered(lab, &instance, "all is well").await?.status(200)?;
    ordered(lab, &instance, "tried twice [[status-500*1]]")
        .await?
        .status(200)?;
    ordered(lab, &instance, "refused by the provider [[status-402]]")
        .await?
        .status(502)?;
    ordered(lab, &instance, "one too many").await?.status(429)?;
    lab.image(order("mas_nothing", &instance, "by nobody"))
        .await?
        .status(401)?;
    lab.image(order(&lab.keys.newcomer, &instance, "by the newcomer"))
        .await?
        .status(403)?;
    lab.image(order(&root, "of-nobody", "for nobody")).await?.status(404)?;
    let id = "8b0c9d8e-7777-4222-8333-444455556666";
    let wrong = json!({ "prompt": 7, "instance_id": instance, "request_id": id });
    lab.image(order_of(&root, &wrong)).await?.status(400)?;
    let named = order_of(
        &root,
        &json!({ "prompt": "x", "model": "unknown", "instance_id": instance }),
    )
    .header("x-request-id", id);
    lab.image(named).await?.status(400)?;
    same_log(lab, 9).await?;
    let below =
        "SELECT count(*) AS count FROM logs WHERE level = 'DEBUG' OR level NOT IN ('DEBUG', 'INFO', 'WARN', 'ERROR')";
    lab.rows(below).await?;
    Ok(())
}

/// What is below the level is not kept, and a level that nobody knows is INFO.
async fn log_levels(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    for level in ["ERROR", "WARN", "INFO", "DEBUG", "LOUD"] {
        lab.set_outage(Some(Outage::Secret(Secret::LogLevel, Some(level))))
            .await?;
        let fine = format!("well at {level}");
        ordered(lab, &instance, &fine).await?.status(200)?;
        let refused = format!("refused at {level} [[status-402]]");
        ordered(lab, &instance, &refused).await?.status(502)?;
        lab.settle().await?;
        let kept = format!(
            "SELECT level, count(*) AS count FROM logs WHERE {} GROUP BY level ORDER BY level",
            lab.own_entries()
        );
        lab.rows(&kept).await?;
    }
    lab.set_outage(None).await
}

async fn repeated_requests(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let root = lab.keys.root.clone();
    let body = |number: u32, prompt: &str| json!({ "prompt": prompt, "model": "ideogram-v2", "instance_id": instance, "request_id": format!("8b0c9d8e-0000-4222-8333-00000000000{number}") });
    for (number, prompt, status, orders) in [
        (1, "made", 200, 1),
        (2, "unsafe [[unsafe]]", 422, 1),
        (3, "no money [[status-402]]", 502, 2),
    ] {
        forget_calls(lab);
        for _ in 0..2 {
            lab.image(order_of(&root, &body(number, prompt)))
                .await?
                .status(status)?;
        }
        same_orders(lab, orders)?;
    }
    // At the same moment: one of them is the first, the others meet it running or get its answer.
    forget_calls(lab);
    lab.pass_ms(0).await?;
    let found = together(
        lab,
        Service::Image,
        &vec![order_of(&root, &body(4, "by many [[slow-300]]")); 6],
    )
    .await?;
    let is_right = |status: u16| status == 200 || status == 409;
    let is_subject_right = found.subject.iter().all(|answer| is_right(answer.status))
        && found.subject.iter().any(|answer| answer.status == 200);
    lab.require(
        is_subject_right,
        "one request at the same moment with itself has another answer than 200 and 409",
    )?;
    same_orders(lab, 1)?;
    same_usage(lab, 2).await
}

async fn jobs_asked_by_many(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let root = lab.keys.root.clone();
    let body = json!({ "prompt": "ready later [[ask-busy-60*1]]", "model": ASKED_AFTER, "instance_id": instance });
    lab.pass_ms(0).await?;
    let found = together(lab, Service::Image, &[order_of(&root, &body)]).await?;
    found.statuses(&[(504, 1)])?;
    lab.pass_ms(0).await?;
    // Each side has its own job: the same question many times at the same moment, on each.
    let job = |side| {
        let answer = if side == Side::Reference {
            &found.reference[0]
        } else {
            &found.subject[0]
        };
        Request::new("GET", answer.json()["status_url"].as_str().unwrap_or_default()).bearer(&root)
    };
    let asked = vec![(Service::Image, job(Side::Subject)); 6];
    let mut paths = std::collections::BTreeSet::new();
    for answer in lab.subject.send_all(&asked).await {
        let answer = answer?.json();
        lab.require(
            answer["status"] == "completed" || answer["status"] == "pending",
            format!("a job asked by many: {answer}"),
        )?;
        if let Some(path) = answer["r2_path"].as_str() {
            paths.insert(path.to_owned());
        }
    }
    lab.require(paths.len() <= 1, format!("a job has the images {paths:?}"))?;
    // Its id was told before both were compared, so they are asked one by one.
    for _ in 0..2 {
        lab.pass_ms(0).await?;
        let reference = lab.reference.send(Service::Image, &job(Side::Reference)).await?.json();
        let subject = lab.subject.send(Service::Image, &job(Side::Subject)).await?.json();
        lab.require(
            reference["status"] == subject["status"],
            format!("the job is {}, not {}", subject["status"], reference["status"]),
        )?;
    }
    let rows = lab
        .rows("SELECT instance_id, provider, model, cost FROM usage_logs")
        .await?;
    lab.require(rows.1.len() == 1, "a job that many ask for is not charged once")?;
    same_orders(lab, 1)
}

async fn deletions(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let root = lab.keys.root.clone();
    let project = format!("project-{}", lab.number);
    let made = json!({ "project_id": project, "instance_id": instance, "name": "Goes along" });
    lab.config(Request::new("POST", "/project").bearer(&root).json(&made))
        .await?
        .status(201)?;
    lab.config(Request::new("POST", &format!("/project/{project}/key")).bearer(&root))
        .await?
        .status(201)?;
    lab.config(Request::new("PUT", &format!("/instance/{instance}/access/{NEWCOMER}")).bearer(&root))
        .await?
        .status(200)?;
    lab.image(order(&lab.keys.newcomer, &instance, "before all goes"))
        .await?
        .status(200)?;
    for path in [format!("/user/{NEWCOMER}"), format!("/instance/{instance}")] {
        lab.config(Request::new("DELETE", &path).bearer(&root))
            .await?
            .status(200)?;
        for sql in [
            "SELECT user_id, instance_id FROM user_instance_access ORDER BY user_id, instance_id",
            "SELECT project_id, instance_id FROM projects ORDER BY project_id",
            "SELECT user_id, project_id FROM api_keys ORDER BY user_id, project_id",
            "SELECT instance_id FROM instances ORDER BY instance_id",
            "SELECT user_id FROM users ORDER BY user_id",
        ] {
            lab.rows(sql).await?;
        }
        same_usage(lab, 1).await?;
    }
    Ok(())
}

async fn edits_at_the_same_time(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let other = lab.instance_named(&format!("{instance}-other"), json!({})).await?;
    let path = format!("/instance/{instance}");
    let edits: Vec<Request> = (0..6)
        .map(|number| {
            let config = json!({ "config": { "worker_urls": { format!("worker-{number}"): format!("https://{number}.example.com/") } } });
            Request::new("PATCH", &path).bearer(&lab.keys.root).json(&config)
        })
        .collect();
    lab.pass_ms(0).await?;
    let found = together(lab, Service::Config, &edits).await?;
    let config = locked::sealed(lab, &instance).await?;
    for (number, answer) in found.subject.iter().enumerate() {
        lab.require(
            answer.status == 200 || answer.status == 409,
            format!("an edit among others gets {}", answer.status),
        )?;
        let is_there = config["worker_urls"][format!("worker-{number}")].is_string();
        lab.require(
            is_there == (answer.status == 200),
            format!(
                "of edits at the same time, the one that got {} is {}",
                answer.status,
                if is_there { "there" } else { "lost" }
            ),
        )?;
    }
    lab.require(
        found.subject.iter().any(|answer| answer.status == 200),
        "of edits at the same time none succeeds",
    )?;
    lab.config(Request::new("GET", &format!("/instance/{other}")).bearer(&lab.keys.root.clone()))
        .await?
        .status(200)?;
    Ok(())
}

/// HMAC with SHA-256, of which the runtime makes the names of objects.
fn keyed_digest(key: &[u8], message: &[u8]) -> [u8; 32] {
    let pad = |byte: u8| -> Vec<u8> {
        let padded = key.iter().copied().chain(std::iter::repeat(0)).take(64);
        padded.map(|part| part ^ byte).collect()
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

/// The file name of an object that was got by its name.
fn object_id(unique_key: &str, name: &str) -> String {
    let key: [u8; 32] = Sha256::digest(unique_key.as_bytes()).into();
    let named = keyed_digest(&key, name.as_bytes());
    let check = keyed_digest(&key, &named[..16]);
    id::hexadecimal(&[&named[..16], &check[..16]].concat())
}

async fn names_of_windows(lab: &mut Lab) -> Outcome {
    let Some(data) = lab.subject.data().map(std::path::Path::to_path_buf) else {
        return Ok(());
    };
    let instance = lab
        .instance(json!({ "rate_limits": { "ideogram": { "rpm": 5 } } }))
        .await?;
    ordered(lab, &instance, "in a named window").await?.status(200)?;
    let name = format!("instance:{instance}:provider:ideogram");
    let Ok(classes) = std::fs::read_dir(data.join("objects")) else {
        return Err(Failed::Difference("no Durable Object stores anything".to_owned()));
    };
    let mut found = 0;
    for class in classes.flatten() {
        let unique_key = class.file_name().to_string_lossy().into_owned();
        let file = class.path().join(format!("{}.sqlite", object_id(&unique_key, &name)));
        found += usize::from(file.is_file());
    }
    lab.require(found >= 1, format!("no Durable Object is named `{name}`"))
}

async fn times(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    ordered(lab, &instance, "at some time").await?.status(200)?;
    lab.settle().await?;
    for table in reference_sequences::TABLES {
        for row in lab.subject.rows(&format!("SELECT * FROM {table}")).await? {
            for (column, value) in &row {
                let is_time = column == "timestamp" || column.ends_with("_at");
                if let (true, Some(text)) = (is_time, value.as_str()) {
                    lab.require(
                        text.len() == 24 && time::parse(text).is_some(),
                        format!("{table}.{column} holds {text}"),
                    )?;
                }
                lab.require(
                    !is_time || value.is_string() || value.is_null(),
                    format!("{table}.{column} holds {value}"),
                )?;
            }
            lab.require(row.contains_key("created_at"), format!("{table} has no created_at"))?;
        }
    }
    Ok(())
}

async fn last_use(lab: &mut Lab) -> Outcome {
    let request = Request::new("GET", "/me").bearer(&lab.keys.newcomer);
    lab.config(request).await?.status(200)?;
    for _ in 0..50 {
        let rows = lab
            .subject
            .rows(&format!(
                "SELECT last_used_at FROM api_keys WHERE user_id = '{NEWCOMER}'"
            ))
            .await?;
        if rows.first().is_some_and(|row| row["last_used_at"].is_string()) {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Err(Failed::Difference("the use of a key is not noted".to_owned()))
}
