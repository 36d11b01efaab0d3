//! Organisations, users, projects, keys and access: what is taken, what is refused, and what comes back.

use reference_core::http::Request;
use reference_native::Service;
use reference_sequences::{ROOT, USER};
use serde_json::{Value, json};

use super::super::ask::{by_root, each, long, read, send, told, varied, with_body, wrong};
use crate::verify::check::{Check, Section};
use crate::verify::lab::{Lab, NEWCOMER, OTHER_USER, Outcome};

pub(super) fn checks() -> Vec<Check> {
    let contract = Section::Contract;
    vec![
        Check::new(
            contract,
            "organizations",
            &["ORG-01", "API-09", "INST-12"],
            organizations,
        ),
        Check::new(
            contract,
            "names-and-emails",
            &["API-09", "ORG-01", "USER-01"],
            names_and_emails,
        ),
        Check::new(contract, "users", &["USER-01", "API-09"], users),
        Check::new(contract, "projects", &["PROJ-01", "INST-12", "API-09"], projects),
        Check::new(contract, "settings", &["PROJ-03"], settings),
        Check::new(contract, "keys", &["KEY-04", "API-09", "AUTH-04"], keys),
        Check::new(contract, "access", &["USER-01", "API-07"], access),
    ]
}

/// What is no text, for a field that must be one.
fn no_texts() -> Vec<Value> {
    vec![json!(1), json!(null), json!(true), json!([]), json!(["a"]), json!({})]
}

fn identifiers() -> (Vec<Value>, Vec<Value>) {
    let mut wrong = vec![
        json!(""),
        json!("Upper"),
        json!("-a"),
        json!("a_b"),
        json!("a b"),
        json!("a.b"),
        json!("ä"),
        json!("a\n"),
        json!(long(64)),
    ];
    wrong.extend(no_texts());
    (vec![json!("0"), json!("a--"), json!(long(63))], wrong)
}

async fn organizations(lab: &mut Lab) -> Outcome {
    let body = json!({ "org_id": "acme", "name": "Acme", "billing_email": "Bills@ACME.example" });
    send(lab, "POST", "/organization", &body).await?.status(201)?;
    send(lab, "POST", "/organization", &body)
        .await?
        .error(409, "CONFLICT")?;
    let (right, wrong_ids) = identifiers();
    each(lab, "POST", "/organization", 201, varied(&body, "/org_id", right)).await?;
    wrong(lab, "POST", "/organization", varied(&body, "/org_id", wrong_ids)).await?;
    let unnamed = json!({ "name": "Without", "billing_email": "a@b.example" });
    let made = send(lab, "POST", "/organization", &unnamed)
        .await?
        .status(201)?
        .text("/org_id")?;
    let root = lab.keys.root.clone();
    lab.ask_each(Service::Config, |side| {
        Request::new("GET", &format!("/organization/{}", made.on(side))).bearer(&root)
    })
    .await?
    .status(200)?;
    wrong(
        lab,
        "POST",
        "/organization",
        [
            json!({}),
            json!({ "name": "x" }),
            json!({ "billing_email": "a@b.example" }),
            json!({ "name": "x", "billing_email": "a@b.example", "more": 1 }),
            json!({ "name": "x", "billing_email": "a@b.example", "created_at": "2026-01-01T00:00:00.000Z" }),
        ],
    )
    .await?;
    wrong(
        lab,
        "PATCH",
        "/organization/acme",
        [
            json!({}),
            json!({ "org_id": "acme" }),
            json!({ "name": null }),
            json!({ "name": "x", "more": 1 }),
        ],
    )
    .await?;
    for change in [
        json!({ "name": "  New  " }),
        json!({ "billing_email": "NEW@acme.example" }),
        json!({ "name": "New", "billing_email": "new@acme.example" }),
    ] {
        send(lab, "PATCH", "/organization/acme", &change).await?.status(200)?;
    }
    read(lab, "/organization/acme").await?.status(200)?;
    for (path, status) in [
        ("/organization/example-org", 409),
        ("/organization/nobody", 404),
        ("/organization/acme", 200),
        ("/organization/acme", 404),
    ] {
        let request = by_root(lab, "DELETE", path);
        lab.config(request).await?.status(status)?;
    }
    lab.rows("SELECT * FROM organizations ORDER BY created_at, org_id")
        .await?;
    Ok(())
}

