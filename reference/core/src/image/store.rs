//! What is left of a generation: the image in its bucket, the row that is paid for, and the job's end. Doing it twice leaves the same.

use serde_json::{Map, Value, json};

use super::provide::Image;
use crate::fields;
use crate::job::{self, Command, Order, State};
use crate::ports::{Blob, ImageHost};
use crate::problem::Problem;
use crate::provider::{Finished, picture};
use crate::time;

/// What the stored metadata keeps of a prompt, in UTF-16 units.
const PROMPT_UNITS_MAX: usize = 256;

/// What `{bucket}` in an image's address stands for when it lies in the default one, whose name only its binding knows.
const DEFAULT_BUCKET: &str = "images";

/// Stores an image, charges it, and gives back the fields of the answer.
pub async fn store(
    host: &impl ImageHost,
    order: &Order,
    finished: &Finished,
    price_microdollars: i64,
    image: Image,
    origin: &str,
) -> Result<Map<String, Value>, Problem> {
    let dimensions = finished
        .dimensions
        .clone()
        .or_else(|| picture::dimensions(&image.bytes));
    let project = order.project_id.as_deref().unwrap_or("default");
    // The job's id makes it unique, and lets a second storing of the same generation hit the same place.
    let path = format!(
        "{}/{project}/{:013}_{}.{}",
        order.instance_id, order.called_ms, order.job_id, image.extension
    );
    let blob = Blob {
        bytes: image.bytes,
        content_type: image.content_type,
        etag: String::new(),
        metadata: metadata(order, project, host.now_ms()),
    };
    host.blob_put(order.bucket.as_deref(), &path, blob).await?;
    charge(host, order, finished.cost_microdollars.unwrap_or(price_microdollars)).await?;
    let settings = host.settings();
    let image_url = match settings
        .image_base_url
        .as_deref()
        .map(str::trim)
        .filter(|base| !base.is_empty())
    {
        Some(base) => {
            let base = base.replace("{bucket}", order.bucket.as_deref().unwrap_or(DEFAULT_BUCKET));
            format!("{}/{path}", base.trim_end_matches('/'))
        }
        None => format!("{origin}/images/{path}"),
    };
    let fields = json!({
        "success": true,
        "image_url": image_url,
        "r2_path": path,
        "metadata": {
            "provider": order.provider,
            "model": order.model,
            "dimensions": dimensions.unwrap_or_else(|| "unknown".to_owned()),
            "generation_time_ms": host.now_ms().saturating_sub(order.called_ms),
        },
    });
    Ok(fields.as_object().cloned().unwrap_or_default())
}

/// Ends a job whose image is stored, and gives back the fields that its answer has from now on.
pub async fn end(
    host: &impl ImageHost,
    order: &Order,
    fields: Map<String, Value>,
) -> Result<Map<String, Value>, Problem> {
    // Who came first decides what the answer is.
    let end = Command::End(State::Completed(fields.clone()));
    match job::command(host, &order.job_id, &end)
        .await?
        .map(|record| record.state)
    {
        Some(State::Completed(first)) => Ok(first),
        Some(State::Pending { .. } | State::Failed(_)) | None => Ok(fields),
    }
}

fn metadata(order: &Order, project: &str, now_ms: u64) -> Vec<(String, String)> {
    let mut prompt = String::new();
    for character in order.prompt.chars() {
        if fields::units(&prompt) + character.len_utf16() > PROMPT_UNITS_MAX {
            break;
        }
        prompt.push(character);
    }
    [
        ("instance_id", order.instance_id.clone()),
        ("project_id", project.to_owned()),
        ("provider", order.provider.clone()),
        ("model", order.model.clone()),
        ("prompt", prompt),
        ("generation_timestamp", time::format(now_ms)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// One row for each generation, however often it is stored. What was deleted in the meantime is left out, as the tables do with older rows.
async fn charge(host: &impl ImageHost, order: &Order, cost_microdollars: i64) -> Result<(), Problem> {
    let sql = "INSERT OR IGNORE INTO usage_logs (log_id, org_id, instance_id, project_id, user_id, request_id, timestamp, provider, model, tokens_used, cost, created_at) \
        VALUES (?1, ?2, (SELECT instance_id FROM instances WHERE instance_id = ?3), (SELECT project_id FROM projects WHERE project_id = ?4), \
        (SELECT user_id FROM users WHERE user_id = ?5), ?6, ?7, ?8, ?9, 0, ?10, ?7)";
    let parameters = vec![
        (&order.job_id).into(),
        (&order.org_id).into(),
        (&order.instance_id).into(),
        order.project_id.as_ref().into(),
        order.user_id.as_ref().into(),
        (&order.request_id).into(),
        time::format(host.now_ms()).into(),
        (&order.provider).into(),
        (&order.model).into(),
        cost_microdollars.into(),
    ];
    host.query(sql, parameters).await?;
    Ok(())
}
