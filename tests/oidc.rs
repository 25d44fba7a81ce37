//! People log in through a real provider of `OpenID` Connect (`tests/oidc`), and what must not log anybody in.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::{Site, Up, http, ports, process::Process, wait};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);
const SECRET: &str = "a secret: +%&";

/// The provider, at a port that it keeps.
struct Provider {
    arguments: String,
    log: std::path::PathBuf,
    process: Option<Process>,
}

impl Provider {
    fn at(site: &Site, port: u16, server: &str, in_token: bool) -> Self {
        let arguments = json!({
            "port": port, "client_id": "millrace", "client_secret": SECRET, "in_token": in_token,
            "redirect_uri": format!("http://{server}/auth/callback"),
            "groups": {
                "ann": ["readers", "visitors"], "root": ["sre"], "slow": ["readers"], "wim": ["readers", "web-writers"],
                "eve": ["visitors"],
            },
        });
        Self { arguments: arguments.to_string(), log: site.path("provider.log"), process: None }
    }

    fn start(&mut self) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let modules = root.join("target/oidc/node_modules");
        assert!(modules.exists(), "no {}: run `make test`, which makes it", modules.display());
        let mut command = Command::new("node");
        command.arg(root.join("target/oidc/provider.mjs")).arg(&self.arguments).stdin(Stdio::null());
        let before = fs::read_to_string(&self.log).unwrap_or_default().len();
        self.process = Some(Process::start(&mut command, &self.log));
        wait::until_true("the provider is ready", DEADLINE, || {
            fs::read_to_string(&self.log).is_ok_and(|log| log[before..].contains("ready\n"))
        });
    }

    fn stop(&mut self) {
        self.process.take().unwrap().kill();
    }
}

fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// Just enough of a browser.
#[derive(Default, Clone)]
struct Browser {
    /// By address and name.
    cookies: BTreeMap<(String, String), String>,
}

/// Host with port, and path, of an address.
fn parts(url: &str) -> (String, String) {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    (host.to_owned(), path.to_owned())
}

/// A parameter of an address.
fn parameter<'a>(url: &'a str, name: &str) -> &'a str {
    let query = url.split_once('?').unwrap().1;
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap()
}

