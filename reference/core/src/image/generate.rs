//! `POST /generate`: the way of a request, refusal by refusal, to an image that is stored, paid for and answered.

use serde_json::{Value, json};

use super::deadline::Deadline;
use super::lookup::{self, Configuration};
use super::provide::{Failure, Provider};
use super::store;
use super::trace::Trace;
use super::{Outcome, authenticate, internal};
use crate::answer::{self, Verdict};
use crate::caller::{self, Authenticated, Caller, Role};
use crate::config::projects;
use crate::fields::{self, Fields};
use crate::http::{Answer, Headers, Request};
use crate::id;
use crate::job::{self, Order, State};
use crate::limiter::{self, Decision};
use crate::ports::ImageHost;
use crate::problem::{Code, Problem};
use crate::provider::{self, Meaning, Model};

/// What a request may take, if no variable says otherwise.
const TIMEOUT_MS: u64 = 60_000;
/// What a prompt may measure.
const PROMPT_UNITS_MAX: usize = 10_000;

/// What the request says by itself.
struct Wish {
    prompt: String,
    model: &'static Model,
    /// From the header, or from the body.
    instance_id: Option<String>,
    project_id: Option<String>,
    api_key: Option<String>,
    /// Only if the body has one.
    request_id: Option<String>,
}

fn prompt(value: &Value) -> Result<String, &'static str> {
    let prompt = value.as_str().map(fields::trimmed).unwrap_or_default();
    let is_sized = (1..=PROMPT_UNITS_MAX).contains(&fields::units(prompt));
    if is_sized {
        Ok(prompt.to_owned())
    } else {
        Err("a text of 1 to 10000 characters")
    }
}

fn read(request: &Request, trace: &mut Trace) -> Result<Wish, Problem> {
    let known = [
        "prompt",
        "model",
        "provider",
        "instance_id",
        "project_id",
        "api_key",
        "request_id",
    ];
    let body = Fields::read(request, &known)?;
    let prompt = body.required("prompt", prompt)?;
    let (model, provider) = (
        body.optional("model", fields::text)?,
        body.optional("provider", fields::text)?,
    );
    let in_body = body.optional("instance_id", fields::identifier)?;
    let project_id = body.optional("project_id", fields::identifier)?;
    let api_key = body.optional("api_key", fields::text)?;
    let request_id = body.optional("request_id", fields::uuid)?;
    let model = provider::model(model.as_deref(), provider.as_deref());
    let model = model.ok_or_else(|| Problem::invalid("there is no such model, or not of that provider"))?;
    if let Some(request_id) = &request_id {
        trace.request_id.clone_from(request_id);
    }
    trace.note("provider", model.provider);
    trace.note("model", model.name);
    let in_header = request.headers.get("x-instance-id").map(str::to_owned);
    if let (Some(in_header), Some(in_body)) = (&in_header, &in_body)
        && in_header != in_body
    {
        return Err(Problem::invalid(
            "`X-Instance-ID` and `instance_id` contradict each other",
        ));
    }
    Ok(Wish {
        prompt,
        model,
        instance_id: in_header.or(in_body),
        project_id,
        api_key,
        request_id,
    })
}

/// The instance and project that are meant: what is named, else the project's instance, else the only one within reach.
async fn place(host: &impl ImageHost, wish: &Wish, caller: &Caller) -> Result<(String, Option<String>), Problem> {
    let own_project = match caller {
        Caller::Project(project) => Some(project.project_id.clone()),
        Caller::Person(_) | Caller::Service => None,
    };
    let project_id = wish.project_id.clone().or(own_project);
    let of_project = match &project_id {
        Some(project_id) => Some(projects::find(host, project_id).await?.text("instance_id").to_owned()),
        None => None,
    };
    let instance_id = match (&wish.instance_id, of_project) {
        (Some(named), Some(of_project)) if *named != of_project => {
            return Err(Problem::invalid("the project lies in another instance"));
        }
        (Some(named), _) => named.clone(),
        (None, Some(of_project)) => of_project,
        (None, None) => only_instance(host, caller).await?,
    };
    Ok((instance_id, project_id))
}

async fn only_instance(host: &impl ImageHost, caller: &Caller) -> Result<String, Problem> {
    let mut reachable = match caller {
        Caller::Person(person) => match person.role {
            Role::User => person.instances.clone(),
            Role::Admin | Role::Superadmin => {
                let sql = "SELECT instance_id FROM instances WHERE org_id = ?1 LIMIT 2";
                let rows = host.query(sql, vec![(&person.org_id).into()]).await?.rows;
                rows.iter().map(|row| row.text("instance_id").to_owned()).collect()
            }
        },
        Caller::Project(project) => vec![project.instance_id.clone()],
        Caller::Service => Vec::new(),
    };
    match (reachable.pop(), reachable.is_empty()) {
        (Some(only), true) => Ok(only),
        (_, _) => Err(Problem::invalid("name an instance: `instance_id`")),
    }
}

