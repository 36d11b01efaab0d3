//! Ideogram's four families of generation, as its documentation describes them: two that answer with the image, two that are asked again.

use serde_json::{Value, json};

use super::{Call, Finished, Meaning, Model};
use crate::http::{Headers, Response};
use crate::ports::OutboundRequest;
use crate::retry;

/// Where the real one is reached.
pub const BASE_URL: &str = "https://api.ideogram.ai";

/// A family: where it is ordered and asked, and in what form.
struct Family {
    order_path: &'static str,
    ask_path: &'static str,
    form: Form,
}

enum Form {
    /// JSON, the prompt inside of an object.
    Legacy,
    /// A form, the prompt in the field of this name.
    Multipart(&'static str),
    /// JSON, with a wish not to wait.
    Json,
}

fn family(model: &Model) -> Family {
    let (order_path, ask_path, form) = match model.name {
        "ideogram-v2" => ("/generate", "/v1/generations/", Form::Legacy),
        "ideogram-v3" => (
            "/v1/ideogram-v3/generate",
            "/v1/generations/",
            Form::Multipart("prompt"),
        ),
        "ideogram-v4" => (
            "/v1/ideogram-v4/async/generate",
            "/v1/generations/",
            Form::Multipart("text_prompt"),
        ),
        _ => ("/v2/image/generate/ideogram-4-5", "/v2/generations/", Form::Json),
    };
    Family {
        order_path,
        ask_path,
        form,
    }
}

/// The request that orders an image.
#[must_use]
pub fn order(model: &Model, prompt: &str, call: Call<'_>, boundary: &str) -> OutboundRequest {
    let family = family(model);
    let (content_type, body) = match family.form {
        Form::Legacy => (
            "application/json".to_owned(),
            json!({ "image_request": { "prompt": prompt, "model": "V_2" } }).to_string(),
        ),
        Form::Json => (
            "application/json".to_owned(),
            json!({ "prompt": prompt, "async": true }).to_string(),
        ),
        Form::Multipart(field) => {
            let body = format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n{prompt}\r\n--{boundary}--\r\n"
            );
            (format!("multipart/form-data; boundary={boundary}"), body)
        }
    };
    let mut headers = headers(call);
    headers.set("content-type", content_type);
    OutboundRequest {
        method: "POST".to_owned(),
        url: url(call, family.order_path),
        headers,
        body: body.into_bytes(),
    }
}

/// The request that asks how an order stands.
#[must_use]
pub fn ask(model: &Model, generation: &str, call: Call<'_>) -> OutboundRequest {
    let url = url(call, family(model).ask_path) + generation;
    OutboundRequest {
        method: "GET".to_owned(),
        url,
        headers: headers(call),
        body: Vec::new(),
    }
}

fn headers(call: Call<'_>) -> Headers {
    [("api-key", call.api_key), ("accept", "application/json")]
        .into_iter()
        .collect()
}

fn url(call: Call<'_>, path: &str) -> String {
    format!("{}{path}", call.base_url.trim_end_matches('/'))
}

/// What the answer to either means.
#[must_use]
pub fn understand(response: &Response) -> Meaning {
    let asked_ms = retry::asked_ms(response.headers.get("retry-after"));
    match response.status {
        200..300 => understand_body(&response.json()).unwrap_or(Meaning::Broken(None)),
        422 => Meaning::Unsafe,
        429 => Meaning::Busy(asked_ms),
        400..500 => Meaning::Refused,
        _ => Meaning::Broken(asked_ms),
    }
}

/// Nothing if the body makes no sense.
fn understand_body(body: &Value) -> Option<Meaning> {
    match body["status"].as_str() {
        Some("failed") => {
            let reason = body["failure_reason"].as_str().unwrap_or_default().to_ascii_lowercase();
            let is_unsafe = ["safety", "unsafe", "moderation"]
                .iter()
                .any(|word| reason.contains(word));
            return Some(if is_unsafe { Meaning::Unsafe } else { Meaning::Refused });
        }
        Some("pending") => return pending(body),
        Some(_) | None => {}
    }
    match body["data"].get(0) {
        Some(image) => finished(body, image),
        None if body["status"].is_null() => pending(body),
        None => None,
    }
}

fn pending(body: &Value) -> Option<Meaning> {
    let generation = body["generation_id"].as_str()?;
    // It becomes part of a URL.
    let is_plain = generation
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    ((1..=128).contains(&generation.len()) && is_plain).then(|| Meaning::Pending(generation.to_owned()))
}

fn finished(body: &Value, image: &Value) -> Option<Meaning> {
    let link = image["url"].as_str().unwrap_or_default();
    if image["is_image_safe"] == false || (link.is_empty() && image.is_object()) {
        return Some(Meaning::Unsafe);
    }
    let url = Some(link).filter(|url| url.starts_with("https://") || url.starts_with("http://"))?;
    let dimensions = image["resolution"]
        .as_str()
        .filter(|text| is_dimensions(text))
        .map(str::to_owned);
    let cost = body["usage_cost_usd_micros"].as_i64().filter(|cost| *cost > 0);
    Some(Meaning::Finished(Finished {
        url: url.to_owned(),
        dimensions,
        cost_microdollars: cost,
    }))
}

