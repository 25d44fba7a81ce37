//! Requests, read; and hits in their order.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::testing::Index;
use serde_json::{Value as Json, json};

fn parameters(pairs: &[(&str, &str)]) -> Parameters {
    Parameters::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

fn read(body: &Json, pairs: &[(&str, &str)]) -> Result<Search, crate::Error> {
    let parameters = parameters(pairs);
    let search = Search::read(body.to_string().as_bytes(), &parameters)?;
    parameters.finish("/x/_search")?;
    Ok(search)
}

#[test]
fn searches_are_read() {
    let search = read(
        &json!({ "size": 3, "from": 1, "sort": [{ "a": "desc" }, "_doc"], "track_total_hits": true, "_source": ["a.*"],
            "docvalue_fields": [{ "field": "@timestamp", "format": "epoch_millis" }], "highlight": { "fields": { "*": {} } },
            "script_fields": {}, "runtime_mappings": {}, "version": true }),
        &[("size", "5"), ("ignore_unavailable", "true"), ("_source_excludes", "b,c")],
    );
    assert!(search.is_err(), "ignore_unavailable is read with the indices");
    let search = read(
        &json!({ "sort": { "a": { "order": "desc", "missing": "_first" } }, "track_total_hits": 5 }),
        &[("size", "5"), ("scroll", "30m")],
    )
    .unwrap();
    assert_eq!((search.size, search.from, search.total_hits), (5, 0, TotalHits::UpTo(5)));
    assert_eq!(search.sort[0].missing, Missing::First);
    assert!(search.sort[0].descending);
    assert_eq!(search.scroll, Some(std::time::Duration::from_mins(30)));
    let search = read(&Json::Null, &[("sort", "a:desc,b"), ("q", "x")]).unwrap();
    assert_eq!((search.sort.len(), search.sort[1].descending), (2, false));
}

#[test]
fn what_is_wrong_with_a_search_is_said() {
    for (body, pairs, reason) in [
        (json!({ "engines": ["x"] }), &[][..], "Unknown key for a START_ARRAY in [engines]."),
        (json!({ "size": -1 }), &[], "[size] parameter cannot be negative, found [-1]"),
        (
            json!({ "size": 2_147_483_647 }),
            &[],
            "Result window is too large, from + size must be less than or equal to: [10000]",
        ),
        (json!({ "search_after": [1] }), &[], "Sort must contain at least one field."),
        (
            json!({ "search_after": [1, 2], "sort": ["a"] }),
            &[],
            "search_after has 2 value(s) but sort has 1.",
        ),
        (json!({ "search_after": [1], "sort": ["a"], "from": 1 }), &[], "`from` parameter must be set to 0"),
        (json!({ "sort": [1] }), &[], "malformed sort format"),
        (json!({ "sort": { "a": "up" } }), &[], "No enum constant"),
        (json!({ "script_fields": { "a": {} } }), &[], "[script_fields] is not supported here"),
        (json!([]), &[], "Expected [START_OBJECT] but found [START_ARRAY]"),
        (json!({}), &[("nope", "1")], "request [/x/_search] contains unrecognized parameter: [nope]"),
        (json!({}), &[("size", "x")], "Failed to parse int parameter [size] with value [x]"),
        (json!({ "track_total_hits": "x" }), &[], "[track_total_hits] parameter must be positive"),
    ] {
        let error = read(&body, pairs).unwrap_err();
        assert!(error.reason.starts_with(reason) && error.status == 400, "{body}: {}", error.reason);
    }
    assert_eq!(Search::read(b"{", &parameters(&[])).unwrap_err().kind, "x_content_parse_exception");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(Search::read(deep.as_bytes(), &parameters(&[])).is_err());
}

#[test]
fn several_searches_are_read() {
    let body = b"{\"index\":\"a,b\",\"ignore_unavailable\":true}\n{\"size\":0}\n{}\n{\"nope\":1}\n\n{\"query\":{\"match_all\":{}}}\n";
    let items = multi(body, &Indices::default(), &parameters(&[])).unwrap();
    assert_eq!(items.len(), 3);
    assert_eq!(items[0].header.indices.patterns, ["a", "b"]);
    assert!(items[0].header.indices.ignore_unavailable && items[0].search.is_ok());
    assert!(items[1].search.is_err() && items[2].search.is_ok());
    for wrong in [&b""[..], b"{}", b"[]\n{}\n", b"{\"nope\":1}\n{}\n"] {
        assert!(multi(wrong, &Indices::default(), &parameters(&[])).is_err());
    }
}

#[test]
fn operations_are_read() {
    let body = b"{\"index\":{\"_index\":\"a\",\"_id\":\"1\"}}\n{\"x\":1}\n{\"delete\":{\"_id\":\"2\"}}\n{\"update\":{\"_id\":3}}\n{\"doc\":{\"y\":1},\"doc_as_upsert\":true}\n{\"create\":{}}\nnot json\n";
    let operations = bulk(body, Some("b")).unwrap();
    let shown: Vec<_> =
        operations.iter().map(|one| (one.action.name(), one.index.as_str(), one.id.as_deref())).collect();
    assert_eq!(
        shown,
        [
            ("index", "a", Some("1")),
            ("delete", "b", Some("2")),
            ("update", "b", Some("3")),
            ("create", "b", None)
        ]
    );
    assert_eq!(operations[2].update().unwrap().upsert, Some(json!({ "y": 1 })));
    assert_eq!(operations[3].document().unwrap_err().kind, "document_parsing_exception");
    for (body, reason) in [
        (
            &b"{\"del\":{\"_index\":\"a\"}}\n{}\n"[..],
            "Malformed action/metadata line [1], expected field [create], [delete], [index] or [update] but found [del]",
        ),
        (b"{\"index\":{\"_id\":\"1\"}}\n{}\n", "Validation Failed: 1: index is missing;"),
        (b"{\"index\":{}}\n{}", "The bulk request must be terminated by a newline [\\n]"),
        (
            b"{\"index\":{\"_index\":\"a\",\"nope\":1}}\n{}\n",
            "Action/metadata line [1] contains an unknown parameter [nope]",
        ),
        (b"", "request body is required"),
    ] {
        assert_eq!(bulk(body, None).unwrap_err().reason, reason);
    }
    let auto = AutoCreate::parse("test-*,-test-no*");
    assert!(
        auto.allows("test-a")
            && !auto.allows("other")
            && AutoCreate::default().allows("x")
            && !AutoCreate::parse("false").allows("x")
    );
}

#[test]
fn indices_are_resolved() {
    let known = ["a-1", "a-2", "b"];
    let of = |path: &str, ignore: bool| {
        Indices { patterns: Indices::names(path), ignore_unavailable: ignore, refuse_none: false }
            .resolve(&known)
            .map_err(|error| error.status)
    };
    assert_eq!(of("", false), Ok(vec!["a-1", "a-2", "b"]));
    assert_eq!(of("a-*,-*-2", false), Ok(vec!["a-1"]));
    assert_eq!(of("x-*", false), Ok(vec![]));
    assert_eq!(of("a-*,x", false), Err(404));
    assert_eq!(of("a-*,x", true), Ok(vec!["a-1", "a-2"]));
    assert_eq!(of("b,a-1", false), Ok(vec!["b", "a-1"]));
    for (path, is_everything) in
        [("", true), ("_all", true), ("*", true), ("*,-b", true), ("a-*", false), ("*,b", false)]
    {
        let indices = Indices { patterns: Indices::names(path), ..Indices::default() };
        assert_eq!(indices.is_everything(), is_everything, "{path}");
    }
}

fn index() -> Index {
    let mappings = json!({ "properties": { "n": { "type": "long" }, "k": { "type": "keyword" }, "at": { "type": "date" } } });
    let documents: Vec<Json> = (0..12)
        .map(|at| {
            let mut document = json!({ "@timestamp": format!("2024-03-15T10:00:0{}.5Z", at / 3), "at": 1000 * (at / 2), "i": at });
            if at % 4 != 0 {
                document["n"] = json!((at * 7) % 5);
                document["k"] = json!(["9", "10", "a", "B"][at % 4]);
            }
            document
        })
        .collect();
    Index::new(&mappings, &documents)
}

/// All hits, page by page: each once, in the order in which they come all at once.
#[test]
fn pages_follow_one_another() {
    let index = index();
    for sort in [
        json!([{ "@timestamp": "desc" }, { "_doc": "desc" }]),
        json!([{ "@timestamp": "asc" }, "_doc"]),
        json!([{ "_doc": "asc" }]),
        json!([{ "n": "desc" }, { "i": "asc" }]),
        json!([{ "n": { "order": "asc", "missing": "_first" } }, { "i": "desc" }]),
        json!([{ "n": { "order": "desc", "missing": 3 } }, { "i": "asc" }]),
        json!([{ "k": "asc" }, { "i": "asc" }]),
        json!([{ "k": "desc" }, { "i": "asc" }]),
        json!([{ "at": "desc" }, { "i": "asc" }]),
        json!([{ "at": { "order": "asc", "format": "yyyy-MM-dd HH:mm:ss" } }, { "i": "asc" }]),
    ] {
        let ids = |hits: &Json| -> Vec<Json> {
            hits["hits"].as_array().unwrap().iter().map(|hit| hit["source"]["i"].clone()).collect()
        };
        let whole = ids(&index.search(&json!({ "size": 100, "sort": sort })).unwrap());
        assert_eq!(whole.len(), 12, "{sort}");
        let (mut paged, mut after) = (Vec::new(), Json::Null);
        for _ in 0..10 {
            let mut body = json!({ "size": 5, "sort": sort });
            if !after.is_null() {
                body["search_after"] = after.clone();
            }
            let page = index.search(&body).unwrap();
            let Some(last) = page["hits"].as_array().unwrap().last() else { break };
            after = last["sort"].clone();
            paged.extend(ids(&page));
        }
        assert_eq!(paged, whole, "{sort}");
    }
}

#[test]
fn sort_values_are_what_clients_compare() {
    let index = index();
    let first =
        |sort: Json| index.search(&json!({ "size": 1, "sort": sort })).unwrap()["hits"][0]["sort"].clone();
    assert_eq!(first(json!([{ "@timestamp": "asc" }])), json!([1_710_496_800_500_i64]));
    assert_eq!(
        first(json!([{ "@timestamp": { "order": "asc", "format": "strict_date_optional_time" } }])),
        json!(["2024-03-15T10:00:00.500Z"])
    );
    assert_eq!(
        first(json!([{ "@timestamp": { "order": "asc", "format": "epoch_nanos_int" } }])),
        json!([1_710_496_800_500_000_000_i64])
    );
    assert_eq!(first(json!([{ "n": "desc" }])), json!([4]));
    assert_eq!(first(json!([{ "n": { "missing": "_first" } }])), json!([null]));
    // Strictly behind the millisecond, where nothing tells equal ones apart.
    let page = index
        .search(&json!({ "size": 100, "sort": [{ "@timestamp": "asc" }], "search_after": ["1710496800500"] }))
        .unwrap();
    assert_eq!(page["hits"].as_array().unwrap().len(), 9);
    let numbers = Index::new(
        &json!({}),
        &[
            json!({ "v": -10 }),
            json!({ "v": true }),
            json!({ "v": 10.5 }),
            json!({ "v": 0 }),
            json!({ "v": 18_000_000_000_000_000_000_u64 }),
        ],
    );
    let values = |order: &str, after: Json| -> Json {
        let page = numbers.search(&json!({ "sort": [{ "v": order }], "search_after": [after] })).unwrap();
        page["hits"].as_array().unwrap().iter().map(|hit| hit["sort"][0].clone()).collect()
    };
    assert_eq!(values("asc", json!(-10)), json!([0, true, 10.5, 18_000_000_000_000_000_000_u64]));
    assert_eq!(values("desc", json!(2)), json!([true, 0, -10]));
}
