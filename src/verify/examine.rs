//! Examines an implementation: section after section, each on a fresh subject, two sections at a time, and never without end.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reference_core::http::Request;
use reference_native::{Service, example_settings};
use serde::Serialize;
use workerd_driver::{Binding, Module, ModuleKind, ObjectClass, Tools};

use super::boot::{BootError, Bundles};
use super::check::{Check, Checked, Section, Verdict};
use super::lab::{ALLOWED_ORIGIN, FURTHER_BUCKET, Failed, Lab};
use super::requirements::{self, Level};
use super::sections;
use super::subject::{Names, Subject, SubjectError, SubjectOptions};
use super::wrangler::WorkerPlan;

/// No check takes longer, whatever the subject does.
const CHECK_TIMEOUT: Duration = Duration::from_secs(60);

/// Nothing as a whole takes longer: a system that answers, but ever so slowly, is given up.
const EXAMINATION_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// A subject that breaks again and again is given up: this many starts in one section.
const STARTS_MAX: u32 = 4;

/// A subject that gave no answer in this many checks in a row is given up.
const SILENT_CHECKS_MAX: u32 = 4;

/// Ctrl-C reaches workerd as well, and its silence may be noticed before the signal is.
const SIGNAL_GRACE: Duration = Duration::from_millis(150);

/// So much of what a broken subject printed goes into a finding.
const FINDING_LINES_MAX: usize = 12;
const FINDING_COLUMNS_MAX: usize = 300;

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
        /// A part that is not there yet: then only what is there is started, and only its files are looked at.
        missing: Option<&'static str>,
    },
    /// Nothing that could be started: only its files are looked at.
    Files {
        /// The directory of the generated system.
        root: PathBuf,
        /// Why it cannot be started.
        finding: Finding,
    },
}

impl Implementation {
    fn root(&self) -> Option<&Path> {
        match self {
            Self::Native => None,
            Self::Workers { root, .. } => root.as_deref(),
            Self::Files { root, .. } => Some(root),
        }
    }
}

/// Something that is wrong with a subject as a whole, before or beside all checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub what: String,
    /// What it printed about it, the first lines.
    pub detail: Vec<String>,
    /// The next step.
    pub hint: String,
}

impl Finding {
    /// The first line of `text` says what, some of the others are the detail.
    pub fn new(text: &str, hint: impl Into<String>) -> Self {
        let clipped = |line: &str| -> String { line.trim_end().chars().take(FINDING_COLUMNS_MAX).collect() };
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let what = lines.next().map(clipped).unwrap_or_default();
        let mut detail: Vec<String> = lines.by_ref().take(FINDING_LINES_MAX).map(clipped).collect();
        let more = lines.count();
        if more > 0 {
            detail.push(format!("({more} more lines)"));
        }
        Self {
            what,
            detail,
            hint: hint.into(),
        }
    }
}

/// What came of the examination of one implementation.
#[derive(Clone, Debug, Default)]
pub struct Examined {
    /// How reports call it.
    pub name: &'static str,
    /// What is wrong with it as a whole.
    pub findings: Vec<Finding>,
    /// What came of each check.
    pub checked: Vec<Checked>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
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
    /// A part of which no file is there yet is no failure.
    pub so_far: bool,
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
            so_far: false,
            at_once: 2,
        }
    }
}

impl Selection {
    fn takes(&self, check: &Check) -> bool {
        (self.sections.is_empty() || self.sections.contains(&check.section))
            && (self.only.is_empty() || self.only.iter().any(|only| is_meant(check, only)))
    }
}

/// Whether a check is meant by the id of a requirement, or by its own name.
pub fn is_meant(check: &Check, only: &str) -> bool {
    check.requirements.iter().any(|id| id.eq_ignore_ascii_case(only)) || check.full_name() == only || check.name == only
}

