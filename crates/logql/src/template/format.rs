//! How values are written: plainly, and by `printf` with Go's verbs `%s`, `%d`, `%v`, `%q`, `%t`, `%f`, `%e`, `%g`, `%x`, `%X`,
//! `%c`, flags, width and precision.

use super::{Value, bounded, time};
use std::fmt::Write;

/// Adds the value as a template writes it.
pub(super) fn display(value: &Value, out: &mut String) {
    // Writing to a String cannot fail.
    let _infallible = match value {
        Value::Text(text) => {
            out.push_str(text);
            Ok(())
        }
        Value::Int(number) => write!(out, "{number}"),
        Value::Bool(flag) => write!(out, "{flag}"),
        Value::Float(number) => {
            out.push_str(&general(*number));
            Ok(())
        }
        Value::Time(nanos) => {
            out.push_str(&time::format("2006-01-02 15:04:05.999999999 -0700 MST", *nanos));
            Ok(())
        }
    };
}

/// As Go's `%v`: the shortest digits, with an exponent where it is below -4 or above 20.
fn general(number: f64) -> String {
    let size = number.abs();
    if !number.is_finite() || size == 0.0 || (1e-4..1e21).contains(&size) {
        return match number {
            number if number.is_nan() => "NaN".to_owned(),
            number if number.is_infinite() => if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
            number => format!("{number}"),
        };
    }
    with_exponent(&format!("{number:e}"))
}

/// An exponent has a sign and two digits at least.
fn with_exponent(text: &str) -> String {
    let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

#[derive(Default)]
struct Verb {
    flags: Vec<char>,
    width: usize,
    precision: Option<usize>,
}

pub(super) fn printf(pattern: &str, arguments: &[Value]) -> Result<String, String> {
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut verb = Verb::default();
        while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '+' | '0' | ' ' | '#')) {
            verb.flags.push(flag);
        }
        let number = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            let mut number = 0usize;
            while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
                chars.next();
                number = number.saturating_mul(10).saturating_add(digit as usize);
            }
            bounded(number).map(|()| number)
        };
        verb.width = number(&mut chars)?;
        if chars.next_if_eq(&'.').is_some() {
            verb.precision = Some(number(&mut chars)?);
        }
        match chars.next() {
            Some('%') => out.push('%'),
            Some(letter) => match arguments.next() {
                Some(argument) => verb.write(letter, argument, &mut out),
                None => out.extend(["%!", letter.encode_utf8(&mut [0; 4]), "(MISSING)"]),
            },
            None => out.push_str("%!(NOVERB)"),
        }
        bounded(out.len())?;
    }
    let left: Vec<String> = arguments.map(described).collect();
    if !left.is_empty() {
        out.extend(["%!(EXTRA ", &left.join(", "), ")"]);
    }
    Ok(out)
}

/// A value with its type, as Go tells that one does not fit.
fn described(value: &Value) -> String {
    let kind = match value {
        Value::Text(_) => "string",
        Value::Int(_) => "int",
        Value::Float(_) => "float64",
        Value::Bool(_) => "bool",
        Value::Time(_) => "time.Time",
    };
    format!("{kind}={}", super::functions::text(value))
}

impl Verb {
    fn has(&self, flag: char) -> bool {
        self.flags.contains(&flag)
    }

    fn write(&self, letter: char, value: &Value, out: &mut String) {
        let cut =
            |text: &str| self.precision.map_or(text.to_owned(), |most| text.chars().take(most).collect());
        let precision = self.precision.unwrap_or(6).min(1000);
        let text = match (letter, value) {
            ('s' | 'v', Value::Text(text)) => cut(text),
            ('v' | 'd', Value::Int(number)) => self.signed(number.to_string()),
            ('v' | 'g', Value::Float(number)) => self.signed(general(*number)),
            ('v', other) | ('s', other @ Value::Time(_)) => super::functions::text(other),
            ('t', Value::Bool(flag)) => flag.to_string(),
            ('q', Value::Text(text)) => crate::token::quoted(&cut(text)),
            ('f' | 'F', Value::Float(number)) => self.signed(format!("{number:.precision$}")),
            ('e', Value::Float(number)) => self.signed(with_exponent(&format!("{number:.precision$e}"))),
            ('x', Value::Int(number)) => self.signed(hexadecimal(*number)),
            ('X', Value::Int(number)) => self.signed(hexadecimal(*number).to_uppercase()),
            ('x', Value::Text(text)) => millrace_model::fields::hex(text.as_bytes()),
            ('X', Value::Text(text)) => millrace_model::fields::hex(text.as_bytes()).to_uppercase(),
            ('c', Value::Int(number)) => {
                u32::try_from(*number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}').to_string()
            }
            _ => format!("%!{letter}({})", described(value)),
        };
        self.pad(&text, matches!(value, Value::Int(_) | Value::Float(_)), out);
    }

    fn signed(&self, text: String) -> String {
        match (text.starts_with(['-', '+']), self.has('+'), self.has(' ')) {
            (false, true, _) => format!("+{text}"),
            (false, false, true) => format!(" {text}"),
            _ => text,
        }
    }

    fn pad(&self, text: &str, numeric: bool, out: &mut String) {
        let missing = self.width.saturating_sub(text.chars().count());
        if self.has('-') {
            out.extend([text, &" ".repeat(missing)]);
        } else if self.has('0') && numeric {
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+', ' '])));
            out.extend([sign, &"0".repeat(missing), digits]);
        } else {
            out.extend([&" ".repeat(missing), text]);
        }
    }
}

fn hexadecimal(number: i64) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{:x}", number.unsigned_abs())
}
