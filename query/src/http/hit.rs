//! A record as a hit.

use super::described::Time;
use millrace_model::{Attributes, RecordId, Row, SourceId, StreamName, Timestamp, Value, fields::hex};
use millrace_store::Namer;
use serde::Serialize;
use serde_json::{Value as Json, json};
use utoipa::ToSchema;

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

/// A record, as it is found.
#[derive(Serialize, ToSchema)]
pub(super) struct Hit<'r> {
    /// Its id: the same whenever it is read again.
    #[serde(rename = "_id")]
    #[schema(value_type = String)]
    id: RecordId,
    /// When it happened; where that cannot be believed, when it was observed.
    #[schema(value_type = Time)]
    timestamp: Timestamp,
    /// When it was read or taken in.
    #[schema(value_type = Time)]
    observed_timestamp: Timestamp,
    /// The level as the record says it, or the class of its number; empty: it says none.
    #[schema(value_type = String)]
    severity_text: &'r str,
    /// OpenTelemetry's, 1 to 24; 0: it says none.
    severity_number: u8,
    /// The line, where the input was a line; of a record that was handed in whatever its body is.
    #[schema(value_type = Json)]
    body: Json,
    /// The body was cut, and lacks so many bytes: `/api/v1/records/{id}` has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    body_truncated_bytes: Option<usize>,
    /// What it comes from.
    #[schema(value_type = HashMap<String, Json>)]
    resource: &'r Attributes,
    /// What it says.
    #[schema(value_type = HashMap<String, Json>)]
    attributes: &'r Attributes,
    /// 32 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    trace_id: Option<String>,
    /// 16 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    span_id: Option<String>,
    /// Its stream.
    #[serde(rename = "_stream")]
    #[schema(value_type = String)]
    stream: &'r StreamName,
    /// Its source.
    #[serde(rename = "_source")]
    #[schema(value_type = String)]
    source: SourceId,
    /// Where in its source it begins.
    #[serde(rename = "_position")]
    position: u64,
    /// The template of its line.
    #[serde(rename = "_template", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    template: Option<String>,
}

/// The hit as the contract has it. What its line stands for is named from all of the line, however much is shown.
pub fn hit(row: &Row, show: Body, templates: &mut Namer<'_>) -> Json {
    let record = &row.record;
    let (body, left_out) = body(&record.body, show);
    json!(Hit {
        id: row.id,
        timestamp: row.time,
        observed_timestamp: record.observed_timestamp,
        severity_text: record.level(),
        severity_number: record.severity.number(),
        body,
        body_truncated_bytes: (left_out > 0).then_some(left_out),
        resource: &record.resource,
        attributes: &record.attributes,
        trace_id: record.trace_id.as_ref().map(|id| hex(id)),
        span_id: record.span_id.as_ref().map(|id| hex(id)),
        stream: &row.stream,
        source: row.id.source,
        position: row.id.position,
        template: templates.name(record).map(|template| template.to_string()),
    })
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
