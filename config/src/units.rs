//! Sizes and ages as people write them. Whole numbers only: what is written is exactly what is meant.

use std::{fmt, str::FromStr, time::Duration};

/// A number of bytes: `"50GiB"`, `"1MB"`, `1024`. Decimal units (kB or KB, MB, GB, TB) are powers of 1000, binary
/// ones (KiB, MiB, GiB, TiB) powers of 1024; without a unit it is bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

/// A length of time: `"30d"`, `"1h30m"`, `"250ms"`. Units are ns, us, ms, s, m, h, d (24 hours) and w; each part is a
/// whole number with a unit, larger units first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Age(pub Duration);

/// Why a text is no size or age.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// Nothing is written.
    #[error("it is empty")]
    Empty,
    /// A number is missing before a unit, or is negative or fractional.
    #[error("a whole number was expected before {0:?}")]
    Number(String),
    /// A number stands without a unit.
    #[error("{0} has no unit")]
    NoUnit(u64),
    /// A unit that is not known, and the one that was probably meant.
    #[error("{found:?} is not a unit{}", .meant.map(|meant| format!(" (did you mean {meant:?}?)")).unwrap_or_default())]
    Unit {
        /// As written.
        found: String,
        /// The nearest unit.
        meant: Option<&'static str>,
    },
    /// Units repeat or grow from left to right.
    #[error("{0:?} must come before smaller units, and once")]
    Order(&'static str),
    /// Larger than can be counted.
    #[error("it is too large")]
    TooLarge,
}

const SIZES: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1000),
    ("KB", 1000),
    ("B", 1),
];

const AGES: [(&str, u64); 8] = [
    ("w", 7 * 86_400 * 1_000_000_000),
    ("d", 86_400 * 1_000_000_000),
    ("h", 3600 * 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1000),
    ("ns", 1),
];

/// Splits `12ms rest` into 12, `ms` and `rest`; the unit may be empty.
fn part(text: &str) -> Result<(u64, &str, &str), UnitError> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    if number.is_empty() {
        return Err(UnitError::Number(rest.to_owned()));
    }
    if rest.starts_with(['.', ',', '_']) {
        return Err(UnitError::Number(rest.to_owned()));
    }
    let number = number.parse().map_err(|_| UnitError::TooLarge)?;
    let rest = rest.trim_start();
    let letters = rest.find(|c: char| c.is_ascii_digit() || c.is_whitespace()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(letters);
    Ok((number, unit, rest.trim_start()))
}

fn unit_error(found: &str, units: &[(&'static str, u64)]) -> UnitError {
    let same = units.iter().find(|(unit, _)| unit.eq_ignore_ascii_case(found)).map(|(unit, _)| *unit);
    let meant = same.or_else(|| match found {
        "K" | "k" => Some("KiB"),
        "M" if units.len() == SIZES.len() => Some("MiB"),
        "G" | "g" => Some("GiB"),
        "T" | "t" => Some("TiB"),
        "sec" | "secs" | "second" | "seconds" => Some("s"),
        "min" | "mins" | "minute" | "minutes" => Some("m"),
        "hour" | "hours" | "hr" => Some("h"),
        "day" | "days" => Some("d"),
        "week" | "weeks" => Some("w"),
        "µs" | "μs" => Some("us"),
        _ => None,
    });
    let meant = meant.filter(|meant| units.iter().any(|(unit, _)| unit == meant));
    UnitError::Unit { found: found.to_owned(), meant }
}

impl FromStr for ByteSize {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(UnitError::Empty);
        }
        let (number, unit, rest) = part(text)?;
        if !rest.is_empty() {
            return Err(UnitError::Unit { found: format!("{unit} {rest}").trim().to_owned(), meant: None });
        }
        let factor = match SIZES.iter().find(|(name, _)| *name == unit) {
            Some((_, factor)) => *factor,
            None if unit.is_empty() => 1,
            None => return Err(unit_error(unit, &SIZES)),
        };
        number.checked_mul(factor).map(Self).ok_or(UnitError::TooLarge)
    }
}

/// The largest unit that says it exactly.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = SIZES
            .iter()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
            .unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl FromStr for Age {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(UnitError::Empty);
        }
        let mut nanos = 0u64;
        let mut smallest = u64::MAX;
        while !rest.is_empty() {
            let (number, unit, after) = part(rest)?;
            if unit.is_empty() {
                return Err(UnitError::NoUnit(number));
            }
            let (name, factor) =
                AGES.iter().find(|(name, _)| *name == unit).ok_or_else(|| unit_error(unit, &AGES))?;
            if *factor >= smallest {
                return Err(UnitError::Order(name));
            }
            smallest = *factor;
            nanos =
                number.checked_mul(*factor).and_then(|n| nanos.checked_add(n)).ok_or(UnitError::TooLarge)?;
            rest = after;
        }
        Ok(Self(Duration::from_nanos(nanos)))
    }
}

/// Days and smaller: `1d12h`, `250ms`, `0s`.
impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_zero() {
            return f.write_str("0s");
        }
        let mut rest = self.0.as_nanos();
        for (unit, factor) in &AGES[1..] {
            let factor = u128::from(*factor);
            if rest >= factor {
                write!(f, "{}{unit}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
