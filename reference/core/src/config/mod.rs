//! The Config Service: part A of the contract. One file for each resource; this one holds the routes and the order in which a request is refused.

pub mod access;
pub mod instances;
pub mod keys;
pub mod list;
pub mod logs;
pub mod metrics;
pub mod organizations;
pub mod projects;
mod settings;
pub mod users;

use serde_json::{Value, json};

use crate::caller::{self, Authenticated, Caller, Kind, Role};
use crate::http::{self, Answer, Request, Response};
use crate::id;
use crate::ports::{ConfigHost, Database};
use crate::problem::{Code, Problem};

/// A path of the service.
#[derive(Clone, Copy, Debug)]
enum Route<'path> {
    Health,
    Me,
    Organizations,
    Organization(&'path str),
    Instances,
    Instance(&'path str),
    AccessList(&'path str),
    Access(&'path str, &'path str),
    Users,
    User(&'path str),
    UserKeys(&'path str),
    Projects,
    Project(&'path str),
    ProjectKeys(&'path str),
    Key(&'path str),
    Logs,
    Metrics,
}

impl<'path> Route<'path> {
    fn of(segments: &[&'path str]) -> Option<Self> {
        Some(match *segments {
            ["health"] => Self::Health,
            ["me"] => Self::Me,
            ["organization"] => Self::Organizations,
            ["organization", id] if !id.is_empty() => Self::Organization(id),
            ["instance"] => Self::Instances,
            ["instance", id] if !id.is_empty() => Self::Instance(id),
            ["instance", id, "access"] if !id.is_empty() => Self::AccessList(id),
            ["instance", id, "access", user] if !id.is_empty() && !user.is_empty() => Self::Access(id, user),
            ["user"] => Self::Users,
            ["user", id] if !id.is_empty() => Self::User(id),
            ["user", id, "key"] if !id.is_empty() => Self::UserKeys(id),
            ["project"] => Self::Projects,
            ["project", id] if !id.is_empty() => Self::Project(id),
            ["project", id, "key"] if !id.is_empty() => Self::ProjectKeys(id),
            ["key", id] if !id.is_empty() => Self::Key(id),
            ["logs"] => Self::Logs,
            ["metrics"] => Self::Metrics,
            _ => return None,
        })
    }

    fn methods(self) -> &'static [&'static str] {
        match self {
            Self::Health | Self::Me | Self::AccessList(_) | Self::Logs | Self::Metrics => &["GET"],
            Self::Organizations
            | Self::Instances
            | Self::Users
            | Self::Projects
            | Self::UserKeys(_)
            | Self::ProjectKeys(_) => &["GET", "POST"],
            Self::Organization(_) | Self::Instance(_) | Self::User(_) | Self::Project(_) => &["GET", "PATCH", "DELETE"],
            Self::Access(..) => &["PUT", "DELETE"],
            Self::Key(_) => &["GET", "DELETE"],
        }
    }

    /// Who may ever do this. What such a caller may do with a certain resource is decided when the resource is known.
    fn callers(self, is_read: bool) -> &'static [Kind] {
        use Kind::{Admin, Project, Service, Superadmin, User};
        match self {
            Self::Health | Self::Me => &[User, Admin, Superadmin, Project],
            Self::Organizations if !is_read => &[Superadmin],
            Self::Instances | Self::Instance(_) | Self::Projects | Self::Project(_) if is_read => {
                &[User, Admin, Superadmin, Project, Service]
            }
            Self::User(_) if is_read => &[User, Admin, Superadmin],
            Self::UserKeys(_) | Self::Key(_) => &[User, Admin, Superadmin],
            Self::Organizations
            | Self::Organization(_)
            | Self::Instances
            | Self::Instance(_)
            | Self::AccessList(_)
            | Self::Access(..)
            | Self::Users
            | Self::User(_)
            | Self::Projects
            | Self::Project(_)
            | Self::ProjectKeys(_)
            | Self::Logs
            | Self::Metrics => &[Admin, Superadmin],
        }
    }
}

/// Answers a request.
pub async fn handle(host: &impl ConfigHost, request: &Request) -> Response {
    let settings = host.settings();
    let allowed_origins = settings.allowed_origins.as_deref();
    let request_id = http::request_id(request, id::uuid(host));
    if let Some(response) = http::preflight(request, allowed_origins, &request_id) {
        return response;
    }
    let mut authenticated = None;
    let outcome = answer(host, request, &mut authenticated).await;
    let mut response = http::finish(outcome, &request_id);
    http::cross_origin(request, allowed_origins, &mut response);
    if request.method == "HEAD" {
        response.body.clear();
    }
    if let Some(authenticated) = authenticated {
        caller::note_use(host, &authenticated).await;
    }
    response
}

async fn answer(
    host: &impl ConfigHost,
    request: &Request,
    authenticated: &mut Option<Authenticated>,
) -> Result<Answer, Problem> {
    let route = Route::of(&request.segments()).ok_or_else(|| Problem::missing("path"))?;
    let method = if request.method == "HEAD" {
        "GET"
    } else {
        request.method.as_str()
    };
    if !route.methods().contains(&method) {
        return Err(method_not_allowed(route.methods()));
    }
    if let Route::Health = route {
        return health(host).await;
    }
    let credential = caller::credential(request).ok_or_else(|| Problem::unauthenticated("a key is needed"))??;
    let found = caller::authenticate(host, credential, host.settings().service_token.as_deref()).await?;
    let caller = &authenticated.insert(found).caller;
    // Only a superadmin takes an organisation away, although an admin edits it.
    let is_never = matches!((route, method), (Route::Organization(_), "DELETE")) && caller.kind() != Kind::Superadmin;
    if is_never || !route.callers(method == "GET").contains(&caller.kind()) {
        return Err(Problem::forbidden());
    }
    dispatch(host, request, caller, route, method).await
}

async fn dispatch(
    host: &impl ConfigHost,
    request: &Request,
    caller: &Caller,
    route: Route<'_>,
    method: &str,
) -> Result<Answer, Problem> {
    match (route, method) {
        (Route::Me, _) => me(host, caller).await,
        (Route::Organizations, "GET") => organizations::list(host, request, caller).await,
        (Route::Organizations, _) => organizations::create(host, request).await,
        (Route::Organization(id), "GET") => organizations::read(host, caller, id).await,
        (Route::Organization(id), "PATCH") => organizations::edit(host, request, caller, id).await,
        (Route::Organization(id), _) => organizations::delete(host, id).await,
        (Route::Instances, "GET") => instances::list(host, request, caller).await,
        (Route::Instances, _) => instances::create(host, request, caller).await,
        (Route::Instance(id), "GET") => instances::read(host, caller, id).await,
        (Route::Instance(id), "PATCH") => instances::edit(host, request, caller, id).await,
        (Route::Instance(id), _) => instances::delete(host, caller, id).await,
        (Route::AccessList(id), _) => access::list(host, request, caller, id).await,
        (Route::Access(id, user), "PUT") => access::grant(host, caller, id, user).await,
        (Route::Access(id, user), _) => access::withdraw(host, caller, id, user).await,
        (Route::Users, "GET") => users::list(host, request, caller).await,
        (Route::Users, _) => users::create(host, request, caller).await,
        (Route::User(id), "GET") => users::read(host, caller, id).await,
        (Route::User(id), "PATCH") => users::edit(host, request, caller, id).await,
        (Route::User(id), _) => users::delete(host, caller, id).await,
        (Route::UserKeys(id), method) => keys::of_user(host, request, caller, id, method).await,
        (Route::Projects, "GET") => projects::list(host, request, caller).await,
        (Route::Projects, _) => projects::create(host, request, caller).await,
        (Route::Project(id), "GET") => projects::read(host, caller, id).await,
        (Route::Project(id), "PATCH") => projects::edit(host, request, caller, id).await,
        (Route::Project(id), _) => projects::delete(host, caller, id).await,
        (Route::ProjectKeys(id), method) => keys::of_project(host, request, caller, id, method).await,
        (Route::Key(id), "GET") => keys::read(host, caller, id).await,
        (Route::Key(id), _) => keys::revoke(host, caller, id).await,
        (Route::Logs, _) => logs::list(host, request, caller).await,
        (Route::Metrics, _) => metrics::read(host, request, caller).await,
        (Route::Health, _) => health(host).await,
    }
}

/// 405, with the methods that there are.
#[must_use]
pub fn method_not_allowed(methods: &[&str]) -> Problem {
    Problem::new(Code::MethodNotAllowed, "not with this method").with_header("allow", http::allow(methods))
}

/// Well, if the database answers.
pub async fn health(host: &impl Database) -> Result<Answer, Problem> {
    host.query("SELECT 1 AS one FROM organizations LIMIT 1", vec![]).await?;
    Ok(Answer::ok(json!({ "status": "ok" })))
}

async fn me(host: &impl ConfigHost, caller: &Caller) -> Result<Answer, Problem> {
    let (user_id, email, role, project_id, instances) = match caller {
        Caller::Person(person) => {
            let instances = match person.role {
                Role::User => json!(person.instances),
                Role::Admin | Role::Superadmin => {
                    let sql = "SELECT instance_id FROM instances WHERE org_id = ?1 ORDER BY instance_id";
                    let outcome = host.query(sql, vec![(&person.org_id).into()]).await?;
                    outcome
                        .rows
                        .iter()
                        .map(|row| Value::from(row.text("instance_id")))
                        .collect()
                }
            };
            (Some(&person.user_id), Some(&person.email), person.role, None, instances)
        }
        Caller::Project(project) => (
            None,
            None,
            Role::User,
            Some(&project.project_id),
            json!([project.instance_id]),
        ),
        Caller::Service => return Err(Problem::forbidden()),
    };
    Ok(Answer::ok(json!({
        "user_id": user_id,
        "email": email,
        "role": role.name(),
        "org_id": caller.org_id(),
        "project_id": project_id,
        "instances": instances,
        "permissions": caller.permissions(),
        "key_id": caller.key_id(),
    })))
}
