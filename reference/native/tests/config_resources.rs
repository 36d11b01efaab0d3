//! Organisations, instances, access, users, projects and keys: who may do what, and what it does.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod common;

use common::{ROOT, USER, World, ids, refused, world};
use reference_core::http::Response;
use reference_native::Service;
use serde_json::{Value, json};

#[track_caller]
fn ok(response: Response) -> Value {
    assert!(
        matches!(response.status, 200 | 201),
        "{} {:?}",
        response.status,
        response.json()
    );
    response.json()
}

/// Asks as every kind of caller and compares the statuses, in the order U A S P V.
#[track_caller]
fn statuses(world: &World, method: &str, target: &str, body: &Value, expected: [u16; 5]) {
    let callers = [&world.user, &world.admin, &world.root, &world.project, &world.service];
    let got = callers.map(|key| {
        let request = reference_core::http::Request::new(method, target)
            .bearer(key)
            .json(body);
        world.send(&request).status
    });
    assert_eq!(got, expected, "{method} {target}");
}

#[test]
fn lists_show_what_is_within_reach_and_nothing_else() {
    let world = world();
    let made = world.post(
        "/project",
        &world.other_admin,
        &json!({ "instance_id": "elsewhere", "name": "Far", "project_id": "far" }),
    );
    assert_eq!(made.status, 201);
    let instances = |key: &str| ids(&world.get("/instance?limit=100", key), "instance_id");
    let projects = |key: &str| ids(&world.get("/project?limit=100", key), "project_id");
    assert_eq!(instances(&world.other_admin), ["elsewhere"]);
    assert_eq!(projects(&world.other_admin), ["far"]);
    assert_eq!(instances(&world.project), ["production"]);
    for key in [&world.root, &world.service] {
        assert!(instances(key).contains(&"elsewhere".to_owned()));
        assert!(projects(key).contains(&"far".to_owned()));
    }
    for key in [&world.admin, &world.user] {
        assert!(instances(key).contains(&"production".to_owned()));
        assert!(!instances(key).contains(&"elsewhere".to_owned()));
        assert!(projects(key).contains(&"content-forge".to_owned()));
        assert!(!projects(key).contains(&"far".to_owned()));
    }
    let newcomer = world.person("newcomer@example.com", "user", "example-org");
    assert_eq!(instances(&newcomer), [""; 0]);
    assert_eq!(projects(&newcomer), [""; 0]);
}

#[test]
fn routes_know_who_may_ever_use_them() {
    let world = world();
    let bad = json!({ "nonsense": 1 });
    for (method, target, expected) in [
        ("GET", "/organization", [403, 200, 200, 403, 403]),
        ("POST", "/organization", [403, 403, 400, 403, 403]),
        ("GET", "/organization/example-org", [403, 200, 200, 403, 403]),
        ("GET", "/organization/other-org", [403, 403, 200, 403, 403]),
        ("PATCH", "/organization/example-org", [403, 400, 400, 403, 403]),
        ("DELETE", "/organization/example-org", [403, 403, 409, 403, 403]),
        ("DELETE", "/organization/absent", [403, 403, 404, 403, 403]),
        ("GET", "/instance", [200; 5]),
        ("GET", "/instance?org_id=other-org", [403, 403, 200, 403, 200]),
        ("GET", "/instance?org_id=absent", [404; 5]),
        ("GET", "/instance?org_id=example-org", [200; 5]),
        ("POST", "/instance", [403, 400, 400, 403, 403]),
        ("GET", "/instance/production", [200; 5]),
        ("GET", "/instance/development", [403, 200, 200, 403, 200]),
        ("GET", "/instance/elsewhere", [403, 403, 200, 403, 200]),
        ("GET", "/instance/absent", [404; 5]),
        ("PATCH", "/instance/production", [403, 400, 400, 403, 403]),
        ("GET", "/instance/production/access", [403, 200, 200, 403, 403]),
        ("GET", "/instance/elsewhere/access", [403, 403, 200, 403, 403]),
        ("GET", "/user", [403, 200, 200, 403, 403]),
        ("GET", "/user?org_id=other-org", [403, 403, 200, 403, 403]),
        ("POST", "/user", [403, 400, 400, 403, 403]),
        ("GET", &format!("/user/{USER}"), [200, 200, 200, 403, 403]),
        ("GET", &format!("/user/{ROOT}"), [403, 200, 200, 403, 403]),
        ("GET", "/user/absent", [404, 404, 404, 403, 403]),
        ("PATCH", &format!("/user/{ROOT}"), [403, 403, 400, 403, 403]),
        ("PATCH", &format!("/user/{USER}"), [403, 400, 400, 403, 403]),
        ("DELETE", &format!("/user/{ROOT}"), [403, 403, 409, 403, 403]),
        ("GET", &format!("/user/{USER}/key"), [200, 200, 200, 403, 403]),
        ("GET", &format!("/user/{ROOT}/key"), [403, 403, 200, 403, 403]),
        ("GET", "/project", [200; 5]),
        ("GET", "/project?instance_id=production", [200; 5]),
        ("GET", "/project?instance_id=development", [403, 200, 200, 403, 200]),
        ("GET", "/project?instance_id=absent", [404; 5]),
        ("POST", "/project", [403, 400, 400, 403, 403]),
        ("GET", "/project/content-forge", [200; 5]),
        ("GET", "/project/playground", [403, 200, 200, 403, 200]),
        ("PATCH", "/project/content-forge", [403, 400, 400, 403, 403]),
        ("GET", "/project/content-forge/key", [403, 200, 200, 403, 403]),
        ("GET", "/key/absent", [404, 404, 404, 403, 403]),
        ("GET", "/logs", [403, 200, 200, 403, 403]),
        ("GET", "/metrics", [403, 200, 200, 403, 403]),
    ] {
        statuses(&world, method, target, &bad, expected);
    }
}