/// All checks, in the order of their sections.
pub fn checks(seed: u64) -> Vec<Check> {
    Section::ALL
        .into_iter()
        .flat_map(|section| sections::checks(section, seed))
        .collect()
}

/// What happens while an implementation is examined.
#[derive(Clone, Debug)]
pub enum Progress {
    /// So many checks will run, section by section.
    Planned(Vec<(Section, usize)>),
    /// One has ended.
    Checked(Box<Checked>),
}

/// One examination, for the threads that share it.
struct Examination<'a> {
    implementation: &'a Implementation,
    selection: &'a Selection,
    directory: &'a Path,
    is_cancelled: &'a AtomicBool,
    began: Instant,
    /// Set when nothing more is to be run, for whatever reason but a signal.
    is_over: AtomicBool,
    silent_checks: AtomicU32,
    findings: Mutex<Vec<Finding>>,
}

/// Examines an implementation. `directory` is for everything that its subjects write. Ends early, with what there is, once `is_cancelled` is set.
pub fn examine(
    implementation: &Implementation,
    selection: &Selection,
    directory: &Path,
    progress: &Sender<Progress>,
    is_cancelled: &Arc<AtomicBool>,
) -> Examined {
    let examination = Examination {
        implementation,
        selection,
        directory,
        is_cancelled,
        began: Instant::now(),
        is_over: AtomicBool::new(false),
        silent_checks: AtomicU32::new(0),
        findings: Mutex::new(Vec::new()),
    };
    let mut planned: Vec<(Section, usize)> = Vec::new();
    for section in Section::ALL {
        let count = sections::checks(section, selection.seed)
            .iter()
            .filter(|check| selection.takes(check))
            .count();
        if count > 0 {
            planned.push((section, count));
        }
    }
    // Nobody listens any more when the reader has gone; the examination is still wanted.
    let _ = progress.send(Progress::Planned(planned.clone()));
    let only_files = !planned.iter().any(|(section, _)| *section != Section::Static);
    let comes_up = only_files || examination.comes_up();
    let queue: VecDeque<Section> = planned.into_iter().map(|(section, _)| section).collect();
    let queue = Mutex::new(queue);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..selection.at_once.max(1) {
            let progress = progress.clone();
            let (queue, results, examination) = (&queue, &results, &examination);
            scope.spawn(move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(section) = next else { return };
                    let checked = examination.section(section, comes_up, &progress);
                    results.lock().unwrap_or_else(PoisonError::into_inner).extend(checked);
                }
            });
        }
    });
    let mut checked = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    checked.sort_by_key(|checked: &Checked| checked.section);
    Examined {
        name: "",
        findings: examination
            .findings
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner),
        checked,
        duration_ms: milliseconds(examination.began),
    }
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

