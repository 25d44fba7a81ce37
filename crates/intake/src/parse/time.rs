//! Times as records spell them: RFC 3339, a number since the epoch whose unit its size tells, and what settings say a source's
//! format is. A time without a zone is read only where settings name one, and where its format has none (syslog).

use chrono::{
    DateTime, Datelike, NaiveDate, NaiveDateTime, TimeZone as _, Utc,
    format::{Item, Parsed, StrftimeItems, parse, parse_and_remainder},
};
use chrono_tz::Tz;
use millrace_model::Timestamp;

/// Numbers below this (March 1973 in seconds) are no times but durations, counts and the like.
const LEAST_SECONDS: f64 = 1e8;
/// A time without a year lies in the past, or as far in the future at most as clocks and zones may disagree, in days.
const AHEAD: i64 = 1;
/// The 29th of February is at most so many years back.
const YEARS_BACK: i32 = 8;

/// How a source writes its times.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Times {
    /// The zone of times that do not name one; `None`: they are not read.
    pub zone: Option<Tz>,
    /// The zone of this host: of times in formats that never name one.
    pub host_zone: Tz,
    /// The field that holds the time, before all that are known by name.
    pub field: Option<String>,
    /// Its format.
    pub format: Option<Format>,
}

/// A format of times, as `strftime` writes them.
#[derive(Debug, Clone, PartialEq)]
pub struct Format {
    text: String,
    items: Vec<Item<'static>>,
}

impl Format {
    /// Reads `%d/%b/%Y:%H:%M:%S %z` and the like.
    ///
    /// # Errors
    /// Not a format of times.
    pub fn new(text: &str) -> Result<Self, String> {
        let items = StrftimeItems::new(text).parse_to_owned();
        let items =
            items.map_err(|_| "not a format of times: \"%Y-%m-%d %H:%M:%S%.f %z\" is one".to_owned())?;
        Ok(Self { text: text.to_owned(), items })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Times {
    /// The zone of times that never name one.
    pub(super) fn here(&self) -> Tz {
        self.zone.unwrap_or(self.host_zone)
    }

    /// A text's time, in the source's format or one that is known.
    pub(super) fn read(&self, text: &str, observed: Timestamp) -> Option<Timestamp> {
        match &self.format {
            Some(format) => self.formatted(text.trim(), format, observed),
            None => self.known(text),
        }
    }

    /// In a format that is known.
    pub(super) fn known(&self, text: &str) -> Option<Timestamp> {
        from_text(text).or_else(|| {
            let time = without_zone(text.trim())?;
            local(self.zone?, time)
        })
    }

    /// The time that a line begins with: in the source's format, or in RFC 3339's.
    pub(super) fn at_start_of(&self, line: &str, observed: Timestamp) -> Option<Timestamp> {
        if let Some(format) = &self.format {
            let mut parsed = Parsed::new();
            parse_and_remainder(&mut parsed, line, format.items.iter()).ok()?;
            return self.complete(parsed, observed);
        }
        if !line.starts_with(|first: char| first.is_ascii_digit()) {
            return None;
        }
        let end = |word: &str| word.find([' ', '\t', ']']).unwrap_or(word.len());
        let first = end(line);
        if first >= 19 {
            return self.known(&line[..first]);
        }
        // A date and a time apart.
        let rest = line.get(first + 1..).filter(|_| first == 10)?;
        self.known(line.get(..first + 1 + end(rest))?)
    }

    fn formatted(&self, text: &str, format: &Format, observed: Timestamp) -> Option<Timestamp> {
        let mut parsed = Parsed::new();
        parse(&mut parsed, text, format.items.iter()).ok()?;
        self.complete(parsed, observed)
    }

    /// Adds year and zone where the format has none.
    fn complete(&self, mut parsed: Parsed, observed: Timestamp) -> Option<Timestamp> {
        let dated = parsed.year.is_some() || parsed.year_mod_100.is_some() || parsed.timestamp.is_some();
        if !dated {
            let (month, day) = (parsed.month?, parsed.day?);
            let time = parsed.to_naive_time().ok()?;
            let clock = chrono::Timelike::num_seconds_from_midnight(&time);
            let clock = (clock / 3600, clock / 60 % 60, clock % 60);
            parsed.set_year(i64::from(Self::year_of(observed, self.here(), month, day, clock))).ok()?;
        }
        if parsed.hour_mod_12.is_some() && parsed.minute.is_none() {
            parsed.set_minute(0).ok()?;
        }
        match parsed.to_datetime() {
            Ok(time) => Timestamp::from_datetime(&time.to_utc()),
            Err(_) => local(self.here(), parsed.to_naive_datetime_with_offset(0).ok()?),
        }
    }

    /// The year of a date that does not name it: the latest in which it is not in the future.
    pub(super) fn year_of(
        observed: Timestamp,
        zone: Tz,
        month: u32,
        day: u32,
        (hour, minute, second): (u32, u32, u32),
    ) -> i32 {
        let now = DateTime::<Utc>::from_timestamp_nanos(observed.0);
        let latest = now + chrono::Duration::days(AHEAD);
        let this = now.with_timezone(&zone).year();
        let candidates = (this - YEARS_BACK..=this + 1).rev();
        let mut candidates = candidates.filter(|year| {
            let time = NaiveDate::from_ymd_opt(*year, month, day)
                .and_then(|day| day.and_hms_opt(hour, minute, second.min(59)));
            time.and_then(|time| earliest(zone, time)).is_some_and(|time| time <= latest)
        });
        candidates.next().unwrap_or(this)
    }
}

/// `2024-05-01 12:00:00`, with `T`, and with a fraction after a dot or a comma.
fn without_zone(text: &str) -> Option<NaiveDateTime> {
    let bytes = text.as_bytes();
    if bytes.len() < 19 || bytes[4] != b'-' || !text.is_ascii() {
        return None;
    }
    let (date, time) = (&text[..10], text[11..].replacen(',', ".", 1));
    if !matches!(bytes[10], b'T' | b't' | b' ') {
        return None;
    }
    NaiveDateTime::parse_from_str(&format!("{date} {time}"), "%Y-%m-%d %H:%M:%S%.f").ok()
}

fn local(zone: Tz, time: NaiveDateTime) -> Option<Timestamp> {
    Timestamp::from_datetime(&earliest(zone, time)?)
}

/// Of an hour that comes twice the first; one that is left out begins when it would have.
fn earliest(zone: Tz, time: NaiveDateTime) -> Option<DateTime<Utc>> {
    let found = zone.from_local_datetime(&time).earliest();
    let found = found.or_else(|| {
        let hour = chrono::Duration::hours(1);
        zone.from_local_datetime(&time.checked_sub_signed(hour)?).earliest()?.checked_add_signed(hour)
    });
    found.map(|time| time.to_utc())
}

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
