//! What access and keys give at once and take at once, who sees which secret, and where a credential counts.

use reference_core::http::Request;
use reference_native::Service;
use reference_sequences::USER;
use serde_json::json;

use super::super::ask::{read, send, told};
use super::callers::made;
use crate::verify::check::{Check, Section};
use crate::verify::lab::{Lab, NEWCOMER, Outcome, PROVIDER_KEY};

pub(super) fn checks() -> Vec<Check> {
    let section = Section::Authorisation;
    vec![
        Check::new(
            section,
            "access-given-and-taken",
            &["ACCESS-01", "ACCESS-02", "CACHE-04", "INST-08", "ROLE-01"],
            access,
        ),
        Check::new(
            section,
            "masks-and-provider-keys",
            &["INST-04", "INST-05", "SEC-05"],
            masks,
        ),
        Check::new(
            section,
            "service-token",
            &["AUTH-09", "AUTH-10", "ROLE-05"],
            service_token,
        ),
        Check::new(
            section,
            "header-before-body",
            &["AUTH-11", "AUTH-12"],
            header_before_body,
        ),
        Check::new(section, "jobs-of-others", &["JOB-02"], jobs_of_others),
        Check::new(section, "first-key", &["AUTH-14"], first_key),
    ]
}

async fn access(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let (root, newcomer, admin) = (lab.keys.root.clone(), lab.keys.newcomer.clone(), lab.keys.admin.clone());
    let path = format!("/instance/{instance}/access/{NEWCOMER}");
    let order = json!({ "prompt": "a", "instance_id": instance });
    let generate = || Request::new("POST", "/generate").bearer(&newcomer).json(&order);
    for round in 0..2 {
        lab.image(generate()).await?.error(403, "FORBIDDEN")?;
        // Who gave it, and when, stays as it was the first time.
        for key in [&root, &admin] {
            lab.config(Request::new("PUT", &path).bearer(key)).await?.status(200)?;
        }
        lab.image(generate()).await?.status(200)?;
        for target in [
            "/me".to_owned(),
            "/instance".to_owned(),
            format!("/instance/{instance}"),
            format!("/project?instance_id={instance}"),
        ] {
            lab.config(Request::new("GET", &target).bearer(&newcomer))
                .await?
                .status(200)?;
        }
        read(lab, &format!("/instance/{instance}")).await?.status(200)?;
        read(lab, &format!("/instance/{instance}/access")).await?.status(200)?;
        let key = if round == 0 { &root } else { &admin };
        lab.config(Request::new("DELETE", &path).bearer(key))
            .await?
            .status(200)?;
        lab.config(Request::new("DELETE", &path).bearer(key))
            .await?
            .status(404)?;
        lab.image(generate()).await?.error(403, "FORBIDDEN")?;
        lab.config(Request::new("GET", &format!("/instance/{instance}")).bearer(&newcomer))
            .await?
            .status(403)?;
        lab.config(Request::new("GET", "/instance").bearer(&newcomer))
            .await?
            .status(200)?;
    }
    Ok(())
}

async fn masks(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let path = format!("/instance/{instance}");
    let more = json!({ "config": { "api_keys": { "fifteen": "123456789012345", "sixteen": "1234567890123456", "one": "x" } } });
    send(lab, "PATCH", &path, &more).await?.status(200)?;
    let given = Request::new("PUT", &format!("{path}/access/{USER}")).bearer(&lab.keys.root);
    lab.config(given).await?.status(200)?;
    let keys = lab.keys.clone();
    for key in [&keys.root, &keys.admin, &keys.user, &keys.service] {
        for target in [path.as_str(), "/instance", "/instance?org_id=example-org"] {
            let answers = lab.config(Request::new("GET", target).bearer(key)).await?.status(200)?;
            let is_shown = String::from_utf8_lossy(&answers.subject.body).contains(PROVIDER_KEY);
            let is_right = is_shown == (*key == keys.service);
            lab.require(
                is_right,
                format!(
                    "GET {target}: the provider's key is {}",
                    if is_shown {
                        "shown to a person"
                    } else {
                        "not shown to our own Worker"
                    }
                ),
            )?;
        }
    }
    Ok(())
}

