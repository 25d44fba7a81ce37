//! Senders that push lines over HTTP, each again until it is acknowledged, and remember what they were told.

use crate::{http, server::Server, wait};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How long a sender waits before it sends a line again.
const AGAIN: Duration = Duration::from_millis(5);

/// A line that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The line.
    pub line: String,
    /// Its first sending was the acknowledged one. Of others nobody knows whether they were taken before.
    pub once: bool,
}

/// Senders at work.
#[derive(Debug)]
pub struct Pusher {
    stop: Arc<AtomicBool>,
    senders: Vec<JoinHandle<Vec<Pushed>>>,
}

impl Pusher {
    /// So many senders push to this address (`host:port`).
    pub fn start(address: &str, senders: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sender = |name: usize| {
            let (stop, address) = (Arc::clone(&stop), address.to_owned());
            thread::spawn(move || push(&address, name, &stop))
        };
        let senders = (0..senders).map(sender).collect();
        Self { stop, senders }
    }

    /// Lets them end, once what they have in hand is acknowledged; all that was.
    ///
    /// # Panics
    /// When a sender panicked.
    pub fn finish(self) -> Vec<Pushed> {
        self.stop.store(true, Ordering::SeqCst);
        self.senders.into_iter().flat_map(|sender| sender.join().expect("a sender")).collect()
    }
}

fn push(address: &str, name: usize, stop: &AtomicBool) -> Vec<Pushed> {
    let mut pushed = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let line = format!("{{\"line\":\"{name}-{}\"}}", pushed.len());
        let mut once = true;
        while !http::post(address, "/", &line).is_ok_and(|answer| answer.status == 200) {
            once = false;
            thread::sleep(AGAIN);
        }
        pushed.push(Pushed { line, once });
    }
    pushed
}

/// Waits until all that was acknowledged is there, and makes sure that nothing else is, and nothing twice that was sent once. How
/// many records there are.
///
/// # Panics
/// When that is not so within that time.
#[track_caller]
pub fn assert_all_there(server: &Server, pushed: &[Pushed], within: Duration) -> u64 {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    wait::until_true("all that was acknowledged is there", within, || {
        times.clear();
        server.each_hit("*", |hit| {
            *times.entry(hit["body"].as_str().expect("a body").to_owned()).or_default() += 1;
        });
        pushed.iter().all(|Pushed { line, .. }| times.contains_key(line))
    });
    for Pushed { line, once } in pushed {
        assert!(times[line] == 1 || !once, "{line} is there {} times", times[line]);
    }
    assert_eq!(times.len(), pushed.len(), "nothing is made up");
    times.values().sum::<usize>() as u64
}
