//! The keys by which a provider signs (RFC 7517), and whether a signature is theirs (RFC 7518, 8037): by OpenSSL, which is here already.
//! Only signatures that need a public key are known: whoever has that can make none.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use openssl::{
    bn::BigNum,
    ec::{EcGroup, EcKey},
    ecdsa::EcdsaSig,
    error::ErrorStack,
    hash::MessageDigest,
    nid::Nid,
    pkey::{Id, PKey, Public},
    rsa::{Padding, Rsa},
    sign::{RsaPssSaltlen, Verifier},
};
use serde::Deserialize;
use serde_json::Value;

/// The shortest RSA key that is believed, in bits.
const RSA_BITS: u32 = 2_048;

/// How something is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// RSASSA-PKCS1-v1_5.
    Rs(Hash),
    /// RSASSA-PSS.
    Ps(Hash),
    /// ECDSA, over the curve that goes with the hash.
    Es(Hash),
    /// Ed25519.
    Ed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn digest(self) -> MessageDigest {
        match self {
            Self::Sha256 => MessageDigest::sha256(),
            Self::Sha384 => MessageDigest::sha384(),
            Self::Sha512 => MessageDigest::sha512(),
        }
    }
}

impl Algorithm {
    /// As tokens name it; `None`: it is not believed here, as `none` and what is signed by a shared secret.
    pub(super) fn of(name: &str) -> Option<Self> {
        let hash = match name.get(2..)? {
            "256" => Hash::Sha256,
            "384" => Hash::Sha384,
            "512" => Hash::Sha512,
            _ => return matches!(name, "EdDSA" | "Ed25519").then_some(Self::Ed),
        };
        match &name[..2] {
            "RS" => Some(Self::Rs(hash)),
            "PS" => Some(Self::Ps(hash)),
            "ES" => Some(Self::Es(hash)),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    /// With the curve's name and the bytes of a coordinate.
    Ec(Hash, usize),
    Ed,
}

/// A key of a provider.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// Its name.
    pub(super) id: Option<String>,
    /// What it is for alone, if that is said.
    algorithm: Option<Algorithm>,
    kind: Kind,
    public: PKey<Public>,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The keys of a set that can be used here; the others are left out, as the standard has it. What is wrong with the set.
pub(super) fn read(set: &[u8]) -> Result<Vec<Key>, String> {
    let set: Set = serde_json::from_slice(set).map_err(|error| format!("no set of keys: {error}"))?;
    Ok(set.keys.into_iter().filter_map(|key| Key::read(serde_json::from_value(key).ok()?)).collect())
}

impl Key {
    fn read(jwk: Jwk) -> Option<Self> {
        if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let bytes = |text: &Option<String>| BASE64.decode(text.as_deref()?.trim_end_matches('=')).ok();
        let (kind, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => (Kind::Rsa, rsa(&bytes(&jwk.n)?, &bytes(&jwk.e)?).ok().flatten()?),
            ("EC", Some(curve)) => {
                let (nid, hash, size) = match curve {
                    "P-256" => (Nid::X9_62_PRIME256V1, Hash::Sha256, 32),
                    "P-384" => (Nid::SECP384R1, Hash::Sha384, 48),
                    "P-521" => (Nid::SECP521R1, Hash::Sha512, 66),
                    _ => return None,
                };
                (Kind::Ec(hash, size), ec(nid, &bytes(&jwk.x)?, &bytes(&jwk.y)?).ok()?)
            }
            ("OKP", Some("Ed25519")) => {
                (Kind::Ed, PKey::public_key_from_raw_bytes(&bytes(&jwk.x)?, Id::ED25519).ok()?)
            }
            _ => return None,
        };
        // One that is for something that is not known here is not for what is.
        let algorithm = match jwk.alg {
            Some(name) => Some(Algorithm::of(&name)?),
            None => None,
        };
        Some(Self { id: jwk.kid, algorithm, kind, public: key })
    }

    /// May it sign like that?
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        let is_of_kind = match (self.kind, algorithm) {
            (Kind::Rsa, Algorithm::Rs(_) | Algorithm::Ps(_)) | (Kind::Ed, Algorithm::Ed) => true,
            (Kind::Ec(of_curve, _), Algorithm::Es(hash)) => of_curve == hash,
            _ => false,
        };
        is_of_kind && self.algorithm.is_none_or(|only| only == algorithm)
    }

    /// Has it signed this?
    pub(super) fn has_signed(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.fits(algorithm) && self.check(algorithm, message, signature).unwrap_or(false)
    }

    fn check(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
        match (algorithm, self.kind) {
            (Algorithm::Rs(hash), _) => {
                Verifier::new(hash.digest(), &self.public)?.verify_oneshot(signature, message)
            }
            (Algorithm::Ps(hash), _) => {
                let mut verifier = Verifier::new(hash.digest(), &self.public)?;
                verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
                verifier.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
                verifier.set_rsa_mgf1_md(hash.digest())?;
                verifier.verify_oneshot(signature, message)
            }
            // Two numbers of the same length, where OpenSSL wants them in DER.
            (Algorithm::Es(hash), Kind::Ec(_, size)) if signature.len() == 2 * size => {
                let (r, s) = signature.split_at(size);
                let numbers = (BigNum::from_slice(r)?, BigNum::from_slice(s)?);
                let signature = EcdsaSig::from_private_components(numbers.0, numbers.1)?.to_der()?;
                Verifier::new(hash.digest(), &self.public)?.verify_oneshot(&signature, message)
            }
            (Algorithm::Es(_), _) => Ok(false),
            (Algorithm::Ed, _) => {
                Verifier::new_without_digest(&self.public)?.verify_oneshot(signature, message)
            }
        }
    }
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Option<PKey<Public>>, ErrorStack> {
    let rsa = Rsa::from_public_components(BigNum::from_slice(modulus)?, BigNum::from_slice(exponent)?)?;
    let key = PKey::from_rsa(rsa)?;
    Ok(Some(key).filter(|key| key.bits() >= RSA_BITS))
}

fn ec(curve: Nid, x: &[u8], y: &[u8]) -> Result<PKey<Public>, ErrorStack> {
    let group = EcGroup::from_curve_name(curve)?;
    let (x, y) = (BigNum::from_slice(x)?, BigNum::from_slice(y)?);
    let key = EcKey::from_public_key_affine_coordinates(&group, &x, &y)?;
    key.check_key()?;
    PKey::from_ec_key(key)
}
