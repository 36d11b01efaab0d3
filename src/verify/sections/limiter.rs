//! Section limiter: admission by the rolling window, one request after the other and many at once.

use reference_core::http::{Request, Response};
use reference_native::Service;
use serde_json::json;

use super::orders::{
    forget_calls, order, order_of, ordered, ordered_now, received, same_calls, same_orders, statuses, together,
};
use crate::verify::check::{Check, Section};
use crate::verify::lab::{Failed, Lab, Outcome};
use crate::verify::outage::Outage;

/// How long an admission counts, in milliseconds.
const WINDOW_MS: u64 = 60_000;

fn check(name: &str, requirements: &[&'static str], run: impl AsyncFn(&mut Lab) -> Outcome + 'static) -> Check {
    Check::new(Section::Limiter, name, requirements, run)
}

/// The checks of this section.
pub(super) fn checks(seed: u64) -> Vec<Check> {
    vec![
        check(
            "fifty-at-once",
            &["LIMIT-03", "LIMIT-04", "LIMIT-01", "LIMIT-02", "STORE-02"],
            fifty_at_once,
        ),
        check(
            "window-rolls",
            &["LIMIT-06", "LIMIT-05", "LIMIT-01", "LIMIT-02"],
            window_rolls,
        ),
        check("edge-of-the-window", &["LIMIT-06", "LIMIT-05"], edge_of_the_window),
        check("refused-costs-nothing", &["LIMIT-04"], refused_costs_nothing),
        check("own-window-for-each-instance", &["LIMIT-08"], own_windows),
        check("changed-limit", &["LIMIT-09"], changed_limit),
        check("no-limit", &["LIMIT-10"], no_limit),
        check("place-among-refusals", &["GEN-04", "LIMIT-04"], place_among_refusals),
        check(
            "failures-keep-their-place",
            &["LIMIT-01", "GEN-04"],
            failures_keep_their_place,
        ),
        check("tokens-of-none", &["LIMIT-11"], tokens_of_none),
        check(
            "unreachable-window",
            &["LIMIT-13", "LIMIT-03", "GEN-16"],
            unreachable_window,
        ),
        Check::new(
            Section::Limiter,
            "bursts-by-chance",
            &["LIMIT-01", "LIMIT-02", "LIMIT-05", "LIMIT-06"],
            async move |lab: &mut Lab| bursts_by_chance(lab, seed).await,
        ),
    ]
}

fn limit(rpm: u64) -> serde_json::Value {
    json!({ "rate_limits": { "ideogram": { "rpm": rpm } } })
}

fn wait_seconds(answer: &Response) -> Option<u64> {
    answer.headers.get("retry-after")?.parse().ok()
}

/// Refusals tell how long to wait, alike on both sides: nothing here waited before it was decided.
fn same_waits(lab: &Lab, reference: &[Response], subject: &[Response]) -> Outcome {
    let waits = |answers: &[Response]| -> Vec<Option<u64>> {
        let refused = answers.iter().filter(|answer| answer.status == 429);
        let mut waits: Vec<Option<u64>> = refused.map(wait_seconds).collect();
        waits.sort_unstable();
        waits
    };
    let (reference, subject) = (waits(reference), waits(subject));
    lab.require(
        reference == subject,
        format!("Retry-After: {subject:?} in place of {reference:?}"),
    )
}

async fn fifty_at_once(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(limit(10)).await?;
    lab.pass_ms(0).await?;
    let request = order(&lab.keys.root, &instance, "one of fifty");
    let found = together(lab, Service::Image, &vec![request; 50]).await?;
    found.statuses(&[(200, 10), (429, 40)])?;
    same_waits(lab, &found.reference, &found.subject)?;
    for refused in found.subject.iter().filter(|answer| answer.status == 429) {
        let body = refused.json();
        lab.require(body["code"] == "RATE_LIMITED", format!("a refusal is {body}"))?;
    }
    let mut paths: Vec<String> = found
        .subject
        .iter()
        .filter_map(|answer| answer.json()["r2_path"].as_str().map(str::to_owned))
        .collect();
    paths.sort_unstable();
    paths.dedup();
    lab.require(
        paths.len() == 10,
        format!("{} paths for ten images of one moment", paths.len()),
    )?;
    same_orders(lab, 10)?;
    let (_, rows) = lab
        .rows("SELECT count(*) AS count, count(DISTINCT request_id) AS ids FROM usage_logs")
        .await?;
    lab.require(
        rows.first().is_some_and(|row| row["count"] == 10),
        "not one row of usage for each image",
    )?;
    let stored = lab.subject.images().await?;
    let found = paths
        .iter()
        .filter(|path| stored.iter().any(|image| image.path == **path))
        .count();
    lab.require(found == 10, format!("{found} of ten images are stored"))
}

async fn window_rolls(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(limit(3)).await?;
    lab.pass_ms(0).await?;
    let began_ms = lab.now_ms();
    // Which of a fixed window's edges one likes: none of these patterns fits it.
    let steps: [(u64, u16); 14] = [
        (0, 200),
        (20_000, 200),
        (45_000, 200),
        (59_000, 429),
        (60_000, 200),
        (60_001, 429),
        (79_999, 429),
        (80_000, 200),
        (81_000, 429),
        (105_000, 200),
        (119_999, 429),
        (120_000, 200),
        (140_000, 200),
        (140_500, 429),
    ];
    for (after_ms, status) in steps {
        lab.stand_at(began_ms + after_ms).await?;
        let answers = ordered_now(lab, &instance, "in a rolling window")
            .await?
            .status(status)?;
        same_waits(lab, &[answers.reference], &[answers.subject])?;
    }
    Ok(())
}

async fn edge_of_the_window(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(limit(1)).await?;
    lab.pass_ms(0).await?;
    let began_ms = lab.now_ms() + 137;
    let steps = [
        (0, 200, None),
        (1, 429, Some(60)),
        (1000, 429, Some(59)),
        (1001, 429, Some(59)),
        (WINDOW_MS - 1001, 429, Some(2)),
        (WINDOW_MS - 1000, 429, Some(1)),
        (WINDOW_MS - 1, 429, Some(1)),
        (WINDOW_MS, 200, None),
        (WINDOW_MS + 1, 429, Some(60)),
    ];
    for (after_ms, status, wait) in steps {
        lab.stand_at(began_ms + after_ms).await?;
        let answers = ordered_now(lab, &instance, "at the edge").await?.status(status)?;
        let found = wait_seconds(&answers.subject);
        lab.require(
            found == wait,
            format!("{after_ms} ms after an admission Retry-After is {found:?} in place of {wait:?}"),
        )?;
    }
    Ok(())
}

async fn refused_costs_nothing(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(limit(2)).await?;
    lab.pass_ms(0).await?;
    let began_ms = lab.now_ms();
    let request = order(&lab.keys.root, &instance, "again and again");
    together(lab, Service::Image, &vec![request.clone(); 2])
        .await?
        .statuses(&[(200, 2)])?;
    for after_ms in [10_000, 30_000, 50_000] {
        lab.stand_at(began_ms + after_ms).await?;
        together(lab, Service::Image, &vec![request.clone(); 3])
            .await?
            .statuses(&[(429, 3)])?;
    }
    lab.stand_at(began_ms + WINDOW_MS).await?;
    together(lab, Service::Image, &vec![request; 3])
        .await?
        .statuses(&[(200, 2), (429, 1)])?;
    same_orders(lab, 4)
}

async fn own_windows(lab: &mut Lab) -> Outcome {
    let one = lab.instance(limit(1)).await?;
    let other = lab.instance_named(&format!("{one}-other"), limit(1)).await?;
    for (instance, status) in [(&one, 200), (&one, 429), (&other, 200), (&other, 429), (&one, 429)] {
        ordered(lab, instance, "in its own window").await?.status(status)?;
    }
    // Whoever asks: the window is the instance's, not the caller's.
    let admin = order(&lab.keys.admin, &one, "by somebody else");
    lab.image(admin).await?.error(429, "RATE_LIMITED")?;
    Ok(())
}

async fn changed_limit(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(limit(1)).await?;
    let path = format!("/instance/{instance}");
    let root = lab.keys.root.clone();
    let change = |rpm: serde_json::Value| {
        let config = json!({ "config": { "rate_limits": { "ideogram": rpm } } });
        Request::new("PATCH", &path).bearer(&root).json(&config)
    };
    ordered(lab, &instance, "one").await?.status(200)?;
    ordered(lab, &instance, "two").await?.status(429)?;
    lab.config(change(json!({ "rpm": 3 }))).await?.status(200)?;
    ordered(lab, &instance, "two").await?.status(200)?;
    ordered(lab, &instance, "three").await?.status(200)?;
    ordered(lab, &instance, "four").await?.status(429)?;
    lab.config(change(json!({ "rpm": 2 }))).await?.status(200)?;
    ordered(lab, &instance, "four").await?.status(429)?;
    lab.config(change(json!(null))).await?.status(200)?;
    ordered(lab, &instance, "four").await?.status(200)?;
    Ok(())
}

async fn no_limit(lab: &mut Lab) -> Outcome {
    let instance = lab
        .instance(json!({ "rate_limits": { "another": { "rpm": 1 } } }))
        .await?;
    lab.pass_ms(0).await?;
    let request = order(&lab.keys.root, &instance, "without a limit");
    together(lab, Service::Image, &vec![request; 12])
        .await?
        .statuses(&[(200, 12)])
}

async fn place_among_refusals(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(limit(1)).await?;
    let bare = format!("{instance}-bare");
    let root = lab.keys.root.clone();
    let made = json!({ "instance_id": bare, "org_id": "example-org", "name": "Without a key", "config": limit(1) });
    lab.config(Request::new("POST", "/instance").bearer(&root).json(&made))
        .await?
        .status(201)?;
    let newcomer = lab.keys.newcomer.clone();
    let refused = [
        (order_of(&root, &json!({ "prompt": "", "instance_id": instance })), 400),
        (
            order_of(
                &root,
                &json!({ "prompt": "x", "model": "unknown", "instance_id": instance }),
            ),
            400,
        ),
        (order("mas_nothing", &instance, "x"), 401),
        (order(&newcomer, &instance, "x"), 403),
        (order(&root, "of-nobody", "x"), 404),
        (
            order_of(
                &root,
                &json!({ "prompt": "x", "project_id": "content-forge", "instance_id": instance }),
            ),
            400,
        ),
        (order(&root, &bare, "x"), 400),
    ];
    for (request, status) in &refused {
        lab.image(request.clone()).await?.status(*status)?;
    }
    same_calls(lab, &[])?;
    ordered(lab, &instance, "the only place").await?.status(200)?;
    forget_calls(lab);
    // With the window full, what comes before it still does.
    for (request, status) in &refused {
        lab.image(request.clone()).await?.status(*status)?;
    }
    ordered(lab, &instance, "one too many")
        .await?
        .error(429, "RATE_LIMITED")?;
    same_calls(lab, &[])
}

async fn failures_keep_their_place(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(limit(2)).await?;
    ordered(lab, &instance, "fails [[status-400]]").await?.status(502)?;
    ordered(lab, &instance, "is tried three times [[status-500*2]]")
        .await?
        .status(200)?;
    ordered(lab, &instance, "no place left").await?.status(429)?;
    Ok(())
}

async fn tokens_of_none(lab: &mut Lab) -> Outcome {
    let config = json!({ "rate_limits": { "ideogram": { "rpm": 3, "tpm": 1 } } });
    let instance = lab.instance(config).await?;
    for status in [200, 200, 200, 429] {
        ordered(lab, &instance, "uses no tokens").await?.status(status)?;
    }
    Ok(())
}

async fn unreachable_window(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(limit(5)).await?;
    lab.set_outage(Some(Outage::Limiter)).await?;
    ordered(lab, &instance, "nobody counts")
        .await?
        .error(500, "INTERNAL_ERROR")?;
    same_calls(lab, &[])?;
    lab.set_outage(None).await?;
    ordered(lab, &instance, "counted again").await?.status(200)?;
    Ok(())
}

/// Numbers that follow from a seed, as a linear congruential generator has them.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

async fn bursts_by_chance(lab: &mut Lab, seed: u64) -> Outcome {
    const RPM: usize = 4;
    let instance = lab.instance(limit(RPM as u64)).await?;
    lab.pass_ms(0).await?;
    let mut numbers = Numbers(seed);
    let mut now_ms = lab.now_ms();
    let mut admitted: Vec<u64> = Vec::new();
    for _ in 0..16 {
        now_ms +=
            [1, 700, 9_000, 20_000, 29_999, 60_000][usize::try_from(numbers.below(6)).unwrap_or(0)] + numbers.below(3);
        lab.stand_at(now_ms).await?;
        let burst = 1 + usize::try_from(numbers.below(4)).unwrap_or(0);
        let request = order(&lab.keys.root, &instance, "in a burst");
        let found = together(lab, Service::Image, &vec![request; burst]).await?;
        // What the definition says, without either implementation.
        let counting = admitted.iter().filter(|at_ms| now_ms - **at_ms < WINDOW_MS).count();
        let room = RPM.saturating_sub(counting).min(burst);
        let count = |answers: &[Response]| statuses(answers).get(&200).copied().unwrap_or(0);
        if count(&found.reference) != room {
            return Err(Failed::Check(format!(
                "the reference admits {}, not {room}",
                count(&found.reference)
            )));
        }
        lab.require(
            count(&found.subject) == room,
            format!(
                "{} of {burst} requests were admitted with {counting} of {RPM} in the window",
                count(&found.subject)
            ),
        )?;
        same_waits(lab, &found.reference, &found.subject)?;
        admitted.extend(std::iter::repeat_n(now_ms, room));
    }
    let calls = received(&lab.subject).len();
    lab.require(
        calls == admitted.len() * 2,
        format!("{calls} calls for {} images", admitted.len()),
    )
}
