//! `mappings`: read, merged, and printed back.

use super::{Kind, Resolved, Stored};
use crate::{
    Error, Wildcard,
    date::Format,
    json::{scalar, token},
};
use millrace_model::declared::Declarations;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

/// Fields of one mapping.
const MAX_FIELDS: usize = 1000;
/// How deep objects may nest in it.
const MAX_NESTED: usize = 20;

/// Types that are kept in documents and not searched.
const KEPT: &[&str] = &[
    "binary",
    "completion",
    "dense_vector",
    "geo_point",
    "geo_shape",
    "histogram",
    "integer_range",
    "long_range",
    "date_range",
    "ip_range",
    "join",
    "percolator",
    "point",
    "rank_feature",
    "shape",
    "sparse_vector",
];

/// What is said of the fields of an index.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mapping {
    /// By dotted path.
    declared: BTreeMap<String, Field>,
    /// What records were seen to have, besides.
    seen: BTreeMap<String, Kind>,
    documents: bool,
    dynamic: Dynamic,
}

#[derive(Debug, Clone, PartialEq)]
struct Field {
    kind: Kind,
    /// As it was given, without what it holds.
    given: Map<String, Json>,
    /// `fields`: other ways to index it, by name.
    others: BTreeMap<String, Kind>,
}

/// What becomes of fields that are not declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Dynamic {
    #[default]
    Yes,
    /// They are in the document alone.
    No,
    /// They are refused.
    Strict,
}

impl Mapping {
    /// Of a stream of ordinary records, by what its settings declare.
    pub fn of_records(declarations: &Declarations) -> Self {
        let field = |(path, kind): (&str, _)| {
            let field = Field { kind: Kind::of_declared(kind), given: Map::new(), others: BTreeMap::new() };
            (path.to_owned(), field)
        };
        Self { declared: declarations.iter().map(field).collect(), ..Self::default() }
    }

    /// Of an index of documents about which nothing is said.
    pub fn of_documents() -> Self {
        Self { documents: true, ..Self::default() }
    }

    /// Of an index of documents, from its `mappings`.
    pub fn parse(mappings: &Json) -> Result<Self, Error> {
        let mut mapping = Self::of_documents();
        mapping.merge(mappings)?;
        Ok(mapping)
    }

    /// Takes in what `PUT /{index}/_mapping` says. A field keeps its type.
    pub fn merge(&mut self, mappings: &Json) -> Result<(), Error> {
        let Json::Object(given) = mappings else {
            return Err(malformed(format!("Expected an object, found {}", token(mappings))));
        };
        // Types of old: `_doc`, around everything.
        if let [(name, inner @ Json::Object(_))] = given.iter().collect::<Vec<_>>().as_slice()
            && name.as_str() == "_doc"
        {
            return self.merge(inner);
        }
        for (key, value) in given {
            match key.as_str() {
                "properties" => self.properties("", value, 0)?,
                "dynamic" => self.dynamic = dynamic(value)?,
                "dynamic_templates"
                | "date_detection"
                | "numeric_detection"
                | "dynamic_date_formats"
                | "runtime"
                | "_source"
                | "_meta"
                | "_routing"
                | "_field_names"
                | "_size"
                | "_doc_count"
                | "_data_stream_timestamp"
                | "subobjects" => {}
                other => {
                    return Err(malformed(format!(
                        "Root mapping definition has unsupported parameters:  [{other} : {value}]"
                    )));
                }
            }
        }
        Ok(())
    }

    fn properties(&mut self, prefix: &str, properties: &Json, depth: usize) -> Result<(), Error> {
        let Json::Object(properties) = properties else {
            return Err(malformed(format!("Expected map for property [properties] on field [{prefix}]")));
        };
        if depth > MAX_NESTED {
            return Err(Error::argument(format!(
                "Limit of mapping depth [{MAX_NESTED}] has been exceeded due to object field [{prefix}]"
            )));
        }
        for (name, given) in properties {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            self.property(&path, given, depth)?;
        }
        Ok(())
    }

    fn property(&mut self, path: &str, given: &Json, depth: usize) -> Result<(), Error> {
        let Json::Object(given) = given else {
            return Err(malformed(format!("Expected map for property [{path}]")));
        };
        if path.is_empty() || path.len() > 512 {
            return Err(malformed("field name cannot be an empty string".to_owned()));
        }
        let inner = given.get("properties");
        let name = match given.get("type").map(scalar) {
            Some(Some(name)) => name,
            None if inner.is_some() || given.is_empty() => "object".to_owned(),
            None => return Err(malformed(format!("No type specified for field [{path}]"))),
            Some(None) => return Err(malformed(format!("Expected a type for field [{path}]"))),
        };
        let kind = kind(path, &name, given)?;
        let others = others(path, given)?;
        if let Some(before) = self.declared.get(path)
            && before.kind.name() != kind.name()
        {
            return Err(Error::argument(format!(
                "mapper [{path}] cannot be changed from type [{}] to [{}]",
                before.kind.name(),
                kind.name()
            )));
        }
        let mut kept = given.clone();
        kept.retain(|key, _| key != "properties");
        if kind != Kind::Object || inner.is_none() {
            kept.insert("type".to_owned(), json!(name));
        }
        self.declared.insert(path.to_owned(), Field { kind, given: kept, others });
        if self.declared.len() > MAX_FIELDS {
            return Err(Error::argument(format!("Limit of total fields [{MAX_FIELDS}] has been exceeded")));
        }
        inner.map_or(Ok(()), |inner| self.properties(path, inner, depth + 1))
    }

