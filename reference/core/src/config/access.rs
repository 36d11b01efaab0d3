//! Who has been given which instance: section A.5.

use serde_json::{Value, json};

use super::instances;
use super::list::{self, Source};
use super::users;
use crate::caller::Caller;
use crate::fields::Page;
use crate::http::{Answer, Request};
use crate::ports::{ConfigHost, Row};
use crate::problem::Problem;
use crate::time;

const SELECT: &str = "SELECT a.instance_id, a.user_id, u.email, u.role, a.granted_by, a.created_at, \
    a.created_at AS listed_at, a.user_id AS listed_id FROM user_instance_access a JOIN users u ON u.user_id = a.user_id";

fn item(row: &Row) -> Value {
    json!({
        "instance_id": row.text("instance_id"),
        "user_id": row.text("user_id"),
        "email": row.text("email"),
        "role": row.text("role"),
        "granted_by": row.optional("granted_by"),
        "created_at": row.text("created_at"),
    })
}

pub(super) async fn list(
    host: &impl ConfigHost,
    request: &Request,
    caller: &Caller,
    instance_id: &str,
) -> Result<Answer, Problem> {
    instances::managed(host, caller, instance_id).await?;
    let filters = format!("access of {instance_id}");
    let page = Page::read(request, &filters)?;
    let source = Source {
        select: SELECT.to_owned(),
        conditions: vec!["a.instance_id = ?1".to_owned()],
        parameters: vec![instance_id.into()],
        order: ["a.created_at", "a.user_id"],
        is_descending: false,
        filters,
    };
    list::page(host, source, &page, |row| Ok(item(row))).await
}

/// Gives access. Giving it again changes nothing, not even who gave it.
pub(super) async fn grant(
    host: &impl ConfigHost,
    caller: &Caller,
    instance_id: &str,
    user_id: &str,
) -> Result<Answer, Problem> {
    let instance = instances::managed(host, caller, instance_id).await?;
    let user = users::find(host, user_id).await?;
    if user.text("org_id") != instance.text("org_id") {
        return Err(Problem::conflict(
            "the user belongs to another organization than the instance",
        ));
    }
    let sql = "INSERT INTO user_instance_access (user_id, instance_id, granted_by, created_at) VALUES (?1, ?2, ?3, ?4) \
        ON CONFLICT DO NOTHING";
    let now = time::format(host.now_ms());
    host.query(
        sql,
        vec![user_id.into(), instance_id.into(), caller.user_id().into(), now.into()],
    )
    .await?;
    instances::forget_copy(host, instance_id).await?;
    let sql = format!("{SELECT} WHERE a.instance_id = ?1 AND a.user_id = ?2");
    let outcome = host.query(&sql, vec![instance_id.into(), user_id.into()]).await?;
    let row = outcome.rows.first().ok_or_else(|| Problem::missing("user"))?;
    Ok(Answer::ok(item(row)))
}

pub(super) async fn withdraw(
    host: &impl ConfigHost,
    caller: &Caller,
    instance_id: &str,
    user_id: &str,
) -> Result<Answer, Problem> {
    instances::managed(host, caller, instance_id).await?;
    users::find(host, user_id).await?;
    let sql = "DELETE FROM user_instance_access WHERE instance_id = ?1 AND user_id = ?2";
    let outcome = host.query(sql, vec![instance_id.into(), user_id.into()]).await?;
    if outcome.changes == 0 {
        return Err(Problem::missing("grant"));
    }
    instances::forget_copy(host, instance_id).await?;
    Ok(Answer::ok(
        json!({ "deleted": true, "instance_id": instance_id, "user_id": user_id }),
    ))
}
