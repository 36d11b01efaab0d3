//! Where one check works: the reference and the subject side by side, fresh, at the same moment, asked the same.

use std::path::{Path, PathBuf};

use reference_core::http::{Request, Response};
use reference_native::Service;
use reference_sequences::{ROOT, Same, TABLES, USER};
use serde_json::{Value, json};

use super::check::Lane;
use super::outage::Outage;
use super::subject::{Row, Subject, SubjectError, SubjectOptions, mock_options};

/// Every request begins at such a moment, in milliseconds, so that pauses of random length end long before the next.
pub const GRID_MS: u64 = 4000;

/// What KV and objects still keep of one check is forgotten when the next begins.
const BETWEEN_CHECKS_MS: u64 = 40 * 86_400_000;

/// Buckets that are bound beside the default one.
pub const FURTHER_BUCKET: &str = "other-images";

/// The only origin that browser applications may call from.
pub const ALLOWED_ORIGIN: &str = "https://gui.example.com";

/// What a provider's key looks like here.
pub const PROVIDER_KEY: &str = "provider-secret-0123456789";

/// How many times log entries are looked for, and how long apart: whoever keeps them writes them by a timer of its own.
const LOG_LOOKS: u32 = 100;
const LOG_LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(40);

/// Why a check ended early.
#[derive(Debug)]
pub enum Failed {
    /// The subject does something else than it must.
    Difference(String),
    /// The subject gives no answer, or its storage is not as it must be.
    Subject(SubjectError),
    /// The subject does something that a decision declares to be as good.
    Alternative {
        /// Which decision.
        decision: &'static str,
        /// What it does.
        what: String,
    },
    /// The reference does not do what the check says: a bug of ours.
    Check(String),
    /// There is nothing here that the check could look at.
    NotApplicable,
}

impl From<SubjectError> for Failed {
    fn from(error: SubjectError) -> Self {
        Self::Subject(error)
    }
}

/// What comes of a step of a check.
pub type Outcome<T = ()> = Result<T, Failed>;

/// A value that chance decided on each side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The reference's.
    pub reference: String,
    /// The subject's.
    pub subject: String,
}

/// Which of the two a request is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The reference.
    Reference,
    /// The subject.
    Subject,
}

impl Pair {
    /// The value on one side.
    pub fn on(&self, side: Side) -> &str {
        match side {
            Side::Reference => &self.reference,
            Side::Subject => &self.subject,
        }
    }
}

impl From<&str> for Pair {
    /// A value that is the same on both sides.
    fn from(text: &str) -> Self {
        Self {
            reference: text.to_owned(),
            subject: text.to_owned(),
        }
    }
}

/// What was asked, and what came back.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Who was asked.
    pub service: Service,
    /// As the subject got it.
    pub request: Request,
    /// The reference's answer.
    pub reference: Response,
    /// The subject's; none if there was none.
    pub subject: Option<Response>,
    /// When, on the common clock, in milliseconds since 1970.
    pub at_ms: u64,
}

/// Both answers to a request. They were found to be the same but for what chance decides.
#[derive(Clone, Debug)]
pub struct Answers {
    /// What was asked: method and path.
    pub asked: String,
    /// The reference's.
    pub reference: Response,
    /// The subject's.
    pub subject: Response,
}

impl Answers {
    /// Both have this status. It is the reference that is meant: a check that expects something else of it is wrong.
    pub fn status(self, status: u16) -> Outcome<Self> {
        if self.reference.status == status {
            return Ok(self);
        }
        Err(Failed::Check(format!(
            "{}: the reference answers {}, the check expects {status}: {}",
            self.asked,
            self.reference.status,
            String::from_utf8_lossy(&self.reference.body)
        )))
    }

    /// Both are this error.
    pub fn error(self, status: u16, code: &str) -> Outcome<Self> {
        let answers = self.status(status)?;
        let found = answers.reference.json()["code"].clone();
        if found == code {
            return Ok(answers);
        }
        Err(Failed::Check(format!(
            "{}: the reference's code is {found}, the check expects {code}",
            answers.asked
        )))
    }

