//! Dates and times in the common spellings of logs, as numbers that are written again exactly.
//!
//! A number counts ticks (seconds, or the smallest digit of the fraction) from the year 1600, in the proleptic
//! Gregorian calendar; from the year's beginning where a spelling has no year, from midnight where it has no date.
//! Every spelling has one length. Zones are not in it: they are constant text around it, if a column has them.

use crate::bytes::{Malformed, Reader};

const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
/// Days from 1200-03-01, with which the cycles of 400 years begin, to 1600-01-01.
const BEFORE: u64 = 146_037;
const DAYS_OF_ERA: u64 = 146_097;
/// Days of the years 1600 to 9999.
const DAYS: u64 = 21 * DAYS_OF_ERA;
const DAY: u64 = 86_400;
/// A year that has all days that any year has.
const LEAP_YEAR: u64 = 2000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Date {
    /// No date, only a time.
    None,
    /// `2026-01-15`.
    Dashes,
    /// `2026/01/15`.
    Slashes,
    /// `15/Jan/2026`, as in access logs.
    Access,
    /// `Jan 05`.
    SyslogZero,
    /// `Jan  5`, as in syslog.
    SyslogSpace,
}

const DATES: [Date; 6] =
    [Date::None, Date::Dashes, Date::Slashes, Date::Access, Date::SyslogZero, Date::SyslogSpace];

/// One spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    date: Date,
    /// What stands between date and time; `None` where there is no time.
    between: Option<u8>,
    /// Digits of the fraction; with none of them there is no point either.
    digits: u8,
    point: u8,
}

/// What may stand between a date and a time; the first stands for nothing, where there is no date.
const BETWEEN: &[u8; 4] = b"\0T :";

impl Format {
    /// The spellings that the beginning of `text` could be of, the likelier first.
    pub(super) fn candidates(text: &[u8]) -> [Option<Self>; 2] {
        let digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
        let dates = match text {
            [_, _, _, _, b'-', ..] => [Date::Dashes, Date::Dashes],
            [_, _, _, _, b'/', ..] => [Date::Slashes, Date::Slashes],
            [_, _, b'/', ..] => [Date::Access, Date::Access],
            [_, _, b':', ..] => [Date::None, Date::None],
            [b'A'..=b'Z', _, _, b' ', ..] => [Date::SyslogSpace, Date::SyslogZero],
            _ => return [None, None],
        };
        let of = |date: Date| {
            let at = date_length(date);
            let between = match date {
                Date::None => 0,
                _ if text.len() > at + 8 && digit(at + 1) && text[at + 3] == b':' => text[at],
                _ => {
                    let format = Self { date, between: None, digits: 0, point: b'.' };
                    return format.parse(text.get(..at)?).map(|_| format);
                }
            };
            let end = at + usize::from(between != 0) + 8;
            let digits = match text.get(end) {
                Some(b'.' | b',') => (1..11).take_while(|index| digit(end + index)).count() as u8,
                _ => 0,
            };
            let digits = if digits > 9 { 0 } else { digits };
            let point = if digits > 0 { text[end] } else { b'.' };
            let format = Self { date, between: Some(between), digits, point };
            let whole = text.get(..format.length())?;
            (BETWEEN.contains(&between) && format.parse(whole).is_some()).then_some(format)
        };
        let [first, second] = dates;
        [of(first), if first == second { None } else { of(second) }]
    }

    /// How many bytes each text has.
    pub(super) fn length(self) -> usize {
        let time = match self.between {
            None => 0,
            Some(between) => 8 + usize::from(between != 0),
        };
        let fraction = if self.digits > 0 { 1 + usize::from(self.digits) } else { 0 };
        date_length(self.date) + time + fraction
    }

    /// Ticks of a second.
    fn ticks(self) -> u64 {
        10u64.pow(u32::from(self.digits))
    }

