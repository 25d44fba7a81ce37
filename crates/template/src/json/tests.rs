//! The scanner takes what JSON is and nothing else; more of it is tested with whole lines.

use super::*;
use crate::Scan;

#[test]
fn bare_values_follow_the_grammar() {
    let is_valid = |value: &str| {
        let mut scan = Scan::default();
        scan.line(&format!("{{\"a\":{value}}}"));
        scan.is_json()
    };
    for value in [
        "0",
        "-0",
        "10",
        "-1.5E+10",
        "1e5",
        "null",
        "[]",
        "[ ]",
        "[[],{}]",
        "{\"a\":{ }}",
        "[{\"a\" : [1 , 2]}]",
    ] {
        assert!(is_valid(value), "{value}");
    }
    for value in [
        "",
        "00",
        "-",
        "+1",
        ".5",
        "1.",
        "1e",
        "nul",
        "nulll",
        "[,]",
        "[1 2]",
        "[}",
        "{]",
        "[{\"a\"}]",
        "[{\"a\":}]",
        "[{1:2}]",
        "[{\"a\":1,}]",
        "\u{0}",
        "'a'",
        "NaN",
    ] {
        assert!(!is_valid(value), "{value}");
    }
}

#[test]
fn strings_end_where_they_end() {
    for length in 0..40 {
        let text = "é".repeat(length) + "x";
        for (end, expected) in
            [("\"", true), ("\u{1f}\"", false), ("\\\"", false), ("\\\"\"", true), ("", false)]
        {
            let raw = format!("{text}{end}");
            let mut bits = Bits::default();
            bits.read(raw.as_bytes());
            let found = string::<false>(raw.as_bytes(), &|at| bits.next_mark(at), 0);
            assert_eq!(found.map(|(at, _)| at), expected.then(|| raw.len() - 1), "{raw}");
            assert_eq!(found, string::<false>(raw.as_bytes(), &|at| plain(raw.as_bytes(), at), 0), "{raw}");
        }
    }
}
