//! Secrets at rest: provider keys in the database, configurations in the cache, both under AES-256-GCM.

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use base64::{alphabet, engine::DecodePaddingMode};
use subtle::ConstantTimeEq as _;

use crate::ports::Entropy;
use crate::problem::Problem;

/// Bytes of an initialisation vector, which is random for every sealing.
const IV_BYTES: usize = 12;
/// The service token must be at least this long, or there is none.
const SERVICE_TOKEN_LENGTH_MIN: usize = 32;

/// Keys come in base64, with or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The keys that seal and open provider keys.
pub struct Keyring {
    keys: Vec<(String, Aes256Gcm)>,
}

impl Keyring {
    /// Reads `<key id>:<base64>,...`. Anything malformed is a fault of ours, and stops the request.
    pub fn parse(binding: Option<&str>) -> Result<Self, Problem> {
        let mut keys = Vec::new();
        for part in binding.ok_or_else(Problem::internal)?.split(',') {
            let (id, key) = part.trim().split_once(':').ok_or_else(Problem::internal)?;
            let is_id = !id.is_empty()
                && id
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
            if !is_id || keys.iter().any(|(other, _)| other == id) {
                return Err(Problem::internal());
            }
            keys.push((id.to_owned(), cipher(key)?));
        }
        Ok(Self { keys })
    }

    /// Seals a provider's key with the first key, for this instance and provider alone.
    pub fn seal(
        &self,
        instance_id: &str,
        provider: &str,
        secret: &str,
        entropy: &impl Entropy,
    ) -> Result<String, Problem> {
        let (id, cipher) = self.keys.first().ok_or_else(Problem::internal)?;
        let (iv, sealed) = encrypt(
            cipher,
            secret.as_bytes(),
            context(instance_id, provider).as_bytes(),
            entropy,
        )?;
        Ok(format!("v1.{id}.{iv}.{sealed}"))
    }

    /// Opens what `seal` made, with whichever key it names.
    pub fn open(&self, instance_id: &str, provider: &str, sealed: &str) -> Result<String, Problem> {
        let parts: Vec<&str> = sealed.split('.').collect();
        let ["v1", id, iv, ciphertext] = parts[..] else {
            return Err(Problem::internal());
        };
        let (_, cipher) = self
            .keys
            .iter()
            .find(|(known, _)| known == id)
            .ok_or_else(Problem::internal)?;
        let secret =
            decrypt(cipher, iv, ciphertext, context(instance_id, provider).as_bytes()).ok_or_else(Problem::internal)?;
        String::from_utf8(secret).map_err(|_| Problem::internal())
    }
}

/// A ciphertext that is moved to another instance or provider does not open.
fn context(instance_id: &str, provider: &str) -> String {
    format!("{instance_id}/{provider}")
}

/// The key under which configurations lie in the cache.
pub struct CacheKey(Aes256Gcm);

impl CacheKey {
    /// Reads 32 bytes in base64.
    pub fn parse(binding: Option<&str>) -> Result<Self, Problem> {
        Ok(Self(cipher(binding.ok_or_else(Problem::internal)?.trim())?))
    }

    /// Seals a text for one entry of the cache.
    pub fn seal(&self, entry: &str, text: &str, entropy: &impl Entropy) -> Result<String, Problem> {
        let (iv, sealed) = encrypt(&self.0, text.as_bytes(), entry.as_bytes(), entropy)?;
        Ok(format!("v1.{iv}.{sealed}"))
    }

    /// Opens it again; nothing if it is not what `seal` made for this entry under this key.
    #[must_use]
    pub fn open(&self, entry: &str, sealed: &str) -> Option<String> {
        let parts: Vec<&str> = sealed.split('.').collect();
        let ["v1", iv, ciphertext] = parts[..] else { return None };
        String::from_utf8(decrypt(&self.0, iv, ciphertext, entry.as_bytes())?).ok()
    }
}

fn cipher(key: &str) -> Result<Aes256Gcm, Problem> {
    let bytes = BASE64.decode(key).map_err(|_| Problem::internal())?;
    Aes256Gcm::new_from_slice(&bytes).map_err(|_| Problem::internal())
}

fn encrypt(
    cipher: &Aes256Gcm,
    text: &[u8],
    context: &[u8],
    entropy: &impl Entropy,
) -> Result<(String, String), Problem> {
    let mut iv = [0; IV_BYTES];
    entropy.fill(&mut iv);
    let sealed = cipher
        .encrypt(
            &Nonce::from(iv),
            Payload {
                msg: text,
                aad: context,
            },
        )
        .map_err(|_| Problem::internal())?;
    Ok((URL_SAFE_NO_PAD.encode(iv), URL_SAFE_NO_PAD.encode(sealed)))
}

fn decrypt(cipher: &Aes256Gcm, iv: &str, sealed: &str, context: &[u8]) -> Option<Vec<u8>> {
    let iv: [u8; IV_BYTES] = URL_SAFE_NO_PAD.decode(iv).ok()?.try_into().ok()?;
    let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
    cipher
        .decrypt(
            &Nonce::from(iv),
            Payload {
                msg: &sealed,
                aad: context,
            },
        )
        .ok()
}

