//! Compressed files: read once, whatever they were before.

use crate::support::{Host, until};
use flate2::{Compression, write::GzEncoder};
use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    time::Duration,
};

fn member(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// As `gzip` does: the original goes when its copy is whole.
fn gzip(original: &Path) {
    let packed = member(&fs::read(original).unwrap());
    let name = format!("{}.gz", original.display());
    let mut file = File::create(&name).unwrap();
    let (first, rest) = packed.split_at(packed.len() / 2);
    file.write_all(first).unwrap();
    std::thread::sleep(Duration::from_millis(30));
    file.write_all(rest).unwrap();
    fs::remove_file(original).unwrap();
}

fn numbered(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| format!("line {number}")).collect()
}

fn text(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

#[tokio::test]
async fn b10_a_file_is_the_same_when_it_is_renamed_and_compressed() {
    let mut host = Host::new();
    host.watch("app", &["a.log*"]);
    host.start();
    let mut expected = Vec::new();
    for round in 0..6 {
        let lines = numbered(round * 1000, (round + 1) * 1000);
        host.append("a.log", text(&lines));
        expected.extend(lines);
        if round % 2 == 0 {
            // Sometimes it is rotated before it is read.
            host.shipped("it is read", |shipped| shipped.bodies().len() == expected.len()).await;
        }
        let first = host.path(&format!("a.log.{round}-1"));
        fs::rename(host.path("a.log"), &first).unwrap();
        if round % 3 == 0 {
            tokio::time::sleep(Duration::from_millis(120)).await;
        }
        gzip(&first);
        fs::rename(format!("{}.gz", first.display()), host.path(&format!("a.log.{round}-2.gz"))).unwrap();
    }
    host.append("a.log", "last\n");
    expected.push("last".to_owned());
    let shipped = host.shipped("all lines", |shipped| shipped.bodies().len() >= expected.len()).await;
    expected.sort();
    for (id, source) in &shipped.sources {
        let bodies = source.bodies();
        eprintln!("{id} {:?} {:?}..{:?} {:?}", source.open(), bodies.first(), bodies.last(), source.close());
    }
    assert_eq!(shipped.bodies().len(), expected.len());
    assert_eq!(shipped.sorted_bodies(), expected);
    host.stop().await;

    // Nothing of it is read again after a restart, nor is what is compressed while the agent is down.
    fs::rename(host.path("a.log"), host.path("a.log.7")).unwrap();
    gzip(&host.path("a.log.7"));
    host.append("a.log", "new\n");
    expected.push("new".to_owned());
    expected.sort();
    host.start();
    host.shipped("the new line", |shipped| shipped.bodies().contains(&"new".to_owned())).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(host.topic.read().sorted_bodies(), expected);
    host.stop().await;
    host.check_conservation();
}

#[tokio::test]
async fn b10_a_file_that_was_empty_is_filled_renamed_and_compressed_while_the_agent_is_down() {
    let mut host = Host::new();
    host.watch("app", &["a*.log*"]);
    host.append("a.log", "");
    host.append("ab.log", "");
    host.start();
    until("both are known", || host.metric("sources") == 2).await;
    host.stop().await;
    host.append("a.log", "one\ntwo\n");
    fs::rename(host.path("a.log"), host.path("a.log.1")).unwrap();
    gzip(&host.path("a.log.1"));
    host.append("a.log", "three\n");
    host.start();
    host.shipped_bodies(&["one", "three", "two"]).await;
    host.append("a.log", "four\n");
    host.append("ab.log", "five\n");
    host.shipped_bodies(&["five", "four", "one", "three", "two"]).await;
    // The rest of the wait for a file that is gone.
    tokio::time::sleep(Duration::from_millis(200)).await;
    host.stop().await;
    for source in host.topic.read().sources.values() {
        assert!(source.close().is_none_or(|close| close.reason != "deleted"), "{:?}", source.open());
    }
    host.check_conservation();
}

#[tokio::test]
async fn b10_killed_within_a_compressed_file_the_agent_goes_on_where_it_was() {
    let mut host = Host::new();
    host.watch("app", &["*.gz"]);
    let lines = numbered(0, 60_000);
    fs::write(host.path("old.log.gz"), member(text(&lines).as_bytes())).unwrap();
    for acknowledged in [0, 3, 7, 11] {
        host.topic.hold_after(acknowledged);
        host.start();
        let topic = host.topic.clone();
        until("some of it is under way", || topic.held() > 0).await;
        host.kill().await;
    }
    host.start();
    let shipped = host.shipped("all lines", |shipped| shipped.bodies().len() >= lines.len()).await;
    let source = shipped.only();
    assert_eq!(source.bodies(), lines);
    source.check_sums(text(&lines).as_bytes());
    let shipped = host
        .shipped("its end", |shipped| shipped.sources.values().all(|source| source.close().is_some()))
        .await;
    assert_eq!(shipped.only().close().unwrap().end, text(&lines).len() as u64);
    host.stop().await;
    let before = host.topic.messages();
    host.start();
    tokio::time::sleep(Duration::from_millis(200)).await;
    host.stop().await;
    assert_eq!(host.topic.messages(), before, "it is backfilled once");
}

#[tokio::test]
async fn b11_all_members_of_a_compressed_file_are_read() {
    let mut host = Host::new();
    host.watch("app", &["*.gz"]);
    let members = [member(b"one\ntw"), member(b""), member(b"o\nthree\n")];
    fs::write(host.path("a.gz"), members.concat()).unwrap();
    // Not everything of that name is compressed.
    host.append("b.gz", "plain\n");
    host.start();
    host.shipped_bodies(&["one", "two", "three", "plain"]).await;
    host.stop().await;
}

#[tokio::test]
async fn what_is_cut_short_or_damaged_is_said_and_is_no_end() {
    let mut host = Host::new();
    host.watch("app", &["*.gz"]);
    let whole = member(text(&numbered(0, 30_000)).as_bytes());
    fs::write(host.path("a.gz"), &whole[..whole.len() / 2]).unwrap();
    host.append("b.gz", member(b"sound\n"));
    host.start();
    until("the trouble is counted", || host.metric("source_errors_total") > 0).await;
    let shipped = host.shipped("the other", |shipped| shipped.bodies().contains(&"sound".to_owned())).await;
    assert!(
        shipped
            .sources
            .values()
            .filter(|source| source.open().path.ends_with("a.gz"))
            .all(|source| source.close().is_none())
    );
    // The rest of it comes.
    fs::write(host.path("a.gz"), &whole).unwrap();
    host.shipped("all of it", |shipped| shipped.bodies().len() == 30_001).await;
    host.stop().await;
}
