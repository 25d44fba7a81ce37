use super::*;
use crate::{RuleError, RuleFile, RuleSet};
use millrace_pipes::{Cells, Column};

const RULE: &str = "\
title: Hosts with many errors
id: busy
kind: scheduled
level: high
query: 'level:error | stats count() as errors by host, service | where errors > 10'
scheduled: { every: 5m, range: 1h }
";

fn load(text: &str) -> (RuleSet, Vec<RuleError>) {
    RuleSet::load(vec![RuleFile { path: "a.yml".to_owned(), text: text.to_owned() }])
}

fn one(text: &str) -> Rule {
    let (set, errors) = load(text);
    assert!(errors.is_empty(), "{errors:?}");
    set.rules()[0].clone()
}

/// Line and message of the only error.
fn error(text: &str) -> (usize, String) {
    let (set, mut errors) = load(text);
    assert!(set.is_empty() && errors.len() == 1, "{errors:?}");
    let error = errors.remove(0);
    (error.line.unwrap(), error.message)
}

/// Host, service and errors.
type Line<'l> = (&'l str, Option<&'l str>, i64);

fn table(rows: &[Line<'_>]) -> Table {
    let column = |name: &str, cell: &dyn Fn(&Line<'_>) -> Option<Value>| {
        let mut cells = Cells::default();
        for row in rows {
            cells.push(cell(row));
        }
        Column { name: name.to_owned(), is_time: false, is_estimate: false, cells }
    };
    let columns = vec![
        column("host", &|row| Some(Value::from(row.0))),
        column("service", &|row| row.1.map(Value::from)),
        column("errors", &|row| Some(Value::Int(row.2))),
    ];
    Table { columns, rows: rows.len(), chosen_by_estimate: false }
}

const fn at(minutes: i64) -> Timestamp {
    Timestamp(minutes * 60_000_000_000)
}

/// Kind, host and count of what a run says, in order.
fn said(findings: Vec<Finding>) -> Vec<(FindingKind, String, u64)> {
    findings.into_iter().map(|finding| (finding.kind, finding.group["host"].clone(), finding.count)).collect()
}

#[test]
fn it_is_grouped_by_what_its_query_groups_by() {
    let rule = one(RULE);
    let names: Vec<&str> = rule.group_by.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["host", "service"]);
    let scheduled = rule.scheduled().unwrap();
    assert_eq!(scheduled.range(at(60)), TimeRange { from: at(0), to: at(60) });
    assert_eq!(scheduled.due(at(65).plus(Duration::from_secs(9))), Some(at(60)), "it waits for ten seconds");
    assert_eq!(scheduled.due(at(65).plus(Duration::from_secs(10))), Some(at(65)));

    let own = one(&RULE.replace("range: 1h", "range: 1h, group_by: [host], delay: 0s"));
    assert_eq!((own.group_by.len(), own.scheduled().unwrap().due(at(65))), (1, Some(at(65))));
    let top =
        one(&RULE.replace("stats count() as errors by host, service | where errors > 10", "top 3 user"));
    assert_eq!(top.group_by[0].name, "user");
    let without =
        one(&RULE
            .replace("| stats count() as errors by host, service | where errors > 10", "| where bytes > 10"));
    assert!(without.group_by.is_empty());
}

#[test]
fn mistakes_are_told_with_their_line() {
    for (from, to, line, words) in [
        ("every: 5m", "cron: '61 * * * *'", 6, "scheduled.cron"),
        ("every: 5m", "cron: '0 0 30 2 *'", 6, "no such day"),
        ("every: 5m", "cron: '* * * * *', every: 5m", 6, "not both"),
        ("every: 5m", "cron: '* * * * *', zone: Europe/Atlantis", 6, "Europe/Berlin"),
        ("every: 5m", "every: 5m, zone: UTC", 6, "only with cron"),
        ("every: 5m", "every: 100ms", 6, "1s or more"),
        ("every: 5m, ", "", 6, "scheduled.cron is missing"),
        (", range: 1h", "", 6, "scheduled.range is missing"),
        ("range: 1h", "range: 1h, group_by: [hots]", 6, "no column \"hots\"; it has host, service, errors"),
        ("stats count()", "stats cuont()", 5, "at character 21"),
        (" | stats count() as errors by host, service | where errors > 10", "", 5, "a query with pipes"),
        ("query:", "qery:", 5, "did you mean"),
        ("level: high", "extract: 'a(?P<b>c)'", 4, "not for scheduled queries"),
        ("level: high", "tests: { positive: [a] }", 4, "not for scheduled queries"),
    ] {
        let text = RULE.replace(from, to);
        assert_ne!(text, RULE);
        let (_, errors) = load(&text);
        let found = errors.iter().any(|error| error.line == Some(line) && error.message.contains(words));
        assert!(found, "{to}: {errors:?}");
    }
    let over = format!(
        "{RULE}---\ntitle: over\ncorrelation:\n  type: event_count\n  rules: [busy]\n  group-by: [host]\n  timespan: 1h\n  condition: {{ gte: 2 }}\n"
    );
    let (_, errors) = load(&over);
    assert!(errors.iter().any(|error| error.message.contains("scheduled query")), "{errors:?}");
    assert!(error(&RULE.replace("level: high", "distinct: host")).1.contains("only thresholds"));
}

