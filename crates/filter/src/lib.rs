//! The query language: one predicate over records, parsed, printed and evaluated. Everything that filters speaks it:
//! searches, rules, live tail.
//!
//! Imports only `model`; no I/O. What is made of what a filter found is another room's (`pipes`).
//!
//! # What a filter means
//! - `*` and the empty text match every record.
//! - A bare word or a quoted phrase matches when its tokens ([`millrace_model::text`]) stand side by side among the body's
//!   tokens, case ignored. One without any token (`"---"`) matches as a part of the body's text, case ignored.
//! - A bare word with `*` (any characters) or `?` (one character) that otherwise holds only word characters matches when a
//!   single token of the body matches it whole; with other characters, when a part of the body's text matches it.
//! - `/regex/` matches anywhere in the body, case respected; `(?i)` ignores it. The engine's time is linear.
//! - A body that is not text is matched by its display: bytes lossily, the rest as JSON.
//! - `field:value` matches when the field's whole value equals it, case ignored; `field:val*` by wildcards over the whole
//!   value. A number equals numbers of its value and texts of its spelling; an address also equals its canonical text. Of an
//!   array any element will do; a map has no value, it only exists. On the body, and on a field that is declared `text`
//!   ([`millrace_model::declared`]), it is a bare word: one of the body, one of that value.
//! - `field:>5`, `>=`, `<`, `<=`, `[a TO b]`, `{a TO b}`, with `*` for an open end: by number where the literal is one (a
//!   text counts as the number that it spells), else by text, case ignored. Times are RFC 3339 or epoch milliseconds.
//! - `level:error` matches the class (error, error2 …) or the record's own spelling; `level:>=warn` compares classes.
//! - `ip:10.0.0.0/8` matches texts that are an address inside; `field:*` what exists; `field:(a OR b)` is `field:a OR
//!   field:b`.
//! - `NOT x`, `-x`, `!x`; `x AND y`, `x && y`, `x y`; `x OR y`, `x || y`; parentheses. AND binds tighter than OR. What a record
//!   lacks does not match, and so its negation does.
//! - `\` takes the next character as it is.
//!
//! **Invariant:** a [`Filter`] prints as text that parses back to an equal one.

mod ast;
pub mod delimited;
mod error;
mod eval;
mod glob;
mod literal;
mod parse;
mod print;
mod token;

pub use ast::{Cidr, Comparison, Expr, FieldTest, Filter, Pattern, Predicate, Text, compile};
pub use error::ParseError;
pub use eval::value_text;
pub use glob::{Glob, GlobPart};
pub use literal::Literal;
pub use millrace_model::Number;
pub use parse::{MAX_PATTERNS, parse, parse_before_pipes, parse_inside, parse_kept};

#[cfg(any(test, feature = "arbitrary"))]
pub mod arbitrary;

use millrace_model::Fields;

/// Does the record match?
pub fn matches(filter: &Filter, record: &impl Fields) -> bool {
    filter.matches(record)
}

#[cfg(test)]
mod tests;
