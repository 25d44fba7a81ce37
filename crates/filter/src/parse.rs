//! From tokens to an expression: a Pratt parser over `OR` < `AND` < `NOT`.

use crate::{
    Cidr, Comparison, Expr, FieldTest, Filter, Glob, GlobPart, Literal, ParseError, Pattern, Predicate, Text,
    token::{Kind, Token, WordChar, tokens},
};
use millrace_model::FieldRef;
use std::ops::Range;

/// How deep parentheses and negations may nest.
const MAX_DEPTH: usize = 64;
/// How many terms a query may have.
const MAX_TERMS: usize = 1000;
/// How many regular expressions a query may have: each may take 2 ms and 600 KB when it is compiled.
pub const MAX_PATTERNS: usize = 100;
/// How many terms a filter may have that a node sends to another, or keeps: what other languages allow for lists of values.
const MAX_TERMS_KEPT: usize = 1 << 17;

/// Reads a filter.
///
/// # Errors
/// With the span, what is wrong there, and where possible what to write instead.
pub fn parse(query: &str) -> Result<Filter, ParseError> {
    match parse_before_pipes(query)? {
        (filter, end) if end == query.len() => Ok(filter),
        (_, end) => Err(ParseError::new(end..query.len(), "only a filter can stand here, no pipes")
            .suggest("leave them out, or put a `|` that is meant literally in quotes")),
    }
}

/// Reads the filter of a query; and where its first pipe begins, or else its end.
///
/// # Errors
/// As [`parse`].
pub fn parse_before_pipes(query: &str) -> Result<(Filter, usize), ParseError> {
    parse_within(query, (0, false), MAX_TERMS)
}

/// Reads the filter of a query that stands in parentheses, from the byte behind the one that opens; and where its first pipe
/// begins, or else the parenthesis that closes it, or the end.
///
/// # Errors
/// As [`parse`].
pub fn parse_inside(query: &str, from: usize) -> Result<(Filter, usize), ParseError> {
    parse_within(query, (from, true), MAX_TERMS)
}

/// Reads what a filter was printed as, however it was made: other languages allow more in one than this one does.
///
/// # Errors
/// The text was not printed by a filter.
pub fn parse_kept(text: &str) -> Result<Filter, ParseError> {
    match parse_within(text, (0, false), MAX_TERMS_KEPT)? {
        (filter, end) if end == text.len() => Ok(filter),
        (_, end) => Err(ParseError::new(end..text.len(), "only a filter can stand here, no pipes")),
    }
}

fn parse_within(
    query: &str,
    (from, inside): (usize, bool),
    most: usize,
) -> Result<(Filter, usize), ParseError> {
    let (tokens, end) = tokens(query, from, inside)?;
    if most == MAX_TERMS {
        check_patterns(&tokens)?;
    }
    let mut parser = Parser { tokens: &tokens, at: 0, end, terms: 0, most, spans: Vec::new() };
    if tokens.is_empty() {
        return Ok((Filter::ALL, end));
    }
    let root = parser.expression(0, 0)?;
    match parser.peek() {
        None => Ok((Filter { spans: parser.spans, ..Filter::new(root) }, end)),
        Some(token) => Err(unexpected(token)),
    }
}

/// Counts regular expressions before any is compiled.
fn check_patterns(tokens: &[Token]) -> Result<(), ParseError> {
    let mut patterns = tokens.iter().filter(|token| matches!(token.kind, Kind::Regex(_)));
    match patterns.nth(MAX_PATTERNS) {
        None => Ok(()),
        Some(token) => {
            Err(ParseError::new(token.span.clone(), format!("more than {MAX_PATTERNS} regular expressions"))
                .suggest("one expression finds any of several: /(one|two)/"))
        }
    }
}

