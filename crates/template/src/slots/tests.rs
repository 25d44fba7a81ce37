//! Where slots are, and that opening one leaves the others where they are.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use proptest::prelude::*;

fn slots(mask: &str) -> Vec<&str> {
    let mut found = Vec::new();
    find(mask.as_bytes(), &mut found);
    found.into_iter().map(|slot| &mask[slot]).collect()
}

#[test]
fn slots_lie_between_delimiters() {
    assert_eq!(
        slots("Invalid user root from ns.a-b.com:\0."),
        ["Invalid", "user", "root", "from", "ns.a-b.com:\0"]
    );
    assert_eq!(slots("(a) [b|c] {\"d e\"}; 'f', g=h: ..."), ["a", "b", "c", "d", "e", "f", "g", "h"]);
    assert_eq!(slots("size:    12 kB  "), ["size", "   12", "kB"]);
    assert_eq!(slots("f() a= b=, [] \"\" {x"), ["f", "", "a", "", "b", "", "", "", "x"]);
    assert_eq!(slots(""), [""; 0]);
}

#[test]
fn of_json_lines_only_texts_have_slots() {
    let mask = "{\"host\":\"\0\",\"n\":\0,\"o\":{\"msg\":\"x\\ty \\\"z\\\\\\u00e9\\\" \0\"},\"log\":\"\"}";
    assert_eq!(slots(mask), ["x\\ty", "z\\\\\\u00e9", "\0"]);
    assert_eq!(slots("{\"host\":\"a\"}"), ["host", "a"]);
}

proptest! {
    #[test]
    fn an_open_slot_is_a_slot(
        mask in "([a-z\\x00=\"'(){}.:, \\\\é]|\\{\"msg\":\"|\"\\})*",
        chosen in any::<prop::sample::Index>(),
    ) {
        let mut before = Vec::new();
        find(mask.as_bytes(), &mut before);
        prop_assert!(before.is_sorted_by(|a, b| a.end <= b.start && a.start <= a.end));
        if !before.is_empty() {
            let at = chosen.index(before.len());
            let slot = before[at].clone();
            let opened = format!("{}\0{}", &mask[..slot.start], &mask[slot.end..]);
            // A text may come to read as a JSON object's mask; then it is another thing.
            if json::scan_mask(opened.as_bytes(), &mut Texts { mask: opened.as_bytes(), found: Vec::new() }).is_some() {
                return Ok(());
            }
            let mut after = Vec::new();
            find(opened.as_bytes(), &mut after);
            let shift = |place: usize| if place >= slot.end { place + 1 - slot.len() } else { place };
            let expected: Vec<_> = before
                .iter()
                .map(|range| if *range == slot { slot.start..slot.start + 1 } else { shift(range.start)..shift(range.end) })
                .collect();
            prop_assert_eq!(after, expected, "{:?} {:?}", mask, opened);
        }
    }

    #[test]
    fn any_bytes(mask in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut found = Vec::new();
        find(&mask, &mut found);
        prop_assert!(found.iter().all(|slot| mask.get(slot.clone()).is_some()));
    }
}

#[test]
fn slots_of_json_stay_when_one_is_opened() {
    let mask = "{\"msg\":\"a \\n b= \\\"\\\" (c)\",\"x\":\0}";
    let mut before = Vec::new();
    find(mask.as_bytes(), &mut before);
    for slot in &before {
        let opened = [&mask.as_bytes()[..slot.start], b"\0", &mask.as_bytes()[slot.end..]].concat();
        let mut after = Vec::new();
        find(&opened, &mut after);
        assert_eq!(after.len(), before.len(), "{}", String::from_utf8(opened).unwrap());
    }
}
