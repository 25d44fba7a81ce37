//! Answers of searches, counts and writes.

use crate::{
    Error, Wildcard,
    fields::{SourceFilter, leaves, values_at},
    request::{Action, FieldAsked, Highlight, Search, TotalHits},
};
use millrace_model::text::{fold, token_ranges};
use serde_json::{Map, Value as Json, json};

/// How much of a field is looked at to show what was found in it, in bytes.
const MAX_HIGHLIGHT: usize = 1 << 16;

/// How many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// How many.
    pub value: u64,
    /// Exactly so many, or at least.
    pub is_exact: bool,
}

/// A hit, before it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its index.
    pub index: String,
    /// Its id.
    pub id: String,
    /// How often it was written.
    pub version: u64,
    /// The number of its last change.
    pub sequence: u64,
    /// Its document.
    pub source: Json,
    /// Its sort values; nothing, where no order was asked for.
    pub sort: Vec<Json>,
}

impl Hit {
    /// As it is shown. `words`: what highlighted fields are searched for, folded.
    pub fn shown(self, search: &Search, is_sorted: bool, words: &[String]) -> Json {
        let mut shown = Map::new();
        shown.insert("_index".to_owned(), json!(self.index));
        shown.insert("_id".to_owned(), json!(self.id));
        shown.insert("_score".to_owned(), if is_sorted { Json::Null } else { json!(1.0) });
        if search.version {
            shown.insert("_version".to_owned(), json!(self.version));
        }
        if search.seq_no_primary_term {
            shown.insert("_seq_no".to_owned(), json!(self.sequence));
            shown.insert("_primary_term".to_owned(), json!(1));
        }
        let fields = fields(&search.fields, &self.source);
        let marked = search.highlight.as_ref().map(|highlight| marked(highlight, &self.source, words));
        if let Some(source) = search.source.apply(self.source) {
            shown.insert("_source".to_owned(), source);
        }
        if !fields.is_empty() {
            shown.insert("fields".to_owned(), Json::Object(fields));
        }
        if let Some(marked) = marked.filter(|marked| !marked.is_empty()) {
            shown.insert("highlight".to_owned(), Json::Object(marked));
        }
        if !self.sort.is_empty() {
            shown.insert("sort".to_owned(), Json::Array(self.sort));
        }
        Json::Object(shown)
    }
}

/// Fields that are asked for beside the source, each with all of its values.
fn fields(asked: &[FieldAsked], source: &Json) -> Map<String, Json> {
    let mut shown = Map::new();
    if asked.is_empty() {
        return shown;
    }
    let paths = leaves(source);
    for field in asked {
        let pattern = Wildcard::new(&field.name);
        let names: Vec<&str> = if pattern.is_name() {
            vec![field.name.as_str()]
        } else {
            paths.iter().map(String::as_str).filter(|path| pattern.matches(path)).collect()
        };
        for name in names {
            let path = name.strip_suffix(".keyword").unwrap_or(name);
            let values: Vec<Json> =
                values_at(source, path).into_iter().map(|value| written_as(field, value)).collect();
            if !values.is_empty() {
                shown.insert(name.to_owned(), Json::Array(values));
            }
        }
    }
    shown
}

/// A value, as the format that is asked for writes it, where it is a time.
fn written_as(field: &FieldAsked, value: &Json) -> Json {
    let Some(format) = &field.format else { return value.clone() };
    let standard = crate::date::Format::standard();
    let text = crate::json::scalar(value).unwrap_or_default();
    match standard.read(&text, crate::Zone::UTC, false) {
        Ok(at) => json!(format.write(at, crate::Zone::UTC)),
        Err(_) => value.clone(),
    }
}

/// Texts with marks around the words that were looked for.
fn marked(highlight: &Highlight, source: &Json, words: &[String]) -> Map<String, Json> {
    let patterns: Vec<Wildcard> = highlight.fields.iter().map(|name| Wildcard::new(name)).collect();
    let mut shown = Map::new();
    for path in leaves(source) {
        if !patterns.iter().any(|pattern| pattern.matches(&path)) {
            continue;
        }
        let texts = values_at(source, &path).into_iter().filter_map(Json::as_str);
        let found: Vec<String> = texts.filter_map(|text| mark(text, highlight, words)).collect();
        if !found.is_empty() {
            shown.insert(path, json!(found));
        }
    }
    shown
}

fn mark(text: &str, highlight: &Highlight, words: &[String]) -> Option<String> {
    if text.len() > MAX_HIGHLIGHT {
        return None;
    }
    let (mut shown, mut at, mut found) = (String::new(), 0, false);
    for range in token_ranges(text) {
        if words.contains(&fold(&text[range.clone()])) {
            shown.push_str(&text[at..range.start]);
            shown.push_str(&highlight.before);
            shown.push_str(&text[range.clone()]);
            shown.push_str(&highlight.after);
            (at, found) = (range.end, true);
        }
    }
    shown.push_str(&text[at..]);
    found.then_some(shown)
}

