//! Fields whose values are hidden from who may not see them, and what of a record is left then.

use crate::{Attributes, FieldRef, Grant, LogRecord, Row, StreamName, Value};
use std::{borrow::Cow, sync::Arc};

/// What stands where something is hidden.
pub const HIDDEN: &str = "***";

/// What is hidden, and where it is not. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masks {
    fields: Arc<[FieldRef]>,
    /// The streams in which nothing is hidden.
    clear: Grant,
}

impl Default for Masks {
    /// Nothing is hidden.
    fn default() -> Self {
        Self { fields: Arc::default(), clear: Grant::All }
    }
}

/// Why a field cannot be hidden.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is part of every record: only attributes, fields of the resource, the body, trace_id and span_id can be hidden"
)]
pub struct NotHidden(String);

impl Masks {
    /// Hides these fields, by their names as in queries, but for the streams of `clear`.
    ///
    /// # Errors
    /// A field that cannot be hidden.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>, clear: Grant) -> Result<Self, NotHidden> {
        let field = |name: &str| match FieldRef::resolve(name) {
            FieldRef::Level
            | FieldRef::SeverityNumber
            | FieldRef::Timestamp
            | FieldRef::ObservedTimestamp
            | FieldRef::Id
            | FieldRef::Source
            | FieldRef::Position
            | FieldRef::Stream
            | FieldRef::AttributeNames
            | FieldRef::ResourceNames => Err(NotHidden(name.to_owned())),
            field => Ok(field),
        };
        Ok(Self { fields: names.into_iter().map(field).collect::<Result<_, _>>()?, clear })
    }

    /// The same fields, hidden but for other streams.
    #[must_use]
    pub fn but_for(&self, clear: Grant) -> Self {
        Self { fields: Arc::clone(&self.fields), clear }
    }

    /// Is anything hidden in any stream?
    pub fn hide_anything(&self) -> bool {
        !self.fields.is_empty() && self.clear != Grant::All
    }

    /// Is anything hidden in this stream?
    pub fn hide_in(&self, stream: &StreamName) -> bool {
        !self.fields.is_empty() && !self.clear.covers(stream)
    }

    /// What of a record is shown. The values of hidden fields are [`HIDDEN`], and so is each place of the line and of other texts where such a
    /// value stands by itself. A line of JSON in which a value of an attribute is not found as it is, because it is written
    /// otherwise there, is hidden whole.
    #[must_use]
    pub fn apply(&self, mut row: Row) -> Row {
        if self.hide_in(&row.stream) {
            self.hide(&mut row.record);
        }
        row
    }

    /// The same of a row that stays.
    pub fn shown<'r>(&self, row: &'r Row) -> Cow<'r, Row> {
        if self.hide_in(&row.stream) { Cow::Owned(self.apply(row.clone())) } else { Cow::Borrowed(row) }
    }

    fn hide(&self, record: &mut LogRecord) {
        let mut hidden = Hidden::default();
        for field in self.fields.iter() {
            match field {
                FieldRef::Body => record.body = HIDDEN.into(),
                FieldRef::TraceId => record.trace_id = None,
                FieldRef::SpanId => record.span_id = None,
                _ => {
                    for path in field.paths() {
                        if !matches!(field, FieldRef::Resource(_)) {
                            hide_at(&mut record.attributes, path, &mut hidden.of_attributes);
                        }
                        if !matches!(field, FieldRef::Attribute(_)) && holds(&record.resource, path) {
                            hide_at(Arc::make_mut(&mut record.resource), path, &mut hidden.of_resource);
                        }
                    }
                }
            }
        }
        hidden.take_out_of(record);
    }
}

/// The values that were hidden, as texts.
#[derive(Default)]
struct Hidden {
    of_attributes: Vec<String>,
    of_resource: Vec<String>,
}

impl Hidden {
    /// Hides them wherever else they stand.
    fn take_out_of(&mut self, record: &mut LogRecord) {
        if let Value::String(line) | Value::Text(line) = &record.body
            && line.trim_start().starts_with('{')
            && self.of_attributes.iter().any(|text| !stands_in(line, text))
        {
            record.body = HIDDEN.into();
        }
        let mut texts = std::mem::take(&mut self.of_attributes);
        texts.append(&mut self.of_resource);
        // A part of another one is not to be hidden first.
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        texts.dedup();
        texts.retain(|text| !text.is_empty());
        if texts.is_empty() {
            return;
        }
        take_out(&mut record.body, &texts);
        take_out_of_all(&mut record.attributes, &texts);
        let has_any = |(_, value): (&str, &Value)| {
            let mut value = value.clone();
            take_out(&mut value, &texts)
        };
        if record.resource.iter().any(has_any) {
            take_out_of_all(Arc::make_mut(&mut record.resource), &texts);
        }
    }
}

