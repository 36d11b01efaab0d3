//! `POST /generate`: what it answers, what it leaves behind, and the order in which it refuses.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod common;

use common::{PROVIDER_KEY, World, refused, world};
use reference_core::http::Request;
use reference_core::ports::ObjectKind;
use reference_native::mock::{Fault, Place, Plan};
use reference_native::{Faults, Service};
use serde_json::{Value, json};

fn ready() -> World {
    let world = world();
    world.configure("production", &json!({}));
    world
}

#[test]
fn health_needs_no_credential() {
    let answer = ready().image(&Request::new("GET", "/health"));
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("ok")));
}

#[test]
fn an_image_is_generated_stored_served_paid_for_and_logged() {
    for model in ["ideogram-4-5", "ideogram-v4", "ideogram-v3", "ideogram-v2"] {
        let world = ready();
        let body = json!({ "prompt": "  a \"cat\" 🐈\r\n--on a mat ", "model": model, "project_id": "content-forge" });
        let answer = world.generate(&world.user, &body);
        let fields = answer.json();
        assert_eq!(answer.status, 200, "{model}: {fields}");
        assert_eq!(fields["success"], true);
        let metadata = &fields["metadata"];
        assert_eq!(
            (&metadata["provider"], &metadata["model"], &metadata["dimensions"]),
            (&json!("ideogram"), &json!(model), &json!("1024x1024"))
        );
        assert!(metadata["generation_time_ms"].is_u64());
        let path = fields["r2_path"].as_str().unwrap();
        assert!(
            path.starts_with("production/content-forge/17698518") && path.ends_with(".png"),
            "{path}"
        );
        assert_eq!(fields["image_url"], format!("http://127.0.0.1/images/{path}"));
        let image = world.image(&Request::new("GET", &format!("/images/{path}")));
        assert_eq!(
            (image.status, image.headers.get("content-type")),
            (200, Some("image/png"))
        );
        assert!(image.body.starts_with(b"\x89PNG"));
        let usage = world.system.rows("SELECT org_id, instance_id, project_id, user_id, request_id, provider, model, tokens_used, cost > 0 FROM usage_logs");
        let text = |value: &str| Some(value.to_owned());
        let request_id = fields["request_id"].as_str().unwrap();
        assert_eq!(
            usage,
            [[
                text("example-org"),
                text("production"),
                text("content-forge"),
                text(common::USER),
                text(request_id),
                text("ideogram"),
                text(model),
                text("0"),
                text("1")
            ]]
        );
        world.system.advance_ms(10_000);
        let entries = world.get("/logs", &world.root).json()["items"].clone();
        assert_eq!(entries.as_array().unwrap().len(), 1);
        let entry = &entries[0];
        assert_eq!(
            (&entry["level"], &entry["message"], &entry["component"]),
            (&json!("INFO"), &json!("request completed"), &json!("image-gen-worker"))
        );
        assert_eq!(
            (&entry["request_id"], &entry["instance_id"], &entry["user_id"]),
            (&fields["request_id"], &json!("production"), &json!(common::USER))
        );
        let metadata = entry["metadata"].as_object().unwrap();
        assert!(metadata["duration_ms"].is_u64());
        let known: Vec<(&str, &Value)> = metadata
            .iter()
            .filter(|(name, _)| *name != "duration_ms")
            .map(|(name, value)| (name.as_str(), value))
            .collect();
        let expected = json!({ "config_source": "fetched", "event": "request", "method": "POST", "model": model, "provider": "ideogram", "provider_attempts": 1, "route": "/generate", "status": 200 });
        assert_eq!(
            known,
            expected
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.as_str(), value))
                .collect::<Vec<_>>()
        );
        let stored = world.system.rows("SELECT metadata FROM native_blobs")[0][0]
            .clone()
            .unwrap();
        assert!(
            stored.contains(r#"["prompt","a \"cat\" 🐈\r\n--on a mat"]"#)
                && stored.contains(r#"["project_id","content-forge"]"#),
            "{stored}"
        );
    }
}

