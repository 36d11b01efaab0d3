//! Boots a generated system: bundles its Workers, gives them their secrets and a fresh database, and runs them on workerd.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::{Value, json};
use thiserror::Error;
use workerd_driver::{Binding, DriverError, Module, ModuleKind, Running, System, Tools, Worker};

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
    #[error("{file}: {source}")]
    Sql {
        /// The file.
        file: PathBuf,
        /// Why.
        source: rusqlite::Error,
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

/// What migrations and data come to, one statement at a time: D1 takes no scripts. SQLite itself reads the scripts, so that no quoting is misunderstood.
fn statements(migrations: &Path, data: Option<&Path>) -> Result<Vec<(String, Vec<Value>)>, BootError> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(migrations)
        .map_err(BootError::file("cannot read", migrations))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    files.sort();
    files.extend(data.map(Path::to_path_buf));
    let failed = |file: &Path| {
        let file = file.to_path_buf();
        move |source| BootError::Sql { file, source }
    };
    let connection = Connection::open_in_memory().map_err(failed(migrations))?;
    for file in &files {
        let script = std::fs::read_to_string(file).map_err(BootError::file("cannot read", file))?;
        connection.execute_batch(&script).map_err(failed(file))?;
    }
    export(&connection).map_err(failed(migrations))
}

fn export(connection: &Connection) -> rusqlite::Result<Vec<(String, Vec<Value>)>> {
    let mut statements = Vec::new();
    let mut tables = Vec::new();
    let mut objects = connection.prepare(
        "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid",
    )?;
    let mut rows = objects.query([])?;
    while let Some(row) = rows.next()? {
        if row.get::<_, String>(0)? == "table" {
            tables.push(row.get::<_, String>(1)?);
        }
        statements.push((row.get(2)?, Vec::new()));
    }
    // Tables stand in the order in which they were made, so that what is referenced comes first.
    for table in tables {
        let quoted = format!("\"{}\"", table.replace('"', "\"\""));
        let mut select = connection.prepare(&format!("SELECT * FROM {quoted} ORDER BY rowid"))?;
        let columns = select.column_count();
        let places = vec!["?"; columns].join(", ");
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let values: Vec<Value> = (0..columns)
                .map(|column| row.get_ref(column).map(value_of))
                .collect::<rusqlite::Result<_>>()?;
            statements.push((format!("INSERT INTO {quoted} VALUES ({places})"), values));
        }
    }
    Ok(statements)
}

fn value_of(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => json!(number),
        ValueRef::Real(number) => json!(number),
        ValueRef::Text(text) | ValueRef::Blob(text) => json!(String::from_utf8_lossy(text)),
    }
}
