//! Which Sigma rules match which records, through the rule set as everybody uses it.

use crate::{RuleFile, RuleSet};
use millrace_model::{Attributes, LogRecord, RecordId, Row, SourceId, StreamName, Timestamp, Value};
use std::sync::Arc;

/// A record out of JSON texts.
pub(crate) fn row(body: &str, attributes: &str, resource: &str) -> Row {
    let map = |json: &str| serde_json::from_str::<Attributes>(json).unwrap();
    let time = Timestamp::from_millis(1_700_000_000_000);
    let record = LogRecord {
        timestamp: Some(time),
        observed_timestamp: time,
        body: Value::from(body),
        attributes: map(attributes),
        resource: Arc::new(map(resource)),
        ..LogRecord::default()
    };
    Row {
        id: RecordId { source: SourceId(7), position: 0, index: 0 },
        stream: StreamName::default(),
        time,
        record,
    }
}

fn titles(rules: &str, row: &Row) -> Vec<String> {
    let (set, errors) = RuleSet::load(vec![RuleFile { path: "r.yml".to_owned(), text: rules.to_owned() }]);
    assert!(errors.is_empty(), "{errors:?}");
    let mut places = Vec::new();
    set.matching(row, &mut places);
    places.into_iter().map(|place| set.rules()[place].title.clone()).collect()
}

pub(crate) fn rule(title: &str, logsource: &str, selection: &str) -> String {
    format!(
        "title: {title}\nlogsource: {{ {logsource} }}\ndetection:\n  s:\n    {selection}\n  condition: s\n"
    )
}

const HOST: &str = r#"{"host.name":"web1"}"#;

#[test]
fn keywords_search_the_line_and_the_attributes_but_not_the_host() {
    let rules = rule("k", "product: linux", "- 'needle'");
    assert_eq!(titles(&rules, &row("a NEEDLE in hay", "{}", HOST)), ["k"]);
    assert_eq!(titles(&rules, &row("x", r#"{"a":{"b":["needles"]}}"#, HOST)), ["k"]);
    assert!(titles(&rules, &row("x", "{}", r#"{"host.name":"needle"}"#)).is_empty());
    let mut bytes = row("x", "{}", HOST);
    bytes.record.body = Value::Bytes(b"\xff needle".to_vec());
    assert_eq!(titles(&rules, &bytes), ["k"]);
}

#[test]
fn a_rule_for_another_product_or_service_is_not_tested() {
    let rules = [
        rule("linux", "product: linux", "- x"),
        rule("windows", "product: windows", "- x"),
        rule("sshd", "product: linux, service: sshd", "- x"),
        rule("sudo", "product: linux, service: sudo", "- x"),
        rule("auth", "product: linux, service: auth", "- x"),
        rule("syslog", "product: linux, service: syslog", "- x"),
        rule("web", "category: webserver", "- x"),
    ]
    .join("---\n");
    assert_eq!(titles(&rules, &row("h sshd[1]: x", "{}", HOST)), ["linux", "sshd", "auth", "syslog"]);
    assert_eq!(titles(&rules, &row("kernel: x", "{}", HOST)), ["linux", "syslog"]);
    let access = row(r#"1.2.3.4 - - [x] "GET /x HTTP/1.1" 200"#, r#"{"service.name":"nginx"}"#, HOST);
    assert_eq!(titles(&rules, &access), ["linux", "web"]);
    let windows = row("x", r#"{"EventID":1,"Channel":"x"}"#, HOST);
    assert_eq!(titles(&rules, &windows), ["windows"], "no category is known of it, but it is no request");
    let request = row("x", r#"{"c-uri":"/"}"#, HOST);
    assert_eq!(
        titles(&rules, &request),
        ["linux", "sshd", "sudo", "auth", "syslog", "web"],
        "it may be anything"
    );
}

#[test]
fn fields_are_found_through_the_candidate_index() {
    let exec = rule("exec", "category: process_creation, product: linux", "CommandLine|contains: 'nc -e'");
    assert_eq!(titles(&exec, &row("x", r#"{"CommandLine":"/bin/nc -e sh"}"#, HOST)), ["exec"]);
    assert_eq!(titles(&exec, &row("x", r#"{"process.command_line":"/bin/nc -e sh"}"#, HOST)), ["exec"]);
    assert_eq!(titles(&exec, &row("x", r#"{"process":{"command_line":"/bin/nc -e sh"}}"#, HOST)), ["exec"]);
    let event = r#"{"Event":{"System":{"EventID":1},"EventData":{"CommandLine":"nc -e"}}}"#;
    let windows = rule("exec", "product: windows", "CommandLine|contains: 'nc -e'");
    assert_eq!(titles(&windows, &row("x", event, HOST)), ["exec"]);
    assert!(titles(&exec, &row("x", event, HOST)).is_empty(), "another product");
    let message = rule("m", "product: linux", "Message|startswith: 'boo'");
    assert_eq!(titles(&message, &row("boo!", "{}", HOST)), ["m"]);
    let typed = rule("t", "product: linux", "a.b: 42");
    assert_eq!(
        titles(&typed, &row("x", r#"{"a":{"b":"42"}}"#, HOST)),
        ["t"],
        "numbers and their texts are the same"
    );
    assert_eq!(titles(&typed, &row("x", r#"{"a.b":42}"#, HOST)), ["t"]);
    assert_eq!(titles(&typed, &row("x", r#"{"a":[{"b":1},{"b":42}]}"#, HOST)), ["t"]);
    let host = rule("h", "product: linux", "region: eu");
    assert_eq!(titles(&host, &row("x", "{}", r#"{"host.name":"w","region":"eu"}"#)), ["h"]);
}

#[test]
fn a_rule_without_an_id_matches() {
    assert_eq!(titles(&rule("no id", "product: linux", "- x"), &row("x", "{}", HOST)), ["no id"]);
}
