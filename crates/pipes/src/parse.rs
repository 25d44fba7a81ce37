//! From text to a query: the filter by the filter's own grammar up to the first `|`, then the pipes.

mod aggregate;
mod expression;
mod join;

pub(crate) use aggregate::name_of;

use crate::{
    ast::{Named, Pipe, Query, SortKey},
    expression::Expr,
    extract::{Extract, Pattern},
    plan::{TIME, columns_of},
    token::{Kind, Token, tokens},
};
use millrace_filter::ParseError;

use millrace_model::closest;
use std::ops::Range;

/// The most pipes of a query.
const MAX_PIPES: usize = 64;
/// The most names, keys, aggregates or expressions that one pipe may have.
const MAX_LIST: usize = 64;
/// `top` and `rare` without a number.
const DEFAULT_TOP: usize = 10;

/// Each with how it is written.
const PIPES: &[(&str, &str)] = &[
    ("dedup", "dedup user"),
    ("eval", "eval kb = bytes / 1024"),
    ("expand", "expand tags"),
    ("extract", "extract \"user=<user> ip=<ip>\""),
    ("fields", "fields host, body"),
    ("join", "join by user (level:error | stats count() by user)"),
    ("limit", "limit 20"),
    ("parse", "parse json"),
    ("patterns", "patterns"),
    ("rare", "rare 10 user"),
    ("session", "session 30m by user"),
    ("sort", "sort -bytes"),
    ("stats", "stats count() by host"),
    ("timechart", "timechart 5m count() by level"),
    ("top", "top 10 client_ip"),
    ("transaction", "transaction 30m by user"),
    ("where", "where a > 2 * b"),
];

/// The words of the language behind a filter: pipes, aggregates (of the percentiles one) and functions. For completion, and
/// for whoever must have said something of each.
pub fn words() -> impl Iterator<Item = &'static str> {
    let pipes = PIPES.iter().map(|(name, _)| *name);
    pipes.chain(aggregate::names()).chain(["p50"]).chain(expression::function_names())
}

/// Reads a query.
///
/// # Errors
/// With the span, what is wrong there, and where possible what to write instead.
pub fn parse(query: &str) -> Result<Query, ParseError> {
    let (filter, end) = millrace_filter::parse_before_pipes(query)?;
    let tokens = tokens(query, end)?;
    let pipes = Parser::new(query, &tokens, query.len()).pipes()?;
    Ok(Query { filter, pipes })
}

