//! What is deleted, and when: whole segments from the oldest on, by age and by bytes; never what a known group has not
//! committed, unless the disk bound forces it, and then loudly.

use super::{Shared, groups::Groups, log::Log, segment::Segment, writer::Inbox};
use crate::{EmbeddedSettings, Error};
use std::{sync::Arc, time::Duration};

/// How long a segment is written to at most: so much longer than its retention may a message stay.
pub(crate) fn roll_age(settings: &EmbeddedSettings) -> Duration {
    settings.retention / 8
}

/// Has segments ended that are written to for too long, so that what is in them can be deleted in time.
pub(crate) fn roll_old(shared: &Shared, logs: &[Arc<Log>], inboxes: &[Arc<Inbox>]) -> Result<(), Error> {
    let old = shared.clock.now().minus(roll_age(&shared.settings)).as_millis();
    for (log, inbox) in logs.iter().zip(inboxes) {
        if log.active().oldest_ms()?.is_some_and(|oldest| oldest < old) {
            inbox.ask_roll();
        }
    }
    Ok(())
}

/// Deletes what may go. Blocks on the disk.
pub(crate) fn enforce(shared: &Shared, logs: &[Arc<Log>], groups: &Groups) -> Result<(), Error> {
    for log in logs {
        delete_settled(shared, log, groups)?;
    }
    let mut bytes: u64 = logs.iter().map(|log| log.bytes()).sum();
    // Over the topic's size: the oldest of what every group is done with, wherever it lies.
    while bytes > shared.settings.retention_bytes {
        let settled = |(_, (_, end)): &(usize, (Arc<Segment>, i64)), log: &Log| {
            groups.wanted_from(log.partition) >= *end
        };
        let Some((at, (segment, _))) = oldest(logs, settled)? else { break };
        bytes -= segment.committed().min(bytes);
        logs[at].delete(&segment)?;
    }
    while bytes > shared.settings.disk_bytes {
        let Some((at, (segment, end))) = oldest(logs, |_, _| true)? else { break };
        let log = &logs[at];
        let lost_messages = (end - groups.wanted_from(log.partition).max(segment.base)).max(0);
        shared.metrics.dropped_messages.inc_by(lost_messages as u64);
        tracing::error!(
            partition = %log.partition,
            lost_messages,
            up_to_offset = end,
            "the topic has reached its bound on disk: messages are deleted that a group has not read"
        );
        bytes -= segment.committed().min(bytes);
        log.delete(&segment)?;
    }
    Ok(())
}

/// By age, partition by partition.
fn delete_settled(shared: &Shared, log: &Log, groups: &Groups) -> Result<(), Error> {
    let old = shared.clock.now().minus(shared.settings.retention).as_millis();
    while let Some((segment, end)) = log.oldest() {
        let aged = segment.newest_ms()?.is_none_or(|newest| newest < old);
        if !aged || groups.wanted_from(log.partition) < end {
            break;
        }
        log.delete(&segment)?;
    }
    Ok(())
}

type Oldest = (usize, (Arc<Segment>, i64));

/// Of the oldest segments of all partitions that `may` go, the one whose messages are oldest.
fn oldest(logs: &[Arc<Log>], may: impl Fn(&Oldest, &Log) -> bool) -> Result<Option<Oldest>, Error> {
    let mut found: Option<(Option<i64>, Oldest)> = None;
    for (at, log) in logs.iter().enumerate() {
        let Some(candidate) = log.oldest().map(|oldest| (at, oldest)).filter(|oldest| may(oldest, log))
        else {
            continue;
        };
        let newest = candidate.1.0.newest_ms()?;
        if found.as_ref().is_none_or(|(best, _)| newest < *best) {
            found = Some((newest, candidate));
        }
    }
    Ok(found.map(|(_, oldest)| oldest))
}

#[cfg(test)]
mod tests;