    /// The number of a text of the right length, if it is spelled like this.
    pub(super) fn parse(self, text: &[u8]) -> Option<u64> {
        let (date, rest) = text.split_at_checked(date_length(self.date))?;
        let day = match self.date {
            Date::None => 0,
            Date::Dashes | Date::Slashes => {
                let separator = if self.date == Date::Dashes { b'-' } else { b'/' };
                if date[4] != separator || date[7] != separator {
                    return None;
                }
                let year = two(date, 0)? * 100 + two(date, 2)?;
                day_number(year, two(date, 5)?, two(date, 8)?)?
            }
            Date::Access => {
                if date[2] != b'/' || date[6] != b'/' {
                    return None;
                }
                let year = two(date, 7)? * 100 + two(date, 9)?;
                day_number(year, month(&date[3..6])?, two(date, 0)?)?
            }
            Date::SyslogZero | Date::SyslogSpace => {
                let padding = if self.date == Date::SyslogZero { b'0' } else { b' ' };
                let day = match date[4] {
                    byte if byte == padding => {
                        Some(u64::from(date[5].wrapping_sub(b'0'))).filter(|day| *day < 10)?
                    }
                    b'1'..=b'9' => two(date, 4)?,
                    _ => return None,
                };
                if date[3] != b' ' {
                    return None;
                }
                day_number(LEAP_YEAR, month(&date[..3])?, day)? - day_number(LEAP_YEAR, 1, 1)?
            }
        };
        let Some(between) = self.between else { return rest.is_empty().then_some(day * DAY) };
        let rest = if between == 0 { rest } else { rest.strip_prefix(&[between])? };
        let (time, fraction) = rest.split_at_checked(8)?;
        let (hour, minute, second) = (two(time, 0)?, two(time, 3)?, two(time, 6)?);
        if time[2] != b':' || time[5] != b':' || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let seconds = day * DAY + hour * 3600 + minute * 60 + second;
        if self.digits == 0 {
            return fraction.is_empty().then_some(seconds);
        }
        let digits = fraction.strip_prefix(&[self.point])?;
        if digits.len() != usize::from(self.digits) {
            return None;
        }
        seconds.checked_mul(self.ticks())?.checked_add(super::digits::parse_decimal(digits)?)
    }

    /// Appends the text of a number.
    pub(super) fn put(self, number: u64, into: &mut Vec<u8>) {
        let ticks = self.ticks();
        let (seconds, fraction) = (number / ticks, number % ticks);
        let (day, second) = (seconds / DAY, seconds % DAY);
        let mut text = [0; 40];
        let mut at = date_length(self.date);
        match self.date {
            Date::None => {}
            Date::Dashes | Date::Slashes => {
                let (year, month, date) = civil(day);
                let separator = if self.date == Date::Dashes { b'-' } else { b'/' };
                put_two(&mut text, 0, year / 100);
                put_two(&mut text, 2, year % 100);
                text[4] = separator;
                put_two(&mut text, 5, month);
                text[7] = separator;
                put_two(&mut text, 8, date);
            }
            Date::Access => {
                let (year, month, date) = civil(day);
                put_two(&mut text, 0, date);
                text[2] = b'/';
                text[3..6].copy_from_slice(name(month));
                text[6] = b'/';
                put_two(&mut text, 7, year / 100);
                put_two(&mut text, 9, year % 100);
            }
            Date::SyslogZero | Date::SyslogSpace => {
                let (_, month, date) = civil(day % 366 + day_number(LEAP_YEAR, 1, 1).unwrap_or(0));
                text[..3].copy_from_slice(name(month));
                text[3] = b' ';
                put_two(&mut text, 4, date);
                if date < 10 && self.date == Date::SyslogSpace {
                    text[4] = b' ';
                }
            }
        }
        if let Some(between) = self.between {
            if between != 0 {
                text[at] = between;
                at += 1;
            }
            put_two(&mut text, at, second / 3600);
            text[at + 2] = b':';
            put_two(&mut text, at + 3, second / 60 % 60);
            text[at + 5] = b':';
            put_two(&mut text, at + 6, second % 60);
            at += 8;
        }
        into.extend_from_slice(&text[..at]);
        if self.digits > 0 {
            into.push(self.point);
            super::digits::put_decimal(fraction, self.digits, into);
        }
    }

    /// Writes what [`Self::read`] reads.
    pub(super) fn put_head(self, into: &mut Vec<u8>) {
        let date = DATES.iter().position(|date| *date == self.date).unwrap_or(0) as u8;
        let between = match self.between {
            None => 7,
            Some(between) => BETWEEN.iter().position(|known| *known == between).unwrap_or(0) as u8,
        };
        into.extend([date | between << 4, self.digits | if self.point == b',' { 16 } else { 0 }]);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (first, second) = (reader.byte()?, reader.byte()?);
        let unknown = Malformed("a known spelling of times expected");
        let date = *DATES.get(usize::from(first & 15)).ok_or(unknown)?;
        let between = match first >> 4 {
            7 => None,
            index => Some(*BETWEEN.get(usize::from(index)).ok_or(unknown)?),
        };
        let format =
            Self { date, between, digits: second & 15, point: if second & 16 == 0 { b'.' } else { b',' } };
        if format.digits > 9
            || second > 31
            || (between.is_none() && (format.digits > 0 || date == Date::None))
        {
            return Err(unknown);
        }
        Ok(format)
    }
}

