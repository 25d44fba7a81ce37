//! `_field_caps`: which fields there are, of which types, in which indices.

use crate::{
    Wildcard,
    fields::{Kind, Mapping},
};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

/// The fields of an index.
#[derive(Debug, Clone, Copy)]
pub struct IndexFields<'m> {
    /// Its name.
    pub index: &'m str,
    /// What is declared of them, and what was seen.
    pub mapping: &'m Mapping,
}

/// What Elasticsearch knows of every index besides.
const METADATA: &[(&str, &str, bool)] =
    &[("_id", "_id", false), ("_index", "_index", true), ("_source", "_source", false)];

/// The body, for fields that match one of `patterns`; nothing: all.
pub fn field_caps(indices: &[IndexFields<'_>], patterns: &[String]) -> Json {
    let patterns: Vec<Wildcard> = patterns.iter().map(|pattern| Wildcard::new(pattern)).collect();
    let asked = |name: &str| patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(name));
    // By field, by type: in which indices.
    let mut found: BTreeMap<String, BTreeMap<&'static str, Vec<&str>>> = BTreeMap::new();
    for IndexFields { index, mapping } in indices {
        let mut put = |name: &str, kind: &'static str| {
            if asked(name) {
                found.entry(name.to_owned()).or_default().entry(kind).or_default().push(*index);
            }
        };
        for (name, kind) in fields_of(mapping) {
            put(name, kind.name());
            if *kind == Kind::Dynamic {
                // A text that nobody declared can be matched whole, too.
                put(name, "keyword");
                put(&format!("{name}.keyword"), "keyword");
            }
        }
    }
    let mut fields = Map::new();
    for (name, kinds) in &found {
        let several = kinds.len() > 1;
        let of = |(kind, of): (&&'static str, &Vec<&str>)| {
            let mut shown =
                json!({ "type": kind, "metadata_field": false, "searchable": true, "aggregatable": true });
            if of.len() < indices.len() || (several && indices.len() > 1) {
                shown["indices"] = json!(of);
            }
            ((*kind).to_owned(), shown)
        };
        fields.insert(name.clone(), Json::Object(kinds.iter().map(of).collect()));
    }
    for (name, kind, aggregatable) in METADATA.iter().filter(|(name, ..)| asked(name) && !indices.is_empty())
    {
        let shown = json!({ "type": kind, "metadata_field": true, "searchable": *name != "_source", "aggregatable": aggregatable });
        fields.insert((*name).to_owned(), json!({ (*kind): shown }));
    }
    json!({ "indices": indices.iter().map(|one| one.index).collect::<Vec<_>>(), "fields": fields })
}

/// Those of records that every record has are there, declared or not.
fn fields_of(mapping: &Mapping) -> Vec<(&str, &Kind)> {
    mapping.fields().collect()
}