#[test]
fn it_is_told_in_words_and_in_json() {
    let text = one(RULE).explain();
    for words in
        ["the last 1h", "| where errors > 10", "every 5m, 10s late", "each host, service", "no such row"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    let rule = one(&RULE.replace("every: 5m", "cron: '0 6 * * mon', zone: Europe/Berlin"));
    let told = serde_json::to_value(&rule).unwrap();
    for (name, value) in
        [("kind", "scheduled"), ("cron", "0 6 * * mon"), ("zone", "Europe/Berlin"), ("range", "3600s")]
    {
        assert_eq!(told[name], value, "{told}");
    }
    assert!(told["query"].as_str().unwrap().starts_with("level:error |"), "{told}");
    // Whoever asks otherwise is another.
    assert_ne!(one(RULE).digest, rule.digest);
    assert_ne!(one(RULE).digest, one(&RULE.replace("> 10", "> 11")).digest);
}

#[test]
fn a_row_fires_and_a_group_without_one_is_over() {
    let rule = one(RULE);
    let mut firing = Firing::new();
    let (web, db) = (("web1", Some("api"), 12), ("db1", None, 90));
    let found = rule.found_by_run(at(5), &table(&[web, db]), true, &mut firing);
    let mut values: Vec<_> = found.iter().map(|finding| finding.value).collect();
    values.sort_by(|a, b| a.partial_cmp(b).unwrap());
    assert_eq!(values, [Some(12.0), Some(90.0)]);
    let of_db = found.iter().find(|finding| finding.group["host"] == "db1").unwrap();
    assert_eq!((of_db.group.len(), of_db.first, of_db.last), (1, at(5), at(5)), "it has no service");
    assert!(found.iter().all(|finding| finding.kind == FindingKind::Fired && finding.count == 1));

    let found = said(rule.found_by_run(at(10), &table(&[web]), true, &mut firing));
    assert_eq!(found, [(FindingKind::Updated, "web1".into(), 2), (FindingKind::Resolved, "db1".into(), 1)]);
    let found = said(rule.found_by_run(at(15), &table(&[]), true, &mut firing));
    assert_eq!(found, [(FindingKind::Resolved, "web1".into(), 2)]);
    assert!(firing.is_empty());
    // What comes back is news.
    let found = rule.found_by_run(at(20), &table(&[web]), true, &mut firing);
    assert_eq!((found[0].kind, found[0].first), (FindingKind::Fired, at(20)));
}

#[test]
fn what_was_cut_off_is_not_over() {
    let rule = one(RULE);
    let mut firing = Firing::new();
    rule.found_by_run(at(5), &table(&[("web1", None, 12), ("db1", None, 9)]), true, &mut firing);
    let found = said(rule.found_by_run(at(10), &table(&[("web1", None, 12)]), false, &mut firing));
    assert_eq!(found, [(FindingKind::Updated, "web1".into(), 2)]);
    assert_eq!(firing.len(), 2);
}

#[test]
fn a_rule_may_wait_before_it_is_over_and_rows_of_one_group_are_one() {
    let rule = one(&(RULE.replace("range: 1h", "range: 1h, group_by: [host]") + "resolve_after: 10m\n"));
    let mut firing = Firing::new();
    let rows = table(&[("web1", Some("a"), 12), ("web1", Some("b"), 13)]);
    assert_eq!(
        said(rule.found_by_run(at(5), &rows, true, &mut firing)),
        [(FindingKind::Fired, "web1".into(), 1)]
    );
    assert_eq!(said(rule.found_by_run(at(10), &table(&[]), true, &mut firing)), []);
    assert_eq!(
        said(rule.found_by_run(at(15), &table(&[]), true, &mut firing)),
        [(FindingKind::Resolved, "web1".into(), 1)]
    );
}
