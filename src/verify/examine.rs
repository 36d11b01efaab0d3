//! Examines an implementation: section after section, each on a fresh subject, two sections at a time.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reference_native::example_settings;
use workerd_driver::{Binding, Module, ModuleKind, ObjectClass, Tools};

use super::boot::{BootError, Bundles};
use super::check::{Check, Checked, Section, Verdict};
use super::lab::{ALLOWED_ORIGIN, FURTHER_BUCKET, Failed, Lab};
use super::sections;
use super::subject::{Names, Subject, SubjectOptions};
use super::wrangler::WorkerPlan;

/// No check takes longer, whatever the subject does.
const CHECK_TIMEOUT: Duration = Duration::from_secs(60);

/// A subject that breaks again and again is given up: this many starts in one section.
const STARTS_MAX: u32 = 4;

/// How long a request for an image may take, on the moved clock, in milliseconds.
pub const GENERATION_TIMEOUT_MS: u64 = 8000;

/// Which implementation is examined.
#[derive(Clone)]
pub enum Implementation {
    /// The reference in process: what everything is compared with, compared with itself.
    Native,
    /// Workers on workerd.
    Workers {
        /// What runs them.
        tools: Tools,
        /// Their code.
        bundles: Bundles,
        /// The directory of the generated system; none for the reference's own Worker.
        root: Option<PathBuf>,
    },
    /// Nothing that could be started: only its files are looked at.
    Files {
        /// The directory of the generated system.
        root: PathBuf,
        /// Why it cannot be started.
        reason: String,
    },
}

/// What is examined, and how.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Only these sections; all if empty.
    pub sections: Vec<Section>,
    /// Only checks of these requirements, or of these names; all if empty.
    pub only: Vec<String>,
    /// What chance follows.
    pub seed: u64,
    /// Stop at the first failure.
    pub fail_fast: bool,
    /// How many sections run at the same time.
    pub at_once: usize,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            sections: Vec::new(),
            only: Vec::new(),
            seed: 1,
            fail_fast: false,
            at_once: 2,
        }
    }
}

impl Selection {
    fn takes(&self, check: &Check) -> bool {
        let is_meant = |only: &String| {
            check.requirements.iter().any(|id| id.eq_ignore_ascii_case(only))
                || check.full_name() == *only
                || check.name == *only
        };
        (self.sections.is_empty() || self.sections.contains(&check.section))
            && (self.only.is_empty() || self.only.iter().any(is_meant))
    }
}

/// What happens while an implementation is examined.
#[derive(Clone, Debug)]
pub enum Progress {
    /// So many checks will run.
    Planned(usize),
    /// One has ended.
    Checked(Box<Checked>),
}

