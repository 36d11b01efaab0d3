//! Stored images, and jobs that took too long.

use reference_core::http::Request;
use reference_core::provider::picture;
use reference_native::Service;
use serde_json::json;

use super::super::ask::told;
use crate::verify::check::{Check, Section};
use crate::verify::lab::{Answers, Lab, Outcome, Pair};

pub(super) fn checks() -> Vec<Check> {
    let contract = Section::Contract;
    vec![
        Check::new(
            contract,
            "image-is-made-and-served",
            &["GEN-01", "IMG-01", "STORE-05", "API-06"],
            made_and_served,
        ),
        Check::new(contract, "formats-of-images", &["GEN-01", "IMG-01"], formats),
        Check::new(contract, "conditions-and-ranges", &["IMG-02"], conditions),
        Check::new(contract, "paths-of-images", &["IMG-03"], paths),
        Check::new(contract, "jobs", &["JOB-01"], jobs),
    ]
}

async fn made(lab: &mut Lab) -> Outcome<Pair> {
    let instance = lab.instance(json!({})).await?;
    drawn(lab, &instance, "a lighthouse").await?.text("/r2_path")
}

async fn drawn(lab: &mut Lab, instance: &str, prompt: &str) -> Outcome<Answers> {
    let order = json!({ "prompt": prompt, "instance_id": instance });
    let request = Request::new("POST", "/generate").bearer(&lab.keys.root).json(&order);
    lab.image(request).await?.status(200)
}

/// The provider says nothing of the size, so that only the image's own bytes do.
async fn formats(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    for (words, content_type, extension) in [
        ("[[image-png]]", "image/png", ".png"),
        ("[[image-jpeg]]", "image/jpeg", ".jpg"),
        ("[[image-webp]]", "image/webp", ".webp"),
        ("[[image-webp-lossless]]", "image/webp", ".webp"),
        ("[[image-webp-extended]]", "image/webp", ".webp"),
    ] {
        let answers = drawn(lab, &instance, &format!("a lighthouse {words}")).await?;
        let dimensions = answers.subject.json()["metadata"]["dimensions"].clone();
        lab.require(
            dimensions == "1344x768",
            format!("an image of 1344x768 as {content_type}: dimensions is {dimensions}"),
        )?;
        let path = answers.text("/r2_path")?;
        lab.require(
            path.subject.ends_with(extension),
            format!("an image as {content_type}: r2_path is {}", path.subject),
        )?;
        let image = |side| Request::new("GET", &format!("/images/{}", path.on(side)));
        let served = told(lab.ask_each(Service::Image, image).await, words)?.status(200)?;
        let served_as = served
            .subject
            .headers
            .get("content-type")
            .unwrap_or_default()
            .to_owned();
        let read = picture::dimensions(&served.subject.body);
        lab.require(
            served_as == content_type && read.as_deref() == Some("1344x768"),
            format!("an image of 1344x768 as {content_type} is served as {served_as} of {read:?}"),
        )?;
    }
    Ok(())
}

async fn made_and_served(lab: &mut Lab) -> Outcome {
    let path = made(lab).await?;
    for method in ["GET", "HEAD"] {
        let image = |side| Request::new(method, &format!("/images/{}", path.on(side)));
        let answers = lab.ask_each(Service::Image, image).await?.status(200)?;
        let cached = answers
            .subject
            .headers
            .get("cache-control")
            .unwrap_or_default()
            .to_owned();
        lab.require(
            cached == "public, max-age=31536000, immutable",
            format!("{method} of an image: Cache-Control is {cached}"),
        )?;
    }
    let origin = "https://gui.example.com";
    let image = |side| {
        Request::new("GET", &format!("/images/{}", path.on(side)))
            .header("origin", origin)
            .bearer("nonsense")
    };
    lab.ask_each(Service::Image, image).await?.status(200)?;
    Ok(())
}

