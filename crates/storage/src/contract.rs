//! What every store of bundles must do, a folder or a bucket. Each function is given a [`Bed`] with an empty store.

use crate::{Bundles, Error, Reach, Usage, parts::PART_BYTES};
use millrace_test_support::s3::{Fault, Kind, S3Server};
use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, SystemTime},
};
use tempfile::TempDir;

/// An empty store, and a look at it past the code under test.
pub(crate) struct Bed {
    pub(crate) bundles: Bundles,
    /// Another process' handle on the same store.
    pub(crate) other: Bundles,
    pub(crate) folder: TempDir,
    /// Where what is stored lies as files.
    pub(crate) root: PathBuf,
    /// The bucket's server, if it is a bucket.
    pub(crate) server: Option<S3Server>,
    pub(crate) files: AtomicUsize,
}

impl Bed {
    /// A local file of `bytes` bytes, none like its neighbours.
    pub(crate) fn file(&self, bytes: usize) -> PathBuf {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.path().join(format!("sealed-{number}"));
        std::fs::write(&path, content(bytes)).unwrap();
        path
    }

    /// Every file in the store, finished or not.
    pub(crate) fn stored(&self) -> Vec<String> {
        files(&self.root)
    }
}

pub(crate) fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

pub(crate) fn files(root: &Path) -> Vec<String> {
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

/// All bytes of a bundle.
pub(crate) async fn whole(bundles: &Bundles, key: &str) -> Result<Vec<u8>, Error> {
    let reader = bundles.reader(key, None, Reach::Whole).await?;
    let read = tokio::task::spawn_blocking(move || reader.read(0..reader.size()));
    Ok(read.await.unwrap().unwrap())
}

/// Makes a test of each function of the contract. `$lay` gives a bed of its own to each.
macro_rules! tests {
    ($lay:path) => {
        $crate::contract::tests! { @each $lay;
            a_bundle_comes_back_byte_for_byte;
            any_range_is_read_and_none_beyond_the_end;
            what_is_stored_over_a_bundle_takes_its_place;
            a_bundle_of_another_size_is_refused;
            what_is_not_there_is_missing;
            listing_and_usage_go_by_whole_parts;
            more_than_a_page_is_listed;
            deleting_leaves_nothing_and_may_be_repeated;
            no_key_leads_out_of_the_root;
            a_file_that_cannot_be_read_leaves_the_key_as_it_was;
            what_a_dropped_upload_left_is_never_seen;
            puts_and_deletes_do_not_hinder_each_other;
            of_two_puts_of_one_key_one_is_there_whole;
        }
    };
    (@each $lay:path; $($test:ident;)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            let bed = $lay();
            $crate::contract::$test(&bed).await;
        }
    )+};
}
pub(crate) use tests;

pub(crate) async fn a_bundle_comes_back_byte_for_byte(bed: &Bed) {
    // Nothing, one piece, exactly one part, and several parts.
    for bytes in [0, 10_000, PART_BYTES, 3 * PART_BYTES + 17] {
        let file = bed.file(bytes);
        let key = format!("logs/20261123/{bytes}.shard");
        assert_eq!(bed.bundles.put(&key, &file).await.unwrap(), bytes as u64);
        for bundles in [&bed.bundles, &bed.other] {
            assert!(whole(bundles, &key).await.unwrap() == content(bytes), "{bytes} bytes differ");
        }
        assert!(file.exists(), "the caller's file is the caller's");
    }
    assert_eq!(bed.stored().len(), 4, "{:?}", bed.stored());
}

pub(crate) async fn any_range_is_read_and_none_beyond_the_end(bed: &Bed) {
    let size = 2 * PART_BYTES + 17;
    bed.bundles.put("logs/a.shard", &bed.file(size)).await.unwrap();
    let expected = content(size);
    for bytes in [None, Some(size as u64)] {
        let reader = bed.other.reader("logs/a.shard", bytes, Reach::Parts).await.unwrap();
        assert_eq!(reader.size(), size as u64);
        let expected = expected.clone();
        let read = tokio::task::spawn_blocking(move || {
            let (part, end) = (PART_BYTES as u64, reader.size());
            for range in [0..1, 5..5, end..end, end - 9..end, part - 1..part + 1, 300_000..900_000, 0..end] {
                let found = reader.read(range.clone()).unwrap();
                assert!(found == expected[range.start as usize..range.end as usize], "{range:?}");
            }
            #[expect(clippy::reversed_empty_ranges, reason = "as a broken bundle may ask")]
            for range in [0..end + 1, end + 1..end + 2, 9..8] {
                let error = reader.read(range).unwrap_err();
                assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
            }
        });
        read.await.unwrap();
    }
}

