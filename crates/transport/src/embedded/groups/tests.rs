#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use std::fs;
use tempfile::TempDir;

fn partitions(numbers: impl IntoIterator<Item = i32>) -> Vec<Partition> {
    numbers.into_iter().map(Partition).collect()
}

#[test]
fn a_group_of_one_has_everything() {
    let folder = TempDir::new().unwrap();
    let groups = Groups::open(folder.path(), 4, false);
    let member = groups.join(Some("g")).1;
    assert_eq!(groups.step("g", member), Step::Assign(partitions(0..4)));
    assert_eq!(groups.step("g", member), Step::Steady);
    assert!(groups.is_current("g", member));
    groups.leave("g", member);
    assert_eq!(groups.step("g", member), Step::Wait);
}

#[test]
fn nobody_takes_what_another_still_has() {
    let folder = TempDir::new().unwrap();
    let groups = Groups::open(folder.path(), 4, false);
    let first = groups.join(Some("g")).1;
    groups.step("g", first);
    let second = groups.join(Some("g")).1;
    assert_eq!(groups.step("g", second), Step::Wait);
    assert!(!groups.is_current("g", first));
    assert_eq!(groups.step("g", first), Step::Revoke(partitions(0..4)));
    assert_eq!(groups.step("g", second), Step::Wait);
    groups.released("g", first);
    assert_eq!(groups.step("g", second), Step::Assign(partitions(2..4)));
    assert_eq!(groups.step("g", first), Step::Assign(partitions(0..2)));
    // One leaves: the other gives up and takes all.
    groups.leave("g", first);
    assert_eq!(groups.step("g", second), Step::Revoke(partitions(2..4)));
    groups.released("g", second);
    assert_eq!(groups.step("g", second), Step::Assign(partitions(0..4)));
}

#[test]
fn shares_tile_the_partitions() {
    for count in 0..20 {
        for members in 1..8 {
            let all: Vec<_> = (0..members).flat_map(|rank| share(count, members, rank)).collect();
            assert_eq!(all, partitions(0..count as i32));
            let sizes: Vec<_> = (0..members).map(|rank| share(count, members, rank).len()).collect();
            assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
        }
    }
}

#[test]
fn retention_waits_for_the_slowest_group() {
    let folder = TempDir::new().unwrap();
    let groups = Groups::open(folder.path(), 2, false);
    assert_eq!(groups.wanted_from(Partition(0)), i64::MAX, "no group, nothing to wait for");
    groups.commit("indexer", &[(Partition(0), 70)], Timestamp(0));
    groups.commit("detect", &[(Partition(0), 50)], Timestamp(0));
    assert_eq!(groups.wanted_from(Partition(0)), 50);
    assert_eq!(groups.wanted_from(Partition(1)), 0, "known groups that have not committed it");
    // A reader that never commits is waited for while it is there.
    let tail = groups.join(Some("tail")).1;
    groups.began("tail", Partition(0), 20);
    assert_eq!(groups.wanted_from(Partition(0)), 20);
    groups.leave("tail", tail);
    assert_eq!(groups.wanted_from(Partition(0)), 50);
}

#[test]
fn commits_are_stored_and_old_groups_are_forgotten() {
    let folder = TempDir::new().unwrap();
    let start = Timestamp::from_millis(1_000_000_000_000);
    let groups = Groups::open(folder.path(), 2, false);
    groups.commit("old", &[(Partition(0), 1)], start);
    groups.commit("new", &[(Partition(1), 9)], start);
    groups.store(start).unwrap();
    groups.commit("new", &[(Partition(1), 11)], start.plus(Duration::from_hours(6 * 24)));
    groups.store(start).unwrap();
    let groups = Groups::open(folder.path(), 2, false);
    assert_eq!(groups.wanted_from(Partition(1)), 0);
    groups.store(start.plus(Duration::from_hours(8 * 24))).unwrap();
    let groups = Groups::open(folder.path(), 2, false);
    assert_eq!(groups.wanted_from(Partition(1)), 11);
}

#[test]
fn a_file_that_cannot_be_read_is_passed_over() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("groups.json"), "{\"version\": 1, \"gro").unwrap();
    let groups = Groups::open(folder.path(), 2, false);
    assert_eq!(groups.wanted_from(Partition(0)), i64::MAX);
    groups.commit("g", &[(Partition(0), 1)], Timestamp(0));
    groups.store(Timestamp(0)).unwrap();
    assert_eq!(Groups::open(folder.path(), 2, false).wanted_from(Partition(0)), 1);
}
