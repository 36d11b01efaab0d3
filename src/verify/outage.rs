//! What a check lets fail, in the reference and in what is examined: a store, a secret, the other Worker.

use reference_core::ports::ObjectKind;
use reference_core::settings::Settings;
use reference_native::{ConfigService, Faults};
use serde_json::{Value, json};

/// What fails because a check wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// The database answers neither Worker.
    Database,
    /// This secret of both Workers has another value, or none.
    Secret(Secret, Option<&'static str>),
    /// Images can neither be stored nor read.
    Images,
    /// KV can neither be read nor written.
    Cache,
    /// The windows of limits cannot be reached.
    Limiter,
    /// Circuits cannot be reached.
    Breaker,
    /// The buffer of the log cannot be reached.
    Log,
    /// Jobs cannot be reached.
    Jobs,
    /// There is no connection to the Config Service.
    ConfigDown,
    /// The Config Service never answers.
    ConfigHangs,
    /// The Config Service answers with this status.
    ConfigStatus(u16),
}

/// A secret or variable that a check may take away or spoil.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret {
    /// What our own Workers show each other.
    ServiceToken,
    /// What provider keys are stored under.
    ProviderKeys,
    /// What cached configurations are kept under.
    Cache,
    /// How much of the log is kept.
    LogLevel,
}

impl Secret {
    fn name(self) -> &'static str {
        match self {
            Self::ServiceToken => "SERVICE_TOKEN",
            Self::ProviderKeys => "PROVIDER_KEY_ENCRYPTION_KEYS",
            Self::Cache => "CACHE_ENCRYPTION_KEY",
            Self::LogLevel => "LOG_LEVEL",
        }
    }

    /// Its place among the settings.
    pub(super) fn of(self, settings: &mut Settings) -> &mut Option<String> {
        match self {
            Self::ServiceToken => &mut settings.service_token,
            Self::ProviderKeys => &mut settings.provider_key_encryption_keys,
            Self::Cache => &mut settings.cache_encryption_key,
            Self::LogLevel => &mut settings.log_level,
        }
    }
}

impl Outage {
    /// Whether the Config Service meets it as well.
    pub(super) fn is_of_both(self) -> bool {
        matches!(self, Self::Database | Self::Secret(..))
    }

    /// The binding, and what becomes of it.
    pub(super) fn binding(self) -> (&'static str, Value) {
        let rejects = |name| (name, json!("reject"));
        match self {
            Self::Database => rejects("DB"),
            Self::Secret(secret, value) => (secret.name(), json!({ "value": value })),
            Self::Images => rejects("IMAGES"),
            Self::Cache => rejects("CONFIG_CACHE"),
            Self::Limiter => rejects("RATE_LIMITER"),
            Self::Breaker => rejects("CIRCUIT_BREAKER"),
            Self::Log => rejects("LOG_BUFFER"),
            Self::Jobs => rejects("JOBS"),
            Self::ConfigDown => rejects("CONFIG_SERVICE"),
            Self::ConfigHangs => ("CONFIG_SERVICE", json!("hang")),
            Self::ConfigStatus(status) => ("CONFIG_SERVICE", json!(status)),
        }
    }

    /// The same for the reference in process.
    pub(super) fn fault(self) -> Faults {
        let objects = |objects_down: &[ObjectKind]| Faults {
            objects_down: objects_down.to_vec(),
            ..Faults::default()
        };
        let config = |config_service| Faults {
            config_service,
            ..Faults::default()
        };
        match self {
            Self::Secret(..) => Faults::default(),
            Self::Database => Faults {
                is_database_down: true,
                ..Faults::default()
            },
            Self::Images => Faults {
                are_blobs_down: true,
                ..Faults::default()
            },
            Self::Cache => Faults {
                is_kv_down: true,
                ..Faults::default()
            },
            Self::Limiter => objects(&[ObjectKind::RateLimiter]),
            Self::Breaker => objects(&[ObjectKind::CircuitBreaker]),
            Self::Log => objects(&[ObjectKind::LogBuffer]),
            Self::Jobs => objects(&[ObjectKind::Job, ObjectKind::Answer]),
            Self::ConfigDown => config(ConfigService::Down),
            Self::ConfigHangs => config(ConfigService::Hangs),
            Self::ConfigStatus(status) => config(ConfigService::Status(status)),
        }
    }
}