impl Examination<'_> {
    fn find(&self, finding: Finding) {
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }

    fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        if !self.is_over.load(Ordering::Relaxed) && self.began.elapsed() > EXAMINATION_TIMEOUT {
            self.is_over.store(true, Ordering::Relaxed);
            self.find(Finding::new(
                &format!(
                    "the examination did not end within {} minutes, and was ended",
                    EXAMINATION_TIMEOUT.as_secs() / 60
                ),
                "the checks that took longest stand in --json; look at one alone with --only",
            ));
        }
        self.is_cancelled() || self.is_over.load(Ordering::Relaxed)
    }

    async fn until_cancelled(&self) {
        while !self.is_cancelled() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Starts the subject once and says hello, so that what never comes up is one finding and not hundreds of failures. Whether there is any use in asking more.
    fn comes_up(&self) -> bool {
        let (tools, bundles, missing) = match self.implementation {
            Implementation::Native => return true,
            Implementation::Files { finding, .. } => {
                self.find(finding.clone());
                return false;
            }
            Implementation::Workers {
                tools,
                bundles,
                missing,
                ..
            } => (tools, bundles, missing),
        };
        let Ok(runtime) = runtime() else { return true };
        let options = subject_options(self.selection.seed);
        let hello = async {
            let mut tried = 0;
            let subject = loop {
                tried += 1;
                let place = self.directory.join(format!("hello-{tried}"));
                match Subject::workers(tools, bundles, &place, &options).await {
                    Ok(subject) => break subject,
                    // Once more: a machine that is short of something for a moment is not the subject's fault.
                    Err(_) if tried < 2 => {}
                    Err(error) => {
                        return Err(Finding::new(
                            &error.to_string(),
                            "npm run dev starts it where you can watch it",
                        ));
                    }
                }
            };
            let names = &bundles.names;
            for (service, name) in [(Service::Config, &names.config), (Service::Image, &names.image)] {
                if name.is_empty() {
                    continue;
                }
                if let Err(error) = subject.send(service, &Request::new("GET", "/health")).await {
                    let printed = subject.printed();
                    return Err(Finding::new(
                        &format!("the Worker `{name}` does not answer: {error}\n{printed}"),
                        "npm run dev starts it where you can watch it",
                    ));
                }
            }
            Ok(())
        };
        let found = runtime.block_on(async {
            tokio::select! {
                found = hello => found,
                () = self.until_cancelled() => Ok(()),
            }
        });
        match found {
            Ok(()) => missing.is_none(),
            Err(finding) => {
                if self.is_cancelled_soon() {
                    return false;
                }
                self.find(finding);
                false
            }
        }
    }

    /// Whether a signal is here, or arrives at this very moment.
    fn is_cancelled_soon(&self) -> bool {
        if !self.is_cancelled() {
            std::thread::sleep(SIGNAL_GRACE);
        }
        self.is_cancelled()
    }

    /// Whether what a check looks at is there at all.
    fn is_due(&self, check: &Check) -> bool {
        let Some(root) = self.implementation.root() else {
            return true;
        };
        !self.selection.so_far || check.requirements.iter().all(|id| requirements::is_begun(id, root))
    }

    /// One section on a thread of its own: the reference is not made for several.
    fn section(&self, section: Section, comes_up: bool, progress: &Sender<Progress>) -> Vec<Checked> {
        let checks: Vec<Check> = sections::checks(section, self.selection.seed)
            .into_iter()
            .filter(|check| self.selection.takes(check))
            .collect();
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(error) => {
                let what = format!("cannot start a runtime: {error}");
                return checks
                    .iter()
                    .map(|check| told(check, Verdict::Error { what: what.clone() }))
                    .collect();
            }
        };
        let is_asked = comes_up || section == Section::Static;
        let mut results = Vec::new();
        let (mut lab, mut starts) = (None, 0);
        for (index, check) in checks.iter().enumerate() {
            let began = Instant::now();
            let mut checked = if !is_asked || self.is_over() || !self.is_due(check) {
                told(check, Verdict::NotRun)
            } else {
                runtime.block_on(self.check(check, index, &mut lab, &mut starts))
            };
            checked.duration_ms = milliseconds(began);
            let has_failed = matches!(checked.verdict, Verdict::Failed { .. });
            // Whoever failed may have left a broken subject behind.
            if has_failed && starts < STARTS_MAX && !matches!(self.implementation, Implementation::Native) {
                // The subject ends while its runtime still runs.
                runtime.block_on(async { drop(lab.take()) });
            }
            let _ = progress.send(Progress::Checked(Box::new(checked.clone())));
            results.push(checked);
            if has_failed && self.selection.fail_fast {
                self.is_over.store(true, Ordering::Relaxed);
            }
        }
        runtime.block_on(async { drop(lab) });
        results
    }

    async fn check(&self, check: &Check, index: usize, lab: &mut Option<Lab>, starts: &mut u32) -> Checked {
        let began = async {
            if lab.is_none() {
                *starts += 1;
                *lab = Some(self.started(check.section, *starts).await?);
            }
            Ok(lab.as_mut())
        };
        let began = tokio::select! {
            began = began => began,
            () = self.until_cancelled() => return told(check, Verdict::NotRun),
        };
        let ready = match began {
            Ok(Some(ready)) => ready,
            Ok(None) => return told(check, Verdict::NotRun),
            Err(failed) => return told(check, self.verdict(check, failed).await),
        };
        let number = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1);
        let work = async {
            ready.renew(number).await?;
            check.run(ready).await
        };
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(CHECK_TIMEOUT, work) => outcome,
            () = self.until_cancelled() => return told(check, Verdict::NotRun),
        };
        let verdict = match outcome {
            Ok(Ok(())) => {
                self.silent_checks.store(0, Ordering::Relaxed);
                Verdict::Passed
            }
            Ok(Err(failed)) => self.verdict(check, failed).await,
            Err(_) => {
                let what = format!("it did not end within {} s", CHECK_TIMEOUT.as_secs());
                self.silent(&what).await;
                Verdict::Failed { what }
            }
        };
        let mut checked = told(check, verdict);
        if checked.verdict != Verdict::Passed {
            checked.exchanges = std::mem::take(&mut ready.exchanges);
            checked.lanes = std::mem::take(&mut ready.lanes);
        }
        checked
    }

    /// What a failure comes to. A check that proves no MUST cannot fail.
    async fn verdict(&self, check: &Check, failed: Failed) -> Verdict {
        let what = match failed {
            Failed::Difference(what) => {
                self.silent_checks.store(0, Ordering::Relaxed);
                what
            }
            Failed::Subject(error) => {
                let what = error.to_string();
                if !matches!(error, SubjectError::Database { .. }) {
                    self.silent(&what).await;
                    if self.is_cancelled() {
                        return Verdict::NotRun;
                    }
                }
                what
            }
            Failed::Alternative { decision, what } => return Verdict::Alternative { decision, what },
            Failed::Check(what) => return Verdict::Error { what },
            Failed::NotApplicable => return Verdict::NotApplicable,
        };
        let binds = check
            .requirements
            .iter()
            .filter_map(|id| requirements::find(id))
            .any(|requirement| requirement.level == Level::Must);
        if binds || check.requirements.is_empty() {
            Verdict::Failed { what }
        } else {
            Verdict::Unspecified { what }
        }
    }

    /// Notes that a check got no answer. Too many in a row, and the subject is given up.
    async fn silent(&self, what: &str) {
        tokio::time::sleep(SIGNAL_GRACE).await;
        let count = self.silent_checks.fetch_add(1, Ordering::Relaxed) + 1;
        if count < SILENT_CHECKS_MAX || self.is_cancelled() || matches!(self.implementation, Implementation::Native) {
            return;
        }
        if !self.is_over.swap(true, Ordering::Relaxed) {
            self.find(Finding::new(
                &format!("{count} checks in a row got no answer; the others were not run\n{what}"),
                "npm run dev starts it where you can watch it",
            ));
        }
    }

    async fn started(&self, section: Section, start: u32) -> Result<Lab, Failed> {
        let options = subject_options(self.selection.seed);
        let subject = match self.implementation {
            // Files are looked at without anything that runs.
            Implementation::Native | Implementation::Files { .. } => Subject::native(&options)?,
            Implementation::Workers { missing: Some(_), .. } => Subject::native(&options)?,
            Implementation::Workers { tools, bundles, .. } => {
                let place = self.directory.join(format!("{}-{start}", section.name()));
                Subject::workers(tools, bundles, &place, &options).await?
            }
        };
        Lab::new(subject, options, self.implementation.root())
    }
}

fn told(check: &Check, verdict: Verdict) -> Checked {
    Checked {
        section: check.section,
        name: check.name.clone(),
        requirements: check.requirements.clone(),
        verdict,
        duration_ms: 0,
        exchanges: Vec::new(),
        lanes: Vec::new(),
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
