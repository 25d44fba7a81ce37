//! A journal entry becomes a record: message, priority, host and program go to their places, the other fields become
//! attributes under their journal names.

use super::export::{Field, JournalEntry};
use millrace_intake::{
    parse::{DROPPED_ATTRIBUTES, set_syslog_level},
    smaller::{ORIGINAL_LENGTH, TRUNCATED},
};
use millrace_model::{Attributes, LogRecord, Timestamp, Value};
use std::{collections::HashMap, sync::Arc};

/// So many resources are kept to be shared; then it begins anew.
const MAX_RESOURCES: usize = 1024;

/// Where an entry stands in its journal: not to be compared as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The cursor itself, for journalctl.
    pub(crate) text: String,
    /// The id of the sequence of numbers, 32 hexadecimal digits.
    pub(crate) sequence: String,
    /// The number in it.
    pub(crate) number: u64,
}

impl Cursor {
    /// Out of `s=…;i=…;b=…;m=…;t=…;x=…`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let part = |key| text.split(';').find_map(|part: &str| part.strip_prefix(key));
        let number = u64::from_str_radix(part("i=")?, 16).ok()?;
        Some(Self { text: text.to_owned(), sequence: part("s=")?.to_owned(), number })
    }

    pub(crate) fn of(entry: &JournalEntry) -> Option<Self> {
        Self::parse(std::str::from_utf8(entry.get("__CURSOR")?).ok()?)
    }
}

/// Makes records; shares their resources.
#[derive(Debug)]
pub(crate) struct Records {
    host: Arc<str>,
    resources: HashMap<(Vec<u8>, Vec<u8>), Arc<Attributes>>,
}

impl Records {
    /// `host` is for entries that do not say where they come from.
    pub(crate) fn new(host: Arc<str>) -> Self {
        Self { host, resources: HashMap::new() }
    }

    pub(crate) fn make(&mut self, entry: JournalEntry, observed: Timestamp) -> LogRecord {
        let service = ["SYSLOG_IDENTIFIER", "_SYSTEMD_UNIT", "_COMM"].iter().find_map(|name| entry.get(name));
        let host = entry.get("_HOSTNAME").unwrap_or(self.host.as_bytes()).to_vec();
        let resource = self.resource(host, service.unwrap_or_default().to_vec());
        let mut record = LogRecord { observed_timestamp: observed, resource, ..LogRecord::default() };
        record.timestamp = entry
            .get("__REALTIME_TIMESTAMP")
            .and_then(|text| std::str::from_utf8(text).ok()?.parse::<i64>().ok()?.checked_mul(1000))
            .map(Timestamp);
        if let Some([digit @ b'0'..=b'7']) = entry.get("PRIORITY") {
            set_syslog_level(&mut record, digit - b'0');
        }
        if entry.dropped > 0 {
            record.attributes.set(DROPPED_ATTRIBUTES, entry.dropped as i64);
        }
        for field in entry.fields {
            match field.name.as_str() {
                "MESSAGE" if record.body == Value::Null => {
                    if field.length > field.value.len() as u64 {
                        record.attributes.set(TRUNCATED, true);
                        record.attributes.set(ORIGINAL_LENGTH, field.length as i64);
                    }
                    record.body = value(field.value);
                }
                "PRIORITY" if !record.severity_text.is_empty() => {}
                "_HOSTNAME" | "SYSLOG_IDENTIFIER" => {}
                name if name.starts_with("__") => {}
                _ => add(&mut record.attributes, field),
            }
        }
        record
    }

    fn resource(&mut self, host: Vec<u8>, service: Vec<u8>) -> Arc<Attributes> {
        if self.resources.len() >= MAX_RESOURCES {
            self.resources.clear();
        }
        let make = |(host, service): &(Vec<u8>, Vec<u8>)| {
            let mut resource = Attributes::new();
            resource.set("host.name", value(host.clone()));
            if !service.is_empty() {
                resource.set("service.name", value(service.clone()));
            }
            Arc::new(resource)
        };
        let key = (host, service);
        if let Some(resource) = self.resources.get(&key) {
            return Arc::clone(resource);
        }
        let resource = make(&key);
        self.resources.insert(key, Arc::clone(&resource));
        resource
    }
}

