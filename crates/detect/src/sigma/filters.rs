//! Sigma filters: documents that narrow rules which stand elsewhere, without touching them. A filter's condition must hold
//! as well, so that `not selection` leaves out what it selects. A filter goes into its rules before pipelines do, so that
//! both speak of fields by the same names.

use super::{Source, locate, parse};
use crate::{document::Document, finding::digest, rule::RuleError, set::Sources};
use millrace_model::closest;
use rsigma_parser::{ConditionExpr, FilterRule, FilterRuleTarget, LogSource, SelectorPattern};

/// A filter that has been read.
pub(crate) struct Filter {
    rule: FilterRule,
    /// Where it stands: errors about it point there.
    place: RuleError,
    digest: u128,
}

/// Reads a document that has the key `filter`.
pub(crate) fn read(document: &Document<'_>, errors: &mut Vec<RuleError>) -> Option<Filter> {
    let before = errors.len();
    let filter = document.root.get("filter");
    match filter.map(|filter| filter.get("rules")) {
        Some(Some(rules))
            if rules.is_string() || rules.as_sequence().is_some_and(|rules| !rules.is_empty()) => {}
        _ => errors.push(document.error(
            &["filter", "rules"],
            "filter.rules: ids or names of the rules that it narrows, or `any` for those of its logsource",
        )),
    }
    if document.root.contains_key("detection") {
        errors.push(document.error(&["detection"], "a filter selects under `filter`, it has no `detection`"));
    }
    let mut parsed = parse(document, errors)?;
    let rule = parsed.filters.pop();
    if rule.is_none() && errors.len() == before {
        errors.push(document.error(&["filter"], "this document holds no filter"));
    }
    let rule = rule.filter(|_| errors.len() == before)?;
    for name in rule.detection.conditions.iter().flat_map(named) {
        if !rule.detection.named.contains_key(name) {
            errors.push(
                document.error(&["filter", "condition"], format!("there is no selection {name:?} in it")),
            );
        }
    }
    for detection in rule.detection.named.values() {
        if let Err(problem) = rsigma_eval::compiler::compile_detection(detection) {
            errors.push(locate(document, &problem.to_string()));
        }
    }
    let place = document.error(&["filter", "rules"], "");
    let says = document.root.get("filter").map(|value| format!("{value:?}")).unwrap_or_default();
    (errors.len() == before).then(|| Filter { rule, place, digest: digest([says.as_str()].into_iter()) })
}

/// The selections that a condition names one by one.
fn named(condition: &ConditionExpr) -> Vec<&str> {
    match condition {
        ConditionExpr::And(inner) | ConditionExpr::Or(inner) => inner.iter().flat_map(named).collect(),
        ConditionExpr::Not(inner) => named(inner),
        ConditionExpr::Identifier(name) => vec![name],
        ConditionExpr::Selector { .. } => Vec::new(),
    }
}

/// Narrows rules. A filter that names a rule which is not there is an error, and the rest of it holds.
pub(crate) fn apply(filters: &[Filter], rules: &mut Sources, errors: &mut Vec<RuleError>) {
    for (number, filter) in filters.iter().enumerate() {
        match &filter.rule.rules {
            FilterRuleTarget::Any => {
                rules.each(
                    |source| filter.is_for(&source.rule.logsource),
                    |source| filter.narrow(number, source),
                );
            }
            FilterRuleTarget::Specific(names) => {
                for name in names {
                    let mut found = false;
                    rules.each(
                        |source| source.names().any(|known| known == name),
                        |source| {
                            found = true;
                            filter.narrow(number, source)
                        },
                    );
                    if !found {
                        let known =
                            closest(name, rules.names()).map(|meant| format!("; did you mean {meant:?}?"));
                        let message = format!(
                            "filter.rules: no Sigma rule is called {name:?}{}",
                            known.unwrap_or_default()
                        );
                        errors.push(RuleError { message, ..filter.place.clone() });
                    }
                }
            }
        }
    }
}

impl Filter {
    /// Does the rule's logsource lie in the filter's?
    fn is_for(&self, rule: &LogSource) -> bool {
        let Some(wanted) = &self.rule.logsource else { return true };
        [
            (&wanted.product, &rule.product),
            (&wanted.service, &rule.service),
            (&wanted.category, &rule.category),
        ]
        .into_iter()
        .all(|(wanted, rule)| wanted.is_none() || wanted == rule)
    }

    /// Puts the filter into a rule, and says by what the rule decides otherwise now.
    fn narrow(&self, number: usize, source: &mut Source) -> u128 {
        // Names that begin so are not among `them`.
        let prefix = format!("_filter_{number}_");
        let detection = &mut source.rule.detection;
        let own = self.rule.detection.named.iter();
        detection.named.extend(own.map(|(name, selection)| (format!("{prefix}{name}"), selection.clone())));
        let condition: Vec<_> =
            self.rule.detection.conditions.iter().map(|condition| prefixed(condition, &prefix)).collect();
        for whole in &mut detection.conditions {
            let mut all = vec![whole.clone()];
            all.extend(condition.iter().cloned());
            *whole = ConditionExpr::And(all);
        }
        self.digest
    }
}

