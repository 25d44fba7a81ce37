//! A source in the making: its settings, its steps, and what may be said once alone.

use super::{
    charset,
    emit::Toml,
    glob,
    query::{self, Query},
    times::Format,
    tree::Node,
    units,
};

/// A source.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// Its name.
    pub(super) name: String,
    /// Its type.
    pub(super) kind: &'static str,
    /// Paths of what it was made from.
    pub(super) at: Vec<String>,
    /// Keys and values, and what is said beside them.
    pub(super) settings: Vec<(&'static str, Toml, &'static str)>,
    /// Lines are what a container's runtime writes.
    pub(super) enveloped: bool,
    /// How lines are read.
    pub(super) parser: Option<Toml>,
    /// How they are read if nothing says so; `None`: as is usual for the type.
    pub(super) usual_parser: Option<&'static str>,
    /// Field and format of times.
    pub(super) timestamp: Vec<(String, Toml)>,
    /// For `tls://` and `https`.
    pub(super) tls: Vec<(String, Toml)>,
    /// What is done to records, in order.
    pub(super) steps: Vec<Step>,
    /// The field that has what the tool calls the message.
    pub(super) message: String,
}

/// A step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step(pub(super) Vec<(String, Toml)>);

impl Step {
    fn of(key: &str, value: Toml) -> Self {
        Self(vec![(key.to_owned(), value)])
    }

    /// Drops what matches.
    pub(super) fn drop(query: &Query) -> Self {
        Self::of("drop", Toml::text(query.text()))
    }

    /// Drops what does not match.
    pub(super) fn keep(query: &Query) -> Self {
        Self::of("keep", Toml::text(query.text()))
    }

    /// Sets attributes.
    pub(super) fn add(values: Vec<(String, Toml)>) -> Self {
        let mut distinct: Vec<(String, Toml)> = Vec::new();
        for (name, value) in values {
            // Of a name that comes twice the last value counts.
            match distinct.iter_mut().find(|(there, _)| *there == name) {
                Some((_, there)) => *there = value,
                None => distinct.push((name, value)),
            }
        }
        Self::of("add", Toml::Table(distinct))
    }

    /// The text that it gives an attribute of all records.
    pub(super) fn added(&self, name: &str) -> Option<&str> {
        match self.0.as_slice() {
            [(key, Toml::Table(values))] if key == "add" => {
                values.iter().find_map(|(there, value)| match value {
                    Toml::Text(text) if there == name => Some(text.as_str()),
                    _ => None,
                })
            }
            _ => None,
        }
    }

    /// Gives an attribute another name.
    pub(super) fn rename(from: String, to: &str) -> Self {
        Self::of("rename", Toml::Table(vec![(from, Toml::text(to))]))
    }

    /// Keeps a share.
    pub(super) fn sample(share: f64) -> Self {
        Self::of("sample", Toml::Float(share))
    }

    /// Keeps no more than this.
    pub(super) fn rate_limit(rate: &str) -> Self {
        Self::of("rate_limit", Toml::text(rate))
    }

    /// With another setting.
    pub(super) fn with(mut self, key: &str, value: Toml) -> Self {
        self.0.push((key.to_owned(), value));
        self
    }

    /// For records that match alone.
    pub(super) fn when(self, query: Option<&Query>) -> Self {
        match query {
            Some(query) => self.with("when", Toml::text(query.text())),
            None => self,
        }
    }
}

