//! A record as the Sigma engine asks for it: fields by name and words in the text, straight out of the record.
//!
//! A field is looked for in the attributes, in a body that has fields, in the resource, then under the conventional
//! names that a Sigma name stands for (`CommandLine` is `process.command_line`), then in what the line says (see
//! [`super::mapping`]; of an audit record before all others, for that is decoded), then inside a Windows event.

use super::{mapping::Said, windows};
use crate::matching::body_text;
use millrace_model::{Attributes, Row, Value};
use rsigma_eval::{Event, EventValue};
use rsigma_parser::fieldpath::unescape_brackets;
use std::borrow::Cow;

/// What Sigma rules call the line.
const MESSAGE: [&str; 4] = ["message", "Message", "msg", "body"];
/// The deepest nesting that is looked into.
const MAX_DEPTH: usize = 64;

/// The Sigma names that some rule asks for and that stand for conventional ones, by the first part of those.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<(&'static str, Vec<String>)>);

impl Names {
    /// A field that some rule asks for.
    pub(super) fn add(&mut self, field: &str) {
        for root in conventional(field).iter().map(|path| root(path)) {
            let at = self.0.iter().position(|(known, _)| *known == root).unwrap_or_else(|| {
                self.0.push((root, Vec::new()));
                self.0.len() - 1
            });
            if !self.0[at].1.iter().any(|known| known == field) {
                self.0[at].1.push(field.to_owned());
            }
        }
    }

    fn below(&self, root: &str) -> &[String] {
        self.0.iter().find(|(known, _)| *known == root).map_or(&[], |(_, names)| names)
    }
}

/// One record.
pub(super) struct View<'a> {
    row: &'a Row,
    windows: Option<windows::Envelope<'a>>,
    said: Said<'a>,
    /// Every name under which a field may be asked for but paths into nested values, best first. A rule asks for the
    /// same few names again and again, so they are gathered once.
    names: Vec<(&'a str, &'a Value)>,
    /// Are there values with values inside?
    nested: bool,
}

impl<'a> View<'a> {
    pub(super) fn new(row: &'a Row, names: &'a Names) -> Self {
        let windows = windows::Envelope::of(&row.record.attributes);
        let mut view = Self { row, windows, said: Said::default(), names: Vec::new(), nested: false };
        for (key, value) in view.maps().flat_map(Attributes::iter) {
            view.nested |= matches!(value, Value::Map(_) | Value::Array(_));
            view.names.push((key, value));
        }
        view.add_conventional(names);
        view
    }

    /// The event of a Windows log, if the record is one.
    pub(super) fn windows(&self) -> Option<&windows::Envelope<'a>> {
        self.windows.as_ref()
    }

    /// What the record's line says is asked, too.
    pub(super) fn hear(&mut self, said: Said<'a>) {
        self.said = said;
    }

    /// A text, wherever the record has it.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.anywhere(name)?.as_str()
    }

    /// A whole number, wherever the record has it.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        match self.anywhere(name)? {
            Value::Int(number) => Some(*number),
            other => other.as_str()?.parse().ok(),
        }
    }

    fn anywhere(&self, name: &str) -> Option<&'a Value> {
        self.value(name).or_else(|| self.windows.as_ref()?.field(name))
    }

    /// Attributes, a body of fields, and the resource, in the order in which they are asked.
    fn maps(&self) -> impl Iterator<Item = &'a Attributes> + use<'a> {
        let body = match &self.row.record.body {
            Value::Map(map) => Some(map),
            _ => None,
        };
        [Some(&self.row.record.attributes), body, Some(&*self.row.record.resource)].into_iter().flatten()
    }

    /// Adds the Sigma names of fields that are kept under conventional ones.
    fn add_conventional(&mut self, wanted: &'a Names) {
        let mut roots: Vec<&str> = Vec::new();
        for at in 0..self.names.len() {
            let root = root(self.names[at].0);
            let below = wanted.below(root);
            if below.is_empty() || roots.contains(&root) {
                continue;
            }
            roots.push(root);
            for name in below {
                if self.named(name).is_none()
                    && let Some(value) = conventional(name).iter().find_map(|path| self.value(path))
                {
                    self.names.push((name, value));
                }
            }
        }
    }

    /// Every name that it has, but for what its line says.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.names.iter().map(|(name, _)| *name)
    }

    fn named(&self, name: &str) -> Option<&'a Value> {
        self.names.iter().find(|(known, _)| is_named(known, name)).map(|(_, value)| *value)
    }

    /// A field by its own name or path, without its other names.
    pub(super) fn value(&self, path: &str) -> Option<&'a Value> {
        let inside = || self.maps().find_map(|map| map.at(path));
        self.named(path).or_else(|| if self.nested && path.contains('.') { inside() } else { None })
    }

    /// Every text in body and attributes; what the resource says of the host is no part of the event.
    fn any_text(&self, test: &mut dyn FnMut(&str) -> bool) -> bool {
        let body = match &self.row.record.body {
            body @ (Value::String(_) | Value::Bytes(_)) => test(&body_text(body)),
            other => any_text(other, test, MAX_DEPTH),
        };
        body || self.row.record.attributes.iter().any(|(_, value)| any_text(value, test, MAX_DEPTH))
            || self.said.made().any(test)
    }
}

