//! Words of times, told from the times themselves: their text is not written where one word is asked for.

use super::{SECOND, TimeFormat, Zone, civil, fraction_unit, put_hour};
use millrace_filter::Text;
use millrace_model::Timestamp;
use std::ops::Range;

/// Does the text of a time hold a word that matches?
pub(crate) struct TimeTest<'t> {
    text: &'t Text,
    format: TimeFormat,
    /// Where one word is asked for.
    finder: Option<WordFinder>,
    written: Vec<u8>,
}

impl<'t> TimeTest<'t> {
    pub(crate) fn new(text: &'t Text, format: TimeFormat) -> Self {
        let finder = match text {
            Text::Phrase { tokens, .. } if tokens.len() == 1 => Some(format.finder(&tokens[0])),
            _ => None,
        };
        Self { text, format, finder, written: Vec::new() }
    }

    pub(crate) fn passes(&mut self, time: Timestamp) -> bool {
        if let Some(finder) = &mut self.finder {
            return finder.finds(time);
        }
        self.written.clear();
        self.format.write(time, &mut self.written);
        std::str::from_utf8(&self.written).is_ok_and(|written| self.text.matches(written))
    }
}

impl TimeFormat {
    /// May a folded word be one of the words of a time spelled like this?
    pub(crate) fn may_hold(self, word: &str) -> bool {
        let digits_first = word.bytes().take_while(u8::is_ascii_digit).count();
        let rest = &word[digits_first..];
        match self {
            Self::Epoch(_) => rest.is_empty() && digits_first > 0,
            Self::Rfc3339 { digits, zone, .. } => {
                let last = if matches!(zone, Zone::Letter(_)) { "z" } else { "" };
                match (digits_first, rest) {
                    (2 | 4, "") => true,
                    (2, rest) if rest.len() == 3 && rest.starts_with('t') => {
                        rest[1..].bytes().all(|b| b.is_ascii_digit())
                    }
                    (2, rest) if digits == 0 && rest == last => true,
                    (count, rest) => digits > 0 && count == usize::from(digits) && rest == last,
                }
            }
        }
    }

    /// May a word of a time spelled like this match?
    pub(crate) fn may_match(self, text: &Text) -> bool {
        let letters = if matches!(self, Self::Epoch(_)) { "" } else { "tz" };
        let possible = |part: String| part.chars().all(|c| c.is_ascii_digit() || letters.contains(c));
        match text {
            Text::Phrase { tokens, .. } => tokens.iter().any(|token| self.may_hold(token)),
            Text::Token(glob) => glob.literals().all(possible),
            _ => true,
        }
    }

    /// What finds the times whose text, spelled like this, has a folded word.
    fn finder(self, word: &str) -> WordFinder {
        let mut finder = WordFinder::default();
        let (separator, digits, zone) = match self {
            Self::Epoch(unit) => {
                let canonical = word == "0" || !word.starts_with('0');
                let whole = word.parse().ok().filter(|_| canonical && digits_of(word, word.len()).is_some());
                finder.epoch = whole.map(|whole| (whole, unit.max(1)));
                return finder;
            }
            Self::Rfc3339 { separator, digits, zone, .. } => (separator, digits, zone),
        };
        let unzoned = zone.cut_from(word);
        let two = digits_of(word, 2);
        finder.year = digits_of(word, 4);
        (finder.month, finder.minute) = (two, two);
        if separator == b' ' {
            (finder.day, finder.hour) = (two, two);
        } else {
            finder.day_and_hour =
                word.split_once('t').and_then(|(day, hour)| Some((digits_of(day, 2)?, digits_of(hour, 2)?)));
        }
        if digits == 0 {
            finder.second = unzoned.and_then(|word| digits_of(word, 2));
        } else {
            finder.second = two;
            finder.fraction = unzoned.and_then(|word| digits_of(word, digits.into()));
            finder.fraction_unit = fraction_unit(digits);
        }
        match zone {
            Zone::Letter(_) => {}
            Zone::MinusZero => finder.always = two == Some(0),
            Zone::Offset(minutes) => {
                finder.east = zone.east();
                let minutes = u64::from(minutes.unsigned_abs());
                finder.always = two.is_some_and(|two| two == minutes / 60 || two == minutes % 60);
            }
        }
        finder
    }
}

/// The number that a text of so many digits is.
fn digits_of(text: &str, count: usize) -> Option<u64> {
    let all = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

/// The parts of a time's text. Times that share a part share its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeParts {
    /// Hours since the epoch, where the zone is.
    pub(crate) hour: i64,
    pub(crate) minute: u8,
    pub(crate) second: u8,
    /// Where it is a whole number that is a word of its own, of few digits.
    pub(crate) fraction: Option<u16>,
}

