//! Answers.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{
    Error,
    fields::{Kind, Mapping},
    request::{Action, Parameters, Search},
};
use serde_json::{Value as Json, json};

fn search(body: &Json) -> Search {
    Search::body(body).unwrap()
}

#[test]
fn hits_are_shown() {
    let hit = Hit {
        index: "a".to_owned(),
        id: "1".to_owned(),
        version: 3,
        sequence: 7,
        source: json!({ "m": "An error", "t": "2024-01-01T00:00:00Z", "l": [{ "x": 1 }] }),
        sort: vec![json!(5)],
    };
    let asked = search(
        &json!({ "_source": ["m"], "fields": ["l.*", { "field": "t", "format": "epoch_millis" }, "m.keyword"], "version": true,
        "highlight": { "fields": { "m": {} }, "pre_tags": ["<b>"], "post_tags": ["</b>"] } }),
    );
    assert_eq!(
        hit.clone().shown(&asked, true, &["error".to_owned()]),
        json!({ "_index": "a", "_id": "1", "_score": null, "_version": 3, "_source": { "m": "An error" }, "sort": [5],
            "fields": { "l.x": [1], "t": ["1704067200000"], "m.keyword": ["An error"] }, "highlight": { "m": ["An <b>error</b>"] } })
    );
    let numbered = hit.clone().shown(&search(&json!({ "seq_no_primary_term": true })), false, &[]);
    assert_eq!((&numbered["_seq_no"], &numbered["_primary_term"]), (&json!(7), &json!(1)));
    assert_eq!(hit.shown(&search(&json!({ "_source": false })), false, &[])["_source"], Json::Null);
}

#[test]
fn totals_say_what_they_are() {
    let answer = |body: Json, value, is_exact| {
        Answer { total: Some(Total { value, is_exact }), ..Answer::default() }.body(&search(&body))["hits"]["total"].clone()
    };
    assert_eq!(answer(json!({}), 5, true), json!({ "value": 5, "relation": "eq" }));
    assert_eq!(answer(json!({}), 50_000, true), json!({ "value": 10_000, "relation": "gte" }));
    assert_eq!(
        answer(json!({ "track_total_hits": true }), 50_000, true),
        json!({ "value": 50_000, "relation": "eq" })
    );
    assert_eq!(answer(json!({ "track_total_hits": false }), 5, true), Json::Null);
    let partial =
        Answer { shards: 2, failures: vec![("n2".to_owned(), "gone".to_owned())], ..Answer::default() }
            .body(&search(&json!({})));
    assert_eq!(partial["_shards"]["failures"][0]["reason"]["reason"], "gone");
    assert_eq!((&partial["_shards"]["successful"], &partial["hits"]["max_score"]), (&json!(1), &Json::Null));
    let several = multi(3, vec![Ok(json!({})), Err(Error::no_index("x"))]);
    assert_eq!(
        (&several["responses"][0]["status"], &several["responses"][1]["status"]),
        (&json!(200), &json!(404))
    );
}

#[test]
fn bulk_says_what_became_of_each() {
    let items = vec![
        bulk_item(Action::Index, "a", Some("1"), Ok(written("a", "1", "created", 1, 0))),
        bulk_item(Action::Delete, "a", Some("2"), Ok(written("a", "2", "not_found", 1, 3))),
        bulk_item(Action::Create, "b", None, Err(Error::no_index("b"))),
    ];
    let body = bulk(1, &items);
    assert_eq!(body["errors"], true);
    assert_eq!(body["items"][0]["index"]["status"], 201);
    assert_eq!(body["items"][1]["delete"]["status"], 404);
    assert_eq!(body["items"][2]["create"]["error"]["type"], "index_not_found_exception");
    assert_eq!(body["items"][2]["create"]["error"]["index"], "b");
    assert_eq!(
        filter_path(body, &["items.*.status".to_owned(), "took".to_owned()])["items"][0],
        json!({ "index": { "status": 201 } })
    );
}

