//! Who may ask for what: every endpoint, asked by every sort of caller; what a token of one stream sees; the audit trail; TLS.
#![expect(clippy::unwrap_used, reason = "tests")]

use base64::{Engine, prelude::BASE64_STANDARD as STANDARD};
use millrace_test_support::{Site, Up, certificates, http, wait};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, io::BufRead, time::Duration};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);

/// What must be shown for an endpoint. What is open answers in its own way to anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    Open,
    /// Any token.
    Known,
    Read,
    ReadAll,
    Write,
    WriteAll,
    Admin,
}
use Needs::{Admin, Known, Nothing, Open, Read, ReadAll, Write, WriteAll};

/// A sort of caller, its token's roles and streams.
const CALLERS: &[(&str, &[&str], &[&str])] = &[
    ("read_app", &["read"], &["app"]),
    ("read_all", &["read"], &["*"]),
    ("write_app", &["write"], &["app"]),
    ("write_all", &["write"], &["*"]),
    ("both_app", &["read", "write"], &["app"]),
    ("both_all", &["read", "write"], &["*"]),
    ("admin", &["admin"], &[]),
];

fn may(caller: &str, needs: Needs) -> bool {
    let reads = ["read_app", "read_all", "both_app", "both_all", "admin"].contains(&caller);
    let writes = ["write_app", "write_all", "both_app", "both_all", "admin"].contains(&caller);
    match needs {
        Nothing | Open | Known => true,
        Read => reads,
        ReadAll => reads && ["read_all", "both_all", "admin"].contains(&caller),
        Write => writes,
        WriteAll => writes && ["write_all", "both_all", "admin"].contains(&caller),
        Admin => caller == "admin",
    }
}

/// Method, path as the router has it, what it is asked with, a body.
type Endpoint = (&'static str, &'static str, &'static str, &'static str, Needs);

const LINE: &str = "{\"message\":\"hello\"}\n";
const OTLP: &str = r#"{"resourceLogs":[]}"#;
const LOKI: &str = r#"{"streams":[]}"#;
const LOKI_TIMES: &str = "query={a=\"b\"}&start=1700000000&end=1700000001";

