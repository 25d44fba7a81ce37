//! What happens to files: written, rotated, truncated, deleted, made anew, broken.

use crate::support::{Host, attribute, until};
use millrace_model::{Value, wire::SkipReason};
use std::{fs, os::unix::fs::symlink};

#[tokio::test]
async fn what_is_appended_is_shipped_once_and_a_restart_goes_on() {
    let mut host = Host::new();
    host.append("a.log", "one\n{\"level\":\"warn\",\"n\":1}\n\nthree\r\n");
    host.start();
    let shipped = host.shipped_bodies(&["one", "{\"level\":\"warn\",\"n\":1}", "three"]).await;
    let source = shipped.only();
    assert_eq!(
        (source.open().kind.as_str(), source.open().start, source.open().host.as_str()),
        ("file", 0, "test-host")
    );
    assert_eq!(source.open().path, host.path("a.log").display().to_string());
    let (_, json) = source.runs.values().nth(1).unwrap();
    let json = json.as_ref().unwrap();
    assert_eq!((json.severity.class(), attribute(json, "n")), ("warn", Some(&Value::Int(1))));
    assert_eq!(json.resource.get("host.name"), Some(&Value::from("test-host")));
    assert_eq!(source.skipped(SkipReason::Blank), 1);
    source.check_sums(&fs::read(host.path("a.log")).unwrap());
    assert_eq!(source.envelopes[0].stream.as_str(), "app");
    host.check_conservation();
    host.stop().await;

    host.append("a.log", "four\n");
    let before = host.topic.messages();
    host.start();
    let shipped = host.shipped("the fourth line is shipped", |shipped| shipped.bodies().len() == 4).await;
    assert_eq!(host.topic.messages(), before + 1, "nothing is sent twice after a stop in good order");
    let source = shipped.only();
    assert_eq!(source.end(), fs::metadata(host.path("a.log")).unwrap().len());
    assert!(source.envelopes[0].sender.epoch < source.envelopes.last().unwrap().sender.epoch);
    host.stop().await;
}

#[tokio::test]
async fn a_renamed_file_is_read_to_its_end_and_its_name_begins_anew() {
    let mut host = Host::new();
    host.append("a.log", "1\n");
    host.start();
    host.shipped_bodies(&["1"]).await;
    fs::rename(host.path("a.log"), host.path("a.log.1")).unwrap();
    host.append("a.log.1", "2\nlast");
    host.append("a.log", "3\n");
    let shipped = host
        .shipped("the old file is closed", |shipped| {
            shipped.sources.values().any(|source| source.close().is_some())
        })
        .await;
    assert_eq!(shipped.sorted_bodies(), ["1", "2", "3", "last"]);
    let closed: Vec<_> =
        shipped.sources.values().filter_map(|source| Some((source, source.close()?))).collect();
    assert_eq!(closed.len(), 1);
    let (source, close) = closed[0];
    assert_eq!((close.reason.as_str(), close.end, close.lost_at_least), ("rotated", 8, None));
    assert_eq!((source.end(), source.bodies()), (8, ["1", "2", "last"].map(String::from).to_vec()));
    source.check_sums(b"1\n2\nlast");

    // Its writer had not finished: what comes later is not lost.
    host.append("a.log.1", " words\n4\n");
    let shipped = host.shipped("the late lines are shipped", |shipped| shipped.bodies().len() >= 6).await;
    let late = shipped.find(|open| open.because.as_deref() == Some("reopened"));
    assert_eq!((late.start(), late.bodies()), (8, [" words", "4"].map(String::from).to_vec()));
    host.stop().await;
}

#[tokio::test]
async fn a_file_that_still_matches_under_its_new_name_is_not_read_again() {
    let mut host = Host::new();
    host.watch("app", &["a.log*"]);
    host.append("a.log", "1\n");
    host.start();
    host.shipped_bodies(&["1"]).await;
    for round in 2..6 {
        for old in (1..round).rev() {
            if host.path(&format!("a.log.{old}")).exists() {
                fs::rename(host.path(&format!("a.log.{old}")), host.path(&format!("a.log.{}", old + 1)))
                    .unwrap();
            }
        }
        fs::rename(host.path("a.log"), host.path("a.log.1")).unwrap();
        host.append("a.log", format!("{round}\n"));
        host.shipped("the new file is shipped", |shipped| shipped.bodies().len() >= round).await;
    }
    until("four files have ended", || host.metric("closed_sources_total") == 4).await;
    host.stop().await;
    host.start();
    host.append("a.log", "last\n");
    host.shipped_bodies(&["1", "2", "3", "4", "5", "last"]).await;
    host.stop().await;
}

