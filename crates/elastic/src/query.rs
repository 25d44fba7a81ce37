//! The query DSL, as an expression of the filter language. What a query means is decided here once; scores do not exist.
//!
//! - A text that is matched whole is matched by its case, as Elasticsearch does, unless its field has a normaliser: the filter
//!   language ignores case, so an anchored regular expression stands beside the equality, which an index can answer.
//! - `term` on analysed text asks for one word, in small letters, as an index of words has it.
//! - Times are compared by the millisecond, where the bound is given so.
//! - A level matches its class: `log.level: err` finds `ERROR`.
//!
//! Bounded: [`MAX_CLAUSES`], [`MAX_DEPTH`], and regular expressions as the filter language bounds them.

mod compound;
mod join;
mod leaf;
mod lucene;
mod minimum;
mod range;
mod regexp;
mod simple;
mod term;
#[cfg(test)]
mod tests;
mod text;
mod times;
mod words;

pub(crate) use join::{all, any, none, not};
pub(crate) use leaf::{Leaf, Term, escape};
pub(crate) use range::{Bounds, bounds as between};
pub(crate) use regexp::anchored;
pub use times::time_range;
pub(crate) use words::side_by_side;

use crate::{
    Error,
    fields::Mapping,
    json::{self, token},
};
use millrace_filter::{Expr, MAX_PATTERNS};
use millrace_model::Timestamp;
use serde_json::Value as Json;

/// How many tests a query may come to.
pub const MAX_CLAUSES: usize = 65_536;
/// How deep queries may nest.
pub const MAX_DEPTH: usize = 30;
/// How deep the expression may be that comes of a query: text that is read again bounds it.
const MAX_EXPRESSION: usize = 60;

/// Queries that Elasticsearch knows and that are not carried out here.
const UNSUPPORTED: &[&str] = &[
    "nested",
    "has_child",
    "has_parent",
    "parent_id",
    "fuzzy",
    "more_like_this",
    "script",
    "percolate",
    "knn",
    "geo_bounding_box",
    "geo_distance",
    "geo_shape",
    "geo_polygon",
    "intervals",
    "span_term",
    "span_near",
    "span_or",
    "span_first",
    "span_multi",
    "terms_set",
    "distance_feature",
    "rank_feature",
    "combined_fields",
    "pinned",
    "sparse_vector",
    "semantic",
];

/// What is read of a request's queries.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) mapping: &'a Mapping,
    pub(crate) now: i64,
    clauses: usize,
    /// Regular expressions that were asked for; those that other queries become are small.
    patterns: usize,
    depth: usize,
}

/// The expression of a query.
///
/// # Errors
/// As Elasticsearch has them.
pub fn query(query: &Json, mapping: &Mapping, now: Timestamp) -> Result<Expr, Error> {
    Reader::new(mapping, now).whole(query)
}

/// The expression of a text in Lucene's syntax, as `q=` gives it.
///
/// # Errors
/// As Elasticsearch has them.
pub fn query_string(
    text: &str,
    options: &QueryString,
    mapping: &Mapping,
    now: Timestamp,
) -> Result<Expr, Error> {
    let mut reader = Reader::new(mapping, now);
    let expr = lucene::read(&mut reader, text, options)?;
    Reader::checked(expr)
}

pub use lucene::QueryString;

impl<'a> Reader<'a> {
    pub(crate) fn new(mapping: &'a Mapping, now: Timestamp) -> Self {
        Self { mapping, now: now.0, clauses: 0, patterns: 0, depth: 0 }
    }

    /// A query that is not part of another.
    pub(crate) fn whole(&mut self, query: &Json) -> Result<Expr, Error> {
        let expr = self.query(query)?;
        Self::checked(expr)
    }

    fn checked(expr: Expr) -> Result<Expr, Error> {
        if join::depth(&expr) > MAX_EXPRESSION {
            return Err(too_deep());
        }
        if join::leaves(&expr) > MAX_CLAUSES {
            return Err(Error::too_many_clauses(MAX_CLAUSES));
        }
        Ok(expr)
    }

