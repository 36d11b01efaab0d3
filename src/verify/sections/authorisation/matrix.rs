//! Every caller on every route, on what is its own organisation's, another's, and nobody's.

use reference_core::http::Request;
use reference_native::Service;
use reference_sequences::{ROOT, USER};
use serde_json::{Value, json};

use super::super::ask::told;
use super::callers::Caller;
use crate::verify::check::{Check, Section};
use crate::verify::lab::{ADMIN, Lab, NEWCOMER, OTHER_ADMIN, OTHER_USER, Outcome, PROVIDER_KEY, Pair, Side};

pub(super) fn checks() -> Vec<Check> {
    let section = |caller: Caller| {
        let mut checks = vec![Check::new(
            Section::Authorisation,
            format!("{}-reads", caller.name()),
            caller.requirements(),
            async move |lab: &mut Lab| reads(lab, caller).await,
        )];
        checks.push(Check::new(
            Section::Authorisation,
            format!("{}-changes", caller.name()),
            caller.requirements(),
            async move |lab: &mut Lab| changes(lab, caller).await,
        ));
        checks
    };
    Caller::ALL.into_iter().flat_map(section).collect()
}

/// A request of the caller's, compared.
async fn ask(lab: &mut Lab, service: Service, credential: Option<&Pair>, request: Request) -> Outcome {
    let sent = String::from_utf8_lossy(&request.body).into_owned();
    let asked = |side: Side| match credential {
        Some(credential) => request.clone().bearer(credential.on(side)),
        None => request.clone(),
    };
    told(lab.ask_each(service, asked).await, &sent)?;
    Ok(())
}

/// An instance of the other organisation's and one of ours hold provider keys, a project has a key of its own, and there is a log.
async fn furnished(lab: &mut Lab) -> Outcome {
    let root = lab.keys.root.clone();
    for instance in ["production", "elsewhere"] {
        let config = json!({ "config": { "api_keys": { "ideogram": PROVIDER_KEY, "short": "fifteen-chars-x" } } });
        let change = Request::new("PATCH", &format!("/instance/{instance}"))
            .bearer(&root)
            .json(&config);
        lab.config(change).await?.status(200)?;
    }
    let at = reference_core::time::format(lab.now_ms() - 60_000);
    // Another project of the instance that the project's key is for.
    let mut script = format!(
        "INSERT INTO projects (project_id, instance_id, name, created_at, updated_at) VALUES ('next-door', 'production', 'Next door', '{at}', '{at}');\n"
    );
    for (number, instance) in ["'production'", "'development'", "'elsewhere'", "'gone'", "NULL"]
        .iter()
        .enumerate()
    {
        script.push_str(&format!("INSERT INTO logs (log_id, timestamp, level, message, request_id, instance_id, component, metadata, created_at) VALUES ('entry-{number}', '{at}', 'INFO', 'request completed', 'r-{number}', {instance}, 'image-gen-worker', '{{\"event\":\"request\",\"route\":\"/generate\",\"status\":200,\"duration_ms\":5}}', '{at}');\n"));
    }
    for (project, key) in [("content-forge", "key-near"), ("far-away", "key-far")] {
        let hash = reference_core::key::hash(key);
        script.push_str(&format!("INSERT INTO api_keys (key_id, project_id, key_hash, key_prefix, created_at) VALUES ('{key}', '{project}', '{hash}', 'mas_0000', '{at}');\n"));
    }
    for (user, key) in [
        (ROOT, "key-of-root"),
        (ADMIN, "key-of-admin"),
        (USER, "key-of-user"),
        (OTHER_USER, "key-of-other"),
    ] {
        let hash = reference_core::key::hash(key);
        script.push_str(&format!("INSERT INTO api_keys (key_id, user_id, key_hash, key_prefix, created_at) VALUES ('{key}', '{user}', '{hash}', 'mas_0000', '{at}');\n"));
    }
    lab.write(&script).await
}

