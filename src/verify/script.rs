//! The SQL scripts of a database: run on an empty one, and given back one statement at a time or as what they made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::{Value, json};

use super::BootError;

/// What is run on an empty database.
#[derive(Clone, Copy, Debug)]
pub(super) enum Script<'path> {
    /// One file.
    File(&'path Path),
    /// All files `*.sql` of a directory, in the order of their names.
    Directory(&'path Path),
}

/// What migrations and data come to, one statement at a time: D1 takes no scripts. SQLite itself reads the scripts, so that no quoting is misunderstood.
pub(super) fn statements(migrations: &Path, data: Option<&Path>) -> Result<Vec<(String, Vec<Value>)>, BootError> {
    let scripts: Vec<Script<'_>> = std::iter::once(Script::Directory(migrations))
        .chain(data.map(Script::File))
        .collect();
    let connection = run(&scripts)?;
    export(&connection).map_err(failed(migrations))
}

fn failed(file: &Path) -> impl FnOnce(rusqlite::Error) -> BootError {
    let file = file.to_path_buf();
    move |error| BootError::Sql {
        file,
        detail: error.to_string(),
    }
}

/// Runs scripts on an empty database, with foreign keys enforced as D1 does.
fn run(scripts: &[Script<'_>]) -> Result<Connection, BootError> {
    let mut files = Vec::new();
    for script in scripts {
        match script {
            Script::File(file) => files.push(file.to_path_buf()),
            Script::Directory(directory) => {
                let mut found: Vec<PathBuf> = std::fs::read_dir(directory)
                    .map_err(BootError::file("cannot read", directory))?
                    .flatten()
                    .map(|entry| entry.path())
                    .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
                    .collect();
                found.sort();
                files.extend(found);
            }
        }
    }
    let place = files.first().cloned().unwrap_or_default();
    let connection = Connection::open_in_memory().map_err(failed(&place))?;
    for file in &files {
        let script = std::fs::read_to_string(file).map_err(BootError::file("cannot read", file))?;
        connection.execute_batch(&script).map_err(failed(file))?;
    }
    Ok(connection)
}

fn texts(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare(sql)?
        .query_map([], |row| row.get::<_, String>(0))?
        .collect()
}

const TABLES_SQL: &str =
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";

/// The tables that scripts make, each with its columns: name, type, whether it may be null, its default and its place in the primary key.
pub(super) fn tables_after(scripts: &[Script<'_>]) -> Result<BTreeMap<String, Vec<String>>, BootError> {
    let connection = run(scripts)?;
    let columns_of = |table: &str| {
        texts(
            &connection,
            &format!(
                "SELECT name || ' ' || type || ' ' || \"notnull\" || ' ' || coalesce(dflt_value, '') || ' ' || pk FROM pragma_table_info('{table}') ORDER BY name"
            ),
        )
    };
    texts(&connection, TABLES_SQL)
        .and_then(|tables| {
            tables
                .into_iter()
                .map(|table| Ok((table.clone(), columns_of(&table)?)))
                .collect()
        })
        .map_err(failed(Path::new("the schema")))
}

/// How many rows each table has after scripts.
pub(super) fn counts_after(scripts: &[Script<'_>]) -> Result<BTreeMap<String, i64>, BootError> {
    let connection = run(scripts)?;
    let count_of =
        |table: &str| connection.query_row(&format!("SELECT count(*) FROM \"{table}\""), [], |row| row.get(0));
    texts(&connection, TABLES_SQL)
        .and_then(|tables| {
            tables
                .into_iter()
                .map(|table| Ok((table.clone(), count_of(&table)?)))
                .collect()
        })
        .map_err(failed(Path::new("the schema")))
}

/// The first column of a query after scripts.
pub(super) fn texts_after(scripts: &[Script<'_>], sql: &str) -> Result<Vec<String>, BootError> {
    texts(&run(scripts)?, sql).map_err(failed(Path::new("the schema")))
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