#[test]
fn organizations_are_made_edited_and_deleted_when_empty() {
    let world = world();
    let made = world.post(
        "/organization",
        &world.root,
        &json!({ "name": " Third ", "billing_email": "Bill@Third.Example" }),
    );
    assert_eq!(made.status, 201);
    let body = made.json();
    let org_id = body["org_id"].as_str().unwrap();
    assert_eq!(
        made.headers.get("location"),
        Some(format!("/organization/{org_id}").as_str())
    );
    assert_eq!(
        (&body["name"], &body["billing_email"]),
        (&json!("Third"), &json!("bill@third.example"))
    );
    assert!(reference_core::id::is_uuid(org_id));
    let again = json!({ "org_id": org_id, "name": "Fourth", "billing_email": "a@b.cd" });
    refused(&world.post("/organization", &world.root, &again), 409, "CONFLICT");
    world.system.advance_ms(5);
    let edited = ok(world.patch(
        &format!("/organization/{org_id}"),
        &world.root,
        &json!({ "name": "Renamed" }),
    ));
    assert_eq!(
        (&edited["name"], &edited["billing_email"]),
        (&json!("Renamed"), &json!("bill@third.example"))
    );
    assert_eq!(
        (&edited["created_at"], &edited["updated_at"]),
        (&json!("2026-01-31T09:30:00.000Z"), &json!("2026-01-31T09:30:00.005Z"))
    );
    let deleted = ok(world.delete(&format!("/organization/{org_id}"), &world.root));
    assert_eq!(
        (&deleted["deleted"], &deleted["org_id"]),
        (&json!(true), &json!(org_id))
    );
    refused(
        &world.get(&format!("/organization/{org_id}"), &world.root),
        404,
        "NOT_FOUND",
    );
    assert_eq!(
        ids(&world.get("/organization", &world.admin), "org_id"),
        ["example-org"]
    );
    assert_eq!(
        ids(&world.get("/organization", &world.root), "org_id"),
        ["example-org", "other-org"]
    );
    refused(&world.delete("/organization/other-org", &world.root), 409, "CONFLICT");
}

