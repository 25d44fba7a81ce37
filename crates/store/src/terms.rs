//! How the facts of a record besides its words are spelled as terms, for the sealer that writes them and the lowering
//! that looks them up. A term is a key, or a key, a NUL, one letter and a text:
//!
//! | term | said of a record |
//! |---|---|
//! | `attributes.PATH`, `resource.PATH`, `trace_id`, `span_id`, `body` | the field is there |
//! | key `NUL` `s` TEXT | its value is this string |
//! | key `NUL` `t` TEXT | its value is this text, which is searched by its words |
//! | key `NUL` `i` `d` `b` `y` TEXT | its value is this integer, double, boolean, lossy text of bytes |
//! | key `NUL` `n` or `m` or `a` | its value is null, a map, an array |
//! | key `NUL` `o` | its value is an array that holds more than its own terms say |
//! | key `NUL` `c` TEXT | its value begins like this and is too long for a term |
//! | key `NUL` `f` TEXT | its text in folded case, where that differs |
//! | key `NUL` `W` WORD | this word (folded) is in a text that is searched by its words; without a word: there is such a text |
//! | key `NUL` `S` `I` `D` TEXT | its value is an array with this text (folded), integer, double somewhere in it |
//! | `level` `NUL` `s` NN TEXT | its severity number and text |
//!
//! **Invariant:** a path is spelled for exactly the value that [`Attributes::at`] finds under it, and every such value
//! has one term of the lower-case letters but `f`. So the distinct values of a field can be read from the dictionary
//! alone, and whoever has the records of each has them all.

use millrace_model::{
    Attributes, Severity, Value,
    text::{each_token, fold, indexed_form},
};

/// The longest text of a value that is kept whole, in bytes.
pub(crate) const MAX_TEXT: usize = 256;
/// The longest path that has terms, in bytes. A longer one is decided by the record itself.
pub(crate) const MAX_PATH: usize = 1024;

pub(crate) const TRACE_ID: &[u8] = b"trace_id";
pub(crate) const SPAN_ID: &[u8] = b"span_id";
pub(crate) const BODY: &[u8] = b"body";
pub(crate) const LEVEL: &[u8] = b"level";

/// Which of the two sets of named values a path is looked up in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// What the record says of itself.
    Attributes,
    /// What it is about.
    Resource,
}

/// The key of a path; `None` where it is too long to have one.
pub(crate) fn key(scope: Scope, path: &str) -> Option<Vec<u8>> {
    let prefix = match scope {
        Scope::Attributes => "attributes.",
        Scope::Resource => "resource.",
    };
    (path.len() <= MAX_PATH).then(|| {
        let mut key = prefix.as_bytes().to_vec();
        for byte in path.bytes() {
            match byte {
                // NUL ends a key, so inside of one it is spelled otherwise.
                0 => key.extend([1, 2]),
                1 => key.extend([1, 1]),
                _ => key.push(byte),
            }
        }
        key
    })
}

/// The term of a key, a kind and a text that fits.
pub(crate) fn term(key: &[u8], kind: u8, text: &str) -> Vec<u8> {
    let mut term = Vec::with_capacity(key.len() + 2 + text.len());
    term.extend_from_slice(key);
    term.extend([0, kind]);
    term.extend_from_slice(text.as_bytes());
    term
}

/// The kind and the text of a term that says all of a record's value under a key, where a text is all that takes.
pub(crate) fn whole_text<'t>(key: &[u8], term: &'t [u8]) -> Option<(u8, &'t [u8])> {
    let (kind, text) = term.strip_prefix(key)?.strip_prefix(&[0])?.split_first()?;
    b"stib".contains(kind).then_some((*kind, text))
}

/// The value that such a term says.
pub(crate) fn whole_value(key: &[u8], term: &[u8]) -> Option<Value> {
    let (kind, text) = whole_text(key, term)?;
    let text = std::str::from_utf8(text).ok()?;
    match kind {
        // Whoever counts values does not tell the two apart.
        b's' | b't' => Some(Value::String(text.to_owned())),
        b'i' => text.parse().ok().map(Value::Int),
        _ => text.parse().ok().map(Value::Bool),
    }
}

