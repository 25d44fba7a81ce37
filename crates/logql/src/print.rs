//! A query as text: what it prints as parses back to an equal one.

use crate::{
    ast::{
        Binary, Chosen, Conversion, FormatValue, Grouping, JsonField, LabelFilter, LabelFormat, LineFilter,
        LineTest, Logfmt, Matcher, Matching, MatchingKind, MetricExpr, Pipeline, Quantity, Query,
        RangeAggregation, Side, Stage, TextTest, Unwrap,
    },
    token::quoted,
    units::number,
};
use std::fmt::{self, Display, Formatter};

/// Two with something between.
fn joined<T: Display>(f: &mut Formatter<'_>, all: &[T], between: &str) -> fmt::Result {
    for (nth, one) in all.iter().enumerate() {
        if nth > 0 {
            f.write_str(between)?;
        }
        write!(f, "{one}")?;
    }
    Ok(())
}

fn names(f: &mut Formatter<'_>, word: &str, names: &[String]) -> fmt::Result {
    write!(f, "{word} (")?;
    joined(f, names, ", ")?;
    f.write_str(")")
}

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(pipeline) => write!(f, "{pipeline}"),
            Self::Metric(expr) => write!(f, "{expr}"),
        }
    }
}

impl Display for Pipeline {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        joined(f, &self.selector, ", ")?;
        f.write_str("}")?;
        self.stages.iter().try_for_each(|stage| write!(f, " {stage}"))
    }
}

impl Display for Matcher {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.label, self.test)
    }
}

impl Display for TextTest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (sign, text) = match self {
            Self::Equal(text) => ("=", text.as_str()),
            Self::NotEqual(text) => ("!=", text.as_str()),
            Self::Regex(expression) => ("=~", expression.as_str()),
            Self::NotRegex(expression) => ("!~", expression.as_str()),
        };
        write!(f, "{sign}{}", quoted(text))
    }
}

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let list = |f: &mut Formatter<'_>, word: &str, chosen: &[Chosen]| {
            write!(f, "| {word} ")?;
            joined(f, chosen, ", ")
        };
        match self {
            Self::Line(filter) => write!(f, "{filter}"),
            Self::Json(fields) => {
                f.write_str(if fields.is_empty() { "| json" } else { "| json " })?;
                joined(f, fields, ", ")
            }
            Self::Logfmt(logfmt) => write!(f, "| {logfmt}"),
            Self::Pattern(pattern) => write!(f, "| pattern {}", quoted(pattern.as_str())),
            Self::Regexp(expression) => write!(f, "| regexp {}", quoted(expression.as_str())),
            Self::Unpack => f.write_str("| unpack"),
            Self::Label(filter) => write!(f, "| {filter}"),
            Self::LineFormat(template) => write!(f, "| line_format {}", quoted(template.as_str())),
            Self::LabelFormat(formats) => {
                f.write_str("| label_format ")?;
                joined(f, formats, ", ")
            }
            Self::Decolorize => f.write_str("| decolorize"),
            Self::Drop(chosen) => list(f, "drop", chosen),
            Self::Keep(chosen) => list(f, "keep", chosen),
            Self::Unwrap(unwrap) => write!(f, "| {unwrap}"),
        }
    }
}

impl Display for LineFilter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.op.sign())?;
        joined(f, &self.any, " or ")
    }
}

impl Display for LineTest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Regex(expression) => f.write_str(&quoted(expression.as_str())),
            Self::Addresses(addresses) => write!(f, "{addresses}"),
            Self::Pattern(pattern) => f.write_str(&quoted(pattern.as_str())),
        }
    }
}

impl Display for JsonField {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.label, quoted(&self.text))
    }
}

impl Display for Logfmt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("logfmt")?;
        f.write_str(if self.strict { " --strict" } else { "" })?;
        f.write_str(if self.keep_empty { " --keep-empty" } else { "" })?;
        for (nth, (label, key)) in self.wanted.iter().enumerate() {
            write!(f, "{} {label}={}", if nth > 0 { "," } else { "" }, quoted(key))?;
        }
        Ok(())
    }
}

impl Display for LabelFilter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let inner = |f: &mut Formatter<'_>, filter: &Self, grouped: bool| {
            if grouped { write!(f, "({filter})") } else { write!(f, "{filter}") }
        };
        match self {
            Self::Text(matcher) => write!(f, "{matcher}"),
            Self::Compare { label, op, value } => write!(f, "{label} {} {value}", op.sign()),
            Self::Addresses { label, equal, addresses } => {
                write!(f, "{label} {} {addresses}", if *equal { "=" } else { "!=" })
            }
            Self::And(left, right) => {
                inner(f, left, matches!(**left, Self::Or(..)))?;
                f.write_str(" and ")?;
                inner(f, right, matches!(**right, Self::Or(..) | Self::And(..)))
            }
            Self::Or(left, right) => {
                inner(f, left, false)?;
                f.write_str(" or ")?;
                inner(f, right, matches!(**right, Self::Or(..)))
            }
        }
    }
}

