//! The mock itself: what it was sent, what it works on, and what it answers.

use std::collections::{BTreeMap, HashMap, VecDeque};

use reference_core::http::{Headers, Response};
use reference_core::time::{self, DAY_MS};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::chance::Chance;
use crate::fault::{self, Fault, Place, Plan};
use crate::form;
use crate::picture;

/// Links to images expire after this.
pub const IMAGE_LIFE_MS: u64 = DAY_MS;
/// How long something that hangs counts as being worked on.
const HANG_MS: u64 = 600_000;
/// How many times an order is pending at most, if nothing else is said.
const PENDING_MAX: u64 = 3;

/// Width and height of an image whose size only its bytes tell.
const ODD_SIZE: (u16, u16) = (1344, 768);
/// How much of the journal is kept.
const JOURNAL_MAX: usize = 5_000;
/// How many generations are remembered.
const GENERATIONS_MAX: usize = 5_000;

/// How the mock is.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decides its moods, its images and its names.
    pub seed: u64,
    /// The keys that it knows; none: any but an empty one.
    pub keys: Vec<String>,
    /// How many images it works on at the same time.
    pub images_in_flight_max: u32,
    /// Where its links to images point to: scheme and authority.
    pub image_base_url: String,
    /// How long an order that is answered at once takes.
    pub latency_ms: u64,
    /// Whether orders that are asked after are finished when first asked, rather than after some questions.
    pub is_prompt: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            keys: Vec::new(),
            images_in_flight_max: 10,
            image_base_url: "https://ideogram.ai".to_owned(),
            latency_ms: 0,
            is_prompt: false,
        }
    }
}

/// A request as it was received.
#[derive(Clone, Debug, Serialize)]
pub struct Received {
    /// When.
    pub at_ms: u64,
    /// The method.
    pub method: String,
    /// The path with its query.
    pub target: String,
    /// The header fields.
    pub headers: Vec<(String, String)>,
    /// The body, as far as it is text.
    pub body: String,
    /// The status that it was answered with; none if it was not.
    pub status: Option<u16>,
}

/// What comes back.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// An answer.
    Answer(Response),
    /// An answer whose connection breaks after so many bytes of the body.
    Broken(Response, usize),
    /// Nothing, ever.
    Nothing,
}

/// What comes back, and when.
#[derive(Clone, Debug)]
pub struct Reaction {
    /// After this.
    pub delay_ms: u64,
    /// This.
    pub outcome: Outcome,
}

/// An order that was accepted.
#[derive(Clone, Debug)]
struct Generation {
    prompt: String,
    images: u32,
    seed: u64,
    made_ms: u64,
    /// How many more times it is pending; none: for ever.
    pending: Option<u64>,
    is_safe: bool,
    /// It has a link although it is not safe.
    is_linked: bool,
    /// Why it fails, if it does.
    failure: Option<String>,
    /// Until when it counts as being worked on; none: until it is seen to be finished.
    busy_until_ms: Option<u64>,
}

/// An Ideogram of our own.
#[derive(Debug)]
pub struct Mock {
    options: Options,
    chance: Chance,
    script: VecDeque<Plan>,
    /// How often each prompt's own plans were carried out.
    carried_out: HashMap<(String, usize), u32>,
    /// How often each prompt was ordered.
    ordered: HashMap<String, u64>,
    generations: BTreeMap<String, Generation>,
    /// Their names, oldest first.
    remembered: VecDeque<String>,
    /// The generations that may be in flight, so that counting them does not look at all there ever were.
    in_flight: Vec<String>,
    journal: VecDeque<Received>,
}

/// A family of the API.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Legacy,
    V3,
    V4,
    V4Async,
    Current,
}

/// What an order says.
struct Order {
    prompt: String,
    images: u32,
    is_async: bool,
}

