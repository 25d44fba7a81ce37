//! Rows in JSON: place and id as they print, the record as OTLP bytes in hexadecimal. Nothing is lost, not even
//! bytes that are no text.

use millrace_model::{RecordId, Row, StreamName, Timestamp, fields::hex, wire};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

#[derive(Serialize, Deserialize)]
struct Travelling {
    id: RecordId,
    stream: StreamName,
    time: Timestamp,
    record: String,
}

pub(super) fn serialize<S: Serializer>(rows: &[Row], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(rows.iter().map(|row| Travelling {
        id: row.id,
        stream: row.stream.clone(),
        time: row.time,
        record: hex(&wire::encode_record(&row.record)),
    }))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Row>, D::Error> {
    let rows: Vec<Travelling> = Vec::deserialize(deserializer)?;
    rows.into_iter()
        .map(|Travelling { id, stream, time, record }| {
            let bytes = unhex(&record).ok_or_else(|| D::Error::custom("a record in hexadecimal expected"))?;
            let record = wire::decode_record(&bytes).map_err(D::Error::custom)?;
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
