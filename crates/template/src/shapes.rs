//! Values of several words that are one variable: dates and times, UUIDs, MAC and IPv6 addresses.
//!
//! Each function is asked at the end of a first word and answers with the end of the whole value, which is always the
//! border of a word: `2026-01-15T00:00:00.5Zoo` is a date and no more. Ranges of numbers are not checked, so that a
//! template does not depend on the values in its lines.

use crate::text::{CLASS, DIGIT, Text};
use std::ops::Range;

/// A word of hexadecimal letters alone, before `-` or `:`.
pub(crate) fn hex<const ESCAPED: bool>(text: &Text<'_, ESCAPED>, word: &Range<usize>) -> Option<usize> {
    let Range { start, end } = *word;
    match text.bytes.get(end)? {
        b'-' => uuid(text, start, end),
        _ => mac(text, start, end).or_else(|| ipv6(text, start, end)),
    }
}

/// A word with a digit, before `-`, `:` or `/`.
pub(crate) fn numeric<const ESCAPED: bool>(text: &Text<'_, ESCAPED>, word: &Range<usize>) -> Option<usize> {
    let Range { start, end } = *word;
    match text.bytes.get(end)? {
        b'-' => uuid(text, start, end).or_else(|| date_time(text, start, end)),
        b'/' => date_time(text, start, end).or_else(|| common_log_time(text, start)),
        _ => At::new(text, start)
            .time()
            .and_then(|at| at.best)
            .or_else(|| mac(text, start, end))
            .or_else(|| ipv6(text, start, end)),
    }
}

/// Eight, four, four, four and twelve hexadecimal digits.
fn uuid<const ESCAPED: bool>(text: &Text<'_, ESCAPED>, start: usize, end: usize) -> Option<usize> {
    if end - start != 8 {
        return None;
    }
    let mut at = At::new(text, start).hex(8, 8)?;
    for length in [4, 4, 4, 12] {
        at = at.byte(b'-')?.hex(length, length)?;
    }
    at.border().best
}

/// Six pairs of hexadecimal digits.
fn mac<const ESCAPED: bool>(text: &Text<'_, ESCAPED>, start: usize, end: usize) -> Option<usize> {
    if end - start != 2 {
        return None;
    }
    let mut at = At::new(text, start).hex(2, 2)?;
    for _ in 0..5 {
        at = at.byte(b':')?.hex(2, 2)?;
    }
    at.border().best
}

/// Eight groups of hexadecimal digits, or fewer and one `::` (behind the first of them), with a digit somewhere.
fn ipv6<const ESCAPED: bool>(text: &Text<'_, ESCAPED>, start: usize, end: usize) -> Option<usize> {
    if end - start > 4 {
        return None;
    }
    let mut at = At::new(text, start).hex(1, 4)?;
    let (mut groups, mut gap) = (1, false);
    while groups < 8 {
        let Some(colon) = at.byte(b':') else { break };
        if let Some(next) = colon.hex(1, 4) {
            at = next;
            groups += 1;
        } else if let (false, Some(second)) = (gap, colon.byte(b':')) {
            gap = true;
            at = second.hex(1, 4)?;
            groups += 1;
        } else {
            break;
        }
    }
    let has_digit = text.bytes[start..at.place].iter().any(u8::is_ascii_digit);
    ((groups == 8) != gap && has_digit).then(|| at.border().best)?
}

/// `yyyy-mm-dd` or `yyyy/m/d`, alone or with a time and a zone: ISO 8601 and what languages print of it.
fn date_time<const ESCAPED: bool>(text: &Text<'_, ESCAPED>, start: usize, end: usize) -> Option<usize> {
    if end - start != 4 {
        return None;
    }
    let at = At::new(text, start).digits(4, 4)?;
    let date = match text.bytes.get(end)? {
        b'-' => at.byte(b'-')?.digits(2, 2)?.byte(b'-')?.digits(2, 2)?,
        _ => at.byte(b'/')?.digits(1, 2)?.byte(b'/')?.digits(1, 2)?,
    }
    .border();
    let time = date.one_of(b"T :").and_then(|at| at.time().or_else(|| at.minutes()));
    let Some(time) = time else { return date.best };
    time.zone().best
}

/// `dd/Mon/yyyy:HH:MM:SS ±zzzz`, as web servers write it.
fn common_log_time<const ESCAPED: bool>(text: &Text<'_, ESCAPED>, start: usize) -> Option<usize> {
    let month = At::new(text, start).digits(1, 2)?.byte(b'/')?;
    let date = month.name(is_month)?.byte(b'/')?.digits(4, 4)?.border();
    let Some(time) = date.one_of(b": ").and_then(At::time) else { return date.best };
    time.zone().best
}

/// Whether a word is the short name of a month or a day of the week.
#[inline]
pub(crate) fn is_name_of_date(word: &[u8]) -> bool {
    let [first, second, third] = *word else { return false };
    is_month(first, second, third) || is_day(first, second, third)
}

#[inline]
fn is_month(first: u8, second: u8, third: u8) -> bool {
    matches!(
        &[first | 0x20, second | 0x20, third | 0x20],
        b"jan"
            | b"feb"
            | b"mar"
            | b"apr"
            | b"may"
            | b"jun"
            | b"jul"
            | b"aug"
            | b"sep"
            | b"oct"
            | b"nov"
            | b"dec"
    )
}

