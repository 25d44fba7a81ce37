//! Times by Go's layouts, `2006-01-02T15:04:05Z07:00` and the like, in UTC.

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The epoch began on a Thursday.
const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

const DAY: i64 = 86_400;
const SECOND: i64 = 1_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Year,
    ShortYear,
    Month,
    MonthNumber,
    MonthName,
    MonthShort,
    Day,
    DayNumber,
    DayBlank,
    DayOfYear,
    WeekdayName,
    WeekdayShort,
    Hour,
    HalfHour,
    HalfHourNumber,
    Minute,
    MinuteNumber,
    Second,
    SecondNumber,
    /// `AM` or `PM`.
    Half,
    HalfLower,
    ZoneName,
    /// `Z` stands for UTC.
    Zone {
        z: bool,
        colon: bool,
        minutes: bool,
    },
    /// So many digits; zeros at the end are left out.
    Fraction {
        digits: usize,
        trimmed: bool,
    },
}

/// Longer ones first.
const PARTS: &[(&str, Part)] = &[
    ("January", Part::MonthName),
    ("Monday", Part::WeekdayName),
    ("Z07:00", Part::Zone { z: true, colon: true, minutes: true }),
    ("-07:00", Part::Zone { z: false, colon: true, minutes: true }),
    ("Z0700", Part::Zone { z: true, colon: false, minutes: true }),
    ("-0700", Part::Zone { z: false, colon: false, minutes: true }),
    ("2006", Part::Year),
    ("Jan", Part::MonthShort),
    ("Mon", Part::WeekdayShort),
    ("MST", Part::ZoneName),
    ("-07", Part::Zone { z: false, colon: false, minutes: false }),
    ("002", Part::DayOfYear),
    ("01", Part::Month),
    ("02", Part::Day),
    ("_2", Part::DayBlank),
    ("03", Part::HalfHour),
    ("04", Part::Minute),
    ("05", Part::Second),
    ("06", Part::ShortYear),
    ("15", Part::Hour),
    ("PM", Part::Half),
    ("pm", Part::HalfLower),
    ("1", Part::MonthNumber),
    ("2", Part::DayNumber),
    ("3", Part::HalfHourNumber),
    ("4", Part::MinuteNumber),
    ("5", Part::SecondNumber),
];

/// The part that `layout` begins with, and how long it is written.
fn part(layout: &str) -> Option<(Part, usize)> {
    if layout.starts_with(['.', ',']) {
        for (digit, trimmed) in [('0', false), ('9', true)] {
            let digits = layout[1..].chars().take_while(|c| *c == digit).count();
            let ends = !layout[1 + digits..].starts_with(|c: char| c.is_ascii_digit());
            if digits > 0 && ends {
                return Some((Part::Fraction { digits: digits.min(9), trimmed }, digits + 1));
            }
        }
        return None;
    }
    PARTS.iter().find(|(text, _)| layout.starts_with(text)).map(|(text, part)| (*part, text.len()))
}

/// Days since the epoch as year, month and day.
fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year + era * 400 + i64::from(month <= 2), month, of_year - (153 * from_march + 2) / 5 + 1)
}

/// And back.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The time, in nanoseconds since the epoch, by a layout.
pub(super) fn format(layout: &str, nanos: i64) -> String {
    let (seconds, fraction) = (nanos.div_euclid(SECOND), nanos.rem_euclid(SECOND));
    let (day_number, of_day) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (year, month, day) = date(day_number);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let half_hour = (hour + 11) % 12 + 1;
    let month_name = MONTHS[(month - 1).clamp(0, 11) as usize];
    let weekday = DAYS[day_number.rem_euclid(7) as usize];
    let mut out = String::new();
    let mut rest = layout;
    while let Some(first) = rest.chars().next() {
        let Some((part, length)) = part(rest) else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        rest = &rest[length..];
        let written = match part {
            Part::Year => format!("{year:04}"),
            Part::ShortYear => format!("{:02}", year.rem_euclid(100)),
            Part::Month => format!("{month:02}"),
            Part::MonthNumber => month.to_string(),
            Part::MonthName => month_name.to_owned(),
            Part::MonthShort => month_name[..3].to_owned(),
            Part::Day => format!("{day:02}"),
            Part::DayNumber => day.to_string(),
            Part::DayBlank => format!("{day:2}"),
            Part::DayOfYear => format!("{:03}", day_number - days(year, 1, 1) + 1),
            Part::WeekdayName => weekday.to_owned(),
            Part::WeekdayShort => weekday[..3].to_owned(),
            Part::Hour => format!("{hour:02}"),
            Part::HalfHour => format!("{half_hour:02}"),
            Part::HalfHourNumber => half_hour.to_string(),
            Part::Minute => format!("{minute:02}"),
            Part::MinuteNumber => minute.to_string(),
            Part::Second => format!("{second:02}"),
            Part::SecondNumber => second.to_string(),
            Part::Half => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            Part::HalfLower => if hour < 12 { "am" } else { "pm" }.to_owned(),
            Part::ZoneName => "UTC".to_owned(),
            Part::Zone { z: true, .. } => "Z".to_owned(),
            Part::Zone { colon, minutes, .. } => match (minutes, colon) {
                (true, true) => "+00:00".to_owned(),
                (true, false) => "+0000".to_owned(),
                (false, _) => "+00".to_owned(),
            },
            Part::Fraction { digits, trimmed } => {
                let all = &format!("{fraction:09}")[..digits];
                let shown = if trimmed { all.trim_end_matches('0') } else { all };
                if shown.is_empty() { String::new() } else { format!(".{shown}") }
            }
        };
        out.push_str(&written);
    }
    out
}

