//! From JSON to what is asked for.

mod buckets;
mod metrics;
mod piped;

use super::{
    MAX_AGGREGATIONS, MAX_DEPTH,
    spec::{Aggregations, Entry, OrderKey, Source, What},
};
use crate::{
    Error,
    json::{self, Object, Style, token},
    request::Search,
};
use serde_json::{Map, Value as Json};

/// Aggregations that Elasticsearch knows and that are not carried out here.
const UNSUPPORTED: &[&str] = &[
    "adjacency_matrix",
    "auto_date_histogram",
    "categorize_text",
    "children",
    "diversified_sampler",
    "frequent_item_sets",
    "geo_bounds",
    "geo_centroid",
    "geo_distance",
    "geohash_grid",
    "geotile_grid",
    "inference",
    "matrix_stats",
    "median_absolute_deviation",
    "nested",
    "normalize",
    "parent",
    "random_sampler",
    "rare_terms",
    "rate",
    "reverse_nested",
    "sampler",
    "scripted_metric",
    "significant_terms",
    "significant_text",
    "string_stats",
    "t_test",
    "time_series",
    "top_metrics",
    "variable_width_histogram",
];

impl Aggregations {
    /// From the value of `aggs`.
    ///
    /// # Errors
    /// As Elasticsearch has them.
    pub fn parse(given: &Json) -> Result<Self, Error> {
        let mut left = MAX_AGGREGATIONS;
        let entries = level(given, 0, &mut left)?;
        for entry in &entries {
            if let What::Pipeline(piped) = &entry.what
                && !piped.kind.is_sibling()
            {
                return Err(Error::validation(&[format!(
                    "aggregation [{}] must be declared inside of another aggregation",
                    entry.name
                )]));
            }
        }
        Ok(Self { entries })
    }
}

fn level(given: &Json, depth: usize, left: &mut usize) -> Result<Vec<Entry>, Error> {
    if depth >= MAX_DEPTH {
        return Err(Error::argument(format!("aggregations nest more than {MAX_DEPTH} deep")));
    }
    let Json::Object(given) = given else {
        return Err(Error::parsing(format!("Found a non-object [{}] in aggregations", token(given))));
    };
    given.iter().map(|(name, body)| entry(name, body, depth, left)).collect()
}

fn entry(name: &str, body: &Json, depth: usize, left: &mut usize) -> Result<Entry, Error> {
    *left = left
        .checked_sub(1)
        .ok_or_else(|| Error::argument(format!("there are more than {MAX_AGGREGATIONS} aggregations")))?;
    if name.is_empty() || name.contains(['[', ']', '>']) {
        return Err(Error::argument(format!(
            "Invalid aggregation name [{name}]. Aggregation names can contain any character except '[', ']', and '>'"
        )));
    }
    let Json::Object(body) = body else {
        return Err(Error::parsing(format!(
            "Aggregation definition for [{name} starts with a [{}], expected a [START_OBJECT].",
            token(body)
        )));
    };
    let (mut kind, mut inner, mut meta) = (None, Vec::new(), None);
    for (key, value) in body {
        match key.as_str() {
            "aggs" | "aggregations" => inner = level(value, depth + 1, left)?,
            "meta" => meta = Some(value.clone()),
            other if kind.is_none() => kind = Some((other, value)),
            other => {
                let (first, _) = kind.unwrap_or(("", value));
                return Err(Error::parsing(format!(
                    "Found two aggregation type definitions in [{name}]: [{first}] and [{other}]"
                )));
            }
        }
    }
    let Some((kind, options)) = kind else {
        return Err(Error::parsing(format!("Missing definition for aggregation [{name}]")));
    };
    let what = what(kind, options)?;
    if !inner.is_empty() && !matches!(what, What::Bucket(_)) {
        return Err(Error::argument(format!(
            "Aggregator [{name}] of type [{kind}] cannot accept sub-aggregations"
        )));
    }
    Ok(Entry { name: name.to_owned(), what, inner, meta })
}

