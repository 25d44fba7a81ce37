//! Filebeat's processors: steps, parsers, or a reason why not.

use super::{conditions, dissect, field, tags_value};
use crate::{
    emit::Toml,
    query::{self, Query},
    source::{self, Source, Step},
    times,
    tree::Node,
};

/// What Millrace does without being told to, and what it does not.
const ADVICE: &[(&str, &str)] = &[
    ("add_host_metadata", "not needed: host.name is in each record's resource"),
    (
        "add_kubernetes_metadata",
        "not needed for namespace, pod and container, which the path tells; labels are not added",
    ),
    (
        "add_docker_metadata",
        "not needed for container.id, which the path tells; other metadata are not added",
    ),
    ("add_cloud_metadata", "Millrace asks no cloud for metadata: an `add` step can say what is known"),
    ("add_process_metadata", "Millrace adds no metadata of processes"),
    ("add_locale", "not needed: times are kept in UTC"),
    ("add_id", "not needed: each record has an _id"),
    ("add_formatted_index", "there are no indices: `stream` says where records go"),
    ("drop_fields", "no step takes an attribute away; [agent.redact] takes out what must not leave the host"),
    (
        "include_fields",
        "no step takes attributes away; [agent.redact] takes out what must not leave the host",
    ),
    ("copy_fields", "no step copies; queries find a field by several names"),
    ("script", "Millrace runs no scripts: see `process` in docs/intake.md"),
    ("convert", "not needed: numbers and booleans are recognised"),
    ("decode_csv_fields", "set parse = [{ csv = [\"…\"] }] with the columns' names"),
    ("urldecode", "Millrace has no such step"),
    ("fingerprint", "Millrace's ids are positions: nothing is there twice"),
    ("rate_limit", "set a step such as rate_limit = \"100/s\""),
    ("dns", "Millrace looks no names up"),
];

/// Converts a list of processors.
pub(super) fn convert(list: &Node, source: &mut Source) {
    for item in list.items() {
        match item.only() {
            Some((kind, node)) => one(kind, node, source),
            None if item.get("if").is_some() => {
                item.leave("if, then and else: write a step with `when` for each");
            }
            None => item.leave("a processor is a map with one key, its name"),
        }
    }
}

fn one(kind: &str, node: &Node, source: &mut Source) {
    if let Some((_, why)) = ADVICE.iter().find(|(name, _)| *name == kind) {
        node.leave(*why);
        return;
    }
    let when = match node.get("when").map(|when| conditions::convert(when, source.line_field())) {
        Some(Err(why)) => {
            node.leave(format!("its condition cannot be said: {why}"));
            return;
        }
        Some(Ok(query)) => Some(query),
        None => None,
    };
    match kind {
        "drop_event" => {
            node.take();
            source.steps.push(Step::drop(&when.unwrap_or_else(Query::everything)));
        }
        "add_fields" => add_fields(node, "fields", when.as_ref(), source),
        "add_labels" => {
            let values = node.get("labels").map(|labels| source::attributes(labels, "labels"));
            add(values.unwrap_or_default(), when.as_ref(), source);
        }
        "add_tags" => {
            let target = node.get("target").and_then(Node::plain).unwrap_or_else(|| "tags".to_owned());
            let before = source.steps.iter().rev().find_map(|step| step.added(&target));
            let tags = node.get("tags").and_then(|tags| tags_value(tags, &target, before));
            add(tags.into_iter().collect(), when.as_ref(), source);
        }
        "rename" => rename(node, when.as_ref(), source),
        _ if when.is_some() => node.leave("parsing has no conditions, and this processor has one"),
        "decode_json_fields" => decode_json(node, source),
        "syslog" => of_message(node, source, Toml::text("syslog")),
        "timestamp" => timestamp(node, source),
        "dissect" => dissected(node, source),
        other => node.leave(format!("Millrace has no step like {other:?}")),
    }
}

fn add(values: Vec<(String, Toml)>, when: Option<&Query>, source: &mut Source) {
    if !values.is_empty() {
        source.steps.push(Step::add(values).when(when));
    }
}

fn add_fields(node: &Node, default: &str, when: Option<&Query>, source: &mut Source) {
    let target = node.get("target").map_or_else(
        || Some(default.to_owned()),
        |target| {
            // Nothing there means the root.
            if target.is_null() {
                target.take();
                Some(String::new())
            } else {
                target.plain()
            }
        },
    );
    let (Some(target), Some(fields)) = (target, node.get("fields")) else { return };
    let target = if target == "@metadata" {
        fields.leave("@metadata is not kept in records");
        return;
    } else {
        target
    };
    add(source::attributes(fields, &target), when, source);
}