/// Is there anything at a path? In the elements of arrays, too.
fn holds(attributes: &Attributes, path: &str) -> bool {
    attributes.iter().any(|(key, value)| match below(key, path) {
        Some("") => true,
        Some(rest) => holds_in(value, rest),
        None => false,
    })
}

fn holds_in(value: &Value, path: &str) -> bool {
    match value {
        Value::Map(map) => holds(map, path),
        Value::Array(values) => values.iter().any(|value| holds_in(value, path)),
        _ => false,
    }
}

/// What is left of a path behind this key; nothing where it is the key.
fn below<'p>(key: &str, path: &'p str) -> Option<&'p str> {
    let rest = path.strip_prefix(key)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
}

/// Hides all that lies at a path, and tells what that was.
fn hide_at(attributes: &mut Attributes, path: &str, hidden: &mut Vec<String>) {
    for (key, value) in attributes.iter_mut() {
        match below(key, path) {
            Some("") => {
                texts(value, hidden);
                *value = HIDDEN.into();
            }
            Some(rest) => hide_in(value, rest, hidden),
            None => {}
        }
    }
}

fn hide_in(value: &mut Value, path: &str, hidden: &mut Vec<String>) {
    match value {
        Value::Map(map) => hide_at(map, path, hidden),
        Value::Array(values) => values.iter_mut().for_each(|value| hide_in(value, path, hidden)),
        _ => {}
    }
}

/// A value's texts.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        // They stand everywhere, and tell nothing.
        Value::Null | Value::Bool(_) => {}
        Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
        Value::Map(map) => map.iter().for_each(|(_, value)| texts(value, found)),
        other => found.push(other.to_string()),
    }
}

/// A text as it stands between quotes in JSON, where that is another.
fn escaped(text: &str) -> Option<String> {
    let quoted = serde_json::to_string(text).ok()?;
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    (inner != text).then(|| inner.to_owned())
}

fn stands_in(line: &str, text: &str) -> bool {
    text.is_empty()
        || place(line, text, 0).is_some()
        || escaped(text).is_some_and(|text| place(line, &text, 0).is_some())
}

/// Where a text stands by itself in a line, from a byte on: not as a part of a longer word or number.
fn place(line: &str, text: &str, from: usize) -> Option<usize> {
    let of_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let (begins, ends) = (of_word(text.chars().next()), of_word(text.chars().next_back()));
    line.get(from..)?.match_indices(text).map(|(at, _)| from + at).find(|at| {
        let before = line[..*at].chars().next_back();
        let behind = line[at + text.len()..].chars().next();
        !(begins && of_word(before) || ends && of_word(behind))
    })
}

/// Hides texts in a value. Was one there?
fn take_out(value: &mut Value, texts: &[String]) -> bool {
    match value {
        Value::String(line) | Value::Text(line) => take_out_of_line(line, texts),
        Value::Bytes(bytes) => {
            let mut line = String::from_utf8_lossy(bytes).into_owned();
            let was_there = take_out_of_line(&mut line, texts);
            if was_there {
                *value = Value::String(line);
            }
            was_there
        }
        Value::Int(_) | Value::Double(_) => {
            let is_one = texts.contains(&value.to_string());
            if is_one {
                *value = HIDDEN.into();
            }
            is_one
        }
        Value::Array(values) => take_out_of_each(values.iter_mut(), texts),
        Value::Map(map) => take_out_of_all(map, texts),
        Value::Null | Value::Bool(_) => false,
    }
}

fn take_out_of_all(attributes: &mut Attributes, texts: &[String]) -> bool {
    take_out_of_each(attributes.iter_mut().map(|(_, value)| value), texts)
}

fn take_out_of_each<'v>(values: impl Iterator<Item = &'v mut Value>, texts: &[String]) -> bool {
    // All of them: not only up to the first that had one.
    values.filter_map(|value| take_out(value, texts).then_some(())).count() > 0
}

fn take_out_of_line(line: &mut String, texts: &[String]) -> bool {
    let mut was_there = false;
    for text in texts {
        was_there |= take_one_out(line, text);
        if let Some(text) = escaped(text) {
            was_there |= take_one_out(line, &text);
        }
    }
    was_there
}

