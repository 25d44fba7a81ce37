//! Documents that clients write, change and delete one by one: the API, what becomes of them when the server is killed, and `ElastAlert2` as
//! it comes from `PyPI`, which keeps its state in such.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::{
    Site, Up, http,
    process::{self, Process},
    wait,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);

/// How a request under `/elastic` is answered.
#[track_caller]
fn ask(up: &Up<'_>, method: &str, path: &str, body: &str) -> (u16, Value) {
    let json = [("content-type", "application/json")];
    let answer = http::send(&up.server.address, method, &format!("/elastic/{path}"), &json, body).unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

/// The same, where the status must be this one.
#[track_caller]
fn told(up: &Up<'_>, method: &str, path: &str, body: &Value, status: u16) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (found, answer) = ask(up, method, path, &body);
    assert_eq!(found, status, "{method} {path} {body}: {answer}");
    answer
}

/// What a document's change says: what became of it, its version, the number of the change.
fn edition(answer: &Value) -> (&str, u64, u64) {
    let number = |name: &str| answer[name].as_u64().unwrap();
    (answer["result"].as_str().unwrap(), number("_version"), number("_seq_no"))
}

const NONE: Value = Value::Null;

#[test]
fn documents_that_would_be_everything_are_refused() {
    let site = Site::new(BINARY);
    for names in ["[\"elastalert_*\", \"*\"]", "[\"\"]"] {
        let config = site.write("all.toml", &format!("[query.elastic]\ndocuments = {names}\n"));
        let outcome = site.run(&["config", "check", "--config", &config]);
        assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("would hide all streams"), "{}", outcome.stderr);
    }
}

