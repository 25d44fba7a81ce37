//! `query_string`: Lucene's syntax, as its classic parser takes it. Weights are read and mean nothing.

use super::{
    Bounds, Reader, all, any,
    compound::COMMON,
    join::at_least,
    minimum::minimum,
    none, not, range, regexp,
    text::{self, How, Options},
};
use crate::{
    Error, Zone,
    json::{Object, Style},
};
use millrace_filter::{Expr, delimited};
use millrace_model::text::fold;
use serde_json::Value as Json;

/// The longest query, in bytes.
const MAX_LENGTH: usize = 1 << 20;

/// What is said besides the text.
#[derive(Debug, Clone, Default)]
pub struct QueryString {
    /// Where words without a field are looked for; nothing: in all of them.
    pub fields: Vec<String>,
    /// Words without an operator between them must all match.
    pub all: bool,
    /// What cannot be a value of its field matches nothing, and is no error.
    pub lenient: bool,
    /// In which zone times are that do not name one.
    pub zone: Option<Zone>,
    /// How many of alternatives must match.
    pub minimum: Option<Json>,
}

pub(super) fn query(reader: &mut Reader<'_>, body: &Json) -> Result<Expr, Error> {
    let mut object = Object::of(body, "query_string", Style::Query)?;
    object.ignore(COMMON);
    object.ignore(&[
        "allow_leading_wildcard",
        "analyze_wildcard",
        "analyzer",
        "quote_analyzer",
        "auto_generate_synonyms_phrase_query",
        "enable_position_increments",
        "escape",
        "fuzziness",
        "fuzzy_max_expansions",
        "fuzzy_prefix_length",
        "fuzzy_rewrite",
        "fuzzy_transpositions",
        "max_determinized_states",
        "phrase_slop",
        "quote_field_suffix",
        "rewrite",
        "tie_breaker",
        "type",
    ]);
    let text = object
        .value("query")
        .and_then(crate::json::scalar)
        .ok_or_else(|| Error::parsing("[query_string] must be provided with a [query]"))?;
    let fields = match object.value("fields") {
        None => None,
        Some(given @ Json::Array(_)) => crate::json::texts(given),
        Some(_) => return Err(Error::parsing("[query_string] query does not support [fields]")),
    };
    let default = object.text("default_field")?;
    let options = QueryString {
        fields: match (fields, default) {
            (Some(fields), Some(_)) if !fields.is_empty() => {
                return Err(Error::parsing(
                    "cannot use [fields] parameter in conjunction with [default_field]",
                ));
            }
            (Some(fields), None) => fields,
            (_, Some(default)) => vec![default],
            (None, None) => Vec::new(),
        },
        all: operator(object.text("default_operator")?.as_deref())?,
        lenient: object.flag("lenient")?.unwrap_or(false),
        zone: object.text("time_zone")?.map(|text| Zone::parse(&text)).transpose()?,
        minimum: object.value("minimum_should_match").cloned(),
    };
    object.finish()?;
    read(reader, &text, &options)
}

/// Is it `AND`?
pub(crate) fn operator(given: Option<&str>) -> Result<bool, Error> {
    match given.map(str::to_ascii_lowercase).as_deref() {
        None | Some("or") => Ok(false),
        Some("and") => Ok(true),
        Some(other) => Err(Error::argument(format!(
            "No enum constant org.elasticsearch.index.query.Operator.{}",
            other.to_uppercase().chars().take(100).collect::<String>()
        ))),
    }
}

pub(super) fn read(reader: &mut Reader<'_>, query: &str, options: &QueryString) -> Result<Expr, Error> {
    let wrong = |why: String| {
        let shown: String = query.chars().take(200).collect();
        let cause = Error { kind: "parse_exception", ..Error::argument(why) };
        Error { cause: Some(Box::new(cause)), ..Error::query(format!("Failed to parse query [{shown}]")) }
    };
    if query.len() > MAX_LENGTH {
        return Err(wrong(format!("it is longer than {MAX_LENGTH} bytes")));
    }
    if query.trim().is_empty() {
        return Ok(none());
    }
    let names = if options.fields.is_empty() { vec!["*".to_owned()] } else { options.fields.clone() };
    let fields = text::fields_of(reader, &names)?;
    let mut parser = Parser { query, at: 0, reader, options };
    match parser.group(&fields, false) {
        Ok(expr) => Ok(expr),
        Err(Trouble::Syntax(why)) => Err(wrong(why)),
        Err(Trouble::Other(error)) => Err(error),
    }
}

