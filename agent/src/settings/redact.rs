//! What is taken out of records before they leave: `[agent.redact]`.

use millrace_config::{FromValue, Secret, Section, Value};
use millrace_intake::{
    Policy,
    redact::{Action, Kind, Rule, Search},
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
    const EXPECTED: &'static str = "one of \"mask\", \"hash\", \"drop\"";

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
    Policy::new(rules, key.as_ref().map_or(&[], |key| key.expose().as_bytes())).unwrap_or_else(|error| {
        section.error("patterns", format!("all of them together: {error}"));
        Policy::nothing()
    })
}
