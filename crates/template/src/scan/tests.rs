//! What is cut where, and what holds of every line.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{LeafKind, TemplateId, json_leaves, unescape};
use millrace_model::text::tokens;
use proptest::prelude::*;

/// The mask with `*` for each variable, which reads better.
pub(crate) fn mask(line: &str) -> String {
    let mut scan = Scan::default();
    scan.line(line);
    String::from_utf8(scan.mask().to_vec()).unwrap().replace('\0', "*")
}

#[test]
fn words_without_digits_are_constant() {
    for line in ["", " ", "Session opened for user root", "  two\tspaces — Größe", "a-b_c/d", "decade face"]
    {
        assert_eq!(mask(line), line);
    }
}

#[test]
fn a_variable_covers_whole_words() {
    assert_eq!(mask("Served block blk_3007325101749704704 to /10.250.15.67"), "Served block * to /*");
    assert_eq!(mask("10.251.39.192:50010 user_id=42"), "*:* user_id=*");
    assert_eq!(mask("Größe1 x²3 v6.1.7601.23505 core.4862 5.tar"), "* * * core.* *.tar");
    assert_eq!(mask("commit deadbeef by abcdefab1, feedbee"), "commit * by *, feedbee");
}

#[test]
fn a_sign_belongs_to_a_number_that_follows_no_word() {
    assert_eq!(mask("code -1 (-2) 3-4 x-5 --6 - 7 -a8"), "code * (*) *-* x-* -* - * -*");
    assert_eq!(mask("blk_-7983508786213002472 blk_1 x1_-2.5 blk_-a"), "* * * blk_-a");
    assert_eq!(mask("0.5 1.5e-05 2E+3 e-5 1-5"), "* * * e-* *-*");
}

#[test]
fn a_json_line_is_cut_along_its_structure() {
    let line = r#" { "host" : "web-1","n":-1.5e3,"ok":true,"a":[1,{"b":[]}],"o":{"x":"","e":{}},"message":"took 5 ms"}"#;
    assert_eq!(
        mask(line),
        r#" { "host" : "*","n":*,"ok":*,"a":*,"o":{"x":"*","e":{}},"message":"took * ms"}"#
    );
    let mut scan = Scan::default();
    scan.line(line);
    assert!(scan.is_json());
    assert_eq!(
        mask(r#"{"MSG":"a\n5\u00e96 \"7\" x\\8","Message ":"a"}"#),
        r#"{"MSG":"a* \"*\" x\\*","Message ":"*"}"#,
        "the raw line has the word n5"
    );
}

#[test]
fn what_is_no_json_object_is_text() {
    let lines = [
        "{}}",
        "{",
        "{ act=5 }",
        r#"{"a":1"#,
        r#"{"a":01}"#,
        r#"{"a":1,}"#,
        r#"{"a" 1}"#,
        r#"["a"]"#,
        r#"{"a":"\x"}"#,
        r#"{"a":"\ud800"}"#,
        r#"{"a":1} {}"#,
        "{\"a\":\"\t1\"}",
        r#"{,"a":1}"#,
        r#"{"a":tru}"#,
        r#"{"a":[1,]}"#,
    ];
    for line in lines {
        let mut scan = Scan::default();
        scan.line(line);
        assert!(!scan.is_json(), "{line}");
        assert_eq!(json_leaves(scan.mask()), None, "{line}");
    }
}

#[test]
fn some_lines_are_not_cut() {
    let numbers = |count: usize| "1 ".repeat(count);
    assert_eq!(mask("a\u{0}1"), "*");
    assert_eq!(mask(&numbers(200)), "* ".repeat(200));
    assert_eq!(mask(&numbers(201)), "*");
    let object = |count: usize| format!("{{{}}}", vec!["\"a\":1"; count].join(","));
    assert_eq!(mask(&object(200)).matches('*').count(), 200);
    assert_eq!(mask(&object(201)), "*");
    // Its mask as a text would be that of a JSON line.
    assert_eq!(mask(r#"{"a": 1.2.3}"#), "*");
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{}{{}}{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    assert_eq!(mask(&nested(15)), nested(15));
    assert_eq!(mask(&nested(16)), format!("{}*{}", r#"{"a":"#.repeat(16), "}".repeat(16)));
    let arrays = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(mask(&arrays(128)), "{\"a\":*}");
    assert_eq!(mask(&arrays(129)), arrays(129));
    assert!(!mask(&nested(100_000)).is_empty());
}

fn variables<'a>(scan: &Scan, line: &'a str) -> Vec<&'a str> {
    scan.variables().iter().map(|range| &line[range.start as usize..range.end as usize]).collect()
}

/// The words of a mask's constant pieces and of variables, sorted.
fn words_of<'a>(mask: &'a str, variables: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut words: Vec<_> = mask.split('\0').chain(variables).flat_map(tokens).collect();
    words.sort();
    words
}

fn holds_for(line: &str) -> Result<(), TestCaseError> {
    let mut scan = Scan::default();
    scan.line("something else 1 2 3");
    scan.line(line);
    let variables = variables(&scan, line);
    let mut rebuilt = Vec::new();
    rebuild(scan.mask(), variables.iter().map(|text| text.as_bytes()), &mut rebuilt);
    prop_assert_eq!(std::str::from_utf8(&rebuilt).unwrap(), line);
    prop_assert!(scan.variables().is_sorted_by(|a, b| a.end <= b.start && a.start <= a.end));
    prop_assert_eq!(scan.mask().split(|byte| *byte == 0).count(), variables.len() + 1);

    let mask = std::str::from_utf8(scan.mask()).unwrap();
    let leaves = json_leaves(scan.mask());
    prop_assert_eq!(leaves.is_some(), scan.is_json());
    for leaf in leaves.into_iter().flatten().filter(|leaf| leaf.kind == LeafKind::String) {
        let inside = variables[leaf.variables].iter().map(|raw| raw.as_bytes());
        let mut whole = Vec::new();
        rebuild(mask[leaf.content].as_bytes(), inside, &mut whole);
        prop_assert!(unescape(std::str::from_utf8(&whole).unwrap()).is_some());
    }
    let mut expected = tokens(line);
    expected.sort();
    prop_assert_eq!(words_of(mask, variables.iter().copied()), expected);

    let mut again = Scan::default();
    again.line(line);
    prop_assert_eq!(again.mask(), scan.mask());
    prop_assert_eq!(TemplateId::of(again.mask()), TemplateId::of(scan.mask()));
    Ok(())
}

/// Pieces that the rules know, mixed with others.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[0-9]{1,4}",
        "[a-f]{1,9}",
        "[-_.:/,+ T=\"(]",
        "[a-zé_]{1,4}",
        "[0-9a-f]{2,8}",
        Just("2026-01-15T10:20:30.5Z".to_owned()),
        Just("10/Jan/2026:10:20:30 +0100".to_owned()),
        Just("Dec  4 04:47:44 UTC 2005".to_owned()),
        Just("0b7a0b1c-beef-4a4a-8a8a-0123456789ab".to_owned()),
        Just("fe80::1:2".to_owned()),
        Just("00:1a:bb:cc:dd:ee".to_owned()),
        ".",
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        pieces().prop_map(Into::into),
        ".*".prop_map(Into::into),
    ];
    let value = leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::vec((key(), inner), 0..4).prop_map(|members| members.into_iter().collect()),
        ]
    });
    prop::collection::vec((key(), value), 0..6).prop_map(|members| members.into_iter().collect())
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just("message".to_owned()), Just("Log".to_owned()), "[a-z]{1,5}", ".{0,4}"]
}

