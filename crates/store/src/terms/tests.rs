#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::sample;
use proptest::prelude::*;
use std::collections::BTreeSet;

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
    /// A path has its key among the terms exactly if a query finds something there.
    #[test]
    fn every_path_that_a_query_finds_has_its_key(rows in sample::rows(6)) {
        for row in rows.iter().map(|hot| &hot.row) {
            for (scope, root) in [(Scope::Attributes, &row.record.attributes), (Scope::Resource, &*row.record.resource)] {
                let mut terms = BTreeSet::new();
                each_of(scope, root, &mut |term| { terms.insert(term.to_vec()); });
                let mut paths: BTreeSet<String> = sample::PATHS.iter().map(|path| (*path).to_owned()).collect();
                each_value(root, &mut |path, _| paths.extend([path.to_owned()]));
                for path in paths {
                    prop_assert_eq!(terms.contains(&key(scope, &path).unwrap()), root.at(&path).is_some());
                }
            }
        }
    }
}
