//! Sizes, durations and addresses as other tools write them, as Millrace has them.

/// What Millrace takes for the longest line, in bytes.
const LINES: std::ops::RangeInclusive<u64> = 64..=64 << 20;

/// A duration in Go's notation (`1h30m`, `1.5s`), or a plain number of seconds.
pub(super) fn duration(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is no duration such as 10s");
    let mut rest = text.trim();
    let mut seconds = 0.0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let factor = match unit.trim() {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "" | "s" | "S" => 1.0,
            "m" | "M" => 60.0,
            "h" | "H" => 3600.0,
            "d" | "D" => 86_400.0,
            _ => return Err(wrong()),
        };
        seconds += number.parse::<f64>().map_err(|_| wrong())? * factor;
        rest = after;
    }
    millis((seconds * 1e3).round()).ok_or_else(wrong)
}

/// So many milliseconds, in the largest unit that says it exactly.
fn millis(millis: f64) -> Option<String> {
    if !(0.0..1e13).contains(&millis) {
        return None;
    }
    let text = format!("{millis:.0}");
    let millis: u64 = text.parse().ok()?;
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    let unit = units.iter().find(|(_, factor)| millis >= *factor && millis.is_multiple_of(*factor));
    Some(match unit {
        Some((unit, factor)) => format!("{}{unit}", millis / factor),
        None if millis == 0 => "0s".to_owned(),
        None => format!("{millis}ms"),
    })
}

/// So many milliseconds, as a duration that is longer than nothing.
pub(super) fn of_millis(count: u64) -> Result<String, String> {
    some(duration(&format!("{count}ms"))?)
}

/// A duration that is longer than nothing.
pub(super) fn some_duration(text: &str) -> Result<String, String> {
    some(duration(text)?)
}

fn some(duration: String) -> Result<String, String> {
    if duration == "0s" { Err("it must be longer than nothing".to_owned()) } else { Ok(duration) }
}

/// A size in bytes, whose `k` means this many bytes; `KiB` is 1024 always.
pub(super) fn size(text: &str, kilo: u64) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size such as 64KiB");
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim().to_ascii_lowercase();
    let kilo = if unit.ends_with("ib") { 1024 } else { kilo };
    let power = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    kilo.checked_pow(power).and_then(|factor| number.checked_mul(factor)).ok_or_else(wrong)
}

/// A size as Millrace writes it.
pub(super) fn size_text(bytes: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("MB", 1_000_000), ("kB", 1000)];
    let unit = units.iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor));
    unit.map_or_else(|| format!("{bytes}B"), |(unit, factor)| format!("{}{unit}", bytes / factor))
}

/// The longest line, where Millrace allows it.
pub(super) fn line(bytes: u64) -> Result<String, String> {
    if LINES.contains(&bytes) {
        Ok(size_text(bytes))
    } else {
        Err("a line's bound (max_line) lies between 64 bytes and 64MiB".to_owned())
    }
}

/// Where to listen: an address and a port, from what may leave the one or the other out.
pub(super) fn listen(text: &str, port: Option<u16>) -> Result<std::net::SocketAddr, String> {
    let wrong =
        || format!("Millrace listens on an address and a port, such as 127.0.0.1:5514, not on {text:?}");
    let (host, given) = match text.rsplit_once(':') {
        Some((host, given)) if !host.contains(':') || host.starts_with('[') => (host, Some(given)),
        _ => (text, None),
    };
    let given = given.map(|given| given.parse::<u16>().map_err(|_| wrong())).transpose()?;
    let port = given.or(port).ok_or_else(wrong)?;
    let address = match host.trim_matches(['[', ']']) {
        "" => "0.0.0.0",
        "localhost" => "127.0.0.1",
        host => host,
    };
    let address: std::net::IpAddr = address.parse().map_err(|_| wrong())?;
    Ok(std::net::SocketAddr::new(address, port))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn durations_sizes_and_addresses_are_read() {
        for (text, expected) in [
            ("10s", "10s"),
            ("1.5h", "90m"),
            ("1h30m", "90m"),
            ("250ms", "250ms"),
            ("5", "5s"),
            ("0", "0s"),
            ("120", "2m"),
        ] {
            assert_eq!(duration(text).unwrap(), expected, "{text}");
        }
        for text in ["", "s", "10x", "-1s", "1e99999h", "99999999999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(some_duration("0s").is_err());
        assert_eq!(size("10MiB", 1000), Ok(10 << 20));
        assert_eq!(size("32k", 1000), Ok(32_000));
        assert_eq!(size("1 MB", 1024), Ok(1 << 20));
        assert_eq!(size("7", 1000), Ok(7));
        assert!(size("1.5MB", 1000).is_err() && size("99999999999TB", 1000).is_err());
        assert_eq!((size_text(32_000), size_text(1 << 20)), ("32kB".to_owned(), "1MiB".to_owned()));
        assert!(line(10).is_err());
        for (text, expected) in [
            ("localhost:9000", "127.0.0.1:9000"),
            (":514", "0.0.0.0:514"),
            ("[::1]:514", "[::1]:514"),
            ("::", "[::]:5140"),
            ("10.0.0.1", "10.0.0.1:5140"),
        ] {
            assert_eq!(listen(text, Some(5140)).unwrap().to_string(), expected, "{text}");
        }
        assert!(listen("web1:514", None).is_err() && listen("127.0.0.1", None).is_err());
    }
}
