//! Section sequences: requests by chance, one after another, and what is stored in the end. What differs is shrunk to the steps that it takes.

use std::time::{Duration, Instant};

use reference_core::http::Request;
use reference_sequences::shrink::{self, Difference};
use reference_sequences::{Known, Step, TABLES, sequence, steps};
use serde_json::{Value, json};

use crate::verify::check::{Check, Section};
use crate::verify::lab::{Failed, Lab, Outcome, Side};
use crate::verify::subject::{Row, Subject};

/// How many there are.
const SEQUENCES: u64 = 12;
/// Requests in each.
const STEPS: usize = 30;
/// Shrinking ends here: a failure is reported in time, though not as short as it may be.
const SHRINKING: Duration = Duration::from_secs(20);
const RUNS_MAX: usize = 60;

/// What every sequence may show: each requirement that is about states and their order.
const REQUIREMENTS: [&str; 56] = [
    "API-02",
    "API-07",
    "API-09",
    "AUTH-05",
    "AUTH-06",
    "ROLE-01",
    "ROLE-02",
    "ROLE-03",
    "ROLE-04",
    "ROLE-08",
    "ROLE-09",
    "ROLE-10",
    "LIST-01",
    "LIST-02",
    "ORG-01",
    "ORG-02",
    "ORG-03",
    "INST-01",
    "INST-02",
    "INST-03",
    "INST-06",
    "INST-07",
    "INST-08",
    "INST-10",
    "INST-11",
    "INST-12",
    "INST-13",
    "ACCESS-01",
    "ACCESS-02",
    "ACCESS-03",
    "USER-01",
    "USER-02",
    "USER-03",
    "USER-04",
    "PROJ-01",
    "PROJ-02",
    "PROJ-03",
    "KEY-01",
    "KEY-02",
    "KEY-03",
    "DB-14",
    "LOOK-01",
    "LOOK-02",
    "LOOK-03",
    "LOOK-05",
    "CACHE-03",
    "GEN-01",
    "GEN-06",
    "GEN-07",
    "LIMIT-09",
    "JOB-03",
    "USAGE-01",
    "LOG-09",
    "METRIC-01",
    "METRIC-02",
    "METRIC-04",
];

/// The checks of this section: a sequence each.
pub(super) fn checks(seed: u64) -> Vec<Check> {
    let mut checks: Vec<Check> = (0..SEQUENCES)
        .map(|number| {
            let name = format!("sequence-{:02}", number + 1);
            Check::new(Section::Sequences, name, &REQUIREMENTS, async move |lab: &mut Lab| {
                by_chance(lab, seed.wrapping_mul(1_000_000).wrapping_add(number)).await
            })
        })
        .collect();
    checks.extend(super::stories::checks());
    checks
}

async fn by_chance(lab: &mut Lab, seed: u64) -> Outcome {
    let number = u64::from(lab.number);
    let steps: Vec<Step> = sequence(seed, STEPS)
        .into_iter()
        .filter(|step| !step.is_slow_or_free())
        .collect();
    let Err((difference, _)) = run(lab, &steps).await? else {
        return Ok(());
    };
    let until = Instant::now() + SHRINKING;
    let mut broken = None;
    let (smaller, difference) = shrink::smallest(steps, difference, RUNS_MAX, async |fewer: &[Step]| {
        if broken.is_some() || Instant::now() > until {
            return Ok(());
        }
        // A sequence of its own each time, as if nothing had been before.
        let fresh = async {
            lab.renew(lab.number + 1000).await?;
            run(lab, fewer).await
        };
        fresh.await.unwrap_or_else(|failed| {
            broken = Some(failed);
            Ok(())
        })
    })
    .await;
    if let Some(failed @ (Failed::Subject(_) | Failed::Check(_))) = broken {
        return Err(failed);
    }
    let lines: Vec<String> = smaller.iter().map(|step| format!("{step:?}")).collect();
    Err(Failed::Difference(format!(
        "sequence {number} of seed {seed}: {difference}\nafter\n{}",
        lines.join("\n")
    )))
}

