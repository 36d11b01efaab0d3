//! Instances and the bounds of their configuration.

use reference_core::http::Request;
use reference_native::Service;
use serde_json::{Map, Value, json};

use super::super::ask::{by_root, each, long, read, send, told, varied, wrong};
use crate::verify::check::{Check, Section};
use crate::verify::lab::{Lab, Outcome, PROVIDER_KEY};

pub(super) fn checks() -> Vec<Check> {
    let contract = Section::Contract;
    vec![
        Check::new(
            contract,
            "instances",
            &["INST-01", "INST-02", "INST-12", "API-09"],
            instances,
        ),
        Check::new(contract, "bounds-of-limits-and-buckets", &["INST-09"], limits),
        Check::new(
            contract,
            "bounds-of-provider-keys-and-names",
            &["INST-09"],
            provider_keys,
        ),
        Check::new(contract, "bounds-of-worker-urls", &["INST-09"], urls),
        Check::new(contract, "fifty-entries", &["INST-09"], fifty),
        Check::new(contract, "changes-of-a-configuration", &["INST-01", "INST-09"], changes),
    ]
}

async fn instances(lab: &mut Lab) -> Outcome {
    let config = json!({
        "api_keys": { "ideogram": PROVIDER_KEY, "short": "fifteen-chars-x", "long": "exactly-16-chars" },
        "rate_limits": { "ideogram": { "rpm": 60, "tpm": 1000 }, "other": { "rpm": 1 } },
        "worker_urls": { "image-gen": "https://w.example/x?y=z" },
        "r2_bucket": "a-bucket",
    });
    let full = json!({ "org_id": "example-org", "instance_id": "staging", "name": " Staging ", "config": config });
    send(lab, "POST", "/instance", &full).await?.status(201)?;
    send(lab, "POST", "/instance", &full).await?.error(409, "CONFLICT")?;
    let bare = json!({ "org_id": "other-org", "name": "Bare" });
    let made = send(lab, "POST", "/instance", &bare)
        .await?
        .status(201)?
        .text("/instance_id")?;
    let (root, service) = (lab.keys.root.clone(), lab.keys.service.clone());
    for credential in [&root, &service] {
        let request = Request::new("GET", "/instance/staging").bearer(credential);
        lab.config(request).await?.status(200)?;
        lab.ask_each(Service::Config, |side| {
            Request::new("GET", &format!("/instance/{}", made.on(side))).bearer(credential)
        })
        .await?
        .status(200)?;
    }
    for name in ["api_keys", "rate_limits", "worker_urls", "r2_bucket"] {
        let mut body = json!({ "org_id": "example-org", "name": "Part", "instance_id": format!("part-{}", name.replace('_', "-")), "config": {} });
        body["config"][name] = config[name].clone();
        send(lab, "POST", "/instance", &body).await?.status(201)?;
    }
    let body = json!({ "org_id": "example-org", "name": "x", "instance_id": "of-ids" });
    wrong(
        lab,
        "POST",
        "/instance",
        varied(
            &body,
            "/instance_id",
            [
                json!(""),
                json!("Upper"),
                json!("a_b"),
                json!(long(64)),
                json!(null),
                json!(1),
            ],
        ),
    )
    .await?;
    wrong(
        lab,
        "POST",
        "/instance",
        varied(&body, "/org_id", [json!(""), json!("Upper"), json!(null), json!(1)]),
    )
    .await?;
    wrong(
        lab,
        "POST",
        "/instance",
        varied(
            &body,
            "/config",
            [
                json!(null),
                json!([]),
                json!("x"),
                json!({ "more": 1 }),
                json!({ "authorized_users": [] }),
                json!({ "api_keys": [] }),
                json!({ "api_keys": null }),
                json!({ "rate_limits": null }),
                json!({ "worker_urls": "x" }),
            ],
        ),
    )
    .await?;
    wrong(
        lab,
        "POST",
        "/instance",
        [
            json!({}),
            json!({ "name": "x" }),
            json!({ "org_id": "example-org" }),
            json!({ "org_id": "example-org", "name": "x", "r2_bucket": "abc" }),
            json!({ "org_id": "example-org", "name": "x", "authorized_users": [] }),
        ],
    )
    .await?;
    send(lab, "POST", "/instance", &json!({ "org_id": "nobody", "name": "x" }))
        .await?
        .error(404, "NOT_FOUND")?;
    for list in [
        "/instance",
        "/instance?org_id=example-org",
        "/instance?org_id=other-org",
    ] {
        read(lab, list).await?.status(200)?;
    }
    for status in [200, 404] {
        let request = by_root(lab, "DELETE", "/instance/staging");
        lab.config(request).await?.status(status)?;
    }
    lab.rows("SELECT instance_id, org_id, name FROM instances ORDER BY created_at, instance_id")
        .await?;
    Ok(())
}

