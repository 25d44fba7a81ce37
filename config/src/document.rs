//! The merged configuration while rooms read it: what was asked for, what is wrong, where each value is from.
//!
//! Owns the judgement at the end (unknown keys); how a key is read is `section`'s.

use crate::{
    report::{Problem, Report},
    section::Section,
    value::{Data, Entry, Place, Table, Value},
};
use millrace_model::closest;
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

/// The merged layers. Rooms read [`Document::root`]'s sections; [`Document::finish`] then tells everything that is
/// wrong. Not shared between threads.
#[derive(Debug)]
pub struct Document {
    root: Table,
    /// The first file's beginning, for keys that are missing at the root.
    place: Option<Place>,
    pub(crate) notes: RefCell<Notes>,
}

/// What reading leaves behind. Keys are dotted paths.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) problems: Vec<Problem>,
    /// Each section that was opened, and the keys that it was asked for.
    pub(crate) asked: BTreeMap<String, BTreeSet<String>>,
    /// Sections whose other keys are not judged.
    pub(crate) open: BTreeSet<String>,
    /// Keys whose values must not be shown.
    pub(crate) secrets: BTreeSet<String>,
    /// Keys that were absent, and the default used as it would be written.
    pub(crate) defaults: BTreeMap<String, String>,
}

/// A setting, its value and where that is from, for `config show --origin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Dotted path.
    pub key: String,
    /// As written there; `[secret]` for secrets.
    pub value: String,
    /// `file:line:column`, `environment: NAME`, `flags: NAME` or `default`.
    pub from: String,
}

impl Document {
    pub(crate) fn new(root: Table, place: Option<Place>, problems: Vec<Problem>) -> Self {
        Self { root, place, notes: RefCell::new(Notes { problems, ..Notes::default() }) }
    }

    /// The whole document as a section.
    pub fn root(&self) -> Section<'_> {
        Section::new(self, Some(&self.root), String::new(), self.place.clone())
    }

    /// Everything that is wrong with what was read, and the keys that nobody asked for.
    ///
    /// # Errors
    /// Anything is wrong.
    pub fn finish(&self) -> Result<(), Report> {
        let mut problems = std::mem::take(&mut self.notes.borrow_mut().problems);
        self.unknown_keys(&self.root, "", &mut problems);
        if problems.is_empty() { Ok(()) } else { Err(Report::new(problems)) }
    }

    /// Every setting with its origin, sorted by key: those that are set, and the defaults of those that were asked
    /// for and can be shown. Call it after the rooms have read.
    pub fn origins(&self) -> Vec<Origin> {
        let notes = self.notes.borrow();
        let mut origins = Vec::new();
        for (key, entry) in &self.root {
            collect(&join("", key), entry, &notes.secrets, &mut origins);
        }
        for (key, value) in &notes.defaults {
            origins.push(Origin { key: key.clone(), value: value.clone(), from: "default".to_owned() });
        }
        origins.sort_by(|a, b| a.key.cmp(&b.key));
        origins
    }

    fn unknown_keys(&self, table: &Table, path: &str, problems: &mut Vec<Problem>) {
        let notes = self.notes.borrow();
        let Some(asked) = notes.asked.get(path) else { return };
        for (key, entry) in table {
            let full = join(path, key);
            if !asked.contains(key) {
                if !notes.open.contains(path) {
                    problems.push(unknown(key, &full, path, &notes.asked, entry));
                }
                continue;
            }
            match &entry.value.data {
                Data::Table(table) => self.unknown_keys(table, &full, problems),
                Data::Array(values) => {
                    for (index, value) in values.iter().enumerate() {
                        if let Some(table) = value.table() {
                            self.unknown_keys(table, &format!("{full}[{index}]"), problems);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

fn unknown(
    key: &str,
    full: &str,
    path: &str,
    asked: &BTreeMap<String, BTreeSet<String>>,
    entry: &Entry,
) -> Problem {
    let what = if entry.value.is_table() { "section" } else { "key" };
    let known: Vec<&str> = asked.get(path).into_iter().flatten().map(String::as_str).collect();
    let elsewhere = asked.iter().find(|(section, keys)| section.as_str() != path && keys.contains(key));
    let help = match (closest(key, known.iter().copied()), elsewhere) {
        (Some(meant), _) => format!("did you mean `{meant}`?"),
        (None, Some((section, _))) if section.is_empty() => {
            format!("`{key}` stands at the top, outside of any section")
        }
        (None, Some((section, _))) => format!("`{key}` belongs to [{section}]"),
        (None, None) if known.is_empty() => "remove it: nothing can be set here".to_owned(),
        (None, None) => format!("known here: {}", known.join(", ")),
    };
    let problem =
        Problem::new(format!("{full}: unknown {what}"), Some(&entry.key)).expected(format!("unknown {what}"));
    let problem = if is_secret(key) { problem.hiding(&entry.value.place) } else { problem };
    problem.help(help)
}

fn collect(key: &str, entry: &Entry, secrets: &BTreeSet<String>, origins: &mut Vec<Origin>) {
    if let Data::Table(table) = &entry.value.data {
        for (name, entry) in table {
            collect(&join(key, name), entry, secrets, origins);
        }
        return;
    }
    let value =
        if secrets.contains(key) { "[secret]".to_owned() } else { entry.value.place.written().to_owned() };
    origins.push(Origin { key: key.to_owned(), value, from: from(&entry.key, &entry.value) });
}

fn from(key: &Place, value: &Value) -> String {
    if value.place.text.unquoted { format!("{}: {}", key.file(), key.written()) } else { key.to_string() }
}

/// Does the key's name say that its value must not be shown?
pub(crate) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["password", "secret", "token", "key.pem"].iter().any(|word| key.contains(word))
}

/// `path.key`, with quotes around a key that needs them.
pub(crate) fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}
