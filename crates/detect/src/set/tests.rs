//! Reading rules: what is taken, and what an error says and where.

use super::*;
use crate::{finding::Level, rule::derived_id};
use std::time::Duration;

fn load(text: &str) -> (RuleSet, Vec<RuleError>) {
    RuleSet::load(vec![RuleFile { path: "a.yml".to_owned(), text: text.to_owned() }])
}

/// Loads a text whose only rule is wrong, and gives line and message of what is said.
fn errors(text: &str) -> Vec<(usize, String)> {
    let (set, errors) = load(text);
    assert!(set.is_empty(), "{:?}", set.rules());
    errors.into_iter().map(|error| (error.line.unwrap_or(0), error.message)).collect()
}

const GOOD: &str = "title: good\nkind: threshold\nquery: error\nthreshold: { count: 3, window: 1m30s }\n";
const SIGMA: &str =
    "title: sigma\nlogsource: { product: linux }\ndetection:\n  k: [needle]\n  condition: k\nlevel: high\n";

#[test]
fn a_rule_is_read_whole() {
    let text = "\
title: t
id: my-rule
kind: threshold
description: d
level: critical
query: level:error service:api
extract: ['user=(?P<name>\\w+)', 'ip=(?P<ip>\\S+)']
threshold:
  count: 5
  window: 2m
  group_by: [ip, host]
distinct: name
resolve_after: 1h
tags: [attack.t1110]
streams: [app, web]
author: somebody
";
    let (set, errors) = load(text);
    assert!(errors.is_empty(), "{errors:?}");
    let rule = set.get("my-rule").unwrap();
    assert_eq!((rule.level, rule.line, rule.streams.len(), rule.tags.len()), (Level::Critical, 1, 2, 1));
    let RuleKind::Threshold(threshold) = &rule.kind else { panic!("{rule:?}") };
    assert_eq!((threshold.count, threshold.window), (5, Duration::from_mins(2)));
    assert_eq!(rule.resolve_after, Some(Duration::from_hours(1)));
    assert_eq!(rule.group_by.iter().map(|field| field.name.as_str()).collect::<Vec<_>>(), ["ip", "host"]);
    let json = serde_json::to_value(rule).unwrap();
    assert_eq!(json["kind"], "threshold");
    assert_eq!(json["window"], "120s");
    assert_eq!(json["level"], "critical");
}

#[test]
fn every_mistake_is_said_with_its_line() {
    let text = "\
title: t
kind: threshold
levle: high
query: 'status:>=('
threshold:
  count: 0
  windw: 2m
resolve_after: soon
extract: '([a-z]+)'
streams: [UPPER]
";
    let said = errors(text);
    let about =
        |line: usize, part: &str| said.iter().any(|(at, message)| *at == line && message.contains(part));
    assert!(about(3, "did you mean \"level\"?"), "{said:?}");
    assert!(about(4, "query: "), "{said:?}");
    assert!(about(6, "threshold.count: a whole number from 1 to 100000"), "{said:?}");
    assert!(about(7, "did you mean \"window\"?"), "{said:?}");
    assert!(about(5, "threshold.window is missing"), "{said:?}");
    assert!(about(8, "\"90s\""), "{said:?}");
    assert!(about(9, "named group"), "{said:?}");
    assert!(about(10, "stream name"), "{said:?}");
    assert_eq!(said.len(), 8, "{said:?}");
}

