//! Sequences that nobody should leave to chance.

use reference_core::http::Request;
use reference_native::Service;
use reference_sequences::USER;
use serde_json::{Value, json};

use super::ask::{by_root, read, send, told, walk};
use crate::verify::check::{Check, Section};
use crate::verify::lab::{ADMIN, Lab, NEWCOMER, Outcome};

pub(super) fn checks() -> Vec<Check> {
    let section = Section::Sequences;
    vec![
        Check::new(
            section,
            "life-of-an-organisation",
            &["ORG-01", "ORG-02", "ORG-03", "USER-02", "USER-04", "INST-07", "DB-14"],
            organisation,
        ),
        Check::new(
            section,
            "life-of-a-key",
            &["KEY-01", "KEY-03", "AUTH-05", "AUTH-06"],
            key,
        ),
        Check::new(
            section,
            "repeated-requests",
            &["GEN-06", "GEN-07", "USAGE-01"],
            repeated,
        ),
        Check::new(
            section,
            "edits-are-seen-at-once",
            &["CACHE-03", "LIMIT-09", "LOOK-05", "INST-03", "INST-13"],
            edits,
        ),
        Check::new(section, "the-only-instance", &["LOOK-03"], only_instance),
        Check::new(section, "edits-at-the-same-time", &["INST-10"], together),
        Check::new(section, "pages-of-everything", &["LIST-02"], pages),
        Check::new(
            section,
            "figures-of-use",
            &["METRIC-01", "METRIC-02", "METRIC-04", "LOG-09"],
            figures,
        ),
    ]
}

async fn delete(lab: &mut Lab, path: &str, status: u16) -> Outcome {
    let request = by_root(lab, "DELETE", path);
    told(lab.config(request).await?.status(status), path)?;
    Ok(())
}

async fn organisation(lab: &mut Lab) -> Outcome {
    let made = json!({ "org_id": "acme", "name": "Acme", "billing_email": "a@acme.example" });
    send(lab, "POST", "/organization", &made).await?.status(201)?;
    let instance = json!({ "org_id": "acme", "name": "Only", "instance_id": "of-acme", "config": { "api_keys": { "ideogram": "provider-secret-0123456789" } } });
    send(lab, "POST", "/instance", &instance).await?.status(201)?;
    let user = json!({ "org_id": "acme", "email": "a@acme.example", "role": "admin" });
    let user = send(lab, "POST", "/user", &user).await?.status(201)?.text("/user_id")?;
    let root = lab.keys.root.clone();
    let grant = |side| Request::new("PUT", &format!("/instance/of-acme/access/{}", user.on(side))).bearer(&root);
    lab.ask_each(Service::Config, grant).await?.status(200)?;
    let project = json!({ "instance_id": "of-acme", "name": "P", "project_id": "p-of-acme" });
    send(lab, "POST", "/project", &project).await?.status(201)?;
    send(lab, "POST", "/project/p-of-acme/key", &json!({}))
        .await?
        .status(201)?;
    let key = |side| Request::new("POST", &format!("/user/{}/key", user.on(side))).bearer(&root);
    lab.ask_each(Service::Config, key).await?.status(201)?;
    let order = json!({ "prompt": "a", "project_id": "p-of-acme" });
    let order = Request::new("POST", "/generate").bearer(&root).json(&order);
    lab.image(order).await?.status(200)?;
    delete(lab, "/organization/acme", 409).await?;
    delete(lab, "/instance/of-acme", 200).await?;
    for path in [
        "/project/p-of-acme",
        "/instance/of-acme",
        "/instance/of-acme/access",
        "/project/p-of-acme/key",
    ] {
        read(lab, path).await?.status(404)?;
    }
    lab.rows("SELECT org_id, instance_id, project_id, user_id, cost FROM usage_logs")
        .await?;
    lab.rows("SELECT user_id, project_id FROM api_keys ORDER BY created_at")
        .await?;
    delete(lab, "/organization/acme", 409).await?;
    let gone = |side| Request::new("DELETE", &format!("/user/{}", user.on(side))).bearer(&root);
    lab.ask_each(Service::Config, gone).await?.status(200)?;
    lab.rows("SELECT count(*) AS count FROM api_keys").await?;
    lab.rows("SELECT count(*) AS count FROM user_instance_access").await?;
    // What it used is still to be paid.
    delete(lab, "/organization/acme", 409).await?;
    lab.write("DELETE FROM usage_logs;\n").await?;
    delete(lab, "/organization/acme", 200).await
}

