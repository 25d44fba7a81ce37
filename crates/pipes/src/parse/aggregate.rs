//! Aggregates, and what stands around them: `by`, and the gap of a transaction.

use super::{Parser, unexpected};
use crate::{
    ast::{Aggregate, AggregateKind, Named, Pipe},
    expression::Expr,
    plan::{COUNT, TIME},
    token::{Kind, Token},
};
use millrace_filter::ParseError;
use millrace_model::closest;
use std::ops::Range;

const AGGREGATES: &[(&str, AggregateKind)] = &[
    ("avg", AggregateKind::Avg),
    ("count", AggregateKind::Count),
    ("count_distinct", AggregateKind::CountDistinct),
    ("count_if", AggregateKind::CountIf),
    ("first", AggregateKind::First),
    ("last", AggregateKind::Last),
    ("max", AggregateKind::Max),
    ("min", AggregateKind::Min),
    ("rate", AggregateKind::Rate),
    ("stddev", AggregateKind::StdDev),
    ("sum", AggregateKind::Sum),
];

/// The names of aggregates, but for percentiles.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    AGGREGATES.iter().map(|(name, _)| *name)
}

/// What an aggregate is called; of percentiles what all are called.
pub(crate) fn name_of(kind: AggregateKind) -> &'static str {
    AGGREGATES.iter().find(|(_, known)| *known == kind).map_or("p", |(name, _)| name)
}

impl Parser<'_> {
    pub(super) fn by(&mut self) -> Result<Vec<Named<Expr>>, ParseError> {
        if self.take_word("by") { self.expressions() } else { Ok(Vec::new()) }
    }

    pub(super) fn aggregates(&mut self) -> Result<Vec<Named<Aggregate>>, ParseError> {
        self.list(|parser| parser.named(Self::aggregate))
    }

    /// A length of time, if one comes next, and where it stands.
    pub(super) fn length(
        &mut self,
        what: &str,
        example: &str,
    ) -> Result<Option<(i64, Range<usize>)>, ParseError> {
        match self.peek() {
            Some(Token { kind: Kind::Duration(length), span }) => {
                self.at += 1;
                Ok(Some((*length, span.clone())))
            }
            Some(Token { kind: Kind::Int(_), span }) => {
                let error = ParseError::new(span.clone(), format!("{what} needs a unit"));
                Err(error.suggest(format!("write {example}")))
            }
            _ => Ok(None),
        }
    }

    pub(super) fn transaction(&mut self, token: &Token) -> Result<Pipe, ParseError> {
        self.check(TIME, token.span.clone())?;
        let Some((gap, _)) = self.length("a gap", "`30m` for half an hour")? else {
            let error = ParseError::new(
                self.here(),
                "how far apart the records of one transaction may lie was expected here",
            );
            return Err(error.suggest("write `transaction 30m by user`"));
        };
        let are_said = !self.at_end() && !self.peek().is_some_and(|token| token.is_word("by"));
        let aggregates = if are_said {
            self.aggregates()?
        } else {
            let count = Aggregate { kind: AggregateKind::Count, of: None };
            vec![Named { name: COUNT.to_owned(), what: count }]
        };
        Ok(Pipe::Transaction { gap, aggregates, by: self.by()? })
    }

    fn aggregate(&mut self) -> Result<Aggregate, ParseError> {
        let Some(token) = self.next() else {
            return Err(
                ParseError::new(self.here(), "an aggregate was expected").suggest("such as `count()`")
            );
        };
        let Kind::Name(name) = &token.kind else {
            return Err(unexpected(token).suggest("an aggregate was expected here, such as `count()`"));
        };
        let lower = name.to_ascii_lowercase();
        let kind = AGGREGATES
            .iter()
            .find(|(known, _)| *known == lower)
            .map(|(_, kind)| *kind)
            .or_else(|| percentile(&lower));
        let Some(kind) = kind else {
            let error = ParseError::new(token.span.clone(), format!("there is no aggregate {name}"));
            return Err(error.suggest(match closest(&lower, names()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("there are {}, and p50 to p99.9", names().collect::<Vec<_>>().join(", ")),
            }));
        };
        self.sign("(")?;
        let of = if self.take_sign(")") {
            None
        } else {
            let of = self.expression()?;
            self.sign(")")?;
            Some(of)
        };
        if of.is_none() && !matches!(kind, AggregateKind::Count | AggregateKind::Rate) {
            return Err(ParseError::new(token.span.clone(), format!("{name} must be told of what"))
                .suggest(format!("write the field between the parentheses: `{name}(bytes)`")));
        }
        Ok(Aggregate { kind, of })
    }
}

/// `p95`, `p99.9`.
fn percentile(name: &str) -> Option<AggregateKind> {
    let digits = name.strip_prefix('p').filter(|digits| digits.starts_with(|c: char| c.is_ascii_digit()))?;
    let percent = digits.parse::<f64>().ok().filter(|percent| *percent <= 100.0)?;
    Some(AggregateKind::Percentile(percent / 100.0))
}
