//! What holds for every answer of the Config Service: credentials, the order of refusals, headers, lists.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod common;

use common::{ROOT, USER, ids, refused, world};
use reference_core::http::Request;
use reference_native::Faults;
use serde_json::json;

#[test]
fn health_needs_no_credential_and_says_when_the_database_is_down() {
    let world = world();
    let well = world.send(&Request::new("GET", "/health"));
    assert_eq!((well.status, well.json()["status"].as_str()), (200, Some("ok")));
    world.system.set_faults(Faults {
        is_database_down: true,
        ..Faults::default()
    });
    refused(&world.send(&Request::new("GET", "/health")), 500, "INTERNAL_ERROR");
    refused(&world.get("/me", &world.root), 500, "INTERNAL_ERROR");
}

#[test]
fn every_answer_carries_its_id_and_the_common_headers() {
    let world = world();
    let own = "0BADC0DE-0000-4000-8000-00000000ABCD";
    for (sent, kept) in [(Some(own), true), (Some("not-a-uuid"), false), (None, false)] {
        let mut request = Request::new("GET", "/nowhere");
        if let Some(sent) = sent {
            request = request.header("X-Request-ID", sent);
        }
        let answer = world.send(&request);
        refused(&answer, 404, "NOT_FOUND");
        let id = answer.headers.get("x-request-id").unwrap();
        assert_eq!(id == own.to_ascii_lowercase(), kept);
        assert!(reference_core::id::is_uuid(id));
        assert_eq!(
            answer.headers.get("content-type"),
            Some("application/json; charset=utf-8")
        );
        assert_eq!(answer.headers.get("cache-control"), Some("no-store"));
        assert_eq!(answer.headers.get("x-content-type-options"), Some("nosniff"));
    }
}

#[test]
fn credentials_that_are_missing_malformed_unknown_revoked_or_expired_are_refused() {
    let world = world();
    let me = |header: Option<&str>| {
        let request = Request::new("GET", "/me");
        world.send(&match header {
            Some(value) => request.header("Authorization", value),
            None => request,
        })
    };
    assert_eq!(me(Some(&format!("bEaReR {}", world.root))).status, 200);
    refused(&me(Some(&format!("Basic {}", world.root))), 401, "AUTH_FAILED");
    let mistyped = format!("{}x", &world.root[..52]);
    let unknown = format!("mas_{}1yhBtb", "0".repeat(43));
    for wrong in [
        None,
        Some(""),
        Some("Bearer"),
        Some("Bearer "),
        Some("Basic abc"),
        Some(world.root.as_str()),
        Some("Bearer a b"),
    ] {
        let answer = me(wrong);
        refused(&answer, 401, "AUTH_FAILED");
        assert_eq!(answer.headers.get("www-authenticate"), Some("Bearer"));
    }
    for wrong in [mistyped.as_str(), &unknown, "anything", &"t".repeat(32)] {
        refused(&world.get("/me", wrong), 401, "AUTH_FAILED");
    }
    let made = world
        .post(
            &format!("/user/{ROOT}/key"),
            &world.root,
            &json!({ "expires_at": "2026-01-31T09:30:10.000Z" }),
        )
        .json();
    let (key, key_id) = (made["key"].as_str().unwrap(), made["key_id"].as_str().unwrap());
    assert_eq!(world.get("/me", key).status, 200);
    world.system.advance_ms(9_999);
    assert_eq!(world.get("/me", key).status, 200);
    world.system.advance_ms(1);
    refused(&world.get("/me", key), 401, "AUTH_FAILED");
    let made = world.post(&format!("/user/{ROOT}/key"), &world.root, &json!({})).json();
    let (other, other_id) = (made["key"].as_str().unwrap(), made["key_id"].as_str().unwrap());
    assert_eq!(world.delete(&format!("/key/{other_id}"), &world.root).status, 200);
    refused(&world.get("/me", other), 401, "AUTH_FAILED");
    let listed = ids(&world.get(&format!("/user/{ROOT}/key"), &world.root), "key_id");
    assert!(listed.iter().any(|id| id == key_id) && listed.iter().any(|id| id == other_id));
}