/// Fractions of more digits are words that no other time has.
const FEW_DIGITS: u8 = 3;

impl TimeFormat {
    /// The parts of a time; `None` where its text is one number.
    pub(crate) fn parts(self, time: Timestamp) -> Option<TimeParts> {
        let Self::Rfc3339 { digits, zone, .. } = self else { return None };
        let seconds = time.0.div_euclid(SECOND) + zone.east();
        let of_hour = seconds.rem_euclid(3_600);
        let fraction = self.has_plain_fractions().then(|| {
            let nanos = time.0.rem_euclid(SECOND) as u64;
            (nanos / fraction_unit(digits)) as u16
        });
        Some(TimeParts {
            hour: seconds.div_euclid(3_600),
            minute: (of_hour / 60) as u8,
            second: (of_hour % 60) as u8,
            fraction,
        })
    }

    fn has_plain_fractions(self) -> bool {
        matches!(self, Self::Rfc3339 { digits: 1..=FEW_DIGITS, zone: Zone::Offset(_) | Zone::MinusZero, .. })
    }

    /// The text that all times of an hour share: date, hour and zone.
    pub(crate) fn hour_text(self, hour: i64) -> String {
        let Self::Rfc3339 { separator, zone, .. } = self else { return String::new() };
        let mut text = Vec::new();
        put_hour(hour, separator, &mut text);
        if !matches!(zone, Zone::Letter(_)) {
            zone.write(&mut text);
        }
        String::from_utf8(text).unwrap_or_default()
    }

    /// The text of a second, with what makes one word with it.
    pub(crate) fn second_text(self, second: u8) -> String {
        match self {
            Self::Rfc3339 { digits: 0, zone: Zone::Letter(letter), .. } => {
                format!("{second:02}{}", char::from(letter))
            }
            _ => format!("{second:02}"),
        }
    }

    /// The text of a fraction that is a word of its own.
    pub(crate) fn fraction_text(self, fraction: u16) -> String {
        let digits = if let Self::Rfc3339 { digits, .. } = self { usize::from(digits) } else { 0 };
        format!("{fraction:0digits$}")
    }

    /// May a folded word be one of some times, from the first to the last, that is not told by their [`Self::parts`]?
    pub(crate) fn may_hold_besides_parts(self, word: &str, (first, last): (Timestamp, Timestamp)) -> bool {
        match self {
            Self::Epoch(unit) => {
                let whole = |time: Timestamp| (time.0 / unit.max(1) as i64) as u128;
                let near = |number: u128| first.0 < 0 || (whole(first)..=whole(last)).contains(&number);
                word.bytes().all(|byte| byte.is_ascii_digit()) && word.parse().is_ok_and(near)
            }
            Self::Rfc3339 { digits: 0, .. } => false,
            Self::Rfc3339 { digits, zone, .. } => {
                let fraction = zone.cut_from(word).and_then(|word| digits_of(word, digits.into()));
                !self.has_plain_fractions() && fraction.is_some()
            }
        }
    }
}

/// Finds the times whose text has a word. Next to nothing is done for a time like the one before.
#[derive(Debug, Default)]
struct WordFinder {
    /// The word is part of the zone.
    always: bool,
    /// The word as a number, and the nanoseconds of one.
    epoch: Option<(u128, u64)>,
    east: i64,
    year: Option<u64>,
    month: Option<u64>,
    day: Option<u64>,
    hour: Option<u64>,
    day_and_hour: Option<(u64, u64)>,
    minute: Option<u64>,
    second: Option<u64>,
    fraction: Option<u64>,
    fraction_unit: u64,
    /// A stretch of times that all have the word, or all do not.
    last: Range<i64>,
    passes: bool,
}

impl WordFinder {
    #[inline]
    fn finds(&mut self, time: Timestamp) -> bool {
        if !self.last.contains(&time.0) {
            let (unit, passes) = self.decide(time);
            let since = time.0.rem_euclid(unit);
            let stretch = time.0.saturating_sub(since)..time.0.saturating_add(unit - since);
            (self.last, self.passes) = (stretch, passes);
        }
        self.passes
    }

