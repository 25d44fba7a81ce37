//! The API's description against the API: it is a valid document, has each path that there is, and a real server with records in it
//! answers as it says, whatever it is asked.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::{Site, Up, http, process, wait};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);
/// How long the server is asked, in seconds, and how often each operation, about.
const ASKED_FOR: &str = "90";
const EXAMPLES: &str = "25";
/// How the checker is told what is asked: what it is given while its time is up does not count.
const PATIENCE: Duration = Duration::from_mins(5);
/// What makes an alert of the lines below.
const RULE: &str = "title: A test\nid: 00000000-0000-4000-8000-000000000001\nkind: threshold\nlevel: low\nquery: order\n\
                    threshold:\n  count: 1\n  window: 10m\ntests:\n  positive: [order]\n  negative: [nothing]\n";
/// Its id.
const RULE_ID: &str = "00000000-0000-4000-8000-000000000001";

fn up(site: &Site) -> Up<'_> {
    let logs = site.path("logs").display().to_string();
    let sources = format!(
        "[agent.sources.app]\ntype = \"file\"\ninclude = [\"{logs}/*.log\"]\nparse = [\"json\", \"none\"]\nstream = \"app\"\n"
    );
    // A receiver of a name that the checker is told of for fields.
    let rule = site.write("rule.yml", RULE);
    let alerts = format!(
        "[query.alerts]\nrules = [\"{rule}\"]\n[query.alerts.receivers.level]\ntype = \"command\"\ncommand = [\"/bin/true\"]\n"
    );
    site.up(&format!("{sources}[indexer]\nseal_age = \"2s\"\n{alerts}")).started()
}

/// A program of the environment that `make test` makes.
fn program(name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv-openapi/bin").join(name);
    assert!(program.exists(), "no {}: run `make test`, which makes its environment", program.display());
    program
}

/// The paths of routers' sources, as they stand there.
fn routes(source: &str) -> BTreeSet<String> {
    let parts = source.split(".route(\"").skip(1);
    parts.map(|part| part.split('"').next().unwrap().to_owned()).collect()
}

#[test]
fn each_path_is_described_in_a_valid_document() {
    let site = Site::new(BINARY);
    let up = site.up("").started();
    let document = up.server.get("/api/v1/openapi.json");
    let described: BTreeSet<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
    let mut paths = routes(include_str!("../query/src/http/router.rs"));
    paths.extend(routes(include_str!("../agent/src/ingest.rs")));
    paths.extend(routes(include_str!("../src/admin.rs")));
    // A page for people, and what Loki describes.
    for other in ["/", "/loki/api/v1/push"] {
        assert!(paths.remove(other), "{other}");
    }
    assert!(paths.len() >= 30, "{paths:?}");
    assert_eq!(described, paths);
    for path in ["/healthz", "/readyz", "/version"] {
        assert_eq!(document["paths"][path]["get"]["security"], json!([]), "{path}");
    }
    let file = site.write("openapi.json", &document.to_string());
    let outcome = process::run(Command::new(program("openapi-spec-validator")).arg(&file), DEADLINE);
    assert_eq!(outcome.code, Some(0), "{}\n{}", outcome.stdout, outcome.stderr);
}