async fn reads(lab: &mut Lab, caller: Caller) -> Outcome {
    furnished(lab).await?;
    let root = lab.keys.root.clone();
    let order = json!({ "prompt": "a lighthouse", "instance_id": "production" });
    let made = Request::new("POST", "/generate").bearer(&root).json(&order);
    lab.image(made).await?.status(200)?;
    let credential = caller.credential(lab).await?;
    lab.settle().await?;
    let mut targets: Vec<String> = [
        "/me",
        "/organization",
        "/organization/example-org",
        "/organization/other-org",
        "/organization/nobody",
        "/instance",
        "/instance?org_id=example-org",
        "/instance?org_id=other-org",
        "/instance?org_id=nobody",
        "/user",
        "/user?org_id=example-org",
        "/user?org_id=other-org",
        "/user?org_id=nobody",
        "/project",
        "/project?instance_id=production",
        "/project?instance_id=development",
        "/project?instance_id=elsewhere",
        "/project?instance_id=nobody",
        "/project/content-forge",
        "/project/playground",
        "/project/next-door",
        "/project/far-away",
        "/project/nobody",
        "/project/content-forge/key",
        "/project/next-door/key",
        "/project/far-away/key",
        "/project/nobody/key",
        "/logs?search=request%20completed",
        "/logs?instance_id=production",
        "/logs?instance_id=elsewhere",
        "/logs?instance_id=nobody",
        "/logs?instance_id=gone",
        "/metrics",
        "/metrics?instance_id=production",
        "/metrics?instance_id=elsewhere",
        "/metrics?instance_id=production,elsewhere",
        "/metrics?instance_id=nobody",
        "/key/key-near",
        "/key/key-far",
        "/key/key-of-root",
        "/key/key-of-admin",
        "/key/key-of-user",
        "/key/key-of-other",
        "/key/nobody",
    ]
    .map(str::to_owned)
    .into();
    for instance in ["production", "development", "elsewhere", "nobody"] {
        targets.push(format!("/instance/{instance}"));
        targets.push(format!("/instance/{instance}/access"));
    }
    for user in [ROOT, USER, ADMIN, NEWCOMER, OTHER_ADMIN, OTHER_USER, "nobody"] {
        targets.push(format!("/user/{user}"));
        targets.push(format!("/user/{user}/key"));
    }
    for target in targets {
        let outcome = ask(lab, Service::Config, credential.as_ref(), Request::new("GET", &target)).await;
        told(outcome, &target)?;
    }
    for target in ["/jobs/nobody", "/jobs/00000000-0000-4000-8000-00000000000a"] {
        ask(lab, Service::Image, credential.as_ref(), Request::new("GET", target)).await?;
    }
    let generate = |body: Value| Request::new("POST", "/generate").json(&body);
    for instance in ["production", "development", "elsewhere", "nobody"] {
        ask(
            lab,
            Service::Image,
            credential.as_ref(),
            generate(json!({ "prompt": "a", "instance_id": instance })),
        )
        .await?;
    }
    for project in ["content-forge", "playground", "next-door", "far-away", "nobody"] {
        ask(
            lab,
            Service::Image,
            credential.as_ref(),
            generate(json!({ "prompt": "a", "project_id": project })),
        )
        .await?;
        let both = generate(json!({ "prompt": "a", "project_id": project, "instance_id": "production" }));
        ask(lab, Service::Image, credential.as_ref(), both).await?;
    }
    ask(
        lab,
        Service::Image,
        credential.as_ref(),
        generate(json!({ "prompt": "a" })),
    )
    .await?;
    // What waits to be stored would be seen by the next caller.
    lab.settle().await
}

