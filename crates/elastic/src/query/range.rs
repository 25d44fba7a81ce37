//! Ranges: of numbers, of times with date math, of addresses, of texts.

use super::{Leaf, Reader, all, any, compound::COMMON, escape, none, term::field_of};
use crate::{
    Error, Zone,
    date::Format,
    fields::{Kind, Stored},
    json::{Object, Style, scalar, token},
};
use millrace_filter::{Cidr, Expr, Literal, Predicate};
use millrace_model::Number;
use serde_json::Value as Json;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const MILLISECOND: i64 = 1_000_000;

/// Two ends, each with whether it is inside.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bounds {
    pub(crate) low: Option<(String, bool)>,
    pub(crate) high: Option<(String, bool)>,
    pub(crate) format: Option<Format>,
    pub(crate) zone: Option<Zone>,
}

pub(super) fn query(reader: &mut Reader<'_>, body: &Json) -> Result<Expr, Error> {
    let (field, given) = field_of(body, "range")?;
    let mut object = Object::of(given, "range", Style::Query)?;
    object.ignore(COMMON);
    let mut bounds = Bounds::default();
    let bound = |object: &mut Object<'_>, key: &'static str| match object.value(key) {
        None => Ok(None),
        Some(value) => scalar(value)
            .map(|text| {
                Some(if value.is_f64() { text.strip_suffix(".0").unwrap_or(&text).to_owned() } else { text })
            })
            .ok_or_else(|| Error::parsing(format!("[range] query does not support [{}]", token(value)))),
    };
    for (key, is_low, inside) in [
        ("from", true, true),
        ("gte", true, true),
        ("gt", true, false),
        ("to", false, true),
        ("lte", false, true),
        ("lt", false, false),
    ] {
        if let Some(text) = bound(&mut object, key)? {
            *(if is_low { &mut bounds.low } else { &mut bounds.high }) = Some((text, inside));
        }
    }
    for (key, is_low) in [("include_lower", true), ("include_upper", false)] {
        if let Some(inside) = object.flag(key)?
            && let Some(end) = if is_low { &mut bounds.low } else { &mut bounds.high }
        {
            end.1 = inside;
        }
    }
    bounds.format = object.text("format")?.map(|text| Format::new(&text)).transpose()?;
    bounds.zone = object.text("time_zone")?.map(|text| Zone::parse(&text)).transpose()?;
    if let Some(relation) = object.text("relation")?
        && !matches!(relation.to_ascii_uppercase().as_str(), "INTERSECTS" | "CONTAINS" | "WITHIN")
    {
        return Err(Error::argument(format!("[range] query does not support relation [{relation}]")));
    }
    object.finish()?;
    self::bounds(&reader.leaf(field)?, &bounds)
}

/// What lies between.
pub(crate) fn bounds(leaf: &Leaf, bounds: &Bounds) -> Result<Expr, Error> {
    if bounds.low.is_none() && bounds.high.is_none() {
        return Ok(leaf.exists());
    }
    match &leaf.field.kind {
        Kind::Date { stored, format } => times(leaf, bounds, *stored, format),
        Kind::Long | Kind::Double => numbers(leaf, bounds),
        Kind::Ip => addresses(leaf, bounds),
        Kind::Keyword { folded: false } => Ok(texts(leaf, bounds)),
        Kind::Level => Ok(levels(leaf, bounds)),
        Kind::Object => Ok(none()),
        _ => as_written(leaf, bounds),
    }
}

fn range(leaf: &Leaf, low: Option<(Literal, bool)>, high: Option<(Literal, bool)>) -> Expr {
    leaf.test(Predicate::Range { low, high })
}

fn literals(end: Option<&(String, bool)>) -> Option<(Literal, bool)> {
    end.map(|(text, inside)| (Literal::new(text), *inside))
}

fn numbers(leaf: &Leaf, bounds: &Bounds) -> Result<Expr, Error> {
    for (text, _) in bounds.low.iter().chain(&bounds.high) {
        if Number::parse(text.trim()).is_none() {
            let reason = format!(
                "failed to create query: For input string: \"{}\"",
                text.chars().take(100).collect::<String>()
            );
            return Err(Error { cause: Some(Box::new(Error::number(text))), ..Error::query(reason) });
        }
    }
    let end = |end: &Option<(String, bool)>| {
        end.as_ref().map(|(text, inside)| (Literal::new(text.trim()), *inside))
    };
    Ok(range(leaf, end(&bounds.low), end(&bounds.high)))
}

fn levels(leaf: &Leaf, bounds: &Bounds) -> Expr {
    let (low, high) = (literals(bounds.low.as_ref()), literals(bounds.high.as_ref()));
    let known = |end: &Option<(Literal, bool)>| {
        end.as_ref().is_none_or(|(literal, _)| literal.level.is_some() || literal.number.is_some())
    };
    if known(&low) && known(&high) { range(leaf, low, high) } else { none() }
}

