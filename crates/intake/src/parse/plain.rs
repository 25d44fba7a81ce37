//! A plain line: its time, if it begins with one that leaves no doubt, and its level, where it is obvious.
//!
//! Obvious is a level's name in capitals (`ERROR disk full`), in brackets (`[warn] …`) or before a colon
//! (`error: …`) that stands first in the line, or right after a time. Anything else is left alone: a wrong level is
//! worse than none.

use super::Reading;
use millrace_model::{LogRecord, Severity};

/// How many words of date and time may stand before the level.
const MAX_TIME_WORDS: usize = 2;
/// No time is longer.
const MAX_TIME_BYTES: usize = 128;

pub(super) fn read(line: &[u8], reading: &mut Reading<'_>) {
    let Reading { record, times } = reading;
    let start = &line[..line.len().min(MAX_TIME_BYTES)];
    let start = match std::str::from_utf8(start) {
        Ok(text) => text,
        // A character may be cut.
        Err(error) => std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default(),
    };
    record.timestamp = times.at_start_of(start.trim_start_matches(['[', ' ']), record.observed_timestamp);
    level_of(line, record);
}

/// Reads the level alone.
pub(super) fn level_of(line: &[u8], record: &mut LogRecord) {
    let mut rest = line.trim_ascii_start();
    for _ in 0..=MAX_TIME_WORDS {
        let length = rest.iter().take(64).position(u8::is_ascii_whitespace).unwrap_or(rest.len().min(64));
        let word = &rest[..length];
        if !looks_like_time(word) {
            if let Some((name, severity)) = level(word) {
                record.severity = severity;
                name.clone_into(&mut record.severity_text);
            }
            return;
        }
        rest = rest[length..].trim_ascii_start();
    }
}

/// A word that begins with a digit (perhaps in a bracket) and has a separator of dates or times in it.
fn looks_like_time(word: &[u8]) -> bool {
    let inner = word.strip_prefix(b"[").unwrap_or(word);
    inner.first().is_some_and(u8::is_ascii_digit) && inner.iter().any(|b| b":-/".contains(b))
}

fn level(word: &[u8]) -> Option<(&str, Severity)> {
    let (inner, marked) = match word {
        [b'[', inner @ .., b']']
        | [b'[', inner @ .., b']', b':']
        | [b'<', inner @ .., b'>']
        | [inner @ .., b':'] => (inner, true),
        all => (all, false),
    };
    let plausible = (3..=13).contains(&inner.len())
        && inner.iter().all(if marked { u8::is_ascii_alphabetic } else { u8::is_ascii_uppercase });
    if !plausible {
        return None;
    }
    let name = std::str::from_utf8(inner).ok()?;
    Some((name, Severity::from_name(name)?))
}
