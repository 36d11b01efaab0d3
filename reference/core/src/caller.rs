//! Who calls, and what that allows. The rules are those of architecture.md section 5.

use serde_json::{Value, json};

use crate::http::Request;
use crate::key;
use crate::ports::{Clock, Database, Row};
use crate::problem::Problem;
use crate::secret;
use crate::time::{self, MINUTE_MS};

/// The kinds of callers that routes tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A person who uses instances.
    User,
    /// A person who runs an organisation.
    Admin,
    /// A person who runs all of it.
    Superadmin,
    /// A project's key.
    Project,
    /// One of our own Workers.
    Service,
}

/// A caller who has shown a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// By a key of a person.
    Person(Person),
    /// By a key of a project.
    Project(ProjectCaller),
    /// By the service token.
    Service,
}

/// A person, as the database knows it at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Who it is.
    pub user_id: String,
    /// In lower case.
    pub email: String,
    /// What it may do.
    pub role: Role,
    /// Where it belongs.
    pub org_id: String,
    /// The instances that it has been given, sorted.
    pub instances: Vec<String>,
    /// The key that was shown.
    pub key_id: String,
}

/// A project, as the database knows it at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectCaller {
    /// Which project.
    pub project_id: String,
    /// Its instance.
    pub instance_id: String,
    /// Its instance's organisation.
    pub org_id: String,
    /// The key that was shown.
    pub key_id: String,
}

/// The role of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Uses instances.
    User,
    /// Runs an organisation.
    Admin,
    /// Runs all of it.
    Superadmin,
}

impl Role {
    /// The role of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "user" => Some(Self::User),
            "admin" => Some(Self::Admin),
            "superadmin" => Some(Self::Superadmin),
            _ => None,
        }
    }

    /// The role's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
            Self::Superadmin => "superadmin",
        }
    }
}

impl Caller {
    /// Which kind of caller it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Person(person) => match person.role {
                Role::User => Kind::User,
                Role::Admin => Kind::Admin,
                Role::Superadmin => Kind::Superadmin,
            },
            Self::Project(_) => Kind::Project,
            Self::Service => Kind::Service,
        }
    }

    /// The person's id, if it is one.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        match self {
            Self::Person(person) => Some(&person.user_id),
            Self::Project(_) | Self::Service => None,
        }
    }

    /// The id of the key that was shown; the service token has none.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        match self {
            Self::Person(person) => Some(&person.key_id),
            Self::Project(project) => Some(&project.key_id),
            Self::Service => None,
        }
    }

    /// The organisation that it belongs to.
    #[must_use]
    pub fn org_id(&self) -> Option<&str> {
        match self {
            Self::Person(person) => Some(&person.org_id),
            Self::Project(project) => Some(&project.org_id),
            Self::Service => None,
        }
    }

    /// Whether it runs this organisation.
    #[must_use]
    pub fn manages(&self, org_id: &str) -> bool {
        match self {
            Self::Person(person) => match person.role {
                Role::User => false,
                Role::Admin => person.org_id == org_id,
                Role::Superadmin => true,
            },
            Self::Project(_) | Self::Service => false,
        }
    }

    /// Whether it may read this instance.
    #[must_use]
    pub fn reads_instance(&self, instance_id: &str, org_id: &str) -> bool {
        match self {
            Self::Person(person) => match person.role {
                Role::User => person.instances.iter().any(|own| own == instance_id),
                Role::Admin | Role::Superadmin => self.manages(org_id),
            },
            Self::Project(project) => project.instance_id == instance_id,
            Self::Service => true,
        }
    }

    /// Whether it may read this project.
    #[must_use]
    pub fn reads_project(&self, project_id: &str, instance_id: &str, org_id: &str) -> bool {
        match self {
            Self::Project(project) => project.project_id == project_id,
            Self::Person(_) | Self::Service => self.reads_instance(instance_id, org_id),
        }
    }

    /// Whether it may generate images with this instance.
    #[must_use]
    pub fn generates_with(&self, instance_id: &str, org_id: &str) -> bool {
        match self {
            Self::Person(_) | Self::Project(_) => self.reads_instance(instance_id, org_id),
            Self::Service => false,
        }
    }

    /// What `GET /me` lists, sorted.
    #[must_use]
    pub fn permissions(&self) -> Value {
        let user = [
            "image:generate",
            "instance:read",
            "key:write",
            "project:read",
            "user:read",
        ];
        let admin = [
            "access:write",
            "instance:write",
            "organization:read",
            "organization:write",
            "project:write",
            "user:write",
        ];
        let mut permissions = match self.kind() {
            Kind::User => user.to_vec(),
            Kind::Admin => [&user[..], &admin[..]].concat(),
            Kind::Superadmin => [&user[..], &admin[..], &["organization:create"]].concat(),
            Kind::Project => vec!["image:generate", "instance:read", "project:read"],
            Kind::Service => Vec::new(),
        };
        permissions.sort_unstable();
        json!(permissions)
    }
}

