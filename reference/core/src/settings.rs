//! Variables and secret bindings, as they come from outside: nothing is checked before it is used.

/// All of them. `Debug` is left out on purpose: these are secrets.
#[derive(Clone, Default)]
pub struct Settings {
    /// `SERVICE_TOKEN`: what our own Workers show each other.
    pub service_token: Option<String>,
    /// `PROVIDER_KEY_ENCRYPTION_KEYS`: `<key id>:<32 bytes in base64>`, separated by commas.
    pub provider_key_encryption_keys: Option<String>,
    /// `CACHE_ENCRYPTION_KEY`: 32 bytes in base64.
    pub cache_encryption_key: Option<String>,
    /// `ALLOWED_ORIGINS`: separated by commas.
    pub allowed_origins: Option<String>,
    /// `IMAGE_BASE_URL`: where images are served; empty: by the Worker itself.
    pub image_base_url: Option<String>,
    /// `LOG_LEVEL`: entries below it are not kept.
    pub log_level: Option<String>,
    /// `GENERATION_TIMEOUT_MS`: what a whole request may take.
    pub generation_timeout_ms: Option<u64>,
    /// Where the provider is reached; only tests have another than the real one.
    pub ideogram_base_url: Option<String>,
}
