//! What Filebeat's inputs do with lines: `multiline`, `json`, `parsers`, `include_lines` and `exclude_lines`.

use super::container;
use crate::{
    emit::Toml,
    query::{self, Query},
    source::{Source, Step},
    tree::Node,
    units,
};

/// The expression of Filebeat's manual for Java's stack traces.
const JAVA: [&str; 2] =
    [r"^[[:space:]]+(at|\.{3})[[:space:]]+\b|^Caused by:", r"^[[:space:]]+(at|\.{3})\s+\b|^Caused by:"];

/// Expressions for lines that begin with a blank.
const INDENTED: [&str; 7] =
    [r"^[[:space:]]", r"^[[:space:]]+", r"^\s", r"^\s+", r"^[ \t]", r"^[ \t]+", r"^\s*[ \t]"];

/// Converts what the input says of its lines.
pub(super) fn convert(input: &Node, source: &mut Source) {
    if let Some(node) = input.get("multiline") {
        multiline(node, source);
    }
    if let Some(node) = input.get("json") {
        json(node, source);
    }
    for parser in input.get("parsers").map(Node::items).unwrap_or_default() {
        match parser.only() {
            Some(("ndjson", node)) => json(node, source),
            Some(("multiline", node)) => multiline(node, source),
            Some(("container", node)) => {
                node.take();
                container(node, source);
            }
            Some(("syslog", node)) => syslog(node, source),
            Some(("include_message", node)) => keep(node.get("patterns"), source),
            _ => parser.leave("Millrace has no such parser"),
        }
    }
    keep(input.get("include_lines"), source);
    if let Some(query) = input.get("exclude_lines").and_then(|patterns| lines(patterns, source)) {
        source.steps.push(Step::drop(&query));
    }
}

fn keep(patterns: Option<&Node>, source: &mut Source) {
    if let Some(query) = patterns.and_then(|patterns| lines(patterns, source)) {
        source.steps.push(Step::keep(&query));
    }
}

/// Lines that one of the expressions matches. If one of them cannot be said, none is: half a list keeps too little.
fn lines(patterns: &Node, source: &Source) -> Option<Query> {
    let texts = patterns.texts();
    let queries =
        texts.iter().map(|pattern| Query::regex(&source.message, pattern)).collect::<Result<Vec<_>, _>>();
    Query::any(patterns.ok(queries)?)
}

fn json(node: &Node, source: &mut Source) {
    source.parse(node, Toml::text("json"));
    if let Some(under_root) = node.get("keys_under_root")
        && under_root.flag() == Some(false)
    {
        under_root.leave("fields of JSON stand at the root of a record's attributes, not under \"json\"");
    }
    if let Some(target) = node.get("target")
        && target.text().is_some_and(|target| !target.is_empty())
    {
        target.leave("fields of JSON stand at the root of a record's attributes");
    }
    if let Some(key) = node.get("message_key")
        && let Some(name) = key.text()
        && let Some(name) = key.ok(query::attribute(&name))
    {
        source.message = name;
    }
    for key in ["add_error_key", "overwrite_keys", "expand_keys", "ignore_decoding_error"] {
        // What cannot be read is kept whole, with log.parse_error; JSON's fields win; dotted names are paths.
        node.get(key).into_iter().for_each(Node::take);
    }
}

fn syslog(node: &Node, source: &mut Source) {
    source.parse(node, Toml::text("syslog"));
    if let Some(zone) = node.get("timezone") {
        source.timezone(zone);
    }
}

fn multiline(node: &Node, source: &mut Source) {
    let kind = node.get("type").and_then(Node::plain);
    if kind.is_some_and(|kind| kind != "pattern") {
        node.leave("Millrace tells a record's first line by an expression; it does not count lines");
        return;
    }
    let Some(pattern) = node.get("pattern").and_then(Node::text) else {
        node.leave("multiline without a pattern");
        return;
    };
    let negate = node.get("negate").and_then(Node::flag).unwrap_or(false);
    let after = node.get("match").and_then(Node::plain).is_none_or(|place| place == "after");
    match (after, negate) {
        (true, true) => source.starts_with(node, &pattern),
        (true, false) if JAVA.contains(&pattern.as_str()) => source.multiline(node, Toml::text("java")),
        (true, false) if INDENTED.contains(&pattern.as_str()) => source.starts_with(node, r"^\S"),
        _ => {
            node.leave(
                "Millrace needs an expression for a record's first line: multiline = { start = \"…\" }, or one of \"java\", \
                 \"python\", \"go\", \"ruby\", \"node\"",
            );
            return;
        }
    }
    waiting(node, source);
    bounds(node);
}

fn waiting(node: &Node, source: &mut Source) {
    let Some(timeout) = node.get("timeout") else { return };
    if !source.has("multiline") {
        timeout.leave("no lines are put together");
        return;
    }
    if let Some(text) = timeout.plain()
        && let Some(wait) = timeout.ok(units::some_duration(&text))
    {
        source.set("multiline_wait", Toml::Text(wait));
    }
}

/// What bounds a record in Filebeat and not here.
fn bounds(node: &Node) {
    if let Some(most) = node.get("max_lines") {
        most.leave("a record is bounded by max_line, in bytes");
    }
    if let Some(flush) = node.get("flush_pattern") {
        flush.leave("a record ends where the next begins");
    }
    if let Some(skip) = node.get("skip_newline")
        && skip.flag() == Some(true)
    {
        skip.leave("the newlines between a record's lines stay");
    }
}
