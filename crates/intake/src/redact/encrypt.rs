//! What is found, encrypted for the holder of a key: HPKE (RFC 9180, base mode: X25519, HKDF-SHA-256), of which each session's secret is
//! exported and used with AES-256-GCM, so that every value can be opened by itself.
//!
//! Format 1, where a value stood: `[encrypted:RULE:1.KEY.BYTES]`. KEY is the first four bytes of the SHA-256 of the public key, in
//! hexadecimal. BYTES are, in base64 for URLs without padding: the encapsulated key (32 bytes), a nonce (12 bytes, counted up within the
//! session), the ciphertext and its tag (16 bytes). The rule's name is authenticated with it.
//!
//! A session is one process's, and of a million values at most.

use aes_gcm::{
    Aes256Gcm, KeyInit, Nonce,
    aead::{Aead, Payload},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable, kdf::HkdfSha256, kem::X25519HkdfSha256,
    setup_receiver, setup_sender,
};
use millrace_model::fields::hex;
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

const INFO: &[u8] = b"millrace redaction 1";
const EXPORTED: &[u8] = b"AES-256-GCM";
const BEGINS: &str = "[encrypted:";
const VERSION: &str = "1";
const ENCAPSULATED: usize = 32;
const NONCE: usize = 12;
/// Values of one session at most.
const SESSION: u64 = 1 << 20;

type X25519 = X25519HkdfSha256;

/// Whose key it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient {
    public: [u8; 32],
    id: String,
}

impl std::fmt::Debug for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recipient({})", self.id)
    }
}

impl Recipient {
    /// By an X25519 public key.
    pub fn new(public: [u8; 32]) -> Self {
        let mut id = hex(&Sha256::digest(public));
        id.truncate(8);
        Self { public, id }
    }
}

/// Encrypts for a recipient.
pub(super) struct Sealer {
    pub(super) recipient: Recipient,
    session: Mutex<Option<Session>>,
}

struct Session {
    encapsulated: Vec<u8>,
    cipher: Aes256Gcm,
    used: u64,
}

impl Session {
    fn new(recipient: &Recipient) -> Option<Self> {
        let public = <X25519 as Kem>::PublicKey::from_bytes(&recipient.public).ok()?;
        let (encapsulated, context) =
            setup_sender::<hpke::aead::AesGcm256, HkdfSha256, X25519>(&OpModeS::Base, &public, INFO).ok()?;
        let mut key = [0; 32];
        context.export(EXPORTED, &mut key).ok()?;
        let cipher = Aes256Gcm::new_from_slice(&key).ok()?;
        Some(Self { encapsulated: encapsulated.to_bytes().to_vec(), cipher, used: 0 })
    }
}

impl Sealer {
    pub(super) fn new(recipient: Recipient) -> Self {
        Self { recipient, session: Mutex::new(None) }
    }

    /// What stands for the value; `None`: it cannot be encrypted, and must be masked.
    pub(super) fn seal(&self, rule: &str, value: &str) -> Option<String> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if session.as_ref().is_none_or(|session| session.used >= SESSION) {
            *session = Session::new(&self.recipient);
        }
        let session = session.as_mut()?;
        let mut nonce = [0; NONCE];
        nonce[NONCE - 8..].copy_from_slice(&session.used.to_be_bytes());
        session.used += 1;
        let payload = Payload { msg: value.as_bytes(), aad: rule.as_bytes() };
        let ciphertext = session.cipher.encrypt(&Nonce::from(nonce), payload).ok()?;
        let bytes = [&session.encapsulated[..], &nonce, &ciphertext].concat();
        Some(format!("{BEGINS}{rule}:{VERSION}.{}.{}]", self.recipient.id, URL_SAFE_NO_PAD.encode(bytes)))
    }
}

/// Opens what was encrypted for a key.
pub struct Opener {
    private: <X25519 as Kem>::PrivateKey,
    id: String,
    /// Of the sessions that were seen, by their encapsulated keys.
    sessions: HashMap<Vec<u8>, Aes256Gcm>,
}

/// How much was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Opening {
    /// Values in clear text now.
    pub opened: u64,
    /// Values for other keys, left as they are.
    pub foreign: u64,
    /// Values for this key that are not what was encrypted, left as they are.
    pub damaged: u64,
}

/// More sessions than this are not remembered.
const SESSIONS: usize = 10_000;

impl Opener {
    /// By an X25519 private key.
    ///
    /// # Errors
    /// It is none.
    pub fn new(private: [u8; 32]) -> Result<Self, String> {
        let private = <X25519 as Kem>::PrivateKey::from_bytes(&private).map_err(|error| error.to_string())?;
        let public: [u8; 32] = X25519::sk_to_pk(&private).to_bytes().into();
        Ok(Self { private, id: Recipient::new(public).id, sessions: HashMap::new() })
    }

    /// The text with all values opened that are for this key; `write` makes of a value what stands in the text (it escapes it, where
    /// the text is JSON).
    pub fn open_all(&mut self, text: &str, opening: &mut Opening, write: &dyn Fn(&str) -> String) -> String {
        let mut clear = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(BEGINS) {
            clear.push_str(&rest[..at]);
            rest = &rest[at..];
            let Some(end) = rest.find(']') else { break };
            match self.open(&rest[BEGINS.len()..end]) {
                Some(Ok(value)) => {
                    opening.opened += 1;
                    clear.push_str(&write(&value));
                    rest = &rest[end + 1..];
                }
                other => {
                    match other {
                        Some(Err(true)) => opening.damaged += 1,
                        Some(_) => opening.foreign += 1,
                        None => {}
                    }
                    clear.push_str(BEGINS);
                    rest = &rest[BEGINS.len()..];
                }
            }
        }
        clear.push_str(rest);
        clear
    }

