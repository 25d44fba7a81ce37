//! Java's patterns of dates: `yyyy-MM-dd'T'HH:mm:ss.SSSXXX`.

use super::{Parts, digits};
use crate::{Zone, zone::offset_text, zone::utc};
use chrono::{Datelike, Timelike};

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
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A pattern, cut.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pattern(Vec<Piece>);

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    /// A letter, and how often it stands there.
    Field(char, usize),
    Text(String),
    /// What may be left out.
    Optional(Vec<Piece>),
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let mut chars = text.chars().peekable();
        let pieces = pieces(&mut chars, 0)?;
        if pieces.is_empty() { Err("it is empty".to_owned()) } else { Ok(Self(pieces)) }
    }

    /// `None`: the text is written otherwise.
    pub(crate) fn read(&self, text: &str) -> Option<Parts> {
        let mut parts = Parts::default();
        let rest = read(&self.0, text, &mut parts)?;
        rest.is_empty().then_some(parts)
    }

    pub(crate) fn write(&self, at: i64, zone: Zone) -> String {
        let mut text = String::new();
        write(&self.0, at, zone, &mut text);
        text
    }
}

fn pieces(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, depth: usize) -> Result<Vec<Piece>, String> {
    let mut pieces: Vec<Piece> = Vec::new();
    while let Some(c) = chars.next() {
        match c {
            '\'' => pieces.push(Piece::Text(quoted(chars)?)),
            '[' if depth < 4 => pieces.push(Piece::Optional(self::pieces(chars, depth + 1)?)),
            ']' if depth > 0 => return Ok(pieces),
            '[' | ']' | '{' | '}' | '#' => return Err(format!("`{c}` does not belong there")),
            'y' | 'u' | 'M' | 'L' | 'd' | 'D' | 'H' | 'h' | 'K' | 'k' | 'm' | 's' | 'S' | 'a' | 'E' | 'e'
            | 'X' | 'x' | 'Z' | 'V' | 'z' | 'n' | 'A' | 'G' | 'O' => {
                if matches!(c, 'n' | 'A' | 'G' | 'O' | 'e') {
                    return Err(format!("`{c}` is not supported"));
                }
                let mut count = 1;
                while chars.next_if_eq(&c).is_some() {
                    count += 1;
                }
                pieces.push(Piece::Field(c, count));
            }
            c if c.is_ascii_alphabetic() => return Err(format!("Unknown pattern letter: {c}")),
            c => pieces.push(Piece::Text(c.to_string())),
        }
    }
    if depth > 0 { Err("a bracket is not closed".to_owned()) } else { Ok(pieces) }
}

fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, String> {
    let mut text = String::new();
    if chars.next_if_eq(&'\'').is_some() {
        return Ok("'".to_owned());
    }
    while let Some(c) = chars.next() {
        match c {
            '\'' if chars.next_if_eq(&'\'').is_some() => text.push('\''),
            '\'' => return Ok(text),
            c => text.push(c),
        }
    }
    Err("a quote is not closed".to_owned())
}

fn read<'t>(pieces: &[Piece], text: &'t str, parts: &mut Parts) -> Option<&'t str> {
    let mut rest = text;
    for (at, piece) in pieces.iter().enumerate() {
        rest = match piece {
            Piece::Text(literal) => rest.strip_prefix(literal.as_str())?,
            Piece::Optional(inner) => {
                let mut tried = *parts;
                match read(inner, rest, &mut tried) {
                    Some(after) => {
                        *parts = tried;
                        after
                    }
                    None => rest,
                }
            }
            Piece::Field(letter, count) => {
                let next_is_digits = matches!(pieces.get(at + 1), Some(Piece::Field(c, _)) if !matches!(c, 'X' | 'x' | 'Z' | 'a' | 'E'));
                read_field(*letter, *count, rest, parts, next_is_digits)?
            }
        };
    }
    Some(rest)
}

