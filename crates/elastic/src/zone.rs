//! Time zones as requests name them, local time in them, and where calendars cut it.

use crate::Error;
use chrono::{
    DateTime, Datelike, Days, MappedLocalTime, Months, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone,
    Utc,
};
use chrono_tz::Tz;

const SECOND: i64 = 1_000_000_000;

/// A time zone: a fixed offset in seconds, or one with rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// Seconds east of Greenwich.
    Fixed(i32),
    /// By name.
    Named(Tz),
}

/// What calendars count by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A week, from Monday.
    Week,
    /// A month.
    Month,
    /// Three months.
    Quarter,
    /// A year.
    Year,
}

impl Unit {
    /// Its length in nanoseconds, where it has always the same.
    pub fn length(self) -> Option<i64> {
        match self {
            Self::Second => Some(SECOND),
            Self::Minute => Some(60 * SECOND),
            Self::Hour => Some(3600 * SECOND),
            _ => None,
        }
    }
}

fn naive(nanos: i64) -> NaiveDateTime {
    DateTime::from_timestamp_nanos(nanos).naive_utc()
}

/// Nanoseconds of a time that is read as UTC; saturates.
pub(crate) fn nanos(time: NaiveDateTime) -> i64 {
    let time = time.and_utc();
    time.timestamp_nanos_opt().unwrap_or(if time.timestamp() < 0 { i64::MIN } else { i64::MAX })
}

impl Zone {
    /// Greenwich.
    pub const UTC: Self = Self::Fixed(0);

    /// From `UTC`, `+01:00`, `Europe/Berlin`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = || {
            let shown: String = text.chars().take(100).collect();
            Error::argument(format!("Unknown time-zone ID: {shown}"))
        };
        if matches!(text, "Z" | "z" | "UTC" | "GMT" | "utc") {
            return Ok(Self::UTC);
        }
        if text.starts_with(['+', '-']) {
            return offset(text).map(Self::Fixed).ok_or_else(wrong);
        }
        text.parse().map(Self::Named).map_err(|_| wrong())
    }

    /// Seconds east of Greenwich at an instant.
    pub fn offset_at(self, at: i64) -> i32 {
        match self {
            Self::Fixed(seconds) => seconds,
            Self::Named(zone) => zone.offset_from_utc_datetime(&naive(at)).fix().local_minus_utc(),
        }
    }

    /// Local time at an instant, as if it were UTC.
    pub fn local(self, at: i64) -> i64 {
        at.saturating_add(i64::from(self.offset_at(at)) * SECOND)
    }

    /// The instant of a local time: the first of two, and behind the gap where there is none.
    pub fn instant(self, local: i64) -> i64 {
        let seconds = match self {
            Self::Fixed(seconds) => seconds,
            Self::Named(zone) => match zone.offset_from_local_datetime(&naive(local)) {
                MappedLocalTime::Single(offset) | MappedLocalTime::Ambiguous(offset, _) => {
                    offset.fix().local_minus_utc()
                }
                MappedLocalTime::None => self.offset_at(local.saturating_sub(86_400 * SECOND)),
            },
        };
        local.saturating_sub(i64::from(seconds) * SECOND)
    }

    /// When its offset changes, from `from` to `to`: the first instant of each, and the offset from there on.
    pub fn changes(self, from: i64, to: i64) -> Vec<(i64, i32)> {
        // No zone has changed twice within so short a time.
        const STEP: i64 = 7 * 86_400 * SECOND;
        let mut changes = Vec::new();
        if matches!(self, Self::Fixed(_)) {
            return changes;
        }
        let (mut at, mut offset) = (from, self.offset_at(from));
        while at < to {
            let next = at.saturating_add(STEP).min(to);
            let after = self.offset_at(next);
            if after != offset {
                let (mut low, mut high) = (at, next);
                while high - low > SECOND {
                    let middle = low + (high - low) / 2;
                    if self.offset_at(middle) == offset { low = middle } else { high = middle }
                }
                changes.push((high.div_euclid(SECOND) * SECOND, after));
                offset = after;
            }
            at = next;
        }
        changes
    }

    /// Where the unit begins that an instant lies in.
    pub fn floor(self, at: i64, unit: Unit) -> i64 {
        if let Some(length) = unit.length() {
            let local = self.local(at);
            return at.saturating_sub(local.rem_euclid(length));
        }
        self.instant(floor_local(self.local(at), unit))
    }

    /// The unit behind the one that begins at `start`.
    pub fn next(self, start: i64, unit: Unit) -> i64 {
        match unit.length() {
            Some(length) => start.saturating_add(length),
            None => self.instant(add_local(self.local(start), unit, 1)),
        }
    }

    /// So many units later, by the calendar.
    pub fn add(self, at: i64, unit: Unit, count: i64) -> i64 {
        match unit.length() {
            Some(length) => at.saturating_add(length.saturating_mul(count)),
            None => self.instant(add_local(self.local(at), unit, count)),
        }
    }

    /// As requests write it.
    pub fn name(self) -> String {
        match self {
            Self::Fixed(0) => "UTC".to_owned(),
            Self::Fixed(seconds) => offset_text(seconds, true),
            Self::Named(zone) => zone.name().to_owned(),
        }
    }
}