/// What people see of a provider's key: its last four characters, if that leaves enough unseen.
#[must_use]
pub fn mask(secret: &str) -> String {
    match secret.len() {
        0..16 => "****".to_owned(),
        length => format!("****{}", &secret[length - 4..]),
    }
}

/// Whether a credential is the service token. Takes the same time for all credentials of one length.
#[must_use]
pub fn is_service_token(credential: &str, token: Option<&str>) -> bool {
    token.is_some_and(|token| {
        token.len() >= SERVICE_TOKEN_LENGTH_MIN && bool::from(token.as_bytes().ct_eq(credential.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::expect_used, reason = "a test says what it expects by failing")]

    use super::*;
    use std::cell::Cell;

    struct Counting(Cell<u8>);
    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            self.0.set(self.0.get().wrapping_add(1));
            bytes.fill(self.0.get());
        }
    }

    fn key(byte: u8) -> String {
        BASE64.encode([byte; 32])
    }

    fn keyring(binding: &str) -> Keyring {
        Keyring::parse(Some(binding))
            .map_err(|problem| problem.message)
            .expect("a keyring")
    }

    #[test]
    fn a_sealed_key_opens_in_its_own_place_only() {
        let entropy = Counting(Cell::new(0));
        let keyring = keyring(&format!("k1:{}", key(1)));
        let sealed = keyring
            .seal("production", "ideogram", "secret-of-provider", &entropy)
            .expect("sealed");
        assert!(sealed.starts_with("v1.k1.") && !sealed.contains("secret"));
        assert_eq!(
            keyring.open("production", "ideogram", &sealed).expect("opened"),
            "secret-of-provider"
        );
        assert!(keyring.open("development", "ideogram", &sealed).is_err());
        assert!(keyring.open("production", "other", &sealed).is_err());
        let again = keyring
            .seal("production", "ideogram", "secret-of-provider", &entropy)
            .expect("sealed");
        assert_ne!(sealed, again, "every sealing has its own vector");
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let entropy = Counting(Cell::new(0));
        let old = keyring(&format!("old:{}", key(1)));
        let both = keyring(&format!("new:{}, old:{}", key(2), key(1)));
        let sealed = old.seal("i", "p", "x", &entropy).expect("sealed");
        assert_eq!(both.open("i", "p", &sealed).expect("opened"), "x");
        assert!(
            both.seal("i", "p", "x", &entropy)
                .expect("sealed")
                .starts_with("v1.new.")
        );
        assert!(keyring(&format!("new:{}", key(2))).open("i", "p", &sealed).is_err());
        for broken in ["v1.old.AA.AA", "v2.old.a.b", "", "v1.old.a", "plain-text"] {
            assert!(old.open("i", "p", broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_malformed_binding_is_a_fault_and_never_plain_text() {
        let short = BASE64.encode([1; 31]);
        for broken in [
            "",
            "k1",
            "k1:",
            ":",
            &format!(":{}", key(1)),
            &format!("k1:{short}"),
            &format!("k1:{},", key(1)),
            "k1:***",
            &format!("k.1:{}", key(1)),
        ] {
            assert!(Keyring::parse(Some(broken)).is_err(), "{broken}");
        }
        assert!(
            Keyring::parse(Some(&format!("a:{},a:{}", key(1), key(2)))).is_err(),
            "an id twice"
        );
        assert!(Keyring::parse(None).is_err());
        for id in ["k_1", "k-1", "2026"] {
            assert!(Keyring::parse(Some(&format!("{id}:{}", key(1)))).is_ok(), "{id}");
        }
        assert!(CacheKey::parse(None).is_err() && CacheKey::parse(Some(&short)).is_err());
    }

    #[test]
    fn an_entry_of_the_cache_opens_under_its_own_name_and_key_only() {
        let entropy = Counting(Cell::new(0));
        let cache = CacheKey::parse(Some(&key(1))).unwrap_or_else(|_| panic!("a key"));
        let other = CacheKey::parse(Some(&key(2))).unwrap_or_else(|_| panic!("a key"));
        let sealed = cache.seal("entry", "text", &entropy).expect("sealed");
        assert_eq!(cache.open("entry", &sealed).as_deref(), Some("text"));
        assert_eq!(cache.open("another", &sealed), None);
        assert_eq!(other.open("entry", &sealed), None);
        assert_eq!(cache.open("entry", "nonsense"), None);
    }

    #[test]
    fn a_mask_shows_the_end_of_long_keys_only() {
        assert_eq!(mask("0123456789abcde"), "****");
        assert_eq!(mask("0123456789abcdef"), "****cdef");
        assert_eq!(mask(""), "****");
    }

    #[test]
    fn a_short_service_token_is_none() {
        let (long, short) = ("t".repeat(32), "t".repeat(31));
        assert!(is_service_token(&long, Some(&long)));
        assert!(!is_service_token(&short, Some(&short)) && !is_service_token(&long, None));
        assert!(!is_service_token(&short, Some(&long)) && !is_service_token(&"u".repeat(32), Some(&long)));
    }
}
