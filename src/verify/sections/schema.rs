//! Section schema: tables, columns, keys and indexes, compared by meaning with the reference's, and what the database refuses by itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use reference_sequences::{ROOT, TABLES, USER};
use rusqlite::Connection;

use crate::verify::check::{Check, Section};
use crate::verify::lab::{Failed, Lab, Outcome};
use crate::verify::subject::{Row, Subject};

/// The checks of this section.
pub(super) fn checks() -> Vec<Check> {
    let schema = Section::Schema;
    let of_table = |table: &'static str| match table {
        "organizations" => "DB-01",
        "instances" => "DB-02",
        "users" => "DB-03",
        "user_instance_access" => "DB-04",
        "projects" => "DB-05",
        "api_keys" => "DB-06",
        "usage_logs" => "DB-07",
        _ => "DB-15",
    };
    let mut checks: Vec<Check> = TABLES
        .into_iter()
        .map(|table| {
            let ids = [of_table(table), "DB-08", "DB-11", "DB-13"];
            Check::new(
                schema,
                format!("table-{}", table.replace('_', "-")),
                &ids,
                async move |lab: &mut Lab| same_table(lab, table).await,
            )
        })
        .collect();
    checks.push(Check::new(schema, "indexes-of-foreign-keys", &["DB-10"], indexes));
    checks.push(Check::new(
        schema,
        "what-the-database-refuses",
        &["DB-03", "DB-09", "DB-13", "KEY-02", "USER-03", "PROJ-02"],
        refusals,
    ));
    checks.push(Check::new(
        schema,
        "what-goes-with-what",
        &["DB-13", "DB-14"],
        deletions,
    ));
    checks.push(Check::new(
        schema,
        "migrations-and-schema",
        &["DB-12", "DB-15"],
        migrations,
    ));
    checks.push(Check::new(schema, "seed-data", &["DB-18", "DB-11"], seed_data));
    checks
}

fn text<'row>(row: &'row Row, name: &str) -> &'row str {
    row.get(name).and_then(serde_json::Value::as_str).unwrap_or_default()
}

fn number(row: &Row, name: &str) -> i64 {
    row.get(name).and_then(serde_json::Value::as_i64).unwrap_or_default()
}

/// What a table is, but for its spelling: columns, their affinity, what may be null, keys, references, and what is unique.
async fn shape(side: &Subject, table: &str) -> Outcome<BTreeSet<String>> {
    let mut shape = BTreeSet::new();
    for row in side
        .rows(&format!("SELECT * FROM pragma_table_info('{table}')"))
        .await?
    {
        let affinity = match text(&row, "type").to_ascii_uppercase() {
            kind if kind.contains("INT") => "integer",
            kind if kind.contains("CHAR") || kind.contains("TEXT") || kind.contains("CLOB") => "text",
            _ => "another type",
        };
        // A primary key that may be null is a relic of SQLite's.
        let may_be_null = number(&row, "notnull") == 0 && number(&row, "pk") == 0;
        shape.insert(format!(
            "column {} of {affinity}{}{}",
            text(&row, "name"),
            if may_be_null { ", may be null" } else { "" },
            match number(&row, "pk") {
                0 => String::new(),
                place => format!(", {place}. of the primary key"),
            }
        ));
    }
    for row in side
        .rows(&format!("SELECT * FROM pragma_foreign_key_list('{table}')"))
        .await?
    {
        let rule = match text(&row, "on_delete") {
            // Within one statement they do the same.
            "NO ACTION" | "RESTRICT" => "is refused",
            "CASCADE" => "goes along",
            "SET NULL" => "becomes null",
            other => other,
        };
        shape.insert(format!(
            "{} references {}, and {rule}",
            text(&row, "from"),
            text(&row, "table")
        ));
    }
    for row in side
        .rows(&format!("SELECT * FROM pragma_index_list('{table}')"))
        .await?
    {
        if number(&row, "unique") == 1 && text(&row, "origin") != "pk" && number(&row, "partial") == 0 {
            let mut columns = columns_of(side, text(&row, "name")).await?;
            columns.sort();
            shape.insert(format!("{} is unique", columns.join(" with ")));
        }
    }
    Ok(shape)
}