enum Trouble {
    Syntax(String),
    Other(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

fn syntax<T>(why: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Syntax(why.into()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Occur {
    Must,
    Should,
    MustNot,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Conjunction {
    None,
    And,
    Or,
}

/// Signs that end a word.
const ENDS: &str = "():\"[]{}^~";

struct Parser<'p, 'r, 'm> {
    query: &'p str,
    at: usize,
    reader: &'r mut Reader<'m>,
    options: &'p QueryString,
}

/// A word with its escapes still in it.
struct Word {
    written: String,
    has_wildcard: bool,
}

impl Word {
    /// Without its escapes.
    fn plain(&self) -> String {
        let mut plain = String::with_capacity(self.written.len());
        let mut chars = self.written.chars();
        while let Some(c) = chars.next() {
            plain.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
        }
        plain
    }
}

impl Parser<'_, '_, '_> {
    fn rest(&self) -> &str {
        &self.query[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.rest().starts_with(sign);
        self.at += if found { sign.len() } else { 0 };
        found
    }

    /// A word in capitals that stands for itself.
    fn take_word(&mut self, word: &str) -> bool {
        let follows = self.rest().get(word.len()..).and_then(|rest| rest.chars().next());
        let ends =
            follows.is_none_or(|c| c.is_whitespace() || matches!(c, '(' | ')' | '"' | '+' | '-' | '!'));
        ends && self.take(word)
    }

    /// Clauses up to the end, or up to the parenthesis.
    fn group(&mut self, fields: &[String], closes: bool) -> Result<Expr, Trouble> {
        let mut clauses: Vec<(Occur, Expr)> = Vec::new();
        let mut is_first = true;
        loop {
            self.blanks();
            match self.peek() {
                None if closes => return syntax("Encountered \"<EOF>\", expected \")\""),
                Some(')') if !closes => return syntax("Encountered \" \")\" \") \"\""),
                None => break,
                Some(')') => {
                    self.at += 1;
                    break;
                }
                _ => {}
            }
            let conjunction = self.conjunction();
            if conjunction != Conjunction::None && is_first {
                return syntax("an operator stands before the first clause");
            }
            is_first = false;
            self.blanks();
            let modifier = self.modifier();
            self.blanks();
            if self.peek().is_none_or(|c| c == ')') {
                return syntax("Encountered \"<EOF>\" where a clause was expected");
            }
            let Some(expr) = self.clause(fields)? else { continue };
            self.add(&mut clauses, conjunction, modifier, expr);
        }
        if is_first {
            return syntax("nothing stands between the parentheses");
        }
        self.joined(clauses)
    }

    fn conjunction(&mut self) -> Conjunction {
        if self.take_word("AND") || self.take("&&") {
            Conjunction::And
        } else if self.take_word("OR") || self.take("||") {
            Conjunction::Or
        } else {
            Conjunction::None
        }
    }

    fn modifier(&mut self) -> Option<Occur> {
        if self.take("+") {
            Some(Occur::Must)
        } else if self.take("-") || self.take("!") || self.take_word("NOT") {
            Some(Occur::MustNot)
        } else {
            None
        }
    }

    /// As the classic parser has it: `AND` makes the clauses on both sides of it required, `OR` none of them.
    fn add(
        &self,
        clauses: &mut Vec<(Occur, Expr)>,
        conjunction: Conjunction,
        modifier: Option<Occur>,
        expr: Expr,
    ) {
        if let Some((before, _)) = clauses.last_mut()
            && *before != Occur::MustNot
        {
            match conjunction {
                Conjunction::And => *before = Occur::Must,
                Conjunction::Or if self.options.all => *before = Occur::Should,
                _ => {}
            }
        }
        let occur = match modifier {
            Some(occur) => occur,
            None if conjunction == Conjunction::And => Occur::Must,
            None if self.options.all && conjunction != Conjunction::Or => Occur::Must,
            None => Occur::Should,
        };
        clauses.push((occur, expr));
    }

    fn joined(&self, clauses: Vec<(Occur, Expr)>) -> Result<Expr, Trouble> {
        let (mut terms, mut should) = (Vec::new(), Vec::new());
        if clauses.is_empty() {
            return Ok(none());
        }
        for (occur, expr) in clauses {
            match occur {
                Occur::Must => terms.push(expr),
                Occur::MustNot => terms.push(not(expr)),
                Occur::Should => should.push((terms.len(), expr)),
            }
        }
        let should: Vec<Expr> = should.into_iter().map(|(_, expr)| expr).collect();
        if !should.is_empty() {
            // Where others must match, these may.
            let wanted = match &self.options.minimum {
                Some(given) => minimum(given, should.len())?,
                None => 0,
            };
            let others = terms.iter().any(|term| !matches!(term, Expr::Not(_)));
            terms.push(at_least(should, if others { wanted } else { wanted.max(1) })?);
        }
        Ok(all(terms))
    }

    /// One clause; `None`: there is no word in it.
    fn clause(&mut self, fields: &[String]) -> Result<Option<Expr>, Trouble> {
        self.reader.clause(1)?;
        if self.rest().starts_with("*:*") {
            self.at += 3;
            self.boost()?;
            return Ok(Some(Expr::All));
        }
        let start = self.at;
        if self.peek().is_some_and(|c| !ENDS.contains(c) && !matches!(c, '/' | '<' | '>')) {
            let word = self.word()?;
            if self.take(":") {
                self.blanks();
                if self.peek().is_none_or(|c| c == ')') {
                    return syntax("Encountered \"<EOF>\" behind a field");
                }
                let name = word.plain();
                if name == "_exists_" {
                    let field = self.word()?.plain();
                    let names = self.reader.mapping.names(&field);
                    let tests = names.iter().map(|name| Ok(self.reader.leaf(name)?.exists()));
                    return Ok(Some(any(tests.collect::<Result<_, Error>>()?)));
                }
                let named = text::fields_of(
                    self.reader,
                    &[if word.has_wildcard { name } else { escaped_name(&name) }],
                )?;
                return self.value(&named);
            }
            self.at = start;
        }
        self.value(fields)
    }

    /// What stands behind a field, or without one.
    fn value(&mut self, fields: &[String]) -> Result<Option<Expr>, Trouble> {
        let found = match self.peek() {
            Some('(') => {
                self.at += 1;
                let depth = self.nested(fields)?;
                Some(depth)
            }
            Some('"') => self.quoted(fields)?,
            Some('/') => Some(self.regex(fields)?),
            Some('[' | '{') => Some(self.range(fields)?),
            Some('>' | '<') => Some(self.comparison(fields)?),
            Some(c) if !ENDS.contains(c) => self.words(fields)?,
            _ => return syntax(format!("Encountered \"{}\"", self.peek().unwrap_or(' '))),
        };
        self.boost()?;
        Ok(found)
    }

    fn nested(&mut self, fields: &[String]) -> Result<Expr, Trouble> {
        // The depth is the reader's, which every query inside of others counts by.
        if self.reader.depth >= super::MAX_DEPTH {
            return Err(super::too_deep().into());
        }
        self.reader.depth += 1;
        let expr = self.group(fields, true);
        self.reader.depth -= 1;
        expr
    }

    fn boost(&mut self) -> Result<(), Trouble> {
        if self.take("^") {
            let digits =
                self.rest().bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
            if self.rest()[..digits].parse::<f64>().is_err() {
                return syntax("a number must stand behind `^`");
            }
            self.at += digits;
        }
        Ok(())
    }

    fn word(&mut self) -> Result<Word, Trouble> {
        let mut word = Word { written: String::new(), has_wildcard: false };
        let mut chars = self.query[self.at..].char_indices();
        let mut end = self.query.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, next)) => word.written.extend(['\\', next]),
                    None => return syntax("a backslash stands at the end"),
                },
                c if c.is_whitespace() || ENDS.contains(c) => {
                    end = self.at + at;
                    break;
                }
                c => {
                    word.has_wildcard |= matches!(c, '*' | '?');
                    word.written.push(c);
                }
            }
        }
        if word.written.is_empty() {
            return syntax(format!("Encountered \"{}\"", self.peek().unwrap_or(' ')));
        }
        self.at = end;
        Ok(word)
    }

    fn on_each(
        &mut self,
        fields: &[String],
        ask: impl Fn(&mut Reader<'_>, &str) -> Result<Expr, Error>,
    ) -> Result<Expr, Trouble> {
        let mut found = Vec::new();
        for field in fields {
            match ask(self.reader, field) {
                Ok(expr) => found.push(expr),
                Err(_) if self.options.lenient => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(any(found))
    }

    fn words(&mut self, fields: &[String]) -> Result<Option<Expr>, Trouble> {
        let word = self.word()?;
        if matches!(word.written.as_str(), "AND" | "OR" | "NOT" | "&&" | "||") {
            return syntax(format!("Encountered \"{}\" where a clause was expected", word.written));
        }
        if self.peek() == Some('~') {
            return Err(Error::argument("fuzzy queries are not supported here").into());
        }
        if word.written.chars().all(|c| c == '*') {
            let is_all = fields.iter().any(|field| field == "*");
            return Ok(Some(if is_all {
                Expr::All
            } else {
                self.on_each(fields, |reader, field| Ok(reader.leaf(field)?.exists()))?
            }));
        }
        if word.has_wildcard {
            let written = word.written;
            return Ok(Some(self.on_each(fields, |reader, field| {
                let leaf = reader.leaf(field)?;
                // As the field's analyser would have it.
                let written = if leaf.field.kind.is_words() { fold(&written) } else { written.clone() };
                leaf.wildcard(&written, false)
            })?));
        }
        let plain = word.plain();
        let options = Options { all: self.options.all, ..Options::default() };
        if super::words::pieces(&plain).is_empty()
            && fields.iter().all(|field| self.reader.mapping.field(field).kind.is_words())
        {
            return Ok(None);
        }
        let found = self
            .on_each(fields, |reader, field| text::on_field(reader, field, &plain, How::Words, &options))?;
        Ok(Some(found))
    }

    fn quoted(&mut self, fields: &[String]) -> Result<Option<Expr>, Trouble> {
        let Some((phrase, length)) = delimited::quoted(self.rest(), '"') else {
            return syntax("a quote is not closed");
        };
        self.at += length;
        let slop = if self.take("~") { self.count()? } else { 0 };
        let options = Options { slop, ..Options::default() };
        let found = self
            .on_each(fields, |reader, field| text::on_field(reader, field, &phrase, How::Phrase, &options))?;
        Ok(Some(found))
    }

    fn count(&mut self) -> Result<usize, Trouble> {
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        let Ok(count) = self.rest()[..digits].parse() else {
            return syntax("a number must stand behind `~`");
        };
        self.at += digits;
        Ok(count)
    }

    fn regex(&mut self, fields: &[String]) -> Result<Expr, Trouble> {
        let Some((pattern, length)) = delimited::regex(self.rest()) else {
            return syntax("a regular expression is not closed");
        };
        self.at += length;
        self.on_each(fields, |reader, field| {
            let leaf = reader.leaf(field)?;
            let pattern = if leaf.field.kind.is_words() { fold(&pattern) } else { pattern.clone() };
            regexp::regexp(reader, &leaf, &pattern, false)
        })
    }

    fn bound(&mut self) -> Result<Option<String>, Trouble> {
        self.blanks();
        if self.peek() == Some('"') {
            let Some((text, length)) = delimited::quoted(self.rest(), '"') else {
                return syntax("a quote is not closed");
            };
            self.at += length;
            return Ok(Some(text));
        }
        let end = self.rest().find(|c: char| c.is_whitespace() || matches!(c, ']' | '}'));
        let end = end.unwrap_or(self.rest().len());
        let text = self.rest()[..end].replace('\\', "");
        self.at += end;
        match text.as_str() {
            "" => syntax("a range needs two ends"),
            "*" => Ok(None),
            _ => Ok(Some(text)),
        }
    }

    fn range(&mut self, fields: &[String]) -> Result<Expr, Trouble> {
        let low_inside = self.take("[");
        if !low_inside {
            self.take("{");
        }
        let low = self.bound()?;
        self.blanks();
        if !self.take("TO") {
            return syntax("`TO` must stand between the ends of a range");
        }
        let high = self.bound()?;
        self.blanks();
        let high_inside = self.take("]");
        if !high_inside && !self.take("}") {
            return syntax("a range is not closed");
        }
        let bounds = Bounds {
            low: low.map(|text| (text, low_inside)),
            high: high.map(|text| (text, high_inside)),
            zone: self.options.zone,
            ..Bounds::default()
        };
        self.on_each(fields, |reader, field| range::bounds(&reader.leaf(field)?, &bounds))
    }

    fn comparison(&mut self, fields: &[String]) -> Result<Expr, Trouble> {
        let is_low = self.take(">");
        if !is_low {
            self.take("<");
        }
        let inside = self.take("=");
        let text =
            if self.peek() == Some('"') { self.bound()?.unwrap_or_default() } else { self.word()?.plain() };
        let end = Some((text, inside));
        let (low, high) = if is_low { (end, None) } else { (None, end) };
        let bounds = Bounds { low, high, zone: self.options.zone, ..Bounds::default() };
        self.on_each(fields, |reader, field| range::bounds(&reader.leaf(field)?, &bounds))
    }
}

/// A name that holds what looks like a weight means itself.
fn escaped_name(name: &str) -> String {
    name.split('^').next().unwrap_or_default().to_owned()
}