/// Where the unit begins that a local time lies in.
pub(crate) fn floor_local(local: i64, unit: Unit) -> i64 {
    if let Some(length) = unit.length() {
        return local.saturating_sub(local.rem_euclid(length));
    }
    let date = naive(local).date();
    let start = match unit {
        Unit::Week => date.checked_sub_days(Days::new(u64::from(date.weekday().num_days_from_monday()))),
        Unit::Month => date.with_day(1),
        Unit::Quarter => NaiveDate::from_ymd_opt(date.year(), date.month0() / 3 * 3 + 1, 1),
        Unit::Year => NaiveDate::from_ymd_opt(date.year(), 1, 1),
        _ => Some(date),
    };
    nanos(start.unwrap_or(date).and_time(chrono::NaiveTime::MIN))
}

/// So many units later, in local time.
pub(crate) fn add_local(local: i64, unit: Unit, count: i64) -> i64 {
    let time = naive(local);
    let months = |months: i64| {
        let many = Months::new(u32::try_from(months.unsigned_abs()).unwrap_or(u32::MAX));
        if months < 0 { time.checked_sub_months(many) } else { time.checked_add_months(many) }
    };
    let days = |days: i64| TimeDelta::try_days(days).and_then(|delta| time.checked_add_signed(delta));
    let later = match unit {
        Unit::Day => days(count),
        Unit::Week => days(count.saturating_mul(7)),
        Unit::Month => months(count),
        Unit::Quarter => months(count.saturating_mul(3)),
        Unit::Year => months(count.saturating_mul(12)),
        _ => return local.saturating_add(unit.length().unwrap_or(0).saturating_mul(count)),
    };
    later.map_or(if count < 0 { i64::MIN } else { i64::MAX }, nanos)
}

/// Seconds of `+01`, `+0100`, `+01:00`, `+01:00:30`.
pub(crate) fn offset(text: &str) -> Option<i32> {
    let sign = match text.bytes().next()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let rest = &text[1..];
    if rest.contains(':') && (rest.split(':').count() > 3 || rest.split(':').any(|part| part.len() != 2)) {
        return None;
    }
    let digits = rest.replace(':', "");
    if !matches!(digits.len(), 1 | 2 | 4 | 6) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part =
        |from: usize| digits.get(from..(from + 2).min(digits.len())).and_then(|two| two.parse::<i32>().ok());
    let (hours, minutes, seconds) = (part(0)?, part(2).unwrap_or(0), part(4).unwrap_or(0));
    (hours <= 18 && minutes < 60 && seconds < 60).then(|| sign * (hours * 3600 + minutes * 60 + seconds))
}

/// `+01:00` or `+0100`.
pub(crate) fn offset_text(seconds: i32, colon: bool) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    let between = if colon { ":" } else { "" };
    format!("{sign}{:02}{between}{:02}", minutes / 60, minutes % 60)
}

/// A time in UTC.
pub(crate) fn utc(nanos: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(nanos)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<DateTime<Utc>>().unwrap().timestamp_nanos_opt().unwrap()
    }

    #[test]
    fn calendars_cut_local_time() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        for (unit, from, expected) in [
            (Unit::Day, "2024-03-31T10:00:00Z", "2024-03-30T23:00:00Z"),
            (Unit::Month, "2024-03-31T22:30:00Z", "2024-03-31T22:00:00Z"),
            (Unit::Quarter, "2024-05-31T22:30:00Z", "2024-03-31T22:00:00Z"),
            (Unit::Week, "2024-03-31T10:00:00Z", "2024-03-24T23:00:00Z"),
            (Unit::Year, "2024-03-31T10:00:00Z", "2023-12-31T23:00:00Z"),
            (Unit::Hour, "2024-10-27T00:30:00Z", "2024-10-27T00:00:00Z"),
            (Unit::Hour, "2024-10-27T01:30:00Z", "2024-10-27T01:00:00Z"),
        ] {
            assert_eq!(berlin.floor(at(from), unit), at(expected), "{unit:?} {from}");
        }
        assert_eq!(berlin.next(at("2024-03-30T23:00:00Z"), Unit::Day), at("2024-03-31T22:00:00Z"));
        assert_eq!(Zone::UTC.add(at("2024-01-31T00:00:00Z"), Unit::Month, 1), at("2024-02-29T00:00:00Z"));
    }

    #[test]
    fn offsets_change_when_they_do() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        let changes = berlin.changes(at("2024-01-01T00:00:00Z"), at("2025-01-01T00:00:00Z"));
        assert_eq!(changes, [(at("2024-03-31T01:00:00Z"), 7200), (at("2024-10-27T01:00:00Z"), 3600)]);
        assert!(Zone::parse("+01:00").unwrap().changes(0, at("2025-01-01T00:00:00Z")).is_empty());
    }

    #[test]
    fn zones_are_read() {
        for (text, seconds) in [("+01:00", 3600), ("-0530", -19_800), ("+2", 7200), ("Z", 0)] {
            assert_eq!(Zone::parse(text).unwrap(), Zone::Fixed(seconds), "{text}");
        }
        for text in ["+25:00", "Nowhere/Land", "", "+1:2:3:4"] {
            assert!(Zone::parse(text).is_err(), "{text}");
        }
    }
}