/// What stands in front of a term that could go on after an expression: an `AND` may be left out before it.
const OR_POWER: u8 = 1;
const AND_POWER: u8 = 2;

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    end: usize,
    terms: usize,
    most: usize,
    /// Of the leaves so far, in order.
    spans: Vec<Range<usize>>,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<&'a Token> {
        let token = self.peek();
        self.at += usize::from(token.is_some());
        token
    }

    fn leaf(&mut self, span: Range<usize>, leaf: Expr) -> Expr {
        self.spans.push(span);
        leaf
    }

    fn here(&self) -> Range<usize> {
        self.peek().map_or(self.end..self.end, |token| token.span.clone())
    }

    fn expression(&mut self, least: u8, depth: usize) -> Result<Expr, ParseError> {
        if depth > MAX_DEPTH {
            return Err(ParseError::new(self.here(), format!("nested more than {MAX_DEPTH} deep")));
        }
        let mut left = self.term(depth)?;
        loop {
            let (power, explicit) = match self.peek().map(|token| &token.kind) {
                None | Some(Kind::Close | Kind::RangeClose(_)) => return Ok(left),
                Some(Kind::Or) => (OR_POWER, true),
                Some(Kind::And) => (AND_POWER, true),
                Some(_) => (AND_POWER, false),
            };
            if power <= least {
                return Ok(left);
            }
            if explicit {
                let operator = self.next();
                if self.peek().is_none_or(|token| token.kind == Kind::Close) {
                    let span = operator.map_or(self.here(), |token| token.span.clone());
                    return Err(ParseError::new(span, "something must follow")
                        .suggest("remove it, or write what else must match"));
                }
            }
            let right = self.expression(power, depth + 1 - usize::from(depth > 0))?;
            left = if power == OR_POWER {
                Expr::any_of(vec![left, right])
            } else {
                Expr::all_of(vec![left, right])
            };
        }
    }

    fn term(&mut self, depth: usize) -> Result<Expr, ParseError> {
        self.terms += 1;
        if self.terms > self.most {
            return Err(ParseError::new(self.here(), format!("more than {} terms", self.most)));
        }
        let Some(token) = self.next() else {
            return Err(ParseError::new(self.end..self.end, "something must follow"));
        };
        match &token.kind {
            Kind::Not => {
                if depth >= MAX_DEPTH {
                    return Err(ParseError::new(
                        token.span.clone(),
                        format!("nested more than {MAX_DEPTH} deep"),
                    ));
                }
                if self.peek().is_none_or(|next| matches!(next.kind, Kind::Close | Kind::And | Kind::Or)) {
                    return Err(ParseError::new(token.span.clone(), "nothing is negated")
                        .suggest("write what must not match after it, or put it in quotes"));
                }
                Ok(Expr::Not(Box::new(self.term(depth + 1)?)))
            }
            Kind::Open => self.group(token, depth, |parser, depth| parser.expression(0, depth)),
            Kind::Word(word) => Ok(self.leaf(token.span.clone(), bare_word(word))),
            Kind::Quoted(text) => Ok(self.leaf(token.span.clone(), Expr::Text(Text::phrase(text)))),
            Kind::Regex(text) => {
                let pattern = pattern(text, &token.span)?;
                Ok(self.leaf(token.span.clone(), Expr::Text(Text::Regex(pattern))))
            }
            Kind::Field(name) => self.field(name, token, depth),
            _ => Err(unexpected(token)),
        }
    }

    /// What stands between parentheses.
    fn group(
        &mut self,
        open: &Token,
        depth: usize,
        inner: impl FnOnce(&mut Self, usize) -> Result<Expr, ParseError>,
    ) -> Result<Expr, ParseError> {
        if self.peek().is_some_and(|token| token.kind == Kind::Close) {
            return Err(ParseError::new(
                open.span.start..self.here().end,
                "nothing stands between the parentheses",
            ));
        }
        let expr = inner(self, depth + 1)?;
        match self.next() {
            Some(Token { kind: Kind::Close, .. }) => Ok(expr),
            Some(other) => Err(unexpected(other)),
            None => {
                Err(ParseError::new(open.span.clone(), "the parenthesis is not closed").suggest("add a `)`"))
            }
        }
    }

    fn field(&mut self, name: &str, field: &Token, depth: usize) -> Result<Expr, ParseError> {
        let follows = self.peek().filter(|token| token.span.start == field.span.end);
        let Some(token) = follows else {
            return Err(ParseError::new(field.span.clone(), format!("`{name}:` has no value"))
                .suggest(format!("write the value directly after the colon, `{name}:*` for any value, or `\"{name}:\"` for the text")));
        };
        self.at += 1;
        let test = |predicate| Expr::Field(Box::new(FieldTest::new(name, predicate)));
        match &token.kind {
            Kind::Open => self.group(token, depth, |parser, depth| parser.values(name, 0, depth)),
            Kind::Compare(sign) => {
                let (literal, span) = self.literal(token.span.end)?;
                check_bound(name, &literal, span.clone())?;
                Ok(self.leaf(field.span.start..span.end, test(Predicate::Compare(*sign, literal))))
            }
            Kind::RangeOpen(inside) => {
                let range = test(self.range(name, token, *inside)?);
                let end = self.tokens.get(self.at - 1).map_or(self.end, |last| last.span.end);
                Ok(self.leaf(field.span.start..end, range))
            }
            _ => {
                let value = value(name, token)?;
                Ok(self.leaf(field.span.start..token.span.end, value))
            }
        }
    }

    /// Inside `name:( … )`: values with operators between.
    fn values(&mut self, name: &str, least: u8, depth: usize) -> Result<Expr, ParseError> {
        if depth > MAX_DEPTH {
            return Err(ParseError::new(self.here(), format!("nested more than {MAX_DEPTH} deep")));
        }
        let mut left = self.one_value(name, depth)?;
        loop {
            let (power, explicit) = match self.peek().map(|token| &token.kind) {
                None | Some(Kind::Close) => return Ok(left),
                Some(Kind::Or) => (OR_POWER, true),
                Some(Kind::And) => (AND_POWER, true),
                Some(_) => (AND_POWER, false),
            };
            if power <= least {
                return Ok(left);
            }
            self.at += usize::from(explicit);
            let right = self.values(name, power, depth)?;
            left = if power == OR_POWER {
                Expr::any_of(vec![left, right])
            } else {
                Expr::all_of(vec![left, right])
            };
        }
    }

    fn one_value(&mut self, name: &str, depth: usize) -> Result<Expr, ParseError> {
        self.terms += 1;
        if self.terms > self.most || depth > MAX_DEPTH {
            return Err(ParseError::new(
                self.here(),
                format!("more than {} terms, or nested too deep", self.most),
            ));
        }
        let Some(token) = self.next() else {
            return Err(ParseError::new(self.end..self.end, "a value must follow"));
        };
        match &token.kind {
            Kind::Not => Ok(Expr::Not(Box::new(self.one_value(name, depth + 1)?))),
            Kind::Open => self.group(token, depth, |parser, depth| parser.values(name, 0, depth)),
            _ => {
                let value = value(name, token)?;
                Ok(self.leaf(token.span.clone(), value))
            }
        }
    }

    /// The value of a comparison, which must follow directly.
    fn literal(&mut self, at: usize) -> Result<(Literal, Range<usize>), ParseError> {
        let error = ParseError::new(at..at, "a value must follow the comparison")
            .suggest("for example `status:>=500`");
        let Some(token) = self.peek().filter(|token| token.span.start == at) else { return Err(error) };
        self.at += 1;
        Ok((literal_of(token).ok_or(error)?, token.span.clone()))
    }

    fn range(&mut self, name: &str, open: &Token, inside: bool) -> Result<Predicate, ParseError> {
        let wrong = |span: Range<usize>| {
            ParseError::new(span, "this is no range")
                .suggest(format!("write `{name}:[low TO high]`, with `*` for an open end"))
        };
        let bound = |parser: &mut Self| -> Result<Option<(Literal, Range<usize>)>, ParseError> {
            let Some(token) = parser.next() else { return Err(wrong(open.span.start..parser.end)) };
            if matches!(&token.kind, Kind::Word(word) if word.as_slice() == [('*', false)]) {
                return Ok(None);
            }
            let literal = literal_of(token).ok_or_else(|| wrong(open.span.start..token.span.end))?;
            check_bound(name, &literal, token.span.clone())?;
            Ok(Some((literal, token.span.clone())))
        };
        let low = bound(self)?;
        if !matches!(self.next(), Some(Token { kind: Kind::To, .. })) {
            return Err(wrong(open.span.start..self.here().start.max(open.span.end)));
        }
        let high = bound(self)?;
        let Some(Token { kind: Kind::RangeClose(closes_inside), .. }) = self.next() else {
            return Err(
                ParseError::new(open.span.clone(), "the range is not closed").suggest("add a `]` or `}`")
            );
        };
        Ok(Predicate::Range {
            low: low.map(|(literal, _)| (literal, inside)),
            high: high.map(|(literal, _)| (literal, *closes_inside)),
        })
    }
}

