//! Pipes from outside: what they make of records in memory, in shards and in both, of records that are deleted, and what is
//! said where they cannot be carried out.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::{Site, Up, http};
use serde_json::{Value, json};
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);

fn up<'a>(site: &'a Site, more: &str) -> Up<'a> {
    let logs = site.path("logs").display().to_string();
    site.up(&format!(
        "[agent.sources.app]\ntype = \"file\"\ninclude = [\"{logs}/*.log\"]\nparse = [\"logfmt\"]\n{more}"
    ))
    .started()
}

fn lines(numbers: std::ops::Range<u64>) -> String {
    let line = |n: u64| format!("n={n} user=u{} size={}\n", n % 7, n % 100);
    numbers.map(line).collect()
}

/// The rows that a query gives.
#[track_caller]
fn rows(up: &Up<'_>, query: &str) -> Value {
    up.server.search(&json!({ "q": query }))["table"]["rows"].clone()
}

#[test]
fn records_in_memory_in_shards_and_in_both_are_one_table() {
    let site = Site::new(BINARY);
    let up = up(&site, "[indexer]\nseal_age = \"2s\"\n");
    let check = |all: u64| {
        up.server.wait_for_total("n:*", all, DEADLINE);
        let of_user = |user: u64| (0..all).filter(|n| n % 7 == user).count();
        let expected: Vec<Value> = (0..7).map(|user| json!([format!("u{user}"), of_user(user)])).collect();
        let sum: u64 = (0..all).map(|n| n % 100).sum();
        for _ in 0..2 {
            assert_eq!(rows(&up, "n:* | stats count() by user"), json!(expected));
            assert_eq!(rows(&up, "n:* | stats sum(size), max(n), count()"), json!([[sum, all - 1, all]]));
            let last = all - 1;
            assert_eq!(
                rows(&up, "n:* | sort -n | limit 1 | fields n, user"),
                json!([[last, format!("u{}", last % 7)]])
            );
            // One run of what was written at once, of each user and of all.
            let runs =
                rows(&up, "n:* | session 1h count() as records, sum(size) by user | fields user, records");
            assert_eq!(runs, json!(expected));
            let of_all = rows(&up, "n:* | transaction 1h sum(n) as n, count() as c | fields n, c");
            assert_eq!(of_all, json!([[(0..all).sum::<u64>(), all]]));
            let join = rows(
                &up,
                "n:* | join by user (user:u3 | stats count() as m by user) | stats count(), max(m)",
            );
            assert_eq!(join, json!([[of_user(3), of_user(3)]]));
            let evens = (0..all).filter(|n| n % 7 == 3 && n % 2 == 0).count();
            assert_eq!(rows(&up, "user:u3 | where n % 2 = 0 | stats count()"), json!([[evens]]));
        }
    };
    site.append("app.log", lines(0..2000));
    check(2000);
    up.server.wait_for_a_shard(DEADLINE);
    check(2000);
    site.append("app.log", lines(2000..3000));
    check(3000);
}

