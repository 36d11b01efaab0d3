//! Randomness: of the operating system, or of a seed so that a run can be repeated.

use std::cell::Cell;

/// Where random bytes come from.
pub(crate) enum Chance {
    /// The operating system.
    System,
    /// A sequence that the seed decides. Good for tests, never for keys that anybody relies on.
    Seeded(Cell<u64>),
}

impl Chance {
    pub(crate) fn fill(&self, bytes: &mut [u8]) {
        match self {
            Self::System => {
                #[expect(
                    clippy::expect_used,
                    reason = "without randomness no key may be made, and nothing else helps"
                )]
                getrandom::fill(bytes).expect("the operating system has random bytes");
            }
            Self::Seeded(state) => {
                for chunk in bytes.chunks_mut(8) {
                    chunk.copy_from_slice(&next(state).to_le_bytes()[..chunk.len()]);
                }
            }
        }
    }

    /// Another seed from now on; the operating system has none.
    pub(crate) fn reseed(&self, seed: u64) {
        if let Self::Seeded(state) = self {
            state.set(seed);
        }
    }

    /// A number below the bound.
    pub(crate) fn below(&self, bound: usize) -> usize {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        u32::from_le_bytes(bytes) as usize % bound.max(1)
    }
}

/// SplitMix64.
fn next(state: &Cell<u64>) -> u64 {
    let seed = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    state.set(seed);
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