    /// Counts a test.
    pub(crate) fn clause(&mut self, count: usize) -> Result<(), Error> {
        self.clauses = self.clauses.saturating_add(count);
        if self.clauses > MAX_CLAUSES { Err(Error::too_many_clauses(MAX_CLAUSES)) } else { Ok(()) }
    }

    /// Counts a regular expression that was asked for.
    pub(crate) fn pattern(&mut self) -> Result<(), Error> {
        self.patterns += 1;
        if self.patterns > MAX_PATTERNS {
            return Err(Error::argument(format!(
                "more than {MAX_PATTERNS} regular expressions in one query; one expression finds any of several: (one|two)"
            )));
        }
        Ok(())
    }

    /// Something inside of something else.
    pub(crate) fn deeper<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.depth >= MAX_DEPTH {
            return Err(too_deep());
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// Tests on a field, and how its values are asked for.
    pub(crate) fn leaf(&mut self, field: &str) -> Result<Leaf, Error> {
        self.clause(1)?;
        Ok(Leaf::new(self.mapping.field(field), self.now))
    }

    pub(crate) fn query(&mut self, query: &Json) -> Result<Expr, Error> {
        let Json::Object(map) = query else {
            return Err(Error::parsing(format!(
                "[_na] query malformed, must start with start_object, found {}",
                token(query)
            )));
        };
        if map.is_empty() {
            return Err(Error::argument("query malformed, empty clause found"));
        }
        let Some((name, body)) = json::single(map) else {
            let second: String =
                map.keys().nth(1).map(|key| key.chars().take(100).collect()).unwrap_or_default();
            let first: String =
                map.keys().next().map(|key| key.chars().take(100).collect()).unwrap_or_default();
            return Err(Error::parsing(format!(
                "[{first}] malformed query, expected [END_OBJECT] but found [FIELD_NAME] [{second}]"
            )));
        };
        self.deeper(|reader| reader.named(name, body))
    }

    fn named(&mut self, name: &str, body: &Json) -> Result<Expr, Error> {
        match name {
            "match_all" => compound::constant(body, name, Expr::All),
            "match_none" => compound::constant(body, name, none()),
            "bool" => compound::boolean(self, body),
            "constant_score" => compound::one(self, body, name, "filter"),
            "boosting" => compound::boosting(self, body),
            "dis_max" => compound::any_of(self, body),
            "function_score" => compound::function_score(self, body),
            "script_score" => compound::one(self, body, name, "query"),
            "match" => text::matches(self, body),
            "match_phrase" => text::phrase(self, body, false),
            "match_phrase_prefix" => text::phrase(self, body, true),
            "match_bool_prefix" => text::bool_prefix(self, body),
            "multi_match" => text::multi(self, body),
            "query_string" => lucene::query(self, body),
            "simple_query_string" => simple::query(self, body),
            "term" => term::term(self, body),
            "terms" => term::terms(self, body),
            "range" => range::query(self, body),
            "exists" => term::exists(self, body),
            "prefix" | "wildcard" | "regexp" => term::pattern(self, body, name),
            "ids" => term::ids(self, body),
            "type" => Ok(Expr::All),
            known if UNSUPPORTED.contains(&known) => {
                Err(Error::argument(format!("[{known}] queries are not supported here")))
            }
            other => {
                let shown: String = other.chars().take(100).collect();
                let cause = Error {
                    kind: "named_object_not_found_exception",
                    ..Error::parsing(format!("unknown field [{shown}]"))
                };
                Err(Error {
                    cause: Some(Box::new(cause)),
                    ..Error::parsing(format!("unknown query [{shown}]"))
                })
            }
        }
    }
}

fn too_deep() -> Error {
    Error::argument(format!(
        "The nested depth of the query exceeds the maximum nested depth for bool queries set in [indices.query.bool.max_nested_depth]: {MAX_DEPTH}"
    ))
}