/// Answers `POST /generate`.
pub async fn generate(
    host: &impl ImageHost,
    request: &Request,
    trace: &mut Trace,
    slot: &mut Option<Authenticated>,
) -> Outcome {
    let timeout_ms = host.settings().generation_timeout_ms.unwrap_or(TIMEOUT_MS);
    let deadline = Deadline(trace.began_ms + timeout_ms);
    let wish = read(request, trace)?;
    let credential = match caller::credential(request) {
        Some(credential) => credential?,
        None => wish
            .api_key
            .as_deref()
            .ok_or_else(|| Problem::unauthenticated("a key is needed"))?,
    };
    let caller = authenticate(host, credential, slot).await?;
    trace.user_id = caller.user_id().map(str::to_owned);

    let (instance_id, project_id) = place(host, &wish, caller).await?;
    let (configuration, source) = lookup::configuration(host, &instance_id, &trace.request_id, deadline).await?;
    trace.instance_id = Some(instance_id.clone());
    trace.note("config_source", source.name());
    let is_own_project = match (caller, &project_id) {
        (Caller::Project(own), Some(named)) => own.project_id == *named,
        (Caller::Person(_) | Caller::Project(_) | Caller::Service, _) => true,
    };
    if !caller.generates_with(&instance_id, &configuration.org_id) || !is_own_project {
        return Err(Problem::forbidden());
    }

    let order = Order {
        job_id: id::uuid(host),
        request_id: trace.request_id.clone(),
        org_id: configuration.org_id.clone(),
        instance_id,
        project_id,
        user_id: trace.user_id.clone(),
        provider: wish.model.provider.to_owned(),
        model: wish.model.name.to_owned(),
        prompt: wish.prompt.clone(),
        began_ms: trace.began_ms,
        bucket: bound(host, configuration.r2_bucket.clone()),
        called_ms: 0,
    };
    let made = Making {
        host,
        wish: &wish,
        configuration: &configuration,
        deadline,
        origin: &request.origin,
    };
    let (Some(request_id), Some(key_id)) = (&wish.request_id, caller.key_id()) else {
        return made.make(order, trace).await;
    };
    once(host, &made, order, trace, (key_id, request_id), timeout_ms).await
}

/// The bucket, if it is bound; else the default one.
fn bound(host: &impl ImageHost, bucket: Option<String>) -> Option<String> {
    bucket.filter(|name| host.buckets().iter().flatten().any(|bound| bound == name))
}

/// Makes an image once for an id: whoever repeats the request gets the first answer.
async fn once<H: ImageHost>(
    host: &H,
    made: &Making<'_, H>,
    order: Order,
    trace: &mut Trace,
    (key_id, request_id): (&str, &str),
    lease_ms: u64,
) -> Outcome {
    let fingerprint = json!([
        order.prompt,
        order.model,
        order.provider,
        order.instance_id,
        order.project_id
    ]);
    let fingerprint = id::digest(fingerprint.to_string().as_bytes());
    let begin = answer::Command::Begin { fingerprint, lease_ms };
    let turn = match answer::command(host, key_id, request_id, &begin).await? {
        Some(Verdict::First { turn }) => turn,
        Some(Verdict::Running) => return Err(Problem::conflict("the first request of this id is still running")),
        Some(Verdict::Other) => return Err(Problem::conflict("another request had this id")),
        Some(Verdict::Again(kept)) => {
            trace.note("replayed", true);
            return restored(&kept);
        }
        None => return internal(),
    };
    let answer = made.make(order, trace).await.unwrap_or_else(Problem::into_answer);
    let after = match answer.status {
        200 | 422 | 504 => answer::Command::Keep {
            turn,
            answer: kept(&answer),
        },
        _ => answer::Command::Release { turn },
    };
    answer::command(host, key_id, request_id, &after).await?;
    Ok(answer)
}

fn kept(answer: &Answer) -> Value {
    let headers: Vec<(&str, &str)> = answer.headers.iter().collect();
    json!({ "status": answer.status, "fields": answer.fields, "headers": headers })
}

