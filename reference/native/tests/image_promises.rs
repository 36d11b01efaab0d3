//! What outlives a request: jobs, answers to repeated requests, the cache, the log; and all of it across a restart.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod common;

use common::{World, refused, world, world_with};
use reference_core::http::{Request, Response};
use reference_core::ports::ObjectKind;
use reference_native::mock::{Fault, Place, Plan};
use reference_native::{ConfigService, Faults, Options, Service, System};
use serde_json::{Value, json};

const ID: &str = "0badc0de-0000-4000-8000-000000000001";

fn ready() -> World {
    let world = world();
    world.configure("production", &json!({}));
    world
}

fn job(world: &World, timed_out: &Response, key: &str) -> Response {
    let body = timed_out.json();
    assert_eq!(
        (timed_out.status, body["code"].as_str()),
        (504, Some("PROVIDER_TIMEOUT")),
        "{body}"
    );
    assert_eq!(
        body["status_url"],
        format!("/jobs/{}", body["job_id"].as_str().unwrap())
    );
    world.image(&Request::new("GET", body["status_url"].as_str().unwrap()).bearer(key))
}

#[test]
fn a_job_that_was_not_ready_in_time_is_finished_by_asking() {
    let world = ready();
    let before = world.system.now_ms();
    let prompt = json!({ "prompt": "a cat [[pending-17]]" });
    let timed_out = world.generate(&world.user, &prompt);
    assert_eq!(world.system.now_ms() - before, 60_000);
    let pending = job(&world, &timed_out, &world.user);
    assert_eq!((pending.status, &pending.json()["status"]), (200, &json!("pending")));
    let mut completed = pending;
    while completed.json()["status"] == "pending" {
        completed = job(&world, &timed_out, &world.user);
    }
    let body = completed.json();
    assert_eq!(
        (&body["status"], &body["success"], &body["metadata"]["model"]),
        (&json!("completed"), &json!(true), &json!("ideogram-4-5"))
    );
    assert_eq!(
        job(&world, &timed_out, &world.user).json()["image_url"],
        body["image_url"]
    );
    assert_eq!(
        world
            .image(&Request::new(
                "GET",
                &format!("/images/{}", body["r2_path"].as_str().unwrap())
            ))
            .status,
        200
    );
    let request_id = timed_out.json()["request_id"].as_str().unwrap().to_owned();
    assert_eq!(
        world.system.rows("SELECT request_id FROM usage_logs"),
        [[Some(request_id)]]
    );
    assert_eq!(world.orders(), 1);
    // Who may see it.
    refused(&job(&world, &timed_out, &world.other_admin), 403, "FORBIDDEN");
    refused(&job(&world, &timed_out, &world.project), 403, "FORBIDDEN");
    refused(&job(&world, &timed_out, &world.service), 401, "AUTH_FAILED");
    assert_eq!(job(&world, &timed_out, &world.admin).status, 200);
    refused(
        &world.image(&Request::new("GET", "/jobs/absent").bearer(&world.user)),
        404,
        "NOT_FOUND",
    );
    let age_ms = world.system.now_ms() - before;
    world.system.advance_ms(24 * 60 * 60 * 1000 - age_ms - 1);
    assert_eq!(job(&world, &timed_out, &world.user).status, 200);
    world.system.advance_ms(1);
    refused(&job(&world, &timed_out, &world.user), 404, "NOT_FOUND");
    let timed_out = world.generate(&world.user, &json!({ "prompt": "a [[never]]" }));
    assert_eq!(world.delete("/instance/production", &world.admin).status, 200);
    refused(&job(&world, &timed_out, &world.root), 404, "NOT_FOUND");
}

#[test]
fn many_who_ask_at_once_store_and_charge_once() {
    for seed in 0..20 {
        let world = world_with(Options {
            seed,
            ..Options::default()
        });
        world.configure("production", &json!({}));
        let timed_out = world.generate(&world.user, &json!({ "prompt": "a cat [[pending-16]]" }));
        let target = timed_out.json()["status_url"].as_str().unwrap().to_owned();
        let mut answers = Vec::new();
        for _ in 0..4 {
            let ask = (Service::Image, Request::new("GET", &target).bearer(&world.user));
            answers = world.system.handle_all(&vec![ask; 8]);
        }
        assert!(
            answers.iter().all(|answer| answer.json()["status"] == "completed"
                && answer.json()["r2_path"] == answers[0].json()["r2_path"])
        );
        assert_eq!(
            world.stored("SELECT count(*) FROM usage_logs").as_deref(),
            Some("1"),
            "seed {seed}"
        );
        assert_eq!(world.stored("SELECT count(*) FROM native_blobs").as_deref(), Some("1"));
    }
}

