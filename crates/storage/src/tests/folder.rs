//! What is true of a folder alone: leftovers, empty folders, a disk without room.

use super::folder;
use crate::{Bundles, Error, Reach, Settings, Usage, contract::files, parts::PART_BYTES};
use std::{path::PathBuf, process::Command, time::Duration};

/// Set in the process whose files may not grow.
const CRAMPED: &str = "MILLRACE_STORAGE_CRAMPED";

/// A real refusal by the system in the middle of a write: a child whose files may not grow beyond 1 MiB.
#[tokio::test]
async fn no_room_is_an_error_that_leaves_nothing() {
    const KEY: &str = "logs/20261123/a.shard";
    if let Some(folder) = std::env::var_os(CRAMPED) {
        let folder = PathBuf::from(folder);
        let bundles =
            Bundles::open(&Settings::new(format!("file://{}", folder.join("shards").display()), "")).unwrap();
        for file in ["one-piece", "parts"] {
            let error = bundles.put(KEY, &folder.join(file)).await.unwrap_err();
            assert!(matches!(error, Error::Full { .. }), "{error:?}");
            assert_eq!(files(&folder.join("shards")), [""; 0]);
        }
        bundles.put(KEY, &folder.join("small")).await.unwrap();
        for file in ["one-piece", "parts"] {
            bundles.put(KEY, &folder.join(file)).await.unwrap_err();
            assert_eq!(bundles.list("").await.unwrap(), [(KEY.to_owned(), 1_000)]);
            assert_eq!(files(&folder.join("shards")), [KEY]);
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [("small", 1_000), ("one-piece", 3 << 20), ("parts", 2 * PART_BYTES + 1)] {
        std::fs::write(folder.path().join(name), vec![7; bytes]).unwrap();
    }
    let script = "trap '' XFSZ; ulimit -f 1024 || exit 9; exec \"$0\" --exact tests::folder::no_room_is_an_error_that_leaves_nothing";
    let child = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(CRAMPED, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(files(&folder.path().join("shards")), [KEY]);
}

#[tokio::test]
async fn what_a_killed_upload_left_is_swept_and_never_seen() {
    let bed = folder();
    let key = "logs/20261123/a.shard";
    bed.bundles.put(key, &bed.file(10)).await.unwrap();
    let day = bed.root.join("logs").join("20261123");
    std::fs::write(day.join("b.shard#1"), "torn").unwrap();
    std::fs::write(bed.root.join("c.shard#12"), "torn").unwrap();
    assert_eq!(bed.bundles.list("").await.unwrap(), [(key.to_owned(), 10)]);
    assert_eq!(bed.bundles.usage("").await.unwrap(), Usage { bundles: 1, bytes: 10 });

    let written = std::fs::metadata(day.join("b.shard#1")).unwrap().modified().unwrap();
    assert_eq!(bed.bundles.sweep(written - Duration::from_secs(1)).await.unwrap(), 0, "it may still go on");
    assert_eq!(bed.stored().len(), 3);
    assert_eq!(bed.bundles.sweep(written + Duration::from_secs(1)).await.unwrap(), 8);
    assert_eq!(bed.stored(), [key]);
    assert!(day.exists(), "a folder that holds something stays");
    // An upload of the same key is not in the way of a leftover, nor the other way round.
    std::fs::write(day.join("a.shard#1"), "torn").unwrap();
    bed.bundles.put(key, &bed.file(2 * PART_BYTES)).await.unwrap();
    assert_eq!(bed.bundles.usage("").await.unwrap().bytes, 2 * PART_BYTES as u64);
}

#[tokio::test]
async fn empty_folders_go_once_they_are_old() {
    let bed = folder();
    let key = "logs/20261123/a.shard";
    bed.bundles.put(key, &bed.file(10)).await.unwrap();
    bed.bundles.delete(key).await.unwrap();
    let stream = bed.root.join("logs");
    let emptied = std::fs::metadata(stream.join("20261123")).unwrap().modified().unwrap();
    bed.bundles.sweep(emptied - Duration::from_secs(1)).await.unwrap();
    assert!(stream.join("20261123").exists());
    bed.bundles.sweep(emptied + Duration::from_secs(1)).await.unwrap();
    assert!(!stream.exists());
    assert!(bed.root.exists());
    bed.bundles.put(key, &bed.file(10)).await.unwrap();
}

#[tokio::test]
async fn a_folder_is_no_bundle() {
    let bed = folder();
    bed.bundles.put("logs/20261123/a.shard", &bed.file(10)).await.unwrap();
    for key in ["logs", "logs/20261123"] {
        let error = bed.bundles.reader(key, None, Reach::Parts).await.unwrap_err();
        assert!(matches!(error, Error::Missing { .. }), "{error:?}");
    }
}
