//! The gate that every record passes before it may leave the host. [`Redacted`] has no other constructor than
//! [`Policy::redact`], so a record that was not looked at cannot be shipped: it does not compile.
//!
//! Body, level and attributes are looked at, names of attributes included; the resource (host, path, service) is what an operator
//! named, and stays. All kinds and patterns are looked for in one pass, by one automaton, in time linear to the text.

mod encrypt;
mod found;
mod kinds;

pub use encrypt::{Opener, Opening, Recipient};
pub use kinds::Kind;

use encrypt::Sealer;
use found::Part;
use hmac::{Hmac, KeyInit, Mac};
use millrace_model::{Attributes, LogRecord, Value, fields::hex};
use regex_automata::{Anchored, Input, PatternID, meta::Regex, util::syntax};
use sha2::Sha256;
use std::{borrow::Cow, fmt, ops::Range, sync::Arc};

/// What becomes of what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `[redacted:email]` stands in its place.
    Mask,
    /// So does its keyed hash, `[email:9f86d081884c7d65]`: who knows a value finds it, and what is equal stays equal.
    Hash,
    /// The attribute goes; out of the body it is cut.
    Drop,
    /// What is found, encrypted for who holds a key, stands in its place.
    Encrypt,
}

impl Action {
    /// The names that settings may use, and what they mean.
    pub const NAMES: [(&str, Self); 4] =
        [("mask", Self::Mask), ("hash", Self::Hash), ("drop", Self::Drop), ("encrypt", Self::Encrypt)];
}

/// What to look for, and what becomes of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name: of a kind, or as the settings call a pattern.
    pub name: String,
    /// What is looked for.
    pub search: Search,
    /// What becomes of it.
    pub action: Action,
}

/// What a rule looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Search {
    /// A kind that is known.
    Kind(Kind),
    /// A regular expression; all that it matches.
    Pattern(String),
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {:?}", self.name, self.action)
    }
}

/// What is taken out of records.
#[derive(Clone, Default)]
pub struct Policy(Option<Arc<Finder>>);

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the key.
        f.debug_list().entries(self.0.iter().flat_map(|finder| &finder.rules)).finish()
    }
}

/// Two policies are equal that take out the same in the same way.
impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        let parts = |policy: &Self| {
            policy.0.as_ref().map(|finder| (finder.rules.clone(), finder.key.clone(), finder.recipient()))
        };
        parts(self) == parts(other)
    }
}

struct Finder {
    rules: Vec<Rule>,
    /// All patterns of all rules.
    regex: Regex,
    /// For each pattern its rule, and which part of a match counts.
    patterns: Vec<(usize, Part)>,
    /// Does any rule look for what may be a number?
    numbers: bool,
    key: Vec<u8>,
    sealer: Option<Sealer>,
}

impl Finder {
    fn recipient(&self) -> Option<Recipient> {
        self.sealer.as_ref().map(|sealer| sealer.recipient.clone())
    }
}

/// The largest automaton that patterns may need, in bytes.
const MAX_AUTOMATON: usize = 32 << 20;
/// What the automaton keeps of itself while it searches, in bytes.
const CACHE: usize = 8 << 20;
/// How many hexadecimal digits of a hash are kept: 64 bits.
const HASH_DIGITS: usize = 16;

impl Policy {
    /// Nothing is configured to be taken out.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Takes out what `rules` find, the first of them where several would; `key` is that of hashes. Nobody's key is there to encrypt for:
    /// see [`Self::for_recipient`].
    ///
    /// # Errors
    /// A pattern is no regular expression, is too large, or matches nothing at all as well: which, and why.
    pub fn new(rules: Vec<Rule>, key: &[u8]) -> Result<Self, String> {
        let (mut sources, mut patterns) = (Vec::new(), Vec::new());
        for (at, rule) in rules.iter().enumerate() {
            match &rule.search {
                Search::Kind(kind) => {
                    for (source, part) in kind.patterns() {
                        sources.push((*source).to_owned());
                        patterns.push((at, *part));
                    }
                }
                Search::Pattern(source) => {
                    let alone = build(std::slice::from_ref(source))
                        .map_err(|error| format!("{}: {error}", rule.name))?;
                    if alone.is_match("") {
                        return Err(format!("{}: it matches an empty text, and so everywhere", rule.name));
                    }
                    sources.push(source.clone());
                    patterns.push((at, Part::WHOLE));
                }
            }
        }
        if sources.is_empty() {
            return Ok(Self::nothing());
        }
        let regex = build(&sources)?;
        let is_number =
            |rule: &Rule| matches!(rule.search, Search::Pattern(_) | Search::Kind(Kind::CreditCard));
        let numbers = rules.iter().any(is_number);
        Ok(Self(Some(Arc::new(Finder {
            rules,
            regex,
            patterns,
            numbers,
            key: key.to_owned(),
            sealer: None,
        }))))
    }

