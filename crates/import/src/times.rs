//! Formats of times: Go's layouts and `strptime`'s, as `strftime` has them.

/// How a field's time is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Format {
    /// In one of the ways that Millrace knows by itself: RFC 3339, and numbers since the epoch.
    Known,
    /// So.
    Written(String),
}

/// What Go's layouts are made of, longest first where one begins with another.
const PARTS: [(&str, &str); 34] = [
    ("January", "%B"),
    ("Jan", "%b"),
    ("Monday", "%A"),
    ("Mon", "%a"),
    ("MST", ""),
    ("2006", "%Y"),
    ("-07:00:00", ""),
    ("-07:00", "%:z"),
    ("-0700", "%z"),
    ("-07", "%#z"),
    ("Z07:00", "%#z"),
    ("Z0700", "%#z"),
    (".000000000", "%.f"),
    (".000000", "%.f"),
    (".000", "%.f"),
    (".999999999", "%.f"),
    (".999999", "%.f"),
    (".999", "%.f"),
    (",000000000", ",%9f"),
    (",000000", ",%6f"),
    (",000", ",%3f"),
    ("002", "%j"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("_2", "%e"),
    ("15", "%H"),
    ("PM", "%p"),
    ("pm", "%P"),
    ("1", "%m"),
    ("2", "%d"),
];

/// Layouts that have names, in Promtail and in Filebeat.
const NAMED: [(&str, &str); 11] = [
    ("ANSIC", "Mon Jan _2 15:04:05 2006"),
    ("UnixDate", "Mon Jan _2 15:04:05 MST 2006"),
    ("RubyDate", "Mon Jan 02 15:04:05 -0700 2006"),
    ("RFC822", "02 Jan 06 15:04 MST"),
    ("RFC822Z", "02 Jan 06 15:04 -0700"),
    ("RFC850", "Monday, 02-Jan-06 15:04:05 MST"),
    ("RFC1123", "Mon, 02 Jan 2006 15:04:05 MST"),
    ("RFC1123Z", "Mon, 02 Jan 2006 15:04:05 -0700"),
    ("Stamp", "Jan _2 15:04:05"),
    ("StampMilli", "Jan _2 15:04:05.000"),
    ("StampMicro", "Jan _2 15:04:05.000000"),
];

/// What Millrace knows by itself.
const KNOWN: [&str; 8] =
    ["RFC3339", "RFC3339Nano", "Unix", "UnixMs", "UnixUs", "UnixNs", "2006-01-02T15:04:05Z07:00", "UNIX_MS"];

/// Go's layout.
pub(super) fn from_go(layout: &str) -> Result<Format, String> {
    if KNOWN.iter().any(|known| known.eq_ignore_ascii_case(layout)) {
        return Ok(Format::Known);
    }
    let layout = NAMED.iter().find(|(name, _)| *name == layout).map_or(layout, |(_, layout)| layout);
    let mut format = String::new();
    let mut rest = layout;
    while let Some(c) = rest.chars().next() {
        if let Some((part, ours)) = PARTS.iter().find(|(part, _)| rest.starts_with(part)) {
            if ours.is_empty() {
                return Err(format!("Millrace does not read zones by their short name ({part:?})"));
            }
            format.push_str(ours);
            rest = &rest[part.len()..];
            continue;
        }
        let single = [('3', "%I"), ('4', "%M"), ('5', "%S")].into_iter().find(|(digit, _)| *digit == c);
        match (single, c) {
            (Some((_, ours)), _) => format.push_str(ours),
            (None, '%') => format.push_str("%%"),
            (None, c) => format.push(c),
        }
        rest = &rest[c.len_utf8()..];
    }
    if format.contains('%') {
        Ok(Format::Written(format))
    } else {
        Err(format!("{layout:?} is no layout of times"))
    }
}

/// `strptime`'s format, with Fluent Bit's `%L` for fractions of a second.
pub(super) fn from_strptime(text: &str) -> Result<Format, String> {
    let text = text.replace(".%L", "%.f").replace(",%L", ",%3f");
    let mut format = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find('%') {
        format.push_str(&rest[..at]);
        rest = &rest[at..];
        let kept = ["%.f", "%3f"].into_iter().find(|kept| rest.starts_with(kept));
        let kept = kept.map(|kept| (kept, kept)).or_else(|| {
            let known = ["%Y", "%m", "%d", "%H", "%M", "%S", "%y", "%b", "%B", "%h", "%a", "%A", "%e", "%j"];
            let more = ["%T", "%D", "%F", "%R", "%p", "%I", "%s", "%n", "%t", "%%", "%k", "%l", "%C"];
            let known = known.into_iter().chain(more).find(|known| rest.starts_with(known));
            known.map(|known| (known, known)).or(rest.starts_with("%z").then_some(("%z", "%#z")))
        });
        let Some((theirs, ours)) = kept else {
            let unknown: String = rest.chars().take(2).collect();
            return Err(format!("Millrace does not read {unknown} in a format of times"));
        };
        format.push_str(ours);
        rest = &rest[theirs.len()..];
    }
    format.push_str(rest);
    Ok(if format == "%s" || format == "%s%.f" { Format::Known } else { Format::Written(format) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_become_strftime() {
        let written = |text: &str| Ok(Format::Written(text.to_owned()));
        for (layout, expected) in [
            ("2006-01-02 15:04:05", "%Y-%m-%d %H:%M:%S"),
            ("2006-01-02 15:04:05,000", "%Y-%m-%d %H:%M:%S,%3f"),
            ("2006-01-02T15:04:05.000Z07:00", "%Y-%m-%dT%H:%M:%S%.f%#z"),
            ("02/Jan/2006:15:04:05 -0700", "%d/%b/%Y:%H:%M:%S %z"),
            ("Jan _2 15:04:05", "%b %e %H:%M:%S"),
            ("1/2/06 3:04 PM", "%m/%d/%y %I:%M %p"),
            ("100% 2006", "%m00%% %Y"),
            ("ANSIC", "%a %b %e %H:%M:%S %Y"),
        ] {
            assert_eq!(from_go(layout), written(expected), "{layout}");
        }
        for known in ["RFC3339", "RFC3339Nano", "Unix", "UNIX", "UNIX_MS", "UnixNs"] {
            assert_eq!(from_go(known), Ok(Format::Known));
        }
        for bad in ["RFC850", "2006 MST", "no time", ""] {
            assert!(from_go(bad).is_err(), "{bad}");
        }
        assert_eq!(from_strptime("%Y-%m-%dT%H:%M:%S.%L%z"), written("%Y-%m-%dT%H:%M:%S%.f%#z"));
        assert_eq!(from_strptime("%d/%b/%Y:%H:%M:%S %z"), written("%d/%b/%Y:%H:%M:%S %#z"));
        assert_eq!(from_strptime("%s"), Ok(Format::Known));
        assert!(
            from_strptime("%Q").is_err() && from_strptime("%H %Z").is_err() && from_strptime("x%").is_err()
        );
    }
}