impl Source {
    /// A source without settings.
    pub(super) fn new(kind: &'static str, name: &str, at: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            at: vec![at.to_owned()],
            settings: Vec::new(),
            enveloped: false,
            parser: None,
            usual_parser: None,
            timestamp: Vec::new(),
            tls: Vec::new(),
            steps: Vec::new(),
            message: "body".to_owned(),
        }
    }

    /// Sets a key, once: what is there already stays.
    pub(super) fn set(&mut self, key: &'static str, value: Toml) {
        self.set_with(key, value, "");
    }

    /// The same, with a remark.
    pub(super) fn set_with(&mut self, key: &'static str, value: Toml, remark: &'static str) {
        if !self.has(key) {
            self.settings.push((key, value, remark));
        }
    }

    /// Is the key set?
    pub(super) fn has(&self, key: &str) -> bool {
        self.settings.iter().any(|(there, ..)| *there == key)
    }

    /// Sets globs, as many as there are that Millrace reads. `quoted`: braces mean nothing to the tool.
    pub(super) fn globs(&mut self, key: &'static str, node: &Node, globs: Vec<String>, quoted: bool) {
        let mut read = Vec::new();
        for glob in globs {
            let glob = if quoted { glob::without_braces(&glob) } else { glob };
            if let Some(()) = node.ok(glob::check(&glob)) {
                read.push(Toml::Text(glob));
            }
        }
        match self.settings.iter_mut().find(|(there, ..)| *there == key) {
            Some((_, Toml::List(there), _)) => there.extend(read),
            _ if read.is_empty() => {}
            _ => self.settings.push((key, Toml::List(read), "")),
        }
    }

    /// Adds regular expressions on paths to `exclude`, where they can be said as globs.
    pub(super) fn exclude_regexes(&mut self, node: &Node) {
        node.take();
        for item in node.items() {
            let Some(pattern) = item.text() else { continue };
            match glob::from_regex(&pattern) {
                Some(globs) => self.globs("exclude", item, globs, false),
                None => item.leave("Millrace's exclude takes globs, and this expression is not simply one"),
            }
        }
    }

    /// Sets a duration.
    pub(super) fn duration(&mut self, key: &'static str, node: &Node) {
        let Some(text) = node.plain() else { return };
        if self.has(key) {
            node.leave(format!("{key} is said by another setting already"));
        } else if let Some(duration) = node.ok(units::some_duration(&text)) {
            self.set(key, Toml::Text(duration));
        }
    }

    /// Sets the longest line from a size whose `k` means so many bytes.
    pub(super) fn max_line(&mut self, node: &Node, kilo: u64) {
        let Some(text) = node.plain() else { return };
        let size = units::size(&text, kilo).and_then(units::line);
        if self.kind == "otlp" {
            node.leave("max_body bounds a request");
        } else if self.has("max_line") {
            node.leave("max_line is said by another setting already");
        } else if let Some(size) = node.ok(size) {
            self.set("max_line", Toml::Text(size));
        }
    }

    /// Reads lines so. Another parser cannot read what one has read.
    pub(super) fn parse(&mut self, node: &Node, parser: Toml) {
        if !self.reads_lines() {
            node.leave("its records come in fields: there are no lines to parse");
            return;
        }
        match &self.parser {
            Some(there) if *there != parser => {
                node.leave(format!(
                    "the source reads its lines as {there} already, and one parser reads a line"
                ));
            }
            _ => {
                node.take();
                self.parser = Some(parser);
            }
        }
    }

    /// Are there lines, and not records?
    fn reads_lines(&self) -> bool {
        !["journald", "otlp"].contains(&self.kind)
    }

    /// The field that has what a tool calls `message` in conditions: the line, or what JSON calls so.
    pub(super) fn line_field(&self) -> &str {
        if self.reads_json() && self.message == "body" { "attributes.message" } else { &self.message }
    }

    /// Are lines read as JSON?
    pub(super) fn reads_json(&self) -> bool {
        self.parser == Some(Toml::text("json"))
    }

    /// Lines are what a container's runtime writes.
    pub(super) fn envelope(&mut self, node: &Node) {
        if self.kind == "file" {
            node.take();
            self.enveloped = true;
        } else {
            node.leave("the formats of container runtimes are those of files");
        }
    }

    /// A record begins with each line that this matches.
    pub(super) fn starts_with(&mut self, node: &Node, pattern: &str) {
        if self.kind != "file" {
            node.leave("lines are put together in files alone");
        } else if let Some(()) = node.ok(query::check(pattern)) {
            self.multiline(node, Toml::Table(vec![("start".to_owned(), Toml::text(pattern))]));
        }
    }

    /// Lines that belong together, said for the first time.
    pub(super) fn multiline(&mut self, node: &Node, value: Toml) {
        if self.kind != "file" {
            node.leave("lines are put together in files alone");
        } else if self.settings.iter().any(|(key, there, _)| *key == "multiline" && *there != value) {
            node.leave("the source puts lines together already");
        } else {
            node.take();
            self.set("multiline", value);
        }
    }

    /// Times are in this field, and written so.
    pub(super) fn time(&mut self, node: &Node, field: Option<String>, format: Format) {
        if !self.reads_lines() {
            node.leave("its records have times already");
            return;
        }
        if !self.timestamp.is_empty() {
            node.leave("the source has a time field already");
            return;
        }
        node.take();
        self.timestamp.extend(field.map(|field| ("field".to_owned(), Toml::Text(field))));
        if let Format::Written(format) = format {
            self.timestamp.push(("format".to_owned(), Toml::Text(format)));
        }
    }

    /// The zone of times that name none.
    pub(super) fn timezone(&mut self, node: &Node) {
        let Some(zone) = node.plain() else { return };
        if !self.reads_lines() {
            node.leave("its records have times already");
            return;
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || "/_+-".contains(c);
        let named = zone.contains('/')
            && zone.starts_with(|c: char| c.is_ascii_alphabetic())
            && zone.chars().all(legal);
        let named = named || zone == "UTC";
        match zone.to_ascii_lowercase().as_str() {
            "local" => self.set("timezone", Toml::text("local")),
            _ if named => self.set("timezone", Toml::Text(zone)),
            _ => node.leave("Millrace knows zones by names such as \"Europe/Berlin\""),
        }
    }

    /// What files are written in.
    pub(super) fn charset(&mut self, node: &Node) {
        let Some(name) = node.plain() else { return };
        let Some(ours) = node.ok(charset::ours(&name)) else { return };
        if self.kind == "file" {
            if !ours.is_empty() {
                self.set("encoding", Toml::Text(ours));
            }
        } else if !["", "utf-8"].contains(&ours.as_str()) {
            node.leave("encoding is a setting of files");
        }
    }

    /// Adds values to all records.
    pub(super) fn add(&mut self, values: Vec<(String, Toml)>) {
        if !values.is_empty() {
            self.steps.push(Step::add(values));
        }
    }

    /// Listens on an address. One that other machines can reach needs a word.
    pub(super) fn listen(&mut self, key: &'static str, scheme: &str, address: std::net::SocketAddr) {
        let text = Toml::Text(format!("{scheme}{address}"));
        let value = if self.kind == "syslog" { Toml::List(vec![text]) } else { text };
        match self.settings.iter_mut().find(|(there, ..)| *there == key) {
            Some((_, Toml::List(there), _)) => there.push(Toml::Text(format!("{scheme}{address}"))),
            _ => self.set(key, value),
        }
        let over_tls = self.kind != "syslog" || scheme == "tls://";
        let asks = over_tls && self.tls.iter().any(|(key, _)| key == "client_ca");
        if !address.ip().is_loopback() && !asks {
            let remark = "Whoever reaches this address can write here, as before: docs/pushed.md says how to ask for proof.";
            self.set_with("allow_unauthenticated", Toml::Bool(true), remark);
        }
    }

    /// How many senders are served at once.
    pub(super) fn max_connections(&mut self, node: &Node) {
        let Some(count) = node.count() else { return };
        match i64::try_from(count) {
            Ok(count @ 1..=100_000) => self.set("max_connections", Toml::Integer(count)),
            _ => node.leave("max_connections lies between 1 and 100000"),
        }
    }

    /// What is shown to senders over TLS, where both files are known.
    pub(super) fn certificate(
        &mut self,
        certificate: Option<&Node>,
        key: Option<&Node>,
        ca: Option<&Node>,
    ) -> bool {
        let text = |node: Option<&Node>| node.and_then(Node::text);
        let (Some(certificate), Some(key)) = (text(certificate), text(key)) else { return false };
        self.tls =
            vec![("certificate".to_owned(), Toml::Text(certificate)), ("key".to_owned(), Toml::Text(key))];
        self.tls.extend(text(ca).map(|ca| ("client_ca".to_owned(), Toml::Text(ca))));
        true
    }
}