#[tokio::test]
async fn b1_truncation_begins_a_new_source_however_far_the_file_grows_again() {
    let mut host = Host::new();
    host.append("a.log", "one\ntwo\nhalf");
    host.start();
    host.shipped_bodies(&["one", "two"]).await;
    // copytruncate, and more than was there before, all at once.
    fs::write(host.path("a.log"), "new one\nnew two\nnew three\n").unwrap();
    let shipped = host.shipped("all lines are shipped", |shipped| shipped.bodies().len() >= 6).await;
    assert_eq!(shipped.sorted_bodies(), ["half", "new one", "new three", "new two", "one", "two"]);
    let old = shipped.find(|open| open.because.is_none());
    let close = old.close().unwrap();
    assert_eq!((close.reason.as_str(), close.end), ("truncated", 12));
    assert!(close.lost_at_least.is_some(), "nobody knows what was written between");
    old.check_sums(b"one\ntwo\nhalf");
    let new = shipped.find(|open| open.because.as_deref() == Some("truncated"));
    assert_eq!(
        new.open().continues,
        shipped.sources.iter().find(|(_, s)| s.close().is_some()).map(|(id, _)| *id)
    );
    new.check_sums(b"new one\nnew two\nnew three\n");

    fs::write(host.path("a.log"), "tiny\n").unwrap();
    host.shipped("the tiny line is shipped", |shipped| shipped.bodies().contains(&"tiny".to_owned())).await;
    host.stop().await;

    // And while the agent is down.
    fs::write(host.path("a.log"), "other\nlines\nthan before\n").unwrap();
    host.start();
    let shipped = host.shipped("three more lines", |shipped| shipped.bodies().len() >= 10).await;
    assert_eq!(shipped.bodies().len(), 10);
    assert_eq!(shipped.sources.values().filter(|source| source.close().is_some()).count(), 3);
    host.stop().await;
}

#[tokio::test]
async fn b2_a_deleted_file_is_drained_and_its_inode_begins_anew() {
    let mut host = Host::new();
    host.append("a.log", "same\n1\n");
    host.start();
    host.shipped_bodies(&["same", "1"]).await;
    for round in 2..8 {
        // The inode is free at once, and the new file begins like the old one.
        fs::remove_file(host.path("a.log")).unwrap();
        host.append("a.log", format!("same\n{round}\n"));
        host.shipped("the new file is shipped", |shipped| shipped.bodies().len() >= round * 2).await;
    }
    let shipped = host
        .shipped("the old ones are closed", |shipped| {
            shipped.sources.values().filter(|source| source.close().is_some()).count() == 6
        })
        .await;
    assert_eq!(shipped.sources.len(), 7);
    for source in shipped.sources.values() {
        assert_eq!((source.start(), source.end()), (0, 7));
        assert!(
            source.close().is_none_or(|close| close.reason == "deleted" && close.lost_at_least.is_none())
        );
    }
    host.stop().await;

    // Deleted while the agent is down: nobody knows what was in it at the end.
    fs::remove_file(host.path("a.log")).unwrap();
    host.start();
    let shipped = host
        .shipped("the last one is closed", |shipped| {
            shipped.sources.values().all(|source| source.close().is_some())
        })
        .await;
    let unknown = shipped.sources.values().filter(|s| s.close().unwrap().lost_at_least == Some(0)).count();
    assert_eq!(unknown, 1);
    host.stop().await;
}