    /// Notes a field that records have and nobody declared.
    pub fn see(&mut self, name: &str, kind: Kind) {
        if !self.declared.contains_key(name) {
            self.seen.insert(name.to_owned(), kind);
        }
    }

    /// Does it hold documents?
    pub fn is_documents(&self) -> bool {
        self.documents
    }

    /// What the stream's settings are to declare.
    pub fn declarations(&self) -> Declarations {
        let declared = self.declared.iter();
        declared.filter_map(|(path, field)| Some((path.clone(), field.kind.declared()?))).collect()
    }

    /// What is declared of exactly this path.
    pub(crate) fn declared(&self, path: &str) -> Option<&Kind> {
        self.declared.get(path).map(|field| &field.kind)
    }

    /// Is what lies there in the document alone (`enabled: false`)?
    pub(crate) fn is_disabled(&self, path: &str) -> bool {
        let given = self.declared.get(path).and_then(|field| field.given.get("enabled"));
        given.and_then(scalar).is_some_and(|enabled| enabled == "false")
    }

    /// May a field be there that is not declared?
    pub(crate) fn refuses(&self, path: &str) -> bool {
        self.dynamic == Dynamic::Strict && self.declared(path).is_none()
    }

    /// Declared types of dates: a mapping may say how times of `@timestamp` are written.
    pub(crate) fn timestamp_format(&self) -> Option<&Format> {
        match self.declared("@timestamp")? {
            Kind::Date { format, .. } => Some(format),
            _ => None,
        }
    }

    /// What a name finds.
    pub fn field(&self, name: &str) -> Resolved {
        match name {
            "_id" => return Resolved::new("_id", Kind::Id, true),
            "_index" => return Resolved::new("_stream", Kind::Index, true),
            // All fields: what is in any of them is in the line.
            "*" | "_all" => return Resolved::new("body", Kind::Line, true),
            _ => {}
        }
        if let Some(found) = self.exact(name) {
            return found;
        }
        if let Some((base, other)) = name.rsplit_once('.') {
            let field = self.declared.get(base);
            if let Some(kind) = field.and_then(|field| field.others.get(other)) {
                let path = self.path(base);
                return Resolved::new(path, kind.clone(), true);
            }
            if other == "keyword" || (other == "raw" && field.is_some()) {
                let found = self.exact(base).unwrap_or_else(|| self.unknown(base));
                let kind = match found.kind {
                    Kind::Text | Kind::Dynamic | Kind::Unknown => Kind::Keyword { folded: false },
                    other => other,
                };
                return Resolved::new(found.path, kind, found.is_known);
            }
        }
        self.unknown(name)
    }

    fn exact(&self, name: &str) -> Option<Resolved> {
        let kind = self.declared(name).or_else(|| self.seen.get(name));
        if self.documents {
            if name == "@timestamp" {
                let kind = match kind {
                    Some(Kind::Date { format, .. }) => {
                        Kind::Date { stored: Stored::Time, format: format.clone() }
                    }
                    _ => Kind::time(),
                };
                return Some(Resolved::new(name, kind, true));
            }
            return kind.map(|kind| Resolved::new(self.path(name), kind.clone(), true));
        }
        let found = Resolved::of_record(name);
        if found.is_known {
            return Some(found);
        }
        kind.map(|kind| Resolved::new(name, kind.clone(), true))
    }

    fn unknown(&self, name: &str) -> Resolved {
        if !self.documents {
            return Resolved::of_record(name);
        }
        let within = |known: &String| {
            known.len() > name.len() && known.starts_with(name) && known.as_bytes()[name.len()] == b'.'
        };
        let is_object = self.declared.keys().chain(self.seen.keys()).any(within);
        Resolved::new(self.path(name), if is_object { Kind::Object } else { Kind::Dynamic }, is_object)
    }

    fn path(&self, name: &str) -> String {
        if self.documents { format!("attributes.{name}") } else { name.to_owned() }
    }