fn rename(node: &Node, when: Option<&Query>, source: &mut Source) {
    for item in node.get("fields").map(Node::items).unwrap_or_default() {
        let (Some(from), Some(to)) = (item.get("from"), item.get("to")) else {
            item.leave("from and to were expected");
            continue;
        };
        let (Some(old), Some(new)) = (from.plain(), to.plain()) else { continue };
        let old = field(&old, source.line_field());
        if old == "body" {
            item.leave("a record's body stays where it is");
            continue;
        }
        let old = old.strip_prefix("attributes.").unwrap_or(&old);
        if source.reads_json() && old.contains('.') {
            item.leave(
                "what lies within another field of JSON keeps its place: queries ask for it by its path",
            );
            continue;
        }
        if let Some(why) = query::place(old).or_else(|| query::place(&new)) {
            item.leave(why);
            continue;
        }
        if let (Some(old), Some(new)) = (from.ok(query::attribute(old)), to.ok(query::attribute(&new))) {
            source.steps.push(Step::rename(old, &new).when(when));
        }
    }
    for key in ["ignore_missing", "fail_on_error"] {
        node.get(key).into_iter().for_each(Node::take);
    }
}

/// Is the field that a processor works on the message?
fn is_of_message(node: &Node, key: &str) -> bool {
    let Some(field) = node.get(key) else { return true };
    let texts = field.texts();
    texts.iter().all(|text| text == "message" || text == "log")
}

fn of_message(node: &Node, source: &mut Source, parser: Toml) {
    if is_of_message(node, "field") {
        source.parse(node, parser);
    } else {
        node.leave("parsers read the line, not a field of it");
    }
    for key in ["ignore_missing", "ignore_failure", "overwrite_keys"] {
        node.get(key).into_iter().for_each(Node::take);
    }
}

fn decode_json(node: &Node, source: &mut Source) {
    if !is_of_message(node, "fields") {
        node.leave("parsers read the line, not a field of it");
        return;
    }
    source.parse(node, Toml::text("json"));
    if let Some(target) = node.get("target") {
        if target.is_null() {
            target.take();
        } else if target.text().is_some_and(|text| !text.is_empty()) {
            target.leave("fields of JSON stand at the root of a record's attributes");
        }
    }
    for key in ["process_array", "max_depth", "overwrite_keys", "add_error_key", "expand_keys"] {
        node.get(key).into_iter().for_each(Node::take);
    }
}

fn timestamp(node: &Node, source: &mut Source) {
    let Some(field_node) = node.get("field") else {
        node.leave("no field is named");
        return;
    };
    let Some(name) = field_node.plain() else { return };
    let name = field(&name, source.line_field());
    let name = name.strip_prefix("attributes.").unwrap_or(&name).to_owned();
    let layouts = node.get("layouts").map(Node::items).unwrap_or_default();
    let mut chosen = None;
    for layout in layouts {
        let Some(text) = layout.plain() else { continue };
        match times::from_go(&text) {
            Ok(format) if chosen.is_none() => chosen = Some(format),
            Ok(times::Format::Known) => {}
            Ok(_) => layout.leave("a source has one format of times"),
            Err(why) => layout.leave(why),
        }
    }
    match chosen {
        Some(format) => source.time(node, Some(name), format),
        None => node.leave("no layout of it can be read here"),
    }
    if let Some(zone) = node.get("timezone") {
        source.timezone(zone);
    }
    for key in ["ignore_missing", "ignore_failure", "test"] {
        // What cannot be read has the time at which it was seen.
        node.get(key).into_iter().for_each(Node::take_all);
    }
}

fn dissected(node: &Node, source: &mut Source) {
    if !is_of_message(node, "field") {
        node.leave("parsers read the line, not a field of it");
        return;
    }
    let prefix = node.get("target_prefix").map_or_else(
        || Some("dissect".to_owned()),
        |prefix| {
            if prefix.is_null() { Some(String::new()) } else { prefix.plain() }
        },
    );
    let (Some(prefix), Some(tokenizer)) = (prefix, node.get("tokenizer")) else { return };
    let Some(text) = tokenizer.plain() else { return };
    if let Some(pattern) = tokenizer.ok(dissect::pattern(&text, &prefix)) {
        let parser = Toml::Table(vec![("regex".to_owned(), Toml::Text(pattern))]);
        source.parse(node, parser);
    }
    for key in ["ignore_failure", "overwrite_keys"] {
        node.get(key).into_iter().for_each(Node::take);
    }
}