/// The time that `text` says by a layout.
pub(super) fn parse(layout: &str, text: &str) -> Result<i64, String> {
    read(layout, text).ok_or_else(|| format!("{text:?} is no time of the layout {layout:?}"))
}

fn read(layout: &str, text: &str) -> Option<i64> {
    let (mut year, mut month, mut day, mut of_day, mut fraction, mut afternoon) = (0, 1, 1, 0, 0, None);
    let mut zone = 0;
    let (mut layout, mut rest) = (layout, text);
    while let Some(first) = layout.chars().next() {
        let Some((part, length)) = part(layout) else {
            rest = rest.strip_prefix(first)?;
            layout = &layout[first.len_utf8()..];
            continue;
        };
        layout = &layout[length..];
        let mut digits = |least: usize, most: usize| -> Option<i64> {
            let length = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
            let number = (length >= least).then(|| rest[..length].parse().ok()).flatten();
            rest = &rest[length..];
            number
        };
        match part {
            Part::Year => year = digits(4, 4)?,
            Part::ShortYear => {
                let short = digits(2, 2)?;
                year = short + if short >= 69 { 1900 } else { 2000 };
            }
            Part::Month => month = digits(2, 2)?,
            Part::MonthNumber => month = digits(1, 2)?,
            Part::Day => day = digits(2, 2)?,
            Part::DayNumber => day = digits(1, 2)?,
            Part::DayBlank => {
                rest = rest.trim_start();
                let length = rest.bytes().take(2).take_while(u8::is_ascii_digit).count();
                day = rest[..length].parse().ok()?;
                rest = &rest[length..];
            }
            Part::Hour | Part::HalfHour => of_day += 3600 * digits(2, 2)?,
            Part::HalfHourNumber => of_day += 3600 * digits(1, 2)?,
            Part::Minute => of_day += 60 * digits(2, 2)?,
            Part::MinuteNumber => of_day += 60 * digits(1, 2)?,
            Part::Second | Part::SecondNumber => {
                of_day += digits(if part == Part::Second { 2 } else { 1 }, 2)?;
                // A fraction is read even where the layout has none.
                if part_is_fraction(layout).is_none() {
                    (fraction, rest) = read_fraction(rest);
                }
            }
            Part::Fraction { .. } => (fraction, rest) = read_fraction(rest),
            Part::MonthName | Part::MonthShort => {
                let at = MONTHS.iter().position(|name| rest.starts_with(&name[..3]))?;
                let length = if part == Part::MonthName { MONTHS[at].len() } else { 3 };
                month = at as i64 + 1;
                rest = rest.get(length..)?;
            }
            Part::WeekdayName | Part::WeekdayShort => {
                let name = DAYS.iter().find(|name| rest.starts_with(&name[..3]))?;
                rest = rest.get(if part == Part::WeekdayName { name.len() } else { 3 }..)?;
            }
            Part::Half | Part::HalfLower => {
                afternoon = Some(rest.get(..2)?.eq_ignore_ascii_case("pm"));
                rest = &rest[2..];
            }
            Part::ZoneName => rest = rest.strip_prefix("UTC").or_else(|| rest.strip_prefix("GMT"))?,
            Part::Zone { z, colon, minutes } => (zone, rest) = read_zone(rest, z, colon, minutes)?,
            Part::DayOfYear => return None,
        }
    }
    if let Some(afternoon) = afternoon {
        let hour = of_day / 3600 % 12 + if afternoon { 12 } else { 0 };
        of_day = hour * 3600 + of_day % 3600;
    }
    let valid = (1..=12).contains(&month) && (1..=31).contains(&day) && of_day < DAY && rest.is_empty();
    let seconds = valid.then(|| days(year, month, day) * DAY + of_day - zone)?;
    seconds.checked_mul(SECOND)?.checked_add(fraction)
}

fn part_is_fraction(layout: &str) -> Option<usize> {
    match part(layout) {
        Some((Part::Fraction { .. }, length)) => Some(length),
        _ => None,
    }
}

/// Nanoseconds, where a fraction stands here.
fn read_fraction(text: &str) -> (i64, &str) {
    let Some(behind) = text.strip_prefix(['.', ',']) else { return (0, text) };
    let length = behind.bytes().take_while(u8::is_ascii_digit).count();
    if length == 0 {
        return (0, text);
    }
    let digits = &behind[..length.min(9)];
    (format!("{digits:0<9}").parse().unwrap_or(0), &behind[length..])
}

/// The seconds that a zone is ahead.
fn read_zone(text: &str, z: bool, colon: bool, minutes: bool) -> Option<(i64, &str)> {
    if let Some(behind) = text.strip_prefix('Z').filter(|_| z) {
        return Some((0, behind));
    }
    let sign = match text.bytes().next()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours: i64 = text.get(1..3)?.parse().ok()?;
    let mut rest = &text[3..];
    let mut of_hour = 0;
    if minutes {
        rest = if colon { rest.strip_prefix(':')? } else { rest };
        of_hour = rest.get(..2)?.parse::<i64>().ok()?;
        rest = &rest[2..];
    }
    Some((sign * (hours * 3600 + of_hour * 60), rest))
}

/// A time since the epoch in days, seconds, milliseconds, microseconds or nanoseconds: by how many digits it has.
pub(super) fn from_epoch(text: &str) -> Option<i64> {
    let number: i64 = text.trim().parse().ok()?;
    let size = match text.trim().trim_start_matches('-').len() {
        ..=5 => DAY * SECOND,
        6..=10 => SECOND,
        11..=13 => 1_000_000,
        14..=16 => 1_000,
        _ => 1,
    };
    number.checked_mul(size)
}