    /// Whether a time has the word, and in how long a unit of time all others do as it does.
    fn decide(&self, time: Timestamp) -> (i64, bool) {
        const MINUTE: i64 = 60 * SECOND;
        if self.always {
            return (MINUTE, true);
        }
        if let Some((number, unit)) = self.epoch {
            let units = i128::from(time.0).div_euclid(i128::from(unit)).unsigned_abs();
            return (unit as i64, units == number);
        }
        let (minute, rest) = (time.0.div_euclid(MINUTE), time.0.rem_euclid(MINUTE) as u64);
        if self.is_of_minute(minute) {
            return (MINUTE, true);
        }
        let (second, nanos) = (rest / SECOND as u64, rest % SECOND as u64);
        match self.fraction {
            _ if self.second == Some(second) => (SECOND, true),
            Some(fraction) => {
                let unit = self.fraction_unit.max(1);
                (unit as i64, nanos / unit == fraction)
            }
            None if self.second.is_some() => (SECOND, false),
            None => (MINUTE, false),
        }
    }

    /// Is the word in what all times of a minute since the epoch share?
    fn is_of_minute(&self, minute: i64) -> bool {
        let local = minute + self.east / 60;
        let (year, month, date) = civil(local.div_euclid(24 * 60));
        let (hour, minute) = (local.rem_euclid(24 * 60) as u64 / 60, local.rem_euclid(60) as u64);
        self.year == Some(year as u64)
            || self.month == Some(month)
            || self.day == Some(date)
            || self.hour == Some(hour)
            || self.day_and_hour == Some((date, hour))
            || self.minute == Some(minute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time_text::UNITS;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn format() -> impl Strategy<Value = TimeFormat> {
        let zone = prop_oneof![
            Just(Zone::Letter(b'Z')),
            Just(Zone::MinusZero),
            prop::sample::select(&[0i16, 60, -330, 845, 5999, -5999][..]).prop_map(Zone::Offset),
        ];
        let parts = (prop::sample::select(&b"Tt "[..]), prop::sample::select(&b".,"[..]), 0u8..=9, zone);
        prop_oneof![
            4 => parts.prop_map(|(separator, point, digits, zone)| TimeFormat::Rfc3339 { separator, point, digits, zone }),
            1 => prop::sample::select(&UNITS[..]).prop_map(TimeFormat::Epoch),
        ]
    }

    proptest! {
        /// Words of times near each other are found in just the times that have them.
        #[test]
        fn words_are_found_without_writing(
            format in format(), base in prop_oneof![any::<i64>(), Just(i64::MIN), 0i64..2_000_000_000_000_000_000],
            steps in prop::collection::vec(prop_oneof![0i64..3_000_000_000, Just(60_000_000_000), -100i64..100, any::<i64>()], 1..20),
        ) {
            let mut time = base;
            let times: Vec<Timestamp> = steps
                .into_iter()
                .map(|step| {
                    time = time.wrapping_add(step);
                    Timestamp(time)
                })
                .collect();
            let words = |time: &Timestamp| -> Vec<String> {
                let text = written(format, *time);
                millrace_model::text::tokens(&text)
            };
            let mut asked: Vec<String> = times.iter().flat_map(words).collect();
            asked.extend(["", "00", "0", "7", "11", "043z", "15t00", "2026", "x", "\u{662}\u{662}"].map(str::to_owned));
            for word in asked {
                let mut finder = format.finder(&word);
                for time in &times {
                    prop_assert_eq!(finder.finds(*time), words(time).contains(&word), "{} in {}", word, written(format, *time));
                }
            }
        }
    }

    proptest! {
        /// The parts of a time and what may stand besides them are the words of its text.
        #[test]
        fn parts_have_the_words_of_the_text(format in format(), nanos in any::<i64>()) {
            let text = written(format, Timestamp(nanos));
            let words: BTreeSet<String> = millrace_model::text::tokens(&text).into_iter().collect();
            let mut told = BTreeSet::new();
            if let Some(parts) = format.parts(Timestamp(nanos)) {
                let minute = format!("{:02}", parts.minute);
                let fraction = parts.fraction.map(|fraction| format.fraction_text(fraction));
                for text in [format.hour_text(parts.hour), minute, format.second_text(parts.second)].into_iter().chain(fraction) {
                    told.extend(millrace_model::text::tokens(&text));
                }
            }
            prop_assert!(told.is_subset(&words), "{:?} in {:?}", told, words);
            for word in words.difference(&told) {
                prop_assert!(format.may_hold_besides_parts(word, (Timestamp(nanos), Timestamp(nanos))), "{} of {}", word, text);
            }
        }
    }

    fn written(format: TimeFormat, time: Timestamp) -> String {
        let mut bytes = Vec::new();
        format.write(time, &mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
