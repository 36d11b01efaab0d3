//! What the Workers wrote: section A.9.

use serde_json::{Value, json};

use super::instances;
use super::list::{self, Source};
use crate::caller::{Caller, Kind};
use crate::fields::{self, Page};
use crate::http::{Answer, Request};
use crate::ports::{self, ConfigHost, Row};
use crate::problem::Problem;
use crate::time;

const LEVELS: [&str; 4] = ["DEBUG", "INFO", "WARN", "ERROR"];
/// What a searched text may measure, in UTF-16 units.
const SEARCH_UNITS_MAX: usize = 200;

const SELECT: &str = "SELECT log_id, timestamp, level, message, request_id, instance_id, user_id, component, metadata, \
    timestamp AS listed_at, log_id AS listed_id FROM logs";

fn item(row: &Row) -> Value {
    json!({
        "log_id": row.text("log_id"),
        "timestamp": row.text("timestamp"),
        "level": row.text("level"),
        "message": row.text("message"),
        "request_id": row.text("request_id"),
        "instance_id": row.optional("instance_id"),
        "user_id": row.optional("user_id"),
        "component": row.text("component"),
        "metadata": row.json("metadata"),
    })
}

/// Conditions with their parameters; `?` stands for the next one.
#[derive(Default)]
struct Conditions {
    conditions: Vec<String>,
    parameters: Vec<ports::Value>,
}

impl Conditions {
    fn add(&mut self, condition: &str, parameter: impl Into<ports::Value>) {
        self.parameters.push(parameter.into());
        self.conditions
            .push(condition.replace('?', &format!("?{}", self.parameters.len())));
    }
}

pub(super) async fn list(host: &impl ConfigHost, request: &Request, caller: &Caller) -> Result<Answer, Problem> {
    let names = [
        "instance_id",
        "level",
        "component",
        "request_id",
        "user_id",
        "from",
        "to",
        "search",
    ];
    let filters = format!("logs {:?}", names.map(|name| request.parameter(name)));
    let page = Page::read(request, &filters)?;
    let mut wanted = Conditions::default();
    if let Some(levels) = request.parameter("level") {
        let levels: Vec<&str> = levels.split(',').collect();
        if levels.iter().any(|level| !LEVELS.contains(level)) {
            return Err(Problem::invalid("`level` must be of DEBUG, INFO, WARN, ERROR"));
        }
        wanted.add("level IN (SELECT value FROM json_each(?))", json!(levels).to_string());
    }
    for column in ["component", "request_id", "user_id"] {
        if let Some(value) = request.parameter(column) {
            // Stored ids of requests are in lower case.
            let value = if column == "request_id" {
                value.to_ascii_lowercase()
            } else {
                value
            };
            wanted.add(&format!("{column} = ?"), value);
        }
    }
    for (name, condition) in [("from", "timestamp >= ?"), ("to", "timestamp < ?")] {
        if let Some(value) = request.parameter(name) {
            if time::parse(&value).is_none() {
                return Err(Problem::invalid(format!(
                    "`{name}` must be a time such as 2026-01-31T09:30:00.000Z"
                )));
            }
            // The order of texts is the order of times.
            wanted.add(condition, value);
        }
    }
    if let Some(text) = request.parameter("search") {
        if !(1..=SEARCH_UNITS_MAX).contains(&fields::units(&text)) {
            return Err(Problem::invalid("`search` must have 1 to 200 characters"));
        }
        // `lower` knows ASCII letters only, and `instr` knows no wildcards: that is what is promised. D1 limits the patterns of LIKE.
        wanted.add("instr(lower(message), lower(?)) > 0", text);
    }
    if let Some(instance_id) = request.parameter("instance_id") {
        instances::readable(host, caller, &instance_id).await?;
        wanted.add("instance_id = ?", instance_id);
    }
    if caller.kind() != Kind::Superadmin {
        wanted.add(
            "instance_id IN (SELECT instance_id FROM instances WHERE org_id = ?)",
            caller.org_id(),
        );
    }
    let source = Source {
        select: SELECT.to_owned(),
        conditions: wanted.conditions,
        parameters: wanted.parameters,
        order: ["timestamp", "log_id"],
        is_descending: true,
        filters,
    };
    list::page(host, source, &page, |row| Ok(item(row))).await
}
