//! `millrace up` from outside: what is written into a watched file or a journal is found, whatever it looks like, and
//! the paths that people and their tools look at are there.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use millrace_test_support::{
    Server, Site, Up, http,
    numbers::{self, Writer},
    ports, process,
    program::append,
    wait,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
/// Far more than anything here takes, on a busy machine.
const DEADLINE: Duration = Duration::from_mins(1);

/// Reads all logs of the site; what is read is sealed after a second.
fn settings(site: &Site) -> String {
    let logs = site.path("logs");
    format!(
        "[agent.sources.app]\ntype = \"file\"\ninclude = [\"{}/*.log\"]\n[indexer]\nseal_age = \"1s\"\n",
        logs.display()
    )
}

fn up(site: &Site) -> Up<'_> {
    site.up(&settings(site)).started()
}

/// Waits until one record matches, and returns it.
#[track_caller]
fn one(up: &Up<'_>, query: &str) -> Value {
    up.server.wait_for_total(query, 1, DEADLINE);
    up.server.hits(query).remove(0)
}

#[test]
fn a_line_is_found_as_soon_as_it_is_written() {
    let site = Site::new(BINARY);
    let mut up = up(&site);
    // Once the agent knows the file it is only a matter of reading on.
    site.append("app.log", "the first line\n");
    one(&up, "first");
    let written = Instant::now();
    site.append("app.log", "a needle in the hay\n");
    let found = wait::until("the line is found by the command", DEADLINE, || {
        let outcome = up.run(&["search", "needle"]);
        outcome.stdout.contains("a needle in the hay").then_some(outcome)
    });
    println!("written to found by `millrace search`: {:?}", written.elapsed());
    assert_eq!(found.code, Some(0), "{}", found.stderr);
    assert_eq!(found.stdout.lines().count(), 1);
    let hit = one(&up, "needle");
    assert_eq!(hit["body"], "a needle in the hay");
    assert_eq!(hit["_stream"], "logs");
    assert_eq!(hit["_position"], "the first line\n".len());
    assert_eq!(hit["resource"]["log.file.path"], site.log("app.log").display().to_string());
    up.stop();
}

