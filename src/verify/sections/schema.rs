//! Section schema: tables, columns, keys and indexes, compared with the reference's by what they mean, and the database's own refusals.

use std::collections::{BTreeMap, BTreeSet};

use reference_core::http::Request;
use reference_sequences::{ROOT, TABLES, USER};

use crate::verify::check::{Check, Section};
use crate::verify::lab::{Failed, Lab, Outcome};
use crate::verify::script::{Script, tables_after};
use crate::verify::subject::{Row, Subject};

/// Where the generated system keeps its database's files.
const ROOM: &str = "infrastructure/database";

/// Each table with the requirement that is about it.
const OF_TABLES: [(&str, &str); 8] = [
    ("organizations", "DB-01"),
    ("instances", "DB-02"),
    ("users", "DB-03"),
    ("user_instance_access", "DB-04"),
    ("projects", "DB-05"),
    ("api_keys", "DB-06"),
    ("usage_logs", "DB-07"),
    ("logs", "DB-15"),
];

/// The checks of this section.
pub(super) fn checks() -> Vec<Check> {
    let check = |name: &str, requirements: &[&'static str]| (name.to_owned(), requirements.to_vec());
    let mut checks: Vec<Check> = OF_TABLES
        .into_iter()
        .map(|(table, requirement)| {
            let (name, requirements) = check(&format!("table-{}", table.replace('_', "-")), &[requirement, "DB-08"]);
            Check::new(Section::Schema, name, &requirements, async move |lab: &mut Lab| {
                columns(lab, table).await?;
                references(lab, table).await
            })
        })
        .collect();
    for (name, requirements, statement) in REFUSED {
        checks.push(Check::new(
            Section::Schema,
            format!("refuses-{name}"),
            requirements,
            async move |lab: &mut Lab| refused(lab, name, statement).await,
        ));
    }
    checks.push(Check::new(
        Section::Schema,
        "unique-columns",
        &["DB-13", "USER-03", "PROJ-02"],
        unique,
    ));
    checks.push(Check::new(
        Section::Schema,
        "references-are-indexed",
        &["DB-10"],
        indexed,
    ));
    checks.push(Check::new(
        Section::Schema,
        "every-table-has-created-at",
        &["DB-11"],
        created_at,
    ));
    checks.push(Check::new(Section::Schema, "times-are-utc", &["DB-11"], times));
    checks.push(Check::new(
        Section::Schema,
        "usage-outlives-its-cause",
        &["DB-14"],
        usage_outlives,
    ));
    checks.push(Check::new(
        Section::Schema,
        "migrations-give-the-schema",
        &["DB-12"],
        migrations,
    ));
    checks.push(Check::new(Section::Schema, "logs-come-second", &["DB-15"], logs_second));
    checks.push(Check::new(Section::Schema, "seed-data", &["DB-18"], seed));
    checks
}

/// What the database itself must refuse, past every service: a name, the requirements, and a statement.
const REFUSED: [(&str, &[&str], &str); 14] = [
    (
        "an-unknown-role",
        &["DB-03", "DB-09"],
        "INSERT INTO users (user_id, email, role, org_id, created_at, updated_at) VALUES ('u', 'u@people.example', 'king', 'example-org', '2026-01-02T00:00:00.000Z', '2026-01-02T00:00:00.000Z')",
    ),
    (
        "a-configuration-that-is-no-json",
        &["DB-02", "DB-09"],
        "UPDATE instances SET config = 'nonsense' WHERE instance_id = 'production'",
    ),
    (
        "settings-that-are-no-json",
        &["DB-05", "DB-09"],
        "UPDATE projects SET settings = '{' WHERE project_id = 'playground'",
    ),
    (
        "a-negative-cost",
        &["DB-07", "DB-09"],
        "INSERT INTO usage_logs (log_id, org_id, request_id, timestamp, provider, tokens_used, cost, created_at) VALUES ('l', 'example-org', 'r', '2026-01-02T00:00:00.000Z', 'p', 0, -1, '2026-01-02T00:00:00.000Z')",
    ),
    (
        "negative-tokens",
        &["DB-07", "DB-09"],
        "INSERT INTO usage_logs (log_id, org_id, request_id, timestamp, provider, tokens_used, cost, created_at) VALUES ('l', 'example-org', 'r', '2026-01-02T00:00:00.000Z', 'p', -1, 0, '2026-01-02T00:00:00.000Z')",
    ),
    (
        "an-unknown-level",
        &["DB-09", "DB-15"],
        "INSERT INTO logs (log_id, timestamp, level, message, request_id, component, metadata, created_at) VALUES ('l', '2026-01-02T00:00:00.000Z', 'LOUD', 'm', 'r', 'c', '{}', '2026-01-02T00:00:00.000Z')",
    ),
    (
        "metadata-that-is-no-json",
        &["DB-09", "DB-15"],
        "INSERT INTO logs (log_id, timestamp, level, message, request_id, component, metadata, created_at) VALUES ('l', '2026-01-02T00:00:00.000Z', 'INFO', 'm', 'r', 'c', 'no', '2026-01-02T00:00:00.000Z')",
    ),
    (
        "a-key-of-nobody",
        &["DB-06", "KEY-02"],
        "INSERT INTO api_keys (key_id, key_hash, key_prefix, created_at) VALUES ('k', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'mas_aaaaaaaa', '2026-01-02T00:00:00.000Z')",
    ),
    (
        "a-key-of-two",
        &["DB-06", "KEY-02"],
        "INSERT INTO api_keys (key_id, user_id, project_id, key_hash, key_prefix, created_at) VALUES ('k', '00000000-0000-4000-8000-000000000002', 'playground', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'mas_aaaaaaaa', '2026-01-02T00:00:00.000Z')",
    ),
    (
        "an-instance-of-no-organisation",
        &["DB-02", "DB-13"],
        "INSERT INTO instances (instance_id, org_id, name, config, created_at, updated_at) VALUES ('i', 'nobody', 'I', '{}', '2026-01-02T00:00:00.000Z', '2026-01-02T00:00:00.000Z')",
    ),
    (
        "a-user-of-no-organisation",
        &["DB-03", "DB-13"],
        "INSERT INTO users (user_id, email, role, org_id, created_at, updated_at) VALUES ('u', 'u@people.example', 'user', 'nobody', '2026-01-02T00:00:00.000Z', '2026-01-02T00:00:00.000Z')",
    ),
    (
        "access-to-no-instance",
        &["DB-04", "DB-13"],
        "INSERT INTO user_instance_access (user_id, instance_id, created_at) VALUES ('00000000-0000-4000-8000-000000000002', 'nowhere', '2026-01-02T00:00:00.000Z')",
    ),
    (
        "a-project-of-no-instance",
        &["DB-05", "DB-13"],
        "INSERT INTO projects (project_id, instance_id, name, created_at, updated_at) VALUES ('p', 'nowhere', 'P', '2026-01-02T00:00:00.000Z', '2026-01-02T00:00:00.000Z')",
    ),
    (
        "an-organisation-that-goes-first",
        &["DB-13"],
        "DELETE FROM organizations WHERE org_id = 'example-org'",
    ),
];

async fn refused(lab: &mut Lab, name: &str, statement: &str) -> Outcome {
    let script = format!("{statement};\n");
    if lab.reference.write(&script).await.is_ok() {
        return Err(Failed::Check(format!("the reference does not refuse {name}")));
    }
    let taken = lab.subject.write(&script).await.is_ok();
    lab.require(
        !taken,
        format!("the database takes {}: {statement}", name.replace('-', " ")),
    )
}

fn text(row: &Row, column: &str) -> String {
    match &row[column] {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The affinity of a declared type, as SQLite determines it (<https://www.sqlite.org/datatype3.html>, section 3.1).
fn affinity(declared: &str) -> &'static str {
    let declared = declared.to_ascii_uppercase();
    let has = |part: &str| declared.contains(part);
    if has("INT") {
        "INTEGER"
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        "TEXT"
    } else if has("BLOB") || declared.is_empty() {
        "BLOB"
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        "REAL"
    } else {
        "NUMERIC"
    }
}

/// What a column is: its affinity, whether it may be null, its place in the primary key.
type Column = (&'static str, bool, String);

async fn columns_of(subject: &Subject, table: &str) -> Outcome<BTreeMap<String, Column>> {
    let rows = subject
        .rows(&format!(
            "SELECT name, type, \"notnull\" AS is_set, pk FROM pragma_table_info('{table}')"
        ))
        .await?;
    let columns = rows.iter().map(|row| {
        let column = (
            affinity(&text(row, "type")),
            text(row, "is_set") == "1" || text(row, "pk") != "0",
            text(row, "pk"),
        );
        (text(row, "name"), column)
    });
    Ok(columns.collect())
}

async fn columns(lab: &mut Lab, table: &str) -> Outcome {
    let reference = columns_of(&lab.reference, table).await?;
    let subject = columns_of(&lab.subject, table).await?;
    lab.require(!subject.is_empty(), format!("there is no table {table}"))?;
    for (name, (affinity, is_set, place)) in &reference {
        let Some(found) = subject.get(name) else {
            return Err(Failed::Difference(format!("{table} has no column {name}")));
        };
        let what = format!("{table}.{name}");
        lab.require(found.0 == *affinity, format!("{what} is {}, not {affinity}", found.0))?;
        lab.require(
            found.1 == *is_set,
            format!("{what} {} be null", if *is_set { "may" } else { "may not" }),
        )?;
        lab.require(
            (found.2 == "0") == (place == "0"),
            format!("{what}: the primary key is another one"),
        )?;
    }
    Ok(())
}

/// References: column, table, column, and what a deletion does.
async fn references_of(subject: &Subject, table: &str) -> Outcome<BTreeSet<[String; 4]>> {
    let rows = subject
        .rows(&format!(
            "SELECT \"from\" AS source, \"table\" AS target, \"to\" AS target_column, on_delete FROM pragma_foreign_key_list('{table}')"
        ))
        .await?;
    let references = rows.iter().map(|row| {
        let on_delete = match text(row, "on_delete").as_str() {
            // Both keep what is referenced.
            "RESTRICT" | "NO ACTION" => "RESTRICT".to_owned(),
            other => other.to_owned(),
        };
        [
            text(row, "source"),
            text(row, "target"),
            text(row, "target_column"),
            on_delete,
        ]
    });
    Ok(references.collect())
}

async fn references(lab: &mut Lab, table: &str) -> Outcome {
    let reference = references_of(&lab.reference, table).await?;
    let subject = references_of(&lab.subject, table).await?;
    for wanted in &reference {
        lab.require(
            subject.contains(wanted),
            format!(
                "{table}.{} must reference {}.{} (on delete: {}); it has {subject:?}",
                wanted[0], wanted[1], wanted[2], wanted[3]
            ),
        )?;
    }
    Ok(())
}

async fn indexed(lab: &mut Lab) -> Outcome {
    for table in TABLES {
        let mut first = BTreeSet::new();
        let sql = format!(
            "SELECT columns.name AS name FROM pragma_index_list('{table}') AS indexes, pragma_index_info(indexes.name) AS columns WHERE columns.seqno = 0 AND indexes.partial = 0"
        );
        for row in lab.subject.rows(&sql).await? {
            first.insert(text(&row, "name"));
        }
        for (name, column) in columns_of(&lab.subject, table).await? {
            if column.2 == "1" {
                first.insert(name);
            }
        }
        for reference in references_of(&lab.subject, table).await? {
            lab.require(
                first.contains(&reference[0]),
                format!("no index begins with {table}.{}", reference[0]),
            )?;
        }
    }
    Ok(())
}

async fn created_at(lab: &mut Lab) -> Outcome {
    for table in TABLES {
        let columns = columns_of(&lab.subject, table).await?;
        lab.require(
            columns.contains_key("created_at"),
            format!("{table} has no column created_at"),
        )?;
    }
    Ok(())
}

/// Everything that can be made by a request, and then every column that holds a time.
async fn times(lab: &mut Lab) -> Outcome {
    let root = lab.keys.root.clone();
    let instance = lab.instance(serde_json::json!({})).await?;
    let order = serde_json::json!({ "prompt": "a clock", "instance_id": instance });
    lab.image(Request::new("POST", "/generate").bearer(&root).json(&order))
        .await?
        .status(200)?;
    lab.settle().await?;
    let is_time = |text: &str| {
        let form = text.len() == 24 && text.ends_with('Z');
        form && reference_core::time::parse(text).is_some()
    };
    for table in TABLES {
        for (name, _) in columns_of(&lab.subject, table).await? {
            if !name.ends_with("_at") && name != "timestamp" {
                continue;
            }
            let rows = lab
                .subject
                .rows(&format!(
                    "SELECT {name} AS moment FROM {table} WHERE {name} IS NOT NULL"
                ))
                .await?;
            for row in rows {
                let moment = text(&row, "moment");
                lab.require(
                    is_time(&moment),
                    format!("{table}.{name} holds {moment}, not a time like 2026-01-31T09:30:00.000Z"),
                )?;
            }
        }
    }
    Ok(())
}

async fn unique(lab: &mut Lab) -> Outcome {
    let taken = [
        (
            "an email in another case",
            "INSERT INTO users (user_id, email, role, org_id, created_at, updated_at) VALUES ('u', 'USER@example.com', 'user', 'other-org', '2026-01-02T00:00:00.000Z', '2026-01-02T00:00:00.000Z');\n",
        ),
        (
            "a project's name within its instance",
            "INSERT INTO projects (project_id, instance_id, name, created_at, updated_at) VALUES ('p', 'development', 'Playground', '2026-01-02T00:00:00.000Z', '2026-01-02T00:00:00.000Z');\n",
        ),
        (
            "a key's hash",
            "INSERT INTO api_keys (key_id, user_id, key_hash, key_prefix, created_at) SELECT 'k', user_id, key_hash, key_prefix, created_at FROM api_keys LIMIT 1;\n",
        ),
        (
            "access that is there",
            "INSERT INTO user_instance_access (user_id, instance_id, created_at) SELECT user_id, instance_id, created_at FROM user_instance_access LIMIT 1;\n",
        ),
    ];
    for (what, statement) in taken {
        if lab.reference.write(statement).await.is_ok() {
            return Err(Failed::Check(format!("the reference takes {what} twice")));
        }
        let is_taken = lab.subject.write(statement).await.is_ok();
        lab.require(!is_taken, format!("the database takes {what} twice"))?;
    }
    Ok(())
}

async fn usage_outlives(lab: &mut Lab) -> Outcome {
    let insert = format!(
        "INSERT INTO usage_logs (log_id, org_id, instance_id, project_id, user_id, request_id, timestamp, provider, model, tokens_used, cost, created_at) VALUES ('l', 'example-org', 'production', 'content-forge', '{USER}', 'r', '2026-01-02T00:00:00.000Z', 'ideogram', 'm', 1, 2, '2026-01-02T00:00:00.000Z');\n"
    );
    lab.reference.write(&insert).await?;
    lab.subject.write(&insert).await?;
    let root = lab.keys.root.clone();
    for path in [
        format!("/user/{USER}"),
        "/project/content-forge".to_owned(),
        "/instance/production".to_owned(),
    ] {
        lab.config(Request::new("DELETE", &path).bearer(&root))
            .await?
            .status(200)?;
        lab.rows("SELECT log_id, org_id, instance_id, project_id, user_id, tokens_used, cost FROM usage_logs")
            .await?;
    }
    let (reference, _) = lab.rows("SELECT org_id, instance_id FROM usage_logs").await?;
    if reference.len() != 1 {
        return Err(Failed::Check(
            "the reference's usage does not outlive its cause".to_owned(),
        ));
    }
    lab.config(Request::new("DELETE", "/organization/example-org").bearer(&root))
        .await?
        .error(409, "CONFLICT")?;
    let owners = format!("SELECT count(*) AS count FROM users WHERE user_id = '{ROOT}'");
    lab.rows(&owners).await?;
    Ok(())
}

/// The directory of the database's files, where the generated system is what is examined.
fn room(lab: &Lab) -> Outcome<std::path::PathBuf> {
    let root = lab.root.as_ref().ok_or(Failed::NotApplicable)?;
    Ok(root.join(ROOM))
}

fn readable<T>(result: Result<T, crate::verify::BootError>) -> Outcome<T> {
    result.map_err(|error| Failed::Difference(error.to_string()))
}

async fn migrations(lab: &mut Lab) -> Outcome {
    let room = room(lab)?;
    let migrated = readable(tables_after(&[Script::Directory(&room.join("migrations"))]))?;
    let declared = readable(tables_after(&[Script::File(&room.join("schema.sql"))]))?;
    for (table, columns) in &declared {
        let found = migrated.get(table);
        lab.require(
            found == Some(columns),
            format!("{table}: schema.sql has {columns:?}, the migrations have {found:?}"),
        )?;
    }
    lab.require(!declared.is_empty(), "schema.sql makes no table")
}

/// The first migration with data, then the second.
async fn logs_second(lab: &mut Lab) -> Outcome {
    let room = room(lab)?;
    let first = room.join("migrations/001-initial.sql");
    let seed = room.join("seed.sql");
    let before = readable(tables_after(&[Script::File(&first), Script::File(&seed)]))?;
    lab.require(
        !before.contains_key("logs"),
        "the first migration brings the table logs already",
    )?;
    let after = readable(tables_after(&[
        Script::File(&first),
        Script::File(&seed),
        Script::File(&room.join("migrations/002-logs.sql")),
    ]))?;
    lab.require(after.contains_key("logs"), "the second migration brings no table logs")
}

async fn seed(lab: &mut Lab) -> Outcome {
    let room = room(lab)?;
    let (migrations, seed) = (room.join("migrations"), room.join("seed.sql"));
    let scripts = [Script::Directory(&migrations), Script::File(&seed), Script::File(&seed)];
    let counts = readable(crate::verify::script::counts_after(&scripts))?;
    for (table, wanted) in [
        ("organizations", 1),
        ("instances", 2),
        ("users", 2),
        ("projects", 2),
        ("api_keys", 0),
    ] {
        let found = counts.get(table).copied().unwrap_or_default();
        lab.require(
            found == wanted,
            format!("the seed data, applied twice, gives {found} rows in {table}, not {wanted}"),
        )?;
    }
    let names = readable(crate::verify::script::texts_after(
        &scripts,
        "SELECT instance_id FROM instances ORDER BY instance_id",
    ))?;
    lab.require(
        names == ["development", "production"],
        format!("the seed data's instances are {names:?}"),
    )
}