#[tokio::test]
async fn b14_a_line_of_fifty_megabytes_is_one_marked_record_between_its_neighbours() {
    let mut host = Host::new();
    let mut bytes = b"before\n".to_vec();
    bytes.extend(std::iter::repeat_n(b'x', 50_000_000));
    bytes.extend_from_slice(b"\nafter\n");
    host.append("a.log", &bytes);
    host.start();
    let shipped = host.shipped("the line after is shipped", |shipped| shipped.bodies().len() >= 3).await;
    let source = shipped.only();
    assert_eq!(source.end(), bytes.len() as u64);
    source.check_sums(&bytes);
    let records: Vec<_> = source.runs.values().filter_map(|(_, what)| what.as_ref().ok()).collect();
    assert_eq!((records[0].body.as_str(), records[2].body.as_str()), (Some("before"), Some("after")));
    assert_eq!(records[1].body.as_str().map(str::len), Some(1 << 20));
    assert_eq!(attribute(records[1], "log.truncated"), Some(&Value::Bool(true)));
    assert_eq!(attribute(records[1], "log.original_length"), Some(&Value::Int(50_000_000)));
    assert_eq!(source.skipped(SkipReason::OverLong), 50_000_001 - (1 << 20));
    host.check_conservation();
    host.stop().await;
}

#[tokio::test]
async fn bytes_that_are_no_text_are_kept_as_they_are() {
    let mut host = Host::new();
    let bytes = b"good\nbad \xff\xfe\n\0\0\0good again\n\0\n";
    host.append("a.log", bytes);
    host.start();
    let shipped = host.shipped("three records are shipped", |shipped| shipped.bodies().len() >= 3).await;
    let source = shipped.only();
    source.check_sums(bytes);
    let (_, bad) = &source.runs[&5];
    assert_eq!(bad.as_ref().unwrap().body, Value::Bytes(b"bad \xff\xfe".to_vec()));
    assert_eq!(source.skipped(SkipReason::Nul), 4);
    host.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_no_stop_and_is_read_as_soon_as_it_can_be() {
    let mut host = Host::new();
    // This file of the kernel's may be written to, but not even the superuser may read it.
    symlink("/sys/bus/cpu/drivers_probe", host.path("a.log")).unwrap();
    symlink("/nowhere", host.path("b.log")).unwrap();
    symlink(host.path("c.log"), host.path("c.log")).unwrap();
    host.append("d.log", "fine\n");
    host.start();
    host.shipped_bodies(&["fine"]).await;
    until("trouble is counted", || host.metric("source_errors_total") > 4).await;
    fs::write(host.path("new"), "readable\n").unwrap();
    fs::rename(host.path("new"), host.path("a.log")).unwrap();
    host.shipped_bodies(&["fine", "readable"]).await;
    host.stop().await;
}

#[tokio::test]
async fn b7_the_last_line_waits_for_its_newline_across_restarts() {
    let mut host = Host::new();
    host.append("a.log", "one\ntw");
    host.start();
    host.shipped_bodies(&["one"]).await;
    host.append("a.log", "o, s");
    host.stop().await;
    host.append("a.log", "till ");
    host.start();
    host.append("a.log", "two\nthree\n");
    let shipped = host.shipped_bodies(&["one", "three", "two, still two"]).await;
    shipped.only().check_sums(&fs::read(host.path("a.log")).unwrap());
    host.stop().await;
}

#[tokio::test]
async fn two_hundred_files_at_once() {
    let mut host = Host::new();
    host.watch("app", &["**/*.log"]);
    for file in 0..200 {
        fs::create_dir_all(host.path(&format!("{}", file % 7))).unwrap();
        let lines: Vec<String> = (0..50).map(|line| format!("{file}:{line}\n")).collect();
        host.append(&format!("{}/{file}.log", file % 7), lines.concat());
    }
    host.start();
    let shipped = host.shipped("10000 lines are shipped", |shipped| shipped.bodies().len() >= 10_000).await;
    assert_eq!((shipped.sources.len(), shipped.bodies().len()), (200, 10_000));
    for file in 0..200 {
        host.append(&format!("{}/{file}.log", file % 7), "more\n");
    }
    fs::create_dir(host.path("later")).unwrap();
    host.append("later/x.log", "more\n");
    host.shipped("201 more lines are shipped", |shipped| shipped.bodies().len() == 10_201).await;
    host.check_conservation();
    host.stop().await;
}
