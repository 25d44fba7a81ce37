//! What went wrong in other shippers and has no other place here.

use crate::support::{Host, ShippedSource, until};
use millrace_model::wire::SkipReason;
use std::{
    fs::{self, File},
    io::{Read, Seek},
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::sleep;

#[tokio::test]
async fn b3_a_position_beyond_the_end_of_the_file_is_given_up() {
    let mut host = Host::new();
    host.append("a.log", "one\ntwo\nthree\nfour\n");
    host.start();
    host.shipped_bodies(&["one", "two", "three", "four"]).await;
    host.stop().await;
    fs::write(host.path("a.log"), "new\n").unwrap();
    for _ in 0..2 {
        host.start();
        let shipped = host.shipped("the new line", |shipped| shipped.bodies().len() >= 5).await;
        assert_eq!(shipped.sorted_bodies(), ["four", "new", "one", "three", "two"], "and not again");
        host.stop().await;
    }
    let checkpoint = fs::read_to_string(host.state("checkpoint.json")).unwrap();
    assert!(
        checkpoint.contains("\"position\":4,") && !checkpoint.contains("\"position\":19,"),
        "{checkpoint}"
    );
}

#[tokio::test]
async fn b4_a_refused_message_holds_the_position_although_later_ones_are_taken() {
    let mut host = Host::new();
    host.topic.refuse_what_holds(Some("poison"));
    host.topic.keep_dead_letters(false);
    host.append("a.log", "before\n");
    host.start();
    host.shipped_bodies(&["before"]).await;
    host.append("a.log", "poison\n");
    until("it is refused", || host.metric("rejected_messages_total") > 0).await;
    host.append("a.log", "after\n");
    host.shipped_bodies(&["after", "before"]).await;
    host.stop().await;
    let checkpoint = fs::read_to_string(host.state("checkpoint.json")).unwrap();
    assert!(checkpoint.contains("\"position\":7,"), "not past what was refused: {checkpoint}");
    host.topic.refuse_what_holds(None);
    host.start();
    host.shipped_bodies(&["after", "before", "poison"]).await;
    host.stop().await;
}

#[tokio::test]
async fn what_the_topic_never_takes_is_a_dead_letter_and_the_rest_goes_on() {
    let mut host = Host::new();
    host.topic.refuse_what_holds(Some("poison"));
    let lines: Vec<String> =
        (0..200).map(|n| if n % 90 == 50 { format!("poison {n}\n") } else { format!("{n}\n") }).collect();
    host.append("a.log", lines.concat());
    host.start();
    let shipped = host.shipped("all but what is refused", |shipped| shipped.bodies().len() == 198).await;
    let letters: Vec<String> = host.topic.dead_letters().into_iter().map(|(body, _)| body).collect();
    assert_eq!(letters, ["poison 50", "poison 140"]);
    assert!(host.topic.dead_letters().iter().all(|(_, reason)| reason.contains("not you")));
    let source = shipped.only();
    assert_eq!(source.skipped(SkipReason::Rejected), "poison 50\npoison 140\n".len() as u64);
    assert_eq!((source.start(), source.end()), (0, lines.concat().len() as u64));
    let status = host.status.clone();
    until("the agent is ready", || status.readiness().is_ok()).await;
    host.stop().await;
    // It is accounted for: it does not come again.
    host.start();
    host.append("a.log", "last\n");
    host.shipped("the last", |shipped| shipped.bodies().len() == 199).await;
    assert_eq!(host.topic.dead_letters().len(), 2);
    host.stop().await;
    host.check_conservation();
}

#[tokio::test]
async fn b5_a_file_is_closed_with_lines_that_are_not_acknowledged_and_is_appended_to() {
    let mut host = Host::new();
    // More than may be open: each is closed after its turn.
    let names: Vec<String> = (0..300).map(|number| format!("{number:03}")).collect();
    for name in &names {
        host.append(&format!("{name}.log"), format!("{name} first\n"));
    }
    host.topic.hold();
    host.start();
    until("all are known", || host.metric("sources") == 300).await;
    sleep(Duration::from_millis(100)).await;
    for name in &names {
        host.append(&format!("{name}.log"), format!("{name} second\n"));
    }
    host.kill().await;
    host.start();
    let mut expected: Vec<String> =
        names.iter().flat_map(|name| [format!("{name} first"), format!("{name} second")]).collect();
    expected.sort();
    let shipped = host.shipped("all lines", |shipped| shipped.bodies().len() >= 600).await;
    assert_eq!(shipped.sorted_bodies(), expected);
    host.stop().await;
}

#[tokio::test]
async fn b8_thirty_rotations_while_the_kernel_has_more_to_tell_than_it_keeps() {
    let mut host = Host::new();
    host.start();
    // Names come and go faster than they are taken in.
    let folder = host.path("");
    let stop = Arc::new(AtomicBool::new(false));
    let events = Arc::new(AtomicU64::new(0));
    let churn: Vec<_> = (0..2)
        .map(|thread| {
            let (folder, stop, events) = (folder.clone(), Arc::clone(&stop), Arc::clone(&events));
            std::thread::spawn(move || {
                let mut count = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let name = folder.join(format!("junk-{thread}-{}", count % 64));
                    File::create(&name).unwrap();
                    fs::remove_file(&name).unwrap();
                    count += 1;
                    events.fetch_add(2, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut expected = Vec::new();
    for rotation in 0..30 {
        for line in 0..20 {
            let line = format!("{rotation:02} {line:02}");
            host.append("a.log", format!("{line}\n"));
            expected.push(line);
        }
        until("the agent knows it", || host.knows(&["a.log".to_owned()])).await;
        let enough = (rotation as u64 + 1) * 1000;
        until("much has happened", || events.load(Ordering::Relaxed) > enough).await;
        fs::rename(host.path("a.log"), host.path(&format!("a.{rotation}"))).unwrap();
    }
    let shipped = host.shipped("all lines", |shipped| shipped.bodies().len() >= expected.len()).await;
    stop.store(true, Ordering::Relaxed);
    for thread in churn {
        thread.join().unwrap();
    }
    assert_eq!(shipped.sorted_bodies(), expected);
    host.stop().await;
}

#[tokio::test]
async fn b16_files_that_begin_alike_are_told_apart() {
    let mut host = Host::new();
    let head = "the same first kilobyte\n".repeat(50);
    host.append("messages.log", format!("{head}messages\n"));
    host.append("syslog.log", format!("{head}syslog\n"));
    host.start();
    let shipped = host.shipped("both", |shipped| shipped.bodies().len() == 102).await;
    assert_eq!(shipped.sources.len(), 2);
    // Copied and truncated, and the new head is the old one.
    fs::copy(host.path("syslog.log"), host.path("syslog.1")).unwrap();
    let file = File::options().write(true).open(host.path("syslog.log")).unwrap();
    file.set_len(0).unwrap();
    file.write_at(format!("{head}syslog again\nand more than there was\n").as_bytes(), 0).unwrap();
    let shipped = host.shipped("the new lines", |shipped| shipped.bodies().len() >= 154).await;
    let count = |text: &str| shipped.bodies().iter().filter(|body| *body == text).count();
    assert_eq!(
        (count("syslog"), count("messages"), count("syslog again"), shipped.bodies().len()),
        (1, 1, 1, 154)
    );
    host.stop().await;
}

#[tokio::test]
async fn b17_what_deleted_files_keep_on_the_disk_is_bounded_and_the_loss_is_said() {
    let mut host = Host::new();
    host.settings.in_flight = 16 << 20;
    host.settings.deleted_bytes = 12 << 20;
    host.topic.hold();
    let text = "0123456789abcde\n".repeat(1 << 18);
    host.start();
    for number in 0..6 {
        host.append(&format!("{number}.log"), &text);
    }
    until("all are known", || host.metric("sources") == 6).await;
    (0..6).for_each(|number| fs::remove_file(host.path(&format!("{number}.log"))).unwrap());
    until("some are let go of", || host.metric("released_files_total") >= 3).await;
    assert!(host.metric("deleted_bytes") <= 12 << 20);
    host.topic.release();
    let shipped = host
        .shipped("all have ended", |shipped| {
            shipped.sources.len() == 6 && shipped.sources.values().all(|source| source.close().is_some())
        })
        .await;
    let mut lost = 0;
    for source in shipped.sources.values() {
        let close = source.close().unwrap();
        assert_eq!((close.reason.as_str(), close.end), ("deleted", source.end()));
        lost += close.lost_at_least.unwrap_or(0);
    }
    let read: u64 = shipped.sources.values().map(ShippedSource::end).sum();
    assert_eq!(read + lost, 6 * text.len() as u64, "what was not read is said to be lost, to the byte");
    assert!(
        lost > 0
            && shipped
                .sources
                .values()
                .filter(|source| source.close().unwrap().lost_at_least.is_some())
                .count()
                <= 3
    );
    host.stop().await;
    assert_eq!(host.metric("deleted_bytes"), 0);
}

#[tokio::test]
async fn plus_ten_thousand_idle_files_are_not_read_again_and_again() {
    let mut host = Host::new();
    for number in 0..10_000 {
        fs::write(host.path(&format!("{number}.log")), format!("{number}\n")).unwrap();
    }
    host.start();
    host.shipped("all lines", |shipped| shipped.bodies().len() == 10_000).await;
    sleep(Duration::from_millis(300)).await;
    // What this whole process reads, which is the agent and the reading of this file.
    let read = || {
        let mut text = String::new();
        let mut file = File::open("/proc/self/io").unwrap();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("syscr: ")).unwrap();
        line.parse::<u64>().unwrap()
    };
    let before = read();
    sleep(Duration::from_secs(3)).await;
    let calls = read() - before;
    assert!(calls < 5_000, "{calls} reads of 10,000 files on which nothing happens");
    host.stop().await;
}
