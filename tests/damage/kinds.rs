//! Every kind of file that lies in a data folder, and what may be silent about its damage. A file of no kind fails the test:
//! whoever adds a file says here what its damage does.

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    AgentIdentity,
    AgentIdentityBefore,
    Checkpoint,
    CheckpointBefore,
    AgentLock,
    /// Of pushed input; all in it is delivered.
    Spool,
    /// Of what is handed in where people ask; nobody has handed in anything.
    QuietSpool,
    TopicLock,
    TopicDescription,
    Groups,
    /// One that is not written to any more.
    OlderSegment,
    /// The one of the partition that holds what is not published.
    ActiveSegment,
    /// One in which nothing is but the topic's marker, or nothing at all.
    QuietSegment,
    DeadTopicDescription,
    DeadSegment,
    HeartbeatsDescription,
    Heartbeats,
    MatchesDescription,
    MatchesGroups,
    /// What rules have handed on; all of it is taken.
    Matches,
    Catalogue,
    CatalogueLog,
    CatalogueIndex,
    Snapshot,
    Bundle,
}

use Kind::{
    ActiveSegment, AgentIdentity, AgentIdentityBefore, AgentLock, Bundle, Catalogue, CatalogueIndex,
    CatalogueLog, Checkpoint, CheckpointBefore, DeadSegment, DeadTopicDescription, Groups, Heartbeats,
    HeartbeatsDescription, Matches, MatchesDescription, MatchesGroups, OlderSegment, QuietSegment,
    QuietSpool, Snapshot, Spool, TopicDescription, TopicLock,
};

/// The parts of a data folder, each tried in a test of its own.
pub(crate) const AGENT: &[Kind] = &[
    AgentIdentity,
    AgentIdentityBefore,
    Checkpoint,
    CheckpointBefore,
    AgentLock,
    Spool,
    QuietSpool,
    TopicLock,
];
pub(crate) const TOPIC: &[Kind] = &[
    TopicDescription,
    Groups,
    OlderSegment,
    ActiveSegment,
    QuietSegment,
    DeadTopicDescription,
    DeadSegment,
    HeartbeatsDescription,
    Heartbeats,
    MatchesDescription,
    MatchesGroups,
    Matches,
];
pub(crate) const STORED: &[Kind] = &[Catalogue, CatalogueLog, CatalogueIndex, Snapshot, Bundle];

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// One byte is another: the first, one in the middle, the last.
    Flip(Place),
    Removed,
    /// More than its second half is gone. Not the half itself: of a segment with two messages of one length that would be a whole
    /// message, and nothing left in the file could tell.
    CutShort,
    /// A folder lies in its place: whoever runs this, and may read everything, cannot read that.
    Unreadable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Start,
    Middle,
    End,
}

pub(crate) const DAMAGES: [Damage; 6] = [
    Damage::Flip(Place::Start),
    Damage::Flip(Place::Middle),
    Damage::Flip(Place::End),
    Damage::Removed,
    Damage::CutShort,
    Damage::Unreadable,
];

/// The kind of a file, by its path in the data folder; `None`: it is none that is known.
pub(crate) fn kind_of(path: &str, size: u64, is_last: bool) -> Option<Kind> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    Some(match (folder, name) {
        ("agent", "agent.json") => AgentIdentity,
        ("agent", "agent.json.1") => AgentIdentityBefore,
        ("agent", "checkpoint.json") => Checkpoint,
        ("agent", "checkpoint.json.1") => CheckpointBefore,
        ("agent", "lock") => AgentLock,
        ("agent/spool/push", name) if ends(name, "spool") => Spool,
        ("agent/spool/query%2eingest", name) if ends(name, "spool") => QuietSpool,
        (
            "topic",
            "millrace.logs.lock"
            | "millrace.logs.dead.lock"
            | "millrace.logs.agents.lock"
            | "millrace.logs.matches.lock",
        ) => TopicLock,
        ("topic/millrace.logs", "topic.json") => TopicDescription,
        ("topic/millrace.logs", "groups.json") => Groups,
        ("topic/millrace.logs.dead", "topic.json") => DeadTopicDescription,
        ("topic/millrace.logs.dead/0", name) if ends(name, "log") => DeadSegment,
        ("topic/millrace.logs.agents", "topic.json") => HeartbeatsDescription,
        ("topic/millrace.logs.agents/0", name) if ends(name, "log") => Heartbeats,
        ("topic/millrace.logs.matches", "topic.json") => MatchesDescription,
        ("topic/millrace.logs.matches", "groups.json") => MatchesGroups,
        (folder, name) if folder.starts_with("topic/millrace.logs.matches/") && ends(name, "log") => Matches,
        (folder, name) if folder.starts_with("topic/millrace.logs/") && ends(name, "log") => {
            match (size, is_last) {
                // The marker alone takes less.
                (0..200, _) => QuietSegment,
                (_, true) => ActiveSegment,
                (_, false) => OlderSegment,
            }
        }
        ("", "catalogue.db") => Catalogue,
        ("", "catalogue.db-wal") => CatalogueLog,
        ("", "catalogue.db-shm") => CatalogueIndex,
        ("shards/catalogue", name) if ends(name, "snapshot") => Snapshot,
        (folder, name) if folder.starts_with("shards/") && ends(name, "shard") => Bundle,
        _ => return None,
    })
}

/// Is this the ending of a file's name?
pub(crate) fn ends(name: &str, ending: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, found)| found == ending)
}

/// Why nothing need be said of a damage. Then every answer must be whole and right, and the audit find nothing.
pub(crate) fn may_be_silent(kind: Kind, damage: Damage) -> Option<&'static str> {
    Some(match (kind, damage) {
        (AgentLock | TopicLock, _) => "nothing is in it, and a new one is made",
        (Spool, Damage::Flip(Place::Start)) => "its header lies there twice, and is made good",
        (QuietSpool, Damage::Flip(_)) => "there is a header alone, and it lies there twice",
        (Spool, Damage::Flip(Place::Middle)) => "the record is delivered, and not read again",
        (AgentIdentityBefore | CheckpointBefore, Damage::Removed) => "the next generation makes it",
        (CatalogueIndex, Damage::Flip(_) | Damage::Removed | Damage::CutShort) => {
            "SQLite makes it again out of the log"
        }
        (CatalogueLog, Damage::Flip(_) | Damage::Removed | Damage::CutShort) => {
            "the catalogue goes back to before; the topic has what came after"
        }
        (QuietSegment, Damage::Removed | Damage::Flip(_) | Damage::CutShort) => "there is nothing in it",
        (Matches, Damage::Removed | Damage::Flip(_) | Damage::CutShort) => {
            "it is taken: what rules count is in the catalogue"
        }
        (Heartbeats, Damage::Removed) => "they go as by retention, and each agent says again how it is",
        (OlderSegment, Damage::Removed) => "the oldest goes as by retention: all of it is published",
        _ => return None,
    })
}
