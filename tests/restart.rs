//! `millrace up` that ends, is killed and comes back on the same data: nothing is lost and nothing comes twice; and what
//! its data does when two want it, when its time is over, or when the disk has no room for more.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use millrace_catalogue::Catalogue;
use millrace_model::{ShardId, SystemClock};
use millrace_test_support::{
    Site,
    numbers::{self, Writer},
    wait,
};
use std::{
    fs,
    net::TcpListener,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);

/// Reads everything in the site's folder of logs, rotated files too.
fn settings(site: &Site) -> String {
    let logs = site.path("logs");
    format!(
        "[agent.sources.app]\ntype = \"file\"\ninclude = [\"{}/*\"]\n[indexer]\nseal_age = \"500ms\"\n",
        logs.display()
    )
}

#[test]
fn an_orderly_restart_loses_nothing_and_repeats_nothing() {
    let site = Site::new(BINARY);
    let mut up = site.up(&settings(&site)).started();
    let mut writer = Writer::new(&site.path("logs"), 4, 700);
    for round in 1..=3 {
        writer.write_until(round * 4000 - 2000);
        up.server.wait_for_total(numbers::QUERY, round * 4000 - 2000, DEADLINE);
        up.stop();
        // What is written and rotated meanwhile is found at the next start.
        writer.write_until(round * 4000);
        up.start();
    }
    up.server.wait_for_total(numbers::QUERY, 12_000, DEADLINE);
    numbers::assert_each_once(&up.server, 12_000);
    up.assert_audit_is_complete(12_000);
}

#[test]
fn kill_9_at_any_moment_loses_nothing_and_repeats_nothing() {
    let site = Site::new(BINARY);
    let mut up = site.up(&settings(&site));
    let mut writer = Writer::new(&site.path("logs"), 4, 700);
    for round in 1..=6 {
        let begun = Instant::now();
        up.start();
        println!("ready after {:?}", begun.elapsed());
        // Each time somewhat further into shipping, sealing and publishing.
        let until = Instant::now() + Duration::from_millis(round * 170);
        let mut next = writer.written();
        while Instant::now() < until {
            next += 50;
            writer.write_until(next);
            std::thread::yield_now();
            up.server.whole_total("*");
        }
        up.kill();
        writer.write_until(next + 500);
    }
    up.start();
    let written = writer.written();
    up.server.wait_for_total(numbers::QUERY, written, DEADLINE);
    numbers::assert_each_once(&up.server, written);
    up.assert_audit_is_complete(written);
    println!("{written} lines");
}

#[test]
fn a_publish_that_is_killed_between_upload_and_transaction_changes_nothing() {
    let site = Site::new(BINARY);
    let mut up = site.up(&settings(&site)).started();
    let mut writer = Writer::new(&site.path("logs"), 2, 700);
    let (mut attempts, mut killed_between) = (0, 0);
    while killed_between < 2 {
        attempts += 1;
        assert!(attempts <= 60, "of {attempts} kills {killed_between} came between upload and transaction");
        let before = files(&site.path("data/shards"));
        writer.write_until(writer.written() + 300);
        let begun = Instant::now();
        while files(&site.path("data/shards")) == before {
            assert!(begun.elapsed() < DEADLINE, "nothing was published");
        }
        up.kill();
        killed_between = unpublished(&site);
        up.start();
    }
    println!("{killed_between} of {attempts} kills came between upload and transaction");
    let written = writer.written();
    up.server.wait_for_total(numbers::QUERY, written, DEADLINE);
    numbers::assert_each_once(&up.server, written);
    up.assert_audit_is_complete(written);
}

/// How many bundles lie there that the catalogue does not know.
fn unpublished(site: &Site) -> usize {
    let Ok(entries) = fs::read_dir(site.path("data/shards/logs")) else { return 0 };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let ids: Vec<ShardId> =
        names.filter_map(|name| Some(name.strip_suffix(".shard")?.parse().unwrap())).collect();
    let url = format!("sqlite://{}", site.path("data/catalogue.db").display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let catalogue = Catalogue::open(&url, Arc::new(SystemClock)).await.unwrap();
        ids.len() - catalogue.known_shards(&ids).await.unwrap().len()
    })
}

#[test]
fn a_damaged_checkpoint_gives_way_to_the_one_before() {
    let site = Site::new(BINARY);
    let mut up = site.up(&settings(&site)).started();
    let mut writer = Writer::new(&site.path("logs"), 2, 1000);
    writer.write_until(3000);
    up.server.wait_for_total(numbers::QUERY, 3000, DEADLINE);
    up.assert_audit_is_complete(3000);
    up.kill();
    let checkpoint = site.path("data/agent/checkpoint.json");
    let length = fs::metadata(&checkpoint).unwrap().len();
    fs::File::options().write(true).open(&checkpoint).unwrap().set_len(length / 2).unwrap();
    writer.write_until(4000);
    up.start();
    up.server.wait_for_total(numbers::QUERY, 4000, DEADLINE);
    numbers::assert_each_once(&up.server, 4000);
    up.assert_audit_is_complete(4000);
    let log = up.process().log();
    assert!(log.contains("ERROR") && log.contains("checkpoint.json"), "a damaged checkpoint is said loudly");
}