async fn columns_of(side: &Subject, index: &str) -> Outcome<Vec<String>> {
    let rows = side
        .rows(&format!("SELECT * FROM pragma_index_info('{index}') ORDER BY seqno"))
        .await?;
    Ok(rows.iter().map(|row| text(row, "name").to_owned()).collect())
}

async fn same_table(lab: &mut Lab, table: &str) -> Outcome {
    let (reference, subject) = (shape(&lab.reference, table).await?, shape(&lab.subject, table).await?);
    if reference.is_empty() {
        return Err(Failed::Check(format!("the reference has no table {table}")));
    }
    lab.require(!subject.is_empty(), format!("there is no table {table}"))?;
    let missing: Vec<&str> = reference.difference(&subject).map(String::as_str).collect();
    lab.require(
        missing.is_empty(),
        format!("table {table}: missing: {}", missing.join("; ")),
    )?;
    // Further columns may be there; a reference or a unique column more changes what is taken.
    let further: Vec<&str> = subject
        .difference(&reference)
        .map(String::as_str)
        .filter(|fact| !fact.starts_with("column ") || fact.contains("primary key"))
        .collect();
    lab.require(
        further.is_empty(),
        format!("table {table}: too many: {}", further.join("; ")),
    )
}

async fn indexes(lab: &mut Lab) -> Outcome {
    for side in [&lab.reference, &lab.subject] {
        for table in TABLES {
            let mut begins = Vec::new();
            for row in side
                .rows(&format!("SELECT * FROM pragma_index_list('{table}')"))
                .await?
            {
                // A partial index finds only what it holds.
                if number(&row, "partial") == 0 {
                    begins.extend(columns_of(side, text(&row, "name")).await?.into_iter().next());
                }
            }
            for row in side
                .rows(&format!("SELECT * FROM pragma_foreign_key_list('{table}')"))
                .await?
            {
                let column = text(&row, "from");
                let is_indexed = begins.iter().any(|begin| begin == column);
                lab.require(
                    is_indexed,
                    format!("{table}.{column} references another table and begins no index"),
                )?;
            }
        }
    }
    Ok(())
}

/// Whether the subject takes a statement. What the reference does is compared by the caller.
async fn takes(side: &Subject, sql: &str) -> bool {
    // What was read of a refused statement would be nothing, not an error.
    side.write(&format!("{sql};\n")).await.is_ok()
}

const AT: &str = "'2026-01-03T00:00:00.000Z'";

fn into(table: &str, fields: &[(&str, String)]) -> String {
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let values: Vec<&str> = fields.iter().map(|(_, value)| value.as_str()).collect();
    format!(
        "INSERT INTO {table} ({}) VALUES ({})",
        names.join(", "),
        values.join(", ")
    )
}

/// A row that every table takes, as column and SQL.
fn rightful(table: &str) -> Vec<(&'static str, String)> {
    let quoted = |text: &str| format!("'{text}'");
    let hash = "ab".repeat(32);
    match table {
        "organizations" => vec![
            ("org_id", quoted("new")),
            ("name", quoted("n")),
            ("billing_email", quoted("a@b.example")),
            ("created_at", AT.into()),
            ("updated_at", AT.into()),
        ],
        "instances" => vec![
            ("instance_id", quoted("new")),
            ("org_id", quoted("example-org")),
            ("name", quoted("n")),
            ("config", quoted("{}")),
            ("version", "1".into()),
            ("created_at", AT.into()),
            ("updated_at", AT.into()),
        ],
        "users" => vec![
            ("user_id", quoted("new")),
            ("email", quoted("new@b.example")),
            ("role", quoted("user")),
            ("org_id", quoted("example-org")),
            ("created_at", AT.into()),
            ("updated_at", AT.into()),
        ],
        "user_instance_access" => vec![
            ("user_id", quoted(USER)),
            ("instance_id", quoted("development")),
            ("granted_by", quoted(ROOT)),
            ("created_at", AT.into()),
        ],
        "projects" => vec![
            ("project_id", quoted("new")),
            ("instance_id", quoted("production")),
            ("name", quoted("n")),
            ("settings", quoted("{}")),
            ("created_at", AT.into()),
            ("updated_at", AT.into()),
        ],
        "api_keys" => vec![
            ("key_id", quoted("new")),
            ("user_id", quoted(USER)),
            ("project_id", "NULL".into()),
            ("key_hash", quoted(&hash)),
            ("key_prefix", quoted("mas_00000000")),
            ("name", quoted("")),
            ("created_by", quoted(ROOT)),
            ("created_at", AT.into()),
        ],
        "usage_logs" => vec![
            ("log_id", quoted("new")),
            ("org_id", quoted("example-org")),
            ("instance_id", quoted("production")),
            ("project_id", quoted("content-forge")),
            ("user_id", quoted(USER)),
            ("request_id", quoted("r")),
            ("timestamp", AT.into()),
            ("provider", quoted("ideogram")),
            ("model", quoted("m")),
            ("tokens_used", "0".into()),
            ("cost", "5".into()),
            ("created_at", AT.into()),
        ],
        _ => vec![
            ("log_id", quoted("new")),
            ("timestamp", AT.into()),
            ("level", quoted("INFO")),
            ("message", quoted("m")),
            ("request_id", quoted("r")),
            ("instance_id", quoted("gone")),
            ("user_id", quoted("gone")),
            ("component", quoted("c")),
            ("metadata", quoted("{}")),
            ("created_at", AT.into()),
        ],
    }
}