/// `name:token`.
fn value(name: &str, token: &Token) -> Result<Expr, ParseError> {
    let on_body = FieldRef::resolve(name) == FieldRef::Body;
    let test = |predicate| Expr::Field(Box::new(FieldTest::new(name, predicate)));
    match &token.kind {
        Kind::Word(word) if is_star(word) => Ok(test(Predicate::Exists)),
        Kind::Word(word) if on_body => Ok(bare_word(word)),
        Kind::Word(word) => Ok(test(if let Some(glob) = glob(word) {
            Predicate::Glob(glob)
        } else {
            let text = plain(word);
            let escaped = word.iter().any(|(_, escaped)| *escaped);
            Cidr::parse(&text)
                .filter(|_| !escaped)
                .map_or_else(|| Predicate::Equals(Literal::new(&text)), Predicate::Cidr)
        })),
        Kind::Quoted(text) if on_body => Ok(Expr::Text(Text::phrase(text))),
        Kind::Quoted(text) => Ok(test(Predicate::Equals(Literal::new(text)))),
        Kind::Regex(text) if on_body => Ok(Expr::Text(Text::Regex(pattern(text, &token.span)?))),
        Kind::Regex(text) => Ok(test(Predicate::Regex(pattern(text, &token.span)?))),
        _ => Err(unexpected(token)),
    }
}

