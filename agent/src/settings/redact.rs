//! What is taken out of records before they leave: `[agent.redact]`.

use millrace_config::{FromValue, Secret, Section, Value};
use millrace_intake::{
    Policy,
    redact::{Action, Kind, Recipient, Rule, Search},
};

/// A shorter key could be guessed from a few hashes of known values.
const LEAST_KEY: usize = 16;

struct KindChoice(Kind);

impl FromValue for KindChoice {
    const EXPECTED: &'static str =
        "one of \"credit_card\", \"email\", \"ipv4\", \"ipv6\", \"jwt\", \"secret\", \"iban\", \"us_ssn\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        value.choose(&Kind::NAMES).map(Self)
    }

    fn example() -> String {
        "\"email\"".to_owned()
    }
}

struct ActionChoice(Action);

impl FromValue for ActionChoice {
    const EXPECTED: &'static str = "one of \"mask\", \"hash\", \"drop\", \"encrypt\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        value.choose(&Action::NAMES).map(Self)
    }

    fn example() -> String {
        "\"mask\"".to_owned()
    }
}

/// Reads the section. What is wrong is noted; nothing that is wrong becomes a policy that lets things through.
pub(super) fn read(section: &mut Section<'_>) -> Policy {
    let action =
        section.optional::<ActionChoice>("action").map_or(Action::Mask, |ActionChoice(action)| action);
    let key = section.optional::<Secret>("hash_key");
    let recipient = section.optional::<PublicKey>("encrypt_key").map(|PublicKey(recipient)| recipient);
    let mut rules = Vec::new();
    // A pattern of one's own is more particular than a kind, so it comes first.
    if let Some(mut patterns) = section.section("patterns") {
        let names: Vec<&str> = patterns.keys().collect();
        for name in names {
            let Some(pattern) = patterns.required::<String>(name) else { continue };
            let rule = Rule { name: name.to_owned(), search: Search::Pattern(pattern), action };
            match Policy::new(vec![rule.clone()], &[]) {
                Ok(_) => rules.push(rule),
                Err(error) => patterns.error(name, error),
            }
        }
    }
    for KindChoice(kind) in section.optional::<Vec<KindChoice>>("kinds").unwrap_or_default() {
        if rules.iter().all(|rule| rule.name != kind.name()) {
            rules.push(Rule { name: kind.name().to_owned(), search: Search::Kind(kind), action });
        }
    }
    if let Some(mut actions) = section.section("actions") {
        let names: Vec<&str> = actions.keys().collect();
        for name in names {
            let Some(ActionChoice(action)) = actions.required(name) else { continue };
            match rules.iter_mut().find(|rule| rule.name == name) {
                Some(rule) => rule.action = action,
                None => actions.error(name, "neither among the kinds nor among the patterns"),
            }
        }
    }
    let hashes = rules.iter().any(|rule| rule.action == Action::Hash);
    match &key {
        None if hashes => section.error_with_help(
            "hash_key",
            "is missing: without a key anybody could hash what they look for",
            "hash_key = { file = \"/etc/millrace/redaction.key\" }, which `openssl rand -hex 32` writes",
        ),
        Some(key) if key.expose().len() < LEAST_KEY => {
            section.error("hash_key", format!("must have {LEAST_KEY} characters or more"));
        }
        _ => {}
    }
    if recipient.is_none() && rules.iter().any(|rule| rule.action == Action::Encrypt) {
        section.error_with_help(
            "encrypt_key",
            "is missing: the public key of who may read it",
            "encrypt_key = { file = \"/etc/millrace/redaction.pub\" }; `openssl genpkey -algorithm X25519 -out key.pem` makes a key, \
             `openssl pkey -in key.pem -pubout` its public part",
        );
    }
    let policy =
        Policy::new(rules, key.as_ref().map_or(&[], |key| key.expose().as_bytes())).unwrap_or_else(|error| {
            section.error("patterns", format!("all of them together: {error}"));
            Policy::nothing()
        });
    match recipient {
        Some(recipient) => policy.for_recipient(recipient),
        None => policy,
    }
}

/// An X25519 key in PEM.
struct PublicKey(Recipient);

impl FromValue for PublicKey {
    const EXPECTED: &'static str = "an X25519 public key in PEM, best as { file = \"…\" }";

    fn from_value(value: &Value) -> Result<Self, String> {
        let text = value.as_str().ok_or_else(|| format!("found {}", value.found()))?;
        let key = openssl::pkey::PKey::public_key_from_pem(text.as_bytes())
            .map_err(|_| "it is no public key in PEM".to_owned())?;
        let raw = key.raw_public_key().ok().and_then(|raw| <[u8; 32]>::try_from(raw).ok());
        let raw = raw.filter(|_| key.id() == openssl::pkey::Id::X25519);
        raw.map(|raw| Self(Recipient::new(raw))).ok_or_else(|| "it is a key, but not of X25519".to_owned())
    }

    fn example() -> String {
        "{ file = \"/etc/millrace/redaction.pub\" }".to_owned()
    }
}
