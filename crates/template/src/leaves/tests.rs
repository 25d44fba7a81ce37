//! Leaves lie where the line's values lie.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::Scan;

#[test]
fn leaves_are_named_by_their_keys() {
    let mut scan = Scan::default();
    scan.line(r#"{"a\u0041":{"b":[1],"message":"x 1 y 2"},"c":"d","msg":"","log":"none","n":5}"#);
    let leaves = json_leaves(scan.mask()).unwrap();
    let seen: Vec<_> = leaves
        .iter()
        .map(|leaf| {
            (leaf.path.join("/"), leaf.kind, &scan.mask()[leaf.content.clone()], leaf.variables.clone())
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("aA/b".to_owned(), LeafKind::Bare, &b"\0"[..], 0..1),
            ("aA/message".to_owned(), LeafKind::String, b"x \0 y \0", 1..3),
            ("c".to_owned(), LeafKind::String, b"\0", 3..4),
            ("msg".to_owned(), LeafKind::String, b"", 4..4),
            ("log".to_owned(), LeafKind::String, b"none", 4..4),
            ("n".to_owned(), LeafKind::Bare, b"\0", 4..5),
        ]
    );
}

#[test]
fn other_masks_have_none() {
    for mask in [
        &b""[..],
        b"\0",
        b"{",
        b"{\"a\":1}",
        b"{\"a\":\"x\"}",
        b"{\"a\":\"\0\0\"}",
        b"{\"a\":\0\0}",
        b"{\"\0\":\0}",
        b"{\"msg\":\"\xff\"}",
    ] {
        assert_eq!(json_leaves(mask), None, "{mask:?}");
    }
}
