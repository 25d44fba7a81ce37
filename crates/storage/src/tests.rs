//! The local store: durable puts, keys that stay inside, and no leftovers.

use super::*;
use std::{process::Command, time::Duration};
use tempfile::TempDir;

/// Set in the process whose files may not grow.
const CRAMPED: &str = "MILLRACE_STORAGE_CRAMPED";

struct Bed {
    bundles: Bundles,
    folder: TempDir,
}

impl Bed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}", folder.path().join("a").join("shards").display());
        Self { bundles: Bundles::open(&url).unwrap(), folder }
    }

    /// A local file of `bytes` bytes, none like its neighbours.
    fn file(&self, bytes: usize) -> PathBuf {
        let path = self.folder.path().join("sealed");
        let content: Vec<u8> = (0..bytes).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Every file below the root, finished or not.
    fn files(&self) -> Vec<String> {
        files(&self.bundles.root)
    }
}

fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort_unstable();
    found
}

#[tokio::test]
async fn a_bundle_comes_back_byte_for_byte() {
    let bed = Bed::new();
    // Nothing, one piece, exactly one part, and several parts.
    for bytes in [0, 10_000, PART_BYTES, 2 * PART_BYTES + 17] {
        let file = bed.file(bytes);
        let key = format!("logs/20261123/{bytes}.shard");
        assert_eq!(bed.bundles.put(&key, &file).await.unwrap(), bytes as u64);
        let local = bed.bundles.local(&key).await.unwrap();
        assert!(std::fs::read(&local).unwrap() == std::fs::read(&file).unwrap(), "{bytes} bytes differ");
        assert!(file.exists(), "the caller's file is the caller's");
    }
    assert_eq!(bed.files().len(), 4, "{:?}", bed.files());
    let file = bed.file(5);
    bed.bundles.put("logs/20261123/0.shard", &file).await.unwrap();
    assert_eq!(std::fs::read(bed.bundles.local("logs/20261123/0.shard").await.unwrap()).unwrap().len(), 5);
}

#[tokio::test]
async fn listing_and_usage_go_by_whole_parts() {
    let bed = Bed::new();
    assert_eq!(bed.bundles.list("").await.unwrap(), []);
    for (key, bytes) in
        [("app/20261122/b.shard", 3), ("app/20261122/a.shard", 4), ("app-2/20261122/c.shard", 5)]
    {
        bed.bundles.put(key, &bed.file(bytes)).await.unwrap();
    }
    let all = [("app-2/20261122/c.shard", 5), ("app/20261122/a.shard", 4), ("app/20261122/b.shard", 3)];
    assert_eq!(bed.bundles.list("").await.unwrap(), all.map(|(key, bytes)| (key.to_owned(), bytes)));
    assert_eq!(bed.bundles.list("app").await.unwrap().len(), 2);
    assert_eq!(bed.bundles.list("app/20261122/").await.unwrap().len(), 2);
    assert_eq!(bed.bundles.list("nothing").await.unwrap(), []);
    assert_eq!(bed.bundles.usage("").await.unwrap(), Usage { bundles: 3, bytes: 12 });
    assert_eq!(bed.bundles.usage("app").await.unwrap(), Usage { bundles: 2, bytes: 7 });
}

#[tokio::test]
async fn deleting_leaves_nothing_and_may_be_repeated() {
    let bed = Bed::new();
    let key = "logs/20261123/a.shard";
    bed.bundles.put(key, &bed.file(100)).await.unwrap();
    let open = std::fs::File::open(bed.bundles.local(key).await.unwrap()).unwrap();
    bed.bundles.delete(key).await.unwrap();
    bed.bundles.delete(key).await.unwrap();
    let missing = bed.bundles.local(key).await.unwrap_err();
    assert!(matches!(missing, Error::Missing { .. }), "{missing:?}");
    assert_eq!(bed.files(), [""; 0]);
    assert_eq!(Read::bytes(open).count(), 100, "who had it open keeps it");
    bed.bundles.put(key, &bed.file(7)).await.unwrap();
    assert_eq!(bed.bundles.list("logs").await.unwrap(), [(key.to_owned(), 7)]);
}

#[tokio::test]
async fn no_key_leads_out_of_the_root() {
    let bed = Bed::new();
    let file = bed.file(10);
    let long = "x".repeat(241);
    for key in [
        "",
        "/etc/passwd",
        "../outside",
        "logs/../../outside",
        "logs/./a",
        "logs//a",
        "logs/",
        "a\\b",
        "a\0b",
        "a%2e%2e/b",
        "a#1",
        "größe",
        &long,
    ] {
        for error in [
            bed.bundles.put(key, &file).await.unwrap_err(),
            bed.bundles.local(key).await.unwrap_err(),
            bed.bundles.delete(key).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::Key { .. }), "{key:?}: {error:?}");
        }
    }
    for prefix in ["..", "logs/../..", "//", "a#1"] {
        let error = bed.bundles.list(prefix).await.unwrap_err();
        assert!(matches!(error, Error::Key { .. }), "{prefix:?}: {error:?}");
    }
    assert_eq!(files(bed.folder.path()), ["sealed"]);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_leaves_the_key_as_it_was() {
    let bed = Bed::new();
    let key = "logs/20261123/a.shard";
    bed.bundles.put(key, &bed.file(10)).await.unwrap();
    let nowhere = bed.folder.path().join("nowhere");
    let error = bed.bundles.put(key, &nowhere).await.unwrap_err();
    assert!(matches!(error, Error::Source { .. }), "{error:?}");
    assert!(error.to_string().contains(&*nowhere.to_string_lossy()), "{error}");
    let error = bed.bundles.put(key, bed.folder.path()).await.unwrap_err();
    assert!(matches!(error, Error::Source { .. }), "a folder is no file: {error:?}");
    assert_eq!(bed.bundles.list("").await.unwrap(), [(key.to_owned(), 10)]);
}