async fn refusals(lab: &mut Lab) -> Outcome {
    let hash = "ab".repeat(32);
    let cases: Vec<(&str, Vec<(&'static str, &str)>)> = vec![
        (
            "instances",
            vec![
                ("org_id", "'nobody'"),
                ("config", "'{'"),
                ("config", "'[]'"),
                ("config", "'1'"),
                ("config", "''"),
                ("version", "0"),
                ("version", "-1"),
                ("instance_id", "'production'"),
            ],
        ),
        (
            "users",
            vec![
                ("role", "'king'"),
                ("role", "'Admin'"),
                ("role", "''"),
                ("org_id", "'nobody'"),
                ("email", "'user@example.com'"),
                ("email", "'USER@Example.com'"),
            ],
        ),
        (
            "user_instance_access",
            vec![
                ("user_id", "'nobody'"),
                ("instance_id", "'nobody'"),
                ("granted_by", "'nobody'"),
                ("instance_id", "'production'"),
            ],
        ),
        (
            "projects",
            vec![
                ("instance_id", "'nobody'"),
                ("settings", "'{'"),
                ("settings", "'[]'"),
                ("settings", "'null'"),
                ("name", "'Content Forge'"),
                ("project_id", "'playground'"),
            ],
        ),
        (
            "api_keys",
            vec![
                ("user_id", "NULL"),
                ("project_id", "'playground'"),
                ("user_id", "'nobody'"),
                ("created_by", "'nobody'"),
            ],
        ),
        (
            "usage_logs",
            vec![
                ("org_id", "'nobody'"),
                ("instance_id", "'nobody'"),
                ("project_id", "'nobody'"),
                ("user_id", "'nobody'"),
                ("tokens_used", "-1"),
                ("cost", "-1"),
            ],
        ),
        ("organizations", vec![("org_id", "'example-org'")]),
        (
            "logs",
            vec![
                ("level", "'FATAL'"),
                ("level", "'info'"),
                ("metadata", "'{'"),
                ("metadata", "'[]'"),
            ],
        ),
    ];
    for (table, wrongs) in cases {
        let rightful = rightful(table);
        let mut wrongs: Vec<(&str, String)> = wrongs
            .into_iter()
            .map(|(name, value)| (name, value.to_owned()))
            .collect();
        let nullable = [
            "granted_by",
            "created_by",
            "user_id",
            "project_id",
            "instance_id",
            "model",
        ];
        for (name, _) in &rightful {
            let may_be_null = nullable.contains(name)
                && !matches!(
                    (table, *name),
                    ("user_instance_access", "user_id" | "instance_id")
                        | ("instances" | "projects", "instance_id" | "project_id")
                        | ("users", "user_id")
                );
            if !may_be_null {
                wrongs.push((name, "NULL".to_owned()));
            }
        }
        for (name, value) in wrongs {
            let mut fields = rightful.clone();
            if let Some(field) = fields.iter_mut().find(|(column, _)| *column == name) {
                field.1.clone_from(&value);
            }
            let sql = into(table, &fields);
            lab.require(
                !takes(&lab.subject, &sql).await,
                format!("table {table} takes {value} for {name}"),
            )?;
        }
        lab.require(
            takes(&lab.subject, &into(table, &rightful)).await,
            format!("table {table} refuses a row as it must be: {}", into(table, &rightful)),
        )?;
    }
    // A key of a project, with the hash that is already there.
    let mut key = rightful("api_keys");
    for (name, value) in [
        ("key_id", "'second'"),
        ("user_id", "NULL"),
        ("project_id", "'playground'"),
    ] {
        if let Some(field) = key.iter_mut().find(|(column, _)| *column == name) {
            value.clone_into(&mut field.1);
        }
    }
    lab.require(
        !takes(&lab.subject, &into("api_keys", &key)).await,
        "two keys have one hash",
    )?;
    if let Some(field) = key.iter_mut().find(|(column, _)| *column == "key_hash") {
        field.1 = format!("'{}'", hash.replace('a', "c"));
    }
    lab.require(
        takes(&lab.subject, &into("api_keys", &key)).await,
        "a project's key is refused",
    )
}

async fn deletions(lab: &mut Lab) -> Outcome {
    let mut script = String::new();
    for table in ["user_instance_access", "api_keys", "usage_logs"] {
        script.push_str(&into(table, &rightful(table)));
        script.push_str(";\n");
    }
    lab.write(&script).await?;
    for (sql, is_taken) in [
        ("DELETE FROM organizations WHERE org_id = 'example-org'", false),
        ("DELETE FROM projects WHERE project_id = 'content-forge'", true),
        ("DELETE FROM instances WHERE instance_id = 'production'", true),
        ("DELETE FROM instances WHERE instance_id = 'development'", true),
        ("DELETE FROM users WHERE org_id = 'example-org'", true),
        ("DELETE FROM organizations WHERE org_id = 'example-org'", false),
        ("DELETE FROM usage_logs", true),
        ("DELETE FROM organizations WHERE org_id = 'example-org'", true),
    ] {
        if is_taken {
            lab.write(&format!("{sql};\n")).await?;
        } else {
            lab.require(
                !takes(&lab.subject, sql).await,
                format!("the database does not refuse {sql}"),
            )?;
        }
        for table in ["usage_logs", "user_instance_access", "projects", "instances", "users"] {
            let columns = if table == "usage_logs" {
                "log_id, org_id, instance_id, project_id, user_id, cost"
            } else {
                "count(*) AS count"
            };
            lab.rows(&format!("SELECT {columns} FROM {table}")).await?;
        }
        lab.rows("SELECT user_id, project_id, created_by FROM api_keys ORDER BY user_id, project_id, key_id")
            .await?;
    }
    Ok(())
}

fn broken(file: &Path) -> impl Fn(rusqlite::Error) -> Failed {
    let file = file.to_path_buf();
    move |error| Failed::Difference(format!("{}: {error}", file.display()))
}

fn run_file(connection: &Connection, file: &Path) -> Outcome {
    let script = std::fs::read_to_string(file)
        .map_err(|error| Failed::Difference(format!("cannot read {}: {error}", file.display())))?;
    connection.execute_batch(&script).map_err(broken(file))
}

fn empty() -> Outcome<Connection> {
    let connection = Connection::open_in_memory().map_err(|error| Failed::Check(error.to_string()))?;
    connection
        .execute_batch("PRAGMA foreign_keys = ON")
        .map_err(|error| Failed::Check(error.to_string()))?;
    Ok(connection)
}

fn database(lab: &Lab) -> Outcome<(PathBuf, Vec<PathBuf>)> {
    let Some(root) = &lab.root else {
        return Err(Failed::NotApplicable);
    };
    let directory = root.join("infrastructure/database");
    let entries = std::fs::read_dir(directory.join("migrations"))
        .map_err(|error| Failed::Difference(format!("cannot read infrastructure/database/migrations: {error}")))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "sql"))
        .collect();
    files.sort();
    Ok((directory, files))
}