const INSTANCE: &str = "/instance/production";

fn change(field: &str, value: Value) -> Value {
    json!({ "config": { field: value } })
}

async fn limits(lab: &mut Lab) -> Outcome {
    let good = [
        json!({ "rpm": 1 }),
        json!({ "rpm": 1_000_000 }),
        json!({ "rpm": 5, "tpm": 1 }),
        json!({ "rpm": 5, "tpm": 1_000_000_000 }),
    ];
    each(
        lab,
        "PATCH",
        INSTANCE,
        200,
        good.map(|limit| change("rate_limits", json!({ "ideogram": limit }))),
    )
    .await?;
    let bad = [
        json!({ "rpm": 0 }),
        json!({ "rpm": -1 }),
        json!({ "rpm": 1_000_001 }),
        json!({ "rpm": 1.5 }),
        json!({ "rpm": "1" }),
        json!({ "rpm": null }),
        json!({}),
        json!({ "tpm": 5 }),
        json!({ "rpm": 5, "tpm": 0 }),
        json!({ "rpm": 5, "tpm": 1_000_000_001 }),
        json!({ "rpm": 5, "tpm": 1.5 }),
        json!({ "rpm": 5, "tpm": null }),
        json!({ "rpm": 5, "more": 1 }),
        json!(5),
        json!([]),
        json!("5"),
    ];
    wrong(
        lab,
        "PATCH",
        INSTANCE,
        bad.map(|limit| change("rate_limits", json!({ "ideogram": limit }))),
    )
    .await?;
    let buckets = [json!("abc"), json!(long(63)), json!("0-0"), json!(null), json!("a--b")];
    each(
        lab,
        "PATCH",
        INSTANCE,
        200,
        buckets.map(|bucket| change("r2_bucket", bucket)),
    )
    .await?;
    let bad = [
        json!(""),
        json!("ab"),
        json!(long(64)),
        json!("Abc"),
        json!("-abc"),
        json!("abc-"),
        json!("a.b"),
        json!("a_b"),
        json!("abc\n"),
        json!(1),
        json!([]),
        json!({}),
    ];
    wrong(lab, "PATCH", INSTANCE, bad.map(|bucket| change("r2_bucket", bucket))).await
}

async fn provider_keys(lab: &mut Lab) -> Outcome {
    let keys = [
        json!("k"),
        json!(long(15)),
        json!(long(16)),
        json!(long(512)),
        json!("!~\"'\\{}"),
        json!("***x"),
        json!("x****"),
    ];
    each(
        lab,
        "PATCH",
        INSTANCE,
        200,
        keys.map(|key| change("api_keys", json!({ "other": key }))),
    )
    .await?;
    let bad = [
        json!(""),
        json!(long(513)),
        json!("a b"),
        json!(" a"),
        json!("ä"),
        json!("a\u{7f}"),
        json!("a\n"),
        json!("****"),
        json!("****abcd"),
        json!(1),
        json!([]),
        json!({}),
        json!(true),
    ];
    wrong(
        lab,
        "PATCH",
        INSTANCE,
        bad.clone().map(|key| change("api_keys", json!({ "absent": key }))),
    )
    .await?;
    let body = json!({ "org_id": "example-org", "name": "x", "config": { "api_keys": { "other": "x" } } });
    wrong(lab, "POST", "/instance", varied(&body, "/config/api_keys/other", bad)).await?;
    let values = [
        ("api_keys", json!("a-key")),
        ("rate_limits", json!({ "rpm": 1 })),
        ("worker_urls", json!("https://w.example")),
    ];
    for (field, value) in values {
        for name in ["a", "0", "a_b-c", "constructor", long(32).as_str()] {
            send(lab, "PATCH", INSTANCE, &change(field, json!({ name: value })))
                .await?
                .status(200)?;
            send(lab, "PATCH", INSTANCE, &change(field, json!({ name: null })))
                .await?
                .status(200)?;
        }
        for name in [
            "",
            "Upper",
            "-a",
            "_a",
            "a b",
            "a.b",
            "__proto__",
            "ä",
            long(33).as_str(),
        ] {
            let body = change(field, json!({ name: value }));
            told(
                send(lab, "PATCH", INSTANCE, &body).await?.status(400),
                &body.to_string(),
            )?;
        }
    }
    Ok(())
}

