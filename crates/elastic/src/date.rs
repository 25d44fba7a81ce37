//! Times as requests and documents write them: formats by name and by Java's patterns, date math, and back to text.

mod pattern;
#[cfg(test)]
mod tests;

use crate::{
    Error, Zone,
    zone::{Unit, nanos, utc},
};
use chrono::{NaiveDate, NaiveTime, SecondsFormat};
use pattern::Pattern;
use serde_json::Value as Json;

const MILLISECOND: i64 = 1_000_000;
const SECOND: i64 = 1_000_000_000;
/// What dates are read by where nothing else is said.
pub const DEFAULT: &str = "strict_date_optional_time||epoch_millis";
/// The longest format.
const MAX_FORMAT: usize = 500;

/// One or more formats, tried in their order; the first writes.
#[derive(Debug, Clone, PartialEq)]
pub struct Format {
    text: String,
    kinds: Vec<Kind>,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    /// Milliseconds since the epoch.
    Millis,
    /// Seconds.
    Seconds,
    /// Nanoseconds.
    Nanos,
    /// ISO 8601, from the year on as much as is written.
    Iso {
        fraction: usize,
    },
    Pattern(Pattern),
}

/// What of a date was written.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Parts {
    pub(crate) year: Option<i32>,
    pub(crate) month: Option<u32>,
    pub(crate) day: Option<u32>,
    pub(crate) day_of_year: Option<u32>,
    pub(crate) hour: Option<u32>,
    pub(crate) half: Option<bool>,
    pub(crate) minute: Option<u32>,
    pub(crate) second: Option<u32>,
    pub(crate) nano: Option<u32>,
    pub(crate) zone: Option<Zone>,
}

impl Parts {
    /// The instant; what was not written is the first of its kind, or the last.
    fn instant(&self, zone: Zone, round_up: bool) -> Option<i64> {
        let pick =
            |given: Option<u32>, first: u32, last: u32| given.unwrap_or(if round_up { last } else { first });
        let year = self.year.unwrap_or(1970);
        let date = if let Some(day) = self.day_of_year {
            NaiveDate::from_yo_opt(year, day)?
        } else {
            let month = pick(self.month, 1, 12);
            let last = (28..=31).rev().find(|day| NaiveDate::from_ymd_opt(year, month, *day).is_some())?;
            NaiveDate::from_ymd_opt(year, month, pick(self.day, 1, last))?
        };
        let hour = match (self.hour, self.half) {
            (Some(hour), Some(afternoon)) => Some(hour % 12 + if afternoon { 12 } else { 0 }),
            (hour, _) => hour,
        };
        let (hour, minute, second) = (pick(hour, 0, 23), pick(self.minute, 0, 59), pick(self.second, 0, 59));
        let time = NaiveTime::from_hms_nano_opt(hour, minute, second, pick(self.nano, 0, 999_999_999))?;
        Some(self.zone.unwrap_or(zone).instant(nanos(date.and_time(time))))
    }
}

impl Format {
    /// From `strict_date_optional_time||yyyy-MM-dd||epoch_millis`.
    pub fn new(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_FORMAT {
            return Err(Error::argument(format!("Invalid format: longer than {MAX_FORMAT}")));
        }
        let kinds = text.split("||").map(kind).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { text: text.to_owned(), kinds })
    }

    /// Elasticsearch's own for dates.
    pub fn standard() -> Self {
        Self { text: DEFAULT.to_owned(), kinds: vec![Kind::Iso { fraction: 3 }, Kind::Millis] }
    }

    /// The same for dates with nanoseconds.
    pub fn standard_nanos() -> Self {
        let text = "strict_date_optional_time_nanos||epoch_millis".to_owned();
        Self { text, kinds: vec![Kind::Iso { fraction: 9 }, Kind::Millis] }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Does it read or write numbers alone?
    pub fn is_number(&self) -> bool {
        matches!(self.kinds.first(), Some(Kind::Millis | Kind::Seconds | Kind::Nanos))
    }

    /// The instant that a text says, in nanoseconds. `round_up`: the last that it may mean.
    pub fn read(&self, text: &str, zone: Zone, round_up: bool) -> Result<i64, Error> {
        let read = |kind: &Kind| match kind {
            Kind::Millis => epoch(text, MILLISECOND),
            Kind::Seconds => epoch(text, SECOND),
            Kind::Nanos => epoch(text, 1),
            Kind::Iso { .. } => iso(text)?.instant(zone, round_up),
            Kind::Pattern(pattern) => pattern.read(text)?.instant(zone, round_up),
        };
        self.kinds.iter().find_map(read).ok_or_else(|| Error::date(text, &self.text))
    }

    /// The instant that a number is, where one of the formats is of numbers.
    pub fn read_number(&self, number: i64) -> Option<i64> {
        self.kinds.iter().find_map(|kind| match kind {
            Kind::Millis => number.checked_mul(MILLISECOND),
            Kind::Seconds => number.checked_mul(SECOND),
            Kind::Nanos => Some(number),
            _ => None,
        })
    }

    /// An instant as text.
    pub fn write(&self, at: i64, zone: Zone) -> String {
        match self.kinds.first() {
            Some(Kind::Millis) => at.div_euclid(MILLISECOND).to_string(),
            Some(Kind::Seconds) => at.div_euclid(SECOND).to_string(),
            Some(Kind::Nanos) => at.to_string(),
            Some(Kind::Pattern(pattern)) => pattern.write(at, zone),
            Some(Kind::Iso { fraction }) => iso_text(at, zone, *fraction),
            None => iso_text(at, zone, 3),
        }
    }

    /// An instant as JSON: a number where the format is one.
    pub fn value(&self, at: i64, zone: Zone) -> Json {
        let text = self.write(at, zone);
        match text.parse::<i64>() {
            Ok(number) if matches!(self.kinds.first(), Some(Kind::Nanos)) => Json::from(number),
            _ => Json::from(text),
        }
    }
}