/// A caller, and when its key was last noted as used.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// Who it is.
    pub caller: Caller,
    /// Whether the key's time of last use is to be brought up to date after the answer.
    pub is_use_noted_late: bool,
}

/// The credential in the `Authorization` header: nothing if there is no such header.
#[must_use]
pub fn credential(request: &Request) -> Option<Result<&str, Problem>> {
    let header = request.headers.get("authorization")?;
    let credential = header.trim().split_once(' ').and_then(|(scheme, credential)| {
        let credential = credential.trim_start();
        let is_one_word = !credential.is_empty() && !credential.contains(char::is_whitespace);
        (scheme.eq_ignore_ascii_case("bearer") && is_one_word).then_some(credential)
    });
    Some(credential.ok_or_else(|| Problem::unauthenticated("the `Authorization` header must be `Bearer` and a key")))
}

/// Who shows this credential.
pub async fn authenticate(
    host: &(impl Database + Clock),
    credential: &str,
    service_token: Option<&str>,
) -> Result<Authenticated, Problem> {
    if secret::is_service_token(credential, service_token) {
        return Ok(Authenticated {
            caller: Caller::Service,
            is_use_noted_late: false,
        });
    }
    let unknown = || Problem::unauthenticated("that key is not known, or not valid any more");
    if !key::is_well_formed(credential) {
        return Err(unknown());
    }
    let outcome = host.query(FIND_KEY, vec![key::hash(credential).into()]).await?;
    let row = outcome.rows.first().ok_or_else(unknown)?;
    let now_ms = host.now_ms();
    let is_expired = row
        .optional("expires_at")
        .is_some_and(|expires_at| *expires_at <= *time::format(now_ms));
    if is_expired || row.optional("revoked_at").is_some() {
        return Err(unknown());
    }
    let late = time::format(now_ms.saturating_sub(MINUTE_MS));
    let is_use_noted_late = row
        .optional("last_used_at")
        .is_none_or(|last_used_at| *last_used_at <= *late);
    Ok(Authenticated {
        caller: caller_of(row).ok_or_else(Problem::internal)?,
        is_use_noted_late,
    })
}

const FIND_KEY: &str = "SELECT k.key_id, k.expires_at, k.revoked_at, k.last_used_at, u.user_id, u.email, u.role, u.org_id, \
    (SELECT json_group_array(instance_id) FROM (SELECT instance_id FROM user_instance_access WHERE user_id = u.user_id ORDER BY instance_id)) AS instances, \
    p.project_id, p.instance_id, i.org_id AS project_org_id \
    FROM api_keys k LEFT JOIN users u ON u.user_id = k.user_id LEFT JOIN projects p ON p.project_id = k.project_id \
    LEFT JOIN instances i ON i.instance_id = p.instance_id WHERE k.key_hash = ?1";

fn caller_of(row: &Row) -> Option<Caller> {
    let key_id = row.text("key_id").to_owned();
    if let Some(user_id) = row.optional("user_id") {
        return Some(Caller::Person(Person {
            user_id: user_id.to_owned(),
            email: row.text("email").to_owned(),
            role: Role::parse(row.text("role"))?,
            org_id: row.text("org_id").to_owned(),
            instances: serde_json::from_str(row.text("instances")).ok()?,
            key_id,
        }));
    }
    Some(Caller::Project(ProjectCaller {
        project_id: row.optional("project_id")?.to_owned(),
        instance_id: row.optional("instance_id")?.to_owned(),
        org_id: row.optional("project_org_id")?.to_owned(),
        key_id,
    }))
}

/// Brings a key's time of last use up to date, at most once a minute. It is done after the answer, so nobody hears of a failure.
pub async fn note_use(host: &(impl Database + Clock), authenticated: &Authenticated) {
    let (Some(key_id), true) = (authenticated.caller.key_id(), authenticated.is_use_noted_late) else {
        return;
    };
    let now_ms = host.now_ms();
    let parameters = vec![
        key_id.into(),
        time::format(now_ms).into(),
        time::format(now_ms.saturating_sub(MINUTE_MS)).into(),
    ];
    let sql =
        "UPDATE api_keys SET last_used_at = ?2 WHERE key_id = ?1 AND (last_used_at IS NULL OR last_used_at <= ?3)";
    // The key is as good as before; the next use notes it again.
    drop(host.query(sql, parameters).await);
}
