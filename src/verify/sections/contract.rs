//! Section contract: every route, status, field, header and error.

use reference_core::http::Request;
use reference_native::Service;
use serde_json::json;

use crate::verify::check::{Check, Section};
use crate::verify::lab::{Lab, Outcome};

/// The checks of this section.
pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::new(Section::Contract, "unknown-path", &["API-07"], unknown_path),
        Check::new(
            Section::Contract,
            "image-is-made-and-served",
            &["GEN-01", "IMG-01"],
            image_is_made_and_served,
        ),
    ]
}

async fn unknown_path(lab: &mut Lab) -> Outcome {
    let root = lab.keys.root.clone();
    for path in ["/", "/nothing", "/instance/", "/instance/production/what"] {
        for service in [Service::Config, Service::Image] {
            let request = Request::new("GET", path).bearer(&root);
            lab.ask(service, request).await?.error(404, "NOT_FOUND")?;
        }
    }
    Ok(())
}

async fn image_is_made_and_served(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let root = lab.keys.root.clone();
    let order = json!({ "prompt": "a lighthouse", "instance_id": instance });
    let made = lab
        .image(Request::new("POST", "/generate").bearer(&root).json(&order))
        .await?
        .status(200)?;
    let path = made.text("/r2_path")?;
    let image = |side| Request::new("GET", &format!("/images/{}", path.on(side)));
    lab.ask_each(Service::Image, image).await?.status(200)?;
    Ok(())
}
