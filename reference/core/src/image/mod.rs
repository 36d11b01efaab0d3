//! The image-generation Worker: part B of the contract. This file holds the routes; `generate` is the way of a request through all of it.

pub mod deadline;
pub mod generate;
pub mod jobs;
pub mod lookup;
pub mod provide;
pub mod serve;
pub mod store;
pub mod trace;

use crate::caller::{self, Authenticated};
use crate::config;
use crate::http::{self, Answer, Request, Response};
use crate::id;
use crate::log;
use crate::ports::ImageHost;
use crate::problem::Problem;
use trace::Trace;

/// A path of the Worker.
#[derive(Clone, Copy, Debug)]
enum Route<'path> {
    Health,
    Generate,
    Job(&'path str),
    Image,
}

impl<'path> Route<'path> {
    fn of(segments: &[&'path str]) -> Option<Self> {
        match *segments {
            ["health"] => Some(Self::Health),
            ["generate"] => Some(Self::Generate),
            ["jobs", id] if !id.is_empty() => Some(Self::Job(id)),
            ["images", instance, project, name] if ![instance, project, name].contains(&"") => Some(Self::Image),
            _ => None,
        }
    }

    fn methods(self) -> &'static [&'static str] {
        match self {
            Self::Health | Self::Job(_) | Self::Image => &["GET"],
            Self::Generate => &["POST"],
        }
    }
}

/// Answers a request.
pub async fn handle(host: &impl ImageHost, request: &Request) -> Response {
    let settings = host.settings();
    let allowed_origins = settings.allowed_origins.as_deref();
    let mut trace = Trace::begin(http::request_id(request, id::uuid(host)), host.now_ms());
    if let Some(response) = http::preflight(request, allowed_origins, &trace.request_id) {
        return response;
    }
    let mut authenticated = None;
    let mut response = match route(request) {
        Ok(Route::Health) => http::finish(config::health(host).await, &trace.request_id),
        Ok(Route::Job(job_id)) => {
            let outcome = jobs::read(host, request, job_id, &mut authenticated).await;
            http::finish(outcome, &trace.request_id)
        }
        Ok(Route::Image) => match serve::image(host, request).await {
            Ok(mut response) => {
                http::common_headers(&mut response, &trace.request_id);
                response
            }
            Err(problem) => http::finish(Err(problem), &trace.request_id),
        },
        Ok(Route::Generate) => {
            let outcome = generate::generate(host, request, &mut trace, &mut authenticated).await;
            let response = http::finish(outcome, &trace.request_id);
            leave_entry(host, &trace, &response).await;
            response
        }
        Err(problem) => http::finish(Err(problem), &trace.request_id),
    };
    http::cross_origin(request, allowed_origins, &mut response);
    if request.method == "HEAD" {
        response.body.clear();
    }
    if let Some(authenticated) = authenticated {
        caller::note_use(host, &authenticated).await;
    }
    response
}

fn route(request: &Request) -> Result<Route<'_>, Problem> {
    let route = Route::of(&request.segments()).ok_or_else(|| Problem::missing("path"))?;
    let method = if request.method == "HEAD" {
        "GET"
    } else {
        request.method.as_str()
    };
    if route.methods().contains(&method) {
        Ok(route)
    } else {
        Err(config::method_not_allowed(route.methods()))
    }
}

/// Writes what the answer was. A log that cannot be written holds nobody up.
async fn leave_entry(host: &impl ImageHost, trace: &Trace, response: &Response) {
    let entry = trace.entry(response, log::log_id(host), host.now_ms());
    if entry.level < log::Level::parse_or_info(host.settings().log_level.as_deref()) {
        return;
    }
    let is_full = log::append(host, entry)
        .await
        .is_ok_and(|waiting| waiting.count >= log::BATCH_MAX);
    if is_full {
        drop(log::flush(host).await);
    }
}

/// What the cron trigger does: old entries go.
pub async fn scheduled(host: &impl ImageHost) -> Result<(), Problem> {
    log::delete_old(host).await
}

/// Who calls. The service token is nobody here: a generation is somebody's.
async fn authenticate<'slot>(
    host: &impl ImageHost,
    credential: &str,
    slot: &'slot mut Option<Authenticated>,
) -> Result<&'slot caller::Caller, Problem> {
    let found = caller::authenticate(host, credential, None).await?;
    Ok(&slot.insert(found).caller)
}

/// The answer of a fault that has no better name.
fn internal<T>() -> Result<T, Problem> {
    Err(Problem::internal())
}

/// An answer, or why there is none.
type Outcome = Result<Answer, Problem>;
