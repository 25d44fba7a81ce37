//! Journals, built with systemd-journal-remote (Debian: the package of that name) and read with journalctl.

use crate::support::{Host, Shipped, until};
use millrace_model::{Timestamp, Value, wire::SkipReason};
use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const JOURNAL_REMOTE: &str = "/usr/lib/systemd/systemd-journal-remote";

/// Writes entries into a journal file; each writing is a sequence of its own, unless the file is there already.
fn write(file: &Path, entries: &[(u64, &str)]) {
    let mut export = String::new();
    for (second, message) in entries {
        let boot = if *second < 10 { "a" } else { "b" }.repeat(32);
        writeln!(
            export,
            "__REALTIME_TIMESTAMP={}\n__MONOTONIC_TIMESTAMP={}\n_BOOT_ID={boot}\n_HOSTNAME=web1\nPRIORITY=4\n\
             SYSLOG_IDENTIFIER=sshd\n_PID=7\nMESSAGE={message}\n",
            (1_700_000_000 + second) * 1_000_000,
            second * 1_000_000
        )
        .unwrap();
    }
    let input = file.with_extension("export");
    fs::write(&input, export).unwrap();
    let written = Command::new(JOURNAL_REMOTE).arg("-o").arg(file).arg(&input).output();
    let written = written.expect("systemd-journal-remote is installed");
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
}

fn host_with_journal() -> (Host, PathBuf) {
    let mut host = Host::new();
    let folder = host.folder.path().join("journal");
    fs::create_dir(&folder).unwrap();
    host.watch_journal(&folder);
    (host, folder)
}

fn numbered(from: u64, to: u64) -> Vec<(u64, String)> {
    (from..to).map(|number| (number, format!("m{number}"))).collect()
}

fn write_numbered(file: &Path, from: u64, to: u64) {
    let entries = numbered(from, to);
    write(file, &entries.iter().map(|(number, message)| (*number, message.as_str())).collect::<Vec<_>>());
}

fn expected(from: u64, to: u64) -> Vec<String> {
    numbered(from, to).into_iter().map(|(_, message)| message).collect()
}

async fn shipped(host: &Host, count: usize) -> Shipped {
    host.shipped(&format!("{count} entries are shipped"), |shipped| shipped.bodies().len() >= count).await
}

#[tokio::test]
async fn entries_of_all_boots_become_records_and_new_files_are_followed() {
    let (mut host, folder) = host_with_journal();
    write_numbered(&folder.join("one.journal"), 0, 20);
    host.start();
    let first = shipped(&host, 20).await;
    let source = first.only();
    assert_eq!(source.bodies(), expected(0, 20));
    assert_eq!((source.open().kind.as_str(), source.open().start, source.end()), ("journald", 1, 21));
    let (_, record) = &source.runs[&4];
    let record = record.as_ref().unwrap();
    assert_eq!(record.body, Value::from("m3"));
    assert_eq!(record.timestamp, Some(Timestamp(1_700_000_003_000_000_000)));
    assert_eq!((record.severity.class(), record.severity_text.as_str()), ("warn", "warning"));
    assert_eq!(record.resource.get("host.name"), Some(&Value::from("web1")));
    assert_eq!(record.resource.get("service.name"), Some(&Value::from("sshd")));
    assert_eq!(record.attributes.get("_PID"), Some(&Value::from("7")));
    host.check_conservation();

    // A second file has numbers of its own.
    write_numbered(&folder.join("two.journal"), 30, 40);
    let both = shipped(&host, 30).await;
    assert_eq!(both.sources.len(), 2);
    host.stop().await;
}

#[tokio::test]
async fn a_restart_goes_on_after_the_last_delivered_entry() {
    let (mut host, folder) = host_with_journal();
    write_numbered(&folder.join("one.journal"), 0, 20);
    host.start();
    shipped(&host, 20).await;
    host.stop().await;
    let before = host.topic.messages();
    write_numbered(&folder.join("one.journal"), 20, 25);
    host.start();
    let after = shipped(&host, 25).await;
    assert_eq!(after.only().bodies(), expected(0, 25));
    assert_eq!(host.topic.messages(), before + 1, "nothing twice");
    host.stop().await;
}

#[tokio::test]
async fn killed_with_entries_under_way_they_come_again_at_the_same_positions() {
    let (mut host, folder) = host_with_journal();
    let file = folder.join("one.journal");
    let mut written = 0;
    for life in 0..6 {
        host.topic.hold_after(life % 2);
        write_numbered(&file, written, written + 50);
        written += 50;
        host.start();
        let topic = host.topic.clone();
        until("something is under way", || topic.held() > 0 || topic.messages() > 0).await;
        host.kill().await;
    }
    host.start();
    let all = shipped(&host, written as usize).await;
    assert_eq!(all.only().bodies(), expected(0, written));
    assert_eq!(all.only().skipped(SkipReason::Lost), 0);
    host.stop().await;
}

#[tokio::test]
async fn entries_that_are_gone_are_accounted_for_as_lost() {
    let (mut host, folder) = host_with_journal();
    let file = folder.join("one.journal");
    write_numbered(&file, 0, 10);
    host.start();
    shipped(&host, 10).await;
    host.stop().await;

    // While the agent is down the journal grows into a second file with the same sequence, and loses the first.
    write_numbered(&file, 10, 2000);
    fs::rename(&file, folder.join("old")).unwrap();
    let kept = Command::new("journalctl")
        .args(["--output=export", "--quiet", "--lines=500", "--file"])
        .arg(folder.join("old"))
        .output()
        .unwrap();
    let kept = String::from_utf8(kept.stdout).unwrap();
    assert_eq!(kept.matches("MESSAGE=").count(), 500);
    // What journalctl would print of the rest: a stand-in for it that knows only the last 500 entries.
    let script = folder.join("journalctl");
    let export = folder.join("kept.export");
    fs::write(&export, kept).unwrap();
    fs::write(&script, format!("#!/bin/sh\ncat {}\nexec sleep 60\n", export.display())).unwrap();
    Command::new("chmod").arg("+x").arg(&script).status().unwrap();
    host.journal_settings().journalctl = script;
    host.start();
    let after = shipped(&host, 510).await;
    let source = after.only();
    assert_eq!(source.skipped(SkipReason::Lost), 1490);
    assert_eq!(source.end(), 2001);
    assert_eq!(source.bodies()[10..], expected(1500, 2000));
    assert_eq!(host.metric("lost_entries_total"), 1490);
    host.stop().await;
}

#[tokio::test]
async fn without_journalctl_it_is_said_and_tried_again() {
    let (mut host, folder) = host_with_journal();
    write_numbered(&folder.join("one.journal"), 0, 5);
    let program = folder.join("journalctl");
    host.journal_settings().journalctl = program.clone();
    host.start();
    until("the trouble is counted", || host.metric("source_errors_total") > 0).await;
    fs::write(&program, "#!/bin/sh\nexec journalctl \"$@\"\n").unwrap();
    Command::new("chmod").arg("+x").arg(&program).status().unwrap();
    shipped(&host, 5).await;
    host.stop().await;
}