fn what(kind: &str, options: &Json) -> Result<What, Error> {
    if let Some(bucket) = buckets::read(kind, options)? {
        return Ok(What::Bucket(bucket));
    }
    if let Some(metric) = metrics::read(kind, options)? {
        return Ok(What::Metric(metric));
    }
    if let Some(piped) = piped::read(kind, options)? {
        return Ok(What::Pipeline(piped));
    }
    if kind == "top_hits" {
        return Ok(What::TopHits(Box::new(top_hits(options)?)));
    }
    let shown: String = kind.chars().take(100).collect();
    if UNSUPPORTED.contains(&kind) {
        return Err(Error::argument(format!("[{shown}] aggregations are not supported here")));
    }
    let cause = Error {
        kind: "named_object_not_found_exception",
        ..Error::parsing(format!("unknown field [{shown}]"))
    };
    Err(Error {
        cause: Some(Box::new(cause)),
        ..Error::parsing(format!("Unknown aggregation type [{shown}]"))
    })
}

fn top_hits(options: &Json) -> Result<Search, Error> {
    if let Json::Object(given) = options
        && let Some(other) = ["query", "aggs", "aggregations", "search_after", "pit", "post_filter"]
            .iter()
            .find(|key| given.contains_key(**key))
    {
        return Err(Error::parsing(format!("Unknown key for a START_OBJECT in [{other}].")));
    }
    let mut search = Search::body(options)?;
    if options.get("size").is_none_or(serde_json::Value::is_null) {
        search.size = 3;
    }
    if search.from.saturating_add(search.size) > 100 {
        return Err(Error::argument(format!(
            "Top hits result window is too large, the top hits aggregator's from + size must be less than or equal to: [100] but was [{}].",
            search.from.saturating_add(search.size)
        )));
    }
    Ok(search)
}

/// `field` and `missing`.
fn source(object: &mut Object<'_>) -> Result<Source, Error> {
    if object.value("script").is_some() {
        return Err(Error::argument("[script] is not supported here"));
    }
    let field = object.text("field")?.filter(|field| !field.is_empty()).ok_or_else(|| {
        Error::argument("Required one of fields [field, script], but none were specified. ")
    })?;
    Ok(Source { field, missing: object.value("missing").cloned() })
}

/// `order`: one object, or a list of them.
fn order(given: Option<&Json>) -> Result<Vec<OrderKey>, Error> {
    let mut keys = Vec::new();
    let mut one = |given: &Json| {
        let Json::Object(map) = given else {
            return Err(Error::parsing(format!("Order expected as an object, found {}", token(given))));
        };
        for (path, direction) in map {
            let descending = match direction.as_str().map(str::to_ascii_lowercase).as_deref() {
                Some("asc") => false,
                Some("desc") => true,
                _ => return Err(Error::parsing(format!("Unknown order direction [{direction}]"))),
            };
            let path = match path.as_str() {
                "_term" | "_time" => "_key",
                other => other,
            };
            keys.push(OrderKey { path: path.to_owned(), descending });
        }
        Ok(())
    };
    match given {
        None => {}
        Some(Json::Array(all)) => all.iter().try_for_each(&mut one)?,
        Some(given) => one(given)?,
    }
    Ok(keys)
}

fn content<'a>(options: &'a Json, kind: &'a str) -> Result<Object<'a>, Error> {
    Object::of(options, kind, Style::Content)
}

fn floats(given: Option<&Json>, name: &str, most: usize) -> Result<Option<Vec<f64>>, Error> {
    let Some(given) = given else { return Ok(None) };
    let numbers = match given {
        Json::Array(all) if all.len() <= most => all.iter().map(json::float).collect(),
        one => json::float(one).map(|number| vec![number]),
    };
    numbers.map(Some).ok_or_else(|| Error::content(format!("[{name}] expected numbers")))
}

fn entries(map: &Map<String, Json>) -> Vec<(String, Json)> {
    map.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}
