//! Tokens that lie in the catalogue, and what becomes of whoever is in the middle of something when a token ends.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_model::{Clock, SystemClock};
use millrace_test_support::{Site, Up, http, ports, process, wait};
use serde_json::{Value, json};
use std::{
    fs,
    io::BufRead,
    time::{Duration, Instant},
};
use tungstenite::{Message, client::IntoClientRequest};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);
/// Within this a token that has ended holds nowhere.
const SOON: Duration = Duration::from_secs(10);

struct Guarded<'s> {
    site: &'s Site,
    up: Up<'s>,
    admin: String,
}

impl<'s> Guarded<'s> {
    /// A server with one token in its file, an administrator's.
    fn start(site: &'s Site) -> Self {
        let file = site.path("tokens.toml").display().to_string();
        let made = site.run(&["token", "root", "--file", &file, "--role", "admin"]);
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        site.write("root.token", &made.stdout);
        let up = site.up(&format!("[query.auth]\ntokens_file = \"{file}\"\n")).started();
        Self { site, up, admin: made.stdout.trim().to_owned() }
    }

    fn ask(&self, token: &str, method: &str, path: &str, body: &str) -> http::Answer {
        let shown = format!("Bearer {token}");
        let headers = [("authorization", shown.as_str()), ("content-type", "application/json")];
        http::send(&self.up.server.address, method, path, &headers, body).unwrap()
    }

    #[track_caller]
    fn make(&self, body: &Value) -> String {
        let answer = self.ask(&self.admin, "POST", "/api/v1/tokens", &body.to_string());
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        serde_json::from_slice::<Value>(&answer.body).unwrap()["token"].as_str().unwrap().to_owned()
    }

    fn reader(&self, name: &str) -> String {
        self.make(&json!({ "name": name, "roles": ["read"], "streams": ["app"] }))
    }