async fn names_and_emails(lab: &mut Lab) -> Outcome {
    let mut names = vec![
        json!(""),
        json!(" "),
        json!("\t\n"),
        json!("\u{a0}\u{feff}\u{2003}"),
        json!(long(101)),
        json!("a\u{0}b"),
        json!("a\u{1f}b"),
        json!("a\u{7f}b"),
        json!("a\u{85}b"),
        json!("a\nb"),
        json!("😀".repeat(51)),
    ];
    names.extend(no_texts());
    let good = [
        json!(long(100)),
        json!(format!("  {}  ", long(100))),
        json!("😀".repeat(50)),
        json!("\u{a0}Größe\u{feff}"),
        json!("<b>'\"%_\\"),
        json!("a\u{200b}b"),
    ];
    let bodies = [
        (
            "POST",
            "/organization",
            json!({ "name": "x", "billing_email": "a@b.example" }),
            201,
        ),
        ("PATCH", "/instance/production", json!({ "name": "x" }), 200),
        ("PATCH", "/project/playground", json!({ "name": "x" }), 200),
    ];
    for (method, path, body, status) in bodies {
        wrong(lab, method, path, varied(&body, "/name", names.clone())).await?;
        each(lab, method, path, status, varied(&body, "/name", good.clone())).await?;
        let lone = body.to_string().replace("\"x\"", "\"a\\ud800b\"");
        let request = with_body(by_root(lab, method, path), "application/json", lone.clone());
        told(told(lab.config(request).await, &lone)?.status(400), &lone)?;
    }
    let host = format!("{}.example", long(200));
    let mut emails = vec![
        json!(""),
        json!("a"),
        json!("a@b"),
        json!("a@.b"),
        json!("a@b."),
        json!("a@@b.example"),
        json!("a@b@c.example"),
        json!("a b@c.example"),
        json!("a@b .example"),
        json!(" a@b.example"),
        json!("a@b.example "),
        json!("a@b.example\n"),
        json!("a\u{0}@b.example"),
        json!("a\u{a0}@b.example"),
        json!("a@"),
        json!(format!("{}@{host}", long(46))),
    ];
    emails.extend(no_texts());
    let good = [
        json!(format!("{}@{host}", long(45))),
        json!("MiXed@Case.Example"),
        json!("a+b@c.d.example"),
        json!("ä@ö.example"),
        json!("';--@x.y"),
    ];
    let organization = json!({ "billing_email": "x" });
    wrong(
        lab,
        "PATCH",
        "/organization/example-org",
        varied(&organization, "/billing_email", emails.clone()),
    )
    .await?;
    each(
        lab,
        "PATCH",
        "/organization/example-org",
        200,
        varied(&organization, "/billing_email", good.clone()),
    )
    .await?;
    let user = json!({ "email": "x", "org_id": "example-org" });
    wrong(lab, "POST", "/user", varied(&user, "/email", emails)).await?;
    each(lab, "POST", "/user", 201, varied(&user, "/email", good)).await?;
    lab.rows("SELECT email FROM users ORDER BY created_at, email").await?;
    Ok(())
}

