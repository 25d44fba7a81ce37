//! YAML, TOML and JSON as one kind of tree.

use super::{
    super::{
        ImportError,
        variables::{Dialect, Marked, mark},
    },
    Data, Node,
};
use std::{
    cell::{Cell, RefCell},
    path::Path,
};

/// Dotted names are taken apart so far, and no deeper: nobody means more.
const DEEPEST: usize = 48;

/// How a format's values become a tree.
#[derive(Debug, Clone)]
pub(in super::super) struct Builder {
    /// How variables are written.
    pub(in super::super) dialect: Dialect,
    /// Variables that the configuration itself sets.
    pub(in super::super) known: Vec<(String, String)>,
    /// A dot in a name is a step down.
    pub(in super::super) dotted: bool,
    /// Case in names does not count: they become lower-case, and paths show them as written.
    pub(in super::super) folded: bool,
}

impl Builder {
    /// For a tool that writes its variables so.
    pub(in super::super) fn new(dialect: Dialect) -> Self {
        Self { dialect, known: Vec::new(), dotted: false, folded: false }
    }

    /// A place with this in it.
    pub(in super::super) fn node(at: String, data: Data) -> Node {
        let (taken, whole) = (Cell::new(false), Cell::new(false));
        Node { at, data, odd: None, taken, whole, notes: RefCell::new(Vec::new()) }
    }

    /// A place with a text in it, in which variables are looked for.
    pub(in super::super) fn text(&self, at: String, text: &str) -> Node {
        let Marked { text, odd } = mark(text, self.dialect, &self.known);
        Node { odd, ..Self::node(at, Data::Text(text)) }
    }

    /// A list.
    fn list<T>(&self, at: String, items: Vec<T>, read: impl Fn(&Self, String, T) -> Node) -> Node {
        let item = |(index, item)| read(self, format!("{at}[{index}]"), item);
        let items = items.into_iter().enumerate().map(item).collect();
        Self::node(at, Data::List(items))
    }

    /// A map.
    fn map<T>(&self, at: String, entries: Vec<(String, T)>, read: impl Fn(&Self, String, T) -> Node) -> Node {
        let mut map = Vec::new();
        for (name, value) in entries {
            let below = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            let node = read(self, below, value);
            let name = if self.folded { name.to_lowercase() } else { name };
            let depth = at.matches('.').count() + name.matches('.').count();
            if self.dotted && depth < DEEPEST && name.split('.').all(|part| !part.is_empty()) {
                let parts: Vec<&str> = name.split('.').collect();
                insert(&mut map, &at, &parts, node);
            } else {
                map.push((name, node));
            }
        }
        Self::node(at, Data::Map(map))
    }

    fn yaml(&self, at: String, value: serde_yaml_ng::Value) -> Node {
        use serde_yaml_ng::Value;
        match value {
            Value::Null => Self::node(at, Data::Null),
            Value::Bool(flag) => Self::node(at, Data::Bool(flag)),
            Value::Number(number) => Self::node(at, numeral(number.as_i64(), number.as_f64())),
            Value::String(text) => self.text(at, &text),
            Value::Sequence(items) => self.list(at, items, Self::yaml),
            Value::Mapping(entries) => {
                let entries = entries.into_iter().map(|(key, value)| (key_text(&key), value)).collect();
                self.map(at, entries, Self::yaml)
            }
            Value::Tagged(tagged) => {
                let node = self.yaml(at, tagged.value);
                node.remark(format!("the tag {} is not understood", tagged.tag));
                node
            }
        }
    }

    fn json(&self, at: String, value: serde_json::Value) -> Node {
        use serde_json::Value;
        match value {
            Value::Null => Self::node(at, Data::Null),
            Value::Bool(flag) => Self::node(at, Data::Bool(flag)),
            Value::Number(number) => Self::node(at, numeral(number.as_i64(), number.as_f64())),
            Value::String(text) => self.text(at, &text),
            Value::Array(items) => self.list(at, items, Self::json),
            Value::Object(entries) => self.map(at, entries.into_iter().collect(), Self::json),
        }
    }

