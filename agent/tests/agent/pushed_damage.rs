//! What happens to the files of a spool, and what is set anew while records lie in it.

use crate::{
    pushed::{connect, line, lines},
    support::{Host, until},
};
use millrace_agent::Protocol;
use millrace_intake::{
    Policy,
    redact::{Action, Kind, Rule, Search},
    spool::{Bounds, Overflow},
};
use millrace_model::wire::SkipReason;
use std::{collections::BTreeSet, fs, io::Write, net::SocketAddr, path::PathBuf, time::Duration};
use tokio::time::sleep;

/// Fills a spool with 2,000 records while nothing is shipped, and ends as `kill -9` does.
async fn filled() -> (Host, SocketAddr) {
    let mut host = Host::new();
    let address = host.listen(Protocol::Tcp, Bounds { bytes: 2 << 20, overflow: Overflow::Refuse });
    host.topic.set_partitions(None);
    host.start();
    let mut stream = connect(address).await;
    stream.write_all(lines(0..2000).as_bytes()).unwrap();
    host.received(2000).await;
    host.kill().await;
    host.topic.set_partitions(Some(4));
    (host, address)
}

#[tokio::test]
async fn b20_torn_write_or_bit_flip_in_the_spool_takes_one_record_and_is_counted() {
    for (what, file, from_end) in
        [("torn", -1, 20), ("flipped", 0, 5000), ("flipped", 1, 5003), ("flipped", 1, 5099)]
    {
        let (mut host, address) = filled().await;
        let files = host.spool_files();
        assert!(files.len() > 2, "several segments");
        let path = if file < 0 { files.last().unwrap() } else { &files[file as usize] };
        let mut bytes = fs::read(path).unwrap();
        let at = bytes.len() - from_end;
        if what == "torn" {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 4;
        }
        fs::write(path, bytes).unwrap();
        host.start();
        let shipped = host.shipped("all but one is shipped", |shipped| shipped.bodies().len() >= 1999).await;
        let source = shipped.only();
        let all: BTreeSet<String> = (0..2000).map(line).collect();
        let missing: Vec<&String> = {
            let found: BTreeSet<String> = source.bodies().into_iter().collect();
            assert_eq!(found.len(), 1999, "{what}");
            all.iter().filter(|line| !found.contains(*line)).collect()
        };
        assert_eq!(missing.len(), 1);
        if what == "torn" {
            assert_eq!(source.skipped(SkipReason::Lost), 0);
            assert!(host.metric("spool_cut_bytes_total") > 0);
        } else {
            assert_eq!(source.skipped(SkipReason::Lost), 1);
            assert_eq!((host.metric("spool_damage_total"), host.metric("lost_entries_total")), (1, 1));
            assert_eq!(source.end(), 2000);
        }
        // It goes on.
        let mut stream = connect(address).await;
        stream.write_all(lines(2000..2001).as_bytes()).unwrap();
        host.shipped("the next is shipped", |shipped| shipped.bodies().contains(&line(2000))).await;
        until("nothing is in flight", || host.metric("in_flight_records") == 0).await;
        host.check_conservation();
        host.stop().await;
    }
}

#[tokio::test]
async fn b20_killed_between_a_segments_deletion_and_what_says_so() {
    let (mut host, _) = filled().await;
    // What comes back after a power cut: files that were deleted, though the checkpoint covers them; and the other way round, a
    // checkpoint that covers less than is gone, of which the generation before is used.
    let kept: Vec<(PathBuf, Vec<u8>)> =
        host.spool_files().into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    host.start();
    host.shipped("all is shipped", |shipped| shipped.bodies().len() == 2000).await;
    until("one file is left", || host.spool_files().len() == 1).await;
    host.kill().await;
    for (path, bytes) in &kept {
        fs::write(path, bytes).unwrap();
    }
    fs::write(host.state("checkpoint.json"), "damaged").unwrap();
    host.start();
    until("they are deleted again", || host.spool_files().len() == 1).await;
    let shipped = host.topic.read();
    assert_eq!(shipped.only().bodies(), (0..2000).map(line).collect::<Vec<_>>());
    assert_eq!(shipped.only().skipped(SkipReason::Lost), 0);
    host.stop().await;
}

#[tokio::test]
async fn a_spool_that_is_gone_is_another_source_and_said() {
    let (mut host, address) = filled().await;
    host.start();
    host.shipped("all is shipped", |shipped| shipped.bodies().len() == 2000).await;
    host.stop().await;
    fs::remove_dir_all(host.state("spool/net")).unwrap();
    host.start();
    let mut stream = connect(address).await;
    stream.write_all(lines(0..3).as_bytes()).unwrap();
    let shipped = host.shipped("new ones are shipped", |shipped| shipped.bodies().len() == 2003).await;
    assert_eq!(shipped.sources.len(), 2);
    let old = shipped.sources.values().find(|source| source.end() == 2000).unwrap();
    let close = old.close().unwrap();
    assert_eq!((close.reason.as_str(), close.end, close.lost_at_least), ("spool_gone", 2000, Some(0)));
    host.stop().await;

    // Settings that are taken out and come back go on where they were.
    let sources = std::mem::take(&mut host.settings.sources);
    host.start();
    host.shipped("its end is shipped", |shipped| {
        shipped.sources.values().filter(|source| source.close().is_some()).count() == 2
    })
    .await;
    sleep(Duration::from_millis(300)).await;
    host.stop().await;
    host.settings.sources = sources;
    host.start();
    let mut stream = connect(address).await;
    stream.write_all(lines(3..5).as_bytes()).unwrap();
    let shipped = host.shipped("the rest is shipped", |shipped| shipped.bodies().len() == 2005).await;
    let again = shipped.find(|open| open.because.as_deref() == Some("reopened"));
    assert_eq!((again.start(), again.end()), (3, 5));
    host.stop().await;
}

#[tokio::test]
async fn what_is_to_be_taken_out_is_taken_out_of_what_lies_in_the_spool() {
    let (mut host, address) = filled().await;
    host.topic.set_partitions(None);
    host.start();
    let mut stream = connect(address).await;
    stream.write_all(b"<13>1 - - - - - - ann@mail.example.com was here\n").unwrap();
    host.received(1).await;
    host.kill().await;
    // The policy came after the record.
    let (name, search, action) = ("email".to_owned(), Search::Kind(Kind::Email), Action::Mask);
    host.settings.redact = Policy::new(vec![Rule { name, search, action }], &[]).unwrap();
    host.topic.set_partitions(Some(4));
    host.start();
    let shipped = host.shipped("all is shipped", |shipped| shipped.bodies().len() == 2001).await;
    assert_eq!(shipped.bodies()[2000], "<13>1 - - - - - - [redacted:email] was here");
    host.stop().await;
}
