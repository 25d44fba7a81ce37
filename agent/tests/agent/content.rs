//! What files hold besides lines of UTF-8: other encodings, zero bytes, containers' lines.

use crate::support::{Host, attribute, until};
use millrace_agent::Charset;
use millrace_model::{Value, wire::SkipReason};
use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
};

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[tokio::test]
async fn b13_a_newline_of_two_bytes_is_one_wherever_blocks_end() {
    let mut host = Host::new();
    // Of every length, so that blocks end everywhere in them; U+0A0A looks like newlines.
    let lines: Vec<String> =
        (0..9_000).map(|number| format!("{number} {}\u{a0a}x", "é".repeat(number % 60))).collect();
    let text = format!("\u{feff}{}\r\n", lines.join("\r\n"));
    host.append("a.log", wide(&text));
    host.start();
    let shipped = host.shipped("all lines", |shipped| shipped.bodies().len() >= lines.len()).await;
    assert_eq!(shipped.bodies(), lines);
    host.stop().await;

    // Going on in the middle: what the file is written in is said at its beginning alone.
    host.append("a.log", wide("more ü\n"));
    host.start();
    let shipped = host.shipped("one more", |shipped| shipped.bodies().len() > lines.len()).await;
    assert_eq!(shipped.bodies().last().unwrap(), "more ü");
    shipped.only().check_sums(&fs::read(host.path("a.log")).unwrap());
    host.stop().await;
    host.check_conservation();
}

#[tokio::test]
async fn an_encoding_may_be_told_and_what_is_malformed_is_kept() {
    let mut host = Host::new();
    host.file_settings().charset = Charset::named("shift_jis");
    host.append("a.log", b"\x83\x8d\x83O\n\xff\xfe{\n");
    // One byte that may become a mark is waited for; then it is what it is.
    host.append("b.log", b"\xef");
    host.start();
    let shipped = host.shipped("two lines", |shipped| shipped.bodies().len() >= 2).await;
    let records: Vec<_> = shipped.sources.values().flat_map(|source| source.runs.values()).collect();
    assert_eq!(records[0].1.as_ref().unwrap().body, Value::from("ログ"));
    let malformed = records[1].1.as_ref().unwrap();
    assert_eq!(malformed.body, Value::Bytes(b"\xff\xfe{".to_vec()));
    assert!(attribute(malformed, "log.parse_error").is_some());
    host.stop().await;
}

#[tokio::test]
async fn a_first_byte_that_may_begin_a_mark_is_not_lost() {
    let mut host = Host::new();
    host.append("a.log", b"\xff");
    host.append("b.log", b"\xff");
    host.start();
    until("they are known", || host.metric("sources") == 2).await;
    host.append("a.log", b"\xfea\0\n\0");
    fs::rename(host.path("b.log"), host.path("b.log.1")).unwrap();
    let shipped = host.shipped("both", |shipped| shipped.bodies().len() == 2).await;
    let mut bodies = shipped.sorted_bodies();
    bodies.sort();
    assert!(bodies.contains(&"a".to_owned()), "{bodies:?}");
    let closed = shipped.find(|open| open.path.ends_with("b.log"));
    assert_eq!((closed.end(), closed.close().map(|close| close.end)), (1, Some(1)));
    host.stop().await;
    host.check_conservation();
}

#[tokio::test]
async fn b15_zero_bytes_that_a_disordered_writer_left_are_passed_over() {
    const HOLE: u64 = 4 << 30;
    let mut host = Host::new();
    let line = b"0123456789\n";
    let file = File::create(host.path("a.log")).unwrap();
    file.write_at(&line.repeat(100), 0).unwrap();
    host.start();
    host.shipped("before", |shipped| shipped.bodies().len() == 100).await;
    // Truncated, and its writer goes on where it was: at 4 GB, say.
    file.set_len(0).unwrap();
    file.write_at(line, HOLE).unwrap();
    let shipped = host.shipped("after", |shipped| shipped.bodies().len() == 101).await;
    let new = shipped.find(|open| open.because.as_deref() == Some("truncated"));
    assert_eq!((new.skipped(SkipReason::Nul), new.end()), (HOLE, HOLE + line.len() as u64));
    assert_eq!(host.metric("dropped_bytes_total"), HOLE as i64);
    host.stop().await;
    host.check_conservation();
}