/// A field that comes several times has several values.
fn add(attributes: &mut Attributes, field: Field) {
    let new = value(field.value);
    let both = match attributes.remove(&field.name) {
        None => new,
        Some(Value::Array(mut values)) => {
            values.push(new);
            Value::Array(values)
        }
        Some(one) => Value::Array(vec![one, new]),
    };
    attributes.set(field.name, both);
}

fn value(bytes: Vec<u8>) -> Value {
    match String::from_utf8(bytes) {
        Ok(text) => Value::String(text),
        Err(bytes) => Value::Bytes(bytes.into_bytes()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::source::journald::export::Parser;
    use millrace_model::Severity;

    fn record(export: &str) -> LogRecord {
        let mut records = Vec::new();
        let mut made = Records::new("here".into());
        let mut parser = Parser::new(20);
        parser.push(export.as_bytes(), &mut |entry| records.push(made.make(entry, Timestamp(1)))).unwrap();
        records.remove(0)
    }

    #[test]
    fn fields_go_to_their_places() {
        let record = record(
            "__CURSOR=s=ab;i=1f;b=c;m=d;t=e;x=f\n__REALTIME_TIMESTAMP=1700000000123456\n__MONOTONIC_TIMESTAMP=9\n\
             _HOSTNAME=web1\nPRIORITY=3\nSYSLOG_IDENTIFIER=sshd\n_SYSTEMD_UNIT=ssh.service\n_PID=42\n\
             MESSAGE=Failed password\nTAG=a\nTAG=b\nTAG=c\n\n",
        );
        assert_eq!(record.body, Value::from("Failed password"));
        assert_eq!(record.timestamp, Some(Timestamp(1_700_000_000_123_456_000)));
        assert_eq!((record.severity, record.severity_text.as_str()), (Severity::ERROR, "err"));
        assert_eq!(record.resource.get("host.name"), Some(&Value::from("web1")));
        assert_eq!(record.resource.get("service.name"), Some(&Value::from("sshd")));
        assert_eq!(record.attributes.get("_PID"), Some(&Value::from("42")));
        assert_eq!(record.attributes.get("_SYSTEMD_UNIT"), Some(&Value::from("ssh.service")));
        let tags = ["a", "b", "c"].map(Value::from).to_vec();
        assert_eq!(record.attributes.get("TAG"), Some(&Value::Array(tags)));
        assert_eq!(record.attributes.len(), 3);
    }

    #[test]
    fn what_is_missing_or_odd_is_no_trouble() {
        let record = record("PRIORITY=x\n_COMM=cron\nMESSAGE=0123456789012345678901\n\n");
        assert_eq!(record.resource.get("host.name"), Some(&Value::from("here")));
        assert_eq!(record.resource.get("service.name"), Some(&Value::from("cron")));
        assert_eq!(record.attributes.get("PRIORITY"), Some(&Value::from("x")));
        assert_eq!(record.attributes.get(ORIGINAL_LENGTH), Some(&Value::Int(22)));
        assert_eq!((record.timestamp, record.severity), (None, Severity::UNKNOWN));
    }

    #[test]
    fn a_cursor_is_its_sequence_and_number() {
        let cursor = Cursor::parse("s=0a1b;i=1f;b=1;m=2;t=3;x=4").unwrap();
        assert_eq!((cursor.sequence.as_str(), cursor.number), ("0a1b", 31));
        assert_eq!(Cursor::parse("s=1;b=2"), None);
        assert_eq!(Cursor::parse("i=zz;s=1"), None);
    }
}
