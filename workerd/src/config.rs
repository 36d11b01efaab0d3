//! Writes a system down as workerd reads it: a Cap'n Proto configuration in text form.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use crate::DriverError;
use crate::system::{Binding, ModuleKind, System, Worker};

/// The simulators were written for this date of the runtime.
const SIMULATOR_DATE: &str = "2023-07-24";

/// The date of our own modules.
const OWN_DATE: &str = "2026-04-01";

/// A kind of storage and its simulator.
struct Storage {
    /// In names of services and directories.
    kind: &'static str,
    file: &'static str,
    class: &'static str,
}

const STORAGES: [Storage; 3] = [
    Storage {
        kind: "d1",
        file: "database.js",
        class: "D1DatabaseObject",
    },
    Storage {
        kind: "kv",
        file: "namespace.js",
        class: "KVNamespaceObject",
    },
    Storage {
        kind: "r2",
        file: "bucket.js",
        class: "R2BucketObject",
    },
];

/// The socket of the control worker.
pub(crate) const CONTROL_SOCKET: &str = "driver control";

/// The configuration, and the files of ours that it embeds, by name; all are to be written next to it.
pub(crate) fn write(system: &System, simulators: &Path) -> Result<(String, Vec<(String, String)>), DriverError> {
    let mut files = vec![
        (
            "clock.js".to_owned(),
            include_str!("js/clock.js")
                .replace("OFFSET_MS", &system.clock_offset_ms.to_string())
                .replace(
                    "STILL_MS",
                    &system
                        .clock_still_ms
                        .map_or_else(|| "null".to_owned(), |at_ms| at_ms.to_string()),
                ),
        ),
        ("control.js".to_owned(), include_str!("js/control.js").to_owned()),
    ];
    let mut text = String::from(
        "using Workerd = import \"/workerd/workerd.capnp\";\n\nconst config :Workerd.Config = (\n  services = [\n",
    );
    let mut line = |words: String| {
        let _ = writeln!(text, "{words}");
    };
    match system.outbound {
        Some(address) => line(format!(
            "    (name = \"outbound\", external = (address = {}, http = (style = host))),",
            quoted(&address.to_string())
        )),
        None => line("    (name = \"outbound\", network = (allow = [])),".to_owned()),
    }
    // Every configuration must have one of this name, and nothing is bound to it.
    line("    (name = \"internet\", network = (allow = [])),".to_owned());
    line(disk("objects", &system.data));
    for storage in &STORAGES {
        line(disk(storage.kind, &system.data));
        line(format!(
            "    (name = \"{kind} simulator\", worker = (modules = [(name = \"main.js\", esModule = embed {file})],\n      \
             compatibilityDate = \"{SIMULATOR_DATE}\", compatibilityFlags = [\"nodejs_compat\", \"experimental\"],\n      \
             bindings = [(name = \"MINIFLARE_BLOBS\", service = \"{kind} disk\"), (name = \"MINIFLARE_ENABLE_CONTROL_ENDPOINTS\", json = \"true\")],\n      \
             durableObjectNamespaces = [(className = \"{class}\", uniqueKey = \"simulator-{class}\")], durableObjectStorage = (localDisk = \"{kind} disk\"))),",
            kind = storage.kind,
            class = storage.class,
            file = quoted_path(&simulators.join(storage.file)),
        ));
    }
    for (kind, name) in stores(system) {
        let class = STORAGES
            .iter()
            .find(|storage| storage.kind == kind)
            .map_or("", |storage| storage.class);
        line(format!(
            "    (name = {service}, worker = (modules = [(name = \"main.js\", esModule = embed {file})], compatibilityDate = \"{SIMULATOR_DATE}\",\n      \
             bindings = [(name = \"MINIFLARE_NAMESPACE\", text = {name}),\n        \
             (name = \"MINIFLARE_OBJECT\", durableObjectNamespace = (className = \"{class}\", serviceName = \"{kind} simulator\"))])),",
            service = quoted(&store_service(kind, &name)),
            file = quoted_path(&simulators.join("object-entry.js")),
            name = quoted(&name),
        ));
    }
    for (index, worker) in system.workers.iter().enumerate() {
        line(worker_service(system, worker, index, &mut files)?);
    }
    line(control_service(system));
    line("  ],\n  sockets = [".to_owned());
    for worker in &system.workers {
        line(format!(
            "    (name = {name}, address = \"127.0.0.1:0\", http = (), service = {name}),",
            name = quoted(&worker.name)
        ));
    }
    line(format!(
        "    (name = \"{CONTROL_SOCKET}\", address = \"127.0.0.1:0\", http = (), service = \"{CONTROL_SOCKET}\"),"
    ));
    line(format!(
        "  ],\n  extensions = [(modules = [\n    (name = \"miniflare:shared\", esModule = embed {}),\n    (name = \"miniflare:zod\", esModule = embed {})])]\n);",
        quoted_path(&simulators.join("shared.js")),
        quoted_path(&simulators.join("zod.js"))
    ));
    Ok((text, files))
}

