//! Names of things: identifiers of the contract's one grammar, and UUIDs.

use sha2::{Digest as _, Sha256};

use crate::ports::Entropy;

/// `^[a-z0-9][a-z0-9-]{0,62}$`
#[must_use]
pub fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    (1..=63).contains(&text.len())
        && bytes
            .next()
            .is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// `^[a-z0-9][a-z0-9_-]{0,31}$`, of providers and worker types.
#[must_use]
pub fn is_provider(text: &str) -> bool {
    let mut bytes = text.bytes();
    (1..=32).contains(&text.len())
        && bytes
            .next()
            .is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_')
}

/// Eight, four, four, four and twelve hexadecimal digits, of either case.
#[must_use]
pub fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// A random UUID, version 4.
#[must_use]
pub fn uuid(entropy: &impl Entropy) -> String {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hexadecimal(&bytes);
    format!(
        "{}-{}-{}-{}-{}",
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..]
    )
}

/// SHA-256, in lower-case hexadecimal digits.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal digits, two for each byte.
#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_one_grammar() {
        for good in ["a", "0", "production", "a-", "a--b", &"x".repeat(63)] {
            assert!(is_identifier(good), "{good}");
        }
        for bad in ["", "-a", "A", "a_b", "a.b", "é", "a b", &"x".repeat(64)] {
            assert!(!is_identifier(bad), "{bad}");
        }
        assert!(is_provider("open_ai-2") && !is_provider("_a") && !is_provider("-a") && !is_provider("Ideogram"));
        assert!(is_provider(&"p".repeat(32)) && !is_provider(&"p".repeat(33)) && !is_provider(""));
    }

    #[test]
    fn uuids_are_version_four() {
        struct Fixed(u8);
        impl Entropy for Fixed {
            fn fill(&self, bytes: &mut [u8]) {
                bytes.fill(self.0);
            }
        }
        assert_eq!(uuid(&Fixed(0xff)), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid(&Fixed(0)), "00000000-0000-4000-8000-000000000000");
        assert!(is_uuid(&uuid(&Fixed(7))) && is_uuid("FFFFFFFF-ffff-4fff-bfff-ffffffffffff"));
        assert!(!is_uuid("ffffffff-ffff-4fff-bfff-fffffffffff") && !is_uuid("fffffffff-fff-4fff-bfff-ffffffffffff"));
        assert!(!is_uuid("gfffffff-ffff-4fff-bfff-ffffffffffff"));
    }
}
