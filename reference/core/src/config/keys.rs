//! Platform keys of users and projects: section A.8.

use serde_json::{Value, json};

use super::list::{self, Source};
use super::projects;
use super::users;
use crate::caller::Caller;
use crate::fields::{self, Fields, Page};
use crate::http::{Answer, Request};
use crate::id;
use crate::key;
use crate::ports::{ConfigHost, Database, Row};
use crate::problem::Problem;
use crate::time;

const COLUMNS: &str =
    "key_id, user_id, project_id, name, key_prefix, created_by, created_at, last_used_at, expires_at, revoked_at";

fn resource(row: &Row) -> Value {
    json!({
        "key_id": row.text("key_id"),
        "user_id": row.optional("user_id"),
        "project_id": row.optional("project_id"),
        "name": row.text("name"),
        "key_prefix": row.text("key_prefix"),
        "created_by": row.optional("created_by"),
        "created_at": row.text("created_at"),
        "last_used_at": row.optional("last_used_at"),
        "expires_at": row.optional("expires_at"),
        "revoked_at": row.optional("revoked_at"),
    })
}

/// Whose key it is.
#[derive(Clone, Copy)]
enum Owner<'id> {
    User(&'id str),
    Project(&'id str),
}

/// Whether the caller may manage the keys of this user: its own, or those of whom it may change.
async fn manages_user(host: &impl Database, caller: &Caller, user_id: &str) -> Result<(), Problem> {
    let row = users::find(host, user_id).await?;
    let is_own = caller.user_id() == Some(user_id);
    if is_own || users::may_change(caller, row.text("org_id"), row.text("role")) {
        Ok(())
    } else {
        Err(Problem::forbidden())
    }
}

pub(super) async fn of_user(
    host: &impl ConfigHost,
    request: &Request,
    caller: &Caller,
    user_id: &str,
    method: &str,
) -> Result<Answer, Problem> {
    manages_user(host, caller, user_id).await?;
    list_or_create(host, request, caller, Owner::User(user_id), method).await
}

pub(super) async fn of_project(
    host: &impl ConfigHost,
    request: &Request,
    caller: &Caller,
    project_id: &str,
    method: &str,
) -> Result<Answer, Problem> {
    projects::managed(host, caller, project_id).await?;
    list_or_create(host, request, caller, Owner::Project(project_id), method).await
}

async fn list_or_create(
    host: &impl ConfigHost,
    request: &Request,
    caller: &Caller,
    owner: Owner<'_>,
    method: &str,
) -> Result<Answer, Problem> {
    if method == "GET" {
        list(host, request, owner).await
    } else {
        create(host, request, caller, owner).await
    }
}

async fn list(host: &impl ConfigHost, request: &Request, owner: Owner<'_>) -> Result<Answer, Problem> {
    let (column, id) = match owner {
        Owner::User(id) => ("user_id", id),
        Owner::Project(id) => ("project_id", id),
    };
    let filters = format!("key of {column} {id}");
    let page = Page::read(request, &filters)?;
    let source = Source {
        select: format!("SELECT {COLUMNS}, created_at AS listed_at, key_id AS listed_id FROM api_keys"),
        conditions: vec![format!("{column} = ?1")],
        parameters: vec![id.into()],
        order: ["created_at", "key_id"],
        is_descending: false,
        filters,
    };
    list::page(host, source, &page, |row| Ok(resource(row))).await
}

/// Makes a key. The answer is the only place where it is ever shown.
async fn create(
    host: &impl ConfigHost,
    request: &Request,
    caller: &Caller,
    owner: Owner<'_>,
) -> Result<Answer, Problem> {
    let body = Fields::read_or_empty(request, &["name", "expires_at"])?;
    let name = body.optional("name", fields::key_name)?.unwrap_or_default();
    let expires_ms = match body.raw("expires_at") {
        None | Some(Value::Null) => None,
        Some(_) => Some(body.required("expires_at", fields::instant)?),
    };
    let now_ms = host.now_ms();
    if expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms) {
        return Err(Problem::invalid("`expires_at` must be in the future"));
    }
    let (user_id, project_id) = match owner {
        Owner::User(id) => (Some(id), None),
        Owner::Project(id) => (None, Some(id)),
    };
    let (key_id, key) = (id::uuid(host), key::generate(host));
    let sql = format!(
        "INSERT INTO api_keys (key_id, user_id, project_id, name, key_prefix, created_by, created_at, expires_at, key_hash) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) RETURNING {COLUMNS}"
    );
    let parameters = vec![
        (&key_id).into(),
        user_id.into(),
        project_id.into(),
        name.into(),
        key::prefix(&key).into(),
        caller.user_id().into(),
        time::format(now_ms).into(),
        expires_ms.map(time::format).into(),
        key::hash(&key).into(),
    ];
    let outcome = host.query(&sql, parameters).await?;
    let row = outcome.rows.first().ok_or_else(Problem::internal)?;
    let mut answer = Answer::created(&format!("/key/{key_id}"), resource(row));
    answer.fields.insert("key".to_owned(), key.into());
    Ok(answer)
}

/// The key, if it exists and the caller may manage its owner's keys.
async fn manageable(host: &impl Database, caller: &Caller, key_id: &str) -> Result<Row, Problem> {
    let outcome = host
        .query(
            &format!("SELECT {COLUMNS} FROM api_keys WHERE key_id = ?1"),
            vec![key_id.into()],
        )
        .await?;
    let row = outcome.rows.into_iter().next().ok_or_else(|| Problem::missing("key"))?;
    match (row.optional("user_id"), row.optional("project_id")) {
        (Some(user_id), _) => manages_user(host, caller, user_id).await?,
        (None, project_id) => drop(projects::managed(host, caller, project_id.unwrap_or_default()).await?),
    }
    Ok(row)
}

pub(super) async fn read(host: &impl ConfigHost, caller: &Caller, key_id: &str) -> Result<Answer, Problem> {
    Ok(Answer::ok(resource(&manageable(host, caller, key_id).await?)))
}

/// Revokes at once. The first time counts, however often it is asked for.
pub(super) async fn revoke(host: &impl ConfigHost, caller: &Caller, key_id: &str) -> Result<Answer, Problem> {
    manageable(host, caller, key_id).await?;
    let sql =
        format!("UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?2) WHERE key_id = ?1 RETURNING {COLUMNS}");
    let outcome = host
        .query(&sql, vec![key_id.into(), time::format(host.now_ms()).into()])
        .await?;
    let row = outcome.rows.first().ok_or_else(|| Problem::missing("key"))?;
    Ok(Answer::ok(resource(row)))
}
