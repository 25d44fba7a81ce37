//! No decoder panics, whatever it is given: any JSON, and requests that were right until something in them was changed. What is
//! read is carried out, too.
#![expect(clippy::unwrap_used, reason = "tests")]

use crate::{
    fields::{Mapping, SourceFilter, record_of},
    query::{self, QueryString},
    request::{AutoCreate, Count, Indices, Parameters, Search, bulk, multi},
    testing::{Index, NOW},
};
use millrace_filter::Filter;
use millrace_model::declared::Declarations;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// Names and values that requests are made of.
const WORDS: &[&str] = &[
    "query",
    "bool",
    "must",
    "match",
    "term",
    "range",
    "gte",
    "lt",
    "format",
    "field",
    "n",
    "at",
    "k",
    "@timestamp",
    "size",
    "aggs",
    "terms",
    "order",
    "_key",
    "asc",
    "desc",
    "date_histogram",
    "fixed_interval",
    "1d",
    "calendar_interval",
    "month",
    "now-1h/d",
    "2024-01-01||+1M",
    "*",
    "a*b?",
    "/a[b-]/",
    "(",
    "\"",
    "a:b AND (c OR d)",
    "-1",
    "50%",
    "",
    "é",
    "Europe/Berlin",
    "+01:00",
    "epoch_millis",
    "yyyy-MM-dd",
    "_doc",
    "search_after",
    "_source",
    "includes",
    "buckets_path",
    "params.a / params.b",
    "MovingFunctions.max(values)",
    "10.0.0.0/8",
    "\\",
    "_exists_",
    "missing",
    "interval",
    "offset",
    "script",
    "percents",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![4 => prop::sample::select(WORDS).prop_map(str::to_owned), 1 => "\\PC{0,8}"]
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        (-100i64..100).prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        word().prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::vec((word(), inner), 0..4)
                .prop_map(|pairs| Json::Object(pairs.into_iter().collect())),
        ]
    })
}

/// Bodies that are right.
fn seeds() -> Vec<Json> {
    vec![
        json!({ "query": { "bool": { "must": [{ "match": { "m": { "query": "a b c", "minimum_should_match": "2<75%" } } }],
            "filter": { "range": { "at": { "gte": "now-1d/d", "lte": "2024-01-01", "format": "yyyy-MM-dd||epoch_millis", "time_zone": "+01:00" } } },
            "should": [{ "prefix": { "k": "a" } }, { "wildcard": { "k": { "value": "a*b?", "case_insensitive": true } } }, { "regexp": { "k": "a[b-d]{1,3}(x|y)?" } }],
            "minimum_should_match": 1, "must_not": { "ids": { "values": ["x"] } } } } }),
        json!({ "query": { "query_string": { "query": "a AND (b OR k:\"c d\"~2) -n:[1 TO 5} at:>=2024 /re.*/ x*^2", "fields": ["m", "k^2"], "lenient": true } } }),
        json!({ "query": { "multi_match": { "query": "a b", "fields": ["m", "k"], "type": "phrase_prefix", "slop": 1 } } }),
        json!({ "query": { "match_phrase": { "m": { "query": "a b c", "slop": 2 } } }, "post_filter": { "terms": { "n": [1, 2] } } }),
        json!({ "sort": [{ "n": { "order": "desc", "missing": 5 } }, { "at": { "format": "epoch_millis" } }, "k"], "search_after": [1, "1700000000000", "x"], "size": 3 }),
        json!({ "sort": [{ "@timestamp": "desc" }, "_doc"], "search_after": [1_700_000_000_000_i64, "x"], "_source": { "includes": ["a.*"] } }),
        json!({ "aggs": { "t": { "terms": { "field": "k", "size": 3, "order": [{ "s.max": "desc" }, { "_key": "asc" }], "missing": "x", "include": "a.*" },
            "aggs": { "s": { "extended_stats": { "field": "n" } }, "h": { "top_hits": { "size": 1 } },
                "d": { "date_histogram": { "field": "at", "calendar_interval": "month", "time_zone": "Europe/Berlin", "min_doc_count": 1 } } } } } }),
        json!({ "aggs": { "d": { "date_histogram": { "field": "at", "fixed_interval": "30d", "offset": "-4d", "extended_bounds": { "min": 1_600_000_000_000_i64, "max": 1_700_000_000_000_i64 } },
            "aggs": { "m": { "avg": { "field": "n", "missing": 1 } }, "v": { "moving_fn": { "buckets_path": "m", "window": 3, "script": "MovingFunctions.ewma(values, 0.3)" } },
                "x": { "bucket_script": { "buckets_path": { "a": "m", "b": "_count" }, "script": "params.a / params.b > 1 ? Math.abs(params.a) : 0" } },
                "z": { "bucket_sort": { "sort": [{ "m": "desc" }], "size": 5 } } } }, "best": { "max_bucket": { "buckets_path": "d>m" } } } }),
        json!({ "aggs": { "c": { "composite": { "size": 2, "sources": [{ "k": { "terms": { "field": "k", "missing_bucket": true } } },
            { "n": { "histogram": { "field": "n", "interval": 5 } } }, { "d": { "date_histogram": { "field": "at", "fixed_interval": "1d", "format": "yyyy" } } }],
            "after": { "k": null, "n": 0, "d": "2020" } } }, "m": { "multi_terms": { "terms": [{ "field": "k" }, { "field": "n" }] } } } }),
        json!({ "aggs": { "r": { "range": { "field": "n", "keyed": true, "ranges": [{ "to": 1 }, { "from": 1, "to": 5, "key": "x" }] } },
            "f": { "filters": { "filters": { "a": { "match": { "m": "b" } } }, "other_bucket": true } }, "g": { "global": {}, "aggs": { "p": { "percentiles": { "field": "n", "percents": [5, 95] } } } },
            "i": { "ip_range": { "field": "ip", "ranges": [{ "from": "10.0.0.1", "to": "10.0.1.0" }] } }, "h": { "histogram": { "field": "n", "interval": 2, "offset": 1, "hard_bounds": { "min": 0, "max": 10 } } },
            "dr": { "date_range": { "field": "at", "ranges": [{ "from": "now-10d/d", "to": "now" }] } } } }),
    ]
}

