//! What queries mean: a table of them with the filters that they are.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use millrace_filter::Filter;
use millrace_model::declared::Declarations;
use serde_json::json;

const NOW: Timestamp = Timestamp(1_710_498_600_000_000_000); // 2024-03-15T10:30:00Z

fn documents() -> Mapping {
    Mapping::parse(&json!({ "properties": {
        "title": { "type": "text", "fields": { "raw": { "type": "keyword" } } },
        "tag": { "type": "keyword" },
        "login": { "type": "keyword", "normalizer": "keyword_lowercase" },
        "count": { "type": "long" },
        "open": { "type": "boolean" },
        "at": { "type": "date" },
        "client": { "type": "ip" },
        "actor": { "properties": { "id": { "type": "long" } } },
    } }))
    .unwrap()
}

fn records() -> Mapping {
    Mapping::of_records(&Declarations::default())
}

fn printed(query: &Json, mapping: &Mapping) -> String {
    match super::query(query, mapping, NOW) {
        Ok(expr) => Filter::new(expr).to_string(),
        Err(error) => format!("{}: {}", error.kind, error.reason),
    }
}

/// Queries on records, and the filters that they are.
#[test]
fn queries_on_records() {
    let mapping = records();
    for (query, expected) in [
        (json!({ "match_all": {} }), "*"),
        (json!({ "match_none": {} }), "NOT *"),
        (json!({ "match": { "message": "connection reset" } }), "connection OR reset"),
        (
            json!({ "match": { "message": { "query": "connection reset", "operator": "and" } } }),
            "connection reset",
        ),
        (json!({ "match_phrase": { "message": "connection reset" } }), "\"connection reset\""),
        (json!({ "match_phrase_prefix": { "message": "conn" } }), "conn*"),
        (json!({ "match_bool_prefix": { "message": "a conn" } }), "a OR conn*"),
        (json!({ "term": { "log.level": "error" } }), "log.level:error"),
        (json!({ "term": { "host.name": { "value": "Web1", "case_insensitive": true } } }), "host.name:Web1"),
        (json!({ "term": { "host.name": "web1" } }), r"host.name:web1 host.name:/\Aweb1\z/"),
        (json!({ "term": { "host.name.keyword": "10" } }), "host.name:10"),
        (json!({ "term": { "status": 500 } }), "status:500"),
        (json!({ "terms": { "status": [500, 502] } }), "status:500 OR status:502"),
        (json!({ "range": { "status": { "gte": 500, "lt": 600 } } }), "status:[500 TO 600}"),
        (json!({ "range": { "log.level": { "gte": "warn" } } }), "log.level:[warn TO *]"),
        (
            json!({ "range": { "@timestamp": { "gte": "now-1h", "lte": "now" } } }),
            "@timestamp:[\"2024-03-15T09:30:00.000000000Z\" TO \"2024-03-15T10:30:00.001000000Z\"}",
        ),
        (
            json!({ "range": { "@timestamp": { "gte": 1_710_498_600_000_i64, "lte": 1_710_498_600_000_i64, "format": "epoch_millis" } } }),
            "@timestamp:[\"2024-03-15T10:30:00.000000000Z\" TO \"2024-03-15T10:30:00.001000000Z\"}",
        ),
        (
            json!({ "range": { "@timestamp": { "gt": "2024-03-14||/d", "time_zone": "+01:00" } } }),
            "@timestamp:[\"2024-03-14T23:00:00.000000000Z\" TO *]",
        ),
        (json!({ "exists": { "field": "trace.id" } }), "trace.id:*"),
        (json!({ "prefix": { "host.name": "web" } }), r"host.name:web* host.name:/\Aweb/"),
        (
            json!({ "wildcard": { "host.name": { "value": "w?b*", "case_insensitive": true } } }),
            "host.name:w?b*",
        ),
        (json!({ "regexp": { "host.name": "web[0-9]+" } }), r"host.name:/(?s)\A(?:web[0-9]+)\z/"),
        (json!({ "ids": { "values": ["a-1", "b-2"] } }), "_id:a-1 OR _id:b-2"),
        (json!({ "constant_score": { "filter": { "term": { "_index": "app" } } } }), "_stream:app"),
        (
            json!({ "bool": { "filter": { "bool": { "must": [{ "exists": { "field": "a" } }], "must_not": { "exists": { "field": "b" } } } } } }),
            "a:* NOT b:*",
        ),
        (
            json!({ "bool": { "should": [{ "term": { "a": 1 } }, { "term": { "b": 2 } }, { "term": { "c": 3 } }], "minimum_should_match": 2 } }),
            "a:1 (b:2 OR c:3) OR b:2 c:3",
        ),
        (json!({ "dis_max": { "queries": [{ "term": { "a": 1 } }, { "term": { "b": 2 } }] } }), "a:1 OR b:2"),
        (
            json!({ "boosting": { "positive": { "term": { "a": 1 } }, "negative": { "match_all": {} }, "negative_boost": 0.5 } }),
            "a:1",
        ),
        (json!({ "function_score": { "query": { "term": { "a": 1 } }, "boost_mode": "sum" } }), "a:1"),
        (
            json!({ "multi_match": { "query": "reset", "fields": ["message^2", "status"] } }),
            r"reset OR status:reset status:/\Areset\z/",
        ),
    ] {
        assert_eq!(printed(&query, &mapping), expected, "{query}");
    }
}

