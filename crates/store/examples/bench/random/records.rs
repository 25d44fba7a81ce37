//! Records of every kind: lines as a parser reads them, the same with something changed afterwards, and records that no
//! line stands behind. Each one as it comes off the wire.

use super::{lines, values};
use crate::{chance::Chance, meter::Outcome};
use millrace_intake::Parsers;
use millrace_model::{
    Attributes, LogRecord, RecordId, Row, Severity, SourceId, StreamName, Timestamp, Value, wire,
};
use std::sync::Arc;

/// A few instants that rows share.
const TIMES: &[i64] =
    &[1, 999, 1_000, 1_001, 1_000_000_000, 1_000_000_001, 1_768_435_200_000_000_000, i64::MAX - 1];
/// 2026-01-15, about when most records are from.
const START: i64 = 1_768_435_200_000_000_000;
/// Ids run down from here, so that they run against the order in which rows come.
const LAST_POSITION: u64 = 1 << 40;
const LEVELS: &[&str] = &["", "", "INFO", "warn", "Error", "ERR", "custom level", "größe"];

/// Makes one after the other.
pub(crate) struct Maker {
    chance: Chance,
    resources: Vec<Arc<Attributes>>,
    time: i64,
}

impl Maker {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let resources = (0..7).map(|_| Arc::new(values::attributes(&mut chance))).collect();
        Self { chance, resources, time: START }
    }

    /// The next row. Two rows share a position; sources take turns at random.
    pub(crate) fn row(&mut self, number: u64) -> Outcome<Row> {
        let record = self.record();
        let record = wire::decode_record(&wire::encode_record(&record))?;
        let source = SourceId((self.chance.below(3) as u128) << 70 | 5);
        let id = RecordId { source, position: LAST_POSITION - number / 2, index: (number % 2) as u32 };
        let time = match self.chance.below(50) {
            0 => Timestamp(i64::MIN),
            1 => Timestamp(self.chance.pick(TIMES)),
            _ => record.time(),
        };
        Ok(Row { id, stream: StreamName::default(), time, record })
    }

    fn record(&mut self) -> LogRecord {
        let chance = &mut self.chance;
        self.time += chance.below(50_000_000) as i64;
        if chance.once_in(40) {
            let resource = Arc::new(values::attributes(chance));
            let at = chance.below(self.resources.len());
            self.resources[at] = resource;
        }
        let resource = Arc::clone(&self.resources[chance.below(self.resources.len())]);
        let observed = Timestamp(self.time);
        let read = |line: &[u8]| Parsers::default().parse(line, observed, &resource);
        match chance.below(20) {
            0..=6 => read(lines::text(chance).as_bytes()),
            7..=11 => read(lines::json(chance).as_bytes()),
            12..=14 => {
                let mut record = read(lines::json(chance).as_bytes());
                change(&mut record, chance);
                record
            }
            15 => read(&lines::odd(chance)),
            _ => without_line(observed, resource, chance),
        }
    }
}

/// Which one it is.
pub(crate) fn number(id: RecordId) -> Option<u64> {
    Some(LAST_POSITION.checked_sub(id.position)? * 2 + u64::from(id.index))
}

/// Something is no longer what the line says.
fn change(record: &mut LogRecord, chance: &mut Chance) {
    let key = || record.attributes.iter().next().map(|(key, _)| key.to_owned());
    match chance.below(12) {
        0 => record.attributes.set(values::path(chance), values::value(chance, 2)),
        1 => {
            if let Some(key) = key() {
                record.attributes.set(key, values::value(chance, 1));
            }
        }
        2 => {
            if let Some(key) = key() {
                record.attributes.remove(&key);
            }
        }
        3 => {
            let mut pairs: Vec<_> = std::mem::take(&mut record.attributes).into_iter().collect();
            pairs.reverse();
            record.attributes = pairs.into_iter().collect();
        }
        4 => record.timestamp = record.timestamp.map(|time| Timestamp(time.0.wrapping_add(1))),
        5 => record.timestamp = None,
        6 => chance.pick(LEVELS).clone_into(&mut record.severity_text),
        7 => record.severity = Severity::from_number(chance.below(25) as i64),
        8 => record.trace_id = Some([chance.next() as u8; 16]),
        9 => record.span_id = Some(chance.next().to_le_bytes()),
        10 => record.observed_timestamp = Timestamp(chance.pick(TIMES)),
        _ => {
            if let Value::String(line) = &record.body {
                record.body = Value::Bytes(line.clone().into_bytes());
            }
        }
    }
}

fn without_line(observed: Timestamp, resource: Arc<Attributes>, chance: &mut Chance) -> LogRecord {
    let timestamp = match chance.below(4) {
        0 => None,
        1 => Some(Timestamp(chance.pick(TIMES))),
        _ => Some(observed.minus(std::time::Duration::from_nanos(chance.below(3_000_000_000) as u64))),
    };
    LogRecord {
        timestamp,
        observed_timestamp: if chance.once_in(8) { Timestamp(chance.pick(TIMES)) } else { observed },
        severity: Severity::from_number(chance.below(25) as i64),
        severity_text: chance.pick(LEVELS).to_owned(),
        body: match chance.below(9) {
            0..=5 => {
                let words: Vec<String> = (0..chance.below(4)).map(|_| values::text(chance)).collect();
                Value::String(words.join(" "))
            }
            6 => Value::Bytes(values::bytes(chance)),
            _ => values::value(chance, 3),
        },
        resource,
        attributes: values::attributes(chance),
        trace_id: chance.once_in(3).then_some([0xab; 16]),
        span_id: chance.once_in(4).then(|| chance.next().to_be_bytes()),
    }
}