impl Mock {
    /// A mock that has seen nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            chance: Chance::new(options.seed),
            options,
            script: VecDeque::new(),
            carried_out: HashMap::new(),
            ordered: HashMap::new(),
            generations: BTreeMap::new(),
            remembered: VecDeque::new(),
            in_flight: Vec::new(),
            journal: VecDeque::new(),
        }
    }

    /// Adds a fault behind those that are planned.
    pub fn plan(&mut self, plan: Plan) {
        self.script.push_back(plan);
    }

    /// Forgets all plans.
    pub fn clear_plans(&mut self) {
        self.script.clear();
    }

    /// All that was received, oldest first.
    pub fn journal(&self) -> impl Iterator<Item = &Received> {
        self.journal.iter()
    }

    /// Forgets what was received.
    pub fn clear_journal(&mut self) {
        self.journal.clear();
    }

    /// Where its links to images point to from now on.
    pub fn set_image_base_url(&mut self, url: &str) {
        url.clone_into(&mut self.options.image_base_url);
    }

    /// How many images it works on.
    #[must_use]
    pub fn images_in_flight(&mut self, now_ms: u64) -> u32 {
        let generations = &self.generations;
        self.in_flight.retain(|id| {
            generations
                .get(id)
                .is_some_and(|generation| generation.busy_until_ms.is_none_or(|until_ms| until_ms > now_ms))
        });
        self.in_flight
            .iter()
            .filter_map(|id| generations.get(id))
            .map(|generation| generation.images)
            .sum()
    }

    /// Reacts to a request.
    pub fn receive(&mut self, now_ms: u64, method: &str, target: &str, headers: &Headers, body: &[u8]) -> Reaction {
        let reaction = self.react(now_ms, method, target, headers, body);
        let status = match &reaction.outcome {
            Outcome::Answer(response) | Outcome::Broken(response, _) => Some(response.status),
            Outcome::Nothing => None,
        };
        if self.journal.len() == JOURNAL_MAX {
            self.journal.pop_front();
        }
        self.journal.push_back(Received {
            at_ms: now_ms,
            method: method.to_owned(),
            target: target.to_owned(),
            headers: headers
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            body: String::from_utf8_lossy(body).into_owned(),
            status,
        });
        reaction
    }

    fn react(&mut self, now_ms: u64, method: &str, target: &str, headers: &Headers, body: &[u8]) -> Reaction {
        let path = target.split('?').next().unwrap_or_default();
        let family = match path {
            "/generate" => Some(Family::Legacy),
            "/v1/ideogram-v3/generate" => Some(Family::V3),
            "/v1/ideogram-v4/generate" => Some(Family::V4),
            "/v1/ideogram-v4/async/generate" => Some(Family::V4Async),
            "/v2/image/generate/ideogram-4-5" => Some(Family::Current),
            _ => None,
        };
        let asked = path
            .strip_prefix("/v1/generations/")
            .or_else(|| path.strip_prefix("/v2/generations/"));
        let image = path
            .strip_prefix("/api/images/ephemeral/")
            .and_then(|name| name.strip_suffix(".png"));
        match (method, family, asked, image) {
            ("POST", Some(family), _, _) => self.order(now_ms, family, headers, body),
            ("GET", _, Some(id), _) => self.ask(id, headers),
            ("GET", _, _, Some(id)) => self.image(now_ms, id),
            (_, None, None, None) => self.refuse(404, "there is no such path"),
            (_, _, _, _) => self.refuse(405, "not with this method"),
        }
    }

    /// The fault that is due, by the prompt or by the script, if there is one.
    fn due(&mut self, place: Place, prompt: &str) -> Option<Fault> {
        for (index, plan) in fault::in_prompt(prompt).into_iter().enumerate() {
            let times = self.carried_out.entry((prompt.to_owned(), index)).or_default();
            if plan.place == place && *times < plan.times {
                *times += 1;
                return Some(plan.fault);
            }
        }
        let index = self.script.iter().position(|plan| plan.place == place)?;
        let plan = self.script.get_mut(index)?;
        plan.times = plan.times.saturating_sub(1);
        let fault = plan.fault.clone();
        if plan.times == 0 {
            self.script.remove(index);
        }
        Some(fault)
    }

    fn is_known(&self, headers: &Headers) -> bool {
        headers.get("api-key").is_some_and(|key| {
            !key.is_empty() && (self.options.keys.is_empty() || self.options.keys.iter().any(|known| known == key))
        })
    }

    /// An image follows from its prompt and from how often that was ordered, so that two systems whose other calls differ in number
    /// or order get the same images.
    fn image_seed(&mut self, prompt: &str) -> u64 {
        if self.ordered.len() >= GENERATIONS_MAX {
            self.ordered.clear();
        }
        let times = self.ordered.entry(prompt.to_owned()).or_default();
        *times += 1;
        Chance::of(self.options.seed.wrapping_add(*times), prompt).next()
    }

    fn order(&mut self, now_ms: u64, family: Family, headers: &Headers, body: &[u8]) -> Reaction {
        if !self.is_known(headers) {
            return self.refuse(401, "that key is not known");
        }
        let order = match read(family, headers.get("content-type").unwrap_or_default(), body) {
            Ok(order) => order,
            Err(mistake) => return self.refuse(400, mistake),
        };
        if self.images_in_flight(now_ms) + order.images > self.options.images_in_flight_max {
            return self.busy(None);
        }
        let fault = self.due(Place::Order, &order.prompt);
        let seed = self.image_seed(&order.prompt);
        let mut generation = Generation {
            prompt: order.prompt,
            images: order.images,
            seed,
            made_ms: now_ms,
            pending: Some(if self.options.is_prompt {
                0
            } else {
                self.chance.below(PENDING_MAX + 1)
            }),
            is_safe: true,
            is_linked: false,
            failure: None,
            busy_until_ms: (!order.is_async).then_some(now_ms + self.options.latency_ms),
        };
        let mut delay_ms = self.options.latency_ms;
        match &fault {
            Some(Fault::Busy(seconds)) => return self.busy(*seconds),
            Some(Fault::Status(status)) => return self.refuse(*status, "as planned"),
            Some(Fault::Slow(duration_ms)) => {
                delay_ms += duration_ms;
                generation.busy_until_ms = generation.busy_until_ms.map(|until_ms| until_ms + duration_ms);
            }
            Some(Fault::Hang) => generation.busy_until_ms = Some(now_ms + HANG_MS),
            Some(Fault::Unsafe) => generation.is_safe = false,
            Some(Fault::UnsafeLink) => {
                generation.is_safe = false;
                generation.is_linked = true;
            }
            Some(Fault::Failed(reason)) => generation.failure = Some(reason.clone()),
            Some(Fault::Pending(times)) => generation.pending = Some(u64::from(*times)),
            Some(Fault::Never) => generation.pending = None,
            Some(Fault::Drop | Fault::Malformed | Fault::Weighs(_) | Fault::NotAnImage | Fault::Encoded(_)) | None => {}
        }
        let id = format!("{:016x}{:08x}", self.chance.next(), self.chance.below(1 << 32));
        let answer = if order.is_async {
            let status = if self.chance.coin() { 200 } else { 202 };
            self.answer(
                status,
                vec![
                    ("generation_id", json!(id)),
                    ("generation_kind", json!("sampling")),
                    ("status", json!("pending")),
                ],
            )
        } else {
            let fields = self.finished(&id, &generation, now_ms, family == Family::Current);
            self.answer(200, fields)
        };
        if self.remembered.len() == GENERATIONS_MAX
            && let Some(oldest) = self.remembered.pop_front()
        {
            self.generations.remove(&oldest);
        }
        self.remembered.push_back(id.clone());
        self.in_flight.push(id.clone());
        self.generations.insert(id, generation);
        Self::with_fault(fault.as_ref(), delay_ms, answer)
    }

    /// Every generation that is not done yet has failed, whenever it is asked after.
    pub fn fail_pending(&mut self, reason: &str) {
        for generation in self.generations.values_mut() {
            if generation.pending != Some(0) {
                generation.pending = Some(0);
                generation.failure = Some(reason.to_owned());
            }
        }
    }

    fn ask(&mut self, id: &str, headers: &Headers) -> Reaction {
        if !self.is_known(headers) {
            return self.refuse(401, "that key is not known");
        }
        let Some(mut generation) = self.generations.get(id).cloned() else {
            return self.refuse(404, "there is no such generation");
        };
        let fault = self.due(Place::Ask, &generation.prompt);
        match &fault {
            Some(Fault::Busy(seconds)) => return self.busy(*seconds),
            Some(Fault::Status(status)) => return self.refuse(*status, "as planned"),
            _ => {}
        }
        let pending = generation.pending;
        generation.pending = pending.map(|times| times.saturating_sub(1));
        if pending == Some(0) {
            generation.busy_until_ms = Some(0);
        }
        self.generations.insert(id.to_owned(), generation.clone());
        let mut fields = vec![("generation_id", json!(id))];
        match (pending, &generation.failure) {
            (Some(0), Some(reason)) => fields.extend([("status", json!("failed")), ("failure_reason", json!(reason))]),
            (Some(0), None) => {
                fields.push(("status", json!("completed")));
                fields.extend(self.finished(id, &generation, generation.made_ms, true));
            }
            (_, _) => fields.push(("status", json!("pending"))),
        }
        let answer = self.answer(200, fields);
        let delay_ms = if let Some(Fault::Slow(duration_ms)) = fault {
            duration_ms
        } else {
            0
        };
        Self::with_fault(fault.as_ref(), delay_ms, answer)
    }

    fn image(&mut self, now_ms: u64, name: &str) -> Reaction {
        let (id, index) = name.split_once('_').unwrap_or((name, "0"));
        let Some(generation) = self.generations.get(id).cloned() else {
            return self.refuse(404, "there is no such image");
        };
        if !generation.is_safe || now_ms >= generation.made_ms + IMAGE_LIFE_MS {
            return self.refuse(403, "the link has expired");
        }
        let fault = self.due(Place::Image, &generation.prompt);
        let bytes = match &fault {
            Some(Fault::Busy(seconds)) => return self.busy(*seconds),
            Some(Fault::Status(status)) => return self.refuse(*status, "as planned"),
            Some(Fault::Weighs(least)) => {
                let mut bytes = picture::png(generation.seed, 1024, 1024);
                bytes.resize(bytes.len().max(*least), 0);
                bytes
            }
            Some(Fault::NotAnImage) => b"<html>not an image</html>".to_vec(),
            Some(Fault::Encoded(encoding)) => picture::encoded(*encoding, generation.seed, ODD_SIZE.0, ODD_SIZE.1),
            _ => picture::png(generation.seed.wrapping_add(index.parse().unwrap_or(0)), 1024, 1024),
        };
        let mut response = Response {
            status: 200,
            headers: Headers::new(),
            body: bytes,
        };
        let content_type = match fault {
            Some(Fault::NotAnImage) => "text/html",
            Some(Fault::Encoded(encoding)) => encoding.content_type(),
            _ => "image/png",
        };
        response.headers.set("content-type", content_type);
        let delay_ms = if let Some(Fault::Slow(duration_ms)) = fault {
            duration_ms
        } else {
            0
        };
        Self::with_fault(fault.as_ref(), delay_ms, response)
    }

    /// The fields of what is finished: links, or none if it is not safe.
    fn finished(
        &mut self,
        id: &str,
        generation: &Generation,
        now_ms: u64,
        is_current: bool,
    ) -> Vec<(&'static str, Value)> {
        let base = self.options.image_base_url.clone();
        let plans = fault::in_prompt(&generation.prompt);
        let is_size_told = !plans.iter().any(|plan| matches!(plan.fault, Fault::Encoded(_)));
        let image = |index: u32| {
            let url = (generation.is_safe || generation.is_linked)
                .then(|| format!("{base}/api/images/ephemeral/{id}_{index}.png"));
            json!({
                "url": url,
                "prompt": generation.prompt,
                "resolution": is_size_told.then_some("1024x1024"),
                "is_image_safe": generation.is_safe,
                "seed": generation.seed >> 33,
                "style_type": "GENERAL",
                "object_type": "image",
            })
        };
        let data: Vec<Value> = (0..generation.images).map(image).collect();
        let mut fields = vec![("data", Value::from(data))];
        if is_current {
            fields.extend([
                ("response_type", json!("image")),
                ("usage_cost_usd_micros", json!(60_000 * generation.images)),
                ("seed", json!(generation.seed >> 33)),
            ]);
        } else {
            fields.push(("created", json!(time::format(now_ms))));
        }
        fields
    }

    fn refuse(&mut self, status: u16, message: &str) -> Reaction {
        let mut fields = vec![("error", json!(message))];
        if status == 402 {
            fields.push(("reject_reason", json!("insufficient_funds")));
        }
        let response = self.answer(status, fields);
        Reaction {
            delay_ms: 0,
            outcome: Outcome::Answer(response),
        }
    }

    fn busy(&mut self, seconds: Option<u64>) -> Reaction {
        let most = self.options.images_in_flight_max;
        let fields = vec![
            ("error", json!("too many images in flight")),
            ("reject_reason", json!("inflight_limit")),
            ("max_inflight_requests", json!(most)),
        ];
        let mut response = self.answer(429, fields);
        if let Some(seconds) = seconds {
            response.headers.set("retry-after", seconds.to_string());
        }
        Reaction {
            delay_ms: 0,
            outcome: Outcome::Answer(response),
        }
    }

    /// An answer in JSON whose fields come in any order, one that nobody knows among them.
    fn answer(&mut self, status: u16, mut fields: Vec<(&'static str, Value)>) -> Response {
        if self.chance.coin() {
            fields.push(("x_internal", json!({ "shard": self.chance.below(100) })));
        }
        for last in (1..fields.len()).rev() {
            let other = usize::try_from(self.chance.below(last as u64 + 1)).unwrap_or(0);
            fields.swap(last, other);
        }
        let fields: Vec<String> = fields
            .into_iter()
            .map(|(name, value)| format!("{}:{value}", json!(name)))
            .collect();
        let space = if self.chance.coin() { "\n " } else { "" };
        let body = format!("{{{space}{}}}", fields.join(&format!(",{space}")));
        let content_type = if self.chance.coin() {
            "application/json"
        } else {
            "application/json; charset=utf-8"
        };
        let mut response = Response {
            status,
            headers: Headers::new(),
            body: body.into_bytes(),
        };
        response.headers.set("content-type", content_type);
        response
    }

    fn with_fault(fault: Option<&Fault>, delay_ms: u64, mut response: Response) -> Reaction {
        let half = response.body.len() / 2;
        let outcome = match fault {
            Some(Fault::Hang) => Outcome::Nothing,
            Some(Fault::Drop) => Outcome::Broken(response, half),
            Some(Fault::Malformed) => {
                response.body.truncate(half);
                Outcome::Answer(response)
            }
            _ => Outcome::Answer(response),
        };
        Reaction { delay_ms, outcome }
    }
}