/// The same JSON in other spellings.
fn respell(json: &str, choices: &[u8]) -> String {
    let mut choices = choices.iter().cycle();
    let mut text = String::new();
    for c in json.chars() {
        let choice = choices.next().copied().unwrap_or_default();
        if !c.is_ascii() && choice % 2 == 0 {
            let mut units = [0; 2];
            text.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else if c == ',' && choice % 4 == 1 {
            text.push_str(" ,");
        } else {
            text.push(c);
        }
    }
    text
}

proptest! {
    #[test]
    fn any_text(line in ".*") {
        holds_for(&line)?;
    }

    #[test]
    fn any_control_characters(line in "(?s)[\\x00-\\x20a-f0-9:{}\"é-]*") {
        holds_for(&line)?;
    }

    #[test]
    fn text_of_known_pieces(line in pieces()) {
        holds_for(&line)?;
    }

    #[test]
    fn any_json(json in json(), choices in prop::collection::vec(any::<u8>(), 1..20)) {
        let line = respell(&json.to_string(), &choices);
        holds_for(&line)?;
        let mut scan = Scan::default();
        scan.line(&line);
        prop_assert!(scan.is_json() || scan.mask() == FREE_TEXT);
    }

    #[test]
    fn broken_json(json in json(), at in any::<prop::sample::Index>(), with in ".?") {
        let mut line = json.to_string();
        let at = line.floor_char_boundary(at.index(line.len()));
        let width = line[at..].chars().next().map_or(0, char::len_utf8);
        line.replace_range(at..at + width, &with);
        holds_for(&line)?;
        let mut scan = Scan::default();
        scan.line(&line);
        let object = serde_json::from_str::<std::collections::HashMap<String, serde_json::Value>>(&line);
        // Serde has bounds of its own, on depth and on the size of numbers.
        if object.is_ok() {
            prop_assert!(scan.is_json() || scan.mask() == FREE_TEXT);
        } else if scan.is_json() {
            let error = object.unwrap_err().to_string();
            prop_assert!(error.contains("out of range") || error.contains("recursion"), "{}", error);
        }
    }

    #[test]
    fn arbitrary_bytes(mask in prop::collection::vec(any::<u8>(), 0..200), values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..8)) {
        json_leaves(&mask);
        let mut line = Vec::new();
        rebuild(&mask, values.iter().map(Vec::as_slice), &mut line);
    }

    #[test]
    fn damaged_masks(json in json(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut scan = Scan::default();
        scan.line(&json.to_string());
        let mut mask = scan.mask().to_vec();
        let at = at.index(mask.len());
        mask[at] = with;
        if let Some(leaves) = json_leaves(&mask) {
            for leaf in leaves {
                prop_assert!(leaf.content.end <= mask.len());
            }
        }
    }
}