#[test]
fn provider_keys_are_stored_encrypted_masked_for_people_and_clear_for_our_workers() {
    let world = world();
    let secret = "provider-secret-0123456789";
    let body = json!({ "org_id": "example-org", "name": "Third", "instance_id": "third", "config": { "api_keys": { "ideogram": secret, "short": "abc" }, "rate_limits": { "ideogram": { "rpm": 5.0 } }, "r2_bucket": "third-bucket" } });
    let made = world.post("/instance", &world.admin, &body);
    assert_eq!(
        (made.status, made.headers.get("location")),
        (201, Some("/instance/third"))
    );
    assert_eq!(
        made.json()["api_keys"],
        json!({ "ideogram": "****6789", "short": "****" })
    );
    assert_eq!(made.json()["rate_limits"], json!({ "ideogram": { "rpm": 5 } }));
    assert_eq!(made.json()["worker_urls"], json!({}));
    assert_eq!(made.json()["authorized_users"], json!([]));
    assert_eq!(
        ok(world.get("/instance/third", &world.root))["api_keys"]["ideogram"],
        "****6789"
    );
    assert_eq!(
        ok(world.get("/instance/third", &world.service))["api_keys"],
        json!({ "ideogram": secret, "short": "abc" })
    );
    let stored = world
        .stored("SELECT config FROM instances WHERE instance_id = 'third'")
        .unwrap();
    let config: Value = serde_json::from_str(&stored).unwrap();
    assert!(
        config["api_keys"]["ideogram"]["ciphertext"]
            .as_str()
            .unwrap()
            .starts_with("v1.k1.")
            && !stored.contains("secret")
    );
    assert_eq!(config["api_keys"]["ideogram"]["mask"], "****6789");
    assert_eq!(config["api_keys"]["ideogram"]["mask"], "****6789");
    // A person's edit sends the mask back; another name is added beside it.
    let edited = ok(world.patch(
        "/instance/third",
        &world.admin,
        &json!({ "config": { "api_keys": { "ideogram": "****6789", "short": null, "new": "new-key-0123456789" } } }),
    ));
    assert_eq!(edited["api_keys"], json!({ "ideogram": "****6789", "new": "****6789" }));
    assert_eq!(edited["r2_bucket"], "third-bucket");
    assert_eq!(
        ok(world.get("/instance/third", &world.service))["api_keys"]["ideogram"],
        secret
    );
    refused(
        &world.patch(
            "/instance/third",
            &world.admin,
            &json!({ "config": { "api_keys": { "ideogram": "****0000" } } }),
        ),
        400,
        "VALIDATION_FAILED",
    );
    // A ciphertext that is moved to another row does not open.
    world
        .system
        .write(&format!(
            "UPDATE instances SET config = '{stored}' WHERE instance_id = 'development'"
        ))
        .unwrap();
    refused(
        &world.get("/instance/development", &world.service),
        500,
        "INTERNAL_ERROR",
    );
}

#[test]
fn without_its_encryption_keys_the_service_fails_and_stores_nothing_in_clear() {
    let world = world();
    for broken in [None, Some("nonsense".to_owned())] {
        world
            .system
            .change_settings(|settings| settings.provider_key_encryption_keys = broken);
        let body = json!({ "org_id": "example-org", "name": "X", "instance_id": "x", "config": { "api_keys": { "p": "secret" } } });
        refused(&world.post("/instance", &world.admin, &body), 500, "INTERNAL_ERROR");
        assert_eq!(
            world
                .stored("SELECT count(*) FROM instances WHERE instance_id = 'x'")
                .as_deref(),
            Some("0")
        );
    }
}

#[test]
fn two_edits_at_the_same_moment_both_take_effect() {
    for seed in 0..50 {
        let world = common::world_with(reference_native::Options {
            seed,
            ..Default::default()
        });
        let edit = |provider: &str| {
            let body = json!({ "config": { "rate_limits": { provider: { "rpm": 7 } } } });
            (
                Service::Config,
                reference_core::http::Request::new("PATCH", "/instance/production")
                    .bearer(&world.admin)
                    .json(&body),
            )
        };
        let answers = world.system.handle_all(&["a", "b", "c", "d"].map(edit));
        assert!(answers.iter().all(|answer| answer.status == 200));
        let limits = ok(world.get("/instance/production", &world.admin))["rate_limits"].clone();
        assert!(
            ["a", "b", "c", "d"]
                .iter()
                .all(|provider| limits[provider] == json!({ "rpm": 7 })),
            "seed {seed}: {limits}"
        );
    }
}

