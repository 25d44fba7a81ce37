//! Which rules of our own a line can match at all. Of most queries follows that one of a few words is in the line: one automaton looks
//! for the words of all rules at once, and only the rules of those that are there are asked.
//!
//! **Invariant:** whatever a query matches, it is asked about.

use crate::matching::body_text;
use aho_corasick::{AhoCorasick, MatchKind};
use millrace_filter::{Expr, Filter, Text};
use millrace_model::{Value, text};
use regex_syntax::hir::literal::{ExtractKind, Extractor};
use std::{borrow::Cow, collections::BTreeMap};

/// Shorter needles are in every other line.
const SHORTEST: usize = 2;
/// A query that has one of more needles is asked about every line.
const MOST: usize = 64;

/// The words that lead to each query.
#[derive(Debug, Default)]
pub(crate) struct Needles {
    automaton: Option<AhoCorasick>,
    /// For each needle the places of the queries that it leads to.
    places: Vec<Vec<usize>>,
    /// The places of those that are asked about every record.
    always: Vec<usize>,
}

impl Needles {
    /// Of queries, each with its place.
    pub(crate) fn of<'f>(queries: impl Iterator<Item = (usize, &'f Filter)>) -> Self {
        let mut by_needle: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut always = Vec::new();
        for (place, query) in queries {
            match needles(query.root()) {
                Some(needles) => {
                    for needle in needles {
                        by_needle.entry(needle).or_default().push(place);
                    }
                }
                None => always.push(place),
            }
        }
        let (needles, places): (Vec<String>, Vec<Vec<usize>>) = by_needle.into_iter().unzip();
        let mut builder = AhoCorasick::builder();
        builder.match_kind(MatchKind::Standard).ascii_case_insensitive(true);
        let automaton = Some(needles).filter(|needles| !needles.is_empty());
        let automaton = automaton.and_then(|needles| builder.build(needles).ok());
        if automaton.is_none() {
            // Too many for an automaton.
            always.extend(places.iter().flatten());
            always.sort_unstable();
            always.dedup();
        }
        Self { automaton, places, always }
    }

    /// The places of the queries that a record with this body can match.
    pub(crate) fn lead_to(&self, body: &Value) -> Vec<usize> {
        let mut places = self.always.clone();
        let Some(automaton) = &self.automaton else { return places };
        let body = body_text(body);
        let body = if body.is_ascii() { body } else { Cow::Owned(text::fold(&body)) };
        let mut seen = Vec::new();
        for found in automaton.find_overlapping_iter(body.as_ref()) {
            let needle = found.pattern().as_usize();
            if seen.is_empty() {
                seen = vec![false; self.places.len()];
            }
            if !std::mem::replace(&mut seen[needle], true) {
                places.extend(&self.places[needle]);
            }
        }
        if !seen.is_empty() {
            places.sort_unstable();
            places.dedup();
        }
        places
    }
}

/// Folded texts of which one is in every folded body that this matches; `None`: there are none, or they select too little.
fn needles(expr: &Expr) -> Option<Vec<String>> {
    match expr {
        Expr::All | Expr::Not(_) | Expr::Field(_) => None,
        Expr::And(terms) => terms
            .iter()
            .filter_map(needles)
            .max_by_key(|needles| (needles.iter().map(String::len).min(), std::cmp::Reverse(needles.len()))),
        Expr::Or(terms) => {
            let all: Option<Vec<Vec<String>>> = terms.iter().map(needles).collect();
            Some(all?.concat()).filter(|all| all.len() <= MOST)
        }
        Expr::Text(test) => of_text(test),
    }
}

fn of_text(test: &Text) -> Option<Vec<String>> {
    let found = match test {
        Text::Phrase { tokens, .. } => vec![tokens.iter().max_by_key(|token| token.len())?.clone()],
        Text::Substring(part) => vec![part.clone()],
        Text::Regex(pattern) => of_regex(pattern.as_str())?,
        Text::Token(_) | Text::Part(_) => return None,
    };
    found.iter().all(|needle| needle.len() >= SHORTEST).then_some(found)
}

/// What each match of a regular expression begins or ends with, whichever selects more.
fn of_regex(pattern: &str) -> Option<Vec<String>> {
    let hir = regex_syntax::parse(pattern).ok()?;
    let literals = |kind: ExtractKind| {
        let mut extractor = Extractor::new();
        let found = extractor.kind(kind).limit_total(MOST).extract(&hir);
        let texts = found.literals()?.iter().map(|literal| {
            // A character may be cut.
            std::str::from_utf8(literal.as_bytes()).ok().map(text::fold)
        });
        texts.collect::<Option<Vec<String>>>().filter(|texts| !texts.is_empty())
    };
    [ExtractKind::Prefix, ExtractKind::Suffix]
        .into_iter()
        .filter_map(literals)
        .max_by_key(|texts| texts.iter().map(String::len).min())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter(query: &str) -> Filter {
        millrace_filter::parse(query).unwrap()
    }

    #[test]
    fn what_is_looked_for() {
        for (query, expected) in [
            ("failed", Some("failed")),
            ("\"Failed password for\"", Some("password")),
            ("\"I/O error\" /I\\/O error on/", Some("i/o error on")),
            ("failed OR \"invalid user\"", Some("failed,invalid")),
            ("failed NOT password", Some("failed")),
            ("NOT failed", None),
            ("failed OR level:error", None),
            ("failed level:error", Some("failed")),
            ("*", None),
            ("/EXT[234]-fs error/", Some("ext2-fs error,ext3-fs error,ext4-fs error")),
            ("/\\d+ blocked for more/", Some(" blocked for more")),
            ("/[a-z]+/", None),
            ("fail*", None),
            ("x", None),
        ] {
            let found = needles(filter(query).root()).map(|needles| needles.join(","));
            assert_eq!(found.as_deref(), expected, "{query}");
        }
    }

    proptest! {
        #[test]
        fn what_matches_is_asked_about(
            words in proptest::collection::vec(prop_oneof![
                Just("failed"), Just("FAILED"), Just("pass"), Just("\u{212a}elvin"), Just("kelvin"), Just("\u{130}stanbul"),
                Just("istanbul"), Just("ſegfault"), Just("segfault"), Just("I/O"), Just("error,"), Just("x"), Just("é"), Just("É"),
            ], 0..8),
            separator in prop_oneof![Just(" "), Just(""), Just("-")],
        ) {
            let queries: Vec<Filter> = [
                "failed", "\"failed pass\"", "kelvin", "istanbul", "i\u{307}stanbul", "segfault", "/(?i)segfault/", "/(?i)kelvin$/", "/I\\/O/",
                "error OR failed", "x", "é", "/é/", "/(?i)É/", "(failed OR pass) NOT x", "\"/\"", "*lvin", "/f(?:ailed|oo)/", "/[A-Z]+ pass/",
            ].iter().map(|query| filter(query)).collect();
            let all = Needles::of(queries.iter().enumerate());
            let record = millrace_model::LogRecord { body: Value::from(words.join(separator)), ..Default::default() };
            let asked = all.lead_to(&record.body);
            for (place, query) in queries.iter().enumerate() {
                prop_assert!(asked.contains(&place) || !query.matches(&record), "{} of {:?}", query, record.body);
            }
        }
    }
}