async fn service_token(lab: &mut Lab) -> Outcome {
    let token = lab.keys.service.clone();
    for target in [
        "/instance",
        "/instance/production",
        "/instance/elsewhere",
        "/project",
        "/project/far-away",
        "/project?instance_id=elsewhere",
    ] {
        lab.config(Request::new("GET", target).bearer(&token))
            .await?
            .status(200)?;
    }
    for (method, target) in [
        ("GET", "/me"),
        ("GET", "/organization"),
        ("GET", "/user"),
        ("GET", "/logs"),
        ("GET", "/metrics"),
        ("GET", "/instance/production/access"),
        ("POST", "/instance"),
        ("PATCH", "/instance/production"),
        ("DELETE", "/instance/production"),
        ("POST", "/project"),
        ("DELETE", "/project/playground"),
        ("GET", "/key/nobody"),
        ("POST", "/project/playground/key"),
        ("GET", "/organization/example-org"),
    ] {
        lab.config(Request::new(method, target).bearer(&token))
            .await?
            .error(403, "FORBIDDEN")?;
    }
    let order = json!({ "prompt": "a", "instance_id": "production" });
    lab.image(Request::new("POST", "/generate").bearer(&token).json(&order))
        .await?
        .error(401, "AUTH_FAILED")?;
    lab.image(Request::new("GET", "/jobs/nobody").bearer(&token))
        .await?
        .error(401, "AUTH_FAILED")?;
    // Nothing that is nearly the token is one; no token would be one of no characters.
    for wrong in [
        "",
        "undefined",
        "null",
        &token[..token.len() - 1],
        &token[..31],
        &format!(" {token}x"),
        &format!("{token}0"),
    ] {
        let asked = Request::new("GET", "/instance").header("authorization", &format!("Bearer {wrong}"));
        told(told(lab.config(asked).await, wrong)?.error(401, "AUTH_FAILED"), wrong)?;
    }
    Ok(())
}

async fn header_before_body(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let keys = lab.keys.clone();
    let order = |key: &str| {
        Request::new("POST", "/generate").json(&json!({ "prompt": "a", "instance_id": instance, "api_key": key }))
    };
    lab.image(order(&keys.root)).await?.status(200)?;
    lab.image(order(&keys.newcomer)).await?.status(403)?;
    lab.image(order(&keys.service)).await?.status(401)?;
    lab.image(order(&keys.newcomer).bearer(&keys.root)).await?.status(200)?;
    lab.image(order("nonsense").bearer(&keys.root)).await?.status(200)?;
    lab.image(order(&keys.root).bearer(&keys.newcomer)).await?.status(403)?;
    for header in ["Bearer", "Basic x", "Bearer nonsense"] {
        let asked = order(&keys.root).header("authorization", header);
        told(told(lab.image(asked).await, header)?.status(401), header)?;
    }
    lab.rows("SELECT user_id, instance_id FROM usage_logs ORDER BY timestamp")
        .await?;
    Ok(())
}

async fn jobs_of_others(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let project = json!({ "project_id": "of-jobs", "instance_id": instance, "name": "Of jobs" });
    send(lab, "POST", "/project", &project).await?.status(201)?;
    let second = json!({ "project_id": "of-others", "instance_id": instance, "name": "Of others" });
    send(lab, "POST", "/project", &second).await?.status(201)?;
    let (_, own) = made(lab, "/project/of-jobs/key", json!({})).await?;
    let (_, others) = made(lab, "/project/of-others/key", json!({})).await?;
    let order = json!({ "prompt": "a [[never]]", "project_id": "of-jobs" });
    let request = Request::new("POST", "/generate").bearer(&lab.keys.root).json(&order);
    let job = lab.image(request).await?.status(504)?.text("/job_id")?;
    let keys = lab.keys.clone();
    for key in [
        &keys.root,
        &keys.admin,
        &keys.user,
        &keys.newcomer,
        &keys.other_admin,
        &keys.other_user,
        &keys.service,
    ] {
        let asked = |side| Request::new("GET", &format!("/jobs/{}", job.on(side))).bearer(key);
        lab.ask_each(Service::Image, asked).await?;
    }
    for (key, status) in [(own, 200), (others, 403)] {
        let asked = |side| Request::new("GET", &format!("/jobs/{}", job.on(side))).bearer(key.on(side));
        lab.ask_each(Service::Image, asked).await?.status(status)?;
    }
    Ok(())
}

/// A system without any key has no way to one.
async fn first_key(lab: &mut Lab) -> Outcome {
    lab.write("DELETE FROM api_keys;\n").await?;
    let root = reference_sequences::ROOT;
    for path in [
        format!("/user/{root}/key"),
        "/key".to_owned(),
        "/setup".to_owned(),
        "/bootstrap".to_owned(),
        "/user".to_owned(),
    ] {
        let asked = Request::new("POST", &path).json(&json!({}));
        lab.config(asked.clone()).await?;
        lab.config(asked.bearer("")).await?;
    }
    lab.rows("SELECT count(*) AS count FROM api_keys").await?;
    Ok(())
}