/// By number where an end is one; times that are reckoned are texts as ISO 8601 writes them.
fn as_written(leaf: &Leaf, bounds: &Bounds) -> Result<Expr, Error> {
    let zone = bounds.zone.unwrap_or(Zone::UTC);
    let standard = Format::standard();
    let format = bounds.format.as_ref().unwrap_or(&standard);
    let end = |end: &Option<(String, bool)>, round_up: bool| match end {
        Some((text, inside)) if text.starts_with("now") || text.contains("||") || bounds.format.is_some() => {
            match leaf.time(text, format, zone, round_up) {
                Ok(at) => Ok(Some((Literal::new(&standard.write(at, Zone::UTC)), *inside))),
                // A text that only begins like one.
                Err(_) if bounds.format.is_none() => Ok(literals(end.as_ref())),
                Err(error) => Err(error),
            }
        }
        other => Ok(literals(other.as_ref())),
    };
    let low = end(&bounds.low, bounds.low.as_ref().is_some_and(|(_, inside)| !inside))?;
    let high = end(&bounds.high, bounds.high.as_ref().is_some_and(|(_, inside)| *inside))?;
    Ok(range(leaf, low, high))
}

fn times(leaf: &Leaf, bounds: &Bounds, stored: Stored, format: &Format) -> Result<Expr, Error> {
    let zone = bounds.zone.unwrap_or(Zone::UTC);
    let format = bounds.format.as_ref().unwrap_or(format);
    let at = |text: &str, round_up| {
        leaf.time(text, format, zone, round_up).or_else(|error| {
            // Epoch milliseconds as a number are understood whatever the format is.
            if text.parse::<i64>().is_ok() && bounds.format.is_none() {
                leaf.time(text, &Format::standard(), zone, round_up)
            } else {
                Err(error)
            }
        })
    };
    // A bound that is a whole millisecond means all of that.
    let resolution = |at: i64| match stored {
        Stored::Millis => MILLISECOND,
        Stored::Nanos => 1,
        Stored::Time => {
            if at.rem_euclid(MILLISECOND) == 0 {
                MILLISECOND
            } else {
                1
            }
        }
    };
    let floor = |at: i64| at.saturating_sub(at.rem_euclid(resolution(at)));
    let low = match &bounds.low {
        None => None,
        Some((text, true)) => Some(floor(at(text, false)?)),
        Some((text, false)) => {
            let at = at(text, true)?;
            Some(floor(at).saturating_add(resolution(at)))
        }
    };
    let high = match &bounds.high {
        None => None,
        Some((text, false)) => Some(floor(at(text, false)?)),
        Some((text, true)) => {
            let at = at(text, true)?;
            Some(floor(at).saturating_add(resolution(at)))
        }
    };
    if low.zip(high).is_some_and(|(low, high)| low >= high) {
        return Ok(none());
    }
    Ok(leaf.stored_between(stored, low, high))
}

/// Texts by their letters, as they sort: the filter language ignores case, expressions do not.
fn texts(leaf: &Leaf, bounds: &Bounds) -> Expr {
    let mut terms = Vec::new();
    for (end, is_low) in [(&bounds.low, true), (&bounds.high, false)] {
        let Some((text, inside)) = end else { continue };
        let pattern = beyond(text, is_low, *inside);
        match leaf.regex(&pattern) {
            Ok(test) => terms.push(test),
            // Too long for an expression: case does not count then.
            Err(_) => return range(leaf, literals(bounds.low.as_ref()), literals(bounds.high.as_ref())),
        }
    }
    all(terms)
}

/// Texts on one side of another, as an expression.
fn beyond(text: &str, above: bool, inside: bool) -> String {
    let mut pattern = String::from(r"(?s)\A(?:");
    let mut open = 0;
    for c in text.chars() {
        // What differs first in this place, or does not differ here.
        if above {
            if let Some(next) = next(c) {
                pattern.extend(["[", &class(next), r"-\x{10FFFF}].*|"]);
            }
        } else {
            pattern.push('|');
            if let Some(before) = before(c) {
                pattern.extend([r"[\x00-", &class(before), "].*|"]);
            }
        }
        pattern.push_str(&escape(&c.to_string()));
        pattern.push_str("(?:");
        open += 1;
    }
    pattern.push_str(match (above, inside) {
        (true, true) => ".*",
        (true, false) => ".+",
        (false, true) => "",
        (false, false) => r"[^\s\S]",
    });
    pattern.push_str(&")".repeat(open));
    pattern.push_str(r")\z");
    pattern
}

fn next(c: char) -> Option<char> {
    char::from_u32(c as u32 + 1).or_else(|| (c == '\u{d7ff}').then_some('\u{e000}'))
}

fn before(c: char) -> Option<char> {
    let before = (c as u32).checked_sub(1)?;
    char::from_u32(before).or(Some('\u{d7ff}'))
}

