//! Fluent Bit's parsers: those that everybody has, and those that the file itself spells out.

use super::plugins;
use crate::{
    emit::Toml,
    query,
    source::Source,
    times,
    tree::{Data, Node},
};

/// Those of Fluent Bit's own files that Millrace has, too.
const WELL_KNOWN: &[(&str, &str)] = &[
    ("json", "json"),
    ("docker", "docker"),
    ("docker-daemon", "docker"),
    ("cri", "cri"),
    ("containerd", "cri"),
    ("logfmt", "logfmt"),
    ("nginx", "access"),
    ("apache", "access"),
    ("apache2", "access"),
    ("k8s-nginx-ingress", "access"),
    ("syslog", "syslog"),
    ("syslog-rfc5424", "syslog"),
    ("syslog-rfc3164", "syslog"),
    ("syslog-rfc3164-local", "syslog"),
];

/// Reads a source's lines with the parser that `node` names.
pub(super) fn apply(root: &Node, node: &Node, source: &mut Source) {
    let Some(name) = node.plain() else { return };
    if let Some(parser) = named(root, &name) {
        spelled(parser, node, source);
        return;
    }
    match WELL_KNOWN.iter().find(|(known, _)| *known == name) {
        Some((_, "cri" | "docker")) => source.envelope(node),
        Some((_, ours)) => source.parse(node, Toml::text(ours)),
        None => node.leave(format!(
            "the parser {name:?} is not in this file: parse = [{{ regex = '…' }}] or another of docs/intake.md says it"
        )),
    }
}

/// A parser of the file's own, by its name.
pub(super) fn named<'a>(root: &'a Node, name: &str) -> Option<&'a Node> {
    let lists = root.get("parsers").into_iter().flat_map(Node::items);
    let mut all = plugins(root, "parser").into_iter().chain(lists);
    let found = all.find(|parser| {
        // One that is not meant stays untouched, so that it is told that nobody uses it.
        parser.get("name").is_some_and(|there| matches!(there.data(), Data::Text(text) if text == name))
    });
    found.inspect(|parser| parser.get("name").into_iter().for_each(Node::take))
}

/// Converts it.
fn spelled(parser: &Node, used: &Node, source: &mut Source) {
    let format = parser.get("format").and_then(Node::plain).map(|format| format.to_lowercase());
    match format.as_deref() {
        Some("json") => source.parse(used, Toml::text("json")),
        Some("logfmt") => source.parse(used, Toml::text("logfmt")),
        Some("ltsv") => {
            let pairs =
                [("pair", "\t"), ("separator", ":")].map(|(key, text)| (key.to_owned(), Toml::text(text)));
            source.parse(used, Toml::Table(vec![("key_value".to_owned(), Toml::Table(pairs.to_vec()))]));
        }
        Some("regex") => regex(parser, used, source),
        _ => {
            parser.leave("Millrace has no such format");
            used.leave("its parser has no format that Millrace knows");
            return;
        }
    }
    time(parser, source);
    if let Some(types) = parser.get("types") {
        // Numbers and booleans are recognised by how they are written.
        types.take();
    }
    if let Some(skip) = parser.get("skip_empty_values") {
        skip.take();
    }
}

fn regex(parser: &Node, used: &Node, source: &mut Source) {
    let Some(node) = parser.get("regex") else {
        used.leave("its parser has no expression");
        return;
    };
    let Some(text) = node.text() else { return };
    let pattern = undelimited(&text);
    match query::check_named(&pattern) {
        Ok(()) => source.parse(used, Toml::Table(vec![("regex".to_owned(), Toml::Text(pattern))])),
        Err(why) => {
            node.leave(why);
            used.leave("its parser's expression cannot be taken over");
        }
    }
}

fn time(parser: &Node, source: &mut Source) {
    let (key, format) = (parser.get("time_key"), parser.get("time_format"));
    if let Some(field) = key.and_then(Node::plain) {
        match format.map(|format| format.plain().map(|text| format.ok(times::from_strptime(&text)))) {
            Some(Some(Some(format))) => source.time(parser, Some(field), format),
            Some(_) => {}
            None => source.time(parser, Some(field), times::Format::Known),
        }
    }
    if let Some(keep) = parser.get("time_keep")
        && keep.flag() == Some(true)
    {
        keep.leave("the field that a record's time was read from is the record's time");
    }
}

/// An expression as it is: `/x/i` is `(?i)x`, and Ruby's `m` is everybody else's `s`.
pub(super) fn undelimited(text: &str) -> String {
    let inner = text.strip_prefix('/').and_then(|rest| rest.rsplit_once('/'));
    let Some((pattern, flags)) = inner.filter(|(_, flags)| flags.chars().all(|flag| "imxo".contains(flag)))
    else {
        return text.to_owned();
    };
    let flags: String = flags.replace('m', "s").replace('o', "");
    if flags.is_empty() { pattern.to_owned() } else { format!("(?{flags}){pattern}") }
}