#[test]
fn an_audit_tells_of_what_was_not_due_to_be_published_yet() {
    let site = Site::new(BINARY);
    let settings = settings(&site).replace("seal_age = \"1s\"", "seal_age = \"1h\"");
    let mut up = site.up(&settings).started();
    site.append("app.log", "a line that is still hot\n".repeat(500));
    up.server.wait_for_total("hot", 500, DEADLINE);
    let outcome = up.run(&["audit"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("500 records published"), "{}", outcome.stderr);
    up.stop();
}

#[test]
fn watching_is_told_on_the_command_line_alone() {
    let site = Site::new(BINARY);
    site.append("old.log", "written before the start\n");
    let port = ports::free();
    let listen = format!("127.0.0.1:{port}");
    let server = Server::at(port);
    // A glob is meant from where the command is given.
    let _process = site.start("up", &["up", "--data", "data", "--listen", &listen, "--watch", "logs/*.log"]);
    server.wait_until_ready(DEADLINE);
    server.wait_for_total("\"before the start\"", 1, DEADLINE);
    site.append("new.log", "written after it\n");
    server.wait_for_total("after", 1, DEADLINE);
}

#[test]
fn fields_of_json_lines_are_searched_hot_and_sealed() {
    let site = Site::new(BINARY);
    let up = up(&site);
    for (status, level) in [(200, "info"), (404, "warn"), (500, "error"), (503, "error")] {
        site.append(
            "web.log",
            format!("{{\"status\":{status},\"level\":\"{level}\",\"user\":{{\"name\":\"ann\"}}}}\n"),
        );
    }
    site.append("web.log", "status 500 in plain words\n");
    let checks = [
        ("status:>=500", 2),
        ("level:error", 2),
        ("level:>=warn", 3),
        ("status:404", 1),
        ("user.name:an*", 4),
        ("status", 5),
    ];
    for sealed in [false, true] {
        if sealed {
            up.server.wait_for_a_shard(DEADLINE);
        }
        for (query, expected) in checks {
            up.server.wait_for_total(query, expected, DEADLINE);
        }
    }
    let answer = up.server.search(&json!({ "q": "status:>=500", "limit": 1, "histogram": "1h" }));
    assert_eq!((&answer["total"], answer["hits"].as_array().unwrap().len()), (&json!(2), 1));
    assert_eq!(
        answer["histogram"]["buckets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|b| b["count"].as_u64().unwrap())
            .sum::<u64>(),
        2
    );
    assert_eq!(answer["hits"][0]["attributes"]["status"], 503);
    assert_eq!(answer["hits"][0]["severity_text"], "error");
}

/// Waits until something was published.
#[track_caller]
#[test]
fn a_file_that_is_renamed_is_read_to_its_end_and_its_successor_too() {
    let site = Site::new(BINARY);
    let up = up(&site);
    for generation in 1..=3 {
        site.append("app.log", format!("generation{generation} begins\n"));
        one(&up, &format!("generation{generation} begins"));
        // The new name is none that is watched, and the writer still has the file open.
        let renamed = site.log(&format!("app.log.{generation}"));
        fs::rename(site.log("app.log"), &renamed).unwrap();
        append(&renamed, format!("generation{generation} ends\n").as_bytes());
    }
    up.server.wait_for_total("ends", 3, DEADLINE);
    up.assert_audit_is_complete(6);
}

#[test]
fn files_that_are_rotated_faster_than_they_are_found_are_read_once() {
    let site = Site::new(BINARY);
    let logs = site.path("logs");
    let settings = settings(&site).replace("*.log\"", &format!("*.log\", \"{}/*.log.*\"", logs.display()));
    let up = site.up(&settings).started();
    let mut writer = Writer::new(&logs, 3, 200);
    writer.write_until(10_000);
    up.server.wait_for_total(numbers::QUERY, 10_000, DEADLINE);
    numbers::assert_each_once(&up.server, 10_000);
    up.assert_audit_is_complete(10_000);
}

#[test]
fn bytes_that_are_no_utf8_and_a_missing_line_end_lose_nothing() {
    let site = Site::new(BINARY);
    let up = up(&site);
    site.append("odd.log", b"before\ncaf\xe9 au lait\r\n\n   \nwith \x00 inside\nafter\nunfinished");
    let hit = one(&up, "lait");
    assert_eq!(hit["body"], "caf\u{fffd} au lait");
    for query in ["before", "after", "inside"] {
        one(&up, query);
    }
    assert_eq!(up.server.whole_total("unfinished"), Some(0), "a line is found when it is whole");
    site.append("odd.log", " no more\n");
    assert_eq!(one(&up, "unfinished")["body"], "unfinished no more");
    up.assert_audit_is_complete(5);
    let audit = up.server.get("/api/v1/audit");
    assert_eq!(audit["sources"][0]["skipped"], json!({ "blank": 5 }));
    assert_eq!(audit["sources"][0]["covered"], fs::metadata(site.log("odd.log")).unwrap().len());
}

#[test]
fn a_line_of_50_mb_is_one_truncated_record_between_intact_neighbours() {
    const LENGTH: usize = 50_000_000;
    let site = Site::new(BINARY);
    let up = up(&site);
    site.append("long.log", "the line before\n");
    let mut long = b"monster ".to_vec();
    long.resize(LENGTH, b'x');
    for part in long.chunks(7_000_000) {
        site.append("long.log", part);
    }
    site.append("long.log", "\nthe line after\n");
    let hit = one(&up, "monster");
    assert_eq!(hit["attributes"]["log.truncated"], true);
    assert_eq!(hit["attributes"]["log.original_length"], LENGTH);
    assert_eq!(one(&up, "before")["body"], "the line before");
    assert_eq!(one(&up, "after")["body"], "the line after");
    // Lists show the beginning; the record itself has as much as was kept.
    let cut = hit["body_truncated_bytes"].as_u64().unwrap() + hit["body"].as_str().unwrap().len() as u64;
    let record = up.server.get(&format!("/api/v1/records/{}", hit["_id"].as_str().unwrap()));
    assert_eq!(record["body"].as_str().unwrap().len() as u64, cut);
    assert!((1_000_000..=LENGTH as u64).contains(&cut), "{cut} bytes were kept");
    up.assert_audit_is_complete(3);
    let audit = up.server.get("/api/v1/audit");
    assert_eq!(audit["sources"][0]["skipped"]["over_long"], LENGTH as u64 + 1 - cut);
}

#[test]
fn what_cannot_be_read_is_a_metric_and_no_more() {
    let site = Site::new(BINARY);
    fs::create_dir(site.log("folder.log")).unwrap();
    std::os::unix::fs::symlink("nowhere", site.log("dangling.log")).unwrap();
    fs::write(site.log("locked.log"), "secret\n").unwrap();
    fs::set_permissions(site.log("locked.log"), std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    fs::write(site.log("vanishing.log"), "soon gone\n").unwrap();
    let mut up = up(&site);
    up.server.wait_for_total("gone", 1, DEADLINE);
    fs::remove_file(site.log("vanishing.log")).unwrap();
    site.append("good.log", "still read\n");
    up.server.wait_for_total("still", 1, DEADLINE);
    let root = fs::read(site.log("locked.log")).is_ok();
    if !root {
        assert!(up.server.metric("millrace_agent_source_errors_total").is_some_and(|errors| errors >= 1.0));
    }
    assert!(up.server.is_ready());
    up.stop();
}

#[test]
fn folders_that_come_later_and_links_are_read_once() {
    let site = Site::new(BINARY);
    let logs = site.path("logs");
    let settings =
        settings(&site).replace("*.log\"", &format!("*.log\", \"{}/later/*/*.log\"", logs.display()));
    let up = site.up(&settings).started();
    std::os::unix::fs::symlink("real.log", site.log("link.log")).unwrap();
    fs::hard_link(site.write("logs/real.log", "under three names\n"), site.log("other.log")).unwrap();
    up.server.wait_for_total("names", 1, DEADLINE);
    fs::create_dir_all(site.log("later/deep")).unwrap();
    site.append("later/deep/app.log", "in a folder that was not there\n");
    up.server.wait_for_total("folder", 1, DEADLINE);
    site.append("link.log", "under three names again\n");
    up.server.wait_for_total("names", 2, DEADLINE);
    up.assert_audit_is_complete(3);
}

#[test]
fn a_file_that_is_truncated_is_read_on_and_never_called_complete() {
    let site = Site::new(BINARY);
    let up = up(&site);
    site.append("app.log", "the old one\nthe old two\n");
    up.server.wait_for_total("old", 2, DEADLINE);
    fs::write(site.log("app.log"), "the new one\n").unwrap();
    up.server.wait_for_total("new", 1, DEADLINE);
    site.append("app.log", "the new two\n");
    up.server.wait_for_total("new", 2, DEADLINE);
    assert_eq!(up.server.whole_total("the"), Some(4));
    wait::until_true("everything is published", DEADLINE, || {
        up.server.get("/api/v1/audit")["records"] == json!(4)
    });
    // Nobody can know whether something was written between the last look and the truncation.
    let outcome = up.run(&["audit"]);
    assert_eq!(outcome.code, Some(1), "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stdout.contains("lost") && outcome.stdout.contains("at least 0"), "{}", outcome.stdout);
}

#[test]
fn a_journal_is_read_from_its_folder() {
    let site = Site::new(BINARY);
    fs::create_dir(site.path("journal")).unwrap();
    journal(&site, "first", 0..300);
    let settings = format!(
        "[agent.sources.old]\ntype = \"journald\"\ndirectory = \"{}\"\nstream = \"journal\"\n\
         [indexer]\nseal_age = \"1s\"\n[streams.journal]\nretention = \"36500d\"\n",
        site.path("journal").display()
    );
    let mut up = site.up(&settings).started();
    up.server.wait_for_total("service:sshd", 300, DEADLINE);
    let hit = one(&up, "\"journal entry 42\"");
    assert_eq!(hit["body"], "journal entry 42 of first");
    assert_eq!((&hit["severity_text"], &hit["_stream"]), (&json!("err"), &json!("journal")));
    assert_eq!(hit["resource"]["host.name"], "oldhost");
    assert!(hit["timestamp"].as_str().unwrap().starts_with("2025-06-15T"), "{hit}");
    up.server.wait_for_total("level:error host:oldhost", 300, DEADLINE);

    // Read on after a kill, with what has come meanwhile, and nothing twice.
    up.kill();
    journal(&site, "second", 300..400);
    up.start();
    up.server.wait_for_total("service:sshd", 400, DEADLINE);
    up.assert_audit_is_complete(400);
}

/// Adds a journal file with these entries, as `systemd-journal-remote` of another machine would.
fn journal(site: &Site, name: &str, numbers: std::ops::Range<u64>) {
    // 2025-06-15T00:00:00Z
    const START: u64 = 1_749_945_600_000_000;
    let mut export = String::new();
    for number in numbers {
        let time = START + number * 1_000_000;
        let entry = format!(
            "__REALTIME_TIMESTAMP={time}\n__MONOTONIC_TIMESTAMP={}\n_BOOT_ID=3a1f2b4c5d6e7f8091a2b3c4d5e6f708\n\
             _MACHINE_ID=0123456789abcdef0123456789abcdef\n_HOSTNAME=oldhost\nSYSLOG_IDENTIFIER=sshd\n_COMM=sshd\nPRIORITY=3\n\
             MESSAGE=journal entry {number} of {name}\n\n",
            number * 1_000_000 + 5_000_000
        );
        export.push_str(&entry);
    }
    let input = site.write(&format!("{name}.export"), &export);
    let output = site.path("journal").join(format!("{name}.journal"));
    let remote = ["/usr/lib/systemd/systemd-journal-remote", "/lib/systemd/systemd-journal-remote"];
    let remote = remote.into_iter().find(|path| Path::new(path).exists());
    let remote = remote.expect("no systemd-journal-remote: run `make test`, which installs it");
    let outcome =
        process::run(Command::new(remote).stdin(Stdio::null()).arg("-o").arg(output).arg(input), DEADLINE);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
}

#[test]
fn probes_metrics_and_the_page_are_there() {
    let site = Site::new(BINARY);
    let mut up = up(&site);
    site.append("app.log", "something to count\n");
    one(&up, "count");
    let get = |path: &str| http::get(&up.server.address, path).unwrap();
    assert_eq!((get("/healthz").status, get("/readyz").status), (200, 200));
    assert_eq!(up.server.get("/readyz"), json!({ "ready": true, "problems": [] }));
    assert_eq!(up.server.get("/version"), json!({ "version": env!("CARGO_PKG_VERSION") }));
    assert_eq!(get("/nowhere").status, 404);
    assert!(get("/api/v1/nowhere").text().starts_with("{\"error\":{\"code\":\"not_found\""));
    let wrong = http::post(&up.server.address, "/api/v1/audit", "{}").unwrap();
    assert_eq!((wrong.status, wrong.header("allow").is_some()), (405, true));
    assert!(wrong.text().contains("\"code\":\"method_not_allowed\""), "{}", wrong.text());
    let page = get("/");
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    assert!(page.text().contains("<form") && page.text().contains("api/v1/search"));

    let metrics = get("/metrics").text();
    assert!(metrics.ends_with("# EOF\n"));
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        assert!(name.starts_with("millrace_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(!name.ends_with("_total_total"), "{line}");
    }
    assert_eq!(up.server.metric("millrace_agent_read_records_total"), Some(1.0));
    assert_eq!(up.server.metric("millrace_indexer_records_total"), Some(1.0));
    assert_indexer_tells(&up);
    up.stop();
}

/// What an indexer's metrics say when one record was taken in and nothing more comes.
#[track_caller]
fn assert_indexer_tells(up: &Up<'_>) {
    let metric = |name: &str| up.server.metric(&format!("millrace_indexer_{name}"));
    wait::until_true("what was taken in is counted", DEADLINE, || {
        (metric("hot_rows"), metric("hot_shards")) == (Some(1.0), Some(1.0))
    });
    assert_eq!((metric("lag_messages"), metric("lag_seconds")), (Some(0.0), Some(0.0)));
    assert!(metric("hot_bytes") > Some(0.0) && metric("free_bytes") > Some(0.0));
    assert_eq!(metric("freshness_seconds_count"), Some(1.0));
    assert!(metric("freshness_seconds_sum") > Some(0.0));
    assert_eq!(metric("paused"), Some(0.0));
    let sealed = "stored_shards{stream=\"logs\",tier=\"sealed\"}";
    wait::until_true("what is stored is counted", DEADLINE, || metric(sealed) == Some(1.0));
    assert_eq!(metric("stored_bytes"), metric("shard_bytes_total"));
    for nothing in
        ["incomplete_sources", "missing_ranges", "missing_positions", "lost_positions", "running_merges"]
    {
        assert_eq!(metric(nothing), Some(0.0), "{nothing}");
    }
}
