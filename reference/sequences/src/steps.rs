//! Generated requests. A step names what it means by numbers; what they stand for on a host follows from that host's own answers so far.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use reference_core::http::{Request, Response};
use reference_native::{Service, System, example_settings};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A request, and how long nothing happens before it.
#[derive(Clone, Debug)]
pub struct Step {
    wait: u8,
    caller: u8,
    what: What,
    picks: [u8; 4],
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
enum What {
    Make(Kind),
    Read(Kind),
    Edit(Kind),
    Remove(Kind),
    List(Kind),
    Access,
    MakeKey,
    ListKeys,
    Me,
    Figures,
    Odd,
    Generate,
    Job,
    Image,
    Configure,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Organization,
    Instance,
    User,
    Project,
    Key,
}

impl Kind {
    fn path(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Instance => "instance",
            Self::User => "user",
            Self::Project => "project",
            Self::Key => "key",
        }
    }

    fn field(self) -> &'static str {
        match self {
            Self::Organization => "org_id",
            Self::Instance => "instance_id",
            Self::User => "user_id",
            Self::Project => "project_id",
            Self::Key => "key_id",
        }
    }
}

/// Any step. Half of them are about images.
pub fn step() -> impl Strategy<Value = Step> {
    let kind = || {
        prop_oneof![
            Just(Kind::Organization),
            Just(Kind::Instance),
            Just(Kind::User),
            Just(Kind::Project),
            Just(Kind::Key)
        ]
    };
    let what = prop_oneof![
        4 => kind().prop_map(What::Make),
        2 => kind().prop_map(What::Read),
        3 => kind().prop_map(What::Edit),
        2 => kind().prop_map(What::Remove),
        2 => kind().prop_map(What::List),
        2 => Just(What::Access),
        2 => Just(What::MakeKey),
        1 => Just(What::ListKeys),
        1 => Just(What::Me),
        1 => Just(What::Figures),
        1 => Just(What::Odd),
        24 => Just(What::Generate),
        2 => Just(What::Job),
        2 => Just(What::Image),
        2 => Just(What::Configure),
    ];
    (any::<u8>(), any::<u8>(), what, any::<[u8; 4]>()).prop_map(|(wait, caller, what, picks)| Step {
        wait,
        caller,
        what,
        picks,
    })
}

/// A sequence of this many steps. The same seed gives the same sequence.
#[must_use]
pub fn sequence(seed: u64, length: usize) -> Vec<Step> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    // Nothing is filtered, so no draw is rejected.
    proptest::collection::vec(step(), length)
        .new_tree(&mut runner)
        .map(|tree| tree.current())
        .unwrap_or_default()
}

/// What comes before each sequence: an instance of its own that can generate images, so that no sequence sees the limits of another.
pub fn preparations(sequence: u32) -> Vec<Step> {
    let step = |what, picks| Step {
        wait: 0,
        caller: 0,
        what,
        picks,
    };
    vec![
        step(What::Make(Kind::Instance), [0, 0, 0, 0]),
        step(What::Configure, [2, (sequence % 4) as u8, 0, 0]),
    ]
}

/// A list, as its path and its filters name it.
fn list_of(request: &Request) -> String {
    let [organization, instance] = ["org_id", "instance_id"].map(|name| request.parameter(name).unwrap_or_default());
    format!("{}?{organization}&{instance}", request.path)
}

/// What a host's answers have told so far.
#[derive(Clone)]
pub struct Known {
    credentials: Vec<String>,
    organizations: Vec<String>,
    instances: Vec<String>,
    users: Vec<String>,
    projects: Vec<String>,
    keys: Vec<String>,
    jobs: Vec<String>,
    images: Vec<String>,
    /// Where the newest page of each list ended. A cursor is followed in its own list only: what it means in another one, no
    /// requirement says.
    cursors: BTreeMap<String, String>,
    fresh: String,
    are_jobs_in_paths: bool,
}