    #[track_caller]
    fn revoke(&self, name: &str) {
        let answer = self.ask(&self.admin, "DELETE", &format!("/api/v1/tokens/{name}"), "");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    fn is_known(&self, token: &str) -> bool {
        self.ask(token, "GET", "/api/v1/streams", "").status == 200
    }

    /// The command line, as the administrator.
    fn run(&self, arguments: &[&str]) -> process::Outcome {
        let file = self.site.path("root.token").display().to_string();
        self.up.run(&[arguments, &["--token-file", &file]].concat())
    }

    fn begin(&self, token: &str, path: &str) -> impl BufRead + use<> {
        let shown = format!("Bearer {token}");
        let (body, answer) =
            http::begin(&self.up.server.address, "GET", path, &[("authorization", &shown)], "").unwrap();
        assert_eq!(answer.status, 200);
        body
    }
}

#[test]
fn tokens_are_made_listed_and_revoked_at_the_server() {
    let site = Site::new(BINARY);
    let mut server = Guarded::start(&site);
    let made = server.run(&["token", "grafana", "--role", "read", "--stream", "app,web", "--expires", "90d"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let token = made.stdout.trim().to_owned();
    assert!(token.starts_with("millrace_grafana_"), "{token}");
    assert!(server.is_known(&token));
    assert_eq!(server.ask(&token, "GET", "/api/v1/tokens", "").status, 403);
    let me = |token: &str| server.ask(token, "GET", "/api/v1/streams", "").status;
    assert_eq!(me(&format!("millrace_grafana_{}", "0".repeat(64))), 401);

    let listed = server.run(&["token", "--list", "--output", "json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let one = &listed["tokens"][0];
    assert_eq!(
        (&one["name"], &one["roles"], &one["streams"], &one["created_by"]),
        (&json!("grafana"), &json!(["read"]), &json!(["app", "web"]), &json!("root"))
    );
    assert!(one["created"].is_string() && one["expires"].is_string(), "{one}");
    for secret in ["argon2", token.rsplit('_').next().unwrap()] {
        assert!(!listed.to_string().contains(secret), "{listed}");
    }
    let table = server.run(&["token", "--list"]).stdout;
    assert!(table.contains("grafana  read   app,web"), "{table}");

    for (body, status, why) in [
        (
            json!({ "name": "grafana", "roles": ["read"], "streams": ["*"] }),
            409,
            "there is a token that is called",
        ),
        (json!({ "name": "root", "roles": ["read"], "streams": ["*"] }), 409, "the file of tokens has one"),
        (json!({ "name": "x", "roles": ["read"] }), 400, "streams: names"),
        (json!({ "name": "x", "roles": [], "streams": ["*"] }), 400, "at least one of read"),
        (json!({ "name": "X", "roles": ["admin"] }), 400, "lower-case letters"),
        (json!({ "name": "x", "roles": ["admin"], "expires": "2020-01-01T00:00:00Z" }), 400, "still to come"),
        (json!({ "name": "x", "roles": ["admin"], "stream": "y" }), 400, "unknown field `stream`"),
    ] {
        let answer = server.ask(&server.admin, "POST", "/api/v1/tokens", &body.to_string());
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
        assert!(answer.text().contains(why), "{why}: {}", answer.text());
    }

    server.up.stop();
    server.up.start();
    assert!(server.is_known(&token), "it lies in the catalogue");

    // One of the file takes the name over, and gives it back.
    let tokens = site.path("tokens.toml");
    let text = fs::read_to_string(&tokens).unwrap();
    let file = tokens.display().to_string();
    let other = site.run(&["token", "grafana", "--file", &file, "--role", "read", "--stream", "app"]);
    let other = other.stdout.trim();
    wait::until_true("that of the file holds", SOON, || server.is_known(other) && !server.is_known(&token));
    let log = fs::read_to_string(site.path("up.log")).unwrap();
    assert!(log.contains("the token is in the file and in the catalogue: that of the file holds"), "{log}");
    fs::write(&tokens, text).unwrap();
    wait::until_true("that of the catalogue holds", SOON, || {
        !server.is_known(other) && server.is_known(&token)
    });

    let revoked = server.run(&["token", "--revoke", "grafana"]);
    assert_eq!(revoked.code, Some(0), "{}", revoked.stderr);
    assert!(!server.is_known(&token), "where it was revoked it ends at once");
    let again = server.run(&["token", "--revoke", "grafana"]);
    assert!(again.code == Some(2) && again.stderr.contains("has no token"), "{again:?}");
    assert!(server.is_known(&server.admin));
}

#[test]
fn what_is_made_at_one_node_holds_at_another_and_ends_there() {
    let site = Site::new(BINARY);
    let server = Guarded::start(&site);
    // A query node of its own, which shares the catalogue alone.
    let address = format!("127.0.0.1:{}", ports::free());
    let at = |name: &str| site.path(name).display().to_string();
    let config = site.write(
        "other.toml",
        &format!(
            "[query]\nlisten = \"{address}\"\n[query.auth]\ntokens_file = \"{}\"\n[query.alerts]\nenabled = false\n\
             [topic]\ntype = \"embedded\"\ndirectory = \"{}\"\n[catalogue]\nurl = \"sqlite://{}\"\n\
             [storage]\nurl = \"file://{}\"\ncache_dir = \"{}\"\n",
            at("tokens.toml"), at("other-topic"), at("data/catalogue.db"), at("data/shards"), at("other-cache"),
        ),
    );
    let _other = site.start("other", &["query", "--config", &config]);
    let status = |token: &str, method: &str, path: &str| {
        let shown = format!("Bearer {token}");
        let answer = http::send(&address, method, path, &[("authorization", &shown)], "");
        answer.map_or(0, |answer| answer.status)
    };
    wait::until_true("the other node answers", DEADLINE, || status("", "GET", "/version") == 200);
    let token = server.reader("reader");
    assert_eq!(status(&token, "GET", "/api/v1/me"), 200, "whoever is not known is looked for");
    let tail = server.begin(&token, "/api/v1/tail?q=*");
    assert_eq!(status(&server.admin, "DELETE", "/api/v1/tokens/reader"), 200);
    assert_eq!(status(&token, "GET", "/api/v1/me"), 401);
    wait::until_true("it ends here, too", SOON, || !server.is_known(&token));
    assert!(rest(tail).contains("event: ended"));
}

/// Reads until the end, which must come soon.
#[track_caller]
fn rest(mut body: impl BufRead) -> String {
    let (started, mut text) = (Instant::now(), Vec::new());
    let _cut = body.read_to_end(&mut text);
    assert!(started.elapsed() < SOON, "it goes on");
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn a_tail_ends_with_its_token_and_says_so() {
    let site = Site::new(BINARY);
    let server = Guarded::start(&site);
    let (reader, other) = (server.reader("reader"), server.reader("other"));
    let until = SystemClock.now().plus(Duration::from_secs(3));
    let brief = server.make(&json!({
        "name": "brief", "roles": ["read"], "streams": ["app"], "expires": until,
    }));
    let tail = server.begin(&reader, "/api/v1/tail?q=*");
    let brief = server.begin(&brief, "/api/v1/tail?q=*");
    let mut goes_on = server.begin(&other, "/api/v1/tail?q=*");
    let address = &server.up.server.address;
    let path = format!("ws://{address}/loki/api/v1/tail?query=%7Bstream%3D%22app%22%7D");
    let mut request = path.into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {reader}").parse().unwrap());
    let (mut socket, _) = tungstenite::connect(request).unwrap();
    let log = site.path("tail.log");
    site.write("reader.token", &reader);
    let token_file = site.path("reader.token").display().to_string();
    let url = server.up.server.url();
    let mut follows = site.start("tail", &["tail", "*", "--server", &url, "--token-file", &token_file]);
    wait::until_true("the command follows", DEADLINE, || {
        let line = "{\"message\":\"seen by all who watch\"}\n";
        let answer = server.ask(&server.admin, "POST", "/api/v1/ingest?stream=app", line);
        assert_eq!(answer.status, 200, "{}", answer.text());
        std::thread::sleep(Duration::from_millis(200));
        fs::read_to_string(&log).unwrap().contains("seen by all who watch")
    });

    server.revoke("reader");
    for (body, name) in [(tail, "reader"), (brief, "brief")] {
        let text = rest(body);
        let last = text.rsplit("event: ").next().unwrap();
        assert!(last.starts_with("ended\n") && last.contains("\"code\":\"unauthorized\""), "{text}");
        assert!(last.contains(&format!("the token {name} does not hold any more")), "{last}");
    }
    let started = Instant::now();
    let frame = loop {
        match socket.read().unwrap() {
            Message::Close(frame) => break frame.unwrap(),
            _ => assert!(started.elapsed() < SOON, "it goes on"),
        }
    };
    assert_eq!(u16::from(frame.code), 1008);
    assert!(frame.reason.contains("the token reader does not hold any more"), "{}", frame.reason);
    assert_eq!(follows.wait(SOON).code(), Some(2));
    assert!(fs::read_to_string(&log).unwrap().contains("does not hold any more"));

    // Nobody else's ends.
    server.ask(&server.admin, "POST", "/api/v1/ingest?stream=app", "{\"message\":\"the last one\"}\n");
    let (mut heard, mut line) = (String::new(), String::new());
    while !heard.contains("the last one") {
        line.clear();
        assert!(goes_on.read_line(&mut line).unwrap() > 0, "{heard}");
        heard += &line;
    }
    assert!(!heard.contains("event: ended"), "{heard}");
}

#[test]
fn an_export_ends_with_its_token_and_does_not_look_whole() {
    const RECORDS: usize = 100_000;
    let site = Site::new(BINARY);
    let server = Guarded::start(&site);
    let (ndjson, csv) = (server.reader("ndjson"), server.reader("csv"));
    let filler = "x".repeat(40);
    for part in 0..4 {
        let line = |n| format!("{{\"message\":\"line {part} {n} {filler}\"}}");
        let lines = (0..RECORDS / 4).map(line).collect::<Vec<_>>().join("\n");
        let answer = server.ask(&server.admin, "POST", "/api/v1/ingest?stream=app", &lines);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    wait::until_true("all is found", DEADLINE, || {
        let found = server.ask(&server.admin, "GET", "/api/v1/search?q=line&from=0&limit=0&stream=app", "");
        serde_json::from_slice::<Value>(&found.body).unwrap()["total"] == json!(RECORDS)
    });
    // Nobody reads them: they wait in the middle.
    let lines = server.begin(&ndjson, "/api/v1/export?from=0");
    let table = server.begin(&csv, "/api/v1/export?from=0&format=csv");
    std::thread::sleep(Duration::from_secs(1));
    server.revoke("ndjson");
    server.revoke("csv");
    let text = rest(lines);
    let records = text.matches("\"_id\":").count();
    assert!(records < RECORDS, "{records}: it was over before it was ended");
    let last = text.lines().rev().find(|line| line.starts_with('{')).unwrap();
    assert!(last.contains("\"code\":\"unauthorized\"") && last.contains("the token ndjson"), "{last}");
    // CSV breaks off: the last chunk, of no length, is not there.
    let text = rest(table);
    assert!(text.lines().count() < RECORDS, "it was over before it was ended");
    assert!(!text.ends_with("0\r\n\r\n"), "it looks whole");
}