#[test]
fn instances_show_whom_they_were_given_to() {
    let world = world();
    let guest = world.person("guest@example.com", "user", "example-org");
    let guest_id = world.user_id(&guest);
    let given = ok(world.put(&format!("/instance/production/access/{guest_id}"), &world.admin));
    let admin_id = world.user_id(&world.admin);
    assert_eq!(
        (&given["granted_by"], &given["email"], &given["role"]),
        (&json!(admin_id), &json!("guest@example.com"), &json!("user"))
    );
    world.system.advance_ms(10);
    let again = ok(world.put(&format!("/instance/production/access/{guest_id}"), &world.root));
    assert_eq!(
        (&again["granted_by"], &again["created_at"]),
        (&given["granted_by"], &given["created_at"])
    );
    let mut both = [USER.to_owned(), guest_id.clone()];
    both.sort();
    assert_eq!(
        ok(world.get("/instance/production", &world.admin))["authorized_users"],
        json!(both)
    );
    assert_eq!(
        ok(world.get("/instance/production", &guest))["authorized_users"],
        json!([guest_id])
    );
    assert_eq!(
        ok(world.get("/instance/production", &world.project))["authorized_users"],
        json!([])
    );
    assert_eq!(
        ids(&world.get("/instance/production/access", &world.admin), "user_id"),
        [USER, guest_id.as_str()]
    );
    assert_eq!(
        ok(world.get(&format!("/user/{guest_id}"), &guest))["instances"],
        json!(["production"])
    );
    let gone = ok(world.delete(&format!("/instance/production/access/{guest_id}"), &world.admin));
    assert_eq!(
        (&gone["instance_id"], &gone["user_id"]),
        (&json!("production"), &json!(guest_id))
    );
    refused(
        &world.delete(&format!("/instance/production/access/{guest_id}"), &world.admin),
        404,
        "NOT_FOUND",
    );
    refused(&world.get("/instance/production", &guest), 403, "FORBIDDEN");
    refused(
        &world.put("/instance/production/access/absent", &world.admin),
        404,
        "NOT_FOUND",
    );
    let foreign = world.user_id(&world.other_admin);
    refused(
        &world.put(&format!("/instance/production/access/{foreign}"), &world.root),
        409,
        "CONFLICT",
    );
}

#[test]
fn users_have_roles_that_nobody_gives_to_himself() {
    let world = world();
    let made = world.post(
        "/user",
        &world.admin,
        &json!({ "email": "New@Example.com", "org_id": "example-org" }),
    );
    assert_eq!(
        (made.status, &made.json()["role"], &made.json()["email"]),
        (201, &json!("user"), &json!("new@example.com"))
    );
    let user_id = made.json()["user_id"].as_str().unwrap().to_owned();
    assert_eq!(made.headers.get("location"), Some(format!("/user/{user_id}").as_str()));
    // A superadmin edits superadmins, itself among them.
    let own = json!({ "email": "Chief@Example.com" });
    assert_eq!(
        ok(world.patch(&format!("/user/{ROOT}"), &world.root, &own))["email"],
        "chief@example.com"
    );
    refused(
        &world.post(
            "/user",
            &world.root,
            &json!({ "email": "NEW@example.com", "org_id": "other-org" }),
        ),
        409,
        "CONFLICT",
    );
    refused(
        &world.post(
            "/user",
            &world.admin,
            &json!({ "email": "a@b.cd", "org_id": "example-org", "role": "superadmin" }),
        ),
        403,
        "FORBIDDEN",
    );
    refused(
        &world.post(
            "/user",
            &world.admin,
            &json!({ "email": "a@b.cd", "org_id": "example-org", "role": "king" }),
        ),
        400,
        "VALIDATION_FAILED",
    );
    refused(
        &world.patch(
            &format!("/user/{user_id}"),
            &world.admin,
            &json!({ "role": "superadmin" }),
        ),
        403,
        "FORBIDDEN",
    );
    assert_eq!(
        ok(world.patch(&format!("/user/{user_id}"), &world.admin, &json!({ "role": "admin" })))["role"],
        "admin"
    );
    refused(
        &world.patch(
            &format!("/user/{user_id}"),
            &world.admin,
            &json!({ "email": "user@example.com" }),
        ),
        409,
        "CONFLICT",
    );
    let admin_id = world.user_id(&world.admin);
    refused(
        &world.patch(&format!("/user/{admin_id}"), &world.admin, &json!({ "role": "user" })),
        403,
        "FORBIDDEN",
    );
    refused(
        &world.patch(&format!("/user/{ROOT}"), &world.root, &json!({ "role": "user" })),
        403,
        "FORBIDDEN",
    );
    assert_eq!(
        ok(world.patch(
            &format!("/user/{admin_id}"),
            &world.admin,
            &json!({ "email": "boss@example.com" })
        ))["email"],
        "boss@example.com"
    );
    refused(
        &world.delete(&format!("/user/{admin_id}"), &world.admin),
        409,
        "CONFLICT",
    );
    refused(&world.delete(&format!("/user/{ROOT}"), &world.admin), 403, "FORBIDDEN");
    assert_eq!(
        ok(world.delete(&format!("/user/{user_id}"), &world.admin))["deleted"],
        true
    );
    refused(&world.get(&format!("/user/{user_id}"), &world.admin), 404, "NOT_FOUND");
    let own = ids(&world.get("/user", &world.admin), "user_id");
    assert!(own.contains(&ROOT.to_owned()) && !own.contains(&world.user_id(&world.other_admin)));
}

