//! A record's own time as its line spells it. Where a line's text can be written again from the time, the text is not
//! stored: only how it was spelled.
//!
//! RFC 3339 with `T` or a space, any number of digits of a fraction after `.` or `,`, and a zone; or a whole number of
//! seconds, milli-, micro- or nanoseconds since the epoch. Calendar: proleptic Gregorian, after Howard Hinnant's
//! "chrono-compatible low-level date algorithms".

mod words;

pub(crate) use self::words::{TimeParts, TimeTest};
use crate::bytes::{Malformed, Reader};
use millrace_model::Timestamp;

/// How a time is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TimeFormat {
    /// `2026-01-15T00:00:00.043Z`
    Rfc3339 {
        /// Between date and time: `T`, `t` or a space.
        separator: u8,
        /// Before the fraction: `.` or `,`.
        point: u8,
        /// Digits of the fraction; 0: no fraction and no point.
        digits: u8,
        /// How the zone is written.
        zone: Zone,
    },
    /// So many nanoseconds make one.
    Epoch(u64),
}

/// A zone as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Zone {
    /// `Z` or `z`.
    Letter(u8),
    /// `+hh:mm`, in minutes east.
    Offset(i16),
    /// `-00:00`.
    MinusZero,
}

impl Zone {
    /// Seconds east of Greenwich.
    fn east(self) -> i64 {
        if let Self::Offset(minutes) = self { i64::from(minutes) * 60 } else { 0 }
    }

    /// What is before the zone in the last word of a time; `None` where it has to be there and is not.
    fn cut_from(self, word: &str) -> Option<&str> {
        match self {
            Self::Letter(_) => word.strip_suffix('z'),
            Self::MinusZero | Self::Offset(_) => Some(word),
        }
    }

    fn write(self, into: &mut Vec<u8>) {
        match self {
            Self::Letter(letter) => into.push(letter),
            Self::MinusZero => into.extend_from_slice(b"-00:00"),
            Self::Offset(minutes) => {
                into.push(if minutes < 0 { b'-' } else { b'+' });
                decimals(u64::from(minutes.unsigned_abs()) / 60, 2, into);
                into.push(b':');
                decimals(u64::from(minutes.unsigned_abs()) % 60, 2, into);
            }
        }
    }
}

const SECOND: i64 = 1_000_000_000;
const UNITS: [u64; 4] = [1_000_000_000, 1_000_000, 1_000, 1];

impl TimeFormat {
    /// How `text` spells exactly this time, if it does.
    pub(crate) fn of(text: &[u8], time: Timestamp) -> Option<Self> {
        let format = if text.iter().all(u8::is_ascii_digit) {
            let unit = UNITS.into_iter().find(|unit| spells(text, Self::Epoch(*unit), time))?;
            return Some(Self::Epoch(unit));
        } else {
            Self::rfc3339(text)?
        };
        spells(text, format, time).then_some(format)
    }

    fn rfc3339(text: &[u8]) -> Option<Self> {
        let separator = *text.get(10).filter(|byte| b"Tt ".contains(byte))?;
        let (point, digits) = match text.get(19)? {
            point @ (b'.' | b',') => {
                (*point, text[20..].iter().take_while(|byte| byte.is_ascii_digit()).count())
            }
            _ => (b'.', 0),
        };
        let digits = u8::try_from(digits).ok().filter(|digits| *digits <= 9)?;
        let zone = &text[if digits == 0 { 19 } else { 20 + usize::from(digits) }..];
        let zone = match zone {
            [letter @ (b'Z' | b'z')] => Zone::Letter(*letter),
            b"-00:00" => Zone::MinusZero,
            [sign @ (b'+' | b'-'), h1, h0, b':', m1, m0] => {
                let digit = |byte: &u8| byte.is_ascii_digit().then(|| i16::from(byte - b'0'));
                let minutes = digit(h1)? * 600 + digit(h0)? * 60 + digit(m1)? * 10 + digit(m0)?;
                Zone::Offset(if *sign == b'-' { -minutes } else { minutes })
            }
            _ => return None,
        };
        Some(Self::Rfc3339 { separator, point, digits, zone })
    }

    /// Appends the text of `time`.
    pub(crate) fn write(self, time: Timestamp, into: &mut Vec<u8>) {
        let (separator, point, digits, zone) = match self {
            Self::Epoch(unit) => {
                let whole = i128::from(time.0).div_euclid(i128::from(unit.max(1)));
                into.extend_from_slice(whole.to_string().as_bytes());
                return;
            }
            Self::Rfc3339 { separator, point, digits, zone } => (separator, point, digits, zone),
        };
        let seconds = time.0.div_euclid(SECOND) + zone.east();
        let second = seconds.rem_euclid(3_600);
        put_hour(seconds.div_euclid(3_600), separator, into);
        into.push(b':');
        decimals(second as u64 / 60, 2, into);
        into.push(b':');
        decimals(second as u64 % 60, 2, into);
        if digits > 0 {
            into.push(point);
            let nanos = time.0.rem_euclid(SECOND) as u64;
            decimals(nanos / fraction_unit(digits), usize::from(digits), into);
        }
        zone.write(into);
    }

    /// How many bytes the text of `time` has.
    pub(crate) fn length(self, time: Timestamp) -> usize {
        match self {
            Self::Epoch(_) => {
                let mut text = Vec::with_capacity(20);
                self.write(time, &mut text);
                text.len()
            }
            Self::Rfc3339 { digits, zone, .. } => {
                let fraction = if digits == 0 { 0 } else { 1 + usize::from(digits) };
                19 + fraction + if matches!(zone, Zone::Letter(_)) { 1 } else { 6 }
            }
        }
    }

