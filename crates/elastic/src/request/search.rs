//! The body and the parameters of `_search` and of `_count`.

use super::{Indices, Order, Parameters, SortKey, parameters::duration, sort};
use crate::{
    Error,
    aggs::{self, Aggregated},
    date::Format,
    fields::{Mapping, SourceFilter},
    json::{Object, Style, token},
    query::{self, QueryString, Reader},
};
use millrace_filter::Expr;
use millrace_model::{TimeRange, Timestamp};
use serde_json::Value as Json;
use std::time::Duration;

/// `from` and `size` together reach so far; scroll, `search_after` and points in time reach further.
pub const MAX_WINDOW: usize = 10_000;
const DEFAULT_SIZE: usize = 10;
/// Hits are counted up to here where nothing else is said.
const DEFAULT_TOTAL: u64 = 10_000;
/// The most fields that are asked for beside the source.
const MAX_FIELDS: usize = 200;

/// How far hits are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TotalHits {
    /// All of them.
    All,
    /// At least up to here.
    UpTo(u64),
    /// Not at all.
    No,
}

/// A field that is shown beside the source.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldAsked {
    /// Its name, or a pattern.
    pub name: String,
    /// How its times are written.
    pub format: Option<Format>,
}

/// A point in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pit {
    /// Its id.
    pub id: String,
    /// How long it is kept from now on.
    pub keep_alive: Option<Duration>,
}

/// Which fields show what was found in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Highlight {
    /// Names and patterns.
    pub fields: Vec<String>,
    /// What stands before a word that was found.
    pub before: String,
    /// What stands behind it.
    pub after: String,
}

/// A search. See the module.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the request")]
pub struct Search {
    query: Option<Json>,
    /// `q`, which comes before the body's query.
    text: Option<(String, Asked)>,
    post_filter: Option<Json>,
    min_score: Option<f64>,
    aggs: Option<Json>,
    /// How many hits are shown.
    pub size: usize,
    /// How many are left out before them.
    pub from: usize,
    /// By what they are ordered.
    pub sort: Vec<SortKey>,
    /// The sort values of the hit before.
    pub search_after: Option<Vec<Json>>,
    /// How far they are counted.
    pub total_hits: TotalHits,
    /// The total is shown as a number, as it was before version 7.
    pub total_as_number: bool,
    /// What of documents is shown.
    pub source: SourceFilter,
    /// What is shown beside.
    pub fields: Vec<FieldAsked>,
    /// How long a scroll is kept.
    pub scroll: Option<Duration>,
    /// The point in time that is searched.
    pub pit: Option<Pit>,
    /// When to give up.
    pub timeout: Option<Duration>,
    /// What was found in which fields is shown.
    pub highlight: Option<Highlight>,
    /// `_version` is shown.
    pub version: bool,
    /// `_seq_no` and `_primary_term` are shown.
    pub seq_no_primary_term: bool,
    /// Names of aggregations carry their types.
    pub typed_keys: bool,
}

/// What `q` is read with.
#[derive(Debug, Clone, PartialEq, Default)]
struct Asked {
    fields: Vec<String>,
    all: bool,
    lenient: bool,
}

impl Default for Search {
    fn default() -> Self {
        Self {
            query: None,
            text: None,
            post_filter: None,
            min_score: None,
            aggs: None,
            size: DEFAULT_SIZE,
            from: 0,
            sort: Vec::new(),
            search_after: None,
            total_hits: TotalHits::UpTo(DEFAULT_TOTAL),
            total_as_number: false,
            source: SourceFilter::default(),
            fields: Vec::new(),
            scroll: None,
            pit: None,
            timeout: None,
            highlight: None,
            version: false,
            seq_no_primary_term: false,
            typed_keys: false,
        }
    }
}

impl Search {
    /// From a body, which may be empty, and parameters; these come first.
    ///
    /// # Errors
    /// As Elasticsearch has them.
    pub fn read(body: &[u8], parameters: &Parameters) -> Result<Self, Error> {
        let mut search = Self::body(&json(body)?)?;
        search.parameters(parameters)?;
        search.checked()
    }