async fn key(lab: &mut Lab) -> Outcome {
    let root = lab.keys.root.clone();
    let made = send(lab, "POST", &format!("/user/{USER}/key"), &json!({ "name": "Mine" }))
        .await?
        .status(201)?;
    let (id, key) = (made.text("/key_id")?, made.text("/key")?);
    let me = |side| Request::new("GET", "/me").bearer(key.on(side));
    lab.ask_each(Service::Config, me).await?.status(200)?;
    for target in [format!("/user/{USER}/key"), "/user".to_owned()] {
        let answers = read(lab, &target).await?.status(200)?;
        let is_shown = String::from_utf8_lossy(&answers.subject.body).contains(key.subject.as_str());
        lab.require(!is_shown, format!("GET {target} shows a key again"))?;
    }
    for _ in 0..3 {
        lab.pass_ms(60_000).await?;
        let revoke = |side| Request::new("DELETE", &format!("/key/{}", id.on(side))).bearer(&root);
        lab.ask_each(Service::Config, revoke).await?.status(200)?;
        lab.ask_each(Service::Config, me).await?.status(401)?;
        let jobs = |side| Request::new("GET", "/jobs/nobody").bearer(key.on(side));
        lab.ask_each(Service::Image, jobs).await?.status(401)?;
    }
    let shown = |side| Request::new("GET", &format!("/key/{}", id.on(side))).bearer(&root);
    lab.ask_each(Service::Config, shown).await?.status(200)?;
    Ok(())
}

fn order(key: &str, body: &Value) -> Request {
    Request::new("POST", "/generate").bearer(key).json(body)
}

async fn repeated(lab: &mut Lab) -> Outcome {
    let instance = lab
        .instance(json!({ "rate_limits": { "ideogram": { "rpm": 3 } } }))
        .await?;
    let (root, admin) = (lab.keys.root.clone(), lab.keys.admin.clone());
    let id = "00000000-0000-4000-8000-0000000000e1";
    let first = json!({ "prompt": "a", "instance_id": instance, "request_id": id });
    for _ in 0..5 {
        lab.image(order(&root, &first)).await?.status(200)?;
    }
    let upper = json!({ "prompt": "a", "instance_id": instance, "request_id": id.to_uppercase() });
    lab.image(order(&root, &upper)).await?.status(200)?;
    for changed in [
        json!({ "prompt": "b", "instance_id": instance, "request_id": id }),
        json!({ "prompt": "a", "instance_id": instance, "request_id": id, "model": "ideogram-v2" }),
    ] {
        lab.image(order(&root, &changed)).await?.error(409, "CONFLICT")?;
    }
    lab.image(order(&admin, &first)).await?.status(200)?;
    // Refused for good: kept. Failed: free again.
    for (fault, status, calls) in [("[[status-422]]", 422, "e2"), ("[[status-402*1]]", 502, "e3")] {
        let id = format!("00000000-0000-4000-8000-0000000000{calls}");
        let body = json!({ "prompt": format!("a {fault}"), "instance_id": instance, "request_id": id });
        lab.pass_ms(61_000).await?;
        lab.image(order(&root, &body)).await?.status(status)?;
        lab.image(order(&root, &body))
            .await?
            .status(if status == 422 { 422 } else { 200 })?;
    }
    lab.rows("SELECT org_id, instance_id, user_id, request_id, provider, model, tokens_used, cost FROM usage_logs ORDER BY timestamp").await?;
    Ok(())
}

async fn edits(lab: &mut Lab) -> Outcome {
    let instance = lab
        .instance(json!({ "rate_limits": { "ideogram": { "rpm": 2 } } }))
        .await?;
    let root = lab.keys.root.clone();
    let path = format!("/instance/{instance}");
    let body = json!({ "prompt": "a", "instance_id": instance });
    let ask = async |lab: &mut Lab, status: u16| -> Outcome {
        lab.image(order(&root, &body)).await?.status(status)?;
        Ok(())
    };
    for status in [200, 200, 429] {
        ask(lab, status).await?;
    }
    send(
        lab,
        "PATCH",
        &path,
        &json!({ "config": { "rate_limits": { "ideogram": { "rpm": 3 } } } }),
    )
    .await?
    .status(200)?;
    for status in [200, 429] {
        ask(lab, status).await?;
    }
    send(
        lab,
        "PATCH",
        &path,
        &json!({ "config": { "rate_limits": { "ideogram": null } } }),
    )
    .await?
    .status(200)?;
    ask(lab, 200).await?;
    send(
        lab,
        "PATCH",
        &path,
        &json!({ "config": { "api_keys": { "ideogram": null } } }),
    )
    .await?
    .status(200)?;
    ask(lab, 400).await?;
    send(
        lab,
        "PATCH",
        &path,
        &json!({ "config": { "api_keys": { "ideogram": "another-provider-key" } } }),
    )
    .await?
    .status(200)?;
    ask(lab, 200).await?;
    delete(lab, &path, 200).await?;
    ask(lab, 404).await?;
    read(lab, "/instance").await?.status(200)?;
    Ok(())
}