#[test]
fn jobs_fail_or_stay_pending_as_the_provider_says() {
    let world = ready();
    let hung = world.generate(
        &world.user,
        &json!({ "prompt": "a", "model": "ideogram-v2", "request_id": ID }),
    );
    assert_eq!(hung.status, 200);
    let hung = world.generate(&world.user, &json!({ "prompt": "a [[hang]]" }));
    assert_eq!(world.orders(), 2, "what hangs is not called again");
    let failed = job(&world, &hung, &world.user);
    assert_eq!(
        (&failed.json()["status"], &failed.json()["reason"]),
        (&json!("failed"), &json!("PROVIDER_TIMEOUT"))
    );

    let world = ready();
    let endless = world.generate(&world.user, &json!({ "prompt": "a [[never]]" }));
    for fault in [Fault::Status(500), Fault::Busy(None), Fault::Drop, Fault::Hang] {
        world.system.mock().plan(Plan::once(Place::Ask, fault));
        assert_eq!(job(&world, &endless, &world.user).json()["status"], "pending");
    }
    world.system.mock().plan(Plan::once(Place::Ask, Fault::Status(404)));
    let gone = job(&world, &endless, &world.user).json();
    assert_eq!(
        (&gone["status"], &gone["reason"]),
        (&json!("failed"), &json!("PROVIDER_ERROR"))
    );
    assert_eq!(
        job(&world, &endless, &world.user).json()["status"],
        "failed",
        "what failed stays so"
    );
}

#[test]
fn a_jobs_image_that_cannot_be_fetched_now_is_fetched_later() {
    let world = ready();
    let timed_out = world.generate(&world.user, &json!({ "prompt": "a cat [[pending-17]]" }));
    assert_eq!(timed_out.status, 504);
    world.system.mock().plan(Plan {
        place: Place::Image,
        fault: Fault::Status(500),
        times: 3,
    });
    let mut asked = job(&world, &timed_out, &world.user).json();
    while asked["status"] == "pending" {
        asked = job(&world, &timed_out, &world.user).json();
    }
    assert_eq!(asked["status"], "completed");
    assert_eq!(world.calls("GET", "/api/images"), 4, "three in vain");
}

#[test]
fn a_jobs_image_that_is_not_there_fails_the_job() {
    let world = ready();
    let timed_out = world.generate(&world.user, &json!({ "prompt": "a cat [[pending-17]]" }));
    assert_eq!(timed_out.status, 504);
    world.system.mock().plan(Plan {
        place: Place::Image,
        fault: Fault::Status(404),
        times: 3,
    });
    let mut asked = job(&world, &timed_out, &world.user).json();
    while asked["status"] == "pending" {
        asked = job(&world, &timed_out, &world.user).json();
    }
    assert_eq!(
        (&asked["status"], world.calls("GET", "/api/images")),
        (&json!("failed"), 3)
    );
}

#[test]
fn polling_goes_on_through_accidents() {
    let world = ready();
    world.system.mock().plan(Plan {
        place: Place::Ask,
        fault: Fault::Status(503),
        times: 3,
    });
    world.system.mock().plan(Plan::once(Place::Ask, Fault::Malformed));
    assert_eq!(world.generate(&world.user, &json!({ "prompt": "a" })).status, 200);
    let world = ready();
    world.system.mock().plan(Plan {
        place: Place::Ask,
        fault: Fault::Status(503),
        times: 5,
    });
    refused(
        &world.generate(&world.user, &json!({ "prompt": "a" })),
        502,
        "PROVIDER_ERROR",
    );
    assert_eq!(world.calls("GET", "/v2/generations"), 5, "the circuit opened");
}

#[test]
fn a_repeated_request_gets_the_first_answer_and_is_not_paid_again() {
    let world = ready();
    let body = json!({ "prompt": "a", "request_id": ID.to_uppercase() });
    let first = world.generate(&world.user, &body);
    let again = world.image(
        &Request::new("POST", "/generate")
            .bearer(&world.user)
            .header("X-Request-ID", "0badc0de-0000-4000-8000-00000000ffff")
            .json(&body),
    );
    assert_eq!((first.status, first.json()), (again.status, again.json()));
    assert_eq!(
        (first.json()["request_id"].as_str(), again.headers.get("x-request-id")),
        (Some(ID), Some(ID))
    );
    assert_eq!(
        (
            world.orders(),
            world.stored("SELECT count(*) FROM usage_logs").as_deref()
        ),
        (1, Some("1"))
    );
    refused(
        &world.generate(&world.user, &json!({ "prompt": "b", "request_id": ID })),
        409,
        "CONFLICT",
    );
    assert_eq!(
        world.generate(&world.project, &body).status,
        200,
        "another credential, another request"
    );
    assert_eq!(world.orders(), 2);
    world.system.advance_ms(10_000);
    let replayed = world.get("/logs", &world.root).json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["metadata"]["replayed"] == true)
        .count();
    assert_eq!(replayed, 1);
    world.system.advance_ms(24 * 60 * 60 * 1000);
    assert_eq!(world.generate(&world.user, &body).status, 200);
    assert_eq!(world.orders(), 3, "after a day the id is free again");
}

