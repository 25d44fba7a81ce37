//! The layers and how they are merged: tables key by key, everything else by the later layer.

use crate::{
    document::Document,
    parse::Parser,
    report::{Problem, Report},
    value::{Data, Entry, Place, Table, Text, Value},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What the configuration is made of, lowest first; the defaults below all of these are the rooms' own.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// The file; `conf.d/*.toml` beside it is merged over it in name order.
    pub file: Option<PathBuf>,
    /// `MILLRACE__SECTION__KEY` and its value; others are passed over. Names are compared without case, and `_`
    /// stands for `-` too. Values are TOML if they read as TOML, else plain text.
    pub env: Vec<(String, String)>,
    /// Dotted path and value, as the command line gave it: TOML if it reads as TOML, else plain text.
    pub flags: Vec<(String, String)>,
    /// What `${VAR}` in the files stands for.
    pub variables: BTreeMap<String, String>,
}

const PREFIX: &str = "MILLRACE__";

impl Layers {
    /// The file with this process's environment; flags are added by the caller. Variables that are not UTF-8 are
    /// passed over.
    pub fn of_process(file: Option<PathBuf>) -> Self {
        let variables: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let env = variables.iter().filter(|(name, _)| name.starts_with(PREFIX));
        let env = env.map(|(name, value)| (name.clone(), value.clone())).collect();
        Self { file, env, flags: Vec::new(), variables }
    }
}

/// Reads and merges all layers. Blocks on the files. What does not parse is reported here, for all files at once;
/// everything else is collected in the document.
///
/// # Errors
/// A file that cannot be read or is not TOML.
pub fn load(layers: &Layers) -> Result<Document, Report> {
    let mut merger =
        Merger { layers, root: Table::new(), start: None, layer: 0, problems: Vec::new(), fatal: Vec::new() };
    if let Some(file) = &layers.file {
        merger.file(file);
        for file in merger.siblings(file) {
            merger.file(&file);
        }
    }
    if !merger.fatal.is_empty() {
        return Err(Report::new(merger.fatal));
    }
    let mut env: Vec<_> = layers.env.iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    env.sort();
    for (name, value) in env {
        let path: Vec<&str> = name[PREFIX.len()..].split("__").collect();
        merger.setting("environment", name, &path, value);
    }
    for (name, value) in &layers.flags {
        merger.setting("flags", name, &name.split('.').collect::<Vec<_>>(), value);
    }
    Ok(Document::new(merger.root, merger.start, merger.problems))
}

struct Merger<'a> {
    layers: &'a Layers,
    root: Table,
    /// Where the first file starts, for keys that are missing at the root.
    start: Option<Place>,
    layer: usize,
    /// Go on and tell at the end.
    problems: Vec<Problem>,
    /// Without these files nothing else can be judged.
    fatal: Vec<Problem>,
}

impl Merger<'_> {
    fn file(&mut self, path: &Path) {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let problem = Problem::new(format!("cannot read {}: {error}", path.display()), None);
                self.fatal.push(problem.help("give the path of a UTF-8 TOML file that this user may read"));
                return;
            }
        };
        self.layer += 1;
        let text = Arc::new(Text {
            name: path.display().to_string(),
            content: text,
            layer: self.layer,
            unquoted: false,
        });
        self.start.get_or_insert_with(|| Place::new(&text, 0..0));
        let directory = path.parent().unwrap_or(Path::new(""));
        let mut parser =
            Parser { text: &text, variables: &self.layers.variables, directory, problems: Vec::new() };
        match parser.document() {
            Ok(table) => {
                self.problems.append(&mut parser.problems);
                merge(&mut self.root, table);
            }
            Err(errors) => self.fatal.extend(errors),
        }
    }

    /// `conf.d/*.toml` beside the file, in name order.
    fn siblings(&mut self, file: &Path) -> Vec<PathBuf> {
        let folder = file.parent().unwrap_or(Path::new("")).join("conf.d");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries.collect::<Result<Vec<_>, _>>(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => Err(error),
        };
        match entries {
            Ok(entries) => {
                let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
                files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
                files.sort();
                files
            }
            Err(error) => {
                let problem =
                    Problem::new(format!("cannot read the folder {}: {error}", folder.display()), None);
                self.fatal.push(problem.help("let this user read it, or move it away"));
                Vec::new()
            }
        }
    }

    /// One setting of the environment or the command line.
    fn setting(&mut self, layer: &str, name: &str, path: &[&str], written: &str) {
        self.layer += 1;
        let text = format!("{name} = {written}");
        let value_at = name.len() + 3..text.len();
        let text =
            Arc::new(Text { name: layer.to_owned(), content: text, layer: self.layer, unquoted: true });
        let key = Place::new(&text, 0..name.len());
        if path.iter().any(|part| part.is_empty()) {
            let problem = Problem::new(format!("{name} has an empty part"), Some(&key));
            self.problems
                .push(problem.help("write MILLRACE__SECTION__KEY=value, or section.key=value as a flag"));
            return;
        }
        let mut parser = Parser {
            text: &text,
            variables: &self.layers.variables,
            directory: Path::new(""),
            problems: Vec::new(),
        };
        let value = parser.unquoted(value_at);
        self.problems.append(&mut parser.problems);
        insert(&mut self.root, path, &key, value);
    }
}

/// Lays `over` on top: tables are merged, everything else is replaced.
fn merge(base: &mut Table, over: Table) {
    for (key, entry) in over {
        merge_entry(base, key, entry);
    }
}

fn merge_entry(base: &mut Table, key: String, entry: Entry) {
    if let (Some(Entry { value: Value { data: Data::Table(below), .. }, .. }), Data::Table(_)) =
        (base.get_mut(&key), &entry.value.data)
    {
        if let Data::Table(above) = entry.value.data {
            merge(below, above);
        }
        return;
    }
    base.insert(key, entry);
}

/// Sets a nested key, making the tables on the way; existing keys are found without case, `_` standing for `-`.
fn insert(table: &mut Table, path: &[&str], key: &Place, value: Value) {
    let [first, rest @ ..] = path else { return };
    let name = existing(table, first).unwrap_or_else(|| first.to_ascii_lowercase());
    if rest.is_empty() {
        return merge_entry(table, name, Entry { key: key.clone(), value });
    }
    let fresh = || Value { data: Data::Table(Table::new()), place: key.clone() };
    let entry = table.entry(name).or_insert_with(|| Entry { key: key.clone(), value: fresh() });
    if !entry.value.is_table() {
        *entry = Entry { key: key.clone(), value: fresh() };
    }
    if let Data::Table(table) = &mut entry.value.data {
        insert(table, rest, key, value);
    }
}

fn existing(table: &Table, name: &str) -> Option<String> {
    if table.contains_key(name) {
        return Some(name.to_owned());
    }
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    table.keys().find(|key| plain(key) == plain(name)).cloned()
}
