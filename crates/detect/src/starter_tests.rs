//! The rules that come with Millrace do what the lines in their files say.

use crate::{RuleSet, run_cases, starter};
use std::sync::Arc;

#[test]
fn every_starter_rule_does_as_its_cases_say() {
    let (rules, errors) = RuleSet::load(starter());
    assert!(errors.is_empty(), "{errors:?}");
    assert!(rules.warnings().is_empty(), "{:?}", rules.warnings());
    let rules = Arc::new(rules);
    let outcomes = run_cases(&rules);
    let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.passed()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    for rule in rules.rules() {
        let of = |findings: bool| rule.cases.iter().filter(|case| case.must_fire() == findings).count();
        assert!(of(true) >= 2 && of(false) >= 2, "{} has too few lines", rule.title);
        assert!(!rule.description.is_empty() && !rule.tags.is_empty(), "{}", rule.title);
        assert!(outcomes.iter().any(|outcome| outcome.rule_id == rule.id), "{}", rule.title);
    }
}

#[test]
fn a_case_that_is_not_so_fails() {
    let mut files = starter();
    for file in &mut files {
        file.text = file.text.replace("positive:", "was_positive:").replace("negative:", "positive:");
        file.text = file.text.replace("was_positive:", "negative:");
    }
    let (rules, errors) = RuleSet::load(files);
    assert!(errors.is_empty(), "{errors:?}");
    let outcomes = run_cases(&Arc::new(rules));
    assert!(outcomes.len() >= 20 && outcomes.iter().all(|outcome| !outcome.passed()), "{outcomes:#?}");
}
