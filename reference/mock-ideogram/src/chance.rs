//! Chance that a seed decides: the mock's moods can be repeated.

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The chance of one text only: what else happens, and in which order, changes nothing of it.
    pub(crate) fn of(seed: u64, text: &str) -> Self {
        let mut chance = Self(seed);
        for byte in text.bytes() {
            chance.0 = chance.next() ^ u64::from(byte);
        }
        chance
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_has_a_chance_of_its_own() {
        let first = |seed, text| Chance::of(seed, text).next();
        assert_eq!(first(1, "a fox"), first(1, "a fox"));
        assert_ne!(first(1, "a fox"), first(1, "a box"));
        assert_ne!(first(1, "ab"), first(1, "ba"));
        assert_ne!(first(1, "a fox"), first(2, "a fox"));
    }
}
