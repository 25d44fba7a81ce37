//! What parsers gather: fields, bounded in number, and values whose type is told from their text.

use super::{DROPPED_ATTRIBUTES, Reading, json::MAX_VALUES, names};
use millrace_model::{Attributes, Value};

/// The fields of a line.
#[derive(Debug, Default)]
pub(super) struct Fields {
    attributes: Attributes,
    dropped: usize,
}

impl Fields {
    /// One more; beyond the bound it is counted only, and the line has it.
    pub(super) fn push(&mut self, key: &str, value: Value) {
        if self.attributes.len() < MAX_VALUES {
            self.attributes.push(key.to_owned(), value);
        } else {
            self.dropped += 1;
        }
    }

    /// One whose type its text tells.
    pub(super) fn typed(&mut self, key: &str, text: &str) {
        self.push(key, if names::is_id(key) { Value::from(text) } else { typed(text) });
    }

    /// A text, if there is one.
    pub(super) fn text(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.push(key, Value::from(text));
        }
    }

    /// All go to their places in the record.
    pub(super) fn place(self, reading: &mut Reading<'_>) {
        names::place(self.attributes.with_last_of_each(), reading);
        if self.dropped > 0 {
            reading.record.attributes.set(DROPPED_ATTRIBUTES, self.dropped as i64);
        }
    }
}

/// A number where the text is spelled as one would be written, a boolean for `true` and `false`; all else, such as `007`, stays
/// text.
fn typed(text: &str) -> Value {
    match text {
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let whole = digits.bytes().take_while(u8::is_ascii_digit).count();
    if whole == 0 || (whole > 1 && digits.starts_with('0')) {
        return Value::from(text);
    }
    let number = match digits[whole..].strip_prefix('.') {
        None if digits.len() == whole && text != "-0" => text.parse().ok().map(Value::Int),
        Some(fraction) if !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().ok().map(Value::Double)
        }
        _ => None,
    };
    number.unwrap_or_else(|| Value::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_one_only_as_it_would_be_written() {
        for (text, value) in [
            ("0", Value::Int(0)),
            ("-12", Value::Int(-12)),
            ("1.50", Value::Double(1.5)),
            ("true", Value::Bool(true)),
        ] {
            assert_eq!(typed(text), value);
        }
        for text in
            ["007", "", "-", "-0", "1.", ".5", "1e3", "12ms", "99999999999999999999", "1.2.3", "True", "00.1"]
        {
            assert_eq!(typed(text), Value::from(text));
        }
    }
}