/// `{stream}` of paths is `app`.
const ENDPOINTS: &[Endpoint] = &[
    ("GET", "/", "", "", Nothing),
    ("GET", "/healthz", "", "", Nothing),
    ("GET", "/readyz", "", "", Nothing),
    ("GET", "/version", "", "", Nothing),
    ("GET", "/auth/login", "", "", Open),
    ("GET", "/auth/callback", "", "", Open),
    ("POST", "/auth/logout", "", "", Known),
    ("GET", "/api/v1/me", "", "", Known),
    ("GET", "/metrics", "", "", ReadAll),
    ("GET", "/no/such/path", "", "", Known),
    ("GET", "/api/v1/openapi.json", "", "", Known),
    ("GET", "/api/v1/search", "q=*", "", Read),
    ("POST", "/api/v1/search", "", "{}", Read),
    ("GET", "/api/v1/context", "id=x", "", Read),
    ("GET", "/api/v1/export", "", "", Read),
    ("GET", "/api/v1/tail", "", "", Read),
    ("GET", "/api/v1/records/{id}", "", "", Read),
    ("GET", "/api/v1/fields", "", "", Read),
    ("GET", "/api/v1/fields/{name}/values", "", "", Read),
    ("GET", "/api/v1/patterns", "", "", Read),
    ("GET", "/api/v1/streams", "", "", Read),
    ("GET", "/api/v1/audit", "", "", ReadAll),
    ("GET", "/api/v1/traffic", "", "", ReadAll),
    ("GET", "/api/v1/hosts", "", "", ReadAll),
    ("GET", "/api/v1/pipeline", "", "", ReadAll),
    ("GET", "/api/v1/catalogue", "", "", ReadAll),
    ("GET", "/api/v1/catalogue/reprocess", "", "", ReadAll),
    ("GET", "/api/v1/streams/{name}/deletions", "", "", ReadAll),
    ("GET", "/api/v1/alerts", "", "", ReadAll),
    ("GET", "/api/v1/alerts/{id}", "", "", ReadAll),
    ("GET", "/api/v1/silences", "", "", ReadAll),
    ("POST", "/api/v1/silences/preview", "", r#"{"match":"x"}"#, ReadAll),
    ("GET", "/api/v1/rules", "", "", ReadAll),
    ("GET", "/api/v1/rules/{id}/backtest", "", "", ReadAll),
    ("GET", "/api/v1/rules/{id}/proposals", "", "", ReadAll),
    ("GET", "/api/v1/coverage", "", "", ReadAll),
    ("POST", "/api/v1/alerts/{id}/ack", "", "{}", Admin),
    ("DELETE", "/api/v1/alerts/{id}/ack", "", "", Admin),
    ("POST", "/api/v1/alerts/{id}/assign", "", r#"{"to":"ann"}"#, Admin),
    ("POST", "/api/v1/alerts/{id}/close", "", "{}", Admin),
    ("POST", "/api/v1/alerts/{id}/verdict", "", r#"{"verdict":"benign"}"#, Admin),
    ("DELETE", "/api/v1/alerts/{id}/verdict", "", "", Admin),
    ("POST", "/api/v1/silences", "", r#"{"match":"x","ends":"2100-01-01T00:00:00Z"}"#, Admin),
    ("DELETE", "/api/v1/silences/{id}", "", "", Admin),
    ("POST", "/api/v1/receivers/{name}/test", "", "", Admin),
    ("POST", "/api/v1/streams/{name}/delete", "", r#"{"q":"nothing_at_all"}"#, Admin),
    ("PUT", "/api/v1/streams/{name}/hold", "", r#"{"reason":"a test"}"#, Admin),
    ("DELETE", "/api/v1/streams/{name}/hold", "", "", Admin),
    ("POST", "/api/v1/catalogue/reprocess", "", r#"{"stream":"none"}"#, Admin),
    ("GET", "/api/v1/tokens", "", "", Admin),
    ("POST", "/api/v1/tokens", "", r#"{"name":"made","roles":["read"],"streams":["app"]}"#, Admin),
    ("DELETE", "/api/v1/tokens/{name}", "", "", Admin),
    ("GET", "/api/v1/dead-letters", "", "", Admin),
    ("GET", "/api/v1/dead-letters/{number}", "", "", Admin),
    ("POST", "/api/v1/dead-letters/replay", "", "{}", Admin),
    ("POST", "/api/v1/ingest", "stream=app", LINE, Write),
    ("POST", "/v1/logs", "stream=app", OTLP, Write),
    ("POST", "/loki/api/v1/push", "stream=app", LOKI, Write),
    ("POST", "/api/v1/ingest", "stream=other", LINE, WriteAll),
    ("POST", "/v1/logs", "stream=other", OTLP, WriteAll),
    ("POST", "/loki/api/v1/push", "", LOKI, WriteAll),
    ("GET", "/api/v1/topic", "", "", WriteAll),
    ("POST", "/api/v1/topic/messages", "", "", WriteAll),
    ("GET", "/api/v1/topic/dead", "", "", WriteAll),
    // What people said of alerts is not an agent's to say.
    ("GET", "/api/v1/topic/verdicts", "", "", Known),
    ("GET", "/loki/api/v1/query", "query=vector(1)", "", Read),
    ("GET", "/loki/api/v1/query_range", LOKI_TIMES, "", Read),
    ("GET", "/loki/api/v1/labels", "", "", Read),
    ("GET", "/loki/api/v1/label", "", "", Read),
    ("GET", "/loki/api/v1/label/{name}/values", "", "", Read),
    ("GET", "/loki/api/v1/series", "match[]={a=\"b\"}", "", Read),
    ("GET", "/loki/api/v1/index/stats", LOKI_TIMES, "", Read),
    ("GET", "/loki/api/v1/index/volume", LOKI_TIMES, "", Read),
    ("GET", "/loki/api/v1/index/volume_range", LOKI_TIMES, "", Read),
    ("GET", "/loki/api/v1/detected_labels", LOKI_TIMES, "", Read),
    ("GET", "/loki/api/v1/detected_fields", LOKI_TIMES, "", Read),
    ("GET", "/loki/api/v1/patterns", LOKI_TIMES, "", Read),
    ("GET", "/loki/api/v1/format_query", LOKI_TIMES, "", Read),
    ("GET", "/loki/api/v1/tail", LOKI_TIMES, "", Read),
    ("GET", "/loki/api/v1/status/buildinfo", "", "", Read),
    ("GET", "/elastic", "", "", Known),
    ("GET", "/elastic/", "", "", Known),
    ("GET", "/elastic/_nodes/http", "", "", Known),
    ("GET", "/elastic/_cluster/health", "", "", Known),
    ("POST", "/elastic/_search", "", "{}", Read),
    ("POST", "/elastic/app/_search", "", "{}", Read),
    ("POST", "/elastic/_msearch", "", "{}\n{}\n", Read),
    ("GET", "/elastic/_search/scroll/x", "", "", Read),
    ("DELETE", "/elastic/_search/scroll/x", "", "", Read),
    ("GET", "/elastic/_count", "", "", Read),
    ("POST", "/elastic/app/_pit", "keep_alive=1m", "", Read),
    ("DELETE", "/elastic/_pit", "", r#"{"id":"x"}"#, Read),
    ("GET", "/elastic/_field_caps", "fields=*", "", Read),
    ("GET", "/elastic/_mapping", "", "", Read),
    ("GET", "/elastic/app/_mapping", "", "", Read),
    ("GET", "/elastic/_cat/indices", "", "", Read),
    ("GET", "/elastic/_cat/health", "", "", Read),
    ("GET", "/elastic/_resolve/index/*", "", "", Read),
    ("GET", "/elastic/_aliases", "", "", Read),
    ("GET", "/elastic/_stats", "", "", Read),
    ("GET", "/elastic/_cluster/settings", "", "", Read),
    ("HEAD", "/elastic/app", "", "", Read),
    ("GET", "/elastic/app", "", "", Read),
    ("GET", "/elastic/app/_settings", "", "", Read),
    ("GET", "/elastic/app/_search_shards", "", "", Read),
    ("GET", "/elastic/app/_doc/x", "", "", Read),
    ("POST", "/elastic/app/_refresh", "", "", Read),
    ("PUT", "/elastic/app", "", "{}", Write),
    ("PUT", "/elastic/app/_mapping", "", r#"{"properties":{}}"#, Write),
    ("POST", "/elastic/app/_doc", "", r#"{"message":"one"}"#, Write),
    ("PUT", "/elastic/app/_create/9", "", r#"{"message":"one"}"#, Write),
    ("POST", "/elastic/app/_bulk", "", "{\"index\":{}}\n{\"message\":\"two\"}\n", Write),
    ("POST", "/elastic/_bulk", "", "{\"index\":{\"_index\":\"app\"}}\n{\"message\":\"three\"}\n", Write),
    ("PUT", "/elastic/other", "", "{}", WriteAll),
    ("POST", "/elastic/other/_doc", "", r#"{"message":"one"}"#, WriteAll),
    ("PUT", "/elastic/elastalert_status", "", "{}", WriteAll),
    ("PUT", "/elastic/elastalert_status/_doc/1", "", r#"{"rule_name":"one"}"#, WriteAll),
    ("POST", "/elastic/elastalert_status/_update/1", "", r#"{"doc":{"rule_name":"two"}}"#, WriteAll),
    ("DELETE", "/elastic/elastalert_status/_doc/1", "", "", WriteAll),
    ("DELETE", "/elastic/elastalert_status", "ignore_unavailable=true", "", Admin),
    ("PUT", "/elastic/_cluster/settings", "", "{}", Admin),
    ("POST", "/elastic/app/_delete_by_query", "", r#"{"query":{"term":{"nothing":"x"}}}"#, Admin),
    ("DELETE", "/elastic/gone", "ignore_unavailable=true", "", Admin),
];

fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'=' | b'&' | b'_' | b'.' | b'-' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// A server with a token of each sort; the tokens by their names.
fn guarded<'s>(site: &'s Site, more: &str) -> (Up<'s>, impl Fn(&str) -> String + use<'s>) {
    let file = site.path("tokens.toml").display().to_string();
    for (name, roles, streams) in CALLERS {
        let mut arguments = vec!["token", name, "--file", &file];
        arguments.extend(roles.iter().flat_map(|role| ["--role", role]));
        arguments.extend(streams.iter().flat_map(|stream| ["--stream", stream]));
        let outcome = site.run(&arguments);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        site.write(&format!("{name}.token"), &outcome.stdout);
    }
    let settings = format!("[query.auth]\ntokens_file = \"{file}\"\n{more}");
    let up = site.up(&settings).started();
    let read =
        move |name: &str| fs::read_to_string(site.path(&format!("{name}.token"))).unwrap().trim().to_owned();
    (up, read)
}

/// How an endpoint answers to whoever shows this.
fn status(up: &Up<'_>, endpoint: &Endpoint, shown: Option<&str>) -> u16 {
    let (method, path, query, body, _) = endpoint;
    let path = path.replace("{id}", "x").replace("{name}", "app").replace("{number}", "1");
    let path = if query.is_empty() { path } else { format!("{path}?{}", escaped(query)) };
    let shown = shown.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(shown.iter().map(|shown| ("authorization", shown.as_str())));
    http::begin(&up.server.address, method, &path, &headers, body).unwrap().1.status
}

#[test]
fn each_role_may_what_it_may_and_nothing_else() {
    let site = Site::new(BINARY);
    let (up, token) = guarded(&site, "");
    let stranger = format!("millrace_admin_{}", "0".repeat(64));
    let mut wrong = Vec::new();
    for endpoint in ENDPOINTS {
        let needs = endpoint.4;
        for shown in [None, Some(stranger.as_str()), Some("millrace_nobody_00"), Some("x")] {
            let found = status(&up, endpoint, shown);
            let is_right = match needs {
                Nothing => found == 200,
                Open => !matches!(found, 200 | 401 | 403),
                _ => found == 401,
            };
            if !is_right {
                wrong.push(format!("{endpoint:?} shown {shown:?}: {found}"));
            }
        }
        for (caller, ..) in CALLERS {
            let found = status(&up, endpoint, Some(&token(caller)));
            let refused = matches!(found, 401 | 403);
            // A bulk of what is forbidden is answered item by item.
            if refused == may(caller, needs) || found >= 500 {
                wrong.push(format!("{endpoint:?} asked by {caller}: {found}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The paths of routers' sources, as they stand there.
fn routes(source: &str, function: &str, prefix: &str) -> Vec<String> {
    let parts = source.split(function).skip(1);
    parts.map(|part| format!("{prefix}{}", part.split('"').next().unwrap())).collect()
}

#[test]
fn no_endpoint_is_forgotten_in_the_table() {
    let named: BTreeSet<&str> = ENDPOINTS.iter().map(|(_, path, ..)| *path).collect();
    let router = routes(include_str!("../query/src/http/router.rs"), ".route(\"", "");
    let loki = routes(include_str!("../query/src/http/loki.rs"), "&at(\"", "/loki/api/v1/");
    let ingest = routes(include_str!("../agent/src/ingest.rs"), ".route(\"", "");
    let admin = routes(include_str!("../src/admin.rs"), ".route(\"", "");
    assert!(router.len() > 20 && loki.len() > 10 && ingest.len() >= 3 && admin.len() >= 4);
    let all = router.into_iter().chain(loki).chain(ingest).chain(admin);
    let missing: Vec<String> = all.filter(|path| !named.contains(path.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// What nobody must see who may see `app` alone.
const SECRETS: [&str; 6] = ["hidden", "webster", "web_only", "webserver1", "\"web\"", "elastalert_web"];

struct Reader<'a> {
    up: &'a Up<'a>,
    shown: String,
}

impl Reader<'_> {
    fn ask(&self, method: &str, path: &str, body: &str) -> http::Answer {
        let headers = [("authorization", self.shown.as_str()), ("content-type", "application/json")];
        http::send(&self.up.server.address, method, path, &headers, body).unwrap()
    }

    #[track_caller]
    fn json(&self, method: &str, path: &str, body: &str) -> Value {
        let answer = self.ask(method, path, body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// What is answered, which must not tell of what is hidden.
    #[track_caller]
    fn harmless(&self, method: &str, path: &str, body: &str) -> String {
        let text = self.ask(method, path, body).text();
        for secret in SECRETS {
            // What was asked may be quoted.
            let name = secret.trim_matches('"');
            let quoted = path.contains(name) || body.contains(name);
            assert!(quoted || !text.contains(secret), "{method} {path} {body}: {text}");
        }
        text
    }
}

/// Every way to look at records, by one who may see `app` alone.
fn looks_at_app_alone(reader: &Reader<'_>, foreign_id: &str) {
    let total =
        |q: &str| reader.json("GET", &format!("/api/v1/search?from=0&q={}", escaped(q)), "")["total"].clone();
    assert_eq!(total("*"), json!(2));
    for q in ["hidden", "user:webster", "web_only:*", "_stream:web", "host:webserver1", "NOT shown"] {
        assert_eq!(total(q), json!(0), "{q}");
    }
    let get = |path: &str| reader.harmless("GET", path, "");
    for path in [
        "/api/v1/search?from=0&q=*",
        "/api/v1/search?from=0&q=*&stream=web",
        "/api/v1/search?from=0&q=*&stream=app,web&histogram=1h&limit=0",
        "/api/v1/search?from=0&q=*+%7C+stats+count()+by+_stream,user",
        "/api/v1/search?from=0&q=*+%7C+patterns",
        "/api/v1/search?from=0&q=*+%7C+join+left+by+user+(*+%7C+stats+count()+as+n+by+user,_stream)",
        "/api/v1/search?from=0&q=*+%7C+join+left+by+user+(*+%7C+stats+count()+as+n+by+user)&explain=true",
        "/api/v1/search?from=0&q=*&explain=true",
        "/api/v1/search?from=0&q=hidden&stream=web&explain=true",
        "/api/v1/export?from=0",
        "/api/v1/export?from=0&stream=web",
        "/api/v1/export?from=0&format=csv&q=*+%7C+stats+count()+by+user",
        "/api/v1/fields?from=0",
        "/api/v1/fields/user/values?from=0",
        "/api/v1/fields/_stream/values?from=0",
        "/api/v1/patterns?from=0",
        "/api/v1/streams",
        "/loki/api/v1/labels?start=1",
        "/loki/api/v1/label/user/values?start=1",
        "/loki/api/v1/label/stream/values?start=1",
        "/loki/api/v1/series?start=1&match[]=%7Bstream%3D~%22.%2B%22%7D",
        "/loki/api/v1/query_range?start=1&query=%7Bstream%3D~%22.%2B%22%7D",
        "/loki/api/v1/query?query=sum%20by(stream)(count_over_time(%7Bstream%3D~%22.%2B%22%7D%5B1h%5D))",
        "/loki/api/v1/index/stats?start=1&query=%7Bstream%3D~%22.%2B%22%7D",
        "/loki/api/v1/index/volume?start=1&query=%7Bstream%3D~%22.%2B%22%7D",
        "/loki/api/v1/detected_labels?start=1&query=%7Bstream%3D~%22.%2B%22%7D",
        "/loki/api/v1/detected_fields?start=1&query=%7Bstream%3D~%22.%2B%22%7D",
        "/loki/api/v1/patterns?start=1&query=%7Bstream%3D~%22.%2B%22%7D",
        "/elastic/_search",
        "/elastic/_all/_search?q=hidden",
        "/elastic/_mapping",
        "/elastic/_cat/indices",
        "/elastic/_cat/indices?format=json",
        "/elastic/_field_caps?fields=*",
        "/elastic/_resolve/index/*",
        "/elastic/_aliases",
        "/elastic/_stats",
        "/elastic/*",
    ] {
        get(path);
    }
    let own = "/loki/api/v1/index/stats?start=1&query=%7Bstream%3D~%22.%2B%22%7D";
    assert_eq!(reader.json("GET", own, "")["entries"], json!(2));
    assert_eq!(reader.json("GET", "/elastic/_count", "")["count"], json!(2));
    let aggregation = r#"{"size":0,"aggs":{"users":{"terms":{"field":"user"}},"all":{"global":{},"aggs":{"n":{"value_count":{"field":"user"}}}}}}"#;
    let answer = reader.harmless("POST", "/elastic/_search", aggregation);
    assert!(answer.contains("\"doc_count\":2"), "{answer}");
    assert_eq!(reader.ask("HEAD", "/elastic/web", "").status, 404);
    for (path, status) in [
        (format!("/api/v1/records/{foreign_id}"), 404),
        (format!("/api/v1/context?id={foreign_id}"), 404),
        ("/elastic/web/_search".to_owned(), 404),
        (format!("/elastic/*/_doc/{foreign_id}"), 404),
        ("/elastic/elastalert_web/_search".to_owned(), 404),
        ("/elastic/elastalert_web/_doc/1".to_owned(), 404),
        ("/elastic/elastalert_web/_source/1".to_owned(), 404),
    ] {
        assert_eq!(reader.ask("GET", &path, "").status, status, "{path}");
        reader.harmless("GET", &path, "");
    }
}

#[test]
fn a_token_of_one_stream_never_sees_another() {
    let site = Site::new(BINARY);
    let (up, token) = guarded(&site, "[indexer]\nseal_age = \"1s\"\n");
    let with = |name: &str| Reader { up: &up, shown: format!("Bearer {}", token(name)) };
    let (admin, reader) = (with("admin"), with("read_app"));
    let app = "{\"message\":\"shown one\",\"user\":\"ann\",\"host\":\"appserver\"}\n".repeat(2);
    let web = "{\"message\":\"hidden one\",\"user\":\"webster\",\"web_only\":1,\"host\":\"webserver1\"}\n"
        .repeat(3);
    admin.json("POST", "/api/v1/ingest?stream=app", &app);
    admin.json("POST", "/api/v1/ingest?stream=web", &web);
    // Documents that clients change are under the same rule.
    for id in ["1", "2"] {
        let hidden = r#"{"user":"webster","web_only":1,"message":"hidden"}"#;
        let path = format!("/elastic/elastalert_web/_doc/{id}");
        assert_eq!(admin.ask("PUT", &path, hidden).status, 201);
    }
    let everything = "/api/v1/search?from=0&q=*";
    let whole = || admin.json("GET", everything, "");
    wait::until_true("all is found", DEADLINE, || whole()["total"] == json!(5));
    let foreign = admin.json("GET", "/api/v1/search?from=0&q=hidden", "")["hits"][0]["_id"].clone();
    let foreign = foreign.as_str().unwrap();
    // In memory, then in shards.
    looks_at_app_alone(&reader, foreign);
    let explained = |reader: &Reader<'_>| {
        reader.json("GET", "/api/v1/search?from=0&q=*&explain=true", "")["explain"].clone()
    };
    wait::until_true("all is in shards", DEADLINE, || {
        let streams = admin.json("GET", "/api/v1/streams", "");
        let records =
            streams["streams"].as_array().unwrap().iter().filter(|one| one["name"] != "millrace.audit");
        records.filter_map(|one| one["records"].as_u64()).sum::<u64>() == 5
    });
    looks_at_app_alone(&reader, foreign);
    // Not even how many shards others have, nor how many messages there are.
    let (all, own) = (explained(&admin), explained(&reader));
    let shards = |told: &Value, of: &str| told["shards"][of].as_u64().unwrap();
    assert!(shards(&all, "considered") > shards(&own, "considered"), "{all:#}");
    assert_eq!(shards(&own, "considered"), shards(&own, "searched"), "{own:#}");
    assert!(
        own["shards"]["each"].as_array().unwrap().iter().all(|shard| shard["stream"] == "app"),
        "{own:#}"
    );
    assert_eq!((all["offsets"].is_array(), own["offsets"].is_null()), (true, true));
    let matched = own["leaves"].as_array().unwrap().iter().map(|leaf| leaf["matched"].as_u64().unwrap());
    let in_shards = own["shards"]["each"].as_array().unwrap().iter();
    let in_shards = in_shards.map(|shard| shard["matched"].as_u64().unwrap());
    assert_eq!(matched.chain(in_shards).sum::<u64>(), 2, "{own:#}");

    // A live tail is told of its own alone.
    let headers = [("authorization", reader.shown.as_str())];
    let (mut events, answer) =
        http::begin(&up.server.address, "GET", "/api/v1/tail?q=*", &headers, "").unwrap();
    assert_eq!(answer.status, 200);
    let mut heard = String::new();
    let mut line = String::new();
    while !heard.contains("heartbeat") {
        line.clear();
        events.read_line(&mut line).unwrap();
        heard += &line;
    }
    admin.json("POST", "/api/v1/ingest?stream=web", &web);
    admin.json("POST", "/api/v1/ingest?stream=app", "{\"message\":\"shown last\"}\n");
    while !heard.contains("shown last") {
        line.clear();
        events.read_line(&mut line).unwrap();
        heard += &line;
    }
    assert!(SECRETS.iter().all(|secret| !heard.contains(secret)), "{heard}");

    // What another one has begun is nobody else's.
    let begun = admin.json("POST", "/elastic/_search?scroll=1m", r#"{"size":1}"#);
    let scroll = json!({ "scroll_id": begun["_scroll_id"], "scroll": "1m" }).to_string();
    assert_eq!(reader.ask("POST", "/elastic/_search/scroll", &scroll).status, 404);
    let pit = admin.json("POST", "/elastic/web/_pit?keep_alive=1m", "")["id"].clone();
    let body = json!({ "pit": { "id": pit } }).to_string();
    reader.harmless("POST", "/elastic/_search", &body);

    // Handing in: to its own stream alone, also one by one.
    let writer = with("write_app");
    let bulk = "{\"index\":{\"_index\":\"web\"}}\n{\"message\":\"x\"}\n{\"index\":{\"_index\":\"app\"}}\n{\"message\":\"y\"}\n";
    let items = writer.json("POST", "/elastic/_bulk", bulk);
    let status = |at: usize| items["items"][at]["index"]["status"].clone();
    assert_eq!((status(0), status(1)), (json!(403), json!(201)), "{items}");
    let bulk = "{\"delete\":{\"_index\":\"elastalert_web\",\"_id\":\"1\"}}\n{\"index\":{\"_index\":\"app\"}}\n{\"message\":\"z\"}\n";
    let items = writer.json("POST", "/elastic/_bulk", bulk);
    assert_eq!(items["items"][0]["delete"]["status"], json!(403), "{items}");
    assert_eq!(items["items"][1]["index"]["status"], json!(201), "{items}");
    // By what is in them they are deleted by those who may change them and see them, and by nobody who has one of these roles.
    let by_query = |who: &str| {
        let query = r#"{"query":{"term":{"user":"webster"}}}"#;
        with(who).ask("POST", "/elastic/elastalert_web/_delete_by_query", query)
    };
    for (who, status) in [("read_all", 403), ("write_all", 403), ("both_app", 404)] {
        assert_eq!(by_query(who).status, status, "{who}");
    }
    assert_eq!(admin.json("GET", "/elastic/elastalert_web/_count", "")["count"], json!(2));
    assert_eq!(by_query("both_all").status, 200);
    assert_eq!(admin.json("GET", "/elastic/elastalert_web/_count", "")["count"], json!(0));
    for stream in ["web", "millrace.audit"] {
        let path = format!("/api/v1/ingest?stream={stream}");
        assert_eq!(writer.ask("POST", &path, LINE).status, 403);
    }
}

#[test]
fn the_audit_trail_says_who_asked_what_and_nobody_writes_it() {
    let site = Site::new(BINARY);
    let (up, token) = guarded(&site, "");
    let with = |name: &str| Reader { up: &up, shown: format!("Bearer {}", token(name)) };
    let (admin, reader) = (with("admin"), with("read_app"));
    reader.json("GET", "/api/v1/search?q=needle", "");
    reader.json("POST", "/api/v1/search", r#"{"q":"another_needle"}"#);
    reader.json("POST", "/elastic/_search", r#"{"query":{"match":{"message":"third_needle"}}}"#);
    reader.ask("POST", "/api/v1/streams/app/delete", r#"{"q":"*"}"#);
    admin.json("PUT", "/api/v1/streams/app/hold", r#"{"reason":"a case"}"#);
    assert_eq!(http::get(&up.server.address, "/api/v1/hosts").unwrap().status, 401);
    let trail = |q: &str| {
        let path = format!("/api/v1/search?stream=millrace.audit&q={}", escaped(q));
        admin.json("GET", &path, "")["hits"].as_array().unwrap().clone()
    };
    for (q, who, status) in [
        ("url.query:\"q=needle\"", "read_app", 200),
        ("http.request.body.content:*another_needle*", "read_app", 200),
        ("http.request.body.content:*third_needle*", "read_app", 200),
        ("url.path:\"/api/v1/streams/app/delete\"", "read_app", 403),
        ("url.path:\"/api/v1/streams/app/hold\"", "admin", 200),
    ] {
        let hits = wait::until("the note", DEADLINE, || Some(trail(q)).filter(|hits| !hits.is_empty()));
        let attributes = &hits[0]["attributes"];
        assert_eq!(attributes["user.name"], json!(who), "{q}: {hits:?}");
        assert_eq!(attributes["http.response.status_code"], json!(status), "{q}");
        assert_eq!(attributes["client.address"], json!("127.0.0.1"), "{q}");
    }
    wait::until_true("the stranger is noted", DEADLINE, || {
        trail("http.response.status_code:401").iter().any(|hit| hit["attributes"]["user.name"].is_null())
    });
    // Who looks for needles does not find those who have looked for them.
    assert_eq!(admin.json("GET", "/api/v1/search?q=needle+OR+another_needle", "")["total"], json!(0));
    assert_eq!(reader.json("GET", "/api/v1/search?stream=millrace.audit&q=*", "")["total"], json!(0));
    for (method, path, body) in [
        ("POST", "/api/v1/ingest?stream=millrace.audit", LINE),
        ("POST", "/elastic/millrace.audit/_doc", "{}"),
        ("POST", "/api/v1/streams/millrace.audit/delete", r#"{"q":"*"}"#),
        ("DELETE", "/elastic/millrace.audit", ""),
    ] {
        let answer = admin.ask(method, path, body);
        assert!((400..500).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.text());
    }
    assert!(!trail("*").is_empty());
}

#[test]
fn tokens_are_shown_in_many_ways_and_hold_until_the_file_forgets_them() {
    let site = Site::new(BINARY);
    let (up, token) = guarded(&site, "");
    let reader = token("read_app");
    let secret = reader.strip_prefix("millrace_read_app_").unwrap().to_owned();
    let asked = |headers: &[(&str, &str)], method: &str| {
        http::send(&up.server.address, method, "/api/v1/search", headers, "").unwrap().status
    };
    for shown in [
        format!("Basic {}", STANDARD.encode(format!("read_app:{secret}"))),
        format!("Basic {}", STANDARD.encode(format!("me:{reader}"))),
        format!("ApiKey {}", STANDARD.encode(format!("read_app:{secret}"))),
    ] {
        assert_eq!(asked(&[("authorization", &shown)], "GET"), 200, "{shown}");
    }
    let shown = format!("Bearer {reader}");
    let from_elsewhere = [("authorization", shown.as_str()), ("sec-fetch-site", "cross-site")];
    assert_eq!((asked(&from_elsewhere, "GET"), asked(&from_elsewhere, "POST")), (200, 403));

    // The command line shows one, too.
    let file = site.path("read_app.token").display().to_string();
    let found = up.run(&["search", "*", "--token-file", &file]);
    assert_eq!(found.code, Some(0), "{}", found.stderr);
    let refused = up.run(&["search", "*"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("a token is needed"), "{}", refused.stderr);

    // A new one is known within seconds, and one that is taken out is not.
    let tokens = site.path("tokens.toml");
    let added = site.run(&["token", "late", "--file", &tokens.display().to_string(), "--role", "admin"]);
    let late = format!("Bearer {}", added.stdout.trim());
    wait::until_true("the new token is known", DEADLINE, || asked(&[("authorization", &late)], "GET") == 200);
    let text = fs::read_to_string(&tokens).unwrap();
    fs::write(&tokens, "broken").unwrap();
    wait::until_true("it is told", DEADLINE, || {
        fs::read_to_string(site.path("up.log")).unwrap().contains("the tokens stay as they were")
    });
    assert_eq!(asked(&[("authorization", &late)], "GET"), 200);
    let without = text.split("[tokens.\"late\"]").next().unwrap();
    fs::write(&tokens, without).unwrap();
    wait::until_true("the token is forgotten", DEADLINE, || asked(&[("authorization", &late)], "GET") == 401);
    assert_eq!(asked(&[("authorization", &shown)], "GET"), 200);
}

#[test]
fn over_tls_a_renewed_certificate_is_shown_without_a_restart() {
    let site = Site::new(BINARY);
    certificates::make(&site.path("certificates"));
    certificates::make(&site.path("renewed"));
    let at = |name: &str| site.path("certificates").join(name);
    let tls = format!(
        "[query.tls]\ncertificate = \"{}\"\nkey = \"{}\"\n",
        at("localhost.pem").display(),
        at("localhost.key").display()
    );
    let up = site.up(&tls);
    let (data, config) =
        (site.path("data").display().to_string(), site.path("up.toml").display().to_string());
    let arguments = ["up", "--data", &data, "--listen", &up.server.address, "--config", &config];
    let mut process = site.start("up", &arguments);
    let url = format!("https://localhost:{}", up.server.address.rsplit(':').next().unwrap());
    let asks = |authority: &std::path::Path| {
        let mut command = site.command(&["search", "*", "--server", &url]);
        command.env("SSL_CERT_FILE", authority).env_remove("SSL_CERT_DIR");
        millrace_test_support::process::run(&mut command, DEADLINE)
    };
    wait::until_true("it answers over TLS", DEADLINE, || asks(&at("ca.pem")).code == Some(0));
    let stranger = asks(&site.path("renewed/ca.pem"));
    assert_eq!(stranger.code, Some(4));
    assert!(stranger.stderr.contains("certificate"), "{}", stranger.stderr);
    for name in ["localhost.pem", "localhost.key"] {
        fs::copy(site.path("renewed").join(name), at(name)).unwrap();
    }
    wait::until_true("the new one is shown", DEADLINE, || asks(&site.path("renewed/ca.pem")).code == Some(0));
    assert!(process.terminate(DEADLINE).success());
}

#[test]
fn without_tokens_no_other_machine_is_listened_to() {
    let site = Site::new(BINARY);
    let data = site.path("data").display().to_string();
    let config = site.write("open.toml", "[query]\nlisten = \"0.0.0.0:7700\"\n");
    let refused = site.run(&["up", "--data", &data, "--config", &config]);
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    for words in ["nobody has to say who they are", "[query.auth]", "allow_unauthenticated"] {
        assert!(refused.stderr.contains(words), "{words} in {}", refused.stderr);
    }
    let config = site.write("typo.toml", "[query.auth]\ntoken_file = \"x\"\n");
    let refused = site.run(&["config", "check", "--config", &config]);
    assert!(refused.stderr.contains("tokens_file"), "{}", refused.stderr);
}
