//! Section time: what changes as time passes, to the millisecond where the contract says when.

use reference_core::http::Request;
use reference_core::time;
use reference_native::Service;
use serde_json::json;

use super::orders::{
    ASKED_AFTER, forget_calls, order, order_of, ordered, ordered_now, same_calls, same_log, same_orders, same_usage,
    together,
};
use crate::verify::check::{Check, Section};
use crate::verify::lab::{Lab, NEWCOMER, Outcome, Side};
use crate::verify::outage::Outage;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
/// A copy of a configuration is fresh for less than this.
const FRESH_MS: u64 = 5 * MINUTE_MS;

fn check(name: &str, requirements: &[&'static str], run: impl AsyncFn(&mut Lab) -> Outcome + 'static) -> Check {
    Check::new(Section::Time, name, requirements, run)
}

/// The checks of this section.
pub(super) fn checks() -> Vec<Check> {
    vec![
        check(
            "copy-is-fresh-for-five-minutes",
            &["CACHE-01", "CACHE-02"],
            fresh_for_five_minutes,
        ),
        check("old-copy-serves-for-a-day", &["LOOK-07", "LOOK-08"], old_copy_for_a_day),
        check("change-removes-the-copy", &["CACHE-03"], change_removes_the_copy),
        check("copy-never-widens-access", &["CACHE-04"], copy_never_widens_access),
        check("instance-that-is-gone", &["CACHE-05"], instance_that_is_gone),
        check("key-expires", &["AUTH-05", "KEY-04"], key_expires),
        check("last-use-of-a-key", &["AUTH-08"], last_use_of_a_key),
        check("request-id-for-a-day", &["GEN-06"], request_id_for_a_day),
        check("job-for-a-day", &["JOB-02", "GEN-09", "JOB-01"], job_for_a_day),
        check("log-for-thirty-days", &["LOG-06"], log_for_thirty_days),
        check("log-within-ten-seconds", &["LOG-04"], log_within_ten_seconds),
        check("image-outlives-its-link", &["PROV-05"], image_outlives_its_link),
        check("metrics-as-time-passes", &["METRIC-03"], metrics_as_time_passes),
    ]
}

async fn on_both(lab: &Lab, script: &str) -> Outcome {
    for side in [&lab.reference, &lab.subject] {
        side.write(script).await?;
    }
    Ok(())
}

async fn fresh_for_five_minutes(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    lab.pass_ms(0).await?;
    let began_ms = lab.now_ms();
    ordered_now(lab, &instance, "is fetched").await?.status(200)?;
    // Past the Config Service, so that nobody removes the copy: now every order would be refused.
    on_both(
        lab,
        &format!("UPDATE instances SET config = json_set(config, '$.api_keys', json('{{}}')), version = version + 1 WHERE instance_id = '{instance}';\n"),
    )
    .await?;
    for after_ms in [1, MINUTE_MS, FRESH_MS - 1] {
        lab.stand_at(began_ms + after_ms).await?;
        ordered_now(lab, &instance, "is fresh").await?.status(200)?;
    }
    lab.stand_at(began_ms + FRESH_MS).await?;
    ordered_now(lab, &instance, "is fetched again")
        .await?
        .error(400, "VALIDATION_FAILED")?;
    lab.stand_at(began_ms + FRESH_MS + 10).await?;
    ordered_now(lab, &instance, "is fresh again")
        .await?
        .error(400, "VALIDATION_FAILED")?;
    same_log(lab, 6).await
}

async fn old_copy_for_a_day(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    lab.pass_ms(0).await?;
    let began_ms = lab.now_ms();
    ordered_now(lab, &instance, "is fetched").await?.status(200)?;
    lab.set_outage(Some(Outage::ConfigDown)).await?;
    for (after_ms, status) in [
        (FRESH_MS, 200),
        (6 * HOUR_MS, 200),
        (DAY_MS - 2 * MINUTE_MS, 200),
        (DAY_MS + 2 * MINUTE_MS, 503),
    ] {
        lab.stand_at(began_ms + after_ms).await?;
        ordered_now(lab, &instance, "by an old copy").await?.status(status)?;
    }
    lab.set_outage(None).await?;
    ordered(lab, &instance, "is fetched again").await?.status(200)?;
    same_log(lab, 6).await
}

/// Whatever edits the instance or its access removes the copy; the log tells where each configuration came from.
async fn change_removes_the_copy(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let root = lab.keys.root.clone();
    let path = format!("/instance/{instance}");
    let access = format!("{path}/access/{NEWCOMER}");
    let newcomer = lab.keys.newcomer.clone();
    let rename = Request::new("PATCH", &path)
        .bearer(&root)
        .json(&json!({ "name": "Renamed" }));
    let changes = [
        (rename, 200),
        (Request::new("PUT", &access).bearer(&root), 200),
        (Request::new("DELETE", &access).bearer(&root), 200),
        (Request::new("PUT", &access).bearer(&root), 200),
        (Request::new("DELETE", &format!("/user/{NEWCOMER}")).bearer(&root), 200),
    ];
    let mut orders = 0;
    for (change, status) in changes {
        // Once fetched at the latest, then fresh.
        for prompt in ["before a change", "still before it"] {
            ordered(lab, &instance, prompt).await?.status(200)?;
            orders += 1;
        }
        lab.config(change).await?.status(status)?;
    }
    ordered(lab, &instance, "after all changes").await?.status(200)?;
    lab.image(order(&newcomer, &instance, "by a user that is gone"))
        .await?
        .error(401, "AUTH_FAILED")?;
    same_log(lab, orders + 2).await?;
    let remove = json!({ "config": { "api_keys": { "ideogram": null } } });
    lab.config(Request::new("PATCH", &path).bearer(&root).json(&remove))
        .await?
        .status(200)?;
    ordered(lab, &instance, "without a key")
        .await?
        .error(400, "VALIDATION_FAILED")?;
    lab.config(Request::new("DELETE", &path).bearer(&root))
        .await?
        .status(200)?;
    ordered(lab, &instance, "without an instance")
        .await?
        .error(404, "NOT_FOUND")?;
    Ok(())
}

async fn copy_never_widens_access(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    on_both(
        lab,
        &format!("INSERT INTO user_instance_access (user_id, instance_id, created_at) VALUES ('{NEWCOMER}', '{instance}', '2026-01-02T00:00:00.000Z');\n"),
    )
    .await?;
    let request = order(&lab.keys.newcomer, &instance, "with access");
    lab.image(request.clone()).await?.status(200)?;
    // Past the Config Service, so that the copy stays.
    let removal = format!("DELETE FROM user_instance_access WHERE user_id = '{NEWCOMER}';\n");
    on_both(lab, &removal).await?;
    lab.image(request.clone()).await?.error(403, "FORBIDDEN")?;
    lab.set_outage(Some(Outage::ConfigDown)).await?;
    lab.pass_ms(FRESH_MS).await?;
    lab.image(request).await?.error(403, "FORBIDDEN")?;
    let elsewhere = order(&lab.keys.other_admin, &instance, "of another organisation");
    lab.image(elsewhere).await?.error(403, "FORBIDDEN")?;
    ordered(lab, &instance, "by an old copy").await?.status(200)?;
    lab.set_outage(None).await
}

async fn instance_that_is_gone(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    ordered(lab, &instance, "is there").await?.status(200)?;
    on_both(
        lab,
        &format!(
            "UPDATE usage_logs SET instance_id = NULL;\nDELETE FROM instances WHERE instance_id = '{instance}';\n"
        ),
    )
    .await?;
    lab.pass_ms(FRESH_MS).await?;
    ordered(lab, &instance, "is gone").await?.error(404, "NOT_FOUND")?;
    lab.set_outage(Some(Outage::ConfigDown)).await?;
    ordered(lab, &instance, "no copy is left")
        .await?
        .error(503, "CONFIG_UNAVAILABLE")?;
    lab.set_outage(None).await
}

async fn key_expires(lab: &mut Lab) -> Outcome {
    let root = lab.keys.root.clone();
    let instance = lab.instance(json!({})).await?;
    let path = format!("/user/{NEWCOMER}/key");
    lab.pass_ms(0).await?;
    let now_ms = lab.now_ms() + 321;
    lab.stand_at(now_ms).await?;
    let asked = |expires_ms: u64| {
        let body = json!({ "name": "for a while", "expires_at": time::format(expires_ms) });
        Request::new("POST", &path).bearer(&root).json(&body)
    };
    for (expires_ms, status) in [(now_ms - 1, 400), (now_ms, 400), (now_ms + 1, 201)] {
        lab.ask_now(Service::Config, |_| asked(expires_ms))
            .await?
            .status(status)?;
    }
    let expires_ms = now_ms + HOUR_MS;
    let key = lab
        .ask_now(Service::Config, |_| asked(expires_ms))
        .await?
        .status(201)?
        .text("/key")?;
    for (at_ms, is_valid) in [
        (now_ms + 1, true),
        (expires_ms - 1, true),
        (expires_ms, false),
        (expires_ms + DAY_MS, false),
    ] {
        lab.stand_at(at_ms).await?;
        let me = |side| Request::new("GET", "/me").bearer(key.on(side));
        lab.ask_now(Service::Config, me)
            .await?
            .status(if is_valid { 200 } else { 401 })?;
        // Without access: 403 is what a valid key of the newcomer gets.
        let image = |side| order(key.on(side), &instance, "by a key that expires");
        lab.ask_now(Service::Image, image)
            .await?
            .status(if is_valid { 403 } else { 401 })?;
    }
    let revoked = lab
        .config(Request::new("POST", &path).bearer(&root))
        .await?
        .status(201)?;
    let (key_id, key) = (revoked.text("/key_id")?, revoked.text("/key")?);
    let me = |side| Request::new("GET", "/me").bearer(key.on(side));
    lab.ask_each(Service::Config, me).await?.status(200)?;
    let revoke = |side| Request::new("DELETE", &format!("/key/{}", key_id.on(side))).bearer(&root);
    lab.ask_each(Service::Config, revoke).await?.status(200)?;
    lab.ask_each(Service::Config, me).await?.error(401, "AUTH_FAILED")?;
    let image = |side| order(key.on(side), &instance, "by a revoked key");
    lab.ask_each(Service::Image, image).await?.error(401, "AUTH_FAILED")?;
    Ok(())
}

/// When the newcomer's key was last used, as the subject has it.
async fn last_use(lab: &Lab) -> Outcome<Option<u64>> {
    let sql = format!("SELECT last_used_at FROM api_keys WHERE user_id = '{NEWCOMER}'");
    let rows = lab.subject.rows(&sql).await?;
    let last = rows.first().and_then(|row| row["last_used_at"].as_str());
    Ok(last.and_then(time::parse))
}

async fn last_use_of_a_key(lab: &mut Lab) -> Outcome {
    let me = Request::new("GET", "/me").bearer(&lab.keys.newcomer);
    let mut wanted = None;
    for (pause_ms, is_noted) in [(0, true), (20_000, false), (20_000, false), (2 * MINUTE_MS, true)] {
        lab.pass_ms(pause_ms).await?;
        lab.config(me.clone()).await?.status(200)?;
        if is_noted {
            wanted = Some(lab.now_ms());
        }
        // It is noted after the answer.
        for _ in 0..50 {
            if last_use(lab).await? == wanted {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let found = last_use(lab).await?;
        lab.require(
            found == wanted,
            format!(
                "last_used_at is {:?} in place of {:?}",
                found.map(time::format),
                wanted.map(time::format)
            ),
        )?;
    }
    Ok(())
}

async fn request_id_for_a_day(lab: &mut Lab) -> Outcome {
    let instance = lab
        .instance(json!({ "rate_limits": { "ideogram": { "rpm": 1 } } }))
        .await?;
    let id = "0b6d4a52-7b3e-4c0e-9a51-3f6f6f0b7a11";
    let asked = |key: &str, prompt: &str| {
        let body = json!({ "prompt": prompt, "model": "ideogram-v2", "instance_id": instance, "request_id": id });
        order_of(key, &body)
    };
    let root = lab.keys.root.clone();
    let first = lab.image(asked(&root, "once")).await?.status(200)?;
    let again = lab.image(asked(&root, "once")).await?.status(200)?;
    lab.require(
        first.subject.body == again.subject.body,
        "a repeated answer is not equal to the first one",
    )?;
    lab.image(asked(&root, "something else"))
        .await?
        .error(409, "CONFLICT")?;
    // The id belongs to the credential.
    let admin = lab.keys.admin.clone();
    lab.image(asked(&admin, "once")).await?.error(429, "RATE_LIMITED")?;
    lab.pass_ms(DAY_MS - MINUTE_MS).await?;
    lab.image(asked(&root, "once")).await?.status(200)?;
    same_calls(lab, &["order", "image"])?;
    lab.pass_ms(2 * MINUTE_MS).await?;
    let anew = lab.image(asked(&root, "once")).await?.status(200)?;
    lab.require(
        anew.subject.body != first.subject.body,
        "after a day the answer is still the first one",
    )?;
    same_orders(lab, 2)?;
    same_usage(lab, 2).await?;
    same_log(lab, 6).await
}

/// A job that nobody waited for.
async fn job_for_a_day(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let ask = |prompt: &str| json!({ "prompt": prompt, "model": ASKED_AFTER, "instance_id": instance });
    let root = lab.keys.root.clone();
    let request = order_of(&root, &ask("never ready [[never]]"));
    lab.pass_ms(0).await?;
    let began_ms = lab.now_ms();
    let found = together(lab, Service::Image, &[request]).await?;
    found.statuses(&[(504, 1)])?;
    let job = |side, key: &str| {
        let answer = if side == Side::Reference {
            &found.reference[0]
        } else {
            &found.subject[0]
        };
        Request::new("GET", answer.json()["status_url"].as_str().unwrap_or_default()).bearer(key)
    };
    forget_calls(lab);
    lab.ask_each(Service::Image, |side| job(side, &root))
        .await?
        .status(200)?;
    same_calls(lab, &["ask"])?;
    let newcomer = lab.keys.newcomer.clone();
    lab.ask_each(Service::Image, |side| job(side, &newcomer))
        .await?
        .error(403, "FORBIDDEN")?;
    lab.stand_at(began_ms + DAY_MS - MINUTE_MS).await?;
    lab.ask_now(Service::Image, |side| job(side, &root))
        .await?
        .status(200)?;
    lab.stand_at(began_ms + DAY_MS + MINUTE_MS).await?;
    lab.ask_now(Service::Image, |side| job(side, &root))
        .await?
        .error(404, "NOT_FOUND")?;
    Ok(())
}

async fn log_for_thirty_days(lab: &mut Lab) -> Outcome {
    lab.pass_ms(0).await?;
    let now_ms = lab.now_ms();
    let ages = [
        0,
        DAY_MS,
        29 * DAY_MS,
        30 * DAY_MS - 1000,
        30 * DAY_MS + 1000,
        31 * DAY_MS,
        400 * DAY_MS,
    ];
    for (number, age_ms) in ages.iter().enumerate() {
        // When it was recorded says nothing: it goes by the time of the entry.
        let (at, now) = (time::format(now_ms - age_ms), time::format(now_ms));
        on_both(
            lab,
            &format!(
                "INSERT INTO logs (log_id, timestamp, level, message, request_id, instance_id, user_id, component, metadata, created_at) VALUES ('00000000-0000-4000-8000-00000000010{number}', '{at}', 'INFO', 'planted', '00000000-0000-4000-8000-000000000200', NULL, NULL, 'verify', '{{}}', '{now}');\n"
            ),
        )
        .await?;
    }
    lab.reference.run_scheduled().await?;
    lab.subject.run_scheduled().await?;
    let (reference, _) = lab
        .rows("SELECT log_id FROM logs WHERE component = 'verify' ORDER BY log_id")
        .await?;
    lab.require(reference.len() == 4, "entries older than thirty days stay")
}

async fn log_within_ten_seconds(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    ordered(lab, &instance, "is noted").await?.status(200)?;
    same_log(lab, 1).await?;
    // Many at the same time: each once.
    lab.pass_ms(0).await?;
    let unknown = order("mas_nothing", &instance, "by nobody");
    together(lab, Service::Image, &vec![unknown; 105])
        .await?
        .statuses(&[(401, 105)])?;
    lab.settle().await?;
    let sql = "SELECT count(*) AS count, count(DISTINCT request_id) AS ids, count(DISTINCT log_id) AS entries FROM logs WHERE json_extract(metadata, '$.status') = 401";
    lab.rows(sql).await?;
    Ok(())
}

async fn image_outlives_its_link(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let made = ordered(lab, &instance, "for ever").await?.status(200)?;
    let path = made.text("/r2_path")?;
    let image = |side| Request::new("GET", &format!("/images/{}", path.on(side)));
    // The providers of both draw the same picture, so equal bytes are the provider's.
    lab.ask_each(Service::Image, image).await?.status(200)?;
    forget_calls(lab);
    lab.pass_ms(3 * DAY_MS).await?;
    lab.ask_each(Service::Image, image).await?.status(200)?;
    same_calls(lab, &[])
}

async fn metrics_as_time_passes(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    for (pause_ms, prompt, status) in [
        (0, "one", 200),
        (7 * MINUTE_MS, "two [[status-400]]", 502),
        (50 * MINUTE_MS, "three", 200),
        (5 * HOUR_MS, "four [[status-422]]", 422),
        (2 * DAY_MS, "five", 200),
    ] {
        lab.pass_ms(pause_ms).await?;
        ordered(lab, &instance, prompt).await?.status(status)?;
        lab.settle().await?;
        for range in ["hour", "day", "week"] {
            let target = format!("/metrics?range={range}&instance_id={instance}");
            let request = Request::new("GET", &target).bearer(&lab.keys.root);
            lab.config(request).await?.status(200)?;
        }
    }
    Ok(())
}
