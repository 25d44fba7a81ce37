use crate::{
    Tool,
    tests::{imported, section, strangers_are_told, why},
};
use std::path::Path;

const FULL: &str = r#"
data_dir = "/data/vector"
timezone = "Europe/Berlin"
[api]
enabled = true
[sources.app]
type = "file"
include = ["/var/log/app/*.log", "/srv/$APP/x{1}.log"]
exclude = ["/var/log/app/*.gz"]
read_from = "end"
ignore_older_secs = 600
max_line_bytes = 102400
glob_minimum_cooldown_ms = 1000
[sources.app.multiline]
start_pattern = '^\d+'
mode = "halt_before"
condition_pattern = '^\d+'
timeout_ms = 1500
[sources.j]
type = "journald"
include_units = ["ssh", "cron.service"]
exclude_matches._TRANSPORT = ["kernel"]
[sources.s]
type = "syslog"
mode = "udp"
address = "0.0.0.0:514"
[sources.sock]
type = "socket"
mode = "tcp"
address = "127.0.0.1:9000"
decoding.codec = "json"
[sources.k]
type = "kubernetes_logs"
exclude_paths_glob_patterns = ["**/exclude/**"]
extra_label_selector = "a=b"
[sources.o]
type = "opentelemetry"
grpc.address = "127.0.0.1:4317"
http.address = "127.0.0.1:4318"
[sources.h]
type = "http_server"
address = "127.0.0.1:8080"
[sources.m]
type = "host_metrics"
[transforms.parse]
type = "remap"
inputs = ["app"]
source = '''
. = parse_json!(.message)
.env = "prod"
'''
[transforms.noise]
type = "filter"
inputs = ["parse"]
condition = '.level != "debug" && !contains(string!(.message), "healthz")'
[transforms.tenth]
type = "sample"
inputs = ["noise"]
rate = 10
exclude = '.level == "error"'
[transforms.slow]
type = "throttle"
inputs = ["s"]
threshold = 100
window_secs = 1
key_field = "{{ host }}"
[transforms.hard]
type = "remap"
inputs = ["j"]
source = '''
del(.x)
.y = upcase(.z)
'''
[transforms.r]
type = "reduce"
inputs = ["m"]
[sinks.kafka]
type = "kafka"
inputs = ["tenth", "slow", "hard", "sock", "k", "o", "h"]
bootstrap_servers = "a:9092,b:9092"
topic = "logs"
compression = "zstd"
[sinks.kafka.sasl]
enabled = true
mechanism = "PLAIN"
username = "u"
password = "${P:?no}"
[sinks.kafka.tls]
enabled = true
ca_file = "/ca.pem"
verify_hostname = false
[sinks.kafka.librdkafka_options]
"client.id" = "vector"
"message.timeout.ms" = "100"
[sinks.out]
type = "console"
inputs = ["nothing"]
"#;