/// Reads an order as strictly as its family is: content type, fields, values.
fn read(family: Family, content_type: &str, body: &[u8]) -> Result<Order, &'static str> {
    let is_json = matches!(family, Family::Legacy | Family::Current);
    let mut fields: Map<String, Value> = if is_json {
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            return Err("the body must be application/json");
        }
        let body: Value = serde_json::from_slice(body).map_err(|_| "the body is not JSON")?;
        let body = if family == Family::Legacy {
            body.get("image_request").cloned().ok_or("image_request is missing")?
        } else {
            body
        };
        body.as_object().cloned().ok_or("the body must be an object")?
    } else {
        let fields = form::fields(content_type, body).ok_or("the body must be a form with its boundary")?;
        fields
            .into_iter()
            .map(|(name, value)| (name, Value::from(value)))
            .collect()
    };
    let (prompt_name, others): (&str, &[&str]) = match family {
        Family::Legacy => (
            "prompt",
            &[
                "model",
                "aspect_ratio",
                "magic_prompt_option",
                "seed",
                "style_type",
                "negative_prompt",
                "num_images",
                "resolution",
                "color_palette",
            ],
        ),
        Family::V3 => (
            "prompt",
            &[
                "seed",
                "resolution",
                "aspect_ratio",
                "rendering_speed",
                "magic_prompt",
                "negative_prompt",
                "num_images",
                "style_type",
                "style_preset",
                "color_palette",
                "style_codes",
            ],
        ),
        Family::V4 | Family::V4Async => (
            "text_prompt",
            &["seed", "resolution", "aspect_ratio", "rendering_speed", "num_images"],
        ),
        Family::Current => (
            "prompt",
            &[
                "async",
                "seed",
                "resolution",
                "aspect_ratio",
                "num_images",
                "rendering_speed",
                "dry_run",
            ],
        ),
    };
    let prompt = match fields.remove(prompt_name) {
        Some(Value::String(prompt)) if !prompt.trim().is_empty() => prompt,
        _ => return Err("the prompt is missing or empty"),
    };
    if fields.keys().any(|name| !others.contains(&name.as_str())) {
        return Err("there is a field that this endpoint does not know");
    }
    let models = ["V_1", "V_1_TURBO", "V_2", "V_2_TURBO", "V_2A", "V_2A_TURBO"];
    if fields
        .get("model")
        .is_some_and(|model| !model.as_str().is_some_and(|model| models.contains(&model)))
    {
        return Err("there is no such model");
    }
    let images = match fields.get("num_images") {
        None => 1,
        Some(Value::String(count)) => count.parse().unwrap_or(0),
        Some(count) => count.as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(0),
    };
    if !(1..=8).contains(&images) {
        return Err("num_images must be from 1 to 8");
    }
    let is_async = match fields.get("async") {
        None => family == Family::V4Async,
        Some(Value::Bool(is_async)) => *is_async,
        Some(_) => return Err("async must be true or false"),
    };
    Ok(Order {
        prompt,
        images,
        is_async,
    })
}
