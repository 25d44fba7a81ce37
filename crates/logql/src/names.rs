//! How functions and operators are called, and what each of them is allowed.

use crate::ast::{AggregateOp, BinaryOp, CompareOp, LineOp, MetricExpr, RangeFunction};

impl RangeFunction {
    /// Each with its name.
    pub const ALL: &[(Self, &'static str)] = &[
        (Self::CountOverTime, "count_over_time"),
        (Self::Rate, "rate"),
        (Self::BytesOverTime, "bytes_over_time"),
        (Self::BytesRate, "bytes_rate"),
        (Self::AbsentOverTime, "absent_over_time"),
        (Self::SumOverTime, "sum_over_time"),
        (Self::AvgOverTime, "avg_over_time"),
        (Self::MinOverTime, "min_over_time"),
        (Self::MaxOverTime, "max_over_time"),
        (Self::FirstOverTime, "first_over_time"),
        (Self::LastOverTime, "last_over_time"),
        (Self::StdvarOverTime, "stdvar_over_time"),
        (Self::StddevOverTime, "stddev_over_time"),
        (Self::QuantileOverTime, "quantile_over_time"),
        (Self::RateCounter, "rate_counter"),
    ];

    /// The one that is called so.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(function, _)| *function)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(function, _)| *function == self).map_or("", |(_, name)| name)
    }

    /// Can it work on unwrapped values?
    pub const fn takes_values(self) -> bool {
        !matches!(self, Self::CountOverTime | Self::BytesOverTime | Self::BytesRate)
    }

    /// Can it work on nothing else?
    pub const fn needs_values(self) -> bool {
        self.takes_values() && !matches!(self, Self::Rate | Self::AbsentOverTime)
    }

    /// May it have groups of its own?
    pub const fn groups(self) -> bool {
        self.needs_values() && !matches!(self, Self::SumOverTime | Self::RateCounter)
    }
}

impl AggregateOp {
    /// Each with its name.
    pub const ALL: &[(Self, &'static str)] = &[
        (Self::Sum, "sum"),
        (Self::Avg, "avg"),
        (Self::Min, "min"),
        (Self::Max, "max"),
        (Self::Count, "count"),
        (Self::Stddev, "stddev"),
        (Self::Stdvar, "stdvar"),
        (Self::Topk, "topk"),
        (Self::Bottomk, "bottomk"),
        (Self::ApproxTopk, "approx_topk"),
        (Self::Sort, "sort"),
        (Self::SortDesc, "sort_desc"),
    ];

    /// The one that is called so.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(op, _)| *op)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(op, _)| *op == self).map_or("", |(_, name)| name)
    }

    /// Is it told how many series to keep?
    pub const fn has_parameter(self) -> bool {
        matches!(self, Self::Topk | Self::Bottomk | Self::ApproxTopk)
    }

    /// May it have groups?
    pub const fn groups(self) -> bool {
        !matches!(self, Self::ApproxTopk | Self::Sort | Self::SortDesc)
    }
}

impl BinaryOp {
    /// As written.
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Or => "or",
            Self::And => "and",
            Self::Unless => "unless",
            Self::Compare(op) => op.sign(),
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Power => "^",
        }
    }

    /// Does it choose among series, rather than compute?
    pub const fn is_set(self) -> bool {
        matches!(self, Self::Or | Self::And | Self::Unless)
    }

    /// How tight it binds, and whether the right one of two goes first.
    pub(crate) const fn power(self) -> (u8, bool) {
        match self {
            Self::Or => (1, false),
            Self::And | Self::Unless => (2, false),
            Self::Compare(_) => (3, false),
            Self::Add | Self::Subtract => (4, false),
            Self::Multiply | Self::Divide | Self::Modulo => (5, false),
            Self::Power => (6, true),
        }
    }
}

impl CompareOp {
    /// As written.
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
        }
    }
}

impl LineOp {
    /// As written.
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Contains => "|=",
            Self::NotContains => "!=",
            Self::Regex => "|~",
            Self::NotRegex => "!~",
            Self::Pattern => "|>",
            Self::NotPattern => "!>",
        }
    }
}

impl MetricExpr {
    /// Is it a number, rather than a vector?
    pub fn is_scalar(&self) -> bool {
        match self {
            Self::Literal(_) => true,
            Self::Negate(inner) => inner.is_scalar(),
            Self::Binary(binary) => binary.left.is_scalar() && binary.right.is_scalar(),
            _ => false,
        }
    }
}
