//! Requests and answers as data, the same for every host.

use serde_json::{Map, Value};

use crate::problem::Problem;

/// Header fields in the order in which they came; names are kept in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// No fields.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field behind those that are there.
    pub fn add(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_ascii_lowercase(), value.into()));
    }

    /// Puts a field in the place of all of its name.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        let name = name.to_ascii_lowercase();
        self.0.retain(|(existing, _)| *existing != name);
        self.0.push((name, value.into()));
    }

    /// The first field of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(existing, _)| existing.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// All fields.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: AsRef<str>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        Self(
            fields
                .into_iter()
                .map(|(name, value)| (name.as_ref().to_ascii_lowercase(), value.into()))
                .collect(),
        )
    }
}

/// A request as it arrives at one of the two services.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Upper case.
    pub method: String,
    /// Begins with `/`; as it was sent, without the query.
    pub path: String,
    /// What follows the `?`, if there is one.
    pub query: Option<String>,
    /// The header fields.
    pub headers: Headers,
    /// The whole body. A host may cut it off once it is longer than [`BODY_BYTES_MAX`].
    pub body: Vec<u8>,
    /// Where the service is reached: scheme and authority, such as `https://images.example.com`.
    pub origin: String,
}

/// What a request's body may weigh.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

impl Request {
    /// A request without a body.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Self {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        Self {
            method: method.to_ascii_uppercase(),
            path: path.to_owned(),
            query,
            headers: Headers::new(),
            body: Vec::new(),
            origin: "http://127.0.0.1".to_owned(),
        }
    }

    /// The same with one more header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.add(name, value);
        self
    }

    /// The same with a credential.
    #[must_use]
    pub fn bearer(self, credential: &str) -> Self {
        self.header("authorization", &format!("Bearer {credential}"))
    }

    /// The same with a JSON body.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.headers.set("content-type", "application/json");
        self.body = body.to_string().into_bytes();
        self
    }

    /// The path's segments; a trailing slash makes an empty last one.
    #[must_use]
    pub fn segments(&self) -> Vec<&str> {
        self.path.strip_prefix('/').unwrap_or(&self.path).split('/').collect()
    }

    /// The first query parameter of this name, decoded.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        let query = self.query.as_deref()?;
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }
}

/// An answer as it leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: Headers,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// What a handler answers with: an object's fields, to which the request's id is added. The body of an image is built apart.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The object's fields.
    pub fields: Map<String, Value>,
    /// Header fields beyond the common ones.
    pub headers: Headers,
}

impl Answer {
    /// 200 with these fields. Whatever is not an object has none.
    #[must_use]
    pub fn ok(fields: Value) -> Self {
        let fields = match fields {
            Value::Object(fields) => fields,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
        };
        Self {
            status: 200,
            fields,
            headers: Headers::new(),
        }
    }

    /// 201 with the place of what was made.
    #[must_use]
    pub fn created(location: &str, fields: Value) -> Self {
        let mut answer = Self::ok(fields);
        answer.status = 201;
        answer.headers.set("location", location);
        answer
    }
}

/// An outcome as an answer in JSON, with the header fields that all answers carry.
#[must_use]
pub fn finish(outcome: Result<Answer, Problem>, request_id: &str) -> Response {
    let mut answer = outcome.unwrap_or_else(Problem::into_answer);
    answer.fields.insert("request_id".to_owned(), Value::from(request_id));
    let mut response = Response {
        status: answer.status,
        headers: answer.headers,
        body: Value::from(answer.fields).to_string().into_bytes(),
    };
    response.headers.set("content-type", "application/json; charset=utf-8");
    response.headers.set("cache-control", "no-store");
    common_headers(&mut response, request_id);
    response
}

/// The header fields of every answer, whatever its body.
pub fn common_headers(response: &mut Response, request_id: &str) {
    response.headers.set("x-request-id", request_id);
    response.headers.set("x-content-type-options", "nosniff");
    if response.headers.get("cache-control").is_none() {
        response.headers.set("cache-control", "no-store");
    }
}

/// The methods that the route takes, in alphabetical order, `HEAD` beside `GET`, as `Allow` lists them.
#[must_use]
pub fn allow(methods: &[&str]) -> String {
    let mut listed = methods.to_vec();
    if methods.contains(&"GET") {
        listed.push("HEAD");
    }
    listed.sort_unstable();
    listed.join(", ")
}

/// Browsers of listed origins may read answers.
pub fn cross_origin(request: &Request, allowed_origins: Option<&str>, response: &mut Response) {
    if let Some(origin) = listed_origin(request, allowed_origins) {
        response.headers.set("access-control-allow-origin", origin);
        response.headers.set("vary", "Origin");
        response
            .headers
            .set("access-control-expose-headers", "X-Request-ID, Retry-After");
    }
}

/// The answer to a browser's question before its request, if this is one.
#[must_use]
pub fn preflight(request: &Request, allowed_origins: Option<&str>, request_id: &str) -> Option<Response> {
    if request.method != "OPTIONS" || request.headers.get("access-control-request-method").is_none() {
        return None;
    }
    let mut response = Response {
        status: 204,
        headers: Headers::new(),
        body: Vec::new(),
    };
    common_headers(&mut response, request_id);
    if listed_origin(request, allowed_origins).is_some() {
        cross_origin(request, allowed_origins, &mut response);
        response.headers.set(
            "access-control-allow-methods",
            "GET, HEAD, POST, PATCH, PUT, DELETE, OPTIONS",
        );
        response.headers.set(
            "access-control-allow-headers",
            "Authorization, Content-Type, X-Request-ID, X-Instance-ID",
        );
        response.headers.set("access-control-max-age", "86400");
    }
    Some(response)
}

fn listed_origin<'request>(request: &'request Request, allowed_origins: Option<&str>) -> Option<&'request str> {
    let origin = request.headers.get("origin")?;
    allowed_origins?
        .split(',')
        .map(str::trim)
        .any(|allowed| !allowed.is_empty() && allowed == origin)
        .then_some(origin)
}

/// The id of a request: its own if it brought a UUID, else this fresh one.
#[must_use]
pub fn request_id(request: &Request, fresh: String) -> String {
    match request.headers.get("x-request-id") {
        Some(own) if crate::id::is_uuid(own) => own.to_ascii_lowercase(),
        _ => fresh,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_keep_their_order_and_have_names_without_case() {
        let mut headers: Headers = [("Accept", "one"), ("X-Two", "2"), ("accept", "three")]
            .into_iter()
            .collect();
        assert_eq!(headers.get("ACCEPT"), Some("one"));
        let all: Vec<(&str, &str)> = headers.iter().collect();
        assert_eq!(all, [("accept", "one"), ("x-two", "2"), ("accept", "three")]);
        headers.set("Accept", "four");
        headers.add("X-Two", "22");
        let all: Vec<(&str, &str)> = headers.iter().collect();
        assert_eq!(all, [("x-two", "2"), ("accept", "four"), ("x-two", "22")]);
    }
}
