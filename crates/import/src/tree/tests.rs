#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::variables::Dialect;
use std::path::Path;

fn read(text: &str) -> Node {
    let builder = Builder { dotted: true, ..Builder::new(Dialect::Braces) };
    yaml(text, Path::new("a.yml"), &builder).unwrap()
}

const REASONS: Reasons = &[("a.b", "because"), ("b", "another")];

fn told(root: &Node) -> Vec<String> {
    root.left_out(REASONS).into_iter().map(|left| format!("{}: {}", left.at, left.why)).collect()
}

#[test]
fn what_nobody_takes_is_told_with_the_best_reason() {
    let root = read("a: {b: 1, c: [1, {d: 2}]}\ne.b: 3\nf: {}\ng: ~\nh: {i: {j: 1}}\n");
    let other = "Millrace has no such setting";
    let all = ["a.b: because".to_owned(), format!("a.c: {other}"), "e.b: another".to_owned()];
    let rest = ["f", "g", "h"].map(|at| format!("{at}: {other}"));
    assert_eq!(told(&root), [all.as_slice(), &rest].concat());
    root.find("a.c").unwrap().items()[1].get("d").unwrap().take();
    assert_eq!(told(&root)[1], format!("a.c[0]: {other}"));
    root.get("a").unwrap().leave("all of it");
    assert_eq!(told(&root)[..2], ["a: all of it".to_owned(), "e.b: another".to_owned()]);
    root.get("h").unwrap().take_all();
    assert!(!told(&root).iter().any(|told| told.starts_with('h')));
}

#[test]
fn values_are_read_as_what_they_should_be() {
    let root = read(
        "t: x\nn: 12\nf: 1.5\nb: on\nv: '${V}'\no: '${a.b}'\nl: [1, x, {y: 1}]\nbig: 18446744073709551615\n",
    );
    let get = |key: &str| root.get(key).unwrap();
    assert_eq!(
        (get("t").text(), get("n").text(), get("f").text()),
        (Some("x".into()), Some("12".into()), Some("1.5".into()))
    );
    assert_eq!((get("n").count(), get("f").number(), get("b").flag()), (Some(12), Some(1.5), Some(true)));
    assert_eq!(
        (get("t").count(), get("t").flag(), get("v").count(), get("o").text()),
        (None, None, None, None)
    );
    assert!(get("v").text().is_some() && get("v").plain().is_none());
    assert_eq!(get("l").texts(), ["1", "x"]);
    assert!(get("big").text().is_some());
    let told = told(&root).join("\n");
    for part in
        ["t: no whole number", "v: a variable stands here", "o: ${a.b} is not", "l[2]: a text was expected"]
    {
        assert!(told.contains(part), "{part} in {told}");
    }
}