    fn toml(&self, at: String, value: toml::Value) -> Node {
        use toml::Value;
        match value {
            Value::Boolean(flag) => Self::node(at, Data::Bool(flag)),
            Value::Integer(number) => Self::node(at, Data::Integer(number)),
            Value::Float(number) => Self::node(at, Data::Float(number)),
            Value::String(text) => self.text(at, &text),
            Value::Datetime(time) => Self::node(at, Data::Text(time.to_string())),
            Value::Array(items) => self.list(at, items, Self::toml),
            Value::Table(entries) => self.map(at, entries.into_iter().collect(), Self::toml),
        }
    }
}

/// Puts a value under a name that was taken apart at its dots, into what is there already.
fn insert(map: &mut Vec<(String, Node)>, at: &str, parts: &[&str], node: Node) {
    let Some((first, rest)) = parts.split_first() else { return };
    let below = if at.is_empty() { (*first).to_owned() } else { format!("{at}.{first}") };
    let there = map.iter().position(|(name, node)| name == first && node.is_map());
    let node = match (rest, there) {
        ([], Some(index)) if node.is_map() => {
            let (Data::Map(more), Data::Map(entries)) = (node.data, &mut map[index].1.data) else { return };
            for (name, node) in more {
                insert(entries, &below, &[&name], node);
            }
            return;
        }
        ([], _) => {
            if map.iter().any(|(name, _)| name == first) {
                node.leave("it is said twice; the first counts");
            }
            node
        }
        (_, Some(index)) => {
            if let Data::Map(entries) = &mut map[index].1.data {
                insert(entries, &below, rest, node);
            }
            return;
        }
        (_, None) => {
            let mut entries = Vec::new();
            insert(&mut entries, &below, rest, node);
            Builder::node(below, Data::Map(entries))
        }
    };
    map.push(((*first).to_owned(), node));
}

/// A whole number where it is one.
fn numeral(whole: Option<i64>, float: Option<f64>) -> Data {
    whole.map_or_else(|| Data::Float(float.unwrap_or(f64::NAN)), Data::Integer)
}

fn key_text(key: &serde_yaml_ng::Value) -> String {
    use serde_yaml_ng::Value;
    match key {
        Value::String(text) => text.clone(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Null => "null".to_owned(),
        Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => "(a key that is no text)".to_owned(),
    }
}

/// Reads YAML, anchors and merged maps included.
pub(in super::super) fn yaml(text: &str, file: &Path, builder: &Builder) -> Result<Node, ImportError> {
    let wrong = |error: serde_yaml_ng::Error| {
        let place = error.location().map(|place| (place.line(), place.column()));
        ImportError::Syntax { file: file.to_owned(), place, message: error.to_string() }
    };
    let mut value: serde_yaml_ng::Value = serde_yaml_ng::from_str(text).map_err(wrong)?;
    value.apply_merge().map_err(wrong)?;
    Ok(builder.yaml(String::new(), value))
}

/// Reads JSON.
pub(in super::super) fn json(text: &str, file: &Path, builder: &Builder) -> Result<Node, ImportError> {
    let value = serde_json::from_str(text).map_err(|error| ImportError::Syntax {
        file: file.to_owned(),
        place: Some((error.line(), error.column())),
        message: error.to_string(),
    })?;
    Ok(builder.json(String::new(), value))
}

/// Reads TOML.
pub(in super::super) fn toml(text: &str, file: &Path, builder: &Builder) -> Result<Node, ImportError> {
    let table: toml::Table = toml::from_str(text).map_err(|error| ImportError::Syntax {
        file: file.to_owned(),
        place: error.span().map(|span| place(text, span.start)),
        message: error.message().to_owned(),
    })?;
    Ok(builder.toml(String::new(), toml::Value::Table(table)))
}

/// Line and column of a place in a text, from 1.
pub(in super::super) fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}
