//! Syslog, as RFC 3164 and RFC 5424 have it, and as daemons write it to files: without a priority, and with either kind of time.
//! What is read is the header; the message stays in the body, and a CEF or LEEF event in it is read as well.

use super::{Reading, event, fields::Fields, plain, time::Times};
use chrono_tz::Tz;
use millrace_model::{LogRecord, Severity, Timestamp, Value};
use syslog_loose::{Message, ProcId, SyslogFacility, Variant};

/// The names of the severities 0 to 7.
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// Is it surely one? A priority; or a time, a host, and a program with a colon.
pub(super) fn is_likely(text: &str) -> bool {
    let bytes = text.as_bytes();
    if let [b'<', digit, ..] = bytes {
        let end = bytes.iter().take(5).position(|byte| *byte == b'>');
        return digit.is_ascii_digit() && end.is_some();
    }
    let Some(after) = after_time(text) else { return false };
    let Some((host, rest)) = after.split_once(' ') else { return false };
    let tag = rest.split([' ', '[']).next().unwrap_or_default();
    let closed = tag.ends_with(':') || (rest[tag.len()..].starts_with('[') && rest.contains("]:"));
    is_name(host)
        && is_name(tag.strip_suffix(':').unwrap_or(tag))
        && closed
        && Severity::from_name(host).is_none()
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_/@()".contains(&byte))
}

/// What follows a time of either kind and a blank.
fn after_time(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    if let [m, o, n, b' ', day @ .., _, b':', _, _, b':', _, _, b' '] = bytes.get(..16)?
        && super::access::month([*m, *o, *n]).is_some()
        && day[1].is_ascii_digit()
    {
        return text.get(16..);
    }
    let (time, rest) = text.split_once(' ')?;
    (time.len() >= 20 && time.as_bytes()[4] == b'-' && time.as_bytes()[10] == b'T').then_some(rest)
}

pub(super) fn read(text: &str, reading: &mut Reading<'_>) -> Result<(), String> {
    // The library takes a lone word for a host: without a priority there must at least be a time.
    if !text.starts_with('<') && after_time(text).is_none() {
        return Err("neither a priority nor a time".to_owned());
    }
    let (observed, zone) = (reading.record.observed_timestamp, reading.times.here());
    let year = |(month, day, hour, minute, second)| {
        Times::year_of(observed, zone, month, day, (hour, minute, second))
    };
    let message =
        syslog_loose::parse_message_with_year_exact_tz::<_, Tz>(text, year, Some(zone), Variant::Either)
            .map_err(|_| "not a syslog message".to_owned())?;
    let mut fields = Fields::default();
    place(&message, &mut fields);
    fields.place(reading);
    if event::begins(message.msg) {
        // A broken event is a message all the same.
        let _unread = event::read(message.msg, reading);
    }
    let record = &mut *reading.record;
    if let Some(time) = message.timestamp {
        record.timestamp = Timestamp::from_datetime(&time.to_utc());
    }
    match message.severity {
        Some(severity) => {
            set_syslog_level(record, severity as u8);
        }
        None if record.severity == Severity::UNKNOWN => plain::level_of(message.msg.as_bytes(), record),
        None => {}
    }
    Ok(())
}

/// Gives a record the level of a syslog severity, 0 (emergency) to 7 (debug), under syslog's name; any other changes nothing.
pub fn set_syslog_level(record: &mut LogRecord, severity: u8) {
    if let Some(name) = SEVERITIES.get(usize::from(severity)) {
        record.severity = Severity::from_syslog(severity);
        (*name).clone_into(&mut record.severity_text);
    }
}

fn place(message: &Message<&str>, fields: &mut Fields) {
    fields.text("host.name", message.hostname);
    fields.text("service.name", message.appname);
    match message.procid {
        Some(ProcId::PID(pid)) => fields.push("process.pid", Value::Int(i64::from(pid))),
        Some(ProcId::Name(name)) => fields.text("syslog.procid", Some(name)),
        None => {}
    }
    fields.text("syslog.msgid", message.msgid);
    fields.text("syslog.facility", message.facility.map(SyslogFacility::as_str));
    for element in &message.structured_data {
        for (name, value) in element.params() {
            fields.push(&format!("syslog.{}.{name}", element.id), Value::String(value.clone()));
        }
    }
}