/// What can be taken away: some of ours and some of the other organisation's, which is there again for each caller.
const DOOMED: &str = "
INSERT INTO organizations (org_id, name, billing_email, created_at, updated_at) VALUES ('doomed-org', 'Doomed', 'a@b.example', '2026-01-03T00:00:00.000Z', '2026-01-03T00:00:00.000Z');
INSERT INTO instances (instance_id, org_id, name, config, created_at, updated_at) VALUES ('doomed-near', 'example-org', 'Doomed', '{\"api_keys\":{},\"rate_limits\":{},\"worker_urls\":{},\"r2_bucket\":null}', '2026-01-03T00:00:00.000Z', '2026-01-03T00:00:00.000Z');
INSERT INTO instances (instance_id, org_id, name, config, created_at, updated_at) VALUES ('doomed-far', 'other-org', 'Doomed', '{\"api_keys\":{},\"rate_limits\":{},\"worker_urls\":{},\"r2_bucket\":null}', '2026-01-03T00:00:00.000Z', '2026-01-03T00:00:00.000Z');
INSERT INTO projects (project_id, instance_id, name, created_at, updated_at) VALUES ('doomed-near', 'production', 'Doomed', '2026-01-03T00:00:00.000Z', '2026-01-03T00:00:00.000Z');
INSERT INTO projects (project_id, instance_id, name, created_at, updated_at) VALUES ('doomed-far', 'elsewhere', 'Doomed', '2026-01-03T00:00:00.000Z', '2026-01-03T00:00:00.000Z');
INSERT INTO users (user_id, email, role, org_id, created_at, updated_at) VALUES ('doomed-near', 'near@doomed.example', 'user', 'example-org', '2026-01-03T00:00:00.000Z', '2026-01-03T00:00:00.000Z');
INSERT INTO users (user_id, email, role, org_id, created_at, updated_at) VALUES ('doomed-far', 'far@doomed.example', 'user', 'other-org', '2026-01-03T00:00:00.000Z', '2026-01-03T00:00:00.000Z');
INSERT INTO users (user_id, email, role, org_id, created_at, updated_at) VALUES ('doomed-super', 'super@doomed.example', 'superadmin', 'example-org', '2026-01-03T00:00:00.000Z', '2026-01-03T00:00:00.000Z');
";

