//! Security events in one line: CEF (Common Event Format 0 and 1) and LEEF (Log Event Extended Format 1.0 and 2.0), bare or behind a
//! syslog header.

use super::{Reading, fields::Fields};
use millrace_model::Severity;

pub(super) fn begins(text: &str) -> bool {
    text.starts_with("CEF:") || text.starts_with("LEEF:")
}

/// Reads one of either kind.
pub(super) fn read(text: &str, reading: &mut Reading<'_>) -> Result<(), String> {
    if text.starts_with("LEEF:") { leef(text, reading) } else { cef(text, reading) }
}

/// `CEF:0|vendor|product|version|signature|name|severity|key=value key=value`.
pub(super) fn cef(text: &str, reading: &mut Reading<'_>) -> Result<(), String> {
    let text = text.strip_prefix("CEF:").ok_or("does not begin with CEF:")?;
    let mut header = Vec::with_capacity(7);
    let mut rest = text;
    while header.len() < 7 {
        match header_end(rest) {
            Some(end) => {
                header.push(unescape(&rest[..end]));
                rest = &rest[end + 1..];
            }
            // An event may end with its severity.
            None if header.len() == 6 => {
                header.push(unescape(rest));
                rest = "";
            }
            None => return Err(format!("{} of 7 fields of the header", header.len())),
        }
    }
    let mut fields = Fields::default();
    let names =
        ["cef.version", "device.vendor", "device.product", "device.version", "event.code", "event.name"];
    for (name, value) in names.iter().zip(&header) {
        fields.text(name, Some(value));
    }
    extension(rest, &mut fields);
    fields.place(reading);
    let given = header[6].trim();
    if let Some(severity) = severity(given) {
        reading.record.severity = severity;
        given.clone_into(&mut reading.record.severity_text);
    }
    Ok(())
}

/// Where the next field of a header ends: at a bar without a backslash.
fn header_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'|', b'\\', &bytes[from..])?;
        if bytes[at] == b'|' {
            return Some(at);
        }
        from = (at + 2).min(bytes.len());
    }
}

/// `key=value key=value`: values may have blanks, so one ends where the next key begins.
fn extension(text: &str, fields: &mut Fields) {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    let mut rest = text.trim_start();
    let mut key = next_key(rest, true);
    while let Some((start, end)) = key {
        let name = &rest[start..end];
        rest = &rest[end + 1..];
        key = next_key(rest, false);
        let value = &rest[..key.map_or(rest.len(), |(start, _)| start)];
        pairs.push((name, value.trim_end()));
    }
    for (name, value) in &pairs {
        fields.typed(name, &unescape(value));
        // `cs1=admin cs1Label=Role`: the field is known by what the label says.
        let label = pairs.iter().find(|(key, _)| key.strip_suffix("Label") == Some(name));
        if let Some((_, label)) = label.filter(|(_, label)| !label.is_empty()) {
            fields.typed(&unescape(label), &unescape(value));
        }
    }
}

/// Where the next key begins and ends: letters, digits and `_.-[]` before a `=`, after a blank or at the `first`.
fn next_key(text: &str, first: bool) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut from = 0;
    loop {
        let equals = from + memchr::memchr(b'=', bytes.get(from..)?)?;
        let is_key = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-[]".contains(byte);
        let start = equals - bytes[..equals].iter().rev().take_while(|byte| is_key(byte)).count();
        let apart = if start == 0 { first } else { bytes[start - 1] == b' ' || bytes[start - 1] == b'\t' };
        if start < equals && apart {
            return Some((start, equals));
        }
        from = equals + 1;
    }
}

fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut value = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            value.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => value.push('\n'),
            Some('r') => value.push('\r'),
            Some(escaped @ ('\\' | '|' | '=')) => value.push(escaped),
            Some(other) => value.extend(['\\', other]),
            None => value.push('\\'),
        }
    }
    value
}

/// Of words and of the numbers 0 to 10, as the format's guide groups them.
fn severity(text: &str) -> Option<Severity> {
    match text.parse::<u8>() {
        Ok(0..=3) => Some(Severity::INFO),
        Ok(4..=6) => Some(Severity::WARN),
        Ok(7..=8) => Some(Severity::ERROR),
        Ok(9..=10) => Some(Severity::FATAL),
        Ok(_) => None,
        Err(_) => match text.to_ascii_lowercase().as_str() {
            "unknown" => None,
            "low" => Some(Severity::INFO),
            "medium" => Some(Severity::WARN),
            "high" => Some(Severity::ERROR),
            "very-high" => Some(Severity::FATAL),
            other => Severity::from_name(other),
        },
    }
}

/// `LEEF:1.0|vendor|product|version|event|key=value<tab>key=value`; since 2.0 a field more names what stands between the pairs.
pub(super) fn leef(text: &str, reading: &mut Reading<'_>) -> Result<(), String> {
    let text = text.strip_prefix("LEEF:").ok_or("does not begin with LEEF:")?;
    let parts: Vec<&str> = text.splitn(6, '|').collect();
    let [version, vendor, product, product_version, code, rest @ ..] = parts.as_slice() else {
        return Err(format!("{} of 5 fields of the header", parts.len()));
    };
    let rest = rest.first().copied().unwrap_or_default();
    let (between, pairs) = if version.starts_with("2.") { delimiter(rest) } else { ('\t', rest) };
    let mut fields = Fields::default();
    let names = ["leef.version", "device.vendor", "device.product", "device.version", "event.code"];
    for (name, value) in names.iter().zip([version, vendor, product, product_version, code]) {
        fields.text(name, Some(value));
    }
    let mut level = None;
    for pair in pairs.split(between) {
        let Some((key, value)) = pair.split_once('=').filter(|(key, _)| !key.trim().is_empty()) else {
            continue;
        };
        if key.trim() == "sev" {
            level = Some(value.trim());
        }
        fields.typed(key.trim(), value.trim());
    }
    fields.place(reading);
    if let Some((level, severity)) = level.and_then(|level| Some((level, severity(level)?))) {
        reading.record.severity = severity;
        level.clone_into(&mut reading.record.severity_text);
    }
    Ok(())
}

/// What stands between pairs: a character, or its number in hexadecimal; a tab where nothing is said.
fn delimiter(text: &str) -> (char, &str) {
    let Some((named, rest)) = text.split_once('|') else { return ('\t', text) };
    let hex = named.strip_prefix("0x").or_else(|| named.strip_prefix('x')).filter(|hex| !hex.is_empty());
    let character = match hex {
        Some(hex) => u32::from_str_radix(hex, 16).ok().and_then(char::from_u32),
        None if named.is_empty() => Some('\t'),
        None => Some(named).filter(|named| named.chars().count() == 1).and_then(|named| named.chars().next()),
    };
    // No delimiter, so the bar belongs to the pairs.
    character.map_or(('\t', text), |character| (character, rest))
}
