//! Promtail's pipeline stages: parsers, steps, or a reason why not.

use crate::{
    emit::Toml,
    query::{self, Query},
    source::{self, Source, Step},
    times,
    tree::Node,
};

/// What has no counterpart.
const ADVICE: &[(&str, &str)] = &[
    ("match", "write steps with `when` for what the selector chooses"),
    ("output", "a record's body is the line as it was; what a parser reads becomes attributes"),
    ("template", "no step makes new texts"),
    ("replace", "the line stays as it was; [agent.redact] takes out what must not leave the host"),
    ("pack", "nothing needs packing: attributes are kept as they are"),
    ("unpack", "nothing needs unpacking: attributes are kept as they are"),
    ("tenant", "Millrace has streams: `stream` says where a source's records go"),
    ("metrics", "counts are made when they are asked for: `stats count() by …`"),
    ("labeldrop", "no step takes an attribute away; none makes a stream"),
    ("labelallow", "no step takes an attribute away; none makes a stream"),
    ("decolorize", "the line stays as it was"),
    ("eventlogmessage", "Millrace reads no event log of Windows"),
    (
        "geoip",
        "set a step such as enrich = { mmdb = \"…\", by = \"client_ip\" }, once the database is in its place",
    ),
    ("tail", "Millrace has no such stage"),
];

/// Converts a list of stages.
pub(super) fn convert(list: &Node, source: &mut Source) {
    for item in list.items() {
        match item.only() {
            Some((kind, node)) => one(kind, node, source),
            None => item.leave("a stage is a map with one key, its name"),
        }
    }
}

fn one(kind: &str, node: &Node, source: &mut Source) {
    match kind {
        "cri" | "docker" => source.envelope(node),
        "json" => parsed(node, "json", "expressions", source),
        "logfmt" => parsed(node, "logfmt", "mapping", source),
        "regex" => regex(node, source),
        "multiline" => multiline(node, source),
        "timestamp" => timestamp(node, source),
        "labels" | "structured_metadata" => labels(node, source),
        "static_labels" => {
            node.take();
            source.add(source::attributes(node, ""));
        }
        "drop" => drop_step(node, source),
        "sampling" => sampling(node, source),
        "limit" => limit(node, source),
        other => {
            let advice = ADVICE.iter().find(|(name, _)| *name == other).map(|(_, why)| *why);
            node.leave(advice.unwrap_or("Millrace has no such stage"));
        }
    }
}

/// Does the stage read something else than the line?
fn reads_another(node: &Node) -> bool {
    let other = node.get("source").and_then(Node::text);
    let other =
        other.is_some_and(|field| !["", "message", "content", "log", "entry"].contains(&field.as_str()));
    if other {
        node.leave("parsers read the line, not a field of it");
    }
    other
}

/// JSON and logfmt: their fields, under other names where the stage gives them some.
fn parsed(node: &Node, parser: &'static str, names: &str, source: &mut Source) {
    if reads_another(node) {
        return;
    }
    source.parse(node, Toml::text(parser));
    node.get(names).into_iter().for_each(Node::take);
    for (name, path) in node.get(names).map(Node::entries).unwrap_or_default() {
        rename(path, name, source);
    }
    if let Some(flag) = node.get("drop_malformed")
        && flag.flag() == Some(true)
    {
        source.steps.extend(flag.ok(Query::exists("log.parse_error")).map(|query| Step::drop(&query)));
    }
}

/// Gives what lies under a path a name, if it is another.
fn rename(path: &Node, name: &str, source: &mut Source) {
    if path.is_null() {
        path.take();
        return;
    }
    let Some(text) = path.plain() else { return };
    let text = text.trim().trim_matches('"');
    if text.is_empty() || text == name {
        return;
    }
    let simple = text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '@'));
    if !simple {
        path.leave("attributes are found by their path: queries ask for it as it is in the record");
        return;
    }
    if let Some(why) = query::place(text).or_else(|| query::place(name)) {
        path.leave(why);
        return;
    }
    if let (Some(from), Some(to)) = (path.ok(query::attribute(text)), path.ok(query::attribute(name))) {
        source.steps.push(Step::rename(from, &to));
    }
}

