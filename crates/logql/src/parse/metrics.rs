//! What is computed: functions over ranges, aggregations, operators.

use super::{Parser, unexpected};
use crate::{
    ast::{
        Aggregate, AggregateOp, Binary, BinaryOp, CompareOp, Grouping, LabelReplace, Matching, MatchingKind,
        MetricExpr, Pipeline, Query, RangeAggregation, RangeFunction, Side, Stage,
    },
    expression::Anchoring,
    token::{Kind, Token},
    units::Duration,
};
use millrace_filter::ParseError;
use millrace_model::closest;
use std::ops::Range;

/// How tight `-` binds that stands before one value: as a product.
const SIGN_POWER: u8 = 5;

impl Parser<'_> {
    /// A Pratt parser. Operators that bind as tight as `least`, or looser, end it.
    pub(super) fn expression(&mut self, least: u8, depth: usize) -> Result<Query, ParseError> {
        self.check_depth(depth)?;
        let start = self.here().start;
        let mut left = self.operand(depth)?;
        while let Some((op, token)) = self.peek().and_then(|token| Some((operator(token)?, token))) {
            let (power, to_the_right) = op.power();
            if power <= least {
                break;
            }
            self.part()?;
            self.at += 1;
            let span = token.span.clone();
            let bool = self.take_word("bool");
            if bool && !matches!(op, BinaryOp::Compare(_)) {
                return Err(ParseError::new(span, "`bool` follows a comparison only"));
            }
            let matching = self.matching(op, &span)?;
            let before_right = self.here().start;
            let right = self.expression(if to_the_right { power - 1 } else { power }, depth + 1)?;
            let right = numbers(right, before_right..self.here().start)?;
            let before = numbers(left, start..span.start)?;
            if op.is_set() && (before.is_scalar() || right.is_scalar()) {
                return Err(ParseError::new(span, format!("`{}` stands between vectors only", op.sign()))
                    .suggest("make a vector of a number by `vector(1)`"));
            }
            left = Query::Metric(MetricExpr::Binary(Box::new(Binary {
                op,
                bool,
                matching,
                left: before,
                right,
            })));
        }
        Ok(left)
    }

    fn metric(&mut self, depth: usize) -> Result<MetricExpr, ParseError> {
        let start = self.here().start;
        let found = self.expression(0, depth)?;
        numbers(found, start..self.here().start)
    }

    fn operand(&mut self, depth: usize) -> Result<Query, ParseError> {
        let Some(token) = self.peek() else {
            return Err(ParseError::new(self.here(), "something must follow"));
        };
        match &token.kind {
            Kind::Sign("{") => return self.pipeline().map(Query::Log),
            Kind::Sign("(") => {
                self.at += 1;
                let inner = self.expression(0, depth + 1)?;
                if !self.take_sign(")") {
                    return Err(match self.peek() {
                        Some(token) => unexpected(token),
                        None => ParseError::new(token.span.clone(), "the parenthesis is not closed")
                            .suggest("add a `)`"),
                    });
                }
                return Ok(inner);
            }
            Kind::Sign(sign @ ("-" | "+")) => {
                self.at += 1;
                let start = self.here().start;
                let inner = self.expression(SIGN_POWER, depth + 1)?;
                let inner = numbers(inner, start..self.here().start)?;
                return Ok(Query::Metric(match inner {
                    inner if *sign == "+" => inner,
                    MetricExpr::Literal(number) => MetricExpr::Literal(-number),
                    inner => MetricExpr::Negate(Box::new(inner)),
                }));
            }
            Kind::Number(number) => {
                self.at += 1;
                return Ok(Query::Metric(MetricExpr::Literal(*number)));
            }
            Kind::Word(_) => {}
            _ => return Err(unexpected(token)),
        }
        self.function(token, depth).map(Query::Metric)
    }

    fn function(&mut self, token: &Token, depth: usize) -> Result<MetricExpr, ParseError> {
        let name = self.word("a function")?;
        if let Some(function) = RangeFunction::named(&name) {
            return self.range_aggregation(function, &token.span, depth);
        }
        if let Some(op) = AggregateOp::named(&name) {
            return self.aggregate(op, &token.span, depth);
        }
        match name.as_str() {
            "vector" => {
                self.sign("(")?;
                let number = self.number()?;
                self.sign(")")?;
                Ok(MetricExpr::Vector(number))
            }
            "label_replace" => self.label_replace(depth),
            _ => {
                let error = ParseError::new(token.span.clone(), format!("there is no function {name}"));
                let known = RangeFunction::ALL.iter().map(|(_, name)| *name);
                let known = known.chain(AggregateOp::ALL.iter().map(|(_, name)| *name));
                Err(match closest(&name, known.chain(["vector", "label_replace"])) {
                    Some(meant) => error.suggest(format!("did you mean `{meant}`?")),
                    None => error.suggest("a stream selector stands in braces, a text in quotes"),
                })
            }
        }
    }

    fn number(&mut self) -> Result<f64, ParseError> {
        let negative = self.take_sign("-");
        match self.peek().map(|token| &token.kind) {
            Some(Kind::Number(number)) => {
                self.at += 1;
                Ok(if negative { -number } else { *number })
            }
            _ => Err(ParseError::new(self.here(), "a number was expected")),
        }
    }

    fn range_aggregation(
        &mut self,
        function: RangeFunction,
        span: &Range<usize>,
        depth: usize,
    ) -> Result<MetricExpr, ParseError> {
        self.sign("(")?;
        let parameter = if function == RangeFunction::QuantileOverTime {
            let number = self.number()?;
            self.sign(",")?;
            Some(number)
        } else {
            None
        };
        let mut range = None;
        let start = self.here();
        let pipeline = self.log_range(&mut range, depth + 1)?;
        self.sign(")")?;
        let Some((range, offset)) = range else {
            return Err(ParseError::new(start, format!("{} needs a range", function.name()))
                .suggest("write how long it is, `[5m]`, behind the selector or the stages"));
        };
        let grouping = self.grouping()?;
        if grouping.is_some() && !function.groups() {
            return Err(ParseError::new(span.clone(), format!("{} has no groups", function.name()))
                .suggest("wrap it, `sum by (…) (…)`"));
        }
        let unwraps = pipeline.stages.iter().any(|stage| matches!(stage, Stage::Unwrap(_)));
        if unwraps && !function.takes_values() {
            return Err(ParseError::new(
                span.clone(),
                format!("{} counts lines, not values", function.name()),
            )
            .suggest("leave out the unwrap"));
        }
        if !unwraps && function.needs_values() {
            return Err(ParseError::new(span.clone(), format!("{} needs values", function.name()))
                .suggest("end the pipeline with `| unwrap label`"));
        }
        Ok(MetricExpr::Range(Box::new(RangeAggregation {
            function,
            parameter,
            pipeline,
            range,
            offset,
            grouping,
        })))
    }

    /// A pipeline with the range and its offset somewhere in it.
    fn log_range(
        &mut self,
        range: &mut Option<(Duration, Duration)>,
        depth: usize,
    ) -> Result<Pipeline, ParseError> {
        self.check_depth(depth)?;
        let pipeline = if self.take_sign("(") {
            let pipeline = self.log_range(range, depth + 1)?;
            self.sign(")")?;
            pipeline
        } else {
            let selector = self.selector()?;
            self.range(range)?;
            Pipeline { selector, stages: self.stages()? }
        };
        self.range(range)?;
        Ok(pipeline)
    }

    fn range(&mut self, range: &mut Option<(Duration, Duration)>) -> Result<(), ParseError> {
        let start = self.here();
        if !self.take_sign("[") {
            return Ok(());
        }
        let length = self.duration()?;
        if length.0 <= 0 {
            return Err(ParseError::new(start, "a range is longer than nothing"));
        }
        self.sign("]")?;
        let mut offset = Duration(0);
        if self.take_word("offset") {
            let negative = self.take_sign("-");
            let found = self.duration()?;
            offset = Duration(if negative { -found.0 } else { found.0 });
        }
        if range.replace((length, offset)).is_some() {
            return Err(ParseError::new(start, "there is a range already"));
        }
        Ok(())
    }

    fn duration(&mut self) -> Result<Duration, ParseError> {
        match self.peek().map(|token| &token.kind) {
            Some(Kind::Duration(duration)) => {
                self.at += 1;
                Ok(*duration)
            }
            _ => Err(ParseError::new(self.here(), "a length of time was expected").suggest("such as `5m`")),
        }
    }

    fn grouping(&mut self) -> Result<Option<Grouping>, ParseError> {
        let without = match self.peek() {
            Some(token) if token.is_word("by") => false,
            Some(token) if token.is_word("without") => true,
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(Grouping { without, labels: self.names()? }))
    }

    fn aggregate(
        &mut self,
        op: AggregateOp,
        span: &Range<usize>,
        depth: usize,
    ) -> Result<MetricExpr, ParseError> {
        let before = self.grouping()?;
        self.sign("(")?;
        let mut parameter = None;
        if op.has_parameter() {
            let span = self.here();
            let number = self.number()?;
            if number < 1.0 || number.fract() != 0.0 || number > 1e9 {
                return Err(ParseError::new(span, format!("{} keeps a whole number of series", op.name())));
            }
            parameter = Some(number as usize);
            self.sign(",")?;
        }
        let inner = self.metric(depth + 1)?;
        self.sign(")")?;
        let after = self.grouping()?;
        if before.is_some() && after.is_some() {
            return Err(ParseError::new(span.clone(), "the groups stand before or behind, not both"));
        }
        let grouping = before.or(after);
        if grouping.is_some() && !op.groups() {
            return Err(ParseError::new(span.clone(), format!("{} has no groups", op.name())));
        }
        if inner.is_scalar() {
            return Err(ParseError::new(span.clone(), format!("{} is of vectors", op.name()))
                .suggest("make a vector of a number by `vector(1)`"));
        }
        Ok(MetricExpr::Aggregate(Box::new(Aggregate { op, parameter, grouping, inner })))
    }

    fn label_replace(&mut self, depth: usize) -> Result<MetricExpr, ParseError> {
        self.sign("(")?;
        let start = self.here();
        let inner = self.metric(depth + 1)?;
        if inner.is_scalar() {
            return Err(ParseError::new(start, "label_replace is of vectors"));
        }
        self.sign(",")?;
        let (label, span) = self.text()?;
        if crate::entry::label_name(&label) != label || label.is_empty() {
            return Err(ParseError::new(span, format!("{label:?} is no name of a label")));
        }
        self.sign(",")?;
        let (replacement, _) = self.text()?;
        self.sign(",")?;
        let (source, _) = self.text()?;
        self.sign(",")?;
        let (text, span) = self.text()?;
        let expression = self.expression_of(&text, span, Anchoring::Whole)?;
        self.sign(")")?;
        Ok(MetricExpr::LabelReplace(Box::new(LabelReplace { inner, label, replacement, source, expression })))
    }

    fn matching(&mut self, op: BinaryOp, span: &Range<usize>) -> Result<Matching, ParseError> {
        let kind = match self.peek() {
            Some(token) if token.is_word("on") => MatchingKind::On,
            Some(token) if token.is_word("ignoring") => MatchingKind::Ignoring,
            _ => return Ok(Matching::default()),
        };
        self.at += 1;
        let labels = Some((kind, self.names()?));
        let side = match self.peek() {
            Some(token) if token.is_word("group_left") => Side::Left,
            Some(token) if token.is_word("group_right") => Side::Right,
            _ => return Ok(Matching { labels, group: None }),
        };
        self.at += 1;
        if op.is_set() {
            return Err(ParseError::new(span.clone(), format!("`{}` has no many side", op.sign())));
        }
        let include = if self.names_follow() { self.names()? } else { Vec::new() };
        Ok(Matching { labels, group: Some((side, include)) })
    }

    /// Do names in parentheses follow, rather than an expression in some?
    fn names_follow(&self) -> bool {
        let kind = |at: usize| self.tokens.get(self.at + at).map(|token| &token.kind);
        match (kind(0), kind(1)) {
            (Some(Kind::Sign("(")), Some(Kind::Sign(")"))) => true,
            (Some(Kind::Sign("(")), Some(Kind::Word(_))) => {
                matches!(kind(2), Some(Kind::Sign("," | ")")))
            }
            _ => false,
        }
    }
}