#[test]
fn secrets_are_nowhere_but_where_they_belong() {
    let world = ready();
    world.generate(&world.user, &json!({ "prompt": "very private words" }));
    world.generate(&world.user, &json!({ "prompt": "very private words [[status-500]]" }));
    world.system.advance_ms(10_000);
    let stored: String = [
        "api_keys",
        "instances",
        "logs",
        "native_kv",
        "native_objects",
        "usage_logs",
        "native_blobs",
    ]
    .map(|table| format!("{:?}", world.system.rows(&format!("SELECT * FROM {table}"))))
    .concat();
    for secret in [PROVIDER_KEY, &world.user, &world.service] {
        assert!(!stored.contains(secret));
    }
    let log = format!("{:?}", world.system.rows("SELECT * FROM logs"));
    assert!(!log.contains("private") && !log.contains("http") && log.contains("PROVIDER_ERROR"));
}

#[test]
fn the_order_of_refusals_is_that_of_the_contract() {
    let world = ready();
    let key = &world.user;
    let good = json!({ "prompt": "a cat" });
    // 1. What the request says by itself, before the credential.
    let mut large = good.clone();
    large["prompt"] = "x".repeat(70_000).into();
    refused(&world.generate("wrong", &large), 413, "PAYLOAD_TOO_LARGE");
    for wrong in [
        json!({}),
        json!({ "prompt": " " }),
        json!({ "prompt": "x".repeat(10_001) }),
        json!({ "prompt": 1 }),
        json!({ "prompt": "a", "model": "ideogram-v9" }),
        json!({ "prompt": "a", "provider": "nobody" }),
        json!({ "prompt": "a", "instance_id": "NOT AN ID" }),
        json!({ "prompt": "a", "project_id": null }),
        json!({ "prompt": "a", "request_id": "not-a-uuid" }),
        json!({ "prompt": "a", "seed": 1 }),
    ] {
        refused(&world.generate("wrong", &wrong), 400, "VALIDATION_FAILED");
    }
    let contradiction = Request::new("POST", "/generate")
        .header("X-Instance-ID", "development")
        .json(&json!({ "prompt": "a", "instance_id": "production" }));
    refused(&world.image(&contradiction), 400, "VALIDATION_FAILED");
    // 2. The credential.
    refused(
        &world.image(&Request::new("POST", "/generate").json(&good)),
        401,
        "AUTH_FAILED",
    );
    refused(
        &world.generate("wrong", &json!({ "prompt": "a", "api_key": key })),
        401,
        "AUTH_FAILED",
    );
    refused(&world.generate(&world.service, &good), 401, "AUTH_FAILED");
    assert_eq!(
        world
            .image(&Request::new("POST", "/generate").json(&json!({ "prompt": "a", "api_key": key })))
            .status,
        200
    );
    // 3. and 4. Project and instance.
    refused(
        &world.generate(
            key,
            &json!({ "prompt": "a", "project_id": "absent", "instance_id": "absent" }),
        ),
        404,
        "NOT_FOUND",
    );
    refused(
        &world.generate(
            key,
            &json!({ "prompt": "a", "project_id": "playground", "instance_id": "production" }),
        ),
        400,
        "VALIDATION_FAILED",
    );
    refused(&world.generate(&world.admin, &good), 400, "VALIDATION_FAILED");
    refused(
        &world.generate(key, &json!({ "prompt": "a", "instance_id": "absent" })),
        404,
        "NOT_FOUND",
    );
    let by_header = |id: &str| {
        Request::new("POST", "/generate")
            .bearer(key)
            .header("X-Instance-ID", id)
            .json(&good)
    };
    refused(&world.image(&by_header("NOT AN ID")), 404, "NOT_FOUND");
    assert_eq!(world.image(&by_header("production")).status, 200);
    refused(
        &world.generate(key, &json!({ "prompt": "a", "instance_id": "development" })),
        403,
        "FORBIDDEN",
    );
    refused(
        &world.generate(key, &json!({ "prompt": "a", "project_id": "playground" })),
        403,
        "FORBIDDEN",
    );
    let another = world.post(
        "/project",
        &world.admin,
        &json!({ "instance_id": "production", "name": "Another", "project_id": "another" }),
    );
    assert_eq!(another.status, 201);
    refused(
        &world.generate(&world.project, &json!({ "prompt": "a", "project_id": "another" })),
        403,
        "FORBIDDEN",
    );
    let both = json!({ "prompt": "a", "instance_id": "production", "project_id": "content-forge" });
    assert_eq!(
        world.generate(&world.project, &both).status,
        200,
        "the project lies in it"
    );
    let own = world.generate(&world.project, &good);
    assert!(
        own.json()["r2_path"]
            .as_str()
            .unwrap()
            .starts_with("production/content-forge/"),
        "{}",
        own.json()
    );
    // 6. The provider's key.
    refused(
        &world.generate(&world.admin, &json!({ "prompt": "a", "instance_id": "development" })),
        400,
        "VALIDATION_FAILED",
    );
    refused(
        &world.image(&Request::new("GET", "/generate")),
        405,
        "METHOD_NOT_ALLOWED",
    );
    // Where a part of the path is empty there is nothing that a method could be wrong for.
    for target in [
        "/jobs/",
        "/images//default/a.png",
        "/images/production//a.png",
        "/images/production/default/",
    ] {
        refused(&world.image(&Request::new("TRACE", target)), 404, "NOT_FOUND");
    }
}

