//! Millrace's own rules: a query, and what the records that it matches must be together. What each kind asks for stands in a
//! mapping that is called like it; see [`crate::kinds`].
//!
//! ```yaml
//! title: SSH brute force
//! kind: threshold
//! level: high
//! query: '"Failed password"'
//! extract: 'from (?P<source_ip>\S+) port'   # named groups become fields of this rule; one pattern or a list
//! threshold: { count: 8, window: 2m, group_by: [source_ip] }
//! distinct: user                            # optional, of thresholds: count different values of this field instead of records
//! resolve_after: 10m                        # optional: quiet for so long, it is over
//! ```

use crate::{
    cases,
    document::{Document, kind},
    finding::{Level, digest},
    keys::Keys,
    kinds::{
        RuleKind,
        read::{self, KINDS, ReadFile, Terms},
        scheduled,
    },
    matching::{Field, Matches},
    rule::{Rule, RuleError, derived_id},
};
use millrace_filter::Filter;
use millrace_model::{StreamName, closest};
use regex::Regex;
use serde_yaml_ng::Value as Yaml;

/// What rules of all kinds may say, besides the mapping of their kind.
const KEYS: &[&str] = &[
    "title",
    "id",
    "kind",
    "description",
    "level",
    "query",
    "distinct",
    "extract",
    "tags",
    "streams",
    "resolve_after",
    "tests",
    "author",
    "date",
    "modified",
    "references",
    "falsepositives",
    "status",
    "license",
    "related",
];

/// Is this a rule of ours?
pub(crate) fn is_ours(document: &Document<'_>) -> bool {
    document.root.contains_key("kind")
        || document.root.contains_key("query")
        || document.root.contains_key("threshold")
}

/// Reads a rule; says everything that is wrong with it, not the first thing only. `files` reads what a list names.
pub(crate) fn read(
    document: &Document<'_>,
    errors: &mut Vec<RuleError>,
    files: &mut ReadFile<'_>,
) -> Option<Rule> {
    let before = errors.len();
    let mut keys = Keys::of(document, errors);
    let name = kind_name(&mut keys);
    let of_kind = name.as_ref().map_or(KINDS, std::slice::from_ref);
    let known: Vec<&'static str> = KEYS.iter().chain(of_kind).copied().collect();
    keys.known(&known);
    let title = keys.text("title").filter(|title| !title.trim().is_empty());
    if title.is_none() {
        keys.missing("title", "what the rule is called");
    }
    let id = keys.text("id");
    if id.as_ref().is_some_and(|id| id.is_empty() || id.len() > 200 || id.chars().any(char::is_control)) {
        keys.wrong("id", "1 to 200 printable characters expected");
    }
    let level = keys.parsed("level", str::parse::<Level>).unwrap_or_default();
    // What a sequence is about is said by its steps.
    let matches = match name {
        Some("sequence") if !keys.map.contains_key("query") => Some(Filter::ALL),
        // It looks at no record of the stream.
        Some("scheduled") => None,
        _ => keys.required("query", "a query", read::query),
    };
    let extract = extract(&mut keys);
    let streams = keys.list("streams");
    let streams = streams.iter().filter_map(|name| match name.parse::<StreamName>() {
        Ok(name) => Some(name),
        Err(problem) => {
            keys.wrong("streams", problem.to_string());
            None
        }
    });
    let streams: Vec<StreamName> = streams.collect();
    let distinct = keys.text("distinct");
    if distinct.is_some() && name.is_some_and(|name| name != "threshold") {
        keys.wrong("distinct", "only thresholds count different values; see `kind: cardinality`");
    }
    if name == Some("scheduled") {
        for (key, instead) in [
            ("extract", "a pipe `| extract` does that"),
            ("tests", "lines are no records that can be searched"),
        ] {
            if keys.map.contains_key(key) {
                keys.wrong(key, format!("not for scheduled queries: {instead}"));
            }
        }
    }
    let terms = name.and_then(|name| terms(&mut keys, name, distinct.as_deref(), files));
    let resolve_after = keys.parsed("resolve_after", read::span(read::MAX_WINDOW));
    let (description, tags) = (keys.text("description").unwrap_or_default(), keys.list("tags"));
    let cases = cases::read(document, keys.errors);
    if errors.len() > before {
        return None;
    }
    let (title, Terms { kind, group_by }) = (title?, terms?);
    let matches = matches.map(|query| Matches { query, extract });
    Some(Rule {
        id: id.unwrap_or_else(|| derived_id(document.file, &title)),
        name: None,
        title,
        description,
        level,
        tags,
        file: document.file.to_owned(),
        line: document.line,
        digest: decides_by(&kind, matches.as_ref(), &group_by, &streams),
        streams,
        cases,
        group_by: group_by.iter().map(|name| Field::new(name)).collect(),
        resolve_after,
        matches,
        correlates: None,
        is_silent: false,
        kind,
    })
}

