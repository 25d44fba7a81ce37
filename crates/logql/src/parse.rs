//! From text to a query, by recursive descent. `stages` reads pipelines, `metrics` what is computed of them.

mod metrics;
mod stages;

use crate::{
    ast::{Matcher, MetricExpr, Pipeline, Query, Stage, TextTest},
    expression::{Anchoring, Expression},
    token::{Kind, Token, tokens},
};
use millrace_filter::ParseError;
use std::ops::Range;

/// How deep parentheses, functions and signs may nest.
const MAX_DEPTH: usize = 64;
/// How many stages, tests and operators a query may have.
const MAX_PARTS: usize = 500;
/// How many regular expressions a query may have; each takes memory.
const MAX_EXPRESSIONS: usize = 64;

/// Reads a query.
///
/// # Errors
/// With the span, what is wrong there, and where possible what to write instead.
pub fn parse(query: &str) -> Result<Query, ParseError> {
    let tokens = tokens(query)?;
    let mut parser = Parser::new(query, &tokens);
    if tokens.is_empty() {
        return Err(ParseError::new(0..query.len(), "the query is empty")
            .suggest("begin with a stream selector, such as `{app=\"web\"}`"));
    }
    let found = parser.expression(0, 0)?;
    parser.end()?;
    Ok(found)
}

/// Reads a query whose values are lines.
///
/// # Errors
/// As [`parse`].
pub fn parse_log(query: &str) -> Result<Pipeline, ParseError> {
    match parse(query)? {
        Query::Log(pipeline) => Ok(pipeline),
        Query::Metric(_) => Err(ParseError::new(0..query.len(), "only a query of lines can stand here")),
    }
}

/// Reads a query whose values are numbers.
///
/// # Errors
/// As [`parse`].
pub fn parse_metric(query: &str) -> Result<MetricExpr, ParseError> {
    match parse(query)? {
        Query::Metric(expr) => Ok(expr),
        Query::Log(_) => Err(ParseError::new(0..query.len(), "only a query of numbers can stand here")
            .suggest("such as `count_over_time({app=\"web\"}[5m])`")),
    }
}

/// Reads a stream selector alone, as requests for labels and series have it. It may be `{}`, and may match everything.
///
/// # Errors
/// As [`parse`].
pub fn parse_selector(query: &str) -> Result<Vec<Matcher>, ParseError> {
    let tokens = tokens(query)?;
    let mut parser = Parser::new(query, &tokens);
    let selector = parser.matchers()?;
    parser.end()?;
    Ok(selector)
}

/// Reads a pipeline as it travels between parts of the system: as [`parse_log`], but it may have an unwrap, and its selector may
/// match everything.
pub(crate) fn parse_travelled(query: &str) -> Result<Pipeline, ParseError> {
    let tokens = tokens(query)?;
    let mut parser = Parser::new(query, &tokens);
    let selector = parser.matchers()?;
    let stages = parser.stages()?;
    parser.end()?;
    Ok(Pipeline { selector, stages })
}

struct Parser<'a> {
    query: &'a str,
    tokens: &'a [Token],
    at: usize,
    parts: usize,
    expressions: usize,
}

