//! Copied agents, told by what they sent: a state folder that was moved leaves no trace but a new instance; one that was
//! copied leaves two that went on from the same place, or two that lived in one epoch. Pure.

use millrace_catalogue::StoredSource;
use millrace_model::{AgentId, InstanceId, SourceId};
use std::collections::{BTreeSet, HashMap};

/// What is to be said of sources that two copies of one agent read.
pub(super) fn clones(stored: &[StoredSource]) -> HashMap<SourceId, String> {
    let ends: HashMap<SourceId, u64> =
        stored.iter().filter_map(|source| Some((source.id, source.state.covered.end()?))).collect();
    let epochs = epochs(stored);
    let mut notices = HashMap::new();
    for source in stored {
        let state = &source.state;
        let open = state.open.as_ref().filter(|open| open.because.as_deref() == Some("instance"));
        let base = open.and_then(|open| Some((open.start, open.continues?)));
        // An epoch is raised at each start: two instances never share one, unless both started from the same folder.
        let twins = state.sender.and_then(|sender| epochs.get(&(sender.agent, sender.epoch)));
        if let Some((start, base, end)) =
            base.and_then(|(start, base)| Some((start, base, *ends.get(&base).filter(|end| **end > start)?)))
        {
            notices.insert(
                source.id,
                format!(
                    "the agent's state folder was copied, or moved before it had noted all that was sent: this goes \
                     on from source {base} at {start}, and that one went on by itself to {end}; what lies between was sent by both"
                ),
            );
        } else if let Some((instances, epoch)) =
            twins.filter(|instances| instances.len() > 1).zip(state.sender.map(|sender| sender.epoch))
        {
            let count = instances.len();
            let notice =
                format!("the agent's state folder was copied: {count} instances of it share epoch {epoch}");
            notices.insert(source.id, notice);
        }
    }
    notices
}

/// The instances of each agent's epochs.
fn epochs(stored: &[StoredSource]) -> HashMap<(AgentId, u64), BTreeSet<InstanceId>> {
    let mut epochs: HashMap<_, BTreeSet<InstanceId>> = HashMap::new();
    for sender in stored.iter().filter_map(|source| source.state.sender) {
        epochs.entry((sender.agent, sender.epoch)).or_default().insert(sender.instance);
    }
    epochs
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_ledger::{SourceState, Span};
    use millrace_model::{
        BootId, Partition,
        wire::{Sender, SourceOpen},
    };

    fn source(
        id: u128,
        (instance, epoch): (u128, u64),
        start: u64,
        end: u64,
        from: Option<u128>,
    ) -> StoredSource {
        let open = SourceOpen {
            kind: "file".to_owned(),
            path: "/a".to_owned(),
            host: "h".to_owned(),
            start,
            continues: from.map(SourceId),
            because: from.map(|_| "instance".to_owned()),
        };
        let sender = Sender { agent: AgentId(7), instance: InstanceId(instance), epoch, boot: BootId(id) };
        let mut state = SourceState { sender: Some(sender), open: Some(open), ..SourceState::default() };
        state.covered.insert(Span { start, end });
        StoredSource { id: SourceId(id), topic: "t".to_owned(), partition: Partition(0), version: 1, state }
    }

    #[test]
    fn a_moved_folder_is_no_clone() {
        let moved = [source(1, (1, 4), 0, 50, None), source(2, (2, 5), 50, 90, Some(1))];
        assert!(clones(&moved).is_empty());
    }

    #[test]
    fn a_source_that_went_on_after_its_successor_began_is_one() {
        let copied = [source(1, (1, 4), 0, 80, None), source(2, (2, 5), 50, 90, Some(1))];
        let notices = clones(&copied);
        assert_eq!(notices.len(), 1);
        assert!(notices[&SourceId(2)].contains("at 50") && notices[&SourceId(2)].contains("to 80"));
    }

    #[test]
    fn two_instances_of_one_epoch_are_one_whatever_they_read() {
        let copied =
            [source(1, (1, 5), 0, 50, None), source(2, (2, 5), 0, 90, None), source(3, (1, 4), 0, 9, None)];
        let notices = clones(&copied);
        assert_eq!(notices.keys().copied().collect::<BTreeSet<_>>(), [SourceId(1), SourceId(2)].into());
    }
}