impl Browser {
    fn shown(&self, host: &str) -> String {
        let of_host = self.cookies.iter().filter(|((at, _), _)| at == host);
        of_host.map(|((_, name), value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn send(&mut self, method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> http::Answer {
        let (host, path) = parts(url);
        let cookies = self.shown(&host);
        let headers = [&[("cookie", cookies.as_str())], headers].concat();
        let answer = http::send(&host, method, &path, &headers, body).unwrap();
        for (_, set) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            let key = (host.clone(), name.to_owned());
            if value.is_empty() {
                self.cookies.remove(&key)
            } else {
                self.cookies.insert(key, value.to_owned())
            };
        }
        answer
    }

    /// Where an answer sends it.
    #[track_caller]
    fn sent(&mut self, method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> String {
        let answer = self.send(method, url, headers, body);
        assert!((302..=303).contains(&answer.status), "{url}: {} {}", answer.status, answer.text());
        let place = answer.header("location").unwrap();
        if place.starts_with('/') { format!("http://{}{place}", parts(url).0) } else { place.to_owned() }
    }

    /// Goes to the provider and is back: the address of the callback, which it has not gone to yet.
    #[track_caller]
    fn goes_to_provider(&mut self, site: &OverThere, who: &str, next: &str) -> String {
        let begin = format!("{}/auth/login?next={}", site.url, escaped(next));
        let mut place = self.sent("GET", &begin, &[], "");
        assert!(parameter(&place, "code_challenge_method") == "S256" && place.contains("&code_challenge="));
        for _ in 0..6 {
            if place.starts_with(&format!("{}/auth/callback?", site.url)) {
                return place;
            }
            place = if place.contains("/interaction/") {
                let form = [("content-type", "application/x-www-form-urlencoded")];
                self.sent("POST", &place, &form, &format!("prompt=login&login={who}&password=x"))
            } else {
                self.sent("GET", &place, &[], "")
            };
        }
        panic!("the provider sends {who} to {place}");
    }

    #[track_caller]
    fn logs_in(&mut self, site: &OverThere, who: &str, next: &str) -> String {
        let callback = self.goes_to_provider(site, who, next);
        self.sent("GET", &callback, &[], "")
    }

    #[track_caller]
    fn json(&mut self, url: &str) -> Value {
        let answer = self.send("GET", url, &[], "");
        assert_eq!(answer.status, 200, "{url}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }
}

/// Where people go.
struct OverThere {
    url: String,
}

/// A server that is not started, and its provider.
fn lay<'s>(site: &'s Site, in_token: bool, more: &str) -> (Up<'s>, OverThere, Provider) {
    let up = site.up("");
    let port = ports::free();
    let url = format!("http://{}", up.server.address);
    let settings = format!(
        "[query.auth.oidc]\nissuer = \"http://127.0.0.1:{port}\"\nclient_id = \"millrace\"\nclient_secret = \"{SECRET}\"\n\
         external_url = \"{url}\"\n\
         [[query.auth.oidc.grants]]\ngroup = \"readers\"\nroles = [\"read\"]\nstreams = [\"app\"]\n\
         [[query.auth.oidc.grants]]\ngroup = \"web-writers\"\nroles = [\"write\"]\nstreams = [\"web\"]\n\
         [[query.auth.oidc.grants]]\ngroup = \"sre\"\nroles = [\"admin\"]\n{more}"
    );
    site.write("up.toml", &settings);
    let provider = Provider::at(site, port, &up.server.address, in_token);
    (up, OverThere { url }, provider)
}

#[test]
fn people_log_in_and_see_what_is_granted_to_their_groups() {
    let site = Site::new(BINARY);
    let (mut up, there, mut provider) = lay(&site, false, "");
    provider.start();
    up.start();
    let url = |path: &str| format!("{}{path}", there.url);
    let ours = there.url.clone();
    let (mut root, mut ann, mut wim) = (Browser::default(), Browser::default(), Browser::default());
    assert_eq!(root.logs_in(&there, "root", "/"), url("/"));
    let me = root.json(&url("/api/v1/me"));
    assert_eq!(
        (&me["name"], &me["roles"], &me["streams"], &me["known_by"]),
        (&json!("root@example.com"), &json!(["admin"]), &json!(["*"]), &json!("session")),
    );
    assert!(me["until"].is_string(), "{me}");

    // What changes something is asked by a page of this server.
    let ingest = |browser: &mut Browser, stream: &str, headers: &[(&str, &str)]| {
        let line = format!("{{\"message\":\"of {stream}\"}}\n");
        browser.send("POST", &url(&format!("/api/v1/ingest?stream={stream}")), headers, &line).status
    };
    let (origin, same) = ([("origin", ours.as_str())], [("sec-fetch-site", "same-origin")]);
    for (headers, status) in [
        (&[][..], 403),
        (&[("origin", "http://evil.example")], 403),
        (&[("sec-fetch-site", "same-site")], 403),
        (&origin, 200),
        (&same, 200),
    ] {
        assert_eq!(ingest(&mut root, "app", headers), status, "{headers:?}");
    }
    assert_eq!(ingest(&mut root, "web", &origin), 200);
    wait::until_true("all is found", DEADLINE, || {
        root.json(&url("/api/v1/search?q=of"))["total"] == json!(3)
    });

    let next = "/api/v1/search?q=of&from=1h";
    let place = ann.logs_in(&there, "ann", next);
    assert_eq!(place, url(next));
    let found = ann.json(&place);
    assert_eq!(found["total"], json!(2), "{found}");
    assert_eq!(ann.json(&url("/api/v1/me"))["streams"], json!(["app"]));
    assert_eq!(ann.send("GET", &url("/api/v1/hosts"), &[], "").status, 403);
    assert_eq!(ingest(&mut ann, "app", &origin), 403);
    // One may read here and write there, and not the other way round.
    wim.logs_in(&there, "wim", "/");
    assert_eq!((ingest(&mut wim, "web", &origin), ingest(&mut wim, "app", &origin)), (200, 403));
    assert_eq!(wim.json(&url("/api/v1/search?q=of"))["total"], json!(2));
    let refused = wim.send("GET", &url("/api/v1/tokens"), &[], "");
    assert!(
        refused.status == 403 && refused.text().contains("the session of wim@example.com"),
        "{}",
        refused.text()
    );

    // Bearer tokens go on beside it, and a session may make them.
    let wanted = r#"{"name":"grafana","roles":["read"],"streams":["web"]}"#;
    let headers = [same[0], ("content-type", "application/json")];
    let made = root.send("POST", &url("/api/v1/tokens"), &headers, wanted);
    assert_eq!(made.status, 201, "{}", made.text());
    let made: Value = serde_json::from_slice(&made.body).unwrap();
    let bearer = format!("Bearer {}", made["token"].as_str().unwrap());
    let headers = [("authorization", bearer.as_str())];
    let by_token = http::send(&up.server.address, "GET", "/api/v1/me", &headers, "").unwrap();
    let by_token: Value = serde_json::from_slice(&by_token.body).unwrap();
    assert_eq!((&by_token["known_by"], &by_token["streams"]), (&json!("token"), &json!(["web"])));
    // What is shown by a header is what counts.
    assert_eq!(root.send("GET", &url("/api/v1/me"), &[("authorization", "Bearer x")], "").status, 401);

    // Who has no grant is told what was seen.
    let mut eve = Browser::default();
    let callback = eve.goes_to_provider(&there, "eve", "/");
    let refused = eve.send("GET", &callback, &[], "");
    assert!(
        refused.status == 403 && refused.text().contains("of the groups visitors none has a grant"),
        "{}",
        refused.text()
    );
    assert_eq!(eve.send("GET", &url("/api/v1/me"), &[], "").status, 401);

    // It holds after a restart; what is watched ends with the session.
    up.stop();
    up.start();
    assert_eq!(ann.json(&url("/api/v1/me"))["name"], json!("ann@example.com"));
    let shown = ann.shown(&up.server.address);
    let headers = [("cookie", shown.as_str())];
    let (mut tail, answer) = http::begin(&up.server.address, "GET", "/api/v1/tail", &headers, "").unwrap();
    assert_eq!(answer.status, 200);
    let before = ann.clone();
    assert_eq!(ann.send("POST", &url("/auth/logout"), &[], "").status, 403);
    assert_eq!(ann.send("POST", &url("/auth/logout"), &origin, "").status, 200);
    assert_eq!(ann.shown(&up.server.address), "", "the browser forgets it");
    assert_eq!(before.clone().send("GET", &url("/api/v1/me"), &[], "").status, 401, "so does the server");
    let mut heard = Vec::new();
    let _cut = tail.read_to_end(&mut heard);
    let heard = String::from_utf8_lossy(&heard);
    assert!(heard.contains("event: ended") && heard.contains("the session of ann@example.com"), "{heard}");
    assert_eq!(root.json(&url("/api/v1/me"))["name"], json!("root@example.com"), "nobody else's ends");

    // All of it is in the audit trail, and no code.
    let mut trail = |q: &str| {
        let path = format!("/api/v1/search?stream=millrace.audit&q={}", escaped(q));
        root.json(&url(&path))["hits"].as_array().unwrap().clone()
    };
    for (q, status) in [
        ("\"ann@example.com has logged in\" user.name:\"ann@example.com\" user.id:ann", 303),
        ("\"nothing is granted to eve@example.com\"", 403),
        ("\"ann@example.com has logged out\"", 200),
    ] {
        let hits = wait::until("the note", DEADLINE, || Some(trail(q)).filter(|hits| !hits.is_empty()));
        assert_eq!(hits[0]["attributes"]["http.response.status_code"], json!(status), "{q}");
    }
    let code = parameter(&callback, "code");
    assert!(!json!(trail("*")).to_string().contains(code));
}

#[test]
fn what_does_not_belong_together_logs_nobody_in() {
    let site = Site::new(BINARY);
    let (mut up, there, mut provider) = lay(&site, true, "");
    provider.start();
    up.start();
    let url = |path: &str| format!("{}{path}", there.url);
    let host = up.server.address.clone();
    let kept = (host.clone(), "millrace-login".to_owned());
    let refused = |browser: &mut Browser, callback: &str, why: &str| {
        let answer = browser.send("GET", callback, &[], "");
        assert!(
            answer.status == 400 && answer.text().contains(why),
            "{why}: {} {}",
            answer.status,
            answer.text()
        );
        assert!(
            !answer.headers.iter().any(|(name, value)| name == "set-cookie" && !value.contains("Max-Age=0"))
        );
        assert_eq!(browser.send("GET", &url("/api/v1/me"), &[], "").status, 401);
    };
    for next in ["//evil.example", "/\\evil.example", "https://evil.example", "evil"] {
        let answer =
            Browser::default().send("GET", &url(&format!("/auth/login?next={}", escaped(next))), &[], "");
        assert!(answer.status == 400 && answer.text().contains("a path of this server"), "{}", answer.text());
    }
    let begun = Browser::default().send("GET", &url("/auth/login"), &[], "");
    let set = begun.header("set-cookie").unwrap();
    assert!(set.ends_with("; Path=/; Max-Age=600; HttpOnly; SameSite=Lax"), "{set}");

    // Another state; a code of one browser in another; the same code again.
    let mut ann = Browser::default();
    let callback = ann.goes_to_provider(&there, "ann", "/");
    let state = parameter(&callback, "state").to_owned();
    refused(&mut ann.clone(), &callback.replace(&state, &"0".repeat(64)), "(state)");
    refused(&mut Browser::default(), &callback, "this browser has begun no login");
    let mut other = Browser::default();
    other.goes_to_provider(&there, "ann", "/");
    refused(&mut other, &callback, "(state)");
    refused(&mut ann.clone(), &callback.replace("code=", "code=x"), "invalid_grant");
    // The nonce of another login, the verifier of another (the provider sees that), and an address that is sent elsewhere.
    let cookie = ann.cookies[&kept].clone();
    let tampered = |at: usize, value: &str| {
        let mut parts: Vec<&str> = cookie.split('.').collect();
        parts[at] = value;
        let mut browser = ann.clone();
        browser.cookies.insert(kept.clone(), parts.join("."));
        browser
    };
    refused(&mut tampered(3, "Ly9ldmls"), &callback, "this browser has begun no login");
    refused(&mut tampered(1, &"0".repeat(64)), &callback, "(nonce)");
    let mut fresh = Browser::default();
    let callback = fresh.goes_to_provider(&there, "ann", "/");
    let mut wrong = fresh.clone();
    let cookie = fresh.cookies[&kept].clone();
    let verifier = cookie.split('.').nth(2).unwrap().to_owned();
    wrong.cookies.insert(kept.clone(), cookie.replace(&verifier, &"0".repeat(64)));
    refused(&mut wrong, &callback, "invalid_grant");
    let again = fresh.clone();
    fresh.send("GET", &callback, &[], "");
    refused(&mut again.clone(), &callback, "invalid_grant");
    let mut slow = Browser::default();
    let callback = slow.goes_to_provider(&there, "slow", "/");
    std::thread::sleep(Duration::from_secs(3));
    refused(&mut slow, &callback, "invalid_grant");
    let denied = url("/auth/callback?error=access_denied&error_description=no&state=x");
    refused(&mut Browser::default(), &denied, "the provider says no: access_denied: no");
    refused(&mut Browser::default(), &url("/auth/callback"), "code and state");
    refused(&mut Browser::default(), &url("/auth/callback?code=x&state=y&iss=https%3A%2F%2Fevil"), "(iss)");

    // A session that nobody has given, and pages that are told where to log in.
    let mut made_up = Browser::default();
    made_up.cookies.insert((host, "millrace".to_owned()), "0".repeat(64));
    let asked = [("sec-fetch-mode", "cors"), ("sec-fetch-site", "same-origin")];
    let answer = made_up.send("GET", &url("/api/v1/search"), &asked, "");
    assert_eq!(answer.status, 401);
    assert_eq!(
        serde_json::from_slice::<Value>(&answer.body).unwrap()["error"]["login"],
        json!("/auth/login")
    );
    assert!(!answer.headers.iter().any(|(_, value)| value.starts_with("Basic")), "{:?}", answer.headers);
    // With all in its place, and groups in the id token, it works.
    ann.logs_in(&there, "ann", "/");
    assert_eq!(ann.json(&url("/api/v1/me"))["streams"], json!(["app"]));
}

#[test]
fn a_provider_that_is_away_keeps_nothing_else_from_working() {
    let site = Site::new(BINARY);
    let file = site.path("tokens.toml").display().to_string();
    let made = site.run(&["token", "ops", "--file", &file, "--role", "admin"]);
    let (mut up, there, mut provider) =
        lay(&site, true, &format!("[query.auth]\ntokens_file = \"{file}\"\n"));
    up.start();
    let url = |path: &str| format!("{}{path}", there.url);
    let bearer = format!("Bearer {}", made.stdout.trim());
    let by_token = || {
        let headers = [("authorization", bearer.as_str())];
        http::send(&up.server.address, "GET", "/api/v1/search", &headers, "").unwrap().status
    };
    let mut ann = Browser::default();
    let away = |browser: &mut Browser, url: &str| {
        let answer = browser.send("GET", url, &[], "");
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.text().contains("provider_unavailable") && answer.text().contains("cannot be asked"));
    };
    away(&mut ann, &url("/auth/login"));
    assert_eq!(by_token(), 200);
    provider.start();
    let began = |browser: &mut Browser| browser.send("GET", &url("/auth/login"), &[], "").status == 303;
    wait::until_true("the provider is found", DEADLINE, || began(&mut ann));
    let callback = ann.goes_to_provider(&there, "ann", "/");
    // It goes away in the middle.
    provider.stop();
    away(&mut ann.clone(), &callback);
    assert_eq!(by_token(), 200);
    // It comes back with other keys.
    provider.start();
    std::thread::sleep(Duration::from_secs(3));
    let mut ann = Browser::default();
    ann.logs_in(&there, "ann", "/");
    assert_eq!(ann.json(&url("/api/v1/me"))["name"], json!("ann@example.com"));
    // Whoever is logged in does not need it.
    provider.stop();
    assert_eq!(ann.json(&url("/api/v1/me"))["streams"], json!(["app"]));

    let settings = fs::read_to_string(site.path("up.toml")).unwrap();
    for (from, to, why) in [
        ("issuer = \"http://127.0.0.1", "issuer = \"http://id.example.com", "an https address expected"),
        (
            "external_url = \"http://127.0.0.1",
            "external_url = \"http://logs.example.com",
            "without a path; https",
        ),
        (
            "roles = [\"read\"]\nstreams = [\"app\"]",
            "roles = [\"read\"]",
            "names, or [\"*\"] for all, expected",
        ),
        ("roles = [\"read\"]", "roles = [\"reader\"]", "read, write or admin"),
        ("group = \"sre\"", "grup = \"sre\"", "grup"),
        ("client_id = \"millrace\"", "", "client_id"),
    ] {
        let config = site.write("wrong.toml", &settings.replacen(from, to, 1));
        let refused = site.run(&["config", "check", "--config", &config]);
        assert!(refused.code == Some(3) && refused.stderr.contains(why), "{why}: {}", refused.stderr);
        assert!(!refused.stderr.contains(SECRET));
    }
}
