//! Files that more than one agent has read: an agent whose state folder was lost is another one, which begins at the start of
//! every file. Pure.

use millrace_catalogue::StoredSource;
use millrace_model::SourceId;
use std::collections::{HashMap, HashSet};

/// What is to be said of the sources of an agent that read what another had read before.
pub(super) fn second_readers(stored: &[StoredSource]) -> HashMap<SourceId, String> {
    let mut by_place: HashMap<_, Vec<&StoredSource>> = HashMap::new();
    for source in stored {
        if let Some(open) = &source.state.open
            && source.state.sender.is_some()
        {
            by_place.entry((&open.kind, &open.host, &open.path)).or_default().push(source);
        }
    }
    let mut notices = HashMap::new();
    for mut sources in by_place.into_values() {
        let agents: HashSet<_> = sources.iter().filter_map(|source| agent(source)).collect();
        if agents.len() < 2 {
            continue;
        }
        sources.sort_by_key(|source| (source.state.since, source.id));
        for (nth, source) in sources.iter().enumerate() {
            // Of those that came before it, the latest.
            let before = sources[..nth].iter().rev().find(|before| agent(before) != agent(source));
            if let Some(before) = before {
                let notice = format!(
                    "another agent has read this file before, as source {}: its state was lost, or both read it; what both \
                     sent is here twice",
                    before.id
                );
                notices.insert(source.id, notice);
            }
        }
    }
    notices
}

fn agent(source: &StoredSource) -> Option<millrace_model::AgentId> {
    source.state.sender.map(|sender| sender.agent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_ledger::SourceState;
    use millrace_model::{
        AgentId, BootId, InstanceId, Partition, Timestamp,
        wire::{Sender, SourceOpen},
    };

    fn source(id: u128, agent: u128, since: i64, path: &str) -> StoredSource {
        let open = SourceOpen {
            kind: "file".to_owned(),
            path: path.to_owned(),
            host: "h".to_owned(),
            start: 0,
            continues: None,
            because: None,
        };
        let sender =
            Sender { agent: AgentId(agent), instance: InstanceId(agent), epoch: 1, boot: BootId(agent) };
        let since = Some(Timestamp(since));
        let state = SourceState { sender: Some(sender), open: Some(open), since, ..SourceState::default() };
        StoredSource { id: SourceId(id), topic: "t".to_owned(), partition: Partition(0), version: 1, state }
    }

    #[test]
    fn the_agent_that_came_later_is_told_of() {
        // Generations of one file, then another agent; and files that one agent alone has read.
        let stored = [
            source(4, 9, 30, "/a"),
            source(1, 7, 10, "/a"),
            source(2, 7, 20, "/a"),
            source(3, 7, 10, "/b"),
            source(5, 9, 30, "/c"),
        ];
        let notices = second_readers(&stored);
        assert_eq!(notices.keys().copied().collect::<Vec<_>>(), [SourceId(4)]);
        assert!(notices[&SourceId(4)].contains(&SourceId(2).to_string()));
    }
}