#[test]
fn queries_on_documents() {
    let mapping = documents();
    for (query, expected) in [
        (json!({ "match": { "title": "Quick fox" } }), "attributes.title:Quick OR attributes.title:fox"),
        (json!({ "match_phrase": { "title": "quick fox" } }), "attributes.title:\"quick fox\""),
        (json!({ "term": { "title": "Quick" } }), "NOT *"),
        (
            json!({ "term": { "title": { "value": "Quick", "case_insensitive": true } } }),
            "attributes.title:quick",
        ),
        (json!({ "term": { "title": "quick fox" } }), "NOT *"),
        (
            json!({ "term": { "title.raw": "Quick fox" } }),
            r#"attributes.title:"Quick fox" attributes.title:/\AQuick fox\z/"#,
        ),
        (
            json!({ "term": { "title.keyword": "10 x" } }),
            r#"attributes.title:"10 x" attributes.title:/\A10 x\z/"#,
        ),
        (json!({ "term": { "login": "Bob" } }), "attributes.login:Bob"),
        (json!({ "prefix": { "login": "bo" } }), "attributes.login:bo*"),
        (json!({ "range": { "login": { "gte": "H", "lte": "Z" } } }), "attributes.login:[H TO Z]"),
        (json!({ "range": { "at": { "lt": 1_422_748_813_000_i64 } } }), "attributes.at:[* TO 1422748813000}"),
        (
            json!({ "range": { "at": { "gte": "2015-02-01T00:00:00.001999Z", "lte": "2015-02-01T00:00:00.001999Z" } } }),
            "attributes.at:[1422748800001 TO 1422748800002}",
        ),
        (json!({ "term": { "count": "7" } }), "attributes.count:7"),
        (json!({ "term": { "open": "false" } }), "attributes.open:false"),
        (json!({ "term": { "client": "10.0.0.0/8" } }), "attributes.client:10.0.0.0/8"),
        (
            json!({ "range": { "client": { "gte": "10.0.0.0", "lte": "10.0.0.255" } } }),
            "attributes.client:10.0.0.0/24",
        ),
        (
            json!({ "match": { "body": "to be" } }),
            r"attributes.body:/(?i)\bto\b/ OR attributes.body:/(?i)\bbe\b/",
        ),
        (
            json!({ "match": { "n": 10 } }),
            r"attributes.n:10 OR attributes.n:/(?i)\b10\b/ attributes.n:/[^-+.0-9eE]/",
        ),
        (json!({ "regexp": { "title": ".*event" } }), r"attributes.title:/(?i)\b(?:\w*event)\b/"),
        (json!({ "regexp": { "tag": "gold$" } }), r"attributes.tag:/(?s)\A(?:gold\$)\z/"),
        (json!({ "exists": { "field": "actor" } }), "attributes.actor:*"),
        (json!({ "match": { "title": "," } }), "NOT *"),
        (json!({ "match": { "title": { "query": ",", "zero_terms_query": "all" } } }), "*"),
    ] {
        assert_eq!(printed(&query, &mapping), expected, "{query}");
    }
}

