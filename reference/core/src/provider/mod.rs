//! Providers: which models there are, and what a provider's answer means for us.

pub mod ideogram;
pub mod picture;

use crate::http::Response;
use crate::ports::OutboundRequest;

/// The provider that is meant when neither it nor a model is named.
pub const DEFAULT: &str = "ideogram";

/// A model that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    /// As callers name it.
    pub name: &'static str,
    /// Whose it is.
    pub provider: &'static str,
    /// What an image costs, if the provider does not say.
    pub price_microdollars: i64,
}

/// All models; of each provider its default first.
pub const MODELS: [Model; 4] = [
    Model {
        name: "ideogram-4-5",
        provider: "ideogram",
        price_microdollars: 60_000,
    },
    Model {
        name: "ideogram-v4",
        provider: "ideogram",
        price_microdollars: 60_000,
    },
    Model {
        name: "ideogram-v3",
        provider: "ideogram",
        price_microdollars: 60_000,
    },
    Model {
        name: "ideogram-v2",
        provider: "ideogram",
        price_microdollars: 80_000,
    },
];

/// The model that is meant by what was named.
#[must_use]
pub fn model(name: Option<&str>, provider: Option<&str>) -> Option<&'static Model> {
    let provider = match (name, provider) {
        (_, Some(provider)) => Some(provider),
        (Some(_), None) => None,
        (None, None) => Some(DEFAULT),
    };
    MODELS.iter().find(|model| {
        name.is_none_or(|name| name == model.name) && provider.is_none_or(|provider| provider == model.provider)
    })
}

/// A finished image at the provider's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Where it can be fetched, for a while.
    pub url: String,
    /// `1024x1024`, if the provider said so.
    pub dimensions: Option<String>,
    /// What the provider says that it cost.
    pub cost_microdollars: Option<i64>,
}

/// What a provider's answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The image is there.
    Finished(Finished),
    /// It works on it, under this name.
    Pending(String),
    /// It refuses the prompt or the image for safety. The same would happen again.
    Unsafe,
    /// It refuses otherwise. The same would happen again.
    Refused,
    /// It has too much to do; perhaps it says for how long.
    Busy(Option<u64>),
    /// It is broken, or makes no sense; perhaps it says for how long.
    Broken(Option<u64>),
}

impl Meaning {
    /// Whether the circuit counts it as a failure.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Broken(_))
    }
}

/// What a call needs besides the model.
#[derive(Clone, Copy)]
pub struct Call<'call> {
    /// The secret of the instance.
    pub api_key: &'call str,
    /// Where the provider is reached.
    pub base_url: &'call str,
}

/// The request that orders an image.
#[must_use]
pub fn order(model: &Model, prompt: &str, call: Call<'_>, boundary: &str) -> OutboundRequest {
    ideogram::order(model, prompt, call, boundary)
}

/// The request that asks how an order stands.
#[must_use]
pub fn ask(model: &Model, generation: &str, call: Call<'_>) -> OutboundRequest {
    ideogram::ask(model, generation, call)
}

/// What the answer to either means.
#[must_use]
pub fn understand(response: &Response) -> Meaning {
    ideogram::understand(response)
}

#[cfg(test)]
mod tests {
    use super::model;

    #[test]
    fn models_and_providers_must_go_together() {
        let named = |name, provider| model(name, provider).map(|model| model.name);
        assert_eq!(named(None, None), Some("ideogram-4-5"));
        assert_eq!(named(None, Some("ideogram")), Some("ideogram-4-5"));
        assert_eq!(named(Some("ideogram-v2"), None), Some("ideogram-v2"));
        assert_eq!(named(Some("ideogram-v3"), Some("ideogram")), Some("ideogram-v3"));
        assert_eq!(named(Some("ideogram-v9"), None), None);
        assert_eq!(named(None, Some("nobody")), None);
        assert_eq!(named(Some("ideogram-v3"), Some("nobody")), None);
    }
}