#[test]
fn answers_that_used_the_provider_up_are_kept_and_others_are_not() {
    for (words, status, is_kept) in [
        ("[[unsafe]]", 422, true),
        ("[[never]]", 504, true),
        ("[[status-402*1]]", 502, false),
        ("[[busy*3]]", 429, false),
    ] {
        let world = ready();
        let body = json!({ "prompt": format!("a {words}"), "request_id": ID });
        let first = world.generate(&world.user, &body);
        assert_eq!(first.status, status);
        let orders = world.orders();
        let again = world.generate(&world.user, &body);
        assert_eq!(again.json() == first.json(), is_kept, "{words}");
        assert_eq!(world.orders() == orders, is_kept, "{words}");
    }
}

#[test]
fn of_the_same_request_at_the_same_moment_one_runs() {
    for seed in 0..30 {
        let world = world_with(Options {
            seed,
            ..Options::default()
        });
        world.configure("production", &json!({ "rate_limits": { "ideogram": { "rpm": 1 } } }));
        let one = (
            Service::Image,
            Request::new("POST", "/generate")
                .bearer(&world.user)
                .json(&json!({ "prompt": "a", "request_id": ID })),
        );
        let answers = world.system.handle_all(&vec![one; 10]);
        assert!(
            answers.iter().all(|answer| matches!(answer.status, 200 | 409)),
            "seed {seed}"
        );
        assert!(answers.iter().any(|answer| answer.status == 200));
        assert_eq!(world.orders(), 1);
    }
}

fn sources(world: &World) -> Vec<Value> {
    world.system.advance_ms(10_000);
    let entries = world.get("/logs", &world.root).json();
    entries["items"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|entry| entry["metadata"]["config_source"].clone())
        .collect()
}

#[test]
fn configurations_are_fresh_for_five_minutes_and_stale_copies_serve_when_the_service_is_down() {
    let world = ready();
    let config_service = |state| {
        world.system.set_faults(Faults {
            config_service: state,
            ..Faults::default()
        })
    };
    let generate = || {
        world
            .generate(&world.user, &json!({ "prompt": "a", "model": "ideogram-v2" }))
            .status
    };
    config_service(ConfigService::Down);
    assert_eq!(generate(), 503, "nothing to be had");
    world.system.advance_ms(1);
    config_service(ConfigService::Up);
    assert_eq!(generate(), 200);
    world.system.advance_ms(299_999);
    config_service(ConfigService::Down);
    assert_eq!(generate(), 200, "younger than five minutes is fresh");
    world.system.advance_ms(1);
    for down in [
        ConfigService::Down,
        ConfigService::Status(503),
        ConfigService::Status(401),
        ConfigService::Hangs,
    ] {
        config_service(down);
        assert_eq!(generate(), 200, "{down:?}");
    }
    assert_eq!(
        sources(&world),
        [
            json!(null),
            json!("fetched"),
            json!("fresh"),
            json!("stale"),
            json!("stale"),
            json!("stale"),
            json!("stale")
        ]
    );
    let cached = world
        .stored("SELECT text FROM native_kv WHERE name = 'instance-config:v1:production'")
        .unwrap();
    assert!(!cached.contains("provider-secret") && !cached.contains("example-org"));
    world.system.advance_ms(23 * 60 * 60 * 1000);
    assert_eq!(generate(), 200, "a copy is kept for a day");
    world.system.advance_ms(60 * 60 * 1000);
    assert_eq!(generate(), 503, "and no longer");
    config_service(ConfigService::Status(403));
    assert_eq!(generate(), 503, "a token that it refuses is as good as no answer");
    config_service(ConfigService::Up);
    assert_eq!(generate(), 200);
    world.system.set_faults(Faults {
        is_kv_down: true,
        ..Faults::default()
    });
    assert_eq!(generate(), 200, "without a cache the service is asked");
    world
        .system
        .change_settings(|settings| settings.cache_encryption_key = None);
    assert_eq!(generate(), 500);
}

