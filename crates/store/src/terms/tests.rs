#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::sample;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn terms_of(row: &Row) -> Vec<Vec<u8>> {
    let mut terms = Vec::new();
    TermWriter::new().each(row, 0, &mut |term| terms.push(term.to_vec()));
    terms
}

fn values_of(terms: &[Vec<u8>], key: &[u8]) -> Vec<Spelled> {
    let rest = terms.iter().filter_map(|term| term.strip_prefix(key)?.strip_prefix(&[0]));
    rest.map(parse).filter(|spelled| *spelled != Spelled::Helper).collect()
}

#[test]
fn a_path_that_looks_like_a_term_is_not_taken_for_one() {
    let keys = ["a", "a\0sb", "a\u{1}", "a\u{1}\u{2}sb", "a\u{1}\u{1}"]
        .map(|path| key(Scope::Attributes, path).unwrap());
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
    assert!(keys.iter().all(|key| !key.contains(&0)));
    assert_eq!(key(Scope::Resource, &"p".repeat(MAX_PATH + 1)), None);
}

#[test]
fn values_are_spelled_by_their_kind() {
    let mut attributes = Attributes::new();
    attributes.set("n", 200);
    attributes.set("s", "Web1");
    attributes.set("l", "x".repeat(MAX_TEXT + 1));
    let mut terms = Vec::new();
    each_of(Scope::Attributes, &attributes, &mut |term| {
        terms.push(String::from_utf8(term.to_vec()).unwrap());
    });
    let long = format!("attributes.l\0c{}", "x".repeat(MAX_TEXT));
    assert_eq!(
        terms,
        [
            "attributes.n",
            "attributes.n\0i200",
            "attributes.s",
            "attributes.s\0sWeb1",
            "attributes.s\0fweb1",
            "attributes.l",
            &long
        ]
    );
}

proptest! {
    /// What a query sees under a path is what the terms say, and there is exactly one such term.
    #[test]
    fn every_value_has_one_term_that_gives_it_back(rows in sample::rows(6)) {
        for row in rows.iter().map(|hot| &hot.row) {
            let terms = terms_of(row);
            for (scope, root) in [(Scope::Attributes, &row.record.attributes), (Scope::Resource, &*row.record.resource)] {
                let mut paths: BTreeSet<String> = sample::PATHS.iter().map(|path| (*path).to_owned()).collect();
                each_value(root, &mut |path, _| paths.extend([path.to_owned()]));
                for path in paths {
                    let key = key(scope, &path).unwrap();
                    let value = root.at(&path);
                    prop_assert_eq!(terms.contains(&key), value.is_some());
                    match (values_of(&terms, &key).as_slice(), value) {
                        // No predicate tells one map from another, nor bytes from their text.
                        ([], None)
                        | ([Spelled::Open], Some(_))
                        | ([Spelled::Value(Value::Map(_))], Some(Value::Map(_))) => {}
                        ([Spelled::Value(Value::String(text))], Some(value @ Value::Bytes(_))) => {
                            prop_assert_eq!(text, &value.to_string());
                        }
                        ([Spelled::Value(spelled)], Some(value)) => {
                            // NaN is not equal to itself; its text is.
                            prop_assert_eq!(format!("{spelled:?}"), format!("{value:?}"));
                        }
                        (other, value) => prop_assert!(false, "{path:?}: {other:?} for {value:?}"),
                    }
                }
            }
        }
    }
}
