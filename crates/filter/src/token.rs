//! From characters to tokens, each with its span.

use crate::{ParseError, delimited};
use std::ops::Range;

/// A character of a word, and whether a `\` stood before it.
pub(crate) type WordChar = (char, bool);

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// A word, with its wildcards and escapes still apart.
    Word(Vec<WordChar>),
    /// A quoted phrase.
    Quoted(String),
    /// Between slashes.
    Regex(String),
    /// `name:`, directly followed by what it is about.
    Field(String),
    And,
    Or,
    /// `NOT`, `-` or `!`.
    Not,
    Open,
    Close,
    /// `>`, `>=`, `<`, `<=` after a field.
    Compare(crate::Comparison),
    /// `[` or `{` after a field: whether the bound is inside.
    RangeOpen(bool),
    /// `]` or `}`.
    RangeClose(bool),
    /// `TO` inside a range.
    To,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) span: Range<usize>,
}

/// The tokens from the byte `from` to the first pipe, and where that begins: at the end, where there is none. `inside` of
/// parentheses the end is the one that closes them.
pub(crate) fn tokens(query: &str, from: usize, inside: bool) -> Result<(Vec<Token>, usize), ParseError> {
    let open = inside.then_some(0);
    let mut lexer = Lexer { query, at: from, tokens: Vec::new(), in_range: false, open };
    while lexer.token()? {}
    Ok((lexer.tokens, lexer.at))
}

struct Lexer<'a> {
    query: &'a str,
    at: usize,
    tokens: Vec<Token>,
    in_range: bool,
    /// Inside of parentheses: how many more were opened since.
    open: Option<usize>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.query[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn push(&mut self, kind: Kind, length: usize) {
        self.tokens.push(Token { kind, span: self.at..self.at + length });
        self.at += length;
    }

    /// Is the position right after `name:` or a comparison sign, so that a value is due?
    fn after_field(&self) -> bool {
        self.tokens.last().is_some_and(|token| {
            token.span.end == self.at && matches!(token.kind, Kind::Field(_) | Kind::Compare(_))
        })
    }

    fn token(&mut self) -> Result<bool, ParseError> {
        let blank = self.rest().len() - self.rest().trim_start().len();
        self.at += blank;
        let Some(c) = self.peek() else { return Ok(false) };
        let value_due = self.after_field();
        match c {
            '"' => self.quoted()?,
            '(' => {
                self.open = self.open.map(|open| open + 1);
                self.push(Kind::Open, 1);
            }
            ')' if self.open == Some(0) => return Ok(false),
            ')' => {
                self.open = self.open.map(|open| open - 1);
                self.push(Kind::Close, 1);
            }
            '|' if self.rest().starts_with("||") => self.push(Kind::Or, 2),
            '|' => return Ok(false),
            '&' if self.rest().starts_with("&&") => self.push(Kind::And, 2),
            '/' if !self.in_range => self.regex()?,
            '[' | '{' if value_due => {
                self.in_range = true;
                self.push(Kind::RangeOpen(c == '['), 1);
            }
            ']' | '}' if self.in_range => {
                self.in_range = false;
                self.push(Kind::RangeClose(c == ']'), 1);
            }
            '>' | '<' if value_due => self.comparison(),
            '-' | '!' if !value_due && !self.in_range && self.negates() => self.push(Kind::Not, 1),
            _ => self.word()?,
        }
        Ok(true)
    }

    /// Is the `-` or `!` here directly in front of something?
    fn negates(&self) -> bool {
        self.rest()[1..].chars().next().is_some_and(|next| !next.is_whitespace() && next != ')')
    }

    fn comparison(&mut self) {
        use crate::Comparison::{Greater, GreaterOrEqual, Less, LessOrEqual};
        let (sign, length) = match self.rest().as_bytes() {
            [b'>', b'=', ..] => (GreaterOrEqual, 2),
            [b'<', b'=', ..] => (LessOrEqual, 2),
            [b'>', ..] => (Greater, 1),
            _ => (Less, 1),
        };
        self.push(Kind::Compare(sign), length);
    }

    fn quoted(&mut self) -> Result<(), ParseError> {
        let Some((text, length)) = delimited::quoted(self.rest(), '"') else {
            return Err(ParseError::new(self.at..self.query.len(), "the quote is not closed")
                .suggest("add a `\"` at its end"));
        };
        self.push(Kind::Quoted(text), length);
        Ok(())
    }

    fn regex(&mut self) -> Result<(), ParseError> {
        if let Some((text, length)) = delimited::regex(self.rest()) {
            let after = self.rest()[length..].chars().next();
            if after.is_some_and(|c| !c.is_whitespace() && !matches!(c, ')' | '|' | '&')) {
                let word = self.rest().split_whitespace().next().unwrap_or_default();
                let span = self.at..self.at + word.len();
                return Err(ParseError::new(span, "a regular expression ends in the middle of this word")
                    .suggest(format!(
                        "for a path write it in quotes: \"{word}\"; inside a regular expression write \\/"
                    )));
            }
            self.push(Kind::Regex(text), length);
            return Ok(());
        }
        let word = self.rest().split_whitespace().next().unwrap_or_default();
        Err(ParseError::new(self.at..self.query.len(), "the regular expression is not closed")
            .suggest(format!("add a `/` at its end, or write a path in quotes: \"{word}\"")))
    }

    fn word(&mut self) -> Result<(), ParseError> {
        let value_due = self.after_field();
        let start = self.at;
        let mut word: Vec<WordChar> = Vec::new();
        let mut length = 0;
        let mut chars = self.rest().char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, escaped)) => word.push((escaped, true)),
                    None => {
                        return Err(ParseError::new(start + at..start + at + 1, "nothing follows the `\\`")
                            .suggest("write `\\\\` for a backslash"));
                    }
                },
                ':' if !value_due && !self.in_range && is_name(&word) => {
                    let name = word.iter().map(|(c, _)| *c).collect();
                    self.push(Kind::Field(name), at + 1);
                    return Ok(());
                }
                c if c.is_whitespace() || matches!(c, '(' | ')' | '"' | '|') => break,
                ']' | '}' if self.in_range => break,
                c => word.push((c, false)),
            }
            length = chars.as_str().as_ptr() as usize - self.rest().as_ptr() as usize;
        }
        let plain = || word.iter().map(|(c, _)| *c).collect::<String>();
        let escaped = word.iter().any(|(_, escaped)| *escaped);
        let kind = match plain().as_str() {
            "TO" if self.in_range && !escaped => Kind::To,
            "AND" if !escaped && !value_due => Kind::And,
            "OR" if !escaped && !value_due => Kind::Or,
            "NOT" if !escaped && !value_due => Kind::Not,
            _ => Kind::Word(word),
        };
        self.push(kind, length);
        Ok(())
    }
}

/// Can this be a field's name? It begins with a letter, `_` or `@`; digits, `.`, `-`, `/` and escaped characters may follow.
fn is_name(word: &[WordChar]) -> bool {
    let allowed =
        |(c, escaped): &WordChar| *escaped || c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '@' | '/');
    word.first().is_some_and(|(c, escaped)| *escaped || c.is_alphabetic() || matches!(c, '_' | '@'))
        && word.iter().all(allowed)
}