#[test]
fn a_histogram_that_is_split_adds_up_wherever_its_records_are() {
    let site = Site::new(BINARY);
    let up = up(&site, "[indexer]\nseal_age = \"2s\"\n");
    let level = |n: u64| ["info", "warn", "error"][(n % 3) as usize];
    let line = |n: u64| {
        let level = if n % 4 == 0 { String::new() } else { format!(" level={}", level(n)) };
        format!("n={n} id=i{n}{level}\n")
    };
    let split = |by: &str| {
        up.server.search(&json!({ "q": "n:*", "limit": 3, "histogram": "10s", "histogram_by": by }))
    };
    // Of each value in all buckets together.
    let sums = |answer: &Value| {
        let mut sums = std::collections::BTreeMap::<String, u64>::new();
        let mut all = 0;
        for bucket in answer["histogram"]["buckets"].as_array().unwrap() {
            let by = bucket["by"].as_object().unwrap();
            by.iter().for_each(|(value, count)| {
                *sums.entry(value.clone()).or_default() += count.as_u64().unwrap()
            });
            let count = by.values().map(|count| count.as_u64().unwrap()).sum::<u64>();
            assert_eq!(bucket["count"], count);
            all += count;
        }
        assert_eq!(answer["total"], all);
        sums
    };
    let check = |all: u64| {
        up.server.wait_for_total("n:*", all, DEADLINE);
        let answer = split("level");
        assert_eq!((answer["hits"].as_array().unwrap().len(), &answer["partial"]), (3, &json!(false)));
        let of = |wanted: &str| (0..all).filter(|n| n % 4 != 0 && level(*n) == wanted).count() as u64;
        let mut expected = std::collections::BTreeMap::from([("(none)".to_owned(), all.div_ceil(4))]);
        expected.extend(["info", "warn", "error"].map(|level| (level.to_owned(), of(level))));
        assert_eq!(sums(&answer), expected);
        assert_eq!(answer["histogram"]["by"]["field"], "level");
        // It is the same histogram as without.
        let whole = up.server.search(&json!({ "q": "n:*", "limit": 3, "histogram": "10s" }));
        let counts = |answer: &Value| {
            let of = |bucket: &Value| (bucket["start"].clone(), bucket["count"].clone());
            answer["histogram"]["buckets"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(
            (counts(&answer), &answer["hits"], &answer["cursor"]),
            (counts(&whole), &whole["hits"], &whole["cursor"])
        );
        // A field with many values: twenty of them have a name.
        let many = split("id");
        assert_eq!(many["histogram"]["by"]["values"].as_array().unwrap().len(), 20);
        assert_eq!((sums(&many).len(), sums(&many)["(other)"]), (21, all - 20));
        assert_eq!(sums(&split("nobody"))["(none)"], all);
    };
    site.append("app.log", (0..300).map(line).collect::<String>());
    check(300);
    up.server.wait_for_a_shard(DEADLINE);
    check(300);
    site.append("app.log", (300..400).map(line).collect::<String>());
    check(400);
    let explained =
        up.server.search(&json!({ "q": "n:*", "histogram": "1m", "histogram_by": "level", "explain": true }));
    assert_eq!(explained["explain"]["where_records_lie"]["reads"], json!(["timestamp", "level"]));
    assert_eq!(explained["total"], 400);
    for wrong in ["histogram_by=level", "histogram=1m&histogram_by=", "q=*%7Climit+1&histogram_by=level"] {
        let answer = http::get(&up.server.address, &format!("/api/v1/search?{wrong}")).unwrap();
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.text().contains("histogram_by"), "{}", answer.text());
    }
}

#[test]
fn what_is_deleted_is_in_no_table() {
    let site = Site::new(BINARY);
    let up = up(&site, "[indexer]\nseal_age = \"1s\"\n");
    site.append("app.log", lines(0..700));
    up.server.wait_for_total("n:*", 700, DEADLINE);
    up.server.wait_for_a_shard(DEADLINE);
    let outcome = up.run(&["streams", "delete", "logs", "user:u2"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(rows(&up, "* | stats count_distinct(user), count()"), json!([[6, 600]]));
    assert_eq!(rows(&up, "user:u2 | top user"), json!([]));
}

#[test]
fn the_values_of_a_field_and_the_patterns_of_lines_add_up() {
    let site = Site::new(BINARY);
    let up = up(&site, "");
    site.append("app.log", lines(0..700));
    site.append("app.log", "a line of another kind\n");
    up.server.wait_for_total("*", 701, DEADLINE);
    let answer = up.server.get("/api/v1/fields/user/values?limit=2");
    assert_eq!(
        answer["values"],
        json!([{ "value": "u0", "count": 100, "percent": 14.27 }, { "value": "u1", "count": 100, "percent": 14.27 }])
    );
    assert_eq!(
        (&answer["total_values"], &answer["total"], &answer["partial"]),
        (&json!(8), &json!(701), &json!(false))
    );
    let answer = up.server.get("/api/v1/fields/user/values?q=another");
    assert_eq!(answer["values"], json!([{ "value": null, "count": 1, "percent": 100.0 }]), "it lacks one");
    let answer = up.server.get("/api/v1/patterns");
    let counts: u64 =
        answer["patterns"].as_array().unwrap().iter().map(|one| one["count"].as_u64().unwrap()).sum();
    assert_eq!((counts, &answer["total"]), (701, &json!(701)), "{answer}");
    let last = answer["patterns"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["pattern"] == "a line of another kind")
        .unwrap();
    assert_eq!(last["template"], up.server.hits("another")[0]["_template"]);
    for path in
        ["/api/v1/patterns?q=*|limit+1", "/api/v1/fields/user/values?sort=timestamp", "/api/v1/patterns?x=1"]
    {
        assert_eq!(http::get(&up.server.address, path).unwrap().status, 400, "{path}");
    }
}

#[test]
fn what_cannot_be_carried_out_is_said() {
    let site = Site::new(BINARY);
    let up = up(&site, "[query]\nquery_memory = \"1MiB\"\n");
    site.append("app.log", lines(0..20_000));
    up.server.wait_for_total("n:*", 20_000, DEADLINE);
    let ask = |query: &str, more: &str| {
        let query = query.replace(' ', "+");
        let answer = http::get(&up.server.address, &format!("/api/v1/search?q={query}{more}")).unwrap();
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        (answer.status, body)
    };
    for query in
        ["* | stats count() by n", "* | sort n | stats count()", "* | dedup n | stats count() by n, user"]
    {
        let (status, answer) = ask(query, "");
        assert_eq!((status, &answer["error"]["code"]), (422, &json!("query_too_large")), "{query}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("1 MiB"), "{answer}");
    }
    assert_eq!(ask("* | stats count() by user", "").0, 200);
    // What is joined takes of the same memory, and a table of it stays small.
    let (status, answer) = ask("* | limit 1 | join by n (* | fields n)", "");
    assert_eq!((status, &answer["error"]["code"]), (422, &json!("query_too_large")), "{answer}");
    let (status, answer) =
        ask("* | eval g = 1 | join by g (* | limit 600 | eval g = 1 | fields g) | stats count()", "");
    assert_eq!((status, &answer["error"]["code"]), (422, &json!("query_too_large")), "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("more than 10000000 rows"), "{answer}");
    let (status, answer) = ask("* | join by user (* | stats cuont() by user)", "");
    assert_eq!((status, &answer["error"]["span"]), (400, &json!({ "start": 28, "end": 33 })), "{answer}");

    let (status, answer) = ask("* | stats cuont()", "");
    assert_eq!((status, &answer["error"]["span"]), (400, &json!({ "start": 10, "end": 15 })), "{answer}");
    assert!(answer["error"]["suggestion"].as_str().unwrap().contains("`count`"), "{answer}");
    for more in ["&sort=timestamp", "&cursor=1_2", "&histogram=1m"] {
        let (status, answer) = ask("* | limit 1", more);
        assert_eq!(
            (status, &answer["error"]["code"]),
            (400, &json!("parameter_invalid")),
            "{more}: {answer}"
        );
    }

    let (_, answer) = ask("* | fields n", "&limit=10");
    assert_eq!(answer["table"]["rows"].as_array().unwrap().len(), 10);
    assert_eq!((&answer["table"]["total_rows"], &answer["total"]), (&json!(20_000), &json!(20_000)));
    let (_, answer) = ask("* | stats count_distinct(n)", "");
    assert_eq!(answer["table"]["estimates"], json!(["count_distinct(n)"]));
    let csv = up.run(&["search", "* | top 2 user", "--output", "csv"]);
    assert_eq!(csv.stdout, "user,count,percent\nu0,2858,14.29\nu1,2857,14.29\n", "{}", csv.stderr);
    let shown = up.run(&["search", "n:* | fields n", "--limit", "3"]);
    assert!(shown.stderr.starts_with("3 of 20000 rows of 20000 records"), "{}", shown.stderr);
}

#[test]
fn a_join_is_whole_or_says_what_it_lacks() {
    let site = Site::new(BINARY);
    let mut up = up(&site, "[indexer]\nseal_age = \"1s\"\n");
    site.append("app.log", lines(0..700));
    up.server.wait_for_total("n:*", 700, DEADLINE);
    up.server.wait_for_a_shard(DEADLINE);
    let query = "n:<14 | join by user (n:>=14 | stats count() as later, sum(size) as size_of by user) | sort n | fields n, later";
    let mut answer = up.server.search(&json!({ "q": query, "explain": true }));
    let expected: Vec<Value> = (0..14).map(|n| json!([n, 98])).collect();
    assert_eq!(answer["table"]["rows"], json!(expected));
    assert_eq!((&answer["total"], &answer["partial"]), (&json!(14), &json!(false)));
    let told = answer["explain"].take();
    assert_eq!(told["joined"][0]["filter"], "n:>=14", "{told:#}");
    assert_eq!(told["where_records_lie"]["steps"], json!(["join inner by user, 7 rows: later, size_of"]));
    assert_eq!(
        told["joined"][0]["where_records_lie"]["gathers"],
        "stats count() as later, sum(size) as size_of by user"
    );
    let text = up.run(&["search", query, "--explain"]).stdout;
    assert!(text.starts_with("joined, and answered first:\n  filter: n:>=14\n"), "{text}");
    let csv =
        up.run(&["search", "n:3 | join left by n (nothing | fields n, x) | fields n, x", "--output", "csv"]);
    assert_eq!(csv.stdout, "n,x\n3,\n", "{}", csv.stderr);

    // What is lacking of either side is told.
    up.stop();
    for shard in std::fs::read_dir(site.path("data/shards/logs")).unwrap() {
        std::fs::remove_file(shard.unwrap().path()).unwrap();
    }
    up.start();
    let answer = up.server.search(&json!({ "q": query }));
    assert_eq!((&answer["partial"], &answer["table"]["rows"]), (&json!(true), &json!([])), "{answer}");
    let reasons: Vec<&str> =
        answer["missing"].as_array().unwrap().iter().map(|one| one["reason"].as_str().unwrap()).collect();
    let of_right =
        reasons.iter().filter(|reason| reason.starts_with("of a query that is joined: shard ")).count();
    assert_eq!((of_right > 0, of_right * 2), (true, reasons.len()), "{reasons:?}");
    assert_eq!(up.run(&["search", query]).code, Some(5));
}

#[test]
fn the_fields_that_records_have_are_counted() {
    let site = Site::new(BINARY);
    let up = up(&site, "[indexer]\nseal_age = \"2s\"\n");
    site.append("app.log", lines(0..700));
    up.server.wait_for_total("n:*", 700, DEADLINE);
    up.server.wait_for_a_shard(DEADLINE);
    site.append("app.log", "other=1 n=800\na line without fields\n");
    up.server.wait_for_total("*", 702, DEADLINE);
    let answer = up.server.get("/api/v1/fields");
    let present = |scope: &str, name: &str| {
        let all = answer["fields"].as_array().unwrap();
        all.iter().find(|field| field["scope"] == scope && field["name"] == name).cloned().unwrap_or_default()
    };
    assert_eq!(present("attributes", "n")["present"], 701, "{answer}");
    assert_eq!(present("attributes", "user")["present"], 700);
    assert_eq!(present("attributes", "other")["present"], 1);
    assert_eq!(present("attributes", "other")["types"], json!(["int"]));
    assert_eq!(present("resource", "host.name")["present"], 702);
    assert_eq!(present("record", "body")["present"], 702);
    assert_eq!(present("record", "trace_id"), Value::Null, "no record has one");
    assert_eq!((&answer["total"], &answer["partial"]), (&json!(702), &json!(false)));
    let answer = up.server.get("/api/v1/fields?q=without");
    let names: Vec<&str> = answer["fields"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|field| field["scope"] == "attributes")
        .map(|field| field["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["log.parse_error"], "{answer}");
}