/// Changes what is found at the end of a walk: each step says which entry.
fn changed(value: &mut Json, walk: &[usize], with: &Json, how: u8) {
    let Some((step, rest)) = walk.split_first() else {
        *value = with.clone();
        return;
    };
    match value {
        Json::Array(values) if !values.is_empty() => {
            let at = step % values.len();
            if rest.is_empty() && how == 1 {
                values.remove(at);
            } else {
                changed(&mut values[at], rest, with, how);
            }
        }
        Json::Object(map) if !map.is_empty() => {
            let key = map.keys().nth(step % map.len()).unwrap().clone();
            match (rest.is_empty(), how) {
                (true, 1) => drop(map.remove(&key)),
                (true, 2) => {
                    let old = map.remove(&key).unwrap();
                    map.insert(with.as_str().unwrap_or("x").to_owned(), old);
                }
                _ => changed(map.get_mut(&key).unwrap(), rest, with, how),
            }
        }
        other => *other = with.clone(),
    }
}

fn index() -> Index {
    let mappings = json!({ "properties": { "n": { "type": "long" }, "at": { "type": "date" }, "k": { "type": "keyword" }, "m": { "type": "text" }, "ip": { "type": "ip" }, "b": { "type": "boolean" } } });
    let document = |at: i64| json!({ "@timestamp": 1_700_000_000_000_i64 + at, "n": at, "at": 1_600_000_000_000_i64 + at * 1_000_000_000, "k": format!("k{}", at % 3), "m": "a b c", "ip": "10.0.0.1", "x": [1, "y"] });
    Index::new(&mappings, &(0..7).map(document).collect::<Vec<_>>())
}

fn read_all(body: &Json) {
    let records = Mapping::of_records(&Declarations::default());
    for mapping in [&index().mapping, &records] {
        if let Ok(expr) = query::query(body, mapping, NOW) {
            let filter = Filter::new(expr);
            if query_is_short(&filter) {
                assert_eq!(millrace_filter::parse(&filter.to_string()).unwrap(), filter, "{filter}");
            }
        }
    }
    drop((Mapping::parse(body), SourceFilter::parse(body), record_of(&records, "x", body)));
    let text = body.to_string();
    let none = Parameters::default();
    drop((
        Search::read(text.as_bytes(), &none),
        Count::read(text.as_bytes(), &none),
        bulk(format!("{text}\n{text}\n").as_bytes(), None),
    ));
    drop(multi(format!("{{}}\n{text}\n{text}\n").as_bytes(), &Indices::default(), &none));
}

/// Texts of filters are read again with bounds of their own.
fn query_is_short(filter: &Filter) -> bool {
    filter.to_string().len() < 5000
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_json_is_read_or_refused(body in any_json()) {
        read_all(&body);
        drop(index().search(&body));
        drop(index().search(&json!({ "query": body })));
        drop(index().search(&json!({ "aggs": { "a": body } })));
    }

    #[test]
    fn changed_requests_are_read_or_refused(
        seed in 0usize..10,
        changes in prop::collection::vec((prop::collection::vec(0usize..9, 1..8), any_json(), 0u8..3), 0..4),
    ) {
        let mut body = seeds().swap_remove(seed);
        for (walk, with, how) in &changes {
            changed(&mut body, walk, with, *how);
        }
        if changes.is_empty() {
            index().search(&body).unwrap();
        }
        drop(index().search(&body));
        if let Some(inner) = body.get("query") {
            read_all(inner);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in prop_oneof![prop::collection::vec(word(), 0..8).prop_map(|words| words.join(" ")), "\\PC{0,40}"]) {
        let mapping = index().mapping;
        for lenient in [false, true] {
            let options = QueryString { lenient, ..QueryString::default() };
            if let Ok(expr) = query::query_string(&text, &options, &mapping, NOW) {
                let filter = Filter::new(expr);
                prop_assert_eq!(millrace_filter::parse(&filter.to_string()).unwrap(), filter);
            }
        }
        let simple = json!({ "simple_query_string": { "query": text } });
        prop_assert!(query::query(&simple, &mapping, NOW).is_ok());
        drop(crate::date::Format::new(&text).map(|format| (format.read(&text, crate::Zone::UTC, true), format.write(NOW.0, crate::Zone::UTC))));
        drop((crate::date::math(&text, &crate::date::Format::standard(), crate::Zone::UTC, NOW.0, true), crate::date::length(&text), crate::Zone::parse(&text)));
        drop((AutoCreate::parse(&text), Indices::check_name(&text), bulk(text.as_bytes(), Some("x"))));
        let parameters = Parameters::new(WORDS.iter().map(|name| ((*name).to_owned(), text.clone())).chain([("q".to_owned(), text.clone()), ("sort".to_owned(), text.clone())]).collect());
        drop(Search::read(b"", &parameters));
    }
}