fn worker_service(
    system: &System,
    worker: &Worker,
    index: usize,
    files: &mut Vec<(String, String)>,
) -> Result<String, DriverError> {
    let main = worker.modules.first().ok_or_else(|| DriverError::Unknown {
        kind: "main module of worker",
        name: worker.name.clone(),
    })?;
    let main_file = format!("main-{index}.js");
    files.push((
        main_file.clone(),
        include_str!("js/main.js")
            .replace("MAIN_MODULE", &main.name)
            .replace("DURABLE_OBJECTS", &object_classes(worker)),
    ));
    let mut text = format!(
        "    (name = {}, worker = (\n      modules = [(name = \"driver:main\", esModule = embed \"{main_file}\"), (name = \"driver:clock\", esModule = embed \"clock.js\")",
        quoted(&worker.name)
    );
    for module in &worker.modules {
        let kind = match module.kind {
            ModuleKind::EsModule => "esModule",
            ModuleKind::Wasm => "wasm",
            ModuleKind::Text => "text",
        };
        let _ = write!(
            text,
            ",\n        (name = {}, {kind} = embed {})",
            quoted(&module.name),
            quoted_path(&module.path)
        );
    }
    let date = if worker.compatibility_date.is_empty() {
        OWN_DATE
    } else {
        &worker.compatibility_date
    };
    let flags: Vec<String> = worker.compatibility_flags.iter().map(|flag| quoted(flag)).collect();
    let _ = write!(
        text,
        "],\n      compatibilityDate = {}, compatibilityFlags = [{}], globalOutbound = \"outbound\",\n      bindings = [",
        quoted(date),
        flags.join(", ")
    );
    for (name, binding) in &worker.bindings {
        let _ = write!(
            text,
            "\n        (name = {}, {}),",
            quoted(name),
            bound(system, worker, binding)?
        );
    }
    text.push_str("],\n      durableObjectNamespaces = [");
    for object in &worker.objects {
        let _ = write!(
            text,
            "\n        (className = {class}, uniqueKey = {key}, enableSql = {sql}),",
            class = quoted(&object.class),
            key = quoted(&format!("{}-{}", worker.name, object.class)),
            sql = object.sql
        );
    }
    text.push_str("],\n      durableObjectStorage = (localDisk = \"objects disk\"))),");
    Ok(text)
}

/// Each class again, as a class of the same name that stands in its place.
fn object_classes(worker: &Worker) -> String {
    let mut text = String::new();
    for object in &worker.objects {
        let _ = writeln!(
            text,
            "export class {class} extends worker.{class} {{\n  constructor(ctx, env) {{\n    moveAlarms(ctx.storage);\n    super(ctx, env);\n  }}\n}}",
            class = object.class
        );
    }
    text
}

