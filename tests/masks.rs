//! Fields that are hidden: who has not the role `unmask` finds, counts and is shown records as if they had never held them, through all
//! three APIs, in memory and in shards.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::{Site, Up, http, wait};
use serde_json::{Value, json};
use std::{io::BufRead, time::Duration};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);
/// What is hidden, and parts of it.
const SECRETS: [&str; 4] = ["anna", "example.org", "203.0.113.9", "4711"];

struct Caller<'a> {
    up: &'a Up<'a>,
    shown: String,
}

impl Caller<'_> {
    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let headers = [("authorization", self.shown.as_str()), ("content-type", "application/json")];
        let answer = http::send(&self.up.server.address, method, path, &headers, body).unwrap();
        let text = answer.text();
        assert_eq!(answer.status, 200, "{method} {path} {body}: {text}");
        text
    }

    fn json(&self, method: &str, path: &str, body: &str) -> Value {
        serde_json::from_str(&self.ask(method, path, body)).unwrap()
    }

    fn search(&self, query: &str) -> Value {
        self.json("POST", "/api/v1/search", &json!({ "q": query, "from": 0 }).to_string())
    }

    fn total(&self, query: &str) -> u64 {
        let answer = self.search(query);
        assert_eq!(answer["partial"], json!(false), "{query}: {answer}");
        answer["total"].as_u64().unwrap()
    }
}

const LINES: &str = concat!(
    r#"{"message":"login of anna@example.org from 203.0.113.9","user":{"email":"anna@example.org"},"client":{"address":"203.0.113.9"},"card":4711,"level":"warn","note":"card 4711"}"#,
    "\n",
    r#"{"message":"logout of anna@example.org","user":{"email":"anna@example.org"},"level":"info","shop":"north"}"#,
    "\n",
    r#"{"message":"nobody is here","level":"info","shop":"north"}"#,
    "\n",
);

