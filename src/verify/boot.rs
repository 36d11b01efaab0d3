//! Boots a generated system: bundles its Workers, gives them their secrets and a fresh database, and runs them on workerd.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use thiserror::Error;
use workerd_driver::{Binding, DriverError, Module, ModuleKind, Running, System, Tools, Worker};

use super::script::statements;
use super::wrangler::{WorkerPlan, read_workers};

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
    let workers = read_workers(root, options.environment.as_deref())?;
    if workers.is_empty() {
        return Err(BootError::NoWorker {
            root: root.to_path_buf(),
        });
    }
    std::fs::create_dir_all(directory).map_err(BootError::file("cannot create", directory))?;
    let mut system = System {
        outbound: options.outbound,
        data: directory.join("data"),
        ..System::default()
    };
    for plan in &workers {
        let bundle = directory.join(format!("{}.js", plan.name));
        tools.bundle(&plan.main, &bundle, &[("@", root)])?;
        system.workers.push(worker(plan, bundle, options));
    }
    let running = Running::start(tools, system, directory).await?;
    let mut made = Vec::new();
    for (database, migrations) in workers.iter().flat_map(|worker| &worker.migrations) {
        if made.contains(database) {
            continue;
        }
        made.push(database.clone());
        for (sql, parameters) in statements(migrations, options.data.as_deref())? {
            running.query(database, &sql, &parameters).await?;
        }
    }
    Ok(Booted { workers, running })
}

fn worker(plan: &WorkerPlan, bundle: PathBuf, options: &BootOptions) -> Worker {
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
    Worker {
        name: plan.name.clone(),
        modules: vec![Module {
            name: "worker.js".to_owned(),
            kind: ModuleKind::EsModule,
            path: bundle,
        }],
        compatibility_date: plan.compatibility_date.clone(),
        compatibility_flags: plan.compatibility_flags.clone(),
        bindings,
        objects: plan.objects.clone(),
    }
}