/// Pieces of the formats that have a name.
const NAMED: &[(&str, &str)] = &[
    ("basic_date", "yyyyMMdd"),
    ("basic_date_time", "yyyyMMdd'T'HHmmss.SSSX"),
    ("basic_date_time_no_millis", "yyyyMMdd'T'HHmmssX"),
    ("date", "yyyy-MM-dd"),
    ("date_hour", "yyyy-MM-dd'T'HH"),
    ("date_hour_minute", "yyyy-MM-dd'T'HH:mm"),
    ("date_hour_minute_second", "yyyy-MM-dd'T'HH:mm:ss"),
    ("date_hour_minute_second_fraction", "yyyy-MM-dd'T'HH:mm:ss.SSS"),
    ("date_hour_minute_second_millis", "yyyy-MM-dd'T'HH:mm:ss.SSS"),
    ("date_time", "yyyy-MM-dd'T'HH:mm:ss.SSSXXX"),
    ("date_time_no_millis", "yyyy-MM-dd'T'HH:mm:ssXXX"),
    ("hour", "HH"),
    ("hour_minute", "HH:mm"),
    ("hour_minute_second", "HH:mm:ss"),
    ("ordinal_date", "yyyy-DDD"),
    ("time", "HH:mm:ss.SSSXXX"),
    ("year", "yyyy"),
    ("year_month", "yyyy-MM"),
    ("year_month_day", "yyyy-MM-dd"),
    ("rfc3339", "yyyy-MM-dd'T'HH:mm:ssXXX"),
];

fn kind(text: &str) -> Result<Kind, Error> {
    let name = text.strip_prefix("strict_").unwrap_or(text);
    Ok(match name {
        "epoch_millis" | "epoch_millis_int" => Kind::Millis,
        "epoch_second" => Kind::Seconds,
        "epoch_nanos" | "epoch_nanos_int" => Kind::Nanos,
        "date_optional_time" | "iso8601" => Kind::Iso { fraction: 3 },
        "date_optional_time_nanos" => Kind::Iso { fraction: 9 },
        _ => {
            let named = NAMED.iter().find(|(known, _)| *known == name).map_or(text, |(_, pattern)| pattern);
            Kind::Pattern(Pattern::new(named).map_err(|why| {
                Error::argument(format!(
                    "Invalid format: [{}]: {why}",
                    text.chars().take(100).collect::<String>()
                ))
            })?)
        }
    })
}

/// A count since the epoch, perhaps with a fraction.
fn epoch(text: &str, unit: i64) -> Option<i64> {
    if let Ok(count) = text.parse::<i64>() {
        return count.checked_mul(unit);
    }
    let (whole, fraction) = text.split_once('.')?;
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = fraction.parse::<i64>().ok()?.checked_mul(unit)? / 10i64.pow(fraction.len() as u32);
    let count = whole.parse::<i64>().ok()?.checked_mul(unit)?;
    count.checked_add(if whole.starts_with('-') { -part } else { part })
}

/// Digits at the front, as a number, and what follows.
fn digits(text: &str, least: usize, most: usize) -> Option<(u32, &str)> {
    let count = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if count < least {
        return None;
    }
    Some((text[..count].parse().ok()?, &text[count..]))
}