#[test]
fn a_mistyped_key_is_refused_without_the_database() {
    let world = world();
    world.system.set_faults(Faults {
        is_database_down: true,
        ..Faults::default()
    });
    refused(
        &world.get("/me", &format!("{}x", &world.root[..52])),
        401,
        "AUTH_FAILED",
    );
}

#[test]
fn the_service_token_is_no_caller_when_it_is_short_or_missing() {
    let world = world();
    assert_eq!(world.get("/instance", &world.service).status, 200);
    refused(&world.get("/me", &world.service), 403, "FORBIDDEN");
    world
        .system
        .change_settings(|settings| settings.service_token = Some("t".repeat(31)));
    refused(&world.get("/instance", &"t".repeat(31)), 401, "AUTH_FAILED");
    world.system.change_settings(|settings| settings.service_token = None);
    refused(&world.get("/instance", &world.service), 401, "AUTH_FAILED");
}

#[test]
fn the_use_of_a_key_is_noted_once_a_minute_and_after_the_answer() {
    let world = world();
    let me = world.get("/me", &world.user).json();
    let key_id = me["key_id"].as_str().unwrap();
    let last_used = || world.stored(&format!("SELECT last_used_at FROM api_keys WHERE key_id = '{key_id}'"));
    assert_eq!(last_used().as_deref(), Some("2026-01-31T09:30:00.000Z"));
    world.system.advance_ms(59_999);
    world.get("/me", &world.user);
    assert_eq!(last_used().as_deref(), Some("2026-01-31T09:30:00.000Z"));
    world.system.advance_ms(1);
    let shown = world.get(&format!("/key/{key_id}"), &world.user).json();
    assert_eq!(
        shown["last_used_at"], "2026-01-31T09:30:00.000Z",
        "the answer shows what was before it"
    );
    assert_eq!(last_used().as_deref(), Some("2026-01-31T09:31:00.000Z"));
}

#[test]
fn the_first_refusal_of_the_order_decides() {
    let world = world();
    let bad = json!({ "nonsense": true });
    // Path before method before credential before role before resource before body before resources in it.
    refused(&world.send(&Request::new("POST", "/nowhere")), 404, "NOT_FOUND");
    refused(&world.get("/instance/", &world.root), 404, "NOT_FOUND");
    // Where an identifier is empty there is nothing that a method could be wrong for.
    for target in [
        "/organization/",
        "/instance/",
        "/instance//access",
        "/instance//access/nobody",
        "/instance/production/access/",
        "/user/",
        "/user//key",
        "/project/",
        "/project//key",
        "/key/",
    ] {
        refused(&world.send(&Request::new("TRACE", target)), 404, "NOT_FOUND");
    }
    let wrong_method = world.send(&Request::new("PUT", "/instance/production"));
    refused(&wrong_method, 405, "METHOD_NOT_ALLOWED");
    assert_eq!(wrong_method.headers.get("allow"), Some("DELETE, GET, HEAD, PATCH"));
    refused(
        &world.send(&Request::new("POST", "/organization").json(&bad)),
        401,
        "AUTH_FAILED",
    );
    refused(&world.post("/organization", &world.admin, &bad), 403, "FORBIDDEN");
    refused(&world.patch("/instance/absent", &world.user, &bad), 403, "FORBIDDEN");
    refused(&world.patch("/instance/absent", &world.admin, &bad), 404, "NOT_FOUND");
    refused(
        &world.patch("/instance/NOT-AN-ID", &world.admin, &bad),
        404,
        "NOT_FOUND",
    );
    refused(
        &world.patch("/instance/elsewhere", &world.admin, &bad),
        403,
        "FORBIDDEN",
    );
    let mut large = Request::new("PATCH", "/instance/elsewhere")
        .bearer(&world.admin)
        .json(&json!({ "name": "x".repeat(70_000) }));
    refused(&world.send(&large), 403, "FORBIDDEN");
    large.path = "/instance/production".to_owned();
    refused(&world.send(&large), 413, "PAYLOAD_TOO_LARGE");
    refused(
        &world.post("/project", &world.admin, &json!({ "instance_id": "absent", "name": 1 })),
        400,
        "VALIDATION_FAILED",
    );
    refused(
        &world.post(
            "/project",
            &world.admin,
            &json!({ "instance_id": "absent", "name": "n" }),
        ),
        404,
        "NOT_FOUND",
    );
    refused(
        &world.post(
            "/project",
            &world.admin,
            &json!({ "instance_id": "elsewhere", "name": "n" }),
        ),
        403,
        "FORBIDDEN",
    );
    let taken = json!({ "instance_id": "production", "project_id": "playground", "name": "n" });
    refused(&world.post("/project", &world.admin, &taken), 409, "CONFLICT");
}

