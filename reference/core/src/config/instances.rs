//! Instances and their configuration: section A.4.

use serde_json::{Map, Value, json};

use super::list::{self, Source};
use super::organizations;
use super::settings::{self, Edit};
use crate::caller::{Caller, Kind, Role};
use crate::fields::{self, Fields, Page};
use crate::http::{Answer, Request};
use crate::id;
use crate::ports::{ConfigHost, Database, Kv, Row};
use crate::problem::Problem;
use crate::time;

/// An edit that others keep overtaking gives up after this many tries.
const EDIT_TRIES_MAX: usize = 50;

const COLUMNS: &str = "instances.instance_id, instances.org_id, instances.name, instances.config, instances.version, instances.created_at, instances.updated_at, \
    (SELECT json_group_array(user_id) FROM (SELECT a.user_id FROM user_instance_access a WHERE a.instance_id = instances.instance_id ORDER BY a.user_id)) AS authorized_users";

/// The name of an instance's entry in the cache.
#[must_use]
pub fn cache_entry(instance_id: &str) -> String {
    format!("instance-config:v1:{instance_id}")
}

/// Removes the cached copy, so that the next reader asks.
pub(super) async fn forget_copy(host: &impl Kv, instance_id: &str) -> Result<(), Problem> {
    Ok(host.kv_delete(&cache_entry(instance_id)).await?)
}

/// The instance as this caller may see it.
fn resource(row: &Row, caller: &Caller, binding: Option<&str>) -> Result<Value, Problem> {
    let instance_id = row.text("instance_id");
    let config = row.json("config");
    let authorized_users = match (caller.kind(), row.json("authorized_users")) {
        (Kind::Admin | Kind::Superadmin | Kind::Service, all) => all,
        (Kind::User, Value::Array(all)) => all
            .into_iter()
            .filter(|user| user.as_str() == caller.user_id())
            .collect(),
        (Kind::User | Kind::Project, _) => json!([]),
    };
    Ok(json!({
        "instance_id": instance_id,
        "org_id": row.text("org_id"),
        "name": row.text("name"),
        "api_keys": settings::shown_keys(&config, instance_id, caller.kind(), binding)?,
        "rate_limits": config.get("rate_limits"),
        "worker_urls": config.get("worker_urls"),
        "r2_bucket": config.get("r2_bucket"),
        "authorized_users": authorized_users,
        "created_at": row.text("created_at"),
        "updated_at": row.text("updated_at"),
    }))
}

async fn find(host: &impl Database, instance_id: &str) -> Result<Row, Problem> {
    let sql = format!("SELECT {COLUMNS} FROM instances WHERE instances.instance_id = ?1");
    let outcome = host.query(&sql, vec![instance_id.into()]).await?;
    outcome
        .rows
        .into_iter()
        .next()
        .ok_or_else(|| Problem::missing("instance"))
}

/// The instance, if it exists and the caller may read it.
pub(super) async fn readable(host: &impl Database, caller: &Caller, instance_id: &str) -> Result<Row, Problem> {
    let row = find(host, instance_id).await?;
    if caller.reads_instance(instance_id, row.text("org_id")) {
        Ok(row)
    } else {
        Err(Problem::forbidden())
    }
}

/// The instance, if it exists and the caller runs its organisation.
pub(super) async fn managed(host: &impl Database, caller: &Caller, instance_id: &str) -> Result<Row, Problem> {
    let row = find(host, instance_id).await?;
    if caller.manages(row.text("org_id")) {
        Ok(row)
    } else {
        Err(Problem::forbidden())
    }
}

/// Restricts a list whose instances go by their own name to those that the caller may read.
pub(super) fn within_reach(caller: &Caller, source: &mut Source) {
    let next = source.parameters.len() + 1;
    let (condition, parameter) = match caller {
        Caller::Person(person) => match person.role {
            Role::User => {
                let given = format!(
                    "instances.instance_id IN (SELECT instance_id FROM user_instance_access WHERE user_id = ?{next})"
                );
                (given, &person.user_id)
            }
            Role::Admin => (format!("instances.org_id = ?{next}"), &person.org_id),
            Role::Superadmin => return,
        },
        Caller::Project(project) => (format!("instances.instance_id = ?{next}"), &project.instance_id),
        Caller::Service => return,
    };
    source.conditions.push(condition);
    source.parameters.push(parameter.into());
}

