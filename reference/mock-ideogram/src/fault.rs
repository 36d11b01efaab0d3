//! What can be made to go wrong, and how it is ordered: by a script for the next requests, or by words in a prompt.

use serde::{Deserialize, Serialize};

use crate::picture::Encoding;

/// Which kind of request a fault waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Ordering an image.
    Order,
    /// Asking how an order stands.
    Ask,
    /// Fetching the image.
    Image,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The answer takes so long.
    Slow(u64),
    /// 429, with so many seconds to wait, if any are named.
    Busy(Option<u64>),
    /// This status.
    Status(u16),
    /// No answer ever.
    Hang,
    /// The connection breaks in the middle of the body.
    Drop,
    /// The body is cut off, although the answer claims to be whole.
    Malformed,
    /// The image is not safe: 200 without a link.
    Unsafe,
    /// The image is not safe: 200 with a link that leads nowhere.
    UnsafeLink,
    /// The order fails later on, for this reason.
    Failed(String),
    /// The order is pending so many times.
    Pending(u32),
    /// The order is pending for ever.
    Never,
    /// The image has at least so many bytes.
    Weighs(usize),
    /// What is fetched is no image.
    NotAnImage,
    /// The image is encoded like this and not square, and only its own bytes say how large it is.
    Encoded(Encoding),
}

/// A fault in a script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Which requests it waits for.
    pub place: Place,
    /// What goes wrong with them.
    pub fault: Fault,
    /// How many times.
    pub times: u32,
}

impl Plan {
    /// A fault for the next request of its kind.
    #[must_use]
    pub fn once(place: Place, fault: Fault) -> Self {
        Self { place, fault, times: 1 }
    }
}

/// The plans in a prompt: `[[hang]]`, `[[busy*2]]`, `[[status-500*3]]`, `[[slow-1500]]`, `[[pending-4]]`, `[[ask-busy]]`, `[[image-status-404]]` and so on.
/// They count for each prompt of its own. Without a number they hold for ever.
pub(crate) fn in_prompt(prompt: &str) -> Vec<Plan> {
    let mut plans = Vec::new();
    for part in prompt.split("[[").skip(1) {
        let Some((text, _)) = part.split_once("]]") else {
            continue;
        };
        let (name, times) = match text.split_once('*') {
            Some((name, times)) => (name, times.parse().unwrap_or(1)),
            None => (text, u32::MAX),
        };
        let (place, name) = match name.split_once('-') {
            Some(("ask", rest)) => (Place::Ask, rest),
            Some(("image", rest)) => (Place::Image, rest),
            _ => (Place::Order, name),
        };
        if let Some(fault) = named(name) {
            plans.push(Plan { place, fault, times });
        }
    }
    plans
}

/// More bytes than anybody should take as an image.
const HUGE_BYTES: usize = 21 * 1024 * 1024;

fn named(name: &str) -> Option<Fault> {
    let (word, argument) = name
        .split_once('-')
        .map_or((name, None), |(word, argument)| (word, Some(argument)));
    Some(match (word, argument) {
        ("slow", Some(duration_ms)) => Fault::Slow(duration_ms.parse().ok()?),
        ("busy", None) => Fault::Busy(None),
        ("busy", Some(seconds)) => Fault::Busy(Some(seconds.parse().ok()?)),
        ("status", Some(status)) => Fault::Status(status.parse().ok()?),
        ("hang", None) => Fault::Hang,
        ("drop", None) => Fault::Drop,
        ("malformed", None) => Fault::Malformed,
        ("unsafe", None) => Fault::Unsafe,
        ("unsafe", Some("link")) => Fault::UnsafeLink,
        ("failed", reason) => Fault::Failed(reason.unwrap_or("internal_error").to_owned()),
        ("pending", Some(times)) => Fault::Pending(times.parse().ok()?),
        ("never", None) => Fault::Never,
        ("huge", None) => Fault::Weighs(HUGE_BYTES),
        ("weighs", Some(bytes)) => Fault::Weighs(bytes.parse().ok()?),
        ("nonsense", None) => Fault::NotAnImage,
        ("png", None) => Fault::Encoded(Encoding::Png),
        ("jpeg", None) => Fault::Encoded(Encoding::Jpeg),
        ("webp", None) => Fault::Encoded(Encoding::Lossy),
        ("webp", Some("lossless")) => Fault::Encoded(Encoding::Lossless),
        ("webp", Some("extended")) => Fault::Encoded(Encoding::Extended),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_order_faults() {
        let plan = |place, fault, times| Plan { place, fault, times };
        assert_eq!(
            in_prompt("a cat [[busy*2]] and [[image-status-404]] [[ask-slow-10*1]] [[failed-safety]] [[what]] [[open"),
            [
                plan(Place::Order, Fault::Busy(None), 2),
                plan(Place::Image, Fault::Status(404), u32::MAX),
                plan(Place::Ask, Fault::Slow(10), 1),
                plan(Place::Order, Fault::Failed("safety".to_owned()), u32::MAX),
            ]
        );
    }
}