async fn only_instance(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let newcomer = lab.keys.newcomer.clone();
    let bare = json!({ "prompt": "a" });
    lab.image(order(&newcomer, &bare)).await?.status(400)?;
    for (method, name, status) in [
        ("PUT", instance.as_str(), 200),
        ("PUT", "production", 400),
        ("DELETE", "production", 200),
        ("DELETE", &instance, 400),
    ] {
        let path = format!("/instance/{name}/access/{NEWCOMER}");
        let request = by_root(lab, method, &path);
        lab.config(request).await?.status(200)?;
        lab.image(order(&newcomer, &bare)).await?.status(status)?;
    }
    Ok(())
}

/// Edits of different fields, sent at once: each is there in the end, or was refused.
async fn together(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let path = format!("/instance/{instance}");
    let root = lab.keys.root.clone();
    let requests: Vec<(Service, Request)> = (0..6)
        .map(|number| {
            let name = format!("p{number}");
            let change = json!({ "config": { "rate_limits": { name: { "rpm": number + 1 } } } });
            (
                Service::Config,
                Request::new("PATCH", &path).bearer(&root).json(&change),
            )
        })
        .collect();
    lab.pass_ms(0).await?;
    let answers = lab.subject.send_all(&requests).await;
    let read = lab
        .ask_subject(Service::Config, &Request::new("GET", &path).bearer(&root))
        .await?;
    let limits = read.json()["rate_limits"].clone();
    for (number, answer) in answers.into_iter().enumerate() {
        let status = answer?.status;
        let is_there = limits[format!("p{number}")]["rpm"] == json!(number + 1);
        lab.require(
            (status == 200 && is_there) || (status == 409 && !is_there),
            format!(
                "of six edits at the same time one was answered with {status}, and its value is {}",
                if is_there { "there" } else { "lost" }
            ),
        )?;
    }
    Ok(())
}

async fn pages(lab: &mut Lab) -> Outcome {
    for number in 0..5 {
        let project = json!({ "instance_id": "production", "name": format!("P {number}") });
        send(lab, "POST", "/project", &project).await?.status(201)?;
        send(lab, "POST", &format!("/user/{ADMIN}/key"), &json!({}))
            .await?
            .status(201)?;
    }
    let (root, admin, user) = (lab.keys.root.clone(), lab.keys.admin.clone(), lab.keys.user.clone());
    for credential in [&root, &admin, &user] {
        for list in [
            "/project?limit=2",
            "/instance?limit=1",
            "/project?limit=3&instance_id=production",
        ] {
            walk(lab, list, credential).await?;
        }
    }
    walk(lab, &format!("/user/{ADMIN}/key?limit=2"), &admin).await?;
    Ok(())
}

async fn figures(lab: &mut Lab) -> Outcome {
    let instance = lab
        .instance(json!({ "rate_limits": { "ideogram": { "rpm": 3 } } }))
        .await?;
    let root = lab.keys.root.clone();
    for prompt in ["a", "b [[status-402]]", "c [[status-422]]", "d"] {
        let body = json!({ "prompt": prompt, "instance_id": instance });
        lab.image(order(&root, &body)).await?;
    }
    lab.settle().await?;
    for target in [
        "/metrics".to_owned(),
        format!("/metrics?instance_id={instance}&range=day"),
        "/metrics?instance_id=development".to_owned(),
    ] {
        read(lab, &target).await?.status(200)?;
    }
    let entries_of = format!("/logs?instance_id={instance}&search=request%20completed");
    read(lab, &entries_of).await?.status(200)?;
    let entries = "SELECT level, message, request_id, instance_id, user_id, component, json_extract(metadata, '$.status') AS status, json_extract(metadata, '$.code') AS code, json_extract(metadata, '$.provider_attempts') AS attempts FROM logs WHERE json_extract(metadata, '$.event') = 'request' ORDER BY timestamp";
    lab.rows(entries).await?;
    Ok(())
}