#[test]
fn the_only_instance_within_reach_is_meant() {
    let world = ready();
    assert!(
        world.generate(&world.user, &json!({ "prompt": "a" })).json()["r2_path"]
            .as_str()
            .unwrap()
            .starts_with("production/default/")
    );
    world.configure("elsewhere", &json!({}));
    assert!(
        world.generate(&world.other_admin, &json!({ "prompt": "a" })).json()["r2_path"]
            .as_str()
            .unwrap()
            .starts_with("elsewhere/default/")
    );
}

#[test]
fn a_limit_of_ten_admits_ten_of_fifty_at_the_same_moment() {
    for seed in 0..20 {
        let world = common::world_with(reference_native::Options {
            seed,
            mock: reference_native::mock::Options {
                images_in_flight_max: 100,
                ..Default::default()
            },
            ..Default::default()
        });
        world.configure("production", &json!({ "rate_limits": { "ideogram": { "rpm": 10 } } }));
        let one = || {
            (
                Service::Image,
                Request::new("POST", "/generate")
                    .bearer(&world.user)
                    .json(&json!({ "prompt": "a cat", "model": "ideogram-v2" })),
            )
        };
        let requests: Vec<_> = (0..50).map(|_| one()).collect();
        let answers = world.system.handle_all(&requests);
        let admitted = answers.iter().filter(|answer| answer.status == 200).count();
        let refusals: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
        assert_eq!((admitted, refusals.len(), world.orders()), (10, 40, 10), "seed {seed}");
        refusals.iter().for_each(|answer| refused(answer, 429, "RATE_LIMITED"));
        assert!(
            refusals
                .iter()
                .all(|answer| answer.headers.get("retry-after") == Some("60"))
        );
        world.system.advance_ms(59_000);
        assert_eq!(
            world.system.handle_all(&[one()])[0].headers.get("retry-after"),
            Some("1")
        );
        world.system.advance_ms(1_000);
        assert_eq!(world.system.handle_all(&[one()])[0].status, 200);
    }
}

#[test]
fn without_a_limiter_nothing_is_admitted_and_without_a_breaker_all_goes_on() {
    let world = ready();
    world.system.set_faults(Faults {
        objects_down: vec![ObjectKind::RateLimiter],
        ..Faults::default()
    });
    refused(
        &world.generate(&world.user, &json!({ "prompt": "a" })),
        500,
        "INTERNAL_ERROR",
    );
    assert_eq!(world.orders(), 0);
    world.system.set_faults(Faults {
        objects_down: vec![ObjectKind::CircuitBreaker, ObjectKind::LogBuffer],
        ..Faults::default()
    });
    assert_eq!(world.generate(&world.user, &json!({ "prompt": "a" })).status, 200);
}