struct Parser<'a> {
    query: &'a str,
    tokens: &'a [Token],
    at: usize,
    /// Where it ends, in the whole text.
    end: usize,
    /// The pipes so far.
    pipes: Vec<Pipe>,
    /// How many joins there were so far, in other queries, too.
    joins: usize,
    /// The columns that there are, where that is known: records may have any.
    columns: Option<Vec<String>>,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(query: &'a str, tokens: &'a [Token], end: usize) -> Self {
        Self { query, tokens, at: 0, end, pipes: Vec::new(), joins: 0, columns: None, depth: 0 }
    }

    /// All pipes of the query.
    fn pipes(&mut self) -> Result<Vec<Pipe>, ParseError> {
        while let Some(token) = self.next() {
            if !token.is_sign("|") {
                return Err(unexpected(token).suggest("a pipe ends where the next `|` begins"));
            }
            if self.pipes.len() == MAX_PIPES {
                return Err(ParseError::new(
                    token.span.clone(),
                    format!("a query has {MAX_PIPES} pipes at most"),
                ));
            }
            let pipe = self.pipe()?;
            self.pipes.push(pipe);
        }
        Ok(std::mem::take(&mut self.pipes))
    }

    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<&'a Token> {
        let token = self.peek();
        self.at += usize::from(token.is_some());
        token
    }

    fn here(&self) -> Range<usize> {
        self.peek().map_or(self.end..self.end, |token| token.span.clone())
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

    fn sign(&mut self, sign: &'static str) -> Result<(), ParseError> {
        if self.take_sign(sign) {
            Ok(())
        } else {
            Err(ParseError::new(self.here(), format!("a `{sign}` was expected")))
        }
    }

    /// Nothing more of this pipe?
    fn at_end(&self) -> bool {
        self.peek().is_none_or(|token| token.is_sign("|"))
    }

    fn pipe(&mut self) -> Result<Pipe, ParseError> {
        let Some(token) = self.next() else {
            let span = self.tokens.last().map_or_else(|| self.here(), |last| last.span.clone());
            return Err(ParseError::new(span, "a pipe is missing behind the `|`").suggest(known_pipes()));
        };
        let Kind::Name(name) = &token.kind else { return Err(unexpected(token).suggest(known_pipes())) };
        let pipe = match name.to_ascii_lowercase().as_str() {
            "stats" => {
                let (aggregates, by) = (self.aggregates()?, self.by()?);
                Pipe::Stats { aggregates, by }
            }
            "timechart" => {
                self.check(TIME, token.span.clone())?;
                let interval = self.length("an interval", "`5m` for five minutes")?;
                if let Some((_, span)) = interval.clone().filter(|(length, _)| *length < 1_000_000) {
                    return Err(ParseError::new(span, "an interval is at least 1ms long"));
                }
                let interval = interval.map(|(length, _)| length);
                let (aggregates, by) = (self.aggregates()?, self.by()?);
                Pipe::Timechart { interval, aggregates, by }
            }
            "transaction" | "session" => self.transaction(token)?,
            rank @ ("top" | "rare") => {
                let limit = match self.peek().map(|token| &token.kind) {
                    Some(Kind::Int(_)) => self.count()?,
                    _ => DEFAULT_TOP,
                };
                let rare = rank == "rare";
                self.take_word("by");
                Pipe::Top { limit, by: self.expressions()?, rare }
            }
            "patterns" => {
                self.check("body", token.span.clone())?;
                Pipe::Patterns
            }
            "fields" => {
                let mut names: Vec<String> = Vec::new();
                for name in self.names()? {
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
                Pipe::Fields(names)
            }
            "sort" => {
                self.take_word("by");
                Pipe::Sort(self.list(Self::sort_key)?)
            }
            "limit" => Pipe::Limit(self.count()?),
            "dedup" => {
                self.take_word("by");
                Pipe::Dedup(self.names()?)
            }
            "where" => Pipe::Where(self.expression()?),
            "eval" => Pipe::Eval(self.list(Self::assignment)?),
            "extract" => Pipe::Extract(self.extract()?),
            "expand" => Pipe::Expand { of: self.name()?, different: false },
            "join" => self.join(token)?,
            "parse" => self.parse()?,
            other => {
                let error = ParseError::new(token.span.clone(), format!("there is no pipe {other}"));
                return Err(error.suggest(match closest(other, PIPES.iter().map(|(name, _)| *name)) {
                    Some(meant) => {
                        let example =
                            PIPES.iter().find(|(name, _)| *name == meant).map_or("", |(_, example)| example);
                        format!("did you mean `{meant}`? `{example}`")
                    }
                    None => known_pipes(),
                }));
            }
        };
        if !self.at_end() {
            let error = self
                .peek()
                .map_or_else(|| ParseError::new(self.here(), "this does not belong here"), unexpected);
            return Err(error.suggest("a comma stands between two of a list, a `|` before the next pipe"));
        }
        self.follow(&pipe, token)?;
        Ok(pipe)
    }

    /// Which columns there are behind a pipe.
    fn follow(&mut self, pipe: &Pipe, token: &Token) -> Result<(), ParseError> {
        match pipe {
            Pipe::Stats { .. }
            | Pipe::Timechart { .. }
            | Pipe::Transaction { .. }
            | Pipe::Top { .. }
            | Pipe::Patterns
            | Pipe::Fields(_) => {
                let columns = columns_of(pipe);
                if let Some(twice) = (1..columns.len()).find(|at| columns[..*at].contains(&columns[*at])) {
                    return Err(ParseError::new(
                        token.span.clone(),
                        format!("two columns are called {}", columns[twice]),
                    )
                    .suggest("give one of them another name by `as`"));
                }
                self.columns = Some(columns);
            }
            Pipe::Eval(columns) => self.add(columns.iter().map(|column| column.name.as_str())),
            Pipe::Extract(extract) => self.add(extract.names().iter().map(String::as_str)),
            Pipe::Join(join) => self.add(join.columns().iter().map(String::as_str)),
            // It may say anything.
            Pipe::Parse { .. } => self.columns = None,
            Pipe::Where(_) | Pipe::Expand { .. } | Pipe::Sort(_) | Pipe::Limit(_) | Pipe::Dedup(_) => {}
        }
        Ok(())
    }

    fn add<'n>(&mut self, names: impl Iterator<Item = &'n str>) {
        if let Some(columns) = &mut self.columns {
            columns.extend(names.map(str::to_owned));
        }
    }

    fn list<T>(&mut self, one: impl Fn(&mut Self) -> Result<T, ParseError>) -> Result<Vec<T>, ParseError> {
        let from = self.here();
        let mut all = vec![one(self)?];
        while self.take_sign(",") {
            all.push(one(self)?);
            if all.len() > MAX_LIST {
                return Err(ParseError::new(
                    from.start..self.here().start.max(from.end),
                    format!("a list has {MAX_LIST} entries at most"),
                ));
            }
        }
        Ok(all)
    }

    fn count(&mut self) -> Result<usize, ParseError> {
        match self.next() {
            Some(Token { kind: Kind::Int(count), .. }) if *count >= 0 => {
                Ok(usize::try_from(*count).unwrap_or(usize::MAX))
            }
            _ => {
                self.at = self.at.saturating_sub(1);
                Err(ParseError::new(self.here(), "a number was expected")
                    .suggest("write how many: `limit 20`"))
            }
        }
    }

    /// A name for something new.
    fn new_name(&mut self) -> Result<String, ParseError> {
        match self.next() {
            Some(Token { kind: Kind::Name(name) | Kind::Quoted(name) | Kind::Text(name), .. }) => {
                Ok(name.clone())
            }
            Some(token) => Err(unexpected(token).suggest("a name was expected here")),
            None => Err(ParseError::new(self.here(), "a name was expected here")),
        }
    }

    /// The name of a column that may be there.
    fn name(&mut self) -> Result<String, ParseError> {
        let span = self.here();
        let name = self.new_name()?;
        self.check(&name, span)?;
        Ok(name)
    }

    fn check(&self, name: &str, span: Range<usize>) -> Result<(), ParseError> {
        let Some(columns) =
            self.columns.as_ref().filter(|columns| !columns.iter().any(|known| known == name))
        else {
            return Ok(());
        };
        let error = ParseError::new(span, format!("there is no column {name} any more"));
        let names = columns.iter().map(String::as_str);
        Err(error.suggest(match closest(name, names) {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("there are {}", columns.join(", ")),
        }))
    }

    fn names(&mut self) -> Result<Vec<String>, ParseError> {
        self.list(Self::name)
    }

    fn sort_key(&mut self) -> Result<SortKey, ParseError> {
        let descending = self.take_sign("-");
        if !descending {
            self.take_sign("+");
        }
        let span = self.here();
        // The name of an aggregate is how it is written.
        let name = match self.columns.as_ref().and_then(|columns| self.written(columns)) {
            Some((name, tokens)) => {
                self.at += tokens;
                name
            }
            None => self.new_name()?,
        };
        self.check(&name, span)?;
        let descending = if self.take_word("desc") { true } else { !self.take_word("asc") && descending };
        Ok(SortKey { name, descending })
    }

    /// The column whose name is what is written here, and how many tokens that is: the longest.
    fn written(&self, columns: &[String]) -> Option<(String, usize)> {
        let from = self.peek()?.span.start;
        let written = |column: &&String| {
            let end = from + column.len();
            let tokens = self.tokens[self.at..].iter().take_while(|token| token.span.end <= end).count();
            let last = self.tokens.get((self.at + tokens).checked_sub(1)?)?;
            (self.query.get(from..end) == Some(column.as_str()) && last.span.end == end).then_some(tokens)
        };
        columns
            .iter()
            .filter_map(|column| Some((column.clone(), written(&column)?)))
            .max_by_key(|(_, tokens)| *tokens)
    }

    /// Something with `as name` behind it, or called as it is written.
    fn named<T>(
        &mut self,
        what: impl Fn(&mut Self) -> Result<T, ParseError>,
    ) -> Result<Named<T>, ParseError> {
        let from = self.at;
        let start = self.here().start;
        let what = what(self)?;
        if self.take_word("as") {
            return Ok(Named { name: self.new_name()?, what });
        }
        let taken = &self.tokens[from..self.at];
        if let [Token { kind: Kind::Name(name) | Kind::Quoted(name), .. }] = taken {
            return Ok(Named { name: name.clone(), what });
        }
        let end = taken.last().map_or(start, |token| token.span.end);
        Ok(Named { name: self.query.get(start..end).unwrap_or_default().to_owned(), what })
    }

    fn expressions(&mut self) -> Result<Vec<Named<Expr>>, ParseError> {
        self.list(|parser| parser.named(Self::expression))
    }

    fn assignment(&mut self) -> Result<Named<Expr>, ParseError> {
        let name = self.new_name()?;
        if !self.take_sign("=") {
            return Err(ParseError::new(self.here(), "a `=` was expected")
                .suggest(format!("write `eval {name} = …`")));
        }
        let what = self.expression()?;
        // The next of the list may use it.
        self.add(std::iter::once(name.as_str()));
        Ok(Named { name, what })
    }

    /// The column whose text is read: the one that is said, or the line.
    fn from(&mut self, span: Range<usize>) -> Result<String, ParseError> {
        if self.take_word("from") {
            return self.name();
        }
        self.check("body", span)?;
        Ok("body".to_owned())
    }

    fn parse(&mut self) -> Result<Pipe, ParseError> {
        let token = self.next();
        let formats =
            || millrace_intake::Parser::NAMES.iter().map(|(name, _)| *name).filter(|name| *name != "none");
        let (name, span) = match token {
            Some(Token { kind: Kind::Name(name), span }) => (name.to_ascii_lowercase(), span.clone()),
            Some(token) => (String::new(), token.span.clone()),
            None => (String::new(), self.here()),
        };
        if !formats().any(|known| known == name) {
            let error = ParseError::new(span, "a format was expected");
            return Err(error.suggest(match closest(&name, formats()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("there are {}", formats().collect::<Vec<_>>().join(", ")),
            }));
        }
        let from = self.from(span)?;
        Ok(Pipe::Parse { format: name, from })
    }

    fn extract(&mut self) -> Result<Extract, ParseError> {
        let Some(token) = self.next() else {
            return Err(
                ParseError::new(self.here(), "a pattern was expected").suggest("such as \"user=<user>\"")
            );
        };
        let pattern = match &token.kind {
            Kind::Text(text) => Pattern::Pieces(text.clone()),
            Kind::Regex(text) => Pattern::Regex(text.clone()),
            _ => return Err(unexpected(token).suggest("a pattern in quotes was expected here, such as \"user=<user>\", or a regular expression with named groups between slashes")),
        };
        let from = self.from(token.span.clone())?;
        Extract::new(&from, pattern).map_err(|why| {
            ParseError::new(token.span.clone(), why)
                .suggest("write `extract \"user=<user> ip=<ip>\"` or `extract /user=(?P<user>\\w+)/`")
        })
    }
}

fn known_pipes() -> String {
    format!("there are {}", PIPES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "))
}

fn unexpected(token: &Token) -> ParseError {
    ParseError::new(token.span.clone(), "this does not belong here")
}

#[cfg(test)]
mod tests;
