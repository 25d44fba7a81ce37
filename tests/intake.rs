//! From a line to a hit with its fields, and what is taken out on the way, with the real binary: each source reads its lines as its
//! settings say, and nothing that is to be taken out is in the topic, the shards, an answer or a log.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::Site;
use serde_json::Value;
use std::{fs, time::Duration};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);

/// Each source: its name, what its settings say of its lines, and a line.
const SOURCES: [(&str, &str, &str); 8] = [
    ("auto", "", r#"{"level":"error","kind":"json","user":{"name":"ann"}}"#),
    (
        "web",
        "",
        r#"192.0.2.7 - ann [10/Oct/2026:13:55:36 -0700] "GET /cart?id=7 HTTP/1.1" 503 2326 "-" "curl/8""#,
    ),
    (
        "daemon",
        "timezone = \"Europe/Berlin\"",
        "<11>Oct 11 22:14:15 web1 sshd[231]: Failed password for root",
    ),
    ("fmt", "parse = [\"logfmt\"]", "level=warn msg=\"disk is full\" free=12"),
    ("firewall", "parse = [\"cef\"]", "CEF:0|Maker|Wall|1|7|denied|9|src=10.0.0.1 dst=10.0.0.2 spt=1232"),
    (
        "own",
        "parse = [\"json\", { regex = '^(?<task>\\w+) took (?<took>\\d+) ms at (?<at>.*)$' }]\ntimezone = \"UTC\"\n\
         timestamp = { field = \"at\", format = \"%d.%m.%Y %H:%M\" }",
        "backup took 1500 ms at 02.10.2026 03:04",
    ),
    (
        "trace",
        "multiline = \"java\"",
        "ERROR it failed\njava.lang.Exception: no key\n\tat com.example.Door.open(Door.java:12)",
    ),
    (
        "table",
        "parse = [{ csv = [\"time\", \"sensor\", \"value\"], delimiter = \";\" }]",
        "2026-10-02T03:04:05Z;roof;21.5",
    ),
];

/// Queries, each with the source whose line it finds.
const ANSWERS: [(&str, &str); 15] = [
    ("kind:json level:error user.name:ann", "auto"),
    ("status:>=500 path:\"/cart\" method:GET", "web"),
    ("client_ip:192.0.2.0/24 bytes:[2000 TO 3000]", "web"),
    ("timestamp:\"2026-10-10T20:55:36Z\"", "web"),
    ("host:web1 service:sshd pid:231 level:error", "daemon"),
    ("syslog.facility:user \"Failed password\"", "daemon"),
    ("level:warn free:<20", "fmt"),
    ("dst:10.0.0.2 spt:1232 device.vendor:Maker", "firewall"),
    ("level:fatal event.name:denied", "firewall"),
    ("task:backup took:>1000", "own"),
    ("timestamp:\"2026-10-02T03:04:00Z\"", "own"),
    ("level:error \"it failed\" Door.java", "trace"),
    ("sensor:roof value:>20", "table"),
    ("timestamp:\"2026-10-02T03:04:05Z\"", "table"),
    ("log.parse_error:*", ""),
];

#[test]
fn every_format_is_found_by_its_fields() {
    let site = Site::new(BINARY);
    let mut settings = Vec::new();
    for (name, reading, line) in SOURCES {
        let path = site.log(&format!("{name}.log"));
        settings.push(format!(
            "[agent.sources.{name}]\ntype = \"file\"\ninclude = [\"{}\"]\nstream = \"{name}\"\n{reading}\n\
             [streams.{name}]\nretention = \"36500d\"\n",
            path.display()
        ));
        site.append(&format!("{name}.log"), format!("{line}\n"));
    }
    let up = site.up(&settings.concat()).started();
    up.server.wait_for_total("*", SOURCES.len() as u64, DEADLINE);
    for (query, source) in ANSWERS {
        let mut found = Vec::new();
        up.server.each_hit(query, |hit| found.push(hit["_stream"].as_str().unwrap().to_owned()));
        let expected: Vec<&str> = Some(source).filter(|source| !source.is_empty()).into_iter().collect();
        assert_eq!(found, expected, "{query}");
    }
    up.server.each_hit("*", |hit| {
        let (.., line) = SOURCES.iter().find(|(name, ..)| hit["_stream"] == **name).unwrap();
        assert_eq!(hit["body"], Value::from(*line), "the body is the line");
    });
}

/// What is in files that are to hold none of it; each with what finds it.
const SECRETS: [(&str, &str); 9] = [
    ("4111 1111 1111 1111", "credit_card"),
    ("ann.b@mail.example.com", "email"),
    ("203.0.113.77", "ipv4"),
    ("2001:db8:7::77", "ipv6"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N", "jwt"),
    ("AKIAIOSFODNN7EXAMPLE", "secret"),
    ("DE89370400440532013000", "iban"),
    ("212-12-1234", "us_ssn"),
    ("E-481516", "staff"),
];

const KEY: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn what_is_taken_out_never_leaves_the_agent() {
    let site = Site::new(BINARY);
    let kinds: Vec<String> =
        SECRETS.iter().filter(|(_, kind)| *kind != "staff").map(|(_, kind)| format!("{kind:?}")).collect();
    let key = site.write("key", KEY);
    let settings = format!(
        "[agent.sources.app]\ntype = \"file\"\ninclude = [\"{}/*.log\"]\n[indexer]\nseal_age = \"500ms\"\n\
         [agent.redact]\nkinds = [{}]\nhash_key = {{ file = \"{key}\" }}\n[agent.redact.patterns]\nstaff = 'E-\\d{{6}}'\n\
         [agent.redact.actions]\nemail = \"hash\"\nipv6 = \"drop\"\n",
        site.path("logs").display(),
        kinds.join(", ")
    );
    let mut up = site.up(&settings).started();
    let mut lines = Vec::new();
    for (number, (secret, kind)) in SECRETS.iter().enumerate() {
        lines.push(format!("plain {number} of {kind}: {secret} end\n"));
        lines.push(format!(
            "{{\"n\":{number},\"kind\":\"{kind}\",\"value\":\"{secret}\",\"nested\":{{\"list\":[\"{secret}\"]}}}}\n"
        ));
        lines.push(format!("n={number} kind={kind} value=\"{secret}\"\n"));
    }
    site.append("app.log", lines.concat());
    let total = 3 * SECRETS.len() as u64;
    up.server.wait_for_total("*", total, DEADLINE);
    up.assert_audit_is_complete(total);
    for (query, expected) in [
        ("body:\"[redacted:credit_card]\"", 3),
        ("value:\"[redacted:staff]\"", 2),
        ("kind:ipv6 value:*", 0),
        ("kind:ipv6", 2),
        ("kind:email value:/^\\[email:[0-9a-f]{16}\\]$/", 2),
        ("kind:jwt value:\"[redacted:jwt]\"", 2),
    ] {
        assert_eq!(up.server.hits(query).len(), expected, "{query}");
    }
    for (_, rule) in SECRETS {
        let series = format!("millrace_agent_redactions_total{{rule=\"{rule}\"}}");
        assert!(up.server.metric(&series).is_some_and(|count| count >= 3.0), "{series}");
    }
    up.stop();
    // All that lies in topic, shards and catalogue, decoded.
    let (data, config) =
        (site.path("data").display().to_string(), site.path("up.toml").display().to_string());
    let dump = site.run(&["catalogue", "dump", "--data", &data, "--config", &config]);
    assert_eq!(dump.code, Some(0), "{}", dump.stderr);
    assert!(dump.stdout.contains("[redacted:credit_card]") && dump.stdout.contains("plain 8 of staff"));
    let log = fs::read_to_string(site.path("up.log")).unwrap();
    for (secret, kind) in SECRETS.into_iter().chain([(KEY, "the key of hashes")]) {
        assert!(!dump.stdout.contains(secret), "{kind} is stored");
        assert!(!log.contains(secret), "{kind} is in the log");
    }
}
