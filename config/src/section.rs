//! A table while a room reads it. Keys that are asked for are remembered; the others are unknown in the end.

use crate::{
    FromValue,
    document::{Document, is_secret, join},
    report::Problem,
    value::{Data, Entry, Place, Table, Value},
};

/// A table of the configuration, or the place where it would be. Reading never fails: what is wrong is noted in the
/// [`Document`] and told by its `finish`.
///
/// When a section's `type` cannot be read, its other keys are not judged: what they should be depends on it.
#[derive(Debug)]
pub struct Section<'a> {
    document: &'a Document,
    table: Option<&'a Table>,
    path: String,
    place: Option<Place>,
}

impl<'a> Section<'a> {
    pub(crate) fn new(
        document: &'a Document,
        table: Option<&'a Table>,
        path: String,
        place: Option<Place>,
    ) -> Self {
        document.notes.borrow_mut().asked.entry(path.clone()).or_default();
        Self { document, table, path, place }
    }

    /// Its dotted path, `agent.sources.app`; empty for the root.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The keys that are set, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.table.into_iter().flatten().map(|(key, _)| key.as_str())
    }

    /// Is the key set?
    pub fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Is the key set to a table? For settings that are either a name or a table.
    pub fn is_table(&self, key: &str) -> bool {
        self.table.and_then(|table| table.get(key)).is_some_and(|entry| entry.value.is_table())
    }

    /// The key's value; if it is missing or wrong that is noted, and `None` comes back.
    pub fn required<T: FromValue>(&mut self, key: &str) -> Option<T> {
        if let Some(entry) = self.take(key) {
            return self.read(key, &entry.value);
        }
        let full = join(&self.path, key);
        let mut problem = Problem::new(format!("{full} is missing"), self.place.as_ref())
            .expected(format!("`{key}` is missing here: {}", T::EXPECTED));
        let example = T::example();
        if !example.is_empty() {
            let section =
                if self.path.is_empty() { "at the top".to_owned() } else { format!("to [{}]", self.path) };
            problem = problem.help(format!("add {section}: {key} = {example}"));
        }
        self.note(problem);
        self.wrong_type(key);
        None
    }

    /// The key's value, if it is set; if it is wrong that is noted, and `None` comes back.
    pub fn optional<T: FromValue>(&mut self, key: &str) -> Option<T> {
        let entry = self.take(key)?;
        self.read(key, &entry.value)
    }

    /// The key's value, or the default if it is not set (or wrong, which is noted).
    pub fn or<T: FromValue>(&mut self, key: &str, default: T) -> T {
        if !self.has(key)
            && let Some(shown) = default.show()
        {
            self.document.notes.borrow_mut().defaults.insert(join(&self.path, key), shown);
        }
        self.optional(key).unwrap_or(default)
    }

    /// The key's value as it stands, for what no type fits; `None` if it is not set.
    pub fn value(&mut self, key: &str) -> Option<&'a Value> {
        self.take(key).map(|entry| &entry.value)
    }

    /// The table under the key; `None` if it is not set, or is no table (which is noted).
    pub fn section(&mut self, key: &str) -> Option<Section<'a>> {
        let entry = self.take(key)?;
        self.as_section(key, entry)
    }

    /// The table under the key, an empty one if it is not set: for sections in which everything has a default.
    #[must_use]
    pub fn section_or_empty(&mut self, key: &str) -> Section<'a> {
        let place = self.place.clone();
        self.section(key).unwrap_or_else(|| Section::new(self.document, None, join(&self.path, key), place))
    }

    /// The named tables under the key (`[agent.sources.app]`), sorted by name; none if it is not set.
    pub fn sections(&mut self, key: &str) -> Vec<(String, Section<'a>)> {
        let Some(mut parent) = self.section(key) else { return Vec::new() };
        let names: Vec<&str> = parent.keys().collect();
        names.into_iter().filter_map(|name| Some((name.to_owned(), parent.section(name)?))).collect()
    }

    /// The list of tables under the key (`[[query.alerts.routes]]`), in order; none if it is not set.
    pub fn list(&mut self, key: &str) -> Vec<Section<'a>> {
        let Some(entry) = self.take(key) else { return Vec::new() };
        let full = join(&self.path, key);
        let Some(values) = entry.value.as_list() else {
            self.wrong(&full, entry, &format!("a list of tables: [[{full}]]"));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let path = format!("{full}[{index}]");
            match value.table() {
                Some(table) => {
                    sections.push(Section::new(self.document, Some(table), path, Some(value.place.clone())));
                }
                None => self.note(
                    Problem::new(format!("{path}: found {}", value.found()), Some(&value.place))
                        .expected("a table"),
                ),
            }
        }
        sections
    }

    /// Everything here that was not asked for, as free-form text (`[topic.librdkafka]`): keys dotted, numbers and
    /// booleans as written. Nested tables count as dotted keys; a value that is a list or a time is noted.
    pub fn rest(&mut self) -> Vec<(String, String)> {
        let Some(table) = self.table else { return Vec::new() };
        let asked = self.document.notes.borrow().asked.get(&self.path).cloned().unwrap_or_default();
        self.ignore_rest();
        let mut found: Vec<(String, String, &'a Value)> = Vec::new();
        for (key, entry) in table.iter().filter(|(key, _)| !asked.contains(*key)) {
            self.flatten(key, &join(&self.path, key), &entry.value, &mut found);
        }
        // `"a.b"` in quotes and `a.b` mean the same here; the later layer wins.
        found.sort_by(|(a, _, x), (b, _, y)| a.cmp(b).then(y.place.text.layer.cmp(&x.place.text.layer)));
        found.dedup_by(|(later, ..), (kept, ..)| later == kept);
        found.into_iter().filter_map(|(key, full, value)| Some((key, self.plain(&full, value)?))).collect()
    }

    /// The key is another's to read: it is known, but not looked at.
    pub fn ignore(&mut self, key: &str) {
        self.take(key);
    }

    /// Keys that were not asked for are not judged.
    pub fn ignore_rest(&mut self) {
        self.document.notes.borrow_mut().open.insert(self.path.clone());
    }

    /// Notes that something is wrong with the key (or with the whole section if it is not set): for checks across
    /// keys.
    pub fn error(&mut self, key: &str, message: impl Into<String>) {
        self.error_with_help(key, message, "");
    }

    /// The same, with the repair.
    pub fn error_with_help(&mut self, key: &str, message: impl Into<String>, help: impl Into<String>) {
        let set = self.table.and_then(|table| table.get(key)).map(|entry| entry.value.place.clone());
        let full = join(&self.path, key);
        let secret = set.as_ref().filter(|_| self.document.notes.borrow().secrets.contains(&full)).cloned();
        let place = set.or_else(|| self.place.clone());
        let mut problem = Problem::new(format!("{full}: {}", message.into()), place.as_ref());
        if let Some(place) = secret {
            problem = problem.hiding(&place);
        }
        self.note(problem.help(help));
    }

    fn take(&mut self, key: &str) -> Option<&'a Entry> {
        self.document.notes.borrow_mut().asked.entry(self.path.clone()).or_default().insert(key.to_owned());
        self.table?.get(key)
    }

    fn note(&self, problem: Problem) {
        self.document.notes.borrow_mut().problems.push(problem);
    }

    fn wrong_type(&mut self, key: &str) {
        if key == "type" {
            self.ignore_rest();
        }
    }

    fn read<T: FromValue>(&mut self, key: &str, value: &Value) -> Option<T> {
        let full = join(&self.path, key);
        if T::SECRET {
            self.document.notes.borrow_mut().secrets.insert(full.clone());
        }
        if matches!(value.data, Data::Invalid) {
            self.wrong_type(key);
            return None;
        }
        let mut wrong = Vec::new();
        let setting = T::read(value, &mut wrong);
        if setting.is_none() {
            self.wrong_type(key);
        }
        for wrong in wrong {
            let mut problem = Problem::new(format!("{full}: {}", wrong.message), Some(&wrong.place))
                .expected(format!("expected {}", wrong.expected));
            if T::SECRET {
                problem = problem.hiding(&wrong.place);
            }
            let whole = wrong.place == value.place;
            if whole && !T::SECRET && wrong.expected.starts_with("a list") && !value.is_table() {
                problem = problem.help(format!("write it in brackets: {key} = [{}]", wrong.place.written()));
            } else if !wrong.example.is_empty() {
                let example = if whole { format!("{key} = {}", wrong.example) } else { wrong.example };
                problem = problem.help(format!("for example: {example}"));
            }
            self.note(problem);
        }
        setting
    }

    fn as_section(&mut self, key: &str, entry: &'a Entry) -> Option<Section<'a>> {
        let full = join(&self.path, key);
        match &entry.value.data {
            Data::Table(table) => {
                Some(Section::new(self.document, Some(table), full, Some(entry.value.place.clone())))
            }
            Data::Invalid => None,
            _ => {
                self.wrong(&full, entry, "a table");
                None
            }
        }
    }

    fn wrong(&self, full: &str, entry: &Entry, expected: &str) {
        let message = format!("{full}: found {}", entry.value.found());
        let problem =
            Problem::new(message, Some(&entry.value.place)).expected(format!("expected {expected}"));
        self.note(problem.help(format!("write it as a section: [{full}]")));
    }

    fn flatten(&self, key: &str, full: &str, value: &'a Value, found: &mut Vec<(String, String, &'a Value)>) {
        if let Some(table) = value.table() {
            for (name, entry) in table {
                self.flatten(&format!("{key}.{name}"), &join(full, name), &entry.value, found);
            }
            return;
        }
        if is_secret(key) {
            self.document.notes.borrow_mut().secrets.insert(full.to_owned());
        }
        found.push((key.to_owned(), full.to_owned(), value));
    }

    fn plain(&self, full: &str, value: &Value) -> Option<String> {
        match &value.data {
            Data::String(text) => Some(text.clone()),
            Data::Integer(_) if value.place.text.unquoted => value.as_str().map(str::to_owned),
            Data::Integer(number) => Some(number.to_string()),
            Data::Float(number) => Some(number.to_string()),
            Data::Boolean(value) => Some(value.to_string()),
            Data::Invalid => None,
            Data::Array(_) | Data::Datetime(_) | Data::Table(_) => {
                let problem = Problem::new(format!("{full}: found {}", value.found()), Some(&value.place));
                self.note(problem.expected("expected a text, a number, true or false"));
                None
            }
        }
    }
}
