//! What is to run: Workers, what they are bound to, and where it is stored.

use std::net::SocketAddr;
use std::path::PathBuf;

/// A set of Workers that share storage.
#[derive(Clone, Debug, Default)]
pub struct System {
    /// The Workers. Each gets a port of its own.
    pub workers: Vec<Worker>,
    /// Where all requests go that leave a Worker other than to another one, with their `Host` and path as they were. Without it none gets out.
    pub outbound: Option<SocketAddr>,
    /// Where workerd keeps what is stored. It outlives the process, so that a system can be killed and started again.
    pub data: PathBuf,
    /// How far the Workers' clock is ahead of the real one, in milliseconds.
    pub clock_offset_ms: i64,
    /// Where the Workers' clock stands still, in milliseconds since 1970; it runs without it. While it stands, whoever waits for a timer moves it.
    pub clock_still_ms: Option<i64>,
}

/// A Worker.
#[derive(Clone, Debug, Default)]
pub struct Worker {
    /// Its name, by which others bind to it.
    pub name: String,
    /// Its modules, the main one first.
    pub modules: Vec<Module>,
    /// Such as `2026-04-01`.
    pub compatibility_date: String,
    /// Such as `nodejs_compat`.
    pub compatibility_flags: Vec<String>,
    /// Name in `env`, and what it stands for.
    pub bindings: Vec<(String, Binding)>,
    /// Classes of Durable Objects that the main module exports.
    pub objects: Vec<ObjectClass>,
}

/// A module of a Worker.
#[derive(Clone, Debug)]
pub struct Module {
    /// The name by which others import it.
    pub name: String,
    /// What it is.
    pub kind: ModuleKind,
    /// Where it is.
    pub path: PathBuf,
}

/// What a module is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleKind {
    /// JavaScript.
    EsModule,
    /// WebAssembly.
    Wasm,
    /// A string.
    Text,
}

/// A class of Durable Objects.
#[derive(Clone, Debug)]
pub struct ObjectClass {
    /// Its name.
    pub class: String,
    /// Its storage is SQLite.
    pub sql: bool,
}

/// What stands behind a name in `env`.
#[derive(Clone, Debug)]
pub enum Binding {
    /// A variable or a secret.
    Text(String),
    /// A variable that is no string.
    Json(serde_json::Value),
    /// A D1 database of this name.
    Database(String),
    /// A KV namespace of this name.
    KeyValue(String),
    /// An R2 bucket of this name.
    Bucket(String),
    /// Another Worker, perhaps one of its named entry points.
    Service {
        /// The Worker's name.
        worker: String,
        /// The class that it exports; the default export without it.
        entrypoint: Option<String>,
    },
    /// Durable Objects of a class.
    Objects {
        /// The class.
        class: String,
        /// The Worker that exports it; the bound one without it.
        worker: Option<String>,
    },
}