/// A value for `add`; what is neither text, number nor boolean is left out.
pub(super) fn value(node: &Node) -> Option<Toml> {
    use super::tree::Data;
    match node.data() {
        Data::Integer(number) => {
            node.take();
            Some(Toml::Integer(*number))
        }
        Data::Float(number) if number.is_finite() => {
            node.take();
            Some(Toml::Float(*number))
        }
        Data::Bool(flag) => {
            node.take();
            Some(Toml::Bool(*flag))
        }
        Data::Text(_) => node.text().map(Toml::Text),
        Data::List(items) if !items.is_empty() => {
            node.remark("an attribute that is added is one value: the list became one text");
            let texts = node.items().iter().filter_map(Node::text).collect::<Vec<_>>();
            Some(Toml::Text(texts.join(",")))
        }
        _ => {
            node.leave("an attribute that is added needs a text, a number or a boolean");
            None
        }
    }
}

/// The leaves of a map as attributes, their names with this in front.
pub(super) fn attributes(node: &Node, prefix: &str) -> Vec<(String, Toml)> {
    let leaves = node.leaves().into_iter();
    let attributes = leaves.filter_map(|(name, leaf)| {
        let name = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        Some((leaf.ok(query::attribute(&name))?, value(leaf)?))
    });
    attributes.collect()
}
