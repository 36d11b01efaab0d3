//! Reads `wrangler.toml`: which Workers a repository has, and what each is bound to in one of its environments.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use workerd_driver::{Binding, ObjectClass};

use super::BootError;

/// A Worker as its configuration describes it, in one environment.
#[derive(Clone, Debug)]
pub struct WorkerPlan {
    /// Its name.
    pub name: String,
    /// The file that its code begins in.
    pub main: PathBuf,
    /// Such as `2026-04-01`.
    pub compatibility_date: String,
    /// Such as `nodejs_compat`.
    pub compatibility_flags: Vec<String>,
    /// Name in `env`, and what it stands for.
    pub bindings: Vec<(String, Binding)>,
    /// Classes of Durable Objects that it brings.
    pub objects: Vec<ObjectClass>,
    /// When its scheduled handler runs.
    pub crons: Vec<String>,
    /// Where the migrations of its databases are, by the database's name.
    pub migrations: BTreeMap<String, PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Section {
    name: Option<String>,
    main: Option<String>,
    compatibility_date: Option<String>,
    compatibility_flags: Option<Vec<String>>,
    vars: BTreeMap<String, toml::Value>,
    d1_databases: Vec<Database>,
    kv_namespaces: Vec<Namespace>,
    r2_buckets: Vec<Bucket>,
    services: Vec<Service>,
    durable_objects: Objects,
    migrations: Option<Vec<Migration>>,
    triggers: Option<Triggers>,
    env: BTreeMap<String, Self>,
}

#[derive(Clone, Debug, Deserialize)]
struct Database {
    binding: String,
    database_name: String,
    migrations_dir: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Namespace {
    binding: String,
    id: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Bucket {
    binding: String,
    bucket_name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Service {
    binding: String,
    service: String,
    entrypoint: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Objects {
    bindings: Vec<ObjectBinding>,
}

#[derive(Clone, Debug, Deserialize)]
struct ObjectBinding {
    name: String,
    class_name: String,
    script_name: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Migration {
    new_sqlite_classes: Vec<String>,
    new_classes: Vec<String>,
    deleted_classes: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Triggers {
    crons: Vec<String>,
}

/// Directories that are made by tools.
const MADE_BY_TOOLS: [&str; 4] = ["node_modules", "dist", "coverage", "target"];

/// Reads every Worker below `root`, sorted by name. A configuration without `main` only describes bindings, and one without code (`pages_build_output_dir`)
/// is no Worker: both are left out. With `environment`, a Worker that has one of that name is read in it.
pub fn read_workers(root: &Path, environment: Option<&str>) -> Result<Vec<WorkerPlan>, BootError> {
    let mut files = Vec::new();
    find(root, &mut files)?;
    let mut workers = Vec::new();
    for file in files {
        workers.extend(read(&file, environment)?);
    }
    workers.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(workers)
}

fn find(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), BootError> {
    let entries = std::fs::read_dir(directory).map_err(BootError::file("cannot read", directory))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && !name.starts_with('.') && !MADE_BY_TOOLS.contains(&name.as_str()) {
            find(&entry.path(), files)?;
        } else if kind.is_file() && name == "wrangler.toml" {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn read(file: &Path, environment: Option<&str>) -> Result<Option<WorkerPlan>, BootError> {
    let text = std::fs::read_to_string(file).map_err(BootError::file("cannot read", file))?;
    let top: Section = toml::from_str(&text).map_err(|error| BootError::Configuration {
        file: file.to_path_buf(),
        detail: error.to_string().trim().to_owned(),
    })?;
    let (Some(name), Some(main)) = (top.name.clone(), top.main.clone()) else {
        return Ok(None);
    };
    let directory = file.parent().unwrap_or(Path::new("."));
    let chosen = environment.and_then(|environment| Some((environment, top.env.get(environment)?)));
    // Bindings and variables of the top level hold for no environment; the rest is inherited.
    let own = chosen.map_or(&top, |(_, section)| section);
    let inherited = |of: fn(&Section) -> Option<String>| of(own).or_else(|| of(&top));
    let name = match chosen {
        Some((environment, section)) => section.name.clone().unwrap_or_else(|| format!("{name}-{environment}")),
        None => name,
    };
    let mut bindings = Vec::new();
    for (name, value) in &own.vars {
        let binding = match value {
            toml::Value::String(text) => Binding::Text(text.clone()),
            other => Binding::Json(serde_json::to_value(other).map_err(|error| BootError::Configuration {
                file: file.to_path_buf(),
                detail: error.to_string(),
            })?),
        };
        bindings.push((name.clone(), binding));
    }
    let mut migrations = BTreeMap::new();
    for database in &own.d1_databases {
        bindings.push((
            database.binding.clone(),
            Binding::Database(database.database_name.clone()),
        ));
        let place = database.migrations_dir.as_deref().unwrap_or("migrations");
        migrations.insert(database.database_name.clone(), directory.join(place));
    }
    for namespace in &own.kv_namespaces {
        let id = namespace.id.clone().unwrap_or_else(|| namespace.binding.clone());
        bindings.push((namespace.binding.clone(), Binding::KeyValue(id)));
    }
    for bucket in &own.r2_buckets {
        bindings.push((bucket.binding.clone(), Binding::Bucket(bucket.bucket_name.clone())));
    }
    for service in &own.services {
        let binding = Binding::Service {
            worker: service.service.clone(),
            entrypoint: service.entrypoint.clone(),
        };
        bindings.push((service.binding.clone(), binding));
    }
    for object in &own.durable_objects.bindings {
        let binding = Binding::Objects {
            class: object.class_name.clone(),
            worker: object.script_name.clone(),
        };
        bindings.push((object.name.clone(), binding));
    }
    Ok(Some(WorkerPlan {
        name,
        main: directory.join(main),
        compatibility_date: inherited(|section| section.compatibility_date.clone()).unwrap_or_default(),
        compatibility_flags: own
            .compatibility_flags
            .clone()
            .or_else(|| top.compatibility_flags.clone())
            .unwrap_or_default(),
        bindings,
        objects: classes(own.migrations.as_ref().or(top.migrations.as_ref())),
        crons: own
            .triggers
            .clone()
            .or_else(|| top.triggers.clone())
            .unwrap_or_default()
            .crons,
        migrations,
    }))
}

/// The classes that are left after all migrations.
fn classes(migrations: Option<&Vec<Migration>>) -> Vec<ObjectClass> {
    let mut classes: Vec<ObjectClass> = Vec::new();
    for migration in migrations.into_iter().flatten() {
        let new = |names: &[String], sql: bool| -> Vec<ObjectClass> {
            names
                .iter()
                .map(|class| ObjectClass {
                    class: class.clone(),
                    sql,
                })
                .collect()
        };
        classes.extend(new(&migration.new_sqlite_classes, true));
        classes.extend(new(&migration.new_classes, false));
        classes.retain(|object| !migration.deleted_classes.contains(&object.class));
    }
    classes
}
