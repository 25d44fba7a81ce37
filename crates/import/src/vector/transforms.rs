//! Vector's transforms: steps of the sources that lead to them.

use super::{
    components,
    condition::{self, field},
    remap::{self, Statement},
};
use crate::{
    convert::Converted,
    emit::Toml,
    query::{self, Query},
    source::{Source, Step},
    tree::Node,
    variables,
};

/// A way through transforms is followed so far.
const LONGEST: usize = 100;

/// Follows each source's way through the transforms.
pub(super) fn convert(root: &Node, names: &[String], converted: &mut Converted) {
    let mut reached = Vec::new();
    for (source, name) in converted.sources_mut().zip(names) {
        follow(root, name, source, &mut reached);
    }
    for (name, node) in components(root, "transforms") {
        if !reached.contains(&name.as_str()) {
            node.leave("no source that was taken over leads to it");
        }
    }
}

/// Who takes in what a component puts out.
fn consumers<'a>(root: &'a Node, name: &str) -> Vec<(&'static str, &'a str, &'a Node)> {
    let of_kind = |kind: &'static str| {
        let fed = components(root, kind).iter().filter(|(_, node)| takes_in(node, name));
        fed.map(move |(name, node)| (kind, name.as_str(), node))
    };
    of_kind("transforms").chain(of_kind("sinks")).collect()
}

fn takes_in(node: &Node, name: &str) -> bool {
    node.get("inputs").is_some_and(|inputs| {
        let fits = |input: &String| match input.split_once('*') {
            Some((before, after)) => {
                name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
            }
            None => input == name || input.strip_prefix(name).is_some_and(|port| port.starts_with('.')),
        };
        inputs.texts().iter().any(fits)
    })
}

fn follow<'a>(root: &'a Node, from: &str, source: &mut Source, reached: &mut Vec<&'a str>) {
    let mut name = from.to_owned();
    for _ in 0..LONGEST {
        let consumers = consumers(root, &name);
        let transforms: Vec<_> = consumers.iter().filter(|(kind, ..)| *kind == "transforms").collect();
        match (transforms.as_slice(), consumers.len()) {
            ([(_, next, node)], 1) => {
                if !reached.contains(next) {
                    // What is not taken over of it is told there.
                    source.at.push(node.at().to_owned());
                }
                reached.push(next);
                if !one(node, source) {
                    return;
                }
                name = (*next).to_owned();
            }
            ([], _) => return,
            (several, _) => {
                for (_, next, node) in several {
                    reached.push(next);
                    node.leave(format!(
                        "what {name} puts out goes several ways, and a source of Millrace has one: write its steps by hand"
                    ));
                }
                return;
            }
        }
    }
}

/// Makes steps of a transform. `false`: what comes after it cannot be told.
fn one(node: &Node, source: &mut Source) -> bool {
    let Some(kind) = node.get("type").and_then(Node::plain) else {
        node.leave("a transform without a type");
        return false;
    };
    match kind.as_str() {
        "filter" => filter(node, source),
        "remap" => program(node, source),
        "sample" => sample(node, source),
        "throttle" => throttle(node, source),
        "dedupe" => node.leave("Millrace drops no duplicates of content; nothing is read twice"),
        "reduce" => {
            node.leave("lines that belong together are put together by `multiline`; events are not merged");
        }
        "route" | "exclusive_route" | "swimlanes" => {
            node.leave("write steps with `when` for what goes each way; [streams.NAME] topic gives a stream its own topic");
            return false;
        }
        "log_to_metric" | "aggregate" | "metric_to_log" | "tag_cardinality_limit" => {
            node.leave("counts are made when they are asked for: `stats count() by …`");
            return false;
        }
        "lua" => node.leave("Millrace runs no scripts: see `process` in docs/intake.md"),
        other => node.leave(format!("Millrace has no step like {other:?}")),
    }
    true
}

/// The program of a condition, in its short or its long form.
fn program_of(condition: &Node) -> Option<String> {
    if condition.is_map() {
        let kind = condition.get("type").and_then(Node::plain)?;
        if kind != "vrl" {
            condition
                .leave(format!("conditions of the type {kind:?} are not taken over: write it as a query"));
            return None;
        }
        return condition.get("source")?.text();
    }
    condition.text()
}