impl Known {
    /// What is known before the first answer: the credentials, the seed data, and `instance`, which is the sequence's own.
    pub fn new(root: &str, user: &str, instance: &str, native: &System) -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let keys = native.rows("SELECT key_id FROM api_keys ORDER BY rowid");
        let service = example_settings().service_token.unwrap_or_default();
        Self {
            credentials: vec![root.to_owned(), user.to_owned(), root.to_owned(), service],
            organizations: texts(&["example-org"]),
            instances: texts(&["production", "development"]),
            users: texts(&[crate::USER, crate::ROOT]),
            projects: texts(&["content-forge", "playground"]),
            keys: keys.into_iter().flatten().flatten().collect(),
            jobs: texts(&["00000000-0000-4000-8000-00000000000a"]),
            images: texts(&["a/b/c.png"]),
            cursors: BTreeMap::new(),
            fresh: instance.to_owned(),
            are_jobs_in_paths: true,
        }
    }

    /// For an implementation of its own, whose paths of images need not end with the names of jobs.
    #[must_use]
    pub fn without_jobs_in_paths(mut self) -> Self {
        self.are_jobs_in_paths = false;
        self
    }

    fn all(&self, kind: Kind) -> &[String] {
        match kind {
            Kind::Organization => &self.organizations,
            Kind::Instance => &self.instances,
            Kind::User => &self.users,
            Kind::Project => &self.projects,
            Kind::Key => &self.keys,
        }
    }

    /// One of them; the newest ones more often, and now and then one that does not exist.
    fn id(&self, kind: Kind, pick: u8) -> &str {
        picked(self.all(kind), pick)
    }

    /// Takes in what an answer tells.
    pub fn learn(&mut self, request: &Request, response: &Response) {
        let body = response.json();
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        if request.method == "POST" && response.status == 201 {
            if request.path.ends_with("/key") {
                self.keys.extend(text("key_id"));
                self.credentials.extend(text("key"));
                return;
            }
            let place = match request.path.as_str() {
                "/organization" => Some((Kind::Organization, &mut self.organizations)),
                "/instance" => Some((Kind::Instance, &mut self.instances)),
                "/user" => Some((Kind::User, &mut self.users)),
                "/project" => Some((Kind::Project, &mut self.projects)),
                _ => None,
            };
            if let Some((kind, ids)) = place {
                ids.extend(text(kind.field()));
            }
        }
        if request.path == "/generate" {
            self.images.extend(text("r2_path"));
            self.jobs.extend(text("job_id"));
            if response.status == 200 && self.are_jobs_in_paths {
                // The path ends with the name of its job.
                let job = text("r2_path").and_then(|path| Some(path.rsplit_once('_')?.1.split('.').next()?.to_owned()));
                self.jobs.extend(job);
            }
        }
        if let Some(cursor) = text("next_cursor") {
            self.cursors.insert(list_of(request), cursor);
        }
    }
}

/// What goes wrong at the provider. Half of the time nothing does; what is waited for in the wall's time is rare. An image that is too
/// large is not among them: on a busy machine the Worker would run out of time before it knows.
const FAULTS: [&str; 64] = {
    let mut faults = [""; 64];
    let some = [
        "[[busy-2*1]]",
        "[[busy*1]]",
        "[[busy-90]]",
        "[[status-422]]",
        "[[status-402]]",
        "[[status-401]]",
        "[[status-500]]",
        "[[status-500]]",
        "[[status-503*1]]",
        "[[status-302]]",
        "[[unsafe]]",
        "[[failed-safety]]",
        "[[failed]]",
        "[[pending-2]]",
        "[[pending-6]]",
        "[[never]]",
        "[[malformed]]",
        "[[malformed*1]]",
        "[[drop]]",
        "[[drop*1]]",
        "[[slow-200]]",
        "[[hang]]",
        "[[ask-status-500*1]]",
        "[[ask-status-422]]",
        "[[ask-busy-1*1]]",
        "[[ask-malformed*1]]",
        "[[ask-drop*1]]",
        "[[image-status-404]]",
        "[[image-status-500*1]]",
        "[[image-drop]]",
        "[[image-nonsense]]",
        "[[image-busy*1]]",
    ];
    let mut index = 0;
    while index < some.len() {
        faults[index] = some[index];
        index += 1;
    }
    faults
};

