//! Lists: pages in the order of creation, each from where the last one ended.

use serde_json::{Value, json};

use crate::fields::{Page, cursor};
use crate::http::Answer;
use crate::ports::{self, Database, Row};
use crate::problem::Problem;

/// What a list reads.
pub struct Source {
    /// `SELECT ... FROM ...`, with the columns `listed_at` and `listed_id` besides those of the items.
    pub select: String,
    /// Conditions that hold for every item; their parameters are `?1` and so on.
    pub conditions: Vec<String>,
    /// What those parameters stand for.
    pub parameters: Vec<ports::Value>,
    /// The columns that order it: a time and an identifier.
    pub order: [&'static str; 2],
    /// Newest first.
    pub is_descending: bool,
    /// What a cursor of this list is bound to.
    pub filters: String,
}

/// One page.
pub async fn page(
    host: &impl Database,
    mut source: Source,
    page: &Page,
    item: impl Fn(&Row) -> Result<Value, Problem>,
) -> Result<Answer, Problem> {
    let [time, identifier] = source.order;
    let (comparison, direction) = if source.is_descending {
        ("<", "DESC")
    } else {
        (">", "ASC")
    };
    if let Some((after, id)) = &page.after {
        let next = source.parameters.len() + 1;
        source
            .conditions
            .push(format!("({time}, {identifier}) {comparison} (?{next}, ?{})", next + 1));
        source.parameters.extend([after.into(), id.into()]);
    }
    let conditions = if source.conditions.is_empty() {
        "1".to_owned()
    } else {
        source.conditions.join(" AND ")
    };
    // One more than is shown tells whether there is more.
    let sql = format!(
        "{} WHERE {conditions} ORDER BY {time} {direction}, {identifier} {direction} LIMIT {}",
        source.select,
        page.limit + 1
    );
    let rows = host.query(&sql, source.parameters).await?.rows;
    let shown = &rows[..rows.len().min(page.limit)];
    let items = shown.iter().map(item).collect::<Result<Vec<Value>, Problem>>()?;
    let next_cursor = match shown.last() {
        Some(last) if rows.len() > shown.len() => {
            Some(cursor(last.text("listed_at"), last.text("listed_id"), &source.filters))
        }
        _ => None,
    };
    Ok(Answer::ok(json!({ "items": items, "next_cursor": next_cursor })))
}
