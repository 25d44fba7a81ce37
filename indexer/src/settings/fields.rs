//! `[streams.NAME.fields]` and `max_fields`: what is said of the fields of a stream.

use millrace_config::Section;
use millrace_model::{Declarations, FieldRef, FieldType, StreamName};
use std::{collections::BTreeMap, sync::Arc};

/// The most fields that can be declared of a stream: declarations are written down with each of its shards.
const MOST: usize = 256;
/// How many names of fields have columns unless it is said.
const COLUMNS: usize = 1_000;
/// The most that can be said: beyond, searches take seconds.
const MAX_COLUMNS: usize = 100_000;

/// What holds of the fields of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// Their types: `fields`.
    pub declared: Arc<Declarations>,
    /// How many names of fields have columns in a time bucket; the records of further ones are kept whole: `max_fields`,
    /// default 1,000.
    pub most: usize,
}

impl Default for Fields {
    fn default() -> Self {
        Self { declared: Arc::default(), most: COLUMNS }
    }
}

/// A type as it is written.
#[derive(Debug, Clone, Copy)]
struct Written(FieldType);

millrace_config::choices!(Written {
    "ip" => Written(FieldType::Ip),
    "keyword" => Written(FieldType::Keyword),
    "number" => Written(FieldType::Number),
    "text" => Written(FieldType::Text),
});

impl Fields {
    /// Reads what of `[streams.NAME]` is about fields.
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let most = section.or("max_fields", COLUMNS);
        if most > MAX_COLUMNS {
            section.error("max_fields", format!("at most {MAX_COLUMNS} expected"));
        }
        let mut declared = BTreeMap::new();
        if let Some(mut fields) = section.section("fields") {
            read_paths(&mut fields, "", &mut declared);
        }
        if declared.len() > MOST {
            section.error("fields", format!("at most {MOST} fields of a stream can be declared"));
        }
        Self { declared: Arc::new(declared.into_iter().collect()), most }
    }
}

/// Reads names and their types; a table in it is a dotted name.
fn read_paths(section: &mut Section<'_>, prefix: &str, declared: &mut BTreeMap<String, FieldType>) {
    let names: Vec<&str> = section.keys().collect();
    for name in names {
        let path = format!("{prefix}{name}");
        if section.is_table(name) {
            if let Some(mut inner) = section.section(name) {
                read_paths(&mut inner, &format!("{path}."), declared);
            }
            continue;
        }
        let Some(Written(kind)) = section.optional(name) else { continue };
        match FieldRef::resolve(&path) {
            FieldRef::Any { path, .. } | FieldRef::Attribute(path) if !path.is_empty() => {
                if declared.insert(path.clone(), kind).is_some() {
                    section.error(name, format!("{path} is declared twice"));
                }
            }
            _ => section.error_with_help(
                name,
                "no attribute has this name, so it has no type to declare",
                "only attributes can be declared; what the resource says, the body, level, times and ids are what they are",
            ),
        }
    }
}

/// What holds of the fields of all streams.
#[derive(Debug, Clone, Default)]
pub struct StreamFields(BTreeMap<StreamName, Fields>);

impl StreamFields {
    pub(crate) fn insert(&mut self, stream: StreamName, fields: Fields) {
        if fields != Fields::default() {
            self.0.insert(stream, fields);
        }
    }

    /// What holds of the fields of `stream`.
    pub fn of(&self, stream: &StreamName) -> Fields {
        self.0.get(stream).cloned().unwrap_or_default()
    }

    /// The declarations of each stream that has some.
    pub fn declared(&self) -> BTreeMap<StreamName, Arc<Declarations>> {
        let some = self.0.iter().filter(|(_, fields)| !fields.declared.is_empty());
        some.map(|(stream, fields)| (stream.clone(), Arc::clone(&fields.declared))).collect()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use crate::settings::Streams;
    use millrace_config::{Layers, load};

    /// What is read of a file, or the report of what is wrong with it.
    fn read(text: &str) -> Result<Streams, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("indexer.toml");
        std::fs::write(&file, text).unwrap();
        let document = load(&Layers { file: Some(file), ..Layers::default() }).unwrap();
        let streams = Streams::read(&mut document.root());
        document.finish().map(|()| streams).map_err(|report| report.to_string())
    }

    #[test]
    fn types_are_declared_by_plain_dotted_and_quoted_names() {
        let streams = read(
            "[streams.web]\nmax_fields = 50\n[streams.web.fields]\nclient_ip = \"ip\"\nhttp.status = \"number\"\n\
             \"user.name\" = \"keyword\"\n\"attributes.note\" = \"text\"\n",
        )
        .unwrap();
        let fields = streams.fields.of(&"web".parse().unwrap());
        let declared: Vec<String> =
            fields.declared.iter().map(|(path, kind)| format!("{path} {kind:?}")).collect();
        assert_eq!(declared, ["client_ip Ip", "http.status Number", "note Text", "user.name Keyword"]);
        assert_eq!(fields.most, 50);
        let others = streams.fields.of(&"app".parse().unwrap());
        assert!(others.declared.is_empty() && others.most == 1_000);
        assert_eq!(streams.fields.declared().len(), 1);
    }

    #[test]
    fn what_cannot_be_declared_is_said_where_it_stands() {
        let wrong = read(
            "[streams.web.fields]\nstatus = \"nubmer\"\nlevel = \"keyword\"\nresource.host = \"keyword\"\nbytes = 5\n\
             a.b = \"ip\"\n\"a.b\" = \"text\"\n",
        )
        .unwrap_err();
        for part in [
            "indexer.toml:2:10",
            "did you mean \"number\"?",
            "one of \"ip\", \"keyword\", \"number\", \"text\"",
            "indexer.toml:3:9",
            "no attribute has this name",
            "indexer.toml:4:17",
            "indexer.toml:5:9",
            "declared twice",
        ] {
            assert!(wrong.contains(part), "{part} in {wrong}");
        }
    }
}
