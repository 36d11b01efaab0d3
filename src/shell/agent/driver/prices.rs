//! What tokens cost, as an estimate until the vendor's own figure arrives.
//!
//! A session that is killed never tells its price, and the fleet's budget must hold while sessions run. So the messages of the stream are priced with this
//! table; the result line's own figure replaces the estimate. An unknown model is priced like the dearest one: a budget that stops early is mended by a
//! number in the plan, money is not.

use crate::ids::MicroDollars;
use crate::shell::agent::stream::Tokens;

/// Dollars per million tokens, which is the same number as micro-dollars per token.
struct Price {
    input: f64,
    output: f64,
    cache_read: f64,
}

/// Writing to the cache costs this much more than sending.
const CACHE_WRITE_SHORT: f64 = 1.25;
const CACHE_WRITE_LONG: f64 = 2.0;

const DEAREST: Price = Price {
    input: 15.0,
    output: 75.0,
    cache_read: 1.5,
};

/// The first part that occurs in the model's name decides.
const PRICES: [(&str, Price); 11] = [
    (
        "opus-5",
        Price {
            input: 4.0,
            output: 20.0,
            cache_read: 0.2,
        },
    ),
    (
        "sonnet-5",
        Price {
            input: 2.0,
            output: 10.0,
            cache_read: 0.1,
        },
    ),
    (
        "haiku-5",
        Price {
            input: 0.1,
            output: 0.5,
            cache_read: 0.01,
        },
    ),
    ("3-opus", DEAREST),
    ("opus-4-0", DEAREST),
    ("opus-4-1", DEAREST),
    ("opus-4-2025", DEAREST),
    (
        "opus-4",
        Price {
            input: 5.0,
            output: 25.0,
            cache_read: 0.5,
        },
    ),
    (
        "sonnet",
        Price {
            input: 3.0,
            output: 15.0,
            cache_read: 0.3,
        },
    ),
    (
        "3-haiku",
        Price {
            input: 0.25,
            output: 1.25,
            cache_read: 0.03,
        },
    ),
    (
        "haiku",
        Price {
            input: 1.0,
            output: 5.0,
            cache_read: 0.1,
        },
    ),
];

/// What these tokens of this model cost, about.
pub fn estimated_cost(model: &str, tokens: &Tokens) -> MicroDollars {
    let price = PRICES
        .iter()
        .find(|(part, _)| model.contains(part))
        .map_or(&DEAREST, |(_, price)| price);
    let written =
        tokens.cache_write_short as f64 * CACHE_WRITE_SHORT + tokens.cache_write_long as f64 * CACHE_WRITE_LONG;
    let micro_dollars = (tokens.input as f64 + written) * price.input
        + tokens.output as f64 * price.output
        + tokens.cache_read as f64 * price.cache_read;
    MicroDollars::from_dollars(micro_dollars / 1e6)
}
