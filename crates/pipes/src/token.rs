//! From characters to tokens, each with its span in the whole query. Pipes have other tokens than filters: here `a-b` is a
//! difference, and a name that is none of letters, digits, `_`, `.` and `@` stands in backquotes. A query in parentheses, which
//! a `join` is followed by, is one token.

use millrace_filter::{Filter, ParseError, delimited};
use std::ops::Range;

/// How deep queries may stand in one another.
const MAX_NESTED: usize = 2;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// A name or a word of the language.
    Name(String),
    /// A name in backquotes, which is never a word of the language.
    Quoted(String),
    Text(String),
    Int(i64),
    Double(f64),
    /// A length of time, in nanoseconds.
    Duration(i64),
    /// Between slashes, where a value is due.
    Regex(String),
    /// One of [`SIGNS`].
    Sign(&'static str),
    /// A query in parentheses.
    Inner(Box<Inner>),
}

/// What stands in these parentheses: a filter, which has tokens of its own, and those of the pipes behind it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Inner {
    pub(crate) filter: Filter,
    pub(crate) tokens: Vec<Token>,
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

    /// Is it this word of the language, in whatever case?
    pub(crate) fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Name(name) if name.eq_ignore_ascii_case(word))
    }
}

/// Longer ones first.
const SIGNS: &[&str] =
    &["||", "&&", "==", "!=", ">=", "<=", "|", "(", ")", ",", "=", ">", "<", "+", "-", "*", "/", "%", "!"];

pub(crate) const UNITS: &[(&str, i64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
];

/// The tokens of `query` from the byte `from` on.
pub(crate) fn tokens(query: &str, from: usize) -> Result<Vec<Token>, ParseError> {
    Ok(Lexer::run(query, from, 0)?.tokens)
}

struct Lexer<'a> {
    query: &'a str,
    at: usize,
    tokens: Vec<Token>,
    /// In how many queries this one stands.
    depth: usize,
    /// How many parentheses are open.
    open: usize,
    /// In a `join`, before its query.
    joins: bool,
}

fn in_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '@')
}

impl<'a> Lexer<'a> {
    /// Up to the end, or inside of another query to the parenthesis that closes this one.
    fn run(query: &'a str, at: usize, depth: usize) -> Result<Self, ParseError> {
        let mut lexer = Self { query, at, tokens: Vec::new(), depth, open: 0, joins: false };
        while lexer.token()? {}
        Ok(lexer)
    }

    /// The query in the parentheses that are opened here.
    fn inner(&mut self) -> Result<(), ParseError> {
        self.joins = false;
        let opens = self.at..self.at + 1;
        if self.depth == MAX_NESTED {
            return Err(ParseError::new(
                opens,
                format!("queries are joined in one another {MAX_NESTED} deep at most"),
            )
            .suggest("join one after the other: `| join … | join …`"));
        }
        let (filter, end) = millrace_filter::parse_inside(self.query, opens.end)?;
        let Lexer { tokens, at: end, .. } = Lexer::run(self.query, end, self.depth + 1)?;
        if end == self.query.len() {
            return Err(ParseError::new(opens, "the parenthesis is not closed")
                .suggest("add a `)` behind the query that is joined"));
        }
        self.push(Kind::Inner(Box::new(Inner { filter, tokens })), end + 1 - self.at);
        Ok(())
    }

    fn rest(&self) -> &str {
        &self.query[self.at..]
    }

    fn push(&mut self, kind: Kind, length: usize) {
        self.tokens.push(Token { kind, span: self.at..self.at + length });
        self.at += length;
    }

    /// Could a value stand here, rather than a sign between two?
    fn value_due(&self) -> bool {
        match self.tokens.last().map(|token| &token.kind) {
            Some(Kind::Sign(sign)) => *sign != ")",
            Some(Kind::Name(name)) => ["where", "and", "or", "not", "extract", "by"]
                .iter()
                .any(|word| name.eq_ignore_ascii_case(word)),
            None => true,
            Some(_) => false,
        }
    }

    fn token(&mut self) -> Result<bool, ParseError> {
        self.at += self.rest().len() - self.rest().trim_start().len();
        let Some(first) = self.rest().chars().next() else { return Ok(false) };
        match first {
            '(' if self.joins => self.inner()?,
            ')' if self.depth > 0 && self.open == 0 => return Ok(false),
            '"' | '\'' => {
                let (text, length) = self.quoted(first)?;
                self.push(Kind::Text(text), length);
            }
            '`' => {
                let (name, length) = self.quoted('`')?;
                self.push(Kind::Quoted(name), length);
            }
            '/' if self.value_due() => self.regex()?,
            c if c.is_ascii_digit()
                || (c == '.' && self.rest()[1..].starts_with(|c: char| c.is_ascii_digit())) =>
            {
                self.number()?;
            }
            c if in_name(c) => {
                let length = self.rest().find(|c| !in_name(c)).unwrap_or(self.rest().len());
                let name = self.rest()[..length].to_owned();
                let is_pipe = self.tokens.last().is_some_and(|token| token.is_sign("|"));
                self.joins |= is_pipe && name.eq_ignore_ascii_case("join");
                self.push(Kind::Name(name), length);
            }
            c => {
                match SIGNS.iter().find(|sign| self.rest().starts_with(**sign)) {
                    Some(sign) => {
                        self.open = match *sign {
                            "(" => self.open + 1,
                            ")" => self.open.saturating_sub(1),
                            _ => self.open,
                        };
                        self.joins &= *sign != "|";
                        self.push(Kind::Sign(sign), sign.len());
                    }
                    None => {
                        return Err(ParseError::new(self.at..self.at + c.len_utf8(), "this does not belong here")
                        .suggest("write a name with other characters in backquotes, `user-agent`, and texts in quotes"));
                    }
                }
            }
        }
        Ok(true)
    }

    fn quoted(&self, end: char) -> Result<(String, usize), ParseError> {
        delimited::quoted(self.rest(), end).ok_or_else(|| {
            ParseError::new(self.at..self.query.len(), "the quote is not closed")
                .suggest(format!("add a {end} at its end"))
        })
    }

    fn regex(&mut self) -> Result<(), ParseError> {
        let Some((text, length)) = delimited::regex(self.rest()) else {
            return Err(ParseError::new(self.at..self.query.len(), "the regular expression is not closed")
                .suggest("add a `/` at its end"));
        };
        self.push(Kind::Regex(text), length);
        Ok(())
    }

    /// A number, or a length of time where a unit stands behind it.
    fn number(&mut self) -> Result<(), ParseError> {
        let length = self.rest().find(|c| !in_name(c)).unwrap_or(self.rest().len());
        let word = &self.rest()[..length];
        let digits = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
        let kind = match UNITS.iter().find(|(unit, _)| *unit == &word[digits..]) {
            Some((_, size)) => {
                let number = word[..digits].parse::<i64>().ok();
                number.and_then(|number| number.checked_mul(*size)).map(Kind::Duration)
            }
            None => match word.parse::<i64>() {
                Ok(number) => Some(Kind::Int(number)),
                Err(_) => word.parse::<f64>().ok().filter(|number| number.is_finite()).map(Kind::Double),
            },
        };
        let Some(kind) = kind else {
            return Err(ParseError::new(self.at..self.at + length, format!("{word} is neither a number nor a length of time"))
                .suggest("lengths of time are whole numbers of ns, us, ms, s, m, h, d or w; a name that begins with a digit stands in backquotes"));
        };
        self.push(kind, length);
        Ok(())
    }
}
