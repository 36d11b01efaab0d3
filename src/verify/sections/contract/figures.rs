//! Logs and metrics, from entries that lie there.

use std::fmt::Write as _;

use reference_core::http::Request;
use reference_core::time;
use reference_native::Service;
use serde_json::json;

use super::super::ask::{by_root, encoded, told, walk};
use crate::verify::check::{Check, Section};
use crate::verify::lab::{Lab, OTHER_USER, Outcome};

pub(super) fn checks() -> Vec<Check> {
    let contract = Section::Contract;
    vec![
        Check::new(contract, "filters-of-logs", &["LOG-09", "LIST-03", "API-09"], filters),
        Check::new(contract, "pages-of-logs", &["LOG-09", "LIST-01"], pages),
        Check::new(contract, "metrics", &["METRIC-01", "METRIC-03"], metrics),
        Check::new(
            contract,
            "metrics-without-traffic",
            &["METRIC-01", "METRIC-03"],
            without_traffic,
        ),
    ]
}

/// Entries of several instances, moments, levels and makers, the earliest first.
async fn entries(lab: &mut Lab) -> Outcome<u64> {
    let now_ms = lab.now_ms();
    let instances = ["'production'", "'development'", "'elsewhere'", "'gone'", "NULL"];
    let statuses = [200, 200, 429, 500, 404, 502, 200, 504];
    let mut script = String::new();
    for number in 0..40_u64 {
        let index = usize::try_from(number).unwrap_or_default();
        // Pairs share a moment.
        let at = time::format(now_ms - (40 - number / 2 * 2) * 61_000);
        let status = statuses[index % statuses.len()];
        let metadata = match number % 5 {
            4 => json!({ "event": "other", "route": "/generate", "status": status, "duration_ms": 5 }),
            3 => json!({ "event": "request", "route": "/jobs", "status": status, "duration_ms": 5 }),
            _ => json!({ "event": "request", "route": "/generate", "status": status, "duration_ms": 100 + number * 7 }),
        };
        let _ = writeln!(
            script,
            "INSERT INTO logs (log_id, timestamp, level, message, request_id, instance_id, user_id, component, metadata, created_at) VALUES ('entry-{:02}', '{at}', '{}', '{}', '00000000-0000-4000-8000-00000000ab{:02}', {}, {}, '{}', '{metadata}', '{at}');",
            (number * 7) % 40,
            ["DEBUG", "INFO", "WARN", "ERROR"][index % 4],
            ["request completed", "Something 100% WRONG_here", "a\\b", "Größe"][index / 2 % 4],
            number % 10,
            instances[index % instances.len()],
            if number % 3 == 0 {
                format!("'{OTHER_USER}'")
            } else {
                "NULL".to_owned()
            },
            ["image-gen-worker", "other"][index % 2],
        );
    }
    for number in 0..9_u64 {
        let at = time::format(now_ms - number * 600_000);
        let (instance, org) = [
            ("production", "example-org"),
            ("development", "example-org"),
            ("elsewhere", "other-org"),
        ][usize::try_from(number).unwrap_or_default() % 3];
        let _ = writeln!(
            script,
            "INSERT INTO usage_logs (log_id, org_id, instance_id, request_id, timestamp, provider, model, tokens_used, cost, created_at) VALUES ('usage-{number}', '{org}', '{instance}', 'r', '{at}', '{}', 'm', {number}, {}, '{at}');",
            ["ideogram", "another"][usize::try_from(number).unwrap_or_default() % 2],
            number * 1000 + 1,
        );
    }
    lab.write(&script).await?;
    Ok(now_ms)
}