#[test]
fn what_the_provider_answers_becomes_what_we_answer() {
    for (fault, status, code, orders) in [
        (Fault::Status(422), 422, "PROVIDER_REJECTED", 1),
        (Fault::Unsafe, 422, "PROVIDER_REJECTED", 1),
        (
            Fault::Failed("failed for safety".to_owned()),
            422,
            "PROVIDER_REJECTED",
            1,
        ),
        (Fault::Failed("internal".to_owned()), 502, "PROVIDER_ERROR", 1),
        (Fault::Status(400), 502, "PROVIDER_ERROR", 1),
        (Fault::Status(401), 502, "PROVIDER_ERROR", 1),
        (Fault::Status(402), 502, "PROVIDER_ERROR", 1),
        (Fault::Status(403), 502, "PROVIDER_ERROR", 1),
        (Fault::Status(500), 502, "PROVIDER_ERROR", 3),
        (Fault::Status(503), 502, "PROVIDER_ERROR", 3),
        (Fault::Drop, 502, "PROVIDER_ERROR", 3),
        (Fault::Malformed, 502, "PROVIDER_ERROR", 3),
        (Fault::Busy(None), 429, "RATE_LIMITED", 3),
    ] {
        let world = ready();
        world.system.mock().plan(Plan {
            place: Place::Order,
            fault: fault.clone(),
            times: 3,
        });
        let answer = world.generate(&world.user, &json!({ "prompt": "a cat" }));
        refused(&answer, status, code);
        assert_eq!(world.orders(), orders, "{fault:?}");
        assert_eq!(answer.headers.get("retry-after").is_some(), status == 429, "{fault:?}");
        assert_eq!(world.stored("SELECT count(*) FROM usage_logs").as_deref(), Some("0"));
        world.system.advance_ms(10_000);
        let entry = world.get("/logs", &world.root).json()["items"][0].clone();
        assert_eq!(
            (&entry["metadata"]["code"], &entry["metadata"]["provider_attempts"]),
            (&json!(code), &json!(orders))
        );
        assert_eq!(entry["level"], if status < 500 { "WARN" } else { "ERROR" });
    }
}

#[test]
fn accidents_are_tried_again_and_busy_providers_are_left_alone_for_their_time() {
    let world = ready();
    for fault in [Fault::Status(500), Fault::Drop] {
        world.system.mock().plan(Plan::once(Place::Order, fault));
    }
    assert_eq!(world.generate(&world.user, &json!({ "prompt": "a cat" })).status, 200);
    assert_eq!(world.orders(), 3);
    let world = ready();
    world.system.mock().plan(Plan::once(Place::Order, Fault::Busy(Some(7))));
    let before = world.system.now_ms();
    assert_eq!(
        world
            .generate(&world.user, &json!({ "prompt": "a cat", "model": "ideogram-v2" }))
            .status,
        200
    );
    assert_eq!(world.system.now_ms() - before, 7000);
    world
        .system
        .mock()
        .plan(Plan::once(Place::Order, Fault::Busy(Some(61))));
    let answer = world.generate(&world.user, &json!({ "prompt": "a cat" }));
    refused(&answer, 429, "RATE_LIMITED");
    assert_eq!(answer.headers.get("retry-after"), Some("61"));
}

#[test]
fn five_failures_in_a_row_open_the_circuit_of_this_instance_alone() {
    let world = ready();
    world.configure("elsewhere", &json!({}));
    world.system.mock().plan(Plan {
        place: Place::Order,
        fault: Fault::Status(500),
        times: 5,
    });
    refused(
        &world.generate(&world.user, &json!({ "prompt": "a" })),
        502,
        "PROVIDER_ERROR",
    );
    let opened = world.generate(&world.user, &json!({ "prompt": "a" }));
    refused(&opened, 502, "PROVIDER_ERROR");
    assert_eq!((world.orders(), opened.headers.get("retry-after")), (5, Some("30")));
    world.system.advance_ms(10_000);
    let at_once = world.generate(&world.user, &json!({ "prompt": "a" }));
    assert_eq!(
        (at_once.status, world.orders(), at_once.headers.get("retry-after")),
        (502, 5, Some("20"))
    );
    assert_eq!(
        world.generate(&world.other_admin, &json!({ "prompt": "a" })).status,
        200
    );
    world.system.advance_ms(20_000);
    assert_eq!(world.generate(&world.user, &json!({ "prompt": "a" })).status, 200);
}

#[test]
fn images_that_cannot_be_had_are_the_providers_fault() {
    for (fault, times, status, fetches) in [
        (Fault::Status(500), 2, 200, 3),
        (Fault::Drop, 1, 200, 2),
        (Fault::Status(404), 9, 502, 3),
        (Fault::Weighs(20 * 1024 * 1024), 1, 200, 1),
        (Fault::Weighs(20 * 1024 * 1024 + 1), 1, 502, 1),
        (Fault::NotAnImage, 1, 502, 1),
        (Fault::Hang, 1, 504, 1),
    ] {
        let world = ready();
        world.system.mock().plan(Plan {
            place: Place::Image,
            fault: fault.clone(),
            times,
        });
        let answer = world.generate(&world.user, &json!({ "prompt": "a cat" }));
        assert_eq!(
            (answer.status, world.orders(), world.calls("GET", "/api/images")),
            (status, 1, fetches),
            "{fault:?}"
        );
        assert_eq!(
            world.stored("SELECT count(*) FROM usage_logs").as_deref(),
            Some(if status == 200 { "1" } else { "0" })
        );
    }
}