fn picked(all: &[String], pick: u8) -> &str {
    match pick % 16 {
        15 => "nobody-knows-this",
        // The newest one.
        pick if pick % 2 == 0 => all.last().map_or("none", String::as_str),
        pick => &all[usize::from(pick) % all.len()],
    }
}

fn one<T: Copy>(all: &[T], pick: u8) -> T {
    all[usize::from(pick) % all.len()]
}

impl Step {
    /// Whether it orders what is waited for in the wall's time, or counts how often somebody asks, which is free.
    pub fn is_slow_or_free(&self) -> bool {
        let fault = FAULTS[usize::from(self.picks[1]) % FAULTS.len()];
        let slow = ["hang", "never", "pending", "slow", "huge", "busy", "ask-", "drop"];
        self.what_is_generate() && slow.iter().any(|word| fault.contains(word))
    }

    /// How long nothing happens before it.
    pub fn jump_ms(&self) -> u64 {
        match self.wait % 16 {
            0..11 => 0,
            11 | 12 => 16_000,
            13 => 64_000,
            14 => 304_000,
            // A day and more; now and then longer than entries of the log are kept.
            _ if self.wait == 255 => 31 * 86_400_000,
            _ => 90_000_000,
        }
    }

    /// Whether it asks for what is written a little later.
    pub fn is_settled_first(&self) -> bool {
        matches!(self.what, What::Figures)
    }

    /// The request as a host would get it.
    pub fn request(&self, known: &Known) -> (Service, Request) {
        let credential = match self.caller % 16 {
            14 => "mas_nobody",
            15 => "",
            // The superadmin, mostly.
            caller if caller < 10 => &known.credentials[0],
            _ => &known.credentials[usize::from(self.caller) % known.credentials.len()],
        };
        let (service, request) = self.unsigned(known);
        // A generation's credential may stand in its body.
        let is_in_body = self.what_is_generate() && self.caller % 8 == 1;
        let request = if credential.is_empty() {
            request
        } else if is_in_body {
            let mut body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            body["api_key"] = json!(credential);
            request.json(&body)
        } else {
            request.bearer(credential)
        };
        let request = match self.wait % 13 {
            0 => request.header("x-request-id", "0BADC0DE-0000-4000-8000-00000000ABCD"),
            1 => request.header("origin", "https://app.example"),
            2 => request.header("origin", "https://elsewhere.example"),
            _ => request,
        };
        (service, request)
    }

    fn what_is_generate(&self) -> bool {
        matches!(self.what, What::Generate)
    }