#[test]
fn a_deleted_user_takes_its_keys_and_access_along() {
    let world = world();
    assert_eq!(world.delete(&format!("/user/{USER}"), &world.admin).status, 200);
    refused(&world.get("/me", &world.user), 401, "AUTH_FAILED");
    assert_eq!(
        ok(world.get("/instance/production", &world.admin))["authorized_users"],
        json!([])
    );
    assert_eq!(
        world
            .stored(&format!("SELECT count(*) FROM api_keys WHERE user_id = '{USER}'"))
            .as_deref(),
        Some("0")
    );
}

#[test]
fn projects_have_names_unique_within_their_instance_and_bounded_settings() {
    let world = world();
    let create = |body: Value| world.post("/project", &world.admin, &body);
    let made = create(json!({ "instance_id": "production", "name": "New", "settings": { "a": 1.0 } }));
    assert_eq!((made.status, &made.json()["settings"]), (201, &json!({ "a": 1 })));
    refused(
        &create(json!({ "instance_id": "production", "name": "New" })),
        409,
        "CONFLICT",
    );
    assert_eq!(
        create(json!({ "instance_id": "development", "name": "New" })).status,
        201
    );
    let nested = |depth: usize| (1..depth).fold(json!({}), |inner, _| json!({ "a": inner }));
    assert_eq!(
        create(json!({ "instance_id": "production", "name": "Deep", "settings": nested(32) })).status,
        201
    );
    refused(
        &create(json!({ "instance_id": "production", "name": "Deeper", "settings": nested(33) })),
        400,
        "VALIDATION_FAILED",
    );
    let listed = |depth: usize| json!({ "a": (2..depth).fold(json!([]), |inner, _| json!([inner])) });
    assert_eq!(
        create(json!({ "instance_id": "production", "name": "Lists", "settings": listed(32) })).status,
        201
    );
    refused(
        &create(json!({ "instance_id": "production", "name": "More lists", "settings": listed(33) })),
        400,
        "VALIDATION_FAILED",
    );
    let sized = |units: usize| json!({ "instance_id": "production", "name": format!("S{units}"), "settings": { "a": "x".repeat(units - 8) } });
    assert_eq!(create(sized(16_384)).status, 201);
    refused(&create(sized(16_385)), 400, "VALIDATION_FAILED");
    refused(
        &create(json!({ "instance_id": "production", "name": "A", "settings": [] })),
        400,
        "VALIDATION_FAILED",
    );
    let project_id = made.json()["project_id"].as_str().unwrap().to_owned();
    let edited = ok(world.patch(
        &format!("/project/{project_id}"),
        &world.admin,
        &json!({ "settings": { "b": null } }),
    ));
    assert_eq!(
        (&edited["settings"], &edited["name"]),
        (&json!({ "b": null }), &json!("New"))
    );
    refused(
        &world.patch(
            &format!("/project/{project_id}"),
            &world.admin,
            &json!({ "name": "Deep" }),
        ),
        409,
        "CONFLICT",
    );
    assert_eq!(
        ids(&world.get("/project", &world.project), "project_id"),
        ["content-forge"]
    );
    assert_eq!(
        ok(world.delete("/project/content-forge", &world.admin))["project_id"],
        "content-forge"
    );
    refused(&world.get("/me", &world.project), 401, "AUTH_FAILED");
}