    /// The value in `RULE:1.KEY.BYTES`; `None`: it is nothing of the kind. Else whether it is for this key, though it cannot be opened.
    fn open(&mut self, sealed: &str) -> Option<Result<String, bool>> {
        let (rule, sealed) = sealed.rsplit_once(':')?;
        let mut parts = sealed.split('.');
        let (version, id, bytes) = (parts.next()?, parts.next()?, parts.next()?);
        if version != VERSION || parts.next().is_some() {
            return None;
        }
        if id != self.id {
            return Some(Err(false));
        }
        Some(self.decrypt(rule, bytes).ok_or(true))
    }

    fn decrypt(&mut self, rule: &str, bytes: &str) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(bytes).ok()?;
        let (encapsulated, rest) = bytes.split_at_checked(ENCAPSULATED)?;
        let (nonce, ciphertext) = rest.split_at_checked(NONCE)?;
        if !self.sessions.contains_key(encapsulated) {
            let key = <X25519 as Kem>::EncappedKey::from_bytes(encapsulated).ok()?;
            let context = setup_receiver::<hpke::aead::AesGcm256, HkdfSha256, X25519>(
                &OpModeR::Base,
                &self.private,
                &key,
                INFO,
            );
            let mut exported = [0; 32];
            context.ok()?.export(EXPORTED, &mut exported).ok()?;
            if self.sessions.len() >= SESSIONS {
                self.sessions.clear();
            }
            self.sessions.insert(encapsulated.to_owned(), Aes256Gcm::new_from_slice(&exported).ok()?);
        }
        let nonce: [u8; NONCE] = nonce.try_into().ok()?;
        let payload = Payload { msg: ciphertext, aad: rule.as_bytes() };
        let value = self.sessions.get(encapsulated)?.decrypt(&Nonce::from(nonce), payload).ok()?;
        String::from_utf8(value).ok()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(seed: u8) -> ([u8; 32], Recipient) {
        let private = [seed; 32];
        let secret = <X25519 as Kem>::PrivateKey::from_bytes(&private).unwrap();
        let public: [u8; 32] = X25519::sk_to_pk(&secret).to_bytes().into();
        (private, Recipient::new(public))
    }

    fn opened(private: [u8; 32], text: &str) -> (String, Opening) {
        let mut opening = Opening::default();
        let clear = Opener::new(private).unwrap().open_all(text, &mut opening, &str::to_owned);
        (clear, opening)
    }

    #[test]
    fn what_is_sealed_is_opened_by_its_key_alone_and_only_whole() {
        let ((private, recipient), (other, _)) = (keys(1), keys(2));
        let sealer = Sealer::new(recipient);
        let (one, two) = (
            sealer.seal("email", "ann@example.com").unwrap(),
            sealer.seal("email", "ann@example.com").unwrap(),
        );
        assert_ne!(one, two, "equal values do not look equal");
        let text = format!("a {one} b [encrypted:x] c {two}");
        let (clear, opening) = opened(private, &text);
        assert_eq!(clear, "a ann@example.com b [encrypted:x] c ann@example.com");
        assert_eq!(opening, Opening { opened: 2, foreign: 0, damaged: 0 });
        assert_eq!(opened(other, &text), (text.clone(), Opening { opened: 0, foreign: 2, damaged: 0 }));
        // Of another rule, or cut short, or with a letter changed.
        let damaged = Opening { opened: 0, foreign: 0, damaged: 1 };
        for text in [
            one.replace("email", "jwt"),
            format!("{}]", &one[..one.len() - 5]),
            format!("{}AAAA]", &one[..one.len() - 5]),
        ] {
            assert_eq!(opened(private, &text), (text.clone(), damaged));
        }
        assert_eq!(opened(private, "[encrypted:").0, "[encrypted:");
    }

    /// Format 1, as it was first released.
    #[test]
    fn format_1_is_opened() {
        let (private, _) = keys(3);
        let text = include_str!("../../tests/fixtures/encrypted-1.txt");
        assert_eq!(opened(private, text).0, "mail to ann@example.com at once\n");
    }

    proptest! {
        #[test]
        fn any_text_comes_back(value in ".{0,200}", rule in "[a-z_]{1,20}", around in ".{0,20}") {
            let (private, recipient) = keys(4);
            let sealed = Sealer::new(recipient).seal(&rule, &value).unwrap();
            prop_assert!(value.len() < 4 || !sealed.contains(&value));
            let (clear, opening) = opened(private, &format!("{around}{sealed}{around}"));
            prop_assert_eq!(opening.opened, 1);
            prop_assert_eq!(clear, format!("{around}{value}{around}"));
        }

        #[test]
        fn no_text_is_a_panic(text in "(\\[encrypted:|[a-z:.\\]1]|\\PC){0,40}") {
            let (private, _) = keys(5);
            prop_assert_eq!(opened(private, &text).0, text);
        }
    }
}