    /// A text of both bodies, by JSON pointer (`/instance_id`).
    pub fn text(&self, pointer: &str) -> Outcome<Pair> {
        let text = |response: &Response| {
            let body = response.json();
            body.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
        };
        match (text(&self.reference), text(&self.subject)) {
            (Some(reference), Some(subject)) => Ok(Pair { reference, subject }),
            (None, _) => Err(Failed::Check(format!(
                "{}: the reference's answer has no text at {pointer}",
                self.asked
            ))),
            (_, None) => Err(Failed::Difference(format!(
                "{}: the answer has no text at {pointer}",
                self.asked
            ))),
        }
    }
}

/// Keys of people whom every check knows.
#[derive(Clone, Debug)]
pub struct Keys {
    /// A superadmin of `example-org`.
    pub root: String,
    /// A user of `example-org`, who has been given `production`.
    pub user: String,
    /// An admin of `example-org`.
    pub admin: String,
    /// A user of `example-org` who has been given nothing.
    pub newcomer: String,
    /// An admin of `other-org`.
    pub other_admin: String,
    /// A user of `other-org` who has been given `elsewhere`.
    pub other_user: String,
    /// What our own Workers show each other.
    pub service: String,
}

/// The admin of `example-org`.
pub const ADMIN: &str = "00000000-0000-4000-8000-000000000003";
/// A user of `example-org` who has been given nothing.
pub const NEWCOMER: &str = "00000000-0000-4000-8000-000000000004";
/// The admin of `other-org`.
pub const OTHER_ADMIN: &str = "00000000-0000-4000-8000-000000000005";
/// A user of `other-org` who has been given `elsewhere`.
pub const OTHER_USER: &str = "00000000-0000-4000-8000-000000000006";

/// Beside the seed data: people of every role, and a second organisation with an instance and a project of its own.
const CAST: &str = "
INSERT INTO organizations (org_id, name, billing_email, created_at, updated_at) VALUES ('other-org', 'Other', 'bills@other.example', '2026-01-02T00:00:00.000Z', '2026-01-02T00:00:00.000Z');
INSERT INTO instances (instance_id, org_id, name, config, created_at, updated_at) VALUES ('elsewhere', 'other-org', 'Elsewhere', '{\"api_keys\":{},\"rate_limits\":{},\"worker_urls\":{},\"r2_bucket\":null}', '2026-01-02T00:00:00.000Z', '2026-01-02T00:00:00.000Z');
INSERT INTO users (user_id, email, role, org_id, created_at, updated_at) VALUES ('00000000-0000-4000-8000-000000000003', 'admin@people.example', 'admin', 'example-org', '2026-01-02T00:00:00.001Z', '2026-01-02T00:00:00.001Z');
INSERT INTO users (user_id, email, role, org_id, created_at, updated_at) VALUES ('00000000-0000-4000-8000-000000000004', 'newcomer@people.example', 'user', 'example-org', '2026-01-02T00:00:00.002Z', '2026-01-02T00:00:00.002Z');
INSERT INTO users (user_id, email, role, org_id, created_at, updated_at) VALUES ('00000000-0000-4000-8000-000000000005', 'admin@other.example', 'admin', 'other-org', '2026-01-02T00:00:00.003Z', '2026-01-02T00:00:00.003Z');
INSERT INTO users (user_id, email, role, org_id, created_at, updated_at) VALUES ('00000000-0000-4000-8000-000000000006', 'user@other.example', 'user', 'other-org', '2026-01-02T00:00:00.004Z', '2026-01-02T00:00:00.004Z');
INSERT INTO user_instance_access (user_id, instance_id, granted_by, created_at) VALUES ('00000000-0000-4000-8000-000000000006', 'elsewhere', '00000000-0000-4000-8000-000000000005', '2026-01-02T00:00:00.000Z');
INSERT INTO projects (project_id, instance_id, name, created_at, updated_at) VALUES ('far-away', 'elsewhere', 'Far away', '2026-01-02T00:00:00.000Z', '2026-01-02T00:00:00.000Z');
";