#[test]
fn a_second_one_on_the_same_data_is_refused() {
    let site = Site::new(BINARY);
    let mut first = site.up(&settings(&site)).started();
    let data = site.path("data").display().to_string();
    let second = site.run(&["up", "--data", &data, "--listen", "127.0.0.1:0", "--watch", "logs/*"]);
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    let last = second.stderr.lines().last().unwrap();
    assert!(last.starts_with("millrace: ") && last.contains("in use"), "{}", second.stderr);
    assert!(second.stderr.contains(&data), "{}", second.stderr);
    site.append("a.log", "the first one goes on\n");
    first.server.wait_for_total("goes", 1, DEADLINE);
    first.stop();
}

#[test]
fn an_occupied_port_is_a_clear_error() {
    let site = Site::new(BINARY);
    let other = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let listen = other.local_addr().unwrap().to_string();
    let begun = Instant::now();
    let outcome = site.run(&["up", "--data", "data", "--listen", &listen, "--watch", "logs/*"]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    let last = outcome.stderr.lines().last().unwrap();
    assert!(last.starts_with("millrace: ") && last.contains(&listen), "{}", outcome.stderr);
    assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?} to say so", begun.elapsed());
}

#[test]
fn a_stream_loses_its_shards_when_their_time_is_over() {
    let site = Site::new(BINARY);
    let logs = site.path("logs");
    let settings = format!(
        "[agent.sources.short]\ntype = \"file\"\ninclude = [\"{0}/short*\"]\nstream = \"short\"\n\
         [agent.sources.long]\ntype = \"file\"\ninclude = [\"{0}/long*\"]\nstream = \"long\"\n\
         [indexer]\nseal_age = \"200ms\"\nexpired_grace = \"500ms\"\n[streams.short]\nretention = \"8s\"\n",
        logs.display()
    );
    let up = site.up(&settings).started();
    site.append("short.log", "soon forgotten\n");
    site.append("long.log", "long remembered\n");
    let written = Instant::now();
    up.server.wait_for_total("forgotten", 1, DEADLINE);
    up.server.wait_for_total("remembered", 1, DEADLINE);
    let bundles = site.path("data/shards");
    wait::until_true("both were published", DEADLINE, || files(&bundles) == 2);
    wait::until_true("the shard is gone, bytes and all", DEADLINE, || files(&bundles) == 1);
    assert!(written.elapsed() >= Duration::from_secs(8), "it was kept for {:?}", written.elapsed());
    assert_eq!(up.server.whole_total("forgotten"), Some(0));
    assert_eq!(up.server.whole_total("remembered"), Some(1));
    assert_eq!(up.server.metric("millrace_indexer_expired_shards_total"), Some(1.0));
    // What has expired was not lost.
    up.assert_audit_is_complete(2);
}

/// How many files lie in a folder and below, what is being worked on aside.
fn files(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let is_kept = |path: &std::path::PathBuf| !path.ends_with(".work") && !path.ends_with("catalogue");
    let paths = entries.map(|entry| entry.unwrap().path()).filter(is_kept);
    paths.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

/// On a disk of its own, if there is one: what is free there is nobody else's doing.
fn memory_disk() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("millrace-test-").tempdir_in(folder).unwrap()
}

#[test]
fn a_disk_with_too_little_room_is_backpressure() {
    let site = Site::new(BINARY);
    let disk = memory_disk();
    std::os::unix::fs::symlink(disk.path(), site.path("data")).unwrap();
    let mut up = site.up(&settings(&site)).started();
    let free = wait::until("it knows what is free", DEADLINE, || {
        up.server.metric("millrace_indexer_free_bytes").filter(|free| *free > 0.0)
    }) as u64;
    up.stop();
    let unit = free.min(512 << 20) / 4;
    let bound = free - 2 * unit;
    let room = format!("min_free = {bound}\n[topic]\ntype = \"embedded\"\nmin_free = {bound}\n");
    let mut up = site.up(&format!("{}{room}", settings(&site))).started();
    site.append("app.log", "while there is room\n");
    up.server.wait_for_total("while", 1, DEADLINE);
    let paused = "millrace_indexer_paused{reason=\"disk\"}";
    assert_eq!(up.server.metric(paused), Some(0.0));

    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![1; usize::try_from(3 * unit).unwrap()]).unwrap();
    wait::until_true("the indexer pauses", DEADLINE, || up.server.metric(paused) == Some(1.0));
    site.append("app.log", "while there is none\n");
    wait::until_true("the topic takes nothing", DEADLINE, || {
        let answer = millrace_test_support::http::get(&up.server.address, "/readyz").unwrap();
        let text = answer.text();
        answer.status == 503
            && text.contains("indexer: ")
            && text.contains("topic: ")
            && text.contains("min_free")
    });
    // What was taken in before is found, and published all the same.
    assert_eq!(up.server.search(&serde_json::json!({ "q": "while", "limit": 0 }))["total"], 1);
    up.server.wait_for_a_shard(DEADLINE);

    fs::remove_file(ballast).unwrap();
    up.server.wait_for_total("while", 2, DEADLINE);
    up.server.wait_until_ready(DEADLINE);
    assert_eq!(up.server.metric(paused), Some(0.0));
    up.assert_audit_is_complete(2);
    up.stop();
}
