//! Sequences of requests of any kind with jumps of the clock: no answer is a fault of ours, every answer has its form, and a system that is started
//! anew before every request answers as one that never stopped.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use reference_core::http::{Request, Response};
use reference_native::{Options, Service, System, example_settings, mock};
use serde_json::{Value, json};

const ROOT: &str = "00000000-0000-4000-8000-000000000001";
const USER: &str = "00000000-0000-4000-8000-000000000002";

/// A step: who, what, to what, with what, after how long.
#[derive(Clone, Debug)]
struct Step {
    caller: usize,
    method: &'static str,
    path: String,
    body: Value,
    pause_ms: u64,
}

/// Names that exist, come to exist, or never do.
fn id() -> impl Strategy<Value = &'static str> {
    select(vec![
        "example-org",
        "production",
        "development",
        "content-forge",
        "playground",
        "new-one",
        "new-two",
        "absent",
        "NOT-AN-ID",
    ])
}

fn path() -> impl Strategy<Value = String> {
    let user = || select(vec![ROOT, USER, "absent"]);
    prop_oneof![
        select(vec![
            "/me",
            "/health",
            "/organization",
            "/instance",
            "/user",
            "/project",
            "/logs",
            "/metrics",
            "/generate",
            "/nowhere"
        ])
        .prop_map(str::to_owned),
        (select(vec!["organization", "instance", "project", "key", "jobs"]), id())
            .prop_map(|(kind, id)| format!("/{kind}/{id}")),
        user().prop_map(|user| format!("/user/{user}")),
        user().prop_map(|user| format!("/user/{user}/key")),
        id().prop_map(|project| format!("/project/{project}/key")),
        id().prop_map(|instance| format!("/instance/{instance}/access")),
        (id(), user()).prop_map(|(instance, user)| format!("/instance/{instance}/access/{user}")),
        (
            select(vec!["instance", "project", "user", "logs", "metrics"]),
            select(vec![
                "limit=1",
                "limit=0",
                "instance_id=production",
                "org_id=example-org",
                "instance_id=absent",
                "range=day",
                "cursor=x"
            ])
        )
            .prop_map(|(list, query)| format!("/{list}?{query}")),
    ]
}

/// Bodies that fit some route; most routes refuse most of them.
fn body() -> impl Strategy<Value = Value> {
    let config = || {
        select(vec![
            json!({}),
            json!({ "rate_limits": { "ideogram": { "rpm": 2 } } }),
            json!({ "api_keys": { "ideogram": "provider-secret-0123456789" } }),
            json!({ "api_keys": { "ideogram": null } }),
            json!({ "r2_bucket": "x" }),
        ])
    };
    prop_oneof![
        (id(), id(), config())
            .prop_map(|(id, org, config)| json!({ "instance_id": id, "org_id": org, "name": id, "config": config })),
        config().prop_map(|config| json!({ "config": config })),
        (id(), id())
            .prop_map(|(project, instance)| json!({ "project_id": project, "instance_id": instance, "name": project })),
        id().prop_map(|org| json!({ "org_id": org, "name": "An Organization", "billing_email": "b@example.com" })),
        (
            select(vec!["a@example.com", "user@example.com"]),
            id(),
            select(vec!["user", "admin", "superadmin"])
        )
            .prop_map(|(email, org, role)| json!({ "email": email, "org_id": org, "role": role })),
        select(vec!["user", "admin", "superadmin"]).prop_map(|role| json!({ "role": role })),
        id().prop_map(|name| json!({ "name": name })),
        (
            id(),
            select(vec!["", "[[unsafe]]", "[[status-500*1]]", "[[status-402]]", "[[hang]]"]),
            any::<bool>(),
            0..3u32
        )
            .prop_map(|(instance, fault, is_named, number)| {
                let mut body =
                    json!({ "prompt": format!("a cat {fault}"), "model": "ideogram-v2", "instance_id": instance });
                if is_named {
                    body["request_id"] = format!("0badc0de-0000-4000-8000-00000000000{number}").into();
                }
                body
            }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let any_route = (
        0..5usize,
        select(vec!["GET", "POST", "PATCH", "PUT", "DELETE", "HEAD"]),
        path(),
        body(),
    );
    let generation = (0..3usize, Just("POST"), Just("/generate".to_owned()), body());
    let pause = prop_oneof![4 => Just(0u64), 2 => 1..2000u64, 1 => Just(30_000u64), 1 => Just(60_000u64), 1 => Just(300_000u64), 1 => Just(86_400_000u64)];
    (prop_oneof![3 => any_route, 1 => generation], pause).prop_map(|((caller, method, path, body), pause_ms)| Step {
        caller,
        method,
        path,
        body,
        pause_ms,
    })
}

/// Takes all steps. With a file, the system is started anew before each of them.
fn run(steps: &[Step], data: Option<&Path>) -> Vec<Response> {
    let options = |seed: u64, start_ms: u64| Options {
        data: data.map(Path::to_owned),
        seed,
        start_ms,
        mock: mock::Options {
            seed,
            images_in_flight_max: 1000,
            ..mock::Options::default()
        },
        ..Options::default()
    };
    let mut system = System::start(options(0, Options::default().start_ms)).unwrap();
    let keys = [
        system.issue_key(ROOT).unwrap(),
        system.issue_key(USER).unwrap(),
        example_settings().service_token.unwrap(),
        "mas_nobody".to_owned(),
        String::new(),
    ];
    let mut responses = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let seed = number as u64 + 1;
        if data.is_some() {
            let now_ms = system.now_ms();
            drop(system);
            system = System::start(options(seed, now_ms)).unwrap();
        } else {
            system.reseed(seed);
            *system.mock() = mock::Mock::new(options(seed, 0).mock);
        }
        system.advance_ms(step.pause_ms);
        let request = Request::new(step.method, &step.path)
            .bearer(&keys[step.caller])
            .json(&step.body);
        let is_image = ["/generate", "/jobs"].iter().any(|start| step.path.starts_with(start));
        let service = if is_image { Service::Image } else { Service::Config };
        responses.push(system.handle(service, &request));
    }
    responses
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sequences_never_end_in_a_fault_and_restarts_are_not_noticed(steps in vec(step(), 1..30)) {
        let responses = run(&steps, None);
        for (step, response) in steps.iter().zip(&responses) {
            prop_assert_ne!(response.status, 500, "{:?}", step);
            prop_assert!(response.headers.get("x-request-id").is_some_and(reference_core::id::is_uuid));
            let body = response.json();
            prop_assert_eq!(response.body.is_empty(), step.method == "HEAD");
            if step.method == "HEAD" {
                continue;
            }
            prop_assert_eq!(body["request_id"].as_str(), response.headers.get("x-request-id"));
            if response.status >= 400 {
                let fields = body.as_object().unwrap().len();
                prop_assert_eq!(fields, if response.status == 504 { 5 } else { 3 }, "{}", body);
                prop_assert_eq!(response.headers.get("www-authenticate").is_some(), response.status == 401);
                prop_assert_eq!(response.headers.get("allow").is_some(), response.status == 405);
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let restarted = run(&steps, Some(&directory.path().join("data.db")));
        for (number, step) in steps.iter().enumerate() {
            prop_assert_eq!(&responses[number], &restarted[number], "step {}: {:?}", number, step);
        }
    }
}