/// The reference and a subject, for one check after another.
pub struct Lab {
    /// The reference, in process.
    pub reference: Subject,
    /// What is examined.
    pub subject: Subject,
    /// How the reference is made anew for each check.
    pub options: SubjectOptions,
    /// The directory of the generated system, if that is what is examined.
    pub root: Option<PathBuf>,
    /// Keys of people whom every check knows; new ones for each check.
    pub keys: Keys,
    /// Which check it is; part of the names that it makes.
    pub number: u32,
    /// What was asked so far in this check.
    pub exchanges: Vec<Exchange>,
    /// Requests of this check that ran side by side.
    pub lanes: Vec<Lane>,
    same: Same,
    now_ms: u64,
    has_outage: bool,
    began_ms: u64,
    origins: Vec<String>,
}

impl Lab {
    /// A lab around a subject that was started with `options`. [`Self::renew`] comes before the first check.
    pub fn new(subject: Subject, options: SubjectOptions, root: Option<&Path>) -> Outcome<Self> {
        let now_ms = options.start_ms.next_multiple_of(GRID_MS);
        let key = |number: u8| format!("mas_{}", number.to_string().repeat(43));
        Ok(Self {
            reference: Subject::native(&options)?,
            subject,
            root: root.map(Path::to_path_buf),
            keys: Keys {
                root: key(1),
                user: key(2),
                admin: key(3),
                newcomer: key(4),
                other_admin: key(5),
                other_user: key(6),
                service: options.settings.service_token.clone().unwrap_or_default(),
            },
            number: 0,
            exchanges: Vec::new(),
            lanes: Vec::new(),
            same: Same::free(),
            now_ms,
            has_outage: false,
            began_ms: now_ms,
            origins: Vec::new(),
            options,
        })
    }

    /// Fresh state for the next check: both databases hold the seed data and the cast, both providers have heard nothing, and so much time has passed that
    /// nothing that an object remembers counts any more.
    pub async fn renew(&mut self, number: u32) -> Outcome {
        self.number = number;
        self.now_ms = (self.now_ms.max(self.subject.now_ms()) + BETWEEN_CHECKS_MS).next_multiple_of(GRID_MS);
        self.options.start_ms = self.now_ms;
        self.began_ms = self.now_ms;
        self.options.seed = self.options.seed.wrapping_add(1);
        self.same = Same::free();
        self.exchanges.clear();
        self.lanes.clear();
        self.reference = Subject::native(&self.options)?;
        if let Subject::Native(_) = self.subject {
            let mut options = self.options.clone();
            options.seed ^= 0x5DEE_CE66;
            self.subject = Subject::native(&options)?;
        }
        if std::mem::take(&mut self.has_outage) {
            self.subject.set_outage(None, &self.options.settings).await?;
        }
        self.subject.set_clock(self.now_ms).await?;
        self.subject
            .with_mock(|mock| *mock = mock_ideogram::Mock::new(mock_options()));
        for side in [&self.reference, &self.subject] {
            let mut script: String = TABLES.iter().map(|table| format!("DELETE FROM {table};\n")).collect();
            script.push_str(reference_core::SEED);
            script.push('\n');
            script.push_str(CAST);
            side.write(&script).await?;
        }
        let Subject::Native(reference) = &self.reference else {
            return Err(Failed::Check("the reference is not in process".to_owned()));
        };
        let people = [
            (ROOT, &mut self.keys.root),
            (USER, &mut self.keys.user),
            (ADMIN, &mut self.keys.admin),
            (NEWCOMER, &mut self.keys.newcomer),
            (OTHER_ADMIN, &mut self.keys.other_admin),
            (OTHER_USER, &mut self.keys.other_user),
        ];
        for (user_id, key) in people {
            let issued = reference.issue_key(user_id);
            *key = issued.map_err(|error| Failed::Check(format!("the reference issues no key: {error}")))?;
            let row = reference.rows(&format!("SELECT key_id FROM api_keys WHERE user_id = '{user_id}'"));
            let key_id = row.into_iter().flatten().flatten().next().unwrap_or_default();
            self.subject.give_key(user_id, &key_id, key).await?;
        }
        Ok(())
    }