/// What the rule says that it is.
fn kind_name(keys: &mut Keys<'_, '_>) -> Option<&'static str> {
    let Some(text) = keys.text("kind") else {
        keys.missing("kind", "`kind: threshold`, or another,");
        return None;
    };
    let name = KINDS.iter().copied().find(|name| *name == text);
    if name.is_none() {
        let problem = match closest(&text, KINDS.iter().copied()) {
            Some(meant) => format!("no kind is called {text:?}; did you mean {meant:?}?"),
            None => format!("one of {} expected, found {text:?}", KINDS.join(", ")),
        };
        keys.wrong("kind", problem);
    }
    name
}

/// The mapping that is called like the kind.
fn terms(
    outer: &mut Keys<'_, '_>,
    name: &'static str,
    distinct: Option<&str>,
    files: &mut ReadFile<'_>,
) -> Option<Terms> {
    let map = match outer.map.get(name) {
        Some(Yaml::Mapping(map)) => map,
        Some(other) => {
            let found = kind(other);
            outer.wrong(name, format!("a mapping expected, found {found}"));
            return None;
        }
        None => {
            outer.missing(name, "a mapping of what it asks for");
            return None;
        }
    };
    if name == "scheduled" {
        let query = outer.required("query", "a query with pipes", scheduled::query);
        let text = outer.text("query").unwrap_or_default();
        let path = [name];
        let mut keys = outer.inner(map, &path);
        let group_by = read::group_by(&mut keys);
        return scheduled::terms(&mut keys, &text, query?, group_by?);
    }
    read::terms(name, &mut outer.inner(map, &[name]), distinct, files)
}

fn extract(keys: &mut Keys<'_, '_>) -> Vec<Regex> {
    let mut patterns = Vec::new();
    for text in keys.list("extract") {
        match millrace_filter::compile(&text) {
            Ok(pattern) if pattern.capture_names().flatten().next().is_none() => {
                keys.wrong("extract", "a pattern with at least one named group, (?P<name>…), expected");
            }
            Ok(pattern) => patterns.push(pattern),
            Err(problem) => keys.wrong("extract", problem),
        }
    }
    patterns
}

/// A digest of everything that decides which records count together, and how.
fn decides_by(
    kind: &RuleKind,
    matches: Option<&Matches>,
    group_by: &[String],
    streams: &[StreamName],
) -> u128 {
    let mut parts = vec![
        serde_json::to_string(kind).unwrap_or_default(),
        serde_json::to_string(&matches).unwrap_or_default(),
        "group_by".to_owned(),
    ];
    if let RuleKind::List(list) = kind {
        parts.push(format!("{:032x}", list.digest));
    }
    parts.extend(group_by.iter().cloned());
    parts.push("streams".to_owned());
    parts.extend(streams.iter().map(|stream| stream.as_str().to_owned()));
    digest(parts.iter().map(String::as_str))
}