#[test]
fn documents_are_written_changed_found_and_deleted() {
    let site = Site::new(BINARY);
    let up = site.up("").started();
    let properties = json!({ "rule_name": { "type": "keyword" }, "until": { "type": "date" }, "data": { "type": "object", "enabled": "false" } });
    told(&up, "PUT", "elastalert_silence", &json!({ "mappings": { "properties": properties } }), 200);
    let twice = told(&up, "PUT", "elastalert_silence", &NONE, 400);
    assert_eq!(twice["error"]["type"], "resource_already_exists_exception");
    assert_eq!(ask(&up, "HEAD", "elastalert_silence", "").0, 200);
    assert_eq!(ask(&up, "HEAD", "elastalert_past", "").0, 404);
    let mapping = json!({ "properties": { "count": { "type": "long" } } });
    told(&up, "PUT", "elastalert_silence/_mapping", &mapping, 200);

    let one =
        json!({ "rule_name": "a", "until": "2026-01-15T10:00:00Z", "count": 1, "data": { "any": [1, "x"] } });
    let two =
        json!({ "rule_name": "a", "until": "2026-01-15T12:00:00Z", "count": 2, "data": "not looked into" });
    let silence = |id: &str| format!("elastalert_silence/_doc/{id}");
    let written = told(&up, "PUT", &silence("1"), &one, 201);
    assert_eq!(edition(&written), ("created", 1, 0));
    assert_eq!(edition(&told(&up, "PUT", &silence("1"), &two, 200)), ("updated", 2, 1));
    let taken = told(&up, "PUT", "elastalert_silence/_create/1", &one, 409);
    assert_eq!(taken["error"]["type"], "version_conflict_engine_exception");
    let named = told(&up, "POST", "elastalert_silence/_doc", &one, 201)["_id"].as_str().unwrap().to_owned();

    // As it is stored, at once.
    let got = told(&up, "GET", &silence("1"), &NONE, 200);
    assert_eq!((&got["_source"], &got["found"], &got["_version"]), (&two, &json!(true), &json!(2)));
    assert_eq!(told(&up, "GET", &format!("elastalert_silence/_source/{named}"), &NONE, 200), one);
    assert_eq!(told(&up, "GET", &silence("none"), &NONE, 404)["found"], json!(false));
    told(&up, "GET", "elastalert_past/_doc/1", &NONE, 404);

    // Parts of it.
    let update = |id: &str, body: &Value, status| {
        told(&up, "POST", &format!("elastalert_silence/_update/{id}"), body, status)
    };
    let three = json!({ "doc": { "count": 3 } });
    assert_eq!(edition(&update("1", &three, 200)), ("updated", 3, 3));
    assert_eq!(edition(&update("1", &three, 200)), ("noop", 3, 3));
    assert_eq!(update("none", &three, 404)["error"]["type"], "document_missing_exception");
    let upsert =
        json!({ "doc": { "rule_name": "b", "until": "2026-01-15T11:00:00Z" }, "doc_as_upsert": true });
    assert_eq!(edition(&update("2", &upsert, 201)), ("created", 1, 4));
    let script = update("1", &json!({ "script": { "source": "ctx._source.count += 1" } }), 400);
    assert!(script["error"]["reason"].as_str().unwrap().contains("[script] updates are not supported"));
    // What does not fit its index changes nothing.
    update("1", &json!({ "doc": { "count": "many" } }), 400);
    told(&up, "PUT", &silence("3"), &json!({ "until": "soon" }), 400);

    // Only as it was seen.
    let at = |id: &str, sequence: u64| format!("{}?if_seq_no={sequence}&if_primary_term=1", silence(id));
    told(&up, "PUT", &at("1", 1), &two, 409);
    told(&up, "PUT", &at("none", 1), &two, 409);
    told(&up, "PUT", &format!("{}?version=7", silence("1")), &two, 400);
    assert_eq!(edition(&told(&up, "PUT", &at("1", 3), &two, 200)), ("updated", 4, 5));
    told(&up, "DELETE", &at("2", 3), &NONE, 409);

    // Searched as they are.
    let newest = json!({ "query": { "term": { "rule_name": "a" } }, "sort": { "until": { "order": "desc" } }, "size": 1, "version": true, "seq_no_primary_term": true });
    let found = told(&up, "POST", "elastalert_silence/_search", &newest, 200);
    assert_eq!(found["hits"]["total"]["value"], json!(2), "{found}");
    let hit = &found["hits"]["hits"][0];
    assert_eq!((&hit["_id"], &hit["_source"], &hit["_version"]), (&json!("1"), &two, &json!(4)));
    assert_eq!((&hit["_index"], &hit["_seq_no"]), (&json!("elastalert_silence"), &json!(5)));
    let later = json!({ "query": { "range": { "until": { "gt": "2026-01-15T10:30:00Z" } } }, "size": 0, "aggs": { "rules": { "terms": { "field": "rule_name" } }, "last": { "max": { "field": "until" } } } });
    let found = told(&up, "POST", "elastalert*/_search", &later, 200);
    let buckets = json!([{ "key": "a", "doc_count": 1 }, { "key": "b", "doc_count": 1 }]);
    assert_eq!(found["aggregations"]["rules"]["buckets"], buckets, "{found}");
    assert_eq!(found["aggregations"]["last"]["value_as_string"], "2026-01-15T12:00:00.000Z");
    let inside = json!({ "query": { "term": { "data.any": "x" } } });
    let found = told(&up, "POST", "elastalert_silence/_search", &inside, 200);
    assert_eq!(found["hits"]["total"]["value"], json!(0), "what is not enabled is not searched: {found}");
    let several = told(&up, "POST", "elastalert_silence/_mget", &json!({ "ids": ["2", "none"] }), 200);
    assert_eq!((&several["docs"][0]["found"], &several["docs"][1]["found"]), (&json!(true), &json!(false)));

    // Gone.
    assert_eq!(edition(&told(&up, "DELETE", &silence("2"), &NONE, 200)), ("deleted", 2, 6));
    assert_eq!(told(&up, "DELETE", &silence("2"), &NONE, 404)["result"], "not_found");
    told(&up, "GET", &silence("2"), &NONE, 404);
    let by_query = json!({ "query": { "term": { "count": 1 } } });
    let deleted = told(&up, "POST", "elastalert_silence/_delete_by_query", &by_query, 200);
    assert_eq!((&deleted["deleted"], &deleted["version_conflicts"]), (&json!(1), &json!(0)));
    assert_eq!(told(&up, "GET", "elastalert_silence/_count", &NONE, 200)["count"], json!(1));
    let listed = told(&up, "GET", "_cat/indices?h=index,docs.count&format=json", &NONE, 200);
    assert_eq!(listed, json!([{ "index": "elastalert_silence", "docs.count": "1" }]));
    told(&up, "DELETE", "elastalert_silence", &NONE, 200);
    told(&up, "GET", "elastalert_silence/_search", &NONE, 404);
    // Made anew by what is written, without what was there.
    assert_eq!(edition(&told(&up, "PUT", &silence("9"), &one, 201)), ("created", 1, 0));
    assert_eq!(told(&up, "GET", "elastalert_silence/_count", &NONE, 200)["count"], json!(1));
}