#[tokio::test]
async fn a_file_that_is_allocated_ahead_is_read_as_it_is_filled() {
    const SIZE: u64 = 3 << 20;
    let mut host = Host::new();
    let file = File::create(host.path("a.log")).unwrap();
    // Zeros that were written, not a hole.
    file.write_at(&vec![0; SIZE as usize], 0).unwrap();
    host.start();
    let mut at = 0;
    for number in 0..20 {
        let line = format!("line {number} {}\n", "x".repeat(number * 1000));
        // Half a line, and zeros behind it.
        let (half, rest) = line.split_at(line.len() / 2);
        file.write_at(half.as_bytes(), at).unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(number as u64 % 3 * 10)).await;
        file.write_at(rest.as_bytes(), at + half.len() as u64).unwrap();
        at += line.len() as u64;
        host.shipped("the line", |shipped| shipped.bodies().len() == number + 1).await;
    }
    // What is never filled is accounted for when the file is done with.
    fs::rename(host.path("a.log"), host.path("a.log.1")).unwrap();
    let shipped = host
        .shipped("its end", |shipped| shipped.sources.values().all(|source| source.close().is_some()))
        .await;
    let source = shipped.only();
    assert_eq!((source.end(), source.skipped(SkipReason::Nul), source.bodies().len()), (SIZE, SIZE - at, 20));
    source.check_sums(&fs::read(host.path("a.log.1")).unwrap());
    host.stop().await;
    host.check_conservation();

    // And it is not taken for a new one.
    host.append("a.log", "next\n");
    host.start();
    let shipped = host.shipped("the next", |shipped| shipped.bodies().contains(&"next".to_owned())).await;
    assert_eq!(shipped.sources.len(), 2);
    host.stop().await;
}

#[tokio::test]
async fn a_containers_lines_are_those_of_its_application() {
    let mut host = Host::new();
    let folder = host.path("log/pods/shop_web-1_uid/app");
    fs::create_dir_all(&folder).unwrap();
    host.watch("app", &["log/pods/*/*/*.log"]);
    let time = "2026-01-02T03:04:05.5Z";
    let long = "x".repeat(16 << 10);
    let lines = [
        format!("{time} stdout P {long}"),
        format!("{time} stderr F {{\"level\":\"error\",\"n\":1}}"),
        format!("{time} stdout F end"),
    ];
    fs::write(folder.join("0.log"), lines.join("\n") + "\n").unwrap();
    host.start();
    let shipped = host.shipped("both lines", |shipped| shipped.bodies().len() == 2).await;
    let source = shipped.only();
    assert_eq!(source.bodies(), [format!("{long}end"), "{\"level\":\"error\",\"n\":1}".to_owned()]);
    assert_eq!(source.skipped(SkipReason::Merged), lines[2].len() as u64 + 1);
    let error = source.runs.values().filter_map(|(_, record)| record.as_ref().ok()).nth(1).unwrap();
    assert_eq!((error.severity.class(), attribute(error, "n")), ("error", Some(&Value::Int(1))));
    assert_eq!(attribute(error, "log.iostream"), Some(&Value::from("stderr")));
    assert_eq!(error.timestamp.unwrap().to_string(), "2026-01-02T03:04:05.500000000Z");
    assert_eq!(error.resource.get("k8s.pod.name"), Some(&Value::from("web-1")));
    source.check_sums(&fs::read(folder.join("0.log")).unwrap());
    host.stop().await;
    host.check_conservation();
}