    /// From a body alone.
    ///
    /// # Errors
    /// As Elasticsearch has them.
    pub fn body(body: &Json) -> Result<Self, Error> {
        let mut search = Self::default();
        if body.is_null() {
            return Ok(search);
        }
        let Json::Object(given) = body else {
            return Err(Error::parsing(format!("Expected [START_OBJECT] but found [{}]", token(body))));
        };
        let mut object = Object::of(body, "search", Style::Content)?;
        object.ignore(&[
            "explain",
            "profile",
            "indices_boost",
            "stats",
            "terminate_after",
            "track_scores",
            "ext",
        ]);
        if let Some(size) = object.integer("size")? {
            search.size = count("size", size)?;
        }
        if let Some(from) = object.integer("from")? {
            search.from = count("from", from)?;
        }
        search.query = object.value("query").cloned();
        search.post_filter = object.value("post_filter").cloned();
        search.min_score = object.float("min_score")?;
        search.aggs = object.value("aggs").or(object.value("aggregations")).cloned();
        object.ignore(&["aggregations"]);
        if let Some(sort) = object.value("sort") {
            search.sort = sort::parse(sort)?;
        }
        search.search_after = match object.value("search_after") {
            None => None,
            Some(Json::Array(values)) => Some(values.clone()),
            Some(other) => {
                return Err(Error::parsing(format!(
                    "Expected [START_ARRAY] in [search_after] but found [{}]",
                    token(other)
                )));
            }
        };
        search.total_hits = total_hits(object.value("track_total_hits"))?;
        if let Some(source) = object.value("_source") {
            search.source = SourceFilter::parse(source)?;
        }
        for key in ["fields", "docvalue_fields", "stored_fields"] {
            if let Some(given) = object.value(key) {
                search.fields.extend(fields(key, given)?);
            }
        }
        search.timeout = object.text("timeout")?.map(|text| duration("timeout", &text)).transpose()?;
        search.pit = object.value("pit").map(pit).transpose()?;
        search.highlight = object.value("highlight").map(highlight).transpose()?;
        search.version = object.flag("version")?.unwrap_or(false);
        search.seq_no_primary_term = object.flag("seq_no_primary_term")?.unwrap_or(false);
        for key in [
            "script_fields",
            "runtime_mappings",
            "suggest",
            "rescore",
            "collapse",
            "slice",
            "knn",
            "rank",
            "retriever",
        ] {
            let is_there =
                given.get(key).is_some_and(|value| !value.is_null() && value != &serde_json::json!({}));
            if is_there {
                return Err(Error::argument(format!("[{key}] is not supported here")));
            }
            object.ignore(&[key]);
        }
        object.finish().map_err(|error| unknown_key(given, &error))?;
        Ok(search)
    }

    fn parameters(&mut self, parameters: &Parameters) -> Result<(), Error> {
        parameters.ignore(&[
            "allow_partial_search_results",
            "batched_reduce_size",
            "ccs_minimize_roundtrips",
            "explain",
            "max_concurrent_shard_requests",
            "pre_filter_shard_size",
            "preference",
            "request_cache",
            "routing",
            "search_type",
            "stats",
            "terminate_after",
            "track_scores",
            "force_synthetic_source",
        ]);
        self.text = text(parameters)?;
        if let Some(size) = parameters.integer("size")? {
            self.size = count("size", size)?;
        }
        if let Some(from) = parameters.integer("from")? {
            self.from = count("from", from)?;
        }
        let sort = parameters.list("sort");
        if !sort.is_empty() {
            self.sort = sort::from_text(&sort)?;
        }
        if let Some(given) = parameters.get("track_total_hits") {
            let value = serde_json::from_str(given).unwrap_or_else(|_| Json::from(given));
            self.total_hits = total_hits(Some(&value))?;
        }
        let source = parameters.list("_source");
        match source.as_slice() {
            [] => {}
            [one] => self.source = SourceFilter::parse(&Json::from(one.as_str()))?,
            many => self.source = SourceFilter::parse(&Json::from(many.to_vec()))?,
        }
        let names = |long, short| [parameters.list(long), parameters.list(short)].concat();
        let includes = names("_source_includes", "_source_include");
        let excludes = names("_source_excludes", "_source_exclude");
        self.source.restrict(&includes, &excludes);
        for key in ["stored_fields", "docvalue_fields", "fields"] {
            let names = parameters.list(key);
            self.fields.extend(
                names
                    .into_iter()
                    .filter(|name| name != "_none_")
                    .map(|name| FieldAsked { name, format: None }),
            );
        }
        self.scroll = parameters.duration("scroll")?;
        self.timeout = parameters.duration("timeout")?.or(self.timeout);
        self.total_as_number = parameters.flag("rest_total_hits_as_int")?.unwrap_or(false);
        self.version |= parameters.flag("version")?.unwrap_or(false);
        self.seq_no_primary_term |= parameters.flag("seq_no_primary_term")?.unwrap_or(false);
        self.typed_keys = parameters.flag("typed_keys")?.unwrap_or(false);
        Ok(())
    }