#[inline]
fn is_day(first: u8, second: u8, third: u8) -> bool {
    matches!(
        &[first | 0x20, second | 0x20, third | 0x20],
        b"mon" | b"tue" | b"wed" | b"thu" | b"fri" | b"sat" | b"sun"
    )
}

/// What begins with such a name: `Dec 10 06:55:46` (syslog), `Sun Dec  4 04:47:44 UTC 2005` (ctime, date),
/// `Sun, 04 Dec 2005 04:47:44 GMT` (mail, HTTP).
pub(crate) fn named_date<const ESCAPED: bool>(text: &Text<'_, ESCAPED>, start: usize) -> Option<usize> {
    let at = At::new(text, start);
    let Some(weekday) = at.name(is_day) else { return month_day_time(at)?.best };
    if let Some(day) = weekday.byte(b',') {
        let year =
            day.byte(b' ')?.digits(1, 2)?.one_of(b" -")?.name(is_month)?.one_of(b" -")?.digits(4, 4)?;
        return year.byte(b' ')?.time()?.zone().best;
    }
    let time = month_day_time(weekday.byte(b' ')?)?;
    let zoned = time.byte(b' ').and_then(At::zone_name).unwrap_or(time);
    let Some(year) = zoned.byte(b' ').and_then(|at| at.digits(4, 4)) else { return time.best };
    year.border().best
}

fn month_day_time<const ESCAPED: bool>(at: At<'_, ESCAPED>) -> Option<At<'_, ESCAPED>> {
    let month = at.name(is_month)?.byte(b' ')?;
    let day = month.byte(b' ').unwrap_or(month).digits(1, 2)?;
    day.byte(b' ')?.time()
}

/// A place in a text up to which a value has been read, and the last border of a word at which it could end.
#[derive(Clone, Copy)]
struct At<'a, const ESCAPED: bool> {
    text: &'a Text<'a, ESCAPED>,
    place: usize,
    best: Option<usize>,
}

impl<'a, const ESCAPED: bool> At<'a, ESCAPED> {
    fn new(text: &'a Text<'a, ESCAPED>, place: usize) -> Self {
        Self { text, place, best: None }
    }

    fn byte(self, byte: u8) -> Option<Self> {
        self.one_of(&[byte])
    }

    fn one_of(self, bytes: &[u8]) -> Option<Self> {
        let byte = self.text.bytes.get(self.place)?;
        bytes.contains(byte).then_some(Self { place: self.place + 1, ..self })
    }

    /// The longest run of at most `most` bytes, if it has at least `least`.
    fn run(self, least: usize, most: usize, is: impl Fn(u8) -> bool) -> Option<Self> {
        let rest = self.text.bytes.get(self.place..)?;
        let length = rest.iter().take(most).take_while(|byte| is(**byte)).count();
        (length >= least).then_some(Self { place: self.place + length, ..self })
    }

    fn digits(self, least: usize, most: usize) -> Option<Self> {
        self.run(least, most, |byte| CLASS[byte as usize] & DIGIT != 0)
    }

    fn hex(self, least: usize, most: usize) -> Option<Self> {
        self.run(least, most, |byte| byte.is_ascii_hexdigit())
    }

    fn name(self, is: impl Fn(u8, u8, u8) -> bool) -> Option<Self> {
        let [first, second, third] = *self.text.bytes.get(self.place..)?.first_chunk()?;
        is(first, second, third).then_some(Self { place: self.place + 3, ..self })
    }

    /// The value could end here, if a word ends here.
    fn border(self) -> Self {
        let best = if self.text.is_border(self.place) { Some(self.place) } else { self.best };
        Self { best, ..self }
    }

    /// `HH:MM`.
    fn minutes(self) -> Option<Self> {
        Some(self.digits(1, 2)?.byte(b':')?.digits(2, 2)?.border())
    }

    /// `HH:MM:SS` and a fraction, not followed by another group.
    fn time(self) -> Option<Self> {
        let seconds = self.minutes()?.byte(b':')?.digits(2, 2)?;
        let is_colon = seconds.byte(b':').is_some_and(|at| !at.text.is_border(at.place));
        if is_colon {
            return None;
        }
        // Minutes without the seconds that follow are no value.
        let seconds = Self { best: self.best, ..seconds }.border();
        let fraction = seconds.one_of(b".,").and_then(|at| at.digits(1, usize::MAX));
        Some(fraction.map_or(seconds, Self::border))
    }

    /// `Z`, `±zz`, `±zzzz`, `±zz:zz`, or one of the last two or a short name after a space.
    fn zone(self) -> Self {
        if let Some(utc) = self.one_of(b"Zz") {
            return utc.border();
        }
        let space = self.byte(b' ');
        if let Some(name) = space.and_then(At::zone_name) {
            return name.border();
        }
        let Some(hours) = space.unwrap_or(self).one_of(b"+-").and_then(|at| at.digits(2, 2)) else {
            return self;
        };
        let minutes = hours.byte(b':').unwrap_or(hours).digits(2, 2);
        match (minutes, space) {
            (Some(minutes), _) => minutes.border(),
            (None, None) => hours.border(),
            (None, Some(_)) => self,
        }
    }

    /// `UTC`, or three or four capital letters that end in `T`, like those of all zones of renown.
    fn zone_name(self) -> Option<Self> {
        let name = self.run(3, 4, |byte| byte.is_ascii_uppercase())?;
        let letters = &self.text.bytes[self.place..name.place];
        ((letters == b"UTC" || letters.ends_with(b"T")) && self.text.is_border(name.place)).then_some(name)
    }
}

#[cfg(test)]
mod tests;
