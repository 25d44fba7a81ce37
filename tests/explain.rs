//! What a search says of itself: which shards it looked at, which it did not and why, and who answered for what.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::{Site, Up, http, wait};
use serde_json::{Value, json};
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);

/// Of how many shards each thing is said.
#[track_caller]
fn shards(up: &Up<'_>, body: &Value) -> (u64, u64, Value) {
    let mut body = body.clone();
    body["explain"] = json!(true);
    let told = up.server.search(&body)["explain"]["shards"].clone();
    let count = |name: &str| told[name].as_u64().unwrap();
    let pruned: u64 = told["pruned"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(
        count("considered"),
        count("searched") + count("failed") + pruned,
        "each is told once: {told}"
    );
    (count("considered"), count("searched"), told["pruned"].clone())
}

#[test]
fn a_search_says_which_shards_it_looked_at_and_why_not_at_others() {
    let site = Site::new(BINARY);
    let logs = site.path("logs").display().to_string();
    let source = |name: &str| {
        format!(
            "[agent.sources.{name}]\ntype = \"file\"\ninclude = [\"{logs}/{name}.log\"]\nparse = [\"logfmt\"]\nstream = \"{name}\"\n"
        )
    };
    let with = |age: &str| format!("{}{}[indexer]\nseal_age = \"{age}\"\n", source("app"), source("web"));
    let mut up = site.up(&with("1h")).started();
    let lines = |name: &str| -> String {
        let line = |n: u32| format!("n={n} user=u{} of={name}\n", n % 7);
        (0..500).map(line).collect()
    };
    site.append("app.log", lines("app"));
    site.append("web.log", lines("web"));
    up.server.wait_for_total("n:*", 1000, DEADLINE);
    let held = up.server.search(&json!({ "q": "user:u3", "explain": true }))["explain"].clone();
    assert_eq!((&held["leaves"][0]["matched"], &held["shards"]["considered"]), (&json!(142), &json!(0)));
    assert!(held["leaves"][0]["took_ms"].is_u64() && held["leaves"].as_array().unwrap().len() == 1, "{held}");
    up.stop();
    let up = site.up(&with("1s")).started();
    wait::until_true("both streams are in shards alone", DEADLINE, || {
        let found = up.server.search(&json!({ "q": "*", "explain": true }));
        let held = found["explain"]["leaves"][0]["matched"].clone();
        (found["total"].clone(), held) == (json!(1000), json!(0))
    });

    let (all, searched, pruned) = shards(&up, &json!({ "q": "user:u3" }));
    assert_eq!((searched, pruned), (all, json!({})));
    let (_, searched, pruned) = shards(&up, &json!({ "q": "nowhereatall" }));
    assert_eq!((searched, pruned), (0, json!({ "terms": all })));
    let (_, searched, pruned) =
        shards(&up, &json!({ "q": "*", "from": "2001-01-01T00:00:00Z", "to": "2001-01-02T00:00:00Z" }));
    assert_eq!((searched, pruned), (0, json!({ "time": all })));
    let (_, searched, pruned) = shards(&up, &json!({ "q": "user:u3", "stream": "web" }));
    assert_eq!(pruned, json!({ "stream": all - searched }));
    assert!(0 < searched && searched < all, "{searched} of {all}");

    let answer = up.server.search(&json!({ "q": "user:u3 | stats count() by of", "explain": true }));
    assert_eq!(answer["table"]["rows"], json!([["app", 71], ["web", 71]]), "the search is carried out");
    let told = &answer["explain"];
    assert_eq!(told["filter"], "user:u3");
    assert_eq!(told["names"]["user"], json!(["user", "user.name", "enduser.id"]));
    assert_eq!(told["where_records_lie"]["gathers"], "stats count() by of");
    let each = told["shards"]["each"].as_array().unwrap();
    let sum = |list: &[Value]| list.iter().map(|one| one["matched"].as_u64().unwrap()).sum::<u64>();
    let leaves = told["leaves"].as_array().unwrap();
    assert_eq!(sum(each) + sum(leaves), 142, "{told:#}");
    for shard in each {
        let chunks = &shard["chunks"];
        let of = |name: &str| chunks[name].as_u64().unwrap();
        assert_eq!(
            of("by_time") + of("by_terms") + of("by_shape") + of("known") + of("open"),
            of("total"),
            "{shard}"
        );
        assert!(of("total") > 0, "{shard}");
    }
    assert_eq!(leaves.len(), 1);
    let offsets = told["offsets"].as_array().unwrap();
    assert!(!offsets.is_empty());
    assert!(offsets.iter().all(|one| one["held"]["to"] == one["held"]["end"]), "{offsets:?}");
    assert_eq!(up.server.search(&json!({ "q": "*" }))["explain"], Value::Null, "only where it is asked");

    let text = up.run(&["search", "user:u3 | stats count() by of", "--explain"]);
    assert_eq!(text.code, Some(0), "{}", text.stderr);
    for part in ["filter: user:u3\n", "\n  gathers stats count() by of\n", "\nshards: ", " searched\n"] {
        assert!(text.stdout.contains(part), "{part}: {}", text.stdout);
    }
    assert!(!text.stdout.contains("count()  "), "the table is not shown: {}", text.stdout);
    let json = up.run(&["search", "user:u3", "--explain", "--output", "json", "--limit", "1"]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json["hits"].as_array().unwrap().len(), &json["explain"]["filter"]), (1, &json!("user:u3")));
    let line = up.run(&["search", "user:u3", "--explain", "--output", "ndjson", "--limit", "1"]);
    assert_eq!(line.stdout.lines().count(), 1, "{}", line.stdout);
    let line: Value = serde_json::from_str(&line.stdout).unwrap();
    assert_eq!(line["explain"]["filter"], "user:u3");
    assert_eq!(up.run(&["search", "*", "--explain", "--output", "csv"]).code, Some(2));
    for (path, status) in
        [("search?q=*&explain=true", 200), ("search?q=*&explain=yes", 400), ("patterns?explain=true", 400)]
    {
        assert_eq!(
            http::get(&up.server.address, &format!("/api/v1/{path}")).unwrap().status,
            status,
            "{path}"
        );
    }
}
