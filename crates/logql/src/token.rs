//! From characters to tokens, each with its span. Words of the language are plain words here: what a word means depends on
//! where it stands, so that most of them may be labels as well.

use crate::units::{Duration, bytes_literal};
use millrace_filter::ParseError;
use std::ops::Range;

/// The longest query, in bytes.
pub const MAX_QUERY: usize = 64 * 1024;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Word(String),
    Text(String),
    Number(f64),
    Duration(Duration),
    Bytes(u64),
    /// One of [`SIGNS`].
    Sign(&'static str),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) span: Range<usize>,
}

impl Token {
    pub(crate) fn is_sign(&self, sign: &str) -> bool {
        matches!(self.kind, Kind::Sign(found) if found == sign)
    }

    pub(crate) fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Word(found) if found == word)
    }
}

/// Longer ones first.
const SIGNS: &[&str] = &[
    "--keep-empty",
    "--strict",
    "|=",
    "|~",
    "|>",
    "!=",
    "!~",
    "!>",
    "=~",
    "==",
    ">=",
    "<=",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ",",
    "|",
    "=",
    ">",
    "<",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
];

pub(crate) fn tokens(query: &str) -> Result<Vec<Token>, ParseError> {
    if query.len() > MAX_QUERY {
        return Err(ParseError::new(0..query.len(), format!("a query has {MAX_QUERY} bytes at most")));
    }
    let mut lexer = Lexer { query, at: 0, tokens: Vec::new() };
    while lexer.token()? {}
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    query: &'a str,
    at: usize,
    tokens: Vec<Token>,
}

fn begins_word(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

fn in_word(c: char) -> bool {
    begins_word(c) || c.is_ascii_digit()
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.query[self.at..]
    }

    fn push(&mut self, kind: Kind, length: usize) {
        self.tokens.push(Token { kind, span: self.at..self.at + length });
        self.at += length;
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            self.at += self.rest().len() - self.rest().trim_start().len();
            if !self.rest().starts_with('#') {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn token(&mut self) -> Result<bool, ParseError> {
        self.skip_blanks_and_comments();
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(false) };
        match first {
            '`' => {
                let Some(end) = rest[1..].find('`') else { return Err(self.unclosed("`")) };
                self.push(Kind::Text(rest[1..=end].to_owned()), end + 2);
            }
            '"' => self.quoted()?,
            '\'' => {
                return Err(ParseError::new(self.at..self.at + 1, "texts do not stand in single quotes")
                    .suggest("use double quotes or backticks"));
            }
            c if c.is_ascii_digit() || (c == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) => {
                self.number()?;
            }
            c if begins_word(c) => {
                let length = rest.find(|c| !in_word(c)).unwrap_or(rest.len());
                self.push(Kind::Word(rest[..length].to_owned()), length);
            }
            c => {
                let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) else {
                    return Err(self.unknown(c));
                };
                self.push(Kind::Sign(sign), sign.len());
            }
        }
        Ok(true)
    }

    fn unknown(&self, c: char) -> ParseError {
        let error = ParseError::new(self.at..self.at + c.len_utf8(), "this does not belong here");
        match c {
            '.' => error.suggest("names of labels have `_` for every other character"),
            _ => error.suggest("texts stand in double quotes or backticks"),
        }
    }

    fn unclosed(&self, quote: &str) -> ParseError {
        ParseError::new(self.at..self.query.len(), "the quote is not closed")
            .suggest(format!("add a {quote} at its end"))
    }

    /// A text in double quotes, with the escapes of Go.
    fn quoted(&mut self) -> Result<(), ParseError> {
        let mut bytes = Vec::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    let span = self.at..self.at + at + 1;
                    let text = String::from_utf8(bytes)
                        .map_err(|_| ParseError::new(span, "the escapes in this text are no UTF-8"))?;
                    self.push(Kind::Text(text), at + 1);
                    return Ok(());
                }
                '\\' => {
                    let after = &self.rest()[at + 1..];
                    let Some(length) = unescape(after, &mut bytes) else {
                        let end = after.chars().next().map_or(0, char::len_utf8);
                        let span = self.at + at..self.at + at + 1 + end;
                        return Err(ParseError::new(span, "this is no escape")
                            .suggest("double the backslash, or put the text in backticks"));
                    };
                    // What was unescaped is ASCII, a character each.
                    for _ in 0..length {
                        chars.next();
                    }
                }
                c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        Err(self.unclosed("\""))
    }

    /// A number, or a length of time or an amount of bytes where a unit stands behind it.
    fn number(&mut self) -> Result<(), ParseError> {
        let rest = self.rest();
        let in_number = |c: char| c.is_alphanumeric() || c == '.';
        let mut length = rest.find(|c| !in_number(c)).unwrap_or(rest.len());
        // The sign of an exponent, but not a difference.
        let mantissa = rest[..length].strip_suffix(['e', 'E']);
        if mantissa.is_some_and(|digits| digits.parse::<f64>().is_ok())
            && rest[length..].starts_with(['+', '-'])
        {
            let digits = rest[length + 1..].find(|c: char| !c.is_ascii_digit());
            length += 1 + digits.unwrap_or(rest.len() - length - 1);
        }
        let word = &rest[..length];
        let number = || word.parse::<f64>().ok().filter(|number| number.is_finite()).map(Kind::Number);
        let kind = Duration::parse(word)
            .map(Kind::Duration)
            .or_else(|| bytes_literal(word).map(Kind::Bytes))
            .or_else(number);
        let Some(kind) = kind else {
            return Err(ParseError::new(
                self.at..self.at + length,
                format!("{word} is neither a number, nor a length of time, nor an amount of bytes"),
            )
            .suggest("such as `0.5`, `1h30m` or `10KB`"));
        };
        self.push(kind, length);
        Ok(())
    }
}

