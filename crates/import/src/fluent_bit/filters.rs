//! Fluent Bit's filters: steps of the sources whose records they see.

use super::{
    inputs::{self, Routes},
    parsers, plugins, routes,
};
use crate::{
    convert::Converted,
    emit::Toml,
    query::{self, Query},
    source::{Source, Step},
    tree::Node,
};

/// Converts all filters, in order.
pub(super) fn convert(root: &Node, tags: &Routes, converted: &mut Converted) {
    for filter in plugins(root, "filter") {
        let Some(kind) = filter.get("name").and_then(Node::plain).map(|name| name.to_lowercase()) else {
            filter.leave("a filter without a name");
            continue;
        };
        let mut seen = false;
        for (source, tag) in converted.sources_mut().zip(tags) {
            match routes::sees(filter, tag) {
                Some(true) => {
                    if !seen {
                        // What is not taken over of it is told there.
                        source.at.push(filter.at().to_owned());
                    }
                    seen = true;
                    one(root, filter, &kind, source);
                }
                Some(false) => {}
                None => {
                    seen = true;
                    filter.leave("which inputs it is for cannot be told: write it as steps of these sources");
                }
            }
        }
        if !seen {
            filter.leave("no source that was taken over has a tag that it matches");
        }
    }
}

fn one(root: &Node, filter: &Node, kind: &str, source: &mut Source) {
    match kind {
        "grep" => grep(filter, source),
        "record_modifier" => record_modifier(filter, source),
        "modify" => modify(filter, source),
        "parser" => parser(root, filter, source),
        "multiline" => {
            if let Some(node) = filter.get("multiline.parser") {
                inputs::multiline(node, source);
            }
            ["multiline.key_content", "mode", "buffer"].iter().filter_map(|key| filter.get(key)).for_each(Node::take);
        }
        "throttle" => throttle(filter, source),
        "kubernetes" => filter.leave(
            "not needed for namespace, pod and container, which the path tells; labels and annotations are not added",
        ),
        "sysinfo" | "aws" | "ecs" => filter.leave("host.name is in each record's resource; an `add` step sets more"),
        "geoip2" => filter.leave("set a step such as enrich = { mmdb = \"…\", by = \"client_ip\" }"),
        "lua" | "wasm" => filter.leave("Millrace runs no scripts: see `process` in docs/intake.md"),
        "rewrite_tag" => filter.leave("records have no tags: `stream` says where a source's records go"),
        "nest" => filter.leave("attributes are found by their path, however they are nested"),
        other => filter.leave(format!("Millrace has no step like {other:?}")),
    }
}

/// A key as Fluent Bit has it (`log`, `$kubernetes['namespace_name']`), as a field's name.
fn field(key: &str, source: &Source) -> String {
    let path = key.strip_prefix('$').unwrap_or(key).replace("']['", ".").replace("['", ".").replace("']", "");
    match path.as_str() {
        "log" | "message" | "MESSAGE" if !source.reads_json() => "body".to_owned(),
        "MESSAGE" => "body".to_owned(),
        "log" if source.enveloped => "body".to_owned(),
        "kubernetes.namespace_name" => "k8s.namespace.name".to_owned(),
        "kubernetes.pod_name" => "k8s.pod.name".to_owned(),
        "kubernetes.pod_id" => "k8s.pod.uid".to_owned(),
        "kubernetes.container_name" => "k8s.container.name".to_owned(),
        "kubernetes.host" => "host.name".to_owned(),
        "stream" => "log.iostream".to_owned(),
        "message" => "attributes.message".to_owned(),
        _ => path,
    }
}

fn grep(filter: &Node, source: &mut Source) {
    let together = filter.get("logical_op").and_then(Node::plain).map(|word| word.to_lowercase());
    let rules = |key: &str| {
        let rules = filter.all(key).flat_map(Node::items);
        let queries = rules.filter_map(|rule| {
            let text = rule.text()?;
            let split = text.split_once(char::is_whitespace);
            let (key, pattern) =
                rule.ok(split.ok_or_else(|| "a key and an expression were expected".to_owned()))?;
            let pattern = parsers::undelimited(pattern.trim());
            rule.ok(Query::regex(&field(key, source), &pattern))
        });
        queries.collect::<Vec<_>>()
    };
    let (keep, exclude) = (rules("regex"), rules("exclude"));
    let all = filter.all("regex").chain(filter.all("exclude")).flat_map(Node::items).count();
    match together.as_deref() {
        // With one that cannot be said, the others mean something else.
        Some("or" | "and") if keep.len() + exclude.len() < all => {
            filter.leave("not all of its rules can be said, and they are meant together");
        }
        Some("or") => {
            source.steps.extend(Query::any(keep).map(|query| Step::keep(&query)));
            source.steps.extend(Query::any(exclude).map(|query| Step::drop(&query)));
        }
        Some("and") => {
            source.steps.extend(Query::all(keep).map(|query| Step::keep(&query)));
            source.steps.extend(Query::all(exclude).map(|query| Step::drop(&query)));
        }
        _ => {
            source.steps.extend(keep.iter().map(Step::keep));
            source.steps.extend(exclude.iter().map(Step::drop));
        }
    }
}

