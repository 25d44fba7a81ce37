//! The configuration as text: TOML, with what was left out as comments beside its place.

use super::{
    LeftOut, Tool,
    convert::{Block, Converted},
    source::Source,
    variables,
};
use std::{
    fmt::{self, Write},
    path::Path,
};

/// Comments are broken before this column.
const WIDTH: usize = 120;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Toml {
    /// A text, its variables marked.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Another number; finite.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A list.
    List(Vec<Self>),
    /// A table on one line.
    Table(Vec<(String, Self)>),
}

impl Toml {
    /// A text.
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl fmt::Display for Toml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write_text(f, &variables::ours(text)),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Bool(flag) => write!(f, "{flag}"),
            Self::List(items) => {
                f.write_char('[')?;
                for (at, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if at == 0 { "" } else { ", " })?;
                }
                f.write_char(']')
            }
            Self::Table(entries) if entries.is_empty() => f.write_str("{}"),
            Self::Table(entries) => {
                for (at, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{} = {value}", if at == 0 { "{ " } else { ", " }, quoted_key(key))?;
                }
                f.write_str(" }")
            }
        }
    }
}

/// A text between quotes: as it is where that is easier to read, else with escapes.
fn write_text(f: &mut impl Write, text: &str) -> fmt::Result {
    let as_it_is = text.contains(['\\', '"']) && !text.contains('\'') && !text.chars().any(char::is_control);
    if as_it_is {
        return write!(f, "'{text}'");
    }
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\u{:04X}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

/// A key, in quotes where it needs them.
fn quoted_key(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare {
        return key.to_owned();
    }
    let mut quoted = String::new();
    // Writing to a String cannot fail.
    let _infallible = write_text(&mut quoted, &variables::shown(key));
    quoted
}

/// Writes a configuration.
pub(super) fn write(tool: Tool, file: &Path, converted: &Converted, left_out: &[LeftOut]) -> String {
    let mut writer = Writer { out: String::new(), places: places(converted), left_out };
    writer.head(tool, file, converted);
    for block in &converted.blocks {
        writer.blank();
        match block {
            Block::Source(source) => writer.source(source),
            Block::Absent(at) => {
                writer.comment(&format!("{at}: nothing of it is read."));
                writer.told(std::slice::from_ref(at));
            }
        }
    }
    writer.topic(tool, converted);
    writer.out
}

/// The paths beside which something can be told.
fn places(converted: &Converted) -> Vec<&str> {
    let blocks = converted.blocks.iter().flat_map(|block| match block {
        Block::Source(source) => source.at.as_slice(),
        Block::Absent(at) => std::slice::from_ref(at),
    });
    blocks.chain(&converted.topic.at).map(String::as_str).collect()
}

struct Writer<'a> {
    out: String,
    places: Vec<&'a str>,
    left_out: &'a [LeftOut],
}