impl View<'_> {
    /// What the line says of a field; several values are an array.
    fn said(&self, name: &str) -> Option<EventValue<'_>> {
        let text = |value| EventValue::Str(Cow::Borrowed(value));
        let mut values = self.said.values(name).map(|value| text(&**value));
        let first = values.next()?;
        let Some(second) = values.next() else { return Some(first) };
        Some(EventValue::Array([first, second].into_iter().chain(values).collect()))
    }
}

/// Are these names the same? Most that are as long differ in their ends, and to see that takes no call.
pub(super) fn is_named(known: &str, name: &str) -> bool {
    known.len() == name.len() && known.as_bytes().last() == name.as_bytes().last() && known == name
}

fn root(key: &str) -> &str {
    key.split_once('.').map_or(key, |(root, _)| root)
}

impl Event for View<'_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        let path = unescape_brackets(path);
        let path = path.as_ref();
        if self.said.decoded
            && let Some(value) = self.said(path)
        {
            return Some(value);
        }
        if let Some(value) = self.value(path) {
            return Some(event_value(value, MAX_DEPTH));
        }
        if MESSAGE.contains(&path) && self.row.record.body != Value::Null {
            return Some(event_value(&self.row.record.body, MAX_DEPTH));
        }
        if let Some(value) = self.said(path) {
            return Some(value);
        }
        if let Some(value) = self.windows.as_ref().and_then(|event| event.field(path)) {
            return Some(event_value(value, MAX_DEPTH));
        }
        if self.nested && path.contains('.') {
            return self.maps().find_map(|map| through_arrays(map, path));
        }
        None
    }

    fn any_string_value(&self, test: &dyn Fn(&str) -> bool) -> bool {
        self.any_text(&mut |text| test(text))
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        let mut texts = Vec::new();
        self.visit_string_values(&mut |text| texts.push(Cow::Owned(text.to_owned())));
        texts
    }

    fn visit_string_values(&self, visit: &mut dyn FnMut(&str)) {
        self.any_text(&mut |text| {
            visit(text);
            false
        });
    }

    fn to_json(&self) -> serde_json::Value {
        let record = &self.row.record;
        serde_json::json!({ "body": record.body, "attributes": record.attributes, "resource": *record.resource })
    }

    /// The names under which fields may be asked for, and the first parts of paths that lead into nested values. One too
    /// many costs a look-up; one too few would hide a rule from its record.
    fn visit_top_level_keys(&self, visit: &mut dyn FnMut(&str)) -> bool {
        MESSAGE.into_iter().for_each(&mut *visit);
        for (name, value) in &self.names {
            if self.said.decoded && self.said.has(name) {
                continue; // visited below
            }
            visit(name);
            if matches!(value, Value::Map(_) | Value::Array(_)) && root(name) != *name {
                visit(root(name));
            }
        }
        self.said.names().for_each(&mut *visit);
        if let Some(event) = &self.windows {
            event.each_name(visit);
        }
        true
    }
}

/// Where OpenTelemetry and ECS keep what Sigma's taxonomy calls `name`.
fn conventional(name: &str) -> &'static [&'static str] {
    match name {
        "Image" => &["process.executable.path", "process.executable", "_EXE"],
        "CommandLine" => &["process.command_line", "_CMDLINE"],
        "ParentImage" => &["process.parent.executable.path", "process.parent.executable"],
        "ParentCommandLine" => &["process.parent.command_line"],
        "CurrentDirectory" => &["process.working_directory"],
        "ProcessId" => &["process.pid", "_PID"],
        "ParentProcessId" => &["process.parent_pid", "process.parent.pid"],
        "User" | "cs-username" => &["user.name", "process.owner", "enduser.id"],
        "TargetFilename" => &["file.path"],
        "DestinationIp" | "dst_ip" => &["destination.ip", "destination.address"],
        "DestinationPort" | "dst_port" => &["destination.port"],
        "DestinationHostname" => &["destination.domain"],
        "SourceIp" | "src_ip" | "c-ip" => &["source.ip", "source.address", "client.ip", "client.address"],
        "SourcePort" | "src_port" => &["source.port", "client.port"],
        "cs-method" => &["http.request.method", "http.method"],
        "cs-uri-stem" => &["url.path"],
        "cs-host" => &["url.domain", "server.address"],
        "sc-status" => &["http.response.status_code", "http.status_code"],
        "cs-user-agent" | "c-useragent" => &["user_agent.original", "http.user_agent"],
        "cs-referer" => &["http.request.referrer", "http.request.header.referer"],
        "Computer" | "ComputerName" => &["host.name"],
        "EventID" => &["winlog.event_id", "event.code"],
        "Channel" => &["winlog.channel"],
        "Provider_Name" => &["winlog.provider_name"],
        "query" | "QueryName" => &["dns.question.name"],
        _ => &[],
    }
}

