//! Times, read and written.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn at(text: &str) -> i64 {
    Format::standard().read(text, Zone::UTC, false).unwrap()
}

#[test]
fn formats_read_and_write() {
    for (format, text, instant) in [
        ("yyyy-MM-dd HH:mm:ss", "2024-05-01 10:11:12", "2024-05-01T10:11:12Z"),
        ("yyyy|MM|dd 'T'HH:mm:ss.SSSSSS'Z'", "2015|02|01 T00:00:00.001999Z", "2015-02-01T00:00:00.001999Z"),
        ("dd/MMM/yyyy:HH:mm:ss Z", "01/May/2024:10:11:12 +0200", "2024-05-01T08:11:12Z"),
        ("epoch_second", "1714558272", "2024-05-01T10:11:12Z"),
        ("epoch_millis", "1714558272123", "2024-05-01T10:11:12.123Z"),
        ("basic_date", "20240501", "2024-05-01"),
        ("yyyy-MM-dd'T'HH:mm:ssXXX", "2024-05-01T10:11:12Z", "2024-05-01T10:11:12Z"),
        ("hh:mm a, dd MMMM uuuu", "03:04 PM, 01 May 2024", "2024-05-01T15:04:00Z"),
        ("yyyy-DDD", "2024-061", "2024-03-01"),
    ] {
        let read = Format::new(format).unwrap();
        assert_eq!(read.read(text, Zone::UTC, false), Ok(at(instant)), "{format}");
        if !format.contains('Z') {
            assert_eq!(read.write(at(instant), Zone::UTC), text, "{format}");
        }
    }
    for format in ["", "yyyy[", "'x", "yyyyy-!!bb", "]"] {
        assert!(Format::new(format).is_err(), "{format}");
    }
}

#[test]
fn iso_dates_may_be_cut_short_and_are_rounded_either_way() {
    let read =
        |text: &str, up| Format::standard().read(text, Zone::UTC, up).map(|at| iso_text(at, Zone::UTC, 9));
    for (text, down, up) in [
        ("2024", "2024-01-01T00:00:00.000Z", "2024-12-31T23:59:59.999999999Z"),
        ("2024-02", "2024-02-01T00:00:00.000Z", "2024-02-29T23:59:59.999999999Z"),
        ("2024-02-03T04:05", "2024-02-03T04:05:00.000Z", "2024-02-03T04:05:59.999999999Z"),
        ("2024-02-03T04:05:06.7+01:00", "2024-02-03T03:05:06.700Z", "2024-02-03T03:05:06.700Z"),
    ] {
        assert_eq!(read(text, false).unwrap(), down);
        assert_eq!(read(text, true).unwrap(), up);
    }
    for text in ["", "x24", "2024-13", "2024-02-30", "2024-02-03 04:05", "2024-02-03T04:05:06.", "x"] {
        assert!(read(text, false).is_err(), "{text}");
    }
}

#[test]
fn date_math_counts_and_rounds() {
    let now = at("2024-03-15T10:30:00Z");
    let standard = Format::standard();
    let go = |text: &str, up| math(text, &standard, Zone::UTC, now, up).map(|at| iso_text(at, Zone::UTC, 9));
    for (text, up, expected) in [
        ("now", false, "2024-03-15T10:30:00.000Z"),
        ("now-1h", false, "2024-03-15T09:30:00.000Z"),
        ("now-1h/d", false, "2024-03-15T00:00:00.000Z"),
        ("now/d", true, "2024-03-15T23:59:59.999999999Z"),
        ("now/w", false, "2024-03-11T00:00:00.000Z"),
        ("2024-01-01||+1M/d", false, "2024-02-01T00:00:00.000Z"),
        ("2024-01-31||+1M", false, "2024-02-29T00:00:00.000Z"),
        ("now+1d-2h", false, "2024-03-16T08:30:00.000Z"),
    ] {
        assert_eq!(go(text, up).as_deref(), Ok(expected), "{text}");
    }
    for text in ["now*1d", "now-1q", "now-", "now/", "now/2d", "2024-01-01||é"] {
        assert!(go(text, false).is_err(), "{text}");
    }
    let berlin = Zone::parse("Europe/Berlin").unwrap();
    assert_eq!(math("now/d", &standard, berlin, now, false), Ok(at("2024-03-14T23:00:00Z")));
}

#[test]
fn lengths_are_read() {
    for (text, expected) in [
        ("90m", Some(5_400_000_000_000)),
        ("-4d", Some(-345_600_000_000_000)),
        ("+2s", Some(2_000_000_000)),
        ("1.5h", Some(5_400_000_000_000)),
        ("1x", None),
        ("", None),
        ("99999999999w", None),
    ] {
        assert_eq!(length(text), expected, "{text}");
    }
}
