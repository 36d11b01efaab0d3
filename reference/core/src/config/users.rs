//! Users: section A.6.

use serde_json::{Value, json};

use super::instances;
use super::list::{self, Source};
use super::organizations;
use crate::caller::{Caller, Kind, Role};
use crate::fields::{self, Fields, Page};
use crate::http::{Answer, Request};
use crate::id;
use crate::ports::{ConfigHost, Database, Row};
use crate::problem::Problem;
use crate::time;

const COLUMNS: &str = "user_id, email, role, org_id, created_at, updated_at, \
    (SELECT json_group_array(instance_id) FROM (SELECT a.instance_id FROM user_instance_access a WHERE a.user_id = users.user_id ORDER BY a.instance_id)) AS instances";

fn resource(row: &Row) -> Value {
    json!({
        "user_id": row.text("user_id"),
        "email": row.text("email"),
        "role": row.text("role"),
        "org_id": row.text("org_id"),
        "instances": row.json("instances"),
        "created_at": row.text("created_at"),
        "updated_at": row.text("updated_at"),
    })
}

/// The user of this id, if there is one.
pub(super) async fn find(host: &impl Database, user_id: &str) -> Result<Row, Problem> {
    let outcome = host
        .query(
            &format!("SELECT {COLUMNS} FROM users WHERE user_id = ?1"),
            vec![user_id.into()],
        )
        .await?;
    outcome.rows.into_iter().next().ok_or_else(|| Problem::missing("user"))
}

/// Whether the caller may change this user, its keys included. Nobody but a superadmin touches a superadmin.
pub(super) fn may_change(caller: &Caller, org_id: &str, role: &str) -> bool {
    caller.manages(org_id) && (role != Role::Superadmin.name() || caller.kind() == Kind::Superadmin)
}

fn role(value: &Value) -> Result<Role, &'static str> {
    value
        .as_str()
        .and_then(Role::parse)
        .ok_or("`user`, `admin` or `superadmin`")
}

pub(super) async fn list(host: &impl ConfigHost, request: &Request, caller: &Caller) -> Result<Answer, Problem> {
    let filter = request.parameter("org_id");
    let filters = format!("user of {filter:?}");
    let page = Page::read(request, &filters)?;
    if let Some(org_id) = &filter {
        organizations::managed(host, caller, org_id).await?;
    }
    let own = (caller.kind() != Kind::Superadmin)
        .then(|| caller.org_id())
        .flatten()
        .map(str::to_owned);
    let mut source = Source {
        select: format!("SELECT {COLUMNS}, created_at AS listed_at, user_id AS listed_id FROM users"),
        conditions: Vec::new(),
        parameters: Vec::new(),
        order: ["created_at", "user_id"],
        is_descending: false,
        filters,
    };
    if let Some(org_id) = filter.or(own) {
        source.conditions.push("org_id = ?1".to_owned());
        source.parameters.push(org_id.into());
    }
    list::page(host, source, &page, |row| Ok(resource(row))).await
}

pub(super) async fn create(host: &impl ConfigHost, request: &Request, caller: &Caller) -> Result<Answer, Problem> {
    let body = Fields::read(request, &["email", "org_id", "role"])?;
    let email = body.required("email", fields::email)?;
    let org_id = body.required("org_id", fields::identifier)?;
    let role = body.optional("role", role)?.unwrap_or(Role::User);
    if role == Role::Superadmin && caller.kind() != Kind::Superadmin {
        return Err(Problem::forbidden());
    }
    organizations::managed(host, caller, &org_id).await?;
    let user_id = id::uuid(host);
    let sql = format!(
        "INSERT INTO users (user_id, email, role, org_id, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5) RETURNING {COLUMNS}"
    );
    let now = time::format(host.now_ms());
    let parameters = vec![
        (&user_id).into(),
        email.into(),
        role.name().into(),
        org_id.into(),
        now.into(),
    ];
    let outcome = host.query(&sql, parameters).await?;
    let row = outcome.rows.first().ok_or_else(Problem::internal)?;
    Ok(Answer::created(&format!("/user/{user_id}"), resource(row)))
}

pub(super) async fn read(host: &impl ConfigHost, caller: &Caller, user_id: &str) -> Result<Answer, Problem> {
    let row = find(host, user_id).await?;
    if caller.user_id() == Some(user_id) || caller.manages(row.text("org_id")) {
        Ok(Answer::ok(resource(&row)))
    } else {
        Err(Problem::forbidden())
    }
}

/// The user, if it exists and the caller may change it.
async fn changeable(host: &impl Database, caller: &Caller, user_id: &str) -> Result<Row, Problem> {
    let row = find(host, user_id).await?;
    if may_change(caller, row.text("org_id"), row.text("role")) {
        Ok(row)
    } else {
        Err(Problem::forbidden())
    }
}

pub(super) async fn edit(
    host: &impl ConfigHost,
    request: &Request,
    caller: &Caller,
    user_id: &str,
) -> Result<Answer, Problem> {
    let present = changeable(host, caller, user_id).await?;
    let body = Fields::read(request, &["email", "role"])?;
    body.not_empty()?;
    let email = body.optional("email", fields::email)?;
    let role = body.optional("role", role)?.map(Role::name);
    let is_role_changed = role.is_some_and(|role| role != present.text("role"));
    let is_self = caller.user_id() == Some(user_id);
    if (is_self && is_role_changed) || role.is_some_and(|role| !may_change(caller, present.text("org_id"), role)) {
        return Err(Problem::forbidden());
    }
    // The role stands in the condition, so that a user who became superadmin in between is not touched.
    let sql = format!(
        "UPDATE users SET email = coalesce(?2, email), role = coalesce(?3, role), updated_at = ?4 \
         WHERE user_id = ?1 AND (?5 OR role <> 'superadmin') RETURNING {COLUMNS}"
    );
    let is_superadmin = i64::from(caller.kind() == Kind::Superadmin);
    let now = time::format(host.now_ms());
    let parameters = vec![
        user_id.into(),
        email.into(),
        role.into(),
        now.into(),
        is_superadmin.into(),
    ];
    let outcome = host.query(&sql, parameters).await?;
    let Some(row) = outcome.rows.first() else {
        changeable(host, caller, user_id).await?;
        return Err(Problem::internal());
    };
    Ok(Answer::ok(resource(row)))
}

pub(super) async fn delete(host: &impl ConfigHost, caller: &Caller, user_id: &str) -> Result<Answer, Problem> {
    let row = changeable(host, caller, user_id).await?;
    if caller.user_id() == Some(user_id) {
        return Err(Problem::conflict("nobody deletes the own account"));
    }
    let outcome = host
        .query("DELETE FROM users WHERE user_id = ?1", vec![user_id.into()])
        .await?;
    if outcome.changes == 0 {
        return Err(Problem::missing("user"));
    }
    if let Value::Array(instances) = row.json("instances") {
        for instance_id in instances.iter().filter_map(Value::as_str) {
            instances::forget_copy(host, instance_id).await?;
        }
    }
    Ok(Answer::ok(json!({ "deleted": true, "user_id": user_id })))
}