    /// All fields that are known, by name; objects are left out.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Kind)> {
        let declared = self.declared.iter().map(|(name, field)| (name.as_str(), &field.kind));
        let seen = self.seen.iter().map(|(name, kind)| (name.as_str(), kind));
        declared.chain(seen).filter(|(_, kind)| **kind != Kind::Object)
    }

    /// The names that a pattern of names means: itself, where it has no wildcard.
    pub fn names(&self, pattern: &str) -> Vec<String> {
        let pattern = Wildcard::new(pattern);
        if pattern.is_name() {
            return vec![pattern.text().to_owned()];
        }
        self.fields().map(|(name, _)| name).filter(|name| pattern.matches(name)).map(str::to_owned).collect()
    }

    /// As `GET /{index}/_mapping` shows it, without the index's name.
    pub fn printed(&self) -> Json {
        let mut root = Map::new();
        if self.dynamic != Dynamic::Yes {
            root.insert(
                "dynamic".to_owned(),
                json!(if self.dynamic == Dynamic::No { "false" } else { "strict" }),
            );
        }
        for (path, field) in &self.declared {
            let mut given = field.given.clone();
            if given.is_empty() && field.kind != Kind::Object {
                given.insert("type".to_owned(), json!(field.kind.name()));
            }
            put(&mut root, path, given);
        }
        for (path, kind) in &self.seen {
            put(&mut root, path, shown(kind));
        }
        Json::Object(root)
    }
}

/// How a field is shown that nobody declared.
fn shown(kind: &Kind) -> Map<String, Json> {
    let mut shown = Map::new();
    shown.insert("type".to_owned(), json!(kind.name()));
    if kind.is_words() {
        shown.insert("fields".to_owned(), json!({ "keyword": { "type": "keyword", "ignore_above": 256 } }));
    }
    shown
}

/// Puts a field in its place among nested `properties`.
fn put(root: &mut Map<String, Json>, path: &str, field: Map<String, Json>) {
    let mut at = root;
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        let Some(properties) = at.entry("properties").or_insert_with(|| json!({})).as_object_mut() else {
            return;
        };
        let Some(next) = properties.entry(part).or_insert_with(|| json!({})).as_object_mut() else { return };
        if parts.peek().is_none() {
            next.extend(field);
            return;
        }
        at = next;
    }
}

fn malformed(reason: String) -> Error {
    Error { kind: "mapper_parsing_exception", ..Error::argument(reason) }
}

fn dynamic(value: &Json) -> Result<Dynamic, Error> {
    match scalar(value).as_deref() {
        Some("true" | "runtime") => Ok(Dynamic::Yes),
        Some("false") => Ok(Dynamic::No),
        Some("strict") => Ok(Dynamic::Strict),
        _ => Err(malformed(format!("No enum constant for dynamic {value}"))),
    }
}

fn kind(path: &str, name: &str, given: &Map<String, Json>) -> Result<Kind, Error> {
    let format = |standard: fn() -> Format| match given.get("format").and_then(Json::as_str) {
        Some(text) => Format::new(text).map_err(|error| malformed(error.reason)),
        None => Ok(standard()),
    };
    let normalizer = given.get("normalizer").and_then(Json::as_str).unwrap_or_default();
    Ok(match name {
        "text" | "match_only_text" | "search_as_you_type" | "annotated_text" => Kind::Text,
        "keyword" | "constant_keyword" | "wildcard" | "version" | "flattened" => {
            Kind::Keyword { folded: normalizer.contains("lower") }
        }
        "long" | "integer" | "short" | "byte" | "unsigned_long" | "token_count" | "murmur3" => Kind::Long,
        "double" | "float" | "half_float" | "scaled_float" => Kind::Double,
        "boolean" => Kind::Boolean,
        "date" => Kind::Date { stored: Stored::Millis, format: format(Format::standard)? },
        "date_nanos" => Kind::Date { stored: Stored::Nanos, format: format(Format::standard_nanos)? },
        "ip" => Kind::Ip,
        "object" | "nested" | "passthrough" => Kind::Object,
        "alias" => Kind::Unknown,
        other if KEPT.contains(&other) => Kind::Unknown,
        other => {
            let shown: String = other.chars().take(100).collect();
            return Err(malformed(format!(
                "Failed to parse mapping: The mapper type [{shown}] declared on field [{path}] does not exist. It might have been created within a future version or requires a plugin to be installed."
            )));
        }
    })
}

fn others(path: &str, given: &Map<String, Json>) -> Result<BTreeMap<String, Kind>, Error> {
    let Some(fields) = given.get("fields") else { return Ok(BTreeMap::new()) };
    let Json::Object(fields) = fields else {
        return Err(malformed(format!("Expected map for property [fields] on field [{path}]")));
    };
    let one = |(name, given): (&String, &Json)| {
        let given = given
            .as_object()
            .ok_or_else(|| malformed(format!("Expected map for property [{path}.{name}]")))?;
        let kind_name = given.get("type").and_then(Json::as_str).unwrap_or_default();
        Ok((name.clone(), kind(&format!("{path}.{name}"), kind_name, given)?))
    };
    fields.iter().map(one).collect()
}
