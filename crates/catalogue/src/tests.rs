//! `SQLite`: the contract, files that cannot be opened, and being killed. [`postgres`] is the same for the other.

mod merges;
mod postgres;

use crate::{
    Catalogue, Error, PublishError,
    contract::{self, Bed, GROUP, TOPIC, cut, everything, own, step},
    open::Patience,
    verify_trail,
};
use millrace_model::TimeRange;
use sqlx::{Connection, Executor, SqliteConnection};
use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    str::FromStr,
    time::Duration,
};
use tempfile::TempDir;

/// Set in the process that is to be killed.
const VICTIM: &str = "MILLRACE_CATALOGUE_VICTIM";

fn url(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}

async fn open(path: &Path) -> Result<Catalogue, Error> {
    Catalogue::open(&url(path), contract::clock()).await
}

async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("{}?mode=rwc", url(path))).await.unwrap()
}

/// A catalogue in a folder of its own, and two handles on it.
async fn lay() -> (Bed, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let url = url(&folder.path().join("new").join("catalogue.db"));
    let clock = contract::clock();
    let first = Catalogue::open(&url, clock.clone()).await.unwrap();
    let second = Catalogue::open(&url, clock.clone()).await.unwrap();
    (Bed { first, second, clock }, folder)
}

mod contract_of {
    crate::contract::tests!(super::lay);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_open_a_new_catalogue_at_once() {
    let folder = tempfile::tempdir().unwrap();
    contract::opened_by_many_at_once(&url(&folder.path().join("catalogue.db"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schema_goes_back_and_up_again() {
    let folder = tempfile::tempdir().unwrap();
    contract::going_back::every_version_can_be_gone_back_to(&url(&folder.path().join("catalogue.db"))).await;
}

#[tokio::test]
async fn urls_of_other_kinds_are_refused() {
    for (url, expected) in [
        ("mysql://user:hunter2@db/millrace", "unsupported catalogue url scheme \"mysql\""),
        ("postgres://user:hunter2@db:port/millrace", "bad catalogue url"),
        ("postgres://user:hunter2@db", "it names no database"),
        ("/var/lib/catalogue.db", "unsupported catalogue url scheme \"\""),
        ("sqlite:catalogue.db", "expected // after sqlite:"),
        ("sqlite://", "it names no file"),
        ("sqlite:///tmp/", "it names no file"),
        ("sqlite:///tmp/x.db?mode=ro", "options are not understood here"),
    ] {
        let error = Catalogue::open(url, contract::clock()).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{url}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn a_path_that_cannot_be_opened_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let below_a_file = file.join("below").join("catalogue.db");
    let error = open(&below_a_file).await.unwrap_err();
    assert!(matches!(error, Error::Folder { .. }), "{error:?}");
    assert!(error.to_string().contains(&*file.to_string_lossy()), "{error}");

    let error = open(folder.path()).await.unwrap_err();
    assert!(matches!(error, Error::NoFile { .. }), "{error:?}");
    assert!(error.to_string().contains(&*folder.path().to_string_lossy()), "{error}");
}

#[tokio::test]
async fn a_damaged_or_foreign_file_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.db");
    std::fs::write(&text, "this is not a database\n".repeat(500)).unwrap();
    let before = std::fs::read(&text).unwrap();
    let error = open(&text).await.unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("millrace catalogue rebuild"), "{error}");
    assert!(error.to_string().contains(&*text.to_string_lossy()), "{error}");
    assert_eq!(std::fs::read(&text).unwrap(), before);

    let other = folder.path().join("other.db");
    raw(&other).await.execute("CREATE TABLE birds (name TEXT)").await.unwrap();
    let error = open(&other).await.unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "{error:?}");

    // Damaged in the middle: opening may succeed, reading says so.
    let path = folder.path().join("catalogue.db");
    let catalogue = open(&path).await.unwrap();
    let owned = own(&catalogue, 0, "a").await;
    catalogue.publish(&cut(step(&owned, 10))).await.unwrap();
    catalogue.close().await;
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4_096..].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    let error = match open(&path).await {
        Err(error) => error,
        Ok(catalogue) => catalogue.snapshot(GROUP, TimeRange::ALL, None).await.unwrap_err(),
    };
    assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    open(&path).await.unwrap().close().await;
    let mut connection = raw(&path).await;
    connection
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'from the future', TRUE, x'00', 0)",
        )
        .await
        .unwrap();
    let error = open(&path).await.unwrap_err();
    assert!(matches!(error, Error::Newer { found: 9999, known: 11, .. }), "{error:?}");
    assert!(error.to_string().contains("use the newer program"), "{error}");
}

#[tokio::test]
async fn a_row_that_was_tampered_with_is_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    let catalogue = open(&path).await.unwrap();
    let owned = own(&catalogue, 0, "a").await;
    catalogue.publish(&cut(step(&owned, 10))).await.unwrap();
    raw(&path).await.execute("UPDATE sources SET state = '{'; UPDATE shards SET id = 'x'").await.unwrap();
    let error = catalogue.all_sources(GROUP).await.unwrap_err();
    assert!(matches!(error, Error::Stored { what: "a source's state", .. }), "{error:?}");
    let error = catalogue.snapshot(GROUP, TimeRange::ALL, None).await.unwrap_err();
    assert!(matches!(error, Error::Stored { what: "a shard's id", .. }), "{error:?}");
}