fn restored(kept: &Value) -> Outcome {
    let status = kept["status"].as_u64().and_then(|status| u16::try_from(status).ok());
    let headers: Option<Vec<(String, String)>> = serde_json::from_value(kept["headers"].clone()).ok();
    match (status, headers, kept["fields"].as_object()) {
        (Some(status), Some(headers), Some(fields)) => Ok(Answer {
            status,
            fields: fields.clone(),
            headers: headers.into_iter().collect::<Headers>(),
        }),
        (_, _, _) => internal(),
    }
}

/// What the making of an image needs.
struct Making<'making, H> {
    host: &'making H,
    wish: &'making Wish,
    configuration: &'making Configuration,
    deadline: Deadline,
    origin: &'making str,
}

impl<H: ImageHost> Making<'_, H> {
    /// From the instance's key for the provider to the answer.
    async fn make(&self, mut order: Order, trace: &mut Trace) -> Outcome {
        let (host, provider) = (self.host, self.wish.model.provider);
        let api_key = self.configuration.api_key(provider);
        let api_key = api_key.ok_or_else(|| Problem::invalid("the instance has no key for that provider"))?;
        if let Some(limit) = self.configuration.limit(provider)
            && let Decision::Refused { wait_ms } = limiter::acquire(host, &order.instance_id, provider, limit).await?
        {
            return Err(
                Problem::new(Code::RateLimited, "the instance's limit for the provider is reached")
                    .retry_after_ms(wait_ms),
            );
        }
        order.called_ms = host.now_ms();
        let instance_id = order.instance_id.clone();
        let provider = Provider {
            instance_id: &instance_id,
            api_key,
            model: self.wish.model,
            deadline: self.deadline,
        };
        let mut calls = 0;
        let ordered = provider.order(host, &order.prompt, &mut calls).await;
        trace.note("provider_attempts", calls);
        match self.finish(&provider, &order, ordered).await {
            Ok(answer) => Ok(answer),
            Err(Failure::TimedOut) => self.give_up(order).await,
            Err(Failure::Ended(problem) | Failure::Unreachable(problem)) => Err(problem),
        }
    }

    /// From the provider's answer to ours.
    async fn finish(
        &self,
        provider: &Provider<'_>,
        order: &Order,
        ordered: Result<Meaning, Failure>,
    ) -> Result<Answer, Failure> {
        let host = self.host;
        let ended = |problem: Problem| Failure::Ended(problem);
        let (finished, is_job) = match ordered? {
            Meaning::Finished(finished) => (finished, false),
            Meaning::Pending(generation) => {
                // From here on the generation is not lost, whatever happens to this request.
                let begin = job::Command::Begin(
                    Box::new(order.clone()),
                    State::Pending {
                        generation: generation.clone(),
                    },
                );
                job::command(host, &order.job_id, &begin)
                    .await
                    .map_err(|error| ended(error.into()))?;
                let waited = provider.wait(host, &generation).await;
                (self.note_end(order, waited).await?, true)
            }
            Meaning::Unsafe | Meaning::Refused | Meaning::Busy(_) | Meaning::Broken(_) => {
                return Err(ended(Problem::internal()));
            }
        };
        let fetched = provider.fetch(host, &finished.url).await;
        let image = if is_job {
            self.note_end(order, fetched).await?
        } else {
            fetched?
        };
        let price = self.wish.model.price_microdollars;
        let stored = store::store(host, order, &finished, price, image, self.origin).await;
        let mut fields = stored.map_err(ended)?;
        if is_job {
            fields = store::end(host, order, fields).await.map_err(ended)?;
        }
        Ok(Answer {
            status: 200,
            fields,
            headers: Headers::new(),
        })
    }

    /// A job whose order has failed for good ends with it.
    async fn note_end<T>(&self, order: &Order, outcome: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(Failure::Ended(problem)) = &outcome {
            let end = job::Command::End(State::Failed(problem.code.name().to_owned()));
            drop(job::command(self.host, &order.job_id, &end).await);
        }
        outcome
    }

    /// 504, with the job to ask for later. One that the provider never named has failed.
    async fn give_up(&self, order: Order) -> Outcome {
        let job_id = order.job_id.clone();
        let begin = job::Command::Begin(Box::new(order), State::Failed(Code::ProviderTimeout.name().to_owned()));
        job::command(self.host, &job_id, &begin).await?;
        let mut problem = Problem::new(Code::ProviderTimeout, "the provider was not ready in time");
        problem
            .fields
            .insert("status_url".to_owned(), format!("/jobs/{job_id}").into());
        problem.fields.insert("job_id".to_owned(), job_id.into());
        Err(problem)
    }
}