/// The same steps on both sides; then all that is stored.
async fn run(lab: &mut Lab, steps: &[Step]) -> Outcome<Result<(), Difference>> {
    let Subject::Native(native) = &lab.reference else {
        return Err(Failed::Check("the reference is not in process".to_owned()));
    };
    let instance = format!("sequence-{}", lab.number);
    let known = Known::new(&lab.keys.root, &lab.keys.user, &instance, native).without_jobs_in_paths();
    let (mut reference, mut subject) = (known.clone(), known);
    let preparations = steps::preparations(lab.number);
    let all = preparations.iter().map(|step| (None, step));
    let all = all.chain(steps.iter().enumerate().map(|(index, step)| (Some(index), step)));
    for (index, step) in all {
        if step.jump_ms() > 0 {
            lab.pass_ms(step.jump_ms()).await?;
        }
        if step.is_settled_first() {
            lab.settle().await?;
        }
        let (service, asked_reference) = step.request(&reference);
        let (_, asked_subject) = step.request(&subject);
        // Entries that the contract does not promise are free, so pages of the log are compared elsewhere; a range with HEAD is left open.
        let is_open = asked_reference.method == "HEAD" && asked_reference.headers.get("range").is_some();
        if is_open || asked_reference.path == "/logs" {
            continue;
        }
        let asked = |side: Side| -> Request {
            match side {
                Side::Reference => asked_reference.clone(),
                Side::Subject => asked_subject.clone(),
            }
        };
        match lab.ask_each(service, asked).await {
            Ok(answers) => {
                reference.learn(&asked_reference, &answers.reference);
                subject.learn(&asked_subject, &answers.subject);
            }
            Err(Failed::Difference(what)) => {
                lab.settle().await?;
                return Ok(Err((format!("{step:?}: {what}"), index.unwrap_or_default())));
            }
            Err(other) => return Err(other),
        }
    }
    lab.settle().await?;
    Ok(stored(lab).await?.map_err(|difference| (difference, usize::MAX)))
}

async fn stored(lab: &mut Lab) -> Outcome<Result<(), String>> {
    for table in TABLES {
        let columns = lab
            .reference
            .rows(&format!("SELECT name FROM pragma_table_info('{table}')"))
            .await?;
        let columns: Vec<&str> = columns.iter().filter_map(|row| row["name"].as_str()).collect();
        let order = match table {
            "logs" => "timestamp, request_id, message",
            _ => "created_at, rowid",
        };
        let mut sql = shrink::rows_of(table, &columns, order);
        if table == "logs" {
            sql = sql.replace(" ORDER BY", &format!(" WHERE {} ORDER BY", lab.own_entries()));
        }
        let parsed = |rows: Vec<Row>| -> Vec<Value> {
            let texts = rows.iter().filter_map(|row| row["row"].as_str());
            texts
                .filter_map(|text| serde_json::from_str::<Value>(text).ok())
                .map(without_free_parts)
                .collect()
        };
        let (reference, subject) = (
            parsed(lab.reference.rows(&sql).await?),
            parsed(lab.subject.rows(&sql).await?),
        );
        if let Err(Failed::Difference(what)) = lab.same(table, &json!(reference), &json!(subject)) {
            return Ok(Err(format!("stored: {what}")));
        }
    }
    Ok(Ok(()))
}

/// How rows of the log and of usage are named, and what a log entry tells beyond the contract, is free.
fn without_free_parts(mut row: Value) -> Value {
    const TOLD: [&str; 10] = [
        "event",
        "route",
        "method",
        "status",
        "duration_ms",
        "code",
        "provider",
        "model",
        "provider_attempts",
        "replayed",
    ];
    if let Some(fields) = row.as_object_mut() {
        fields.remove("log_id");
    }
    if let Some(metadata) = row.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| TOLD.contains(&name.as_str()));
    }
    row
}
