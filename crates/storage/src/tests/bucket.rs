//! What is true of a bucket alone: what it takes over a network that fails, and what it costs.

use super::{bucket, bucket_settings};
use crate::{
    Asked, Bundles, Error, Reach,
    contract::{Bed, content, whole},
    parts::PART_BYTES,
};
use millrace_config::Secret;
use millrace_test_support::s3::{Fault, Kind, S3Server};
use std::{collections::BTreeMap, time::Duration};

const KEY: &str = "logs/20261123/a.shard";

fn server(bed: &Bed) -> &S3Server {
    bed.server.as_ref().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_fails_once_or_twice_is_made_again() {
    let bed = bucket();
    let (small, large) = (bed.file(1000), bed.file(2 * PART_BYTES + 1));
    for fault in [Fault::Status(503), Fault::Status(500), Fault::Drop] {
        server(&bed).fail(&[Kind::Put], fault, 2);
        bed.bundles.put(KEY, &small).await.unwrap();
        for kind in [Kind::PutPart, Kind::CompleteUpload] {
            server(&bed).fail(&[kind], fault, 2);
        }
        bed.bundles.put("logs/large.shard", &large).await.unwrap();
        for kind in [Kind::Get, Kind::Head, Kind::List, Kind::Delete] {
            server(&bed).fail(&[kind], fault, 2);
        }
        bed.other.distrust(KEY).await.unwrap();
        bed.other.distrust("logs/large.shard").await.unwrap();
        assert_eq!(whole(&bed.other, KEY).await.unwrap(), content(1000));
        assert!(whole(&bed.other, "logs/large.shard").await.unwrap() == content(2 * PART_BYTES + 1));
        assert_eq!(bed.other.list("").await.unwrap().len(), 2);
        bed.bundles.delete(KEY).await.unwrap();
        server(&bed).heal();
    }
    // In the middle of an answer, too.
    server(&bed).fail(&[Kind::Get], Fault::Cut, 2);
    bed.other.distrust("logs/large.shard").await.unwrap();
    assert!(whole(&bed.other, "logs/large.shard").await.unwrap() == content(2 * PART_BYTES + 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trouble_that_stays_is_told_soon_and_leaves_nothing() {
    let bed = bucket();
    let large = bed.file(2 * PART_BYTES + 1);
    bed.bundles.put("logs/there.shard", &bed.file(10)).await.unwrap();
    for kind in [Kind::Put, Kind::CreateUpload, Kind::PutPart, Kind::CompleteUpload] {
        server(&bed).fail(&[kind], Fault::Status(503), usize::MAX);
        let file = if kind == Kind::Put { bed.file(10) } else { large.clone() };
        let error = bed.bundles.put(KEY, &file).await.unwrap_err();
        assert!(matches!(error, Error::Store { .. }), "{error:?}");
        let told = error.to_string();
        assert!(
            told.contains(KEY) && told.contains("s3://millrace-test/a/shards at http://127.0.0.1"),
            "{told}"
        );
        assert_eq!(server(&bed).open_uploads(), 0, "an upload that failed is given up");
        server(&bed).heal();
        assert_eq!(bed.other.list("logs").await.unwrap(), [("logs/there.shard".to_owned(), 10)]);
    }
    server(&bed).fail(&[], Fault::Status(503), usize::MAX);
    for error in [
        bed.other.reader("logs/there.shard", Some(10), Reach::Parts).await.unwrap_err(),
        bed.other.reader("logs/there.shard", None, Reach::Whole).await.unwrap_err(),
        bed.other.list("").await.unwrap_err(),
        bed.other.delete("logs/there.shard").await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Store { .. }), "it may be there: {error:?}");
    }
    let counted =
        bed.other.metrics().requests.get_or_create(&Asked { action: "read", outcome: "failed" }).get();
    assert_eq!(counted, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_is_given_up() {
    let bed = super::bucket_with(|settings| settings.s3.timeout = Duration::from_secs(1));
    server(&bed).fail(&[], Fault::Hold, usize::MAX);
    let error = bed.bundles.put(KEY, &bed.file(10)).await.unwrap_err();
    assert!(matches!(error, Error::Store { .. }), "{error:?}");
    let error = bed.bundles.reader(KEY, Some(10), Reach::Parts).await.unwrap_err();
    assert!(matches!(error, Error::Store { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_at_the_endpoint_and_wrong_secrets_are_no_missing_bundles() {
    let bed = bucket();
    bed.bundles.put(KEY, &bed.file(10)).await.unwrap();
    let mut settings = bucket_settings(server(&bed), bed.folder.path(), "third");
    settings.s3.credentials = Some(("AKIAWRONG".to_owned(), Secret::new("hunter2")));
    let stranger = Bundles::open(&settings).unwrap();
    settings.s3.endpoint = Some(format!("http://127.0.0.1:{}", millrace_test_support::ports::free()));
    settings.cache_dir = bed.folder.path().join("fourth");
    let nobody = Bundles::open(&settings).unwrap();
    for bundles in [stranger, nobody] {
        for error in [
            bundles.put(KEY, &bed.file(11)).await.unwrap_err(),
            bundles.reader(KEY, Some(10), Reach::Parts).await.unwrap_err(),
            bundles.reader(KEY, None, Reach::Parts).await.unwrap_err(),
            bundles.list("").await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::Store { .. }), "{error:?}");
            let told = format!("{error} {error:?}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
    assert_eq!(whole(&bed.bundles, KEY).await.unwrap(), content(10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_not_there_is_no_empty_one() {
    let bed = bucket();
    let mut settings = bucket_settings(server(&bed), bed.folder.path(), "third");
    settings.url = "s3://nobodys-bucket".to_owned();
    let error = Bundles::open(&settings).unwrap().list("").await.unwrap_err();
    assert!(matches!(error, Error::Store { .. }), "{error:?}");
    assert!(error.to_string().contains("s3://nobodys-bucket/"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_may_be_empty_and_others_are_not_seen() {
    let bed = bucket();
    bed.bundles.put(KEY, &bed.file(10)).await.unwrap();
    let mut settings = bucket_settings(server(&bed), bed.folder.path(), "third");
    settings.url = "s3://millrace-test".to_owned();
    let above = Bundles::open(&settings).unwrap();
    above.put("a/other/b.shard", &bed.file(20)).await.unwrap();
    std::fs::write(server(&bed).bucket().join("a/shards/not a bundle"), "x").unwrap();
    let all = [("a/other/b.shard".to_owned(), 20), (format!("a/shards/{KEY}"), 10)];
    assert_eq!(above.list("").await.unwrap(), all);
    assert_eq!(bed.bundles.list("").await.unwrap(), [(KEY.to_owned(), 10)]);
}

/// What is to be known by whoever pays for requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_few() {
    let bed = bucket();
    let asked = async |kinds: &[(Kind, usize)]| {
        assert_eq!(server(&bed).all_requests(), kinds.iter().copied().collect::<BTreeMap<_, _>>());
        server(&bed).forget();
    };
    bed.bundles.put(KEY, &bed.file(1 << 20)).await.unwrap();
    asked(&[(Kind::Put, 1)]).await;
    bed.bundles.put("logs/large.shard", &bed.file(3 * PART_BYTES)).await.unwrap();
    asked(&[(Kind::CreateUpload, 1), (Kind::PutPart, 3), (Kind::CompleteUpload, 1)]).await;
    // What this process has stored it does not fetch, nor what it has once fetched.
    let own = bed.bundles.reader(KEY, Some(1 << 20), Reach::Whole).await.unwrap();
    asked(&[]).await;
    for _ in 0..3 {
        bed.other.reader(KEY, Some(1 << 20), Reach::Parts).await.unwrap();
    }
    asked(&[(Kind::Get, 1)]).await;
    drop(own);
    // Of a large one the end, and what is read with what lies around it.
    let large =
        bed.other.reader("logs/large.shard", Some(3 * PART_BYTES as u64), Reach::Parts).await.unwrap();
    asked(&[(Kind::Get, 1)]).await;
    tokio::task::spawn_blocking(move || {
        for range in [0..10, 100..200_000, 10..20] {
            large.read(range).unwrap();
        }
    })
    .await
    .unwrap();
    asked(&[(Kind::Get, 1)]).await;
}
