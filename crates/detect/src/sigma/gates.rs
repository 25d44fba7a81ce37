//! Makes rules cheap that the engine would have to try on every record. It looks up, in an index of fields, values and
//! needles, which rules a record can match at all; what it looks up of a rule is helped along here, without a change to
//! what the rule means:
//! - A keyword with a wildcard becomes a regular expression, of which that index knows nothing; but whatever matches
//!   `rm *sh_history` has `sh_history` in it. So such keywords get a condition in front that follows from them.
//! - A value that a field has in every other record, such as `GET` of `cs-method`, is the first thing that the index would
//!   go by. Spelled as a regular expression it is the last, and the rest of the rule is looked up.

use rsigma_parser::{Detection, DetectionItem, Modifier, SigmaRule, SigmaString, SigmaValue, StringPart};

/// Shorter needles are in every other line.
const SHORTEST: usize = 4;

/// Fields of few values, which say little.
const COMMON: [&str; 5] = ["cs-method", "type", "SYSCALL", "nametype", "Initiated"];

/// Helps the engine to look up a rule.
pub(super) fn help(rule: &mut SigmaRule) {
    let mut selects = false;
    for detection in rule.detection.named.values_mut() {
        add(detection);
        super::each_item(detection, &mut |item| selects |= !is_common(item));
        selects |= has_keywords(detection);
    }
    if selects {
        rule.detection.named.values_mut().for_each(|detection| super::each_item_mut(detection, &mut demote));
    }
}

fn is_common(item: &DetectionItem) -> bool {
    item.field.name.as_deref().is_some_and(|name| COMMON.contains(&name))
}

fn has_keywords(detection: &Detection) -> bool {
    match detection {
        Detection::Keywords(_) => true,
        Detection::AnyOf(inner) | Detection::And(inner) => inner.iter().any(has_keywords),
        _ => false,
    }
}

/// Spells the plain values of a common field as regular expressions.
fn demote(item: &mut DetectionItem) {
    if !is_common(item) || !item.field.modifiers.is_empty() {
        return;
    }
    let expressions = item.values.iter().map(|value| match value {
        SigmaValue::String(text) => {
            let text = text.as_plain().filter(|text| text.is_ascii())?;
            let expression = format!("(?i-u)^{}$", regex::escape(&text));
            Some(SigmaValue::String(SigmaString::from_raw(&expression)))
        }
        _ => None,
    });
    if let Some(expressions) = expressions.collect() {
        item.values = expressions;
        item.field.modifiers.push(Modifier::Re);
    }
}

/// Puts gates in front of keywords that have none.
fn add(detection: &mut Detection) {
    match detection {
        Detection::Keywords(values) => {
            if let Some(gate) = gate(values) {
                let keywords = std::mem::take(values);
                *detection = Detection::And(vec![Detection::Keywords(gate), Detection::Keywords(keywords)]);
            }
        }
        Detection::AnyOf(inner) | Detection::And(inner) => inner.iter_mut().for_each(add),
        Detection::AllOf(_) | Detection::ArrayMatch { .. } | Detection::Conditional { .. } => {}
    }
}

/// Keywords without wildcards of which one is found wherever one of these is; `None`: there are none, or none are needed.
fn gate(values: &[SigmaValue]) -> Option<Vec<SigmaValue>> {
    let mut any_wildcard = false;
    let gate = values.iter().map(|value| {
        let SigmaValue::String(text) = value else { return None };
        any_wildcard |= text.contains_wildcards();
        let plain = text.parts.iter().filter_map(|part| match part {
            StringPart::Plain(text) => Some(text.as_str()),
            StringPart::Special(_) => None,
        });
        let longest = plain.max_by_key(|text| text.len())?;
        let selects = !text.contains_wildcards() || longest.len() >= SHORTEST;
        selects.then(|| SigmaValue::String(SigmaString::from_raw(longest)))
    });
    let gate: Option<Vec<_>> = gate.collect();
    gate.filter(|_| any_wildcard)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::{RuleFile, RuleSet};

    fn gate_of(values: &[&str]) -> Option<Vec<String>> {
        let values: Vec<_> = values.iter().map(|text| SigmaValue::String(SigmaString::new(text))).collect();
        let mut detection = Detection::Keywords(values.clone());
        add(&mut detection);
        match detection {
            Detection::And(both) => {
                assert_eq!(both[1], Detection::Keywords(values), "what decides stays as it is");
                let Detection::Keywords(gate) = &both[0] else { return None };
                let texts = gate.iter().map(|value| match value {
                    SigmaValue::String(text) => text.as_plain().unwrap(),
                    other => format!("{other:?}"),
                });
                Some(texts.collect())
            }
            _ => None,
        }
    }

    #[test]
    fn a_gate_is_what_every_match_has_in_it() {
        assert_eq!(gate_of(&["rm *sh_history", "id"]), Some(vec!["sh_history".to_owned(), "id".to_owned()]));
        assert_eq!(gate_of(&["plain", "texts"]), None, "the engine knows these");
        assert_eq!(gate_of(&["*a*b*", "texts"]), None, "too little to look for");
        assert_eq!(gate_of(&["a\\*?long one"]), Some(vec!["long one".to_owned()]));
    }

    #[test]
    fn a_common_value_means_what_it_did() {
        let matches = |selection: &str, method: &str| {
            let selection = format!("{{ {selection}, cs-uri-stem: /a }}");
            let text = crate::sigma::tests::rule("r", "category: webserver", &selection);
            let (set, errors) = RuleSet::load(vec![RuleFile { path: "r.yml".to_owned(), text }]);
            assert!(errors.is_empty(), "{errors:?}");
            let mut places = Vec::new();
            let attributes = format!(r#"{{"cs-method":{method},"cs-uri-stem":"/a"}}"#);
            set.matching(&crate::sigma::tests::row("x", &attributes, "{}"), &mut places);
            places.len() == 1
        };
        for (selection, value, expected) in [
            ("cs-method: GET", r#""GET""#, true),
            ("cs-method: GET", r#""get""#, true),
            ("cs-method: GET", r#""GETS""#, false),
            ("cs-method: [GET, 'M-SEARCH']", r#""m-search""#, true),
            ("cs-method: [GET, 'M-SEARCH']", r#"["PUT","GET"]"#, true),
            ("cs-method: 'P*'", r#""PUT""#, true),
            ("cs-method|startswith: P", r#""PUT""#, true),
            ("cs-method: 'a.b'", r#""axb""#, false),
        ] {
            assert_eq!(matches(selection, value), expected, "{selection} {value}");
        }
    }
}