fn class(c: char) -> String {
    format!(r"\x{{{:X}}}", c as u32)
}

fn addresses(leaf: &Leaf, bounds: &Bounds) -> Result<Expr, Error> {
    let read = |end: &Option<(String, bool)>| match end {
        None => Ok(None),
        Some((text, inside)) => match text.trim().parse::<IpAddr>() {
            Ok(address) => Ok(Some((address.to_canonical(), *inside))),
            Err(_) => Err(Error::query(format!(
                "failed to create query: '{}' is not an IP string literal.",
                text.chars().take(100).collect::<String>()
            ))),
        },
    };
    let networks = networks(read(&bounds.low)?, read(&bounds.high)?);
    Ok(any(networks.into_iter().map(|network| leaf.test(Predicate::Cidr(network))).collect()))
}

/// The networks that hold just the addresses between two: those of the kind of the ends; all kinds where an end is open.
pub(crate) fn networks(low: Option<(IpAddr, bool)>, high: Option<(IpAddr, bool)>) -> Vec<Cidr> {
    let end = |end: Option<(IpAddr, bool)>, step: i8| {
        let (address, inside) = end?;
        let (bits, value) = bits_of(address);
        if inside {
            return Some((bits, Some(value)));
        }
        let moved = if step > 0 { value.checked_add(1) } else { value.checked_sub(1) };
        Some((bits, moved.filter(|value| bits == 128 || *value <= u128::from(u32::MAX))))
    };
    let (low, high) = (end(low, 1), end(high, -1));
    let mut all = Vec::new();
    for bits in [32u32, 128] {
        let last = if bits == 32 { u128::from(u32::MAX) } else { u128::MAX };
        // Addresses of four bytes come before those of sixteen.
        let first_of = match low {
            None => Some(0),
            Some((of, value)) if of == bits => value,
            Some((of, _)) => (of < bits).then_some(0),
        };
        let last_of = match high {
            None => Some(last),
            Some((of, value)) if of == bits => value,
            Some((of, _)) => (of > bits).then_some(last),
        };
        if let (Some(from), Some(to)) = (first_of, last_of)
            && from <= to
        {
            split(bits, from, to, &mut all);
        }
    }
    all
}

fn bits_of(address: IpAddr) -> (u32, u128) {
    match address {
        IpAddr::V4(address) => (32, u128::from(address.to_bits())),
        IpAddr::V6(address) => (128, address.to_bits()),
    }
}

fn split(bits: u32, mut from: u128, to: u128, into: &mut Vec<Cidr>) {
    loop {
        // The largest block that begins here and does not go too far.
        let mut size = from.trailing_zeros().min(bits);
        while size > 0 && (size == 128 && to != u128::MAX || size < 128 && from + ((1u128 << size) - 1) > to)
        {
            size -= 1;
        }
        let address = if bits == 32 {
            IpAddr::V4(Ipv4Addr::from_bits(from as u32))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(from))
        };
        into.extend(Cidr::parse(&format!("{address}/{}", bits - size)));
        let end = if size >= 128 { u128::MAX } else { from + ((1u128 << size) - 1) };
        if end >= to {
            return;
        }
        from = end + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_addresses_are_networks() {
        let of = |low: &str, high: &str| -> Vec<String> {
            let read = |text: &str| text.parse().ok().map(|address| (address, true));
            networks(read(low), read(high)).iter().map(ToString::to_string).collect()
        };
        assert_eq!(of("10.0.0.0", "10.0.0.255"), ["10.0.0.0/24"]);
        assert_eq!(of("10.0.0.1", "10.0.0.4"), ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/32"]);
        assert_eq!(of("", ""), ["0.0.0.0/0", "::/0"]);
        assert_eq!(of("255.255.255.255", ""), ["255.255.255.255/32", "::/0"]);
        assert_eq!(of("::1", "::1"), ["::1/128"]);
        assert!(of("10.0.0.2", "10.0.0.1").is_empty());
    }

    #[test]
    fn texts_sort_by_their_letters() {
        let texts = ["", "H", "a", "b", "ba", "bz", "c", "é", "z"];
        for bound in ["", "b", "ba", "é"] {
            for (above, inside) in [(true, true), (true, false), (false, true), (false, false)] {
                let Ok(pattern) = millrace_filter::Pattern::new(&beyond(bound, above, inside)) else {
                    panic!("{}", beyond(bound, above, inside));
                };
                for text in texts {
                    let expected = match (above, inside) {
                        (true, true) => text >= bound,
                        (true, false) => text > bound,
                        (false, true) => text <= bound,
                        (false, false) => text < bound,
                    };
                    assert_eq!(
                        pattern.is_match(text),
                        expected,
                        "{text:?} against {bound:?} {above} {inside}"
                    );
                }
            }
        }
    }
}