    /// What does not go together.
    pub(crate) fn checked(self) -> Result<Self, Error> {
        if let Some(after) = &self.search_after {
            if self.sort.is_empty() && self.pit.is_none() {
                return Err(Error::argument("Sort must contain at least one field."));
            }
            if self.from > 0 {
                return Err(Error::argument(
                    "`from` parameter must be set to 0 when `search_after` is used.",
                ));
            }
            let (values, keys) = (after.len(), self.sort.len());
            // What was searched at a point in time has one more, which tells equal ones apart.
            if values != keys && !(self.pit.is_some() && values == keys + 1) {
                return Err(Error::argument(format!(
                    "search_after has {values} value(s) but sort has {keys}."
                )));
            }
        }
        if self.scroll.is_some() && self.from > 0 {
            return Err(Error::validation(&["using [from] is not allowed in a scroll context".to_owned()]));
        }
        if self.fields.len() > MAX_FIELDS {
            return Err(Error::argument(format!(
                "Trying to retrieve too many fields. Must be less than or equal to: [{MAX_FIELDS}] but was [{}].",
                self.fields.len()
            )));
        }
        let window = self.from.saturating_add(self.size);
        if window > MAX_WINDOW {
            return Err(Error::argument(if self.scroll.is_some() {
                format!(
                    "Batch size is too large, size must be less than or equal to: [{MAX_WINDOW}] but was [{}]. Scroll batch sizes cost as much memory as result windows so they are controlled by the [index.max_result_window] index level setting.",
                    self.size
                )
            } else {
                format!(
                    "Result window is too large, from + size must be less than or equal to: [{MAX_WINDOW}] but was [{window}]. See the scroll api for a more efficient way to request large data sets. This limit can be set by changing the [index.max_result_window] index level setting."
                )
            }));
        }
        Ok(self)
    }

    /// What is found, without [`Search::post_filter`]: what aggregations are about.
    ///
    /// # Errors
    /// As Elasticsearch has them.
    pub fn filter(&self, mapping: &Mapping, now: Timestamp) -> Result<Expr, Error> {
        if let Some((text, asked)) = &self.text {
            let options = QueryString {
                fields: asked.fields.clone(),
                all: asked.all,
                lenient: asked.lenient,
                ..QueryString::default()
            };
            return query::query_string(text, &options, mapping, now);
        }
        self.query.as_ref().map_or(Ok(Expr::All), |query| query::query(query, mapping, now))
    }

    /// What is shown of that, besides.
    ///
    /// # Errors
    /// As Elasticsearch has them.
    pub fn post_filter(&self, mapping: &Mapping, now: Timestamp) -> Result<Expr, Error> {
        // All scores are 1.
        if self.min_score.is_some_and(|score| score > 1.0) {
            return Ok(query::none());
        }
        self.post_filter.as_ref().map_or(Ok(Expr::All), |query| Reader::new(mapping, now).whole(query))
    }