async fn filters(lab: &mut Lab) -> Outcome {
    let now_ms = entries(lab).await?;
    // The moment of entries, so that it matters which end of the range belongs to it.
    let (early, late) = (time::format(now_ms - 30 * 61_000), time::format(now_ms - 20 * 61_000));
    let good = [
        String::new(),
        "instance_id=production".to_owned(),
        "instance_id=elsewhere".to_owned(),
        "level=ERROR".to_owned(),
        "level=ERROR,WARN".to_owned(),
        "level=WARN,WARN".to_owned(),
        "component=other".to_owned(),
        "component=Other".to_owned(),
        "component=nobody".to_owned(),
        "component=".to_owned(),
        "request_id=00000000-0000-4000-8000-00000000ab03".to_owned(),
        "request_id=00000000-0000-4000-8000-00000000AB03".to_owned(),
        "request_id=x".to_owned(),
        format!("user_id={OTHER_USER}"),
        "user_id=nobody".to_owned(),
        format!("from={early}"),
        format!("to={late}"),
        format!("from={early}&to={late}"),
        format!("from={late}&to={early}"),
        format!("from={early}&to={early}"),
        "search=wrong".to_owned(),
        "search=COMPLETED".to_owned(),
        "search=100%25".to_owned(),
        "search=%25".to_owned(),
        "search=g_h".to_owned(),
        "search=WRONG_".to_owned(),
        "search=_".to_owned(),
        "search=%5C".to_owned(),
        "search=gr%C3%B6".to_owned(),
        "search=GR%C3%96".to_owned(),
        "search=%27".to_owned(),
        "search=*".to_owned(),
        format!("search={}", "a".repeat(200)),
        "level=WARN&component=image-gen-worker&search=wrong&limit=2".to_owned(),
        "unknown=1".to_owned(),
    ];
    for query in good {
        let request = by_root(lab, "GET", &format!("/logs?{query}"));
        told(told(lab.config(request).await, &query)?.status(200), &query)?;
    }
    let bad = [
        "level=".to_owned(),
        "level=error".to_owned(),
        "level=FATAL".to_owned(),
        "level=ERROR,".to_owned(),
        "level=ERROR,%20WARN".to_owned(),
        "from=".to_owned(),
        "from=2026-01-01".to_owned(),
        "to=yesterday".to_owned(),
        "to=2026-02-30T00:00:00.000Z".to_owned(),
        "from=1767225600000".to_owned(),
        "search=".to_owned(),
        format!("search={}", "a".repeat(201)),
        "limit=0".to_owned(),
        "cursor=x".to_owned(),
    ];
    for query in bad {
        let request = by_root(lab, "GET", &format!("/logs?{query}"));
        told(told(lab.config(request).await, &query)?.status(400), &query)?;
    }
    for query in ["instance_id=nobody", "instance_id=gone", "instance_id="] {
        let request = by_root(lab, "GET", &format!("/logs?{query}"));
        told(told(lab.config(request).await, query)?.status(404), query)?;
    }
    Ok(())
}

async fn pages(lab: &mut Lab) -> Outcome {
    entries(lab).await?;
    let (root, admin) = (lab.keys.root.clone(), lab.keys.admin.clone());
    for query in [
        "limit=1&level=ERROR",
        "limit=3",
        "limit=7&instance_id=production",
        "limit=100",
    ] {
        walk(lab, &format!("/logs?{query}"), &root).await?;
        walk(lab, &format!("/logs?{query}"), &admin).await?;
    }
    let first = by_root(lab, "GET", "/logs?limit=2&level=ERROR,WARN");
    let cursor = lab.config(first).await?.status(200)?.text("/next_cursor")?;
    for (query, status) in [
        ("level=ERROR,WARN&limit=3", 200),
        ("level=ERROR", 400),
        ("level=ERROR,WARN&component=other", 400),
        ("", 400),
        ("level=ERROR,WARN&search=a", 400),
    ] {
        let next = |side| {
            let cursor = encoded(cursor.on(side));
            Request::new("GET", &format!("/logs?{query}&cursor={cursor}")).bearer(&root)
        };
        let answers = told(lab.ask_each(Service::Config, next).await, query)?;
        told(answers.status(status), query)?;
    }
    Ok(())
}

const RANGES: [&str; 4] = ["", "range=hour", "range=day", "range=week"];

async fn metrics(lab: &mut Lab) -> Outcome {
    entries(lab).await?;
    let (root, admin, other) = (
        lab.keys.root.clone(),
        lab.keys.admin.clone(),
        lab.keys.other_admin.clone(),
    );
    for range in RANGES {
        for key in [&root, &admin, &other] {
            let request = Request::new("GET", &format!("/metrics?{range}")).bearer(key);
            told(lab.config(request).await, range)?.status(200)?;
        }
        for instances in [
            "production",
            "development,production",
            "production,production",
            "elsewhere",
        ] {
            let request = by_root(lab, "GET", &format!("/metrics?{range}&instance_id={instances}"));
            told(lab.config(request).await, instances)?.status(200)?;
        }
    }
    Ok(())
}

async fn without_traffic(lab: &mut Lab) -> Outcome {
    for range in RANGES {
        let request = by_root(lab, "GET", &format!("/metrics?{range}"));
        told(lab.config(request).await, range)?.status(200)?;
    }
    for query in ["range=", "range=year", "range=Hour", "range=hour,day"] {
        let request = by_root(lab, "GET", &format!("/metrics?{query}"));
        told(told(lab.config(request).await, query)?.status(400), query)?;
    }
    for query in [
        "instance_id=nobody",
        "instance_id=",
        "instance_id=production,",
        "instance_id=production,nobody",
        "instance_id=Production",
    ] {
        let request = by_root(lab, "GET", &format!("/metrics?{query}"));
        told(told(lab.config(request).await, query)?.status(404), query)?;
    }
    Ok(())
}
