//! Records that begin in one file and end in the next.

use crate::support::{Host, Shipped, ShippedSource, until};
use millrace_agent::Multiline;
use millrace_model::wire::SkipReason;
use std::{fs, path::Path, time::Duration};

const TIME: &str = "2026-01-02T03:04:05.5Z";

fn container(host: &mut Host) {
    let settings = host.file_settings();
    settings.containers = Some(true);
    settings.multiline = Multiline::preset("java");
    settings.multiline_wait = Duration::from_secs(3);
    settings.line_wait = Duration::from_secs(3);
    settings.rotate_wait = Duration::from_millis(500);
}

fn lines(lines: &[&str]) -> String {
    lines.iter().flat_map(|line| [TIME, " ", line, "\n"]).collect()
}

/// Checks every byte of both files.
fn check(shipped: &Shipped, old: &Path, new: &Path) {
    for path in [old, new] {
        let bytes = fs::read(path).unwrap();
        let whole = |source: &&ShippedSource| {
            let extents = || source.envelopes.iter().map(|envelope| &envelope.extent);
            source.end() == bytes.len() as u64
                && extents().all(|e| e.crc32c == crc32c::crc32c(&bytes[e.start as usize..e.end as usize]))
        };
        assert!(shipped.sources.values().any(|source| whole(&source)), "{}", path.display());
    }
}

#[tokio::test]
async fn b19_parts_and_traces_are_merged_across_a_rotation_for_each_output() {
    let mut host = Host::new();
    container(&mut host);
    for name in ["a", "b", "c"] {
        host.append(
            &format!("{name}.log"),
            lines(&[
                &format!("stdout F {name} it failed"),
                "stdout F java.lang.Exception: x",
                &format!("stderr P {name} a long "),
            ]),
        );
    }
    host.start();
    until("they are read", || host.metric("sources") == 3).await;
    for name in ["a", "b", "c"] {
        fs::rename(host.path(&format!("{name}.log")), host.path(&format!("{name}.log.1"))).unwrap();
        host.append(
            &format!("{name}.log"),
            lines(&[
                "stdout F \tat a.B.c(B.java:1)",
                "stderr F line",
                "stdout F \tat a.B.d(B.java:2)",
                "stderr F next",
                "stdout F going on",
            ]),
        );
    }
    // The last of each output waits for more, and there is none.
    let shipped = host.shipped("all records", |shipped| shipped.bodies().len() >= 12).await;
    let mut expected = Vec::new();
    for name in ["a", "b", "c"] {
        expected.push(format!(
            "{name} it failed\njava.lang.Exception: x\n\tat a.B.c(B.java:1)\n\tat a.B.d(B.java:2)"
        ));
        expected.push(format!("{name} a long line"));
        expected.extend(["next".to_owned(), "going on".to_owned()]);
    }
    expected.sort();
    assert_eq!(shipped.sorted_bodies(), expected);
    let merged: u64 = shipped.sources.values().map(|source| source.skipped(SkipReason::Merged)).sum();
    assert_eq!(
        merged,
        3 * lines(&["stdout F \tat a.B.c(B.java:1)", "stderr F line", "stdout F \tat a.B.d(B.java:2)"]).len()
            as u64
    );
    for name in ["a", "b", "c"] {
        check(&shipped, &host.path(&format!("{name}.log.1")), &host.path(&format!("{name}.log")));
    }
    host.stop().await;
    host.check_conservation();
}

#[tokio::test]
async fn b19_killed_between_two_files_the_record_is_whole_and_there_once() {
    for acknowledged in 0..4 {
        let mut host = Host::new();
        host.file_settings().multiline = Multiline::preset("java");
        host.file_settings().multiline_wait = Duration::from_secs(3);
        host.file_settings().rotate_wait = Duration::from_millis(300);
        let old = "first\nit failed\njava.lang.Exception: x\n";
        host.append("a.log", old);
        host.start();
        host.shipped("the first line", |shipped| shipped.bodies().len() == 1).await;
        host.topic.hold_after(acknowledged);
        fs::rename(host.path("a.log"), host.path("a.log.1")).unwrap();
        let new = "\tat a.B.c(B.java:1)\n\tat a.B.d(B.java:2)\nnext\nlast\n";
        host.append("a.log", new);
        let (topic, taken) = (host.topic.clone(), host.topic.messages());
        until("something is under way", || topic.held() > 0 || topic.messages() > taken).await;
        host.kill().await;
        host.start();
        let trace = "it failed\njava.lang.Exception: x\n\tat a.B.c(B.java:1)\n\tat a.B.d(B.java:2)";
        let shipped = host.shipped("all records", |shipped| shipped.bodies().len() >= 4).await;
        assert_eq!(shipped.sorted_bodies(), ["first", trace, "last", "next"], "{acknowledged}");
        check(&shipped, &host.path("a.log.1"), &host.path("a.log"));
        host.stop().await;
    }
}

#[tokio::test]
async fn what_does_not_go_on_is_each_files_own() {
    let mut host = Host::new();
    container(&mut host);
    host.append("a.log", lines(&["stdout F one", "stderr F two"]));
    host.start();
    until("it is read", || host.metric("sources") == 1).await;
    fs::rename(host.path("a.log"), host.path("a.log.1")).unwrap();
    host.append("a.log", lines(&["stdout F three", "stderr F four"]));
    let shipped = host.shipped_bodies(&["one", "two", "three", "four"]).await;
    assert!(shipped.sources.values().all(|source| source.skipped(SkipReason::Merged) == 0));
    check(&shipped, &host.path("a.log.1"), &host.path("a.log"));
    host.stop().await;
}
