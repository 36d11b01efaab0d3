//! What the behaviour tests share: a system with people of every kind, and short ways to ask it.
#![expect(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test says what it expects by failing; every test is a crate of its own"
)]
#![allow(dead_code, reason = "every test file uses a part of it")]

use reference_core::http::{Request, Response};
use reference_native::{Options, Service, System};
use serde_json::{Value, json};

/// The seed data's superadmin.
pub const ROOT: &str = "00000000-0000-4000-8000-000000000001";
/// The seed data's user, who has been given `production`.
pub const USER: &str = "00000000-0000-4000-8000-000000000002";

/// The key that `configure` gives an instance.
pub const PROVIDER_KEY: &str = "provider-secret-0123456789";

/// A system, and keys of callers of every kind: in `example-org` unless their name says otherwise.
pub struct World {
    pub system: System,
    pub root: String,
    pub admin: String,
    pub user: String,
    pub project: String,
    pub other_admin: String,
    pub service: String,
}

pub fn world() -> World {
    world_with(Options::default())
}

pub fn world_with(options: Options) -> World {
    let service = options.settings.service_token.clone().unwrap_or_default();
    let system = System::start(options).unwrap();
    let root = system.issue_key(ROOT).unwrap();
    let mut world = World {
        root: root.clone(),
        admin: String::new(),
        user: system.issue_key(USER).unwrap(),
        project: String::new(),
        other_admin: String::new(),
        service,
        system,
    };
    let made = world.post(
        "/organization",
        &root,
        &json!({ "org_id": "other-org", "name": "Other", "billing_email": "o@other.example" }),
    );
    assert_eq!(made.status, 201);
    world.admin = world.person("admin@example.com", "admin", "example-org");
    world.other_admin = world.person("admin@other.example", "admin", "other-org");
    let made = world.post(
        "/instance",
        &root,
        &json!({ "org_id": "other-org", "name": "Elsewhere", "instance_id": "elsewhere" }),
    );
    assert_eq!(made.status, 201);
    world.project = world.post("/project/content-forge/key", &root, &json!({})).json()["key"]
        .as_str()
        .unwrap()
        .to_owned();
    world
}

impl World {
    /// Makes a person and gives back a key of it.
    pub fn person(&self, email: &str, role: &str, org_id: &str) -> String {
        let made = self.post(
            "/user",
            &self.root,
            &json!({ "email": email, "role": role, "org_id": org_id }),
        );
        assert_eq!(made.status, 201, "{:?}", made.json());
        let user_id = made.json()["user_id"].as_str().unwrap().to_owned();
        self.system.issue_key(&user_id).unwrap()
    }

    pub fn user_id(&self, key: &str) -> String {
        self.get("/me", key).json()["user_id"].as_str().unwrap().to_owned()
    }

    pub fn send(&self, request: &Request) -> Response {
        self.system.handle(Service::Config, request)
    }

    pub fn get(&self, target: &str, key: &str) -> Response {
        self.send(&Request::new("GET", target).bearer(key))
    }

    pub fn delete(&self, target: &str, key: &str) -> Response {
        self.send(&Request::new("DELETE", target).bearer(key))
    }

    pub fn put(&self, target: &str, key: &str) -> Response {
        self.send(&Request::new("PUT", target).bearer(key))
    }

    pub fn post(&self, target: &str, key: &str, body: &Value) -> Response {
        self.send(&Request::new("POST", target).bearer(key).json(body))
    }

    pub fn patch(&self, target: &str, key: &str, body: &Value) -> Response {
        self.send(&Request::new("PATCH", target).bearer(key).json(body))
    }

    /// Sends a request to the image-generation Worker.
    pub fn image(&self, request: &Request) -> Response {
        self.system.handle(Service::Image, request)
    }

    /// Asks for an image.
    pub fn generate(&self, key: &str, body: &Value) -> Response {
        self.image(&Request::new("POST", "/generate").bearer(key).json(body))
    }

    /// Gives an instance a key of the provider, and what else is named.
    pub fn configure(&self, instance_id: &str, config: &Value) {
        let mut config = config.clone();
        config["api_keys"] = json!({ "ideogram": PROVIDER_KEY });
        let edited = self.patch(
            &format!("/instance/{instance_id}"),
            &self.root,
            &json!({ "config": config }),
        );
        assert_eq!(edited.status, 200, "{:?}", edited.json());
    }

    /// How many requests of this kind reached the provider.
    pub fn calls(&self, method: &str, prefix: &str) -> usize {
        let mock = self.system.mock();
        mock.journal()
            .filter(|received| received.method == method && received.target.starts_with(prefix))
            .count()
    }

    /// How many times the provider was asked for an image.
    pub fn orders(&self) -> usize {
        self.calls("POST", "/")
    }

    /// The first value of the first row.
    pub fn stored(&self, sql: &str) -> Option<String> {
        self.system.rows(sql).into_iter().flatten().next().flatten()
    }
}

/// Asserts a refusal: status, code, and exactly the fields of the contract.
#[track_caller]
pub fn refused(response: &Response, status: u16, code: &str) {
    let body = response.json();
    assert_eq!((response.status, body["code"].as_str()), (status, Some(code)), "{body}");
    let mut fields: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["code", "error", "request_id"]);
    assert_eq!(body["request_id"].as_str(), response.headers.get("x-request-id"));
}

/// The ids of a list's items.
pub fn ids(response: &Response, field: &str) -> Vec<String> {
    assert_eq!(response.status, 200, "{:?}", response.json());
    response.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item[field].as_str().unwrap().to_owned())
        .collect()
}
