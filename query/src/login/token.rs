//! Whether an id token is what the provider says of whoever logs in now (`OpenID` Connect Core, 3.1.3.7). Pure.

use super::keys::{Algorithm, Key};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use millrace_model::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Clocks may differ by so many seconds.
const SKEW: f64 = 60.0;
/// The longest token, in bytes.
const LONGEST: usize = 64 << 10;

/// What an id token must say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    pub(super) now: Timestamp,
}

/// Why a token is not believed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// It is signed by a key that is not known: the provider may have a new one.
    #[error("it is signed by the key {0:?}, which the provider does not name")]
    UnknownKey(String),
    /// Anything else.
    #[error("{0}")]
    Wrong(String),
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// What must be understood, and is not.
    crit: Option<Value>,
}

/// What the token says, if one of these keys has signed it and it is for this login.
pub(super) fn verify(
    token: &str,
    keys: &[Key],
    expected: &Expected<'_>,
) -> Result<Map<String, Value>, Refused> {
    let wrong = |why: &str| Refused::Wrong(why.to_owned());
    if token.len() > LONGEST {
        return Err(wrong("it is too long"));
    }
    let (message, signature) = token.rsplit_once('.').ok_or_else(|| wrong("it has no signature"))?;
    let (header, claims) = message.split_once('.').ok_or_else(|| wrong("it has no three parts"))?;
    let decoded = |part: &str| BASE64.decode(part).map_err(|_| wrong("it is not written as a token"));
    let header: Header =
        serde_json::from_slice(&decoded(header)?).map_err(|_| wrong("its header is not understood"))?;
    let claims: Map<String, Value> =
        serde_json::from_slice(&decoded(claims)?).map_err(|_| wrong("its claims are not understood"))?;
    let signature = decoded(signature)?;
    if header.crit.is_some() {
        return Err(wrong("it asks for something that is not understood (crit)"));
    }
    let algorithm = Algorithm::of(&header.alg)
        .ok_or_else(|| Refused::Wrong(format!("signatures by {:?} are not believed", header.alg)))?;
    let is_named = |key: &&Key| header.kid.is_none() || key.id == header.kid;
    let mut fitting = keys.iter().filter(is_named).filter(|key| key.fits(algorithm)).peekable();
    if fitting.peek().is_none() {
        return Err(Refused::UnknownKey(header.kid.unwrap_or_default()));
    }
    if !fitting.any(|key| key.has_signed(algorithm, message.as_bytes(), &signature)) {
        return Err(wrong("the provider has not signed it"));
    }
    check(&claims, expected)?;
    Ok(claims)
}

fn check(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), Refused> {
    let wrong = |why: String| Err(Refused::Wrong(why));
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let seconds = |name: &str| claims.get(name).map(|value| value.as_f64().unwrap_or(f64::NAN));
    if text("iss") != Some(expected.issuer) {
        return wrong(format!(
            "it is of {:?}, not of {:?} (iss)",
            text("iss").unwrap_or_default(),
            expected.issuer
        ));
    }
    let audience: Vec<&str> = match claims.get("aud") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(name)) => vec![name],
        _ => Vec::new(),
    };
    if !audience.contains(&expected.client_id) {
        return wrong(format!("it is not for {:?} (aud)", expected.client_id));
    }
    let party = claims.get("azp").map(|party| party.as_str().unwrap_or_default());
    if party.unwrap_or(if audience.len() > 1 { "" } else { expected.client_id }) != expected.client_id {
        return wrong(format!("it was made for another than {:?} (azp)", expected.client_id));
    }
    let now = expected.now.0 as f64 / 1e9;
    // What is no number is before nothing.
    if !seconds("exp").is_some_and(|until| now < until + SKEW) {
        return wrong("its time is over (exp)".to_owned());
    }
    for name in ["iat", "nbf"] {
        if seconds(name).is_some_and(|from| from.is_nan() || from > now + SKEW) {
            return wrong(format!("it is of a time that is still to come ({name}): compare the clocks"));
        }
    }
    if text("nonce") != Some(expected.nonce) {
        return wrong("it is of another login (nonce)".to_owned());
    }
    if !text("sub").is_some_and(|subject| (1..=255).contains(&subject.len())) {
        return wrong("it is of nobody (sub)".to_owned());
    }
    Ok(())
}

#[cfg(test)]
#[path = "token/tests.rs"]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