async fn changes(lab: &mut Lab, caller: Caller) -> Outcome {
    furnished(lab).await?;
    lab.write(DOOMED).await?;
    let credential = caller.credential(lab).await?;
    let mut requests: Vec<(&str, String, Option<Value>)> = Vec::new();
    let mut with = |method: &'static str, path: String, body: Value| requests.push((method, path, Some(body)));
    with(
        "POST",
        "/organization".into(),
        json!({ "org_id": "by-caller", "name": "By a caller", "billing_email": "a@b.example" }),
    );
    with("POST", "/organization".into(), json!({ "nonsense": 1 }));
    for (org, near) in [("example-org", true), ("other-org", false), ("nobody", false)] {
        with(
            "PATCH",
            format!("/organization/{org}"),
            json!({ "name": "By a caller" }),
        );
        with("PATCH", format!("/organization/{org}"), json!({ "nonsense": 1 }));
        with(
            "POST",
            "/instance".into(),
            json!({ "org_id": org, "name": "By a caller", "instance_id": format!("by-caller-{near}") }),
        );
        for role in ["user", "admin", "superadmin"] {
            with(
                "POST",
                "/user".into(),
                json!({ "org_id": org, "email": format!("{role}@{org}.example"), "role": role }),
            );
        }
    }
    for instance in ["production", "development", "elsewhere", "nobody"] {
        with(
            "PATCH",
            format!("/instance/{instance}"),
            json!({ "name": "By a caller" }),
        );
        with("PATCH", format!("/instance/{instance}"), json!({ "nonsense": 1 }));
        with(
            "POST",
            "/project".into(),
            json!({ "instance_id": instance, "name": "By a caller", "project_id": format!("by-{instance}") }),
        );
    }
    for project in ["content-forge", "playground", "far-away", "nobody"] {
        with(
            "PATCH",
            format!("/project/{project}"),
            json!({ "settings": { "by": "a caller" } }),
        );
        with(
            "POST",
            format!("/project/{project}/key"),
            json!({ "name": "By a caller" }),
        );
    }
    for user in [ROOT, USER, ADMIN, NEWCOMER, OTHER_ADMIN, OTHER_USER, "nobody"] {
        with("PATCH", format!("/user/{user}"), json!({ "nonsense": 1 }));
        with("POST", format!("/user/{user}/key"), json!({ "name": "By a caller" }));
    }
    for user in [NEWCOMER, OTHER_USER, "doomed-super"] {
        with(
            "PATCH",
            format!("/user/{user}"),
            json!({ "email": format!("new-{user}@people.example") }),
        );
        with("PATCH", format!("/user/{user}"), json!({ "role": "superadmin" }));
        with("PATCH", format!("/user/{user}"), json!({ "role": "admin" }));
    }
    // Each naming its own role, and another one.
    for (user, own, other) in [
        (ROOT, "superadmin", "user"),
        (ADMIN, "admin", "user"),
        (USER, "user", "admin"),
        (OTHER_ADMIN, "admin", "superadmin"),
    ] {
        let is_self = matches!(
            (user, caller),
            (ROOT, Caller::Superadmin)
                | (ADMIN, Caller::Admin)
                | (USER, Caller::User)
                | (OTHER_ADMIN, Caller::OtherAdmin)
        );
        if is_self {
            with("PATCH", format!("/user/{user}"), json!({ "role": own }));
            with("PATCH", format!("/user/{user}"), json!({ "role": other }));
        }
    }
    let mut bare = |method: &'static str, path: String| requests.push((method, path, None));
    for (instance, user) in [
        ("production", NEWCOMER),
        ("elsewhere", OTHER_USER),
        ("production", OTHER_USER),
        ("elsewhere", NEWCOMER),
        ("nobody", NEWCOMER),
        ("production", "nobody"),
    ] {
        bare("PUT", format!("/instance/{instance}/access/{user}"));
        bare("DELETE", format!("/instance/{instance}/access/{user}"));
    }
    for key in [
        "key-near",
        "key-far",
        "key-of-root",
        "key-of-user",
        "key-of-other",
        "nobody",
    ] {
        bare("DELETE", format!("/key/{key}"));
    }
    for path in [
        "/project/doomed-near",
        "/project/doomed-far",
        "/project/nobody",
        "/user/doomed-near",
        "/user/doomed-far",
        "/user/doomed-super",
        "/user/nobody",
        "/instance/doomed-near",
        "/instance/doomed-far",
        "/instance/nobody",
        "/organization/doomed-org",
        "/organization/other-org",
        "/organization/nobody",
    ] {
        bare("DELETE", path.to_owned());
    }
    // The own account.
    let own = match caller {
        Caller::Superadmin => Some(ROOT),
        Caller::Admin => Some(ADMIN),
        Caller::User => Some(USER),
        Caller::OtherAdmin => Some(OTHER_ADMIN),
        _ => None,
    };
    if let Some(own) = own {
        bare("DELETE", format!("/user/{own}"));
    }
    for (method, path, body) in requests {
        let request = Request::new(method, &path);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        ask(lab, Service::Config, credential.as_ref(), request).await?;
    }
    for sql in [
        "SELECT org_id, name FROM organizations ORDER BY org_id",
        "SELECT instance_id, org_id, name FROM instances ORDER BY instance_id",
        "SELECT email, role, org_id FROM users ORDER BY email",
        "SELECT user_id, instance_id FROM user_instance_access ORDER BY user_id, instance_id",
        "SELECT instance_id, name, json(settings) AS settings FROM projects ORDER BY instance_id, name",
        "SELECT count(*) AS count, count(revoked_at) AS revoked FROM api_keys",
    ] {
        lab.rows(sql).await?;
    }
    Ok(())
}