    /// The time that a filter is about.
    pub fn range(filter: &Expr) -> TimeRange {
        query::time_range(filter)
    }

    /// How hits are ordered, and where they begin.
    ///
    /// # Errors
    /// `search_after` does not fit.
    pub fn order(&self, mapping: &Mapping) -> Result<Order, Error> {
        Order::new(&self.sort, self.search_after.as_deref(), self.pit.is_some(), mapping)
    }

    /// The aggregations, where there are some.
    ///
    /// # Errors
    /// As Elasticsearch has them.
    pub fn aggregations(&self, mapping: &Mapping, now: Timestamp) -> Result<Option<Aggregated>, Error> {
        let Some(given) = &self.aggs else { return Ok(None) };
        let range = query::time_range(&self.filter(mapping, now)?);
        Ok(Some(aggs::plan(&aggs::Aggregations::parse(given)?, mapping, now, range)?))
    }

    /// Are there aggregations?
    pub fn has_aggregations(&self) -> bool {
        self.aggs.is_some()
    }

    /// Its aggregations, as they were sent.
    pub(super) fn aggs(&self) -> Option<&Json> {
        self.aggs.as_ref()
    }
}

/// What is asked of `_count`, `_delete_by_query` and their like: a query alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Count(Search);

impl Count {
    /// From a body, which may be empty, and parameters.
    ///
    /// # Errors
    /// As Elasticsearch has them.
    pub fn read(body: &[u8], parameters: &Parameters) -> Result<Self, Error> {
        let body = json(body)?;
        let mut search = Search::default();
        if !body.is_null() {
            let mut object = Object::of(&body, "count", Style::Content)?;
            search.query = object.value("query").cloned();
            object.ignore(&["max_docs", "conflicts", "slice"]);
            object.finish().map_err(|_| {
                let key = object.map().keys().find(|key| *key != "query").cloned().unwrap_or_default();
                Error::parsing(format!(
                    "request does not support [{}]",
                    key.chars().take(100).collect::<String>()
                ))
            })?;
        }
        parameters.ignore(&["preference", "routing", "terminate_after", "min_score"]);
        search.text = text(parameters)?;
        Ok(Self(search))
    }

    /// What is counted.
    ///
    /// # Errors
    /// As Elasticsearch has them.
    pub fn filter(&self, mapping: &Mapping, now: Timestamp) -> Result<Expr, Error> {
        self.0.filter(mapping, now)
    }
}

/// `q` and what is said with it.
fn text(parameters: &Parameters) -> Result<Option<(String, Asked)>, Error> {
    let asked = Asked {
        fields: parameters.get("df").map(str::to_owned).into_iter().collect(),
        all: query_operator(parameters.get("default_operator"))?,
        lenient: parameters.flag("lenient")?.unwrap_or(false),
    };
    parameters.ignore(&["analyzer", "analyze_wildcard"]);
    Ok(parameters.get("q").map(|text| (text.to_owned(), asked)))
}

fn query_operator(given: Option<&str>) -> Result<bool, Error> {
    match given.map(str::to_ascii_lowercase).as_deref() {
        None | Some("or") => Ok(false),
        Some("and") => Ok(true),
        Some(_) => Err(Error::argument("Unsupported defaultOperator, can either be [OR] or [AND]")),
    }
}

pub(super) fn json(body: &[u8]) -> Result<Json, Error> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Json::Null);
    }
    serde_json::from_slice(body).map_err(|error| {
        let reason = if error.to_string().contains("recursion") {
            "the request nests too deep".to_owned()
        } else {
            format!(
                "[{}:{}] {}",
                error.line(),
                error.column(),
                error.to_string().split(" at line").next().unwrap_or_default()
            )
        };
        Error::content(reason)
    })
}

fn unknown_key(given: &serde_json::Map<String, Json>, error: &Error) -> Error {
    let name = error
        .reason
        .rsplit_once('[')
        .map(|(_, name)| name.trim_end_matches(']').to_owned())
        .unwrap_or_default();
    let found = given.get(&name).map_or("VALUE_NULL", token);
    Error::parsing(format!("Unknown key for a {found} in [{name}]."))
}