#[test]
fn query_strings() {
    let mapping = records();
    let of = |query: &str| printed(&json!({ "query_string": { "query": query } }), &mapping);
    for (query, expected) in [
        ("*", "*"),
        ("*:*", "*"),
        ("error", "error"),
        ("error timeout", "error OR timeout"),
        ("error AND timeout", "error timeout"),
        ("error OR timeout AND x", "timeout x"),
        ("+a -b c", "a NOT b"),
        ("NOT a", "NOT a"),
        ("level:error", "level:error"),
        ("level:(error OR warn)", "level:error OR level:warn"),
        ("status:>=500", "status:[500 TO *]"),
        ("status:[400 TO 499}", "status:[400 TO 499}"),
        ("status:{* TO 5]", "status:[* TO 5]"),
        ("\"connection reset\"^2", "\"connection reset\""),
        ("conn* AND a?b", "conn* a?b"),
        ("_exists_:trace_id", "trace_id:*"),
        (
            "!_exists_:aggregate_id AND alert_sent:false",
            r"NOT aggregate_id:* alert_sent:false alert_sent:/\Afalse\z/",
        ),
        ("trace_id:*", "trace_id:*"),
        ("host:\"10\"", "host:10"),
        (r"jour\?", "jour"),
        ("/err.*/", r"/(?i)\b(?:err\w*)\b/"),
        ("(a OR b) AND c", "(a OR b) c"),
        ("a && !b || d", "a NOT b"),
        (
            "@timestamp:[2024-01-01 TO 2024-01-01]",
            "@timestamp:[\"2024-01-01T00:00:00.000000000Z\" TO \"2024-01-02T00:00:00.000000000Z\"}",
        ),
    ] {
        assert_eq!(of(query), expected, "{query}");
    }
    for query in
        ["a OR", "AND a", "(a", "a)", "\"a", "a:", "[1 TO", "a:[1 2]", "x^", "/a", "()", "a AND OR b", "\\"]
    {
        assert!(of(query).starts_with("search_phase_execution_exception"), "{query}: {}", of(query));
    }
    let all = |query: &str| {
        printed(&json!({ "query_string": { "query": query, "default_operator": "AND" } }), &mapping)
    };
    assert_eq!(all("a b"), "a b");
    assert_eq!(all("a OR b"), "a OR b");
    let simple = |query: &str| printed(&json!({ "simple_query_string": { "query": query } }), &mapping);
    assert_eq!(simple("a + b | -c"), "a b OR NOT c");
    assert_eq!(simple("\"a b\" conn* ((("), "\"a b\" OR conn*");
}

