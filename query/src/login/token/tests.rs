//! Tokens that are signed here, by keys made here, and what is wrong with some of them.

use super::*;
use crate::login::keys;
use openssl::{
    bn::{BigNum, BigNumContext},
    ec::{EcGroup, EcKey},
    ecdsa::EcdsaSig,
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    rsa::{Padding, Rsa},
    sha::{sha256, sha384},
    sign::{RsaPssSaltlen, Signer},
};
use serde_json::json;

const NOW: i64 = 1_800_000_000;

fn expected() -> Expected<'static> {
    let now = Timestamp(NOW * 1_000_000_000);
    Expected { issuer: "https://id.example.com", client_id: "millrace", nonce: "n", now }
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example.com", "aud": "millrace", "sub": "1", "nonce": "n", "exp": NOW + 300, "iat": NOW,
        "groups": ["sre"],
    })
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64.encode(bytes)
}

fn message(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encode(header.to_string()), encode(claims.to_string()))
}

fn rsa(bits: u32) -> Rsa<Private> {
    Rsa::generate(bits).unwrap()
}

fn rsa_jwk(key: &Rsa<Private>, id: &str) -> Value {
    json!({ "kty": "RSA", "kid": id, "use": "sig", "n": encode(key.n().to_vec()), "e": encode(key.e().to_vec()) })
}

