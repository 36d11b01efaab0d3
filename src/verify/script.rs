//! Reads the SQL scripts of a database and gives them back one statement at a time.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::{Value, json};

use super::BootError;

/// What migrations and data come to, one statement at a time: D1 takes no scripts. SQLite itself reads the scripts, so that no quoting is misunderstood.
pub(super) fn statements(migrations: &Path, data: Option<&Path>) -> Result<Vec<(String, Vec<Value>)>, BootError> {
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
        move |error: rusqlite::Error| BootError::Sql {
            file,
            detail: error.to_string(),
        }
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