    /// With somebody to encrypt for. Without, what is to be encrypted is masked.
    #[must_use]
    pub fn for_recipient(self, recipient: Recipient) -> Self {
        let finder = self.0.and_then(|finder| Arc::try_unwrap(finder).ok());
        Self(finder.map(|finder| Arc::new(Finder { sealer: Some(Sealer::new(recipient)), ..finder })))
    }

    /// Looks at a record and takes out what the policy says; `found` is called with the rule's name for each.
    pub fn redact(&self, mut record: LogRecord, found: &mut dyn FnMut(&str)) -> Redacted {
        if let Some(finder) = &self.0 {
            finder.clean_record(&mut record, found);
        }
        Redacted(record)
    }
}

fn build(patterns: &[String]) -> Result<Regex, String> {
    let config = Regex::config().nfa_size_limit(Some(MAX_AUTOMATON)).hybrid_cache_capacity(CACHE);
    let built = Regex::builder().configure(config).syntax(syntax::Config::new()).build_many(patterns);
    built.map_err(|error| match error.syntax_error() {
        Some(syntax) => syntax.to_string(),
        None => "too large an expression".to_owned(),
    })
}

/// What becomes of a value.
enum Change {
    To(Value),
    /// It goes.
    Gone,
}

impl Finder {
    fn clean_record(&self, record: &mut LogRecord, found: &mut dyn FnMut(&str)) {
        match &record.body {
            Value::String(text) | Value::Text(text) => {
                if let Some(text) = self.clean_line(text, found) {
                    record.body = Value::String(text);
                }
            }
            other => match self.clean(other, found) {
                Some(Change::To(value)) => record.body = value,
                Some(Change::Gone) => record.body = Value::Null,
                None => {}
            },
        }
        if let Some((text, _)) = self.clean_text(&record.severity_text, found) {
            record.severity_text = text;
        }
        if let Some(attributes) = self.clean_attributes(&record.attributes, found) {
            record.attributes = attributes;
        }
    }

    /// A line that is JSON may spell any character as `\u0040`: it is looked at as if it did not.
    fn clean_line(&self, line: &str, found: &mut dyn FnMut(&str)) -> Option<String> {
        let plain = if line.contains("\\u00") || line.contains("\\/") {
            found::plainer(line)
        } else {
            Cow::Borrowed(line)
        };
        self.clean_text(&plain, found).map(|(text, _)| text)
    }

    fn clean_attributes(&self, attributes: &Attributes, found: &mut dyn FnMut(&str)) -> Option<Attributes> {
        let mut changed: Option<Vec<(String, Value)>> = None;
        for (at, (name, value)) in attributes.iter().enumerate() {
            let new_name = self.clean_text(name, found).map(|(name, _)| name);
            let change = self.clean(value, found);
            if changed.is_none() && (new_name.is_some() || change.is_some()) {
                let before = attributes.iter().take(at);
                changed = Some(before.map(|(name, value)| (name.to_owned(), value.clone())).collect());
            }
            if let Some(kept) = &mut changed {
                let name = new_name.unwrap_or_else(|| name.to_owned());
                match change {
                    None => kept.push((name, value.clone())),
                    Some(Change::To(value)) => kept.push((name, value)),
                    Some(Change::Gone) => {}
                }
            }
        }
        changed.map(|kept| kept.into_iter().collect::<Attributes>().with_last_of_each())
    }

