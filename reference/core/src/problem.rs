//! What goes wrong, as callers see it: a code for programs, a sentence for people, nothing about the inside.

use serde_json::{Map, Value, json};

use crate::http::{Answer, Headers};
use crate::ports::DatabaseError;

/// The codes of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// 400: the request itself is wrong.
    ValidationFailed,
    /// 401: who is it?
    AuthFailed,
    /// 403: known, but not allowed.
    Forbidden,
    /// 404: no such path or resource.
    NotFound,
    /// 405: not with this method.
    MethodNotAllowed,
    /// 409: taken, or not in this state.
    Conflict,
    /// 413: the body is too large.
    PayloadTooLarge,
    /// 416: the image has no such bytes. Programs see the code of a wrong request.
    RangeNotSatisfiable,
    /// 422: refused by the provider's safety rules.
    ProviderRejected,
    /// 429: a limit is reached.
    RateLimited,
    /// 500: a fault of ours.
    InternalError,
    /// 502: a fault of the provider.
    ProviderError,
    /// 503: there is no configuration to be had.
    ConfigUnavailable,
    /// 504: not ready in time.
    ProviderTimeout,
}

impl Code {
    /// The status that goes with the code.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::ValidationFailed => 400,
            Self::AuthFailed => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Conflict => 409,
            Self::PayloadTooLarge => 413,
            Self::RangeNotSatisfiable => 416,
            Self::ProviderRejected => 422,
            Self::RateLimited => 429,
            Self::InternalError => 500,
            Self::ProviderError => 502,
            Self::ConfigUnavailable => 503,
            Self::ProviderTimeout => 504,
        }
    }

    /// The code as programs see it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ValidationFailed | Self::RangeNotSatisfiable => "VALIDATION_FAILED",
            Self::AuthFailed => "AUTH_FAILED",
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Self::Conflict => "CONFLICT",
            Self::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
            Self::ProviderRejected => "PROVIDER_REJECTED",
            Self::RateLimited => "RATE_LIMITED",
            Self::InternalError => "INTERNAL_ERROR",
            Self::ProviderError => "PROVIDER_ERROR",
            Self::ConfigUnavailable => "CONFIG_UNAVAILABLE",
            Self::ProviderTimeout => "PROVIDER_TIMEOUT",
        }
    }
}

/// A refusal or a failure, on its way to the caller.
#[derive(Clone, Debug)]
pub struct Problem {
    /// What programs go by.
    pub code: Code,
    /// What people read.
    pub message: String,
    /// Header fields that belong to it, such as `Retry-After`.
    pub headers: Headers,
    /// Fields beyond the three; only a timeout has any.
    pub fields: Map<String, Value>,
}

impl Problem {
    /// A problem with nothing beyond code and message.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            headers: Headers::new(),
            fields: Map::new(),
        }
    }

    /// 400.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::ValidationFailed, message)
    }

    /// 401, with the scheme that is asked for.
    #[must_use]
    pub fn unauthenticated(message: &str) -> Self {
        Self::new(Code::AuthFailed, message).with_header("www-authenticate", "Bearer")
    }

    /// 403.
    #[must_use]
    pub fn forbidden() -> Self {
        Self::new(Code::Forbidden, "this credential does not allow that")
    }

    /// 404.
    #[must_use]
    pub fn missing(what: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no such {what}"))
    }

    /// 409.
    #[must_use]
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Code::Conflict, message)
    }

    /// 500. What happened inside is the host's to know, not the caller's.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(Code::InternalError, "something went wrong on our side")
    }

    /// The same with a header field.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.set(name, value);
        self
    }

    /// The same with the seconds after which it is worth trying again: at least one.
    #[must_use]
    pub fn retry_after_ms(self, wait_ms: u64) -> Self {
        let seconds = wait_ms.div_ceil(1000).max(1);
        self.with_header("retry-after", seconds.to_string())
    }

    /// The answer in which it reaches the caller.
    #[must_use]
    pub fn into_answer(self) -> Answer {
        let mut answer = Answer::ok(json!({ "error": self.message, "code": self.code.name() }));
        answer.status = self.code.status();
        answer.headers = self.headers;
        answer.fields.extend(self.fields);
        answer
    }
}

impl From<DatabaseError> for Problem {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Unique => Self::conflict("that identifier, name or email is taken"),
            DatabaseError::Reference => {
                Self::conflict("something else still refers to it, or what it refers to is gone")
            }
            DatabaseError::Failed(_) => Self::internal(),
        }
    }
}