fn query_of(condition: &Node, source: &Source) -> Option<Query> {
    let text = program_of(condition)?;
    condition
        .ok(condition::convert(&text, source.reads_json())
            .map_err(|why| format!("{why}: {}", first_line(&text))))
}

fn filter(node: &Node, source: &mut Source) {
    match node.get("condition") {
        Some(condition) => {
            let query = query_of(condition, source);
            source.steps.extend(query.map(|query| Step::keep(&query)));
        }
        None => node.leave("a filter without a condition"),
    }
}

/// A program's first line.
fn first_line(program: &str) -> String {
    let mut lines = program.lines().map(str::trim).filter(|line| !line.is_empty());
    let first: String = lines.next().unwrap_or_default().chars().take(80).collect();
    let more = if lines.next().is_some() { " …" } else { "" };
    format!("`{first}`{more}")
}

fn program(node: &Node, source: &mut Source) {
    let Some(program) = node.get("source") else {
        node.leave("Millrace runs no programs in files: see `process` in docs/intake.md");
        return;
    };
    let Some(text) = program.text() else { return };
    let Some(statements) = remap::statements(&text) else {
        program.leave(format!(
            "Millrace runs no programs: parsers and steps do what this does, if they do (docs/intake.md): {}",
            variables::shown(&first_line(&text))
        ));
        return;
    };
    let mut values = Vec::new();
    for statement in statements {
        match statement {
            Statement::Parse(parser) => source.parse(program, Toml::text(parser)),
            Statement::Set(name, _) if name == "message" => program.remark("a record's body stays as it is"),
            Statement::Set(name, value) => {
                values.extend(program.ok(query::attribute(&name)).map(|name| (name, value)));
            }
        }
    }
    source.add(values);
    for key in ["drop_on_error", "drop_on_abort", "reroute_dropped"] {
        if let Some(flag) = node.get(key)
            && flag.flag() == Some(true)
        {
            flag.leave("what a parser does not understand is kept whole, with the reason in log.parse_error");
        }
    }
}

/// A field that a template is made of alone, or a field's path.
fn key_of(node: &Node, source: &Source) -> Option<String> {
    let text = node.plain()?;
    let inner = text.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")).unwrap_or(&text);
    let path = inner.trim().trim_start_matches('.');
    if path.is_empty() || path.contains(['{', '}', ' ']) {
        node.leave("a field was expected");
        return None;
    }
    Some(field(path, source.reads_json()))
}

fn sample(node: &Node, source: &mut Source) {
    let share = match (node.get("rate"), node.get("ratio")) {
        (Some(rate), _) => rate.number().filter(|rate| *rate >= 1.0).map(|rate| 1.0 / rate),
        (None, Some(ratio)) => ratio.number().filter(|ratio| (0.0..=1.0).contains(ratio)),
        (None, None) => None,
    };
    let Some(share) = share else {
        node.leave("a rate of at least 1, or a ratio from 0 to 1, was expected");
        return;
    };
    let key = node.get("key_field").or_else(|| node.get("group_by"));
    thin_out(Step::sample(share), key, node, source);
}

fn throttle(node: &Node, source: &mut Source) {
    let number = |key: &str| node.get(key).and_then(Node::number).filter(|number| *number > 0.0);
    let (Some(threshold), Some(window)) = (number("threshold"), number("window_secs")) else {
        node.leave("threshold and window_secs were expected");
        return;
    };
    let rates = [(1.0, "s"), (60.0, "m"), (3600.0, "h")];
    let unit = rates.iter().find(|(seconds, _)| (window - seconds).abs() < 1e-9);
    let rate = match unit {
        Some((_, unit)) => format!("{threshold}/{unit}"),
        None => format!("{}/s", threshold / window),
    };
    let step = Step::rate_limit(&rate).with("burst", Toml::Float(threshold.max(1.0)));
    thin_out(step, node.get("key_field"), node, source);
}

/// Adds a step that lets a part through, by a key if there is one.
fn thin_out(mut step: Step, key: Option<&Node>, node: &Node, source: &mut Source) {
    if let Some(key) = key.and_then(|key| key_of(key, source)) {
        step = step.with("key", Toml::Text(key));
    }
    if let Some(exclude) = node.get("exclude") {
        // Without its exception it would drop what is to be kept.
        let Some(query) = query_of(exclude, source) else { return };
        step = step.when(Some(&query.negated()));
    }
    source.steps.push(step);
}