fn take_one_out(line: &mut String, text: &str) -> bool {
    let (mut from, mut was_there) = (0, false);
    while let Some(at) = place(line, text, from) {
        line.replace_range(at..at + text.len(), HIDDEN);
        from = at + HIDDEN.len();
        was_there = true;
    }
    was_there
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::{RecordId, SourceId, Timestamp};

    fn row(body: &str, attributes: &str, resource: &str) -> Row {
        let record = LogRecord {
            body: body.into(),
            attributes: serde_json::from_str(attributes).unwrap(),
            resource: Arc::new(serde_json::from_str(resource).unwrap()),
            trace_id: Some([7; 16]),
            ..LogRecord::default()
        };
        Row {
            id: RecordId { source: SourceId(1), position: 0, index: 0 },
            stream: "app".parse().unwrap(),
            time: Timestamp(0),
            record,
        }
    }

    fn masked(names: &[&str], body: &str, attributes: &str, resource: &str) -> [String; 3] {
        let masks =
            Masks::new(names.iter().copied(), Grant::Streams(["clear".parse().unwrap()].into())).unwrap();
        let LogRecord { body, attributes, resource, .. } =
            masks.apply(row(body, attributes, resource)).record;
        let json = |attributes: &Attributes| serde_json::to_string(attributes).unwrap();
        [body.to_string(), json(&attributes), json(&resource)]
    }

    #[test]
    fn a_value_is_hidden_wherever_it_stands() {
        for (names, body, attributes, resource, shown) in [
            (
                &["user.email"][..],
                r#"{"user":{"email":"a@b.c"},"note":"for a@b.c"}"#,
                r#"{"user":{"email":"a@b.c","id":7},"note":"for a@b.c","user.email":"x"}"#,
                "{}",
                [HIDDEN, r#"{"user":{"email":"***","id":7},"note":"for ***","user.email":"***"}"#, "{}"],
            ),
            (
                &["user.email"],
                r#"{"user":{"email":"a@b.c"},"note":"for a@b.c, not for ba@b.cd"}"#,
                r#"{"user":{"email":"a@b.c"}}"#,
                "{}",
                [
                    r#"{"user":{"email":"***"},"note":"for ***, not for ba@b.cd"}"#,
                    r#"{"user":{"email":"***"}}"#,
                    "{}",
                ],
            ),
            (
                &["client_ip"],
                "10.0.0.1 - - GET /?from=10.0.0.1 110.0.0.1",
                r#"{"client.address":"10.0.0.1","url.query":"from=10.0.0.1","n":5}"#,
                "{}",
                [
                    "*** - - GET /?from=*** 110.0.0.1",
                    r#"{"client.address":"***","url.query":"from=***","n":5}"#,
                    "{}",
                ],
            ),
            (
                &["card"],
                "card 4711 of 47110, in all 4711",
                r#"{"card":4711,"other":4711,"list":[4711,1]}"#,
                "{}",
                ["card *** of 47110, in all ***", r#"{"card":"***","other":"***","list":["***",1]}"#, "{}"],
            ),
            (
                &["resource.host.name"],
                "web1 is up",
                r#"{"host.name":"web1"}"#,
                r#"{"host.name":"web1","os":"linux"}"#,
                ["*** is up", r#"{"host.name":"***"}"#, r#"{"host.name":"***","os":"linux"}"#],
            ),
            (
                &["people.name"],
                "x",
                r#"{"people":[{"name":"a"},{"name":"b","age":1}]}"#,
                "{}",
                ["x", r#"{"people":[{"name":"***"},{"name":"***","age":1}]}"#, "{}"],
            ),
            (&["body"], "x", r#"{"a":"x"}"#, "{}", ["***", r#"{"a":"x"}"#, "{}"]),
            (&["absent"], "x absent", r#"{"a":"x"}"#, "{}", ["x absent", r#"{"a":"x"}"#, "{}"]),
        ] {
            assert_eq!(masked(names, body, attributes, resource), shown, "{names:?} of {body}");
        }
    }

    #[test]
    fn a_line_that_writes_a_value_otherwise_is_hidden() {
        let escaped = masked(&["who"], r#"{"who":"a\"b","x":1}"#, r#"{"who":"a\"b","x":1}"#, "{}");
        assert_eq!(escaped[0], r#"{"who":"***","x":1}"#);
        let otherwise = masked(&["who"], r#"{"who":"\u0061nna","x":1}"#, r#"{"who":"anna","x":1}"#, "{}");
        assert_eq!(otherwise[0], HIDDEN);
        let number = masked(&["n"], r#"{"n":1.50}"#, r#"{"n":1.5}"#, "{}");
        assert_eq!(number[0], HIDDEN);
    }

    #[test]
    fn who_may_see_a_stream_in_clear_does() {
        let masks = Masks::new(["a", "trace_id"], Grant::Streams(["app".parse().unwrap()].into())).unwrap();
        let whole = row("x", r#"{"a":"x"}"#, "{}");
        assert_eq!(masks.apply(whole.clone()), whole);
        assert!(masks.hide_anything() && !Masks::default().hide_anything());
        let other = Row { stream: "web".parse().unwrap(), ..whole };
        let hidden = masks.apply(other);
        assert_eq!((hidden.record.body.to_string().as_str(), hidden.record.trace_id), (HIDDEN, None));
        assert!(!masks.but_for(Grant::All).hide_anything());
        assert!(Masks::new(["level"], Grant::All).is_err() && Masks::new(["_id"], Grant::All).is_err());
    }
}