/// `2024`, `2024-05`, `2024-05-01`, `2024-05-01T10`, … `2024-05-01T10:00:00.123456789+02:00`.
pub(crate) fn iso(text: &str) -> Option<Parts> {
    let mut parts = Parts::default();
    let (year, mut rest) = digits(text, 4, 4)?;
    parts.year = Some(year as i32);
    for part in [&mut parts.month, &mut parts.day] {
        let Some(next) = rest.strip_prefix('-') else { break };
        let (number, after) = digits(next, 1, 2)?;
        (*part, rest) = (Some(number), after);
    }
    if rest.is_empty() {
        return Some(parts);
    }
    parts.day?;
    rest = rest.strip_prefix('T').or_else(|| rest.strip_prefix('t'))?;
    if rest.is_empty() {
        return Some(parts);
    }
    let (hour, after) = digits(rest, 2, 2)?;
    (parts.hour, rest) = (Some(hour), after);
    for part in [&mut parts.minute, &mut parts.second] {
        let Some(next) = rest.strip_prefix(':') else { break };
        let (number, after) = digits(next, 2, 2)?;
        (*part, rest) = (Some(number), after);
    }
    if let Some(next) = rest.strip_prefix(['.', ',']).filter(|_| parts.second.is_some()) {
        let count = next.bytes().take_while(u8::is_ascii_digit).count();
        if count == 0 || count > 9 {
            return None;
        }
        parts.nano = Some(format!("{:0<9}", &next[..count]).parse().ok()?);
        rest = &next[count..];
    }
    parts.zone = match rest {
        "" => None,
        "Z" | "z" => Some(Zone::UTC),
        other => Some(Zone::Fixed(crate::zone::offset(other)?)),
    };
    Some(parts)
}

/// ISO 8601 with milliseconds, or with as many digits of nanoseconds as say something.
fn iso_text(at: i64, zone: Zone, fraction: usize) -> String {
    let seconds = zone.offset_at(at);
    let local = utc(zone.local(at));
    let digits = if fraction > 3 && at.rem_euclid(MILLISECOND) != 0 {
        SecondsFormat::Nanos
    } else {
        SecondsFormat::Millis
    };
    let text = local.to_rfc3339_opts(digits, true);
    if seconds == 0 {
        text
    } else {
        format!("{}{}", text.trim_end_matches('Z'), crate::zone::offset_text(seconds, true))
    }
}

/// A time with date math: `now-1h/d`, `2024-01-01||+1M/d`. In nanoseconds.
///
/// # Errors
/// The text is no time.
pub fn math(text: &str, format: &Format, zone: Zone, now: i64, round_up: bool) -> Result<i64, Error> {
    let (start, steps) = match text.strip_prefix("now") {
        Some(steps) => (now, steps),
        None => match text.split_once("||") {
            // What is not written is the first of its kind where it is counted on from.
            Some((anchor, steps)) => (format.read(anchor, zone, round_up && steps.is_empty())?, steps),
            None => (format.read(text, zone, round_up)?, ""),
        },
    };
    walk(start, steps, zone, round_up).ok_or_else(|| {
        let shown: String = text.chars().take(100).collect();
        let reason = format!("operator not supported for date math [{shown}]");
        Error { kind: "parse_exception", ..Error::argument(reason) }
    })
}

/// Carries out `+1M-2d/h`.
fn walk(mut at: i64, steps: &str, zone: Zone, round_up: bool) -> Option<i64> {
    let mut rest = steps;
    while let Some(operator) = rest.chars().next() {
        rest = rest.get(1..)?;
        let count = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number = if count == 0 { 1 } else { rest[..count].parse::<i64>().ok()? };
        rest = &rest[count..];
        let unit = unit(rest.chars().next()?)?;
        rest = rest.get(1..)?;
        at = match operator {
            '+' => zone.add(at, unit, number),
            '-' => zone.add(at, unit, -number),
            '/' if number == 1 => {
                let start = zone.floor(at, unit);
                // A whole unit: its last instant is meant where an end is asked for.
                if round_up { zone.next(start, unit).saturating_sub(1) } else { start }
            }
            _ => return None,
        };
    }
    Some(at)
}

fn unit(letter: char) -> Option<Unit> {
    Some(match letter {
        's' => Unit::Second,
        'm' => Unit::Minute,
        'h' | 'H' => Unit::Hour,
        'd' => Unit::Day,
        'w' => Unit::Week,
        'M' => Unit::Month,
        'y' => Unit::Year,
        _ => return None,
    })
}

/// A length of time, `90m`, in nanoseconds. `-` and `+` may stand before it.
pub fn length(text: &str) -> Option<i64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let count = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let unit = match text.get(count..)? {
        "nanos" => 1,
        "micros" => 1000,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" | "H" => 3600 * SECOND,
        "d" => 86_400 * SECOND,
        "w" => 7 * 86_400 * SECOND,
        "" if text == "0" => 1,
        _ => return None,
    };
    let length = if let Ok(number) = text[..count].parse::<i64>() {
        number.checked_mul(unit)?
    } else {
        let number = text[..count].parse::<f64>().ok()? * unit as f64;
        (number < 9e18).then_some(number as i64)?
    };
    Some(sign * length)
}