fn set(keys: &[Value]) -> Vec<Key> {
    keys::read(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn sign_rsa(key: &Rsa<Private>, header: &Value, claims: &Value) -> String {
    let key = PKey::from_rsa(key.clone()).unwrap();
    let message = message(header, claims);
    let pss = header["alg"].as_str().unwrap().starts_with("PS");
    let mut signer = Signer::new(MessageDigest::sha256(), &key).unwrap();
    if pss {
        signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
        signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH).unwrap();
    }
    let signature = signer.sign_oneshot_to_vec(message.as_bytes()).unwrap();
    format!("{message}.{}", encode(signature))
}

#[track_caller]
fn refused(token: &str, keys: &[Key], why: &str) {
    let error = verify(token, keys, &expected()).unwrap_err().to_string();
    assert!(error.contains(why), "{why}: {error}");
}

#[test]
fn what_the_provider_has_signed_is_believed() {
    let key = rsa(2048);
    let keys = set(&[json!({ "kty": "oct", "k": "AA" }), rsa_jwk(&rsa(2048), "old"), rsa_jwk(&key, "new")]);
    assert_eq!(keys.len(), 2);
    for alg in ["RS256", "PS256"] {
        let token = sign_rsa(&key, &json!({ "alg": alg, "kid": "new" }), &claims());
        assert_eq!(verify(&token, &keys, &expected()).unwrap()["groups"], json!(["sre"]));
        // Without a name any of its keys may have signed it.
        let token = sign_rsa(&key, &json!({ "alg": alg }), &claims());
        assert!(verify(&token, &keys, &expected()).is_ok());
    }
    // Two numbers, not DER.
    let (group, digest) = (EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap(), sha256);
    let key = EcKey::generate(&group).unwrap();
    let (mut x, mut y, mut context) =
        (BigNum::new().unwrap(), BigNum::new().unwrap(), BigNumContext::new().unwrap());
    key.public_key().affine_coordinates(&group, &mut x, &mut y, &mut context).unwrap();
    let pad = |number: &BigNum| encode(number.to_vec_padded(32).unwrap());
    let jwk = json!({ "kty": "EC", "crv": "P-256", "kid": "e", "x": pad(&x), "y": pad(&y) });
    let keys = set(&[jwk]);
    let text = message(&json!({ "alg": "ES256", "kid": "e" }), &claims());
    let signed = EcdsaSig::sign(&digest(text.as_bytes()), &key).unwrap();
    let mut signature = signed.r().to_vec_padded(32).unwrap();
    signature.extend(signed.s().to_vec_padded(32).unwrap());
    assert!(verify(&format!("{text}.{}", encode(&signature)), &keys, &expected()).is_ok());
    refused(&format!("{text}.{}", encode(signed.to_der().unwrap())), &keys, "has not signed it");
    // The curve goes with the hash.
    let text = message(&json!({ "alg": "ES384", "kid": "e" }), &claims());
    let signed = EcdsaSig::sign(&sha384(text.as_bytes()), &key).unwrap();
    let mut signature = signed.r().to_vec_padded(32).unwrap();
    signature.extend(signed.s().to_vec_padded(32).unwrap());
    refused(&format!("{text}.{}", encode(&signature)), &keys, "the key \"e\"");

    let key = PKey::generate_ed25519().unwrap();
    let jwk =
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": "d", "x": encode(key.raw_public_key().unwrap()) });
    let text = message(&json!({ "alg": "EdDSA", "kid": "d" }), &claims());
    let signature = Signer::new_without_digest(&key).unwrap().sign_oneshot_to_vec(text.as_bytes()).unwrap();
    assert!(verify(&format!("{text}.{}", encode(signature)), &set(&[jwk]), &expected()).is_ok());
}

#[test]
fn what_somebody_else_has_made_is_not() {
    let (key, other) = (rsa(2048), rsa(2048));
    let keys = set(&[rsa_jwk(&key, "k")]);
    let header = json!({ "alg": "RS256", "kid": "k" });
    let good = sign_rsa(&key, &header, &claims());
    let mut wider = claims();
    wider["groups"] = json!(["admins"]);
    let parts: Vec<&str> = good.split('.').collect();
    let tampered = format!("{}.{}.{}", parts[0], encode(wider.to_string()), parts[2]);
    refused(&tampered, &keys, "has not signed it");
    refused(&sign_rsa(&other, &header, &claims()), &keys, "has not signed it");
    refused(&format!("{}.{}.", parts[0], parts[1]), &keys, "has not signed it");
    refused(&format!("{good}A"), &keys, "");
    let none = message(&json!({ "alg": "none" }), &claims());
    refused(&format!("{none}."), &keys, "\"none\" are not believed");
    // The public key as a shared secret.
    let text = message(&json!({ "alg": "HS256", "kid": "k" }), &claims());
    let pem = key.public_key_to_pem().unwrap();
    let secret = PKey::hmac(&pem).unwrap();
    let signature =
        Signer::new(MessageDigest::sha256(), &secret).unwrap().sign_oneshot_to_vec(text.as_bytes()).unwrap();
    refused(&format!("{text}.{}", encode(signature)), &keys, "\"HS256\" are not believed");
    let critical = json!({ "alg": "RS256", "kid": "k", "crit": ["x"] });
    refused(&sign_rsa(&key, &critical, &claims()), &keys, "(crit)");
    let unknown = sign_rsa(&other, &json!({ "alg": "RS256", "kid": "next" }), &claims());
    let error = verify(&unknown, &keys, &expected()).unwrap_err();
    assert_eq!(error, Refused::UnknownKey("next".to_owned()));
    let rotated = set(&[rsa_jwk(&key, "k"), rsa_jwk(&other, "next")]);
    assert!(verify(&unknown, &rotated, &expected()).is_ok());
    // Keys that are short, for encrypting, or for another algorithm sign nothing.
    let short = rsa(1024);
    assert!(set(&[rsa_jwk(&short, "k")]).is_empty());
    for (name, value) in [("use", "enc"), ("alg", "RSA-OAEP"), ("alg", "RS512")] {
        let mut jwk = rsa_jwk(&key, "k");
        jwk[name] = json!(value);
        refused(&good, &set(&[jwk]), "does not name");
    }
    for text in ["", "a", "a.b", "..", "é.é.é", "e30.e30.e30"] {
        refused(text, &keys, "");
    }
    assert!(keys::read(b"no").is_err());
}

#[test]
fn what_is_for_somebody_else_or_over_is_not_believed() {
    let key = rsa(2048);
    let keys = set(&[rsa_jwk(&key, "k")]);
    let signed = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        if claims[name].is_null() {
            claims.as_object_mut().unwrap().remove(name);
        }
        sign_rsa(&key, &json!({ "alg": "RS256", "kid": "k" }), &claims)
    };
    for (name, value, why) in [
        ("iss", json!("https://id.example.com/"), "(iss)"),
        ("iss", Value::Null, "(iss)"),
        ("aud", json!("other"), "(aud)"),
        ("aud", json!([]), "(aud)"),
        ("aud", Value::Null, "(aud)"),
        ("aud", json!(["millrace", "other"]), "(azp)"),
        ("azp", json!("other"), "(azp)"),
        ("azp", json!(7), "(azp)"),
        ("exp", json!(NOW - 61), "(exp)"),
        ("exp", json!("soon"), "(exp)"),
        ("exp", Value::Null, "(exp)"),
        ("iat", json!(NOW + 120), "(iat)"),
        ("nbf", json!(NOW + 120), "(nbf)"),
        ("nonce", json!("m"), "(nonce)"),
        ("nonce", Value::Null, "(nonce)"),
        ("sub", json!(""), "(sub)"),
        ("sub", json!(7), "(sub)"),
    ] {
        refused(&signed(name, value), &keys, why);
    }
    for (name, value) in [
        ("exp", json!(NOW - 30)),
        ("iat", json!(NOW + 30)),
        ("iat", Value::Null),
        ("aud", json!(["millrace"])),
        ("azp", json!("millrace")),
    ] {
        assert!(verify(&signed(name, value.clone()), &keys, &expected()).is_ok(), "{name} {value}");
    }
}
