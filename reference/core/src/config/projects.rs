//! Projects: section A.7.

use serde_json::{Value, json};

use super::instances;
use super::list::{self, Source};
use crate::caller::Caller;
use crate::fields::{self, Fields, Page};
use crate::http::{Answer, Request};
use crate::id;
use crate::ports::{ConfigHost, Database, Row};
use crate::problem::Problem;
use crate::time;

/// What a project's settings may measure as compact JSON, in UTF-16 units.
const SETTINGS_UNITS_MAX: usize = 16_384;
/// How deep they may be nested; the object itself is the first level.
const SETTINGS_DEPTH_MAX: usize = 32;

const COLUMNS: &str = "p.project_id, p.instance_id, p.name, p.settings, p.created_at, p.updated_at";
const FROM: &str = "FROM projects p JOIN instances ON instances.instance_id = p.instance_id";

fn resource(row: &Row) -> Value {
    json!({
        "project_id": row.text("project_id"),
        "instance_id": row.text("instance_id"),
        "name": row.text("name"),
        "settings": row.json("settings"),
        "created_at": row.text("created_at"),
        "updated_at": row.text("updated_at"),
    })
}

/// The project of this id with its organisation, if there is one.
pub(crate) async fn find(host: &impl Database, project_id: &str) -> Result<Row, Problem> {
    let sql = format!("SELECT {COLUMNS}, instances.org_id {FROM} WHERE p.project_id = ?1");
    let outcome = host.query(&sql, vec![project_id.into()]).await?;
    outcome
        .rows
        .into_iter()
        .next()
        .ok_or_else(|| Problem::missing("project"))
}

/// The project, if it exists and the caller runs its organisation.
pub(super) async fn managed(host: &impl Database, caller: &Caller, project_id: &str) -> Result<Row, Problem> {
    let row = find(host, project_id).await?;
    if caller.manages(row.text("org_id")) {
        Ok(row)
    } else {
        Err(Problem::forbidden())
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

fn settings(value: &Value) -> Result<String, &'static str> {
    let text = value.to_string();
    let is_small = fields::units(&text) <= SETTINGS_UNITS_MAX && depth(value) <= SETTINGS_DEPTH_MAX;
    if value.is_object() && is_small {
        Ok(text)
    } else {
        Err("an object of at most 16384 characters, nested at most 32 levels deep")
    }
}

pub(super) async fn list(host: &impl ConfigHost, request: &Request, caller: &Caller) -> Result<Answer, Problem> {
    let filter = request.parameter("instance_id");
    let filters = format!("project of {filter:?}");
    let page = Page::read(request, &filters)?;
    let mut source = Source {
        select: format!("SELECT {COLUMNS}, p.created_at AS listed_at, p.project_id AS listed_id {FROM}"),
        conditions: Vec::new(),
        parameters: Vec::new(),
        order: ["p.created_at", "p.project_id"],
        is_descending: false,
        filters,
    };
    instances::within_reach(caller, &mut source);
    if let Caller::Project(project) = caller {
        source.parameters.push((&project.project_id).into());
        source
            .conditions
            .push(format!("p.project_id = ?{}", source.parameters.len()));
    }
    if let Some(instance_id) = filter {
        instances::readable(host, caller, &instance_id).await?;
        source.parameters.push(instance_id.into());
        source
            .conditions
            .push(format!("p.instance_id = ?{}", source.parameters.len()));
    }
    list::page(host, source, &page, |row| Ok(resource(row))).await
}

pub(super) async fn create(host: &impl ConfigHost, request: &Request, caller: &Caller) -> Result<Answer, Problem> {
    let body = Fields::read(request, &["project_id", "instance_id", "name", "settings"])?;
    let instance_id = body.required("instance_id", fields::identifier)?;
    let name = body.required("name", fields::name)?;
    let settings = body.optional("settings", settings)?.unwrap_or_else(|| "{}".to_owned());
    let project_id = body
        .optional("project_id", fields::identifier)?
        .unwrap_or_else(|| id::uuid(host));
    instances::managed(host, caller, &instance_id).await?;
    let sql = "INSERT INTO projects (project_id, instance_id, name, settings, created_at, updated_at) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?5) RETURNING *";
    let now = time::format(host.now_ms());
    let parameters = vec![
        (&project_id).into(),
        instance_id.into(),
        name.into(),
        settings.into(),
        now.into(),
    ];
    let outcome = host.query(sql, parameters).await?;
    let row = outcome.rows.first().ok_or_else(Problem::internal)?;
    Ok(Answer::created(&format!("/project/{project_id}"), resource(row)))
}

pub(super) async fn read(host: &impl ConfigHost, caller: &Caller, project_id: &str) -> Result<Answer, Problem> {
    let row = find(host, project_id).await?;
    if caller.reads_project(project_id, row.text("instance_id"), row.text("org_id")) {
        Ok(Answer::ok(resource(&row)))
    } else {
        Err(Problem::forbidden())
    }
}

pub(super) async fn edit(
    host: &impl ConfigHost,
    request: &Request,
    caller: &Caller,
    project_id: &str,
) -> Result<Answer, Problem> {
    managed(host, caller, project_id).await?;
    let body = Fields::read(request, &["name", "settings"])?;
    body.not_empty()?;
    let name = body.optional("name", fields::name)?;
    let settings = body.optional("settings", settings)?;
    let sql = "UPDATE projects SET name = coalesce(?2, name), settings = coalesce(?3, settings), updated_at = ?4 \
        WHERE project_id = ?1 RETURNING *";
    let now = time::format(host.now_ms());
    let outcome = host
        .query(sql, vec![project_id.into(), name.into(), settings.into(), now.into()])
        .await?;
    let row = outcome.rows.first().ok_or_else(|| Problem::missing("project"))?;
    Ok(Answer::ok(resource(row)))
}

pub(super) async fn delete(host: &impl ConfigHost, caller: &Caller, project_id: &str) -> Result<Answer, Problem> {
    managed(host, caller, project_id).await?;
    let outcome = host
        .query("DELETE FROM projects WHERE project_id = ?1", vec![project_id.into()])
        .await?;
    if outcome.changes == 0 {
        return Err(Problem::missing("project"));
    }
    Ok(Answer::ok(json!({ "deleted": true, "project_id": project_id })))
}
