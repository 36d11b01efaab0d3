//! The same requests to the native host and to the Worker on workerd, both clocks at the same moment: equal answers, and equal stored state.
//!
//! `cargo xtask equal-hosts [SEQUENCES] [RUNS]` sends many more of them than an ordinary test run.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test says what it expects by failing, and how much it has seen"
)]

mod common;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use common::Deployed;
use mock_ideogram::Mock;
use reference_core::SEED;
use reference_core::http::{Request, Response};
use reference_core::settings::Settings;
use reference_native::{Options, Service, System, example_settings};
use reference_sequences::{Known, ROOT, Same, Step, TABLES, USER, shrink, steps};
use serde_json::{Value, json};

/// Requests in a sequence.
const STEPS: usize = 30;
/// Sequences in an ordinary test run.
const SEQUENCES: u64 = 6;
/// Every request begins at such a moment, so that pauses of random length end long before the next.
const GRID_MS: u64 = 4000;

/// So long entries of the log are kept.
const MONTH_MS: u64 = 30 * 86_400_000;

/// Less than usual for a generation: a provider that hangs is waited for in the wall's time. What ends in time has ended ten seconds before, for on a busy
/// machine a Worker's clock runs unevenly.
fn settings() -> Settings {
    Settings {
        generation_timeout_ms: Some(20_000),
        allowed_origins: Some("https://app.example".to_owned()),
        ..example_settings()
    }
}

#[tokio::test]
async fn both_hosts_answer_and_store_the_same() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (sequences, first_seed) = (number("EQUAL_SEQUENCES", SEQUENCES), number("EQUAL_SEED", 1));
    let mut pair = Pair::start().await;
    let began = Instant::now();
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    for sequence in 0..sequences {
        let steps = reference_sequences::sequence(first_seed * 1_000_000 + sequence, STEPS);
        if let Err((difference, _)) = pair.run(&steps, &mut statuses).await {
            let (smaller, difference) = pair.smallest(steps, difference).await;
            let lines: Vec<String> = smaller.iter().map(|step| format!("{step:?}")).collect();
            panic!(
                "the hosts differ in sequence {sequence} of seed {first_seed}:\n{difference}\nafter\n{}",
                lines.join("\n")
            );
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{sequences} sequences of {STEPS} requests, no difference; {:.1} sequences a second; statuses {statuses:?}",
        sequences as f64 / seconds
    );
    // Whoever generates nothing but refusals tests nothing.
    for status in [200, 201, 400, 401, 403, 404, 409, 422, 429, 502] {
        assert!(
            sequences < SEQUENCES || statuses.contains_key(&status),
            "no answer had {status}: {statuses:?}"
        );
    }
}

/// The two hosts. The Worker stays, and is emptied before each sequence; the native system is made anew.
struct Pair {
    worker: Deployed,
    now_ms: u64,
    sequence: u32,
}

impl Pair {
    async fn start() -> Self {
        let worker = Deployed::start(&settings()).await;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        // Ahead of the wall's clock, so that no alarm rings.
        let now_ms = u64::try_from(since_epoch.as_millis()).unwrap() + 86_400_000;
        Self {
            worker,
            now_ms: now_ms.next_multiple_of(GRID_MS),
            sequence: 0,
        }
    }

    /// The shortest part of the sequence that the hosts still differ in.
    async fn smallest(&mut self, steps: Vec<Step>, difference: String) -> (Vec<Step>, String) {
        shrink::smallest(steps, difference, usize::MAX, async |fewer: &[Step]| {
            self.run(fewer, &mut Default::default()).await
        })
        .await
    }

    async fn run(
        &mut self,
        steps: &[Step],
        statuses: &mut std::collections::BTreeMap<u16, usize>,
    ) -> Result<(), (String, usize)> {
        self.sequence += 1;
        // What KV and objects still keep of the last sequence is forgotten by then.
        self.now_ms = (self.now_ms + 40 * 86_400_000).next_multiple_of(GRID_MS);
        let options = Options {
            start_ms: self.now_ms,
            settings: settings(),
            buckets: vec!["other-images".to_owned()],
            ..Options::default()
        };
        let native = System::start(options).unwrap();
        let (root, user) = self.reset(&native).await;
        let mut same = Same::default();
        let instance = format!("instance-{}", self.sequence);
        let known = Known::new(&root, &user, &instance, &native);
        let (mut here, mut there) = (known.clone(), known);
        let preparations = steps::preparations(self.sequence).into_iter().map(|step| (None, step));
        let steps = steps
            .iter()
            .enumerate()
            .map(|(index, step)| (Some(index), step.clone()));
        for (index, step) in preparations.chain(steps) {
            let at = |difference: String| (format!("{step:?}: {difference}"), index.unwrap_or_default());
            // Alarms do not ring while the clock stands: before a month goes by, what they would have done is done.
            if step.is_settled_first() || step.jump_ms() > MONTH_MS {
                self.settle(&native).await;
            }
            self.jump(&native, step.jump_ms()).await;
            let (service, asked_here) = step.request(&here);
            let (_, asked_there) = step.request(&there);
            let answer_here = native.handle(service, &asked_here);
            let answer_there = self.ask(service, &asked_there).await;
            *statuses.entry(answer_here.status).or_default() += 1;
            same.answers(&answer_here, &answer_there)
                .map_err(|difference| at(format!("{} {}: {difference}", asked_here.method, asked_here.path)))?;
            here.learn(&asked_here, &answer_here);
            there.learn(&asked_there, &answer_there);
        }
        self.settle(&native).await;
        self.stored(&native, &mut same)
            .await
            .map_err(|difference| (difference, usize::MAX - 1))
    }