impl<'a> Parser<'a> {
    fn new(query: &'a str, tokens: &'a [Token]) -> Self {
        Self { query, tokens, at: 0, parts: 0, expressions: 0 }
    }

    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    fn peek_behind(&self) -> Option<&'a Token> {
        self.tokens.get(self.at + 1)
    }

    fn next(&mut self) -> Option<&'a Token> {
        let token = self.peek();
        self.at += usize::from(token.is_some());
        token
    }

    /// Where the next token is; the end of the query where there is none.
    fn here(&self) -> Range<usize> {
        self.peek().map_or(self.query.len()..self.query.len(), |token| token.span.clone())
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let is_next = self.peek().is_some_and(|token| token.is_sign(sign));
        self.at += usize::from(is_next);
        is_next
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is_next = self.peek().is_some_and(|token| token.is_word(word));
        self.at += usize::from(is_next);
        is_next
    }

    fn sign(&mut self, sign: &str) -> Result<(), ParseError> {
        if self.take_sign(sign) {
            Ok(())
        } else {
            Err(ParseError::new(self.here(), format!("a `{sign}` was expected")))
        }
    }

    fn word(&mut self, what: &str) -> Result<String, ParseError> {
        match self.peek() {
            Some(Token { kind: Kind::Word(word), .. }) => {
                self.at += 1;
                Ok(word.clone())
            }
            _ => Err(ParseError::new(self.here(), format!("{what} was expected"))),
        }
    }

    /// A text and where it stands.
    fn text(&mut self) -> Result<(String, Range<usize>), ParseError> {
        match self.peek() {
            Some(Token { kind: Kind::Text(text), span }) => {
                self.at += 1;
                Ok((text.clone(), span.clone()))
            }
            Some(Token { kind: Kind::Word(word), span }) => {
                Err(ParseError::new(span.clone(), "a text was expected").suggest(format!("write \"{word}\"")))
            }
            _ => Err(ParseError::new(self.here(), "a text in quotes was expected")),
        }
    }

    fn end(&self) -> Result<(), ParseError> {
        self.peek().map_or(Ok(()), |token| Err(unexpected(token)))
    }

    /// Counts something that a query has a bounded number of.
    fn part(&mut self) -> Result<(), ParseError> {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(ParseError::new(
                self.here(),
                format!("a query has {MAX_PARTS} stages, tests and operators at most"),
            ));
        }
        Ok(())
    }

    fn check_depth(&self, depth: usize) -> Result<(), ParseError> {
        if depth > MAX_DEPTH {
            return Err(ParseError::new(self.here(), format!("nested more than {MAX_DEPTH} deep")));
        }
        Ok(())
    }

    fn count_expressions(&mut self, more: usize, span: &Range<usize>) -> Result<(), ParseError> {
        self.expressions = self.expressions.saturating_add(more);
        if self.expressions > MAX_EXPRESSIONS {
            let message = format!("a query has {MAX_EXPRESSIONS} regular expressions at most");
            return Err(ParseError::new(span.clone(), message));
        }
        Ok(())
    }

    fn expression_of(
        &mut self,
        text: &str,
        span: Range<usize>,
        anchoring: Anchoring,
    ) -> Result<Expression, ParseError> {
        self.count_expressions(1, &span)?;
        Expression::new(text, anchoring).map_err(|why| ParseError::new(span, why))
    }

    /// Names in parentheses.
    fn names(&mut self) -> Result<Vec<String>, ParseError> {
        self.sign("(")?;
        let mut names = Vec::new();
        if self.take_sign(")") {
            return Ok(names);
        }
        loop {
            self.part()?;
            names.push(self.word("a label")?);
            if !self.take_sign(",") {
                self.sign(")")?;
                return Ok(names);
            }
        }
    }

    /// `{…}` of a query: it must leave something out.
    fn selector(&mut self) -> Result<Vec<Matcher>, ParseError> {
        let start = self.here().start;
        let selector = self.matchers()?;
        if selector.iter().all(|matcher| matcher.is_match("")) {
            let end = self.tokens.get(self.at.saturating_sub(1)).map_or(start, |token| token.span.end);
            return Err(ParseError::new(
                start..end,
                "the selector matches every stream, also without these labels",
            )
            .suggest("give one label a value, such as `{app=\"web\"}` or `{app=~\".+\"}`"));
        }
        Ok(selector)
    }

    fn matchers(&mut self) -> Result<Vec<Matcher>, ParseError> {
        if !self.peek().is_some_and(|token| token.is_sign("{")) {
            return Err(ParseError::new(self.here(), "a stream selector was expected")
                .suggest("such as `{app=\"web\"}`"));
        }
        self.at += 1;
        let mut matchers = Vec::new();
        while !self.take_sign("}") {
            self.part()?;
            let label = self.word("a label")?;
            matchers.push(Matcher { label, test: self.text_test()? });
            if !self.take_sign(",") {
                self.sign("}")?;
                break;
            }
        }
        Ok(matchers)
    }

    /// `="…"` and its kin.
    fn text_test(&mut self) -> Result<TextTest, ParseError> {
        let span = self.here();
        let sign = match self.next().map(|token| &token.kind) {
            Some(Kind::Sign(sign @ ("=" | "!=" | "=~" | "!~"))) => *sign,
            Some(Kind::Sign("==")) => {
                return Err(ParseError::new(span, "texts are compared by `=`").suggest("write a single `=`"));
            }
            _ => {
                return Err(
                    ParseError::new(span, "a comparison was expected").suggest("`=`, `!=`, `=~` or `!~`")
                );
            }
        };
        let (text, span) = self.text()?;
        Ok(match sign {
            "=" => TextTest::Equal(text),
            "!=" => TextTest::NotEqual(text),
            "=~" => TextTest::Regex(self.expression_of(&text, span, Anchoring::Whole)?),
            _ => TextTest::NotRegex(self.expression_of(&text, span, Anchoring::Whole)?),
        })
    }

    /// A selector with its stages, without an unwrap.
    fn pipeline(&mut self) -> Result<Pipeline, ParseError> {
        let start = self.here().start;
        let selector = self.selector()?;
        let stages = self.stages()?;
        if stages.iter().any(|stage| matches!(stage, Stage::Unwrap(_))) {
            return Err(ParseError::new(start..self.here().start, "only a range can have an unwrap")
                .suggest("such as `sum_over_time({app=\"web\"} | unwrap bytes [5m])`"));
        }
        Ok(Pipeline { selector, stages })
    }
}

fn unexpected(token: &Token) -> ParseError {
    let span = token.span.clone();
    match &token.kind {
        Kind::Sign(")") => ParseError::new(span, "this parenthesis was never opened").suggest("remove it"),
        Kind::Sign("[") => ParseError::new(span, "a range stands inside a function only")
            .suggest("such as `rate({app=\"web\"}[5m])`"),
        Kind::Word(word) => ParseError::new(span, format!("`{word}` does not belong here"))
            .suggest("a `|` stands before each stage"),
        _ => ParseError::new(span, "this does not belong here"),
    }
}