fn regex(node: &Node, source: &mut Source) {
    if reads_another(node) {
        return;
    }
    let Some(expression) = node.get("expression") else {
        node.leave("a regex without an expression");
        return;
    };
    let Some(pattern) = expression.text() else { return };
    if let Some(()) = expression.ok(query::check_named(&pattern)) {
        source.parse(node, Toml::Table(vec![("regex".to_owned(), Toml::Text(pattern))]));
    }
}

fn multiline(node: &Node, source: &mut Source) {
    let Some(first) = node.get("firstline") else {
        node.leave("multiline without firstline");
        return;
    };
    let Some(pattern) = first.text() else { return };
    source.starts_with(node, &pattern);
    if source.has("multiline") {
        match node.get("max_wait_time") {
            Some(wait) => source.duration("multiline_wait", wait),
            // Promtail's default.
            None => source.set("multiline_wait", Toml::text("3s")),
        }
    }
    if let Some(most) = node.get("max_lines") {
        most.leave("a record is bounded by max_line, in bytes");
    }
}

fn timestamp(node: &Node, source: &mut Source) {
    let (Some(field), Some(layout)) = (node.get("source"), node.get("format")) else {
        node.leave("source and format were expected");
        return;
    };
    let (Some(field), Some(text)) = (field.plain(), layout.plain()) else { return };
    match times::from_go(&text) {
        Ok(format) => source.time(node, Some(field), format),
        Err(why) => layout.leave(why),
    }
    if let Some(zone) = node.get("location") {
        source.timezone(zone);
    }
    if let Some(fallback) = node.get("fallback_formats") {
        fallback.leave("a source has one format of times");
    }
    if let Some(action) = node.get("action_on_failure") {
        // A time that cannot be read is the one at which the line was seen.
        action.take();
    }
}

fn labels(node: &Node, source: &mut Source) {
    node.take();
    for (name, field) in node.entries() {
        rename(field, name, source);
    }
}

/// A stage that drops lines: all that it asks for must hold.
fn drop_step(node: &Node, source: &mut Source) {
    for key in ["older_than", "longer_than"] {
        if node.get(key).is_some() {
            node.leave(format!("no query asks for {key}"));
            return;
        }
    }
    node.get("drop_counter_reason").into_iter().for_each(Node::take);
    let fields = node.get("source").map(Node::texts).unwrap_or_default();
    if fields.len() > 1 {
        node.leave("a query asks one field at a time");
        return;
    }
    let field = match fields.first().map(String::as_str) {
        Some("message" | "msg") if source.reads_json() => "attributes.message",
        Some("" | "message") | None => "body",
        Some(field) => field,
    };
    let query = match (node.get("expression"), node.get("value")) {
        (Some(expression), None) => {
            expression.text().and_then(|text| expression.ok(Query::regex(field, &text)))
        }
        (None, Some(value)) => value.text().and_then(|text| value.ok(Query::equals(field, &text))),
        (None, None) if field != "body" => node.ok(Query::exists(field)),
        _ => {
            node.leave("an expression, a value or a source was expected");
            None
        }
    };
    node.get("separator").into_iter().for_each(Node::take);
    source.steps.extend(query.map(|query| Step::drop(&query)));
}

fn sampling(node: &Node, source: &mut Source) {
    let Some(rate) = node.get("rate") else {
        node.leave("sampling without a rate");
        return;
    };
    match rate.number() {
        Some(share) if (0.0..=1.0).contains(&share) => source.steps.push(Step::sample(share)),
        Some(_) => rate.leave("a share from 0 to 1 was expected"),
        None => {}
    }
}

fn limit(node: &Node, source: &mut Source) {
    if node.get("drop").and_then(Node::flag) != Some(true) {
        node.leave("a step drops what is beyond its rate, or there is none: lines are not held back");
        return;
    }
    let Some(rate) = node.get("rate").and_then(Node::number).filter(|rate| *rate > 0.0) else {
        node.leave("a limit without a rate");
        return;
    };
    let mut step = Step::rate_limit(&format!("{rate}/s"));
    if let Some(burst) = node.get("burst").and_then(Node::number) {
        step = step.with("burst", Toml::Float(burst.max(1.0)));
    }
    if let Some(label) = node.get("by_label_name")
        && let Some(name) = label.plain().filter(|name| !name.is_empty())
    {
        step = step.with("key", Toml::Text(name));
    }
    source.steps.push(step);
}