    async fn ask(&self, service: Service, request: &Request) -> Response {
        let mut response = self.worker.send(service, request).await;
        // The native host has one address for all.
        let body = String::from_utf8(response.body);
        response.body = match body {
            Ok(text) => text
                .replace(&self.worker.origin(service), "http://127.0.0.1")
                .into_bytes(),
            Err(error) => error.into_bytes(),
        };
        response
    }

    /// Both clocks to the next moment of the grid after this.
    async fn jump(&mut self, native: &System, jump_ms: u64) {
        self.now_ms = (native.now_ms() + jump_ms + 1).next_multiple_of(GRID_MS);
        native.advance_ms(self.now_ms - native.now_ms());
        self.worker
            .running
            .stop_clock(i64::try_from(self.now_ms).unwrap())
            .await
            .unwrap();
        let mock_ms = self.worker.mock.now_ms();
        self.worker.mock.advance_ms(self.now_ms.saturating_sub(mock_ms));
    }

    /// What waits for its time is done: log entries are in the database.
    async fn settle(&mut self, native: &System) {
        // A pause of random length may have made one of them younger than the other.
        self.jump(native, 10_000 + GRID_MS).await;
        native.scheduled();
        self.worker.running.run_scheduled("image", "* * * * *").await.unwrap();
    }

    /// Empties the Worker's database and the mock behind it; gives the same two keys to both hosts.
    async fn reset(&mut self, native: &System) -> (String, String) {
        self.worker
            .running
            .stop_clock(i64::try_from(self.now_ms).unwrap())
            .await
            .unwrap();
        self.worker
            .mock
            .advance_ms(self.now_ms.saturating_sub(self.worker.mock.now_ms()));
        *self.worker.mock.lock() = Mock::new(mock_ideogram::Options::default());
        // A sequence that ended at a difference has left entries of the log on their way.
        self.worker.running.run_scheduled("image", "* * * * *").await.unwrap();
        for table in TABLES {
            self.worker.write(&format!("DELETE FROM {table}")).await;
        }
        self.worker.empty_buckets().await;
        self.worker.write(SEED).await;
        let keys = (native.issue_key(ROOT).unwrap(), native.issue_key(USER).unwrap());
        for (user_id, key) in [(ROOT, &keys.0), (USER, &keys.1)] {
            let row = native.rows(&format!(
                "SELECT key_id, created_at FROM api_keys WHERE user_id = '{user_id}'"
            ));
            let text = |column: usize| row[0][column].clone().unwrap();
            self.worker.give_key(user_id, &text(0), key, &text(1)).await;
        }
        keys
    }

    async fn stored(&self, native: &System, same: &mut Same) -> Result<(), String> {
        for table in TABLES {
            let columns = native.rows(&format!("SELECT name, type FROM pragma_table_info('{table}')"));
            let columns: Vec<&str> = columns.iter().filter_map(|column| column[0].as_deref()).collect();
            let sql = shrink::rows_of(table, &columns, "rowid");
            let parsed = |row: &str| serde_json::from_str::<Value>(row).unwrap();
            let here: Vec<Value> = native
                .rows(&sql)
                .iter()
                .map(|row| parsed(row[0].as_deref().unwrap()))
                .collect();
            let there: Vec<Value> = self
                .worker
                .rows(&sql)
                .await
                .iter()
                .map(|row| parsed(row["row"].as_str().unwrap()))
                .collect();
            same.values(table, &json!(here), &json!(there))?;
        }
        let there = self.worker.objects_and_names().await;
        same.values("objects", &objects(native), &there["objects"])?;
        same.values("names in KV", &names(native), &there["names"])?;
        let (here, there) = (journal(&native.mock()), journal(&self.worker.mock.lock()));
        same.values("the provider's journal", &here, &there)
    }
}

/// All that the native host's buckets hold, in the order in which it was stored.
fn objects(native: &System) -> Value {
    // The default bucket first, as the Worker's is.
    let rows = native.rows(
        "SELECT bucket, path, content_type, metadata, length(bytes), hex(bytes) FROM native_blobs ORDER BY bucket, rowid",
    );
    let object = |row: &Vec<Option<String>>| {
        let text = |column: usize| row[column].clone().unwrap();
        let metadata: Vec<(String, String)> = serde_json::from_str(&text(3)).unwrap();
        json!({
            "bucket": if text(0).is_empty() { "images".to_owned() } else { text(0) },
            "path": text(1),
            "content_type": text(2),
            "metadata": metadata.into_iter().map(|(name, value)| (name, json!(value))).collect::<serde_json::Map<_, _>>(),
            "size": text(4).parse::<u64>().unwrap(),
            "digest": reference_core::id::digest(&unhexed(&text(5))),
        })
    };
    rows.iter().map(object).collect()
}

fn unhexed(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn names(native: &System) -> Value {
    let sql = format!(
        "SELECT name FROM native_kv WHERE until_ms > {} ORDER BY name",
        native.now_ms()
    );
    native.rows(&sql).iter().map(|row| json!(row[0])).collect()
}

/// What the provider received, as far as our own code decides it.
fn journal(mock: &Mock) -> Value {
    let entry = |received: &mock_ideogram::Received| {
        let header = |wanted: &str| received.headers.iter().find(|(name, _)| name == wanted);
        let headers = json!([header("api-key"), header("content-type")]);
        json!([
            received.method,
            received.target,
            headers,
            received.body,
            received.status
        ])
    };
    mock.journal().map(entry).collect()
}
