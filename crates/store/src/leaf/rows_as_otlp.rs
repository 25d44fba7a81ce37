//! Rows in JSON: place and id as they print, the record as OTLP bytes in hexadecimal. Nothing is lost, not even
//! bytes that are no text, nor which texts are searched by their words: OTLP cannot say that, so where there are such the
//! attributes travel a second time, as shards spell them.

use crate::shape::{put_attributes, read_attributes};
use millrace_model::{Attributes, RecordId, Row, StreamName, Timestamp, Value, fields::hex, wire};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

#[derive(Serialize, Deserialize)]
struct Travelling {
    id: RecordId,
    stream: StreamName,
    time: Timestamp,
    record: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attributes: Option<String>,
}

/// The attributes as shards spell them, where OTLP would lose something of them.
fn spelled(attributes: &Attributes) -> Option<String> {
    let mut by_words = false;
    attributes.each_leaf(&mut |_, value| by_words |= matches!(value, Value::Text(_)));
    by_words.then(|| {
        let mut bytes = Vec::new();
        put_attributes(&mut bytes, attributes);
        hex(&bytes)
    })
}

pub(super) fn serialize<S: Serializer>(rows: &[Row], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(rows.iter().map(|row| Travelling {
        id: row.id,
        stream: row.stream.clone(),
        time: row.time,
        record: hex(&wire::encode_record(&row.record)),
        attributes: spelled(&row.record.attributes),
    }))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Row>, D::Error> {
    let rows: Vec<Travelling> = Vec::deserialize(deserializer)?;
    rows.into_iter()
        .map(|Travelling { id, stream, time, record, attributes }| {
            let bytes =
                |text: &str| unhex(text).ok_or_else(|| D::Error::custom("hexadecimal digits expected"));
            let mut record = wire::decode_record(&bytes(&record)?).map_err(D::Error::custom)?;
            if let Some(attributes) = attributes {
                record.attributes = read_attributes(&bytes(&attributes)?).map_err(D::Error::custom)?;
            }
            Ok(Row { id, stream, time, record })
        })
        .collect()
}

/// The bytes of a text in hexadecimal; `None` where it is none.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    rest.is_empty().then_some(())?;
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}