async fn users(lab: &mut Lab) -> Outcome {
    let body = json!({ "email": "New@People.example", "org_id": "example-org" });
    let made = send(lab, "POST", "/user", &body).await?.status(201)?.text("/user_id")?;
    for email in ["New@People.example", "new@people.example", "USER@EXAMPLE.COM"] {
        send(lab, "POST", "/user", &json!({ "email": email, "org_id": "other-org" }))
            .await?
            .error(409, "CONFLICT")?;
    }
    wrong(
        lab,
        "POST",
        "/user",
        [
            json!({}),
            json!({ "email": "a@b.example" }),
            json!({ "org_id": "example-org" }),
        ],
    )
    .await?;
    let body = json!({ "email": "other@people.example", "org_id": "example-org", "role": "user" });
    let mut roles = vec![
        json!(""),
        json!("User"),
        json!("owner"),
        json!("service"),
        json!("project"),
    ];
    roles.extend(no_texts());
    wrong(lab, "POST", "/user", varied(&body, "/role", roles.clone())).await?;
    wrong(lab, "POST", "/user", varied(&body, "/org_id", identifiers().1)).await?;
    wrong(
        lab,
        "POST",
        "/user",
        [
            json!({ "email": "o@p.example", "org_id": "example-org", "user_id": "mine" }),
            json!({ "email": "o@p.example", "org_id": "example-org", "instances": [] }),
        ],
    )
    .await?;
    for role in ["admin", "superadmin", "user"] {
        let body = json!({ "email": format!("{role}@new.example"), "org_id": "other-org", "role": role });
        send(lab, "POST", "/user", &body).await?.status(201)?;
    }
    let root = lab.keys.root.clone();
    let path = |side| format!("/user/{}", made.on(side));
    lab.ask_each(Service::Config, |side| Request::new("GET", &path(side)).bearer(&root))
        .await?
        .status(200)?;
    let changes = [
        (json!({ "email": "RENAMED@people.example" }), 200),
        (json!({ "email": "renamed@people.example" }), 200),
        (json!({ "email": "user@example.com" }), 409),
        (json!({ "role": "admin" }), 200),
        (json!({ "role": "admin", "email": "both@people.example" }), 200),
        (json!({}), 400),
        (json!({ "email": null }), 400),
        (json!({ "role": null }), 400),
        (json!({ "role": "king" }), 400),
        (json!({ "org_id": "other-org" }), 400),
        (json!({ "role": "user", "more": 1 }), 400),
    ];
    for (change, status) in changes {
        let answers = lab
            .ask_each(Service::Config, |side| {
                Request::new("PATCH", &path(side)).bearer(&root).json(&change)
            })
            .await;
        told(told(answers, &change.to_string())?.status(status), &change.to_string())?;
    }
    for status in [200, 404] {
        lab.ask_each(Service::Config, |side| {
            Request::new("DELETE", &path(side)).bearer(&root)
        })
        .await?
        .status(status)?;
    }
    for list in ["/user", "/user?org_id=example-org", "/user?org_id=other-org"] {
        read(lab, list).await?.status(200)?;
    }
    Ok(())
}

async fn projects(lab: &mut Lab) -> Outcome {
    let body = json!({ "project_id": "posters", "instance_id": "production", "name": "Posters" });
    send(lab, "POST", "/project", &body).await?.status(201)?;
    send(
        lab,
        "POST",
        "/project",
        &json!({ "project_id": "posters", "instance_id": "development", "name": "Else" }),
    )
    .await?
    .error(409, "CONFLICT")?;
    send(
        lab,
        "POST",
        "/project",
        &json!({ "instance_id": "production", "name": "Posters" }),
    )
    .await?
    .error(409, "CONFLICT")?;
    send(
        lab,
        "POST",
        "/project",
        &json!({ "instance_id": "production", "name": "  Posters " }),
    )
    .await?
    .error(409, "CONFLICT")?;
    send(
        lab,
        "POST",
        "/project",
        &json!({ "instance_id": "production", "name": "posters" }),
    )
    .await?
    .status(201)?;
    send(
        lab,
        "POST",
        "/project",
        &json!({ "instance_id": "development", "name": "Posters", "settings": { "a": [1, { "b": null }] } }),
    )
    .await?
    .status(201)?;
    let (right, wrong_ids) = identifiers();
    for (number, id) in right.into_iter().enumerate() {
        let body = json!({ "project_id": id, "instance_id": "production", "name": format!("Named {number}") });
        send(lab, "POST", "/project", &body).await?.status(201)?;
    }
    let other = json!({ "project_id": "other", "instance_id": "production", "name": "Other" });
    wrong(
        lab,
        "POST",
        "/project",
        varied(&other, "/project_id", wrong_ids.clone()),
    )
    .await?;
    wrong(lab, "POST", "/project", varied(&other, "/instance_id", wrong_ids)).await?;
    wrong(
        lab,
        "POST",
        "/project",
        [
            json!({}),
            json!({ "name": "x" }),
            json!({ "instance_id": "production" }),
            json!({ "instance_id": "production", "name": "x", "more": 1 }),
        ],
    )
    .await?;
    let changes = [
        (json!({ "name": "Renamed" }), 200),
        (json!({ "name": "Content Forge" }), 409),
        (json!({ "name": "Renamed" }), 200),
        (json!({ "settings": { "x": 1 } }), 200),
        (json!({ "settings": { "y": 2 } }), 200),
        (json!({ "name": "Both", "settings": {} }), 200),
        (json!({}), 400),
        (json!({ "instance_id": "development" }), 400),
        (json!({ "project_id": "x" }), 400),
    ];
    for (change, status) in changes {
        let answers = send(lab, "PATCH", "/project/posters", &change).await?;
        told(answers.status(status), &change.to_string())?;
    }
    read(lab, "/project/posters").await?.status(200)?;
    read(lab, "/project?instance_id=production").await?.status(200)?;
    send(lab, "POST", "/project/posters/key", &json!({}))
        .await?
        .status(201)?;
    for status in [200, 404] {
        let request = by_root(lab, "DELETE", "/project/posters");
        lab.config(request).await?.status(status)?;
    }
    lab.rows("SELECT project_id, instance_id, name, json(settings) AS settings FROM projects ORDER BY created_at, name, instance_id").await?;
    lab.rows("SELECT count(*) AS count FROM api_keys WHERE project_id IS NOT NULL")
        .await?;
    Ok(())
}