fn bound(system: &System, own: &Worker, binding: &Binding) -> Result<String, DriverError> {
    let worker_exists = |name: &str| {
        system
            .workers
            .iter()
            .find(|worker| worker.name == name)
            .ok_or_else(|| DriverError::Unknown {
                kind: "worker",
                name: name.to_owned(),
            })
    };
    Ok(match binding {
        Binding::Text(text) => format!("text = {}", quoted(text)),
        Binding::Json(value) => format!("json = {}", quoted(&value.to_string())),
        Binding::Database(name) => format!(
            "wrapped = (moduleName = \"cloudflare-internal:d1-api\", innerBindings = [(name = \"fetcher\", service = {})])",
            quoted(&store_service("d1", name))
        ),
        Binding::KeyValue(name) => format!("kvNamespace = {}", quoted(&store_service("kv", name))),
        Binding::Bucket(name) => format!("r2Bucket = {}", quoted(&store_service("r2", name))),
        Binding::Service { worker, entrypoint } => {
            let name = quoted(&worker_exists(worker)?.name);
            match entrypoint {
                Some(entrypoint) => format!("service = (name = {name}, entrypoint = {})", quoted(entrypoint)),
                None => format!("service = {name}"),
            }
        }
        Binding::Objects { class, worker } => {
            let owner = worker.as_deref().map_or(Ok(own), worker_exists)?;
            if !owner.objects.iter().any(|object| &object.class == class) {
                return Err(DriverError::Unknown {
                    kind: "class of Durable Objects",
                    name: format!("{class} of {}", owner.name),
                });
            }
            if owner.name == own.name {
                format!("durableObjectNamespace = {}", quoted(class))
            } else {
                format!(
                    "durableObjectNamespace = (className = {}, serviceName = {})",
                    quoted(class),
                    quoted(&owner.name)
                )
            }
        }
    })
}

fn control_service(system: &System) -> String {
    let mut text = format!(
        "    (name = \"{CONTROL_SOCKET}\", worker = (modules = [(name = \"control.js\", esModule = embed \"control.js\")], compatibilityDate = \"{OWN_DATE}\",\n      bindings = ["
    );
    for storage in &STORAGES {
        let _ = write!(
            text,
            "\n        (name = \"{kind}\", durableObjectNamespace = (className = \"{class}\", serviceName = \"{kind} simulator\")),",
            kind = storage.kind,
            class = storage.class
        );
    }
    for worker in &system.workers {
        let _ = write!(
            text,
            "\n        (name = {}, service = (name = {}, entrypoint = \"driverControl\")),",
            quoted(&format!("worker {}", worker.name)),
            quoted(&worker.name)
        );
    }
    text.push_str("])),");
    text
}

/// Databases, namespaces and buckets that anybody is bound to, by kind and name.
pub(crate) fn stores(system: &System) -> BTreeSet<(&'static str, String)> {
    system
        .workers
        .iter()
        .flat_map(|worker| &worker.bindings)
        .filter_map(|(_, binding)| match binding {
            Binding::Database(name) => Some(("d1", name.clone())),
            Binding::KeyValue(name) => Some(("kv", name.clone())),
            Binding::Bucket(name) => Some(("r2", name.clone())),
            Binding::Text(_) | Binding::Json(_) | Binding::Service { .. } | Binding::Objects { .. } => None,
        })
        .collect()
}

/// Directories below the system's data that must be there before workerd starts.
pub(crate) const DIRECTORIES: [&str; 4] = ["d1", "kv", "r2", "objects"];

fn store_service(kind: &str, name: &str) -> String {
    format!("{kind} {name}")
}

fn disk(kind: &str, data: &Path) -> String {
    format!(
        "    (name = \"{kind} disk\", disk = (path = {}, writable = true)),",
        quoted_path(&data.join(kind))
    )
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// A string literal of Cap'n Proto. Bytes beyond printable ASCII are written as they are, except for the ones that end the literal or the line.
fn quoted(text: &str) -> String {
    let mut literal = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => literal.push_str("\\\""),
            '\\' => literal.push_str("\\\\"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            character if character.is_ascii_control() => {
                let _ = write!(literal, "\\x{:02x}", u32::from(character));
            }
            character => literal.push(character),
        }
    }
    literal.push('"');
    literal
}
