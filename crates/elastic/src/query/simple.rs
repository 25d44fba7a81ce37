//! `simple_query_string`: what cannot be read is left out, nothing is an error.

use super::{
    Reader, all, any,
    compound::COMMON,
    join::at_least,
    lucene::operator,
    minimum::minimum,
    none, not,
    text::{self, How, Options},
};
use crate::{
    Error,
    json::{Object, Style},
};
use millrace_filter::{Expr, delimited};
use serde_json::Value as Json;

const MAX_LENGTH: usize = 1 << 20;
const MAX_NESTED: usize = 20;

pub(super) fn query(reader: &mut Reader<'_>, body: &Json) -> Result<Expr, Error> {
    let mut object = Object::of(body, "simple_query_string", Style::Query)?;
    object.ignore(COMMON);
    object.ignore(&[
        "analyze_wildcard",
        "analyzer",
        "auto_generate_synonyms_phrase_query",
        "flags",
        "fuzzy_max_expansions",
        "fuzzy_prefix_length",
        "fuzzy_transpositions",
        "lenient",
        "quote_field_suffix",
    ]);
    let query = object.required("query")?;
    let names = object.texts("fields")?.filter(|names| !names.is_empty());
    let all = operator(object.text("default_operator")?.as_deref())?;
    let wanted = object.value("minimum_should_match");
    object.finish()?;
    if query.len() > MAX_LENGTH {
        return Err(Error::argument(format!("[simple_query_string] longer than {MAX_LENGTH} bytes")));
    }
    let fields = text::fields_of(reader, &names.unwrap_or_else(|| vec!["*".to_owned()]))?;
    let mut parser = Parser { rest: &query, reader, fields: &fields, all };
    let terms = parser.terms(0)?;
    if all || wanted.is_none() {
        return Ok(Parser::joined(terms));
    }
    let count = wanted.map_or(Ok(1), |wanted| minimum(wanted, terms.len()))?;
    at_least(terms.into_iter().map(|(_, term)| term).collect(), count.max(1))
}

struct Parser<'p, 'r, 'm> {
    rest: &'p str,
    reader: &'r mut Reader<'m>,
    fields: &'p [String],
    all: bool,
}

impl Parser<'_, '_, '_> {
    /// Terms, each with whether it must match together with the one before.
    fn terms(&mut self, depth: usize) -> Result<Vec<(bool, Expr)>, Error> {
        let mut terms = Vec::new();
        let (mut and, mut negated) = (self.all, false);
        while let Some(c) = self.rest.chars().next() {
            let expr = match c {
                c if c.is_whitespace() => {
                    self.rest = &self.rest[c.len_utf8()..];
                    continue;
                }
                '+' | '|' => {
                    and = c == '+';
                    self.rest = &self.rest[1..];
                    continue;
                }
                '-' => {
                    negated = !negated;
                    self.rest = &self.rest[1..];
                    continue;
                }
                ')' => {
                    self.rest = &self.rest[1..];
                    if depth > 0 {
                        break;
                    }
                    continue;
                }
                '(' => {
                    self.rest = &self.rest[1..];
                    if depth >= MAX_NESTED {
                        continue;
                    }
                    let inner = self.terms(depth + 1)?;
                    Some(Self::joined(inner))
                }
                '"' => self.quoted()?,
                _ => self.word()?,
            };
            if let Some(expr) = expr {
                self.reader.clause(1)?;
                terms.push((and, if negated { not(expr) } else { expr }));
            }
            (and, negated) = (self.all, false);
        }
        Ok(terms)
    }

    /// From the left: each with all that stands before it.
    fn joined(terms: Vec<(bool, Expr)>) -> Expr {
        let mut joined: Option<Expr> = None;
        for (and, term) in terms {
            joined = Some(match joined {
                None => term,
                Some(before) if and => all(vec![before, term]),
                Some(before) => any(vec![before, term]),
            });
        }
        joined.unwrap_or_else(none)
    }

    fn on_each(&mut self, text: &str, how: How, slop: usize) -> Result<Option<Expr>, Error> {
        let options = Options { lenient: true, all: self.all, slop, ..Options::default() };
        if super::words::pieces(text).is_empty() {
            return Ok(None);
        }
        let mut found = Vec::new();
        for field in self.fields {
            found.push(text::on_field(self.reader, field, text, how, &options)?);
        }
        Ok(Some(any(found)))
    }

    fn quoted(&mut self) -> Result<Option<Expr>, Error> {
        let (phrase, length) = match delimited::quoted(self.rest, '"') {
            Some(found) => found,
            None => (self.rest[1..].to_owned(), self.rest.len()),
        };
        self.rest = &self.rest[length..];
        let slop = self.behind();
        self.on_each(&phrase, How::Phrase, slop)
    }

    /// The number behind `~`.
    fn behind(&mut self) -> usize {
        let Some(rest) = self.rest.strip_prefix('~') else { return 0 };
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        self.rest = &rest[digits..];
        rest[..digits].parse().unwrap_or(0).min(3)
    }

    fn word(&mut self) -> Result<Option<Expr>, Error> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => text.extend(chars.next().map(|(_, c)| c)),
                c if c.is_whitespace() || matches!(c, '+' | '|' | '(' | ')' | '"' | '~') => {
                    end = at;
                    break;
                }
                c => text.push(c),
            }
        }
        self.rest = &self.rest[end..];
        // Words that are spelled nearly so are not looked for; the word itself is.
        self.behind();
        match text.strip_suffix('*') {
            Some("") => Ok(Some(Expr::All)),
            Some(start) => {
                let start = start.to_owned();
                self.on_each(&start, How::WordsPrefix, 0)
            }
            None => self.on_each(&text, How::Words, 0),
        }
    }
}