#[test]
fn the_bucket_of_the_instance_is_used_if_it_is_bound() {
    for (bound, expected) in [(true, "cats"), (false, "")] {
        let buckets = if bound { vec!["cats".to_owned()] } else { Vec::new() };
        let world = common::world_with(reference_native::Options {
            buckets,
            ..Default::default()
        });
        world.configure("production", &json!({ "r2_bucket": "cats" }));
        world
            .system
            .change_settings(|settings| settings.image_base_url = Some("https://cdn.example/{bucket}/".to_owned()));
        let fields = world.generate(&world.user, &json!({ "prompt": "a" })).json();
        let path = fields["r2_path"].as_str().unwrap();
        assert_eq!(
            fields["image_url"],
            format!("https://cdn.example/{}/{path}", if bound { "cats" } else { "images" })
        );
        assert_eq!(
            world.stored("SELECT bucket FROM native_blobs").as_deref(),
            Some(expected)
        );
        assert_eq!(
            world.image(&Request::new("GET", &format!("/images/{path}"))).status,
            200
        );
    }
}

#[test]
fn images_are_served_whole_in_part_or_not_again() {
    let world = ready();
    let path = world.generate(&world.user, &json!({ "prompt": "a" })).json()["r2_path"]
        .as_str()
        .unwrap()
        .to_owned();
    let target = format!("/images/{path}");
    let whole = world.image(&Request::new("GET", &target));
    let (etag, size) = (whole.headers.get("etag").unwrap().to_owned(), whole.body.len());
    assert!(etag.starts_with('"') && etag.ends_with('"'));
    assert_eq!(
        whole.headers.get("cache-control"),
        Some("public, max-age=31536000, immutable")
    );
    assert_eq!(whole.headers.get("content-length"), Some(size.to_string().as_str()));
    assert_eq!(whole.headers.get("x-content-type-options"), Some("nosniff"));
    assert!(whole.headers.get("x-request-id").is_some());
    let head = world.image(&Request::new("HEAD", &target));
    assert_eq!(
        (head.status, head.body.len(), head.headers.get("content-length")),
        (200, 0, Some(size.to_string().as_str()))
    );
    let part = world.image(&Request::new("GET", &target).header("Range", "bytes=1-3"));
    assert_eq!((part.status, part.body.as_slice()), (206, &b"PNG"[..]));
    assert_eq!(
        part.headers.get("content-range"),
        Some(format!("bytes 1-3/{size}").as_str())
    );
    let outside = world.image(&Request::new("GET", &target).header("Range", &format!("bytes={size}-")));
    refused(&outside, 416, "VALIDATION_FAILED");
    assert_eq!(
        outside.headers.get("content-range"),
        Some(format!("bytes */{size}").as_str())
    );
    assert_eq!(outside.headers.get("cache-control"), Some("no-store"));
    let again = world.image(
        &Request::new("GET", &target)
            .header("If-None-Match", &etag)
            .header("Range", &format!("bytes={size}-")),
    );
    assert_eq!(
        (again.status, again.body.len(), again.headers.get("etag")),
        (304, 0, Some(etag.as_str()))
    );
    for absent in [
        "/images/production/default/absent.png",
        "/images/production/default",
        "/images/a/b/c/d",
        "/images/",
    ] {
        refused(&world.image(&Request::new("GET", absent)), 404, "NOT_FOUND");
    }
    world
        .system
        .write("UPDATE native_blobs SET content_type = 'text/html'")
        .unwrap();
    refused(&world.image(&Request::new("GET", &target)), 404, "NOT_FOUND");
}

#[test]
fn an_answer_that_repeats_a_long_prompt_is_read_to_its_end() {
    let world = ready();
    let prompt = "a fox ".repeat(600);
    let order = json!({ "prompt": prompt, "model": "ideogram-v2" });
    assert_eq!(world.generate(&world.user, &order).status, 200);
    // Beside the image stands its beginning.
    let metadata = world.stored("SELECT metadata FROM native_blobs").unwrap();
    let metadata: Vec<(String, String)> = serde_json::from_str(&metadata).unwrap();
    let kept = metadata.iter().find(|(name, _)| name == "prompt").unwrap();
    assert_eq!(kept.1, prompt[..256]);
}
