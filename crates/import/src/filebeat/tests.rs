#![expect(clippy::unwrap_used, reason = "tests")]

use crate::{
    Tool,
    tests::{imported, section, settings, strangers_are_told, why},
};
use std::path::Path;

const FULL: &str = r#"
filebeat.inputs:
  - type: log
    id: my-app
    enabled: true
    paths:
      - /var/log/app/*.log
      - /srv/${TENANT:main}/logs/**/*.txt
      - /srv/a{1}.log
    exclude_files: ['\.gz$', '^/var/log/app/private/', '(a|b)$']
    exclude_lines: ['^DBG', 'GET /healthz']
    include_lines: ['^ERR', '^WARN']
    fields:
      env: prod
      service.name: checkout
      level: 3
    fields_under_root: true
    tags: ["web", "eu"]
    encoding: iso8859-15
    max_bytes: 1048576
    scan_frequency: 10s
    ignore_older: 48h
    harvester_limit: 10
    multiline:
      pattern: '^\d{4}-\d{2}-\d{2}'
      negate: true
      match: after
      max_lines: 500
      timeout: 5s
    processors:
      - drop_event:
          when:
            and:
              - equals.level: debug
              - not:
                  contains:
                    message: "keep/me"
      - add_fields:
          target: project
          fields: {name: shop, id: 7}
      - script: {lang: javascript, source: "x"}
      - rename:
          fields:
            - from: usr
              to: user.name
      - add_tags:
          tags: [late]
    typo_setting: 1
name: web-1
tags: [all]
fields:
  dc: eu-1
processors:
  - add_host_metadata: ~
  - drop_event.when.regexp.message: '^\s*$'
output.kafka:
  hosts: ["kafka1:9092", "kafka2:9092"]
  topic: app-logs
  username: fb
  password: "${KAFKA_PASSWORD}"
  sasl.mechanism: SCRAM-SHA-512
  ssl.certificate_authorities: [/etc/ca.pem]
  ssl.verification_mode: none
  required_acks: 1
  compression: gzip
  compression_level: 4
  partition.round_robin: {reachable_only: true}
output.elasticsearch:
  hosts: [x]
path.data: /data/fb
"#;

