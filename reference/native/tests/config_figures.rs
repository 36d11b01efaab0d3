//! The log and the figures made from it: filters, order, reach, buckets.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod common;

use common::{World, ids, refused, world};
use serde_json::{Value, json};

fn log(world: &World, id: &str, timestamp: &str, level: &str, message: &str, instance: Option<&str>, metadata: &Value) {
    let instance = instance.map_or("NULL".to_owned(), |id| format!("'{id}'"));
    let sql = format!(
        "INSERT INTO logs VALUES ('{id}', '{timestamp}', '{level}', '{message}', 'aaaaaaaa-0000-4000-8000-000000000000', {instance}, NULL, 'image-gen-worker', '{metadata}', '{timestamp}')"
    );
    world.system.write(&sql).unwrap();
}

#[test]
fn logs_come_newest_first_within_reach_and_filtered() {
    let world = world();
    let none = json!({});
    log(
        &world,
        "a",
        "2026-01-31T09:00:00.000Z",
        "INFO",
        "First 100% sure",
        Some("production"),
        &none,
    );
    log(
        &world,
        "b",
        "2026-01-31T09:00:00.000Z",
        "WARN",
        "second",
        Some("development"),
        &none,
    );
    log(
        &world,
        "c",
        "2026-01-31T09:10:00.000Z",
        "ERROR",
        "third_one",
        Some("elsewhere"),
        &none,
    );
    log(
        &world,
        "d",
        "2026-01-31T09:20:00.000Z",
        "INFO",
        "fourth",
        None,
        &json!({ "x": 1 }),
    );
    let seen = |query: &str| ids(&world.get(&format!("/logs?{query}"), &world.root), "log_id").concat();
    assert_eq!(seen(""), "dcba");
    assert_eq!(ids(&world.get("/logs", &world.admin), "log_id").concat(), "ba");
    assert_eq!(seen("level=WARN,ERROR"), "cb");
    assert_eq!(seen("instance_id=production"), "a");
    assert_eq!(seen("from=2026-01-31T09:00:00.000Z&to=2026-01-31T09:20:00.000Z"), "cba");
    assert_eq!(seen("search=FIRST"), "a");
    assert_eq!(seen("search=100%25"), "a");
    assert_eq!(seen("search=d_o"), "c");
    assert_eq!(seen("search=%25"), "a");
    assert_eq!(seen("request_id=AAAAAAAA-0000-4000-8000-000000000000"), "dcba");
    assert_eq!(seen("component=other"), "");
    let item = world.get("/logs?limit=1", &world.root).json()["items"][0].clone();
    assert_eq!(
        (&item["metadata"], &item["instance_id"], &item["user_id"]),
        (&json!({ "x": 1 }), &json!(null), &json!(null))
    );
    refused(&world.get("/logs?instance_id=absent", &world.root), 404, "NOT_FOUND");
    refused(
        &world.get("/logs?instance_id=elsewhere", &world.admin),
        403,
        "FORBIDDEN",
    );
    for wrong in [
        "level=info",
        "level=",
        "from=2026-01-31",
        "to=x",
        "search=",
        &format!("search={}", "x".repeat(201)),
        "limit=0",
    ] {
        refused(
            &world.get(&format!("/logs?{wrong}"), &world.root),
            400,
            "VALIDATION_FAILED",
        );
    }
}

#[test]
fn pages_of_logs_go_on_where_they_stopped_and_with_the_same_filters_only() {
    let world = world();
    for index in 0..5 {
        log(
            &world,
            &format!("l{index}"),
            "2026-01-31T09:00:00.000Z",
            "INFO",
            "x",
            Some("production"),
            &json!({}),
        );
    }
    let first = world.get("/logs?limit=2&level=INFO", &world.admin);
    let cursor = first.json()["next_cursor"].as_str().unwrap().to_owned();
    log(
        &world,
        "l9",
        "2026-01-31T09:00:00.001Z",
        "INFO",
        "newer",
        Some("production"),
        &json!({}),
    );
    let second = world.get(&format!("/logs?limit=2&level=INFO&cursor={cursor}"), &world.admin);
    assert_eq!(
        (ids(&first, "log_id").concat(), ids(&second, "log_id").concat()),
        ("l4l3".to_owned(), "l2l1".to_owned())
    );
    refused(
        &world.get(&format!("/logs?limit=2&cursor={cursor}"), &world.admin),
        400,
        "VALIDATION_FAILED",
    );
}

fn request(world: &World, id: &str, timestamp: &str, instance: &str, status: u16, duration_ms: u32) {
    let metadata = json!({ "event": "request", "route": "/generate", "status": status, "duration_ms": duration_ms });
    log(
        world,
        id,
        timestamp,
        "INFO",
        "request completed",
        Some(instance),
        &metadata,
    );
}

