//! Platform keys: `mas_`, 43 random characters, and six of checksum, so that a mistyped key is refused without asking anybody.

use crate::id::digest;
use crate::ports::Entropy;

const PREFIX: &str = "mas_";
const RANDOM_CHARACTERS: usize = 43;
const CHECKSUM_CHARACTERS: usize = 6;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A fresh key.
#[must_use]
pub fn generate(entropy: &impl Entropy) -> String {
    let mut key = PREFIX.to_owned();
    let mut byte = [0];
    while key.len() < PREFIX.len() + RANDOM_CHARACTERS {
        entropy.fill(&mut byte);
        // 248 is the largest multiple of 62 in a byte: above it, some characters would come more often than others.
        if byte[0] < 248 {
            key.push(char::from(DIGITS[usize::from(byte[0] % 62)]));
        }
    }
    let checksum = checksum(&key);
    key + &checksum
}

/// Whether it has the form of a key and its checksum holds.
#[must_use]
pub fn is_well_formed(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(PREFIX) else {
        return false;
    };
    rest.len() == RANDOM_CHARACTERS + CHECKSUM_CHARACTERS && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) && {
        let (key, claimed) = text.split_at(PREFIX.len() + RANDOM_CHARACTERS);
        checksum(key) == claimed
    }
}

/// What is stored of a key: lower-case hexadecimal SHA-256.
#[must_use]
pub fn hash(key: &str) -> String {
    digest(key.as_bytes())
}

/// What people recognise a key by.
#[must_use]
pub fn prefix(key: &str) -> &str {
    key.get(..12).unwrap_or(key)
}

/// CRC-32 in base 62, most significant digit first.
fn checksum(key: &str) -> String {
    let mut rest = crc32fast::hash(key.as_bytes());
    let mut digits = [b'0'; CHECKSUM_CHARACTERS];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(rest % 62) as usize];
        rest /= 62;
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;

    /// Counts upwards, so that every byte comes.
    struct Counting(Cell<u8>);
    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            for byte in bytes {
                self.0.set(self.0.get().wrapping_add(1));
                *byte = self.0.get();
            }
        }
    }

    #[test]
    fn the_example_of_the_contract_has_its_checksum() {
        let key = format!("mas_{}", "0".repeat(43));
        assert_eq!(checksum(&key), "1yhBtb");
        assert!(is_well_formed(&format!("{key}1yhBtb")));
    }

    #[test]
    fn the_hash_is_of_the_whole_key() {
        assert_eq!(
            hash("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(prefix("mas_0123456789"), "mas_01234567");
    }

    #[test]
    fn bytes_that_would_bias_a_key_are_left_out() {
        let entropy = Counting(Cell::new(246));
        // 247 is the last byte that counts, 248 to 255 do not, then 0 follows.
        assert!(generate(&entropy).starts_with("mas_z012"));
    }

    proptest! {
        #[test]
        fn a_generated_key_is_well_formed_and_one_wrong_character_is_noticed(start in any::<u8>(), place in 0usize..53, to in 0usize..62) {
            let key = generate(&Counting(Cell::new(start)));
            prop_assert_eq!(key.len(), 53);
            prop_assert!(is_well_formed(&key));
            let mut bytes = key.clone().into_bytes();
            bytes[place] = DIGITS[to];
            let changed = String::from_utf8(bytes).unwrap_or_default();
            prop_assert_eq!(is_well_formed(&changed), changed == key);
        }

        #[test]
        fn other_texts_are_no_keys(text in "\\PC{0,60}") {
            prop_assert!(!is_well_formed(&text));
        }
    }
}