fn read_field<'t>(
    letter: char,
    count: usize,
    text: &'t str,
    parts: &mut Parts,
    next_is_digits: bool,
) -> Option<&'t str> {
    let number = |most: usize| digits(text, count.min(2), if next_is_digits { count } else { most });
    Some(match letter {
        'y' | 'u' => {
            let (year, rest) = if count == 2 {
                digits(text, 2, 2)?
            } else {
                digits(text, count.min(4), if next_is_digits { count } else { 9 })?
            };
            parts.year = Some(if count == 2 { 2000 + year as i32 } else { i32::try_from(year).ok()? });
            rest
        }
        'M' | 'L' if count >= 3 => {
            let (at, rest) = named(text, &MONTHS, count)?;
            parts.month = Some(at as u32 + 1);
            rest
        }
        'E' => named(text, &DAYS, count)?.1,
        'a' => {
            let half = text.get(..2)?;
            parts.half = Some(match half.to_ascii_uppercase().as_str() {
                "AM" => false,
                "PM" => true,
                _ => return None,
            });
            &text[2..]
        }
        'S' => {
            let (_, rest) = digits(text, count.min(9), count.min(9))?;
            let written = &text[..text.len() - rest.len()];
            parts.nano = Some(format!("{written:0<9}").parse().ok()?);
            rest
        }
        'X' | 'x' | 'Z' => {
            if let Some(rest) = text.strip_prefix('Z') {
                parts.zone = Some(Zone::UTC);
                return Some(rest);
            }
            let end = text
                .bytes()
                .take_while(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b':'))
                .count();
            parts.zone = Some(Zone::Fixed(crate::zone::offset(text.get(..end)?)?));
            &text[end..]
        }
        'V' | 'z' => {
            let end = text
                .find(|c: char| !(c.is_alphanumeric() || matches!(c, '/' | '_' | '+' | '-' | ':')))
                .unwrap_or(text.len());
            parts.zone = Some(Zone::parse(&text[..end]).ok()?);
            &text[end..]
        }
        'D' => {
            let (day, rest) = digits(text, count, 3)?;
            parts.day_of_year = Some(day);
            rest
        }
        _ => {
            let (number, rest) = number(2)?;
            let slot = match letter {
                'M' | 'L' => &mut parts.month,
                'd' => &mut parts.day,
                'm' => &mut parts.minute,
                's' => &mut parts.second,
                _ => &mut parts.hour,
            };
            *slot = Some(if letter == 'k' && number == 24 { 0 } else { number });
            rest
        }
    })
}

fn named<'t>(text: &'t str, names: &[&str], count: usize) -> Option<(usize, &'t str)> {
    names.iter().enumerate().find_map(|(at, name)| {
        let name = if count >= 4 { name } else { &name[..3] };
        let found = text.get(..name.len()).filter(|found| found.eq_ignore_ascii_case(name))?;
        Some((at, &text[found.len()..]))
    })
}

fn write(pieces: &[Piece], at: i64, zone: Zone, into: &mut String) {
    let local = utc(zone.local(at));
    let seconds = zone.offset_at(at);
    for piece in pieces {
        match piece {
            Piece::Text(text) => into.push_str(text),
            Piece::Optional(inner) => write(inner, at, zone, into),
            Piece::Field(letter, count) => {
                let padded = |number: u32| format!("{number:0>count$}");
                let text = match letter {
                    'y' | 'u' if *count == 2 => format!("{:02}", local.year().rem_euclid(100)),
                    'y' | 'u' => format!("{:0>count$}", local.year()),
                    'M' | 'L' if *count >= 3 => short(MONTHS[local.month0() as usize], *count),
                    'M' | 'L' => padded(local.month()),
                    'E' => short(DAYS[local.weekday().num_days_from_monday() as usize], *count),
                    'd' => padded(local.day()),
                    'D' => padded(local.ordinal()),
                    'H' => padded(local.hour()),
                    'k' => padded(if local.hour() == 0 { 24 } else { local.hour() }),
                    'K' => padded(local.hour() % 12),
                    'h' => padded(if local.hour().is_multiple_of(12) { 12 } else { local.hour() % 12 }),
                    'm' => padded(local.minute()),
                    's' => padded(local.second()),
                    'S' => format!("{:09}", local.nanosecond() % 1_000_000_000)[..(*count).min(9)].to_owned(),
                    'a' => if local.hour() < 12 { "AM" } else { "PM" }.to_owned(),
                    'X' if seconds == 0 => "Z".to_owned(),
                    'X' | 'x' | 'Z' => match count {
                        1 if *letter != 'Z' && seconds % 3600 == 0 => {
                            offset_text(seconds, false)[..3].to_owned()
                        }
                        3 if *letter != 'Z' => offset_text(seconds, true),
                        5 => offset_text(seconds, true),
                        _ => offset_text(seconds, false),
                    },
                    _ => zone.name(),
                };
                into.push_str(&text);
            }
        }
    }
}

fn short(name: &str, count: usize) -> String {
    if count >= 4 { name.to_owned() } else { name[..3].to_owned() }
}