/// Every column of every table, one a line.
fn columns(connection: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    let mut statement = connection.prepare(
        "SELECT tables.name, columns.name, columns.type, columns.\"notnull\", coalesce(columns.dflt_value, ''), columns.pk FROM sqlite_master AS tables, pragma_table_info(tables.name) AS columns WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite_%'
         UNION ALL SELECT tables.name, keys.\"from\", keys.\"table\", keys.on_delete, '', 0 FROM sqlite_master AS tables, pragma_foreign_key_list(tables.name) AS keys WHERE tables.type = 'table'
         UNION ALL SELECT tables.name, group_concat(columns.name), 'index', indexes.\"unique\", '', 0 FROM sqlite_master AS tables, pragma_index_list(tables.name) AS indexes, pragma_index_info(indexes.name) AS columns WHERE tables.type = 'table' GROUP BY tables.name, indexes.name",
    )?;
    let rows = statement.query_map([], |row| {
        let texts: Vec<String> = (0..6)
            .map(|index| row.get_ref(index).map(|value| format!("{value:?}")))
            .collect::<rusqlite::Result<_>>()?;
        Ok(texts.join(" "))
    })?;
    rows.collect()
}

async fn migrations(lab: &mut Lab) -> Outcome {
    let (directory, files) = database(lab)?;
    let migrated = empty()?;
    for (index, file) in files.iter().enumerate() {
        run_file(&migrated, file)?;
        if index == 0 {
            // What comes later finds data in place.
            run_file(&migrated, &directory.join("seed.sql"))?;
        }
    }
    let count: i64 = migrated
        .query_row("SELECT count(*) FROM projects", [], |row| row.get(0))
        .map_err(broken(&directory))?;
    lab.require(
        count == 2,
        format!("after all migrations there are {count} projects of the two of the seed data"),
    )?;
    let has_logs: i64 = migrated
        .query_row(
            "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'logs'",
            [],
            |row| row.get(0),
        )
        .map_err(broken(&directory))?;
    lab.require(
        has_logs == 1 && files.len() >= 2,
        "no second migration brings the table logs",
    )?;
    let written = empty()?;
    let file = directory.join("schema.sql");
    run_file(&written, &file)?;
    let (from_migrations, from_schema) = (
        columns(&migrated).map_err(broken(&file))?,
        columns(&written).map_err(broken(&file))?,
    );
    // schema.sql may stop at the tables of the first migration.
    let tables: BTreeSet<&str> = from_schema.iter().filter_map(|line| line.split(' ').next()).collect();
    let differing: Vec<&String> = from_migrations
        .iter()
        .filter(|line| line.split(' ').next().is_some_and(|table| tables.contains(table)))
        .filter(|line| !from_schema.contains(*line))
        .chain(from_schema.difference(&from_migrations))
        .collect();
    lab.require(
        differing.is_empty(),
        format!("migrations and schema.sql differ in {differing:?}"),
    )
}