pub(crate) async fn what_is_stored_over_a_bundle_takes_its_place(bed: &Bed) {
    let key = "logs/20261123/a.shard";
    for bytes in [10, 2 * PART_BYTES, 5, 5] {
        bed.bundles.put(key, &bed.file(bytes)).await.unwrap();
        assert_eq!(whole(&bed.bundles, key).await.unwrap(), content(bytes));
        assert_eq!(bed.bundles.list("").await.unwrap(), [(key.to_owned(), bytes as u64)]);
    }
}

pub(crate) async fn a_bundle_of_another_size_is_refused(bed: &Bed) {
    let key = "logs/a.shard";
    bed.bundles.put(key, &bed.file(10)).await.unwrap();
    for bundles in [&bed.bundles, &bed.other] {
        for (expected, reach) in [(9, Reach::Parts), (11, Reach::Whole)] {
            let error = bundles.reader(key, Some(expected), reach).await.unwrap_err();
            assert!(matches!(error, Error::Size { found: 10, .. }), "{error:?}");
        }
        assert_eq!(whole(bundles, key).await.unwrap(), content(10), "and is still there");
    }
}

pub(crate) async fn what_is_not_there_is_missing(bed: &Bed) {
    bed.bundles.put("logs/day/a.shard", &bed.file(10)).await.unwrap();
    for key in ["logs/day/b.shard", "nothing", "logs/day/a.shard/x"] {
        for bytes in [None, Some(0), Some(10), Some(100 << 20)] {
            for reach in [Reach::Parts, Reach::Whole] {
                let error = bed.other.reader(key, bytes, reach).await.unwrap_err();
                assert!(
                    matches!(&error, Error::Missing { key: told } if told == key),
                    "{key} {bytes:?}: {error:?}"
                );
            }
        }
    }
}

pub(crate) async fn listing_and_usage_go_by_whole_parts(bed: &Bed) {
    assert_eq!(bed.bundles.list("").await.unwrap(), []);
    for (key, bytes) in
        [("app/20261122/b.shard", 3), ("app/20261122/a.shard", 4), ("app-2/20261122/c.shard", 5)]
    {
        bed.bundles.put(key, &bed.file(bytes)).await.unwrap();
    }
    let all = [("app-2/20261122/c.shard", 5), ("app/20261122/a.shard", 4), ("app/20261122/b.shard", 3)];
    assert_eq!(bed.other.list("").await.unwrap(), all.map(|(key, bytes)| (key.to_owned(), bytes)));
    assert_eq!(bed.other.list("app").await.unwrap().len(), 2);
    assert_eq!(bed.other.list("app/20261122/").await.unwrap().len(), 2);
    assert_eq!(bed.other.list("nothing").await.unwrap(), []);
    // The storage goes by a clock of its own.
    let (ever, never) =
        (SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 365 * 300), SystemTime::UNIX_EPOCH);
    let all = ["app/20261122/a.shard", "app/20261122/b.shard"];
    assert_eq!(bed.other.list_older("app", ever).await.unwrap(), all);
    assert_eq!(bed.other.list_older("", never).await.unwrap(), [""; 0]);
    assert_eq!(bed.other.usage("").await.unwrap(), Usage { bundles: 3, bytes: 12 });
    assert_eq!(bed.other.usage("app").await.unwrap(), Usage { bundles: 2, bytes: 7 });
}

pub(crate) async fn more_than_a_page_is_listed(bed: &Bed) {
    // S3 tells of at most a thousand at once. They are put there past the code, for time's sake.
    std::fs::create_dir_all(bed.root.join("many")).unwrap();
    for number in 0..1005 {
        std::fs::write(bed.root.join(format!("many/{number:04}.shard")), "x").unwrap();
    }
    assert_eq!(bed.bundles.usage("many").await.unwrap(), Usage { bundles: 1005, bytes: 1005 });
}

pub(crate) async fn deleting_leaves_nothing_and_may_be_repeated(bed: &Bed) {
    let key = "logs/20261123/a.shard";
    bed.bundles.put(key, &bed.file(100)).await.unwrap();
    let open = bed.bundles.reader(key, Some(100), Reach::Whole).await.unwrap();
    bed.bundles.delete(key).await.unwrap();
    bed.bundles.delete(key).await.unwrap();
    for bundles in [&bed.bundles, &bed.other] {
        let missing = bundles.reader(key, Some(100), Reach::Parts).await.unwrap_err();
        assert!(matches!(missing, Error::Missing { .. }), "{missing:?}");
    }
    assert_eq!(bed.stored(), [""; 0]);
    // Who had it open keeps it, or is told that it has gone.
    let read = tokio::task::spawn_blocking(move || open.read(0..100)).await.unwrap();
    match read {
        Ok(bytes) => assert_eq!(bytes, content(100)),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
    }
    bed.bundles.put(key, &bed.file(7)).await.unwrap();
    assert_eq!(bed.other.list("logs").await.unwrap(), [(key.to_owned(), 7)]);
    assert_eq!(whole(&bed.other, key).await.unwrap(), content(7));
}