    fn unsigned(&self, known: &Known) -> (Service, Request) {
        let [a, b, c, d] = self.picks;
        let get = |target: String| Request::new("GET", &target);
        let request = match self.what {
            What::Make(kind) => self.make(kind, known),
            What::Read(kind) => get(format!("/{}/{}", kind.path(), known.id(kind, a))),
            What::Edit(kind) => {
                let path = format!("/{}/{}", kind.path(), known.id(kind, a));
                Request::new("PATCH", &path).json(&edit(kind, b, c))
            }
            What::Remove(kind) => Request::new("DELETE", &format!("/{}/{}", kind.path(), known.id(kind, a))),
            What::List(kind) => {
                let limit = one(&["", "limit=1", "limit=2", "limit=0", "limit=100"], b);
                let filter = one(&["", "&org_id=example-org", "&instance_id=production"], d);
                let first = format!("/{}?{limit}{filter}", kind.path());
                let list = list_of(&Request::new("GET", &first));
                let cursor = known.cursors.get(&list).filter(|_| c % 3 != 0);
                get(cursor.map_or_else(|| first.clone(), |cursor| format!("{first}&cursor={cursor}")))
            }
            What::Access => {
                let path = format!(
                    "/instance/{}/access/{}",
                    known.id(Kind::Instance, a),
                    known.id(Kind::User, b)
                );
                let method = one(&["PUT", "PUT", "DELETE", "GET"], c);
                let path = if method == "GET" {
                    path.rsplit_once('/').map_or("", |(path, _)| path)
                } else {
                    &path
                };
                Request::new(method, path)
            }
            What::MakeKey => {
                let kind = one(&[Kind::User, Kind::Project], a);
                let path = format!("/{}/{}/key", kind.path(), known.id(kind, b));
                let body = one(
                    &[
                        "{}",
                        r#"{"name":"k"}"#,
                        r#"{"expires_at":"2126-01-01T00:00:00.000Z"}"#,
                        "{",
                        r#"{"name":1}"#,
                    ],
                    c,
                );
                let mut request = Request::new("POST", &path).header("content-type", "application/json");
                request.body = body.as_bytes().to_vec();
                request
            }
            What::ListKeys => {
                let kind = one(&[Kind::User, Kind::Project], a);
                get(format!("/{}/{}/key", kind.path(), known.id(kind, b)))
            }
            What::Me => get("/me".to_owned()),
            What::Figures => {
                let range = one(&["hour", "day", "week", "month", "year"], b);
                let instance = known.id(Kind::Instance, c);
                get(one(
                    &[
                        "/logs",
                        "/logs?level=ERROR",
                        &format!("/logs?instance_id={instance}&limit=3"),
                        &format!("/metrics?range={range}"),
                        &format!("/metrics?instance_id={instance}"),
                    ],
                    a,
                )
                .to_owned())
            }
            What::Odd => odd(a, b),
            What::Generate | What::Job | What::Image => return (Service::Image, self.about_images(known)),
            What::Configure => {
                let instance = known.id(Kind::Instance, a);
                let config = json!({
                    "api_keys": { "ideogram": "provider-secret-0123456789" },
                    "rate_limits": { "ideogram": { "rpm": one(&[2, 1, 3, 500], b) } },
                    "r2_bucket": one(&[None, Some("other-images"), Some("unbound")], c),
                });
                Request::new("PATCH", &format!("/instance/{instance}")).json(&json!({ "config": config }))
            }
        };
        (Service::Config, request)
    }

    fn make(&self, kind: Kind, known: &Known) -> Request {
        let [a, b, c, d] = self.picks;
        let name = one(&["Name", "Another name", "", "  spaces  ", "Größe"], b);
        let org_id = known.id(Kind::Organization, c);
        let body = match kind {
            Kind::Organization => json!({
                "org_id": one(&["first-org", "second-org", "Third"], a),
                "name": name,
                "billing_email": one(&["bills@one.example", "bills@two.example", "nowhere"], d),
            }),
            Kind::Instance => json!({
                "org_id": org_id,
                "name": name,
                "instance_id": match a % 3 {
                    0 => known.fresh.clone(),
                    number => format!("{}-{number}", known.fresh),
                },
            }),
            Kind::User => json!({
                "email": one(&["one@people.example", "ONE@people.example", "two@people.example", "three"], a),
                "role": one(&["user", "admin", "superadmin", "king"], d),
                "org_id": org_id,
            }),
            Kind::Project => json!({
                "project_id": one(&["first-project", "second-project", "-"], a),
                "instance_id": known.id(Kind::Instance, d),
                "name": name,
                "settings": { "a": { "b": [b] } },
            }),
            Kind::Key => return Request::new("POST", "/key").json(&json!({})),
        };
        Request::new("POST", &format!("/{}", kind.path())).json(&body)
    }