async fn seed_data(lab: &mut Lab) -> Outcome {
    let (directory, files) = database(lab)?;
    let connection = empty()?;
    for file in &files {
        run_file(&connection, file)?;
    }
    let seed = directory.join("seed.sql");
    for round in 1..=3 {
        run_file(&connection, &seed)?;
        for (sql, wanted) in [
            ("SELECT count(*) FROM organizations", 1),
            ("SELECT count(*) FROM organizations WHERE org_id = 'example-org'", 1),
            ("SELECT count(*) FROM instances", 2),
            (
                "SELECT count(*) FROM instances WHERE instance_id IN ('production', 'development')",
                2,
            ),
            ("SELECT count(*) FROM users", 2),
            ("SELECT count(*) FROM users WHERE role = 'superadmin'", 1),
            ("SELECT count(*) FROM users WHERE role = 'user'", 1),
            ("SELECT count(*) FROM projects", 2),
            (
                "SELECT count(*) FROM projects WHERE (project_id, instance_id) IN (VALUES ('content-forge', 'production'), ('playground', 'development'))",
                2,
            ),
            ("SELECT count(*) FROM api_keys", 0),
            (
                "SELECT count(*) FROM instances WHERE json_extract(config, '$.api_keys') NOT IN ('{}')",
                0,
            ),
            (
                "SELECT count(*) FROM users WHERE created_at NOT GLOB '????-??-??T??:??:??.???Z'",
                0,
            ),
        ] {
            let found: i64 = connection.query_row(sql, [], |row| row.get(0)).map_err(broken(&seed))?;
            lab.require(
                found == wanted,
                format!("after {round} times the seed data: {sql} gives {found}, not {wanted}"),
            )?;
        }
    }
    Ok(())
}
