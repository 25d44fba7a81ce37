//! `LogQL`, the query language of Loki: read ([`parse()`]), written (`Display`), lowered to a filter ([`Pipeline::lower`]),
//! carried out on lines ([`Pipeline::run`]), and computed ([`RangeAccumulator`], [`evaluate()`]).
//!
//! Imports `model` and `filter`; no I/O, no clock. Where lines lie, and how answers are written, is not decided here.
//!
//! # Who does what
//! - A filter finds the records that a pipeline may keep: [`Pipeline::lower`]. It is broader than the pipeline, never narrower.
//! - Each of them becomes an [`Entry`], and [`Pipeline::run`] decides, stage by stage, as Loki does.
//! - For metrics, [`MetricExpr::ranges`] lists the ranges whose lines are needed. Their entries go through a
//!   [`RangeAccumulator`] each, wherever they lie; accumulators are merged; [`evaluate`] computes the rest.
//!
//! # Where it differs from Loki
//! - Times in templates are in UTC. Templates have no variables, `range`, `with`, `now` or `fromJson`, and count characters
//!   where Go counts bytes.
//! - `|>` and `!>` are about the whole line; `<_>` takes any text, also none.
//! - `rate_counter` is Prometheus's `rate`: it extrapolates to the bounds of the window, and needs two values.
//! - `approx_topk` is exact. `first_over_time` and `last_over_time` of lines of the same nanosecond take the smaller and the
//!   larger value, in whatever order they come.
//!
//! **Invariants:**
//! - What was parsed prints as text that parses back to an equal query.
//! - What a pipeline keeps, its lowered filter matches, as long as labels are what [`LabelFields`] says.
//! - Everything is bounded: queries, nesting, expressions, texts that templates make, series, points and kept values.

mod address;
mod aggregate;
mod ast;
mod binary;
mod entry;
mod evaluate;
mod expression;
mod json;
mod logfmt;
mod lower;
mod names;
mod parse;
mod pattern;
mod print;
mod range;
mod run;
mod series;
mod state;
mod template;
mod token;
mod travel;
pub mod units;

pub use address::Addresses;
pub use ast::{
    Aggregate, AggregateOp, Binary, BinaryOp, Chosen, CompareOp, Conversion, FormatValue, Grouping,
    JsonField, JsonStep, LabelFilter, LabelFormat, LabelReplace, LineFilter, LineOp, LineTest, Logfmt,
    Matcher, Matching, MatchingKind, MetricExpr, Pipeline, Quantity, Query, RangeAggregation, RangeFunction,
    Side, Stage, TextTest, Unwrap,
};
pub use entry::{ERROR, ERROR_DETAILS, Entry, Labels, label_name};
pub use evaluate::{Samples, Value, evaluate};
pub use expression::Expression;
pub use lower::{LabelFields, PlainFields, label_field};
pub use millrace_filter::ParseError;
pub use parse::{parse, parse_log, parse_metric, parse_selector};
pub use pattern::Pattern;
pub use range::{Partial, Range, RangeAccumulator};
pub use series::{Bounds, EvaluateError, Series, Steps};
pub use template::Template;
pub use token::MAX_QUERY;

#[cfg(test)]
mod tests;