/// Runs a test of this program as the victim that works on `path`, kills it when it has said so many lines with the
/// prefix, and returns what it had said by then.
fn said_until_killed<T: FromStr>(test: &str, path: &Path, prefix: &str, lines: usize) -> Vec<T> {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(VICTIM, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(victim.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix(prefix)?.parse::<T>().ok());
    let mut all: Vec<T> = said.by_ref().take(lines).collect();
    victim.kill().unwrap();
    victim.wait().unwrap();
    all.extend(said);
    all
}

/// Publishes as fast as it can, saying each offset once it is published, until it is killed.
async fn publish_for_ever(path: &Path) {
    let catalogue = open(path).await.unwrap();
    let mut owned = own(&catalogue, 0, "victim").await;
    for round in 1.. {
        let at = step(&owned, owned.next_offset.unwrap_or(0) + round % 7 + 1);
        catalogue.publish(&cut(at)).await.unwrap();
        owned.next_offset = Some(at.to);
        writeln!(std::io::stdout(), "published {}", at.to).unwrap();
    }
}

#[tokio::test]
async fn a_publisher_killed_at_any_moment_leaves_whole_cuts() {
    if let Some(path) = std::env::var_os(VICTIM) {
        return publish_for_ever(Path::new(&path)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    for lines in [1, 5, 17, 40, 90] {
        let test = "tests::a_publisher_killed_at_any_moment_leaves_whole_cuts";
        let acknowledged: Vec<i64> = said_until_killed(test, &path, "published ", lines);
        let acknowledged = *acknowledged.last().unwrap();

        let catalogue = open(&path).await.unwrap();
        let snapshot = catalogue.snapshot(GROUP, TimeRange::ALL, None).await.unwrap();
        let next = snapshot.partitions[0].next_offset.unwrap();
        assert!(next >= acknowledged, "{next} < {acknowledged}: an acknowledged publish was lost");
        let ranges = snapshot.shards.iter().flat_map(|shard| &shard.offsets);
        assert_eq!(ranges.map(|range| range.to - range.from).sum::<i64>(), next);
        assert_eq!(catalogue.all_sources(GROUP).await.unwrap().len(), snapshot.shards.len());
        let partition = snapshot.partitions[0].partition;
        let trail = catalogue.trail(GROUP, TOPIC, partition, 0, u32::MAX).await.unwrap();
        assert_eq!(trail.len(), snapshot.shards.len());
        assert_eq!(verify_trail(&trail).unwrap().unwrap().next_offset, Some(next));
        let integrity: String =
            sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut raw(&path).await).await.unwrap();
        assert_eq!(integrity, "ok");
    }
}

#[tokio::test]
async fn a_dropped_publish_leaves_the_writer_usable() {
    let (bed, _kept) = lay().await;
    let owned = own(&bed.first, 0, "a").await;
    let published = cut(step(&owned, 10));
    // Polled ever more often, then dropped wherever in its transaction it was, until it comes to an end.
    let mut polls = 1;
    let outcome = loop {
        let mut publish = std::pin::pin!(bed.first.publish(&published));
        let mut outcome = None;
        for _ in 0..polls {
            tokio::select! {
                biased;
                done = &mut publish => { outcome = Some(done); break }
                () = tokio::task::yield_now() => {}
            }
        }
        if let Some(outcome) = outcome {
            break outcome;
        }
        polls *= 2;
    };
    assert!(matches!(outcome, Ok(_) | Err(PublishError::Duplicate { .. })), "{outcome:?}");
    let now = everything(&bed.second).await;
    assert_eq!(now.snapshot.shards, published.shards);
    assert_eq!(now.snapshot.partitions[0].next_offset, Some(10));
}

#[tokio::test]
async fn a_full_disk_changes_nothing_and_passes() {
    let (bed, _kept) = lay().await;
    let owned = own(&bed.first, 0, "a").await;
    let mut published = cut(step(&owned, 10));
    published.sources.extend((0..200).map(|_| contract::source(owned.partition, None, 10)));
    let before = everything(&bed.second).await;
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&bed.first.writer).await.unwrap();
    let limit = async |pages: i64| {
        let statement = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
        bed.first.writer.execute(statement).await.unwrap();
    };
    limit(pages + 2).await;
    let refused = bed.first.publish(&published).await.unwrap_err();
    let PublishError::Failed(Error::Statement { source, .. }) = &refused else { panic!("{refused:?}") };
    assert!(source.to_string().contains("full"), "{source}");
    assert_eq!(everything(&bed.second).await, before);
    limit(i64::from(i32::MAX)).await;
    bed.first.publish(&published).await.unwrap();
}

#[tokio::test]
async fn another_process_that_writes_is_waited_for_within_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    let patience = Patience { busy: Duration::from_millis(1), attempts: 3 };
    let hasty = Catalogue::open_with(&url(&path), contract::clock(), patience).await.unwrap();
    let owned = own(&hasty, 0, "a").await;
    let mut other = raw(&path).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let refused = hasty.publish(&cut(step(&owned, 10))).await.unwrap_err();
    assert!(matches!(refused, PublishError::Failed(Error::Busy { .. })), "{refused:?}");
    assert_eq!(hasty.snapshot(GROUP, TimeRange::ALL, None).await.unwrap().partitions[0].next_offset, None);

    let patience = Patience { attempts: u32::MAX, ..patience };
    let url = url(&path);
    let patient = Catalogue::open_with(&url, contract::clock(), patience);
    // Opening needs the lock too: both wait until the other is done.
    let (patient, ()) = tokio::join!(patient, async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        other.execute("COMMIT").await.unwrap();
    });
    patient.unwrap().publish(&cut(step(&owned, 10))).await.unwrap();
}
