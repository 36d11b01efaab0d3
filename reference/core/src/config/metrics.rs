//! Figures over time, out of the log and the usage: section A.10.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::instances;
use crate::caller::{Caller, Kind};
use crate::http::{Answer, Request};
use crate::ports::{self, ConfigHost};
use crate::problem::Problem;
use crate::time;

/// A range: its name, how many buckets, of how many seconds.
const RANGES: [(&str, usize, u64); 3] = [("hour", 60, 60), ("day", 96, 900), ("week", 168, 3600)];

/// What was counted in one bucket of one instance.
#[derive(Clone, Copy, Default)]
struct Bucket {
    requests: i64,
    errors: i64,
    rate_limited: i64,
    /// How many answered with 200, and how long all of them took.
    generated: i64,
    generated_ms: i64,
}

impl Bucket {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.rate_limited += other.rate_limited;
        self.generated += other.generated;
        self.generated_ms += other.generated_ms;
    }

    fn response_ms(&self) -> Option<f64> {
        (self.generated > 0).then(|| rounded(ratio(self.generated_ms, self.generated), 10.0))
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn ratio(part: i64, whole: i64) -> f64 {
    part as f64 / whole as f64
}

fn rounded(number: f64, steps: f64) -> f64 {
    (number * steps).round() / steps
}

/// The instances that are asked for, sorted: those named, or all within reach.
async fn asked(host: &impl ConfigHost, request: &Request, caller: &Caller) -> Result<Vec<String>, Problem> {
    let Some(named) = request.parameter("instance_id") else {
        let own = if caller.kind() == Kind::Superadmin {
            None
        } else {
            caller.org_id()
        };
        let sql = "SELECT instance_id FROM instances WHERE ?1 IS NULL OR org_id = ?1 ORDER BY instance_id";
        let outcome = host.query(sql, vec![own.into()]).await?;
        return Ok(outcome
            .rows
            .iter()
            .map(|row| row.text("instance_id").to_owned())
            .collect());
    };
    let mut named: Vec<String> = named.split(',').map(str::to_owned).collect();
    named.sort();
    named.dedup();
    let mut refused = None;
    for instance_id in &named {
        // One that does not exist comes before one out of reach.
        match instances::readable(host, caller, instance_id).await {
            Err(problem) if problem.code.status() == 403 => refused = Some(problem),
            outcome => drop(outcome?),
        }
    }
    refused.map_or(Ok(named), Err)
}

pub(super) async fn read(host: &impl ConfigHost, request: &Request, caller: &Caller) -> Result<Answer, Problem> {
    let range = request.parameter("range").unwrap_or_else(|| "hour".to_owned());
    let known = RANGES.into_iter().find(|(name, _, _)| *name == range);
    let (_, count, seconds) = known.ok_or_else(|| Problem::invalid("`range` must be `hour`, `day` or `week`"))?;
    let instance_ids = asked(host, request, caller).await?;
    let bucket_ms = seconds * 1000;
    let to_ms = (host.now_ms() / bucket_ms + 1) * bucket_ms;
    let from_ms = to_ms.saturating_sub(bucket_ms * count as u64);
    let (from, to) = (time::format(from_ms), time::format(to_ms));
    let window: Vec<ports::Value> = vec![
        from.as_str().into(),
        to.as_str().into(),
        json!(instance_ids).to_string().into(),
    ];

    let mut series: BTreeMap<String, Vec<Bucket>> = instance_ids
        .into_iter()
        .map(|id| (id, vec![Bucket::default(); count]))
        .collect();
    let mut parameters = window.clone();
    parameters.push(i64::try_from(seconds).unwrap_or(i64::MAX).into());
    for row in host.query(COUNT_REQUESTS, parameters).await?.rows {
        let index = usize::try_from(row.integer("bucket")).unwrap_or(usize::MAX);
        let bucket = series
            .get_mut(row.text("instance_id"))
            .and_then(|buckets| buckets.get_mut(index));
        *bucket.ok_or_else(Problem::internal)? = Bucket {
            requests: row.integer("requests"),
            errors: row.integer("errors"),
            rate_limited: row.integer("rate_limited"),
            generated: row.integer("generated"),
            generated_ms: row.integer("generated_ms"),
        };
    }
    let mut total = Bucket::default();
    series.values().flatten().for_each(|bucket| total.add(*bucket));

    let usage = host.query(SUM_USAGE, window).await?.rows;
    let cost_microdollars: i64 = usage.iter().map(|row| row.integer("cost")).sum();
    let providers: Vec<Value> = usage
        .iter()
        .map(|row| {
            json!({
                "provider": row.text("provider"),
                "requests": row.integer("requests"),
                "tokens": row.integer("tokens"),
                "cost_microdollars": row.integer("cost"),
            })
        })
        .collect();
    let column = |buckets: &[Bucket], figure: fn(&Bucket) -> Value| -> Value { buckets.iter().map(figure).collect() };
    let series: Vec<Value> = series
        .iter()
        .map(|(instance_id, buckets)| {
            json!({
                "instance_id": instance_id,
                "requests": column(buckets, |bucket| bucket.requests.into()),
                "errors": column(buckets, |bucket| bucket.errors.into()),
                "rate_limited": column(buckets, |bucket| bucket.rate_limited.into()),
                "response_ms": column(buckets, |bucket| bucket.response_ms().into()),
            })
        })
        .collect();
    Ok(Answer::ok(json!({
        "range": range,
        "from": from,
        "to": to,
        "bucket_seconds": seconds,
        "series": series,
        "totals": {
            "requests": total.requests,
            "errors": total.errors,
            "rate_limited": total.rate_limited,
            "error_rate": (total.requests > 0).then(|| rounded(ratio(total.errors, total.requests), 10_000.0)),
            "response_ms": total.response_ms(),
            "cost_microdollars": cost_microdollars,
        },
        "providers": providers,
    })))
}

/// Numbers reach D1 as JavaScript has them, so what must divide as a whole number has to say so.
const COUNT_REQUESTS: &str = "SELECT instance_id, (unixepoch(timestamp) - unixepoch(?1)) / CAST(?4 AS INTEGER) AS bucket, count(*) AS requests, \
    sum(status >= 500) AS errors, sum(status = 429) AS rate_limited, sum(status = 200) AS generated, \
    sum(CASE WHEN status = 200 THEN duration_ms ELSE 0 END) AS generated_ms FROM ( \
        SELECT instance_id, timestamp, json_extract(metadata, '$.status') AS status, json_extract(metadata, '$.duration_ms') AS duration_ms \
        FROM logs WHERE timestamp >= ?1 AND timestamp < ?2 AND instance_id IN (SELECT value FROM json_each(?3)) \
        AND json_extract(metadata, '$.event') = 'request' AND json_extract(metadata, '$.route') = '/generate' \
    ) GROUP BY instance_id, bucket";

const SUM_USAGE: &str = "SELECT provider, count(*) AS requests, sum(tokens_used) AS tokens, sum(cost) AS cost FROM usage_logs \
    WHERE timestamp >= ?1 AND timestamp < ?2 AND instance_id IN (SELECT value FROM json_each(?3)) GROUP BY provider ORDER BY provider";