/// The answer of a search.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// How long it took, in milliseconds.
    pub took: u64,
    /// It was given up before it was done.
    pub timed_out: bool,
    /// How many shards were asked.
    pub shards: usize,
    /// Which of them gave no answer, and why.
    pub failures: Vec<(String, String)>,
    /// How many hits there are.
    pub total: Option<Total>,
    /// Those that are shown.
    pub hits: Vec<Json>,
    /// The order was not by score.
    pub is_sorted: bool,
    /// The answer of aggregations; nothing, where no index was searched.
    pub aggregations: Option<Json>,
    /// The scroll that goes on.
    pub scroll_id: Option<String>,
    /// The point in time that was searched.
    pub pit_id: Option<String>,
}

impl Answer {
    /// The body.
    pub fn body(self, search: &Search) -> Json {
        let mut hits = Map::new();
        if let Some(total) = self.total.filter(|_| search.total_hits != TotalHits::No) {
            let (value, relation) = match search.total_hits {
                TotalHits::UpTo(limit) if total.value > limit => (limit, "gte"),
                _ => (total.value, if total.is_exact { "eq" } else { "gte" }),
            };
            let shown = json!({ "value": value, "relation": relation });
            hits.insert("total".to_owned(), if search.total_as_number { json!(value) } else { shown });
        }
        let has_score = !self.is_sorted && !self.hits.is_empty();
        hits.insert("max_score".to_owned(), json!(has_score.then_some(1.0)));
        hits.insert("hits".to_owned(), Json::Array(self.hits));
        let mut body = json!({
            "took": self.took,
            "timed_out": self.timed_out,
            "_shards": shards(self.shards, &self.failures),
            "hits": hits,
        });
        let more = [
            ("aggregations", self.aggregations),
            ("_scroll_id", self.scroll_id.map(Json::from)),
            ("pit_id", self.pit_id.map(Json::from)),
        ];
        for (name, value) in more {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        body
    }
}

fn shards(count: usize, failures: &[(String, String)]) -> Json {
    let failed = failures.len();
    let total = count.max(failed).max(1);
    let mut shown = json!({ "total": total, "successful": total - failed, "skipped": 0, "failed": failed });
    if failed > 0 {
        let failure = |(node, reason): &(String, String)| {
            json!({ "shard": 0, "index": null, "node": node,
                "reason": { "type": "node_not_connected_exception", "reason": reason } })
        };
        shown["failures"] = failures.iter().map(failure).collect();
    }
    shown
}

/// The answer of several searches: each its own body, or its own error.
pub fn multi(took: u64, answers: Vec<Result<Json, Error>>) -> Json {
    let one = |answer: Result<Json, Error>| match answer {
        Ok(mut body) => {
            body["status"] = json!(200);
            body
        }
        Err(error) => error.body(),
    };
    json!({ "took": took, "responses": answers.into_iter().map(one).collect::<Vec<_>>() })
}

/// The answer of `_count`.
pub fn count(count: u64, shards_asked: usize, failures: &[(String, String)]) -> Json {
    json!({ "count": count, "_shards": shards(shards_asked, failures) })
}

/// One document that was written: `created`, `updated`, `deleted`, `not_found` or `noop`; its version, and the number of the
/// change.
pub fn written(index: &str, id: &str, result: &str, version: u64, sequence: u64) -> Json {
    json!({
        "_index": index,
        "_id": id,
        "_version": version,
        "result": result,
        "_shards": { "total": 1, "successful": 1, "failed": 0 },
        "_seq_no": sequence,
        "_primary_term": 1,
    })
}

/// One operation of a bulk request, by what became of it: what [`written`] gives, or an error.
pub fn bulk_item(action: Action, index: &str, id: Option<&str>, outcome: Result<Json, Error>) -> Json {
    let item = match outcome {
        Ok(mut item) => {
            let status = match item["result"].as_str() {
                Some("created") => 201,
                Some("not_found") => 404,
                _ => 200,
            };
            item["status"] = json!(status);
            item
        }
        Err(error) => json!({ "_index": index, "_id": id, "status": error.status, "error": error.shown() }),
    };
    json!({ (action.name()): item })
}

/// The answer of a bulk request.
pub fn bulk(took: u64, items: &[Json]) -> Json {
    let failed = |item: &Json| {
        item.as_object().is_some_and(|item| item.values().any(|item| item.get("error").is_some()))
    };
    json!({ "took": took, "errors": items.iter().any(failed), "items": items })
}

/// Only the parts of a body that `filter_path` names; those behind `-` are left out.
pub fn filter_path(body: Json, patterns: &[String]) -> Json {
    if patterns.is_empty() {
        return body;
    }
    let (left_out, kept): (Vec<_>, Vec<_>) = patterns.iter().partition(|pattern| pattern.starts_with('-'));
    let kept: Vec<String> = kept.into_iter().map(|pattern| pattern.replace("**", "*")).collect();
    let left_out: Vec<String> = left_out.into_iter().map(|pattern| pattern[1..].replace("**", "*")).collect();
    let mut filter = SourceFilter::default();
    filter.restrict(&kept, &left_out);
    filter.apply(body).unwrap_or(Json::Null)
}