/// The term of a level.
pub(crate) fn level(severity: Severity, text: &str) -> Vec<u8> {
    let text = format!("{:02}{text}", severity.number());
    match cut(&text) {
        (whole, false) => term(LEVEL, b's', whole),
        (begin, true) => term(LEVEL, b'c', begin),
    }
}

/// Calls `visit` with each term of named values.
pub(crate) fn each_of(scope: Scope, root: &Attributes, visit: &mut dyn FnMut(&[u8])) {
    each_value(root, &mut |path, value| {
        // Of two spellings of one path only the one that a query sees has terms.
        if !root.at(path).is_some_and(|seen| std::ptr::eq(seen, value)) {
            return;
        }
        let Some(key) = key(scope, path) else { return };
        visit(&key);
        spell(&key, value, visit);
    });
}

/// Calls `visit` with each term of a value.
pub(crate) fn spell(key: &[u8], value: &Value, visit: &mut dyn FnMut(&[u8])) {
    let mut bounded = |kind: u8, text: &str| match cut(text) {
        (whole, false) => visit(&term(key, kind, whole)),
        (begin, true) => visit(&term(key, b'c', begin)),
    };
    match value {
        Value::Null => bounded(b'n', ""),
        Value::Bool(value) => bounded(b'b', if *value { "true" } else { "false" }),
        Value::Int(number) => bounded(b'i', &number.to_string()),
        Value::Double(number) => bounded(b'd', &number.to_string()),
        Value::Map(_) => bounded(b'm', ""),
        Value::Bytes(_) => {
            let text = value.to_string();
            bounded(b'y', &text);
            let folded = fold(&text);
            if folded.len() <= MAX_TEXT {
                bounded(b'f', &folded);
            }
        }
        Value::String(text) => {
            bounded(b's', text);
            let folded = fold(text);
            if folded != *text && folded.len() <= MAX_TEXT {
                bounded(b'f', &folded);
            }
        }
        Value::Text(text) => {
            bounded(b't', text);
            spell_words(key, text, visit);
        }
        Value::Array(values) => {
            let whole = spell_elements(key, values, visit);
            visit(&term(key, if whole { b'a' } else { b'o' }, ""));
        }
    }
}

/// Spells the words of a text that is searched by them.
fn spell_words(key: &[u8], text: &str, visit: &mut dyn FnMut(&[u8])) {
    visit(&term(key, b'W', ""));
    each_token(text, &mut String::new(), &mut |word| visit(&term(key, b'W', indexed_form(word))));
}

/// Spells the elements of an array and of the arrays in it; says whether all of them fit.
fn spell_elements(key: &[u8], values: &[Value], visit: &mut dyn FnMut(&[u8])) -> bool {
    let mut whole = true;
    for value in values {
        let (kind, text) = match value {
            Value::Array(values) => {
                whole &= spell_elements(key, values, visit);
                continue;
            }
            // Neither equals anything.
            Value::Map(_) | Value::Null => continue,
            Value::Int(_) => (b'I', value.to_string()),
            Value::Double(_) => (b'D', value.to_string()),
            Value::Text(text) => {
                spell_words(key, text, visit);
                (b'S', fold(text))
            }
            Value::String(_) | Value::Bytes(_) | Value::Bool(_) => (b'S', fold(&value.to_string())),
        };
        if text.len() <= MAX_TEXT {
            visit(&term(key, kind, &text));
        } else {
            whole = false;
        }
    }
    whole
}

/// At most [`MAX_TEXT`] bytes of `text`, on a character's edge, and whether that is less than all.
fn cut(text: &str) -> (&str, bool) {
    if text.len() <= MAX_TEXT {
        return (text, false);
    }
    (&text[..text.floor_char_boundary(MAX_TEXT)], true)
}

/// Calls `visit` with every path and its value, maps included.
fn each_value<'a>(root: &'a Attributes, visit: &mut dyn FnMut(&str, &'a Value)) {
    fn walk<'a>(prefix: &mut String, attributes: &'a Attributes, visit: &mut dyn FnMut(&str, &'a Value)) {
        let length = prefix.len();
        for (key, value) in attributes.iter() {
            prefix.push_str(key);
            visit(prefix, value);
            if let Value::Map(inner) = value {
                prefix.push('.');
                walk(prefix, inner, visit);
            }
            prefix.truncate(length);
        }
    }
    walk(&mut String::new(), root, visit);
}

#[cfg(test)]
mod tests;
