//! A record as a hit.

use millrace_model::{Row, Value, fields::hex};
use millrace_store::Namer;
use serde_json::{Map, Value as Json, json};

/// Bodies in lists are cut at so many bytes.
const MAX_BODY: usize = 8 << 10;

/// How much of a body is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// As in lists.
    Cut,
    /// All of it.
    Whole,
}

/// The hit as the contract has it. What its line stands for is named from all of the line, however much is shown.
pub fn hit(row: &Row, show: Body, templates: &mut Namer<'_>) -> Json {
    let record = &row.record;
    let mut hit = Map::new();
    hit.insert("_id".to_owned(), json!(row.id));
    hit.insert("timestamp".to_owned(), json!(row.time));
    hit.insert("observed_timestamp".to_owned(), json!(record.observed_timestamp));
    hit.insert("severity_text".to_owned(), json!(record.level()));
    hit.insert("severity_number".to_owned(), json!(record.severity.number()));
    let (body, left_out) = body(&record.body, show);
    hit.insert("body".to_owned(), body);
    if left_out > 0 {
        hit.insert("body_truncated_bytes".to_owned(), json!(left_out));
    }
    hit.insert("resource".to_owned(), json!(record.resource));
    hit.insert("attributes".to_owned(), json!(record.attributes));
    if let Some(id) = &record.trace_id {
        hit.insert("trace_id".to_owned(), json!(hex(id)));
    }
    if let Some(id) = &record.span_id {
        hit.insert("span_id".to_owned(), json!(hex(id)));
    }
    hit.insert("_stream".to_owned(), json!(row.stream));
    hit.insert("_source".to_owned(), json!(row.id.source));
    hit.insert("_position".to_owned(), json!(row.id.position));
    if let Some(template) = templates.name(record) {
        hit.insert("_template".to_owned(), json!(template));
    }
    Json::Object(hit)
}

/// The body, and how many bytes of it are left out.
fn body(value: &Value, show: Body) -> (Json, usize) {
    let text = match value {
        Value::String(text) => text.as_str(),
        other => return (json!(other), 0),
    };
    if show == Body::Whole || text.len() <= MAX_BODY {
        return (json!(text), 0);
    }
    let mut end = MAX_BODY;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (json!(text[..end]), text.len() - end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_model::{LogRecord, RecordId, SourceId, StreamName, Timestamp};
    use millrace_store::{TemplateId, Templates};

    fn row(body: impl Into<Value>) -> Row {
        Row {
            id: RecordId { source: SourceId(1), position: 2, index: 0 },
            stream: StreamName::default(),
            time: Timestamp(3),
            record: LogRecord { body: body.into(), ..LogRecord::default() },
        }
    }

    #[test]
    fn a_long_body_is_cut_on_a_character_and_says_so() {
        let text = format!("x{}", "é".repeat(5000));
        let row = row(text.as_str());
        let templates = Templates::new();
        let cut = hit(&row, Body::Cut, &mut templates.namer());
        let shown = cut["body"].as_str().map_or(0, str::len);
        assert_eq!(shown, MAX_BODY - 1);
        assert_eq!(cut["body_truncated_bytes"], json!(text.len() - shown));
        assert_eq!(cut["_position"], json!(2));
        let whole = hit(&row, Body::Whole, &mut templates.namer());
        assert_eq!(whole["body"], json!(text));
        assert_eq!(cut["_template"], whole["_template"], "a template is of the whole line");
        assert_eq!(cut["_template"], json!(TemplateId::of(text.as_bytes()).to_string()));
    }

    #[test]
    fn a_hit_says_the_template_of_a_text_and_of_nothing_else() {
        let mut templates = Templates::new();
        templates.absorb(b"user \0 is \0");
        let mut namer = templates.namer();
        let mut template = |body: Value| hit(&row(body), Body::Cut, &mut namer).get("_template").cloned();
        let of = |mask: &[u8]| Some(json!(TemplateId::of(mask).to_string()));
        assert_eq!(template(Value::from("user ann is 7")), of(b"user \0 is \0"));
        assert_eq!(template(Value::from("host ann is 7")), of(b"host ann is \0"));
        assert_eq!(template(Value::from("")), of(b""));
        // As `sha256sum` has it of the fixed prefix.
        assert_eq!(of(b""), Some(json!("5b1c197c78c0f76a")));
        for body in [Value::Null, Value::Bytes(b"user".to_vec()), Value::Int(7)] {
            assert_eq!(template(body), None);
        }
    }
}