async fn urls(lab: &mut Lab) -> Outcome {
    let url = |text: &str| change("worker_urls", json!({ "image-gen": text }));
    let long_url = |length: usize| format!("https://w.example/{}", long(length - 18));
    let good = [
        "https://w.example",
        "https://w.example/",
        "https://w.example:8443/a/b?c=d",
        "http://localhost:8787",
        "http://localhost",
        "http://127.0.0.1:1/x",
        "http://a.localhost:1",
        &long_url(2048),
    ];
    for text in good {
        send(lab, "PATCH", INSTANCE, &url(text)).await?.status(200)?;
    }
    let bad = [
        "",
        "w.example",
        "/path",
        "//w.example",
        "http://w.example",
        "http://10.0.0.1",
        "http://localhost.w.example",
        "http://notlocalhost",
        "ftp://w.example",
        "javascript:alert(1)",
        "data:text/plain,x",
        "https://user:password@w.example",
        "https://user@w.example",
        "wss://w.example",
        "https://",
        &long_url(2049),
    ];
    wrong(lab, "PATCH", INSTANCE, bad.map(url)).await?;
    wrong(
        lab,
        "PATCH",
        INSTANCE,
        [json!(1), json!([]), json!({}), json!(true)].map(|value| change("worker_urls", json!({ "a": value }))),
    )
    .await
}

async fn fifty(lab: &mut Lab) -> Outcome {
    let values = [
        ("api_keys", json!("a-key")),
        ("rate_limits", json!({ "rpm": 1 })),
        ("worker_urls", json!("https://w.example")),
    ];
    for (number, (field, value)) in values.into_iter().enumerate() {
        let entries = |names: std::ops::Range<usize>| -> Map<String, Value> {
            names.map(|name| (format!("p{name}"), value.clone())).collect()
        };
        let body = |names| json!({ "org_id": "example-org", "name": "x", "instance_id": format!("fifty-{number}"), "config": { field: entries(names) } });
        send(lab, "POST", "/instance", &body(0..51)).await?.status(400)?;
        send(lab, "POST", "/instance", &body(0..50)).await?.status(201)?;
        let path = format!("/instance/fifty-{number}");
        send(lab, "PATCH", &path, &change(field, json!(entries(50..51))))
            .await?
            .status(400)?;
        send(lab, "PATCH", &path, &change(field, json!(entries(0..50))))
            .await?
            .status(200)?;
        let mut exchanged = entries(50..51);
        exchanged.insert("p0".to_owned(), Value::Null);
        send(lab, "PATCH", &path, &change(field, json!(exchanged)))
            .await?
            .status(200)?;
        read(lab, &path).await?.status(200)?;
    }
    Ok(())
}

async fn changes(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({ "rate_limits": { "ideogram": { "rpm": 5, "tpm": 7 }, "other": { "rpm": 3 } }, "worker_urls": { "a": "https://a.example" }, "r2_bucket": "abc" })).await?;
    let path = format!("/instance/{instance}");
    let service = lab.keys.service.clone();
    let steps = [
        (json!({ "config": {} }), 200),
        (json!({ "name": "Renamed" }), 200),
        (
            json!({ "config": { "api_keys": { "second": "the-second-provider-key" } } }),
            200,
        ),
        (
            json!({ "config": { "rate_limits": { "ideogram": { "rpm": 6 } } } }),
            200,
        ),
        (
            json!({ "config": { "rate_limits": { "other": null, "absent": null } } }),
            200,
        ),
        (
            json!({ "config": { "worker_urls": { "b": "https://b.example" } } }),
            200,
        ),
        (json!({ "config": { "api_keys": { "ideogram": "****6789" } } }), 200),
        (json!({ "config": { "api_keys": { "ideogram": "****6780" } } }), 400),
        (json!({ "config": { "api_keys": { "second": "****6789" } } }), 400),
        (json!({ "config": { "api_keys": { "third": "****6789" } } }), 400),
        (
            json!({ "config": { "api_keys": { "second": "****-key", "ideogram": null } } }),
            200,
        ),
        (json!({ "name": "Again", "config": { "r2_bucket": null } }), 200),
        (json!({ "name": "x", "config": { "r2_bucket": "A" } }), 400),
        (json!({ "name": "", "config": { "r2_bucket": "abc" } }), 400),
        (json!({}), 400),
        (json!({ "config": null }), 400),
        (json!({ "config": [] }), 400),
        (json!({ "config": { "api_keys": null } }), 400),
        (json!({ "config": { "rate_limits": null } }), 400),
        (json!({ "config": { "more": 1 } }), 400),
        (json!({ "instance_id": "x" }), 400),
        (json!({ "org_id": "other-org" }), 400),
        (json!({ "api_keys": {} }), 400),
        (json!({ "authorized_users": [] }), 400),
        (
            json!({ "config": { "api_keys": {}, "rate_limits": {}, "worker_urls": {} } }),
            200,
        ),
    ];
    for (step, status) in steps {
        told(
            send(lab, "PATCH", &path, &step).await?.status(status),
            &step.to_string(),
        )?;
        let request = Request::new("GET", &path).bearer(&service);
        told(lab.config(request).await, &step.to_string())?.status(200)?;
    }
    // Every other instance is as it was.
    read(lab, "/instance").await?.status(200)?;
    Ok(())
}