    /// What both clocks show, in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Lets this much time pass on both sides.
    pub async fn pass_ms(&mut self, duration_ms: u64) -> Outcome {
        // Who waited for a timer is ahead of the common clock.
        let latest_ms = self.now_ms.max(self.reference.now_ms());
        self.now_ms = (latest_ms + duration_ms + 1).next_multiple_of(GRID_MS);
        self.reference.set_clock(self.now_ms).await?;
        self.subject.set_clock(self.now_ms).await?;
        Ok(())
    }

    /// Asks both the same, and compares the answers.
    pub async fn ask(&mut self, service: Service, request: Request) -> Outcome<Answers> {
        self.ask_each(service, |_| request.clone()).await
    }

    /// Asks the Config Service.
    pub async fn config(&mut self, request: Request) -> Outcome<Answers> {
        self.ask(Service::Config, request).await
    }

    /// Asks the image-generation Worker.
    pub async fn image(&mut self, request: Request) -> Outcome<Answers> {
        self.ask(Service::Image, request).await
    }

    /// Asks each in its own words, because they name what chance decided, and compares the answers.
    pub async fn ask_each(&mut self, service: Service, request: impl Fn(Side) -> Request) -> Outcome<Answers> {
        self.pass_ms(0).await?;
        self.ask_now(service, request).await
    }

    /// Sets both clocks to a moment, wherever it lies between others, forward only.
    pub async fn stand_at(&mut self, at_ms: u64) -> Outcome {
        self.now_ms = at_ms;
        self.reference.set_clock(at_ms).await?;
        self.subject.set_clock(at_ms).await?;
        Ok(())
    }

    /// As [`Self::ask_each`], without letting any time pass before it.
    pub async fn ask_now(&mut self, service: Service, request: impl Fn(Side) -> Request) -> Outcome<Answers> {
        let asked = request(Side::Reference);
        let reference = self.reference.send(service, &asked).await?;
        let asked = request(Side::Subject);
        let subject = self.subject.send(service, &asked).await;
        let mut exchange = Exchange {
            service,
            request: asked.clone(),
            reference: reference.clone(),
            subject: None,
            at_ms: self.now_ms,
        };
        let mut subject = match subject {
            Ok(subject) => subject,
            Err(error) => {
                self.exchanges.push(exchange);
                return Err(error.into());
            }
        };
        exchange.subject = Some(subject.clone());
        self.exchanges.push(exchange);
        self.without_origin(service, &mut subject);
        let asked = format!("{} {}", asked.method, asked.path);
        match self.same.answers(&reference, &subject) {
            Ok(()) => Ok(Answers {
                asked,
                reference,
                subject,
            }),
            Err(difference) => Err(Failed::Difference(format!("{asked}: {difference}"))),
        }
    }

    /// Asks only the subject, which is right if `is_right` says so.
    pub async fn ask_subject(&mut self, service: Service, request: &Request) -> Outcome<Response> {
        self.pass_ms(0).await?;
        Ok(self.subject.send(service, request).await?)
    }

    /// The reference in process has one address for all.
    fn without_origin(&mut self, service: Service, response: &mut Response) {
        let origin = self.subject.origin(service);
        if origin.is_empty() {
            return;
        }
        // An answer that outlived a restart names the origin of its time.
        if !self.origins.contains(&origin) {
            self.origins.push(origin);
        }
        if let Ok(text) = std::str::from_utf8(&response.body) {
            let replaced = self
                .origins
                .iter()
                .fold(text.to_owned(), |text, origin| text.replace(origin, "http://127.0.0.1"));
            response.body = replaced.into_bytes();
        }
    }

    /// Makes an instance of `example-org` that can generate images, of a name that no other check uses, with this much of `config` beside the provider's key.
    pub async fn instance(&mut self, config: Value) -> Outcome<String> {
        let instance_id = format!("check-{}", self.number);
        self.instance_named(&instance_id, config).await
    }