impl Writer<'_> {
    fn line(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }

    fn blank(&mut self) {
        self.out.push('\n');
    }

    /// A comment, over as many lines as it takes.
    fn comment(&mut self, text: &str) {
        let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let indent = clean.len() - clean.trim_start().len();
        let mut line = format!("#{}", " ".repeat(indent));
        let next = if indent == 0 { line.clone() } else { format!("{line}   ") };
        let empty = line.len();
        for word in clean.split_whitespace() {
            if line.len() > empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.line(&line);
                line.clone_from(&next);
            }
            line.push(' ');
            line.push_str(word);
        }
        self.line(&line);
    }

    fn set(&mut self, key: &str, value: &Toml, remark: &str) {
        if !remark.is_empty() {
            self.comment(remark);
        }
        self.line(&format!("{} = {value}", quoted_key(key)));
    }

    fn head(&mut self, tool: Tool, file: &Path, converted: &Converted) {
        let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
        self.comment(&format!(
            "Made from {name} of {} by `millrace config import {}`. Try it: `millrace config check --config FILE`, then \
             `millrace agent --config FILE --dry-run LOG`.",
            tool.title(),
            tool.name()
        ));
        self.blank();
        self.line("[agent]");
        if let Some(host) = &converted.host {
            self.set("host", &Toml::text(host), "");
        }
        let elsewhere: Vec<&LeftOut> =
            self.left_out.iter().filter(|left| self.place_of(&left.at).is_none()).collect();
        self.tell(&elsewhere);
        if converted.sources().next().is_none() {
            self.comment("There is no source: nothing that Millrace reads was found.");
        }
    }

    fn source(&mut self, source: &Source) {
        if let Some(at) = source.at.first() {
            self.comment(at);
        }
        self.line(&format!("[agent.sources.{}]", quoted_key(&source.name)));
        self.set("type", &Toml::text(source.kind), "");
        for (key, value, remark) in &source.settings {
            self.set(key, value, remark);
        }
        let envelope = source.enveloped.then(|| Toml::text("cri"));
        let parser = source.parser.clone().or_else(|| source.usual_parser.map(Toml::text));
        let parse: Vec<Toml> = envelope.into_iter().chain(parser).collect();
        if !parse.is_empty() {
            self.set("parse", &Toml::List(parse), "");
        }
        for (key, table) in [("timestamp", &source.timestamp), ("tls", &source.tls)] {
            if !table.is_empty() {
                self.set(key, &Toml::Table(table.clone()), "");
            }
        }
        self.told(&source.at);
        for step in &source.steps {
            self.line(&format!("[[agent.sources.{}.process]]", quoted_key(&source.name)));
            for (key, value) in &step.0 {
                self.set(key, value, "");
            }
        }
    }

    fn topic(&mut self, tool: Tool, converted: &Converted) {
        let topic = &converted.topic;
        self.blank();
        self.line("[topic]");
        self.set("type", &Toml::text("kafka"), "");
        if topic.brokers.is_empty() {
            let remark = format!(
                "To be set: the original names no brokers of Kafka that could be taken over ({} ships elsewhere).",
                tool.title()
            );
            self.set("brokers", &Toml::List(vec![Toml::text("127.0.0.1:9092")]), &remark);
        } else {
            let brokers = topic.brokers.iter().map(|broker| Toml::text(broker)).collect();
            self.set("brokers", &Toml::List(brokers), "");
        }
        if let Some(name) = topic.ours() {
            let remark = "A topic of its own: Millrace's messages have a format of their own.";
            self.set("name", &Toml::Text(name), remark);
        }
        self.told(&topic.at);
        if !topic.librdkafka.is_empty() {
            self.blank();
            self.line("[topic.librdkafka]");
            for (key, value) in &topic.librdkafka {
                // Bare dots make tables, which mean the same here and are read more easily; but a value is no table.
                let is_within = |(other, _): &(String, Toml)| {
                    let (a, b) = if key.len() < other.len() { (key, other) } else { (other, key) };
                    b.strip_prefix(a.as_str()).is_some_and(|rest| rest.starts_with('.'))
                };
                let bare = key.split('.').all(|part| !part.is_empty() && quoted_key(part) == part);
                let bare = bare && !topic.librdkafka.iter().any(is_within);
                let key = if bare { key.clone() } else { quoted_key(key) };
                self.line(&format!("{key} = {value}"));
            }
        }
    }

    /// What was left out at these places.
    fn told(&mut self, places: &[String]) {
        let here = |left: &&LeftOut| {
            self.place_of(&left.at).is_some_and(|place| places.iter().any(|here| here == place))
        };
        let here: Vec<&LeftOut> = self.left_out.iter().filter(here).collect();
        self.tell(&here);
    }

    fn tell(&mut self, left_out: &[&LeftOut]) {
        if !left_out.is_empty() {
            self.comment("Not taken over, or not quite:");
        }
        for LeftOut { at, why } in left_out {
            self.comment(&format!("  {at}: {why}"));
        }
    }

    /// The nearest place that is told about around a path.
    fn place_of(&self, at: &str) -> Option<&str> {
        let is_around = |place: &&&str| {
            at.strip_prefix(**place).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[', '(']))
        };
        self.places.iter().filter(is_around).max_by_key(|place| place.len()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_toml() {
        for (value, expected) in [
            (Toml::text("plain"), r#""plain""#),
            (Toml::text(r"^\d"), r"'^\d'"),
            (Toml::text("it's \\ \"x\""), r#""it's \\ \"x\"""#),
            (Toml::text("a\nb\u{7}\u{7f}"), r#""a\nb\u0007\u007F""#),
            (Toml::Float(1.0), "1.0"),
            (Toml::text("${x"), r#""$${x""#),
            (
                Toml::Table(vec![("a.b".to_owned(), Toml::List(vec![Toml::Bool(true), Toml::Integer(1)]))]),
                r#"{ "a.b" = [true, 1] }"#,
            ),
        ] {
            assert_eq!(value.to_string(), expected);
            let text = format!("x = {value}");
            assert!(toml::from_str::<toml::Table>(&text).is_ok(), "{text}");
        }
    }

    #[test]
    fn comments_hold_no_control_characters_and_are_broken() {
        let mut writer = Writer { out: String::new(), places: Vec::new(), left_out: &[] };
        writer.comment(&format!("  a\nb\u{1}c {}", "word ".repeat(60)));
        assert!(writer.out.lines().all(|line| line.starts_with('#') && line.len() <= WIDTH));
        assert!(writer.out.starts_with("#   a b c word"));
    }
}
