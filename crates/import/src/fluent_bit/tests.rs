use crate::{
    Tool,
    tests::{imported, section, strangers_are_told, why},
};
use std::path::Path;

const CLASSIC: &str = r"
@SET where=/var/log
@INCLUDE other.conf
[SERVICE]
    Flush        1
    Parsers_File parsers.conf
[PARSER]
    Name   mine
    Format regex
    Regex  /^(?<time>[^ ]+) (?<level>\w+) (?<text>.*)$/m
    Time_Key time
    Time_Format %Y-%m-%dT%H:%M:%S.%L%z
    Types  a:integer
[PARSER]
    Name   unused
    Format json
[INPUT]
    Name   tail
    Path   ${where}/app/*.log, /srv/${X}/b{1}.log
    Exclude_Path *.gz,*.zip
    Parser mine
    Tag    app.*
    DB     /var/lib/fb/tail.db
    Read_from_Head false
    Skip_Long_Lines On
    Buffer_Max_Size 64k
    Refresh_Interval 10
    Mem_Buf_Limit 5MB
    Path_Key file
[INPUT]
    Name   tail
    Path   /var/log/containers/*.log
    multiline.parser docker, cri, java
    Tag    kube.*
    DB     /var/lib/fb/kube.db
[INPUT]
    Name systemd
    Tag  host.*
    Systemd_Filter _SYSTEMD_UNIT=docker.service
    Systemd_Filter _SYSTEMD_UNIT=kubelet.service
[INPUT]
    Name syslog
    Mode tcp
    Port 5140
    Parser syslog-rfc5424
[INPUT]
    Name http
    Listen 127.0.0.1
[INPUT]
    Name cpu
[FILTER]
    Name grep
    Match app.*
    Regex level ^(ERROR|WARN)$
    Exclude log /healthz
    Exclude $kubernetes['namespace_name'] kube-system
    Exclude log (?<!a)b
[FILTER]
    Name kubernetes
    Match kube.*
    Merge_Log On
[FILTER]
    Name record_modifier
    Match *
    Record hostname ${HOSTNAME}
    Record dc eu
    Remove_key x
[FILTER]
    Name modify
    Match host.*
    Add a b
    Rename old new
    Remove z
[FILTER]
    Name lua
    Match nothing.*
[OUTPUT]
    Name kafka
    Match *
    Brokers 10.0.0.1:9092,10.0.0.2:9092
    Topics logs
    rdkafka.security.protocol SSL
    rdkafka.acks 1
    Retry_Limit False
[OUTPUT]
    Name es
    Match kube.*
";

#[test]
fn a_configuration_of_old_is_taken_over() {
    let imported = imported(Tool::FluentBit, "fluent-bit.conf", CLASSIC);
    assert_eq!(
        section(&imported, "agent.sources.app"),
        [
            r#"type = "file""#,
            r#"include = ["/var/log/app/*.log", "/srv/${X}/b[{]1[}].log"]"#,
            r#"exclude = ["*.gz", "*.zip"]"#,
            r#"rescan = "10s""#,
            r#"max_line = "64kB""#,
            r"parse = [{ regex = '(?s)^(?<time>[^ ]+) (?<level>\w+) (?<text>.*)$' }]",
            r#"timestamp = { field = "time", format = "%Y-%m-%dT%H:%M:%S%.f%#z" }"#,
            r#"keep = "level:/^(ERROR|WARN)$/""#,
            r"drop = 'body:/\/healthz/'",
            r#"drop = "k8s.namespace.name:/kube-system/""#,
            r#"add = { hostname = "${HOSTNAME}", dc = "eu" }"#,
        ]
    );
    let kube = section(&imported, "agent.sources.kube");
    assert_eq!(kube[2..4], [r#"multiline = "java""#, r#"parse = ["cri"]"#]);
    assert_eq!(
        section(&imported, "agent.sources.host"),
        [
            r#"type = "journald""#,
            r#"keep = '_SYSTEMD_UNIT:"docker.service" OR _SYSTEMD_UNIT:"kubelet.service"'"#,
            r#"add = { hostname = "${HOSTNAME}", dc = "eu" }"#,
            r#"add = { a = "b" }"#,
            r#"when = "NOT a:*""#,
            r#"rename = { old = "new" }"#,
            r#"when = "NOT new:*""#,
        ]
    );
    assert!(section(&imported, "agent.sources.syslog-4").contains(&r#"parse = ["syslog"]"#));
    assert_eq!(section(&imported, "topic.librdkafka"), [r#"security.protocol = "SSL""#]);
    assert_eq!(imported.registry.as_deref(), Some(Path::new("/var/lib/fb/tail.db")));
    assert_eq!(imported.more_registries, [Path::new("/var/lib/fb/kube.db")]);
    assert_eq!(why(&imported, "PARSER[1]"), "no input uses this parser");
    assert!(why(&imported, "OUTPUT[0].rdkafka.acks").contains("loss of a broker"));
    for at in [
        "@INCLUDE (line 3)",
        "SERVICE[0].Parsers_File",
        "INPUT[0].Mem_Buf_Limit",
        "INPUT[5]",
        "FILTER[4]",
        "OUTPUT[1]",
    ] {
        why(&imported, at);
    }
    assert!(why(&imported, "FILTER[0].Exclude").contains("regular expression"));
}

#[test]
fn no_setting_is_passed_over() {
    strangers_are_told(Tool::FluentBit, "fluent-bit.conf", CLASSIC, |line| {
        line.starts_with(' ').then(|| "    Xstranger 1".to_owned())
    });
    strangers_are_told(Tool::FluentBit, "fluent-bit.yaml", YAML, |line| {
        let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
        let key = rest.trim_start_matches("- ");
        let indent = format!("{indent}{}", " ".repeat(rest.len() - key.len()));
        key.contains(": ").then(|| format!("{indent}xstranger: 1"))
    });
}

const YAML: &str = r#"
env: {where: /var/log}
service:
  flush: 1
parsers:
  - name: p
    format: json
    time_key: t
    time_format: "%s"
pipeline:
  inputs:
    - name: tail
      path: "${where}/*.log"
      parser: p
      tag: t
      processors: {logs: [{name: x}]}
    - name: tcp
      port: 5170
      format: none
      listen: 127.0.0.1
  filters:
    - name: grep
      match: '*'
      regex: ["level err", "a b"]
      logical_op: or
    - name: throttle
      match: t
      rate: 10
      interval: 1m
  outputs:
    - name: stdout
      match: '*'
"#;

#[test]
fn yaml_is_taken_over() {
    let imported = imported(Tool::FluentBit, "fluent-bit.yaml", YAML);
    assert_eq!(
        section(&imported, "agent.sources.t"),
        [
            r#"type = "file""#,
            r#"include = ["/var/log/*.log"]"#,
            r#"parse = ["json"]"#,
            r#"timestamp = { field = "t" }"#,
            r#"keep = "level:/err/ OR a:/b/""#,
            r#"rate_limit = "10/m""#,
        ]
    );
    assert_eq!(
        section(&imported, "agent.sources.tcp-2"),
        [
            r#"type = "syslog""#,
            r#"listen = ["tcp://127.0.0.1:5170"]"#,
            r#"parse = ["auto"]"#,
            r#"keep = "level:/err/ OR a:/b/""#
        ]
    );
    let told: Vec<&str> = imported.left_out.iter().map(|left| left.at.as_str()).collect();
    assert_eq!(told, ["service.flush", "pipeline.inputs[0].processors", "pipeline.outputs[0]"]);
}

#[test]
fn rules_that_are_meant_together_are_left_out_together() {
    let text = "[INPUT]\nName tail\nPath /a\nTag a\n[FILTER]\nName grep\nMatch a\nLogical_Op or\nRegex x (?=a)\nRegex y b\n\
                [FILTER]\nName modify\nMatch a\nCondition Key_exists x\nSet a b\n";
    let imported = imported(Tool::FluentBit, "a.conf", text);
    assert_eq!(section(&imported, "agent.sources.a"), ["type = \"file\"", "include = [\"/a\"]"]);
    assert!(why(&imported, "FILTER[0]").contains("together"));
    assert!(why(&imported, "FILTER[1]").contains("condition"));
}