fn is_dimensions(text: &str) -> bool {
    let is_number = |part: &str| (1..=5).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('x')
        .is_some_and(|(width, height)| is_number(width) && is_number(height))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::MODELS;

    const CALL: Call<'static> = Call {
        api_key: "secret",
        base_url: "https://api.example/",
    };

    fn answer(status: u16, body: &Value) -> Meaning {
        understand(&Response {
            status,
            headers: Headers::new(),
            body: body.to_string().into_bytes(),
        })
    }

    #[test]
    fn each_family_is_ordered_in_its_own_form() {
        let text = |request: &OutboundRequest| String::from_utf8_lossy(&request.body).into_owned();
        let orders = MODELS.map(|model| order(&model, "a \"cat\"", CALL, "edge"));
        let urls = orders.each_ref().map(|order| order.url.as_str());
        assert_eq!(
            urls,
            [
                "https://api.example/v2/image/generate/ideogram-4-5",
                "https://api.example/v1/ideogram-v4/async/generate",
                "https://api.example/v1/ideogram-v3/generate",
                "https://api.example/generate",
            ]
        );
        assert_eq!(text(&orders[0]), r#"{"async":true,"prompt":"a \"cat\""}"#);
        assert_eq!(
            text(&orders[2]),
            "--edge\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na \"cat\"\r\n--edge--\r\n"
        );
        assert!(text(&orders[1]).contains("name=\"text_prompt\""));
        assert_eq!(
            text(&orders[3]),
            r#"{"image_request":{"model":"V_2","prompt":"a \"cat\""}}"#
        );
        assert_eq!(
            orders[1].headers.get("content-type"),
            Some("multipart/form-data; boundary=edge")
        );
        assert!(
            orders
                .iter()
                .all(|order| order.headers.get("api-key") == Some("secret") && order.method == "POST")
        );
        assert_eq!(
            ask(&MODELS[0], "g-1", CALL).url,
            "https://api.example/v2/generations/g-1"
        );
        assert_eq!(
            ask(&MODELS[1], "g-1", CALL).url,
            "https://api.example/v1/generations/g-1"
        );
    }

    #[test]
    fn answers_mean_what_the_contract_says() {
        let image = json!({ "url": "https://i.example/x.png", "resolution": "1024x768", "is_image_safe": true });
        let finished = Finished {
            url: "https://i.example/x.png".to_owned(),
            dimensions: Some("1024x768".to_owned()),
            cost_microdollars: Some(7),
        };
        assert_eq!(
            answer(200, &json!({ "data": [image], "usage_cost_usd_micros": 7 })),
            Meaning::Finished(finished)
        );
        assert_eq!(
            answer(
                200,
                &json!({ "status": "completed", "data": [{ "url": "https://i.example" }] })
            ),
            Meaning::Finished(Finished {
                url: "https://i.example".to_owned(),
                dimensions: None,
                cost_microdollars: None
            })
        );
        for odd in ["1024xwide", "tallx768", "1024", "x", "1024x768x2", "100000x1"] {
            let image = json!({ "url": "https://i.example", "resolution": odd });
            let meaning = answer(200, &json!({ "data": [image] }));
            assert!(
                matches!(&meaning, Meaning::Finished(finished) if finished.dimensions.is_none()),
                "{odd}"
            );
        }
        let free = json!({ "data": [{ "url": "https://i.example", "resolution": "1x1" }], "usage_cost_usd_micros": 0 });
        assert!(
            matches!(
                answer(200, &free),
                Meaning::Finished(Finished {
                    cost_microdollars: None,
                    ..
                })
            ),
            "an image is never free"
        );
        assert_eq!(
            answer(202, &json!({ "generation_id": "g_1-A" })),
            Meaning::Pending("g_1-A".to_owned())
        );
        assert_eq!(
            answer(200, &json!({ "generation_id": "g", "status": "pending", "data": [] })),
            Meaning::Pending("g".to_owned())
        );
        assert_eq!(
            answer(200, &json!({ "data": [{ "url": null, "is_image_safe": false }] })),
            Meaning::Unsafe
        );
        assert_eq!(
            answer(
                200,
                &json!({ "status": "failed", "failure_reason": "Image SAFETY check" })
            ),
            Meaning::Unsafe
        );
        assert_eq!(
            answer(200, &json!({ "status": "failed", "failure_reason": "internal" })),
            Meaning::Refused
        );
        for link in [json!({}), json!({ "url": null }), json!({ "url": "" })] {
            assert_eq!(answer(200, &json!({ "data": [link] })), Meaning::Unsafe);
        }
        assert_eq!(answer(422, &json!({})), Meaning::Unsafe);
        for status in [400, 401, 402, 403, 404, 413] {
            assert_eq!(answer(status, &json!({})), Meaning::Refused);
        }
        for status in [500, 502, 503, 301] {
            assert_eq!(answer(status, &json!({})), Meaning::Broken(None));
        }
        let nonsense = [
            json!(null),
            json!({}),
            json!([]),
            json!({ "data": [] , "status": "completed" }),
            json!({ "data": [{ "url": "file:///etc" }] }),
            json!({ "generation_id": "../x" }),
            json!({ "generation_id": "" }),
            json!({ "status": "pending" }),
            json!({ "status": "dancing", "generation_id": "g" }),
        ];
        for body in nonsense {
            assert_eq!(answer(200, &body), Meaning::Broken(None), "{body}");
        }
        let mut busy = Response {
            status: 429,
            ..Response::default()
        };
        assert_eq!(understand(&busy), Meaning::Busy(None));
        busy.headers.set("Retry-After", "3");
        assert_eq!(understand(&busy), Meaning::Busy(Some(3000)));
        busy.status = 503;
        assert_eq!(understand(&busy), Meaning::Broken(Some(3000)));
    }
}
