//! A search of indices of both kinds, streams and documents that clients change, is ordered and aggregated by the fields of one
//! of them. That is right only where a name means the same in all.

use super::{Search, SortField};
use crate::{
    Error,
    fields::{Kind, Mapping},
};
use serde_json::Value as Json;

impl Search {
    /// Do the fields that are sorted and aggregated by mean in `other` what they mean in `one`?
    ///
    /// # Errors
    /// One does not.
    pub fn check_fields(
        &self,
        (one, mapping): (&str, &Mapping),
        (other, with): (&str, &Mapping),
    ) -> Result<(), Error> {
        let mut names = Vec::new();
        if let Some(aggs) = self.aggs() {
            fields_of(aggs, &mut names);
        }
        names.extend(self.sort.iter().filter_map(|key| match &key.field {
            SortField::Field(name) => Some(name.as_str()),
            SortField::Doc | SortField::Score => None,
        }));
        match names.into_iter().find(|name| !is_same(name, mapping, with)) {
            None => Ok(()),
            Some(name) => Err(Error::argument(format!(
                "field [{name}] is not in [{other}] what it is in [{one}]: search these indices one by one"
            ))),
        }
    }
}

/// The names of fields in aggregations, however deep.
fn fields_of<'a>(aggs: &'a Json, names: &mut Vec<&'a str>) {
    match aggs {
        Json::Object(entries) => {
            for (key, value) in entries {
                match value {
                    Json::String(name) if key == "field" => names.push(name),
                    other => fields_of(other, names),
                }
            }
        }
        Json::Array(values) => values.iter().for_each(|value| fields_of(value, names)),
        _ => {}
    }
}

fn is_same(name: &str, mapping: &Mapping, with: &Mapping) -> bool {
    let (one, other) = (mapping.field(name), with.field(name));
    if matches!((&one.kind, &other.kind), (Kind::Date { stored, .. }, Kind::Date { stored: as_well, .. }) if stored != as_well)
    {
        return false;
    }
    // What is an attribute of a record is found by its name alone.
    let plain = |path: &str| path.strip_prefix("attributes.").unwrap_or(path).to_owned();
    let kind = |kind: &Kind| match kind {
        Kind::Dynamic | Kind::Unknown | Kind::Keyword { .. } => None,
        other => Some(other.name()),
    };
    // Names that find more than attributes in records find attributes alone in documents.
    let of_records = if mapping.is_documents() { &other } else { &one };
    plain(&one.path) == plain(&other.path)
        && kind(&one.kind) == kind(&other.kind)
        && (one.path == other.path || !of_records.is_known)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use millrace_model::Declarations;
    use serde_json::json;

    #[test]
    fn names_that_mean_another_field_are_told() {
        let records = Mapping::of_records(&Declarations::default());
        let documents = Mapping::parse(
            &json!({ "properties": { "until": { "type": "date" }, "@timestamp": { "type": "date" } } }),
        );
        let documents = documents.unwrap();
        let terms = |field: &str| json!({ "aggs": { "a": { "filter": { "match_all": {} }, "aggs": { "b": { "terms": { "field": field } } } } } });
        for (body, agrees) in [
            (json!({ "sort": [{ "@timestamp": "desc" }] }), true),
            (json!({ "sort": ["_doc"] }), true),
            (json!({ "sort": [{ "rule_name": "asc" }] }), true),
            (terms("user.name"), true),
            (terms("user.name.keyword"), true),
            (terms("_index"), true),
            (terms("message"), false),
            (terms("log.level"), false),
            (json!({ "sort": [{ "until": "desc" }] }), false),
            (json!({ "sort": [{ "level": "desc" }] }), false),
        ] {
            let search = Search::body(&body).unwrap();
            for (one, other) in [(&records, &documents), (&documents, &records)] {
                let found = search.check_fields(("a", one), ("b", other));
                assert_eq!(found.is_ok(), agrees, "{body}: {found:?}");
            }
        }
    }
}
