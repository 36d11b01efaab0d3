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
}

/// Relative to the input price.
const CACHE_READ: f64 = 0.1;
const CACHE_WRITE_SHORT: f64 = 1.25;
const CACHE_WRITE_LONG: f64 = 2.0;

const DEAREST: Price = Price {
    input: 15.0,
    output: 75.0,
};

/// The first part that occurs in the model's name decides.
const PRICES: [(&str, Price); 8] = [
    ("3-opus", DEAREST),
    ("opus-4-0", DEAREST),
    ("opus-4-1", DEAREST),
    ("opus-4-2025", DEAREST),
    (
        "opus",
        Price {
            input: 5.0,
            output: 25.0,
        },
    ),
    (
        "sonnet",
        Price {
            input: 3.0,
            output: 15.0,
        },
    ),
    (
        "3-5-haiku",
        Price {
            input: 0.8,
            output: 4.0,
        },
    ),
    (
        "haiku",
        Price {
            input: 1.0,
            output: 5.0,
        },
    ),
];

/// What these tokens of this model cost, about.
pub fn estimated_cost(model: &str, tokens: &Tokens) -> MicroDollars {
    let price = PRICES
        .iter()
        .find(|(part, _)| model.contains(part))
        .map_or(&DEAREST, |(_, price)| price);
    let input = tokens.input as f64
        + tokens.cache_read as f64 * CACHE_READ
        + tokens.cache_write_short as f64 * CACHE_WRITE_SHORT
        + tokens.cache_write_long as f64 * CACHE_WRITE_LONG;
    MicroDollars::from_dollars((input * price.input + tokens.output as f64 * price.output) / 1e6)
}