#[test]
fn a_bad_rule_costs_itself_only() {
    let bad = "title: bad\nkind: thresold\nquery: x\nthreshold: { count: 1, window: 1s }\n";
    let broken = "title: [\n";
    let sigma_bad = "title: s\nlogsource: {}\ndetection:\n  a: [x]\n  condition: b\n";
    let text = [GOOD, bad, SIGMA, sigma_bad, broken].join("---\n");
    let other = RuleFile {
        path: "b.yml".to_owned(),
        text: "title: b\nkind: threshold\nquery: x\nthreshold: { count: 1, window: 1s }".to_owned(),
    };
    let (set, errors) = RuleSet::load(vec![RuleFile { path: "a.yml".to_owned(), text }, other]);
    let titles: Vec<&str> = set.rules().iter().map(|rule| rule.title.as_str()).collect();
    assert_eq!(titles, ["good", "sigma", "b"]);
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(errors.iter().all(|error| error.file == "a.yml" && error.line.is_some()), "{errors:?}");
    assert!(
        errors.iter().any(|e| e.line == Some(7) && e.to_string().starts_with("a.yml:7: bad: kind: ")),
        "{errors:?}"
    );
    assert!(
        errors.iter().any(|e| e.message.contains("unknown detection identifier") && e.line == Some(18)),
        "{errors:?}"
    );
}

#[test]
fn ids_are_made_where_there_are_none_and_taken_once() {
    let (set, errors) = load(&[GOOD, SIGMA, GOOD].join("---\n"));
    assert_eq!(set.len(), 2);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].message.contains("is taken by the rule at a.yml:1"), "{errors:?}");
    let id = &set.rules()[0].id;
    assert_eq!(id.len(), 36);
    assert_eq!((&id[14..15], "89ab".contains(&id[19..20])), ("8", true), "{id} is a UUID of version 8");
    assert_eq!(*id, load(GOOD).0.rules()[0].id, "the same at every start");
    assert_ne!(derived_id("a.yml", "t"), derived_id("b.yml", "t"));
}

#[test]
fn what_is_no_rule_says_what_a_rule_is() {
    assert!(errors("detecton: {}\ntitle: x\n")[0].1.contains("did you mean \"detection\"?"));
    assert!(errors("foo: 1\n")[0].1.contains("this document has neither"));
    assert!(errors("- a\n")[0].1.contains("a rule is a mapping"));
    assert!(load("# nothing yet\n---\n").1.is_empty());
}

#[test]
fn sigma_mistakes_have_lines_too() {
    let said = errors("title: s\nlogsource: {}\ndetection:\n  a:\n    f|contans: x\n  condition: a\n");
    assert_eq!(said, [(5, "Unknown modifier 'contans'".to_owned())]);
    let said = errors("title: s\nlogsource: {}\ndetection:\n  a: [x]\n  condition: a and and\n");
    assert_eq!(said[0].0, 5, "{said:?}");
    let said = errors("title: s\nlevel: severe\nlogsource: {}\ndetection:\n  a: [x]\n  condition: a\n");
    assert_eq!(said[0].0, 2, "{said:?}");
    let said = errors("title: s\nlogsorce: {}\ndetection:\n  a: [x]\n  condition: a\n");
    assert!(said[0].1.contains("did you mean \"logsource\"?"), "{said:?}");
}

#[test]
fn what_loads_but_never_matches_is_a_warning() {
    let text = "title: s\nlogsource: {}\ndetection:\n  a:\n    User|expand: '%admins%'\n  timeframe: 5m\n  condition: a\n";
    let (set, errors) = load(text);
    assert!(errors.is_empty() && set.len() == 1);
    let warned: Vec<_> = set.warnings().iter().map(|warning| warning.line).collect();
    assert_eq!(warned, [Some(5), Some(6)]);
}

#[test]
fn spans_are_read() {
    use crate::keys::parse_span;
    for (text, seconds) in
        [("90s", 90), ("2m", 120), ("1h30m", 5400), ("1d", 86_400), ("1w", 604_800), ("1500ms", 1)]
    {
        assert_eq!(parse_span(text).unwrap().as_secs(), seconds, "{text}");
    }
    for text in ["", "2", "m", "2x", "-2m", "2m5", "99999999999999999999s", "999999999999999999w"] {
        assert!(parse_span(text).is_err(), "{text}");
    }
}
