//! What waits for its end: a line without its newline, lines that may have more to come.

use crate::support::{Host, append, until};
use millrace_agent::Multiline;
use millrace_model::wire::SkipReason;
use std::{fs, thread, time::Duration};
use tokio::time::sleep;

#[tokio::test]
async fn a_line_that_never_ends_is_shipped_after_a_while_and_what_follows_by_itself() {
    let mut host = Host::new();
    host.file_settings().line_wait = Duration::from_millis(50);
    host.append("a.log", "whole\nhalf");
    host.start();
    host.shipped_bodies(&["whole", "half"]).await;
    host.append("a.log", " of it\nnext\n");
    host.shipped_bodies(&["whole", "half", " of it", "next"]).await;
    // Only its newline is left: that is a line without anything.
    host.append("a.log", "last");
    host.shipped("the last", |shipped| shipped.bodies().len() == 5).await;
    host.append("a.log", "\n");
    let size = fs::metadata(host.path("a.log")).unwrap().len();
    let shipped =
        host.shipped("its end", |shipped| shipped.only().end() == size && !shipped.bodies().is_empty()).await;
    assert_eq!(shipped.only().skipped(SkipReason::Blank), 1);
    shipped.only().check_sums(&fs::read(host.path("a.log")).unwrap());
    host.stop().await;
    host.check_conservation();
}

#[tokio::test]
async fn b12_a_line_is_waited_for_as_long_as_it_grows() {
    let mut host = Host::new();
    host.file_settings().line_wait = Duration::from_millis(400);
    host.start();
    for piece in ["a", "b", "c", "d", "e", "f"] {
        host.append("a.log", piece);
        sleep(Duration::from_millis(100)).await;
    }
    host.append("a.log", "\n");
    host.shipped_bodies(&["abcdef"]).await;
    host.stop().await;
}

#[tokio::test]
async fn a_trace_is_one_record_when_the_next_line_or_nothing_has_come() {
    let mut host = Host::new();
    host.file_settings().multiline = Multiline::preset("java");
    host.file_settings().multiline_wait = Duration::from_millis(200);
    host.start();
    let trace = "ERROR it failed\njava.lang.Exception: x\n\tat a.B.c(B.java:1)";
    host.append("a.log", format!("INFO started\n{trace}\nINFO going on\n"));
    host.shipped_bodies(&["INFO started", trace, "INFO going on"]).await;
    // A rotation ends it at once.
    host.append("a.log", format!("{trace}\n"));
    until("it is read", || host.metric("sources") == 1).await;
    fs::rename(host.path("a.log"), host.path("a.log.1")).unwrap();
    host.append("a.log", "INFO in the new file\n");
    let shipped =
        host.shipped_bodies(&["INFO started", trace, "INFO going on", trace, "INFO in the new file"]).await;
    assert_eq!(shipped.sources.len(), 2);
    host.stop().await;
    host.check_conservation();
}

#[tokio::test]
async fn more_files_than_may_be_open_are_not_waited_for_either() {
    let mut host = Host::new();
    host.file_settings().line_wait = Duration::from_millis(50);
    let names: Vec<String> = (0..300).map(|number| format!("half {number:03}")).collect();
    for name in &names {
        host.append(&format!("{name}.log"), name);
    }
    host.start();
    host.shipped_bodies(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    host.stop().await;
    host.check_conservation();
}

/// However often it is killed: what was cut is cut there again, and every byte is in one record.
#[tokio::test]
async fn cuts_are_repeated_after_a_crash() {
    let mut host = Host::new();
    host.file_settings().multiline = Multiline::preset("java");
    host.file_settings().multiline_wait = Duration::from_millis(2);
    host.file_settings().line_wait = Duration::from_millis(4);
    let path = host.path("a.log");
    let writer = thread::spawn(move || {
        for number in 0..600_usize {
            let text = format!(
                "{number} ERROR x\njava.lang.Exception: {number}\n\tat a.B.c(B.java:{number})\n\n{number} INFO y\n"
            );
            let (first, rest) = text.as_bytes().split_at(number * 7 % text.len());
            append(&path, first);
            thread::sleep(Duration::from_millis(number as u64 * 5 % 9));
            append(&path, rest);
        }
    });
    let mut life = 0_u64;
    while !writer.is_finished() {
        if !life.is_multiple_of(3) {
            host.topic.hold_after((life * 7 % 11) as usize);
        }
        host.start();
        sleep(Duration::from_millis(life * 37 % 150)).await;
        host.kill().await;
        life += 1;
    }
    writer.join().unwrap();
    assert!(life > 10, "the test kills the agent many times, not {life}");
    host.start();
    let bytes = fs::read(host.path("a.log")).unwrap();
    let all = |source: &crate::support::ShippedSource| source.end() == bytes.len() as u64;
    let shipped =
        host.shipped("all is shipped", |shipped| shipped.sources.values().next().is_some_and(all)).await;
    let source = shipped.only();
    let lengths: u64 = source.runs.values().map(|(length, _)| length).sum();
    assert_eq!(lengths, bytes.len() as u64, "no byte is in two records");
    source.check_sums(&bytes);
    let text = source.bodies().concat();
    for number in 0..600 {
        assert_eq!(text.matches(&format!("(B.java:{number})")).count(), 1, "{number}");
    }
    host.stop().await;
}