/// Something of every sort: records in shards and in memory, some with a level, a trace and a field that is a map; a deletion, a hold, an
/// alert and a silence. The ids of a record, the alert and the silence.
fn filled(site: &Site, up: &Up<'_>) -> [String; 3] {
    let line = |n: u64| {
        format!(
            "{{\"level\":\"{}\",\"user\":{{\"name\":\"u{}\"}},\"n\":{n},\"tags\":[\"a\",{n}],\"trace_id\":\"{:032x}\",\"message\":\"order {n} placed\"}}\n",
            ["info", "warn", "error"][(n % 3) as usize],
            n % 7,
            n + 1
        )
    };
    site.append("app.log", (0..200).map(line).collect::<String>());
    site.append("app.log", "no JSON at all\n");
    up.server.wait_for_total("order", 200, DEADLINE);
    up.server.wait_for_a_shard(DEADLINE);
    site.append("app.log", (200..300).map(line).collect::<String>());
    up.server.wait_for_total("order", 300, DEADLINE);
    let put = http::send(
        &up.server.address,
        "PUT",
        "/api/v1/streams/held/hold",
        &[("content-type", "application/json")],
        "{\"reason\":\"a case\"}",
    );
    assert_eq!(put.unwrap().status, 200);
    let delete = http::post(&up.server.address, "/api/v1/streams/app/delete", r#"{"q":"user.name:u3"}"#);
    assert_eq!(delete.unwrap().status, 202);
    let found = up.server.search(&json!({ "q": "order", "limit": 1 }));
    let silence = r#"{"match":"rule.id:nothing","ends":"2100-01-01T00:00:00Z"}"#;
    let silence: Value =
        serde_json::from_slice(&http::post(&up.server.address, "/api/v1/silences", silence).unwrap().body)
            .unwrap();
    let alert = wait::until("an alert", DEADLINE, || up.server.alerts().pop());
    [&found["hits"][0]["_id"], &alert["id"], &silence["id"]].map(|id| id.as_str().unwrap().to_owned())
}

/// What the checker is told of this API: values that find something, or nothing, where random ones would be refused.
fn configuration([record, alert, silence]: &[String; 3]) -> String {
    let dictionaries: [(&str, &[&str], &[&str]); 7] = [
        ("ids", &[record, alert, silence, RULE_ID, "nobody"], &["path.id", "query.id"]),
        (
            "queries",
            &[
                "*",
                "order",
                "level:error -user.name:u1",
                "* | stats count(), p95(n) by user.name",
                "* | timechart 1m count() by level",
                "* | patterns",
                "order | join by n (order | stats count() by n)",
                "(",
            ],
            &["query.q", "body.q", "body.match"],
        ),
        ("streams", &["app", "logs", "held"], &["query.stream", "body.stream"]),
        ("times", &["now", "15m", "now-1h", "2026-01-01T00:00:00Z", "0"], &["query.from", "query.to"]),
        ("past", &["2026-01-01T00:00:00Z"], &["body.starts"]),
        ("future", &["2100-01-01T00:00:00Z"], &["body.ends", "body.expires"]),
        ("names", &["level", "user.name", "tags", "nobody"], &["query.histogram_by", "path.name"]),
    ];
    let values = dictionaries.map(|(name, values, _)| format!("{name} = {{ values = {} }}", json!(values)));
    let bound = dictionaries.map(|(name, _, parameters)| {
        let bind = |parameter: &&str| format!("\"{parameter}\" = {{ dictionary = \"{name}\" }}");
        parameters.iter().map(bind).collect::<Vec<_>>().join("\n")
    });
    format!("[dictionaries]\n{}\n[parameters]\n{}\n", values.join("\n"), bound.join("\n"))
}

#[test]
fn the_server_answers_as_it_says_whatever_it_is_asked() {
    let site = Site::new(BINARY);
    let up = up(&site);
    let ids = filled(&site, &up);
    let configuration = site.write("schemathesis.toml", &configuration(&ids));
    let told = site.path("asked.har");
    let mut asked = Command::new(program("schemathesis"));
    asked
        .args(["--config-file", &configuration, "run"])
        .arg(format!("{}/api/v1/openapi.json", up.server.url()))
        .args(["--phases", "examples,coverage,fuzzing", "--max-time", ASKED_FOR, "--max-examples", EXAMPLES])
        .args(["--checks", CHECKS, "--seed", "7", "--workers", "2", "--no-color", "--warnings", "off"])
        .args(["--report", "har", "--report-har-path", &told.display().to_string()])
        // It has no end.
        .args(["--exclude-path", ENDLESS])
        .current_dir(site.path("."));
    let outcome = process::run(&mut asked, PATIENCE);
    assert_eq!(outcome.code, Some(0), "{}\n{}", outcome.stdout, outcome.stderr);
    // It did ask: each operation was answered well now and then.
    let answered = answered_well(&told);
    let document = up.server.get("/api/v1/openapi.json");
    let paths = document["paths"].as_object().unwrap().iter();
    let operations =
        paths.flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |how| (how, path)));
    let never: Vec<_> = operations
        .filter(|(how, path)| {
            !answered.iter().any(|(asked, at)| asked.eq_ignore_ascii_case(how) && is_of(at, path))
        })
        .map(|(how, path)| (how.as_str(), path.as_str()))
        .collect();
    assert_eq!(never, NEVER, "other operations than expected were never answered well");
    // And the server is as it was.
    assert!(up.server.is_ready());
    let log = fs::read_to_string(site.path("up.log")).unwrap();
    assert!(!log.contains("panicked"), "{log}");
    let found: Value = up.server.search(&json!({ "q": "*", "from": 0, "limit": 1, "stream": "app" }));
    assert!(found["total"].is_u64());
}

/// What is not asked.
const ENDLESS: &str = "/api/v1/tail";
/// What is never answered well: it has no end, nothing was kept aside, nobody has to show a token, nobody can log in; and the document is what
/// the checker has asked for before it began.
const NEVER: [(&str, &str); 8] = [
    ("get", "/api/v1/dead-letters/{number}"),
    ("get", "/api/v1/openapi.json"),
    ("get", ENDLESS),
    ("post", "/api/v1/tokens"),
    ("delete", "/api/v1/tokens/{name}"),
    ("get", "/auth/callback"),
    ("get", "/auth/login"),
    ("post", "/auth/logout"),
];

/// Method and path of what was answered well.
fn answered_well(told: &Path) -> BTreeSet<(String, String)> {
    let told: Value = serde_json::from_slice(&fs::read(told).unwrap()).unwrap();
    let well = |entry: &&Value| entry["response"]["status"].as_u64().is_some_and(|status| status < 300);
    let of = |entry: &Value| {
        let url = entry["request"]["url"].as_str().unwrap().splitn(4, '/').nth(3).unwrap();
        let path = format!("/{}", url.split('?').next().unwrap());
        (entry["request"]["method"].as_str().unwrap().to_owned(), path)
    };
    told["log"]["entries"].as_array().unwrap().iter().filter(well).map(of).collect()
}

/// Is it a path of this sort?
fn is_of(path: &str, sort: &str) -> bool {
    let (parts, sorts): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), sort.split('/').collect());
    parts.len() == sorts.len()
        && parts.iter().zip(sorts).all(|(part, sort)| sort.starts_with('{') || *part == sort)
}

/// No error of the server's own, no status, type or shape of an answer that is not described, and no answer to a method that is not.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance,unsupported_method";