#[test]
fn keys_are_shown_once_and_revoked_for_ever() {
    let world = world();
    let made = world.post(
        &format!("/user/{USER}/key"),
        &world.user,
        &json!({ "name": " laptop " }),
    );
    let body = made.json();
    let (key, key_id) = (body["key"].as_str().unwrap(), body["key_id"].as_str().unwrap());
    assert_eq!(
        (made.status, made.headers.get("location")),
        (201, Some(format!("/key/{key_id}").as_str()))
    );
    assert_eq!(
        (&body["name"], &body["key_prefix"], &body["created_by"]),
        (&json!("laptop"), &json!(&key[..12]), &json!(USER))
    );
    assert_eq!(
        (&body["user_id"], &body["project_id"], &body["expires_at"]),
        (&json!(USER), &json!(null), &json!(null))
    );
    assert!(reference_core::key::is_well_formed(key));
    let read = ok(world.get(&format!("/key/{key_id}"), &world.user));
    assert!(read.get("key").is_none());
    let everything = world
        .system
        .rows("SELECT * FROM api_keys")
        .into_iter()
        .flatten()
        .flatten()
        .collect::<String>();
    assert!(!everything.contains(key) && everything.contains(&reference_core::key::hash(key)));
    world.system.advance_ms(1000);
    let revoked = ok(world.delete(&format!("/key/{key_id}"), &world.user));
    assert_eq!(revoked["revoked_at"], "2026-01-31T09:30:01.000Z");
    world.system.advance_ms(1000);
    assert_eq!(
        ok(world.delete(&format!("/key/{key_id}"), &world.user))["revoked_at"],
        "2026-01-31T09:30:01.000Z"
    );
    for past in ["2026-01-31T09:30:00.000Z", "2026-02-31T09:30:00.000Z", "tomorrow"] {
        refused(
            &world.post(
                &format!("/user/{USER}/key"),
                &world.user,
                &json!({ "expires_at": past }),
            ),
            400,
            "VALIDATION_FAILED",
        );
    }
    let no_body =
        world.send(&reference_core::http::Request::new("POST", &format!("/user/{USER}/key")).bearer(&world.user));
    assert_eq!((no_body.status, &no_body.json()["name"]), (201, &json!("")));
    let of_project = ids(&world.get("/project/content-forge/key", &world.admin), "key_id");
    refused(
        &world.get(&format!("/key/{}", of_project[0]), &world.user),
        403,
        "FORBIDDEN",
    );
    assert_eq!(
        ok(world.delete(&format!("/key/{}", of_project[0]), &world.admin))["project_id"],
        "content-forge"
    );
    refused(&world.get("/me", &world.project), 401, "AUTH_FAILED");
    let of_root = ids(&world.get(&format!("/user/{ROOT}/key"), &world.root), "key_id");
    refused(
        &world.delete(&format!("/key/{}", of_root[0]), &world.admin),
        403,
        "FORBIDDEN",
    );
}

#[test]
fn a_deleted_instance_takes_all_along_but_the_usage() {
    let world = world();
    let usage = "INSERT INTO usage_logs (log_id, org_id, instance_id, project_id, user_id, request_id, timestamp, provider, model, created_at) \
        VALUES ('u1', 'example-org', 'production', 'content-forge', NULL, 'r', '2026-01-31T09:00:00.000Z', 'ideogram', 'm', '2026-01-31T09:00:00.000Z')";
    world.system.write(usage).unwrap();
    assert_eq!(
        ok(world.delete("/instance/production", &world.admin))["instance_id"],
        "production"
    );
    refused(&world.get("/project/content-forge", &world.admin), 404, "NOT_FOUND");
    refused(&world.get("/me", &world.project), 401, "AUTH_FAILED");
    let left = world
        .system
        .rows("SELECT org_id, instance_id, project_id FROM usage_logs");
    assert_eq!(left, [[Some("example-org".to_owned()), None, None]]);
    world.delete("/instance/development", &world.admin);
    refused(&world.delete("/organization/example-org", &world.root), 409, "CONFLICT");
}