#[test]
fn metrics_count_requests_errors_and_limits_in_buckets() {
    let world = world();
    // The clock shows 09:30:00.000, so the last bucket of an hour's sixty begins now.
    request(&world, "a", "2026-01-31T09:30:00.000Z", "production", 200, 1000);
    request(&world, "b", "2026-01-31T09:30:00.000Z", "production", 200, 625);
    request(&world, "c", "2026-01-31T09:29:59.999Z", "production", 502, 9999);
    request(&world, "d", "2026-01-31T08:31:00.000Z", "production", 429, 1);
    request(&world, "e", "2026-01-31T08:30:59.999Z", "production", 200, 1);
    request(&world, "f", "2026-01-31T09:30:00.000Z", "elsewhere", 500, 1);
    log(
        &world,
        "g",
        "2026-01-31T09:30:00.000Z",
        "INFO",
        "x",
        Some("production"),
        &json!({ "event": "other", "route": "/generate", "status": 200 }),
    );
    let usage = "INSERT INTO usage_logs (log_id, org_id, instance_id, request_id, timestamp, provider, model, tokens_used, cost, created_at) VALUES \
        ('u1', 'example-org', 'production', 'r', '2026-01-31T09:30:00.000Z', 'ideogram', 'm', 5, 80000, '2026-01-31T09:30:00.000Z'), \
        ('u2', 'example-org', 'production', 'r', '2026-01-31T08:30:59.999Z', 'ideogram', 'm', 0, 1, '2026-01-31T09:30:00.000Z'), \
        ('u3', 'other-org', 'elsewhere', 'r', '2026-01-31T09:30:00.000Z', 'another', 'm', 0, 7, '2026-01-31T09:30:00.000Z')";
    world.system.write(usage).unwrap();
    let metrics = world.get("/metrics", &world.admin).json();
    assert_eq!(
        (metrics["from"].as_str(), metrics["to"].as_str()),
        (Some("2026-01-31T08:31:00.000Z"), Some("2026-01-31T09:31:00.000Z"))
    );
    assert_eq!(
        (&metrics["range"], &metrics["bucket_seconds"]),
        (&json!("hour"), &json!(60))
    );
    let series = metrics["series"].as_array().unwrap();
    assert_eq!(
        series
            .iter()
            .map(|one| one["instance_id"].as_str().unwrap())
            .collect::<Vec<_>>(),
        ["development", "production"]
    );
    let production = &series[1];
    assert_eq!(production["requests"].as_array().unwrap().len(), 60);
    assert_eq!(
        (
            &production["requests"][59],
            &production["requests"][58],
            &production["requests"][0]
        ),
        (&json!(2), &json!(1), &json!(1))
    );
    assert_eq!(
        (&production["errors"][58], &production["rate_limited"][0]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        (&production["response_ms"][59], &production["response_ms"][58]),
        (&json!(812.5), &json!(null))
    );
    assert_eq!(
        metrics["totals"],
        json!({ "requests": 4, "errors": 1, "rate_limited": 1, "error_rate": 0.25, "response_ms": 812.5, "cost_microdollars": 80000 })
    );
    assert_eq!(
        metrics["providers"],
        json!([{ "provider": "ideogram", "requests": 1, "tokens": 5, "cost_microdollars": 80000 }])
    );
    let all = world
        .get("/metrics?instance_id=production,elsewhere,production", &world.root)
        .json();
    assert_eq!(all["series"].as_array().unwrap().len(), 2);
    assert_eq!(all["providers"][0]["provider"], "another");
    let week = world.get("/metrics?range=week", &world.admin).json();
    assert_eq!(
        (week["series"][1]["requests"].as_array().unwrap().len(), &week["to"]),
        (168, &json!("2026-01-31T10:00:00.000Z"))
    );
    assert_eq!(
        world.get("/metrics?range=day", &world.admin).json()["series"][1]["requests"]
            .as_array()
            .unwrap()
            .len(),
        96
    );
    let empty = world.get("/metrics?instance_id=development", &world.admin).json();
    assert_eq!(
        (
            &empty["totals"]["error_rate"],
            &empty["totals"]["response_ms"],
            &empty["providers"]
        ),
        (&json!(null), &json!(null), &json!([]))
    );
    refused(
        &world.get("/metrics?range=year", &world.admin),
        400,
        "VALIDATION_FAILED",
    );
    for named in ["elsewhere,absent", "elsewhere,nowhere"] {
        refused(
            &world.get(&format!("/metrics?instance_id={named}"), &world.admin),
            404,
            "NOT_FOUND",
        );
    }
    refused(
        &world.get("/metrics?instance_id=elsewhere", &world.admin),
        403,
        "FORBIDDEN",
    );
    world.system.write("DROP TABLE logs").unwrap();
    refused(&world.get("/metrics", &world.root), 500, "INTERNAL_ERROR");
    refused(&world.get("/logs", &world.root), 500, "INTERNAL_ERROR");
}
