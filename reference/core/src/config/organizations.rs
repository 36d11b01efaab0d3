//! Organisations: section A.3.

use serde_json::{Value, json};

use super::list::{self, Source};
use crate::caller::{Caller, Kind};
use crate::fields::{self, Fields, Page};
use crate::http::{Answer, Request};
use crate::id;
use crate::ports::{ConfigHost, Database, Row};
use crate::problem::Problem;
use crate::time;

const COLUMNS: &str = "org_id, name, billing_email, created_at, updated_at";

fn resource(row: &Row) -> Value {
    json!({
        "org_id": row.text("org_id"),
        "name": row.text("name"),
        "billing_email": row.text("billing_email"),
        "created_at": row.text("created_at"),
        "updated_at": row.text("updated_at"),
    })
}

/// The organisation of this id, if there is one.
pub(super) async fn find(host: &impl Database, org_id: &str) -> Result<Row, Problem> {
    let outcome = host
        .query(
            &format!("SELECT {COLUMNS} FROM organizations WHERE org_id = ?1"),
            vec![org_id.into()],
        )
        .await?;
    outcome
        .rows
        .into_iter()
        .next()
        .ok_or_else(|| Problem::missing("organization"))
}

/// The organisation that a body or a filter names: 404 if it does not exist, 403 if it is another's.
pub(super) async fn managed(host: &impl Database, caller: &Caller, org_id: &str) -> Result<Row, Problem> {
    let row = find(host, org_id).await?;
    if caller.manages(org_id) {
        Ok(row)
    } else {
        Err(Problem::forbidden())
    }
}

pub(super) async fn list(host: &impl ConfigHost, request: &Request, caller: &Caller) -> Result<Answer, Problem> {
    let page = Page::read(request, "organization")?;
    let mut source = Source {
        select: format!("SELECT {COLUMNS}, created_at AS listed_at, org_id AS listed_id FROM organizations"),
        conditions: Vec::new(),
        parameters: Vec::new(),
        order: ["created_at", "org_id"],
        is_descending: false,
        filters: "organization".to_owned(),
    };
    if caller.kind() != Kind::Superadmin {
        source.conditions.push("org_id = ?1".to_owned());
        source.parameters.push(caller.org_id().into());
    }
    list::page(host, source, &page, |row| Ok(resource(row))).await
}

pub(super) async fn create(host: &impl ConfigHost, request: &Request) -> Result<Answer, Problem> {
    let body = Fields::read(request, &["org_id", "name", "billing_email"])?;
    let name = body.required("name", fields::name)?;
    let billing_email = body.required("billing_email", fields::email)?;
    let org_id = body
        .optional("org_id", fields::identifier)?
        .unwrap_or_else(|| id::uuid(host));
    let now = time::format(host.now_ms());
    let sql = format!("INSERT INTO organizations ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?4) RETURNING {COLUMNS}");
    let outcome = host
        .query(
            &sql,
            vec![(&org_id).into(), name.into(), billing_email.into(), now.into()],
        )
        .await?;
    let row = outcome.rows.first().ok_or_else(Problem::internal)?;
    Ok(Answer::created(&format!("/organization/{org_id}"), resource(row)))
}

pub(super) async fn read(host: &impl ConfigHost, caller: &Caller, org_id: &str) -> Result<Answer, Problem> {
    Ok(Answer::ok(resource(&managed(host, caller, org_id).await?)))
}

pub(super) async fn edit(
    host: &impl ConfigHost,
    request: &Request,
    caller: &Caller,
    org_id: &str,
) -> Result<Answer, Problem> {
    managed(host, caller, org_id).await?;
    let body = Fields::read(request, &["name", "billing_email"])?;
    body.not_empty()?;
    let name = body.optional("name", fields::name)?;
    let billing_email = body.optional("billing_email", fields::email)?;
    let sql = format!(
        "UPDATE organizations SET name = coalesce(?2, name), billing_email = coalesce(?3, billing_email), updated_at = ?4 \
         WHERE org_id = ?1 RETURNING {COLUMNS}"
    );
    let now = time::format(host.now_ms());
    let outcome = host
        .query(&sql, vec![org_id.into(), name.into(), billing_email.into(), now.into()])
        .await?;
    let row = outcome.rows.first().ok_or_else(|| Problem::missing("organization"))?;
    Ok(Answer::ok(resource(row)))
}

/// The database refuses while anything refers to it.
pub(super) async fn delete(host: &impl ConfigHost, org_id: &str) -> Result<Answer, Problem> {
    find(host, org_id).await?;
    let outcome = host
        .query("DELETE FROM organizations WHERE org_id = ?1", vec![org_id.into()])
        .await?;
    if outcome.changes == 0 {
        return Err(Problem::missing("organization"));
    }
    Ok(Answer::ok(json!({ "deleted": true, "org_id": org_id })))
}