/// Examines an implementation. `directory` is for everything that its subjects write. Ends early, with what there is, once `is_cancelled` is set.
pub fn examine(
    implementation: &Implementation,
    selection: &Selection,
    directory: &Path,
    progress: &Sender<Progress>,
    is_cancelled: &Arc<AtomicBool>,
) -> Vec<Checked> {
    let mut queue: VecDeque<(Section, usize)> = VecDeque::new();
    for section in Section::ALL {
        let count = sections::checks(section, selection.seed)
            .iter()
            .filter(|check| selection.takes(check))
            .count();
        if count > 0 {
            queue.push_back((section, count));
        }
    }
    let total = queue.iter().map(|(_, count)| count).sum();
    // Nobody listens any more when the reader has gone; the examination is still wanted.
    let _ = progress.send(Progress::Planned(total));
    let queue = Mutex::new(queue);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..selection.at_once.max(1) {
            let progress = progress.clone();
            let (queue, results) = (&queue, &results);
            scope.spawn(move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((section, _)) = next else { return };
                    if is_cancelled.load(Ordering::Relaxed) {
                        return;
                    }
                    let checked =
                        examine_section(implementation, section, selection, directory, &progress, is_cancelled);
                    results.lock().unwrap_or_else(PoisonError::into_inner).extend(checked);
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|checked: &Checked| checked.section);
    results
}

/// One section on a thread of its own: the reference is not made for several.
fn examine_section(
    implementation: &Implementation,
    section: Section,
    selection: &Selection,
    directory: &Path,
    progress: &Sender<Progress>,
    is_cancelled: &Arc<AtomicBool>,
) -> Vec<Checked> {
    let checks: Vec<Check> = sections::checks(section, selection.seed)
        .into_iter()
        .filter(|check| selection.takes(check))
        .collect();
    let mut results = Vec::new();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let what = format!("cannot start a runtime: {error}");
            return checks
                .iter()
                .map(|check| told(check, Verdict::Error { what: what.clone() }, 0))
                .collect();
        }
    };
    let mut lab = None;
    let mut starts = 0;
    for (index, check) in checks.iter().enumerate() {
        if is_cancelled.load(Ordering::Relaxed) {
            break;
        }
        let began = Instant::now();
        let mut checked = runtime.block_on(async {
            if lab.is_none() {
                starts += 1;
                match started(implementation, section, starts, directory, selection).await {
                    Ok(ready) => lab = Some(ready),
                    Err(verdict) => return told(check, verdict, 0),
                }
            }
            let Some(ready) = lab.as_mut() else {
                return told(check, Verdict::NotApplicable, 0);
            };
            let number = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1);
            let cancelled = async {
                while !is_cancelled.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            let work = async {
                ready.renew(number).await?;
                check.run(ready).await
            };
            let outcome = tokio::select! {
                outcome = tokio::time::timeout(CHECK_TIMEOUT, work) => outcome,
                () = cancelled => return told(check, Verdict::NotApplicable, 0),
            };
            let verdict = match outcome {
                Ok(Ok(())) => Verdict::Passed,
                Ok(Err(failed)) => verdict(failed),
                Err(_) => Verdict::Failed {
                    what: format!("it did not end within {} s", CHECK_TIMEOUT.as_secs()),
                },
            };
            let mut checked = told(check, verdict, 0);
            if checked.verdict != Verdict::Passed {
                checked.exchanges = std::mem::take(&mut ready.exchanges);
                checked.lanes = std::mem::take(&mut ready.lanes);
            }
            checked
        });
        checked.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let has_failed = matches!(checked.verdict, Verdict::Failed { .. });
        // Whoever failed may have left a broken subject behind.
        if has_failed && starts < STARTS_MAX && !matches!(implementation, Implementation::Native) {
            lab = None;
        }
        let _ = progress.send(Progress::Checked(Box::new(checked.clone())));
        results.push(checked);
        if has_failed && selection.fail_fast {
            is_cancelled.store(true, Ordering::Relaxed);
        }
    }
    // The subject ends while its runtime still runs.
    runtime.block_on(async { drop(lab) });
    results
}

fn told(check: &Check, verdict: Verdict, duration_ms: u64) -> Checked {
    Checked {
        section: check.section,
        name: check.name.clone(),
        requirements: check.requirements.clone(),
        verdict,
        duration_ms,
        exchanges: Vec::new(),
        lanes: Vec::new(),
    }
}

fn verdict(failed: Failed) -> Verdict {
    match failed {
        Failed::Difference(what) => Verdict::Failed { what },
        Failed::Subject(error) => Verdict::Failed {
            what: error.to_string(),
        },
        Failed::Alternative { decision, what } => Verdict::Alternative { decision, what },
        Failed::Check(what) => Verdict::Error { what },
        Failed::NotApplicable => Verdict::NotApplicable,
    }
}

/// The first of the keys that encrypt provider keys. It is in the source, so it is none.
const NEWER_KEY: &str = "k2:YW5vdGhlci1leGFtcGxlLWtleS1vZi1uby13b3J0aCE=";

/// What subjects are started with.
pub fn subject_options(seed: u64) -> SubjectOptions {
    let mut settings = example_settings();
    settings.allowed_origins = Some(ALLOWED_ORIGIN.to_owned());
    settings.log_level = Some("INFO".to_owned());
    settings.generation_timeout_ms = Some(GENERATION_TIMEOUT_MS);
    // Two keys: the first encrypts, both decrypt.
    let older = settings.provider_key_encryption_keys.unwrap_or_default();
    settings.provider_key_encryption_keys = Some(format!("{NEWER_KEY},{older}"));
    SubjectOptions {
        settings,
        buckets: vec![FURTHER_BUCKET.to_owned()],
        start_ms: tomorrow_ms(),
        seed,
    }
}

