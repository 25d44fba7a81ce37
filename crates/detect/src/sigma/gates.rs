//! Makes rules cheap that the engine would have to try on every record. A keyword with a wildcard becomes a regular
//! expression, which its index of needles knows nothing of; but whatever matches `rm *sh_history` has `sh_history` in it.
//! So such keywords get a condition in front that follows from them, and that the index can look up.

use rsigma_parser::{Detection, SigmaString, SigmaValue, StringPart};

/// Shorter needles are in every other line.
const SHORTEST: usize = 4;

/// Puts gates in front of keywords that have none.
pub(super) fn add(detection: &mut Detection) {
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
}
