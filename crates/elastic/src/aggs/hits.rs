//! `top_hits`: a search more for each bucket, which the caller carries out.

use crate::request::Search;
use millrace_filter::Expr;
use serde_json::{Value as Json, json};

/// The hits of one bucket: a search among what was found, by the bucket's own filter.
#[derive(Debug, Clone, PartialEq)]
pub struct TopHits {
    /// Where they belong: what [`super::Responded::fill`] is called with.
    pub number: usize,
    /// The records of the bucket.
    pub filter: Expr,
    /// How many of them, in which order, and what is shown.
    pub search: Search,
    /// The bucket's keys are about all records, not only about those that were found.
    pub is_global: bool,
}

/// What stands in an answer until the hits are there.
pub(super) const PLACE: &str = "_top_hits";

pub(super) fn place(number: usize) -> Json {
    json!({ PLACE: number })
}

/// The numbers of all places in an answer.
pub(super) fn places(answer: &Json, into: &mut Vec<usize>) {
    match answer {
        Json::Object(map) => {
            if let (1, Some(number)) = (map.len(), map.get(PLACE).and_then(Json::as_u64)) {
                into.push(number as usize);
            } else {
                map.values().for_each(|value| places(value, into));
            }
        }
        Json::Array(values) => values.iter().for_each(|value| places(value, into)),
        _ => {}
    }
}

/// Puts what `make` gives in each place.
pub(super) fn fill(answer: &mut Json, make: &mut dyn FnMut(usize) -> Option<Json>) {
    match answer {
        Json::Object(map) => {
            if let (1, Some(number)) = (map.len(), map.get(PLACE).and_then(Json::as_u64)) {
                if let Some(hits) = make(number as usize) {
                    *answer = hits;
                }
            } else {
                map.values_mut().for_each(|value| fill(value, make));
            }
        }
        Json::Array(values) => values.iter_mut().for_each(|value| fill(value, make)),
        _ => {}
    }
}