fn count(name: &str, number: i64) -> Result<usize, Error> {
    usize::try_from(number)
        .map_err(|_| Error::argument(format!("[{name}] parameter cannot be negative, found [{number}]")))
}

fn total_hits(given: Option<&Json>) -> Result<TotalHits, Error> {
    match given {
        None => Ok(TotalHits::UpTo(DEFAULT_TOTAL)),
        Some(Json::Bool(true)) => Ok(TotalHits::All),
        Some(Json::Bool(false)) => Ok(TotalHits::No),
        Some(Json::String(text)) if text == "true" => Ok(TotalHits::All),
        Some(Json::String(text)) if text == "false" => Ok(TotalHits::No),
        Some(other) => match crate::json::integer(other) {
            Some(-1) => Ok(TotalHits::All),
            Some(limit) if limit >= 0 => Ok(TotalHits::UpTo(limit as u64)),
            _ => Err(Error::argument(format!(
                "[track_total_hits] parameter must be positive or equals to -1, got {}",
                other.to_string().chars().take(100).collect::<String>()
            ))),
        },
    }
}

fn fields(key: &'static str, given: &Json) -> Result<Vec<FieldAsked>, Error> {
    let one = |given: &Json| match given {
        Json::String(name) => Ok(FieldAsked { name: name.clone(), format: None }),
        Json::Object(_) => {
            let mut object = Object::of(given, key, Style::Content)?;
            object.ignore(&["include_unmapped"]);
            let name = object.required("field")?;
            let format = object.text("format")?.filter(|text| text != "use_field_mapping");
            object.finish()?;
            Ok(FieldAsked { name, format: format.map(|text| Format::new(&text)).transpose()? })
        }
        other => Err(Error::parsing(format!("[{key}] expected a field, found {}", token(other)))),
    };
    let mut asked: Vec<FieldAsked> = match given {
        Json::Array(all) => all.iter().map(one).collect::<Result<_, _>>()?,
        given => vec![one(given)?],
    };
    asked.retain(|field| field.name != "_none_" && field.name != "_source");
    Ok(asked)
}

fn pit(given: &Json) -> Result<Pit, Error> {
    let mut object = Object::of(given, "pit", Style::Content)?;
    let id = object.required("id")?;
    let keep_alive = object.text("keep_alive")?.map(|text| duration("keep_alive", &text)).transpose()?;
    object.finish()?;
    Ok(Pit { id, keep_alive })
}

/// Only which fields and which signs: how what is shown is cut does not matter for lines.
fn highlight(given: &Json) -> Result<Highlight, Error> {
    let object = Object::of(given, "highlight", Style::Content)?;
    let names = |fields: &Json| -> Vec<String> {
        match fields {
            Json::Object(map) => map.keys().cloned().collect(),
            Json::Array(all) => {
                all.iter().filter_map(Json::as_object).flat_map(|map| map.keys().cloned()).collect()
            }
            _ => Vec::new(),
        }
    };
    let tag = |key: &str, otherwise: &str| match object.map().get(key) {
        Some(Json::Array(tags)) => tags.first().and_then(Json::as_str).unwrap_or(otherwise).to_owned(),
        Some(Json::String(tag)) => tag.clone(),
        _ => otherwise.to_owned(),
    };
    Ok(Highlight {
        fields: object.map().get("fields").map(names).unwrap_or_default(),
        before: tag("pre_tags", "<em>"),
        after: tag("post_tags", "</em>"),
    })
}

/// Which indices a search is about is for the path to say, unless it is a point in time that is searched.
impl Search {
    /// # Errors
    /// An index is named where it must not be.
    pub fn check_indices(&self, indices: &Indices) -> Result<(), Error> {
        if self.pit.is_some() && !indices.patterns.is_empty() {
            return Err(Error::validation(&[
                "[indices] cannot be used with point in time. Do not specify any index with point in time."
                    .to_owned(),
            ]));
        }
        Ok(())
    }
}