/// A rule's text: a key, and what follows it.
fn pair(rule: &Node) -> Option<(String, String)> {
    let text = rule.text()?;
    let (key, value) = text.split_once(char::is_whitespace).unwrap_or((&text, ""));
    Some((key.to_owned(), value.trim().trim_matches('"').to_owned()))
}

fn record_modifier(filter: &Node, source: &mut Source) {
    let mut values = Vec::new();
    for rule in filter.all("record").flat_map(Node::items) {
        if let Some((key, value)) = pair(rule) {
            values.extend(rule.ok(query::attribute(&key)).map(|key| (key, Toml::Text(value))));
        }
    }
    source.add(values);
    for key in ["remove_key", "allowlist_key", "whitelist_key", "uuid_key"] {
        for node in filter.all(key) {
            node.leave(
                "no step takes an attribute away; [agent.redact] takes out what must not leave the host",
            );
        }
    }
}

/// Rules in the order in which they stand.
fn modify(filter: &Node, source: &mut Source) {
    if filter.get("condition").is_some() {
        filter.leave("its condition is not taken over: write steps with `when`");
        return;
    }
    for (name, node) in filter.entries() {
        for rule in node.items() {
            match name.as_str() {
                "set" | "add" => add(rule, name == "add", source),
                "rename" | "hard_rename" => rename(rule, name == "rename", source),
                "name" | "match" | "match_regex" => {}
                "alias" => node.take(),
                "copy" | "hard_copy" => rule.leave("no step copies; queries find a field by several names"),
                _ => rule.leave(
                    "no step takes an attribute away; [agent.redact] takes out what must not leave the host",
                ),
            }
        }
    }
}

fn add(rule: &Node, if_absent: bool, source: &mut Source) {
    let Some((key, value)) = pair(rule) else { return };
    let Some(key) = rule.ok(query::attribute(&key)) else { return };
    let Some(there) = rule.ok(Query::exists(&key)) else { return };
    let absent = if_absent.then(|| there.negated());
    source.steps.push(Step::add(vec![(key, Toml::Text(value))]).when(absent.as_ref()));
}

fn rename(rule: &Node, if_absent: bool, source: &mut Source) {
    let Some((from, to)) = pair(rule) else { return };
    if field(&from, source) == "body" {
        rule.leave("a record's body stays where it is");
        return;
    }
    if let Some(why) = query::place(&from).or_else(|| query::place(&to)) {
        rule.leave(why);
        return;
    }
    let (Some(from), Some(to)) = (rule.ok(query::attribute(&from)), rule.ok(query::attribute(&to))) else {
        return;
    };
    let Some(there) = rule.ok(Query::exists(&to)) else { return };
    let absent = if_absent.then(|| there.negated());
    source.steps.push(Step::rename(from, &to).when(absent.as_ref()));
}

fn parser(root: &Node, filter: &Node, source: &mut Source) {
    let key = filter.get("key_name").and_then(Node::plain);
    if key.is_some_and(|key| field(&key, source) != "body") {
        filter.leave("parsers read the line, not a field of it");
        return;
    }
    let mut parsers_named = filter.all("parser").flat_map(Node::items);
    if let Some(first) = parsers_named.next() {
        parsers::apply(root, first, source);
    }
    for more in parsers_named {
        more.leave("add it to `parse`: parsers are tried in order");
    }
    for key in ["reserve_data", "preserve_key", "unescape_key"] {
        // The line stays, and what was known of the record, too.
        filter.get(key).into_iter().for_each(Node::take);
    }
}

fn throttle(filter: &Node, source: &mut Source) {
    let rate = filter.get("rate").and_then(Node::number).filter(|rate| *rate > 0.0);
    let interval = filter.get("interval").map_or_else(|| Some("1s".to_owned()), Node::plain);
    let unit = match interval.as_deref() {
        Some("1s" | "1") => "s",
        Some("1m") => "m",
        Some("1h") => "h",
        _ => {
            filter.leave("a rate is for a second, a minute or an hour: rate_limit = \"100/s\"");
            return;
        }
    };
    match rate {
        Some(rate) => source.steps.push(Step::rate_limit(&format!("{rate}/{unit}"))),
        None => filter.leave("a rate is missing"),
    }
    if let Some(window) = filter.get("window") {
        window.leave("a rate is kept by a bucket, not by a window: `burst` says how many may come at once");
    }
}