    fn about_images(&self, known: &Known) -> Request {
        let [a, b, c, d] = self.picks;
        match self.what {
            What::Job => Request::new("GET", &format!("/jobs/{}", picked(&known.jobs, a))),
            What::Image => {
                let method = one(&["GET", "GET", "GET", "HEAD", "POST"], b);
                let request = Request::new(method, &format!("/images/{}", picked(&known.images, a)));
                match c % 5 {
                    0 => request.header("range", "bytes=2-9"),
                    1 => request.header("range", "bytes=99999999-"),
                    2 => request.header("if-none-match", "*"),
                    _ => request,
                }
            }
            _ => {
                let fault = FAULTS[usize::from(b) % FAULTS.len()];
                let mut body = json!({ "prompt": format!("a cat {fault}") });
                match c % 8 {
                    0 => body["model"] = json!(one(&["ideogram-v4", "ideogram-v3", "ideogram-v2", "none"], d)),
                    1 if d % 3 == 0 => body["project_id"] = json!(known.id(Kind::Project, d)),
                    1 if d % 3 == 1 => body["provider"] = json!(one(&["ideogram", "nobody"], d)),
                    2 if d % 3 == 0 => body["prompt"] = json!(""),
                    3 => body["request_id"] = json!(format!("00000000-0000-4000-8000-0000000000b{}", d % 4)),
                    _ => {}
                }
                // Mostly the sequence's own instance: what objects keep outlives a sequence.
                let instance = match a % 8 {
                    0 => "nobody-knows-this".to_owned(),
                    1 => format!("{}-1", known.fresh),
                    _ => known.fresh.clone(),
                };
                // Named in the header, in the body, in both, or nowhere.
                let is_in_header = a >= 192;
                if a % 64 != 63 && (!is_in_header || d % 4 == 0) {
                    body["instance_id"] = json!(instance);
                }
                if is_in_header {
                    return Request::new("POST", "/generate")
                        .json(&body)
                        .header("x-instance-id", &instance);
                }
                Request::new("POST", "/generate").json(&body)
            }
        }
    }
}

fn edit(kind: Kind, pick: u8, other: u8) -> Value {
    let fields = match kind {
        Kind::Organization => [
            json!({ "name": "Renamed" }),
            json!({ "billing_email": "new@one.example" }),
            json!({ "org_id": "x" }),
        ],
        Kind::Instance => [
            json!({ "name": "Renamed" }),
            json!({ "config": { "worker_urls": { "image-gen": "https://w.example" }, "api_keys": { "other": null } } }),
            json!({ "config": { "rate_limits": { "ideogram": { "rpm": i64::from(other) - 3 } } } }),
        ],
        Kind::User => [
            json!({ "email": one(&["one@people.example", "new@people.example"], other) }),
            json!({ "role": one(&["admin", "user", "superadmin"], other) }),
            json!({ "role": null }),
        ],
        Kind::Project => [
            json!({ "name": one(&["Name", "Renamed"], other) }),
            json!({ "settings": {} }),
            json!({}),
        ],
        Kind::Key => [json!({}), json!({}), json!({})],
    };
    fields[usize::from(pick) % 3].clone()
}

/// What nobody should ask for.
fn odd(pick: u8, other: u8) -> Request {
    match pick % 8 {
        0 => Request::new("GET", "/health"),
        1 => Request::new("GET", "/nothing/here"),
        2 => Request::new("GET", "/instance/"),
        3 => Request::new("OPTIONS", "/instance")
            .header("origin", "https://elsewhere.example")
            .header("access-control-request-method", "GET"),
        4 => Request::new("HEAD", "/instance"),
        5 => Request::new(one(&["PUT", "POST", "DELETE"], other), "/me"),
        6 => {
            let mut request = Request::new("POST", "/organization").header("content-type", "text/plain");
            request.body = b"{}".to_vec();
            request
        }
        _ => {
            let mut request = Request::new("POST", "/organization").header("content-type", "application/json");
            request.body = vec![b' '; 64 * 1024 + usize::from(other)];
            request
        }
    }
}