pub(super) async fn list(host: &impl ConfigHost, request: &Request, caller: &Caller) -> Result<Answer, Problem> {
    let filter = request.parameter("org_id");
    let filters = format!("instance of {filter:?}");
    let page = Page::read(request, &filters)?;
    let mut source = Source {
        select: format!(
            "SELECT {COLUMNS}, instances.created_at AS listed_at, instances.instance_id AS listed_id FROM instances"
        ),
        conditions: Vec::new(),
        parameters: Vec::new(),
        order: ["instances.created_at", "instances.instance_id"],
        is_descending: false,
        filters,
    };
    within_reach(caller, &mut source);
    if let Some(org_id) = filter {
        organizations::find(host, &org_id).await?;
        let is_within_reach = match caller.kind() {
            Kind::Superadmin | Kind::Service => true,
            Kind::User | Kind::Admin | Kind::Project => caller.org_id() == Some(&org_id),
        };
        if !is_within_reach {
            return Err(Problem::forbidden());
        }
        source.parameters.push(org_id.into());
        source
            .conditions
            .push(format!("instances.org_id = ?{}", source.parameters.len()));
    }
    let settings = host.settings();
    let binding = settings.provider_key_encryption_keys.as_deref();
    list::page(host, source, &page, |row| resource(row, caller, binding)).await
}

pub(super) async fn create(host: &impl ConfigHost, request: &Request, caller: &Caller) -> Result<Answer, Problem> {
    let body = Fields::read(request, &["instance_id", "org_id", "name", "config"])?;
    let name = body.required("name", fields::name)?;
    let org_id = body.required("org_id", fields::identifier)?;
    let instance_id = body
        .optional("instance_id", fields::identifier)?
        .unwrap_or_else(|| id::uuid(host));
    let edit = Edit::read(body.raw("config"), settings::Mode::Create)?;
    let settings = host.settings();
    let binding = settings.provider_key_encryption_keys.as_deref();
    let config = edit.apply(&settings::empty(), &instance_id, binding, host)?;
    organizations::managed(host, caller, &org_id).await?;
    let sql = format!(
        "INSERT INTO instances (instance_id, org_id, name, config, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5) RETURNING {COLUMNS}"
    );
    let now = time::format(host.now_ms());
    let parameters = vec![
        (&instance_id).into(),
        org_id.into(),
        name.into(),
        config.to_string().into(),
        now.into(),
    ];
    let outcome = host.query(&sql, parameters).await?;
    let row = outcome.rows.first().ok_or_else(Problem::internal)?;
    forget_copy(host, &instance_id).await?;
    Ok(Answer::created(
        &format!("/instance/{instance_id}"),
        resource(row, caller, binding)?,
    ))
}

pub(super) async fn read(host: &impl ConfigHost, caller: &Caller, instance_id: &str) -> Result<Answer, Problem> {
    let row = readable(host, caller, instance_id).await?;
    Ok(Answer::ok(resource(
        &row,
        caller,
        host.settings().provider_key_encryption_keys.as_deref(),
    )?))
}

/// Merges the edit into what is stored. Who was overtaken by another edit merges again, so both take effect.
pub(super) async fn edit(
    host: &impl ConfigHost,
    request: &Request,
    caller: &Caller,
    instance_id: &str,
) -> Result<Answer, Problem> {
    let mut present = managed(host, caller, instance_id).await?;
    let body = Fields::read(request, &["name", "config"])?;
    body.not_empty()?;
    let name = body.optional("name", fields::name)?;
    let edit = Edit::read(body.raw("config"), settings::Mode::Merge)?;
    let settings = host.settings();
    let binding = settings.provider_key_encryption_keys.as_deref();
    let sql = format!(
        "UPDATE instances SET name = coalesce(?2, name), config = ?3, version = version + 1, updated_at = ?4 \
         WHERE instance_id = ?1 AND version = ?5 RETURNING {COLUMNS}"
    );
    for _ in 0..EDIT_TRIES_MAX {
        let config = edit.apply(&present.json("config"), instance_id, binding, host)?;
        let parameters = vec![
            instance_id.into(),
            name.clone().into(),
            config.to_string().into(),
            time::format(host.now_ms()).into(),
            present.integer("version").into(),
        ];
        let outcome = host.query(&sql, parameters).await?;
        if let Some(row) = outcome.rows.first() {
            forget_copy(host, instance_id).await?;
            return Ok(Answer::ok(resource(row, caller, binding)?));
        }
        present = managed(host, caller, instance_id).await?;
    }
    Err(Problem::conflict("others kept changing it at the same time"))
}

pub(super) async fn delete(host: &impl ConfigHost, caller: &Caller, instance_id: &str) -> Result<Answer, Problem> {
    managed(host, caller, instance_id).await?;
    let outcome = host
        .query("DELETE FROM instances WHERE instance_id = ?1", vec![instance_id.into()])
        .await?;
    if outcome.changes == 0 {
        return Err(Problem::missing("instance"));
    }
    forget_copy(host, instance_id).await?;
    Ok(Answer::ok(json!({ "deleted": true, "instance_id": instance_id })))
}

/// The fields of a configuration's map, empty if there are none.
pub(super) fn entries(config: &Value, map: &str) -> Map<String, Value> {
    config.get(map).and_then(Value::as_object).cloned().unwrap_or_default()
}
