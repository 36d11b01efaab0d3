//! Requests and answers: as the runtime has them, and as the core has them.

use futures_util::StreamExt as _;
use reference_core::http::{BODY_BYTES_MAX, Headers, Request, Response};
use reference_core::ports::{FetchError, OutboundRequest};
use worker::wasm_bindgen::JsValue;
use worker::{Method, RequestInit, RequestRedirect, ResponseBuilder, Result};

/// A request that came in. Its body is read no further than the core wants to know.
pub(crate) async fn request_in(mut arrived: worker::Request) -> Result<Request> {
    let url = arrived.inner().url();
    let (origin, target) = split(&url);
    let mut request = Request::new(&arrived.inner().method(), target);
    request.origin = origin.to_owned();
    request.headers = arrived.headers().entries().collect();
    if arrived.inner().body().is_some() {
        let mut stream = arrived.stream()?;
        while let Some(part) = stream.next().await {
            request.body.extend(part?);
            if request.body.len() > BODY_BYTES_MAX {
                break;
            }
        }
    }
    Ok(request)
}

/// An answer that leaves.
pub(crate) fn response_out(response: Response) -> Result<worker::Response> {
    let builder = ResponseBuilder::new()
        .with_status(response.status)
        .with_headers(headers_out(&response.headers)?);
    Ok(if response.body.is_empty() {
        builder.empty()
    } else {
        builder.fixed(response.body)
    })
}

/// A request of our own to somewhere else. Answers that send us elsewhere are answers.
pub(crate) fn request_out(request: &OutboundRequest) -> Result<worker::Request> {
    let mut init = RequestInit::new();
    init.with_method(Method::from(request.method.clone()))
        .with_headers(headers_out(&request.headers)?)
        .with_redirect(RequestRedirect::Manual);
    if !request.body.is_empty() {
        init.with_body(Some(bytes_out(&request.body)));
    }
    worker::Request::new_with_init(&request.url, &init)
}

/// An answer to a request of ours, if its body is no larger than this.
pub(crate) async fn response_in(
    mut arrived: worker::Response,
    body_bytes_max: usize,
) -> std::result::Result<Response, FetchError> {
    let mut response = Response {
        status: arrived.status_code(),
        headers: arrived.headers().entries().collect(),
        body: Vec::new(),
    };
    if matches!(arrived.body(), worker::ResponseBody::Empty) {
        return Ok(response);
    }
    let mut stream = arrived.stream().map_err(|_| FetchError::Broken)?;
    while let Some(part) = stream.next().await {
        response.body.extend(part.map_err(|_| FetchError::Broken)?);
        if response.body.len() > body_bytes_max {
            return Err(FetchError::TooLarge);
        }
    }
    Ok(response)
}

pub(crate) fn bytes_out(bytes: &[u8]) -> JsValue {
    worker::js_sys::Uint8Array::from(bytes).into()
}

fn headers_out(headers: &Headers) -> Result<worker::Headers> {
    let leaving = worker::Headers::new();
    for (name, value) in headers.iter() {
        leaving.append(name, value)?;
    }
    Ok(leaving)
}

/// Scheme and authority, and what follows them up to the fragment.
fn split(url: &str) -> (&str, &str) {
    let url = url.split('#').next().unwrap_or(url);
    let authority = url.find("://").map_or(0, |at| at + 3);
    match url[authority..].find('/') {
        Some(at) => url.split_at(authority + at),
        None => (url, "/"),
    }
}