fn event_value(value: &Value, depth: usize) -> EventValue<'_> {
    match value {
        Value::Null => EventValue::Null,
        Value::Bool(value) => EventValue::Bool(*value),
        Value::Int(value) => EventValue::Int(*value),
        Value::Double(value) => EventValue::Float(*value),
        Value::String(text) | Value::Text(text) => EventValue::Str(Cow::Borrowed(text)),
        Value::Bytes(bytes) => EventValue::Str(String::from_utf8_lossy(bytes)),
        Value::Array(_) | Value::Map(_) if depth == 0 => EventValue::Null,
        Value::Array(values) => EventValue::Array(values.iter().map(|v| event_value(v, depth - 1)).collect()),
        Value::Map(map) => EventValue::Map(
            map.iter().map(|(key, v)| (Cow::Borrowed(key), event_value(v, depth - 1))).collect(),
        ),
    }
}

fn any_text(value: &Value, test: &mut dyn FnMut(&str) -> bool, depth: usize) -> bool {
    match value {
        Value::String(text) | Value::Text(text) => test(text),
        Value::Bytes(bytes) => test(&String::from_utf8_lossy(bytes)),
        Value::Array(values) if depth > 0 => values.iter().any(|value| any_text(value, test, depth - 1)),
        Value::Map(map) if depth > 0 => map.iter().any(|(_, value)| any_text(value, test, depth - 1)),
        _ => false,
    }
}

/// A path that leads through arrays means any of their elements.
fn through_arrays<'a>(map: &'a Attributes, path: &str) -> Option<EventValue<'a>> {
    fn collect<'a>(value: &'a Value, path: &str, found: &mut Vec<EventValue<'a>>, depth: usize) {
        match value {
            Value::Array(values) if depth > 0 => {
                for value in values {
                    collect(value, path, found, depth - 1);
                }
            }
            Value::Map(map) if depth > 0 => match (map.at(path), path.split_once('.')) {
                (Some(value), _) => found.push(event_value(value, depth)),
                (None, Some((root, rest))) => {
                    if let Some(inner) = map.get(root) {
                        collect(inner, rest, found, depth - 1);
                    }
                }
                (None, None) => {}
            },
            _ => {}
        }
    }
    let (root, rest) = path.split_once('.')?;
    let mut found = Vec::new();
    collect(map.get(root)?, rest, &mut found, MAX_DEPTH);
    if found.len() > 1 { Some(EventValue::Array(found)) } else { found.pop() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sigma::tests::row;

    fn field(json: &str, path: &str) -> Option<serde_json::Value> {
        let row = row("the line", json, "{}");
        let mut names = Names::default();
        names.add(path);
        View::new(&row, &names).get_field(path).map(|value| value.to_json())
    }

    #[test]
    fn fields_are_found_however_they_are_kept() {
        use serde_json::json;
        assert_eq!(field(r#"{"a.b":1}"#, "a.b"), Some(json!(1)));
        assert_eq!(field(r#"{"a":{"b":1}}"#, "a.b"), Some(json!(1)));
        assert_eq!(field(r#"{"a":[{"b":1},{"b":{"c":2}},{"b":3}]}"#, "a.b"), Some(json!([1, {"c":2}, 3])));
        assert_eq!(field(r#"{"a":[{"b":1},{"c":2}]}"#, "a.b"), Some(json!(1)));
        assert_eq!(field(r#"{"process":{"command_line":"ls"}}"#, "CommandLine"), Some(json!("ls")));
        assert_eq!(field(r#"{"http.request.method":"GET"}"#, "cs-method"), Some(json!("GET")));
        assert_eq!(field("{}", "Message"), Some(json!("the line")));
        assert_eq!(field(r#"{"message":"own"}"#, "message"), Some(json!("own")));
        assert_eq!(field(r#"{"a":null}"#, "a"), Some(json!(null)));
        assert_eq!(field("{}", "a.b"), None);
    }
}