#[test]
fn a_whole_configuration_is_taken_over() {
    let imported = imported(Tool::Vector, "vector.toml", FULL);
    assert_eq!(
        section(&imported, "agent.sources.app"),
        [
            r#"type = "file""#,
            r#"include = ["/var/log/app/*.log", "/srv/${APP}/x[{]1[}].log"]"#,
            r#"exclude = ["/var/log/app/*.gz"]"#,
            r#"max_line = "100KiB""#,
            r#"rescan = "1s""#,
            r"multiline = { start = '^\d+' }",
            r#"multiline_wait = "1500ms""#,
            r#"timezone = "Europe/Berlin""#,
            r#"parse = ["json"]"#,
            r#"add = { env = "prod" }"#,
            r#"keep = '(NOT level:"debug") AND (NOT attributes.message:/healthz/)'"#,
            "sample = 0.1",
            r#"when = 'NOT level:"error"'"#,
        ]
    );
    assert_eq!(
        section(&imported, "agent.sources.j"),
        [
            r#"type = "journald""#,
            r#"keep = '_SYSTEMD_UNIT:"ssh.service" OR _SYSTEMD_UNIT:"cron.service"'"#,
            r#"drop = '_TRANSPORT:"kernel"'"#,
        ]
    );
    let throttled = section(&imported, "agent.sources.s");
    assert_eq!(throttled[4..], [r#"rate_limit = "100/s""#, "burst = 100.0", r#"key = "host""#]);
    assert!(section(&imported, "agent.sources.k").contains(&r#"exclude = ["/**/exclude/**"]"#));
    assert!(section(&imported, "agent.sources.sock").contains(&r#"parse = ["json"]"#));
    assert!(section(&imported, "agent.sources.o").contains(&r#"grpc = "127.0.0.1:4317""#));
    assert_eq!(
        section(&imported, "topic.librdkafka"),
        [
            r#"compression.codec = "zstd""#,
            r#"security.protocol = "SASL_SSL""#,
            r#"sasl.mechanism = "PLAIN""#,
            r#"sasl.username = "u""#,
            r#"sasl.password = "${P}""#,
            r#"ssl.ca.location = "/ca.pem""#,
            r#"ssl.endpoint.identification.algorithm = "none""#,
            r#"client.id = "vector""#,
        ]
    );
    assert_eq!(imported.registry.as_deref(), Some(Path::new("/data/vector")));
    assert!(why(&imported, "transforms.hard.source").contains("`del(.x)` …"));
    assert!(why(&imported, "sinks.kafka.librdkafka_options.message.timeout.ms").contains("never given up"));
    let rest = [
        "api",
        "sources.app.read_from",
        "sources.k.extra_label_selector",
        "sources.m",
        "transforms.r",
        "sinks.out",
    ];
    for at in rest {
        assert!(!why(&imported, at).is_empty());
    }
}

#[test]
fn no_setting_is_passed_over() {
    strangers_are_told(Tool::Vector, "vector.toml", FULL, |line| {
        line.starts_with('[').then(|| "xstranger = 1".to_owned())
    });
}

#[test]
fn the_three_formats_say_the_same() {
    let toml = "[sources.a]\ntype = \"stdin\"\n[sinks.k]\ntype = \"kafka\"\ninputs = [\"a\"]\nbootstrap_servers = \"k:1\"\ntopic = \"t\"\n";
    let yaml = "sources: {a: {type: stdin}}\nsinks: {k: {type: kafka, inputs: [a], bootstrap_servers: 'k:1', topic: t}}\n";
    let json = r#"{"sources":{"a":{"type":"stdin"}},"sinks":{"k":{"type":"kafka","inputs":["a"],"bootstrap_servers":"k:1","topic":"t"}}}"#;
    let body = |name: &str, text: &str| {
        imported(Tool::Vector, name, text).toml.split_once("[agent]").map(|(_, body)| body.to_owned())
    };
    assert_eq!(body("a.toml", toml), body("a.yaml", yaml));
    assert_eq!(body("a.toml", toml), body("a.json", json));
}

#[test]
fn ways_that_fork_and_conditions_that_are_programs_are_left_out() {
    let text = "sources:\n  f: {type: file, include: [/a]}\n  g: {type: file, include: [/b], multiline: {start_pattern: '^[^\\s]', \
                mode: continue_through, condition_pattern: '^[\\s]+', timeout_ms: 1000}}\n  \
                w: {type: http_server, address: '0.0.0.0:80', auth: {username: u, password: p}}\n\
                transforms:\n  a: {type: filter, inputs: [f], condition: {type: vrl, source: '.status >= 500'}}\n  \
                b: {type: dedupe, inputs: [f]}\n  c: {type: filter, inputs: ['g*'], condition: 'length(.a) > 3'}\n";
    let imported = imported(Tool::Vector, "a.yaml", text);
    assert_eq!(section(&imported, "agent.sources.f"), ["type = \"file\"", "include = [\"/a\"]"]);
    assert_eq!(
        section(&imported, "agent.sources.g")[2..],
        ["multiline = { start = '^\\S' }", "multiline_wait = \"1s\""]
    );
    assert!(why(&imported, "transforms.a").contains("several ways"));
    assert!(why(&imported, "transforms.c.condition").contains("`length(.a) > 3`"));
    assert!(why(&imported, "sources.w").contains("token"));
    assert!(!imported.toml.contains("0.0.0.0:80"), "what asked for proof is not open to all");
}