fn numbers(found: Query, span: Range<usize>) -> Result<MetricExpr, ParseError> {
    match found {
        Query::Metric(expr) => Ok(expr),
        Query::Log(_) => Err(ParseError::new(span, "these are lines, not numbers")
            .suggest("count them, `count_over_time({app=\"web\"}[5m])`")),
    }
}

fn operator(token: &Token) -> Option<BinaryOp> {
    Some(match &token.kind {
        Kind::Word(word) => match word.as_str() {
            "or" => BinaryOp::Or,
            "and" => BinaryOp::And,
            "unless" => BinaryOp::Unless,
            _ => return None,
        },
        Kind::Sign(sign) => match *sign {
            "==" => BinaryOp::Compare(CompareOp::Equal),
            "!=" => BinaryOp::Compare(CompareOp::NotEqual),
            ">" => BinaryOp::Compare(CompareOp::Greater),
            ">=" => BinaryOp::Compare(CompareOp::GreaterOrEqual),
            "<" => BinaryOp::Compare(CompareOp::Less),
            "<=" => BinaryOp::Compare(CompareOp::LessOrEqual),
            "+" => BinaryOp::Add,
            "-" => BinaryOp::Subtract,
            "*" => BinaryOp::Multiply,
            "/" => BinaryOp::Divide,
            "%" => BinaryOp::Modulo,
            "^" => BinaryOp::Power,
            _ => return None,
        },
        _ => return None,
    })
}
