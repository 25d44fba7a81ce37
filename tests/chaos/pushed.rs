//! Pushed input while the agent is killed, and while the disk that its spool lies on is full, at random moments.

use crate::{
    BINARY, DEADLINE,
    random::{Random, number},
};
use millrace_test_support::{
    Site,
    disk::SmallDisk,
    ports,
    pusher::{self, Pusher},
};
use std::{thread, time::Duration};

/// The disk of the agent's state.
const SMALL: u64 = 24 << 20;

#[test]
#[ignore = "takes a minute, and mounts a disk: make chaos"]
fn what_was_acknowledged_survives_kills_and_a_full_disk() {
    let rounds = number("MILLRACE_CHAOS_KILLS").unwrap_or(10);
    let mut random = Random::from_environment();
    let site = Site::new(BINARY);
    let disk = SmallDisk::mount(&site.path("small"), SMALL);
    let address = format!("127.0.0.1:{}", ports::free());
    let mut up = site
        .up(&format!(
            "[agent]\nstate_dir = \"{}\"\n[agent.sources.web]\ntype = \"http\"\nlisten = \"{address}\"\nspool_bytes = \"16MiB\"\n\
             min_free = \"0B\"\n",
            disk.path().join("agent").display()
        ))
        .started();
    let pusher = Pusher::start(&address, 4);
    let mut refused = 0.0;
    for _ in 0..rounds {
        thread::sleep(random.time(Duration::ZERO, Duration::from_secs(2)));
        disk.fill(random.time(Duration::from_millis(500), Duration::from_secs(2)));
        let series = "millrace_agent_refused_records_total{kind=\"http\",reason=\"disk\"}";
        refused += up.server.metric(series).unwrap_or(0.0);
        thread::sleep(random.time(Duration::ZERO, Duration::from_secs(1)));
        up.kill();
        up.start();
    }
    let pushed = pusher.finish();
    assert!(refused > 0.0, "the disk was never too full to take a record");
    let records = pusher::assert_all_there(&up.server, &pushed, DEADLINE);
    up.assert_audit_is_complete(records);
    println!("{} lines acknowledged, {records} records, {refused} times refused", pushed.len());
}
