//! Lines of pairs: logfmt (`level=info msg="all is well"`, as Heroku and Go's loggers write it), and key-value lines with separators
//! of their own.

use super::{Reading, fields::Fields};
use millrace_model::Value;

/// What a key has.
enum Found<'a> {
    Nothing,
    Plain(&'a str),
    Quoted(String),
}

/// What stands between pairs, and between a key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// Between pairs; a blank stands for any run of blanks and tabs.
    pub pair: String,
    /// Between a key and its value.
    pub separator: String,
}

impl Default for KeyValue {
    fn default() -> Self {
        Self { pair: " ".to_owned(), separator: "=".to_owned() }
    }
}

/// Does the whole line consist of pairs, and of more than one? Then it is logfmt beyond doubt.
pub(super) fn is_logfmt(text: &str) -> bool {
    let first = text.trim_start().as_bytes();
    let key = first.iter().take(64).position(|byte| !is_key_byte(*byte));
    if key.is_none_or(|end| end == 0 || first[end] != b'=') {
        return false;
    }
    let mut pairs = 0;
    let whole = each(text, &KeyValue::default(), &mut |key, value| {
        pairs += 1;
        !matches!(value, Found::Nothing) && key.bytes().all(is_key_byte)
    });
    whole.is_ok() && pairs > 1
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.-/@".contains(&byte)
}

/// Reads a line of pairs. A key alone is true, as long as not most of the line is keys alone: then it is prose.
pub(super) fn read(text: &str, settings: &KeyValue, reading: &mut Reading<'_>) -> Result<(), String> {
    let mut fields = Fields::default();
    let (mut pairs, mut alone) = (0, 0);
    each(text, settings, &mut |key, value| {
        match value {
            Found::Plain(text) => fields.typed(key, text),
            Found::Quoted(text) => fields.push(key, Value::String(text)),
            Found::Nothing => {
                alone += 1;
                fields.push(key, Value::Bool(true));
                return true;
            }
        }
        pairs += 1;
        true
    })?;
    if pairs == 0 || alone > pairs {
        return Err(format!("no pairs of a key, {:?} and a value", settings.separator));
    }
    fields.place(reading);
    Ok(())
}

/// Calls `take` for each pair until it says no; `Err`: the line is none of pairs.
fn each(
    text: &str,
    settings: &KeyValue,
    take: &mut impl FnMut(&str, Found<'_>) -> bool,
) -> Result<(), String> {
    let blank = settings.pair.trim().is_empty();
    let mut rest = text;
    loop {
        rest = skip_pair_ends(rest, settings, blank);
        if rest.is_empty() {
            return Ok(());
        }
        let end = pair_end(rest, settings, blank);
        let separator = rest[..end].find(&settings.separator);
        let Some(at) = separator else {
            if rest.starts_with('"') {
                return Err(format!("a quote without a key at column {}", text.len() - rest.len() + 1));
            }
            if !take(rest[..end].trim(), Found::Nothing) {
                return Err("not all pairs".to_owned());
            }
            rest = &rest[end..];
            continue;
        };
        let key = rest[..at].trim();
        if key.is_empty() || key.contains('"') {
            return Err(format!(
                "no key before {:?} at column {}",
                settings.separator,
                text.len() - rest.len() + at + 1
            ));
        }
        rest = &rest[at + settings.separator.len()..];
        let value = if rest.starts_with('"') {
            let column = text.len() - rest.len() + 1;
            let (value, after) =
                unquote(rest).ok_or_else(|| format!("no closing quote after column {column}"))?;
            rest = after;
            Found::Quoted(value)
        } else {
            let end = pair_end(rest, settings, blank);
            let value = Found::Plain(rest[..end].trim());
            rest = &rest[end..];
            value
        };
        if !take(key, value) {
            return Err("not all pairs".to_owned());
        }
    }
}

fn skip_pair_ends<'a>(rest: &'a str, settings: &KeyValue, blank: bool) -> &'a str {
    if blank {
        return rest.trim_start();
    }
    let mut rest = rest.trim_start();
    while let Some(after) = rest.strip_prefix(settings.pair.trim()) {
        rest = after.trim_start();
    }
    rest
}

fn pair_end(rest: &str, settings: &KeyValue, blank: bool) -> usize {
    let end = if blank { rest.find(|c: char| c.is_ascii_whitespace()) } else { rest.find(&settings.pair) };
    end.unwrap_or(rest.len())
}

/// A text in double quotes with backslashes as in JSON, and what comes after it.
pub(super) fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text.strip_prefix('"')?;
    loop {
        let at = rest.find(['"', '\\'])?;
        value.push_str(&rest[..at]);
        if rest.as_bytes()[at] == b'"' {
            return Some((value, &rest[at + 1..]));
        }
        let mut characters = rest[at + 1..].chars();
        let escaped = characters.next()?;
        rest = characters.as_str();
        match escaped {
            'n' => value.push('\n'),
            'r' => value.push('\r'),
            't' => value.push('\t'),
            'u' => {
                match rest.get(..4).and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32)
                {
                    Some(character) => {
                        value.push(character);
                        rest = &rest[4..];
                    }
                    None => value.push_str("\\u"),
                }
            }
            '"' | '\\' | '/' | '\'' => value.push(escaped),
            other => {
                value.push('\\');
                value.push(other);
            }
        }
    }
}
