use crate::{
    Tool,
    tests::{imported, section, strangers_are_told, why},
};
use std::path::Path;

const FULL: &str = r#"
server:
  http_listen_port: 9080
positions:
  filename: /tmp/positions.yaml
clients:
  - url: http://loki:3100/loki/api/v1/push
scrape_configs:
  - job_name: system
    static_configs:
      - targets: [localhost]
        labels:
          job: varlogs
          __path__: "/var/log/{a,b}*log"
          __path_exclude__: /var/log/x.log
          env: "${ENV:-dev}"
      - labels:
          level: info
          __path__: /srv/app/*.log
    pipeline_stages:
      - multiline:
          firstline: '^\[\d'
          max_wait_time: 5s
          max_lines: 128
      - regex:
          expression: '^(?P<when>\S+) (?P<lvl>\w+) (?P<msg>.*)$'
      - timestamp:
          source: when
          format: RFC3339Nano
      - labels:
          lvl:
          component: comp
      - drop:
          source: lvl
          value: debug
      - drop:
          expression: '.*healthz.*'
          drop_counter_reason: noise
      - drop:
          longer_than: 8kb
      - match:
          selector: '{job="app"}'
          stages: [{json: {expressions: {a: b}}}]
      - static_labels:
          dc: eu-1
      - output:
          source: msg
      - sampling:
          rate: 0.25
      - limit:
          rate: 10
          burst: 20
          drop: true
  - job_name: journal
    journal:
      max_age: 12h
      labels:
        job: systemd
      matches: "_TRANSPORT=kernel PRIORITY=3"
    relabel_configs:
      - source_labels: [__journal__systemd_unit]
        target_label: unit
  - job_name: syslog
    syslog:
      listen_address: "0.0.0.0:1514"
      label_structured_data: true
      max_message_length: 8192
  - job_name: kubernetes-pods
    kubernetes_sd_configs:
      - role: pod
    pipeline_stages:
      - cri: {}
      - json:
          expressions:
            level:
            user_id: uid
            x: "a[0]"
  - job_name: gelf
    gelf:
      listen_address: 0.0.0.0:12201
target_config:
  sync_period: 10s
"#;

#[test]
fn a_whole_configuration_is_taken_over() {
    let imported = imported(Tool::Promtail, "promtail.yaml", FULL);
    assert_eq!(
        section(&imported, "agent.sources.system"),
        [
            r#"type = "file""#,
            r#"include = ["/var/log/{a,b}*log"]"#,
            r#"exclude = ["/var/log/x.log"]"#,
            r"multiline = { start = '^\[\d' }",
            r#"multiline_wait = "5s""#,
            r#"rescan = "10s""#,
            r"parse = [{ regex = '^(?P<when>\S+) (?P<lvl>\w+) (?P<msg>.*)$' }]",
            r#"timestamp = { field = "when" }"#,
            r#"add = { job = "varlogs", env = "${ENV:-dev}" }"#,
            r#"rename = { comp = "component" }"#,
            r#"drop = 'level:"debug"'"#,
            r#"drop = "body:/.*healthz.*/""#,
            r#"add = { dc = "eu-1" }"#,
            "sample = 0.25",
            r#"rate_limit = "10/s""#,
            "burst = 20.0",
        ]
    );
    assert!(
        section(&imported, "agent.sources.system-2").contains(&r#"add = { "attributes.level" = "info" }"#)
    );
    assert_eq!(
        section(&imported, "agent.sources.journal"),
        [
            r#"type = "journald""#,
            r#"keep = '_TRANSPORT:"kernel" AND PRIORITY:"3"'"#,
            r#"add = { job = "systemd" }"#
        ]
    );
    assert_eq!(
        section(&imported, "agent.sources.syslog"),
        [
            r#"type = "syslog""#,
            r#"listen = ["tcp://0.0.0.0:1514"]"#,
            "allow_unauthenticated = true",
            r#"max_line = "8KiB""#
        ]
    );
    let pods = section(&imported, "agent.sources.kubernetes-pods");
    assert_eq!(pods[1], r#"include = ["/var/log/pods/*/*/*.log"]"#);
    assert_eq!(pods[3..], [r#"parse = ["cri", "json"]"#, r#"rename = { uid = "user_id" }"#]);
    assert_eq!(imported.registry.as_deref(), Some(Path::new("/tmp/positions.yaml")));
    assert!(why(&imported, "clients").contains("Loki"));
    let stages = "scrape_configs[0].pipeline_stages";
    for (number, stage) in [(0, "multiline.max_lines"), (6, "drop"), (7, "match"), (9, "output")] {
        why(&imported, &format!("{stages}[{number}].{stage}"));
    }
    assert_eq!(why(&imported, "scrape_configs[4].gelf"), "Millrace does not read GELF");
    let json = "scrape_configs[3].pipeline_stages[1].json.expressions";
    assert!(why(&imported, &format!("{json}.x")).contains("by their path"));
}

#[test]
fn no_setting_is_passed_over() {
    strangers_are_told(Tool::Promtail, "promtail.yaml", FULL, |line| {
        let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
        let key = rest.trim_start_matches("- ");
        let indent = format!("{indent}{}", " ".repeat(rest.len() - key.len()));
        (key.contains(": ") && !key.starts_with('\'')).then(|| format!("{indent}xstranger: 1"))
    });
}

#[test]
fn stages_that_say_nothing_new_or_too_much() {
    let stage = |stage: &str| {
        let text = format!(
            "scrape_configs: [{{job_name: a, static_configs: [{{labels: {{__path__: /a}}}}], pipeline_stages: [{stage}]}}]"
        );
        let imported = imported(Tool::Promtail, "p.yaml", &text);
        let lines = section(&imported, "agent.sources.a")[2..].join("\n");
        (lines, imported.left_out.len())
    };
    for (text, expected, left) in [
        ("{docker: {}}", r#"parse = ["cri"]"#, 0),
        ("{logfmt: {mapping: {a: , b: c}}}", "parse = [\"logfmt\"]\nrename = { c = \"b\" }", 0),
        ("{json: {expressions: {a: b}, source: other}}", "", 1),
        (
            "{json: {expressions: {}, drop_malformed: true}}",
            "parse = [\"json\"]\ndrop = \"log.parse_error:*\"",
            0,
        ),
        ("{regex: {expression: '(?<!x)(?P<a>.)'}}", "", 1),
        ("{regex: {expression: 'no group'}}", "", 1),
        ("{drop: {source: [a, b], expression: x}}", "", 1),
        ("{drop: {source: a}}", "drop = \"a:*\"", 0),
        ("{drop: {older_than: 24h}}", "", 1),
        ("{limit: {rate: 1, burst: 1}}", "", 1),
        ("{geoip: {db: /x, source: ip, db_type: city}}", "", 1),
        ("{unheard_of: {}}", "", 1),
        (
            "{timestamp: {source: t, format: '2006-01-02 15:04:05', location: Europe/Berlin, action_on_failure: skip}}",
            "timezone = \"Europe/Berlin\"\ntimestamp = { field = \"t\", format = \"%Y-%m-%d %H:%M:%S\" }",
            0,
        ),
    ] {
        assert_eq!(stage(text), (expected.to_owned(), left), "{text}");
    }
}