pub(crate) async fn no_key_leads_out_of_the_root(bed: &Bed) {
    let file = bed.file(10);
    let before = files(bed.folder.path());
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
        "a?uploads",
        "größe",
        &long,
    ] {
        for error in [
            bed.bundles.put(key, &file).await.unwrap_err(),
            bed.bundles.reader(key, None, Reach::Whole).await.unwrap_err(),
            bed.bundles.delete(key).await.unwrap_err(),
            bed.bundles.distrust(key).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::Key { .. }), "{key:?}: {error:?}");
        }
    }
    for prefix in ["..", "logs/../..", "//", "a#1"] {
        let error = bed.bundles.list(prefix).await.unwrap_err();
        assert!(matches!(error, Error::Key { .. }), "{prefix:?}: {error:?}");
    }
    assert_eq!(files(bed.folder.path()), before);
    assert_eq!(bed.stored(), [""; 0]);
}

pub(crate) async fn a_file_that_cannot_be_read_leaves_the_key_as_it_was(bed: &Bed) {
    let key = "logs/20261123/a.shard";
    bed.bundles.put(key, &bed.file(10)).await.unwrap();
    let nowhere = bed.folder.path().join("nowhere");
    let error = bed.bundles.put(key, &nowhere).await.unwrap_err();
    assert!(matches!(error, Error::Source { .. }), "{error:?}");
    assert!(error.to_string().contains(&*nowhere.to_string_lossy()), "{error}");
    let error = bed.bundles.put(key, bed.folder.path()).await.unwrap_err();
    assert!(matches!(error, Error::Source { .. }), "a folder is no file: {error:?}");
    assert_eq!(bed.bundles.list("").await.unwrap(), [(key.to_owned(), 10)]);
    assert_eq!(whole(&bed.bundles, key).await.unwrap(), content(10));
}

/// As a process that is killed leaves it: the future of an upload is dropped wherever it is.
pub(crate) async fn what_a_dropped_upload_left_is_never_seen(bed: &Bed) {
    let (old, new) = ("logs/old.shard", "logs/new.shard");
    bed.bundles.put(old, &bed.file(10)).await.unwrap();
    let large = bed.file(2 * PART_BYTES + 5);
    let holding = [Kind::Put, Kind::CreateUpload, Kind::PutPart, Kind::CompleteUpload];
    for kind in holding {
        // In a folder there is nothing to hold it up: it is dropped after its first steps.
        if let Some(server) = &bed.server {
            server.fail(&[kind], Fault::Hold, 1);
        }
        for key in [old, new] {
            let mut upload = Box::pin(bed.bundles.put(key, &large));
            let mut steps = 0;
            while steps < 4 && futures_util::poll!(&mut upload).is_pending() {
                steps += 1;
                tokio::task::yield_now().await;
            }
            drop(upload);
        }
        let seen = bed.other.list("").await.unwrap();
        let whole_ones = [10, 2 * PART_BYTES as u64 + 5];
        assert!(seen.iter().all(|(_, bytes)| whole_ones.contains(bytes)), "{seen:?}");
        if let Some(server) = &bed.server {
            server.heal();
        }
    }
    assert!(bed.other.list("").await.unwrap().iter().any(|(key, _)| key == old));
    // And nothing of it is in the way of the next.
    for key in [old, new] {
        bed.bundles.put(key, &large).await.unwrap();
        assert_eq!(whole(&bed.bundles, key).await.unwrap().len(), 2 * PART_BYTES + 5);
    }
}

pub(crate) async fn puts_and_deletes_do_not_hinder_each_other(bed: &Bed) {
    let file = bed.file(1_000);
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (bundles, file) = (bed.bundles.clone(), file.clone());
            tokio::spawn(async move {
                for number in 0..20 {
                    let key = format!("logs/20261123/{task}-{number}.shard");
                    bundles.put(&key, &file).await.unwrap();
                    assert_eq!(whole(&bundles, &key).await.unwrap().len(), 1000);
                    bundles.delete(&key).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(bed.stored(), [""; 0]);
    assert_eq!(bed.bundles.usage("").await.unwrap(), Usage::default());
}

pub(crate) async fn of_two_puts_of_one_key_one_is_there_whole(bed: &Bed) {
    let key = "logs/a.shard";
    let (small, large) = (bed.file(70_000), bed.file(PART_BYTES + 1));
    for _ in 0..5 {
        let (first, second) =
            futures_util::future::join(bed.bundles.put(key, &small), bed.other.put(key, &large)).await;
        first.unwrap();
        second.unwrap();
        let listed = bed.bundles.list("").await.unwrap();
        assert!([70_000, PART_BYTES as u64 + 1].contains(&listed[0].1), "{listed:?}");
        // Whoever knows which one is meant gets that one, or is told that it is not there.
        let reader = bed.bundles.reader(key, Some(listed[0].1), Reach::Whole).await.unwrap();
        let read = tokio::task::spawn_blocking(move || reader.read(0..reader.size())).await.unwrap();
        assert!(read.unwrap() == content(listed[0].1 as usize));
    }
}
