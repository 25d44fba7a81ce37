#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{
    budget::Budget,
    checkpoint::Place,
    metrics::Metrics,
    settings::FileSettings,
    source::{Context, Deleted},
};
use millrace_intake::{Limits, Policy, Process};
use millrace_model::{AgentId, BootId, InstanceId, StreamName, SystemClock, wire::Sender};
use std::{fs, sync::Arc};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

#[test]
fn b9_a_size_that_is_told_too_small_once_is_no_truncation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    fs::write(&path, "one\ntwo\n").unwrap();
    let (readings, _received) = mpsc::channel(64);
    let shared = Context {
        name: "a".into(),
        kind: "file",
        stream: StreamName::default(),
        sender: Sender { agent: AgentId(1), instance: InstanceId(1), epoch: 1, boot: BootId(1) },
        host: "host".into(),
        readings,
        budget: Budget::new(1 << 20).share(),
        deleted: Deleted::new(1 << 20),
        clock: Arc::new(SystemClock),
        metrics: Metrics::default(),
        limits: Limits::default(),
        process: Process::default(),
        policy: Policy::nothing(),
        stop: CancellationToken::new(),
    };
    let context = FileContext { shared, settings: Arc::new(FileSettings::default()) };
    let place = FilePlace {
        path: path.clone(),
        at: path.clone(),
        identity: FileIdentity::of(&fs::metadata(&path).unwrap()),
        head: Fingerprint::default(),
        marker: Fingerprint::default(),
        size: 0,
        packed: None,
    };
    let entry = Entry::new("a".to_owned(), Place::File(place.clone()), 0);
    let mut generation = Generation::new(SourceId(1), &entry, &place, true, &context);
    let mut block = ReadBlock::new();
    let mut turn = |generation: &mut Generation| generation.turn(&mut block, &context).unwrap();
    assert!(matches!(turn(&mut generation), Turn::Drained));
    assert_eq!(generation.position(), 8);

    // Told as smaller once, and then as it is.
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(4).unwrap();
    assert!(matches!(turn(&mut generation), Turn::Drained));
    fs::write(&path, "one\ntwo\nthree\n").unwrap();
    assert!(matches!(turn(&mut generation), Turn::Drained));
    assert_eq!(generation.position(), 14, "it goes on where it was");

    // Twice in a row it is believed; and once, where what stands there is something else.
    file.set_len(4).unwrap();
    assert!(matches!(turn(&mut generation), Turn::Drained));
    assert!(matches!(turn(&mut generation), Turn::Replaced));
    fs::write(&path, "other lines, more of them\n").unwrap();
    assert!(matches!(turn(&mut generation), Turn::Replaced));
}
