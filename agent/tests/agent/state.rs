//! What happens to the state folder: copied, damaged, lost; and to the settings that its entries are for.

use crate::support::{Host, Shipped, until};
use std::fs;

fn sources_of(shipped: &Shipped, because: &str) -> usize {
    shipped.sources.values().filter(|source| source.open().because.as_deref() == Some(because)).count()
}

#[tokio::test]
async fn a_copied_state_folder_loses_nothing_of_either() {
    let mut host = Host::new();
    host.append("a.log", "one\n");
    host.start();
    host.shipped_bodies(&["one"]).await;
    host.stop().await;

    let copy = host.folder.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for file in fs::read_dir(&host.settings.state_dir).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    let mut clone = Host::new();
    clone.settings.state_dir = copy;
    clone.settings.sources.clone_from(&host.settings.sources);
    clone.topic = host.topic.clone();
    host.start();
    clone.start();
    host.append("a.log", "two\n");
    let shipped = host.shipped("both ship the second line", |shipped| shipped.bodies().len() >= 3).await;
    assert_eq!(shipped.sorted_bodies(), ["one", "two", "two"]);
    let copied = shipped.find(|open| open.because.as_deref() == Some("instance"));
    let original = shipped.find(|open| open.because.is_none());
    assert_eq!((copied.start(), copied.end(), original.end()), (4, 8, 8));
    let (copied, original) = (&copied.envelopes[0], &original.envelopes[0]);
    assert_eq!(copied.open.as_ref().unwrap().continues, Some(original.source));
    assert_eq!(copied.sender.agent, original.sender.agent);
    assert_ne!(copied.sender.instance, original.sender.instance);
    host.stop().await;
    clone.stop().await;
}

#[tokio::test]
async fn b18_a_damaged_checkpoint_is_replaced_by_the_one_before() {
    let mut host = Host::new();
    host.append("a.log", "one\n");
    host.start();
    host.shipped_bodies(&["one"]).await;
    host.stop().await;
    host.append("a.log", "two\n");
    host.start();
    host.shipped_bodies(&["one", "two"]).await;
    host.stop().await;

    fs::write(host.state("checkpoint.json"), vec![0; 300]).unwrap();
    host.append("a.log", "three\n");
    host.start();
    let shipped = host.shipped_bodies(&["one", "two", "three"]).await;
    assert_eq!(shipped.only().end(), 14, "the source is still the same");
    host.stop().await;

    fs::write(host.state("checkpoint.json"), "").unwrap();
    fs::write(host.state("checkpoint.json.1"), "{").unwrap();
    host.start();
    let shipped = host.shipped("everything comes again", |shipped| shipped.bodies().len() == 6).await;
    assert_eq!(shipped.sources.len(), 2, "under a new source");
    let epochs: Vec<u64> =
        shipped.sources.values().flat_map(|s| s.envelopes.iter().map(|e| e.sender.epoch)).collect();
    assert_eq!(epochs.iter().max(), Some(&4));
    host.stop().await;
}

#[tokio::test]
async fn a_second_agent_is_turned_away() {
    let mut host = Host::new();
    host.start();
    until("the first agent runs", || host.status.readiness().is_ok()).await;
    let mut second = Host::new();
    second.settings.state_dir.clone_from(&host.settings.state_dir);
    second.start();
    let refused = std::panic::AssertUnwindSafe(second.stop());
    let outcome = futures_util::FutureExt::catch_unwind(refused).await;
    assert!(outcome.is_err(), "it ends with an error");
    host.stop().await;
}

#[tokio::test]
async fn a_source_that_leaves_the_settings_says_so_and_can_come_back() {
    let mut host = Host::new();
    host.append("a.log", "one\n");
    host.append("b.txt", "other\n");
    host.start();
    host.shipped_bodies(&["one"]).await;
    host.stop().await;
    host.watch("other", &["*.txt"]);
    host.start();
    let shipped = host.shipped("the old source is closed", |shipped| {
        shipped.bodies().len() == 2 && shipped.sources.values().any(|source| source.close().is_some())
    });
    let shipped = shipped.await;
    let close = shipped.sources.values().find_map(|source| source.close()).unwrap();
    assert_eq!((close.reason.as_str(), close.end, close.lost_at_least), ("removed", 4, None));
    host.append("a.log", "two\n");
    host.stop().await;

    host.watch("app", &["*.log"]);
    host.start();
    let shipped = host.shipped_bodies(&["one", "two", "other"]).await;
    assert_eq!(sources_of(&shipped, "reopened"), 1);
    host.stop().await;
}
