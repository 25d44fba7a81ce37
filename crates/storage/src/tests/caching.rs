//! The copies of a bucket's bundles: that they are used, bounded, and never in the way.

use super::{bucket, bucket_settings, bucket_with};
use crate::{
    Bundles, Error, Reach, Reader,
    contract::{Bed, content, files, whole},
    parts::PART_BYTES,
};
use millrace_test_support::{
    s3::{Fault, Kind, S3Server},
    wait,
};
use std::{os::unix::fs::MetadataExt, sync::Arc, time::Duration};

const MIB: usize = 1 << 20;
const DEADLINE: Duration = Duration::from_secs(20);

fn server(bed: &Bed) -> &S3Server {
    bed.server.as_ref().unwrap()
}

async fn stored(bed: &Bed, names: &[&str], bytes: usize) {
    for name in names {
        bed.bundles.put(name, &bed.file(bytes)).await.unwrap();
    }
    server(bed).forget();
}

async fn open(bundles: &Bundles, key: &str, bytes: usize) -> Reader {
    bundles.reader(key, Some(bytes as u64), Reach::Parts).await.unwrap()
}

async fn read(reader: &Arc<Reader>, range: std::ops::Range<u64>) -> std::io::Result<Vec<u8>> {
    let reader = Arc::clone(reader);
    tokio::task::spawn_blocking(move || reader.read(range)).await.unwrap()
}