fn date_length(date: Date) -> usize {
    match date {
        Date::None => 0,
        Date::Dashes | Date::Slashes => 10,
        Date::Access => 11,
        Date::SyslogZero | Date::SyslogSpace => 6,
    }
}

/// The number that two digits at `at` say.
#[inline]
fn two(text: &[u8], at: usize) -> Option<u64> {
    let (tens, ones) = (text.get(at)?.wrapping_sub(b'0'), text.get(at + 1)?.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| u64::from(tens) * 10 + u64::from(ones))
}

#[inline]
fn put_two(text: &mut [u8; 40], at: usize, number: u64) {
    text[at] = b'0' + (number / 10 % 10) as u8;
    text[at + 1] = b'0' + (number % 10) as u8;
}

/// The number of a month from its name.
fn month(text: &[u8]) -> Option<u64> {
    MONTHS.chunks(3).position(|name| name == text).map(|index| index as u64 + 1)
}

fn name(month: u64) -> &'static [u8] {
    let at = (month.clamp(1, 12) as usize - 1) * 3;
    &MONTHS[at..at + 3]
}

fn month_length(year: u64, month: u64) -> u64 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The days from 1600-01-01 to a date, if there is such a date from then on.
fn day_number(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1600 || !(1..=12).contains(&month) || day == 0 || day > month_length(year, month) {
        return None;
    }
    let from_march = (month + 9) % 12;
    let year = year - 1200 - u64::from(month <= 2);
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    let (era, year) = (year / 400, year % 400);
    Some(era * DAYS_OF_ERA + year * 365 + year / 4 - year / 100 + day_of_year - BEFORE)
}

/// Year, month and day of a day since 1600-01-01.
fn civil(day: u64) -> (u64, u64, u64) {
    let day = day % DAYS + BEFORE;
    let (era, day) = (day / DAYS_OF_ERA, day % DAYS_OF_ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let date = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year + era * 400 + 1200 + u64::from(month <= 2), month, date)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(format: Format, number: u64) -> String {
        let mut bytes = Vec::new();
        format.put(number, &mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn common_spellings_are_written_again() {
        for text in [
            "2026-01-15T00:00:00.043",
            "2026-01-15 23:59:59,999",
            "2026/01/15 23:59:59",
            "1600-01-01T00:00:00",
            "9999-12-31",
            "2000/02/29",
            "29/Feb/2024:12:00:01",
            "Feb 29 23:59:59",
            "Jan  5 00:00:00",
            "Jan 05 00:00:00.123456",
            "23:59:59.000000001",
            "00:00:00",
            "2184-07-20T00:00:00.000000001",
        ] {
            let known = Format::candidates(text.as_bytes()).into_iter().flatten().any(|format| {
                format.length() == text.len()
                    && format.parse(text.as_bytes()).is_some_and(|number| written(format, number) == text)
            });
            assert!(known, "{text}");
            let tail = format!("{text}Z");
            assert!(
                Format::candidates(tail.as_bytes())
                    .into_iter()
                    .flatten()
                    .any(|format| format.length() == text.len())
            );
        }
        for text in [
            "2026-02-29",
            "2026-13-01",
            "24:00:00",
            "1599-12-31",
            "30/Feb/2024:12:00:01",
            "Feb 30 23:59:59",
            "",
            "2026-1-15",
        ] {
            assert_eq!(Format::candidates(text.as_bytes()), [None, None], "{text}");
        }
    }

    #[test]
    fn days_are_counted_without_gaps() {
        for day in 0..DAYS {
            let (year, month, date) = civil(day);
            assert_eq!(day_number(year, month, date), Some(day));
        }
    }

    proptest! {
        #[test]
        fn any_number_is_written_in_any_format_with_one_length(number in any::<u64>(), shift in 0u32..64, head in any::<[u8; 2]>()) {
            if let Ok(format) = Format::read(&mut Reader::new(&head)) {
                let number = number >> shift;
                let text = written(format, number);
                prop_assert_eq!(text.len(), format.length());
                if let Some(parsed) = format.parse(text.as_bytes()) {
                    prop_assert_eq!(written(format, parsed), text);
                }
                let mut again = Vec::new();
                format.put_head(&mut again);
                prop_assert_eq!(Format::read(&mut Reader::new(&again)).unwrap(), format);
            }
        }
    }
}