#[test]
fn what_is_wrong_is_said_as_elasticsearch_says_it() {
    let mapping = documents();
    for (query, kind) in [
        (json!({ "nope": {} }), "parsing_exception"),
        (json!({}), "illegal_argument_exception"),
        (json!([]), "parsing_exception"),
        (json!({ "match_all": {}, "term": {} }), "parsing_exception"),
        (json!({ "match": { "a": "x", "b": "y" } }), "parsing_exception"),
        (json!({ "match": { "a": { "query": "x", "nope": 1 } } }), "parsing_exception"),
        (json!({ "match": { "a": { "query": "x", "analyzer": "nope" } } }), "illegal_argument_exception"),
        (json!({ "exists": "a" }), "parsing_exception"),
        (json!({ "term": { "count": "x" } }), "search_phase_execution_exception"),
        (json!({ "range": { "at": { "gte": "yesterday" } } }), "search_phase_execution_exception"),
        (json!({ "range": { "count": { "gte": "x" } } }), "search_phase_execution_exception"),
        (json!({ "regexp": { "tag": "(" } }), "search_phase_execution_exception"),
        (json!({ "query_string": { "query": "a", "fields": "b" } }), "parsing_exception"),
        (
            json!({ "query_string": { "query": "a", "fields": ["b"], "default_field": "c" } }),
            "parsing_exception",
        ),
        (json!({ "query_string": { "query": "count:x" } }), "search_phase_execution_exception"),
        (json!({ "nested": { "path": "a", "query": { "match_all": {} } } }), "illegal_argument_exception"),
        (json!({ "bool": { "must": "x" } }), "parsing_exception"),
        (json!({ "bool": { "nope": [] } }), "parsing_exception"),
    ] {
        match super::query(&query, &mapping, NOW) {
            Err(error) => assert_eq!((error.kind, error.status), (kind, 400), "{query}"),
            Ok(expr) => panic!("{query} is {}", Filter::new(expr)),
        }
    }
    let lenient = json!({ "query_string": { "query": "count:x", "lenient": true } });
    assert_eq!(printed(&lenient, &mapping), "NOT *");
}

#[test]
fn what_is_hostile_is_an_error() {
    let mapping = documents();
    let mut deep = json!({ "match_all": {} });
    for _ in 0..100 {
        deep = json!({ "bool": { "must_not": [deep] } });
    }
    assert!(query(&deep, &mapping, NOW).is_err());
    let many = json!({ "terms": { "tag": vec!["x"; MAX_CLAUSES + 1] } });
    assert!(query(&many, &mapping, NOW).is_err());
    let parentheses = format!("{}a{}", "(".repeat(5000), ")".repeat(5000));
    assert!(query(&json!({ "query_string": { "query": parentheses } }), &mapping, NOW).is_err());
    let should: Vec<Json> = (0..60).map(|n| json!({ "term": { "count": n } })).collect();
    let combinations = json!({ "bool": { "should": should, "minimum_should_match": 30 } });
    assert!(query(&combinations, &mapping, NOW).is_err());
    let words = "(a b) ".repeat(200_000);
    assert!(query(&json!({ "query_string": { "query": words } }), &mapping, NOW).is_err());
    let many = json!({ "bool": { "should": vec![json!({ "regexp": { "tag": "a.b" } }); 101] } });
    assert!(query(&many, &documents(), NOW).unwrap_err().reason.contains("more than 100 regular expressions"));
    let regex = json!({ "regexp": { "tag": "((a{1,1000}){1,1000}){1,1000}" } });
    assert!(query(&regex, &mapping, NOW).is_err());
}

#[test]
fn times_bound_what_is_searched() {
    let given = json!({ "bool": { "filter": [
        { "range": { "@timestamp": { "gte": "2024-03-15T10:00:00Z", "lt": "2024-03-15T11:00:00Z" } } },
        { "match": { "message": "x" } },
    ] } });
    let range = time_range(&query(&given, &records(), NOW).unwrap());
    assert_eq!(range.from.to_string(), "2024-03-15T10:00:00.000000000Z");
    assert_eq!(range.to.to_string(), "2024-03-15T11:00:00.000000000Z");
}

#[test]
fn slop_lets_words_stand_between() {
    let of = |slop: usize| {
        let given = json!({ "match_phrase": { "message": { "query": "zone explosion", "slop": slop } } });
        Filter::new(query(&given, &records(), NOW).unwrap())
    };
    let record = |line: &str| millrace_model::LogRecord { body: line.into(), ..Default::default() };
    let near = record("the zone of explosion");
    assert!(!of(0).matches(&near) && of(1).matches(&near) && of(3).matches(&near));
    assert!(!of(1).matches(&record("zone a b explosion")) && of(2).matches(&record("explosion zone")));
}
