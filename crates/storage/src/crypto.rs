//! The hashes that requests are signed with, by the OpenSSL that is in the binary anyway (`docs/decisions/0001`).

use object_store::{
    Error, Result,
    client::{CryptoProvider, DigestAlgorithm, DigestContext, HmacContext, Signer, SigningAlgorithm},
};
use openssl::{
    error::ErrorStack,
    hash::{DigestBytes, Hasher, MessageDigest},
    md::Md,
    md_ctx::MdCtx,
    pkey::PKey,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct OpenSsl;

fn failed(error: ErrorStack) -> Error {
    Error::Generic { store: "OpenSSL", source: error.into() }
}

fn unknown(what: &impl std::fmt::Debug) -> Error {
    Error::NotSupported { source: format!("{what:?} is not among what requests are signed with").into() }
}

impl CryptoProvider for OpenSsl {
    fn digest(&self, algorithm: DigestAlgorithm) -> Result<Box<dyn DigestContext>> {
        let DigestAlgorithm::Sha256 = algorithm else { return Err(unknown(&algorithm)) };
        let hasher = Hasher::new(MessageDigest::sha256()).map_err(failed)?;
        Ok(Box::new(Digest { hasher, failed: None, done: None }))
    }

    fn hmac(&self, algorithm: DigestAlgorithm, secret: &[u8]) -> Result<Box<dyn HmacContext>> {
        let DigestAlgorithm::Sha256 = algorithm else { return Err(unknown(&algorithm)) };
        let start = || {
            let mut context = MdCtx::new()?;
            let key = PKey::hmac(secret)?;
            context.digest_sign_init(Some(Md::sha256()), &key)?;
            Ok(context)
        };
        Ok(Box::new(Hmac { context: start().map_err(failed)?, failed: None, done: Vec::new() }))
    }

    fn sign(&self, algorithm: SigningAlgorithm, _pem: &[u8]) -> Result<Box<dyn Signer>> {
        Err(unknown(&algorithm))
    }
}

struct Digest {
    hasher: Hasher,
    failed: Option<ErrorStack>,
    done: Option<DigestBytes>,
}

impl DigestContext for Digest {
    fn update(&mut self, data: &[u8]) {
        if let Err(error) = self.hasher.update(data) {
            self.failed = Some(error);
        }
    }

    fn finish(&mut self) -> Result<&[u8]> {
        match self.failed.take() {
            Some(error) => Err(failed(error)),
            None => Ok(self.done.insert(self.hasher.finish().map_err(failed)?)),
        }
    }
}

struct Hmac {
    context: MdCtx,
    failed: Option<ErrorStack>,
    done: Vec<u8>,
}

impl HmacContext for Hmac {
    fn update(&mut self, data: &[u8]) {
        if let Err(error) = self.context.digest_sign_update(data) {
            self.failed = Some(error);
        }
    }

    fn finish(&mut self) -> Result<&[u8]> {
        if let Some(error) = self.failed.take() {
            return Err(failed(error));
        }
        self.done.clear();
        self.context.digest_sign_final_to_vec(&mut self.done).map_err(failed)?;
        Ok(&self.done)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .map(|digit| b"0123456789abcdef"[digit as usize] as char)
            .collect()
    }

    /// FIPS 180-4's example, in two pieces.
    #[test]
    fn sha_256() {
        let mut digest = OpenSsl.digest(DigestAlgorithm::Sha256).unwrap();
        digest.update(b"a");
        digest.update(b"bc");
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(digest.finish().unwrap()), expected);
    }

    /// RFC 4231, cases 2 and 6: a short key, and one that is longer than a block.
    #[test]
    fn hmac_sha_256() {
        let sign = |key: &[u8], pieces: &[&[u8]]| {
            let mut hmac = OpenSsl.hmac(DigestAlgorithm::Sha256, key).unwrap();
            for piece in pieces {
                hmac.update(piece);
            }
            hex(hmac.finish().unwrap())
        };
        assert_eq!(
            sign(b"Jefe", &[b"what do ya want ", b"for nothing?"]),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            sign(&[0xaa; 131], &[b"Test Using Larger Than Block-Size Key - Hash Key First"]),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn nothing_else_is_signed() {
        assert!(OpenSsl.sign(SigningAlgorithm::RS256, b"").is_err());
    }
}
