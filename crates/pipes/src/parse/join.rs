//! `join`, and the query in its parentheses.

use super::Parser;
use crate::{
    ast::{Join, Pipe, Query},
    plan::shown,
    token::{Kind, Token},
};
use millrace_filter::ParseError;
use millrace_model::closest;

/// The most joins of a query, those of the queries that it joins among them.
const MAX_JOINS: usize = 8;
const EXAMPLE: &str = "write `join by user (level:error | stats count() by user)`";

impl Parser<'_> {
    pub(super) fn join(&mut self, token: &Token) -> Result<Pipe, ParseError> {
        let left = self.take_word("left");
        if !left {
            self.take_word("inner");
        }
        if !self.take_word("by") {
            let error = ParseError::new(self.here(), "the columns that both sides have were expected");
            return Err(error.suggest(EXAMPLE));
        }
        let named = self.list(|parser| {
            let span = parser.here();
            Ok((parser.name()?, span))
        })?;
        let Some(Token { kind: Kind::Inner(inner), span }) = self.peek() else {
            let error = ParseError::new(self.here(), "the query that is joined was expected, in parentheses");
            return Err(error.suggest(EXAMPLE));
        };
        self.at += 1;
        self.joins += 1;
        if self.joins > MAX_JOINS {
            return Err(ParseError::new(token.span.clone(), format!("a query joins {MAX_JOINS} at most")));
        }
        let mut right = Parser { joins: self.joins, ..Parser::new(self.query, &inner.tokens, span.end - 1) };
        let mut pipes = right.pipes()?;
        self.joins = right.joins;
        let mut by: Vec<String> = Vec::new();
        for (name, span) in named {
            let lacks = |columns: &&Vec<String>| !columns.contains(&name);
            if let Some(columns) = right.columns.as_ref().filter(lacks) {
                let error = ParseError::new(span, format!("the query that is joined has no column {name}"));
                let meant = closest(&name, columns.iter().map(String::as_str));
                return Err(error.suggest(match meant {
                    Some(meant) => format!("did you mean {meant}?"),
                    None => format!("it has {}", columns.join(", ")),
                }));
            }
            if !by.contains(&name) {
                by.push(name);
            }
        }
        if right.columns.is_none() {
            // It may have any, and gives those that are shown of it.
            let mut names = shown(&pipes);
            names.extend(by.iter().filter(|name| !shown(&pipes).contains(name)).cloned());
            pipes.push(Pipe::Fields(names));
        }
        let join = Join { by, left, right: Query { filter: inner.filter.clone(), pipes } };
        let known = shown(&self.pipes);
        match join.columns().into_iter().find(|name| known.contains(name)) {
            None => Ok(Pipe::Join(join)),
            Some(name) => {
                let error = ParseError::new(token.span.clone(), format!("both sides have a column {name}"));
                Err(error.suggest(
                    "say by `| fields` which columns of the joined query are wanted, or give that one another name there by `as` or `eval`",
                ))
            }
        }
    }
}