/// Asks in every way, as one from whom it is hidden.
fn sees_nothing_hidden(masked: &Caller<'_>, id: &str) {
    for (query, total) in [
        ("*", 3),
        ("login", 1),
        ("anna", 0),
        ("NOT anna", 3),
        ("\"login of\"", 1),
        ("/anna/", 0),
        ("user.email:anna*", 0),
        ("user.email:*", 2),
        ("user.email:\"***\"", 2),
        ("client_ip:203.0.113.0/24", 0),
        ("card:4711", 0),
        ("card:>4000", 0),
        ("note:*4711*", 0),
        ("level:warn", 1),
        ("shop:north", 2),
        ("level:info shop:north logout", 1),
    ] {
        assert_eq!(masked.total(query), total, "{query}");
    }
    let rows = |query: &str| masked.search(query)["table"]["rows"].clone();
    assert_eq!(rows("* | stats count() by user.email | sort user.email"), json!([["***", 2], [null, 1]]));
    assert_eq!(rows("* | stats count() by level | sort level"), json!([["info", 2], ["warn", 1]]));
    assert_eq!(rows("* | stats max(card), count_distinct(user.email)"), json!([["***", 1]]));
    let hit = &masked.search("login")["hits"][0];
    assert_eq!(hit["attributes"]["message"], "login of *** from ***", "{hit}");
    assert_eq!(hit["attributes"]["user"]["email"], "***", "{hit}");
    assert_eq!((&hit["attributes"]["card"], &hit["attributes"]["note"]), (&json!("***"), &json!("card ***")));

    let selector = "%7Bstream%3D%22logs%22%7D";
    let get = |path: &str| ("GET", path.to_owned(), "");
    for (method, path, body) in [
        get("/api/v1/search?from=0&q=*&histogram=1w&histogram_by=user.email"),
        get("/api/v1/search?from=0&q=*+%7C+patterns"),
        get("/api/v1/search?from=0&q=*+%7C+extract+%22of+%3Cwho%3E%22+%7C+top+5+who"),
        get("/api/v1/search?from=0&q=login&explain=true"),
        get("/api/v1/export?from=0"),
        get("/api/v1/export?from=0&format=csv"),
        get("/api/v1/export?from=0&q=*+%7C+fields+body,user.email"),
        get("/api/v1/fields?from=0"),
        get("/api/v1/fields/user.email/values?from=0"),
        get("/api/v1/fields/note/values?from=0"),
        get("/api/v1/patterns?from=0"),
        get(&format!("/api/v1/records/{id}")),
        get(&format!("/api/v1/context?id={id}")),
        get("/loki/api/v1/labels?start=1"),
        get("/loki/api/v1/label/user_email/values?start=1"),
        get(&format!("/loki/api/v1/series?start=1&match[]={selector}")),
        get(&format!("/loki/api/v1/query_range?start=1&query={selector}")),
        get(&format!("/loki/api/v1/query_range?start=1&query={selector}%20%7C~%20%22.%2B%22")),
        get(&format!("/loki/api/v1/query?query=sum%20by(user_email)(count_over_time({selector}%5B1h%5D))")),
        get(&format!("/loki/api/v1/detected_fields?start=1&query={selector}")),
        get(&format!("/loki/api/v1/patterns?start=1&query={selector}")),
        get("/elastic/_search"),
        (
            "POST",
            "/elastic/logs/_search".to_owned(),
            r#"{"aggs":{"who":{"terms":{"field":"user.email"},"aggs":{"top":{"top_hits":{"size":1}}}},"n":{"stats":{"field":"card"}}}}"#,
        ),
        (
            "POST",
            "/elastic/logs/_search".to_owned(),
            r#"{"sort":[{"user.email":"desc"}],"query":{"match":{"message":"of"}}}"#,
        ),
        get("/elastic/logs/_mapping"),
        get("/elastic/logs/_field_caps?fields=*"),
    ] {
        let answer = masked.ask(method, &path, body);
        for secret in SECRETS {
            assert!(!answer.contains(secret), "{path}: {secret} in {answer}");
        }
    }
    let count = |body: &str| masked.json("POST", "/elastic/logs/_count", body)["count"].clone();
    assert_eq!(count(r#"{"query":{"query_string":{"query":"anna"}}}"#), json!(0));
    assert_eq!(count(r#"{"query":{"match":{"message":"logout"}}}"#), json!(1));
    let lines =
        format!("/loki/api/v1/query?query=sum(count_over_time({selector}%20%7C%3D%20%22anna%22%5B1h%5D))");
    assert_eq!(masked.json("GET", &lines, "")["data"]["result"], json!([]));
}

#[test]
fn what_is_hidden_is_neither_shown_nor_found_nor_counted() {
    let site = Site::new(BINARY);
    let file = site.path("tokens.toml").display().to_string();
    let token = |name: &str, roles: &[&str]| {
        let roles = roles.iter().flat_map(|role| ["--role", role]);
        let arguments: Vec<&str> =
            ["token", name, "--file", &file, "--stream", "*"].into_iter().chain(roles).collect();
        let outcome = site.run(&arguments);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        format!("Bearer {}", outcome.stdout.trim())
    };
    let tokens = [("masked", &["read", "write"][..]), ("clear", &["read", "unmask"])];
    let [masked, clear] = tokens.map(|(name, roles)| token(name, roles));
    let up = site.up(&format!(
        "[indexer]\nseal_age = \"3s\"\n[query.auth]\ntokens_file = \"{file}\"\nmasked = [\"user.email\", \"client_ip\", \"card\"]\n"
    ));
    let up = up.started();
    let [masked, clear] = [masked, clear].map(|shown| Caller { up: &up, shown });
    masked.ask("POST", "/api/v1/ingest", LINES);
    wait::until_true("all is found", DEADLINE, || clear.search("*")["total"] == json!(3));
    let id = clear.search("login")["hits"][0]["_id"].as_str().unwrap().to_owned();
    sees_nothing_hidden(&masked, &id);
    // Who may see it finds it.
    let sees_all = || {
        for query in ["anna", "user.email:anna*", "client_ip:203.0.113.0/24", "card:>4000", "note:*4711*"] {
            assert!(clear.total(query) > 0, "{query}");
        }
        let hit = clear.search("login")["hits"][0].clone();
        assert_eq!(hit["attributes"]["message"], "login of anna@example.org from 203.0.113.9");
    };
    sees_all();
    wait::until_true("all is in shards", DEADLINE, || {
        let streams = clear.json("GET", "/api/v1/streams", "");
        streams["streams"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["name"] == "logs" && one["records"] == json!(3))
    });
    sees_nothing_hidden(&masked, &id);
    sees_all();

    // As it comes in, too.
    let headers = [("authorization", masked.shown.as_str())];
    let (mut events, answer) =
        http::begin(&up.server.address, "GET", "/api/v1/tail?q=*", &headers, "").unwrap();
    assert_eq!(answer.status, 200);
    let mut hear = |until: &str| {
        let (mut heard, mut line) = (String::new(), String::new());
        while !heard.contains(until) {
            line.clear();
            assert!(events.read_line(&mut line).unwrap() > 0, "{heard}");
            heard += &line;
        }
        heard
    };
    hear("heartbeat");
    masked.ask("POST", "/api/v1/ingest", LINES);
    let heard = hear("nobody is here");
    assert!(heard.contains("login of *** from ***"), "{heard}");
    assert!(SECRETS.iter().all(|secret| !heard.contains(secret)), "{heard}");

    // Only what a record may lack can be hidden.
    let wrong = site.write(
        "wrong.toml",
        &format!(
            "[query.auth]\ntokens_file = \"{file}\"\nmasked = [\"level\"]\n[topic]\ntype = \"embedded\"\n"
        ),
    );
    let outcome = site.run(&["config", "check", "--config", &wrong]);
    assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("wrong.toml:3:10")
            && outcome.stderr.contains("level is part of every record"),
        "{}",
        outcome.stderr
    );
}
