//! Aggregations over documents in memory: planned, carried out by pipes, and answered.
#![expect(clippy::unwrap_used, clippy::float_cmp, reason = "tests")]

use crate::testing::Index;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn index() -> Index {
    let mappings = json!({ "properties": {
        "kind": { "type": "text", "fielddata": true },
        "user": { "type": "keyword" },
        "took": { "type": "long" },
        "ok": { "type": "boolean" },
        "client": { "type": "ip" },
        "at": { "type": "date", "format": "yyyy-MM-dd'T'HH:mm:ssXXX||epoch_millis" },
    } });
    let document = |user: Json, took: Json, at: &str, ok: bool| json!({ "user": user, "took": took, "at": at, "ok": ok, "kind": "PushEvent", "client": "10.0.0.1" });
    let documents = [
        document(json!("ann"), json!(10), "2024-01-01T00:30:00Z", true),
        document(json!("ann"), json!(30), "2024-01-01T10:00:00Z", false),
        document(json!("bob"), json!(20), "2024-01-03T10:00:00Z", true),
        document(json!("bob"), Json::Null, "2024-02-03T10:00:00Z", true),
        document(json!("cid"), json!(40), "2024-03-31T22:30:00Z", true),
        document(Json::Null, json!(100), "2024-03-31T23:30:00Z", false),
    ];
    Index::new(&mappings, &documents)
}