#[test]
fn bodies_are_json_objects_of_known_fields_within_64_kib() {
    let world = world();
    let send = |body: &[u8], media_type: Option<&str>| {
        let mut request = Request::new("PATCH", "/organization/example-org").bearer(&world.root);
        request.body = body.to_vec();
        if let Some(media_type) = media_type {
            request = request.header("content-type", media_type);
        }
        world.send(&request)
    };
    let json = Some("application/json");
    assert_eq!(
        send(br#"{"name":"New"}"#, Some("Application/JSON; charset=utf-8")).status,
        200
    );
    for (body, media_type) in [
        (&b"{\"name\":\"New\"}"[..], None),
        (b"{\"name\":\"New\"}", Some("text/plain")),
        (b"{\"name\":\"New\"", json),
        (b"", json),
        (b"[]", json),
        (b"null", json),
        (b"{}", json),
        (b"{\"name\":\"New\",\"more\":1}", json),
        (b"{\"name\":null}", json),
        (b"\xff", json),
    ] {
        refused(&send(body, media_type), 400, "VALIDATION_FAILED");
    }
    let padded = |length: usize| format!("{{\"name\":\"New\"}}{}", " ".repeat(length - 14));
    assert_eq!(send(padded(65_536).as_bytes(), json).status, 200);
    refused(&send(padded(65_537).as_bytes(), json), 413, "PAYLOAD_TOO_LARGE");
}

#[test]
fn head_is_get_without_a_body() {
    let world = world();
    let head = world.send(&Request::new("HEAD", "/instance/production").bearer(&world.root));
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.headers.get("x-request-id").is_some());
    assert_eq!(
        world
            .send(&Request::new("HEAD", "/instance/absent").bearer(&world.root))
            .status,
        404
    );
}

#[test]
fn listed_origins_may_read_answers_and_ask_before() {
    let world = world();
    world
        .system
        .change_settings(|settings| settings.allowed_origins = Some("https://a.example, https://b.example".to_owned()));
    let ask = |origin: &str| {
        world.send(
            &Request::new("OPTIONS", "/me")
                .header("Origin", origin)
                .header("Access-Control-Request-Method", "GET"),
        )
    };
    let welcome = ask("https://b.example");
    assert_eq!((welcome.status, welcome.body.len()), (204, 0));
    assert_eq!(
        welcome.headers.get("access-control-allow-origin"),
        Some("https://b.example")
    );
    assert_eq!(
        welcome.headers.get("access-control-allow-methods"),
        Some("GET, HEAD, POST, PATCH, PUT, DELETE, OPTIONS")
    );
    assert_eq!(
        welcome.headers.get("access-control-allow-headers"),
        Some("Authorization, Content-Type, X-Request-ID, X-Instance-ID")
    );
    assert_eq!(welcome.headers.get("access-control-max-age"), Some("86400"));
    let stranger = ask("https://c.example");
    assert_eq!(stranger.status, 204);
    assert!(
        stranger
            .headers
            .iter()
            .all(|(name, _)| !name.starts_with("access-control"))
    );
    let read = world.send(
        &Request::new("GET", "/me")
            .bearer(&world.root)
            .header("Origin", "https://a.example"),
    );
    assert_eq!(read.headers.get("vary"), Some("Origin"));
    assert_eq!(
        read.headers.get("access-control-expose-headers"),
        Some("X-Request-ID, Retry-After")
    );
    assert!(read.headers.get("access-control-allow-credentials").is_none());
    let unread = world.send(
        &Request::new("GET", "/me")
            .bearer(&world.root)
            .header("Origin", "https://a.example.evil"),
    );
    assert!(unread.headers.get("access-control-allow-origin").is_none());
    refused(&world.send(&Request::new("OPTIONS", "/me")), 405, "METHOD_NOT_ALLOWED");
}