#[test]
fn a_bulk_says_what_became_of_each_also_among_records() {
    let site = Site::new(BINARY);
    let mut up =
        site.up("[indexer]\nseal_age = \"1s\"\n[query.elastic]\ndocuments = [\"state-*\"]\n").started();
    let bulk = [
        (r#"{"index":{"_index":"state-a","_id":"1"}}"#, r#"{"n":1}"#, 201, "created"),
        (r#"{"index":{"_index":"app","_id":"r1"}}"#, r#"{"message":"a record","n":10}"#, 201, "created"),
        (r#"{"create":{"_index":"state-a","_id":"1"}}"#, r#"{"n":2}"#, 409, ""),
        (r#"{"update":{"_index":"state-a","_id":"1"}}"#, r#"{"doc":{"m":"x"}}"#, 200, "updated"),
        (r#"{"update":{"_index":"state-a","_id":"2"}}"#, r#"{"doc":{"m":"x"}}"#, 404, ""),
        (r#"{"update":{"_index":"app","_id":"r1"}}"#, r#"{"doc":{"m":"x"}}"#, 400, ""),
        (r#"{"index":{"_index":"state-b","_id":"1"}}"#, r#"{"n":"#, 400, ""),
        (r#"{"index":{"_index":"state-b","_id":"2"}}"#, r#"{"n":5}"#, 201, "created"),
        (r#"{"delete":{"_index":"state-b","_id":"3"}}"#, "", 404, "not_found"),
        (r#"{"delete":{"_index":"state-b","_id":"2"}}"#, "", 200, "deleted"),
        (r#"{"create":{"_index":"state-b","_id":"2"}}"#, r#"{"n":6}"#, 201, "created"),
        (
            r#"{"index":{"_index":"state-a","_id":"1","if_seq_no":0,"if_primary_term":1}}"#,
            r#"{"n":7}"#,
            409,
            "",
        ),
        (r#"{"index":{"_index":"app","_id":"r1","if_seq_no":0,"if_primary_term":1}}"#, r#"{"n":9}"#, 400, ""),
        // It was documents' by default, and is none where others are named.
        (r#"{"update":{"_index":"elastalert_status","_id":"1"}}"#, r#"{"doc":{}}"#, 400, ""),
    ];
    let lines: Vec<&str> =
        bulk.iter().flat_map(|one| [one.0, one.1]).filter(|line| !line.is_empty()).collect();
    let (status, answer) = ask(&up, "POST", "_bulk?refresh=true", &(lines.join("\n") + "\n"));
    assert_eq!((status, &answer["errors"]), (200, &json!(true)), "{answer}");
    for (at, (line, _, status, result)) in bulk.iter().enumerate() {
        let (_, item) = answer["items"][at].as_object().unwrap().iter().next().unwrap();
        assert_eq!(item["status"], json!(status), "{line}: {item}");
        assert_eq!(item["result"].as_str().unwrap_or_default(), *result, "{line}: {item}");
        assert_eq!(item["error"].is_object(), result.is_empty(), "{line}: {item}");
    }
    // Killed at once: what was acknowledged is there.
    up.process().kill();
    up.start();
    let source = |path: &str| told(&up, "GET", path, &NONE, 200)["_source"].clone();
    assert_eq!(source("state-a/_doc/1"), json!({ "n": 1, "m": "x" }));
    assert_eq!(source("state-b/_doc/2"), json!({ "n": 6 }));
    up.server.wait_for_total("n:*", 1, DEADLINE);

    // Both kinds are one search, where a field is the same in both.
    let both = json!({ "query": { "range": { "n": { "gte": 1 } } }, "sort": [{ "n": "asc" }], "aggs": { "sum": { "sum": { "field": "n" } } } });
    let found = told(&up, "POST", "app,state-*/_search", &both, 200);
    let indices: Vec<&Value> =
        found["hits"]["hits"].as_array().unwrap().iter().map(|hit| &hit["_index"]).collect();
    assert_eq!(indices, [&json!("state-a"), &json!("state-b"), &json!("app")], "{found}");
    assert_eq!(found["aggregations"]["sum"]["value"], json!(17.0));
    // Everything is all streams, and whoever deletes everything does not delete the state of tools.
    let lines = json!({ "sort": [{ "n": "asc" }], "aggs": { "lines": { "terms": { "field": "message" } } } });
    for (path, count) in [("_search", 1), ("*/_search", 1), ("_all/_search", 1), ("state-*/_search", 2)] {
        let found = told(&up, "POST", path, &lines, 200);
        assert_eq!(found["hits"]["total"]["value"], json!(count), "{path}: {found}");
    }
    let different = told(&up, "POST", "app,state-a/_search", &lines, 400);
    let reason = different["error"]["reason"].as_str().unwrap();
    assert!(reason.contains("field [message]") && reason.contains("one by one"), "{reason}");
    told(&up, "POST", "*/_delete_by_query", &json!({ "query": { "term": { "n": 1 } } }), 200);
    assert_eq!(source("state-a/_doc/1"), json!({ "n": 1, "m": "x" }));
    // They are no records: nobody finds them elsewhere, and no stream has them.
    assert_eq!(up.server.whole_total("m:x"), Some(0));
    up.server.wait_for_a_shard(DEADLINE);
    let streams = up.server.get("/api/v1/streams").to_string();
    assert!(streams.contains("\"app\"") && !streams.contains("state-"), "{streams}");
}

#[test]
fn many_who_change_one_document_lose_nothing() {
    const EACH: u64 = 15;
    let site = Site::new(BINARY);
    let up = site.up("").started();
    told(&up, "PUT", "elastalert_status/_doc/sum", &json!({ "n": 0 }), 201);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut done = 0;
                while done < EACH {
                    let seen = told(&up, "GET", "elastalert_status/_doc/sum", &NONE, 200);
                    let more = json!({ "n": seen["_source"]["n"].as_u64().unwrap() + 1 });
                    let path = format!(
                        "elastalert_status/_doc/sum?if_seq_no={}&if_primary_term={}",
                        seen["_seq_no"], seen["_primary_term"]
                    );
                    match ask(&up, "PUT", &path, &more.to_string()) {
                        (200, _) => done += 1,
                        (409, _) => {}
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
    });
    let sum = told(&up, "GET", "elastalert_status/_doc/sum", &NONE, 200);
    assert_eq!((&sum["_source"]["n"], &sum["_version"]), (&json!(4 * EACH), &json!(4 * EACH + 1)));
    let found = told(&up, "POST", "elastalert_status/_search", &NONE, 200);
    assert_eq!(found["hits"]["hits"][0]["_source"]["n"], json!(4 * EACH), "{found}");
}

#[test]
fn a_full_index_refuses_what_is_new_and_keeps_what_it_has() {
    let site = Site::new(BINARY);
    let up = site.up("").started();
    let large = "x".repeat(1_000_000);
    let mut taken = 0;
    for part in 0..4 {
        let lines = (0..20).map(|n| {
            let id = part * 20 + n;
            format!("{{\"create\":{{\"_index\":\"elastalert_past\",\"_id\":\"{id}\"}}}}\n{{\"data\":\"{large}\"}}\n")
        });
        let (status, answer) = ask(&up, "POST", "_bulk", &lines.collect::<String>());
        assert_eq!(status, 200, "{answer}");
        for item in answer["items"].as_array().unwrap() {
            match item["create"]["status"].as_u64() {
                Some(201) => taken += 1,
                _ => assert_eq!(item["create"]["error"]["type"], "cluster_block_exception", "{item}"),
            }
        }
    }
    // 64 MiB, and no document more.
    assert_eq!(taken, (64 << 20) / (1_000_000 + "{\"data\":\"\"}".len() + 2));
    let count = || told(&up, "GET", "elastalert_past/_count", &NONE, 200)["count"].clone();
    assert_eq!(count(), json!(taken));
    let whole = json!({ "data": large });
    let refused = told(&up, "POST", "elastalert_past/_doc", &whole, 429);
    let reason = refused["error"]["reason"].as_str().unwrap();
    assert!(reason.contains("no room") && reason.contains("make_room_after"), "{reason}");
    let huge = told(&up, "POST", "elastalert_past/_doc", &json!({ "data": "x".repeat(1 << 20) }), 400);
    assert!(huge["error"]["reason"].as_str().unwrap().contains("[1048576] bytes"), "{huge}");
    // What is deleted makes room, and other indices have their own.
    told(&up, "POST", "elastalert_status/_doc", &whole, 201);
    told(&up, "DELETE", "elastalert_past/_doc/7", &NONE, 200);
    told(&up, "PUT", "elastalert_past/_doc/new", &whole, 201);
    assert_eq!(count(), json!(taken));
}

/// `ElastAlert2`'s rules: each of the first five must alert on what is shipped, none of the others. `{FILE}` is where alerts are noted,
/// `{RECEIVER}` is there when the receiver of the fourth is.
const RULES: [(&str, &str); 8] = [
    (
        "many errors",
        "type: frequency\nnum_events: 5\ntimeframe: {minutes: 10}\nrealert: {hours: 1}\nfilter:\n- term: {level: error}\ncommand: [sh, -c, 'echo frequency >> {FILE}']\n",
    ),
    (
        "a new user",
        "type: new_term\nfields: [user.name]\nterms_window_size: {hours: 1}\ncommand: [sh, -c, 'echo new_term %(user.name)s >> {FILE}']\n",
    ),
    (
        "many sessions",
        "type: cardinality\ncardinality_field: session\nmax_cardinality: 20\ntimeframe: {minutes: 10}\nrealert: {hours: 1}\ncommand: [sh, -c, 'echo cardinality >> {FILE}']\n",
    ),
    (
        "a receiver that fails",
        "type: any\nrealert: {hours: 1}\nfilter:\n- query_string: {query: 'level:critical AND message:\"disk is gone\"'}\nfail_on_non_zero_exit: true\ncommand: [sh, -c, 'test -e {RECEIVER} && echo any >> {FILE}']\n",
    ),
    (
        "some in one",
        "type: any\naggregation: {seconds: 2}\nfilter:\n- match_phrase: {message: for the digest}\ncommand: [sh, -c, 'echo digest >> {FILE}']\n",
    ),
    (
        "too few warnings",
        "type: frequency\nnum_events: 5\ntimeframe: {minutes: 10}\nfilter:\n- term: {level: warn}\ncommand: [sh, -c, 'echo false alert of warnings >> {FILE}']\n",
    ),
    (
        "too few sessions",
        "type: cardinality\ncardinality_field: session\nmax_cardinality: 1000\ntimeframe: {minutes: 10}\ncommand: [sh, -c, 'echo false alert of sessions >> {FILE}']\n",
    ),
    (
        "no new service",
        "type: new_term\nfields: [service.name]\nuse_keyword_postfix: false\nterms_window_size: {hours: 1}\ncommand: [sh, -c, 'echo false alert of services >> {FILE}']\n",
    ),
];

/// What `ElastAlert2` says while the fourth's receiver is not there.
const NOT_RECEIVED: &str = "Error while running alert command";

/// Its environment, which `make test` makes.
fn elastalert() -> PathBuf {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv-elastalert/bin");
    assert!(programs.exists(), "no {}: run `make test`, which makes it", programs.display());
    programs
}

/// `ElastAlert2` with its rules over a site's records. It runs until it is dropped.
struct ElastAlert<'a, 's> {
    site: &'s Site,
    up: &'a mut Up<'s>,
}

impl ElastAlert<'_, '_> {
    fn configure(&self) {
        let port = self.up.server.address.rsplit(':').next().unwrap();
        let config = format!(
            "rules_folder: {}\nrun_every: {{seconds: 1}}\nbuffer_time: {{minutes: 15}}\nes_host: 127.0.0.1\nes_port: {port}\n\
             es_url_prefix: elastic\nwriteback_index: elastalert\nalert_time_limit: {{days: 2}}\n",
            self.site.path("rules").display()
        );
        self.site.write("config.yaml", &config);
        fs::create_dir_all(self.site.path("rules")).unwrap();
        for (at, (name, rule)) in RULES.iter().enumerate() {
            let rule = rule
                .replace("{FILE}", &self.site.path("alerts").display().to_string())
                .replace("{RECEIVER}", &self.site.path("receiver").display().to_string());
            self.site.write(
                &format!("rules/{at}.yaml"),
                &format!("name: {name}\nindex: app\nalert: [command]\n{rule}"),
            );
        }
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(elastalert().join(program));
        command.args(["--config", &self.site.path("config.yaml").display().to_string()]).args(arguments);
        command.current_dir(self.site.path(".")).stdin(Stdio::null());
        command
    }

    /// Makes its indices, by its own program.
    fn make_indices(&self) {
        let arguments = ["--no-auth", "--no-ssl", "--old-index", ""];
        let outcome = process::run(&mut self.command("elastalert-create-index", &arguments), DEADLINE);
        assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
    }

    fn start(&self, name: &str) -> Process {
        let log = self.site.path(name);
        Process::start(&mut self.command("elastalert", &["--verbose"]), &log)
    }

    /// Its documents that a query finds, the latest first.
    #[track_caller]
    fn documents(&self, index: &str, query: &Value) -> Vec<Value> {
        let body = json!({ "query": query, "sort": [{ "@timestamp": "desc" }], "size": 1000 });
        let found = told(self.up, "POST", &format!("{index}/_search"), &body, 200);
        found["hits"]["hits"].as_array().unwrap().iter().map(|hit| hit["_source"].clone()).collect()
    }

    /// How many runs of a rule have looked at so many records or more, and what they found together.
    fn runs(&self, rule: &str, hits: u64) -> (usize, u64) {
        let query = json!({ "bool": { "filter": [{ "term": { "rule_name": rule } }, { "range": { "hits": { "gte": hits } } }] } });
        let runs = self.documents("elastalert_status", &query);
        (runs.len(), runs.iter().map(|run| run["matches"].as_u64().unwrap()).sum())
    }

    fn wait_for_runs(&self, what: &str, rules: &[&str], more_than: impl Fn(&str) -> (u64, usize)) {
        for rule in rules {
            wait::until_true(&format!("{what}: {rule}"), DEADLINE, || {
                let (hits, before) = more_than(rule);
                self.runs(rule, hits).0 > before
            });
        }
    }

    /// What was noted of alerts, sorted.
    fn alerts(&self) -> Vec<String> {
        let noted = fs::read_to_string(self.site.path("alerts")).unwrap_or_default();
        let mut alerts: Vec<String> = noted.lines().map(str::to_owned).collect();
        alerts.sort_unstable();
        alerts
    }

    fn pending(&self) -> usize {
        self.documents("elastalert", &json!({ "term": { "alert_sent": false } })).len()
    }
}

fn shipped(level: &str, user: &str, session: usize, message: &str) -> String {
    let line = json!({ "message": message, "level": level, "user": { "name": user }, "session": format!("s{session}"), "service": { "name": "shop" } });
    format!("{line}\n")
}

#[test]
fn elastalert_runs_as_it_is_and_finds_its_state_again() {
    let site = Site::new(BINARY);
    let logs = site.path("logs").display().to_string();
    let source = format!(
        "[agent.sources.a]\ntype = \"file\"\ninclude = [\"{logs}/*\"]\nparse = [\"json\"]\nstream = \"app\"\n"
    );
    let mut up = site.up(&source).started();
    // Users, sessions and a service that are known when it starts.
    let known = (0..40).map(|n| shipped("info", ["ann", "bob"][n % 2], n % 4, "all is well"));
    site.append("a.log", known.collect::<String>());
    up.server.wait_for_total("*", 40, DEADLINE);

    let it = ElastAlert { site: &site, up: &mut up };
    it.configure();
    it.make_indices();
    let listed = told(it.up, "GET", "_cat/indices/elastalert*?h=index&format=json", &NONE, 200);
    let names: Vec<&str> =
        listed.as_array().unwrap().iter().map(|one| one["index"].as_str().unwrap()).collect();
    let suffixes = ["", "_error", "_past", "_silence", "_status"];
    assert_eq!(names, suffixes.map(|suffix| format!("elastalert{suffix}")));
    let mut running = it.start("elastalert.log");
    it.wait_for_runs("it has looked at what was there", &["a new user", "too few sessions"], |_| (40, 0));
    assert_eq!(it.alerts(), [""; 0], "nothing has happened yet");

    let mut lines: Vec<String> = (0..30).map(|n| shipped("info", "ann", n, "all is well")).collect();
    lines.extend((0..6).map(|n| shipped("error", "bob", n, "it failed")));
    lines.extend((0..4).map(|n| shipped("warn", "ann", n, "it is slow")));
    lines.extend((0..3).map(|n| shipped("info", "bob", n, "for the digest")));
    lines.push(shipped("info", "mallory", 1, "hello"));
    lines.push(shipped("critical", "ann", 1, "the disk is gone, all of it"));
    site.append("a.log", lines.concat());
    let expected = ["cardinality", "digest", "frequency", "new_term mallory"];
    wait::until_true("it alerts", DEADLINE, || it.alerts() == expected && it.pending() == 1);
    // Those whose condition is not met have looked at all of it, and found nothing.
    let quiet = ["too few warnings", "too few sessions", "no new service"];
    it.wait_for_runs("it has looked", &quiet, |rule| (if rule == quiet[0] { 4 } else { 85 }, 0));
    for rule in quiet {
        assert_eq!(it.runs(rule, 0).1, 0, "{rule}");
    }
    assert_eq!(it.alerts(), expected);
    let sent = it.documents("elastalert", &json!({ "term": { "alert_sent": true } }));
    assert_eq!(sent.len(), 6, "{sent:?}");
    for error in it.documents("elastalert_error", &json!({ "match_all": {} })) {
        assert!(error["message"].as_str().unwrap().starts_with(NOT_RECEIVED), "{error}");
    }

    // All are killed, with an alert that is still to be sent, and begin again.
    running.kill();
    let ElastAlert { up, .. } = it;
    up.process().kill();
    up.start();
    site.write("receiver", "");
    let it = ElastAlert { site: &site, up };
    assert_eq!(it.pending(), 1);
    let before = RULES.map(|(name, _)| (name, it.runs(name, 0).0));
    let mut again = it.start("again.log");
    site.append("a.log", (0..6).map(|n| shipped("error", "bob", n, "it failed")).collect::<String>());
    let everything = ["any", "cardinality", "digest", "frequency", "new_term mallory"];
    wait::until_true("what was still to be sent is sent", DEADLINE, || it.alerts() == everything);
    wait::until_true("it is not to be sent any more", DEADLINE, || it.pending() == 0);
    // What is silenced stays so: the errors are many again, and nobody is told.
    it.wait_for_runs("it goes on", &RULES.map(|(name, _)| name), |rule| {
        (0, before.iter().find(|(name, _)| *name == rule).unwrap().1)
    });
    wait::until_true("a silence is found again", DEADLINE, || {
        again.log().contains("Ignoring match for silenced rule many errors")
    });
    assert_eq!(it.alerts(), everything);
    assert!(again.ended().is_none());
    for log in [running.log(), again.log()] {
        let is_wrong = |line: &&str| {
            let bad = ["ERROR", "CRITICAL", "Traceback"].iter().any(|start| line.starts_with(start));
            bad && !line.contains(NOT_RECEIVED)
        };
        assert_eq!(log.lines().filter(is_wrong).collect::<Vec<_>>(), [""; 0]);
    }
}