fn nested(levels: usize) -> String {
    // The settings themselves are the first level.
    format!("{{\"a\":{}1{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1))
}

async fn settings(lab: &mut Lab) -> Outcome {
    let exact = |units: usize| format!("{{\"a\":\"{}\"}}", long(units - 8));
    let wide = |units: usize| format!("{{\"a\":\"{}\"}}", "ä".repeat(units - 8));
    let good = [
        "{}".to_owned(),
        r#"{"__proto__":{"a":1},"constructor":2,"toString":"x"}"#.to_owned(),
        r#"{"":{"":[[],{},null,true,false,-0.5,1e3,"\u0000\n\"\\/ä😀"]}}"#.to_owned(),
        r#"{"a":null,"b":[null],"c":{"d":null}}"#.to_owned(),
        r#"{"10":1,"2":2,"x":9007199254740991}"#.to_owned(),
        nested(31),
        nested(32),
        exact(16_384),
        wide(16_384),
        format!("{{ \"a\" : \"{}\" , \"b\" : [ ] }}", long(16_384 - 15)),
        format!("{{\"a\":\"{}\"}}", "\\u0061".repeat(8000)),
    ];
    for text in good {
        let body = format!("{{\"settings\":{text}}}");
        let request = with_body(
            by_root(lab, "PATCH", "/project/playground"),
            "application/json",
            body.clone(),
        );
        told(told(lab.config(request).await, &body)?.status(200), &body)?;
        read(lab, "/project/playground").await?.status(200)?;
    }
    // A change of something else leaves them as they are.
    let other = with_body(
        by_root(lab, "PATCH", "/project/playground"),
        "application/json",
        "{\"name\":\"Renamed\"}".to_owned(),
    );
    lab.config(other).await?.status(200)?;
    read(lab, "/project/playground").await?.status(200)?;
    let bad = [
        "[]".to_owned(),
        "null".to_owned(),
        "1".to_owned(),
        "\"{}\"".to_owned(),
        "true".to_owned(),
        "[{}]".to_owned(),
        nested(33),
        exact(16_385),
        wide(16_385),
        format!("{{\"a\":\"{}\"}}", "😀".repeat(8189)),
    ];
    for text in bad {
        let body = format!("{{\"settings\":{text}}}");
        let request = with_body(
            by_root(lab, "PATCH", "/project/playground"),
            "application/json",
            body.clone(),
        );
        told(told(lab.config(request).await, &body)?.status(400), &body)?;
        let body = format!("{{\"instance_id\":\"production\",\"name\":\"Of settings\",\"settings\":{text}}}");
        let request = with_body(by_root(lab, "POST", "/project"), "application/json", body.clone());
        told(told(lab.config(request).await, &body)?.status(400), &body)?;
    }
    Ok(())
}

async fn keys(lab: &mut Lab) -> Outcome {
    let (of_user, of_project) = (format!("/user/{USER}/key"), "/project/playground/key".to_owned());
    for path in [&of_user, &of_project] {
        for (content_type, body) in [
            ("text/plain", ""),
            ("application/json", ""),
            ("application/json", "{}"),
            ("application/json", " {} "),
        ] {
            let request = with_body(by_root(lab, "POST", path), content_type, body);
            lab.config(request).await?.status(201)?;
        }
        let request = by_root(lab, "POST", path);
        lab.config(request).await?.status(201)?;
        let request = with_body(by_root(lab, "POST", path), "text/plain", "{}");
        lab.config(request).await?.error(400, "VALIDATION_FAILED")?;
        let body = json!({ "name": "A key", "expires_at": "2126-01-31T09:30:00.000Z" });
        let made = send(lab, "POST", path, &body).await?.status(201)?;
        let (key_id, key) = (made.text("/key_id")?, made.text("/key")?);
        lab.require(
            reference_core::key::is_well_formed(&key.subject),
            format!("POST {path}: the key has not the form of 0.3: {}", key.subject.len()),
        )?;
        let root = lab.keys.root.clone();
        for method in ["GET", "DELETE", "DELETE", "GET"] {
            lab.ask_each(Service::Config, |side| {
                Request::new(method, &format!("/key/{}", key_id.on(side))).bearer(&root)
            })
            .await?
            .status(200)?;
        }
        let mut names = no_texts();
        names.push(json!(long(101)));
        wrong(lab, "POST", path, varied(&body, "/name", names)).await?;
        each(
            lab,
            "POST",
            path,
            201,
            varied(&body, "/name", [json!(long(100)), json!(""), json!("😀".repeat(50))]),
        )
        .await?;
        let now = reference_core::time::format(lab.now_ms());
        let mut moments = vec![
            json!(now),
            json!("2026-01-01T00:00:00.000Z"),
            json!(""),
            json!("2126-01-31"),
            json!("2126-01-31T09:30:00Z"),
            json!("2126-02-30T00:00:00.000Z"),
            json!("2126-01-31T09:30:00.000+00:00"),
            json!("2126-01-31 09:30:00.000Z"),
            json!("2126-01-31T24:00:00.000Z"),
            json!("2126-13-01T00:00:00.000Z"),
            json!("2126-01-31T09:30:00.000z"),
            json!("2126-1-31T09:30:00.000Z"),
            json!("12126-01-31T09:30:00.000Z"),
            json!("+002126-01-31T09:30:00.000Z"),
            json!(4_922_000_000_000_u64),
            json!(true),
            json!([]),
            json!({}),
            json!("tomorrow"),
            json!("2126-01-31T09:30:00.0000Z"),
        ];
        moments.push(json!("2126-01-31T09:60:00.000Z"));
        wrong(lab, "POST", path, varied(&body, "/expires_at", moments)).await?;
        each(
            lab,
            "POST",
            path,
            201,
            varied(
                &body,
                "/expires_at",
                [
                    json!(null),
                    json!("9999-12-31T23:59:59.999Z"),
                    json!("2128-02-29T00:00:00.000Z"),
                ],
            ),
        )
        .await?;
        wrong(
            lab,
            "POST",
            path,
            [
                json!({ "more": 1 }),
                json!({ "key": "mas_x" }),
                json!({ "user_id": USER }),
                json!([]),
            ],
        )
        .await?;
        read(lab, path).await?.status(200)?;
    }
    for path in ["/user/nobody/key", "/project/nobody/key"] {
        send(lab, "POST", path, &json!({})).await?.error(404, "NOT_FOUND")?;
        read(lab, path).await?.error(404, "NOT_FOUND")?;
    }
    Ok(())
}

async fn access(lab: &mut Lab) -> Outcome {
    let path = |user: &str| format!("/instance/development/access/{user}");
    for (method, path, status) in [
        ("PUT", path(NEWCOMER), 200),
        ("PUT", path(NEWCOMER), 200),
        ("PUT", path(ROOT), 200),
        ("PUT", path(OTHER_USER), 409),
        ("PUT", path("nobody"), 404),
        ("PUT", format!("/instance/nobody/access/{USER}"), 404),
        ("DELETE", path(USER), 404),
        ("DELETE", path("nobody"), 404),
        ("DELETE", path(OTHER_USER), 404),
    ] {
        let request = by_root(lab, method, &path);
        lab.config(request).await?.status(status)?;
    }
    read(lab, "/instance/development/access").await?.status(200)?;
    read(lab, "/instance/development").await?.status(200)?;
    read(lab, &format!("/user/{NEWCOMER}")).await?.status(200)?;
    // Who gave it goes, and the access stays.
    let admin = lab.keys.admin.clone();
    let given = Request::new("PUT", &path(USER)).bearer(&admin);
    lab.config(given).await?.status(200)?;
    let request = by_root(lab, "DELETE", &format!("/user/{}", crate::verify::lab::ADMIN));
    lab.config(request).await?.status(200)?;
    read(lab, "/instance/development/access").await?.status(200)?;
    for status in [200, 404] {
        let request = by_root(lab, "DELETE", &path(NEWCOMER));
        lab.config(request).await?.status(status)?;
    }
    lab.rows("SELECT user_id, instance_id, granted_by FROM user_instance_access ORDER BY user_id, instance_id")
        .await?;
    Ok(())
}