/// Adds what the escape that `after` begins with stands for; how many characters it is long.
fn unescape(after: &str, into: &mut Vec<u8>) -> Option<usize> {
    let kind = after.chars().next()?;
    let simple = match kind {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' | '"' => kind as u8,
        _ => 0,
    };
    if simple != 0 {
        into.push(simple);
        return Some(1);
    }
    let (from, digits, radix) = match kind {
        'x' => (1, 2, 16),
        'u' => (1, 4, 16),
        'U' => (1, 8, 16),
        '0'..='7' => (0, 3, 8),
        _ => return None,
    };
    let text = after.get(from..from + digits)?;
    if !text.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let code = u32::from_str_radix(text, radix).ok()?;
    if matches!(kind, 'u' | 'U') {
        let mut buffer = [0; 4];
        into.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut buffer).as_bytes());
    } else {
        into.push(u8::try_from(code).ok()?);
    }
    Some(from + digits)
}

/// A text as a query writes it, in double quotes.
pub(crate) fn quoted(text: &str) -> String {
    use std::fmt::Write;
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_control() => {
                // Writing to a String cannot fail.
                let _infallible = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds(query: &str) -> Vec<Kind> {
        tokens(query).unwrap().into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn numbers_have_units() {
        assert_eq!(
            kinds("5 1h30m 10KB 1e-3 .5 2e3-1"),
            [
                Kind::Number(5.0),
                Kind::Duration(Duration(5_400_000_000_000)),
                Kind::Bytes(10_000),
                Kind::Number(0.001),
                Kind::Number(0.5),
                Kind::Number(2000.0),
                Kind::Sign("-"),
                Kind::Number(1.0),
            ]
        );
        assert!(tokens("5x").is_err());
        assert!(tokens("1e999").is_err());
    }

    #[test]
    fn texts_have_escapes_and_comments_end_with_the_line() {
        assert_eq!(
            kinds("\"a\\\"\\x41\\u00e9\\101\\n\" # \"\n`\\d`"),
            [Kind::Text("a\"AéA\n".to_owned()), Kind::Text("\\d".to_owned())]
        );
        for wrong in ["\"abc", "`abc", "'a'", "\"\\d\"", "\"\\xff\"", "$"] {
            assert!(tokens(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_quoted_text_is_read_again(text in ".*") {
            prop_assert_eq!(kinds(&quoted(&text)), [Kind::Text(text)]);
        }
    }
}
