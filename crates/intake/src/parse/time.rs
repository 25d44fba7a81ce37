//! Times as records spell them: RFC 3339 with a zone, or a number since the epoch whose unit its size tells.

use chrono::DateTime;
use millrace_model::Timestamp;

/// Numbers below this (March 1973 in seconds) are no times but durations, counts and the like.
const LEAST_SECONDS: f64 = 1e8;

/// From a text: RFC 3339, or a number. A time without a zone is not guessed at.
pub fn from_text(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if text.len() >= 20 && text.as_bytes()[4] == b'-' {
        let comma = text.as_bytes().get(19) == Some(&b',');
        let time = if comma {
            DateTime::parse_from_rfc3339(&text.replacen(',', ".", 1))
        } else {
            DateTime::parse_from_rfc3339(text)
        };
        return Timestamp::from_datetime(&time.ok()?.to_utc());
    }
    if let Ok(number) = text.parse::<i64>() {
        return from_epoch(number);
    }
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    text.parse::<f64>().ok().filter(|_| plain).and_then(from_fraction)
}

/// From a whole number since the epoch: seconds, milli-, micro- or nanoseconds, told apart by size (each is good for
/// the years 1973 to 5138). `None` if it is too small for any.
pub fn from_epoch(number: i64) -> Option<Timestamp> {
    let nanos_per_unit = match number {
        ..100_000_000 => return None,
        100_000_000..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    };
    number.checked_mul(nanos_per_unit).map(Timestamp)
}

/// From a number with a fraction: seconds (or milliseconds, if it is as large).
pub(super) fn from_fraction(number: f64) -> Option<Timestamp> {
    if !(LEAST_SECONDS..9.2e18).contains(&number) {
        return None;
    }
    if number >= 1e11 {
        return from_epoch(number as i64);
    }
    // Split before scaling: a double has not enough digits for seconds and nanoseconds at once.
    let (whole, micros) = (number.trunc() as i64, (number.fract() * 1e6).round() as i64);
    whole.checked_mul(1_000_000_000)?.checked_add(micros * 1_000).map(Timestamp)
}