/// A real refusal by the system in the middle of a write: a child whose files may not grow beyond 1 MiB.
#[tokio::test]
async fn no_room_is_an_error_that_leaves_nothing() {
    const KEY: &str = "logs/20261123/a.shard";
    if let Some(folder) = std::env::var_os(CRAMPED) {
        let folder = PathBuf::from(folder);
        let bundles = Bundles::open(&format!("file://{}", folder.join("shards").display())).unwrap();
        for file in ["one-piece", "parts"] {
            let error = bundles.put(KEY, &folder.join(file)).await.unwrap_err();
            assert!(matches!(error, Error::Full { .. }), "{error:?}");
            assert_eq!(files(&bundles.root), [""; 0]);
        }
        bundles.put(KEY, &folder.join("small")).await.unwrap();
        for file in ["one-piece", "parts"] {
            bundles.put(KEY, &folder.join(file)).await.unwrap_err();
            assert_eq!(bundles.list("").await.unwrap(), [(KEY.to_owned(), 1_000)]);
            assert_eq!(files(&bundles.root), [KEY]);
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [("small", 1_000), ("one-piece", 3 << 20), ("parts", 2 * PART_BYTES + 1)] {
        std::fs::write(folder.path().join(name), vec![7; bytes]).unwrap();
    }
    let script = "trap '' XFSZ; ulimit -f 1024 || exit 9; exec \"$0\" --exact tests::no_room_is_an_error_that_leaves_nothing";
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
    let bed = Bed::new();
    let key = "logs/20261123/a.shard";
    bed.bundles.put(key, &bed.file(10)).await.unwrap();
    let day = bed.bundles.root.join("logs").join("20261123");
    std::fs::write(day.join("b.shard#1"), "torn").unwrap();
    std::fs::write(bed.bundles.root.join("c.shard#12"), "torn").unwrap();
    assert_eq!(bed.bundles.list("").await.unwrap(), [(key.to_owned(), 10)]);
    assert_eq!(bed.bundles.usage("").await.unwrap(), Usage { bundles: 1, bytes: 10 });

    let written = std::fs::metadata(day.join("b.shard#1")).unwrap().modified().unwrap();
    assert_eq!(bed.bundles.sweep(written - Duration::from_secs(1)).await.unwrap(), 0, "it may still go on");
    assert_eq!(bed.files().len(), 3);
    assert_eq!(bed.bundles.sweep(written + Duration::from_secs(1)).await.unwrap(), 8);
    assert_eq!(bed.files(), [key]);
    assert!(day.exists(), "a folder that holds something stays");
    // An upload of the same key is not in the way of a leftover, nor the other way round.
    std::fs::write(day.join("a.shard#1"), "torn").unwrap();
    bed.bundles.put(key, &bed.file(2 * PART_BYTES)).await.unwrap();
    assert_eq!(bed.bundles.usage("").await.unwrap().bytes, 2 * PART_BYTES as u64);
}

#[tokio::test]
async fn empty_folders_go_once_they_are_old() {
    let bed = Bed::new();
    let key = "logs/20261123/a.shard";
    bed.bundles.put(key, &bed.file(10)).await.unwrap();
    bed.bundles.delete(key).await.unwrap();
    let stream = bed.bundles.root.join("logs");
    let emptied = std::fs::metadata(stream.join("20261123")).unwrap().modified().unwrap();
    bed.bundles.sweep(emptied - Duration::from_secs(1)).await.unwrap();
    assert!(stream.join("20261123").exists());
    bed.bundles.sweep(emptied + Duration::from_secs(1)).await.unwrap();
    assert!(!stream.exists());
    assert!(bed.bundles.root.exists());
    bed.bundles.put(key, &bed.file(10)).await.unwrap();
}

#[tokio::test]
async fn puts_and_deletes_of_one_day_do_not_hinder_each_other() {
    let bed = Bed::new();
    let file = bed.file(1_000);
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (bundles, file) = (bed.bundles.clone(), file.clone());
            tokio::spawn(async move {
                for number in 0..20 {
                    let key = format!("logs/20261123/{task}-{number}.shard");
                    bundles.put(&key, &file).await.unwrap();
                    bundles.local(&key).await.unwrap();
                    bundles.delete(&key).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(bed.files(), [""; 0]);
}

#[test]
fn urls_and_folders_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = format!("file://{}", file.join("below").display());
    let is_file = format!("file://{}", file.display());
    for (url, expected) in [
        ("s3://key:hunter2@bucket/prefix", "unsupported storage url scheme \"s3\""),
        ("/var/lib/shards", "unsupported storage url scheme \"\""),
        ("file:shards", "expected // after file:"),
        ("file://shards", "expected an absolute path"),
        (below.as_str(), "cannot use the storage folder"),
        (is_file.as_str(), "cannot use the storage folder"),
    ] {
        let error = Bundles::open(url).unwrap_err().to_string();
        assert!(error.contains(expected), "{url}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