impl Display for Quantity {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(value) => f.write_str(&number(*value)),
            Self::Duration(duration) => write!(f, "{duration}"),
            Self::Bytes(bytes) => write!(f, "{bytes}B"),
        }
    }
}

impl Display for LabelFormat {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.value {
            FormatValue::Rename(source) => write!(f, "{}={source}", self.label),
            FormatValue::Template(template) => write!(f, "{}={}", self.label, quoted(template.as_str())),
        }
    }
}

impl Display for Chosen {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)?;
        self.test.as_ref().map_or(Ok(()), |test| write!(f, "{test}"))
    }
}

impl Display for Unwrap {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.conversion {
            Conversion::Number => write!(f, "unwrap {}", self.label),
            Conversion::Duration => write!(f, "unwrap duration({})", self.label),
            Conversion::Bytes => write!(f, "unwrap bytes({})", self.label),
        }
    }
}

impl Display for Grouping {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        names(f, if self.without { "without" } else { "by" }, &self.labels)
    }
}

impl Display for RangeAggregation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.function.name())?;
        if let Some(parameter) = self.parameter {
            write!(f, "{}, ", number(parameter))?;
        }
        write!(f, "{} [{}]", self.pipeline, self.range)?;
        if self.offset.0 != 0 {
            write!(f, " offset {}", self.offset)?;
        }
        f.write_str(")")?;
        self.grouping.as_ref().map_or(Ok(()), |grouping| write!(f, " {grouping}"))
    }
}

impl Display for MetricExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(value) => f.write_str(&number(*value)),
            Self::Vector(value) => write!(f, "vector({})", number(*value)),
            Self::Range(aggregation) => write!(f, "{aggregation}"),
            Self::Aggregate(aggregate) => {
                f.write_str(aggregate.op.name())?;
                if let Some(grouping) = &aggregate.grouping {
                    write!(f, " {grouping} ")?;
                }
                f.write_str("(")?;
                if let Some(parameter) = aggregate.parameter {
                    write!(f, "{parameter}, ")?;
                }
                write!(f, "{})", aggregate.inner)
            }
            Self::Binary(binary) => binary_expr(f, binary),
            // What is not one value stands in parentheses; so does a number, whose sign it would become.
            Self::Negate(inner) => match &**inner {
                inner @ (Self::Binary(_) | Self::Literal(_) | Self::Negate(_)) => write!(f, "-({inner})"),
                inner => write!(f, "-{inner}"),
            },
            Self::LabelReplace(replace) => {
                write!(f, "label_replace({}", replace.inner)?;
                for text in
                    [&replace.label, &replace.replacement, &replace.source, replace.expression.as_str()]
                {
                    write!(f, ", {}", quoted(text))?;
                }
                f.write_str(")")
            }
        }
    }
}

fn binary_expr(f: &mut Formatter<'_>, binary: &Binary) -> fmt::Result {
    let operand = |f: &mut Formatter<'_>, expr: &MetricExpr, is_left: bool| {
        let (power, to_the_right) = binary.op.power();
        let grouped = match expr {
            MetricExpr::Binary(inner) => {
                let inner = inner.op.power().0;
                inner < power || (inner == power && is_left == to_the_right)
            }
            MetricExpr::Literal(value) => value.is_sign_negative(),
            MetricExpr::Negate(_) => true,
            _ => false,
        };
        if grouped { write!(f, "({expr})") } else { write!(f, "{expr}") }
    };
    operand(f, &binary.left, true)?;
    write!(f, " {}", binary.op.sign())?;
    f.write_str(if binary.bool { " bool" } else { "" })?;
    matching(f, &binary.matching)?;
    f.write_str(" ")?;
    operand(f, &binary.right, false)
}

fn matching(f: &mut Formatter<'_>, matching: &Matching) -> fmt::Result {
    if let Some((kind, labels)) = &matching.labels {
        names(f, if *kind == MatchingKind::On { " on" } else { " ignoring" }, labels)?;
    }
    if let Some((side, labels)) = &matching.group {
        names(f, if *side == Side::Left { " group_left" } else { " group_right" }, labels)?;
    }
    Ok(())
}