    /// Spells the format, as part of a shape's key.
    pub(crate) fn write_key(self, into: &mut Vec<u8>) {
        match self {
            Self::Epoch(unit) => {
                into.push(UNITS.iter().position(|known| *known == unit).unwrap_or(0) as u8);
            }
            Self::Rfc3339 { separator, point, digits, zone } => {
                into.extend([4, separator, point, digits]);
                match zone {
                    Zone::Letter(letter) => into.extend([0, letter, 0]),
                    Zone::MinusZero => into.extend([1, 0, 0]),
                    Zone::Offset(minutes) => {
                        into.push(2);
                        into.extend(minutes.to_le_bytes());
                    }
                }
            }
        }
    }

    /// The inverse of [`Self::write_key`].
    pub(crate) fn read_key(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let first = reader.byte()?;
        if let Some(unit) = UNITS.get(usize::from(first)) {
            return Ok(Self::Epoch(*unit));
        }
        let (separator, point, digits) = (reader.byte()?, reader.byte()?, reader.byte()?);
        let (kind, low, high) = (reader.byte()?, reader.byte()?, reader.byte()?);
        let zone = match kind {
            0 if b"Zz".contains(&low) => Zone::Letter(low),
            0 => return Err(Malformed("a zone expected")),
            1 => Zone::MinusZero,
            _ => Zone::Offset(i16::from_le_bytes([low, high])),
        };
        let known = first == 4 && digits <= 9 && b"Tt ".contains(&separator) && b".,".contains(&point);
        let in_range = !matches!(zone, Zone::Offset(minutes) if minutes.unsigned_abs() >= 6000);
        if known && in_range {
            Ok(Self::Rfc3339 { separator, point, digits, zone })
        } else {
            Err(Malformed("a format of times expected"))
        }
    }
}

/// Does the format write this text for this time?
pub(crate) fn spells(text: &[u8], format: TimeFormat, time: Timestamp) -> bool {
    let mut buffer = Vec::with_capacity(40);
    format.write(time, &mut buffer);
    buffer == text
}

/// Nanoseconds of the last of so many digits of a fraction.
fn fraction_unit(digits: u8) -> u64 {
    10u64.pow(9 - u32::from(digits.min(9)))
}

/// Appends the date and the hour of an hour since the epoch.
fn put_hour(hour: i64, separator: u8, into: &mut Vec<u8>) {
    let (year, month, date) = civil(hour.div_euclid(24));
    decimals(year as u64, 4, into);
    into.push(b'-');
    decimals(month, 2, into);
    into.push(b'-');
    decimals(date, 2, into);
    into.push(separator);
    decimals(hour.rem_euclid(24) as u64, 2, into);
}

/// Year, month and day of a day since the epoch.
fn civil(day: i64) -> (i64, u64, u64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097) as u64;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let date = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era as i64 + era * 400 + i64::from(month <= 2), month, date)
}

fn decimals(number: u64, digits: usize, into: &mut Vec<u8>) {
    let at = into.len();
    into.resize(at + digits, b'0');
    let mut rest = number;
    for byte in into[at..].iter_mut().rev() {
        *byte = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(format: TimeFormat, time: Timestamp) -> String {
        let mut bytes = Vec::new();
        format.write(time, &mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn common_spellings_are_written_again() {
        for text in [
            "2026-01-15T00:00:00.043Z",
            "2026-01-15 23:59:59,999+02:00",
            "1969-12-31T23:59:59.999999999-00:00",
            "2000-02-29t12:00:00z",
            "2024-12-31T18:30:00.5-05:30",
        ] {
            let time: Timestamp = text.replace(',', ".").parse().unwrap();
            let format = TimeFormat::of(text.as_bytes(), time).unwrap();
            assert_eq!(written(format, time), text);
            assert_eq!(format.length(time), text.len());
            assert_eq!(TimeFormat::of(text.as_bytes(), Timestamp(time.0 + 1_000_000_000)), None);
        }
        let time = Timestamp(1_714_557_600_123_456_789);
        assert_eq!(TimeFormat::of(b"1714557600", time), Some(TimeFormat::Epoch(1_000_000_000)));
        assert_eq!(TimeFormat::of(b"1714557600123456789", time), Some(TimeFormat::Epoch(1)));
        for text in
            ["", "12", "2026-01-15", "2026-01-15T00:00:00", "2026-01-15T00:00:00.0430000000Z", "01714557600"]
        {
            assert_eq!(TimeFormat::of(text.as_bytes(), time), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn formats_write_what_the_model_prints(nanos in any::<i64>()) {
            let time = Timestamp(nanos);
            let text = time.to_string();
            let format = TimeFormat::of(text.as_bytes(), time).unwrap();
            prop_assert_eq!(written(format, time), text.clone());
            for word in millrace_model::text::tokens(&text) {
                prop_assert!(format.may_hold(&word), "{word}");
            }
            let mut key = Vec::new();
            format.write_key(&mut key);
            prop_assert_eq!(TimeFormat::read_key(&mut Reader::new(&key)).unwrap(), format);
        }

        #[test]
        fn any_key_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..9), nanos in any::<i64>()) {
            if let Ok(format) = TimeFormat::read_key(&mut Reader::new(&bytes)) {
                prop_assert_eq!(written(format, Timestamp(nanos)).len(), format.length(Timestamp(nanos)));
            }
        }
    }
}
