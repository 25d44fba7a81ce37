//! Lengths of time and amounts of bytes: as queries write them, as labels spell them, and as they are printed.

use std::fmt;

const UNITS: &[(&str, i64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
    ("y", 31_536_000_000_000_000),
];

/// Units longer than an hour stand in queries only.
const OF_VALUES: usize = 8;

/// Exponents of the letter in front of `B`.
const PREFIXES: &str = "kmgtpe";

/// A length of time, in nanoseconds. `Display` is as Loki has it: `1h30m0s`, `5ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration(pub i64);

impl Duration {
    /// As a query writes it: `5m`, `1h30m`, `1.5d`; days, weeks and years are allowed.
    pub fn parse(text: &str) -> Option<Self> {
        parse(text, UNITS).map(Self)
    }

    /// As a label spells it: no unit is longer than an hour, a sign may stand before it, and `0` needs no unit.
    pub fn parse_value(text: &str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Some(Self(0));
        }
        parse(rest, &UNITS[..OF_VALUES]).map(|nanos| Self(if negative { -nanos } else { nanos }))
    }

    /// In seconds.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

fn parse(text: &str, units: &[(&str, i64)]) -> Option<i64> {
    let mut rest = text;
    let mut total = 0i64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(end);
        let end = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let (_, size) = units.iter().find(|(name, _)| *name == unit)?;
        let part = match number.parse::<i64>() {
            Ok(number) => number.checked_mul(*size)?,
            Err(_) => nanos(number.parse::<f64>().ok()? * *size as f64)?,
        };
        total = total.checked_add(part)?;
        rest = behind;
    }
    (!text.is_empty()).then_some(total)
}

fn nanos(value: f64) -> Option<i64> {
    (value.is_finite() && value.abs() < i64::MAX as f64).then_some(value.round() as i64)
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        match total {
            0 => return f.write_str("0s"),
            1..1_000 => return write!(f, "{total}ns"),
            1_000..1_000_000 => return decimal(f, total, 1_000, "µs"),
            1_000_000..1_000_000_000 => return decimal(f, total, 1_000_000, "ms"),
            _ => {}
        }
        let minutes = total / 60_000_000_000;
        if minutes >= 60 {
            write!(f, "{}h", minutes / 60)?;
        }
        if minutes > 0 {
            write!(f, "{}m", minutes % 60)?;
        }
        decimal(f, total % 60_000_000_000, 1_000_000_000, "s")
    }
}

/// `value` of `unit`s, as many digits behind the point as it needs.
fn decimal(f: &mut fmt::Formatter<'_>, value: u64, size: u64, unit: &str) -> fmt::Result {
    write!(f, "{}", value / size)?;
    if !value.is_multiple_of(size) {
        let digits = (size as f64).log10().round() as usize;
        let behind = format!("{:0digits$}", value % size);
        write!(f, ".{}", behind.trim_end_matches('0'))?;
    }
    f.write_str(unit)
}

/// An amount of bytes as a query writes it: a number directly followed by `B`, `kB`, `KB`, `KiB` and so on.
pub fn bytes_literal(text: &str) -> Option<u64> {
    text.ends_with('B').then(|| bytes_value(text)).flatten()
}

/// An amount of bytes as a label spells it: `5 MiB`, `3k`, `1G`, `1,024`; case ignored.
pub fn bytes_value(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ',')).unwrap_or(text.len());
    let number = text[..end].replace(',', "").parse::<f64>().ok()?;
    let unit = text[end..].trim().to_ascii_lowercase();
    let factor = match unit.as_str() {
        "" | "b" => 1.0,
        unit => {
            let mut letters = unit.chars();
            let exponent = PREFIXES.find(letters.next()?)? as i32 + 1;
            match letters.as_str() {
                "" | "b" => 1000f64.powi(exponent),
                "i" | "ib" => 1024f64.powi(exponent),
                _ => return None,
            }
        }
    };
    let bytes = number * factor;
    (bytes < u64::MAX as f64).then_some(bytes as u64)
}

/// A number as Prometheus and Loki print it.
pub fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let text = format!("{value:?}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_printed() {
        for (text, printed) in [
            ("5m", "5m0s"),
            ("1h30m", "1h30m0s"),
            ("1.5s", "1.5s"),
            ("250ms", "250ms"),
            ("1d", "24h0m0s"),
            ("3us", "3µs"),
            ("12ns", "12ns"),
            ("1h0m0.25s", "1h0m0.25s"),
        ] {
            let duration = Duration::parse(text);
            assert_eq!(duration.map(|d| d.to_string()).as_deref(), Some(printed), "{text}");
            assert_eq!(Duration::parse(printed), duration);
        }
        for text in ["", "5", "m", "5x", "1.2.3s", "99999999y", "5m3"] {
            assert_eq!(Duration::parse(text), None, "{text}");
        }
        assert_eq!(Duration::parse_value("1d"), None);
        assert_eq!(Duration::parse_value("-1.5h"), Some(Duration(-5_400_000_000_000)));
        assert_eq!(Duration::parse_value("0"), Some(Duration(0)));
    }

    #[test]
    fn bytes_are_read() {
        for (text, bytes) in [
            ("20B", 20),
            ("1.5KiB", 1536),
            ("42MB", 42_000_000),
            ("5 MiB", 5_242_880),
            ("3k", 3000),
            ("1G", 1_000_000_000),
            ("1,024", 1024),
            ("7", 7),
        ] {
            assert_eq!(bytes_value(text), Some(bytes), "{text}");
        }
        assert_eq!(bytes_value("5 apples"), None);
        assert_eq!(bytes_value(""), None);
        assert_eq!(bytes_literal("5k"), None);
        assert_eq!(bytes_literal("5kB"), Some(5000));
    }

    #[test]
    fn numbers_are_printed() {
        for (value, text) in
            [(1.0, "1"), (0.5, "0.5"), (f64::NAN, "NaN"), (f64::INFINITY, "+Inf"), (1e300, "1e300")]
        {
            assert_eq!(number(value), text);
        }
    }
}
