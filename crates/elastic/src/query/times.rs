//! Which time a query is about, for who knows what lies outside of it.

use millrace_filter::{Comparison, Expr, Literal, Predicate};
use millrace_model::{FieldRef, TimeRange, Timestamp};

/// The time that all that is found lies in.
pub fn time_range(expr: &Expr) -> TimeRange {
    let mut range = TimeRange::ALL;
    narrow(expr, &mut range);
    range
}

fn narrow(expr: &Expr, range: &mut TimeRange) {
    match expr {
        Expr::And(terms) => terms.iter().for_each(|term| narrow(term, range)),
        Expr::Field(test) if test.field == FieldRef::Timestamp => match &test.predicate {
            Predicate::Range { low, high } => {
                if let Some((literal, _)) = low {
                    from(range, literal);
                }
                if let Some((literal, inside)) = high {
                    to(range, literal, *inside);
                }
            }
            Predicate::Compare(Comparison::Greater | Comparison::GreaterOrEqual, literal) => {
                from(range, literal);
            }
            Predicate::Compare(sign, literal) => to(range, literal, *sign == Comparison::LessOrEqual),
            Predicate::Equals(literal) => {
                from(range, literal);
                to(range, literal, true);
            }
            _ => {}
        },
        _ => {}
    }
}

fn from(range: &mut TimeRange, literal: &Literal) {
    if let Some(time) = literal.time {
        range.from = range.from.max(time);
    }
}

fn to(range: &mut TimeRange, literal: &Literal, inside: bool) {
    if let Some(time) = literal.time {
        range.to = range.to.min(Timestamp(time.0.saturating_add(i64::from(inside))));
    }
}
