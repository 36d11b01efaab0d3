//! When a call is made again: how often, and after what pause.

use crate::ports::Entropy;

/// Calls in all.
pub const TRIES_MAX: u32 = 3;
/// The first pause is shorter than this; each further bound is twice the one before.
const FIRST_PAUSE_MS: u64 = 250;

/// The pause after this many tries that failed: anything between nothing and the bound, so that callers who failed together do not come back
/// together. Who asks to be left alone for a time gets it.
#[must_use]
pub fn pause_ms(tries: u32, asked_ms: Option<u64>, entropy: &impl Entropy) -> u64 {
    asked_ms.unwrap_or_else(|| {
        let bound_ms = FIRST_PAUSE_MS << tries.saturating_sub(1).min(16);
        let mut bytes = [0; 8];
        entropy.fill(&mut bytes);
        // 64 random bits over a bound this small: no number comes noticeably more often than another.
        u64::from_le_bytes(bytes) % (bound_ms + 1)
    })
}

/// What `Retry-After` asks for: whole seconds. Dates are not understood, and so not respected.
#[must_use]
pub fn asked_ms(retry_after: Option<&str>) -> Option<u64> {
    retry_after?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|seconds| seconds.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Fixed(u64);
    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.copy_from_slice(&self.0.to_le_bytes()[..bytes.len()]);
        }
    }

    #[test]
    fn who_asks_for_a_time_gets_it() {
        assert_eq!(pause_ms(1, asked_ms(Some(" 7 ")), &Fixed(3)), 7000);
        assert_eq!(asked_ms(Some("soon")), None);
        assert_eq!(asked_ms(Some("-1")), None);
        assert_eq!(asked_ms(None), None);
    }

    #[test]
    fn both_ends_of_the_bound_are_reached() {
        assert_eq!(
            (pause_ms(1, None, &Fixed(250)), pause_ms(1, None, &Fixed(251))),
            (250, 0)
        );
        assert_eq!(
            (pause_ms(2, None, &Fixed(500)), pause_ms(2, None, &Fixed(501))),
            (500, 0)
        );
    }

    proptest! {
        #[test]
        fn pauses_stay_below_a_bound_that_doubles(tries in 1u32..10, chance in any::<u64>()) {
            prop_assert!(pause_ms(tries, None, &Fixed(chance)) <= 250 << (tries - 1));
        }
    }
}