async fn conditions(lab: &mut Lab) -> Outcome {
    let path = made(lab).await?;
    let plain = |side| Request::new("GET", &format!("/images/{}", path.on(side)));
    let answers = lab.ask_each(Service::Image, plain).await?.status(200)?;
    let size = answers.reference.body.len();
    let tag = |response: &reference_core::http::Response| response.headers.get("etag").unwrap_or_default().to_owned();
    let tag = Pair {
        reference: tag(&answers.reference),
        subject: tag(&answers.subject),
    };
    lab.require(
        tag.subject.starts_with('"') && tag.subject.len() > 2,
        format!("GET of an image: ETag is {}", tag.subject),
    )?;
    for (form, status) in [
        ("TAG", 304),
        ("W/TAG", 304),
        ("*", 304),
        ("\"a\", TAG", 304),
        ("\"a\",W/TAG , \"b\"", 304),
        ("\"a\"", 200),
        ("\"a\", \"b\"", 200),
        ("", 200),
    ] {
        for range in [None, Some("bytes=0-1")] {
            for method in ["GET", "HEAD"] {
                if method == "HEAD" && range.is_some() {
                    continue;
                }
                let asked = |side| {
                    let mut request = Request::new(method, &format!("/images/{}", path.on(side)));
                    request = request.header("if-none-match", &form.replace("TAG", tag.on(side)));
                    match range {
                        Some(range) => request.header("range", range),
                        None => request,
                    }
                };
                let answers = told(lab.ask_each(Service::Image, asked).await, form)?;
                told(
                    answers.status(if range.is_some() && status == 200 { 206 } else { status }),
                    form,
                )?;
            }
        }
    }
    let last = size - 1;
    let ranges = [
        ("bytes=0-0".to_owned(), 206),
        ("bytes=2-9".to_owned(), 206),
        ("bytes=10-".to_owned(), 206),
        ("bytes=-5".to_owned(), 206),
        (format!("bytes=0-{}", size * 2), 206),
        (format!("bytes={last}-{last}"), 206),
        (format!("bytes=-{}", size * 2), 206),
        (format!("bytes={last}-"), 206),
        (format!("bytes={size}-"), 416),
        (format!("bytes={size}-{}", size + 5), 416),
        ("bytes=-0".to_owned(), 416),
        ("bytes=9-2".to_owned(), 200),
        ("bytes=a-b".to_owned(), 200),
        ("items=0-1".to_owned(), 200),
        ("bytes".to_owned(), 200),
        ("0-1".to_owned(), 200),
        ("bytes=-".to_owned(), 200),
    ];
    for (range, _status) in ranges {
        let asked = |side| Request::new("GET", &format!("/images/{}", path.on(side))).header("range", &range);
        told(lab.ask_each(Service::Image, asked).await, &range)?;
    }
    Ok(())
}

async fn paths(lab: &mut Lab) -> Outcome {
    let path = made(lab).await?;
    for change in [
        "/images/PATHx",
        "/images/PATH/",
        "/images/PATH/more",
        "/images//PATH",
        "/images/x/PATH",
        "/image/PATH",
        "/PATH",
    ] {
        let asked = |side| Request::new("GET", &change.replace("PATH", path.on(side)));
        told(
            told(lab.ask_each(Service::Image, asked).await, change)?.error(404, "NOT_FOUND"),
            change,
        )?;
    }
    // There is nothing that a method could be wrong for.
    for method in ["POST", "PUT", "DELETE"] {
        let asked = |side| Request::new(method, &format!("/images/{}/more", path.on(side)));
        told(
            told(lab.ask_each(Service::Image, asked).await, method)?.error(404, "NOT_FOUND"),
            method,
        )?;
    }
    for target in [
        "/images/a/b/c.png",
        "/images/production/default/0000000000000_none.png",
        "/images/production/default/",
        "/images/a/b",
        "/images/a//b",
        "/images/%2e%2e/b/c",
    ] {
        for method in ["GET", "HEAD"] {
            told(
                told(lab.image(Request::new(method, target)).await, target)?.status(404),
                target,
            )?;
        }
    }
    Ok(())
}

async fn jobs(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let root = lab.keys.root.clone();
    for id in ["nobody", "00000000-0000-4000-8000-00000000000a", "Upper", "a_b"] {
        let request = Request::new("GET", &format!("/jobs/{id}")).bearer(&root);
        told(told(lab.image(request).await, id)?.error(404, "NOT_FOUND"), id)?;
    }
    // Pending for so long that the request ends before the image is there. How often each asks is its own affair, so it stays pending.
    let order = json!({ "prompt": "a lighthouse [[never]]", "instance_id": instance });
    let request = Request::new("POST", "/generate").bearer(&root).json(&order);
    let job = lab
        .image(request)
        .await?
        .error(504, "PROVIDER_TIMEOUT")?
        .text("/job_id")?;
    for method in ["GET", "GET", "HEAD"] {
        let asked = |side| Request::new(method, &format!("/jobs/{}", job.on(side))).bearer(&root);
        lab.ask_each(Service::Image, asked).await?.status(200)?;
    }
    Ok(())
}
