//! Everybody who may call: each role near and far, projects, our own Workers, and those who show what is no credential.

use reference_core::http::Request;
use reference_native::Service;
use reference_sequences::ROOT;
use serde_json::json;

use crate::verify::lab::{Lab, Outcome, Pair};

/// Somebody who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    Superadmin,
    Admin,
    User,
    Newcomer,
    OtherAdmin,
    OtherUser,
    Project,
    OtherProject,
    Worker,
    Nobody,
    Garbage,
    Revoked,
    Expired,
    Demoted,
    WithoutAccess,
}

impl Caller {
    pub(super) const ALL: [Self; 15] = [
        Self::Superadmin,
        Self::Admin,
        Self::User,
        Self::Newcomer,
        Self::OtherAdmin,
        Self::OtherUser,
        Self::Project,
        Self::OtherProject,
        Self::Worker,
        Self::Nobody,
        Self::Garbage,
        Self::Revoked,
        Self::Expired,
        Self::Demoted,
        Self::WithoutAccess,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Superadmin => "superadmin",
            Self::Admin => "admin",
            Self::User => "user",
            Self::Newcomer => "user-without-access",
            Self::OtherAdmin => "admin-of-another-organisation",
            Self::OtherUser => "user-of-another-organisation",
            Self::Project => "project-key",
            Self::OtherProject => "project-key-of-another-organisation",
            Self::Worker => "service-token",
            Self::Nobody => "no-credential",
            Self::Garbage => "garbage",
            Self::Revoked => "revoked-key",
            Self::Expired => "expired-key",
            Self::Demoted => "admin-who-became-user",
            Self::WithoutAccess => "user-who-lost-access",
        }
    }

    /// What the checks of this caller prove.
    pub(super) fn requirements(self) -> &'static [&'static str] {
        match self {
            Self::Superadmin => &[
                "ROLE-03", "ROLE-07", "ROLE-08", "AUTH-01", "INST-11", "ORG-02", "LOG-10", "AUTH-06",
            ],
            Self::Admin => &[
                "ROLE-02", "ROLE-07", "ROLE-08", "ROLE-09", "ROLE-10", "INST-11", "ORG-02", "LOG-10", "LOOK-04",
                "JOB-02", "AUTH-06", "API-11",
            ],
            Self::User => &[
                "ROLE-01", "ROLE-06", "ROLE-07", "ROLE-08", "ROLE-10", "INST-08", "INST-11", "LOOK-04", "JOB-02",
                "AUTH-06", "API-11",
            ],
            Self::Newcomer => &["ROLE-01", "ROLE-06", "LOOK-04", "JOB-02"],
            Self::OtherAdmin => &["ROLE-02", "ROLE-10", "ORG-02", "INST-11", "LOOK-04", "JOB-02", "LOG-10"],
            Self::OtherUser => &["ROLE-01", "ROLE-06", "ROLE-10", "INST-11"],
            Self::Project => &["ROLE-04", "ROLE-06", "INST-08", "JOB-02", "AUTH-06"],
            Self::OtherProject => &["ROLE-04", "ROLE-10"],
            Self::Worker => &["ROLE-05", "ROLE-06", "AUTH-09", "INST-05", "SEC-05"],
            Self::Nobody | Self::Garbage => &["AUTH-02", "AUTH-14", "API-11"],
            Self::Revoked | Self::Expired => &["AUTH-02"],
            Self::Demoted => &["ROLE-01", "ROLE-06", "CACHE-04"],
            Self::WithoutAccess => &["ROLE-01", "ACCESS-02", "CACHE-04"],
        }
    }

    /// What it shows; none if nothing.
    pub(super) async fn credential(self, lab: &mut Lab) -> Outcome<Option<Pair>> {
        let keys = lab.keys.clone();
        let known = |key: &str| Ok(Some(Pair::from(key)));
        match self {
            Self::Superadmin => known(&keys.root),
            Self::Admin => known(&keys.admin),
            Self::User => known(&keys.user),
            Self::Newcomer => known(&keys.newcomer),
            Self::OtherAdmin => known(&keys.other_admin),
            Self::OtherUser => known(&keys.other_user),
            Self::Worker => known(&keys.service),
            Self::Nobody => Ok(None),
            Self::Garbage => known("mas_0000000000000000000000000000000000000000000000000"),
            Self::Project => Ok(Some(made(lab, "/project/content-forge/key", json!({})).await?.1)),
            Self::OtherProject => Ok(Some(made(lab, "/project/far-away/key", json!({})).await?.1)),
            Self::Revoked => {
                let (id, key) = made(lab, &format!("/user/{ROOT}/key"), json!({})).await?;
                let revoke = |side| Request::new("DELETE", &format!("/key/{}", id.on(side))).bearer(&keys.root);
                lab.ask_each(Service::Config, revoke).await?.status(200)?;
                Ok(Some(key))
            }
            Self::Expired => {
                let expires_at = reference_core::time::format(lab.now_ms() + 60_000);
                let (_, key) = made(lab, &format!("/user/{ROOT}/key"), json!({ "expires_at": expires_at })).await?;
                lab.pass_ms(60_000).await?;
                Ok(Some(key))
            }
            Self::Demoted => {
                let path = format!("/user/{}", crate::verify::lab::ADMIN);
                let me = Request::new("GET", "/me").bearer(&keys.admin);
                lab.config(me).await?.status(200)?;
                let change = Request::new("PATCH", &path)
                    .bearer(&keys.root)
                    .json(&json!({ "role": "user" }));
                lab.config(change).await?.status(200)?;
                known(&keys.admin)
            }
            Self::WithoutAccess => {
                let path = format!("/instance/production/access/{}", reference_sequences::USER);
                let used = Request::new("GET", "/instance/production").bearer(&keys.user);
                lab.config(used).await?.status(200)?;
                let taken = Request::new("DELETE", &path).bearer(&keys.root);
                lab.config(taken).await?.status(200)?;
                known(&keys.user)
            }
        }
    }
}

/// A new key: its identifier, and itself.
pub(super) async fn made(lab: &mut Lab, path: &str, body: serde_json::Value) -> Outcome<(Pair, Pair)> {
    let request = Request::new("POST", path).bearer(&lab.keys.root).json(&body);
    let answers = lab.config(request).await?.status(201)?;
    Ok((answers.text("/key_id")?, answers.text("/key")?))
}