fn keys(of: &Json) -> Json {
    of["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bucket| json!([bucket["key"], bucket["doc_count"]]))
        .collect()
}

#[test]
fn terms_are_counted_ordered_and_cut() {
    let index = index();
    let of = |terms: Json| index.aggs(&json!({ "a": { "terms": terms } }))["a"].clone();
    let all = of(json!({ "field": "user" }));
    assert_eq!(keys(&all), json!([["ann", 2], ["bob", 2], ["cid", 1]]));
    assert_eq!(all["sum_other_doc_count"], 0);
    let cut = of(json!({ "field": "user.keyword", "size": 1, "order": { "_key": "desc" } }));
    assert_eq!((keys(&cut), &cut["sum_other_doc_count"]), (json!([["cid", 1]]), &json!(4)));
    assert_eq!(keys(&of(json!({ "field": "kind" }))), json!([["pushevent", 6]]));
    assert_eq!(
        keys(&of(json!({ "field": "user", "missing": "nobody", "size": 9, "include": "[bn].*" }))),
        json!([["bob", 2], ["nobody", 1]])
    );
    assert_eq!(
        keys(&of(json!({ "field": "user", "exclude": ["ann"], "min_doc_count": 2 }))),
        json!([["bob", 2]])
    );
    let flags = of(json!({ "field": "ok" }));
    assert_eq!(flags["buckets"][0], json!({ "key": 1, "key_as_string": "true", "doc_count": 4 }));
    assert_eq!(keys(&of(json!({ "field": "took", "size": 2_147_483_647 })))[0], json!([10, 1]));
}

#[test]
fn each_element_of_an_array_is_a_key_once() {
    let mappings = json!({ "properties": {
        "tags": { "type": "keyword" }, "codes": { "type": "long" }, "took": { "type": "long" },
    } });
    let documents = [
        json!({ "tags": ["a", "b", "a"], "codes": [1, 2], "took": 5 }),
        json!({ "tags": "a", "codes": 2, "took": 7 }),
        json!({ "tags": [], "codes": [], "took": 9 }),
        json!({ "took": 11 }),
    ];
    let index = Index::new(&mappings, &documents);
    let of = |aggs: Json| index.aggs(&json!({ "a": aggs }))["a"].clone();
    let tags = of(json!({ "terms": { "field": "tags" }, "aggs": { "all": { "sum": { "field": "took" } } } }));
    assert_eq!(keys(&tags), json!([["a", 2], ["b", 1]]));
    assert_eq!(tags["buckets"][0]["all"], json!({ "value": 12.0 }), "{tags}");
    assert_eq!(keys(&of(json!({ "terms": { "field": "codes" } }))), json!([[2, 2], [1, 1]]));
    assert_eq!(
        keys(&of(json!({ "terms": { "field": "tags", "missing": "none" } }))),
        json!([["a", 2], ["none", 2], ["b", 1]])
    );
    let both = of(json!({ "multi_terms": { "terms": [{ "field": "tags" }, { "field": "codes" }] } }));
    assert_eq!(keys(&both), json!([[["a", 2], 2], [["a", 1], 1], [["b", 1], 1], [["b", 2], 1]]));
    let inner =
        of(json!({ "terms": { "field": "codes" }, "aggs": { "t": { "terms": { "field": "tags" } } } }));
    assert_eq!(keys(&inner["buckets"][0]["t"]), json!([["a", 2], ["b", 1]]));
}

#[test]
fn metrics_hang_below_buckets_and_order_them() {
    let index = index();
    let aggs = json!({ "a": {
        "terms": { "field": "user", "order": { "most.max": "desc" } },
        "aggs": { "most": { "stats": { "field": "took" } }, "n": { "value_count": { "field": "took" } } },
        "meta": { "x": 1 },
    } });
    let a = index.aggs(&aggs)["a"].clone();
    assert_eq!(keys(&a), json!([["cid", 1], ["ann", 2], ["bob", 2]]));
    assert_eq!(
        a["buckets"][1]["most"],
        json!({ "count": 2, "min": 10.0, "max": 30.0, "avg": 20.0, "sum": 40.0 })
    );
    assert_eq!(a["buckets"][2]["n"], json!({ "value": 1 }));
    assert_eq!(a["meta"], json!({ "x": 1 }));
    let wrong = index
        .search(&json!({ "aggs": { "a": { "terms": { "field": "user", "order": { "nope": "asc" } } } } }));
    assert_eq!(wrong.unwrap_err().kind, "illegal_argument_exception");
}

#[test]
fn metrics_of_all() {
    let aggs = index().aggs(&json!({
        "avg": { "avg": { "field": "took" } },
        "card": { "cardinality": { "field": "user" } },
        "ext": { "extended_stats": { "field": "took" } },
        "p": { "percentiles": { "field": "took", "percents": [50, 100] } },
        "q": { "percentiles": { "field": "took", "percents": [50], "keyed": false } },
        "r": { "percentile_ranks": { "field": "took", "values": [30] } },
        "w": { "weighted_avg": { "value": { "field": "took" }, "weight": { "field": "took" } } },
        "last": { "max": { "field": "at" } },
        "none": { "avg": { "field": "nope" } },
        "miss": { "sum": { "field": "took", "missing": 1 } },
    }));
    assert_eq!(aggs["avg"], json!({ "value": 40.0 }));
    assert_eq!(aggs["card"], json!({ "value": 3 }));
    assert_eq!(aggs["ext"]["sum_of_squares"], json!(13_000.0));
    assert_eq!(aggs["ext"]["std_deviation_bounds"]["upper"].as_f64().unwrap().round(), 103.0);
    assert_eq!(aggs["p"], json!({ "values": { "50.0": 30.0, "100.0": 100.0 } }));
    assert_eq!(aggs["q"], json!({ "values": [{ "key": 50.0, "value": 30.0 }] }));
    assert_eq!(aggs["r"], json!({ "values": { "30.0": 60.0 } }));
    assert_eq!(aggs["w"], json!({ "value": 65.0 }));
    assert_eq!(
        aggs["last"],
        json!({ "value": 1_711_927_800_000.0, "value_as_string": "2024-03-31T23:30:00Z" })
    );
    assert_eq!(aggs["none"], json!({ "value": null }));
    assert_eq!(aggs["miss"], json!({ "value": 201.0 }));
}

#[test]
fn times_are_cut_by_calendars_and_empty_intervals_filled_in() {
    let index = index();
    let of = |histogram: Json| index.aggs(&json!({ "a": { "date_histogram": histogram } }))["a"].clone();
    let texts = |of: &Json| -> Json {
        of["buckets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|bucket| json!([bucket["key_as_string"], bucket["doc_count"]]))
            .collect()
    };
    let months = of(json!({ "field": "at", "calendar_interval": "month", "format": "yyyy-MM-dd" }));
    assert_eq!(texts(&months), json!([["2024-01-01", 3], ["2024-02-01", 1], ["2024-03-01", 2]]));
    let berlin = of(json!({ "field": "at", "calendar_interval": "1M", "time_zone": "Europe/Berlin" }));
    assert_eq!(
        texts(&berlin),
        json!([
            ["2024-01-01T00:00:00+01:00", 3],
            ["2024-02-01T00:00:00+01:00", 1],
            ["2024-03-01T00:00:00+01:00", 0],
            ["2024-04-01T00:00:00+02:00", 2],
        ])
    );
    assert_eq!(berlin["buckets"][3]["key"], json!(1_711_922_400_000_i64));
    for (unit, first, count) in [
        ("quarter", "2024-01-01", 1),
        ("year", "2024-01-01", 1),
        ("week", "2024-01-01", 13),
        ("day", "2024-01-01", 91),
    ] {
        let cut = of(json!({ "field": "at", "calendar_interval": unit, "format": "yyyy-MM-dd" }));
        assert_eq!(cut["buckets"].as_array().unwrap().len(), count, "{unit}");
        assert_eq!(cut["buckets"][0]["key_as_string"], first, "{unit}");
    }
    let shifted = of(json!({ "field": "at", "fixed_interval": "30d", "offset": "-4d", "min_doc_count": 1 }));
    assert_eq!(texts(&shifted)[0], json!(["2023-12-15T00:00:00Z", 3]));
    let bounded = of(json!({ "field": "at", "fixed_interval": "1d", "keyed": true,
        "hard_bounds": { "min": "2024-01-01", "max": "2024-01-04" } }));
    assert_eq!(bounded["buckets"].as_object().unwrap().len(), 3);
    assert_eq!(bounded["buckets"]["2024-01-02T00:00:00Z"]["doc_count"], 0);
    let hours = of(
        json!({ "field": "at", "fixed_interval": "1h", "time_zone": "Europe/Berlin", "min_doc_count": 1 }),
    );
    assert_eq!(texts(&hours)[0], json!(["2024-01-01T01:00:00+01:00", 1]));
    let extended = index
        .search(&json!({ "query": { "match_none": {} }, "aggs": { "a": { "date_histogram": {
        "field": "at", "fixed_interval": "1h", "extended_bounds": { "min": 0, "max": 7_200_000 } } } } }))
        .unwrap();
    assert_eq!(keys(&extended["aggregations"]["a"]), json!([[0, 0], [3_600_000, 0], [7_200_000, 0]]));
    let many = index
        .search(&json!({ "aggs": { "a": { "date_histogram": { "field": "at", "fixed_interval": "1s" } } } }));
    assert_eq!(many.unwrap_err().kind, "too_many_buckets_exception");
}

#[test]
fn conditions_are_buckets() {
    let index = index();
    let aggs = index.search(&json!({ "query": { "term": { "user": "ann" } }, "aggs": {
        "f": { "filter": { "term": { "ok": true } }, "aggs": { "t": { "terms": { "field": "user" } } } },
        "named": { "filters": { "filters": { "fast": { "range": { "took": { "lt": 20 } } }, "all": { "match_all": {} } }, "other_bucket_key": "rest" } },
        "listed": { "filters": { "filters": [{ "query_string": { "query": "user:ann" } }, { "match_none": {} }] } },
        "miss": { "missing": { "field": "took" } },
        "all": { "global": {}, "aggs": { "n": { "value_count": { "field": "took" } }, "u": { "cardinality": { "field": "user" } } } },
        "r": { "range": { "field": "took", "ranges": [{ "from": 20 }, { "to": 20, "key": "fast" }, { "from": 5, "to": 100 }] } },
        "d": { "date_range": { "field": "at", "format": "yyyy-MM-dd", "ranges": [{ "to": "2024-01-02" }, { "from": "now-1y/d" }] } },
        "ip": { "ip_range": { "field": "client", "ranges": [{ "mask": "10.0.0.0/24" }, { "from": "10.0.0.2" }] } },
    } }))
    .unwrap()["aggregations"]
        .clone();
    assert_eq!(aggs["f"]["doc_count"], 1);
    assert_eq!(keys(&aggs["f"]["t"]), json!([["ann", 1]]));
    let count = |name: &str| aggs["named"]["buckets"][name]["doc_count"].clone();
    assert_eq!((count("fast"), count("all"), count("rest")), (json!(1), json!(2), json!(0)));
    assert_eq!(aggs["listed"]["buckets"], json!([{ "doc_count": 2 }, { "doc_count": 0 }]));
    assert_eq!(aggs["miss"]["doc_count"], 0);
    assert_eq!(
        (&aggs["all"]["doc_count"], &aggs["all"]["n"], &aggs["all"]["u"]),
        (&json!(6), &json!({ "value": 5 }), &json!({ "value": 3 }))
    );
    assert_eq!(
        aggs["r"]["buckets"],
        json!([
            { "key": "fast", "to": 20.0, "doc_count": 1 },
            { "key": "5.0-100.0", "from": 5.0, "to": 100.0, "doc_count": 2 },
            { "key": "20.0-*", "from": 20.0, "doc_count": 1 },
        ])
    );
    assert_eq!(aggs["d"]["buckets"][0]["key"], "*-2024-01-02");
    assert_eq!(aggs["d"]["buckets"][0]["doc_count"], 2);
    assert_eq!(keys(&aggs["ip"]), json!([["10.0.0.0/24", 2], ["10.0.0.2-*", 0]]));
}

#[test]
fn composites_are_paged() {
    let index = index();
    let page = |after: Json| {
        let mut composite = json!({ "size": 2, "sources": [
            { "u": { "terms": { "field": "user", "missing_bucket": true } } },
            { "t": { "histogram": { "field": "took", "interval": 25 } } },
        ] });
        if !after.is_null() {
            composite["after"] = after;
        }
        index.aggs(&json!({ "a": { "composite": composite } }))["a"].clone()
    };
    let (mut after, mut all) = (Json::Null, Vec::new());
    loop {
        let shown = page(after);
        all.extend(shown["buckets"].as_array().unwrap().clone());
        after = shown["after_key"].clone();
        if after.is_null() {
            break;
        }
    }
    let keys: Vec<Json> = all
        .iter()
        .map(|bucket| json!([bucket["key"]["u"], bucket["key"]["t"], bucket["doc_count"]]))
        .collect();
    assert_eq!(
        json!(keys),
        json!([[null, 100.0, 1], ["ann", 0.0, 1], ["ann", 25.0, 1], ["bob", 0.0, 1], ["cid", 25.0, 1]])
    );
    let typed = page(json!({ "u": "str:ann", "t": "f64:25" }));
    assert_eq!(typed["buckets"][0]["key"], json!({ "u": "bob", "t": 0.0 }));
    let months = index.aggs(&json!({ "a": { "composite": { "sources": [
        { "m": { "date_histogram": { "field": "at", "calendar_interval": "month", "format": "yyyy-MM", "order": "desc" } } } ],
        "after": { "m": "2024-03" } } } }));
    assert_eq!(months["a"]["buckets"][0], json!({ "key": { "m": "2024-02" }, "doc_count": 1 }));
}

#[test]
fn several_fields_are_one_key() {
    let aggs = index()
        .aggs(&json!({ "a": { "multi_terms": { "terms": [{ "field": "user" }, { "field": "took" }],
        "order": { "_key": "asc" } }, "aggs": { "m": { "avg": { "field": "took" } } } } }));
    assert_eq!(
        aggs["a"]["buckets"][1],
        json!({ "key": ["ann", 30], "key_as_string": "ann|30", "doc_count": 1, "m": { "value": 30.0 } })
    );
}

#[test]
fn numbers_are_cut_and_keys_are_fractions() {
    let index = index();
    let of = |histogram: Json| keys(&index.aggs(&json!({ "a": { "histogram": histogram } }))["a"]);
    assert_eq!(of(json!({ "field": "took", "interval": 40 })), json!([[0.0, 3], [40.0, 1], [80.0, 1]]));
    assert_eq!(
        of(json!({ "field": "took", "interval": 50, "offset": 10, "min_doc_count": 1 })),
        json!([[10.0, 4], [60.0, 1]])
    );
    assert_eq!(of(json!({ "field": "nope", "interval": 50 })), json!([]));
    assert_eq!(
        of(json!({ "field": "nope", "interval": 50, "extended_bounds": { "min": 0, "max": 60 } })),
        json!([[0.0, 0], [50.0, 0]])
    );
    assert!(
        index
            .search(&json!({ "aggs": { "a": { "histogram": { "field": "took", "interval": 0.0001 } } } }))
            .is_err()
    );
}

#[test]
fn pipelines_look_along_buckets_and_at_them() {
    let aggs = index().aggs(&json!({
        "d": { "date_histogram": { "field": "at", "calendar_interval": "month", "format": "yyyy-MM" }, "aggs": {
            "1": { "sum": { "field": "took" } },
            "p": { "percentiles": { "field": "took", "percents": [100] } },
            "diff": { "derivative": { "buckets_path": "1" } },
            "run": { "cumulative_sum": { "buckets_path": "1" } },
            "move": { "moving_fn": { "buckets_path": "1", "window": 2, "script": "MovingFunctions.unweightedAvg(values)" } },
            "lag": { "serial_diff": { "buckets_path": "_count", "lag": 1 } },
            "x": { "bucket_script": { "buckets_path": { "a": "1", "n": "_count" }, "script": { "source": "params.a / params.n" } } },
            "y": { "cumulative_sum": { "buckets_path": "x" } },
            "z": { "bucket_script": { "buckets_path": { "a": "p[100.0]" }, "script": "params.a * 2" } },
            "keep": { "bucket_selector": { "buckets_path": { "n": "_count" }, "script": "params.n > 1" } },
        } },
        "best": { "max_bucket": { "buckets_path": "d>1" } },
        "mean": { "avg_bucket": { "buckets_path": "d>1" } },
        "stats": { "stats_bucket": { "buckets_path": "d>_count" } },
    }));
    let buckets = aggs["d"]["buckets"].as_array().unwrap();
    assert_eq!(buckets.len(), 2, "that of one record is left out");
    assert_eq!(buckets[0]["key_as_string"], "2024-01");
    assert_eq!(buckets[0]["diff"], Json::Null);
    assert_eq!(buckets[1]["diff"], json!({ "value": 140.0 }));
    assert_eq!(buckets[1]["run"], json!({ "value": 200.0 }));
    assert_eq!(buckets[1]["move"], json!({ "value": 30.0 }));
    assert_eq!(buckets[1]["lag"], json!({ "value": 1.0 }));
    assert_eq!(buckets[0]["x"], json!({ "value": 20.0 }));
    assert_eq!(buckets[1]["y"], json!({ "value": 90.0 }));
    assert_eq!(buckets[1]["z"], json!({ "value": 200.0 }));
    assert_eq!(aggs["best"], json!({ "value": 140.0, "keys": ["2024-03"] }));
    assert_eq!(aggs["mean"], json!({ "value": 100.0 }));
    assert_eq!(aggs["stats"]["sum"], json!(5.0));
}

#[test]
fn hits_of_buckets_are_further_searches() {
    let aggs = index().aggs(&json!({ "u": { "terms": { "field": "user", "size": 1 }, "aggs": {
        "d": { "date_histogram": { "field": "at", "fixed_interval": "12h", "min_doc_count": 1 }, "aggs": { "top": { "top_hits": { "size": 1 } } } } } } }));
    let hits = aggs["u"]["buckets"][0]["d"]["buckets"][0]["top"]["hits"].clone();
    assert_eq!(hits["total"], 2);
    assert_eq!(hits["hits"][0]["user"], "ann");
}

#[test]
fn what_is_wrong_is_an_error() {
    let index = index();
    for (aggs, kind) in [
        (json!({ "a": { "nope": {} } }), "parsing_exception"),
        (json!({ "a": {} }), "parsing_exception"),
        (json!({ "a": { "terms": { "field": "x" }, "avg": { "field": "x" } } }), "parsing_exception"),
        (json!({ "a": { "terms": { "field": "x", "nope": 1 } } }), "x_content_parse_exception"),
        (json!({ "a": { "terms": {} } }), "illegal_argument_exception"),
        (
            json!({ "a": { "avg": { "field": "x" }, "aggs": { "b": { "avg": { "field": "x" } } } } }),
            "illegal_argument_exception",
        ),
        (json!({ "a": { "date_histogram": { "field": "at" } } }), "illegal_argument_exception"),
        (
            json!({ "a": { "date_histogram": { "field": "user", "fixed_interval": "1d" } } }),
            "illegal_argument_exception",
        ),
        (json!({ "a": { "histogram": { "field": "took", "interval": -1 } } }), "illegal_argument_exception"),
        (json!({ "a": { "scripted_metric": {} } }), "illegal_argument_exception"),
        (json!({ "a": { "derivative": { "buckets_path": "x" } } }), "action_request_validation_exception"),
        (json!({ "a[b]": { "avg": { "field": "x" } } }), "illegal_argument_exception"),
        (json!([]), "parsing_exception"),
    ] {
        let error = index.search(&json!({ "aggs": aggs })).unwrap_err();
        assert_eq!((error.kind, error.status), (kind, 400), "{aggs}");
    }
    let mut deep = json!({ "x": { "terms": { "field": "user" } } });
    for _ in 0..30 {
        deep = json!({ "x": { "terms": { "field": "user" }, "aggs": deep } });
    }
    assert!(index.search(&json!({ "aggs": deep })).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Counts add up, whatever is asked for: of terms with the others, of histograms, of partitions by nested keys.
    #[test]
    fn counts_add_up(values in prop::collection::vec((0i64..6, 0i64..4_000_000_000_000, prop::option::of(-50i64..50)), 0..60), size in 1usize..8) {
        let mappings = json!({ "properties": { "at": { "type": "date" }, "k": { "type": "keyword" }, "n": { "type": "long" } } });
        let documents: Vec<Json> = values.iter().map(|(k, at, n)| json!({ "k": format!("k{k}"), "at": at, "n": n })).collect();
        let index = Index::new(&mappings, &documents);
        let aggs = index.aggs(&json!({
            "t": { "terms": { "field": "k", "size": size }, "aggs": {
                "s": { "sum": { "field": "n" } },
                "y": { "date_histogram": { "field": "at", "calendar_interval": "year", "time_zone": "America/New_York" },
                    "aggs": { "s": { "sum": { "field": "n" } } } } } },
            "m": { "date_histogram": { "field": "at", "calendar_interval": "month", "min_doc_count": 1, "time_zone": "Europe/Berlin" } },
            "q": { "date_histogram": { "field": "at", "calendar_interval": "quarter", "min_doc_count": 1 } },
            "s": { "sum": { "field": "n" } },
            "h": { "histogram": { "field": "n", "interval": 7 } },
            "r": { "range": { "field": "n", "ranges": [{ "to": 0 }, { "from": 0 }] } },
        }));
        let count = |of: &Json| -> u64 { of["buckets"].as_array().unwrap().iter().map(|b| b["doc_count"].as_u64().unwrap()).sum() };
        let all = values.len() as u64;
        let some = values.iter().filter(|(_, _, n)| n.is_some()).count() as u64;
        prop_assert_eq!(count(&aggs["t"]) + aggs["t"]["sum_other_doc_count"].as_u64().unwrap(), all);
        prop_assert_eq!(count(&aggs["m"]), all);
        prop_assert_eq!(count(&aggs["q"]), all);
        prop_assert_eq!(count(&aggs["h"]), some);
        prop_assert_eq!(count(&aggs["r"]), some);
        for bucket in aggs["t"]["buckets"].as_array().unwrap() {
            prop_assert_eq!(count(&bucket["y"]), bucket["doc_count"].as_u64().unwrap());
            let sum: f64 = bucket["y"]["buckets"].as_array().unwrap().iter().map(|b| b["s"]["value"].as_f64().unwrap()).sum();
            prop_assert_eq!(sum, bucket["s"]["value"].as_f64().unwrap());
        }
        // Each record is in the interval that a calendar says.
        let berlin = crate::Zone::parse("Europe/Berlin").unwrap();
        for (unit, zone, name) in [(crate::zone::Unit::Month, berlin, "m"), (crate::zone::Unit::Quarter, crate::Zone::UTC, "q")] {
            let mut expected: std::collections::BTreeMap<i64, u64> = std::collections::BTreeMap::new();
            for (_, at, _) in &values {
                *expected.entry(zone.floor(at * 1_000_000, unit) / 1_000_000).or_default() += 1;
            }
            let expected: Json = expected.into_iter().map(|(at, count)| json!([at, count])).collect();
            prop_assert_eq!(keys(&aggs[name]), expected);
        }
    }
}
