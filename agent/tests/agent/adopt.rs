//! An agent goes on where another shipper has stopped.

use crate::support::Host;
use millrace_agent::{ReadPosition, adopt};
use std::{fs, os::unix::fs::MetadataExt, path::PathBuf};

fn at(path: PathBuf, position: u64) -> ReadPosition {
    ReadPosition { path: Some(path), device: None, inode: None, position }
}

#[tokio::test]
async fn what_another_shipper_has_read_is_not_read_again() {
    let mut host = Host::new();
    host.append("by-path.log", "one\ntwo\nthree\n");
    host.append("by-inode.log", "four\nfive\n");
    host.append("read.log", "all of it\n");
    host.append("unread.log", "six\n");
    host.append("shorter.log", "seven\n");
    let inode = fs::metadata(host.path("by-inode.log")).unwrap();
    let positions = [
        at(host.path("by-path.log"), 8),
        // It was called otherwise when it was read.
        ReadPosition {
            path: Some(host.path("old-name.log")),
            device: Some(inode.dev()),
            inode: Some(inode.ino()),
            position: 5,
        },
        at(host.path("read.log"), 10),
        at(host.path("shorter.log"), 1000),
        at(host.path("gone.log"), 3),
        ReadPosition { path: None, device: Some(inode.dev() + 1), inode: Some(inode.ino()), position: 2 },
    ];
    let settings = host.settings.clone();
    let adopted = adopt(&settings, &positions).unwrap();
    let taken: Vec<_> =
        adopted.files.iter().map(|(path, name, at)| (path.clone(), name.as_str(), *at)).collect();
    assert_eq!(
        taken,
        [
            (host.path("by-path.log"), "app", 8),
            (host.path("by-inode.log"), "app", 5),
            (host.path("read.log"), "app", 10)
        ]
    );
    assert_eq!(adopted.left.len(), 3);
    assert!(adopted.left[0].1.contains("fewer than were read"), "{:?}", adopted.left);
    assert!(adopted.left[1].1.contains("no source"), "{:?}", adopted.left);
    // A second time nothing is new.
    let again = adopt(&settings, &positions).unwrap();
    assert!(again.files.is_empty() && again.left[0].1.contains("knows it already"), "{:?}", again.left);

    host.append("read.log", "and more\n");
    host.start();
    let shipped = host.shipped_bodies(&["and more", "five", "seven", "six", "three"]).await;
    let adopted = shipped.find(|open| open.path.ends_with("by-path.log"));
    assert_eq!((adopted.start(), adopted.end()), (8, 14));
    assert_eq!(adopted.open().because.as_deref(), Some("adopted"));
    assert!(adopt(&settings, &positions).is_err(), "an agent runs");
    host.stop().await;
    host.check_conservation();

    // It is a source like any other: known again after it was rotated.
    fs::rename(host.path("by-path.log"), host.path("by-path-1.log")).unwrap();
    host.append("by-path-1.log", "late\n");
    host.start();
    host.shipped_bodies(&["and more", "five", "late", "seven", "six", "three"]).await;
    host.stop().await;
}
