//! The rules that come with Millrace do what the lines in their files say.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::{RuleSet, run_cases, starter};
use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

#[test]
fn every_file_of_the_folder_is_built_in() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules");
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let there: BTreeSet<String> = names.filter(|name| name != "README.md").collect();
    let files = starter();
    let built_in: BTreeSet<String> =
        files.iter().map(|file| file.path.trim_start_matches("starter/").to_owned()).collect();
    assert_eq!(built_in, there);
    assert_eq!(built_in.len(), files.len(), "none is there twice");
}

#[test]
fn every_starter_rule_is_ready_for_people() {
    let (rules, errors) = RuleSet::load(starter());
    assert!(errors.is_empty(), "{errors:?}");
    let mut ids = BTreeSet::new();
    for rule in rules.rules() {
        let id = rule.id.split('-').map(str::len).collect::<Vec<_>>();
        assert!(id == [8, 4, 4, 4, 12] && ids.insert(&rule.id), "{}: {}", rule.file, rule.id);
        let sentences = rule.description.matches(['.', '?']).count();
        assert!((2..=8).contains(&sentences), "{} says {sentences} sentences", rule.file);
        let known = |tag: &String| tag.starts_with("attack.") || tag.starts_with("impact.");
        assert!(!rule.tags.is_empty() && rule.tags.iter().all(known), "{}: {:?}", rule.file, rule.tags);
        let text = starter().into_iter().find(|file| file.path == rule.file).unwrap().text;
        for key in ["level: ", "falsepositives:"] {
            assert!(text.lines().any(|line| line.starts_with(key)), "{} without {key}", rule.file);
        }
    }
}

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