    /// The same under another name.
    pub async fn instance_named(&mut self, instance_id: &str, config: Value) -> Outcome<String> {
        let root = self.keys.root.clone();
        let made = json!({ "instance_id": instance_id, "org_id": "example-org", "name": "Of a check" });
        self.config(Request::new("POST", "/instance").bearer(&root).json(&made))
            .await?
            .status(201)?;
        let mut config = config;
        config["api_keys"] = json!({ "ideogram": PROVIDER_KEY });
        let path = format!("/instance/{instance_id}");
        let change = Request::new("PATCH", &path)
            .bearer(&root)
            .json(&json!({ "config": config }));
        self.config(change).await?.status(200)?;
        Ok(instance_id.to_owned())
    }

    /// The same rows on both sides, compared as answers are.
    pub async fn rows(&mut self, sql: &str) -> Outcome<(Vec<Row>, Vec<Row>)> {
        let (reference, subject) = (self.reference.rows(sql).await?, self.subject.rows(sql).await?);
        match self.same.values("rows", &json!(reference), &json!(subject)) {
            Ok(()) => Ok((reference, subject)),
            Err(difference) => Err(Failed::Difference(format!("stored: {sql}: {difference}"))),
        }
    }

    /// Changes both stored states, past every rule but the tables' own: statements, each with a `;` at the end of its last line.
    pub async fn write(&mut self, script: &str) -> Outcome {
        self.reference.write(script).await?;
        Ok(self.subject.write(script).await?)
    }

    /// Which rows of the log the contract promises for requests of this check: others are free, and what an earlier check left waiting may come late.
    pub fn own_entries(&self) -> String {
        let began = reference_core::time::format(self.began_ms);
        format!("json_extract(metadata, '$.event') = 'request' AND timestamp >= '{began}'")
    }

    /// Lets log entries reach the database on both sides, however each does it.
    pub async fn settle(&mut self) -> Outcome {
        // Who waited in vain for the provider is ahead of the common clock, by as long as a request may take.
        self.pass_ms(10_000 + super::examine::GENERATION_TIMEOUT_MS).await?;
        let count = |rows: &[Row]| rows.first().and_then(|row| row["count"].as_i64()).unwrap_or(-1);
        let sql = format!("SELECT count(*) AS count FROM logs WHERE {}", self.own_entries());
        let wanted = count(&self.reference.rows(&sql).await?);
        for look in 1..=LOG_LOOKS {
            if count(&self.subject.rows(&sql).await?) >= wanted {
                return Ok(());
            }
            tokio::time::sleep(LOG_LOOK_EVERY).await;
            // What was handed over after its answer counts its seconds from then on.
            if look % 8 == 0 {
                self.pass_ms(10_000).await?;
            }
        }
        Ok(())
    }

    /// Compares values of both as answers are compared.
    pub fn same(&mut self, place: &str, reference: &Value, subject: &Value) -> Outcome {
        self.same
            .values(place, reference, subject)
            .map_err(|difference| Failed::Difference(format!("{place}: {difference}")))
    }

    /// Compares answers that were not had by [`Self::ask_each`].
    pub fn same_answers(&mut self, service: Service, asked: &str, reference: &Response, subject: &Response) -> Outcome {
        let mut subject = subject.clone();
        self.without_origin(service, &mut subject);
        self.same
            .answers(reference, &subject)
            .map_err(|difference| Failed::Difference(format!("{asked}: {difference}")))
    }

    /// Lets something fail on both sides from now on; nothing mends all.
    pub async fn set_outage(&mut self, outage: Option<Outage>) -> Outcome {
        self.reference.set_outage(outage, &self.options.settings).await?;
        self.subject.set_outage(outage, &self.options.settings).await?;
        self.has_outage = outage.is_some();
        Ok(())
    }

    /// A difference unless it holds. It must hold of the reference too, where that can be asked.
    pub fn require(&self, holds: bool, what: impl Into<String>) -> Outcome {
        if holds {
            Ok(())
        } else {
            Err(Failed::Difference(what.into()))
        }
    }
}