/// A trace in a container's file, while the other output writes: killed at any moment, each is whole and there once.
#[tokio::test]
async fn containers_parts_come_again_as_they_were_after_a_crash() {
    let mut host = Host::new();
    host.file_settings().containers = Some(true);
    host.file_settings().multiline = millrace_agent::Multiline::preset("java");
    host.file_settings().multiline_wait = std::time::Duration::from_millis(5);
    host.file_settings().line_wait = std::time::Duration::from_secs(1);
    let path = host.path("a.log");
    let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    let writer = std::thread::spawn(move || {
        use std::io::Write;
        let time = "2026-01-02T03:04:05.5Z";
        for number in 0..400 {
            let lines = [
                format!("stdout P {number} it "),
                format!("stderr F {number} other"),
                "stdout F failed".to_owned(),
                format!("stdout F java.lang.Exception: {number}"),
                format!("stderr F java.lang.Error: {number}"),
                format!("stdout F \tat a.B.c(B.java:{number})"),
            ];
            for (at, line) in lines.iter().enumerate() {
                file.write_all(format!("{time} {line}\n").as_bytes()).unwrap();
                if (number * 5 + at) % 7 == 0 {
                    std::thread::sleep(std::time::Duration::from_millis(number as u64 % 4));
                }
            }
        }
    });
    let mut life = 0_u64;
    while !writer.is_finished() {
        if !life.is_multiple_of(3) {
            host.topic.hold_after((life * 7 % 11) as usize);
        }
        host.start();
        tokio::time::sleep(std::time::Duration::from_millis(life * 37 % 90)).await;
        host.kill().await;
        life += 1;
    }
    writer.join().unwrap();
    host.start();
    let bytes = fs::read(host.path("a.log")).unwrap();
    let all = |source: &crate::support::ShippedSource| source.end() == bytes.len() as u64;
    let shipped =
        host.shipped("all is shipped", |shipped| shipped.sources.values().next().is_some_and(all)).await;
    let source = shipped.only();
    let lengths: u64 = source.runs.values().map(|(length, _)| length).sum();
    assert_eq!(lengths, bytes.len() as u64, "no byte is in two records");
    source.check_sums(&bytes);
    let text = source.bodies().join("\n");
    for number in 0..400 {
        let parts = [
            format!("{number} other"),
            format!("\tat a.B.c(B.java:{number})"),
            format!("java.lang.Error: {number}"),
        ];
        for part in parts {
            assert_eq!(text.lines().filter(|line| **line == part).count(), 1, "{part}");
        }
    }
    assert_eq!(text.matches(" it failed").count(), 400, "parts are whole");
    host.stop().await;
}

#[tokio::test]
async fn what_steps_drop_is_accounted_for_and_what_they_add_is_redacted() {
    use millrace_intake::{
        Policy,
        process::{Action, Step},
        redact::{self, Kind, Rule, Search},
    };
    let mut host = Host::new();
    let drop = Step { when: Some(millrace_filter::parse("level:debug").unwrap()), action: Action::Drop };
    let mut added = millrace_model::Attributes::new();
    added.set("owner", "ann@example.com");
    host.settings.sources[0].process =
        [drop, Step { when: None, action: Action::Add(added) }].into_iter().collect();
    let rule =
        Rule { name: "email".to_owned(), search: Search::Kind(Kind::Email), action: redact::Action::Mask };
    host.settings.redact = Policy::new(vec![rule], b"").unwrap();
    let (kept, dropped) = ("{\"level\":\"info\"}", "{\"level\":\"debug\"}");
    host.append("a.log", format!("{dropped}\n{kept}\n{dropped}\n{dropped}\n"));
    host.start();
    let shipped = host.shipped_bodies(&[kept]).await;
    let source = host
        .shipped("all is accounted for", |shipped| shipped.only().end() == (4 * kept.len() + 4 + 3) as u64)
        .await;
    let source = source.only();
    assert_eq!(source.skipped(SkipReason::Filtered), 3 * (dropped.len() as u64 + 1));
    let record = shipped.only().runs.values().find_map(|(_, record)| record.as_ref().ok()).unwrap();
    assert_eq!(attribute(record, "owner"), Some(&Value::from("[redacted:email]")));
    assert_eq!((host.metric("processed_out_total"), host.metric("dropped_records_total")), (3, 3));
    source.check_sums(&fs::read(host.path("a.log")).unwrap());
    host.stop().await;
    host.check_conservation();
}