/// What the files of a folder take on disk, holes left out.
fn bytes_in(folder: &std::path::Path) -> u64 {
    let names = files(folder);
    names
        .iter()
        .map(|name| std::fs::metadata(folder.join(name)).map_or(0, |metadata| metadata.blocks() * 512))
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_used_longest_ago_goes_and_the_bound_holds() {
    let bed = bucket_with(|settings| settings.cache_bytes = 3 << 20);
    stored(&bed, &["a", "b", "c", "d"], MIB).await;
    let others = bed.folder.path().join("other-copies");
    for name in ["a", "b", "c"] {
        open(&bed.other, name, MIB).await;
    }
    open(&bed.other, "a", MIB).await;
    assert_eq!(server(&bed).requests(Kind::Get), 3);
    open(&bed.other, "d", MIB).await;
    assert!(bytes_in(&others) <= 3 << 20);
    server(&bed).forget();
    open(&bed.other, "a", MIB).await;
    open(&bed.other, "c", MIB).await;
    open(&bed.other, "d", MIB).await;
    assert_eq!(server(&bed).requests(Kind::Get), 0, "b was used longest ago");
    open(&bed.other, "b", MIB).await;
    assert_eq!(server(&bed).requests(Kind::Get), 1);
    assert_eq!(bed.other.metrics().evictions.get(), 2);
    assert_eq!(bed.other.metrics().cache_bytes.get(), 3 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_whose_copy_goes_reads_on() {
    let bed = bucket_with(|settings| settings.cache_bytes = 2 << 20);
    stored(&bed, &["a", "b", "c"], MIB).await;
    let reader = Arc::new(open(&bed.other, "a", MIB).await);
    open(&bed.other, "b", MIB).await;
    open(&bed.other, "c", MIB).await;
    assert_eq!(bed.other.metrics().evictions.get(), 1);
    assert_eq!(read(&reader, 10..300_000).await.unwrap(), content(MIB)[10..300_000]);
    assert_eq!(read(&reader, 0..MIB as u64).await.unwrap(), content(MIB));
    assert!(bytes_in(&bed.folder.path().join("other-copies")) <= 2 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_outlive_the_process_and_unfinished_ones_do_not() {
    let bed = bucket();
    stored(&bed, &["a", "b"], MIB).await;
    let settings = bucket_settings(server(&bed), bed.folder.path(), "third");
    let bundles = Bundles::open(&settings).unwrap();
    open(&bundles, "a", MIB).await;
    let names = || files(&settings.cache_dir).into_iter().filter(|name| name != "lock").collect::<Vec<_>>();
    wait::until_true("the copy has its name", DEADLINE, || names().iter().any(|name| !name.contains('#')));
    let copy = names().remove(0);
    drop(bundles);
    let foreign = ["notes.txt", &format!("{copy}#x")].map(|name| settings.cache_dir.join(name));
    for path in &foreign {
        std::fs::write(path, "mine").unwrap();
    }
    std::fs::write(settings.cache_dir.join(format!("{copy}#7")), "torn").unwrap();
    server(&bed).forget();
    let bundles = Bundles::open(&settings).unwrap();
    assert_eq!(whole(&bundles, "a").await.unwrap(), content(MIB));
    assert_eq!(server(&bed).requests(Kind::Get), 0);
    assert!(!settings.cache_dir.join(format!("{copy}#7")).exists());
    assert!(foreign.iter().all(|path| path.exists()), "what is not ours stays");
    drop(bundles);
    // A bound that is lower now is kept at once.
    let settings = crate::Settings { cache_bytes: 1000, ..settings };
    Bundles::open(&settings).unwrap();
    assert!(!settings.cache_dir.join(copy).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_many_ask_for_at_once_is_fetched_once() {
    let bed = bucket();
    stored(&bed, &["small"], MIB).await;
    stored(&bed, &["large"], 3 * PART_BYTES).await;
    server(&bed).fail(&[Kind::Get], Fault::Hold, usize::MAX);
    let small: Vec<_> = (0..8)
        .map(|_| {
            let bundles = bed.other.clone();
            tokio::spawn(async move { open(&bundles, "small", MIB).await })
        })
        .collect();
    wait::until_true("one asks", DEADLINE, || server(&bed).requests(Kind::Get) == 1);
    server(&bed).heal();
    for reader in small {
        assert_eq!(read(&Arc::new(reader.await.unwrap()), 0..10).await.unwrap(), content(10));
    }
    assert_eq!(server(&bed).requests(Kind::Get), 1);
    let large = Arc::new(open(&bed.other, "large", 3 * PART_BYTES).await);
    server(&bed).forget();
    let reads = (0..8u64).map(|nth| read(&large, nth * 10..100_000));
    for found in futures_util::future::join_all(reads).await {
        assert!(content(100_000).ends_with(&found.unwrap()));
    }
    assert_eq!(server(&bed).requests(Kind::Get), 1);
    // If who was to fetch it fails, another does.
    server(&bed).fail(&[Kind::Get], Fault::Status(404), 1);
    let far = 2 * PART_BYTES as u64;
    let both = futures_util::future::join(read(&large, far..far + 9), read(&large, far..far + 9)).await;
    let right: Vec<_> = [both.0, both.1].into_iter().flatten().collect();
    assert_eq!(right, [&content(3 * PART_BYTES)[far as usize..far as usize + 9]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_takes_nothing_is_no_failure() {
    let bed = bucket();
    stored(&bed, &["a"], MIB).await;
    stored(&bed, &["large"], 2 * PART_BYTES).await;
    // A folder that is no longer there stands for a disk that is full or broken: root may write anywhere else.
    let copies = bed.folder.path().join("other-copies");
    std::fs::remove_dir_all(&copies).unwrap();
    assert_eq!(whole(&bed.other, "a").await.unwrap(), content(MIB));
    let large = Arc::new(open(&bed.other, "large", 2 * PART_BYTES).await);
    assert!(
        read(&large, 3..PART_BYTES as u64 + 9).await.unwrap() == content(2 * PART_BYTES)[3..PART_BYTES + 9]
    );
    assert!(whole(&bed.other, "large").await.unwrap() == content(2 * PART_BYTES));
    assert_eq!(bed.other.metrics().cache_bytes.get(), 0);
    std::fs::create_dir(&copies).unwrap();
    server(&bed).forget();
    for _ in 0..2 {
        assert_eq!(whole(&bed.other, "a").await.unwrap(), content(MIB));
    }
    assert_eq!(server(&bed).requests(Kind::Get), 1, "once it takes copies again they are kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_was_taken_away_or_cut_short_is_fetched_again() {
    let bed = bucket();
    stored(&bed, &["a"], MIB).await;
    let copies = bed.folder.path().join("other-copies");
    let reader = Arc::new(open(&bed.other, "a", MIB).await);
    let spoil = |bytes: u64| {
        for name in files(&copies).iter().filter(|name| *name != "lock") {
            let file = std::fs::File::options().write(true).open(copies.join(name)).unwrap();
            file.set_len(bytes).unwrap();
        }
    };
    spoil(1000);
    assert_eq!(read(&reader, 5000..6000).await.unwrap(), content(MIB)[5000..6000]);
    drop(reader);
    assert_eq!(whole(&bed.other, "a").await.unwrap(), content(MIB));
    for name in files(&copies).iter().filter(|name| *name != "lock") {
        std::fs::remove_file(copies.join(name)).unwrap();
    }
    assert_eq!(whole(&bed.other, "a").await.unwrap(), content(MIB));
    // One whose bytes are wrong is known as that by who reads it, and let go.
    bed.other.distrust("a").await.unwrap();
    server(&bed).forget();
    assert_eq!(whole(&bed.other, "a").await.unwrap(), content(MIB));
    assert_eq!(server(&bed).requests(Kind::Get), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_is_deleted_while_it_is_read_is_read_or_missed() {
    let bed = bucket();
    stored(&bed, &["small"], MIB).await;
    stored(&bed, &["large"], 3 * PART_BYTES).await;
    let small = Arc::new(open(&bed.other, "small", MIB).await);
    let large = Arc::new(open(&bed.other, "large", 3 * PART_BYTES).await);
    let end = 3 * PART_BYTES as u64;
    for name in ["small", "large"] {
        bed.bundles.delete(name).await.unwrap();
    }
    assert_eq!(read(&small, 0..MIB as u64).await.unwrap(), content(MIB));
    assert_eq!(read(&large, end - 100..end).await.unwrap(), content(3 * PART_BYTES)[end as usize - 100..]);
    let error = read(&large, 0..100).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    assert!(error.to_string().contains("large"), "{error}");
    drop((small, large));
    // The copy of a bundle that another process has deleted is found until it goes.
    open(&bed.other, "small", MIB).await;
    bed.other.delete("small").await.unwrap();
    let error = bed.other.reader("small", Some(MIB as u64), Reach::Parts).await.unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error:?}");
}

/// Many threads over little room: whatever goes and comes back, what is read is right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_is_right_while_copies_come_and_go() {
    let bed = bucket_with(|settings| settings.cache_bytes = 2 << 20);
    let names = ["a", "b", "c", "d", "e"];
    stored(&bed, &names, MIB + 12_345).await;
    let tasks: Vec<_> = (0..4usize)
        .map(|task| {
            let bundles = bed.other.clone();
            tokio::spawn(async move {
                for round in 0..25 {
                    let name = names[(task * 7 + round * 3) % names.len()];
                    let reader = Arc::new(open(&bundles, name, MIB + 12_345).await);
                    let from = (task * 100_003 + round * 33_331) % MIB;
                    let found = read(&reader, from as u64..from as u64 + 12_000).await.unwrap();
                    assert!(found == content(MIB + 12_345)[from..from + 12_000], "{name} from {from}");
                    if round % 10 == task {
                        bundles.distrust(name).await.unwrap();
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let bytes = bed.other.metrics().cache_bytes.get();
    assert!(bytes <= 2 << 20, "{bytes}");
    // The disk rounds the last block of each up.
    let taken = bytes_in(&bed.folder.path().join("other-copies"));
    assert!(taken <= bytes as u64 + (64 << 10), "{taken} taken, {bytes} counted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_of_what_another_has_deleted_go_and_a_reader_is_none_the_worse() {
    let bed = bucket_with(|settings| settings.cache_bytes = 8 << 20);
    stored(&bed, &["a", "b", "c"], MIB).await;
    let others = bed.folder.path().join("other-copies");
    let reader = Arc::new(open(&bed.other, "a", MIB).await);
    for name in ["b", "c"] {
        open(&bed.other, name, MIB).await;
    }
    assert!(bytes_in(&others) >= 3 << 20);
    bed.bundles.delete("b").await.unwrap();
    let known = ["a", "c"].map(str::to_owned).into();
    assert_eq!(bed.other.keep_copies_of(&known).await.unwrap(), 1);
    assert_eq!(bed.other.keep_copies_of(&known).await.unwrap(), 0);
    assert!(bytes_in(&others) < 3 << 20);
    // One that is read just now, and still there in the bucket.
    assert_eq!(bed.other.keep_copies_of(&["c".to_owned()].into()).await.unwrap(), 1);
    assert_eq!(read(&reader, 0..100).await.unwrap().len(), 100);
}