/// Bounds of levels and times must be such.
fn check_bound(name: &str, literal: &Literal, span: Range<usize>) -> Result<(), ParseError> {
    match FieldRef::resolve(name) {
        FieldRef::Level if literal.level.is_none() && literal.number.is_none() => {
            Err(ParseError::new(span, format!("{:?} is no level", literal.text))
                .suggest("trace, debug, info, warn, error and fatal are"))
        }
        FieldRef::Timestamp | FieldRef::ObservedTimestamp if literal.time.is_none() => {
            Err(ParseError::new(span, format!("{:?} is no time", literal.text))
                .suggest("write RFC 3339 in quotes, \"2026-01-31T12:00:00Z\", or epoch milliseconds"))
        }
        _ => Ok(()),
    }
}

fn literal_of(token: &Token) -> Option<Literal> {
    match &token.kind {
        Kind::Word(word) => Some(Literal::new(&plain(word))),
        Kind::Quoted(text) => Some(Literal::new(text)),
        _ => None,
    }
}

fn bare_word(word: &[WordChar]) -> Expr {
    if is_star(word) {
        return Expr::All;
    }
    Expr::Text(match glob(word) {
        Some(glob) => Text::glob(glob),
        None => Text::phrase(&plain(word)),
    })
}

fn is_star(word: &[WordChar]) -> bool {
    !word.is_empty() && word.iter().all(|c| *c == ('*', false))
}

fn plain(word: &[WordChar]) -> String {
    word.iter().map(|(c, _)| *c).collect()
}

/// The word as a pattern, if it has a wildcard.
fn glob(word: &[WordChar]) -> Option<Glob> {
    word.iter().any(|(c, escaped)| !escaped && matches!(c, '*' | '?')).then(|| {
        Glob::new(
            word.iter()
                .map(|(c, escaped)| match c {
                    '*' if !escaped => GlobPart::Any,
                    '?' if !escaped => GlobPart::One,
                    c => GlobPart::Literal(c.to_string()),
                })
                .collect(),
        )
    })
}

fn pattern(text: &str, span: &Range<usize>) -> Result<Pattern, ParseError> {
    Pattern::new(text)
        .map_err(|why| ParseError::new(span.clone(), format!("the regular expression is wrong: {why}")))
}

fn unexpected(token: &Token) -> ParseError {
    let span = token.span.clone();
    match token.kind {
        Kind::Close => {
            ParseError::new(span, "this parenthesis was never opened").suggest("remove it, or quote it")
        }
        Kind::And | Kind::Or => ParseError::new(span, "something must stand before it")
            .suggest("remove it, or quote it if you mean the word"),
        Kind::To => ParseError::new(span, "`TO` belongs between the ends of a range"),
        Kind::Compare(
            Comparison::Greater | Comparison::GreaterOrEqual | Comparison::Less | Comparison::LessOrEqual,
        ) => ParseError::new(span, "one comparison is enough"),
        _ => ParseError::new(span, "this does not belong here")
            .suggest("put it in quotes if you mean the text"),
    }
}