#[test]
fn a_changed_instance_is_seen_at_once_and_a_copy_widens_no_access() {
    let world = ready();
    let generate = |key: &str| {
        world
            .generate(key, &json!({ "prompt": "a", "instance_id": "production" }))
            .status
    };
    assert_eq!(generate(&world.user), 200);
    assert_eq!(
        world
            .delete(&format!("/instance/production/access/{}", common::USER), &world.admin)
            .status,
        200
    );
    assert_eq!(generate(&world.user), 403);
    assert_eq!(generate(&world.admin), 200);
    let limit = json!({ "config": { "rate_limits": { "ideogram": { "rpm": 1 } } } });
    assert_eq!(world.patch("/instance/production", &world.admin, &limit).status, 200);
    assert_eq!(generate(&world.admin), 429);
    assert_eq!(world.delete("/instance/production", &world.admin).status, 200);
    assert_eq!(generate(&world.admin), 404);
    assert_eq!(generate(&world.other_admin), 404);
}

#[test]
fn log_entries_are_stored_once_in_batches_and_kept_for_thirty_days() {
    let world = ready();
    let refused_request = || world.image(&Request::new("POST", "/generate").json(&json!({ "prompt": "a" })));
    let stored = || world.stored("SELECT count(*) FROM logs").unwrap();
    for _ in 0..99 {
        refused_request();
    }
    assert_eq!(stored(), "0");
    refused_request();
    assert_eq!(stored(), "100", "a hundred are written together");
    refused_request();
    world.system.advance_ms(9_999);
    assert_eq!(stored(), "100");
    world.system.set_faults(Faults {
        is_database_down: true,
        ..Faults::default()
    });
    world.system.advance_ms(1);
    assert_eq!(stored(), "100");
    world.system.set_faults(Faults {
        objects_down: vec![ObjectKind::LogBuffer],
        ..Faults::default()
    });
    refused_request();
    world.system.set_faults(Faults::default());
    world.system.advance_ms(0);
    assert_eq!(stored(), "101", "what could not be written is written later");
    world
        .system
        .change_settings(|settings| settings.log_level = Some("ERROR".to_owned()));
    refused_request();
    world.system.advance_ms(30 * 24 * 60 * 60 * 1000 - 10_000);
    world.system.scheduled();
    assert_eq!(stored(), "101");
    world.system.advance_ms(1);
    world.system.scheduled();
    assert_eq!(stored(), "0");
}

#[test]
fn a_restart_forgets_nothing_that_was_promised() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        data: Some(directory.path().join("data.db")),
        ..Options::default()
    };
    let world = world_with(options.clone());
    world.configure("production", &json!({ "rate_limits": { "ideogram": { "rpm": 3 } } }));
    let body = json!({ "prompt": "a", "request_id": ID });
    let timed_out = world.generate(&world.user, &json!({ "prompt": "a [[never]]" }));
    let first = world.generate(&world.user, &body);
    for _ in 0..2 {
        let answer = world.generate(&world.user, &json!({ "prompt": "a" }));
        assert_eq!(answer.status, 200);
    }
    assert_eq!(world.generate(&world.user, &json!({ "prompt": "a" })).status, 429);
    let start_ms = world.system.now_ms();
    let World {
        system,
        user,
        root,
        admin,
        project,
        other_admin,
        service,
    } = world;
    drop(system);
    let system = System::start(Options {
        start_ms,
        seed: 2,
        ..options
    })
    .unwrap();
    let world = World {
        system,
        user,
        root,
        admin,
        project,
        other_admin,
        service,
    };
    assert_eq!(
        world.generate(&world.user, &body).json(),
        first.json(),
        "the kept answer"
    );
    assert_eq!(
        world.generate(&world.user, &json!({ "prompt": "a" })).status,
        429,
        "the window"
    );
    assert_eq!(
        world
            .image(&Request::new("GET", timed_out.json()["status_url"].as_str().unwrap()).bearer(&world.user))
            .json()["status"],
        "failed",
        "the provider forgot it"
    );
    assert_eq!(
        world
            .image(&Request::new(
                "GET",
                &format!("/images/{}", first.json()["r2_path"].as_str().unwrap())
            ))
            .status,
        200
    );
    world.system.advance_ms(10_000);
    assert_eq!(
        world.stored("SELECT count(*) FROM logs").as_deref(),
        Some("7"),
        "entries that waited, and two new ones"
    );
}
