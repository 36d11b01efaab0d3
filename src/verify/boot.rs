//! Boots a generated system: bundles its Workers, gives them their secrets and a fresh database, and runs them on workerd.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use thiserror::Error;
use workerd_driver::{Binding, DriverError, Module, ModuleKind, Running, System, Tools, Worker};

use super::requirements::{CONFIG_SERVICE, IMAGE_GENERATION};
use super::script::statements;
use super::subject::Names;
use super::wrangler::{WorkerPlan, read_workers};

/// The Worker that looks into buckets and KV.
pub(super) const INSPECTOR: &str = "verify inspector";

/// Why a system does not come up.
#[derive(Debug, Error)]
pub enum BootError {
    /// A file could not be read or written.
    #[error("{what} {path}: {source}")]
    File {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A configuration that cannot be understood.
    #[error("{file}: {detail}")]
    Configuration {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// SQL that SQLite does not take.
    #[error("{file}: {detail}")]
    Sql {
        /// The file.
        file: PathBuf,
        /// Why.
        detail: String,
    },
    /// There is nothing to boot.
    #[error("there is no Worker below {root}: no wrangler.toml with `name` and `main`")]
    NoWorker {
        /// Where was looked.
        root: PathBuf,
    },
    /// The tools or the runtime.
    #[error(transparent)]
    Driver(#[from] DriverError),
}

impl BootError {
    pub(super) fn file(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { what, path, source }
    }
}

/// How a system is booted.
#[derive(Clone, Debug, Default)]
pub struct BootOptions {
    /// Workers that have this environment are run in it.
    pub environment: Option<String>,
    /// Secrets, given to every Worker.
    pub secrets: Vec<(String, String)>,
    /// Variables in place of the configured ones.
    pub variables: Vec<(String, String)>,
    /// Where all outgoing requests arrive.
    pub outbound: Option<SocketAddr>,
    /// SQL that is run after the migrations, such as the seed data.
    pub data: Option<PathBuf>,
    /// Buckets that are bound beside the default one, wherever that is bound.
    pub buckets: Vec<String>,
}

/// Workers whose code is ready to run: bundled once, started as often as one likes.
#[derive(Clone, Debug)]
pub struct Bundles {
    /// What is what among them.
    pub names: Names,
    /// The Workers, as their configuration describes them, each with its modules.
    pub workers: Vec<(WorkerPlan, Vec<Module>)>,
    /// The tables, where no migrations bring them.
    pub schema: Option<&'static str>,
}

/// A generated system that runs.
#[derive(Debug)]
pub struct Booted {
    /// Its Workers, as their configuration describes them.
    pub workers: Vec<WorkerPlan>,
    /// workerd.
    pub running: Running,
}

/// Boots the system below `root` in `directory`, which must be empty or new.
pub async fn boot(tools: &Tools, root: &Path, directory: &Path, options: &BootOptions) -> Result<Booted, BootError> {
    let bundles = bundle(tools, root, directory, options.environment.as_deref())?;
    start(tools, &bundles, directory, options).await
}

/// Bundles the Workers below `root` into `directory`. Both parts of the contract must be there.
pub fn bundle(tools: &Tools, root: &Path, directory: &Path, environment: Option<&str>) -> Result<Bundles, BootError> {
    let bundles = bundle_present(tools, root, directory, environment)?;
    let Names { config, image, .. } = &bundles.names;
    for (name, folder) in [(config, CONFIG_SERVICE), (image, IMAGE_GENERATION)] {
        if name.is_empty() {
            let root = root.join(folder);
            return Err(BootError::NoWorker { root });
        }
    }
    Ok(bundles)
}

/// The same for as much as there is: the name of a part that is not there is empty.
pub fn bundle_present(
    tools: &Tools,
    root: &Path,
    directory: &Path,
    environment: Option<&str>,
) -> Result<Bundles, BootError> {
    let plans = read_workers(root, environment)?;
    if plans.is_empty() {
        return Err(BootError::NoWorker {
            root: root.to_path_buf(),
        });
    }
    std::fs::create_dir_all(directory).map_err(BootError::file("cannot create", directory))?;
    let mut workers = Vec::new();
    for plan in plans {
        let path = directory.join(format!("{}.js", plan.name));
        tools.bundle(&plan.main, &path, &[("@", root)])?;
        let module = Module {
            name: "worker.js".to_owned(),
            kind: ModuleKind::EsModule,
            path,
        };
        workers.push((plan, vec![module]));
    }
    let names = names(root, &workers);
    Ok(Bundles {
        names,
        workers,
        schema: None,
    })
}

/// The Workers of the two parts of the contract are known by their folders, which the architecture names.
fn names(root: &Path, workers: &[(WorkerPlan, Vec<Module>)]) -> Names {
    let below = |folder: &str| {
        let folder = root.join(folder);
        workers
            .iter()
            .map(|(plan, _)| plan)
            .find(|plan| plan.main.starts_with(&folder))
    };
    let (config, image) = (below(CONFIG_SERVICE), below(IMAGE_GENERATION));
    let name = |plan: Option<&WorkerPlan>| plan.map(|plan| plan.name.clone()).unwrap_or_default();
    let bindings = config.into_iter().flat_map(|plan| &plan.bindings);
    let database = bindings.into_iter().find_map(|(_, binding)| match binding {
        Binding::Database(name) => Some(name.clone()),
        _ => None,
    });
    Names {
        config: name(config),
        image: name(image),
        database: database.unwrap_or_default(),
        cron: image.and_then(|plan| plan.crons.first().cloned()).unwrap_or_default(),
    }
}

/// Starts bundled Workers in `directory`, with an empty database that has its tables, and `options.data` in them.
pub async fn start(
    tools: &Tools,
    bundles: &Bundles,
    directory: &Path,
    options: &BootOptions,
) -> Result<Booted, BootError> {
    let mut workers: Vec<Worker> = bundles
        .workers
        .iter()
        .map(|(plan, modules)| worker(plan, modules, options))
        .collect();
    workers.push(inspector(&workers, directory)?);
    let system = System {
        workers,
        outbound: options.outbound,
        data: directory.join("data"),
        ..System::default()
    };
    let running = Running::start(tools, system, directory).await?;
    let mut made = Vec::new();
    for (database, migrations) in bundles.workers.iter().flat_map(|(worker, _)| &worker.migrations) {
        if made.contains(database) {
            continue;
        }
        made.push(database.clone());
        for (sql, parameters) in statements(migrations, options.data.as_deref())? {
            running.query(database, &sql, &parameters).await?;
        }
    }
    let workers = bundles.workers.iter().map(|(plan, _)| plan.clone()).collect();
    Ok(Booted { workers, running })
}

/// A Worker of our own that looks into every bucket and namespace.
fn inspector(workers: &[Worker], directory: &Path) -> Result<Worker, BootError> {
    std::fs::create_dir_all(directory).map_err(BootError::file("cannot create", directory))?;
    let path = std::path::absolute(directory.join("inspect.js")).map_err(BootError::file("cannot find", directory))?;
    std::fs::write(&path, include_str!("inspect.js")).map_err(BootError::file("cannot write", &path))?;
    let mut bindings: Vec<(String, Binding)> = Vec::new();
    for (_, binding) in workers.iter().flat_map(|worker| &worker.bindings) {
        let name = match binding {
            Binding::Bucket(name) => format!("r2 {name}"),
            Binding::KeyValue(name) => format!("kv {name}"),
            Binding::Text(_)
            | Binding::Json(_)
            | Binding::Database(_)
            | Binding::Service { .. }
            | Binding::Objects { .. } => continue,
        };
        if bindings.iter().all(|(bound, _)| *bound != name) {
            bindings.push((name, binding.clone()));
        }
    }
    Ok(Worker {
        name: INSPECTOR.to_owned(),
        modules: vec![Module {
            name: "inspect.js".to_owned(),
            kind: ModuleKind::EsModule,
            path,
        }],
        compatibility_date: "2026-04-01".to_owned(),
        bindings,
        ..Worker::default()
    })
}

fn worker(plan: &WorkerPlan, modules: &[Module], options: &BootOptions) -> Worker {
    let mut bindings = plan.bindings.clone();
    for (name, text) in options.variables.iter().chain(&options.secrets) {
        let is_secret = options.secrets.iter().any(|(secret, _)| secret == name);
        match bindings.iter_mut().find(|(bound, _)| bound == name) {
            Some((_, binding)) => *binding = Binding::Text(text.clone()),
            // A variable replaces; a secret stands in no configuration.
            None if is_secret => bindings.push((name.clone(), Binding::Text(text.clone()))),
            None => {}
        }
    }
    if bindings.iter().any(|(name, _)| name == "IMAGES") {
        for bucket in &options.buckets {
            let name = format!("IMAGES_{}", bucket.to_ascii_uppercase().replace('-', "_"));
            bindings.push((name, Binding::Bucket(bucket.clone())));
        }
    }
    Worker {
        name: plan.name.clone(),
        modules: modules.to_vec(),
        compatibility_date: plan.compatibility_date.clone(),
        compatibility_flags: plan.compatibility_flags.clone(),
        bindings,
        objects: plan.objects.clone(),
    }
}