/// Ahead of the wall's clock, so that nothing that goes by the wall is ever early.
fn tomorrow_ms() -> u64 {
    let since_epoch = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or_default() + 86_400_000
}

async fn started(
    implementation: &Implementation,
    section: Section,
    start: u32,
    directory: &Path,
    selection: &Selection,
) -> Result<Lab, Verdict> {
    let options = subject_options(selection.seed);
    let lab = |subject, root: Option<&Path>| Lab::new(subject, options.clone(), root).map_err(verdict);
    match implementation {
        Implementation::Native => {
            let subject = Subject::native(&options).map_err(|error| verdict(error.into()))?;
            lab(subject, None)
        }
        Implementation::Workers { tools, bundles, root } => {
            let place = directory.join(format!("{}-{start}", section.name()));
            let subject = Subject::workers(tools, bundles, &place, &options)
                .await
                .map_err(|error| verdict(error.into()))?;
            lab(subject, root.as_deref())
        }
        Implementation::Files { root, reason } => {
            if section == Section::Static {
                let subject = Subject::native(&options).map_err(|error| verdict(error.into()))?;
                return lab(subject, Some(root));
            }
            Err(Verdict::Failed { what: reason.clone() })
        }
    }
}

/// The reference's own Worker, as `cargo xtask reference-worker` builds it into `directory`: one script, run once for each part of the contract.
pub fn reference_worker_bundles(directory: &Path) -> Result<Bundles, BootError> {
    let modules = [("index.js", ModuleKind::EsModule), ("index_bg.wasm", ModuleKind::Wasm)]
        .map(|(name, kind)| Module {
            name: name.to_owned(),
            kind,
            path: directory.join(name),
        })
        .to_vec();
    for module in &modules {
        std::fs::metadata(&module.path).map_err(BootError::file("cannot read", &module.path))?;
    }
    let directory = std::path::absolute(directory).map_err(BootError::file("cannot find", directory))?;
    let modules: Vec<Module> = modules
        .into_iter()
        .map(|module| Module {
            path: directory.join(&module.name),
            ..module
        })
        .collect();
    let common = |service: &str| {
        let text = |name: &str, text: &str| (name.to_owned(), Binding::Text(text.to_owned()));
        vec![
            text("SERVICE", service),
            text("ALLOWED_ORIGINS", ""),
            text("LOG_LEVEL", ""),
            text("IMAGE_BASE_URL", ""),
            text("GENERATION_TIMEOUT_MS", ""),
            ("DB".to_owned(), Binding::Database("main".to_owned())),
            ("CONFIG_CACHE".to_owned(), Binding::KeyValue("cache".to_owned())),
        ]
    };
    let plan = |name: &str, bindings, objects| WorkerPlan {
        name: name.to_owned(),
        main: directory.join("index.js"),
        compatibility_date: "2026-04-01".to_owned(),
        compatibility_flags: Vec::new(),
        bindings,
        objects,
        crons: vec!["17 3 * * *".to_owned()],
        migrations: BTreeMap::new(),
    };
    let classes = [
        ("RATE_LIMITER", "RateLimiter"),
        ("CIRCUIT_BREAKER", "CircuitBreaker"),
        ("JOBS", "Jobs"),
        ("LOG_BUFFER", "LogBuffer"),
    ];
    let mut bindings = common("image");
    bindings.push((
        "CONFIG_SERVICE".to_owned(),
        Binding::Service {
            worker: "config".to_owned(),
            entrypoint: None,
        },
    ));
    bindings.push(("IMAGES".to_owned(), Binding::Bucket("images".to_owned())));
    bindings.extend(classes.map(|(name, class)| {
        let class = class.to_owned();
        (name.to_owned(), Binding::Objects { class, worker: None })
    }));
    let objects = classes
        .map(|(_, class)| ObjectClass {
            class: class.to_owned(),
            sql: true,
        })
        .to_vec();
    Ok(Bundles {
        names: Names {
            config: "config".to_owned(),
            image: "image".to_owned(),
            database: "main".to_owned(),
            cron: "17 3 * * *".to_owned(),
        },
        workers: vec![
            (plan("config", common("config"), Vec::new()), modules.clone()),
            (plan("image", bindings, objects), modules),
        ],
        schema: Some(reference_core::SCHEMA),
    })
}