#[test]
fn a_whole_configuration_is_taken_over() {
    let imported = imported(Tool::Filebeat, "filebeat.yml", FULL);
    assert_eq!(
        section(&imported, "agent.sources.my-app"),
        [
            r#"type = "file""#,
            r#"include = ["/var/log/app/*.log", "/srv/${TENANT:-main}/logs/**/*.txt", "/srv/a[{]1[}].log"]"#,
            r#"exclude = ["*.gz", "/var/log/app/private/**"]"#,
            r#"rescan = "10s""#,
            r"multiline = { start = '^\d{4}-\d{2}-\d{2}' }",
            r#"multiline_wait = "5s""#,
            r#"max_line = "1MiB""#,
            r#"encoding = "iso-8859-15""#,
            r#"keep = "body:/^ERR/ OR body:/^WARN/""#,
            r"drop = 'body:/^DBG/ OR body:/GET \/healthz/'",
            r#"add = { "fields.dc" = "eu-1", tags = "all,web,eu", env = "prod", "service.name" = "checkout", "attributes.level" = 3 }"#,
            r#"drop = 'level:"debug" AND (NOT body:/keep\/me/)'"#,
            r#"add = { "project.name" = "shop", "project.id" = 7 }"#,
            r#"rename = { usr = "user.name" }"#,
            r#"add = { tags = "all,web,eu,late" }"#,
            r"drop = 'body:/^\s*$/'",
        ]
    );
    assert_eq!(
        section(&imported, "topic"),
        [r#"type = "kafka""#, r#"brokers = ["kafka1:9092", "kafka2:9092"]"#, r#"name = "app-logs.millrace""#]
    );
    assert_eq!(
        section(&imported, "topic.librdkafka"),
        [
            r#"security.protocol = "SASL_SSL""#,
            r#"sasl.mechanism = "SCRAM-SHA-512""#,
            r#"sasl.username = "fb""#,
            r#"sasl.password = "${KAFKA_PASSWORD}""#,
            r#"ssl.ca.location = "/etc/ca.pem""#,
            "enable.ssl.certificate.verification = false",
            r#"compression.codec = "gzip""#,
            "compression.level = 4",
        ]
    );
    assert!(settings(&imported).contains(&r#"host = "web-1""#));
    assert_eq!(imported.registry.as_deref(), Some(Path::new("/data/fb/registry")));
    let told: Vec<&str> = imported.left_out.iter().map(|left| left.at.as_str()).collect();
    assert_eq!(
        told,
        [
            "filebeat.inputs[0].exclude_files[2]",
            "filebeat.inputs[0].tags",
            "filebeat.inputs[0].ignore_older",
            "filebeat.inputs[0].harvester_limit",
            "filebeat.inputs[0].multiline.max_lines",
            "filebeat.inputs[0].processors[2].script",
            "filebeat.inputs[0].processors[4].add_tags.tags",
            "filebeat.inputs[0].typo_setting",
            "processors[0].add_host_metadata",
            "output.kafka.topic",
            "output.kafka.required_acks",
            "output.kafka.partition",
            "output.elasticsearch",
        ]
    );
}

#[test]
fn no_setting_is_passed_over() {
    strangers_are_told(Tool::Filebeat, "filebeat.yml", FULL, |line| {
        let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
        let key = rest.trim_start_matches("- ");
        let indent = format!("{indent}{}", " ".repeat(rest.len() - key.len()));
        (key.contains(": ") && !key.ends_with(':') && !key.starts_with('\''))
            .then(|| format!("{indent}xstranger: 1"))
    });
}

#[test]
fn dots_and_braces_mean_the_same() {
    let dotted = "filebeat.inputs:\n- type: filestream\n  id: a\n  paths: [/a]\n  prospector.scanner.check_interval: 3s\n\
                  output.kafka.hosts: [k:1]\noutput.kafka.topic: t\n";
    let nested = "filebeat:\n  inputs:\n  - {type: filestream, id: a, paths: [/a], prospector: {scanner: {check_interval: 3s}}}\n\
                  output: {kafka: {hosts: [\"k:1\"], topic: t}}\n";
    let (dotted, nested) =
        (imported(Tool::Filebeat, "a.yml", dotted), imported(Tool::Filebeat, "a.yml", nested));
    assert_eq!(dotted, nested);
    let list = imported(Tool::Filebeat, "inputs.yml", "- {type: log, id: a, paths: [/a], pipeline: p}");
    assert_eq!(why(&list, "[0].pipeline"), "there are no ingest pipelines: `process` has steps");
    let twice = imported(Tool::Filebeat, "a.yml", "output.kafka: {topic: a}\noutput.kafka.topic: b\n");
    assert!(twice.toml.contains("name = \"a.millrace\"") && twice.toml.contains("said twice"));
}

#[test]
fn kinds_of_inputs() {
    let text = "filebeat.inputs:\n\
        - {type: container, paths: [/var/log/containers/*.log], stream: stdout, format: cri}\n\
        - {type: journald, id: j, paths: [/j], units: [ssh.service], include_matches.match: [_TRANSPORT=kernel]}\n\
        - {type: syslog, protocol.udp: {host: '0.0.0.0:514', max_message_size: 10KiB}}\n\
        - {type: tcp, host: 'localhost:9000', ssl: {certificate: /c, key: /k, certificate_authorities: [/ca]}}\n\
        - {type: tcp, host: 'localhost:9001', ssl: {certificate_authorities: [/ca]}}\n\
        - {type: log, enabled: false, paths: [/x]}\n\
        - {type: aws-s3, queue_url: x}\n\
        - {type: stdin}\n\
        - {type: stdin}\n\
        - {type: udp, host: 'web1:99'}\n";
    let imported = imported(Tool::Filebeat, "a.yml", text);
    let section = |name: &str| section(&imported, &format!("agent.sources.{name}")).join("\n");
    assert!(section("container-1").contains("parse = [\"cri\"]\nkeep = 'log.iostream:\"stdout\"'"));
    assert!(
        section("j")
            .contains("directory = \"/j\"\nkeep = '_SYSTEMD_UNIT:\"ssh.service\"'\nkeep = '_TRANSPORT")
    );
    assert!(
        section("syslog-3")
            .contains("listen = [\"udp://0.0.0.0:514\"]\nallow_unauthenticated = true\nmax_line = \"10KiB\"")
    );
    assert!(
        section("tcp-4").contains(
            "listen = [\"tls://127.0.0.1:9000\"]\nparse = [\"auto\"]\ntls = { certificate = \"/c\""
        )
    );
    assert_eq!(section("stdin-8"), "type = \"stdin\"");
    assert_eq!(why(&imported, "filebeat.inputs[5]"), "it is switched off: enabled is false");
    for at in [4, 6, 8, 9] {
        why(&imported, &format!("filebeat.inputs[{at}]"));
    }
    assert!(!imported.toml.contains("9001"), "what was encrypted is not listened for in clear");
}

#[test]
fn lines_that_belong_together() {
    for (multiline, expected) in [
        ("{pattern: '^x', negate: true, match: after}", Some("multiline = { start = \"^x\" }")),
        ("{pattern: '^[[:space:]]', negate: false, match: after}", Some("multiline = { start = '^\\S' }")),
        (
            r"{pattern: '^[[:space:]]+(at|\.{3})[[:space:]]+\b|^Caused by:', match: after}",
            Some("multiline = \"java\""),
        ),
        ("{pattern: '^x', negate: false, match: after}", None),
        ("{pattern: 'x$', negate: true, match: before}", None),
        ("{pattern: '(?<!x)y', negate: true, match: after}", None),
        ("{type: count, count_lines: 3}", None),
    ] {
        let text = format!("filebeat.inputs: [{{type: log, id: a, paths: [/a], multiline: {multiline}}}]");
        let imported = imported(Tool::Filebeat, "a.yml", &text);
        let found =
            section(&imported, "agent.sources.a").into_iter().find(|line| line.starts_with("multiline ="));
        assert_eq!(found, expected, "{multiline}");
        assert_eq!(imported.left_out.is_empty(), expected.is_some(), "{multiline}");
    }
}

#[test]
fn parsers_and_processors() {
    let text = "filebeat.inputs:\n- type: filestream\n  id: a\n  paths: [/a]\n  parsers:\n  - container: {format: docker}\n  \
        - ndjson: {target: '', message_key: msg, overwrite_keys: true}\n  exclude_lines: ['x']\n  processors:\n  \
        - timestamp: {field: ts, layouts: ['2006-01-02T15:04:05.000Z07:00'], timezone: Europe/Berlin, test: ['2019']}\n  \
        - dissect: {tokenizer: '%{a} %{b}'}\n  \
        - drop_event: {when: {or: [{range: {http.code.gte: 400, http.code.lt: 500}}, {has_fields: [a, b]}, {network: {ip: private}}]}}\n  \
        - drop_event: {when.range: {http.code.gte: 400}}\n  \
        - drop_event: {when.network.ip: [10.0.0.0/8, '::1/128']}\n  \
        - if: {equals: {a: b}}\n    then: [{drop_event: ~}]\n";
    let imported = imported(Tool::Filebeat, "a.yml", text);
    assert_eq!(
        section(&imported, "agent.sources.a"),
        [
            "type = \"file\"",
            "include = [\"/a\"]",
            "timezone = \"Europe/Berlin\"",
            "parse = [\"cri\", \"json\"]",
            "timestamp = { field = \"ts\", format = \"%Y-%m-%dT%H:%M:%S%.f%#z\" }",
            "drop = \"attributes.msg:/x/\"",
            "drop = \"http.code:>=400\"",
            "drop = \"ip:10.0.0.0/8 OR ip:::1/128\"",
        ]
    );
    let left: Vec<&str> = imported.left_out.iter().map(|left| left.at.as_str()).collect();
    let expected = ["processors[1].dissect", "processors[2].drop_event", "processors[5]"];
    assert_eq!(left, expected.map(|at| format!("filebeat.inputs[0].{at}")));
    assert!(why(&imported, "filebeat.inputs[0].processors[2].drop_event").contains("private"));
}

#[test]
fn the_registry_is_where_it_is_said_to_be() {
    let registry = |text: &str| {
        let imported = imported(Tool::Filebeat, "a.yml", text);
        imported.registry.map(|path| path.to_str().unwrap().to_owned())
    };
    assert_eq!(registry("{}").as_deref(), Some("/var/lib/filebeat/registry"));
    assert_eq!(registry("path.home: /opt/fb").as_deref(), Some("/opt/fb/data/registry"));
    assert_eq!(registry("filebeat.registry.path: /r").as_deref(), Some("/r"));
    assert_eq!(registry("path.data: /d\nfilebeat.registry.path: r").as_deref(), Some("/d/r"));
    assert_eq!(registry("path.data: '${DATA}'"), None);
}