#[test]
fn tables_are_text_or_json() {
    let facts = [IndexFacts {
        name: "app".to_owned(),
        uuid: "u".to_owned(),
        documents: 100,
        bytes: 228_147,
        segments: 1,
    }];
    let shown = |pairs: &[(&str, &str)]| {
        let parameters =
            Parameters::new(pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect());
        let shown = indices(&facts, &parameters)?.shown(&parameters)?;
        parameters.finish("/_cat/indices")?;
        Ok::<_, Error>(shown)
    };
    assert_eq!(
        shown(&[("h", "docs.count,index"), ("format", "json")]),
        Ok(Ok(json!([{ "docs.count": "100", "index": "app" }])))
    );
    assert_eq!(
        shown(&[("h", "i,ss"), ("v", "")]),
        Ok(Err("index store.size\napp      222.8kb\n".to_owned()))
    );
    assert_eq!(shown(&[("health", "red"), ("format", "json")]), Ok(Ok(json!([]))));
    assert_eq!(shown(&[("b", "b")]).unwrap_err().status, 400);
    assert!(shown(&[]).unwrap().unwrap_err().starts_with("green open app"));
    assert!(
        CatTable::health("c", 1_710_498_600, 1, 2)
            .shown(&Parameters::default())
            .unwrap()
            .unwrap_err()
            .starts_with("1710498600 10:30:00 c green")
    );
}

#[test]
fn fields_are_told_with_their_types() {
    let mut first = Mapping::parse(
        &json!({ "properties": { "host": { "type": "ip" }, "date": { "type": "date_nanos" } } }),
    )
    .unwrap();
    first.see("name", Kind::Dynamic);
    first.see("nested.response", Kind::Long);
    let second = Mapping::parse(&json!({ "properties": { "host": { "type": "ip" } } })).unwrap();
    let both = [IndexFields { index: "a", mapping: &first }, IndexFields { index: "b", mapping: &second }];
    let caps = field_caps(
        &both,
        &["host".to_owned(), "name".to_owned(), "nested.*ponse".to_owned(), "date".to_owned()],
    );
    let of = |kind: &str| json!({ "type": kind, "metadata_field": false, "searchable": true, "aggregatable": true });
    assert_eq!(caps["indices"], json!(["a", "b"]));
    assert_eq!(caps["fields"]["host"], json!({ "ip": of("ip") }));
    assert_eq!(caps["fields"]["name"]["keyword"]["indices"], json!(["a"]));
    assert_eq!(caps["fields"]["date"]["date_nanos"]["type"], "date_nanos");
    assert_eq!(
        field_caps(&both[..1], &["nest*".to_owned()])["fields"]["nested.response"],
        json!({ "long": of("long") })
    );
}

#[test]
fn clusters_and_indices_are_described() {
    let facts =
        [IndexFacts { name: "a".to_owned(), documents: 2, bytes: 10, segments: 1, ..IndexFacts::default() }];
    assert_eq!(stats(&facts)["_all"]["total"]["segments"]["count"], 1);
    assert_eq!(stats(&facts)["indices"]["a"]["primaries"]["docs"]["count"], 2);
    assert_eq!(resolve(&["a"])["indices"], json!([{ "name": "a", "attributes": ["open"] }]));
    assert_eq!(info("n", "c", "u")["version"]["number"], VERSION);
    assert_eq!(health("c", 1, 1)["status"], "green");
    assert_eq!(mappings(&[("a", &Mapping::default())]), json!({ "a": { "mappings": {} } }));
    assert_eq!(
        nodes("c", &[Node { id: "i".to_owned(), name: "n".to_owned(), address: "h:1".to_owned() }])["nodes"]
            ["i"]["http"]["publish_address"],
        "h:1"
    );
    for (name, fine) in [
        ("test-index-1", true),
        ("Test", false),
        ("a&1", false),
        ("_a", false),
        ("", false),
        ("a*b", false),
        (".kibana", true),
    ] {
        assert_eq!(crate::request::Indices::check_name(name).is_ok(), fine, "{name}");
    }
}
