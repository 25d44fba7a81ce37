//! What a case makes of its lines, and what it says of ones that are wrong.

use super::START;
use crate::{RuleFile, RuleSet, run_cases};
use std::sync::Arc;

fn load(tests: &str) -> (RuleSet, Vec<String>) {
    let text = format!(
        "title: t\nid: t\nkind: threshold\nquery: word\nthreshold: {{ count: 3, window: 1m, group_by: [host] }}\ntests:\n{tests}\n"
    );
    let (rules, errors) = RuleSet::load(vec![RuleFile { path: "t.yml".into(), text }]);
    (rules, errors.iter().map(ToString::to_string).collect())
}

#[test]
fn each_line_has_its_own_number_pace_host_and_service() {
    let (rules, errors) = load(
        "  positive:
    - every: 10s
      host: a
      service: app
      repeat: 2
      lines:
        - one
        - { line: two, repeat: 3, every: 2s, after: 1h }
        - { line: three, host: b, service: other }",
    );
    assert!(errors.is_empty(), "{errors:?}");
    let rule = &rules.rules()[0];
    let rows: Vec<(String, u64, String, String)> = rule.cases[0]
        .rows(rule)
        .map(|row| {
            let said = |name: &str| row.record.resource.get(name).unwrap().to_string();
            let second = row.time.since(START).as_secs();
            (row.record.body.to_string(), second, said("host.name"), said("service.name"))
        })
        .collect();
    let expected = [
        ("one", 0, "a", "app"),
        ("two", 3600, "a", "app"),
        ("two", 3602, "a", "app"),
        ("two", 3604, "a", "app"),
        ("three", 3614, "b", "other"),
        ("one", 3624, "a", "app"),
        ("two", 7224, "a", "app"),
        ("two", 7226, "a", "app"),
        ("two", 7228, "a", "app"),
        ("three", 7238, "b", "other"),
    ];
    let expected = expected
        .map(|(text, second, host, service)| (text.to_owned(), second, host.to_owned(), service.to_owned()));
    assert_eq!(rows, expected);
}

#[test]
fn lines_that_are_apart_in_time_do_not_count_together() {
    let (rules, errors) = load(
        "  positive:
    - { name: together, lines: [word, { line: word, after: 20s, repeat: 2 }] }
    - { name: of two hosts, lines: [{ line: word, repeat: 3 }, { line: word, repeat: 3, host: b }], findings: 2 }
  negative:
    - { name: apart, lines: [{ line: word, repeat: 2 }, { line: word, after: 2m, repeat: 2 }] }
    - { name: hosts, lines: [{ line: word, repeat: 2 }, { line: word, host: b }] }",
    );
    assert!(errors.is_empty(), "{errors:?}");
    let outcomes = run_cases(&Arc::new(rules));
    assert_eq!(outcomes.len(), 4);
    assert!(outcomes.iter().all(super::CaseOutcome::passed), "{outcomes:#?}");
}

#[test]
fn what_is_wrong_with_a_case_is_said() {
    for (case, expected) in [
        ("{ lines: [{ line: a, aftre: 1m }] }", "did you mean \"after\"?"),
        ("{ lines: [{ repeat: 2 }] }", "with `line`"),
        ("{ lines: [{ line: a, repeat: 0 }] }", "1 or more"),
        ("{ lines: [{ line: a, repeat: many }] }", "repeat: a whole number expected"),
        ("{ lines: [{ line: a, after: soon }] }", "after: "),
        ("{ lines: [{ line: a, repeat: 60000 }, { line: b, repeat: 60000 }] }", "1 to 100000 lines"),
        ("{ lines: [3] }", "each a text"),
        ("{ lines: [] }", "1 to 100000 lines"),
        ("{ line: a, lines: [b] }", "`line` as text, or `lines`"),
        ("{ line: a, evry: 1s }", "did you mean \"every\"?"),
        ("{ line: a, quiet: 7 }", "quiet: text expected"),
    ] {
        let (rules, errors) = load(&format!("  positive:\n    - {case}"));
        assert!(rules.is_empty(), "{case}");
        assert!(errors.iter().any(|error| error.contains(expected)), "{case}: {errors:?}");
    }
}