#[test]
fn pages_neither_repeat_nor_hide_what_others_add_or_remove() {
    let world = world();
    for index in 0..7 {
        // Several in one millisecond.
        world.system.advance_ms(u64::from(index % 3 == 0));
        let made = world.post(
            "/project",
            &world.admin,
            &json!({ "instance_id": "production", "name": format!("P{index}"), "project_id": format!("p-{index}") }),
        );
        assert_eq!(made.status, 201);
    }
    let all = ids(&world.get("/project", &world.admin), "project_id");
    assert_eq!(
        all,
        [
            "content-forge",
            "playground",
            "p-0",
            "p-1",
            "p-2",
            "p-3",
            "p-4",
            "p-5",
            "p-6"
        ]
    );
    let mut seen = Vec::new();
    let mut target = "/project?limit=2".to_owned();
    loop {
        let page = world.get(&target, &world.admin);
        assert!(
            !ids(&page, "project_id").is_empty(),
            "the last page says that it is the last"
        );
        seen.extend(ids(&page, "project_id"));
        if seen.len() == 4 {
            assert_eq!(
                world.delete("/project/p-1", &world.admin).status,
                200,
                "behind the cursor"
            );
            assert_eq!(
                world.delete("/project/p-3", &world.admin).status,
                200,
                "before the cursor"
            );
        }
        let Some(cursor) = page.json()["next_cursor"].as_str().map(str::to_owned) else {
            break;
        };
        target = format!("/project?limit=2&cursor={cursor}");
    }
    assert_eq!(
        seen,
        ["content-forge", "playground", "p-0", "p-1", "p-2", "p-4", "p-5", "p-6"]
    );
    for wrong in ["limit=0", "limit=101", "limit=0050", "limit=x", "cursor=x"] {
        refused(
            &world.get(&format!("/project?{wrong}"), &world.admin),
            400,
            "VALIDATION_FAILED",
        );
    }
    assert_eq!(world.get("/project?unknown=1", &world.admin).status, 200);
}

#[test]
fn me_tells_who_calls_and_what_that_allows() {
    let world = world();
    let root = world.get("/me", &world.root).json();
    assert_eq!(
        (root["user_id"].as_str(), root["role"].as_str(), root["org_id"].as_str()),
        (Some(ROOT), Some("superadmin"), Some("example-org"))
    );
    assert_eq!(root["instances"], json!(["development", "production"]));
    assert!(
        root["permissions"]
            .as_array()
            .unwrap()
            .contains(&json!("organization:create"))
    );
    let user = world.get("/me", &world.user).json();
    assert_eq!(
        (user["user_id"].as_str(), user["instances"].clone()),
        (Some(USER), json!(["production"]))
    );
    assert_eq!(
        user["permissions"],
        json!([
            "image:generate",
            "instance:read",
            "key:write",
            "project:read",
            "user:read"
        ])
    );
    let project = world.get("/me", &world.project).json();
    assert_eq!(
        (&project["user_id"], &project["email"], project["role"].as_str()),
        (&json!(null), &json!(null), Some("user"))
    );
    assert_eq!(
        (project["project_id"].as_str(), project["org_id"].as_str()),
        (Some("content-forge"), Some("example-org"))
    );
    assert_eq!(
        project["permissions"],
        json!(["image:generate", "instance:read", "project:read"])
    );
    let admin = world.get("/me", &world.other_admin).json();
    assert_eq!(admin["instances"], json!(["elsewhere"]));
}