/// The condition over selections whose names begin so.
fn prefixed(condition: &ConditionExpr, prefix: &str) -> ConditionExpr {
    let all = |inner: &[ConditionExpr]| inner.iter().map(|inner| prefixed(inner, prefix)).collect();
    match condition {
        ConditionExpr::And(inner) => ConditionExpr::And(all(inner)),
        ConditionExpr::Or(inner) => ConditionExpr::Or(all(inner)),
        ConditionExpr::Not(inner) => ConditionExpr::Not(Box::new(prefixed(inner, prefix))),
        ConditionExpr::Identifier(name) => ConditionExpr::Identifier(format!("{prefix}{name}")),
        ConditionExpr::Selector { quantifier, pattern } => {
            let pattern = match pattern {
                SelectorPattern::Them => "*",
                SelectorPattern::Pattern(pattern) => pattern,
            };
            ConditionExpr::Selector {
                quantifier: quantifier.clone(),
                pattern: SelectorPattern::Pattern(format!("{prefix}{pattern}")),
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use crate::{
        RuleError, RuleFile, RuleSet,
        sigma::tests::{row, rule},
    };

    const HOST: &str = r#"{"host.name":"web1"}"#;

    fn filter(rules: &str, inner: &str) -> String {
        format!("title: f\nlogsource: {{ product: linux }}\nfilter:\n  rules: {rules}\n{inner}")
    }

    fn load(texts: &[String]) -> (RuleSet, Vec<RuleError>) {
        RuleSet::load(vec![RuleFile { path: "r.yml".to_owned(), text: texts.join("---\n") }])
    }

    /// Which rules match a line with these attributes.
    fn matching(texts: &[String], attributes: &str) -> Vec<String> {
        let (set, errors) = load(texts);
        assert!(errors.is_empty(), "{errors:?}");
        let mut places = Vec::new();
        set.matching(&row("x needle", attributes, HOST), &mut places);
        places.into_iter().map(|place| set.rules()[place].title.clone()).collect()
    }

    #[test]
    fn a_filter_narrows_the_rules_that_it_names() {
        let rules = |filter: String| {
            let one = format!("{}name: one\n", rule("one", "product: linux", "- needle"));
            let two = format!("{}id: the-second\n", rule("two", "product: linux", "- needle"));
            vec![one, filter, two]
        };
        let not = "  selection:\n    user: backup\n  condition: not selection\n";
        for (named, left) in [("[one]", vec!["two"]), ("[the-second]", vec!["one"]), ("any", vec![])] {
            let texts = rules(filter(named, not));
            assert_eq!(matching(&texts, r#"{"user":"backup"}"#), left, "{named}");
            assert_eq!(matching(&texts, r#"{"user":"ann"}"#), ["one", "two"]);
        }
        let positive = filter("[one]", "  selection:\n    user: root\n  condition: selection\n");
        assert_eq!(matching(&rules(positive.clone()), r#"{"user":"root"}"#), ["one", "two"]);
        assert_eq!(matching(&rules(positive), r#"{"user":"ann"}"#), ["two"]);
        let elsewhere = filter("any", not).replace("product: linux", "product: windows");
        assert_eq!(matching(&rules(elsewhere), r#"{"user":"backup"}"#), ["one", "two"]);
    }

    #[test]
    fn of_them_means_the_selections_of_whoever_says_it() {
        let all = "title: all\nlogsource: { product: linux }\ndetection:\n  a: [needle]\n  b: [x]\n  condition: all of them\n";
        let any = "  one:\n    user: ann\n  two:\n    user: bob\n  condition: not 1 of them\n";
        let texts = [all.to_owned(), filter("any", any)];
        assert_eq!(matching(&texts, r#"{"user":"eve"}"#), ["all"]);
        assert!(matching(&texts, r#"{"user":"bob"}"#).is_empty());
    }

    #[test]
    fn mistakes_are_said_by_line_and_cost_nothing_else() {
        let base = rule("the rule", "product: linux", "- needle") + "name: a_rule\n";
        for (text, line, part) in [
            (filter("[a_rul]", "  s: { a: b }\n  condition: not s\n"), 12, "did you mean \"a_rule\"?"),
            (filter("[a_rule]", "  s: { a: b }\n  condition: not t\n"), 14, "no selection \"t\""),
            (filter("[a_rule]", "  s: { a|contans: b }\n  condition: not s\n"), 13, "contans"),
            (filter("{}", "  s: { a: b }\n  condition: not s\n"), 12, "ids or names"),
            (filter("[a_rule]", "  s: { a: b }\n"), 0, "condition"),
        ] {
            let (set, errors) = load(&[base.clone(), text]);
            assert_eq!(set.len(), 1);
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert!(errors[0].message.contains(part), "{errors:?}");
            assert!(line == 0 || errors[0].line == Some(line), "{errors:?}");
        }
    }

    #[test]
    fn a_filtered_rule_decides_otherwise() {
        let base = rule("r", "product: linux", "- needle") + "id: r\n";
        let digest = |texts: &[String]| load(texts).0.get("r").unwrap().digest;
        let filtered = |value: &str| filter("[r]", &format!("  s:\n    a: {value}\n  condition: not s\n"));
        let plain = digest(std::slice::from_ref(&base));
        let one = digest(&[base.clone(), filtered("b")]);
        assert_ne!(plain, one);
        assert_eq!(one, digest(&[filtered("b"), base.clone()]), "wherever the filter stands");
        assert_ne!(one, digest(&[base, filtered("c")]));
    }
}