    fn clean(&self, value: &Value, found: &mut dyn FnMut(&str)) -> Option<Change> {
        match value {
            Value::String(text) | Value::Text(text) => {
                let (text, drop) = self.clean_text(text, found)?;
                Some(if drop { Change::Gone } else { Change::To(Value::String(text)) })
            }
            Value::Int(number) if self.numbers => {
                let (text, drop) = self.clean_text(&number.to_string(), found)?;
                Some(if drop { Change::Gone } else { Change::To(Value::String(text)) })
            }
            Value::Bytes(bytes) => {
                self.clean_bytes(bytes, found).map(|bytes| Change::To(Value::Bytes(bytes)))
            }
            Value::Array(values) => {
                let changes: Vec<_> = values.iter().map(|value| self.clean(value, found)).collect();
                if changes.iter().all(Option::is_none) {
                    return None;
                }
                let kept = values.iter().zip(changes).filter_map(|(value, change)| match change {
                    None => Some(value.clone()),
                    Some(Change::To(value)) => Some(value),
                    Some(Change::Gone) => None,
                });
                Some(Change::To(Value::Array(kept.collect())))
            }
            Value::Map(map) => self.clean_attributes(map, found).map(|map| Change::To(Value::Map(map))),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Double(_) => None,
        }
    }

    /// Bytes that are no text as a whole: each stretch of text in them.
    fn clean_bytes(&self, bytes: &[u8], found: &mut dyn FnMut(&str)) -> Option<Vec<u8>> {
        let mut clean = Vec::with_capacity(bytes.len());
        let mut changed = false;
        for chunk in bytes.utf8_chunks() {
            match self.clean_text(chunk.valid(), found) {
                Some((text, _)) => {
                    changed = true;
                    clean.extend_from_slice(text.as_bytes());
                }
                None => clean.extend_from_slice(chunk.valid().as_bytes()),
            }
            clean.extend_from_slice(chunk.invalid());
        }
        changed.then_some(clean)
    }

    /// The text without what was found, and whether a rule wants its field dropped; `None`: nothing was.
    fn clean_text(&self, text: &str, found: &mut dyn FnMut(&str)) -> Option<(String, bool)> {
        let mut clean = String::new();
        let (mut from, mut kept, mut drop) = (0, 0, false);
        while let Some((rule, range)) = self.next(text, &mut from) {
            let rule = &self.rules[rule];
            found(&rule.name);
            clean.push_str(&text[kept..range.start]);
            match rule.action {
                Action::Mask => clean.extend(["[redacted:", &rule.name, "]"]),
                Action::Hash => clean.extend(["[", &rule.name, ":", &self.hash(&text[range.clone()]), "]"]),
                Action::Drop => drop = true,
                Action::Encrypt => {
                    let sealer = self.sealer.as_ref();
                    match sealer.and_then(|sealer| sealer.seal(&rule.name, &text[range.clone()])) {
                        Some(sealed) => clean.push_str(&sealed),
                        None => clean.extend(["[redacted:", &rule.name, "]"]),
                    }
                }
            }
            kept = range.end;
        }
        if kept == 0 {
            return None;
        }
        clean.push_str(&text[kept..]);
        Some((clean, drop))
    }

    /// The next finding at or after `from`, which moves behind it.
    fn next(&self, text: &str, from: &mut usize) -> Option<(usize, Range<usize>)> {
        while let Some(found) = self.regex.search(&Input::new(text).range(*from..)) {
            let start = found.start();
            let first = found.pattern().as_usize();
            // What is none after all may still be one of another kind.
            for pattern in first..self.patterns.len() {
                let (rule, part) = self.patterns[pattern];
                let end = if pattern == first {
                    Some(found.end())
                } else {
                    let anchored = Anchored::Pattern(PatternID::new_unchecked(pattern));
                    self.regex
                        .search(&Input::new(text).range(start..).anchored(anchored))
                        .map(|found| found.end())
                };
                if let Some(range) = end.and_then(|end| part.of(text, start..end)) {
                    *from = range.end;
                    return Some((rule, range));
                }
            }
            *from = start + text[start..].chars().next().map_or(1, char::len_utf8);
        }
        None
    }

    fn hash(&self, text: &str) -> String {
        // A key of any length is one.
        let Ok(mut hash) = Hmac::<Sha256>::new_from_slice(&self.key) else { return String::new() };
        hash.update(text.as_bytes());
        let mut digits = hex(&hash.finalize().into_bytes());
        digits.truncate(HASH_DIGITS);
        digits
    }
}

/// A record that a [`Policy`] has looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Redacted(LogRecord);

impl Redacted {
    /// The record.
    pub fn record(&self) -> &LogRecord {
        &self.0
    }
}

#[cfg(test)]
mod tests;
